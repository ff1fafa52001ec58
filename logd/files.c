/* What the two logs tell the engine about their files: where frames lie now, and which are gone. */
#include <stdlib.h>
#include <string.h>

#include "logd/engine_internal.h"

uint32_t file_index(struct engine *engine, uint64_t file_id)
{
	for (uint32_t i = engine->file_count; i > 0; i--)
		if (engine->files[i - 1].id == file_id)
			return engine->files[i - 1].index;
	abort(); /* the log tells of each file before a frame lies in it */
}

static void remember(struct engine *engine, uint64_t file_id, uint64_t number, uint64_t first_lsn, uint32_t kind)
{
	uint32_t index;
	if (engine->file_count == engine->file_room) {
		uint32_t room = engine->file_room ? engine->file_room * 2 : 64;
		struct known_file *more = realloc(engine->files, room * sizeof *more);
		if (more == NULL)
			abort();
		engine->files = more;
		engine->file_room = room;
	}
	if (catalogue_file_add(engine->options.catalogue, file_id, number, first_lsn, kind, &index) != ERR_OK)
		abort(); /* 65,536 files of the log are there: nothing can be shown to readers any more */
	engine->files[engine->file_count++] = (struct known_file){ file_id, index };
	engine->options.host.file_born(engine->options.host.context, file_id, kind);
}

static void forget(struct engine *engine, uint64_t file_id, uint32_t kind)
{
	for (uint32_t i = 0; i < engine->file_count; i++) {
		if (engine->files[i].id != file_id)
			continue;
		catalogue_file_remove(engine->options.catalogue, engine->files[i].index);
		engine->files[i] = engine->files[--engine->file_count];
		break;
	}
	feed_put(engine->options.feed, &(struct feed_entry){ .topic = file_id, .event = FEED_FILE_RETIRED });
	engine->options.host.file_retired(engine->options.host.context, file_id, kind);
}

static void disk_born(void *context, uint64_t file_id, uint64_t number, uint64_t first_lsn)
{
	struct engine *engine = context;
	if (number > 0)
		atomic_fetch_add_explicit(&engine->options.status->rotations_total, 1, memory_order_relaxed);
	remember(engine, file_id, number, first_lsn, 'w');
}

static void disk_retired(void *context, uint64_t file_id)
{
	forget(context, file_id, 'w');
}

static void ephemeral_born(void *context, uint64_t file_id, uint64_t number, uint64_t first_lsn)
{
	remember(context, file_id, number, first_lsn, 'e');
}

static void ephemeral_retired(void *context, uint64_t file_id)
{
	forget(context, file_id, 'e');
}

/* Calls `each` for every batch of a frame that has been checked. */
static void each_batch(struct engine *engine, const uint8_t *frame, void (*each)(struct engine *, struct topic *, const struct entry *, const void *),
                       const void *context)
{
	struct frame_head head;
	uint32_t at = FRAME_HEAD;
	if (frame_head_decode(&head, frame, get_u32(frame + 8)) != ERR_OK)
		return;
	for (uint32_t i = 0; i < head.entry_count; i++) {
		struct entry entry;
		if (entry_decode(&entry, frame + at, FRAME_HEAD + head.entries_length - at) != ERR_OK)
			return;
		struct topic *topic = entry.type == ENTRY_BATCH ? topic_table_by_id(engine->topics, entry.topic) : NULL;
		if (topic != NULL)
			each(engine, topic, &entry, context);
		at += entry.length;
	}
}

static void move_batch(struct engine *engine, struct topic *topic, const struct entry *entry, const void *context)
{
	const struct log_place *place = context;
	if (topic->shown && entry->batch.first_seq <= topic->numbers.head)
		catalogue_move(engine->options.catalogue, topic->slot, entry->batch.first_seq, file_index(engine, place->file_id), place->offset);
}

/* A failed sync has moved a frame: published extents point there from now on, and frames that wait will be published from there (I-4). */
static void disk_moved(void *context, const uint8_t *frame, const struct log_place *place)
{
	struct engine *engine = context;
	each_batch(engine, frame, move_batch, place);
	for (struct pending *pending = engine->unpublished_first; pending != NULL; pending = pending->next) {
		if (pending->ephemeral || pending->end != place->lsn + place->length)
			continue;
		pending->file_id = place->file_id;
		pending->extent.offset = place->offset;
	}
}

/* The ephemeral log is past its bound: its oldest records go, and readers are told (`cap`). */
static void evict_batch(struct engine *engine, struct topic *topic, const struct entry *entry, const void *context)
{
	struct topic_numbers *numbers = &topic->numbers;
	uint64_t last = entry->batch.first_seq + entry->batch.count - 1;
	(void)context;
	if (last <= numbers->floor || last > numbers->head)
		return;
	numbers->floor = last;
	numbers->floor_reason = REASON_CAP;
	numbers->count -= entry->batch.count < numbers->count ? entry->batch.count : numbers->count;
	numbers->bytes -= entry->batch.payload < numbers->bytes ? entry->batch.payload : numbers->bytes;
	topic->count -= entry->batch.count < topic->count ? entry->batch.count : topic->count;
	topic->bytes -= entry->batch.payload < topic->bytes ? entry->batch.payload : topic->bytes;
	numbers->earliest = numbers->count > 0 ? last + 1 : numbers->head + 1;
	if (!topic->shown)
		return;
	catalogue_topic_numbers(engine->options.catalogue, topic->slot, numbers);
	catalogue_extents_drop(engine->options.catalogue, topic->slot, last);
	feed_put(engine->options.feed, &(struct feed_entry){ .topic = topic->id, .value = last, .event = FEED_FLOOR, .slot = topic->slot });
}

static void ephemeral_evicted(void *context, const uint8_t *frame)
{
	each_batch(context, frame, evict_batch, NULL);
}

struct log_events file_events(struct engine *engine, bool ephemeral)
{
	if (ephemeral)
		return (struct log_events){ .context = engine, .born = ephemeral_born, .retired = ephemeral_retired, .evicted = ephemeral_evicted };
	return (struct log_events){ .context = engine, .born = disk_born, .retired = disk_retired, .moved = disk_moved };
}
