/* What an append does: look-ups, refusals, seqs, the frame. */
#include <string.h>

#include "common/record.h"
#include "logd/engine_internal.h"

/* The frame that an append will be. */
struct building {
	struct topic *topic;
	bool created;
	bool ceiling;           /* it carries a new ceiling */
	uint64_t new_ceiling;
	uint64_t reservation;   /* how much the next ceiling will reserve */
	struct log *log;        /* where it goes */
	const struct records *records;
};

enum outcome { GO_ON, ANSWERED, WAITS, ASKS };

static struct completion about(const struct topic *topic, enum error status)
{
	struct completion completion = { .status = (uint16_t)status };
	if (topic != NULL) {
		completion.topic = topic->id;
		completion.head = topic->head;
		completion.durable = topic->numbers.durable;
	}
	return completion;
}

/* The log that this topic's frames go to, but for those that change what outlives the daemon. */
static struct log *log_of(const struct engine *engine, const struct topic *topic)
{
	return topic->config.durability == DURABILITY_EPHEMERAL && topic->unpublished_disk == 0 ? engine->ephemeral : engine->disk;
}

static enum outcome answer(struct engine *engine, const struct taken *taken, struct topic *topic, const struct completion *completion)
{
	/* An answer that rests on something that is not published waits until it is (ARCHITECTURE §3, 6). */
	if (topic != NULL && topic->unpublished > 0)
		return answer_later(engine, taken, topic, completion, log_of(engine, topic)) ? ANSWERED : WAITS;
	answer_now(engine, taken, completion, NULL);
	return ANSWERED;
}

bool answer_later(struct engine *engine, const struct taken *taken, struct topic *topic, const struct completion *completion, struct log *log)
{
	struct entry entry = { .type = ENTRY_ANSWER, .topic = topic->id };
	struct log_place place;

	entry.answer.status = completion->status;
	entry.answer.flags = (completion->flags & COMPLETION_DEDUPED ? ENTRY_DEDUPED : 0u);
	entry.answer.first_seq = completion->first_seq;
	entry.answer.head = completion->head;
	entry.answer.count = completion->count;
	enum error error = append_entries(engine, log, true, &entry, 1, taken->ring->incarnation, taken->view.head.id, &place);
	if (error == ERR_AGAIN)
		return false;
	if (error != ERR_OK) {
		answer_now(engine, taken, &(struct completion){ .status = (uint16_t)error }, NULL);
		return true;
	}
	struct pending *pending = pending_new(engine);
	pending->topic = topic;
	pending->ring = taken->ring;
	pending->entry = taken->number;
	pending->end = place.lsn + place.length;
	pending->kind = ENTRY_ANSWER;
	pending->ephemeral = log == engine->ephemeral;
	pending->completion = *completion;
	pending->completion.request_id = taken->view.head.id;
	pending->completion.type = taken->view.head.type;
	pending_queue(engine, pending);
	return true;
}

/* What a look-up has brought, and where a new question goes. */
struct waited {
	const struct lookup *lookup;
	struct key_question *question;
};

static int64_t window_start(struct engine *engine, const struct topic *topic)
{
	uint64_t window = topic->config.idempotency_window_ms;
	int64_t now = stamp(engine);
	return window > (uint64_t)INT64_MAX || now < INT64_MIN + (int64_t)window ? INT64_MIN : now - (int64_t)window;
}

/* The key's first write, if it lies in a sealed file: GO_ON with *first set or not. */
static enum outcome first_in_sealed(struct engine *engine, const struct taken *taken, const struct topic *topic, const struct waited *waited,
                                    const uint8_t hash[KEY_HASH], const struct key_entry **first)
{
	const struct lookup *lookup = waited->lookup;
	/* An answer counts if it was asked about this incarnation of the topic, and of all files that have the key now. */
	if (lookup != NULL && lookup->state == LOOKUP_KNOWN && lookup->question.topic == topic->id && lookup->question.moves == engine->key_moves) {
		if (lookup->result == ERR_NOT_FOUND)
			return GO_ON;
		if (lookup->result != ERR_OK) {
			/* Whether it is a repeat nobody can say; to write it again would be the one thing that was promised not to happen. */
			answer_now(engine, taken, &(struct completion){ .status = ERR_STORAGE_FAILED }, NULL);
			return ANSWERED;
		}
		*first = &lookup->found;
		return GO_ON;
	}
	struct key_question *question = waited->question;
	question->topic = topic->id;
	memcpy(question->hash, hash, KEY_HASH);
	question->not_before = window_start(engine, topic);
	return key_filter_find(engine->key_filter, hash, question->not_before, NULL, 0) == 0 ? GO_ON : ASKS;
}

