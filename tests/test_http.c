/* worker/http.c: heads and bodies, whole and split at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/http.h"

static struct http_head head;
static const char *problem;

static enum error parse(const char *text)
{
	size_t consumed = 0;
	enum error error = http_head_parse(text, strlen(text), &head, &consumed, &problem);
	if (error == ERR_OK)
		assert_int_equal(consumed, strstr(text, "\r\n\r\n") + 4 - text);
	return error;
}

static void good_head_gives_method_target_and_fields(void **state)
{
	(void)state;
	assert_int_equal(parse("POST /v0/topics/a?x=1 HTTP/1.1\r\nHost: h\r\ncontent-LENGTH: 0012\r\nContent-Type: application/json \r\n"
	                       "Expect: 100-Continue\r\nConnection: keep-alive, Close\r\n\r\nrest"), ERR_OK);
	assert_int_equal(head.method, METHOD_POST);
	assert_memory_equal(head.target.at, "/v0/topics/a?x=1", head.target.length);
	assert_true(head.has_length && head.length == 12 && head.expect_continue && !head.keep_alive && !head.chunked);
	assert_int_equal(head.content_type.length, 16);
	assert_null(head.accept.at);
}

static void every_prefix_of_a_good_head_needs_more(void **state)
{
	static const char text[] = "\r\nGET /v0/health HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n";
	(void)state;
	for (size_t n = 0; n < sizeof text - 1; n++) {
		char *copy = malloc(n + 1);
		size_t consumed = 0;
		memcpy(copy, text, n);
		assert_int_equal(http_head_parse(copy, n, &head, &consumed, &problem), ERR_AGAIN);
		free(copy);
	}
	size_t consumed = 0;
	assert_int_equal(http_head_parse(text, sizeof text - 1, &head, &consumed, &problem), ERR_OK);
	assert_int_equal(consumed, sizeof text - 1);
}

static void framing_in_doubt_is_refused(void **state)
{
	static const char *const fields[] = { "Content-Length: 1\r\nContent-Length: 1", "Content-Length: +1", "Content-Length: ", "Content-Length: 1,1",
		"Content-Length: 1 ", "Content-Length: 1\t",
		"Content-Length: 18446744073709551616", "Content-Length: 1\r\nTransfer-Encoding: chunked", "Transfer-Encoding: gzip", "Transfer-Encoding: chunked, chunked",
		"X : y", ": y", "X", " X: y", "X: a\rb", "Host: again", "X\x80: y" };
	(void)state;
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		char text[256];
		snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", fields[i]);
		assert_int_equal(parse(text), ERR_INVALID_REQUEST);
	}
	assert_int_equal(parse("GET / HTTP/1.1\r\n\r\n"), ERR_INVALID_REQUEST);
	assert_int_equal(parse("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), ERR_HTTP_VERSION);
	assert_int_equal(parse("GET / HTTP/1.1\nHost: h\n\n"), ERR_INVALID_REQUEST);
	assert_int_equal(parse("\x16\x03\x01"), ERR_INVALID_REQUEST);
}

static void lengths_with_leading_zeros_are_decimal(void **state)
{
	(void)state;
	assert_int_equal(parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 00010\r\n\r\n"), ERR_OK);
	assert_int_equal(head.length, 10);
}

/* Decodes a chunked body given in pieces of `piece` bytes; the payload's length, or -1. */
static int decode(const char *text, size_t piece, char *out)
{
	struct http_body body;
	struct http_head chunked = { .chunked = true };
	size_t length = strlen(text), start = 0, have = 0;
	int n = 0;
	http_body_begin(&body, &chunked);
	while (!body.done) {
		size_t consumed = 0, payload_length = 0;
		const char *payload;
		if (http_body_next(&body, text + start, have - start, &consumed, &payload, &payload_length, &problem) != ERR_OK)
			return -1;
		memcpy(out + n, payload, payload_length);
		n += (int)payload_length;
		start += consumed;
		if (consumed > 0)
			continue;
		if (have == length)
			return -1;
		have = have + piece < length ? have + piece : length;
	}
	return n;
}

