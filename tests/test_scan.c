/* worker/scan.c and json.c: what an append's body becomes, what is refused, and agreement with json-c where that is strict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
/* json-c's type and our reader of objects have one name. */
#define json_object json_c_object
#include <json.h>
#undef json_object

#include "common/record.h"
#include "worker/scan.h"

static const struct settings limits = { .max_batch_records = 10, .max_record_bytes = 100, .max_meta_bytes = 40, .max_tag_bytes = 8, .max_node_bytes = 8 };
static _Alignas(8) uint8_t room[1 << 16];
static struct scanner *scanner;
static struct scanned scanned;
static struct json_error problem;

static enum error scan(const char *text)
{
	/* An exact copy, so that a read past its end is seen by a sanitizer. */
	size_t length = strlen(text);
	uint8_t *copy = malloc(length + (length == 0));
	memcpy(copy, text, length);
	assert_true(scan_room(length, &limits) <= sizeof room);
	enum error error = scan_append(scanner, copy, length, &limits, room, &scanned, &problem);
	free(copy);
	return error;
}

static struct record nth(unsigned index)
{
	struct record record;
	uint32_t at = 0;
	for (unsigned i = 0; i <= index; i++) {
		assert_int_equal(record_parse(&record, room + at, scanned.records_length - at), ERR_OK);
		at += record.length;
	}
	return record;
}

static void records_lie_as_on_disk_with_their_bytes_as_sent(void **state)
{
	(void)state;
	assert_int_equal(scan(" { \"x\":[{}], \"records\" : [ {\"data\": { \"a\" : 1.0 } , \"tag\":\"\\u00e9\",\"meta\":{ }} , {\"n\\u006fde\":\"\",\"data\":null} ],"
	                      "\"node\":\"b\",\"idempotency_key\":\"k\",\"expect_head_seq\":18446744073709551615,\"create\":false}"), ERR_OK);
	assert_int_equal(scanned.count, 2);
	assert_int_equal(scanned.payload, 13 + 3 + 4);
	assert_true(scanned.has_create && !scanned.create && scanned.expect_head == UINT64_MAX && scanned.key_length == 1 && scanned.node_length == 1);
	struct record first = nth(0), second = nth(1);
	assert_int_equal(first.data_length, 13);
	assert_memory_equal(first.data, "{ \"a\" : 1.0 }", 13);
	assert_memory_equal(first.meta, "{ }", 3);
	assert_int_equal(first.tag_length, 2);
	assert_memory_equal(first.tag, "\xc3\xa9", 2);
	assert_int_equal(first.flags, RECORD_HAS_TAG | RECORD_BATCH_NODE);
	assert_int_equal(second.flags, RECORD_HAS_NODE);
	assert_int_equal(second.node_length, 0);
}

static void limits_hold_at_limit_and_one_more(void **state)
{
	static const struct { const char *text; enum error error; } table[] = {
		{ "{\"records\":[{\"data\":1,\"tag\":\"12345678\"}]}", ERR_OK }, { "{\"records\":[{\"data\":1,\"tag\":\"123456789\"}]}", ERR_INVALID_REQUEST },
		{ "{\"records\":[{\"data\":1}],\"node\":\"12345678\"}", ERR_OK }, { "{\"records\":[{\"data\":1}],\"node\":\"123456789\"}", ERR_INVALID_REQUEST },
		{ "{\"records\":[{\"data\":1,\"meta\":{\"k\":\"34567890123456789012345678901234\"}}]}", ERR_OK },
		{ "{\"records\":[{\"data\":1,\"meta\":{\"k\":\"345678901234567890123456789012345\"}}]}", ERR_INVALID_REQUEST },
		{ "{\"records\":[{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1}]}", ERR_OK },
		{ "{\"records\":[{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1},{\"data\":1}]}",
		  ERR_BATCH_TOO_LARGE },
		{ "{\"records\":[]}", ERR_INVALID_REQUEST }, { "{\"records\":[{}]}", ERR_INVALID_REQUEST }, { "{\"records\":[{\"data\":1,\"data\":1}]}", ERR_INVALID_REQUEST },
		{ "{\"records\":[{\"data\":1}],\"records\":[]}", ERR_INVALID_REQUEST }, { "{\"records\":[{\"data\":1,\"tag\":\"\\ud800\"}]}", ERR_INVALID_REQUEST },
		{ "{\"records\":[{\"data\":1}],\"expect_head_seq\":1.0}", ERR_INVALID_REQUEST }, { "{\"records\":[{\"data\":1}],\"expect_head_seq\":-0}", ERR_INVALID_REQUEST },
	};
	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		assert_int_equal(scan(table[i].text), table[i].error);
}

static void nesting_is_bounded_over_the_whole_document(void **state)
{
	char text[400];
	(void)state;
	for (unsigned depth = 124; depth <= 126; depth++) {
		size_t n = (size_t)sprintf(text, "{\"records\":[{\"data\":");
		memset(text + n, '[', depth);
		memset(text + n + depth, ']', depth);
		strcpy(text + n + 2 * depth, "}]}");
		/* Three levels are around it: 125 more make 128. But data is 100 bytes at most here. */
		assert_int_equal(scan(text), depth <= 125 ? ERR_RECORD_TOO_LARGE : ERR_INVALID_REQUEST);
	}
}

/* Every cut and every changed byte of a document: never read past the end, never accepted where json-c, as strict as it gets, refuses. */
static void damaged_documents_are_never_accepted_where_json_c_refuses(void **state)
{
	static const char good[] = "{\"records\":[{\"data\":{\"a\":[1,-2.5e3,true,null,\"x\\n\\u00e9\"]},\"tag\":\"t\"}],\"node\":\"n\"}";
	static const char bytes[] = "\"\\{}[],:019-+.eEtx \n\x01\x7f\x80\xc3\xff";
	char text[sizeof good];
	unsigned refused = 0;
	(void)state;
	for (size_t cut = 0; cut < sizeof good - 1; cut++) {
		memcpy(text, good, cut);
		text[cut] = '\0';
		assert_int_not_equal(scan(text), ERR_OK);
	}
	for (size_t at = 0; at < sizeof good - 1; at++) {
		for (size_t b = 0; b < sizeof bytes - 1; b++) {
			memcpy(text, good, sizeof good);
			text[at] = bytes[b];
			struct json_tokener *tokener = json_tokener_new();
			json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
			struct json_c_object *tree = json_tokener_parse_ex(tokener, text, (int)sizeof text);
			bool valid = tree != NULL && json_tokener_get_error(tokener) == json_tokener_success;
			if (!valid) {
				refused++;
				assert_int_not_equal(scan(text), ERR_OK);
			}
			json_object_put(tree);
			json_tokener_free(tokener);
		}
	}
	assert_true(refused > 500);
}

static int set_up(void **state)
{
	(void)state;
	return scanner_create(&scanner) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	scanner_destroy(&scanner);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_lie_as_on_disk_with_their_bytes_as_sent),
		cmocka_unit_test(limits_hold_at_limit_and_one_more),
		cmocka_unit_test(nesting_is_bounded_over_the_whole_document),
		cmocka_unit_test(damaged_documents_are_never_accepted_where_json_c_refuses),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
