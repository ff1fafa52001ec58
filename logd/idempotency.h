/*
 * Idempotency keys of the files that are not sealed (ARCHITECTURE §7): a keyed 128-bit hash of epoch and key, and what the first write got. Age is counted in `ts`.
 */
#ifndef TOPICS_IDEMPOTENCY_H
#define TOPICS_IDEMPOTENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"

enum { KEY_HASH = 16 };

struct key_entry {
	uint64_t topic;
	uint8_t hash[KEY_HASH];
	uint64_t first_seq;
	uint32_t count;
	int64_t ts;
	uint64_t lsn;
	struct key_entry *next;
};

struct keys;

enum error keys_create(struct keys **keys);
void keys_destroy(struct keys **keys);

/* BLAKE2b of the key's bytes, keyed by the topic id: the same in every run, so that it can stand in checkpoints and footers. */
void keys_hash(uint8_t out[KEY_HASH], uint64_t topic, const void *key, uint32_t length);

struct key_entry *keys_find(const struct keys *keys, uint64_t topic, const uint8_t hash[KEY_HASH]);

/* Adds, or replaces what stands under the same hash; *replaced (may be NULL) gets what stood there, with topic 0 if nothing did. */
enum error keys_put(struct keys *keys, const struct key_entry *entry, struct key_entry *replaced);
/* Makes sure that the next keys_put does not fail; false: there is no memory. */
bool keys_provide(struct keys *keys);
void keys_remove(struct keys *keys, uint64_t topic, const uint8_t hash[KEY_HASH]);

/* Goes on with a walk over the table, `buckets` of them, and removes what `expired` says. */
void keys_sweep(struct keys *keys, unsigned buckets, int (*expired)(void *context, const struct key_entry *entry), void *context);

/* Every entry; stops at an error and returns it. */
enum error keys_each(const struct keys *keys, enum error (*each)(void *context, const struct key_entry *entry), void *context);
uint64_t keys_count(const struct keys *keys);

#endif
