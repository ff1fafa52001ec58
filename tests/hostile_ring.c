/*
 * A worker that writes whatever it likes into its request object, against the real consumer: every peek gives ERR_AGAIN, ERR_PROTOCOL, or a
 * head whose parts are within bounds; what is taken is a private copy that stays as it is; what passes request_check can be read to its
 * last byte. Meant for ASan, where a read outside is a crash: the shared objects end at pages that may not be touched.
 *
 * Usage: hostile_ring [rounds [seed]]. A failure prints the seed of its round.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/completion.h"
#include "common/crc32c.h"
#include "common/ring.h"
#include "tests/make_request.h"
#include "tests/shared_object.h"

enum { LARGE_BYTES = 1 << 20, PAGE = 4096 };

struct tally { uint64_t again, refused, taken, checked; };

struct hostile {
	uint8_t *request;
	struct ring_release *release;
	uint64_t random;
	uint64_t seed;
	struct tally tally;
	_Atomic int stop;
	_Atomic int running; /* the consumer's next steps may be disturbed */
};

#define CHECK(h, condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: failed: %s (seed %llu)\n", __FILE__, __LINE__, #condition, (unsigned long long)(h)->seed); \
			exit(1); \
		} \
	} while (0)

static uint64_t draw(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random;
}

/* `size` bytes between pages that may not be touched. */
static void *guarded(size_t size)
{
	uint8_t *map = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED || mmap(map + PAGE, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
	                              0) == MAP_FAILED)
		abort();
	return map + PAGE;
}

/* ---- what the hostile worker writes ---- */

