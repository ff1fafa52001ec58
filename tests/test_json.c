/* worker/json.c and json_walk.c: what is JSON and what is not, where an error is, integers, strings, arrays. */
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

#include "worker/json.h"
#include "worker/json_walk.h"

static struct json_error problem;

/* An exact copy, so that a read past its end is seen by a sanitizer. The fields' raw pointers are dead afterwards. */
static enum error read_object(const char *text, size_t length, struct json_field *fields, unsigned count)
{
	uint8_t *copy = malloc(length + (length == 0));
	memcpy(copy, text, length);
	enum error error = json_object(copy, length, 0, 0, fields, count, &problem);
	free(copy);
	return error;
}

static enum error check(const char *text)
{
	return read_object(text, strlen(text), NULL, 0);
}

/* Each stands as the value in {"a":…}. */
static const char *const valid[] = {
	"0", "-0", "10", "-1.5", "1e9", "1E+9", "1.25e-3", "true", "false", "null", "\"\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
	"\"\x7f\"",
	"\"\xc2\x80\"", "\"\xdf\xbf\"", "\"\xe0\xa0\x80\"", "\"\xed\x9f\xbf\"", "\"\xee\x80\x80\"", "\"\xf0\x90\x80\x80\"",
	"\"\xf4\x8f\xbf\xbf\"",
	"{}", "[]", "[ ]", "{ }", " [ 1 , 2 ] ", "[[],{}]", "{\"b\":{\"c\":[null]}}", "\t\r\n1\t\r\n",
};
static const char *const invalid[] = {
	"", "01", "-", "+1", ".5", "1.", "1.e1", "1e", "1e+", "0x1", "NaN", "Infinity", "-Infinity", "True", "tru", "truex", "nul",
	"'a'", "\"", "\"\\\"",
	"\"\\x\"", "\"\\u12g4\"", "\"\\u123\"", "\"\n\"", "\"\x1f\"", "[1,]", "[,1]", "[1 2]", "[", "]", "[1}", "{\"b\":1]", "{\"b\"}",
	"{\"b\":}", "{\"b\":1,}", "{b:1}",
	"{1:1}", "{,}", "1 2", "/**/1", "1//", "\v1", "\xef\xbb\xbf" "1",
	"\"\x80\"", "\"\xc0\xaf\"", "\"\xc1\xbf\"", "\"\xc2\"", "\"\xe0\x9f\xbf\"", "\"\xed\xa0\x80\"", "\"\xef\xbf\"",
	"\"\xf0\x8f\xbf\xbf\"", "\"\xf4\x90\x80\x80\"",
	"\"\xf5\x80\x80\x80\"", "\"\xff\"",
};

static void strictness_is_that_of_the_rfc_and_strict_utf8(void **state)
{
	char text[128];
	(void)state;
	for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++) {
		snprintf(text, sizeof text, "{\"a\":%s}", valid[i]);
		if (check(text) != ERR_OK)
			fail_msg("refused: %s: %s", text, problem.message);
	}
	for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++) {
		snprintf(text, sizeof text, "{\"a\":%s}", invalid[i]);
		if (check(text) != ERR_INVALID_REQUEST)
			fail_msg("taken: %s", text);
	}
	assert_int_equal(read_object("{\"a\":\"\0\"}", 9, NULL, 0), ERR_INVALID_REQUEST);
}

static bool json_c_takes(const char *text, size_t length)
{
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	struct json_c_object *object = json_tokener_parse_ex(tokener, text, (int)length);
	bool taken = json_tokener_get_error(tokener) == json_tokener_success && json_tokener_get_parse_end(tokener) == length &&
	             json_object_is_type(object, json_type_object);
	json_object_put(object);
	json_tokener_free(tokener);
	return taken;
}

/* json-c is lax, even where it is told to be strict, with zeros in front and with digits missing beside the point. */
static bool json_c_is_lax(const char *text)
{
	return strstr(text, ",02.5") != NULL || strstr(text, "-.5") != NULL || strstr(text, "2.e3") != NULL;
}

