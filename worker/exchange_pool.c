#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/connection_internal.h"
#include "worker/worker.h"

enum { POOL_MAX = 1024 };

struct exchange *exchange_new(struct worker *worker, struct connection *connection)
{
	struct connections *connections = worker->connections;
	struct exchange *exchange = connections->pool;
	struct buffer answer = { 0 };
	if (exchange != NULL) {
		connections->pool = exchange->next;
		connections->pooled--;
		answer = exchange->answer;
	} else if ((exchange = malloc(sizeof *exchange)) == NULL) {
		return NULL;
	}
	/* The large arrays at its ends need no clearing. */
	memset(exchange, 0, offsetof(struct exchange, head_room));
	memset((char *)exchange + offsetof(struct exchange, head_large), 0, offsetof(struct exchange, headers) - offsetof(struct exchange, head_large));
	memset((char *)exchange + offsetof(struct exchange, headers_length), 0, offsetof(struct exchange, answer_head) - offsetof(struct exchange, headers_length));
	memset((char *)exchange + offsetof(struct exchange, answer_head_length), 0, sizeof *exchange - offsetof(struct exchange, answer_head_length));
	exchange->answer = answer;
	exchange->answer.length = 0;
	exchange->wal_us = exchange->sync_us = exchange->throttle_us = exchange->records_scanned = -1;
	exchange->worker = worker;
	exchange->connection = connection;
	return exchange;
}

void exchange_free(struct exchange **out)
{
	struct exchange *exchange = *out;
	struct connections *connections = exchange->worker->connections;
	*out = NULL;
	assert(connections->budget_used >= exchange->body_buffer.room);
	connections->budget_used -= exchange->body_buffer.room;
	free(exchange->head_large);
	buffer_free(&exchange->body_buffer);
	if (exchange->answer.room > 64 * 1024)
		buffer_free(&exchange->answer);
	if (connections->pooled < POOL_MAX) {
		exchange->next = connections->pool;
		connections->pool = exchange;
		connections->pooled++;
		return;
	}
	buffer_free(&exchange->answer);
	free(exchange);
}

void exchange_pool_empty(struct connections *connections)
{
	while (connections->pool != NULL) {
		struct exchange *exchange = connections->pool;
		connections->pool = exchange->next;
		buffer_free(&exchange->answer);
		free(exchange);
	}
}

void connections_charge(struct connections *connections, size_t bytes)
{
	connections->budget_used += bytes;
}

bool connections_over_budget(const struct connections *connections)
{
	return connections->budget_used > connections->worker->inherit.common.settings.worker_budget_bytes;
}
