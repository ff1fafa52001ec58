/*
 * Threads for processes: both ends of ring and completions, writer and readers of catalogue and feed, at full speed. Meant for a build with
 * --enable-tsan as well as for a plain one. Prints one line per race; exits 1 when something that was read is not what was written.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/catalogue_writer.h"
#include "common/completion.h"
#include "common/feed.h"
#include "common/ring.h"
#include "tests/shared_object.h"

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
			exit(1); \
		} \
	} while (0)

struct random { uint64_t state; };

static uint64_t draw(struct random *random, uint64_t below)
{
	random->state ^= random->state << 13;
	random->state ^= random->state >> 7;
	random->state ^= random->state << 17;
	return random->state % below;
}

/* ---- ring and completions: every request comes once and whole, in order; every answer too ---- */

enum { LARGE_BYTES = 1 << 20 };

struct exchange_race {
	uint64_t requests;
	void *request;
	uint8_t *completion;
	_Atomic uint64_t read_index;
};

static void fill_body(uint8_t *body, uint64_t id, uint32_t length)
{
	for (uint32_t i = 0; i < length; i += 8) {
		uint64_t word = id * 0x9e3779b97f4a7c15u + i;
		memcpy(body + i, &word, 8);
	}
}

static bool body_right(const uint8_t *body, uint64_t id, uint32_t length)
{
	for (uint32_t i = 0; i < length; i += 8) {
		uint64_t word;
		memcpy(&word, body + i, 8);
		if (word != id * 0x9e3779b97f4a7c15u + i)
			return false;
	}
	return true;
}

static bool send_request(struct ring_producer *producer, uint64_t id, struct random *random)
{
	bool large = draw(random, 50) == 0;
	uint32_t length = (uint32_t)draw(random, draw(random, 20) == 0 ? 60000 : 600) / 8 * 8;
	struct request head = { .type = REQUEST_APPEND, .id = id, .body_length = length };
	uint8_t *area = NULL, *entry;
	size_t size;

	if (large && (area = ring_reserve_large(producer, &size)) == NULL)
		return false;
	head.flags = large ? REQUEST_LARGE : 0;
	head.length = (uint32_t)sizeof head + (large ? 0 : length);
	entry = ring_reserve(producer, head.length);
	if (entry == NULL)
		return false;
	memcpy(entry, &head, sizeof head);
	fill_body(large ? area : entry + sizeof head, id, length);
	ring_publish(producer, head.length, large);
	return true;
}

static uint64_t read_answers(struct completion_reader *reader, uint64_t expected)
{
	struct completion completion;
	const uint8_t *body;

	while (completion_next(reader, &completion, &body) == ERR_OK) {
		CHECK(completion.request_id == expected && completion.head == ~expected);
		CHECK(body_right(body, expected, completion.body_length));
		expected++;
	}
	completion_done(reader);
	return expected;
}

static void *worker_side(void *context)
{
	struct exchange_race *race = context;
	struct random random = { 7 };
	struct ring_producer *producer;
	struct completion_reader *reader;
	uint64_t sent = 0, answered = 0;

	CHECK(ring_producer_create(&producer, race->request, LARGE_BYTES, (struct ring_release *)race->completion) == ERR_OK);
	CHECK(completion_reader_create(&reader, race->completion, &race->read_index) == ERR_OK);
	while (answered < race->requests) {
		for (int i = 0; i < 64 && sent < race->requests && send_request(producer, sent + 1, &random); i++)
			sent++;
		answered = read_answers(reader, answered + 1) - 1;
		if (sent == race->requests || draw(&random, 100) == 0)
			sched_yield();
	}
	CHECK(ring_outstanding(producer) == 0);
	ring_producer_destroy(&producer);
	completion_reader_destroy(&reader);
	return NULL;
}

/* Takes up to `most` requests, releases them in another order than they came, answers in order. */
static uint64_t serve(struct ring_consumer *consumer, struct completion_writer *writer, uint8_t *body, uint32_t most, uint64_t expected)
{
	uint64_t first = expected - 1, taken = 0, number;
	struct request head;

	while (taken < most && ring_peek(consumer, &head, &number) == ERR_OK) {
		struct completion completion = { .request_id = head.id, .head = ~head.id, .body_length = head.body_length % 4096 / 8 * 8 };
		CHECK(head.id == expected && number == expected - 1);
		CHECK(ring_take(consumer, &head, body) == ERR_OK);
		CHECK(body_right(body, head.id, head.body_length));
		completion_put(writer, &completion, body);
		expected++;
		taken++;
	}
	for (uint64_t i = 1; i < taken; i += 2)
		ring_release(consumer, first + i);
	for (uint64_t i = 0; i < taken; i += 2)
		ring_release(consumer, first + i);
	completion_publish(writer);
	return expected;
}

