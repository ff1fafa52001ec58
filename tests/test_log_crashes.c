/* The log at random, ended or failing at any call: what must be true whatever happened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/log_fixture.h"

enum { SMALL_FILE = 16384 };

/* What must be true whatever happened: all that was synced is there, in order, each once, and right; *last: the last number that was seen. */
static void check(const char *what, uint64_t seed, const struct fixture *f, uint64_t proven, uint64_t appended, uint64_t *last)
{
	uint64_t expected = 0;

	for (unsigned i = 0; i < f->seen_count; i++) {
		if (!f->seen[i].number)
			continue;
		if (f->seen[i].number <= expected || f->seen[i].number > appended ||
		    (f->seen[i].number != expected + 1 && expected < proven))
			fail_msg("%s, seed %llu: frame %llu after %llu (%llu synced, %llu appended)", what, (unsigned long long)seed,
			         (unsigned long long)f->seen[i].number, (unsigned long long)expected, (unsigned long long)proven,
			         (unsigned long long)appended);
		expected = f->seen[i].number;
	}
	if (expected < proven)
		fail_msg("%s, seed %llu: ends at %llu of %llu synced", what, (unsigned long long)seed, (unsigned long long)expected,
		         (unsigned long long)proven);
	*last = expected;
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

/* Appends, writes, syncs and ends jobs at random until `steps` are done or the world stops. */
static void random_run(struct fixture *f, uint64_t seed, unsigned steps, uint64_t *written, uint64_t *synced)
{
	uint64_t state = seed;

	*written = *synced = f->next - 1;
	for (unsigned i = 0; i < steps && !memory_world_dead(f->world); i++) {
		uint64_t what = next_random(&state) % 10;

		if (what < 6) {
			(void)fixture_append(f, (uint32_t)(next_random(&state) % 2500), false);
		} else if (what < 8) {
			enum error error = log_write(f->log);

			if (error == ERR_OK)
				*written = f->next - 1;
			else if ((error == ERR_IO || error == ERR_STORAGE_FULL) && !memory_world_dead(f->world))
				f->next = *written + 1; /* gone, and told so; their numbers go to others */
		} else if (what < 9) {
			log_sync_start(f->log);
		} else {
			fixture_jobs(f);
		}
		for (uint64_t number = *synced + 1; number < f->next && f->places[number].lsn + f->places[number].length <= log_synced(f->log);)
			*synced = number++;
	}
}

static void killed_or_cut_anywhere_keeps_what_was_promised(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 1500; seed++) {
		struct fixture f;
		uint64_t written, synced, last, again;
		bool power = seed % 2;

		fixture_init(&f, seed, 'w', SMALL_FILE);
		memory_world_short_writes(f.world, 5);
		f.unsettled = seed % 3 == 0;
		assert_int_equal(fixture_start(&f), ERR_OK);
		memory_world_kill_at(f.world, seed % 97);
		random_run(&f, seed, 120, &written, &synced);
		if (power)
			fixture_cut(&f, seed);
		else
			fixture_die(&f);
		assert_int_equal(fixture_start(&f), ERR_OK);
		check(power ? "cut" : "kill", seed, &f, power ? synced : written, f.highest, &last);
		for (unsigned i = 0; !power && i < f.damage_count; i++)
			if (f.damage[i].kind != DAMAGE_TORN)
				fail_msg("kill, seed %llu: damage at %llu", (unsigned long long)seed, (unsigned long long)f.damage[i].from);
		/* A second end before anything is done changes nothing. */
		if (power)
			fixture_cut(&f, seed + 1);
		else
			fixture_die(&f);
		assert_int_equal(fixture_start(&f), ERR_OK);
		check("second start", seed, &f, power ? synced : written, f.highest, &again);
		if (again != last)
			fail_msg("seed %llu: %llu, then %llu", (unsigned long long)seed, (unsigned long long)last, (unsigned long long)again);
		assert_int_equal(f.damage_count, 0);
		fixture_free(&f);
	}
}

static void recovery_killed_at_any_call_and_run_again_gives_the_same(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct fixture f;
		uint64_t written, synced, whole;
		unsigned seen, damage;
		struct memory_world *image;

		fixture_init(&f, seed, 'w', SMALL_FILE);
		assert_int_equal(fixture_start(&f), ERR_OK);
		random_run(&f, seed, 80, &written, &synced);
		fixture_cut(&f, seed);
		image = memory_world_clone(f.world);
		assert_int_equal(fixture_start(&f), ERR_OK);
		check("uninterrupted", seed, &f, synced, f.highest, &whole);
		seen = f.seen_count;
		damage = f.damage_count;
		for (uint64_t nth = 0;; nth++) {
			struct fixture again = {.world = memory_world_clone(image), .options = f.options, .next = f.next, .highest = f.highest};
			uint64_t last;
			bool done;

			memory_world_kill_at(again.world, nth);
			done = fixture_start(&again) == ERR_OK && !memory_world_dead(again.world);
			if (nth % 2)
				fixture_cut(&again, nth);
			else
				fixture_die(&again);
			assert_int_equal(fixture_start(&again), ERR_OK);
			check("killed in recovery", seed * 1000 + nth, &again, synced, f.highest, &last);
			if (last != whole || again.seen_count < seen - damage)
				fail_msg("seed %llu, killed at call %llu: %llu instead of %llu", (unsigned long long)seed,
				         (unsigned long long)nth, (unsigned long long)last, (unsigned long long)whole);
			assert_true(fixture_names(&again, 'w') <= fixture_names(&f, 'w') + 1);
			fixture_free(&again);
			if (done)
				break;
		}
		fixture_free(&f);
		memory_world_destroy(&image);
	}
}

static void any_failing_call_ends_in_no_lie(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 1500; seed++) {
		static const int errors[] = {EIO, ENOSPC, EINTR, EDQUOT};
		struct fixture f;
		uint64_t written, synced, last;

		fixture_init(&f, seed, 'w', SMALL_FILE);
		assert_int_equal(fixture_start(&f), ERR_OK);
		memory_world_fail(f.world, (enum memory_op)(seed % 2 ? MEMORY_PWRITE : seed % 4 ? MEMORY_SYNC : MEMORY_ANY), seed % 31,
		                  errors[seed % 4], seed % 5 == 0);
		random_run(&f, seed, 150, &written, &synced);
		memory_world_no_faults(f.world);
		fixture_cut(&f, seed);
		assert_int_equal(fixture_start(&f), ERR_OK);
		check("failed call", seed, &f, synced, f.highest, &last);
		fixture_free(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_or_cut_anywhere_keeps_what_was_promised),
		cmocka_unit_test(recovery_killed_at_any_call_and_run_again_gives_the_same),
		cmocka_unit_test(any_failing_call_ends_in_no_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
