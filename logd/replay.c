/* What the log says, entry by entry, at a start. Nobody reads the new catalogue yet, so it is filled on the way. */
#include <stdlib.h>
#include <string.h>

#include "logd/engine_internal.h"

/* Room for one more element; the arrays double. */
static enum error room_for(void **array, size_t count, size_t *room, size_t size)
{
	if (count < *room)
		return ERR_OK;
	size_t more = *room ? *room * 2 : 64;
	void *bigger = realloc(*array, more * size);
	if (bigger == NULL)
		return ERR_NOMEM;
	*array = bigger;
	*room = more;
	return ERR_OK;
}

enum reason damage_reason(const struct recovery *r, const struct topic *topic)
{
	return r->unread > topic->damage ? REASON_IO_ERROR : REASON_CORRUPT;
}

enum error note_gap(struct recovery *r, struct topic *topic, uint64_t to, bool proven, enum reason reason)
{
	if (topic->seen >= to)
		return ERR_OK;
	enum error error = room_for((void **)&r->gaps, r->gap_count, &r->gap_room, sizeof *r->gaps);
	if (error != ERR_OK)
		return error;
	r->gaps[r->gap_count++] = (struct gap){ .topic = topic, .from = topic->seen + 1, .to = to, .proven = proven,
	                                       .reason = reason };
	topic->seen = to;
	return ERR_OK;
}

/* Runs of a sealed file that follow each other without a gap are one, however many batches they were. */
static bool goes_on(const struct found_extent *last, const struct found_extent *found)
{
	return last->sealed && found->sealed && last->topic == found->topic && last->ephemeral == found->ephemeral && last->extent.file == found->extent.file &&
	       last->extent.first_seq + last->count == found->extent.first_seq;
}

enum error note_found(struct recovery *r, const struct found_extent *found)
{
	struct found_extent *last = r->found_count > 0 ? &r->found[r->found_count - 1] : NULL;
	if (last != NULL && goes_on(last, found)) {
		last->count += found->count;
		last->extent.payload += found->extent.payload;
		return ERR_OK;
	}
	enum error error = room_for((void **)&r->found, r->found_count, &r->found_room, sizeof *r->found);
	if (error == ERR_OK)
		r->found[r->found_count++] = *found;
	return error;
}

enum error note_orphan(struct recovery *r, uint64_t topic)
{
	for (size_t i = 0; i < r->orphan_count; i++)
		if (r->orphans[i] == topic)
			return ERR_OK;
	enum error error = room_for((void **)&r->orphans, r->orphan_count, &r->orphan_room, sizeof *r->orphans);
	if (error == ERR_OK)
		r->orphans[r->orphan_count++] = topic;
	return error;
}

/* What the checkpoint holds of this topic, or of a topic that it does not hold and that therefore was gone. LSNs of the ephemeral log are its own. */
bool before_state(const struct recovery *r, uint64_t lsn, bool before_checkpoint, const struct topic *topic)
{
	return before_checkpoint || (!r->ephemeral && topic != NULL && lsn < topic->state_lsn);
}

static void forget_orphan(struct recovery *r, uint64_t topic)
{
	for (size_t i = 0; i < r->orphan_count; i++)
		if (r->orphans[i] == topic)
			r->orphans[i] = r->orphans[--r->orphan_count];
}

static void replay_delete(struct recovery *r, struct topic *topic)
{
	size_t left = 0;
	for (size_t i = 0; i < r->gap_count; i++)
		if (r->gaps[i].topic != topic)
			r->gaps[left++] = r->gaps[i];
	r->gap_count = left;
	catalogue_topic_remove(r->engine->options.catalogue, topic->slot);
	topic_table_remove(r->engine->topics, topic);
	topic_free(&topic);
}

