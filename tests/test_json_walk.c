/* worker/json_walk.c: the walk over JSON text under the strict reader and the record scanner. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/json.h"
#include "worker/json_walk.h"

/* A copy of exactly that length, so that a sanitizer sees a byte read beyond it. */
static struct json_walk begin(const void *text, size_t length)
{
	uint8_t *copy = malloc(length + (length == 0));
	memcpy(copy, text, length);
	return (struct json_walk){ .start = copy, .at = copy, .end = copy + length };
}

static void end(struct json_walk *walk)
{
	free((void *)(uintptr_t)walk->start);
}

static void value_ends(const char *text, size_t at)
{
	struct json_walk walk = begin(text, strlen(text));
	if (!json_walk_value(&walk) || json_walk_offset(&walk) != at || walk.depth != 0)
		fail_msg("%s: ends at %zu, depth %u", text, json_walk_offset(&walk), walk.depth);
	end(&walk);
}

static void value_fails(const char *text, size_t length, size_t at)
{
	struct json_walk walk = begin(text, length);
	bool good = json_walk_value(&walk);
	if (good || json_walk_offset(&walk) != at || walk.problem == NULL)
		fail_msg("%s: %d at %zu", text, good, json_walk_offset(&walk));
	end(&walk);
}

static void a_value_is_passed_over_and_what_follows_it_is_not(void **state)
{
	static const struct { const char *text; size_t at; } cases[] = {
		{ "0", 1 }, { "-0", 2 }, { "10,", 2 }, { "-1.5e+10]", 8 }, { "1E5 ", 3 }, { "0.0", 3 }, { "true", 4 }, { "false,", 5 }, { "null}", 4 }, { "\"\"", 2 }, { "\"a\"b", 3 },
		{ "[]", 2 }, { "{}", 2 }, { "[ ]x", 3 }, { "{ \n}", 4 }, { "[1,2]", 5 }, { "[ 1 , [ ] , { } ] ", 17 }, { "{\"a\":1}", 7 }, { "{ \"a\" : [ { \"b\" : null } ] , \"a\":2}", 35 },
		{ "truex", 4 }, { "[[[[]]]]", 8 }, { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00Ff\"", 24 },
	};
	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
		value_ends(cases[i].text, cases[i].at);
}

static void malformed_text_fails_at_its_first_wrong_byte(void **state)
{
	static const struct { const char *text; size_t at; } cases[] = {
		{ "", 0 }, { " 1", 0 }, { "+1", 0 }, { ".5", 0 }, { "-", 1 }, { "-a", 1 }, { "01", 1 }, { "-01", 2 }, { "1.", 2 }, { "1.e5", 2 }, { "1e", 2 }, { "1e+", 3 }, { "1e+x", 3 },
		{ "tru", 0 }, { "True", 0 }, { "nul", 0 }, { "NaN", 0 }, { "Infinity", 0 }, { "'a'", 0 }, { "/**/1", 0 },
		{ "\"", 1 }, { "\"abc", 4 }, { "\"\\", 2 }, { "\"\\x\"", 1 }, { "\"\\u12\"", 1 }, { "\"\\u12g4\"", 1 }, { "\"\\U0041\"", 1 }, { "\"a\nb\"", 2 }, { "\"\x1f\"", 1 },
		{ "[", 1 }, { "[1", 2 }, { "[1,", 3 }, { "[1,]", 3 }, { "[,1]", 1 }, { "[1 2]", 3 }, { "[1}", 2 }, { "[1;", 2 }, { "]", 0 }, { "}", 0 },
		{ "{", 1 }, { "{1:2}", 1 }, { "{\"a\"}", 4 }, { "{\"a\" 1}", 5 }, { "{\"a\":}", 5 }, { "{\"a\":1", 6 }, { "{\"a\":1,", 7 }, { "{\"a\":1,}", 7 }, { "{\"a\":1]", 6 },
		{ "{\"a\":1 \"b\":2}", 7 }, { "{a:1}", 1 }, { "{\"a\\q\":1}", 3 }, { "[{\"a\":[1,{\"b\":tru}]}]", 14 },
	};
	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
		value_fails(cases[i].text, strlen(cases[i].text), cases[i].at);
	value_fails("\"\\\0\"", 4, 1);
	value_fails("\"a\0b\"", 5, 2);
	value_fails("\xef\xbb\xbf" "1", 4, 0);
}

/* RFC 3629: every first two bytes, with and without what must follow; the ranges are written down once more here. */
static bool well_formed(const uint8_t *c, size_t n)
{
	static const struct { uint8_t first, last, second_first, second_last; size_t length; } ranges[] = {
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	for (unsigned i = 0; i < 8; i++)
		if (c[0] >= ranges[i].first && c[0] <= ranges[i].last)
			return n == ranges[i].length && c[1] >= ranges[i].second_first && c[1] <= ranges[i].second_last;
	return false;
}

static void strings_are_strict_utf8_wherever_in_a_word_the_character_stands(void **state)
{
	(void)state;
	for (unsigned first = 0x80; first < 0x100; first++) {
		for (unsigned second = 0x7e; second < 0x102; second++) {
			for (size_t n = 1; n <= 4; n++) {
				uint8_t text[32] = "\"", c[4] = { (uint8_t)first, (uint8_t)second, 0x80, 0xbf };
				size_t before = (first + second) % 19;
				memset(text + 1, 'x', before);
				memcpy(text + 1 + before, c, n);
				text[1 + before + n] = '"';
				struct json_walk walk = begin(text, before + n + 2);
				bool good = json_walk_string(&walk), wanted = n > 1 && second < 0x100 && well_formed(c, n);
				if (good != wanted || (good && walk.at != walk.end) || (!good && json_walk_offset(&walk) < 1 + before))
					fail_msg("%02x %02x of %zu bytes after %zu: %d", first, second, n, before, good);
				end(&walk);
			}
		}
	}
}

static void third_and_fourth_bytes_are_continuations(void **state)
{
	static const char *const bad[] = { "\xe1\x80\x7f", "\xe1\x80\xc0", "\xf1\x80\x7f\x80", "\xf1\x80\x80\xc0", "\xf1\x80\x80\x41" };
	(void)state;
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char text[8] = "\"";
		strcat(strcat(text, bad[i]), "\"");
		value_fails(text, strlen(text), 1);
	}
}

