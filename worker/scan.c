#include "worker/scan.h"

#include <stdio.h>
#include <string.h>

#include "common/record.h"
#include "worker/json_walk.h"

enum { RECORD_TEXT_MIN = 10 /* {"data":0} and its comma, but for the last */ };

struct scan {
	const struct settings *settings;
	struct scanned *scanned;
	uint8_t *out;
};

/* The parts of one record, as they stand in the body. */
struct parts {
	const uint8_t *data, *meta, *tag, *node;
	size_t data_length, meta_length, tag_length, node_length; /* tag and node with their quotes */
	unsigned seen;
};

enum part { PART_DATA = 1, PART_TAG = 2, PART_NODE = 4, PART_META = 8, PART_UNKNOWN = 0 };

size_t scan_room(size_t body_length, const struct settings *settings)
{
	uint64_t records = body_length / RECORD_TEXT_MIN + 1;
	if (records > settings->max_batch_records + 1)
		records = settings->max_batch_records + 1;
	return (size_t)align8(body_length + records * (RECORD_HEAD + 8));
}

static enum error fail(struct json_error *error, enum error code, size_t offset, const char *message)
{
	error->offset = offset;
	snprintf(error->message, sizeof error->message, "%s", message);
	return code;
}

static enum error malformed(const struct json_walk *walk, struct json_error *error)
{
	return fail(error, ERR_INVALID_REQUEST, json_walk_offset(walk), walk->problem);
}

/* Which part a member's name stands for. A name may be spelled with escapes, so only one without a backslash is compared as it is. */
static enum part part_of(const uint8_t *raw, size_t length)
{
	char decoded[8];
	size_t n = length - 2;
	const char *name = (const char *)raw + 1;
	if (memchr(name, '\\', n) != NULL) {
		if (json_string(raw, length, decoded, sizeof decoded, &n) != ERR_OK)
			return PART_UNKNOWN;
		name = decoded;
	}
	if (n == 3)
		return memcmp(name, "tag", 3) == 0 ? PART_TAG : PART_UNKNOWN;
	if (n != 4)
		return PART_UNKNOWN;
	if (memcmp(name, "data", 4) == 0)
		return PART_DATA;
	if (memcmp(name, "node", 4) == 0)
		return PART_NODE;
	return memcmp(name, "meta", 4) == 0 ? PART_META : PART_UNKNOWN;
}

static enum error take_meta(struct scan *scan, struct json_walk *walk, struct parts *parts, struct json_error *error)
{
	const uint8_t *from = walk->at;
	uint64_t members = 0;
	if (walk->at < walk->end && *walk->at == 'n')
		return json_walk_value(walk) ? ERR_OK : malformed(walk, error);
	if (!json_walk_object(walk, &members))
		return malformed(walk, error);
	parts->meta = from;
	parts->meta_length = (size_t)(walk->at - from);
	if (members > SCAN_META_KEYS)
		return fail(error, ERR_INVALID_REQUEST, (size_t)(from - walk->start), "'meta' has more than 64 keys");
	if (parts->meta_length > scan->settings->max_meta_bytes)
		return fail(error, ERR_INVALID_REQUEST, (size_t)(from - walk->start), "'meta' is too long");
	return ERR_OK;
}

/* A tag or node: a string, or null for none. */
static enum error take_text(struct json_walk *walk, const uint8_t **text, size_t *length, const char *problem, struct json_error *error)
{
	const uint8_t *from = walk->at;
	if (walk->at < walk->end && *walk->at == 'n')
		return json_walk_value(walk) ? ERR_OK : malformed(walk, error);
	if (walk->at < walk->end && *walk->at != '"')
		return fail(error, ERR_INVALID_REQUEST, json_walk_offset(walk), problem);
	if (!json_walk_string(walk))
		return malformed(walk, error);
	*text = from;
	*length = (size_t)(walk->at - from);
	return ERR_OK;
}

