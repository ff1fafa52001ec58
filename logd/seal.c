#include "logd/seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/footer.h"
#include "common/record.h"
#include "logd/idempotency.h"
#include "logd/log_internal.h"

enum { READ_AHEAD = 128 << 10 }; /* what is read stays in a core's second-level cache until it has been looked at */

/* The file is read piece by piece: as much memory as a piece, or the largest frame. */
struct window {
	const struct ops *ops;
	int handle;
	uint8_t *bytes;
	size_t room;
	uint64_t offset, length;   /* what of the file stands in `bytes` */
	uint64_t end;              /* nothing is read at or past this offset */
};

struct sealing {
	struct seal_job *job;
	struct window window;
	struct footer_builder *builder;
};

/* `length` bytes at `offset`, or NULL with *error: ERR_CORRUPT when the file's part of the log ends before. */
static const uint8_t *window_at(struct window *w, uint64_t offset, uint64_t length, enum error *error)
{
	uint64_t wanted = length < READ_AHEAD ? READ_AHEAD : length;
	size_t got;

	*error = ERR_OK;
	if (offset >= w->offset && offset + length <= w->offset + w->length)
		return w->bytes + (offset - w->offset);
	if (offset > w->end || length > w->end - offset) {
		*error = ERR_CORRUPT;
		return NULL;
	}
	if (wanted > w->end - offset)
		wanted = w->end - offset;
	if (w->room < wanted) {
		free(w->bytes);
		w->bytes = malloc(wanted);
		w->room = w->bytes ? wanted : 0;
	}
	w->length = 0;
	if (!w->bytes) {
		*error = ERR_NOMEM;
		return NULL;
	}
	*error = log_file_read(w->ops, w->handle, w->bytes, wanted, offset, &got);
	if (*error)
		return NULL;
	w->offset = offset;
	w->length = got;
	if (got < length)
		*error = ERR_CORRUPT;
	return *error ? NULL : w->bytes;
}

static bool is_left(const struct entry *batch, uint32_t index)
{
	return !batch->batch.bitmap || (batch->batch.bitmap[index / 8] >> index % 8 & 1);
}

/* Tags of a batch's records. A record that is not well-formed is lost alone, and so is its tag. */
static enum error add_tags(struct sealing *s, const uint8_t *frame, const struct entry *batch)
{
	const uint8_t *at = frame + batch->batch.records_offset, *end = at + batch->batch.records_length;
	uint32_t index = 0;

	while (at < end) {
		struct record record;
		enum error error;

		while (index < batch->batch.count && !is_left(batch, index))
			index++;
		if (index == batch->batch.count)
			break;
		if (get_u32(at + 28) & RECORD_HAS_TAG && record_parse(&record, at, (uint64_t)(end - at)) == ERR_OK) {
			error = footer_add_tag(s->builder, batch->topic, batch->batch.first_seq + index, record.data_length + record.meta_length,
			                       record.tag, record.tag_length);
			if (error)
				return error;
		}
		index++;
		at += get_u32(at); /* frame_check has walked them */
	}
	return ERR_OK;
}

static enum error add_batch(struct sealing *s, const uint8_t *frame, const struct frame_head *head, const struct entry *batch, uint32_t at)
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
	enum error error = footer_add_extent(s->builder, &extent);

	if (head->ts > s->job->newest_ts)
		s->job->newest_ts = head->ts;

	if (!error && batch->batch.key_length > 0) {
		struct footer_key key = {.topic = extent.topic, .lsn = extent.lsn, .first_seq = extent.first_seq, .ts = extent.ts, .count = extent.count};

		keys_hash(key.hash, extent.topic, batch->batch.key, batch->batch.key_length);
		error = footer_add_key(s->builder, &key);
	}
	return error ? error : add_tags(s, frame, batch);
}

static enum error add_frame(struct sealing *s, const uint8_t *frame, const struct frame_head *head)
{
	uint32_t at = FRAME_HEAD, end = FRAME_HEAD + head->entries_length;
	enum error error = ERR_OK;

	while (at < end && !error) {
		struct entry entry;

		error = entry_decode(&entry, frame + at, end - at);
		if (error)
			break;
		if (entry.type == ENTRY_BATCH)
			error = add_batch(s, frame, head, &entry, at);
		else if (entry.type != ENTRY_ANSWER && entry.type != ENTRY_SYNC_MARK)
			error = footer_add_control(s->builder, head->lsn, head->ts, at, frame + at, entry.length);
		at += entry.length;
	}
	return error;
}

/* Every frame of the file's part of the log, without a gap, each with conditions 1 to 8: only such a file may be read by its footer instead. */
static enum error add_frames(struct sealing *s)
{
	const struct seal_job *job = s->job;
	uint64_t at = FILE_HEADER_SIZE, end = s->window.end;
	uint32_t crc = job->chain;

