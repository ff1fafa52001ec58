/* worker/read.c on damaged files: what is bad is announced, what is told is true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/record.h"
#include "tests/read_world.h"

static void damaged_record_ends_the_page_before_it_and_is_announced_alone(void **state)
{
	struct read_world *w = *state;
	struct extent extent = put_batch(w, 0, 1, 10);
	put_batch(w, 0, 11, 2);
	fixture_damage(&w->file[0], fixture_record_offset(&w->file[0], &extent, 4) + RECORD_HEAD + 2, 0x01);
	page_is(w, 0, 1, 4);
	assert_int_equal(read_from(w, 4), ERR_OK);
	tombstone_is(w, 5, 5, REASON_CORRUPT);
	records_are(w, 1, 0, 0);
	assert_int_equal(w->page.next, 5);
	page_is(w, 5, 6, 12);
}

static void frame_that_cannot_be_read_is_announced_whole_and_the_next_one_is_read(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 3);
	struct extent extent = put_batch(w, 0, 4, 5);
	put_batch(w, 0, 9, 3);
	fixture_damage(&w->file[0], extent.offset, 0x10); /* its magic */
	page_is(w, 0, 1, 3);
	assert_int_equal(read_from(w, 5), ERR_OK);
	tombstone_is(w, 6, 8, REASON_CORRUPT);
	assert_int_equal(w->page.next, 8);
	page_is(w, 8, 9, 11);
}

static void file_that_ends_too_early_is_damage_and_no_error(void **state)
{
	struct read_world *w = *state;
	put_batch(w, 0, 1, 3);
	struct extent extent = put_batch(w, 0, 4, 5);
	put_batch(w, 1, 9, 2);
	assert_int_equal(ftruncate(w->file[0].fd, (off_t)(extent.offset + extent.length / 2)), 0);
	assert_int_equal(read_from(w, 0), ERR_OK);
	assert_true(w->page.next >= 3 && !w->page.has_tombstone);
	records_are(w, 1, w->page.next, 0);
	for (uint64_t from = w->page.next; from < 8; from = w->page.next) {
		assert_int_equal(read_from(w, from), ERR_OK);
		tombstone_is(w, from + 1, w->page.tombstone.to, REASON_CORRUPT);
		assert_true(w->page.next > from && w->page.next <= 8);
	}
	page_is(w, 8, 9, 10);
}

static void frame_that_moved_to_another_file_is_read_there(void **state)
{
	struct read_world *w = *state;
	struct fixture_file *from = &w->file[0], *to = &w->file[1];
	uint8_t bytes[4096];
	struct frame_head head;
	struct extent extent = put_batch(w, 0, 1, 4);
	assert_int_equal(pread(from->fd, bytes, extent.length, (off_t)extent.offset), extent.length);
	assert_int_equal(frame_head_decode(&head, bytes, extent.length), ERR_OK);
	frame_seal(bytes, &head, to->id, 4096);
	assert_int_equal(pwrite(to->fd, bytes, extent.length, 4096), extent.length);
	for (uint32_t i = 0; i < extent.length; i += 16)
		fixture_damage(from, extent.offset + i, 0xff);
	assert_int_equal(catalogue_move(w->f->catalogue, w->slot, 1, to->index, 4096), ERR_OK);
	page_is(w, 0, 1, 4);
}

static void frame_that_was_made_for_another_place_is_damage(void **state)
{
	struct read_world *w = *state;
	uint8_t bytes[4096];
	struct extent extent = put_batch(w, 0, 1, 4);
	assert_int_equal(pread(w->file[0].fd, bytes, extent.length, (off_t)extent.offset), extent.length);
	assert_int_equal(pwrite(w->file[1].fd, bytes, extent.length, (off_t)extent.offset), extent.length);
	assert_int_equal(catalogue_move(w->f->catalogue, w->slot, 1, w->file[1].index, extent.offset), ERR_OK);
	assert_int_equal(read_from(w, 0), ERR_OK);
	tombstone_is(w, 1, 4, REASON_CORRUPT);
}

static void frame_of_another_topic_is_damage(void **state)
{
	struct read_world *w = *state;
	uint32_t other = fixture_topic(w->f, "others");
	struct extent mine = put_batch(w, 0, 1, 4);
	struct extent others = fixture_batch(w->f, &w->file[0], other, 1, &(struct fixture_batch){ .count = 4 });
	assert_int_equal(mine.length, others.length);
	assert_int_equal(catalogue_move(w->f->catalogue, w->slot, 1, w->file[0].index, others.offset), ERR_OK);
	assert_int_equal(read_from(w, 0), ERR_OK);
	tombstone_is(w, 1, 4, REASON_CORRUPT);
	records_are(w, 1, 0, 0);
}

