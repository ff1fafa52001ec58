/*
 * What the supervisor's sources share (supervise.c: loop, signals, stop; logd_child.c, worker_child.c: the children; messages.c: sending and what the children say).
 *
 *   A child's life (one function per arrow):
 *
 *             child start                     its READY                        CTL_DRAIN / CTL_STOP
 *     ABSENT -------------> STARTING -----------------------> RUNNING -----------------------> LEAVING
 *        ^                     |                                 |                                |
 *        |   back-off is over  |  dies (reap)                    |  dies (reap)                   |  exits (reap)
 *        +---------------------+---------------------------------+                                v
 *                                                                                               ABSENT, for good while stopping
 */
#ifndef TOPICS_CHILDREN_H
#define TOPICS_CHILDREN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/control.h"
#include "common/counters.h"
#include "common/inherit.h"
#include "common/logging.h"
#include "common/status.h"
#include "supervisor/options.h"
#include "supervisor/start.h"

enum child_state { CHILD_ABSENT, CHILD_STARTING, CHILD_RUNNING, CHILD_LEAVING };

/* A message that its socket had no room for. Its descriptors are not copies, which want of descriptors could refuse: who has one of them lets it go by let_go alone. */
struct unsent {
	struct unsent *next;
	struct control message;
	int fds[CONTROL_FDS];
	bool left[CONTROL_FDS]; /* its owner has let this one go: it is let go with the message */
	unsigned fd_count;
};

struct child {
	enum child_state state;
	pid_t pid;
	int control;            /* our end; -1 */
	struct unsent *unsent;
	unsigned unsent_count;
	uint64_t started_us;
	uint64_t restart_us;    /* when ABSENT: not before */
	uint64_t last_death_us;
	unsigned deaths;        /* within a minute of each other */
	unsigned long deaths_total;
};

struct worker_child {
	struct child child;
	uint64_t incarnation;
	int request, request_readonly, completion, wake, woken, logd_wake; /* -1 while ABSENT */
	int counters, counters_readonly;      /* outlive the process */
	struct counters *counters_map;
};

struct ephemeral {
	struct ephemeral *next;
	uint64_t id;            /* 0: a reserve that logd has not used yet */
	uint64_t size;
	int fd;
};

enum stop_state { NOT_STOPPING, STOPPING_WORKERS, STOPPING_LOGD, STOPPED };

struct supervisor {
	const struct options *options;
	const struct ground *ground;
	struct logging logging;
	int listen_fd;
	int signals;
	struct child logd;
	struct worker_child workers[WORKERS_MAX];
	int status, status_readonly, feed, feed_readonly;
	struct status *status_map;
	int catalogue;          /* what logd builds or keeps */
	int catalogue_next;     /* the same, read-only: there before it is wanted, so that READY finds no want of descriptors */
	int catalogue_readonly; /* what readers see; the one before until READY */
	uint64_t catalogue_number;
	struct ephemeral *ephemeral;
	bool was_ready;         /* the daemon has been ready once */
	bool recovered;         /* a logd of this daemon has recovered the log whole */
	bool in_trouble;        /* the service manager was told that nothing is written */
	bool fault_death;
	uint64_t large_bytes;
	uint64_t ephemeral_size;
	uint64_t reserves_due_us; /* when the last attempt to make a reserve failed: when to try again; 0 */
	uint64_t started_ms;
	uint32_t progress_told; /* percent */
	enum stop_state stopping;
	uint64_t stop_workers_us, stop_logd_us;
	int exit_status;
};

uint64_t now_us(void);

/* messages.c */
/* The descriptors stay the caller's, who closes them with let_go. */
void tell(struct supervisor *s, struct child *child, const struct control *message, const int *fds, unsigned fd_count);
void send_unsent(struct supervisor *s, struct child *child);
void drop_unsent(struct supervisor *s, struct child *child);
/* Closes the descriptor, now or when the last message that waits with it has gone. */
void let_go(struct supervisor *s, int fd);
void take_logd_messages(struct supervisor *s);
void take_worker_messages(struct supervisor *s, struct worker_child *worker);
/* To the service manager: how far a recovery is, when that has changed. */
void tell_progress(struct supervisor *s);

/* logd_child.c, worker_child.c */
void logd_start(struct supervisor *s);
void logd_died(struct supervisor *s, int status);
void worker_start(struct supervisor *s, unsigned slot);
void worker_died(struct supervisor *s, struct worker_child *worker, int status);
void give_ring(struct supervisor *s, unsigned slot);
void give_reserves(struct supervisor *s);
void child_back_off(struct child *child);
void obituary(struct supervisor *s, const char *who, const struct child *child, int status);

#endif
