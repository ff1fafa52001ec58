#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "worker/connection_internal.h"
#include "worker/dispatch.h"
#include "worker/worker.h"

enum {
	READ_ROOM = 16 * 1024,        /* first size of a connection's input buffer */
	READ_ROOM_MAX = 256 * 1024,
	LINGER_BYTES = 64 << 20,      /* what a client that is still sending may send before we stop listening */
};

bool connection_may_read(const struct connection *connection)
{
	return !connection->lingering && connection->held == NULL && connection->queued < PIPELINE_MAX && connection->unsent < UNSENT_MAX;
}

void connection_update_reading(struct connection *connection)
{
	bool budget = connection->reading == NULL || !connections_over_budget(connection->owner) || connection->body.taken > 0;
	bool read = (connection_may_read(connection) && budget && !connection->half_closed && !connection->no_more) || connection->lingering;
	connection->waits_for_budget = !budget;
	if (read == !connection->paused)
		return;
	connection->paused = !read;
	if (read)
		event_add(connection->readable, NULL);
	else
		event_del(connection->readable);
}

static enum error input_room(struct connection *connection)
{
	size_t used = connection->in_end - connection->in_start;
	if (connection->in_start > 0) {
		memmove(connection->in, connection->in + connection->in_start, used);
		connection->in_start = 0;
		connection->in_end = used;
	}
	if (connection->in_room - connection->in_end >= READ_ROOM / 2)
		return ERR_OK;
	size_t room = connection->in_room ? connection->in_room * 2 : READ_ROOM;
	if (room > READ_ROOM_MAX)
		return connection->in_end < connection->in_room ? ERR_OK : ERR_LIMIT;
	uint8_t *bigger = realloc(connection->in, room);
	if (bigger == NULL)
		return ERR_NOMEM;
	connection->in = bigger;
	connection->in_room = room;
	return ERR_OK;
}

void connection_refuse(struct connection *connection, enum error error, const char *problem)
{
	struct exchange *exchange = connection->reading;
	if (exchange == NULL) {
		exchange = exchange_new(connection->owner->worker, connection);
		if (exchange == NULL) {
			connection_kill(connection);
			return;
		}
		exchange->minor = 1;
		exchange->started_us = worker_now_us();
		*(connection->last != NULL ? &connection->last->next : &connection->first) = exchange;
		connection->last = exchange;
		connection->queued++;
	}
	connection->reading = NULL;
	connection->no_more = true;
	if (exchange->done) {
		connection->close_after = true;
		connection_mark_dirty(connection);
		return;
	}
	exchange->close_after = true;
	exchange_error(exchange, error, NULL, "%s", problem);
}

static struct slice moved(struct slice slice, const char *from, const char *to)
{
	return slice.at == NULL ? slice : (struct slice){ to + (slice.at - from), slice.length };
}

/* The head moves into the exchange: the input buffer moves on. */
static enum error keep_head(struct exchange *exchange, const struct http_head *head, const char *bytes, size_t length, struct slice *target)
{
	char *to = exchange->head_room;
	if (length > sizeof exchange->head_room && (to = exchange->head_large = malloc(length)) == NULL)
		return ERR_NOMEM;
	memcpy(to, bytes, length);
	exchange->method = head->method;
	exchange->minor = head->minor;
	exchange->close_after = !head->keep_alive;
	exchange->content_type = moved(head->content_type, bytes, to);
	exchange->content_encoding = moved(head->content_encoding, bytes, to);
	exchange->accept = moved(head->accept, bytes, to);
	exchange->accept_encoding = moved(head->accept_encoding, bytes, to);
	exchange->authorization = moved(head->authorization, bytes, to);
	exchange->idempotency_key = moved(head->idempotency_key, bytes, to);
	exchange->if_none_match = moved(head->if_none_match, bytes, to);
	*target = moved(head->target, bytes, to);
	return ERR_OK;
}

