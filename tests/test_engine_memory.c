/* Every allocation of the engine fails once, of a request's and of a start's: nothing dies, the request is refused or done whole, the next one works (FAULTS D8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/engine_fixture.h"

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
enum error __real_engine_recover(struct engine *engine, char *message, size_t message_size);
enum error __wrap_engine_recover(struct engine *engine, char *message, size_t message_size);

enum error __real_catalogue_open(struct catalogue **catalogue, int fd);
enum error __wrap_catalogue_open(struct catalogue **catalogue, int fd);

enum { NEVER = 1 << 30, MOST = 2000 };

static struct {
	long left;           /* allocations until the one that fails */
	bool armed;          /* they count */
	bool in_recovery;    /* they count from the next recovery's begin to its end */
	bool failed;
} memory = { .left = NEVER };

static bool fails(void)
{
	if (!memory.armed || memory.left-- != 0)
		return false;
	memory.failed = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails() ? NULL : realloc(old, size);
}

enum error __wrap_engine_recover(struct engine *engine, char *message, size_t message_size)
{
	memory.armed = memory.in_recovery;
	enum error error = __real_engine_recover(engine, message, message_size);
	memory.armed = memory.in_recovery = false;
	return error;
}

/* The reader's, which the fixture plays when the engine says that a catalogue is current. */
enum error __wrap_catalogue_open(struct catalogue **catalogue, int fd)
{
	bool armed = memory.armed;
	memory.armed = false;
	enum error error = __real_catalogue_open(catalogue, fd);
	memory.armed = armed;
	return error;
}

static const struct completion *answered(struct engine_fixture *f, uint64_t id, long nth)
{
	memory.left = nth;
	memory.armed = true;
	memory.failed = false;
	const struct completion *answer = engine_answered(f, id);
	memory.armed = false;
	assert_true(answer->status == ERR_OK || answer->status == ERR_STORAGE_STALLED);
	return answer;
}

static struct engine_fixture *begin(void)
{
	struct engine_fixture *f = engine_fixture_create(1);
	struct topic_config config = engine_config(DURABILITY_DISK);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	assert_int_equal(engine_answered(f, engine_put(f, "t", &config))->status, ERR_OK);
	config = engine_config(DURABILITY_EPHEMERAL);
	assert_int_equal(engine_answered(f, engine_put(f, "e", &config))->status, ERR_OK);
	return f;
}

/* Appends of every kind to a new and to an old topic; each is repeated with its key, which must find it or not as the first answer said. */
static void append_whose_nth_allocation_fails_is_refused_whole_or_done_whole_and_its_key_is_kept(void **state)
{
	static const char *const topics[] = { "t", "new", "e" };
	static const uint32_t bytes[] = { 10, 1500000 }; /* the second goes through the large area, into a chunk of its own */
	unsigned failures = 0;
	(void)state;
	for (unsigned kind = 0; kind < 6; kind++) {
		const char *topic = topics[kind % 3];
		const struct append_options options = { .key = "k", .bytes = bytes[kind / 3] };
		bool more = true;
		for (long nth = 0; more; nth++) {
			struct engine_fixture *f = begin();
			uint64_t first = engine_append(f, topic, 2, &options);
			const struct completion answer = *answered(f, first, nth);
			more = memory.failed;
			failures += memory.failed;
			assert_int_equal(engine_numbers(f, topic).head, answer.status == ERR_OK ? 2 : 0);
			uint64_t second = engine_append(f, topic, 2, &options);
			const struct completion *again = engine_answered(f, second);
			assert_int_equal(again->status, ERR_OK);
			assert_int_equal(again->first_seq, 1);
			assert_int_equal(again->flags & COMPLETION_DEDUPED, answer.status == ERR_OK ? COMPLETION_DEDUPED : 0);
			assert_true(engine_reads(f, topic, 1, 2, answer.status == ERR_OK ? first : second));
			assert_true(nth < MOST);
			engine_fixture_destroy(f);
		}
	}
	assert_true(failures > 6);
}

