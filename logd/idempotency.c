#include "logd/idempotency.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

enum { BUCKETS_FIRST = 4096 };

struct keys {
	struct key_entry **buckets;
	uint64_t bucket_count; /* a power of two */
	uint64_t count;
	uint64_t hand;         /* where the sweep goes on */
	struct key_entry *spare; /* for the next keys_put, NULL: none was provided */
};

enum error keys_create(struct keys **out)
{
	struct keys *keys = calloc(1, sizeof *keys);
	if (keys == NULL)
		return ERR_NOMEM;
	keys->bucket_count = BUCKETS_FIRST;
	keys->buckets = calloc(keys->bucket_count, sizeof(struct key_entry *));
	if (keys->buckets == NULL) {
		free(keys);
		return ERR_NOMEM;
	}
	*out = keys;
	return ERR_OK;
}

void keys_destroy(struct keys **out)
{
	struct keys *keys = *out;
	if (keys == NULL)
		return;
	for (uint64_t i = 0; i < keys->bucket_count; i++) {
		for (struct key_entry *entry = keys->buckets[i], *next; entry != NULL; entry = next) {
			next = entry->next;
			free(entry);
		}
	}
	free(keys->spare);
	free(keys->buckets);
	free(keys);
	*out = NULL;
}

void keys_hash(uint8_t out[KEY_HASH], uint64_t topic, const void *key, uint32_t length)
{
	uint8_t secret[crypto_generichash_KEYBYTES_MIN] = { 0 };
	put_u64(secret, topic);
	crypto_generichash(out, KEY_HASH, key, length, secret, sizeof secret);
}

static struct key_entry **bucket_of(const struct keys *keys, const uint8_t hash[KEY_HASH])
{
	return &keys->buckets[get_u64(hash) & (keys->bucket_count - 1)];
}

static struct key_entry **place_of(const struct keys *keys, uint64_t topic, const uint8_t hash[KEY_HASH])
{
	struct key_entry **at = bucket_of(keys, hash);
	while (*at != NULL && ((*at)->topic != topic || memcmp((*at)->hash, hash, KEY_HASH) != 0))
		at = &(*at)->next;
	return at;
}

struct key_entry *keys_find(const struct keys *keys, uint64_t topic, const uint8_t hash[KEY_HASH])
{
	return *place_of(keys, topic, hash);
}

static void grow(struct keys *keys)
{
	struct keys bigger = { .bucket_count = keys->bucket_count * 2, .count = keys->count, .spare = keys->spare };
	bigger.buckets = calloc(bigger.bucket_count, sizeof(struct key_entry *));
	if (bigger.buckets == NULL) /* longer chains then */
		return;
	for (uint64_t i = 0; i < keys->bucket_count; i++) {
		for (struct key_entry *entry = keys->buckets[i], *next; entry != NULL; entry = next) {
			struct key_entry **at = bucket_of(&bigger, entry->hash);
			next = entry->next;
			entry->next = *at;
			*at = entry;
		}
	}
	free(keys->buckets);
	*keys = bigger;
}

bool keys_provide(struct keys *keys)
{
	if (keys->spare == NULL)
		keys->spare = malloc(sizeof *keys->spare);
	return keys->spare != NULL;
}

enum error keys_put(struct keys *keys, const struct key_entry *entry, struct key_entry *replaced)
{
	struct key_entry **at = place_of(keys, entry->topic, entry->hash);
	if (replaced != NULL)
		*replaced = *at != NULL ? **at : (struct key_entry){ 0 };
	if (*at != NULL) {
		struct key_entry *next = (*at)->next;
		**at = *entry;
		(*at)->next = next;
		return ERR_OK;
	}
	if (!keys_provide(keys))
		return ERR_NOMEM;
	struct key_entry *made = keys->spare;
	keys->spare = NULL;
	*made = *entry;
	made->next = NULL;
	*at = made;
	if (++keys->count > keys->bucket_count)
		grow(keys);
	return ERR_OK;
}

static void remove_at(struct keys *keys, struct key_entry **at)
{
	struct key_entry *gone = *at;
	*at = gone->next;
	free(gone);
	keys->count--;
}

void keys_remove(struct keys *keys, uint64_t topic, const uint8_t hash[KEY_HASH])
{
	struct key_entry **at = place_of(keys, topic, hash);
	if (*at != NULL)
		remove_at(keys, at);
}

void keys_sweep(struct keys *keys, unsigned buckets, int (*expired)(void *context, const struct key_entry *entry), void *context)
{
	for (unsigned i = 0; i < buckets && keys->count > 0; i++) {
		struct key_entry **at = &keys->buckets[keys->hand++ & (keys->bucket_count - 1)];
		while (*at != NULL) {
			if (expired(context, *at))
				remove_at(keys, at);
			else
				at = &(*at)->next;
		}
	}
}

enum error keys_each(const struct keys *keys, enum error (*each)(void *context, const struct key_entry *entry), void *context)
{
	for (uint64_t i = 0; i < keys->bucket_count; i++) {
		for (const struct key_entry *entry = keys->buckets[i]; entry != NULL; entry = entry->next) {
			enum error error = each(context, entry);
			if (error != ERR_OK)
				return error;
		}
	}
	return ERR_OK;
}

uint64_t keys_count(const struct keys *keys)
{
	return keys->count;
}
