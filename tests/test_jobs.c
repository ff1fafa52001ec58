#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "logd/jobs.h"
#include "tests/child.h"

struct fixture {
	char path[64];
	int dir;
	int file;          /* w0000000000000001 in it */
	struct jobs *jobs;
	unsigned open;     /* descriptors before the jobs */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->path, "/tmp/test_jobs.XXXXXX");
	if (mkdtemp(f->path) == NULL)
		return 1;
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->file = openat(f->dir, "w0000000000000001", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	f->open = open_descriptors();
	*state = f;
	return f->file < 0 || jobs_create(&f->jobs) != ERR_OK;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	jobs_destroy(&f->jobs);
	assert_null(f->jobs);
	assert_int_equal(open_descriptors(), f->open);
	close(f->file);
	close(f->dir);
	snprintf(command, sizeof command, "rm -rf %s", f->path);
	free(f);
	return system(command);
}

static struct job_result finished(struct fixture *f)
{
	struct job_result result;

	while (!jobs_finished(f->jobs, &result))
		assert_true(gets_readable(jobs_event_fd(f->jobs)));
	return result;
}

static void idle_jobs_say_nothing(void **state)
{
	struct fixture *f = *state;
	struct job_result result;
	uint64_t count;

	assert_false(jobs_finished(f->jobs, &result));
	assert_int_equal(read(jobs_event_fd(f->jobs), &count, sizeof count), -1);
	assert_int_equal(errno, EAGAIN);
}

static void sync_and_preparation_run_beside_each_other_and_each_is_told_once(void **state)
{
	struct fixture *f = *state;
	const struct sync_job sync = { .files = { f->file }, .count = 1, .lsn = 512 };
	struct job_result result;
	unsigned seen[2] = { 0, 0 };

	for (unsigned turn = 0; turn < 50; turn++) {
		char name[32];
		snprintf(name, sizeof name, "w%016x", 100 + turn);
		assert_int_equal(jobs_prepare(f->jobs, f->dir, name, 100 + turn, 8192), 0);
		assert_int_equal(jobs_sync(f->jobs, &sync), 0);
		for (unsigned i = 0; i < 2; i++) {
			result = finished(f);
			seen[result.kind]++;
			if (result.kind == JOB_SYNC)
				assert_int_equal(result.sync.lsn, 512);
			else
				assert_int_equal(result.id, 100 + turn);
			assert_int_equal(result.kind == JOB_SYNC ? result.sync.error : result.error, 0);
		}
		assert_false(jobs_finished(f->jobs, &result));
	}
	assert_int_equal(seen[JOB_SYNC], 50);
	assert_int_equal(seen[JOB_PREPARE], 50);
}

/* Jobs that follow closely find the thread looking, those after a pause find it asleep; the end finds it looking. */
static void thread_that_looks_for_its_next_job_does_each_once(void **state)
{
	struct fixture *f = *state;
	struct job_result result;

	jobs_busy_poll(f->jobs, 2000);
	for (unsigned i = 0; i < 2000; i++) {
		const struct sync_job sync = { .files = { f->file }, .count = 1, .lsn = i };
		assert_int_equal(jobs_sync(f->jobs, &sync), 0);
		assert_int_equal(jobs_sync(f->jobs, &sync), EBUSY);
		result = finished(f);
		assert_int_equal(result.kind, JOB_SYNC);
		assert_int_equal(result.sync.lsn, i);
		assert_false(jobs_finished(f->jobs, &result));
		if (i % 500 == 499)
			jobs_busy_poll(f->jobs, i % 1000 == 499 ? 0 : 2000);
	}
}

/* A job that is over at once ends at every point of the loop's question for results, also between its look and its taking of the event back. */
static void end_of_a_job_is_told_whenever_it_comes(void **state)
{
	struct fixture *f = *state;
	const struct sync_job nothing = { .count = 0 };

	jobs_busy_poll(f->jobs, 2000);
	for (unsigned i = 0; i < 100000; i++) {
		assert_int_equal(jobs_sync(f->jobs, &nothing), 0);
		for (volatile unsigned wait = 0; wait < i % 1024; wait++)
			continue;
		assert_int_equal(finished(f).kind, JOB_SYNC);
	}
}

static void second_job_of_a_kind_is_busy_until_the_first_is_taken(void **state)
{
	struct fixture *f = *state;
	const struct sync_job first = { .files = { f->file }, .count = 1, .lsn = 1 }, second = { .files = { f->file }, .count = 1, .lsn = 2 };

	assert_int_equal(jobs_sync(f->jobs, &first), 0);
	assert_true(gets_readable(jobs_event_fd(f->jobs)));
	assert_int_equal(jobs_sync(f->jobs, &second), EBUSY); /* done, and not taken yet */
	assert_int_equal(finished(f).sync.lsn, 1);
	assert_int_equal(jobs_sync(f->jobs, &second), 0);
	assert_int_equal(finished(f).sync.lsn, 2);
	assert_int_equal(jobs_prepare(f->jobs, f->dir, "w0000000000000007", 7, 4096), 0);
	assert_int_equal(jobs_prepare(f->jobs, f->dir, "w0000000000000008", 8, 4096), EBUSY);
	assert_int_equal(finished(f).id, 7);
	assert_int_equal(faccessat(f->dir, "w0000000000000008", F_OK, 0), -1);
}

