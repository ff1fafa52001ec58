/* What the engine finds after deaths and ends: I-3, I-5, I-6, I-8. Every crash state is tests/simulate's; here each rule has its case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/frame.h"
#include "common/ring.h"
#include "tests/engine_fixture.h"

static const char *const class_names[] = { "ephemeral", "memory", "disk", "fsync" };

static void make_classes(struct engine_fixture *f)
{
	for (enum durability d = DURABILITY_EPHEMERAL; d <= DURABILITY_FSYNC; d++)
		engine_make_topic(f, class_names[d], d);
}

static void assert_one_loss(struct engine_fixture *f, const char *topic, uint64_t from, uint64_t to, enum reason reason)
{
	struct loss loss;

	assert_int_equal(engine_losses(f, topic, &loss, 1), 1);
	assert_int_equal(loss.from, from);
	assert_int_equal(loss.to, to);
	assert_int_equal(loss.reason, reason);
}

/* ---- logd dies ---- */

static void requests_that_were_only_published_are_done_by_the_next_logd(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t ids[4];

	make_classes(f);
	for (unsigned i = 0; i < 4; i++)
		ids[i] = engine_append(f, class_names[i], 2, &(struct append_options){ .worker = i % 2 });
	engine_logd_starts(f);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(engine_answered(f, ids[i])->first_seq, 1);
		assert_true(engine_reads(f, class_names[i], 1, 2, ids[i]));
	}
}

static void requests_whose_frames_stand_are_answered_once_and_not_done_again(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config config = engine_config(DURABILITY_MEMORY);
	uint64_t append, created, put, deleted;

	make_classes(f);
	append = engine_append(f, "fsync", 2, NULL);
	created = engine_append(f, "new", 1, NULL);
	put = engine_put(f, "put", &config);
	deleted = engine_delete(f, "memory", false);
	engine_one_round(f);
	assert_false(engine_has_answer(f, append) || engine_has_answer(f, created) || engine_has_answer(f, put) || engine_has_answer(f, deleted));
	engine_logd_starts(f);
	assert_int_equal(engine_answered(f, append)->first_seq, 1);
	assert_int_equal(engine_answered(f, created)->flags, COMPLETION_CREATED);
	assert_int_equal(engine_answered(f, created)->body_length, 0);
	assert_int_equal(engine_answered(f, put)->flags, COMPLETION_CREATED);
	assert_true(engine_answered(f, put)->body_length > 0);
	assert_int_equal(engine_answered(f, deleted)->first_seq, 1);
	assert_int_equal(engine_numbers(f, "fsync").count, 2);
	assert_int_equal(engine_numbers(f, "new").count, 1);
	assert_int_equal(engine_numbers(f, "memory").id, 0);
}

static void answers_that_stand_unread_are_not_given_again(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t ids[4];

	make_classes(f);
	f->workers[0].asleep = true;
	for (unsigned i = 0; i < 4; i++)
		ids[i] = engine_append(f, class_names[i], 1, NULL);
	engine_settle(f);
	engine_logd_starts(f);
	engine_settle(f);
	f->workers[0].asleep = false;
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(engine_answered(f, ids[i])->first_seq, 1);
		assert_int_equal(engine_numbers(f, class_names[i]).count, 1);
	}
}

static void repeat_that_waited_is_answered_after_a_death(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first, repeat;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	first = engine_append(f, "t", 2, &(struct append_options){ .key = "k" });
	repeat = engine_append(f, "t", 2, &(struct append_options){ .key = "k", .worker = 1 });
	engine_one_round(f);
	engine_logd_starts(f);
	assert_int_equal(engine_answered(f, first)->flags, 0);
	assert_int_equal(engine_answered(f, repeat)->flags, COMPLETION_DEDUPED);
	assert_int_equal(engine_answered(f, repeat)->first_seq, 1);
	assert_int_equal(engine_numbers(f, "t").head, 2);
}

static void a_second_death_before_all_is_answered_answers_the_rest(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t ids[3];

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	f->workers[0].asleep = true;
	for (unsigned i = 0; i < 3; i++)
		ids[i] = engine_append(f, "t", 1, NULL);
	(void)engine_round(f->engine);
	engine_logd_starts(f);
	engine_logd_starts(f);
	f->workers[0].asleep = false;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(engine_answered(f, ids[i])->first_seq, i + 1);
	assert_int_equal(engine_numbers(f, "t").head, 3);
}

