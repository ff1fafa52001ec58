#include "worker/exchange.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/compress.h"
#include "worker/connection.h"
#include "worker/json.h"
#include "worker/negotiate.h"
#include "worker/route.h"
#include "worker/text.h"
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
	return buffer_grow(buffer, room);
}

enum error buffer_grow(struct buffer *buffer, size_t room)
{
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

static uint8_t *put_status(uint8_t *at, int status)
{
	at = text_word(at, "HTTP/1.1 ");
	at = text_u64(at, (unsigned)status);
	*at++ = ' ';
	return text_word(text_word(at, reason_of(status)), "\r\n");
}

/* Which request fields the choice of this form rested on (RFC 9110 12.5.5); a POST's answer is not cached, but may have been a choice all the same. */
static uint8_t *put_vary(const struct exchange *exchange, uint8_t *at, bool bodiless)
{
	bool get = exchange->method == METHOD_GET || exchange->method == METHOD_HEAD, error = exchange->status >= 400;
	if (!get && !error && (bodiless || exchange->answer.length <= COMPRESS_MIN) && !exchange->gzipped)
		return at;
	return text_word(at, error ? "Vary: Accept, Accept-Encoding\r\n" : "Vary: Accept-Encoding\r\n");
}

static uint8_t *put_body_fields(const struct exchange *exchange, uint8_t *at)
{
	at = text_word(text_word(at, "Content-Type: "), exchange->answer_type);
	at = text_u64(text_word(at, "\r\nContent-Length: "), exchange->answer.length);
	return text_word(at, exchange->gzipped ? "\r\nContent-Encoding: gzip\r\n" : "\r\n");
}

/* Writes the head of the answer and hands the exchange to its connection. EXCHANGE_ANSWER_HEAD holds what stands here beside the extra headers. */
static void answer_ready(struct exchange *exchange)
{
	int status = exchange->status;
	bool bodiless = status == 204 || status == 304;
	struct counters *counters = exchange->worker->counters;
	uint8_t *head = (uint8_t *)exchange->answer_head, *at = put_status(head, status);
	if (connection_draining(exchange->connection))
		exchange->close_after = true;
	at = text_word(text_word(text_word(at, "Date: "), connections_date(exchange->worker->connections)), "\r\n");
	if (!bodiless)
		at = put_body_fields(exchange, at);
	at = put_vary(exchange, at, bodiless);
	at = text_bytes(at, exchange->headers, exchange->headers_length);
	if (exchange->close_after)
		at = text_word(at, "Connection: close\r\n");
	else if (exchange->minor == 0)
		at = text_word(at, "Connection: keep-alive\r\n");
	at = text_word(at, "\r\n");
	exchange->answer_head_length = (size_t)(at - head);
	if (bodiless || exchange->method == METHOD_HEAD)
		exchange->answer.length = 0;
	if (status >= 500)
		counters_add(&counters->responses_5xx, 1);
	else if (status >= 400)
		counters_add(&counters->responses_4xx, 1);
	exchange->done = true;
	exchange->parked = NULL;
	exchange->cancel = NULL;
	exchange_account(exchange);
	connection_answered(exchange->connection, exchange);
}

static bool wants_gzip(const struct exchange *exchange)
{
	bool must = false;
	return exchange->accept_encoding.at != NULL && exchange->status != 204 && exchange->status != 304 &&
	       negotiate_gzip(exchange->accept_encoding, &must) && (must || exchange->answer.length > COMPRESS_MIN);
}

static void finish(struct exchange *exchange, int status, const char *content_type)
{
	exchange->status = status;
	exchange->answer_type = content_type;
	exchange->parked = NULL;
	exchange->cancel = NULL;
	exchange->body = NULL; /* what is answered needs its question no longer */
	buffer_free(&exchange->body_buffer);
	exchange_account(exchange);
	if (!wants_gzip(exchange) || connections_compress(exchange->worker->connections, exchange, answer_ready))
		answer_ready(exchange);
}

/* Where the same figures go twice: into `performance` and into the header Server-Timing. */
struct timings { uint8_t *json, *header; };

static void one_timing(struct timings *timings, const char *json, const char *header, int64_t us)
{
	if (us < 0)
		return;
	timings->json = text_ms(text_word(timings->json, json), (uint64_t)us);
	timings->header = text_ms(text_word(timings->header, header), (uint64_t)us);
}

/* Adds ,"performance":{...}} to the answer and the header. False: no memory. */
static bool put_performance(struct exchange *exchange)
{
	enum { JSON_ROOM = 256, HEADER_ROOM = 192 };
	if (buffer_reserve(&exchange->answer, JSON_ROOM) != ERR_OK || exchange->headers_length + HEADER_ROOM > sizeof exchange->headers)
		return false;
	struct timings t = { exchange->answer.bytes + exchange->answer.length, (uint8_t *)exchange->headers + exchange->headers_length };
	t.json = text_word(t.json, ",\"performance\":{");
	t.header = text_word(t.header, "Server-Timing: ");
	one_timing(&t, "\"server_total_ms\":", "total;dur=", (int64_t)(worker_now_us() - exchange->started_us));
	one_timing(&t, ",\"wal_append_ms\":", ", wal;dur=", exchange->wal_us);
	one_timing(&t, ",\"fsync_ms\":", ", fsync;dur=", exchange->sync_us);
	one_timing(&t, ",\"throttle_wait_ms\":", ", throttle;dur=", exchange->throttle_us);
	if (exchange->records_scanned >= 0)
		t.json = text_u64(text_word(t.json, ",\"records_scanned\":"), (uint64_t)exchange->records_scanned);
	t.json = text_word(t.json, "}}");
	t.header = text_word(t.header, "\r\n");
	exchange->answer.length = (size_t)(t.json - exchange->answer.bytes);
	exchange->headers_length = (size_t)(t.header - (uint8_t *)exchange->headers);
	return true;
}

void exchange_success(struct exchange *exchange, int status)
{
	if (!put_performance(exchange) || exchange->out_of_memory)
		exchange_error(exchange, ERR_INTERNAL, NULL, "the server has no memory left for this answer; try again");
	else
		finish(exchange, status, "application/json");
}

void exchange_plain(struct exchange *exchange, int status, const char *content_type)
{
	if (exchange->out_of_memory)
		exchange_error(exchange, ERR_INTERNAL, NULL, "the server has no memory left for this answer; try again");
	else
		finish(exchange, status, content_type);
}

static unsigned retry_seconds(enum error error)
{
	return error == ERR_READ_ONLY || error == ERR_STORAGE_FAILED ? 5 : 1;
}

void exchange_error(struct exchange *exchange, enum error error, const char *detail, const char *format, ...)
{
	char message[MESSAGE_MAX];
	int status = error_status(error);
	bool problem = negotiate_problem(exchange->accept);
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(message, sizeof message, format, arguments);
	va_end(arguments);
	exchange->answer.length = 0;
	if (error != ERR_METHOD_NOT_ALLOWED && error != ERR_UNSUPPORTED_MEDIA_TYPE) /* there they say what would be taken */
		exchange->headers_length = 0;
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
	exchange->hurry = NULL;
}

enum error exchange_keep_body(struct exchange *exchange)
{
	if (exchange->body == NULL || exchange->body == exchange->body_buffer.bytes)
		return ERR_OK;
	enum error error = buffer_reserve(&exchange->body_buffer, exchange->body_length);
	if (error != ERR_OK)
		return error;
	exchange_account(exchange);
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

static void refuse_not_ready(struct exchange *exchange, const char *message)
{
	char detail[64];
	snprintf(detail, sizeof detail, "{\"replay_progress\":%.6f}",
	         atomic_load_explicit(&exchange->worker->status->progress, memory_order_relaxed) / 1000000.0);
	exchange_error(exchange, ERR_NOT_READY, detail, "%s", message);
}

void exchange_not_ready(struct exchange *exchange)
{
	refuse_not_ready(exchange, "the log is being recovered; try again in a moment");
}

void exchange_not_proven(struct exchange *exchange)
{
	refuse_not_ready(exchange, "the disk is full, and what the last run of the server wrote last is served when there is space again");
}

void exchange_topic_not_found(struct exchange *exchange)
{
	char detail[320];
	if (exchange->partial) {
		exchange_not_proven(exchange);
		return;
	}
	snprintf(detail, sizeof detail, "{\"topic\":\"%s\"}", exchange->name[0]);
	exchange_error(exchange, ERR_TOPIC_NOT_FOUND, detail, "there is no topic '%s'; a write or a PUT makes it", exchange->name[0]);
}

const struct catalogue *exchange_catalogue(struct exchange *exchange, void (*handler)(struct exchange *exchange))
{
	const struct catalogue *catalogue = NULL;
	/* Also on a server that has just started: its first answer comes a moment later rather than as a refusal; a long recovery is told (waiting.c). */
	if (worker_catalogue(exchange->worker, &catalogue) == ERR_OK) {
		exchange->partial = catalogue_partial(catalogue);
		return catalogue;
	}
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
