#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/ring.h"
#include "tests/shared_object.h"

enum { LARGE = 1 << 22 };

struct fixture {
	struct ring_shared *request;
	struct ring_release *release;
	struct ring_producer *producer;
	struct ring_consumer *consumer;
	uint8_t *out;
	uint64_t id;
};

static size_t request_object(void)
{
	return RING_LARGE_OFFSET + LARGE;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->request = shared_object(request_object());
	f->release = shared_object(sizeof *f->release);
	f->out = malloc(LARGE);
	assert_int_equal(ring_producer_create(&f->producer, f->request, LARGE, f->release), ERR_OK);
	assert_int_equal(ring_consumer_create(&f->consumer, f->request, LARGE, f->release), ERR_OK);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	ring_producer_destroy(&f->producer);
	ring_consumer_destroy(&f->consumer);
	assert_null(f->producer);
	assert_null(f->consumer);
	munmap(f->request, request_object());
	munmap(f->release, sizeof *f->release);
	free(f->out);
	free(f);
	return 0;
}

/* An entry whose body is `length` - 128 bytes of its id's low byte. */
static bool publish(struct fixture *f, size_t length)
{
	uint8_t *entry = ring_reserve(f->producer, length);
	struct request head = { .length = (uint32_t)length, .type = REQUEST_APPEND, .id = f->id + 1,
		.body_length = (uint32_t)(length - sizeof head) };

	if (entry == NULL)
		return false;
	f->id++;
	memcpy(entry, &head, sizeof head);
	memset(entry + sizeof head, (int)(f->id & 0xff), head.body_length);
	ring_publish(f->producer, length, false);
	return true;
}

static bool publish_large(struct fixture *f, size_t bytes)
{
	struct request head = { .length = sizeof head, .type = REQUEST_APPEND, .flags = REQUEST_LARGE, .id = f->id + 1,
		.body_length = (uint32_t)bytes };
	size_t size;
	uint8_t *area = ring_reserve_large(f->producer, &size), *entry;

	if (area == NULL || (entry = ring_reserve(f->producer, sizeof head)) == NULL)
		return false;
	f->id++;
	assert_true(bytes <= size);
	memset(area, (int)(f->id & 0xff), bytes);
	memcpy(entry, &head, sizeof head);
	ring_publish(f->producer, sizeof head, true);
	return true;
}

/* Takes the next entry, whose id must be `id`, and returns its number. */
static uint64_t take(struct fixture *f, uint64_t id)
{
	struct request head;
	uint64_t number;

	assert_int_equal(ring_peek(f->consumer, &head, &number), ERR_OK);
	assert_int_equal(head.id, id);
	assert_int_equal(ring_take(f->consumer, &head, f->out), ERR_OK);
	for (uint32_t i = 0; i < head.body_length; i++)
		assert_int_equal(f->out[i], id & 0xff);
	return number;
}

static enum error peek(struct fixture *f)
{
	struct request head;
	uint64_t number;

	return ring_peek(f->consumer, &head, &number);
}

static void next_logd(struct fixture *f)
{
	ring_consumer_destroy(&f->consumer);
	assert_int_equal(ring_consumer_create(&f->consumer, f->request, LARGE, f->release), ERR_OK);
}

static void empty_ring_has_nothing_to_take(void **state)
{
	struct fixture *f = *state;

	assert_false(ring_pending(f->consumer));
	assert_int_equal(peek(f), ERR_AGAIN);
}

static void entry_comes_out_as_it_went_in(void **state)
{
	struct fixture *f = *state;

	assert_true(publish(f, 1024));
	assert_true(ring_pending(f->consumer));
	assert_int_equal(take(f, 1), 0);
	assert_false(ring_pending(f->consumer));
	assert_int_equal(ring_outstanding(f->producer), 1);
	ring_release(f->consumer, 0);
	assert_int_equal(ring_outstanding(f->producer), 0);
}

static void reserved_entry_is_not_seen_before_it_is_published(void **state)
{
	struct fixture *f = *state;

	assert_non_null(ring_reserve(f->producer, 4096));
	assert_false(ring_pending(f->consumer));
	assert_int_equal(peek(f), ERR_AGAIN);
	assert_true(publish(f, 128));
	assert_int_equal(take(f, 1), 0);
}

