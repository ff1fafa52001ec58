#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/counters.h"
#include "tests/engine_fixture.h"

/* ---- appends ---- */

static void first_append_makes_the_topic_and_is_visible_when_answered(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t id = engine_append(f, "orders", 3, NULL);
	const struct completion *answer = engine_answered(f, id);
	struct topic_numbers numbers = engine_numbers(f, "orders");

	assert_int_equal(answer->status, ERR_OK);
	assert_int_equal(answer->flags, COMPLETION_CREATED);
	assert_int_equal(answer->first_seq, 1);
	assert_int_equal(answer->count, 3);
	assert_int_equal(answer->head, 3);
	assert_true(answer->topic != 0 && answer->topic == numbers.id);
	assert_int_equal(numbers.head, 3);
	assert_int_equal(numbers.count, 3);
	assert_int_equal(numbers.earliest, 1);
	assert_int_equal(numbers.bytes, 3 * strlen("[1,0]"));
	assert_true(engine_reads(f, "orders", 1, 3, id));
}

static void seqs_of_batches_follow_each_other_and_only_the_first_creates(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first = engine_append(f, "t", 1, NULL), second = engine_append(f, "t", 100, NULL), third = engine_append(f, "t", 7, NULL);

	assert_int_equal(engine_answered(f, first)->first_seq, 1);
	assert_int_equal(engine_answered(f, second)->first_seq, 2);
	assert_int_equal(engine_answered(f, third)->first_seq, 102);
	assert_int_equal(engine_answered(f, third)->flags, 0);
	assert_true(engine_reads(f, "t", 2, 100, second));
	assert_true(engine_reads(f, "t", 102, 7, third));
	assert_int_equal(engine_numbers(f, "t").count, 108);
}

static void batch_over_a_mebibyte_comes_through_the_large_area(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t id = engine_append(f, "t", 3, &(struct append_options){ .bytes = 600000 });

	assert_int_equal(engine_answered(f, id)->status, ERR_OK);
	assert_true(engine_reads(f, "t", 1, 3, id));
}

static void fsync_append_is_neither_answered_nor_visible_before_its_sync(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t id;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	id = engine_append(f, "t", 2, NULL);
	engine_one_round(f);
	assert_false(engine_has_answer(f, id));
	assert_int_equal(engine_numbers(f, "t").head, 0);
	assert_true(engine_end_sync(f));
	assert_true(engine_has_answer(f, id));
	assert_int_equal(engine_numbers(f, "t").head, 2);
	assert_int_equal(engine_numbers(f, "t").durable, 2);
	assert_true(f->answers[id].completion.sync_us > 0);
	assert_int_equal(f->answers[id].completion.durable, 2);
}

static void disk_and_memory_appends_are_answered_when_written(void **state)
{
	struct engine_fixture *f = *state;

	for (enum durability durability = DURABILITY_MEMORY; durability <= DURABILITY_DISK; durability++) {
		const char *topic = durability == DURABILITY_DISK ? "disk" : "memory";
		uint64_t id;
		engine_make_topic(f, topic, durability);
		id = engine_append(f, topic, 2, NULL);
		engine_one_round(f);
		assert_true(engine_has_answer(f, id));
		assert_int_equal(engine_numbers(f, topic).head, 2);
		assert_int_equal(engine_numbers(f, topic).durable, 0);
		assert_int_equal(f->answers[id].completion.sync_us, 0);
	}
}

static void disk_appends_are_synced_within_the_interval_and_become_durable(void **state)
{
	struct engine_fixture *f = *state;

	engine_make_topic(f, "t", DURABILITY_DISK);
	(void)engine_append(f, "t", 2, NULL);
	engine_one_round(f);
	engine_pass(f, 50000);
	assert_false(memory_world_sync_pending(f->world));
	engine_pass(f, 60000);
	assert_true(engine_end_sync(f));
	assert_int_equal(engine_numbers(f, "t").durable, 2);
}

