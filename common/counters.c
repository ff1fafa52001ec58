#include "common/counters.h"

#include <stdbool.h>

enum { PROBES = 8 };

/* Topic ids are random, so they are their own hash. */
static size_t probe(uint64_t topic, unsigned step)
{
	return (size_t)((topic + step) % COUNTERS_READ_CLOCKS);
}

/* The clock of `topic`, else the place where it goes: a free one, else the one that was read longest ago. */
static struct read_clock *find_place(struct counters *own, uint64_t topic)
{
	struct read_clock *oldest = NULL;
	int64_t oldest_ts = INT64_MAX;

	for (unsigned i = 0; i < PROBES; i++) {
		struct read_clock *clock = &own->clocks[probe(topic, i)];
		uint64_t there = atomic_load_explicit(&clock->topic, memory_order_relaxed);
		int64_t ts = there == 0 ? INT64_MIN : atomic_load_explicit(&clock->ts, memory_order_relaxed);
		if (there == topic)
			return clock;
		if (ts < oldest_ts || oldest == NULL) {
			oldest = clock;
			oldest_ts = ts;
		}
	}
	return oldest;
}

void counters_touch(struct counters *own, uint64_t topic, int64_t ts)
{
	struct read_clock *clock = find_place(own, topic);

	if (atomic_load_explicit(&clock->topic, memory_order_relaxed) == topic) {
		if (atomic_load_explicit(&clock->ts, memory_order_relaxed) < ts)
			atomic_store_explicit(&clock->ts, ts, memory_order_relaxed);
		return;
	}
	/* No reader may take the new time for the old topic's: the topic goes first, and comes back last. */
	atomic_store_explicit(&clock->topic, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&clock->ts, ts, memory_order_relaxed);
	atomic_store_explicit(&clock->topic, topic, memory_order_release);
}

static bool read_clock(const struct read_clock *clock, uint64_t topic, int64_t *ts)
{
	if (atomic_load_explicit(&clock->topic, memory_order_acquire) != topic)
		return false;
	*ts = atomic_load_explicit(&clock->ts, memory_order_relaxed);
	/* Pairs with the release fence of counters_touch. */
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&clock->topic, memory_order_relaxed) == topic;
}

int64_t counters_last_read(const struct counters *const *all, unsigned n, uint64_t topic)
{
	int64_t newest = 0;

	for (unsigned worker = 0; worker < n; worker++) {
		for (unsigned i = 0; i < PROBES; i++) {
			int64_t ts;
			if (read_clock(&all[worker]->clocks[probe(topic, i)], topic, &ts)) {
				if (ts > newest)
					newest = ts;
				break;
			}
		}
	}
	return newest;
}
