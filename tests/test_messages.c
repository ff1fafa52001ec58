#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/shm.h"
#include "tests/child.h"
#include "tests/supervisor_fixture.h"

enum { MORE_THAN_A_SOCKET_HOLDS = 2000, UNSENT_MAX = 8192 };

static const struct control drain = { .type = CTL_DRAIN };

/* ---- telling ---- */

static void what_the_socket_has_no_room_for_is_kept_and_sent_in_order(void **state)
{
	struct supervisor_fixture *f = *state;
	struct child *child = &f->s.workers[0].child;

	supervisor_play_worker(f, 0);
	for (uint64_t i = 0; i < MORE_THAN_A_SOCKET_HOLDS; i++)
		tell(&f->s, child, &(struct control){ .type = CTL_DRAIN, .a = i }, NULL, 0);
	assert_true(child->unsent_count > 0);
	for (uint64_t i = 0; i < MORE_THAN_A_SOCKET_HOLDS; i++) {
		assert_int_equal(supervisor_told(f->workers[0], PARTY_WORKER, NULL, 0).a, i);
		send_unsent(&f->s, child);
	}
	assert_null(child->unsent);
	assert_int_equal(child->unsent_count, 0);
}

static void kept_descriptors_stay_open_and_go_with_their_message(void **state)
{
	struct supervisor_fixture *f = *state;
	struct child *child = &f->s.workers[0].child;
	int object = memfd_create("file", MFD_CLOEXEC), fds[CONTROL_FDS];
	struct stat sent, came;
	struct control got;
	unsigned before, count;

	supervisor_play_worker(f, 0);
	assert_int_equal(fstat(object, &sent), 0);
	while (child->unsent == NULL)
		tell(&f->s, child, &drain, NULL, 0);
	before = open_descriptors();
	tell(&f->s, child, &(struct control){ .type = CTL_FILE, .a = 7 }, &object, 1);
	let_go(&f->s, object);
	assert_int_equal(open_descriptors(), before);
	do {
		send_unsent(&f->s, child);
		assert_int_equal(control_receive(f->workers[0], PARTY_SUPERVISOR, PARTY_WORKER, &got, fds, &count), ERR_OK);
	} while (count == 0);
	assert_int_equal(got.type, CTL_FILE);
	assert_int_equal(fstat(fds[0], &came), 0);
	assert_int_equal(came.st_ino, sent.st_ino);
	close(fds[0]);
	assert_int_equal(open_descriptors(), before - 1);
}

