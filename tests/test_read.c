/* worker/read.c: from a cursor to a page of records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/read_world.h"
#include "worker/files.h"

static void set_floor(struct read_world *w, uint64_t floor, uint32_t reason)
{
	struct topic_numbers numbers;
	assert_int_equal(catalogue_numbers(w->f->reader, w->slot, &numbers), ERR_OK);
	numbers.floor = floor;
	numbers.floor_reason = reason;
	numbers.earliest = floor + 1;
	catalogue_topic_numbers(w->f->catalogue, w->slot, &numbers);
	catalogue_extents_drop(w->f->catalogue, w->slot, floor);
}

static void lose(struct read_world *w, uint64_t from, uint64_t to, uint32_t reason, uint32_t flags)
{
	struct topic_numbers numbers;
	assert_int_equal(catalogue_numbers(w->f->reader, w->slot, &numbers), ERR_OK);
	assert_int_equal(catalogue_loss_add(w->f->catalogue, w->slot, &(struct loss){ .from = from, .to = to, .reason = reason, .flags = flags }), ERR_OK);
	if (numbers.head < to)
		numbers.head = to;
	catalogue_topic_numbers(w->f->catalogue, w->slot, &numbers);
}

/* ---- pages ---- */

static void page_goes_over_batches_and_files_from_any_cursor(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 3);
	put_batch(w, 1, 4, 1);
	put_batch(w, 0, 5, 7);
	put_batch(w, 2, 12, 200);
	put_batch(w, 2, 212, 1);
	for (uint64_t from = 0; from <= 212; from++)
		page_is(w, from, from + 1, 212);
	assert_int_equal(w->page.numbers.head, 212);
	assert_int_equal(w->page.examined, 0);
}

static void empty_topic_and_caught_up_cursor_give_an_empty_page(void **state)
{
	struct read_world *w = *state;
	page_is(w, 0, 1, 0);
	put_batch(w, 0, 1, 2);
	page_is(w, 2, 3, 2);
	assert_int_equal(w->page.next, 2);
}

static void what_is_not_published_is_not_seen(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 2);
	fixture_batch(w->f, &w->file[0], w->slot, 3, &(struct fixture_batch){ .count = 5 });
	page_is(w, 0, 1, 2);
	fixture_publish(w->f, w->slot, 7);
	page_is(w, 0, 1, 7);
}

static void limit_ends_the_page_and_the_next_goes_on_there(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 100);
	put_batch(w, 1, 101, 300);
	for (uint64_t limit = 1; limit <= 400; limit += limit < 5 ? 1 : 37) {
		w->request.limit = limit;
		for (uint64_t from = 0; from < 400;) {
			uint64_t to = from + limit < 400 ? from + limit : 400;
			page_is(w, from, from + 1, to);
			from = to;
		}
	}
}

static void payload_bytes_end_the_page_but_the_first_record_always_comes(void **state)
{
	struct read_world *w = *state;
	fixture_batch(w->f, &w->file[0], w->slot, 1, &(struct fixture_batch){ .count = 10, .data_length = 990, .meta = "{\"mm\": 12}" });
	fixture_publish(w->f, w->slot, 10);
	static const struct { uint64_t bytes, records; } cases[] = { { 1, 1 }, { 999, 1 }, { 1000, 1 }, { 1999, 1 }, { 2000, 2 }, { 2001, 2 }, { 9999, 9 }, { 10000, 10 } };
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		w->request.max_bytes = cases[i].bytes;
		page_is(w, 0, 1, cases[i].records);
	}
	w->request.max_bytes = 2500;
	page_is(w, 9, 10, 10);
}

static void records_larger_than_a_window_are_read_whole(void **state)
{
	struct read_world *w = *state;
	fixture_batch(w->f, &w->file[0], w->slot, 1, &(struct fixture_batch){ .count = 5, .data_length = 1000000 });
	fixture_batch(w->f, &w->file[0], w->slot, 6, &(struct fixture_batch){ .count = 2, .data_length = 3000000 });
	fixture_publish(w->f, w->slot, 7);
	w->request.max_bytes = READ_BYTES_MAX;
	page_is(w, 0, 1, 6);
	page_is(w, 3, 4, 7);
	page_is(w, 6, 7, 7);
	w->request.limit = 1;
	for (uint64_t from = 0; from < 7; from++)
		page_is(w, from, from + 1, from + 1);
}

static void page_that_is_appended_to_an_answer_leaves_what_stands_there(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 2);
	assert_int_equal(buffer_reserve(&w->out, 4), ERR_OK);
	memcpy(w->out.bytes, "abc[", 4);
	w->out.length = 4;
	assert_int_equal(read_on(w), ERR_OK);
	assert_memory_equal(w->out.bytes, "abc[{\"$seq\":1,", 14);
}

