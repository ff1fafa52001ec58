/* Numbers as text, beside what printf says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "worker/text.h"

static const uint64_t numbers[] = { 0, 1, 9, 10, 11, 99, 100, 999, 1000, 12345, 999999, 1000000, 4294967295u, 4294967296u, 9999999999999999999u, UINT64_MAX };
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

static void same(const uint8_t *from, const uint8_t *to, const char *expected)
{
	assert_int_equal(to - from, strlen(expected));
	assert_memory_equal(from, expected, strlen(expected));
}

static void numbers_are_written_as_printf_writes_them(void **state)
{
	uint8_t out[64];
	char expected[64];
	(void)state;
	for (unsigned i = 0; i < NUMBERS; i++) {
		snprintf(expected, sizeof expected, "%" PRIu64, numbers[i]);
		same(out, text_u64(out, numbers[i]), expected);
		snprintf(expected, sizeof expected, "%016" PRIx64, numbers[i]);
		same(out, text_hex(out, numbers[i]), expected);
		snprintf(expected, sizeof expected, "%" PRIu64 ".%03u", numbers[i] / 1000, (unsigned)(numbers[i] % 1000));
		same(out, text_ms(out, numbers[i]), expected);
	}
}

static void counting_up_is_the_next_number(void **state)
{
	uint8_t digits[TEXT_U64_MAX];
	char expected[64];
	(void)state;
	for (unsigned i = 0; i + 1 < NUMBERS; i++) {
		size_t length = (size_t)(text_u64(digits, numbers[i]) - digits);
		for (uint64_t n = numbers[i] + 1; n <= numbers[i] + 120 && n > numbers[i]; n++) {
			length = text_count_up(digits, length);
			snprintf(expected, sizeof expected, "%" PRIu64, n);
			same(digits, digits + length, expected);
		}
	}
}

static void words_and_bytes_are_copied_without_an_end(void **state)
{
	uint8_t out[16] = "################";
	(void)state;
	uint8_t *end = text_bytes(text_word(out, "ab"), "c\0d", 3);
	assert_int_equal(end - out, 5);
	assert_memory_equal(out, "abc\0d#", 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_written_as_printf_writes_them),
		cmocka_unit_test(counting_up_is_the_next_number),
		cmocka_unit_test(words_and_bytes_are_copied_without_an_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
