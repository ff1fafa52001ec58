/* The tags of a footer: a directory of topics, the tagged records of each in the order of (tag, seq), and the bytes of the tags, each of which stands once. */
#include <string.h>

#include "common/footer.h"
#include "common/footer_read.h"

enum error footer_tags_open(const struct footer *footer, const struct footer_source *source, struct footer_tags *tags)
{
	const struct footer_section *section = &footer->sections[FOOTER_TAGS];
	const uint8_t *head;
	enum error error = footer_element(source, footer->file.id, section->offset, FOOTER_TAGS_HEAD, &head);
	uint64_t directory, elements;

	if (error != ERR_OK)
		return error;
	tags->topic_count = get_u32(head);
	tags->count = get_u32(head + 4);
	tags->bytes_length = get_u32(head + 8);
	directory = (uint64_t)tags->topic_count * FOOTER_TAGS_TOPIC;
	elements = (uint64_t)tags->count * FOOTER_TAG;
	if (section->length != FOOTER_TAGS_HEAD + directory + elements + tags->bytes_length)
		return ERR_CORRUPT;
	tags->topics = section->offset + FOOTER_TAGS_HEAD;
	tags->elements = tags->topics + directory;
	tags->bytes = tags->elements + elements;
	return ERR_OK;
}

static enum error topic_at(const struct footer *footer, const struct footer_tags *tags, const struct footer_source *source, uint32_t index, uint64_t *topic,
                           struct footer_tag_range *range)
{
	const uint8_t *b;
	enum error error = footer_element(source, footer->file.id, tags->topics + (uint64_t)index * FOOTER_TAGS_TOPIC, FOOTER_TAGS_TOPIC, &b);

	if (error != ERR_OK)
		return error;
	*topic = get_u64(b);
	*range = (struct footer_tag_range){ .first = get_u32(b + 8), .count = get_u32(b + 12) };
	return *topic != 0 && range->count > 0 && range->count <= tags->count && range->first <= tags->count - range->count ? ERR_OK : ERR_CORRUPT;
}

enum error footer_tags_topic(const struct footer *footer, const struct footer_tags *tags, const struct footer_source *source, uint64_t topic,
                             struct footer_tag_range *range)
{
	uint32_t low = 0, high = tags->topic_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		uint64_t there;
		enum error error = topic_at(footer, tags, source, middle, &there, range);
		if (error != ERR_OK || there == topic)
			return error;
		if (there < topic)
			low = middle + 1;
		else
			high = middle;
	}
	*range = (struct footer_tag_range){ 0 };
	return ERR_OK;
}

enum error footer_tag_at(const struct footer *footer, const struct footer_tags *tags, const struct footer_source *source, uint32_t index, struct footer_tag *tag)
{
	const uint8_t *b;
	enum error error = footer_element(source, footer->file.id, tags->elements + (uint64_t)index * FOOTER_TAG, FOOTER_TAG, &b);
	uint32_t offset;

	if (error != ERR_OK)
		return error;
	offset = get_u32(b + 16);
	*tag = (struct footer_tag){ .seq = get_u64(b), .bytes = get_u32(b + 8), .tag_length = get_u32(b + 12), .tag_offset = tags->bytes + offset };
	return tag->seq != 0 && tag->tag_length <= FOOTER_TAG_MAX && offset <= tags->bytes_length && tag->tag_length <= tags->bytes_length - offset ? ERR_OK : ERR_CORRUPT;
}

static enum error tag_bytes(const struct footer_source *source, const struct footer_tag *tag, const uint8_t **bytes)
{
	static const uint8_t none[1];

	*bytes = none;
	return tag->tag_length == 0 ? ERR_OK : source->bytes(source->context, tag->tag_offset, tag->tag_length, bytes);
}

