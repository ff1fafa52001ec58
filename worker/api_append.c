/* POST /v0/topics/:topic */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/api.h"
#include "worker/config_json.h"
#include "worker/scan.h"
#include "worker/submit.h"
#include "worker/text.h"
#include "worker/worker.h"

/* "seqs":[...] for a run of numbers; the caller has made room for TEXT_U64_MAX + 1 bytes each. */
static uint8_t *put_seqs(uint8_t *at, uint64_t first, uint32_t count)
{
	uint8_t digits[TEXT_U64_MAX] = { 0 }; /* of the number, but for its last one */
	size_t length = (size_t)(text_u64(digits, first) - digits);
	uint8_t last = digits[length - 1];
	at = text_word(at, ",\"seqs\":[");
	for (uint32_t i = 0; i < count; i++) {
		memcpy(at, digits, sizeof digits); /* all of them: a copy of a constant length is no call */
		at += length;
		at[-1] = last;
		*at++ = ',';
		if (last++ == '9') {
			digits[length - 1] = '9';
			length = text_count_up(digits, length);
			last = '0';
		}
	}
	at[count > 0 ? -1 : 0] = ']';
	return count > 0 ? at : at + 1;
}

static uint8_t *put_bool(uint8_t *at, const char *name, bool value)
{
	return text_word(text_word(at, name), value ? "true" : "false");
}

static uint8_t *put_field(uint8_t *at, const char *name, uint64_t value)
{
	return text_u64(text_word(at, name), value);
}

/* The answer but for its last '}', in one piece of memory. */
static void render(struct exchange *exchange, const struct completion *c, bool seqs)
{
	size_t room = 256 + 16 + sizeof exchange->name[0] + 6 * TEXT_U64_MAX + (seqs ? (size_t)c->count * (TEXT_U64_MAX + 1) : 0);
	if (buffer_reserve(&exchange->answer, room) != ERR_OK) {
		exchange->out_of_memory = true;
		return;
	}
	uint8_t *at = exchange->answer.bytes + exchange->answer.length;
	at = text_word(at, "{\"topic\":\"");
	at = text_bytes(at, exchange->name[0], exchange->name_length[0]); /* a valid name needs no escapes */
	at = text_hex(text_word(at, "\",\"epoch\":\""), c->topic);
	at = put_field(at, "\",\"first_seq\":", c->first_seq);
	at = put_field(at, ",\"last_seq\":", c->first_seq + c->count - 1);
	if (seqs)
		at = put_seqs(at, c->first_seq, c->count);
	at = put_field(at, ",\"head_seq\":", c->head);
	at = put_field(at, ",\"durable_seq\":", c->durable);
	at = put_field(at, ",\"count\":", c->count);
	at = put_bool(at, ",\"created\":", (c->flags & COMPLETION_CREATED) != 0);
	at = put_bool(at, ",\"deduped\":", (c->flags & COMPLETION_DEDUPED) != 0);
	exchange->answer.length = (size_t)(at - exchange->answer.bytes);
}

static void finish(struct exchange *exchange, const struct completion *completion, const uint8_t *body)
{
	struct counters *counters = exchange->worker->counters;
	bool seqs = true;
	if (completion->status != ERR_OK) {
		submit_refused(exchange, completion, body);
		return;
	}
	if (exchange_query_bool(exchange, "return_seqs", &seqs) != ERR_OK)
		return;
	render(exchange, completion, seqs);
	counters_add(&counters->appends_total, 1);
	counters_add(&counters->records_in_total, completion->count);
	exchange_success(exchange, completion->flags & COMPLETION_CREATED ? 201 : 200);
}

/* The header counts only where the body has no key; it may be quoted. */
static enum error take_key_header(const struct exchange *exchange, struct scanned *scanned)
{
	struct slice key = exchange->idempotency_key;
	if (scanned->has_key || key.at == NULL)
		return ERR_OK;
	if (key.length >= 2 && key.at[0] == '"' && key.at[key.length - 1] == '"')
		key = (struct slice){ key.at + 1, key.length - 2 };
	if (key.length > SCAN_KEY_MAX)
		return ERR_INVALID_REQUEST;
	memcpy(scanned->key, key.at, key.length);
	scanned->key_length = key.length;
	scanned->has_key = true;
	return ERR_OK;
}

