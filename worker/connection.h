/*
 * Connections: reading requests, keeping their order, sending answers, timeouts, the budget. On libevent's event core with our own buffers. Its parts: worker/connection_internal.h.
 *
 *   A connection's life:
 *     accept          head complete        body complete          answered            sent
 *   -------> IDLE/HEAD ------------> BODY ---------------> HANDLING ---------> WRITING -----> IDLE ... closed
 *            (requests may follow each other before answers leave: a queue of exchanges, answered in order)
 *     framing error, 413, drain: no further request is read, what is queued is answered, then half-closed and lingered for, so that the client reads its answer
 */
#ifndef TOPICS_CONNECTION_H
#define TOPICS_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/exchange.h"

struct worker;
struct connection;
struct connections;

enum error connections_create(struct connections **connections, struct worker *worker);
/* Closes all of them; parked exchanges are cancelled. */
void connections_destroy(struct connections **connections);

/* Takes over an accepted, non-blocking socket. */
enum error connection_open(struct connections *connections, int fd);

/* An exchange has been ended; its answer leaves with the next connections_flush. */
void connection_answered(struct connection *connection, struct exchange *exchange);

/* Sends what has gathered since the last call: once per round of the loop, so that answers that come together leave together. */
void connections_flush(struct connections *connections);

/* Once a second: closes what made too little progress (connection_clock.c). */
void connections_sweep(struct connections *connections);

/* Answers get `Connection: close` from now on, idle connections are closed. True when none is left. */
void connections_drain(struct connections *connections);
bool connections_empty(const struct connections *connections);
bool connection_draining(const struct connection *connection);

/* Has the answer compressed: true when that has been done, else `finished` is called later. */
bool connections_compress(struct connections *connections, struct exchange *exchange, void (*finished)(struct exchange *exchange));

/* The time of day as a Date header has it. */
const char *connections_date(struct connections *connections);

/* How many bytes the page of a read may have now that asked for `wanted`: all, or a quarter of what is left of the budget, and never less than 64 KiB. */
uint64_t connections_page_bytes(const struct connections *connections, uint64_t wanted);

/* What exchanges hold of bodies and answers (exchange_account) is more than the worker's budget. */
bool connections_over_budget(const struct connections *connections);

#endif