static void *logd_side(void *context)
{
	struct exchange_race *race = context;
	struct random random = { 11 };
	uint8_t *body = malloc(LARGE_BYTES);
	struct ring_consumer *consumer = NULL;
	struct completion_writer *writer = NULL;
	uint64_t expected = 1;

	while (expected <= race->requests) {
		enum error error;
		uint32_t room;
		uint64_t before = expected;
		if (consumer == NULL) { /* now and then a new logd */
			CHECK(ring_consumer_create(&consumer, race->request, LARGE_BYTES,
			                           (struct ring_release *)race->completion) == ERR_OK);
			CHECK(completion_writer_create(&writer, race->completion, &race->read_index) == ERR_OK);
		}
		room = completion_room(writer, &error);
		CHECK(error == ERR_OK);
		if (room > 100)
			room = 1 + (uint32_t)draw(&random, 100);
		expected = serve(consumer, writer, body, room, expected);
		if (before == expected)
			sched_yield();
		if (draw(&random, 100) == 0) {
			ring_consumer_destroy(&consumer);
			completion_writer_destroy(&writer);
		}
	}
	ring_consumer_destroy(&consumer);
	completion_writer_destroy(&writer);
	free(body);
	return NULL;
}

static void race_exchange(uint64_t requests)
{
	struct exchange_race race = { .requests = requests, .request = shared_object(RING_LARGE_OFFSET + LARGE_BYTES) };
	pthread_t threads[2];

	race.completion = shared_object(completion_object_size());
	pthread_create(&threads[0], NULL, worker_side, &race);
	pthread_create(&threads[1], NULL, logd_side, &race);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	munmap(race.request, RING_LARGE_OFFSET + LARGE_BYTES);
	munmap(race.completion, completion_object_size());
	printf("ring: %llu requests and answers, each once, in order and whole\n", (unsigned long long)requests);
}

/* ---- catalogue: whatever a reader gets is of one moment ---- */

enum { RACE_TOPICS = 24 };

struct catalogue_race {
	int fd;
	struct catalogue_writer *writer;
	uint64_t steps;
	char names[RACE_TOPICS][16]; /* whose places in the hash lie close together, so that each removal moves others */
	_Atomic uint64_t changes[RACE_TOPICS]; /* odd while the topic is there */
	_Atomic int stop;
	_Atomic uint64_t looks;
};

/* The writer's state of a topic; every number of it is a function of id and head, so that a reader can tell a mixture. */
struct race_topic {
	uint64_t id; /* 0: not there */
	uint64_t head, floor;
	uint64_t sealed; /* every extent up to here has been sealed, or left where it lies for good */
	uint32_t slot, file;
};

static struct topic_numbers numbers_of(const struct race_topic *topic)
{
	return (struct topic_numbers){ .id = topic->id, .head = topic->head, .durable = topic->head ^ topic->id,
		.earliest = topic->floor + 1,
		.floor = topic->floor, .count = topic->head - topic->floor, .bytes = topic->head * 3 + topic->id,
		    .last_write_ts = (int64_t)topic->head,
		.floor_reason = (uint32_t)topic->floor % 7 };
}

static void add_topic(struct catalogue_race *race, struct race_topic *topic, unsigned index, uint64_t id)
{
	struct topic_config config;
	struct topic_numbers numbers;
	const char *name = race->names[index];

	*topic = (struct race_topic){ .id = id };
	topic_config_default(&config);
	config.ttl_ms = id;
	config.cap_bytes = ~id;
	numbers = numbers_of(topic);
	CHECK(catalogue_topic_add(race->writer, name, strlen(name), &config, &numbers, &topic->slot) == ERR_OK);
	atomic_fetch_add(&race->changes[index], 1);
}

static void remove_topic(struct catalogue_race *race, struct race_topic *topic, unsigned index)
{
	atomic_fetch_add(&race->changes[index], 1);
	catalogue_topic_remove(race->writer, topic->slot);
	topic->id = 0;
}

