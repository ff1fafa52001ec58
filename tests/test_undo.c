#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* What a group changed goes back whole, in whatever order it was changed; tests/test_engine_faults.c shows the same from outside. */
#include <stdlib.h>
#include <string.h>

#include "logd/engine_internal.h"
#include "tests/engine_fixture.h"

static int setup(void **state)
{
	struct engine_fixture *f = engine_fixture_create(1);
	struct topic_config config = engine_config(DURABILITY_DISK);

	*state = f;
	if (engine_fixture_start(f, true, false) != ERR_OK)
		return 1;
	engine_answered(f, engine_put(f, "t", &config));
	engine_answered(f, engine_append(f, "t", 2, NULL));
	engine_settle(f);
	return 0;
}

static int teardown(void **state)
{
	engine_fixture_destroy(*state);
	return 0;
}

static struct topic *topic_of(struct engine_fixture *f)
{
	struct topic *topic = topic_table_by_name(f->engine->topics, "t", 1);

	assert_non_null(topic);
	return topic;
}

static void numbers_of_a_topic_go_back_to_where_the_group_found_them(void **state)
{
	struct engine_fixture *f = *state;
	struct topic *topic = topic_of(f);
	struct topic before = *topic;

	undo_touch(f->engine, topic);
	topic->head += 5;
	undo_touch(f->engine, topic); /* saved once: the second time it is not what the group found */
	topic->head += 5;
	topic->count = topic->bytes = topic->ceiling = topic->ceiling_end = topic->reservation = 99;
	undo_group(f->engine, ERR_STORAGE_FAILED);
	assert_int_equal(topic->head, before.head);
	assert_int_equal(topic->count, before.count);
	assert_int_equal(topic->bytes, before.bytes);
	assert_int_equal(topic->ceiling, before.ceiling);
	assert_int_equal(topic->ceiling_end, before.ceiling_end);
	assert_int_equal(topic->reservation, before.reservation);
	assert_null(f->engine->undo);
}

static void what_a_written_group_changed_stays(void **state)
{
	struct engine_fixture *f = *state;
	struct topic *topic = topic_of(f);
	uint64_t head = topic->head;

	undo_touch(f->engine, topic);
	topic->head++;
	undo_forget(f->engine);
	assert_null(f->engine->undo);
	undo_touch(f->engine, topic); /* of the next group */
	topic->head += 5;
	undo_group(f->engine, ERR_STORAGE_FAILED);
	assert_int_equal(topic->head, head + 1);
	topic->head = head;
}

static void configuration_changed_twice_goes_back_to_the_first(void **state)
{
	struct engine_fixture *f = *state;
	struct topic *topic = topic_of(f);

	for (uint64_t ttl = 7; ttl < 9; ttl++) {
		undo_note(f->engine, UNDO_CONFIG, topic);
		topic->config.ttl_ms = ttl;
	}
	undo_group(f->engine, ERR_STORAGE_FAILED);
	assert_int_equal(topic->config.ttl_ms, 0);
}

static void deleted_topic_has_its_name_again(void **state)
{
	struct engine_fixture *f = *state;
	struct topic *topic = topic_of(f);

	undo_note(f->engine, UNDO_DELETED, topic);
	topic->state = TOPIC_DELETING;
	topic_table_drop_name(f->engine->topics, topic);
	undo_group(f->engine, ERR_STORAGE_FAILED);
	assert_ptr_equal(topic_of(f), topic);
	assert_int_equal(topic->state, TOPIC_PUBLISHED);
}

static void key_goes_back_to_what_stood_under_it(void **state)
{
	struct engine_fixture *f = *state;
	struct key_entry old = { .topic = topic_of(f)->id, .first_seq = 1, .count = 1 }, new = old, replaced;

	keys_hash(old.hash, old.topic, "k", 1);
	memcpy(new.hash, old.hash, sizeof old.hash);
	new.first_seq = 2;
	/* Nothing stood there. */
	assert_int_equal(keys_put(f->engine->keys, &old, &replaced), ERR_OK);
	undo_key(f->engine, &old, &replaced);
	undo_group(f->engine, ERR_STORAGE_FAILED);
	assert_null(keys_find(f->engine->keys, old.topic, old.hash));
	/* An older use of the key did. */
	assert_int_equal(keys_put(f->engine->keys, &old, NULL), ERR_OK);
	assert_int_equal(keys_put(f->engine->keys, &new, &replaced), ERR_OK);
	undo_key(f->engine, &new, &replaced);
	undo_group(f->engine, ERR_STORAGE_FAILED);
	assert_non_null(keys_find(f->engine->keys, old.topic, old.hash));
	assert_int_equal(keys_find(f->engine->keys, old.topic, old.hash)->first_seq, 1);
}

static void topic_that_goes_by_itself_takes_its_notes_along(void **state)
{
	struct engine_fixture *f = *state;
	struct topic *topic = topic_of(f), other = { .id = 5, .head = 3 };

	undo_touch(f->engine, topic);
	undo_touch(f->engine, &other);
	undo_note(f->engine, UNDO_CONFIG, topic);
	undo_forget_topic(f->engine, topic);
	other.head = 9;
	topic->config.ttl_ms = 7;
	undo_group(f->engine, ERR_STORAGE_FAILED);
	assert_int_equal(other.head, 3);
	assert_int_equal(topic->config.ttl_ms, 7);
}

/* A topic whose closing could not be written is idle as before: it is closed later, and a checkpoint in between does not call it closed. */
static void topic_that_was_closed_by_a_group_that_failed_is_open_again(void **state)
{
	struct engine_fixture *f = *state;
	struct topic *topic = topic_of(f);

	assert_true(topic->open);
	undo_touch(f->engine, topic);
	topic_closed(f->engine, topic);
	undo_group(f->engine, ERR_STORAGE_FAILED);
	assert_true(topic->open);
	assert_ptr_equal(f->engine->open_first, topic);
	assert_ptr_equal(f->engine->open_last, topic);
	assert_null(topic->open_next);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(numbers_of_a_topic_go_back_to_where_the_group_found_them),
		TEST(what_a_written_group_changed_stays),
		TEST(configuration_changed_twice_goes_back_to_the_first),
		TEST(deleted_topic_has_its_name_again),
		TEST(key_goes_back_to_what_stood_under_it),
		TEST(topic_that_goes_by_itself_takes_its_notes_along),
		TEST(topic_that_was_closed_by_a_group_that_failed_is_open_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
