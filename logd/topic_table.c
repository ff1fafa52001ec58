#include "logd/topic_table.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

enum { BUCKETS_FIRST = 1024 };

struct topic_table {
	struct topic **by_name;
	struct topic **by_id;
	uint64_t buckets; /* a power of two, for both */
	uint64_t ids;     /* topics linked by id */
	uint64_t names;   /* topics whose name is theirs */
	struct topic *first, *last;
	struct topic *walk; /* met next */
	uint8_t key[crypto_shorthash_KEYBYTES];
};

static uint64_t hash_name(const struct topic_table *table, const char *name, size_t length)
{
	uint8_t hash[crypto_shorthash_BYTES];
	crypto_shorthash(hash, (const uint8_t *)name, length, table->key);
	return get_u64(hash);
}

enum error topic_table_create(struct topic_table **out, const uint8_t key[16])
{
	struct topic_table *table = calloc(1, sizeof *table);
	if (table == NULL)
		return ERR_NOMEM;
	table->buckets = BUCKETS_FIRST;
	memcpy(table->key, key, sizeof table->key);
	table->by_name = calloc(table->buckets, sizeof(struct topic *));
	table->by_id = calloc(table->buckets, sizeof(struct topic *));
	*out = table;
	if (table->by_name == NULL || table->by_id == NULL) {
		topic_table_destroy(out);
		return ERR_NOMEM;
	}
	return ERR_OK;
}

void topic_table_destroy(struct topic_table **out)
{
	struct topic_table *table = *out;
	if (table == NULL)
		return;
	for (uint64_t i = 0; table->by_id != NULL && i < table->buckets; i++) {
		for (struct topic *topic = table->by_id[i], *next; topic != NULL; topic = next) {
			next = topic->next_by_id;
			topic_free(&topic);
		}
	}
	free(table->by_name);
	free(table->by_id);
	free(table);
	*out = NULL;
}

struct topic *topic_make(uint64_t id, const char *name, size_t length, const struct topic_config *config)
{
	struct topic *topic = calloc(1, sizeof *topic);
	if (topic == NULL)
		return NULL;
	topic->id = id;
	topic->name_length = (uint32_t)length;
	memcpy(topic->name, name, length);
	topic->config = *config;
	topic->numbers = (struct topic_numbers){ .id = id, .earliest = 1 };
	return topic;
}

void topic_free(struct topic **topic)
{
	if (*topic != NULL) {
		free((*topic)->losses);
		free((*topic)->strays);
	}
	free(*topic);
	*topic = NULL;
}

enum error topic_add_loss(struct topic *topic, const struct loss *loss)
{
	struct loss *more = realloc(topic->losses, (topic->loss_count + 1) * sizeof *more);
	if (more == NULL)
		return ERR_NOMEM;
	topic->losses = more;
	uint32_t at = topic->loss_count++;
	while (at > 0 && more[at - 1].from > loss->from) {
		more[at] = more[at - 1];
		at--;
	}
	more[at] = *loss;
	return ERR_OK;
}

bool topic_seq_lost(const struct topic *topic, uint64_t seq)
{
	for (uint32_t i = 0; i < topic->loss_count; i++)
		if (topic->losses[i].from <= seq && seq <= topic->losses[i].to)
			return true;
	return false;
}

uint64_t topic_skip_losses(const struct topic *topic, uint64_t seq)
{
	for (uint32_t i = 0; i < topic->loss_count; i++)
		if (topic->losses[i].from <= seq && seq <= topic->losses[i].to)
			seq = topic->losses[i].to + 1;
	return seq;
}

uint64_t topic_lost_count(const struct topic *topic, uint64_t from, uint64_t to)
{
	uint64_t count = 0;
	for (uint32_t i = 0; i < topic->loss_count; i++) {
		uint64_t first = topic->losses[i].from > from ? topic->losses[i].from : from, last = topic->losses[i].to < to ? topic->losses[i].to : to;
		count += first <= last ? last - first + 1 : 0;
	}
	return count;
}

/* ---- strays ---- */

bool topic_provide_strays(struct topic *topic, uint32_t more)
{
	uint32_t room = topic->stray_count + more;
	if (room <= topic->stray_room)
		return true;
	struct stray *strays = realloc(topic->strays, 2 * (size_t)room * sizeof *strays);
	if (strays == NULL)
		return false;
	topic->strays = strays;
	topic->stray_room = 2 * room;
	return true;
}

void topic_add_stray(struct topic *topic, const struct stray *stray)
{
	struct stray *last = topic->stray_count > 0 ? &topic->strays[topic->stray_count - 1] : NULL;
	if (last != NULL && last->last + 1 == stray->first) {
		last->last = stray->last;
		last->payload += stray->payload;
		return;
	}
	assert(topic->stray_count < topic->stray_room);
	topic->strays[topic->stray_count++] = *stray;
}

static bool within(const struct stray *stray, uint64_t from, uint64_t to)
{
	return stray->first >= from && stray->last <= to;
}

uint64_t topic_stray_count(const struct topic *topic, uint64_t from, uint64_t to)
{
	uint64_t count = 0;
	for (uint32_t i = 0; i < topic->stray_count; i++)
		if (within(&topic->strays[i], from, to))
			count += topic->strays[i].last - topic->strays[i].first + 1;
	return count;
}

uint64_t topic_stray_before(const struct topic *topic, uint64_t seq)
{
	for (uint32_t i = 0; i < topic->stray_count; i++)
		if (topic->strays[i].last + 1 == seq)
			return topic->strays[i].first;
	return seq;
}

