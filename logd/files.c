/* What the two logs tell the engine about their files: where frames lie now, and which are gone. */
#include <assert.h>
#include <stdlib.h>

#include "logd/engine_internal.h"

static const struct known_file *known(const struct engine *engine, uint64_t file_id)
{
	for (uint32_t i = engine->file_count; i > 0; i--)
		if (engine->files[i - 1].id == file_id)
			return &engine->files[i - 1];
	return NULL;
}

bool file_known(const struct engine *engine, uint64_t file_id)
{
	return known(engine, file_id) != NULL;
}

uint32_t file_index(const struct engine *engine, uint64_t file_id)
{
	const struct known_file *file = known(engine, file_id);
	assert(file != NULL); /* the log tells of each file before a frame lies in it */
	return file->index;
}

static void remember(struct engine *engine, uint64_t file_id, uint64_t number, uint64_t first_lsn, uint32_t kind)
{
	uint32_t index;
	if (!provide_files(engine) && engine->file_count == engine->file_room) {
		assert(!engine->recovered); /* provided before any request was taken */
		engine->files_untold = true;
		return;
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
	key_filter_forget(((struct engine *)context)->key_filter, file_id);
	forget(context, file_id, 'w');
}

static void ephemeral_born(void *context, uint64_t file_id, uint64_t number, uint64_t first_lsn)
{
	remember(context, file_id, number, first_lsn, 'e');
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

/* ---- the ephemeral log is past its bound: its oldest file goes, and readers are told (`cap`) ---- */

static void lessen(uint64_t *number, uint64_t by)
{
	*number -= by < *number ? by : *number;
}

static void count_off(struct topic *topic, uint64_t count, uint64_t bytes)
{
	lessen(&topic->numbers.count, count);
	lessen(&topic->numbers.bytes, bytes);
	lessen(&topic->count, count);
	lessen(&topic->bytes, bytes);
}

/* Records of another class that stand before `from` and stay. */
static bool others_before(const struct topic *topic, uint64_t from)
{
	uint64_t earliest = topic->numbers.earliest;
	if (topic->numbers.count == 0 || earliest >= from)
		return false;
	return from - earliest > topic_lost_count(topic, earliest, from - 1) + topic_stray_count(topic, earliest, from - 1);
}

/* A loss that goes on where one ends is the same one: a topic has as many as there are gaps between what stays, however long it lives. */
static enum error add_cap(struct topic *topic, uint64_t from, uint64_t to)
{
	for (uint32_t i = 0; i < topic->loss_count; i++) {
		struct loss *loss = &topic->losses[i];
		if (loss->reason != REASON_CAP || loss->to + 1 != from)
			continue;
		loss->to = to;
		return ERR_OK;
	}
	return topic_add_loss(topic, &(struct loss){ .from = from, .to = to, .reason = REASON_CAP });
}

/* Between records that stay. Without memory to say so the log process ends: a start finds the records where they are and does this again. */
static void lose_in_the_middle(struct engine *engine, struct topic *topic, uint64_t from, uint64_t to)
{
	struct catalogue_writer *catalogue = engine->options.catalogue;
	if (add_cap(topic, from, to) != ERR_OK || catalogue_losses_set(catalogue, topic->slot, topic->losses, topic->loss_count) != ERR_OK)
		abort();
	catalogue_topic_numbers(catalogue, topic->slot, &topic->numbers);
	(void)catalogue_extents_cut(catalogue, topic->slot, from, to);
}

void records_evicted(struct engine *engine, struct topic *topic, uint64_t from, uint64_t to)
{
	struct topic_numbers *numbers = &topic->numbers;
	bool middle = others_before(topic, from);
	uint64_t first = middle ? topic_stray_before(topic, from) : 1, strays, payload = topic_drop_strays(topic, first, to, &strays);
	count_off(topic, strays, payload);
	if (middle) {
		lose_in_the_middle(engine, topic, first, to);
		return;
	}
	numbers->floor = to;
	numbers->floor_reason = REASON_CAP;
	numbers->earliest = numbers->count > 0 ? topic_skip_losses(topic, to + 1) : numbers->head + 1;
	catalogue_topic_numbers(engine->options.catalogue, topic->slot, numbers);
	catalogue_extents_drop(engine->options.catalogue, topic->slot, to);
	feed_put(engine->options.feed, &(struct feed_entry){ .topic = topic->id, .value = to, .event = FEED_FLOOR, .slot = topic->slot });
}

/* What has gathered goes, once a file and topic, however many frames that was. */
static void apply_evicted(struct engine *engine, struct topic *topic)
{
	struct loss gone = topic->evicted;
	/* A file goes when a new one begins, and that waits until all that was gathered is written: no undo holds numbers from before (log_room, take_append). */
	assert(topic->touched_group != engine->group);
	count_off(topic, topic->evicted_count, topic->evicted_bytes);
	topic->evicted = (struct loss){ 0 };
	topic->evicted_count = topic->evicted_bytes = 0;
	if (topic->shown)
		records_evicted(engine, topic, gone.from, gone.to);
}

static void evict_batch(struct engine *engine, struct topic *topic, const struct entry *entry, const void *context)
{
	uint64_t first = entry->batch.first_seq, last = first + entry->batch.count - 1;
	(void)context;
	/* Not published yet: publish_batch finds its file gone. */
	if (last <= topic->numbers.floor || last > topic->numbers.head || last <= topic->evicted.to || topic_seq_lost(topic, first))
		return;
	uint64_t to = topic->evicted.to;
	if (to == 0) {
		topic->next_evicted = engine->evicted;
		engine->evicted = topic;
	} else if (first - to - 1 != topic_stray_count(topic, to + 1, first - 1)) {
		apply_evicted(engine, topic); /* between the two lies what stays */
	}
	if (topic->evicted.to == 0)
		topic->evicted.from = first;
	topic->evicted.to = last;
	topic->evicted_count += entry->batch.count;
	topic->evicted_bytes += entry->batch.payload;
}

static void ephemeral_evicted(void *context, const uint8_t *frame)
{
	each_batch(context, frame, evict_batch, NULL);
}

static void ephemeral_retired(void *context, uint64_t file_id)
{
	struct engine *engine = context;
	while (engine->evicted != NULL) {
		struct topic *topic = engine->evicted;
		engine->evicted = topic->next_evicted;
		apply_evicted(engine, topic);
	}
	forget(engine, file_id, 'e');
}

struct log_events file_events(struct engine *engine, bool ephemeral)
{
	if (ephemeral)
		return (struct log_events){ .context = engine, .born = ephemeral_born, .retired = ephemeral_retired, .evicted = ephemeral_evicted };
	return (struct log_events){ .context = engine, .born = disk_born, .retired = disk_retired, .moved = disk_moved };
}
