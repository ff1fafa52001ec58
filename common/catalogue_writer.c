#include "common/catalogue_writer.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum error catalogue_writer_create(struct catalogue_writer **writer, int fd, uint64_t number)
{
	struct catalogue_writer *made = calloc(1, sizeof *made);
	struct catalogue_head *head;
	void *map;

	if (made == NULL)
		return ERR_NOMEM;
	map = mmap(NULL, CATALOGUE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED) {
		free(made);
		return ERR_IO;
	}
	made->map = map;
	head = &made->map->head;
	head->magic = CATALOGUE_MAGIC;
	head->version = CATALOGUE_VERSION;
	head->number = number;
	randombytes_buf(head->hash_key, sizeof head->hash_key);
	catalogue_writer_heap_init(made);
	*writer = made;
	return ERR_OK;
}

uint64_t catalogue_writer_number(const struct catalogue_writer *writer)
{
	return writer->map->head.number;
}

void catalogue_set_partial(struct catalogue_writer *writer, bool partial)
{
	atomic_store_explicit(&writer->map->head.partial, partial, memory_order_release);
}

void catalogue_writer_destroy(struct catalogue_writer **writer)
{
	if (*writer != NULL) {
		munmap((*writer)->map, CATALOGUE_SIZE);
		free((*writer)->lists);
	}
	free(*writer);
	*writer = NULL;
}

/* ---- slots ---- */

static enum error grow_slots(struct catalogue_writer *writer)
{
	uint32_t room = writer->slots_room == 0 ? 64 : writer->slots_room * 2;
	struct topic_lists *lists = realloc(writer->lists, (size_t)room * sizeof *lists);

	if (lists == NULL)
		return ERR_NOMEM;
	memset(lists + writer->slots_room, 0, (size_t)(room - writer->slots_room) * sizeof *lists);
	writer->lists = lists;
	writer->slots_room = room;
	return ERR_OK;
}

bool catalogue_topics_provide(struct catalogue_writer *writer, uint64_t topics)
{
	uint64_t shown = writer->slots_used - writer->free_count, more = topics > shown ? topics - shown : 0;

	while (writer->slots_room < CATALOGUE_TOPICS && writer->slots_room < writer->slots_used + more)
		if (grow_slots(writer) != ERR_OK)
			return false;
	return true;
}

/* Freed slots rest, and go round oldest first: who still holds the number of one has time to notice (it compares ids anyway), and a server
 * that makes and deletes topics all day does not touch ever new memory. */
static enum error take_slot(struct catalogue_writer *writer, uint32_t *slot)
{
	if (writer->free_count > SLOTS_REST || (writer->slots_used == CATALOGUE_TOPICS && writer->free_count > 0)) {
		*slot = writer->free_first - 1;
		writer->free_first = writer->lists[*slot].next_free;
		writer->lists[*slot].next_free = 0;
		writer->free_count--;
		return ERR_OK;
	}
	if (writer->slots_used == CATALOGUE_TOPICS)
		return ERR_LIMIT;
	if (writer->slots_used == writer->slots_room) {
		enum error error = grow_slots(writer);
		if (error != ERR_OK)
			return error;
	}
	*slot = writer->slots_used++;
	return ERR_OK;
}

static void free_slot(struct catalogue_writer *writer, uint32_t slot)
{
	if (writer->free_first == 0)
		writer->free_first = slot + 1;
	else
		writer->lists[writer->free_last - 1].next_free = slot + 1;
	writer->free_last = slot + 1;
	writer->lists[slot].next_free = 0;
	writer->free_count++;
}

/* ---- topics ---- */

static void store_numbers(struct topic_slot *topic, const struct topic_numbers *numbers)
{
	catalogue_set(&topic->id, numbers->id);
	catalogue_set(&topic->head, numbers->head);
	catalogue_set(&topic->durable, numbers->durable);
	catalogue_set(&topic->earliest, numbers->earliest);
	catalogue_set(&topic->floor, numbers->floor);
	catalogue_set(&topic->count, numbers->count);
	catalogue_set(&topic->bytes, numbers->bytes);
	catalogue_set(&topic->last_write_ts, (uint64_t)numbers->last_write_ts);
	catalogue_set(&topic->floor_reason, numbers->floor_reason);
}

