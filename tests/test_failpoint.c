#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>

#include "common/failpoint.h"
#include "tests/child.h"

/* Passes a place some times; leaves with 0 if it lives on. */
struct passing { const char *spec, *name; unsigned times; };

static int pass(void *context)
{
	const struct passing *passing = context;

	failpoint_setup(passing->spec);
	for (unsigned i = 0; i < passing->times; i++)
		failpoint_hit(passing->name);
	return 0;
}

static int ends(const char *spec, const char *name, unsigned times)
{
	struct passing passing = { spec, name, times };

	return child_ran(pass, &passing);
}

#ifdef ENABLE_FAILPOINTS

static void armed_place_dies_as_it_was_told(void **state)
{
	int status = ends("after-write:kill", "after-write", 1);

	(void)state;
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	status = ends("after-write:abort:1", "after-write", 1);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	status = ends("after-write:exit", "after-write", 1);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 99);
}

static void place_dies_at_the_count_and_not_before(void **state)
{
	(void)state;
	assert_int_equal(ends("a:exit:5", "a", 4), 0);
	assert_int_equal(WEXITSTATUS(ends("a:exit:5", "a", 5)), 99);
	assert_int_equal(ends("a:exit:0", "a", 9), 0);
}

static void only_the_named_places_are_armed(void **state)
{
	(void)state;
	assert_int_equal(ends("a:exit,b:exit", "c", 3), 0);
	assert_int_equal(ends("ab:exit", "a", 3), 0);
	assert_int_equal(WEXITSTATUS(ends("a:exit:9,b:exit", "b", 1)), 99);
	assert_int_equal(WEXITSTATUS(ends("a:exit,b:exit:9", "a", 1)), 99);
}

static void spec_that_says_nothing_arms_nothing(void **state)
{
	static const char *const specs[] = { "", ",", "a", "a:", ":exit", ",,:" };

	(void)state;
	for (unsigned i = 0; i < sizeof specs / sizeof specs[0]; i++)
		assert_int_equal(ends(specs[i], "a", 3), 0);
}

#else

static void build_without_failpoints_passes_every_place(void **state)
{
	(void)state;
	assert_int_equal(ends("a:exit", "a", 3), 0);
	assert_int_equal(ends("a:kill", "a", 3), 0);
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef ENABLE_FAILPOINTS
		cmocka_unit_test(armed_place_dies_as_it_was_told),
		cmocka_unit_test(place_dies_at_the_count_and_not_before),
		cmocka_unit_test(only_the_named_places_are_armed),
		cmocka_unit_test(spec_that_says_nothing_arms_nothing),
#else
		cmocka_unit_test(build_without_failpoints_passes_every_place),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
