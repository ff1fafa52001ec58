/*
 * HTTP/1.1 framing (RFC 9112): heads and bodies. The one place that knows http-parser, which tokenises the head; strictness that it lacks is added before and after it, and
 * bodies are framed here. Any doubt about framing is an error after which the connection closes (FAULTS G1 to G7, G11). Neither allocates nor reads.
 */
#ifndef TOPICS_HTTP_H
#define TOPICS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/exchange.h"

enum { HTTP_HEAD_MAX = 32 * 1024, HTTP_TARGET_MAX = 8 * 1024, HTTP_FIELDS_MAX = 100, HTTP_CHUNK_LINE_MAX = 1024, HTTP_TRAILERS_MAX = 8 * 1024 };

struct http_field { struct slice name, value; };

struct http_head {
	enum method method;
	struct slice target;
	int minor;
	unsigned field_count;
	struct http_field fields[HTTP_FIELDS_MAX];
	bool has_length, chunked, close, keep_alive, expect_continue, bad_expectation;
	bool connect, h2c;            /* CONNECT; an Upgrade to h2c was asked for (FAULTS G11) */
	bool repeated;        /* one of the list fields below stands more than once: the slice is the first of them (http_list_join) */
	uint64_t length;
	/* the fields that handlers want; length 0 with at NULL: absent */
	struct slice host, content_type, content_encoding, accept, accept_encoding, authorization, idempotency_key, if_none_match;
};

/*
 * Parses the head that begins at `bytes`. ERR_AGAIN: need more. ERR_OK: *consumed is its length with the empty line. Any other error is the answer to give before closing,
 * *problem says why; then `method` (METHOD_HEAD or another) and `accept` (the first, maybe with space around it) of `head` hold what could be found, and nothing else of it counts.
 * Empty lines before the request line are passed over (RFC 9112 2.2).
 */
enum error http_head_parse(const char *bytes, size_t length, struct http_head *head, size_t *consumed, const char **problem);

/* A head that does not come whole is refused: `method` and `accept` as above. */
void http_head_salvage(const char *bytes, size_t length, struct http_head *head);

/* The framing of one body. */
struct http_body {
	bool chunked;
	bool done;
	uint64_t left;        /* of the length, or of the chunk at hand */
	int state;
	uint64_t taken;       /* payload bytes so far */
	size_t trailers;      /* bytes of them so far */
};

/*
 * The value of the list field `name` with all its lines joined by commas (RFC 9110 5.2), written to `out`, which has room for all of the head. The field is there.
 */
struct slice http_list_join(const struct http_head *head, const char *name, char *out);

void http_body_begin(struct http_body *body, const struct http_head *head);

/*
 * Finds the next run of payload in `bytes`: *payload and *payload_length (may be 0), *consumed bytes of input were dealt with, framing included. ERR_OK: call again with what
 * is left while body->done is false and *consumed > 0; ERR_INVALID_REQUEST: broken framing, *problem says how.
 */
enum error http_body_next(struct http_body *body, const char *bytes, size_t length, size_t *consumed, const char **payload, size_t *payload_length,
                          const char **problem);

/* Puts the last `length` bytes of the run that was found last back: they will be found again. */
void http_body_unread(struct http_body *body, size_t length);

#endif
