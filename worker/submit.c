#include "worker/submit.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/wake.h"
#include "worker/worker.h"

enum { TABLE = 4 * RING_SLOTS, ROOM_WAIT_US = 1000000 };

/* A request that was handed over; found by its id modulo the table's size. It keeps its place until it is answered or given up, whether or not anybody waits for it still. */
struct submission {
	uint64_t id;              /* 0: free */
	struct exchange *exchange;/* NULL: its connection is gone */
	submit_finish *finish;
	uint64_t since_us;
};

/* An exchange that waits for room in the ring. */
struct queued {
	struct queued *next;
	struct submissions *owner;
	struct exchange *exchange;
	void (*handler)(struct exchange *exchange);
	uint64_t since_us;
	bool wait;
};

struct submissions {
	struct worker *worker;
	uint64_t next_id;         /* ids rise from 1 and are never repeated by this process; those whose place was taken at their turn are left out */
	uint64_t oldest;          /* every id below it is answered or given up */
	uint64_t outstanding;     /* places that are taken */
	struct queued *first, *last;
	uint64_t queue_length;
	struct queued *serving;   /* taken out of the queue and being called: it may publish though others wait */
	bool published;           /* since the last flush */
	struct submission table[TABLE];
};

enum error submissions_create(struct submissions **out, struct worker *worker)
{
	struct submissions *submissions = calloc(1, sizeof *submissions);
	if (submissions == NULL)
		return ERR_NOMEM;
	submissions->worker = worker;
	submissions->next_id = submissions->oldest = 1;
	*out = submissions;
	return ERR_OK;
}

void submissions_destroy(struct submissions **submissions)
{
	free(*submissions);
	*submissions = NULL;
}

/* ---- waiting for room ---- */

static void leave_queue(struct exchange *exchange)
{
	struct queued *gone = exchange->parked, **at = &gone->owner->first, *before = NULL;
	while (*at != gone) {
		before = *at;
		at = &(*at)->next;
	}
	*at = gone->next;
	if (gone->owner->last == gone)
		gone->owner->last = before;
	gone->owner->queue_length--;
	free(gone);
}

static void put_last(struct submissions *submissions, struct queued *queued)
{
	*(submissions->last != NULL ? &submissions->last->next : &submissions->first) = queued;
	submissions->last = queued;
}

/* It was the first in the queue and stays it; its time goes on counting. */
static void put_back(struct submissions *submissions, struct queued *queued)
{
	submissions->serving = NULL;
	queued->next = submissions->first;
	submissions->first = queued;
	if (submissions->last == NULL)
		submissions->last = queued;
}

static void enqueue(struct submissions *submissions, struct exchange *exchange, submit_wait *wait, void (*handler)(struct exchange *exchange))
{
	struct queued *queued = submissions->serving;
	if (queued != NULL) {
		put_back(submissions, queued);
	} else {
		queued = calloc(1, sizeof *queued);
		if (queued == NULL || exchange_keep_body(exchange) != ERR_OK) {
			free(queued);
			exchange_error(exchange, ERR_INTERNAL, NULL, "the server has no memory left; try again");
			return;
		}
		*queued = (struct queued){ .owner = submissions, .exchange = exchange, .handler = handler, .since_us = worker_now_us() };
		queued->wait = wait != NULL && wait(exchange);
		put_last(submissions, queued);
		counters_add(&submissions->worker->counters->ring_full_total, 1);
	}
	submissions->queue_length++;
	exchange_park(exchange, queued, leave_queue);
}

/* Calls the queue's first as long as there is room for it. */
static void serve_queue(struct submissions *submissions)
{
	while (submissions->first != NULL) {
		struct queued *queued = submissions->first;
		struct exchange *exchange = queued->exchange;
		submissions->first = queued->next;
		queued->next = NULL;
		if (submissions->first == NULL)
			submissions->last = NULL;
		submissions->queue_length--;
		exchange->parked = NULL;
		exchange->cancel = NULL;
		exchange->throttle_us = (int64_t)queued->since_us;
		submissions->serving = queued;
		queued->handler(exchange);
		if (submissions->serving == NULL)
			return; /* there was no room: it is the first again */
		submissions->serving = NULL;
		free(queued);
	}
}

static void refuse_queued(struct submissions *submissions, struct exchange *exchange, bool stalled)
{
	leave_queue(exchange);
	if (stalled)
		exchange_error(exchange, ERR_STORAGE_STALLED, NULL, "the log does not take requests now; nothing was written; try again");
	else
		exchange_error(exchange, ERR_THROTTLED, "{\"retry_after_ms\":1000}", "too many writes are waiting; slow down and try again");
	(void)submissions;
}

