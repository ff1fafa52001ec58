#include "common/frame.h"

#include "common/record.h"
#include "common/topic_config.h"

/*
 * Where each type's fixed fields end and where the lengths of its variable parts stand (docs/format.md §5). One table serves decoding,
 * encoding and sizes; a part's length field counts units of `unit` bytes. Parts follow the fixed fields in this order, then zeros up to a
 * multiple of 8.
 */
enum { PARTS_MAX = 4 };
struct shape {
	uint8_t fixed;
	uint8_t parts;
	struct { uint8_t at, unit; } part[PARTS_MAX];
};

static const struct shape shapes[ENTRY_TYPE_END] = {
	[ENTRY_BATCH] = {56, 2, {{32, 1}, {36, 1}}},
	[ENTRY_TOPIC_CREATE] = {24, 2, {{20, 1}, {16, 1}}},
	[ENTRY_TOPIC_CONFIGURE] = {16, 1, {{8, 1}}},
	[ENTRY_TOPIC_DELETE] = {16, 1, {{8, 1}}},
	[ENTRY_RECORD_DELETE] = {40, 1, {{36, 1}}},
	[ENTRY_ROUTER_PUT] = {40, 4, {{20, 1}, {24, 1}, {28, 1}, {32, 1}}},
	[ENTRY_ROUTER_DELETE] = {16, 1, {{8, 1}}},
	[ENTRY_FORWARD] = {80, 1, {{72, 1}}},
	[ENTRY_LEASE] = {64, 2, {{28, 8}, {60, 1}}},
	[ENTRY_SESSION] = {24, 1, {{20, 1}}},
	[ENTRY_CEILING] = {16, 0, {{0}}},
	[ENTRY_FLOOR] = {40, 0, {{0}}},
	[ENTRY_LOSS] = {32, 0, {{0}}},
	[ENTRY_VOID] = {0, 0, {{0}}},
	[ENTRY_ANSWER] = {40, 0, {{0}}},
	[ENTRY_SYNC_MARK] = {8, 0, {{0}}},
	[ENTRY_FILE_BORN] = {32, 0, {{0}}},
	[ENTRY_FILE_SEALED] = {32, 0, {{0}}},
	[ENTRY_FILE_RETIRED] = {8, 0, {{0}}},
	[ENTRY_TOPIC_STATE] = {72, 2, {{60, 1}, {56, 1}}},
	[ENTRY_KEY] = {56, 0, {{0}}},
	[ENTRY_FILE_STATE] = {48, 0, {{0}}},
	[ENTRY_DELETE_SET] = {48, 0, {{0}}},
	[ENTRY_CHECKPOINT_END] = {16, 0, {{0}}},
};

static uint64_t bitmap_size(uint32_t count)
{
	return ((uint64_t)count + 63) / 64 * 8;
}

static bool zeros(const uint8_t *from, const uint8_t *to)
{
	for (; from < to; from++)
		if (*from != 0)
			return false;
	return true;
}

/* The number of set bits, and that none stands past `count`. */
static bool bitmap_counts(const uint8_t *bitmap, uint32_t count, uint32_t live)
{
	uint64_t set = 0;

	for (uint64_t i = 0; i < bitmap_size(count) / 8; i++)
		set += (uint64_t)__builtin_popcountll(get_u64(bitmap + 8 * i));
	if (count % 64 != 0 && get_u64(bitmap + bitmap_size(count) - 8) >> count % 64 != 0)
		return false;
	return set == live;
}

static enum error decode_batch(struct entry *e, const uint8_t *parts, const uint8_t *padded)
{
	const uint8_t *b = e->body;

