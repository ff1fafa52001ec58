#include "tests/scan_documents.h"

#include <stdbool.h>
#include <string.h>

enum { RESERVE = 4096 /* left free for what must close the document */ };

uint64_t document_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint64_t under(struct document *document, uint64_t bound)
{
	return document_random(&document->state) % bound;
}

static void put(struct document *document, const char *text)
{
	size_t n = strlen(text);
	if (document->length + n > sizeof document->bytes)
		return;
	memcpy(document->bytes + document->length, text, n);
	document->length += n;
}

#define PUT_ONE_OF(document, ...)                                                                                                          \
	do {                                                                                                                               \
		static const char *const choices[] = { __VA_ARGS__ };                                                                      \
		put(document, choices[under(document, sizeof choices / sizeof choices[0])]);                                               \
	} while (0)

/* Mostly none, as machines write it. */
static void put_space(struct document *document)
{
	if (under(document, 8) == 0)
		PUT_ONE_OF(document, " ", "  ", "\n", "\t", "\r\n", "\n      ", "                                                                    ");
}

static void put_string(struct document *document, unsigned pieces)
{
	put(document, "\"");
	for (uint64_t n = under(document, pieces + 1); n > 0; n--) {
		if (under(document, 3) > 0)
			PUT_ONE_OF(document, "a", "word", " ", "{", "}", "[", "]", ":", ",", "0", "a rather long piece of plain text", "\x7f", "'", "/");
		else
			PUT_ONE_OF(document, "\\\"", "\\\\", "\\/", "\\n", "\\u00e9", "\\uD83D\\ude42", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x99\x82", "\xed\x9f\xbf", "\xee\x80\x80",
			           "\xf4\x8f\xbf\xbf", "\xe0\xa0\x80", "\xf0\x90\x80\x80", "\xc2\x80", "\xdf\xbf", "\xef\xbf\xbf");
	}
	put(document, "\"");
}

static void put_number(struct document *document)
{
	if (under(document, 2) == 0)
		put(document, "-");
	if (under(document, 4) == 0) {
		put(document, "0");
	} else {
		PUT_ONE_OF(document, "1", "2", "9");
		for (uint64_t n = under(document, under(document, 10) == 0 ? 70 : 18); n > 0; n--)
			PUT_ONE_OF(document, "0", "1", "5", "9");
	}
	if (under(document, 3) == 0)
		PUT_ONE_OF(document, ".0", ".5", ".125", ".00000000000000000001");
	if (under(document, 6) == 0)
		PUT_ONE_OF(document, "e0", "E5", "e+10", "E-3", "e-0001");
}

static void put_value(struct document *document, unsigned depth);

static void put_nested(struct document *document, unsigned depth, bool object)
{
	put(document, object ? "{" : "[");
	put_space(document);
	for (uint64_t n = under(document, 5), i = 0; i < n && document->length + RESERVE < sizeof document->bytes; i++) {
		put_space(document);
		if (i > 0)
			put(document, ",");
		put_space(document);
		if (object) {
			put_string(document, 3);
			put_space(document);
			put(document, ":");
			put_space(document);
		}
		put_value(document, depth - 1);
	}
	put_space(document);
	put(document, object ? "}" : "]");
}

static void put_value(struct document *document, unsigned depth)
{
	switch (under(document, depth > 0 ? 8 : 5)) {
	case 0:
		PUT_ONE_OF(document, "true", "false", "null");
		break;
	case 1:
	case 2:
		put_number(document);
		break;
	case 3:
	case 4:
		put_string(document, 12);
		break;
	default:
		put_nested(document, depth, under(document, 3) > 0);
		break;
	}
}

/* Brackets up to the bound of 128 over the document, and now and then one more. */
static void put_deep(struct document *document)
{
	uint64_t depth = 120 + under(document, 7), kinds = document_random(&document->state);
	for (uint64_t i = 0; i < depth; i++)
		put(document, kinds >> (i % 64) & 1 ? "{\"\":" : "[");
	put(document, "1");
	for (uint64_t i = depth; i-- > 0;)
		put(document, kinds >> (i % 64) & 1 ? "}" : "]");
}

