/* How the engine treats its workers' rings, and what is due without a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/counters.h"
#include "tests/engine_fixture.h"

/* ---- rings ---- */

static void ring_with_random_bytes_is_cut_off_and_others_go_on(void **state)
{
	struct engine_fixture *f = *state;
	struct ring_shared *shared = f->workers[0].request;
	uint64_t id;

	memset((uint8_t *)f->workers[0].request + RING_DATA_OFFSET, 0xa5, 4096);
	atomic_store(&shared->published, 3);
	atomic_store(&shared->tail, 4096);
	id = engine_append(f, "t", 1, &(struct append_options){ .worker = 1 });
	assert_int_equal(engine_answered(f, id)->status, ERR_OK);
	assert_int_equal(f->workers[0].broken, 1);
	assert_int_equal(f->workers[1].broken, 0);
}

static void request_past_a_limit_that_the_worker_checks_cuts_it_off(void **state)
{
	struct engine_fixture *f = *state;

	f->settings.max_batch_records = 10;
	(void)engine_append(f, "t", 11, NULL);
	engine_settle(f);
	assert_int_equal(f->workers[0].broken, 1);
	assert_int_equal(engine_numbers(f, "t").id, 0);
}

static void ring_of_a_dead_worker_goes_when_what_was_taken_is_finished(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t taken;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	taken = engine_append(f, "t", 1, NULL);
	engine_one_round(f);
	(void)engine_append(f, "t", 1, NULL); /* published, not taken: never accepted */
	engine_fixture_worker_dies(f, 0);
	engine_one_round(f);
	assert_int_equal(f->workers[0].dropped, 0);
	assert_true(engine_end_sync(f));
	assert_int_equal(f->workers[0].dropped, 1);
	engine_settle(f);
	assert_false(engine_has_answer(f, taken));
	assert_int_equal(engine_numbers(f, "t").head, 1);
}

static void worker_that_reads_no_answers_holds_up_itself_alone(void **state)
{
	struct engine_fixture *f = *state;
	bool more;

	engine_make_topic(f, "t", DURABILITY_MEMORY);
	engine_make_topic(f, "u", DURABILITY_MEMORY);
	f->workers[0].asleep = true;
	for (unsigned i = 0; i < RING_SLOTS - 1; i++) {
		(void)engine_append(f, "t", 1, NULL);
		engine_one_round(f);
	}
	for (unsigned i = 0; i < 100; i++)
		(void)engine_append(f, "t", 1, NULL);
	engine_one_round(f);
	assert_true(engine_numbers(f, "t").head <= RING_SLOTS);
	for (unsigned i = 0; i < 300; i++)
		(void)engine_append(f, "u", 1, &(struct append_options){ .worker = 1 });
	/* The owner calls again at once while it is told to, or while something is there to take. */
	do {
		more = engine_round(f->engine);
	} while (more || engine_pending(f->engine));
	assert_int_equal(engine_numbers(f, "u").head, 300);
	f->workers[0].asleep = false;
	engine_settle(f);
	assert_int_equal(engine_numbers(f, "t").head, RING_SLOTS - 1 + 100);
}

static void groups_are_cut_at_a_mebibyte_and_the_owner_is_told_to_call_again(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t ids[8];
	unsigned rounds = 1;

	engine_make_topic(f, "t", DURABILITY_MEMORY);
	for (unsigned i = 0; i < 8; i++)
		ids[i] = engine_append(f, "t", 1, &(struct append_options){ .bytes = 400000, .worker = i % 2 });
	while (engine_round(f->engine))
		rounds++;
	assert_in_range(rounds, 2, 8);
	assert_false(engine_pending(f->engine));
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(engine_answered(f, ids[i])->status, ERR_OK);
}

static void worker_is_woken_once_a_round(void **state)
{
	struct engine_fixture *f = *state;
	unsigned before;

	engine_make_topic(f, "t", DURABILITY_MEMORY);
	before = f->workers[0].woken;
	for (unsigned i = 0; i < 20; i++)
		(void)engine_append(f, "t", 1, NULL);
	(void)engine_round(f->engine);
	assert_int_equal(f->workers[0].woken, before + 1);
}

static void worker_that_watches_is_woken_once_for_what_others_write_and_no_longer_when_it_stops(void **state)
{
	struct engine_fixture *f = *state;
	struct engine_worker *other = &f->workers[1];
	unsigned before;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	before = other->woken;
	engine_answered(f, engine_append(f, "t", 1, NULL));
	assert_int_equal(other->woken, before);

	atomic_store(&other->counters->watching, 1);
	(void)engine_append(f, "t", 1, NULL);
	(void)engine_append(f, "t", 1, NULL);
	engine_one_round(f);
	assert_int_equal(other->woken, before); /* nothing is published before its sync */
	assert_true(engine_end_sync(f));
	engine_one_round(f);
	assert_int_equal(engine_numbers(f, "t").head, 3);
	assert_int_equal(other->woken, before + 1);

	atomic_store(&other->counters->watching, 0);
	engine_answered(f, engine_append(f, "t", 1, NULL));
	assert_int_equal(other->woken, before + 1);
}

static void entries_are_released_when_written_though_their_answers_wait(void **state)
{
	struct engine_fixture *f = *state;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	(void)engine_append(f, "t", 1, NULL);
	assert_int_equal(ring_outstanding(f->workers[0].producer), 1);
	engine_one_round(f);
	assert_int_equal(ring_outstanding(f->workers[0].producer), 0);
}

/* ---- what is due ---- */

static void sync_mark_follows_one_quiet_interval_once(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t written;

	engine_make_topic(f, "t", DURABILITY_MEMORY);
	engine_answered(f, engine_append(f, "t", 1, NULL));
	for (unsigned i = 0; i < 5; i++) {
		engine_pass(f, 150000);
		engine_settle(f);
	}
	written = atomic_load(&f->status->written);
	for (unsigned i = 0; i < 20; i++) {
		engine_pass(f, 150000);
		engine_settle(f);
	}
	assert_int_equal(atomic_load(&f->status->written), written);
	assert_int_equal(atomic_load(&f->status->frontier), written);
}

static void a_stop_while_a_sync_runs_waits_for_it_and_is_clean(void **state)
{
	struct engine_fixture *f = *state;
	struct loss loss;

	engine_make_topic(f, "t", DURABILITY_DISK);
	engine_answered(f, engine_append(f, "t", 2, NULL));
	(void)engine_append(f, "t", 2, NULL);
	engine_one_round(f);
	engine_pass(f, 110000);
	assert_true(memory_world_sync_pending(f->world));
	assert_int_equal(engine_fixture_stop(f), ERR_OK);
	memory_world_reboot(f->world);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	assert_int_equal(engine_numbers(f, "t").head, 4);
	assert_int_equal(engine_losses(f, "t", &loss, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)
		TEST(ring_with_random_bytes_is_cut_off_and_others_go_on),
		TEST(request_past_a_limit_that_the_worker_checks_cuts_it_off),
		TEST(ring_of_a_dead_worker_goes_when_what_was_taken_is_finished),
		TEST(worker_that_reads_no_answers_holds_up_itself_alone),
		TEST(groups_are_cut_at_a_mebibyte_and_the_owner_is_told_to_call_again),
		TEST(worker_is_woken_once_a_round),
		TEST(worker_that_watches_is_woken_once_for_what_others_write_and_no_longer_when_it_stops),
		TEST(entries_are_released_when_written_though_their_answers_wait),
		TEST(sync_mark_follows_one_quiet_interval_once),
		TEST(a_stop_while_a_sync_runs_waits_for_it_and_is_clean),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
