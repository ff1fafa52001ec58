/* The log of kind `e`: memory objects, their bound, and what a death costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "common/settings.h"
#include "tests/log_fixture.h"

enum { SMALL_FILE = 16384 };

static void start(struct fixture *f, uint64_t file_bytes, uint64_t total_max)
{
	fixture_init(f, 1, 'e', file_bytes);
	f->options.total_max = total_max;
	assert_int_equal(fixture_start(f), ERR_OK);
}

static void ephemeral_log_evicts_its_oldest_file_and_says_every_frame(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, SMALL_FILE, 8 * SMALL_FILE);
	for (int i = 0; i < 400; i++)
		fixture_write(&f, 900);
	assert_true(f.evicted > 200);
	assert_int_equal(f.last_evicted, f.evicted);
	assert_int_equal(log_synced(f.log), log_written(f.log));
	for (uint64_t number = f.last_evicted + 1; number < f.next; number++)
		fixture_assert_readable(&f, number);
	fixture_free(&f);
}

/* Each file is a descriptor in every process. */
static void ephemeral_log_of_a_large_bound_has_large_files(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 4096, (uint64_t)EPHEMERAL_FILES_MAX * (32 << 10));
	for (int i = 0; i < 100; i++)
		fixture_write(&f, 900);
	assert_in_range(memory_world_objects(f.world), 3, 4);
	fixture_free(&f);
}

/* Its objects are larger than its files, and what counts towards the bound is the files. */
static void death_costs_the_ephemeral_log_no_more_than_the_file_that_comes_next(void **state)
{
	struct fixture f;
	unsigned before;

	(void)state;
	start(&f, SMALL_FILE, 8 * SMALL_FILE);
	for (int i = 0; i < 400; i++)
		fixture_write(&f, 900);
	for (int life = 0; life < 3; life++) {
		before = f.evicted;
		fixture_die(&f);
		assert_int_equal(fixture_start(&f), ERR_OK);
		fixture_write(&f, 900);
		assert_in_range(f.evicted - before, 0, SMALL_FILE / 900);
		for (uint64_t number = f.last_evicted + 1; number < f.next; number++)
			fixture_assert_readable(&f, number);
	}
	fixture_free(&f);
}

static void ephemeral_log_goes_on_in_a_new_object_after_a_death(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, SMALL_FILE, 8 * SMALL_FILE);
	for (int life = 0; life < 3; life++) {
		for (int i = 0; i < 10; i++)
			fixture_write(&f, 900);
		fixture_die(&f);
		assert_int_equal(fixture_start(&f), ERR_OK);
		fixture_saw(&f, 1, 10 * (unsigned)(life + 1));
		assert_int_equal(f.damage_count, 0);
	}
	fixture_free(&f);
}

static void ephemeral_write_that_fails_goes_on_in_a_new_object(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, SMALL_FILE, 0);
	fixture_write(&f, 100);
	assert_int_equal(fixture_append(&f, 9000, false), ERR_OK);
	memory_world_fail(f.world, MEMORY_PWRITE, 0, ENOSPC, false);
	assert_int_equal(log_write(f.log), ERR_STORAGE_FULL);
	f.next = 2;
	assert_int_equal(fixture_append(&f, 100, false), ERR_OK);
	memory_world_fail(f.world, MEMORY_PWRITE, 0, ENOSPC, false);
	assert_int_equal(log_write(f.log), ERR_STORAGE_FULL);
	f.next = 2;
	fixture_write(&f, 200);
	assert_int_equal(memory_world_objects(f.world), 2); /* an object that never got a frame goes */
	assert_true(f.places[1].file_id != f.places[2].file_id);
	fixture_die(&f);
	assert_int_equal(fixture_start(&f), ERR_OK);
	fixture_saw(&f, 1, 2);
	fixture_free(&f);
}

/* Neither group was answered: no reader ever learnt of its records, so nobody may be told that they are gone. */
static void eviction_says_nothing_of_frames_whose_write_failed(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, SMALL_FILE, 4 * SMALL_FILE);
	fixture_write(&f, 900);
	for (int i = 0; i < 8; i++)
		assert_int_equal(fixture_append(&f, 900, false), ERR_OK);
	memory_world_fail(f.world, MEMORY_PWRITE, 0, ENOSPC, false); /* some of its pages are there all the same */
	assert_int_equal(log_write(f.log), ERR_STORAGE_FULL);
	f.next = 100;
	while (f.evicted == 0)
		fixture_write(&f, 900);
	assert_int_equal(f.evicted, 1);
	assert_int_equal(f.last_evicted, 1);
	fixture_free(&f);
}

/* Written is not answered: logd may die in between, and the next one has to find the frame unproven (I-8). */
static void ephemeral_frames_record_what_was_answered(void **state)
{
	struct fixture f;
	uint64_t answered;

	(void)state;
	start(&f, SMALL_FILE, 0);
	fixture_write(&f, 100);
	fixture_write(&f, 100);
	answered = f.places[1].lsn + f.places[1].length;
	log_answered(f.log, answered);
	log_answered(f.log, f.places[1].lsn); /* it does not go back */
	fixture_write(&f, 100);
	fixture_die(&f);
	assert_int_equal(fixture_start(&f), ERR_OK);
	assert_true(f.recovered.frontier == answered);
	fixture_saw(&f, 1, 3);
	fixture_write(&f, 100); /* by now all that was found has been answered */
	answered = f.places[3].lsn + f.places[3].length;
	fixture_die(&f);
	assert_int_equal(fixture_start(&f), ERR_OK);
	assert_true(f.recovered.frontier == answered);
	fixture_free(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ephemeral_log_evicts_its_oldest_file_and_says_every_frame),
		cmocka_unit_test(ephemeral_log_of_a_large_bound_has_large_files),
		cmocka_unit_test(death_costs_the_ephemeral_log_no_more_than_the_file_that_comes_next),
		cmocka_unit_test(ephemeral_log_goes_on_in_a_new_object_after_a_death),
		cmocka_unit_test(ephemeral_write_that_fails_goes_on_in_a_new_object),
		cmocka_unit_test(eviction_says_nothing_of_frames_whose_write_failed),
		cmocka_unit_test(ephemeral_frames_record_what_was_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