/* Every text with one byte replaced, removed or doubled. */
static void a_damaged_text_is_taken_if_and_only_if_json_c_takes_it(void **state)
{
	static const char seed[] = "{\"a\":[1,-2.5e3,{\"b\":null}],\"c\":{\"d\":[true,false,[]]},\"e\":\"f\\n\"}";
	static const char bytes[] = "{}[],:\"\\0-.eE tnu1";
	char text[sizeof seed + 1];
	unsigned taken = 0, refused = 0;
	(void)state;
	for (size_t at = 0; at < sizeof seed - 1; at++) {
		for (size_t b = 0; b < sizeof bytes + 1; b++) {
			size_t length = sizeof seed - 1;
			memcpy(text, seed, sizeof seed);
			if (b < sizeof bytes - 1) {
				text[at] = bytes[b];
			} else if (b == sizeof bytes - 1) {
				memmove(text + at, text + at + 1, length-- - at);
			} else {
				memmove(text + at + 1, text + at, ++length - at);
			}
			text[length] = 0;
			bool ours = read_object(text, length, NULL, 0) == ERR_OK;
			if (json_c_is_lax(text))
				assert_false(ours);
			else if (ours != json_c_takes(text, length))
				fail_msg("json-c says %s: %s", ours ? "no" : "yes", text);
			*(ours ? &taken : &refused) += 1;
		}
	}
	assert_true(taken > 100 && refused > 100);
}

static void an_error_names_its_byte(void **state)
{
	static const struct { const char *text; size_t offset; } cases[] = {
		{ "", 0 }, { "  ", 2 }, { "[]", 0 }, { "{", 1 }, { "{\"a\" 1}", 5 }, { "{\"a\":1 \"b\":2}", 7 }, { "{\"a\":[1,}", 8 },
		{ "{} x", 3 },
		{ "{\"n\":1.5}", 5 }, { "{\"n\":1,\"n\":2}", 7 }, { "{\"n\":1,\"\\u006e\":2}", 7 }, { "{\"x\":0,\"n\":null}", 11 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct json_field field = { .name = "n", .want = JSON_U64 };
		const uint8_t *body = (const uint8_t *)cases[i].text;
		assert_int_equal(json_object(body, strlen(cases[i].text), 1000, 0, &field, 1, &problem), ERR_INVALID_REQUEST);
		if (problem.offset != cases[i].offset + 1000)
			fail_msg("%s: offset %zu", cases[i].text, problem.offset);
	}
}

static void nesting_ends_at_its_bound(void **state)
{
	char text[2 * JSON_DEPTH_MAX + 16];
	(void)state;
	for (unsigned arrays = JSON_DEPTH_MAX - 2; arrays <= JSON_DEPTH_MAX; arrays++) {
		int n = sprintf(text, "{\"a\":");
		memset(text + n, '[', arrays);
		memset(text + n + arrays, ']', arrays);
		strcpy(text + (unsigned)n + 2 * arrays, "}");
		assert_int_equal(check(text), arrays + 1 <= JSON_DEPTH_MAX ? ERR_OK : ERR_INVALID_REQUEST);
	}
}

static void integers_are_digits_alone_and_in_range(void **state)
{
	static const struct { const char *text; bool u64, i64; int64_t value; } cases[] = {
		{ "0", true, true, 0 }, { "7", true, true, 7 }, { "-7", false, true, -7 }, { "-0", false, false, 0 }, { "1.0", false, false, 0 },
		{ "1e2", false, false, 0 }, { "\"1\"", false, false, 0 }, { "null", false, false, 0 }, { "true", false, false, 0 },
		{ "9223372036854775807", true, true, INT64_MAX }, { "9223372036854775808", true, false, 0 },
		{ "18446744073709551615", true, false, 0 },
		{ "18446744073709551616", false, false, 0 }, { "99999999999999999999999", false, false, 0 },
	};
	char text[64];
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct json_field u64 = { .name = "n", .want = JSON_U64 }, i64 = { .name = "n", .want = JSON_I64 };
		snprintf(text, sizeof text, "{\"n\":%s}", cases[i].text);
		assert_int_equal(read_object(text, strlen(text), &u64, 1), cases[i].u64 ? ERR_OK : ERR_INVALID_REQUEST);
		assert_int_equal(read_object(text, strlen(text), &i64, 1), cases[i].i64 ? ERR_OK : ERR_INVALID_REQUEST);
		if (cases[i].u64)
			assert_true(u64.is_set && u64.u64 == strtoull(cases[i].text, NULL, 10));
		if (cases[i].i64)
			assert_true(i64.is_set && i64.i64 == cases[i].value);
	}
}

