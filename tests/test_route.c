/* worker/route.c: paths to routes, methods, content types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker/api.h"
#include "worker/route.h"

static enum error find(struct exchange *exchange, const char *target)
{
	const char *problem = NULL;
	memset(exchange, 0, sizeof *exchange);
	enum error error = route_find(exchange, (struct slice){ target, strlen(target) }, &problem);
	assert_true(error != ERR_INVALID_REQUEST || (problem != NULL && problem[0] != '\0'));
	return error;
}

static void text_is(struct slice slice, const char *wanted)
{
	assert_int_equal(slice.length, strlen(wanted));
	assert_memory_equal(slice.at, wanted, slice.length);
}

/* API.md's sheet; the handlers of what is not built are one. */
static const struct { const char *target, *allow; } sheet[] = {
	{ "/v0/topics", "GET, HEAD, OPTIONS" }, { "/v0/topics/a", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" }, { "/v0/topics/a/diff", "POST, OPTIONS" },
	{ "/v0/topics/a/records", "GET, HEAD, OPTIONS" }, { "/v0/topics/a/records/1", "GET, HEAD, OPTIONS" }, { "/v0/topics/a/delete", "POST, OPTIONS" },
	{ "/v0/topics/a/claim", "POST, OPTIONS" }, { "/v0/topics/a/ack", "POST, OPTIONS" }, { "/v0/topics/a/nack", "POST, OPTIONS" },
	{ "/v0/topics/a/extend", "POST, OPTIONS" }, { "/v0/topics/a/work", "GET, HEAD, OPTIONS" }, { "/v0/routers", "GET, HEAD, OPTIONS" },
	{ "/v0/routers/a", "GET, HEAD, PUT, DELETE, OPTIONS" }, { "/v0/watch", "POST, OPTIONS" }, { "/v0/watch/w", "GET, HEAD, OPTIONS" }, { "/v0/ws", "GET, HEAD, OPTIONS" },
	{ "/v0/metrics", "GET, HEAD, OPTIONS" }, { "/v0/health", "GET, HEAD, OPTIONS" }, { "/healthz", "GET, HEAD, OPTIONS" }, { "/v0/ready", "GET, HEAD, OPTIONS" },
	{ "/readyz", "GET, HEAD, OPTIONS" },
};
enum { SHEET = sizeof sheet / sizeof sheet[0] };

static void every_route_of_the_sheet_is_found_and_allows_its_methods_and_no_other(void **state)
{
	static const char *const names[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" };
	struct exchange exchange;
	(void)state;
	for (unsigned i = 0; i < SHEET; i++) {
		char allow[96], word[16];
		assert_int_equal(find(&exchange, sheet[i].target), ERR_OK);
		route_allow(exchange.route, allow, sizeof allow);
		assert_string_equal(allow, sheet[i].allow);
		for (unsigned m = 0; m < 6; m++) {
			snprintf(word, sizeof word, "%s,", names[m]);
			const struct route_method *method = route_method(exchange.route, (enum method)m);
			assert_int_equal(method != NULL, strstr(sheet[i].allow, word) != NULL);
			assert_true(method == NULL || method->handler != NULL);
		}
		assert_null(route_method(exchange.route, METHOD_OPTIONS));
		assert_null(route_method(exchange.route, METHOD_OTHER));
	}
}

static void methods_of_the_routes_that_are_built_lead_to_their_handlers(void **state)
{
	static const struct { const char *target; enum method method; void (*handler)(struct exchange *); enum body_rule body; } cases[] = {
		{ "/v0/topics", METHOD_GET, api_topic_list, BODY_IGNORED }, { "/v0/topics/a", METHOD_POST, api_topic_append, BODY_JSON },
		{ "/v0/topics/a", METHOD_GET, api_topic_get, BODY_IGNORED }, { "/v0/topics/a", METHOD_HEAD, api_topic_get, BODY_IGNORED },
		{ "/v0/topics/a", METHOD_PUT, api_topic_put, BODY_JSON_OR_NONE }, { "/v0/topics/a", METHOD_PATCH, api_topic_patch, BODY_JSON },
		{ "/v0/topics/a", METHOD_DELETE, api_topic_delete, BODY_IGNORED }, { "/v0/topics/a/diff", METHOD_POST, api_topic_diff, BODY_DIFF },
		{ "/v0/topics/a/records", METHOD_GET, api_topic_records, BODY_IGNORED }, { "/v0/topics/a/records/7", METHOD_GET, api_topic_record, BODY_IGNORED },
		{ "/v0/topics/a/claim", METHOD_POST, api_not_implemented, BODY_CLAIM }, { "/v0/health", METHOD_GET, api_health, BODY_IGNORED },
		{ "/healthz", METHOD_HEAD, api_health, BODY_IGNORED }, { "/v0/ready", METHOD_GET, api_ready, BODY_IGNORED }, { "/readyz", METHOD_GET, api_ready, BODY_IGNORED },
		{ "/v0/metrics", METHOD_GET, api_not_implemented, BODY_IGNORED },
	};
	struct exchange exchange;
	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(find(&exchange, cases[i].target), ERR_OK);
		const struct route_method *method = route_method(exchange.route, cases[i].method);
		assert_non_null(method);
		assert_ptr_equal(method->handler, cases[i].handler);
		assert_int_equal(method->body, cases[i].body);
	}
}

static void path_outside_the_sheet_is_not_found(void **state)
{
	static const char *const targets[] = {
		"/", "", "*", "v0/topics", "/v0", "/v0/", "/v0/topics/", "/v0/topics//", "/v0/topics//diff", "/v0/topics/a/", "/v0/topics/a/dif", "/v0/topics/a/diff/",
		"/v0/topics/a/diff/b", "/v0/topics/a/records/", "/v0/topics/a/records/1/2", "/v0/routers/", "/v0/watch/", "/v1/topics", "/V0/topics", "/v0/Topics", "//v0/topics",
		"/v0/topics/a/b/diff", "/healthz/", "/v0/healthz", "/health", "/v0%2Ftopics", "/v0/topic", "/v0/topicss",
	};
	struct exchange exchange;
	(void)state;
	for (unsigned i = 0; i < sizeof targets / sizeof targets[0]; i++)
		if (find(&exchange, targets[i]) != ERR_NOT_FOUND)
			fail_msg("%s is found", targets[i]);
}

static void path_and_query_are_told_apart_at_the_first_question_mark(void **state)
{
	struct exchange exchange;
	(void)state;
	assert_int_equal(find(&exchange, "/v0/topics?prefix=a?b/c"), ERR_OK);
	text_is(exchange.path, "/v0/topics");
	text_is(exchange.query, "prefix=a?b/c");
	assert_int_equal(find(&exchange, "/v0/topics/a?"), ERR_OK);
	text_is(exchange.query, "");
	assert_int_equal(find(&exchange, "/v0/topics/a"), ERR_OK);
	assert_non_null(exchange.query.at);
	text_is(exchange.query, "");
	assert_int_equal(find(&exchange, "?x=/v0/topics"), ERR_NOT_FOUND);
}

static void absolute_form_is_the_same_as_its_path(void **state)
{
	static const char *const heads[] = { "http://localhost", "HTTP://h:4000", "https://user@h", "http://" };
	struct exchange exchange;
	char target[128];
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		snprintf(target, sizeof target, "%s/v0/topics/a/records?limit=1", heads[i]);
		assert_int_equal(find(&exchange, target), ERR_OK);
		text_is(exchange.path, "/v0/topics/a/records");
		text_is(exchange.query, "limit=1");
		assert_int_equal(find(&exchange, heads[i]), ERR_NOT_FOUND);
		snprintf(target, sizeof target, "%s?limit=1", heads[i]);
		assert_int_equal(find(&exchange, target), ERR_NOT_FOUND);
	}
	assert_int_equal(find(&exchange, "ftp://h/v0/topics"), ERR_NOT_FOUND);
}

