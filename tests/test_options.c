#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/options.h"

enum { ARGUMENTS = 8 };

static struct options options;
static char message[1024];
static char warned[256];

static void note_warning(const char *variable)
{
	strncat(warned, variable, sizeof warned - strlen(warned) - 2);
	strcat(warned, ";");
}

/* Reads one variable ("" for none) and up to three arguments. */
static enum error reads(const char *variable, const char *one, const char *two, const char *three)
{
	char *environment[] = { (char *)(uintptr_t)variable, NULL };
	char *arguments[ARGUMENTS] = { (char *)(uintptr_t)"topicsd", (char *)(uintptr_t)one, (char *)(uintptr_t)two, (char *)(uintptr_t)three };
	int count = 1;

	message[0] = warned[0] = '\0';
	while (arguments[count] != NULL)
		count++;
	return options_read(&options, count, arguments, variable[0] != '\0' ? environment : environment + 1, note_warning, message, sizeof message);
}

static enum error reads_variable(const char *name, const char *value)
{
	char variable[8192];

	snprintf(variable, sizeof variable, "%s=%s", name, value);
	return reads(variable, NULL, NULL, NULL);
}

#define SET(member) offsetof(struct options, settings.member)
/* The contract's numbers, with the bounds that the program keeps. */
static const struct { const char *variable; size_t offset; bool wide; uint64_t least, most, standard; } numbers[] = {
	{ "TOPICS_PORT", offsetof(struct options, port), true, 0, 65535, 4000 },
	{ "TOPICS_WORKERS", SET(workers), false, 1, 64, 0 },
	{ "TOPICS_MAX_BODY_BYTES", SET(max_body_bytes), true, 1, 256 << 20, 64 << 20 },
	{ "TOPICS_MAX_BATCH_RECORDS", SET(max_batch_records), true, 1, 1000000, 10000 },
	{ "TOPICS_MAX_RECORD_BYTES", SET(max_record_bytes), true, 1, 256 << 20, 1 << 20 },
	{ "TOPICS_MAX_META_BYTES", SET(max_meta_bytes), true, 2, 16 << 20, 16 << 10 },
	{ "TOPICS_MAX_TAG_BYTES", SET(max_tag_bytes), true, 1, 65535, 256 },
	{ "TOPICS_MAX_NODE_BYTES", SET(max_node_bytes), true, 1, 65535, 128 },
	{ "TOPICS_MAX_LIMIT", SET(max_limit), true, 1, 100000, 1000 },
	{ "TOPICS_MAX_CLAIM", SET(max_claim), true, 1, 100000, 1000 },
	{ "TOPICS_MAX_WATCH_TOPICS", SET(max_watch_topics), true, 1, 65536, 256 },
	{ "TOPICS_MAX_TOPICS", SET(max_topics), true, 0, UINT64_MAX, 100000 },
	{ "TOPICS_MAX_ROUTERS", SET(max_routers), true, 0, UINT64_MAX, 10000 },
	{ "TOPICS_MAX_WATCH_SESSIONS", SET(max_watch_sessions), true, 0, UINT64_MAX, 10000 },
	{ "TOPICS_MAX_SSE_CONNECTIONS", SET(max_sse_connections), true, 0, UINT64_MAX, 10000 },
	{ "TOPICS_MAX_SSE_CONNECTIONS_PER_KEY", SET(max_sse_connections_per_key), true, 0, UINT64_MAX, 1000 },
	{ "TOPICS_MAX_INFLIGHT_PER_KEY", SET(max_inflight_per_key), true, 0, UINT64_MAX, 1000 },
	{ "TOPICS_MAX_TOTAL_BYTES", SET(max_total_bytes), true, 0, UINT64_MAX, 0 },
	{ "TOPICS_SYNC_INTERVAL_MS", SET(sync_interval_ms), true, 1, 3600000, 100 },
	{ "TOPICS_EPHEMERAL_MAX_BYTES", SET(ephemeral_max_bytes), true, 1 << 20, (uint64_t)1 << 40, 0 },
	{ "TOPICS_DRAIN_MS", SET(drain_ms), true, 100, 3600000, 5000 },
	{ "TOPICS_SEGMENT_MAX_BYTES", SET(segment_max_bytes), true, 4096, (uint64_t)16 << 30, 64 << 20 },
};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

