#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/log_fixture.h"

enum { SMALL_FILE = 16384 };

static int setup(void **state)
{
	struct fixture *f = malloc(sizeof *f);

	fixture_init(f, 1, 'w', SMALL_FILE);
	*state = f;
	return fixture_start(f) != ERR_OK;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fixture_free(f);
	free(f);
	return 0;
}

static void new_directory_is_empty_and_opens(void **state)
{
	struct fixture *f = *state;

	assert_true(f->recovered.empty);
	assert_int_equal(log_state(f->log), LOG_OPEN);
	assert_int_equal(log_appended(f->log), LSN_FIRST);
	assert_int_equal(f->seen_count, 0);
}

static void frames_written_and_synced_move_the_three_positions(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_append(f, 100, false), ERR_OK);
	assert_true(log_appended(f->log) > LSN_FIRST);
	assert_int_equal(log_written(f->log), LSN_FIRST);
	assert_int_equal(log_write(f->log), ERR_OK);
	assert_int_equal(log_written(f->log), log_appended(f->log));
	assert_int_equal(log_synced(f->log), LSN_FIRST);
	assert_true(log_sync_start(f->log));
	assert_false(log_sync_start(f->log));
	assert_true(log_syncing(f->log));
	assert_int_equal(log_synced(f->log), LSN_FIRST);
	fixture_sync(f);
	assert_int_equal(log_synced(f->log), log_written(f->log));
	assert_false(log_sync_start(f->log));
}

static void frame_written_during_a_sync_is_not_covered_by_it(void **state)
{
	struct fixture *f = *state;
	uint64_t first;

	fixture_write(f, 100);
	first = log_written(f->log);
	assert_true(log_sync_start(f->log));
	fixture_write(f, 100);
	fixture_jobs(f);
	assert_int_equal(log_synced(f->log), first);
	assert_true(log_written(f->log) > first);
}

static void every_frame_reads_back_across_rolls(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 300; i++) {
		fixture_write(f, (uint32_t)(i * 37 % 1500));
		if (i % 7 == 0)
			fixture_sync(f);
	}
	fixture_sync(f);
	assert_true(f->born > 5);
	for (uint64_t number = 1; number < f->next; number++)
		fixture_assert_readable(f, number);
}

static void frame_that_is_only_appended_reads_back_from_memory(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_append(f, 100, false), ERR_OK);
	fixture_assert_readable(f, 1);
}

static void frame_larger_than_a_file_gets_a_file_of_its_size(void **state)
{
	struct fixture *f = *state;

	fixture_write(f, 100);
	fixture_write(f, 5 * SMALL_FILE);
	fixture_write(f, 100);
	fixture_sync(f);
	assert_true(f->places[2].file_id != f->places[1].file_id);
	assert_true(f->places[2].file_id != f->places[3].file_id);
	for (uint64_t number = 1; number <= 3; number++)
		fixture_assert_readable(f, number);
	fixture_die(f);
	assert_int_equal(fixture_start(f), ERR_OK);
	fixture_saw(f, 1, 3);
}

static void group_larger_than_its_bound_asks_for_a_write_first(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, 1, 'w', 8 << 20);
	f.options.unsynced_max = 64 << 20;
	assert_int_equal(fixture_start(&f), ERR_OK);
	assert_int_equal(fixture_append(&f, 700000, false), ERR_OK);
	assert_int_equal(fixture_append(&f, 700000, false), ERR_AGAIN);
	assert_int_equal(log_write(f.log), ERR_OK);
	assert_int_equal(fixture_append(&f, 700000, false), ERR_OK);
	fixture_free(&f);
}

static void more_unsynced_than_the_bound_is_throttled_until_a_sync(void **state)
{
	struct fixture *f = *state;
	enum error error = ERR_OK;

	while (!error || error == ERR_AGAIN) {
		assert_int_equal(log_write(f->log), ERR_OK);
		while (memory_world_prepare_pending(f->world))
			fixture_jobs(f);
		error = fixture_append(f, 3000, false);
	}
	assert_int_equal(error, ERR_THROTTLED);
	assert_true(log_unsynced_bytes(f->log) > (1 << 20) - 8000);
	fixture_sync(f);
	assert_int_equal(fixture_append(f, 3000, false), ERR_OK);
}

