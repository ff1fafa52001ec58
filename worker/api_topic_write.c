/* PUT, PATCH and DELETE /v0/topics/:topic */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "worker/api.h"
#include "worker/config_json.h"
#include "worker/submit.h"
#include "worker/worker.h"

enum { SMALL_REQUEST = 256 + TOPIC_CONFIG_MAX + 16 };

/* logd answers with the configuration that is in force then. */
static void finish_config(struct exchange *exchange, const struct completion *completion, const uint8_t *body)
{
	bool created = (completion->flags & COMPLETION_CREATED) != 0;
	struct topic_config config;
	uint8_t text[CONFIG_JSON_MAX];
	if (completion->status != ERR_OK) {
		submit_refused(exchange, completion, body);
		return;
	}
	if (topic_config_decode(&config, body, completion->body_length) != ERR_OK) {
		exchange_error(exchange, ERR_INTERNAL, NULL, "the log answered with a configuration that cannot be read");
		return;
	}
	answer_text(exchange, "{\"topic\":\"%s\",\"created\":%s,\"config\":", exchange->name[0], created ? "true" : "false");
	answer_bytes(exchange, text, config_json_render(text, &config));
	answer_text(exchange, ",\"epoch\":\"%016" PRIx64 "\"", completion->topic);
	exchange_success(exchange, created ? 201 : 200);
}

static void configure(struct exchange *exchange, enum request_type type, void (*handler)(struct exchange *exchange))
{
	static const uint8_t empty[] = "{}";
	struct request head = { .type = (uint16_t)type, .flags = REQUEST_HAS_CONFIG };
	struct topic_config config;
	struct json_error problem = { 0 };
	struct submit_room room;
	uint8_t bytes[TOPIC_CONFIG_MAX];
	uint32_t mask = 0;
	bool none = exchange->body_length == 0;
	topic_config_default(&config);
	if (config_json_parse(&config, &mask, none ? empty : exchange->body, none ? 2 : exchange->body_length, 0, 0, exchange->name[0],
	                      exchange->name_length[0], &problem) != ERR_OK) {
		char detail[64];
		snprintf(detail, sizeof detail, "{\"offset\":%zu}", problem.offset);
		exchange_error(exchange, ERR_INVALID_REQUEST, detail, "%s (at byte %zu)", problem.message, problem.offset);
		return;
	}
	if (exchange->worker->catalogue == NULL && exchange_catalogue(exchange, handler) == NULL)
		return;
	if (!submit_begin(exchange, SMALL_REQUEST, NULL, handler, &room))
		return;
	if (mask & CONFIG_TYPE)
		head.flags |= REQUEST_TYPE_GIVEN;
	head.name_length = (uint32_t)exchange->name_length[0];
	head.config_length = (uint32_t)topic_config_encode(&config, bytes);
	head.mask = type == REQUEST_TOPIC_PATCH ? mask : 0;
	submit_publish(exchange, &room, &head, exchange->name[0], bytes, NULL, NULL, finish_config);
}

void api_topic_put(struct exchange *exchange)
{
	configure(exchange, REQUEST_TOPIC_PUT, api_topic_put);
}

void api_topic_patch(struct exchange *exchange)
{
	configure(exchange, REQUEST_TOPIC_PATCH, api_topic_patch);
}

static void finish_delete(struct exchange *exchange, const struct completion *completion, const uint8_t *body)
{
	if (completion->status != ERR_OK) {
		submit_refused(exchange, completion, body);
		return;
	}
	answer_text(exchange, "{\"topic\":\"%s\",\"deleted\":%s,\"routers_removed\":[]", exchange->name[0], completion->first_seq ? "true" : "false");
	exchange_success(exchange, 200);
}

void api_topic_delete(struct exchange *exchange)
{
	struct request head = { .type = REQUEST_TOPIC_DELETE };
	struct submit_room room;
	bool if_empty = false;
	if (exchange_query_bool(exchange, "if_empty", &if_empty) != ERR_OK)
		return;
	if (exchange->worker->catalogue == NULL && exchange_catalogue(exchange, api_topic_delete) == NULL)
		return;
	if (!submit_begin(exchange, SMALL_REQUEST, NULL, api_topic_delete, &room))
		return;
	head.flags = if_empty ? REQUEST_IF_EMPTY : 0;
	head.name_length = (uint32_t)exchange->name_length[0];
	submit_publish(exchange, &room, &head, exchange->name[0], NULL, NULL, NULL, finish_delete);
}
