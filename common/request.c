#include "common/request.h"

#include <stdbool.h>
#include <string.h>

#include "common/bytes.h"
#include "common/record.h"
#include "common/topic_config.h"

struct request_layout request_layout(const struct request *head)
{
	/* Lengths are u32, so the sums cannot overflow 64 bits whatever a hostile head says. */
	uint64_t start = (head->flags & REQUEST_LARGE) ? 0 : sizeof(struct request);
	struct request_layout layout;

	layout.body = start;
	layout.name = layout.body + align8(head->body_length);
	layout.config = layout.name + align8(head->name_length);
	layout.key = layout.config + align8(head->config_length);
	layout.node = layout.key + align8(head->key_length);
	layout.end = layout.node + align8(head->node_length);
	return layout;
}

uint64_t request_size(const struct request *head)
{
	return sizeof *head + align8(head->body_length) + align8(head->name_length) + align8(head->config_length) +
	       align8(head->key_length) + align8(head->node_length);
}

/* Flags that a request of each type may carry. */
static const uint16_t allowed_flags[REQUEST_TYPE_END] = {
	[REQUEST_APPEND] = REQUEST_LARGE | REQUEST_CREATE_TRUE | REQUEST_CREATE_FALSE | REQUEST_EXPECT_HEAD | REQUEST_EXPECT_EPOCH |
			   REQUEST_HAS_CONFIG | REQUEST_HAS_KEY | REQUEST_HAS_NODE | REQUEST_WAIT,
	[REQUEST_TOPIC_PUT] = REQUEST_LARGE | REQUEST_HAS_CONFIG | REQUEST_TYPE_GIVEN | REQUEST_WAIT,
	[REQUEST_TOPIC_PATCH] = REQUEST_LARGE | REQUEST_HAS_CONFIG | REQUEST_TYPE_GIVEN | REQUEST_WAIT,
	[REQUEST_TOPIC_DELETE] = REQUEST_LARGE | REQUEST_IF_EMPTY | REQUEST_WAIT,
};

static bool head_valid(const struct request *head)
{
	bool large = (head->flags & REQUEST_LARGE) != 0;

	if (head->type == REQUEST_PAD || head->type >= REQUEST_TYPE_END)
		return false;
	if ((head->flags & ~(unsigned)allowed_flags[head->type]) != 0)
		return false;
	if ((head->flags & REQUEST_CREATE_TRUE) && (head->flags & REQUEST_CREATE_FALSE))
		return false;
	if (head->length != (large ? sizeof *head : request_size(head)))
		return false;
	if (!(head->flags & REQUEST_HAS_KEY) && head->key_length != 0)
		return false;
	if (!(head->flags & REQUEST_HAS_NODE) && head->node_length != 0)
		return false;
	if (head->type != REQUEST_TOPIC_PATCH && head->mask != 0)
		return false;
	if (head->mask > 0xffff || head->reserved0 != 0)
		return false;
	if (head->type != REQUEST_APPEND && (head->body_length != 0 || head->count != 0 || head->payload != 0))
		return false;
	return head->body_length % 8 == 0;
}

/* A put and a patch always have a configuration, an append when its flag says so, a delete never. */
static bool config_valid(const struct request_view *view)
{
	const struct request *head = &view->head;
	bool needed = head->type == REQUEST_TOPIC_PATCH || (head->flags & REQUEST_HAS_CONFIG) != 0;
	struct topic_config config;

	if (head->type == REQUEST_TOPIC_PUT && !needed)
		return false;
	if (!needed)
		return head->config_length == 0;
	return topic_config_decode(&config, view->config, head->config_length) == ERR_OK;
}

static bool records_valid(const struct request_view *view)
{
	const struct request *head = &view->head;
	const uint8_t *at = view->body;
	uint64_t left = head->body_length;
	uint64_t payload = 0;

	if (head->count < 1)
		return false;
	for (uint32_t i = 0; i < head->count; i++) {
		struct record record;
		if (record_parse(&record, at, left) != ERR_OK)
			return false;
		if ((record.flags & RECORD_BATCH_NODE) && !(head->flags & REQUEST_HAS_NODE))
			return false;
		payload += (uint64_t)record.data_length + record.meta_length;
		at += record.length;
		left -= record.length;
	}
	return left == 0 && payload == head->payload;
}

static bool padding_zero(const uint8_t *part, uint32_t length)
{
	for (uint64_t i = length; i < align8(length); i++)
		if (part[i] != 0)
			return false;
	return true;
}

enum error request_check(struct request_view *view, const struct request *head, const uint8_t *parts, uint64_t parts_length)
{
	uint64_t at = 0;

	if (!head_valid(head) || parts_length != request_size(head) - sizeof *head)
		return ERR_PROTOCOL;
	view->head = *head;
	view->body = parts;
	at += align8(head->body_length);
	view->name = parts + at;
	at += align8(head->name_length);
	view->config = parts + at;
	at += align8(head->config_length);
	view->key = parts + at;
	at += align8(head->key_length);
	view->node = parts + at;

	if (!padding_zero(view->name, head->name_length) || !padding_zero(view->config, head->config_length) ||
	    !padding_zero(view->key, head->key_length) || !padding_zero(view->node, head->node_length))
		return ERR_PROTOCOL;
	if (!topic_name_valid((const char *)view->name, head->name_length) || !config_valid(view))
		return ERR_PROTOCOL;
	if (head->type == REQUEST_APPEND && !records_valid(view))
		return ERR_PROTOCOL;
	return ERR_OK;
}
