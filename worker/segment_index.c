#include "worker/segment_index.h"

#include <stdlib.h>
#include <string.h>

#include "common/footer.h"

enum { HINTS = 1024, WALK_STEPS = 1024, WALK_AHEAD = 1 << 20 };

/* For this topic, file and seq: the element's index, or with `walk` the frame's offset. */
struct hint {
	uint64_t file, topic, seq;
	uint64_t place;
	bool walk;
};

struct segment_hints {
	struct hint hint[HINTS];
};

enum error segment_hints_create(struct segment_hints **hints)
{
	*hints = calloc(1, sizeof **hints);
	return *hints == NULL ? ERR_NOMEM : ERR_OK;
}

void segment_hints_destroy(struct segment_hints **hints)
{
	free(*hints);
	*hints = NULL;
}

static struct hint *hint_at(struct segment_hints *hints, uint64_t topic, uint64_t seq)
{
	return &hints->hint[(topic ^ seq * 0x9e3779b97f4a7c15u) >> 32 & (HINTS - 1)];
}

static void begin(struct segment_search *search, struct segment_hints *hints, const struct segment_wanted *wanted)
{
	const struct hint *hint = hint_at(hints, wanted->topic, wanted->seq);

	*search = (struct segment_search){ .file = wanted->file->id, .topic = wanted->topic, .seq = wanted->seq, .high = wanted->segment->extents,
	                                   .offset = FILE_HEADER_SIZE };
	if (hint->file != search->file || hint->topic != search->topic || hint->seq != search->seq)
		return;
	search->from_hint = true;
	search->step = hint->walk ? SEGMENT_WALK : SEGMENT_COPY;
	if (hint->walk)
		search->offset = hint->place;
	else
		search->low = (uint32_t)hint->place;
}

/* What an element of this segment may say: its frame lies before the footer. */
static enum error decode(const struct segment_wanted *wanted, const uint8_t *bytes, struct footer_extent *e)
{
	const struct footer_file file = { .id = wanted->file->id, .first_lsn = wanted->file->first_lsn,
	                                  .end_lsn = wanted->file->first_lsn + (wanted->segment->extents_offset - FILE_HEADER_SIZE) };
	enum error error = footer_extent_decode(&file, bytes, e);

	if (error != ERR_OK)
		return error;
	return e->topic == wanted->topic && e->first_seq >= wanted->segment->first_seq && e->first_seq + e->count - 1 <= wanted->segment->last_seq ? ERR_OK : ERR_CORRUPT;
}

static uint64_t element(const struct segment_wanted *wanted, uint32_t index)
{
	return wanted->segment->extents_offset + (uint64_t)index * FOOTER_EXTENT;
}

static enum error bisect(struct segment_search *search, const struct segment_wanted *wanted, const struct segment_bytes *source)
{
	while (search->low < search->high) {
		uint32_t middle = search->low + (search->high - search->low) / 2;
		struct footer_extent e;
		const uint8_t *bytes;
		enum error error = source->bytes(source->context, element(wanted, middle), FOOTER_EXTENT, 0, &bytes);
		if (error == ERR_OK)
			error = decode(wanted, bytes, &e);
		if (error != ERR_OK)
			return error;
		if (e.first_seq + e.count - 1 < wanted->seq)
			search->low = middle + 1;
		else
			search->high = middle;
	}
	search->step = SEGMENT_COPY;
	return search->low < wanted->segment->extents ? ERR_OK : ERR_NOT_FOUND;
}

static struct extent extent_of(const struct segment_wanted *wanted, const struct footer_extent *e)
{
	return (struct extent){ .first_seq = e->first_seq, .offset = FILE_HEADER_SIZE + (e->lsn - wanted->file->first_lsn), .payload = e->payload, .count = e->count,
	                        .length = e->length, .file = wanted->segment->file, .entry = e->entry };
}

/* From `low` on; what does not check ends it. A hint is right when its element begins at or before the wanted seq: then none before it ends behind. */
static enum error copy(struct segment_search *search, const struct segment_wanted *wanted, const struct segment_bytes *source, struct extent *extents, unsigned room,
                       unsigned *count)
{
	uint32_t left = wanted->segment->extents > search->low ? wanted->segment->extents - search->low : 0, n = left < room ? left : room;
	uint64_t before = 0;
	const uint8_t *bytes;
	enum error error = n == 0 ? ERR_CORRUPT : source->bytes(source->context, element(wanted, search->low), (uint64_t)n * FOOTER_EXTENT, 0, &bytes);

	for (uint32_t i = 0; i < n && error == ERR_OK; i++) {
		struct footer_extent e;
		error = decode(wanted, bytes + (size_t)i * FOOTER_EXTENT, &e);
		if (error == ERR_OK && (e.first_seq <= before || (i == 0 && search->from_hint && e.first_seq > wanted->seq)))
			error = ERR_CORRUPT;
		if (error != ERR_OK)
			break;
		before = e.first_seq + e.count - 1;
		if (*count == 0 && before < wanted->seq)
			search->low++; /* a hint may be one extent behind */
		else
			extents[(*count)++] = extent_of(wanted, &e);
	}
	return *count > 0 && error == ERR_CORRUPT ? ERR_OK : error;
}

/* ---- without the index ---- */

