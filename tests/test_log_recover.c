#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/log_fixture.h"

enum { SMALL_FILE = 16384, NAMES = 256 };

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

static void restart(struct fixture *f)
{
	fixture_die(f);
	assert_int_equal(fixture_start(f), ERR_OK);
}

static void flip(struct fixture *f, const struct log_place *place, uint64_t at)
{
	struct file_name name = {.kind = 'w', .id = place->file_id};
	uint64_t size;
	const uint8_t *bytes = memory_world_file(f->world, &name, &size);
	uint8_t changed;

	assert_non_null(bytes);
	changed = bytes[place->offset + at] ^ 0x10;
	memory_world_damage(f->world, &name, place->offset + at, &changed, 1);
}

/* ---- ends without damage ---- */

static void death_of_the_process_loses_nothing_that_was_written(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 60; i++)
		fixture_write(f, (uint32_t)(i * 53 % 1200));
	restart(f);
	assert_true(f->recovered.same_boot);
	assert_false(f->recovered.clean);
	assert_int_equal(f->damage_count, 0);
	fixture_saw(f, 1, 60);
}

static void what_was_appended_and_not_written_is_gone_with_the_process(void **state)
{
	struct fixture *f = *state;

	fixture_write(f, 100);
	assert_int_equal(fixture_append(f, 100, false), ERR_OK);
	restart(f);
	fixture_saw(f, 1, 1);
	assert_int_equal(f->damage_count, 0);
}

static void frames_behind_the_frontier_lie_in_the_new_file_after_recovery(void **state)
{
	struct fixture *f = *state;
	static uint8_t bytes[SMALL_FILE];

	fixture_write(f, 100);
	fixture_sync(f);
	fixture_write(f, 100); /* this one carries the frontier that proves the first */
	fixture_write(f, 100);
	restart(f);
	fixture_saw(f, 1, 3);
	assert_true(f->seen[0].proven);
	assert_false(f->seen[1].proven);
	assert_false(f->seen[2].proven);
	assert_int_equal(f->seen[0].place.file_id, f->places[1].file_id);
	assert_true(f->seen[1].place.file_id != f->places[2].file_id);
	for (int i = 0; i < 3; i++)
		assert_int_equal(log_read(f->log, &f->seen[i].place, bytes), ERR_OK);
	assert_int_equal(log_synced(f->log), log_appended(f->log));
	f->next = 4;
	fixture_write(f, 100);
	restart(f);
	assert_true(f->seen[2].proven);
	assert_false(f->seen[3].proven);
}

static void crash_loop_grows_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned before;

	for (int i = 0; i < 30; i++)
		fixture_write(f, 900);
	restart(f);
	before = fixture_names(f, 'w');
	for (int i = 0; i < 10; i++) {
		restart(f);
		fixture_saw(f, 1, 30);
		assert_int_equal(fixture_names(f, 'w'), before);
	}
	for (int i = 0; i < 10; i++) {
		fixture_cut(f, (uint64_t)i);
		assert_int_equal(fixture_start(f), ERR_OK);
		fixture_saw(f, 1, 30);
		assert_true(fixture_names(f, 'w') <= before);
	}
}

static void clean_stop_with_checkpoint_is_seen_as_clean_and_copies_nothing(void **state)
{
	struct fixture *f = *state;
	struct entry entry = {.type = ENTRY_CEILING, .topic = 9, .ceiling = {77}};
	uint8_t bytes[64];
	unsigned checkpoints = 0, before = 0;

	for (int i = 0; i < 30; i++)
		fixture_write(f, 900);
	fixture_sync(f);
	assert_int_equal(log_checkpoint_begin(f->log), ERR_OK);
	for (int i = 0; i < 5; i++)
		assert_int_equal(log_checkpoint_frame(f->log, bytes, entry_encode(&entry, bytes), 1), ERR_OK);
	assert_int_equal(log_checkpoint_end(f->log), ERR_OK);
	assert_int_equal(log_close_clean(f->log), ERR_OK);
	fixture_cut(f, 3);
	assert_int_equal(fixture_start(f), ERR_OK);
	assert_true(f->recovered.clean);
	fixture_saw(f, 1, 30);
	for (unsigned i = 0; i < f->seen_count; i++) {
		checkpoints += f->seen[i].checkpoint;
		before += f->seen[i].before_checkpoint;
		assert_true(f->seen[i].proven || f->seen[i].is_mark);
	}
	assert_int_equal(checkpoints, 6);
	assert_int_equal(before, 30);
	restart(f);
	assert_false(f->recovered.clean);
	fixture_saw(f, 1, 30);
}

