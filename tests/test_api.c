/* worker/api_*.c: what each endpoint asks of logd and of the catalogue, and what it answers. The test is logd. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/catalogue_writer.h"
#include "common/record.h"
#include "tests/worker_fixture.h"
#include "worker/files.h"
#include "worker/submit.h"
#include "worker/waiting.h"

#define JSON "Content-Type: application/json\r\n"
#define ONE "{\"records\":[{\"data\":1}]}"

static int post(struct worker_fixture *f, const char *target, const char *body)
{
	return fixture_request(f, "POST", target, JSON, body);
}

static void refused(struct worker_fixture *f, int client, int status, const char *text)
{
	struct request head;
	assert_false(fixture_take(f, &head)); /* what is refused never reaches logd */
	fixture_expect(f, client, status, text);
}

/* ---- append ---- */

static void append_hands_over_all_that_it_says(void **state)
{
	struct worker_fixture *f = *state;
	struct request head;
	struct request_view view;
	struct record record;
	int client = post(f, "/v0/topics/orders", "{\"records\":[{\"data\":{\"a\":1},\"tag\":\"t\",\"meta\":{}},{\"data\":2,\"node\":\"\"}],\"node\":\"n\",\"idempotency_key\":\"k1\","
	                  "\"create\":false,\"config\":{\"cap_records\":5},\"expect_head_seq\":7,\"expect_epoch\":\"00000000000000ab\",\"disable_backpressure\":true}");
	assert_true(fixture_take(f, &head));
	assert_int_equal(request_check(&view, &head, f->parts, request_size(&head) - sizeof head), ERR_OK);
	assert_int_equal(head.type, REQUEST_APPEND);
	assert_int_equal(head.flags, REQUEST_CREATE_FALSE | REQUEST_EXPECT_HEAD | REQUEST_EXPECT_EPOCH | REQUEST_HAS_CONFIG | REQUEST_HAS_KEY | REQUEST_HAS_NODE | REQUEST_WAIT);
	assert_int_equal(head.count, 2);
	assert_int_equal(head.payload, 10);
	assert_int_equal(head.expect_head, 7);
	assert_int_equal(head.expect_epoch, 0xab);
	assert_int_equal(head.name_length, 6);
	assert_memory_equal(view.name, "orders", 6);
	assert_int_equal(head.key_length, 2);
	assert_memory_equal(view.key, "k1", 2);
	assert_int_equal(head.node_length, 1);
	assert_memory_equal(view.node, "n", 1);
	assert_int_equal(record_parse(&record, view.body, head.body_length), ERR_OK);
	assert_memory_equal(record.data, "{\"a\":1}", 7);
	struct topic_config config;
	assert_int_equal(topic_config_decode(&config, view.config, head.config_length), ERR_OK);
	assert_int_equal(config.cap_records, 5);
	const struct completion done = { .request_id = head.id, .flags = COMPLETION_CREATED, .topic = 0xab, .first_seq = 8, .head = 9, .durable = 3, .count = 2, .write_us = 10, .sync_us = 0 };
	fixture_answer(f, &done, NULL);
	fixture_expect(f, client, 201, "{\"topic\":\"orders\",\"epoch\":\"00000000000000ab\",\"first_seq\":8,\"last_seq\":9,\"seqs\":[8,9],\"head_seq\":9,\"durable_seq\":3,\"count\":2,"
	               "\"created\":true,\"deduped\":false,\"performance\":{");
	assert_int_equal(f->worker.counters->appends_total, 1);
	assert_int_equal(f->worker.counters->records_in_total, 2);
}

