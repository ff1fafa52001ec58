#include "worker/longpoll.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/watch.h"
#include "worker/waiting.h"
#include "worker/worker.h"

enum { BUCKETS_FIRST = 64, HEAP_FIRST = 64, RUN_US = 500, ENTRIES_MAX = 4096 };

/* A topic that somebody waits for; all its waiters saw the same head. */
struct topic {
	uint64_t id, head;
	int64_t slot;                      /* in the catalogue `catalogue` */
	uint64_t catalogue;
	struct topic *next;                /* in its bucket */
	struct topic *next_suspect, *previous_suspect;
	bool suspect;                      /* in line to be compared */
	struct poll *first;
};

struct poll {
	struct longpoll *owner;
	struct topic *topic;
	struct poll *previous, *next;      /* of its topic */
	struct exchange *exchange;
	void (*handler)(struct exchange *exchange);
	uint64_t until_us;
	size_t place;                      /* in the heap */
};

struct longpoll {
	struct worker *worker;
	struct event *timer;
	uint64_t timer_us;                 /* when it fires; 0: not set */
	uint64_t position;                 /* in the feed */
	struct topic **buckets;            /* by id, which is random; as many as a power of two */
	size_t bucket_count, topics;
	struct topic *suspects, *last_suspect;
	struct poll **heap;                /* by deadline, the nearest first */
	size_t count, room;
};

/* ---- deadlines: a binary heap ---- */

static void put(struct longpoll *l, size_t place, struct poll *poll)
{
	l->heap[place] = poll;
	poll->place = place;
}