static void nothing_is_lost_or_announced_in_any_class_when_logd_dies(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t ids[4], more[4];

	make_classes(f);
	for (unsigned i = 0; i < 4; i++)
		ids[i] = engine_append(f, class_names[i], 5, NULL);
	engine_settle(f);
	engine_logd_starts(f);
	for (unsigned i = 0; i < 4; i++)
		more[i] = engine_append(f, class_names[i], 1, NULL);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(engine_answered(f, more[i])->first_seq, 6);
		assert_true(engine_reads(f, class_names[i], 1, 5, ids[i]));
		assert_true(engine_reads(f, class_names[i], 6, 1, more[i]));
		assert_int_equal(engine_numbers(f, class_names[i]).count, 6);
		assert_int_equal(engine_numbers(f, class_names[i]).earliest, 1);
		engine_assert_no_losses(f, class_names[i]);
	}
}

static void keys_are_known_to_the_next_logd_and_after_a_clean_stop(void **state)
{
	struct engine_fixture *f = *state;
	const struct append_options keyed = { .key = "k" };

	engine_answered(f, engine_append(f, "t", 3, &keyed));
	engine_logd_starts(f);
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, &keyed))->flags, COMPLETION_DEDUPED);
	assert_int_equal(engine_fixture_stop(f), ERR_OK);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, &keyed))->count, 3);
}

static void ring_of_a_worker_that_died_with_logd_is_let_go(void **state)
{
	struct engine_fixture *f = *state;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	(void)engine_append(f, "t", 1, NULL);
	engine_one_round(f);
	(void)engine_append(f, "t", 1, NULL);
	engine_fixture_logd_dies(f);
	assert_int_equal(engine_fixture_start(f, false, false), ERR_OK);
	engine_fixture_worker_dies(f, 0);
	engine_settle(f);
	assert_int_equal(f->workers[0].dropped, 1);
	assert_int_equal(engine_numbers(f, "t").head, 1); /* what stood in the log stays, what was only published was never accepted */
}

static void published_seqs_that_are_gone_are_announced_and_not_given_again(void **state)
{
	static const uint8_t zeros[1 << 16];
	struct engine_fixture *f = *state;
	struct catalogue_file file;
	struct extent extent;
	unsigned found;

	engine_make_topic(f, "t", DURABILITY_MEMORY);
	engine_answered(f, engine_append(f, "t", 2, NULL));
	(void)engine_append(f, "t", 3, NULL);
	engine_one_round(f);
	assert_int_equal(engine_numbers(f, "t").head, 5);
	assert_int_equal(catalogue_extents(f->now, catalogue_find(f->now, "t", 1), engine_numbers(f, "t").id, 3, &extent, 1, &found), ERR_OK);
	assert_int_equal(catalogue_file(f->now, extent.file, &file), ERR_OK);
	engine_fixture_logd_dies(f);
	memory_world_damage(f->world, &(struct file_name){ .kind = 'w', .id = file.id }, extent.offset, zeros, sizeof zeros);
	assert_int_equal(engine_fixture_start(f, false, false), ERR_OK);
	assert_int_equal(engine_numbers(f, "t").head, 5);
	assert_int_equal(engine_numbers(f, "t").count, 2);
	assert_one_loss(f, "t", 3, 5, REASON_IO_ERROR);
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, NULL))->first_seq, 6);
	engine_logd_starts(f);
	assert_one_loss(f, "t", 3, 5, REASON_IO_ERROR);
}

/* ---- poison ---- */

static void dies_while_taking(struct engine_fixture *f, unsigned worker, uint64_t number)
{
	struct ring_release *release = f->workers[worker].completion;

	atomic_store(&release->taking, number + 1);
	engine_fixture_logd_dies(f);
	assert_int_equal(engine_fixture_start(f, false, true), ERR_OK);
}

static void entry_noted_at_two_deaths_by_a_fault_is_dropped_and_its_worker_replaced(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t innocent = engine_append(f, "t", 1, NULL), poisoned, later;

	engine_answered(f, innocent);
	poisoned = engine_append(f, "t", 1, NULL);
	later = engine_append(f, "t", 1, NULL);
	dies_while_taking(f, 0, 1);
	dies_while_taking(f, 0, 1);
	for (unsigned i = 0; i < 10 && !engine_has_answer(f, poisoned); i++)
		engine_one_round(f);
	(void)engine_tick(f->engine);
	assert_int_equal(f->workers[0].broken, 0); /* it is given the time to pass the answer on */
	assert_int_equal(engine_answered(f, poisoned)->status, ERR_INTERNAL);
	assert_int_equal(engine_answered(f, later)->status, ERR_OK);
	engine_pass(f, 1000000);
	assert_int_equal(f->workers[0].broken, 1);
	assert_int_equal(f->workers[1].broken, 0);
	assert_int_equal(engine_numbers(f, "t").head, 2);
}

