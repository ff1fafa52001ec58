/* worker/gzip.c: there and back in slices of any size, damage, members, memory that is used again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/gzip.h"

enum { TEXT = 20000, ROOM = 2 * TEXT };

static uint8_t text[TEXT], packed[ROOM], unpacked[ROOM];

static void make_text(unsigned seed)
{
	for (size_t i = 0; i < TEXT; i++) {
		seed = seed * 1103515245 + 12345;
		text[i] = i % 50 < 40 ? (uint8_t)("{\"$seq\":1,\"data\":"[i % 17]) : (uint8_t)(seed >> 16);
	}
}

/* In pieces of `in` and `out` bytes; the length. */
static size_t pack(struct deflater *deflater, size_t length, size_t in, size_t out)
{
	size_t taken = 0, have = 0;
	bool ended = false;
	deflater_reset(deflater);
	while (!ended) {
		size_t slice = length - taken < in ? length - taken : in, used = 0, made = 0;
		deflater_run(deflater, text + taken, slice, &used, packed + have, ROOM - have < out ? ROOM - have : out, &made, slice == length - taken, &ended);
		taken += used;
		have += made;
		assert_true(used + made > 0 || ended);
	}
	assert_int_equal(taken, length);
	assert_true(have <= deflater_bound(deflater, length));
	return have;
}

/* What has been inflated when all is used up or something is wrong. */
static enum error unpack(struct inflater *inflater, const uint8_t *bytes, size_t length, size_t in, size_t out, size_t *have)
{
	size_t taken = 0;
	enum error error = ERR_OK;
	*have = 0;
	inflater_reset(inflater);
	while (error == ERR_OK && taken < length) {
		size_t slice = length - taken < in ? length - taken : in, used = 0, made = 0;
		/* An exact copy, so that a read past its end is seen. */
		uint8_t *copy = malloc(slice);
		memcpy(copy, bytes + taken, slice);
		error = inflater_run(inflater, copy, slice, &used, unpacked + *have, ROOM - *have < out ? ROOM - *have : out, &made);
		free(copy);
		taken += used;
		*have += made;
		assert_true(used + made > 0 || error != ERR_OK);
	}
	return error;
}

static void there_and_back_in_slices_of_any_size(void **state)
{
	static const size_t sizes[] = { 1, 7, 100, 4096, ROOM };
	struct deflater *deflater = NULL;
	struct inflater *inflater = NULL;
	size_t have;
	(void)state;
	assert_int_equal(deflater_create(&deflater), ERR_OK);
	assert_int_equal(inflater_create(&inflater), ERR_OK);
	for (unsigned a = 0; a < 5; a++) {
		for (unsigned b = 0; b < 5; b++) {
			make_text(a * 5 + b);
			size_t whole = TEXT - a * 1000 - b, length = pack(deflater, whole, sizes[a], sizes[b]);
			assert_int_equal(unpack(inflater, packed, length, sizes[b], sizes[a], &have), ERR_OK);
			assert_true(inflater_at_end(inflater));
			assert_int_equal(have, whole);
			assert_memory_equal(unpacked, text, whole);
		}
	}
	deflater_destroy(&deflater);
	inflater_destroy(&inflater);
	assert_null(deflater);
	assert_null(inflater);
}

static void every_prefix_is_incomplete_and_every_changed_byte_is_seen(void **state)
{
	struct deflater *deflater = NULL;
	struct inflater *inflater = NULL;
	size_t have;
	(void)state;
	make_text(1);
	assert_int_equal(deflater_create(&deflater), ERR_OK);
	assert_int_equal(inflater_create(&inflater), ERR_OK);
	size_t length = pack(deflater, 300, 300, ROOM);
	for (size_t n = 0; n < length; n++) {
		assert_int_equal(unpack(inflater, packed, n, ROOM, ROOM, &have), ERR_OK);
		assert_false(inflater_at_end(inflater));
	}
	for (size_t n = 0; n < length; n++) {
		/* Time, extra flags and system are no part of the content; the bits behind the last symbol are padding: nothing checks them. */
		bool unchecked = (n >= 4 && n < 10) || n == length - 9;
		packed[n] ^= 0x10;
		enum error error = unpack(inflater, packed, length, ROOM, ROOM, &have);
		if (!unchecked && error == ERR_OK && inflater_at_end(inflater))
			fail_msg("byte %zu of %zu may be changed", n, length);
		packed[n] ^= 0x10;
	}
	deflater_destroy(&deflater);
	inflater_destroy(&inflater);
}

static void members_follow_each_other_and_nothing_else_may(void **state)
{
	struct deflater *deflater = NULL;
	struct inflater *inflater = NULL;
	uint8_t two[ROOM];
	size_t have;
	(void)state;
	make_text(2);
	assert_int_equal(deflater_create(&deflater), ERR_OK);
	assert_int_equal(inflater_create(&inflater), ERR_OK);
	size_t length = pack(deflater, 100, 100, ROOM);
	memcpy(two, packed, length);
	memcpy(two + length, packed, length);
	for (size_t slice = 1; slice < 2 * length; slice++) {
		assert_int_equal(unpack(inflater, two, 2 * length, slice, ROOM, &have), ERR_OK);
		assert_true(inflater_at_end(inflater));
		assert_int_equal(have, 200);
	}
	two[2 * length] = 0;
	assert_int_equal(unpack(inflater, two, 2 * length + 1, 1, ROOM, &have), ERR_OK);
	assert_false(inflater_at_end(inflater));
	assert_int_equal(unpack(inflater, two, 2 * length + 2, ROOM, ROOM, &have), ERR_INVALID_REQUEST);
	deflater_destroy(&deflater);
	inflater_destroy(&inflater);
}

static void memory_is_used_again(void **state)
{
	struct deflater *deflater = NULL;
	struct inflater *inflater = NULL;
	size_t have, length = 0;
	(void)state;
	make_text(3);
	assert_int_equal(deflater_create(&deflater), ERR_OK);
	assert_int_equal(inflater_create(&inflater), ERR_OK);
	size_t before = 0;
	for (unsigned i = 0; i < 50; i++) {
		length = pack(deflater, TEXT, ROOM, ROOM);
		assert_int_equal(unpack(inflater, packed, length, ROOM, ROOM, &have), ERR_OK);
		size_t used = mallinfo2().uordblks;
		assert_true(i < 2 || used == before);
		before = used;
	}
	deflater_destroy(&deflater);
	inflater_destroy(&inflater);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back_in_slices_of_any_size),
		cmocka_unit_test(every_prefix_is_incomplete_and_every_changed_byte_is_seen),
		cmocka_unit_test(members_follow_each_other_and_nothing_else_may),
		cmocka_unit_test(memory_is_used_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
