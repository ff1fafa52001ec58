#include "common/frame.h"

#include <assert.h>

#include "common/crc32c.h"
#include "common/record.h"

static const char file_magic[8] = "TOPICSLG";

void file_header_encode(const struct file_header *header, uint8_t out[FILE_HEADER_SIZE])
{
	memset(out, 0, FILE_HEADER_SIZE);
	memcpy(out, file_magic, sizeof file_magic);
	put_u32(out + 8, FORMAT_VERSION);
	put_u32(out + 12, header->features);
	put_u64(out + 16, header->id);
	out[24] = header->kind;
	put_u32(out + 28, FILE_HEADER_SIZE);
	put_u64(out + 32, header->number);
	put_u64(out + 40, header->first_lsn);
	put_u64(out + 48, header->predecessor);
	put_u64(out + 56, header->predecessor_end);
	put_u64(out + 64, header->frontier);
	put_i64(out + 72, header->ts);
	memcpy(out + 80, header->boot.boot_id, 16);
	put_u64(out + 96, header->boot.device);
	put_u64(out + 104, header->boot.inode);
	put_u64(out + 112, header->boot.superblock);
	put_u64(out + 120, header->size);
	put_u32(out + 128, header->chain);
	put_u32(out + 132, header->flags);
	put_u64(out + 136, header->checkpoint_lsn);
	put_u64(out + 144, header->deletes_lsn);
	put_u32(out + 152, header->replaces_count);
	for (unsigned i = 0; i < header->replaces_count && i < FILE_REPLACES_MAX; i++)
		put_u64(out + 160 + 8 * i, header->replaces[i]);
	put_u64(out + 416, header->prev_topic);
	put_u64(out + 424, header->prev_last_seq);
	put_u32(out + 508, crc32c(0, out, 508));
}

static void file_header_fields(struct file_header *header, const uint8_t *in)
{
	header->features = get_u32(in + 12);
	header->id = get_u64(in + 16);
	header->kind = in[24];
	header->number = get_u64(in + 32);
	header->first_lsn = get_u64(in + 40);
	header->predecessor = get_u64(in + 48);
	header->predecessor_end = get_u64(in + 56);
	header->frontier = get_u64(in + 64);
	header->ts = get_i64(in + 72);
	memcpy(header->boot.boot_id, in + 80, 16);
	header->boot.device = get_u64(in + 96);
	header->boot.inode = get_u64(in + 104);
	header->boot.superblock = get_u64(in + 112);
	header->size = get_u64(in + 120);
	header->chain = get_u32(in + 128);
	header->flags = get_u32(in + 132);
	header->checkpoint_lsn = get_u64(in + 136);
	header->deletes_lsn = get_u64(in + 144);
	header->replaces_count = get_u32(in + 152);
	for (unsigned i = 0; i < FILE_REPLACES_MAX; i++)
		header->replaces[i] = get_u64(in + 160 + 8 * i);
	header->prev_topic = get_u64(in + 416);
	header->prev_last_seq = get_u64(in + 424);
}

enum error file_header_decode(struct file_header *header, const uint8_t bytes[FILE_HEADER_SIZE])
{
	static const uint8_t zero[FILE_HEADER_SIZE];

	if (memcmp(bytes, zero, FILE_HEADER_SIZE) == 0)
		return ERR_AGAIN;
	if (memcmp(bytes, file_magic, sizeof file_magic) != 0 || get_u32(bytes + 508) != crc32c(0, bytes, 508))
		return ERR_CORRUPT;
	file_header_fields(header, bytes);
	if (get_u32(bytes + 8) != FORMAT_VERSION || header->features != 0)
		return ERR_NEWER;
	if (get_u32(bytes + 28) != FILE_HEADER_SIZE || header->id == 0 || header->replaces_count > FILE_REPLACES_MAX ||
	    !(header->kind == 'w' || header->kind == 'e' || header->kind == 'c' || header->kind == 'd'))
		return ERR_CORRUPT;
	if (header->first_lsn < LSN_FIRST || header->first_lsn % 8 != 0)
		return ERR_CORRUPT;
	if (header->predecessor != 0 && header->first_lsn != header->predecessor_end)
		return ERR_CORRUPT;
	return ERR_OK;
}