static void append_answers_without_seqs_when_they_are_not_wanted(void **state)
{
	struct worker_fixture *f = *state;
	struct request head;
	int client = post(f, "/v0/topics/orders?return_seqs=false", ONE);
	assert_true(fixture_take(f, &head));
	const struct completion done = { .request_id = head.id, .flags = COMPLETION_DEDUPED, .topic = 1, .first_seq = UINT64_MAX - 1, .head = UINT64_MAX - 1, .count = 1 };
	fixture_answer(f, &done, NULL);
	fixture_expect(f, client, 200, "\"last_seq\":18446744073709551614,\"head_seq\":18446744073709551614,\"durable_seq\":0,\"count\":1,\"created\":false,\"deduped\":true,");
	refused(f, post(f, "/v0/topics/orders?return_seqs=2", ONE), 400, "query parameter 'return_seqs'");
}

static void key_of_the_header_counts_where_the_body_has_none(void **state)
{
	struct worker_fixture *f = *state;
	static const struct { const char *header, *body, *key; } cases[] = {
		{ "Idempotency-Key: abc\r\n", ONE, "abc" }, { "Idempotency-Key: \"abc\"\r\n", ONE, "abc" }, { "Idempotency-Key: \"\r\n", ONE, "\"" },
		{ "Idempotency-Key: abc\r\n", "{\"records\":[{\"data\":1}],\"idempotency_key\":\"body\"}", "body" },
	};
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char headers[128];
		struct request head;
		struct request_view view;
		snprintf(headers, sizeof headers, JSON "%s", cases[i].header);
		int client = fixture_request(f, "POST", "/v0/topics/a", headers, cases[i].body);
		assert_true(fixture_take(f, &head));
		assert_int_equal(request_check(&view, &head, f->parts, request_size(&head) - sizeof head), ERR_OK);
		assert_int_equal(head.key_length, strlen(cases[i].key));
		assert_memory_equal(view.key, cases[i].key, head.key_length);
		close(client);
	}
	for (size_t length = 256; length <= 257; length++) {
		char headers[512], key[300];
		struct request head;
		memset(key, 'k', length);
		key[length] = '\0';
		snprintf(headers, sizeof headers, JSON "Idempotency-Key: %s\r\n", key);
		int client = fixture_request(f, "POST", "/v0/topics/a", headers, ONE);
		if (length == 256) {
			assert_true(fixture_take(f, &head));
			assert_int_equal(head.key_length, 256);
			close(client);
		} else {
			refused(f, client, 400, "Idempotency-Key is longer than 256 bytes");
		}
	}
}

static void append_that_breaks_a_rule_is_refused_with_what_and_where(void **state)
{
	struct worker_fixture *f = *state;
	f->worker.inherit.common.settings.max_batch_records = 2;
	f->worker.inherit.common.settings.max_record_bytes = 10;
	refused(f, post(f, "/v0/topics/a", "{\"records\":[{\"data\":1},]}"), 400, "\"detail\":{\"offset\":23}");
	refused(f, post(f, "/v0/topics/a", "{\"records\":[{\"data\":1},{\"data\":1},{\"data\":1}]}"), 400, "\"code\":\"batch_too_large\"");
	refused(f, post(f, "/v0/topics/a", "{\"records\":[{\"data\":12345678901}]}"), 400, "\"detail\":{\"max\":10}");
	refused(f, post(f, "/v0/topics/a", "{\"records\":[{\"data\":1}],\"config\":{\"type\":\"x\"}}"), 400, "\"code\":\"invalid_request\"");
	refused(f, post(f, "/v0/topics/a", "{\"records\":[{\"data\":1}],\"config\":{\"dead_letter\":\"a\"}}"), 400, "\"code\":\"invalid_request\"");
}

static void epoch_that_is_none_matches_no_incarnation(void **state)
{
	struct worker_fixture *f = *state;
	static const char *const epochs[] = { "", "ab", "00000000000000AB", "00000000000000ag", "000000000000000ab" };
	for (unsigned i = 0; i < 5; i++) {
		char body[128];
		struct request head;
		snprintf(body, sizeof body, "{\"records\":[{\"data\":1}],\"expect_head_seq\":0,\"expect_epoch\":\"%s\"}", epochs[i]);
		close(post(f, "/v0/topics/a", body));
		assert_true(fixture_take(f, &head));
		assert_true(head.expect_epoch == UINT64_MAX);
	}
}

