#include "worker/scan_walk.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "worker/json_walk.h"

/* What stage 1 has found and where it stands. */
struct tokens {
	struct scan_index index;
	enum scan_form form;
	uint32_t *window;      /* SCAN_TOKENS_MAX */
	const uint32_t *next;  /* where the window begins and ends, when it was filled last */
	const uint32_t *end;
};

/* Where stage 2 stands. A value of its own in each function, so that it lives in registers. */
struct cursor {
	const uint32_t *next, *end; /* the rest of the window */
	uint32_t at;                /* the token that is looked at: its offset */
};

/* A value as it stands in the body. */
struct span {
	uint32_t from, to;
};

struct walk {
	struct tokens tokens;
	const uint8_t *body;
	size_t length;
	const struct scan *scan;
	bool has_records, has_fields;
	uint64_t seen;              /* of json_object_take */
	uint8_t closing[JSON_DEPTH_MAX]; /* nested(): by depth, the character that closes what is around */
	struct json_field fields[SCAN_FIELDS]; /* filled when the first field but `records` comes */
};

/* ---- tokens ---- */

__attribute__((noinline)) static bool refill(struct tokens *tokens)
{
	size_t count = 0;
	while (count == 0) {
		if (tokens->index.done == tokens->index.length)
			return false;
		count = scan_index_window(&tokens->index, tokens->form, tokens->window);
		if (tokens->index.bad != 0)
			return false;
	}
	tokens->next = tokens->window;
	tokens->end = tokens->window + count;
	return true;
}

/* Goes to the next token; false at the text's end or when it is bad. */
static inline bool advance(struct walk *walk, struct cursor *cursor)
{
	if (__builtin_expect(cursor->next == cursor->end, 0)) {
		if (!refill(&walk->tokens))
			return false;
		cursor->next = walk->tokens.next;
		cursor->end = walk->tokens.end;
	}
	cursor->at = *cursor->next++;
	return true;
}

/* Where the value ends that begins at `from` and is a string, number or word, when `next` is the token behind it. */
static inline uint32_t trimmed(const uint8_t *body, uint32_t next)
{
	do
		next--;
	while (body[next] == ' ' || body[next] == '\n' || body[next] == '\r' || body[next] == '\t');
	return next + 1;
}

/* ---- numbers and words ---- */

/* What is neither short nor plain: the grammar as the one-pass form has it. */
__attribute__((noinline)) static bool number_or_word(const uint8_t *body, uint32_t from, uint32_t next)
{
	struct json_walk walk = { .start = body, .at = body + from, .end = body + trimmed(body, next) };
	return json_walk_value(&walk) && walk.at == walk.end;
}

/* Digits, perhaps a minus before and a point within. The bytes from `from` to `next` are looked at all together. */
static inline bool number_valid(const struct walk *walk, uint32_t from, uint32_t next)
{
#ifdef __SSE2__
	uint32_t length = next - from;
	if (length <= 16 && from + 16 <= walk->length) {
		const uint8_t *text = walk->body + from;
		__m128i bytes = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)text), _mm_set1_epi8('0'));
		__m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(9)), bytes);
		uint32_t minus = *text == '-', others = ~(uint32_t)_mm_movemask_epi8(digit) & ((1u << length) - 1) & ~minus;
		uint32_t whole = others == 0 ? length : (uint32_t)__builtin_ctz(others);
		/* No digit at all, a leading zero, or more than the whole part and a fraction: it is looked at closely. */
		if (whole > minus && (text[minus] != '0' || whole == minus + 1) &&
		    (others == 0 || ((others & (others - 1)) == 0 && text[whole] == '.' && whole + 1 < length)))
			return true;
	}
#endif
	return number_or_word(walk->body, from, next);
}

/* A number or word; what begins otherwise is none. */
static inline bool plain_valid(const struct walk *walk, uint32_t from, uint32_t next)
{
	const uint8_t *text = walk->body + from;
	if (*text <= '9')
		return number_valid(walk, from, next);
	if ((next - from == 4 && (memcmp(text, "true", 4) == 0 || memcmp(text, "null", 4) == 0)) || (next - from == 5 && memcmp(text, "false", 5) == 0))
		return true;
	return number_or_word(walk->body, from, next);
}

/* ---- values ---- */

/* A member's name and colon; goes to the value. */
static inline bool name(struct walk *walk, struct cursor *cursor)
{
	return walk->body[cursor->at] == '"' && advance(walk, cursor) && walk->body[cursor->at] == ':' && advance(walk, cursor);
}