static void peeked_entry_stays_and_its_copy_does_not_change(void **state)
{
	struct fixture *f = *state;
	struct request head, again;
	uint64_t number;

	assert_true(publish(f, 256));
	assert_int_equal(ring_peek(f->consumer, &head, &number), ERR_OK);
	/* The worker changes the published entry: what was copied counts. */
	memset((uint8_t *)f->request + RING_DATA_OFFSET, 0xff, sizeof head);
	assert_int_equal(ring_peek(f->consumer, &again, &number), ERR_OK);
	assert_memory_equal(&head, &again, sizeof head);
	assert_int_equal(number, 0);
	assert_true(ring_pending(f->consumer));
	assert_int_equal(ring_take(f->consumer, &again, f->out), ERR_OK);
	assert_int_equal(peek(f), ERR_AGAIN);
}

static void entries_wrap_with_pads_that_are_not_counted(void **state)
{
	struct fixture *f = *state;
	uint64_t taken = 0;

	for (int i = 0; i < 200; i++) {
		size_t length = 128 + (size_t)(i * 7919 % 120000) / 8 * 8 * 8;
		assert_true(publish(f, length));
		assert_int_equal(take(f, f->id), taken);
		ring_release(f->consumer, taken++);
		assert_int_equal(ring_outstanding(f->producer), 0);
	}
	assert_true(atomic_load(&f->request->tail) > 3 * RING_BYTES);
	assert_int_equal(atomic_load(&f->release->released), atomic_load(&f->request->tail));
	assert_int_equal(atomic_load(&f->release->released_count), 200);
}

static void pad_shorter_than_a_head_is_skipped(void **state)
{
	struct fixture *f = *state;
	uint64_t n = 0;

	/* Leaves 8 bytes before the ring's end. */
	for (uint64_t left = RING_BYTES - 8; left > 0; n++) {
		size_t length = left > RING_ENTRY_MAX ? RING_ENTRY_MAX : (size_t)left;
		assert_true(publish(f, length));
		take(f, f->id);
		ring_release(f->consumer, n);
		left -= length;
	}
	assert_true(publish(f, 128));
	assert_int_equal(atomic_load(&f->request->tail), RING_BYTES + 128);
	assert_int_equal(take(f, f->id), n);
	ring_release(f->consumer, n);
	assert_int_equal(ring_outstanding(f->producer), 0);
}

static void full_ring_gives_no_room_until_the_oldest_is_released(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 8; i++)
		assert_true(publish(f, RING_ENTRY_MAX));
	assert_false(publish(f, 128));
	for (uint64_t i = 0; i < 8; i++)
		take(f, i + 1);
	for (uint64_t i = 7; i > 0; i--) {
		ring_release(f->consumer, i);
		assert_false(publish(f, 128));
	}
	ring_release(f->consumer, 0);
	assert_true(publish(f, RING_ENTRY_MAX));
	assert_int_equal(ring_outstanding(f->producer), 1);
}

static void more_entries_than_slots_are_never_outstanding(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < RING_SLOTS; i++)
		assert_true(publish(f, 128));
	assert_false(publish(f, 128));
	for (uint64_t i = 0; i < RING_SLOTS; i++)
		take(f, i + 1);
	ring_release(f->consumer, 1);
	assert_false(publish(f, 128));
	ring_release(f->consumer, 0);
	assert_true(publish(f, 128) && publish(f, 128));
	assert_false(publish(f, 128));
}

static void large_area_is_free_again_with_its_own_mark(void **state)
{
	struct fixture *f = *state;

	assert_true(publish(f, 128));
	assert_true(publish_large(f, LARGE));
	assert_false(publish_large(f, 8));
	assert_true(publish(f, 128));
	take(f, 1);
	take(f, 2);
	take(f, 3);
	assert_false(publish_large(f, 8));
	ring_release(f->consumer, 1);
	assert_true(publish_large(f, 64));
	take(f, 4);
}

