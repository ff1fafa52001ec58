/*
 * The request ring of one worker process: single producer (the worker), single consumer (logd), contiguous entries that
 * are begun only when they are complete. See common/README.md for the life of an entry and docs/shared-memory.md for the fields.
 *
 * Three memory objects belong to a worker, each written by one side alone:
 *   request object    worker writes: indices of what is published, read index of completions, the ring's bytes, the large area
 *   completion object logd writes: release positions and marks, completions (common/completion.h)
 *   counters object   worker writes: sleep flag, counters (common/counters.h)
 */
#ifndef TOPICS_RING_H
#define TOPICS_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/request.h"

enum {
	RING_SLOTS = 4096,      /* entries outstanding at most; also the places of the completion ring */
	RING_ENTRY_MAX = 1 << 20, /* a larger request goes through the large area */
};
#define RING_BYTES ((size_t)8 << 20)

/* First page of the request object. Written by the worker alone. */
struct ring_shared {
	/* Bytes published since the beginning; ring offset = tail % RING_BYTES; stored with release after the entry's bytes. */
	_Atomic uint64_t tail;
	_Atomic uint64_t published;  /* entries published, pads not counted; stored (release) before tail */
	/* Index into the completion ring (common/completion.h). Here and not in the counters, which outlive the process: what logd reads of a dead
	 * worker stands still. */
	_Atomic uint64_t completions_read;
	uint8_t reserved[4072];
};
_Static_assert(sizeof(struct ring_shared) == 4096, "one page");
/* Then RING_BYTES of ring, then the large area. */
#define RING_DATA_OFFSET ((size_t)4096)
#define RING_LARGE_OFFSET (RING_DATA_OFFSET + RING_BYTES)

struct ring_place { uint64_t position, count; };

/* First part of the completion object. Written by logd alone. */
struct ring_release {
	_Atomic uint64_t released;      /* every byte before it is free again; rises in ring order; release */
	_Atomic uint64_t released_count;/* entries before it; release */
	/* Which of `places` counts (lowest bit); stored (release) after it was written: a death in between leaves the other. */
	_Atomic uint64_t place;
	_Atomic uint64_t taking;        /* 1 + number of the entry that is being taken, 0 = none (poison, ARCHITECTURE §5) */
	_Atomic uint64_t suspect;       /* 1 + number of the entry that was being taken at the last death by a fault that was at a taking */
	_Atomic uint32_t suspect_deaths;/* such deaths in a row */
	uint32_t reserved0;
	struct ring_place places[2];    /* for the next logd: released and released_count, both of one moment */
	uint8_t reserved[4096 - 48 - 32];
	_Atomic uint64_t marks[RING_SLOTS]; /* entry n is released when marks[n % RING_SLOTS] == n + 1; release */
};
_Static_assert(offsetof(struct ring_release, marks) == 4096, "the marks begin at a page");

/* ---- producer: the worker ---- */

struct ring_producer; /* private handle */

/* `request` maps the request object (writable), `release` the completion object (read-only); neither is owned. */
enum error ring_producer_create(struct ring_producer **producer, void *request, size_t large_bytes, const struct ring_release *release);
void ring_producer_destroy(struct ring_producer **producer);

/* Contiguous room for an entry of up to `length` bytes (<= RING_ENTRY_MAX, multiple of 8), or NULL when the ring is full now. Writes
 * nothing that logd looks at until ring_publish. A second reserve without publish replaces the first. */
void *ring_reserve(struct ring_producer *producer, size_t length);

/* The large area if it is free (the last request that used it is released), else NULL. *size is its length. */
void *ring_reserve_large(struct ring_producer *producer, size_t *size);

/* Publishes the reserved entry, now `length` <= reserved bytes long (multiple of 8; struct request first). `large`: it uses the large area.
 * The caller then looks whether logd must be woken. */
void ring_publish(struct ring_producer *producer, size_t length, bool large);

/* Entries published and not released. */
uint64_t ring_outstanding(const struct ring_producer *producer);

/* ---- consumer: logd ---- */

struct ring_consumer;

/* A new logd goes on where `release` (its own page, written by its predecessor) says. `request` is mapped read-only, `release` writable. */
enum error ring_consumer_create(struct ring_consumer **consumer, const void *request, size_t large_bytes, struct ring_release *release);
void ring_consumer_destroy(struct ring_consumer **consumer);

/* True if something is published that has not been taken. */
bool ring_pending(const struct ring_consumer *consumer);

/* Number of the next entry; every one before it was taken, passed over or skipped. */
uint64_t ring_next(const struct ring_consumer *consumer);
/* Number of the oldest entry that is not released. */
uint64_t ring_released(const struct ring_consumer *consumer);
/*
 * Number behind the last entry that is published now, as the worker says it, between the next entry and the last one that there are slots for.
 * A new logd asks once, before anything else: no logd before it can have seen what comes from there on.
 */
uint64_t ring_published(const struct ring_consumer *consumer);

/*
 * Looks at the next entry: copies its head (only the head) into *head and gives its number. ERR_AGAIN: nothing there.
 * ERR_PROTOCOL: the ring breaks its layout (length, bounds, indices going back or too far): the worker must be cut off. Pads are skipped.
 * The position moves on only with ring_take.
 */
enum error ring_peek(struct ring_consumer *consumer, struct request *head, uint64_t *number);

/* Copies the parts behind the head (request_size(head) - 128 bytes; ring or large area) into `out` and moves on. The one read of these
 * bytes. */
enum error ring_take(struct ring_consumer *consumer, const struct request *head, uint8_t *out);

/* True if entry `number` was released by an earlier logd (only meaningful while catching up after a start). Then ring_skip moves on. */
bool ring_is_released(const struct ring_consumer *consumer, uint64_t number);
void ring_skip(struct ring_consumer *consumer, const struct request *head);

/* Moves on without a look at the entry's bytes; it is released by ring_release like one that was taken. */
void ring_pass_over(struct ring_consumer *consumer, const struct request *head);

/* Marks entry `number` released; space comes back in order. */
void ring_release(struct ring_consumer *consumer, uint64_t number);

/* Notes in the shared page that the entry is being taken (0: none). */
void ring_note_taking(struct ring_consumer *consumer, uint64_t number_plus_one);

/* A new logd after a death by a fault: counts it for the entry that was being taken, if one was. */
void ring_note_death(struct ring_consumer *consumer);

/* Deaths by a fault while entry `number` was being taken. */
uint32_t ring_deaths(const struct ring_consumer *consumer, uint64_t number);

#endif