/* Entries of other requests fill the ring. */
static void fill(struct worker_fixture *f)
{
	struct request head = { .length = 1 << 19, .type = REQUEST_TOPIC_DELETE, .name_length = 3, .body_length = (1 << 19) - sizeof head - 8 };
	void *entry;
	while ((entry = ring_reserve(f->worker.ring, head.length)) != NULL) {
		memcpy(entry, &head, sizeof head);
		ring_publish(f->worker.ring, head.length, false);
	}
}

static void append_with_disable_backpressure_waits_where_others_get_429(void **state)
{
	struct worker_fixture *f = *state;
	fill(f);
	int waits = post(f, "/v0/topics/a", "{\"records\":[{\"data\":1}],\"disable_backpressure\":true}");
	int not = post(f, "/v0/topics/a", "{\"records\":[{\"data\":1}],\"disable_backpressure\":false}"), neither = post(f, "/v0/topics/a", ONE);
	int within = post(f, "/v0/topics/a", "{\"records\":[{\"data\":{\"disable_backpressure\":true}}]}");
	assert_int_equal(submissions_waiting(f->worker.submissions), 4);
	f->status->heartbeat_ms = worker_now_us() / 1000 + 10000;
	submissions_sweep(f->worker.submissions, worker_now_us() + 1000001);
	fixture_expect(f, not, 429, "\"code\":\"throttled\"");
	fixture_expect(f, neither, 429, "\"code\":\"throttled\"");
	fixture_expect(f, within, 429, "\"code\":\"throttled\"");
	submissions_sweep(f->worker.submissions, worker_now_us() + 4000000);
	assert_int_equal(submissions_waiting(f->worker.submissions), 1);
	struct request head;
	while (fixture_take(f, &head) && head.type != REQUEST_APPEND) {
		fixture_release(f, f->taken);
		fixture_rounds(f);
	}
	assert_int_equal(head.type, REQUEST_APPEND);
	assert_true(head.flags & REQUEST_WAIT);
	const struct completion done = { .request_id = head.id, .topic = 1, .first_seq = 1, .head = 1, .count = 1 };
	fixture_answer(f, &done, NULL);
	fixture_expect(f, waits, 200, "\"throttle_wait_ms\":");
}

/* ---- topics ---- */

static void configuration_goes_to_logd_and_comes_back_as_it_is_in_force(void **state)
{
	struct worker_fixture *f = *state;
	static const struct { const char *method, *body; uint16_t type, flags; uint32_t mask; } cases[] = {
		{ "PUT", "{}", REQUEST_TOPIC_PUT, REQUEST_HAS_CONFIG, 0 }, { "PUT", "{\"type\":\"queue\"}", REQUEST_TOPIC_PUT, REQUEST_HAS_CONFIG | REQUEST_TYPE_GIVEN, 0 },
		{ "PATCH", "{\"cap_records\":9}", REQUEST_TOPIC_PATCH, REQUEST_HAS_CONFIG, CONFIG_CAP_RECORDS },
	};
	uint8_t bytes[TOPIC_CONFIG_MAX];
	struct topic_config config;
	topic_config_default(&config);
	config.ttl_ms = 1234;
	size_t length = topic_config_encode(&config, bytes);
	for (unsigned i = 0; i < 3; i++) {
		struct request head;
		int client = fixture_request(f, cases[i].method, "/v0/topics/orders", JSON, cases[i].body);
		assert_true(fixture_take(f, &head));
		assert_int_equal(head.type, cases[i].type);
		assert_int_equal(head.flags, cases[i].flags);
		assert_int_equal(head.mask, cases[i].mask);
		const struct completion done = { .request_id = head.id, .flags = i == 0 ? COMPLETION_CREATED : 0, .topic = 0xab, .body_length = (uint32_t)length };
		fixture_answer(f, &done, bytes);
		fixture_expect(f, client, i == 0 ? 201 : 200, "\"ttl_ms\":1234");
	}
	struct request head;
	int client = fixture_request(f, "PUT", "/v0/topics/orders", "", NULL); /* no body at all */
	assert_true(fixture_take(f, &head));
	const struct completion broken = { .request_id = head.id, .body_length = 3 };
	fixture_answer(f, &broken, "???");
	fixture_expect(f, client, 500, "\"code\":\"internal\"");
	refused(f, fixture_request(f, "PUT", "/v0/topics/orders", JSON, "{\"ttl_ms\":-1}"), 400, "\"detail\":{\"offset\":10}");
}

