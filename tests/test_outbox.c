#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* Messages to a supervisor that reads late, or never; tests/test_loop.c shows the same of a whole logd. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "logd/outbox.h"
#include "tests/child.h"

struct fixture {
	int logd, supervisor;
	struct outbox *outbox;
	uint64_t said, heard;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	f->logd = pair[0];
	f->supervisor = pair[1];
	assert_int_equal(outbox_create(&f->outbox, f->logd), ERR_OK);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	outbox_destroy(&f->outbox);
	close(f->logd);
	if (f->supervisor >= 0)
		close(f->supervisor);
	free(f);
	return 0;
}

static enum error say(struct fixture *f)
{
	const struct control message = { .version = CONTROL_VERSION, .type = CTL_FILE_BORN, .kind = 'w', .a = f->said };
	enum error error = outbox_send(f->outbox, &message);

	f->said += error == ERR_OK;
	return error;
}

/* The next message, which must be there and the next in order. */
static void hear(struct fixture *f)
{
	struct control message;
	int fds[CONTROL_FDS];
	unsigned count;

	assert_int_equal(control_receive(f->supervisor, PARTY_LOGD, PARTY_SUPERVISOR, &message, fds, &count), ERR_OK);
	assert_int_equal(message.a, f->heard++);
}

static void what_finds_room_is_sent_at_once(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(say(f), ERR_OK);
	assert_false(outbox_waits(f->outbox));
	hear(f);
}

static void what_finds_no_room_is_sent_in_order_when_there_is_some(void **state)
{
	struct fixture *f = *state;

	while (!outbox_waits(f->outbox))
		assert_int_equal(say(f), ERR_OK);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(say(f), ERR_OK);
	/* Room for some: a new message goes behind those that are kept. */
	for (unsigned i = 0; i < 5; i++)
		hear(f);
	assert_int_equal(say(f), ERR_OK);
	while (f->heard < f->said) {
		hear(f);
		assert_int_equal(outbox_flush(f->outbox), ERR_OK);
	}
	assert_false(outbox_waits(f->outbox));
}

static void full_one_keeps_what_it_has_and_refuses_more(void **state)
{
	struct fixture *f = *state;
	enum error error;

	do {
		/* Its ring begins somewhere else than at its first place. */
		if (f->said == 1000)
			for (unsigned i = 0; i < 300 || outbox_waits(f->outbox); i++) {
				hear(f);
				assert_int_equal(outbox_flush(f->outbox), ERR_OK);
			}
		error = say(f);
	} while (error == ERR_OK);
	assert_int_equal(error, ERR_LIMIT);
	assert_int_equal(say(f), ERR_LIMIT);
	assert_true(f->said > OUTBOX_MAX);
	while (f->heard < f->said) {
		hear(f);
		assert_int_equal(outbox_flush(f->outbox), ERR_OK);
	}
	assert_int_equal(say(f), ERR_OK);
	hear(f);
}

static void wait_ends_when_the_supervisor_reads(void **state)
{
	struct fixture *f = *state;
	pid_t reader;
	int status;

	while (!outbox_waits(f->outbox))
		assert_int_equal(say(f), ERR_OK);
	reader = fork();
	if (reader == 0) {
		while (f->heard < f->said)
			if (gets_readable(f->supervisor))
				hear(f);
		_exit(0);
	}
	while (outbox_waits(f->outbox))
		assert_int_equal(outbox_wait(f->outbox), ERR_OK);
	assert_int_equal(waitpid(reader, &status, 0), reader);
	assert_int_equal(status, 0);
}

static void supervisor_that_is_gone_ends_waiting_and_keeps_nothing(void **state)
{
	struct fixture *f = *state;

	while (!outbox_waits(f->outbox))
		assert_int_equal(say(f), ERR_OK);
	close(f->supervisor);
	f->supervisor = -1;
	assert_int_equal(outbox_wait(f->outbox), ERR_EOF);
	assert_false(outbox_waits(f->outbox));
	assert_int_equal(say(f), ERR_EOF);
	assert_false(outbox_waits(f->outbox));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_finds_room_is_sent_at_once),
		TEST(what_finds_no_room_is_sent_in_order_when_there_is_some),
		TEST(full_one_keeps_what_it_has_and_refuses_more),
		TEST(wait_ends_when_the_supervisor_reads),
		TEST(supervisor_that_is_gone_ends_waiting_and_keeps_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
