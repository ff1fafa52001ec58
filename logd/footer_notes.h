/*
 * What the footer of a file will say, but for tags: noted while its frames are appended, so that sealing need not read them back, or while sealing reads them, where nobody
 * has noted them (a file of an earlier process, one made whole after a failure).
 *
 * Of frames with tagged records only the place is noted: a tag has to be found among all others of its file, which may take its time on the thread that seals and not on
 * the one that appends.
 */
#ifndef TOPICS_FOOTER_NOTES_H
#define TOPICS_FOOTER_NOTES_H

#include "common/footer.h"
#include "common/frame.h"

struct footer_notes {
	struct footer_builder *builder; /* owned */
	uint64_t end;                   /* LSN behind the last frame that was noted; they follow each other from the file's first LSN on */
	int64_t newest_ts;              /* of the frames, 0: none */
	uint64_t bytes;                 /* what has been noted takes, about */
	uint64_t *tagged;               /* owned; LSNs, rising */
	size_t tagged_count, tagged_room;
};

/* NULL: no memory. */
struct footer_notes *footer_notes_create(uint64_t first_lsn);
/* NULL is fine. */
void footer_notes_destroy(struct footer_notes **notes);

/* Notes the frame at notes->end: a sealed one, whose entries and records are well-formed. ERR_NOMEM, ERR_LIMIT; then the notes are of no use any more. */
enum error footer_notes_add(struct footer_notes *notes, const uint8_t *frame, const struct frame_head *head);

/* Adds the tags of a noted frame. A record that is not well-formed is lost alone, and so is its tag. ERR_NOMEM, ERR_LIMIT. */
enum error footer_notes_add_tags(struct footer_notes *notes, const uint8_t *frame, const struct frame_head *head);

#endif
