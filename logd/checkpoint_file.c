/* A checkpoint: a file of its own whose frames are the state (docs/format.md §9). */
#include <errno.h>
#include <stdlib.h>

#include "logd/log_internal.h"

enum {
	BUFFER = 1 << 20,
	KEPT = 2,
};

struct checkpoint_writer {
	uint64_t id;
	int handle;
	uint64_t lsn;      /* of the state */
	uint64_t offset;   /* where the next frame goes */
	uint64_t written;  /* everything before this offset is */
	uint64_t frames;
	uint32_t crc;
	size_t room;
	uint8_t *buffer;
};

/* ---- reading ---- */

/* Does the file in `scan` count? Every frame is whole, they fill it to the end entry, and that is right. */
static bool counts(const struct log_scan *scan, const struct file_header *header, uint64_t *end)
{
	uint64_t frames = 0, at = FILE_HEADER_SIZE;
	uint32_t crc = 0;

	while (at < scan->length) {
		const uint8_t *frame = scan->bytes + at;
		struct frame_head head;
		struct entry entry;

		if (frame_check(frame, scan->length - at, header->id, at, at, &head) != ERR_OK || head.prev_crc != crc)
			return false;
		if (!frame_whole(frame, &head) || entry_decode(&entry, frame + FRAME_HEAD, head.entries_length) != ERR_OK)
			return false;
		if (entry.type == ENTRY_CHECKPOINT_END) {
			*end = at + head.length;
			return head.entry_count == 1 && entry.checkpoint_end.lsn == header->checkpoint_lsn &&
			       entry.checkpoint_end.frames == frames;
		}
		crc = head.crc;
		at += head.length;
		frames++;
	}
	return false;
}

static enum error read_checkpoint(struct log *log, struct log_scan *scan, uint64_t id, struct file_header *header, uint64_t *end)
{
	struct file_name name = {.kind = 'c', .id = id};
	enum error error;
	uint64_t size;
	int file, failed = log->ops->open(log->ops->world, &name, &file);

	if (failed)
		return log_error_of(failed);
	failed = log->ops->size(log->ops->world, file, &size);
	error = failed ? log_error_of(failed) : log_scan_read(log, scan, 'c', id, file, size);
	log->ops->close(log->ops->world, file);
	if (error)
		return error;
	if (scan->length < FILE_HEADER_SIZE || file_header_decode(header, scan->bytes) != ERR_OK || !counts(scan, header, end))
		return ERR_CORRUPT;
	return ERR_OK;
}

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

		error = read_checkpoint(log, &scan, order->checkpoints[i], &header, &end);
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

enum error log_checkpoint_begin(struct log *log)
{
	struct checkpoint_writer *writer;
	enum error error = log_sync_all(log);

	if (error)
		return error;
	checkpoint_writer_free(log);
	writer = calloc(1, sizeof *writer);
	if (!writer)
		return ERR_NOMEM;
	writer->handle = NO_FILE;
	log->checkpoint = writer;
	writer->id = log_random_id(log->ops);
	writer->lsn = log->synced.lsn;
	writer->offset = writer->written = FILE_HEADER_SIZE;
	writer->room = BUFFER;
	writer->buffer = malloc(writer->room);
	error = writer->buffer ? log_file_create(log->ops, 'c', writer->id, 0, &writer->handle) : ERR_NOMEM;
	if (error)
		checkpoint_writer_free(log);
	return error;
}

enum error log_checkpoint_frame(struct log *log, const uint8_t *entries, uint32_t entries_length, uint32_t entry_count)
{
	struct checkpoint_writer *writer = log->checkpoint;
	struct frame_head head = {
		.length = (uint32_t)frame_size(entries_length, 0, 0),
		.lsn = writer->offset,
		.frontier = writer->offset,
		.prev_crc = writer->crc,
		.entries_length = entries_length,
		.request_id = writer->lsn,
		.ts = log->ops->wall_ms(log->ops->world),
		.entry_count = entry_count,
	};
	uint8_t *frame;

