/* worker/exchange.c: answers, the error envelope, parameters of a query. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/worker_fixture.h"
#include "worker/waiting.h"

static struct http_answer *answered(struct worker_fixture *f, int client)
{
	struct http_answer *answer = malloc(sizeof *answer);
	assert_true(fixture_answered(f, client, false, answer));
	return answer;
}

static void buffer_grows_to_what_is_asked_and_keeps_what_it_holds(void **state)
{
	struct buffer buffer = { 0 };
	(void)state;
	assert_int_equal(buffer_reserve(&buffer, 1), ERR_OK);
	memcpy(buffer.bytes, "x", 1);
	buffer.length = 1;
	for (size_t more = 1; more < 1 << 20; more *= 3) {
		assert_int_equal(buffer_reserve(&buffer, more), ERR_OK);
		assert_true(buffer.room >= buffer.length + more);
		memset(buffer.bytes + buffer.length, 'y', more);
		buffer.length += more;
	}
	assert_int_equal(buffer.bytes[0], 'x');
	size_t room = buffer.room;
	buffer.length = 0;
	assert_int_equal(buffer_reserve(&buffer, room), ERR_OK);
	assert_int_equal(buffer.room, room);
	buffer_free(&buffer);
	assert_null(buffer.bytes);
	assert_int_equal(buffer.room, 0);
}

static void success_closes_its_object_with_the_performance_that_applies(void **state)
{
	struct worker_fixture *f = *state;
	int client;
	struct exchange *e = fixture_exchange(f, "", NULL, &client);
	answer_text(e, "{\"a\":%d,\"b\":", 7);
	answer_string(e, "q\"\n\x01", 4);
	e->wal_us = 1500;
	e->sync_us = 0;
	e->throttle_us = 2000000;
	e->records_scanned = 9;
	exchange_header(e, "ETag", "\"%s\"", "x");
	exchange_success(e, 201);
	struct http_answer *got = answered(f, client);
	assert_int_equal(got->status, 201);
	assert_non_null(strstr(got->bytes, "HTTP/1.1 201 Created\r\n"));
	assert_non_null(strstr(got->body, "{\"a\":7,\"b\":\"q\\\"\\u000a\\u0001\",\"performance\":{\"server_total_ms\":"));
	assert_non_null(strstr(got->body, ",\"wal_append_ms\":1.500,\"fsync_ms\":0.000,\"throttle_wait_ms\":2000.000,\"records_scanned\":9}}"));
	assert_non_null(strstr(got->bytes, "Server-Timing: total;dur="));
	assert_non_null(strstr(got->bytes, ", wal;dur=1.500, fsync;dur=0.000, throttle;dur=2000.000\r\n"));
	assert_true(answer_has(got, "ETag: \"x\""));
	assert_true(answer_has(got, "Content-Type: application/json"));
	assert_null(strstr(got->bytes, "Connection:"));
	free(got);
	e = fixture_exchange(f, "", NULL, &client);
	answer_text(e, "{\"a\":7");
	exchange_success(e, 200);
	got = answered(f, client);
	assert_null(strstr(got->body, "wal_append_ms"));
	assert_null(strstr(got->body, "fsync_ms"));
	assert_null(strstr(got->body, "throttle"));
	assert_null(strstr(got->body, "scanned"));
	free(got);
}

static void plain_answer_goes_out_as_it_is_and_bodiless_ones_have_no_body(void **state)
{
	struct worker_fixture *f = *state;
	static const int bodiless[] = { 204, 304 };
	int client;
	struct exchange *e = fixture_exchange(f, "", NULL, &client);
	answer_bytes(e, "a\0b", 3);
	exchange_plain(e, 200, "text/x");
	struct http_answer *got = answered(f, client);
	assert_true(answer_has(got, "Content-Length: 3"));
	assert_true(answer_has(got, "Content-Type: text/x"));
	assert_memory_equal(got->body, "a\0b", 3);
	free(got);
	for (unsigned i = 0; i < 2; i++) {
		e = fixture_exchange(f, "", NULL, &client);
		answer_bytes(e, "abc", 3);
		exchange_plain(e, bodiless[i], "text/x");
		got = answered(f, client);
		assert_int_equal(got->status, bodiless[i]);
		assert_null(strstr(got->bytes, "Content-"));
		assert_int_equal(got->bytes + got->length - got->body, 0);
		free(got);
	}
}

static void every_error_of_the_contract_has_its_status_and_its_envelope(void **state)
{
	struct worker_fixture *f = *state;
	uint64_t of_clients = 0, of_ours = 0;
	for (int error = ERR_INVALID_REQUEST; error < ERR_CONTRACT_END; error++) {
		char wanted[256];
		int client, status = error_status((enum error)error);
		struct exchange *e = fixture_exchange(f, "", NULL, &client);
		f->caught_count = 0;
		answer_text(e, "{\"half\":");
		exchange_header(e, "ETag", "x");
		exchange_error(e, (enum error)error, error % 2 ? "{\"k\":1}" : NULL, "say \"%s\"", "it");
		struct http_answer *got = answered(f, client);
		assert_int_equal(got->status, status);
		assert_int_equal(strncmp(got->bytes + 12, " Internal", 9) == 0, status == 500); /* each status has its own phrase */
		snprintf(wanted, sizeof wanted, "{\"error\":{\"code\":\"%s\",\"message\":\"say \\\"it\\\"\"%s}}", error_code((enum error)error), error % 2 ? ",\"detail\":{\"k\":1}" : "");
		assert_string_equal(got->body, wanted);
		bool retry = status == 429 || status == 503;
		assert_int_equal(strstr(got->bytes, "\r\nRetry-After: ") != NULL, retry);
		assert_int_equal(strstr(got->bytes, "ETag") != NULL, error == ERR_METHOD_NOT_ALLOWED || error == ERR_UNSUPPORTED_MEDIA_TYPE); /* they say what would be taken */
		of_clients += status < 500;
		of_ours += status >= 500;
		free(got);
		close(client);
	}
	assert_int_equal(f->worker.counters->responses_4xx, of_clients);
	assert_int_equal(f->worker.counters->responses_5xx, of_ours);
}

