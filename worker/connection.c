#include "worker/connection.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/connection_internal.h"
#include "worker/worker.h"

/* ---- closing ---- */

void connection_mark_dirty(struct connection *connection)
{
	if (connection->dirty)
		return;
	connection->dirty = true;
	connection->next_dirty = connection->owner->dirty;
	connection->owner->dirty = connection;
}

void connection_kill(struct connection *connection)
{
	struct connections *connections = connection->owner;
	if (connection->dead)
		return;
	connection->dead = true;
	event_free(connection->readable);
	event_free(connection->writable);
	close(connection->fd);
	while (connection->first != NULL) {
		struct exchange *exchange = connection->first;
		connection->first = exchange->next;
		if (exchange->parked != NULL && exchange->cancel != NULL)
			exchange->cancel(exchange);
		exchange_free(&exchange);
	}
	connection_dequeue(connection, WAITS_FOR_TURN);
	connection_dequeue(connection, WAITS_FOR_BUDGET);
	connection_give_up_pass(connection);
	*(connection->previous != NULL ? &connection->previous->next : &connections->first) = connection->next;
	if (connection->next != NULL)
		connection->next->previous = connection->previous;
	connections->count--;
	atomic_store_explicit(&connections->worker->counters->connections, connections->count, memory_order_relaxed);
	connection_mark_dirty(connection);
}

static void free_connection(struct connection *connection)
{
	free(connection->in);
	free(connection);
}

void connection_linger(struct connection *connection)
{
	connection->lingering = true;
	connection->deadline_us = worker_now_us();
	shutdown(connection->fd, SHUT_WR);
	event_add(connection->readable, NULL);
	if (connection->half_closed)
		connection_kill(connection);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;
	(void)fd;
	(void)what;
	connection_mark_dirty(connection);
}

/* ---- all of them ---- */

static void flush_one(struct connection *connection)
{
	connection_send(connection);
	if (connection->dead)
		return;
	connection_begin_held(connection);
	connection_go_on(connection); /* requests that waited for room */
}

static void flush_dirty(struct connections *connections)
{
	while (connections->dirty != NULL) {
		struct connection *connection = connections->dirty;
		connections->dirty = connection->next_dirty;
		connection->dirty = false;
		if (!connection->dead)
			flush_one(connection);
		/* A connection that died while it was flushed was marked again: its turn comes once more. */
		if (connection->dead && !connection->dirty)
			free_connection(connection);
	}
}

void connections_flush(struct connections *connections)
{
	flush_dirty(connections);
	while (connections->queue_first[WAITS_FOR_BUDGET] != NULL && (connections->pass == NULL || !connections_over_budget(connections))) {
		connections_resume(connections);
		flush_dirty(connections);
	}
}

enum error connection_open(struct connections *connections, int fd)
{
	struct event_base *base = connections->worker->base;
	struct connection *connection = calloc(1, sizeof *connection);
	if (connection == NULL)
		return ERR_NOMEM;
	connection->owner = connections;
	connection->fd = fd;
	connection->readable = event_new(base, fd, EV_READ | EV_PERSIST, connection_on_readable, connection);
	connection->writable = event_new(base, fd, EV_WRITE, on_writable, connection);
	if (connection->readable == NULL || connection->writable == NULL || event_add(connection->readable, NULL) != 0) {
		if (connection->readable != NULL)
			event_free(connection->readable);
		if (connection->writable != NULL)
			event_free(connection->writable);
		free(connection);
		return ERR_NOMEM;
	}
	connection_update_phase(connection);
	connection->next = connections->first;
	if (connections->first != NULL)
		connections->first->previous = connection;
	connections->first = connection;
	connections->count++;
	atomic_store_explicit(&connections->worker->counters->connections, connections->count, memory_order_relaxed);
	counters_add(&connections->worker->counters->connections_total, 1);
	return ERR_OK;
}

void connections_drain(struct connections *connections)
{
	connections->draining = true;
	for (struct connection *connection = connections->first, *next; connection != NULL; connection = next) {
		next = connection->next;
		/* What was being answered is answered; a request that is half there is not begun. */
		if (connection->queued - (connection->reading != NULL) == 0 && connection->unsent == 0)
			connection_kill(connection);
	}
}

bool connections_empty(const struct connections *connections)
{
	return connections->count == 0;
}

bool connection_draining(const struct connection *connection)
{
	return connection->owner->draining;
}

enum error connections_create(struct connections **out, struct worker *worker)
{
	struct connections *connections = calloc(1, sizeof *connections);
	if (connections == NULL)
		return ERR_NOMEM;
	connections->worker = worker;
	*out = connections;
	return connections_work_create(connections);
}

void connections_destroy(struct connections **out)
{
	struct connections *connections = *out;
	if (connections == NULL)
		return;
	while (connections->first != NULL)
		connection_kill(connections->first);
	connections_flush(connections);
	exchange_pool_empty(connections);
	connections_work_destroy(connections);
	free(connections->spare);
	free(connections);
	*out = NULL;
}
