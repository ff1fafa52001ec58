#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/catalogue_fixture.h"

static void fresh_catalogue_is_empty_and_costs_next_to_nothing(void **state)
{
	struct fixture *f = *state;
	struct stat status;

	assert_int_equal(catalogue_number(f->reader), 42);
	assert_int_equal(catalogue_topic_count(f->reader), 0);
	assert_int_equal(find(f, "orders"), CATALOGUE_NO_SLOT);
	assert_int_equal(fstat(f->fd, &status), 0);
	assert_true(status.st_blocks * 512 < 64 * 1024);
}

static void object_of_another_size_or_version_is_refused(void **state)
{
	struct fixture *f = *state;
	struct catalogue *other = NULL;
	int fd = shared_object_fd(CATALOGUE_SIZE - 4096);

	assert_int_equal(catalogue_open(&other, fd), ERR_PROTOCOL);
	close(fd);
	fd = shared_object_fd(CATALOGUE_SIZE);
	assert_int_equal(catalogue_open(&other, fd), ERR_PROTOCOL);
	close(fd);
	f->writer->map->head.version++;
	assert_int_equal(catalogue_open(&other, f->fd), ERR_PROTOCOL);
	assert_null(other);
}

static void added_topic_is_found_with_all_it_has(void **state)
{
	struct fixture *f = *state;
	struct topic_numbers in = { .id = 9, .head = 5, .durable = 4, .earliest = 2, .floor = 1, .count = 4, .bytes = 77,
		.last_write_ts = -3, .floor_reason = 2 };
	struct topic_numbers out;
	struct topic_config config;
	char name[TOPIC_NAME_MAX + 1];
	size_t length;
	uint32_t slot;

	f->config.cap_records = 12;
	assert_int_equal(catalogue_topic_add(f->writer, "orders", 6, &f->config, &in, &slot), ERR_OK);
	assert_int_equal(catalogue_topic_add(f->writer, "orders", 6, &f->config, &in, &slot), ERR_EXISTS);
	assert_int_equal(find(f, "orders"), slot);
	assert_int_equal(find(f, "order"), CATALOGUE_NO_SLOT);
	assert_int_equal(find(f, "orders2"), CATALOGUE_NO_SLOT);
	assert_int_equal(catalogue_numbers(f->reader, slot, &out), ERR_OK);
	assert_memory_equal(&in, &out, sizeof in);
	assert_int_equal(catalogue_config(f->reader, slot, 9, &config), ERR_OK);
	assert_true(topic_config_equal(&config, &f->config));
	assert_int_equal(catalogue_config(f->reader, slot, 8, &config), ERR_TOPIC_NOT_FOUND);
	assert_int_equal(catalogue_name(f->reader, slot, 9, name, &length), ERR_OK);
	assert_string_equal(name, "orders");
	assert_int_equal(length, 6);
	assert_int_equal(catalogue_name(f->reader, slot, 10, name, &length), ERR_TOPIC_NOT_FOUND);
	assert_int_equal(catalogue_topic_count(f->reader), 1);
	f->config.dead_letter_length = 255;
	memset(f->config.dead_letter, 'd', 255);
	catalogue_topic_config(f->writer, slot, &f->config);
	assert_int_equal(catalogue_config(f->reader, slot, 9, &config), ERR_OK);
	assert_true(topic_config_equal(&config, &f->config));
	assert_int_equal(find(f, "orders"), slot);
}

static void slots_out_of_bounds_are_no_topics(void **state)
{
	struct fixture *f = *state;
	struct topic_numbers numbers;
	struct extent extent;
	struct loss loss;
	unsigned count;
	static const int64_t slots[] = { CATALOGUE_NO_SLOT, CATALOGUE_TOPICS, INT64_MAX, INT64_MIN, 5 };

	for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
		assert_int_equal(catalogue_numbers(f->reader, slots[i], &numbers), ERR_TOPIC_NOT_FOUND);
		assert_int_equal(catalogue_extents(f->reader, slots[i], 0, 1, &extent, 1, &count), ERR_TOPIC_NOT_FOUND);
		assert_int_equal(catalogue_loss(f->reader, slots[i], 0, 1, &loss), ERR_TOPIC_NOT_FOUND);
	}
}

