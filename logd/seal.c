#include "logd/seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/footer.h"
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

/* The frame at the LSN, if it holds conditions 1 to 8 but for the chain. */
static enum error frame_at(struct sealing *s, uint64_t lsn, const uint8_t **frame, struct frame_head *head)
{
	const struct seal_job *job = s->job;
	uint64_t at = FILE_HEADER_SIZE + lsn - job->first_lsn;
	enum error error;

	*frame = window_at(&s->window, at, FRAME_MIN, &error);
	if (!error)
		error = frame_head_decode(head, *frame, s->window.end - at);
	if (!error)
		*frame = window_at(&s->window, at, head->length, &error);
	if (!error && frame_check(*frame, head->length, job->id, at, lsn, head) != ERR_OK)
		error = ERR_CORRUPT;
	return error;
}

/* Every frame of the file's part of the log, without a gap, each with conditions 1 to 8: only such a file may be read by its footer instead. */
static enum error note_frames(struct sealing *s)
{
	struct footer_notes *notes = s->job->notes;
	uint32_t crc = s->job->chain;

	while (notes->end < s->job->end_lsn) {
		size_t tagged = notes->tagged_count;
		struct frame_head head;
		const uint8_t *frame;
		enum error error = frame_at(s, notes->end, &frame, &head);

		if (!error && head.prev_crc != crc)
			error = ERR_CORRUPT;
		if (!error)
			error = footer_notes_add(notes, frame, &head);
		if (!error && notes->tagged_count > tagged)
			error = footer_notes_add_tags(notes, frame, &head);
		if (error)
			return error;
		crc = head.crc;
	}
	return ERR_OK;
}

/* What was noted when the frames were appended is what they say, since they stand in a file without a failed write or sync; tags are read. */
static enum error read_tags(struct sealing *s)
{
	struct footer_notes *notes = s->job->notes;
	enum error error = ERR_OK;

	for (size_t i = 0; i < notes->tagged_count && !error; i++) {
		struct frame_head head;
		const uint8_t *frame;

		error = frame_at(s, notes->tagged[i], &frame, &head);
		if (!error)
			error = footer_notes_add_tags(notes, frame, &head);
	}
	return error;
}

/* Completes the notes, or makes them if there are none of the whole file. */
static enum error gather(struct sealing *s)
{
	struct seal_job *job = s->job;

	if (job->notes)
		return read_tags(s);
	job->notes = footer_notes_create(job->first_lsn);
	return job->notes ? note_frames(s) : ERR_NOMEM;
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
	enum error error = footer_build(job->notes->builder, &file, &bytes, &length, &job->footer_crc);

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
	enum error error = failed ? ERR_AGAIN : ERR_OK; /* e.g. no descriptor is free now */

	job->topics = NULL;
	job->keys = NULL;
	job->topic_count = job->key_count = 0;
	s.window.end = FILE_HEADER_SIZE + (job->end_lsn - job->first_lsn);
	if (failed)
		s.window.handle = NO_FILE;
	if (!error)
		error = gather(&s);
	if (!error)
		error = build_and_write(&s);
	job->newest_ts = job->notes ? job->notes->newest_ts : 0;
	job->result = error;
	job->cause = error == ERR_IO || error == ERR_STORAGE_FULL ? errno : 0;
	if (s.window.handle != NO_FILE)
		ops->close(ops->world, s.window.handle);
	footer_notes_destroy(&job->notes);
	free(s.window.bytes);
	if (error) {
		free(job->topics);
		free(job->keys);
		job->topics = NULL;
		job->keys = NULL;
		job->topic_count = job->key_count = 0;
	}
}
