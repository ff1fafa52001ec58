#include "worker/scan_one_pass.h"

#include <stdio.h>

#include "worker/json_walk.h"

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

static enum error take_meta(struct scan *scan, struct json_walk *walk, struct scan_parts *parts, struct json_error *error)
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

static enum error take_member(struct scan *scan, struct json_walk *walk, struct scan_parts *parts, struct json_error *error)
{
	const uint8_t *name = walk->at;
	if (!json_walk_string(walk))
		return malformed(walk, error);
	enum scan_part part = scan_part_of(name, (size_t)(walk->at - name));
	json_walk_space(walk);
	if (!json_walk_expect(walk, ':', "a ':' is missing here"))
		return malformed(walk, error);
	json_walk_space(walk);
	if (parts->seen & part)
		return fail(error, ERR_INVALID_REQUEST, (size_t)(name - walk->start), "a field of a record stands twice");
	parts->seen |= part;
	switch (part) {
	case SCAN_DATA:
		parts->data = walk->at;
		if (!json_walk_value(walk))
			return malformed(walk, error);
		parts->data_length = (size_t)(walk->at - parts->data);
		return ERR_OK;
	case SCAN_META:
		return take_meta(scan, walk, parts, error);
	case SCAN_TAG:
		return take_text(walk, &parts->tag, &parts->tag_length, "'tag' must be a string", error);
	case SCAN_NODE:
		return take_text(walk, &parts->node, &parts->node_length, "'node' of a record must be a string", error);
	default:
		return json_walk_value(walk) ? ERR_OK : malformed(walk, error);
	}
}

static enum error take_record(struct scan *scan, struct json_walk *walk, struct json_error *error)
{
	struct scan_parts parts = { 0 };
	size_t began = json_walk_offset(walk);
	if (walk->at == walk->end || *walk->at != '{')
		return fail(error, ERR_INVALID_REQUEST, began, "a record must be an object");
	if (walk->depth >= JSON_DEPTH_MAX)
		return fail(error, ERR_INVALID_REQUEST, began, "nesting is deeper than 128");
	bool more = json_walk_enter(walk, '}');
	while (more) {
		enum error result = take_member(scan, walk, &parts, error);
		if (result != ERR_OK)
			return result;
		more = json_walk_more(walk);
	}
	if (!json_walk_expect(walk, '}', "a ',' or '}' is missing here"))
		return malformed(walk, error);
	walk->depth--;
	if (parts.data == NULL)
		return fail(error, ERR_INVALID_REQUEST, began, "a record has no 'data'");
	if (parts.data_length + parts.meta_length > scan->settings->max_record_bytes)
		return fail(error, ERR_RECORD_TOO_LARGE, began, "a record is too large");
	return scan_put_record(scan, walk->start, &parts, error);
}

static enum error take_records(void *context, struct json_walk *walk, struct json_error *error)
{
	struct scan *scan = context;
	if (walk->at == walk->end || *walk->at != '[')
		return fail(error, ERR_INVALID_REQUEST, json_walk_offset(walk), "'records' must be an array");
	bool more = json_walk_enter(walk, ']');
	while (more) {
		if (scan->scanned->count == scan->settings->max_batch_records)
			return fail(error, ERR_BATCH_TOO_LARGE, json_walk_offset(walk), "the batch has too many records");
		enum error result = take_record(scan, walk, error);
		if (result != ERR_OK)
			return result;
		more = json_walk_more(walk);
	}
	if (!json_walk_expect(walk, ']', "a ',' or ']' is missing here"))
		return malformed(walk, error);
	walk->depth--;
	return ERR_OK;
}

enum error scan_one_pass(struct scan *scan, const uint8_t *body, size_t length, struct json_error *error)
{
	struct json_field fields[SCAN_FIELDS];
	scan_fields(scan, fields);
	fields[SCAN_FIELD_RECORDS].hook = take_records;
	fields[SCAN_FIELD_RECORDS].hook_context = scan;
	enum error result = json_object(body, length, 0, 0, fields, SCAN_FIELDS, error);
	if (result != ERR_OK)
		return result;
	if (scan->scanned->count == 0)
		return fail(error, ERR_INVALID_REQUEST, 0, "'records' must hold at least one record");
	scan_take_fields(scan, fields, body);
	if (scan->scanned->has_node)
		scan_take_batch_node(scan);
	return ERR_OK;
}
