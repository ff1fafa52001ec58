/* The routes of /v0: API.md. One table of patterns, methods, body rules and handlers; order of checks: route, name, method, content type. */
#ifndef TOPICS_ROUTE_H
#define TOPICS_ROUTE_H

#include "worker/exchange.h"

enum body_rule {
	BODY_IGNORED,      /* GET, DELETE: what comes is dropped */
	BODY_JSON,         /* application/json; empty: 415 without a type, 400 with one */
	BODY_JSON_OR_NONE, /* empty is the same as {}, whatever its type */
	BODY_DIFF,         /* the same, and a form's content type is taken too */
	BODY_CLAIM,        /* empty is 400 with or without a type */
};

enum { ROUTE_METHODS = 3 };

struct route_method {
	enum method method;
	enum body_rule body;
	void (*handler)(struct exchange *exchange);
};

struct route {
	const char *pattern; /* segments; :topic, :router, :text are decoded into exchange->name */
	struct route_method methods[ROUTE_METHODS];
};

/* Splits target into path and query; finds the route, decodes its names and checks them. ERR_OK with exchange->route set; ERR_NOT_FOUND; ERR_INVALID_REQUEST with *problem. */
enum error route_find(struct exchange *exchange, struct slice target, const char **problem);

/* The method's entry, HEAD counting as GET; NULL: not allowed. */
const struct route_method *route_method(const struct route *route, enum method method);

/* Value of the Allow header. */
void route_allow(const struct route *route, char *out, size_t room);

/* Content type against the rule: ERR_OK or ERR_UNSUPPORTED_MEDIA_TYPE, ERR_INVALID_REQUEST. `empty`: there is no body. */
enum error route_check_type(enum body_rule rule, struct slice content_type, bool empty);

#endif