static void put_member(struct document *document, const char *name, bool first)
{
	if (!first)
		put(document, ",");
	put_space(document);
	put(document, name);
	put_space(document);
	put(document, ":");
	put_space(document);
}

static void put_record(struct document *document)
{
	unsigned order = (unsigned)under(document, 24), first = true;
	put(document, "{");
	put_space(document);
	for (unsigned i = 0; i < 6; i++) {
		unsigned part = (i * 5 + order) % 6;
		if (part > 0 && under(document, 3) > 0)
			continue;
		static const char *const names[] = { "\"data\"", "\"tag\"", "\"node\"", "\"meta\"", "\"other\"", "\"d\\u0061t\\u0062\"" };
		put_member(document, part == 0 && order == 23 ? "\"d\\u0061ta\"" : names[part], first);
		first = false;
		if (part == 3 && under(document, 4) > 0)
			put_nested(document, 1, true);
		else if (part == 1 || part == 2)
			put_string(document, 1);
		else if (part == 3)
			put(document, "null");
		else if (part == 0 && under(document, 200) == 0)
			put_deep(document);
		else
			put_value(document, part == 0 ? (unsigned)under(document, 5) : 1);
		put_space(document);
	}
	put(document, "}");
}

static void put_records(struct document *document, unsigned records)
{
	put(document, "[");
	for (uint64_t n = 1 + under(document, records), i = 0; i < n && document->length + 2 * RESERVE < sizeof document->bytes; i++) {
		if (i > 0)
			put(document, ",");
		put_space(document);
		put_record(document);
		put_space(document);
	}
	put(document, "]");
}

void document_make(struct document *document, unsigned records)
{
	bool first = true;
	document->length = 0;
	put_space(document);
	put(document, "{");
	/* Puts all that follows at any place of a block. */
	if (under(document, 2) == 0) {
		put_member(document, "\"pad\"", first);
		put(document, "\"");
		for (uint64_t n = under(document, 130); n > 0; n--)
			put(document, "-");
		put(document, "\"");
		first = false;
	}
	unsigned chosen = (unsigned)under(document, 256), at = (unsigned)under(document, 8);
	for (unsigned i = 0; i < 8; i++) {
		static const char *const fields[] = { "\"node\"", "\"idempotency_key\"", "\"create\"", "\"config\"", "\"expect_head_seq\"", "\"expect_epoch\"", "\"disable_backpressure\"", "\"more\"" };
		static const char *const values[] = { "\"sender\"", "\"key-\\u0031\"", "true", "{\"a\":[1]}", "17", "\"0123456789abcdef\"", "false", "[{}]" };
		if (i == at) {
			put_member(document, under(document, 100) == 0 ? "\"r\\u0065cords\"" : "\"records\"", first);
			put_records(document, records);
			first = false;
		}
		if ((chosen >> i & 1) == 0 || under(document, 2) == 0)
			continue;
		put_member(document, fields[i], first);
		put(document, values[i]);
		put_space(document);
		first = false;
	}
	put(document, "}");
	put_space(document);
}

void document_change(struct document *document)
{
	static const char bytes[] = "\"\\{}[],:019-+.eEtfnu \n\t\x01\x1f\x7f\x80\xbf\xc0\xc3\xe0\xed\xf0\xf4\xf5\xff\f\x1a\x0c";
	uint8_t *at, byte = (uint8_t)bytes[under(document, sizeof bytes)];
	if (document->length == 0)
		return;
	size_t place = under(document, document->length), behind = document->length - place, size = 1 + under(document, 12);
	at = document->bytes + place;
	switch (under(document, 6)) {
	case 0:
		*at ^= (uint8_t)(1u << under(document, 8));
		break;
	case 1:
		*at = byte;
		break;
	case 2:
		if (document->length == sizeof document->bytes)
			break;
		memmove(at + 1, at, behind);
		*at = byte;
		document->length++;
		break;
	case 3:
		memmove(at, at + 1, behind - 1);
		document->length--;
		break;
	case 4:
		if (size > behind || document->length + size > sizeof document->bytes)
			break;
		memmove(at + size, at, behind);
		document->length += size;
		break;
	default:
		document->length = place;
		break;
	}
}
