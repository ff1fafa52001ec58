/* A group that could not be written: all that it changed goes back to the last frame written (I-4). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "logd/engine_internal.h"

static struct undo *note(struct engine *engine, enum undo_kind kind, struct topic *topic)
{
	struct undo *undo = engine->free_undo;
	assert(undo != NULL); /* provided before anything was changed */
	engine->free_undo = undo->next;
	engine->free_undos--;
	*undo = (struct undo){ .next = engine->undo, .kind = kind, .topic = topic };
	engine->undo = undo;
	return undo;
}

void undo_touch(struct engine *engine, struct topic *topic)
{
	if (topic->touched_group == engine->group)
		return;
	topic->touched_group = engine->group;
	struct undo *undo = note(engine, UNDO_TOPIC, topic);
	undo->head = topic->head;
	undo->count = topic->count;
	undo->bytes = topic->bytes;
	undo->ceiling = topic->ceiling;
	undo->ceiling_end = topic->ceiling_end;
	undo->reservation = topic->reservation;
	undo->open = topic->open;
}

void undo_note(struct engine *engine, enum undo_kind kind, struct topic *topic)
{
	struct undo *undo = note(engine, kind, topic);
	if (kind == UNDO_CONFIG)
		undo->config = provided_config(engine, &topic->config);
}

void undo_key(struct engine *engine, const struct key_entry *entry, const struct key_entry *replaced)
{
	struct undo *undo = note(engine, UNDO_KEY, NULL);
	undo->key = *replaced;
	undo->key_topic = entry->topic;
	memcpy(undo->key_hash, entry->hash, KEY_HASH);
}

static void drop(struct engine *engine, struct undo **at)
{
	struct undo *undo = *at;
	*at = undo->next;
	free(undo->config);
	undo->next = engine->free_undo;
	engine->free_undo = undo;
	engine->free_undos++;
}

void undo_forget(struct engine *engine)
{
	while (engine->undo != NULL)
		drop(engine, &engine->undo);
	engine->group++;
}

void undo_forget_topic(struct engine *engine, const struct topic *topic)
{
	struct undo **at = &engine->undo;
	while (*at != NULL) {
		if ((*at)->topic == topic)
			drop(engine, at);
		else
			at = &(*at)->next;
	}
}

static void put_back(struct engine *engine, struct undo *undo)
{
	struct topic *topic = undo->topic;
	switch (undo->kind) {
	case UNDO_TOPIC:
		topic->head = undo->head;
		topic->count = undo->count;
		topic->bytes = undo->bytes;
		topic->ceiling = undo->ceiling;
		topic->ceiling_end = undo->ceiling_end;
		topic->reservation = undo->reservation;
		/* Its closing is not in the log: it is tried again when the topic was idle for as long once more. */
		if (undo->open && !topic->open)
			topic_opened(engine, topic);
		break;
	case UNDO_CREATED:
		/* Freed with the last of its refused frames. */
		topic_table_remove(engine->topics, topic);
		topic->state = TOPIC_DELETING;
		break;
	case UNDO_DELETED:
		topic->state = topic->shown ? TOPIC_PUBLISHED : TOPIC_ASSIGNED;
		topic_table_take_name(engine->topics, topic);
		break;
	case UNDO_CONFIG:
		topic->config = *undo->config;
		break;
	case UNDO_KEY:
		if (undo->key.topic != 0)
			keys_put(engine->keys, &undo->key, NULL);
		else
			keys_remove(engine->keys, undo->key_topic, undo->key_hash);
		break;
	}
}

/* Takes the group's frames out of the list of unsynced ones, whose tail they are. */
static void cut_unsynced(struct engine *engine)
{
	struct pending **at = &engine->unsynced_first;
	uint64_t written = log_written(engine->disk);
	while (*at != NULL && (*at)->end <= written)
		at = &(*at)->next_unsynced;
	*at = NULL;
	engine->unsynced_end = at;
}

void undo_group(struct engine *engine, enum error error)
{
	struct pending **at = &engine->unpublished_first;
	while (*at != engine->group_first)
		at = &(*at)->next;
	struct pending *first = *at;
	*at = NULL;
	engine->unpublished_end = at;
	engine->group_first = NULL;
	cut_unsynced(engine);
	for (struct pending *pending = first; pending != NULL; pending = pending->next) {
		pending->completion = (struct completion){ .request_id = pending->completion.request_id, .type = pending->completion.type };
		pending->completion.status = (uint16_t)error;
		if (pending->topic != NULL) {
			pending->topic->unpublished--;
			pending->topic->unpublished_disk -= !pending->ephemeral;
		}
	}
	while (engine->undo != NULL) {
		put_back(engine, engine->undo);
		drop(engine, &engine->undo);
	}
	engine->group++;
	struct pending **end = &engine->failed_first;
	while (*end != NULL)
		end = &(*end)->next;
	*end = first;
}

/* The ephemeral log leaves its file with the next frame that it holds; if none comes by itself, a mark does it. False: there is no file to go
 * on in yet. */
static bool renew_ephemeral(struct engine *engine)
{
	struct entry mark = { .type = ENTRY_SYNC_MARK, .sync_mark.lsn = log_synced(engine->ephemeral) };
	struct log_place place;
	enum error error = append_entries(engine, engine->ephemeral, true, &mark, 1, 0, 0, &place);
	if (error == ERR_OK)
		write_group(engine);
	return error != ERR_AGAIN;
}

/* While a start would find the frame in the file that could not be written, its request may not be refused; and if that file cannot be left,
 * nobody can say what became of it. */
static void refuse(struct engine *engine, struct pending *pending)
{
	if (pending->ephemeral ? engine->ephemeral_unclean : log_leaving(engine->disk) || log_state(engine->disk) == LOG_READ_ONLY)
		pending->completion.status = ERR_COMMIT_UNKNOWN;
	pending->ring->owed--;
	post_answer(engine, pending->ring, &pending->completion, NULL);
	completion_publish(pending->ring->completions);
	ring_release(pending->ring->consumer, pending->entry);
}

void flush_failed(struct engine *engine)
{
	struct pending **at = &engine->failed_first;
	if (*at == NULL)
		return;
	bool ephemeral_left = !engine->ephemeral_unclean || renew_ephemeral(engine);
	while (*at != NULL) {
		struct pending *pending = *at;
		struct topic *topic = pending->topic;
		/* Leaving takes a few syncs; for space it may wait for ever. */
		if (pending->ephemeral ? !ephemeral_left : log_state(engine->disk) == LOG_LEAVING) {
			at = &pending->next;
			continue;
		}
		*at = pending->next;
		if (pending->ring != NULL)
			refuse(engine, pending);
		pending_free(engine, pending);
		if (topic != NULL)
			topic_unreference(engine, topic);
	}
	wake_rings(engine);
}
