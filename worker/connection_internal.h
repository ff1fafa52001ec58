/*
 * What the files of the HTTP layer share and nobody else sees:
 *
 *   connection.c         life, close, all of them
 *   connection_read.c    parsing, back-pressure
 *   connection_body.c    bodies: gathered, inflated, limited
 *   connection_send.c    answers
 *   connection_wait.c    what waits: for its turn to inflate, for the worker's budget; answers to compress
 *   connection_clock.c   deadlines and least rates
 *   exchange_pool.c      memory of exchanges and of inflaters, the budget's account
 */
#ifndef TOPICS_CONNECTION_INTERNAL_H
#define TOPICS_CONNECTION_INTERNAL_H

#include <event2/event.h>

#include "worker/connection.h"
#include "worker/http.h"

enum {
	READ_ROOM = 16 * 1024,        /* first size of a connection's input buffer */
	READ_ROOM_MAX = 256 * 1024,
	PIPELINE_MAX = 32,            /* exchanges of one connection in flight; past it reading pauses */
	UNSENT_MAX = 1 << 20,         /* unsent answer bytes of one connection; past it reading pauses */
};

/* Queues that a connection can stand in, at any place of which it can be taken out. */
enum connection_queue {
	WAITS_FOR_TURN,               /* there is more of its gzip body to inflate than fits into one round */
	WAITS_FOR_BUDGET,             /* the worker's budget is used up: what it sent stays where it is */
	CONNECTION_QUEUES
};
struct connection_link { struct connection *previous, *next; bool in; };

/* What we wait for from the client. */
enum connection_phase { PHASE_IDLE /* for a request */, PHASE_HEAD, PHASE_BODY };

struct connection {
	struct connections *owner;
	struct connection *previous, *next;      /* all of them */
	struct connection *next_dirty;
	struct connection_link links[CONNECTION_QUEUES];
	int fd;
	struct event *readable, *writable;
	uint8_t *in;
	size_t in_start, in_end, in_room;
	struct exchange *first, *last;           /* in the order of their requests */
	unsigned queued;
	struct exchange *reading;                /* the last of them, whose body is still coming */
	struct exchange *held;                   /* the last of them, complete, which may not be begun yet */
	struct http_body body;
	uint64_t requests;
	size_t unsent;
	uint64_t lingered;
	enum connection_phase phase;
	uint64_t phase_request;                  /* `requests` when the phase began */
	uint64_t deadline_us;                    /* of the phase; of lingering */
	uint64_t paused_us;                      /* since when we do not read: the phase's clock stands still */
	uint64_t send_deadline_us;               /* for unsent answers; 0: no sweep has found any */
	uint64_t acked;                          /* bytes that the client's kernel had taken at the last sweep */
	uint64_t moved;                          /* bytes of bodies and answers since the last sweep */
	unsigned slow;                           /* sweeps in a row in which too little moved */
	bool dirty, paused;
	bool leave_queued;                        /* the sender of `reading` waits for our 100 Continue, which leaves behind the earlier answers */
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
	struct connection *queue_first[CONNECTION_QUEUES], *queue_last[CONNECTION_QUEUES];
	struct connection *pass;                 /* the one that may go on although the budget is used up */
	uint8_t *spare;                          /* one input buffer of READ_ROOM bytes, or NULL: a request that comes whole leaves it for the next */
	struct exchange *pool;
	unsigned pooled;
	struct inflater *inflaters;
	unsigned inflaters_pooled;
	struct compressing *compressing;
	struct event *work;                      /* due at once while something waits for its turn or is to be compressed */
	uint64_t count;
	uint64_t budget_used;
	int64_t date_s;
	char date[32];
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

/* Goes on with what has been read, as far as back-pressure allows; then looks whether more is to be read. May leave it dead. */
void connection_go_on(struct connection *connection);

/* The request that had to wait for the answers before it is begun when they are there. */
void connection_begin_held(struct connection *connection);

bool connection_may_read(const struct connection *connection);
/* Back-pressure: while too much of this connection is unanswered or unsent nothing more is read from it. */
void connection_update_reading(struct connection *connection);

/* A request that cannot be taken on: its answer comes behind those of the earlier ones, then the connection closes. */
void connection_refuse(struct connection *connection, enum error error, const char *problem);
/* 408 for the request that has begun to come. */
void connection_time_out(struct connection *connection);

/* ---- connection_body.c ---- */

/*
 * Takes a run of payload of the body at hand: *taken of it, less than all when the rest has to wait. ERR_OK, ERR_PAYLOAD_TOO_LARGE, ERR_INVALID_REQUEST (damaged gzip), ERR_INTERNAL (no
 * memory), *problem says why.
 */
enum error connection_take_payload(struct connection *connection, const char *payload, size_t length, size_t *taken, const char **problem);

/* The body at hand is complete: its exchange begins, or is held. */
void connection_body_complete(struct connection *connection);

/* ---- connection_send.c ---- */

void connection_send(struct connection *connection);

/* All that the client's kernel has acknowledged so far. */
uint64_t connection_acked(const struct connection *connection);

/* ---- connection_wait.c ---- */

void connection_enqueue(struct connection *connection, enum connection_queue queue);
void connection_dequeue(struct connection *connection, enum connection_queue queue);

/*
 * May this connection take up more of the budget, for a body that is being gathered or (`gathering` false) for a new request? False: it has been queued and goes on by itself. The first of
 * those who wait may always go on, so that somebody always gets to the end.
 */
bool connection_has_budget(struct connection *connection, bool gathering);
void connection_give_up_pass(struct connection *connection);

/* Lets those go on that have waited for the budget, as far as it reaches. */
void connections_resume(struct connections *connections);

/* Has the loop come back at once for what takes more than one round. */
void connections_schedule_work(struct connections *connections);
enum error connections_work_create(struct connections *connections);
void connections_work_destroy(struct connections *connections);

/* ---- connection_clock.c ---- */

/* After anything that may have changed what we wait for. */
void connection_update_phase(struct connection *connection);

/* `length` bytes of the request have come. */
void connection_came(struct connection *connection, size_t length);

/* ---- exchange_pool.c ---- */

enum error exchange_inflater(struct exchange *exchange);
void exchange_release_inflater(struct exchange *exchange);
void exchange_pool_empty(struct connections *connections);

#endif
