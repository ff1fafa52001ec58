/* A catalogue with its writer and a reader, for the tests of both. */
#ifndef TOPICS_CATALOGUE_FIXTURE_H
#define TOPICS_CATALOGUE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/catalogue_writer.h"
#include "tests/shared_object.h"

struct fixture {
	int fd;
	struct catalogue_writer *writer;
	struct catalogue *reader;
	struct topic_config config;
	uint64_t id;
};

static inline int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->fd = shared_object_fd(CATALOGUE_SIZE);
	assert_int_equal(catalogue_writer_create(&f->writer, f->fd, 42), ERR_OK);
	assert_int_equal(catalogue_open(&f->reader, f->fd), ERR_OK);
	topic_config_default(&f->config);
	*state = f;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;

	catalogue_writer_destroy(&f->writer);
	catalogue_close(&f->reader);
	assert_null(f->writer);
	assert_null(f->reader);
	close(f->fd);
	free(f);
	return 0;
}

static inline uint32_t add(struct fixture *f, const char *name)
{
	struct topic_numbers numbers = { .id = ++f->id, .earliest = 1 };
	uint32_t slot;

	assert_int_equal(catalogue_topic_add(f->writer, name, strlen(name), &f->config, &numbers, &slot), ERR_OK);
	return slot;
}

static inline int64_t find(struct fixture *f, const char *name)
{
	return catalogue_find(f->reader, name, strlen(name));
}

static inline uint64_t id_of(struct fixture *f, uint32_t slot)
{
	struct topic_numbers numbers;

	return catalogue_numbers(f->reader, slot, &numbers) == ERR_OK ? numbers.id : 0;
}

static inline void add_extent(struct fixture *f, uint32_t slot, uint64_t first, uint32_t count)
{
	struct extent extent = { .first_seq = first, .count = count, .offset = first * 100, .length = 8, .file = 3, .entry = 96,
		.payload = count };

	assert_int_equal(catalogue_extent_add(f->writer, slot, &extent), ERR_OK);
}

static inline void publish(struct fixture *f, uint32_t slot, uint64_t head)
{
	struct topic_numbers numbers;

	assert_int_equal(catalogue_numbers(f->reader, slot, &numbers), ERR_OK);
	numbers.head = head;
	catalogue_topic_numbers(f->writer, slot, &numbers);
}

static inline unsigned extents_from(struct fixture *f, uint32_t slot, uint64_t seq, struct extent *extents, unsigned room)
{
	unsigned count = 99;

	assert_int_equal(catalogue_extents(f->reader, slot, id_of(f, slot), seq, extents, room, &count), ERR_OK);
	return count;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
