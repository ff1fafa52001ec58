#include "worker/negotiate.h"

#include <string.h>
#include <strings.h>

enum { WEIGHT_MOST = 1000, WEIGHT_BAD = -1 };

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static struct slice trimmed(const char *from, const char *to)
{
	while (from < to && is_space(*from))
		from++;
	while (to > from && is_space(to[-1]))
		to--;
	return (struct slice){ from, (size_t)(to - from) };
}

static bool equals(struct slice slice, const char *text)
{
	return slice.length == strlen(text) && strncasecmp(slice.at, text, slice.length) == 0;
}

/* Cuts the next piece off the front of *rest, up to `separator` outside of quoted strings. False at the end. */
static bool cut(struct slice *rest, char separator, struct slice *piece)
{
	const char *at = rest->at, *end = rest->at + rest->length;
	bool quoted = false;
	if (rest->at == NULL)
		return false;
	for (; at < end && (quoted || *at != separator); at++) {
		if (*at == '"')
			quoted = !quoted;
		else if (quoted && *at == '\\' && at + 1 < end)
			at++;
	}
	*piece = trimmed(rest->at, at);
	*rest = at < end ? (struct slice){ at + 1, (size_t)(end - at - 1) } : (struct slice){ NULL, 0 };
	return true;
}

/* 0, 1, or 0 and 1 with up to three decimals, in thousandths. */
static int weight_of(struct slice value)
{
	static const int places[] = { 100, 10, 1 };
	if (value.length < 1 || value.length > 5 || (value.at[0] != '0' && value.at[0] != '1') || (value.length > 1 && value.at[1] != '.'))
		return WEIGHT_BAD;
	int weight = (value.at[0] - '0') * WEIGHT_MOST;
	for (size_t i = 2; i < value.length; i++) {
		if (value.at[i] < '0' || value.at[i] > '9')
			return WEIGHT_BAD;
		weight += (value.at[i] - '0') * places[i - 2];
	}
	return weight <= WEIGHT_MOST ? weight : WEIGHT_BAD;
}

/* Splits an element into what it names and its weight. */
static int weighted(struct slice element, struct slice *name)
{
	struct slice parameter, rest = element;
	int weight = WEIGHT_MOST;
	if (!cut(&rest, ';', name) || name->length == 0)
		return WEIGHT_BAD;
	while (cut(&rest, ';', &parameter))
		if (parameter.length >= 2 && (parameter.at[0] | 0x20) == 'q' && parameter.at[1] == '=')
			weight = weight_of((struct slice){ parameter.at + 2, parameter.length - 2 });
	return weight;
}

unsigned negotiate_media(struct slice accept, const char *type, bool *named)
{
	const char *slash = strchr(type, '/');
	size_t major = (size_t)(slash - type);
	struct slice element, range;
	int weight = accept.at == NULL ? WEIGHT_MOST : 0, closest = 0;
	while (cut(&accept, ',', &element)) {
		int one = weighted(element, &range), close = 0;
		if (one == WEIGHT_BAD)
			continue;
		if (equals(range, type))
			close = 3;
		else if (range.length == major + 2 && range.at[major] == '/' && range.at[major + 1] == '*' && strncasecmp(range.at, type, major) == 0)
			close = 2;
		else if (equals(range, "*/*"))
			close = 1;
		if (close == 0 || close < closest || (close == closest && one < weight))
			continue;
		closest = close;
		weight = one;
	}
	if (named != NULL)
		*named = closest == 3;
	return (unsigned)weight;
}

bool negotiate_problem(struct slice accept)
{
	bool named = false;
	unsigned weight = negotiate_media(accept, "application/problem+json", &named);
	return named && weight > 0 && weight >= negotiate_media(accept, "application/json", NULL);
}

bool negotiate_gzip(struct slice accept_encoding, bool *must)
{
	struct slice element, name;
	int gzip = WEIGHT_BAD, identity = WEIGHT_BAD, star = WEIGHT_BAD;
	while (cut(&accept_encoding, ',', &element)) {
		int weight = weighted(element, &name);
		if (weight == WEIGHT_BAD)
			continue;
		if (equals(name, "gzip") || equals(name, "x-gzip"))
			gzip = weight > gzip ? weight : gzip;
		else if (equals(name, "identity"))
			identity = weight;
		else if (equals(name, "*"))
			star = weight;
	}
	/* Identity is fine unless it is forbidden by name, or by a star without being named; a star wants nothing in particular of it. */
	bool forbidden = identity == 0 || (identity == WEIGHT_BAD && star == 0);
	gzip = gzip == WEIGHT_BAD ? star : gzip;
	if (must != NULL)
		*must = forbidden && gzip > 0;
	return gzip > 0 && gzip >= identity;
}

enum coding negotiate_coding(struct slice content_encoding)
{
	struct slice value = content_encoding.at != NULL ? trimmed(content_encoding.at, content_encoding.at + content_encoding.length) : content_encoding;
	if (value.at == NULL || value.length == 0 || equals(value, "identity"))
		return CODING_IDENTITY;
	return equals(value, "gzip") || equals(value, "x-gzip") ? CODING_GZIP : CODING_OTHER;
}

bool negotiate_tag(struct slice list, const char *tag)
{
	size_t length = strlen(tag);
	if (list.at == NULL)
		return false;
	const char *at = list.at, *end = list.at + list.length;
	struct slice whole = trimmed(at, end);
	if (whole.length == 1 && whole.at[0] == '*')
		return true;
	while (at < end) {
		while (at < end && (is_space(*at) || *at == ','))
			at++;
		if (end - at >= 2 && at[0] == 'W' && at[1] == '/')
			at += 2;
		if (at == end || *at != '"')
			return false;
		const char *close = memchr(at + 1, '"', (size_t)(end - at - 1));
		if (close == NULL)
			return false;
		if ((size_t)(close + 1 - at) == length && memcmp(at, tag, length) == 0)
			return true;
		at = close + 1;
		while (at < end && is_space(*at))
			at++;
		if (at < end && *at != ',')
			return false;
	}
	return false;
}
