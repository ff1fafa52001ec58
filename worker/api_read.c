/* POST /v0/topics/:topic/diff, GET /v0/topics/:topic/records, GET /v0/topics/:topic/records/:seq */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/api.h"
#include "worker/connection.h"
#include "worker/json.h"
#include "worker/longpoll.h"
#include "worker/read.h"
#include "worker/waiting.h"
#include "worker/worker.h"

enum { NODES_MAX = 256, NODE_ROOM = 64 * 1024, WAIT_MAX_MS = 30000, EPOCH_ROOM = 1024 };

/* What was asked, whichever way it came. */
struct question {
	uint64_t from_seq, limit, max_bytes, wait_ms;
	bool include_tags, include_meta;
	bool has_epoch;
	char epoch[EPOCH_ROOM];
	size_t epoch_length;
	struct slice nodes[NODES_MAX];
	unsigned node_count;
	char node_text[NODE_ROOM];
	size_t node_used;
};

/* What a read keeps while it is parked. */
struct read_state {
	struct reading *reading;      /* owned; NULL between pages */
	uint64_t topic, head;         /* a long poll: what it has seen; 0: it has not waited yet */
};

static void release_state(struct exchange *exchange)
{
	struct read_state *state = exchange->state;
	reading_end(&state->reading);
	free(state);
	exchange->state = NULL;
}

static void out_of_memory(struct exchange *exchange)
{
	exchange_error(exchange, ERR_INTERNAL, NULL, "the server has no memory left for this answer; try again");
}

/* NULL: there is no memory, and that was answered. */
static struct read_state *state_of(struct exchange *exchange)
{
	if (exchange->state == NULL && (exchange->state = calloc(1, sizeof(struct read_state))) == NULL)
		out_of_memory(exchange);
	exchange->release = exchange->state != NULL ? release_state : NULL;
	return exchange->state;
}

/* A reader thread has what was asked for. The request may have been refused meanwhile, as one that waited too long. */
static void on_disk(void *context)
{
	struct exchange *exchange = context;
	if (!exchange->done)
		waiting_disk_came(exchange);
}

static void park(struct exchange *exchange, const struct read_page *page, void (*handler)(struct exchange *exchange))
{
	struct waiting *waiting = exchange->worker->waiting;
	/* A page in the making counts too: readers that take turns do not each take what is left of the budget. */
	exchange_account(exchange);
	if (page->waits == READING_WAITS_FOR_FILE)
		waiting_for_file(waiting, exchange, page->missing_file, handler);
	else if (page->waits == READING_WAITS_FOR_DISK)
		waiting_for_disk(waiting, exchange, handler);
	else
		waiting_for_turn(waiting, exchange, handler);
}

/*
 * The page, begun or gone on with; `head` begins the answer. NULL: it is parked, or was refused. A reading that is parked belongs to the exchange's state; one that is whole to the
 * caller.
 */
static struct reading *read_page(struct exchange *exchange, const struct read_request *request, const char *head, void (*handler)(struct exchange *exchange))
{
	struct read_state *state = exchange->state;
	struct reading *reading = state != NULL ? state->reading : NULL;
	enum error error = ERR_OK;
	if (reading == NULL) {
		exchange->answer.length = 0;
		if (head[0] != '\0')
			answer_bytes(exchange, head, strlen(head));
		error = reading_begin(exchange->worker->reader, on_disk, exchange, &reading);
	}
	if (error == ERR_OK)
		error = reading_go_on(reading, request, &exchange->answer);
	if (error == ERR_AGAIN && (state = state_of(exchange)) != NULL) {
		state->reading = reading;
		park(exchange, reading_page(reading), handler);
		return NULL;
	}
	if (state != NULL)
		state->reading = NULL;
	if (error == ERR_OK)
		return reading;
	bool section = error == ERR_BUSY && reading_page(reading)->waits == READING_WAITS_FOR_SECTION;
	reading_end(&reading);
	exchange->answer.length = 0;
	if (section)
		waiting_for_section(exchange->worker->waiting, exchange, handler);
	else if (error == ERR_BUSY)
		exchange_retry_on_catalogue(exchange, handler);
	else if (error == ERR_TOPIC_NOT_FOUND)
		exchange_topic_not_found(exchange);
	else if (error == ERR_STORAGE_FAILED)
		exchange_error(exchange, error, NULL, "the disk could not be read; try again");
	else if (error != ERR_AGAIN) /* that has been answered */
		out_of_memory(exchange);
	return NULL;
}

/* ---- the question ---- */

