/*
 * The record scanner: the body of an append in one pass, from JSON as it came to records as they will lie on disk (docs/format.md §6). It validates everything (RFC 8259,
 * strict UTF-8, limits), keeps the bytes of `data` and `meta` as they are, decodes tags and nodes, and builds no tree.
 */
#ifndef TOPICS_SCAN_H
#define TOPICS_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/settings.h"
#include "worker/json.h"

enum { SCAN_KEY_MAX = 256, SCAN_EPOCH_MAX = 64, SCAN_META_KEYS = 64, SCAN_NODE_ROOM = 65536 /* TOPICS_MAX_NODE_BYTES is at most this */ };

/* What stands beside the records. */
struct scanned {
	uint32_t count;
	uint32_t records_length;  /* bytes written */
	uint64_t payload;         /* data + meta bytes */
	bool has_node, has_key, has_create, create, has_expect_head, has_expect_epoch, wait, has_config;
	char *node;               /* given by the caller: room for settings->max_node_bytes */
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

/* Room that the records of a body of this length may need. */
size_t scan_room(size_t body_length, const struct settings *settings);

/*
 * Scans `body` and writes the records to `out`, which has scan_room bytes and is 8-aligned. ERR_INVALID_REQUEST, ERR_BATCH_TOO_LARGE, ERR_RECORD_TOO_LARGE with *error
 * filled; then what was written to `out` means nothing.
 */
enum error scan_append(const uint8_t *body, size_t length, const struct settings *settings, uint8_t *out, struct scanned *scanned,
                       struct json_error *error);

#endif
