/* Endpoints of the contract that this version does not have: 501, after the checks that come before it. */
#include <stdio.h>

#include "worker/api.h"
#include "worker/json.h"
#include "worker/route.h"

void api_not_implemented(struct exchange *exchange)
{
	struct json_error problem = { 0 };
	const struct route_method *method = route_method(exchange->route, exchange->method);
	if (method->body != BODY_IGNORED && json_object(exchange->body, exchange->body_length, 0, 0, NULL, 0, &problem) != ERR_OK) {
		char detail[64];
		snprintf(detail, sizeof detail, "{\"offset\":%zu}", problem.offset);
		exchange_error(exchange, ERR_INVALID_REQUEST, detail, "%s (at byte %zu)", problem.message, problem.offset);
		return;
	}
	exchange_error(exchange, ERR_NOT_IMPLEMENTED, NULL, "this endpoint is not part of this version of topics");
}
