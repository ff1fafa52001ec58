#include "worker/scan_parts.h"

#include <stdio.h>
#include <string.h>

enum scan_part scan_part_of(const uint8_t *raw, size_t length)
{
	char decoded[8];
	size_t n = length - 2;
	const char *name = (const char *)raw + 1;
	/* A name may be spelled with escapes, so only one without a backslash is compared as it is. */
	if (memchr(name, '\\', n) != NULL) {
		if (json_string(raw, length, decoded, sizeof decoded, &n) != ERR_OK)
			return SCAN_UNKNOWN;
		name = decoded;
	}
	if (n == 3)
		return memcmp(name, "tag", 3) == 0 ? SCAN_TAG : SCAN_UNKNOWN;
	if (n != 4)
		return SCAN_UNKNOWN;
	if (memcmp(name, "data", 4) == 0)
		return SCAN_DATA;
	if (memcmp(name, "node", 4) == 0)
		return SCAN_NODE;
	return memcmp(name, "meta", 4) == 0 ? SCAN_META : SCAN_UNKNOWN;
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

uint32_t scan_put_texts(const struct scan *scan, const uint8_t *body, const struct scan_parts *parts, uint8_t *at, uint32_t *tag, uint32_t *node,
                        enum error *result, struct json_error *error)
{
	uint32_t flags = 0;
	if (parts->tag != NULL) {
		flags |= RECORD_HAS_TAG;
		*result = put_text(at, parts->tag, parts->tag_length, scan->settings->max_tag_bytes, (size_t)(parts->tag - body), "tag", tag, error);
		at += *tag;
	}
	if (*result == ERR_OK && parts->node != NULL) {
		flags |= RECORD_HAS_NODE;
		*result = put_text(at, parts->node, parts->node_length, scan->settings->max_node_bytes, (size_t)(parts->node - body), "node", node, error);
	}
	return flags;
}

void scan_fields(const struct scan *scan, struct json_field *fields)
{
	struct scanned *scanned = scan->scanned;
	static const struct json_field table[SCAN_FIELDS] = {
		{ .name = "records", .want = JSON_HOOK },
		{ .name = "node", .want = JSON_STRING },
		{ .name = "idempotency_key", .want = JSON_STRING, .text_room = sizeof scanned->key },
		{ .name = "create", .want = JSON_BOOL },
		{ .name = "config", .want = JSON_OBJECT },
		{ .name = "expect_head_seq", .want = JSON_U64 },
		{ .name = "expect_epoch", .want = JSON_STRING, .text_room = sizeof scanned->epoch },
		{ .name = "disable_backpressure", .want = JSON_BOOL },
	};
	memcpy(fields, table, sizeof table);
	fields[1].text = scanned->node;
	fields[1].text_room = scan->settings->max_node_bytes;
	fields[2].text = scanned->key;
	fields[6].text = scanned->epoch;
}

void scan_take_fields(const struct scan *scan, const struct json_field *fields, const uint8_t *body)
{
	struct scanned *scanned = scan->scanned;
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
}

void scan_take_batch_node(const struct scan *scan)
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
