#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/ring.h"

/*
 * logd's end. Every byte of the request object is hostile (I-9): each index is loaded once into a private copy that is checked against what
 * this end knows itself, an entry's head is copied once and kept until it is taken, and its parts are copied once. What decides over memory
 * is private:
 *
 *     released <= position <= tail <= released + RING_BYTES
 *     released_count <= number <= published <= released_count + RING_SLOTS
 *
 * so that slots and bytes of entries that are still held are never given twice.
 */
struct ring_consumer {
	const struct ring_shared *shared; /* not owned, hostile */
	const uint8_t *data;
	const uint8_t *large;
	size_t large_bytes;
	struct ring_release *release;     /* not owned, written by us alone */
	uint64_t position;                /* of the next entry */
	uint64_t number;                  /* of the next entry */
	uint64_t tail;                    /* as last seen and checked */
	uint64_t published;               /* as last seen and checked */
	uint64_t released;
	uint64_t released_count;
	uint64_t large_end;               /* 1 + number of the last large entry taken and not released, 0: none */
	bool peeked;                      /* `head` is the copy of the entry at `position` */
	struct request head;
	uint64_t ends[RING_SLOTS];        /* where entry n, taken, ends */
	bool done[RING_SLOTS];            /* entry n, taken, is released */
};

enum error ring_consumer_create(struct ring_consumer **consumer, const void *request, size_t large_bytes, struct ring_release *release)
{
	struct ring_consumer *made = calloc(1, sizeof *made);
	uint64_t place = atomic_load_explicit(&release->place, memory_order_acquire);

	if (made == NULL)
		return ERR_NOMEM;
	made->shared = request;
	made->data = (const uint8_t *)request + RING_DATA_OFFSET;
	made->large = (const uint8_t *)request + RING_LARGE_OFFSET;
	made->large_bytes = large_bytes;
	made->release = release;
	made->released = made->position = made->tail = release->places[place & 1].position;
	made->released_count = made->number = made->published = release->places[place & 1].count;
	/* The one before us may have died between these stores. */
	atomic_store_explicit(&release->released, made->released, memory_order_release);
	atomic_store_explicit(&release->released_count, made->released_count, memory_order_release);
	*consumer = made;
	return ERR_OK;
}

void ring_consumer_destroy(struct ring_consumer **consumer)
{
	free(*consumer);
	*consumer = NULL;
}

bool ring_pending(const struct ring_consumer *consumer)
{
	return consumer->tail != consumer->position ||
	    atomic_load_explicit(&consumer->shared->tail, memory_order_acquire) != consumer->position;
}

uint64_t ring_next(const struct ring_consumer *consumer)
{
	return consumer->number;
}

uint64_t ring_released(const struct ring_consumer *consumer)
{
	return consumer->released_count;
}

/* The logd before is dead, so what it loaded is no newer than this load. */
uint64_t ring_published(const struct ring_consumer *consumer)
{
	uint64_t published = atomic_load_explicit(&consumer->shared->published, memory_order_acquire);

	if (published < consumer->number)
		return consumer->number;
	return published - consumer->released_count > RING_SLOTS ? consumer->released_count + RING_SLOTS : published;
}

/* Loads the producer's indices; the order of the loads is the reverse of its stores, so `published` counts every entry before `tail`. */
static enum error look_again(struct ring_consumer *consumer)
{
	uint64_t tail = atomic_load_explicit(&consumer->shared->tail, memory_order_acquire);
	uint64_t published = atomic_load_explicit(&consumer->shared->published, memory_order_acquire);

	if (tail < consumer->tail || tail - consumer->released > RING_BYTES || tail % 8 != 0)
		return ERR_PROTOCOL;
	if (published < consumer->published || published - consumer->released_count > RING_SLOTS)
		return ERR_PROTOCOL;
	consumer->tail = tail;
	consumer->published = published;
	return ERR_OK;
}

