/* The files of the ephemeral log: memory objects, bounded in all, never synced and never copied. */
#include <errno.h>
#include <stdlib.h>

#include "common/settings.h"
#include "logd/log_internal.h"

enum { WINDOW = 1 << 20 };

/* Tells of every frame of a file, read a window at a time. */
static enum error tell_evicted(struct log *log, const struct log_file *file)
{
	uint64_t at = FILE_HEADER_SIZE, end = log_file_offset(file, file->end), room = WINDOW;
	uint8_t *bytes = malloc(room);
	enum error error = bytes ? ERR_OK : ERR_NOMEM;

	while (!error && at < end) {
		uint64_t piece = end - at < room ? end - at : room, used = 0;
		size_t got;

		error = log_file_read(log->ops, file->handle, bytes, piece, at, &got);
		while (!error && got - used >= FRAME_MIN) {
			uint32_t length = get_u32(bytes + used + 8);

			if (get_u32(bytes + used) != FRAME_MAGIC || length < FRAME_MIN)
				error = ERR_CORRUPT;
			if (error || length > got - used)
				break;
			log->events.evicted(log->events.context, bytes + used);
			used += length;
		}
		if (!error && used == 0) {
			/* One frame that is larger than the window, or bytes that are none. */
			uint32_t length = got >= FRAME_MIN ? get_u32(bytes + 8) : 0;

			if (length <= room || length > end - at)
				error = ERR_CORRUPT;
			free(bytes);
			room = length;
			bytes = error ? NULL : malloc(room);
			if (!error && !bytes)
				error = ERR_NOMEM;
		}
		at += used;
	}
	free(bytes);
	return error;
}

static uint64_t total_bytes(const struct log *log)
{
	uint64_t total = 0;

	for (size_t i = 0; i < log->file_count; i++)
		total += log->files[i]->size;
	return total;
}

/* Would one more file of `size` bytes be too much? Without a bound of bytes there is still one of files. */
static bool past_bound(const struct log *log, uint64_t size)
{
	return log->file_count >= EPHEMERAL_FILES_MAX || (log->options.total_max && total_bytes(log) + size > log->options.total_max);
}

/* Makes room for `size` more bytes: the oldest files go, each frame announced. */
static enum error evict(struct log *log, uint64_t size)
{
	while (log->file_count > 0 && past_bound(log, size)) {
		enum error error = log->events.evicted ? tell_evicted(log, log->files[0]) : ERR_OK;

		/* Frames that cannot be read are gone all the same; those who look find the hole (and its seqs are announced from what
		 * follows). */
		if (error == ERR_NOMEM)
			return error;
		log_file_retire(log, 0);
	}
	return ERR_OK;
}

enum error log_ephemeral_begin(struct log *log, uint64_t frame_size)
{
	uint64_t size = log->options.file_bytes > FILE_HEADER_SIZE + frame_size ? log->options.file_bytes : FILE_HEADER_SIZE + frame_size;
	uint64_t id = log_random_id(log->ops);
	struct log_file *file;
	enum error error;
	int handle = NO_FILE, failed;

	/* One that has no frame yet has nothing that a header would have to leave. */
	if (log->file_count > 0 && log_current(log)->header.first_lsn == log->written.lsn)
		log_file_retire(log, log->file_count - 1);
	failed = log->ops->ephemeral_create(log->ops->world, id, size, &handle);
	if (failed == EAGAIN)
		return ERR_AGAIN;
	if (failed)
		return log_error_of(failed);
	error = evict(log, size);
	file = error ? NULL : log_file_new(log, id, handle, size);
	if (!error && !file)
		error = ERR_NOMEM;
	if (!error) {
		log_file_follow(log, file, &log->written);
		error = log_files_push(log, file);
	}
	if (error) {
		log->ops->ephemeral_retire(log->ops->world, id);
		free(file);
		return error;
	}
	log->e_left = false;
	return ERR_OK;
}
