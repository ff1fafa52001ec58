#include "worker/http.h"

#include <http_parser.h>
#include <string.h>
#include <strings.h>

/* tchar of RFC 9110 5.6.2 */
static bool is_token(uint8_t c)
{
	static const char others[] = "!#$%&'*+-.^_`|~";
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c != 0 && strchr(others, c) != NULL);
}

static bool equals(struct slice slice, const char *text)
{
	return slice.length == strlen(text) && strncasecmp(slice.at, text, slice.length) == 0;
}

static enum error bad(const char **problem, const char *text)
{
	*problem = text;
	return ERR_INVALID_REQUEST;
}

/* ---- what http-parser does not insist on ---- */

/* METHOD SP target SP HTTP/1.x, single spaces, visible ASCII in the target. */
static enum error check_request_line(const char *line, size_t length, const char **problem)
{
	const char *end = line + length, *space = memchr(line, ' ', length), *at;
	if (space == NULL || space == line)
		return bad(problem, "the request line must be: method, space, target, space, HTTP/1.1");
	for (at = line; at < space; at++)
		if (!is_token((uint8_t)*at))
			return bad(problem, "the method is not a token");
	if (space - line > 32)
		return bad(problem, "the method is too long");
	const char *target = space + 1, *version = memchr(target, ' ', (size_t)(end - target));
	if (version == NULL)
		return bad(problem, "the request line has no version; HTTP/1.1 is spoken here");
	if (version - target > HTTP_TARGET_MAX) {
		*problem = "the request target is longer than 8 KiB";
		return ERR_URI_TOO_LONG;
	}
	if (version == target)
		return bad(problem, "the request target is empty");
	for (at = target; at < version; at++)
		if ((uint8_t)*at <= 0x20 || (uint8_t)*at >= 0x7f)
			return bad(problem, "the request target holds a byte that must be percent-encoded");
	version++;
	if (end - version != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.' || version[5] < '0' || version[5] > '9' || version[7] < '0' ||
	    version[7] > '9')
		return bad(problem, "the version must be HTTP/1.1 or HTTP/1.0");
	if (version[5] != '1' || version[7] > '1') {
		*problem = "only HTTP/1.1 and HTTP/1.0 are spoken here";
		return ERR_HTTP_VERSION;
	}
	return ERR_OK;
}

/* name ":" value: a token with nothing between it and the colon, no control characters, no folding. */
static enum error check_field(const char *line, size_t length, const char **problem)
{
	const char *colon = memchr(line, ':', length);
	if (*line == ' ' || *line == '\t')
		return bad(problem, "a header field is folded over two lines");
	if (colon == NULL || colon == line)
		return bad(problem, "a header field has no name or no colon");
	for (const char *at = line; at < colon; at++)
		if (!is_token((uint8_t)*at))
			return bad(problem, "the name of a header field is not a token");
	for (const char *at = colon + 1; at < line + length; at++)
		if (((uint8_t)*at < 0x20 && *at != '\t') || *at == 0x7f)
			return bad(problem, "a header field holds a control character");
	return ERR_OK;
}

/* The whole head, line by line; every line ends with CR LF and has no other of either. */
static enum error check_head(const char *bytes, size_t length, const char **problem)
{
	const char *at = bytes, *end = bytes + length;
	unsigned lines = 0;
	while (at < end) {
		const char *lf = memchr(at, '\n', (size_t)(end - at));
		if (lf == NULL || lf == at || lf[-1] != '\r')
			return bad(problem, "a line of the head does not end with CR LF");
		size_t line = (size_t)(lf - 1 - at);
		if (memchr(at, '\r', line) != NULL)
			return bad(problem, "a bare CR stands in the head");
		if (line == 0)
			return ERR_OK;
		enum error error = lines == 0 ? check_request_line(at, line, problem) : check_field(at, line, problem);
		if (error != ERR_OK)
			return error;
		if (lines++ > HTTP_FIELDS_MAX) {
			*problem = "the request has more than 100 header fields";
			return ERR_HEADERS_TOO_LARGE;
		}
		at = lf + 1;
	}
	return ERR_OK;
}