static void next_logd_goes_on_behind_what_was_released(void **state)
{
	struct fixture *f = *state;
	struct request head;
	uint64_t number;

	for (int i = 0; i < 6; i++)
		assert_true(publish(f, 256));
	for (uint64_t i = 0; i < 5; i++)
		take(f, i + 1);
	ring_release(f->consumer, 0);
	ring_release(f->consumer, 2);
	ring_release(f->consumer, 4);
	next_logd(f);
	for (uint64_t i = 1; i < 6; i++) {
		assert_int_equal(ring_peek(f->consumer, &head, &number), ERR_OK);
		assert_int_equal(number, i);
		assert_int_equal(head.id, i + 1);
		assert_int_equal(ring_is_released(f->consumer, number), i == 2 || i == 4);
		if (ring_is_released(f->consumer, number))
			ring_skip(f->consumer, &head);
		else
			take(f, i + 1);
	}
	ring_release(f->consumer, 1);
	assert_int_equal(atomic_load(&f->release->released_count), 3);
	ring_release(f->consumer, 3);
	assert_int_equal(atomic_load(&f->release->released_count), 5);
	ring_release(f->consumer, 5);
	assert_int_equal(ring_outstanding(f->producer), 0);
	assert_int_equal(atomic_load(&f->release->released), atomic_load(&f->request->tail));
}

/* Whatever reason it was passed over for: a third logd must not do it again because an older entry is still held. */
static void entry_that_was_skipped_behind_a_held_one_is_released_for_the_logd_after(void **state)
{
	struct fixture *f = *state;
	struct request head;
	uint64_t number;

	assert_true(publish(f, 256) && publish(f, 256));
	take(f, 1);
	assert_int_equal(ring_peek(f->consumer, &head, &number), ERR_OK);
	ring_skip(f->consumer, &head);
	next_logd(f);
	assert_false(ring_is_released(f->consumer, 0));
	assert_true(ring_is_released(f->consumer, 1));
}

/* The stores of a release, each time with a death right behind one of them: entries are neither lost nor counted wrong. */
static void death_between_any_two_stores_of_a_release_loses_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t next = 0;

	for (int stores = 0; stores <= 5; stores++) {
		struct ring_release before, after;
		uint64_t slot = next % RING_SLOTS;
		assert_true(publish(f, 256) && publish(f, 512));
		take(f, next + 1);
		memcpy(&before, f->release, sizeof before);
		ring_release(f->consumer, next);
		memcpy(&after, f->release, sizeof after);
		memcpy(f->release, &before, sizeof before);
		if (stores > 0)
			f->release->marks[slot] = after.marks[slot];
		if (stores > 1)
			memcpy(f->release->places, after.places, sizeof after.places);
		if (stores > 2)
			f->release->place = after.place;
		if (stores > 3)
			f->release->released = after.released;
		if (stores > 4)
			f->release->released_count = after.released_count;
		next_logd(f);
		if (stores == 0) {
			assert_int_equal(take(f, next + 1), next);
			ring_release(f->consumer, next);
		} else if (stores <= 2) {
			struct request head;
			uint64_t number;
			assert_int_equal(ring_peek(f->consumer, &head, &number), ERR_OK);
			assert_int_equal(number, next);
			assert_true(ring_is_released(f->consumer, number));
			ring_skip(f->consumer, &head);
		}
		assert_int_equal(take(f, next + 2), next + 1);
		ring_release(f->consumer, next + 1);
		next += 2;
		assert_int_equal(ring_outstanding(f->producer), 0);
		assert_int_equal(atomic_load(&f->release->released), atomic_load(&f->request->tail));
	}
}

static void number_of_what_is_published_is_believed_within_the_bounds_of_the_ring(void **state)
{
	struct fixture *f = *state;

	for (uint64_t id = 1; id <= 5; id++)
		publish(f, 256);
	assert_int_equal(ring_published(f->consumer), 5);
	ring_release(f->consumer, take(f, 1));
	(void)take(f, 2);
	assert_int_equal(ring_next(f->consumer), 2);
	assert_int_equal(ring_released(f->consumer), 1);
	atomic_store(&f->request->published, 1); /* less than was taken */
	assert_int_equal(ring_published(f->consumer), 2);
	atomic_store(&f->request->published, 0);
	assert_int_equal(ring_published(f->consumer), 2);
	atomic_store(&f->request->published, 1 + RING_SLOTS);
	assert_int_equal(ring_published(f->consumer), 1 + RING_SLOTS);
	atomic_store(&f->request->published, 2 + RING_SLOTS); /* more than there are slots for */
	assert_int_equal(ring_published(f->consumer), 1 + RING_SLOTS);
	atomic_store(&f->request->published, UINT64_MAX);
	assert_int_equal(ring_published(f->consumer), 1 + RING_SLOTS);
}