/* A length that lost or gained a bit may lead to a later record's beginning: no record may be given another's number. */
static void damaged_length_never_gives_a_record_the_number_of_another(void **state)
{
	struct read_world *w = *state;
	struct extent extent = fixture_batch(w->f, &w->file[0], w->slot, 1, &(struct fixture_batch){ .count = 150, .data_length = 32 }); /* 64 bytes each */
	fixture_publish(w->f, w->slot, 150);
	for (unsigned record = 0; record < 150; record += 7) {
		uint64_t at = fixture_record_offset(&w->file[0], &extent, record);
		for (unsigned bit = 0; bit < 24; bit++) {
			uint64_t announced = 0;
			fixture_damage(&w->file[0], at + bit / 8, (uint8_t)(1u << bit % 8));
			for (uint64_t from = 0; from < 150; from = w->page.next) {
				assert_int_equal(read_from(w, from), ERR_OK);
				assert_true(w->page.next > from);
				if (w->page.has_tombstone) {
					tombstone_is(w, from + 1, w->page.tombstone.to, REASON_CORRUPT);
					announced += w->page.tombstone.to - from;
				}
				records_are(w, w->page.has_tombstone ? w->page.tombstone.to + 1 : from + 1, w->page.next, 0);
			}
			assert_true(announced >= 1);
			for (uint64_t from = 0; from < 150; from++) {
				w->request.limit = 1;
				assert_int_equal(read_from(w, from), ERR_OK);
				if (!w->page.has_tombstone)
					records_are(w, from + 1, from + 1, 0);
			}
			w->request.limit = 1000;
			fixture_damage(&w->file[0], at + bit / 8, (uint8_t)(1u << bit % 8));
		}
	}
	page_is(w, 0, 1, 150);
}

static void damage_in_a_frame_larger_than_a_window_is_seen_though_its_pages_follow_each_other(void **state)
{
	struct read_world *w = *state;
	struct extent extent = fixture_batch(w->f, &w->file[0], w->slot, 1, &(struct fixture_batch){ .count = 5, .data_length = 600000 });
	fixture_publish(w->f, w->slot, 5);
	w->request.limit = 1;
	fixture_damage(&w->file[0], fixture_record_offset(&w->file[0], &extent, 4) + 4, 0x01); /* a CRC field */
	assert_int_equal(read_from(w, 0), ERR_OK);
	tombstone_is(w, 1, 5, REASON_CORRUPT);
	fixture_damage(&w->file[0], fixture_record_offset(&w->file[0], &extent, 4) + 4, 0x01);
	page_is(w, 0, 1, 1);
	page_is(w, 1, 2, 2);
	fixture_damage(&w->file[0], extent.offset + 72, 0x01); /* ts */
	assert_int_equal(read_from(w, 2), ERR_OK);
	tombstone_is(w, 3, 5, REASON_CORRUPT);
	fixture_damage(&w->file[0], extent.offset + 72, 0x01);
	fixture_damage(&w->file[0], fixture_record_offset(&w->file[0], &extent, 2) + RECORD_HEAD + 500000, 0x01);
	assert_int_equal(read_from(w, 2), ERR_OK);
	tombstone_is(w, 3, 3, REASON_CORRUPT);
	page_is(w, 3, 4, 4);
}

static void no_bit_of_a_frame_can_change_without_being_seen(void **state)
{
	struct read_world *w = *state;
	static const char *const nodes[] = { NULL, "b", NULL };
	struct extent extent = fixture_batch(w->f, &w->file[0], w->slot, 1, &(struct fixture_batch){ .count = 3, .node = "aa", .nodes = nodes, .tag = "tt", .meta = "{}" });
	fixture_publish(w->f, w->slot, 3);
	w->request.include_tags = true;
	assert_int_equal(read_from(w, 0), ERR_OK);
	records_are(w, 1, 3, 0);
	size_t length = w->out.length;
	char *right = malloc(length);
	memcpy(right, w->out.bytes, length);
	for (uint32_t at = 0; at < extent.length; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			fixture_damage(&w->file[0], extent.offset + at, (uint8_t)(1u << bit));
			assert_int_equal(read_from(w, 0), ERR_OK);
			/* Either it does not matter, or what follows the damage is not told as if it were true. */
			if (w->out.length > length || memcmp(right, w->out.bytes, w->out.length) != 0 || (w->out.length < length && w->page.next == 3 && !w->page.has_tombstone))
				fail_msg("byte %u bit %u: %.*s", at, bit, (int)w->out.length, (const char *)w->out.bytes);
			fixture_damage(&w->file[0], extent.offset + at, (uint8_t)(1u << bit));
		}
	}
	free(right);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, read_world_set_up, read_world_tear_down)
	const struct CMUnitTest tests[] = {
		CASE(damaged_record_ends_the_page_before_it_and_is_announced_alone),
		CASE(frame_that_cannot_be_read_is_announced_whole_and_the_next_one_is_read),
		CASE(file_that_ends_too_early_is_damage_and_no_error),
		CASE(frame_that_moved_to_another_file_is_read_there),
		CASE(frame_that_was_made_for_another_place_is_damage),
		CASE(frame_of_another_topic_is_damage),
		CASE(damaged_length_never_gives_a_record_the_number_of_another),
		CASE(damage_in_a_frame_larger_than_a_window_is_seen_though_its_pages_follow_each_other),
		CASE(no_bit_of_a_frame_can_change_without_being_seen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
