#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "supervisor/start.h"
#include "tests/child.h"

struct fixture {
	char root[64];
	struct options options;   /* a free port of this machine, data in root/data */
	struct ground ground;
	char message[1024];
	unsigned open;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	char *none[] = { NULL }, *argument[] = { NULL };

	strcpy(f->root, "/tmp/test_start.XXXXXX");
	if (mkdtemp(f->root) == NULL || options_read(&f->options, 0, argument, none, NULL, f->message, sizeof f->message) != ERR_OK)
		return 1;
	f->options.port = 0;
	snprintf(f->options.data_dir, sizeof f->options.data_dir, "%s/data", f->root);
	f->open = open_descriptors();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", f->root);
	free(f);
	return system(command);
}

static enum error start(struct fixture *f)
{
	return start_ground(&f->ground, &f->options, f->message, sizeof f->message);
}

static void let_go(struct ground *ground)
{
	close(ground->listen_fd);
	close(ground->lock_fd);
	close(ground->data_dir_fd);
}

static void refused(struct fixture *f, enum error error, const char *word)
{
	assert_int_equal(start(f), error);
	assert_non_null(strstr(f->message, word));
	assert_int_equal(open_descriptors(), f->open); /* nothing is left open */
}

static void ground_is_a_new_directory_its_lock_and_a_listening_socket(void **state)
{
	struct fixture *f = *state;
	struct stat facts;
	char path[4200], text[32] = "", own[32];
	int accepting = 0, port = 0;
	socklen_t length = sizeof accepting;

	snprintf(f->options.data_dir, sizeof f->options.data_dir, "%s/a/b/data", f->root);
	assert_int_equal(start(f), ERR_OK);
	assert_int_equal(stat(f->options.data_dir, &facts), 0);
	assert_int_equal(facts.st_mode & 0007, 0);
	assert_int_equal(facts.st_uid, f->ground.uid);
	snprintf(path, sizeof path, "%s/lock", f->options.data_dir);
	int fd = open(path, O_RDONLY);
	assert_true(read(fd, text, sizeof text - 1) > 0);
	close(fd);
	snprintf(own, sizeof own, "%d\n", (int)getpid());
	assert_string_equal(text, own);
	assert_int_equal(getsockopt(f->ground.listen_fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &length), 0);
	assert_true(accepting);
	assert_int_equal(sscanf(f->ground.bound, "127.0.0.1:%d", &port), 1);
	assert_true(port > 0);
	assert_int_equal(fcntl(f->ground.listen_fd, F_GETFD) & fcntl(f->ground.lock_fd, F_GETFD) & fcntl(f->ground.data_dir_fd, F_GETFD), FD_CLOEXEC);
	let_go(&f->ground);
}

static void directory_that_is_held_is_refused_by_the_name_of_its_holder(void **state)
{
	struct fixture *f = *state;
	struct ground first;
	char holder[64];

	assert_int_equal(start(f), ERR_OK);
	first = f->ground;
	f->open = open_descriptors();
	snprintf(holder, sizeof holder, "process %d)", (int)getpid());
	refused(f, ERR_BUSY, holder);
	let_go(&first);
}

/* Holds the lock until somebody opens its file, then leaves: a server that is stopping while the next one starts. */
static int hold_until_asked(int ready, const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600), notes = inotify_init();
	char event[4096];

	CHILD_NEEDS(flock(fd, LOCK_EX | LOCK_NB) == 0 && inotify_add_watch(notes, path, IN_OPEN) >= 0);
	CHILD_NEEDS(write(ready, "x", 1) == 1);
	CHILD_NEEDS(read(notes, event, sizeof event) > 0);
	return 0;
}

