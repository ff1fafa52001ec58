#include "logd/checkpoint_finish.h"

#include <errno.h>
#include <stdlib.h>

#include "logd/log_internal.h"

enum { KEPT = 2 };

/* ---- does it count? ---- */

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

enum error checkpoint_read(const struct ops *ops, struct log_scan *scan, uint64_t id, struct file_header *header, uint64_t *end)
{
	struct file_name name = {.kind = 'c', .id = id};
	enum error error;
	uint64_t size;
	int file, failed = ops->open(ops->world, &name, &file);

	if (failed)
		return log_error_of(failed);
	failed = ops->size(ops->world, file, &size);
	error = failed ? log_error_of(failed) : log_scan_read(ops, scan, 'c', id, file, size);
	ops->close(ops->world, file);
	if (error)
		return error;
	if (scan->length < FILE_HEADER_SIZE || file_header_decode(header, scan->bytes) != ERR_OK || !counts(scan, header, end))
		return ERR_CORRUPT;
	return ERR_OK;
}

/* ---- which of them stay ---- */

/* Readable ones but the two newest go, and those that an earlier stop did not finish: with two that count nobody reads a third. */
struct sweep {
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

static void remove_older(const struct ops *ops)
{
	struct sweep sweep = {0};
	struct log_scan scan = {0};

	if (ops->list(ops->world, collect, &sweep) == 0 && sweep.count > KEPT) {
		bool *readable = calloc(sweep.count, sizeof *readable);

		for (size_t i = 0; readable && i < sweep.count; i++) {
			struct file_header header;
			uint64_t end;

			readable[i] = checkpoint_read(ops, &scan, sweep.names[i].id, &header, &end) == ERR_OK;
			if (readable[i])
				rank(&sweep, sweep.names[i].id, header.number);
		}
		for (size_t i = 0; readable && i < sweep.count; i++)
			if (readable[i] && sweep.names[i].id != sweep.newest[0] && sweep.names[i].id != sweep.newest[1])
				ops->unlink(ops->world, &sweep.names[i]);
		free(readable);
	}
	free(sweep.names);
	log_scan_free(&scan);
}

/* ---- the end ---- */

static enum error finish(const struct ops *ops, int handle, const uint8_t header[FILE_HEADER_SIZE])
{
	int failed;
	enum error error;

	ops->failpoint(ops->world, "checkpoint-before-sync");
	error = log_file_sync(ops, handle);
	if (error)
		return error;
	failed = ops->sync_dir(ops->world);
	if (failed)
		return log_error_of(failed);
	/* The header comes last: a checkpoint that has one was finished. */
	ops->failpoint(ops->world, "checkpoint-before-header");
	error = log_file_write(ops, handle, header, FILE_HEADER_SIZE, 0);
	ops->failpoint(ops->world, "checkpoint-after-header");
	if (!error)
		error = log_file_sync(ops, handle);
	return error;
}

void checkpoint_finish(const struct ops *ops, struct finish_job *job)
{
	struct file_name name = {.kind = 'c', .id = job->id};
	int handle, failed = ops->open(ops->world, &name, &handle);

	job->result = failed ? log_error_of(failed) : finish(ops, handle, job->header);
	job->cause = job->result ? errno : 0;
	if (!failed)
		ops->close(ops->world, handle);
	if (job->result) {
		ops->unlink(ops->world, &name);
		return;
	}
	ops->failpoint(ops->world, "checkpoint-before-removal");
	remove_older(ops);
}
