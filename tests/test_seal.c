/* seal_file and what the log makes of it: whatever happens to the job, the file's frames stay what they were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/footer.h"
#include "logd/seal.h"
#include "tests/log_fixture.h"

enum { SMALL_FILE = 65536 };

/* The first file of the log, full, left and synced. */
struct closed {
	struct fixture f;
	struct seal_job job;
	struct file_name name;
	uint64_t frames;
};

static void make_closed(struct closed *c)
{
	memset(c, 0, sizeof *c);
	fixture_init(&c->f, 3, 'w', SMALL_FILE);
	c->f.holds_seals = true;
	assert_int_equal(fixture_start(&c->f), ERR_OK);
	while (c->f.born < 2)
		fixture_write(&c->f, 900);
	fixture_sync(&c->f);
	assert_true(log_seal_start(c->f.log, UINT64_MAX));
	assert_false(log_seal_start(c->f.log, UINT64_MAX)); /* one at a time */
	assert_true(memory_world_seal_pending(c->f.world));
	c->name = (struct file_name){ .kind = 'w', .id = c->f.places[1].file_id };
	for (c->frames = 0; c->f.places[c->frames + 1].file_id == c->name.id;)
		c->frames++;
	assert_true(c->frames > 20 && c->frames < c->f.next - 1);
}

static bool open_footer(const struct memory_world *world, const struct file_name *name, struct footer_memory *memory, struct footer *footer)
{
	const struct footer_source source = footer_memory_source(memory);
	struct file_header header;
	uint64_t size = 0;
	const uint8_t *bytes = memory_world_file(world, name, &size);

	*memory = (struct footer_memory){ bytes, 0, size };
	return file_header_decode(&header, bytes) == ERR_OK && footer_open(footer, &source, name->id, header.first_lsn, size) == ERR_OK;
}

/* Frames 1..frames of the file are as they were. */
static void frames_stand(const struct memory_world *world, const struct closed *c)
{
	uint64_t size;
	const uint8_t *bytes = memory_world_file(world, &c->name, &size);

	for (uint64_t number = 1; number <= c->frames; number++) {
		const struct log_place *place = &c->f.places[number];
		struct frame_head head;

		assert_true(place->offset + place->length <= size);
		assert_int_equal(frame_check(bytes + place->offset, place->length, c->name.id, place->offset, place->lsn, &head), ERR_OK);
		assert_true(fixture_frame_right(bytes + place->offset, place->length));
	}
}

static void sealed_file_has_a_footer_that_names_every_batch_and_ends_behind_it(void **state)
{
	struct closed c;
	struct seal_job job;
	struct footer_memory memory;
	struct footer footer;
	struct footer_extent extent;
	const struct footer_source source = footer_memory_source(&memory);

	(void)state;
	make_closed(&c);
	memory_world_seal_finish(c.f.world, &job);
	assert_int_equal(job.result, ERR_OK);
	assert_true(open_footer(c.f.world, &c.name, &memory, &footer));
	assert_int_equal(footer_check(&footer, &source), ERR_OK);
	assert_int_equal(footer.crc, job.footer_crc);
	assert_int_equal(footer.offset, job.footer_offset);
	assert_int_equal(memory.length, job.footer_offset + job.footer_length);
	assert_int_equal(footer_count(&footer, FOOTER_EXTENTS), c.frames);
	for (uint64_t i = 0; i < c.frames; i++) {
		const struct log_place *place = &c.f.places[i + 1];
		assert_int_equal(footer_extent_at(&footer, &source, i, &extent), ERR_OK);
		assert_int_equal(extent.lsn, place->lsn);
		assert_int_equal(extent.length, place->length);
		assert_int_equal(extent.first_seq, 3 * (i + 1));
		assert_int_equal(extent.durability, 3);
	}
	assert_int_equal(job.topic_count, 1);
	assert_int_equal(job.topics[0].topic, FIXTURE_TOPIC);
	assert_int_equal(job.topics[0].extents, c.frames);
	assert_int_equal(job.topics[0].last_seq, 3 * c.frames + 2);
	assert_int_equal(job.extents_offset, footer.sections[FOOTER_EXTENTS].offset);
	frames_stand(c.f.world, &c);
	log_sealed(c.f.log, &job);
	free(job.topics);
	free(job.keys);
	fixture_free(&c.f);
}