	e->batch.first_seq = get_u64(b + 8);
	e->batch.count = get_u32(b + 16);
	e->batch.records_offset = get_u32(b + 20);
	e->batch.records_length = get_u32(b + 24);
	e->batch.table_length = get_u32(b + 28);
	e->batch.key_length = get_u32(b + 32);
	e->batch.node_length = get_u32(b + 36);
	e->batch.live = get_u32(b + 40);
	e->batch.durability = b[44];
	e->batch.payload = get_u64(b + 48);
	e->batch.key = parts;
	e->batch.node = parts + e->batch.key_length;
	e->batch.bitmap = e->flags & ENTRY_BITMAP ? padded : NULL;
	if (e->topic == 0 || e->batch.first_seq == 0 || e->batch.count == 0 || e->batch.first_seq > UINT64_MAX - e->batch.count ||
	    e->batch.durability > DURABILITY_FSYNC)
		return ERR_CORRUPT;
	if (e->batch.table_length != record_table_size(e->batch.live) || e->batch.records_length % 8 != 0)
		return ERR_CORRUPT;
	if (e->batch.bitmap)
		return bitmap_counts(e->batch.bitmap, e->batch.count, e->batch.live) ? ERR_OK : ERR_CORRUPT;
	return e->batch.live == e->batch.count ? ERR_OK : ERR_CORRUPT;
}

static bool config_valid(const uint8_t *config, uint32_t length)
{
	struct topic_config decoded;

	return topic_config_decode(&decoded, config, length) == ERR_OK;
}

static enum error decode_create(struct entry *e, const uint8_t *parts)
{
	const uint8_t *b = e->body;

	e->create.ceiling = get_u64(b + 8);
	e->create.name_length = get_u32(b + 16);
	e->create.config_length = get_u32(b + 20);
	e->create.config = parts;
	e->create.name = parts + e->create.config_length;
	return e->topic != 0 && config_valid(parts, e->create.config_length) &&
	                       topic_name_valid((const char *)e->create.name, e->create.name_length)
	               ? ERR_OK
	               : ERR_CORRUPT;
}

static enum error decode_configure(struct entry *e, const uint8_t *parts)
{
	e->create.config_length = get_u32(e->body + 8);
	e->create.config = parts;
	return config_valid(parts, e->create.config_length) ? ERR_OK : ERR_CORRUPT;
}

static enum error decode_delete(struct entry *e, const uint8_t *parts)
{
	e->create.name_length = get_u32(e->body + 8);
	e->create.ceiling = get_u32(e->body + 12);
	e->create.name = parts;
	return topic_name_valid((const char *)parts, e->create.name_length) ? ERR_OK : ERR_CORRUPT;
}

static enum error decode_state(struct entry *e, const uint8_t *parts)
{
	const uint8_t *b = e->body;

	e->state.head = get_u64(b + 8);
	e->state.ceiling = get_u64(b + 16);
	e->state.floor = get_u64(b + 24);
	e->state.live = get_u64(b + 32);
	e->state.live_bytes = get_u64(b + 40);
	e->state.last_write_ts = get_i64(b + 48);
	e->state.name_length = get_u32(b + 56);
	e->state.config_length = get_u32(b + 60);
	e->state.floor_reason = get_u32(b + 64);
	e->state.flags = get_u32(b + 68);
	e->state.config = parts;
	e->state.name = parts + e->state.config_length;
	return e->topic != 0 && e->state.floor_reason < REASON_END && config_valid(parts, e->state.config_length) &&
	                       topic_name_valid((const char *)e->state.name, e->state.name_length)
	               ? ERR_OK
	               : ERR_CORRUPT;
}

static enum error decode_floor(struct entry *e)
{
	e->floor.floor = get_u64(e->body + 8);
	e->floor.reason = get_u32(e->body + 16);
	e->floor.live = get_u64(e->body + 24);
	e->floor.live_bytes = get_u64(e->body + 32);
	return e->floor.reason < REASON_END ? ERR_OK : ERR_CORRUPT;
}

static enum error decode_loss(struct entry *e)
{
	e->loss.from = get_u64(e->body + 8);
	e->loss.to = get_u64(e->body + 16);
	e->loss.reason = get_u32(e->body + 24);
	e->loss.flags = get_u32(e->body + 28);
	return e->loss.from <= e->loss.to && e->loss.reason < REASON_END ? ERR_OK : ERR_CORRUPT;
}

static enum error decode_answer(struct entry *e)
{
	e->answer.status = get_u32(e->body + 8);
	e->answer.flags = get_u32(e->body + 12);
	e->answer.first_seq = get_u64(e->body + 16);
	e->answer.head = get_u64(e->body + 24);
	e->answer.count = get_u32(e->body + 32);
	return e->answer.status < ERR_CONTRACT_END ? ERR_OK : ERR_CORRUPT;
}

