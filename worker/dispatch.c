#include "worker/dispatch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "worker/api.h"
#include "worker/negotiate.h"
#include "worker/route.h"
#include "worker/worker.h"

#define EVERY_METHOD "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

/* A gzip file of incompressible bytes is a little larger than they are. */
static uint64_t most_as_sent(const struct exchange *exchange, uint64_t most)
{
	return exchange->unpack ? most + most / 1000 + 1024 : most;
}

static void refuse_type(struct exchange *exchange, enum error error)
{
	if (error == ERR_UNSUPPORTED_MEDIA_TYPE) {
		exchange_header(exchange, "Accept", "application/json");
		exchange_error(exchange, error, NULL, "add the header 'Content-Type: application/json'; the body must be JSON");
	} else {
		exchange_error(exchange, error, NULL, "the body is empty; a JSON object is wanted");
	}
}

static void answer_options(struct exchange *exchange)
{
	char allow[96];
	if (exchange->route != NULL)
		route_allow(exchange->route, allow, sizeof allow);
	exchange_header(exchange, "Allow", "%s", exchange->route != NULL ? allow : EVERY_METHOD);
	exchange_plain(exchange, 204, "");
}

static void refuse_method(struct exchange *exchange)
{
	char allow[96];
	route_allow(exchange->route, allow, sizeof allow);
	exchange_header(exchange, "Allow", "%s", allow);
	exchange_error(exchange, ERR_METHOD_NOT_ALLOWED, NULL, "this method does not exist here; allowed are: %s", allow);
}

void dispatch_head(struct exchange *exchange, const struct http_head *head, struct slice target)
{
	const struct settings *settings = &exchange->worker->inherit.common.settings;
	const char *problem = "there is no such endpoint; the API begins at /v0/topics";
	if (exchange->method == METHOD_OPTIONS && target.length == 1 && target.at[0] == '*') {
		answer_options(exchange);
		return;
	}
	if (head->connect) {
		exchange_header(exchange, "Allow", EVERY_METHOD);
		exchange_error(exchange, ERR_METHOD_NOT_ALLOWED, NULL, "this server opens no tunnels");
		return;
	}
	enum error error = route_find(exchange, target, &problem);
	if (error != ERR_OK) {
		exchange_error(exchange, error, NULL, "%s", problem);
		return;
	}
	if (exchange->method == METHOD_OPTIONS) {
		answer_options(exchange);
		return;
	}
	const struct route_method *method = route_method(exchange->route, exchange->method);
	if (method == NULL) {
		refuse_method(exchange);
		return;
	}
	if (head->bad_expectation) {
		exchange->close_after = true;
		exchange_error(exchange, ERR_EXPECTATION_FAILED, NULL, "the only expectation is 100-continue");
		return;
	}
	bool empty = !head->chunked && head->length == 0;
	enum coding coding = empty || method->body == BODY_IGNORED ? CODING_IDENTITY : negotiate_coding(exchange->content_encoding);
	if (coding == CODING_OTHER) {
		exchange_header(exchange, "Accept-Encoding", "gzip, identity");
		exchange_error(exchange, ERR_UNSUPPORTED_MEDIA_TYPE, NULL, "send the body with 'Content-Encoding: gzip', or as it is without this header");
		return;
	}
	exchange->unpack = coding == CODING_GZIP;
	exchange->drop_body = method->body == BODY_IGNORED;
	/* A chunked body may turn out to be empty: where that makes a difference its type is judged when it has come. */
	error = route_check_type(method->body, exchange->content_type, empty);
	if (error != ERR_OK && (!head->chunked || error == route_check_type(method->body, exchange->content_type, true))) {
		refuse_type(exchange, error);
		return;
	}
	if (head->length > most_as_sent(exchange, settings->max_body_bytes)) {
		exchange->close_after = true;
		dispatch_too_large(exchange);
	}
}

void dispatch_too_large(struct exchange *exchange)
{
	uint64_t most = exchange->worker->inherit.common.settings.max_body_bytes;
	char detail[48];
	snprintf(detail, sizeof detail, "{\"max\":%" PRIu64 "}", most);
	exchange_error(exchange, ERR_PAYLOAD_TOO_LARGE, detail, "the body is larger than the %" PRIu64 " bytes that TOPICS_MAX_BODY_BYTES allows", most);
}

void dispatch_body(struct exchange *exchange)
{
	const struct route_method *method = route_method(exchange->route, exchange->method);
	enum error error = route_check_type(method->body, exchange->content_type, exchange->body_length == 0);
	if (error != ERR_OK)
		refuse_type(exchange, error);
	else
		method->handler(exchange);
}

bool dispatch_is_write(const struct exchange *exchange)
{
	const struct route_method *method = exchange->route != NULL ? route_method(exchange->route, exchange->method) : NULL;
	return method != NULL && (method->handler == api_topic_append || method->handler == api_topic_put || method->handler == api_topic_patch ||
	                          method->handler == api_topic_delete);
}