static void read_of_a_sealed_file_gives_its_frames(void **state)
{
	struct closed c;
	uint8_t frame[8192];

	(void)state;
	make_closed(&c);
	assert_true(fixture_seal(&c.f, NULL));
	for (uint64_t number = 1; number <= c.frames; number++) {
		assert_int_equal(log_read(c.f.log, &c.f.places[number], frame), ERR_OK);
		assert_true(fixture_frame_right(frame, c.f.places[number].length));
	}
	fixture_free(&c.f);
}

/* Power cut after a death in the middle of the job: all synced frames are there, and what has a footer has a right one. */
static void judge_after(const struct closed *c, const struct memory_world *world, uint64_t seed, bool cut)
{
	struct fixture again = { .world = memory_world_clone(world), .options = c->f.options, .next = 1 };
	struct footer_memory memory;
	struct footer footer;
	const struct footer_source source = footer_memory_source(&memory);

	if (cut)
		memory_world_power_cut(again.world, seed);
	frames_stand(again.world, c);
	if (open_footer(again.world, &c->name, &memory, &footer) && cut)
		assert_int_equal(footer_check(&footer, &source), ERR_OK);
	assert_int_equal(fixture_start(&again), ERR_OK);
	fixture_saw(&again, 1, c->f.next - 1);
	assert_int_equal(again.damage_count, 0);
	fixture_free(&again);
}

static void death_at_any_call_of_sealing_leaves_every_frame(void **state)
{
	bool done = false;

	(void)state;
	for (uint64_t nth = 0; !done; nth++) {
		struct closed c;
		struct seal_job job;

		make_closed(&c);
		memory_world_kill_at(c.f.world, nth);
		memory_world_seal_finish(c.f.world, &job);
		done = !memory_world_dead(c.f.world);
		assert_true(done == (job.result == ERR_OK));
		free(job.topics);
		free(job.keys);
		memory_world_no_faults(c.f.world);
		judge_after(&c, c.f.world, nth, false);
		for (uint64_t seed = 0; seed < 8; seed++)
			judge_after(&c, c.f.world, 100 * nth + seed, true);
		fixture_free(&c.f);
		assert_in_range(nth, 0, 50);
	}
}

/* Whatever call fails, the job says so and the log stays as it was; what may go better later is tried again. */
static void failure_of_any_call_of_sealing_is_told_and_harms_nothing(void **state)
{
	static const struct { enum memory_op op; int error; enum error result; bool again; } cases[] = {
		{ MEMORY_OPEN, EMFILE, ERR_AGAIN, true },
		{ MEMORY_PREAD, EIO, ERR_IO, false },
		{ MEMORY_PWRITE, ENOSPC, ERR_STORAGE_FULL, true },
		{ MEMORY_PWRITE, EIO, ERR_IO, false },
		{ MEMORY_TRUNCATE, EIO, ERR_IO, false },
		{ MEMORY_SYNC, EIO, ERR_IO, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct closed c;
		struct seal_job job;

		make_closed(&c);
		memory_world_fail(c.f.world, cases[i].op, 0, cases[i].error, false);
		memory_world_seal_finish(c.f.world, &job);
		assert_int_equal(job.result, cases[i].result);
		assert_null(job.topics);
		log_sealed(c.f.log, &job);
		judge_after(&c, c.f.world, i, true);
		assert_false(log_seal_start(c.f.log, UINT64_MAX)); /* not at once */
		log_tick(c.f.log);
		assert_int_equal(fixture_seal(&c.f, &job), cases[i].again);
		if (cases[i].again)
			assert_int_equal(job.result, ERR_OK);
		fixture_write(&c.f, 100);
		fixture_sync(&c.f);
		fixture_free(&c.f);
	}
}

static void file_with_a_damaged_frame_is_not_sealed_and_not_touched(void **state)
{
	struct closed c;
	struct seal_job job;
	uint8_t before[SMALL_FILE], byte;
	uint64_t size;

	(void)state;
	make_closed(&c);
	byte = (uint8_t)~memory_world_file(c.f.world, &c.name, &size)[c.f.places[3].offset + FRAME_HEAD + 20];
	memory_world_damage(c.f.world, &c.name, c.f.places[3].offset + FRAME_HEAD + 20, &byte, 1);
	assert_int_equal(size, SMALL_FILE);
	memcpy(before, memory_world_file(c.f.world, &c.name, &size), size);
	memory_world_seal_finish(c.f.world, &job);
	assert_int_equal(job.result, ERR_CORRUPT);
	assert_memory_equal(before, memory_world_file(c.f.world, &c.name, &size), SMALL_FILE);
	log_sealed(c.f.log, &job);
	log_tick(c.f.log);
	assert_false(log_seal_start(c.f.log, UINT64_MAX));
	fixture_free(&c.f);
}

static void frame_whose_chain_is_broken_is_not_sealed(void **state)
{
	struct closed c;
	struct seal_job job;

	(void)state;
	make_closed(&c);
	memory_world_seal_finish(c.f.world, &job);
	assert_int_equal(job.result, ERR_OK);
	free(job.topics);
	free(job.keys);
	job.chain ^= 1;
	seal_file(memory_world_ops(c.f.world), &job);
	assert_int_equal(job.result, ERR_CORRUPT);
	fixture_free(&c.f);
}

static void file_is_sealed_only_when_synced_published_and_left_for_good(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, 3, 'w', SMALL_FILE);
	f.holds_seals = true;
	assert_int_equal(fixture_start(&f), ERR_OK);
	while (f.born < 2)
		fixture_write(&f, 900);
	assert_false(log_seal_start(f.log, UINT64_MAX)); /* not synced */
	fixture_sync(&f);
	assert_false(log_seal_start(f.log, f.places[1].lsn)); /* not published */
	assert_true(log_seal_start(f.log, UINT64_MAX));
	fixture_free(&f);
}

