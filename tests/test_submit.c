/* worker/submit.c: requests on their way to logd and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/worker_fixture.h"
#include "worker/submit.h"

enum { SECOND_US = 1000000, DEADLINE_US = 5000000, LARGE = RING_ENTRY_MAX + 1000, TABLE = 4 * RING_SLOTS };

struct seen { struct exchange *exchange; uint64_t request; struct completion completion; char body[16]; };

/* What the handlers of a test do and saw: the fixture's context. */
struct script {
	size_t size;                 /* that is asked for, of each request */
	uint32_t body;               /* that is used of it */
	bool wait, quiet;            /* quiet: finish keeps the exchange open */
	struct seen finished[64];
	unsigned finished_count;
	struct exchange *called[64]; /* by the handler, in order */
	unsigned called_count;
	unsigned published;
};

static struct script *script(const struct worker_fixture *f)
{
	return f->context;
}

static bool waits(const struct exchange *exchange)
{
	return script(fixture_of(exchange))->wait;
}

static void finish(struct exchange *exchange, const struct completion *completion, const uint8_t *body)
{
	struct script *s = script(fixture_of(exchange));
	struct seen *seen = &s->finished[s->finished_count++ % 64];
	*seen = (struct seen){ .exchange = exchange, .request = completion->request_id, .completion = *completion };
	for (uint32_t i = 0; i < completion->body_length && i < sizeof seen->body; i++)
		seen->body[i] = (char)body[i];
	if (completion->status != ERR_OK)
		submit_refused(exchange, completion, body);
	else if (!s->quiet)
		fixture_end(exchange);
}

static void submit(struct exchange *exchange)
{
	struct submit_room room;
	struct script *s = script(fixture_of(exchange));
	struct request head = { .type = REQUEST_TOPIC_DELETE, .name_length = 3, .body_length = s->body };
	s->called[s->called_count++ % 64] = exchange;
	if (!submit_begin(exchange, s->size, waits, submit, &room))
		return;
	assert_true(room.room >= s->size);
	assert_int_equal((uintptr_t)room.parts % 8, 0);
	memset(room.parts, 0x5a, s->body);
	submit_publish(exchange, &room, &head, "abc", NULL, NULL, NULL, finish);
	s->published++;
}

/* A request of this many bytes by a new client. */
static struct exchange *submit_one(struct worker_fixture *f, size_t size, int *client)
{
	struct exchange *exchange = fixture_exchange(f, "", NULL, client);
	f->caught_count = 0;
	script(f)->size = size;
	submit(exchange);
	return exchange;
}

/* Fills the ring with entries that nobody waits for. */
static unsigned fill(struct worker_fixture *f)
{
	unsigned n = 0;
	struct request head = { .length = 1 << 19, .type = REQUEST_TOPIC_DELETE, .name_length = 3, .body_length = (1 << 19) - sizeof head - 8 };
	void *entry;
	while ((entry = ring_reserve(f->worker.ring, head.length)) != NULL) {
		memcpy(entry, &head, sizeof head);
		ring_publish(f->worker.ring, head.length, false);
		n++;
	}
	return n;
}

/* logd takes and releases `n` entries. */
static void drain(struct worker_fixture *f, unsigned n)
{
	struct request head;
	for (unsigned i = 0; i < n; i++) {
		assert_true(fixture_take(f, &head));
		fixture_release(f, f->taken);
	}
}

static int set_up(void **state)
{
	worker_fixture_set_up(state);
	struct worker_fixture *f = *state;
	struct script *made = calloc(1, sizeof *made);
	made->size = 64;
	made->body = 8;
	f->context = made;
	return 0;
}

static int tear_down(void **state)
{
	struct worker_fixture *f = *state;
	free(f->context);
	return worker_fixture_tear_down(state);
}

static void answer(struct worker_fixture *f, uint64_t id, enum error status)
{
	const struct completion completion = { .request_id = id, .type = REQUEST_TOPIC_DELETE, .status = (uint16_t)status, .head = 100 + id, .write_us = 11, .sync_us = 22, .body_length = 4 };
	fixture_answer(f, &completion, "body");
}