static void deletion_says_whether_there_was_anything(void **state)
{
	struct worker_fixture *f = *state;
	for (unsigned was = 0; was < 2; was++) {
		struct request head;
		int client = fixture_request(f, "DELETE", was ? "/v0/topics/a?if_empty=true" : "/v0/topics/a", "", NULL);
		assert_true(fixture_take(f, &head));
		assert_int_equal(head.type, REQUEST_TOPIC_DELETE);
		assert_int_equal(head.flags, was ? REQUEST_IF_EMPTY : 0);
		const struct completion done = { .request_id = head.id, .first_seq = was };
		fixture_answer(f, &done, NULL);
		fixture_expect(f, client, 200, was ? "{\"topic\":\"a\",\"deleted\":true,\"routers_removed\":[]," : "{\"topic\":\"a\",\"deleted\":false,\"routers_removed\":[],");
	}
	refused(f, fixture_request(f, "DELETE", "/v0/topics/a?if_empty=maybe", "", NULL), 400, "if_empty");
}

static void state_of_a_topic_has_its_tag_and_is_not_sent_again_to_who_has_it(void **state)
{
	struct worker_fixture *f = *state;
	uint32_t slot = fixture_topic(f, "orders");
	fixture_publish(f, slot, 5);
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders?touch=false", "", NULL), 200, "\"last_read_ts\":null");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders", "", NULL), 200, "\"head_seq\":5,\"durable_seq\":5,\"earliest_seq\":1,\"next_seq\":6,\"count\":5,");
	assert_true(counters_last_read(f->worker.all_counters, 1, fixture_id(f, slot)) > 0);
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders", "", NULL), 200, "ETag: \"abcdef0000000001-5\"\r\n");
	static const char *const same[] = { "\"abcdef0000000001-5\"", "W/\"abcdef0000000001-5\"", "\"x\", \"abcdef0000000001-5\"", "*" };
	for (unsigned i = 0; i < 4; i++) {
		char header[128];
		snprintf(header, sizeof header, "If-None-Match: %s\r\n", same[i]);
		fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders", header, NULL), 304, "ETag: \"abcdef0000000001-5\"\r\n");
	}
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders", "If-None-Match: \"abcdef0000000001-4\"\r\n", NULL), 200, "\"config\":{\"type\":\"log\"");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/none", "", NULL), 404, "\"detail\":{\"topic\":\"none\"}");
}

