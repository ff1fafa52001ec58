/* From the rings to requests that have been copied and checked (I-9). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/record.h"
#include "logd/engine_internal.h"

enum taking { TAKEN, NOTHING, BLOCKED, WRITE_FIRST, BROKEN };

/* Room for what an append's frame may hold besides batch entry and records: a create with its configuration, a ceiling. */
static uint64_t extra_entries(const struct request *head)
{
	return 40 + align8(head->name_length) + TOPIC_CONFIG_MAX + 24;
}

static uint32_t batch_entry_size(const struct request *head)
{
	struct entry entry = { .type = ENTRY_BATCH };
	entry.batch.key_length = head->key_length;
	entry.batch.node_length = head->node_length;
	return entry_size(&entry);
}

/* What the head says about lengths decides over memory, so it is bounded before anything is reserved. Limits that are settings are checked here
 * too: the worker has refused what is past them, so one that sends it is not to be trusted (E7). */
static bool head_bounded(const struct engine *engine, const struct request *head)
{
	const struct settings *settings = engine->settings;
	return head->name_length <= TOPIC_NAME_MAX && head->config_length <= TOPIC_CONFIG_MAX && head->key_length <= KEY_LENGTH_MAX &&
	       head->node_length <= 65536 && head->node_length <= settings->max_node_bytes && head->body_length / RECORD_HEAD >= head->count &&
	       head->count <= settings->max_batch_records && head->body_length <= FRAME_LENGTH_MAX / 2;
}

/* Points the view's small parts at a private copy: in a frame their place will be overwritten. */
static void keep_small(struct engine *engine, struct request_view *view)
{
	uint8_t *at = engine->small;
	const uint8_t **parts[] = { &view->name, &view->config, &view->key, &view->node };
	const uint32_t lengths[] = { view->head.name_length, view->head.config_length, view->head.key_length, view->head.node_length };
	for (unsigned i = 0; i < 4; i++) {
		memcpy(at, *parts[i], lengths[i]);
		*parts[i] = at;
		at += align8(lengths[i]);
	}
}

static enum error check(struct engine *engine, struct taken *taken, const struct request *head, const uint8_t *parts)
{
	enum error error = request_check(&taken->view, head, parts, request_size(head) - sizeof *head);
	if (error != ERR_OK)
		return error;
	keep_small(engine, &taken->view);
	taken->has_config = head->config_length > 0;
	return taken->has_config ? topic_config_decode(&taken->config, taken->view.config, head->config_length) : ERR_OK;
}

void answer_now(struct engine *engine, const struct taken *taken, const struct completion *completion, const void *body)
{
	struct completion whole = *completion;
	whole.request_id = taken->view.head.id;
	whole.type = taken->view.head.type;
	if (whole.status == ERR_NOMEM)
		whole.status = ERR_STORAGE_STALLED; /* nothing was applied, and it may pass */
	post_answer(engine, taken->ring, &whole, body);
	/* Posted before it is released: a logd that comes between finds the answer standing and does not do the request again (I-8). */
	completion_publish(taken->ring->completions);
	ring_release(taken->ring->consumer, taken->number);
}

static bool scratch_room(struct engine *engine, uint64_t size)
{
	if (size <= engine->scratch_size)
		return true;
	uint8_t *bigger = realloc(engine->scratch, size);
	if (bigger == NULL)
		return false;
	engine->scratch = bigger;
	engine->scratch_size = size;
	return true;
}

/* Takes an entry only to refuse it, or because it is small. */
static enum taking take_aside(struct engine *engine, struct taken *taken, const struct request *head)
{
	ring_take(taken->ring->consumer, head, engine->scratch);
	return check(engine, taken, head, engine->scratch) == ERR_OK ? TAKEN : BROKEN;
}

static void refuse(struct engine *engine, const struct taken *taken, enum error error)
{
	answer_now(engine, taken, &(struct completion){ .status = (uint16_t)error }, NULL);
}

/* Without the memory to look at it: nothing is known of it but its head, and nothing is done. */
static enum taking pass_over(struct engine *engine, struct taken *taken, const struct request *head)
{
	taken->view.head = *head;
	ring_pass_over(taken->ring->consumer, head);
	refuse(engine, taken, ERR_NOMEM);
	return TAKEN;
}