static enum error add_node(struct question *q, const uint8_t *raw, size_t length)
{
	size_t n = 0;
	if (q->node_count == NODES_MAX || raw[0] != '"' || json_string(raw, length, q->node_text + q->node_used, NODE_ROOM - q->node_used, &n) != ERR_OK)
		return ERR_INVALID_REQUEST;
	q->nodes[q->node_count++] = (struct slice){ q->node_text + q->node_used, n };
	q->node_used += n;
	return ERR_OK;
}

static enum error take_nodes(struct question *q, const struct json_field *field, size_t offset, struct json_error *error)
{
	size_t at = 0, length;
	const uint8_t *element;
	enum error result = ERR_OK;
	if (!field->is_set)
		return ERR_OK;
	if (field->raw[0] == '"') {
		result = add_node(q, field->raw, field->raw_length);
	} else {
		while (result == ERR_OK && json_array_next(field->raw, field->raw_length, &at, &element, &length) == ERR_OK)
			result = add_node(q, element, length);
	}
	if (result == ERR_OK)
		return ERR_OK;
	error->offset = offset;
	snprintf(error->message, sizeof error->message, "field 'node' must be a string or an array of at most %d strings", NODES_MAX);
	return ERR_INVALID_REQUEST;
}

static uint64_t in_range(uint64_t value, uint64_t none, uint64_t most)
{
	value = value == 0 ? none : value;
	return value > most ? most : value;
}

static enum error parse_diff(const struct exchange *exchange, struct question *q, struct json_error *error)
{
	static const uint8_t empty[] = "{}";
	const uint8_t *body = exchange->body_length > 0 ? exchange->body : empty;
	struct json_field f[] = {
		{ .name = "from_seq", .want = JSON_U64 },
		{ .name = "epoch", .want = JSON_STRING, .text = q->epoch, .text_room = sizeof q->epoch },
		{ .name = "limit", .want = JSON_U64 },
		{ .name = "max_batch_bytes", .want = JSON_U64 },
		{ .name = "node", .want = JSON_STRING_OR_ARRAY },
		{ .name = "include_tags", .want = JSON_BOOL },
		{ .name = "include_meta", .want = JSON_BOOL },
		{ .name = "wait_ms", .want = JSON_U64 },
	};
	enum error result = json_object(body, exchange->body_length > 0 ? exchange->body_length : 2, 0, 0, f, sizeof f / sizeof f[0], error);
	if (result == ERR_OK)
		result = take_nodes(q, &f[4], f[4].is_set ? (size_t)(f[4].raw - body) : 0, error);
	if (result != ERR_OK)
		return result;
	q->from_seq = f[0].u64;
	q->has_epoch = f[1].is_set;
	q->epoch_length = f[1].text_length;
	q->limit = f[2].u64;
	q->max_bytes = f[3].u64;
	q->include_tags = f[5].is_set && f[5].boolean;
	q->include_meta = !f[6].is_set || f[6].boolean;
	q->wait_ms = f[7].u64 < WAIT_MAX_MS ? f[7].u64 : WAIT_MAX_MS;
	return ERR_OK;
}

/* False: refused. */
static bool parse_query(struct exchange *exchange, struct question *q)
{
	size_t length = 0;
	q->include_meta = true;
	if (exchange_query_u64(exchange, "from_seq", &q->from_seq) != ERR_OK || exchange_query_u64(exchange, "limit", &q->limit) != ERR_OK ||
	    exchange_query_u64(exchange, "wait_ms", &q->wait_ms) != ERR_OK || exchange_query_bool(exchange, "include_tags", &q->include_tags) != ERR_OK ||
	    exchange_query_bool(exchange, "include_meta", &q->include_meta) != ERR_OK || exchange_query_u64(exchange, "max_batch_bytes", &q->max_bytes) != ERR_OK)
		return false;
	q->wait_ms = q->wait_ms < WAIT_MAX_MS ? q->wait_ms : WAIT_MAX_MS;
	enum error node = exchange_query(exchange, "node", q->node_text, NODE_ROOM, &length);
	if (node == ERR_OK)
		q->nodes[q->node_count++] = (struct slice){ q->node_text, length };
	enum error epoch = exchange_query(exchange, "epoch", q->epoch, sizeof q->epoch, &q->epoch_length);
	q->has_epoch = epoch == ERR_OK && q->epoch_length > 0;
	if (node == ERR_INVALID_REQUEST || epoch == ERR_INVALID_REQUEST) {
		exchange_error(exchange, ERR_INVALID_REQUEST, NULL, "query parameter '%s' cannot be read", node == ERR_INVALID_REQUEST ? "node" : "epoch");
		return false;
	}
	return true;
}