static enum error take_member(struct scan *scan, struct json_walk *walk, struct parts *parts, struct json_error *error)
{
	const uint8_t *name = walk->at;
	if (!json_walk_string(walk))
		return malformed(walk, error);
	enum part part = part_of(name, (size_t)(walk->at - name));
	json_walk_space(walk);
	if (!json_walk_expect(walk, ':', "a ':' is missing here"))
		return malformed(walk, error);
	json_walk_space(walk);
	if (parts->seen & part)
		return fail(error, ERR_INVALID_REQUEST, (size_t)(name - walk->start), "a field of a record stands twice");
	parts->seen |= part;
	switch (part) {
	case PART_DATA:
		parts->data = walk->at;
		if (!json_walk_value(walk))
			return malformed(walk, error);
		parts->data_length = (size_t)(walk->at - parts->data);
		return ERR_OK;
	case PART_META:
		return take_meta(scan, walk, parts, error);
	case PART_TAG:
		return take_text(walk, &parts->tag, &parts->tag_length, "'tag' must be a string", error);
	case PART_NODE:
		return take_text(walk, &parts->node, &parts->node_length, "'node' of a record must be a string", error);
	default:
		return json_walk_value(walk) ? ERR_OK : malformed(walk, error);
	}
}

static enum error put_text(uint8_t *out, const uint8_t *raw, size_t length, uint64_t room, size_t offset, const char *what, uint32_t *written,
                           struct json_error *error)
{
	size_t n = 0;
	enum error result = json_string(raw, length, (char *)out, room, &n);
	*written = (uint32_t)n;
	if (result == ERR_OK)
		return ERR_OK;
	error->offset = offset;
	snprintf(error->message, sizeof error->message, result == ERR_LIMIT ? "'%s' is too long" : "'%s' holds a NUL or half of a surrogate pair", what);
	return ERR_INVALID_REQUEST;
}

