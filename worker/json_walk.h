/*
 * The primitives under json.c and scan.c: a walk over JSON text that checks as it goes (RFC 8259, strict UTF-8, a bound on nesting). Nothing is decoded, nothing
 * allocated, the stack does not grow with the input. A step answers false when the text is malformed: then `at` is the offending byte and `problem` says what is wrong.
 */
#ifndef TOPICS_JSON_WALK_H
#define TOPICS_JSON_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_walk {
	const uint8_t *start;
	const uint8_t *at;
	const uint8_t *end;
	unsigned depth;       /* objects and arrays around `at`, over the whole document */
	const char *problem;
};

static inline size_t json_walk_offset(const struct json_walk *walk)
{
	return (size_t)(walk->at - walk->start);
}

static inline void json_walk_space(struct json_walk *walk)
{
	while (walk->at < walk->end && (*walk->at == ' ' || *walk->at == '\n' || *walk->at == '\r' || *walk->at == '\t'))
		walk->at++;
}

/* Into the object or array that stands here; whether anything stands in it before `close`. */
static inline bool json_walk_enter(struct json_walk *walk, uint8_t close)
{
	walk->at++;
	walk->depth++;
	json_walk_space(walk);
	return walk->at < walk->end && *walk->at != close;
}

/* Behind a member or an element: past the comma, if another one follows. */
static inline bool json_walk_more(struct json_walk *walk)
{
	json_walk_space(walk);
	if (walk->at == walk->end || *walk->at != ',')
		return false;
	walk->at++;
	json_walk_space(walk);
	return true;
}

/* Passes over the byte `c`, or fails with `problem`. */
static inline bool json_walk_expect(struct json_walk *walk, uint8_t c, const char *problem)
{
	if (walk->at < walk->end && *walk->at == c) {
		walk->at++;
		return true;
	}
	walk->problem = problem;
	return false;
}

/* Length of the UTF-8 character at `at` (RFC 3629: shortest form, no surrogates, up to U+10FFFF), of which `left` > 0 bytes may be read; 0 if it is none. */
size_t json_walk_utf8(const uint8_t *at, size_t left);

/* Passes over a string with its quotes; `at` must stand on the first quote, else it fails. */
bool json_walk_string(struct json_walk *walk);

/* Passes over any value, of any depth up to the bound. */
bool json_walk_value(struct json_walk *walk);

/* Passes over an object and counts its members (with repeated names as often as they stand). */
bool json_walk_object(struct json_walk *walk, uint64_t *members);

#endif