	while (at < end) {
		struct frame_head head;
		enum error error;
		const uint8_t *frame = window_at(&s->window, at, FRAME_MIN, &error);

		if (error)
			return error;
		error = frame_head_decode(&head, frame, end - at);
		if (error)
			return error;
		frame = window_at(&s->window, at, head.length, &error);
		if (error)
			return error;
		error = frame_check(frame, head.length, job->id, at, job->first_lsn + at - FILE_HEADER_SIZE, &head);
		if (error || head.prev_crc != crc)
			return ERR_CORRUPT;
		error = add_frame(s, frame, &head);
		if (error)
			return error;
		at += head.length;
		crc = head.crc;
	}
	return ERR_OK;
}

static enum error copy_keys(struct seal_job *job, const struct footer *footer, const struct footer_source *source)
{
	uint64_t count = footer_count(footer, FOOTER_KEYS);
	enum error error = ERR_OK;

	job->keys = malloc((count ? count : 1) * sizeof *job->keys);
	if (!job->keys)
		return ERR_NOMEM;
	for (uint64_t i = 0; i < count && !error; i++) {
		struct footer_key key;

		error = footer_key_at(footer, source, i, &key);
		if (error)
			break;
		job->keys[i].topic = key.topic;
		memcpy(job->keys[i].hash, key.hash, sizeof key.hash);
	}
	job->key_count = (uint32_t)count;
	return error;
}

/* Sections 5 and 3 for whoever asked, from the very bytes that are going to be written. */
static enum error copy_topics(struct seal_job *job, const uint8_t *bytes, size_t length)
{
	struct footer_memory memory = {bytes, job->footer_offset, length};
	struct footer_source source = footer_memory_source(&memory);
	struct footer footer;
	uint64_t count;
	enum error error = footer_open(&footer, &source, job->id, job->first_lsn, job->footer_offset + length);

	if (error)
		return error;
	count = footer_count(&footer, FOOTER_TOPICS);
	job->topics = malloc((count ? count : 1) * sizeof *job->topics);
	if (!job->topics)
		return ERR_NOMEM;
	for (uint64_t i = 0; i < count && !error; i++)
		error = footer_topic_at(&footer, &source, i, &job->topics[i]);
	job->topic_count = (uint32_t)count;
	if (!error)
		error = copy_keys(job, &footer, &source);
	job->extents_offset = footer.sections[FOOTER_EXTENTS].offset;
	return error;
}

static enum error write_footer(struct sealing *s, const uint8_t *bytes, size_t length)
{
	const struct ops *ops = s->window.ops;
	const struct seal_job *job = s->job;
	int handle = s->window.handle, failed;
	enum error error;

	ops->failpoint(ops->world, "seal-before-footer");
	error = log_file_write(ops, handle, bytes, length, job->footer_offset);
	if (error)
		return error;
	ops->failpoint(ops->world, "seal-before-cut");
	failed = ops->truncate(ops->world, handle, job->footer_offset + length);
	if (failed)
		return log_error_of(failed);
	ops->failpoint(ops->world, "seal-before-sync");
	error = log_file_sync(ops, handle);
	ops->failpoint(ops->world, "seal-after-sync");
	return error;
}

static enum error build_and_write(struct sealing *s)
{
	struct seal_job *job = s->job;
	const struct footer_file file = {.id = job->id, .first_lsn = job->first_lsn, .end_lsn = job->end_lsn, .frontier = job->frontier};
	uint8_t *bytes = NULL;
	size_t length = 0;
	enum error error = footer_build(s->builder, &file, &bytes, &length, &job->footer_crc);

	job->footer_offset = footer_offset(&file);
	job->footer_length = (uint32_t)length;
	if (!error)
		error = copy_topics(job, bytes, length);
	if (!error)
		error = write_footer(s, bytes, length);
	free(bytes);
	return error;
}

void seal_file(const struct ops *ops, struct seal_job *job)
{
	struct file_name name = {.kind = 'w', .id = job->id};
	struct sealing s = {.job = job, .window = {.ops = ops, .handle = NO_FILE}};
	int failed = ops->open(ops->world, &name, &s.window.handle);
	enum error error = failed ? ERR_AGAIN : footer_builder_create(&s.builder); /* e.g. no descriptor is free now */

	job->topics = NULL;
	job->keys = NULL;
	job->topic_count = job->key_count = 0;
	job->newest_ts = 0;
	s.window.end = FILE_HEADER_SIZE + (job->end_lsn - job->first_lsn);
	if (failed)
		s.window.handle = NO_FILE;
	if (!error)
		error = add_frames(&s);
	if (!error)
		error = build_and_write(&s);
	job->result = error;
	job->cause = error == ERR_IO || error == ERR_STORAGE_FULL ? errno : 0;
	if (s.window.handle != NO_FILE)
		ops->close(ops->world, s.window.handle);
	footer_builder_destroy(&s.builder);
	free(s.window.bytes);
	if (error) {
		free(job->topics);
		free(job->keys);
		job->topics = NULL;
		job->keys = NULL;
		job->topic_count = job->key_count = 0;
	}
}
