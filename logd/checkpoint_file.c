/*
 * A checkpoint: a file of its own whose frames are the state (docs/format.md §9): read at a start, written in slices, each frame with the LSN it was taken at.
 *
 *   start ──frame, frame, ...──▶ close (end entry; all written) ──the log is synced past the last slice──▶ finish (a job: syncs, header) ──▶ it counts
 *     └─────────── any failure, or the log leaves its file: abandon, tried again later ◀──┘
 */
#include <errno.h>
#include <stdlib.h>

#include "logd/checkpoint_finish.h"
#include "logd/log_internal.h"

enum { BUFFER = 1 << 20 };

struct checkpoint_writer {
	uint64_t id;
	int handle;
	uint64_t lsn;      /* of the state when the first slice was taken */
	uint64_t last_lsn; /* ... and the last one */
	uint64_t offset;   /* where the next frame goes */
	uint64_t written;  /* everything before this offset is */
	uint64_t frames;
	bool finishing;    /* a job syncs it and writes its header */
	uint32_t crc;
	size_t room;
	uint8_t *buffer;
};

/* ---- reading ---- */

static enum error visit(const struct log_scan *scan, const struct file_header *header, uint64_t end, const struct log_visitor *visitor)
{
	enum error error = ERR_OK;

	for (uint64_t at = FILE_HEADER_SIZE; at < end && !error;) {
		struct frame_head head;
		struct log_frame frame = {.bytes = scan->bytes + at, .head = &head, .checkpoint = true, .proven = true, .whole = true};

		frame_head_decode(&head, frame.bytes, end - at);
		frame.place = (struct log_place){header->id, at, at, head.length};
		error = visitor->frame(visitor->context, &frame);
		at += head.length;
	}
	return error;
}

enum error checkpoint_load(struct log *log, const struct log_visitor *visitor, const struct log_order *order, uint64_t *lsn)
{
	struct log_scan scan = {0};
	enum error error = ERR_CORRUPT;

	*lsn = 0;
	for (size_t i = 0; i < order->checkpoint_count && error == ERR_CORRUPT; i++) {
		struct file_header header;
		uint64_t end;

		error = checkpoint_read(log->ops, &scan, order->checkpoints[i], &header, &end);
		if (error)
			continue;
		*lsn = header.checkpoint_lsn;
		error = visit(&scan, &header, end, visitor);
		break;
	}
	log_scan_free(&scan);
	return order->checkpoint_count == 0 || (error == ERR_CORRUPT && *lsn == 0) ? ERR_OK : error;
}

/* ---- writing ---- */

void checkpoint_writer_free(struct log *log)
{
	struct checkpoint_writer *writer = log->checkpoint;

	if (!writer)
		return;
	if (writer->handle != NO_FILE)
		log->ops->close(log->ops->world, writer->handle);
	free(writer->buffer);
	free(writer);
	log->checkpoint = NULL;
}

static enum error flush(struct log *log, struct checkpoint_writer *writer)
{
	size_t used = (size_t)(writer->offset - writer->written);
	enum error error = used ? log_file_write(log->ops, writer->handle, writer->buffer, used, writer->written) : ERR_OK;

	writer->written = writer->offset;
	return error;
}

void log_checkpoint_abandon(struct log *log)
{
	struct file_name name = {.kind = 'c'};

	if (!log->checkpoint || log->checkpoint->finishing)
		return;
	name.id = log->checkpoint->id;
	checkpoint_writer_free(log);
	log->ops->unlink(log->ops->world, &name);
	log->checkpoint_waits = true;
}

enum error log_checkpoint_start(struct log *log)
{
	struct checkpoint_writer *writer;
	struct file_name name = {.kind = 'c'};
	int failed;

	if (log->checkpoint)
		return ERR_BUSY;
	writer = calloc(1, sizeof *writer);
	if (!writer)
		return ERR_NOMEM;
	writer->handle = NO_FILE;
	log->checkpoint = writer;
	writer->id = name.id = log_random_id(log->ops);
	writer->lsn = writer->last_lsn = log->appended.lsn;
	writer->offset = writer->written = FILE_HEADER_SIZE;
	writer->room = BUFFER;
	writer->buffer = malloc(writer->room);
	failed = writer->buffer ? log->ops->create(log->ops->world, &name, &writer->handle) : ENOMEM;
	if (!failed)
		return ERR_OK;
	writer->handle = NO_FILE;
	checkpoint_writer_free(log);
	log->checkpoint_waits = true;
	return failed == ENOMEM ? ERR_NOMEM : log_error_of(failed);
}

enum error log_checkpoint_begin(struct log *log)
{
	enum error error = log_sync_all(log);

