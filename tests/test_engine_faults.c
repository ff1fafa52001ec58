/* Writes and syncs that fail, and space that ends: I-4, FAULTS D. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/engine_fixture.h"

static void make_topic(struct engine_fixture *f, const char *topic, enum durability durability)
{
	struct topic_config config = engine_config(durability);

	assert_int_equal(engine_answered(f, engine_put(f, topic, &config))->status, ERR_OK);
	assert_int_equal(engine_answered(f, engine_append(f, topic, 2, NULL))->status, ERR_OK);
}

/* Topic `t` holds what `ids` wrote, in this order from seq 3 on, whatever becomes of logd. */
static void assert_holds(struct engine_fixture *f, const char *topic, const uint64_t *ids, const uint32_t *counts, unsigned n)
{
	struct loss loss;
	uint64_t seq = 3;

	for (unsigned i = 0; i < n; i++) {
		assert_true(engine_reads(f, topic, seq, counts[i], ids[i]));
		seq += counts[i];
	}
	assert_int_equal(engine_numbers(f, topic).head, seq - 1);
	assert_int_equal(engine_numbers(f, topic).count, seq - 1);
	assert_int_equal(engine_losses(f, topic, &loss, 1), 0);
}

static void restart_logd(struct engine_fixture *f)
{
	engine_fixture_logd_dies(f);
	assert_int_equal(engine_fixture_start(f, false, false), ERR_OK);
	engine_settle(f);
}

static void failed_write_is_refused_when_the_log_has_left_its_file_and_its_seqs_are_given_again(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t refused, next;

	make_topic(f, "t", DURABILITY_DISK);
	memory_world_fail(f->world, MEMORY_PWRITE, 0, EIO, false);
	refused = engine_append(f, "t", 3, &(struct append_options){ .key = "k" });
	(void)engine_round(f->engine);
	assert_false(engine_has_answer(f, refused));
	assert_int_equal(engine_answered(f, refused)->status, ERR_STORAGE_FAILED);
	assert_int_equal(engine_numbers(f, "t").head, 2);
	next = engine_append(f, "t", 1, &(struct append_options){ .key = "k" });
	assert_int_equal(engine_answered(f, next)->first_seq, 3);
	assert_int_equal(engine_answered(f, next)->flags, 0);
	assert_holds(f, "t", &next, &(uint32_t){ 1 }, 1);
	restart_logd(f);
	assert_holds(f, "t", &next, &(uint32_t){ 1 }, 1);
}

static void failed_write_takes_back_created_changed_and_deleted_topics(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config change = engine_config(DURABILITY_MEMORY);
	uint64_t ids[5];

	make_topic(f, "t", DURABILITY_DISK);
	make_topic(f, "gone", DURABILITY_DISK);
	memory_world_fail(f->world, MEMORY_PWRITE, 0, EIO, false);
	ids[0] = engine_append(f, "new", 1, NULL);
	ids[1] = engine_patch(f, "t", &change, CONFIG_DURABILITY);
	ids[2] = engine_delete(f, "gone", false);
	ids[3] = engine_append(f, "gone", 1, NULL);
	ids[4] = engine_put(f, "other", &change);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(engine_answered(f, ids[i])->status, ERR_STORAGE_FAILED);
	assert_int_equal(engine_numbers(f, "new").id, 0);
	assert_int_equal(engine_numbers(f, "other").id, 0);
	assert_int_equal(engine_answered(f, engine_append(f, "gone", 1, NULL))->first_seq, 3);
	assert_int_equal(engine_answered(f, engine_append(f, "new", 1, NULL))->flags, COMPLETION_CREATED);
	/* Still `disk`: a change to it has nothing to write. */
	change = engine_config(DURABILITY_DISK);
	ids[0] = engine_patch(f, "t", &change, CONFIG_DURABILITY);
	(void)engine_round(f->engine);
	assert_int_equal(engine_answered(f, ids[0])->status, ERR_OK);
	assert_int_equal(f->answers[ids[0]].completion.sync_us, 0);
}