uint64_t topic_drop_strays(struct topic *topic, uint64_t from, uint64_t to, uint64_t *count)
{
	uint64_t payload = 0;
	uint32_t left = 0;
	*count = topic_stray_count(topic, from, to);
	for (uint32_t i = 0; i < topic->stray_count; i++) {
		if (within(&topic->strays[i], from, to))
			payload += topic->strays[i].payload;
		else
			topic->strays[left++] = topic->strays[i];
	}
	topic->stray_count = left;
	return payload;
}

static void link_name(struct topic_table *table, struct topic *topic)
{
	struct topic **bucket = &table->by_name[hash_name(table, topic->name, topic->name_length) & (table->buckets - 1)];
	topic->next_by_name = *bucket;
	*bucket = topic;
}

static void link_id(struct topic_table *table, struct topic *topic)
{
	struct topic **bucket = &table->by_id[topic->id & (table->buckets - 1)];
	topic->next_by_id = *bucket;
	*bucket = topic;
}

/* Twice the buckets; when memory is out the chains just get longer. */
static void grow(struct topic_table *table)
{
	uint64_t buckets = table->buckets * 2;
	struct topic **by_name = calloc(buckets, sizeof(struct topic *));
	struct topic **by_id = calloc(buckets, sizeof(struct topic *));
	struct topic **old_names = table->by_name, **old_ids = table->by_id;
	if (by_name == NULL || by_id == NULL) {
		free(by_name);
		free(by_id);
		return;
	}
	uint64_t old = table->buckets;
	table->by_name = by_name;
	table->by_id = by_id;
	table->buckets = buckets;
	for (uint64_t i = 0; i < old; i++) {
		for (struct topic *topic = old_names[i], *next; topic != NULL; topic = next) {
			next = topic->next_by_name;
			link_name(table, topic);
		}
		for (struct topic *topic = old_ids[i], *next; topic != NULL; topic = next) {
			next = topic->next_by_id;
			link_id(table, topic);
		}
	}
	free(old_names);
	free(old_ids);
}

enum error topic_table_add(struct topic_table *table, struct topic *topic)
{
	if (table->ids >= table->buckets)
		grow(table);
	link_id(table, topic);
	topic->all_previous = table->last;
	if (table->last != NULL)
		table->last->all_next = topic;
	else
		table->first = topic;
	table->last = topic;
	table->ids++;
	topic_table_take_name(table, topic);
	return ERR_OK;
}

void topic_table_take_name(struct topic_table *table, struct topic *topic)
{
	link_name(table, topic);
	table->names++;
}

void topic_table_drop_name(struct topic_table *table, struct topic *topic)
{
	struct topic **at = &table->by_name[hash_name(table, topic->name, topic->name_length) & (table->buckets - 1)];
	while (*at != NULL && *at != topic)
		at = &(*at)->next_by_name;
	if (*at == NULL)
		return;
	*at = topic->next_by_name;
	table->names--;
}

void topic_table_remove(struct topic_table *table, struct topic *topic)
{
	struct topic **at = &table->by_id[topic->id & (table->buckets - 1)];
	topic_table_drop_name(table, topic);
	while (*at != NULL && *at != topic)
		at = &(*at)->next_by_id;
	if (*at == NULL)
		return;
	*at = topic->next_by_id;
	if (table->walk == topic)
		table->walk = topic->all_next;
	*(topic->all_previous != NULL ? &topic->all_previous->all_next : &table->first) = topic->all_next;
	*(topic->all_next != NULL ? &topic->all_next->all_previous : &table->last) = topic->all_previous;
	topic->all_previous = topic->all_next = NULL;
	table->ids--;
}

void topic_table_walk_begin(struct topic_table *table)
{
	table->walk = table->first;
}

struct topic *topic_table_walk_next(struct topic_table *table)
{
	struct topic *topic = table->walk;
	if (topic != NULL)
		table->walk = topic->all_next;
	return topic;
}

struct topic *topic_table_by_name(const struct topic_table *table, const char *name, size_t length)
{
	struct topic *topic = table->by_name[hash_name(table, name, length) & (table->buckets - 1)];
	while (topic != NULL && (topic->name_length != length || memcmp(topic->name, name, length) != 0))
		topic = topic->next_by_name;
	return topic;
}

struct topic *topic_table_by_id(const struct topic_table *table, uint64_t id)
{
	struct topic *topic = table->by_id[id & (table->buckets - 1)];
	while (topic != NULL && topic->id != id)
		topic = topic->next_by_id;
	return topic;
}

uint64_t topic_table_count(const struct topic_table *table)
{
	return table->names;
}

uint64_t topic_table_longest_window(const struct topic_table *table)
{
	uint64_t longest = 0;
	for (uint64_t i = 0; i < table->buckets; i++)
		for (const struct topic *topic = table->by_id[i]; topic != NULL; topic = topic->next_by_id)
			if (topic->config.idempotency_window_ms > longest)
				longest = topic->config.idempotency_window_ms;
	return longest;
}

uint64_t topic_table_linked(const struct topic_table *table)
{
	return table->ids;
}

enum error topic_table_each(const struct topic_table *table, enum error (*each)(void *context, struct topic *topic), void *context)
{
	for (uint64_t i = 0; i < table->buckets; i++) {
		for (struct topic *topic = table->by_id[i]; topic != NULL; topic = topic->next_by_id) {
			enum error error = each(context, topic);
			if (error != ERR_OK)
				return error;
		}
	}
	return ERR_OK;
}