/* A topic that the log names for the first time: linked, and in the catalogue. One that still bears its name was deleted by a frame that damage took. */
static enum error introduce(struct recovery *r, uint64_t id, const uint8_t *name, uint32_t length, const uint8_t *bytes, uint32_t config_length,
                            struct topic **out)
{
	struct engine *engine = r->engine;
	struct topic_config config;
	enum error error = topic_config_decode(&config, bytes, config_length);
	if (error != ERR_OK)
		return error;
	struct topic *deleted = topic_table_by_name(engine->topics, (const char *)name, length);
	if (deleted != NULL)
		replay_delete(r, deleted);
	struct topic *topic = topic_make(id, (const char *)name, length, &config);
	if (topic == NULL)
		return ERR_NOMEM;
	error = catalogue_topic_add(engine->options.catalogue, topic->name, topic->name_length, &config, &topic->numbers, &topic->slot);
	if (error != ERR_OK) {
		topic_free(&topic);
		return error;
	}
	topic->state = TOPIC_PUBLISHED;
	topic->shown = true;
	topic->was_ephemeral = topic->tail_ephemeral = config.durability == DURABILITY_EPHEMERAL;
	topic->tail_unsynced = config.durability != DURABILITY_FSYNC;
	topic_table_add(engine->topics, topic);
	*out = topic;
	return ERR_OK;
}

static enum error replay_loss(struct topic *topic, const struct entry *entry, bool proven)
{
	const struct loss loss = { entry->loss.from, entry->loss.to, entry->loss.reason, entry->loss.flags };
	if (topic->head < loss.to)
		topic->head = loss.to;
	if (proven && topic->proven < loss.to)
		topic->proven = loss.to;
	return topic_add_loss(topic, &loss);
}

/* ---- the checkpoint's own entries ---- */

/* Of two topics of one name the second is alive: the first was deleted while the checkpoint was written. */
static enum error replay_state(struct recovery *r, const struct log_frame *frame, const struct entry *entry)
{
	struct topic *topic = NULL;
	enum error error = introduce(r, entry->topic, entry->state.name, entry->state.name_length, entry->state.config,
	                             entry->state.config_length, &topic);
	if (error != ERR_OK)
		return error;
	topic->head = topic->proven = entry->state.head;
	topic->ceiling = entry->state.ceiling;
	topic->closed = (entry->state.flags & ENTRY_CLOSED) != 0;
	topic->was_ephemeral = topic->was_ephemeral || (entry->state.flags & ENTRY_WAS_EPHEMERAL) != 0;
	topic->state_lsn = topic->ceiling_lsn = topic->ephemeral_lsn = frame->head->request_id;
	topic->numbers.floor = entry->state.floor;
	topic->numbers.floor_reason = entry->state.floor_reason;
	topic->numbers.last_write_ts = entry->state.last_write_ts;
	return ERR_OK;
}

static enum error replay_checkpoint(struct recovery *r, const struct log_frame *frame, const struct entry *entry)
{
	struct topic *topic = topic_table_by_id(r->engine->topics, entry->topic);
	if (entry->type == ENTRY_TOPIC_STATE)
		return replay_state(r, frame, entry);
	if (entry->type == ENTRY_LOSS && topic != NULL)
		return replay_loss(topic, entry, true);
	if (entry->type != ENTRY_KEY || topic == NULL)
		return ERR_OK;
	struct key_entry key = { .topic = entry->topic, .first_seq = entry->key.first_seq, .count = entry->key.count, .ts = entry->key.ts,
	                         .lsn = entry->key.lsn };
	memcpy(key.hash, entry->key.hash, KEY_HASH);
	return keys_put(r->engine->keys, &key, NULL);
}

/* ---- entries of the log ---- */

void count_records(struct topic *topic, uint64_t first, uint64_t count, uint64_t payload, bool proven)
{
	if (topic->numbers.count == 0)
		topic->numbers.earliest = first;
	topic->numbers.count += count;
	topic->numbers.bytes += payload;
	topic->unproven_count += proven ? 0 : count;
	topic->unproven_bytes += proven ? 0 : payload;
}

