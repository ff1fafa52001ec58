#include "worker/route.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/topic_config.h"
#include "worker/api.h"

static const char *const method_names[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "" };

static const struct route routes[] = {
	{ "/v0/topics", { { METHOD_GET, BODY_IGNORED, api_topic_list } } },
	{ "/v0/topics/:topic", { { METHOD_POST, BODY_JSON, api_topic_append }, { METHOD_GET, BODY_IGNORED, api_topic_get } } },
	{ "/v0/topics/:topic/diff", { { METHOD_POST, BODY_DIFF, api_topic_diff } } },
	{ "/v0/topics/:topic/records", { { METHOD_GET, BODY_IGNORED, api_topic_records } } },
	{ "/v0/topics/:topic/records/:text", { { METHOD_GET, BODY_IGNORED, api_topic_record } } },
	{ "/v0/topics/:topic/delete", { { METHOD_POST, BODY_JSON, api_not_implemented } } },
	{ "/v0/topics/:topic/claim", { { METHOD_POST, BODY_CLAIM, api_not_implemented } } },
	{ "/v0/topics/:topic/ack", { { METHOD_POST, BODY_JSON, api_not_implemented } } },
	{ "/v0/topics/:topic/nack", { { METHOD_POST, BODY_JSON, api_not_implemented } } },
	{ "/v0/topics/:topic/extend", { { METHOD_POST, BODY_JSON, api_not_implemented } } },
	{ "/v0/topics/:topic/work", { { METHOD_GET, BODY_IGNORED, api_not_implemented } } },
	{ "/v0/routers", { { METHOD_GET, BODY_IGNORED, api_not_implemented } } },
	{ "/v0/routers/:router", { { METHOD_PUT, BODY_JSON, api_not_implemented }, { METHOD_GET, BODY_IGNORED, api_not_implemented },
	                           { METHOD_DELETE, BODY_IGNORED, api_not_implemented } } },
	{ "/v0/watch", { { METHOD_POST, BODY_JSON, api_not_implemented } } },
	{ "/v0/watch/:text", { { METHOD_GET, BODY_IGNORED, api_not_implemented } } },
	{ "/v0/ws", { { METHOD_GET, BODY_IGNORED, api_not_implemented } } },
	{ "/v0/metrics", { { METHOD_GET, BODY_IGNORED, api_not_implemented } } },
	{ "/v0/health", { { METHOD_GET, BODY_IGNORED, api_health } } },
	{ "/healthz", { { METHOD_GET, BODY_IGNORED, api_health } } },
	{ "/v0/ready", { { METHOD_GET, BODY_IGNORED, api_ready } } },
	{ "/readyz", { { METHOD_GET, BODY_IGNORED, api_ready } } },
};

/* A topic has more methods than fit beside the reads and appends of the table. */
static const struct route_method topic_methods[] = {
	{ METHOD_PUT, BODY_JSON_OR_NONE, api_topic_put },
	{ METHOD_PATCH, BODY_JSON, api_topic_patch },
	{ METHOD_DELETE, BODY_IGNORED, api_topic_delete },
};
enum { TOPIC_ROUTE = 1 };

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decodes once: ERR_INVALID_REQUEST for a broken escape or more than `room` - 1 bytes. */
static enum error decode(const char *at, size_t length, char *out, size_t room, size_t *out_length)
{
	size_t n = 0;
	for (size_t i = 0; i < length; i++) {
		char c = at[i];
		if (c == '%') {
			if (i + 2 >= length || hex_value(at[i + 1]) < 0 || hex_value(at[i + 2]) < 0)
				return ERR_INVALID_REQUEST;
			c = (char)(hex_value(at[i + 1]) * 16 + hex_value(at[i + 2]));
			i += 2;
		}
		if (n + 1 >= room)
			return ERR_INVALID_REQUEST;
		out[n++] = c;
	}
	out[n] = '\0';
	*out_length = n;
	return ERR_OK;
}

/* Where the segment that begins at `at` ends. */
static size_t segment_length(const char *at, const char *end)
{
	const char *slash = memchr(at, '/', (size_t)(end - at));
	return (size_t)((slash != NULL ? slash : end) - at);
}

static bool matches(const char *pattern, struct slice path)
{
	const char *at = path.at, *end = path.at + path.length, *pattern_end = pattern + strlen(pattern);
	while (pattern < pattern_end && at < end) {
		if (*at != '/')
			return false;
		size_t wanted = segment_length(pattern + 1, pattern_end), is = segment_length(at + 1, end);
		if (pattern[1] == ':' ? is == 0 : wanted != is || memcmp(pattern + 1, at + 1, is) != 0)
			return false;
		pattern += wanted + 1;
		at += is + 1;
	}
	return pattern == pattern_end && at == end;
}