/* Batches of both logs that came in one round: what is refused must not come back, whichever log failed, and what is acked must. */
static void batches_of_both_logs_in_one_round_survive_the_failure_of_either(void **state)
{
	struct engine_fixture *f = *state;

	make_topic(f, "t", DURABILITY_DISK);
	make_topic(f, "e", DURABILITY_EPHEMERAL);
	for (unsigned failing = 0; failing < 2; failing++) {
		uint64_t disk[2], ephemeral[2], after[2], seq = engine_numbers(f, "t").head + 1;
		memory_world_fail(f->world, MEMORY_PWRITE, failing, EIO, false);
		for (unsigned i = 0; i < 2; i++) {
			disk[i] = engine_append(f, "t", 1, NULL);
			ephemeral[i] = engine_append(f, "e", 1, NULL);
		}
		engine_settle(f);
		memory_world_no_faults(f->world);
		after[0] = engine_append(f, "t", 1, NULL);
		after[1] = engine_append(f, "e", 1, NULL);
		engine_settle(f);
		for (unsigned again = 0; again < 2; again++) {
			for (unsigned which = 0; which < 2; which++) {
				const char *topic = which == 0 ? "t" : "e";
				const uint64_t *ids = which == 0 ? disk : ephemeral;
				uint64_t at = seq;
				struct loss loss;
				for (unsigned i = 0; i < 3; i++) {
					uint64_t id = i < 2 ? ids[i] : after[which];
					const struct completion *answer = engine_answered(f, id);
					if (answer->status != ERR_OK) {
						assert_int_equal(answer->status, ERR_STORAGE_FAILED);
						continue;
					}
					assert_int_equal(answer->first_seq, at);
					assert_true(engine_reads(f, topic, at, 1, id));
					at++;
				}
				assert_int_equal(engine_numbers(f, topic).head, at - 1);
				assert_int_equal(engine_losses(f, topic, &loss, 1), 0);
			}
			if (again == 0)
				restart_logd(f);
		}
		/* The next turn begins with the same heads. */
		while (engine_numbers(f, "t").head != engine_numbers(f, "e").head)
			engine_answered(f, engine_append(f, engine_numbers(f, "t").head < engine_numbers(f, "e").head ? "t" : "e", 1, NULL));
	}
}

static void failed_sync_is_made_good_from_memory_and_answered(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t ids[2];
	const uint32_t counts[2] = { 3, 1 };

	make_topic(f, "t", DURABILITY_FSYNC);
	memory_world_fail(f->world, MEMORY_SYNC, 0, EIO, false);
	ids[0] = engine_append(f, "t", 3, NULL);
	assert_int_equal(engine_answered(f, ids[0])->status, ERR_OK);
	ids[1] = engine_append(f, "t", 1, NULL);
	assert_int_equal(engine_answered(f, ids[1])->status, ERR_OK);
	assert_holds(f, "t", ids, counts, 2);
	engine_fixture_daemon_dies(f, true);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	assert_holds(f, "t", ids, counts, 2);
}

static void published_records_are_found_where_a_failed_sync_moved_them(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t ids[2];
	const uint32_t counts[2] = { 3, 70 };

	make_topic(f, "t", DURABILITY_DISK);
	ids[0] = engine_append(f, "t", 3, NULL);
	ids[1] = engine_append(f, "t", 70, NULL);
	engine_one_round(f);
	assert_true(engine_has_answer(f, ids[1]));
	memory_world_fail(f->world, MEMORY_SYNC, 0, EIO, false);
	engine_pass(f, 150000);
	assert_true(engine_end_sync(f));
	engine_settle(f);
	assert_holds(f, "t", ids, counts, 2);
	assert_int_equal(engine_numbers(f, "t").durable, 75);
	engine_fixture_daemon_dies(f, true);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	for (unsigned i = 0, seq = 3; i < 2; seq += counts[i++])
		assert_true(engine_reads(f, "t", seq, counts[i], ids[i]));
}

