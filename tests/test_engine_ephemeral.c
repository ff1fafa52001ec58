/* The bound of the ephemeral log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "common/frame.h"
#include "tests/engine_fixture.h"

/* Fills the ephemeral log of 64 KiB past its bound; the first record that is left. */
static uint64_t overflow(struct engine_fixture *f, const char *topic)
{
	for (unsigned i = 0; i < 100; i++)
		engine_answered(f, engine_append(f, topic, 1, &(struct append_options){ .bytes = 4000 }));
	return engine_numbers(f, topic).earliest;
}

static int setup(void **state)
{
	struct engine_fixture *f = engine_fixture_create(2);

	f->settings.ephemeral_max_bytes = 64 << 10;
	*state = f;
	return engine_fixture_start(f, true, false) != ERR_OK;
}

static int setup_without_a_bound(void **state)
{
	struct engine_fixture *f = engine_fixture_create(2);

	f->settings.ephemeral_max_bytes = 0;
	f->settings.segment_max_bytes = 16 << 10;
	*state = f;
	return engine_fixture_start(f, true, false) != ERR_OK;
}

static void nothing_goes_where_ephemeral_records_have_no_bound(void **state)
{
	struct engine_fixture *f = *state;

	engine_make_topic(f, "e", DURABILITY_EPHEMERAL);
	assert_int_equal(overflow(f, "e"), 1);
	assert_int_equal(engine_numbers(f, "e").count, 100);
	assert_int_equal(engine_numbers(f, "e").floor, 0);
	engine_logd_starts(f);
	assert_int_equal(engine_numbers(f, "e").count, 100);
	engine_assert_no_losses(f, "e");
}

static void oldest_ephemeral_records_go_past_the_bound_and_are_announced_as_cap(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_numbers numbers, again;

	engine_make_topic(f, "e", DURABILITY_EPHEMERAL);
	uint64_t first = overflow(f, "e");
	numbers = engine_numbers(f, "e");
	assert_int_equal(numbers.head, 100);
	assert_in_range(first, 80, 97);
	assert_int_equal(numbers.floor, first - 1);
	assert_int_equal(numbers.floor_reason, REASON_CAP);
	assert_int_equal(numbers.count, 100 - numbers.floor);
	engine_assert_no_losses(f, "e");
	engine_logd_starts(f);
	again = engine_numbers(f, "e");
	assert_int_equal(again.floor, numbers.floor);
	assert_int_equal(again.floor_reason, REASON_CAP);
	assert_int_equal(again.count, numbers.count);
	assert_int_equal(again.earliest, numbers.earliest);
	assert_int_equal(again.bytes, numbers.bytes);
	engine_assert_no_losses(f, "e");
}

static void batches_whose_file_goes_in_the_round_in_which_they_came_are_answered_and_announced(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t ids[60];

	engine_make_topic(f, "e", DURABILITY_EPHEMERAL);
	for (unsigned i = 0; i < 60; i++)
		ids[i] = engine_append(f, "e", 1, &(struct append_options){ .bytes = 4000, .worker = i % 2 });
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(engine_answered(f, ids[i])->status, ERR_OK);
	assert_int_equal(engine_numbers(f, "e").head, 60);
	assert_int_equal(engine_numbers(f, "e").count, 60 - engine_numbers(f, "e").floor);
	assert_true(engine_numbers(f, "e").floor > 0);
	engine_assert_no_losses(f, "e");
}

