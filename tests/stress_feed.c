/*
 * Registering against publishing (common/watch.h, wake.h), for TSan and for lost wake-ups: one thread publishes as logd does, the others wait as workers do. The publisher goes on only
 * when everybody who waits for what it has just published has seen it, so nothing later makes up for a wake-up that was lost: it shows as a wait to the deadline.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/catalogue.h"
#include "common/counters.h"
#include "common/feed.h"
#include "common/wake.h"
#include "common/watch.h"
#include "tests/shared_object.h"

enum { TOPICS = 4, WATCHERS = 3, DEADLINE_MS = 20000 };

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

struct watcher {
	struct race *race;
	struct counters *counters;
	int wake_fd;
	unsigned random;
	_Atomic int wants;                /* topic that it waits for, -1 none */
	_Atomic uint64_t seen[TOPICS];
	uint64_t position;
	uint64_t sleeps, overruns;
};

struct race {
	struct feed_shared *feed;
	struct catalogue_writer *writer;
	struct catalogue *catalogue;
	uint32_t slots[TOPICS];
	struct watcher watchers[WATCHERS];
	_Atomic int stop;
	uint64_t steps, woken;
	unsigned served;                  /* the publisher's: a watcher that it has waited for */
};

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t head_of(const struct race *race, int topic)
{
	struct topic_numbers numbers;
	enum error error;
	do /* the writer may have to wait for a core in the middle of a section */
		error = catalogue_numbers(race->catalogue, race->slots[topic], &numbers);
	while (error == ERR_AGAIN);
	CHECK(error == ERR_OK);
	return numbers.head;
}

/* ---- a worker ---- */

/* Reads what is new in the feed: true if something of it may be about the topic. */
static bool hints(struct watcher *w, int topic)
{
	struct feed_entry entry;
	enum error error;
	bool any = false;
	while ((error = feed_read(w->race->feed, &w->position, &entry)) != ERR_AGAIN) {
		any = any || error == ERR_RANGE || entry.topic == (uint64_t)topic + 1;
		w->overruns += error == ERR_RANGE;
	}
	return any;
}

static void sleep_once(struct watcher *w)
{
	struct pollfd fd = { .fd = w->wake_fd, .events = POLLIN };
	uint64_t count;
	wake_prepare_sleep(&w->counters->sleeping);
	if (!watch_moved(w->race->feed, w->position)) {
		w->sleeps++;
		CHECK(poll(&fd, 1, DEADLINE_MS) == 1); /* else: a wake-up was lost */
	}
	wake_end_sleep(&w->counters->sleeping);
	ssize_t ignored = read(w->wake_fd, &count, sizeof count);
	(void)ignored;
}

/* Waits until the head of the topic is past what this watcher has seen of it. */
static void wait_for(struct watcher *w, int topic)
{
	uint64_t seen = atomic_load(&w->seen[topic]), head;
	atomic_store(&w->wants, topic);
	w->position = watch_begin(&w->counters->watching, w->race->feed);
	while ((head = head_of(w->race, topic)) == seen && !atomic_load(&w->race->stop))
		while (!hints(w, topic) && !atomic_load(&w->race->stop))
			sleep_once(w);
	watch_end(&w->counters->watching);
	CHECK(head >= seen);
	atomic_store(&w->wants, -1);
	atomic_store(&w->seen[topic], head);
}

static void *watching(void *context)
{
	struct watcher *w = context;
	while (!atomic_load(&w->race->stop)) {
		wait_for(w, (int)(rand_r(&w->random) % TOPICS));
		if (rand_r(&w->random) % 4 == 0)
			sched_yield();
	}
	return NULL;
}

/* ---- logd ---- */

static void publish(struct race *race)
{
	CHECK(feed_publish(race->feed));
	watch_published();
	for (unsigned i = 0; i < WATCHERS; i++) {
		const struct watcher *w = &race->watchers[i];
		if (!watch_wanted(&w->counters->watching) || !wake_needed(&w->counters->sleeping))
			continue;
		race->woken++;
		wake_write(w->wake_fd);
	}
}

static void append(struct race *race, int topic, uint64_t head)
{
	const struct topic_numbers numbers = { .id = (uint64_t)topic + 1, .head = head, .earliest = 1, .count = head };
	catalogue_topic_numbers(race->writer, race->slots[topic], &numbers);
	feed_put(race->feed, &(struct feed_entry){ .topic = numbers.id, .value = head, .event = FEED_HEAD, .slot = race->slots[topic] });
}