/* Only the sync may tell of what was written before: the disk has no space for a new file, and may never have. */
static void frames_written_before_a_write_that_found_no_space_are_answered_while_no_file_can_be_made(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t ids[2], refused;
	const uint32_t counts[2] = { 1, 3 };

	make_topic(f, "t", DURABILITY_FSYNC);
	for (unsigned i = 0; i < 2; i++) {
		ids[i] = engine_append(f, "t", counts[i], NULL);
		engine_one_round(f);
	}
	memory_world_fail(f->world, MEMORY_PWRITE, 0, ENOSPC, true);
	refused = engine_append(f, "t", 1, NULL);
	engine_one_round(f);
	assert_int_equal(engine_answered(f, ids[0])->status, ERR_OK);
	assert_int_equal(engine_answered(f, ids[1])->status, ERR_OK);
	assert_int_equal(engine_answered(f, refused)->status, ERR_COMMIT_UNKNOWN);
	assert_int_equal(atomic_load(&f->status->state), LOGD_FULL);
	assert_holds(f, "t", ids, counts, 2);
	engine_fixture_daemon_dies(f, true);
	memory_world_no_faults(f->world);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	assert_holds(f, "t", ids, counts, 2);
}

static void storage_that_fails_for_good_gets_commit_unknown_then_read_only(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t unknown;

	make_topic(f, "t", DURABILITY_FSYNC);
	memory_world_fail(f->world, MEMORY_SYNC, 0, EIO, true);
	unknown = engine_append(f, "t", 1, NULL);
	assert_int_equal(engine_answered(f, unknown)->status, ERR_COMMIT_UNKNOWN);
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, NULL))->status, ERR_READ_ONLY);
	assert_int_equal(engine_answered(f, engine_delete(f, "t", false))->status, ERR_READ_ONLY);
	assert_int_equal(atomic_load(&f->status->state), LOGD_READ_ONLY);
	assert_int_equal(engine_numbers(f, "t").head, 2);
	assert_true(engine_idle(f->engine));
	assert_int_equal(engine_stop(f->engine), ERR_READ_ONLY);
}

static void full_disk_refuses_writes_takes_deletes_and_recovers_by_itself(void **state)
{
	struct engine_fixture *f = *state;
	const struct append_options big = { .bytes = 100000 };
	uint64_t last = 0;

	make_topic(f, "t", DURABILITY_MEMORY);
	make_topic(f, "u", DURABILITY_MEMORY);
	memory_world_space(f->world, 1);
	for (unsigned i = 0; i < 200 && engine_answered(f, last = engine_append(f, "t", 1, &big))->status == ERR_OK; i++)
		continue;
	assert_int_equal(f->answers[last].completion.status, ERR_STORAGE_FULL);
	assert_int_equal(atomic_load(&f->status->state), LOGD_FULL);
	assert_int_equal(engine_answered(f, engine_delete(f, "u", false))->first_seq, 1);
	memory_world_space(f->world, 0);
	engine_pass(f, 1100000);
	engine_settle(f);
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, &big))->status, ERR_OK);
	assert_int_equal(atomic_load(&f->status->state), LOGD_READY);
}

static void file_that_is_not_prepared_in_time_makes_requests_wait(void **state)
{
	struct engine_fixture *f = *state;
	const struct append_options big = { .bytes = 500000 };
	uint64_t ids[24];
	unsigned answered = 0;

	make_topic(f, "t", DURABILITY_MEMORY);
	make_topic(f, "e", DURABILITY_EPHEMERAL);
	/* Of both rings: the one whose records were copied to the other log first, too. */
	for (unsigned i = 0; i < 24; i++) {
		ids[i] = engine_append(f, "t", 1, &(struct append_options){ .bytes = big.bytes, .worker = i % 2 });
		(void)engine_append(f, "e", 1, &(struct append_options){ .worker = 1 });
		engine_one_round(f);
	}
	for (unsigned i = 0; i < 24; i++)
		answered += engine_has_answer(f, ids[i]);
	assert_in_range(answered, 1, 23);
	for (unsigned i = 0; i < 24; i++)
		assert_int_equal(engine_answered(f, ids[i])->status, ERR_OK);
	assert_int_equal(engine_numbers(f, "t").head, 26);
	assert_int_equal(engine_numbers(f, "e").head, 26);
}

