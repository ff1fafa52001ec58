#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* What the logs tell about their files, and what becomes of it in the catalogue. */
#include <stdlib.h>
#include <string.h>

#include "logd/engine_internal.h"
#include "tests/engine_fixture.h"

static int setup(void **state)
{
	struct engine_fixture *f = engine_fixture_create(1);

	*state = f;
	if (engine_fixture_start(f, true, false) != ERR_OK)
		return 1;
	for (unsigned i = 0; i < 4; i++)
		engine_answered(f, engine_append(f, "t", 2, NULL));
	engine_settle(f);
	return 0;
}

static struct topic *topic_of(struct engine_fixture *f)
{
	return topic_table_by_name(f->engine->topics, "t", 1);
}

static void file_is_known_from_its_birth_to_its_retirement_and_the_owner_is_told(void **state)
{
	struct engine_fixture *f = *state;
	const struct log_events disk = file_events(f->engine, false), ephemeral = file_events(f->engine, true);
	unsigned born = f->born, retired = f->retired;

	assert_false(file_known(f->engine, 0xabc));
	disk.born(disk.context, 0xabc, 7, 512);
	ephemeral.born(ephemeral.context, 0xdef, 8, 512);
	assert_int_equal(f->born, born + 2);
	assert_true(file_known(f->engine, 0xabc) && file_known(f->engine, 0xdef));
	assert_int_not_equal(file_index(f->engine, 0xabc), file_index(f->engine, 0xdef));
	disk.retired(disk.context, 0xabc);
	assert_false(file_known(f->engine, 0xabc));
	assert_true(file_known(f->engine, 0xdef));
	ephemeral.retired(ephemeral.context, 0xdef);
	assert_false(file_known(f->engine, 0xdef));
	disk.retired(disk.context, 0x123); /* one that held nothing and was never told of */
	assert_int_equal(f->retired, retired + 3);
}

static void files_come_and_go_without_an_end_and_indices_are_used_again_as_late_as_can_be(void **state)
{
	struct engine_fixture *f = *state;
	const struct log_events disk = file_events(f->engine, false);
	uint32_t before = CATALOGUE_FILES;

	for (uint64_t id = 1; id <= 2 * CATALOGUE_FILES; id++) {
		disk.born(disk.context, 0x10000 + id, id, 512 * id);
		uint32_t index = file_index(f->engine, 0x10000 + id);
		assert_true(index < CATALOGUE_FILES);
		/* Only the files that live are passed over. */
		assert_true(before == CATALOGUE_FILES || (index + CATALOGUE_FILES - before) % CATALOGUE_FILES < 10);
		before = index;
		if (id > 3)
			disk.retired(disk.context, 0x10000 + id - 3);
	}
}

/* The birth of the first file is none, nor is one of the ephemeral log. */
static void rotations_of_the_disk_log_are_counted(void **state)
{
	struct engine_fixture *f = *state;
	const struct log_events disk = file_events(f->engine, false), ephemeral = file_events(f->engine, true);
	uint64_t before = atomic_load(&f->status->rotations_total);

	disk.born(disk.context, 0xa, 0, 512);
	assert_int_equal(atomic_load(&f->status->rotations_total), before);
	disk.born(disk.context, 0xb, 1, 512);
	ephemeral.born(ephemeral.context, 0xc, 2, 512);
	assert_int_equal(atomic_load(&f->status->rotations_total), before + 1);
}

static void evicted_records_before_all_others_raise_the_floor(void **state)
{
	struct engine_fixture *f = *state;
	struct topic *topic = topic_of(f);
	struct loss loss;

	topic->numbers.count -= 4;
	records_evicted(f->engine, topic, 1, 4);
	assert_int_equal(engine_numbers(f, "t").floor, 4);
	assert_int_equal(engine_numbers(f, "t").floor_reason, REASON_CAP);
	assert_int_equal(engine_numbers(f, "t").earliest, 5);
	assert_int_equal(engine_numbers(f, "t").head, 8);
	assert_int_equal(engine_losses(f, "t", &loss, 1), 0);
	topic->numbers.count = 0;
	records_evicted(f->engine, topic, 5, 8);
	assert_int_equal(engine_numbers(f, "t").floor, 8);
	assert_int_equal(engine_numbers(f, "t").earliest, 9); /* head + 1: nothing is left */
}

static void evicted_records_behind_others_are_a_loss_between_them(void **state)
{
	struct engine_fixture *f = *state;
	struct topic *topic = topic_of(f);
	struct loss loss;

	topic->numbers.count -= 2;
	records_evicted(f->engine, topic, 3, 4);
	assert_int_equal(engine_numbers(f, "t").floor, 0);
	assert_int_equal(engine_numbers(f, "t").earliest, 1);
	assert_int_equal(engine_losses(f, "t", &loss, 1), 1);
	assert_int_equal(loss.from, 3);
	assert_int_equal(loss.to, 4);
	assert_int_equal(loss.reason, REASON_CAP);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, engine_teardown)
	const struct CMUnitTest tests[] = {
		TEST(file_is_known_from_its_birth_to_its_retirement_and_the_owner_is_told),
		TEST(files_come_and_go_without_an_end_and_indices_are_used_again_as_late_as_can_be),
		TEST(rotations_of_the_disk_log_are_counted),
		TEST(evicted_records_before_all_others_raise_the_floor),
		TEST(evicted_records_behind_others_are_a_loss_between_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
