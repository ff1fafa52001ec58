/*
 * Deadlines and least rates (docs/api.md, "Slow clients"). With `limit` = settings.idle_timeout_ms:
 *
 *   a connection's first request, any head     complete within `limit` of its first byte (of the connection)
 *   body                                       each KiB buys a second, at most `limit` in store: 1 KiB/s on average, pauses shorter than `limit`
 *   unsent answers                             the same, by what the client's kernel acknowledges, not by what ours takes
 *   between requests                           ten times `limit`
 *   while the budget is used up                who holds a part of it and moves less than 64 KiB in each of two sweeps gives it back
 */
#include <stdlib.h>

#include "worker/connection_internal.h"
#include "worker/worker.h"

enum {
	LEAST_RATE = 1024,            /* bytes per second */
	PRESSED_RATE = 64 * 1024,     /* bytes per sweep */
	PRESSED_SWEEPS = 2,
	IDLE_FACTOR = 10,
	LINGER_US = 2 * 1000 * 1000,
};

static uint64_t limit_us(const struct connection *connection)
{
	return (uint64_t)connection->owner->worker->inherit.common.settings.idle_timeout_ms * 1000;
}

/* `bytes` more have moved: the deadline moves too. */
static uint64_t later(const struct connection *connection, uint64_t deadline_us, uint64_t bytes, uint64_t now_us)
{
	uint64_t most = now_us + limit_us(connection), bought = bytes < UINT32_MAX ? bytes * 1000000 / LEAST_RATE : limit_us(connection);
	return deadline_us + bought < most ? deadline_us + bought : most;
}

void connection_update_phase(struct connection *connection)
{
	enum connection_phase phase = connection->reading != NULL ? PHASE_BODY : connection->in_start < connection->in_end ? PHASE_HEAD : PHASE_IDLE;
	if (phase == connection->phase && connection->requests == connection->phase_request && connection->deadline_us != 0)
		return;
	bool idle = phase == PHASE_IDLE && connection->requests > 0;
	connection->phase = phase;
	connection->phase_request = connection->requests;
	connection->deadline_us = worker_now_us() + limit_us(connection) * (idle ? IDLE_FACTOR : 1);
}

void connection_came(struct connection *connection, size_t length)
{
	if (connection->phase != PHASE_BODY)
		return;
	connection->moved += length;
	connection->deadline_us = later(connection, connection->deadline_us, length, worker_now_us());
}

static void sweep_sending(struct connection *connection, uint64_t now_us)
{
	uint64_t acked = connection_acked(connection);
	if (connection->send_deadline_us == 0) { /* the first sweep that finds something unsent */
		connection->send_deadline_us = now_us + limit_us(connection);
	} else if (acked > connection->acked) {
		connection->moved += acked - connection->acked;
		connection->send_deadline_us = later(connection, connection->send_deadline_us, acked - connection->acked, now_us);
	}
	connection->acked = acked;
	if (now_us > connection->send_deadline_us)
		connection_kill(connection);
}

static void sweep_reading(struct connection *connection, uint64_t now_us)
{
	if (connection->leave_queued && connection->reading != NULL && connection->first != connection->reading)
		connection->deadline_us = now_us + limit_us(connection); /* leave to send the body has not left yet */
	if (connection->paused || connection->no_more || connection->half_closed || now_us <= connection->deadline_us)
		return;
	if (connection->phase != PHASE_IDLE)
		connection_time_out(connection);
	else if (connection->queued == 0)
		connection_kill(connection);
}

static void sweep_one(struct connection *connection, uint64_t now_us)
{
	if (connection->lingering) {
		if (now_us > connection->deadline_us + LINGER_US)
			connection_kill(connection);
		return;
	}
	/* What stands behind an answer that is not there yet waits for us, not for the client. */
	bool sending = connection->unsent > 0 && connection->first->done;
	if (sending)
		sweep_sending(connection, now_us);
	else
		connection->send_deadline_us = 0;
	if (!connection->dead)
		sweep_reading(connection, now_us);
	if (connection->dead)
		return;
	bool holds = sending || (connection->phase == PHASE_BODY && !connection->paused);
	connection->slow = holds && connection->moved < PRESSED_RATE ? connection->slow + 1 : 0;
	connection->moved = 0;
}

static uint64_t held_bytes(const struct connection *connection)
{
	uint64_t bytes = 0;
	for (const struct exchange *exchange = connection->first; exchange != NULL; exchange = exchange->next)
		bytes += exchange->charged;
	return bytes;
}

/* The budget is used up: those give back their part who hold `least` bytes or more of it and hardly move. */
static void press(struct connections *connections, uint64_t least)
{
	for (struct connection *connection = connections->first, *next; connection != NULL && connections_over_budget(connections); connection = next) {
		next = connection->next;
		if (connection->slow < PRESSED_SWEEPS || held_bytes(connection) < least)
			continue;
		connection->slow = 0;
		if (connection->reading == NULL || connection->no_more)
			connection_kill(connection);
		else
			connection_refuse(connection, ERR_REQUEST_TIMEOUT, "the server's memory for bodies is used up, and this one comes too slowly; try again");
	}
}

void connections_sweep(struct connections *connections)
{
	uint64_t now_us = worker_now_us();
	struct connection *pass = connections->pass;
	for (struct connection *connection = connections->first, *next; connection != NULL; connection = next) {
		next = connection->next;
		sweep_one(connection, now_us);
	}
	/* Who waits for something else holds nobody up. */
	if (pass != NULL && connections->pass == pass && pass->reading == NULL && pass->unsent == 0)
		connection_give_up_pass(pass);
	if (connections_over_budget(connections)) {
		press(connections, connections->worker->inherit.common.settings.worker_budget_bytes / 256);
		press(connections, 1);
	}
}