/* An object or array, around which `depth` others are open: from its token to its last one. */
__attribute__((always_inline)) static inline bool nested(struct walk *walk, struct cursor *shared, unsigned depth)
{
	const uint8_t *body = walk->body;
	struct cursor cursor = *shared;
	uint8_t close = 0, *closing = walk->closing + depth, *outermost = closing;
	for (;;) {
		uint8_t c = body[cursor.at];
		uint32_t from = cursor.at;
		if (c == '{' || c == '[') {
			if (closing == walk->closing + JSON_DEPTH_MAX)
				return false;
			*closing++ = close;
			close = (uint8_t)(c + 2); /* the closing character, of both kinds */
			if (!advance(walk, &cursor))
				return false;
			if (body[cursor.at] != close) {
				if (c == '{' && !name(walk, &cursor))
					return false;
				continue;
			}
		} else if (!advance(walk, &cursor) || (c != '"' && !plain_valid(walk, from, cursor.at))) {
			return false;
		}
		while (body[cursor.at] == close) {
			close = *--closing;
			if (closing == outermost) {
				*shared = cursor;
				return true;
			}
			if (!advance(walk, &cursor))
				return false;
		}
		if (body[cursor.at] != ',' || !advance(walk, &cursor) || (close == '}' && !name(walk, &cursor)))
			return false;
	}
}

/* Any value: from its token to the one behind it. */
__attribute__((always_inline)) static inline bool value(struct walk *walk, struct cursor *cursor, unsigned depth, struct span *span)
{
	uint8_t first = walk->body[cursor->at];
	span->from = cursor->at;
	if (first == '{' || first == '[') {
		if (!nested(walk, cursor, depth))
			return false;
		span->to = cursor->at + 1;
		return advance(walk, cursor);
	}
	if (!advance(walk, cursor) || (first != '"' && !plain_valid(walk, span->from, cursor->at)))
		return false;
	span->to = trimmed(walk->body, cursor->at);
	return true;
}

/* The same, not inlined: for values that are seldom. */
__attribute__((noinline)) static bool other(struct walk *walk, struct cursor *cursor, unsigned depth, struct span *span)
{
	return value(walk, cursor, depth, span);
}

/* ---- records ---- */

/* The part that the name from `from` on stands for; `colon` is the token behind it. */
static inline enum scan_part part_of(const struct walk *walk, uint32_t from, uint32_t colon)
{
	/* A name that begins as one of these with its closing quote is it, since it has no backslash. */
	const char *raw = (const char *)walk->body + from;
	if (colon - from >= 6) {
		if (memcmp(raw, "\"data\"", 6) == 0)
			return SCAN_DATA;
		if (memcmp(raw, "\"meta\"", 6) == 0)
			return SCAN_META;
		if (memcmp(raw, "\"node\"", 6) == 0)
			return SCAN_NODE;
	}
	if (colon - from >= 5 && memcmp(raw, "\"tag\"", 5) == 0)
		return SCAN_TAG;
	return scan_part_of(walk->body + from, trimmed(walk->body, colon) - from);
}

/* The value of a tag or node: a string, or null for none. */
static inline bool text_value(struct walk *walk, struct cursor *cursor, const uint8_t **text, size_t *length)
{
	uint32_t from = cursor->at;
	if (!advance(walk, cursor))
		return false;
	if (walk->body[from] != '"')
		return walk->body[from] == 'n' && plain_valid(walk, from, cursor->at);
	*text = walk->body + from;
	*length = trimmed(walk->body, cursor->at) - from;
	return true;
}

/* Whether an object that has been checked has no more keys than `meta` may have. */
static bool keys_fit(const uint8_t *object, size_t length)
{
	enum { MEMBER_MIN = 5 /* "":0 and a comma or bracket */ };
	struct json_walk walk = { .start = object, .at = object, .end = object + length };
	uint64_t count = 0;
	return length <= MEMBER_MIN * SCAN_META_KEYS || (json_walk_object(&walk, &count) && count <= SCAN_META_KEYS);
}

/* What is there besides `data`. */
__attribute__((noinline)) static bool other_value(struct walk *walk, struct cursor *cursor, enum scan_part part, struct scan_parts *parts)
{
	struct span span = { 0 };
	uint8_t first = walk->body[cursor->at];
	if (part == SCAN_TAG)
		return text_value(walk, cursor, &parts->tag, &parts->tag_length);
	if (part == SCAN_NODE)
		return text_value(walk, cursor, &parts->node, &parts->node_length);
	if (!other(walk, cursor, 3, &span))
		return false;
	if (part == SCAN_UNKNOWN || first == 'n')
		return true;
	parts->meta = walk->body + span.from;
	parts->meta_length = span.to - span.from;
	return first == '{' && parts->meta_length <= walk->scan->settings->max_meta_bytes && keys_fit(parts->meta, parts->meta_length);
}

