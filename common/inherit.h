/*
 * What a child gets from the supervisor: one struct per program, in a sealed memory object whose descriptor is INHERIT_FD; all other descriptors are
 * named in it by number. Nothing comes by environment or arguments.
 */
#ifndef TOPICS_INHERIT_H
#define TOPICS_INHERIT_H

#include <stdint.h>

#include "common/error.h"
#include "common/settings.h"

enum {
	INHERIT_FD = 3,
	INHERIT_VERSION = 4,
	WORKERS_MAX = 64,
	LOGD_EXIT_REFUSED = 3, /* logd's exit status: the data must not be touched (a newer format, no provable identity); starting it again is no use */
};

struct inherit_common {
	uint32_t version;
	uint32_t size;          /* of the whole struct */
	struct settings settings;
	int32_t control_fd;     /* SOCK_SEQPACKET to the supervisor */
	int32_t status_fd;      /* struct status; logd: writable, worker: read-only */
	int32_t feed_fd;        /* struct feed_shared; likewise */
	uint32_t uid;           /* to change to; equal to the own one: no change */
	uint32_t gid;
	uint32_t drop;          /* 1: started as root, change user and lock down */
	uint32_t failpoints;    /* length of `failpoint` spec */
	char failpoint[256];    /* "name:action[:count]" of TOPICS_FAILPOINT, builds with failpoints only */
};

struct inherit_logd {
	struct inherit_common common;
	int32_t data_dir_fd;
	int32_t lock_fd;
	uint32_t first_start;   /* 1: no logd of this daemon has recovered the log whole yet (the daemon starts, or one died in its first recovery); 0: one has */
	uint32_t deaths;        /* of logd since the daemon began */
	uint32_t fault_death;   /* the last death was by a fault (a signal that is not SIGKILL or SIGTERM, or a bad exit status) */
	uint32_t workers;
	uint64_t catalogue_number; /* for the catalogue to build */
	int32_t catalogue_fd;      /* writable, empty */
	int32_t old_catalogue_fd;  /* read-only, what readers see now; -1 at the first start */
	uint32_t ephemeral_count;  /* followed by CTL_EPHEMERAL messages, one each, before CTL_START */
	uint32_t reserved;
};

struct inherit_worker {
	struct inherit_common common;
	int32_t listen_fd;
	uint32_t slot;
	uint32_t workers;
	uint64_t incarnation;
	uint64_t large_bytes;   /* of the large area */
	int32_t request_fd;     /* writable */
	int32_t completion_fd;  /* read-only */
	int32_t counters_fd;    /* writable */
	int32_t wake_fd;        /* epoll instance that becomes readable, once for each write, when somebody wakes this worker: its one member is an eventfd, edge-triggered */
	int32_t logd_wake_fd;   /* eventfd by which this worker, and nobody else, wakes logd */
	int32_t all_counters_fd[WORKERS_MAX]; /* read-only, by slot; -1 beyond `workers` */
	int32_t catalogue_fd;   /* the current one, -1: none yet (comes by CTL_CATALOGUE) */
	uint32_t reserved;
	uint64_t catalogue_number;
	uint64_t started_ms;    /* CLOCK_MONOTONIC ms at which the daemon started (uptime) */
};

/* Child: reads and checks the struct at INHERIT_FD (size and version exactly): ERR_PROTOCOL. */
enum error inherit_read(void *inherit, uint32_t size);

/* Supervisor: puts the struct into a new sealed object. */
enum error inherit_write(int *fd, const void *inherit, uint32_t size);

#endif