/* ---- the answer ---- */

static void put_tombstone(struct exchange *exchange, const struct read_page *page)
{
	const struct tombstone *t = &page->tombstone;
	if (!page->has_tombstone) {
		answer_bytes(exchange, "null", 4);
		return;
	}
	answer_text(exchange, "{\"gap_from\":%" PRIu64 ",\"gap_to\":%" PRIu64 ",\"reason\":\"%s\",\"missed_estimate\":%" PRIu64 ",\"earliest_seq\":%" PRIu64
	            ",\"head_seq\":%" PRIu64 "%s}", t->from, t->to, reason_name(t->reason), t->to + 1 - t->from, page->numbers.earliest,
	            page->numbers.head, t->possible ? ",\"possible\":true" : "");
}

/* The topic of the path: its slot and id; -1: refused or parked. */
static int64_t find_topic(struct exchange *exchange, const struct catalogue *catalogue, struct topic_numbers *numbers, void (*handler)(struct exchange *exchange))
{
	int64_t slot = catalogue_find(catalogue, exchange->name[0], exchange->name_length[0]);
	enum error error = slot == CATALOGUE_WAIT ? ERR_AGAIN : slot < 0 ? ERR_TOPIC_NOT_FOUND : catalogue_numbers(catalogue, slot, numbers);
	if (error == ERR_OK)
		return slot;
	if (error == ERR_AGAIN)
		waiting_for_section(exchange->worker->waiting, exchange, handler);
	else
		exchange_topic_not_found(exchange);
	return -1;
}

/* True: there is nothing to say, and it may wait until there is: it does. */
static bool waits(struct exchange *exchange, const struct question *q, const struct read_request *request, const struct read_page *page, void (*handler)(struct exchange *exchange))
{
	struct worker *worker = exchange->worker;
	struct read_state *state = exchange->state;
	uint64_t until_us = exchange->started_us + q->wait_ms * 1000, head = page->numbers.head;
	if (q->wait_ms == 0 || page->records > 0 || page->has_tombstone || page->next != head || worker->draining || exchange->hurried || worker_now_us() >= until_us)
		return false;
	/* Who has waited and sees another head was called because of it: what came was filtered away, and the cursor has moved. */
	if (state != NULL && state->topic != 0 && state->head != head)
		return false;
	if ((state = state_of(exchange)) == NULL)
		return true;
	state->topic = request->topic;
	state->head = head;
	const struct longpoll_view view = { .topic = request->topic, .head = head, .slot = request->slot };
	longpoll_wait(worker->longpoll, exchange, &view, until_us, handler);
	return true;
}

static void answer_page(struct exchange *exchange, const struct read_page *page)
{
	struct counters *counters = exchange->worker->counters;
	answer_text(exchange, "],\"next_from_seq\":%" PRIu64 ",\"head_seq\":%" PRIu64 ",\"earliest_seq\":%" PRIu64 ",\"caught_up\":%s,\"tombstone\":", page->next,
	            page->numbers.head, page->numbers.earliest, page->next == page->numbers.head ? "true" : "false");
	put_tombstone(exchange, page);
	answer_text(exchange, ",\"lag\":%" PRIu64, page->numbers.head - page->next);
	exchange->records_scanned = (int64_t)page->examined;
	counters_add(&counters->reads_total, 1);
	counters_add(&counters->records_out_total, page->records);
	exchange_success(exchange, 200);
}