static void list_goes_by_pages_whose_cursors_are_only_ours(void **state)
{
	struct worker_fixture *f = *state;
	char target[256];
	fixture_topic(f, "b2");
	fixture_topic(f, "a");
	fixture_topic(f, "b1");
	fixture_topic(f, "b3");
	fixture_topic(f, "c");
	int client = fixture_request(f, "GET", "/v0/topics?prefix=b&page_size=2", "", NULL);
	struct http_answer *answer = malloc(sizeof *answer);
	assert_true(fixture_answered(f, client, false, answer));
	const char *one = strstr(answer->body, "{\"topic\":\"b1\""), *two = strstr(answer->body, "{\"topic\":\"b2\""), *cursor = strstr(answer->body, "\"next_cursor\":\"");
	assert_true(one != NULL && two > one && cursor > two);
	assert_null(strstr(answer->body, "\"a\""));
	assert_null(strstr(answer->body, "\"b3\""));
	cursor += 15;
	size_t length = strcspn(cursor, "\"");
	snprintf(target, sizeof target, "/v0/topics?prefix=b&page_size=2&cursor=%.*s", (int)length, cursor);
	fixture_expect(f, fixture_request(f, "GET", target, "", NULL), 200, "{\"topics\":[{\"topic\":\"b3\",\"head_seq\":0,\"earliest_seq\":1,\"count\":0,\"bytes\":0,\"durable\":false,"
	               "\"effective_priority\":0}],\"performance\"");
	/* It stands before the prefix, b3 between them: the listing begins at the prefix. */
	char other[256];
	snprintf(other, sizeof other, "/v0/topics?prefix=c&cursor=%.*s", (int)length, cursor);
	fixture_expect(f, fixture_request(f, "GET", other, "", NULL), 200, "{\"topics\":[{\"topic\":\"c\",");
	target[strlen(target) - 1] ^= 1;
	fixture_expect(f, fixture_request(f, "GET", target, "", NULL), 400, "this cursor was not issued by this server");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics?cursor=abc", "", NULL), 400, "cursor");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics?cursor=&page_size=0", "", NULL), 200, "{\"topics\":[{\"topic\":\"a\",");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics?page_size=x", "", NULL), 400, "page_size");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics?prefix=zz", "", NULL), 200, "{\"topics\":[],");
	close(client);
	free(answer);
}

/* ---- reading ---- */

static void page_says_where_it_ends_and_what_was_lost_before_it(void **state)
{
	struct worker_fixture *f = *state;
	uint32_t slot = fixture_topic(f, "orders");
	struct fixture_file file;
	fixture_file(f, true, &file);
	assert_int_equal(catalogue_loss_add(f->catalogue, slot, &(struct loss){ .from = 1, .to = 2, .reason = REASON_CRASH, .flags = ENTRY_POSSIBLE }), ERR_OK);
	fixture_batch(f, &file, slot, 3, &(struct fixture_batch){ .count = 3, .data_length = 8, .node = "n" });
	fixture_publish(f, slot, 5);
	fixture_expect(f, post(f, "/v0/topics/orders/diff", "{\"limit\":1}"), 200, "{\"topic\":\"orders\",\"epoch\":\"abcdef0000000001\",\"records\":[{\"$seq\":3,\"$ts\":1700000003,\"$node\":\"n\","
	               "\"data\":{\"n\":3} }],\"next_from_seq\":3,\"head_seq\":5,\"earliest_seq\":1,\"caught_up\":false,\"tombstone\":{\"gap_from\":1,\"gap_to\":2,\"reason\":\"crash\","
	               "\"missed_estimate\":2,\"earliest_seq\":1,\"head_seq\":5,\"possible\":true},\"lag\":2,\"performance\":{");
	fixture_expect(f, post(f, "/v0/topics/orders/diff", "{\"from_seq\":4}"), 200, "\"next_from_seq\":5,\"head_seq\":5,\"earliest_seq\":1,\"caught_up\":true,\"tombstone\":null,\"lag\":0,");
	fixture_expect(f, post(f, "/v0/topics/orders/diff", "{\"from_seq\":2,\"node\":[\"m\",\"n\"]}"), 200, "\"records\":[],\"next_from_seq\":5,");
	fixture_expect(f, post(f, "/v0/topics/orders/diff", "{\"from_seq\":4,\"epoch\":\"abcdef0000000002\"}"), 200, "\"reason\":\"recreated\"");
	fixture_expect(f, post(f, "/v0/topics/orders/diff", "{\"from_seq\":4,\"epoch\":\"abcdef0000000001\"}"), 200, "\"tombstone\":null");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders/records?from_seq=4&limit=1&epoch=x", "", NULL), 200, "\"reason\":\"recreated\"");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders/records?from_seq=3&limit=1&node=x+y", "", NULL), 200, "\"next_from_seq\":4,");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders/records/4", "", NULL), 200, "{\"$seq\":4,\"$ts\":1700000003,\"$node\":\"n\",\"data\":{\"n\":4} ,\"performance\":");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders/records/2", "", NULL), 404, "\"code\":\"record_gone\"");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders/records/6", "", NULL), 404, "\"code\":\"not_found\"");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders/records/0", "", NULL), 404, "\"code\":\"not_found\"");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders/records/4x", "", NULL), 400, "digits alone");
	close(file.fd);
}