static void entry_noted_at_one_death_is_tried_again(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t id;

	engine_make_topic(f, "t", DURABILITY_DISK);
	id = engine_append(f, "t", 1, NULL);
	dies_while_taking(f, 0, 1);
	assert_int_equal(engine_answered(f, id)->status, ERR_OK);
	assert_int_equal(f->workers[0].broken, 0);
}

static void after_a_death_by_a_fault_entries_are_committed_one_by_one(void **state)
{
	struct engine_fixture *f = *state;

	engine_make_topic(f, "t", DURABILITY_MEMORY);
	for (unsigned i = 0; i < 6; i++)
		(void)engine_append(f, "t", 1, &(struct append_options){ .worker = i % 2 });
	engine_fixture_logd_dies(f);
	assert_int_equal(engine_fixture_start(f, false, true), ERR_OK);
	for (unsigned i = 1; i <= 6; i++) {
		assert_true(engine_round(f->engine));
		assert_int_equal(engine_numbers(f, "t").head, i);
	}
	engine_settle(f);
	for (unsigned i = 0; i < 6; i++)
		(void)engine_append(f, "t", 1, NULL);
	(void)engine_round(f->engine);
	assert_int_equal(engine_numbers(f, "t").head, 12);
}

/* Clients that ask again at once keep the rings filled, and pay for the death no longer than what was there at it. */
static void entries_published_after_a_death_by_a_fault_are_committed_in_groups(void **state)
{
	struct engine_fixture *f = *state;

	engine_make_topic(f, "t", DURABILITY_MEMORY);
	for (unsigned i = 0; i < 6; i++)
		(void)engine_append(f, "t", 1, &(struct append_options){ .worker = i % 2 });
	engine_fixture_logd_dies(f);
	assert_int_equal(engine_fixture_start(f, false, true), ERR_OK);
	for (unsigned i = 1; i <= 6; i++) {
		(void)engine_append(f, "t", 1, &(struct append_options){ .worker = i % 2 });
		(void)engine_round(f->engine);
		assert_int_equal(engine_numbers(f, "t").head, i);
	}
	(void)engine_round(f->engine);
	assert_int_equal(engine_numbers(f, "t").head, 12);
}

/* Only its worker could let it go on. */
static void entry_of_a_worker_that_reads_no_answers_keeps_others_from_groups_no_longer_after_a_death(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t old;

	engine_make_topic(f, "t", DURABILITY_MEMORY);
	f->workers[1].asleep = true;
	for (unsigned i = 0; i < RING_SLOTS; i++) {
		(void)engine_append(f, "t", 1, &(struct append_options){ .worker = 1 });
		if (i % 64 == 0)
			engine_settle(f);
	}
	engine_settle(f);
	old = engine_append(f, "t", 1, &(struct append_options){ .worker = 1 });
	engine_fixture_logd_dies(f);
	assert_int_equal(engine_fixture_start(f, false, true), ERR_OK);
	(void)engine_round(f->engine);
	for (unsigned i = 0; i < 10; i++)
		(void)engine_append(f, "t", 1, NULL);
	(void)engine_round(f->engine);
	assert_int_equal(engine_numbers(f, "t").head, RING_SLOTS + 10);
	f->workers[1].asleep = false;
	assert_int_equal(engine_answered(f, old)->first_seq, RING_SLOTS + 11);
}

/* What a worker says of its ring is no reason to go slowly for ever. */
static void ring_with_less_in_it_than_its_worker_says_ends_the_time_of_single_entries(void **state)
{
	struct engine_fixture *f = *state;
	struct ring_shared *shared = f->workers[1].request;

	engine_make_topic(f, "t", DURABILITY_MEMORY);
	engine_fixture_logd_dies(f);
	atomic_store(&shared->published, 1000);
	assert_int_equal(engine_fixture_start(f, false, true), ERR_OK);
	for (unsigned i = 0; i < 10; i++)
		(void)engine_append(f, "t", 1, NULL);
	(void)engine_round(f->engine);
	assert_int_equal(engine_numbers(f, "t").head, 10);
}

/* ---- the daemon ends ---- */

