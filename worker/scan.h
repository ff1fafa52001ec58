/*
 * The record scanner: the body of an append, from JSON as it came to records as they will lie on disk (docs/format.md §6). It validates everything (RFC
 * 8259, strict UTF-8, limits), keeps the bytes of `data` and `meta` as they are, decodes tags and nodes, and builds no tree.
 *
 * It has two stages where the processor can: vector instructions find the tokens (scan_index.h), then a walk over the tokens slices the records
 * (scan_walk.h). What that does not accept, the one-pass form (scan_one_pass.h) looks at, which finds the fault and its place; so there is one place that
 * words refusals.
 */
#ifndef TOPICS_SCAN_H
#define TOPICS_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/settings.h"
#include "worker/json.h"

enum { SCAN_KEY_MAX = 256, SCAN_EPOCH_MAX = 1024, SCAN_META_KEYS = 64, SCAN_NODE_ROOM = 65536 /* TOPICS_MAX_NODE_BYTES is at most this */ };

/* What stands beside the records. */
struct scanned {
	uint32_t count;
	uint32_t records_length;  /* bytes written */
	uint64_t payload;         /* data + meta bytes */
	bool has_node, has_key, has_create, create, has_expect_head, has_expect_epoch, wait, has_config;
	char *node;               /* the scanner's, until it is used again */
	size_t node_length;
	char key[SCAN_KEY_MAX];
	size_t key_length;
	uint64_t expect_head;
	char epoch[SCAN_EPOCH_MAX];
	size_t epoch_length;
	const uint8_t *config;    /* as sent */
	size_t config_length;
	size_t config_offset;     /* in the body */
};

/* How a body is scanned. All forms give the same answers. */
enum scan_form {
	SCAN_ONE_PASS,
	SCAN_PORTABLE, /* two stages without special instructions: what the next two are compared with */
	SCAN_SSE,      /* SSE4.2 and PCLMUL */
	SCAN_AVX2,
};

/* A worker's scanner: its form and the memory that it works in, so that scanning allocates nothing. */
struct scanner;

/* With the form that is fastest on this processor. ERR_NOMEM. */
enum error scanner_create(struct scanner **scanner);
void scanner_destroy(struct scanner **scanner);

/* Chooses another form; false if this processor cannot run it. */
bool scanner_use(struct scanner *scanner, enum scan_form form);

/* Room that the records of a body of this length may need. */
size_t scan_room(size_t body_length, const struct settings *settings);

/*
 * Scans `body` and writes the records to `out`, which has scan_room bytes and is 8-aligned; fills *scanned. ERR_INVALID_REQUEST, ERR_BATCH_TOO_LARGE,
 * ERR_RECORD_TOO_LARGE with *error filled; then what was written to `out` means nothing.
 */
enum error scan_append(struct scanner *scanner, const uint8_t *body, size_t length, const struct settings *settings, uint8_t *out, struct scanned *scanned,
                       struct json_error *error);

#endif
