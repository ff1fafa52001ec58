/* Reading a footer: trailer and section heads, then elements one at a time, from memory or by single reads of the file. Tags are in footer_tags.c. */
#include "common/footer.h"

#include <string.h>

#include "common/crc32c.h"
#include "common/footer_read.h"
#include "common/topic_config.h"

static const char trailer_magic[8] = "TOPICSFT";

enum { FRAME_LENGTH_MIN = FRAME_MIN, SCAN_PIECE = 64 * 1024 };

uint32_t footer_element_crc(uint64_t file_id, const uint8_t *bytes, uint32_t length)
{
	uint8_t seed[8];

	put_u64(seed, file_id);
	return crc32c(crc32c(0, seed, sizeof seed), bytes, length);
}

static enum error memory_bytes(void *context, uint64_t offset, uint32_t length, const uint8_t **bytes)
{
	const struct footer_memory *memory = context;

	if (offset < memory->offset || offset - memory->offset > memory->length || length > memory->length - (offset - memory->offset))
		return ERR_CORRUPT;
	*bytes = memory->bytes + (offset - memory->offset);
	return ERR_OK;
}

struct footer_source footer_memory_source(struct footer_memory *memory)
{
	return (struct footer_source){ .bytes = memory_bytes, .context = memory };
}

enum error footer_element(const struct footer_source *source, uint64_t file_id, uint64_t offset, uint32_t length, const uint8_t **bytes)
{
	enum error error = source->bytes(source->context, offset, length, bytes);

	if (error != ERR_OK)
		return error;
	return get_u32(*bytes + length - 4) == footer_element_crc(file_id, *bytes, length - 4) ? ERR_OK : ERR_CORRUPT;
}

/* ---- trailer and section heads ---- */

/* Conditions 1 to 4. */
static enum error read_trailer(struct footer *footer, const struct footer_source *source, uint64_t file_size, uint32_t *heads_crc, uint32_t *sections)
{
	const uint8_t *bytes;
	enum error error = ERR_CORRUPT;

	if (file_size >= FILE_HEADER_SIZE + FOOTER_TRAILER && file_size % 8 == 0)
		error = source->bytes(source->context, file_size - FOOTER_TRAILER, FOOTER_TRAILER, &bytes);
	if (error != ERR_OK)
		return error;
	if (memcmp(bytes, trailer_magic, sizeof trailer_magic) != 0 || get_u32(bytes + 60) != crc32c(0, bytes, 60))
		return ERR_CORRUPT;
	footer->offset = get_u64(bytes + 8);
	footer->length = get_u64(bytes + 16);
	footer->file.frontier = get_u64(bytes + 32);
	footer->file.end_lsn = get_u64(bytes + 40);
	footer->crc = get_u32(bytes + 60);
	*heads_crc = get_u32(bytes + 48);
	*sections = get_u32(bytes + 52);
	if (get_u64(bytes + 24) != footer->file.id || footer->file.end_lsn < footer->file.first_lsn || footer->file.end_lsn % 8 != 0)
		return ERR_CORRUPT;
	if (footer->offset != footer_offset(&footer->file) || footer->offset > file_size || footer->length != file_size - footer->offset ||
	    footer->length > FOOTER_LENGTH_MAX || footer->length < FOOTER_TRAILER)
		return ERR_CORRUPT;
	return *sections <= FOOTER_SECTIONS_MAX ? ERR_OK : ERR_CORRUPT;
}

static bool section_fits(const struct footer_section *section, uint32_t type)
{
	static const uint32_t elements[FOOTER_TYPE_END] = { [FOOTER_EXTENTS] = FOOTER_EXTENT, [FOOTER_KEYS] = FOOTER_KEY, [FOOTER_TOPICS] = FOOTER_TOPIC };

	if (type == FOOTER_TAGS)
		return section->length >= FOOTER_TAGS_HEAD;
	if (type == FOOTER_CONTROLS)
		return section->length % 8 == 0;
	return section->length % elements[type] == 0;
}

static bool have_all(const struct footer *footer)
{
	for (unsigned type = FOOTER_EXTENTS; type < FOOTER_TYPE_END; type++)
		if (footer->sections[type].offset == 0)
			return false;
	return true;
}

