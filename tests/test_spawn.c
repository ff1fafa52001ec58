#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "supervisor/spawn.h"
#include "tests/child.h"

/*
 * The program that is spawned is this one: it sits beside itself, and an empty environment tells it that it is the child. It reads its inheritance and says over the control
 * descriptor what it found.
 */
enum { FDS_SAID = 128, HANDED = 5 };

struct report {
	enum error inherited;
	uint64_t incarnation;
	int arguments;
	bool signals_blocked;
	unsigned count;
	int open[FDS_SAID];           /* every open descriptor, rising */
	ino_t inodes[FDS_SAID];
};

static int compare(const void *one, const void *other)
{
	return *(const int *)one - *(const int *)other;
}

static void list_open(struct report *report)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	while ((entry = readdir(dir)) != NULL) {
		int fd = atoi(entry->d_name);
		if (entry->d_name[0] != '.' && fd != dirfd(dir) && report->count < FDS_SAID)
			report->open[report->count++] = fd;
	}
	closedir(dir);
	qsort(report->open, report->count, sizeof report->open[0], compare);
	for (unsigned i = 0; i < report->count; i++) {
		struct stat facts;
		if (fstat(report->open[i], &facts) == 0)
			report->inodes[i] = facts.st_ino;
	}
}

static int as_child(int arguments)
{
	struct inherit_worker inherit;
	struct report report = { .arguments = arguments };
	sigset_t blocked;

	report.inherited = inherit_read(&inherit, sizeof inherit);
	if (report.inherited != ERR_OK)
		return 1;
	report.incarnation = inherit.incarnation;
	sigprocmask(SIG_SETMASK, NULL, &blocked);
	for (int number = 1; number < 32; number++)
		report.signals_blocked = report.signals_blocked || sigismember(&blocked, number);
	list_open(&report);
	return write(inherit.common.control_fd, &report, sizeof report) == (ssize_t)sizeof report ? 0 : 1;
}

static const char *own_name(void)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	assert_true(n > 0);
	path[n] = '\0';
	return strrchr(path, '/') + 1;
}