static void child_that_reads_nothing_of_thousands_is_ended(void **state)
{
	struct supervisor_fixture *f = *state;
	struct child *child = &f->s.workers[0].child;
	int status;

	supervisor_play_worker(f, 0);
	while (child->unsent_count < UNSENT_MAX)
		tell(&f->s, child, &drain, NULL, 0);
	assert_int_equal(waitpid(child->pid, &status, WNOHANG), 0);
	tell(&f->s, child, &drain, NULL, 0);
	status = supervisor_ended(child->pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	child->pid = 0;
	drop_unsent(&f->s, child);
	assert_null(child->unsent);
}

/* A message without its descriptors would leave a child in a wrong belief, and its end for want of them would cost clients their answers. */
static void message_is_kept_whole_while_there_is_no_descriptor_left(void **state)
{
	struct supervisor_fixture *f = *state;
	struct child *child = &f->s.workers[0].child;
	struct rlimit usual, none;
	struct control got;
	unsigned count;
	int fds[CONTROL_FDS];

	supervisor_play_worker(f, 0);
	while (child->unsent == NULL)
		tell(&f->s, child, &drain, NULL, 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	none = (struct rlimit){ STDERR_FILENO + 1, usual.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	tell(&f->s, child, &(struct control){ .type = CTL_FILE, .a = 7 }, &f->s.status, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
	do {
		send_unsent(&f->s, child);
		assert_int_equal(control_receive(f->workers[0], PARTY_SUPERVISOR, PARTY_WORKER, &got, fds, &count), ERR_OK);
	} while (got.type != CTL_FILE);
	assert_int_equal(count, 1);
	close(fds[0]);
	assert_int_equal(waitpid(child->pid, NULL, WNOHANG), 0);
}

static void descriptor_that_several_messages_wait_with_is_closed_with_the_last(void **state)
{
	struct supervisor_fixture *f = *state;
	int object = memfd_create("file", MFD_CLOEXEC);
	unsigned before;

	for (unsigned i = 0; i < 2; i++) {
		supervisor_play_worker(f, i);
		while (f->s.workers[i].child.unsent == NULL)
			tell(&f->s, &f->s.workers[i].child, &drain, NULL, 0);
	}
	before = open_descriptors();
	for (unsigned i = 0; i < 4; i++)
		tell(&f->s, &f->s.workers[i % 2].child, &(struct control){ .type = CTL_FILE, .a = 7 }, &object, 1);
	let_go(&f->s, object);
	drop_unsent(&f->s, &f->s.workers[0].child);
	assert_int_equal(open_descriptors(), before);
	drop_unsent(&f->s, &f->s.workers[1].child);
	assert_int_equal(open_descriptors(), before - 1);
	let_go(&f->s, memfd_create("file", MFD_CLOEXEC)); /* nobody waits with it */
	assert_int_equal(open_descriptors(), before - 1);
}

static void child_without_a_socket_is_told_nothing(void **state)
{
	struct supervisor_fixture *f = *state;

	tell(&f->s, &f->s.logd, &drain, NULL, 0);
	assert_null(f->s.logd.unsent);
	supervisor_play_worker(f, 0);
	close(f->workers[0]);
	f->workers[0] = -1;
	tell(&f->s, &f->s.workers[0].child, &drain, NULL, 0);
	assert_null(f->s.workers[0].child.unsent);
}

/* ---- files ---- */

static void put_file(struct supervisor_fixture *f, const char *name, const char *text)
{
	int fd = openat(f->ground.data_dir_fd, name, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* The worker asks for it: 0 and *fd, or the errno that it is told. */
static uint64_t asked(struct supervisor_fixture *f, uint32_t kind, uint64_t id, int *fd)
{
	const struct control question = { .type = CTL_GIVE_FILE, .kind = kind, .a = id };
	struct control answer;
	unsigned count;
	int fds[CONTROL_FDS];

	supervisor_says(f->workers[0], &question);
	take_worker_messages(&f->s, &f->s.workers[0]);
	assert_int_equal(control_receive(f->workers[0], PARTY_SUPERVISOR, PARTY_WORKER, &answer, fds, &count), ERR_OK);
	assert_int_equal(answer.type, CTL_FILE);
	assert_int_equal(answer.kind, kind);
	assert_int_equal(answer.a, id);
	assert_int_equal(count, answer.b == 0);
	*fd = count ? fds[0] : -1;
	return answer.b;
}

static void worker_gets_a_log_file_to_read_by_kind_and_id(void **state)
{
	struct supervisor_fixture *f = *state;
	char text[16] = "";
	int fd;

	supervisor_play_worker(f, 0);
	put_file(f, "w00000000000000ab", "frames");
	assert_int_equal(asked(f, 'w', 0xab, &fd), 0);
	assert_int_equal(pread(fd, text, sizeof text, 0), 6);
	assert_string_equal(text, "frames");
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	close(fd);
}

static void what_is_no_log_file_is_refused_with_the_reason(void **state)
{
	struct supervisor_fixture *f = *state;
	int fd;

	supervisor_play_worker(f, 0);
	put_file(f, "c0000000000000001", "checkpoint");
	assert_int_equal(symlinkat("c0000000000000001", f->ground.data_dir_fd, "w0000000000000002"), 0);
	assert_int_equal(mkfifoat(f->ground.data_dir_fd, "w0000000000000003", 0600), 0);
	assert_int_equal(mkdirat(f->ground.data_dir_fd, "w0000000000000004", 0700), 0);
	assert_int_equal(asked(f, 'w', 1, &fd), ENOENT);
	assert_int_equal(asked(f, 'w', 2, &fd), ELOOP);
	assert_int_equal(asked(f, 'w', 3, &fd), EINVAL);
	assert_int_equal(asked(f, 'w', 4, &fd), EINVAL);
	assert_int_equal(asked(f, 'c', 1, &fd), EINVAL);
	assert_int_equal(asked(f, 0, 1, &fd), EINVAL);
	assert_int_equal(asked(f, 'e', 1, &fd), ENOENT);
	assert_int_equal(asked(f, 'e', 0, &fd), ENOENT); /* a reserve is nobody's file yet */
	assert_int_equal(open_descriptors(), f->open + 2);
}

static void new_file_is_handed_to_the_workers_that_run(void **state)
{
	struct supervisor_fixture *f = *state;
	int fds[CONTROL_FDS];

	supervisor_play_logd(f);
	supervisor_play_worker(f, 0);
	supervisor_play_worker(f, 1);
	f->s.workers[1].child.state = CHILD_STARTING;
	put_file(f, "w0000000000000005", "");
	supervisor_says(f->logd, &(struct control){ .type = CTL_FILE_BORN, .kind = 'w', .a = 5 });
	take_logd_messages(&f->s);
	assert_int_equal(supervisor_told(f->workers[0], PARTY_WORKER, fds, 1).a, 5);
	close(fds[0]);
	supervisor_told_nothing(f->workers[1]);
}

static void ephemeral_object_is_bound_handed_out_to_read_and_let_go(void **state)
{
	struct supervisor_fixture *f = *state;
	int fds[CONTROL_FDS], fd;
	void *map = NULL;

	supervisor_play_logd(f);
	supervisor_play_worker(f, 0);
	give_reserves(&f->s);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(supervisor_told(f->logd, PARTY_LOGD, fds, 1).type, CTL_EPHEMERAL_RESERVE);
		close(fds[0]);
	}
	supervisor_says(f->logd, &(struct control){ .type = CTL_EPHEMERAL_USED, .kind = 'e', .a = 77 });
	take_logd_messages(&f->s);
	assert_int_equal(f->s.ephemeral->id, 77); /* the oldest */
	assert_int_equal(supervisor_told(f->logd, PARTY_LOGD, fds, 1).a, f->s.ephemeral_size); /* another one in its place */
	close(fds[0]);
	assert_int_equal(asked(f, 'e', 77, &fd), 0);
	assert_int_equal(shm_map(&map, fd, f->s.ephemeral_size, true), ERR_IO);
	assert_int_equal(shm_map(&map, fd, f->s.ephemeral_size, false), ERR_OK);
	shm_unmap(&map, f->s.ephemeral_size);
	close(fd);
	supervisor_says(f->logd, &(struct control){ .type = CTL_FILE_RETIRED, .kind = 'e', .a = 77 });
	take_logd_messages(&f->s);
	const struct control closing = supervisor_told(f->workers[0], PARTY_WORKER, NULL, 0);
	assert_int_equal(closing.type, CTL_FILE_CLOSE);
	assert_int_equal(closing.a, 77);
	assert_int_equal(asked(f, 'e', 77, &fd), ENOENT);
	assert_int_equal(f->s.ephemeral->id, 0);
}

/* ---- what children say ---- */

static void ready_logd_makes_its_catalogue_the_one_that_all_workers_read(void **state)
{
	struct supervisor_fixture *f = *state;
	struct rlimit usual, none;
	int fds[CONTROL_FDS];
	void *map = NULL;

	supervisor_play_logd(f);
	supervisor_play_worker(f, 0);
	supervisor_play_worker(f, 1);
	f->s.logd.state = CHILD_STARTING;
	f->s.catalogue_number = 9;
	assert_int_equal(shm_create(&f->s.catalogue, "topics-catalogue", 8192), ERR_OK);
	assert_int_equal(shm_reopen_readonly(&f->s.catalogue_next, f->s.catalogue), ERR_OK);
	supervisor_says(f->logd, &(struct control){ .type = CTL_READY, .a = 9 });
	/* Nobody would try it again: so it wants no descriptor that there might not be. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	none = (struct rlimit){ STDERR_FILENO + 1, usual.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	take_logd_messages(&f->s);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
	assert_int_equal(f->s.logd.state, CHILD_RUNNING);
	assert_true(f->s.was_ready);
	for (unsigned i = 0; i < FIXTURE_WORKERS; i++) {
		const struct control told = supervisor_told(f->workers[i], PARTY_WORKER, fds, 1);
		assert_int_equal(told.type, CTL_CATALOGUE);
		assert_int_equal(told.a, 9);
		assert_int_equal(shm_map(&map, fds[0], 8192, true), ERR_IO);
		close(fds[0]);
	}
}

static void logd_that_shows_only_what_is_proven_is_ready_and_not_recovered_until_it_says_so(void **state)
{
	struct supervisor_fixture *f = *state;
	int fds[CONTROL_FDS];

	supervisor_play_logd(f);
	supervisor_play_worker(f, 0);
	supervisor_play_worker(f, 1);
	f->s.logd.state = CHILD_STARTING;
	assert_int_equal(shm_create(&f->s.catalogue, "topics-catalogue", 8192), ERR_OK);
	assert_int_equal(shm_reopen_readonly(&f->s.catalogue_next, f->s.catalogue), ERR_OK);
	supervisor_says(f->logd, &(struct control){ .type = CTL_READY, .b = 1 });
	take_logd_messages(&f->s);
	assert_int_equal(f->s.logd.state, CHILD_RUNNING);
	assert_true(f->s.was_ready);
	assert_false(f->s.recovered);
	for (unsigned i = 0; i < FIXTURE_WORKERS; i++) {
		assert_int_equal(supervisor_told(f->workers[i], PARTY_WORKER, fds, 1).type, CTL_CATALOGUE);
		close(fds[0]);
	}
	supervisor_says(f->logd, &(struct control){ .type = CTL_READY });
	take_logd_messages(&f->s);
	assert_true(f->s.recovered);
	for (unsigned i = 0; i < FIXTURE_WORKERS; i++)
		supervisor_told_nothing(f->workers[i]); /* it is the catalogue that they have */
}

static void worker_that_broke_its_ring_is_ended_if_it_is_still_that_one(void **state)
{
	struct supervisor_fixture *f = *state;
	int status;

	supervisor_play_logd(f);
	supervisor_play_worker(f, 0);
	supervisor_play_worker(f, 1);
	supervisor_says(f->logd, &(struct control){ .type = CTL_RING_BROKEN, .slot = 1, .incarnation = 1000 });
	supervisor_says(f->logd, &(struct control){ .type = CTL_RING_BROKEN, .slot = FIXTURE_WORKERS, .incarnation = 0 });
	supervisor_says(f->logd, &(struct control){ .type = CTL_RING_BROKEN, .slot = UINT32_MAX, .incarnation = 1000 });
	supervisor_says(f->logd, &(struct control){ .type = CTL_RING_BROKEN, .slot = 0, .incarnation = 1000 });
	take_logd_messages(&f->s);
	status = supervisor_ended(f->s.workers[0].child.pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	f->s.workers[0].child.pid = 0;
	assert_int_equal(kill(f->s.workers[1].child.pid, 0), 0);
	assert_int_equal(waitpid(f->s.workers[1].child.pid, &status, WNOHANG), 0);
}

static void starting_worker_that_says_ready_runs(void **state)
{
	struct supervisor_fixture *f = *state;

	supervisor_play_worker(f, 0);
	f->s.workers[0].child.state = CHILD_STARTING;
	supervisor_says(f->workers[0], &(struct control){ .type = CTL_WORKER_READY });
	take_worker_messages(&f->s, &f->s.workers[0]);
	assert_int_equal(f->s.workers[0].child.state, CHILD_RUNNING);
	f->s.workers[0].child.state = CHILD_LEAVING;
	supervisor_says(f->workers[0], &(struct control){ .type = CTL_WORKER_READY });
	take_worker_messages(&f->s, &f->s.workers[0]);
	assert_int_equal(f->s.workers[0].child.state, CHILD_LEAVING);
}

static void child_that_breaks_the_protocol_is_cut_off_and_ended(void **state)
{
	struct supervisor_fixture *f = *state;
	struct child *children[] = { &f->s.logd, &f->s.workers[0].child };

	supervisor_play_logd(f);
	supervisor_play_worker(f, 0);
	supervisor_says(f->logd, &(struct control){ .type = CTL_WORKER_READY });      /* a worker's word */
	supervisor_says(f->workers[0], &(struct control){ .type = CTL_READY });       /* logd's */
	take_logd_messages(&f->s);
	take_worker_messages(&f->s, &f->s.workers[0]);
	for (unsigned i = 0; i < 2; i++) {
		int status = supervisor_ended(children[i]->pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		assert_int_equal(children[i]->control, -1);
		children[i]->pid = 0;
	}
	assert_false(f->s.was_ready);
}

static void end_of_a_childs_socket_closes_ours(void **state)
{
	struct supervisor_fixture *f = *state;

	supervisor_play_logd(f);
	supervisor_play_worker(f, 0);
	close(f->logd);
	close(f->workers[0]);
	f->logd = f->workers[0] = -1;
	take_logd_messages(&f->s);
	take_worker_messages(&f->s, &f->s.workers[0]);
	assert_int_equal(f->s.logd.control, -1);
	assert_int_equal(f->s.workers[0].child.control, -1);
	assert_int_equal(open_descriptors(), f->open);
}

/* ---- the service manager ---- */

static int manager(struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char name[64];
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)snprintf(name, sizeof name, "test-messages-%d", (int)getpid()));

	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(address->sun_path + 1, name, strlen(name));
	assert_int_equal(bind(fd, (struct sockaddr *)address, length), 0);
	memmove(name + 1, name, strlen(name) + 1);
	name[0] = '@';
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void heard(int fd, const char *expected)
{
	char text[256] = "";

	assert_int_equal(recv(fd, text, sizeof text - 1, 0), expected != NULL ? (ssize_t)strlen(expected) : -1);
	assert_string_equal(text, expected != NULL ? expected : "");
}

static void progress_of_a_recovery_is_told_once_a_percent_and_ready_after_it(void **state)
{
	struct supervisor_fixture *f = *state;
	struct sockaddr_un address;
	int fd = manager(&address);

	supervisor_play_logd(f);
	f->s.logd.state = CHILD_STARTING;
	assert_int_equal(shm_create(&f->s.catalogue, "topics-catalogue", 8192), ERR_OK);
	assert_int_equal(shm_reopen_readonly(&f->s.catalogue_next, f->s.catalogue), ERR_OK);
	for (uint32_t parts = 0; parts <= 1000000; parts += 2500) {
		atomic_store(&f->s.status_map->progress, parts);
		tell_progress(&f->s);
		if (parts == 120000 || parts == 990000)
			heard(fd, parts == 120000 ? "STATUS=recovering the log, 12%" : "STATUS=recovering the log, 99%");
		else if (parts % 10000 != 0 || parts == 0 || parts == 1000000)
			heard(fd, NULL);
		else
			assert_true(recv(fd, (char[64]){ "" }, 64, 0) > 0);
	}
	supervisor_says(f->logd, &(struct control){ .type = CTL_READY });
	take_logd_messages(&f->s);
	heard(fd, "READY=1\nSTATUS=ready");
	atomic_store(&f->s.status_map->progress, 500000);
	tell_progress(&f->s); /* it runs: what the page says is old */
	heard(fd, NULL);
	unsetenv("NOTIFY_SOCKET");
	close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, supervisor_setup, supervisor_teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_the_socket_has_no_room_for_is_kept_and_sent_in_order),
		TEST(kept_descriptors_stay_open_and_go_with_their_message),
		TEST(child_that_reads_nothing_of_thousands_is_ended),
		TEST(message_is_kept_whole_while_there_is_no_descriptor_left),
		TEST(descriptor_that_several_messages_wait_with_is_closed_with_the_last),
		TEST(child_without_a_socket_is_told_nothing),
		TEST(worker_gets_a_log_file_to_read_by_kind_and_id),
		TEST(what_is_no_log_file_is_refused_with_the_reason),
		TEST(new_file_is_handed_to_the_workers_that_run),
		TEST(ephemeral_object_is_bound_handed_out_to_read_and_let_go),
		TEST(ready_logd_makes_its_catalogue_the_one_that_all_workers_read),
		TEST(logd_that_shows_only_what_is_proven_is_ready_and_not_recovered_until_it_says_so),
		TEST(worker_that_broke_its_ring_is_ended_if_it_is_still_that_one),
		TEST(starting_worker_that_says_ready_runs),
		TEST(child_that_breaks_the_protocol_is_cut_off_and_ended),
		TEST(end_of_a_childs_socket_closes_ours),
		TEST(progress_of_a_recovery_is_told_once_a_percent_and_ready_after_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