static void tags_meta_nodes_and_time_come_as_they_were_stored_and_asked_for(void **state)
{
	struct read_world *w = *state;
	static const char *const nodes[] = { NULL, "own", "" };
	fixture_batch(w->f, &w->file[0], w->slot, 1, &(struct fixture_batch){ .count = 3, .data_length = 8, .node = "batch", .nodes = nodes, .tag = "t", .meta = "{ }" });
	fixture_publish(w->f, w->slot, 3);
	w->request.include_tags = true;
	assert_int_equal(read_from(w, 0), ERR_OK);
	static const char all[] = "{\"$seq\":1,\"$ts\":1700000001,\"$tag\":\"t\",\"$node\":\"batch\",\"data\":{\"n\":1} ,\"meta\":{ }},"
	                          "{\"$seq\":2,\"$ts\":1700000001,\"$tag\":\"t\",\"$node\":\"own\",\"data\":{\"n\":2} ,\"meta\":{ }},"
	                          "{\"$seq\":3,\"$ts\":1700000001,\"$tag\":\"t\",\"$node\":\"\",\"data\":{\"n\":3} ,\"meta\":{ }}";
	assert_int_equal(w->out.length, sizeof all - 1);
	assert_memory_equal(w->out.bytes, all, sizeof all - 1);
	w->request.include_tags = w->request.include_meta = false;
	w->request.limit = 1;
	assert_int_equal(read_from(w, 0), ERR_OK);
	static const char bare[] = "{\"$seq\":1,\"$ts\":1700000001,\"$node\":\"batch\",\"data\":{\"n\":1} }";
	assert_int_equal(w->out.length, sizeof bare - 1);
	assert_memory_equal(w->out.bytes, bare, sizeof bare - 1);
}

/* ---- filters ---- */

static void records_of_the_given_nodes_are_left_out_and_do_not_use_up_the_limit(void **state)
{
	struct read_world *w = *state;
	static const char *const nodes[] = { NULL, "b", "", NULL, "aa", "a" };
	const struct slice a = { "a", 1 }, empty = { "", 0 }, both[] = { { "b", 1 }, { "a", 1 } };
	fixture_batch(w->f, &w->file[0], w->slot, 1, &(struct fixture_batch){ .count = 6, .node = "a", .nodes = nodes });
	put_batch(w, 1, 7, 2); /* without any node */
	w->request.nodes = &a;
	w->request.node_count = 1;
	assert_int_equal(read_from(w, 0), ERR_OK);
	records_are(w, 1, 8, 1 << 1 | 1 << 4 | 1 << 6);
	assert_int_equal(w->page.next, 8);
	assert_int_equal(w->page.examined, 8);
	w->request.limit = 3;
	assert_int_equal(read_from(w, 0), ERR_OK);
	records_are(w, 1, 5, 1 << 1 | 1 << 4);
	assert_int_equal(w->page.next, 5);
	w->request.limit = 1000;
	w->request.nodes = &empty;
	assert_int_equal(read_from(w, 0), ERR_OK);
	records_are(w, 1, 8, 1 << 3);
	w->request.nodes = both;
	w->request.node_count = 2;
	assert_int_equal(read_from(w, 0), ERR_OK);
	records_are(w, 1, 8, 1 << 1 | 1 << 2 | 1 << 4 | 1 << 6);
}

static void page_examines_a_hundred_thousand_records_and_no_more(void **state)
{
	struct read_world *w = *state;
	const struct slice a = { "a", 1 };
	enum { BATCH = 10000, BATCHES = 11 };
	for (uint64_t i = 0; i < BATCHES; i++)
		fixture_batch(w->f, &w->file[0], w->slot, i * BATCH + 1, &(struct fixture_batch){ .count = BATCH, .node = "a" });
	put_batch(w, 0, BATCHES * BATCH + 1, 1);
	w->request.nodes = &a;
	w->request.node_count = 1;
	assert_int_equal(read_from(w, 0), ERR_OK);
	assert_int_equal(w->page.examined, READ_EXAMINED_MAX);
	assert_int_equal(w->page.next, READ_EXAMINED_MAX);
	assert_int_equal(w->page.records, 0);
	assert_int_equal(w->out.length, 0);
	assert_int_equal(read_from(w, w->page.next), ERR_OK);
	records_are(w, BATCHES * BATCH + 1, BATCHES * BATCH + 1, 0);
	assert_int_equal(w->page.examined, BATCH + 1);
}

/* ---- gaps ---- */