static uint64_t value_of(unsigned i)
{
	const char *place = (const char *)&options + numbers[i].offset;

	return numbers[i].wide ? *(const uint64_t *)place : *(const uint32_t *)place;
}

static void without_anything_the_contracts_defaults_hold(void **state)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	(void)state;
	assert_int_equal(reads("", NULL, NULL, NULL), ERR_OK);
	for (unsigned i = 0; i < NUMBERS; i++)
		if (strcmp(numbers[i].variable, "TOPICS_WORKERS") != 0 && strcmp(numbers[i].variable, "TOPICS_EPHEMERAL_MAX_BYTES") != 0)
			assert_int_equal(value_of(i), numbers[i].standard);
	assert_int_equal(options.settings.workers, cores < 2 ? 2 : cores > 64 ? 64 : cores);
	assert_int_equal(options.settings.ephemeral_max_bytes, (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4);
	assert_string_equal(options.host, "127.0.0.1");
	assert_string_equal(options.data_dir, "./topics-data");
	assert_string_equal(options.port_file, "");
	assert_false(options.check_only || options.help || options.version);
	assert_int_equal(options.settings.probe_auth, 0);
}

static void every_number_is_taken_up_to_its_bounds(void **state)
{
	char text[32];

	(void)state;
	for (unsigned i = 0; i < NUMBERS; i++) {
		snprintf(text, sizeof text, "%" PRIu64, numbers[i].least);
		assert_int_equal(reads_variable(numbers[i].variable, text), ERR_OK);
		assert_int_equal(value_of(i), numbers[i].least);
		snprintf(text, sizeof text, "%" PRIu64, numbers[i].most);
		assert_int_equal(reads_variable(numbers[i].variable, text), ERR_OK);
		assert_int_equal(value_of(i), numbers[i].most);
	}
}

static void refused_with_name_and_range(unsigned i, const char *value)
{
	char least[32], most[32];

	snprintf(least, sizeof least, "%" PRIu64, numbers[i].least);
	snprintf(most, sizeof most, "%" PRIu64, numbers[i].most);
	assert_int_equal(reads_variable(numbers[i].variable, value), ERR_INVALID_REQUEST);
	assert_non_null(strstr(message, numbers[i].variable));
	assert_non_null(strstr(message, least));
	assert_non_null(strstr(message, most));
}

static void every_number_out_of_bounds_is_refused_with_its_name_and_range(void **state)
{
	char text[32];

	(void)state;
	for (unsigned i = 0; i < NUMBERS; i++) {
		if (numbers[i].least > 0) {
			snprintf(text, sizeof text, "%" PRIu64, numbers[i].least - 1);
			refused_with_name_and_range(i, text);
		}
		if (numbers[i].most < UINT64_MAX) {
			snprintf(text, sizeof text, "%" PRIu64, numbers[i].most + 1);
			refused_with_name_and_range(i, text);
		}
	}
}

static void bound_of_ephemeral_records_may_be_none(void **state)
{
	(void)state;
	assert_int_equal(reads_variable("TOPICS_EPHEMERAL_MAX_BYTES", "0"), ERR_OK);
	assert_int_equal(options.settings.ephemeral_max_bytes, 0);
	assert_int_equal(reads("TOPICS_EPHEMERAL_MAX_BYTES=2097152", "--ephemeral-max-bytes=0", NULL, NULL), ERR_OK);
	assert_int_equal(options.settings.ephemeral_max_bytes, 0);
	assert_int_equal(reads_variable("TOPICS_EPHEMERAL_MAX_BYTES", "1"), ERR_INVALID_REQUEST);
	assert_non_null(strstr(message, "must be 0 (no limit) or a plain number between"));
	assert_int_equal(reads_variable("TOPICS_SEGMENT_MAX_BYTES", "0"), ERR_INVALID_REQUEST);
}

