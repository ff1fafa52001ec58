#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/error.h"

/* The contract's table of error codes. The numbers lie in logs and completions: they never change. */
static const struct { enum error error; int number; int status; const char *code; } contract[] = {
	{ ERR_OK, 0, 200, "ok" },
	{ ERR_INVALID_REQUEST, 1, 400, "invalid_request" },
	{ ERR_BATCH_TOO_LARGE, 2, 400, "batch_too_large" },
	{ ERR_RECORD_TOO_LARGE, 3, 400, "record_too_large" },
	{ ERR_UNAUTHORIZED, 4, 401, "unauthorized" },
	{ ERR_FORBIDDEN, 5, 403, "forbidden" },
	{ ERR_TOPIC_NOT_FOUND, 6, 404, "topic_not_found" },
	{ ERR_ROUTER_NOT_FOUND, 7, 404, "router_not_found" },
	{ ERR_NOT_FOUND, 8, 404, "not_found" },
	{ ERR_RECORD_GONE, 9, 404, "record_gone" },
	{ ERR_METHOD_NOT_ALLOWED, 10, 405, "method_not_allowed" },
	{ ERR_NOT_ACCEPTABLE, 11, 406, "not_acceptable" },
	{ ERR_PAYLOAD_TOO_LARGE, 12, 413, "payload_too_large" },
	{ ERR_URI_TOO_LONG, 13, 414, "uri_too_long" },
	{ ERR_UNSUPPORTED_MEDIA_TYPE, 14, 415, "unsupported_media_type" },
	{ ERR_EXPECTATION_FAILED, 15, 417, "expectation_failed" },
	{ ERR_HEADERS_TOO_LARGE, 16, 431, "headers_too_large" },
	{ ERR_REQUEST_TIMEOUT, 17, 408, "request_timeout" },
	{ ERR_ROUTER_CYCLE, 18, 409, "router_cycle" },
	{ ERR_TOPIC_EXISTS_INCOMPATIBLE, 19, 409, "topic_exists_incompatible" },
	{ ERR_TOPIC_NOT_EMPTY, 20, 409, "topic_not_empty" },
	{ ERR_NOT_A_QUEUE, 21, 409, "not_a_queue" },
	{ ERR_HEAD_MISMATCH, 22, 409, "head_mismatch" },
	{ ERR_TOPIC_FULL, 23, 422, "topic_full" },
	{ ERR_THROTTLED, 24, 429, "throttled" },
	{ ERR_INTERNAL, 25, 500, "internal" },
	{ ERR_NOT_IMPLEMENTED, 26, 501, "not_implemented" },
	{ ERR_NOT_READY, 27, 503, "not_ready" },
	{ ERR_SHUTTING_DOWN, 28, 503, "shutting_down" },
	{ ERR_STORAGE_FAILED, 29, 503, "storage_failed" },
	{ ERR_READ_ONLY, 30, 503, "read_only" },
	{ ERR_STORAGE_STALLED, 31, 503, "storage_stalled" },
	{ ERR_COMMIT_UNKNOWN, 32, 503, "commit_unknown" },
	{ ERR_STORAGE_FULL, 33, 507, "storage_full" },
	{ ERR_HTTP_VERSION, 34, 505, "invalid_request" },
};
enum { CONTRACT = sizeof contract / sizeof contract[0] };

static void every_code_of_the_contract_has_its_number_status_and_name(void **state)
{
	(void)state;
	assert_int_equal(CONTRACT, ERR_CONTRACT_END);
	for (unsigned i = 0; i < CONTRACT; i++) {
		assert_int_equal(contract[i].error, contract[i].number);
		assert_int_equal(error_status(contract[i].error), contract[i].status);
		assert_string_equal(error_code(contract[i].error), contract[i].code);
		assert_true(strlen(error_text(contract[i].error)) > 0);
	}
}

static void what_is_not_in_the_contract_is_internal(void **state)
{
	static const int others[] = { -1, ERR_CONTRACT_END, 99, ERR_AGAIN, ERR_IO, ERR_BUSY, 111, 65535, INT32_MAX, INT32_MIN };

	(void)state;
	for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++) {
		assert_int_equal(error_status((enum error)others[i]), 500);
		assert_string_equal(error_code((enum error)others[i]), "internal");
	}
}

static void results_inside_the_program_have_texts_of_their_own(void **state)
{
	(void)state;
	for (enum error one = ERR_AGAIN; one <= ERR_BUSY; one++) {
		assert_string_not_equal(error_text(one), error_text(ERR_INTERNAL));
		for (enum error other = ERR_AGAIN; other < one; other++)
			assert_string_not_equal(error_text(one), error_text(other));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_of_the_contract_has_its_number_status_and_name),
		cmocka_unit_test(what_is_not_in_the_contract_is_internal),
		cmocka_unit_test(results_inside_the_program_have_texts_of_their_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
