/* worker/dispatch.c: from a head to its route and from a complete request to its handler, in the order of checks of API.md §1. */
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
#include "worker/dispatch.h"
#include "worker/route.h"

#define JSON "Content-Type: application/json\r\n"
#define TEXT "Content-Type: text/plain\r\n"

static void asked(struct worker_fixture *f, const char *method, const char *target, const char *headers, const char *body, int status, const char *text)
{
	int client = fixture_request(f, method, target, headers, body);
	fixture_expect(f, client, status, text);
}

static void first_check_that_fails_is_the_answer(void **state)
{
	struct worker_fixture *f = *state;
	static const char coding[] = "Content-Encoding: br\r\n", expect[] = "Expect: x\r\nContent-Encoding: gzip\r\n";
	asked(f, "PATCH", "/v0/nothing", expect, "x", 404, "\"code\":\"not_found\"");
	asked(f, "PATCH", "/v0/topics/a%2f/diff", expect, "x", 400, "not a valid topic name");
	asked(f, "PATCH", "/v0/topics/a/diff", expect, "x", 405, "Allow: POST, OPTIONS\r\n");
	asked(f, "POST", "/v0/topics/a", expect, "x", 417, "\"code\":\"expectation_failed\"");
	asked(f, "POST", "/v0/topics/a", coding, "x", 415, "Accept-Encoding: gzip, identity\r\n");
	asked(f, "POST", "/v0/topics/a", "", "x", 415, "add the header 'Content-Type: application/json'");
	asked(f, "POST", "/v0/topics/a", JSON, "x", 400, "\"code\":\"invalid_request\"");
	asked(f, "POST", "/v0/topics/none/diff", JSON, "x", 400, "\"code\":\"invalid_request\"");
	asked(f, "POST", "/v0/topics/none/diff", JSON, "{}", 404, "\"code\":\"topic_not_found\"");
}

static void empty_bodies_follow_the_rule_of_their_route(void **state)
{
	struct worker_fixture *f = *state;
	asked(f, "POST", "/v0/topics/a", "", "", 415, "\"code\":\"unsupported_media_type\"");
	asked(f, "POST", "/v0/topics/a", JSON, "", 400, "the body is empty");
	asked(f, "POST", "/v0/topics/none/diff", "", NULL, 404, "\"code\":\"topic_not_found\"");
	asked(f, "POST", "/v0/topics/none/diff", "Content-Type: application/x-www-form-urlencoded\r\n", "{}", 404, "\"code\":\"topic_not_found\"");
	asked(f, "POST", "/v0/topics/none/diff", "Content-Type: text/plain\r\n", "", 404, "\"code\":\"topic_not_found\"");
	asked(f, "POST", "/v0/topics/none/diff", "Content-Type: text/plain\r\n", "{}", 415, "\"code\":\"unsupported_media_type\"");
	asked(f, "POST", "/v0/topics/a", "Content-Type: text/plain\r\n", "", 415, "\"code\":\"unsupported_media_type\"");
	asked(f, "POST", "/v0/topics/a/claim", "", "", 400, "the body is empty");
	asked(f, "POST", "/v0/topics/a/claim", JSON, "{}", 501, "\"code\":\"not_implemented\"");
	asked(f, "POST", "/v0/topics/a/claim", JSON, "[]", 400, "\"code\":\"invalid_request\"");
}

/* Chunked, in one piece. */
static void asked_chunked(struct worker_fixture *f, const char *method, const char *target, const char *type, const char *body, int status, const char *text)
{
	char bytes[512], size[32] = "";
	int client = fixture_connect(f);
	if (body[0] != '\0')
		snprintf(size, sizeof size, "%zx\r\n", strlen(body));
	snprintf(bytes, sizeof bytes, "%s %s HTTP/1.1\r\nHost: x\r\n%sTransfer-Encoding: chunked\r\n\r\n%s%s%s0\r\n\r\n", method, target, type, size, body, body[0] != '\0' ? "\r\n" : "");
	fixture_send(f, client, bytes);
	fixture_expect(f, client, status, text);
}

static void chunked_body_is_judged_as_one_with_a_length_also_when_it_turns_out_empty(void **state)
{
	struct worker_fixture *f = *state;
	static const struct { const char *target, *type, *body; int status; const char *text; } cases[] = {
		{ "/v0/topics/a", "", "", 415, "unsupported_media_type" }, { "/v0/topics/a", JSON, "", 400, "the body is empty" },
		{ "/v0/topics/a", TEXT, "", 415, "unsupported_media_type" }, { "/v0/topics/a", "", "{}", 415, "unsupported_media_type" },
		{ "/v0/topics/a", TEXT, "{}", 415, "unsupported_media_type" },
		{ "/v0/topics/none/diff", "", "", 404, "topic_not_found" }, { "/v0/topics/none/diff", TEXT, "", 404, "topic_not_found" },
		{ "/v0/topics/none/diff", "", "{}", 415, "unsupported_media_type" }, { "/v0/topics/none/diff", TEXT, "{}", 415, "unsupported_media_type" },
		{ "/v0/topics/none/diff", JSON, "{}", 404, "topic_not_found" },
		{ "/v0/topics/a/claim", "", "", 400, "the body is empty" }, { "/v0/topics/a/claim", TEXT, "", 400, "the body is empty" },
		{ "/v0/topics/a/claim", TEXT, "{}", 415, "unsupported_media_type" },
	};
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		asked(f, "POST", cases[i].target, cases[i].type, cases[i].body, cases[i].status, cases[i].text);
		asked_chunked(f, "POST", cases[i].target, cases[i].type, cases[i].body, cases[i].status, cases[i].text);
	}
	asked_chunked(f, "PUT", "/v0/topics/a", TEXT, "{}", 415, "unsupported_media_type");
}