static void sync_stops_at_the_first_failure_and_the_next_job_begins_without_it(void **state)
{
	struct fixture *f = *state;
	int pair[2];
	struct sync_job job = { .files = { f->file, -1, f->file }, .count = 3, .error = 99 };

	assert_int_equal(jobs_sync(f->jobs, &job), 0);
	assert_int_equal(finished(f).sync.error, EBADF);
	assert_int_equal(pipe(pair), 0);
	job.files[0] = pair[0];
	assert_int_equal(jobs_sync(f->jobs, &job), 0);
	assert_int_equal(finished(f).sync.error, EINVAL); /* a pipe cannot be synced: the first of the two failures */
	job = (struct sync_job){ .files = { f->file }, .count = 1, .error = 99 };
	assert_int_equal(jobs_sync(f->jobs, &job), 0);
	assert_int_equal(finished(f).sync.error, 0);
	job.count = 0;
	assert_int_equal(jobs_sync(f->jobs, &job), 0);
	assert_int_equal(finished(f).sync.error, 0);
	close(pair[0]);
	close(pair[1]);
}

static void prepared_file_is_whole_zero_and_nobody_elses_to_read(void **state)
{
	struct fixture *f = *state;
	enum { SIZE = (3 << 20) + 4096 };
	uint8_t *bytes = malloc(SIZE);
	struct stat facts;
	int file;

	assert_int_equal(jobs_prepare(f->jobs, f->dir, "w0000000000000009", 9, SIZE), 0);
	assert_int_equal(finished(f).error, 0);
	file = openat(f->dir, "w0000000000000009", O_RDONLY);
	assert_int_equal(fstat(file, &facts), 0);
	assert_int_equal(facts.st_size, SIZE);
	assert_true(facts.st_blocks * 512 >= SIZE);
	assert_int_equal(facts.st_mode & 0007, 0);
	assert_int_equal(pread(file, bytes, SIZE, 0), SIZE);
	for (size_t i = 0; i < SIZE; i++)
		if (bytes[i] != 0)
			fail_msg("byte %zu is not zero", i);
	close(file);
	free(bytes);
}

static void preparation_that_fails_says_why_and_leaves_only_what_was_there(void **state)
{
	struct fixture *f = *state;
	struct job_result result;

	assert_int_equal(jobs_prepare(f->jobs, f->dir, "w0000000000000001", 1, 4096), 0);
	result = finished(f);
	assert_int_equal(result.error, EEXIST);
	assert_int_equal(result.id, 1);
	assert_int_equal(faccessat(f->dir, "w0000000000000001", F_OK, 0), 0);
	assert_int_equal(jobs_prepare(f->jobs, f->dir, "w0000000000000002", 2, (uint64_t)1 << 62), 0);
	assert_int_not_equal(finished(f).error, 0);
	assert_int_equal(faccessat(f->dir, "w0000000000000002", F_OK, 0), -1);
	assert_int_equal(jobs_prepare(f->jobs, -1, "w0000000000000003", 3, 4096), 0);
	assert_int_equal(finished(f).error, EBADF);
}

static void name_of_one_job_leaves_nothing_to_the_next(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(jobs_prepare(f->jobs, f->dir, "q0123456789abcdef-123456", 1, 4096), 0);
	assert_int_equal(finished(f).error, 0);
	assert_int_equal(jobs_prepare(f->jobs, f->dir, "w1", 2, 4096), 0);
	assert_int_equal(finished(f).error, 0);
	assert_int_equal(faccessat(f->dir, "w1", F_OK, 0), 0);
}

static void end_waits_for_the_job_that_runs(void **state)
{
	struct fixture *f = *state;
	const struct sync_job sync = { .files = { f->file }, .count = 1 };
	struct stat facts;

	assert_int_equal(jobs_prepare(f->jobs, f->dir, "w000000000000000a", 10, 1 << 20), 0);
	assert_int_equal(jobs_sync(f->jobs, &sync), 0);
	jobs_destroy(&f->jobs);
	assert_null(f->jobs);
	assert_int_equal(fstatat(f->dir, "w000000000000000a", &facts, 0), 0);
	assert_int_equal(facts.st_size, 1 << 20);
	jobs_destroy(&f->jobs);
}

/* Signals of the process are its loop's: a thread that took one would not tell it. */
static void threads_take_no_signals(void **state)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned threads = 0;

	(void)state;
	while ((entry = readdir(tasks)) != NULL) {
		char path[300], line[256];
		unsigned long long blocked = 0;
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == (int)getpid())
			continue;
		snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
		FILE *status = fopen(path, "r");
		while (status != NULL && fgets(line, sizeof line, status) != NULL)
			sscanf(line, "SigBlk: %llx", &blocked);
		if (status != NULL)
			fclose(status);
		bool all = true;
		for (int number = 1; number < 32; number++)
			all = all && (number == SIGKILL || number == SIGSTOP || (blocked >> (number - 1) & 1));
		threads += all;
	}
	closedir(tasks);
	assert_true(threads >= 2); /* a sanitizer may have one of its own */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(idle_jobs_say_nothing),
		TEST(sync_and_preparation_run_beside_each_other_and_each_is_told_once),
		TEST(thread_that_looks_for_its_next_job_does_each_once),
		TEST(end_of_a_job_is_told_whenever_it_comes),
		TEST(second_job_of_a_kind_is_busy_until_the_first_is_taken),
		TEST(sync_stops_at_the_first_failure_and_the_next_job_begins_without_it),
		TEST(prepared_file_is_whole_zero_and_nobody_elses_to_read),
		TEST(preparation_that_fails_says_why_and_leaves_only_what_was_there),
		TEST(name_of_one_job_leaves_nothing_to_the_next),
		TEST(end_waits_for_the_job_that_runs),
		TEST(threads_take_no_signals),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
