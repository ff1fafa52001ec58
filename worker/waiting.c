#include "worker/waiting.h"

#include <stdlib.h>

#include "worker/worker.h"

/* While the daemon starts: a recovery that takes longer is told to clients (503 not_ready). */
enum { WAIT_AT_START_US = 1000000 };

struct waiter {
	struct waiter *next;
	struct waiting *owner;
	struct exchange *exchange;
	void (*handler)(struct exchange *exchange);
	uint64_t file_id;     /* 0: the next catalogue */
	uint64_t since_us;
};

struct waiting {
	struct waiter *first;
};

enum error waiting_create(struct waiting **waiting)
{
	*waiting = calloc(1, sizeof **waiting);
	return *waiting == NULL ? ERR_NOMEM : ERR_OK;
}

void waiting_destroy(struct waiting **waiting)
{
	free(*waiting);
	*waiting = NULL;
}

static void cancel(struct exchange *exchange)
{
	struct waiter *gone = exchange->parked, **at = &gone->owner->first;
	while (*at != gone)
		at = &(*at)->next;
	*at = gone->next;
	free(gone);
}

static void wait_for(struct waiting *waiting, struct exchange *exchange, uint64_t file_id, void (*handler)(struct exchange *exchange))
{
	struct waiter *waiter = calloc(1, sizeof *waiter), **end = &waiting->first;
	if (waiter == NULL) {
		exchange_error(exchange, ERR_INTERNAL, NULL, "the server has no memory left; try again");
		return;
	}
	*waiter = (struct waiter){ .owner = waiting, .exchange = exchange, .handler = handler, .file_id = file_id, .since_us = worker_now_us() };
	while (*end != NULL)
		end = &(*end)->next;
	*end = waiter;
	exchange_park(exchange, waiter, cancel);
}

void waiting_for_catalogue(struct waiting *waiting, struct exchange *exchange, void (*handler)(struct exchange *exchange))
{
	wait_for(waiting, exchange, 0, handler);
}

void waiting_for_file(struct waiting *waiting, struct exchange *exchange, uint64_t file_id, void (*handler)(struct exchange *exchange))
{
	wait_for(waiting, exchange, file_id, handler);
}

/* Takes out all that wait for `file_id` before any is called: a handler may park again. */
static void came(struct waiting *waiting, uint64_t file_id)
{
	struct waiter **at = &waiting->first, *ready = NULL, **ready_end = &ready;
	while (*at != NULL) {
		struct waiter *waiter = *at;
		if (waiter->file_id != file_id) {
			at = &waiter->next;
			continue;
		}
		*at = waiter->next;
		waiter->next = NULL;
		*ready_end = waiter;
		ready_end = &waiter->next;
	}
	while (ready != NULL) {
		struct waiter *waiter = ready;
		ready = waiter->next;
		waiter->exchange->parked = NULL;
		waiter->exchange->cancel = NULL;
		waiter->handler(waiter->exchange);
		free(waiter);
	}
}

void waiting_catalogue_came(struct waiting *waiting)
{
	came(waiting, 0);
}

void waiting_file_came(struct waiting *waiting, uint64_t file_id)
{
	came(waiting, file_id);
}

static void refuse(struct waiter *waiter)
{
	if (waiter->file_id == 0)
		exchange_not_ready(waiter->exchange);
	else
		exchange_error(waiter->exchange, ERR_STORAGE_FAILED, NULL, "a file of the log could not be opened; try again");
}

void waiting_sweep(struct waiting *waiting, uint64_t now_us, uint64_t deadline_us)
{
	struct waiter **at = &waiting->first;
	while (*at != NULL) {
		struct waiter *waiter = *at;
		bool first_start = waiter->file_id == 0 && waiter->exchange->worker->catalogue == NULL;
		if (now_us - waiter->since_us <= (first_start ? WAIT_AT_START_US : deadline_us)) {
			at = &waiter->next;
			continue;
		}
		*at = waiter->next;
		refuse(waiter);
		free(waiter);
	}
}
