/*
 * Publication. A frame that is written waits here until its class's contract is met (`need` is synced) and every earlier frame of its topic is published; then its extent,
 * its numbers and its answer become visible, in this order (I-1).
 *
 *   pending_queue         log_write             publish_pass                   sync covers it
 *   -------------> GATHERED ------> WRITTEN ------------------> PUBLISHED --------------------> freed
 *                     | the write fails (undo_group): refused, its answer waits until the log has left its file
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/watch.h"
#include "logd/engine_internal.h"

struct pending *pending_new(struct engine *engine)
{
	struct pending *pending = engine->free_pending;
	assert(pending != NULL); /* provided before the request was taken */
	engine->free_pending = pending->next;
	memset(pending, 0, sizeof *pending);
	return pending;
}

void pending_free(struct engine *engine, struct pending *pending)
{
	free(pending->config);
	pending->config = NULL;
	pending->next = engine->free_pending;
	engine->free_pending = pending;
}

void pending_queue(struct engine *engine, struct pending *pending)
{
	struct topic *topic = pending->topic;
	if (topic != NULL) {
		topic->references++;
		topic->unpublished++;
		topic->unpublished_disk += !pending->ephemeral;
		topic_opened(engine, topic);
	}
	if (pending->ring != NULL)
		pending->ring->owed++;
	*engine->unpublished_end = pending;
	engine->unpublished_end = &pending->next;
	if (engine->group_first == NULL)
		engine->group_first = pending;
	if (pending->ephemeral)
		return;
	*engine->unsynced_end = pending;
	engine->unsynced_end = &pending->next_unsynced;
}

/* ---- topics ---- */

void topic_dirty(struct engine *engine, struct topic *topic)
{
	if (topic->dirty)
		return;
	topic->dirty = true;
	topic->references++;
	topic->next_dirty = engine->dirty;
	engine->dirty = topic;
}

void topic_unreference(struct engine *engine, struct topic *topic)
{
	if (--topic->references > 0 || topic->state != TOPIC_DELETING)
		return;
	topic_closed(engine, topic);
	topic_free(&topic);
}

void topic_opened(struct engine *engine, struct topic *topic)
{
	topic_closed(engine, topic);
	topic->active_us = engine->now_us;
	topic->open = true;
	topic->open_previous = engine->open_last;
	topic->open_next = NULL;
	*(engine->open_last != NULL ? &engine->open_last->open_next : &engine->open_first) = topic;
	engine->open_last = topic;
}

void topic_closed(struct engine *engine, struct topic *topic)
{
	if (!topic->open)
		return;
	*(topic->open_previous != NULL ? &topic->open_previous->open_next : &engine->open_first) = topic->open_next;
	*(topic->open_next != NULL ? &topic->open_next->open_previous : &engine->open_last) = topic->open_previous;
	topic->open = false;
}

/* Those that wait for the feed are woken with the answers of this pass: one write for both. */
static void wake_watchers(struct engine *engine)
{
	watch_published();
	for (unsigned i = 0; i < engine->ring_end; i++) {
		struct ring *ring = &engine->rings[i];
		if (ring->incarnation != 0 && !ring->gone && !ring->broken && watch_wanted(&ring->counters->watching))
			ring->wake = true;
	}
}

void publish_numbers(struct engine *engine)
{
	while (engine->dirty != NULL) {
		struct topic *topic = engine->dirty;
		engine->dirty = topic->next_dirty;
		topic->dirty = false;
		if (topic->shown) {
			catalogue_topic_numbers(engine->options.catalogue, topic->slot, &topic->numbers);
			feed_put(engine->options.feed, &(struct feed_entry){ .topic = topic->id, .value = topic->numbers.head, .event = FEED_HEAD,
			                                                     .slot = topic->slot });
		}
		topic_unreference(engine, topic);
	}
	if (feed_publish(engine->options.feed))
		wake_watchers(engine);
}

/* ---- answers ---- */

