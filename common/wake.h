/*
 * Waking another process, only when it sleeps. A sleep flag lies in memory that only the sleeper writes; the waker looks
 * at it after it has published:
 *
 *     sleeper: flag = 1; fence; look once more; sleep on its eventfd; flag = 0
 *     waker:   publish; fence; if (flag) write the eventfd
 *
 * Both fences are sequentially consistent, so at least one of the two sees the other (Dekker): no lost wake-up.
 */
#ifndef TOPICS_WAKE_H
#define TOPICS_WAKE_H

#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

static inline void wake_prepare_sleep(_Atomic uint32_t *flag)
{
	atomic_store_explicit(flag, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

static inline void wake_end_sleep(_Atomic uint32_t *flag)
{
	atomic_store_explicit(flag, 0, memory_order_relaxed);
}

/* After publishing: 1 if the eventfd must be written. */
static inline int wake_needed(const _Atomic uint32_t *flag)
{
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(flag, memory_order_relaxed) != 0;
}

/* Adds one to the eventfd; it never blocks and a full counter is as good as a wake-up. */
static inline void wake_write(int eventfd)
{
	uint64_t one = 1;
	ssize_t ignored = write(eventfd, &one, sizeof one);
	(void)ignored;
}

#endif
