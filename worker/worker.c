#include "worker/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/busy_poll.h"
#include "common/control.h"
#include "common/shm.h"
#include "common/wake.h"
#include "worker/accept.h"
#include "worker/cold.h"
#include "worker/connection.h"
#include "worker/files.h"
#include "worker/longpoll.h"
#include "worker/read.h"
#include "worker/run.h"
#include "worker/scan.h"
#include "worker/submit.h"
#include "worker/waiting.h"

enum { TICK_MS = 250 };

uint64_t worker_now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int64_t worker_wall_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

enum error worker_catalogue(struct worker *worker, const struct catalogue **catalogue)
{
	/* One store of logd makes a new catalogue current; from then on nothing is served from the old one (ARCHITECTURE §6). */
	uint64_t current = atomic_load_explicit(&worker->status->catalogue, memory_order_acquire);
	if (current == 0)
		return ERR_NOT_READY;
	if (worker->catalogue == NULL || catalogue_number(worker->catalogue) != current)
		return ERR_AGAIN;
	*catalogue = worker->catalogue;
	return ERR_OK;
}

/* ---- the supervisor ---- */

static void take_catalogue(struct worker *worker, int fd)
{
	struct catalogue *fresh = NULL;
	enum error error = catalogue_open(&fresh, fd);
	close(fd);
	if (error != ERR_OK) {
		log_line(&worker->logging, LOG_LEVEL_ERROR, "the new catalogue cannot be mapped: %s", error_text(error));
		worker->leaving = true;
		worker->exit_status = 1;
		return;
	}
	catalogue_close(&worker->catalogue);
	worker->catalogue = fresh;
	waiting_catalogue_came(worker->waiting);
	longpoll_catalogue_came(worker->longpoll);
}

static void drain(struct worker *worker, uint64_t ms)
{
	worker->draining = true;
	worker->drain_until_us = worker_now_us() + ms * 1000;
	accepting_stop(worker->accepting);
	/* Who else accepts has a descriptor of his own. If nobody does, the port is free for the next server however long this one's last answers take. */
	close(worker->inherit.listen_fd);
	worker->inherit.listen_fd = -1;
	connections_drain(worker->connections);
	longpoll_cut(worker->longpoll);
}

static void handle(struct worker *worker, const struct control *message, const int *fds, unsigned fd_count)
{
	switch (message->type) {
	case CTL_CATALOGUE:
		take_catalogue(worker, fds[0]);
		break;
	case CTL_FILE:
		files_given(worker->files, message->kind, message->a, fd_count > 0 ? fds[0] : -1, (int)message->b);
		break;
	case CTL_FILE_CLOSE:
		files_close(worker->files, message->a);
		break;
	case CTL_DRAIN:
		if (!worker->draining)
			drain(worker, message->a);
		break;
	default:
		break;
	}
}

static void on_control(evutil_socket_t fd, short what, void *context)
{
	struct worker *worker = context;
	struct control message;
	int fds[CONTROL_FDS];
	unsigned count;
	enum error error;
	(void)what;
	while ((error = control_receive((int)fd, PARTY_SUPERVISOR, PARTY_WORKER, &message, fds, &count)) == ERR_OK)
		handle(worker, &message, fds, count);
	if (error == ERR_AGAIN)
		return;
	if (error != ERR_EOF)
		log_line(&worker->logging, LOG_LEVEL_ERROR, "control socket: %s", error_text(error));
	/* The supervisor is gone: what was accepted is finished, then this process leaves. */
	if (!worker->draining)
		drain(worker, worker->inherit.common.settings.drain_ms);
	event_del(worker->control_event);
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
	struct epoll_event event;
	(void)epoll_wait((int)fd, &event, 1, 0);
	(void)what;
	(void)context; /* the loop looks at the rings after every round */
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
	struct worker *worker = context;
	uint64_t now = worker_now_us(), deadline_us = (uint64_t)worker->inherit.common.settings.commit_deadline_ms * 1000;
	(void)fd;
	(void)what;
	submissions_sweep(worker->submissions, now);
	files_tick(worker->files);
	waiting_sweep(worker->waiting, now, deadline_us);
	if (now - worker->swept_us >= 1000000) {
		worker->swept_us = now;
		connections_sweep(worker->connections);
		if (!worker->draining)
			accepting_tick(worker->accepting);
	}
	if (!worker->draining)
		return;
	connections_drain(worker->connections);
	if (connections_empty(worker->connections) || now >= worker->drain_until_us)
		worker->leaving = true;
}

