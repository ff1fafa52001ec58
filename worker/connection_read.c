#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "worker/connection_internal.h"
#include "worker/dispatch.h"
#include "worker/worker.h"

enum { LINGER_BYTES = 64 << 20 }; /* what a client that is still sending may send before we stop listening */

bool connection_may_read(const struct connection *connection)
{
	return !connection->lingering && connection->held == NULL && connection->queued < PIPELINE_MAX + (connection->reading != NULL) &&
	       connection->unsent < UNSENT_MAX && !connection->links[WAITS_FOR_TURN].in && !connection->links[WAITS_FOR_BUDGET].in;
}

void connection_update_reading(struct connection *connection)
{
	bool read = (connection_may_read(connection) && !connection->half_closed && !connection->no_more) || connection->lingering;
	if (read == !connection->paused)
		return;
	connection->paused = !read;
	if (read) {
		event_add(connection->readable, NULL);
		if (!connection->lingering)
			connection->deadline_us += worker_now_us() - connection->paused_us;
	} else {
		event_del(connection->readable);
		connection->paused_us = worker_now_us();
	}
}

/* An input buffer that is empty belongs to nobody: an idle connection holds none. */
static void give_room_back(struct connection *connection)
{
	struct connections *connections = connection->owner;
	if (connection->in_room == READ_ROOM && connections->spare == NULL) {
		connections->spare = connection->in;
	} else {
		free(connection->in);
	}
	connection->in = NULL;
	connection->in_room = 0;
}

static enum error input_room(struct connection *connection)
{
	struct connections *connections = connection->owner;
	if (connection->in == NULL && connections->spare != NULL) {
		connection->in = connections->spare;
		connection->in_room = READ_ROOM;
		connections->spare = NULL;
	}
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

/* For the request that begins now; NULL, and the connection is killed: no memory. */
static struct exchange *queue_exchange(struct connection *connection)
{
	struct exchange *exchange = exchange_new(connection->owner->worker, connection);
	if (exchange == NULL) {
		connection_kill(connection);
		return NULL;
	}
	exchange->minor = 1;
	exchange->started_us = worker_now_us();
	*(connection->last != NULL ? &connection->last->next : &connection->first) = exchange;
	connection->last = exchange;
	connection->queued++;
	return exchange;
}

void connection_refuse(struct connection *connection, enum error error, const char *problem)
{
	struct exchange *exchange = connection->reading != NULL ? connection->reading : queue_exchange(connection);
	if (exchange == NULL)
		return;
	connection->reading = NULL;
	connection->no_more = true;
	if (exchange->done) {
		connection->close_after = true;
		connection_mark_dirty(connection);
		return;
	}
	exchange->close_after = true;
	if (error == ERR_PAYLOAD_TOO_LARGE)
		dispatch_too_large(exchange);
	else
		exchange_error(exchange, error, NULL, "%s", problem);
}

static struct slice moved(struct slice slice, const char *from, const char *to)
{
	return slice.at == NULL ? slice : (struct slice){ to + (slice.at - from), slice.length };
}

enum { LISTS = 4 };

/* List fields that stand on several lines become one (each in `room` bytes from `to` on). */
static void join_lists(struct exchange *exchange, const struct http_head *head, char *to, size_t room)
{
	const struct { const char *name; struct slice *value; } lists[LISTS] = {
		{ "accept", &exchange->accept }, { "accept-encoding", &exchange->accept_encoding }, { "content-encoding", &exchange->content_encoding },
		{ "if-none-match", &exchange->if_none_match },
	};
	for (unsigned i = 0; i < LISTS; i++, to += room)
		if (lists[i].value->at != NULL)
			*lists[i].value = http_list_join(head, lists[i].name, to);
}

/* The head moves into the exchange: the input buffer moves on. */
static enum error keep_head(struct exchange *exchange, const struct http_head *head, const char *bytes, size_t length, struct slice *target)
{
	char *to = exchange->head_room;
	size_t room = head->repeated ? (1 + LISTS) * length : length; /* each list joined, too */
	if (room > sizeof exchange->head_room && (to = exchange->head_large = malloc(room)) == NULL)
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
	if (head->repeated)
		join_lists(exchange, head, to + length, length);
	return ERR_OK;
}

/* 100 Continue takes its place in the order of the answers, before that of the request at hand. Without memory for it the client's own wait ends. */
static void queue_continue(struct connection *connection)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct exchange *leave = exchange_new(connection->owner->worker, connection), **place = &connection->first;
	if (leave == NULL)
		return;
	while (*place != connection->reading)
		place = &(*place)->next;
	leave->next = *place;
	*place = leave;
	connection->queued++;
	connection->leave_queued = true;
	leave->answer_head_length = sizeof line - 1;
	memcpy(leave->answer_head, line, sizeof line - 1);
	leave->done = true;
	connection_answered(connection, leave);
}

