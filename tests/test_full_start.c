/* A start that finds no space for what lies behind the last recorded frontier: docs/format.md §10.7; I-1, I-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/ring.h"
#include "tests/engine_fixture.h"

static const char *const class_names[] = { "ephemeral", "memory", "disk", "fsync" };

/* A topic of each class with two records that are recorded as synced, and three behind them that are not: seqs 3 to 5, of these requests. */
struct tail { uint64_t proven[4], ids[4]; };

static void make_tail(struct engine_fixture *f, struct tail *tail)
{
	for (unsigned i = 0; i < 4; i++) {
		engine_make_topic(f, class_names[i], (enum durability)i);
		tail->proven[i] = engine_append(f, class_names[i], 2, NULL);
	}
	engine_settle(f);
	engine_pass(f, 200000); /* a sync mark says that all this is synced */
	engine_settle(f);
	for (unsigned i = 0; i < 4; i++)
		tail->ids[i] = engine_append(f, class_names[i], 3, NULL);
	engine_one_round(f);
}

static void no_space(struct engine_fixture *f)
{
	memory_world_fail(f->world, MEMORY_PWRITE, 0, ENOSPC, true);
}

static void start(struct engine_fixture *f, bool daemon_start)
{
	assert_int_equal(engine_fixture_start(f, daemon_start, false), ERR_OK);
	assert_int_equal(atomic_load(&f->status->state), LOGD_FULL);
	engine_settle(f);
}

/* A daemon that had written the tail when all its processes died. */
static void start_with_a_tail(struct engine_fixture *f, struct tail *tail)
{
	make_tail(f, tail);
	engine_fixture_daemon_dies(f, false);
	no_space(f);
	start(f, true);
}

static void space_comes_back(struct engine_fixture *f)
{
	memory_world_no_faults(f->world);
	engine_pass(f, 1000000);
	assert_int_equal(atomic_load(&f->status->state), LOGD_READY);
	engine_settle(f);
	assert_false(catalogue_partial(f->now));
}

static void assert_shows_only_what_is_proven(struct engine_fixture *f, const struct tail *tail)
{
	assert_true(catalogue_partial(f->now));
	for (unsigned i = DURABILITY_MEMORY; i <= DURABILITY_FSYNC; i++) {
		struct topic_numbers numbers = engine_numbers(f, class_names[i]);
		assert_int_equal(numbers.head, 2);
		assert_int_equal(numbers.durable, 2);
		assert_int_equal(numbers.count, 2);
		assert_int_equal(numbers.earliest, 1);
		assert_true(engine_reads(f, class_names[i], 1, 2, tail->proven[i]));
	}
}

static void assert_goes_on(struct engine_fixture *f, const struct tail *tail)
{
	for (unsigned i = DURABILITY_MEMORY; i <= DURABILITY_FSYNC; i++) {
		assert_true(engine_reads(f, class_names[i], 1, 2, tail->proven[i]));
		assert_true(engine_reads(f, class_names[i], 3, 3, tail->ids[i]));
		engine_assert_no_losses(f, class_names[i]);
		assert_int_equal(engine_answered(f, engine_append(f, class_names[i], 1, NULL))->first_seq, 6);
		assert_int_equal(engine_numbers(f, class_names[i]).count, 6);
	}
}

/* All names, a page of one after the other as a reader does. */
static unsigned count_listed(struct engine_fixture *f)
{
	char from[TOPIC_NAME_MAX + 1] = "";
	size_t length = 0;
	uint32_t slot;
	unsigned count, total = 0;

	for (;; total++) {
		struct topic_numbers numbers;
		assert_int_equal(catalogue_list(f->now, from, length, total > 0, &slot, 1, &count), ERR_OK);
		if (count == 0)
			return total;
		assert_int_equal(catalogue_numbers(f->now, slot, &numbers), ERR_OK);
		assert_int_equal(catalogue_name(f->now, slot, numbers.id, from, &length), ERR_OK);
	}
}

