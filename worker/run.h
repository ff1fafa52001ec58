/* The worker process as a whole: set-up, loop, end. */
#ifndef TOPICS_WORKER_RUN_H
#define TOPICS_WORKER_RUN_H

#include "common/inherit.h"

/* Runs until it is drained, or the supervisor is gone; returns the exit status. */
int worker_run(const struct inherit_worker *inherit);

#endif
