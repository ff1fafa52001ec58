#include "worker/frame_check.h"

#include "common/record.h"

enum { WORK = 256 * 1024 }; /* bytes of a frame that one call goes over: of records it looks at the heads alone, but all of them may have to be read */

/* The records of the area in which the check stands, by their heads; then their table. */
static enum error sum_area(struct frame_check *c, struct window *window, uint64_t *work)
{
	const uint8_t *bytes;
	enum error error;
	while (c->at < c->end) {
		if (c->end - c->at < RECORD_HEAD)
			return ERR_CORRUPT;
		if (*work >= WORK)
			return ERR_BUSY;
		if ((error = window_bytes(window, c->at, RECORD_HEAD, &bytes)) != ERR_OK)
			return error;
		uint32_t length = get_u32(bytes);
		if (length < RECORD_HEAD || length % 8 != 0 || length > c->end - c->at)
			return ERR_CORRUPT;
		frame_sum_record(&c->sum, bytes);
		c->at += length;
		*work += length;
	}
	error = window_bytes(window, c->end, c->table, &bytes);
	if (error != ERR_OK)
		return error;
	frame_sum_bytes(&c->sum, bytes, c->table);
	c->table = 0;
	return ERR_OK;
}

/* The next entry: if it has an area of its own, its records are summed next. */
static enum error next_entry(struct frame_check *c, struct window *window)
{
	const uint8_t *bytes;
	struct entry entry;
	struct frame_area area;
	enum error error = window_bytes(window, c->frame + FRAME_HEAD + c->entry, c->head.entries_length - c->entry, &bytes);
	if (error == ERR_OK)
		error = entry_decode(&entry, bytes, c->head.entries_length - c->entry);
	if (error != ERR_OK)
		return error == ERR_NEWER ? ERR_CORRUPT : error;
	c->entry += entry.length;
	if (!frame_area(bytes, &area) || area.offset != c->next)
		return ERR_OK;
	c->next += (uint64_t)area.records + area.table;
	if (c->next > (uint64_t)FRAME_HEAD + c->head.entries_length + c->head.records_length)
		return ERR_CORRUPT;
	c->at = c->frame + area.offset;
	c->end = c->at + area.records;
	c->table = area.table;
	return ERR_OK;
}

void frame_check_begin(struct frame_check *c, const uint8_t *bytes, const struct frame_head *head, uint64_t file, uint64_t offset)
{
	c->begun = true;
	c->done = false;
	c->file = file;
	c->frame = offset;
	c->head = *head;
	c->entry = c->table = 0;
	c->next = (uint64_t)FRAME_HEAD + head->entries_length;
	c->at = c->end = 0;
	frame_sum_begin(&c->sum, bytes, head->entries_length, file, offset);
	c->begun_sum = c->sum.crc ^ head->crc;
}

static enum error walk(struct frame_check *c, struct window *window)
{
	const uint8_t *bytes;
	uint64_t work = 0;
	enum error error = ERR_OK;
	while (error == ERR_OK && (c->at < c->end || c->table > 0 || c->entry < c->head.entries_length))
		error = c->at < c->end || c->table > 0 ? sum_area(c, window, &work) : next_entry(c, window);
	if (error == ERR_OK)
		error = window_bytes(window, c->frame + c->head.length - FRAME_TAIL, FRAME_TAIL, &bytes);
	if (error != ERR_OK)
		return error;
	frame_sum_bytes(&c->sum, bytes, FRAME_TAIL);
	return c->sum.crc == c->head.crc ? ERR_OK : ERR_CORRUPT;
}

enum error frame_check_go_on(struct frame_check *c, struct window *window, struct frame_checked *last)
{
	bool large = c->head.length > WINDOW_BYTES;
	enum error error = ERR_OK;
	if (c->done)
		return ERR_OK;
	if (!large || last->file != c->file || last->offset != c->frame || last->sum != c->begun_sum)
		error = walk(c, window);
	c->done = error == ERR_OK;
	if (c->done && large)
		*last = (struct frame_checked){ .file = c->file, .offset = c->frame, .sum = c->begun_sum };
	return error;
}
