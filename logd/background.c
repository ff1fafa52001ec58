/*
 * What is done beside the requests, a slice at a time, so that none of them waits for long: files that are left get sealed, and their topics' extents in the
 * catalogue become segments; checkpoints. At a clean stop the last checkpoint is written in one go.
 *
 *   log_seal_start ──job──▶ background_sealed ──▶ *file sealed* entry, topics switched ──▶ the next file
 */
#include <stdlib.h>
#include <string.h>

#include "logd/engine_internal.h"

enum {
	SWITCH_AT_ONCE = 256,
	KEYS_AT_ONCE = 4096,
	SLICE_BYTES = 64 << 10,
	TOPIC_STATE_MOST = 1024,
	LOSS_BYTES = 48,
};

/* Nothing gathers: what the topics say stands in frames that are appended, and entries may be. */
static bool at_rest(const struct engine *engine)
{
	return log_state(engine->disk) == LOG_OPEN && !gathers(engine->disk) && !gathers(engine->ephemeral);
}

/* ---- sealed files ---- */

/* Every frame of the disk log that ends at or before it is published. */
static uint64_t published(const struct engine *engine)
{
	for (const struct pending *pending = engine->unpublished_first; pending != NULL; pending = pending->next)
		if (!pending->ephemeral)
			return pending->end - 1;
	return UINT64_MAX;
}

/* The file's keys are in the filter from here on, one after the other; those that are not yet are still in memory. */
static void keys_move_begin(struct engine *engine)
{
	struct seal_job *job = &engine->switching;
	const struct key_file file = { .id = job->id, .first_lsn = job->first_lsn, .keys = job->key_count, .newest_ts = job->newest_ts };
	engine->key_moves++;
	/* Without memory for the filter they stay where they are. */
	if (job->key_count == 0 || key_filter_file(engine->key_filter, &file) != ERR_OK)
		engine->keys_switched = job->key_count;
}

static void move_key(struct engine *engine, const struct sealed_key *key)
{
	const struct seal_job *job = &engine->switching;
	const struct key_entry *entry = keys_find(engine->keys, key->topic, key->hash);
	key_filter_add(engine->key_filter, key->hash);
	if (entry != NULL && entry->lsn >= job->first_lsn && entry->lsn < job->end_lsn)
		keys_remove(engine->keys, key->topic, key->hash);
}

void background_sealed(struct engine *engine, struct seal_job *job)
{
	log_sealed(engine->disk, job);
	if (job->topics == NULL)
		return;
	engine->switching = *job;
	engine->switched = engine->keys_switched = 0;
	keys_move_begin(engine);
}

/* What cannot be switched, for lack of room or because a file before it was sealed only now, stays as it is: readers find both. */
static void switch_topic(struct engine *engine, const struct footer_topic *sealed)
{
	const struct topic *topic = topic_table_by_id(engine->topics, sealed->topic);
	const struct segment segment = {
		.first_seq = sealed->first_seq,
		.last_seq = sealed->last_seq,
		.extents_offset = engine->switching.extents_offset + (uint64_t)sealed->extent * FOOTER_EXTENT,
		.live = sealed->live,
		.payload = sealed->payload,
		.extents = sealed->extents,
		.file = file_index(engine, engine->switching.id),
	};
	if (topic == NULL || !topic->shown || sealed->last_seq <= topic->numbers.floor)
		return;
	(void)catalogue_seal(engine->options.catalogue, topic->slot, &segment);
}

static bool switch_topics(struct engine *engine)
{
	struct seal_job *job = &engine->switching;
	if (job->topics == NULL)
		return false;
	if (!file_known(engine, job->id)) {
		engine->switched = job->topic_count;
		engine->keys_switched = job->key_count;
	}
	for (unsigned i = 0; i < KEYS_AT_ONCE && engine->keys_switched < job->key_count; i++)
		move_key(engine, &job->keys[engine->keys_switched++]);
	for (unsigned i = 0; i < SWITCH_AT_ONCE && engine->switched < job->topic_count; i++)
		switch_topic(engine, &job->topics[engine->switched++]);
	if (engine->switched < job->topic_count || engine->keys_switched < job->key_count)
		return true;
	free(job->topics);
	free(job->keys);
	job->topics = NULL;
	job->keys = NULL;
	return false;
}

static void note_sealed(struct engine *engine)
{
	struct entry entry;
	struct log_place place;
	if (!at_rest(engine) || !log_sealed_entry(engine->disk, &entry))
		return;
	engine->ops->failpoint(engine->ops->world, "seal-before-entry");
	if (append_entries(engine, engine->disk, true, &entry, 1, 0, 0, &place) != ERR_OK)
		return;
	log_sealed_noted(engine->disk, entry.file.id);
	write_group(engine);
}

/* ---- checkpoints ---- */