static void change_of_a_topic_whose_nth_allocation_fails_is_refused_whole_or_done_whole(void **state)
{
	unsigned failures = 0;
	(void)state;
	for (unsigned kind = 0; kind < 3; kind++) {
		bool more = true;
		for (long nth = 0; more; nth++) {
			struct engine_fixture *f = begin();
			struct topic_config config = engine_config(DURABILITY_MEMORY);
			/* Uses up what an earlier request left ready. */
			assert_int_equal(engine_answered(f, engine_put(f, "first", &config))->status, ERR_OK);
			uint64_t id = kind == 0 ? engine_put(f, "new", &config) : kind == 1 ? engine_patch(f, "t", &config, CONFIG_DURABILITY) : engine_delete(f, "t", false);
			bool done = answered(f, id, nth)->status == ERR_OK;
			more = memory.failed;
			failures += memory.failed;
			assert_int_equal(engine_numbers(f, "new").id != 0, kind == 0 && done);
			assert_int_equal(engine_numbers(f, "t").id != 0, kind != 2 || !done);
			engine_fixture_logd_dies(f);
			assert_int_equal(engine_fixture_start(f, false, false), ERR_OK);
			engine_settle(f);
			assert_int_equal(engine_numbers(f, "new").id != 0, kind == 0 && done);
			assert_int_equal(engine_numbers(f, "t").id != 0, kind != 2 || !done);
			assert_int_equal(engine_answered(f, engine_append(f, "t", 1, NULL))->status, ERR_OK);
			assert_true(nth < MOST);
			engine_fixture_destroy(f);
		}
	}
	assert_true(failures > 3);
}

/* A group of many requests: those that come after the failure are served. */
static void failure_within_a_group_refuses_one_request_alone(void **state)
{
	bool more = true;
	(void)state;
	for (long nth = 0; more; nth++) {
		struct engine_fixture *f = begin();
		uint64_t ids[40];
		unsigned refused = 0;
		char topic[16] = "t00", key[16] = "k00";
		for (unsigned i = 0; i < 40; i++) {
			topic[1] = key[1] = (char)('0' + i / 10);
			topic[2] = key[2] = (char)('0' + i % 10);
			ids[i] = engine_append(f, topic, 1, &(struct append_options){ .key = key });
		}
		for (unsigned i = 0; i < 40; i++)
			refused += answered(f, ids[i], i == 0 ? nth : NEVER)->status != ERR_OK, more = i == 0 ? memory.failed : more;
		assert_true(refused <= 1);
		assert_int_equal(engine_answered(f, engine_append(f, "t", 1, NULL))->status, ERR_OK);
		assert_true(nth < MOST);
		engine_fixture_destroy(f);
	}
}

static void start_whose_nth_allocation_fails_says_so_and_the_next_finds_everything(void **state)
{
	struct engine_fixture *f = begin();
	uint64_t ids[3];
	unsigned failed_starts = 0;
	(void)state;
	for (unsigned i = 0; i < 3; i++)
		ids[i] = engine_append(f, i == 1 ? "e" : "t", 70, &(struct append_options){ .key = i == 0 ? "k" : "l" });
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(engine_answered(f, ids[i])->status, ERR_OK);
	memory.failed = true;
	for (long nth = 0; memory.failed; nth++) {
		engine_fixture_logd_dies(f);
		memory.in_recovery = true;
		memory.failed = false;
		memory.left = nth;
		enum error error = engine_fixture_start(f, false, false);
		failed_starts += error != ERR_OK;
		assert_true(error == ERR_OK || error == ERR_NOMEM || error == ERR_IO); /* never that the data must not be touched */
		assert_true(nth < MOST);
	}
	assert_true(failed_starts > 10);
	engine_settle(f);
	assert_true(engine_reads(f, "t", 1, 70, ids[0]) && engine_reads(f, "e", 1, 70, ids[1]) && engine_reads(f, "t", 71, 70, ids[2]));
	assert_int_equal(engine_answered(f, engine_append(f, "t", 70, &(struct append_options){ .key = "k" }))->flags, COMPLETION_DEDUPED);
	struct loss loss;
	assert_int_equal(engine_losses(f, "t", &loss, 1), 0);
	engine_fixture_destroy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(append_whose_nth_allocation_fails_is_refused_whole_or_done_whole_and_its_key_is_kept),
		cmocka_unit_test(change_of_a_topic_whose_nth_allocation_fails_is_refused_whole_or_done_whole),
		cmocka_unit_test(failure_within_a_group_refuses_one_request_alone),
		cmocka_unit_test(start_whose_nth_allocation_fails_says_so_and_the_next_finds_everything),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
