/* The files that come next: prepared in the background, begun when a frame does not fit any more. */
#include <errno.h>

#include "logd/log_internal.h"

enum {
	PREPARED_NORMAL = 1,
	PREPARED_LATE = 2,           /* wanted once half of the current file is used, because a roll needs the file after the next */
	PREPARED_LARGE_MAX = PREPARED_MAX / 2,
	PREPARE_FAILURES_MAX = 3,
	RESERVE_PART = 16,           /* the last sixteenth of a file is for control frames while no roll is possible */
};

static uint64_t room_left(const struct log_file *file)
{
	uint64_t used = log_file_offset(file, file->end);

	return file->size > used ? file->size - used : 0;
}

static unsigned prepared_of_size(const struct log *log, uint64_t size)
{
	unsigned count = 0;

	for (unsigned i = 0; i < log->prepared_count; i++)
		count += log->prepared[i].size >= size;
	return count;
}

/* Why the next file cannot be begun. */
static enum error not_prepared(struct log *log)
{
	if (log->prepare_failures >= PREPARE_FAILURES_MAX) {
		if (log->appended.lsn != log->written.lsn)
			return ERR_AGAIN; /* what is gathered has its place: it is written first */
		log->state = LOG_READ_ONLY;
		return ERR_READ_ONLY;
	}
	if (log->state == LOG_FULL || (log->preparing == 0 && log_may_pass(log->prepare_error))) {
		log->state = LOG_FULL;
		return ERR_STORAGE_FULL;
	}
	log_prepare_next(log);
	return ERR_AGAIN;
}

/* The file to begin and the one after it stand ready: the second is what a full disk leaves us, so that recovery finds a file for the
 * tail. */
static bool can_roll(const struct log *log, uint64_t size)
{
	return log->prepared_count >= 2 && prepared_of_size(log, FILE_HEADER_SIZE + size) >= 1;
}

static enum error room_disk(struct log *log, uint64_t size, bool control, bool *rolls)
{
	struct log_file *file = log_current(log);
	uint64_t left = room_left(file), kept = control ? 0 : file->size / RESERVE_PART;
	uint64_t normal = log->options.file_bytes;
	enum error error;

	if (FILE_HEADER_SIZE + size > normal)
		log->large_wanted = size <= left ? 0 : FILE_HEADER_SIZE + size;
	if (size <= left && (left - size >= kept || (log->prepared_count >= 2 && !log->seal_full) || file->size > normal))
		return ERR_OK;
	error = log_seal_room(log);
	if (error) {
		log->roll_wanted = true;
		log_prepare_next(log);
		return error;
	}
	if (!can_roll(log, size)) {
		log->roll_wanted = true;
		return not_prepared(log);
	}
	*rolls = true;
	return ERR_OK;
}

static enum error room_ephemeral(struct log *log, uint64_t size)
{
	struct log_file *file = log_current(log);

	if (file && !log->e_left && size <= room_left(file))
		return ERR_OK;
	/* Begun at once: nothing has to be asked of a disk. What is gathered is written first, so the header's statement about the old file
	 * is true. */
	if (log->appended.lsn != log->written.lsn)
		return ERR_AGAIN;
	return log_ephemeral_begin(log, size);
}

enum error log_room(struct log *log, uint64_t size, bool control, bool *rolls)
{
	*rolls = false;
	return log->options.kind == 'e' ? room_ephemeral(log, size) : room_disk(log, size, control, rolls);
}

bool log_take_prepared(struct log *log, uint64_t size, struct prepared_file *prepared)
{
	for (unsigned i = 0; i < log->prepared_count; i++) {
		if (log->prepared[i].size < size)
			continue;
		*prepared = log->prepared[i];
		log->prepared_count--;
		memmove(&log->prepared[i], &log->prepared[i + 1], (log->prepared_count - i) * sizeof *prepared);
		return true;
	}
	return false;
}

