/*
 * Sealed files as they come from a damaged disk, and with checksums that are right over fields that are not: every search of the footer must be safe, and the search of a reader must
 * give extents that lie in the file.
 */
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/footer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sealed_file.h"
#include "worker/segment_index.h"

enum { FILE_ID_LOW = 0x55667788, FIRST_LSN = 4096, ROOM = 16, STEPS = 5000 };
static const uint64_t file_id = 0x1122334400000000u + FILE_ID_LOW;

struct input {
	const uint8_t *bytes;
	size_t length;
};

static enum error input_bytes(void *context, uint64_t offset, uint64_t length, uint64_t ahead, const uint8_t **bytes)
{
	const struct input *input = context;

	(void)ahead;
	if (offset > input->length || length > input->length - offset)
		return ERR_CORRUPT;
	*bytes = input->bytes + offset;
	return ERR_OK;
}

/* A reader of `topic`, to whom logd said what the footer says. */
static void read_topic(const struct footer *footer, const struct footer_topic *topic, struct input *input, struct segment_hints *hints)
{
	const struct segment segment = { .first_seq = topic->first_seq, .last_seq = topic->last_seq, .extents = topic->extents, .file = 3,
	                                 .extents_offset = footer->sections[FOOTER_EXTENTS].offset + (uint64_t)topic->extent * FOOTER_EXTENT };
	const struct catalogue_file file = { .id = file_id, .first_lsn = FIRST_LSN, .kind = 'w' };
	const struct segment_bytes source = { input_bytes, input };
	struct segment_search search = { 0 };
	uint64_t seq = topic->first_seq;

	for (unsigned step = 0; step < 64 && seq <= topic->last_seq; step++) {
		const struct segment_wanted wanted = { .segment = &segment, .file = &file, .topic = topic->topic, .seq = seq };
		struct extent extents[ROOM];
		unsigned count = 0, calls = 0;
		enum error error;
		do
			error = segment_index_find(&search, hints, &wanted, &source, extents, ROOM, &count);
		while (error == ERR_OK && count == 0 && calls++ < STEPS);
		if (error != ERR_OK)
			return;
		if (calls >= STEPS || count > ROOM)
			abort();
		for (unsigned i = 0; i < count; i++)
			if (extents[i].offset < FILE_HEADER_SIZE || extents[i].offset + extents[i].length > segment.extents_offset || extents[i].count == 0)
				abort();
		seq = extents[count - 1].first_seq + extents[count - 1].count;
		segment_index_remember(hints, &search, extents, count - 1, seq);
	}
}

static void look_at_tags(const struct footer *footer, const struct footer_source *source)
{
	struct footer_tags tags;
	struct footer_tag tag;

	if (footer_tags_open(footer, source, &tags) != ERR_OK)
		return;
	for (uint64_t topic = 0; topic <= SEALED_TOPICS; topic++)
		for (unsigned prefix = 0; prefix < 2; prefix++) {
			struct footer_tag_range range = { 0 };
			if (footer_tags_topic(footer, &tags, source, topic, &range) != ERR_OK)
				continue;
			if (footer_tags_find(footer, &tags, source, "ab", 2, prefix == 1, &range) != ERR_OK)
				continue;
			for (uint32_t i = 0; i < range.count; i++)
				(void)footer_tag_at(footer, &tags, source, range.first + i, &tag);
		}
}

static void look(const uint8_t *bytes, size_t length)
{
	struct footer_memory memory = { .bytes = bytes, .length = length };
	struct footer_source source = footer_memory_source(&memory);
	struct segment_hints *hints = NULL;
	struct footer_control control;
	struct footer_topic topic;
	struct footer_key key;
	struct footer_extent extent;
	struct footer footer;
	struct input input = { bytes, length };
	uint64_t at = 0;

	if (footer_open(&footer, &source, file_id, FIRST_LSN, length) != ERR_OK || segment_hints_create(&hints) != ERR_OK)
		return;
	(void)footer_check(&footer, &source);
	while (footer_control_next(&footer, &source, &at, &control) == ERR_OK)
		;
	for (uint64_t i = 0; i < footer_count(&footer, FOOTER_KEYS); i++)
		if (footer_key_at(&footer, &source, i, &key) == ERR_OK)
			(void)footer_find_key(&footer, &source, key.hash, &at);
	for (uint64_t i = 0; i < footer_count(&footer, FOOTER_EXTENTS); i++)
		if (footer_extent_at(&footer, &source, i, &extent) == ERR_OK)
			(void)footer_find_extent(&footer, &source, extent.topic, extent.first_seq, &at);
	for (uint64_t i = 0; i < footer_count(&footer, FOOTER_TOPICS); i++)
		if (footer_topic_at(&footer, &source, i, &topic) == ERR_OK)
			read_topic(&footer, &topic, &input, hints);
	look_at_tags(&footer, &source);
	segment_hints_destroy(&hints);
}

static void close_elements(uint8_t *at, uint64_t length, uint32_t size)
{
	for (uint64_t i = 0; i + size <= length; i += size)
		put_u32(at + i + size - 4, footer_element_crc(file_id, at + i, size - 4));
}

/* Makes the checksums right, as far as the sections can be followed. */
static void forge(uint8_t *bytes, size_t length)
{
	static const uint32_t sizes[FOOTER_TYPE_END] = { [FOOTER_EXTENTS] = FOOTER_EXTENT, [FOOTER_KEYS] = FOOTER_KEY, [FOOTER_TOPICS] = FOOTER_TOPIC };
	uint8_t *trailer = bytes + length - FOOTER_TRAILER;
	uint64_t at = get_u64(trailer + 8), end = length - FOOTER_TRAILER;
	uint32_t crc = 0;

	while (at < end && end - at >= FOOTER_SECTION_HEAD) {
		uint8_t *head = bytes + at, *body = head + FOOTER_SECTION_HEAD;
		uint64_t size = get_u64(head + 8), left = end - at - FOOTER_SECTION_HEAD;
		uint32_t type = get_u32(head);
		if (size > left)
			break;
		if (type < FOOTER_TYPE_END && sizes[type] != 0)
			close_elements(body, size, sizes[type]);
		if (type == FOOTER_TAGS)
			close_elements(body, size - size % 8, FOOTER_TAG);
		put_u32(head + 4, crc32c(0, body, size));
		crc = crc32c(crc, head, FOOTER_SECTION_HEAD);
		at += FOOTER_SECTION_HEAD + align8(size);
	}
	put_u32(trailer + 48, crc);
	put_u32(trailer + 60, crc32c(0, trailer, 60));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
	uint8_t *forged;

	look(input, length);
	if (length < FOOTER_TRAILER || (forged = malloc(length)) == NULL)
		return 0;
	memcpy(forged, input, length);
	forge(forged, length);
	look(forged, length);
	free(forged);
	return 0;
}

size_t fuzz_seed(unsigned index, uint8_t *out, size_t room)
{
	struct sealed_file sealed;
	size_t length;

	sealed_file_make(&sealed, index, index * 6);
	length = sealed.length < room ? sealed.length : 0;
	memcpy(out, sealed.bytes, length);
	sealed_file_free(&sealed);
	return length;
}
