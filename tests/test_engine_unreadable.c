/* A start on a disk that does not give every byte: what cannot be read is announced as io_error, and what can be read is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/engine_fixture.h"

enum { BATCHES = 8, RECORDS = 3, BLOCK = 4096, AHEAD = 4096 /* what the first ceiling reserves */ };

/* Eight batches of three records of `t`, each larger than a block, synced; logd and all are dead. */
struct written {
	struct engine_fixture *f;
	uint64_t ids[BATCHES], offsets[BATCHES];
	struct file_name file;   /* which holds all of them */
};

/* Where the batch that begins with `seq` lies. */
static struct extent place_of(struct written *w, uint64_t seq, struct file_name *name)
{
	struct engine_fixture *f = w->f;
	struct catalogue_file file;
	struct extent extent;
	unsigned found;

	assert_int_equal(catalogue_extents(f->now, catalogue_find(f->now, "t", 1), engine_numbers(f, "t").id, seq, &extent, 1, &found), ERR_OK);
	assert_int_equal(catalogue_file(f->now, extent.file, &file), ERR_OK);
	*name = (struct file_name){ .kind = 'w', .id = file.id };
	return extent;
}

static void write_all(struct written *w, struct engine_fixture *f)
{
	struct topic_config config = engine_config(DURABILITY_FSYNC);
	struct extent extent;

	w->f = f;
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	assert_int_equal(engine_answered(f, engine_put(f, "t", &config))->status, ERR_OK);
	for (unsigned i = 0; i < BATCHES; i++) {
		w->ids[i] = engine_append(f, "t", RECORDS, &(struct append_options){ .bytes = 3000 });
		assert_int_equal(engine_answered(f, w->ids[i])->status, ERR_OK);
		extent = place_of(w, i * RECORDS + 1, &w->file);
		w->offsets[i] = extent.offset;
	}
	engine_pass(f, 1000000);
	engine_settle(f);
}

static int setup(void **state)
{
	struct written *w = calloc(1, sizeof *w);

	write_all(w, engine_fixture_create(1));
	engine_fixture_daemon_dies(w->f, false);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct written *w = *state;

	engine_fixture_destroy(w->f);
	free(w);
	return 0;
}

/* All batches but those of [from, to) can be read. */
static void assert_reads_without(struct written *w, unsigned from, unsigned to)
{
	for (unsigned i = 0; i < BATCHES; i++)
		if (i < from || i >= to)
			assert_true(engine_reads(w->f, "t", i * RECORDS + 1, RECORDS, w->ids[i]));
}

static void assert_loss(struct written *w, uint64_t from, uint64_t to, uint32_t flags)
{
	struct loss loss;

	assert_int_equal(engine_losses(w->f, "t", &loss, 1), 1);
	assert_int_equal(loss.from, from);
	assert_int_equal(loss.to, to);
	assert_int_equal(loss.reason, REASON_IO_ERROR);
	assert_int_equal(loss.flags, flags);
}

static void unreadable_block_below_the_frontier_costs_its_batches_and_no_later_one(void **state)
{
	struct written *w = *state;

	memory_world_unreadable(w->f->world, &w->file, w->offsets[3], 1);
	for (unsigned again = 0; again < 2; again++) {
		assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
		assert_int_equal(engine_numbers(w->f, "t").head, BATCHES * RECORDS + again);
		/* The block may hold the end of the batch before. */
		assert_loss(w, (w->offsets[3] % BLOCK == 0 ? 3 : 2) * RECORDS + 1, 4 * RECORDS, 0);
		assert_reads_without(w, 2, 4);
		assert_int_equal(engine_answered(w->f, engine_append(w->f, "t", 1, NULL))->first_seq, BATCHES * RECORDS + 1 + again);
		engine_settle(w->f);
		engine_fixture_daemon_dies(w->f, false);
	}
}

static void what_was_announced_stays_lost_when_it_can_be_read_again(void **state)
{
	struct written *w = *state;

	memory_world_unreadable(w->f->world, &w->file, w->offsets[3] / BLOCK * BLOCK + BLOCK, 1);
	assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
	assert_loss(w, 3 * RECORDS + 1, 4 * RECORDS, 0);
	engine_fixture_daemon_dies(w->f, false);
	memory_world_unreadable(w->f->world, &w->file, 0, 0);
	assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
	assert_int_equal(engine_numbers(w->f, "t").head, BATCHES * RECORDS);
	assert_loss(w, 3 * RECORDS + 1, 4 * RECORDS, 0);
	assert_reads_without(w, 3, 4);
}

static void read_that_fails_once_costs_nothing(void **state)
{
	struct written *w = *state;
	struct loss loss;

	for (uint64_t nth = 0; nth < 12; nth++) {
		memory_world_fail(w->f->world, MEMORY_PREAD, nth, EIO, false);
		assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
		memory_world_no_faults(w->f->world);
		assert_int_equal(engine_losses(w->f, "t", &loss, 1), 0);
		assert_reads_without(w, 0, 0);
		engine_fixture_daemon_dies(w->f, false);
	}
}

