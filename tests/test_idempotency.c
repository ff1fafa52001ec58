#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "logd/idempotency.h"

static int setup(void **state)
{
	struct keys *keys;

	if (keys_create(&keys) != ERR_OK)
		return 1;
	*state = keys;
	return 0;
}

static int teardown(void **state)
{
	struct keys *keys = *state;

	keys_destroy(&keys);
	return keys != NULL;
}

static struct key_entry entry_of(uint64_t topic, unsigned number)
{
	struct key_entry entry = { .topic = topic, .first_seq = number + 1, .count = number % 7 + 1, .ts = (int64_t)number * 10, .lsn = number * 512 };
	char text[32];

	keys_hash(entry.hash, topic, text, (uint32_t)snprintf(text, sizeof text, "key %u", number));
	return entry;
}

static void hash_is_the_same_in_every_run_and_differs_between_topics_and_keys(void **state)
{
	/* BLAKE2b-128 of "key" under the 16-byte key 0x0102030405060708, little-endian, padded with zeros: it stands in checkpoints. */
	static const uint8_t expected[KEY_HASH] = { 0x44, 0x77, 0x29, 0x60, 0xac, 0xf6, 0x0a, 0x84, 0x28, 0xee, 0xa4, 0xa3, 0x32, 0x76, 0x88, 0x9c };
	uint8_t a[KEY_HASH], b[KEY_HASH];

	(void)state;
	keys_hash(a, 0x0102030405060708, "key", 3);
	assert_memory_equal(a, expected, KEY_HASH);
	keys_hash(b, 0x0102030405060709, "key", 3);
	assert_memory_not_equal(a, b, KEY_HASH);
	keys_hash(b, 0x0102030405060708, "kez", 3);
	assert_memory_not_equal(a, b, KEY_HASH);
	keys_hash(b, 0x0102030405060708, "", 0);
	assert_memory_not_equal(a, b, KEY_HASH);
}

static void key_is_found_under_its_topic_alone(void **state)
{
	struct keys *keys = *state;
	struct key_entry entry = entry_of(5, 1), replaced = { .topic = 99 };
	const struct key_entry *found;

	assert_null(keys_find(keys, 5, entry.hash));
	assert_int_equal(keys_put(keys, &entry, &replaced), ERR_OK);
	assert_int_equal(replaced.topic, 0);
	assert_null(keys_find(keys, 6, entry.hash));
	found = keys_find(keys, 5, entry.hash);
	assert_non_null(found);
	assert_int_equal(found->first_seq, 2);
	assert_int_equal(found->count, 2);
	assert_int_equal(found->ts, 10);
	assert_int_equal(found->lsn, 512);
	assert_int_equal(keys_count(keys), 1);
}

static void put_under_the_same_hash_replaces_and_tells_what_stood_there(void **state)
{
	struct keys *keys = *state;
	struct key_entry entry = entry_of(5, 1), replaced;

	assert_int_equal(keys_put(keys, &entry, NULL), ERR_OK);
	entry.first_seq = 77;
	assert_int_equal(keys_put(keys, &entry, &replaced), ERR_OK);
	assert_int_equal(replaced.topic, 5);
	assert_int_equal(replaced.first_seq, 2);
	assert_int_equal(keys_find(keys, 5, entry.hash)->first_seq, 77);
	assert_int_equal(keys_count(keys), 1);
}

static void all_of_many_keys_are_found_while_the_table_grows_and_none_after_their_removal(void **state)
{
	enum { MANY = 50000 };
	struct keys *keys = *state;

	for (unsigned i = 0; i < MANY; i++) {
		struct key_entry entry = entry_of(i % 3 + 1, i);
		assert_int_equal(keys_put(keys, &entry, NULL), ERR_OK);
	}
	assert_int_equal(keys_count(keys), MANY);
	for (unsigned i = 0; i < MANY; i++) {
		struct key_entry entry = entry_of(i % 3 + 1, i);
		const struct key_entry *found = keys_find(keys, entry.topic, entry.hash);
		assert_non_null(found);
		assert_int_equal(found->first_seq, i + 1);
		if (i % 2 == 0)
			keys_remove(keys, entry.topic, entry.hash);
	}
	assert_int_equal(keys_count(keys), MANY / 2);
	for (unsigned i = 0; i < MANY; i++) {
		struct key_entry entry = entry_of(i % 3 + 1, i);
		assert_int_equal(keys_find(keys, entry.topic, entry.hash) != NULL, i % 2);
	}
	keys_remove(keys, 1, entry_of(1, 0).hash); /* what is not there */
	assert_int_equal(keys_count(keys), MANY / 2);
}

static int is_old(void *context, const struct key_entry *entry)
{
	return entry->ts < *(const int64_t *)context;
}

static void sweeps_go_on_where_the_last_one_stopped_and_remove_what_has_expired(void **state)
{
	struct keys *keys = *state;
	int64_t limit = 5000;

	for (unsigned i = 0; i < 1000; i++) {
		struct key_entry entry = entry_of(1, i);
		assert_int_equal(keys_put(keys, &entry, NULL), ERR_OK);
	}
	keys_sweep(keys, 1, is_old, &limit);
	assert_in_range(keys_count(keys), 980, 1000);
	for (unsigned i = 0; i < 100; i++)
		keys_sweep(keys, 64, is_old, &limit);
	assert_int_equal(keys_count(keys), 500);
	assert_null(keys_find(keys, 1, entry_of(1, 499).hash));
	assert_non_null(keys_find(keys, 1, entry_of(1, 500).hash));
}

struct walk { unsigned count, stop_at; };

static enum error visit(void *context, const struct key_entry *entry)
{
	struct walk *walk = context;

	(void)entry;
	return ++walk->count == walk->stop_at ? ERR_IO : ERR_OK;
}

static void walk_visits_each_key_once_and_stops_at_an_error(void **state)
{
	struct keys *keys = *state;
	struct walk walk = { 0 };

	for (unsigned i = 0; i < 100; i++) {
		struct key_entry entry = entry_of(1, i);
		assert_int_equal(keys_put(keys, &entry, NULL), ERR_OK);
	}
	assert_int_equal(keys_each(keys, visit, &walk), ERR_OK);
	assert_int_equal(walk.count, 100);
	walk = (struct walk){ .stop_at = 7 };
	assert_int_equal(keys_each(keys, visit, &walk), ERR_IO);
	assert_int_equal(walk.count, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(hash_is_the_same_in_every_run_and_differs_between_topics_and_keys),
		TEST(key_is_found_under_its_topic_alone),
		TEST(put_under_the_same_hash_replaces_and_tells_what_stood_there),
		TEST(all_of_many_keys_are_found_while_the_table_grows_and_none_after_their_removal),
		TEST(sweeps_go_on_where_the_last_one_stopped_and_remove_what_has_expired),
		TEST(walk_visits_each_key_once_and_stops_at_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
