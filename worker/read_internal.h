/* What the sources of reading share: read.c (a page, the batches in it) and read_extents.c (where the next records lie). Nobody else includes this. */
#ifndef TOPICS_READ_INTERNAL_H
#define TOPICS_READ_INTERNAL_H

#include "common/frame.h"
#include "worker/files.h"
#include "worker/frame_check.h"
#include "worker/read.h"
#include "worker/render.h"
#include "worker/segment_index.h"
#include "worker/window.h"
#include "worker/worker.h"

enum { READ_EXTENTS = 128, READ_SLICE_WORK = 64 * 1024 };

struct reader {
	struct worker *worker;
	struct windows *windows;
	struct segment_hints *hints;
	struct reading *pool;
	unsigned pooled;
	struct extent extents[READ_EXTENTS];
	struct frame_checked checked;
};

/* Extents that a sealed file's index gave. They are kept over a wait: looking them up again would lose the wait's result. */
struct run {
	struct extent *extents;  /* owned; room for READ_EXTENTS, NULL until the first is needed */
	unsigned at, count;
	struct segment_search search;
};

/* The batch in which a reading stands. Offsets are of the file; all of it is a copy, so that it holds over a wait. */
struct place {
	bool inside;
	uint64_t last_seq;
	uint64_t records;        /* where the records begin */
	uint64_t length;         /* their bytes */
	uint64_t table;          /* where to look up the way to the first that is wanted; 0: nowhere, or done */
	uint64_t offset;         /* of the next record, behind `records` */
	uint32_t to_skip;        /* records before it that are still to be passed over */
};

struct reading {
	struct reader *reader;
	struct reading *next;         /* in the pool */
	const struct read_request *request;
	struct buffer *out;
	struct read_page page;
	struct window window;
	struct render render;
	struct place place;
	struct frame_check check;
	struct run run;
	uint64_t topic;
	uint64_t catalogue;           /* number of the one that the page shows; 0: not begun */
	size_t start;                 /* length of `out` before the page */
	uint64_t end;                 /* last seq that this page may reach: the head, or what stands before the next gap */
	uint64_t first;               /* seq at which it began */
	uint64_t bytes;
	uint64_t work, until_us;      /* the slice */
	unsigned tries, lost_files;
	bool full, looked_again, look_again;
	uint8_t *node;                /* the batch's; owned */
	size_t node_room;
};

/* ---- read.c ---- */

/* `length` bytes of the file in use, as window_bytes gives them. */
static inline enum error reading_bytes(struct reading *p, uint64_t offset, uint64_t length, const uint8_t **bytes)
{
	enum error error = window_bytes(&p->window, offset, length, bytes);
	if (error == ERR_AGAIN)
		p->page.waits = READING_WAITS_FOR_DISK;
	return error;
}

/* What a call of the catalogue answered, whose ERR_AGAIN (catalogue_loss: ERR_BUSY) is a section that is not whole. */
static inline enum error reading_section(struct reading *p, enum error error)
{
	if (error != ERR_AGAIN && error != ERR_BUSY)
		return error;
	p->page.waits = READING_WAITS_FOR_SECTION;
	return ERR_BUSY;
}

/* Looks at the file with this index of the catalogue from now on. ERR_OK with look_again: it is not there any more. */
enum error reading_use_file(struct reading *p, uint32_t index);
/* Delivers what the extent holds behind page.next, from the file in use. */
enum error reading_extent(struct reading *p, const struct extent *extent);
/* What stands from page.next + 1 up to `to` could not be had, for this reason: to be looked up again, announced, or told as an error. */
enum error reading_damaged(struct reading *p, enum error error, uint64_t to);
/* Nothing more belongs into this page. */
static inline bool reading_done(const struct reading *p)
{
	return p->full || p->page.next >= p->end || p->page.records >= p->request->limit || p->page.examined >= READ_EXAMINED_MAX;
}

/* This call has worked long enough. The second half looks at the clock. */
bool reading_slice_ends(struct reading *p);
static inline bool reading_slice_over(struct reading *p)
{
	return p->work >= READ_SLICE_WORK && reading_slice_ends(p);
}

/* ---- read_extents.c ---- */

/* Goes on with the extents behind page.next, as many as are at hand. ERR_CORRUPT: nothing holds the next record. */
enum error reading_next_extents(struct reading *p);

#endif
