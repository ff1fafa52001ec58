#include "common/catalogue_writer.h"

#include <assert.h>
#include <string.h>

/* The writer reads its own memory, so no counter is needed here. */
size_t catalogue_writer_name(const struct catalogue_writer *writer, uint32_t slot, char *name)
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
		if (catalogue_writer_name(writer, bucket - 1, there) == length && memcmp(there, name, length) == 0)
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

void catalogue_writer_link_name(struct catalogue_writer *writer, uint32_t slot)
{
	catalogue_word *count = &writer->map->head.topic_count;

	hash_add(writer, slot);
	catalogue_writer_order_add(writer, slot);
	catalogue_set(count, catalogue_get(count) + 1);
}

void catalogue_writer_unlink_name(struct catalogue_writer *writer, uint32_t slot)
{
	catalogue_word *count = &writer->map->head.topic_count;

	hash_remove(writer, slot);
	catalogue_writer_order_remove(writer, slot);
	catalogue_set(count, catalogue_get(count) - 1);
}
