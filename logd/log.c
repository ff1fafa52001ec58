#include "logd/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/settings.h"
#include "logd/log_internal.h"

enum {
	CHUNKS_PREALLOCATED = 32,
	CHUNK_LEAST = 1 << 16,
	EPHEMERAL_FILES = 4, /* at least so many make up the total, so that what goes is a part of it */
};

static void options_settle(struct log *log)
{
	struct log_options *options = &log->options;

	if (options->unsynced_max == 0)
		options->unsynced_max = (uint64_t)256 << 20;
	if (options->kind == 'e' && options->total_max && options->file_bytes > options->total_max / EPHEMERAL_FILES)
		options->file_bytes = options->total_max / EPHEMERAL_FILES;
	if (options->kind == 'e' && options->file_bytes < ephemeral_file_least(options->total_max))
		options->file_bytes = ephemeral_file_least(options->total_max);
	options->file_bytes &= ~(uint64_t)7;
	if (options->file_bytes < 4096)
		options->file_bytes = 4096;
	log->chunk_bytes = LOG_GROUP_BYTES;
	if (options->file_bytes < log->chunk_bytes)
		log->chunk_bytes = options->file_bytes < CHUNK_LEAST ? CHUNK_LEAST : (size_t)options->file_bytes;
	log->pool_max = CHUNKS_PREALLOCATED;
	if (options->unsynced_max / log->chunk_bytes + 1 < log->pool_max)
		log->pool_max = (unsigned)(options->unsynced_max / log->chunk_bytes) + 1;
	if (options->kind == 'e')
		log->pool_max = 2; /* what is written needs no copy in memory */
}

enum error log_create(struct log **out, const struct log_options *options, const struct ops *ops, const struct log_events *events)
{
	struct log *log = calloc(1, sizeof *log);
	int error;

	*out = NULL;
	if (!log)
		return ERR_NOMEM;
	log->options = *options;
	log->ops = ops;
	log->events = *events;
	log->state = LOG_OPEN;
	options_settle(log);
	log->next_number = 1;
	log->appended.lsn = log->written.lsn = log->syncing.lsn = log->synced.lsn = LSN_FIRST;
	error = ops->boot_token(ops->world, &log->boot);
	if (error) {
		free(log);
		return log_error_of(error);
	}
	while (log->pooled < log->pool_max) {
		struct log_chunk *chunk = malloc(sizeof *chunk + log->chunk_bytes);

		if (!chunk) {
			log_destroy(&log);
			return ERR_NOMEM;
		}
		chunk->capacity = log->chunk_bytes;
		log_chunk_give(log, chunk);
	}
	*out = log;
	return ERR_OK;
}

void log_destroy(struct log **out)
{
	struct log *log = *out;

	if (!log)
		return;
	checkpoint_writer_free(log);
	log_chunks_free(log);
	for (size_t i = 0; i < log->file_count; i++)
		log_file_free(log, &log->files[i]);
	log_file_free(log, &log->fresh);
	for (unsigned i = 0; i < log->prepared_count; i++)
		if (log->prepared[i].handle != NO_FILE)
			log->ops->close(log->ops->world, log->prepared[i].handle);
	free(log->recovery.quarantine);
	free(log->recovery.doomed);
	free(log->recovery.stale);
	free(log->files);
	free(log);
	*out = NULL;
}

static enum error reserve_allowed(const struct log *log, uint64_t size)
{
	if (log->state == LOG_READ_ONLY)
		return ERR_READ_ONLY;
	if (size > FRAME_LENGTH_MAX)
		return ERR_RANGE;
	if (log->recovering)
		return log->state == LOG_FULL ? ERR_STORAGE_FULL : ERR_OK;
	if (log->leave != LEAVE_NONE)
		return log->state == LOG_FULL ? ERR_STORAGE_FULL : ERR_AGAIN;
	if (log->appended.lsn > log->written.lsn && log->appended.lsn - log->written.lsn + size > LOG_GROUP_BYTES)
		return ERR_AGAIN;
	if (log->appended.lsn > log->synced.lsn && log->appended.lsn - log->synced.lsn + size > log->options.unsynced_max)
		return ERR_THROTTLED;
	return ERR_OK;
}

enum error log_reserve(struct log *log, uint64_t size, bool control, uint8_t **frame)
{
	struct log_chunk *chunk;
	enum error error = reserve_allowed(log, size);

	*frame = log->reserved = NULL;
	log->reserved_rolls = false;
	if (!error && !log->recovering)
		error = log_room(log, size, control, &log->reserved_rolls);
	if (error)
		return error;
	chunk = log_chunk_for(log, size, log->reserved_rolls);
	if (!chunk)
		return log->appended.lsn > log->synced.lsn ? ERR_THROTTLED : ERR_NOMEM;
	log->reserved = chunk->bytes + chunk->used;
	log->reserved_size = size;
	*frame = log->reserved;
	return ERR_OK;
}

enum error log_append(struct log *log, struct frame_head *head, uint64_t last_topic, uint64_t last_seq, struct log_place *place)
{
	struct log_chunk *chunk = log->last && log->reserved == log->last->bytes + log->last->used ? log->last : log->spare;