/* Writes the record; its CRC is logd's to fill in. */
static enum error put_record(struct scan *scan, const struct json_walk *walk, const struct parts *parts, struct json_error *error)
{
	uint8_t *record = scan->out + scan->scanned->records_length, *at = record + RECORD_HEAD;
	uint32_t tag = 0, node = 0, flags = 0;
	enum error result = ERR_OK;
	memcpy(at, parts->data, parts->data_length);
	at += parts->data_length;
	if (parts->meta_length > 0)
		memcpy(at, parts->meta, parts->meta_length);
	at += parts->meta_length;
	if (parts->tag != NULL) {
		flags |= RECORD_HAS_TAG;
		result = put_text(at, parts->tag, parts->tag_length, scan->settings->max_tag_bytes, (size_t)(parts->tag - walk->start), "tag", &tag, error);
		at += tag;
	}
	if (result == ERR_OK && parts->node != NULL) {
		flags |= RECORD_HAS_NODE;
		result = put_text(at, parts->node, parts->node_length, scan->settings->max_node_bytes, (size_t)(parts->node - walk->start), "node", &node,
		                  error);
		at += node;
	}
	uint32_t length = (uint32_t)align8((uint64_t)(at - record));
	memset(at, 0, (size_t)(record + length - at));
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

static enum error take_record(struct scan *scan, struct json_walk *walk, struct json_error *error)
{
	struct parts parts = { 0 };
	size_t began = json_walk_offset(walk);
	if (walk->at == walk->end || *walk->at != '{')
		return fail(error, ERR_INVALID_REQUEST, began, "a record must be an object");
	if (walk->depth >= JSON_DEPTH_MAX)
		return fail(error, ERR_INVALID_REQUEST, began, "nesting is deeper than 128");
	walk->at++;
	walk->depth++;
	json_walk_space(walk);
	bool more = walk->at < walk->end && *walk->at != '}';
	while (more) {
		enum error result = take_member(scan, walk, &parts, error);
		if (result != ERR_OK)
			return result;
		json_walk_space(walk);
		more = walk->at < walk->end && *walk->at == ',';
		if (more) {
			walk->at++;
			json_walk_space(walk);
		}
	}
	if (!json_walk_expect(walk, '}', "a ',' or '}' is missing here"))
		return malformed(walk, error);
	walk->depth--;
	if (parts.data == NULL)
		return fail(error, ERR_INVALID_REQUEST, began, "a record has no 'data'");
	if (parts.data_length + parts.meta_length > scan->settings->max_record_bytes)
		return fail(error, ERR_RECORD_TOO_LARGE, began, "a record is too large");
	return put_record(scan, walk, &parts, error);
}

static enum error take_records(void *context, struct json_walk *walk, struct json_error *error)
{
	struct scan *scan = context;
	if (walk->at == walk->end || *walk->at != '[')
		return fail(error, ERR_INVALID_REQUEST, json_walk_offset(walk), "'records' must be an array");
	walk->at++;
	walk->depth++;
	json_walk_space(walk);
	bool more = walk->at < walk->end && *walk->at != ']';
	while (more) {
		if (scan->scanned->count == scan->settings->max_batch_records)
			return fail(error, ERR_BATCH_TOO_LARGE, json_walk_offset(walk), "the batch has too many records");
		enum error result = take_record(scan, walk, error);
		if (result != ERR_OK)
			return result;
		json_walk_space(walk);
		more = walk->at < walk->end && *walk->at == ',';
		if (more) {
			walk->at++;
			json_walk_space(walk);
		}
	}
	if (!json_walk_expect(walk, ']', "a ',' or ']' is missing here"))
		return malformed(walk, error);
	walk->depth--;
	return ERR_OK;
}

/* The batch's node stands once; the records that take it say so. It may stand behind the records in the body, so this comes last. */
static void take_batch_node(const struct scan *scan)
{
	uint32_t at = 0;
	while (at < scan->scanned->records_length) {
		uint8_t *record = scan->out + at;
		uint32_t flags = get_u32(record + 28);
		if (!(flags & RECORD_HAS_NODE))
			put_u32(record + 28, flags | RECORD_BATCH_NODE);
		at += get_u32(record);
	}
}

enum error scan_append(const uint8_t *body, size_t length, const struct settings *settings, uint8_t *out, struct scanned *scanned,
                       struct json_error *error)
{
	struct scan scan = { .settings = settings, .scanned = scanned, .out = out };
	struct json_field fields[] = {
		{ .name = "records", .want = JSON_HOOK, .hook = take_records, .hook_context = &scan },
		{ .name = "node", .want = JSON_STRING, .text = scanned->node, .text_room = settings->max_node_bytes },
		{ .name = "idempotency_key", .want = JSON_STRING, .text = scanned->key, .text_room = sizeof scanned->key },
		{ .name = "create", .want = JSON_BOOL },
		{ .name = "config", .want = JSON_OBJECT },
		{ .name = "expect_head_seq", .want = JSON_U64 },
		{ .name = "expect_epoch", .want = JSON_STRING, .text = scanned->epoch, .text_room = sizeof scanned->epoch },
		{ .name = "disable_backpressure", .want = JSON_BOOL },
	};
	enum error result = json_object(body, length, 0, 0, fields, sizeof fields / sizeof fields[0], error);
	if (result != ERR_OK)
		return result;
	if (scanned->count == 0)
		return fail(error, ERR_INVALID_REQUEST, 0, "'records' must hold at least one record");
	scanned->has_node = fields[1].is_set;
	scanned->node_length = fields[1].text_length;
	scanned->has_key = fields[2].is_set;
	scanned->key_length = fields[2].text_length;
	scanned->has_create = fields[3].is_set;
	scanned->create = fields[3].boolean;
	scanned->has_config = fields[4].is_set;
	scanned->config = fields[4].raw;
	scanned->config_length = fields[4].raw_length;
	scanned->config_offset = fields[4].is_set ? (size_t)(fields[4].raw - body) : 0;
	scanned->has_expect_head = fields[5].is_set;
	scanned->expect_head = fields[5].u64;
	scanned->has_expect_epoch = fields[6].is_set;
	scanned->epoch_length = fields[6].text_length;
	scanned->wait = fields[7].is_set && fields[7].boolean;
	if (scanned->has_node)
		take_batch_node(&scan);
	return ERR_OK;
}
