/* worker/waiting.c: exchanges that wait for the next catalogue, for a section of it or for a log file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "tests/worker_fixture.h"
#include "worker/waiting.h"

enum { DEADLINE_US = 5000000, SECOND_US = 1000000 };

/* What comes puts them in line; the next round calls them. */
static void catalogue_comes(struct worker_fixture *f)
{
	unsigned before = f->caught_count;
	waiting_catalogue_came(f->worker.waiting);
	assert_int_equal(f->caught_count, before);
	waiting_run(f->worker.waiting);
	assert_false(waiting_pending(f->worker.waiting));
}

static void file_comes(struct worker_fixture *f, uint64_t id)
{
	waiting_file_came(f->worker.waiting, id);
	waiting_run(f->worker.waiting);
}

static void park_again(struct exchange *exchange)
{
	fixture_catch(exchange);
	waiting_for_catalogue(exchange->worker->waiting, exchange, fixture_catch);
}

static void take_another_turn(struct exchange *exchange)
{
	fixture_catch(exchange);
	waiting_for_turn(exchange->worker->waiting, exchange, fixture_catch);
}

static void look_again(struct exchange *exchange)
{
	fixture_catch(exchange);
	waiting_for_section(exchange->worker->waiting, exchange, look_again);
}

/* Sleeps as the worker does, until the next look, and makes it. */
static void next_look(struct worker_fixture *f)
{
	event_base_loop(f->worker.base, EVLOOP_ONCE);
	waiting_run(f->worker.waiting);
	assert_false(waiting_pending(f->worker.waiting));
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
	catalogue_comes(f);
	assert_int_equal(f->caught_count, 6);
	for (unsigned i = 0; i < 3; i++) {
		assert_ptr_equal(f->caught[3 + i], e[i]);
		assert_null(e[i]->parked);
		assert_null(e[i]->cancel);
	}
	catalogue_comes(f);
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
	file_comes(f, 9);
	assert_int_equal(f->caught_count, 4);
	file_comes(f, 7);
	assert_int_equal(f->caught_count, 6);
	assert_ptr_equal(f->caught[4], seven);
	assert_ptr_equal(f->caught[5], seven_too);
	file_comes(f, 8);
	catalogue_comes(f);
	assert_int_equal(f->caught_count, 8);
	assert_ptr_equal(f->caught[6], eight);
	assert_ptr_equal(f->caught[7], catalogue);
}

static void handler_that_waits_again_is_called_with_the_next_one_only(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *e = fixture_exchange(f, "", NULL, NULL);
	waiting_for_catalogue(f->worker.waiting, e, park_again);
	catalogue_comes(f);
	assert_int_equal(f->caught_count, 2);
	assert_non_null(e->parked);
	catalogue_comes(f);
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
	catalogue_comes(f);
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
	catalogue_comes(f);
	file_comes(f, 7);
	assert_int_equal(f->caught_count, 2);
}

static void who_wants_another_turn_comes_behind_those_who_stand_in_line(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *e[3];
	for (unsigned i = 0; i < 3; i++)
		e[i] = fixture_exchange(f, "", NULL, NULL);
	for (unsigned i = 0; i < 3; i++)
		waiting_for_turn(f->worker.waiting, e[i], i == 0 ? take_another_turn : fixture_catch);
	assert_true(waiting_pending(f->worker.waiting));
	while (waiting_pending(f->worker.waiting))
		waiting_run(f->worker.waiting);
	assert_int_equal(f->caught_count, 7);
	static const unsigned order[] = { 0, 1, 2, 0 };
	for (unsigned i = 0; i < 4; i++)
		assert_ptr_equal(f->caught[3 + i], e[order[i]]);
}

static void read_that_the_disk_holds_is_called_when_it_comes_or_refused_at_the_deadline(void **state)
{
	struct worker_fixture *f = *state;
	int refused;
	struct exchange *e = fixture_exchange(f, "", NULL, NULL), *g = fixture_exchange(f, "", NULL, &refused);
	waiting_for_disk(f->worker.waiting, e, fixture_catch);
	waiting_for_disk(f->worker.waiting, g, fixture_catch);
	catalogue_comes(f);
	assert_int_equal(f->caught_count, 2);
	waiting_disk_came(e);
	waiting_run(f->worker.waiting);
	assert_int_equal(f->caught_count, 3);
	assert_ptr_equal(f->caught[2], e);
	waiting_sweep(f->worker.waiting, worker_now_us() + DEADLINE_US + 1, DEADLINE_US);
	fixture_expect(f, refused, 503, "\"code\":\"storage_failed\"");
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

static void one_of_those_that_wait_for_a_section_looks_at_a_time_and_all_go_on_when_it_gets_on(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *e[3];
	for (unsigned i = 0; i < 3; i++)
		e[i] = fixture_exchange(f, "", NULL, NULL);
	for (unsigned i = 0; i < 3; i++)
		waiting_for_section(f->worker.waiting, e[i], i == 2 ? fixture_catch : look_again);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t began = worker_now_us();
		next_look(f);
		assert_true(worker_now_us() - began > 1000); /* it sleeps in between */
		assert_int_equal(f->caught_count, 4 + i);
		assert_ptr_equal(f->caught[3 + i], e[i]);
	}
	next_look(f);
	assert_int_equal(f->caught_count, 5 + 3);
	assert_ptr_equal(f->caught[5], e[2]);
	assert_ptr_equal(f->caught[6], e[0]);
	assert_ptr_equal(f->caught[7], e[1]);
	catalogue_comes(f);
	assert_int_equal(f->caught_count, 10);
}

static void section_that_is_never_whole_has_the_time_of_one_wait(void **state)
{
	struct worker_fixture *f = *state;
	int client;
	struct exchange *e = fixture_exchange(f, "", NULL, &client);
	waiting_for_section(f->worker.waiting, e, look_again);
	uint64_t after = worker_now_us();
	for (unsigned i = 0; i < 3; i++)
		next_look(f);
	assert_int_equal(f->caught_count, 4);
	waiting_sweep(f->worker.waiting, after + DEADLINE_US + 1, DEADLINE_US);
	fixture_expect(f, client, 503, "\"code\":\"not_ready\"");
}

static void nobody_looks_for_a_client_that_left(void **state)
{
	struct worker_fixture *f = *state;
	struct exchange *gone = fixture_exchange(f, "", NULL, NULL), *stays = fixture_exchange(f, "", NULL, NULL);
	waiting_for_section(f->worker.waiting, gone, look_again);
	waiting_for_section(f->worker.waiting, stays, fixture_catch);
	fixture_gone(gone);
	next_look(f);
	assert_int_equal(f->caught_count, 3);
	assert_ptr_equal(f->caught[2], stays);
	fixture_end(gone);
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
		CASE(who_wants_another_turn_comes_behind_those_who_stand_in_line),
		CASE(read_that_the_disk_holds_is_called_when_it_comes_or_refused_at_the_deadline),
		CASE(one_of_those_that_wait_for_a_section_looks_at_a_time_and_all_go_on_when_it_gets_on),
		CASE(section_that_is_never_whole_has_the_time_of_one_wait),
		CASE(nobody_looks_for_a_client_that_left),
		CASE(at_the_daemons_start_a_client_hears_within_a_second_how_far_recovery_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