uint64_t frame_size(uint32_t entries_length, uint32_t records_length, uint32_t flags)
{
	uint64_t size = (uint64_t)FRAME_HEAD + entries_length + records_length + FRAME_TAIL;

	return flags & FRAME_TABLE_TWICE ? size + 8 + entries_length : size;
}

void frame_head_encode(const struct frame_head *head, uint8_t *out)
{
	put_u32(out, FRAME_MAGIC);
	out[4] = 0;
	out[5] = (uint8_t)head->flags;
	put_u16(out + 6, 0);
	put_u32(out + 8, head->length);
	put_u32(out + 12, head->crc);
	put_u64(out + 16, head->lsn);
	put_u64(out + 24, head->frontier);
	put_u32(out + 32, head->prev_crc);
	put_u32(out + 36, head->entries_length);
	put_u64(out + 40, head->prev_topic);
	put_u64(out + 48, head->prev_last_seq);
	put_u64(out + 56, head->incarnation);
	put_u64(out + 64, head->request_id);
	put_i64(out + 72, head->ts);
	put_u32(out + 80, head->entry_count);
	put_u32(out + 84, head->records_length);
	put_u64(out + 88, 0);
}

enum error frame_head_decode(struct frame_head *head, const uint8_t *bytes, uint64_t available)
{
	if (available < FRAME_MIN || get_u32(bytes) != FRAME_MAGIC)
		return ERR_CORRUPT;
	*head = (struct frame_head){
		.flags = bytes[5],
		.length = get_u32(bytes + 8),
		.crc = get_u32(bytes + 12),
		.lsn = get_u64(bytes + 16),
		.frontier = get_u64(bytes + 24),
		.prev_crc = get_u32(bytes + 32),
		.entries_length = get_u32(bytes + 36),
		.prev_topic = get_u64(bytes + 40),
		.prev_last_seq = get_u64(bytes + 48),
		.incarnation = get_u64(bytes + 56),
		.request_id = get_u64(bytes + 64),
		.ts = get_i64(bytes + 72),
		.entry_count = get_u32(bytes + 80),
		.records_length = get_u32(bytes + 84),
	};
	if (head->length < FRAME_MIN || head->length % 8 != 0 || head->length > available || head->length > FRAME_LENGTH_MAX)
		return ERR_CORRUPT;
	if (head->flags & ~(uint32_t)FRAME_TABLE_TWICE || head->entries_length < ENTRY_HEAD || head->entries_length % 8 != 0 ||
	    head->records_length % 8 != 0 || head->entry_count == 0)
		return ERR_CORRUPT;
	return frame_size(head->entries_length, head->records_length, head->flags) == head->length ? ERR_OK : ERR_CORRUPT;
}

static inline void sum_record(struct frame_sum *sum, const uint8_t *record)
{
	if (sum->used == sizeof sum->fields) {
		sum->crc = crc32c(sum->crc, sum->fields, sum->used);
		sum->used = 0;
	}
	memcpy(sum->fields + sum->used, record + 4, 4);
	sum->used += 4;
}

void frame_sum_record(struct frame_sum *sum, const uint8_t *record)
{
	sum_record(sum, record);
}

void frame_sum_bytes(struct frame_sum *sum, const uint8_t *bytes, uint32_t length)
{
	sum->crc = crc32c(crc32c(sum->crc, sum->fields, sum->used), bytes, length);
	sum->used = 0;
}

void frame_sum_begin(struct frame_sum *sum, const uint8_t *head, uint32_t entries_length, uint64_t file_id, uint64_t offset)
{
	uint8_t seed[28];

	put_u64(seed, file_id);
	put_u64(seed + 8, offset);
	memcpy(seed + 16, head, 12);
	sum->used = 0;
	sum->crc = crc32c(0, seed, sizeof seed);
	sum->crc = crc32c(sum->crc, head + 16, FRAME_HEAD - 16 + entries_length);
}