static void decode_file(struct entry *e)
{
	const uint8_t *b = e->body;

	memset(&e->file, 0, sizeof e->file);
	e->file.id = get_u64(b);
	e->topic = 0;
	if (e->type == ENTRY_FILE_BORN) {
		e->file.number = get_u64(b + 8);
		e->file.first_lsn = get_u64(b + 16);
		e->file.kind = get_u32(b + 24);
	} else if (e->type == ENTRY_FILE_SEALED) {
		e->file.end_lsn = get_u64(b + 8);
		e->file.footer_offset = get_u64(b + 16);
		e->file.footer_length = get_u32(b + 24);
		e->file.footer_crc = get_u32(b + 28);
	} else if (e->type == ENTRY_FILE_STATE) {
		e->file.number = get_u64(b + 8);
		e->file.first_lsn = get_u64(b + 16);
		e->file.end_lsn = get_u64(b + 24);
		e->file.footer_offset = get_u64(b + 32);
		e->file.footer_length = get_u32(b + 40);
		e->file.kind = get_u32(b + 44);
	}
}

static enum error decode_fields(struct entry *e, const uint8_t *parts, const uint8_t *padded)
{
	switch (e->type) {
	case ENTRY_BATCH:
		return decode_batch(e, parts, padded);
	case ENTRY_TOPIC_CREATE:
		return decode_create(e, parts);
	case ENTRY_TOPIC_CONFIGURE:
		return decode_configure(e, parts);
	case ENTRY_TOPIC_DELETE:
		return decode_delete(e, parts);
	case ENTRY_CEILING:
		e->ceiling.ceiling = get_u64(e->body + 8);
		return ERR_OK;
	case ENTRY_FLOOR:
		return decode_floor(e);
	case ENTRY_LOSS:
		return decode_loss(e);
	case ENTRY_ANSWER:
		return decode_answer(e);
	case ENTRY_SYNC_MARK:
		e->topic = 0;
		e->sync_mark.lsn = get_u64(e->body);
		return ERR_OK;
	case ENTRY_FILE_BORN:
	case ENTRY_FILE_SEALED:
	case ENTRY_FILE_RETIRED:
	case ENTRY_FILE_STATE:
		decode_file(e);
		return ERR_OK;
	case ENTRY_TOPIC_STATE:
		return decode_state(e, parts);
	case ENTRY_KEY:
		e->key.hash = e->body + 8;
		e->key.first_seq = get_u64(e->body + 24);
		e->key.lsn = get_u64(e->body + 32);
		e->key.ts = get_i64(e->body + 40);
		e->key.count = get_u32(e->body + 48);
		return ERR_OK;
	case ENTRY_CHECKPOINT_END:
		e->topic = 0;
		e->checkpoint_end.lsn = get_u64(e->body);
		e->checkpoint_end.frames = get_u64(e->body + 8);
		return ERR_OK;
	default:
		return ERR_OK;
	}
}

enum error entry_decode(struct entry *entry, const uint8_t *bytes, uint64_t available)
{
	const struct shape *shape;
	const uint8_t *padded = NULL;
	uint64_t used, body_length;
	uint16_t type;

	if (available < ENTRY_HEAD)
		return ERR_CORRUPT;
	type = get_u16(bytes);
	entry->flags = get_u16(bytes + 2);
	entry->length = get_u32(bytes + 4);
	entry->body = bytes + ENTRY_HEAD;
	entry->topic = 0;
	if (entry->length < ENTRY_HEAD || entry->length % 8 != 0 || entry->length > available)
		return ERR_CORRUPT;
	entry->type = (enum entry_type)type;
	if (type == 0 || type >= ENTRY_TYPE_END)
		return ERR_NEWER;
	shape = &shapes[type];
	body_length = entry->length - ENTRY_HEAD;
	if (body_length < shape->fixed)
		return ERR_CORRUPT;
	used = shape->fixed;
	for (unsigned i = 0; i < shape->parts; i++)
		used += (uint64_t)get_u32(entry->body + shape->part[i].at) * shape->part[i].unit;
	if (used > body_length || !zeros(entry->body + used, entry->body + align8(used)))
		return ERR_CORRUPT;
	used = align8(used);
	if (type == ENTRY_BATCH && (entry->flags & ENTRY_BITMAP)) {
		padded = entry->body + used;
		used += bitmap_size(get_u32(entry->body + 16));
	}
	if (used != body_length)
		return ERR_CORRUPT;
	if (shape->fixed >= 8)
		entry->topic = get_u64(entry->body);
	return decode_fields(entry, entry->body + shape->fixed, padded);
}

