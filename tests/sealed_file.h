/* A sealed file in memory, made by the codecs alone: header, frames of several topics with tags, keys and control entries between them, footer. */
#ifndef TOPICS_SEALED_FILE_H
#define TOPICS_SEALED_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/footer.h"

enum { SEALED_TOPICS = 4 };

struct sealed_file {
	struct footer_file file;
	uint8_t *bytes;                /* owned */
	size_t length, room;
	struct footer_extent *extents; /* owned; in the order of the log */
	unsigned extent_count;
	uint64_t heads[SEALED_TOPICS + 1]; /* last seq of each topic; ids are 1 .. SEALED_TOPICS */
};

/* `frames` frames; what is in them depends on `seed` alone. Aborts without memory. */
void sealed_file_make(struct sealed_file *sealed, uint64_t seed, unsigned frames);
void sealed_file_free(struct sealed_file *sealed);

#endif
