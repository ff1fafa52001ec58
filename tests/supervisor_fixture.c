#include "tests/supervisor_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/feed.h"
#include "common/shm.h"
#include "tests/child.h"

static void object(int *fd, int *readonly, void **map, size_t size)
{
	assert_int_equal(shm_create(fd, "topics-test", size), ERR_OK);
	assert_int_equal(shm_reopen_readonly(readonly, *fd), ERR_OK);
	if (map != NULL)
		assert_int_equal(shm_map(map, *fd, size, true), ERR_OK);
}

int supervisor_setup(void **state)
{
	struct supervisor_fixture *f = calloc(1, sizeof *f);
	struct supervisor *s = &f->s;
	char *none[] = { NULL }, message[512] = "";
	void *map;

	strcpy(f->root, "/tmp/test_supervisor.XXXXXX");
	assert_non_null(mkdtemp(f->root));
	assert_int_equal(options_read(&f->options, 0, none, none, NULL, message, sizeof message), ERR_OK);
	f->options.port = 0;
	f->options.settings.workers = FIXTURE_WORKERS;
	f->options.settings.segment_max_bytes = 1 << 20;
	snprintf(f->options.data_dir, sizeof f->options.data_dir, "%s/data", f->root);
	if (start_ground(&f->ground, &f->options, message, sizeof message) != ERR_OK)
		fail_msg("%s", message);
	*s = (struct supervisor){ .options = &f->options, .ground = &f->ground, .logging = { .program = "test", .level = LOG_LEVEL_INFO },
		.listen_fd = f->ground.listen_fd, .signals = -1, .catalogue = -1, .catalogue_next = -1, .catalogue_readonly = -1, .large_bytes = 1 << 20, .ephemeral_size = 4 << 20 };
	s->logd.control = -1;
	object(&s->status, &s->status_readonly, &map, sizeof(struct status));
	s->status_map = map;
	object(&s->feed, &s->feed_readonly, NULL, sizeof(struct feed_shared));
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct worker_child *worker = &s->workers[i];
		worker->child.control = worker->request = worker->request_readonly = worker->completion = worker->wake = worker->woken = worker->logd_wake = worker->counters = worker->counters_readonly = -1;
	}
	for (unsigned i = 0; i < FIXTURE_WORKERS; i++) {
		object(&s->workers[i].counters, &s->workers[i].counters_readonly, &map, sizeof(struct counters));
		s->workers[i].counters_map = map;
		f->workers[i] = -1;
	}
	f->logd = -1;
	f->open = open_descriptors();
	*state = f;
	return 0;
}

static void close_all(int *const *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (*fds[i] >= 0)
			close(*fds[i]);
}

static void end_child(struct supervisor *s, struct child *child)
{
	drop_unsent(s, child);
	if (child->pid > 0) {
		kill(child->pid, SIGKILL);
		waitpid(child->pid, NULL, 0);
	}
	if (child->control >= 0)
		close(child->control);
}

int supervisor_teardown(void **state)
{
	struct supervisor_fixture *f = *state;
	struct supervisor *s = &f->s;
	char command[128];
	void *map = s->status_map;
	int *const fds[] = { &s->status, &s->status_readonly, &s->feed, &s->feed_readonly, &s->catalogue, &s->catalogue_next, &s->catalogue_readonly, &f->logd,
		&f->ground.listen_fd, &f->ground.lock_fd, &f->ground.data_dir_fd };

	end_child(s, &s->logd);
	shm_unmap(&map, sizeof(struct status));
	for (unsigned i = 0; i < FIXTURE_WORKERS; i++) {
		struct worker_child *worker = &s->workers[i];
		int *const of_worker[] = { &worker->request, &worker->request_readonly, &worker->completion, &worker->wake, &worker->woken, &worker->logd_wake, &worker->counters, &worker->counters_readonly,
			&f->workers[i] };
		end_child(s, &worker->child);
		map = worker->counters_map;
		shm_unmap(&map, sizeof(struct counters));
		close_all(of_worker, 9);
	}
	close_all(fds, sizeof fds / sizeof fds[0]);
	while (s->ephemeral != NULL) {
		struct ephemeral *gone = s->ephemeral;
		s->ephemeral = gone->next;
		close(gone->fd);
		free(gone);
	}
	snprintf(command, sizeof command, "rm -rf %s", f->root);
	free(f);
	return system(command);
}

static void play(struct child *child, int *theirs)
{
	int pair[2], ready[2];
	char byte;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(pipe(ready), 0);
	child->control = pair[0];
	*theirs = pair[1];
	child->state = CHILD_RUNNING;
	child->started_us = now_us();
	child->pid = fork();
	if (child->pid == 0) {
		/* Nobody's socket stays open by it. */
		bool said = dup2(ready[1], STDIN_FILENO) == STDIN_FILENO && close_range(STDERR_FILENO + 1, ~0U, 0) == 0 && write(STDIN_FILENO, "x", 1) == 1;
		while (said)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
}

void supervisor_play_logd(struct supervisor_fixture *f)
{
	play(&f->s.logd, &f->logd);
}

void supervisor_play_worker(struct supervisor_fixture *f, unsigned slot)
{
	play(&f->s.workers[slot].child, &f->workers[slot]);
	f->s.workers[slot].incarnation = 1000 + slot;
}

struct control supervisor_told(int socket, enum control_party party, int fds[CONTROL_FDS], unsigned fd_count)
{
	struct control message;
	int own[CONTROL_FDS];
	unsigned count;

	assert_true(gets_readable(socket));
	assert_int_equal(control_receive(socket, PARTY_SUPERVISOR, party, &message, fds != NULL ? fds : own, &count), ERR_OK);
	assert_int_equal(count, fd_count);
	return message;
}

void supervisor_told_nothing(int socket)
{
	struct control message;
	int fds[CONTROL_FDS];
	unsigned count;

	assert_int_equal(control_receive(socket, PARTY_SUPERVISOR, PARTY_LOGD, &message, fds, &count), ERR_AGAIN);
}

void supervisor_says(int socket, const struct control *message)
{
	struct control whole = *message;

	whole.version = CONTROL_VERSION;
	assert_int_equal(control_send(socket, &whole, NULL, 0), ERR_OK);
}

int supervisor_ended(pid_t pid)
{
	int status = -1, fd = pidfd_open(pid, 0);

	assert_true(fd >= 0 && gets_readable(fd));
	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}
