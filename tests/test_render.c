/* worker/render.c: records as JSON, and the number that is counted up. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker/render.h"

static struct record record_of(uint32_t flags, const char *data, const char *meta, const char *tag, const char *node)
{
	return (struct record){
		.flags = flags, .data = (const uint8_t *)data, .data_length = (uint32_t)strlen(data), .meta = (const uint8_t *)meta,
		.meta_length = (uint32_t)strlen(meta), .tag = (const uint8_t *)tag, .tag_length = (uint32_t)strlen(tag), .node = (const uint8_t *)node,
		.node_length = (uint32_t)strlen(node),
	};
}

static void assert_rendered(struct render *render, uint64_t seq, const struct record *record, const char *wanted)
{
	struct buffer out = { 0 };
	assert_int_equal(render_record(render, &out, seq, record), ERR_OK);
	assert_int_equal(out.length, strlen(wanted));
	assert_memory_equal(out.bytes, wanted, out.length);
	buffer_free(&out);
}

static void data_and_meta_are_copied_byte_for_byte(void **state)
{
	struct render render = { .include_tags = true, .include_meta = true };
	struct record record = record_of(0, "{ \"a\" : 1.0e0,\t\"\\u0041\":[ ] }", "{ \"m\":1 }", "", "");
	(void)state;
	render_batch(&render, 1700000000000, NULL, 0);
	assert_rendered(&render, 0, &record,
	                "{\"$seq\":0,\"$ts\":1700000000000,\"data\":{ \"a\" : 1.0e0,\t\"\\u0041\":[ ] },\"meta\":{ \"m\":1 }}");
	render.include_meta = false;
	assert_rendered(&render, 1, &record, "{\"$seq\":1,\"$ts\":1700000000000,\"data\":{ \"a\" : 1.0e0,\t\"\\u0041\":[ ] }}");
}

static void tag_and_node_stand_where_the_flags_say(void **state)
{
	static const uint8_t batch[] = "b\"n";
	struct render render = { .include_tags = true, .include_meta = true };
	struct record both = record_of(RECORD_HAS_TAG | RECORD_HAS_NODE, "1", "", "t\\\n\x01", "own");
	struct record of_batch = record_of(RECORD_BATCH_NODE, "2", "", "", "");
	struct record empty = record_of(RECORD_HAS_TAG | RECORD_HAS_NODE, "3", "", "", ""), none = record_of(0, "4", "", "", "");
	(void)state;
	render_batch(&render, -5, batch, 3);
	assert_rendered(&render, 7, &both, "{\"$seq\":7,\"$ts\":-5,\"$tag\":\"t\\\\\\u000a\\u0001\",\"$node\":\"own\",\"data\":1}");
	assert_rendered(&render, 8, &of_batch, "{\"$seq\":8,\"$ts\":-5,\"$node\":\"b\\\"n\",\"data\":2}");
	assert_rendered(&render, 9, &empty, "{\"$seq\":9,\"$ts\":-5,\"$tag\":\"\",\"$node\":\"\",\"data\":3}");
	assert_rendered(&render, 10, &none, "{\"$seq\":10,\"$ts\":-5,\"data\":4}");
	render.include_tags = false;
	assert_rendered(&render, 11, &both, "{\"$seq\":11,\"$ts\":-5,\"$node\":\"own\",\"data\":1}");
}

/* The number is that of its record, whether it was counted up from the last one or written anew. */
static void the_number_is_right_over_carries_gaps_and_steps_back(void **state)
{
	static const uint64_t starts[] = { 0, 8, 98, 998, 9999998, 4294967294, 999999999999999998, UINT64_MAX - 2 };
	static const uint64_t jumps[] = { 5, 5, 4, 5, 7, 99, 100, 9, 10, UINT64_MAX, 3, 1 };
	struct render render = { 0 };
	struct record record = record_of(0, "0", "", "", "");
	char wanted[80];
	(void)state;
	render_batch(&render, 1, NULL, 0);
	for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
		for (uint64_t seq = starts[i]; seq - starts[i] < 3; seq++) {
			snprintf(wanted, sizeof wanted, "{\"$seq\":%" PRIu64 ",\"$ts\":1,\"data\":0}", seq);
			assert_rendered(&render, seq, &record, wanted);
		}
	}
	for (size_t i = 0; i < sizeof jumps / sizeof jumps[0]; i++) {
		snprintf(wanted, sizeof wanted, "{\"$seq\":%" PRIu64 ",\"$ts\":1,\"data\":0}", jumps[i]);
		assert_rendered(&render, jumps[i], &record, wanted);
	}
}

static void a_new_batch_changes_time_and_node_and_keeps_counting(void **state)
{
	struct render render = { 0 };
	struct record record = record_of(RECORD_BATCH_NODE, "0", "", "", "");
	(void)state;
	render_batch(&render, 1, (const uint8_t *)"x", 1);
	assert_rendered(&render, 1, &record, "{\"$seq\":1,\"$ts\":1,\"$node\":\"x\",\"data\":0}");
	render_batch(&render, INT64_MIN, (const uint8_t *)"yy", 2);
	assert_rendered(&render, 2, &record, "{\"$seq\":2,\"$ts\":-9223372036854775808,\"$node\":\"yy\",\"data\":0}");
}

static void records_are_appended_and_the_buffer_holds_the_longest_escapes(void **state)
{
	char tag[1000], wanted[6100];
	struct render render = { .include_tags = true };
	struct buffer out = { 0 };
	struct record record = record_of(RECORD_HAS_TAG, "0", "", "", "");
	(void)state;
	memset(tag, 1, sizeof tag);
	record.tag = (const uint8_t *)tag;
	record.tag_length = sizeof tag;
	size_t n = (size_t)sprintf(wanted, "{\"$seq\":18446744073709551615,\"$ts\":-9223372036854775808,\"$tag\":\"");
	for (unsigned i = 0; i < sizeof tag; i++)
		n += (size_t)sprintf(wanted + n, "\\u0001");
	n += (size_t)sprintf(wanted + n, "\",\"data\":0}");
	render_batch(&render, INT64_MIN, NULL, 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(render_record(&render, &out, UINT64_MAX, &record), ERR_OK);
		assert_int_equal(out.length, (i + 1) * n);
		assert_true(out.room >= out.length);
		assert_memory_equal(out.bytes + i * n, wanted, n);
	}
	buffer_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_and_meta_are_copied_byte_for_byte),
		cmocka_unit_test(tag_and_node_stand_where_the_flags_say),
		cmocka_unit_test(the_number_is_right_over_carries_gaps_and_steps_back),
		cmocka_unit_test(a_new_batch_changes_time_and_node_and_keeps_counting),
		cmocka_unit_test(records_are_appended_and_the_buffer_holds_the_longest_escapes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