static void only_the_two_newest_checkpoints_are_kept_and_a_broken_newest_is_passed_over(void **state)
{
	struct fixture *f = *state;
	struct file_name all[NAMES];
	struct entry entry = {.type = ENTRY_CEILING, .topic = 9};
	uint8_t bytes[64];
	unsigned count;

	for (uint64_t i = 1; i <= 4; i++) {
		fixture_write(f, 100);
		fixture_sync(f);
		entry.ceiling.ceiling = i;
		assert_int_equal(log_checkpoint_begin(f->log), ERR_OK);
		assert_int_equal(log_checkpoint_frame(f->log, bytes, entry_encode(&entry, bytes), 1), ERR_OK);
		assert_int_equal(log_checkpoint_end(f->log), ERR_OK);
	}
	assert_int_equal(fixture_names(f, 'c'), 2);
	restart(f);
	assert_int_equal(f->seen[0].checkpoint, true);
	count = memory_world_names(f->world, all, NAMES);
	for (unsigned i = 0; i < count; i++) {
		struct file_header header;
		uint64_t size;

		if (all[i].kind != 'c')
			continue;
		assert_int_equal(file_header_decode(&header, memory_world_file(f->world, &all[i], &size)), ERR_OK);
		if (header.checkpoint_lsn == f->places[4].lsn + f->places[4].length)
			memory_world_damage(f->world, &all[i], FILE_HEADER_SIZE + 100, "broken", 6);
	}
	restart(f);
	assert_true(f->seen[0].checkpoint);
	fixture_saw(f, 1, 4);
	assert_true(f->seen[0].checkpoint && f->seen[2].before_checkpoint);
	for (unsigned i = 0; i < f->seen_count; i++)
		if (f->seen[i].number == 4)
			assert_false(f->seen[i].before_checkpoint); /* the older checkpoint holds up to the third */
	assert_int_equal(fixture_names(f, 'c'), 2);
}

static void frames_that_nobody_has_settled_are_unproven_again_at_the_next_start(void **state)
{
	struct fixture *f = *state;

	fixture_write(f, 100);
	fixture_sync(f);
	fixture_write(f, 100);
	fixture_write(f, 100);
	f->unsettled = true;
	for (int i = 0; i < 3; i++) {
		restart(f);
		fixture_saw(f, 1, 3);
		assert_true(f->seen[0].proven);
		assert_false(f->seen[1].proven);
		assert_int_equal(log_synced(f->log), log_appended(f->log));
		f->next = 4;
	}
	fixture_write(f, 100); /* records the same frontier */
	restart(f);
	assert_false(f->seen[1].proven);
	log_settled(f->log);
	fixture_write(f, 100);
	restart(f);
	assert_true(f->seen[1].proven);
	assert_false(f->seen[4].proven);
}

/* ---- damage ---- */

static void prove_all(struct fixture *f)
{
	fixture_sync(f);
	fixture_write(f, 10);
	fixture_sync(f);
}

static void flipped_bit_below_the_frontier_costs_its_frame_and_is_told_exactly(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 9; i++)
		fixture_write(f, 200);
	prove_all(f);
	flip(f, &f->places[5], 100); /* in the entry table */
	for (int round = 0; round < 3; round++) {
		restart(f);
		assert_int_equal(f->damage_count, 1);
		assert_int_equal(f->damage[0].from, f->places[5].lsn);
		assert_int_equal(f->damage[0].to, f->places[6].lsn);
		assert_int_equal(f->damage[0].kind, DAMAGE_CORRUPT);
		assert_true(f->damage[0].proven);
		assert_int_equal(f->damage[0].next_prev_topic, FIXTURE_TOPIC);
		assert_int_equal(f->damage[0].next_prev_last_seq, 3 * 5 + 2);
		assert_int_equal(fixture_names(f, 'q'), 1);
	}
}

