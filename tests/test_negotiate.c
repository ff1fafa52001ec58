/* worker/negotiate.c: weights, ranges, codings, entity tags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/negotiate.h"

/* On the heap without a terminator, so that a read past the end is seen. */
static struct slice slice_of(const char *text)
{
	struct slice slice = { NULL, 0 };
	if (text != NULL) {
		char *copy = malloc(strlen(text) + 1);
		slice = (struct slice){ memcpy(copy + 1, text, strlen(text)), strlen(text) };
	}
	return slice;
}

static void release(struct slice slice)
{
	if (slice.at != NULL)
		free((char *)(uintptr_t)slice.at - 1);
}

static void weights_of_media_ranges_go_by_the_closest(void **state)
{
	static const struct { const char *accept, *type; unsigned weight; bool named; } cases[] = {
		{ NULL, "application/json", 1000, false },
		{ "", "application/json", 0, false },
		{ "application/json", "application/json", 1000, true },
		{ "APPLICATION/JSON", "application/json", 1000, true },
		{ "text/html, application/*;q=0.5", "application/json", 500, false },
		{ "*/*;q=0.1, application/*;q=0.2, application/json;q=0.3", "application/json", 300, true },
		{ "application/json;q=0, */*", "application/json", 0, true },
		{ "application/json;charset=utf-8;q=0.25", "application/json", 250, true },
		{ "application/json;x=\"a,b;q=0\";q=0.7", "application/json", 700, true },
		{ "application/jsonp", "application/json", 0, false },
		{ "app/*", "application/json", 0, false },
		{ "application/json;q=1.5", "application/json", 0, false },
		{ "application/json;q=0.1234", "application/json", 0, false },
		{ "application/json;q=", "application/json", 0, false },
		{ "application/json;q=1.000", "application/json", 1000, true },
		{ "application/json;q=.5", "application/json", 0, false },
		{ ";q=1,,, application/json ; q=0.5 ,", "application/json", 500, true },
		{ "application/json;x=\"never closed", "application/json", 1000, true },
		{ "application/json;q=0.2, application/json;q=0.9", "application/json", 900, true },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct slice accept = slice_of(cases[i].accept);
		bool named = false;
		assert_int_equal(negotiate_media(accept, cases[i].type, &named), cases[i].weight);
		assert_int_equal(named, cases[i].named);
		release(accept);
	}
}

static void problem_documents_are_for_who_names_them(void **state)
{
	static const struct { const char *accept; bool problem; } cases[] = {
		{ NULL, false }, { "", false }, { "*/*", false }, { "application/*", false }, { "application/json", false }, { "application/problem+json", true },
		{ "application/problem+json, application/json", true }, { "application/json, application/problem+json;q=0.9", false },
		{ "application/json;q=0.5, application/problem+json;q=0.5", true }, { "application/problem+json;q=0", false }, { "application/problem+json;q=0, */*", false },
		{ "Application/Problem+JSON ; charset=utf-8", true }, { "application/problem+jsonx", false }, { "text/html;x=\"application/problem+json\"", false },
		{ "application/problem+json;q=0.2, */*;q=0.9", false }, { "application/problem+json, */*;q=0.8", true },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct slice accept = slice_of(cases[i].accept);
		assert_int_equal(negotiate_problem(accept), cases[i].problem);
		release(accept);
	}
}

static void gzip_is_for_who_asks_and_must_be_where_identity_is_forbidden(void **state)
{
	static const struct { const char *accept; bool gzip, must; } cases[] = {
		{ NULL, false, false }, { "", false, false }, { "gzip", true, false }, { "x-gzip", true, false }, { "*", true, false }, { "gzip;q=0", false, false },
		{ "gzip;q=0, *", false, false }, { "*;q=0", false, false }, { "*;q=0, gzip", true, true }, { "identity;q=0, gzip;q=0.1", true, true }, { "identity;q=0", false, false },
		{ "identity;q=0, *;q=0.1", true, true }, { "gzip;q=0.4, identity;q=0.5", false, false }, { "gzip;q=0.5, identity;q=0.5", true, false }, { "br, deflate", false, false },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct slice accept = slice_of(cases[i].accept);
		bool must = false;
		assert_int_equal(negotiate_gzip(accept, &must), cases[i].gzip);
		assert_int_equal(must, cases[i].must);
		release(accept);
	}
}

static void codings_of_bodies_are_one_or_none(void **state)
{
	static const struct { const char *text; enum coding coding; } cases[] = {
		{ NULL, CODING_IDENTITY }, { "", CODING_IDENTITY }, { " identity\t", CODING_IDENTITY }, { "GZip", CODING_GZIP }, { "x-gzip", CODING_GZIP }, { "gzip,gzip", CODING_OTHER },
		{ "gzip, identity", CODING_OTHER }, { "br", CODING_OTHER }, { "gzi", CODING_OTHER }, { "gzip;q=1", CODING_OTHER },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct slice text = slice_of(cases[i].text);
		assert_int_equal(negotiate_coding(text), cases[i].coding);
		release(text);
	}
}

static void entity_tags_match_whole_and_weakly(void **state)
{
	static const struct { const char *list; bool match; } cases[] = {
		{ NULL, false }, { "", false }, { "*", true }, { " * ", true }, { "\"a-1\"", true }, { "W/\"a-1\"", true }, { "\"b\", \"a-1\"", true }, { "\"b\" ,W/\"a-1\",", true },
		{ "\"a-10\"", false }, { "\"xa-1\"", false }, { "a-1", false }, { "\"b\",*", false }, { "\"b\" \"a-1\"", false }, { "\"a-1", false }, { "w/\"a-1\"", false },
		{ "\"x\\\"a-1\"", false }, { "\"\", \"a,b\", \"a-1\"", true }, { "\"\"a-1\"\"", false }, { "W/", false }, { ",,", false },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct slice list = slice_of(cases[i].list);
		assert_int_equal(negotiate_tag(list, "\"a-1\""), cases[i].match);
		release(list);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(weights_of_media_ranges_go_by_the_closest),
		cmocka_unit_test(problem_documents_are_for_who_names_them),
		cmocka_unit_test(gzip_is_for_who_asks_and_must_be_where_identity_is_forbidden),
		cmocka_unit_test(codings_of_bodies_are_one_or_none),
		cmocka_unit_test(entity_tags_match_whole_and_weakly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
