/* Sealed files and checkpoints as the engine has them: what readers find meanwhile, and that a start finds the same by footers and by frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/footer.h"
#include "tests/engine_fixture.h"
#include "tests/find_extent.h"

enum { FILE_BYTES = 64 << 10, TEXT_ROOM = 1 << 20 };

static int setup(void **state)
{
	struct engine_fixture *f = engine_fixture_create(1);

	f->settings.segment_max_bytes = FILE_BYTES;
	f->settings.max_topics = 5000;
	f->checkpoint_bytes = (uint64_t)1 << 40;
	*state = f;
	return engine_fixture_start(f, true, false) != ERR_OK;
}

/* Appends of ten records until `files` more files are sealed; their ids from *first on, one behind the other. */
static unsigned fill(struct engine_fixture *f, const char *topic, unsigned files, uint64_t *first)
{
	struct append_options options = { .bytes = 400 };
	unsigned wanted = f->sealed + files, appends = 0;

	*first = f->next_id + 1;
	for (; f->sealed < wanted; appends++) {
		assert_in_range(appends, 0, 2000);
		assert_int_equal(engine_answered(f, engine_append(f, topic, 10, &options))->status, ERR_OK);
	}
	return appends;
}

static void reads_all(struct engine_fixture *f, const char *topic, uint64_t first_id, unsigned appends)
{
	for (unsigned i = 0; i < appends; i++)
		assert_true(engine_reads(f, topic, 1 + 10 * (uint64_t)i, 10, first_id + i));
}

static unsigned count_names(struct engine_fixture *f, uint8_t kind)
{
	struct file_name names[256];
	unsigned count = memory_world_names(f->world, names, 256), found = 0;

	for (unsigned i = 0; i < count; i++)
		found += names[i].kind == kind;
	return found;
}

/* ---- what readers find ---- */

static void sealed_files_are_segments_and_every_record_is_read_through_them(void **state)
{
	struct engine_fixture *f = *state;
	struct topic_numbers numbers;
	uint64_t first;
	unsigned appends;

	engine_make_topic(f, "t", DURABILITY_DISK);
	appends = fill(f, "t", 5, &first);
	numbers = engine_numbers(f, "t");
	assert_int_equal(numbers.segments, f->sealed);
	assert_in_range(f->sealed, 5, 8);
	assert_int_equal(numbers.count, 10 * appends);
	assert_true(numbers.extents < 2 * FILE_BYTES / 4000); /* of the file in hand */
	reads_all(f, "t", first, appends);
}

static void topics_are_switched_a_slice_at_a_time(void **state)
{
	struct engine_fixture *f = *state;
	unsigned switched = 0, topics;
	struct seal_job job;
	char name[16];

	f->holds_seals = true;
	f->settings.segment_max_bytes = 16 * FILE_BYTES;
	engine_daemon_starts(f, false);
	for (unsigned i = 0; i < 600; i++) {
		snprintf(name, sizeof name, "t%u", i);
		engine_append(f, name, 1, &(struct append_options){ .create = true });
		if (i % 50 == 49)
			engine_settle(f);
	}
	while (!memory_world_seal_pending(f->world)) {
		engine_append(f, "t0", 10, &(struct append_options){ .bytes = 4000 });
		engine_settle(f);
	}
	memory_world_seal_finish(f->world, &job);
	assert_int_equal(job.result, ERR_OK);
	assert_true(job.topic_count > 256);
	topics = job.topic_count;
	engine_sealed(f->engine, &job);
	assert_int_equal(engine_tick(f->engine), 0); /* there is more to do at once */
	for (unsigned i = 0; i < 600; i++) {
		snprintf(name, sizeof name, "t%u", i);
		switched += engine_numbers(f, name).segments > 0;
	}
	assert_int_equal(switched, 256);
	while (engine_tick(f->engine) == 0)
		continue;
	switched = 0;
	for (unsigned i = 0; i < 600; i++) {
		snprintf(name, sizeof name, "t%u", i);
		switched += engine_numbers(f, name).segments > 0;
	}
	assert_int_equal(switched, topics);
}

