/* Sending to the children, and what they say. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/shm.h"
#include "supervisor/children.h"
#include "supervisor/notify.h"

enum { UNSENT_MAX = 8192 };

static bool leave_to(struct child *child, int fd)
{
	for (struct unsent *one = child->unsent; one != NULL; one = one->next)
		for (unsigned i = 0; i < one->fd_count; i++)
			if (one->fds[i] == fd) {
				one->left[i] = true;
				return true;
			}
	return false;
}

void let_go(struct supervisor *s, int fd)
{
	bool waits = leave_to(&s->logd, fd);
	for (unsigned i = 0; i < s->options->settings.workers && !waits; i++)
		waits = leave_to(&s->workers[i].child, fd);
	if (!waits)
		close(fd);
}

static void drop_first(struct supervisor *s, struct child *child)
{
	struct unsent *one = child->unsent;
	child->unsent = one->next;
	child->unsent_count--;
	for (unsigned i = 0; i < one->fd_count; i++)
		if (one->left[i])
			let_go(s, one->fds[i]);
	free(one);
}

void drop_unsent(struct supervisor *s, struct child *child)
{
	while (child->unsent != NULL)
		drop_first(s, child);
}

/* A child that misses a message would go on in a wrong belief; one that is ended is told everything anew. */
static void keep(struct supervisor *s, struct child *child, const struct control *message, const int *fds, unsigned fd_count)
{
	struct unsent *one = NULL, **end = &child->unsent;
	bool full = child->unsent_count >= UNSENT_MAX;
	if (full || (one = calloc(1, sizeof *one)) == NULL) {
		if (full)
			log_line(&s->logging, LOG_LEVEL_ERROR, "process %d does not read what it is told; it is ended", (int)child->pid);
		else
			log_line(&s->logging, LOG_LEVEL_ERROR, "what process %d is to be told cannot be kept (%s); it is ended", (int)child->pid, strerror(errno));
		kill(child->pid, SIGKILL);
		return;
	}
	one->message = *message;
	for (; one->fd_count < fd_count; one->fd_count++)
		one->fds[one->fd_count] = fds[one->fd_count];
	while (*end != NULL)
		end = &(*end)->next;
	*end = one;
	child->unsent_count++;
}

void tell(struct supervisor *s, struct child *child, const struct control *message, const int *fds, unsigned fd_count)
{
	struct control whole = *message;
	whole.version = CONTROL_VERSION;
	if (child->control < 0)
		return;
	enum error error = child->unsent != NULL ? ERR_AGAIN : control_send(child->control, &whole, fds, fd_count);
	if (error == ERR_AGAIN)
		keep(s, child, &whole, fds, fd_count);
	else if (error != ERR_OK && error != ERR_EOF) /* EOF: its death is on the way to us */
		log_line(&s->logging, LOG_LEVEL_ERROR, "cannot tell process %d %s: %s", (int)child->pid, control_name(whole.type), strerror(errno));
}

void send_unsent(struct supervisor *s, struct child *child)
{
	while (child->unsent != NULL) {
		const struct unsent *one = child->unsent;
		if (control_send(child->control, &one->message, one->fds, one->fd_count) == ERR_AGAIN)
			return;
		drop_first(s, child);
	}
}

/* ---- log files ---- */

