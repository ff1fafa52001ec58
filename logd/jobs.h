/*
 * The threads of logd: one syncs, one makes the next file, one seals, one ends checkpoints. Each has one job at a time, as common/ops.h says; results are taken by
 * the loop. They touch nothing of the engine.
 */
#ifndef TOPICS_JOBS_H
#define TOPICS_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/ops.h"
#include "logd/ops_system.h"

struct jobs;

enum error jobs_create(struct jobs **jobs);

/* The thread that syncs looks for its next job for so long before it sleeps (common/busy_poll.h); 0, as at first: not at all. */
void jobs_busy_poll(struct jobs *jobs, uint64_t us);

/* Lets what runs finish, then ends the threads. */
void jobs_destroy(struct jobs **jobs);

/* EBUSY while one of the kind runs or its result has not been taken. */
int jobs_sync(struct jobs *jobs, const struct sync_job *job);
int jobs_prepare(struct jobs *jobs, int data_dir, const char *name, uint64_t id, uint64_t size);
/* `ops`: the table whose file calls the job makes; stays as long as the jobs. */
int jobs_seal(struct jobs *jobs, const struct ops *ops, const struct seal_job *job);
int jobs_finish(struct jobs *jobs, const struct ops *ops, const struct finish_job *job);
int jobs_lookup(struct jobs *jobs, const struct ops *ops, const struct lookup_job *job);

int jobs_event_fd(const struct jobs *jobs);
/* Whether something is finished, without a system call. */
bool jobs_done(const struct jobs *jobs);
bool jobs_finished(struct jobs *jobs, struct job_result *result);

#endif