static void request_arrives_whole_and_its_answer_finishes_it(void **state)
{
	struct worker_fixture *f = *state;
	struct request head;
	int client;
	struct exchange *e = submit_one(f, 64, &client);
	assert_int_equal(submissions_waiting(f->worker.submissions), 1);
	assert_true(fixture_take(f, &head));
	assert_int_equal(head.id, 1);
	assert_int_equal(head.length, sizeof head + 16);
	assert_memory_equal(f->parts, "ZZZZZZZZabc\0\0\0\0\0", 16);
	assert_false(fixture_take(f, &head));
	answer(f, 1, ERR_OK);
	assert_true(submissions_pending(f->worker.submissions));
	submissions_poll(f->worker.submissions);
	assert_false(submissions_pending(f->worker.submissions));
	assert_int_equal(script(f)->finished_count, 1);
	assert_ptr_equal(script(f)->finished[0].exchange, e);
	assert_int_equal(script(f)->finished[0].completion.head, 101);
	assert_memory_equal(script(f)->finished[0].body, "body", 4);
	assert_int_equal(e->wal_us, 11);
	assert_int_equal(e->sync_us, 22);
	assert_int_equal(submissions_waiting(f->worker.submissions), 0);
	fixture_expect(f, client, 200, "");
}

static void answers_find_their_requests_in_any_order(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *e[4];
	static const uint64_t order[] = { 3, 1, 4, 2 };
	for (unsigned i = 0; i < 4; i++)
		e[i] = submit_one(f, 64, NULL);
	for (unsigned i = 0; i < 4; i++)
		answer(f, order[i], ERR_OK);
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->finished_count, 4);
	for (unsigned i = 0; i < 4; i++)
		assert_ptr_equal(script(f)->finished[i].exchange, e[order[i] - 1]);
}

static void answer_that_nobody_waits_for_is_dropped(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *gone = submit_one(f, 64, NULL), *stays = submit_one(f, 64, NULL);
	fixture_gone(gone);
	answer(f, 1, ERR_OK);
	answer(f, 0, ERR_OK);
	answer(f, 4097, ERR_OK);    /* of nobody, in another place of the table */
	answer(f, 16385, ERR_OK);   /* of nobody, in the place of request 1 */
	answer(f, 16386, ERR_OK);   /* of nobody, in the place of request 2 */
	answer(f, 2, ERR_OK);
	answer(f, 2, ERR_OK);       /* a second one */
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->finished_count, 1);
	assert_ptr_equal(script(f)->finished[0].exchange, stays);
	assert_int_equal(submissions_waiting(f->worker.submissions), 0);
}

static void logd_is_woken_once_and_only_when_it_sleeps(void **state)
{
	struct worker_fixture *f = *state;
	int wake = f->worker.inherit.logd_wake_fd;
	struct exchange *e[3];
	uint64_t count = 0;
	for (unsigned i = 0; i < 3; i++)
		e[i] = fixture_exchange(f, "", NULL, NULL);
	submit(e[0]);
	submissions_flush(f->worker.submissions);
	assert_true(read(wake, &count, sizeof count) < 0);
	f->status->logd_sleeping = 1;
	submissions_flush(f->worker.submissions); /* nothing new */
	assert_true(read(wake, &count, sizeof count) < 0);
	submit(e[1]);
	submit(e[2]);
	submissions_flush(f->worker.submissions);
	submissions_flush(f->worker.submissions);
	assert_int_equal(read(wake, &count, sizeof count), sizeof count);
	assert_int_equal(count, 1);
}

static void requests_to_a_full_ring_wait_and_follow_in_their_order_none_dropped(void **state)
{
	struct worker_fixture *f = *state;
	unsigned filled = fill(f);
	struct exchange *e[6];
	struct request head;
	for (unsigned i = 0; i < 6; i++) {
		e[i] = submit_one(f, i % 2 ? 64 : 100000, NULL); /* a small one may not overtake a large one either */
		assert_non_null(e[i]->parked);
	}
	assert_int_equal(script(f)->published, 0);
	assert_int_equal(submissions_waiting(f->worker.submissions), 6);
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->published, 0);
	drain(f, filled);
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->published, 6);
	for (unsigned i = 0; i < 6; i++) {
		assert_true(fixture_take(f, &head));
		assert_int_equal(head.id, i + 1);
		fixture_release(f, f->taken);
		answer(f, head.id, ERR_OK);
	}
	submissions_poll(f->worker.submissions);
	for (unsigned i = 0; i < 6; i++)
		assert_ptr_equal(script(f)->finished[i].exchange, e[i]);
	assert_int_equal(submissions_waiting(f->worker.submissions), 0);
}