static void fragment_is_refused_in_the_path(void **state)
{
	struct exchange exchange;
	(void)state;
	assert_int_equal(find(&exchange, "/v0/topics#x"), ERR_INVALID_REQUEST);
	assert_int_equal(find(&exchange, "/v0/topics/a%23"), ERR_INVALID_REQUEST); /* and no name holds one */
}

static void names_are_decoded_once(void **state)
{
	struct exchange exchange;
	(void)state;
	assert_int_equal(find(&exchange, "/v0/topics/%6frders%2E%31%3a%5F/records/%31%32?x=%41"), ERR_OK);
	assert_string_equal(exchange.name[0], "orders.1:_");
	assert_int_equal(exchange.name_length[0], 10);
	assert_string_equal(exchange.name[1], "12");
	assert_int_equal(exchange.name_length[1], 2);
	text_is(exchange.query, "x=%41");
	assert_int_equal(find(&exchange, "/v0/topics/a%252E"), ERR_INVALID_REQUEST); /* a%2E, and % is in no name */
	assert_int_equal(find(&exchange, "/v0/topics/%2e"), ERR_INVALID_REQUEST);
	assert_int_equal(find(&exchange, "/v0/watch/%00%ff%2f"), ERR_OK);
	assert_int_equal(exchange.name_length[0], 3);
	assert_memory_equal(exchange.name[0], "\0\xff/", 4);
}