static void problem_json_says_the_same_to_who_accepts_it(void **state)
{
	struct worker_fixture *f = *state;
	int client = fixture_request(f, "GET", "/v0/topics/none", "Accept: text/html, application/problem+json\r\n", NULL);
	struct http_answer *got = answered(f, client);
	assert_true(answer_has(got, "Content-Type: application/problem+json"));
	assert_string_equal(got->body, "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\"detail\":\"there is no topic 'none'; a write or a PUT makes it\","
	                               "\"code\":\"topic_not_found\",\"info\":{\"topic\":\"none\"}}");
	free(got);
}

static void memory_that_ran_out_while_rendering_is_an_internal_error(void **state)
{
	struct worker_fixture *f = *state;
	int client;
	struct exchange *e = fixture_exchange(f, "", NULL, &client);
	answer_text(e, "{\"a\":1");
	e->out_of_memory = true;
	exchange_success(e, 200);
	fixture_expect(f, client, 500, "{\"error\":{\"code\":\"internal\"");
	e = fixture_exchange(f, "", NULL, &client);
	e->out_of_memory = true;
	exchange_plain(e, 200, "text/plain");
	fixture_expect(f, client, 500, "{\"error\":{\"code\":\"internal\"");
}

static void header_line_that_does_not_fit_is_left_out_whole(void **state)
{
	struct worker_fixture *f = *state;
	char value[1200];
	int client;
	struct exchange *e = fixture_exchange(f, "", NULL, &client);
	memset(value, 'v', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	exchange_header(e, "X-Long", "%s", value);
	assert_int_equal(e->headers_length, 0);
	exchange_header(e, "X-Half", "%.*s", 500, value);
	exchange_header(e, "X-Other", "%.*s", 600, value);
	exchange_header(e, "X-Short", "%s", "s");
	exchange_plain(e, 200, "text/plain");
	struct http_answer *got = answered(f, client);
	assert_null(strstr(got->bytes, "X-Long"));
	assert_null(strstr(got->bytes, "X-Other"));
	assert_non_null(strstr(got->bytes, "X-Half: vvv"));
	assert_true(answer_has(got, "X-Short: s"));
	free(got);
}

static void kept_body_belongs_to_the_exchange_and_is_kept_once(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *e = fixture_exchange(f, "", NULL, NULL);
	static const uint8_t body[] = "{\"a\":1}";
	assert_int_equal(exchange_keep_body(e), ERR_OK); /* there is none */
	e->body = body;
	e->body_length = 7;
	assert_int_equal(exchange_keep_body(e), ERR_OK);
	assert_ptr_not_equal(e->body, body);
	assert_memory_equal(e->body, "{\"a\":1}", 7);
	const uint8_t *kept = e->body;
	assert_int_equal(exchange_keep_body(e), ERR_OK);
	assert_ptr_equal(e->body, kept);
	assert_int_equal(e->body_length, 7);
}

static void catalogue_that_is_not_there_parks_for_it_and_the_current_one_is_given(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *e = fixture_exchange(f, "", NULL, NULL);
	assert_ptr_equal(exchange_catalogue(e, fixture_catch), f->reader);
	fixture_catalogue_current(f, FIXTURE_CATALOGUE + 1); /* logd has published the next one: nothing is served from the old one */
	assert_null(exchange_catalogue(e, fixture_catch));
	assert_non_null(e->parked);
	assert_int_equal(f->caught_count, 1);
	fixture_catalogue_came(f);
	waiting_catalogue_came(f->worker.waiting);
	waiting_run(f->worker.waiting);
	assert_int_equal(f->caught_count, 2);
	fixture_no_catalogue(f);
	assert_null(exchange_catalogue(e, fixture_catch));
	assert_non_null(e->parked);
}

/* ---- query ---- */

static enum error value_of(struct exchange *e, const char *query, const char *name, char out[32])
{
	size_t length = 0;
	e->query = (struct slice){ query, strlen(query) };
	return exchange_query(e, name, out, 32, &length);
}

static void parameter_is_form_decoded_and_the_first_of_its_name_counts(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *e = fixture_exchange(f, "", NULL, NULL);
	static const struct { const char *query, *value; } good[] = {
		{ "a=1", "1" }, { "b=2&a=1", "1" }, { "a=1&a=2", "1" }, { "a", "" }, { "a=", "" }, { "a&a=2", "" }, { "&&a=1&", "1" }, { "a=b=c", "b=c" }, { "%61=1", "1" },
		{ "a=x+y%20z%2B", "x y z+" }, { "aa=2&a=1", "1" }, { "=2&a=1", "1" }, { "a=%e2%82%AC", "\xe2\x82\xac" }, { "%=2&a=1", "1" }, { "a=?", "?" },
	};
	static const char *const absent[] = { "", "b=1", "A=1", "a%00=1", "aa", "=a", "b=&c" };
	static const char *const broken[] = { "a=%", "a=%4", "a=%g0", "a=1%", "a=%4&a=1", "a=0123456789012345678901234567890123" };
	char out[32];
	for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
		if (value_of(e, good[i].query, "a", out) != ERR_OK || strcmp(out, good[i].value) != 0)
			fail_msg("%s gives %s", good[i].query, out);
	}
	for (unsigned i = 0; i < sizeof absent / sizeof absent[0]; i++)
		assert_int_equal(value_of(e, absent[i], "a", out), ERR_AGAIN);
	for (unsigned i = 0; i < sizeof broken / sizeof broken[0]; i++)
		assert_int_equal(value_of(e, broken[i], "a", out), ERR_INVALID_REQUEST);
	assert_int_equal(value_of(e, "a=0123456789012345678901234567890", "a", out), ERR_OK); /* 31 bytes and a NUL */
}