static void sync_of_more_files_than_a_job_can_name_covers_the_oldest_first(void **state)
{
	struct fixture *f = *state;
	uint64_t files = 0, covered;

	for (int i = 0; files < SYNC_FILES_MAX + 4; i++) {
		fixture_write(f, 3000);
		files = f->born;
	}
	assert_true(log_sync_start(f->log));
	fixture_jobs(f);
	covered = log_synced(f->log);
	assert_true(covered > LSN_FIRST && covered < log_written(f->log));
	fixture_sync(f);
	for (uint64_t seed = 0; seed < 10; seed++) {
		struct fixture again = {.world = memory_world_clone(f->world), .options = f->options, .next = 1};

		memory_world_power_cut(again.world, seed);
		assert_int_equal(fixture_start(&again), ERR_OK);
		fixture_saw(&again, 1, f->next - 1);
		fixture_free(&again);
	}
}

static void roll_waits_while_the_file_after_the_next_is_being_prepared(void **state)
{
	struct fixture *f = *state;
	enum error error;

	while ((error = fixture_append(f, 1000, false)) == ERR_OK)
		assert_int_equal(log_write(f->log), ERR_OK);
	assert_int_equal(error, ERR_AGAIN);
	assert_int_equal(log_state(f->log), LOG_OPEN);
	assert_int_equal(f->born, 1);
	assert_true(memory_world_prepare_pending(f->world));
	fixture_jobs(f);
	assert_int_equal(fixture_append(f, 1000, false), ERR_OK);
}

static void full_disk_refuses_data_keeps_a_reserve_for_control_and_recovers(void **state)
{
	struct fixture *f = *state;
	enum error error;
	uint64_t refused;

	memory_world_space(f->world, 2 * SMALL_FILE); /* the current file and the prepared one */
	do {
		error = fixture_append(f, 100, false);
		assert_int_equal(log_write(f->log), ERR_OK);
		fixture_jobs(f);
	} while (error == ERR_OK || error == ERR_AGAIN);
	assert_int_equal(error, ERR_STORAGE_FULL);
	assert_int_equal(log_state(f->log), LOG_FULL);
	assert_int_equal(fixture_append(f, 100, true), ERR_OK); /* the last sixteenth */
	assert_int_equal(log_write(f->log), ERR_OK);
	log_tick(f->log);
	fixture_jobs(f);
	assert_int_equal(fixture_append(f, 100, false), ERR_STORAGE_FULL);
	refused = f->next;
	memory_world_space(f->world, 0);
	log_tick(f->log);
	while (fixture_jobs(f))
		;
	assert_int_equal(log_state(f->log), LOG_OPEN);
	fixture_write(f, 100);
	fixture_sync(f);
	assert_int_equal(f->next, refused + 1);
	fixture_die(f);
	assert_int_equal(fixture_start(f), ERR_OK);
	fixture_saw(f, 1, refused);
}

static void recovery_on_a_full_disk_uses_the_prepared_file(void **state)
{
	struct fixture *f = *state;

	fixture_write(f, 100);
	fixture_sync(f);
	memory_world_space(f->world, 2 * SMALL_FILE);
	fixture_die(f);
	assert_int_equal(fixture_start(f), ERR_OK);
	fixture_saw(f, 1, 1);
}

static void recovery_without_room_is_full_until_there_is_some(void **state)
{
	struct fixture *f = *state;

	fixture_write(f, 3 * SMALL_FILE); /* a tail that no prepared file holds */
	memory_world_space(f->world, 8 * SMALL_FILE);
	fixture_die(f);
	assert_int_equal(fixture_recover(f), ERR_OK);
	memory_world_space(f->world, SMALL_FILE);
	assert_int_equal(log_recover_finish(f->log), ERR_STORAGE_FULL);
	assert_int_equal(log_state(f->log), LOG_FULL);
	assert_int_equal(log_synced(f->log), LSN_FIRST);
	log_tick(f->log);
	assert_int_equal(log_state(f->log), LOG_FULL);
	assert_int_equal(fixture_append(f, 100, false), ERR_STORAGE_FULL);
	memory_world_space(f->world, 0);
	log_tick(f->log);
	assert_int_equal(log_state(f->log), LOG_OPEN);
	assert_int_equal(log_synced(f->log), log_appended(f->log));
	f->next = 2;
	fixture_write(f, 100);
	fixture_sync(f);
	fixture_die(f);
	assert_int_equal(fixture_start(f), ERR_OK);
	fixture_saw(f, 1, 2);
}

