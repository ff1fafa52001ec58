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

static uint64_t list_capacity(const struct list *list, enum list_kind kind)
{
	return list->block == 0 ? 0 : ((uint64_t)1 << list->block_class) / list_words(kind);
}

static catalogue_word *list_at(struct catalogue_writer *writer, const struct list *list, uint64_t index, enum list_kind kind)
{
	return &writer->map->heap[list->block + index * list_words(kind)];
}

/* Inside a section of the topic. */
static void show_list(struct topic_slot *topic, const struct list *list, enum list_kind kind)
{
	struct list_place *place = &topic->lists[kind];

	catalogue_set(&place->block, list->block);
	catalogue_set(&place->first, list->first);
	catalogue_set(&place->count, list->visible - list->first);
}

/* Inside a section of the topic: what readers have copied of its lists is to be copied again. */
static void version_rises(struct topic_slot *topic)
{
	catalogue_set(&topic->list_version, catalogue_get(&topic->list_version) + 1);
}

/* A block with room for `room` elements, all else in the list as it is. */
static enum error list_take(struct catalogue_writer *writer, struct list *list, enum list_kind kind, uint64_t room)
{
	uint32_t block_class = HEAP_CLASS_MIN;
	enum error error;

	while (((uint64_t)1 << block_class) / list_words(kind) < room)
		block_class++;
	if ((error = heap_take(writer, block_class, &list->block)) == ERR_OK)
		list->block_class = block_class;
	return error;
}

static void copy_elements(struct catalogue_writer *writer, const struct list *to, uint64_t to_index, const struct list *from, uint64_t from_index,
                          uint64_t count, enum list_kind kind)
{
	for (uint64_t i = 0; i < count * list_words(kind); i++)
		catalogue_set(list_at(writer, to, to_index, kind) + i, catalogue_get(list_at(writer, from, from_index, kind) + i));
}

/* Moves what is left of the list to a block with room for `room` elements, and frees the old one. */
static enum error list_relocate(struct catalogue_writer *writer, struct topic_slot *topic, struct list *list, enum list_kind kind, uint64_t room)
{
	struct list old = *list, moved = *list;
	enum error error = list_take(writer, &moved, kind, room);

	if (error != ERR_OK)
		return error;
	moved.first = 0;
	moved.end = old.end - old.first;
	moved.visible = old.visible - old.first;
	copy_elements(writer, &moved, 0, &old, old.first, moved.end, kind);
	*list = moved;
	catalogue_section_begin(&topic->sequence);
	show_list(topic, list, kind);
	version_rises(topic);
	catalogue_section_end(&topic->sequence);
	heap_free(writer, old.block, old.block_class);
	return ERR_OK;
}

static enum error list_add(struct catalogue_writer *writer, uint32_t slot, enum list_kind kind, const void *element)
{
	struct list *list;

	assert(slot < writer->slots_used);
	list = &writer->lists[slot].list[kind];
	if (list->end == list_capacity(list, kind)) {
		enum error error = list_relocate(writer, &writer->map->topics[slot], list, kind, (list->end - list->first) * 2 + 1);
		if (error != ERR_OK)
			return error;
	}
	catalogue_store(list_at(writer, list, list->end, kind), element, list_words(kind));
	list->end++;
	return ERR_OK;
}

/* A block that is mostly dropped goes back; not moving it for lack of room harms nobody. */
static void list_shrink(struct catalogue_writer *writer, struct topic_slot *topic, struct list *list, enum list_kind kind)
{
	if (list->block_class > HEAP_CLASS_MIN && (list->end - list->first) * 4 <= list_capacity(list, kind))
		(void)list_relocate(writer, topic, list, kind, (list->end - list->first) * 2 + 1);
}

enum error catalogue_extent_add(struct catalogue_writer *writer, uint32_t slot, const struct extent *extent)
{
	return list_add(writer, slot, LIST_EXTENTS, extent);
}

enum error catalogue_loss_add(struct catalogue_writer *writer, uint32_t slot, const struct loss *loss)
{
	return list_add(writer, slot, LIST_LOSSES, loss);
}

void catalogue_writer_show_lists(struct catalogue_writer *writer, uint32_t slot)
{
	for (enum list_kind kind = 0; kind < LIST_KINDS; kind++) {
		struct list *list = &writer->lists[slot].list[kind];
		list->visible = list->end;
		show_list(&writer->map->topics[slot], list, kind);
	}
}

struct topic_lists catalogue_writer_take_lists(struct catalogue_writer *writer, uint32_t slot)
{
	struct topic_slot *topic = &writer->map->topics[slot];
	struct topic_lists taken = writer->lists[slot];