static enum error take_names(struct exchange *exchange, const char *pattern, const char **problem)
{
	const char *at = exchange->path.at, *end = at + exchange->path.length, *pattern_end = pattern + strlen(pattern);
	unsigned names = 0;
	while (pattern < pattern_end) {
		size_t wanted = segment_length(pattern + 1, pattern_end), is = segment_length(at + 1, end);
		if (pattern[1] == ':') {
			char *name = exchange->name[names];
			size_t *length = &exchange->name_length[names++];
			enum error error = decode(at + 1, is, name, sizeof exchange->name[0], length);
			bool topic = pattern[2] == 't' && pattern[3] == 'o', router = pattern[2] == 'r';
			if (error != ERR_OK || (topic && !topic_name_valid(name, *length)) || (router && !router_name_valid(name, *length))) {
				*problem = router ? "this is not a valid router name" : topic ? "this is not a valid topic name: letters, digits and ._:- , beginning with a "
				                  "letter or digit, 255 at most" : "this part of the path cannot be read";
				return ERR_INVALID_REQUEST;
			}
		}
		pattern += wanted + 1;
		at += is + 1;
	}
	return ERR_OK;
}

/* http://authority/path and the like become /path (RFC 9112 3.2.2). */
static struct slice origin_form(struct slice target)
{
	const size_t scheme = target.length > 7 && strncasecmp(target.at, "http://", 7) == 0 ? 7 : target.length > 8 && strncasecmp(target.at, "https://", 8) == 0 ? 8 : 0;
	if (scheme == 0)
		return target;
	size_t at = scheme;
	while (at < target.length && target.at[at] != '/' && target.at[at] != '?')
		at++;
	if (at == target.length || target.at[at] == '?')
		return (struct slice){ "/", 1 };
	return (struct slice){ target.at + at, target.length - at };
}

enum error route_find(struct exchange *exchange, struct slice target, const char **problem)
{
	target = origin_form(target);
	const char *question = memchr(target.at, '?', target.length);
	exchange->path = (struct slice){ target.at, question != NULL ? (size_t)(question - target.at) : target.length };
	exchange->query = question != NULL ? (struct slice){ question + 1, target.length - exchange->path.length - 1 } : (struct slice){ "", 0 };
	if (memchr(exchange->path.at, '#', exchange->path.length) != NULL) {
		*problem = "a fragment does not belong into a request";
		return ERR_INVALID_REQUEST;
	}
	for (unsigned i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (!matches(routes[i].pattern, exchange->path))
			continue;
		exchange->route = &routes[i];
		return take_names(exchange, routes[i].pattern, problem);
	}
	return ERR_NOT_FOUND;
}

const struct route_method *route_method(const struct route *route, enum method method)
{
	if (method == METHOD_HEAD)
		method = METHOD_GET;
	for (unsigned i = 0; i < ROUTE_METHODS; i++)
		if (route->methods[i].handler != NULL && route->methods[i].method == method)
			return &route->methods[i];
	for (unsigned i = 0; route == &routes[TOPIC_ROUTE] && i < sizeof topic_methods / sizeof topic_methods[0]; i++)
		if (topic_methods[i].method == method)
			return &topic_methods[i];
	return NULL;
}

void route_allow(const struct route *route, char *out, size_t room)
{
	size_t n = 0;
	for (unsigned m = METHOD_GET; m < METHOD_OPTIONS; m++)
		if (route_method(route, (enum method)m) != NULL)
			n += (size_t)snprintf(out + n, room - n, "%s, ", method_names[m]);
	snprintf(out + n, room - n, "OPTIONS");
}

static bool is_type(struct slice value, const char *type)
{
	size_t length = strlen(type);
	if (value.length < length || strncasecmp(value.at, type, length) != 0)
		return false;
	while (length < value.length && (value.at[length] == ' ' || value.at[length] == '\t'))
		length++;
	return length == value.length || value.at[length] == ';';
}

enum error route_check_type(enum body_rule rule, struct slice content_type, bool empty)
{
	if (rule == BODY_IGNORED)
		return ERR_OK;
	if (rule == BODY_CLAIM && empty)
		return ERR_INVALID_REQUEST;
	/* A type says nothing about no bytes: bare `curl -X PUT -d ''` names one. */
	if (empty && (rule == BODY_JSON_OR_NONE || rule == BODY_DIFF))
		return ERR_OK;
	if (rule == BODY_DIFF && is_type(content_type, "application/x-www-form-urlencoded"))
		return ERR_OK;
	if (!is_type(content_type, "application/json"))
		return ERR_UNSUPPORTED_MEDIA_TYPE;
	return empty && rule == BODY_JSON ? ERR_INVALID_REQUEST : ERR_OK;
}