static void short_and_interrupted_writes_are_gone_on_with(void **state)
{
	struct fixture *f = *state;

	memory_world_short_writes(f->world, 2);
	for (int i = 0; i < 100; i++)
		fixture_write(f, 400);
	fixture_sync(f);
	fixture_die(f);
	assert_int_equal(fixture_start(f), ERR_OK);
	fixture_saw(f, 1, 100);
}

static void failed_write_takes_its_group_back_and_leaves_the_file(void **state)
{
	struct fixture *f = *state;
	uint64_t written;

	fixture_write(f, 300);
	fixture_write(f, 300);
	written = log_written(f->log);
	assert_int_equal(fixture_append(f, 9000, false), ERR_OK);
	memory_world_fail(f->world, MEMORY_PWRITE, 0, EIO, false);
	assert_int_equal(log_write(f->log), ERR_IO);
	assert_int_equal(errno, EIO);
	assert_int_equal(log_appended(f->log), written);
	assert_int_equal(log_state(f->log), LOG_LEAVING);
	assert_int_equal(fixture_append(f, 10, false), ERR_AGAIN);
	while (fixture_jobs(f))
		;
	assert_int_equal(log_state(f->log), LOG_OPEN);
	/* What was written before it was synced where it stands. */
	assert_int_equal(f->moved, 0);
	assert_int_equal(log_synced(f->log), written);
	f->next = 3;
	fixture_write(f, 50);
	fixture_sync(f);
	for (uint64_t number = 1; number <= 3; number++)
		fixture_assert_readable(f, number);
	log_destroy(&f->log);
	memory_world_power_cut(f->world, 5);
	assert_int_equal(fixture_start(f), ERR_OK);
	fixture_saw(f, 1, 3);
	assert_int_equal(f->damage_count, 0);
}

static void failed_sync_is_not_tried_again_and_its_frames_move(void **state)
{
	struct fixture *f = *state;
	struct log_place before;

	fixture_write(f, 300);
	fixture_sync(f);
	fixture_write(f, 300);
	fixture_write(f, 300);
	before = f->places[2];
	memory_world_fail(f->world, MEMORY_SYNC, 0, EIO, false);
	assert_true(log_sync_start(f->log));
	fixture_jobs(f);
	assert_int_equal(log_state(f->log), LOG_LEAVING);
	assert_int_equal(log_synced(f->log), before.lsn);
	fixture_sync(f);
	assert_int_equal(f->moved, 2);
	assert_true(f->places[2].file_id != before.file_id);
	assert_int_equal(f->places[2].lsn, before.lsn);
	assert_int_equal(log_synced(f->log), log_written(f->log));
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct fixture again = {.world = memory_world_clone(f->world), .options = f->options, .next = 1};

		memory_world_power_cut(again.world, seed);
		assert_int_equal(fixture_start(&again), ERR_OK);
		fixture_saw(&again, 1, 3);
		assert_int_equal(again.damage_count, 0);
		fixture_free(&again);
	}
}

static void leaving_moves_a_tail_larger_than_a_file_into_one_file(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 30; i++)
		fixture_write(f, 3000);
	memory_world_fail(f->world, MEMORY_SYNC, 1, EIO, false);
	fixture_sync(f);
	assert_int_equal(f->moved, 30);
	assert_int_equal(f->places[1].file_id, f->places[30].file_id);
	fixture_write(f, 100);
	fixture_sync(f);
	fixture_die(f);
	assert_int_equal(fixture_start(f), ERR_OK);
	fixture_saw(f, 1, 31);
}

static void sticky_sync_failure_turns_read_only_and_keeps_what_was_proven(void **state)
{
	struct fixture *f = *state;

	fixture_write(f, 300);
	fixture_sync(f);
	fixture_write(f, 300);
	memory_world_fail(f->world, MEMORY_SYNC, 0, EIO, true);
	assert_true(log_sync_start(f->log));
	while (fixture_jobs(f))
		;
	assert_int_equal(log_state(f->log), LOG_READ_ONLY);
	assert_int_equal(fixture_append(f, 10, true), ERR_READ_ONLY);
	assert_false(log_sync_start(f->log));
	assert_false(log_syncing(f->log));
	fixture_assert_readable(f, 1);
	fixture_assert_readable(f, 2);
	memory_world_no_faults(f->world);
	fixture_die(f);
	assert_int_equal(fixture_start(f), ERR_OK);
	fixture_saw(f, 1, 2);
}

