/* Builds requests as a worker does, for tests of what stands at the other end of the ring. */
#ifndef TOPICS_TESTS_MAKE_REQUEST_H
#define TOPICS_TESTS_MAKE_REQUEST_H

#include <stdint.h>
#include <string.h>

#include "common/bytes.h"
#include "common/record.h"
#include "common/request.h"
#include "common/topic_config.h"

/* Writes a record without tag, node and meta; returns its bytes. */
static inline uint32_t make_record(uint8_t *out, const void *data, uint32_t length)
{
	uint32_t size = (uint32_t)record_size(length, 0, 0, 0, 0);

	memset(out, 0, size);
	put_u32(out, size);
	put_u32(out + 8, length);
	memcpy(out + RECORD_HEAD, data, length);
	return size;
}

static inline uint32_t make_tagged_record(uint8_t *out, const void *data, uint32_t length, const char *tag)
{
	uint32_t tag_length = (uint32_t)strlen(tag), size = (uint32_t)record_size(length, 0, tag_length, 0, 0);

	memset(out, 0, size);
	put_u32(out, size);
	put_u32(out + 8, length);
	put_u32(out + 16, tag_length);
	put_u32(out + 28, RECORD_HAS_TAG);
	memcpy(out + RECORD_HEAD, data, length);
	memcpy(out + RECORD_HEAD + length, tag, tag_length);
	return size;
}

/*
 * Puts the parts behind `head` into `entry` (which has room), head included, padded with zeros; sets head->length. NULL parts have length
 * 0. The lengths stand in the head.
 */
static inline void make_request(uint8_t *entry, struct request *head, const void *name, const void *config, const void *key,
                                const void *node, const void *body)
{
	struct request_layout layout;

	head->flags = (uint16_t)(head->flags & ~(unsigned)REQUEST_LARGE);
	layout = request_layout(head);
	head->length = (uint32_t)layout.end;
	memset(entry, 0, layout.end);
	memcpy(entry, head, sizeof *head);
	if (name != NULL)
		memcpy(entry + layout.name, name, head->name_length);
	if (config != NULL)
		memcpy(entry + layout.config, config, head->config_length);
	if (key != NULL)
		memcpy(entry + layout.key, key, head->key_length);
	if (node != NULL)
		memcpy(entry + layout.node, node, head->node_length);
	if (body != NULL)
		memcpy(entry + layout.body, body, head->body_length);
}

#endif
