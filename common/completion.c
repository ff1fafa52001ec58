#include "common/completion.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

size_t completion_object_size(void)
{
	return COMPLETION_OFFSET + sizeof(struct completion_shared) + COMPLETION_BODIES;
}

/* ---- logd ---- */

/* Invariant: read <= published <= put <= read + RING_SLOTS. `read` is the worker's word, believed only within these bounds. */
struct completion_writer {
	struct completion_shared *shared;    /* not owned, written by us alone */
	uint8_t *bodies;
	const _Atomic uint64_t *read_index;  /* not owned, hostile */
	uint64_t read;
	uint64_t published;
	uint64_t put;
	uint64_t body_put;                   /* bytes of bodies since the beginning */
};

enum error completion_writer_create(struct completion_writer **writer, void *object, const _Atomic uint64_t *read_index)
{
	struct completion_writer *made = calloc(1, sizeof *made);

	if (made == NULL)
		return ERR_NOMEM;
	made->shared = (struct completion_shared *)((uint8_t *)object + COMPLETION_OFFSET);
	made->bodies = (uint8_t *)(made->shared + 1);
	made->read_index = read_index;
	made->published = made->put = atomic_load_explicit(&made->shared->written, memory_order_acquire);
	made->read = made->published > RING_SLOTS ? made->published - RING_SLOTS : 0;
	made->body_put = atomic_load_explicit(&made->shared->body_written, memory_order_relaxed);
	*writer = made;
	return ERR_OK;
}

void completion_writer_destroy(struct completion_writer **writer)
{
	free(*writer);
	*writer = NULL;
}

uint32_t completion_room(struct completion_writer *writer, enum error *error)
{
	/* Pairs with completion_done: the worker has finished with the places and bodies that it says it has read. */
	uint64_t read = atomic_load_explicit(writer->read_index, memory_order_acquire);

	*error = ERR_OK;
	if (read < writer->read || read > writer->published) {
		*error = ERR_PROTOCOL;
		return 0;
	}
	writer->read = read;
	return (uint32_t)(RING_SLOTS - (writer->put - writer->read));
}

/* Where a body of `length` bytes goes, in one piece; the rest of the ring is left free when it does not fit before its end. */
static uint64_t place_body(const struct completion_writer *writer, uint32_t length)
{
	uint64_t at = writer->body_put;
	uint64_t offset = at % COMPLETION_BODIES;

	if (offset != 0 && (writer->put == writer->read || offset + length > COMPLETION_BODIES))
		at += COMPLETION_BODIES - offset;
	return at;
}

void completion_put(struct completion_writer *writer, const struct completion *completion, const void *body)
{
	struct completion_shared *shared = writer->shared;
	uint64_t slot = writer->put % RING_SLOTS;

	assert(writer->put - writer->read < RING_SLOTS && completion->body_length <= COMPLETION_BODY_MAX);
	/* First, so that what stood here no longer counts as an answer once its bytes begin to change. */
	atomic_store_explicit(&shared->numbers[slot], writer->put + 1, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	shared->places[slot] = *completion;
	if (completion->body_length > 0) {
		uint64_t at = place_body(writer, completion->body_length);
		memcpy(writer->bodies + at % COMPLETION_BODIES, body, completion->body_length);
		shared->body_at[slot] = at;
		writer->body_put = at + align8(completion->body_length);
	}
	writer->put++;
}

uint32_t completion_publish(struct completion_writer *writer)
{
	uint32_t count = (uint32_t)(writer->put - writer->published);

	if (count == 0)
		return 0;
	writer->published = writer->put;
	/* Before `written`: a next logd must not write over a body that is published. */
	atomic_store_explicit(&writer->shared->body_written, writer->body_put, memory_order_relaxed);
	atomic_store_explicit(&writer->shared->written, writer->published, memory_order_release);
	return count;
}

bool completion_stands(const struct completion_writer *writer, uint64_t request_id)
{
	const struct completion_shared *shared = writer->shared;
	uint64_t first = writer->published > RING_SLOTS ? writer->published - RING_SLOTS : 0;

	for (uint64_t n = first; n < writer->published; n++) {
		uint64_t slot = n % RING_SLOTS;
		if (shared->places[slot].request_id == request_id && !(shared->places[slot].flags & COMPLETION_MORE) &&
		    atomic_load_explicit(&shared->numbers[slot], memory_order_relaxed) == n + 1)
			return true;
	}
	return false;
}

/* ---- worker ---- */

struct completion_reader {
	const struct completion_shared *shared; /* not owned */
	const uint8_t *bodies;
	_Atomic uint64_t *read_index;           /* not owned, written by us alone */
	uint64_t next;
	uint64_t written;                       /* as last seen */
};

enum error completion_reader_create(struct completion_reader **reader, const void *object, _Atomic uint64_t *read_index)
{
	struct completion_reader *made = calloc(1, sizeof *made);

	if (made == NULL)
		return ERR_NOMEM;
	made->shared = (const struct completion_shared *)((const uint8_t *)object + COMPLETION_OFFSET);
	made->bodies = (const uint8_t *)(made->shared + 1);
	made->read_index = read_index;
	*reader = made;
	return ERR_OK;
}

void completion_reader_destroy(struct completion_reader **reader)
{
	free(*reader);
	*reader = NULL;
}

enum error completion_next(struct completion_reader *reader, struct completion *completion, const uint8_t **body)
{
	uint64_t slot = reader->next % RING_SLOTS;

	if (reader->next == reader->written) {
		/* Pairs with completion_publish. */
		reader->written = atomic_load_explicit(&reader->shared->written, memory_order_acquire);
		if (reader->next == reader->written)
			return ERR_AGAIN;
	}
	*completion = reader->shared->places[slot];
	*body = completion->body_length > 0 ? reader->bodies + reader->shared->body_at[slot] % COMPLETION_BODIES : NULL;
	reader->next++;
	return ERR_OK;
}

void completion_done(struct completion_reader *reader)
{
	/* Pairs with completion_room: only now may these places and bodies be written again. */
	atomic_store_explicit(reader->read_index, reader->next, memory_order_release);
}

bool completion_pending(const struct completion_reader *reader)
{
	return reader->next != atomic_load_explicit(&reader->shared->written, memory_order_acquire);
}