static void topic_that_is_deleted_before_it_is_switched_is_passed_over(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first;

	engine_make_topic(f, "gone", DURABILITY_DISK);
	engine_make_topic(f, "t", DURABILITY_DISK);
	assert_int_equal(engine_answered(f, engine_append(f, "gone", 1, NULL))->status, ERR_OK);
	f->holds_seals = true;
	for (unsigned i = 0; !memory_world_seal_pending(f->world); i++) {
		assert_in_range(i, 0, 1000);
		assert_int_equal(engine_answered(f, engine_append(f, "t", 10, &(struct append_options){ .bytes = 400 }))->status, ERR_OK);
	}
	assert_int_equal(engine_answered(f, engine_delete(f, "gone", false))->status, ERR_OK);
	f->holds_seals = false;
	fill(f, "t", 2, &first);
	assert_int_equal(engine_numbers(f, "gone").id, 0);
	engine_logd_starts(f);
	assert_int_equal(engine_numbers(f, "gone").id, 0);
	assert_int_equal(engine_numbers(f, "t").segments, 2);
}

/* ---- by footers and by frames ---- */

static void put_topic(struct engine_fixture *f, char *text, uint32_t slot)
{
	struct topic_numbers n;
	struct topic_config config;
	struct extent extent;
	struct loss loss;
	char name[TOPIC_NAME_MAX + 1];
	size_t length;
	char *end = text + strlen(text);

	assert_int_equal(catalogue_numbers(f->now, slot, &n), ERR_OK);
	assert_int_equal(catalogue_name(f->now, slot, n.id, name, &length), ERR_OK);
	assert_int_equal(catalogue_config(f->now, slot, n.id, &config), ERR_OK);
	end += sprintf(end, "%.*s %016" PRIx64 " head %" PRIu64 " earliest %" PRIu64 " floor %" PRIu64 " count %" PRIu64 " bytes %" PRIu64 " ts %" PRId64
	               " class %d priority %d\n", (int)length, name, n.id, n.head, n.earliest, n.floor, n.count, n.bytes, n.last_write_ts,
	               config.durability, config.priority);
	for (uint64_t seq = 1; catalogue_loss(f->now, slot, n.id, seq, &loss) == ERR_OK; seq = loss.to + 1)
		end += sprintf(end, "  lost %" PRIu64 "-%" PRIu64 " reason %u flags %u\n", loss.from, loss.to, loss.reason, loss.flags);
	for (uint64_t seq = 1; find_extent(f->now, memory_world_ops(f->world), slot, n.id, seq, &extent); seq = extent.first_seq + extent.count) {
		if (catalogue_loss(f->now, slot, n.id, extent.first_seq, &loss) == ERR_OK && loss.from <= extent.first_seq)
			continue;
		end += sprintf(end, "  %" PRIu64 "+%u at %" PRIu64 "\n", extent.first_seq, extent.count, extent.offset);
	}
	assert_true(end < text + TEXT_ROOM);
}

static char *describe(struct engine_fixture *f)
{
	char *text = calloc(1, TEXT_ROOM);
	uint32_t slots[1024];
	unsigned count;

	assert_int_equal(catalogue_list(f->now, "", 0, false, slots, 1024, &count), ERR_OK);
	for (unsigned i = 0; i < count; i++)
		put_topic(f, text, slots[i]);
	return text;
}

static unsigned break_footers(struct engine_fixture *f)
{
	struct file_name names[256];
	unsigned count = memory_world_names(f->world, names, 256), broken = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t size;
		const uint8_t *bytes = memory_world_file(f->world, &names[i], &size);

		if (names[i].kind != 'w' || size < 64 || memcmp(bytes + size - 64, "TOPICSFT", 8) != 0)
			continue;
		memory_world_damage(f->world, &names[i], size - 64, "x", 1);
		broken++;
	}
	return broken;
}

/* Section `number` of every footer, if it has one. */
static void break_section(struct engine_fixture *f, unsigned number)
{
	struct file_name names[256];
	unsigned count = memory_world_names(f->world, names, 256);

	for (unsigned i = 0; i < count; i++) {
		uint64_t size;
		const uint8_t *bytes = memory_world_file(f->world, &names[i], &size);
		struct footer_memory memory = { bytes, 0, size };
		const struct footer_source source = footer_memory_source(&memory);
		struct file_header header;
		struct footer footer;
		const struct footer_section *section = &footer.sections[FOOTER_EXTENTS + number];

		if (names[i].kind != 'w' || file_header_decode(&header, bytes) != ERR_OK ||
		    footer_open(&footer, &source, names[i].id, header.first_lsn, size) != ERR_OK || section->length == 0)
			continue;
		uint8_t broken = bytes[section->offset + section->length / 2] ^ 4;
		memory_world_damage(f->world, &names[i], section->offset + section->length / 2, &broken, 1);
	}
}

