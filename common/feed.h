/*
 * The commit feed: a hint that something happened to a topic; the catalogue is the truth. One overwriting ring of numbered entries that
 * logd writes and every worker reads at its own pace; who was overrun compares the heads of what it watches.
 */
#ifndef TOPICS_FEED_H
#define TOPICS_FEED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { FEED_SLOTS = 65536 };

enum feed_event { FEED_HEAD = 1, FEED_DELETED = 2, FEED_FLOOR = 3, FEED_CONFIG = 4, FEED_FILE_RETIRED = 5, FEED_CREATED = 6 };

struct feed_entry {           /* what a reader gets */
	uint64_t number;
	uint64_t topic;           /* or file id */
	uint64_t value;           /* head, floor */
	uint32_t event;
	uint32_t slot;            /* of the catalogue; a hint */
};

struct feed_slot {            /* 32 bytes; `number` is written first as 0 (release fence), last as the entry's number + 1 (release) */
	_Atomic uint64_t number;
	_Atomic uint64_t topic;
	_Atomic uint64_t value;
	_Atomic uint64_t event_and_slot;
};

struct feed_shared {
	_Atomic uint64_t written; /* entries published since the beginning; release */
	_Atomic uint64_t put;     /* entries written into slots since the beginning; logd's own */
	uint8_t reserved[4080];
	struct feed_slot slots[FEED_SLOTS];
};

/* logd; the entry's number is given here. Goes on at the number that stands there (a new logd jumps ahead by FEED_SLOTS: everybody counts
 * as overrun). */
void feed_put(struct feed_shared *feed, const struct feed_entry *entry);
bool feed_publish(struct feed_shared *feed); /* one store for all put since; false: there were none */
void feed_overrun_all(struct feed_shared *feed);

/* Worker: `*position` is the next number it wants. ERR_AGAIN: nothing new. ERR_RANGE: overrun; *position is now the newest. */
enum error feed_read(const struct feed_shared *feed, uint64_t *position, struct feed_entry *entry);

#endif
