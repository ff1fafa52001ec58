/* The filter over the keys of sealed files: it never misses a key, seldom names a file for nothing, and lets go what is over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "logd/key_filter.h"

enum { FILES_MAX = 512 };

static int setup(void **state)
{
	return sodium_init() < 0 || key_filter_create((struct key_filter **)state) != ERR_OK ? -1 : 0;
}

static int teardown(void **state)
{
	key_filter_destroy((struct key_filter **)state);
	return 0;
}

/* Hashes as BLAKE2b gives them: a number's. */
static void hash_of(uint8_t hash[KEY_FILTER_HASH], uint64_t number)
{
	crypto_generichash(hash, KEY_FILTER_HASH, (const uint8_t *)&number, sizeof number, NULL, 0);
}

static void add_file(struct key_filter *filter, uint64_t id, uint64_t first, uint64_t keys, int64_t newest)
{
	const struct key_file file = { .id = id, .first_lsn = id * 1000, .keys = keys, .newest_ts = newest };
	uint8_t hash[KEY_FILTER_HASH];
	assert_int_equal(key_filter_file(filter, &file), ERR_OK);
	for (uint64_t i = 0; i < keys; i++) {
		hash_of(hash, first + i);
		key_filter_add(filter, hash);
	}
}

static bool names(const struct key_filter *filter, uint64_t key, int64_t not_before, uint64_t id)
{
	struct key_file files[FILES_MAX];
	uint8_t hash[KEY_FILTER_HASH];
	hash_of(hash, key);
	size_t n = key_filter_find(filter, hash, not_before, files, FILES_MAX);
	assert_true(n <= FILES_MAX);
	for (size_t i = 0; i < n; i++)
		if (files[i].id == id)
			return true;
	return false;
}

static void empty_filter_calls_every_key_new(void **state)
{
	uint8_t hash[KEY_FILTER_HASH] = { 1 };
	assert_int_equal(key_filter_find(*state, hash, INT64_MIN, NULL, 0), 0);
}

static void every_key_of_every_file_leads_to_its_file(void **state)
{
	struct key_filter *filter = *state;
	for (uint64_t f = 0; f < 40; f++)
		add_file(filter, f + 1, f * 20000, 20000, (int64_t)f);
	for (uint64_t f = 0; f < 40; f++)
		for (uint64_t i = 0; i < 20000; i += 7)
			assert_true(names(filter, f * 20000 + i, 0, f + 1));
	assert_int_equal(key_filter_files(filter), 40);
}

static void new_keys_are_seldom_looked_for(void **state)
{
	struct key_filter *filter = *state;
	uint8_t hash[KEY_FILTER_HASH];
	unsigned false_hits = 0;
	for (uint64_t f = 0; f < 20; f++)
		add_file(filter, f + 1, f * 50000, 50000, (int64_t)f);
	for (uint64_t i = 0; i < 100000; i++) {
		hash_of(hash, ((uint64_t)1 << 40) + i);
		false_hits += key_filter_find(filter, hash, 0, NULL, 0) > 0;
	}
	/* Ten bits a key in blocks: below 2 % a full slice, and the slices double, so the small ones add little. */
	assert_true(false_hits < 10000);
	assert_true(key_filter_bytes(filter) < 20 * 50000 * 3);
}

static void files_come_newest_first_and_old_ones_not_at_all(void **state)
{
	struct key_filter *filter = *state;
	struct key_file files[FILES_MAX];
	uint8_t hash[KEY_FILTER_HASH];
	hash_of(hash, 5);
	for (uint64_t f = 0; f < 10; f++)
		add_file(filter, f + 1, 0, 10, 100 + (int64_t)f);
	assert_int_equal(key_filter_find(filter, hash, 0, files, FILES_MAX), 10);
	for (size_t i = 0; i < 10; i++)
		assert_int_equal(files[i].id, 10 - i);
	assert_int_equal(files[0].first_lsn, 10000);
	assert_int_equal(key_filter_find(filter, hash, 107, files, FILES_MAX), 3);
	assert_int_equal(files[2].id, 8);
	/* More than there is room for is counted, not written. */
	assert_int_equal(key_filter_find(filter, hash, 0, files, 2), 10);
}

static void file_that_goes_while_its_keys_come_is_not_filled_further(void **state)
{
	struct key_filter *filter = *state;
	uint8_t hash[KEY_FILTER_HASH];
	const struct key_file going = { .id = 2, .keys = 10, .newest_ts = 5 };

	assert_int_equal(key_filter_file(filter, &going), ERR_OK);
	hash_of(hash, 1);
	key_filter_add(filter, hash);
	key_filter_expire(filter, 6);
	assert_int_equal(key_filter_files(filter), 0);
	key_filter_add(filter, hash);
	key_filter_fill(filter);
	add_file(filter, 3, 100, 10, 7);
	assert_true(names(filter, 105, 0, 3));
}

static void file_of_unknown_keys_may_hold_any(void **state)
{
	struct key_filter *filter = *state;
	const struct key_file file = { .id = 9, .keys = 1, .newest_ts = 5 };

	assert_int_equal(key_filter_file(filter, &file), ERR_OK);
	key_filter_fill(filter);
	for (uint64_t i = 0; i < 100; i++)
		assert_true(names(filter, i, 0, 9));
}

static void forgotten_and_expired_files_are_not_named_and_cost_nothing(void **state)
{
	struct key_filter *filter = *state;
	size_t empty = key_filter_bytes(filter);
	for (uint64_t f = 0; f < 8; f++)
		add_file(filter, f + 1, f * 100000, 100000, (int64_t)f);
	key_filter_forget(filter, 3);
	assert_false(names(filter, 250000, 0, 3));
	assert_true(names(filter, 150000, 0, 2));
	size_t before = key_filter_bytes(filter);
	key_filter_expire(filter, 6);
	assert_int_equal(key_filter_files(filter), 2);
	assert_true(key_filter_bytes(filter) < before);
	assert_true(names(filter, 799999, 0, 8));
	key_filter_expire(filter, 100);
	assert_int_equal(key_filter_files(filter), 0);
	assert_int_equal(key_filter_bytes(filter), empty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(empty_filter_calls_every_key_new, setup, teardown),
		cmocka_unit_test_setup_teardown(every_key_of_every_file_leads_to_its_file, setup, teardown),
		cmocka_unit_test_setup_teardown(new_keys_are_seldom_looked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(files_come_newest_first_and_old_ones_not_at_all, setup, teardown),
		cmocka_unit_test_setup_teardown(file_that_goes_while_its_keys_come_is_not_filled_further, setup, teardown),
		cmocka_unit_test_setup_teardown(file_of_unknown_keys_may_hold_any, setup, teardown),
		cmocka_unit_test_setup_teardown(forgotten_and_expired_files_are_not_named_and_cost_nothing, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
