/* A supervisor without its loop: memory objects, ground in a directory of its own, and control sockets whose other ends are the test's. */
#ifndef TOPICS_TESTS_SUPERVISOR_FIXTURE_H
#define TOPICS_TESTS_SUPERVISOR_FIXTURE_H

#include "supervisor/children.h"

enum { FIXTURE_WORKERS = 2 };

struct supervisor_fixture {
	struct supervisor s;
	struct options options;
	struct ground ground;
	char root[64];                /* options.data_dir lies in it */
	int logd;                     /* the other end of s.logd.control, -1 while a real logd has it */
	int workers[FIXTURE_WORKERS];
	unsigned open;                /* descriptors after the setup */
};

/* cmocka's setup and teardown. All children are ABSENT and nobody is connected. */
int supervisor_setup(void **state);
int supervisor_teardown(void **state);

/* Makes the child RUNNING, with the test at the other end of its socket and a process of its own that only waits to be ended. */
void supervisor_play_logd(struct supervisor_fixture *f);
void supervisor_play_worker(struct supervisor_fixture *f, unsigned slot);

/* Takes the next message to `party`, which must be there, with that many descriptors. */
struct control supervisor_told(int socket, enum control_party party, int fds[CONTROL_FDS], unsigned fd_count);
void supervisor_told_nothing(int socket);
/* The child of the supervisor says something. */
void supervisor_says(int socket, const struct control *message);

/* Waits for the process's end: what waitpid says. */
int supervisor_ended(pid_t pid);

#endif
