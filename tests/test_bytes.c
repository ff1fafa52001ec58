#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "common/bytes.h"

static void values_lie_little_endian_at_any_alignment(void **state)
{
	uint8_t bytes[16];

	(void)state;
	for (unsigned at = 0; at < 8; at++) {
		put_u16(bytes + at, 0x0102);
		assert_memory_equal(bytes + at, "\x02\x01", 2);
		assert_int_equal(get_u16(bytes + at), 0x0102);
		put_u32(bytes + at, 0x01020304);
		assert_memory_equal(bytes + at, "\x04\x03\x02\x01", 4);
		assert_int_equal(get_u32(bytes + at), 0x01020304);
		put_u64(bytes + at, 0x0102030405060708);
		assert_memory_equal(bytes + at, "\x08\x07\x06\x05\x04\x03\x02\x01", 8);
		assert_int_equal(get_u64(bytes + at), 0x0102030405060708);
		put_i64(bytes + at, INT64_MIN + 1);
		assert_memory_equal(bytes + at, "\x01\0\0\0\0\0\0\x80", 8);
		assert_int_equal(get_i64(bytes + at), INT64_MIN + 1);
	}
}

static void store_touches_its_own_bytes_alone(void **state)
{
	uint8_t bytes[16] = { 0xee, 0, 0, 0, 0, 0, 0, 0, 0, 0xee };

	(void)state;
	put_u64(bytes + 1, UINT64_MAX);
	put_u32(bytes + 1, 0);
	put_u16(bytes + 1, UINT16_MAX);
	assert_memory_equal(bytes, "\xee\xff\xff\0\0\xff\xff\xff\xff\xee", 10);
}

static void lengths_are_rounded_up_to_eight(void **state)
{
	(void)state;
	for (uint64_t n = 0; n < 100; n++) {
		assert_int_equal(align8(n) % 8, 0);
		assert_true(align8(n) >= n && align8(n) < n + 8);
	}
	assert_int_equal(align8(UINT32_MAX), (uint64_t)UINT32_MAX + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_lie_little_endian_at_any_alignment),
		cmocka_unit_test(store_touches_its_own_bytes_alone),
		cmocka_unit_test(lengths_are_rounded_up_to_eight),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
