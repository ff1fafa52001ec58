#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/control.h"
#include "tests/child.h"

/* What docs/control-messages.md says, apart from the table in common/control.c. */
static const struct {
	uint32_t type;
	const char *name;
	enum control_party from, to;
	unsigned least, most;
} messages[] = {
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
enum { MESSAGES = sizeof messages / sizeof messages[0], TYPES_END = 64 };

struct fixture {
	int ours, theirs;
	int fds[CONTROL_FDS + 1]; /* something to hand over */
	unsigned open;            /* descriptors of this process before a case */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	int pair[2];

	if (f == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return 1;
	f->ours = pair[0];
	f->theirs = pair[1];
	for (unsigned i = 0; i <= CONTROL_FDS; i++)
		f->fds[i] = open("/dev/null", O_RDONLY);
	f->open = open_descriptors();
	*state = f;
	return f->fds[CONTROL_FDS] < 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close(f->ours);
	close(f->theirs);
	for (unsigned i = 0; i <= CONTROL_FDS; i++)
		close(f->fds[i]);
	free(f);
	return 0;
}

static struct control message_of(uint32_t type)
{
	return (struct control){ .version = CONTROL_VERSION, .type = type, .slot = 3, .kind = 'w', .incarnation = 0x1122334455667788, .a = UINT64_MAX, .b = 5 };
}

static enum error passes(struct fixture *f, uint32_t type, enum control_party from, enum control_party to, unsigned fd_count)
{
	struct control sent = message_of(type), got;
	int fds[CONTROL_FDS];
	unsigned count = 99;
	enum error error;

	assert_int_equal(control_send(f->ours, &sent, f->fds, fd_count), ERR_OK);
	error = control_receive(f->theirs, from, to, &got, fds, &count);
	assert_int_equal(count, error == ERR_OK ? fd_count : 0);
	if (error == ERR_OK)
		assert_memory_equal(&got, &sent, sizeof sent);
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
	assert_int_equal(open_descriptors(), f->open); /* those that were refused are closed */
	return error;
}

static void every_message_passes_in_its_direction_with_its_descriptors(void **state)
{
	for (unsigned i = 0; i < MESSAGES; i++) {
		assert_int_equal(passes(*state, messages[i].type, messages[i].from, messages[i].to, messages[i].least), ERR_OK);
		assert_int_equal(passes(*state, messages[i].type, messages[i].from, messages[i].to, messages[i].most), ERR_OK);
		assert_string_equal(control_name(messages[i].type), messages[i].name);
	}
}

static void no_message_passes_in_another_direction(void **state)
{
	for (unsigned i = 0; i < MESSAGES; i++)
		for (enum control_party from = PARTY_SUPERVISOR; from <= PARTY_WORKER; from++)
			for (enum control_party to = PARTY_SUPERVISOR; to <= PARTY_WORKER; to++)
				if (from != messages[i].from || to != messages[i].to)
					assert_int_equal(passes(*state, messages[i].type, from, to, messages[i].least), ERR_PROTOCOL);
}

static void another_number_of_descriptors_is_a_protocol_violation(void **state)
{
	for (unsigned i = 0; i < MESSAGES; i++)
		for (unsigned n = 0; n <= CONTROL_FDS; n++)
			if (n < messages[i].least || n > messages[i].most)
				assert_int_equal(passes(*state, messages[i].type, messages[i].from, messages[i].to, n), ERR_PROTOCOL);
}

static void unknown_type_is_a_protocol_violation(void **state)
{
	for (uint32_t type = 0; type < TYPES_END; type++) {
		unsigned i = 0;
		while (i < MESSAGES && messages[i].type != type)
			i++;
		if (i < MESSAGES)
			continue;
		for (enum control_party from = PARTY_SUPERVISOR; from <= PARTY_WORKER; from++)
			for (enum control_party to = PARTY_SUPERVISOR; to <= PARTY_WORKER; to++)
				assert_int_equal(passes(*state, type, from, to, 0), ERR_PROTOCOL);
		assert_string_equal(control_name(type), "unknown");
	}
}

static void another_version_or_length_is_a_protocol_violation(void **state)
{
	struct fixture *f = *state;
	struct { struct control message; char more; } sent = { message_of(CTL_START), 'x' };
	struct control got;
	int fds[CONTROL_FDS];
	unsigned count;

	sent.message.version = CONTROL_VERSION + 1;
	assert_int_equal(send(f->ours, &sent, sizeof sent.message, 0), sizeof sent.message);
	assert_int_equal(control_receive(f->theirs, PARTY_SUPERVISOR, PARTY_LOGD, &got, fds, &count), ERR_PROTOCOL);
	sent.message.version = CONTROL_VERSION;
	for (size_t length = 1; length <= sizeof sent.message + 1; length++) {
		assert_int_equal(send(f->ours, &sent, length, 0), length);
		assert_int_equal(control_receive(f->theirs, PARTY_SUPERVISOR, PARTY_LOGD, &got, fds, &count),
		                 length == sizeof sent.message ? ERR_OK : ERR_PROTOCOL);
	}
}

static void more_descriptors_than_a_message_has_room_for_are_closed(void **state)
{
	struct fixture *f = *state;
	struct control message = message_of(CTL_RING_NEW), got;
	struct iovec part = { &message, sizeof message };
	char ancillary[CMSG_SPACE(sizeof f->fds)] __attribute__((aligned(8))) = { 0 };
	struct msghdr packet = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = ancillary, .msg_controllen = sizeof ancillary };
	struct cmsghdr *rights = CMSG_FIRSTHDR(&packet);
	int fds[CONTROL_FDS];
	unsigned count;

	assert_int_equal(control_send(f->ours, &message, f->fds, CONTROL_FDS + 1), ERR_RANGE);
	*rights = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof f->fds) };
	memcpy(CMSG_DATA(rights), f->fds, sizeof f->fds);
	assert_int_equal(sendmsg(f->ours, &packet, 0), sizeof message);
	assert_int_equal(control_receive(f->theirs, PARTY_SUPERVISOR, PARTY_LOGD, &got, fds, &count), ERR_PROTOCOL);
	assert_int_equal(count, 0);
	assert_int_equal(open_descriptors(), f->open);
}