static void strings_are_decoded_within_their_room(void **state)
{
	static const struct { const char *raw, *decoded; } cases[] = {
		{ "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a\"\\/\b\f\n\r\t" }, { "\"\\u0041\\u00E9\\u20ac\"", "A\xc3\xa9\xe2\x82\xac" },
		{ "\"\\ud83d\\uDE00\"", "\xf0\x9f\x98\x80" },
		{ "\"\\u0000\"", NULL }, { "\"\\ud83d\"", NULL }, { "\"\\ude00\"", NULL }, { "\"\\ud83d\\u0041\"", NULL },
		{ "\"\\ud83dx\"", NULL },
	};
	char out[32];
	uint8_t quoted[64];
	size_t n = 0;
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const uint8_t *raw = (const uint8_t *)cases[i].raw;
		enum error error = json_string(raw, strlen(cases[i].raw), out, sizeof out, &n);
		assert_int_equal(error, cases[i].decoded != NULL ? ERR_OK : ERR_INVALID_REQUEST);
		if (error != ERR_OK)
			continue;
		assert_int_equal(n, strlen(cases[i].decoded));
		assert_memory_equal(out, cases[i].decoded, n);
		assert_int_equal(json_string(raw, strlen(cases[i].raw), out, n, &n), ERR_OK);
		assert_int_not_equal(json_string(raw, strlen(cases[i].raw), out, n - 1, &n), ERR_OK);
		size_t length = json_quote(quoted, cases[i].decoded, strlen(cases[i].decoded));
		assert_int_equal(json_string(quoted, length, out, sizeof out, &n), ERR_OK);
		assert_int_equal(n, strlen(cases[i].decoded));
		assert_memory_equal(out, cases[i].decoded, n);
	}
}

static void null_is_absence_only_where_the_contract_says_so(void **state)
{
	static const struct { enum json_want want; bool error, set; } cases[] = {
		{ JSON_U64, true, false }, { JSON_I64, true, false }, { JSON_BOOL, true, false }, { JSON_I64_OR_NULL, false, true },
		{ JSON_STRING, false, false },
		{ JSON_STRING_OR_NULL, false, true }, { JSON_OBJECT, false, false }, { JSON_ARRAY, false, false },
		{ JSON_STRING_OR_ARRAY, false, false },
		{ JSON_ANY, false, true },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct json_field field = { .name = "n", .want = cases[i].want };
		assert_int_equal(read_object("{\"n\":null}", 10, &field, 1), cases[i].error ? ERR_INVALID_REQUEST : ERR_OK);
		assert_true(field.is_set == cases[i].set && field.is_null == cases[i].set);
	}
}

static void an_array_gives_its_elements_as_sent(void **state)
{
	static const char array[] = "[ 1 ,\"a,]\", [2,3],{ } ]";
	static const char *const elements[] = { "1", "\"a,]\"", "[2,3]", "{ }" };
	const uint8_t *element;
	size_t position = 0, length = 0;
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(json_array_next((const uint8_t *)array, sizeof array - 1, &position, &element, &length), ERR_OK);
		assert_int_equal(length, strlen(elements[i]));
		assert_memory_equal(element, elements[i], length);
	}
	assert_int_equal(json_array_next((const uint8_t *)array, sizeof array - 1, &position, &element, &length), ERR_AGAIN);
	position = 0;
	assert_int_equal(json_array_next((const uint8_t *)"[ ]", 3, &position, &element, &length), ERR_AGAIN);
}

static void members_are_counted_in_the_outermost_object_alone(void **state)
{
	static const struct { const char *text; uint64_t members; } cases[] = {
		{ "{}", 0 }, { "{\"a\":1}", 1 }, { "{\"a\":{\"b\":1,\"c\":2},\"d\":[1,2,3]}", 2 }, { "{\"a\":1,\"a\":2,\"b\":{}}", 3 },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const uint8_t *text = (const uint8_t *)cases[i].text;
		struct json_walk walk = { .start = text, .at = text, .end = text + strlen(cases[i].text) };
		uint64_t members = 99;
		assert_true(json_walk_object(&walk, &members));
		assert_int_equal(members, cases[i].members);
		assert_true(walk.at == walk.end && walk.depth == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strictness_is_that_of_the_rfc_and_strict_utf8),
		cmocka_unit_test(a_damaged_text_is_taken_if_and_only_if_json_c_takes_it),
		cmocka_unit_test(an_error_names_its_byte),
		cmocka_unit_test(nesting_ends_at_its_bound),
		cmocka_unit_test(integers_are_digits_alone_and_in_range),
		cmocka_unit_test(strings_are_decoded_within_their_room),
		cmocka_unit_test(null_is_absence_only_where_the_contract_says_so),
		cmocka_unit_test(an_array_gives_its_elements_as_sent),
		cmocka_unit_test(members_are_counted_in_the_outermost_object_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
