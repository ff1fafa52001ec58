/*
 * Reads of log files that may wait for a device: done by a few reader threads, so that the loop never does (ARCHITECTURE §6). The threads touch nothing but the job that they were
 * handed: descriptor, place, buffer.
 *
 *   cold_read -> QUEUED -> HANDED (has its buffer) -> read by a thread -> DONE (`done` is called on the loop) -> cold_end
 *        cold_end before that: a queued job goes at once, a handed one when its thread lets go of it; `done` is not called any more
 */
#ifndef TOPICS_COLD_H
#define TOPICS_COLD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/files.h"

struct cold;
struct cold_job;
struct event_base;

/* Starts the threads, with every signal blocked. `base` brings their results. */
enum error cold_create(struct cold **cold, struct event_base *base);
/* Waits for threads that are idle; one that hangs in the kernel is left behind with what it uses. */
void cold_destroy(struct cold **cold);

struct cold_place {
	struct log_file *file;   /* held by the job until it ends */
	uint64_t offset;
	uint64_t least, most;    /* bytes: what is needed, and what is worth reading with it */
};

/* ERR_NOMEM. `done(context)` comes later, never from within this call. */
enum error cold_read(struct cold *cold, const struct cold_place *place, void (*done)(void *context), void *context, struct cold_job **job);

/* What came of a job that is done. */
struct cold_result {
	uint64_t file, offset;
	const uint8_t *bytes;    /* the job's, until cold_end */
	uint64_t length;         /* less than `least`: the file ends there, or `error` */
	int error;               /* errno of reading `least` bytes, 0 none */
};
bool cold_is_done(const struct cold_job *job);
void cold_result(const struct cold_job *job, struct cold_result *result);

void cold_end(struct cold_job **job);

#endif