static void chunked_bodies_are_the_same_in_pieces_of_any_size(void **state)
{
	char out[64];
	(void)state;
	for (size_t piece = 1; piece < 50; piece++) {
		assert_int_equal(decode("5;a=b\r\nhello\r\n1A\r\n, this is 26 bytes of body\r\n0\r\nT: v\r\n\r\n", piece, out), 31);
		assert_memory_equal(out, "hello, this is 26 bytes of body", 31);
		assert_int_equal(decode("0\r\n\r\n", piece, out), 0);
	}
}

static void broken_chunks_are_refused_in_pieces_of_any_size(void **state)
{
	static const char *const broken[] = { "0x1\r\na\r\n0\r\n\r\n", "+1\r\na\r\n0\r\n\r\n", "\r\na\r\n", "1\r\nab\r\n0\r\n\r\n", "1\na\n0\n\n", "1 \r\na\r\n0\r\n\r\n",
		"fffffffffffffffff\r\n", "1;\rx\r\na\r\n0\r\n\r\n", "0\r\nbad\r\n\r\n", "0\r\nT : v\r\n\r\n" };
	char out[64];
	(void)state;
	for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
		for (size_t piece = 1; piece < 20; piece++)
			assert_int_equal(decode(broken[i], piece, out), -1);
}

/* Takes at most `take` bytes of every run and puts the others back, as a connection does that has no room for more. */
static int decode_hesitantly(const char *text, struct http_head *framing, size_t take, char *out)
{
	struct http_body body;
	size_t at = 0, length = strlen(text);
	int n = 0;
	http_body_begin(&body, framing);
	while (!body.done) {
		const char *payload, *why;
		size_t consumed = 0, run = 0;
		assert_int_equal(http_body_next(&body, text + at, length - at, &consumed, &payload, &run, &why), ERR_OK);
		size_t back = run > take ? run - take : 0;
		memcpy(out + n, payload, run - back);
		n += (int)(run - back);
		if (back > 0)
			http_body_unread(&body, back);
		at += consumed - back;
		assert_int_equal(body.taken, n);
	}
	assert_int_equal(at, length);
	return n;
}

static void what_is_put_back_of_a_body_comes_again(void **state)
{
	struct http_head chunked = { .chunked = true }, plain = { .has_length = true, .length = 11 };
	char out[64];
	(void)state;
	for (size_t take = 1; take < 12; take++) {
		assert_int_equal(decode_hesitantly("b\r\nhello world\r\n2\r\n!!\r\n0\r\n\r\n", &chunked, take, out), 13);
		assert_memory_equal(out, "hello world!!", 13);
		assert_int_equal(decode_hesitantly("hello world", &plain, take, out), 11);
		assert_memory_equal(out, "hello world", 11);
	}
}