/* Walks the records of [at, end) by their lengths: false if these do not fill it. */
static bool sum_records(struct frame_sum *sum, const uint8_t *at, const uint8_t *end)
{
	while (at < end) {
		uint32_t length;

		if (end - at < RECORD_HEAD)
			return false;
		length = get_u32(at);
		if (length < RECORD_HEAD || length % 8 != 0 || length > (uint64_t)(end - at))
			return false;
		sum_record(sum, at);
		at += length;
	}
	return true;
}

bool frame_area(const uint8_t *entry, struct frame_area *area)
{
	uint16_t type = get_u16(entry);
	const uint8_t *body = entry + ENTRY_HEAD;

	if (type == ENTRY_BATCH)
		*area = (struct frame_area){get_u32(body + 20), get_u32(body + 24), get_u32(body + 28)};
	else if (type == ENTRY_FORWARD)
		*area = (struct frame_area){get_u32(body + 52), get_u32(body + 56), 0};
	else
		return false;
	return true;
}

/* The CRC of a frame whose areas and entries have been checked, or were written by us. False: the records' lengths do not fill their
 * areas. */
static bool frame_crc(const uint8_t *frame, const struct frame_head *head, uint64_t file_id, uint64_t offset, uint32_t *crc)
{
	const uint8_t *entries = frame + FRAME_HEAD;
	struct frame_sum sum;
	uint32_t next_area = FRAME_HEAD + head->entries_length;

	frame_sum_begin(&sum, frame, head->entries_length, file_id, offset);
	for (uint32_t at = 0; at < head->entries_length; at += get_u32(entries + at + 4)) {
		struct frame_area area;

		if (!frame_area(entries + at, &area) || area.offset != next_area)
			continue;
		if (!sum_records(&sum, frame + area.offset, frame + area.offset + area.records))
			return false;
		frame_sum_bytes(&sum, frame + area.offset + area.records, area.table);
		next_area += area.records + area.table;
	}
	frame_sum_bytes(&sum, frame + head->length - FRAME_TAIL, FRAME_TAIL);
	*crc = sum.crc;
	return true;
}

static uint32_t table_crc(const uint8_t *table, uint32_t length, uint64_t file_id, uint64_t offset)
{
	uint8_t seed[16];

	put_u64(seed, file_id);
	put_u64(seed + 8, offset);
	return crc32c(crc32c(0, seed, sizeof seed), table, length);
}

void frame_seal(uint8_t *frame, struct frame_head *head, uint64_t file_id, uint64_t offset)
{
	bool walked;

	assert(head->length == frame_size(head->entries_length, head->records_length, head->flags));
	if (head->flags & FRAME_TABLE_TWICE) {
		uint8_t *copy = frame + FRAME_HEAD + head->entries_length + head->records_length;

		memcpy(copy + 8, frame + FRAME_HEAD, head->entries_length);
		put_u32(copy, table_crc(copy + 8, head->entries_length, file_id, offset));
		put_u32(copy + 4, head->entries_length);
	}
	put_u32(frame + head->length - 8, head->length);
	put_u32(frame + head->length - 4, FRAME_END_MARK);
	frame_head_encode(head, frame);
	walked = frame_crc(frame, head, file_id, offset, &head->crc);
	assert(walked);
	put_u32(frame + 12, head->crc);
}

/* Condition 6, and of 5 that the entries' areas fill the record area in order. *newer: there is an entry of a type that we do not know. */
static bool entries_valid(const uint8_t *frame, const struct frame_head *head, bool *newer)
{
	const uint8_t *entries = frame + FRAME_HEAD;
	uint64_t next_area = (uint64_t)FRAME_HEAD + head->entries_length, area_end = next_area + head->records_length;
	struct frame_area last = {0};
	uint32_t at = 0;

	for (uint32_t i = 0; i < head->entry_count; i++) {
		struct entry entry;
		struct frame_area area;
		enum error error = entry_decode(&entry, entries + at, head->entries_length - at);

		if (error == ERR_CORRUPT)
			return false;
		if (error == ERR_NEWER)
			*newer = true;
		else if (entry.type == ENTRY_VOID)
			return head->entry_count == 1 && entry.length == head->entries_length;
		else if (frame_area(entries + at, &area) && memcmp(&area, &last, sizeof area) != 0) {
			if (area.offset != next_area || (uint64_t)area.records + area.table > area_end - next_area || area.records % 8 != 0)
				return false;
			next_area += (uint64_t)area.records + area.table;
			last = area;
		}
		at += entry.length;
	}
	return at == head->entries_length && next_area == area_end;
}

