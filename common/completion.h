/*
 * The completion ring of one worker process: logd writes places and bodies, the worker reads and says in its request
 * object how far it has read. logd never trusts that index further than its own: it is clamped, and going back or past is ERR_PROTOCOL.
 */
#ifndef TOPICS_COMPLETION_H
#define TOPICS_COMPLETION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/ring.h"

enum { COMPLETION_BODY_MAX = 64 * 1024 };
/* Bytes of the ring of bodies, sparse: room for a largest body per place and for what is left free where the ring ends, so a free place
 * always has room.
 * It begins anew at its start whenever the worker has read everything, so that only what is really outstanding takes memory. */
#define COMPLETION_BODIES ((size_t)COMPLETION_BODY_MAX * (RING_SLOTS + 1))

enum completion_flags {
	COMPLETION_CREATED = 1,
	COMPLETION_DEDUPED = 2,
	COMPLETION_MORE = 4, /* a further place follows for this request */
};

/* One answer: 64 bytes. */
struct completion {
	uint64_t request_id;
	uint16_t type;        /* enum request_type */
	uint16_t status;      /* enum error; 0 = success */
	uint32_t flags;
	uint64_t topic;       /* topic id; its text is the epoch */
	uint64_t first_seq;   /* append; delete topic: 1 if it was there */
	uint64_t head;        /* head after this request; head_mismatch: the head that is */
	uint64_t durable;     /* durable seq */
	uint32_t count;       /* append: records */
	uint32_t sync_us;     /* time that the answer waited for a sync, 0 if it did not */
	uint32_t body_length; /* bytes in the ring of bodies; errors: a message for a person */
	uint32_t write_us;    /* time of the log write */
};
_Static_assert(sizeof(struct completion) == 64, "a completion's head is 64 bytes");

/* The completion object: struct ring_release, then this, then COMPLETION_BODIES bytes. Written by logd alone. */
struct completion_shared {
	_Atomic uint64_t written;   /* places written since the beginning; release, after place and body */
	_Atomic uint64_t body_written; /* bytes of bodies written since the beginning (logd's own, for the next logd) */
	uint8_t reserved[4080];
	struct completion places[RING_SLOTS];
	uint64_t body_at[RING_SLOTS]; /* where each place's body begins (bytes since the beginning) */
	/* 1 + number of the answer that the place holds, stored before the place is written: tells an answer that was published from one
	 * that a dead logd only wrote. */
	_Atomic uint64_t numbers[RING_SLOTS];
};
size_t completion_object_size(void);
#define COMPLETION_OFFSET (sizeof(struct ring_release))

/* ---- logd ---- */
struct completion_writer;
/* `object`: the whole completion object, writable. `read_index`: the worker's, in its request object, read-only and hostile. Goes on where an
 * earlier logd stopped. */
enum error completion_writer_create(struct completion_writer **writer, void *object, const _Atomic uint64_t *read_index);
void completion_writer_destroy(struct completion_writer **writer);

/* Places free now, each with room for a largest body; ERR_PROTOCOL through *error if the worker's index is impossible. */
uint32_t completion_room(struct completion_writer *writer, enum error *error);

/* Writes one answer; the caller has made sure of room. It is seen with completion_publish. */
void completion_put(struct completion_writer *writer, const struct completion *completion, const void *body);

/* One release store for all that were put since. Returns how many. */
uint32_t completion_publish(struct completion_writer *writer);

/* True if an answer to `request_id` stands in the ring, read or not (used by a new logd). */
bool completion_stands(const struct completion_writer *writer, uint64_t request_id);

/* ---- worker ---- */
struct completion_reader;
/* Begins with the first answer of a new object; *read_index is 0. */
enum error completion_reader_create(struct completion_reader **reader, const void *object, _Atomic uint64_t *read_index);
void completion_reader_destroy(struct completion_reader **reader);

/* Copies the next answer and points *body at its bytes, which stay until completion_done. ERR_AGAIN when there is none. */
enum error completion_next(struct completion_reader *reader, struct completion *completion, const uint8_t **body);

/* Tells logd that everything given so far has been read (once per round). */
void completion_done(struct completion_reader *reader);
bool completion_pending(const struct completion_reader *reader);

#endif