/* A life with everything that a footer has to tell: creations, deletions, changes of class, closed topics, gaps, losses, both logs. */
static void eventful_life(struct engine_fixture *f)
{
	static const char *const names[] = { "ephemeral", "memory", "disk", "fsync" };
	struct topic_config config;
	uint64_t first;

	for (enum durability d = DURABILITY_EPHEMERAL; d <= DURABILITY_FSYNC; d++)
		engine_make_topic(f, names[d], d);
	for (unsigned i = 0; i < 60; i++) {
		struct append_options options = { .bytes = 300, .key = i % 7 == 0 ? "a key" : NULL };
		engine_append(f, names[i % 4], 1 + i % 5, &options);
		if (i % 10 == 9)
			engine_settle(f);
	}
	fill(f, "disk", 2, &first);
	engine_daemon_starts(f, true); /* losses of the ephemeral topic, and what the cut took */
	engine_make_topic(f, "short-lived", DURABILITY_DISK);
	engine_append(f, "short-lived", 3, NULL);
	config = engine_config(DURABILITY_DISK);
	assert_int_equal(engine_answered(f, engine_patch(f, "ephemeral", &config, CONFIG_DURABILITY))->status, ERR_OK);
	engine_append(f, "ephemeral", 4, &(struct append_options){ .bytes = 300 });
	config = engine_config(DURABILITY_EPHEMERAL);
	assert_int_equal(engine_answered(f, engine_patch(f, "memory", &config, CONFIG_DURABILITY))->status, ERR_OK);
	engine_append(f, "memory", 4, &(struct append_options){ .bytes = 300 });
	fill(f, "disk", 2, &first);
	engine_pass(f, 61 * 1000 * 1000); /* idle topics are closed */
	engine_settle(f);
	assert_int_equal(engine_answered(f, engine_delete(f, "short-lived", false))->status, ERR_OK);
	engine_make_topic(f, "short-lived", DURABILITY_FSYNC);
	engine_append(f, "short-lived", 2, NULL);
	fill(f, "fsync", 3, &first);
}

static void compare_starts(struct engine_fixture *f, bool daemon, bool cut)
{
	char *by_footers, *by_frames;

	if (daemon)
		engine_daemon_starts(f, cut);
	else
		engine_logd_starts(f);
	assert_non_null(strstr(f->message, "sealed"));
	assert_null(strstr(f->message, "(0 sealed)"));
	by_footers = describe(f);
	/* A second start of the same kind, from the same files but for their footers. */
	engine_logd_starts(f);
	free(by_footers);
	by_footers = describe(f);
	engine_fixture_logd_dies(f);
	assert_true(break_footers(f) > 3);
	assert_int_equal(engine_fixture_start(f, false, false), ERR_OK);
	assert_non_null(strstr(f->message, "(0 sealed)"));
	by_frames = describe(f);
	assert_string_equal(by_footers, by_frames);
	free(by_footers);
	free(by_frames);
}

static void start_finds_the_same_by_footers_as_by_frames(void **state)
{
	struct engine_fixture *f = *state;

	eventful_life(f);
	compare_starts(f, false, false);
}

static void daemon_start_finds_the_same_by_footers_as_by_frames(void **state)
{
	struct engine_fixture *f = *state;

	eventful_life(f);
	compare_starts(f, true, false);
}

static void start_after_a_power_cut_finds_the_same_by_footers_as_by_frames(void **state)
{
	struct engine_fixture *f = *state;

	eventful_life(f);
	compare_starts(f, true, true);
}

static void start_with_checkpoints_finds_the_same_by_footers_as_by_frames(void **state)
{
	struct engine_fixture *f = *state;

	f->checkpoint_bytes = FILE_BYTES;
	engine_logd_starts(f);
	eventful_life(f);
	assert_true(f->checkpoints > 2);
	compare_starts(f, true, false);
}

/* A byte of each section of each footer, one after the other: the trailer is whole, so only the section's CRC tells. */
static void footer_with_a_broken_section_is_replaced_by_the_frames(void **state)
{
	struct engine_fixture *f = *state;
	char *before, *after;

	eventful_life(f);
	engine_logd_starts(f);
	before = describe(f);
	for (unsigned section = 0; section < 5; section++) {
		engine_fixture_logd_dies(f);
		break_section(f, section);
		assert_int_equal(engine_fixture_start(f, false, false), ERR_OK);
		after = describe(f);
		assert_string_equal(before, after);
		free(after);
		engine_settle(f); /* and sealed again */
	}
	free(before);
}

