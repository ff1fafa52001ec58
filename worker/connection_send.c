#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "worker/connection_internal.h"
#include "worker/worker.h"

enum { IOVECS = 32 };

void connection_answered(struct connection *connection, struct exchange *exchange)
{
	if (connection->unsent == 0)
		connection->send_deadline_us = 0;
	connection->unsent += exchange->answer_head_length + exchange->answer.length;
	if (exchange->close_after) {
		connection->close_after = true;
		connection->no_more = true;
	}
	connection_mark_dirty(connection);
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
		if (exchange == connection->reading) { /* answered before its body has come: it stays until that has been dropped */
			exchange->sent += left;
			return;
		}
		sent -= left;
		connection->first = exchange->next;
		if (connection->first == NULL)
			connection->last = NULL;
		connection->queued--;
		exchange_free(&exchange);
		connection_give_up_pass(connection);
	}
	if (connection->queued == 0 && connection->phase == PHASE_IDLE)
		connection->deadline_us = 0; /* the wait for the next request begins now */
}

static bool all_sent(const struct connection *connection)
{
	return connection->unsent == 0 && (connection->first == NULL || (connection->first == connection->reading && connection->first->done));
}

void connection_send(struct connection *connection)
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
			connection_kill(connection);
			return;
		}
		counters_add(&connection->owner->worker->counters->bytes_out_total, (uint64_t)sent);
		advance(connection, (size_t)sent);
	}
	if (!all_sent(connection))
		return;
	if (connection->close_after && !connection->lingering)
		connection_linger(connection);
	else if (connection->half_closed && connection->queued == 0)
		connection_kill(connection);
}

uint64_t connection_acked(const struct connection *connection)
{
	struct tcp_info info = { 0 };
	socklen_t size = sizeof info;
	if (getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || size < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked)
		return 0;
	return info.tcpi_bytes_acked;
}
