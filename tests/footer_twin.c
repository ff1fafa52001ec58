#include "tests/footer_twin.h"

#include <stdlib.h>
#include <string.h>

#include "logd/footer_notes.h"

static bool note_all(struct footer_notes *notes, const uint8_t *bytes, const struct footer *footer)
{
	const struct footer_file *file = &footer->file;

	while (notes->end < file->end_lsn) {
		uint64_t at = FILE_HEADER_SIZE + notes->end - file->first_lsn;
		struct frame_head head;

		if (frame_check(bytes + at, footer->offset - at, file->id, at, notes->end, &head) != ERR_OK ||
		    footer_notes_add(notes, bytes + at, &head) != ERR_OK || footer_notes_add_tags(notes, bytes + at, &head) != ERR_OK)
			return false;
	}
	return true;
}

bool footer_is_what_frames_say(const uint8_t *bytes, uint64_t size, const struct footer *footer)
{
	struct footer_notes *notes = footer_notes_create(footer->file.first_lsn);
	uint8_t *twin = NULL;
	size_t length = 0;
	uint32_t crc;
	bool same = notes && note_all(notes, bytes, footer) && footer_build(notes->builder, &footer->file, &twin, &length, &crc) == ERR_OK &&
	            length == size - footer->offset && memcmp(twin, bytes + footer->offset, length) == 0;

	free(twin);
	footer_notes_destroy(&notes);
	return same;
}