static void killed_daemon_keeps_all_but_ephemeral_records_which_are_announced(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t ids[4], head;

	make_classes(f);
	for (unsigned i = 0; i < 4; i++)
		ids[i] = engine_append(f, class_names[i], 5, NULL);
	engine_settle(f);
	engine_daemon_starts(f, false);
	for (unsigned i = 1; i < 4; i++) {
		assert_true(engine_reads(f, class_names[i], 1, 5, ids[i]));
		engine_assert_no_losses(f, class_names[i]);
		assert_int_equal(engine_answered(f, engine_append(f, class_names[i], 1, NULL))->first_seq, 6);
	}
	head = engine_numbers(f, "ephemeral").head;
	assert_true(head >= 5);
	assert_one_loss(f, "ephemeral", 1, head, REASON_RESTART);
	assert_int_equal(engine_numbers(f, "ephemeral").count, 0);
	assert_int_equal(engine_numbers(f, "ephemeral").earliest, head + 1);
	assert_int_equal(engine_answered(f, engine_append(f, "ephemeral", 1, NULL))->first_seq, head + 1);
}

static void orderly_stop_keeps_every_head_and_announces_ephemeral_records_alone(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t ids[4];

	make_classes(f);
	for (unsigned i = 0; i < 4; i++)
		ids[i] = engine_append(f, class_names[i], 5, NULL);
	assert_int_equal(engine_fixture_stop(f), ERR_OK);
	memory_world_reboot(f->world);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(engine_numbers(f, class_names[i]).head, 5);
		assert_int_equal(engine_answered(f, engine_append(f, class_names[i], 1, NULL))->first_seq, 6);
		if (i == 0)
			continue;
		assert_true(engine_reads(f, class_names[i], 1, 5, ids[i]));
		engine_assert_no_losses(f, class_names[i]);
	}
	assert_one_loss(f, "ephemeral", 1, 5, REASON_RESTART);
}

static void power_cut_announces_what_may_be_missing_up_to_the_ceiling_but_of_fsync_topics(void **state)
{
	struct engine_fixture *f = *state;
	struct loss loss;
	uint64_t synced, head;

	engine_make_topic(f, "fsync", DURABILITY_FSYNC);
	engine_make_topic(f, "disk", DURABILITY_DISK);
	synced = engine_append(f, "fsync", 3, NULL);
	engine_answered(f, synced);
	(void)engine_append(f, "disk", 3, NULL);
	(void)engine_append(f, "fsync", 3, NULL);
	engine_one_round(f);
	assert_int_equal(engine_numbers(f, "disk").head, 3);
	engine_daemon_starts(f, true);
	assert_int_equal(engine_numbers(f, "fsync").head, 3);
	assert_true(engine_reads(f, "fsync", 1, 3, synced));
	engine_assert_no_losses(f, "fsync");
	head = engine_numbers(f, "disk").head;
	assert_true(head >= 3);
	assert_int_equal(engine_losses(f, "disk", &loss, 1), 1);
	assert_int_equal(loss.from, 1);
	assert_int_equal(loss.to, head);
	assert_int_equal(loss.reason, REASON_CRASH);
	assert_int_equal(loss.flags, ENTRY_POSSIBLE);
	assert_int_equal(engine_answered(f, engine_append(f, "disk", 1, NULL))->first_seq, head + 1);
}

static void topic_that_was_idle_is_closed_and_a_power_cut_announces_nothing_of_it(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t id;

	engine_make_topic(f, "t", DURABILITY_DISK);
	id = engine_append(f, "t", 3, NULL);
	engine_answered(f, id);
	for (unsigned i = 0; i < 3; i++) {
		engine_pass(f, 31000000);
		engine_settle(f);
	}
	engine_daemon_starts(f, true);
	assert_int_equal(engine_numbers(f, "t").head, 3);
	assert_true(engine_reads(f, "t", 1, 3, id));
	engine_assert_no_losses(f, "t");
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, NULL))->first_seq, 4);
}

/* Breaks the only frame that has one entry of this type. */
static void damage_entry(struct engine_fixture *f, enum entry_type type)
{
	struct file_name names[64];
	unsigned count = memory_world_names(f->world, names, 64), found = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t size, at = FILE_HEADER_SIZE;
		const uint8_t *bytes = memory_world_file(f->world, &names[i], &size);
		for (; names[i].kind == 'w' && at + FRAME_MIN <= size && get_u32(bytes + at) == FRAME_MAGIC; at += get_u32(bytes + at + 8)) {
			if (get_u16(bytes + at + FRAME_HEAD) != type)
				continue;
			memory_world_damage(f->world, &names[i], at + FRAME_HEAD + 20, "?", 1);
			found++;
		}
	}
	assert_int_equal(found, 1);
}

