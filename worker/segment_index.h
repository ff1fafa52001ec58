/*
 * Where the records of a topic lie in a sealed file: found in the file's footer by binary search (docs/format.md §8), each element checked before it is believed. An index that does not
 * check costs time, not records: then the file's frames are walked instead.
 *
 *   BISECT ──found──▶ COPY ──▶ extents          a hint of where the last search ended goes straight to COPY, or to WALK
 *      └──an element does not check──▶ WALK ──▶ extents
 *
 * A search waits wherever its bytes are not there yet, and goes on from there with the next call; nothing is kept of the bytes themselves.
 */
#ifndef TOPICS_SEGMENT_INDEX_H
#define TOPICS_SEGMENT_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/catalogue.h"

/*
 * `length` bytes of the file at `offset`, which stay until the next call; up to `ahead` more behind them will be asked for next. Any error is handed through; ERR_CORRUPT: the file ends
 * before.
 */
struct segment_bytes {
	enum error (*bytes)(void *context, uint64_t offset, uint64_t length, uint64_t ahead, const uint8_t **bytes);
	void *context;
};

/* Where readers have been: one for a worker. A page that goes on where another ended does not search. */
struct segment_hints;

enum error segment_hints_create(struct segment_hints **hints);
void segment_hints_destroy(struct segment_hints **hints);

enum segment_step { SEGMENT_BISECT, SEGMENT_COPY, SEGMENT_WALK };

/* One search; begun anew by itself when it is asked for something else. All zero at first. */
struct segment_search {
	uint64_t file, topic, seq;
	enum segment_step step;
	uint32_t low, high;  /* BISECT: the element lies in [low, high]. COPY: low is the first */
	uint64_t offset;     /* WALK: of the next frame */
	bool from_hint, done;
};

struct segment_wanted {
	const struct segment *segment;
	const struct catalogue_file *file; /* of the segment */
	uint64_t topic;
	uint64_t seq;                      /* within the segment's bounds */
};

/*
 * Copies up to `room` extents, the first of which is the first that ends at or after the wanted seq (it may begin behind it, when the seq lies in another file); *count says how many.
 * ERR_OK with none: this call has worked long enough, call again. ERR_NOT_FOUND: no extent in the file ends at or after it. ERR_CORRUPT: a frame that holds it does not check. Others as
 * from `bytes`; ERR_IO, which says that the bytes never will be there, only of frames: an index is done without.
 */
enum error segment_index_find(struct segment_search *search, struct segment_hints *hints, const struct segment_wanted *wanted, const struct segment_bytes *source,
                              struct extent *extents, unsigned room, unsigned *count);

/* The reader goes on at `seq` later, maybe: it lies in extents[at] of `count` that the search found last. */
void segment_index_remember(struct segment_hints *hints, const struct segment_search *search, const struct extent *extents, unsigned at, uint64_t seq);

/* Whether this search had to do without the index. */
bool segment_index_failed(const struct segment_search *search);

#endif
