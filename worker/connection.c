#include "worker/connection.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "worker/dispatch.h"
#include "worker/http.h"
#include "worker/worker.h"

enum {
	READ_ROOM = 16 * 1024,        /* first size of a connection's input buffer */
	READ_ROOM_MAX = 256 * 1024,
	PIPELINE_MAX = 32,            /* exchanges of one connection in flight; past it reading pauses */
	UNSENT_MAX = 1 << 20,         /* unsent answer bytes of one connection; past it reading pauses */
	IOVECS = 32,
	POOL_MAX = 1024,
	LINGER_MS = 2000,
	LINGER_BYTES = 64 << 20,      /* what a client that is still sending may send before we stop listening */
	IDLE_MS = 300 * 1000,         /* a kept-alive connection without a request */
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

static void parse(struct connection *connection);

/* ---- exchanges and their memory ---- */

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

void connections_charge(struct connections *connections, size_t bytes)
{
	connections->budget_used += bytes;
}

bool connections_over_budget(const struct connections *connections)
{
	return connections->budget_used > connections->worker->inherit.common.settings.worker_budget_bytes;
}

/* ---- closing ---- */

static void mark_dirty(struct connection *connection)
{
	if (connection->dirty)
		return;
	connection->dirty = true;
	connection->next_dirty = connection->owner->dirty;
	connection->owner->dirty = connection;
}

/* The one way out. Its memory goes with the next flush: it may be in the list of dirty ones, or in use further up the stack. */
static void kill_connection(struct connection *connection)
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
		if (exchange->done)
			connections->budget_used -= exchange->answer.length;
		exchange_free(&exchange);
	}
	*(connection->previous != NULL ? &connection->previous->next : &connections->first) = connection->next;
	if (connection->next != NULL)
		connection->next->previous = connection->previous;
	connections->count--;
	atomic_store_explicit(&connections->worker->counters->connections, connections->count, memory_order_relaxed);
	mark_dirty(connection);
}

static void free_connection(struct connection *connection)
{
	free(connection->in);
	free(connection);
}

/* Everything is sent: says so, and listens for a while to a client that is still sending, since a reset would take the answer from it. */
static void linger(struct connection *connection)
{
	connection->lingering = true;
	shutdown(connection->fd, SHUT_WR);
	event_add(connection->readable, NULL);
	if (connection->half_closed)
		kill_connection(connection);
}

/* ---- sending ---- */

void connection_answered(struct connection *connection, struct exchange *exchange)
{
	size_t size = exchange->answer_head_length + exchange->answer.length;
	connection->unsent += size;
	connection->owner->budget_used += exchange->answer.length;
	if (exchange->close_after) {
		connection->close_after = true;
		connection->no_more = true;
	}
	mark_dirty(connection);
}

static unsigned gather(const struct connection *connection, struct iovec *parts)
{
	unsigned n = 0;
	for (const struct exchange *exchange = connection->first; exchange != NULL && exchange->done && n + 2 <= IOVECS; exchange = exchange->next) {
		size_t head = exchange->answer_head_length, sent = exchange->sent;
		if (sent < head)
			parts[n++] = (struct iovec){ (char *)(uintptr_t)exchange->answer_head + sent, head - sent };
		size_t body_sent = sent > head ? sent - head : 0;
		if (exchange->answer.length > body_sent)
			parts[n++] = (struct iovec){ exchange->answer.bytes + body_sent, exchange->answer.length - body_sent };
	}
	return n;
}

/* Takes `sent` bytes off the front; finished exchanges go back to the pool. */
static void advance(struct connection *connection, size_t sent)
{
	connection->unsent -= sent;
	while (connection->first != NULL && connection->first->done) {
		struct exchange *exchange = connection->first;
		size_t left = exchange->answer_head_length + exchange->answer.length - exchange->sent;
		if (sent < left) {
			exchange->sent += sent;
			return;
		}
		if (exchange == connection->reading) /* answered before its body has come: it stays until that has been dropped */
			return;
		sent -= left;
		connection->first = exchange->next;
		if (connection->first == NULL)
			connection->last = NULL;
		connection->queued--;
		connection->owner->budget_used -= exchange->answer.length;
		exchange_free(&exchange);
	}
}