static void numbers_and_bools_are_taken_in_their_one_form_and_else_refused(void **state)
{
	struct worker_fixture *f = *state;
	static const struct { const char *text; bool good; uint64_t value; } numbers[] = {
		{ "n=0", true, 0 }, { "n=18446744073709551615", true, UINT64_MAX }, { "n=007", true, 7 }, { "m=1", true, 99 }, { "n=18446744073709551616", false, 0 }, { "n=", false, 0 },
		{ "n", false, 0 }, { "n=-1", false, 0 }, { "n=%2B1", false, 0 }, { "n=1.0", false, 0 }, { "n=1e3", false, 0 }, { "n=+1", false, 0 }, { "n=0x1", false, 0 }, { "n=1%00", false, 0 },
		{ "n=99999999999999999999999999", false, 0 },
	};
	static const struct { const char *text; bool good, value; } bools[] = {
		{ "n=true", true, true }, { "n=1", true, true }, { "n=false", true, false }, { "n=0", true, false }, { "m=0", true, true }, { "n=TRUE", false, true }, { "n=yes", false, true },
		{ "n=", false, true }, { "n=2", false, true }, { "n=true%00", false, true }, { "n=truetruetrue", false, true },
	};
	for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		int client;
		uint64_t value = 99;
		struct exchange *e = fixture_exchange(f, numbers[i].text, NULL, &client);
		f->caught_count = 0;
		assert_int_equal(exchange_query_u64(e, "n", &value), numbers[i].good ? ERR_OK : ERR_INVALID_REQUEST);
		assert_int_equal(value, numbers[i].good ? numbers[i].value : 99);
		if (numbers[i].good)
			fixture_end(e);
		fixture_expect(f, client, numbers[i].good ? 200 : 400, numbers[i].good ? "" : "query parameter 'n' must be a non-negative integer");
	}
	for (unsigned i = 0; i < sizeof bools / sizeof bools[0]; i++) {
		int client;
		bool value = true;
		struct exchange *e = fixture_exchange(f, bools[i].text, NULL, &client);
		f->caught_count = 0;
		assert_int_equal(exchange_query_bool(e, "n", &value), bools[i].good ? ERR_OK : ERR_INVALID_REQUEST);
		assert_int_equal(value, bools[i].value);
		if (bools[i].good)
			fixture_end(e);
		fixture_expect(f, client, bools[i].good ? 200 : 400, bools[i].good ? "" : "query parameter 'n' must be true or false");
	}
}

