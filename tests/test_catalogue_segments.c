/* Sealed files in the catalogue: extents become segments, floors drop these, blocks go back. */
#include "tests/catalogue_fixture.h"

static void add_extent_of(struct fixture *f, uint32_t slot, uint64_t first, uint32_t count, uint32_t file)
{
	struct extent extent = { .first_seq = first, .count = count, .offset = first * 100, .length = 8, .file = file, .entry = 96, .payload = count };

	assert_int_equal(catalogue_extent_add(f->writer, slot, &extent), ERR_OK);
}

static struct segment segment_of(uint64_t first, uint64_t last, uint32_t extents, uint32_t file)
{
	return (struct segment){ .first_seq = first, .last_seq = last, .extents_offset = file * 1000u, .extents = extents, .file = file, .live = last - first + 1,
		.payload = 7 };
}

static unsigned segments_from(struct fixture *f, uint32_t slot, uint64_t seq, struct segment *segments, unsigned room)
{
	unsigned count = 99;

	assert_int_equal(catalogue_segments(f->reader, slot, id_of(f, slot), seq, segments, room, &count), ERR_OK);
	return count;
}

static void counts_are(struct fixture *f, uint32_t slot, uint64_t extents, uint64_t segments)
{
	struct topic_numbers numbers;

	assert_int_equal(catalogue_numbers(f->reader, slot, &numbers), ERR_OK);
	assert_int_equal(numbers.extents, extents);
	assert_int_equal(numbers.segments, segments);
}

static void sealed_file_leaves_the_extents_and_is_a_segment(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "t");
	struct segment segment = segment_of(1, 50, 5, 3), found[4];
	struct extent extents[32];

	for (uint64_t i = 0; i < 12; i++)
		add_extent_of(f, slot, 1 + i * 10, 10, 3 + (uint32_t)(i / 5));
	publish(f, slot, 120);
	assert_int_equal(catalogue_seal(f->writer, slot, &segment), ERR_OK);
	counts_are(f, slot, 7, 1);
	assert_int_equal(extents_from(f, slot, 1, extents, 32), 7);
	assert_int_equal(extents[0].first_seq, 51);
	assert_int_equal(segments_from(f, slot, 1, found, 4), 1);
	assert_memory_equal(found, &segment, sizeof segment);
	segment = segment_of(51, 100, 5, 4);
	assert_int_equal(catalogue_seal(f->writer, slot, &segment), ERR_OK);
	assert_int_equal(segments_from(f, slot, 50, found, 4), 2);
	assert_int_equal(segments_from(f, slot, 51, found, 4), 1);
	assert_int_equal(found[0].file, 4);
	assert_int_equal(segments_from(f, slot, 101, found, 4), 0);
	assert_int_equal(extents_from(f, slot, 1, extents, 32), 2);
	add_extent_of(f, slot, 121, 1, 5);
	publish(f, slot, 121);
	assert_int_equal(extents_from(f, slot, 1, extents, 32), 3);
	assert_int_equal(extents[2].first_seq, 121);
}

/* A topic that was ephemeral for a while: what lies in other files stays, before, between and behind. */
static void extents_of_other_files_stay_wherever_they_stand(void **state)
{
	struct fixture *f = *state;
	static const uint32_t files[] = { 9, 3, 9, 9, 3, 3, 9, 4, 3, 9 };
	uint32_t slot = add(f, "t");
	struct segment segment = segment_of(11, 90, 4, 3);
	struct extent extents[32];
	unsigned count, at = 0;

	for (uint64_t i = 0; i < 10; i++)
		add_extent_of(f, slot, 1 + i * 10, 10, files[i]);
	publish(f, slot, 100);
	add_extent_of(f, slot, 101, 10, 9); /* not seen yet, and not to be shown by the seal */
	assert_int_equal(catalogue_seal(f->writer, slot, &segment), ERR_OK);
	count = extents_from(f, slot, 1, extents, 32);
	assert_int_equal(count, 6);
	for (uint64_t i = 0; i < 10; i++)
		if (files[i] != 3)
			assert_int_equal(extents[at++].first_seq, 1 + i * 10);
	publish(f, slot, 110);
	assert_int_equal(extents_from(f, slot, 101, extents, 32), 1);
	/* None of this file in the list: nothing leaves it. */
	segment = segment_of(111, 111, 1, 77);
	assert_int_equal(catalogue_seal(f->writer, slot, &segment), ERR_OK);
	counts_are(f, slot, 7, 2);
}

