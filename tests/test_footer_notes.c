/* What a footer says is what the frames say, whether they were noted when they were appended or read when their file is sealed; and when which of both is done. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/footer.h"
#include "tests/engine_fixture.h"
#include "tests/footer_twin.h"
#include "tests/log_fixture.h"
#include "tests/memory_world_internal.h"

enum { SMALL_FILE = 64 << 10 };

/* False: the file has no footer. */
static bool judge_footer(const struct memory_world *world, const struct file_name *name)
{
	struct footer_memory memory = { 0 };
	const struct footer_source source = footer_memory_source(&memory);
	struct file_header header;
	struct footer footer;

	memory.bytes = memory_world_file(world, name, &memory.length);
	if (name->kind != 'w' || file_header_decode(&header, memory.bytes) != ERR_OK ||
	    footer_open(&footer, &source, header.id, header.first_lsn, memory.length) != ERR_OK)
		return false;
	assert_true(footer_is_what_frames_say(memory.bytes, memory.length, &footer));
	return true;
}

/* ---- the log: noted or read ---- */

static int (*pread_of_the_world)(void *, int, void *, size_t, uint64_t, size_t *);
static unsigned preads;

static int counted_pread(void *world, int file, void *bytes, size_t length, uint64_t offset, size_t *done)
{
	preads++;
	return pread_of_the_world(world, file, bytes, length, offset, done);
}

static int log_setup(void **state)
{
	struct fixture *f = malloc(sizeof *f);

	fixture_init(f, 3, 'w', SMALL_FILE);
	f->holds_seals = true;
	pread_of_the_world = f->world->ops.pread;
	f->world->ops.pread = counted_pread;
	*state = f;
	return 0;
}

static int log_teardown(void **state)
{
	fixture_free(*state);
	free(*state);
	return 0;
}

static void write_files(struct fixture *f, unsigned begun)
{
	while (f->born < begun)
		fixture_write(f, 900);
	fixture_sync(f);
}

/* Seals the next file, whose footer must be right: how often that read. */
static unsigned reads_to_seal(struct fixture *f)
{
	struct seal_job job;

	preads = 0;
	assert_true(fixture_seal(f, &job));
	assert_int_equal(job.result, ERR_OK);
	assert_true(judge_footer(f->world, &(struct file_name){ .kind = 'w', .id = job.id }));
	return preads;
}

/* The first file was begun by the start, which notes nothing; those that the log begins itself are noted. */
static void file_whose_frames_were_noted_is_sealed_without_a_read(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_start(f), ERR_OK);
	write_files(f, 4);
	assert_true(reads_to_seal(f) > 0);
	assert_int_equal(reads_to_seal(f), 0);
	assert_int_equal(reads_to_seal(f), 0);
}

/* What was taken back after a failed write is in no footer: that file is read, and the one that was made whole. */
static void notes_of_a_file_that_was_left_after_a_failed_write_are_not_used(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fixture_start(f), ERR_OK);
	write_files(f, 2);
	fixture_write(f, 900);
	assert_int_equal(fixture_append(f, 900, false), ERR_OK);
	memory_world_fail(f->world, MEMORY_PWRITE, 0, EIO, false);
	assert_int_equal(log_write(f->log), ERR_IO);
	f->next--;
	while (fixture_jobs(f))
		;
	write_files(f, 5);
	for (unsigned i = 0; i < 3; i++)
		assert_true(reads_to_seal(f) > 0);
	assert_int_equal(reads_to_seal(f), 0);
}

/* Any number of them may wait then, and notes are memory. */
static void files_that_wait_for_the_answers_of_a_start_are_read_when_they_are_sealed(void **state)
{
	struct fixture *f = *state;

	f->unsettled = true;
	assert_int_equal(fixture_start(f), ERR_OK);
	write_files(f, 4);
	log_settled(f->log);
	for (unsigned i = 0; i < 3; i++)
		assert_true(reads_to_seal(f) > 0);
}

/* ---- the engine: all that a frame may hold ---- */

static int engine_setup_small(void **state)
{
	struct engine_fixture *f = engine_fixture_create(1);

	f->settings.segment_max_bytes = SMALL_FILE;
	f->checkpoint_bytes = (uint64_t)1 << 40;
	*state = f;
	return engine_fixture_start(f, true, false) != ERR_OK;
}

static unsigned judge_footers(struct engine_fixture *f)
{
	struct file_name names[256];
	unsigned count = memory_world_names(f->world, names, 256), sealed = 0;

	for (unsigned i = 0; i < count; i++)
		sealed += judge_footer(f->world, &names[i]);
	return sealed;
}

static void footer_of_frames_that_were_noted_is_the_one_of_frames_that_are_read(void **state)
{
	static const char *const topics[] = { "a", "b", "c" }, *const tags[] = { NULL, "", "red", "blue/1", NULL };
	struct engine_fixture *f = *state;
	struct topic_config config = engine_config(DURABILITY_DISK);

	for (unsigned i = 0; f->sealed < 8; i++) {
		char key[32];
		struct append_options options = { .bytes = 10 + i % 700, .key = i % 3 == 0 ? key : NULL, .tag = tags[i % 5], .config = &config };

		assert_in_range(i, 0, 4000);
		snprintf(key, sizeof key, "key %u", i);
		assert_int_equal(engine_answered(f, engine_append(f, topics[i % 3], 1 + i % 70, &options))->status, ERR_OK);
		if (i % 50 == 49)
			assert_int_equal(engine_answered(f, engine_delete(f, topics[i / 50 % 3], false))->status, ERR_OK);
	}
	assert_int_equal(judge_footers(f), f->sealed);
	engine_logd_starts(f); /* the file in hand was begun by one process and is left by another */
	for (unsigned wanted = f->sealed + 3; f->sealed < wanted;)
		engine_answered(f, engine_append(f, "a", 20, &(struct append_options){ .bytes = 500, .tag = "red", .config = &config }));
	assert_in_range(judge_footers(f), 11, 20);
}

int main(void)
{
#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, log_setup, log_teardown)
	const struct CMUnitTest tests[] = {
		LOG_TEST(file_whose_frames_were_noted_is_sealed_without_a_read),
		LOG_TEST(notes_of_a_file_that_was_left_after_a_failed_write_are_not_used),
		LOG_TEST(files_that_wait_for_the_answers_of_a_start_are_read_when_they_are_sealed),
		cmocka_unit_test_setup_teardown(footer_of_frames_that_were_noted_is_the_one_of_frames_that_are_read, engine_setup_small, engine_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