	memset(&writer->lists[slot], 0, sizeof writer->lists[slot]);
	for (enum list_kind kind = 0; kind < LIST_KINDS; kind++)
		show_list(topic, &writer->lists[slot].list[kind], kind);
	version_rises(topic);
	return taken;
}

void catalogue_writer_free_lists(struct catalogue_writer *writer, const struct topic_lists *lists)
{
	for (enum list_kind kind = 0; kind < LIST_KINDS; kind++)
		heap_free(writer, lists->list[kind].block, lists->list[kind].block_class);
}

/* ---- extents and segments ---- */

static struct extent extent_at(struct catalogue_writer *writer, const struct list *list, uint64_t index)
{
	struct extent extent;

	catalogue_load(&extent, list_at(writer, list, index, LIST_EXTENTS), EXTENT_WORDS);
	return extent;
}

static struct segment segment_at(struct catalogue_writer *writer, const struct list *list, uint64_t index)
{
	struct segment segment;

	catalogue_load(&segment, list_at(writer, list, index, LIST_SEGMENTS), SEGMENT_WORDS);
	return segment;
}

static uint64_t last_seq(struct catalogue_writer *writer, const struct list *list, enum list_kind kind, uint64_t index)
{
	struct extent extent;

	if (kind == LIST_SEGMENTS)
		return segment_at(writer, list, index).last_seq;
	extent = extent_at(writer, list, index);
	return extent.first_seq + extent.count - 1;
}