static void deaths_count_for_the_entry_that_was_being_taken(void **state)
{
	struct fixture *f = *state;

	ring_note_taking(f->consumer, 4);
	assert_int_equal(ring_deaths(f->consumer, 3), 0);
	next_logd(f);
	ring_note_death(f->consumer);
	assert_int_equal(ring_deaths(f->consumer, 3), 1);
	ring_note_taking(f->consumer, 3);
	ring_note_taking(f->consumer, 4);
	next_logd(f);
	ring_note_death(f->consumer);
	assert_int_equal(ring_deaths(f->consumer, 3), 2);
	assert_int_equal(ring_deaths(f->consumer, 2), 0);
	ring_note_taking(f->consumer, 5);
	next_logd(f);
	ring_note_death(f->consumer);
	assert_int_equal(ring_deaths(f->consumer, 3), 0);
	assert_int_equal(ring_deaths(f->consumer, 4), 1);
}

static void death_while_nothing_was_being_taken_is_nobodys(void **state)
{
	struct fixture *f = *state;

	ring_note_taking(f->consumer, 4);
	next_logd(f);
	ring_note_death(f->consumer);
	/* The next logd dies in its recovery, before it takes anything. */
	next_logd(f);
	ring_note_death(f->consumer);
	assert_int_equal(ring_deaths(f->consumer, 3), 1);
	ring_note_taking(f->consumer, 4);
	ring_note_taking(f->consumer, 0);
	next_logd(f);
	ring_note_death(f->consumer);
	assert_int_equal(ring_deaths(f->consumer, 3), 1);
}

/* ---- a worker that breaks the layout ---- */

static void tail_that_goes_back_or_too_far_is_refused(void **state)
{
	struct fixture *f = *state;
	static const uint64_t wrong[] = { 0, 120, 256 - 8, 257, 260, 256 + RING_BYTES, UINT64_MAX & ~7ull, UINT64_MAX };

	publish(f, 256);
	take(f, 1);
	/* What would be found there is an entry as it must be. */
	*(struct request *)((uint8_t *)f->request + RING_DATA_OFFSET + 256) = (struct request){ .length = 128, .type = REQUEST_APPEND };
	atomic_store(&f->request->published, 2);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		atomic_store(&f->request->tail, wrong[i]);
		if (peek(f) != ERR_PROTOCOL)
			fail_msg("tail %llu was taken", (unsigned long long)wrong[i]);
	}
}

static void more_published_than_slots_or_less_than_before_is_refused(void **state)
{
	struct fixture *f = *state;

	publish(f, 256);
	atomic_store(&f->request->published, RING_SLOTS + 1);
	assert_int_equal(peek(f), ERR_PROTOCOL);
	atomic_store(&f->request->published, 1);
	take(f, 1);
	atomic_store(&f->request->published, 0);
	assert_int_equal(peek(f), ERR_PROTOCOL);
}

static void entry_that_is_not_counted_as_published_is_refused(void **state)
{
	struct fixture *f = *state;

	publish(f, 256);
	atomic_store(&f->request->published, 0);
	assert_int_equal(peek(f), ERR_PROTOCOL);
}

static void entry_of_a_wrong_length_is_refused(void **state)
{
	static const uint32_t wrong[] = { 0, 8, 120, 127, 129, 248, 255, 257, 264, RING_ENTRY_MAX, RING_ENTRY_MAX + 8, UINT32_MAX,
		UINT32_MAX - 7 };
	struct fixture *f = *state;
	uint8_t *entry = (uint8_t *)f->request + RING_DATA_OFFSET;

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		if (i == 0)
			publish(f, 256);
		memcpy(entry, &wrong[i], 4);
		if (peek(f) != ERR_PROTOCOL)
			fail_msg("length %u was taken", wrong[i]);
	}
}

static void entry_that_goes_past_the_tail_is_refused(void **state)
{
	struct fixture *f = *state;
	struct request *entry = (struct request *)((uint8_t *)f->request + RING_DATA_OFFSET);

	publish(f, 256);
	entry->length += 8;
	entry->body_length += 8;
	assert_int_equal(peek(f), ERR_PROTOCOL);
}

