#include "worker/waiting.h"

#include <event2/event.h>
#include <stdlib.h>

#include "worker/worker.h"

/* While the daemon starts: a recovery that takes longer is told to clients (503 not_ready). */
enum { WAIT_AT_START_US = 1000000, RUN_US = 1000, LOOK_US = 5000 };

enum wait_for { FOR_CATALOGUE, FOR_SECTION, FOR_FILE, FOR_DISK, FOR_TURN };

struct line { struct waiter *first, *last; };

struct waiter {
	struct waiter *previous, *next;
	struct waiting *owner;
	struct exchange *exchange;
	void (*handler)(struct exchange *exchange);
	uint64_t file_id;
	uint64_t since_us;
	enum wait_for what;   /* FOR_TURN: in `ready`, all others in `waiting` */
	bool looks;           /* it waited for a section */
};

struct waiting {
	struct line waiting, ready;
	struct event *look;          /* owned; pending while somebody waits for a section */
	struct exchange *looking;    /* whose handler runs now and waited for a section, or NULL; since when it has */
	uint64_t looking_since_us;
};

static void came(struct waiting *waiting, enum wait_for what, uint64_t file_id);
static void make_ready(struct waiter *waiter);

static void look_later(struct waiting *waiting)
{
	const struct timeval later = { .tv_usec = LOOK_US };
	if (!event_pending(waiting->look, EV_TIMEOUT, NULL))
		event_add(waiting->look, &later);
}

/* The one that has not looked for longest looks; the others would only find the same. */
static void on_look(evutil_socket_t fd, short what, void *context)
{
	struct waiting *waiting = context;
	struct waiter *waiter = waiting->waiting.first;
	(void)fd;
	(void)what;
	while (waiter != NULL && waiter->what != FOR_SECTION)
		waiter = waiter->next;
	if (waiter == NULL)
		return;
	make_ready(waiter);
	look_later(waiting);
}

enum error waiting_create(struct waiting **out, struct event_base *base)
{
	struct waiting *waiting = *out = calloc(1, sizeof *waiting);
	if (waiting == NULL)
		return ERR_NOMEM;
	waiting->look = evtimer_new(base, on_look, waiting);
	return waiting->look == NULL ? ERR_NOMEM : ERR_OK;
}

void waiting_destroy(struct waiting **waiting)
{
	if (*waiting != NULL && (*waiting)->look != NULL)
		event_free((*waiting)->look);
	free(*waiting);
	*waiting = NULL;
}

static void enter(struct line *line, struct waiter *waiter)
{
	waiter->previous = line->last;
	waiter->next = NULL;
	*(line->last != NULL ? &line->last->next : &line->first) = waiter;
	line->last = waiter;
}

static void leave(struct waiter *waiter)
{
	struct line *line = waiter->what == FOR_TURN ? &waiter->owner->ready : &waiter->owner->waiting;
	*(waiter->previous != NULL ? &waiter->previous->next : &line->first) = waiter->next;
	*(waiter->next != NULL ? &waiter->next->previous : &line->last) = waiter->previous;
}

static void cancel(struct exchange *exchange)
{
	leave(exchange->parked);
	free(exchange->parked);
}

static void wait_for(struct waiting *waiting, struct exchange *exchange, enum wait_for what, uint64_t file_id, void (*handler)(struct exchange *exchange))
{
	struct waiter *waiter = calloc(1, sizeof *waiter);
	if (waiter == NULL || exchange_keep_body(exchange) != ERR_OK) {
		free(waiter);
		exchange_error(exchange, ERR_INTERNAL, NULL, "the server has no memory left; try again");
		return;
	}
	*waiter = (struct waiter){ .owner = waiting, .exchange = exchange, .handler = handler, .what = what, .file_id = file_id, .since_us = worker_now_us(),
	                           .looks = what == FOR_SECTION };
	if (waiter->looks && exchange == waiting->looking) {
		waiter->since_us = waiting->looking_since_us;
		waiting->looking = NULL; /* it has found nothing new */
	}
	enter(what == FOR_TURN ? &waiting->ready : &waiting->waiting, waiter);
	exchange_park(exchange, waiter, cancel);
}