/* A repeat gets what the first got; looked at before the other conditions, so that a retry is answered as its first try was. */
static enum outcome answer_repeat(struct engine *engine, const struct taken *taken, struct topic *topic, const struct waited *waited, uint8_t hash[KEY_HASH])
{
	const struct request *head = &taken->view.head;
	if (!(head->flags & REQUEST_HAS_KEY))
		return GO_ON;
	keys_hash(hash, topic->id, taken->view.key, head->key_length);
	const struct key_entry *first = keys_find(engine->keys, topic->id, hash);
	if (first == NULL) {
		enum outcome outcome = first_in_sealed(engine, taken, topic, waited, hash, &first);
		if (outcome != GO_ON)
			return outcome;
	}
	/* What was given up is not there to be repeated: its writer may never have heard of it and must not be told that it stands. */
	if (first == NULL || topic_seq_lost(topic, first->first_seq) || (uint64_t)(stamp(engine) - first->ts) > topic->config.idempotency_window_ms)
		return GO_ON;
	struct completion completion = about(topic, ERR_OK);
	completion.flags = COMPLETION_DEDUPED;
	completion.first_seq = first->first_seq;
	completion.count = first->count;
	return answer(engine, taken, topic, &completion);
}

static enum outcome refuse_by_state(struct engine *engine, const struct taken *taken, struct topic *topic)
{
	const struct request *head = &taken->view.head;
	uint64_t at = topic != NULL ? topic->head : 0;
	bool other_head = (head->flags & REQUEST_EXPECT_HEAD) && head->expect_head != at;
	/* An absent topic has the head 0, but no incarnation: no epoch is its. */
	bool other_epoch = (head->flags & REQUEST_EXPECT_EPOCH) && (topic == NULL || head->expect_epoch != topic->id);
	if (other_head || other_epoch) {
		struct completion completion = about(topic, ERR_HEAD_MISMATCH);
		return answer(engine, taken, topic, &completion);
	}
	const struct topic_config *config = topic != NULL ? &topic->config : taken->has_config ? &taken->config : NULL;
	if (config != NULL && config_refuses(config, head->count, head->payload)) {
		struct completion completion = about(topic, ERR_RECORD_TOO_LARGE);
		return answer(engine, taken, topic, &completion);
	}
	return GO_ON;
}

/* `create` given decides; else auto_create of the inline configuration; else a write makes its topic. */
static bool may_create(const struct taken *taken)
{
	if (taken->view.head.flags & REQUEST_CREATE_TRUE)
		return true;
	return !(taken->view.head.flags & REQUEST_CREATE_FALSE) && (!taken->has_config || taken->config.auto_create);
}

static bool too_many_topics(const struct engine *engine)
{
	uint64_t most = engine->settings->max_topics;
	return (most != 0 && topic_table_count(engine->topics) >= most) || topic_table_count(engine->topics) >= CATALOGUE_TOPICS - 1024;
}

