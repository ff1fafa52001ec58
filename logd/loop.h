/*
 * logd's loop: waits for wake-ups, control messages and finished jobs, and calls the engine. Everything the process owns hangs off one struct.
 */
#ifndef TOPICS_LOGD_LOOP_H
#define TOPICS_LOGD_LOOP_H

#include "common/inherit.h"

/* Runs until the supervisor says stop, or is gone; returns the exit status of the process (0 after a clean close, LOGD_EXIT_REFUSED if the data must not be touched). */
int logd_run(const struct inherit_logd *inherit);

#endif