static void append_extents(struct catalogue_race *race, struct race_topic *topic, uint64_t batches)
{
	struct topic_numbers numbers;

	for (uint64_t i = 0; i < batches; i++) {
		uint32_t count = 1 + (uint32_t)(topic->head % 5);
		struct extent extent = { .first_seq = topic->head + 1, .count = count, .offset = (topic->head + 1) * 64,
			.payload = topic->id,
			.length = count * 8, .file = (uint32_t)(topic->head + 1), .entry = 96 };
		CHECK(catalogue_extent_add(race->writer, topic->slot, &extent) == ERR_OK);
		topic->head += count;
	}
	numbers = numbers_of(topic);
	catalogue_topic_numbers(race->writer, topic->slot, &numbers);
}

/*
 * The next extents lie in one file, which is sealed. With `mixed` every second one lies elsewhere, as those of a class that never is sealed do, and stays in the list. Whatever its
 * content, a segment says in each field what the others say.
 */
static void seal_extents(struct catalogue_race *race, struct race_topic *topic, uint64_t extents, bool mixed)
{
	uint64_t end = topic->sealed, first = 0;
	struct segment segment = { .file = (uint32_t)(1000000 + topic->file++), .live = topic->id };

	for (uint64_t i = 0; i < extents && end < topic->head; i++) {
		uint64_t seq = end + 1, last = end + 1 + end % 5;
		end = last;
		if (last <= topic->floor || (mixed && i % 2 == 1))
			continue;
		CHECK(catalogue_move(race->writer, topic->slot, last, segment.file, (uint64_t)segment.file * 64) == ERR_OK);
		first = first == 0 ? seq : first;
		segment.last_seq = last;
		segment.extents++;
	}
	topic->sealed = end;
	if (first == 0)
		return;
	segment.first_seq = first;
	segment.payload = segment.first_seq ^ segment.last_seq;
	segment.extents_offset = (uint64_t)segment.file * 64;
	CHECK(catalogue_seal(race->writer, topic->slot, &segment) == ERR_OK);
}

static void change_topic(struct catalogue_race *race, struct race_topic *topic, struct random *random)
{
	uint64_t seq;

	switch (draw(random, 8)) {
	case 0:
		topic->floor += draw(random, topic->head - topic->floor + 1);
		append_extents(race, topic, 0);
		catalogue_extents_drop(race->writer, topic->slot, topic->floor);
		break;
	case 1:
		seq = (topic->sealed > topic->floor ? topic->sealed : topic->floor) + 1;
		for (uint32_t file = 1; seq <= topic->head && file < 50; file++)
			CHECK(catalogue_move(race->writer, topic->slot, seq, file, (uint64_t)file * 64) == ERR_OK);
		break;
	case 2:
		seal_extents(race, topic, 1 + draw(random, 30), draw(random, 2) == 0);
		break;
	default:
		append_extents(race, topic, 1 + draw(random, 20));
	}
}

static void *catalogue_writing(void *context)
{
	struct catalogue_race *race = context;
	struct race_topic topics[RACE_TOPICS] = { 0 };
	struct random random = { 13 };
	uint64_t next_id = 1;

	/* The first is always there and changes; the others come and go around it. */
	add_topic(race, &topics[0], 0, next_id++);
	for (uint64_t step = 0; step < race->steps; step++) {
		unsigned index = (unsigned)draw(&random, RACE_TOPICS);
		struct race_topic *topic = &topics[index];
		if (topic->id == 0) {
			add_topic(race, topic, index, next_id++);
		} else if (index != 0 && draw(&random, 10) == 0) {
			for (int i = 0; i < 20; i++) {
				remove_topic(race, topic, index);
				add_topic(race, topic, index, next_id++);
			}
			remove_topic(race, topic, index);
		} else {
			change_topic(race, topic, &random);
		}
	}
	atomic_store(&race->stop, 1);
	return NULL;
}

/* The writer may have to wait for a core in the middle of a section, longer than one call does. */
static int64_t find_name(const struct catalogue *catalogue, const char *name)
{
	int64_t slot;

	do
		slot = catalogue_find(catalogue, name, strlen(name));
	while (slot == CATALOGUE_WAIT);
	return slot;
}

