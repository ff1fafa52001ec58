#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* logd's loop in a process of its own; the test is its supervisor and its worker. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/catalogue.h"
#include "common/completion.h"
#include "common/control.h"
#include "common/counters.h"
#include "common/feed.h"
#include "common/ring.h"
#include "common/shm.h"
#include "common/status.h"
#include "common/wake.h"
#include "logd/loop.h"
#include "tests/child.h"
#include "tests/make_request.h"

enum { LARGE = 1 << 20, RESERVE = 4 << 20, SLOT = 0, INCARNATION = 4711, CATALOGUE_NUMBER = 5, SOCKET_FDS = 5, MORE_THAN_ITS_SOCKET_HOLDS = 100 };

struct fixture {
	char path[64];
	struct inherit_logd inherit;
	struct status *status;
	int control;                  /* the supervisor's end */
	int theirs;                   /* logd's, until it runs */
	pid_t pid;
	/* the worker */
	int request, completion, counters_fd, wake, logd_wake;
	struct counters *counters;
	void *request_map, *completion_map;
	struct ring_producer *producer;
	struct completion_reader *reader;
};

static int object(size_t size, void *map)
{
	int fd = -1;

	assert_int_equal(shm_create(&fd, "topics-test", size), ERR_OK);
	if (map != NULL)
		assert_int_equal(shm_map(map, fd, size, true), ERR_OK);
	return fd;
}

