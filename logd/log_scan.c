/* The frames of one file, found without trusting any of its bytes. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "logd/log_internal.h"

enum { READ_PIECE = 1 << 20, LARGE_PAGE = 1 << 21 };

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

bool log_all_zero(const uint8_t *bytes, uint64_t length)
{
	/* Every byte is the one after it, and the first is 0. */
	return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

/* What a file was made for and does not hold yet is mostly zeros, and need not be read to know that. */
uint64_t log_next_data(const struct ops *ops, int file, uint64_t at)
{
	uint64_t found;

	return ops->data(ops->world, file, at, &found) == 0 && found > at ? found : at;
}

/*
 * Reads pieces to where they will stay, but one behind zeros to where those were read: memory that is touched for the first time costs more than reading. Zeros at the
 * end are left out: the length ends with the last piece that holds something.
 */
static enum error read_pieces(const struct ops *ops, struct log_scan *scan, int file, uint64_t length)
{
	uint64_t at = 0;

	while (at < length) {
		size_t got, piece = length - at < READ_PIECE ? (size_t)(length - at) : READ_PIECE;
		uint8_t *place = scan->bytes + scan->length;
		enum error error;

		if (log_next_data(ops, file, at) >= at + piece) {
			at += piece;
			continue;
		}
		error = log_file_read_damaged(ops, file, place, piece, at, &got, &scan->bad);
		if (error)
			return error;
		if (scan->bad.to > at || !log_all_zero(place, got)) { /* zeros that stand for what cannot be read are not just zeros */
			if (at > scan->length) {
				memmove(scan->bytes + at, place, got);
				memset(place, 0, at - scan->length);
			}
			scan->length = at + got;
		}
		if (got < piece)
			break;
		at += piece;
	}
	return ERR_OK;
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
	scan->length = 0;
	if (!error)
		error = read_pieces(ops, scan, file, length);
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
	if (!error && (newest ? scan->bad.to > at || !log_all_zero(scan->bytes + at, limit - at) : at < stated))
		error = add_item(scan, at, 0, false);
	return error;
}