static void room_for_some_of_them_serves_the_first_ones_and_the_newest_stay_last(void **state)
{
	struct worker_fixture *f = *state;
	fill(f);
	struct exchange *e[4];
	const unsigned first = 2;
	script(f)->body = (1 << 18) - 256; /* two in the place of one that fills */
	for (unsigned i = 0; i < 3; i++)
		e[i] = submit_one(f, script(f)->body + 16, NULL);
	drain(f, 1);
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->published, first);
	e[3] = submit_one(f, 64, NULL); /* may not overtake those who wait, whatever room there is */
	assert_non_null(e[3]->parked);
	drain(f, 6);
	script(f)->body = 8;
	script(f)->called_count = 0;
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->published, 4);
	for (unsigned i = first; i < 4; i++)
		assert_ptr_equal(script(f)->called[i - first], e[i]);
}

static void waiting_costs_nothing_while_there_is_no_room(void **state)
{
	struct worker_fixture *f = *state;
	fill(f);
	for (unsigned i = 0; i < 5; i++)
		submit_one(f, 64, NULL);
	script(f)->called_count = 0;
	for (unsigned i = 0; i < 20; i++)
		submissions_poll(f->worker.submissions);
	assert_true(script(f)->called_count <= 20); /* the first of the queue alone is tried */
}

static void request_that_waits_counts_once_as_finding_the_ring_full(void **state)
{
	struct worker_fixture *f = *state;
	fill(f);
	submit_one(f, 64, NULL);
	submit_one(f, 64, NULL);
	for (unsigned i = 0; i < 20; i++)
		submissions_poll(f->worker.submissions);
	assert_int_equal(f->worker.counters->ring_full_total, 2);
}

static void client_that_leaves_the_queue_is_forgotten_wherever_it_stood(void **state)
{
	struct worker_fixture *f = *state;
	unsigned filled = fill(f);
	struct exchange *e[5];
	for (unsigned i = 0; i < 5; i++)
		e[i] = submit_one(f, 64, NULL);
	fixture_gone(e[0]);
	fixture_gone(e[2]);
	fixture_gone(e[4]);
	struct exchange *late = submit_one(f, 64, NULL);
	drain(f, filled);
	script(f)->called_count = 0;
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->called_count, 3);
	assert_ptr_equal(script(f)->called[0], e[1]);
	assert_ptr_equal(script(f)->called[1], e[3]);
	assert_ptr_equal(script(f)->called[2], late);
}

static void request_that_waits_for_room_over_a_second_is_told_to_slow_down(void **state)
{
	struct worker_fixture *f = *state;
	int client;
	fill(f);
	uint64_t before = worker_now_us();
	struct exchange *e = submit_one(f, 64, &client);
	submissions_sweep(f->worker.submissions, before + SECOND_US);
	assert_non_null(e->parked);
	f->status->heartbeat_ms = worker_now_us() / 1000 + 1000;
	submissions_sweep(f->worker.submissions, worker_now_us() + SECOND_US + 1);
	struct http_answer *got = malloc(sizeof *got);
	assert_true(fixture_answered(f, client, false, got));
	assert_int_equal(got->status, 429);
	assert_non_null(strstr(got->body, "{\"error\":{\"code\":\"throttled\","));
	assert_non_null(strstr(got->body, "\"detail\":{\"retry_after_ms\":1000}"));
	assert_true(answer_has(got, "Retry-After: 1"));
	free(got);
	assert_int_equal(submissions_waiting(f->worker.submissions), 0);
	/* What was refused never reaches logd. */
	drain(f, (unsigned)ring_outstanding(f->worker.ring));
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->published, 0);
}

static void request_that_would_rather_wait_than_be_refused_waits_until_the_deadline(void **state)
{
	struct worker_fixture *f = *state;
	int client;
	fill(f);
	script(f)->wait = true;
	uint64_t before = worker_now_us();
	struct exchange *e = submit_one(f, 64, &client);
	for (unsigned i = 0; i < 3; i++) {
		submissions_poll(f->worker.submissions); /* tried and parked again: its time goes on counting */
		submissions_sweep(f->worker.submissions, before + DEADLINE_US);
		assert_non_null(e->parked);
	}
	f->status->heartbeat_ms = worker_now_us() / 1000 + 6000;
	submissions_sweep(f->worker.submissions, worker_now_us() + DEADLINE_US + 1);
	fixture_expect(f, client, 503, "\"code\":\"storage_stalled\"");
}