static void holder_that_is_leaving_is_waited_for(void **state)
{
	struct fixture *f = *state;
	char path[4200], byte;
	int pair[2], status;

	assert_int_equal(mkdir(f->options.data_dir, 0750), 0);
	snprintf(path, sizeof path, "%s/lock", f->options.data_dir);
	assert_int_equal(pipe(pair), 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(hold_until_asked(pair[1], path));
	assert_int_equal(read(pair[0], &byte, 1), 1);
	assert_int_equal(start(f), ERR_OK);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	let_go(&f->ground);
	close(pair[0]);
	close(pair[1]);
}

static int take_and_die(void *context)
{
	return start(context) == ERR_OK ? 0 : 1;
}

static void lock_of_a_dead_server_is_taken(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(child_ran(take_and_die, f), 0);
	assert_int_equal(start(f), ERR_OK);
	let_go(&f->ground);
}

static void what_is_no_directory_is_refused_by_name(void **state)
{
	struct fixture *f = *state;
	int fd;

	fd = open(f->options.data_dir, O_WRONLY | O_CREAT, 0600);
	close(fd);
	refused(f, ERR_IO, f->options.data_dir);
	snprintf(f->options.data_dir, sizeof f->options.data_dir, "%s/data/below", f->root);
	refused(f, ERR_IO, f->options.data_dir);
}

static void lock_that_is_a_link_is_not_followed(void **state)
{
	struct fixture *f = *state;
	char path[4200];
	struct stat facts;

	assert_int_equal(mkdir(f->options.data_dir, 0750), 0);
	snprintf(path, sizeof path, "%s/lock", f->options.data_dir);
	assert_int_equal(symlink("elsewhere", path), 0);
	refused(f, ERR_IO, "lock");
	snprintf(path, sizeof path, "%s/elsewhere", f->options.data_dir);
	assert_int_equal(stat(path, &facts), -1);
}

static void port_in_use_is_refused_and_the_directory_let_go(void **state)
{
	struct fixture *f = *state;
	char wanted[32];
	struct ground first;
	int port;

	assert_int_equal(start(f), ERR_OK);
	first = f->ground;
	assert_int_equal(sscanf(first.bound, "127.0.0.1:%d", &port), 1);
	f->open = open_descriptors();
	f->options.port = (uint64_t)port;
	snprintf(f->options.data_dir, sizeof f->options.data_dir, "%s/other", f->root);
	snprintf(wanted, sizeof wanted, "127.0.0.1:%d", port);
	refused(f, ERR_IO, wanted);
	f->options.port = 0;
	assert_int_equal(start(f), ERR_OK);
	let_go(&f->ground);
	let_go(&first);
}

static void host_that_cannot_be_bound_is_refused_by_name(void **state)
{
	struct fixture *f = *state;

	strcpy(f->options.host, "no-such-host.invalid");
	refused(f, ERR_INVALID_REQUEST, "no-such-host.invalid");
	strcpy(f->options.host, "192.0.2.1");
	refused(f, ERR_IO, "192.0.2.1");
}

static void address_of_version_6_is_bound_and_named_in_brackets(void **state)
{
	struct fixture *f = *state;

	strcpy(f->options.host, "::1");
	enum error error = start(f);
	if (access("/proc/net/if_inet6", F_OK) != 0) { /* a kernel without it */
		assert_int_equal(error, ERR_IO);
		return;
	}
	assert_int_equal(error, ERR_OK);
	assert_int_equal(strncmp(f->ground.bound, "[::1]:", 6), 0);
	let_go(&f->ground);
}

static void root_changes_to_a_user_that_owns_the_data_and_others_stay_themselves(void **state)
{
	struct fixture *f = *state;
	char path[4200];
	struct stat facts;

	assert_int_equal(mkdir(f->options.data_dir, 0755), 0);
	snprintf(path, sizeof path, "%s/w0000000000000001", f->options.data_dir);
	close(open(path, O_WRONLY | O_CREAT, 0600));
	strcpy(f->options.user, "no-such-user");
	if (geteuid() == 0)
		refused(f, ERR_INVALID_REQUEST, "no-such-user");
	strcpy(f->options.user, geteuid() == 0 ? "nobody" : "no-such-user");
	assert_int_equal(start(f), ERR_OK);
	assert_int_equal(f->ground.drop, geteuid() == 0);
	assert_int_equal(f->ground.uid != getuid(), geteuid() == 0);
	assert_int_equal(stat(path, &facts), 0);
	assert_int_equal(facts.st_uid, f->ground.uid);
	assert_int_equal(facts.st_gid, f->ground.gid);
	let_go(&f->ground);
}

static void port_file_holds_the_line_and_nothing_else_is_left(void **state)
{
	struct fixture *f = *state;
	char path[256], text[64] = "";

	snprintf(path, sizeof path, "%s/port", f->root);
	assert_int_equal(start_port_file(path, "127.0.0.1:1111111111"), ERR_OK);
	assert_int_equal(start_port_file(path, "127.0.0.1:1"), ERR_OK);
	int fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, text, sizeof text - 1), 12);
	close(fd);
	assert_string_equal(text, "127.0.0.1:1\n");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(start_port_file(path, "127.0.0.1:1"), ERR_IO); /* a directory cannot be replaced */
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(f->root), 0); /* it is empty */
	assert_int_equal(start_port_file(path, "127.0.0.1:1"), ERR_IO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(ground_is_a_new_directory_its_lock_and_a_listening_socket),
		TEST(directory_that_is_held_is_refused_by_the_name_of_its_holder),
		TEST(holder_that_is_leaving_is_waited_for),
		TEST(lock_of_a_dead_server_is_taken),
		TEST(what_is_no_directory_is_refused_by_name),
		TEST(lock_that_is_a_link_is_not_followed),
		TEST(port_in_use_is_refused_and_the_directory_let_go),
		TEST(host_that_cannot_be_bound_is_refused_by_name),
		TEST(address_of_version_6_is_bound_and_named_in_brackets),
		TEST(root_changes_to_a_user_that_owns_the_data_and_others_stay_themselves),
		TEST(port_file_holds_the_line_and_nothing_else_is_left),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