/* Makes the topic of this write, unless the write is refused. */
static enum outcome create_by_append(struct engine *engine, const struct taken *taken, struct topic **out)
{
	const char *name = (const char *)taken->view.name;
	struct topic *old = find_deleting(engine, name, taken->view.head.name_length);
	struct topic_config config;
	if (!may_create(taken)) {
		struct completion completion = { .status = ERR_TOPIC_NOT_FOUND };
		return answer(engine, taken, old, &completion);
	}
	enum outcome outcome = refuse_by_state(engine, taken, NULL);
	if (outcome != GO_ON)
		return outcome;
	if (too_many_topics(engine)) {
		struct completion completion = { .status = ERR_THROTTLED, .body_length = 10 };
		answer_now(engine, taken, &completion, "max_topics");
		return ANSWERED;
	}
	if (taken->has_config)
		config = taken->config;
	else
		topic_config_default(&config);
	struct topic *topic = topic_make(topic_new_id(engine), name, taken->view.head.name_length, &config);
	if (topic == NULL) {
		answer_now(engine, taken, &(struct completion){ .status = ERR_NOMEM }, NULL);
		return ANSWERED;
	}
	topic_table_add(engine->topics, topic);
	undo_note(engine, UNDO_CREATED, topic);
	*out = topic;
	return GO_ON;
}

/* Seqs are reserved ahead by a synced ceiling (I-6): a new one is written when a quarter of the reservation is left. */
static void plan_ceiling(struct building *b, uint64_t last_seq, uint32_t count)
{
	struct topic *topic = b->topic;
	if (b->created) {
		b->new_ceiling = 2 * (uint64_t)count > CEILING_FIRST ? 2 * (uint64_t)count : CEILING_FIRST;
		b->reservation = CEILING_FIRST;
		return;
	}
	b->reservation = topic->reservation != 0 ? topic->reservation : CEILING_FIRST;
	if (last_seq + b->reservation / 4 <= topic->ceiling)
		return;
	b->ceiling = true;
	b->new_ceiling = last_seq + b->reservation;
	if (b->reservation < CEILING_RESERVATION_MAX)
		b->reservation *= 2;
}

/* Fills in each record's CRC and the table of offsets behind the records. They were checked as a whole in this private copy. */
static void finish_records(uint8_t *records, uint32_t length, uint32_t count)
{
	uint8_t *table = records + length;
	uint32_t table_size = record_table_size(count), at = 0;
	if (table_size >= 8)
		memset(table + table_size - 8, 0, 8);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t size = get_u32(records + at);
		put_u32(records + at + 4, record_crc(records + at, size));
		if (i > 0 && i % RECORD_TABLE_STRIDE == 0)
			put_u32(table + (size_t)(i / RECORD_TABLE_STRIDE - 1) * 4, at);
		at += size;
	}
}

static unsigned make_entries(const struct taken *taken, const struct building *b, struct entry entries[3], uint8_t config[TOPIC_CONFIG_MAX])
{
	const struct request *head = &taken->view.head;
	struct topic *topic = b->topic;
	unsigned count = 0;
	if (b->created) {
		struct entry *create = &entries[count++];
		*create = (struct entry){ .type = ENTRY_TOPIC_CREATE, .topic = topic->id };
		create->create.ceiling = b->new_ceiling;
		create->create.name_length = topic->name_length;
		create->create.name = (const uint8_t *)topic->name;
		create->create.config_length = (uint32_t)topic_config_encode(&topic->config, config);
		create->create.config = config;
	}
	struct entry *batch = &entries[count++];
	*batch = (struct entry){ .type = ENTRY_BATCH, .topic = topic->id, .flags = b->created ? ENTRY_CREATED : 0 };
	batch->batch.first_seq = topic->head + 1;
	batch->batch.count = batch->batch.live = head->count;
	batch->batch.records_length = head->body_length;
	batch->batch.table_length = record_table_size(head->count);
	batch->batch.key_length = head->key_length;
	batch->batch.key = taken->view.key;
	batch->batch.node_length = head->node_length;
	batch->batch.node = taken->view.node;
	batch->batch.durability = (uint8_t)topic->config.durability;
	batch->batch.payload = head->payload;
	if (b->ceiling) {
		entries[count] = (struct entry){ .type = ENTRY_CEILING, .topic = topic->id };
		entries[count++].ceiling.ceiling = b->new_ceiling;
	}
	return count;
}

/* Room in the frame's log for what was copied elsewhere: the one case in which records are copied twice. ERR_AGAIN also while the other log
 * gathers. */