/* What was gathered when the file could not be left is nobody's any more: it may not look as if it still waited to be written. */
static void read_only_log_gathers_nothing(void **state)
{
	struct fixture *f = *state;

	fixture_write(f, 300);
	fixture_sync(f);
	fixture_write(f, 300);
	memory_world_fail(f->world, MEMORY_SYNC, 0, EIO, true);
	assert_true(log_sync_start(f->log));
	assert_int_equal(fixture_append(f, 100, false), ERR_OK);
	while (fixture_jobs(f))
		;
	assert_int_equal(log_state(f->log), LOG_READ_ONLY);
	assert_true(log_appended(f->log) > log_written(f->log));
	assert_int_equal(log_write(f->log), ERR_READ_ONLY);
	assert_true(log_appended(f->log) == log_written(f->log));
	memory_world_no_faults(f->world);
	fixture_die(f);
	assert_int_equal(fixture_start(f), ERR_OK);
	fixture_saw(f, 1, 2);
}

static void leaving_without_space_waits_for_it(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 12; i++)
		fixture_write(f, 3000);
	memory_world_space(f->world, SMALL_FILE);
	memory_world_fail(f->world, MEMORY_SYNC, 0, EIO, false);
	assert_true(log_sync_start(f->log));
	while (fixture_jobs(f))
		;
	assert_int_equal(log_state(f->log), LOG_FULL);
	assert_int_equal(fixture_append(f, 10, true), ERR_STORAGE_FULL);
	log_tick(f->log);
	while (fixture_jobs(f))
		;
	assert_int_equal(log_state(f->log), LOG_FULL);
	memory_world_space(f->world, 0);
	log_tick(f->log);
	fixture_sync(f);
	assert_int_equal(f->moved, 12);
}

/* Leaves with every pwrite failing for space, until there is some. */
static void leave_without_space(struct fixture *f)
{
	unsigned jobs = 0;

	log_tick(f->log);
	while (jobs < 20 && fixture_jobs(f))
		jobs++;
	assert_true(jobs < 20);
	assert_int_equal(log_state(f->log), LOG_FULL);
	memory_world_no_faults(f->world);
	log_tick(f->log);
	while (fixture_jobs(f))
		;
	assert_int_equal(log_state(f->log), LOG_OPEN);
}

static void leaving_that_finds_no_space_for_its_copies_waits_for_the_next_tick(void **state)
{
	struct fixture *f = *state;

	fixture_write(f, 300);
	memory_world_fail(f->world, MEMORY_SYNC_START, 0, EIO, false);
	assert_true(log_sync_start(f->log));
	memory_world_fail(f->world, MEMORY_PWRITE, 0, ENOSPC, true);
	leave_without_space(f);
	assert_int_equal(f->moved, 1);
	fixture_assert_readable(f, 1);
}

static void leaving_that_finds_no_space_for_its_header_waits_for_the_next_tick_and_has_synced_what_was_written(void **state)
{
	struct fixture *f = *state;
	uint64_t written;

	fixture_write(f, 300);
	written = log_written(f->log);
	assert_int_equal(fixture_append(f, 300, false), ERR_OK);
	memory_world_fail(f->world, MEMORY_PWRITE, 0, ENOSPC, true);
	assert_int_equal(log_write(f->log), ERR_STORAGE_FULL);
	fixture_jobs(f);
	assert_int_equal(log_synced(f->log), written);
	leave_without_space(f);
	assert_int_equal(f->moved, 0);
	fixture_assert_readable(f, 1);
}

/* A group fails to be written while the sync of the one before it runs and another has been written behind that. */
static uint64_t write_fails_during_sync(struct fixture *f)
{
	uint64_t synced;

	fixture_write(f, 300);
	synced = log_written(f->log);
	assert_true(log_sync_start(f->log));
	fixture_write(f, 300);
	assert_int_equal(fixture_append(f, 300, false), ERR_OK);
	memory_world_fail(f->world, MEMORY_PWRITE, 0, EIO, false);
	assert_int_equal(log_write(f->log), ERR_IO);
	assert_int_equal(log_state(f->log), LOG_LEAVING);
	return synced;
}