/* ---- set-up ---- */

static enum error map_objects(struct worker *worker)
{
	const struct inherit_worker *inherit = &worker->inherit;
	void *status = NULL, *feed = NULL, *counters = NULL, *request = NULL, *completion = NULL;
	enum error error = shm_map(&status, inherit->common.status_fd, sizeof(struct status), false);
	if (error == ERR_OK)
		error = shm_map(&feed, inherit->common.feed_fd, sizeof(struct feed_shared), false);
	if (error == ERR_OK)
		error = shm_map(&counters, inherit->counters_fd, sizeof(struct counters), true);
	if (error == ERR_OK)
		error = shm_map(&request, inherit->request_fd, RING_LARGE_OFFSET + inherit->large_bytes, true);
	if (error == ERR_OK)
		error = shm_map(&completion, inherit->completion_fd, completion_object_size(), false);
	for (unsigned i = 0; error == ERR_OK && i < inherit->workers; i++) {
		void *one = NULL;
		error = shm_map(&one, inherit->all_counters_fd[i], sizeof(struct counters), false);
		worker->all_counters[i] = one;
	}
	worker->status = status;
	worker->feed = feed;
	worker->counters = counters;
	if (error == ERR_OK)
		error = ring_producer_create(&worker->ring, request, inherit->large_bytes, completion);
	if (error == ERR_OK)
		error = completion_reader_create(&worker->completions, completion, &((struct ring_shared *)request)->completions_read);
	return error;
}

static enum error watch(struct worker *worker, struct event **event, int fd, event_callback_fn callback)
{
	*event = event_new(worker->base, fd, EV_READ | EV_PERSIST, callback, worker);
	return *event != NULL && event_add(*event, NULL) == 0 ? ERR_OK : ERR_NOMEM;
}

static enum error start_events(struct worker *worker)
{
	const struct timeval tick = { .tv_usec = TICK_MS * 1000 };
	worker->base = event_base_new();
	if (worker->base == NULL)
		return ERR_NOMEM;
	enum error error = watch(worker, &worker->control_event, worker->inherit.common.control_fd, on_control);
	if (error == ERR_OK)
		error = watch(worker, &worker->wake_event, worker->inherit.wake_fd, on_wake);
	worker->tick_event = event_new(worker->base, -1, EV_PERSIST, on_tick, worker);
	if (worker->tick_event == NULL || event_add(worker->tick_event, &tick) != 0)
		error = ERR_NOMEM;
	return error;
}

static enum error set_up(struct worker *worker)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	enum error error = map_objects(worker);
	if (error == ERR_OK)
		error = start_events(worker);
	if (error == ERR_OK)
		error = connections_create(&worker->connections, worker);
	if (error == ERR_OK)
		error = submissions_create(&worker->submissions, worker);
	if (error == ERR_OK)
		error = files_create(&worker->files, worker);
	if (error == ERR_OK)
		error = waiting_create(&worker->waiting, worker->base);
	if (error == ERR_OK)
		error = longpoll_create(&worker->longpoll, worker);
	if (error == ERR_OK)
		error = cold_create(&worker->cold, worker->base);
	if (error == ERR_OK)
		error = reader_create(&worker->reader, worker);
	if (error == ERR_OK)
		error = scanner_create(&worker->scanner);
	if (error == ERR_OK && worker->inherit.catalogue_fd >= 0) {
		error = catalogue_open(&worker->catalogue, worker->inherit.catalogue_fd);
		close(worker->inherit.catalogue_fd);
	}
	if (error == ERR_OK)
		error = accepting_create(&worker->accepting, worker);
	return error;
}

