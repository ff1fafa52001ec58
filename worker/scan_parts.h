/*
 * What both forms of the record scanner share (scan_one_pass.c, scan_walk.c): the parts of a record as they stand in the body, how a record is written,
 * and the fields that stand beside the records.
 */
#ifndef TOPICS_SCAN_PARTS_H
#define TOPICS_SCAN_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/record.h"
#include "worker/scan.h"

enum { SCAN_FIELDS = 8, SCAN_FIELD_RECORDS = 0 };

struct scan {
	const struct settings *settings;
	struct scanned *scanned;
	uint8_t *out;
};

/* The parts of one record; the pointers lead into the body. A part that is absent has no bytes; `data` and `meta` that are there have at least one. */
struct scan_parts {
	const uint8_t *data, *meta, *tag, *node;
	size_t data_length, meta_length, tag_length, node_length; /* tag and node with their quotes */
	unsigned seen;                                            /* enum scan_part, a bit each */
};

enum scan_part { SCAN_UNKNOWN = 0, SCAN_DATA = 1, SCAN_TAG = 2, SCAN_NODE = 4, SCAN_META = 8 };

/* The part that a member's name stands for; `raw` with its quotes, `length` bytes. */
enum scan_part scan_part_of(const uint8_t *raw, size_t length);

/* Decodes tag and node behind data and meta, which stand at `at` - (data + meta); returns the record's flags, or ERR_INVALID_REQUEST in *result with *error filled. */
uint32_t scan_put_texts(const struct scan *scan, const uint8_t *body, const struct scan_parts *parts, uint8_t *at, uint32_t *tag, uint32_t *node,
                        enum error *result, struct json_error *error);

/* Writes the record; its CRC is logd's to fill in. Writes up to 8 bytes behind the record's end, for which scan_room leaves room. */
static inline enum error scan_put_record(const struct scan *scan, const uint8_t *body, const struct scan_parts *parts, struct json_error *error)
{
	uint8_t *record = scan->out + scan->scanned->records_length, *at = record + RECORD_HEAD;
	uint32_t tag = 0, node = 0, flags = 0;
	enum error result = ERR_OK;
	memcpy(at, parts->data, parts->data_length);
	at += parts->data_length;
	if (parts->meta_length > 0)
		memcpy(at, parts->meta, parts->meta_length);
	at += parts->meta_length;
	if (parts->seen & (SCAN_TAG | SCAN_NODE))
		flags = scan_put_texts(scan, body, parts, at, &tag, &node, &result, error);
	at += tag + node;
	put_u64(at, 0);
	uint32_t length = (uint32_t)align8((uint64_t)(at - record));
	put_u32(record, length);
	put_u32(record + 4, 0);
	put_u32(record + 8, (uint32_t)parts->data_length);
	put_u32(record + 12, (uint32_t)parts->meta_length);
	put_u32(record + 16, tag);
	put_u32(record + 20, node);
	put_u32(record + 24, 0);
	put_u32(record + 28, flags);
	scan->scanned->records_length += length;
	scan->scanned->payload += parts->data_length + parts->meta_length;
	scan->scanned->count++;
	return result;
}

/* The table of fields of an append's body; fields[SCAN_FIELD_RECORDS] is a hook that the caller fills. */
void scan_fields(const struct scan *scan, struct json_field *fields);

/* What the fields said, into *scanned. */
void scan_take_fields(const struct scan *scan, const struct json_field *fields, const uint8_t *body);

/* The batch's node stands once; the records that have none of their own say that they take it. */
void scan_take_batch_node(const struct scan *scan);

#endif