	if (error)
		return error;
	log_checkpoint_abandon(log);
	return log_checkpoint_start(log);
}

/* Room for `length` more bytes behind what is in the buffer. */
static enum error make_room(struct log *log, struct checkpoint_writer *writer, size_t length)
{
	enum error error = writer->offset - writer->written + length > writer->room ? flush(log, writer) : ERR_OK;
	uint8_t *grown;

	if (error || length <= writer->room)
		return error;
	grown = realloc(writer->buffer, length);
	if (!grown)
		return ERR_NOMEM;
	writer->buffer = grown;
	writer->room = length;
	return ERR_OK;
}

enum error log_checkpoint_frame(struct log *log, const uint8_t *entries, uint32_t entries_length, uint32_t entry_count)
{
	struct checkpoint_writer *writer = log->checkpoint;
	struct frame_head head = {
		.length = (uint32_t)frame_size(entries_length, 0, 0),
		.entries_length = entries_length,
		.request_id = log->appended.lsn,
		.ts = log->ops->wall_ms(log->ops->world),
		.entry_count = entry_count,
	};
	uint8_t *frame;
	enum error error;

	if (!writer)
		return ERR_AGAIN;
	head.lsn = head.frontier = writer->offset;
	head.prev_crc = writer->crc;
	error = make_room(log, writer, head.length);
	if (error)
		return error;
	frame = writer->buffer + (writer->offset - writer->written);
	memcpy(frame + FRAME_HEAD, entries, entries_length);
	frame_seal(frame, &head, writer->id, writer->offset);
	writer->last_lsn = log->appended.lsn;
	writer->crc = head.crc;
	writer->offset += head.length;
	writer->frames++;
	return ERR_OK;
}

enum error log_checkpoint_close(struct log *log)
{
	struct checkpoint_writer *writer = log->checkpoint;
	struct entry end = {.type = ENTRY_CHECKPOINT_END};
	uint8_t bytes[64];
	enum error error;

	if (!writer)
		return ERR_AGAIN;
	end.checkpoint_end.lsn = writer->lsn;
	end.checkpoint_end.frames = writer->frames;
	error = log_checkpoint_frame(log, bytes, entry_encode(&end, bytes), 1);
	return error ? error : flush(log, writer);
}

/*
 * The header takes the log's number and frontier of now. Of the log, everything up to the last slice has to be recorded as synced: a checkpoint may not know what the
 * log could have lost.
 */
static struct finish_job make_job(struct log *log, uint64_t frontier)
{
	const struct checkpoint_writer *writer = log->checkpoint;
	const struct file_header header = {
		.id = writer->id,
		.kind = 'c',
		.number = log->next_number++,
		.first_lsn = LSN_FIRST,
		.frontier = frontier,
		.ts = log->ops->wall_ms(log->ops->world),
		.boot = log->boot,
		.size = writer->offset,
		.checkpoint_lsn = writer->lsn,
	};
	struct finish_job job = {.id = writer->id};

	file_header_encode(&header, job.header);
	return job;
}

bool log_checkpoint_covered(const struct log *log)
{
	return log->checkpoint && log->checkpoint->last_lsn <= log_recorded_frontier(log);
}

enum error log_checkpoint_finish(struct log *log)
{
	struct finish_job job = make_job(log, log_recorded_frontier(log));
	int failed = log->ops->finish_start(log->ops->world, &job);

	log->checkpoint->finishing = !failed;
	return failed ? log_error_of(failed) : ERR_OK;
}

void log_checkpoint_finished(struct log *log, const struct finish_job *job)
{
	if (!log->checkpoint || log->checkpoint->id != job->id)
		return;
	if (job->result)
		log->checkpoint_waits = true;
	else
		log->checkpoint_lsn = log->checkpoint->lsn;
	checkpoint_writer_free(log);
}

bool log_checkpoint_due(const struct log *log)
{
	return log->options.checkpoint_bytes && !log->checkpoint && !log->checkpoint_waits && log->state == LOG_OPEN && !log->recovering &&
	       log->appended.lsn - log->checkpoint_lsn >= log->options.checkpoint_bytes;
}

bool log_checkpoint_finishing(const struct log *log)
{
	return log->checkpoint && log->checkpoint->finishing;
}

enum error log_checkpoint_end(struct log *log)
{
	enum error error = log_checkpoint_close(log);
	struct finish_job job;

	if (error) {
		log_checkpoint_abandon(log);
		return error;
	}
	job = make_job(log, log->synced.lsn);
	checkpoint_finish(log->ops, &job);
	log_checkpoint_finished(log, &job);
	errno = job.cause;
	return job.result;
}
