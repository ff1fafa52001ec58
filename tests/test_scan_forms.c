/* The forms of the record scanner beside each other, and beside json-c: whatever the body, all say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
/* json-c's type and our reader of objects have one name. */
#define json_object json_c_object
#include <json.h>
#undef json_object

#include "tests/scan_compare.h"
#include "tests/scan_documents.h"

enum { CASES = 210000, LONG_CASES = 400, TOKEN_CASES = 30000, SEED = 1 };

static const struct settings wide = { .max_batch_records = 10000, .max_record_bytes = 1 << 20, .max_meta_bytes = 4096, .max_tag_bytes = 64, .max_node_bytes = 64 };
/* Limits that the documents pass now and then. */
static const struct settings narrow = { .max_batch_records = 3, .max_record_bytes = 150, .max_meta_bytes = 60, .max_tag_bytes = 8, .max_node_bytes = 8 };

static struct scan_compare *compare;
static struct document document;

static bool json_c_accepts(const uint8_t *bytes, size_t length)
{
	struct json_tokener *tokener = json_tokener_new_ex(200);
	char *text = malloc(length + 1);
	memcpy(text, bytes, length);
	text[length] = '\0';
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	struct json_c_object *tree = json_tokener_parse_ex(tokener, text, (int)length + 1);
	bool accepts = tree != NULL && json_tokener_get_error(tokener) == json_tokener_success;
	json_object_put(tree);
	json_tokener_free(tokener);
	free(text);
	return accepts;
}

/* `seed` makes the case again. */
static bool agree(const uint8_t *bytes, size_t length, const struct settings *settings, uint64_t seed)
{
	bool accepted;
	const char *difference = scan_compare(compare, bytes, length, settings, &accepted);
	if (difference != NULL)
		fail_msg("seed %llu: %s differ for %.*s", (unsigned long long)seed, difference, (int)length, (const char *)bytes);
	return accepted;
}

static void all_forms_and_json_c_agree_on_valid_and_damaged_documents(void **state)
{
	unsigned accepted = 0, refused = 0, refused_by_json_c = 0;
	(void)state;
	for (uint64_t i = 0; i < CASES; i++) {
		uint64_t seed = SEED + i;
		document.state = seed;
		document_make(&document, 4);
		unsigned changes = (unsigned)(i % 4);
		for (unsigned n = 0; n < changes; n++)
			document_change(&document);
		bool ours = agree(document.bytes, document.length, i % 8 < 6 ? &wide : &narrow, seed);
		accepted += ours;
		refused += !ours;
		if (i % 4 == 1 && memchr(document.bytes, 0, document.length) == NULL && !json_c_accepts(document.bytes, document.length)) {
			refused_by_json_c++;
			if (ours)
				fail_msg("seed %llu: accepted, but not by json-c: %.*s", (unsigned long long)seed, (int)document.length, (const char *)document.bytes);
		}
	}
	print_message("%u cases from seed %u: %u accepted, %u refused, of which %u of %u by json-c\n", CASES, SEED, accepted, refused, refused_by_json_c, CASES / 4);
	assert_true(accepted > CASES / 5 && refused > CASES / 5 && refused_by_json_c > CASES / 20);
}

static void documents_as_made_are_accepted_but_for_their_depth(void **state)
{
	unsigned refused = 0;
	(void)state;
	for (uint64_t i = 0; i < 4000; i++) {
		document.state = SEED + i;
		document_make(&document, 4);
		refused += !agree(document.bytes, document.length, &wide, SEED + i);
	}
	assert_true(refused < 40);
}

static void all_forms_agree_on_documents_of_many_windows(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < LONG_CASES; i++) {
		document.state = SEED + i;
		document_make(&document, 250);
		agree(document.bytes, document.length, &wide, SEED + i);
		document_change(&document);
		agree(document.bytes, document.length, &wide, SEED + i);
	}
}

static void all_forms_agree_on_a_document_cut_at_every_byte(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 60; i++) {
		document.state = SEED + i;
		document_make(&document, 3);
		for (size_t length = 0; length < document.length; length++)
			agree(document.bytes, length, &wide, SEED + i);
	}
}

/* A text of `length` bytes: letters in a string, with `piece` put in so that it begins at `place`, and the rest of a record around. */
static size_t with_piece(uint8_t *out, size_t place, const char *piece, bool in_string)
{
	static const char head[] = "{\"records\":[{\"data\":[\"";
	size_t length = sizeof head - 1;
	memcpy(out, head, length);
	while (length + (in_string ? 0 : 2) < place)
		out[length++] = 'x';
	if (!in_string) {
		memcpy(out + length, "\",", 2);
		length += 2;
	}
	memcpy(out + length, piece, strlen(piece));
	length += strlen(piece);
	length += (size_t)sprintf((char *)out + length, "%s", in_string ? "tail\",1]}]}" : ",\"tail\"]}]}");
	return length;
}

