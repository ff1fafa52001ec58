/* worker/files.c: descriptors of log files as the supervisor hands them out. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/control.h"
#include "tests/worker_fixture.h"
#include "worker/files.h"
#include "worker/waiting.h"

static int any_descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* The next file that the worker asked for, 0: none. */
static uint64_t asked(struct worker_fixture *f)
{
	struct control message;
	int fds[CONTROL_FDS];
	unsigned count;
	if (control_receive(f->supervisor, PARTY_WORKER, PARTY_SUPERVISOR, &message, fds, &count) != ERR_OK)
		return 0;
	assert_int_equal(message.type, CTL_GIVE_FILE);
	assert_int_equal(message.slot, 3);
	assert_int_equal(message.kind, 'w');
	return message.a;
}

static enum error get(struct worker_fixture *f, uint64_t id, int *fd)
{
	struct log_file *file = NULL;
	enum error error = files_get(f->worker.files, 'w', id, &file);
	if (error == ERR_OK)
		*fd = file->fd;
	files_release(&file);
	return error;
}

static void unknown_file_is_asked_for_once_and_served_when_it_has_come(void **state)
{
	struct worker_fixture *f = *state;
	int fd = -1, given = any_descriptor();
	assert_int_equal(get(f, 7, &fd), ERR_AGAIN);
	assert_int_equal(get(f, 7, &fd), ERR_AGAIN);
	assert_int_equal(asked(f), 7);
	assert_int_equal(asked(f), 0);
	files_given(f->worker.files, 'w', 7, given, 0);
	assert_int_equal(get(f, 7, &fd), ERR_OK);
	assert_int_equal(fd, given);
	assert_int_equal(asked(f), 0);
}

static void file_that_comes_calls_those_who_wait_for_it(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *seven = fixture_exchange(f, "", NULL, NULL), *eight = fixture_exchange(f, "", NULL, NULL);
	waiting_for_file(f->worker.waiting, seven, 7, fixture_catch);
	waiting_for_file(f->worker.waiting, eight, 8, fixture_catch);
	files_given(f->worker.files, 'w', 7, any_descriptor(), 0);
	waiting_run(f->worker.waiting);
	assert_int_equal(f->caught_count, 3);
	assert_ptr_equal(f->caught[2], seven);
	files_given(f->worker.files, 'w', 8, -1, EIO);
	waiting_run(f->worker.waiting);
	assert_int_equal(f->caught_count, 4);
}

static void file_that_cannot_be_opened_is_refused_and_not_asked_for_at_once(void **state)
{
	struct worker_fixture *f = *state;
	int fd = -1;
	assert_int_equal(get(f, 7, &fd), ERR_AGAIN);
	assert_int_equal(asked(f), 7);
	files_given(f->worker.files, 'w', 7, -1, ENOENT);
	assert_int_equal(get(f, 7, &fd), ERR_IO);
	assert_int_equal(get(f, 7, &fd), ERR_IO);
	assert_int_equal(asked(f), 0);
	/* A later one may well come. */
	files_given(f->worker.files, 'w', 7, any_descriptor(), 0);
	assert_int_equal(get(f, 7, &fd), ERR_OK);
}

static void second_descriptor_of_a_file_is_closed(void **state)
{
	struct worker_fixture *f = *state;
	int fd = -1, first = any_descriptor(), second = any_descriptor();
	files_given(f->worker.files, 'w', 7, first, 0);
	files_given(f->worker.files, 'w', 7, second, 0);
	assert_int_equal(get(f, 7, &fd), ERR_OK);
	assert_int_equal(fd, first);
	assert_false(is_open(second));
}

static void file_that_nobody_asked_for_is_kept(void **state)
{
	struct worker_fixture *f = *state;
	int fd = -1, given = any_descriptor();
	files_given(f->worker.files, 'w', 9, given, 0);
	assert_int_equal(get(f, 9, &fd), ERR_OK);
	assert_int_equal(fd, given);
	assert_int_equal(asked(f), 0);
}

static void retired_file_is_closed_and_another_retired_one_is_no_matter(void **state)
{
	struct worker_fixture *f = *state;
	int fd = -1, given = any_descriptor();
	files_given(f->worker.files, 'w', 7, given, 0);
	files_close(f->worker.files, 8);
	assert_true(is_open(given));
	files_close(f->worker.files, 7);
	assert_false(is_open(given));
	assert_int_equal(get(f, 7, &fd), ERR_AGAIN);
}

static void retired_file_stays_open_for_who_holds_it(void **state)
{
	struct worker_fixture *f = *state;
	struct log_file *held = NULL;
	int given = any_descriptor();
	files_given(f->worker.files, 'w', 7, given, 0);
	assert_int_equal(files_get(f->worker.files, 'w', 7, &held), ERR_OK);
	files_hold(held);
	files_close(f->worker.files, 7);
	for (unsigned i = 0; i < 2; i++) {
		struct log_file *one = held;
		assert_true(is_open(given));
		files_release(&one);
		assert_null(one);
	}
	assert_false(is_open(given));
}

