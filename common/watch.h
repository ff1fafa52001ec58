/*
 * Watching the commit feed without missing anything. A worker says in its counters that somebody there waits; logd wakes it for entries of the feed only then (and only if it
 * sleeps, common/wake.h).
 *
 *     worker: watching = 1; fence; position = written; read the head; ... sleeping = 1; fence; has the feed moved past position? no: sleep
 *     logd:   numbers into the catalogue; publish the feed; fence; if (watching && sleeping) write the eventfd
 *
 * An entry published before the worker read `written` is in the catalogue when it reads the head (the acquire of `written` pairs with feed_publish). A later one is either seen by
 * the last look, or its publisher sees both flags: the fences are sequentially consistent (Dekker).
 */
#ifndef TOPICS_WATCH_H
#define TOPICS_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/feed.h"

/* Worker: from now on this process watches. Returns the position from which the feed is to be read; heads are read after this call. */
static inline uint64_t watch_begin(_Atomic uint32_t *watching, const struct feed_shared *feed)
{
	atomic_store_explicit(watching, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(&feed->written, memory_order_acquire);
}

static inline void watch_end(_Atomic uint32_t *watching)
{
	atomic_store_explicit(watching, 0, memory_order_relaxed);
}

/* Worker, after wake_prepare_sleep: something stands in the feed that has not been read. */
static inline bool watch_moved(const struct feed_shared *feed, uint64_t position)
{
	return atomic_load_explicit(&feed->written, memory_order_acquire) != position;
}

/* logd, after feed_publish, once for all workers; then watch_wanted of each. */
static inline void watch_published(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

static inline bool watch_wanted(const _Atomic uint32_t *watching)
{
	return atomic_load_explicit(watching, memory_order_relaxed) != 0;
}

#endif