static void one_sync_answers_all_who_wrote_before_it_and_the_next_those_who_came_meanwhile(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first, second, late;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	first = engine_append(f, "t", 1, NULL);
	second = engine_append(f, "t", 1, &(struct append_options){ .worker = 1 });
	engine_one_round(f);
	late = engine_append(f, "t", 1, NULL);
	engine_one_round(f);
	assert_true(engine_end_sync(f));
	assert_true(engine_has_answer(f, first) && engine_has_answer(f, second));
	assert_false(engine_has_answer(f, late));
	assert_true(engine_end_sync(f));
	assert_true(engine_has_answer(f, late));
}

static void ephemeral_records_are_answered_at_once_and_readable(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t id;

	engine_make_topic(f, "e", DURABILITY_EPHEMERAL);
	id = engine_append(f, "e", 5, NULL);
	engine_one_round(f);
	assert_true(engine_has_answer(f, id));
	assert_true(engine_reads(f, "e", 1, 5, id));
	assert_int_equal(engine_numbers(f, "e").durable, 0);
	assert_int_equal(memory_world_objects(f->world), 1);
}

static void batches_stay_in_order_when_the_class_gets_weaker(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config memory = engine_config(DURABILITY_MEMORY);
	uint64_t synced, patch, quick;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	synced = engine_append(f, "t", 1, NULL);
	patch = engine_patch(f, "t", &memory, CONFIG_DURABILITY);
	quick = engine_append(f, "t", 1, NULL);
	engine_one_round(f);
	assert_false(engine_has_answer(f, synced) || engine_has_answer(f, patch) || engine_has_answer(f, quick));
	assert_int_equal(engine_numbers(f, "t").head, 0);
	assert_true(engine_end_sync(f));
	assert_true(engine_has_answer(f, synced) && engine_has_answer(f, patch) && engine_has_answer(f, quick));
	assert_int_equal(engine_numbers(f, "t").head, 2);
}

static void batches_stay_in_order_when_a_topic_becomes_ephemeral(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config ephemeral = engine_config(DURABILITY_EPHEMERAL);
	uint64_t quick;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	(void)engine_append(f, "t", 1, NULL);
	(void)engine_patch(f, "t", &ephemeral, CONFIG_DURABILITY);
	quick = engine_append(f, "t", 1, NULL);
	engine_one_round(f);
	assert_false(engine_has_answer(f, quick));
	assert_true(engine_end_sync(f));
	assert_true(engine_has_answer(f, quick));
	assert_int_equal(engine_numbers(f, "t").head, 2);
}

/* I-6: what a client has seen must stand above no ceiling that is not synced. */
static void batch_beyond_the_synced_ceiling_waits_for_its_sync_in_every_class(void **state)
{
	struct engine_fixture *f = *state;

	for (enum durability durability = DURABILITY_EPHEMERAL; durability <= DURABILITY_DISK; durability++) {
		char topic[2] = { (char)('a' + (int)durability), 0 };
		uint64_t within, beyond;
		engine_make_topic(f, topic, durability);
		within = engine_append(f, topic, 3000, NULL);
		engine_one_round(f);
		assert_true(engine_has_answer(f, within));
		beyond = engine_append(f, topic, 3000, NULL);
		engine_one_round(f);
		assert_false(engine_has_answer(f, beyond));
		assert_int_equal(engine_numbers(f, topic).head, 3000);
		assert_true(engine_end_sync(f));
		assert_true(engine_has_answer(f, beyond));
		assert_true(engine_reads(f, topic, 3001, 3000, beyond));
		engine_settle(f);
	}
}

static void time_of_frames_never_goes_back(void **state)
{
	struct engine_fixture *f = *state;
	int64_t before;

	engine_answered(f, engine_append(f, "t", 1, NULL));
	before = engine_numbers(f, "t").last_write_ts;
	memory_world_move_clocks(f->world, -1000000, 1000);
	engine_answered(f, engine_append(f, "t", 1, NULL));
	assert_true(engine_numbers(f, "t").last_write_ts >= before);
}