/* While a head is not complete: what can be refused already, so that nobody sends on for nothing. */
static enum error check_partial(const char *bytes, size_t length, const char **problem)
{
	const char *lf = memchr(bytes, '\n', length), *first = lf != NULL ? lf : bytes + length;
	size_t line = (size_t)(first - bytes);
	for (size_t i = 0; i < line && i < 24 && bytes[i] != ' '; i++)
		if (!is_token((uint8_t)bytes[i]))
			return bad(problem, "this is not the beginning of an HTTP request");
	if (lf == NULL && line > HTTP_TARGET_MAX + 64) {
		*problem = "the request target is longer than 8 KiB";
		return ERR_URI_TOO_LONG;
	}
	if (lf != NULL && lf > bytes) {
		enum error error = lf[-1] != '\r' ? bad(problem, "a line of the head does not end with CR LF") : check_request_line(bytes, line - 1, problem);
		if (error != ERR_OK)
			return error;
	}
	if (length > HTTP_HEAD_MAX) {
		*problem = "the head is larger than 32 KiB";
		return ERR_HEADERS_TOO_LARGE;
	}
	return ERR_AGAIN;
}

/* ---- http-parser ---- */

struct collecting {
	struct http_head *head;
	bool too_many;
};

static int on_url(http_parser *parser, const char *at, size_t length)
{
	struct collecting *c = parser->data;
	c->head->target = (struct slice){ at, length };
	return 0;
}

static int on_field(http_parser *parser, const char *at, size_t length)
{
	struct collecting *c = parser->data;
	if (c->head->field_count == HTTP_FIELDS_MAX) {
		c->too_many = true;
		return 1;
	}
	c->head->fields[c->head->field_count].name = (struct slice){ at, length };
	c->head->fields[c->head->field_count++].value = (struct slice){ at + length, 0 };
	return 0;
}

static int on_value(http_parser *parser, const char *at, size_t length)
{
	struct collecting *c = parser->data;
	while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\t'))
		length--;
	c->head->fields[c->head->field_count - 1].value = (struct slice){ at, length };
	return 0;
}

/* Only the head is given to the parser; it is told to stop there. */
static int on_head_complete(http_parser *parser)
{
	(void)parser;
	return 2;
}

static enum method method_of(unsigned method)
{
	switch (method) {
	case HTTP_GET: return METHOD_GET;
	case HTTP_HEAD: return METHOD_HEAD;
	case HTTP_POST: return METHOD_POST;
	case HTTP_PUT: return METHOD_PUT;
	case HTTP_PATCH: return METHOD_PATCH;
	case HTTP_DELETE: return METHOD_DELETE;
	case HTTP_OPTIONS: return METHOD_OPTIONS;
	default: return METHOD_OTHER;
	}
}

/* A method that http-parser does not know is well-formed all the same: it is replaced for the parser, and answered 405. */
static enum error tokenise(const char *bytes, size_t length, struct http_head *head, const char **problem)
{
	static const http_parser_settings settings = { .on_url = on_url, .on_header_field = on_field, .on_header_value = on_value,
	                                               .on_headers_complete = on_head_complete };
	struct collecting collecting = { .head = head };
	http_parser parser;
	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = &collecting;
	size_t used = http_parser_execute(&parser, &settings, bytes, length);
	bool unknown = HTTP_PARSER_ERRNO(&parser) == HPE_INVALID_METHOD;
	if (unknown) {
		size_t method = (size_t)((const char *)memchr(bytes, ' ', length) - bytes); /* check_head has found it */
		http_parser_init(&parser, HTTP_REQUEST);
		http_parser_execute(&parser, &settings, "GET", 3);
		used = http_parser_execute(&parser, &settings, bytes + method, length - method);
	}
	enum http_errno error = HTTP_PARSER_ERRNO(&parser);
	if (collecting.too_many) {
		*problem = "the request has more than 100 header fields";
		return ERR_HEADERS_TOO_LARGE;
	}
	if ((error != HPE_OK && error != HPE_PAUSED) || used == 0 || head->target.at == NULL)
		return bad(problem, http_errno_description(error));
	head->method = unknown ? METHOD_OTHER : method_of(parser.method);
	/* What would follow is no HTTP of ours. */
	head->connect = !unknown && parser.method == HTTP_CONNECT;
	head->close |= head->connect;
	head->minor = parser.http_minor;
	return ERR_OK;
}

/* ---- what the fields mean ---- */

/* 1*DIGIT, as plain decimal; nothing else is a length. */
static bool decimal(struct slice value, uint64_t *out)
{
	uint64_t n = 0;
	for (size_t i = 0; i < value.length; i++)
		if (value.at[i] < '0' || value.at[i] > '9' || __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(value.at[i] - '0'), &n))
			return false;
	*out = n;
	return value.length > 0;
}

