#include "common/record.h"

#include "common/crc32c.h"

/* Each attribute is u8 type, u8 flags, u16 length, bytes; they fill their area exactly. */
static bool attributes_well_formed(const uint8_t *attributes, uint32_t length)
{
	while (length > 0) {
		uint32_t one;

		if (length < 4)
			return false;
		one = 4u + get_u16(attributes + 2);
		if (one > length)
			return false;
		attributes += one;
		length -= one;
	}
	return true;
}

static bool flags_agree(const struct record *record)
{
	if (record->flags & ~(uint32_t)RECORD_FLAGS_ALL)
		return false;
	if ((record->flags & RECORD_HAS_NODE) && (record->flags & RECORD_BATCH_NODE))
		return false;
	if (!(record->flags & RECORD_HAS_TAG) && record->tag_length > 0)
		return false;
	return (record->flags & RECORD_HAS_NODE) || record->node_length == 0;
}

static bool padding_zero(const uint8_t *from, const uint8_t *to)
{
	for (; from < to; from++)
		if (*from != 0)
			return false;
	return true;
}

enum error record_parse(struct record *record, const uint8_t *bytes, uint64_t available)
{
	uint64_t sum;

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
	sum = (uint64_t)RECORD_HEAD + record->data_length + record->meta_length + record->tag_length + record->node_length +
	      record->attributes_length;
	if (record->length != align8(sum) || record->length > available || record->data_length == 0 || !flags_agree(record))
		return ERR_CORRUPT;
	/* From here on every part lies within `length` bytes, which may be read. */
	record->data = bytes + RECORD_HEAD;
	record->meta = record->data + record->data_length;
	record->tag = record->meta + record->meta_length;
	record->node = record->tag + record->tag_length;
	record->attributes = record->node + record->node_length;
	if (!attributes_well_formed(record->attributes, record->attributes_length) || !padding_zero(bytes + sum, bytes + record->length))
		return ERR_CORRUPT;
	return ERR_OK;
}

uint32_t record_crc(const uint8_t *bytes, uint32_t length)
{
	return crc32c(0, bytes + 8, length - 8);
}

bool record_crc_valid(const uint8_t *bytes, uint32_t length)
{
	return get_u32(bytes + 4) == record_crc(bytes, length);
}
