/* All that makes bytes durable, and what its failure means, is here: nobody else of the log calls sync, and nobody warns and goes on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "logd/log_internal.h"

/* Interruptions in a row after which a write counts as failed, so that no loop is endless. */
enum { FRUITLESS_MAX = 1000, READ_BLOCK = 4096 };

bool log_no_space(int error)
{
	return error == ENOSPC || error == EDQUOT;
}

bool log_may_pass(int error)
{
	return log_no_space(error) || error == EMFILE || error == ENFILE || error == ENOMEM;
}

enum error log_error_of(int error)
{
	errno = error;
	return log_no_space(error) ? ERR_STORAGE_FULL : ERR_IO;
}

enum error log_file_write(const struct ops *ops, int handle, const void *bytes, size_t length, uint64_t offset)
{
	const uint8_t *at = bytes;
	unsigned fruitless = 0;

	while (length > 0) {
		size_t done = 0;
		int error = ops->pwrite(ops->world, handle, at, length, offset, &done);

		if (error && ((error != EINTR && error != EAGAIN) || ++fruitless > FRUITLESS_MAX))
			return log_error_of(error);
		if (!error && done == 0)
			return log_error_of(ENOSPC); /* a write that takes nothing and says nothing: there is no room */
		at += done;
		offset += done;
		length -= done;
	}
	return ERR_OK;
}

enum error log_file_read(const struct ops *ops, int handle, void *bytes, size_t length, uint64_t offset, size_t *got)
{
	*got = 0;
	while (*got < length) {
		size_t done = 0;
		int error = ops->pread(ops->world, handle, (uint8_t *)bytes + *got, length - *got, offset + *got, &done);

		if (error && error != EINTR)
			return log_error_of(error);
		if (!error && done == 0)
			return ERR_OK;
		*got += done;
	}
	return ERR_OK;
}

static void span_add(struct log_span *span, uint64_t from, uint64_t to)
{
	if (span->to == 0 || from < span->from)
		span->from = from;
	if (to > span->to)
		span->to = to;
	span->bytes += to - from;
}

enum error log_file_read_damaged(const struct ops *ops, int handle, void *bytes, size_t length, uint64_t offset, size_t *got, struct log_span *bad)
{
	enum error error = log_file_read(ops, handle, bytes, length, offset, got);

	if (error != ERR_IO || errno != EIO)
		return error;
	/* Block by block, so that one bad place costs no more than itself. */
	for (*got = 0, error = ERR_OK; *got < length && !error;) {
		uint64_t at = offset + *got;
		size_t piece = READ_BLOCK - (size_t)(at % READ_BLOCK), done;

		if (piece > length - *got)
			piece = length - *got;
		error = log_file_read(ops, handle, (uint8_t *)bytes + *got, piece, at, &done);
		if (error == ERR_IO && errno == EIO) {
			memset((uint8_t *)bytes + *got, 0, piece);
			span_add(bad, at, at + piece);
			done = piece;
			error = ERR_OK;
		}
		*got += done;
		if (done < piece)
			break;
	}
	return error;
}

/* Once, never twice: after a failure the next call may say yes while the disk still holds the old bytes (I-4). */
enum error log_file_sync(const struct ops *ops, int handle)
{
	int error = ops->sync(ops->world, handle);

	return error ? log_error_of(error) : ERR_OK;
}

enum error log_file_create(const struct ops *ops, uint8_t kind, uint64_t id, uint64_t size, int *handle)
{
	struct file_name name = {.kind = kind, .id = id};
	int error = ops->create(ops->world, &name, handle);

	if (error) {
		*handle = NO_FILE;
		return log_error_of(error);
	}
	error = size > 0 ? ops->allocate(ops->world, *handle, size) : 0;
	if (!error)
		error = ops->sync_dir(ops->world);
	if (!error)
		return ERR_OK;
	ops->close(ops->world, *handle);
	*handle = NO_FILE;
	ops->unlink(ops->world, &name);
	return log_error_of(error);
}

uint64_t log_random_id(const struct ops *ops)
{
	uint64_t id = 0;

	while (id == 0)
		ops->random(ops->world, &id, sizeof id);
	return id;
}

struct log_file *log_file_new(struct log *log, uint64_t id, int handle, uint64_t size)
{
	struct log_file *file = calloc(1, sizeof *file);