/* ---- handing over ---- */

bool submit_begin(struct exchange *exchange, size_t size, submit_wait *wait, void (*handler)(struct exchange *exchange), struct submit_room *room)
{
	struct worker *worker = exchange->worker;
	struct submissions *submissions = worker->submissions;
	size_t whole = sizeof(struct request) + align8(size);
	*room = (struct submit_room){ .large = whole > RING_ENTRY_MAX };
	/* An entry is released before its request is answered, so the ring may have room when the table has none. */
	if ((submissions->first == NULL || submissions->serving != NULL) && submissions->outstanding < TABLE) {
		room->entry = ring_reserve(worker->ring, room->large ? sizeof(struct request) : whole);
		room->parts = room->entry != NULL ? room->entry + sizeof(struct request) : NULL;
		room->room = align8(size);
		if (room->entry != NULL && room->large)
			room->parts = ring_reserve_large(worker->ring, &room->room);
	}
	if (room->entry != NULL && room->parts != NULL)
		return true;
	enqueue(submissions, exchange, wait, handler);
	return false;
}

static void forget(struct exchange *exchange)
{
	struct submission *submission = exchange->parked;
	submission->exchange = NULL;
}

static uint8_t *put_part(uint8_t *at, const void *part, uint32_t length)
{
	if (length == 0)
		return at;
	memcpy(at, part, length);
	memset(at + length, 0, align8(length) - length);
	return at + align8(length);
}

/* The free place of the next id. Requests are not answered in their order: one whose sync hangs may still have its place when thousands that came after it are done, and then the
 * ids that fall there are left out. */
static struct submission *next_place(struct submissions *submissions)
{
	assert(submissions->outstanding < TABLE); /* submit_begin has seen to it */
	while (submissions->table[submissions->next_id % TABLE].id != 0)
		submissions->next_id++;
	return &submissions->table[submissions->next_id % TABLE];
}

void submit_publish(struct exchange *exchange, const struct submit_room *room, struct request *head, const void *name, const void *config, const void *key,
                    const void *node, submit_finish *finish)
{
	struct worker *worker = exchange->worker;
	struct submissions *submissions = worker->submissions;
	struct submission *submission = next_place(submissions);
	uint8_t *at = room->parts + head->body_length;

	at = put_part(at, name, head->name_length);
	at = put_part(at, config, head->config_length);
	at = put_part(at, key, head->key_length);
	at = put_part(at, node, head->node_length);
	head->id = submissions->next_id++;
	if (room->large)
		head->flags |= REQUEST_LARGE;
	head->length = (uint32_t)(room->large ? sizeof *head : sizeof *head + (size_t)(at - room->parts));
	memcpy(room->entry, head, sizeof *head);
	ring_publish(worker->ring, head->length, room->large);
	*submission = (struct submission){ .id = head->id, .exchange = exchange, .finish = finish, .since_us = worker_now_us() };
	if (exchange->throttle_us >= 0)
		exchange->throttle_us = (int64_t)submission->since_us - exchange->throttle_us;
	submissions->outstanding++;
	submissions->published = true;
	exchange_park(exchange, submission, forget);
}

void submissions_flush(struct submissions *submissions)
{
	if (!submissions->published)
		return;
	submissions->published = false;
	if (wake_needed(&submissions->worker->status->logd_sleeping))
		wake_write(submissions->worker->inherit.logd_wake_fd);
}

/* ---- answers ---- */

static void answer(struct submissions *submissions, const struct completion *completion, const uint8_t *body)
{
	struct submission *submission = &submissions->table[completion->request_id % TABLE];
	if (completion->request_id == 0 || submission->id != completion->request_id)
		return; /* answered before, or given up */
	struct exchange *exchange = submission->exchange;
	submit_finish *finish = submission->finish;
	submission->id = 0;
	submissions->outstanding--;
	if (exchange == NULL)
		return;
	exchange->parked = NULL;
	exchange->cancel = NULL;
	exchange->wal_us = completion->write_us;
	exchange->sync_us = completion->sync_us;
	finish(exchange, completion, body);
}

bool submissions_poll(struct submissions *submissions)
{
	struct completion_reader *reader = submissions->worker->completions;
	struct completion completion;
	const uint8_t *body;
	bool any = false;
	while (completion_next(reader, &completion, &body) == ERR_OK) {
		answer(submissions, &completion, body);
		any = true;
	}
	if (any)
		completion_done(reader);
	if (submissions->first != NULL)
		serve_queue(submissions);
	return any;
}

bool submissions_pending(const struct submissions *submissions)
{
	return completion_pending(submissions->worker->completions);
}

uint64_t submissions_waiting(const struct submissions *submissions)
{
	return submissions->outstanding + submissions->queue_length;
}