static void send_continue(struct connection *connection)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
	/* 25 bytes into an empty socket buffer; only when no earlier answer waits, else the client's own wait ends it. */
	if (connection->first == connection->reading && send(connection->fd, line, sizeof line - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		connection->no_more = true;
}

static void begin_exchange(struct connection *connection, const struct http_head *head, const char *bytes, size_t length)
{
	struct worker *worker = connection->owner->worker;
	struct exchange *exchange = exchange_new(worker, connection);
	struct slice target;
	if (exchange == NULL || keep_head(exchange, head, bytes, length, &target) != ERR_OK) {
		if (exchange != NULL)
			exchange_free(&exchange);
		connection_kill(connection);
		return;
	}
	exchange->started_us = worker_now_us();
	*(connection->last != NULL ? &connection->last->next : &connection->first) = exchange;
	connection->last = exchange;
	connection->queued++;
	connection->reading = exchange;
	connection->requests++;
	http_body_begin(&connection->body, head);
	counters_add(&worker->counters->requests_total, 1);
	dispatch_head(exchange, head, target);
	if (exchange->done) {
		/* Refused by its head. Who waits for leave to send its body may not send it at all, and a large one is not worth reading. */
		exchange->discard = true;
		bool body = head->chunked || head->length > 0;
		if (body && (head->expect_continue || head->length > READ_ROOM_MAX || head->chunked)) {
			connection->no_more = true;
			connection->close_after = true;
			connection->reading = NULL;
		}
		return;
	}
	if (head->expect_continue && connection->in_end == connection->in_start + length)
		send_continue(connection);
}

/* A run of payload: handed on as it lies when it is the whole body, else gathered. */
static enum error take_payload(struct connection *connection, const char *payload, size_t length)
{
	struct exchange *exchange = connection->reading;
	struct buffer *buffer = &exchange->body_buffer;
	if (exchange->discard || length == 0)
		return ERR_OK;
	if (connection->body.done && buffer->length == 0) {
		exchange->body = (const uint8_t *)payload;
		exchange->body_length = length;
		return ERR_OK;
	}
	size_t before = buffer->room;
	enum error error = buffer_reserve(buffer, length);
	if (error != ERR_OK)
		return error;
	connection->owner->budget_used += buffer->room - before;
	memcpy(buffer->bytes + buffer->length, payload, length);
	buffer->length += length;
	return ERR_OK;
}

/*
 * Requests of one connection take effect in their order (RFC 9112 9.3.2). Writes may follow each other without waiting, since the ring keeps their order; anything else waits until
 * what came before it has been answered.
 */
static bool must_wait(const struct connection *connection, const struct exchange *exchange)
{
	for (const struct exchange *before = connection->first; before != exchange; before = before->next)
		if (!before->done && !(dispatch_is_write(before) && dispatch_is_write(exchange)))
			return true;
	return false;
}

void connection_begin_held(struct connection *connection)
{
	struct exchange *exchange = connection->held;
	if (exchange == NULL || must_wait(connection, exchange))
		return;
	connection->held = NULL;
	dispatch_body(exchange);
}

static void body_complete(struct connection *connection)
{
	struct exchange *exchange = connection->reading;
	connection->reading = NULL;
	if (exchange->discard) {
		connection_mark_dirty(connection);
		return;
	}
	if (exchange->body_buffer.length > 0) {
		exchange->body = exchange->body_buffer.bytes;
		exchange->body_length = exchange->body_buffer.length;
	}
	if (!must_wait(connection, exchange))
		dispatch_body(exchange);
	else if (exchange_keep_body(exchange) == ERR_OK)
		connection->held = exchange;
	else
		exchange_error(exchange, ERR_INTERNAL, NULL, "the server has no memory left; try again");
}

/* True if something was taken and the body goes on or is done. */
static bool parse_body(struct connection *connection)
{
	const char *payload, *problem = "";
	size_t consumed = 0, length = 0;
	uint64_t most = connection->owner->worker->inherit.common.settings.max_body_bytes;
	enum error error = http_body_next(&connection->body, (const char *)connection->in + connection->in_start, connection->in_end - connection->in_start,
	                                  &consumed, &payload, &length, &problem);
	if (error == ERR_OK && connection->body.taken > most) {
		error = ERR_PAYLOAD_TOO_LARGE;
		problem = "the body is larger than TOPICS_MAX_BODY_BYTES allows";
	}
	if (error == ERR_OK && take_payload(connection, payload, length) != ERR_OK) {
		error = ERR_INTERNAL;
		problem = "the server has no memory left for this body";
	}
	if (error != ERR_OK) {
		connection_refuse(connection, error, problem);
		return false;
	}
	if (connection->body.done)
		body_complete(connection); /* the payload may lie in the input buffer, which must not move before */
	connection->in_start += consumed;
	return consumed > 0 || connection->body.done;
}

static bool parse_head(struct connection *connection)
{
	struct http_head head;
	size_t consumed = 0;
	const char *problem = "", *bytes = (const char *)connection->in + connection->in_start;
	enum error error = http_head_parse(bytes, connection->in_end - connection->in_start, &head, &consumed, &problem);
	if (error == ERR_AGAIN)
		return false;
	if (error != ERR_OK) {
		connection_refuse(connection, error, problem);
		return false;
	}
	begin_exchange(connection, &head, bytes, consumed);
	connection->in_start += consumed;
	if (!connection->dead && connection->reading != NULL && connection->body.done)
		body_complete(connection);
	return !connection->dead;
}

void connection_parse(struct connection *connection)
{
	if (connection->busy)
		return;
	connection->busy = true;
	while (!connection->dead && !connection->no_more && connection->held == NULL && connection->queued < PIPELINE_MAX + (connection->reading != NULL) &&
	       (connection->in_start < connection->in_end) && connection->unsent < UNSENT_MAX)
		if (!(connection->reading != NULL ? parse_body(connection) : parse_head(connection)))
			break;
	connection->busy = false;
	if (connection->dead)
		return;
	if (connection->in_start == connection->in_end) {
		connection->in_start = connection->in_end = 0;
		if (connection->in_room > READ_ROOM) {
			free(connection->in);
			connection->in = NULL;
			connection->in_room = 0;
		}
	}
	if (connection->no_more)
		connection->in_start = connection->in_end = 0;
}

static void drop_input(struct connection *connection)
{
	char sink[16384];
	for (unsigned i = 0; i < 16; i++) {
		ssize_t n = recv(connection->fd, sink, sizeof sink, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		connection->lingered += n > 0 ? (uint64_t)n : 0;
		if (n <= 0 || connection->lingered > LINGER_BYTES) {
			connection_kill(connection);
			return;
		}
	}
}

static void end_of_input(struct connection *connection)
{
	connection->half_closed = true;
	if (connection->queued == 0 || connection->reading != NULL)
		connection_kill(connection); /* nothing is owed: an incomplete request is no request */
	else
		connection_mark_dirty(connection);
}

void connection_on_readable(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;
	(void)what;
	if (connection->lingering) {
		drop_input(connection);
		return;
	}
	if (input_room(connection) != ERR_OK) {
		connection_kill(connection);
		return;
	}
	ssize_t n = recv(fd, connection->in + connection->in_end, connection->in_room - connection->in_end, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		connection_kill(connection);
		return;
	}
	if (n == 0) {
		end_of_input(connection);
		if (!connection->dead)
			connection_update_reading(connection);
		return;
	}
	connection->progress_us = worker_now_us();
	connection->in_end += (size_t)n;
	counters_add(&connection->owner->worker->counters->bytes_in_total, (uint64_t)n);
	connection_parse(connection);
	if (!connection->dead)
		connection_update_reading(connection);
}
