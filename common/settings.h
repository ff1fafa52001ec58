/*
 * The settings of API.md §12 as all processes get them: filled by supervisor/options.c, copied into each child's inheritance.
 */
#ifndef TOPICS_SETTINGS_H
#define TOPICS_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

/* The ephemeral log has no more files than this (and one whose records are going), however small those of the disk log are: each is a descriptor in every process. */
enum { EPHEMERAL_FILES_MAX = 2048 };

struct settings {
	uint64_t max_body_bytes;
	uint64_t max_batch_records;
	uint64_t max_record_bytes;
	uint64_t max_meta_bytes;
	uint64_t max_tag_bytes;
	uint64_t max_node_bytes;
	uint64_t max_limit;
	uint64_t max_claim;
	uint64_t max_watch_topics;
	uint64_t max_topics;           /* 0: no limit; so for all caps below */
	uint64_t max_routers;
	uint64_t max_watch_sessions;
	uint64_t max_sse_connections;
	uint64_t max_sse_connections_per_key;
	uint64_t max_inflight_per_key;
	uint64_t max_total_bytes;
	uint64_t sync_interval_ms;
	uint64_t ephemeral_max_bytes;
	uint64_t drain_ms;
	uint64_t segment_max_bytes;
	uint32_t workers;
	uint32_t probe_auth;
	uint32_t commit_deadline_ms;   /* how long a worker waits for logd: 5000 */
	uint32_t idle_timeout_ms;      /* a connection without progress: 30000 */
	uint64_t busy_poll_us;         /* how long a process looks for work before it sleeps (common/busy_poll.h): 100 */
	uint64_t worker_budget_bytes;  /* unfinished bodies and unsent answers of one worker: 256 MiB */
};

/* The least size of a file of the ephemeral log. */
static inline uint64_t ephemeral_file_least(uint64_t ephemeral_max_bytes)
{
	return (ephemeral_max_bytes / EPHEMERAL_FILES_MAX + 4095) / 4096 * 4096;
}

#endif