static enum error find_room(struct engine *engine, const struct building *b, uint64_t size, uint8_t **frame)
{
	return other_gathers(engine, b->log) ? ERR_AGAIN : log_reserve(b->log, size, false, frame);
}

/* Appends the frame; on success the place and the batch entry's offset are set. */
static enum error seal(struct engine *engine, const struct taken *taken, struct building *b, struct log_place *place, uint32_t *entry)
{
	const struct request *head = &taken->view.head;
	const struct records *from = b->records;
	struct frame_head frame = { .incarnation = taken->ring->incarnation, .request_id = head->id, .ts = stamp(engine) };
	struct entry entries[3];
	uint8_t config[TOPIC_CONFIG_MAX], *at;
	unsigned count = make_entries(taken, b, entries, config);

	for (unsigned i = 0; i < count; i++)
		frame.entries_length += entry_size(&entries[i]);
	frame.entry_count = count;
	frame.records_length = head->body_length + record_table_size(head->count);
	if (from->log != b->log) {
		enum error error = find_room(engine, b, frame_size(frame.entries_length, frame.records_length, 0), &at);
		if (error != ERR_OK)
			return error;
	} else {
		at = from->bytes - from->ahead - FRAME_HEAD;
	}
	uint8_t *records = at + FRAME_HEAD + frame.entries_length;
	if (records != from->bytes)
		memmove(records, from->bytes, head->body_length);
	finish_records(records, head->body_length, head->count);
	uint8_t *out = at + FRAME_HEAD;
	for (unsigned i = 0; i < count; i++) {
		if (entries[i].type == ENTRY_BATCH) {
			*entry = (uint32_t)(out - at);
			entries[i].batch.records_offset = FRAME_HEAD + frame.entries_length;
		}
		out += entry_encode(&entries[i], out);
	}
	enum error error = log_append(b->log, &frame, b->topic->id, b->topic->head + head->count, place);
	return error == ERR_AGAIN ? ERR_STORAGE_FAILED : error; /* the records have been moved: it cannot be tried again */
}

static void remember_key(struct engine *engine, const struct taken *taken, const struct topic *topic, const uint8_t hash[KEY_HASH], uint64_t lsn)
{
	struct key_entry entry = { .topic = topic->id, .first_seq = topic->head + 1, .count = taken->view.head.count, .ts = engine->ts, .lsn = lsn };
	struct key_entry replaced;
	memcpy(entry.hash, hash, KEY_HASH);
	/* Its memory was provided before the request was taken: a key is never forgotten in silence. */
	if (keys_put(engine->keys, &entry, &replaced) == ERR_OK)
		undo_key(engine, &entry, &replaced);
}

static uint64_t sync_need(const struct building *b, uint64_t last_seq, uint64_t end)
{
	struct topic *topic = b->topic;
	if (b->created || (topic->config.durability == DURABILITY_FSYNC))
		return end;
	if (last_seq <= topic->ceiling_safe)
		return 0;
	return topic->ceiling_end; /* the frame that carries the ceiling: this one or an earlier one */
}

