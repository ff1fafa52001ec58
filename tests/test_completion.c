#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/completion.h"
#include "tests/shared_object.h"

struct fixture {
	uint8_t *object;
	_Atomic uint64_t read_index;
	struct completion_writer *writer;
	struct completion_reader *reader;
	uint8_t body[COMPLETION_BODY_MAX];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->object = shared_object(completion_object_size());
	assert_int_equal(completion_reader_create(&f->reader, f->object, &f->read_index), ERR_OK);
	assert_int_equal(completion_writer_create(&f->writer, f->object, &f->read_index), ERR_OK);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	completion_reader_destroy(&f->reader);
	completion_writer_destroy(&f->writer);
	assert_null(f->reader);
	assert_null(f->writer);
	munmap(f->object, completion_object_size());
	free(f);
	return 0;
}

static uint32_t room(struct fixture *f)
{
	enum error error;
	uint32_t places = completion_room(f->writer, &error);

	assert_int_equal(error, ERR_OK);
	return places;
}

static void put(struct fixture *f, uint64_t id, uint32_t body_length)
{
	struct completion completion = { .request_id = id, .type = REQUEST_APPEND, .head = id * 3, .body_length = body_length };

	memset(f->body, (int)(id & 0xff), body_length);
	completion_put(f->writer, &completion, f->body);
}

static void next_is(struct fixture *f, uint64_t id, uint32_t body_length)
{
	struct completion completion;
	const uint8_t *body;

	assert_int_equal(completion_next(f->reader, &completion, &body), ERR_OK);
	assert_int_equal(completion.request_id, id);
	assert_int_equal(completion.head, id * 3);
	assert_int_equal(completion.body_length, body_length);
	for (uint32_t i = 0; i < body_length; i++)
		assert_int_equal(body[i], id & 0xff);
}

static void none_next(struct fixture *f)
{
	struct completion completion;
	const uint8_t *body;

	assert_int_equal(completion_next(f->reader, &completion, &body), ERR_AGAIN);
}

static void next_logd(struct fixture *f)
{
	completion_writer_destroy(&f->writer);
	assert_int_equal(completion_writer_create(&f->writer, f->object, &f->read_index), ERR_OK);
}

static void answer_is_seen_when_it_is_published(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(room(f), RING_SLOTS);
	put(f, 1, 0);
	put(f, 2, 100);
	assert_false(completion_pending(f->reader));
	none_next(f);
	assert_int_equal(completion_publish(f->writer), 2);
	assert_int_equal(completion_publish(f->writer), 0);
	assert_true(completion_pending(f->reader));
	next_is(f, 1, 0);
	next_is(f, 2, 100);
	none_next(f);
	assert_int_equal(room(f), RING_SLOTS - 2);
	completion_done(f->reader);
	assert_int_equal(room(f), RING_SLOTS);
}

static void every_place_has_room_for_a_largest_body(void **state)
{
	struct fixture *f = *state;

	/* Begin in the middle, so that the bodies wrap. */
	put(f, 7, COMPLETION_BODY_MAX);
	put(f, 8, 24);
	completion_publish(f->writer);
	next_is(f, 7, COMPLETION_BODY_MAX);
	for (uint64_t id = 1; id < RING_SLOTS - 1; id++)
		put(f, id, id % 2 ? COMPLETION_BODY_MAX : COMPLETION_BODY_MAX - 3);
	assert_int_equal(room(f), 0);
	completion_done(f->reader);
	completion_publish(f->writer);
	assert_int_equal(room(f), 1);
	put(f, 5000, COMPLETION_BODY_MAX);
	completion_publish(f->writer);
	next_is(f, 8, 24);
	for (uint64_t id = 1; id < RING_SLOTS - 1; id++)
		next_is(f, id, id % 2 ? COMPLETION_BODY_MAX : COMPLETION_BODY_MAX - 3);
	next_is(f, 5000, COMPLETION_BODY_MAX);
}

static void bodies_begin_anew_when_all_is_read(void **state)
{
	struct fixture *f = *state;
	const struct completion_shared *shared = (const struct completion_shared *)(f->object + COMPLETION_OFFSET);

	for (uint64_t id = 1; id < 10000; id++) {
		assert_int_equal(room(f), RING_SLOTS);
		put(f, id, 1000);
		completion_publish(f->writer);
		next_is(f, id, 1000);
		completion_done(f->reader);
		assert_int_equal(shared->body_at[(id - 1) % RING_SLOTS] % COMPLETION_BODIES, 0);
	}
}

static void read_index_that_goes_back_or_past_is_refused(void **state)
{
	struct fixture *f = *state;
	enum error error;

	put(f, 1, 0);
	put(f, 2, 0);
	completion_publish(f->writer);
	put(f, 3, 0);
	atomic_store(&f->read_index, 2);
	assert_int_equal(room(f), RING_SLOTS - 1);
	static const uint64_t wrong[] = { 0, 1, 3, RING_SLOTS, UINT64_MAX };
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		atomic_store(&f->read_index, wrong[i]);
		assert_int_equal(completion_room(f->writer, &error), 0);
		assert_int_equal(error, ERR_PROTOCOL);
	}
}

static void next_logd_goes_on_behind_what_was_published(void **state)
{
	struct fixture *f = *state;

	put(f, 1, 500);
	put(f, 2, 500);
	completion_publish(f->writer);
	put(f, 3, 500);
	next_logd(f);
	assert_int_equal(room(f), RING_SLOTS - 2);
	put(f, 4, 500);
	completion_publish(f->writer);
	next_is(f, 1, 500);
	next_is(f, 2, 500);
	next_is(f, 4, 500);
	none_next(f);
}

static void answer_stands_read_or_not_but_only_if_it_was_published(void **state)
{
	struct fixture *f = *state;

	for (uint64_t id = 1; id <= 10; id++)
		put(f, id, 0);
	completion_publish(f->writer);
	next_is(f, 1, 0);
	next_is(f, 2, 0);
	completion_done(f->reader);
	put(f, 11, 0);
	next_logd(f);
	for (uint64_t id = 1; id <= 10; id++)
		assert_true(completion_stands(f->writer, id));
	assert_false(completion_stands(f->writer, 11));
	assert_false(completion_stands(f->writer, 0));
}

static void unpublished_answer_in_the_place_of_a_read_one_does_not_stand(void **state)
{
	struct fixture *f = *state;

	for (uint64_t id = 1; id <= RING_SLOTS; id++)
		put(f, id, 0);
	completion_publish(f->writer);
	for (uint64_t id = 1; id <= RING_SLOTS; id++)
		next_is(f, id, 0);
	completion_done(f->reader);
	assert_int_equal(room(f), RING_SLOTS);
	put(f, 9999, 0);
	next_logd(f);
	assert_false(completion_stands(f->writer, 9999));
	assert_false(completion_stands(f->writer, 1));
	assert_true(completion_stands(f->writer, 2));
	assert_true(completion_stands(f->writer, RING_SLOTS));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(answer_is_seen_when_it_is_published),
		CASE(every_place_has_room_for_a_largest_body),
		CASE(bodies_begin_anew_when_all_is_read),
		CASE(read_index_that_goes_back_or_past_is_refused),
		CASE(next_logd_goes_on_behind_what_was_published),
		CASE(answer_stands_read_or_not_but_only_if_it_was_published),
		CASE(unpublished_answer_in_the_place_of_a_read_one_does_not_stand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