enum error log_roll(struct log *log, uint64_t size)
{
	struct prepared_file prepared;
	struct log_file *file;
	enum error error;

	if (!log_take_prepared(log, FILE_HEADER_SIZE + size, &prepared))
		return ERR_AGAIN;
	file = log_file_new(log, prepared.id, prepared.handle, prepared.size);
	error = file ? ERR_OK : ERR_NOMEM;
	if (!error) {
		log_file_follow(log, file, &log->appended);
		error = log_files_push(log, file);
	}
	if (error) {
		if (file)
			file->handle = NO_FILE;
		log_file_free(log, &file);
		log->prepared[log->prepared_count++] = prepared;
		return error;
	}
	if (!log->settling) /* else nobody knows how many files wait to be sealed; they are read then */
		file->notes = footer_notes_create(file->header.first_lsn);
	log->large_wanted = 0;
	log->roll_wanted = false;
	return ERR_OK;
}

static unsigned prepared_wanted(const struct log *log)
{
	const struct log_file *file = log_current(log);

	/* A frame that does not fit makes a roll due, however much is left. */
	if (!file || (room_left(file) >= file->size / 2 && !log->roll_wanted))
		return PREPARED_NORMAL;
	return PREPARED_LATE;
}

static bool large_missing(const struct log *log)
{
	return log->large_wanted && prepared_of_size(log, log->large_wanted) == 0;
}

/* Starts that failed leave more prepared files behind than are ever wanted; they may not stand in the way of one that a large frame waits for. */
static void make_place_for_large(struct log *log)
{
	while (large_missing(log) && log->prepared_count >= PREPARED_LARGE_MAX) {
		const struct prepared_file *last = &log->prepared[--log->prepared_count];
		struct file_name name = {.kind = 'w', .id = last->id};

		if (last->handle != NO_FILE)
			log->ops->close(log->ops->world, last->handle);
		log->ops->unlink(log->ops->world, &name);
	}
}

/* Bytes of the file to prepare now, 0 if none is wanted. */
static uint64_t wanted_size(const struct log *log)
{
	if (large_missing(log) && log->prepared_count < PREPARED_LARGE_MAX)
		return align8(log->large_wanted);
	/* A frame larger than a file takes one out of the row whatever is left in the current one. */
	return log->prepared_count < (log->large_wanted ? PREPARED_LATE : prepared_wanted(log)) ? log->options.file_bytes : 0;
}

void log_prepare_next(struct log *log)
{
	uint64_t size, id;
	int error;

	if (log->options.kind != 'w' || log->preparing || log->prepare_error || log->recovering || log->state == LOG_READ_ONLY)
		return;
	make_place_for_large(log);
	size = log->leave == LEAVE_FILE ? log->leave_bytes : wanted_size(log);
	if (size == 0 || log->prepared_count == PREPARED_MAX)
		return;
	id = log_random_id(log->ops);
	error = log->ops->prepare_start(log->ops->world, id, size);
	if (error) {
		log_prepared(log, 0, error);
		return;
	}
	log->preparing = id;
	log->preparing_size = size;
}

void log_prepared(struct log *log, uint64_t id, int error)
{
	struct file_name name = {.kind = 'w', .id = id};
	struct prepared_file *prepared = &log->prepared[log->prepared_count];

	if (id != log->preparing)
		return;
	log->preparing = 0;
	if (!error)
		error = log->ops->open(log->ops->world, &name, &prepared->handle);
	log->prepare_error = error;
	if (!error) {
		prepared->id = id;
		prepared->size = log->preparing_size;
		log->prepared_count++;
		log->prepare_failures = 0;
		if (log->state == LOG_FULL && log->leave == LEAVE_NONE)
			log->state = LOG_OPEN;
	} else if (!log_may_pass(error)) {
		log->prepare_failures++;
	}
	if (log->leave == LEAVE_FILE)
		log_leave_prepared(log, error);
	if (!error)
		log_prepare_next(log);
}
