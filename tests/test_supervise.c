#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* The whole supervisor in a process of its own, with real children. */
#include <arpa/inet.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "supervisor/supervise.h"
#include "tests/child.h"

struct fixture {
	char root[64];
	struct options options;
	struct ground ground;
	uint16_t port;
	pid_t pid;
};

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

/* What the server answers to GET /v0/ready; 0: nothing. */
static int readiness(const struct fixture *f)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(f->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	static const char request[] = "GET /v0/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	char answer[64] = "";
	int status = 0, fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && write(fd, request, sizeof request - 1) > 0 && gets_readable(fd) &&
	    read(fd, answer, sizeof answer - 1) > 0)
		sscanf(answer, "HTTP/1.1 %d", &status);
	close(fd);
	return status;
}

static void until_ready(const struct fixture *f)
{
	for (unsigned i = 0; readiness(f) != 200; i++) {
		assert_true(i < CHILD_DEADLINE_MS / 5);
		nap();
	}
}

/* The process of that name below `parent`; waits for it. */
static pid_t child_named(pid_t parent, const char *name, pid_t but_not)
{
	char path[64], text[64];

	for (unsigned i = 0; i < CHILD_DEADLINE_MS / 5; i++) {
		int pid;
		snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
		FILE *list = fopen(path, "r");
		while (list != NULL && fscanf(list, "%d", &pid) == 1) {
			snprintf(path, sizeof path, "/proc/%d/comm", pid);
			FILE *comm = fopen(path, "r");
			bool found = comm != NULL && fgets(text, sizeof text, comm) != NULL && strncmp(text, name, strlen(name)) == 0 && pid != but_not;
			if (comm != NULL)
				fclose(comm);
			if (!found)
				continue;
			fclose(list);
			return pid;
		}
		if (list != NULL)
			fclose(list);
		nap();
	}
	fail_msg("no %s", name);
	return 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	char *none[] = { NULL }, message[512] = "";
	int port;

	strcpy(f->root, "/tmp/test_supervise.XXXXXX");
	if (mkdtemp(f->root) == NULL || options_read(&f->options, 0, none, none, NULL, message, sizeof message) != ERR_OK)
		return 1;
	f->options.port = 0;
	f->options.settings.workers = 2;
	snprintf(f->options.data_dir, sizeof f->options.data_dir, "%s/data", f->root);
	if (start_ground(&f->ground, &f->options, message, sizeof message) != ERR_OK || sscanf(f->ground.bound, "127.0.0.1:%d", &port) != 1)
		return 1;
	f->port = (uint16_t)port;
	f->pid = fork();
	if (f->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		_exit(supervise(&f->options, &f->ground));
	}
	close(f->ground.listen_fd);
	close(f->ground.lock_fd);
	close(f->ground.data_dir_fd);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	if (f->pid > 0) {
		kill(f->pid, SIGTERM);
		waitpid(f->pid, NULL, 0);
	}
	snprintf(command, sizeof command, "rm -rf %s", f->root);
	free(f);
	return system(command);
}

static int left_with(struct fixture *f)
{
	int status = -1;

	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	f->pid = 0;
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Another server takes the directory: nobody holds it any more. */
static void directory_is_free(struct fixture *f)
{
	char message[512] = "";

	assert_int_equal(start_ground(&f->ground, &f->options, message, sizeof message), ERR_OK);
	close(f->ground.listen_fd);
	close(f->ground.lock_fd);
	close(f->ground.data_dir_fd);
}

static void asked_to_stop_it_ends_its_children_and_leaves_with_0(void **state)
{
	struct fixture *f = *state;

	until_ready(f);
	kill(f->pid, SIGTERM);
	assert_int_equal(left_with(f), 0);
	assert_int_equal(readiness(f), 0);
	directory_is_free(f);
}

static void dead_children_are_replaced(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = { "topics-logd", "topics-worker" };

	until_ready(f);
	for (unsigned i = 0; i < 2; i++) {
		pid_t first = child_named(f->pid, names[i], 0);
		kill(first, SIGKILL);
		assert_true(child_named(f->pid, names[i], first) > 0);
		until_ready(f);
	}
	kill(f->pid, SIGINT);
	assert_int_equal(left_with(f), 0);
}

static void stop_that_finds_logd_dead_does_not_say_that_all_is_well(void **state)
{
	struct fixture *f = *state;

	until_ready(f);
	kill(f->pid, SIGSTOP); /* so that it hears of the death and of the stop at once */
	kill(child_named(f->pid, "topics-logd", 0), SIGKILL);
	kill(f->pid, SIGTERM);
	kill(f->pid, SIGCONT);
	assert_int_equal(left_with(f), 1);
	directory_is_free(f);
}

static void children_of_a_killed_supervisor_leave_and_let_the_directory_go(void **state)
{
	struct fixture *f = *state;

	until_ready(f);
	kill(f->pid, SIGKILL);
	waitpid(f->pid, NULL, 0);
	f->pid = 0;
	directory_is_free(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(asked_to_stop_it_ends_its_children_and_leaves_with_0),
		TEST(dead_children_are_replaced),
		TEST(stop_that_finds_logd_dead_does_not_say_that_all_is_well),
		TEST(children_of_a_killed_supervisor_leave_and_let_the_directory_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
