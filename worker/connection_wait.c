#include <string.h>
#include <time.h>

#include "worker/compress.h"
#include "worker/connection_internal.h"
#include "worker/worker.h"

enum { PAGE_LEAST = 64 * 1024 };

/* ---- queues ---- */

void connection_enqueue(struct connection *connection, enum connection_queue queue)
{
	struct connections *connections = connection->owner;
	struct connection_link *link = &connection->links[queue];
	if (link->in)
		return;
	*link = (struct connection_link){ .previous = connections->queue_last[queue], .in = true };
	*(link->previous != NULL ? &link->previous->links[queue].next : &connections->queue_first[queue]) = connection;
	connections->queue_last[queue] = connection;
}

void connection_dequeue(struct connection *connection, enum connection_queue queue)
{
	struct connections *connections = connection->owner;
	struct connection_link *link = &connection->links[queue];
	if (!link->in)
		return;
	*(link->previous != NULL ? &link->previous->links[queue].next : &connections->queue_first[queue]) = link->next;
	*(link->next != NULL ? &link->next->links[queue].previous : &connections->queue_last[queue]) = link->previous;
	*link = (struct connection_link){ 0 };
}

/* ---- the budget ---- */

static uint64_t budget(const struct connections *connections)
{
	return connections->worker->inherit.common.settings.worker_budget_bytes;
}

bool connections_over_budget(const struct connections *connections)
{
	return connections->budget_used > budget(connections);
}

uint64_t connections_page_bytes(const struct connections *connections, uint64_t wanted)
{
	uint64_t all = budget(connections), left = all > connections->budget_used ? all - connections->budget_used : 0;
	uint64_t most = left / 4 > PAGE_LEAST ? left / 4 : PAGE_LEAST;
	return wanted < most ? wanted : most;
}

bool connection_has_budget(struct connection *connection, bool gathering)
{
	struct connections *connections = connection->owner;
	/* Twice as much for new requests, whose answers are small while it is used up: bodies that wait for each other hold up no small request. */
	uint64_t most = budget(connections) * (gathering ? 1 : 2);
	if (connections->budget_used <= most || connections->pass == connection)
		return true;
	if (connections->pass == NULL && connections->queue_first[WAITS_FOR_BUDGET] == NULL) {
		connections->pass = connection;
		return true;
	}
	connection_enqueue(connection, WAITS_FOR_BUDGET);
	return false;
}

void connection_give_up_pass(struct connection *connection)
{
	if (connection->owner->pass == connection)
		connection->owner->pass = NULL;
}

void connections_resume(struct connections *connections)
{
	struct connection *connection;
	while ((connection = connections->queue_first[WAITS_FOR_BUDGET]) != NULL) {
		if (connections_over_budget(connections)) {
			if (connections->pass != NULL)
				return;
			connections->pass = connection;
		}
		connection_dequeue(connection, WAITS_FOR_BUDGET);
		connection_go_on(connection);
	}
}

/* ---- work of more than one round ---- */

/* One slice of each kind. What is left comes in the next round, behind what the sockets bring. */
static void on_work(evutil_socket_t fd, short what, void *context)
{
	struct connections *connections = context;
	struct connection *connection = connections->queue_first[WAITS_FOR_TURN];
	(void)fd;
	(void)what;
	compressing_step(connections->compressing);
	if (connection != NULL) {
		connection_dequeue(connection, WAITS_FOR_TURN);
		connection_go_on(connection);
	}
	connections_schedule_work(connections);
}

void connections_schedule_work(struct connections *connections)
{
	const struct timeval at_once = { 0 };
	if (connections->queue_first[WAITS_FOR_TURN] != NULL || compressing_pending(connections->compressing))
		event_add(connections->work, &at_once);
}

bool connections_compress(struct connections *connections, struct exchange *exchange, void (*finished)(struct exchange *exchange))
{
	bool done = compressing_take(connections->compressing, exchange, finished);
	connections_schedule_work(connections);
	return done;
}

enum error connections_work_create(struct connections *connections)
{
	connections->work = event_new(connections->worker->base, -1, 0, on_work, connections);
	return connections->work != NULL ? compressing_create(&connections->compressing) : ERR_NOMEM;
}

void connections_work_destroy(struct connections *connections)
{
	if (connections->work != NULL)
		event_free(connections->work);
	compressing_destroy(&connections->compressing);
}

/* ---- the time of day ---- */

const char *connections_date(struct connections *connections)
{
	struct timespec now;
	struct tm utc;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (now.tv_sec != connections->date_s && gmtime_r(&now.tv_sec, &utc) != NULL) {
		connections->date_s = now.tv_sec;
		strftime(connections->date, sizeof connections->date, "%a, %d %b %Y %H:%M:%S GMT", &utc); /* no locale is ever set */
	}
	return connections->date;
}
