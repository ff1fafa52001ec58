#include "worker/accept.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/connection.h"
#include "worker/worker.h"

enum { ACCEPT_AT_ONCE = 4, LOOK_AWAY_US = 2000, RESERVE_LEAST = 64, RESERVE_MOST = 1024 };

/*
 *                above its share                    LOOK_AWAY_US later
 *   LOOKING ----------------------> AWAY ---------------------------------> LOOKING, and what still waits is taken: nobody else wants it
 *      |  no descriptor, no memory
 *      +--------------------------> PAUSED ------ accepting_tick ---------> LOOKING
 */
struct accepting {
	struct worker *worker;
	int epoll;
	struct event *event;   /* a connection waits */
	struct event *back;    /* the time away is over */
	bool away, insists;
	bool paused;
	uint64_t most;    /* connections: a quarter of the descriptors is kept for log files, which existing clients need to read */
};

static uint64_t most_connections(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	uint64_t all = files.rlim_cur, reserve = all / 4 < RESERVE_LEAST ? RESERVE_LEAST : all / 4 > RESERVE_MOST ? RESERVE_MOST : all / 4;
	return all > 2 * reserve ? all - reserve : all / 2;
}

static void pause_accepting(struct accepting *accepting)
{
	accepting->paused = true;
	event_del(accepting->event);
	counters_add(&accepting->worker->counters->accept_pauses, 1);
}

/* A worker with more than its share looks away for a moment: another one that waits for the socket takes what comes. */
static bool above_share(const struct worker *worker)
{
	uint64_t own = atomic_load_explicit(&worker->counters->connections, memory_order_relaxed), all = 0;
	for (unsigned i = 0; i < worker->inherit.workers; i++)
		all += atomic_load_explicit(&worker->all_counters[i]->connections, memory_order_relaxed);
	return own > 8 && own * worker->inherit.workers > all + all / 4;
}

static void look_away(struct accepting *accepting)
{
	const struct timeval time = { .tv_usec = LOOK_AWAY_US };
	if (event_add(accepting->back, &time) != 0)
		return;
	accepting->away = true;
	event_del(accepting->event);
}

static void on_back(evutil_socket_t fd, short what, void *context)
{
	struct accepting *accepting = context;
	(void)fd;
	(void)what;
	accepting->away = false;
	accepting->insists = true;
	if (!accepting->paused && accepting->event != NULL)
		event_add(accepting->event, NULL);
}

static void on_connection(evutil_socket_t fd, short what, void *context)
{
	struct accepting *accepting = context;
	struct worker *worker = accepting->worker;
	(void)fd;
	(void)what;
	if (!accepting->insists && above_share(worker)) {
		look_away(accepting);
		return;
	}
	accepting->insists = false;
	for (unsigned i = 0; i < ACCEPT_AT_ONCE; i++) {
		if (atomic_load_explicit(&worker->counters->connections, memory_order_relaxed) >= accepting->most) {
			pause_accepting(accepting);
			return;
		}
		int one = 1, socket = accept4(worker->inherit.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (socket < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				pause_accepting(accepting);
			return;
		}
		setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (connection_open(worker->connections, socket) != ERR_OK) {
			close(socket);
			pause_accepting(accepting);
			return;
		}
	}
}

enum error accepting_create(struct accepting **out, struct worker *worker)
{
	struct accepting *accepting = calloc(1, sizeof *accepting);
	struct epoll_event interest = { .events = EPOLLIN | EPOLLEXCLUSIVE };
	if (accepting == NULL)
		return ERR_NOMEM;
	accepting->worker = worker;
	accepting->most = most_connections();
	accepting->epoll = epoll_create1(EPOLL_CLOEXEC);
	*out = accepting;
	if (accepting->epoll < 0 || epoll_ctl(accepting->epoll, EPOLL_CTL_ADD, worker->inherit.listen_fd, &interest) != 0)
		return ERR_IO;
	accepting->event = event_new(worker->base, accepting->epoll, EV_READ | EV_PERSIST, on_connection, accepting);
	accepting->back = event_new(worker->base, -1, 0, on_back, accepting);
	return accepting->event != NULL && accepting->back != NULL && event_add(accepting->event, NULL) == 0 ? ERR_OK : ERR_NOMEM;
}

void accepting_destroy(struct accepting **out)
{
	struct accepting *accepting = *out;
	if (accepting == NULL)
		return;
	if (accepting->event != NULL)
		event_free(accepting->event);
	if (accepting->back != NULL)
		event_free(accepting->back);
	if (accepting->epoll >= 0)
		close(accepting->epoll);
	free(accepting);
	*out = NULL;
}

void accepting_stop(struct accepting *accepting)
{
	accepting->paused = false;
	if (accepting->event != NULL)
		event_free(accepting->event);
	accepting->event = NULL;
	/* Out of the set, so that connections in the backlog wake others. */
	close(accepting->epoll);
	accepting->epoll = -1;
}

void accepting_tick(struct accepting *accepting)
{
	if (!accepting->paused || accepting->event == NULL)
		return;
	accepting->paused = false;
	if (!accepting->away)
		event_add(accepting->event, NULL);
}