/* The first 8 bytes of every entry, pads included, in one load. */
struct entry_start { uint32_t length; uint16_t type, flags; };

static struct entry_start load_start(const struct ring_consumer *consumer)
{
	const uint8_t *at = consumer->data + consumer->position % RING_BYTES;
	uint64_t word = __atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_RELAXED);
	struct entry_start start;

	memcpy(&start, &word, sizeof start);
	return start;
}

/* A pad fills the ring up to its end, and is published together with the entry behind it. */
static bool pad_valid(const struct ring_consumer *consumer, uint32_t length)
{
	uint64_t to_end = RING_BYTES - consumer->position % RING_BYTES;

	return length == to_end && length < RING_ENTRY_MAX && length < consumer->tail - consumer->position;
}

static bool entry_valid(const struct ring_consumer *consumer, uint32_t length)
{
	uint64_t to_end = RING_BYTES - consumer->position % RING_BYTES;

	return length >= sizeof(struct request) && length <= RING_ENTRY_MAX && length % 8 == 0 && length <= to_end &&
	       length <= consumer->tail - consumer->position && consumer->number < consumer->published;
}

/* The lengths in the head must be what ring_take will copy. */
static bool parts_valid(const struct ring_consumer *consumer, const struct request *head)
{
	uint64_t size = request_size(head);

	if (!(head->flags & REQUEST_LARGE))
		return head->length == size;
	return head->length == sizeof *head && size - sizeof *head <= consumer->large_bytes && consumer->large_end == 0;
}

static enum error copy_head(struct ring_consumer *consumer, struct entry_start start)
{
	const uint8_t *at = consumer->data + consumer->position % RING_BYTES;

	if (!entry_valid(consumer, start.length))
		return ERR_PROTOCOL;
	memcpy(&consumer->head, &start, sizeof start);
	memcpy((uint8_t *)&consumer->head + sizeof start, at + sizeof start, sizeof consumer->head - sizeof start);
	/* From here on only the copy is looked at; the compiler may not go back to the shared bytes for it. */
	atomic_signal_fence(memory_order_seq_cst);
	if (!parts_valid(consumer, &consumer->head))
		return ERR_PROTOCOL;
	consumer->peeked = true;
	return ERR_OK;
}

enum error ring_peek(struct ring_consumer *consumer, struct request *head, uint64_t *number)
{
	while (!consumer->peeked) {
		struct entry_start start;
		enum error error;

		if (consumer->position == consumer->tail) {
			if ((error = look_again(consumer)) != ERR_OK)
				return error;
			if (consumer->position == consumer->tail)
				return ERR_AGAIN;
		}
		start = load_start(consumer);
		if (start.type == REQUEST_PAD) {
			if (!pad_valid(consumer, start.length))
				return ERR_PROTOCOL;
			consumer->position += start.length;
			continue;
		}
		if ((error = copy_head(consumer, start)) != ERR_OK)
			return error;
	}
	*head = consumer->head;
	*number = consumer->number;
	return ERR_OK;
}

/* Everything up to the oldest entry that is still held is free. The pair of indices for the next logd changes in one store. */
static void give_back(struct ring_consumer *consumer)
{
	struct ring_release *release = consumer->release;
	uint64_t place = atomic_load_explicit(&release->place, memory_order_relaxed) + 1;
	uint64_t before = consumer->released_count;

	while (consumer->released_count < consumer->number && consumer->done[consumer->released_count % RING_SLOTS]) {
		consumer->released = consumer->ends[consumer->released_count % RING_SLOTS];
		consumer->done[consumer->released_count % RING_SLOTS] = false;
		consumer->released_count++;
	}
	if (consumer->released_count == before)
		return;
	release->places[place & 1] = (struct ring_place){ consumer->released, consumer->released_count };
	atomic_store_explicit(&release->place, place, memory_order_release);
	/* Pair with the producer's acquire loads: our copies of these bytes are made. */
	atomic_store_explicit(&release->released, consumer->released, memory_order_release);
	atomic_store_explicit(&release->released_count, consumer->released_count, memory_order_release);
}

