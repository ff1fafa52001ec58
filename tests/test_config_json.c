/* worker/config_json.c: a topic's configuration from and to JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "worker/config_json.h"

static struct topic_config config;
static uint32_t mask;
static struct json_error problem;

static enum error parse(const char *text)
{
	topic_config_default(&config);
	mask = UINT32_MAX;
	return config_json_parse(&config, &mask, (const uint8_t *)text, strlen(text), 100, 0, "jobs", 4, &problem);
}

static void an_empty_object_changes_nothing(void **state)
{
	struct topic_config untouched;
	(void)state;
	topic_config_default(&untouched);
	assert_int_equal(parse("{}"), ERR_OK);
	assert_int_equal(mask, 0);
	assert_true(topic_config_equal(&config, &untouched));
	assert_int_equal(parse("{\"unknown\":[1],\"type\":null,\"durability\":null,\"discard\":null}"), ERR_OK);
	assert_int_equal(mask, 0);
	assert_true(topic_config_equal(&config, &untouched));
}

static void the_default_is_written_with_all_fields_in_order(void **state)
{
	static const char wanted[] =
	    "{\"type\":\"log\",\"durability\":\"disk\",\"durable\":false,\"ttl_ms\":0,\"cap_records\":0,\"cap_bytes\":0,"
	    "\"discard\":\"old\",\"priority\":null,"
	    "\"auto_priority\":true,\"auto_create\":true,\"idempotency_window_ms\":120000,\"dedupe_node\":true,"
	    "\"lease_ms\":30000,\"claim_jitter_ms\":0,"
	    "\"max_deliveries\":0,\"dead_letter\":null,\"leases_durable\":false}";
	uint8_t out[CONFIG_JSON_MAX];
	(void)state;
	topic_config_default(&config);
	assert_int_equal(config_json_render(out, &config), sizeof wanted - 1);
	assert_memory_equal(out, wanted, sizeof wanted - 1);
}

static void each_field_sets_its_value_and_its_bit_alone(void **state)
{
	static const struct { const char *text; uint32_t mask; const char *rendered; } cases[] = {
		{ "{\"type\":\"queue\"}", CONFIG_TYPE, "\"type\":\"queue\"" },
		{ "{\"durability\":\"ephemeral\"}", CONFIG_DURABILITY, "\"durability\":\"ephemeral\",\"durable\":false" },
		{ "{\"durability\":\"memory\"}", CONFIG_DURABILITY, "\"durability\":\"memory\",\"durable\":false" },
		{ "{\"durability\":\"fsync\"}", CONFIG_DURABILITY, "\"durability\":\"fsync\",\"durable\":true" },
		{ "{\"durable\":true}", CONFIG_DURABILITY, "\"durability\":\"fsync\"" },
		{ "{\"durable\":false}", CONFIG_DURABILITY, "\"durability\":\"disk\"" },
		{ "{\"durable\":true,\"durability\":\"memory\"}", CONFIG_DURABILITY, "\"durability\":\"memory\"" },
		{ "{\"ttl_ms\":18446744073709551615}", CONFIG_TTL_MS, "\"ttl_ms\":18446744073709551615," },
		{ "{\"cap_records\":5}", CONFIG_CAP_RECORDS, "\"cap_records\":5," },
		{ "{\"cap_bytes\":6}", CONFIG_CAP_BYTES, "\"cap_bytes\":6," },
		{ "{\"discard\":\"reject\"}", CONFIG_DISCARD, "\"discard\":\"reject\"" },
		{ "{\"priority\":-2147483648}", CONFIG_PRIORITY, "\"priority\":-2147483648," },
		{ "{\"priority\":2147483647}", CONFIG_PRIORITY, "\"priority\":2147483647," },
		{ "{\"priority\":null}", CONFIG_PRIORITY, "\"priority\":null," },
		{ "{\"auto_priority\":false}", CONFIG_AUTO_PRIORITY, "\"auto_priority\":false" },
		{ "{\"auto_create\":false}", CONFIG_AUTO_CREATE, "\"auto_create\":false" },
		{ "{\"idempotency_window_ms\":7}", CONFIG_IDEMPOTENCY_WINDOW_MS, "\"idempotency_window_ms\":7," },
		{ "{\"dedupe_node\":false}", CONFIG_DEDUPE_NODE, "\"dedupe_node\":false" },
		{ "{\"lease_ms\":99}", CONFIG_LEASE_MS, "\"lease_ms\":100," },
		{ "{\"lease_ms\":101}", CONFIG_LEASE_MS, "\"lease_ms\":101," },
		{ "{\"lease_ms\":86400001}", CONFIG_LEASE_MS, "\"lease_ms\":86400000," },
		{ "{\"claim_jitter_ms\":5000}", CONFIG_CLAIM_JITTER_MS, "\"claim_jitter_ms\":5000," },
		{ "{\"claim_jitter_ms\":5001}", CONFIG_CLAIM_JITTER_MS, "\"claim_jitter_ms\":5000," },
		{ "{\"max_deliveries\":8}", CONFIG_MAX_DELIVERIES, "\"max_deliveries\":8," },
		{ "{\"dead_letter\":\"jobs2\"}", CONFIG_DEAD_LETTER, "\"dead_letter\":\"jobs2\"" },
		{ "{\"dead_letter\":null}", CONFIG_DEAD_LETTER, "\"dead_letter\":null" },
		{ "{\"leases_durable\":true}", CONFIG_LEASES_DURABLE, "\"leases_durable\":true" },
	};
	char out[CONFIG_JSON_MAX + 1];
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (parse(cases[i].text) != ERR_OK)
			fail_msg("%s: %s", cases[i].text, problem.message);
		out[config_json_render((uint8_t *)out, &config)] = 0;
		if (mask != cases[i].mask || strstr(out, cases[i].rendered) == NULL)
			fail_msg("%s: mask %x, %s", cases[i].text, (unsigned)mask, out);
		/* Nothing but that field differs from the default. */
		struct topic_config merged;
		topic_config_default(&merged);
		topic_config_merge(&merged, &config, mask);
		assert_true(topic_config_equal(&merged, &config));
	}
}