static void cursor_below_the_floor_gets_one_tombstone_up_to_it_and_then_the_records(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 10);
	put_batch(w, 1, 11, 10);
	set_floor(w, 14, REASON_CAP);
	for (uint64_t from = 0; from < 14; from++) {
		assert_int_equal(read_from(w, from), ERR_OK);
		tombstone_is(w, from + 1, 14, REASON_CAP);
		assert_false(w->page.tombstone.possible);
		records_are(w, 15, 20, 0);
		assert_int_equal(w->page.next, 20);
	}
	for (uint64_t from = 14; from < 20; from++)
		page_is(w, from, from + 1, 20);
}

static void everything_evicted_is_a_tombstone_up_to_the_head_and_caught_up(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 10);
	set_floor(w, 10, REASON_TTL);
	assert_int_equal(read_from(w, 3), ERR_OK);
	tombstone_is(w, 4, 10, REASON_TTL);
	assert_int_equal(w->page.next, 10);
	records_are(w, 1, 0, 0);
}

static void loss_ends_the_page_before_it_and_stands_in_front_of_the_next(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 5);
	lose(w, 6, 9, REASON_CRASH, ENTRY_POSSIBLE);
	put_batch(w, 1, 10, 3);
	page_is(w, 0, 1, 5);
	for (uint64_t from = 5; from < 9; from++) {
		assert_int_equal(read_from(w, from), ERR_OK);
		tombstone_is(w, from + 1, 9, REASON_CRASH);
		assert_true(w->page.tombstone.possible);
		records_are(w, 10, 12, 0);
		assert_int_equal(w->page.next, 12);
	}
	page_is(w, 9, 10, 12);
}

static void losses_one_behind_the_other_are_a_page_each(void **state)
{
	struct read_world *w = *state;
	lose(w, 1, 4, REASON_RESTART, 0);
	lose(w, 5, 6, REASON_CORRUPT, 0);
	put_batch(w, 0, 7, 2);
	lose(w, 9, 11, REASON_IO_ERROR, 0);
	assert_int_equal(read_from(w, 0), ERR_OK);
	tombstone_is(w, 1, 4, REASON_RESTART);
	records_are(w, 1, 0, 0);
	assert_int_equal(w->page.next, 4);
	assert_int_equal(read_from(w, 4), ERR_OK);
	tombstone_is(w, 5, 6, REASON_CORRUPT);
	records_are(w, 7, 8, 0);
	assert_int_equal(w->page.next, 8);
	assert_int_equal(read_from(w, 8), ERR_OK);
	tombstone_is(w, 9, 11, REASON_IO_ERROR);
	records_are(w, 1, 0, 0);
	assert_int_equal(w->page.next, 11);
	page_is(w, 11, 12, 11);
}

static void floor_comes_before_a_loss_behind_it(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 5);
	lose(w, 6, 9, REASON_CRASH, 0);
	put_batch(w, 1, 10, 3);
	set_floor(w, 7, REASON_CAP);
	assert_int_equal(read_from(w, 2), ERR_OK);
	tombstone_is(w, 3, 7, REASON_CAP);
	records_are(w, 1, 0, 0);
	assert_int_equal(w->page.next, 7);
	assert_int_equal(read_from(w, 7), ERR_OK);
	tombstone_is(w, 8, 9, REASON_CRASH);
	records_are(w, 10, 12, 0);
}

static void cursor_beyond_the_head_or_of_another_epoch_starts_over(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 10);
	for (unsigned floor = 0; floor <= 4; floor += 4) {
		if (floor > 0)
			set_floor(w, floor, REASON_CAP);
		assert_int_equal(read_from(w, 11), ERR_OK);
		tombstone_is(w, 1, 10, REASON_RECREATED);
		records_are(w, floor + 1, 10, 0);
		w->request.recreated = true;
		for (uint64_t from = 0; from <= 20; from += 5) {
			assert_int_equal(read_from(w, from), ERR_OK);
			tombstone_is(w, 1, 10, REASON_RECREATED);
			records_are(w, floor + 1, 10, 0);
			assert_int_equal(w->page.next, 10);
		}
		w->request.recreated = false;
	}
	assert_int_equal(read_from(w, UINT64_MAX), ERR_OK);
	tombstone_is(w, 1, 10, REASON_RECREATED);
}

static void every_reason_has_its_name(void **state)
{
	static const char *const names[] = { "", "cap", "ttl", "mixed", "source_trim", "recreated", "restart", "crash", "corrupt", "io_error" };
	(void)state;
	for (uint32_t i = 0; i < REASON_END; i++)
		assert_string_equal(reason_name(i), names[i]);
	assert_string_equal(reason_name(REASON_END), "corrupt");
}