static void answer_read(struct exchange *exchange, struct question *q, void (*handler)(struct exchange *exchange))
{
	struct worker *worker = exchange->worker;
	const struct read_state *state = exchange->state;
	const struct catalogue *catalogue = exchange_catalogue(exchange, handler);
	struct topic_numbers numbers;
	struct topic_config config;
	char epoch[20], head[400];
	if (catalogue == NULL)
		return;
	int64_t slot = find_topic(exchange, catalogue, &numbers, handler);
	if (slot < 0)
		return;
	enum error error = catalogue_config(catalogue, slot, numbers.id, &config);
	if (error == ERR_AGAIN) {
		waiting_for_section(worker->waiting, exchange, handler);
		return;
	}
	/* Who waited for a topic waited for that incarnation of it. */
	if (error != ERR_OK || (state != NULL && state->topic != 0 && state->topic != numbers.id)) {
		exchange_topic_not_found(exchange);
		return;
	}
	if (exchange->partial && q->from_seq > numbers.head) {
		exchange_not_proven(exchange);
		return;
	}
	snprintf(epoch, sizeof epoch, "%016" PRIx64, numbers.id);
	snprintf(head, sizeof head, "{\"topic\":\"%s\",\"epoch\":\"%s\",\"records\":[", exchange->name[0], epoch);
	const struct read_request request = {
		.catalogue = catalogue, .slot = slot, .topic = numbers.id, .from_seq = q->from_seq,
		.recreated = q->has_epoch && (q->epoch_length != 16 || memcmp(q->epoch, epoch, 16) != 0),
		.limit = in_range(q->limit, READ_LIMIT_DEFAULT, worker->inherit.common.settings.max_limit),
		.max_bytes = connections_page_bytes(worker->connections, in_range(q->max_bytes, READ_BYTES_DEFAULT, READ_BYTES_MAX)),
		.include_tags = q->include_tags, .include_meta = q->include_meta,
		.nodes = q->nodes, .node_count = config.dedupe_node ? q->node_count : 0,
	};
	struct reading *reading = read_page(exchange, &request, head, handler);
	if (reading == NULL)
		return;
	const struct read_page page = *reading_page(reading);
	reading_end(&reading);
	counters_touch(worker->counters, numbers.id, worker_wall_ms());
	if (!waits(exchange, q, &request, &page, handler))
		answer_page(exchange, &page);
}

void api_topic_diff(struct exchange *exchange)
{
	struct question q;
	struct json_error problem = { 0 };
	memset(&q, 0, offsetof(struct question, node_text));
	q.node_used = 0;
	if (parse_diff(exchange, &q, &problem) != ERR_OK) {
		char detail[64];
		snprintf(detail, sizeof detail, "{\"offset\":%zu}", problem.offset);
		exchange_error(exchange, ERR_INVALID_REQUEST, detail, "%s (at byte %zu)", problem.message, problem.offset);
		return;
	}
	answer_read(exchange, &q, api_topic_diff);
}

void api_topic_records(struct exchange *exchange)
{
	struct question q;
	memset(&q, 0, offsetof(struct question, node_text));
	q.node_used = 0;
	if (parse_query(exchange, &q))
		answer_read(exchange, &q, api_topic_records);
}

static void record_gone(struct exchange *exchange, uint32_t reason)
{
	char detail[64];
	snprintf(detail, sizeof detail, "{\"reason\":\"%s\"}", reason_name(reason));
	exchange_error(exchange, ERR_RECORD_GONE, detail, "this record is no more (%s)", reason_name(reason));
}

/* Digits alone make a seq. */
static bool parse_seq(const char *text, size_t length, uint64_t *seq)
{
	*seq = 0;
	for (size_t i = 0; i < length; i++)
		if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(*seq, 10, seq) || __builtin_add_overflow(*seq, (uint64_t)(text[i] - '0'), seq))
			return false;
	return length > 0;
}

void api_topic_record(struct exchange *exchange)
{
	const struct catalogue *catalogue = exchange_catalogue(exchange, api_topic_record);
	struct topic_numbers numbers;
	uint64_t seq;
	if (catalogue == NULL)
		return;
	if (!parse_seq(exchange->name[1], exchange->name_length[1], &seq)) {
		exchange_error(exchange, ERR_INVALID_REQUEST, NULL, "a seq is a number: digits alone");
		return;
	}
	int64_t slot = find_topic(exchange, catalogue, &numbers, api_topic_record);
	if (slot < 0)
		return;
	if (exchange->partial && seq > numbers.head) {
		exchange_not_proven(exchange);
		return;
	}
	if (seq == 0 || seq > numbers.head) {
		exchange_error(exchange, ERR_NOT_FOUND, NULL, "the topic has not given this seq yet; its head is %" PRIu64, numbers.head);
		return;
	}
	const struct read_request request = { .catalogue = catalogue, .slot = slot, .topic = numbers.id, .from_seq = seq - 1, .limit = 1,
	                                      .max_bytes = READ_BYTES_MAX, .include_tags = true, .include_meta = true };
	struct reading *reading = read_page(exchange, &request, "", api_topic_record);
	if (reading == NULL)
		return;
	const struct read_page page = *reading_page(reading);
	reading_end(&reading);
	if (page.has_tombstone && page.tombstone.from <= seq && seq <= page.tombstone.to) {
		record_gone(exchange, page.tombstone.reason);
		return;
	}
	counters_touch(exchange->worker->counters, numbers.id, worker_wall_ms());
	if (exchange->answer.length > 0)
		exchange->answer.length--; /* the object's last brace comes with `performance` */
	exchange->records_scanned = (int64_t)page.examined;
	exchange_success(exchange, 200);
}