static void removed_topic_is_gone_and_its_slot_rests_before_it_is_used_again(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "gone"), used = 0;
	uint64_t id = id_of(f, slot);
	struct topic_config config;
	char name[32];

	add_extent(f, slot, 1, 1);
	publish(f, slot, 1);
	catalogue_topic_remove(f->writer, slot);
	assert_int_equal(find(f, "gone"), CATALOGUE_NO_SLOT);
	assert_int_equal(id_of(f, slot), 0);
	assert_int_equal(catalogue_config(f->reader, slot, id, &config), ERR_TOPIC_NOT_FOUND);
	assert_int_equal(catalogue_config(f->reader, slot, 0, &config), ERR_TOPIC_NOT_FOUND);
	assert_int_equal(catalogue_topic_count(f->reader), 0);
	for (int i = 0; i < 1100; i++) {
		struct extent extent;
		uint32_t other;
		snprintf(name, sizeof name, "t%d", i);
		other = add(f, name);
		if (i < 1024)
			assert_int_not_equal(other, slot);
		used += other == slot;
		assert_int_equal(find(f, name), other);
		assert_int_equal(extents_from(f, other, 1, &extent, 1), 0);
		catalogue_topic_remove(f->writer, other);
	}
	assert_int_equal(used, 1);
}

/* Names whose hashes fall together, so that removals have to move others. */
static void names_are_found_through_removals_in_any_order(void **state)
{
	struct fixture *f = *state;
	enum { NAMES = 2000 };
	static uint32_t slots[NAMES];
	static char there[NAMES];
	uint64_t random = 88172645463325252ull;
	char name[32];

	for (int i = 0; i < NAMES; i++) {
		struct topic_slot *topic;
		snprintf(name, sizeof name, "n%d", i);
		slots[i] = add(f, name);
		there[i] = 1;
		/* The same home for runs of 50, near the end of the table so that runs wrap. */
		topic = &f->writer->map->topics[slots[i]];
		catalogue_writer_unlink_name(f->writer, slots[i]);
		catalogue_set(&topic->hash, (uint64_t)CATALOGUE_BUCKETS - 40 + (uint64_t)(i % 40));
		catalogue_writer_link_name(f->writer, slots[i]);
	}
	for (int step = 0; step < 3000; step++) {
		int i;
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		i = (int)(random % NAMES);
		if (there[i])
			catalogue_writer_unlink_name(f->writer, slots[i]);
		else
			catalogue_writer_link_name(f->writer, slots[i]);
		there[i] = !there[i];
		if (step % 50 != 0)
			continue;
		for (int k = 0; k < NAMES; k++) {
			uint64_t hash = catalogue_get(&f->writer->map->topics[slots[k]].hash);
			snprintf(name, sizeof name, "n%d", k);
			assert_int_equal(catalogue_writer_find(f->writer, hash, name, strlen(name)),
			                 there[k] ? (int64_t)slots[k] : CATALOGUE_NO_SLOT);
		}
	}
}

static void listing_is_in_byte_order_whatever_the_order_of_additions(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = { "b", "a", "ab", "B", "a-b", "a.b", "Z", "0", "aa" };
	static const char *const sorted[] = { "0", "B", "Z", "a", "a-b", "a.b", "aa", "ab", "b" };
	uint32_t slots[16];
	unsigned count;

	for (size_t i = 0; i < 9; i++)
		add(f, names[i]);
	assert_int_equal(catalogue_list(f->reader, "", 0, false, slots, 16, &count), ERR_OK);
	assert_int_equal(count, 9);
	for (size_t i = 0; i < 9; i++)
		assert_int_equal(find(f, sorted[i]), slots[i]);
	assert_int_equal(catalogue_list(f->reader, "a", 1, false, slots, 2, &count), ERR_OK);
	assert_int_equal(count, 2);
	assert_int_equal(slots[0], find(f, "a"));
	assert_int_equal(catalogue_list(f->reader, "a", 1, true, slots, 16, &count), ERR_OK);
	assert_int_equal(count, 5);
	assert_int_equal(slots[0], find(f, "a-b"));
	assert_int_equal(catalogue_list(f->reader, "c", 1, false, slots, 16, &count), ERR_OK);
	assert_int_equal(count, 0);
	catalogue_topic_remove(f->writer, (uint32_t)find(f, "a.b"));
	assert_int_equal(catalogue_list(f->reader, "a-b", 3, true, slots, 16, &count), ERR_OK);
	assert_int_equal(slots[0], find(f, "aa"));
	assert_int_equal(count, 3);
}

enum { MANY_NAMES = 6000 };