void post_answer(struct engine *engine, struct ring *ring, const struct completion *completion, const void *body)
{
	(void)engine;
	if (ring->gone || ring->broken)
		return;
	completion_put(ring->completions, completion, body);
	ring->wake = true;
}

void wake_rings(struct engine *engine)
{
	for (unsigned i = 0; i < engine->ring_end; i++) {
		struct ring *ring = &engine->rings[i];
		if (ring->incarnation == 0 || !ring->wake)
			continue;
		ring->wake = false;
		completion_publish(ring->completions);
		engine->ops->failpoint(engine->ops->world, "after-completion");
		engine->options.host.wake_worker(engine->options.host.context, ring->slot);
	}
}

static void post(struct engine *engine, struct pending *pending)
{
	struct ring *ring = pending->ring;
	uint8_t body[TOPIC_CONFIG_MAX];
	if (ring == NULL)
		return;
	ring->owed--;
	if (pending->need != 0) {
		uint64_t waited = engine->now_us - pending->written_us;
		pending->completion.sync_us = (uint32_t)(waited > 0 ? waited : 1);
	}
	if (pending->topic != NULL && pending->completion.status == 0)
		pending->completion.durable = pending->topic->numbers.durable;
	if (pending->completion.type == REQUEST_APPEND && pending->completion.status == 0 && (pending->completion.flags & COMPLETION_DEDUPED) != 0)
		pending->completion.head = pending->topic->numbers.head;
	if (pending->config != NULL && pending->kind != ENTRY_BATCH)
		pending->completion.body_length = (uint32_t)topic_config_encode(pending->config, body);
	post_answer(engine, ring, &pending->completion, body);
}

/* ---- one frame ---- */

static void show_topic(struct engine *engine, struct topic *topic)
{
	const struct topic_config *config = &topic->config;
	if (catalogue_topic_add(engine->options.catalogue, topic->name, topic->name_length, config, &topic->numbers, &topic->slot) != ERR_OK)
		abort(); /* the number of topics is bounded below the catalogue's before a frame is written, and its memory provided */
	topic->shown = true;
	if (topic->state == TOPIC_ASSIGNED) /* it may be deleted again already */
		topic->state = TOPIC_PUBLISHED;
	feed_put(engine->options.feed, &(struct feed_entry){ .topic = topic->id, .event = FEED_CREATED, .slot = topic->slot });
}

/* The ephemeral log is so small that the batch's file went before it was published. */
static void publish_evicted(struct engine *engine, struct pending *pending)
{
	struct topic *topic = pending->topic;
	topic->numbers.head = pending->last_seq;
	topic->numbers.last_write_ts = pending->ts;
	topic->count -= pending->extent.count;
	topic->bytes -= pending->extent.payload;
	records_evicted(engine, topic, pending->extent.first_seq, pending->last_seq);
	topic_dirty(engine, topic);
}

static void publish_batch(struct engine *engine, struct pending *pending)
{
	struct topic *topic = pending->topic;
	struct extent extent = pending->extent;
	if (pending->ephemeral && !file_known(engine, pending->file_id)) {
		publish_evicted(engine, pending);
		return;
	}
	extent.file = file_index(engine, pending->file_id);
	if (catalogue_extent_add(engine->options.catalogue, topic->slot, &extent) != ERR_OK)
		abort(); /* 16 GiB of addresses are used up */
	if (topic->numbers.count == 0)
		topic->numbers.earliest = extent.first_seq;
	topic->numbers.head = pending->last_seq;
	topic->numbers.count += extent.count;
	topic->numbers.bytes += extent.payload;
	if (pending->stray)
		topic_add_stray(topic, &(struct stray){ extent.first_seq, pending->last_seq, extent.payload });
	topic->numbers.last_write_ts = pending->ts;
	topic_dirty(engine, topic);
}

static void publish_delete(struct engine *engine, struct pending *pending)
{
	struct topic *topic = pending->topic;
	catalogue_topic_remove(engine->options.catalogue, topic->slot);
	topic->shown = false;
	feed_put(engine->options.feed, &(struct feed_entry){ .topic = topic->id, .value = topic->numbers.head, .event = FEED_DELETED, .slot = topic->slot });
	topic_table_remove(engine->topics, topic);
}

