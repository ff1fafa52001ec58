#include "common/catalogue_writer.h"

#include <assert.h>
#include <string.h>

/* The writer reads its own memory, so no counter is needed here. */
static size_t name_of(const struct catalogue_writer *writer, uint32_t slot, char *name)
{
	const struct topic_slot *topic = &writer->map->topics[slot];
	size_t length = (uint32_t)catalogue_get(&topic->lengths);
	uint64_t words[NAME_WORDS];

	catalogue_load(words, topic->name, (length + 7) / 8);
	memcpy(name, words, length);
	return length;
}

/* ---- hash: linear probing; at most half full, for there are twice as many buckets as topics ---- */

static uint32_t bucket_get(const struct catalogue_writer *writer, uint64_t i)
{
	return atomic_load_explicit(&writer->map->buckets[i % CATALOGUE_BUCKETS], memory_order_relaxed);
}

static void bucket_set(struct catalogue_writer *writer, uint64_t i, uint32_t value)
{
	/* Pairs with the acquire load of a reader: the slot that it names is filled. */
	atomic_store_explicit(&writer->map->buckets[i % CATALOGUE_BUCKETS], value, memory_order_release);
}

int64_t catalogue_writer_find(const struct catalogue_writer *writer, uint64_t hash, const char *name, size_t length)
{
	uint32_t bucket;

	for (uint64_t i = hash % CATALOGUE_BUCKETS; (bucket = bucket_get(writer, i)) != 0; i++) {
		char there[TOPIC_NAME_MAX + 1];
		if (catalogue_get(&writer->map->topics[bucket - 1].hash) != hash)
			continue;
		if (name_of(writer, bucket - 1, there) == length && memcmp(there, name, length) == 0)
			return bucket - 1;
	}
	return CATALOGUE_NO_SLOT;
}

static void hash_add(struct catalogue_writer *writer, uint32_t slot)
{
	uint64_t i = catalogue_get(&writer->map->topics[slot].hash) % CATALOGUE_BUCKETS;

	while (bucket_get(writer, i) != 0)
		i++;
	bucket_set(writer, i, slot + 1);
}

/* Later names of the run move up, so no tombstones pile up. A reader may miss a name that moves past it: names_sequence tells it. */
static void hash_remove(struct catalogue_writer *writer, uint32_t slot)
{
	uint64_t hole = catalogue_get(&writer->map->topics[slot].hash) % CATALOGUE_BUCKETS;
	uint32_t bucket;

	while (bucket_get(writer, hole) != slot + 1) {
		assert(bucket_get(writer, hole) != 0);
		hole++;
	}
	catalogue_section_begin(&writer->map->head.names_sequence);
	for (uint64_t i = hole + 1; (bucket = bucket_get(writer, i)) != 0; i++) {
		uint64_t home = catalogue_get(&writer->map->topics[bucket - 1].hash) % CATALOGUE_BUCKETS;
		/* Steps from its home to where it is, and to the hole: it may move only if the hole lies between. */
		uint64_t distance = (i - home) % CATALOGUE_BUCKETS;
		if (distance >= i - hole) {
			bucket_set(writer, hole, bucket);
			hole = i;
		}
	}
	bucket_set(writer, hole, 0);
	catalogue_section_end(&writer->map->head.names_sequence);
}

/* ---- order ---- */

static uint32_t sorted_get(const struct catalogue_writer *writer, uint64_t i)
{
	return atomic_load_explicit(&writer->map->sorted[i], memory_order_relaxed);
}

static void sorted_set(struct catalogue_writer *writer, uint64_t i, uint32_t slot)
{
	atomic_store_explicit(&writer->map->sorted[i], slot, memory_order_relaxed);
}

/* Where the slot's name is, or belongs. */
static uint64_t order_position(const struct catalogue_writer *writer, uint32_t slot)
{
	uint64_t low = 0, high = catalogue_get(&writer->map->head.order_count);
	char wanted[TOPIC_NAME_MAX + 1], name[TOPIC_NAME_MAX + 1];
	size_t wanted_length = name_of(writer, slot, wanted);

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		size_t length = name_of(writer, sorted_get(writer, middle), name);
		if (catalogue_compare(name, length, wanted, wanted_length) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void order_add(struct catalogue_writer *writer, uint32_t slot)
{
	struct catalogue_head *head = &writer->map->head;
	uint64_t at = order_position(writer, slot), count = catalogue_get(&head->order_count);

	catalogue_section_begin(&head->order_sequence);
	for (uint64_t i = count; i > at; i--)
		sorted_set(writer, i, sorted_get(writer, i - 1));
	sorted_set(writer, at, slot);
	catalogue_set(&head->order_count, count + 1);
	catalogue_section_end(&head->order_sequence);
}

static void order_remove(struct catalogue_writer *writer, uint32_t slot)
{
	struct catalogue_head *head = &writer->map->head;
	uint64_t at = order_position(writer, slot), count = catalogue_get(&head->order_count);

	assert(at < count && sorted_get(writer, at) == slot);
	catalogue_section_begin(&head->order_sequence);
	for (uint64_t i = at; i + 1 < count; i++)
		sorted_set(writer, i, sorted_get(writer, i + 1));
	catalogue_set(&head->order_count, count - 1);
	catalogue_section_end(&head->order_sequence);
}

void catalogue_writer_link_name(struct catalogue_writer *writer, uint32_t slot)
{
	catalogue_word *count = &writer->map->head.topic_count;

	hash_add(writer, slot);
	order_add(writer, slot);
	catalogue_set(count, catalogue_get(count) + 1);
}

void catalogue_writer_unlink_name(struct catalogue_writer *writer, uint32_t slot)
{
	catalogue_word *count = &writer->map->head.topic_count;

	hash_remove(writer, slot);
	order_remove(writer, slot);
	catalogue_set(count, catalogue_get(count) - 1);
}