static void topic_made_again_is_there_when_the_frame_that_deleted_it_is_damaged(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first, second;

	engine_make_topic(f, "t", DURABILITY_FSYNC);
	first = engine_numbers(f, "t").id;
	assert_int_equal(engine_answered(f, engine_delete(f, "t", false))->status, ERR_OK);
	engine_make_topic(f, "t", DURABILITY_FSYNC);
	second = engine_numbers(f, "t").id;
	assert_int_not_equal(first, second);
	engine_fixture_daemon_dies(f, false);
	damage_entry(f, ENTRY_TOPIC_DELETE);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	assert_int_equal(engine_numbers(f, "t").id, second);
	assert_int_equal(catalogue_topic_count(f->now), 1);
	engine_assert_no_losses(f, "t");
}

static void topics_configurations_and_deletions_outlive_every_end(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config config = engine_config(DURABILITY_EPHEMERAL), found;
	uint64_t epoch;

	config.ttl_ms = 12345;
	engine_answered(f, engine_put(f, "kept", &config));
	config.ttl_ms = 54321;
	engine_answered(f, engine_put(f, "kept", &config));
	epoch = engine_numbers(f, "kept").id;
	engine_make_topic(f, "gone", DURABILITY_DISK);
	engine_answered(f, engine_append(f, "gone", 3, NULL));
	engine_answered(f, engine_delete(f, "gone", false));
	for (unsigned cut = 0; cut < 2; cut++) {
		engine_daemon_starts(f, cut == 1);
		assert_int_equal(engine_numbers(f, "kept").id, epoch);
		assert_int_equal(engine_numbers(f, "gone").id, 0);
		assert_int_equal(catalogue_config(f->now, catalogue_find(f->now, "kept", 4), epoch, &found), ERR_OK);
		assert_true(topic_config_equal(&config, &found));
	}
}

static void losses_are_the_same_at_every_later_start(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t head;

	make_classes(f);
	for (unsigned i = 0; i < 4; i++)
		(void)engine_append(f, class_names[i], 5, NULL);
	engine_one_round(f);
	engine_daemon_starts(f, true);
	head = engine_numbers(f, "ephemeral").head;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(engine_numbers(f, "ephemeral").head, head);
		assert_one_loss(f, "ephemeral", 1, head, REASON_RESTART);
		assert_one_loss(f, "disk", 1, engine_numbers(f, "disk").head, REASON_CRASH);
		engine_daemon_starts(f, false);
		head = engine_numbers(f, "ephemeral").head > head ? engine_numbers(f, "ephemeral").head : head;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)
		TEST(requests_that_were_only_published_are_done_by_the_next_logd),
		TEST(requests_whose_frames_stand_are_answered_once_and_not_done_again),
		TEST(answers_that_stand_unread_are_not_given_again),
		TEST(repeat_that_waited_is_answered_after_a_death),
		TEST(a_second_death_before_all_is_answered_answers_the_rest),
		TEST(nothing_is_lost_or_announced_in_any_class_when_logd_dies),
		TEST(keys_are_known_to_the_next_logd_and_after_a_clean_stop),
		TEST(ring_of_a_worker_that_died_with_logd_is_let_go),
		TEST(published_seqs_that_are_gone_are_announced_and_not_given_again),
		TEST(entry_noted_at_two_deaths_by_a_fault_is_dropped_and_its_worker_replaced),
		TEST(entry_noted_at_one_death_is_tried_again),
		TEST(after_a_death_by_a_fault_entries_are_committed_one_by_one),
		TEST(entries_published_after_a_death_by_a_fault_are_committed_in_groups),
		TEST(entry_of_a_worker_that_reads_no_answers_keeps_others_from_groups_no_longer_after_a_death),
		TEST(ring_with_less_in_it_than_its_worker_says_ends_the_time_of_single_entries),
		TEST(killed_daemon_keeps_all_but_ephemeral_records_which_are_announced),
		TEST(orderly_stop_keeps_every_head_and_announces_ephemeral_records_alone),
		TEST(power_cut_announces_what_may_be_missing_up_to_the_ceiling_but_of_fsync_topics),
		TEST(topic_that_was_idle_is_closed_and_a_power_cut_announces_nothing_of_it),
		TEST(topic_made_again_is_there_when_the_frame_that_deleted_it_is_damaged),
		TEST(topics_configurations_and_deletions_outlive_every_end),
		TEST(losses_are_the_same_at_every_later_start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