static void make_worker(struct fixture *f)
{
	f->request = object(RING_LARGE_OFFSET + LARGE, &f->request_map);
	f->completion = object(completion_object_size(), &f->completion_map);
	f->counters_fd = object(sizeof *f->counters, &f->counters);
	f->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->logd_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(ring_producer_create(&f->producer, f->request_map, LARGE, f->completion_map), ERR_OK);
	assert_int_equal(completion_reader_create(&f->reader, f->completion_map, &((struct ring_shared *)f->request_map)->completions_read), ERR_OK);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	int pair[2];

	strcpy(f->path, "/tmp/test_loop.XXXXXX");
	assert_non_null(mkdtemp(f->path));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	f->control = pair[0];
	f->theirs = pair[1];
	f->inherit = (struct inherit_logd){
		.common = { .version = INHERIT_VERSION, .size = sizeof f->inherit, .control_fd = pair[1], .status_fd = object(sizeof(struct status), &f->status),
			.feed_fd = object(sizeof(struct feed_shared), NULL),
			.settings = { .max_body_bytes = LARGE / 2, .max_batch_records = 1000, .max_record_bytes = LARGE / 4, .max_meta_bytes = 16384, .max_tag_bytes = 256,
				.max_node_bytes = 128, .max_topics = 100, .sync_interval_ms = 20, .ephemeral_max_bytes = 8 << 20, .drain_ms = 5000,
				.segment_max_bytes = 1 << 20, .workers = 1 } },
		.data_dir_fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .lock_fd = -1, .first_start = 1, .workers = 1,
		.catalogue_number = CATALOGUE_NUMBER, .catalogue_fd = object(CATALOGUE_SIZE, NULL), .old_catalogue_fd = -1,
	};
	make_worker(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	void *status = f->status, *counters = f->counters;
	char command[128];
	const int fds[] = { f->control, f->theirs, f->inherit.common.status_fd, f->inherit.common.feed_fd, f->inherit.data_dir_fd,
		f->inherit.catalogue_fd, f->request, f->completion, f->counters_fd, f->wake, f->logd_wake };

	if (f->pid > 0) {
		kill(f->pid, SIGKILL);
		waitpid(f->pid, NULL, 0);
	}
	ring_producer_destroy(&f->producer);
	completion_reader_destroy(&f->reader);
	shm_unmap(&status, sizeof *f->status);
	shm_unmap(&counters, sizeof *f->counters);
	shm_unmap(&f->request_map, RING_LARGE_OFFSET + LARGE);
	shm_unmap(&f->completion_map, completion_object_size());
	for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	snprintf(command, sizeof command, "rm -rf %s", f->path);
	free(f);
	return system(command);
}

/* ---- the supervisor's part ---- */

static void run(struct fixture *f)
{
	f->pid = fork();
	if (f->pid == 0) {
		close(f->control);
		_exit(logd_run(&f->inherit));
	}
	close(f->theirs);
	f->theirs = -1;
}

static int leaves_with(struct fixture *f)
{
	int status = -1, fd = pidfd_open(f->pid, 0);

	assert_true(gets_readable(fd));
	close(fd);
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	f->pid = 0;
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void say(struct fixture *f, const struct control *message, const int *fds, unsigned count)
{
	struct control whole = *message;

	whole.version = CONTROL_VERSION;
	assert_int_equal(control_send(f->control, &whole, fds, count), ERR_OK);
}

static void say_when_there_is_room(struct fixture *f, const struct control *message, const int *fds, unsigned count)
{
	struct control whole = *message;

	whole.version = CONTROL_VERSION;
	while (control_send(f->control, &whole, fds, count) == ERR_AGAIN)
		sched_yield();
}

/* Waits until logd has done what it was told and sleeps. */
static void has_heard_all(struct fixture *f)
{
	int bytes;

	do {
		assert_int_equal(ioctl(f->control, SIOCOUTQ, &bytes), 0);
	} while (bytes > 0 && sched_yield() == 0);
	while (!atomic_load(&f->status->logd_sleeping))
		sched_yield();
}

static void give_ring(struct fixture *f)
{
	const int fds[SOCKET_FDS] = { f->request, f->completion, f->counters_fd, f->wake, f->logd_wake };

	say(f, &(struct control){ .type = CTL_RING_NEW, .slot = SLOT, .incarnation = INCARNATION, .a = LARGE }, fds, SOCKET_FDS);
}

/* Hears messages until one of this type. */
static struct control hears(struct fixture *f, uint32_t type)
{
	struct control message = { .type = 0 };

	while (message.type != type) {
		int fds[CONTROL_FDS];
		unsigned count;
		enum error error = control_receive(f->control, PARTY_LOGD, PARTY_SUPERVISOR, &message, fds, &count);
		if (error == ERR_AGAIN)
			assert_true(gets_readable(f->control));
		else
			assert_int_equal(error, ERR_OK);
	}
	return message;
}

static void start(struct fixture *f)
{
	run(f);
	give_ring(f);
	for (unsigned i = 0; i < 2; i++) {
		int fd = object(RESERVE, NULL);
		say(f, &(struct control){ .type = CTL_EPHEMERAL_RESERVE, .a = RESERVE }, &fd, 1);
		close(fd);
	}
	say(f, &(struct control){ .type = CTL_START }, NULL, 0);
	assert_int_equal(hears(f, CTL_READY).a, CATALOGUE_NUMBER);
}

/* ---- the worker's part ---- */

static void ask_to_make(struct fixture *f, uint64_t id, const char *topic, enum durability durability)
{
	struct topic_config config;
	uint8_t bytes[TOPIC_CONFIG_MAX], entry[4096];
	struct request head = { .id = id, .type = REQUEST_TOPIC_PUT, .flags = REQUEST_HAS_CONFIG | REQUEST_TYPE_GIVEN, .name_length = (uint32_t)strlen(topic) };

	topic_config_default(&config);
	config.durability = durability;
	head.config_length = (uint32_t)topic_config_encode(&config, bytes);
	make_request(entry, &head, topic, bytes, NULL, NULL, NULL);
	memcpy(ring_reserve(f->producer, head.length), entry, head.length);
	ring_publish(f->producer, head.length, false);
	if (wake_needed(&f->status->logd_sleeping))
		wake_write(f->logd_wake);
}

/* Sleeps as a worker does until the answer has come. */
static struct completion answer_to(struct fixture *f, uint64_t id)
{
	struct completion completion;
	const uint8_t *body;
	uint64_t count;

	for (;;) {
		wake_prepare_sleep(&f->counters->sleeping);
		enum error error = completion_next(f->reader, &completion, &body);
		if (error == ERR_AGAIN) {
			assert_true(gets_readable(f->wake));
			assert_int_equal(read(f->wake, &count, sizeof count), sizeof count);
		}
		wake_end_sleep(&f->counters->sleeping);
		if (error != ERR_OK)
			continue;
		assert_int_equal(completion.request_id, id);
		completion_done(f->reader);
		return completion;
	}
}

static unsigned files_of_kind(const struct fixture *f, char kind)
{
	DIR *dir = opendir(f->path);
	unsigned count = 0;

	for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
		count += entry->d_name[0] == kind;
	closedir(dir);
	return count;
}

/* ---- cases ---- */

static void new_directory_is_recovered_and_a_stop_closes_its_log(void **state)
{
	struct fixture *f = *state;

	f->status->progress = 1000000; /* of a recovery before */
	start(f);
	assert_int_equal(atomic_load(&f->status->catalogue), CATALOGUE_NUMBER);
	assert_int_equal(atomic_load(&f->status->state), LOGD_READY);
	assert_int_equal(files_of_kind(f, 'c'), 0);
	say(f, &(struct control){ .type = CTL_STOP }, NULL, 0);
	assert_int_equal(leaves_with(f), 0);
	assert_int_equal(files_of_kind(f, 'c'), 1);
	assert_int_equal(atomic_load(&f->status->state), LOGD_READY);
}

static void nothing_is_recovered_before_the_supervisor_says_start(void **state)
{
	struct fixture *f = *state;

	run(f);
	give_ring(f);
	ask_to_make(f, 1, "t", DURABILITY_DISK);
	say(f, &(struct control){ .type = CTL_STOP }, NULL, 0);
	assert_int_equal(leaves_with(f), 0);
	assert_int_equal(atomic_load(&f->status->catalogue), 0);
	assert_int_equal(files_of_kind(f, 'w') + files_of_kind(f, 'c'), 0);
}

static void sleeping_logd_and_worker_wake_each_other(void **state)
{
	struct fixture *f = *state;

	start(f);
	for (uint64_t id = 1; id <= 20; id++) {
		char topic[16];
		snprintf(topic, sizeof topic, "t%u", (unsigned)id);
		while (!atomic_load(&f->status->logd_sleeping))
			sched_yield();
		ask_to_make(f, id, topic, id % 2 ? DURABILITY_FSYNC : DURABILITY_DISK);
		assert_int_equal(answer_to(f, id).status, ERR_OK);
	}
}

static void request_that_waited_for_the_start_is_done_after_it(void **state)
{
	struct fixture *f = *state;

	ask_to_make(f, 1, "t", DURABILITY_FSYNC);
	start(f);
	assert_int_equal(answer_to(f, 1).status, ERR_OK);
}

static void what_was_accepted_is_finished_when_the_supervisor_is_gone(void **state)
{
	struct fixture *f = *state;

	start(f);
	kill(f->pid, SIGSTOP); /* so that it finds both at once */
	ask_to_make(f, 1, "t", DURABILITY_FSYNC);
	close(f->control);
	f->control = -1;
	kill(f->pid, SIGCONT);
	assert_int_equal(leaves_with(f), 0);
	assert_int_equal(answer_to(f, 1).status, ERR_OK);
	assert_int_equal(files_of_kind(f, 'c'), 1);
}

static void ring_of_a_dead_worker_is_let_go_and_the_supervisor_told(void **state)
{
	struct fixture *f = *state;

	start(f);
	say(f, &(struct control){ .type = CTL_RING_GONE, .slot = SLOT, .incarnation = INCARNATION }, NULL, 0);
	const struct control dropped = hears(f, CTL_RING_DROPPED);
	assert_int_equal(dropped.slot, SLOT);
	assert_int_equal(dropped.incarnation, INCARNATION);
}

/* What the supervisor misses it would go on without: rings that are held for ever, objects under the wrong id, a catalogue that nobody reads. */
static void what_the_supervisor_has_no_room_for_is_told_in_order_when_it_reads_again(void **state)
{
	struct fixture *f = *state;
	const int fds[SOCKET_FDS] = { f->request, f->completion, f->counters_fd, f->wake, f->logd_wake }, few_bytes = 1;

	assert_int_equal(setsockopt(f->theirs, SOL_SOCKET, SO_SNDBUF, &few_bytes, sizeof few_bytes), 0);
	start(f);
	say(f, &(struct control){ .type = CTL_RING_GONE, .slot = SLOT, .incarnation = INCARNATION }, NULL, 0);
	for (uint64_t i = 1; i <= MORE_THAN_ITS_SOCKET_HOLDS; i++) {
		say_when_there_is_room(f, &(struct control){ .type = CTL_RING_NEW, .slot = SLOT, .incarnation = INCARNATION + i, .a = LARGE }, fds, SOCKET_FDS);
		say_when_there_is_room(f, &(struct control){ .type = CTL_RING_GONE, .slot = SLOT, .incarnation = INCARNATION + i }, NULL, 0);
	}
	/* It has nothing more to say then: what it keeps goes out because there is room. */
	has_heard_all(f);
	for (uint64_t i = 0; i <= MORE_THAN_ITS_SOCKET_HOLDS; i++)
		assert_int_equal(hears(f, CTL_RING_DROPPED).incarnation, INCARNATION + i);
}

static void what_is_left_to_tell_at_the_end_is_told_before_it(void **state)
{
	struct fixture *f = *state;
	const int fds[SOCKET_FDS] = { f->request, f->completion, f->counters_fd, f->wake, f->logd_wake }, few_bytes = 1;

	assert_int_equal(setsockopt(f->theirs, SOL_SOCKET, SO_SNDBUF, &few_bytes, sizeof few_bytes), 0);
	start(f);
	for (uint64_t i = 1; i <= MORE_THAN_ITS_SOCKET_HOLDS; i++) {
		say_when_there_is_room(f, &(struct control){ .type = CTL_RING_NEW, .slot = SLOT, .incarnation = INCARNATION + i, .a = LARGE }, fds, SOCKET_FDS);
		say_when_there_is_room(f, &(struct control){ .type = CTL_RING_GONE, .slot = SLOT, .incarnation = INCARNATION + i }, NULL, 0);
	}
	say_when_there_is_room(f, &(struct control){ .type = CTL_STOP }, NULL, 0);
	while (files_of_kind(f, 'c') == 0) /* its log is closed */
		sched_yield();
	for (uint64_t i = 1; i <= MORE_THAN_ITS_SOCKET_HOLDS; i++)
		assert_int_equal(hears(f, CTL_RING_DROPPED).incarnation, INCARNATION + i);
	assert_int_equal(leaves_with(f), 0);
}

static void ring_that_breaks_its_layout_is_told_with_its_incarnation(void **state)
{
	struct fixture *f = *state;
	struct request head = { .id = 1, .type = REQUEST_APPEND, .length = UINT32_MAX };

	start(f);
	memcpy(ring_reserve(f->producer, 256), &head, sizeof head);
	ring_publish(f->producer, 256, false);
	wake_write(f->logd_wake);
	assert_int_equal(hears(f, CTL_RING_BROKEN).incarnation, INCARNATION);
	say(f, &(struct control){ .type = CTL_STOP }, NULL, 0);
	assert_int_equal(leaves_with(f), 0); /* the others' log is closed as ever */
}

static void first_ephemeral_topic_uses_the_oldest_reserve(void **state)
{
	struct fixture *f = *state;
	uint8_t entry[4096], record[256];
	struct request head = { .id = 2, .type = REQUEST_APPEND, .count = 1, .name_length = 1 };

	start(f);
	ask_to_make(f, 1, "e", DURABILITY_EPHEMERAL);
	assert_int_equal(answer_to(f, 1).status, ERR_OK);
	head.body_length = make_record(record, "7", 1);
	head.payload = 1;
	make_request(entry, &head, "e", NULL, NULL, NULL, record);
	memcpy(ring_reserve(f->producer, head.length), entry, head.length);
	ring_publish(f->producer, head.length, false);
	wake_write(f->logd_wake);
	assert_int_equal(answer_to(f, 2).first_seq, 1);
	assert_int_not_equal(hears(f, CTL_EPHEMERAL_USED).a, 0);
}

static void message_out_of_the_protocol_ends_it(void **state)
{
	struct fixture *f = *state;

	run(f);
	say(f, &(struct control){ .type = CTL_CATALOGUE }, NULL, 0); /* a worker's */
	assert_int_equal(leaves_with(f), 1);
}

static void object_of_another_size_or_unsealed_ends_it(void **state)
{
	struct fixture *f = *state;
	const int fds[SOCKET_FDS] = { f->completion, f->completion, f->counters_fd, f->wake, f->logd_wake };

	run(f);
	say(f, &(struct control){ .type = CTL_RING_NEW, .slot = SLOT, .incarnation = INCARNATION, .a = LARGE }, fds, SOCKET_FDS);
	assert_int_equal(leaves_with(f), 1);
}

static void inheritance_that_does_not_map_ends_it_before_anything(void **state)
{
	struct fixture *f = *state;
	int status = f->inherit.common.status_fd;

	f->inherit.common.status_fd = f->counters_fd;
	run(f);
	assert_int_equal(leaves_with(f), 1);
	f->inherit.common.status_fd = status;
	assert_int_equal(files_of_kind(f, 'w'), 0);
}

static void log_of_a_newer_version_is_refused_and_not_touched(void **state)
{
	struct fixture *f = *state;
	const struct file_header newer = { .features = 1, .id = 0x4711, .kind = 'w', .number = 1, .first_lsn = LSN_FIRST };
	uint8_t bytes[FILE_HEADER_SIZE], after[FILE_HEADER_SIZE];
	int file = openat(f->inherit.data_dir_fd, "w0000000000004711", O_RDWR | O_CREAT, 0600);

	file_header_encode(&newer, bytes);
	assert_int_equal(write(file, bytes, sizeof bytes), sizeof bytes);
	run(f);
	say(f, &(struct control){ .type = CTL_START }, NULL, 0);
	assert_int_equal(leaves_with(f), LOGD_EXIT_REFUSED);
	assert_int_equal(pread(file, after, sizeof after, 0), sizeof after);
	assert_memory_equal(after, bytes, sizeof bytes);
	assert_int_equal(files_of_kind(f, 'w'), 1);
	close(file);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(new_directory_is_recovered_and_a_stop_closes_its_log),
		TEST(nothing_is_recovered_before_the_supervisor_says_start),
		TEST(sleeping_logd_and_worker_wake_each_other),
		TEST(request_that_waited_for_the_start_is_done_after_it),
		TEST(what_was_accepted_is_finished_when_the_supervisor_is_gone),
		TEST(ring_of_a_dead_worker_is_let_go_and_the_supervisor_told),
		TEST(what_the_supervisor_has_no_room_for_is_told_in_order_when_it_reads_again),
		TEST(what_is_left_to_tell_at_the_end_is_told_before_it),
		TEST(ring_that_breaks_its_layout_is_told_with_its_incarnation),
		TEST(first_ephemeral_topic_uses_the_oldest_reserve),
		TEST(message_out_of_the_protocol_ends_it),
		TEST(object_of_another_size_or_unsealed_ends_it),
		TEST(inheritance_that_does_not_map_ends_it_before_anything),
		TEST(log_of_a_newer_version_is_refused_and_not_touched),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