static void broken_escapes_are_refused(void **state)
{
	static const char *const targets[] = { "/v0/topics/%", "/v0/topics/a%", "/v0/topics/a%4", "/v0/topics/a%4/diff", "/v0/topics/a%g1", "/v0/topics/a%4g", "/v0/topics/%%41",
		                               "/v0/topics/a/records/%", "/v0/topics/a%4?1", "/v0/routers/a%-1" };
	struct exchange exchange;
	(void)state;
	for (unsigned i = 0; i < sizeof targets / sizeof targets[0]; i++)
		assert_int_equal(find(&exchange, targets[i]), ERR_INVALID_REQUEST);
	/* What stands in memory behind the target is not looked at. */
	const char *problem = NULL;
	assert_int_equal(route_find(&exchange, (struct slice){ "/v0/topics/a%41", 14 }, &problem), ERR_INVALID_REQUEST);
}

static void topic_and_router_names_keep_their_alphabets(void **state)
{
	struct exchange exchange;
	char target[64];
	(void)state;
	for (int c = 0; c < 256; c++) {
		bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		bool inside = alnum || (c != 0 && strchr("._:-", c) != NULL);
		snprintf(target, sizeof target, "/v0/topics/%%%02x", (unsigned)c);
		assert_int_equal(find(&exchange, target), alnum ? ERR_OK : ERR_INVALID_REQUEST);
		snprintf(target, sizeof target, "/v0/topics/a%%%02X", (unsigned)c);
		assert_int_equal(find(&exchange, target), inside ? ERR_OK : ERR_INVALID_REQUEST);
		snprintf(target, sizeof target, "/v0/routers/%%%02x", (unsigned)c);
		assert_int_equal(find(&exchange, target), alnum ? ERR_OK : ERR_INVALID_REQUEST);
		snprintf(target, sizeof target, "/v0/routers/a%%%02x", (unsigned)c);
		assert_int_equal(find(&exchange, target), inside || c == '>' ? ERR_OK : ERR_INVALID_REQUEST);
	}
}

static void names_of_up_to_255_bytes_are_taken(void **state)
{
	struct exchange exchange;
	char target[1024];
	(void)state;
	for (int length = 254; length <= 257; length++) {
		enum error wanted = length <= 255 ? ERR_OK : ERR_INVALID_REQUEST;
		static const char *const heads[] = { "/v0/topics/", "/v0/routers/", "/v0/watch/", "/v0/topics/b/records/" };
		for (unsigned h = 0; h < 4; h++) {
			int n = snprintf(target, sizeof target, "%s", heads[h]);
			memset(target + n, 'a', (size_t)length);
			target[n + length] = '\0';
			assert_int_equal(find(&exchange, target), wanted);
			if (wanted == ERR_OK)
				assert_int_equal(exchange.name_length[h == 3], length);
			/* It is the decoded length that counts. */
			snprintf(target + n + length - 1, sizeof target - (size_t)(n + length), "%%61");
			assert_int_equal(find(&exchange, target), wanted);
		}
	}
}

static enum error type_check(enum body_rule rule, const char *type, bool empty)
{
	return route_check_type(rule, (struct slice){ type, type != NULL ? strlen(type) : 0 }, empty);
}

