#include "supervisor/supervise.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/counters.h"
#include "common/feed.h"
#include "common/shm.h"
#include "supervisor/children.h"
#include "supervisor/notify.h"

enum { PROGRESS_US = 100000 }; /* how often a recovery is looked at */

uint64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Each file of the ephemeral log is a descriptor here, in the log process and in the workers, which inherit the limit. */
static void allow_many_files(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static enum error shared_object(int *fd, int *readonly, void **map, const char *name, size_t size)
{
	enum error error = shm_create(fd, name, size);
	if (error == ERR_OK)
		error = shm_reopen_readonly(readonly, *fd);
	return error == ERR_OK && map != NULL ? shm_map(map, *fd, size, true) : error;
}

static enum error create_objects(struct supervisor *s)
{
	void *status = NULL;
	enum error error = shared_object(&s->status, &s->status_readonly, &status, "topics-status", sizeof(struct status));
	s->status_map = status;
	if (error == ERR_OK)
		error = shared_object(&s->feed, &s->feed_readonly, NULL, "topics-feed", sizeof(struct feed_shared));
	for (unsigned i = 0; i < s->options->settings.workers && error == ERR_OK; i++) {
		struct worker_child *worker = &s->workers[i];
		void *counters = NULL;
		error = shared_object(&worker->counters, &worker->counters_readonly, &counters, "topics-counters", sizeof(struct counters));
		worker->counters_map = counters;
	}
	return error;
}

static enum error catch_signals(struct supervisor *s)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return ERR_IO;
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? ERR_IO : ERR_OK;
}

/* ---- stopping ---- */

static bool workers_left(const struct supervisor *s)
{
	for (unsigned i = 0; i < s->options->settings.workers; i++)
		if (s->workers[i].child.state != CHILD_ABSENT)
			return true;
	return false;
}

/* Of the time that a stop may take workers get three fifths; what was acked must be put on disk after the last of them. */
static void begin_stop(struct supervisor *s)
{
	uint64_t ms = s->options->settings.drain_ms, now = now_us();
	if (s->stopping != NOT_STOPPING) {
		s->stop_workers_us = now; /* a second request: no more patience with connections, as much as before with the log */
		return;
	}
	log_line(&s->logging, LOG_LEVEL_INFO, "stopping: running requests are answered, then the log is closed");
	notify_send("STOPPING=1");
	s->stopping = STOPPING_WORKERS;
	s->stop_workers_us = now + ms * 600;
	s->stop_logd_us = now + ms * 950;
	close(s->listen_fd);
	s->listen_fd = -1;
	for (unsigned i = 0; i < s->options->settings.workers; i++) {
		struct child *child = &s->workers[i].child;
		if (child->state == CHILD_ABSENT)
			continue;
		tell(s, child, &(struct control){ .type = CTL_DRAIN, .a = ms * 55 / 100 }, NULL, 0);
		child->state = CHILD_LEAVING;
	}
}

static void go_on_stopping(struct supervisor *s)
{
	uint64_t now = now_us();
	if (s->stopping == STOPPING_WORKERS && now >= s->stop_workers_us)
		for (unsigned i = 0; i < s->options->settings.workers; i++)
			if (s->workers[i].child.pid > 0)
				kill(s->workers[i].child.pid, SIGKILL);
	if (s->stopping == STOPPING_WORKERS && !workers_left(s)) {
		s->stopping = STOPPING_LOGD;
		if (s->logd.state == CHILD_ABSENT) {
			log_line(&s->logging, LOG_LEVEL_WARNING, "logd died before it could close the log; the next start recovers it");
			s->stopping = STOPPED;
			s->exit_status = 1;
		}
		tell(s, &s->logd, &(struct control){ .type = CTL_STOP }, NULL, 0);
	}
	if (s->stopping == STOPPING_LOGD && now >= s->stop_logd_us && s->logd.pid > 0) {
		log_line(&s->logging, LOG_LEVEL_WARNING, "the log could not be closed in time; the next start recovers it");
		kill(s->logd.pid, SIGKILL);
	}
}

/* ---- the loop ---- */

static void reap(struct supervisor *s)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == s->logd.pid)
			logd_died(s, status);
		for (unsigned i = 0; i < s->options->settings.workers; i++)
			if (pid == s->workers[i].child.pid)
				worker_died(s, &s->workers[i], status);
	}
}

static void take_signals(struct supervisor *s)
{
	struct signalfd_siginfo info;
	while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGCHLD)
			reap(s);
		else if (info.ssi_signo == SIGHUP)
			log_line(&s->logging, LOG_LEVEL_WARNING, "SIGHUP does nothing: this version cannot reload; restart to change settings");
		else
			begin_stop(s);
	}
}