/* The mark that says what is missing is not copied; the next starts have it from the header of the file that they left. */
static void damage_before_a_file_without_frames_is_told_as_before(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 9; i++)
		fixture_write(f, 200);
	assert_int_equal(log_close_clean(f->log), ERR_OK);
	flip(f, &f->places[9], 100);
	for (int round = 0; round < 3; round++) {
		restart(f);
		assert_int_equal(f->damage_count, 1);
		assert_int_equal(f->damage[0].from, f->places[9].lsn);
		assert_int_equal(f->damage[0].to, f->places[9].lsn + f->places[9].length);
		assert_true(f->damage[0].proven);
		assert_int_equal(f->damage[0].next_prev_topic, FIXTURE_TOPIC);
		assert_int_equal(f->damage[0].next_prev_last_seq, 3 * 9 + 2);
	}
}

static void flipped_bit_in_a_record_below_the_frontier_costs_that_record_alone(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 9; i++)
		fixture_write(f, 200);
	prove_all(f);
	flip(f, &f->places[5], f->places[5].length - 30);
	restart(f);
	assert_int_equal(f->damage_count, 0);
	fixture_saw(f, 1, 10);
	assert_false(f->seen[4].whole);
	assert_true(f->seen[5].whole);
}

static void every_bit_of_a_frame_head_is_guarded(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 5; i++)
		fixture_write(f, 50);
	prove_all(f);
	for (uint64_t at = 0; at < FRAME_HEAD + 64; at++) {
		flip(f, &f->places[3], at);
		restart(f);
		assert_int_equal(f->damage_count, 1);
		assert_int_equal(f->damage[0].from, f->places[3].lsn);
		assert_int_equal(f->damage[0].to, f->places[4].lsn);
		flip(f, &f->places[3], at);
	}
	restart(f);
	assert_int_equal(f->damage_count, 0);
}

static void end_of_the_log_that_is_gone_below_the_frontier_is_damage_and_its_lsns_are_not_given_again(void **state)
{
	struct fixture *f = *state;
	struct file_name name = {.kind = 'w'};
	static const uint8_t zeros[SMALL_FILE];
	uint64_t frontier;

	for (int i = 0; i < 9; i++)
		fixture_write(f, 200);
	fixture_sync(f);
	frontier = log_synced(f->log);
	assert_int_equal(log_checkpoint_begin(f->log), ERR_OK); /* its header knows the frontier */
	assert_int_equal(log_checkpoint_end(f->log), ERR_OK);
	name.id = f->places[8].file_id;
	memory_world_damage(f->world, &name, f->places[8].offset, zeros, f->places[8].length + f->places[9].length);
	for (int i = 0; i < 3; i++) {
		restart(f);
		fixture_saw(f, 1, 7);
		assert_int_equal(f->damage_count, 1);
		assert_int_equal(f->damage[0].from, f->places[8].lsn);
		assert_true(f->damage[0].proven);
		assert_int_equal(log_appended(f->log), frontier);
	}
	f->next = 10;
	fixture_write(f, 100);
	restart(f);
	assert_int_equal(f->damage[0].to, f->places[10].lsn);
	assert_int_equal(f->places[10].lsn, frontier);
}

static void frame_that_does_not_continue_the_chain_is_refused_though_its_crc_holds(void **state)
{
	struct fixture *f = *state;
	struct file_name name = {.kind = 'w'};
	static uint8_t bytes[SMALL_FILE];
	struct frame_head head;

	for (int i = 0; i < 9; i++)
		fixture_write(f, 200);
	prove_all(f);
	assert_int_equal(log_read(f->log, &f->places[5], bytes), ERR_OK);
	assert_int_equal(frame_head_decode(&head, bytes, f->places[5].length), ERR_OK);
	head.prev_crc ^= 1;
	frame_seal(bytes, &head, f->places[5].file_id, f->places[5].offset);
	name.id = f->places[5].file_id;
	memory_world_damage(f->world, &name, f->places[5].offset, bytes, f->places[5].length);
	restart(f);
	assert_int_equal(f->damage_count, 1);
	assert_int_equal(f->damage[0].from, f->places[5].lsn);
	assert_int_equal(f->damage[0].to, f->places[6].lsn);
}

