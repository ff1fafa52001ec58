/* Creating, changing and deleting topics. All of it is synced before it is answered, whatever the class (API.md §2). */
#include <string.h>

#include "logd/engine_internal.h"

/* Under `discard: reject` a batch that the empty topic could not take will never fit. */
bool config_refuses(const struct topic_config *config, uint32_t count, uint64_t payload)
{
	if (config->discard != DISCARD_REJECT)
		return false;
	return (config->cap_records != 0 && count > config->cap_records) || (config->cap_bytes != 0 && payload > config->cap_bytes);
}

/* A topic of this name whose deletion is not published yet: its absence may not be told before it is. */
struct topic *find_deleting(const struct engine *engine, const char *name, size_t length)
{
	for (struct pending *pending = engine->unpublished_first; pending != NULL; pending = pending->next) {
		struct topic *topic = pending->topic;
		if (pending->kind == ENTRY_TOPIC_DELETE && topic->name_length == length && memcmp(topic->name, name, length) == 0)
			return topic;
	}
	return NULL;
}

static void refuse(struct engine *engine, const struct taken *taken, struct topic *topic, enum error error)
{
	struct completion completion = { .status = (uint16_t)error };
	if (topic != NULL) {
		completion.topic = topic->id;
		completion.head = topic->head;
	}
	/* Room in the disk log was made sure of before the request was taken. */
	if (topic == NULL || topic->unpublished == 0 || !answer_later(engine, taken, topic, &completion, engine->disk))
		answer_now(engine, taken, &completion, NULL);
}

/* Queues the frame of a create, configure or delete; its answer carries the configuration that is in force then. */
static void queue(struct engine *engine, const struct taken *taken, struct topic *topic, enum entry_type kind, const struct log_place *place,
                  const struct completion *completion)
{
	struct pending *pending = pending_new(engine);
	*pending = (struct pending){ .topic = topic, .ring = taken->ring, .entry = taken->number, .end = place->lsn + place->length,
	                             .need = place->lsn + place->length, .kind = (uint8_t)kind, .ts = engine->ts, .completion = *completion };
	pending->completion.request_id = taken->view.head.id;
	pending->completion.type = taken->view.head.type;
	pending->completion.topic = topic->id;
	pending->completion.head = topic->head;
	if (kind != ENTRY_TOPIC_DELETE)
		pending->config = provided_config(engine, &topic->config);
	pending_queue(engine, pending);
	engine->sync_wanted = true;
}

static enum error write_create(struct engine *engine, const struct taken *taken, struct topic *topic, struct log_place *place)
{
	uint8_t config[TOPIC_CONFIG_MAX];
	struct entry entry = { .type = ENTRY_TOPIC_CREATE, .topic = topic->id };
	entry.create.ceiling = CEILING_FIRST;
	entry.create.name = (const uint8_t *)topic->name;
	entry.create.name_length = topic->name_length;
	entry.create.config = config;
	entry.create.config_length = (uint32_t)topic_config_encode(&topic->config, config);
	return append_entries(engine, engine->disk, false, &entry, 1, taken->ring->incarnation, taken->view.head.id, place);
}

static void create(struct engine *engine, struct taken *taken)
{
	const struct request *head = &taken->view.head;
	struct log_place place;
	uint64_t most = engine->settings->max_topics, there = topic_table_count(engine->topics);
	if ((most != 0 && there >= most) || there >= CATALOGUE_TOPICS - 1024) {
		answer_now(engine, taken, &(struct completion){ .status = ERR_THROTTLED, .body_length = 10 }, "max_topics");
		return;
	}
	struct topic *topic = topic_make(topic_new_id(engine), (const char *)taken->view.name, head->name_length, &taken->config);
	enum error error = topic == NULL ? ERR_NOMEM : write_create(engine, taken, topic, &place);
	if (error != ERR_OK) {
		topic_free(&topic);
		answer_now(engine, taken, &(struct completion){ .status = (uint16_t)error }, NULL);
		return;
	}
	topic->ceiling = CEILING_FIRST;
	topic->ceiling_end = place.lsn + place.length;
	topic->reservation = CEILING_FIRST;
	topic_table_add(engine->topics, topic);
	undo_note(engine, UNDO_CREATED, topic);
	queue(engine, taken, topic, ENTRY_TOPIC_CREATE, &place, &(struct completion){ .flags = COMPLETION_CREATED });
}