static void content_types_are_held_against_the_rule_of_the_route(void **state)
{
	static const char json[] = "application/json", form[] = "application/x-www-form-urlencoded";
	static const struct { enum body_rule rule; const char *type; bool empty; enum error wanted; } cases[] = {
		{ BODY_IGNORED, NULL, true, ERR_OK }, { BODY_IGNORED, "text/plain", false, ERR_OK },
		{ BODY_JSON, json, false, ERR_OK }, { BODY_JSON, json, true, ERR_INVALID_REQUEST }, { BODY_JSON, NULL, true, ERR_UNSUPPORTED_MEDIA_TYPE },
		{ BODY_JSON, NULL, false, ERR_UNSUPPORTED_MEDIA_TYPE }, { BODY_JSON, form, false, ERR_UNSUPPORTED_MEDIA_TYPE }, { BODY_JSON, "", false, ERR_UNSUPPORTED_MEDIA_TYPE },
		{ BODY_JSON_OR_NONE, NULL, true, ERR_OK }, { BODY_JSON_OR_NONE, json, true, ERR_OK }, { BODY_JSON_OR_NONE, json, false, ERR_OK },
		{ BODY_JSON_OR_NONE, NULL, false, ERR_UNSUPPORTED_MEDIA_TYPE }, { BODY_JSON_OR_NONE, form, false, ERR_UNSUPPORTED_MEDIA_TYPE },
		{ BODY_JSON_OR_NONE, form, true, ERR_OK }, { BODY_JSON_OR_NONE, "text/plain", true, ERR_OK }, { BODY_DIFF, "text/plain", true, ERR_OK },
		{ BODY_JSON, "text/plain", true, ERR_UNSUPPORTED_MEDIA_TYPE }, { BODY_CLAIM, "text/plain", true, ERR_INVALID_REQUEST },
		{ BODY_DIFF, NULL, true, ERR_OK }, { BODY_DIFF, form, true, ERR_OK }, { BODY_DIFF, form, false, ERR_OK }, { BODY_DIFF, json, false, ERR_OK },
		{ BODY_DIFF, NULL, false, ERR_UNSUPPORTED_MEDIA_TYPE }, { BODY_DIFF, "text/plain", false, ERR_UNSUPPORTED_MEDIA_TYPE },
		{ BODY_CLAIM, NULL, true, ERR_INVALID_REQUEST }, { BODY_CLAIM, json, true, ERR_INVALID_REQUEST }, { BODY_CLAIM, json, false, ERR_OK },
		{ BODY_CLAIM, form, false, ERR_UNSUPPORTED_MEDIA_TYPE },
		{ BODY_JSON, "Application/JSON", false, ERR_OK }, { BODY_JSON, "application/json; charset=utf-8", false, ERR_OK }, { BODY_JSON, "application/json \t;x", false, ERR_OK },
		{ BODY_JSON, "application/json ", false, ERR_OK }, { BODY_JSON, "application/jsonp", false, ERR_UNSUPPORTED_MEDIA_TYPE },
		{ BODY_JSON, "application/json, text/plain", false, ERR_UNSUPPORTED_MEDIA_TYPE }, { BODY_JSON, "application/json x", false, ERR_UNSUPPORTED_MEDIA_TYPE },
		{ BODY_JSON, "application/jso", false, ERR_UNSUPPORTED_MEDIA_TYPE }, { BODY_JSON, "application/problem+json", false, ERR_UNSUPPORTED_MEDIA_TYPE },
		{ BODY_DIFF, "application/x-www-form-urlencoded;charset=x", false, ERR_OK }, { BODY_DIFF, "application/x-www-form-urlencoded2", false, ERR_UNSUPPORTED_MEDIA_TYPE },
	};
	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (type_check(cases[i].rule, cases[i].type, cases[i].empty) != cases[i].wanted)
			fail_msg("rule %d, type %s, empty %d", (int)cases[i].rule, cases[i].type != NULL ? cases[i].type : "none", cases[i].empty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_route_of_the_sheet_is_found_and_allows_its_methods_and_no_other),
		cmocka_unit_test(methods_of_the_routes_that_are_built_lead_to_their_handlers),
		cmocka_unit_test(path_outside_the_sheet_is_not_found),
		cmocka_unit_test(path_and_query_are_told_apart_at_the_first_question_mark),
		cmocka_unit_test(absolute_form_is_the_same_as_its_path),
		cmocka_unit_test(fragment_is_refused_in_the_path),
		cmocka_unit_test(names_are_decoded_once),
		cmocka_unit_test(broken_escapes_are_refused),
		cmocka_unit_test(topic_and_router_names_keep_their_alphabets),
		cmocka_unit_test(names_of_up_to_255_bytes_are_taken),
		cmocka_unit_test(content_types_are_held_against_the_rule_of_the_route),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