static enum error replay_batch(struct recovery *r, const struct log_frame *frame, const struct entry *entry, uint32_t entry_offset)
{
	struct engine *engine = r->engine;
	struct topic *topic = topic_table_by_id(engine->topics, entry->topic);
	uint64_t first = entry->batch.first_seq, last = first + entry->batch.count - 1;
	/* Before the checkpoint: deleted since. Behind a hole that a power cut left: the frame that created it was in there, unsynced, so nobody was ever answered about
	 * this topic. Its batch stands in the log and has no effect. */
	if (topic == NULL)
		return frame->before_checkpoint || r->ephemeral || r->holes ? ERR_OK : note_orphan(r, entry->topic);
	enum reason reason = damage_reason(r, topic);
	bool before = before_state(r, frame->head->lsn, frame->before_checkpoint, topic);
	topic->damage = r->damages;
	topic->closed = before ? topic->closed : false;
	if (frame->proven && topic->proven < last)
		topic->proven = last;
	if (!before && !r->ephemeral)
		topic->tail_ephemeral = entry->batch.durability == DURABILITY_EPHEMERAL;
	if (entry->batch.key_length > 0) {
		struct key_entry key = { .topic = topic->id, .first_seq = first, .count = entry->batch.count, .ts = frame->head->ts, .lsn = frame->head->lsn };
		keys_hash(key.hash, topic->id, entry->batch.key, entry->batch.key_length);
		enum error error = keys_put(engine->keys, &key, NULL);
		if (error != ERR_OK)
			return error;
	}
	if (topic->head < last)
		topic->head = last;
	if (topic->numbers.last_write_ts < frame->head->ts)
		topic->numbers.last_write_ts = frame->head->ts;
	const struct extent extent = { .first_seq = first, .offset = frame->place.offset, .payload = entry->batch.payload, .count = entry->batch.count,
	                               .length = frame->place.length, .file = file_index(engine, frame->place.file_id), .entry = entry_offset };
	if (topic->was_ephemeral)
		return note_found(r, &(struct found_extent){ .topic = topic->id, .extent = extent, .count = extent.count,
		                                             .ephemeral = entry->batch.durability == DURABILITY_EPHEMERAL, .on_disk = !r->ephemeral,
		                                             .proven = frame->proven });
	if (first <= topic->seen) /* stands already: a copy that a newer file holds */
		return ERR_OK;
	enum error error = first > 1 ? note_gap(r, topic, first - 1, frame->proven, reason) : ERR_OK;
	if (error != ERR_OK)
		return error;
	topic->seen = last;
	if (last <= topic->numbers.floor)
		return ERR_OK;
	count_records(topic, first, entry->batch.count, entry->batch.payload, frame->proven);
	return catalogue_extent_add(engine->options.catalogue, topic->slot, &extent);
}

static enum error replay_create(struct recovery *r, const struct log_frame *frame, const struct entry *entry)
{
	struct topic *topic = NULL;
	enum error error = introduce(r, entry->topic, entry->create.name, entry->create.name_length, entry->create.config,
	                             entry->create.config_length, &topic);
	if (error != ERR_OK)
		return error;
	topic->unproven = !frame->proven;
	topic->ceiling = entry->create.ceiling;
	topic->ceiling_lsn = topic->ephemeral_lsn = frame->head->lsn;
	topic->damage = r->damages;
	return ERR_OK;
}

/* The numbers that a class has given outlive a change of class: what was shown under a weaker one is made up for as under that one. */
static enum error replay_configure(struct recovery *r, struct topic *topic, const struct log_frame *frame, const struct entry *entry)
{
	enum error error = topic_config_decode(&topic->config, entry->create.config, entry->create.config_length);
	if (error != ERR_OK)
		return error;
	if (topic->config.durability == DURABILITY_EPHEMERAL) {
		topic->was_ephemeral = topic->tail_ephemeral = true;
		topic->ephemeral_lsn = frame->head->lsn;
	}
	/* Everything before a proven frame is synced. */
	topic->tail_unsynced = topic->config.durability != DURABILITY_FSYNC || (topic->tail_unsynced && !frame->proven);
	topic->unproven_config = !frame->proven; /* readers see it when all is shown */
	if (frame->proven)
		catalogue_topic_config(r->engine->options.catalogue, topic->slot, &topic->config);
	return ERR_OK;
}

