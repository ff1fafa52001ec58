#include "worker/json_walk.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "worker/json.h"

static bool malformed(struct json_walk *walk, const char *problem)
{
	walk->problem = problem;
	return false;
}

/* ---- strings ---- */

/* From `at` on to the first byte that is not plain: a quote, a backslash, a control character, or the beginning of a multi-byte character. */
static const uint8_t *plain_end(const uint8_t *at, const uint8_t *end)
{
#ifdef __SSE2__
	const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
	while (end - at >= 16) {
		__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
		/* Signed: bytes from 0x80 on are below a space as control characters are. */
		__m128i special = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)), _mm_cmplt_epi8(bytes, space));
		unsigned mask = (unsigned)_mm_movemask_epi8(special);
		if (mask != 0)
			return at + __builtin_ctz(mask);
		at += 16;
	}
#endif
	while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\')
		at++;
	return at;
}

size_t json_walk_utf8(const uint8_t *at, size_t left)
{
	uint8_t a = at[0];
	if (a < 0xc2 || a > 0xf4)
		return 0;
	if (left < 2 || (at[1] & 0xc0) != 0x80)
		return 0;
	if (a < 0xe0)
		return 2;
	if ((a == 0xe0 && at[1] < 0xa0) || (a == 0xed && at[1] > 0x9f) || (a == 0xf0 && at[1] < 0x90) || (a == 0xf4 && at[1] > 0x8f))
		return 0;
	if (left < 3 || (at[2] & 0xc0) != 0x80)
		return 0;
	if (a < 0xf0)
		return 3;
	return left >= 4 && (at[3] & 0xc0) == 0x80 ? 4 : 0;
}