/* What a listing from `from` on must give: the names that are there, by number, in byte order (they have equal lengths). */
static void check_listing(struct fixture *f, const uint32_t *slots, const bool *there, unsigned from)
{
	static uint32_t listed[MANY_NAMES + 1];
	unsigned count, expected = 0;
	char name[16];

	snprintf(name, sizeof name, "t%06u", from);
	assert_int_equal(catalogue_list(f->reader, name, strlen(name), false, listed, MANY_NAMES + 1, &count), ERR_OK);
	for (unsigned i = from; i < MANY_NAMES; i++) {
		if (!there[i])
			continue;
		assert_true(expected < count);
		assert_int_equal(listed[expected++], slots[i]);
	}
	assert_int_equal(count, expected);
}

/* Blocks are as full as they have to be, so that their number is bounded. */
static void check_blocks(const struct fixture *f)
{
	const struct catalogue_map *map = f->writer->map;
	uint64_t blocks = catalogue_get(&map->head.order_blocks);
	uint32_t before = ORDER_BLOCK;

	for (uint64_t i = 0; i < blocks; i++) {
		uint32_t count = atomic_load(&map->blocks[atomic_load(&map->order[i])].count);
		assert_true(count > 0 && count <= ORDER_BLOCK);
		assert_true(before + count > ORDER_BLOCK / 2);
		before = count;
	}
}

/* Additions in any order, then removals until almost nothing is left, several times over: blocks split, merge and go. */
static void listing_of_many_names_follows_every_change(void **state)
{
	struct fixture *f = *state;
	static uint32_t slots[MANY_NAMES];
	static bool there[MANY_NAMES];
	unsigned alive = 0, random = 12345;
	char name[16];

	memset(there, 0, sizeof there);
	for (unsigned step = 0; step < 60000; step++) {
		random = random * 1103515245 + 12345;
		unsigned i = (random >> 8) % MANY_NAMES;
		bool grows = step / 15000 % 2 == 0;
		if (there[i] && (!grows || alive > MANY_NAMES * 3 / 4)) {
			catalogue_topic_remove(f->writer, slots[i]);
			there[i] = false;
			alive--;
		} else if (!there[i] && (grows || alive < 8)) {
			snprintf(name, sizeof name, "t%06u", i);
			slots[i] = add(f, name);
			there[i] = true;
			alive++;
		}
		if (step % 2500 == 0) {
			check_listing(f, slots, there, 0);
			check_listing(f, slots, there, i);
			check_blocks(f);
		}
	}
}

/* Removals at the end of the order alone, where no block follows to be merged with. */
static void last_block_of_the_order_merges_with_the_one_before(void **state)
{
	struct fixture *f = *state;
	uint32_t slots[ORDER_BLOCK + 100];
	char name[16];

	for (unsigned i = 0; i < ORDER_BLOCK + 100; i++) {
		snprintf(name, sizeof name, "t%06u", i);
		slots[i] = add(f, name);
	}
	for (unsigned i = 0; i < ORDER_BLOCK / 2 - 56; i++)
		catalogue_topic_remove(f->writer, slots[i]);
	for (unsigned i = ORDER_BLOCK + 100; i > ORDER_BLOCK / 2; i--) {
		catalogue_topic_remove(f->writer, slots[i - 1]);
		check_blocks(f);
	}
}

static void extents_are_seen_with_the_next_numbers_and_found_by_seq(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "t");
	struct extent extents[8];

	for (uint64_t i = 0; i < 100; i++)
		add_extent(f, slot, 1 + i * 10, 10);
	assert_int_equal(extents_from(f, slot, 1, extents, 8), 0);
	publish(f, slot, 1000);
	add_extent(f, slot, 1001, 5);
	assert_int_equal(extents_from(f, slot, 1, extents, 8), 8);
	assert_int_equal(extents[0].first_seq, 1);
	assert_int_equal(extents[7].first_seq, 71);
	assert_int_equal(extents[7].offset, 7100);
	assert_int_equal(extents[7].count, 10);
	for (uint64_t seq = 1; seq <= 1000; seq++) {
		assert_true(extents_from(f, slot, seq, extents, 1) == 1);
		assert_int_equal(extents[0].first_seq, (seq - 1) / 10 * 10 + 1);
	}
	assert_int_equal(extents_from(f, slot, 1001, extents, 8), 0);
	publish(f, slot, 1005);
	assert_int_equal(extents_from(f, slot, 995, extents, 8), 2);
}