static void write_that_fails_while_a_sync_runs_waits_for_its_outcome(void **state)
{
	struct fixture *f = *state;
	uint64_t synced = write_fails_during_sync(f);

	fixture_jobs(f);
	assert_int_equal(log_synced(f->log), synced);
	assert_int_equal(log_state(f->log), LOG_LEAVING);
	while (fixture_jobs(f))
		;
	assert_int_equal(log_state(f->log), LOG_OPEN);
	assert_int_equal(f->moved, 0);
	fixture_assert_readable(f, 1);
	fixture_assert_readable(f, 2);
}

static void write_that_fails_while_a_failing_sync_runs_moves_what_that_should_have_covered(void **state)
{
	struct fixture *f = *state;
	uint64_t synced = log_synced(f->log);

	(void)write_fails_during_sync(f);
	memory_world_fail(f->world, MEMORY_SYNC, 0, EIO, false);
	fixture_jobs(f);
	assert_int_equal(log_synced(f->log), synced);
	while (fixture_jobs(f))
		;
	assert_int_equal(log_state(f->log), LOG_OPEN);
	assert_int_equal(f->moved, 2);
	fixture_assert_readable(f, 1);
	fixture_assert_readable(f, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(new_directory_is_empty_and_opens, setup, teardown),
		cmocka_unit_test_setup_teardown(frames_written_and_synced_move_the_three_positions, setup, teardown),
		cmocka_unit_test_setup_teardown(frame_written_during_a_sync_is_not_covered_by_it, setup, teardown),
		cmocka_unit_test_setup_teardown(every_frame_reads_back_across_rolls, setup, teardown),
		cmocka_unit_test_setup_teardown(frame_that_is_only_appended_reads_back_from_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(frame_larger_than_a_file_gets_a_file_of_its_size, setup, teardown),
		cmocka_unit_test(group_larger_than_its_bound_asks_for_a_write_first),
		cmocka_unit_test_setup_teardown(more_unsynced_than_the_bound_is_throttled_until_a_sync, setup, teardown),
		cmocka_unit_test_setup_teardown(sync_of_more_files_than_a_job_can_name_covers_the_oldest_first, setup, teardown),
		cmocka_unit_test_setup_teardown(roll_waits_while_the_file_after_the_next_is_being_prepared, setup, teardown),
		cmocka_unit_test_setup_teardown(full_disk_refuses_data_keeps_a_reserve_for_control_and_recovers, setup, teardown),
		cmocka_unit_test_setup_teardown(recovery_on_a_full_disk_uses_the_prepared_file, setup, teardown),
		cmocka_unit_test_setup_teardown(recovery_without_room_is_full_until_there_is_some, setup, teardown),
		cmocka_unit_test_setup_teardown(short_and_interrupted_writes_are_gone_on_with, setup, teardown),
		cmocka_unit_test_setup_teardown(failed_write_takes_its_group_back_and_leaves_the_file, setup, teardown),
		cmocka_unit_test_setup_teardown(failed_sync_is_not_tried_again_and_its_frames_move, setup, teardown),
		cmocka_unit_test_setup_teardown(leaving_moves_a_tail_larger_than_a_file_into_one_file, setup, teardown),
		cmocka_unit_test_setup_teardown(sticky_sync_failure_turns_read_only_and_keeps_what_was_proven, setup, teardown),
		cmocka_unit_test_setup_teardown(read_only_log_gathers_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(leaving_without_space_waits_for_it, setup, teardown),
		cmocka_unit_test_setup_teardown(leaving_that_finds_no_space_for_its_copies_waits_for_the_next_tick, setup, teardown),
		cmocka_unit_test_setup_teardown(leaving_that_finds_no_space_for_its_header_waits_for_the_next_tick_and_has_synced_what_was_written, setup, teardown),
		cmocka_unit_test_setup_teardown(write_that_fails_while_a_sync_runs_waits_for_its_outcome, setup, teardown),
		cmocka_unit_test_setup_teardown(write_that_fails_while_a_failing_sync_runs_moves_what_that_should_have_covered, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