static void hole_behind_the_frontier_becomes_a_void_once_and_for_all(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 9; i++)
		fixture_write(f, 200);
	flip(f, &f->places[5], f->places[5].length - 30); /* unproven: a frame that is not whole does not count */
	memory_world_reboot(f->world);
	restart(f);
	assert_false(f->recovered.same_boot);
	assert_int_equal(f->damage_count, 1);
	assert_int_equal(f->damage[0].kind, DAMAGE_TORN);
	assert_false(f->damage[0].proven);
	assert_int_equal(f->damage[0].from, f->places[5].lsn);
	assert_int_equal(f->damage[0].to, f->places[6].lsn);
	restart(f);
	assert_int_equal(f->damage_count, 0);
	assert_int_equal(f->seen_count, 9);
	assert_true(f->seen[4].is_void);
	assert_int_equal(f->seen[4].place.lsn, f->places[5].lsn);
	assert_int_equal(f->seen[5].number, 6);
}

static void broken_last_frame_with_the_same_boot_is_damage_and_with_another_a_torn_tail(void **state)
{
	struct fixture *f = *state;
	enum damage kinds[2];

	for (int again = 0; again < 2; again++) {
		struct fixture copy = {.options = f->options, .next = 1};

		copy.world = memory_world_create(2);
		assert_int_equal(fixture_start(&copy), ERR_OK);
		for (int i = 0; i < 3; i++)
			fixture_write(&copy, 200);
		flip(&copy, &copy.places[3], 200);
		if (again)
			memory_world_reboot(copy.world);
		restart(&copy);
		fixture_saw(&copy, 1, 2);
		assert_int_equal(copy.damage_count, 1);
		assert_int_equal(copy.damage[0].to, 0);
		assert_int_equal(copy.damage[0].from, copy.places[3].lsn);
		kinds[again] = copy.damage[0].kind;
		restart(&copy);
		assert_int_equal(copy.damage_count, 0);
		fixture_saw(&copy, 1, 2);
		fixture_free(&copy);
	}
	assert_int_equal(kinds[0], DAMAGE_CORRUPT);
	assert_int_equal(kinds[1], DAMAGE_TORN);
}

static void write_that_a_kill_cut_off_at_a_page_is_torn_and_not_damage(void **state)
{
	unsigned torn = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 40; seed++) {
		struct fixture f;

		fixture_init(&f, seed, 'w', 65536);
		assert_int_equal(fixture_start(&f), ERR_OK);
		fixture_write(&f, 200);
		assert_int_equal(fixture_append(&f, 30000, false), ERR_OK);
		memory_world_kill_at(f.world, 0);
		assert_int_equal(log_write(f.log), ERR_IO);
		restart(&f);
		fixture_saw(&f, 1, 1);
		assert_true(f.damage_count == 0 || f.damage[0].kind == DAMAGE_TORN);
		torn += f.damage_count;
		fixture_free(&f);
	}
	assert_true(torn > 10);
}

static void file_header_broken_by_a_bit_costs_no_frame(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 60; i++)
		fixture_write(f, 900);
	prove_all(f);
	for (uint64_t number = 1; number <= 61; number += 15) {
		struct log_place header = {.file_id = f->places[number].file_id};
		struct file_name name = {.kind = 'w', .id = header.file_id};

		flip(f, &header, 40);
		restart(f);
		fixture_saw(f, 1, 61);
		assert_int_equal(f->damage_count, 0);
		flip(f, &header, 40);
		restart(f);
		assert_non_null(memory_world_file(f->world, &name, &(uint64_t){0}));
	}
}

static void file_removed_by_hand_is_damage_and_not_silence(void **state)
{
	struct fixture *f = *state;
	struct file_name middle;

	for (int i = 0; i < 60; i++)
		fixture_write(f, 900);
	prove_all(f);
	middle = (struct file_name){.kind = 'w', .id = f->places[25].file_id};
	fixture_die(f);
	memory_world_remove(f->world, &middle);
	assert_int_equal(fixture_start(f), ERR_OK);
	assert_int_equal(f->damage_count, 1);
	assert_true(f->damage[0].proven);
	assert_true(f->damage[0].from <= f->places[25].lsn && f->damage[0].to > f->places[25].lsn);
}