static void give_up(struct submissions *submissions, struct submission *submission)
{
	struct exchange *exchange = submission->exchange;
	submission->id = 0;
	submissions->outstanding--;
	if (exchange == NULL)
		return;
	exchange->parked = NULL;
	exchange->cancel = NULL;
	exchange_error(exchange, ERR_COMMIT_UNKNOWN, NULL,
	               "the log did not answer in time: the write may still happen. Repeat it with the same idempotency key, which is safe");
}

void submissions_sweep(struct submissions *submissions, uint64_t now_us)
{
	uint64_t deadline_us = (uint64_t)submissions->worker->inherit.common.settings.commit_deadline_ms * 1000;
	uint64_t heartbeat_ms = atomic_load_explicit(&submissions->worker->status->heartbeat_ms, memory_order_relaxed);
	while (submissions->oldest < submissions->next_id) {
		struct submission *submission = &submissions->table[submissions->oldest % TABLE];
		if (submission->id == submissions->oldest) {
			if (now_us - submission->since_us < deadline_us)
				break;
			give_up(submissions, submission);
		}
		submissions->oldest++;
	}
	for (struct queued *queued = submissions->first, *next; queued != NULL; queued = next) {
		uint64_t waited = now_us - queued->since_us;
		/* Whether or not others still wait for its answers: what was handed over before may have been given up. */
		bool stalled = waited > deadline_us || heartbeat_ms + HEARTBEAT_STALE_MS < now_us / 1000;
		next = queued->next;
		if (waited > (queued->wait ? deadline_us : ROOM_WAIT_US))
			refuse_queued(submissions, queued->exchange, stalled);
	}
	serve_queue(submissions);
}

void submit_refused(struct exchange *exchange, const struct completion *completion, const uint8_t *body)
{
	enum error error = (enum error)completion->status;
	char detail[512];
	(void)body;
	switch (error) {
	case ERR_TOPIC_NOT_FOUND:
		snprintf(detail, sizeof detail, "{\"topic\":\"%s\"}", exchange->name[0]);
		exchange_error(exchange, error, detail, "there is no topic '%s'; create it with PUT, or write without \"create\": false", exchange->name[0]);
		return;
	case ERR_HEAD_MISMATCH:
		if (completion->topic != 0)
			snprintf(detail, sizeof detail, "{\"head_seq\":%" PRIu64 ",\"epoch\":\"%016" PRIx64 "\"}", completion->head, completion->topic);
		else
			snprintf(detail, sizeof detail, "{\"head_seq\":0,\"epoch\":null}");
		exchange_error(exchange, error, detail, "the topic's head is %" PRIu64 ", not what was expected; nothing was written", completion->head);
		return;
	case ERR_THROTTLED:
		if (completion->body_length > 0)
			snprintf(detail, sizeof detail, "{\"limit\":\"max_topics\",\"max\":%" PRIu64 "}", exchange->worker->inherit.common.settings.max_topics);
		else
			snprintf(detail, sizeof detail, "{\"retry_after_ms\":1000}");
		exchange_error(exchange, error, detail, completion->body_length > 0 ? "there are as many topics as TOPICS_MAX_TOPICS allows"
		                                                                    : "too much waits to be synced; slow down and try again");
		return;
	case ERR_TOPIC_EXISTS_INCOMPATIBLE:
		exchange_error(exchange, error, "{\"reason\":\"type\"}", "the topic '%s' exists with another type, and a type cannot be changed", exchange->name[0]);
		return;
	case ERR_TOPIC_NOT_EMPTY:
		exchange_error(exchange, error, NULL, "the topic '%s' holds records; leave out if_empty to delete it all the same", exchange->name[0]);
		return;
	case ERR_RECORD_TOO_LARGE:
		exchange_error(exchange, error, NULL, "the topic discards by 'reject' and even empty could not take this batch");
		return;
	case ERR_STORAGE_FULL:
		exchange_error(exchange, error, NULL, "the disk is full; nothing was written. Free space, and writing goes on by itself");
		return;
	case ERR_STORAGE_FAILED:
		exchange_error(exchange, error, NULL, "the write failed; nothing was written. Try again");
		return;
	case ERR_READ_ONLY:
		exchange_error(exchange, error, NULL, "the disk failed for good; reads go on, writes do not. Look into the server's log, mend the disk and restart");
		return;
	case ERR_COMMIT_UNKNOWN:
		exchange_error(exchange, error, NULL, "the disk failed while this was being written: it may or may not be there. Repeat it with the same idempotency key");
		return;
	default:
		exchange_error(exchange, error, NULL, "%s", error_text(error));
	}
}