static void segments_of_a_start_are_seen_with_the_numbers(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "t");
	struct segment segment = segment_of(1, 10, 1, 3), found[4];

	assert_int_equal(catalogue_segment_add(f->writer, slot, &segment), ERR_OK);
	segment = segment_of(10, 20, 1, 4);
	assert_int_equal(catalogue_segment_add(f->writer, slot, &segment), ERR_RANGE);
	assert_int_equal(catalogue_seal(f->writer, slot, &segment), ERR_RANGE);
	segment = segment_of(11, 20, 1, 4);
	assert_int_equal(catalogue_segment_add(f->writer, slot, &segment), ERR_OK);
	assert_int_equal(segments_from(f, slot, 1, found, 4), 0);
	publish(f, slot, 20);
	assert_int_equal(segments_from(f, slot, 1, found, 4), 2);
	assert_int_equal(segments_from(f, slot, 1, found, 1), 1);
	assert_int_equal(found[0].file, 3);
}

static void floor_drops_the_segments_that_lie_below_it(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "t");
	struct segment found[4];

	for (uint64_t i = 0; i < 1000; i++) {
		struct segment segment = segment_of(1 + i * 10, 10 + i * 10, 1, (uint32_t)i);
		assert_int_equal(catalogue_segment_add(f->writer, slot, &segment), ERR_OK);
	}
	publish(f, slot, 10000);
	catalogue_extents_drop(f->writer, slot, 9); /* the first is still needed */
	assert_int_equal(segments_from(f, slot, 1, found, 4), 4);
	assert_int_equal(found[0].first_seq, 1);
	catalogue_extents_drop(f->writer, slot, 10);
	assert_int_equal(segments_from(f, slot, 1, found, 4), 4);
	assert_int_equal(found[0].first_seq, 11);
	catalogue_extents_drop(f->writer, slot, 9995);
	assert_int_equal(segments_from(f, slot, 1, found, 4), 1);
	assert_int_equal(found[0].first_seq, 9991);
	catalogue_extents_drop(f->writer, slot, UINT64_MAX);
	counts_are(f, slot, 0, 0);
}

/* Topics that come and go, and files that are sealed one after the other, live in the same blocks. */
static void heap_does_not_grow_by_sealing_and_removing(void **state)
{
	struct fixture *f = *state;
	uint64_t end = 0;

	for (uint32_t round = 0; round < 3000; round++) {
		uint32_t slot = add(f, "t");
		for (uint32_t file = 0; file < 8; file++) {
			struct segment segment = segment_of(1 + file * 40, 40 + file * 40, 4, file);
			for (uint32_t i = 0; i < 4; i++)
				add_extent_of(f, slot, 1 + file * 40 + i * 10, 10, round % 2 == 0 || i != 2 ? file : 99);
			publish(f, slot, 40 + file * 40);
			assert_int_equal(catalogue_seal(f->writer, slot, &segment), ERR_OK);
		}
		catalogue_topic_remove(f->writer, slot);
		if (round == 3)
			end = f->writer->heap_end;
	}
	assert_int_equal(f->writer->heap_end, end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(sealed_file_leaves_the_extents_and_is_a_segment),
		CASE(extents_of_other_files_stay_wherever_they_stand),
		CASE(segments_of_a_start_are_seen_with_the_numbers),
		CASE(floor_drops_the_segments_that_lie_below_it),
		CASE(heap_does_not_grow_by_sealing_and_removing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
