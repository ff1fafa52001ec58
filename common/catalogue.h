/*
 * The catalogue: what every reader needs to know, in shared memory that logd alone writes (ARCHITECTURE §6). One sparse object of fixed
 * size; offsets, never pointers. common/README.md draws it; docs/shared-memory.md has every field.
 *
 *   page 0            struct catalogue_head
 *   files             CATALOGUE_FILES x struct catalogue_file
 *   names             hash of names: CATALOGUE_BUCKETS x u32 (slot + 1), linear probing
 *   order             slots in byte order of names, in blocks, under a sequence counter
 *   topics            CATALOGUE_TOPICS x struct catalogue_topic
 *   heap              blocks of powers of two for the lists (extents, segments, losses)
 */
#ifndef TOPICS_CATALOGUE_H
#define TOPICS_CATALOGUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/frame.h"
#include "common/topic_config.h"

enum {
	CATALOGUE_VERSION = 3,
	CATALOGUE_FILES = 65536,
	CATALOGUE_BUCKETS = 1 << 23,
	CATALOGUE_TOPICS = 1 << 22,
	CATALOGUE_NO_SLOT = -1,
	CATALOGUE_WAIT = -2, /* of catalogue_find: a section is not whole; every other call answers ERR_AGAIN to it */
};
#define CATALOGUE_SIZE ((size_t)16 << 30)

/* Where a run of a topic's records lies: one batch entry of one frame. 40 bytes, immutable but for `file` and `offset` (see
 * catalogue_move). */
struct extent {
	uint64_t first_seq;
	uint64_t offset;      /* of the frame in the file */
	uint64_t payload;     /* data + meta bytes of the batch */
	uint32_t count;
	uint32_t length;      /* of the frame */
	uint32_t file;        /* index in the table of files */
	uint32_t entry;       /* offset of the batch entry from the frame's start */
};

/* What a sealed file holds of a topic: its extents stand one behind the other in the file's footer (docs/format.md §8). Between them may be seqs that lie elsewhere. 48 bytes. */
struct segment {
	uint64_t first_seq;
	uint64_t last_seq;
	uint64_t extents_offset; /* in the file, of the first one's element */
	uint64_t live;           /* records */
	uint64_t payload;        /* their data + meta bytes */
	uint32_t extents;
	uint32_t file;           /* index in the table of files */
};

struct loss {
	uint64_t from;
	uint64_t to;          /* inclusive */
	uint32_t reason;      /* enum reason */
	uint32_t flags;       /* ENTRY_POSSIBLE */
};

struct catalogue_file {
	uint64_t id;          /* 0: free */
	uint64_t number;
	uint64_t first_lsn;
	uint32_t kind;        /* 'w', 'e' */
	uint32_t generation;  /* rises when the index is used for another file */
};

/* A topic's numbers as a reader copies them, all of one moment. */
struct topic_numbers {
	uint64_t id;            /* 0: no topic in this slot */
	uint64_t head;          /* highest published seq */
	uint64_t durable;       /* highest seq known synced */
	uint64_t earliest;      /* first live seq; head + 1 when empty */
	uint64_t floor;         /* eviction floor: every seq <= it is gone; 0 none */
	uint64_t count;         /* live records */
	uint64_t bytes;         /* their data + meta */
	int64_t last_write_ts;  /* 0: never */
	uint32_t floor_reason;
	uint32_t losses;        /* number of losses */
	uint64_t extents;       /* number of extents, of files that are not sealed */
	uint64_t segments;      /* number of segments */
};

/* ---- reader: any worker ---- */

struct catalogue; /* private handle: a mapping */

/* Maps `fd` read-only; checks magic and version. The descriptor stays the caller's. */
enum error catalogue_open(struct catalogue **catalogue, int fd);
void catalogue_close(struct catalogue **catalogue);
uint64_t catalogue_number(const struct catalogue *catalogue);
uint64_t catalogue_topic_count(const struct catalogue *catalogue);

/* It shows only what is proven (docs/format.md §10.7): topics and seqs that it does not have may be there later. To be asked before anything is looked up in it: once it is whole it
 * stays so, and who has found it whole finds all. */
bool catalogue_partial(const struct catalogue *catalogue);

/* The slot of a name, CATALOGUE_NO_SLOT, or CATALOGUE_WAIT. */
int64_t catalogue_find(const struct catalogue *catalogue, const char *name, size_t length);

/* Copies the numbers. ERR_TOPIC_NOT_FOUND: the slot holds no topic. ERR_AGAIN: its section is not whole, because the writer stands still in the middle, or
 * died there: look again a little later, or in the next catalogue. */
enum error catalogue_numbers(const struct catalogue *catalogue, int64_t slot, struct topic_numbers *numbers);

/* Name (at least TOPIC_NAME_MAX + 1 bytes of room; returns the length through *length) and configuration of the topic `id` in `slot`.
 * ERR_TOPIC_NOT_FOUND if another topic is there by now. */
enum error catalogue_config(const struct catalogue *catalogue, int64_t slot, uint64_t id, struct topic_config *config);
enum error catalogue_name(const struct catalogue *catalogue, int64_t slot, uint64_t id, char *name, size_t *length);

