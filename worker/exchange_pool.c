#include <stdlib.h>
#include <string.h>

#include "worker/connection_internal.h"
#include "worker/gzip.h"
#include "worker/worker.h"

enum { POOL_MAX = 1024, INFLATERS_MAX = 32, KEEP_ANSWER = 64 * 1024 };

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
	connections->budget_used -= exchange->charged;
	if (exchange->release != NULL)
		exchange->release(exchange);
	free(exchange->head_large);
	exchange_release_inflater(exchange);
	buffer_free(&exchange->body_buffer);
	if (exchange->answer.room > KEEP_ANSWER)
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

void exchange_account(struct exchange *exchange)
{
	struct connections *connections = exchange->worker->connections;
	size_t holds = exchange->body_buffer.room + (exchange->inflater != NULL ? INFLATER_BYTES : 0) + exchange->answer.length;
	connections->budget_used += (uint64_t)holds - exchange->charged;
	exchange->charged = holds;
}

/* ---- inflaters ---- */

enum error exchange_inflater(struct exchange *exchange)
{
	struct connections *connections = exchange->worker->connections;
	if (exchange->inflater != NULL)
		return ERR_OK;
	if (connections->inflaters != NULL) {
		exchange->inflater = connections->inflaters;
		connections->inflaters = inflater_next(exchange->inflater);
		connections->inflaters_pooled--;
		inflater_reset(exchange->inflater);
	} else if (inflater_create(&exchange->inflater) != ERR_OK) {
		return ERR_NOMEM;
	}
	exchange_account(exchange);
	return ERR_OK;
}

void exchange_release_inflater(struct exchange *exchange)
{
	struct connections *connections = exchange->worker->connections;
	if (exchange->inflater == NULL)
		return;
	if (connections->inflaters_pooled < INFLATERS_MAX) {
		inflater_set_next(exchange->inflater, connections->inflaters);
		connections->inflaters = exchange->inflater;
		connections->inflaters_pooled++;
		exchange->inflater = NULL;
	} else {
		inflater_destroy(&exchange->inflater);
	}
}

void exchange_pool_empty(struct connections *connections)
{
	while (connections->pool != NULL) {
		struct exchange *exchange = connections->pool;
		connections->pool = exchange->next;
		buffer_free(&exchange->answer);
		free(exchange);
	}
	while (connections->inflaters != NULL) {
		struct inflater *inflater = connections->inflaters;
		connections->inflaters = inflater_next(inflater);
		inflater_destroy(&inflater);
	}
}
