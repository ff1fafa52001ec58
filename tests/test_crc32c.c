#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/crc32c.h"

static void fill(uint8_t *bytes, size_t length, uint64_t seed)
{
	for (size_t i = 0; i < length; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		bytes[i] = (uint8_t)(seed >> 56);
	}
}

static void known_answers_of_rfc_3720_hold_in_both_forms(void **state)
{
	uint8_t zeros[32] = {0}, ones[32], rising[32], falling[32];

	(void)state;
	memset(ones, 0xff, sizeof ones);
	for (unsigned i = 0; i < 32; i++) {
		rising[i] = (uint8_t)i;
		falling[i] = (uint8_t)(31 - i);
	}
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aau);
	assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43u);
	assert_int_equal(crc32c(0, rising, 32), 0x46dd794eu);
	assert_int_equal(crc32c(0, falling, 32), 0x113fdb5cu);
	assert_int_equal(crc32c_portable(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c_portable(0, falling, 32), 0x113fdb5cu);
	assert_int_equal(crc32c(0, "", 0), 0);
}

static uint32_t bit_by_bit(const uint8_t *p, size_t length)
{
	uint32_t crc = 0xffffffffu;

	for (; length > 0; p++, length--) {
		crc ^= *p;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static void every_length_and_alignment_agrees_with_the_bitwise_definition(void **state)
{
	static uint8_t bytes[8200];

	(void)state;
	fill(bytes, sizeof bytes, 1);
	for (size_t length = 0; length < 8190; length += length < 900 ? 1 : 97)
		for (size_t at = 0; at < 9; at += 3) {
			uint32_t expected = bit_by_bit(bytes + at, length);

			assert_int_equal(crc32c(0, bytes + at, length), expected);
			assert_int_equal(crc32c_portable(0, bytes + at, length), expected);
		}
}

static void pieces_give_what_the_whole_gives(void **state)
{
	static uint8_t bytes[7000];
	uint32_t whole;

	(void)state;
	fill(bytes, sizeof bytes, 2);
	whole = crc32c(0, bytes, sizeof bytes);
	for (size_t cut = 0; cut <= sizeof bytes; cut += 113) {
		assert_int_equal(crc32c(crc32c(0, bytes, cut), bytes + cut, sizeof bytes - cut), whole);
		assert_int_equal(crc32c_portable(crc32c(0, bytes, cut), bytes + cut, sizeof bytes - cut), whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers_of_rfc_3720_hold_in_both_forms),
		cmocka_unit_test(every_length_and_alignment_agrees_with_the_bitwise_definition),
		cmocka_unit_test(pieces_give_what_the_whole_gives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
