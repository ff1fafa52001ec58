#include "common/catalogue_writer.h"

#include <assert.h>
#include <string.h>

/* ---- heap: blocks of powers of two, freed ones on a list per class; a block is never split or joined ---- */

void catalogue_writer_heap_init(struct catalogue_writer *writer)
{
	writer->heap_end = 1 << HEAP_CLASS_MIN; /* offset 0 means no block */
}

static enum error heap_take(struct catalogue_writer *writer, uint32_t block_class, uint64_t *block)
{
	uint64_t words = (uint64_t)1 << block_class;

	if (block_class >= HEAP_CLASSES)
		return ERR_NOMEM;
	if (writer->heap_free[block_class] != 0) {
		*block = writer->heap_free[block_class];
		writer->heap_free[block_class] = catalogue_get(&writer->map->heap[*block]);
	} else {
		if (words > CATALOGUE_HEAP_WORDS - writer->heap_end)
			return ERR_NOMEM;
		*block = writer->heap_end;
		writer->heap_end += words;
	}
	/* A reader that sees a word written from here on sees after its fence that its list's version has risen. */
	atomic_thread_fence(memory_order_release);
	return ERR_OK;
}

/* Only after list_version of the topic that had it has risen. */
static void heap_free(struct catalogue_writer *writer, uint64_t block, uint32_t block_class)
{
	if (block == 0)
		return;
	atomic_thread_fence(memory_order_release);
	catalogue_set(&writer->map->heap[block], writer->heap_free[block_class]);
	writer->heap_free[block_class] = block;
}

/* ---- lists ---- */

static uint64_t list_capacity(const struct list *list, uint64_t words)
{
	return list->block == 0 ? 0 : ((uint64_t)1 << list->block_class) / words;
}

static catalogue_word *list_at(struct catalogue_writer *writer, const struct list *list, uint64_t index, uint64_t words)
{
	return &writer->map->heap[list->block + index * words];
}

/* Inside a section of the topic. */
static void show_list(struct topic_slot *topic, const struct list *list, bool extents)
{
	catalogue_set(extents ? &topic->extents_block : &topic->losses_block, list->block);
	catalogue_set(extents ? &topic->extents_count : &topic->losses_count, list->visible - list->first);
	if (extents)
		catalogue_set(&topic->extents_first, list->first);
}

/* Moves what is left of the list to a block with room for `room` elements, and frees the old one. */
static enum error list_relocate(struct catalogue_writer *writer, struct topic_slot *topic, struct list *list, uint64_t words, uint64_t room)
{
	bool extents = words == EXTENT_WORDS;
	struct list old = *list;
	uint32_t block_class = HEAP_CLASS_MIN;
	uint64_t left = list->end - list->first;
	enum error error;

	while (((uint64_t)1 << block_class) / words < room)
		block_class++;
	if ((error = heap_take(writer, block_class, &list->block)) != ERR_OK) {
		*list = old;
		return error;
	}
	list->block_class = block_class;
	list->first = 0;
	list->end = left;
	list->visible = old.visible - old.first;
	for (uint64_t i = 0; i < left * words; i++)
		catalogue_set(list_at(writer, list, 0, words) + i, catalogue_get(list_at(writer, &old, old.first, words) + i));
	catalogue_section_begin(&topic->sequence);
	show_list(topic, list, extents);
	catalogue_set(&topic->list_version, catalogue_get(&topic->list_version) + 1);
	catalogue_section_end(&topic->sequence);
	heap_free(writer, old.block, old.block_class);
	return ERR_OK;
}

static enum error list_add(struct catalogue_writer *writer, uint32_t slot, struct list *list, const void *element, uint64_t words)
{
	if (list->end == list_capacity(list, words)) {
		enum error error = list_relocate(writer, &writer->map->topics[slot], list, words, (list->end - list->first) * 2 + 1);
		if (error != ERR_OK)
			return error;
	}
	catalogue_store(list_at(writer, list, list->end, words), element, words);
	list->end++;
	return ERR_OK;
}

enum error catalogue_extent_add(struct catalogue_writer *writer, uint32_t slot, const struct extent *extent)
{
	assert(slot < writer->slots_used);
	return list_add(writer, slot, &writer->lists[slot].extents, extent, EXTENT_WORDS);
}

