#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "supervisor/notify.h"

struct fixture {
	char directory[64];
	char path[100];
	int socket;
};

/* A service manager's socket at `name`; '@' stands for the NUL of an abstract one. */
static int listening(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, name, strlen(name));
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
	return fd;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->directory, "/tmp/test_notify.XXXXXX");
	if (mkdtemp(f->directory) == NULL)
		return 1;
	snprintf(f->path, sizeof f->path, "%s/notify", f->directory);
	f->socket = listening(f->path);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unsetenv("NOTIFY_SOCKET");
	close(f->socket);
	unlink(f->path);
	rmdir(f->directory);
	free(f);
	return 0;
}

static void came(int fd, const char *expected)
{
	char text[256] = "";
	ssize_t n = recv(fd, text, sizeof text - 1, 0);

	assert_int_equal(n, expected == NULL ? -1 : (ssize_t)strlen(expected));
	if (expected != NULL)
		assert_string_equal(text, expected);
}

static void state_goes_in_one_datagram_to_the_socket_that_the_variable_names(void **state)
{
	struct fixture *f = *state;

	setenv("NOTIFY_SOCKET", f->path, 1);
	notify_send("READY=1\nSTATUS=ready");
	notify_send("STOPPING=1");
	came(f->socket, "READY=1\nSTATUS=ready");
	came(f->socket, "STOPPING=1");
	came(f->socket, NULL);
}

static void abstract_socket_is_found_too(void **state)
{
	char name[64];
	int fd;

	(void)state;
	snprintf(name, sizeof name, "@test-notify-%d", (int)getpid());
	fd = listening(name);
	setenv("NOTIFY_SOCKET", name, 1);
	notify_send("READY=1");
	came(fd, "READY=1");
	close(fd);
}

static void without_a_variable_nothing_is_sent(void **state)
{
	unsetenv("NOTIFY_SOCKET");
	notify_send("READY=1");
	came(((struct fixture *)*state)->socket, NULL);
}

static void names_that_are_no_socket_do_no_harm(void **state)
{
	static const char *const names[] = { "", "relative/notify", "vsock:2:1", "/nowhere/notify", "@nobody-listens-here", "/dev/null" };
	static char name[4096];

	(void)state;
	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		setenv("NOTIFY_SOCKET", names[i], 1);
		notify_send("READY=1");
	}
	memset(name, 'x', sizeof name - 1);
	name[0] = '/';
	for (size_t length = sizeof ((struct sockaddr_un *)0)->sun_path + 4; length > 100; length--) {
		name[length] = '\0';
		setenv("NOTIFY_SOCKET", name, 1);
		notify_send("READY=1");
	}
}

static void manager_that_does_not_read_holds_nobody_up(void **state)
{
	struct fixture *f = *state;

	setenv("NOTIFY_SOCKET", f->path, 1);
	for (unsigned i = 0; i < 10000; i++)
		notify_send("STATUS=recovering the log, 7%");
	came(f->socket, "STATUS=recovering the log, 7%");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(state_goes_in_one_datagram_to_the_socket_that_the_variable_names),
		TEST(abstract_socket_is_found_too),
		TEST(without_a_variable_nothing_is_sent),
		TEST(names_that_are_no_socket_do_no_harm),
		TEST(manager_that_does_not_read_holds_nobody_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
