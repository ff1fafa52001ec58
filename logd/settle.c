/*
 * Settling the rings after a start (I-8): a request whose frame stands behind the last recorded frontier is answered from it; one whose answer stands already, or that was
 * released, is passed over; the rest is done as if it had just come.
 */
#include <stdlib.h>
#include <string.h>

#include "logd/engine_internal.h"

enum error settled_add(struct engine *engine, const struct settled *settled)
{
	if (engine->settled_count == engine->settled_room) {
		uint32_t room = engine->settled_room ? engine->settled_room * 2 : 256;
		struct settled *more = realloc(engine->settled, room * sizeof *more);
		if (more == NULL)
			return ERR_NOMEM;
		engine->settled = more;
		engine->settled_room = room;
	}
	engine->settled[engine->settled_count++] = *settled;
	return ERR_OK;
}

/* Gives each ring the list of its answers. Request ids rise within an incarnation and frames stand in the order in which they were taken, but an ephemeral
 * log has its own, so the lists are sorted. */
enum error settle_prepare(struct engine *engine)
{
	for (uint32_t i = 0; i < engine->settled_count; i++) {
		struct ring *ring = ring_by_incarnation(engine, engine->settled[i].incarnation);
		if (ring == NULL)
			continue;
		uint32_t *more = realloc(ring->settled, (ring->settled_count + 1) * sizeof *more);
		if (more == NULL)
			return ERR_NOMEM;
		ring->settled = more;
		uint32_t at = ring->settled_count++;
		uint64_t id = engine->settled[i].completion.request_id;
		while (at > 0 && engine->settled[more[at - 1]].completion.request_id > id) {
			more[at] = more[at - 1];
			at--;
		}
		more[at] = i;
	}
	return ERR_OK;
}

static bool has_frame(const struct engine *engine, const struct ring *ring, uint64_t request_id)
{
	uint32_t low = 0, high = ring->settled_count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		uint64_t id = engine->settled[ring->settled[middle]].completion.request_id;
		if (id == request_id)
			return true;
		if (id < request_id)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

bool settle_entry(struct engine *engine, struct ring *ring, const struct request *head, uint64_t number)
{
	if (!ring_is_released(ring->consumer, number) && !has_frame(engine, ring, head->id) && !completion_stands(ring->completions, head->id))
		return false;
	ring_skip(ring->consumer, head);
	return true;
}

/* Answers what recovered frames stand for, as places come free: a worker that does not read holds up only itself. */
void settle_answers(struct engine *engine)
{
	bool left = false;
	for (unsigned i = 0; i < engine->ring_end; i++) {
		struct ring *ring = &engine->rings[i];
		enum error error = ERR_OK;
		if (ring->incarnation == 0 || ring->gone || ring->broken)
			continue;
		while (ring->settled_next < ring->settled_count && completion_room(ring->completions, &error) > ring->owed) {
			const struct settled *settled = &engine->settled[ring->settled[ring->settled_next++]];
			if (!completion_stands(ring->completions, settled->completion.request_id))
				post_answer(engine, ring, &settled->completion, settled->body);
		}
		/* Not only when it is empty: clients that ask again at once never let it be. */
		if (!ring_pending(ring->consumer) || ring_next(ring->consumer) >= ring->start_end)
			ring->settling = false;
		left = left || ring->settled_next < ring->settled_count || ring->settling;
	}
	wake_rings(engine);
	if (left)
		return;
	/* Only now may a frame say that all this is behind it: a logd that comes after a death before here has to find it again. */
	engine->settling = false;
	log_settled(engine->disk);
	log_settled(engine->ephemeral);
	for (unsigned i = 0; i < engine->ring_end; i++) {
		free(engine->rings[i].settled);
		engine->rings[i].settled = NULL;
		engine->rings[i].settled_count = engine->rings[i].settled_next = 0;
	}
	engine->settled_count = 0;
}