static void what_is_no_plain_number_is_refused_with_name_and_range(void **state)
{
	static const char *const values[] = { "", " ", "x", "-1", "+1", "1 ", " 1", "0x10", "1e3", "1_0", "1.0", "18446744073709551616", "99999999999999999999999" };

	(void)state;
	for (unsigned i = 0; i < NUMBERS; i++)
		for (unsigned n = 0; n < sizeof values / sizeof values[0]; n++)
			refused_with_name_and_range(i, values[n]);
	assert_int_equal(reads_variable("TOPICS_PORT", "0000000000000000000000000080"), ERR_OK);
	assert_int_equal(options.port, 80); /* plain decimal, never octal */
}

static void switches_take_four_words_and_no_other(void **state)
{
	static const char *const names[] = { "TOPICS_PROBE_AUTH", "TOPICS_ALLOW_INSECURE_NO_AUTH" };
	static const char *const bad[] = { "", "yes", "no", "on", "TRUE", "True", "2", "01", "true " };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		static const char *const good[] = { "0", "1", "false", "true" };
		for (unsigned n = 0; n < 4; n++) {
			assert_int_equal(reads_variable(names[i], good[n]), ERR_OK);
			assert_int_equal(i == 0 ? options.settings.probe_auth : options.allow_insecure_no_auth, n % 2);
		}
		for (unsigned n = 0; n < sizeof bad / sizeof bad[0]; n++) {
			assert_int_equal(reads_variable(names[i], bad[n]), ERR_INVALID_REQUEST);
			assert_non_null(strstr(message, names[i]));
			assert_non_null(strstr(message, "1, true, 0 or false"));
		}
	}
}

static void option_wins_over_its_variable_in_both_spellings(void **state)
{
	(void)state;
	assert_int_equal(reads("TOPICS_PORT=5", "--port=6", NULL, NULL), ERR_OK);
	assert_int_equal(options.port, 6);
	assert_int_equal(reads("TOPICS_PORT=5", "--port", "7", NULL), ERR_OK);
	assert_int_equal(options.port, 7);
	assert_int_equal(reads("TOPICS_PORT=5", "--data-dir=a=b", "-t", NULL), ERR_OK);
	assert_int_equal(options.port, 5);
	assert_string_equal(options.data_dir, "a=b");
	assert_true(options.check_only);
	assert_int_equal(reads("", "--port=1", "--port=2", NULL), ERR_OK);
	assert_int_equal(options.port, 2);
}

static void unknown_and_unfinished_options_are_refused_by_name(void **state)
{
	static const char *const bad[] = { "--nonsense", "--nonsense=1", "-x", "x", "--", "-", "", "--por", "--porto=1", "-port=1", "--PORT=1", "--=1" };

	(void)state;
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(reads("", bad[i], NULL, NULL), ERR_INVALID_REQUEST);
		assert_non_null(strstr(message, bad[i]));
	}
	assert_int_equal(reads("", "--port", NULL, NULL), ERR_INVALID_REQUEST);
	assert_non_null(strstr(message, "--port"));
	assert_int_equal(reads("", "--port=70000", NULL, NULL), ERR_INVALID_REQUEST);
	assert_non_null(strstr(message, "--port"));
	assert_non_null(strstr(message, "65535"));
}

static void variable_that_is_no_setting_is_warned_of_and_others_are_none_of_ours(void **state)
{
	(void)state;
	assert_int_equal(reads("TOPICS_NONSENSE=1", NULL, NULL, NULL), ERR_OK);
	assert_string_equal(warned, "TOPICS_NONSENSE;");
	assert_int_equal(reads("TOPICS_PORTS=1", NULL, NULL, NULL), ERR_OK);
	assert_string_equal(warned, "TOPICS_PORTS;");
	assert_int_equal(reads("TOPICS_=1", NULL, NULL, NULL), ERR_OK);
	assert_string_equal(warned, "TOPICS_;");
	assert_int_equal(reads("TOPICSD=1", NULL, NULL, NULL), ERR_OK);
	assert_int_equal(reads("TOPICS_PORT", NULL, NULL, NULL), ERR_OK);
	assert_int_equal(reads("TOPICS_PORT=1", NULL, NULL, NULL), ERR_OK);
	assert_string_equal(warned, "");
}