static void request_not_handed_over_to_a_logd_that_stands_still_is_storage_stalled(void **state)
{
	struct worker_fixture *f = *state;
	int client;
	fill(f);
	submit_one(f, 64, &client);
	f->status->heartbeat_ms = worker_now_us() / 1000 - 3000;
	/* Nothing of this worker's is waited for any more: those that were handed over have got their commit_unknown. */
	assert_int_equal(submissions_waiting(f->worker.submissions), 1);
	submissions_sweep(f->worker.submissions, worker_now_us() + SECOND_US + 1);
	fixture_expect(f, client, 503, "\"code\":\"storage_stalled\"");
}

static void request_handed_over_and_not_answered_in_time_is_commit_unknown_and_its_late_answer_dropped(void **state)
{
	struct worker_fixture *f = *state;
	int client, second;
	uint64_t before = worker_now_us();
	struct exchange *e = submit_one(f, 64, &client);
	submissions_sweep(f->worker.submissions, before + DEADLINE_US - 1);
	assert_non_null(e->parked);
	submissions_sweep(f->worker.submissions, worker_now_us() + DEADLINE_US);
	fixture_expect(f, client, 503, "\"code\":\"commit_unknown\"");
	assert_int_equal(submissions_waiting(f->worker.submissions), 0);
	submit_one(f, 64, &second);
	answer(f, 1, ERR_OK);
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->finished_count, 0);
	answer(f, 2, ERR_OK);
	fixture_expect(f, second, 200, "");
}

static void answered_request_does_not_hide_an_older_one_from_its_deadline(void **state)
{
	struct worker_fixture *f = *state;
	int client[3];
	for (unsigned i = 0; i < 3; i++)
		submit_one(f, 64, &client[i]);
	answer(f, 1, ERR_OK);
	answer(f, 3, ERR_OK);
	submissions_poll(f->worker.submissions);
	submissions_sweep(f->worker.submissions, worker_now_us() + DEADLINE_US);
	fixture_expect(f, client[0], 200, "");
	fixture_expect(f, client[1], 503, "\"code\":\"commit_unknown\"");
	fixture_expect(f, client[2], 200, "");
}

static void request_larger_than_an_entry_goes_through_the_large_area_one_at_a_time(void **state)
{
	struct worker_fixture *f = *state;
	struct request head;
	int client[2];
	struct exchange *first = submit_one(f, LARGE, &client[0]), *second = submit_one(f, LARGE, &client[1]);
	assert_int_equal(script(f)->published, 1);
	assert_non_null(first->parked);
	assert_non_null(second->parked);
	assert_true(fixture_take(f, &head));
	assert_true(head.flags & REQUEST_LARGE);
	assert_int_equal(head.length, sizeof head);
	assert_memory_equal(f->parts, "ZZZZZZZZabc\0\0\0\0\0", 16);
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->published, 1); /* taken is not released */
	fixture_release(f, f->taken);
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->published, 2);
	assert_true(fixture_take(f, &head));
	assert_true(head.flags & REQUEST_LARGE);
	answer(f, 1, ERR_OK);
	answer(f, 2, ERR_OK);
	fixture_expect(f, client[0], 200, "");
	fixture_expect(f, client[1], 200, "");
}

static void entry_of_exactly_the_largest_size_needs_no_large_area(void **state)
{
	struct worker_fixture *f = *state;
	struct request head;
	submit_one(f, RING_ENTRY_MAX - sizeof head, NULL);
	assert_true(fixture_take(f, &head));
	assert_false(head.flags & REQUEST_LARGE);
	submit_one(f, RING_ENTRY_MAX - sizeof head + 1, NULL);
	assert_true(fixture_take(f, &head));
	assert_true(head.flags & REQUEST_LARGE);
}

static void answers_are_found_over_many_turns_of_the_ring_and_table(void **state)
{
	struct worker_fixture *f = *state;
	struct request head;
	int client = 0;
	struct exchange *e = fixture_exchange(f, "", NULL, &client);
	script(f)->quiet = true;
	for (unsigned i = 1; i <= 5 * 16384; i++) {
		submit(e);
		assert_true(fixture_take(f, &head));
		assert_int_equal(head.id, i);
		fixture_release(f, f->taken);
		answer(f, i, ERR_OK);
		submissions_poll(f->worker.submissions);
		assert_int_equal(script(f)->finished_count, i);
		if (i % 1000 == 0)
			submissions_sweep(f->worker.submissions, worker_now_us());
	}
	fixture_end(e);
	fixture_expect(f, client, 200, "");
}