static void sift_up(struct longpoll *l, size_t place, struct poll *poll)
{
	while (place > 0 && l->heap[(place - 1) / 2]->until_us > poll->until_us) {
		put(l, place, l->heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	put(l, place, poll);
}

static void sift_down(struct longpoll *l, size_t place, struct poll *poll)
{
	for (size_t child; (child = 2 * place + 1) < l->count; place = child) {
		if (child + 1 < l->count && l->heap[child + 1]->until_us < l->heap[child]->until_us)
			child++;
		if (l->heap[child]->until_us >= poll->until_us)
			break;
		put(l, place, l->heap[child]);
	}
	put(l, place, poll);
}

static enum error heap_add(struct longpoll *l, struct poll *poll)
{
	if (l->count == l->room) {
		size_t room = l->room ? 2 * l->room : HEAP_FIRST;
		struct poll **bigger = realloc(l->heap, room * sizeof(struct poll *));
		if (bigger == NULL)
			return ERR_NOMEM;
		l->heap = bigger;
		l->room = room;
	}
	sift_up(l, l->count++, poll);
	return ERR_OK;
}

static void heap_remove(struct longpoll *l, struct poll *poll)
{
	struct poll *last = l->heap[--l->count];
	size_t place = poll->place;
	if (last == poll)
		return;
	if (place > 0 && l->heap[(place - 1) / 2]->until_us > last->until_us)
		sift_up(l, place, last);
	else
		sift_down(l, place, last);
}

/* ---- topics ---- */

static struct topic **bucket_of(const struct longpoll *l, uint64_t id)
{
	return &l->buckets[id & (l->bucket_count - 1)];
}

static struct topic *find_topic(const struct longpoll *l, uint64_t id)
{
	struct topic *topic = *bucket_of(l, id);
	while (topic != NULL && topic->id != id)
		topic = topic->next;
	return topic;
}

/* Longer chains are no fault: when there is no memory the buckets stay as they are. */
static void more_buckets(struct longpoll *l)
{
	struct topic **before = l->buckets, **buckets = calloc(2 * l->bucket_count, sizeof(struct topic *));
	if (buckets == NULL)
		return;
	l->buckets = buckets;
	l->bucket_count *= 2;
	for (size_t i = 0; i < l->bucket_count / 2; i++) {
		for (struct topic *topic = before[i], *next; topic != NULL; topic = next) {
			next = topic->next;
			topic->next = *bucket_of(l, topic->id);
			*bucket_of(l, topic->id) = topic;
		}
	}
	free(before);
}

static struct topic *add_topic(struct longpoll *l, const struct longpoll_view *view)
{
	struct topic *topic = calloc(1, sizeof *topic);
	if (topic == NULL)
		return NULL;
	if (l->topics >= l->bucket_count)
		more_buckets(l);
	topic->id = view->topic;
	topic->next = *bucket_of(l, topic->id);
	*bucket_of(l, topic->id) = topic;
	l->topics++;
	return topic;
}

static void suspect(struct longpoll *l, struct topic *topic)
{
	if (topic->suspect)
		return;
	topic->suspect = true;
	topic->next_suspect = NULL;
	topic->previous_suspect = l->last_suspect;
	*(l->last_suspect != NULL ? &l->last_suspect->next_suspect : &l->suspects) = topic;
	l->last_suspect = topic;
}

static void suspect_all(struct longpoll *l)
{
	for (size_t i = 0; i < l->bucket_count; i++)
		for (struct topic *topic = l->buckets[i]; topic != NULL; topic = topic->next)
			suspect(l, topic);
}

static void clear(struct longpoll *l, struct topic *topic)
{
	if (!topic->suspect)
		return;
	topic->suspect = false;
	*(topic->previous_suspect != NULL ? &topic->previous_suspect->next_suspect : &l->suspects) = topic->next_suspect;
	*(topic->next_suspect != NULL ? &topic->next_suspect->previous_suspect : &l->last_suspect) = topic->previous_suspect;
}

static void drop_topic(struct longpoll *l, struct topic *topic)
{
	struct topic **at = bucket_of(l, topic->id);
	clear(l, topic);
	while (*at != topic)
		at = &(*at)->next;
	*at = topic->next;
	l->topics--;
	free(topic);
}

/* ---- polls ---- */

static void forget(struct poll *poll)
{
	struct longpoll *l = poll->owner;
	struct topic *topic = poll->topic;
	*(poll->previous != NULL ? &poll->previous->next : &topic->first) = poll->next;
	if (poll->next != NULL)
		poll->next->previous = poll->previous;
	heap_remove(l, poll);
	if (topic->first == NULL)
		drop_topic(l, topic);
	free(poll);
	atomic_store_explicit(&l->worker->counters->long_polls, l->count, memory_order_relaxed);
	if (l->count == 0)
		watch_end(&l->worker->counters->watching);
}

static void cancel(struct exchange *exchange)
{
	forget(exchange->parked);
}

static void wake(struct poll *poll)
{
	struct exchange *exchange = poll->exchange;
	struct waiting *waiting = poll->owner->worker->waiting;
	void (*handler)(struct exchange *exchange) = poll->handler;
	forget(poll);
	waiting_for_turn(waiting, exchange, handler);
}

static void hurry(struct exchange *exchange)
{
	wake(exchange->parked);
}

/* The last of them takes the topic with it. */
static void wake_topic(struct topic *topic)
{
	for (struct poll *poll = topic->first, *next; poll != NULL; poll = next) {
		next = poll->next;
		wake(poll);
	}
}

/* The head is not what the waiters of this topic saw, or the topic is no more. */
static bool changed(struct topic *topic, const struct catalogue *catalogue)
{
	struct topic_numbers numbers;
	if (topic->catalogue != catalogue_number(catalogue)) {
		const struct exchange *any = topic->first->exchange;
		topic->slot = catalogue_find(catalogue, any->name[0], any->name_length[0]);
		topic->catalogue = catalogue_number(catalogue);
	}
	return catalogue_numbers(catalogue, topic->slot, &numbers) != ERR_OK || numbers.id != topic->id || numbers.head != topic->head;
}

void longpoll_wait(struct longpoll *l, struct exchange *exchange, const struct longpoll_view *view, uint64_t until_us, void (*handler)(struct exchange *exchange))
{
	struct topic *topic = find_topic(l, view->topic);
	struct poll *poll = exchange_keep_body(exchange) == ERR_OK ? calloc(1, sizeof *poll) : NULL;
	if (topic != NULL && topic->head != view->head) { /* this one has seen more than the others know */
		wake_topic(topic);
		topic = NULL;
	}
	bool fresh = topic == NULL;
	if (fresh)
		topic = add_topic(l, view);
	if (poll != NULL)
		*poll = (struct poll){ .owner = l, .topic = topic, .exchange = exchange, .handler = handler, .until_us = until_us };
	if (poll == NULL || topic == NULL || heap_add(l, poll) != ERR_OK) {
		free(poll);
		if (fresh && topic != NULL)
			drop_topic(l, topic);
		exchange_error(exchange, ERR_INTERNAL, NULL, "the server has no memory left; try again");
		return;
	}
	topic->head = view->head;
	topic->slot = view->slot;
	topic->catalogue = catalogue_number(l->worker->catalogue);
	poll->next = topic->first;
	if (topic->first != NULL)
		topic->first->previous = poll;
	topic->first = poll;
	exchange_park(exchange, poll, cancel);
	exchange->hurry = hurry;
	if (l->count == 1)
		l->position = watch_begin(&l->worker->counters->watching, l->worker->feed);
	atomic_store_explicit(&l->worker->counters->long_polls, l->count, memory_order_relaxed);
	/* What came after its look and before the position from which the feed is read is seen by another look. */
	suspect(l, topic);
}

/* ---- a round ---- */

static void read_feed(struct longpoll *l)
{
	for (unsigned i = 0; i < ENTRIES_MAX; i++) {
		struct feed_entry entry;
		enum error error = feed_read(l->worker->feed, &l->position, &entry);
		if (error == ERR_AGAIN)
			return;
		struct topic *topic = error == ERR_OK && entry.event != FEED_FILE_RETIRED ? find_topic(l, entry.topic) : NULL;
		if (topic != NULL)
			suspect(l, topic);
		if (error == ERR_RANGE)
			suspect_all(l);
	}
}

static void compare(struct longpoll *l, uint64_t until_us)
{
	const struct catalogue *catalogue;
	/* While the next catalogue is on its way nothing can be compared; it makes suspects of all. */
	if (l->suspects == NULL || worker_catalogue(l->worker, &catalogue) != ERR_OK)
		return;
	do {
		struct topic *topic = l->suspects;
		clear(l, topic);
		if (changed(topic, catalogue))
			wake_topic(topic);
	} while (l->suspects != NULL && worker_now_us() < until_us);
}

static void set_timer(struct longpoll *l)
{
	uint64_t want = l->count > 0 ? l->heap[0]->until_us : 0, now_us = worker_now_us();
	/* A timer that fires early looks again; one that fires late would be a fault. */
	if (want == 0 || (l->timer_us != 0 && l->timer_us <= want && l->timer_us > now_us))
		return;
	uint64_t us = want > now_us ? want - now_us : 0;
	const struct timeval left = { .tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000) };
	event_add(l->timer, &left);
	l->timer_us = want;
}

void longpoll_run(struct longpoll *l)
{
	if (l->count == 0)
		return;
	uint64_t now_us = worker_now_us();
	read_feed(l);
	compare(l, now_us + RUN_US);
	while (l->count > 0 && l->heap[0]->until_us <= now_us)
		wake(l->heap[0]);
	set_timer(l);
}

bool longpoll_pending(const struct longpoll *l)
{
	const struct catalogue *catalogue;
	if (l->count == 0)
		return false;
	return watch_moved(l->worker->feed, l->position) || (l->suspects != NULL && worker_catalogue(l->worker, &catalogue) == ERR_OK);
}

void longpoll_catalogue_came(struct longpoll *l)
{
	suspect_all(l);
}

void longpoll_cut(struct longpoll *l)
{
	while (l->count > 0)
		wake(l->heap[l->count - 1]);
}

/* ---- set-up ---- */

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	((struct longpoll *)context)->timer_us = 0; /* the loop looks at deadlines after every round */
}

enum error longpoll_create(struct longpoll **out, struct worker *worker)
{
	struct longpoll *l = calloc(1, sizeof *l);
	if (l == NULL)
		return ERR_NOMEM;
	*out = l;
	l->worker = worker;
	l->bucket_count = BUCKETS_FIRST;
	l->buckets = calloc(BUCKETS_FIRST, sizeof(struct topic *));
	l->timer = event_new(worker->base, -1, 0, on_timer, l);
	/* A worker that died in this slot may have left it set. */
	watch_end(&worker->counters->watching);
	atomic_store_explicit(&worker->counters->long_polls, 0, memory_order_relaxed);
	if (l->buckets != NULL && l->timer != NULL)
		return ERR_OK;
	longpoll_destroy(out);
	return ERR_NOMEM;
}

void longpoll_destroy(struct longpoll **out)
{
	struct longpoll *l = *out;
	*out = NULL;
	if (l == NULL)
		return;
	if (l->timer != NULL)
		event_free(l->timer);
	free(l->buckets);
	free(l->heap);
	free(l);
}