static unsigned look_at_segments(const struct catalogue *catalogue, int64_t slot, uint64_t id, uint64_t seq, struct segment *segments, unsigned room)
{
	enum error error;
	unsigned count;

	do
		error = catalogue_segments(catalogue, slot, id, seq, segments, room, &count);
	while (error == ERR_AGAIN);
	if (error != ERR_OK)
		return 0;
	for (unsigned i = 0; i < count; i++) {
		const struct segment *segment = &segments[i];
		CHECK(segment->live == id && segment->payload == (segment->first_seq ^ segment->last_seq) && segment->extents_offset == (uint64_t)segment->file * 64);
		CHECK(segment->last_seq >= seq && segment->first_seq <= segment->last_seq);
		CHECK(i == 0 || segment->first_seq > segments[i - 1].last_seq);
	}
	return count;
}

/* Extents first, then segments, as a reader does it: what was sealed in between is found in both, never in none. */
static void look_at_extents(const struct catalogue *catalogue, int64_t slot, const struct topic_numbers *numbers, struct random *random)
{
	struct extent extents[32];
	struct segment segments[4];
	uint64_t seq = numbers->floor + 1 + draw(random, numbers->count + 1);
	unsigned count, sealed;

	if (catalogue_extents(catalogue, slot, numbers->id, seq, extents, 32, &count) != ERR_OK)
		return;
	for (unsigned i = 0; i < count; i++) {
		const struct extent *extent = &extents[i];
		CHECK(extent->payload == numbers->id && extent->length == extent->count * 8 && extent->entry == 96);
		CHECK(extent->offset == (uint64_t)extent->file * 64);
		CHECK(extent->first_seq + extent->count > seq);
		CHECK(i == 0 || extent->first_seq >= extents[i - 1].first_seq + extents[i - 1].count);
	}
	sealed = look_at_segments(catalogue, slot, numbers->id, seq, segments, 4);
	/* Nothing of what was published is missing, unless it has been dropped since. */
	if (seq <= numbers->head && (count == 0 || extents[0].first_seq > seq) && (sealed == 0 || segments[0].first_seq > seq)) {
		struct topic_numbers now;
		CHECK(catalogue_numbers(catalogue, slot, &now) != ERR_OK || now.id != numbers->id || now.floor >= seq);
	}
}

static void look_at_topic(const struct catalogue *catalogue, int64_t slot, struct random *random)
{
	struct topic_numbers numbers;
	struct race_topic topic;
	struct topic_config config;
	struct topic_numbers right;

	if (catalogue_numbers(catalogue, slot, &numbers) != ERR_OK)
		return;
	topic = (struct race_topic){ .id = numbers.id, .head = numbers.head, .floor = numbers.floor };
	right = numbers_of(&topic);
	right.extents = numbers.extents;
	right.segments = numbers.segments;
	CHECK(memcmp(&numbers, &right, sizeof right) == 0);
	if (catalogue_config(catalogue, slot, numbers.id, &config) == ERR_OK)
		CHECK(config.ttl_ms == numbers.id && config.cap_bytes == ~numbers.id);
	look_at_extents(catalogue, slot, &numbers, random);
}

/* A name that was there all the while must be found, whatever moves in the hash. */
static void look_for_name(const struct catalogue_race *race, const struct catalogue *catalogue, unsigned index)
{
	uint64_t before = atomic_load(&race->changes[index]);
	int64_t slot = find_name(catalogue, race->names[index]);

	CHECK(slot >= 0 || before % 2 == 0 || atomic_load(&race->changes[index]) != before);
}

static void look_at_names(const struct catalogue_race *race, const struct catalogue *catalogue, struct random *random)
{
	uint32_t slots[RACE_TOPICS + 8];
	const char *name = race->names[draw(random, RACE_TOPICS)];
	unsigned count;
	enum error error;

	look_at_topic(catalogue, find_name(catalogue, name), random);
	for (int i = 0; i < 50; i++)
		look_for_name(race, catalogue, (unsigned)draw(random, RACE_TOPICS));
	CHECK(find_name(catalogue, "topic-x") == CATALOGUE_NO_SLOT);
	do
		error = catalogue_list(catalogue, "", 0, false, slots, RACE_TOPICS + 8, &count);
	while (error == ERR_AGAIN);
	CHECK(error == ERR_OK);
	CHECK(count >= 1 && count <= RACE_TOPICS);
	for (unsigned i = 0; i < count; i++)
		for (unsigned k = 0; k < i; k++)
			CHECK(slots[i] != slots[k]);
}