static uint64_t parts_length(const struct entry *e)
{
	switch (e->type) {
	case ENTRY_BATCH:
		return (uint64_t)e->batch.key_length + e->batch.node_length;
	case ENTRY_TOPIC_CREATE:
		return (uint64_t)e->create.config_length + e->create.name_length;
	case ENTRY_TOPIC_CONFIGURE:
		return e->create.config_length;
	case ENTRY_TOPIC_DELETE:
		return e->create.name_length;
	case ENTRY_TOPIC_STATE:
		return (uint64_t)e->state.config_length + e->state.name_length;
	default:
		return 0;
	}
}

/* Types whose members struct entry does not have: their bytes are carried as they are. */
static bool carried(enum entry_type type)
{
	return (type >= ENTRY_RECORD_DELETE && type <= ENTRY_SESSION) || type == ENTRY_DELETE_SET;
}

uint32_t entry_size(const struct entry *entry)
{
	uint64_t size;

	if (carried(entry->type))
		return entry->length;
	size = ENTRY_HEAD + align8(shapes[entry->type].fixed + parts_length(entry));
	if (entry->type == ENTRY_BATCH && entry->batch.bitmap)
		size += bitmap_size(entry->batch.count);
	return (uint32_t)size;
}

static uint8_t *put_part(uint8_t *p, const void *bytes, uint32_t length)
{
	if (length > 0)
		memcpy(p, bytes, length);
	return p + length;
}

static void encode_batch(const struct entry *e, uint8_t *b, uint8_t *parts)
{
	put_u64(b + 8, e->batch.first_seq);
	put_u32(b + 16, e->batch.count);
	put_u32(b + 20, e->batch.records_offset);
	put_u32(b + 24, e->batch.records_length);
	put_u32(b + 28, e->batch.table_length);
	put_u32(b + 32, e->batch.key_length);
	put_u32(b + 36, e->batch.node_length);
	put_u32(b + 40, e->batch.live);
	b[44] = e->batch.durability;
	put_u64(b + 48, e->batch.payload);
	parts = put_part(parts, e->batch.key, e->batch.key_length);
	parts = put_part(parts, e->batch.node, e->batch.node_length);
	if (e->batch.bitmap)
		memcpy(b + align8((uint64_t)(parts - b)), e->batch.bitmap, bitmap_size(e->batch.count));
}

static void encode_state(const struct entry *e, uint8_t *b, uint8_t *parts)
{
	put_u64(b + 8, e->state.head);
	put_u64(b + 16, e->state.ceiling);
	put_u64(b + 24, e->state.floor);
	put_u64(b + 32, e->state.live);
	put_u64(b + 40, e->state.live_bytes);
	put_i64(b + 48, e->state.last_write_ts);
	put_u32(b + 56, e->state.name_length);
	put_u32(b + 60, e->state.config_length);
	put_u32(b + 64, e->state.floor_reason);
	put_u32(b + 68, e->state.flags);
	parts = put_part(parts, e->state.config, e->state.config_length);
	put_part(parts, e->state.name, e->state.name_length);
}

static void encode_topic(const struct entry *e, uint8_t *b, uint8_t *parts)
{
	if (e->type == ENTRY_TOPIC_CREATE) {
		put_u64(b + 8, e->create.ceiling);
		put_u32(b + 16, e->create.name_length);
		put_u32(b + 20, e->create.config_length);
	} else if (e->type == ENTRY_TOPIC_CONFIGURE) {
		put_u32(b + 8, e->create.config_length);
	} else {
		put_u32(b + 8, e->create.name_length);
		put_u32(b + 12, (uint32_t)e->create.ceiling);
	}
	if (e->type != ENTRY_TOPIC_DELETE)
		parts = put_part(parts, e->create.config, e->create.config_length);
	if (e->type != ENTRY_TOPIC_CONFIGURE)
		put_part(parts, e->create.name, e->create.name_length);
}

