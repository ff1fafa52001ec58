/*
 * Strict JSON for request bodies, without a tree: RFC 8259 in strict UTF-8, nesting bound, byte offsets in errors, integers as API.md §1 wants them. The hot
 * append path has a scanner of its own (scan.h) on the same primitives.
 */
#ifndef TOPICS_JSON_H
#define TOPICS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { JSON_DEPTH_MAX = 128 };

struct json_error {
	size_t offset;       /* byte of the body */
	char message[192];   /* for a person; names the field where there is one */
};

enum json_want {
	JSON_U64,            /* non-negative integer; null is an error */
	JSON_I64,            /* integer that may be negative */
	JSON_I64_OR_NULL,
	JSON_BOOL,
	JSON_STRING,         /* decoded into `text`; null means absent; lone surrogates and NUL are errors */
	JSON_OBJECT,         /* raw bytes; null means absent */
	JSON_ARRAY,          /* raw bytes; null means absent */
	JSON_STRING_OR_ARRAY,/* raw bytes; null means absent */
	JSON_STRING_OR_NULL, /* as JSON_STRING, but `null` is reported: is_null */
	JSON_ANY,            /* raw bytes, null too */
	JSON_HOOK,           /* `hook` passes over the value itself */
};

struct json_walk;

struct json_field {
	const char *name;
	enum json_want want;
	char *text;          /* room for a decoded string, NULL: raw only */
	size_t text_room;    /* at most this many decoded bytes, else an error (invalid_request) */
	bool is_set;         /* it stood there and was not an absent null */
	bool is_null;
	uint64_t u64;
	int64_t i64;
	bool boolean;
	size_t text_length;
	const uint8_t *raw;  /* the value as sent */
	size_t raw_length;
	/* JSON_HOOK: called with the walk at the value; leaves it behind the value, or answers an error with *error filled. */
	enum error (*hook)(void *context, struct json_walk *walk, struct json_error *error);
	void *hook_context;
};

/*
 * Reads `body`, one whole object: fills the fields that it names; unknown fields are checked and ignored; a duplicate known field, and anything that
 * API.md §1 forbids, is ERR_INVALID_REQUEST with *error filled. `base` is added to the offsets in errors (for an object inside a body).
 * An inner object (`raw` of a JSON_OBJECT field) is read by calling this again on it with depth + 1.
 */
enum error json_object(const uint8_t *body, size_t length, size_t base, unsigned depth, struct json_field *fields, unsigned field_count,
                       struct json_error *error);

/* Bytes of a body. */
struct json_span {
	const uint8_t *at;
	size_t length;
};

/*
 * What json_object does with one member, for a caller that has walked over it by itself and found it well-formed: `name` with its quotes, `value` without space around it, both in
 * `body`. *seen is 0 before the first member. A member with a hook is refused with ERR_INVALID_REQUEST and nothing in *error.
 */
enum error json_object_take(struct json_field *fields, unsigned field_count, uint64_t *seen, struct json_span name, struct json_span value, const uint8_t *body,
                            size_t base, struct json_error *error);

/* Walks the raw bytes of a checked array: *position starts at 0; gives each element's raw bytes; ERR_AGAIN at the end. */
enum error json_array_next(const uint8_t *array, size_t length, size_t *position, const uint8_t **element, size_t *element_length);

/* Decodes a checked JSON string (with its quotes) into `out`: ERR_INVALID_REQUEST for a lone surrogate, NUL, or more than `room` bytes. */
enum error json_string(const uint8_t *raw, size_t length, char *out, size_t room, size_t *out_length);

/* Appends `text` as a JSON string with its quotes; `room` at least 6 * length + 2. Returns bytes written. */
size_t json_quote(uint8_t *out, const char *text, size_t length);

#endif