static bool all_sent(const struct connection *connection)
{
	return connection->unsent == 0 && (connection->first == NULL || (connection->first == connection->reading && connection->first->done));
}

static void send_answers(struct connection *connection)
{
	struct iovec parts[IOVECS];
	advance(connection, 0); /* an answer that had left before its body was dropped */
	while (connection->unsent > 0) {
		unsigned n = gather(connection, parts);
		if (n == 0)
			break;
		struct msghdr message = { .msg_iov = parts, .msg_iovlen = n };
		ssize_t sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN) {
			event_add(connection->writable, NULL);
			return;
		}
		if (sent < 0) {
			kill_connection(connection);
			return;
		}
		connection->progress_us = worker_now_us();
		atomic_fetch_add_explicit(&connection->owner->worker->counters->bytes_out_total, (uint64_t)sent, memory_order_relaxed);
		advance(connection, (size_t)sent);
	}
	if (!all_sent(connection))
		return;
	if (connection->close_after && !connection->lingering)
		linger(connection);
	else if (connection->half_closed && connection->queued == 0)
		kill_connection(connection);
}

/* ---- reading ---- */

static bool may_read(const struct connection *connection)
{
	return !connection->lingering && connection->held == NULL && connection->queued < PIPELINE_MAX && connection->unsent < UNSENT_MAX;
}

/* Back-pressure: while too much of this connection is unanswered or unsent nothing more is read from it. */
static void update_reading(struct connection *connection)
{
	bool budget = connection->reading == NULL || !connections_over_budget(connection->owner) || connection->body.taken > 0;
	bool read = (may_read(connection) && budget && !connection->half_closed && !connection->no_more) || connection->lingering;
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

/* A request that cannot be taken on: its answer comes behind those of the earlier ones, then the connection closes. */
static void refuse(struct connection *connection, enum error error, const char *problem)
{
	struct exchange *exchange = connection->reading;
	if (exchange == NULL) {
		exchange = exchange_new(connection->owner->worker, connection);
		if (exchange == NULL) {
			kill_connection(connection);
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
		mark_dirty(connection);
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
		kill_connection(connection);
		return;
	}
	exchange->started_us = worker_now_us();
	*(connection->last != NULL ? &connection->last->next : &connection->first) = exchange;
	connection->last = exchange;
	connection->queued++;
	connection->reading = exchange;
	connection->requests++;
	http_body_begin(&connection->body, head);
	atomic_fetch_add_explicit(&worker->counters->requests_total, 1, memory_order_relaxed);
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

static void begin_held(struct connection *connection)
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
		mark_dirty(connection);
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
		refuse(connection, error, problem);
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
		refuse(connection, error, problem);
		return false;
	}
	begin_exchange(connection, &head, bytes, consumed);
	connection->in_start += consumed;
	if (!connection->dead && connection->reading != NULL && connection->body.done)
		body_complete(connection);
	return !connection->dead;
}

static void parse(struct connection *connection)
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
			kill_connection(connection);
			return;
		}
	}
}

static void end_of_input(struct connection *connection)
{
	connection->half_closed = true;
	if (connection->queued == 0 || connection->reading != NULL)
		kill_connection(connection); /* nothing is owed: an incomplete request is no request */
	else
		mark_dirty(connection);
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;
	(void)what;
	if (connection->lingering) {
		drop_input(connection);
		return;
	}
	if (input_room(connection) != ERR_OK) {
		kill_connection(connection);
		return;
	}
	ssize_t n = recv(fd, connection->in + connection->in_end, connection->in_room - connection->in_end, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		kill_connection(connection);
		return;
	}
	if (n == 0) {
		end_of_input(connection);
		if (!connection->dead)
			update_reading(connection);
		return;
	}
	connection->progress_us = worker_now_us();
	connection->in_end += (size_t)n;
	atomic_fetch_add_explicit(&connection->owner->worker->counters->bytes_in_total, (uint64_t)n, memory_order_relaxed);
	parse(connection);
	if (!connection->dead)
		update_reading(connection);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;
	(void)fd;
	(void)what;
	mark_dirty(connection);
}