static bool is_hex(uint8_t c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static bool escape(struct json_walk *walk)
{
	const uint8_t *at = walk->at + 1;
	if (at == walk->end) {
		walk->at = at;
		return malformed(walk, "the document ends within a string");
	}
	if (*at != 'u') {
		if (*at == 0 || strchr("\"\\/bfnrt", *at) == NULL)
			return malformed(walk, "this escape does not exist in JSON");
		walk->at = at + 1;
		return true;
	}
	for (int i = 1; i <= 4; i++)
		if (at + i >= walk->end || !is_hex(at[i]))
			return malformed(walk, "\\u wants four hexadecimal digits");
	walk->at = at + 5;
	return true;
}

bool json_walk_string(struct json_walk *walk)
{
	if (walk->at == walk->end || *walk->at != '"')
		return malformed(walk, "a string is missing here");
	walk->at++;
	for (;;) {
		walk->at = plain_end(walk->at, walk->end);
		if (walk->at == walk->end)
			return malformed(walk, "the document ends within a string");
		uint8_t c = *walk->at;
		if (c == '"') {
			walk->at++;
			return true;
		}
		if (c == '\\') {
			if (!escape(walk))
				return false;
		} else if (c < 0x20) {
			return malformed(walk, "a control character in a string must be escaped");
		} else {
			size_t length = json_walk_utf8(walk->at, (size_t)(walk->end - walk->at));
			if (length == 0)
				return malformed(walk, "this is not valid UTF-8");
			walk->at += length;
		}
	}
}

/* ---- numbers and words ---- */

static bool digits(struct json_walk *walk)
{
	const uint8_t *from = walk->at;
	while (walk->at < walk->end && *walk->at >= '0' && *walk->at <= '9')
		walk->at++;
	return walk->at > from;
}

static bool number(struct json_walk *walk)
{
	if (*walk->at == '-')
		walk->at++;
	if (walk->at < walk->end && *walk->at == '0')
		walk->at++;
	else if (!digits(walk))
		return malformed(walk, "a number wants a digit here");
	if (walk->at < walk->end && *walk->at >= '0' && *walk->at <= '9')
		return malformed(walk, "a number may not begin with 0");
	if (walk->at < walk->end && *walk->at == '.') {
		walk->at++;
		if (!digits(walk))
			return malformed(walk, "a number wants a digit behind its point");
	}
	if (walk->at < walk->end && (*walk->at == 'e' || *walk->at == 'E')) {
		walk->at++;
		if (walk->at < walk->end && (*walk->at == '+' || *walk->at == '-'))
			walk->at++;
		if (!digits(walk))
			return malformed(walk, "an exponent wants a digit");
	}
	return true;
}

static bool word(struct json_walk *walk, const char *text, size_t length)
{
	if ((size_t)(walk->end - walk->at) < length || memcmp(walk->at, text, length) != 0)
		return malformed(walk, "a JSON value is missing here");
	walk->at += length;
	return true;
}

static bool scalar(struct json_walk *walk)
{
	switch (*walk->at) {
	case '"':
		return json_walk_string(walk);
	case 't':
		return word(walk, "true", 4);
	case 'f':
		return word(walk, "false", 5);
	case 'n':
		return word(walk, "null", 4);
	case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
		return number(walk);
	default:
		return malformed(walk, "a JSON value is missing here");
	}
}

/* ---- nesting ---- */

/* What is open around `at`, a bit each: 1 for an object. Two words hold the bound of 128. */
struct nest {
	uint64_t objects[JSON_DEPTH_MAX / 64];
	unsigned open;
};

static bool in_object(const struct nest *nest)
{
	unsigned i = nest->open - 1;
	return nest->objects[i / 64] >> (i % 64) & 1;
}

static bool enter(struct json_walk *walk, struct nest *nest)
{
	if (walk->depth >= JSON_DEPTH_MAX)
		return malformed(walk, "nesting is deeper than 128");
	uint64_t bit = (uint64_t)1 << (nest->open % 64);
	if (*walk->at == '{')
		nest->objects[nest->open / 64] |= bit;
	else
		nest->objects[nest->open / 64] &= ~bit;
	nest->open++;
	walk->depth++;
	walk->at++;
	return true;
}

/* A member's name and colon. */
static bool name(struct json_walk *walk)
{
	if (!json_walk_string(walk))
		return malformed(walk, walk->problem);
	json_walk_space(walk);
	if (!json_walk_expect(walk, ':', "a ':' is missing here"))
		return false;
	json_walk_space(walk);
	return true;
}

/* Behind a value: closes what ends here; true with *more when another value follows. */
static bool after_value(struct json_walk *walk, struct nest *nest, unsigned floor, bool *more)
{
	while (nest->open > floor) {
		json_walk_space(walk);
		if (walk->at == walk->end)
			return malformed(walk, "the document ends too early");
		bool object = in_object(nest);
		if (*walk->at == ',') {
			walk->at++;
			json_walk_space(walk);
			*more = true;
			return !object || name(walk);
		}
		if (*walk->at != (object ? '}' : ']'))
			return malformed(walk, object ? "a ',' or '}' is missing here" : "a ',' or ']' is missing here");
		walk->at++;
		walk->depth--;
		nest->open--;
	}
	*more = false;
	return true;
}

/* One value; `members` counts the commas of the outermost object, plus one. */
static bool walk_value(struct json_walk *walk, uint64_t *members)
{
	struct nest nest = { .open = 0 };
	bool more = true;
	*members = 0;
	while (more) {
		if (walk->at == walk->end)
			return malformed(walk, "the document ends too early");
		if (*walk->at == '{' || *walk->at == '[') {
			bool object = *walk->at == '{';
			if (!enter(walk, &nest))
				return false;
			json_walk_space(walk);
			if (walk->at < walk->end && *walk->at == (object ? '}' : ']')) {
				walk->at++;
				walk->depth--;
				nest.open--;
			} else {
				if (nest.open == 1)
					*members = 1;
				if (object && !name(walk))
					return false;
				continue;
			}
		} else if (!scalar(walk)) {
			return false;
		}
		if (!after_value(walk, &nest, 0, &more))
			return false;
		*members += more && nest.open == 1;
	}
	return true;
}

bool json_walk_value(struct json_walk *walk)
{
	uint64_t members;
	return walk_value(walk, &members);
}

bool json_walk_object(struct json_walk *walk, uint64_t *members)
{
	if (walk->at == walk->end || *walk->at != '{')
		return malformed(walk, "an object is wanted here");
	return walk_value(walk, members);
}
