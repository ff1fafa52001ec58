/* A whole footer against the conditions of docs/format.md §8 that concern more than one element. */
#include <string.h>

#include "common/footer.h"
#include "common/footer_read.h"

/* Condition 9: extents rise by (topic, seq) without touching each other, and the topics say about them what is so. */
static enum error check_topic(const struct footer *footer, const struct footer_source *source, const struct footer_topic *topic)
{
	struct footer_topic sum = { .topic = topic->topic, .extent = topic->extent, .extents = topic->extents };

	for (uint32_t i = 0; i < topic->extents; i++) {
		struct footer_extent e;
		enum error error = footer_extent_at(footer, source, (uint64_t)topic->extent + i, &e);
		if (error != ERR_OK)
			return error;
		if (e.topic != topic->topic || (i > 0 && e.first_seq <= sum.last_seq))
			return ERR_CORRUPT;
		if (i == 0) {
			sum.first_seq = e.first_seq;
			sum.last_ts = e.ts;
		}
		sum.last_seq = e.first_seq + e.count - 1;
		sum.live += e.live;
		sum.payload += e.payload;
		sum.last_lsn = e.lsn > sum.last_lsn ? e.lsn : sum.last_lsn;
		sum.last_ts = e.ts > sum.last_ts ? e.ts : sum.last_ts;
	}
	return sum.first_seq == topic->first_seq && sum.last_seq == topic->last_seq && sum.live == topic->live && sum.payload == topic->payload &&
	                       sum.last_lsn == topic->last_lsn && sum.last_ts == topic->last_ts
	               ? ERR_OK
	               : ERR_CORRUPT;
}

static enum error check_topics(const struct footer *footer, const struct footer_source *source)
{
	uint64_t last = 0, next = 0;

	for (uint64_t i = 0; i < footer_count(footer, FOOTER_TOPICS); i++) {
		struct footer_topic topic;
		enum error error = footer_topic_at(footer, source, i, &topic);
		if (error == ERR_OK && (topic.topic <= last || topic.extent != next))
			error = ERR_CORRUPT;
		if (error == ERR_OK)
			error = check_topic(footer, source, &topic);
		if (error != ERR_OK)
			return error;
		last = topic.topic;
		next = (uint64_t)topic.extent + topic.extents;
	}
	return next == footer_count(footer, FOOTER_EXTENTS) ? ERR_OK : ERR_CORRUPT;
}

/* Condition 10: keys rise by (hash, topic, LSN). */
static enum error check_keys(const struct footer *footer, const struct footer_source *source)
{
	struct footer_key before, key;

	for (uint64_t i = 0; i < footer_count(footer, FOOTER_KEYS); i++, before = key) {
		enum error error = footer_key_at(footer, source, i, &key);
		int order;
		if (error != ERR_OK)
			return error;
		if (i == 0)
			continue;
		order = memcmp(before.hash, key.hash, FOOTER_HASH);
		if (order > 0 || (order == 0 && (before.topic > key.topic || (before.topic == key.topic && before.lsn >= key.lsn))))
			return ERR_CORRUPT;
	}
	return ERR_OK;
}

/* Condition 11: control entries stand in the order of the log. */
static enum error check_controls(const struct footer *footer, const struct footer_source *source)
{
	struct footer_control control;
	uint64_t at = 0, lsn = 0;
	uint32_t offset = 0;
	enum error error;

	while ((error = footer_control_next(footer, source, &at, &control)) == ERR_OK) {
		if (control.lsn < lsn || (control.lsn == lsn && control.offset <= offset))
			return ERR_CORRUPT;
		lsn = control.lsn;
		offset = control.offset;
	}
	return error == ERR_EOF ? ERR_OK : error;
}

enum error footer_check(const struct footer *footer, const struct footer_source *source)
{
	enum error error = ERR_OK;

	for (enum footer_section_type type = FOOTER_EXTENTS; type < FOOTER_TYPE_END && error == ERR_OK; type++)
		error = footer_check_section(footer, source, type);
	if (error == ERR_OK)
		error = check_topics(footer, source);
	if (error == ERR_OK)
		error = check_keys(footer, source);
	if (error == ERR_OK)
		error = check_controls(footer, source);
	return error == ERR_OK ? footer_check_tags(footer, source) : error;
}