static void encode_file(const struct entry *e, uint8_t *b)
{
	put_u64(b, e->file.id);
	if (e->type == ENTRY_FILE_BORN) {
		put_u64(b + 8, e->file.number);
		put_u64(b + 16, e->file.first_lsn);
		put_u32(b + 24, e->file.kind);
	} else if (e->type == ENTRY_FILE_SEALED) {
		put_u64(b + 8, e->file.end_lsn);
		put_u64(b + 16, e->file.footer_offset);
		put_u32(b + 24, e->file.footer_length);
		put_u32(b + 28, e->file.footer_crc);
	} else if (e->type == ENTRY_FILE_STATE) {
		put_u64(b + 8, e->file.number);
		put_u64(b + 16, e->file.first_lsn);
		put_u64(b + 24, e->file.end_lsn);
		put_u64(b + 32, e->file.footer_offset);
		put_u32(b + 40, e->file.footer_length);
		put_u32(b + 44, e->file.kind);
	}
}

static void encode_numbers(const struct entry *e, uint8_t *b)
{
	switch (e->type) {
	case ENTRY_CEILING:
		put_u64(b + 8, e->ceiling.ceiling);
		break;
	case ENTRY_FLOOR:
		put_u64(b + 8, e->floor.floor);
		put_u32(b + 16, e->floor.reason);
		put_u64(b + 24, e->floor.live);
		put_u64(b + 32, e->floor.live_bytes);
		break;
	case ENTRY_LOSS:
		put_u64(b + 8, e->loss.from);
		put_u64(b + 16, e->loss.to);
		put_u32(b + 24, e->loss.reason);
		put_u32(b + 28, e->loss.flags);
		break;
	case ENTRY_ANSWER:
		put_u32(b + 8, e->answer.status);
		put_u32(b + 12, e->answer.flags);
		put_u64(b + 16, e->answer.first_seq);
		put_u64(b + 24, e->answer.head);
		put_u32(b + 32, e->answer.count);
		break;
	case ENTRY_SYNC_MARK:
		put_u64(b, e->sync_mark.lsn);
		break;
	case ENTRY_KEY:
		memcpy(b + 8, e->key.hash, 16);
		put_u64(b + 24, e->key.first_seq);
		put_u64(b + 32, e->key.lsn);
		put_i64(b + 40, e->key.ts);
		put_u32(b + 48, e->key.count);
		break;
	case ENTRY_CHECKPOINT_END:
		put_u64(b, e->checkpoint_end.lsn);
		put_u64(b + 8, e->checkpoint_end.frames);
		break;
	default:
		break;
	}
}

uint32_t entry_encode(const struct entry *entry, uint8_t *out)
{
	uint32_t size = entry_size(entry);
	uint8_t *body = out + ENTRY_HEAD;

	if (carried(entry->type)) {
		memcpy(body, entry->body, size - ENTRY_HEAD);
	} else {
		uint8_t *parts = body + shapes[entry->type].fixed;

		memset(body, 0, size - ENTRY_HEAD);
		if (shapes[entry->type].fixed >= 8)
			put_u64(body, entry->topic);
		if (entry->type == ENTRY_BATCH)
			encode_batch(entry, body, parts);
		else if (entry->type <= ENTRY_TOPIC_DELETE)
			encode_topic(entry, body, parts);
		else if (entry->type == ENTRY_TOPIC_STATE)
			encode_state(entry, body, parts);
		else if (entry->type >= ENTRY_FILE_BORN && entry->type <= ENTRY_FILE_STATE && entry->type != ENTRY_KEY)
			encode_file(entry, body);
		else
			encode_numbers(entry, body);
	}
	put_u16(out, (uint16_t)entry->type);
	put_u16(out + 2, entry->flags);
	put_u32(out + 4, size);
	return size;
}
