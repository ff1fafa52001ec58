/* The memory of frames that no sync covers yet. */
#include <stdlib.h>

#include "logd/log_internal.h"

struct log_chunk *log_chunk_take(struct log *log, uint64_t size)
{
	struct log_chunk *chunk;
	size_t capacity = size > log->chunk_bytes ? (size_t)size : log->chunk_bytes;

	if (capacity == log->chunk_bytes && log->pool) {
		chunk = log->pool;
		log->pool = chunk->next;
		log->pooled--;
	} else {
		chunk = malloc(sizeof *chunk + capacity);
		if (!chunk)
			return NULL;
		chunk->capacity = capacity;
	}
	chunk->next = NULL;
	chunk->file = NULL;
	chunk->lsn = 0;
	chunk->used = 0;
	return chunk;
}

void log_chunk_give(struct log *log, struct log_chunk *chunk)
{
	if (chunk->capacity != log->chunk_bytes || log->pooled >= log->pool_max) {
		free(chunk);
		return;
	}
	chunk->next = log->pool;
	log->pool = chunk;
	log->pooled++;
}

/* The chunk that goes on where the last frame ended, or a spare one. */
struct log_chunk *log_chunk_for(struct log *log, uint64_t size, bool fresh_file)
{
	struct log_chunk *last = log->last;

	if (last && last->capacity - last->used >= size && (!fresh_file || last->used == 0) &&
	    (last->used == 0 || last->file == (log->recovering ? log->fresh : log_current(log))))
		return last;
	if (log->spare && log->spare->capacity < size) {
		log_chunk_give(log, log->spare);
		log->spare = NULL;
	}
	if (!log->spare)
		log->spare = log_chunk_take(log, size);
	return log->spare;
}

void log_chunks_release(struct log *log, uint64_t lsn)
{
	struct log_chunk *last;

	while (log->first && log->first != log->last && log->first->lsn + log->first->used <= lsn) {
		struct log_chunk *gone = log->first;

		log->first = gone->next;
		log_chunk_give(log, gone);
	}
	/* The last chunk, when it holds nothing that is needed, is filled again from its beginning: a busy log stays in one warm piece of
	 * memory. */
	last = log->first;
	if (!last || last != log->last || last->lsn + last->used > lsn)
		return;
	if (last->capacity == log->chunk_bytes) {
		last->lsn += last->used;
		last->used = 0;
	} else {
		log_chunk_give(log, last);
		log->first = log->last = NULL;
	}
}

void log_chunks_cut(struct log *log, uint64_t lsn)
{
	struct log_chunk **link = &log->first, *kept = NULL;

	while (*link && (*link)->lsn < lsn) {
		kept = *link;
		link = &kept->next;
	}
	while (*link) {
		struct log_chunk *gone = *link;

		*link = gone->next;
		log_chunk_give(log, gone);
	}
	log->last = kept;
	if (kept && kept->lsn + kept->used > lsn)
		kept->used = (size_t)(lsn - kept->lsn);
}

void log_chunks_free(struct log *log)
{
	struct log_chunk *chunk;

	log_chunks_cut(log, 0);
	if (log->spare)
		log_chunk_give(log, log->spare);
	log->spare = NULL;
	while ((chunk = log->pool)) {
		log->pool = chunk->next;
		free(chunk);
	}
	log->pooled = 0;
}

enum error log_chunks_write(struct log *log, uint64_t from)
{
	for (struct log_chunk *chunk = log->first; chunk; chunk = chunk->next) {
		uint64_t skip = from > chunk->lsn ? from - chunk->lsn : 0;
		enum error error;

		if (skip >= chunk->used)
			continue;
		if (!chunk->file->header_written && chunk->file != log->fresh) {
			/* Only now, when every frame of the file before stands written: its end, which this header states, is true. */
			error = log_file_write_header(log, chunk->file);
			if (error)
				return error;
			chunk->file->header_written = true;
			log_file_born(log, chunk->file);
		}
		chunk->file->dirty = true;
		error = log_file_write(log->ops, chunk->file->handle, chunk->bytes + skip, chunk->used - skip,
		                       log_file_offset(chunk->file, chunk->lsn + skip));
		if (error)
			return error;
	}
	return ERR_OK;
}

void log_chunk_append(struct log *log, struct log_chunk *chunk, struct log_file *file, struct frame_head *head, struct log_place *place)
{
	uint64_t lsn = log->appended.lsn, offset = log_file_offset(file, lsn);

	if (chunk != log->last) {
		if (log->last)
			log->last->next = chunk;
		else
			log->first = chunk;
		log->last = chunk;
	}
	if (chunk->used == 0) {
		chunk->file = file;
		chunk->lsn = lsn;
	}
	head->lsn = lsn;
	head->frontier = log_recorded_frontier(log);
	head->prev_crc = log->appended.crc;
	frame_seal(chunk->bytes + chunk->used, head, file->header.id, offset);
	log_seal_note(file, chunk->bytes + chunk->used, head);
	*place = (struct log_place){.file_id = file->header.id, .offset = offset, .lsn = lsn, .length = head->length};
	chunk->used += head->length;
	log->appended.lsn = lsn + head->length;
	log->appended.crc = head->crc;
	file->end = log->appended.lsn;
}
