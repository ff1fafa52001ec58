/* The frames of one file, found without trusting any of its bytes. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "logd/log_internal.h"

enum { READ_PIECE = 1 << 22, LARGE_PAGE = 1 << 21 };

void log_scan_free(struct log_scan *scan)
{
	free(scan->bytes);
	free(scan->items);
	*scan = (struct log_scan){0};
}

/* Touching the memory for a whole file page by page costs more than checking all that is in it, so it is asked for in large pages. */
static enum error make_room(struct log_scan *scan, uint64_t length)
{
	uint64_t room = length < LARGE_PAGE ? length : (length + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;

	free(scan->bytes);
	scan->bytes = room < LARGE_PAGE ? malloc(room) : aligned_alloc(LARGE_PAGE, room);
	scan->room = scan->bytes ? room : 0;
	if (scan->bytes && room >= LARGE_PAGE)
		(void)madvise(scan->bytes, room, MADV_HUGEPAGE); /* a wish; small pages do as well */
	return scan->bytes ? ERR_OK : ERR_NOMEM;
}

enum error log_scan_read(const struct ops *ops, struct log_scan *scan, uint8_t kind, uint64_t id, int handle, uint64_t length)
{
	struct file_name name = {.kind = kind, .id = id};
	enum error error = ERR_OK;
	int file = handle, failed;

	if (file == NO_FILE && (failed = ops->open(ops->world, &name, &file)))
		return log_error_of(failed);
	if (scan->room < length)
		error = make_room(scan, length);
	scan->bad = (struct log_span){0};
	for (scan->length = 0; !error && scan->length < length;) {
		size_t got, piece = length - scan->length < READ_PIECE ? (size_t)(length - scan->length) : READ_PIECE;

		error = log_file_read_damaged(ops, file, scan->bytes + scan->length, piece, scan->length, &got, &scan->bad);
		scan->length += got;
		if (got < piece)
			break;
	}
	if (handle == NO_FILE)
		ops->close(ops->world, file);
	return error;
}

static enum error add_item(struct log_scan *scan, uint64_t offset, uint32_t length, bool whole)
{
	if (scan->count == scan->items_room) {
		size_t room = scan->items_room ? scan->items_room * 2 : 1024;
		struct scan_item *items = realloc(scan->items, room * sizeof *items);

		if (!items)
			return ERR_NOMEM;
		scan->items = items;
		scan->items_room = room;
	}
	scan->items[scan->count++] = (struct scan_item){offset, length, whole};
	return ERR_OK;
}

uint64_t log_scan_next(const struct log_scan *scan, uint64_t id, uint64_t first_lsn, uint64_t from, uint64_t limit)
{
	for (uint64_t at = from; at + FRAME_MIN <= limit; at += 8) {
		const uint8_t *frame = scan->bytes + at;
		uint64_t expected = first_lsn ? first_lsn + at - FILE_HEADER_SIZE : 0;
		struct frame_head head;

		if (get_u32(frame) != FRAME_MAGIC)
			continue;
		if (frame_check(frame, limit - at, id, at, first_lsn ? expected : get_u64(frame + 16), &head) == ERR_OK)
			return at;
	}
	return 0;
}

static bool all_zero(const uint8_t *bytes, uint64_t length)
{
	uint64_t i = 0;

	for (; i + 8 <= length; i += 8)
		if (get_u64(bytes + i))
			return false;
	for (; i < length; i++)
		if (bytes[i])
			return false;
	return true;
}

enum error log_scan_file(struct log *log, struct log_scan *scan, struct log_file *file)
{
	const struct file_header *header = &file->header;
	bool newest = file->end == UINT64_MAX, chained = !file->salvaged;
	uint64_t at = FILE_HEADER_SIZE, stated = newest ? file->size : log_file_offset(file, file->end), limit;
	uint32_t crc = header->chain;
	enum error error;

	scan->count = 0;
	scan->frames = scan->max_frontier = 0;
	error = log_scan_read(log->ops, scan, header->kind, header->id, file->handle, stated < file->size ? stated : file->size);
	/* A bad place is damage; a disk that gives next to nothing may give it all tomorrow, and what is announced as lost stays lost. */
	if (!error && scan->bad.bytes > scan->length / 2)
		error = log_error_of(EIO);
	limit = scan->length;
	while (!error && at < limit) {
		struct frame_head head;
		uint64_t lsn = header->first_lsn + at - FILE_HEADER_SIZE, next;
		enum error valid = frame_check(scan->bytes + at, limit - at, header->id, at, lsn, &head);

		if (valid == ERR_NEWER)
			return ERR_NEWER;
		if (valid == ERR_OK && (!chained || head.prev_crc == crc)) {
			error = add_item(scan, at, head.length, frame_whole(scan->bytes + at, &head));
			at += head.length;
			crc = head.crc;
			chained = true;
			scan->frames++;
			if (head.frontier > scan->max_frontier)
				scan->max_frontier = head.frontier;
			continue;
		}
		/* No frame is shorter than FRAME_MIN, so none begins nearer than that to the place where one should. */
		next = log_scan_next(scan, header->id, header->first_lsn, at + FRAME_MIN, limit);
		if (!next)
			break;
		error = add_item(scan, at, 0, false);
		at = next;
		chained = false;
	}
	/* What is left is a hole, but for the zeros behind the newest frame of all, if they are that. */
	if (!error && (newest ? scan->bad.to > at || !all_zero(scan->bytes + at, limit - at) : at < stated))
		error = add_item(scan, at, 0, false);
	return error;
}
