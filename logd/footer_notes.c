#include "logd/footer_notes.h"

#include <stdlib.h>

#include "common/record.h"
#include "logd/idempotency.h"

struct footer_notes *footer_notes_create(uint64_t first_lsn)
{
	struct footer_notes *notes = calloc(1, sizeof *notes);

	if (notes && footer_builder_create(&notes->builder) != ERR_OK) {
		free(notes);
		return NULL;
	}
	if (notes)
		notes->end = first_lsn;
	return notes;
}

void footer_notes_destroy(struct footer_notes **notes)
{
	if (!*notes)
		return;
	footer_builder_destroy(&(*notes)->builder);
	free((*notes)->tagged);
	free(*notes);
	*notes = NULL;
}

/* Records are walked by their lengths, which have been checked. */
static bool has_tags(const uint8_t *frame, const struct entry *batch)
{
	const uint8_t *at = frame + batch->batch.records_offset, *end = at + batch->batch.records_length;
	uint32_t flags = 0;

	for (; at < end; at += get_u32(at))
		flags |= get_u32(at + 28);
	return flags & RECORD_HAS_TAG;
}

static enum error note_tagged(struct footer_notes *notes, uint64_t lsn)
{
	if (notes->tagged_count > 0 && notes->tagged[notes->tagged_count - 1] == lsn)
		return ERR_OK; /* by another batch of this frame */
	if (notes->tagged_count == notes->tagged_room) {
		size_t room = notes->tagged_room ? notes->tagged_room * 2 : 64;
		uint64_t *tagged = realloc(notes->tagged, room * sizeof *tagged);

		if (!tagged)
			return ERR_NOMEM;
		notes->tagged = tagged;
		notes->tagged_room = room;
	}
	notes->tagged[notes->tagged_count++] = lsn;
	notes->bytes += sizeof *notes->tagged;
	return ERR_OK;
}

static enum error add_key(struct footer_notes *notes, const struct frame_head *head, const struct entry *batch)
{
	struct footer_key key = {
		.topic = batch->topic,
		.lsn = head->lsn,
		.first_seq = batch->batch.first_seq,
		.ts = head->ts,
		.count = batch->batch.count,
	};

	keys_hash(key.hash, batch->topic, batch->batch.key, batch->batch.key_length);
	notes->bytes += sizeof key;
	return footer_add_key(notes->builder, &key);
}

static enum error add_batch(struct footer_notes *notes, const uint8_t *frame, const struct frame_head *head, const struct entry *batch, uint32_t at)
{
	const struct footer_extent extent = {
		.topic = batch->topic,
		.first_seq = batch->batch.first_seq,
		.lsn = head->lsn,
		.ts = head->ts,
		.payload = batch->batch.payload,
		.count = batch->batch.count,
		.live = batch->batch.live,
		.length = head->length,
		.entry = at,
		.durability = batch->batch.durability,
		.flags = (uint8_t)batch->flags,
	};
	enum error error = footer_add_extent(notes->builder, &extent);

	notes->bytes += sizeof extent;
	if (head->ts > notes->newest_ts)
		notes->newest_ts = head->ts;
	if (!error && batch->batch.key_length > 0)
		error = add_key(notes, head, batch);
	if (!error && has_tags(frame, batch))
		error = note_tagged(notes, head->lsn);
	return error;
}

/* The entry at *at, which goes on behind it; false at the end of them, or with *error. */
static bool next_entry(const uint8_t *frame, const struct frame_head *head, uint32_t *at, struct entry *entry, enum error *error)
{
	uint32_t end = FRAME_HEAD + head->entries_length;

	if (*error || *at >= end)
		return false;
	*error = entry_decode(entry, frame + *at, end - *at);
	if (!*error)
		*at += entry->length;
	return !*error;
}

enum error footer_notes_add(struct footer_notes *notes, const uint8_t *frame, const struct frame_head *head)
{
	uint32_t next = FRAME_HEAD;
	enum error error = ERR_OK;
	struct entry entry;

	while (next_entry(frame, head, &next, &entry, &error)) {
		uint32_t at = next - entry.length;

		if (entry.type == ENTRY_BATCH) {
			error = add_batch(notes, frame, head, &entry, at);
		} else if (entry.type != ENTRY_ANSWER && entry.type != ENTRY_SYNC_MARK) {
			error = footer_add_control(notes->builder, head->lsn, head->ts, at, frame + at, entry.length);
			notes->bytes += entry.length;
		}
	}
	notes->end = head->lsn + head->length;
	return error;
}

static bool is_left(const struct entry *batch, uint32_t index)
{
	return !batch->batch.bitmap || (batch->batch.bitmap[index / 8] >> index % 8 & 1);
}

static enum error add_batch_tags(struct footer_notes *notes, const uint8_t *frame, const struct entry *batch)
{
	const uint8_t *at = frame + batch->batch.records_offset, *end = at + batch->batch.records_length;
	uint32_t index = 0;

	for (; at < end; index++, at += get_u32(at)) {
		struct record record;
		enum error error;

		while (index < batch->batch.count && !is_left(batch, index))
			index++;
		if (index == batch->batch.count)
			break;
		if (!(get_u32(at + 28) & RECORD_HAS_TAG) || record_parse(&record, at, (uint64_t)(end - at)) != ERR_OK)
			continue;
		error = footer_add_tag(notes->builder, batch->topic, batch->batch.first_seq + index, record.data_length + record.meta_length, record.tag,
		                       record.tag_length);
		if (error)
			return error;
	}
	return ERR_OK;
}

enum error footer_notes_add_tags(struct footer_notes *notes, const uint8_t *frame, const struct frame_head *head)
{
	uint32_t next = FRAME_HEAD;
	enum error error = ERR_OK;
	struct entry entry;

	while (next_entry(frame, head, &next, &entry, &error))
		if (entry.type == ENTRY_BATCH)
			error = add_batch_tags(notes, frame, &entry);
	return error;
}