/* What went, went: the write of the group in whose course it went fails, and takes back only what the group had added. */
static void records_evicted_in_a_group_that_fails_are_not_counted_again(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t ids[40], floor = 0;

	engine_make_topic(f, "e", DURABILITY_EPHEMERAL);
	engine_make_topic(f, "other", DURABILITY_EPHEMERAL);
	for (unsigned turn = 0; turn < 2; turn++) {
		engine_answered(f, engine_append(f, "e", 1, &(struct append_options){ .bytes = 4000 }));
		while (turn == 0 && engine_numbers(f, "e").head < 10)
			engine_answered(f, engine_append(f, "e", 1, &(struct append_options){ .bytes = 4000 }));
		memory_world_fail(f->world, MEMORY_PWRITE, 0, EIO, false);
		for (unsigned i = 0; i < 40; i++)
			ids[i] = engine_append(f, i == 0 ? "e" : "other", 1, &(struct append_options){ .bytes = 4000 });
		engine_settle(f);
		memory_world_no_faults(f->world);
		assert_int_equal(engine_answered(f, ids[0])->status, ERR_STORAGE_FAILED);
		assert_true(engine_numbers(f, "e").floor > floor);
		floor = engine_numbers(f, "e").floor;
	}
	while (engine_numbers(f, "e").count > 0)
		engine_answered(f, engine_append(f, "other", 1, &(struct append_options){ .bytes = 4000 }));
	assert_int_equal(engine_numbers(f, "e").bytes, 0);
	assert_int_equal(engine_answered(f, engine_delete(f, "e", true))->status, ERR_OK);
}

static void records_of_the_disk_log_stay_when_ephemeral_ones_behind_them_go(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config ephemeral = engine_config(DURABILITY_EPHEMERAL);
	struct topic_numbers numbers;
	struct loss losses[64], again[64];
	uint64_t id, lost = 0;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	id = engine_append(f, "t", 5, NULL);
	engine_answered(f, id);
	engine_answered(f, engine_patch(f, "t", &ephemeral, CONFIG_DURABILITY));
	assert_int_equal(overflow(f, "t"), 1);
	numbers = engine_numbers(f, "t");
	assert_true(engine_reads(f, "t", 1, 5, id));
	assert_int_equal(numbers.floor, 0);
	unsigned count = engine_losses(f, "t", losses, 64);
	assert_in_range(count, 1, 64);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(losses[i].reason, REASON_CAP);
		assert_int_equal(losses[i].from, i == 0 ? 6 : losses[i - 1].to + 1);
		lost += losses[i].to - losses[i].from + 1;
	}
	assert_int_equal(numbers.count, 105 - lost);
	engine_logd_starts(f);
	assert_true(engine_reads(f, "t", 1, 5, id));
	assert_int_equal(engine_losses(f, "t", again, 64), count);
	assert_memory_equal(losses, again, count * sizeof losses[0]);
	assert_int_equal(engine_numbers(f, "t").count, numbers.count);
	engine_daemon_starts(f, false);
	assert_true(engine_reads(f, "t", 1, 5, id));
	assert_int_equal(engine_numbers(f, "t").count, 5);
}

/* `count` batches of `records` each: some carry new ceilings and therefore lie in the disk log, and so does what comes while these wait for their sync. */
static void many(struct engine_fixture *f, const char *topic, unsigned count, unsigned records, uint32_t bytes)
{
	for (unsigned i = 0; i < count; i++) {
		engine_append(f, topic, records, &(struct append_options){ .bytes = bytes });
		if (i % 8 == 7)
			engine_settle(f);
	}
	engine_settle(f);
}

static void what_lies_in_the_disk_log_goes_with_its_neighbours_and_is_counted(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config ephemeral = engine_config(DURABILITY_EPHEMERAL);
	struct topic_numbers numbers, again;
	uint64_t before = 0;

	engine_answered(f, engine_append(f, "e", 10, &(struct append_options){ .config = &ephemeral })); /* in the disk log: it creates the topic */
	for (unsigned turn = 0; turn < 20; turn++) {
		many(f, "e", 60, 10, 100);
		numbers = engine_numbers(f, "e");
		engine_assert_no_losses(f, "e");
		assert_int_equal(numbers.earliest, numbers.floor + 1);
		assert_int_equal(numbers.count, numbers.head - numbers.floor);
		assert_true(numbers.bytes >= numbers.count * 100 && numbers.bytes < numbers.count * 120);
		assert_true(turn < 2 || numbers.floor > before);
		before = numbers.floor;
		if (turn % 5 != 4)
			continue;
		engine_logd_starts(f);
		again = engine_numbers(f, "e");
		assert_int_equal(again.floor, numbers.floor);
		assert_int_equal(again.count, numbers.count);
		assert_int_equal(again.bytes, numbers.bytes);
	}
	engine_make_topic(f, "other", DURABILITY_EPHEMERAL);
	many(f, "other", 400, 10, 100);
	numbers = engine_numbers(f, "e");
	assert_int_equal(numbers.floor, numbers.head); /* no batch of it is left, wherever it lay */
	assert_int_equal(numbers.count, 0);
	assert_int_equal(numbers.bytes, 0);
	assert_int_equal(engine_answered(f, engine_delete(f, "e", true))->status, ERR_OK);
}

