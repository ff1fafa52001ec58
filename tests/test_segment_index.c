/* Finding the extents of a topic in a sealed file: by its footer, from hints, over waits, and without the footer when that is damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/sealed_file.h"
#include "worker/segment_index.h"

enum { FRAMES = 400, ROOM = 8, FILE_INDEX = 17 };

struct fixture {
	struct sealed_file sealed;
	struct catalogue_file file;
	struct segment segments[SEALED_TOPICS + 1];
	struct segment_hints *hints;
	struct segment_search search;
	/* The source. */
	uint64_t index_reads, reads;
	bool every_read_waits;
	uint64_t ready, ready_length; /* what a reader thread has brought; 0: nothing */
	uint64_t fails_from;   /* reads from this offset on are ERR_IO; 0: none */
	unsigned waits;
};

static enum error bytes(void *context, uint64_t offset, uint64_t length, uint64_t ahead, const uint8_t **out)
{
	struct fixture *f = context;
	if (offset > f->sealed.length || length > f->sealed.length - offset)
		return ERR_CORRUPT;
	if (f->fails_from != 0 && offset >= f->fails_from)
		return ERR_IO;
	/* Nothing is kept but what was asked for last: whoever asks for something else in between never gets on. */
	if (f->every_read_waits && (offset < f->ready || offset + length > f->ready + f->ready_length)) {
		f->ready = offset;
		f->ready_length = length + ahead;
		f->waits++;
		return ERR_AGAIN;
	}
	f->reads++;
	f->index_reads += offset >= footer_offset(&f->sealed.file);
	*out = f->sealed.bytes + offset;
	return ERR_OK;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct footer footer;
	assert_non_null(f);
	sealed_file_make(&f->sealed, 7, FRAMES);
	f->file = (struct catalogue_file){ .id = f->sealed.file.id, .number = 1, .first_lsn = f->sealed.file.first_lsn, .kind = 'w' };
	struct footer_memory memory = { .bytes = f->sealed.bytes, .length = f->sealed.length };
	struct footer_source source = footer_memory_source(&memory);
	assert_int_equal(footer_open(&footer, &source, f->file.id, f->file.first_lsn, f->sealed.length), ERR_OK);
	assert_int_equal(footer_check(&footer, &source), ERR_OK);
	for (uint64_t topic = 1; topic <= SEALED_TOPICS; topic++) {
		struct footer_topic t;
		assert_int_equal(footer_find_topic(&footer, &source, topic, &t), ERR_OK);
		f->segments[topic] = (struct segment){ .first_seq = t.first_seq, .last_seq = t.last_seq, .extents = t.extents, .file = FILE_INDEX, .live = t.live,
			.extents_offset = footer.sections[FOOTER_EXTENTS].offset + (uint64_t)t.extent * FOOTER_EXTENT };
	}
	assert_int_equal(segment_hints_create(&f->hints), ERR_OK);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	sealed_file_free(&f->sealed);
	segment_hints_destroy(&f->hints);
	free(f);
	return 0;
}

/* Until there is an answer, as a reader calls it. */
static enum error find(struct fixture *f, uint64_t topic, uint64_t seq, struct extent *extents, unsigned *count)
{
	const struct segment_bytes source = { bytes, f };
	const struct segment_wanted wanted = { .segment = &f->segments[topic], .file = &f->file, .topic = topic, .seq = seq };
	enum error error;
	unsigned calls = 0;
	do {
		error = segment_index_find(&f->search, f->hints, &wanted, &source, extents, ROOM, count);
		assert_true(calls++ < 100000);
	} while (error == ERR_AGAIN || (error == ERR_OK && *count == 0));
	return error;
}