/* Requests of this exchange that are answered at once, one after the other; their ids rise. Returns the last one's. */
static uint64_t submit_and_answer(struct worker_fixture *f, struct exchange *exchange, unsigned count)
{
	struct request head;
	uint64_t last = 0;
	bool quiet = script(f)->quiet;
	script(f)->quiet = true;
	for (unsigned i = 0; i < count; i++) {
		unsigned before = script(f)->finished_count;
		submit(exchange);
		assert_true(fixture_take(f, &head));
		assert_true(head.id > last);
		last = head.id;
		fixture_release(f, f->taken);
		answer(f, last, ERR_OK);
		submissions_poll(f->worker.submissions);
		assert_int_equal(script(f)->finished_count, before + 1);
		assert_ptr_equal(script(f)->finished[before % 64].exchange, exchange);
	}
	script(f)->quiet = quiet;
	return last;
}

static void request_answered_late_keeps_its_place_however_many_younger_ones_are_answered_meanwhile(void **state)
{
	struct worker_fixture *f = *state;
	int client[3];
	struct exchange *late = submit_one(f, 64, &client[0]);
	struct exchange *never = submit_one(f, 64, &client[1]);
	drain(f, 2);
	struct exchange *busy = fixture_exchange(f, "", NULL, NULL);
	f->caught_count = 0;
	submit_and_answer(f, busy, 3 * TABLE);
	assert_int_equal(submissions_waiting(f->worker.submissions), 2);
	answer(f, 1, ERR_OK);
	submissions_poll(f->worker.submissions);
	assert_ptr_equal(script(f)->finished[(script(f)->finished_count - 1) % 64].exchange, late);
	fixture_expect(f, client[0], 200, "");
	/* The deadline finds the other one, and one that came after all of them. */
	assert_non_null(never->parked);
	submit_one(f, 64, &client[2]);
	submissions_sweep(f->worker.submissions, worker_now_us() + DEADLINE_US);
	fixture_expect(f, client[1], 503, "\"code\":\"commit_unknown\"");
	fixture_expect(f, client[2], 503, "\"code\":\"commit_unknown\"");
	assert_int_equal(submissions_waiting(f->worker.submissions), 0);
	fixture_end(busy);
}

static void client_that_leaves_takes_no_younger_request_of_another_with_it(void **state)
{
	struct worker_fixture *f = *state;
	struct request head;
	int client;
	struct exchange *gone = submit_one(f, 64, NULL);
	drain(f, 1);
	struct exchange *busy = fixture_exchange(f, "", NULL, NULL);
	f->caught_count = 0;
	submit_and_answer(f, busy, TABLE - 1);
	struct exchange *stays = submit_one(f, 64, &client); /* its turn would be at the place of `gone` */
	assert_true(fixture_take(f, &head));
	fixture_gone(gone);
	answer(f, head.id, ERR_OK);
	submissions_poll(f->worker.submissions);
	assert_ptr_equal(script(f)->finished[(script(f)->finished_count - 1) % 64].exchange, stays);
	fixture_expect(f, client, 200, "");
	unsigned finished = script(f)->finished_count;
	answer(f, 1, ERR_OK);
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->finished_count, finished);
	assert_int_equal(submissions_waiting(f->worker.submissions), 0);
	fixture_end(busy);
}

static void request_beside_as_many_as_can_be_told_apart_waits_as_for_room_in_the_ring(void **state)
{
	struct worker_fixture *f = *state;
	int client;
	struct exchange *leaves = fixture_exchange(f, "", NULL, NULL);
	f->caught_count = 0;
	for (unsigned i = 0; i < TABLE; i++) {
		submit(leaves);
		drain(f, 1);
		fixture_gone(leaves);
	}
	assert_int_equal(script(f)->published, TABLE);
	struct exchange *waits = submit_one(f, 64, &client);
	submissions_poll(f->worker.submissions);
	assert_non_null(waits->parked);
	assert_int_equal(script(f)->published, TABLE);
	assert_int_equal(ring_outstanding(f->worker.ring), 0);
	answer(f, 5000, ERR_OK);
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->published, TABLE + 1);
	assert_int_equal(script(f)->finished_count, 0);
	struct request head;
	assert_true(fixture_take(f, &head));
	assert_int_equal(head.id, TABLE + 5000);
	answer(f, head.id, ERR_OK);
	submissions_poll(f->worker.submissions);
	assert_int_equal(script(f)->finished_count, 1);
	fixture_expect(f, client, 200, "");
	submissions_sweep(f->worker.submissions, worker_now_us() + DEADLINE_US);
	assert_int_equal(submissions_waiting(f->worker.submissions), 0);
	fixture_end(leaves);
}