static void extent_after_a_hole_is_the_next_one(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "t");
	struct extent extent;

	add_extent(f, slot, 1, 5);
	add_extent(f, slot, 100, 5);
	publish(f, slot, 104);
	assert_int_equal(extents_from(f, slot, 6, &extent, 1), 1);
	assert_int_equal(extent.first_seq, 100);
}

static void dropped_extents_are_gone_and_the_rest_stays(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "t");
	struct extent extent;
	uint64_t end;

	/* A window that moves on: the heap must not grow with what is dropped. */
	for (uint64_t i = 0; i < 10; i++)
		add_extent(f, slot, 1 + i * 10, 10);
	publish(f, slot, 100);
	end = f->writer->heap_end;
	for (uint64_t i = 10; i < 20000; i++) {
		add_extent(f, slot, 1 + i * 10, 10);
		publish(f, slot, (i + 1) * 10);
		catalogue_extents_drop(f->writer, slot, (i - 9) * 10 + 5);
		assert_int_equal(extents_from(f, slot, 0, &extent, 1), 1);
		assert_int_equal(extent.first_seq, (i - 9) * 10 + 1);
	}
	assert_true(f->writer->heap_end < end + 1024);
	catalogue_extents_drop(f->writer, slot, UINT64_MAX);
	assert_int_equal(extents_from(f, slot, 0, &extent, 1), 0);
	add_extent(f, slot, 900000, 1);
	publish(f, slot, 900000);
	assert_int_equal(extents_from(f, slot, 0, &extent, 1), 1);
}

static void extents_that_are_cut_out_are_gone_and_their_neighbours_stay(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "t");
	struct extent extents[20];

	for (uint64_t i = 0; i < 10; i++)
		add_extent(f, slot, 1 + i * 10, 10);
	publish(f, slot, 100);
	add_extent(f, slot, 101, 10); /* not to be seen yet */
	assert_int_equal(catalogue_extents_cut(f->writer, slot, 21, 20), ERR_OK);
	assert_int_equal(catalogue_extents_cut(f->writer, slot, 22, 39), ERR_OK); /* none lies whole within */
	assert_int_equal(extents_from(f, slot, 0, extents, 20), 10);
	assert_int_equal(catalogue_extents_cut(f->writer, slot, 15, 75), ERR_OK);
	assert_int_equal(extents_from(f, slot, 0, extents, 20), 5);
	assert_int_equal(extents[1].first_seq, 11);
	assert_int_equal(extents[2].first_seq, 71);
	assert_int_equal(extents_from(f, slot, 12, extents, 20), 4);
	publish(f, slot, 110);
	assert_int_equal(extents_from(f, slot, 0, extents, 20), 6);
	assert_int_equal(extents[5].first_seq, 101);
	assert_int_equal(catalogue_extents_cut(f->writer, slot, 1, UINT64_MAX - 1), ERR_OK);
	assert_int_equal(extents_from(f, slot, 0, extents, 20), 0);
	add_extent(f, slot, 111, 1);
	publish(f, slot, 111);
	assert_int_equal(extents_from(f, slot, 0, extents, 20), 1);
}

static void pending_extent_that_is_dropped_is_never_seen(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "t");
	struct extent extent;

	add_extent(f, slot, 1, 1);
	add_extent(f, slot, 2, 1);
	catalogue_extents_drop(f->writer, slot, 1);
	assert_int_equal(extents_from(f, slot, 0, &extent, 1), 0);
	publish(f, slot, 2);
	assert_int_equal(extents_from(f, slot, 0, &extent, 1), 1);
	assert_int_equal(extent.first_seq, 2);
}

static void moved_extent_is_found_where_it_lies_now(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "t");
	struct extent extent;

	for (uint64_t i = 0; i < 20; i++)
		add_extent(f, slot, 1 + i * 2, 1);
	publish(f, slot, 39);
	assert_int_equal(catalogue_move(f->writer, slot, 7, 11, 4096), ERR_OK);
	assert_int_equal(catalogue_move(f->writer, slot, 8, 11, 4096), ERR_NOT_FOUND);
	assert_int_equal(catalogue_move(f->writer, slot, 40, 11, 4096), ERR_NOT_FOUND);
	assert_int_equal(extents_from(f, slot, 7, &extent, 1), 1);
	assert_int_equal(extent.file, 11);
	assert_int_equal(extent.offset, 4096);
	assert_int_equal(extent.first_seq, 7);
	assert_int_equal(extent.entry, 96);
	assert_int_equal(extents_from(f, slot, 9, &extent, 1), 1);
	assert_int_equal(extent.file, 3);
}

