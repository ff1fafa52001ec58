/*
 * A stream of bytes as a connection takes it: heads, bodies framed by length or in chunks, gzip inflated on the way. Whatever the bytes are, nothing is read past their end; and cut at
 * other places they must be the same requests, with the same bodies, up to the same refusal.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "worker/gzip.h"
#include "worker/http.h"
#include "worker/negotiate.h"

enum { REQUESTS_MAX = 64, INFLATED_MAX = 256 * 1024, BODY_MAX = 100 * 1000, PIECES_MAX = 24 };

/* What came out of a stream. */
struct outcome {
	unsigned requests;
	uint64_t sums[REQUESTS_MAX];  /* of the head and the body of each */
	enum error error;             /* ERR_AGAIN: it ends in the middle, or between two requests */
};

/* The same as worker/connection_read.c keeps between two reads. */
struct stream {
	bool in_body, unpack;
	struct http_body body;
	struct inflater *inflater;
	uint64_t inflated, sum;
};

static uint64_t mix(uint64_t sum, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;
	for (size_t i = 0; i < length; i++)
		sum = (sum ^ at[i]) * 0x100000001b3u;
	return sum;
}

static uint64_t sum_of_head(const struct http_head *head)
{
	uint64_t sum = mix(0xcbf29ce484222325u, head->target.at, head->target.length);
	const uint64_t facts[] = { (uint64_t)head->method, (uint64_t)head->minor, head->chunked, head->length, head->keep_alive, head->expect_continue, head->bad_expectation,
	                           (uint64_t)negotiate_gzip(head->accept_encoding, NULL), (uint64_t)negotiate_problem(head->accept), (uint64_t)negotiate_coding(head->content_encoding),
	                           (uint64_t)negotiate_tag(head->if_none_match, "\"5f-1\"") };
	for (unsigned i = 0; i < head->field_count; i++) {
		sum = mix(sum, head->fields[i].name.at, head->fields[i].name.length);
		sum = mix(sum, head->fields[i].value.at, head->fields[i].value.length);
	}
	return mix(sum, facts, sizeof facts);
}

static enum error take_payload(struct stream *stream, const uint8_t *payload, size_t length)
{
	uint8_t out[4096];
	if (!stream->unpack) {
		stream->sum = mix(stream->sum, payload, length);
		return stream->body.taken > BODY_MAX ? ERR_PAYLOAD_TOO_LARGE : ERR_OK;
	}
	while (length > 0) {
		size_t used = 0, made = 0;
		enum error error = inflater_run(stream->inflater, payload, length, &used, out, sizeof out, &made);
		stream->sum = mix(stream->sum, out, made);
		stream->inflated += made;
		if (error != ERR_OK)
			return error;
		if (stream->inflated > INFLATED_MAX)
			return ERR_PAYLOAD_TOO_LARGE;
		if (used + made == 0)
			abort(); /* it would never end */
		payload += used;
		length -= used;
	}
	return ERR_OK;
}

static enum error end_body(struct stream *stream, struct outcome *outcome)
{
	stream->in_body = false;
	if (stream->unpack && stream->body.taken > 0 && !inflater_at_end(stream->inflater))
		return ERR_INVALID_REQUEST;
	outcome->sums[outcome->requests++] = stream->sum;
	return outcome->requests == REQUESTS_MAX ? ERR_LIMIT : ERR_OK;
}

static enum error next_head(struct stream *stream, const uint8_t *bytes, size_t length, size_t *consumed)
{
	struct http_head head;
	const char *problem = NULL;
	enum error error = http_head_parse((const char *)bytes, length, &head, consumed, &problem);
	if (error != ERR_OK) {
		if (error != ERR_AGAIN && problem == NULL)
			abort(); /* a refusal that says nothing */
		return error;
	}
	if (*consumed == 0 || *consumed > length)
		abort();
	stream->sum = sum_of_head(&head);
	stream->in_body = true;
	stream->unpack = negotiate_coding(head.content_encoding) == CODING_GZIP;
	stream->inflated = 0;
	inflater_reset(stream->inflater);
	http_body_begin(&stream->body, &head);
	if (head.repeated) {
		char *joined = malloc(*consumed);
		if (joined == NULL)
			abort();
		static const char *const lists[] = { "accept", "accept-encoding", "content-encoding", "if-none-match" };
		for (unsigned i = 0; i < 4; i++)
			(void)http_list_join(&head, lists[i], joined);
		free(joined);
	}
	return ERR_OK;
}

/* Takes what it can of `bytes`: ERR_AGAIN with *consumed, or a refusal. */
static enum error take(struct stream *stream, struct outcome *outcome, const uint8_t *bytes, size_t length, size_t *consumed)
{
	*consumed = 0;
	for (;;) {
		size_t used = 0;
		enum error error = ERR_OK;
		if (!stream->in_body) {
			error = next_head(stream, bytes + *consumed, length - *consumed, &used);
		} else if (!stream->body.done) {
			const char *payload = NULL, *problem = NULL;
			size_t run = 0;
			error = http_body_next(&stream->body, (const char *)bytes + *consumed, length - *consumed, &used, &payload, &run, &problem);
			if (error == ERR_OK)
				error = take_payload(stream, (const uint8_t *)payload, run);
			if (error == ERR_OK && used == 0)
				error = ERR_AGAIN;
		}
		*consumed += used;
		if (error == ERR_OK && stream->in_body && stream->body.done)
			error = end_body(stream, outcome);
		if (error != ERR_OK)
			return error;
	}
}