static void *catalogue_reading(void *context)
{
	struct catalogue_race *race = context;
	struct random random = { 17 };
	struct catalogue *catalogue;

	CHECK(catalogue_open(&catalogue, race->fd) == ERR_OK);
	while (catalogue_find(catalogue, race->names[0], strlen(race->names[0])) < 0)
		sched_yield();
	while (!atomic_load(&race->stop)) {
		look_at_names(race, catalogue, &random);
		look_at_topic(catalogue, (int64_t)draw(&random, RACE_TOPICS * 2), &random);
		atomic_fetch_add(&race->looks, 1);
	}
	catalogue_close(&catalogue);
	return NULL;
}

static void choose_names(struct catalogue_race *race)
{
	const struct catalogue_head *head = &race->writer->map->head;
	unsigned found = 0;

	for (unsigned i = 0; found < RACE_TOPICS; i++) {
		char name[16];
		int length = snprintf(name, sizeof name, "t%u", i);
		if (catalogue_hash(head, name, (size_t)length) % CATALOGUE_BUCKETS < RACE_TOPICS * 2 / 3)
			memcpy(race->names[found++], name, sizeof name);
	}
}

static void race_catalogue(uint64_t steps)
{
	struct catalogue_race race = { .fd = shared_object_fd(CATALOGUE_SIZE), .steps = steps };
	pthread_t threads[3];

	CHECK(catalogue_writer_create(&race.writer, race.fd, 1) == ERR_OK);
	choose_names(&race);
	pthread_create(&threads[0], NULL, catalogue_writing, &race);
	pthread_create(&threads[1], NULL, catalogue_reading, &race);
	pthread_create(&threads[2], NULL, catalogue_reading, &race);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	catalogue_writer_destroy(&race.writer);
	close(race.fd);
	printf("catalogue: %llu changes, %llu looks, each of one moment\n", (unsigned long long)steps, (unsigned long long)race.looks);
}

/* ---- feed: entries are whole and in order; an overrun is always told ---- */

struct feed_race {
	struct feed_shared *feed;
	uint64_t entries;
	_Atomic int stop;
	_Atomic uint64_t got, overruns;
};

static void *feed_writing(void *context)
{
	struct feed_race *race = context;

	for (uint64_t i = 0; i < race->entries; i++) {
		struct feed_entry entry = { .topic = i * 3, .value = i * 5, .event = (uint32_t)(i % 6), .slot = (uint32_t)i };
		feed_put(race->feed, &entry);
		if (i % 17 == 0)
			feed_publish(race->feed);
	}
	feed_publish(race->feed);
	atomic_store(&race->stop, 1);
	return NULL;
}

static void *feed_reading(void *context)
{
	struct feed_race *race = context;
	struct feed_entry entry;
	uint64_t position = 0;
	enum error error;
	bool last = false;

	for (uint64_t round = 0;; round++) {
		uint64_t before = position;
		/* Now and then back to where the writer is about to write. */
		if (round % 8 == 0 && position > FEED_SLOTS && !atomic_load(&race->stop))
			before = position = atomic_load(&race->feed->put) - FEED_SLOTS + 1;
		error = feed_read(race->feed, &position, &entry);
		if (error == ERR_OK) {
			uint64_t i = entry.number;
			CHECK(i == before && position == before + 1);
			CHECK(entry.topic == i * 3 && entry.value == i * 5 && entry.event == i % 6 && entry.slot == (uint32_t)i);
			atomic_fetch_add(&race->got, 1);
		} else if (error == ERR_RANGE) {
			CHECK(position >= before);
			atomic_fetch_add(&race->overruns, 1);
		} else {
			CHECK(error == ERR_AGAIN);
			if (last)
				break;
			last = atomic_load(&race->stop);
			sched_yield();
		}
	}
	CHECK(position == race->entries);
	return NULL;
}

static void race_feed(uint64_t entries)
{
	struct feed_race race = { .feed = shared_object(sizeof *race.feed), .entries = entries };
	pthread_t threads[3];

	pthread_create(&threads[0], NULL, feed_writing, &race);
	pthread_create(&threads[1], NULL, feed_reading, &race);
	pthread_create(&threads[2], NULL, feed_reading, &race);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	printf("feed: %llu entries, %llu reads, %llu overruns, all told\n", (unsigned long long)entries, (unsigned long long)race.got,
	       (unsigned long long)race.overruns);
	munmap(race.feed, sizeof *race.feed);
}

/* An argument scales the work: 1 is for `make check`, more for a longer look. */
int main(int argc, char **argv)
{
	uint64_t scale = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;

	race_exchange(60000 * scale);
	race_catalogue(60000 * scale);
	race_feed(1000000 * scale);
	return 0;
}