/* ---- the daemon starts ---- */

static void what_is_proven_is_shown_and_the_rest_when_there_is_space(void **state)
{
	struct engine_fixture *f = *state;
	struct tail tail;

	start_with_a_tail(f, &tail);
	assert_shows_only_what_is_proven(f, &tail);
	engine_pass(f, 3000000);
	assert_shows_only_what_is_proven(f, &tail);
	space_comes_back(f);
	assert_goes_on(f, &tail);
}

static void tail_larger_than_the_prepared_file_waits_for_space(void **state)
{
	struct engine_fixture *f = engine_fixture_create(2);
	struct tail tail;
	const struct append_options big = { .bytes = 20000 };
	uint64_t last = 0;

	*state = f;
	f->settings.segment_max_bytes = 64 << 10;
	f->settings.sync_interval_ms = 100000;
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	make_tail(f, &tail);
	for (unsigned i = 0; i < 6; i++) {
		last = engine_append(f, "disk", 1, &big);
		engine_one_round(f);
		engine_end_prepare(f);
		engine_one_round(f);
	}
	assert_true(engine_has_answer(f, last));
	engine_fixture_daemon_dies(f, false);
	memory_world_space(f->world, 1);
	start(f, true);
	assert_true(engine_numbers(f, "disk").head <= 2);
	memory_world_space(f->world, 0);
	space_comes_back(f);
	assert_true(engine_reads(f, "disk", 11, 1, last));
	assert_int_equal(engine_answered(f, engine_append(f, "disk", 1, NULL))->first_seq, 12);
}

/* More of them than a page of the list has: who pages through it gets further all the same, a start that reads the catalogue of the one before too. */
static void many_topics_of_the_tail_are_in_no_list(void **state)
{
	struct engine_fixture *f = *state;
	struct tail tail;
	char name[32];

	make_tail(f, &tail);
	for (unsigned i = 0; i < 900; i++) {
		snprintf(name, sizeof name, "m%04u", i);
		(void)engine_append(f, name, 1, NULL);
		engine_one_round(f);
	}
	engine_fixture_daemon_dies(f, false);
	no_space(f);
	start(f, true);
	assert_int_equal(count_listed(f), 4);
	engine_fixture_logd_dies(f);
	no_space(f);
	start(f, true);
	space_comes_back(f);
	assert_int_equal(count_listed(f), 904);
	assert_goes_on(f, &tail);
}

static void everything_that_writes_is_refused_meanwhile(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config config = engine_config(DURABILITY_DISK);
	struct tail tail;
	uint64_t ids[5];

	start_with_a_tail(f, &tail);
	ids[0] = engine_append(f, "disk", 1, NULL);
	ids[1] = engine_append(f, "ephemeral", 1, NULL);
	ids[2] = engine_put(f, "new", &config);
	ids[3] = engine_patch(f, "disk", &config, CONFIG_DURABILITY);
	ids[4] = engine_delete(f, "memory", false);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(engine_answered(f, ids[i])->status, ERR_STORAGE_FULL);
	space_comes_back(f);
	assert_goes_on(f, &tail);
	assert_int_equal(engine_numbers(f, "new").id, 0);
}

static int64_t topic_id(struct engine_fixture *f, const char *topic)
{
	struct topic_numbers numbers;
	int64_t slot = catalogue_find(f->now, topic, strlen(topic));

	return slot >= 0 && catalogue_numbers(f->now, slot, &numbers) == ERR_OK ? (int64_t)numbers.id : 0;
}

static enum durability durability_shown(struct engine_fixture *f, const char *topic)
{
	struct topic_config config;

	assert_int_equal(catalogue_config(f->now, catalogue_find(f->now, topic, strlen(topic)), (uint64_t)topic_id(f, topic), &config), ERR_OK);
	return config.durability;
}