static void codings_that_change_nothing_are_taken(void **state)
{
	struct worker_fixture *f = *state;
	asked(f, "POST", "/v0/topics/none/diff", JSON "Content-Encoding: Identity\r\n", "{}", 404, "topic_not_found");
	asked(f, "POST", "/v0/topics/none/diff", JSON "Content-Encoding: gzip\r\n", "{}", 400, "the gzip body is damaged");
	asked(f, "POST", "/v0/topics/none/diff", JSON "Content-Encoding: identity, gzip\r\n", "{}", 415, "unsupported_media_type");
	asked(f, "GET", "/v0/topics/none", "Content-Encoding: gzip\r\n", "zz", 404, "topic_not_found"); /* what comes with a GET is dropped */
}

static void options_says_what_a_resource_allows_and_asks_nothing_more(void **state)
{
	struct worker_fixture *f = *state;
	asked(f, "OPTIONS", "/v0/topics/a", "", NULL, 204, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
	asked(f, "OPTIONS", "/v0/topics/a/records/1", "", NULL, 204, "Allow: GET, HEAD, OPTIONS\r\n");
	asked(f, "OPTIONS", "*", "", NULL, 204, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
	asked(f, "OPTIONS", "/v0/nothing", "", NULL, 404, "\"code\":\"not_found\"");
	asked(f, "OPTIONS", "/v0/topics/-", "", NULL, 400, "\"code\":\"invalid_request\"");
	asked(f, "GET", "*", "", NULL, 404, "\"code\":\"not_found\"");
}

static void head_is_the_get_without_its_body(void **state)
{
	struct worker_fixture *f = *state;
	struct http_answer *get = malloc(sizeof *get), *head = malloc(sizeof *head);
	static const char *const targets[] = { "/v0/topics/none", "/readyz", "/v0/topics/none/records" };
	for (unsigned i = 0; i < 3; i++) {
		int one = fixture_request(f, "GET", targets[i], "", NULL), other = fixture_request(f, "HEAD", targets[i], "", NULL);
		assert_true(fixture_answered(f, one, false, get));
		assert_true(fixture_answered(f, other, true, head));
		assert_int_equal(get->body - get->bytes, head->body - head->bytes);
		assert_memory_equal(get->bytes, head->bytes, (size_t)(get->body - get->bytes));
		char none[4];
		assert_true(read(other, none, sizeof none) < 0);
		close(one);
		close(other);
	}
	int client = fixture_request(f, "HEAD", "/v0/topics/a/diff", "", NULL);
	assert_true(fixture_answered(f, client, true, head));
	assert_int_equal(head->status, 405);
	assert_true(answer_has(head, "Allow: POST, OPTIONS"));
	close(client);
	free(get);
	free(head);
}

static void body_up_to_the_limit_is_taken_and_one_byte_more_refused_by_the_head(void **state)
{
	struct worker_fixture *f = *state;
	f->worker.inherit.common.settings.max_body_bytes = 20;
	asked(f, "POST", "/v0/topics/none/diff", JSON, "{                 } ", 404, "topic_not_found");
	asked(f, "POST", "/v0/topics/none/diff", JSON, "{                  } ", 413, "\"detail\":{\"max\":20}");
	asked(f, "DELETE", "/v0/topics/a", "", "123456789012345678901", 413, "\"code\":\"payload_too_large\"");
	int client = fixture_connect(f);
	fixture_send(f, client, "POST /v0/topics/none/diff HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 21\r\n\r\n"); /* before the body comes */
	fixture_expect(f, client, 413, "Connection: close\r\n");
}

static void writes_are_those_that_go_through_the_ring(void **state)
{
	static const struct { enum method method; const char *target; bool write; } cases[] = {
		{ METHOD_POST, "/v0/topics/a", true }, { METHOD_PUT, "/v0/topics/a", true }, { METHOD_PATCH, "/v0/topics/a", true }, { METHOD_DELETE, "/v0/topics/a", true },
		{ METHOD_GET, "/v0/topics/a", false }, { METHOD_HEAD, "/v0/topics/a", false }, { METHOD_OPTIONS, "/v0/topics/a", false }, { METHOD_POST, "/v0/topics/a/diff", false },
		{ METHOD_POST, "/v0/topics/a/ack", false }, { METHOD_GET, "/healthz", false }, { METHOD_PUT, "/v0/routers/a", false },
	};
	struct exchange exchange;
	(void)state;
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const char *problem;
		memset(&exchange, 0, sizeof exchange);
		assert_int_equal(route_find(&exchange, (struct slice){ cases[i].target, strlen(cases[i].target) }, &problem), ERR_OK);
		exchange.method = cases[i].method;
		assert_int_equal(dispatch_is_write(&exchange), cases[i].write);
	}
	memset(&exchange, 0, sizeof exchange);
	assert_false(dispatch_is_write(&exchange)); /* no route: refused before there was one */
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, worker_fixture_set_up, worker_fixture_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(first_check_that_fails_is_the_answer),
		CASE(empty_bodies_follow_the_rule_of_their_route),
		CASE(chunked_body_is_judged_as_one_with_a_length_also_when_it_turns_out_empty),
		CASE(codings_that_change_nothing_are_taken),
		CASE(options_says_what_a_resource_allows_and_asks_nothing_more),
		CASE(head_is_the_get_without_its_body),
		CASE(body_up_to_the_limit_is_taken_and_one_byte_more_refused_by_the_head),
		cmocka_unit_test(writes_are_those_that_go_through_the_ring),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