/* ---- what is not there ---- */

static void missing_descriptor_is_asked_for_and_the_page_read_when_it_has_come(void **state)
{
	struct read_world *w = *state;
	struct fixture_file late;
	put_batch(w, 0, 1, 3);
	fixture_file(w->f, false, &late);
	fixture_batch(w->f, &late, w->slot, 4, &(struct fixture_batch){ .count = 3 });
	fixture_publish(w->f, w->slot, 6);
	assert_int_equal(read_from(w, 0), ERR_AGAIN);
	assert_int_equal(w->page.missing_file, late.id);
	fixture_give(w->f, &late);
	page_is(w, 0, 1, 6);
	close(late.fd);
}

static void file_that_cannot_be_opened_waits_for_the_next_catalogue(void **state)
{
	struct read_world *w = *state;
	struct fixture_file late;
	fixture_file(w->f, false, &late);
	fixture_batch(w->f, &late, w->slot, 1, &(struct fixture_batch){ .count = 3 });
	fixture_publish(w->f, w->slot, 3);
	assert_int_equal(read_from(w, 0), ERR_AGAIN);
	files_given(w->f->worker.files, 'w', late.id, -1, 2);
	assert_int_equal(read_from(w, 0), ERR_BUSY);
	close(late.fd);
}

static void file_that_fails_to_read_is_storage_failed(void **state)
{
	struct read_world *w = *state;
	struct fixture_file odd;
	fixture_file(w->f, false, &odd);
	fixture_batch(w->f, &odd, w->slot, 1, &(struct fixture_batch){ .count = 3 });
	fixture_publish(w->f, w->slot, 3);
	int pair[2];
	assert_int_equal(pipe(pair), 0); /* has no offsets to read at */
	files_given(w->f->worker.files, 'w', odd.id, pair[0], 0);
	assert_int_equal(read_from(w, 0), ERR_STORAGE_FAILED);
	close(pair[1]);
	close(odd.fd);
}

static void topic_that_was_deleted_or_made_again_is_not_found(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 3);
	w->request.topic++;
	assert_int_equal(read_from(w, 0), ERR_TOPIC_NOT_FOUND);
	w->request.topic--;
	catalogue_topic_remove(w->f->catalogue, w->slot);
	assert_int_equal(read_from(w, 0), ERR_TOPIC_NOT_FOUND);
}

static void records_that_no_extent_holds_are_announced_one_by_one(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 2);
	fixture_publish(w->f, w->slot, 4);
	put_batch(w, 0, 5, 2);
	page_is(w, 0, 1, 2);
	for (uint64_t from = 2; from < 4; from++) {
		assert_int_equal(read_from(w, from), ERR_OK);
		tombstone_is(w, from + 1, from + 1, REASON_CORRUPT);
		assert_int_equal(w->page.next, from + 1);
	}
	page_is(w, 4, 5, 6);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, read_world_set_up, read_world_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(page_goes_over_batches_and_files_from_any_cursor),
		CASE(empty_topic_and_caught_up_cursor_give_an_empty_page),
		CASE(what_is_not_published_is_not_seen),
		CASE(limit_ends_the_page_and_the_next_goes_on_there),
		CASE(payload_bytes_end_the_page_but_the_first_record_always_comes),
		CASE(records_larger_than_a_window_are_read_whole),
		CASE(page_that_is_appended_to_an_answer_leaves_what_stands_there),
		CASE(tags_meta_nodes_and_time_come_as_they_were_stored_and_asked_for),
		CASE(records_of_the_given_nodes_are_left_out_and_do_not_use_up_the_limit),
		CASE(page_examines_a_hundred_thousand_records_and_no_more),
		CASE(cursor_below_the_floor_gets_one_tombstone_up_to_it_and_then_the_records),
		CASE(everything_evicted_is_a_tombstone_up_to_the_head_and_caught_up),
		CASE(loss_ends_the_page_before_it_and_stands_in_front_of_the_next),
		CASE(losses_one_behind_the_other_are_a_page_each),
		CASE(floor_comes_before_a_loss_behind_it),
		CASE(cursor_beyond_the_head_or_of_another_epoch_starts_over),
		CASE(every_reason_has_its_name),
		CASE(missing_descriptor_is_asked_for_and_the_page_read_when_it_has_come),
		CASE(file_that_cannot_be_opened_waits_for_the_next_catalogue),
		CASE(file_that_fails_to_read_is_storage_failed),
		CASE(topic_that_was_deleted_or_made_again_is_not_found),
		CASE(records_that_no_extent_holds_are_announced_one_by_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