/* Feeds the input in pieces whose ends are `cuts`, as a connection would, each time in an exact copy of what is left over and what has come. */
static void feed(const uint8_t *input, const size_t *cuts, unsigned count, struct inflater *inflater, struct outcome *outcome)
{
	struct stream stream = { .inflater = inflater };
	size_t start = 0;
	*outcome = (struct outcome){ .error = ERR_AGAIN };
	for (unsigned i = 0; i < count && outcome->error == ERR_AGAIN; i++) {
		size_t length = cuts[i] - start, consumed = 0;
		uint8_t *copy = malloc(length + (length == 0));
		if (copy == NULL)
			abort();
		memcpy(copy, input + start, length);
		outcome->error = take(&stream, outcome, copy, length, &consumed);
		start += consumed;
		free(copy);
	}
}

static int compare(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	return x < y ? -1 : x > y;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
	static struct inflater *inflater;
	static struct outcome whole, pieces;
	size_t cuts[PIECES_MAX];
	uint64_t random = mix(length + 1, input, length);
	if (inflater == NULL && inflater_create(&inflater) != ERR_OK)
		abort();
	feed(input, &length, 1, inflater, &whole);
	unsigned count = 2 + (unsigned)(random % (PIECES_MAX - 2));
	for (unsigned i = 0; i + 1 < count; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		cuts[i] = (size_t)(random >> 33) % (length + 1);
	}
	cuts[count - 1] = length;
	qsort(cuts, count, sizeof cuts[0], compare);
	feed(input, cuts, count, inflater, &pieces);
	if (whole.error != pieces.error || whole.requests != pieces.requests || memcmp(whole.sums, pieces.sums, whole.requests * sizeof whole.sums[0]) != 0) {
		fprintf(stderr, "whole: %u requests, then %s; in pieces: %u, then %s\n", whole.requests, error_text(whole.error), pieces.requests, error_text(pieces.error));
		abort();
	}
	return 0;
}

/* ---- seeds ---- */

static size_t put_gzip(uint8_t *out, size_t room, const char *text)
{
	struct deflater *deflater = NULL;
	size_t used, made = 0;
	bool ended = false;
	if (deflater_create(&deflater) != ERR_OK)
		abort();
	deflater_run(deflater, (const uint8_t *)text, strlen(text), &used, out, room, &made, true, &ended);
	deflater_destroy(&deflater);
	return made;
}

static size_t put_gzip_request(uint8_t *out, size_t room, bool chunked)
{
	uint8_t body[1024];
	size_t length = put_gzip(body, sizeof body, "{\"records\":[{\"data\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"},");
	length += put_gzip(body + length, sizeof body - length, "{\"data\":[1,2,3,4,5]}]}");
	size_t n = (size_t)snprintf((char *)out, room, "POST /v0/topics/a HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n");
	if (!chunked) {
		n += (size_t)snprintf((char *)out + n, room - n, "Content-Length: %zu\r\n\r\n", length);
		memcpy(out + n, body, length);
		return n + length;
	}
	n += (size_t)snprintf((char *)out + n, room - n, "Transfer-Encoding: chunked\r\n\r\n");
	for (size_t at = 0; at < length; at += 40) {
		size_t size = length - at < 40 ? length - at : 40;
		n += (size_t)snprintf((char *)out + n, room - n, "%zx\r\n", size);
		memcpy(out + n, body + at, size);
		memcpy(out + n + size, "\r\n", 2);
		n += size + 2;
	}
	return n + (size_t)snprintf((char *)out + n, room - n, "0\r\n\r\n");
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t room)
{
	static const char *const texts[] = {
		"GET /v0/health HTTP/1.1\r\nHost: h\r\nAccept: */*;q=0.5, application/problem+json\r\nAccept-Encoding: gzip;q=0.5, *;q=0\r\n\r\n",
		"POST /v0/topics/a HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n{\"records\":[{\"data\":1}]}",
		"POST /v0/topics/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\n{\"rec\r\n13\r\nords\":[{\"data\":1}]}\r\n0\r\nTrailer: v\r\n\r\n",
		"\r\nGET http://h/v0/topics?prefix=a%2Fb HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\nHEAD /v0/topics/a HTTP/1.1\r\nHost: h\r\nIf-None-Match: W/\"5f-1\", \"x\"\r\nIf-None-Match: *\r\n\r\nBREW / HTTP/1.1\r\nHost: h\r\n\r\n",
		"PUT /v0/topics/a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\nDELETE /v0/topics/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
	};
	unsigned kinds = sizeof texts / sizeof texts[0] + 3, kind = index % kinds;
	if (kind == kinds - 1) {
		size_t n = put_gzip_request(out, room, true);
		return n + put_gzip_request(out + n, room - n, false);
	}
	if (kind >= kinds - 3)
		return put_gzip_request(out, room, kind == kinds - 2);
	size_t length = strlen(texts[kind]);
	memcpy(out, texts[kind], length);
	return length;
}