enum error catalogue_loss_add(struct catalogue_writer *writer, uint32_t slot, const struct loss *loss)
{
	assert(slot < writer->slots_used);
	return list_add(writer, slot, &writer->lists[slot].losses, loss, LOSS_WORDS);
}

void catalogue_writer_show_lists(struct catalogue_writer *writer, uint32_t slot)
{
	struct topic_slot *topic = &writer->map->topics[slot];
	struct topic_lists *lists = &writer->lists[slot];

	lists->extents.visible = lists->extents.end;
	lists->losses.visible = lists->losses.end;
	show_list(topic, &lists->extents, true);
	show_list(topic, &lists->losses, false);
}

struct topic_lists catalogue_writer_take_lists(struct catalogue_writer *writer, uint32_t slot)
{
	struct topic_slot *topic = &writer->map->topics[slot];
	struct topic_lists taken = writer->lists[slot];

	memset(&writer->lists[slot], 0, sizeof writer->lists[slot]);
	show_list(topic, &writer->lists[slot].extents, true);
	show_list(topic, &writer->lists[slot].losses, false);
	catalogue_set(&topic->list_version, catalogue_get(&topic->list_version) + 1);
	return taken;
}

void catalogue_writer_free_lists(struct catalogue_writer *writer, const struct topic_lists *lists)
{
	heap_free(writer, lists->extents.block, lists->extents.block_class);
	heap_free(writer, lists->losses.block, lists->losses.block_class);
}

/* ---- extents ---- */

static uint64_t extent_last(struct catalogue_writer *writer, const struct list *list, uint64_t index)
{
	struct extent extent;

	catalogue_load(&extent, list_at(writer, list, index, EXTENT_WORDS), EXTENT_WORDS);
	return extent.first_seq + extent.count - 1;
}

/* Index of the first extent that ends at or after `seq`. */
static uint64_t extent_search(struct catalogue_writer *writer, const struct list *list, uint64_t seq)
{
	uint64_t low = list->first, high = list->end;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		if (extent_last(writer, list, middle) < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void catalogue_extents_drop(struct catalogue_writer *writer, uint32_t slot, uint64_t floor)
{
	struct list *list = &writer->lists[slot].extents;
	struct topic_slot *topic = &writer->map->topics[slot];
	uint64_t first = floor == UINT64_MAX ? list->end : extent_search(writer, list, floor + 1);

	if (first == list->first)
		return;
	list->first = first;
	if (list->visible < first)
		list->visible = first;
	catalogue_section_begin(&topic->sequence);
	show_list(topic, list, true);
	catalogue_section_end(&topic->sequence);
	/* A block that is mostly dropped goes back; not moving it for lack of room harms nobody. */
	if (list->block_class > HEAP_CLASS_MIN && (list->end - first) * 4 <= list_capacity(list, EXTENT_WORDS))
		(void)list_relocate(writer, topic, list, EXTENT_WORDS, (list->end - first) * 2 + 1);
}

/* In place, under the sequence counter; whoever copied it before must copy it again, which list_version tells. */
enum error catalogue_move(struct catalogue_writer *writer, uint32_t slot, uint64_t seq, uint32_t file, uint64_t offset)
{
	struct list *list = &writer->lists[slot].extents;
	struct topic_slot *topic = &writer->map->topics[slot];
	uint64_t at = extent_search(writer, list, seq);
	catalogue_word *element;
	struct extent extent;

	if (at == list->end)
		return ERR_NOT_FOUND;
	element = list_at(writer, list, at, EXTENT_WORDS);
	catalogue_load(&extent, element, EXTENT_WORDS);
	if (extent.first_seq > seq)
		return ERR_NOT_FOUND;
	extent.file = file;
	extent.offset = offset;
	catalogue_section_begin(&topic->sequence);
	catalogue_set(&topic->list_version, catalogue_get(&topic->list_version) + 1);
	atomic_thread_fence(memory_order_release);
	catalogue_store(element, &extent, EXTENT_WORDS);
	catalogue_section_end(&topic->sequence);
	return ERR_OK;
}