static void keys_are_refused_and_never_repeated(void **state)
{
	(void)state;
	assert_int_equal(reads_variable("TOPICS_API_KEYS", "s3cret:rw:orders"), ERR_INVALID_REQUEST);
	assert_non_null(strstr(message, "TOPICS_API_KEYS"));
	assert_null(strstr(message, "s3cret"));
	assert_int_equal(reads("", "--api-keys=s3cret", NULL, NULL), ERR_INVALID_REQUEST);
	assert_null(strstr(message, "s3cret"));
	assert_int_equal(reads_variable("TOPICS_API_KEYS", ""), ERR_OK);
	assert_int_equal(reads("TOPICS_API_KEYS=s3cret", "--help", NULL, NULL), ERR_OK);
	assert_int_equal(reads("TOPICS_API_KEYS=s3cret", "--version", NULL, NULL), ERR_OK);
}

static void bind_beyond_this_machine_is_refused_unless_it_is_meant(void **state)
{
	static const char *const open[] = { "0.0.0.0", "::", "10.1.2.3", "128.0.0.1", "example.org", "127.0.0.1.example.org", "127.1", "", "::ffff:1.2.3.4", "localhost.example.org" };
	static const char *const closed[] = { "127.0.0.1", "127.255.0.9", "::1", "localhost" };
	char option[64];

	(void)state;
	for (unsigned i = 0; i < sizeof open / sizeof open[0]; i++) {
		assert_int_equal(reads_variable("TOPICS_HOST", open[i]), ERR_INVALID_REQUEST);
		assert_non_null(strstr(message, "TOPICS_ALLOW_INSECURE_NO_AUTH"));
		snprintf(option, sizeof option, "--host=%s", open[i]);
		assert_int_equal(reads("TOPICS_ALLOW_INSECURE_NO_AUTH=1", option, NULL, NULL), ERR_OK);
	}
	for (unsigned i = 0; i < sizeof closed / sizeof closed[0]; i++)
		assert_int_equal(reads_variable("TOPICS_HOST", closed[i]), ERR_OK);
}

static void text_that_does_not_fit_or_is_empty_is_refused(void **state)
{
	static char text[5000];

	(void)state;
	memset(text, 'x', sizeof text - 1);
	assert_int_equal(reads_variable("TOPICS_DATA_DIR", text), ERR_INVALID_REQUEST);
	assert_non_null(strstr(message, "TOPICS_DATA_DIR is too long"));
	assert_int_equal(reads_variable("TOPICS_DATA_DIR", ""), ERR_INVALID_REQUEST);
	assert_non_null(strstr(message, "TOPICS_DATA_DIR"));
	text[sizeof options.data_dir - 1] = '\0';
	assert_int_equal(reads_variable("TOPICS_DATA_DIR", text), ERR_OK);
	assert_string_equal(options.data_dir, text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_anything_the_contracts_defaults_hold),
		cmocka_unit_test(every_number_is_taken_up_to_its_bounds),
		cmocka_unit_test(every_number_out_of_bounds_is_refused_with_its_name_and_range),
		cmocka_unit_test(bound_of_ephemeral_records_may_be_none),
		cmocka_unit_test(what_is_no_plain_number_is_refused_with_name_and_range),
		cmocka_unit_test(switches_take_four_words_and_no_other),
		cmocka_unit_test(option_wins_over_its_variable_in_both_spellings),
		cmocka_unit_test(unknown_and_unfinished_options_are_refused_by_name),
		cmocka_unit_test(variable_that_is_no_setting_is_warned_of_and_others_are_none_of_ours),
		cmocka_unit_test(keys_are_refused_and_never_repeated),
		cmocka_unit_test(bind_beyond_this_machine_is_refused_unless_it_is_meant),
		cmocka_unit_test(text_that_does_not_fit_or_is_empty_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