static void file_with_frames_that_a_start_has_not_answered_is_not_sealed(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, 3, 'w', SMALL_FILE);
	f.holds_seals = f.unsettled = true;
	assert_int_equal(fixture_start(&f), ERR_OK);
	while (f.born < 3)
		fixture_write(&f, 900);
	fixture_sync(&f);
	assert_false(log_seal_start(f.log, UINT64_MAX));
	log_settled(f.log);
	assert_true(log_seal_start(f.log, UINT64_MAX));
	fixture_free(&f);
}

/* Four files are unsealed at most, the current one included. */
static void fifth_unsealed_file_waits_until_one_is_sealed(void **state)
{
	struct fixture f;
	enum error error = ERR_OK;

	(void)state;
	fixture_init(&f, 3, 'w', SMALL_FILE);
	f.options.unsealed_max = 4;
	f.holds_seals = true;
	assert_int_equal(fixture_start(&f), ERR_OK);
	for (unsigned i = 0; i < 2000 && (error == ERR_OK || f.born < 4 || !log_seal_wanted(f.log)); i++) {
		error = fixture_append(&f, 900, false);
		assert_int_equal(log_write(f.log), ERR_OK);
		log_sync_start(f.log);
		fixture_jobs(&f);
	}
	assert_int_equal(error, ERR_AGAIN);
	assert_int_equal(f.born, 4);
	assert_int_equal(log_state(f.log), LOG_OPEN);
	assert_true(fixture_seal(&f, NULL));
	fixture_write(&f, 900);
	assert_int_equal(f.born, 5);
	fixture_free(&f);
}

static void files_that_cannot_be_opened_for_sealing_stop_no_append(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f, 3, 'w', SMALL_FILE);
	f.options.unsealed_max = 4;
	f.holds_seals = true;
	assert_int_equal(fixture_start(&f), ERR_OK);
	for (unsigned i = 0; f.born < 12; i++) {
		enum error error = fixture_append(&f, 900, false);
		assert_in_range(i, 0, 5000);
		assert_true(error == ERR_OK || error == ERR_AGAIN);
		assert_int_equal(log_write(f.log), ERR_OK);
		log_sync_start(f.log);
		fixture_jobs(&f);
		memory_world_fail(f.world, MEMORY_OPEN, 0, EMFILE, true);
		fixture_seal(&f, NULL);
		memory_world_no_faults(f.world);
		log_tick(f.log);
	}
	fixture_sync(&f);
	while (fixture_seal(&f, NULL)) /* and when it goes better they are sealed */
		continue;
	assert_int_equal(f.sealed, f.born - 1);
	fixture_free(&f);
}

