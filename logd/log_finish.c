/*
 * The end of recovery (docs/format.md §10, steps 6 and 7): the tail and what recovery adds to it are made whole in one new file, which then
 * takes the log over. Nothing of an older file is changed; until the header stands, the next start finds what this one found.
 */
#include <errno.h>
#include <stdlib.h>

#include "logd/log_internal.h"

enum {
	COPY_PIECE = 1 << 20,
	SIZE_STEP = 4096,
};

enum error log_finish_choose(struct log *log, uint64_t frontier)
{
	struct log_recovery *recovery = &log->recovery;
	struct prepared_file prepared = {.id = 0, .handle = NO_FILE};

	for (size_t i = 0; i < recovery->stale_count; i++) {
		const struct log_stale *stale = &recovery->stale[i];
		enum error error;

		/* A copy begins at or behind the frontier; what begins before it was part of the log and has lost its header. */
		if (stale->first_lsn && stale->first_lsn < frontier) {
			recovery->unexplained = true;
			continue;
		}
		error = log_doom(log, 'w', stale->id, true);
		if (error)
			return error;
	}
	if (!log_take_prepared(log, 0, &prepared))
		prepared.id = log_random_id(log->ops);
	log->fresh = log_file_new(log, prepared.id, NO_FILE, prepared.size);
	return log->fresh ? ERR_OK : ERR_NOMEM;
}

static void remove_doomed(struct log *log, bool headerless)
{
	struct log_recovery *recovery = &log->recovery;
	size_t kept = 0;

	for (size_t i = 0; i < recovery->doomed_count; i++) {
		struct log_doomed *doomed = &recovery->doomed[i];

		if (doomed->headerless != headerless) {
			recovery->doomed[kept++] = *doomed;
			continue;
		}
		/* Failures do not matter: what holds nothing is found again at the next start. */
		if (!headerless && log->events.retired)
			log->events.retired(log->events.context, doomed->name.id);
		if (log->options.kind == 'e')
			log->ops->ephemeral_retire(log->ops->world, doomed->name.id);
		else
			log->ops->unlink(log->ops->world, &doomed->name);
	}
	recovery->doomed_count = kept;
}

/* The fresh file, open and with space for all that goes into it. */
static enum error open_fresh(struct log *log)
{
	struct log_file *file = log->fresh;
	struct file_name name = {.kind = 'w', .id = file->header.id};
	uint64_t needed = FILE_HEADER_SIZE + log->appended.lsn - log->fresh_from.lsn, size = log->options.file_bytes;
	enum error error;
	int failed;

	if (size < needed)
		size = (needed + SIZE_STEP - 1) / SIZE_STEP * SIZE_STEP;
	if (file->size == 0) {
		error = log_file_create(log->ops, 'w', file->header.id, size, &file->handle);
		if (error)
			return error;
		file->size = size;
	}
	if (file->handle == NO_FILE && (failed = log->ops->open(log->ops->world, &name, &file->handle)))
		return log_error_of(failed);
	if (file->size < needed) {
		failed = log->ops->allocate(log->ops->world, file->handle, size);
		if (failed)
			return log_error_of(failed);
		file->size = size;
	}
	file->header.size = file->size;
	return ERR_OK;
}

/* ---- quarantine ---- */

/* The range's length without the zeros at its end: the rest of a prepared file is not worth keeping. */
static enum error copy_range(struct log *log, const struct log_range *range, int from, int to)
{
	uint8_t *bytes = malloc(COPY_PIECE);
	struct log_span bad = {0};
	enum error error = bytes ? ERR_OK : ERR_NOMEM;

	for (uint64_t at = 0; !error && at < range->length;) {
		size_t piece = range->length - at < COPY_PIECE ? (size_t)(range->length - at) : COPY_PIECE, got, kept;

		error = log_file_read_damaged(log->ops, from, bytes, piece, range->offset + at, &got, &bad);
		for (kept = got; kept > 0 && bytes[kept - 1] == 0;)
			kept--;
		if (!error && kept > 0)
			error = log_file_write(log->ops, to, bytes, kept, at);
		at += piece;
		if (got < piece)
			break;
	}
	free(bytes);
	return error;
}