/* What a host with its port may consist of (RFC 3986 3.2.2); it decides nothing here, but whoever stands in between may have read it otherwise. */
static bool is_host(struct slice value)
{
	static const char marks[] = "-._~%!$&'()*+,;=:[]";
	for (size_t i = 0; i < value.length; i++) {
		char c = value.at[i];
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c != 0 && strchr(marks, c) != NULL)))
			return false;
	}
	return true;
}

static bool has_word(struct slice list, const char *word)
{
	size_t at = 0, n = strlen(word);
	while (at < list.length) {
		size_t end = at;
		while (end < list.length && list.at[end] != ',')
			end++;
		size_t from = at, to = end;
		while (from < to && (list.at[from] == ' ' || list.at[from] == '\t'))
			from++;
		while (to > from && (list.at[to - 1] == ' ' || list.at[to - 1] == '\t'))
			to--;
		if (to - from == n && strncasecmp(list.at + from, word, n) == 0)
			return true;
		at = end + 1;
	}
	return false;
}

static enum error take_framing(struct http_head *head, const struct http_field *field, const char **problem)
{
	if (equals(field->name, "content-length")) {
		if (head->has_length)
			return bad(problem, "Content-Length stands twice");
		/* Space behind it is allowed by RFC 9110 5.5, but lengths are where readers differ: what follows it must be the end of the line. */
		if (!decimal(field->value, &head->length) || field->value.at[field->value.length] != '\r')
			return bad(problem, "Content-Length must be a plain decimal number");
		head->has_length = true;
	} else if (equals(field->name, "transfer-encoding")) {
		if (head->chunked)
			return bad(problem, "Transfer-Encoding stands twice");
		if (!equals(field->value, "chunked"))
			return bad(problem, "the only Transfer-Encoding is chunked");
		head->chunked = true;
	} else if (equals(field->name, "host")) {
		if (head->host.at != NULL)
			return bad(problem, "Host stands twice");
		if (!is_host(field->value))
			return bad(problem, "Host holds something that is no host and port");
		head->host = field->value;
	} else if (equals(field->name, "connection")) {
		head->close |= has_word(field->value, "close");
		head->keep_alive |= has_word(field->value, "keep-alive");
	} else if (equals(field->name, "upgrade")) {
		head->h2c |= has_word(field->value, "h2c");
	} else if (equals(field->name, "expect")) {
		head->expect_continue = equals(field->value, "100-continue");
		head->bad_expectation |= !head->expect_continue;
	}
	return ERR_OK;
}

static enum error interpret(struct http_head *head, const char **problem)
{
	const struct { const char *name; struct slice *value; enum { SINGLE, LIST, FIRST } kind; } wanted[] = {
		{ "content-type", &head->content_type, SINGLE }, { "content-encoding", &head->content_encoding, LIST }, { "accept", &head->accept, LIST },
		{ "accept-encoding", &head->accept_encoding, LIST }, { "authorization", &head->authorization, FIRST },
		{ "idempotency-key", &head->idempotency_key, SINGLE }, { "if-none-match", &head->if_none_match, LIST },
	};
	for (unsigned i = 0; i < head->field_count; i++) {
		const struct http_field *field = &head->fields[i];
		enum error error = take_framing(head, field, problem);
		if (error != ERR_OK)
			return error;
		for (unsigned w = 0; w < sizeof wanted / sizeof wanted[0]; w++) {
			if (!equals(field->name, wanted[w].name))
				continue;
			if (wanted[w].value->at == NULL)
				*wanted[w].value = field->value;
			else if (wanted[w].kind == SINGLE)
				return bad(problem, "Content-Type or Idempotency-Key stands twice");
			else
				head->repeated |= wanted[w].kind == LIST;
		}
	}
	head->keep_alive = (head->minor == 1 || head->keep_alive) && !head->close;
	if (head->h2c) {
		*problem = "HTTP/2 is not spoken here; send HTTP/1.1 without the header Upgrade";
		return ERR_HTTP_VERSION;
	}
	if (head->chunked && head->has_length)
		return bad(problem, "Content-Length and Transfer-Encoding exclude each other");
	if (head->chunked && head->minor == 0)
		return bad(problem, "HTTP/1.0 has no Transfer-Encoding");
	if (head->minor == 1 && head->host.at == NULL)
		return bad(problem, "HTTP/1.1 wants a Host header field");
	if (head->minor == 0)
		head->expect_continue = head->bad_expectation = false;
	return ERR_OK;
}