void waiting_for_catalogue(struct waiting *waiting, struct exchange *exchange, void (*handler)(struct exchange *exchange))
{
	wait_for(waiting, exchange, FOR_CATALOGUE, 0, handler);
}

void waiting_for_section(struct waiting *waiting, struct exchange *exchange, void (*handler)(struct exchange *exchange))
{
	wait_for(waiting, exchange, FOR_SECTION, 0, handler);
	look_later(waiting);
}

void waiting_for_file(struct waiting *waiting, struct exchange *exchange, uint64_t file_id, void (*handler)(struct exchange *exchange))
{
	wait_for(waiting, exchange, FOR_FILE, file_id, handler);
}

void waiting_for_disk(struct waiting *waiting, struct exchange *exchange, void (*handler)(struct exchange *exchange))
{
	wait_for(waiting, exchange, FOR_DISK, 0, handler);
}

void waiting_for_turn(struct waiting *waiting, struct exchange *exchange, void (*handler)(struct exchange *exchange))
{
	wait_for(waiting, exchange, FOR_TURN, 0, handler);
}

static void make_ready(struct waiter *waiter)
{
	leave(waiter);
	waiter->what = FOR_TURN;
	enter(&waiter->owner->ready, waiter);
}

static void came(struct waiting *waiting, enum wait_for what, uint64_t file_id)
{
	for (struct waiter *waiter = waiting->waiting.first, *next; waiter != NULL; waiter = next) {
		next = waiter->next;
		if (waiter->what == what && waiter->file_id == file_id)
			make_ready(waiter);
	}
}

void waiting_catalogue_came(struct waiting *waiting)
{
	came(waiting, FOR_CATALOGUE, 0);
	came(waiting, FOR_SECTION, 0);
}

void waiting_file_came(struct waiting *waiting, uint64_t file_id)
{
	came(waiting, FOR_FILE, file_id);
}

void waiting_disk_came(struct exchange *exchange)
{
	make_ready(exchange->parked);
}

static void call(struct waiting *waiting, const struct waiter *waiter)
{
	struct exchange *exchange = waiter->exchange;
	void (*handler)(struct exchange *exchange) = waiter->handler;
	waiting->looking = waiter->looks ? exchange : NULL;
	waiting->looking_since_us = waiter->since_us;
	cancel(exchange);
	exchange->parked = NULL;
	exchange->cancel = NULL;
	handler(exchange);
	if (waiting->looking != NULL)
		came(waiting, FOR_SECTION, 0);
	waiting->looking = NULL;
}

/* Whoever parks for a turn again while this runs comes behind those that are there. */
void waiting_run(struct waiting *waiting)
{
	if (waiting->ready.first == NULL)
		return;
	uint64_t until_us = worker_now_us() + RUN_US;
	do {
		call(waiting, waiting->ready.first);
	} while (waiting->ready.first != NULL && worker_now_us() < until_us);
}

bool waiting_pending(const struct waiting *waiting)
{
	return waiting->ready.first != NULL;
}

static void refuse(const struct waiter *waiter)
{
	struct exchange *exchange = waiter->exchange;
	if (waiter->what == FOR_CATALOGUE || waiter->what == FOR_SECTION)
		exchange_not_ready(exchange);
	else if (waiter->what == FOR_FILE)
		exchange_error(exchange, ERR_STORAGE_FAILED, NULL, "a file of the log could not be opened; try again");
	else
		exchange_error(exchange, ERR_STORAGE_FAILED, NULL, "the disk did not deliver these records in time; try again");
}

void waiting_sweep(struct waiting *waiting, uint64_t now_us, uint64_t deadline_us)
{
	for (struct waiter *waiter = waiting->waiting.first, *next; waiter != NULL; waiter = next) {
		bool first_start = waiter->what == FOR_CATALOGUE && waiter->exchange->worker->catalogue == NULL;
		next = waiter->next;
		if (now_us - waiter->since_us <= (first_start ? WAIT_AT_START_US : deadline_us))
			continue;
		leave(waiter);
		refuse(waiter);
		free(waiter);
	}
}
