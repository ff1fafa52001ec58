/*
 * scan_bench: what scanning the body of an append costs, for each form of the scanner and for json-c, by kinds of bodies. All bodies are different and
 * there are some megabytes of them in rotation: one body again and again flatters whatever learns it.
 *
 *     scan_bench [--form FORM,FORM...] [KIND...]
 *
 * A table: nanoseconds a body (the best of some rounds, in which the forms take turns), megabytes of body a second, and how many times faster than the
 * one-pass form and than json-c.
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* json-c's type and our reader of objects have one name. */
#define json_object json_c_object
#include <json.h>
#undef json_object

#include "worker/scan.h"

enum { BODIES_MAX = 20000, SET_BYTES = 1 << 20, ROUNDS = 120, JSON_C = SCAN_AVX2 + 1, FORMS };

struct text {
	char *bytes;
	size_t length, room;
};

struct body {
	size_t offset, length;
};

static uint64_t next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

__attribute__((format(printf, 2, 3))) static void put(struct text *text, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(text->bytes + text->length, text->room - text->length, format, arguments);
	va_end(arguments);
	if (n < 0 || (size_t)n >= text->room - text->length)
		abort();
	text->length += (size_t)n;
}

/* `units` pieces of the given alphabet of strings. */
static void put_words(struct text *text, uint64_t *state, const char *const *alphabet, unsigned size, size_t units)
{
	while (units-- > 0)
		put(text, "%s", alphabet[next(state) % size]);
}

static void put_letters(struct text *text, uint64_t *state, size_t n)
{
	static const char *const letters[] = { "a", "e", "i", "o", "n", "r", "s", "t", "l", "k", "m", " ", "d", "-", "7", "G" };
	put_words(text, state, letters, 16, n);
}

/* ---- kinds of values: about 100 bytes each ---- */

static void data_plain(struct text *text, uint64_t *state)
{
	size_t from = text->length;
	put(text, "{\"id\":%u,\"name\":\"", (unsigned)(next(state) % 1000000));
	put_letters(text, state, 98 - (text->length - from));
	put(text, "\"}");
}

static void data_fields(struct text *text, uint64_t *state)
{
	put(text, "{\"user\":%u,\"event\":\"", (unsigned)(next(state) % 100000));
	put_letters(text, state, 4 + next(state) % 8);
	put(text, "\",\"ts\":%llu,\"ok\":%s,\"ms\":%.1f,\"page\":\"/", 1700000000000ull + next(state) % 1000000000, next(state) % 4 ? "true" : "false",
	    (double)(next(state) % 5000) / 10);
	put_letters(text, state, 8 + next(state) % 10);
	put(text, "\"}");
}

static void data_escapes(struct text *text, uint64_t *state)
{
	static const char *const pieces[] = { "line", "\\n", "a \\\"word\\\"", "\\u00e9", " some more text ", "\\t", "C:\\\\dir", "." };
	put(text, "{\"text\":\"");
	put_words(text, state, pieces, 8, 16);
	put(text, "\"}");
}

static void data_utf8(struct text *text, uint64_t *state)
{
	static const char *const pieces[] = { "да", "нет", " ", "слово", "日本", "語", "ß", "a", "🙂", "é", "Привет" };
	put(text, "{\"text\":\"");
	put_words(text, state, pieces, 11, 18);
	put(text, "\"}");
}

static void data_nested(struct text *text, uint64_t *state)
{
	put(text, "[[%u,%u],{\"a\":[", (unsigned)(next(state) % 100), (unsigned)(next(state) % 10000));
	for (size_t n = next(state) % 6; n > 0; n--)
		put(text, "{\"k\":%u},", (unsigned)(next(state) % 50));
	put(text, "null],\"b\":{\"c\":{\"d\":[]}}},%.3f,\"", (double)(next(state) % 100000) / 1000);
	put_letters(text, state, next(state) % 20);
	put(text, "\"]");
}

static void data_pretty(struct text *text, uint64_t *state)
{
	put(text, "{\n      \"id\": %u,\n      \"name\": \"", (unsigned)(next(state) % 1000000));
	put_letters(text, state, 20 + next(state) % 30);
	put(text, "\",\n      \"tags\": [ 1, 2, %u ]\n    }", (unsigned)(next(state) % 100));
}

static void data_kilobyte(struct text *text, uint64_t *state)
{
	put(text, "{\"text\":\"");
	put_letters(text, state, 900 + next(state) % 200);
	put(text, "\"}");
}