/*
 * Copies up to `room` extents of the topic, from the first that ends at or after `seq` on; *count says how many. Only those published. Those of sealed files are not here, but in
 * segments; the two interleave. Sealing moves extents from here to there, so whoever needs both asks here first: then what is missing here is there.
 */
enum error catalogue_extents(const struct catalogue *catalogue, int64_t slot, uint64_t id, uint64_t seq, struct extent *extents,
                             unsigned room, unsigned *count);

/* Copies up to `room` segments of the topic, from the first whose last seq is `seq` or later on. */
enum error catalogue_segments(const struct catalogue *catalogue, int64_t slot, uint64_t id, uint64_t seq, struct segment *segments, unsigned room,
                              unsigned *count);

/* The first loss with to >= seq, if any: ERR_OK, or ERR_AGAIN when there is none. ERR_BUSY: what is ERR_AGAIN elsewhere. */
enum error catalogue_loss(const struct catalogue *catalogue, int64_t slot, uint64_t id, uint64_t seq, struct loss *loss);

/* The file with this index. */
enum error catalogue_file(const struct catalogue *catalogue, uint32_t file, struct catalogue_file *out);

/* Slots in byte order of names, from the first name that is >= `from` (`after`: > `from`) on. Names are read again by the caller, who
 * compares. */
enum error catalogue_list(const struct catalogue *catalogue, const char *from, size_t from_length, bool after, uint32_t *slots,
                          unsigned room, unsigned *count);

/* ---- writer: logd (implemented in common/catalogue_writer.c so that tests race both halves) ---- */

struct catalogue_writer;

/* Lays out a new, empty catalogue in the zeroed object `fd`. */
enum error catalogue_writer_create(struct catalogue_writer **writer, int fd, uint64_t number);
void catalogue_writer_destroy(struct catalogue_writer **writer);
uint64_t catalogue_writer_number(const struct catalogue_writer *writer);
/* A new one is whole. Said before it is given to anybody; taken back when all is shown. */
void catalogue_set_partial(struct catalogue_writer *writer, bool partial);

/* Makes sure that catalogue_topic_add does not fail for want of memory while at most `topics` are shown. False: there is none. */
bool catalogue_topics_provide(struct catalogue_writer *writer, uint64_t topics);

/* ERR_LIMIT when there are CATALOGUE_TOPICS, ERR_EXISTS. A freed slot is used again when 1,024 others have been freed after it. */
enum error catalogue_topic_add(struct catalogue_writer *writer, const char *name, size_t length, const struct topic_config *config,
                               const struct topic_numbers *numbers, uint32_t *slot);
void catalogue_topic_remove(struct catalogue_writer *writer, uint32_t slot);
void catalogue_topic_config(struct catalogue_writer *writer, uint32_t slot, const struct topic_config *config);

/* Sets all numbers but `extents`, `segments` and `losses`, which the writer keeps itself. One sequence-counter section. */
void catalogue_topic_numbers(struct catalogue_writer *writer, uint32_t slot, const struct topic_numbers *numbers);

/* Appends; seqs rise. ERR_NOMEM when the heap is full. Seen by readers with the next catalogue_topic_numbers. */
enum error catalogue_extent_add(struct catalogue_writer *writer, uint32_t slot, const struct extent *extent);
enum error catalogue_loss_add(struct catalogue_writer *writer, uint32_t slot, const struct loss *loss);

/*
 * The file of this segment is sealed: adds the segment and takes the extents of that file out of the list, for readers in one moment. A reader that has copied these may go on using
 * them: the frames stay where they are. Segments are added in the order of their seqs: ERR_RANGE if not. ERR_NOMEM when the heap is full; nothing has changed then.
 */
enum error catalogue_seal(struct catalogue_writer *writer, uint32_t slot, const struct segment *segment);

/* Adds a segment and leaves the extents alone (a start; they were never listed). Seen by readers with the next catalogue_topic_numbers. Errors as above. */
enum error catalogue_segment_add(struct catalogue_writer *writer, uint32_t slot, const struct segment *segment);

/* Drops the extents and segments that end at or below `floor`. After the catalogue_topic_numbers that shows this floor, so that no reader
 * finds records gone and no reason. */
void catalogue_extents_drop(struct catalogue_writer *writer, uint32_t slot, uint64_t floor);

/* Takes out the extents that lie whole within [from, to], of which a loss already says that they are gone. ERR_NOMEM: they stay, which costs room and nothing else. */
enum error catalogue_extents_cut(struct catalogue_writer *writer, uint32_t slot, uint64_t from, uint64_t to);

/* The topic's losses instead of those that it has, rising; seen by readers at once. ERR_NOMEM: nothing has changed. */
enum error catalogue_losses_set(struct catalogue_writer *writer, uint32_t slot, const struct loss *losses, uint32_t count);

/* The extent that holds `seq` now lies elsewhere (a failed sync moved its frame). */
enum error catalogue_move(struct catalogue_writer *writer, uint32_t slot, uint64_t seq, uint32_t file, uint64_t offset);

/* Table of files: an index that stays until catalogue_file_remove. */
enum error catalogue_file_add(struct catalogue_writer *writer, uint64_t id, uint64_t number, uint64_t first_lsn, uint32_t kind,
                              uint32_t *file);
void catalogue_file_remove(struct catalogue_writer *writer, uint32_t file);

#endif