/* What happened before the checkpoint is in its state; of those frames only what it does not hold is taken: where records lie, and which topics were ephemeral. */
static enum error replay_before(struct recovery *r, const struct entry *entry)
{
	struct topic *topic = topic_table_by_id(r->engine->topics, entry->topic);
	struct topic_config config;
	if (topic == NULL || (entry->type != ENTRY_TOPIC_CREATE && entry->type != ENTRY_TOPIC_CONFIGURE))
		return ERR_OK;
	if (topic_config_decode(&config, entry->create.config, entry->create.config_length) == ERR_OK && config.durability == DURABILITY_EPHEMERAL)
		topic->was_ephemeral = true;
	return ERR_OK;
}

enum error replay_entry(struct recovery *r, const struct log_frame *frame, const struct entry *entry, uint32_t offset)
{
	struct topic *topic = topic_table_by_id(r->engine->topics, entry->topic);
	if (entry->type == ENTRY_BATCH)
		return replay_batch(r, frame, entry, offset);
	if (entry->type == ENTRY_VOID)
		r->holes = true;
	if (before_state(r, frame->head->lsn, frame->before_checkpoint, topic))
		return replay_before(r, entry);
	if (entry->type == ENTRY_TOPIC_CREATE)
		return topic != NULL ? ERR_OK : replay_create(r, frame, entry);
	if (topic == NULL) {
		if (entry->type == ENTRY_TOPIC_DELETE)
			forget_orphan(r, entry->topic);
		return ERR_OK;
	}
	switch (entry->type) {
	case ENTRY_TOPIC_CONFIGURE:
		return replay_configure(r, topic, frame, entry);
	case ENTRY_TOPIC_DELETE:
		replay_delete(r, topic);
		return ERR_OK;
	case ENTRY_CEILING:
		topic->ceiling = entry->ceiling.ceiling;
		topic->closed = (entry->flags & ENTRY_CLOSED) != 0;
		topic->ceiling_lsn = frame->head->lsn;
		topic->damage = r->damages;
		return ERR_OK;
	case ENTRY_LOSS:
		return replay_loss(topic, entry, frame->proven);
	case ENTRY_FLOOR:
		topic->numbers.floor = entry->floor.floor;
		topic->numbers.floor_reason = entry->floor.reason;
		return ERR_OK;
	default:
		return ERR_OK;
	}
}

/* The answer that a frame stands for (I-8): what its entries say again. */
static void settled_from(struct engine *engine, struct settled *settled, const struct entry *entry)
{
	struct completion *c = &settled->completion;
	const struct topic *topic = topic_table_by_id(engine->topics, entry->topic);
	c->topic = entry->topic;
	switch (entry->type) {
	case ENTRY_BATCH:
		c->type = REQUEST_APPEND;
		c->first_seq = entry->batch.first_seq;
		c->count = entry->batch.count;
		c->head = entry->batch.first_seq + entry->batch.count - 1;
		c->durable = c->head; /* the start syncs all of the log before it answers */
		c->flags = entry->flags & ENTRY_CREATED ? COMPLETION_CREATED : 0;
		c->body_length = 0; /* the creation before it in the frame is part of this answer */
		break;
	case ENTRY_TOPIC_CREATE:
	case ENTRY_TOPIC_CONFIGURE:
		c->type = REQUEST_TOPIC_PUT;
		c->flags = entry->type == ENTRY_TOPIC_CREATE ? COMPLETION_CREATED : 0;
		c->head = topic != NULL ? topic->head : 0;
		c->body_length = entry->create.config_length;
		memcpy(settled->body, entry->create.config, entry->create.config_length);
		break;
	case ENTRY_TOPIC_DELETE:
		c->type = REQUEST_TOPIC_DELETE;
		c->first_seq = 1;
		break;
	case ENTRY_ANSWER:
		c->type = REQUEST_APPEND;
		c->status = (uint16_t)entry->answer.status;
		c->flags = entry->answer.flags & ENTRY_DEDUPED ? COMPLETION_DEDUPED : 0;
		c->first_seq = entry->answer.first_seq;
		c->head = entry->answer.head;
		c->count = entry->answer.count;
		break;
	default:
		break;
	}
}

