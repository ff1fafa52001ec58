#include "tests/find_extent.h"

#include <stdlib.h>

#include "common/footer.h"

struct source { const struct ops *files; int file; uint8_t *bytes; };

static enum error source_bytes(void *context, uint64_t offset, uint32_t length, const uint8_t **bytes)
{
	struct source *source = context;
	size_t done = 0;

	free(source->bytes);
	source->bytes = malloc(length + 1);
	*bytes = source->bytes;
	if (source->files->pread(source->files->world, source->file, source->bytes, length, offset, &done) != 0)
		return ERR_IO;
	return done == length ? ERR_OK : ERR_CORRUPT;
}

/* The first extent of the segment that ends at or after `seq`. */
static bool in_segment(struct source *source, const struct catalogue_file *file, const struct segment *segment, uint64_t topic, uint64_t seq,
                       struct extent *found)
{
	const struct footer_file bounds = { .id = file->id, .first_lsn = file->first_lsn, .end_lsn = UINT64_MAX / 2 };
	const struct footer_source bytes = { source_bytes, source };
	struct footer_extent extent;
	const uint8_t *element;
	uint32_t index;

	if (footer_search_extents(&bounds, &bytes, segment->extents_offset, segment->extents, topic, seq, &index) != ERR_OK || index == segment->extents)
		return false;
	if (source_bytes(source, segment->extents_offset + (uint64_t)index * FOOTER_EXTENT, FOOTER_EXTENT, &element) != ERR_OK ||
	    footer_extent_decode(&bounds, element, &extent) != ERR_OK || extent.topic != topic)
		return false;
	*found = (struct extent){ .first_seq = extent.first_seq, .offset = FILE_HEADER_SIZE + extent.lsn - file->first_lsn, .payload = extent.payload,
		.count = extent.count, .length = extent.length, .file = segment->file, .entry = extent.entry };
	return true;
}

static bool open_segment(const struct catalogue *catalogue, const struct ops *files, const struct segment *segment, uint64_t topic, uint64_t seq,
                         struct extent *found)
{
	struct source source = { .files = files };
	struct catalogue_file file;
	bool there;

	if (catalogue_file(catalogue, segment->file, &file) != ERR_OK ||
	    files->open(files->world, &(struct file_name){ .kind = 'w', .id = file.id }, &source.file) != 0)
		return false;
	there = in_segment(&source, &file, segment, topic, seq, found);
	files->close(files->world, source.file);
	free(source.bytes);
	return there;
}

bool find_extent(const struct catalogue *catalogue, const struct ops *files, int64_t slot, uint64_t topic, uint64_t seq, struct extent *found)
{
	struct segment segment;
	unsigned extents = 0, segments = 0;

	if (catalogue_extents(catalogue, slot, topic, seq, found, 1, &extents) != ERR_OK ||
	    catalogue_segments(catalogue, slot, topic, seq, &segment, 1, &segments) != ERR_OK)
		return false;
	if (segments == 1 && (extents == 0 || segment.first_seq < found->first_seq)) {
		struct extent sealed;
		/* Between a segment's extents there may be others; a broken footer is what the caller wants to hear of. */
		if (!open_segment(catalogue, files, &segment, topic, seq, &sealed))
			return false;
		if (extents == 0 || sealed.first_seq < found->first_seq)
			*found = sealed;
		return true;
	}
	return extents == 1;
}
