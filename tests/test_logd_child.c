#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* With real logds in a directory of their own. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/completion.h"
#include "common/frame.h"
#include "common/ring.h"
#include "common/shm.h"
#include "tests/child.h"
#include "tests/supervisor_fixture.h"

enum { MINUTE_US = 60000000 };

static void until_it_runs(struct supervisor_fixture *f)
{
	while (f->s.logd.state != CHILD_RUNNING) {
		assert_true(f->s.logd.control >= 0 && gets_readable(f->s.logd.control));
		take_logd_messages(&f->s);
	}
}

static void start_it(struct supervisor_fixture *f)
{
	logd_start(&f->s);
	assert_int_equal(f->s.logd.state, CHILD_STARTING);
	until_it_runs(f);
}

/* Ends it by the signal and does what the loop does then. */
static void end_it(struct supervisor_fixture *f, int number)
{
	kill(f->s.logd.pid, number);
	logd_died(&f->s, supervisor_ended(f->s.logd.pid));
	assert_int_equal(f->s.logd.state, CHILD_ABSENT);
	assert_int_equal(f->s.logd.control, -1);
}

static void first_death_costs_no_time_and_later_ones_within_a_minute_twice_as_much_each(void **state)
{
	static const uint64_t waits[] = { 0, 100000, 200000, 400000, 800000, 1600000, 3200000, 5000000, 5000000 };
	struct child child = { .state = CHILD_ABSENT };

	(void)state;
	for (unsigned i = 0; i < sizeof waits / sizeof waits[0]; i++) {
		child_back_off(&child);
		assert_int_equal(child.restart_us - child.last_death_us, waits[i]);
		assert_int_equal(child.deaths_total, i + 1);
	}
	child.last_death_us = now_us() - MINUTE_US;
	child_back_off(&child);
	assert_int_equal(child.restart_us, child.last_death_us);
	assert_int_equal(child.deaths, 1);
	assert_int_equal(child.deaths_total, sizeof waits / sizeof waits[0] + 1);
}

