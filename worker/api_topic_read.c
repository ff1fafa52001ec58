/* GET /v0/topics/:topic and GET /v0/topics */
#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "common/crc32c.h"
#include "worker/api.h"
#include "worker/config_json.h"
#include "worker/negotiate.h"
#include "worker/waiting.h"
#include "worker/worker.h"

enum { CURSOR_VERSION = 1, PAGE_DEFAULT = 100, PAGE_MAX = 1000, CURSOR_MAX = 512, LIST_TEXT = 8 * 1024 + 1 /* no longer than a target */, IDLE_ZERO_MS = 300000 };

/* API.md §2 `auto_priority`: 500 halved with every 30 s since the last read. */
static int64_t effective_priority(const struct topic_config *config, int64_t last_read, int64_t now)
{
	if (config->has_priority)
		return config->priority > 1000 ? 1000 : config->priority < -1000 ? -1000 : config->priority;
	if (!config->auto_priority || last_read == 0 || now - last_read > IDLE_ZERO_MS)
		return 0;
	double idle = now > last_read ? (double)(now - last_read) / 30000.0 : 0;
	return (int64_t)lround(500.0 * exp2(-idle));
}

static int64_t last_read_of(const struct worker *worker, uint64_t topic)
{
	return counters_last_read(worker->all_counters, worker->inherit.workers, topic);
}

static void put_ts(struct exchange *exchange, const char *name, int64_t ts)
{
	if (ts == 0)
		answer_text(exchange, ",\"%s\":null", name);
	else
		answer_text(exchange, ",\"%s\":%" PRId64, name, ts);
}

static void put_state(struct exchange *exchange, const struct topic_numbers *n, const struct topic_config *config, int64_t last_read, int64_t now)
{
	uint8_t text[CONFIG_JSON_MAX];
	answer_text(exchange, "{\"topic\":\"%s\",\"type\":\"%s\",\"epoch\":\"%016" PRIx64 "\"", exchange->name[0], config->type == TOPIC_QUEUE ? "queue" : "log",
	            n->id);
	answer_text(exchange, ",\"head_seq\":%" PRIu64 ",\"durable_seq\":%" PRIu64 ",\"earliest_seq\":%" PRIu64 ",\"next_seq\":%" PRIu64 ",\"count\":%" PRIu64
	            ",\"bytes\":%" PRIu64 ",\"config\":", n->head, n->durable, n->earliest, n->head + 1, n->count, n->bytes);
	answer_bytes(exchange, text, config_json_render(text, config));
	answer_text(exchange, ",\"effective_priority\":%" PRId64, effective_priority(config, last_read, now));
	put_ts(exchange, "last_write_ts", n->last_write_ts);
	put_ts(exchange, "last_read_ts", last_read);
	if (config->type == TOPIC_QUEUE)
		answer_text(exchange, ",\"queue\":{\"ready\":%" PRIu64 ",\"in_flight\":0,\"dead_lettered\":0}", n->count);
}

void api_topic_get(struct exchange *exchange)
{
	struct worker *worker = exchange->worker;
	const struct catalogue *catalogue = exchange_catalogue(exchange, api_topic_get);
	struct topic_numbers numbers;
	struct topic_config config;
	char tag[64];
	bool touch = true;
	if (catalogue == NULL || exchange_query_bool(exchange, "touch", &touch) != ERR_OK)
		return;
	int64_t slot = catalogue_find(catalogue, exchange->name[0], exchange->name_length[0]);
	enum error error = slot == CATALOGUE_WAIT ? ERR_AGAIN : slot < 0 ? ERR_TOPIC_NOT_FOUND : catalogue_numbers(catalogue, slot, &numbers);
	if (error == ERR_OK)
		error = catalogue_config(catalogue, slot, numbers.id, &config);
	if (error == ERR_AGAIN) {
		waiting_for_section(worker->waiting, exchange, api_topic_get);
		return;
	}
	if (error != ERR_OK) {
		exchange_topic_not_found(exchange);
		return;
	}
	int64_t now = worker_wall_ms();
	if (touch)
		counters_touch(worker->counters, numbers.id, now);
	snprintf(tag, sizeof tag, "\"%016" PRIx64 "-%" PRIu64 "\"", numbers.id, numbers.head);
	exchange_header(exchange, "ETag", "%s", tag);
	if (negotiate_tag(exchange->if_none_match, tag)) {
		exchange_plain(exchange, 304, "");
		return;
	}
	put_state(exchange, &numbers, &config, last_read_of(worker, numbers.id), now);
	exchange_success(exchange, 200);
}

/* ---- listing ---- */

