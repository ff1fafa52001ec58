/*
 * What the files of the HTTP layer share and nobody else sees: connection.c (life and close), connection_read.c (parsing, back-pressure), connection_send.c (answers),
 * exchange_pool.c (memory of exchanges).
 */
#ifndef TOPICS_CONNECTION_INTERNAL_H
#define TOPICS_CONNECTION_INTERNAL_H

#include <event2/event.h>

#include "worker/connection.h"
#include "worker/http.h"

enum {
	PIPELINE_MAX = 32,            /* exchanges of one connection in flight; past it reading pauses */
	UNSENT_MAX = 1 << 20,         /* unsent answer bytes of one connection; past it reading pauses */
};

struct connection {
	struct connections *owner;
	struct connection *previous, *next;      /* all of them */
	struct connection *next_dirty;
	int fd;
	struct event *readable, *writable;
	uint8_t *in;
	size_t in_start, in_end, in_room;
	struct exchange *first, *last;           /* in the order of their requests */
	unsigned queued;
	struct exchange *reading;                /* the last of them, whose body is still coming */
	struct exchange *held;                   /* the last of them, complete, which may not be begun yet */
	struct http_body body;
	uint64_t progress_us;
	uint64_t requests;
	size_t unsent;
	uint64_t lingered;
	bool dirty, paused, waits_for_budget;
	bool no_more;                            /* nothing further is parsed */
	bool half_closed;                        /* the client will send nothing more */
	bool lingering;                          /* we have sent all and shut down; what comes is dropped */
	bool close_after;                        /* close when all is sent */
	bool busy;                               /* inside the parser: handlers may not free it */
	bool dead;
};

struct connections {
	struct worker *worker;
	struct connection *first;
	struct connection *dirty;
	struct exchange *pool;
	unsigned pooled;
	uint64_t count;
	uint64_t budget_used;
	bool draining;
};

/* ---- connection.c ---- */

/* Its turn comes with the next connections_flush. */
void connection_mark_dirty(struct connection *connection);

/* The one way out. Its memory goes with the next flush: it may be in the list of dirty ones, or in use further up the stack. */
void connection_kill(struct connection *connection);

/* Everything is sent: says so, and listens for a while to a client that is still sending, since a reset would take the answer from it. */
void connection_linger(struct connection *connection);

/* ---- connection_read.c ---- */

void connection_on_readable(evutil_socket_t fd, short what, void *context);

/* Goes on with what has been read, as far as back-pressure allows. */
void connection_parse(struct connection *connection);

/* The request that had to wait for the answers before it is begun when they are there. */
void connection_begin_held(struct connection *connection);

/* Back-pressure: while too much of this connection is unanswered or unsent nothing more is read from it. */
bool connection_may_read(const struct connection *connection);
void connection_update_reading(struct connection *connection);

/* A request that cannot be taken on: its answer comes behind those of the earlier ones, then the connection closes. */
void connection_refuse(struct connection *connection, enum error error, const char *problem);

/* ---- connection_send.c ---- */

void connection_send(struct connection *connection);

/* ---- exchange_pool.c ---- */

void exchange_pool_empty(struct connections *connections);

#endif