static bool slice_room(struct engine *engine, size_t used, size_t more)
{
	if (used + more <= engine->slice_room)
		return true;
	uint8_t *bigger = realloc(engine->slice, used + more + SLICE_BYTES);
	if (bigger == NULL)
		return false;
	engine->slice = bigger;
	engine->slice_room = used + more + SLICE_BYTES;
	return true;
}

static uint32_t put_state(uint8_t *out, const struct topic *topic)
{
	uint8_t config[TOPIC_CONFIG_MAX];
	struct entry entry = { .type = ENTRY_TOPIC_STATE, .topic = topic->id };
	entry.state.head = topic->head;
	entry.state.ceiling = topic->ceiling;
	entry.state.floor = topic->numbers.floor;
	entry.state.floor_reason = topic->numbers.floor_reason;
	entry.state.live = topic->numbers.count;
	entry.state.live_bytes = topic->numbers.bytes;
	entry.state.last_write_ts = topic->numbers.last_write_ts;
	entry.state.name = (const uint8_t *)topic->name;
	entry.state.name_length = topic->name_length;
	entry.state.config = config;
	entry.state.config_length = (uint32_t)topic_config_encode(&topic->config, config);
	entry.state.flags = topic->open ? 0 : ENTRY_CLOSED;
	if (topic->was_ephemeral || topic->config.durability == DURABILITY_EPHEMERAL)
		entry.state.flags |= ENTRY_WAS_EPHEMERAL;
	return entry_encode(&entry, out);
}

static uint32_t put_loss(uint8_t *out, const struct topic *topic, const struct loss *loss)
{
	struct entry entry = { .type = ENTRY_LOSS, .topic = topic->id };
	entry.loss.from = loss->from;
	entry.loss.to = loss->to;
	entry.loss.reason = loss->reason;
	entry.loss.flags = loss->flags;
	return entry_encode(&entry, out);
}

/* One frame: topics until it is full, each whole. *last: there are no more. */
static enum error write_slice(struct engine *engine, bool *last)
{
	struct topic *topic = NULL;
	size_t used = 0;
	uint32_t count = 0;
	while (used < SLICE_BYTES && (topic = topic_table_walk_next(engine->topics)) != NULL) {
		if (topic->state == TOPIC_DELETING)
			continue;
		if (!slice_room(engine, used, TOPIC_STATE_MOST + (size_t)topic->loss_count * LOSS_BYTES))
			return ERR_NOMEM;
		used += put_state(engine->slice + used, topic);
		for (uint32_t i = 0; i < topic->loss_count; i++)
			used += put_loss(engine->slice + used, topic, &topic->losses[i]);
		count += 1 + topic->loss_count;
	}
	*last = topic == NULL;
	return count == 0 ? ERR_OK : log_checkpoint_frame(engine->disk, engine->slice, (uint32_t)used, count);
}

static void give_up(struct engine *engine)
{
	log_checkpoint_abandon(engine->disk);
	engine->slicing = false;
}

/* True: the next slice may be written at once. */
static bool checkpoint_step(struct engine *engine)
{
	bool last = false;
	if (engine->slicing) {
		if (!at_rest(engine))
			return false;
		enum error error = write_slice(engine, &last);
		if (error == ERR_OK && last) {
			error = log_checkpoint_close(engine->disk);
			engine->slicing = false;
			engine->sync_wanted = true;
		}
		if (error != ERR_OK)
			give_up(engine);
		return error == ERR_OK && !last;
	}
	if (log_checkpoint_covered(engine->disk) && !log_checkpoint_finishing(engine->disk)) {
		if (log_checkpoint_finish(engine->disk) != ERR_OK)
			give_up(engine);
		return false;
	}
	if (!log_checkpoint_due(engine->disk) || !at_rest(engine) || log_checkpoint_start(engine->disk) != ERR_OK)
		return false;
	topic_table_walk_begin(engine->topics);
	engine->slicing = true;
	return true;
}

/* ---- ---- */

bool background(struct engine *engine)
{
	bool more = switch_topics(engine);
	note_sealed(engine);
	if (!more && !log_sealing(engine->disk))
		log_seal_start(engine->disk, published(engine));
	return checkpoint_step(engine) || more;
}

enum error engine_stop(struct engine *engine)
{
	bool last = false;
	if (log_state(engine->disk) == LOG_READ_ONLY)
		return ERR_READ_ONLY;
	if (engine->full_start)
		return ERR_STORAGE_FULL;
	engine->slicing = false;
	enum error error = log_checkpoint_begin(engine->disk);
	topic_table_walk_begin(engine->topics);
	while (error == ERR_OK && !last)
		error = write_slice(engine, &last);
	if (error != ERR_OK) {
		log_checkpoint_abandon(engine->disk);
		return error;
	}
	engine->ops->failpoint(engine->ops->world, "checkpoint-before-end");
	error = log_checkpoint_end(engine->disk);
	engine->ops->failpoint(engine->ops->world, "stop-before-mark");
	return error != ERR_OK ? error : log_close_clean(engine->disk);
}
