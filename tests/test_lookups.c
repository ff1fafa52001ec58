/* Idempotency keys over sealed files: a repeat is one whatever became of its first write's file; what waits holds back its own topic alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/engine_fixture.h"

enum { FILE_BYTES = 64 << 10 };

static int setup(void **state)
{
	struct engine_fixture *f = engine_fixture_create(2);

	f->settings.segment_max_bytes = FILE_BYTES;
	f->checkpoint_bytes = (uint64_t)1 << 40;
	*state = f;
	if (engine_fixture_start(f, true, false) != ERR_OK)
		return -1;
	struct topic_config config = engine_config(DURABILITY_DISK);
	engine_answered(f, engine_put(f, "t", &config));
	engine_answered(f, engine_put(f, "u", &config));
	return 0;
}

static uint64_t append(struct engine_fixture *f, const char *topic, const char *key)
{
	return engine_append(f, topic, 2, &(struct append_options){ .key = key });
}

/* A keyed write, and then so many others that its file is sealed. Its first seq. */
static uint64_t write_and_seal(struct engine_fixture *f, const char *topic, const char *key)
{
	uint64_t first = engine_answered(f, append(f, topic, key))->first_seq;
	unsigned wanted = f->sealed + 2;

	for (unsigned i = 0; f->sealed < wanted; i++) {
		assert_in_range(i, 0, 2000);
		assert_int_equal(engine_answered(f, engine_append(f, "u", 10, &(struct append_options){ .bytes = 400 }))->status, ERR_OK);
	}
	for (unsigned i = 0; engine_tick(f->engine) == 0; i++)
		assert_in_range(i, 0, 1000);
	return first;
}

static void is_repeat_of(const struct completion *answer, uint64_t first)
{
	assert_int_equal(answer->status, ERR_OK);
	assert_true(answer->flags & COMPLETION_DEDUPED);
	assert_int_equal(answer->first_seq, first);
	assert_int_equal(answer->count, 2);
}

static void repeat_of_a_write_in_a_sealed_file_is_answered_from_its_footer(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first = write_and_seal(f, "t", "k");

	is_repeat_of(engine_answered(f, append(f, "t", "k")), first);
	assert_int_equal(f->lookups, 1);
	assert_int_equal(engine_numbers(f, "t").head, first + 1);
	/* The same key of another topic is new, and so is another key. */
	assert_false(engine_answered(f, append(f, "u", "k"))->flags & COMPLETION_DEDUPED);
	assert_false(engine_answered(f, append(f, "t", "k2"))->flags & COMPLETION_DEDUPED);
}

static void repeats_are_known_after_deaths_and_restarts(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first = write_and_seal(f, "t", "k");

	engine_fixture_logd_dies(f);
	assert_int_equal(engine_fixture_start(f, false, false), ERR_OK);
	is_repeat_of(engine_answered(f, append(f, "t", "k")), first);
	engine_fixture_daemon_dies(f, false);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	is_repeat_of(engine_answered(f, append(f, "t", "k")), first);
	assert_int_equal(engine_fixture_stop(f), ERR_OK);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	is_repeat_of(engine_answered(f, append(f, "t", "k")), first);
	assert_int_equal(f->lookups, 3);
}

static void after_the_window_the_key_is_new_without_a_look(void **state)
{
	struct engine_fixture *f = *state;

	write_and_seal(f, "t", "k");
	engine_pass(f, (uint64_t)121 * 1000000);
	assert_false(engine_answered(f, append(f, "t", "k"))->flags & COMPLETION_DEDUPED);
	assert_int_equal(f->lookups, 0);
}

static void the_youngest_of_several_writes_under_a_key_counts(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t second;

	write_and_seal(f, "t", "k");
	engine_pass(f, (uint64_t)121 * 1000000);
	second = write_and_seal(f, "t", "k");
	is_repeat_of(engine_answered(f, append(f, "t", "k")), second);
}

static void the_youngest_counts_also_within_one_file(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t second;

	engine_answered(f, append(f, "t", "k"));
	engine_pass(f, (uint64_t)121 * 1000000);
	second = write_and_seal(f, "t", "k");
	is_repeat_of(engine_answered(f, append(f, "t", "k")), second);
}

static void what_waits_holds_back_its_topic_of_its_ring_and_nobody_else(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first = write_and_seal(f, "t", "k"), repeat, behind, other, elsewhere;

	f->holds_lookups = true;
	repeat = append(f, "t", "k");
	behind = append(f, "t", NULL);
	other = append(f, "u", NULL);
	elsewhere = engine_append(f, "t", 2, &(struct append_options){ .worker = 1 });
	engine_settle(f);
	assert_true(engine_has_answer(f, other));
	assert_true(engine_has_answer(f, elsewhere));
	assert_false(engine_has_answer(f, repeat));
	assert_false(engine_has_answer(f, behind));
	f->holds_lookups = false;
	is_repeat_of(engine_answered(f, repeat), first);
	assert_int_equal(engine_answered(f, behind)->first_seq, first + 4);
}

static void a_control_request_comes_after_what_waits_before_it(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first = write_and_seal(f, "t", "k"), repeat, gone;

	f->holds_lookups = true;
	repeat = append(f, "t", "k");
	gone = engine_delete(f, "t", false);
	engine_settle(f);
	assert_false(engine_has_answer(f, gone));
	f->holds_lookups = false;
	is_repeat_of(engine_answered(f, repeat), first);
	assert_int_equal(engine_answered(f, gone)->status, ERR_OK);
	assert_int_equal(engine_numbers(f, "t").id, 0);
}

