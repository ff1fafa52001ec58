#include "common/feed.h"

void feed_put(struct feed_shared *feed, const struct feed_entry *entry)
{
	uint64_t number = atomic_load_explicit(&feed->put, memory_order_relaxed);
	struct feed_slot *slot = &feed->slots[number % FEED_SLOTS];

	/* A reader that sees a word of the new entry sees after its fence that the number is no longer the old one. */
	atomic_store_explicit(&slot->number, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&slot->topic, entry->topic, memory_order_relaxed);
	atomic_store_explicit(&slot->value, entry->value, memory_order_relaxed);
	atomic_store_explicit(&slot->event_and_slot, (uint64_t)entry->event << 32 | entry->slot, memory_order_relaxed);
	atomic_store_explicit(&slot->number, number + 1, memory_order_release);
	atomic_store_explicit(&feed->put, number + 1, memory_order_relaxed);
}

bool feed_publish(struct feed_shared *feed)
{
	uint64_t put = atomic_load_explicit(&feed->put, memory_order_relaxed);

	if (atomic_load_explicit(&feed->written, memory_order_relaxed) == put)
		return false;
	atomic_store_explicit(&feed->written, put, memory_order_release);
	return true;
}

void feed_overrun_all(struct feed_shared *feed)
{
	atomic_fetch_add_explicit(&feed->put, FEED_SLOTS, memory_order_relaxed);
	feed_publish(feed);
}

/* Copies the entry `position` if it stands in its slot from the first load to the last. */
static bool copy_entry(const struct feed_shared *feed, uint64_t position, struct feed_entry *entry)
{
	const struct feed_slot *slot = &feed->slots[position % FEED_SLOTS];
	uint64_t event_and_slot;

	if (atomic_load_explicit(&slot->number, memory_order_acquire) != position + 1)
		return false;
	entry->number = position;
	entry->topic = atomic_load_explicit(&slot->topic, memory_order_relaxed);
	entry->value = atomic_load_explicit(&slot->value, memory_order_relaxed);
	event_and_slot = atomic_load_explicit(&slot->event_and_slot, memory_order_relaxed);
	entry->event = (uint32_t)(event_and_slot >> 32);
	entry->slot = (uint32_t)event_and_slot;
	/* Pairs with the writer's release fence. */
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&slot->number, memory_order_relaxed) == position + 1;
}

enum error feed_read(const struct feed_shared *feed, uint64_t *position, struct feed_entry *entry)
{
	/* Pairs with feed_publish: slots below it are written. */
	uint64_t written = atomic_load_explicit(&feed->written, memory_order_acquire);

	if (*position == written)
		return ERR_AGAIN;
	if (*position > written || written - *position > FEED_SLOTS || !copy_entry(feed, *position, entry)) {
		*position = atomic_load_explicit(&feed->written, memory_order_acquire);
		return ERR_RANGE;
	}
	++*position;
	return ERR_OK;
}
