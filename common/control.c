#include "common/control.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The one table: who says what to whom, with how many descriptors. */
struct rule {
	uint32_t type;
	const char *name;
	enum control_party from;
	enum control_party to;
	unsigned fds_least;
	unsigned fds_most;
};

static const struct rule rules[] = {
	{ CTL_RING_NEW, "ring-new", PARTY_SUPERVISOR, PARTY_LOGD, 5, 5 },
	{ CTL_RING_GONE, "ring-gone", PARTY_SUPERVISOR, PARTY_LOGD, 0, 0 },
	{ CTL_EPHEMERAL, "ephemeral", PARTY_SUPERVISOR, PARTY_LOGD, 1, 1 },
	{ CTL_EPHEMERAL_RESERVE, "ephemeral-reserve", PARTY_SUPERVISOR, PARTY_LOGD, 1, 1 },
	{ CTL_START, "start", PARTY_SUPERVISOR, PARTY_LOGD, 0, 0 },
	{ CTL_STOP, "stop", PARTY_SUPERVISOR, PARTY_LOGD, 0, 0 },
	{ CTL_READY, "ready", PARTY_LOGD, PARTY_SUPERVISOR, 0, 0 },
	{ CTL_RING_BROKEN, "ring-broken", PARTY_LOGD, PARTY_SUPERVISOR, 0, 0 },
	{ CTL_RING_DROPPED, "ring-dropped", PARTY_LOGD, PARTY_SUPERVISOR, 0, 0 },
	{ CTL_FILE_BORN, "file-born", PARTY_LOGD, PARTY_SUPERVISOR, 0, 0 },
	{ CTL_FILE_RETIRED, "file-retired", PARTY_LOGD, PARTY_SUPERVISOR, 0, 0 },
	{ CTL_EPHEMERAL_USED, "ephemeral-used", PARTY_LOGD, PARTY_SUPERVISOR, 0, 0 },
	{ CTL_STATE, "state", PARTY_LOGD, PARTY_SUPERVISOR, 0, 0 },
	{ CTL_CATALOGUE, "catalogue", PARTY_SUPERVISOR, PARTY_WORKER, 1, 1 },
	{ CTL_FILE, "file", PARTY_SUPERVISOR, PARTY_WORKER, 0, 1 },
	{ CTL_FILE_CLOSE, "file-close", PARTY_SUPERVISOR, PARTY_WORKER, 0, 0 },
	{ CTL_DRAIN, "drain", PARTY_SUPERVISOR, PARTY_WORKER, 0, 0 },
	{ CTL_WORKER_READY, "worker-ready", PARTY_WORKER, PARTY_SUPERVISOR, 0, 0 },
	{ CTL_GIVE_FILE, "give-file", PARTY_WORKER, PARTY_SUPERVISOR, 0, 0 },
	{ CTL_WORKER_DRAINED, "worker-drained", PARTY_WORKER, PARTY_SUPERVISOR, 0, 0 },
};

static const struct rule *rule_of(uint32_t type)
{
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
		if (rules[i].type == type)
			return &rules[i];
	return NULL;
}

const char *control_name(uint32_t type)
{
	const struct rule *rule = rule_of(type);
	return rule != NULL ? rule->name : "unknown";
}

enum error control_send(int socket, const struct control *message, const int *fds, unsigned fd_count)
{
	struct iovec part = { .iov_base = (void *)(uintptr_t)message, .iov_len = sizeof *message };
	union {
		char bytes[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
		struct cmsghdr align;
	} ancillary = { .bytes = { 0 } };
	struct msghdr packet = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd_count > CONTROL_FDS)
		return ERR_RANGE;
	if (fd_count > 0) {
		packet.msg_control = ancillary.bytes;
		packet.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
		struct cmsghdr *rights = CMSG_FIRSTHDR(&packet);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(rights), fds, fd_count * sizeof(int));
	}
	ssize_t n;
	do {
		n = sendmsg(socket, &packet, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof *message)
		return ERR_OK;
	if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
		return ERR_AGAIN;
	return n < 0 && (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) ? ERR_EOF : ERR_IO;
}

static unsigned collect_fds(struct msghdr *packet, int fds[CONTROL_FDS])
{
	unsigned count = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(packet); c != NULL; c = CMSG_NXTHDR(packet, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n && count < CONTROL_FDS; i++)
			memcpy(&fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
	return count;
}

static void close_fds(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
}

static bool allowed(const struct control *message, enum control_party from, enum control_party to, unsigned fds)
{
	const struct rule *rule = rule_of(message->type);
	return message->version == CONTROL_VERSION && rule != NULL && rule->from == from && rule->to == to && fds >= rule->fds_least &&
	       fds <= rule->fds_most;
}

enum error control_receive(int socket, enum control_party from, enum control_party to, struct control *message, int fds[CONTROL_FDS],
                           unsigned *fd_count)
{
	struct iovec part = { .iov_base = message, .iov_len = sizeof *message };
	union {
		char bytes[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
		struct cmsghdr align;
	} ancillary;
	struct msghdr packet = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = ancillary.bytes, .msg_controllen = sizeof ancillary.bytes };
	ssize_t n;

	*fd_count = 0;
	memset(message, 0, sizeof *message);
	do {
		n = recvmsg(socket, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? ERR_AGAIN : errno == ECONNRESET ? ERR_EOF : ERR_IO;
	if (n == 0)
		return ERR_EOF;
	unsigned count = collect_fds(&packet, fds);
	if (n != (ssize_t)sizeof *message || (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || !allowed(message, from, to, count)) {
		close_fds(fds, count);
		return ERR_PROTOCOL;
	}
	*fd_count = count;
	return ERR_OK;
}