static void write_word(struct hostile *h, size_t offset, uint64_t value, size_t bytes)
{
	uint8_t *at = h->request + offset;

	/* Through volatile bytes: these stores race with the consumer on purpose. */
	for (size_t i = 0; i < bytes; i++)
		((volatile uint8_t *)at)[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t interesting(uint64_t *random)
{
	static const uint64_t values[] = { 0, 1, 7, 8, 120, 127, 128, 136, 256, 4096, RING_ENTRY_MAX - 8, RING_ENTRY_MAX,
		RING_ENTRY_MAX + 8, RING_BYTES - 128,
		RING_BYTES - 8, RING_BYTES, RING_BYTES + 8, UINT32_MAX, UINT32_MAX - 7, 1ull << 31, UINT64_MAX, UINT64_MAX - 7, 1ull << 63,
		    LARGE_BYTES, LARGE_BYTES + 8 };
	uint64_t which = draw(random);

	return which % 3 == 0 ? draw(random) : values[which % (sizeof values / sizeof *values)];
}

static uint64_t tail_of(const struct hostile *h)
{
	return atomic_load_explicit((_Atomic uint64_t *)(void *)h->request, memory_order_relaxed);
}

/* One well-formed append at ring offset `at`; returns its bytes. */
static uint32_t write_append(struct hostile *h, size_t at)
{
	uint8_t body[512], entry[1024];
	uint32_t length = make_record(body, "{\"x\":[1,2,3]}", (uint32_t)(1 + draw(&h->random) % 13)), payload;
	struct request head = { .type = REQUEST_APPEND, .id = draw(&h->random), .name_length = 5, .count = 1 };

	memcpy(&payload, body + 8, 4);
	head.body_length = length;
	head.payload = payload;
	make_request(entry, &head, "topic", NULL, NULL, NULL, body);
	if (at + head.length > RING_BYTES)
		return 0;
	memcpy(h->request + RING_DATA_OFFSET + at, entry, head.length);
	return head.length;
}

/* A head whose parts lie in the large area, or would: most lengths lead far out of it. */
static uint32_t write_large(struct hostile *h, size_t at)
{
	struct request head = { .length = sizeof head, .type = REQUEST_APPEND, .flags = REQUEST_LARGE, .id = draw(&h->random) };

	if (at + sizeof head > RING_BYTES)
		return 0;
	head.body_length = (uint32_t)interesting(&h->random);
	head.name_length = draw(&h->random) % 4 ? 0 : (uint32_t)interesting(&h->random);
	memcpy(h->request + RING_DATA_OFFSET + at, &head, sizeof head);
	return sizeof head;
}

/* Publishes honest entries, then spoils a few fields of one of them or of the indices. */
static void mostly_right(struct hostile *h, uint64_t position, uint64_t number)
{
	uint64_t tail = position, entries = 1 + draw(&h->random) % 20, spoils = draw(&h->random) % 4;

	for (uint64_t i = 0; i < entries; i++) {
		uint32_t length = draw(&h->random) % 64 ? write_append(h, tail % RING_BYTES) : write_large(h, tail % RING_BYTES);
		if (length == 0)
			break;
		tail += length;
		number++;
	}
	write_word(h, 8, number, 8);
	write_word(h, 0, tail, 8);
	for (uint64_t i = 0; i < spoils; i++) {
		size_t field = (size_t)(draw(&h->random) % (sizeof(struct request) / 4)) * 4;
		size_t entry = (size_t)((position + draw(&h->random) % (tail - position + 8)) / 8 * 8 % RING_BYTES);
		write_word(h, RING_DATA_OFFSET + (entry + field) % RING_BYTES, interesting(&h->random), 4);
	}
	if (draw(&h->random) % 4 == 0)
		write_word(h, draw(&h->random) % 2 * 8, tail + interesting(&h->random), 8);
}

/* Random bytes over the whole ring, random indices. */
static void all_wrong(struct hostile *h)
{
	for (size_t i = 0; i < RING_BYTES; i += 8) {
		uint64_t value = draw(&h->random);
		memcpy(h->request + RING_DATA_OFFSET + i, &value, 8);
	}
	write_word(h, 0, draw(&h->random) % 2 ? draw(&h->random) % (RING_BYTES + 64) / 8 * 8 : interesting(&h->random), 8);
	write_word(h, 8, draw(&h->random) % (RING_SLOTS + 2), 8);
}

/* The other hand: changes bytes while the consumer is at work, most of all in heads (double fetch). */
static void *change_meanwhile(void *context)
{
	struct hostile *h = context;
	uint64_t random = h->seed * 2 + 1;

	while (!atomic_load_explicit(&h->stop, memory_order_relaxed)) {
		uint64_t tail = tail_of(h);
		if (!atomic_load_explicit(&h->running, memory_order_acquire)) {
			sched_yield();
			continue;
		}
		for (int i = 0; i < 64; i++) {
			size_t at = (size_t)((tail - draw(&random) % 4096) / 8 * 8 % RING_BYTES);
			write_word(h, RING_DATA_OFFSET + at + draw(&random) % 8, interesting(&random), 1);
		}
		if (draw(&random) % 64 == 0)
			write_word(h, draw(&random) % 2 * 8, tail + interesting(&random) % 4096, 8);
	}
	return NULL;
}

/* ---- what logd does with it ---- */

/* Reads every byte that a checked request leads to. */
static void walk(const struct hostile *h, const struct request_view *view)
{
	const uint8_t *at = view->body;
	uint64_t left = view->head.body_length, payload = 0;

	CHECK(h, topic_name_valid((const char *)view->name, view->head.name_length));
	for (uint32_t i = 0; view->head.type == REQUEST_APPEND && i < view->head.count; i++) {
		struct record record;
		CHECK(h, record_parse(&record, at, left) == ERR_OK);
		(void)record_crc(at, record.length);
		payload += (uint64_t)record.data_length + record.meta_length;
		at += record.length;
		left -= record.length;
	}
	CHECK(h, left == 0 && payload == view->head.payload);
}

/* Takes what there is until the ring breaks or is empty; false when it broke. */
static bool consume(struct hostile *h, struct ring_consumer *consumer)
{
	for (int i = 0; i < 2 * RING_SLOTS; i++) {
		struct request head, again;
		struct request_view view;
		uint64_t number, size;
		uint8_t *parts;
		uint32_t crc;
		enum error error = ring_peek(consumer, &head, &number);

		if (error == ERR_AGAIN) {
			h->tally.again++;
			return true;
		}
		if (error != ERR_OK) {
			CHECK(h, error == ERR_PROTOCOL);
			h->tally.refused++;
			return false;
		}
		CHECK(h, ring_peek(consumer, &again, &number) == ERR_OK && memcmp(&head, &again, sizeof head) == 0);
		size = request_size(&head) - sizeof head;
		CHECK(h, size <= LARGE_BYTES || size <= RING_ENTRY_MAX);
		parts = malloc(size + 1); /* exactly as large as it says: ASan sees one byte more */
		CHECK(h, ring_take(consumer, &head, parts) == ERR_OK);
		h->tally.taken++;
		crc = crc32c(0, parts, size);
		if (request_check(&view, &head, parts, size) == ERR_OK) {
			h->tally.checked++;
			walk(h, &view);
		}
		CHECK(h, crc == crc32c(0, parts, size));
		free(parts);
		ring_release(consumer, number);
	}
	return true;
}

static void one_round(struct hostile *h, bool meanwhile)
{
	struct ring_consumer *consumer;

	h->random = h->seed * 0x9e3779b97f4a7c15u + 1;
	memset(h->release, 0, sizeof *h->release);
	memset(h->request, 0, 16);
	/* A random place in the ring, as a predecessor may have left it. */
	h->release->places[0].position = draw(&h->random) % (4 * RING_BYTES) / 8 * 8;
	h->release->places[0].count = draw(&h->random) % 100000;
	CHECK(h, ring_consumer_create(&consumer, h->request, LARGE_BYTES, h->release) == ERR_OK);
	for (int step = 0; step < 20; step++) {
		uint64_t position = atomic_load(&h->release->released), number = atomic_load(&h->release->released_count);
		if (h->seed % 50 == 0)
			all_wrong(h);
		else
			mostly_right(h, position, number);
		atomic_store_explicit(&h->running, meanwhile, memory_order_release);
		if (!consume(h, consumer))
			break;
	}
	atomic_store_explicit(&h->running, 0, memory_order_release);
	ring_consumer_destroy(&consumer);
}

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 3000, first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	struct hostile h = { .request = guarded(RING_LARGE_OFFSET + LARGE_BYTES),
		.release = guarded((sizeof *h.release + PAGE - 1) / PAGE * PAGE) };
	pthread_t thread;

	for (uint64_t round = 0; round < rounds; round++) {
		h.seed = first + round;
		one_round(&h, false);
	}
	CHECK(&h, rounds < 100 || (h.tally.checked > rounds && h.tally.refused > rounds / 10));
	pthread_create(&thread, NULL, change_meanwhile, &h);
	for (uint64_t round = 0; round < rounds; round++) {
		h.seed = first + round;
		one_round(&h, true);
	}
	atomic_store(&h.stop, 1);
	pthread_join(thread, NULL);
	printf("hostile ring: %llu rounds, %llu entries taken, %llu of them well-formed, %llu times refused\n",
	       (unsigned long long)(2 * rounds),
	       (unsigned long long)h.tally.taken, (unsigned long long)h.tally.checked, (unsigned long long)h.tally.refused);
	return 0;
}