enum error footer_open(struct footer *footer, const struct footer_source *source, uint64_t id, uint64_t first_lsn, uint64_t file_size)
{
	uint32_t heads_crc = 0, sections = 0, crc = 0;
	uint64_t at, end;
	enum error error;

	*footer = (struct footer){ .file = { .id = id, .first_lsn = first_lsn } };
	error = read_trailer(footer, source, file_size, &heads_crc, &sections);
	at = footer->offset;
	end = footer->offset + footer->length - FOOTER_TRAILER;
	for (uint32_t i = 0; i < sections && error == ERR_OK; i++) {
		struct footer_section section;
		const uint8_t *head;
		uint32_t type;
		if (end - at < FOOTER_SECTION_HEAD)
			return ERR_CORRUPT;
		if ((error = source->bytes(source->context, at, FOOTER_SECTION_HEAD, &head)) != ERR_OK)
			return error;
		crc = crc32c(crc, head, FOOTER_SECTION_HEAD);
		at += FOOTER_SECTION_HEAD;
		type = get_u32(head);
		section = (struct footer_section){ .offset = at, .length = get_u64(head + 8), .crc = get_u32(head + 4) };
		if (section.length > end - at || align8(section.length) > end - at)
			return ERR_CORRUPT;
		at += align8(section.length);
		if (type == 0 || type >= FOOTER_TYPE_END)
			continue; /* of a later version: no part of what this one knows */
		if (footer->sections[type].offset != 0 || !section_fits(&section, type))
			return ERR_CORRUPT;
		footer->sections[type] = section;
	}
	if (error != ERR_OK)
		return error;
	return at == end && crc == heads_crc && have_all(footer) ? ERR_OK : ERR_CORRUPT;
}

enum error footer_check_section(const struct footer *footer, const struct footer_source *source, enum footer_section_type type)
{
	const struct footer_section *section = &footer->sections[type];
	uint32_t crc = 0;
	const uint8_t *bytes;
	enum error error = ERR_OK;

	for (uint64_t at = 0; at < section->length && error == ERR_OK;) {
		uint32_t piece = section->length - at < SCAN_PIECE ? (uint32_t)(section->length - at) : SCAN_PIECE;
		error = source->bytes(source->context, section->offset + at, piece, &bytes);
		if (error == ERR_OK)
			crc = crc32c(crc, bytes, piece);
		at += piece;
	}
	if (error == ERR_OK && section->length % 8 != 0) {
		uint32_t padding = (uint32_t)(align8(section->length) - section->length);
		error = source->bytes(source->context, section->offset + section->length, padding, &bytes);
		for (uint32_t i = 0; i < padding && error == ERR_OK; i++)
			if (bytes[i] != 0)
				error = ERR_CORRUPT;
	}
	return error != ERR_OK ? error : crc == section->crc ? ERR_OK : ERR_CORRUPT;
}

uint64_t footer_count(const struct footer *footer, enum footer_section_type type)
{
	static const uint32_t elements[FOOTER_TYPE_END] = { [FOOTER_EXTENTS] = FOOTER_EXTENT, [FOOTER_KEYS] = FOOTER_KEY, [FOOTER_TOPICS] = FOOTER_TOPIC };

	return elements[type] == 0 ? 0 : footer->sections[type].length / elements[type];
}

/* ---- elements ---- */

/* The frame [lsn, lsn + length) is one that the file may hold. */
static bool frame_fits(const struct footer_file *file, uint64_t lsn, uint32_t length)
{
	return lsn >= file->first_lsn && lsn % 8 == 0 && length % 8 == 0 && length >= FRAME_LENGTH_MIN && length <= FRAME_LENGTH_MAX &&
	       lsn < file->end_lsn && length <= file->end_lsn - lsn;
}