/* A change that changes nothing is answered from what stands, once that is published. */
static void configure(struct engine *engine, struct taken *taken, struct topic *topic, const struct topic_config *config)
{
	uint8_t bytes[TOPIC_CONFIG_MAX];
	struct entry entry = { .type = ENTRY_TOPIC_CONFIGURE, .topic = topic->id };
	struct log_place place;
	if (topic_config_equal(&topic->config, config) && topic->unpublished == 0) {
		struct completion same = { .topic = topic->id, .head = topic->head, .body_length = (uint32_t)topic_config_encode(config, bytes) };
		answer_now(engine, taken, &same, bytes);
		return;
	}
	entry.create.config = bytes;
	entry.create.config_length = (uint32_t)topic_config_encode(config, bytes);
	enum error error = append_entries(engine, engine->disk, false, &entry, 1, taken->ring->incarnation, taken->view.head.id, &place);
	if (error != ERR_OK) {
		answer_now(engine, taken, &(struct completion){ .status = (uint16_t)error }, NULL);
		return;
	}
	undo_note(engine, UNDO_CONFIG, topic);
	topic->was_ephemeral = topic->was_ephemeral || topic->config.durability == DURABILITY_EPHEMERAL;
	topic->config = *config;
	queue(engine, taken, topic, ENTRY_TOPIC_CONFIGURE, &place, &(struct completion){ 0 });
}

static struct topic *named(struct engine *engine, const struct taken *taken)
{
	return topic_table_by_name(engine->topics, (const char *)taken->view.name, taken->view.head.name_length);
}

void topic_put_request(struct engine *engine, struct taken *taken)
{
	struct topic *topic = named(engine, taken);
	if (topic == NULL) {
		create(engine, taken);
		return;
	}
	if (!(taken->view.head.flags & REQUEST_TYPE_GIVEN))
		taken->config.type = topic->config.type;
	if (taken->config.type != topic->config.type)
		refuse(engine, taken, topic, ERR_TOPIC_EXISTS_INCOMPATIBLE);
	else
		configure(engine, taken, topic, &taken->config);
}

void topic_patch_request(struct engine *engine, struct taken *taken)
{
	struct topic *topic = named(engine, taken);
	uint32_t mask = taken->view.head.mask;
	if (topic == NULL) {
		refuse(engine, taken, find_deleting(engine, (const char *)taken->view.name, taken->view.head.name_length), ERR_TOPIC_NOT_FOUND);
		return;
	}
	if ((mask & CONFIG_TYPE) && taken->config.type != topic->config.type) {
		refuse(engine, taken, topic, ERR_TOPIC_EXISTS_INCOMPATIBLE);
		return;
	}
	struct topic_config merged = topic->config;
	topic_config_merge(&merged, &taken->config, mask);
	configure(engine, taken, topic, &merged);
}

void topic_delete_request(struct engine *engine, struct taken *taken)
{
	struct topic *topic = named(engine, taken);
	struct entry entry = { .type = ENTRY_TOPIC_DELETE };
	struct log_place place;
	if (topic == NULL) {
		refuse(engine, taken, find_deleting(engine, (const char *)taken->view.name, taken->view.head.name_length), ERR_OK);
		return;
	}
	if ((taken->view.head.flags & REQUEST_IF_EMPTY) && topic->count > 0) {
		refuse(engine, taken, topic, ERR_TOPIC_NOT_EMPTY);
		return;
	}
	entry.topic = topic->id;
	entry.create.name = (const uint8_t *)topic->name;
	entry.create.name_length = topic->name_length;
	enum error error = append_entries(engine, engine->disk, true, &entry, 1, taken->ring->incarnation, taken->view.head.id, &place);
	if (error != ERR_OK) {
		answer_now(engine, taken, &(struct completion){ .status = (uint16_t)error }, NULL);
		return;
	}
	undo_note(engine, UNDO_DELETED, topic);
	queue(engine, taken, topic, ENTRY_TOPIC_DELETE, &place, &(struct completion){ .first_seq = 1 });
	topic->state = TOPIC_DELETING;
	topic_table_drop_name(engine->topics, topic);
}