	if (!log->reserved)
		return ERR_AGAIN; /* the log began to leave its file meanwhile */
	head->length = (uint32_t)frame_size(head->entries_length, head->records_length, head->flags);
	assert(head->length <= log->reserved_size);
	log->reserved = NULL;
	if (log->reserved_rolls) {
		enum error error = log_roll(log, head->length);

		if (error)
			return error;
	}
	if (chunk == log->spare)
		log->spare = NULL;
	head->prev_topic = log->appended.topic;
	head->prev_last_seq = log->appended.last_seq;
	log_chunk_append(log, chunk, log->recovering ? log->fresh : log_current(log), head, place);
	if (last_topic) {
		log->appended.topic = last_topic;
		log->appended.last_seq = last_seq;
	}
	return ERR_OK;
}

static void drop_gathered(struct log *log)
{
	log_chunks_cut(log, log->written.lsn);
	log->appended = log->written;
	log->reserved = NULL;
}

/* What failed was never written: it is gone, and a new file goes on after the last frame that was. */
static void write_failed(struct log *log)
{
	drop_gathered(log);
	if (log->options.kind == 'e') {
		/* All that was gathered lies in one file. What stands in it of the failed group is no part of the log when it is evicted. */
		log_current(log)->end = log->written.lsn;
		log->e_left = true;
	} else {
		log_leave_begin(log, false);
	}
}

enum error log_write(struct log *log)
{
	enum error error;

	if (log->recovering || log->appended.lsn == log->written.lsn)
		return ERR_OK;
	if (log->state == LOG_READ_ONLY) {
		/* Gathered when the log was given up: never to be written, so it may not stand in the way of the other log. */
		drop_gathered(log);
		return ERR_READ_ONLY;
	}
	if (log->leave != LEAVE_NONE)
		return ERR_AGAIN;
	error = log_chunks_write(log, log->written.lsn);
	if (error) {
		int cause = errno;

		write_failed(log);
		errno = cause;
		return error;
	}
	log->written = log->appended;
	if (log->options.kind == 'e') {
		log->synced = log->syncing = log->written;
		log_chunks_release(log, log->written.lsn);
	}
	log_prepare_next(log);
	return ERR_OK;
}

void log_settled(struct log *log)
{
	log->settling = false;
}

void log_answered(struct log *log, uint64_t lsn)
{
	if (lsn > log->e_answered)
		log->e_answered = lsn;
}

uint64_t log_appended(const struct log *log)
{
	return log->appended.lsn;
}

uint64_t log_written(const struct log *log)
{
	return log->written.lsn;
}

uint64_t log_synced(const struct log *log)
{
	return log->synced.lsn;
}

enum log_state log_state(const struct log *log)
{
	return log->state;
}

bool log_syncing(const struct log *log)
{
	return log->sync_running || log->leave != LEAVE_NONE;
}

bool log_leaving(const struct log *log)
{
	return log->leave != LEAVE_NONE;
}

uint64_t log_unsynced_bytes(const struct log *log)
{
	return log->appended.lsn - log->synced.lsn;
}

void log_tick(struct log *log)
{
	if (log->state == LOG_READ_ONLY)
		return;
	if (log->recovering && log->state == LOG_FULL) {
		log_finish_retry(log);
		return;
	}
	log->prepare_error = 0;
	log->checkpoint_waits = false;
	log->seal_waits = false;
	if (log->leave == LEAVE_FILE)
		log_leave_prepared(log, 0);
	log_prepare_next(log);
}

/* Frames that may not be written yet are still in memory. */
static bool read_from_memory(const struct log *log, const struct log_place *place, uint8_t *bytes)
{
	for (const struct log_chunk *chunk = log->first; chunk; chunk = chunk->next)
		if (place->lsn >= chunk->lsn && place->lsn + place->length <= chunk->lsn + chunk->used && chunk->file &&
		    chunk->file->header.id == place->file_id) {
			memcpy(bytes, chunk->bytes + (place->lsn - chunk->lsn), place->length);
			return true;
		}
	return false;
}

enum error log_read(struct log *log, const struct log_place *place, uint8_t *bytes)
{
	struct file_name name = {.kind = 'w', .id = place->file_id};
	struct log_file *file = log_file_find(log, place->file_id);
	struct frame_head head;
	size_t got = 0;
	enum error error;
	int handle;

	if (!read_from_memory(log, place, bytes)) {
		if (!file)
			return ERR_CORRUPT;
		handle = file->handle;
		if (handle == NO_FILE) {
			int failed = log->ops->open(log->ops->world, &name, &handle);

			if (failed)
				return log_error_of(failed);
		}
		error = log_file_read(log->ops, handle, bytes, place->length, place->offset, &got);
		if (file->handle == NO_FILE)
			log->ops->close(log->ops->world, handle);
		if (error)
			return error;
		if (got < place->length)
			return ERR_CORRUPT;
	}
	error = frame_check(bytes, place->length, place->file_id, place->offset, place->lsn, &head);
	return error ? error : head.length == place->length ? ERR_OK : ERR_CORRUPT;
}
