#include <string.h>

#include "worker/connection_internal.h"
#include "worker/dispatch.h"
#include "worker/gzip.h"
#include "worker/worker.h"

enum {
	INFLATE_OUT = 128 * 1024,     /* written and read by one round at most: about half a millisecond */
	INFLATE_IN = 64 * 1024,
	BODY_FIRST = 4 * 1024,
};

static uint64_t most_bytes(const struct connection *connection)
{
	return connection->owner->worker->inherit.common.settings.max_body_bytes;
}

/* Room for `more` bytes, doubled as it grows but not past `most`, which all of the body cannot exceed. */
static enum error body_room(struct exchange *exchange, size_t more, uint64_t most)
{
	struct buffer *buffer = &exchange->body_buffer;
	size_t need = buffer->length + more, room = buffer->room != 0 ? buffer->room : BODY_FIRST;
	while (room < need)
		room *= 2;
	if (room > most)
		room = need > most ? need : (size_t)most;
	enum error error = room > buffer->room ? buffer_grow(buffer, room) : ERR_OK;
	exchange_account(exchange);
	return error;
}

/* The body as it is. */
static enum error gather(struct connection *connection, const char *payload, size_t length)
{
	struct exchange *exchange = connection->reading;
	struct buffer *buffer = &exchange->body_buffer;
	uint64_t most = connection->body.chunked ? most_bytes(connection) : buffer->length + length + connection->body.left;
	if (body_room(exchange, length, most) != ERR_OK)
		return ERR_NOMEM;
	memcpy(buffer->bytes + buffer->length, payload, length);
	buffer->length += length;
	return ERR_OK;
}

/* The body inflated, as much of it as one round may take. ERR_PAYLOAD_TOO_LARGE: it is larger than the limit. */
static enum error inflate_some(struct connection *connection, const uint8_t *payload, size_t length, size_t *taken)
{
	struct exchange *exchange = connection->reading;
	struct buffer *buffer = &exchange->body_buffer;
	uint64_t most = most_bytes(connection) + 1; /* a byte more than allowed shows that it is too large */
	size_t all = length < INFLATE_IN ? length : INFLATE_IN, written = 0;
	enum error error = exchange_inflater(exchange);
	*taken = 0;
	while (error == ERR_OK && *taken < all && written < INFLATE_OUT) {
		size_t used = 0, made = 0, guess = 4 * (all - *taken);
		if (buffer->length == buffer->room && body_room(exchange, guess < most - buffer->length ? guess : (size_t)(most - buffer->length), most) != ERR_OK)
			return ERR_NOMEM;
		size_t room = buffer->room - buffer->length < INFLATE_OUT - written ? buffer->room - buffer->length : INFLATE_OUT - written;
		error = inflater_run(exchange->inflater, payload + *taken, all - *taken, &used, buffer->bytes + buffer->length, room, &made);
		*taken += used;
		written += made;
		buffer->length += made;
		if (error == ERR_OK && buffer->length >= most)
			error = ERR_PAYLOAD_TOO_LARGE;
	}
	return error;
}

static const char *inflate_problem(enum error error)
{
	return error == ERR_INVALID_REQUEST ? "the gzip body is damaged, or something else stands behind it" : "the server has no memory left for this body";
}

enum error connection_take_payload(struct connection *connection, const char *payload, size_t length, size_t *taken, const char **problem)
{
	struct exchange *exchange = connection->reading;
	enum error error;
	*taken = length;
	if (exchange->discard || exchange->drop_body || length == 0)
		return ERR_OK;
	if (!exchange->unpack && connection->body.done && exchange->body_buffer.length == 0) {
		exchange->body = (const uint8_t *)payload; /* all of it, as it lies in the input */
		exchange->body_length = length;
		return ERR_OK;
	}
	if (!connection_has_budget(connection, true)) {
		*taken = 0;
		return ERR_OK;
	}
	if (!exchange->unpack)
		error = gather(connection, payload, length);
	else
		error = inflate_some(connection, (const uint8_t *)payload, length, taken);
	if (error != ERR_OK && error != ERR_PAYLOAD_TOO_LARGE)
		*problem = inflate_problem(error);
	if (error == ERR_OK && *taken < length) {
		connection_enqueue(connection, WAITS_FOR_TURN);
		connections_schedule_work(connection->owner);
	}
	return error == ERR_NOMEM ? ERR_INTERNAL : error;
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

void connection_body_complete(struct connection *connection)
{
	struct exchange *exchange = connection->reading;
	connection->reading = NULL;
	if (exchange->discard) {
		connection_mark_dirty(connection);
		return;
	}
	bool damaged = exchange->inflater != NULL && !inflater_at_end(exchange->inflater);
	exchange_release_inflater(exchange);
	if (damaged) {
		exchange_error(exchange, ERR_INVALID_REQUEST, NULL, "the gzip body ends before its end");
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
