/*
 * Control messages between the supervisor and its children: one SOCK_SEQPACKET packet each, fixed size, with at most CONTROL_FDS descriptors by
 * SCM_RIGHTS. control.c has the one table of types, directions, and numbers of descriptors; docs/control-messages.md explains each.
 * A packet of another size, version, direction or number of descriptors is a protocol violation: the peer is cut off.
 */
#ifndef TOPICS_CONTROL_H
#define TOPICS_CONTROL_H

#include <stdint.h>

#include "common/error.h"

enum { CONTROL_VERSION = 2, CONTROL_FDS = 8 };

enum control_type {
	/* supervisor -> logd */
	CTL_RING_NEW = 1,        /* slot, incarnation, a = bytes of the large area; fds: request (ro), completion (rw), counters (ro), the eventfd that wakes the worker, the one by which it wakes logd */
	CTL_RING_GONE = 2,       /* slot, incarnation: its worker is dead; finish what was taken, drop the rest */
	CTL_EPHEMERAL = 3,       /* a = file id, b = size; fd: the object. Before CTL_START: one that exists */
	CTL_EPHEMERAL_RESERVE = 4,/* a = size; fd: an empty object to use for the next ephemeral file */
	CTL_START = 5,           /* all that exists has been sent: recover */
	CTL_STOP = 6,            /* clean stop: everything accepted is finished, the log closed, exit 0 */
	/* logd -> supervisor */
	CTL_READY = 16,          /* the catalogue a = number is current; b = 0: recovered; 1: no space for the tail, what is proven is served, and it comes again when recovered */
	CTL_RING_BROKEN = 18,    /* slot, incarnation: broke the layout (or was poisoned twice): replace that worker */
	CTL_RING_DROPPED = 19,   /* slot, incarnation: nothing of it is held any more (answer to CTL_RING_GONE) */
	CTL_FILE_BORN = 20,      /* a = file id, kind: open it and hand it to the workers */
	CTL_FILE_RETIRED = 21,   /* a = file id, kind: all close it */
	CTL_EPHEMERAL_USED = 22, /* a = file id: the oldest reserve object now is this file; keep it; send another reserve */
	CTL_STATE = 23,          /* a = enum logd_state: for logs and sd_notify */
	/* supervisor -> worker */
	CTL_CATALOGUE = 32,      /* a = number; fd: read-only */
	CTL_FILE = 33,           /* a = file id, kind, b = errno when it cannot be opened (then no fd); fd: read-only */
	CTL_FILE_CLOSE = 34,     /* a = file id, kind */
	CTL_DRAIN = 35,          /* stop accepting, finish, leave within a = ms */
	/* worker -> supervisor */
	CTL_WORKER_READY = 48,   /* accepts connections */
	CTL_GIVE_FILE = 49,      /* a = file id, kind: answered by CTL_FILE */
	CTL_WORKER_DRAINED = 50, /* nothing left; it leaves */
};

struct control {
	uint32_t version;
	uint32_t type;
	uint32_t slot;
	uint32_t kind;         /* of a file: 'w', 'e' */
	uint64_t incarnation;
	uint64_t a;
	uint64_t b;
};
_Static_assert(sizeof(struct control) == 40, "a control message is 40 bytes");

enum control_party { PARTY_SUPERVISOR = 1, PARTY_LOGD = 2, PARTY_WORKER = 3 };

/* Sends one message; `fds` stay the caller's. ERR_AGAIN when the socket is full, ERR_EOF, ERR_IO. */
enum error control_send(int socket, const struct control *message, const int *fds, unsigned fd_count);

/* Receives one message without blocking; descriptors are close-on-exec and the caller's. `from` and `to` say who talks, the table decides.
 * ERR_AGAIN, ERR_EOF, ERR_PROTOCOL (descriptors closed). */
enum error control_receive(int socket, enum control_party from, enum control_party to, struct control *message, int fds[CONTROL_FDS], unsigned *fd_count);

/* Name for logs ("ring-new"). */
const char *control_name(uint32_t type);

#endif