/* How far the topic is on the platter: every published frame of it that a sync has covered. */
static void note_durable(struct engine *engine, struct pending *pending)
{
	struct topic *topic = pending->topic;
	if (pending->kind != ENTRY_BATCH || topic->config.durability == DURABILITY_EPHEMERAL || pending->last_seq <= topic->numbers.durable)
		return;
	topic->numbers.durable = pending->last_seq;
	if (topic->shown)
		topic_dirty(engine, topic);
}

static void publish(struct engine *engine, struct pending *pending)
{
	struct topic *topic = pending->topic;
	if (topic != NULL) {
		topic->unpublished--;
		topic->unpublished_disk -= !pending->ephemeral;
		if (pending->kind == ENTRY_TOPIC_CREATE || pending->created)
			show_topic(engine, topic);
		if (pending->kind == ENTRY_BATCH)
			publish_batch(engine, pending);
		else if (pending->kind == ENTRY_TOPIC_CONFIGURE)
			catalogue_topic_config(engine->options.catalogue, topic->slot, pending->config);
		else if (pending->kind == ENTRY_TOPIC_DELETE)
			publish_delete(engine, pending);
		if (pending->synced || (!pending->ephemeral && pending->end <= log_synced(engine->disk)))
			note_durable(engine, pending);
	}
	pending->published = true;
}

static bool ready(const struct engine *engine, const struct pending *pending)
{
	if (pending->need > log_synced(engine->disk))
		return false;
	return pending->topic == NULL || pending->topic->blocked_pass != engine->pass;
}

static void let_go(struct engine *engine, struct pending *pending)
{
	struct topic *topic = pending->topic;
	pending_free(engine, pending);
	if (topic != NULL)
		topic_unreference(engine, topic);
}

/* Every frame whose turn has come, in the order of the log. Numbers are shown before answers are posted: who is answered finds what it wrote. */
void publish_pass(struct engine *engine)
{
	struct pending *done = NULL, **done_end = &done, **at = &engine->unpublished_first;
	uint64_t answered = 0;
	bool ephemeral_waits = false;
	assert(engine->group_first == NULL); /* what gathers has been written, or undone */
	engine->pass++;
	while (*at != NULL) {
		struct pending *pending = *at;
		if (!ready(engine, pending)) {
			if (pending->topic != NULL)
				pending->topic->blocked_pass = engine->pass;
			ephemeral_waits = ephemeral_waits || pending->ephemeral;
			at = &pending->next;
			continue;
		}
		*at = pending->next;
		if (pending->ephemeral && !ephemeral_waits)
			answered = pending->end;
		publish(engine, pending);
		*done_end = pending;
		done_end = &pending->next;
		pending->next = NULL;
	}
	engine->unpublished_end = at;
	publish_numbers(engine);
	engine->ops->failpoint(engine->ops->world, "after-publish");
	while (done != NULL) {
		struct pending *pending = done;
		done = pending->next;
		post(engine, pending);
		pending->ring = NULL;
		if (pending->ephemeral || pending->synced)
			let_go(engine, pending);
	}
	log_answered(engine->ephemeral, ephemeral_waits ? answered : log_written(engine->ephemeral));
	wake_rings(engine);
}

/* A sync has covered more: what is published there is durable, and what is both needs no memory any more. */
void publish_synced(struct engine *engine)
{
	uint64_t synced = log_synced(engine->disk);
	if (synced == engine->synced_seen)
		return;
	engine->synced_seen = synced;
	while (engine->unsynced_first != NULL && engine->unsynced_first->end <= synced) {
		struct pending *pending = engine->unsynced_first;
		engine->unsynced_first = pending->next_unsynced;
		if (engine->unsynced_first == NULL)
			engine->unsynced_end = &engine->unsynced_first;
		pending->synced = true;
		if (!pending->published)
			continue;
		if (pending->topic != NULL)
			note_durable(engine, pending);
		let_go(engine, pending);
	}
}