static void refusals_of_logd_have_their_status_code_and_detail(void **state)
{
	struct worker_fixture *f = *state;
	static const struct { enum error error; int status; const char *text; } cases[] = {
		{ ERR_TOPIC_NOT_FOUND, 404, "\"code\":\"topic_not_found\"" }, { ERR_HEAD_MISMATCH, 409, "\"detail\":{\"head_seq\":9,\"epoch\":\"00000000000000ab\"}" },
		{ ERR_TOPIC_EXISTS_INCOMPATIBLE, 409, "\"detail\":{\"reason\":\"type\"}" }, { ERR_TOPIC_NOT_EMPTY, 409, "\"code\":\"topic_not_empty\"" },
		{ ERR_RECORD_TOO_LARGE, 400, "\"code\":\"record_too_large\"" }, { ERR_STORAGE_FULL, 507, "\"code\":\"storage_full\"" },
		{ ERR_STORAGE_FAILED, 503, "Retry-After: 5\r\n" }, { ERR_READ_ONLY, 503, "Retry-After: 5\r\n" }, { ERR_COMMIT_UNKNOWN, 503, "Retry-After: 1\r\n" },
		{ ERR_THROTTLED, 429, "\"detail\":{\"retry_after_ms\":1000}" }, { ERR_NOT_READY, 503, "\"code\":\"not_ready\"" },
		{ ERR_INTERNAL, 500, "\"code\":\"internal\"" },
	};
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct completion completion = { .request_id = i + 1, .status = (uint16_t)cases[i].error, .topic = 0xab, .head = 9 };
		int client;
		submit_one(f, 64, &client);
		fixture_answer(f, &completion, NULL);
		fixture_expect(f, client, cases[i].status, cases[i].text);
	}
	int client;
	struct exchange *e = submit_one(f, 64, &client);
	struct completion limit = { .request_id = script(f)->published, .status = ERR_THROTTLED, .body_length = 4 };
	(void)e;
	fixture_answer(f, &limit, "full");
	fixture_expect(f, client, 429, "\"detail\":{\"limit\":\"max_topics\",\"max\":100}");
	submit_one(f, 64, &client);
	limit = (struct completion){ .request_id = script(f)->published, .status = ERR_HEAD_MISMATCH };
	fixture_answer(f, &limit, NULL);
	fixture_expect(f, client, 409, "\"detail\":{\"head_seq\":0,\"epoch\":null}");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(request_arrives_whole_and_its_answer_finishes_it),
		CASE(answers_find_their_requests_in_any_order),
		CASE(answer_that_nobody_waits_for_is_dropped),
		CASE(logd_is_woken_once_and_only_when_it_sleeps),
		CASE(requests_to_a_full_ring_wait_and_follow_in_their_order_none_dropped),
		CASE(room_for_some_of_them_serves_the_first_ones_and_the_newest_stay_last),
		CASE(waiting_costs_nothing_while_there_is_no_room),
		CASE(request_that_waits_counts_once_as_finding_the_ring_full),
		CASE(client_that_leaves_the_queue_is_forgotten_wherever_it_stood),
		CASE(request_that_waits_for_room_over_a_second_is_told_to_slow_down),
		CASE(request_that_would_rather_wait_than_be_refused_waits_until_the_deadline),
		CASE(request_not_handed_over_to_a_logd_that_stands_still_is_storage_stalled),
		CASE(request_handed_over_and_not_answered_in_time_is_commit_unknown_and_its_late_answer_dropped),
		CASE(answered_request_does_not_hide_an_older_one_from_its_deadline),
		CASE(request_larger_than_an_entry_goes_through_the_large_area_one_at_a_time),
		CASE(entry_of_exactly_the_largest_size_needs_no_large_area),
		CASE(answers_are_found_over_many_turns_of_the_ring_and_table),
		CASE(request_answered_late_keeps_its_place_however_many_younger_ones_are_answered_meanwhile),
		CASE(client_that_leaves_takes_no_younger_request_of_another_with_it),
		CASE(request_beside_as_many_as_can_be_told_apart_waits_as_for_room_in_the_ring),
		CASE(refusals_of_logd_have_their_status_code_and_detail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