static void ring_goes_to_logd_with_what_it_may_only_read_readonly(void **state)
{
	struct supervisor_fixture *f = *state;
	struct worker_child *worker = &f->s.workers[1];
	struct rlimit usual, none;
	int fds[CONTROL_FDS];
	void *map = NULL;

	supervisor_play_logd(f);
	give_ring(&f->s, 1); /* no worker is there: nothing to give */
	supervisor_told_nothing(f->logd);
	assert_int_equal(shm_create(&worker->request, "topics-request", RING_LARGE_OFFSET + f->s.large_bytes), ERR_OK);
	assert_int_equal(shm_reopen_readonly(&worker->request_readonly, worker->request), ERR_OK);
	assert_int_equal(shm_create(&worker->completion, "topics-completion", completion_object_size()), ERR_OK);
	worker->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->logd_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->incarnation = 0x1234567812345678;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	none = (struct rlimit){ .rlim_cur = 3, .rlim_max = usual.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	give_ring(&f->s, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
	const struct control told = supervisor_told(f->logd, PARTY_LOGD, fds, 5);
	assert_int_equal(told.type, CTL_RING_NEW);
	assert_int_equal(told.slot, 1);
	assert_int_equal(told.incarnation, worker->incarnation);
	assert_int_equal(told.a, f->s.large_bytes);
	assert_int_equal(shm_map(&map, fds[0], RING_LARGE_OFFSET + f->s.large_bytes, true), ERR_IO);
	assert_int_equal(shm_map(&map, fds[1], completion_object_size(), true), ERR_OK);
	shm_unmap(&map, completion_object_size());
	assert_int_equal(shm_map(&map, fds[2], sizeof(struct counters), true), ERR_IO);
	for (unsigned i = 0; i < 5; i++)
		close(fds[i]);
}

static void two_unused_objects_lie_with_logd_and_no_more(void **state)
{
	struct supervisor_fixture *f = *state;
	int fds[CONTROL_FDS];
	void *map = NULL;

	supervisor_play_logd(f);
	give_reserves(&f->s);
	give_reserves(&f->s);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(supervisor_told(f->logd, PARTY_LOGD, fds, 1).a, f->s.ephemeral_size);
		assert_int_equal(shm_map(&map, fds[0], f->s.ephemeral_size, true), ERR_OK);
		shm_unmap(&map, f->s.ephemeral_size);
		close(fds[0]);
	}
	supervisor_told_nothing(f->logd);
}

static void reserve_that_cannot_be_made_is_due_again_a_second_later(void **state)
{
	struct supervisor_fixture *f = *state;
	struct rlimit usual, none;

	supervisor_play_logd(f);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	none = (struct rlimit){ .rlim_cur = 3, .rlim_max = usual.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	give_reserves(&f->s);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
	supervisor_told_nothing(f->logd);
	assert_null(f->s.ephemeral);
	assert_in_range(f->s.reserves_due_us, now_us() + 1, now_us() + 1000000);
	give_reserves(&f->s);
	assert_int_equal(f->s.reserves_due_us, 0);
	for (unsigned i = 0; i < 2; i++) {
		int fds[CONTROL_FDS];
		assert_int_equal(supervisor_told(f->logd, PARTY_LOGD, fds, 1).type, CTL_EPHEMERAL_RESERVE);
		close(fds[0]);
	}
}

static void started_logd_recovers_and_its_catalogue_is_readers(void **state)
{
	struct supervisor_fixture *f = *state;
	struct stat facts;
	ino_t first;

	assert_int_equal(f->s.catalogue_readonly, -1);
	start_it(f);
	assert_true(f->s.was_ready);
	assert_int_equal(f->s.catalogue_number, 1);
	assert_int_equal(atomic_load(&f->s.status_map->catalogue), 1);
	assert_int_equal(fstat(f->s.catalogue_readonly, &facts), 0);
	first = facts.st_ino;
	end_it(f, SIGKILL);
	logd_start(&f->s);
	assert_int_equal(fstat(f->s.catalogue_readonly, &facts), 0);
	assert_int_equal(facts.st_ino, first); /* until the new one is ready */
	until_it_runs(f);
	assert_int_equal(fstat(f->s.catalogue_readonly, &facts), 0);
	assert_int_not_equal(facts.st_ino, first);
	assert_int_equal(atomic_load(&f->s.status_map->catalogue), 2);
	assert_int_equal(atomic_load(&f->s.status_map->deaths), 1);
}

static void death_by_a_fault_is_told_from_one_by_a_kill(void **state)
{
	struct supervisor_fixture *f = *state;

	start_it(f);
	end_it(f, SIGKILL);
	assert_false(f->s.fault_death);
	assert_true(f->s.logd.restart_us <= now_us());
	start_it(f);
	end_it(f, SIGABRT);
	assert_true(f->s.fault_death);
	assert_true(f->s.logd.restart_us > f->s.logd.last_death_us);
	start_it(f);
	end_it(f, SIGKILL);
	assert_false(f->s.fault_death);
	assert_int_equal(f->s.logd.deaths_total, 3);
}

static void asked_to_stop_it_closes_the_log_and_the_stop_is_done(void **state)
{
	struct supervisor_fixture *f = *state;

	start_it(f);
	f->s.stopping = STOPPING_LOGD;
	tell(&f->s, &f->s.logd, &(struct control){ .type = CTL_STOP }, NULL, 0);
	logd_died(&f->s, supervisor_ended(f->s.logd.pid));
	assert_int_equal(f->s.stopping, STOPPED);
	assert_int_equal(f->s.exit_status, 0);
}

static void death_while_it_closes_the_log_is_a_failed_stop(void **state)
{
	struct supervisor_fixture *f = *state;

	start_it(f);
	f->s.stopping = STOPPING_LOGD;
	end_it(f, SIGKILL);
	assert_int_equal(f->s.stopping, STOPPED);
	assert_int_equal(f->s.exit_status, 1);
}

/* What the child says of the object that it took last must not be lost with it: the next logd would take it for an empty one. */
static void what_a_dying_logd_said_last_is_heard(void **state)
{
	struct supervisor_fixture *f = *state;
	int fds[CONTROL_FDS];

	supervisor_play_logd(f);
	give_reserves(&f->s);
	supervisor_says(f->logd, &(struct control){ .type = CTL_EPHEMERAL_USED, .kind = 'e', .a = 5 });
	end_it(f, SIGKILL);
	assert_int_equal(f->s.ephemeral->id, 5);
	assert_int_equal(f->s.ephemeral->next->id, 0);
	for (unsigned i = 0; i < 3; i++) { /* two reserves, and one for the first that was used */
		supervisor_told(f->logd, PARTY_LOGD, fds, 1);
		close(fds[0]);
	}
}

static void log_of_a_newer_version_ends_the_daemon_and_not_in_a_loop(void **state)
{
	struct supervisor_fixture *f = *state;
	const struct file_header newer = { .features = 1, .id = 0x4711, .kind = 'w', .number = 1, .first_lsn = LSN_FIRST };
	uint8_t bytes[FILE_HEADER_SIZE];
	sigset_t term, before;
	int status, number, file;

	start_it(f);
	end_it(f, SIGKILL);
	f->s.was_ready = false; /* as after a start of the daemon */
	file_header_encode(&newer, bytes);
	file = openat(f->ground.data_dir_fd, "w0000000000004711", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(file, bytes, sizeof bytes), sizeof bytes);
	assert_int_equal(fchown(file, f->ground.uid, f->ground.gid), 0);
	close(file);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	logd_start(&f->s);
	status = supervisor_ended(f->s.logd.pid);
	sigprocmask(SIG_BLOCK, &term, &before);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), LOGD_EXIT_REFUSED);
	logd_died(&f->s, status);
	assert_int_equal(f->s.exit_status, 1);
	assert_int_equal(sigwait(&term, &number), 0);
	assert_int_equal(number, SIGTERM);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, supervisor_setup, supervisor_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_death_costs_no_time_and_later_ones_within_a_minute_twice_as_much_each),
		TEST(ring_goes_to_logd_with_what_it_may_only_read_readonly),
		TEST(two_unused_objects_lie_with_logd_and_no_more),
		TEST(reserve_that_cannot_be_made_is_due_again_a_second_later),
		TEST(started_logd_recovers_and_its_catalogue_is_readers),
		TEST(death_by_a_fault_is_told_from_one_by_a_kill),
		TEST(asked_to_stop_it_closes_the_log_and_the_stop_is_done),
		TEST(death_while_it_closes_the_log_is_a_failed_stop),
		TEST(what_a_dying_logd_said_last_is_heard),
		TEST(log_of_a_newer_version_ends_the_daemon_and_not_in_a_loop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
