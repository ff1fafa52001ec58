#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>

#include "common/wake.h"
#include "tests/child.h"

enum { TURNS = 20000 };

static void only_a_sleeper_is_woken(void **state)
{
	_Atomic uint32_t flag = 0;

	(void)state;
	assert_false(wake_needed(&flag));
	wake_prepare_sleep(&flag);
	assert_true(wake_needed(&flag));
	wake_end_sleep(&flag);
	assert_false(wake_needed(&flag));
}

static void wake_ups_add_up_and_a_full_counter_does_not_block(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	uint64_t count = UINT64_MAX - 1;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		wake_write(fd);
	assert_int_equal(read(fd, &count, sizeof count), sizeof count);
	assert_int_equal(count, 3);
	count = UINT64_MAX - 1;
	assert_int_equal(write(fd, &count, sizeof count), sizeof count);
	wake_write(fd);
	assert_int_equal(read(fd, &count, sizeof count), sizeof count);
	assert_int_equal(count, UINT64_MAX - 1);
	close(fd);
}

/* Two threads hand a number to and fro; each sleeps only after it has said so and looked once more. A lost wake-up ends in a deadline. */
struct seat {
	_Atomic uint32_t sleeping;
	_Atomic uint64_t inbox;
	int event_fd;
};

struct player {
	struct seat *own, *other;
	uint64_t first;
	unsigned slept;
	bool lost;
};

static bool await(struct player *player, uint64_t wanted)
{
	struct seat *own = player->own;

	while (atomic_load_explicit(&own->inbox, memory_order_acquire) != wanted) {
		uint64_t count;
		bool there;
		wake_prepare_sleep(&own->sleeping);
		there = atomic_load_explicit(&own->inbox, memory_order_acquire) == wanted;
		if (!there && !gets_readable(own->event_fd))
			return false;
		wake_end_sleep(&own->sleeping);
		player->slept += !there;
		if (!there && read(own->event_fd, &count, sizeof count) < 0)
			return false;
	}
	return true;
}

static void *play(void *argument)
{
	struct player *player = argument;

	for (uint64_t turn = player->first; turn < TURNS && !player->lost; turn += 2) {
		player->lost = turn > 0 && !await(player, turn);
		atomic_store_explicit(&player->other->inbox, turn + 1, memory_order_release);
		if (wake_needed(&player->other->sleeping))
			wake_write(player->other->event_fd);
	}
	return NULL;
}

static void no_wake_up_is_lost_between_two_threads(void **state)
{
	struct seat seats[2] = { { .event_fd = eventfd(0, EFD_CLOEXEC) }, { .event_fd = eventfd(0, EFD_CLOEXEC) } };
	struct player players[2] = { { &seats[0], &seats[1], 0, 0, false }, { &seats[1], &seats[0], 1, 0, false } };
	pthread_t threads[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, play, &players[i]), 0);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		close(seats[i].event_fd);
	}
	assert_false(players[0].lost || players[1].lost);
	assert_int_equal(seats[0].inbox, TURNS);
	assert_true(players[0].slept + players[1].slept > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_sleeper_is_woken),
		cmocka_unit_test(wake_ups_add_up_and_a_full_counter_does_not_block),
		cmocka_unit_test(no_wake_up_is_lost_between_two_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
