/*
 * Which sealed files may hold an idempotency key (ARCHITECTURE §7). Blocked Bloom filters of ten bits a key over few slices of time say *new* without a read for all but about one
 * in fifty new keys; who gets files named looks into their footers. Memory: 1.25 to 3 bytes for each key that may still be in its window.
 */
#ifndef TOPICS_KEY_FILTER_H
#define TOPICS_KEY_FILTER_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { KEY_FILTER_HASH = 16 };

/* A sealed file with keys. */
struct key_file {
	uint64_t id;
	uint64_t first_lsn;
	uint64_t keys;      /* how many */
	int64_t newest_ts;  /* of its last frame: every key in it is that old or older */
};

struct key_filter;

enum error key_filter_create(struct key_filter **filter);
void key_filter_destroy(struct key_filter **filter);

/* A file's keys come next, file->keys times key_filter_add; the file may expire or be forgotten between two of them. Files come in the order of the log. ERR_NOMEM: nothing was changed; the file's keys would be missed, so the caller keeps
 * them where they are. */
enum error key_filter_file(struct key_filter *filter, const struct key_file *file);
void key_filter_add(struct key_filter *filter, const uint8_t hash[KEY_FILTER_HASH]);

/* Nobody knows which keys the file has: it may hold any. */
void key_filter_fill(struct key_filter *filter);

/* The files that may hold the key and have keys not older than `not_before`, newest first: up to `room` of them go to `files`; returns how many there are. 0: the key is new. */
size_t key_filter_find(const struct key_filter *filter, const uint8_t hash[KEY_FILTER_HASH], int64_t not_before, struct key_file *files, size_t room);

/* The file is gone. */
void key_filter_forget(struct key_filter *filter, uint64_t id);

/* Every key older than `not_before` is out of every window: what holds only such is freed. */
void key_filter_expire(struct key_filter *filter, int64_t not_before);

size_t key_filter_files(const struct key_filter *filter);
size_t key_filter_bytes(const struct key_filter *filter);

#endif