/* A cursor is version, name, CRC of both: opaque, the same for every worker and after restarts; anything else was not issued here. */
static size_t cursor_write(char *out, size_t room, const char *name, size_t length)
{
	uint8_t bytes[1 + TOPIC_NAME_MAX + 4];
	bytes[0] = CURSOR_VERSION;
	memcpy(bytes + 1, name, length);
	put_u32(bytes + 1 + length, crc32c(0x746f7069, bytes, 1 + length));
	sodium_bin2base64(out, room, bytes, 1 + length + 4, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	return strlen(out);
}

static enum error cursor_read(const char *text, size_t length, char name[TOPIC_NAME_MAX + 1], size_t *name_length)
{
	uint8_t bytes[1 + TOPIC_NAME_MAX + 4 + 8];
	size_t n = 0;
	const char *end = NULL;
	if (sodium_base642bin(bytes, sizeof bytes, text, length, NULL, &n, &end, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 || end != text + length ||
	    n < 6 || n > 1 + TOPIC_NAME_MAX + 4 || bytes[0] != CURSOR_VERSION || get_u32(bytes + n - 4) != crc32c(0x746f7069, bytes, n - 4))
		return ERR_INVALID_REQUEST;
	*name_length = n - 5;
	memcpy(name, bytes + 1, *name_length);
	return ERR_OK;
}

struct listing {
	char prefix[LIST_TEXT];
	size_t prefix_length;
	char from[LIST_TEXT];
	size_t from_length;
	bool after;
	uint64_t page_size;
	bool touch;
};

/* Order of names: by bytes, what is a beginning of the other first. */
static bool before(const char *a, size_t a_length, const char *b, size_t b_length)
{
	int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
	return order < 0 || (order == 0 && a_length < b_length);
}

/* A listing begins behind the cursor, or at the prefix where the cursor stands before it: a cursor may come from another question. False: refused. */
static bool parse_listing(struct exchange *exchange, struct listing *l)
{
	char cursor[CURSOR_MAX];
	size_t length = 0;
	enum error prefix = exchange_query(exchange, "prefix", l->prefix, sizeof l->prefix, &l->prefix_length);
	enum error error = exchange_query(exchange, "cursor", cursor, sizeof cursor, &length);
	if (prefix == ERR_INVALID_REQUEST) {
		exchange_error(exchange, ERR_INVALID_REQUEST, NULL, "query parameter 'prefix' cannot be read");
		return false;
	}
	if (prefix == ERR_AGAIN)
		l->prefix_length = 0;
	if (error == ERR_OK && length > 0) {
		error = cursor_read(cursor, length, l->from, &l->from_length);
		l->after = error == ERR_OK && !before(l->from, l->from_length, l->prefix, l->prefix_length);
	}
	if (!l->after) {
		memcpy(l->from, l->prefix, l->prefix_length);
		l->from_length = l->prefix_length;
	}
	if (error == ERR_INVALID_REQUEST) {
		exchange_error(exchange, ERR_INVALID_REQUEST, NULL, "this cursor was not issued by this server; begin without one");
		return false;
	}
	l->page_size = PAGE_DEFAULT;
	if (exchange_query_u64(exchange, "page_size", &l->page_size) != ERR_OK || exchange_query_bool(exchange, "touch", &l->touch) != ERR_OK)
		return false;
	l->page_size = l->page_size < 1 ? 1 : l->page_size > PAGE_MAX ? PAGE_MAX : l->page_size;
	return true;
}

static void put_listed(struct exchange *exchange, const char *name, const struct topic_numbers *n, const struct topic_config *config, bool first, bool touch)
{
	int64_t now = worker_wall_ms();
	if (touch)
		counters_touch(exchange->worker->counters, n->id, now);
	answer_text(exchange, "%s{\"topic\":\"%s\",\"head_seq\":%" PRIu64 ",\"earliest_seq\":%" PRIu64 ",\"count\":%" PRIu64 ",\"bytes\":%" PRIu64
	            ",\"durable\":%s,\"effective_priority\":%" PRId64 "}", first ? "" : ",", name, n->head, n->earliest, n->count, n->bytes,
	            config->durability == DURABILITY_FSYNC ? "true" : "false",
	            effective_priority(config, last_read_of(exchange->worker, n->id), now));
}

static enum error listed_topic(const struct catalogue *catalogue, uint32_t slot, struct topic_numbers *numbers, struct topic_config *config, char *name, size_t *length)
{
	enum error error = catalogue_numbers(catalogue, slot, numbers);
	if (error == ERR_OK)
		error = catalogue_name(catalogue, slot, numbers->id, name, length);
	return error == ERR_OK ? catalogue_config(catalogue, slot, numbers->id, config) : error;
}

void api_topic_list(struct exchange *exchange)
{
	const struct catalogue *catalogue = exchange_catalogue(exchange, api_topic_list);
	struct listing l = { .touch = false };
	uint32_t slots[PAGE_MAX + 1];
	unsigned count = 0;
	uint64_t listed = 0;
	char name[TOPIC_NAME_MAX + 1] = "", last[TOPIC_NAME_MAX + 1] = "", cursor[CURSOR_MAX];
	bool more = false, done = false;
	if (catalogue == NULL || !parse_listing(exchange, &l))
		return;
	if (exchange->partial) { /* a list says also what there is not */
		exchange_not_proven(exchange);
		return;
	}
	answer_text(exchange, "{\"topics\":[");
	while (!done && !more) {
		unsigned room = (unsigned)(l.page_size - listed) + 1;
		enum error error = catalogue_list(catalogue, l.from, l.from_length, l.after, slots, room, &count);
		done = count < room;
		for (unsigned i = 0; i < count && error == ERR_OK; i++) {
			struct topic_numbers numbers;
			struct topic_config config;
			size_t length = 0;
			if ((error = listed_topic(catalogue, slots[i], &numbers, &config, name, &length)) == ERR_AGAIN)
				break;
			if (error != ERR_OK) { /* deleted meanwhile */
				error = ERR_OK;
				continue;
			}
			memcpy(l.from, name, length);
			l.from_length = length;
			l.after = true;
			if (length < l.prefix_length || memcmp(name, l.prefix, l.prefix_length) != 0) {
				done = true;
				break;
			}
			if (listed == l.page_size) {
				more = true;
				break;
			}
			name[length] = '\0';
			memcpy(last, name, length + 1);
			put_listed(exchange, name, &numbers, &config, listed++ == 0, l.touch);
		}
		if (error != ERR_OK) {
			exchange->answer.length = 0;
			waiting_for_section(exchange->worker->waiting, exchange, api_topic_list);
			return;
		}
	}
	answer_bytes(exchange, "]", 1);
	if (more) {
		cursor_write(cursor, sizeof cursor, last, strlen(last));
		answer_text(exchange, ",\"next_cursor\":\"%s\"", cursor);
	}
	exchange_success(exchange, 200);
}