static void key_whose_batch_is_sealed_is_known_after_a_start(void **state)
{
	struct engine_fixture *f = *state;
	struct append_options options = { .key = "the key" };
	uint64_t first;
	const struct completion *answer;

	engine_make_topic(f, "t", DURABILITY_DISK);
	assert_int_equal(engine_answered(f, engine_append(f, "t", 2, &options))->status, ERR_OK);
	engine_make_topic(f, "filler", DURABILITY_DISK);
	fill(f, "filler", 3, &first);
	assert_int_equal(engine_fixture_stop(f), ERR_OK);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	answer = engine_answered(f, engine_append(f, "t", 2, &options));
	assert_int_equal(answer->status, ERR_OK);
	assert_true(answer->flags & COMPLETION_DEDUPED);
	assert_int_equal(answer->first_seq, 1);
}

/* ---- checkpoints ---- */

static void checkpoint_is_made_when_due_and_two_are_kept(void **state)
{
	struct engine_fixture *f = *state;
	uint64_t first;

	f->checkpoint_bytes = FILE_BYTES;
	engine_logd_starts(f);
	engine_make_topic(f, "t", DURABILITY_DISK);
	fill(f, "t", 2, &first);
	assert_in_range(f->checkpoints, 1, 3);
	fill(f, "t", 4, &first);
	assert_in_range(f->checkpoints, 4, 8);
	assert_int_equal(count_names(f, 'c'), 2);
}

/* Topics enough for several slices. */
static void make_many(struct engine_fixture *f, unsigned count)
{
	struct topic_config config = engine_config(DURABILITY_DISK);
	char name[16];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof name, "t%u", i);
		engine_put(f, name, &config);
		if (i % 100 == 99)
			engine_settle(f);
	}
	engine_settle(f);
}

/* Ticks until a checkpoint is in the making, and not yet written. */
static void begin_slices(struct engine_fixture *f)
{
	for (unsigned i = 0; count_names(f, 'c') == 0; i++) {
		assert_in_range(i, 0, 2000);
		engine_append(f, "t0", 1, &(struct append_options){ .bytes = 3000 });
		engine_one_round(f);
		engine_end_sync(f);
		engine_end_prepare(f);
		engine_end_seal(f);
		engine_tick(f->engine);
	}
}

static void change_while_a_checkpoint_is_written(struct engine_fixture *f)
{
	make_many(f, 1500);
	f->checkpoint_bytes = 2 * FILE_BYTES;
	f->holds_seals = true;
	engine_logd_starts(f);
	begin_slices(f);
	assert_int_equal(engine_tick(f->engine), 0); /* a slice, and there are more */
	/* Met already, not met yet, and new ones; one name changes its topic. */
	for (unsigned i = 0; i < 10; i++) {
		char name[16];
		snprintf(name, sizeof name, "t%u", 1 + i * 140);
		engine_delete(f, name, false);
	}
	engine_one_round(f);
	struct topic_config config = engine_config(DURABILITY_FSYNC);
	engine_put(f, "t1", &config);
	engine_put(f, "new", &config);
	engine_one_round(f);
	engine_append(f, "t1", 2, NULL);
	engine_append(f, "new", 3, NULL);
	f->holds_seals = false;
	engine_settle(f);
	assert_true(f->checkpoints > 0);
	assert_int_equal(count_names(f, 'c'), 1);
}

static void changes_between_the_slices_of_a_checkpoint_are_found_by_a_start(void **state)
{
	struct engine_fixture *f = *state;
	char *before, *after;

	change_while_a_checkpoint_is_written(f);
	before = describe(f);
	assert_int_equal(engine_numbers(f, "t1").head, 2);
	assert_int_equal(engine_numbers(f, "new").head, 3);
	assert_int_equal(engine_numbers(f, "t141").id, 0);
	engine_daemon_starts(f, false);
	after = describe(f);
	assert_string_equal(before, after);
	free(before);
	free(after);
}

