/* The order of names (common/catalogue_layout.h): what a listing walks. Everything changes under order_sequence. */
#include <assert.h>

#include "common/catalogue_writer.h"

static uint32_t get(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static void set(_Atomic uint32_t *word, uint32_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

/* Makes place for `n` words at `at` of the `count` that stand there; or closes the place of `n` words. */
static void open_gap(_Atomic uint32_t *words, uint64_t count, uint64_t at, uint64_t n)
{
	for (uint64_t i = count; i > at; i--)
		set(&words[i - 1 + n], get(&words[i - 1]));
}

static void close_gap(_Atomic uint32_t *words, uint64_t count, uint64_t at, uint64_t n)
{
	for (uint64_t i = at + n; i < count; i++)
		set(&words[i - n], get(&words[i]));
}

static struct order_block *block_at(const struct catalogue_writer *writer, uint64_t i)
{
	return &writer->map->blocks[get(&writer->map->order[i])];
}

/* A name as it is compared. */
struct wanted { char name[TOPIC_NAME_MAX + 1]; size_t length; };

static bool before(const struct catalogue_writer *writer, uint32_t slot, const struct wanted *wanted)
{
	char name[TOPIC_NAME_MAX + 1];
	size_t length = catalogue_writer_name(writer, slot, name);
	return catalogue_compare(name, length, wanted->name, wanted->length) < 0;
}

/* Where the slot's name is, or belongs: *in the block that stands at the returned place of the order; the last block takes what is behind all names. */
static uint64_t position(const struct catalogue_writer *writer, uint32_t slot, uint64_t *in)
{
	uint64_t low = 0, high = catalogue_get(&writer->map->head.order_blocks) - 1, place;
	struct wanted wanted;
	const struct order_block *block;
	wanted.length = catalogue_writer_name(writer, slot, wanted.name);
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		block = block_at(writer, middle);
		if (before(writer, get(&block->slots[get(&block->count) - 1]), &wanted))
			low = middle + 1;
		else
			high = middle;
	}
	place = low;
	block = block_at(writer, place);
	for (low = 0, high = get(&block->count); low < high;) {
		uint64_t middle = low + (high - low) / 2;
		if (before(writer, get(&block->slots[middle]), &wanted))
			low = middle + 1;
		else
			high = middle;
	}
	*in = low;
	return place;
}

/* A new, empty block at `place` of the order. */
static struct order_block *block_add(struct catalogue_writer *writer, uint64_t place)
{
	struct catalogue_map *map = writer->map;
	uint64_t blocks = catalogue_get(&map->head.order_blocks);
	uint32_t number = writer->order_free;
	if (number != 0) {
		number--;
		writer->order_free = get(&map->blocks[number].slots[0]);
	} else {
		number = writer->order_used++;
		assert(number < ORDER_BLOCKS);
	}
	set(&map->blocks[number].count, 0);
	open_gap(map->order, blocks, place, 1);
	set(&map->order[place], number);
	catalogue_set(&map->head.order_blocks, blocks + 1);
	return &map->blocks[number];
}

static void block_remove(struct catalogue_writer *writer, uint64_t place)
{
	struct catalogue_map *map = writer->map;
	uint64_t blocks = catalogue_get(&map->head.order_blocks);
	uint32_t number = get(&map->order[place]);
	set(&map->blocks[number].slots[0], writer->order_free);
	writer->order_free = number + 1;
	close_gap(map->order, blocks, place, 1);
	catalogue_set(&map->head.order_blocks, blocks - 1);
}

/* Moves the slots from `from` on to the end of another block. */
static void move(struct order_block *to, struct order_block *block, uint32_t from)
{
	uint32_t there = get(&to->count), count = get(&block->count);
	for (uint32_t i = from; i < count; i++)
		set(&to->slots[there + i - from], get(&block->slots[i]));
	set(&to->count, there + count - from);
	set(&block->count, from);
}

void catalogue_writer_order_add(struct catalogue_writer *writer, uint32_t slot)
{
	struct catalogue_head *head = &writer->map->head;
	uint64_t place = 0, in = 0;
	catalogue_section_begin(&head->order_sequence);
	if (catalogue_get(&head->order_blocks) == 0)
		block_add(writer, 0);
	else
		place = position(writer, slot, &in);
	struct order_block *block = block_at(writer, place);
	if (get(&block->count) == ORDER_BLOCK) {
		struct order_block *second = block_add(writer, place + 1);
		move(second, block, ORDER_BLOCK / 2);
		if (in > ORDER_BLOCK / 2) {
			block = second;
			in -= ORDER_BLOCK / 2;
		}
	}
	open_gap(block->slots, get(&block->count), in, 1);
	set(&block->slots[in], slot);
	set(&block->count, get(&block->count) + 1);
	catalogue_section_end(&head->order_sequence);
}

/* Puts the block at `place` and the one behind it together if they hold so little. */
static void merge(struct catalogue_writer *writer, uint64_t place)
{
	if (place + 1 >= catalogue_get(&writer->map->head.order_blocks))
		return;
	struct order_block *block = block_at(writer, place), *next = block_at(writer, place + 1);
	if (get(&block->count) + get(&next->count) > ORDER_BLOCK / 2)
		return;
	move(block, next, 0);
	block_remove(writer, place + 1);
}

void catalogue_writer_order_remove(struct catalogue_writer *writer, uint32_t slot)
{
	struct catalogue_head *head = &writer->map->head;
	uint64_t in, place = position(writer, slot, &in);
	struct order_block *block = block_at(writer, place);
	uint32_t count = get(&block->count);
	assert(in < count && get(&block->slots[in]) == slot);
	catalogue_section_begin(&head->order_sequence);
	close_gap(block->slots, count, in, 1);
	set(&block->count, count - 1);
	if (count == 1) {
		block_remove(writer, place);
	} else {
		merge(writer, place);
		if (place > 0)
			merge(writer, place - 1);
	}
	catalogue_section_end(&head->order_sequence);
}