/* Numbers the records and queues the frame for publication. */
static void assign(struct engine *engine, const struct taken *taken, struct building *b, const struct log_place *place, uint32_t entry)
{
	const struct request *head = &taken->view.head;
	struct topic *topic = b->topic;
	bool ephemeral = b->log == engine->ephemeral;
	uint64_t end = place->lsn + place->length, first = topic->head + 1;
	struct pending *pending = pending_new(engine);

	undo_touch(engine, topic);
	topic->head += head->count;
	topic->count += head->count;
	topic->bytes += head->payload;
	topic->reservation = b->reservation;
	if (b->created || b->ceiling) {
		topic->ceiling = b->new_ceiling;
		topic->ceiling_end = end;
		engine->sync_wanted = true;
	}
	*pending = (struct pending){ .topic = topic, .ring = taken->ring, .entry = taken->number, .end = end, .file_id = place->file_id,
	                             .last_seq = topic->head, .ts = engine->ts, .kind = ENTRY_BATCH, .ephemeral = ephemeral, .created = b->created,
	                             .stray = !ephemeral && topic->config.durability == DURABILITY_EPHEMERAL };
	pending->need = sync_need(b, topic->head, end);
	pending->extent = (struct extent){ .first_seq = first, .offset = place->offset, .payload = head->payload, .count = head->count,
	                                   .length = place->length, .entry = entry };
	pending->completion = (struct completion){ .request_id = head->id, .type = REQUEST_APPEND, .topic = topic->id, .first_seq = first,
	                                           .head = topic->head, .count = head->count, .flags = b->created ? COMPLETION_CREATED : 0 };
	pending_queue(engine, pending);
	engine->batch_us = engine->now_us;
	engine->mark_due = engine->mark_due || !ephemeral;
	if (!ephemeral && topic->config.durability == DURABILITY_DISK && engine->disk_dirty_us == 0)
		engine->disk_dirty_us = engine->now_us;
}

/* Nothing was appended: what was made for it goes by itself, for its group may stand. */
static bool not_appended(struct engine *engine, const struct taken *taken, struct building *b, enum error error)
{
	if (b->created) {
		topic_table_remove(engine->topics, b->topic);
		undo_forget_topic(engine, b->topic);
		topic_free(&b->topic);
	}
	if (error == ERR_AGAIN || (error == ERR_THROTTLED && (taken->view.head.flags & REQUEST_WAIT)))
		return false;
	answer_now(engine, taken, &(struct completion){ .status = (uint16_t)error }, NULL);
	return true;
}

enum appended append_request(struct engine *engine, struct taken *taken, const struct records *records, const struct lookup *lookup,
                             struct key_question *question)
{
	const struct waited waited = { lookup, question };
	const struct request *head = &taken->view.head;
	struct building b = { .records = records };
	uint8_t hash[KEY_HASH];
	struct log_place place;
	uint32_t entry = 0;
	enum outcome outcome;

	b.topic = topic_table_by_name(engine->topics, (const char *)taken->view.name, head->name_length);
	if (b.topic != NULL) {
		outcome = answer_repeat(engine, taken, b.topic, &waited, hash);
		if (outcome == GO_ON)
			outcome = refuse_by_state(engine, taken, b.topic);
	} else {
		outcome = create_by_append(engine, taken, &b.topic);
		b.created = outcome == GO_ON;
		if (b.created && (head->flags & REQUEST_HAS_KEY))
			keys_hash(hash, b.topic->id, taken->view.key, head->key_length);
	}
	if (outcome != GO_ON)
		return outcome == ANSWERED ? APPEND_DONE : outcome == ASKS ? APPEND_ASKS : APPEND_WAITS;
	if (b.topic->ceiling_end != 0 && b.topic->ceiling_end <= log_synced(engine->disk))
		b.topic->ceiling_safe = b.topic->ceiling;
	plan_ceiling(&b, b.topic->head + head->count, head->count);
	/* What also changes something that outlives the daemon lies whole in the disk log, and nothing overtakes it (ARCHITECTURE §4). */
	b.log = b.created || b.ceiling ? engine->disk : log_of(engine, b.topic);
	/* Its publication may find it a stray, and those that wait before it. */
	bool stray = b.log == engine->disk && b.topic->config.durability == DURABILITY_EPHEMERAL;
	enum error error = stray && !topic_provide_strays(b.topic, b.topic->unpublished_disk + 1) ? ERR_STORAGE_STALLED : seal(engine, taken, &b, &place, &entry);
	if (error != ERR_OK)
		return not_appended(engine, taken, &b, error) ? APPEND_DONE : APPEND_WAITS;
	taken->ring->ephemeral_guess = b.log == engine->ephemeral;
	if (head->flags & REQUEST_HAS_KEY)
		remember_key(engine, taken, b.topic, hash, place.lsn);
	assign(engine, taken, &b, &place, entry);
	engine->ops->failpoint(engine->ops->world, "after-assign");
	return APPEND_DONE;
}