/* A record, around which three objects and arrays are open with itself: from its token to the one behind it. */
static inline bool record(struct walk *walk, struct cursor *cursor)
{
	struct scan_parts parts = { 0 };
	struct json_error error;
	const uint8_t *body = walk->body;
	if (body[cursor->at] != '{' || !advance(walk, cursor))
		return false;
	for (;;) {
		uint32_t from = cursor->at;
		if (body[from] != '"' || !advance(walk, cursor) || body[cursor->at] != ':')
			return false;
		enum scan_part part = part_of(walk, from, cursor->at);
		if ((parts.seen & part) || !advance(walk, cursor))
			return false;
		parts.seen |= part;
		if (part == SCAN_DATA) {
			struct span span;
			if (!value(walk, cursor, 3, &span))
				return false;
			parts.data = body + span.from;
			parts.data_length = span.to - span.from;
		} else if (!other_value(walk, cursor, part, &parts)) {
			return false;
		}
		if (body[cursor->at] == '}')
			break;
		if (body[cursor->at] != ',' || !advance(walk, cursor))
			return false;
	}
	if (parts.data == NULL || parts.data_length + parts.meta_length > walk->scan->settings->max_record_bytes)
		return false;
	return scan_put_record(walk->scan, body, &parts, &error) == ERR_OK && advance(walk, cursor);
}

static bool records(struct walk *walk, struct cursor *shared)
{
	struct cursor cursor = *shared;
	if (walk->has_records || walk->body[cursor.at] != '[')
		return false;
	walk->has_records = true;
	do {
		/* The array's bracket, or the comma between two records. */
		if (walk->scan->scanned->count == walk->scan->settings->max_batch_records || !advance(walk, &cursor) || !record(walk, &cursor))
			return false;
	} while (walk->body[cursor.at] == ',');
	*shared = cursor;
	return walk->body[cursor.at] == ']' && advance(walk, shared);
}

/* ---- the body ---- */

static bool field(struct walk *walk, struct cursor *cursor, uint32_t from, uint32_t colon)
{
	struct json_error error;
	struct span span;
	if (!walk->has_fields)
		scan_fields(walk->scan, walk->fields);
	walk->has_fields = true;
	if (!other(walk, cursor, 1, &span))
		return false;
	/* `records` comes here when it is spelled with escapes; that is refused, for the one-pass form to take. */
	return json_object_take(walk->fields, SCAN_FIELDS, &walk->seen, (struct json_span){ walk->body + from, trimmed(walk->body, colon) - from },
	                        (struct json_span){ walk->body + span.from, span.to - span.from }, walk->body, 0, &error) == ERR_OK;
}

static bool members(struct walk *walk, struct cursor *cursor)
{
	static const char name_of_records[] = "\"records\"";
	const uint8_t *body = walk->body;
	do {
		if (!advance(walk, cursor))
			return false;
		uint32_t from = cursor->at;
		if (body[from] != '"' || !advance(walk, cursor) || body[cursor->at] != ':')
			return false;
		uint32_t colon = cursor->at;
		if (!advance(walk, cursor))
			return false;
		bool is_records = colon - from >= sizeof name_of_records - 1 && memcmp(body + from, name_of_records, sizeof name_of_records - 1) == 0;
		if (!(is_records ? records(walk, cursor) : field(walk, cursor, from, colon)))
			return false;
	} while (body[cursor->at] == ',');
	return body[cursor->at] == '}';
}

bool scan_two_stage(const struct scan *scan, const struct scan_index *index, enum scan_form form, uint32_t *tokens)
{
	const uint8_t *body = index->text;
	struct walk walk;
	struct cursor cursor = { .next = tokens, .end = tokens };
	walk.tokens = (struct tokens){ .index = *index, .form = form, .window = tokens };
	walk.body = body;
	walk.length = index->length;
	walk.scan = scan;
	walk.has_records = walk.has_fields = false;
	walk.seen = 0;
	if (!advance(&walk, &cursor) || body[cursor.at] != '{' || !members(&walk, &cursor))
		return false;
	/* Nothing may follow; and the bytes that follow are as good or bad as all others. */
	if (advance(&walk, &cursor) || walk.tokens.index.bad != 0 || scan->scanned->count == 0)
		return false;
	if (walk.has_fields)
		scan_take_fields(scan, walk.fields, body);
	if (scan->scanned->has_node)
		scan_take_batch_node(scan);
	return true;
}
