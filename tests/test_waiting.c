/* worker/waiting.c: exchanges that wait for the next catalogue or for a log file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/worker_fixture.h"
#include "worker/waiting.h"

enum { DEADLINE_US = 5000000, SECOND_US = 1000000 };

static void park_again(struct exchange *exchange)
{
	fixture_catch(exchange);
	waiting_for_catalogue(exchange->worker->waiting, exchange, fixture_catch);
}

static void waiters_of_the_catalogue_are_called_in_the_order_in_which_they_came(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *e[3];
	for (unsigned i = 0; i < 3; i++) {
		e[i] = fixture_exchange(f, "", NULL, NULL);
		waiting_for_catalogue(f->worker.waiting, e[i], fixture_catch);
		assert_non_null(e[i]->parked);
	}
	waiting_catalogue_came(f->worker.waiting);
	assert_int_equal(f->caught_count, 6);
	for (unsigned i = 0; i < 3; i++) {
		assert_ptr_equal(f->caught[3 + i], e[i]);
		assert_null(e[i]->parked);
		assert_null(e[i]->cancel);
	}
	waiting_catalogue_came(f->worker.waiting);
	assert_int_equal(f->caught_count, 6);
}

static void file_that_came_calls_its_own_waiters_and_no_others(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *catalogue = fixture_exchange(f, "", NULL, NULL), *seven = fixture_exchange(f, "", NULL, NULL);
	struct exchange *eight = fixture_exchange(f, "", NULL, NULL), *seven_too = fixture_exchange(f, "", NULL, NULL);
	waiting_for_catalogue(f->worker.waiting, catalogue, fixture_catch);
	waiting_for_file(f->worker.waiting, seven, 7, fixture_catch);
	waiting_for_file(f->worker.waiting, eight, 8, fixture_catch);
	waiting_for_file(f->worker.waiting, seven_too, 7, fixture_catch);
	waiting_file_came(f->worker.waiting, 9);
	assert_int_equal(f->caught_count, 4);
	waiting_file_came(f->worker.waiting, 7);
	assert_int_equal(f->caught_count, 6);
	assert_ptr_equal(f->caught[4], seven);
	assert_ptr_equal(f->caught[5], seven_too);
	waiting_file_came(f->worker.waiting, 8);
	waiting_catalogue_came(f->worker.waiting);
	assert_int_equal(f->caught_count, 8);
	assert_ptr_equal(f->caught[6], eight);
	assert_ptr_equal(f->caught[7], catalogue);
}

static void handler_that_waits_again_is_called_with_the_next_one_only(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *e = fixture_exchange(f, "", NULL, NULL);
	waiting_for_catalogue(f->worker.waiting, e, park_again);
	waiting_catalogue_came(f->worker.waiting);
	assert_int_equal(f->caught_count, 2);
	assert_non_null(e->parked);
	waiting_catalogue_came(f->worker.waiting);
	assert_int_equal(f->caught_count, 3);
	assert_null(e->parked);
}

static void client_that_left_is_forgotten_and_the_others_are_called(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *e[3];
	for (unsigned i = 0; i < 3; i++) {
		e[i] = fixture_exchange(f, "", NULL, NULL);
		waiting_for_catalogue(f->worker.waiting, e[i], fixture_catch);
	}
	fixture_gone(e[0]);
	fixture_gone(e[2]);
	waiting_catalogue_came(f->worker.waiting);
	assert_int_equal(f->caught_count, 4);
	assert_ptr_equal(f->caught[3], e[1]);
}

static void wait_within_the_deadline_goes_on_and_one_beyond_it_is_refused(void **state)
{
	struct worker_fixture *f = *state;
	int catalogue, file;
	struct exchange *e = fixture_exchange(f, "", NULL, &catalogue), *g = fixture_exchange(f, "", NULL, &file);
	uint64_t before = worker_now_us();
	f->status->progress = 250000;
	waiting_for_catalogue(f->worker.waiting, e, fixture_catch);
	waiting_for_file(f->worker.waiting, g, 7, fixture_catch);
	uint64_t after = worker_now_us();
	waiting_sweep(f->worker.waiting, before + DEADLINE_US, DEADLINE_US);
	assert_non_null(e->parked);
	assert_non_null(g->parked);
	waiting_sweep(f->worker.waiting, after + DEADLINE_US + 1, DEADLINE_US);
	fixture_expect(f, catalogue, 503, "\"code\":\"not_ready\"");
	fixture_expect(f, file, 503, "\"code\":\"storage_failed\"");
	waiting_catalogue_came(f->worker.waiting);
	waiting_file_came(f->worker.waiting, 7);
	assert_int_equal(f->caught_count, 2);
}

static void at_the_daemons_start_a_client_hears_within_a_second_how_far_recovery_is(void **state)
{
	struct worker_fixture *f = *state;
	int client;
	struct exchange *e = fixture_exchange(f, "", NULL, &client);
	uint64_t before = worker_now_us();
	fixture_no_catalogue(f);
	f->status->progress = 250000;
	waiting_for_catalogue(f->worker.waiting, e, fixture_catch);
	uint64_t after = worker_now_us();
	waiting_sweep(f->worker.waiting, before + SECOND_US, DEADLINE_US);
	assert_non_null(e->parked);
	waiting_sweep(f->worker.waiting, after + SECOND_US + 1, DEADLINE_US);
	fixture_expect(f, client, 503, "\"replay_progress\":0.250000");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, worker_fixture_set_up, worker_fixture_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(waiters_of_the_catalogue_are_called_in_the_order_in_which_they_came),
		CASE(file_that_came_calls_its_own_waiters_and_no_others),
		CASE(handler_that_waits_again_is_called_with_the_next_one_only),
		CASE(client_that_left_is_forgotten_and_the_others_are_called),
		CASE(wait_within_the_deadline_goes_on_and_one_beyond_it_is_refused),
		CASE(at_the_daemons_start_a_client_hears_within_a_second_how_far_recovery_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
