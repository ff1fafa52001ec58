/*
 * A frame's own CRC (docs/format.md, condition 7), checked by a reader: nothing else says that head, node and time are right, and that each record stands in its place. It walks over
 * the frame through a window, and goes on where it stood when it had to wait for the disk or has worked long enough.
 */
#ifndef TOPICS_FRAME_CHECK_H
#define TOPICS_FRAME_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/catalogue.h"
#include "common/frame.h"
#include "worker/window.h"

/* The frame larger than a window that was checked last: pages that follow each other check it once. One per worker. */
struct frame_checked { uint64_t file, offset; uint32_t sum; };

struct frame_check {
	bool begun, done;        /* `begun` false: whatever was checked before is forgotten */
	uint64_t file, frame;    /* which: its file and offset */
	struct frame_head head;
	uint32_t begun_sum;      /* stands for head and entries as they are */
	uint32_t entry;          /* the next to look at, behind the head */
	uint64_t next;           /* where its area has to begin, from the frame's start */
	uint64_t at, end;        /* records of the area that is being summed, in the file; at == end: none left */
	uint32_t table;          /* bytes behind them; 0: none, or summed */
	struct frame_sum sum;
};

/* `bytes`: its head, which has been decoded, and its entry table. */
void frame_check_begin(struct frame_check *check, const uint8_t *bytes, const struct frame_head *head, uint64_t file, uint64_t offset);

/* It is this frame that is being checked, or has been. */
static inline bool frame_check_stands_at(const struct frame_check *check, const struct extent *extent)
{
	return check->begun && check->frame == extent->offset;
}

/*
 * ERR_OK: the frame is right (asked again, it says so at once); ERR_BUSY: call again, when others have had their turn; ERR_AGAIN and other errors: as window_bytes says; ERR_CORRUPT. The
 * window looks at the frame's file.
 */
enum error frame_check_go_on(struct frame_check *check, struct window *window, struct frame_checked *last);

#endif