/* ---- refusals ---- */

static void append_that_may_not_create_finds_no_topic_and_makes_none(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config config = engine_config(DURABILITY_DISK);

	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, &(struct append_options){ .no_create = true }))->status, ERR_TOPIC_NOT_FOUND);
	config.auto_create = false;
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, &(struct append_options){ .config = &config }))->status, ERR_TOPIC_NOT_FOUND);
	assert_int_equal(engine_numbers(f, "t").id, 0);
	const struct append_options create = { .config = &config, .create = true };
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, &create))->flags, COMPLETION_CREATED);
}

static void head_mismatch_says_head_and_epoch_and_appends_nothing(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t epoch = engine_answered(f, engine_append(f, "t", 4, NULL))->topic;
	const struct completion *answer = engine_answered(f, engine_append(f, "t", 1, &(struct append_options){ .expect_head = true, .head = 3 }));

	assert_int_equal(answer->status, ERR_HEAD_MISMATCH);
	assert_int_equal(answer->head, 4);
	assert_int_equal(answer->topic, epoch);
	struct append_options expected = { .expect_head = true, .head = 4, .expect_epoch = true, .epoch = epoch + 1 };
	answer = engine_answered(f, engine_append(f, "t", 1, &expected));
	assert_int_equal(answer->status, ERR_HEAD_MISMATCH);
	assert_int_equal(engine_numbers(f, "t").head, 4);
	expected.epoch = epoch;
	answer = engine_answered(f, engine_append(f, "t", 1, &expected));
	assert_int_equal(answer->status, ERR_OK);
	assert_int_equal(answer->first_seq, 5);
}

static void expected_head_of_an_absent_topic_is_zero(void **state)
{
	struct engine_fixture *f = *state;
	const struct completion *answer = engine_answered(f, engine_append(f, "t", 1, &(struct append_options){ .expect_head = true, .head = 1 }));

	assert_int_equal(answer->status, ERR_HEAD_MISMATCH);
	assert_int_equal(answer->head, 0);
	assert_int_equal(answer->topic, 0);
	assert_int_equal(engine_numbers(f, "t").id, 0);
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, &(struct append_options){ .expect_head = true }))->status, ERR_OK);
}

static void absent_topic_is_no_incarnation_that_can_be_expected(void **state)
{
	struct engine_fixture *f = *state;
	static const uint64_t epochs[] = { 0, 1, UINT64_MAX };

	for (unsigned i = 0; i < 3; i++) {
		const struct append_options expected = { .expect_head = i != 1, .expect_epoch = true, .epoch = epochs[i] };
		const struct completion *answer = engine_answered(f, engine_append(f, "t", 1, &expected));
		assert_int_equal(answer->status, ERR_HEAD_MISMATCH);
		assert_int_equal(answer->head, 0);
		assert_int_equal(answer->topic, 0);
	}
	assert_int_equal(engine_numbers(f, "t").id, 0);
}

static void head_mismatch_that_rests_on_an_unpublished_batch_waits_for_it(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t append, mismatch;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	append = engine_append(f, "t", 1, NULL);
	mismatch = engine_append(f, "t", 1, &(struct append_options){ .expect_head = true });
	engine_one_round(f);
	assert_false(engine_has_answer(f, append) || engine_has_answer(f, mismatch));
	engine_end_sync(f);
	assert_int_equal(engine_answered(f, mismatch)->status, ERR_HEAD_MISMATCH);
	assert_int_equal(engine_answered(f, mismatch)->head, 1);
}