	if (!file)
		return NULL;
	file->header.id = id;
	file->header.kind = log->options.kind;
	file->header.boot = log->boot;
	file->header.size = size;
	file->handle = handle;
	file->size = size;
	return file;
}

void log_file_close(struct log *log, struct log_file *file)
{
	/* The handle of a memory object is closed by ephemeral_retire: until then the object can be listed, here and in the supervisor. */
	if (file->handle != NO_FILE && log->options.kind == 'w')
		log->ops->close(log->ops->world, file->handle);
	if (log->options.kind == 'w')
		file->handle = NO_FILE;
}

void log_file_free(struct log *log, struct log_file **file)
{
	if (!*file)
		return;
	log_file_close(log, *file);
	footer_notes_destroy(&(*file)->notes);
	free(*file);
	*file = NULL;
}

enum error log_files_push(struct log *log, struct log_file *file)
{
	if (log->file_count == log->file_room) {
		size_t room = log->file_room ? log->file_room * 2 : 64;
		struct log_file **files = realloc(log->files, room * sizeof *files);

		if (!files)
			return ERR_NOMEM;
		log->files = files;
		log->file_room = room;
	}
	log->files[log->file_count++] = file;
	return ERR_OK;
}

struct log_file *log_current(const struct log *log)
{
	return log->file_count > 0 ? log->files[log->file_count - 1] : NULL;
}

struct log_file *log_file_find(const struct log *log, uint64_t id)
{
	/* From the newest: look-ups ask for what is young. */
	for (size_t i = log->file_count; i-- > 0;)
		if (log->files[i]->header.id == id)
			return log->files[i];
	return NULL;
}

void log_file_retire(struct log *log, size_t index)
{
	struct log_file *file = log->files[index];
	struct file_name name = {.kind = 'w', .id = file->header.id};

	memmove(&log->files[index], &log->files[index + 1], (log->file_count - index - 1) * sizeof *log->files);
	log->file_count--;
	if (file->header_written && log->events.retired)
		log->events.retired(log->events.context, file->header.id);
	if (log->options.kind == 'e')
		log->ops->ephemeral_retire(log->ops->world, file->header.id);
	log_file_free(log, &file);
	/* A name that comes back after a power cut holds no LSN then either, so nothing waits for this to be durable. */
	if (log->options.kind == 'w')
		log->ops->unlink(log->ops->world, &name);
}

void log_file_follow(struct log *log, struct log_file *file, const struct log_point *point)
{
	struct log_file *before = NULL;

	for (size_t i = 0; i < log->file_count; i++)
		if (log->files[i] != file && log->files[i]->header.first_lsn < point->lsn)
			before = log->files[i];
	file->header.first_lsn = point->lsn;
	file->header.predecessor = before ? before->header.id : 0;
	file->header.predecessor_end = before ? point->lsn : 0;
	file->header.chain = point->crc;
	file->header.prev_topic = point->topic;
	file->header.prev_last_seq = point->last_seq;
	file->end = point->lsn;
}

enum error log_file_write_header(struct log *log, struct log_file *file)
{
	bool made_whole = (file->header.flags & FILE_MADE_WHOLE) != 0;
	uint8_t bytes[FILE_HEADER_SIZE];
	enum error error;

	file->header.number = log->next_number++;
	file->header.frontier = log_recorded_frontier(log);
	file->header.ts = log->ops->wall_ms(log->ops->world);
	file_header_encode(&file->header, bytes);
	file->dirty = true;
	log->ops->failpoint(log->ops->world, made_whole ? "recover-before-header" : "roll-before-header");
	error = log_file_write(log->ops, file->handle, bytes, sizeof bytes, 0);
	log->ops->failpoint(log->ops->world, made_whole ? "recover-after-header" : "roll-after-header");
	return error;
}

/* A file that is made whole is synced before its header is written, but what its frames ask has not been done yet: answers come after the
 * header. */
uint64_t log_recorded_frontier(const struct log *log)
{
	uint64_t frontier = log->options.kind == 'e' ? log->e_answered : log->synced.lsn;

	return log->settling && frontier > log->settling_frontier ? log->settling_frontier : frontier;
}

void log_file_born(struct log *log, struct log_file *file)
{
	if (log->events.born && !file->announced)
		log->events.born(log->events.context, file->header.id, file->header.number, file->header.first_lsn);
	file->announced = true;
}
