#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/bytes.h"
#include "common/topic_config.h"

static struct topic_config unusual(void)
{
	struct topic_config config = {
		.type = TOPIC_QUEUE, .durability = DURABILITY_FSYNC, .discard = DISCARD_REJECT, .has_priority = true,
		    .leases_durable = true,
		.priority = -7, .ttl_ms = 1, .cap_records = 2, .cap_bytes = 3, .idempotency_window_ms = 4, .lease_ms = 5,
		    .claim_jitter_ms = 6,
		.max_deliveries = UINT64_MAX, .dead_letter_length = 9, .dead_letter = "dead:jobs",
	};

	return config;
}

static void default_is_what_the_contract_says(void **state)
{
	struct topic_config config;

	(void)state;
	topic_config_default(&config);
	assert_int_equal(config.type, TOPIC_LOG);
	assert_int_equal(config.durability, DURABILITY_DISK);
	assert_int_equal(config.discard, DISCARD_OLD);
	assert_false(config.has_priority);
	assert_true(config.auto_priority && config.auto_create && config.dedupe_node);
	assert_false(config.leases_durable);
	assert_int_equal(config.ttl_ms | config.cap_records | config.cap_bytes | config.claim_jitter_ms | config.max_deliveries, 0);
	assert_int_equal(config.idempotency_window_ms, 120000);
	assert_int_equal(config.lease_ms, 30000);
	assert_int_equal(config.dead_letter_length, 0);
}

static void encoded_configuration_decodes_to_the_same(void **state)
{
	struct topic_config in[2] = { unusual() }, out;
	uint8_t bytes[TOPIC_CONFIG_MAX];

	(void)state;
	topic_config_default(&in[1]);
	for (int i = 0; i < 2; i++) {
		size_t length = topic_config_encode(&in[i], bytes);
		assert_int_equal(length, i == 0 ? 72 + 16 : 72);
		memset(&out, 0xaa, sizeof out);
		assert_int_equal(topic_config_decode(&out, bytes, length), ERR_OK);
		assert_true(topic_config_equal(&in[i], &out));
	}
}

static void fields_stand_at_the_offsets_of_the_format(void **state)
{
	struct topic_config config = unusual();
	uint8_t bytes[TOPIC_CONFIG_MAX];

	(void)state;
	topic_config_encode(&config, bytes);
	assert_int_equal(get_u32(bytes), 0x01030101);
	assert_int_equal(get_u32(bytes + 4), 1 | 16 | 32);
	assert_int_equal((int32_t)get_u32(bytes + 8), -7);
	assert_int_equal(get_u32(bytes + 12), 9);
	for (uint64_t i = 0; i < 6; i++)
		assert_int_equal(get_u64(bytes + 16 + 8 * i), i + 1);
	assert_memory_equal(bytes + 72, "dead:jobs\0\0\0\0\0\0\0", 16);
}

static void every_wrong_value_is_refused(void **state)
{
	/* offset, value of that byte */
	static const uint8_t wrong[][2] = {
		{ 0, 0 }, { 0, 2 }, { 1, 2 }, { 2, 4 }, { 3, 2 }, { 4, 0x71 }, { 5, 1 }, { 7, 0x80 }, { 4, 0x10 },
		    /* no priority flag, but a value */
		{ 12, 10 }, { 12, 8 }, { 12, 0 }, { 13, 1 }, { 15, 0xff }, { 72, '.' }, { 74, '/' }, { 80, 0 }, { 81, 'x' }, { 87, 1 },
	};
	struct topic_config config = unusual();
	uint8_t good[TOPIC_CONFIG_MAX], bytes[TOPIC_CONFIG_MAX];
	size_t length = topic_config_encode(&config, good);

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		memcpy(bytes, good, length);
		bytes[wrong[i][0]] = wrong[i][1];
		if (topic_config_decode(&config, bytes, length) != ERR_CORRUPT)
			fail_msg("byte %u = %u was taken", wrong[i][0], wrong[i][1]);
	}
}

static void every_wrong_length_is_refused(void **state)
{
	struct topic_config config = unusual();
	uint8_t bytes[TOPIC_CONFIG_MAX + 8] = { 0 };
	size_t length = topic_config_encode(&config, bytes);

	(void)state;
	for (size_t n = 0; n <= sizeof bytes; n++)
		assert_int_equal(topic_config_decode(&config, bytes, n), n == length ? ERR_OK : ERR_CORRUPT);
}

static void merge_changes_the_fields_of_the_mask_and_no_other(void **state)
{
	struct topic_config all = unusual(), change = unusual(), base;

	(void)state;
	topic_config_default(&base);
	all = base;
	topic_config_merge(&all, &change, 0);
	assert_true(topic_config_equal(&all, &base));
	for (unsigned bit = 0; bit < 16; bit++) {
		struct topic_config one = base, back;
		topic_config_merge(&one, &change, 1u << bit);
		assert_false(topic_config_equal(&one, &base));
		back = one;
		topic_config_merge(&back, &base, 1u << bit);
		assert_true(topic_config_equal(&back, &base));
		topic_config_merge(&all, &change, 1u << bit);
	}
	assert_true(topic_config_equal(&all, &change));
	topic_config_merge(&all, &base, CONFIG_PRIORITY | CONFIG_DEAD_LETTER);
	assert_false(all.has_priority);
	assert_int_equal(all.dead_letter_length, 0);
}

static void names_follow_the_contract(void **state)
{
	char longest[TOPIC_NAME_MAX + 1];

	(void)state;
	memset(longest, 'a', sizeof longest);
	assert_true(topic_name_valid("a", 1));
	assert_true(topic_name_valid("0.:_-Z", 6));
	assert_true(topic_name_valid(longest, TOPIC_NAME_MAX));
	assert_false(topic_name_valid(longest, TOPIC_NAME_MAX + 1));
	assert_false(topic_name_valid("", 0));
	for (int c = 0; c < 256; c++) {
		char name[2] = { 'x', (char)c }, first[1] = { (char)c };
		int alphanumeric = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		int inner = alphanumeric || c == '.' || c == '_' || c == ':' || c == '-';
		assert_int_equal(topic_name_valid(first, 1), alphanumeric);
		assert_int_equal(topic_name_valid(name, 2), inner);
		assert_int_equal(router_name_valid(first, 1), alphanumeric);
		assert_int_equal(router_name_valid(name, 2), inner || c == '>');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_is_what_the_contract_says),
		cmocka_unit_test(encoded_configuration_decodes_to_the_same),
		cmocka_unit_test(fields_stand_at_the_offsets_of_the_format),
		cmocka_unit_test(every_wrong_value_is_refused),
		cmocka_unit_test(every_wrong_length_is_refused),
		cmocka_unit_test(merge_changes_the_fields_of_the_mask_and_no_other),
		cmocka_unit_test(names_follow_the_contract),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