/* An epoch is 16 hexadecimal digits; any other text is no incarnation of any topic. */
static uint64_t epoch_of(const struct scanned *scanned)
{
	uint64_t epoch = 0;
	if (scanned->epoch_length != 16)
		return UINT64_MAX;
	for (size_t i = 0; i < 16; i++) {
		char c = scanned->epoch[i];
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return UINT64_MAX;
		epoch = epoch * 16 + (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return epoch;
}

static void refuse(struct exchange *exchange, enum error error, const struct json_error *problem)
{
	char detail[64];
	if (error == ERR_BATCH_TOO_LARGE)
		snprintf(detail, sizeof detail, "{\"max\":%" PRIu64 "}", exchange->worker->inherit.common.settings.max_batch_records);
	else if (error == ERR_RECORD_TOO_LARGE)
		snprintf(detail, sizeof detail, "{\"max\":%" PRIu64 "}", exchange->worker->inherit.common.settings.max_record_bytes);
	else
		snprintf(detail, sizeof detail, "{\"offset\":%zu}", problem->offset);
	exchange_error(exchange, error, detail, "%s (at byte %zu)", problem->message, problem->offset);
}

static uint16_t flags_of(const struct scanned *s)
{
	unsigned flags = 0;
	flags |= s->has_create ? (s->create ? REQUEST_CREATE_TRUE : REQUEST_CREATE_FALSE) : 0u;
	flags |= s->has_expect_head ? REQUEST_EXPECT_HEAD : 0u;
	flags |= s->has_expect_epoch ? REQUEST_EXPECT_EPOCH : 0u;
	flags |= s->has_config ? REQUEST_HAS_CONFIG : 0u;
	flags |= s->has_key ? REQUEST_HAS_KEY : 0u;
	flags |= s->has_node ? REQUEST_HAS_NODE : 0u;
	flags |= s->wait ? REQUEST_WAIT : 0u;
	return (uint16_t)flags;
}

static enum error take_config(struct exchange *exchange, const struct scanned *scanned, uint8_t *out, uint32_t *length, struct json_error *problem)
{
	struct topic_config config;
	uint32_t mask;
	*length = 0;
	if (!scanned->has_config)
		return ERR_OK;
	topic_config_default(&config);
	enum error error = config_json_parse(&config, &mask, scanned->config, scanned->config_length, scanned->config_offset, 1, exchange->name[0],
	                                     exchange->name_length[0], problem);
	if (error == ERR_OK)
		*length = (uint32_t)topic_config_encode(&config, out);
	return error;
}

/* `disable_backpressure`, looked for before the records are scanned: they are scanned into the room that is waited for. */
static bool would_wait(const struct exchange *exchange)
{
	struct json_field field = { .name = "disable_backpressure", .want = JSON_BOOL };
	struct json_error problem;
	return json_object(exchange->body, exchange->body_length, 0, 0, &field, 1, &problem) == ERR_OK && field.is_set && field.boolean;
}

void api_topic_append(struct exchange *exchange)
{
	const struct settings *settings = &exchange->worker->inherit.common.settings;
	size_t records = scan_room(exchange->body_length, settings);
	uint8_t config[TOPIC_CONFIG_MAX];
	struct json_error problem;
	struct submit_room room;
	struct scanned scanned;
	struct request head = { .type = REQUEST_APPEND };
	bool seqs = true;
	if (exchange_query_bool(exchange, "return_seqs", &seqs) != ERR_OK)
		return;
	if (exchange->worker->catalogue == NULL && exchange_catalogue(exchange, api_topic_append) == NULL)
		return;
	if (!submit_begin(exchange, records + 256 + TOPIC_CONFIG_MAX + SCAN_KEY_MAX + settings->max_node_bytes + 32, would_wait, api_topic_append, &room))
		return;
	enum error error = scan_append(exchange->worker->scanner, exchange->body, exchange->body_length, settings, room.parts, &scanned, &problem);
	if (error == ERR_OK)
		error = take_config(exchange, &scanned, config, &head.config_length, &problem);
	if (error == ERR_OK && (error = take_key_header(exchange, &scanned)) != ERR_OK)
		problem = (struct json_error){ .message = "the header Idempotency-Key is longer than 256 bytes" };
	if (error != ERR_OK) {
		refuse(exchange, error, &problem);
		return;
	}
	head.flags = flags_of(&scanned);
	head.name_length = (uint32_t)exchange->name_length[0];
	head.key_length = (uint32_t)scanned.key_length;
	head.node_length = (uint32_t)scanned.node_length;
	head.body_length = scanned.records_length;
	head.count = scanned.count;
	head.payload = scanned.payload;
	head.expect_head = scanned.expect_head;
	head.expect_epoch = scanned.has_expect_epoch ? epoch_of(&scanned) : 0;
	submit_publish(exchange, &room, &head, exchange->name[0], config, scanned.key, scanned.node, finish);
}
