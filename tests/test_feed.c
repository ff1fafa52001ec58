#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/counters.h"
#include "common/feed.h"
#include "tests/shared_object.h"

static int set_up(void **state)
{
	*state = shared_object(sizeof(struct feed_shared));
	return 0;
}

static int tear_down(void **state)
{
	munmap(*state, sizeof(struct feed_shared));
	return 0;
}

static void put(struct feed_shared *feed, uint64_t topic)
{
	struct feed_entry entry = { .topic = topic, .value = topic * 2, .event = FEED_FLOOR, .slot = (uint32_t)topic + 1 };

	feed_put(feed, &entry);
}

static void next_is(const struct feed_shared *feed, uint64_t *position, uint64_t topic)
{
	struct feed_entry entry;

	assert_int_equal(feed_read(feed, position, &entry), ERR_OK);
	assert_int_equal(entry.topic, topic);
	assert_int_equal(entry.value, topic * 2);
	assert_int_equal(entry.event, FEED_FLOOR);
	assert_int_equal(entry.slot, topic + 1);
	assert_int_equal(entry.number + 1, *position);
}

static void entries_come_in_order_once_they_are_published(void **state)
{
	struct feed_shared *feed = *state;
	struct feed_entry entry;
	uint64_t position = 0, other = 0;

	put(feed, 5);
	put(feed, 6);
	assert_int_equal(feed_read(feed, &position, &entry), ERR_AGAIN);
	feed_publish(feed);
	next_is(feed, &position, 5);
	next_is(feed, &position, 6);
	assert_int_equal(feed_read(feed, &position, &entry), ERR_AGAIN);
	next_is(feed, &other, 5);
}

static void reader_a_whole_ring_behind_reads_and_one_more_is_overrun(void **state)
{
	struct feed_shared *feed = *state;
	struct feed_entry entry;
	uint64_t position = 0;

	for (uint64_t i = 0; i < FEED_SLOTS; i++)
		put(feed, i);
	feed_publish(feed);
	next_is(feed, &position, 0);
	position = 0;
	/* Not published yet, but it has taken the slot of the oldest. */
	put(feed, 1);
	assert_int_equal(feed_read(feed, &position, &entry), ERR_RANGE);
	assert_int_equal(position, FEED_SLOTS);
	position = 1;
	next_is(feed, &position, 1);
	position = 0;
	feed_publish(feed);
	assert_int_equal(feed_read(feed, &position, &entry), ERR_RANGE);
	assert_int_equal(position, FEED_SLOTS + 1);
	assert_int_equal(feed_read(feed, &position, &entry), ERR_AGAIN);
}

static void everybody_is_overrun_by_a_new_logd(void **state)
{
	struct feed_shared *feed = *state;
	struct feed_entry entry;
	uint64_t at_end = 0, behind = 0, ahead = 1u << 30;

	put(feed, 1);
	put(feed, 2);
	feed_publish(feed);
	next_is(feed, &at_end, 1);
	next_is(feed, &at_end, 2);
	put(feed, 3);
	feed_overrun_all(feed);
	assert_int_equal(feed_read(feed, &at_end, &entry), ERR_RANGE);
	assert_int_equal(feed_read(feed, &behind, &entry), ERR_RANGE);
	assert_int_equal(feed_read(feed, &ahead, &entry), ERR_RANGE);
	put(feed, 4);
	feed_publish(feed);
	next_is(feed, &at_end, 4);
	next_is(feed, &behind, 4);
	next_is(feed, &ahead, 4);
}

static void newest_read_over_all_workers_counts(void **state)
{
	struct counters *all[2] = { shared_object(sizeof *all[0]), shared_object(sizeof *all[1]) };
	const struct counters *const *view = (const struct counters *const *)all;

	(void)state;
	assert_int_equal(counters_last_read(view, 2, 9), 0);
	counters_touch(all[0], 9, 100);
	counters_touch(all[1], 9, 300);
	counters_touch(all[1], 9, 200);
	counters_touch(all[0], 9 + (uint64_t)COUNTERS_READ_CLOCKS, 900);
	assert_int_equal(counters_last_read(view, 2, 9), 300);
	assert_int_equal(counters_last_read(view, 1, 9), 100);
	assert_int_equal(counters_last_read(view, 2, 9 + (uint64_t)COUNTERS_READ_CLOCKS), 900);
	munmap(all[0], sizeof *all[0]);
	munmap(all[1], sizeof *all[1]);
}

static void full_neighbourhood_forgets_the_oldest_read(void **state)
{
	struct counters *own = shared_object(sizeof *own);
	const struct counters *view = own;

	(void)state;
	for (uint64_t i = 0; i < 9; i++)
		counters_touch(own, 1 + i * (uint64_t)COUNTERS_READ_CLOCKS, i == 3 ? 1 : 10 + (int64_t)i);
	for (uint64_t i = 0; i < 9; i++)
		assert_int_equal(counters_last_read(&view, 1, 1 + i * (uint64_t)COUNTERS_READ_CLOCKS), i == 3 ? 0 : 10 + (int64_t)i);
	munmap(own, sizeof *own);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(entries_come_in_order_once_they_are_published),
		CASE(reader_a_whole_ring_behind_reads_and_one_more_is_overrun),
		CASE(everybody_is_overrun_by_a_new_logd),
		cmocka_unit_test(newest_read_over_all_workers_counts),
		cmocka_unit_test(full_neighbourhood_forgets_the_oldest_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
