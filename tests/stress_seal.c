/*
 * Sealing against readers: every published record is found, in the list of extents or in a segment, whenever a reader looks. The writer does nothing but append and seal one topic, so
 * that readers fall into every moment of it. Under ThreadSanitizer in the gate.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/catalogue.h"
#include "tests/shared_object.h"

#define CHECK(what) \
	do { \
		if (!(what)) { \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
			abort(); \
		} \
	} while (0)

enum { PER_FILE = 4, OPEN_FILES = 3, READERS = 2 };

struct race {
	int fd;
	struct catalogue_writer *writer;
	uint64_t files;
	_Atomic int stop;
	_Atomic uint64_t looks, in_extents, in_segments;
};

/* Every `mixed`th file has a record of another file in its middle, which stays in the list; it is dropped with the floor far behind. */
static uint64_t append(struct race *race, uint32_t slot, uint32_t file, uint64_t seq)
{
	for (unsigned i = 0; i < PER_FILE; i++, seq++) {
		bool other = file % 8 == 0 && i == 1;
		struct extent extent = { .first_seq = seq, .count = 1, .payload = seq, .length = 128, .file = other ? 1u << 30 : file, .entry = 96 };
		CHECK(catalogue_extent_add(race->writer, slot, &extent) == ERR_OK);
	}
	return seq;
}

static void *writing(void *context)
{
	struct race *race = context;
	struct topic_numbers numbers = { .id = 5, .earliest = 1 };
	struct topic_config config;
	uint64_t seq = 1;
	uint32_t slot;

	topic_config_default(&config);
	CHECK(catalogue_topic_add(race->writer, "t", 1, &config, &numbers, &slot) == ERR_OK && slot == 0);
	for (uint32_t file = 1; file <= race->files; file++) {
		seq = append(race, slot, file, seq);
		numbers.head = seq - 1;
		numbers.floor = seq > 4000 ? seq - 4000 : 0;
		catalogue_topic_numbers(race->writer, slot, &numbers);
		catalogue_extents_drop(race->writer, slot, numbers.floor);
		if (file > OPEN_FILES) {
			uint32_t sealed = file - OPEN_FILES;
			struct segment segment = { .first_seq = (sealed - 1) * (uint64_t)PER_FILE + 1, .last_seq = sealed * (uint64_t)PER_FILE, .extents_offset = sealed,
			                           .extents = sealed % 8 == 0 ? PER_FILE - 1 : PER_FILE, .file = sealed };
			CHECK(catalogue_seal(race->writer, slot, &segment) == ERR_OK);
		}
	}
	atomic_store(&race->stop, 1);
	return NULL;
}

/* The writer may have to wait for a core in the middle of a section, longer than one call does: then the call is made again. */
static bool whole(enum error error)
{
	CHECK(error == ERR_OK || error == ERR_AGAIN);
	return error == ERR_OK;
}

static void look(struct race *race, const struct catalogue *catalogue, const struct topic_numbers *numbers, uint64_t back)
{
	uint64_t seq = numbers->head > back ? numbers->head - back : 1;
	struct extent extent;
	struct segment segment;
	unsigned extents, segments;

	while (!whole(catalogue_extents(catalogue, 0, 5, seq, &extent, 1, &extents)))
		;
	while (!whole(catalogue_segments(catalogue, 0, 5, seq, &segment, 1, &segments)))
		;
	if (extents == 1 && extent.first_seq == seq) {
		CHECK(extent.payload == seq);
		atomic_fetch_add_explicit(&race->in_extents, 1, memory_order_relaxed);
	} else {
		struct topic_numbers now;
		while (!whole(catalogue_numbers(catalogue, 0, &now)))
			;
		CHECK((segments == 1 && segment.first_seq <= seq && segment.last_seq >= seq && segment.extents_offset == segment.file) || now.floor >= seq);
		atomic_fetch_add_explicit(&race->in_segments, 1, memory_order_relaxed);
	}
}

static void *reading(void *context)
{
	struct race *race = context;
	struct catalogue *catalogue;
	struct topic_numbers numbers;
	uint64_t looks = 0;

	CHECK(catalogue_open(&catalogue, race->fd) == ERR_OK);
	while (!atomic_load_explicit(&race->stop, memory_order_relaxed))
		if (catalogue_numbers(catalogue, 0, &numbers) == ERR_OK && numbers.head > 0)
			look(race, catalogue, &numbers, looks++ % (PER_FILE * (OPEN_FILES + 2)));
	atomic_fetch_add(&race->looks, looks);
	catalogue_close(&catalogue);
	return NULL;
}

/* An argument scales the work: 1 is for `make check`, more for a longer look. */
int main(int argc, char **argv)
{
	struct race race = { .fd = shared_object_fd(CATALOGUE_SIZE), .files = 50000 * (argc > 1 ? strtoull(argv[1], NULL, 10) : 1) };
	pthread_t threads[READERS + 1];

	CHECK(catalogue_writer_create(&race.writer, race.fd, 1) == ERR_OK);
	for (int i = 0; i < READERS; i++)
		CHECK(pthread_create(&threads[i], NULL, reading, &race) == 0);
	CHECK(pthread_create(&threads[READERS], NULL, writing, &race) == 0);
	for (int i = 0; i <= READERS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	catalogue_writer_destroy(&race.writer);
	close(race.fd);
	printf("sealing: %llu files, %llu looks: %llu found an extent, %llu a segment\n", (unsigned long long)race.files, (unsigned long long)race.looks,
	       (unsigned long long)race.in_extents, (unsigned long long)race.in_segments);
	return race.in_segments > 0 && race.in_extents > 0 ? 0 : 1;
}