/* Nothing was done because a log takes nothing now: if a group gathers it has to be written first, else there is nothing to do but wait. */
static enum taking waiting(const struct engine *engine)
{
	return gathers(engine->disk) || gathers(engine->ephemeral) ? WRITE_FIRST : BLOCKED;
}

struct held *held_make(const struct taken *taken, const uint8_t *body)
{
	const struct request_view *view = &taken->view;
	const struct request *head = &view->head;
	const uint8_t *parts[] = { body, view->name, view->config, view->key, view->node };
	const uint32_t lengths[] = { head->body_length, head->name_length, head->config_length, head->key_length, head->node_length };
	struct held *held = malloc(sizeof *held + request_size(head));
	if (held == NULL)
		return NULL;
	held->taken = *taken;
	struct request_view *own = &held->taken.view;
	const uint8_t **into[] = { &own->body, &own->name, &own->config, &own->key, &own->node };
	uint8_t *at = held->bytes;
	for (unsigned i = 0; i < 5; i++) {
		memcpy(at, parts[i], lengths[i]);
		*into[i] = at;
		at += align8(lengths[i]);
	}
	return held;
}

/* Keeps an append that was taken until its log takes it; the copy that has been checked is the one that will be written. */
static enum taking hold(struct engine *engine, const struct taken *taken, const uint8_t *body)
{
	taken->ring->held = held_make(taken, body);
	if (taken->ring->held == NULL) {
		refuse(engine, taken, ERR_NOMEM);
		return TAKEN;
	}
	taken->ring->owed++;
	return waiting(engine);
}

/* Puts an append aside that has to wait for a look-up, its own or an earlier one's; the ring goes on. */
static enum taking look_up(struct engine *engine, const struct taken *taken, const uint8_t *body, const struct key_question *question)
{
	if (!lookups_add(engine, taken, body, question))
		refuse(engine, taken, ERR_NOMEM);
	return TAKEN;
}

static enum taking take_held(struct engine *engine, struct ring *ring)
{
	struct held *held = ring->held;
	const struct records records = { .bytes = held->bytes };
	struct key_question question;
	enum appended appended = APPEND_WAITS;
	enum taking result = TAKEN;
	if (!provide_for_request(engine))
		return waiting(engine);
	ring->owed--; /* its place is its own again */
	ring_note_taking(ring->consumer, held->taken.number + 1);
	bool behind = lookups_hold_back(engine, &held->taken);
	if (!behind)
		appended = append_request(engine, &held->taken, &records, NULL, &question);
	if (appended == APPEND_WAITS && !behind) {
		ring->owed++;
		return waiting(engine);
	}
	if (appended != APPEND_DONE)
		result = look_up(engine, &held->taken, held->bytes, behind ? NULL : &question);
	ring->held = NULL;
	free(held);
	return result;
}

/* Reserves in the log that the ring's last append went to: most go to the same, and then the records are copied once, to their final place. */
static enum taking take_append(struct engine *engine, struct taken *taken, const struct request *head)
{
	struct ring *ring = taken->ring;
	struct log *log = ring->ephemeral_guess ? engine->ephemeral : engine->disk;
	uint32_t ahead = batch_entry_size(head);
	uint64_t size = FRAME_HEAD + ahead + (request_size(head) - sizeof *head) + extra_entries(head) + record_table_size(head->count) + FRAME_TAIL;
	uint8_t *frame = NULL;
	if (other_gathers(engine, log))
		return WRITE_FIRST;
	enum error error = log_reserve(log, align8(size), false, &frame);

	if (error == ERR_AGAIN || (error == ERR_THROTTLED && (head->flags & REQUEST_WAIT)))
		return waiting(engine);
	if (error != ERR_OK && !scratch_room(engine, request_size(head)))
		return pass_over(engine, taken, head);
	if (error != ERR_OK) {
		enum taking result = take_aside(engine, taken, head);
		if (result == TAKEN)
			refuse(engine, taken, error);
		return result;
	}
	const struct records records = { .bytes = frame + FRAME_HEAD + ahead, .log = log, .ahead = ahead };
	ring_take(ring->consumer, head, records.bytes);
	if (check(engine, taken, head, records.bytes) != ERR_OK)
		return BROKEN;
	struct key_question question;
	if (lookups_hold_back(engine, taken))
		return look_up(engine, taken, records.bytes, NULL);
	switch (append_request(engine, taken, &records, NULL, &question)) {
	case APPEND_DONE:
		return TAKEN;
	case APPEND_ASKS:
		return look_up(engine, taken, records.bytes, &question);
	default:
		return hold(engine, taken, records.bytes);
	}
}