/* Starts what should run and does not; returns the time until something is due. */
static int start_due(struct supervisor *s)
{
	uint64_t now = now_us(), next = now + 1000000;
	if (s->reserves_due_us != 0 && s->reserves_due_us <= now)
		give_reserves(s); /* also while stopping: requests that run may wait for one */
	if (s->stopping != NOT_STOPPING)
		return 20;
	if (s->logd.state == CHILD_ABSENT && s->logd.restart_us <= now)
		logd_start(s);
	if (s->logd.state == CHILD_ABSENT && s->logd.restart_us < next)
		next = s->logd.restart_us;
	if (s->logd.state == CHILD_STARTING)
		next = now + PROGRESS_US;
	for (unsigned i = 0; i < s->options->settings.workers; i++) {
		struct child *child = &s->workers[i].child;
		if (child->state == CHILD_ABSENT && child->restart_us <= now)
			worker_start(s, i);
		if (child->state == CHILD_ABSENT && child->restart_us < next)
			next = child->restart_us;
	}
	return next <= now ? 0 : (int)((next - now) / 1000 + 1);
}

static struct pollfd wish(const struct child *child)
{
	return (struct pollfd){ .fd = child->control, .events = (short)(POLLIN | (child->unsent != NULL ? POLLOUT : 0)) };
}

static void one_round(struct supervisor *s, int timeout_ms)
{
	struct pollfd fds[2 + WORKERS_MAX];
	unsigned workers = s->options->settings.workers;
	fds[0] = (struct pollfd){ .fd = s->signals, .events = POLLIN };
	fds[1] = wish(&s->logd);
	for (unsigned i = 0; i < workers; i++)
		fds[2 + i] = wish(&s->workers[i].child);
	if (poll(fds, 2 + workers, timeout_ms) <= 0)
		return;
	if (fds[1].revents & (POLLIN | POLLHUP | POLLERR))
		take_logd_messages(s);
	if (fds[1].revents & POLLOUT && s->logd.control >= 0)
		send_unsent(s, &s->logd);
	for (unsigned i = 0; i < workers; i++) {
		if (fds[2 + i].revents & (POLLIN | POLLHUP | POLLERR))
			take_worker_messages(s, &s->workers[i]);
		if (fds[2 + i].revents & POLLOUT && s->workers[i].child.control >= 0)
			send_unsent(s, &s->workers[i].child);
	}
	if (fds[0].revents & POLLIN)
		take_signals(s);
}

static struct supervisor *new_supervisor(const struct options *options, const struct ground *ground)
{
	struct supervisor *s = calloc(1, sizeof *s);
	if (s == NULL)
		return NULL;
	s->options = options;
	s->ground = ground;
	s->logging = (struct logging){ .program = "topicsd", .level = LOG_LEVEL_INFO };
	s->listen_fd = ground->listen_fd;
	s->logd.control = s->catalogue = s->catalogue_next = s->catalogue_readonly = -1;
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		struct worker_child *worker = &s->workers[i];
		worker->child.control = worker->request = worker->request_readonly = worker->completion = worker->wake = worker->woken = worker->logd_wake = worker->counters = worker->counters_readonly = -1;
	}
	/* The largest body, and per record its head and padding, beside the small parts of a request. */
	s->large_bytes = (options->settings.max_body_bytes + options->settings.max_batch_records * 48 + (1 << 20)) / 4096 * 4096 + 4096;
	s->ephemeral_size = options->settings.segment_max_bytes > s->large_bytes + (2 << 20) ? options->settings.segment_max_bytes : s->large_bytes + (2 << 20);
	if (s->ephemeral_size < ephemeral_file_least(options->settings.ephemeral_max_bytes))
		s->ephemeral_size = ephemeral_file_least(options->settings.ephemeral_max_bytes);
	s->ephemeral_size = (s->ephemeral_size + 4095) / 4096 * 4096;
	s->started_ms = now_us() / 1000;
	return s;
}

int supervise(const struct options *options, const struct ground *ground)
{
	allow_many_files();
	struct supervisor *s = new_supervisor(options, ground);
	enum error error = s == NULL ? ERR_NOMEM : create_objects(s);
	if (error == ERR_OK)
		error = catch_signals(s);
	if (error != ERR_OK) {
		const struct logging logging = { .program = "topicsd", .level = LOG_LEVEL_INFO };
		log_line(&logging, LOG_LEVEL_ERROR, "cannot set up: %s (%s)", error_text(error), strerror(errno));
		free(s);
		return 1;
	}
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	while (s->stopping != STOPPED) {
		one_round(s, start_due(s));
		tell_progress(s);
		if (s->stopping != NOT_STOPPING)
			go_on_stopping(s);
	}
	if (s->exit_status == 0)
		log_line(&s->logging, LOG_LEVEL_INFO, "stopped in order");
	int exit_status = s->exit_status;
	for (struct ephemeral *e = s->ephemeral, *next; e != NULL; e = next) {
		next = e->next;
		close(e->fd);
		free(e);
	}
	free(s);
	return exit_status;
}