/* Everybody who waits for the topic gets on. */
static void seen_by_all(struct race *race, int topic, uint64_t head)
{
	uint64_t until = now_ms() + DEADLINE_MS;
	for (unsigned i = 0; i < WATCHERS; i++) {
		struct watcher *w = &race->watchers[i];
		while (atomic_load(&w->wants) == topic && atomic_load(&w->seen[topic]) < head) {
			race->served = i;
			CHECK(now_ms() < until);
			sched_yield();
		}
	}
}

/* A topic that somebody waits for, or is about to: its thread stands somewhere between saying so and sleeping. */
static int wanted(const struct race *race, unsigned *random)
{
	/* Mostly the one that has just been served, which comes back now. */
	unsigned index = (unsigned)rand_r(random) % (4 * WATCHERS);
	const struct watcher *w = &race->watchers[index < WATCHERS ? index : race->served];
	uint64_t until = now_ms() + DEADLINE_MS;
	int topic;
	while ((topic = atomic_load(&w->wants)) < 0) {
		CHECK(now_ms() < until);
		sched_yield();
	}
	for (unsigned spin = (unsigned)rand_r(random) % 512; spin > 0; spin--)
		atomic_signal_fence(memory_order_seq_cst);
	return topic;
}

static void *publishing(void *context)
{
	struct race *race = context;
	uint64_t heads[TOPICS] = { 0 };
	unsigned random = 1;
	for (uint64_t i = 0; i < race->steps; i++) {
		int topic = wanted(race, &random);
		append(race, topic, ++heads[topic]);
		if (i % 97 == 0)
			feed_overrun_all(race->feed);
		else if (i % 97 != 1)
			publish(race);
		if (i % 97 == 0) { /* a new catalogue wakes everybody */
			for (unsigned w = 0; w < WATCHERS; w++)
				wake_write(race->watchers[w].wake_fd);
		} else if (i % 97 == 1) { /* two topics in one group */
			int other = (topic + 1) % TOPICS;
			append(race, other, ++heads[other]);
			publish(race);
			seen_by_all(race, other, heads[other]);
		}
		seen_by_all(race, topic, heads[topic]);
	}
	atomic_store(&race->stop, 1);
	for (unsigned w = 0; w < WATCHERS; w++)
		wake_write(race->watchers[w].wake_fd);
	return NULL;
}

static void set_up(struct race *race, uint64_t steps)
{
	int fd = shared_object_fd(CATALOGUE_SIZE);
	struct topic_config config = { 0 };
	topic_config_default(&config);
	*race = (struct race){ .feed = shared_object(sizeof *race->feed), .steps = steps };
	CHECK(catalogue_writer_create(&race->writer, fd, 1) == ERR_OK);
	for (unsigned i = 0; i < TOPICS; i++) {
		const char name[2] = { (char)('a' + i), '\0' };
		const struct topic_numbers numbers = { .id = i + 1, .earliest = 1 };
		CHECK(catalogue_topic_add(race->writer, name, 1, &config, &numbers, &race->slots[i]) == ERR_OK);
	}
	CHECK(catalogue_open(&race->catalogue, fd) == ERR_OK);
	close(fd);
	for (unsigned i = 0; i < WATCHERS; i++) {
		struct watcher *w = &race->watchers[i];
		w->race = race;
		w->random = i + 7;
		w->counters = shared_object(sizeof *w->counters);
		w->wake_fd = eventfd(0, EFD_NONBLOCK);
		atomic_store(&w->wants, -1);
		CHECK(w->wake_fd >= 0);
	}
}

/* An argument scales the work: 1 is for `make check`, more for a longer look. */
int main(int argc, char **argv)
{
	uint64_t steps = 20000 * (argc > 1 ? strtoull(argv[1], NULL, 10) : 1), sleeps = 0, overruns = 0;
	struct race race;
	pthread_t threads[WATCHERS + 1];
	set_up(&race, steps);
	for (unsigned i = 0; i < WATCHERS; i++)
		pthread_create(&threads[i], NULL, watching, &race.watchers[i]);
	pthread_create(&threads[WATCHERS], NULL, publishing, &race);
	for (unsigned i = 0; i <= WATCHERS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < WATCHERS; i++) {
		sleeps += race.watchers[i].sleeps;
		overruns += race.watchers[i].overruns;
	}
	CHECK(sleeps > 0 && race.woken > 0 && overruns > 0);
	printf("feed: %llu publications, %llu sleeps, %llu wake-ups, %llu overruns, none lost\n", (unsigned long long)steps, (unsigned long long)sleeps,
	       (unsigned long long)race.woken, (unsigned long long)overruns);
	catalogue_close(&race.catalogue);
	catalogue_writer_destroy(&race.writer);
	return 0;
}
