/*
 * What a child gives up before it reads any input: its user, new privileges, core dumps with what was in its memory, and (so far only in log mode: a call outside the list is
 * let through and noted by the kernel's audit) every system call that it does not need.
 */
#ifndef TOPICS_CONFINE_H
#define TOPICS_CONFINE_H

#include "common/error.h"
#include "common/inherit.h"

/* ERR_IO with errno when a step fails; the child must not go on then. */
enum error confine_logd(const struct inherit_common *inherit);
enum error confine_worker(const struct inherit_common *inherit);

#endif