enum error frame_check(const uint8_t *frame, uint64_t available, uint64_t file_id, uint64_t offset, uint64_t expected_lsn,
                       struct frame_head *head)
{
	bool newer = false;
	uint32_t crc;

	if (frame_head_decode(head, frame, available) != ERR_OK || head->lsn != expected_lsn)
		return ERR_CORRUPT;
	if (get_u32(frame + head->length - 8) != head->length || get_u32(frame + head->length - 4) != FRAME_END_MARK)
		return ERR_CORRUPT;
	if (!entries_valid(frame, head, &newer))
		return ERR_CORRUPT;
	if (!frame_crc(frame, head, file_id, offset, &crc) || crc != head->crc)
		return ERR_CORRUPT;
	return newer ? ERR_NEWER : ERR_OK;
}

static bool records_whole(const uint8_t *at, const uint8_t *end, uint32_t expected, bool counted)
{
	uint32_t count = 0;

	for (; at < end; count++) {
		struct record record;

		if (record_parse(&record, at, (uint64_t)(end - at)) != ERR_OK || !record_crc_valid(at, record.length))
			return false;
		at += record.length;
	}
	return !counted || count == expected;
}

bool frame_whole(const uint8_t *frame, const struct frame_head *head)
{
	const uint8_t *entries = frame + FRAME_HEAD;
	uint32_t next_area = FRAME_HEAD + head->entries_length;

	for (uint32_t at = 0; at < head->entries_length; at += get_u32(entries + at + 4)) {
		struct frame_area area;
		bool batch = get_u16(entries + at) == ENTRY_BATCH;
		uint32_t live = batch ? get_u32(entries + at + ENTRY_HEAD + 40) : 0;

		if (!frame_area(entries + at, &area) || area.offset != next_area)
			continue;
		if (!records_whole(frame + area.offset, frame + area.offset + area.records, live, batch))
			return false;
		next_area += area.records + area.table;
	}
	return true;
}

/* The copy that stands at `at` of a piece of `length` bytes, if what stands there is one. */
static bool copy_at(const uint8_t *bytes, uint64_t length, uint64_t at, uint64_t file_id, uint64_t offset, uint32_t *table_length)
{
	if (at + 8 + ENTRY_HEAD > length)
		return false;
	*table_length = get_u32(bytes + at + 4);
	return *table_length >= ENTRY_HEAD && *table_length % 8 == 0 && *table_length <= length - at - 8 &&
	       table_crc(bytes + at + 8, *table_length, file_id, offset) == get_u32(bytes + at);
}

bool frame_table_copy(const uint8_t *bytes, uint64_t length, uint64_t file_id, uint64_t offset, const uint8_t **entries,
                      uint32_t *entries_length)
{
	struct frame_head head;

	/* Where the head says it stands. */
	if (frame_head_decode(&head, bytes, length) == ERR_OK && (head.flags & FRAME_TABLE_TWICE) &&
	    copy_at(bytes, length, FRAME_HEAD + (uint64_t)head.entries_length + head.records_length, file_id, offset, entries_length)) {
		*entries = bytes + FRAME_HEAD + (uint64_t)head.entries_length + head.records_length + 8;
		return true;
	}
	/* Else by its own length, which leads to a frame's end: the head may be what is broken. */
	for (uint64_t at = FRAME_HEAD; at + 8 + ENTRY_HEAD + FRAME_TAIL <= length; at += 8) {
		uint64_t table = get_u32(bytes + at + 4);

		if (table < ENTRY_HEAD || table % 8 != 0 || table > length - at - 8 - FRAME_TAIL ||
		    get_u32(bytes + at + 8 + table + 4) != FRAME_END_MARK || get_u32(bytes + at + 8 + table) != at + 8 + table + FRAME_TAIL)
			continue;
		if (copy_at(bytes, length, at, file_id, offset, entries_length)) {
			*entries = bytes + at + 8;
			return true;
		}
	}
	return false;
}