/* The extents that a walk over everything that was written finds. */
static void assert_right(const struct fixture *f, uint64_t topic, uint64_t seq, const struct extent *extents, unsigned count)
{
	unsigned at = 0;
	for (unsigned i = 0; i < f->sealed.extent_count && at < count; i++) {
		const struct footer_extent *e = &f->sealed.extents[i];
		if (e->topic != topic || e->first_seq + e->count - 1 < seq)
			continue;
		assert_int_equal(extents[at].first_seq, e->first_seq);
		assert_int_equal(extents[at].count, e->count);
		assert_int_equal(extents[at].length, e->length);
		assert_int_equal(extents[at].offset, 512 + e->lsn - f->file.first_lsn);
		assert_int_equal(extents[at].entry, e->entry);
		assert_int_equal(extents[at].payload, e->payload);
		assert_int_equal(extents[at].file, FILE_INDEX);
		at++;
	}
	assert_int_equal(at, count);
}

static void every_seq_is_found(struct fixture *f)
{
	struct extent extents[ROOM];
	unsigned count;
	for (uint64_t topic = 1; topic <= SEALED_TOPICS; topic++)
		for (uint64_t seq = 1; seq <= f->sealed.heads[topic]; seq++) {
			assert_int_equal(find(f, topic, seq, extents, &count), ERR_OK);
			assert_true(extents[0].first_seq <= seq && seq < extents[0].first_seq + extents[0].count);
			assert_right(f, topic, seq, extents, count);
		}
}

static void every_seq_of_every_topic_is_found(void **state)
{
	struct fixture *f = *state;
	every_seq_is_found(f);
	assert_int_equal(f->index_reads, f->reads);
}

static void seq_behind_the_last_is_not_found(void **state)
{
	struct fixture *f = *state;
	struct extent extents[ROOM];
	unsigned count;
	assert_int_equal(find(f, 2, f->sealed.heads[2] + 1, extents, &count), ERR_NOT_FOUND);
	assert_int_equal(count, 0);
	assert_int_equal(find(f, 2, 1, extents, &count), ERR_OK);
}

static void search_goes_on_over_waits_although_nothing_is_kept_of_the_bytes(void **state)
{
	struct fixture *f = *state;
	f->every_read_waits = true;
	every_seq_is_found(f);
	assert_true(f->waits > 1000);
}

static void reader_that_goes_on_does_not_search_again(void **state)
{
	struct fixture *f = *state;
	struct extent extents[ROOM];
	uint64_t seq = 1, finds = 0;
	unsigned count;
	assert_int_equal(find(f, 3, seq, extents, &count), ERR_OK);
	f->reads = 0;
	while (seq < f->sealed.heads[3]) {
		/* To the middle of what was found, or all of it. */
		unsigned used = finds % 2 == 0 ? count : (count + 1) / 2;
		seq = extents[used - 1].first_seq + extents[used - 1].count - (finds % 3 == 0 && extents[used - 1].count > 1 ? 1 : 0);
		if (seq > f->sealed.heads[3])
			break;
		segment_index_remember(f->hints, &f->search, extents, used - 1, seq);
		assert_int_equal(find(f, 3, seq, extents, &count), ERR_OK);
		assert_right(f, 3, seq, extents, count);
		finds++;
	}
	assert_true(finds > 5);
	assert_int_equal(f->reads, finds);
}

static void hint_that_is_wrong_costs_a_search_and_no_more(void **state)
{
	struct fixture *f = *state;
	struct extent extents[ROOM];
	unsigned count;
	for (uint64_t seq = 1; seq <= f->sealed.heads[1]; seq++) {
		assert_int_equal(find(f, 1, f->sealed.heads[1] / 2, extents, &count), ERR_OK);
		segment_index_remember(f->hints, &f->search, extents, 0, seq);
		assert_int_equal(find(f, 1, seq, extents, &count), ERR_OK);
		assert_right(f, 1, seq, extents, count);
		assert_false(segment_index_failed(&f->search));
	}
}

static void damaged_index_costs_no_record(void **state)
{
	struct fixture *f = *state;
	uint64_t from = footer_offset(&f->sealed.file);
	for (uint64_t i = from; i < f->sealed.length; i += 61)
		f->sealed.bytes[i] ^= 0x10;
	every_seq_is_found(f);
	assert_true(segment_index_failed(&f->search));
}