static struct file_name aside_of(const struct log_range *range)
{
	return (struct file_name){.kind = 'q', .id = range->file_id, .offset = range->offset};
}

static enum error quarantine_one(struct log *log, const struct log_range *range)
{
	struct file_name source = {.kind = log->options.kind, .id = range->file_id}, aside = aside_of(range);
	enum error error;
	int from, to, failed;

	failed = log->ops->create(log->ops->world, &aside, &to);
	if (failed == EEXIST)
		return ERR_OK; /* an earlier start, or an earlier attempt, has kept them */
	if (failed)
		return log_error_of(failed);
	failed = log->ops->open(log->ops->world, &source, &from);
	error = failed ? log_error_of(failed) : copy_range(log, range, from, to);
	if (!failed)
		log->ops->close(log->ops->world, from);
	if (!error)
		error = log_file_sync(log->ops, to);
	log->ops->close(log->ops->world, to);
	if (error)
		log->ops->unlink(log->ops->world, &aside);
	return error;
}

static enum error quarantine(struct log *log)
{
	struct log_recovery *recovery = &log->recovery;

	for (size_t i = 0; i < recovery->quarantine_count; i++) {
		enum error error = quarantine_one(log, &recovery->quarantine[i]);

		if (error)
			return error;
	}
	if (recovery->quarantine_count > 0) {
		int failed = log->ops->sync_dir(log->ops->world);

		/* Whether a second sync would say the truth about these names nobody knows (I-4): the next attempt makes them anew. */
		for (size_t i = 0; failed && i < recovery->quarantine_count; i++) {
			struct file_name aside = aside_of(&recovery->quarantine[i]);

			log->ops->unlink(log->ops->world, &aside);
		}
		if (failed)
			return log_error_of(failed);
	}
	recovery->quarantine_count = 0;
	return ERR_OK;
}

/* ---- the steps in their order ---- */

/* A sync that failed is final for its file (I-4), also one that lacked space: only another file could be tried, and that is the next start's. */
static enum error sync_fresh(struct log *log)
{
	return log_file_sync(log->ops, log->fresh->handle) ? ERR_IO : ERR_OK;
}

static enum error make_whole(struct log *log)
{
	enum error error;

	remove_doomed(log, true);
	error = open_fresh(log);
	if (!error)
		error = quarantine(log);
	log->fresh->header.flags = FILE_MADE_WHOLE;
	if (!error)
		error = log_chunks_write(log, log->fresh_from.lsn);
	if (!error)
		error = sync_fresh(log);
	if (!error)
		error = log_file_write_header(log, log->fresh);
	if (!error)
		error = sync_fresh(log);
	if (!error)
		error = log_adopt_fresh(log);
	return error;
}

/* Those that wait for their turn are opened now, so that a roll opens nothing. */
static void open_prepared(struct log *log)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < log->prepared_count; i++) {
		struct file_name name = {.kind = 'w', .id = log->prepared[i].id};

		if (log->ops->open(log->ops->world, &name, &log->prepared[i].handle) == 0)
			log->prepared[kept++] = log->prepared[i];
	}
	log->prepared_count = kept;
}

static enum error finish_disk(struct log *log)
{
	enum error error = make_whole(log);

	if (error == ERR_STORAGE_FULL) {
		log->state = LOG_FULL; /* reads go on from what is proven; log_tick tries again */
		return error;
	}
	if (error) {
		int cause = log->finish_cause = errno;

		log_drop_fresh(log);
		log->state = LOG_READ_ONLY;
		errno = cause;
		return error;
	}
	remove_doomed(log, false);
	log->recovering = false;
	log->state = LOG_OPEN;
	open_prepared(log);
	log_prepare_next(log);
	return ERR_OK;
}

void log_finish_retry(struct log *log)
{
	(void)finish_disk(log); /* its outcome is log_state */
}

int log_finish_cause(const struct log *log)
{
	return log->finish_cause;
}

enum error log_recover_finish(struct log *log)
{
	if (log->options.kind == 'w')
		return finish_disk(log);
	remove_doomed(log, true);
	remove_doomed(log, false);
	log->recovering = false;
	log->e_left = true; /* the next frame begins a new object, whose header leaves the old one after its last whole frame */
	return ERR_OK;
}