static void batch_that_the_empty_reject_topic_could_not_take_is_refused(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config config = engine_config(DURABILITY_DISK);

	config.discard = DISCARD_REJECT;
	config.cap_records = 5;
	assert_int_equal(engine_answered(f, engine_append(f, "t", 6, &(struct append_options){ .config = &config }))->status, ERR_RECORD_TOO_LARGE);
	assert_int_equal(engine_numbers(f, "t").id, 0);
	assert_int_equal(engine_answered(f, engine_append(f, "t", 5, &(struct append_options){ .config = &config }))->status, ERR_OK);
	assert_int_equal(engine_answered(f, engine_append(f, "t", 6, NULL))->status, ERR_RECORD_TOO_LARGE);
	config.cap_records = 0;
	config.cap_bytes = 10;
	struct append_options sized = { .config = &config, .bytes = 11 };
	assert_int_equal(engine_answered(f, engine_append(f, "u", 1, &sized))->status, ERR_RECORD_TOO_LARGE);
	sized.bytes = 10;
	assert_int_equal(engine_answered(f, engine_append(f, "u", 1, &sized))->status, ERR_OK);
}

static void topic_past_the_limit_is_throttled_and_the_limit_named(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config config = engine_config(DURABILITY_DISK);
	uint64_t id;

	f->settings.max_topics = 2;
	engine_make_topic(f, "a", DURABILITY_DISK);
	engine_make_topic(f, "b", DURABILITY_DISK);
	id = engine_append(f, "c", 1, NULL);
	assert_int_equal(engine_answered(f, id)->status, ERR_THROTTLED);
	assert_int_equal(f->answers[id].completion.body_length, 10);
	assert_memory_equal(f->answers[id].body, "max_topics", 10);
	assert_int_equal(engine_answered(f, engine_put(f, "c", &config))->status, ERR_THROTTLED);
	assert_int_equal(engine_answered(f, engine_append(f, "a", 1, NULL))->status, ERR_OK);
	assert_int_equal(engine_answered(f, engine_delete(f, "a", false))->first_seq, 1);
	assert_int_equal(engine_answered(f, engine_append(f, "c", 1, NULL))->status, ERR_OK);
}

/* ---- idempotency ---- */

static void repeat_gets_the_first_answer_and_appends_nothing(void **state)
{
	struct engine_fixture *f = *state;
	const struct completion *answer;

	engine_answered(f, engine_append(f, "t", 2, &(struct append_options){ .key = "k" }));
	engine_answered(f, engine_append(f, "t", 1, NULL));
	answer = engine_answered(f, engine_append(f, "t", 5, &(struct append_options){ .key = "k", .worker = 1, .expect_head = true, .head = 77 }));
	assert_int_equal(answer->status, ERR_OK);
	assert_int_equal(answer->flags, COMPLETION_DEDUPED);
	assert_int_equal(answer->first_seq, 1);
	assert_int_equal(answer->count, 2);
	assert_int_equal(answer->head, 3);
	assert_int_equal(engine_numbers(f, "t").head, 3);
	assert_int_equal(engine_answered(f, engine_append(f, "u", 1, &(struct append_options){ .key = "k" }))->flags, COMPLETION_CREATED);
}

static void repeat_of_a_first_in_flight_waits_until_it_is_synced(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first, repeat;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	first = engine_append(f, "t", 2, &(struct append_options){ .key = "k" });
	repeat = engine_append(f, "t", 2, &(struct append_options){ .key = "k", .worker = 1 });
	engine_one_round(f);
	assert_false(engine_has_answer(f, first) || engine_has_answer(f, repeat));
	engine_end_sync(f);
	assert_int_equal(engine_answered(f, repeat)->flags, COMPLETION_DEDUPED);
	assert_int_equal(engine_answered(f, repeat)->first_seq, 1);
	assert_int_equal(engine_numbers(f, "t").head, 2);
}

static void key_is_new_again_after_its_window_and_in_a_new_epoch(void **state)
{
	struct engine_fixture *f = *state;
	const struct append_options keyed = { .key = "k" };

	engine_answered(f, engine_append(f, "t", 1, &keyed));
	memory_world_move_clocks(f->world, 120000 - 2000, 1000);
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, &keyed))->flags, COMPLETION_DEDUPED);
	memory_world_move_clocks(f->world, 3000, 1000);
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, &keyed))->first_seq, 2);
	engine_answered(f, engine_delete(f, "t", false));
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, &keyed))->flags, COMPLETION_CREATED);
}