static void single_bad_element_costs_no_record(void **state)
{
	struct fixture *f = *state;
	for (unsigned n = 0; n < f->segments[2].extents; n += 7) {
		struct extent extents[ROOM];
		unsigned count;
		f->sealed.bytes[f->segments[2].extents_offset + (uint64_t)n * FOOTER_EXTENT + n % FOOTER_EXTENT] ^= 1;
		for (uint64_t seq = 1; seq <= f->sealed.heads[2]; seq += 3) {
			assert_int_equal(find(f, 2, seq, extents, &count), ERR_OK);
			assert_right(f, 2, seq, extents, count);
		}
		f->sealed.bytes[f->segments[2].extents_offset + (uint64_t)n * FOOTER_EXTENT + n % FOOTER_EXTENT] ^= 1;
	}
}

static void index_that_cannot_be_read_costs_no_record_over_waits(void **state)
{
	struct fixture *f = *state;
	f->fails_from = footer_offset(&f->sealed.file);
	every_seq_is_found(f);
	f->fails_from = 0;
	f->sealed.length = footer_offset(&f->sealed.file) + 100;
	f->every_read_waits = true;
	every_seq_is_found(f);
}

static void walk_goes_on_where_it_was_left(void **state)
{
	struct fixture *f = *state;
	struct extent extents[ROOM];
	unsigned count;
	f->fails_from = footer_offset(&f->sealed.file);
	assert_int_equal(find(f, 1, f->sealed.heads[1] - 20, extents, &count), ERR_OK);
	segment_index_remember(f->hints, &f->search, extents, count - 1, extents[count - 1].first_seq);
	f->reads = 0;
	assert_int_equal(find(f, 1, extents[count - 1].first_seq, extents, &count), ERR_OK);
	assert_true(f->reads < 40);
}

/* Index gone, and a frame too: its records are missing, not made up, and those of all others are found. */
static void bad_frame_in_a_file_without_an_index_costs_that_frame_alone(void **state)
{
	static const unsigned places[] = { FRAME_HEAD + 8 + 8, FRAME_HEAD + 8, 8, 0, 16 }; /* first seq, topic, length of the frame, magic, LSN */
	struct fixture *f = *state;
	const struct footer_extent *bad = &f->sealed.extents[200];
	f->fails_from = footer_offset(&f->sealed.file);
	for (unsigned i = 0; i < sizeof places / sizeof places[0]; i++) {
		uint8_t *at = f->sealed.bytes + 512 + (bad->lsn - f->file.first_lsn) + places[i];
		*at ^= 1;
		for (unsigned n = 190; n < 210; n++) {
			const struct footer_extent *e = &f->sealed.extents[n];
			struct extent extents[ROOM];
			unsigned count;
			enum error error = find(f, e->topic, e->first_seq, extents, &count);
			if (e != bad)
				assert_true(error == ERR_OK && extents[0].first_seq == e->first_seq && extents[0].offset == 512 + e->lsn - f->file.first_lsn);
			else
				assert_true(error == ERR_NOT_FOUND || extents[0].first_seq > e->first_seq);
		}
		*at ^= 1;
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_seq_of_every_topic_is_found),
		CASE(seq_behind_the_last_is_not_found),
		CASE(search_goes_on_over_waits_although_nothing_is_kept_of_the_bytes),
		CASE(reader_that_goes_on_does_not_search_again),
		CASE(hint_that_is_wrong_costs_a_search_and_no_more),
		CASE(damaged_index_costs_no_record),
		CASE(single_bad_element_costs_no_record),
		CASE(index_that_cannot_be_read_costs_no_record_over_waits),
		CASE(walk_goes_on_where_it_was_left),
		CASE(bad_frame_in_a_file_without_an_index_costs_that_frame_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