/* Where the element's tag stands to the wanted one: < 0 before it, 0 it, > 0 behind. As a prefix every tag that begins with it is it. */
static enum error compare(const struct footer *footer, const struct footer_tags *tags, const struct footer_source *source, uint32_t index, const void *wanted,
                          uint32_t length, bool prefix, int *order)
{
	struct footer_tag tag;
	const uint8_t *bytes;
	enum error error = footer_tag_at(footer, tags, source, index, &tag);
	uint32_t common;

	if (error == ERR_OK)
		error = tag_bytes(source, &tag, &bytes);
	if (error != ERR_OK)
		return error;
	common = tag.tag_length < length ? tag.tag_length : length;
	*order = common > 0 ? memcmp(bytes, wanted, common) : 0;
	if (*order == 0 && (tag.tag_length < length || !prefix))
		*order = (tag.tag_length > length) - (tag.tag_length < length);
	return ERR_OK;
}

/* Index of the first element of [low, high) whose order is >= `from`. */
static enum error search(const struct footer *footer, const struct footer_tags *tags, const struct footer_source *source, uint32_t low, uint32_t high,
                         const void *wanted, uint32_t length, bool prefix, int from, uint32_t *index)
{
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order;
		enum error error = compare(footer, tags, source, middle, wanted, length, prefix, &order);
		if (error != ERR_OK)
			return error;
		if (order < from)
			low = middle + 1;
		else
			high = middle;
	}
	*index = low;
	return ERR_OK;
}

enum error footer_tags_find(const struct footer *footer, const struct footer_tags *tags, const struct footer_source *source, const void *tag, uint32_t tag_length,
                            bool prefix, struct footer_tag_range *range)
{
	uint32_t end = range->first + range->count, first = end, behind = end;
	enum error error = search(footer, tags, source, range->first, end, tag, tag_length, prefix, 0, &first);

	if (error == ERR_OK)
		error = search(footer, tags, source, first, end, tag, tag_length, prefix, 1, &behind);
	if (error == ERR_OK)
		*range = (struct footer_tag_range){ first, behind - first };
	return error;
}

/* ---- the whole section ---- */

/* The elements of one topic rise by (tag, seq). Tags that are equal stand at one place, and greater ones behind: so their places are compared, and bytes only where these differ. */
static enum error check_range(const struct footer *footer, const struct footer_tags *tags, const struct footer_source *source, const struct footer_tag_range *range)
{
	struct footer_tag before = { 0 }, tag;
	uint8_t wanted[FOOTER_TAG_MAX];

	for (uint32_t i = 0; i < range->count; i++, before = tag) {
		enum error error = footer_tag_at(footer, tags, source, range->first + i, &tag);
		const uint8_t *bytes;
		int order;
		if (error != ERR_OK)
			return error;
		if (i == 0)
			continue;
		if (tag.tag_offset == before.tag_offset && tag.tag_length == before.tag_length) {
			if (tag.seq <= before.seq)
				return ERR_CORRUPT;
			continue;
		}
		if ((error = tag_bytes(source, &before, &bytes)) != ERR_OK)
			return error;
		/* What the source gave does not outlive the next read. */
		memcpy(wanted, bytes, before.tag_length);
		if ((error = compare(footer, tags, source, range->first + i, wanted, before.tag_length, false, &order)) != ERR_OK)
			return error;
		if (order <= 0)
			return ERR_CORRUPT;
	}
	return ERR_OK;
}

enum error footer_check_tags(const struct footer *footer, const struct footer_source *source)
{
	struct footer_tags tags;
	uint64_t last = 0, next = 0;
	enum error error = footer_tags_open(footer, source, &tags);

	for (uint32_t i = 0; error == ERR_OK && i < tags.topic_count; i++) {
		struct footer_tag_range range;
		uint64_t topic;
		error = topic_at(footer, &tags, source, i, &topic, &range);
		if (error == ERR_OK && (topic <= last || range.first != next))
			error = ERR_CORRUPT;
		if (error == ERR_OK)
			error = check_range(footer, &tags, source, &range);
		last = topic;
		next = (uint64_t)range.first + range.count;
	}
	return error == ERR_OK && next != tags.count ? ERR_CORRUPT : error;
}