static enum error extent_fields(const struct footer_file *file, const uint8_t *b, struct footer_extent *e)
{
	*e = (struct footer_extent){
		.topic = get_u64(b), .first_seq = get_u64(b + 8), .lsn = get_u64(b + 16), .ts = get_i64(b + 24), .payload = get_u64(b + 32),
		.count = get_u32(b + 40), .live = get_u32(b + 44), .length = get_u32(b + 48), .entry = get_u32(b + 52),
		.durability = b[56], .flags = b[57],
	};
	if (e->topic == 0 || e->first_seq == 0 || e->count == 0 || e->first_seq > UINT64_MAX - e->count || e->live > e->count)
		return ERR_CORRUPT;
	if (e->durability > DURABILITY_FSYNC || e->flags & ~(ENTRY_CREATED | ENTRY_BITMAP) || (!(e->flags & ENTRY_BITMAP) && e->live != e->count))
		return ERR_CORRUPT;
	return frame_fits(file, e->lsn, e->length) && e->entry >= FRAME_HEAD && e->entry % 8 == 0 && e->entry < e->length ? ERR_OK : ERR_CORRUPT;
}

enum error footer_extent_decode(const struct footer_file *file, const uint8_t bytes[FOOTER_EXTENT], struct footer_extent *extent)
{
	if (get_u32(bytes + FOOTER_EXTENT - 4) != footer_element_crc(file->id, bytes, FOOTER_EXTENT - 4))
		return ERR_CORRUPT;
	return extent_fields(file, bytes, extent);
}

static enum error extent_at(const struct footer_file *file, const struct footer_source *source, uint64_t offset, struct footer_extent *extent)
{
	const uint8_t *bytes;
	enum error error = footer_element(source, file->id, offset, FOOTER_EXTENT, &bytes);

	return error == ERR_OK ? extent_fields(file, bytes, extent) : error;
}

enum error footer_extent_at(const struct footer *footer, const struct footer_source *source, uint64_t index, struct footer_extent *extent)
{
	return extent_at(&footer->file, source, footer->sections[FOOTER_EXTENTS].offset + index * FOOTER_EXTENT, extent);
}

enum error footer_key_at(const struct footer *footer, const struct footer_source *source, uint64_t index, struct footer_key *key)
{
	const uint8_t *b;
	enum error error = footer_element(source, footer->file.id, footer->sections[FOOTER_KEYS].offset + index * FOOTER_KEY, FOOTER_KEY, &b);

	if (error != ERR_OK)
		return error;
	*key = (struct footer_key){ .topic = get_u64(b + 16), .lsn = get_u64(b + 24), .first_seq = get_u64(b + 32), .ts = get_i64(b + 40), .count = get_u32(b + 48) };
	memcpy(key->hash, b, FOOTER_HASH);
	if (key->topic == 0 || key->first_seq == 0 || key->count == 0 || key->first_seq > UINT64_MAX - key->count)
		return ERR_CORRUPT;
	return frame_fits(&footer->file, key->lsn, FRAME_LENGTH_MIN) ? ERR_OK : ERR_CORRUPT;
}

enum error footer_topic_at(const struct footer *footer, const struct footer_source *source, uint64_t index, struct footer_topic *topic)
{
	const uint8_t *b;
	enum error error = footer_element(source, footer->file.id, footer->sections[FOOTER_TOPICS].offset + index * FOOTER_TOPIC, FOOTER_TOPIC, &b);
	uint64_t extents = footer_count(footer, FOOTER_EXTENTS);

	if (error != ERR_OK)
		return error;
	*topic = (struct footer_topic){
		.topic = get_u64(b), .first_seq = get_u64(b + 8), .last_seq = get_u64(b + 16), .live = get_u64(b + 24), .payload = get_u64(b + 32),
		.last_lsn = get_u64(b + 40), .last_ts = get_i64(b + 48), .extent = get_u32(b + 56), .extents = get_u32(b + 60),
	};
	if (topic->topic == 0 || topic->first_seq == 0 || topic->last_seq < topic->first_seq || topic->last_seq == UINT64_MAX)
		return ERR_CORRUPT;
	if (topic->live > topic->last_seq - topic->first_seq + 1 || topic->extents == 0 || topic->extents > extents || topic->extent > extents - topic->extents)
		return ERR_CORRUPT;
	return frame_fits(&footer->file, topic->last_lsn, FRAME_LENGTH_MIN) ? ERR_OK : ERR_CORRUPT;
}

static bool control_type(enum entry_type type)
{
	return type != ENTRY_BATCH && type != ENTRY_ANSWER && type != ENTRY_SYNC_MARK;
}