static void entry_that_goes_past_the_end_of_the_ring_is_refused(void **state)
{
	struct fixture *f = *state;
	struct request *entry = (struct request *)((uint8_t *)f->request + RING_LARGE_OFFSET - 256);

	f->release->places[0].position = RING_BYTES - 256;
	next_logd(f);
	*entry = (struct request){ .length = 264, .type = REQUEST_APPEND, .body_length = 264 - sizeof *entry };
	atomic_store(&f->request->published, 1);
	atomic_store(&f->request->tail, RING_BYTES + 8);
	assert_int_equal(peek(f), ERR_PROTOCOL);
	entry->length -= 8;
	entry->body_length -= 8;
	assert_int_equal(peek(f), ERR_OK);
}

static void parts_that_do_not_add_up_to_the_entry_are_refused(void **state)
{
	struct fixture *f = *state;
	struct request *entry = (struct request *)((uint8_t *)f->request + RING_DATA_OFFSET);

	publish(f, 256);
	entry->name_length = 8;
	assert_int_equal(peek(f), ERR_PROTOCOL);
	entry->name_length = UINT32_MAX;
	assert_int_equal(peek(f), ERR_PROTOCOL);
	entry->name_length = 0;
	assert_int_equal(peek(f), ERR_OK);
}

static void large_request_that_is_longer_than_the_area_is_refused(void **state)
{
	struct fixture *f = *state;
	struct request *entry = (struct request *)((uint8_t *)f->request + RING_DATA_OFFSET);

	publish_large(f, LARGE);
	entry->body_length = LARGE + 8;
	assert_int_equal(peek(f), ERR_PROTOCOL);
	entry->body_length = UINT32_MAX;
	assert_int_equal(peek(f), ERR_PROTOCOL);
	entry->body_length = LARGE;
	assert_int_equal(peek(f), ERR_OK);
}

static void second_large_request_before_the_first_is_released_is_refused(void **state)
{
	struct fixture *f = *state;
	struct request *second = (struct request *)((uint8_t *)f->request + RING_DATA_OFFSET + 128);

	publish_large(f, 64);
	publish(f, 128);
	second->flags = REQUEST_LARGE;
	take(f, 1);
	assert_int_equal(peek(f), ERR_PROTOCOL);
	ring_release(f->consumer, 0);
	assert_int_equal(peek(f), ERR_OK);
}

static void pad_that_does_not_fill_the_ring_or_ends_it_all_is_refused(void **state)
{
	struct fixture *f = *state;
	struct request *entry = (struct request *)((uint8_t *)f->request + RING_DATA_OFFSET);

	publish(f, 256);
	entry->type = REQUEST_PAD;
	assert_int_equal(peek(f), ERR_PROTOCOL);
	entry->length = RING_BYTES;
	assert_int_equal(peek(f), ERR_PROTOCOL);
	atomic_store(&f->request->tail, RING_BYTES);
	assert_int_equal(peek(f), ERR_PROTOCOL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(empty_ring_has_nothing_to_take),
		CASE(entry_comes_out_as_it_went_in),
		CASE(reserved_entry_is_not_seen_before_it_is_published),
		CASE(peeked_entry_stays_and_its_copy_does_not_change),
		CASE(entries_wrap_with_pads_that_are_not_counted),
		CASE(pad_shorter_than_a_head_is_skipped),
		CASE(full_ring_gives_no_room_until_the_oldest_is_released),
		CASE(more_entries_than_slots_are_never_outstanding),
		CASE(large_area_is_free_again_with_its_own_mark),
		CASE(next_logd_goes_on_behind_what_was_released),
		CASE(entry_that_was_skipped_behind_a_held_one_is_released_for_the_logd_after),
		CASE(death_between_any_two_stores_of_a_release_loses_nothing),
		CASE(number_of_what_is_published_is_believed_within_the_bounds_of_the_ring),
		CASE(deaths_count_for_the_entry_that_was_being_taken),
		CASE(death_while_nothing_was_being_taken_is_nobodys),
		CASE(tail_that_goes_back_or_too_far_is_refused),
		CASE(more_published_than_slots_or_less_than_before_is_refused),
		CASE(entry_that_is_not_counted_as_published_is_refused),
		CASE(entry_of_a_wrong_length_is_refused),
		CASE(entry_that_goes_past_the_tail_is_refused),
		CASE(entry_that_goes_past_the_end_of_the_ring_is_refused),
		CASE(parts_that_do_not_add_up_to_the_entry_are_refused),
		CASE(large_request_that_is_longer_than_the_area_is_refused),
		CASE(second_large_request_before_the_first_is_released_is_refused),
		CASE(pad_that_does_not_fill_the_ring_or_ends_it_all_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
