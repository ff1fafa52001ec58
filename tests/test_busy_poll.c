/* When a process looks again, and when it sleeps. Time is a number here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/busy_poll.h"

enum { WINDOW = 100 };

/* Rounds without work until it wants to sleep; the clock moves on by 10 in each. Then it sleeps for a window. */
static unsigned looks(struct busy_poll *poll, uint64_t *now)
{
	unsigned n = 0;
	for (; busy_poll_again(poll, *now); n++)
		*now += 10;
	busy_poll_slept(poll, *now, *now + WINDOW);
	*now += WINDOW;
	return n;
}

static void a_process_that_has_had_no_work_sleeps_at_once(void **state)
{
	struct busy_poll poll = { .window_us = WINDOW };
	uint64_t now = 1;
	(void)state;
	assert_int_equal(looks(&poll, &now), 0);
	busy_poll_slept(&poll, now, now + WINDOW);
	assert_int_equal(looks(&poll, &now), 0);
}

static void a_short_sleep_makes_it_look_for_a_window(void **state)
{
	struct busy_poll poll = { .window_us = WINDOW };
	uint64_t now = 1;
	(void)state;
	busy_poll_slept(&poll, now, now + WINDOW - 1);
	assert_int_equal(looks(&poll, &now), WINDOW / 10);
}

static void windows_in_vain_use_the_credit_up(void **state)
{
	struct busy_poll poll = { .window_us = WINDOW };
	uint64_t now = 1;
	(void)state;
	busy_poll_slept(&poll, now, now + 1);
	for (unsigned i = 0; i < BUSY_POLL_CREDIT; i++)
		assert_int_equal(looks(&poll, &now), WINDOW / 10);
	assert_int_equal(looks(&poll, &now), 0);
}

static void work_found_while_looking_renews_the_credit(void **state)
{
	struct busy_poll poll = { .window_us = WINDOW };
	uint64_t now = 1;
	(void)state;
	busy_poll_slept(&poll, now, now + 1);
	for (unsigned i = 0; i + 1 < BUSY_POLL_CREDIT; i++)
		looks(&poll, &now);
	assert_true(busy_poll_again(&poll, now));
	busy_poll_worked(&poll);
	for (unsigned i = 0; i < BUSY_POLL_CREDIT; i++)
		assert_int_equal(looks(&poll, &now), WINDOW / 10);
	assert_int_equal(looks(&poll, &now), 0);
}

static void a_sleep_behind_a_window_in_vain_is_no_short_one(void **state)
{
	struct busy_poll poll = { .window_us = WINDOW };
	uint64_t now = 1;
	(void)state;
	busy_poll_slept(&poll, now, now + 1);
	for (unsigned i = 0; i < BUSY_POLL_CREDIT; i++) {
		while (busy_poll_again(&poll, now))
			now += 10;
		busy_poll_slept(&poll, now, now + 1); /* the work came after WINDOW + 1 */
	}
	assert_int_equal(looks(&poll, &now), 0);
}

static void a_window_of_zero_never_looks(void **state)
{
	struct busy_poll poll = { .window_us = 0 };
	uint64_t now = 1;
	(void)state;
	busy_poll_slept(&poll, now, now);
	assert_int_equal(looks(&poll, &now), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_that_has_had_no_work_sleeps_at_once),
		cmocka_unit_test(a_short_sleep_makes_it_look_for_a_window),
		cmocka_unit_test(windows_in_vain_use_the_credit_up),
		cmocka_unit_test(work_found_while_looking_renews_the_credit),
		cmocka_unit_test(a_sleep_behind_a_window_in_vain_is_no_short_one),
		cmocka_unit_test(a_window_of_zero_never_looks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