static void tear_down(struct worker *worker)
{
	connections_destroy(&worker->connections);
	accepting_destroy(&worker->accepting);
	longpoll_destroy(&worker->longpoll);
	cold_destroy(&worker->cold);
	submissions_destroy(&worker->submissions);
	files_destroy(&worker->files);
	waiting_destroy(&worker->waiting);
	reader_destroy(&worker->reader);
	scanner_destroy(&worker->scanner);
	ring_producer_destroy(&worker->ring);
	completion_reader_destroy(&worker->completions);
	catalogue_close(&worker->catalogue);
	if (worker->base == NULL)
		return;
	event_free(worker->control_event);
	event_free(worker->wake_event);
	event_free(worker->tick_event);
	event_base_free(worker->base);
}

/* ---- the loop ---- */

/* Handles the events that are there. */
static void look(struct worker *worker)
{
	if (event_base_loop(worker->base, EVLOOP_ONCE | EVLOOP_NONBLOCK) != 0)
		worker->leaving = true;
}

/* Handles the next events, however long they take to come. */
static void sleep_for_events(struct worker *worker, struct busy_poll *polling)
{
	struct counters *counters = worker->counters;
	uint64_t began = worker_now_us();
	wake_prepare_sleep(&counters->sleeping);
	bool busy = submissions_pending(worker->submissions) || longpoll_pending(worker->longpoll) || waiting_pending(worker->waiting);
	if (event_base_loop(worker->base, EVLOOP_ONCE | (busy ? EVLOOP_NONBLOCK : 0)) != 0)
		worker->leaving = true;
	wake_end_sleep(&counters->sleeping);
	busy_poll_slept(polling, began, worker_now_us());
}

/* One round: what has come is handled, answers of logd are taken, what gathered is sent and handed over, and only then this process sleeps. */
static void loop(struct worker *worker)
{
	struct busy_poll polling = { .window_us = worker->inherit.common.settings.busy_poll_us };
	uint64_t requests = 0; /* handled when work was last seen */
	while (!worker->leaving) {
		uint64_t handled = atomic_load_explicit(&worker->counters->requests_total, memory_order_relaxed);
		if (submissions_poll(worker->submissions) || handled != requests)
			busy_poll_worked(&polling);
		requests = handled;
		longpoll_run(worker->longpoll);
		waiting_run(worker->waiting);
		connections_flush(worker->connections);
		submissions_flush(worker->submissions);
		if (busy_poll_again(&polling, worker_now_us()))
			look(worker);
		else
			sleep_for_events(worker, &polling);
	}
}

static void tell(struct worker *worker, enum control_type type)
{
	const struct control message = { .version = CONTROL_VERSION, .type = type, .slot = worker->inherit.slot, .incarnation = worker->inherit.incarnation };
	control_send(worker->inherit.common.control_fd, &message, NULL, 0);
}

int worker_run(const struct inherit_worker *inherit)
{
	struct worker *worker = calloc(1, sizeof *worker);
	if (worker == NULL)
		return 1;
	worker->inherit = *inherit;
	worker->logging = (struct logging){ .program = "topics-worker", .level = LOG_LEVEL_INFO };
	enum error error = set_up(worker);
	if (error == ERR_OK) {
		atomic_store_explicit(&worker->counters->connections, 0, memory_order_relaxed);
		atomic_store_explicit(&worker->counters->ready, 1, memory_order_relaxed);
		tell(worker, CTL_WORKER_READY);
		loop(worker);
		atomic_store_explicit(&worker->counters->ready, 0, memory_order_relaxed);
		tell(worker, CTL_WORKER_DRAINED);
	} else {
		log_line(&worker->logging, LOG_LEVEL_ERROR, "cannot set up: %s (%s)", error_text(error), strerror(errno));
		worker->exit_status = 1;
	}
	int exit_status = worker->exit_status;
	tear_down(worker);
	free(worker);
	return exit_status;
}