/* ---- topics ---- */

static void put_is_answered_when_synced_with_the_configuration_in_force(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config config = engine_config(DURABILITY_MEMORY), echoed, again;
	uint64_t id = engine_put(f, "t", &config);

	engine_one_round(f);
	assert_false(engine_has_answer(f, id));
	assert_int_equal(engine_numbers(f, "t").id, 0);
	assert_int_equal(engine_answered(f, id)->flags, COMPLETION_CREATED);
	assert_int_equal(topic_config_decode(&echoed, f->answers[id].body, f->answers[id].completion.body_length), ERR_OK);
	assert_true(topic_config_equal(&config, &echoed));
	config.ttl_ms = 5;
	id = engine_put(f, "t", &config);
	assert_int_equal(engine_answered(f, id)->flags, 0);
	assert_int_equal(topic_config_decode(&echoed, f->answers[id].body, f->answers[id].completion.body_length), ERR_OK);
	assert_true(topic_config_equal(&config, &echoed));
	assert_int_equal(catalogue_config(f->now, catalogue_find(f->now, "t", 1), engine_numbers(f, "t").id, &again), ERR_OK);
	assert_true(topic_config_equal(&config, &again));
}

static void put_that_changes_nothing_writes_nothing_and_is_answered(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config config = engine_config(DURABILITY_MEMORY);
	uint64_t frames, id;

	engine_make_topic(f, "t", DURABILITY_MEMORY);
	frames = atomic_load(&f->status->frames_total);
	id = engine_put(f, "t", &config);
	engine_one_round(f);
	assert_true(engine_has_answer(f, id));
	assert_true(f->answers[id].completion.body_length > 0);
	assert_int_equal(atomic_load(&f->status->frames_total), frames);
}

static void patch_changes_the_named_fields_alone(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config config = engine_config(DURABILITY_FSYNC), change = engine_config(DURABILITY_MEMORY), echoed;
	uint64_t id;

	config.ttl_ms = 7;
	engine_answered(f, engine_put(f, "t", &config));
	change.cap_records = 9;
	id = engine_patch(f, "t", &change, CONFIG_CAP_RECORDS);
	assert_int_equal(engine_answered(f, id)->status, ERR_OK);
	assert_int_equal(topic_config_decode(&echoed, f->answers[id].body, f->answers[id].completion.body_length), ERR_OK);
	config.cap_records = 9;
	assert_true(topic_config_equal(&config, &echoed));
	assert_int_equal(engine_answered(f, engine_patch(f, "absent", &change, CONFIG_CAP_RECORDS))->status, ERR_TOPIC_NOT_FOUND);
}

static void another_type_is_a_conflict(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config queue = engine_config(DURABILITY_DISK);

	engine_make_topic(f, "t", DURABILITY_DISK);
	queue.type = TOPIC_QUEUE;
	assert_int_equal(engine_answered(f, engine_put(f, "t", &queue))->status, ERR_TOPIC_EXISTS_INCOMPATIBLE);
	assert_int_equal(engine_answered(f, engine_patch(f, "t", &queue, CONFIG_TYPE))->status, ERR_TOPIC_EXISTS_INCOMPATIBLE);
}

static void deleted_topic_is_gone_when_synced_and_begins_anew_in_another_epoch(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t epoch = engine_answered(f, engine_append(f, "t", 3, NULL))->topic, id = engine_delete(f, "t", false);

	engine_one_round(f);
	assert_false(engine_has_answer(f, id));
	assert_int_equal(engine_numbers(f, "t").head, 3);
	assert_int_equal(engine_answered(f, id)->first_seq, 1);
	assert_int_equal(engine_numbers(f, "t").id, 0);
	assert_int_equal(engine_answered(f, engine_delete(f, "t", false))->first_seq, 0);
	id = engine_append(f, "t", 1, NULL);
	assert_int_equal(engine_answered(f, id)->first_seq, 1);
	assert_int_not_equal(engine_answered(f, id)->topic, epoch);
}

