#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* Answers that recovered frames stand for (I-8); tests/test_engine_recover.c shows the same from outside. */
#include <stdlib.h>
#include <string.h>

#include "logd/engine_internal.h"
#include "tests/engine_fixture.h"

enum { FIRST_ID = 100, ANSWERS = 1000 };

static int setup(void **state)
{
	struct engine_fixture *f = engine_fixture_create(2);

	*state = f;
	if (engine_fixture_start(f, true, false) != ERR_OK)
		return 1;
	engine_settle(f);
	return f->engine->settling; /* nothing is left of the start */
}

static void found(struct engine_fixture *f, uint64_t incarnation, uint64_t id, uint64_t head)
{
	const struct settled settled = { .incarnation = incarnation, .completion = { .request_id = id, .type = REQUEST_APPEND, .head = head } };

	assert_int_equal(settled_add(f->engine, &settled), ERR_OK);
}

static void settle(struct engine_fixture *f)
{
	assert_int_equal(settle_prepare(f->engine), ERR_OK);
	f->engine->settling = true;
	settle_answers(f->engine);
}

/* The answers that the worker finds, which must come in this order; how many. */
static unsigned answers_read(struct engine_fixture *f, unsigned worker, uint64_t first_id, uint64_t step)
{
	struct completion completion;
	const uint8_t *body;
	unsigned count = 0;

	while (completion_next(f->workers[worker].reader, &completion, &body) == ERR_OK) {
		assert_int_equal(completion.request_id, first_id + count * step);
		assert_int_equal(completion.head, completion.request_id * 3);
		count++;
	}
	completion_done(f->workers[worker].reader);
	return count;
}

static void each_ring_gets_its_own_answers_once_by_rising_id(void **state)
{
	struct engine_fixture *f = *state;

	/* As two logs give them: each rising, one after the other; the workers' mixed. */
	for (unsigned log = 0; log < 2; log++)
		for (uint64_t i = 0; i < ANSWERS; i += 2)
			found(f, f->workers[i / 2 % 2].incarnation, FIRST_ID + i / 2 * 2 + log, (FIRST_ID + i / 2 * 2 + log) * 3);
	settle(f);
	assert_false(f->engine->settling);
	for (unsigned w = 0; w < 2; w++) {
		struct completion completion;
		const uint8_t *body;
		uint64_t last = 0;
		unsigned count = 0;
		for (; completion_next(f->workers[w].reader, &completion, &body) == ERR_OK; count++) {
			assert_true(completion.request_id > last);
			assert_int_equal((completion.request_id - FIRST_ID) / 2 % 2, w);
			last = completion.request_id;
		}
		assert_int_equal(count, ANSWERS / 2);
	}
}

static void worker_that_does_not_read_holds_up_its_own_answers_alone(void **state)
{
	struct engine_fixture *f = *state;
	unsigned count = 0;

	for (uint64_t i = 0; i < RING_SLOTS + 10; i++)
		found(f, f->workers[0].incarnation, FIRST_ID + i, (FIRST_ID + i) * 3);
	found(f, f->workers[1].incarnation, FIRST_ID, FIRST_ID * 3);
	settle(f);
	assert_true(f->engine->settling);
	assert_int_equal(answers_read(f, 1, FIRST_ID, 1), 1);
	count = answers_read(f, 0, FIRST_ID, 1);
	assert_true(count > 0 && count < RING_SLOTS + 10);
	settle_answers(f->engine);
	assert_int_equal(count + answers_read(f, 0, FIRST_ID + count, 1), RING_SLOTS + 10);
	assert_false(f->engine->settling);
	assert_int_equal(f->engine->settled_count, 0);
}

static void answer_that_stands_already_is_not_given_again(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t id = engine_append(f, "t", 1, NULL);

	f->workers[0].asleep = true;
	engine_settle(f);
	found(f, f->workers[0].incarnation, id, 77);
	settle(f);
	f->workers[0].asleep = false;
	assert_int_equal(engine_answered(f, id)->head, 1); /* the first one, once */
}

static void answers_of_a_worker_that_is_gone_are_dropped(void **state)
{
	struct engine_fixture *f = *state;

	found(f, 4711, FIRST_ID, FIRST_ID * 3);
	settle(f);
	assert_false(f->engine->settling);
	assert_int_equal(answers_read(f, 0, FIRST_ID, 1) + answers_read(f, 1, FIRST_ID, 1), 0);
}

static void entry_whose_frame_stands_is_passed_over(void **state)
{
	struct engine_fixture *f = *state;
	struct ring *ring = ring_by_incarnation(f->engine, f->workers[0].incarnation);
	uint64_t done = engine_append(f, "t", 1, NULL), open = engine_append(f, "t", 1, NULL);

	found(f, f->workers[0].incarnation, done, done * 3);
	assert_int_equal(settle_prepare(f->engine), ERR_OK);
	ring->start_end = 2;
	f->engine->settling = ring->settling = true;
	engine_settle(f);
	assert_int_equal(engine_answered(f, done)->head, done * 3); /* from the frame: it was not done again */
	assert_int_equal(engine_answered(f, open)->first_seq, 1);
	assert_int_equal(engine_numbers(f, "t").count, 1);
}

/* What a logd before may have seen is behind it then, though clients that ask again at once let the ring never be empty. */
static void ring_that_is_never_empty_is_settled_when_what_was_there_at_the_start_was_taken(void **state)
{
	struct engine_fixture *f = *state;
	struct ring *ring;
	unsigned rounds = 0;

	for (unsigned i = 0; i < TAKE_ENTRIES * 2; i++)
		(void)engine_append(f, "t", 1, NULL);
	engine_fixture_logd_dies(f);
	assert_int_equal(engine_fixture_start(f, false, false), ERR_OK);
	ring = ring_by_incarnation(f->engine, f->workers[0].incarnation);
	for (; ring->settling && rounds < 10; rounds++) {
		for (unsigned i = 0; i < TAKE_ENTRIES; i++)
			(void)engine_append(f, "t", 1, NULL);
		(void)engine_round(f->engine);
		assert_true(ring_pending(ring->consumer));
	}
	assert_int_equal(rounds, 3); /* two quanta, and the first entry behind them */
	(void)engine_round(f->engine);
	assert_false(f->engine->settling); /* the frontier is recorded again, files are sealed */
	engine_settle(f);
	assert_int_equal(engine_numbers(f, "t").count, TAKE_ENTRIES * 5);
}

/* It need not take one entry more to know that. */
static void ring_that_cannot_go_on_behind_its_start_is_settled(void **state)
{
	struct engine_fixture *f = *state;
	struct ring *ring = ring_by_incarnation(f->engine, f->workers[0].incarnation);

	ring->settling = f->engine->settling = true;
	(void)engine_append(f, "t", 1, NULL);
	settle_answers(f->engine);
	assert_true(ring_pending(ring->consumer));
	assert_false(ring->settling);
	assert_false(f->engine->settling);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, engine_teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_ring_gets_its_own_answers_once_by_rising_id),
		TEST(worker_that_does_not_read_holds_up_its_own_answers_alone),
		TEST(answer_that_stands_already_is_not_given_again),
		TEST(answers_of_a_worker_that_is_gone_are_dropped),
		TEST(entry_whose_frame_stands_is_passed_over),
		TEST(ring_that_is_never_empty_is_settled_when_what_was_there_at_the_start_was_taken),
		TEST(ring_that_cannot_go_on_behind_its_start_is_settled),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