static void sealing_without_space_makes_the_log_full_until_there_is_some(void **state)
{
	struct fixture f;
	enum error error = ERR_OK;
	uint64_t refused;

	(void)state;
	fixture_init(&f, 3, 'w', SMALL_FILE);
	f.options.unsealed_max = 4;
	assert_int_equal(fixture_start(&f), ERR_OK);
	memory_world_fail(f.world, MEMORY_TRUNCATE, 0, ENOSPC, true);
	for (unsigned i = 0; i < 2000 && error != ERR_STORAGE_FULL; i++) {
		error = fixture_append(&f, 900, false);
		assert_true(error == ERR_OK || error == ERR_AGAIN || error == ERR_STORAGE_FULL);
		assert_int_equal(log_write(f.log), ERR_OK);
		log_sync_start(f.log);
		fixture_jobs(&f);
	}
	assert_int_equal(error, ERR_STORAGE_FULL);
	assert_int_equal(log_state(f.log), LOG_FULL);
	assert_int_equal(fixture_append(&f, 100, true), ERR_OK); /* control frames have their sixteenth */
	assert_int_equal(log_write(f.log), ERR_OK);
	refused = f.next;
	memory_world_no_faults(f.world);
	log_tick(f.log);
	while (fixture_jobs(&f))
		continue;
	assert_int_equal(log_state(f.log), LOG_OPEN);
	fixture_write(&f, 900);
	assert_int_equal(f.next, refused + 1);
	fixture_free(&f);
}

static void entry_that_says_sealed_is_due_after_the_job_and_once(void **state)
{
	struct closed c;
	struct seal_job job;
	struct entry entry;

	(void)state;
	make_closed(&c);
	assert_false(log_sealed_entry(c.f.log, &entry));
	memory_world_seal_finish(c.f.world, &job);
	assert_false(log_sealed_entry(c.f.log, &entry));
	log_sealed(c.f.log, &job);
	free(job.topics);
	free(job.keys);
	assert_true(log_sealed_entry(c.f.log, &entry));
	assert_int_equal(entry.type, ENTRY_FILE_SEALED);
	assert_int_equal(entry.file.id, c.name.id);
	assert_int_equal(entry.file.footer_crc, job.footer_crc);
	assert_int_equal(entry.file.footer_offset, job.footer_offset);
	assert_int_equal(entry.file.end_lsn, job.end_lsn);
	log_sealed_noted(c.f.log, c.name.id);
	assert_false(log_sealed_entry(c.f.log, &entry));
	fixture_free(&c.f);
}

/* ---- a start ---- */

struct sealed_seen { unsigned count; uint64_t ids[64]; enum error answer; unsigned frames; };

static enum error on_sealed(void *context, const struct log_sealed_file *file)
{
	struct sealed_seen *seen = context;

	assert_int_equal(footer_check(file->footer, file->source), ERR_OK);
	seen->ids[seen->count++] = file->file_id;
	return seen->answer;
}

static enum error on_frame(void *context, const struct log_frame *frame)
{
	(void)frame;
	((struct sealed_seen *)context)->frames++;
	return ERR_OK;
}

static struct sealed_seen recover_with_footers(const struct closed *c, enum error answer)
{
	struct fixture again = { .world = memory_world_clone(c->f.world), .options = c->f.options };
	struct sealed_seen seen = { .answer = answer };
	const struct log_events nothing = { 0 };
	const struct log_visitor visitor = { .context = &seen, .frame = on_frame, .sealed = on_sealed };

	assert_int_equal(log_create(&again.log, &again.options, memory_world_ops(again.world), &nothing), ERR_OK);
	assert_int_equal(log_recover(again.log, &visitor, &again.recovered), ERR_OK);
	assert_int_equal(log_recover_finish(again.log), ERR_OK);
	assert_int_equal(again.recovered.sealed, answer == ERR_OK ? seen.count : 0);
	fixture_free(&again);
	return seen;
}