static void losses_that_are_set_take_the_place_of_those_before(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "t");
	uint64_t id = id_of(f, slot), end = 0;
	const struct loss first = { .from = 5, .to = 6, .reason = 7 };
	struct loss losses[3] = { { .from = 1, .to = 2, .reason = 3 }, { .from = 5, .to = 9, .reason = 7 }, { .from = 20, .to = 29, .reason = 3 } };
	struct topic_numbers numbers;
	struct loss loss;

	assert_int_equal(catalogue_loss_add(f->writer, slot, &first), ERR_OK);
	publish(f, slot, 100);
	for (unsigned i = 0; i < 1000; i++) {
		losses[2].to = 29 + i;
		assert_int_equal(catalogue_losses_set(f->writer, slot, losses, 3), ERR_OK);
		end = i == 10 ? f->writer->heap_end : end;
	}
	assert_int_equal(f->writer->heap_end, end); /* blocks go back */
	assert_int_equal(catalogue_numbers(f->reader, slot, &numbers), ERR_OK);
	assert_int_equal(numbers.losses, 3);
	assert_int_equal(catalogue_loss(f->reader, slot, id, 3, &loss), ERR_OK);
	assert_int_equal(loss.to, 9);
	assert_int_equal(catalogue_loss(f->reader, slot, id, 10, &loss), ERR_OK);
	assert_int_equal(loss.to, 29 + 999);
	assert_int_equal(catalogue_loss(f->reader, slot, id, 1029, &loss), ERR_AGAIN);
}

static void losses_are_found_by_seq(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "t");
	uint64_t id = id_of(f, slot);
	struct topic_numbers numbers;
	struct loss loss;

	for (uint32_t i = 0; i < 50; i++) {
		struct loss in = { .from = 10 + i * 10, .to = 14 + i * 10, .reason = 7, .flags = i };
		assert_int_equal(catalogue_loss_add(f->writer, slot, &in), ERR_OK);
	}
	assert_int_equal(catalogue_loss(f->reader, slot, id, 1, &loss), ERR_AGAIN);
	publish(f, slot, 600);
	assert_int_equal(catalogue_numbers(f->reader, slot, &numbers), ERR_OK);
	assert_int_equal(numbers.losses, 50);
	assert_int_equal(catalogue_loss(f->reader, slot, id, 1, &loss), ERR_OK);
	assert_int_equal(loss.from, 10);
	assert_int_equal(catalogue_loss(f->reader, slot, id, 14, &loss), ERR_OK);
	assert_int_equal(loss.from, 10);
	assert_int_equal(catalogue_loss(f->reader, slot, id, 15, &loss), ERR_OK);
	assert_int_equal(loss.from, 20);
	assert_int_equal(loss.flags, 1);
	assert_int_equal(catalogue_loss(f->reader, slot, id, 505, &loss), ERR_AGAIN);
}

static void file_index_stays_until_it_is_removed_and_rises_in_generation(void **state)
{
	struct fixture *f = *state;
	struct catalogue_file file;
	uint32_t index, generation;

	assert_int_equal(catalogue_file(f->reader, 0, &file), ERR_NOT_FOUND);
	assert_int_equal(catalogue_file(f->reader, CATALOGUE_FILES, &file), ERR_RANGE);
	assert_int_equal(catalogue_file_add(f->writer, 0xabc, 7, 512, 'w', &index), ERR_OK);
	assert_int_equal(catalogue_file(f->reader, index, &file), ERR_OK);
	assert_int_equal(file.id, 0xabc);
	assert_int_equal(file.number, 7);
	assert_int_equal(file.first_lsn, 512);
	assert_int_equal(file.kind, 'w');
	generation = file.generation;
	catalogue_file_remove(f->writer, index);
	assert_int_equal(catalogue_file(f->reader, index, &file), ERR_NOT_FOUND);
	for (uint32_t i = 0, other; i < CATALOGUE_FILES; i++)
		assert_int_equal(catalogue_file_add(f->writer, 1 + i, i, 512, 'e', &other), ERR_OK);
	assert_int_equal(catalogue_file_add(f->writer, 1, 1, 1, 'w', &index), ERR_LIMIT);
	assert_int_equal(catalogue_file(f->reader, 0, &file), ERR_OK);
	assert_true(file.generation > generation);
}

