#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>

#include "common/counters.h"
#include "tests/shared_object.h"

enum { WORKERS = 3, PROBED = 8, RACES = 200000 };

static int setup(void **state)
{
	struct counters **all = calloc(WORKERS, sizeof *all);

	for (unsigned i = 0; i < WORKERS; i++)
		all[i] = shared_object(sizeof **all);
	*state = all;
	return 0;
}

static int teardown(void **state)
{
	struct counters **all = *state;

	for (unsigned i = 0; i < WORKERS; i++)
		munmap(all[i], sizeof **all);
	free(all);
	return 0;
}

static int64_t last_read(struct counters **all, uint64_t topic)
{
	const struct counters *const readable[WORKERS] = { all[0], all[1], all[2] };

	return counters_last_read(readable, WORKERS, topic);
}

static void topic_that_nobody_read_has_no_last_read(void **state)
{
	counters_touch(((struct counters **)*state)[0], 6, 100);
	assert_int_equal(last_read(*state, 5), 0);
}

static void newest_read_of_any_worker_counts_and_never_goes_back(void **state)
{
	struct counters **all = *state;

	counters_touch(all[0], 5, 100);
	counters_touch(all[2], 5, 300);
	counters_touch(all[1], 5, 200);
	assert_int_equal(last_read(all, 5), 300);
	counters_touch(all[2], 5, 50);
	assert_int_equal(last_read(all, 5), 300);
	counters_touch(all[0], 5, 301);
	assert_int_equal(last_read(all, 5), 301);
}

static void topics_with_one_home_have_places_side_by_side(void **state)
{
	struct counters **all = *state;

	for (uint64_t i = 0; i < PROBED; i++)
		counters_touch(all[0], 77 + i * COUNTERS_READ_CLOCKS, 1000 + (int64_t)i);
	for (uint64_t i = 0; i < PROBED; i++)
		assert_int_equal(last_read(all, 77 + i * COUNTERS_READ_CLOCKS), 1000 + (int64_t)i);
}

static void full_neighbourhood_forgets_the_topic_read_longest_ago(void **state)
{
	struct counters **all = *state;

	for (uint64_t i = 0; i < PROBED; i++)
		counters_touch(all[0], 77 + i * COUNTERS_READ_CLOCKS, i == 5 ? 10 : 1000 + (int64_t)i);
	counters_touch(all[0], 77 + PROBED * (uint64_t)COUNTERS_READ_CLOCKS, 2000);
	for (uint64_t i = 0; i <= PROBED; i++)
		assert_int_equal(last_read(all, 77 + i * COUNTERS_READ_CLOCKS), i == 5 ? 0 : i == PROBED ? 2000 : 1000 + (int64_t)i);
}

static void home_at_the_end_goes_on_at_the_beginning(void **state)
{
	struct counters **all = *state;
	const uint64_t home = COUNTERS_READ_CLOCKS - 1;

	for (uint64_t i = 0; i < PROBED; i++)
		counters_touch(all[0], home + i * COUNTERS_READ_CLOCKS, 7 + (int64_t)i);
	for (uint64_t i = 0; i < PROBED; i++)
		assert_int_equal(last_read(all, home + i * COUNTERS_READ_CLOCKS), 7 + (int64_t)i);
	assert_true(all[0]->clocks[0].topic != 0);
}

/* A place that changes hands: the time of topic n is always n's own. */
static void *change_hands(void *argument)
{
	struct counters *own = argument;

	for (int64_t i = 1; i < RACES; i++)
		counters_touch(own, (uint64_t)i * COUNTERS_READ_CLOCKS, i);
	return NULL;
}

static void reader_never_takes_the_time_of_another_topic(void **state)
{
	struct counters **all = *state;
	pthread_t writer;
	bool wrong = false;

	assert_int_equal(pthread_create(&writer, NULL, change_hands, all[0]), 0);
	for (int64_t i = 1; i < RACES; i++) {
		int64_t ts = last_read(all, (uint64_t)i * COUNTERS_READ_CLOCKS);
		wrong = wrong || (ts != 0 && ts != i);
	}
	pthread_join(writer, NULL);
	assert_false(wrong);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(topic_that_nobody_read_has_no_last_read),
		TEST(newest_read_of_any_worker_counts_and_never_goes_back),
		TEST(topics_with_one_home_have_places_side_by_side),
		TEST(full_neighbourhood_forgets_the_topic_read_longest_ago),
		TEST(home_at_the_end_goes_on_at_the_beginning),
		TEST(reader_never_takes_the_time_of_another_topic),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