static enum taking take_control(struct engine *engine, struct taken *taken, const struct request *head)
{
	static void (*const handlers[REQUEST_TYPE_END])(struct engine *, struct taken *) = {
		[REQUEST_TOPIC_PUT] = topic_put_request,
		[REQUEST_TOPIC_PATCH] = topic_patch_request,
		[REQUEST_TOPIC_DELETE] = topic_delete_request,
	};
	uint8_t *unused;
	bool control = head->type == REQUEST_TOPIC_DELETE;
	if (other_gathers(engine, engine->disk))
		return WRITE_FIRST;
	/* Largest frame of these: a create with its name and configuration. */
	enum error error = log_reserve(engine->disk, FRAME_HEAD + 1024 + FRAME_TAIL, control, &unused);
	if (error == ERR_AGAIN || (error == ERR_THROTTLED && (head->flags & REQUEST_WAIT)))
		return waiting(engine);
	if (!scratch_room(engine, request_size(head)))
		return pass_over(engine, taken, head);
	enum taking result = take_aside(engine, taken, head);
	if (result != TAKEN)
		return result;
	if (error != ERR_OK)
		refuse(engine, taken, error);
	else
		handlers[head->type](engine, taken);
	return TAKEN;
}

/* An entry that was being taken at two deaths by a fault is not tried a third time (ARCHITECTURE §5). */
static enum taking drop_poisoned(struct engine *engine, struct taken *taken, const struct request *head)
{
	enum taking result = TAKEN;
	if (scratch_room(engine, request_size(head)))
		result = take_aside(engine, taken, head);
	else
		ring_pass_over(taken->ring->consumer, head);
	taken->view.head = *head;
	if (result == TAKEN)
		refuse(engine, taken, ERR_INTERNAL);
	taken->ring->replace_us = engine->now_us + POISON_GRACE_US;
	return result;
}

static enum taking take_one(struct engine *engine, struct ring *ring)
{
	struct request head;
	struct taken taken = { .ring = ring };
	if (ring->held != NULL)
		return take_held(engine, ring);
	enum error error = ring_peek(ring->consumer, &head, &taken.number);

	if (error == ERR_AGAIN) {
		ring->settling = false; /* everything that the logd before may have done has been looked at */
		return NOTHING;
	}
	if (error != ERR_OK || head.type == REQUEST_PAD || head.type >= REQUEST_TYPE_END || !head_bounded(engine, &head))
		return BROKEN;
	if (ring->settling && taken.number < ring->start_end && settle_entry(engine, ring, &head, taken.number))
		return TAKEN;
	if (completion_room(ring->completions, &error) <= ring->owed)
		return error == ERR_OK ? BLOCKED : BROKEN;
	/* A look-up holds back what comes behind it for its topic. What a control request is about is only known when it has been taken. */
	if (ring->lookups > 0 ? head.type != REQUEST_APPEND || lookups_full(engine) : (head.flags & REQUEST_HAS_KEY) != 0 && lookups_full(engine))
		return BLOCKED;
	if (!provide_for_request(engine))
		return pass_over(engine, &taken, &head);
	uint32_t deaths = ring_deaths(ring->consumer, taken.number);
	ring_note_taking(ring->consumer, taken.number + 1);
	engine->ops->failpoint(engine->ops->world, "after-take");
	if (deaths >= 2)
		return drop_poisoned(engine, &taken, &head);
	return head.type == REQUEST_APPEND ? take_append(engine, &taken, &head) : take_control(engine, &taken, &head);
}

static void cut_off(struct engine *engine, struct ring *ring)
{
	ring->broken = true;
	engine->options.host.ring_broken(engine->options.host.context, ring->slot, ring->incarnation);
}

static uint64_t appended(const struct engine *engine)
{
	return log_appended(engine->disk) + log_appended(engine->ephemeral);
}