static void begin_exchange(struct connection *connection, const struct http_head *head, const char *bytes, size_t length)
{
	struct worker *worker = connection->owner->worker;
	struct exchange *exchange = queue_exchange(connection);
	struct slice target;
	if (exchange == NULL)
		return;
	if (keep_head(exchange, head, bytes, length, &target) != ERR_OK) {
		connection_kill(connection);
		return;
	}
	exchange->hurried = connection->half_closed;
	connection->reading = exchange;
	connection->requests++;
	connection->leave_queued = false;
	http_body_begin(&connection->body, head);
	counters_add(&worker->counters->requests_total, 1);
	/* Refused by its head: who waits for leave to send its body may not send it at all, and a large one is not worth reading. The refusal has to say that it is the last answer. */
	bool unread = head->chunked || head->length > READ_ROOM_MAX || (head->expect_continue && head->length > 0);
	exchange->close_after |= unread;
	dispatch_head(exchange, head, target);
	if (exchange->done) {
		exchange->discard = true;
		if (unread)
			connection->reading = NULL;
		return;
	}
	exchange->close_after = !head->keep_alive;
	if (head->expect_continue && connection->in_end == connection->in_start + length)
		queue_continue(connection);
}

/* True if something was taken and the body goes on or is done. */
static bool parse_body(struct connection *connection)
{
	const char *payload, *problem = "";
	size_t consumed = 0, length = 0, taken = 0;
	struct exchange *exchange = connection->reading;
	uint64_t most = connection->owner->worker->inherit.common.settings.max_body_bytes;
	enum error error = http_body_next(&connection->body, (const char *)connection->in + connection->in_start, connection->in_end - connection->in_start,
	                                  &consumed, &payload, &length, &problem);
	if (error == ERR_OK && !exchange->unpack && connection->body.taken > most)
		error = ERR_PAYLOAD_TOO_LARGE;
	if (error == ERR_OK)
		error = connection_take_payload(connection, payload, length, &taken, &problem);
	if (error != ERR_OK) {
		connection_refuse(connection, error, problem);
		return false;
	}
	if (taken < length) {
		http_body_unread(&connection->body, length - taken);
		connection->in_start += consumed - (length - taken);
		return false;
	}
	if (connection->body.done)
		connection_body_complete(connection); /* the payload may lie in the input buffer, which must not move before */
	connection->in_start += consumed;
	return consumed > 0 || connection->body.done;
}

/* The head itself is refused: its answer has the form that it asks for. */
static void refuse_head(struct connection *connection, const struct http_head *head, enum error error, const char *problem)
{
	struct exchange *exchange = queue_exchange(connection);
	if (exchange == NULL)
		return;
	exchange->method = head->method;
	if (head->accept.at != NULL && head->accept.length <= sizeof exchange->head_room)
		exchange->accept = (struct slice){ memcpy(exchange->head_room, head->accept.at, head->accept.length), head->accept.length };
	connection->reading = exchange;
	connection_refuse(connection, error, problem);
}

void connection_time_out(struct connection *connection)
{
	static const char problem[] = "the request did not arrive in time";
	struct http_head head;
	if (connection->reading != NULL) {
		connection_refuse(connection, ERR_REQUEST_TIMEOUT, problem);
		return;
	}
	http_head_salvage((const char *)connection->in + connection->in_start, connection->in_end - connection->in_start, &head);
	refuse_head(connection, &head, ERR_REQUEST_TIMEOUT, problem);
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
		refuse_head(connection, &head, error, problem);
		return false;
	}
	if (!connection_has_budget(connection, false))
		return false;
	begin_exchange(connection, &head, bytes, consumed);
	connection->in_start += consumed;
	if (!connection->dead && connection->reading != NULL && connection->body.done)
		connection_body_complete(connection);
	return true;
}

static void parse(struct connection *connection)
{
	if (connection->busy)
		return;
	connection->busy = true;
	while (!connection->dead && !connection->no_more && connection->in_start < connection->in_end && connection_may_read(connection))
		if (!(connection->reading != NULL ? parse_body(connection) : parse_head(connection)))
			break;
	connection->busy = false;
	if (connection->dead)
		return;
	if (connection->in_start == connection->in_end) {
		connection->in_start = connection->in_end = 0;
		give_room_back(connection);
	}
	if (connection->no_more)
		connection->in_start = connection->in_end = 0;
}

void connection_go_on(struct connection *connection)
{
	parse(connection);
	if (connection->dead)
		return;
	connection_update_reading(connection);
	connection_update_phase(connection);
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

/* An incomplete request is no request, but what has been answered of it is owed. */
static void give_up_reading(struct connection *connection)
{
	struct exchange *exchange = connection->reading, *before = NULL;
	connection->reading = NULL;
	connection->no_more = true;
	if (exchange->done)
		return;
	for (struct exchange *at = connection->first; at != exchange; at = at->next)
		before = at;
	*(before != NULL ? &before->next : &connection->first) = NULL;
	connection->last = before;
	connection->queued--;
	exchange_free(&exchange);
	connection_give_up_pass(connection);
}

static void end_of_input(struct connection *connection)
{
	connection->half_closed = true;
	for (struct exchange *exchange = connection->first; exchange != NULL; exchange = exchange->next) {
		exchange->hurried = true;
		if (exchange->parked != NULL && exchange->hurry != NULL)
			exchange->hurry(exchange);
	}
	if (connection->reading != NULL)
		give_up_reading(connection);
	if (connection->queued == 0)
		connection_kill(connection); /* nothing is owed */
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
	connection->in_end += (size_t)n;
	connection_came(connection, (size_t)n);
	counters_add(&connection->owner->worker->counters->bytes_in_total, (uint64_t)n);
	connection_go_on(connection);
}
