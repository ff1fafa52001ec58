/* logd: its memory objects, its start, its death. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/catalogue.h"
#include "common/completion.h"
#include "common/ring.h"
#include "common/shm.h"
#include "supervisor/children.h"
#include "supervisor/notify.h"
#include "supervisor/spawn.h"

enum { RESERVES = 2, BACK_OFF_FIRST_US = 100000, BACK_OFF_MAX_US = 5000000, BACK_OFF_WINDOW_US = 60000000, RESERVES_AGAIN_US = 1000000 };

/* The first death at once; from the second within a minute on it waits, twice as long each time. */
void child_back_off(struct child *child)
{
	uint64_t now = now_us(), wait = BACK_OFF_FIRST_US;
	child->deaths = child->last_death_us != 0 && now - child->last_death_us < BACK_OFF_WINDOW_US ? child->deaths + 1 : 1;
	child->last_death_us = now;
	child->deaths_total++;
	for (unsigned i = 2; i < child->deaths && wait < BACK_OFF_MAX_US; i++)
		wait *= 2;
	child->restart_us = child->deaths == 1 ? now : now + (wait < BACK_OFF_MAX_US ? wait : BACK_OFF_MAX_US);
}

void obituary(struct supervisor *s, const char *who, const struct child *child, int status)
{
	double lived = (double)(now_us() - child->started_us) / 1e6;
	bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	if (WIFSIGNALED(status))
		log_line(&s->logging, LOG_LEVEL_ERROR, "%s (process %d) was ended by signal %d (%s) after %.1f s", who, (int)child->pid, WTERMSIG(status),
		         strsignal(WTERMSIG(status)), lived);
	else
		log_line(&s->logging, clean ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "%s (process %d) left with status %d after %.1f s", who, (int)child->pid,
		         WEXITSTATUS(status), lived);
}

/* Keeps two unused objects with logd, so that its ephemeral log never waits for one. Want of descriptors or memory may pass: until then the loop tries again. */
void give_reserves(struct supervisor *s)
{
	struct ephemeral **end = &s->ephemeral;
	unsigned reserves = 0;
	for (; *end != NULL; end = &(*end)->next)
		reserves += (*end)->id == 0;
	for (; reserves < RESERVES; reserves++) {
		struct ephemeral *one = calloc(1, sizeof *one);
		if (one == NULL || shm_create(&one->fd, "topics-ephemeral", s->ephemeral_size) != ERR_OK) {
			if (s->reserves_due_us == 0)
				log_line(&s->logging, LOG_LEVEL_ERROR, "no object for the ephemeral log: %s; writes may wait for it", strerror(errno));
			s->reserves_due_us = now_us() + RESERVES_AGAIN_US;
			free(one);
			return;
		}
		one->size = s->ephemeral_size;
		*end = one;
		end = &one->next;
		tell(s, &s->logd, &(struct control){ .type = CTL_EPHEMERAL_RESERVE, .a = one->size }, &one->fd, 1);
	}
	if (s->reserves_due_us != 0)
		log_line(&s->logging, LOG_LEVEL_INFO, "the ephemeral log has its objects again");
	s->reserves_due_us = 0;
}

void give_ring(struct supervisor *s, unsigned slot)
{
	const struct worker_child *worker = &s->workers[slot];
	if (worker->request < 0 || s->logd.control < 0)
		return;
	const int fds[] = { worker->request_readonly, worker->completion, worker->counters_readonly, worker->wake, worker->logd_wake };
	const struct control message = { .type = CTL_RING_NEW, .slot = slot, .incarnation = worker->incarnation, .a = s->large_bytes };
	tell(s, &s->logd, &message, fds, sizeof fds / sizeof fds[0]);
}

static void introduce(struct supervisor *s)
{
	for (unsigned i = 0; i < s->options->settings.workers; i++)
		if (s->workers[i].child.state != CHILD_ABSENT)
			give_ring(s, i);
	for (struct ephemeral *e = s->ephemeral; e != NULL; e = e->next) {
		const struct control known = { .type = CTL_EPHEMERAL, .a = e->id, .b = e->size }, reserve = { .type = CTL_EPHEMERAL_RESERVE, .a = e->size };
		tell(s, &s->logd, e->id != 0 ? &known : &reserve, &e->fd, 1);
	}
	give_reserves(s);
	tell(s, &s->logd, &(struct control){ .type = CTL_START }, NULL, 0);
}