static void header_that_cannot_be_read_is_made_up_for_by_the_frames_behind_its_block(void **state)
{
	struct written *w = *state;
	uint64_t seq = BATCHES * RECORDS + 1, ids[3];
	struct file_name name;

	/* This start goes on in a new file. */
	assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(engine_answered(w->f, ids[i] = engine_append(w->f, "t", RECORDS, &(struct append_options){ .bytes = 3000 }))->status, ERR_OK);
	(void)place_of(w, seq, &name);
	assert_int_not_equal(name.id, w->file.id);
	engine_pass(w->f, 1000000);
	engine_settle(w->f);
	engine_fixture_daemon_dies(w->f, false);
	memory_world_unreadable(w->f->world, &name, 0, FILE_HEADER_SIZE);
	assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
	assert_reads_without(w, 0, 0);
	assert_loss(w, seq, seq + RECORDS - 1, 0);
	for (unsigned i = 1; i < 3; i++)
		assert_true(engine_reads(w->f, "t", seq + i * RECORDS, RECORDS, ids[i]));
}

static void unreadable_block_that_created_a_topic_refuses_the_start_and_touches_nothing(void **state)
{
	struct written *w = *state;

	memory_world_unreadable(w->f->world, &w->file, 0, FILE_HEADER_SIZE);
	assert_int_equal(engine_fixture_start(w->f, true, false), ERR_CORRUPT);
	engine_fixture_logd_dies(w->f);
	memory_world_unreadable(w->f->world, &w->file, 0, 0);
	assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
	assert_reads_without(w, 0, 0);
}

static void unreadable_bytes_behind_the_last_frame_end_the_log_with_a_loss_that_is_possible(void **state)
{
	struct written *w = *state;

	memory_world_unreadable(w->f->world, &w->file, (w->offsets[BATCHES - 1] / BLOCK + 40) * BLOCK, 1);
	assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
	assert_loss(w, BATCHES * RECORDS + 1, AHEAD, ENTRY_POSSIBLE);
	assert_reads_without(w, 0, 0);
	assert_int_equal(engine_answered(w->f, engine_append(w->f, "t", 1, NULL))->first_seq, AHEAD + 1);
}

/* With another boot token a bad frame behind the frontier counts as a tear, of which nobody was told; one that cannot be read may have been acked. */
static void unreadable_tail_after_a_power_cut_is_announced(void **state)
{
	struct written *w = *state;
	struct file_name name;
	struct extent extent;

	assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
	assert_int_equal(engine_answered(w->f, engine_append(w->f, "t", 1, NULL))->status, ERR_OK);
	extent = place_of(w, BATCHES * RECORDS + 1, &name);
	engine_fixture_daemon_dies(w->f, true);
	memory_world_unreadable(w->f->world, &name, extent.offset, 1);
	assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
	assert_reads_without(w, 0, 0);
	assert_loss(w, BATCHES * RECORDS + 1, AHEAD, ENTRY_POSSIBLE);
}

static void checkpoint_that_cannot_be_read_is_made_up_for_by_the_log(void **state)
{
	struct written *w = *state;
	struct file_name names[64];
	unsigned stopped = 0;
	struct loss loss;

	assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
	assert_int_equal(engine_fixture_stop(w->f), ERR_OK);
	for (unsigned i = 0, count = memory_world_names(w->f->world, names, 64); i < count; i++)
		if (names[i].kind == 'c') {
			memory_world_unreadable(w->f->world, &names[i], FILE_HEADER_SIZE, 1);
			stopped++;
		}
	assert_int_equal(stopped, 1);
	assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
	assert_int_equal(engine_losses(w->f, "t", &loss, 1), 0);
	assert_reads_without(w, 0, 0);
}

/* From the n-th read on; the first ones are of headers. */
static void disk_that_gives_next_to_nothing_refuses_the_start_and_loses_nothing(void **state)
{
	struct written *w = *state;

	for (uint64_t nth = 0; nth < 4; nth++) {
		memory_world_fail(w->f->world, MEMORY_PREAD, nth, EIO, true);
		assert_int_equal(engine_fixture_start(w->f, true, false), ERR_IO);
		engine_fixture_logd_dies(w->f);
		memory_world_no_faults(w->f->world);
	}
	assert_int_equal(engine_fixture_start(w->f, true, false), ERR_OK);
	assert_reads_without(w, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(unreadable_block_below_the_frontier_costs_its_batches_and_no_later_one),
		TEST(what_was_announced_stays_lost_when_it_can_be_read_again),
		TEST(read_that_fails_once_costs_nothing),
		TEST(header_that_cannot_be_read_is_made_up_for_by_the_frames_behind_its_block),
		TEST(unreadable_block_that_created_a_topic_refuses_the_start_and_touches_nothing),
		TEST(unreadable_bytes_behind_the_last_frame_end_the_log_with_a_loss_that_is_possible),
		TEST(unreadable_tail_after_a_power_cut_is_announced),
		TEST(checkpoint_that_cannot_be_read_is_made_up_for_by_the_log),
		TEST(disk_that_gives_next_to_nothing_refuses_the_start_and_loses_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