/* Only names that this function makes, only regular files, no links: a worker names kind and id, never a path. */
static int open_log_file(const struct supervisor *s, uint32_t kind, uint64_t id)
{
	char name[32];
	struct stat facts;
	if (kind == 'e') {
		for (const struct ephemeral *e = s->ephemeral; e != NULL; e = e->next) {
			int fd;
			if (e->id == id && id != 0)
				return shm_reopen_readonly(&fd, e->fd) == ERR_OK ? fd : -errno;
		}
		return -ENOENT;
	}
	if (kind != 'w')
		return -EINVAL;
	snprintf(name, sizeof name, "w%016" PRIx64, id);
	int fd = openat(s->ground->data_dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

static void give_file(struct supervisor *s, struct child *child, uint32_t kind, uint64_t id)
{
	int fd = open_log_file(s, kind, id);
	const struct control message = { .type = CTL_FILE, .kind = kind, .a = id, .b = fd < 0 ? (uint64_t)-fd : 0 };
	tell(s, child, &message, &fd, fd >= 0);
	if (fd >= 0)
		let_go(s, fd);
}

static void every_worker(struct supervisor *s, const struct control *message, const int *fds, unsigned fd_count)
{
	for (unsigned i = 0; i < s->options->settings.workers; i++)
		if (s->workers[i].child.state != CHILD_ABSENT)
			tell(s, &s->workers[i].child, message, fds, fd_count);
}

static void file_born(struct supervisor *s, const struct control *message)
{
	for (unsigned i = 0; i < s->options->settings.workers; i++)
		if (s->workers[i].child.state == CHILD_RUNNING)
			give_file(s, &s->workers[i].child, message->kind, message->a);
}

static void file_retired(struct supervisor *s, const struct control *message)
{
	const struct control close_it = { .type = CTL_FILE_CLOSE, .kind = message->kind, .a = message->a };
	for (struct ephemeral **at = &s->ephemeral; message->kind == 'e' && *at != NULL; at = &(*at)->next) {
		struct ephemeral *gone = *at;
		if (gone->id != message->a)
			continue;
		*at = gone->next;
		let_go(s, gone->fd);
		free(gone);
		break;
	}
	every_worker(s, &close_it, NULL, 0);
}

/* ---- logd ---- */

static void ephemeral_used(struct supervisor *s, uint64_t id)
{
	for (struct ephemeral *e = s->ephemeral; e != NULL; e = e->next) {
		if (e->id != 0)
			continue;
		e->id = id;
		give_reserves(s);
		return;
	}
}

static void say_ready(struct supervisor *s)
{
	const char *bound = s->ground->bound;
	notify_send(s->recovered ? "READY=1\nSTATUS=ready" : "READY=1\nSTATUS=the disk is full: what is proven is served, nothing is written");
	if (s->was_ready)
		return;
	s->was_ready = true;
	log_line(&s->logging, LOG_LEVEL_INFO, "listening on http://%s", bound);
	log_line(&s->logging, LOG_LEVEL_INFO, "data in %s", s->options->data_dir);
	log_line(&s->logging, LOG_LEVEL_INFO, "try: curl -X POST http://%s/v0/topics/orders -H 'content-type: application/json' -d '{\"records\":[{\"data\":{\"qty\":1}}]}'",
	         bound);
}

/* To the service manager; logd itself has logged it. That all is well again is said only after something else. */
static void say_state(struct supervisor *s, uint32_t state)
{
	bool trouble = state == LOGD_FULL || state == LOGD_READ_ONLY;

	if (state == LOGD_FULL)
		notify_send("STATUS=the disk is full: reads go on, nothing is written");
	else if (state == LOGD_READ_ONLY)
		notify_send("STATUS=writing to the disk failed for good: reads go on, nothing is written");
	else if (s->in_trouble && state == LOGD_READY)
		notify_send("STATUS=ready");
	s->in_trouble = trouble;
}

/* `whole`: all of the log is served. One that began without may say so later, of the same catalogue. */
static void logd_ready(struct supervisor *s, bool whole)
{
	const struct control message = { .type = CTL_CATALOGUE, .a = s->catalogue_number };
	s->recovered = s->recovered || whole;
	if (s->catalogue_next < 0) { /* handed out before */
		say_ready(s);
		return;
	}
	if (s->catalogue_readonly >= 0)
		let_go(s, s->catalogue_readonly);
	s->catalogue_readonly = s->catalogue_next;
	s->catalogue_next = -1;
	s->logd.state = CHILD_RUNNING;
	every_worker(s, &message, &s->catalogue_readonly, 1);
	say_ready(s);
}

/* logd is busy then and says nothing; how far it is stands on the page that all share. The end of it is its READY. */
void tell_progress(struct supervisor *s)
{
	char text[96];
	uint32_t percent = atomic_load_explicit(&s->status_map->progress, memory_order_relaxed) / 10000;
	if (s->logd.state != CHILD_STARTING || percent == s->progress_told || percent >= 100)
		return;
	s->progress_told = percent;
	snprintf(text, sizeof text, "STATUS=recovering the log, %u%%", percent);
	notify_send(text);
}

static void ring_broken(struct supervisor *s, const struct control *message)
{
	if (message->slot >= s->options->settings.workers || s->workers[message->slot].incarnation != message->incarnation)
		return;
	struct worker_child *worker = &s->workers[message->slot];
	log_line(&s->logging, LOG_LEVEL_WARNING, "security: worker %u (process %d) is replaced, as the log process asks", message->slot, (int)worker->child.pid);
	kill(worker->child.pid, SIGKILL);
}

static void handle_logd(struct supervisor *s, const struct control *message)
{
	switch (message->type) {
	case CTL_READY:
		logd_ready(s, message->b == 0);
		break;
	case CTL_RING_BROKEN:
		ring_broken(s, message);
		break;
	case CTL_FILE_BORN:
		file_born(s, message);
		break;
	case CTL_FILE_RETIRED:
		file_retired(s, message);
		break;
	case CTL_EPHEMERAL_USED:
		ephemeral_used(s, message->a);
		break;
	case CTL_STATE:
		say_state(s, (uint32_t)message->a);
		break;
	default: /* CTL_RING_DROPPED: logd has logged what there is to say */
		break;
	}
}

void take_logd_messages(struct supervisor *s)
{
	struct control message;
	int fds[CONTROL_FDS];
	unsigned count;
	enum error error = ERR_OK;
	while (s->logd.control >= 0 && (error = control_receive(s->logd.control, PARTY_LOGD, PARTY_SUPERVISOR, &message, fds, &count)) == ERR_OK)
		handle_logd(s, &message);
	if (error == ERR_PROTOCOL) {
		log_line(&s->logging, LOG_LEVEL_ERROR, "logd broke the protocol of control messages; it is ended");
		kill(s->logd.pid, SIGKILL);
	}
	if (error == ERR_EOF || error == ERR_PROTOCOL || error == ERR_IO) {
		close(s->logd.control);
		s->logd.control = -1;
	}
}

/* ---- workers ---- */

void take_worker_messages(struct supervisor *s, struct worker_child *worker)
{
	struct control message;
	int fds[CONTROL_FDS];
	unsigned count;
	enum error error = ERR_OK;
	while (worker->child.control >= 0 &&
	       (error = control_receive(worker->child.control, PARTY_WORKER, PARTY_SUPERVISOR, &message, fds, &count)) == ERR_OK) {
		if (message.type == CTL_GIVE_FILE)
			give_file(s, &worker->child, message.kind, message.a);
		else if (message.type == CTL_WORKER_READY && worker->child.state == CHILD_STARTING)
			worker->child.state = CHILD_RUNNING;
	}
	if (error == ERR_PROTOCOL) {
		log_line(&s->logging, LOG_LEVEL_WARNING, "security: worker process %d broke the protocol of control messages; it is ended", (int)worker->child.pid);
		kill(worker->child.pid, SIGKILL);
	}
	if (error == ERR_EOF || error == ERR_PROTOCOL || error == ERR_IO) {
		close(worker->child.control);
		worker->child.control = -1;
	}
}