/* A new logd builds a new catalogue; readers keep the old one until it is ready. */
static enum error new_catalogue(struct supervisor *s)
{
	if (s->catalogue >= 0)
		close(s->catalogue);
	if (s->catalogue_next >= 0)
		close(s->catalogue_next);
	s->catalogue = s->catalogue_next = -1;
	s->catalogue_number++;
	enum error error = shm_create(&s->catalogue, "topics-catalogue", CATALOGUE_SIZE);
	return error == ERR_OK ? shm_reopen_readonly(&s->catalogue_next, s->catalogue) : error;
}

static enum error run(struct supervisor *s, int control)
{
	struct spawn spawn = { .count = 0 };
	struct inherit_logd inherit = { .common = { .version = INHERIT_VERSION, .size = sizeof inherit, .settings = s->options->settings } };
	inherit.common.control_fd = spawn_fd(&spawn, control);
	inherit.common.status_fd = spawn_fd(&spawn, s->status);
	inherit.common.feed_fd = spawn_fd(&spawn, s->feed);
	inherit.common.uid = s->ground->uid;
	inherit.common.gid = s->ground->gid;
	inherit.common.drop = (uint32_t)s->ground->drop;
	memcpy(inherit.common.failpoint, s->options->failpoint, sizeof inherit.common.failpoint);
	inherit.common.failpoints = (uint32_t)strlen(inherit.common.failpoint);
	inherit.data_dir_fd = spawn_fd(&spawn, s->ground->data_dir_fd);
	inherit.lock_fd = spawn_fd(&spawn, s->ground->lock_fd);
	inherit.catalogue_fd = spawn_fd(&spawn, s->catalogue);
	inherit.old_catalogue_fd = spawn_fd(&spawn, s->catalogue_readonly);
	inherit.first_start = !s->recovered; /* one that died before has written nothing and answered nobody, but to refuse */
	inherit.deaths = (uint32_t)s->logd.deaths_total;
	inherit.fault_death = s->fault_death;
	inherit.workers = s->options->settings.workers;
	inherit.catalogue_number = s->catalogue_number;
	return spawn_run(&spawn, "topics-logd", &inherit, sizeof inherit, &s->logd.pid);
}

void logd_start(struct supervisor *s)
{
	int pair[2];
	enum error error = new_catalogue(s);
	if (error == ERR_OK && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		error = ERR_IO;
	if (error == ERR_OK) {
		error = run(s, pair[1]);
		close(pair[1]);
		if (error != ERR_OK)
			close(pair[0]);
	}
	if (error != ERR_OK) {
		log_line(&s->logging, LOG_LEVEL_ERROR, "topics-logd cannot be started: %s", error == ERR_IO ? strerror(errno) : error_text(error));
		child_back_off(&s->logd);
		return;
	}
	s->logd.control = pair[0];
	s->logd.state = CHILD_STARTING;
	s->logd.started_us = now_us();
	s->progress_told = 0;
	notify_send("STATUS=recovering the log");
	/* Of all processes the one that everything waits for goes last when memory is out. Only root may go below what it has. */
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)s->logd.pid);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t ignored = write(fd, "-900", 4);
		(void)ignored;
		close(fd);
	}
	introduce(s);
}

void logd_died(struct supervisor *s, int status)
{
	bool refused = WIFEXITED(status) && WEXITSTATUS(status) == LOGD_EXIT_REFUSED;
	take_logd_messages(s); /* what it said last: which ephemeral objects it used */
	obituary(s, "topics-logd", &s->logd, status);
	if (s->logd.control >= 0)
		close(s->logd.control);
	s->logd.control = -1;
	drop_unsent(s, &s->logd);
	s->logd.pid = 0;
	s->logd.state = CHILD_ABSENT;
	s->fault_death = WIFSIGNALED(status) ? WTERMSIG(status) != SIGKILL && WTERMSIG(status) != SIGTERM : WEXITSTATUS(status) != 0;
	if (s->stopping == STOPPING_LOGD) {
		s->stopping = STOPPED;
		s->exit_status = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? s->exit_status : 1;
		return;
	}
	child_back_off(&s->logd);
	if (refused && !s->was_ready) {
		s->exit_status = 1;
		kill(getpid(), SIGTERM);
	}
}