static void special_byte_is_seen_at_every_place_of_a_long_string(void **state)
{
	char text[80];
	(void)state;
	for (size_t length = 0; length < 64; length++) {
		text[0] = '"';
		memset(text + 1, 'a', length);
		text[length + 1] = '"';
		text[length + 2] = '\0';
		value_ends(text, length + 2);
		for (size_t at = 0; at < length; at++) {
			text[1 + at] = '\x01';
			value_fails(text, length + 2, 1 + at);
			text[1 + at] = '"';
			value_ends(text, at + 2);
			text[1 + at] = '\x7f'; /* DEL is no control character of JSON */
			value_ends(text, length + 2);
			text[1 + at] = 'a';
		}
	}
}

static void nesting_up_to_128_is_taken_and_no_deeper(void **state)
{
	char text[1024];
	(void)state;
	for (unsigned objects = 0; objects < 2; objects++) {
		for (unsigned depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX + 1; depth++) {
			size_t n = 0;
			for (unsigned i = 0; i < depth; i++)
				n += (size_t)(stpcpy(text + n, objects && i + 1 < depth ? "{\"\":" : objects ? "{" : "[") - (text + n));
			size_t deepest = n - 1;
			for (unsigned i = 0; i < depth; i++)
				text[n++] = objects ? '}' : ']';
			text[n] = '\0';
			if (depth <= JSON_DEPTH_MAX)
				value_ends(text, n);
			else
				value_fails(text, n, deepest);
		}
	}
	/* What stands around it counts. */
	struct json_walk walk = begin("[[]]", 4);
	walk.depth = JSON_DEPTH_MAX - 1;
	assert_false(json_walk_value(&walk));
	assert_int_equal(json_walk_offset(&walk), 1);
	end(&walk);
}

static void members_of_an_object_are_counted_and_those_within_are_not(void **state)
{
	static const struct { const char *text; uint64_t members; } cases[] = {
		{ "{}", 0 }, { "{ }", 0 }, { "{\"a\":1}", 1 }, { "{\"a\":1,\"a\":1}", 2 }, { "{\"a\":{\"b\":1,\"c\":2},\"d\":[1,2,3,{}]}", 2 }, { "{\"a\":[],\"b\":{},\"c\":\",\"}", 3 },
		{ "{\"a\":{\"x\":{\"y\":1,\"z\":2}}}", 1 },
	};
	uint64_t members = 99;
	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct json_walk walk = begin(cases[i].text, strlen(cases[i].text));
		assert_true(json_walk_object(&walk, &members));
		assert_int_equal(members, cases[i].members);
		assert_ptr_equal(walk.at, walk.end);
		end(&walk);
	}
	static const char *const others[] = { "", "[]", "1", "\"{}\"", " {}" };
	for (unsigned i = 0; i < 5; i++) {
		struct json_walk walk = begin(others[i], strlen(others[i]));
		assert_false(json_walk_object(&walk, &members));
		assert_int_equal(json_walk_offset(&walk), 0);
		end(&walk);
	}
}

static void space_and_expected_bytes_are_passed_over(void **state)
{
	struct json_walk walk = begin(" \t\r\n:x", 6);
	(void)state;
	json_walk_space(&walk);
	assert_int_equal(json_walk_offset(&walk), 4);
	assert_true(json_walk_expect(&walk, ':', "no colon"));
	assert_false(json_walk_expect(&walk, ':', "no colon"));
	assert_string_equal(walk.problem, "no colon");
	assert_int_equal(json_walk_offset(&walk), 5);
	walk.at = walk.end;
	assert_false(json_walk_expect(&walk, ':', "no colon"));
	json_walk_space(&walk);
	assert_ptr_equal(walk.at, walk.end);
	end(&walk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_is_passed_over_and_what_follows_it_is_not),
		cmocka_unit_test(malformed_text_fails_at_its_first_wrong_byte),
		cmocka_unit_test(strings_are_strict_utf8_wherever_in_a_word_the_character_stands),
		cmocka_unit_test(third_and_fourth_bytes_are_continuations),
		cmocka_unit_test(special_byte_is_seen_at_every_place_of_a_long_string),
		cmocka_unit_test(nesting_up_to_128_is_taken_and_no_deeper),
		cmocka_unit_test(members_of_an_object_are_counted_and_those_within_are_not),
		cmocka_unit_test(space_and_expected_bytes_are_passed_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