static void topics_made_changed_or_deleted_in_the_tail_are_not_shown_so(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config fsync = engine_config(DURABILITY_FSYNC);
	struct tail tail;
	uint64_t made;

	make_tail(f, &tail);
	made = engine_append(f, "made", 2, NULL);
	(void)engine_patch(f, "disk", &fsync, CONFIG_DURABILITY);
	(void)engine_delete(f, "memory", false);
	engine_one_round(f);
	engine_fixture_daemon_dies(f, false);
	no_space(f);
	start(f, true);
	assert_int_equal(topic_id(f, "made"), 0);
	assert_int_equal(topic_id(f, "memory"), 0);
	assert_int_equal(durability_shown(f, "disk"), DURABILITY_DISK);
	space_comes_back(f);
	assert_int_equal(durability_shown(f, "disk"), DURABILITY_FSYNC);
	assert_true(engine_reads(f, "made", 1, 2, made));
	assert_int_equal(topic_id(f, "memory"), 0);
	assert_int_equal(engine_answered(f, engine_append(f, "made", 1, NULL))->first_seq, 3);
}

/* No logd of this daemon has recovered the log, so the next one is its first still; what the one before has refused is not done. */
static void death_while_there_is_no_space_changes_nothing(void **state)
{
	struct engine_fixture *f = *state;
	struct ring_release *release = (struct ring_release *)f->workers[0].completion, before;
	struct tail tail;
	uint64_t refused;

	make_tail(f, &tail);
	engine_fixture_daemon_dies(f, false);
	release = (struct ring_release *)f->workers[0].completion;
	no_space(f);
	start(f, true);
	memcpy(&before, release, sizeof before);
	refused = engine_append(f, "disk", 1, NULL);
	assert_int_equal(engine_answered(f, refused)->status, ERR_STORAGE_FULL);
	memcpy(release, &before, sizeof before); /* it died between the answer and the mark */
	engine_fixture_logd_dies(f);
	start(f, true);
	assert_shows_only_what_is_proven(f, &tail);
	engine_fixture_logd_dies(f);
	memory_world_no_faults(f->world);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	assert_int_equal(engine_answered(f, refused)->status, ERR_STORAGE_FULL);
	assert_goes_on(f, &tail);
}

static void ephemeral_records_that_went_with_the_daemon_are_announced_in_both_views(void **state)
{
	struct engine_fixture *f = *state;
	struct tail tail;
	struct loss loss;

	start_with_a_tail(f, &tail);
	assert_int_equal(engine_numbers(f, "ephemeral").count, 0);
	space_comes_back(f);
	assert_int_equal(engine_losses(f, "ephemeral", &loss, 1), 1);
	assert_int_equal(loss.from, 1);
	assert_int_equal(loss.reason, REASON_RESTART);
	assert_int_equal(engine_answered(f, engine_append(f, "ephemeral", 1, NULL))->first_seq, loss.to + 1);
}

/* ---- logd alone died ---- */

static void readers_keep_the_catalogue_that_they_have(void **state)
{
	struct engine_fixture *f = *state;
	struct tail tail;

	make_tail(f, &tail);
	engine_fixture_logd_dies(f);
	no_space(f);
	start(f, false);
	assert_false(catalogue_partial(f->now));
	assert_int_equal(engine_numbers(f, "memory").head, 5);
	assert_int_equal(engine_numbers(f, "disk").head, 5);
	assert_int_equal(engine_numbers(f, "ephemeral").head, 5);
	assert_int_equal(engine_numbers(f, "fsync").head, 2);
	space_comes_back(f);
	assert_int_equal(engine_numbers(f, "ephemeral").head, 5);
	assert_goes_on(f, &tail);
}

