/*
 * The outside world of logd as it is (common/ops.h): files below the data directory's descriptor, clocks, randomness, and the threads of logd/jobs.h, which
 * do what would keep the loop waiting. What they have finished waits here until the loop takes it.
 */
#ifndef TOPICS_OPS_SYSTEM_H
#define TOPICS_OPS_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/ops.h"

struct ops_system;

/* Told when the ephemeral log begins or leaves one of the supervisor's objects. */
struct ops_system_events {
	void *context;
	void (*ephemeral_used)(void *context, uint64_t id);
	void (*ephemeral_retired)(void *context, uint64_t id);
};

enum job_kind { JOB_SYNC, JOB_PREPARE, JOB_SEAL, JOB_FINISH, JOB_LOOKUP, JOB_KINDS };

struct job_result {
	enum job_kind kind;
	struct sync_job sync;  /* JOB_SYNC */
	uint64_t id;           /* JOB_PREPARE: file id */
	int error;             /* JOB_PREPARE: errno, 0 */
	struct seal_job seal;  /* JOB_SEAL: its topics and keys are the taker's */
	struct finish_job finish; /* JOB_FINISH */
	struct lookup_job lookup; /* JOB_LOOKUP */
};

/* `data_dir` stays the caller's. Starts the threads. */
enum error ops_system_create(struct ops_system **system, int data_dir, const struct ops_system_events *events);

/* Waits for the jobs that run, ends the threads, closes the ephemeral objects that it holds. */
void ops_system_destroy(struct ops_system **system);

/* jobs_busy_poll of its threads. */
void ops_system_busy_poll(struct ops_system *system, uint64_t us);

const struct ops *ops_system_table(struct ops_system *system);

/* An eventfd: readable when a job is done. */
int ops_system_event_fd(const struct ops_system *system);

/* Whether a job is done, without a system call. */
bool ops_system_done(const struct ops_system *system);

/* Takes a finished job: true if there was one. Clears the eventfd when there is none left. */
bool ops_system_finished(struct ops_system *system, struct job_result *result);

/* An object of the ephemeral log that exists (id given), or a reserve for its next file (id 0). The descriptor becomes ours. */
enum error ops_system_ephemeral(struct ops_system *system, uint64_t id, uint64_t size, int fd);

#endif