static void wrong_questions_are_refused_before_the_topic_is_looked_up(void **state)
{
	struct worker_fixture *f = *state;
	static const char *const bodies[] = { "{\"limit\":-1}", "{\"from_seq\":\"1\"}", "{\"node\":1}", "{\"node\":[1]}", "{\"include_tags\":1}", "{\"wait_ms\":null}", "{\"limit\":1,\"limit\":1}", "[]" };
	static const char *const queries[] = { "from_seq=x", "limit=-1", "wait_ms=1.5", "include_tags=2", "include_meta=", "max_batch_bytes=x", "node=%", "epoch=%4" };
	for (unsigned i = 0; i < 8; i++) {
		char target[64];
		fixture_expect(f, post(f, "/v0/topics/none/diff", bodies[i]), 400, "\"code\":\"invalid_request\"");
		snprintf(target, sizeof target, "/v0/topics/none/records?%s", queries[i]);
		fixture_expect(f, fixture_request(f, "GET", target, "", NULL), 400, "\"code\":\"invalid_request\"");
	}
	fixture_expect(f, post(f, "/v0/topics/none/diff", "{\"node\":null,\"epoch\":null}"), 404, "\"code\":\"topic_not_found\"");
}

static void read_whose_file_is_missing_waits_for_it_with_its_question_kept(void **state)
{
	struct worker_fixture *f = *state;
	uint32_t slot = fixture_topic(f, "orders");
	struct fixture_file file;
	fixture_file(f, false, &file);
	fixture_batch(f, &file, slot, 1, &(struct fixture_batch){ .count = 5 });
	fixture_publish(f, slot, 5);
	int diff = post(f, "/v0/topics/orders/diff", "{\"from_seq\":3}"), record = fixture_request(f, "GET", "/v0/topics/orders/records/2", "", NULL);
	struct http_answer *answer = malloc(sizeof *answer);
	assert_false(fixture_answered(f, diff, false, answer));
	fixture_give(f, &file);
	fixture_expect(f, diff, 200, "\"records\":[{\"$seq\":4,");
	fixture_expect(f, record, 200, "{\"$seq\":2,");
	free(answer);
	close(file.fd);
}

