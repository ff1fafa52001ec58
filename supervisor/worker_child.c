/* Workers: their memory objects, their start, their death. */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/completion.h"
#include "common/ring.h"
#include "common/shm.h"
#include "supervisor/children.h"
#include "supervisor/spawn.h"

/*
 * logd writes the eventfd, and whether a write waits is a flag of the descriptor that everybody can change who has it, as everybody can fill it: so a worker gets only something to wait
 * with.
 */
static enum error new_wake(struct worker_child *worker)
{
	struct epoll_event each = { .events = EPOLLIN | EPOLLET };
	worker->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	worker->woken = epoll_create1(EPOLL_CLOEXEC);
	return worker->wake >= 0 && worker->woken >= 0 && epoll_ctl(worker->woken, EPOLL_CTL_ADD, worker->wake, &each) == 0 ? ERR_OK : ERR_IO;
}

/* A dead process's late writes must reach nobody, so each has rings of its own (FAULTS E9). */
static enum error new_objects(struct supervisor *s, struct worker_child *worker)
{
	enum error error = shm_create(&worker->request, "topics-request", RING_LARGE_OFFSET + s->large_bytes);
	if (error == ERR_OK)
		error = shm_reopen_readonly(&worker->request_readonly, worker->request);
	if (error == ERR_OK)
		error = shm_create(&worker->completion, "topics-completion", completion_object_size());
	if (error == ERR_OK)
		error = new_wake(worker);
	if (error == ERR_OK) {
		worker->logd_wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		error = worker->logd_wake < 0 ? ERR_IO : ERR_OK;
	}
	randombytes_buf(&worker->incarnation, sizeof worker->incarnation);
	/* The counters stay; what belongs to one process of the slot begins anew. */
	atomic_store(&worker->counters_map->sleeping, 0);
	atomic_store(&worker->counters_map->ready, 0);
	atomic_store(&worker->counters_map->connections, 0);
	return error;
}

static void close_objects(struct supervisor *s, struct worker_child *worker)
{
	int *const fds[] = { &worker->request, &worker->request_readonly, &worker->completion, &worker->wake, &worker->woken, &worker->logd_wake };
	for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++) {
		if (*fds[i] >= 0)
			let_go(s, *fds[i]);
		*fds[i] = -1;
	}
}

static enum error run(struct supervisor *s, unsigned slot, int control)
{
	struct worker_child *worker = &s->workers[slot];
	struct spawn spawn = { .count = 0 };
	struct inherit_worker inherit = { .common = { .version = INHERIT_VERSION, .size = sizeof inherit, .settings = s->options->settings } };
	int completion_readonly;
	enum error error = shm_reopen_readonly(&completion_readonly, worker->completion);
	if (error != ERR_OK)
		return error;
	inherit.common.control_fd = spawn_fd(&spawn, control);
	inherit.common.status_fd = spawn_fd(&spawn, s->status_readonly);
	inherit.common.feed_fd = spawn_fd(&spawn, s->feed_readonly);
	inherit.common.uid = s->ground->uid;
	inherit.common.gid = s->ground->gid;
	inherit.common.drop = (uint32_t)s->ground->drop;
	memcpy(inherit.common.failpoint, s->options->failpoint, sizeof inherit.common.failpoint);
	inherit.listen_fd = spawn_fd(&spawn, s->listen_fd);
	inherit.slot = slot;
	inherit.workers = s->options->settings.workers;
	inherit.incarnation = worker->incarnation;
	inherit.large_bytes = s->large_bytes;
	inherit.request_fd = spawn_fd(&spawn, worker->request);
	inherit.completion_fd = spawn_fd(&spawn, completion_readonly);
	inherit.counters_fd = spawn_fd(&spawn, worker->counters);
	inherit.wake_fd = spawn_fd(&spawn, worker->woken);
	inherit.logd_wake_fd = spawn_fd(&spawn, worker->logd_wake);
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		inherit.all_counters_fd[i] = i < inherit.workers ? spawn_fd(&spawn, s->workers[i].counters_readonly) : -1;
	inherit.catalogue_fd = spawn_fd(&spawn, s->catalogue_readonly);
	inherit.started_ms = s->started_ms;
	error = spawn_run(&spawn, "topics-worker", &inherit, sizeof inherit, &worker->child.pid);
	close(completion_readonly);
	return error;
}

void worker_start(struct supervisor *s, unsigned slot)
{
	struct worker_child *worker = &s->workers[slot];
	int pair[2];
	enum error error = new_objects(s, worker);
	if (error == ERR_OK && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		error = ERR_IO;
	if (error == ERR_OK) {
		error = run(s, slot, pair[1]);
		close(pair[1]);
		if (error != ERR_OK)
			close(pair[0]);
	}
	if (error != ERR_OK) {
		log_line(&s->logging, LOG_LEVEL_ERROR, "topics-worker %u cannot be started: %s", slot, error == ERR_IO ? strerror(errno) : error_text(error));
		close_objects(s, worker);
		child_back_off(&worker->child);
		return;
	}
	worker->child.control = pair[0];
	worker->child.state = CHILD_STARTING;
	worker->child.started_us = now_us();
	give_ring(s, slot);
}

void worker_died(struct supervisor *s, struct worker_child *worker, int status)
{
	const struct control gone = { .type = CTL_RING_GONE, .slot = (uint32_t)(worker - s->workers), .incarnation = worker->incarnation };
	if (s->stopping == NOT_STOPPING || status != 0)
		obituary(s, "topics-worker", &worker->child, status);
	if (worker->child.control >= 0)
		close(worker->child.control);
	worker->child.control = -1;
	drop_unsent(s, &worker->child);
	worker->child.pid = 0;
	worker->child.state = CHILD_ABSENT;
	/* logd has its own mappings: what it had taken is finished, the rest was never accepted. */
	close_objects(s, worker);
	tell(s, &s->logd, &gone, NULL, 0);
	worker->incarnation = 0;
	child_back_off(&worker->child);
}