/* Spawns with the write end of a pipe as control descriptor and `handed` behind it; what the child says. */
static struct report spawned(const int *handed, unsigned count)
{
	struct inherit_worker inherit = { .common = { .version = INHERIT_VERSION, .size = sizeof inherit }, .incarnation = 0x0123456789abcdef };
	struct spawn spawn = { .count = 0 };
	struct report report;
	int pair[2], status;
	pid_t pid = -1;

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	inherit.common.control_fd = spawn_fd(&spawn, pair[1]);
	assert_int_equal(inherit.common.control_fd, INHERIT_FD + 1);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(spawn_fd(&spawn, handed[i]), INHERIT_FD + 2 + (int)i);
	assert_int_equal(spawn_run(&spawn, own_name(), &inherit, sizeof inherit, &pid), ERR_OK);
	close(pair[1]);
	assert_true(gets_readable(pair[0]));
	assert_int_equal(read(pair[0], &report, sizeof report), sizeof report);
	close(pair[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return report;
}

static void child_finds_its_inheritance_and_every_descriptor_at_its_number(void **state)
{
	int handed[HANDED];
	struct report report;

	(void)state;
	for (unsigned i = 0; i < HANDED; i++)
		handed[i] = memfd_create("handed", MFD_CLOEXEC);
	report = spawned(handed, HANDED);
	assert_int_equal(report.incarnation, 0x0123456789abcdef);
	assert_int_equal(report.arguments, 1);
	assert_false(report.signals_blocked);
	assert_int_equal(report.count, 3 + 1 + HANDED); /* the three standard ones, control, what was handed; the inheritance has been closed */
	for (unsigned i = 0; i < HANDED; i++) {
		struct stat facts;
		assert_int_equal(report.open[4 + i], INHERIT_FD + 2 + (int)i);
		assert_int_equal(fstat(handed[i], &facts), 0);
		assert_int_equal(report.inodes[4 + i], facts.st_ino);
		close(handed[i]);
	}
}

static void nothing_else_is_open_in_the_child_whoever_started_us(void **state)
{
	int stray[] = { fcntl(STDERR_FILENO, F_DUPFD, 30), fcntl(STDERR_FILENO, F_DUPFD, 600), fcntl(STDERR_FILENO, F_DUPFD, 1000), fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 40) };

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_true(stray[i] > 0);
	assert_int_equal(spawned(NULL, 0).count, 4);
	for (unsigned i = 0; i < 4; i++)
		close(stray[i]);
}

static int crossed(void *context)
{
	int handed[HANDED];
	struct report report;

	(void)context;
	/* Each lies where another one has to go, the last where the inheritance goes. */
	for (int i = 0; i < HANDED; i++) {
		int fd = memfd_create("handed", MFD_CLOEXEC);
		handed[i] = INHERIT_FD + HANDED - i;
		CHILD_NEEDS(fd >= 0 && fcntl(fd, F_DUPFD_CLOEXEC, 200 + i) == 200 + i);
		close(fd);
	}
	for (int i = 0; i < HANDED; i++)
		CHILD_NEEDS(dup3(200 + i, handed[i], O_CLOEXEC) == handed[i]);
	report = spawned(handed, HANDED);
	for (int i = 0; i < HANDED; i++) {
		struct stat facts;
		CHILD_NEEDS(fstat(200 + i, &facts) == 0 && report.inodes[4 + i] == facts.st_ino);
	}
	return 0;
}

static void sources_that_lie_at_each_others_targets_arrive_all_the_same(void **state)
{
	(void)state;
	assert_int_equal(child_ran(crossed, NULL), 0);
}

static void signals_that_the_supervisor_blocks_are_free_in_the_child(void **state)
{
	sigset_t some, before;

	(void)state;
	sigemptyset(&some);
	sigaddset(&some, SIGTERM);
	sigaddset(&some, SIGCHLD);
	sigprocmask(SIG_BLOCK, &some, &before);
	assert_false(spawned(NULL, 0).signals_blocked);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void program_that_is_not_there_is_not_found_and_nothing_is_left_open(void **state)
{
	struct inherit_worker inherit = { .common = { .version = INHERIT_VERSION, .size = sizeof inherit } };
	struct spawn spawn = { .count = 0 };
	unsigned before = open_descriptors();
	pid_t pid = -1;

	(void)state;
	assert_int_equal(spawn_run(&spawn, "no-such-program", &inherit, sizeof inherit, &pid), ERR_NOT_FOUND);
	assert_int_equal(pid, -1);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(open_descriptors(), before);
}

static void absent_descriptors_stay_absent_and_too_many_have_no_number(void **state)
{
	struct spawn spawn = { .count = 0 };

	(void)state;
	assert_int_equal(spawn_fd(&spawn, -1), -1);
	assert_int_equal(spawn.count, 0);
	for (int i = 0; i < SPAWN_FDS; i++)
		assert_int_equal(spawn_fd(&spawn, 0), INHERIT_FD + 1 + i);
	assert_int_equal(spawn_fd(&spawn, 0), -1);
	assert_int_equal(spawn.count, SPAWN_FDS);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(child_finds_its_inheritance_and_every_descriptor_at_its_number),
		cmocka_unit_test(nothing_else_is_open_in_the_child_whoever_started_us),
		cmocka_unit_test(sources_that_lie_at_each_others_targets_arrive_all_the_same),
		cmocka_unit_test(signals_that_the_supervisor_blocks_are_free_in_the_child),
		cmocka_unit_test(program_that_is_not_there_is_not_found_and_nothing_is_left_open),
		cmocka_unit_test(absent_descriptors_stay_absent_and_too_many_have_no_number),
	};
	(void)argv;
	if (environ[0] == NULL)
		return as_child(argc);
	/* A test's own descriptors above the standard ones are none of its business. */
	close_range(INHERIT_FD, 1023, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