/* The whole frame checks, so what its entry says is so. (A larger one is not taken into memory for that; who opens it checks it piece by piece.) */
static enum error take_frame(const struct segment_search *search, const struct segment_wanted *wanted, const struct segment_bytes *source, uint32_t length)
{
	struct frame_head head;
	const uint8_t *bytes;
	enum error error = source->bytes(source->context, search->offset, length, WALK_AHEAD, &bytes);

	if (error != ERR_OK)
		return error;
	error = frame_check(bytes, length, wanted->file->id, search->offset, wanted->file->first_lsn + (search->offset - FILE_HEADER_SIZE), &head);
	return error == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

/* The batch of the topic in this frame that ends at or after the wanted seq; count 0: there is none, or its entries do not check (then what is wanted is missing, or comes later). */
static void find_batch(const struct segment_search *search, const struct segment_wanted *wanted, const uint8_t *frame, const struct frame_head *head,
                             struct extent *extent)
{
	uint32_t at = FRAME_HEAD, end = FRAME_HEAD + head->entries_length;

	extent->count = 0;
	while (at < end) {
		struct entry e;
		if (entry_decode(&e, frame + at, end - at) != ERR_OK)
			return;
		if (e.type == ENTRY_BATCH && e.topic == wanted->topic && e.batch.first_seq + e.batch.count - 1 >= wanted->seq) {
			*extent = (struct extent){ .first_seq = e.batch.first_seq, .offset = search->offset, .payload = e.batch.payload, .count = e.batch.count,
			                           .length = head->length, .file = wanted->segment->file, .entry = at };
			return;
		}
		at += e.length;
	}
}

/* One frame, or eight bytes on where none begins. ERR_EOF: there is none any more. */
static enum error walk_frame(struct segment_search *search, const struct segment_wanted *wanted, const struct segment_bytes *source, struct extent *extent)
{
	uint64_t left = wanted->segment->extents_offset - FOOTER_SECTION_HEAD;
	struct frame_head head;
	const uint8_t *bytes;
	enum error error;

	left = left > search->offset ? left - search->offset : 0;
	if (left < FRAME_MIN)
		return ERR_EOF;
	if ((error = source->bytes(source->context, search->offset, FRAME_HEAD, WALK_AHEAD, &bytes)) != ERR_OK)
		return error;
	if (frame_head_decode(&head, bytes, left) != ERR_OK || head.lsn != wanted->file->first_lsn + (search->offset - FILE_HEADER_SIZE)) {
		search->offset += 8;
		return ERR_OK;
	}
	error = source->bytes(source->context, search->offset, FRAME_HEAD + head.entries_length, WALK_AHEAD, &bytes);
	if (error == ERR_OK)
		find_batch(search, wanted, bytes, &head, extent);
	if (error == ERR_OK && extent->count > 0 && head.length <= WALK_AHEAD)
		error = take_frame(search, wanted, source, head.length);
	if (error == ERR_CORRUPT) {
		/* What it says is not to be believed: the record may stand in a later one, or is missing. */
		extent->count = 0;
		error = ERR_OK;
	}
	if (error == ERR_OK)
		search->offset += head.length;
	return error;
}

static enum error walk(struct segment_search *search, const struct segment_wanted *wanted, const struct segment_bytes *source, struct extent *extents, unsigned room,
                       unsigned *count)
{
	enum error error = ERR_OK;

	for (unsigned n = 0; n < WALK_STEPS && *count < room && error == ERR_OK; n++) {
		struct extent extent = { 0 };
		error = walk_frame(search, wanted, source, &extent);
		if (error == ERR_OK && extent.count > 0)
			extents[(*count)++] = extent;
	}
	if (error == ERR_OK || *count > 0)
		return ERR_OK;
	return error == ERR_EOF ? ERR_NOT_FOUND : error;
}

enum error segment_index_find(struct segment_search *search, struct segment_hints *hints, const struct segment_wanted *wanted, const struct segment_bytes *source,
                              struct extent *extents, unsigned room, unsigned *count)
{
	enum error error = ERR_OK;

	*count = 0;
	if (search->done || search->file != wanted->file->id || search->topic != wanted->topic || search->seq != wanted->seq)
		begin(search, hints, wanted);
	if (search->step == SEGMENT_BISECT)
		error = bisect(search, wanted, source);
	if (error == ERR_OK && search->step == SEGMENT_COPY) {
		error = copy(search, wanted, source, extents, room, count);
		if (error == ERR_OK && *count == 0)
			error = ERR_CORRUPT;
	}
	if ((error == ERR_CORRUPT || error == ERR_IO) && search->step != SEGMENT_WALK) {
		bool misled = search->from_hint;
		search->from_hint = false;
		search->step = misled ? SEGMENT_BISECT : SEGMENT_WALK;
		search->low = 0;
		search->high = wanted->segment->extents;
		search->offset = FILE_HEADER_SIZE;
		return ERR_OK;
	}
	if (search->step == SEGMENT_WALK)
		error = walk(search, wanted, source, extents, room, count);
	search->done = *count > 0 || error == ERR_NOT_FOUND || error == ERR_CORRUPT;
	return error;
}

void segment_index_remember(struct segment_hints *hints, const struct segment_search *search, const struct extent *extents, unsigned at, uint64_t seq)
{
	bool walk = search->step == SEGMENT_WALK;

	*hint_at(hints, search->topic, seq) = (struct hint){ .file = search->file, .topic = search->topic, .seq = seq, .walk = walk,
	                                                     .place = walk ? extents[at].offset : search->low + at };
}

bool segment_index_failed(const struct segment_search *search)
{
	return search->step == SEGMENT_WALK;
}