static void move_on(struct ring_consumer *consumer)
{
	consumer->position += consumer->head.length;
	consumer->ends[consumer->number % RING_SLOTS] = consumer->position;
	consumer->number++;
	consumer->peeked = false;
}

enum error ring_take(struct ring_consumer *consumer, const struct request *head, uint8_t *out)
{
	uint64_t length = request_size(&consumer->head) - sizeof *head;

	assert(consumer->peeked && head->id == consumer->head.id);
	if (consumer->head.flags & REQUEST_LARGE) {
		memcpy(out, consumer->large, length);
		consumer->large_end = consumer->number + 1;
	} else {
		memcpy(out, consumer->data + consumer->position % RING_BYTES + sizeof *head, length);
	}
	atomic_signal_fence(memory_order_seq_cst);
	move_on(consumer);
	return ERR_OK;
}

void ring_pass_over(struct ring_consumer *consumer, const struct request *head)
{
	assert(consumer->peeked && head->id == consumer->head.id);
	if (consumer->head.flags & REQUEST_LARGE)
		consumer->large_end = consumer->number + 1;
	move_on(consumer);
}

bool ring_is_released(const struct ring_consumer *consumer, uint64_t number)
{
	return atomic_load_explicit(&consumer->release->marks[number % RING_SLOTS], memory_order_relaxed) == number + 1;
}

void ring_skip(struct ring_consumer *consumer, const struct request *head)
{
	assert(consumer->peeked && head->id == consumer->head.id);
	consumer->done[consumer->number % RING_SLOTS] = true;
	/* It may be passed over for another reason than its mark; a next logd must find it so whatever an older entry waits for. */
	atomic_store_explicit(&consumer->release->marks[consumer->number % RING_SLOTS], consumer->number + 1, memory_order_release);
	move_on(consumer);
	give_back(consumer);
}

void ring_release(struct ring_consumer *consumer, uint64_t number)
{
	assert(number >= consumer->released_count && number < consumer->number && !consumer->done[number % RING_SLOTS]);
	if (consumer->large_end == number + 1)
		consumer->large_end = 0;
	consumer->done[number % RING_SLOTS] = true;
	/* Before the indices: a death in between leaves an entry that the next logd finds released. Pairs with the producer's look at the
	 * large area. */
	atomic_store_explicit(&consumer->release->marks[number % RING_SLOTS], number + 1, memory_order_release);
	give_back(consumer);
}

void ring_note_taking(struct ring_consumer *consumer, uint64_t number_plus_one)
{
	atomic_store_explicit(&consumer->release->taking, number_plus_one, memory_order_release);
}

/* The note is used up: a further death before anything is taken is not this entry's. */
void ring_note_death(struct ring_consumer *consumer)
{
	struct ring_release *release = consumer->release;
	uint64_t taking = atomic_load_explicit(&release->taking, memory_order_acquire);

	if (taking == 0)
		return;
	atomic_store_explicit(&release->taking, 0, memory_order_release);
	if (atomic_load_explicit(&release->suspect, memory_order_relaxed) != taking)
		atomic_store_explicit(&release->suspect_deaths, 0, memory_order_relaxed);
	atomic_store_explicit(&release->suspect, taking, memory_order_relaxed);
	atomic_fetch_add_explicit(&release->suspect_deaths, 1, memory_order_relaxed);
}

uint32_t ring_deaths(const struct ring_consumer *consumer, uint64_t number)
{
	const struct ring_release *release = consumer->release;

	if (atomic_load_explicit(&release->suspect, memory_order_relaxed) != number + 1)
		return 0;
	return atomic_load_explicit(&release->suspect_deaths, memory_order_relaxed);
}