static bool has_come(int client)
{
	char byte;
	return recv(client, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void expect_soon(struct worker_fixture *f, int client, const char *text)
{
	uint64_t until_us = worker_now_us() + 5000000;
	while (!has_come(client) && worker_now_us() < until_us)
		fixture_rounds(f);
	fixture_expect(f, client, 200, text);
}

/* The log process stands still in the middle of a section, and goes on with the same catalogue. */
static void reads_wait_for_a_section_and_are_answered_when_it_is_whole(void **state)
{
	struct worker_fixture *f = *state;
	struct fixture_file file;
	uint32_t slot = fixture_topic(f, "orders");
	fixture_topic(f, "a");
	fixture_file(f, true, &file);
	fixture_batch(f, &file, slot, 1, &(struct fixture_batch){ .count = 3 });
	fixture_publish(f, slot, 3);
	catalogue_section_begin(&f->catalogue->map->topics[slot].sequence);
	const struct { int client; const char *answer; } reads[] = {
		{ fixture_request(f, "GET", "/v0/topics/orders", "", NULL), "{\"topic\":\"orders\"" },
		{ fixture_request(f, "GET", "/v0/topics", "", NULL), "{\"topic\":\"orders\"" },
		{ post(f, "/v0/topics/orders/diff", "{}"), "\"records\":[{\"$seq\":1," },
		{ fixture_request(f, "GET", "/v0/topics/orders/records", "", NULL), "\"records\":[{\"$seq\":1," },
		{ fixture_request(f, "GET", "/v0/topics/orders/records/1", "", NULL), "{\"$seq\":1," },
	};
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/a", "", NULL), 200, "\"topic\":\"a\"");
	for (unsigned i = 0; i < 5; i++)
		assert_false(has_come(reads[i].client));
	catalogue_section_end(&f->catalogue->map->topics[slot].sequence);
	for (unsigned i = 0; i < 5; i++)
		expect_soon(f, reads[i].client, reads[i].answer);
	close(file.fd);
}

static void listing_waits_until_the_order_of_names_is_whole(void **state)
{
	struct worker_fixture *f = *state;
	fixture_topic(f, "orders");
	catalogue_section_begin(&f->catalogue->map->head.order_sequence);
	int list = fixture_request(f, "GET", "/v0/topics", "", NULL);
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders", "", NULL), 200, "\"topic\":\"orders\"");
	assert_false(has_come(list));
	catalogue_section_end(&f->catalogue->map->head.order_sequence);
	expect_soon(f, list, "\"topic\":\"orders\"");
}

static void what_is_past_the_proven_part_is_not_ready(void **state)
{
	struct worker_fixture *f = *state;
	const char *code = "\"code\":\"not_ready\"";
	fixture_topic(f, "orders");
	catalogue_set_partial(f->catalogue, true);
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders", "", NULL), 200, "\"head_seq\":0");
	fixture_expect(f, fixture_request(f, "POST", "/v0/topics/orders/diff", "Content-Type: application/json\r\n", "{\"from_seq\":0}"), 200, "\"caught_up\":true");
	fixture_expect(f, fixture_request(f, "POST", "/v0/topics/orders/diff", "Content-Type: application/json\r\n", "{\"from_seq\":1}"), 503, code);
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders/records/1", "", NULL), 503, code);
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/other", "", NULL), 503, code);
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/other/records", "", NULL), 503, code);
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics", "", NULL), 503, code);
	fixture_expect(f, fixture_request(f, "GET", "/v0/ready", "", NULL), 200, "\"wal_replay_complete\":false");
	catalogue_set_partial(f->catalogue, false);
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics", "", NULL), 200, "\"topic\":\"orders\"");
	fixture_expect(f, fixture_request(f, "GET", "/v0/ready", "", NULL), 200, "\"wal_replay_complete\":true");
	fixture_expect(f, fixture_request(f, "POST", "/v0/topics/orders/diff", "Content-Type: application/json\r\n", "{\"from_seq\":1}"), 200, "\"reason\":\"recreated\"");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/orders/records/1", "", NULL), 404, "\"code\":\"not_found\"");
	fixture_expect(f, fixture_request(f, "GET", "/v0/topics/other", "", NULL), 404, "\"code\":\"topic_not_found\"");
}

/* ---- probes ---- */

