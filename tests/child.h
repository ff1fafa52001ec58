/* Bodies that run in a process of their own, since they end it, change its user or its descriptors. */
#ifndef TOPICS_TESTS_CHILD_H
#define TOPICS_TESTS_CHILD_H

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILD_DEADLINE_MS = 20000 };

/* What waitpid says of a process that ran `body` and left with what it returned. */
static inline int child_ran(int (*body)(void *context), void *context)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(body(context));
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("child");
		abort();
	}
	return status;
}

/* In a body: leaves with the line's number when something does not hold, so that the test's failure names it. */
#define CHILD_NEEDS(condition)                                                                  \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
			_exit(77);                                                              \
		}                                                                               \
	} while (0)

/* Descriptors that this process has open. */
static inline unsigned open_descriptors(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");

	if (dir == NULL)
		abort();
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

/* True when `fd` gets readable within the deadline. */
static inline int gets_readable(int fd)
{
	struct pollfd wanted = { .fd = fd, .events = POLLIN };

	return poll(&wanted, 1, CHILD_DEADLINE_MS) == 1;
}

#endif