/* A ring's quantum, in entries. What it says: TAKEN: it has more; WRITE_FIRST: it has more, and this round has gathered enough. `until`: of the round. */
static enum taking take_quantum(struct engine *engine, struct ring *ring, unsigned quantum, uint64_t until)
{
	uint64_t enough = appended(engine) + TAKE_BYTES;
	enum taking result = TAKEN;
	for (unsigned i = 0; i < quantum && appended(engine) < enough && (result == TAKEN || result == WRITE_FIRST); i++) {
		if (result == WRITE_FIRST) {
			if (appended(engine) >= until)
				break;
			write_group(engine);
		}
		result = take_one(engine, ring);
		ring_note_taking(ring->consumer, 0);
	}
	if (result == BROKEN)
		cut_off(engine, ring);
	ring->blocked = result == BLOCKED;
	return result;
}

static bool has_work(const struct ring *ring)
{
	return ring->incarnation != 0 && !ring->gone && !ring->broken && (ring->held != NULL || ring_pending(ring->consumer));
}

/* Something of what was published when the process before died is not done. */
static bool left_over(const struct ring *ring)
{
	return (has_work(ring) || ring->owed > 0) && !ring->gone && !ring->broken && ring_released(ring->consumer) < ring->start_end;
}

/*
 * After a death by a fault: true if this round takes one entry in all. What was published later killed nobody, so this ends when the rest is
 * released; a ring that could not go on in the last round holds up no other one, it goes on entry by entry when it can.
 */
static bool one_entry_alone(struct engine *engine)
{
	bool left = false, alone = false;
	for (unsigned i = 0; i < engine->ring_end && engine->one_by_one; i++) {
		const struct ring *ring = &engine->rings[i];
		left = left || left_over(ring);
		alone = alone || (left_over(ring) && !ring->blocked);
	}
	engine->one_by_one = left;
	return alone;
}

bool take_from_rings(struct engine *engine)
{
	const bool alone = one_entry_alone(engine);
	const unsigned places = engine->ring_end, first = places == 0 ? 0 : engine->ring_first % places;
	uint64_t until = appended(engine) + LOG_GROUP_BYTES / 2;
	bool more = false;
	engine->blocked = false;
	engine->ring_first = first + 1;
	if (lookups_serve(engine)) {
		more = gathers(engine->disk) || gathers(engine->ephemeral);
		engine->blocked = true;
	}
	for (unsigned i = 0; i < places; i++) {
		struct ring *ring = &engine->rings[(first + i) % places];
		ring->blocked = false;
		if (!has_work(ring))
			continue;
		const unsigned quantum = alone || (engine->one_by_one && left_over(ring)) ? 1 : TAKE_ENTRIES;
		enum taking result = take_quantum(engine, ring, quantum, until);
		engine->blocked = engine->blocked || result == BLOCKED;
		more = more || result == TAKEN || result == WRITE_FIRST;
		if (result == WRITE_FIRST && appended(engine) >= until) {
			engine->ring_first = (first + i) % places; /* its turn is not over */
			break;
		}
		if (quantum == 1 && more)
			break;
	}
	return more;
}

enum error append_entries(struct engine *engine, struct log *log, bool control, const struct entry *entries, unsigned count, uint64_t incarnation,
                          uint64_t request_id, struct log_place *place)
{
	struct frame_head head = { .incarnation = incarnation, .request_id = request_id, .ts = stamp(engine), .entry_count = count };
	uint64_t topic = 0;
	uint8_t *frame, *at;
	for (unsigned i = 0; i < count; i++) {
		head.entries_length += entry_size(&entries[i]);
		/* The table of a frame with several topics stands twice, so that damage can be told apart (I-5). */
		if (topic != 0 && entries[i].topic != 0 && entries[i].topic != topic)
			head.flags |= FRAME_TABLE_TWICE;
		topic = entries[i].topic;
	}
	if (other_gathers(engine, log))
		return ERR_AGAIN;
	enum error error = log_reserve(log, frame_size(head.entries_length, 0, head.flags), control, &frame);
	if (error != ERR_OK)
		return error;
	at = frame + FRAME_HEAD;
	for (unsigned i = 0; i < count; i++)
		at += entry_encode(&entries[i], at);
	assert(at == frame + FRAME_HEAD + head.entries_length);
	return log_append(log, &head, 0, 0, place);
}