static void lists_on_several_lines_are_joined(void **state)
{
	char out[256];
	(void)state;
	assert_int_equal(parse("GET / HTTP/1.1\r\nHost: h\r\nAccept: a/b\r\nX: y\r\naccept: c/d;q=0.5\r\nAccept:\r\n\r\n"), ERR_OK);
	assert_true(head.repeated);
	struct slice joined = http_list_join(&head, "accept", out);
	assert_int_equal(joined.length, 14);
	assert_memory_equal(joined.at, "a/b,c/d;q=0.5,", 14);
	assert_int_equal(parse("GET / HTTP/1.1\r\nHost: h\r\nAccept: a/b\r\nAccept-Encoding: gzip\r\n\r\n"), ERR_OK);
	assert_false(head.repeated);
	assert_int_equal(parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n\r\n"), ERR_INVALID_REQUEST);
	assert_int_equal(parse("POST / HTTP/1.1\r\nHost: h\r\nIdempotency-Key: a\r\nIdempotency-Key: a\r\n\r\n"), ERR_INVALID_REQUEST);
}

static void a_method_that_nobody_knows_is_well_formed(void **state)
{
	(void)state;
	assert_int_equal(parse("BREW /v0/topics HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"), ERR_OK);
	assert_int_equal(head.method, METHOD_OTHER);
	assert_memory_equal(head.target.at, "/v0/topics", head.target.length);
	assert_int_equal(head.length, 3);
	assert_int_equal(head.field_count, 2);
	assert_int_equal(parse("BR(W /v0/topics HTTP/1.1\r\nHost: h\r\n\r\n"), ERR_INVALID_REQUEST);
}

static void close_wins_over_keep_alive(void **state)
{
	(void)state;
	assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), ERR_OK);
	assert_true(head.keep_alive);
	assert_int_equal(parse("GET / HTTP/1.0\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n"), ERR_OK);
	assert_false(head.keep_alive);
	assert_int_equal(parse("GET / HTTP/1.1\r\nHost: h\r\nExpect: moon\r\nExpect: 100-continue\r\n\r\n"), ERR_OK);
	assert_true(head.bad_expectation);
}

static void a_refused_head_tells_its_method_and_what_it_accepts(void **state)
{
	static const struct { const char *text; enum method method; const char *accept; } cases[] = {
		{ "HEAD / HTTP/1.1\r\naccept:\t a/b \r\n\r\n", METHOD_HEAD, "a/b" },
		{ "\r\nHEAD / HTTP/1.2\r\nHost: h\r\nAccept: a/b\r\nAccept: c/d\r\n\r\nAccept: e/f\r\n", METHOD_HEAD, " a/b" },
		{ "HEADER / HTTP/1.1\r\nAccept-Encoding: gzip\r\nX: Accept: a/b\r\n\r\nAccept: a/b\r\n\r\n", METHOD_OTHER, NULL },
		{ "GET / HTTP/1.2\r\nAccept: a/b\r\nHost", METHOD_GET, " a/b" }, { "GET / HTTP/1.2\r\nAccept: a/b", METHOD_GET, NULL },
		{ "GET / HTTP/1.1\r\nHost: h\nAccept: a/b\n\n", METHOD_GET, NULL },
		{ "\r\n\r\nHEAD / HTTP/1.1\r\nAccept: a/b\r\nHo", METHOD_HEAD, " a/b" }, { "GET / HTTP/1.1\r\nAccept: a/b\r", METHOD_GET, NULL }, { "HEAD", METHOD_GET, NULL },
	};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		enum error error = parse(cases[i].text);
		assert_int_not_equal(error, ERR_OK);
		if (error == ERR_AGAIN) /* and it never came whole */
			http_head_salvage(cases[i].text, strlen(cases[i].text), &head);
		assert_int_equal(head.method, cases[i].method);
		assert_int_equal(head.accept.length, cases[i].accept != NULL ? strlen(cases[i].accept) : 0);
		if (cases[i].accept != NULL)
			assert_memory_equal(head.accept.at, cases[i].accept, head.accept.length);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_head_gives_method_target_and_fields),
		cmocka_unit_test(every_prefix_of_a_good_head_needs_more),
		cmocka_unit_test(framing_in_doubt_is_refused),
		cmocka_unit_test(lengths_with_leading_zeros_are_decimal),
		cmocka_unit_test(chunked_bodies_are_the_same_in_pieces_of_any_size),
		cmocka_unit_test(broken_chunks_are_refused_in_pieces_of_any_size),
		cmocka_unit_test(what_is_put_back_of_a_body_comes_again),
		cmocka_unit_test(lists_on_several_lines_are_joined),
		cmocka_unit_test(a_method_that_nobody_knows_is_well_formed),
		cmocka_unit_test(close_wins_over_keep_alive),
		cmocka_unit_test(a_refused_head_tells_its_method_and_what_it_accepts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