	if (writer->offset - writer->written + head.length > writer->room) {
		enum error error = flush(log, writer);

		if (error)
			return error;
	}
	if (head.length > writer->room) {
		uint8_t *grown = realloc(writer->buffer, head.length);

		if (!grown)
			return ERR_NOMEM;
		writer->buffer = grown;
		writer->room = head.length;
	}
	frame = writer->buffer + (writer->offset - writer->written);
	memcpy(frame + FRAME_HEAD, entries, entries_length);
	frame_seal(frame, &head, writer->id, writer->offset);
	writer->crc = head.crc;
	writer->offset += head.length;
	writer->frames++;
	return ERR_OK;
}

/* Readable ones but the two newest go, and those that an earlier stop did not finish: with two that count nobody reads a third. */
struct sweep {
	struct log *log;
	uint64_t newest[KEPT];
	uint64_t numbers[KEPT];
	struct file_name *names;
	size_t count, room;
};

static int collect(void *context, const struct file_name *name, uint64_t size)
{
	struct sweep *sweep = context;

	(void)size;
	if (name->kind != 'c')
		return 0;
	if (sweep->count == sweep->room) {
		size_t room = sweep->room ? sweep->room * 2 : 8;
		struct file_name *grown = realloc(sweep->names, room * sizeof *grown);

		if (!grown)
			return ENOMEM;
		sweep->names = grown;
		sweep->room = room;
	}
	sweep->names[sweep->count++] = *name;
	return 0;
}

static void rank(struct sweep *sweep, uint64_t id, uint64_t number)
{
	if (number > sweep->numbers[0]) {
		sweep->newest[1] = sweep->newest[0];
		sweep->numbers[1] = sweep->numbers[0];
		sweep->newest[0] = id;
		sweep->numbers[0] = number;
	} else if (number > sweep->numbers[1]) {
		sweep->newest[1] = id;
		sweep->numbers[1] = number;
	}
}

static void remove_older(struct log *log)
{
	struct sweep sweep = {.log = log};
	struct log_scan scan = {0};

	if (log->ops->list(log->ops->world, collect, &sweep) == 0 && sweep.count > KEPT) {
		bool *readable = calloc(sweep.count, sizeof *readable);

		for (size_t i = 0; readable && i < sweep.count; i++) {
			struct file_header header;
			uint64_t end;

			readable[i] = read_checkpoint(log, &scan, sweep.names[i].id, &header, &end) == ERR_OK;
			if (readable[i])
				rank(&sweep, sweep.names[i].id, header.number);
		}
		for (size_t i = 0; readable && i < sweep.count; i++)
			if (readable[i] && sweep.names[i].id != sweep.newest[0] && sweep.names[i].id != sweep.newest[1])
				log->ops->unlink(log->ops->world, &sweep.names[i]);
		free(readable);
	}
	free(sweep.names);
	log_scan_free(&scan);
}

enum error log_checkpoint_end(struct log *log)
{
	struct checkpoint_writer *writer = log->checkpoint;
	struct file_header header = {
		.id = writer->id,
		.kind = 'c',
		.number = log->next_number++,
		.first_lsn = LSN_FIRST,
		.frontier = log->synced.lsn,
		.ts = log->ops->wall_ms(log->ops->world),
		.boot = log->boot,
		.checkpoint_lsn = writer->lsn,
	};
	struct entry end = {.type = ENTRY_CHECKPOINT_END, .checkpoint_end = {.lsn = writer->lsn, .frames = writer->frames}};
	uint8_t bytes[FILE_HEADER_SIZE];
	enum error error;

	error = log_checkpoint_frame(log, bytes, entry_encode(&end, bytes), 1);
	if (!error)
		error = flush(log, writer);
	if (!error)
		error = log_file_sync(log->ops, writer->handle);
	/* The header comes last: a checkpoint that has one was finished. */
	header.size = writer->offset;
	file_header_encode(&header, bytes);
	if (!error)
		error = log_file_write(log->ops, writer->handle, bytes, sizeof bytes, 0);
	if (!error)
		error = log_file_sync(log->ops, writer->handle);
	if (error) {
		struct file_name name = {.kind = 'c', .id = writer->id};

		log->ops->unlink(log->ops->world, &name);
	}
	checkpoint_writer_free(log);
	if (!error)
		remove_older(log);
	return error;
}