static void what_is_written_reads_back_the_same(void **state)
{
	uint8_t out[CONFIG_JSON_MAX];
	char text[400], name[TOPIC_NAME_MAX + 1];
	(void)state;
	memset(name, 'n', TOPIC_NAME_MAX);
	name[TOPIC_NAME_MAX] = 0;
	snprintf(text, sizeof text, "{\"type\":\"queue\",\"durability\":\"fsync\",\"priority\":-3,\"lease_ms\":500,\"dead_letter\":\"%s\"}", name);
	assert_int_equal(parse(text), ERR_OK);
	struct topic_config first = config;
	size_t length = config_json_render(out, &first);
	topic_config_default(&config);
	assert_int_equal(config_json_parse(&config, &mask, out, length, 0, 0, "jobs", 4, &problem), ERR_OK);
	assert_true(topic_config_equal(&config, &first));
	assert_int_equal(mask, 0xffff);
}

static void a_wrong_value_is_refused_at_its_byte(void **state)
{
	static const char *const cases[] = {
		"{\"type\":\"Queue\"}", "{\"type\":\"\"}", "{\"type\":1}", "{\"durability\":\"durable\"}",
		"{\"durability\":\"a word far longer than its room\"}",
		"{\"durable\":1}", "{\"durable\":null}", "{\"ttl_ms\":-1}", "{\"ttl_ms\":1.0}", "{\"ttl_ms\":null}",
		"{\"cap_bytes\":18446744073709551616}",
		"{\"discard\":\"new\"}", "{\"priority\":2147483648}", "{\"priority\":-2147483649}", "{\"priority\":\"1\"}",
		"{\"auto_create\":\"true\"}",
		"{\"dead_letter\":\"\"}", "{\"dead_letter\":\"a b\"}", "{\"dead_letter\":\"jobs\"}", "{\"dead_letter\":\"j\\u006fbs\"}",
		"{\"dead_letter\":7}",
		"{\"lease_ms\":-1}",
	};
	char text[400], name[TOPIC_NAME_MAX + 2];
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (parse(cases[i]) != ERR_INVALID_REQUEST)
			fail_msg("taken: %s", cases[i]);
		assert_int_equal(problem.offset, 100 + (size_t)(strchr(cases[i], ':') + 1 - cases[i]));
	}
	memset(name, 'n', TOPIC_NAME_MAX + 1);
	name[TOPIC_NAME_MAX + 1] = 0;
	snprintf(text, sizeof text, "{\"dead_letter\":\"%s\"}", name);
	assert_int_equal(parse(text), ERR_INVALID_REQUEST);
	assert_int_equal(parse("[]"), ERR_INVALID_REQUEST);
	assert_int_equal(parse("{\"ttl_ms\":1,\"ttl_ms\":1}"), ERR_INVALID_REQUEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_object_changes_nothing),
		cmocka_unit_test(the_default_is_written_with_all_fields_in_order),
		cmocka_unit_test(each_field_sets_its_value_and_its_bit_alone),
		cmocka_unit_test(what_is_written_reads_back_the_same),
		cmocka_unit_test(a_wrong_value_is_refused_at_its_byte),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