static const struct kind {
	const char *name;
	unsigned records;
	void (*data)(struct text *text, uint64_t *state);
	bool tags, meta;
} kinds[] = {
	{ "100x100", 100, data_plain, false, false },
	{ "100xfields", 100, data_fields, false, false },
	{ "100xnested", 100, data_nested, false, false },
	{ "100xtags", 100, data_plain, true, false },
	{ "100xmeta", 100, data_plain, true, true },
	{ "100xescapes", 100, data_escapes, false, false },
	{ "100xutf8", 100, data_utf8, false, false },
	{ "100xpretty", 100, data_pretty, false, false },
	{ "100x1k", 100, data_kilobyte, false, false },
	{ "10x100", 10, data_plain, false, false },
	{ "1x100", 1, data_plain, false, false },
	{ "1xfields", 1, data_fields, false, false },
	{ "1xmeta", 1, data_plain, true, true },
	{ "5000x100", 5000, data_plain, false, false },
};

static void put_body(struct text *text, uint64_t *state, const struct kind *kind)
{
	put(text, "{\"records\":[");
	for (unsigned i = 0; i < kind->records; i++) {
		put(text, "%s{\"data\":", i > 0 ? "," : "");
		kind->data(text, state);
		if (kind->tags)
			put(text, ",\"tag\":\"tag-%u\"", (unsigned)(next(state) % 1000));
		if (kind->meta)
			put(text, ",\"node\":\"n%u\",\"meta\":{\"trace\":\"%08x\",\"try\":%u}", (unsigned)(next(state) % 8), (unsigned)next(state), (unsigned)(next(state) % 3));
		put(text, "}");
	}
	put(text, "]%s}", kind->meta ? ",\"node\":\"sender\"" : "");
}

/* ---- measuring ---- */

static double now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Parses and frees, which is what an append by json-c would do at least. */
static void run_json_c(const uint8_t *bytes, size_t length)
{
	struct json_tokener *tokener = json_tokener_new();
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	struct json_c_object *tree = json_tokener_parse_ex(tokener, (const char *)bytes, (int)length);
	if (tree == NULL)
		abort();
	json_object_put(tree);
	json_tokener_free(tokener);
}

static double run_set(struct scanner *scanner, int form, const struct text *text, const struct body *bodies, size_t count, uint8_t *out)
{
	static const struct settings settings = { .max_batch_records = 10000, .max_record_bytes = 1 << 20, .max_meta_bytes = 4096, .max_tag_bytes = 128, .max_node_bytes = 128 };
	struct scanned scanned;
	struct json_error error;
	double from = now_ns();
	for (size_t i = 0; i < count; i++) {
		const uint8_t *bytes = (const uint8_t *)text->bytes + bodies[i].offset;
		if (form == JSON_C)
			run_json_c(bytes, bodies[i].length);
		else if (scan_append(scanner, bytes, bodies[i].length, &settings, out, &scanned, &error) != ERR_OK)
			abort();
	}
	return (now_ns() - from) / (double)count;
}

static const char *const names[FORMS] = { "one-pass", "portable", "sse", "avx2", "json-c" };

/* `only`: names of forms, or NULL for all. */
static void run_kind(struct scanner *scanner, const struct kind *kind, const char *only)
{
	static struct body bodies[BODIES_MAX];
	struct text text = { .bytes = malloc(SET_BYTES + (2 << 20)), .room = SET_BYTES + (2 << 20) };
	uint8_t *out = malloc(8 << 20);
	uint64_t state = 1;
	double best[FORMS] = { 0 };
	size_t count = 0;
	if (text.bytes == NULL || out == NULL)
		abort();
	while (count < BODIES_MAX && text.length < SET_BYTES) {
		bodies[count].offset = text.length;
		put_body(&text, &state, kind);
		bodies[count].length = text.length - bodies[count].offset;
		count++;
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (int form = 0; form < FORMS; form++) {
			if (only != NULL && strstr(only, names[form]) == NULL)
				continue;
			if ((form == JSON_C && round >= ROUNDS / 8) || (form < JSON_C && !scanner_use(scanner, (enum scan_form)form)))
				continue;
			double ns = run_set(scanner, form, &text, bodies, count, out);
			if (best[form] == 0 || ns < best[form])
				best[form] = ns;
		}
	}
	for (int form = 0; form < FORMS; form++)
		if (best[form] > 0)
			printf("%-12s %-9s %10.0f ns %8.0f MB/s %8.2f x one pass %8.1f x json-c\n", kind->name, names[form], best[form],
			       (double)text.length / (double)count / best[form] * 1e3, best[0] / best[form], best[JSON_C] / best[form]);
	free(text.bytes);
	free(out);
}

int main(int argc, char **argv)
{
	struct scanner *scanner;
	bool chosen = argc > 2 && strcmp(argv[1], "--form") == 0;
	const char *only = chosen ? argv[2] : NULL;
	int first = chosen ? 3 : 1;
	if (scanner_create(&scanner) != ERR_OK)
		return 1;
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		bool wanted = argc == first;
		for (int n = first; n < argc; n++)
			wanted |= strcmp(argv[n], kinds[i].name) == 0;
		if (wanted)
			run_kind(scanner, &kinds[i], only);
	}
	scanner_destroy(&scanner);
	return 0;
}