static void received_descriptors_are_the_objects_in_order_and_closed_on_exec(void **state)
{
	struct fixture *f = *state;
	struct control message = message_of(CTL_RING_NEW), got;
	int pipes[6], fds[CONTROL_FDS];
	struct stat sent, came;
	unsigned count;

	assert_int_equal(pipe(pipes) | pipe(pipes + 2) | pipe(pipes + 4), 0);
	assert_int_equal(control_send(f->ours, &message, pipes, 5), ERR_OK);
	assert_int_equal(control_receive(f->theirs, PARTY_SUPERVISOR, PARTY_LOGD, &got, fds, &count), ERR_OK);
	assert_int_equal(count, 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(fstat(pipes[i], &sent) | fstat(fds[i], &came), 0);
		assert_int_equal(sent.st_ino, came.st_ino);
		assert_int_equal(fcntl(pipes[i], F_GETFL), fcntl(fds[i], F_GETFL));
		assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
		close(pipes[i]); /* they stay the sender's */
		close(fds[i]);
	}
	close(pipes[5]);
}

static void empty_full_and_ended_sockets_say_so_without_blocking(void **state)
{
	struct fixture *f = *state;
	struct control message = message_of(CTL_START), got;
	int fds[CONTROL_FDS];
	unsigned count, sent = 0;
	enum error error;

	assert_int_equal(control_receive(f->theirs, PARTY_SUPERVISOR, PARTY_LOGD, &got, fds, &count), ERR_AGAIN);
	while ((error = control_send(f->ours, &message, NULL, 0)) == ERR_OK)
		sent++;
	assert_int_equal(error, ERR_AGAIN);
	close(f->ours);
	f->ours = -1;
	for (; sent > 0; sent--)
		assert_int_equal(control_receive(f->theirs, PARTY_SUPERVISOR, PARTY_LOGD, &got, fds, &count), ERR_OK);
	assert_int_equal(control_receive(f->theirs, PARTY_SUPERVISOR, PARTY_LOGD, &got, fds, &count), ERR_EOF);
	assert_int_equal(control_send(f->theirs, &message, NULL, 0), ERR_EOF);
	assert_int_equal(control_send(-1, &message, NULL, 0), ERR_IO);
	assert_int_equal(control_receive(-1, PARTY_SUPERVISOR, PARTY_LOGD, &got, fds, &count), ERR_IO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_message_passes_in_its_direction_with_its_descriptors),
		TEST(no_message_passes_in_another_direction),
		TEST(another_number_of_descriptors_is_a_protocol_violation),
		TEST(unknown_type_is_a_protocol_violation),
		TEST(another_version_or_length_is_a_protocol_violation),
		TEST(more_descriptors_than_a_message_has_room_for_are_closed),
		TEST(received_descriptors_are_the_objects_in_order_and_closed_on_exec),
		TEST(empty_full_and_ended_sockets_say_so_without_blocking),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