enum error replay_frame(void *context, const struct log_frame *frame)
{
	struct recovery *r = context;
	struct settled settled = { .incarnation = frame->head->incarnation, .completion.request_id = frame->head->request_id };
	uint32_t at = FRAME_HEAD, end = FRAME_HEAD + frame->head->entries_length;
	bool settle = !frame->proven && !frame->checkpoint && settled.incarnation != 0;
	if (r->engine->files_untold)
		return ERR_NOMEM;
	if (!frame->checkpoint && r->engine->ts < frame->head->ts)
		r->engine->ts = frame->head->ts;
	while (at < end) {
		struct entry entry;
		enum error error = entry_decode(&entry, frame->bytes + at, end - at);
		if (error != ERR_OK)
			return error;
		if (settle)
			settled_from(r->engine, &settled, &entry);
		error = frame->checkpoint ? replay_checkpoint(r, frame, &entry) : replay_entry(r, frame, &entry, at);
		if (error != ERR_OK)
			return error;
		at += entry.length;
	}
	if (!settle)
		return ERR_OK;
	settled.body_length = settled.completion.body_length;
	return settled_add(r->engine, &settled);
}

/* The table of a broken frame names what it took; possible only, since nobody can say whether it was acked. */
static enum error damage_named(struct recovery *r, const struct log_damage *damage)
{
	uint32_t at = 0;
	while (at < damage->entries_length) {
		struct entry entry;
		if (entry_decode(&entry, damage->entries + at, damage->entries_length - at) != ERR_OK)
			return ERR_OK;
		struct topic *topic = entry.type == ENTRY_BATCH ? topic_table_by_id(r->engine->topics, entry.topic) : NULL;
		if (topic != NULL) {
			const struct loss loss = { topic->head + 1, entry.batch.first_seq + entry.batch.count - 1,
			                           damage->io_error ? REASON_IO_ERROR : REASON_CORRUPT, ENTRY_POSSIBLE };
			enum error error = loss.from <= loss.to ? topic_add_loss(topic, &loss) : ERR_OK;
			if (error != ERR_OK)
				return error;
			if (loss.from <= loss.to)
				topic->head = topic->seen = loss.to;
			topic->damage = r->damages;
		}
		at += entry.length;
	}
	return ERR_OK;
}

enum error replay_damage(void *context, const struct log_damage *damage)
{
	struct recovery *r = context;
	if (!damage->proven && !r->disk.same_boot)
		r->holes = true;
	if (damage->kind == DAMAGE_TORN)
		return ERR_OK;
	if (damage->to == 0 && damage->entries != NULL)
		return damage_named(r, damage);
	r->damages++;
	if (damage->io_error)
		r->unread = r->damages;
	struct topic *topic = damage->next_prev_topic ? topic_table_by_id(r->engine->topics, damage->next_prev_topic) : NULL;
	if (topic == NULL || topic->was_ephemeral)
		return ERR_OK;
	enum reason reason = damage_reason(r, topic);
	topic->damage = r->damages;
	if (topic->head < damage->next_prev_last_seq)
		topic->head = damage->next_prev_last_seq;
	return note_gap(r, topic, damage->next_prev_last_seq, damage->proven, reason);
}