static void readiness_follows_catalogue_state_and_drain(void **state)
{
	struct worker_fixture *f = *state;
	fixture_topic(f, "orders");
	fixture_expect(f, fixture_request(f, "GET", "/v0/ready", "", NULL), 200, "{\"status\":\"ready\",\"wal_replay_complete\":true,\"topics\":1}");
	static const struct { enum logd_state state; const char *code; int status; } cases[] = {
		{ LOGD_READ_ONLY, "\"code\":\"read_only\"", 503 }, { LOGD_FULL, "\"code\":\"storage_full\"", 507 }, { LOGD_READY, "\"status\":\"ready\"", 200 },
	};
	for (unsigned i = 0; i < 3; i++) {
		f->status->state = cases[i].state;
		fixture_expect(f, fixture_request(f, "GET", "/readyz", "", NULL), 200, "\"status\":\"ready\"");
		fixture_expect(f, fixture_request(f, "GET", "/readyz?write=1", "", NULL), cases[i].status, cases[i].code);
	}
	fixture_catalogue_current(f, FIXTURE_CATALOGUE + 1);
	fixture_expect(f, fixture_request(f, "GET", "/readyz", "", NULL), 503, "\"code\":\"not_ready\"");
	fixture_no_catalogue(f);
	f->status->progress = 500000;
	fixture_expect(f, fixture_request(f, "GET", "/readyz", "", NULL), 503, "\"detail\":{\"replay_progress\":0.500000}");
	fixture_expect(f, fixture_request(f, "GET", "/v0/health", "", NULL), 200, "{\"status\":\"ok\",\"version\":\"");
	f->status->state = LOGD_STOPPING;
	fixture_expect(f, fixture_request(f, "GET", "/readyz", "", NULL), 503, "\"code\":\"shutting_down\"");
	f->status->state = LOGD_READY;
	f->worker.draining = true;
	fixture_expect(f, fixture_request(f, "GET", "/readyz", "", NULL), 503, "\"code\":\"shutting_down\"");
}

static void requests_of_a_server_that_has_just_started_wait_for_its_catalogue(void **state)
{
	struct worker_fixture *f = *state;
	struct request head;
	fixture_topic(f, "orders");
	fixture_no_catalogue(f);
	int state_of = fixture_request(f, "GET", "/v0/topics/orders", "", NULL), list = fixture_request(f, "GET", "/v0/topics", "", NULL);
	int diff = post(f, "/v0/topics/orders/diff", "{}"), append = post(f, "/v0/topics/orders", ONE), deletion = fixture_request(f, "DELETE", "/v0/topics/x", "", NULL);
	assert_false(fixture_take(f, &head));
	fixture_catalogue_came(f);
	waiting_catalogue_came(f->worker.waiting);
	waiting_run(f->worker.waiting);
	fixture_expect(f, state_of, 200, "\"topic\":\"orders\"");
	fixture_expect(f, list, 200, "\"topic\":\"orders\"");
	fixture_expect(f, diff, 200, "\"records\":[]");
	assert_true(fixture_take(f, &head));
	assert_int_equal(head.type, REQUEST_APPEND);
	assert_int_equal(head.count, 1);
	assert_true(fixture_take(f, &head));
	assert_int_equal(head.type, REQUEST_TOPIC_DELETE);
	close(append);
	close(deletion);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, worker_fixture_set_up, worker_fixture_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(append_hands_over_all_that_it_says),
		CASE(append_answers_without_seqs_when_they_are_not_wanted),
		CASE(key_of_the_header_counts_where_the_body_has_none),
		CASE(append_that_breaks_a_rule_is_refused_with_what_and_where),
		CASE(epoch_that_is_none_matches_no_incarnation),
		CASE(append_with_disable_backpressure_waits_where_others_get_429),
		CASE(configuration_goes_to_logd_and_comes_back_as_it_is_in_force),
		CASE(deletion_says_whether_there_was_anything),
		CASE(state_of_a_topic_has_its_tag_and_is_not_sent_again_to_who_has_it),
		CASE(list_goes_by_pages_whose_cursors_are_only_ours),
		CASE(page_says_where_it_ends_and_what_was_lost_before_it),
		CASE(wrong_questions_are_refused_before_the_topic_is_looked_up),
		CASE(read_whose_file_is_missing_waits_for_it_with_its_question_kept),
		CASE(reads_wait_for_a_section_and_are_answered_when_it_is_whole),
		CASE(listing_waits_until_the_order_of_names_is_whole),
		CASE(what_is_past_the_proven_part_is_not_ready),
		CASE(readiness_follows_catalogue_state_and_drain),
		CASE(requests_of_a_server_that_has_just_started_wait_for_its_catalogue),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