enum error footer_control_next(const struct footer *footer, const struct footer_source *source, uint64_t *at, struct footer_control *control)
{
	const struct footer_section *section = &footer->sections[FOOTER_CONTROLS];
	uint64_t left = section->length - *at;
	const uint8_t *b;
	uint32_t length;
	enum error error;

	if (left == 0)
		return ERR_EOF;
	if (left < FOOTER_CONTROL_HEAD + ENTRY_HEAD)
		return ERR_CORRUPT;
	error = source->bytes(source->context, section->offset + *at, FOOTER_CONTROL_HEAD + ENTRY_HEAD, &b);
	if (error != ERR_OK)
		return error;
	length = get_u32(b + FOOTER_CONTROL_HEAD + 4);
	if (length < ENTRY_HEAD || length % 8 != 0 || length > FOOTER_CONTROL_MAX || length > left - FOOTER_CONTROL_HEAD)
		return ERR_CORRUPT;
	if ((error = source->bytes(source->context, section->offset + *at, FOOTER_CONTROL_HEAD + length, &b)) != ERR_OK)
		return error;
	*control = (struct footer_control){ .lsn = get_u64(b), .ts = get_i64(b + 8), .offset = get_u32(b + 16), .bytes = b + FOOTER_CONTROL_HEAD };
	if (get_u32(b + 20) != crc32c(footer_element_crc(footer->file.id, b, 20), control->bytes, length))
		return ERR_CORRUPT;
	if ((error = entry_decode(&control->entry, control->bytes, length)) != ERR_OK)
		return error;
	if (!control_type(control->entry.type) || control->offset < FRAME_HEAD || control->offset % 8 != 0 || !frame_fits(&footer->file, control->lsn, FRAME_LENGTH_MIN))
		return ERR_CORRUPT;
	*at += FOOTER_CONTROL_HEAD + length;
	return ERR_OK;
}

/* ---- searches ---- */

enum error footer_search_extents(const struct footer_file *file, const struct footer_source *source, uint64_t offset, uint32_t count, uint64_t topic, uint64_t seq,
                                 uint32_t *index)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct footer_extent extent;
		enum error error = extent_at(file, source, offset + (uint64_t)middle * FOOTER_EXTENT, &extent);
		if (error != ERR_OK)
			return error;
		if (extent.topic != topic)
			return ERR_CORRUPT;
		if (extent.first_seq + extent.count - 1 < seq)
			low = middle + 1;
		else
			high = middle;
	}
	*index = low;
	return ERR_OK;
}

enum error footer_find_topic(const struct footer *footer, const struct footer_source *source, uint64_t topic, struct footer_topic *found)
{
	uint64_t low = 0, high = footer_count(footer, FOOTER_TOPICS);

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		enum error error = footer_topic_at(footer, source, middle, found);
		if (error != ERR_OK || found->topic == topic)
			return error;
		if (found->topic < topic)
			low = middle + 1;
		else
			high = middle;
	}
	return ERR_NOT_FOUND;
}

enum error footer_find_extent(const struct footer *footer, const struct footer_source *source, uint64_t topic, uint64_t seq, uint64_t *index)
{
	struct footer_topic found;
	enum error error = footer_find_topic(footer, source, topic, &found);
	uint32_t at = 0;

	if (error == ERR_OK)
		error = footer_search_extents(&footer->file, source, footer->sections[FOOTER_EXTENTS].offset + (uint64_t)found.extent * FOOTER_EXTENT,
		                              found.extents, topic, seq, &at);
	if (error != ERR_OK)
		return error;
	*index = (uint64_t)found.extent + at;
	return at < found.extents ? ERR_OK : ERR_NOT_FOUND;
}

enum error footer_find_key(const struct footer *footer, const struct footer_source *source, const uint8_t hash[FOOTER_HASH], uint64_t *index)
{
	uint64_t count = footer_count(footer, FOOTER_KEYS), low = 0, high = count;
	struct footer_key key;
	enum error error;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		if ((error = footer_key_at(footer, source, middle, &key)) != ERR_OK)
			return error;
		if (memcmp(key.hash, hash, FOOTER_HASH) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == count)
		return ERR_NOT_FOUND;
	*index = low;
	error = footer_key_at(footer, source, low, &key);
	return error == ERR_OK && memcmp(key.hash, hash, FOOTER_HASH) != 0 ? ERR_NOT_FOUND : error;
}