static void start_takes_a_sealed_file_by_its_footer_and_reads_no_frame_of_it(void **state)
{
	struct closed c;
	struct sealed_seen seen;

	(void)state;
	make_closed(&c);
	assert_true(fixture_seal(&c.f, NULL));
	seen = recover_with_footers(&c, ERR_OK);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.ids[0], c.name.id);
	assert_int_equal(seen.frames, c.f.next - 1 - c.frames);
	fixture_free(&c.f);
}

static void footer_that_its_taker_refuses_is_replaced_by_the_frames(void **state)
{
	struct closed c;

	(void)state;
	make_closed(&c);
	assert_true(fixture_seal(&c.f, NULL));
	assert_int_equal(recover_with_footers(&c, ERR_CORRUPT).frames, c.f.next - 1);
	fixture_free(&c.f);
}

/* Every byte of trailer and section heads matters; whatever else is broken its sections' CRCs tell (tests/test_footer.c). */
static void footer_with_a_broken_trailer_is_none(void **state)
{
	struct closed c;
	uint64_t size;

	(void)state;
	make_closed(&c);
	assert_true(fixture_seal(&c.f, NULL));
	memory_world_file(c.f.world, &c.name, &size);
	for (uint64_t at = size - FOOTER_TRAILER; at < size; at++) {
		uint8_t was = memory_world_file(c.f.world, &c.name, &size)[at], broken = was ^ 0x10;

		memory_world_damage(c.f.world, &c.name, at, &broken, 1);
		assert_int_equal(recover_with_footers(&c, ERR_OK).count, 0);
		memory_world_damage(c.f.world, &c.name, at, &was, 1);
	}
	assert_int_equal(recover_with_footers(&c, ERR_OK).count, 1);
	fixture_free(&c.f);
}

/* Its successor is gone: nobody knows where the log went on, so the frames are read, and what was recorded behind them is damage. */
static void sealed_file_without_a_successor_is_read_up_to_its_end(void **state)
{
	struct closed c;
	struct file_name names[16];
	unsigned count;

	(void)state;
	make_closed(&c);
	assert_true(fixture_seal(&c.f, NULL));
	count = memory_world_names(c.f.world, names, 16);
	for (unsigned i = 0; i < count; i++)
		if (names[i].id != c.name.id)
			memory_world_remove(c.f.world, &names[i]);
	fixture_die(&c.f);
	assert_int_equal(fixture_start(&c.f), ERR_OK);
	fixture_saw(&c.f, 1, c.frames);
	assert_int_equal(c.f.damage_count, 1);
	assert_int_equal(c.f.damage[0].kind, DAMAGE_CORRUPT);
	assert_int_equal(c.f.damage[0].from, c.f.places[c.frames].lsn + c.f.places[c.frames].length);
	fixture_free(&c.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sealed_file_has_a_footer_that_names_every_batch_and_ends_behind_it),
		cmocka_unit_test(read_of_a_sealed_file_gives_its_frames),
		cmocka_unit_test(death_at_any_call_of_sealing_leaves_every_frame),
		cmocka_unit_test(failure_of_any_call_of_sealing_is_told_and_harms_nothing),
		cmocka_unit_test(file_with_a_damaged_frame_is_not_sealed_and_not_touched),
		cmocka_unit_test(frame_whose_chain_is_broken_is_not_sealed),
		cmocka_unit_test(file_is_sealed_only_when_synced_published_and_left_for_good),
		cmocka_unit_test(file_with_frames_that_a_start_has_not_answered_is_not_sealed),
		cmocka_unit_test(fifth_unsealed_file_waits_until_one_is_sealed),
		cmocka_unit_test(files_that_cannot_be_opened_for_sealing_stop_no_append),
		cmocka_unit_test(sealing_without_space_makes_the_log_full_until_there_is_some),
		cmocka_unit_test(entry_that_says_sealed_is_due_after_the_job_and_once),
		cmocka_unit_test(start_takes_a_sealed_file_by_its_footer_and_reads_no_frame_of_it),
		cmocka_unit_test(footer_that_its_taker_refuses_is_replaced_by_the_frames),
		cmocka_unit_test(footer_with_a_broken_trailer_is_none),
		cmocka_unit_test(sealed_file_without_a_successor_is_read_up_to_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