static void two_repeats_of_one_ring_are_both_answered(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first = write_and_seal(f, "t", "k"), one = append(f, "t", "k"), two = append(f, "t", "k");

	engine_settle(f);
	is_repeat_of(engine_answered(f, one), first);
	is_repeat_of(engine_answered(f, two), first);
}

static void topic_made_again_while_a_look_up_runs_does_not_get_the_old_answer(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_config config = engine_config(DURABILITY_DISK);
	uint64_t repeat;

	write_and_seal(f, "t", "k");
	f->holds_lookups = true;
	repeat = engine_append(f, "t", 2, &(struct append_options){ .key = "k", .worker = 1 });
	engine_settle(f);
	engine_delete(f, "t", false);
	engine_settle(f);
	engine_put(f, "t", &config);
	engine_settle(f);
	f->holds_lookups = false;
	const struct completion *answer = engine_answered(f, repeat);
	assert_int_equal(answer->status, ERR_OK);
	assert_false(answer->flags & COMPLETION_DEDUPED);
	assert_int_equal(answer->first_seq, 1);
}

/* The key is written by another worker, and its file sealed, while the first worker's question about it is still on its way. */
static void answer_that_keys_have_overtaken_is_asked_for_again(void **state)
{
	struct engine_fixture *f = *state;
	struct lookup_job old;
	uint64_t first, late, second;

	first = write_and_seal(f, "t", "k");
	engine_pass(f, (uint64_t)100 * 1000000);
	f->holds_lookups = true;
	late = engine_append(f, "t", 2, &(struct append_options){ .key = "k", .worker = 1 });
	engine_settle(f);
	assert_true(memory_world_lookup_pending(f->world));
	/* What it will answer was true when it was asked, and is out of the window when it comes. */
	memory_world_lookup_finish(f->world, &old);
	assert_int_equal(old.first_seq, first);
	old.result = ERR_NOT_FOUND;
	engine_pass(f, (uint64_t)30 * 1000000);
	second = write_and_seal(f, "t", "k");
	assert_true(second > first);
	engine_looked_up(f->engine, &old);
	f->holds_lookups = false;
	is_repeat_of(engine_answered(f, late), second);
}

static void worker_that_dies_takes_what_waits_along(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first = write_and_seal(f, "t", "k");

	f->holds_lookups = true;
	append(f, "t", "k");
	append(f, "t", NULL);
	engine_settle(f);
	engine_fixture_worker_dies(f, 0);
	f->holds_lookups = false;
	engine_settle(f);
	assert_int_equal(engine_numbers(f, "t").head, first + 1);
	engine_fixture_worker_starts(f, 0);
	is_repeat_of(engine_answered(f, append(f, "t", "k")), first);
}

static void logd_that_dies_with_a_look_up_under_way_answers_it_once(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first = write_and_seal(f, "t", "k"), repeat, behind;

	f->holds_lookups = true;
	repeat = append(f, "t", "k");
	behind = append(f, "t", NULL);
	engine_settle(f);
	f->holds_lookups = false;
	engine_fixture_logd_dies(f);
	assert_int_equal(engine_fixture_start(f, false, false), ERR_OK);
	is_repeat_of(engine_answered(f, repeat), first);
	assert_int_equal(engine_answered(f, behind)->first_seq, first + 2);
}

static void file_that_cannot_be_read_refuses_the_repeat_and_writes_nothing(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first = write_and_seal(f, "t", "k");

	memory_world_fail(f->world, MEMORY_PREAD, 1, EIO, 0);
	assert_int_equal(engine_answered(f, append(f, "t", "k"))->status, ERR_STORAGE_FAILED);
	assert_int_equal(engine_numbers(f, "t").head, first + 1);
	is_repeat_of(engine_answered(f, append(f, "t", "k")), first);
}

/* Thousands of keys, over many files; each is a repeat, and what was never written is not. */
static void every_key_of_many_files_is_found(void **state)
{
	struct engine_fixture *f = *state;
	enum { KEYS = 1500 };
	static uint64_t firsts[KEYS];
	char key[32];

	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof key, "key-%u", i);
		firsts[i] = engine_answered(f, engine_append(f, i % 2 ? "t" : "u", 2, &(struct append_options){ .key = key, .bytes = 150 }))->first_seq;
	}
	assert_true(f->sealed > 5);
	for (unsigned i = 0; i < KEYS; i += 3) {
		snprintf(key, sizeof key, "key-%u", i);
		is_repeat_of(engine_answered(f, append(f, i % 2 ? "t" : "u", key)), firsts[i]);
	}
	assert_true(f->lookups > KEYS / 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, engine_teardown)
		CASE(repeat_of_a_write_in_a_sealed_file_is_answered_from_its_footer),
		CASE(repeats_are_known_after_deaths_and_restarts),
		CASE(after_the_window_the_key_is_new_without_a_look),
		CASE(the_youngest_of_several_writes_under_a_key_counts),
		CASE(the_youngest_counts_also_within_one_file),
		CASE(what_waits_holds_back_its_topic_of_its_ring_and_nobody_else),
		CASE(a_control_request_comes_after_what_waits_before_it),
		CASE(two_repeats_of_one_ring_are_both_answered),
		CASE(topic_made_again_while_a_look_up_runs_does_not_get_the_old_answer),
		CASE(answer_that_keys_have_overtaken_is_asked_for_again),
		CASE(worker_that_dies_takes_what_waits_along),
		CASE(logd_that_dies_with_a_look_up_under_way_answers_it_once),
		CASE(file_that_cannot_be_read_refuses_the_repeat_and_writes_nothing),
		CASE(every_key_of_many_files_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
