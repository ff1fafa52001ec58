/*
 * Leaving a file after a failed write or sync (I-4). A failed sync is final for the file: what it did not cover is written from memory, at
 * the LSNs that it has, into a new file; that is synced; its header, which takes these LSNs over, is written and synced; only then does
 * anything rest on it. A failed write says nothing against a sync: what was written before it is synced where it stands, so that nobody's
 * answer waits for a file that a full disk may never give.
 *
 *   OPEN ──write or sync fails──▶ SYNC_RUNNING ──sync done──▶ FILE ──file there──▶ COPIES ──synced──▶ HEADER ──synced──▶ OPEN
 *                            (unless a sync failed)          │  ▲                    │                  │
 *                                                  no space: FULL, log_tick          └──any failure─────┴──▶ READ_ONLY
 */
#include <errno.h>
#include <stdlib.h>

#include "logd/log_internal.h"

/* The page cache may show a header that the disk does not have: no later start may believe it. */
void log_drop_fresh(struct log *log)
{
	struct file_name name = {.kind = 'w'};

	if (!log->fresh)
		return;
	name.id = log->fresh->header.id;
	for (struct log_chunk *chunk = log->first; chunk; chunk = chunk->next)
		if (chunk->file == log->fresh)
			chunk->file = NULL;
	log_file_free(log, &log->fresh);
	log->ops->unlink(log->ops->world, &name);
}

static void leave_failed(struct log *log)
{
	/* Readers go on. What was written and is not proven stays where it is, for the next start to judge. */
	log->state = LOG_READ_ONLY;
	log->leave = LEAVE_NONE;
	log->sync_running = false;
	log_drop_fresh(log);
}

/* Seals the frames from `from` on again, for the file that they move to: its id and their offsets seed their CRCs, and so the chain. */
static void reseal(struct log *log, struct log_file *file, const struct log_point *from)
{
	uint32_t crc = from->crc;

	for (struct log_chunk *chunk = log->first; chunk; chunk = chunk->next) {
		uint64_t at = from->lsn > chunk->lsn ? from->lsn - chunk->lsn : 0;

		if (at >= chunk->used)
			continue;
		chunk->file = file;
		while (at < chunk->used) {
			struct frame_head head;

			frame_head_decode(&head, chunk->bytes + at, chunk->used - at);
			head.prev_crc = crc;
			head.frontier = log_recorded_frontier(log);
			frame_seal(chunk->bytes + at, &head, file->header.id, log_file_offset(file, chunk->lsn + at));
			crc = head.crc;
			at += head.length;
		}
	}
	log->appended.crc = crc;
	file->end = log->appended.lsn;
}

static bool start_sync(struct log *log)
{
	struct sync_job job = {.count = 1, .lsn = log->appended.lsn};

	job.files[0] = log->fresh->handle;
	log->sync_running = true;
	if (log->ops->sync_start(log->ops->world, &job) == 0)
		return true;
	log->sync_running = false;
	return false;
}

static void leave_no_space(struct log *log)
{
	log->state = LOG_FULL;
	log->leave = LEAVE_FILE;
	if (!log->prepare_error)
		log->prepare_error = ENOSPC; /* not at once again: log_tick decides when */
}

/* The fresh file was written to: the next is its sync. */
static void leave_go_on(struct log *log, enum error written)
{
	if (written == ERR_STORAGE_FULL) {
		/* A file system that gives no space where it had promised it: the attempt is repeated with another file. */
		log_drop_fresh(log);
		leave_no_space(log);
	} else if (written || !start_sync(log)) {
		leave_failed(log);
	}
}

static void leave_into(struct log *log, const struct prepared_file *prepared)
{
	struct log_file *file = log_file_new(log, prepared->id, prepared->handle, prepared->size);

	if (!file) {
		log->prepared[log->prepared_count++] = *prepared;
		leave_no_space(log);
		return;
	}
	log->fresh = file;
	log->fresh_from = log->synced;
	log_file_follow(log, file, &log->fresh_from);
	file->header.flags = FILE_MADE_WHOLE;
	reseal(log, file, &log->fresh_from);
	log->leave = LEAVE_COPIES;
	leave_go_on(log, log_chunks_write(log, log->fresh_from.lsn));
}

static void leave_find_file(struct log *log)
{
	struct prepared_file prepared;

	log->leave_bytes = FILE_HEADER_SIZE + log->appended.lsn - log->synced.lsn;
	if (log->leave_bytes < log->options.file_bytes)
		log->leave_bytes = log->options.file_bytes;
	log->leave = LEAVE_FILE;
	if (log_take_prepared(log, FILE_HEADER_SIZE + log->appended.lsn - log->synced.lsn, &prepared)) {
		log->state = LOG_LEAVING;
		leave_into(log, &prepared);
	} else {
		log_prepare_next(log);
	}
}

void log_leave_begin(struct log *log, bool sync_failed)
{
	log->state = LOG_LEAVING;
	log->reserved = NULL;
	log->prepare_error = 0;
	log_checkpoint_abandon(log);
	if (log->sync_running || (!sync_failed && log->written.lsn != log->synced.lsn && log_sync_written(log)))
		log->leave = LEAVE_SYNC_RUNNING;
	else
		leave_find_file(log);
}

void log_leave_prepared(struct log *log, int error)
{
	if (error && log_may_pass(error))
		leave_no_space(log);
	else if (error)
		leave_failed(log);
	else if (!log->preparing)
		leave_find_file(log);
}

/* Where each of its frames lies now, to whoever keeps places. */
static void tell_moved(struct log *log)
{
	for (struct log_chunk *chunk = log->first; chunk && log->events.moved; chunk = chunk->next) {
		uint64_t at = log->fresh_from.lsn > chunk->lsn ? log->fresh_from.lsn - chunk->lsn : 0;

		while (at < chunk->used) {
			struct log_place place = {
				.file_id = chunk->file->header.id,
				.lsn = chunk->lsn + at,
				.offset = log_file_offset(chunk->file, chunk->lsn + at),
				.length = get_u32(chunk->bytes + at + 8),
			};

			log->events.moved(log->events.context, chunk->bytes + at, &place);
			at += place.length;
		}
	}
}

enum error log_adopt_fresh(struct log *log)
{
	struct log_file *file = log->fresh;
	uint64_t from = log->fresh_from.lsn;
	enum error error = log_files_push(log, file);

	if (error)
		return error;
	log->fresh = NULL;
	file->header_written = true;
	file->dirty = false;
	log_file_born(log, file);
	log->written = log->syncing = log->synced = log->appended;
	if (!log->recovering)
		tell_moved(log);
	for (size_t i = log->file_count - 1; i-- > 0;) {
		struct log_file *old = log->files[i];

		if (old->header.first_lsn >= from) {
			log_file_retire(log, i);
			continue;
		}
		if (old->end > from)
			old->end = from;
		old->dirty = false; /* what of it counts is synced; the rest is not part of the log */
		log_file_close(log, old);
	}
	log_chunks_release(log, log->synced.lsn);
	return ERR_OK;
}

void log_leave_synced(struct log *log, int error)
{
	if (error) {
		leave_failed(log);
	} else if (log->leave == LEAVE_COPIES) {
		log->leave = LEAVE_HEADER;
		leave_go_on(log, log_file_write_header(log, log->fresh));
	} else if (log_adopt_fresh(log)) {
		leave_failed(log);
	} else {
		log->leave = LEAVE_NONE;
		log->state = LOG_OPEN;
		log_prepare_next(log);
	}
}