static void counter_that_stays_odd_tells_the_reader_to_look_again_later(void **state)
{
	struct fixture *f = *state;
	uint32_t slot = add(f, "t"), slots[1];
	uint64_t id = id_of(f, slot);
	struct topic_numbers numbers;
	struct extent extent;
	struct loss loss;
	unsigned count;

	catalogue_section_begin(&f->writer->map->topics[slot].sequence);
	assert_int_equal(catalogue_numbers(f->reader, slot, &numbers), ERR_AGAIN);
	assert_int_equal(catalogue_config(f->reader, slot, id, &f->config), ERR_AGAIN);
	assert_int_equal(catalogue_extents(f->reader, slot, id, 1, &extent, 1, &count), ERR_AGAIN);
	assert_int_equal(catalogue_loss(f->reader, slot, id, 1, &loss), ERR_BUSY);
	assert_int_equal(find(f, "t"), CATALOGUE_WAIT);
	assert_int_equal(find(f, "u"), CATALOGUE_NO_SLOT);
	catalogue_section_end(&f->writer->map->topics[slot].sequence);
	assert_int_equal(find(f, "t"), slot);
	catalogue_section_begin(&f->writer->map->head.names_sequence);
	assert_int_equal(find(f, "u"), CATALOGUE_WAIT);
	catalogue_section_begin(&f->writer->map->head.order_sequence);
	assert_int_equal(catalogue_list(f->reader, "", 0, false, slots, 1, &count), ERR_AGAIN);
	assert_int_equal(catalogue_numbers(f->reader, CATALOGUE_WAIT, &numbers), ERR_AGAIN);
}

static void hundred_thousand_topics_are_found_and_listed(void **state)
{
	struct fixture *f = *state;
	enum { TOPICS = 100000 };
	uint32_t slots[1000];
	char from[TOPIC_NAME_MAX + 1] = "", name[32];
	size_t from_length = 0;
	unsigned count, total = 0;

	for (uint32_t i = 0; i < TOPICS; i++) {
		snprintf(name, sizeof name, "topic-%08x", i * 2654435761u);
		add(f, name);
	}
	assert_int_equal(catalogue_topic_count(f->reader), TOPICS);
	for (uint32_t i = 0; i < TOPICS; i += 7) {
		snprintf(name, sizeof name, "topic-%08x", i * 2654435761u);
		assert_int_equal(id_of(f, (uint32_t)find(f, name)), i + 1);
	}
	do {
		assert_int_equal(catalogue_list(f->reader, from, from_length, true, slots, 1000, &count), ERR_OK);
		for (unsigned i = 0; i < count; i++) {
			char next[TOPIC_NAME_MAX + 1];
			assert_int_equal(catalogue_name(f->reader, slots[i], id_of(f, slots[i]), next, &from_length), ERR_OK);
			assert_true(strcmp(from, next) < 0);
			memcpy(from, next, from_length + 1);
		}
		total += count;
	} while (count > 0);
	assert_int_equal(total, TOPICS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(fresh_catalogue_is_empty_and_costs_next_to_nothing),
		CASE(object_of_another_size_or_version_is_refused),
		CASE(added_topic_is_found_with_all_it_has),
		CASE(slots_out_of_bounds_are_no_topics),
		CASE(removed_topic_is_gone_and_its_slot_rests_before_it_is_used_again),
		CASE(names_are_found_through_removals_in_any_order),
		CASE(listing_is_in_byte_order_whatever_the_order_of_additions),
		CASE(listing_of_many_names_follows_every_change),
		CASE(last_block_of_the_order_merges_with_the_one_before),
		CASE(extents_are_seen_with_the_next_numbers_and_found_by_seq),
		CASE(extent_after_a_hole_is_the_next_one),
		CASE(dropped_extents_are_gone_and_the_rest_stays),
		CASE(pending_extent_that_is_dropped_is_never_seen),
		CASE(moved_extent_is_found_where_it_lies_now),
		CASE(extents_that_are_cut_out_are_gone_and_their_neighbours_stay),
		CASE(losses_that_are_set_take_the_place_of_those_before),
		CASE(losses_are_found_by_seq),
		CASE(file_index_stays_until_it_is_removed_and_rises_in_generation),
		CASE(counter_that_stays_odd_tells_the_reader_to_look_again_later),
		CASE(hundred_thousand_topics_are_found_and_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