/* ---- all of them ---- */

static void flush_one(struct connection *connection)
{
	send_answers(connection);
	if (connection->dead)
		return;
	begin_held(connection);
	if (!connection->no_more && connection->in_start < connection->in_end && may_read(connection))
		parse(connection); /* requests that waited for room */
	if (!connection->dead)
		update_reading(connection);
}

void connections_flush(struct connections *connections)
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

enum error connection_open(struct connections *connections, int fd)
{
	struct event_base *base = connections->worker->base;
	struct connection *connection = calloc(1, sizeof *connection);
	if (connection == NULL)
		return ERR_NOMEM;
	connection->owner = connections;
	connection->fd = fd;
	connection->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, connection);
	connection->writable = event_new(base, fd, EV_WRITE, on_writable, connection);
	if (connection->readable == NULL || connection->writable == NULL || event_add(connection->readable, NULL) != 0) {
		if (connection->readable != NULL)
			event_free(connection->readable);
		if (connection->writable != NULL)
			event_free(connection->writable);
		free(connection);
		return ERR_NOMEM;
	}
	connection->progress_us = worker_now_us();
	connection->next = connections->first;
	if (connections->first != NULL)
		connections->first->previous = connection;
	connections->first = connection;
	connections->count++;
	atomic_store_explicit(&connections->worker->counters->connections, connections->count, memory_order_relaxed);
	atomic_fetch_add_explicit(&connections->worker->counters->connections_total, 1, memory_order_relaxed);
	return ERR_OK;
}

static void sweep_one(struct connection *connection, uint64_t now_us)
{
	uint64_t idle_ms = (now_us - connection->progress_us) / 1000, limit = connection->owner->worker->inherit.common.settings.idle_timeout_ms;
	bool in_request = connection->reading != NULL || connection->in_start < connection->in_end;
	if (connection->lingering) {
		if (idle_ms > LINGER_MS)
			kill_connection(connection);
	} else if (connection->unsent > 0) {
		if (idle_ms > limit)
			kill_connection(connection);
	} else if (in_request && !connection->waits_for_budget && connection->queued <= (connection->reading != NULL)) {
		if (idle_ms > limit)
			refuse(connection, ERR_REQUEST_TIMEOUT, "the request did not arrive in time");
	} else if (connection->queued == 0 && idle_ms > (connection->requests == 0 ? limit : IDLE_MS)) {
		kill_connection(connection);
	}
	if (!connection->dead && connection->waits_for_budget)
		update_reading(connection);
}

void connections_sweep(struct connections *connections)
{
	uint64_t now_us = worker_now_us();
	for (struct connection *connection = connections->first, *next; connection != NULL; connection = next) {
		next = connection->next;
		sweep_one(connection, now_us);
	}
}

void connections_drain(struct connections *connections)
{
	connections->draining = true;
	for (struct connection *connection = connections->first, *next; connection != NULL; connection = next) {
		next = connection->next;
		/* What was being answered is answered; a request that is half there is not begun. */
		if (connection->queued - (connection->reading != NULL) == 0 && connection->unsent == 0)
			kill_connection(connection);
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
	return ERR_OK;
}

void connections_destroy(struct connections **out)
{
	struct connections *connections = *out;
	if (connections == NULL)
		return;
	while (connections->first != NULL)
		kill_connection(connections->first);
	connections_flush(connections);
	while (connections->pool != NULL) {
		struct exchange *exchange = connections->pool;
		connections->pool = exchange->next;
		buffer_free(&exchange->answer);
		free(exchange);
	}
	free(connections);
	*out = NULL;
}