static void exchange_after_another_from_the_pool_knows_nothing_of_it(void **state)
{
	struct worker_fixture *f = *state;
	int client;
	struct exchange *first = fixture_exchange(f, "a=1", "body", &client);
	exchange_header(first, "X-First", "1");
	answer_bytes(first, "first", 5);
	first->wal_us = 5;
	exchange_plain(first, 200, "text/plain");
	fixture_expect(f, client, 200, "first");
	struct exchange *second = fixture_exchange(f, "", NULL, &client);
	assert_ptr_equal(second, first);
	assert_int_equal(second->headers_length + second->answer.length + second->answer_head_length + second->sent + second->body_length, 0);
	assert_int_equal(second->wal_us, -1);
	assert_null(second->body);
	assert_null(second->parked);
	assert_false(second->done || second->close_after || second->out_of_memory || second->discard);
	fixture_end(second);
	fixture_expect(f, client, 200, "");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, worker_fixture_set_up, worker_fixture_tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffer_grows_to_what_is_asked_and_keeps_what_it_holds),
		CASE(success_closes_its_object_with_the_performance_that_applies),
		CASE(plain_answer_goes_out_as_it_is_and_bodiless_ones_have_no_body),
		CASE(every_error_of_the_contract_has_its_status_and_its_envelope),
		CASE(problem_json_says_the_same_to_who_accepts_it),
		CASE(memory_that_ran_out_while_rendering_is_an_internal_error),
		CASE(header_line_that_does_not_fit_is_left_out_whole),
		CASE(kept_body_belongs_to_the_exchange_and_is_kept_once),
		CASE(catalogue_that_is_not_there_parks_for_it_and_the_current_one_is_given),
		CASE(parameter_is_form_decoded_and_the_first_of_its_name_counts),
		CASE(numbers_and_bools_are_taken_in_their_one_form_and_else_refused),
		CASE(exchange_after_another_from_the_pool_knows_nothing_of_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