static void one_more_than_the_most_closes_the_one_used_longest_ago(void **state)
{
	struct worker_fixture *f = *state;
	int fd = -1, first = any_descriptor(), second = any_descriptor(), more;
	files_given(f->worker.files, 'w', 1, first, 0);
	files_given(f->worker.files, 'w', 2, second, 0);
	for (uint64_t id = 3; id <= FILES_MAX; id++)
		files_given(f->worker.files, 'w', id, any_descriptor(), 0);
	assert_int_equal(get(f, 1, &fd), ERR_OK); /* so the second is the oldest */
	assert_true(is_open(second));
	more = any_descriptor();
	files_given(f->worker.files, 'w', FILES_MAX + 1, more, 0);
	assert_false(is_open(second));
	assert_true(is_open(first));
	assert_int_equal(get(f, FILES_MAX + 1, &fd), ERR_OK);
	assert_int_equal(fd, more);
	assert_int_equal(get(f, 2, &fd), ERR_AGAIN);
	assert_int_equal(asked(f), 2);
}

/* The control socket takes nothing more; and: the supervisor has read all of that. */
static void fill_socket(struct worker_fixture *f)
{
	const struct control filler = { .version = CONTROL_VERSION, .type = CTL_WORKER_READY };
	while (control_send(f->worker.inherit.common.control_fd, &filler, NULL, 0) == ERR_OK)
		;
}

static void empty_socket(struct worker_fixture *f)
{
	struct control message;
	int fds[CONTROL_FDS];
	unsigned count;
	while (control_receive(f->supervisor, PARTY_WORKER, PARTY_SUPERVISOR, &message, fds, &count) == ERR_OK)
		assert_int_equal(message.type, CTL_WORKER_READY);
}

static void question_that_the_socket_does_not_take_is_put_again(void **state)
{
	struct worker_fixture *f = *state;
	int fd = -1;
	fill_socket(f);
	assert_int_equal(get(f, 7, &fd), ERR_AGAIN);
	empty_socket(f);
	assert_int_equal(get(f, 7, &fd), ERR_AGAIN);
	assert_int_equal(asked(f), 7);
}

static void question_that_the_socket_does_not_take_is_put_again_for_who_waits_already(void **state)
{
	struct worker_fixture *f = *state;
	int fd = -1;
	struct exchange *waits = fixture_exchange(f, "", NULL, NULL);
	f->caught_count = 0;
	fill_socket(f);
	assert_int_equal(get(f, 7, &fd), ERR_AGAIN);
	assert_int_equal(get(f, 8, &fd), ERR_AGAIN);
	waiting_for_file(f->worker.waiting, waits, 7, fixture_catch);
	files_tick(f->worker.files);
	empty_socket(f);
	files_given(f->worker.files, 'w', 8, any_descriptor(), 0); /* handed out meanwhile */
	files_tick(f->worker.files);
	files_tick(f->worker.files);
	assert_int_equal(asked(f), 7);
	assert_int_equal(asked(f), 0);
	files_given(f->worker.files, 'w', 7, any_descriptor(), 0);
	waiting_run(f->worker.waiting);
	assert_int_equal(f->caught_count, 1);
	assert_ptr_equal(f->caught[0], waits);
}

static void files_that_are_still_to_be_asked_for_make_no_room(void **state)
{
	struct worker_fixture *f = *state;
	enum { MORE = 10 };
	int fd = -1, given[FILES_MAX + MORE + 1];
	fill_socket(f);
	for (uint64_t id = 1; id <= FILES_MAX + MORE; id++)
		assert_int_equal(get(f, id, &fd), ERR_AGAIN);
	empty_socket(f);
	files_tick(f->worker.files);
	for (uint64_t id = 1; id <= FILES_MAX + MORE; id++) {
		uint64_t next = asked(f);
		if (next == 0) { /* not all fit at once */
			files_tick(f->worker.files);
			next = asked(f);
		}
		assert_int_equal(next, id);
	}
	for (uint64_t id = 1; id <= FILES_MAX + MORE + 1; id++) {
		given[id - 1] = any_descriptor();
		files_given(f->worker.files, 'w', id, given[id - 1], 0);
	}
	/* With the next file there are no more than ever. */
	assert_false(is_open(given[MORE]));
	assert_true(is_open(given[MORE + 1]));
}

static void all_descriptors_are_closed_in_the_end(void **state)
{
	struct worker_fixture *f = *state;
	struct files *files = NULL;
	int given = any_descriptor();
	assert_int_equal(files_create(&files, &f->worker), ERR_OK);
	files_given(files, 'w', 5, given, 0);
	files_destroy(&files);
	assert_null(files);
	assert_false(is_open(given));
	files_destroy(&files);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, worker_fixture_set_up, worker_fixture_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(unknown_file_is_asked_for_once_and_served_when_it_has_come),
		CASE(file_that_comes_calls_those_who_wait_for_it),
		CASE(file_that_cannot_be_opened_is_refused_and_not_asked_for_at_once),
		CASE(second_descriptor_of_a_file_is_closed),
		CASE(file_that_nobody_asked_for_is_kept),
		CASE(retired_file_is_closed_and_another_retired_one_is_no_matter),
		CASE(retired_file_stays_open_for_who_holds_it),
		CASE(one_more_than_the_most_closes_the_one_used_longest_ago),
		CASE(question_that_the_socket_does_not_take_is_put_again),
		CASE(question_that_the_socket_does_not_take_is_put_again_for_who_waits_already),
		CASE(files_that_are_still_to_be_asked_for_make_no_room),
		CASE(all_descriptors_are_closed_in_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