static void newer_version_is_refused_and_nothing_is_touched(void **state)
{
	struct fixture *f = *state;
	struct file_name all[NAMES], name = {.kind = 'w', .id = f->places[0].file_id};
	struct file_header header = {.features = 1, .id = 4711, .kind = 'w', .number = 1, .first_lsn = 512};
	uint8_t bytes[FILE_HEADER_SIZE];
	uint64_t calls;

	fixture_write(f, 100);
	fixture_die(f);
	name.id = header.id;
	file_header_encode(&header, bytes);
	memory_world_put(f->world, &name, bytes, sizeof bytes);
	calls = memory_world_names(f->world, all, NAMES);
	assert_int_equal(fixture_start(f), ERR_NEWER);
	log_destroy(&f->log);
	assert_int_equal(memory_world_names(f->world, all, NAMES), calls);
}

static void file_that_cannot_be_explained_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct file_name odd = {.kind = 'w', .id = 0x1234}, headless = {.kind = 'w', .id = 0x99};
	uint64_t size;

	for (int i = 0; i < 60; i++)
		fixture_write(f, 900);
	prove_all(f);
	headless.id = f->places[25].file_id;
	fixture_die(f);
	memory_world_put(f->world, &odd, "what is this?", 14);
	memory_world_damage(f->world, &headless, 0, (uint8_t[FILE_HEADER_SIZE]){0}, FILE_HEADER_SIZE);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(fixture_start(f), ERR_OK);
		assert_non_null(memory_world_file(f->world, &odd, &size));
		assert_non_null(memory_world_file(f->world, &headless, &size));
		assert_int_equal(f->damage_count, 1);
		fixture_die(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(death_of_the_process_loses_nothing_that_was_written, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_appended_and_not_written_is_gone_with_the_process, setup, teardown),
		cmocka_unit_test_setup_teardown(frames_behind_the_frontier_lie_in_the_new_file_after_recovery, setup, teardown),
		cmocka_unit_test_setup_teardown(frames_that_nobody_has_settled_are_unproven_again_at_the_next_start, setup, teardown),
		cmocka_unit_test_setup_teardown(crash_loop_grows_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(clean_stop_with_checkpoint_is_seen_as_clean_and_copies_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(only_the_two_newest_checkpoints_are_kept_and_a_broken_newest_is_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(flipped_bit_below_the_frontier_costs_its_frame_and_is_told_exactly, setup, teardown),
		cmocka_unit_test_setup_teardown(damage_before_a_file_without_frames_is_told_as_before, setup, teardown),
		cmocka_unit_test_setup_teardown(flipped_bit_in_a_record_below_the_frontier_costs_that_record_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(every_bit_of_a_frame_head_is_guarded, setup, teardown),
		cmocka_unit_test_setup_teardown(end_of_the_log_that_is_gone_below_the_frontier_is_damage_and_its_lsns_are_not_given_again, setup, teardown),
		cmocka_unit_test_setup_teardown(frame_that_does_not_continue_the_chain_is_refused_though_its_crc_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(hole_behind_the_frontier_becomes_a_void_once_and_for_all, setup, teardown),
		cmocka_unit_test_setup_teardown(broken_last_frame_with_the_same_boot_is_damage_and_with_another_a_torn_tail, setup, teardown),
		cmocka_unit_test(write_that_a_kill_cut_off_at_a_page_is_torn_and_not_damage),
		cmocka_unit_test_setup_teardown(file_header_broken_by_a_bit_costs_no_frame, setup, teardown),
		cmocka_unit_test_setup_teardown(file_removed_by_hand_is_damage_and_not_silence, setup, teardown),
		cmocka_unit_test_setup_teardown(newer_version_is_refused_and_nothing_is_touched, setup, teardown),
		cmocka_unit_test_setup_teardown(file_that_cannot_be_explained_is_left_alone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