/* *whole: the length of the head, when all of it is there. */
static enum error parse_head(const char *bytes, size_t length, struct http_head *head, size_t *whole, const char **problem)
{
	const char *end = memmem(bytes, length < HTTP_HEAD_MAX + 4 ? length : HTTP_HEAD_MAX + 4, "\r\n\r\n", 4);
	if (end == NULL)
		return check_partial(bytes, length, problem);
	*whole = (size_t)(end - bytes) + 4;
	if (*whole > HTTP_HEAD_MAX) {
		enum error line = check_partial(bytes, length, problem);
		*problem = line == ERR_URI_TOO_LONG ? *problem : "the head is larger than 32 KiB";
		return line == ERR_URI_TOO_LONG ? line : ERR_HEADERS_TOO_LARGE;
	}
	enum error error = check_head(bytes, *whole, problem);
	if (error == ERR_OK)
		error = tokenise(bytes, *whole, head, problem);
	if (error == ERR_OK)
		error = interpret(head, problem);
	return error;
}

/* What the answer to a refused head depends on, as far as it can be told from whole lines: whether it may have a body, and the form that was asked for. */
static void salvage(const char *bytes, size_t length, struct http_head *head)
{
	const char *end = bytes + (length < HTTP_HEAD_MAX ? length : HTTP_HEAD_MAX), *lf;
	if (length >= 5 && memcmp(bytes, "HEAD ", 5) == 0)
		head->method = METHOD_HEAD;
	for (const char *at = bytes; head->accept.at == NULL && (lf = memchr(at, '\n', (size_t)(end - at))) != NULL; at = lf + 1) {
		if (lf - at < 2 || lf[-1] != '\r')
			return;
		const char *colon = memchr(at, ':', (size_t)(lf - at));
		if (colon != NULL && equals((struct slice){ at, (size_t)(colon - at) }, "accept"))
			head->accept = (struct slice){ colon + 1, (size_t)(lf - 1 - (colon + 1)) };
	}
}

/* All but the fields, of which none counts then. */
static void clear(struct http_head *head)
{
	memset(head, 0, offsetof(struct http_head, fields));
	memset((char *)head + offsetof(struct http_head, has_length), 0, sizeof *head - offsetof(struct http_head, has_length));
}

/* Bytes of empty lines before the request line. */
static size_t empty_lines(const char *bytes, size_t length)
{
	size_t skipped = 0;
	while (skipped + 1 < length && skipped < 8 && bytes[skipped] == '\r' && bytes[skipped + 1] == '\n')
		skipped += 2;
	return skipped;
}

void http_head_salvage(const char *bytes, size_t length, struct http_head *head)
{
	size_t skipped = empty_lines(bytes, length);
	clear(head);
	salvage(bytes + skipped, length - skipped, head);
}

enum error http_head_parse(const char *bytes, size_t length, struct http_head *head, size_t *consumed, const char **problem)
{
	size_t skipped = empty_lines(bytes, length), whole = 0;
	clear(head);
	bytes += skipped;
	length -= skipped;
	if (length == 0 || (length == 1 && bytes[0] == '\r'))
		return ERR_AGAIN;
	enum error error = parse_head(bytes, length, head, &whole, problem);
	if (error == ERR_AGAIN)
		return error;
	if (error != ERR_OK)
		salvage(bytes, length, head);
	*consumed = skipped + whole;
	return error;
}

struct slice http_list_join(const struct http_head *head, const char *name, char *out)
{
	struct slice joined = { out, 0 };
	for (unsigned i = 0; i < head->field_count; i++) {
		const struct http_field *field = &head->fields[i];
		if (!equals(field->name, name))
			continue;
		if (joined.length > 0)
			out[joined.length++] = ',';
		memcpy(out + joined.length, field->value.at, field->value.length);
		joined.length += field->value.length;
	}
	return joined;
}

/* ---- bodies ---- */

/*
 *   SIZE: digits ... CR LF   DATA: bytes   DATA_END: CR LF   (size 0) TRAILER: lines up to an empty one
 */
enum chunk_state { CHUNK_SIZE, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER };

void http_body_begin(struct http_body *body, const struct http_head *head)
{
	*body = (struct http_body){ .chunked = head->chunked, .left = head->chunked ? 0 : head->length, .state = CHUNK_SIZE };
	body->done = !head->chunked && head->length == 0;
}

