#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/log_fixture.h"

enum { NAMES = 64, TOPICS = 3000 };

static int setup(void **state)
{
	struct fixture *f = malloc(sizeof *f);

	fixture_init(f, 5, 'w', 64 << 10);
	*state = f;
	if (fixture_start(f) != ERR_OK)
		return 1;
	for (unsigned i = 0; i < 3; i++)
		fixture_write(f, 100);
	fixture_sync(f);
	return 0;
}

static int teardown(void **state)
{
	fixture_free(*state);
	free(*state);
	return 0;
}

/* The `n`th frame of a checkpoint: ceilings, ever more of them. */
static uint32_t entries_of(uint8_t *bytes, unsigned n, uint32_t *count)
{
	uint32_t length = 0;

	*count = 1 + n % 7;
	for (uint32_t i = 0; i < *count; i++) {
		const struct entry entry = { .type = ENTRY_CEILING, .topic = 100 + n, .ceiling = { 1000 * n + i } };
		length += entry_encode(&entry, bytes + length);
	}
	return length;
}

static enum error write_checkpoint(struct fixture *f, unsigned frames)
{
	uint8_t bytes[1024];
	uint32_t count;
	enum error error = log_checkpoint_begin(f->log);

	for (unsigned n = 0; n < frames && error == ERR_OK; n++) {
		uint32_t length = entries_of(bytes, n, &count);
		error = log_checkpoint_frame(f->log, bytes, length, count);
	}
	return error == ERR_OK ? log_checkpoint_end(f->log) : error;
}

static unsigned checkpoints(const struct fixture *f, struct file_name *last)
{
	struct file_name all[NAMES];
	unsigned n = memory_world_names(f->world, all, NAMES), found = 0;

	for (unsigned i = 0; i < n; i++)
		if (all[i].kind == 'c') {
			*last = all[i];
			found++;
		}
	return found;
}

static enum error start_again(struct fixture *f)
{
	fixture_die(f);
	return fixture_start(f);
}

/* What a start is shown of the newest checkpoint: its frames, the end entry's among them. */
static unsigned shown(const struct fixture *f)
{
	unsigned n = 0;

	while (n < f->seen_count && f->seen[n].checkpoint)
		n++;
	for (unsigned i = n; i < f->seen_count; i++)
		assert_false(f->seen[i].checkpoint); /* they come first */
	return n;
}

/* A visitor that compares the checkpoint's frames with what was written. */
struct comparison { unsigned frames; uint64_t lsn; };

static enum error compare(void *context, const struct log_frame *frame)
{
	struct comparison *c = context;
	uint8_t bytes[1024];
	uint32_t count, length;

	if (!frame->checkpoint || get_u16(frame->bytes + FRAME_HEAD) == ENTRY_CHECKPOINT_END)
		return ERR_OK;
	length = entries_of(bytes, c->frames++, &count);
	assert_int_equal(frame->head->entry_count, count);
	assert_int_equal(frame->head->entries_length, length);
	assert_memory_equal(frame->bytes + FRAME_HEAD, bytes, length);
	c->lsn = frame->head->request_id;
	return ERR_OK;
}

static enum error no_damage(void *context, const struct log_damage *damage)
{
	(void)context;
	(void)damage;
	return ERR_CORRUPT;
}

static void frames_come_back_in_order_byte_for_byte_with_the_lsn_of_the_state(void **state)
{
	struct fixture *f = *state;
	const struct log_events events = { 0 };
	struct comparison comparison = { 0 };
	const struct log_visitor visitor = { .context = &comparison, .frame = compare, .damage = no_damage };
	struct log_recovered recovered;
	uint64_t lsn = log_synced(f->log);

	(void)events;
	assert_int_equal(write_checkpoint(f, TOPICS), ERR_OK);
	assert_int_equal(start_again(f), ERR_OK);
	log_destroy(&f->log);
	assert_int_equal(log_create(&f->log, &f->options, memory_world_ops(f->world), &events), ERR_OK);
	assert_int_equal(log_recover(f->log, &visitor, &recovered), ERR_OK);
	assert_int_equal(comparison.frames, TOPICS);
	assert_int_equal(comparison.lsn, lsn);
}

