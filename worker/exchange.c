#include "worker/exchange.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/connection.h"
#include "worker/json.h"
#include "worker/route.h"
#include "worker/waiting.h"
#include "worker/worker.h"

enum { BUFFER_FIRST = 1024, MESSAGE_MAX = 512 };

enum error buffer_reserve(struct buffer *buffer, size_t more)
{
	size_t room = buffer->room ? buffer->room : BUFFER_FIRST;
	if (buffer->length + more <= buffer->room)
		return ERR_OK;
	while (room < buffer->length + more)
		room *= 2;
	uint8_t *bytes = realloc(buffer->bytes, room);
	if (bytes == NULL)
		return ERR_NOMEM;
	buffer->bytes = bytes;
	buffer->room = room;
	return ERR_OK;
}

void buffer_free(struct buffer *buffer)
{
	free(buffer->bytes);
	*buffer = (struct buffer){ 0 };
}

/* ---- rendering ---- */

void answer_bytes(struct exchange *exchange, const void *bytes, size_t length)
{
	if (buffer_reserve(&exchange->answer, length) != ERR_OK) {
		exchange->out_of_memory = true;
		return;
	}
	memcpy(exchange->answer.bytes + exchange->answer.length, bytes, length);
	exchange->answer.length += length;
}

void answer_text(struct exchange *exchange, const char *format, ...)
{
	char text[MESSAGE_MAX];
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	answer_bytes(exchange, text, n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

void answer_string(struct exchange *exchange, const char *text, size_t length)
{
	if (buffer_reserve(&exchange->answer, 6 * length + 2) != ERR_OK) {
		exchange->out_of_memory = true;
		return;
	}
	exchange->answer.length += json_quote(exchange->answer.bytes + exchange->answer.length, text, length);
}

void exchange_header(struct exchange *exchange, const char *name, const char *format, ...)
{
	size_t room = sizeof exchange->headers - exchange->headers_length;
	char *at = exchange->headers + exchange->headers_length;
	va_list arguments;
	int n = snprintf(at, room, "%s: ", name);
	va_start(arguments, format);
	int m = vsnprintf(at + n, room > (size_t)n ? room - (size_t)n : 0, format, arguments);
	va_end(arguments);
	if ((size_t)(n + m) + 2 >= room)
		return;
	memcpy(at + n + m, "\r\n", 2);
	exchange->headers_length += (size_t)(n + m) + 2;
}

static const char *reason_of(int status)
{
	switch (status) {
	case 200: return "OK";
	case 201: return "Created";
	case 204: return "No Content";
	case 304: return "Not Modified";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 406: return "Not Acceptable";
	case 408: return "Request Timeout";
	case 409: return "Conflict";
	case 413: return "Content Too Large";
	case 414: return "URI Too Long";
	case 415: return "Unsupported Media Type";
	case 417: return "Expectation Failed";
	case 422: return "Unprocessable Content";
	case 429: return "Too Many Requests";
	case 431: return "Request Header Fields Too Large";
	case 501: return "Not Implemented";
	case 503: return "Service Unavailable";
	case 505: return "HTTP Version Not Supported";
	case 507: return "Insufficient Storage";
	default: return "Internal Server Error";
	}
}

/* Writes the head of the answer and hands the exchange to its connection. */
static void finish(struct exchange *exchange, int status, const char *content_type)
{
	bool bodiless = status == 204 || status == 304;
	struct counters *counters = exchange->worker->counters;
	size_t n = 0, room = sizeof exchange->answer_head;
	char *head = exchange->answer_head;
	if (connection_draining(exchange->connection))
		exchange->close_after = true;
	n += (size_t)snprintf(head, room, "HTTP/1.1 %d %s\r\n", status, reason_of(status));
	if (!bodiless)
		n += (size_t)snprintf(head + n, room - n, "Content-Type: %s\r\nContent-Length: %zu\r\n", content_type, exchange->answer.length);
	memcpy(head + n, exchange->headers, exchange->headers_length);
	n += exchange->headers_length;
	if (exchange->close_after)
		n += (size_t)snprintf(head + n, room - n, "Connection: close\r\n");
	else if (exchange->minor == 0)
		n += (size_t)snprintf(head + n, room - n, "Connection: keep-alive\r\n");
	memcpy(head + n, "\r\n", 2);
	exchange->answer_head_length = n + 2;
	if (bodiless || exchange->method == METHOD_HEAD)
		exchange->answer.length = 0;
	if (status >= 500)
		atomic_fetch_add_explicit(&counters->responses_5xx, 1, memory_order_relaxed);
	else if (status >= 400)
		atomic_fetch_add_explicit(&counters->responses_4xx, 1, memory_order_relaxed);
	exchange->done = true;
	exchange->parked = NULL;
	exchange->cancel = NULL;
	connection_answered(exchange->connection, exchange);
}

static size_t one_timing(char *out, const char *json, const char *timing, int64_t us, char *header, size_t *header_length)
{
	*header_length += (size_t)sprintf(header + *header_length, ", %s;dur=%.3f", timing, (double)us / 1000.0);
	return (size_t)sprintf(out, ",\"%s\":%.3f", json, (double)us / 1000.0);
}

void exchange_success(struct exchange *exchange, int status)
{
	char text[512], timing[256];
	double total = (double)(worker_now_us() - exchange->started_us) / 1000.0;
	size_t n = (size_t)sprintf(text, ",\"performance\":{\"server_total_ms\":%.3f", total), t = (size_t)sprintf(timing, "total;dur=%.3f", total);
	if (exchange->wal_us >= 0)
		n += one_timing(text + n, "wal_append_ms", "wal", exchange->wal_us, timing, &t);
	if (exchange->sync_us >= 0)
		n += one_timing(text + n, "fsync_ms", "fsync", exchange->sync_us, timing, &t);
	if (exchange->throttle_us >= 0)
		n += one_timing(text + n, "throttle_wait_ms", "throttle", exchange->throttle_us, timing, &t);
	if (exchange->records_scanned >= 0)
		n += (size_t)sprintf(text + n, ",\"records_scanned\":%" PRId64, exchange->records_scanned);
	n += (size_t)sprintf(text + n, "}}");
	answer_bytes(exchange, text, n);
	if (exchange->out_of_memory) {
		exchange_error(exchange, ERR_INTERNAL, NULL, "the server has no memory left for this answer; try again");
		return;
	}
	exchange_header(exchange, "Server-Timing", "%s", timing);
	finish(exchange, status, "application/json");
}

void exchange_plain(struct exchange *exchange, int status, const char *content_type)
{
	if (exchange->out_of_memory)
		exchange_error(exchange, ERR_INTERNAL, NULL, "the server has no memory left for this answer; try again");
	else
		finish(exchange, status, content_type);
}

static bool contains(struct slice text, const char *word)
{
	return text.at != NULL && memmem(text.at, text.length, word, strlen(word)) != NULL;
}

static unsigned retry_seconds(enum error error)
{
	return error == ERR_READ_ONLY || error == ERR_STORAGE_FAILED ? 5 : 1;
}

void exchange_error(struct exchange *exchange, enum error error, const char *detail, const char *format, ...)
{
	char message[MESSAGE_MAX];
	int status = error_status(error);
	bool problem = contains(exchange->accept, "application/problem+json");
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(message, sizeof message, format, arguments);
	va_end(arguments);
	exchange->answer.length = 0;
	exchange->headers_length = error == ERR_METHOD_NOT_ALLOWED ? exchange->headers_length : 0; /* Allow stays */
	if (status == 429 || status == 503)
		exchange_header(exchange, "Retry-After", "%u", retry_seconds(error));
	if (problem)
		answer_text(exchange, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":", reason_of(status), status);
	else
		answer_text(exchange, "{\"error\":{\"code\":\"%s\",\"message\":", error_code(error));
	answer_string(exchange, message, strlen(message));
	if (problem)
		answer_text(exchange, ",\"code\":\"%s\"", error_code(error));
	if (detail != NULL) {
		const char *key = problem ? ",\"info\":" : ",\"detail\":";
		answer_bytes(exchange, key, strlen(key));
		answer_bytes(exchange, detail, strlen(detail));
	}
	answer_bytes(exchange, "}}", problem ? 1 : 2);
	exchange->out_of_memory = false;
	finish(exchange, status, problem ? "application/problem+json" : "application/json");
}

/* ---- parking ---- */

void exchange_park(struct exchange *exchange, void *parked, void (*cancel)(struct exchange *exchange))
{
	exchange->parked = parked;
	exchange->cancel = cancel;
}

enum error exchange_keep_body(struct exchange *exchange)
{
	if (exchange->body == NULL || exchange->body == exchange->body_buffer.bytes)
		return ERR_OK;
	size_t before = exchange->body_buffer.room;
	enum error error = buffer_reserve(&exchange->body_buffer, exchange->body_length);
	if (error != ERR_OK)
		return error;
	connections_charge(exchange->worker->connections, exchange->body_buffer.room - before);
	memcpy(exchange->body_buffer.bytes, exchange->body, exchange->body_length);
	exchange->body_buffer.length = exchange->body_length;
	exchange->body = exchange->body_buffer.bytes;
	return ERR_OK;
}

void exchange_retry_on_catalogue(struct exchange *exchange, void (*handler)(struct exchange *exchange))
{
	if (exchange_keep_body(exchange) != ERR_OK)
		exchange_error(exchange, ERR_INTERNAL, NULL, "the server has no memory left; try again");
	else
		waiting_for_catalogue(exchange->worker->waiting, exchange, handler);
}

void exchange_not_ready(struct exchange *exchange)
{
	char detail[64];
	snprintf(detail, sizeof detail, "{\"replay_progress\":%.6f}",
	         atomic_load_explicit(&exchange->worker->status->progress, memory_order_relaxed) / 1000000.0);
	exchange_error(exchange, ERR_NOT_READY, detail, "the log is being recovered; try again in a moment");
}

const struct catalogue *exchange_catalogue(struct exchange *exchange, void (*handler)(struct exchange *exchange))
{
	const struct catalogue *catalogue = NULL;
	/* Also on a server that has just started: its first answer comes a moment later rather than as a refusal; a long recovery is told (waiting.c). */
	if (worker_catalogue(exchange->worker, &catalogue) == ERR_OK)
		return catalogue;
	exchange_retry_on_catalogue(exchange, handler);
	return NULL;
}

/* ---- query ---- */

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Form decoding: + is a space, %XX a byte. */
static enum error form_decode(const char *at, size_t length, char *out, size_t room, size_t *out_length)
{
	size_t n = 0;
	for (size_t i = 0; i < length; i++) {
		char c = at[i] == '+' ? ' ' : at[i];
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

enum error exchange_query(const struct exchange *exchange, const char *name, char *out, size_t room, size_t *length)
{
	const char *at = exchange->query.at, *end = at + exchange->query.length;
	while (at < end) {
		const char *stop = memchr(at, '&', (size_t)(end - at));
		stop = stop != NULL ? stop : end;
		const char *equals = memchr(at, '=', (size_t)(stop - at));
		const char *name_end = equals != NULL ? equals : stop;
		char decoded[64];
		size_t n;
		if (form_decode(at, (size_t)(name_end - at), decoded, sizeof decoded, &n) == ERR_OK && n == strlen(name) && memcmp(decoded, name, n) == 0)
			return form_decode(equals != NULL ? equals + 1 : stop, equals != NULL ? (size_t)(stop - equals - 1) : 0, out, room, length);
		at = stop + 1;
	}
	return ERR_AGAIN;
}

static enum error unreadable(struct exchange *exchange, const char *name, const char *wanted)
{
	exchange_error(exchange, ERR_INVALID_REQUEST, NULL, "query parameter '%s' must be %s", name, wanted);
	return ERR_INVALID_REQUEST;
}

enum error exchange_query_bool(struct exchange *exchange, const char *name, bool *value)
{
	char text[8];
	size_t length = 0;
	enum error error = exchange_query(exchange, name, text, sizeof text, &length);
	if (error == ERR_AGAIN)
		return ERR_OK;
	bool yes = error == ERR_OK && (strcmp(text, "true") == 0 || strcmp(text, "1") == 0) && strlen(text) == length;
	bool no = error == ERR_OK && (strcmp(text, "false") == 0 || strcmp(text, "0") == 0) && strlen(text) == length;
	if (!yes && !no)
		return unreadable(exchange, name, "true or false");
	*value = yes;
	return ERR_OK;
}

enum error exchange_query_u64(struct exchange *exchange, const char *name, uint64_t *value)
{
	char text[24];
	size_t length = 0;
	uint64_t n = 0;
	enum error error = exchange_query(exchange, name, text, sizeof text, &length);
	if (error == ERR_AGAIN)
		return ERR_OK;
	bool good = error == ERR_OK && length > 0;
	for (size_t i = 0; good && i < length; i++)
		good = text[i] >= '0' && text[i] <= '9' && !__builtin_mul_overflow(n, 10, &n) && !__builtin_add_overflow(n, (uint64_t)(text[i] - '0'), &n);
	if (!good)
		return unreadable(exchange, name, "a non-negative integer");
	*value = n;
	return ERR_OK;
}