static void store_config(struct topic_slot *topic, uint32_t name_length, const struct topic_config *config)
{
	uint64_t words[CONFIG_WORDS] = { 0 };
	size_t length = topic_config_encode(config, (uint8_t *)words);

	catalogue_store(topic->config, words, CONFIG_WORDS);
	catalogue_set(&topic->lengths, name_length | (uint64_t)length << 32);
}

static void store_name(struct topic_slot *topic, const char *name, size_t length)
{
	uint64_t words[NAME_WORDS] = { 0 };

	memcpy(words, name, length);
	catalogue_store(topic->name, words, NAME_WORDS);
}

enum error catalogue_topic_add(struct catalogue_writer *writer, const char *name, size_t length, const struct topic_config *config,
                               const struct topic_numbers *numbers, uint32_t *slot)
{
	uint64_t hash = catalogue_hash(&writer->map->head, name, length);
	struct topic_slot *topic;
	enum error error;

	assert(length >= 1 && length <= TOPIC_NAME_MAX && numbers->id != 0);
	if (catalogue_writer_find(writer, hash, name, length) != CATALOGUE_NO_SLOT)
		return ERR_EXISTS;
	if ((error = take_slot(writer, slot)) != ERR_OK)
		return error;
	topic = &writer->map->topics[*slot];
	catalogue_section_begin(&topic->sequence);
	store_name(topic, name, length);
	catalogue_set(&topic->hash, hash);
	store_config(topic, (uint32_t)length, config);
	store_numbers(topic, numbers);
	catalogue_section_end(&topic->sequence);
	/* Last: who finds the name finds the topic. */
	catalogue_writer_link_name(writer, *slot);
	return ERR_OK;
}

/* Its name stays in the slot until that is used again, for readers that are on their way through hash or order. */
void catalogue_topic_remove(struct catalogue_writer *writer, uint32_t slot)
{
	struct topic_slot *topic = &writer->map->topics[slot];
	struct topic_lists lists;

	assert(slot < writer->slots_used && catalogue_get(&topic->id) != 0);
	catalogue_writer_unlink_name(writer, slot);
	catalogue_section_begin(&topic->sequence);
	catalogue_set(&topic->id, 0);
	lists = catalogue_writer_take_lists(writer, slot);
	catalogue_section_end(&topic->sequence);
	catalogue_writer_free_lists(writer, &lists);
	free_slot(writer, slot);
}

void catalogue_topic_config(struct catalogue_writer *writer, uint32_t slot, const struct topic_config *config)
{
	struct topic_slot *topic = &writer->map->topics[slot];

	catalogue_section_begin(&topic->sequence);
	store_config(topic, (uint32_t)catalogue_get(&topic->lengths), config);
	catalogue_section_end(&topic->sequence);
}

void catalogue_topic_numbers(struct catalogue_writer *writer, uint32_t slot, const struct topic_numbers *numbers)
{
	struct topic_slot *topic = &writer->map->topics[slot];

	catalogue_section_begin(&topic->sequence);
	store_numbers(topic, numbers);
	catalogue_writer_show_lists(writer, slot);
	catalogue_section_end(&topic->sequence);
}

/* ---- files ---- */

static void set_file(struct file_slot *slot, uint64_t id, uint64_t number, uint64_t first_lsn, uint32_t kind)
{
	uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed);

	/* As in catalogue_section_begin and _end. */
	atomic_store_explicit(&slot->generation, generation + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	catalogue_set(&slot->id, id);
	catalogue_set(&slot->number, number);
	catalogue_set(&slot->first_lsn, first_lsn);
	atomic_store_explicit(&slot->kind, kind, memory_order_relaxed);
	atomic_store_explicit(&slot->generation, generation + 2, memory_order_release);
}

/* Goes round, so that an index is used again as late as can be. */
enum error catalogue_file_add(struct catalogue_writer *writer, uint64_t id, uint64_t number, uint64_t first_lsn, uint32_t kind,
                              uint32_t *file)
{
	for (uint32_t n = 0; n < CATALOGUE_FILES; n++) {
		uint32_t at = (writer->file_next + n) % CATALOGUE_FILES;
		if (catalogue_get(&writer->map->files[at].id) == 0) {
			set_file(&writer->map->files[at], id, number, first_lsn, kind);
			writer->file_next = at + 1;
			*file = at;
			return ERR_OK;
		}
	}
	return ERR_LIMIT;
}

void catalogue_file_remove(struct catalogue_writer *writer, uint32_t file)
{
	assert(file < CATALOGUE_FILES);
	set_file(&writer->map->files[file], 0, 0, 0, 0);
}