static void requests_whose_frames_stand_wait_and_others_are_refused(void **state)
{
	struct engine_fixture *f = *state;
	struct ring_release *release = (struct ring_release *)f->workers[0].completion, before;
	struct tail tail;
	uint64_t unreleased, untaken, later;

	make_tail(f, &tail);
	memcpy(&before, release, sizeof before);
	unreleased = engine_append(f, "fsync", 1, NULL);
	engine_one_round(f);
	memcpy(release, &before, sizeof before); /* it died between the write and the mark */
	untaken = engine_append(f, "disk", 1, NULL);
	engine_fixture_logd_dies(f);
	no_space(f);
	start(f, false);
	later = engine_append(f, "disk", 1, NULL);
	assert_int_equal(engine_answered(f, untaken)->status, ERR_STORAGE_FULL);
	assert_int_equal(engine_answered(f, later)->status, ERR_STORAGE_FULL);
	engine_pass(f, 3000000);
	assert_false(engine_has_answer(f, tail.ids[DURABILITY_FSYNC]));
	/* One more death leaves it so. */
	engine_fixture_logd_dies(f);
	start(f, false);
	assert_false(engine_has_answer(f, tail.ids[DURABILITY_FSYNC]));
	space_comes_back(f);
	assert_int_equal(engine_answered(f, tail.ids[DURABILITY_FSYNC])->first_seq, 3);
	assert_int_equal(engine_answered(f, unreleased)->first_seq, 6);
	assert_true(engine_reads(f, "fsync", 6, 1, unreleased));
	assert_int_equal(engine_numbers(f, "fsync").head, 6);
	assert_int_equal(engine_numbers(f, "disk").head, 5);
}

/* ---- other ends ---- */

static void another_failure_while_it_waits_ends_the_start(void **state)
{
	struct engine_fixture *f = *state;
	struct tail tail;

	start_with_a_tail(f, &tail);
	assert_false(engine_start_failed(f->engine));
	memory_world_fail(f->world, MEMORY_PWRITE, 0, EIO, true);
	engine_pass(f, 1000000);
	assert_true(engine_start_failed(f->engine));
	engine_fixture_daemon_dies(f, false);
	memory_world_no_faults(f->world);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	assert_goes_on(f, &tail);
}

/* I-4: the second sync of a file says yes whatever stands on the disk. */
static void sync_that_lacks_space_is_not_tried_again_on_its_file(void **state)
{
	struct engine_fixture *f = *state;
	struct tail tail;

	make_tail(f, &tail);
	engine_fixture_daemon_dies(f, false);
	memory_world_fail(f->world, MEMORY_SYNC, 0, ENOSPC, false);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_IO);
	engine_fixture_daemon_dies(f, true);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	assert_true(engine_reads(f, "fsync", 1, 2, tail.proven[DURABILITY_FSYNC]));
}

static void stop_while_there_is_no_space_leaves_all_to_the_next_start(void **state)
{
	struct engine_fixture *f = *state;
	struct tail tail;

	start_with_a_tail(f, &tail);
	assert_int_equal(engine_fixture_stop(f), ERR_STORAGE_FULL);
	engine_fixture_daemon_dies(f, false);
	memory_world_no_faults(f->world);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	assert_goes_on(f, &tail);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_proven_is_shown_and_the_rest_when_there_is_space),
		cmocka_unit_test_teardown(tail_larger_than_the_prepared_file_waits_for_space, engine_teardown),
		TEST(many_topics_of_the_tail_are_in_no_list),
		TEST(everything_that_writes_is_refused_meanwhile),
		TEST(topics_made_changed_or_deleted_in_the_tail_are_not_shown_so),
		TEST(death_while_there_is_no_space_changes_nothing),
		TEST(ephemeral_records_that_went_with_the_daemon_are_announced_in_both_views),
		TEST(readers_keep_the_catalogue_that_they_have),
		TEST(requests_whose_frames_stand_wait_and_others_are_refused),
		TEST(another_failure_while_it_waits_ends_the_start),
		TEST(sync_that_lacks_space_is_not_tried_again_on_its_file),
		TEST(stop_while_there_is_no_space_leaves_all_to_the_next_start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