static void all_forms_agree_on_what_stands_across_borders_of_blocks_and_windows(void **state)
{
	static const char *const in_strings[] = {
		"", "\\\"", "\\\\", "\\\\\\\"", "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\"", "\\u00e9", "\\ud83d\\ude42", "\\u00", "\\x", "\\", "\"", "\"\"", "\x1f", "\n", "\t", "\x7f", "{", "\",\"",
		"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x99\x82", "\xc3", "\xe2\x82", "\xf0\x9f\x99", "\x80", "\xbf\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
		"\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3\xa9\xa9", "\xe2\x82\xac\x80", "\xf0\x9f\x99\x82\x80",
	};
	static const char *const between[] = {
		"1", "-12.5", "0", "-", "1e5", "1.e", "00", "true", "null", "nul", "falsey", "12345678901234567", "1234567890123456", "123456789012345", "1 2", "tr ue", "{}", "[ ]", "{\"a\":1}", "{\"a\"1}",
		"\"\"", "\"a\"b", "\"a\" \"b\"", "1\"a\"", "\x0c", "1\x0c", "\x1a", "\\", "1\\", "\\\"", " ", "\n1\r\t ", "\xc3\xa9", "[,]", "[:1]", "{\"a\":}", "{:1}", "{,}", "[}", "{\"a\":[}]",
	};
	uint8_t text[9000];
	(void)state;
	for (unsigned border = 64; border <= 8192; border *= 8) { /* 64, 512, 4096: ends of blocks and of a window */
		for (size_t place = border - 40; place <= border + 4; place++) {
			for (size_t i = 0; i < sizeof in_strings / sizeof in_strings[0]; i++)
				agree(text, with_piece(text, place, in_strings[i], true), &wide, i);
			for (size_t i = 0; i < sizeof between / sizeof between[0]; i++)
				agree(text, with_piece(text, place, between[i], false), &wide, i);
		}
	}
}

static void meta_is_bounded_at_its_64th_key(void **state)
{
	char text[2000];
	(void)state;
	for (unsigned keys = 60; keys <= 70; keys++) {
		for (unsigned letters = 0; letters < 3; letters++) {
			size_t n = (size_t)sprintf(text, "{\"records\":[{\"data\":1,\"meta\":{");
			for (unsigned i = 0; i < keys; i++)
				n += (size_t)sprintf(text + n, "%s\"%.*s\":%s", i > 0 ? "," : "", (int)letters, "ab", letters == 0 ? "0" : "[1,2]");
			n += (size_t)sprintf(text + n, "}}]}");
			assert_int_equal(agree((const uint8_t *)text, n, &wide, keys), keys <= 64);
		}
	}
}

static void all_forms_find_the_same_tokens_in_any_bytes(void **state)
{
	static const char *const pieces[] = { "\"", "\\\"", "\\\\", "\\u0041", "{", "}", "[", "]", ":", ",", " ", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x99\x82", "1", "word", "                " };
	(void)state;
	for (uint64_t i = 0; i < TOKEN_CASES; i++) {
		uint64_t random = SEED + i;
		size_t length = 0, wanted = document_random(&random) % (i % 100 == 0 ? 9000 : 400);
		while (length < wanted) {
			const char *piece = pieces[document_random(&random) % (sizeof pieces / sizeof pieces[0])];
			memcpy(document.bytes + length, piece, strlen(piece));
			length += strlen(piece);
		}
		/* What the pieces make has no bad bytes. */
		for (uint64_t n = 0; n < i % 3; n++)
			document.bytes[document_random(&random) % (length + 1)] = (uint8_t)document_random(&random);
		const char *difference = scan_compare_tokens(compare, document.bytes, length);
		if (difference != NULL)
			fail_msg("seed %llu: %s differ", (unsigned long long)(SEED + i), difference);
	}
}

static int set_up(void **state)
{
	(void)state;
	compare = scan_compare_create();
	return compare != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	scan_compare_destroy(&compare);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_forms_and_json_c_agree_on_valid_and_damaged_documents),
		cmocka_unit_test(documents_as_made_are_accepted_but_for_their_depth),
		cmocka_unit_test(all_forms_agree_on_documents_of_many_windows),
		cmocka_unit_test(all_forms_agree_on_a_document_cut_at_every_byte),
		cmocka_unit_test(all_forms_agree_on_what_stands_across_borders_of_blocks_and_windows),
		cmocka_unit_test(meta_is_bounded_at_its_64th_key),
		cmocka_unit_test(all_forms_find_the_same_tokens_in_any_bytes),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