static void frame_larger_than_the_writers_buffer_comes_back_too(void **state)
{
	struct fixture *f = *state;
	const struct entry entry = { .type = ENTRY_CEILING, .topic = 9, .ceiling = { 77 } };
	uint32_t length = 0, count = 0;
	uint8_t *bytes = calloc(1, 3 << 20);

	while (length < 2 << 20) {
		length += entry_encode(&entry, bytes + length);
		count++;
	}
	assert_true(count <= UINT16_MAX * 16u);
	assert_int_equal(log_checkpoint_begin(f->log), ERR_OK);
	assert_int_equal(log_checkpoint_frame(f->log, bytes, (uint32_t)entry_encode(&entry, bytes), 1), ERR_OK);
	assert_int_equal(log_checkpoint_frame(f->log, bytes, length, count), ERR_OK);
	assert_int_equal(log_checkpoint_frame(f->log, bytes, (uint32_t)entry_encode(&entry, bytes), 1), ERR_OK);
	assert_int_equal(log_checkpoint_end(f->log), ERR_OK);
	free(bytes);
	assert_int_equal(start_again(f), ERR_OK);
	assert_int_equal(shown(f), 4);
}

static void empty_state_is_a_checkpoint_too(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(write_checkpoint(f, 0), ERR_OK);
	assert_int_equal(start_again(f), ERR_OK);
	assert_int_equal(shown(f), 1);
}

static void unfinished_one_counts_for_nothing_and_goes_when_two_are_there(void **state)
{
	struct fixture *f = *state;
	struct file_name name;

	assert_int_equal(write_checkpoint(f, 5), ERR_OK);
	assert_int_equal(log_checkpoint_begin(f->log), ERR_OK);
	assert_int_equal(checkpoints(f, &name), 2);
	assert_int_equal(start_again(f), ERR_OK); /* died before its end */
	assert_int_equal(shown(f), 6);
	assert_int_equal(log_checkpoint_begin(f->log), ERR_OK);
	assert_int_equal(write_checkpoint(f, 7), ERR_OK); /* begun anew: the one before is left */
	assert_int_equal(start_again(f), ERR_OK);
	assert_int_equal(shown(f), 8);
}

static void any_flipped_byte_makes_it_count_for_nothing(void **state)
{
	struct fixture *f = *state;
	struct file_name name;
	uint64_t size;

	assert_int_equal(write_checkpoint(f, 3), ERR_OK);
	assert_int_equal(checkpoints(f, &name), 1);
	(void)memory_world_file(f->world, &name, &size);
	for (uint64_t at = 0; at < size; at++) {
		uint8_t good = memory_world_file(f->world, &name, &size)[at], bad = (uint8_t)(good ^ 0x10);
		memory_world_damage(f->world, &name, at, &bad, 1);
		fixture_die(f);
		enum error error = fixture_start(f);
		/* A version or feature of another time with a good CRC would be refused: one flipped byte has none. */
		assert_int_equal(error, ERR_OK);
		if (shown(f) != 0 && shown(f) != 4)
			fail_msg("byte %llu: half a checkpoint was shown", (unsigned long long)at);
		if (shown(f) == 4 && at < size - 8) /* nothing but unused bytes may be without a guard */
			assert_true(at >= FILE_HEADER_SIZE || good == 0);
		memory_world_damage(f->world, &name, at, &good, 1);
	}
}

static void failing_call_fails_it_and_leaves_the_one_before(void **state)
{
	struct fixture *f = *state;
	unsigned failed = 0;

	assert_int_equal(write_checkpoint(f, 2), ERR_OK);
	for (enum memory_op op = MEMORY_OPEN; op < MEMORY_OPS; op++) {
		if (op != MEMORY_CREATE && op != MEMORY_PWRITE && op != MEMORY_SYNC)
			continue;
		for (uint64_t nth = 0; nth < 3; nth++) {
			memory_world_fail(f->world, op, nth, EIO, false);
			enum error error = write_checkpoint(f, 4);
			memory_world_no_faults(f->world);
			failed += error != ERR_OK;
			fixture_die(f);
			assert_int_equal(fixture_start(f), ERR_OK);
			assert_int_equal(shown(f), error == ERR_OK ? 5 : shown(f) == 5 ? 5 : 3);
		}
	}
	assert_true(failed >= 4);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(frames_come_back_in_order_byte_for_byte_with_the_lsn_of_the_state),
		TEST(frame_larger_than_the_writers_buffer_comes_back_too),
		TEST(empty_state_is_a_checkpoint_too),
		TEST(unfinished_one_counts_for_nothing_and_goes_when_two_are_there),
		TEST(any_flipped_byte_makes_it_count_for_nothing),
		TEST(failing_call_fails_it_and_leaves_the_one_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