static void checkpoint_is_given_up_when_the_log_leaves_its_file_and_made_later(void **state)
{
	struct engine_fixture *f = *state;
	struct file_name names[64];
	uint64_t given_up = 0;
	unsigned count;

	make_many(f, 1500);
	f->checkpoint_bytes = 2 * FILE_BYTES;
	f->holds_seals = true;
	engine_logd_starts(f);
	begin_slices(f);
	count = memory_world_names(f->world, names, 64);
	for (unsigned i = 0; i < count; i++)
		if (names[i].kind == 'c')
			given_up = names[i].id;
	memory_world_fail(f->world, MEMORY_PWRITE, 0, EIO, false);
	engine_append(f, "t0", 1, NULL);
	engine_one_round(f);
	assert_int_equal(count_names(f, 'c'), 0);
	f->holds_seals = false;
	engine_settle(f);
	engine_pass(f, 2 * 1000 * 1000);
	engine_append(f, "t0", 1, NULL);
	engine_settle(f);
	assert_true(f->checkpoints > 0);
	assert_int_equal(count_names(f, 'c'), 1);
	assert_null(memory_world_file(f->world, &(struct file_name){ .kind = 'c', .id = given_up }, &(uint64_t){ 0 }));
}

static void checkpoint_waits_until_the_log_is_synced_past_its_last_slice(void **state)
{
	struct engine_fixture *f = *state;

	make_many(f, 10);
	f->checkpoint_bytes = 2 * FILE_BYTES;
	f->holds_seals = true;
	engine_logd_starts(f);
	begin_slices(f);
	engine_append(f, "t0", 1, NULL);
	engine_one_round(f);
	while (engine_tick(f->engine) == 0)
		continue;
	assert_false(memory_world_finish_pending(f->world));
	for (unsigned i = 0; !memory_world_finish_pending(f->world); i++) {
		assert_in_range(i, 0, 100);
		engine_one_round(f);
		engine_end_sync(f);
		engine_tick(f->engine);
	}
}

/* No space, no permission, whatever: appends go on, and the next one is made when it can be. */
static void checkpoint_that_cannot_be_written_stops_no_append(void **state)
{
	static const struct { enum memory_op op; int error; } cases[] = {
		{ MEMORY_CREATE, ENOSPC }, { MEMORY_CREATE, EACCES }, { MEMORY_FINISH_START, EAGAIN }, { MEMORY_SYNC_DIR, EIO },
	};
	struct engine_fixture *f = *state;
	uint64_t first;

	engine_make_topic(f, "t", DURABILITY_MEMORY);
	f->checkpoint_bytes = FILE_BYTES;
	engine_logd_starts(f);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		unsigned made = f->checkpoints;
		memory_world_fail(f->world, cases[i].op, 0, cases[i].error, false);
		fill(f, "t", 2, &first);
		engine_pass(f, 2 * 1000 * 1000);
		engine_settle(f);
		fill(f, "t", 1, &first);
		assert_true(f->checkpoints > made);
		memory_world_no_faults(f->world);
	}
	assert_int_equal(engine_numbers(f, "t").segments, f->sealed);
}

static void clean_stop_in_the_middle_of_a_checkpoint_leaves_a_whole_one(void **state)
{
	struct engine_fixture *f = *state;
	char *before, *after;

	make_many(f, 1500);
	f->checkpoint_bytes = 2 * FILE_BYTES;
	f->holds_seals = true;
	engine_logd_starts(f);
	begin_slices(f);
	engine_settle(f);
	before = describe(f);
	assert_int_equal(engine_fixture_stop(f), ERR_OK);
	assert_int_equal(engine_fixture_start(f, true, false), ERR_OK);
	after = describe(f);
	assert_string_equal(before, after);
	assert_non_null(strstr(f->message, "clean stop"));
	free(before);
	free(after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(sealed_files_are_segments_and_every_record_is_read_through_them, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(topics_are_switched_a_slice_at_a_time, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(topic_that_is_deleted_before_it_is_switched_is_passed_over, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(start_finds_the_same_by_footers_as_by_frames, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(daemon_start_finds_the_same_by_footers_as_by_frames, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(start_after_a_power_cut_finds_the_same_by_footers_as_by_frames, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(start_with_checkpoints_finds_the_same_by_footers_as_by_frames, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(footer_with_a_broken_section_is_replaced_by_the_frames, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(key_whose_batch_is_sealed_is_known_after_a_start, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(checkpoint_is_made_when_due_and_two_are_kept, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(changes_between_the_slices_of_a_checkpoint_are_found_by_a_start, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(checkpoint_is_given_up_when_the_log_leaves_its_file_and_made_later, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(checkpoint_waits_until_the_log_is_synced_past_its_last_slice, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(checkpoint_that_cannot_be_written_stops_no_append, setup, engine_teardown),
		cmocka_unit_test_setup_teardown(clean_stop_in_the_middle_of_a_checkpoint_leaves_a_whole_one, setup, engine_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