/* What was gathered when the log is given up has its place and is written; nothing of it may stand in the way of the other ring's requests either. */
static void log_that_is_given_up_for_want_of_a_next_file_answers_both_rings(void **state)
{
	enum { EACH = 16, ROUNDS = 40 };
	struct engine_fixture *f = *state;
	uint64_t ids[EACH], guess, other;
	unsigned done = 0, refused = 0;

	make_topic(f, "t", DURABILITY_MEMORY);
	make_topic(f, "e", DURABILITY_EPHEMERAL);
	guess = engine_append(f, "e", 1, &(struct append_options){ .worker = 1 });
	assert_int_equal(engine_answered(f, guess)->status, ERR_OK);
	memory_world_fail(f->world, MEMORY_PREPARE, 0, EIO, true);
	for (unsigned i = 0; i < ROUNDS && refused == 0; i++) {
		engine_pass(f, 1100000);
		for (unsigned k = 0; k < EACH; k++)
			ids[k] = engine_append(f, "t", 1, &(struct append_options){ .bytes = 30000 });
		other = engine_append(f, "e", 1, &(struct append_options){ .worker = 1 });
		for (unsigned k = 0; k < EACH; k++) {
			const struct completion *answer = engine_answered(f, ids[k]);
			assert_true(answer->status == ERR_READ_ONLY || (answer->status == ERR_OK && refused == 0));
			done += answer->status == ERR_OK;
			refused += answer->status == ERR_READ_ONLY;
		}
		assert_int_equal(engine_answered(f, other)->status, ERR_OK);
	}
	assert_in_range(refused, 1, EACH - 1); /* some of that round were gathered before */
	assert_int_equal(engine_numbers(f, "t").head, 2 + done);
	assert_int_equal(atomic_load(&f->status->state), LOGD_READ_ONLY);
}

static void idle_topics_whose_closing_could_not_be_written_are_closed_later(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t id;

	engine_make_topic(f, "t", DURABILITY_DISK);
	id = engine_append(f, "t", 3, NULL);
	engine_answered(f, id);
	engine_pass(f, 31000000); /* the sync mark is written meanwhile: the next write is that of the closing */
	engine_settle(f);
	memory_world_fail(f->world, MEMORY_PWRITE, 0, EIO, false);
	for (unsigned i = 0; i < 5; i++) {
		engine_pass(f, 31000000);
		engine_settle(f);
	}
	engine_daemon_starts(f, true);
	assert_true(engine_reads(f, "t", 1, 3, id));
	engine_assert_no_losses(f, "t");
	assert_int_equal(engine_answered(f, engine_append(f, "t", 1, NULL))->first_seq, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)
		TEST(failed_write_is_refused_when_the_log_has_left_its_file_and_its_seqs_are_given_again),
		TEST(failed_write_takes_back_created_changed_and_deleted_topics),
		TEST(batches_of_both_logs_in_one_round_survive_the_failure_of_either),
		TEST(failed_sync_is_made_good_from_memory_and_answered),
		TEST(published_records_are_found_where_a_failed_sync_moved_them),
		TEST(frames_written_before_a_write_that_found_no_space_are_answered_while_no_file_can_be_made),
		TEST(storage_that_fails_for_good_gets_commit_unknown_then_read_only),
		TEST(full_disk_refuses_writes_takes_deletes_and_recovers_by_itself),
		TEST(file_that_is_not_prepared_in_time_makes_requests_wait),
		TEST(log_that_is_given_up_for_want_of_a_next_file_answers_both_rings),
		TEST(idle_topics_whose_closing_could_not_be_written_are_closed_later),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
