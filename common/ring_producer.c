#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/ring.h"

/*
 * The worker's end. Everything it has published it knows itself, so it reads only what logd writes: `released` and `released_count`, which
 * it keeps and looks at again only when the kept values leave no room, and the mark of the request that used the large area.
 */
struct ring_producer {
	struct ring_shared *shared;          /* not owned */
	uint8_t *data;
	uint8_t *large;
	size_t large_bytes;
	const struct ring_release *release;  /* not owned */
	uint64_t tail;
	uint64_t published;
	uint64_t released;                   /* as last seen */
	uint64_t released_count;             /* as last seen */
	uint64_t large_end;                  /* 1 + number of the last request in the large area, 0: there was none */
	uint64_t pad;                        /* bytes to the ring's end that the reserved entry leaves unused */
	size_t reserved;                     /* bytes reserved, 0: nothing */
};

enum error ring_producer_create(struct ring_producer **producer, void *request, size_t large_bytes, const struct ring_release *release)
{
	struct ring_producer *made = calloc(1, sizeof *made);

	if (made == NULL)
		return ERR_NOMEM;
	made->shared = request;
	made->data = (uint8_t *)request + RING_DATA_OFFSET;
	made->large = (uint8_t *)request + RING_LARGE_OFFSET;
	made->large_bytes = large_bytes;
	made->release = release;
	made->tail = atomic_load_explicit(&made->shared->tail, memory_order_relaxed);
	made->published = atomic_load_explicit(&made->shared->published, memory_order_relaxed);
	*producer = made;
	return ERR_OK;
}

void ring_producer_destroy(struct ring_producer **producer)
{
	free(*producer);
	*producer = NULL;
}

static bool fits(const struct ring_producer *producer, uint64_t bytes)
{
	return producer->tail + bytes - producer->released <= RING_BYTES && producer->published - producer->released_count < RING_SLOTS;
}

void *ring_reserve(struct ring_producer *producer, size_t length)
{
	uint64_t offset = producer->tail % RING_BYTES;
	uint64_t pad = offset + length > RING_BYTES ? RING_BYTES - offset : 0;

	assert(length >= sizeof(struct request) && length <= RING_ENTRY_MAX && length % 8 == 0);
	producer->reserved = 0;
	if (!fits(producer, pad + length)) {
		/* Pairs with the release stores of the consumer: logd has done with these bytes before it gives them back. */
		producer->released = atomic_load_explicit(&producer->release->released, memory_order_acquire);
		producer->released_count = atomic_load_explicit(&producer->release->released_count, memory_order_acquire);
		if (!fits(producer, pad + length))
			return NULL;
	}
	producer->pad = pad;
	producer->reserved = length;
	return producer->data + (producer->tail + pad) % RING_BYTES;
}

/* Marks are set whatever older entries wait for, so the area is free before its entry's bytes are. */
static bool large_free(const struct ring_producer *producer)
{
	const struct ring_release *release = producer->release;
	uint64_t end = producer->large_end;

	if (end == 0 || producer->released_count >= end)
		return true;
	if (atomic_load_explicit(&release->marks[(end - 1) % RING_SLOTS], memory_order_acquire) == end)
		return true;
	return atomic_load_explicit(&release->released_count, memory_order_acquire) >= end;
}

void *ring_reserve_large(struct ring_producer *producer, size_t *size)
{
	if (producer->large_bytes == 0 || !large_free(producer))
		return NULL;
	*size = producer->large_bytes;
	return producer->large;
}

void ring_publish(struct ring_producer *producer, size_t length, bool large)
{
	assert(producer->reserved != 0 && length <= producer->reserved && length >= sizeof(struct request) && length % 8 == 0);
	if (producer->pad > 0) {
		struct { uint32_t length; uint16_t type, flags; } pad = { (uint32_t)producer->pad, REQUEST_PAD, 0 };
		memcpy(producer->data + producer->tail % RING_BYTES, &pad, sizeof pad);
	}
	producer->tail += producer->pad + length;
	producer->published++;
	if (large)
		producer->large_end = producer->published;
	producer->reserved = 0;
	/* In this order: who sees the tail sees at least that many entries announced. */
	atomic_store_explicit(&producer->shared->published, producer->published, memory_order_release);
	atomic_store_explicit(&producer->shared->tail, producer->tail, memory_order_release);
}

uint64_t ring_outstanding(const struct ring_producer *producer)
{
	return producer->published - atomic_load_explicit(&producer->release->released_count, memory_order_acquire);
}
