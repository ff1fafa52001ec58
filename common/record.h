/*
 * Records as they lie in the request ring, in the log and in answers to reads: docs/format.md §6. The worker's scanner
 * writes them (CRC 0), logd checks them in its private copy and fills in the CRC, every reader checks it again.
 */
#ifndef TOPICS_RECORD_H
#define TOPICS_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/error.h"

enum {
	RECORD_HEAD = 32,
	RECORD_TABLE_STRIDE = 64, /* a batch of more records has a table of offsets, one for each of these */
};

enum record_flags { RECORD_HAS_TAG = 1, RECORD_HAS_NODE = 2, RECORD_BATCH_NODE = 4, RECORD_FLAGS_ALL = 7 };

/* A record's parts; the pointers lead into the bytes that were examined. */
struct record {
	uint32_t length; /* whole, padded */
	uint32_t flags;
	uint32_t data_length;
	uint32_t meta_length;
	uint32_t tag_length;
	uint32_t node_length;
	uint32_t attributes_length;
	const uint8_t *data;
	const uint8_t *meta;
	const uint8_t *tag;
	const uint8_t *node;
	const uint8_t *attributes;
};

/* Bytes of a record with these parts, padding included. */
static inline uint64_t record_size(uint64_t data, uint64_t meta, uint64_t tag, uint64_t node, uint64_t attributes)
{
	return align8(RECORD_HEAD + data + meta + tag + node + attributes);
}

/* Bytes of the table of offsets of a batch of `count` records; 0 up to 64. */
static inline uint32_t record_table_size(uint32_t count)
{
	return count <= RECORD_TABLE_STRIDE ? 0 : (uint32_t)align8(((uint64_t)(count - 1) / RECORD_TABLE_STRIDE) * 4);
}

/* Each attribute is u8 type, u8 flags, u16 length, bytes; they fill their area exactly. */
bool record_attributes_well_formed(const uint8_t *attributes, uint32_t length);

static inline bool record_flags_agree(const struct record *record)
{
	if (record->flags & ~(uint32_t)RECORD_FLAGS_ALL || (record->flags & (RECORD_HAS_NODE | RECORD_BATCH_NODE)) == (RECORD_HAS_NODE | RECORD_BATCH_NODE))
		return false;
	return (record->flags & RECORD_HAS_TAG || record->tag_length == 0) && (record->flags & RECORD_HAS_NODE || record->node_length == 0);
}

/* Splits the record at `bytes`, of which `available` may be read, into its parts: ERR_CORRUPT unless it is well-formed.
 * Does not look at the CRC. Safe on hostile bytes that nobody changes meanwhile. Inline: it is what appends and reads do for each record. */
static inline enum error record_parse(struct record *record, const uint8_t *bytes, uint64_t available)
{
	if (available < RECORD_HEAD)
		return ERR_CORRUPT;
	*record = (struct record){
		.length = get_u32(bytes),
		.flags = get_u32(bytes + 28),
		.data_length = get_u32(bytes + 8),
		.meta_length = get_u32(bytes + 12),
		.tag_length = get_u32(bytes + 16),
		.node_length = get_u32(bytes + 20),
		.attributes_length = get_u32(bytes + 24),
	};
	uint64_t sum = (uint64_t)RECORD_HEAD + record->data_length + record->meta_length + record->tag_length + record->node_length + record->attributes_length;
	if (record->length != align8(sum) || record->length > available || record->data_length == 0 || !record_flags_agree(record))
		return ERR_CORRUPT;
	/* From here on every part lies within `length` bytes, which may be read. */
	record->data = bytes + RECORD_HEAD;
	record->meta = record->data + record->data_length;
	record->tag = record->meta + record->meta_length;
	record->node = record->tag + record->tag_length;
	record->attributes = record->node + record->node_length;
	/* The padding is the last of the final eight bytes, and zero. */
	unsigned padding = (unsigned)(record->length - sum);
	if (padding > 0 && get_u64(bytes + record->length - 8) >> (64 - 8 * padding) != 0)
		return ERR_CORRUPT;
	return record->attributes_length == 0 || record_attributes_well_formed(record->attributes, record->attributes_length) ? ERR_OK : ERR_CORRUPT;
}

/* CRC of the record at `bytes`, whose length has been checked. */
uint32_t record_crc(const uint8_t *bytes, uint32_t length);

/* True if the CRC in the record's head is its CRC. */
bool record_crc_valid(const uint8_t *bytes, uint32_t length);

#endif
