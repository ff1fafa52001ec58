/*
 * What a worker asks of logd: the bytes of one entry of the request ring (docs/shared-memory.md). logd trusts none of
 * them: it copies first and calls request_check on its copy (I-9). Native byte order, 8-aligned.
 *
 *   head (128 bytes) | body | topic name | configuration | idempotency key | batch node, each padded with zeros to 8
 *
 * The body comes first: logd copies it to its final place in a frame, and the worker's scanner knows the others only when it has seen all of it.
 *
 * The body of an append is its records (docs/format.md §6) with CRC 0 and without the table of offsets.
 */
#ifndef TOPICS_REQUEST_H
#define TOPICS_REQUEST_H

#include <stdint.h>

#include "common/error.h"

enum request_type {
	REQUEST_PAD = 0,           /* the rest of the ring up to its end is not used */
	REQUEST_APPEND = 1,
	REQUEST_TOPIC_PUT = 2,     /* configuration = the whole new one */
	REQUEST_TOPIC_PATCH = 3,   /* configuration and `mask` of the fields to change */
	REQUEST_TOPIC_DELETE = 4,
	REQUEST_TYPE_END
};

enum request_flags {
	REQUEST_LARGE = 1,           /* everything after the head lies at the start of the large area */
	REQUEST_CREATE_TRUE = 2,     /* append: `create: true` given */
	REQUEST_CREATE_FALSE = 4,    /* append: `create: false` given */
	REQUEST_EXPECT_HEAD = 8,     /* append: expect_head_seq holds */
	REQUEST_EXPECT_EPOCH = 16,   /* append: expect_epoch holds */
	REQUEST_HAS_CONFIG = 32,     /* append: configuration for the topic that it creates; put: always */
	REQUEST_HAS_KEY = 64,
	REQUEST_HAS_NODE = 128,      /* append: the batch has a node, which may be empty */
	REQUEST_IF_EMPTY = 256,      /* delete */
	REQUEST_TYPE_GIVEN = 512,    /* put: `type` was in the body, so another type is a conflict */
	REQUEST_WAIT = 1024,         /* disable_backpressure: wait for room instead of 429 */
	REQUEST_FLAGS_ALL = 2047,
};

struct request {
	uint32_t length;       /* of the ring entry: head and what follows it there, a multiple of 8 */
	uint16_t type;
	uint16_t flags;
	uint64_t id;           /* never repeated within an incarnation, rises */
	uint32_t name_length;
	uint32_t config_length;
	uint32_t key_length;
	uint32_t node_length;
	uint32_t body_length;  /* records, a multiple of 8 */
	uint32_t count;        /* records in it */
	uint64_t payload;      /* data + meta bytes of the records */
	uint64_t expect_head;
	uint64_t expect_epoch;
	uint32_t mask;         /* patch: fields to change */
	uint32_t reserved0;
	uint64_t reserved[7];
};
_Static_assert(sizeof(struct request) == 128, "the head of a request is 128 bytes");

/* A checked request; the pointers lead into logd's copy. */
struct request_view {
	struct request head;
	const uint8_t *name;
	const uint8_t *config;
	const uint8_t *key;
	const uint8_t *node;
	const uint8_t *body;
};

/* Bytes of head and all parts with these lengths (what `length` says unless REQUEST_LARGE). */
uint64_t request_size(const struct request *head);

/* Places of the parts behind the head, for who writes them: offsets from the entry's (or, LARGE, the area's) start. */
struct request_layout { uint64_t body, name, config, key, node, end; };
struct request_layout request_layout(const struct request *head);

/*
 * Checks the private copy of an entry: `head` already copied, `parts` the copied bytes behind it, `parts_length` how many. ERR_PROTOCOL
 * if anything is not as it must be: type, flags, lengths, name, configuration, and for an append 1 <= count, every record well-formed,
 * `payload` right. Limits that are settings are the engine's to check.
 */
enum error request_check(struct request_view *view, const struct request *head, const uint8_t *parts, uint64_t parts_length);

#endif
