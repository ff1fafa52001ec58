/*
 * One request and its answer. The HTTP layer (connection.c, http.c) makes an exchange when a head is complete, routes it, gathers its body, and calls the
 * route's handler; the handler answers at once or parks it. Answers of a connection leave in the order of its requests, whoever is ready first.
 */
#ifndef TOPICS_EXCHANGE_H
#define TOPICS_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct worker;
struct connection;
struct inflater;
struct route;

struct slice { const char *at; size_t length; };

enum method { METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_PATCH, METHOD_DELETE, METHOD_OPTIONS, METHOD_OTHER };

/* A growable run of bytes that an answer is rendered into. */
struct buffer { uint8_t *bytes; size_t length; size_t room; };
enum error buffer_reserve(struct buffer *buffer, size_t more); /* at least `more` bytes beyond length */
enum error buffer_grow(struct buffer *buffer, size_t room);    /* to exactly this room, which is more than it has */
void buffer_free(struct buffer *buffer);

enum { EXCHANGE_HEAD_ROOM = 2048, EXCHANGE_ANSWER_HEAD = 2048 };
struct exchange {
	/* the request; pointers lead into memory of the exchange, but `body` only until the handler returns (exchange_keep_body) */
	enum method method;
	int minor;                    /* HTTP/1.x */
	const struct route *route;
	struct slice path;            /* as sent, without query */
	struct slice query;           /* as sent, without '?' */
	char name[2][256];            /* decoded path parameters (topic, seq text, ...), checked for length only */
	size_t name_length[2];
	struct slice content_type, content_encoding, accept, accept_encoding, authorization, idempotency_key, if_none_match;
	const uint8_t *body;
	size_t body_length;
	struct buffer body_buffer;    /* owns the body when it came in pieces, was inflated or was kept */
	bool unpack;                  /* the body comes as gzip */
	bool drop_body;               /* the route has no use for one */
	struct inflater *inflater;    /* of the worker's pool, while such a body comes */
	char head_room[EXCHANGE_HEAD_ROOM];
	char *head_large;             /* owned: a head that does not fit there */
	uint64_t started_us;          /* CLOCK_MONOTONIC, when the head was complete */

	/* the answer */
	struct buffer answer;         /* body rendered so far */
	char headers[1024];           /* extra header lines, each with CRLF */
	size_t headers_length;
	int status;                   /* once it has ended; 0 before */
	const char *answer_type;      /* its Content-Type; static text */
	bool gzipped;                 /* `answer` is gzip */
	struct exchange *next_compressed;
	int64_t wal_us, sync_us, throttle_us; /* for `performance` and Server-Timing; -1: does not apply */
	int64_t records_scanned;      /* -1: does not apply */
	char answer_head[EXCHANGE_ANSWER_HEAD];
	size_t answer_head_length;
	size_t sent;                  /* bytes of head and body that have left */

	/* what a handler keeps from one call to the next; exchange_free releases it */
	void *state;
	void (*release)(struct exchange *exchange);

	/* parking: set by exchange_park */
	void *parked;                 /* the handler's own */
	void (*cancel)(struct exchange *exchange); /* the connection is gone: forget it (release `parked`); no answer is sent */
	void (*hurry)(struct exchange *exchange);  /* NULL, or: it has become `hurried` and waits for something at leisure, which ends now */

	struct worker *worker;
	struct connection *connection;
	struct exchange *next;        /* in the connection's order */
	size_t charged;               /* to the worker's budget: exchange_account */
	bool done;                    /* head and body of the answer are ready to leave */
	bool close_after;
	bool hurried;                 /* the client sends nothing more and may be gone: nothing is waited for at leisure */
	bool out_of_memory;           /* while rendering */
	bool discard;                 /* answered before its body came: what comes of it is dropped */
	bool partial;                 /* its catalogue showed only what is proven when exchange_catalogue gave it: what it does not have may be there */
};

/* A fresh exchange from the worker's pool, NULL when memory is out; and back into it. */
struct exchange *exchange_new(struct worker *worker, struct connection *connection);
void exchange_free(struct exchange **exchange);

/* Tells the worker's budget what this exchange holds now: its body so far, and its answer as far as it has been rendered. */
void exchange_account(struct exchange *exchange);

/* Copies the body if it does not belong to the exchange yet: for a handler that parks and will read it again. ERR_NOMEM. */
enum error exchange_keep_body(struct exchange *exchange);

/* Parks until a new catalogue has come, then calls the handler again; 503 when none comes in time. */
void exchange_retry_on_catalogue(struct exchange *exchange, void (*handler)(struct exchange *exchange));

/* 503 not_ready with how far recovery is. */
void exchange_not_ready(struct exchange *exchange);

/* 404; 503 not_ready from a catalogue that is partial. */
void exchange_topic_not_found(struct exchange *exchange);
/* 503 not_ready: a topic or seq past what is proven. */
void exchange_not_proven(struct exchange *exchange);

/* The catalogue to answer from; NULL: the exchange has been parked for `handler` (and is refused when none comes in time). */
struct catalogue;
const struct catalogue *exchange_catalogue(struct exchange *exchange, void (*handler)(struct exchange *exchange));

/* Appends to the answer. When memory is out they drop it, and the exchange ends with 500. */
void answer_bytes(struct exchange *exchange, const void *bytes, size_t length);
void answer_text(struct exchange *exchange, const char *format, ...) __attribute__((format(printf, 2, 3)));
void answer_string(struct exchange *exchange, const char *text, size_t length);

/* Adds a header line to the answer. */
void exchange_header(struct exchange *exchange, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));

/*
 * Ends the exchange with the JSON object in `answer`, whose last '}' has not been written: adds ,"performance":{…}} and the Server-Timing header. The
 * exchange is gone after this call (as after the other enders).
 */
void exchange_success(struct exchange *exchange, int status);

/* Ends it with the bytes in `answer` as they are. */
void exchange_plain(struct exchange *exchange, int status, const char *content_type);

/* Ends it with the error envelope (or problem+json). `detail`: a JSON object's text or NULL. 429 and 503 get Retry-After. */
void exchange_error(struct exchange *exchange, enum error error, const char *detail, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The handler will end it later. */
void exchange_park(struct exchange *exchange, void *parked, void (*cancel)(struct exchange *exchange));

/* Value of a query parameter, form-decoded into `out`: ERR_OK, ERR_AGAIN (absent), ERR_INVALID_REQUEST (too long, bad escape). The first counts. */
enum error exchange_query(const struct exchange *exchange, const char *name, char *out, size_t room, size_t *length);
/* The same as a bool or an unsigned integer; absent leaves *value. On ERR_INVALID_REQUEST the error has been answered. */
enum error exchange_query_bool(struct exchange *exchange, const char *name, bool *value);
enum error exchange_query_u64(struct exchange *exchange, const char *name, uint64_t *value);

#endif