static void records_of_another_class_stay_between_ephemeral_ones_of_one_file(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config ephemeral = engine_config(DURABILITY_EPHEMERAL), fsync = engine_config(DURABILITY_FSYNC);
	struct loss losses[8];

	engine_make_topic(f, "t", DURABILITY_EPHEMERAL);
	engine_answered(f, engine_append(f, "t", 5, NULL));
	engine_answered(f, engine_patch(f, "t", &fsync, CONFIG_DURABILITY));
	uint64_t id = engine_append(f, "t", 7, NULL);
	engine_answered(f, id);
	engine_answered(f, engine_patch(f, "t", &ephemeral, CONFIG_DURABILITY));
	engine_answered(f, engine_append(f, "t", 5, NULL));
	engine_make_topic(f, "other", DURABILITY_EPHEMERAL);
	overflow(f, "other");
	struct topic_numbers numbers = engine_numbers(f, "t");
	assert_int_equal(numbers.floor, 5);
	assert_int_equal(numbers.earliest, 6);
	assert_int_equal(numbers.count, 7);
	assert_true(engine_reads(f, "t", 6, 7, id));
	assert_int_equal(engine_losses(f, "t", losses, 8), 1);
	assert_int_equal(losses[0].from, 13);
	assert_int_equal(losses[0].to, 17);
	engine_daemon_starts(f, false);
	assert_true(engine_reads(f, "t", 6, 7, id));
	assert_int_equal(engine_numbers(f, "t").count, 7);
}

static void gap_behind_what_stays_is_one_loss_however_long_it_grows(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config ephemeral = engine_config(DURABILITY_EPHEMERAL);
	struct loss losses[8];

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	uint64_t id = engine_append(f, "t", 5, NULL);
	engine_answered(f, id);
	engine_answered(f, engine_patch(f, "t", &ephemeral, CONFIG_DURABILITY));
	for (unsigned turn = 0; turn < 5; turn++) {
		overflow(f, "t");
		struct topic_numbers numbers = engine_numbers(f, "t");
		assert_int_equal(engine_losses(f, "t", losses, 8), 1);
		assert_int_equal(losses[0].from, 6);
		assert_int_equal(numbers.count, 5 + numbers.head - losses[0].to);
		assert_in_range(numbers.extents, 1, 40); /* of what is gone none is listed */
		assert_true(engine_reads(f, "t", 1, 5, id));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, engine_teardown)
		TEST(oldest_ephemeral_records_go_past_the_bound_and_are_announced_as_cap),
		TEST(batches_whose_file_goes_in_the_round_in_which_they_came_are_answered_and_announced),
		TEST(records_evicted_in_a_group_that_fails_are_not_counted_again),
		TEST(what_lies_in_the_disk_log_goes_with_its_neighbours_and_is_counted),
		TEST(records_of_another_class_stay_between_ephemeral_ones_of_one_file),
		TEST(gap_behind_what_stays_is_one_loss_however_long_it_grows),
		TEST(records_of_the_disk_log_stay_when_ephemeral_ones_behind_them_go),
		cmocka_unit_test_setup_teardown(nothing_goes_where_ephemeral_records_have_no_bound, setup_without_a_bound, engine_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
