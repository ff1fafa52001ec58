#include "worker/json.h"

#include <stdio.h>
#include <string.h>

#include "worker/json_walk.h"

/* ---- strings ---- */

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint32_t hex4(const uint8_t *at)
{
	uint32_t value = 0;
	for (int i = 0; i < 4; i++)
		value = value * 16 + (uint32_t)hex_digit(at[i]);
	return value;
}

static size_t put_utf8(char *out, uint32_t point)
{
	if (point < 0x80) {
		out[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		out[0] = (char)(0xc0 | point >> 6);
		out[1] = (char)(0x80 | (point & 0x3f));
		return 2;
	}
	if (point < 0x10000) {
		out[0] = (char)(0xe0 | point >> 12);
		out[1] = (char)(0x80 | (point >> 6 & 0x3f));
		out[2] = (char)(0x80 | (point & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | point >> 18);
	out[1] = (char)(0x80 | (point >> 12 & 0x3f));
	out[2] = (char)(0x80 | (point >> 6 & 0x3f));
	out[3] = (char)(0x80 | (point & 0x3f));
	return 4;
}

/* The character behind a backslash that has been checked; *at stands behind it afterwards. 0: a NUL or a lone surrogate. */
static uint32_t unescape(const uint8_t **at, const uint8_t *end)
{
	static const char letters[] = "bfnrt", values[] = "\b\f\n\r\t";
	uint8_t c = *(*at)++;
	if (c != 'u') {
		const char *letter = strchr(letters, c);
		return letter != NULL ? (uint32_t)values[letter - letters] : c;
	}
	uint32_t point = hex4(*at);
	*at += 4;
	if (point < 0xd800 || point > 0xdfff)
		return point;
	if (point > 0xdbff || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u')
		return 0;
	uint32_t low = hex4(*at + 2);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*at += 6;
	return 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
}

enum error json_string(const uint8_t *raw, size_t length, char *out, size_t room, size_t *out_length)
{
	const uint8_t *at = raw + 1, *end = raw + length - 1;
	size_t n = length - 2;
	/* Most strings stand for themselves. */
	if (memchr(at, '\\', n) == NULL) {
		if (n > room)
			return ERR_LIMIT;
		memcpy(out, at, n);
		*out_length = n;
		return ERR_OK;
	}
	n = 0;
	while (at < end) {
		char point[4];
		size_t size = 1;
		if (*at != '\\') {
			point[0] = (char)*at++;
		} else {
			at++;
			uint32_t value = unescape(&at, end);
			if (value == 0)
				return ERR_INVALID_REQUEST;
			size = put_utf8(point, value);
		}
		if (n + size > room)
			return ERR_LIMIT;
		memcpy(out + n, point, size);
		n += size;
	}
	*out_length = n;
	return ERR_OK;
}

size_t json_quote(uint8_t *out, const char *text, size_t length)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;
	out[n++] = '"';
	for (size_t i = 0; i < length; i++) {
		uint8_t c = (uint8_t)text[i];
		if (c == '"' || c == '\\') {
			out[n++] = '\\';
			out[n++] = c;
		} else if (c < 0x20) {
			memcpy(out + n, "\\u00", 4);
			out[n + 4] = (uint8_t)hex[c >> 4];
			out[n + 5] = (uint8_t)hex[c & 15];
			n += 6;
		} else {
			out[n++] = c;
		}
	}
	out[n++] = '"';
	return n;
}

/* ---- objects ---- */

static enum error fail(struct json_error *error, size_t offset, const char *field, const char *what)
{
	error->offset = offset;
	if (field != NULL)
		snprintf(error->message, sizeof error->message, "field '%s' %s", field, what);
	else
		snprintf(error->message, sizeof error->message, "%s", what);
	return ERR_INVALID_REQUEST;
}

/* Integers of the contract: digits alone, for signed ones a minus before them (API.md §1). */
static bool integer(const uint8_t *raw, size_t length, uint64_t *value)
{
	uint64_t n = 0;
	if (length == 0)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (raw[i] < '0' || raw[i] > '9' || __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(raw[i] - '0'), &n))
			return false;
	}
	*value = n;
	return true;
}

static enum error take_integer(struct json_field *field, size_t offset, struct json_error *error)
{
	uint64_t value;
	if (field->want == JSON_U64) {
		if (!integer(field->raw, field->raw_length, &field->u64))
			return fail(error, offset, field->name, "must be a non-negative integer without sign, fraction or exponent");
		return ERR_OK;
	}
	bool minus = field->raw[0] == '-';
	if (!integer(field->raw + minus, field->raw_length - minus, &value) || value > (uint64_t)INT64_MAX || (minus && value == 0))
		return fail(error, offset, field->name, "must be an integer without fraction or exponent");
	field->i64 = minus ? -(int64_t)value : (int64_t)value;
	return ERR_OK;
}

static enum error take_string(struct json_field *field, size_t offset, struct json_error *error)
{
	if (field->raw[0] != '"')
		return fail(error, offset, field->name, "must be a string");
	if (field->text == NULL)
		return ERR_OK;
	enum error result = json_string(field->raw, field->raw_length, field->text, field->text_room, &field->text_length);
	if (result == ERR_LIMIT)
		return fail(error, offset, field->name, "is too long");
	return result == ERR_OK ? ERR_OK : fail(error, offset, field->name, "holds a NUL or half of a surrogate pair");
}

static enum error take_null(struct json_field *field, size_t offset, struct json_error *error)
{
	switch (field->want) {
	case JSON_U64:
	case JSON_I64:
		return fail(error, offset, field->name, "must be an integer, not null");
	case JSON_BOOL:
		return fail(error, offset, field->name, "must be true or false, not null");
	case JSON_I64_OR_NULL:
	case JSON_STRING_OR_NULL:
	case JSON_ANY:
		field->is_set = field->is_null = true;
		return ERR_OK;
	default:
		return ERR_OK; /* absent */
	}
}

static enum error take(struct json_field *field, size_t offset, struct json_error *error)
{
	uint8_t first = field->raw[0];
	if (first == 'n')
		return take_null(field, offset, error);
	field->is_set = true;
	switch (field->want) {
	case JSON_U64:
	case JSON_I64:
	case JSON_I64_OR_NULL:
		return take_integer(field, offset, error);
	case JSON_BOOL:
		field->boolean = first == 't';
		return first == 't' || first == 'f' ? ERR_OK : fail(error, offset, field->name, "must be true or false");
	case JSON_STRING:
	case JSON_STRING_OR_NULL:
		return take_string(field, offset, error);
	case JSON_OBJECT:
		return first == '{' ? ERR_OK : fail(error, offset, field->name, "must be an object");
	case JSON_ARRAY:
		return first == '[' ? ERR_OK : fail(error, offset, field->name, "must be an array");
	case JSON_STRING_OR_ARRAY:
		return first == '[' || first == '"' ? ERR_OK : fail(error, offset, field->name, "must be a string or an array of strings");
	case JSON_ANY:
	case JSON_HOOK:
		break;
	}
	return ERR_OK;
}

/* The field that a name as sent, with its quotes, stands for. */
static struct json_field *find(struct json_field *fields, unsigned count, const uint8_t *raw, size_t length)
{
	char name[64];
	size_t n = 0;
	if (json_string(raw, length, name, sizeof name, &n) != ERR_OK)
		return NULL;
	for (unsigned i = 0; i < count; i++)
		if (strlen(fields[i].name) == n && memcmp(fields[i].name, name, n) == 0)
			return &fields[i];
	return NULL;
}

/* A member that has been checked; `field` is NULL for one that nobody asked for. */
static enum error take_field(struct json_field *fields, struct json_field *field, uint64_t *seen, struct json_span name, struct json_span value,
                             const uint8_t *body, size_t base, struct json_error *error)
{
	if (field == NULL)
		return ERR_OK;
	uint64_t bit = (uint64_t)1 << (field - fields);
	if (*seen & bit)
		return fail(error, base + (size_t)(name.at - body), field->name, "stands twice");
	*seen |= bit;
	field->raw = value.at;
	field->raw_length = value.length;
	return take(field, base + (size_t)(value.at - body), error);
}

static enum error member(struct json_walk *walk, struct json_field *fields, unsigned count, uint64_t *seen, size_t base, struct json_error *error)
{
	const uint8_t *name = walk->at;
	if (!json_walk_string(walk))
		return fail(error, base + json_walk_offset(walk), NULL, walk->problem);
	size_t name_length = (size_t)(walk->at - name);
	json_walk_space(walk);
	if (!json_walk_expect(walk, ':', "a ':' is missing here"))
		return fail(error, base + json_walk_offset(walk), NULL, walk->problem);
	json_walk_space(walk);
	const uint8_t *value = walk->at;
	struct json_field *field = find(fields, count, name, name_length);
	if (field != NULL && field->want == JSON_HOOK) {
		enum error result = field->is_set ? fail(error, base + (size_t)(name - walk->start), field->name, "stands twice")
		                                  : field->hook(field->hook_context, walk, error);
		field->is_set = true;
		return result;
	}
	if (!json_walk_value(walk))
		return fail(error, base + json_walk_offset(walk), NULL, walk->problem);
	return take_field(fields, field, seen, (struct json_span){ name, name_length }, (struct json_span){ value, (size_t)(walk->at - value) }, walk->start, base,
	                  error);
}

enum error json_object_take(struct json_field *fields, unsigned count, uint64_t *seen, struct json_span name, struct json_span value, const uint8_t *body,
                            size_t base, struct json_error *error)
{
	struct json_field *field = find(fields, count, name.at, name.length);
	if (field != NULL && field->want == JSON_HOOK)
		return ERR_INVALID_REQUEST;
	return take_field(fields, field, seen, name, value, body, base, error);
}

enum error json_object(const uint8_t *body, size_t length, size_t base, unsigned depth, struct json_field *fields, unsigned field_count,
                       struct json_error *error)
{
	struct json_walk walk = { .start = body, .at = body, .end = body + length, .depth = depth };
	uint64_t seen = 0;
	json_walk_space(&walk);
	if (walk.at == walk.end)
		return fail(error, base + length, NULL, "the body is empty; a JSON object is wanted");
	if (*walk.at != '{') {
		if (!json_walk_value(&walk))
			return fail(error, base + json_walk_offset(&walk), NULL, walk.problem);
		return fail(error, base, NULL, "the body must be a JSON object");
	}
	bool more = json_walk_enter(&walk, '}');
	while (more) {
		enum error result = member(&walk, fields, field_count, &seen, base, error);
		if (result != ERR_OK)
			return result;
		more = json_walk_more(&walk);
	}
	if (!json_walk_expect(&walk, '}', "a ',' or '}' is missing here"))
		return fail(error, base + json_walk_offset(&walk), NULL, walk.problem);
	json_walk_space(&walk);
	if (walk.at != walk.end)
		return fail(error, base + json_walk_offset(&walk), NULL, "something stands behind the JSON object");
	return ERR_OK;
}

enum error json_array_next(const uint8_t *array, size_t length, size_t *position, const uint8_t **element, size_t *element_length)
{
	struct json_walk walk = { .start = array, .at = array + *position, .end = array + length };
	if (*position == 0 || *walk.at == ',')
		walk.at++;
	json_walk_space(&walk);
	if (walk.at >= walk.end || *walk.at == ']')
		return ERR_AGAIN;
	*element = walk.at;
	if (!json_walk_value(&walk))
		return ERR_INVALID_REQUEST;
	*element_length = (size_t)(walk.at - *element);
	json_walk_space(&walk);
	*position = (size_t)(walk.at - array);
	return ERR_OK;
}