static void delete_if_empty_spares_a_topic_with_records(void **state)
{
	struct engine_fixture *f = *state;

	engine_answered(f, engine_append(f, "t", 1, NULL));
	assert_int_equal(engine_answered(f, engine_delete(f, "t", true))->status, ERR_TOPIC_NOT_EMPTY);
	assert_int_equal(engine_numbers(f, "t").head, 1);
	engine_make_topic(f, "u", DURABILITY_DISK);
	assert_int_equal(engine_answered(f, engine_delete(f, "u", true))->first_seq, 1);
}

static void create_delete_and_create_in_one_group_are_published_in_order(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first = engine_append(f, "t", 2, NULL), gone = engine_delete(f, "t", false), second = engine_append(f, "t", 1, NULL);
	uint64_t absent = engine_append(f, "u", 1, NULL), deleted = engine_delete(f, "u", false);
	uint64_t refused = engine_append(f, "u", 1, &(struct append_options){ .no_create = true });

	engine_one_round(f);
	assert_false(engine_has_answer(f, refused)); /* it rests on a deletion that nobody has seen yet */
	assert_int_equal(engine_answered(f, first)->first_seq, 1);
	assert_int_equal(engine_answered(f, gone)->first_seq, 1);
	assert_int_equal(engine_answered(f, second)->flags, COMPLETION_CREATED);
	assert_int_not_equal(engine_answered(f, first)->topic, engine_answered(f, second)->topic);
	assert_true(engine_reads(f, "t", 1, 1, second));
	assert_int_equal(engine_answered(f, absent)->status, ERR_OK);
	assert_int_equal(engine_answered(f, deleted)->first_seq, 1);
	assert_int_equal(engine_answered(f, refused)->status, ERR_TOPIC_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)
		TEST(first_append_makes_the_topic_and_is_visible_when_answered),
		TEST(seqs_of_batches_follow_each_other_and_only_the_first_creates),
		TEST(batch_over_a_mebibyte_comes_through_the_large_area),
		TEST(fsync_append_is_neither_answered_nor_visible_before_its_sync),
		TEST(disk_and_memory_appends_are_answered_when_written),
		TEST(disk_appends_are_synced_within_the_interval_and_become_durable),
		TEST(one_sync_answers_all_who_wrote_before_it_and_the_next_those_who_came_meanwhile),
		TEST(ephemeral_records_are_answered_at_once_and_readable),
		TEST(batches_stay_in_order_when_the_class_gets_weaker),
		TEST(batches_stay_in_order_when_a_topic_becomes_ephemeral),
		TEST(batch_beyond_the_synced_ceiling_waits_for_its_sync_in_every_class),
		TEST(time_of_frames_never_goes_back),
		TEST(append_that_may_not_create_finds_no_topic_and_makes_none),
		TEST(head_mismatch_says_head_and_epoch_and_appends_nothing),
		TEST(expected_head_of_an_absent_topic_is_zero),
		TEST(absent_topic_is_no_incarnation_that_can_be_expected),
		TEST(head_mismatch_that_rests_on_an_unpublished_batch_waits_for_it),
		TEST(batch_that_the_empty_reject_topic_could_not_take_is_refused),
		TEST(topic_past_the_limit_is_throttled_and_the_limit_named),
		TEST(repeat_gets_the_first_answer_and_appends_nothing),
		TEST(repeat_of_a_first_in_flight_waits_until_it_is_synced),
		TEST(key_is_new_again_after_its_window_and_in_a_new_epoch),
		TEST(put_is_answered_when_synced_with_the_configuration_in_force),
		TEST(put_that_changes_nothing_writes_nothing_and_is_answered),
		TEST(patch_changes_the_named_fields_alone),
		TEST(another_type_is_a_conflict),
		TEST(deleted_topic_is_gone_when_synced_and_begins_anew_in_another_epoch),
		TEST(delete_if_empty_spares_a_topic_with_records),
		TEST(create_delete_and_create_in_one_group_are_published_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
