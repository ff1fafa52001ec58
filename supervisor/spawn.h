/* Starting a program with descriptors at numbers that its inheritance names (common/inherit.h), and nothing else open. */
#ifndef TOPICS_SPAWN_H
#define TOPICS_SPAWN_H

#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/inherit.h"

enum { SPAWN_FDS = WORKERS_MAX + 32 };

struct spawn {
	int sources[SPAWN_FDS];
	int count;
};

/* The number at which the child will find a copy of `fd`; -1 stays -1. */
int32_t spawn_fd(struct spawn *spawn, int fd);

/* Forks and executes `program` (found beside this one) with `inherit` at INHERIT_FD. */
enum error spawn_run(const struct spawn *spawn, const char *program, const void *inherit, uint32_t size, pid_t *pid);

#endif
