#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/record.h"

/* {data "abc", meta "{}", tag "t", node "n1", one attribute}: 32 + 3 + 2 + 1 + 2 + 6 = 46, padded to 48. */
static uint32_t build(uint8_t out[64])
{
	static const uint8_t attribute[6] = {1, 0, 2, 0, 0xaa, 0xbb};

	memset(out, 0, 64);
	put_u32(out, 48);
	put_u32(out + 8, 3);
	put_u32(out + 12, 2);
	put_u32(out + 16, 1);
	put_u32(out + 20, 2);
	put_u32(out + 24, sizeof attribute);
	put_u32(out + 28, RECORD_HAS_TAG | RECORD_HAS_NODE);
	memcpy(out + 32, "abc{}tn1", 8);
	memcpy(out + 40, attribute, sizeof attribute);
	put_u32(out + 4, record_crc(out, 48));
	return 48;
}

static void parts_lead_to_the_bytes_in_their_order(void **state)
{
	uint8_t bytes[64];
	struct record record;

	(void)state;
	assert_int_equal(record_size(3, 2, 1, 2, 6), build(bytes));
	assert_int_equal(record_parse(&record, bytes, 48), ERR_OK);
	assert_int_equal(record.length, 48);
	assert_memory_equal(record.data, "abc", 3);
	assert_memory_equal(record.meta, "{}", 2);
	assert_memory_equal(record.tag, "t", 1);
	assert_memory_equal(record.node, "n1", 2);
	assert_int_equal(record.attributes[4], 0xaa);
	assert_true(record_crc_valid(bytes, 48));
}

static void every_flipped_bit_is_seen_by_the_parser_or_the_crc(void **state)
{
	uint8_t bytes[64];
	struct record record;

	(void)state;
	build(bytes);
	for (unsigned bit = 0; bit < 48 * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(record_parse(&record, bytes, 48) == ERR_OK && record_crc_valid(bytes, record.length));
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void record_cut_anywhere_is_refused(void **state)
{
	uint8_t bytes[64];
	struct record record;

	(void)state;
	build(bytes);
	for (uint64_t available = 0; available < 48; available++)
		assert_int_equal(record_parse(&record, bytes, available), ERR_CORRUPT);
}

static void refused(unsigned offset, uint32_t value)
{
	uint8_t bytes[64];
	struct record record;

	build(bytes);
	put_u32(bytes + offset, value);
	assert_int_equal(record_parse(&record, bytes, 64), ERR_CORRUPT);
}

static void each_condition_refuses_what_breaks_it(void **state)
{
	uint8_t bytes[64];
	struct record record;

	(void)state;
	refused(0, 40);                                    /* shorter than its parts */
	refused(0, 56);                                    /* longer */
	refused(8, 0);                                     /* no data */
	refused(8, 0xffffffff);                            /* a sum that a u32 would wrap */
	refused(28, RECORD_HAS_NODE | RECORD_BATCH_NODE | RECORD_HAS_TAG);
	refused(28, RECORD_HAS_NODE);                      /* a tag's length without a tag */
	refused(28, RECORD_HAS_TAG);                       /* a node's length without a node */
	refused(28, RECORD_HAS_TAG | RECORD_HAS_NODE | 8); /* a flag that is not defined */
	build(bytes);
	bytes[46] = 1; /* padding */
	assert_int_equal(record_parse(&record, bytes, 64), ERR_CORRUPT);
	build(bytes);
	bytes[42] = 3; /* an attribute longer than its area */
	assert_int_equal(record_parse(&record, bytes, 64), ERR_CORRUPT);
	build(bytes);
	bytes[42] = 0; /* an attribute that leaves two bytes behind */
	assert_int_equal(record_parse(&record, bytes, 64), ERR_CORRUPT);
}

static void table_of_offsets_begins_past_64_records(void **state)
{
	(void)state;
	assert_int_equal(record_table_size(0), 0);
	assert_int_equal(record_table_size(1), 0);
	assert_int_equal(record_table_size(64), 0);
	assert_int_equal(record_table_size(65), 8);
	assert_int_equal(record_table_size(128), 8);
	assert_int_equal(record_table_size(192), 8);
	assert_int_equal(record_table_size(193), 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_lead_to_the_bytes_in_their_order),
		cmocka_unit_test(every_flipped_bit_is_seen_by_the_parser_or_the_crc),
		cmocka_unit_test(record_cut_anywhere_is_refused),
		cmocka_unit_test(each_condition_refuses_what_breaks_it),
		cmocka_unit_test(table_of_offsets_begins_past_64_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
