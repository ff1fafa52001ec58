/*
 * A topic's configuration: the 17 fields of API.md §2 (`durable` is derived), and its bytes (docs/format.md §5) as they
 * stand in the log, in requests and in the catalogue.
 */
#ifndef TOPICS_TOPIC_CONFIG_H
#define TOPICS_TOPIC_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum {
	TOPIC_NAME_MAX = 255,         /* bytes */
	TOPIC_CONFIG_FIXED = 72,      /* bytes without dead_letter */
	TOPIC_CONFIG_MAX = 72 + 256,  /* bytes at most */
};

enum topic_type { TOPIC_LOG = 0, TOPIC_QUEUE = 1 };
enum durability { DURABILITY_EPHEMERAL = 0, DURABILITY_MEMORY = 1, DURABILITY_DISK = 2, DURABILITY_FSYNC = 3 };
enum discard { DISCARD_OLD = 0, DISCARD_REJECT = 1 };

struct topic_config {
	enum topic_type type;
	enum durability durability;
	enum discard discard;
	bool has_priority; /* false: null */
	bool auto_priority;
	bool auto_create;
	bool dedupe_node;
	bool leases_durable;
	int32_t priority;
	uint64_t ttl_ms;
	uint64_t cap_records;
	uint64_t cap_bytes;
	uint64_t idempotency_window_ms;
	uint64_t lease_ms;
	uint64_t claim_jitter_ms;
	uint64_t max_deliveries;
	uint32_t dead_letter_length; /* 0: null */
	char dead_letter[TOPIC_NAME_MAX + 1];
};

/* Fields that a PATCH names, a bit each; a PATCH request carries the mask beside a whole configuration. */
enum topic_config_field {
	CONFIG_TYPE = 1 << 0,
	CONFIG_DURABILITY = 1 << 1,
	CONFIG_TTL_MS = 1 << 2,
	CONFIG_CAP_RECORDS = 1 << 3,
	CONFIG_CAP_BYTES = 1 << 4,
	CONFIG_DISCARD = 1 << 5,
	CONFIG_PRIORITY = 1 << 6,
	CONFIG_AUTO_PRIORITY = 1 << 7,
	CONFIG_AUTO_CREATE = 1 << 8,
	CONFIG_IDEMPOTENCY_WINDOW_MS = 1 << 9,
	CONFIG_DEDUPE_NODE = 1 << 10,
	CONFIG_LEASE_MS = 1 << 11,
	CONFIG_CLAIM_JITTER_MS = 1 << 12,
	CONFIG_MAX_DELIVERIES = 1 << 13,
	CONFIG_DEAD_LETTER = 1 << 14,
	CONFIG_LEASES_DURABLE = 1 << 15,
};

/* The defaults of API.md §2. */
void topic_config_default(struct topic_config *config);

/* Copies the fields in `mask` (bits of enum topic_config_field) from `change` into `config`. */
void topic_config_merge(struct topic_config *config, const struct topic_config *change, uint32_t mask);

/* Writes the bytes, at most TOPIC_CONFIG_MAX, into `out`; returns their number, a multiple of 8. */
size_t topic_config_encode(const struct topic_config *config, uint8_t *out);

/* Reads exactly `length` bytes; they may come from a hostile process or a damaged file. ERR_CORRUPT if they are not a
 * configuration whose every value is in its range (version, enums, dead letter name valid, undefined flags 0). */
enum error topic_config_decode(struct topic_config *config, const uint8_t *bytes, size_t length);

bool topic_config_equal(const struct topic_config *a, const struct topic_config *b);

/* API.md §1 "topic name": ^[A-Za-z0-9][A-Za-z0-9._:-]{0,254}$ */
bool topic_name_valid(const char *name, size_t length);

/* The same and, after the first character, '>'. */
bool router_name_valid(const char *name, size_t length);

#endif