/* Index of the first element that ends at or after `seq`. */
static uint64_t list_search(struct catalogue_writer *writer, const struct list *list, enum list_kind kind, uint64_t seq)
{
	uint64_t low = list->first, high = list->end;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		if (last_seq(writer, list, kind, middle) < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void list_drop(struct catalogue_writer *writer, uint32_t slot, enum list_kind kind, uint64_t floor)
{
	struct list *list = &writer->lists[slot].list[kind];
	struct topic_slot *topic = &writer->map->topics[slot];
	uint64_t first = floor == UINT64_MAX ? list->end : list_search(writer, list, kind, floor + 1);

	if (first == list->first)
		return;
	list->first = first;
	if (list->visible < first)
		list->visible = first;
	catalogue_section_begin(&topic->sequence);
	show_list(topic, list, kind);
	catalogue_section_end(&topic->sequence);
	list_shrink(writer, topic, list, kind);
}

void catalogue_extents_drop(struct catalogue_writer *writer, uint32_t slot, uint64_t floor)
{
	list_drop(writer, slot, LIST_EXTENTS, floor);
	list_drop(writer, slot, LIST_SEGMENTS, floor);
}

/* Readers see `next` from now on; the block of the list that it takes the place of goes back. */
static void list_switch(struct catalogue_writer *writer, uint32_t slot, enum list_kind kind, const struct list *next)
{
	struct topic_slot *topic = &writer->map->topics[slot];
	struct list *list = &writer->lists[slot].list[kind], old = *list;

	*list = *next;
	catalogue_section_begin(&topic->sequence);
	show_list(topic, list, kind);
	version_rises(topic);
	catalogue_section_end(&topic->sequence);
	heap_free(writer, old.block, old.block_class);
}

enum error catalogue_extents_cut(struct catalogue_writer *writer, uint32_t slot, uint64_t from, uint64_t to)
{
	const struct list *list = &writer->lists[slot].list[LIST_EXTENTS];
	struct list left = {0};
	uint64_t begin = list_search(writer, list, LIST_EXTENTS, from), end = list_search(writer, list, LIST_EXTENTS, to + 1), before;
	enum error error;

	if (begin < end && extent_at(writer, list, begin).first_seq < from)
		begin++;
	if (begin >= end)
		return ERR_OK;
	before = begin - list->first;
	if ((error = list_take(writer, &left, LIST_EXTENTS, before + (list->end - end) + 1)) != ERR_OK)
		return error;
	copy_elements(writer, &left, 0, list, list->first, before, LIST_EXTENTS);
	copy_elements(writer, &left, before, list, end, list->end - end, LIST_EXTENTS);
	left.end = before + (list->end - end);
	left.visible = list->visible >= end ? left.end - (list->end - list->visible) : list->visible > begin ? before : list->visible - list->first;
	list_switch(writer, slot, LIST_EXTENTS, &left);
	return ERR_OK;
}

enum error catalogue_losses_set(struct catalogue_writer *writer, uint32_t slot, const struct loss *losses, uint32_t count)
{
	struct list next = {0};
	enum error error = list_take(writer, &next, LIST_LOSSES, (uint64_t)count + 1);

	if (error != ERR_OK)
		return error;
	for (; next.end < count; next.end++)
		catalogue_store(list_at(writer, &next, next.end, LIST_LOSSES), &losses[next.end], list_words(LIST_LOSSES));
	next.visible = next.end;
	list_switch(writer, slot, LIST_LOSSES, &next);
	return ERR_OK;
}

/* In place, under the sequence counter; whoever copied it before must copy it again, which list_version tells. */
enum error catalogue_move(struct catalogue_writer *writer, uint32_t slot, uint64_t seq, uint32_t file, uint64_t offset)
{
	struct list *list = &writer->lists[slot].list[LIST_EXTENTS];
	struct topic_slot *topic = &writer->map->topics[slot];
	uint64_t at = list_search(writer, list, LIST_EXTENTS, seq);
	struct extent extent;

	if (at == list->end)
		return ERR_NOT_FOUND;
	extent = extent_at(writer, list, at);
	if (extent.first_seq > seq)
		return ERR_NOT_FOUND;
	extent.file = file;
	extent.offset = offset;
	catalogue_section_begin(&topic->sequence);
	version_rises(topic);
	atomic_thread_fence(memory_order_release);
	catalogue_store(list_at(writer, list, at, LIST_EXTENTS), &extent, EXTENT_WORDS);
	catalogue_section_end(&topic->sequence);
	return ERR_OK;
}

enum error catalogue_segment_add(struct catalogue_writer *writer, uint32_t slot, const struct segment *segment)
{
	const struct list *list = &writer->lists[slot].list[LIST_SEGMENTS];

	if (list->end > list->first && segment_at(writer, list, list->end - 1).last_seq >= segment->first_seq)
		return ERR_RANGE;
	return list_add(writer, slot, LIST_SEGMENTS, segment);
}

/*
 * What `sealed` will be: the list of extents without those of the file. They are its first ones, unless the topic has been ephemeral meanwhile; what readers may be copying is not
 * changed, so then the others go to a new block. No extent behind the segment's last seq lies in the file.
 */
static enum error without_file(struct catalogue_writer *writer, const struct list *list, const struct segment *segment, struct list *sealed)
{
	uint64_t end = list_search(writer, list, LIST_EXTENTS, segment->last_seq + 1), kept = 0;
	enum error error;

	assert(list->visible >= end); /* only what was published is sealed */
	*sealed = *list;
	for (uint64_t i = list->first; i < end; i++)
		kept += extent_at(writer, list, i).file != segment->file;
	if (kept == 0) {
		sealed->first = end;
		return ERR_OK;
	}
	if (kept == end - list->first)
		return ERR_OK;
	if ((error = list_take(writer, sealed, LIST_EXTENTS, kept + (list->end - end) + 1)) != ERR_OK)
		return error;
	sealed->first = 0;
	sealed->end = 0;
	for (uint64_t i = list->first; i < end; i++)
		if (extent_at(writer, list, i).file != segment->file)
			copy_elements(writer, sealed, sealed->end++, list, i, 1, LIST_EXTENTS);
	copy_elements(writer, sealed, sealed->end, list, end, list->end - end, LIST_EXTENTS);
	sealed->visible = sealed->end + (list->visible - end);
	sealed->end += list->end - end;
	return ERR_OK;
}

enum error catalogue_seal(struct catalogue_writer *writer, uint32_t slot, const struct segment *segment)
{
	struct list *extents = &writer->lists[slot].list[LIST_EXTENTS], *segments = &writer->lists[slot].list[LIST_SEGMENTS];
	struct topic_slot *topic = &writer->map->topics[slot];
	struct list old = *extents, sealed = *extents;
	enum error error = catalogue_segment_add(writer, slot, segment);

	if (error != ERR_OK)
		return error;
	if ((error = without_file(writer, &old, segment, &sealed)) != ERR_OK) {
		segments->end--;
		return error;
	}
	*extents = sealed;
	segments->visible = segments->end;
	catalogue_section_begin(&topic->sequence);
	show_list(topic, extents, LIST_EXTENTS);
	show_list(topic, segments, LIST_SEGMENTS);
	version_rises(topic);
	catalogue_section_end(&topic->sequence);
	if (old.block != sealed.block)
		heap_free(writer, old.block, old.block_class);
	list_shrink(writer, topic, extents, LIST_EXTENTS);
	return ERR_OK;
}