/* A line that ends with CR LF: its length without them, or -1 with *error ERR_AGAIN (not complete) or ERR_INVALID_REQUEST. */
static ptrdiff_t whole_line(const char *bytes, size_t length, size_t most, enum error *error, const char **problem)
{
	const char *lf = memchr(bytes, '\n', length < most ? length : most);
	*error = ERR_AGAIN;
	if (lf == NULL) {
		const char *cr = memchr(bytes, '\r', length);
		if (length >= most)
			*error = bad(problem, "a line of the chunked body is too long");
		else if (cr != NULL && cr + 1 < bytes + length)
			*error = bad(problem, "a bare CR stands in the chunked body");
		return -1;
	}
	if (lf == bytes || lf[-1] != '\r' || memchr(bytes, '\r', (size_t)(lf - bytes) - 1) != NULL) {
		*error = bad(problem, "a line of the chunked body does not end with CR LF");
		return -1;
	}
	return lf - 1 - bytes;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 1*HEXDIG, then nothing or an extension behind a semicolon. */
static enum error chunk_size(const char *line, size_t length, uint64_t *size, const char **problem)
{
	size_t i = 0;
	*size = 0;
	for (; i < length && hex_value(line[i]) >= 0; i++) {
		if (*size >> 59)
			return bad(problem, "the size of a chunk is too large");
		*size = *size * 16 + (uint64_t)hex_value(line[i]);
	}
	size_t digits = i;
	while (i < length && (line[i] == ' ' || line[i] == '\t'))
		i++;
	if (digits == 0 || (i < length && line[i] != ';') || (i > digits && i == length))
		return bad(problem, "the size of a chunk must be hexadecimal digits");
	for (; i < length; i++)
		if (((uint8_t)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
			return bad(problem, "a chunk extension holds a control character");
	return ERR_OK;
}

static enum error next_size(struct http_body *body, const char *bytes, size_t length, size_t *consumed, const char **problem)
{
	enum error error;
	ptrdiff_t line = whole_line(bytes, length, HTTP_CHUNK_LINE_MAX, &error, problem);
	if (line < 0)
		return error == ERR_AGAIN ? ERR_OK : error;
	error = chunk_size(bytes, (size_t)line, &body->left, problem);
	if (error != ERR_OK)
		return error;
	*consumed = (size_t)line + 2;
	body->state = body->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
	return ERR_OK;
}

/* Trailer fields must be well-formed, and are dropped: none may change what has been decided from the head. */
static enum error next_trailer(struct http_body *body, const char *bytes, size_t length, size_t *consumed, const char **problem)
{
	enum error error;
	ptrdiff_t line = whole_line(bytes, length, HTTP_TRAILERS_MAX, &error, problem);
	if (line < 0)
		return error == ERR_AGAIN ? ERR_OK : error;
	*consumed = (size_t)line + 2;
	body->trailers += *consumed;
	body->done = line == 0;
	if (body->trailers > HTTP_TRAILERS_MAX)
		return bad(problem, "the trailers are too large");
	return line == 0 ? ERR_OK : check_field(bytes, (size_t)line, problem);
}

static void next_data(struct http_body *body, const char *bytes, size_t length, size_t *consumed, const char **payload, size_t *payload_length)
{
	*payload = bytes;
	*payload_length = *consumed = length < body->left ? length : (size_t)body->left;
	body->left -= *consumed;
	body->taken += *consumed;
}

enum error http_body_next(struct http_body *body, const char *bytes, size_t length, size_t *consumed, const char **payload, size_t *payload_length,
                          const char **problem)
{
	*consumed = *payload_length = 0;
	*payload = bytes;
	if (body->done || length == 0)
		return ERR_OK;
	if (!body->chunked) {
		next_data(body, bytes, length, consumed, payload, payload_length);
		body->done = body->left == 0;
		return ERR_OK;
	}
	switch (body->state) {
	case CHUNK_SIZE:
		return next_size(body, bytes, length, consumed, problem);
	case CHUNK_DATA:
		next_data(body, bytes, length, consumed, payload, payload_length);
		if (body->left == 0)
			body->state = CHUNK_DATA_END;
		return ERR_OK;
	case CHUNK_DATA_END:
		if (bytes[0] != '\r' || (length > 1 && bytes[1] != '\n'))
			return bad(problem, "CR LF is missing behind a chunk");
		if (length < 2)
			return ERR_OK;
		*consumed = 2;
		body->state = CHUNK_SIZE;
		return ERR_OK;
	default:
		return next_trailer(body, bytes, length, consumed, problem);
	}
}

void http_body_unread(struct http_body *body, size_t length)
{
	body->left += length;
	body->taken -= length;
	body->done = false;
	if (body->chunked)
		body->state = CHUNK_DATA;
}
