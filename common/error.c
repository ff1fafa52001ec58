#include "common/error.h"

struct contract {
	int status;
	const char *code;
	const char *text;
};

static const struct contract contract[ERR_CONTRACT_END] = {
	[ERR_OK] = { 200, "ok", "no error" },
	[ERR_INVALID_REQUEST] = { 400, "invalid_request", "invalid request" },
	[ERR_BATCH_TOO_LARGE] = { 400, "batch_too_large", "batch too large" },
	[ERR_RECORD_TOO_LARGE] = { 400, "record_too_large", "record too large" },
	[ERR_UNAUTHORIZED] = { 401, "unauthorized", "unauthorized" },
	[ERR_FORBIDDEN] = { 403, "forbidden", "forbidden" },
	[ERR_TOPIC_NOT_FOUND] = { 404, "topic_not_found", "topic not found" },
	[ERR_ROUTER_NOT_FOUND] = { 404, "router_not_found", "router not found" },
	[ERR_NOT_FOUND] = { 404, "not_found", "not found" },
	[ERR_RECORD_GONE] = { 404, "record_gone", "record gone" },
	[ERR_METHOD_NOT_ALLOWED] = { 405, "method_not_allowed", "method not allowed" },
	[ERR_NOT_ACCEPTABLE] = { 406, "not_acceptable", "not acceptable" },
	[ERR_PAYLOAD_TOO_LARGE] = { 413, "payload_too_large", "payload too large" },
	[ERR_URI_TOO_LONG] = { 414, "uri_too_long", "URI too long" },
	[ERR_UNSUPPORTED_MEDIA_TYPE] = { 415, "unsupported_media_type", "unsupported media type" },
	[ERR_EXPECTATION_FAILED] = { 417, "expectation_failed", "expectation failed" },
	[ERR_HEADERS_TOO_LARGE] = { 431, "headers_too_large", "request header fields too large" },
	[ERR_REQUEST_TIMEOUT] = { 408, "request_timeout", "request timeout" },
	[ERR_ROUTER_CYCLE] = { 409, "router_cycle", "router cycle" },
	[ERR_TOPIC_EXISTS_INCOMPATIBLE] = { 409, "topic_exists_incompatible", "topic exists and is incompatible" },
	[ERR_TOPIC_NOT_EMPTY] = { 409, "topic_not_empty", "topic not empty" },
	[ERR_NOT_A_QUEUE] = { 409, "not_a_queue", "not a queue" },
	[ERR_HEAD_MISMATCH] = { 409, "head_mismatch", "head mismatch" },
	[ERR_TOPIC_FULL] = { 422, "topic_full", "topic full" },
	[ERR_THROTTLED] = { 429, "throttled", "throttled" },
	[ERR_INTERNAL] = { 500, "internal", "internal error" },
	[ERR_NOT_IMPLEMENTED] = { 501, "not_implemented", "not implemented" },
	[ERR_NOT_READY] = { 503, "not_ready", "not ready" },
	[ERR_SHUTTING_DOWN] = { 503, "shutting_down", "shutting down" },
	[ERR_STORAGE_FAILED] = { 503, "storage_failed", "storage failed" },
	[ERR_READ_ONLY] = { 503, "read_only", "read only" },
	[ERR_STORAGE_STALLED] = { 503, "storage_stalled", "storage stalled" },
	[ERR_COMMIT_UNKNOWN] = { 503, "commit_unknown", "commit unknown" },
	[ERR_STORAGE_FULL] = { 507, "storage_full", "storage full" },
	[ERR_HTTP_VERSION] = { 505, "invalid_request", "HTTP version not supported" },
};

static const struct contract *in_contract(enum error error)
{
	unsigned index = (unsigned)error;
	return index < ERR_CONTRACT_END && contract[index].code != 0 ? &contract[index] : &contract[ERR_INTERNAL];
}

const char *error_code(enum error error)
{
	return in_contract(error)->code;
}

int error_status(enum error error)
{
	return in_contract(error)->status;
}

const char *error_text(enum error error)
{
	switch (error) {
	case ERR_AGAIN:
		return "not now";
	case ERR_NOMEM:
		return "out of memory";
	case ERR_IO:
		return "input/output error";
	case ERR_CORRUPT:
		return "damaged bytes";
	case ERR_NEWER:
		return "written by a newer version";
	case ERR_PROTOCOL:
		return "protocol violation";
	case ERR_EOF:
		return "the other end is gone";
	case ERR_EXISTS:
		return "exists already";
	case ERR_LIMIT:
		return "limit reached";
	case ERR_RANGE:
		return "value out of range";
	case ERR_BUSY:
		return "held by somebody else";
	default:
		return in_contract(error)->text;
	}
}
