#include "common/catalogue.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/catalogue_layout.h"

enum { TRIES_MAX = 30000 }; /* at most about a millisecond of pauses: far longer than a writer that runs needs for a section; behind one that does not it costs the reader little */

struct catalogue {
	const struct catalogue_map *map; /* owned */
};

_Static_assert(crypto_shorthash_KEYBYTES == 16 && crypto_shorthash_BYTES == 8, "a hash is a word");

uint64_t catalogue_hash(const struct catalogue_head *head, const char *name, size_t length)
{
	uint64_t hash;

	crypto_shorthash((unsigned char *)&hash, (const unsigned char *)name, length, head->hash_key);
	return hash;
}

int catalogue_compare(const char *a, size_t a_length, const char *b, size_t b_length)
{
	int order = memcmp(a, b, a_length < b_length ? a_length : b_length);

	return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

enum error catalogue_open(struct catalogue **catalogue, int fd)
{
	struct catalogue *made;
	struct stat status;
	void *map;

	if (fstat(fd, &status) != 0)
		return ERR_IO;
	if (status.st_size < (off_t)CATALOGUE_SIZE)
		return ERR_PROTOCOL;
	made = calloc(1, sizeof *made);
	if (made == NULL)
		return ERR_NOMEM;
	map = mmap(NULL, CATALOGUE_SIZE, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (map == MAP_FAILED) {
		free(made);
		return ERR_IO;
	}
	made->map = map;
	if (made->map->head.magic != CATALOGUE_MAGIC || made->map->head.version != CATALOGUE_VERSION) {
		catalogue_close(&made);
		return ERR_PROTOCOL;
	}
	*catalogue = made;
	return ERR_OK;
}

void catalogue_close(struct catalogue **catalogue)
{
	if (*catalogue != NULL)
		munmap((void *)(uintptr_t)(*catalogue)->map, CATALOGUE_SIZE);
	free(*catalogue);
	*catalogue = NULL;
}

uint64_t catalogue_number(const struct catalogue *catalogue)
{
	return catalogue->map->head.number;
}

uint64_t catalogue_topic_count(const struct catalogue *catalogue)
{
	return catalogue_get(&catalogue->map->head.topic_count);
}

bool catalogue_partial(const struct catalogue *catalogue)
{
	/* Pairs with the release of catalogue_set_partial: what was shown before it is found. */
	return atomic_load_explicit(&catalogue->map->head.partial, memory_order_acquire) != 0;
}

/* ---- the reader's half of a sequence counter ---- */

struct attempt {
	uint64_t seen;
	unsigned tries;
};

static void pause_briefly(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* False when the counter stays odd, or never stands still: its writer is dead or stands still, or the reader is better off to come back later. */
static bool attempt_begin(struct attempt *attempt, const catalogue_word *sequence)
{
	for (; attempt->tries < TRIES_MAX; attempt->tries++) {
		/* Pairs with catalogue_section_end. */
		attempt->seen = atomic_load_explicit(sequence, memory_order_acquire);
		if (attempt->seen % 2 == 0)
			return true;
		pause_briefly();
	}
	return false;
}

static bool attempt_failed(struct attempt *attempt, const catalogue_word *sequence)
{
	/* Pairs with the release fence of catalogue_section_begin. */
	atomic_thread_fence(memory_order_acquire);
	attempt->tries++;
	return catalogue_get(sequence) != attempt->seen;
}

/* The topic of a slot that the caller got from catalogue_find, a listing or the feed. */
static enum error topic_at(const struct catalogue *catalogue, int64_t slot, const struct topic_slot **topic)
{
	if (slot == CATALOGUE_WAIT)
		return ERR_AGAIN;
	if (slot < 0 || slot >= CATALOGUE_TOPICS)
		return ERR_TOPIC_NOT_FOUND;
	*topic = &catalogue->map->topics[slot];
	return ERR_OK;
}

/* ---- names ---- */

static size_t load_name(const struct topic_slot *topic, char *name)
{
	size_t length = (uint32_t)catalogue_get(&topic->lengths);
	uint64_t words[NAME_WORDS];

	/* Between sections the length may be anything: bounds first. */
	if (length > TOPIC_NAME_MAX)
		length = TOPIC_NAME_MAX;
	catalogue_load(words, topic->name, (length + 7) / 8);
	memcpy(name, words, length);
	return length;
}

static enum error has_name(const struct topic_slot *topic, uint64_t hash, const char *name, size_t length, bool *same)
{
	struct attempt attempt = { 0 };

	*same = false;
	do {
		char there[TOPIC_NAME_MAX + 1];
		if (!attempt_begin(&attempt, &topic->sequence))
			return ERR_AGAIN;
		if (catalogue_get(&topic->id) == 0 || catalogue_get(&topic->hash) != hash)
			*same = false;
		else
			*same = load_name(topic, there) == length && memcmp(there, name, length) == 0;
	} while (attempt_failed(&attempt, &topic->sequence));
	return ERR_OK;
}

static enum error probe_names(const struct catalogue *catalogue, uint64_t hash, const char *name, size_t length, int64_t *slot)
{
	const struct catalogue_map *map = catalogue->map;

	*slot = CATALOGUE_NO_SLOT;
	for (uint64_t i = hash, n = 0; n < CATALOGUE_BUCKETS; i++, n++) {
		/* Pairs with the release store of an insertion: the slot is filled. */
		uint32_t bucket = atomic_load_explicit(&map->buckets[i % CATALOGUE_BUCKETS], memory_order_acquire);
		enum error error;
		bool same;
		if (bucket == 0)
			return ERR_OK;
		if (bucket > CATALOGUE_TOPICS || catalogue_get(&map->topics[bucket - 1].hash) != hash)
			continue;
		if ((error = has_name(&map->topics[bucket - 1], hash, name, length, &same)) != ERR_OK)
			return error;
		if (same) {
			*slot = bucket - 1;
			return ERR_OK;
		}
	}
	return ERR_OK;
}

/* What is found is proven by its name. What is not found may have been moved past by a removal, so then the counter decides. */
int64_t catalogue_find(const struct catalogue *catalogue, const char *name, size_t length)
{
	const struct catalogue_head *head = &catalogue->map->head;
	uint64_t hash = catalogue_hash(head, name, length);
	struct attempt attempt = { 0 };
	int64_t slot;

	do {
		if (!attempt_begin(&attempt, &head->names_sequence))
			return CATALOGUE_WAIT;
		if (probe_names(catalogue, hash, name, length, &slot) != ERR_OK)
			return CATALOGUE_WAIT;
	} while (slot == CATALOGUE_NO_SLOT && attempt_failed(&attempt, &head->names_sequence));
	return slot;
}

/* ---- topics ---- */

enum error catalogue_numbers(const struct catalogue *catalogue, int64_t slot, struct topic_numbers *numbers)
{
	const struct topic_slot *topic;
	enum error error = topic_at(catalogue, slot, &topic);
	struct attempt attempt = { 0 };

	if (error != ERR_OK)
		return error;
	do {
		if (!attempt_begin(&attempt, &topic->sequence))
			return ERR_AGAIN;
		numbers->id = catalogue_get(&topic->id);
		numbers->head = catalogue_get(&topic->head);
		numbers->durable = catalogue_get(&topic->durable);
		numbers->earliest = catalogue_get(&topic->earliest);
		numbers->floor = catalogue_get(&topic->floor);
		numbers->count = catalogue_get(&topic->count);
		numbers->bytes = catalogue_get(&topic->bytes);
		numbers->last_write_ts = (int64_t)catalogue_get(&topic->last_write_ts);
		numbers->floor_reason = (uint32_t)catalogue_get(&topic->floor_reason);
		numbers->losses = (uint32_t)catalogue_get(&topic->lists[LIST_LOSSES].count);
		numbers->extents = catalogue_get(&topic->lists[LIST_EXTENTS].count);
		numbers->segments = catalogue_get(&topic->lists[LIST_SEGMENTS].count);
	} while (attempt_failed(&attempt, &topic->sequence));
	return numbers->id == 0 ? ERR_TOPIC_NOT_FOUND : ERR_OK;
}

enum error catalogue_config(const struct catalogue *catalogue, int64_t slot, uint64_t id, struct topic_config *config)
{
	const struct topic_slot *topic;
	enum error error = topic_at(catalogue, slot, &topic);
	struct attempt attempt = { 0 };
	uint64_t words[CONFIG_WORDS];
	size_t length;
	uint64_t there;

	if (error != ERR_OK)
		return error;
	do {
		if (!attempt_begin(&attempt, &topic->sequence))
			return ERR_AGAIN;
		there = catalogue_get(&topic->id);
		length = catalogue_get(&topic->lengths) >> 32;
		catalogue_load(words, topic->config, CONFIG_WORDS);
	} while (attempt_failed(&attempt, &topic->sequence));
	if (there != id || id == 0)
		return ERR_TOPIC_NOT_FOUND;
	return length <= TOPIC_CONFIG_MAX ? topic_config_decode(config, (const uint8_t *)words, length) : ERR_CORRUPT;
}

enum error catalogue_name(const struct catalogue *catalogue, int64_t slot, uint64_t id, char *name, size_t *length)
{
	const struct topic_slot *topic;
	enum error error = topic_at(catalogue, slot, &topic);
	struct attempt attempt = { 0 };
	uint64_t there;

	if (error != ERR_OK)
		return error;
	do {
		if (!attempt_begin(&attempt, &topic->sequence))
			return ERR_AGAIN;
		there = catalogue_get(&topic->id);
		*length = load_name(topic, name);
	} while (attempt_failed(&attempt, &topic->sequence));
	name[*length] = '\0';
	return there != id || id == 0 ? ERR_TOPIC_NOT_FOUND : ERR_OK;
}

/* ---- lists ---- */

struct list_view {
	const catalogue_word *elements; /* the first that is left */
	uint64_t count;
	uint64_t version;
};

static enum error view_list(const struct catalogue *catalogue, const struct topic_slot *topic, uint64_t id, enum list_kind kind, struct list_view *view)
{
	const struct list_place *place = &topic->lists[kind];
	struct attempt attempt = { 0 };
	uint64_t there, block, first;

	do {
		if (!attempt_begin(&attempt, &topic->sequence))
			return ERR_AGAIN;
		there = catalogue_get(&topic->id);
		view->version = catalogue_get(&topic->list_version);
		block = catalogue_get(&place->block);
		first = catalogue_get(&place->first);
		view->count = catalogue_get(&place->count);
	} while (attempt_failed(&attempt, &topic->sequence));
	view->elements = catalogue->map->heap + block + first * list_words(kind);
	return there != id || id == 0 ? ERR_TOPIC_NOT_FOUND : ERR_OK;
}

/* What was copied is of the list only if nothing in it has been reused meanwhile. */
static bool view_changed(const struct topic_slot *topic, const struct list_view *view)
{
	/* Pairs with the release fences of catalogue_section_begin and of a block's reuse. */
	atomic_thread_fence(memory_order_acquire);
	return catalogue_get(&topic->list_version) != view->version;
}

/* The last seq of an extent (first seq, .., count in the low half of word 3), or of a segment or a loss, whose second word it is. */
static uint64_t last_seq(const catalogue_word *element, enum list_kind kind)
{
	if (kind != LIST_EXTENTS)
		return catalogue_get(&element[1]);
	return catalogue_get(&element[0]) + (uint32_t)catalogue_get(&element[offsetof(struct extent, count) / 8]) - 1;
}

static uint64_t first_ending_at(const struct list_view *view, enum list_kind kind, uint64_t seq)
{
	uint64_t low = 0, high = view->count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		if (last_seq(view->elements + middle * list_words(kind), kind) < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Copies up to `room` elements, from the first that ends at or after `seq` on. */
static enum error copy_list(const struct catalogue *catalogue, int64_t slot, uint64_t id, enum list_kind kind, uint64_t seq, void *elements, unsigned room,
                            unsigned *count)
{
	const struct topic_slot *topic;
	enum error error = topic_at(catalogue, slot, &topic);
	size_t words = list_words(kind);

	if (error != ERR_OK)
		return error;
	for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
		struct list_view view;
		uint64_t first;
		if ((error = view_list(catalogue, topic, id, kind, &view)) != ERR_OK)
			return error;
		first = first_ending_at(&view, kind, seq);
		*count = view.count - first < room ? (unsigned)(view.count - first) : room;
		catalogue_load(elements, view.elements + first * words, *count * words);
		if (!view_changed(topic, &view))
			return ERR_OK;
	}
	return ERR_AGAIN;
}

enum error catalogue_extents(const struct catalogue *catalogue, int64_t slot, uint64_t id, uint64_t seq, struct extent *extents,
                             unsigned room, unsigned *count)
{
	return copy_list(catalogue, slot, id, LIST_EXTENTS, seq, extents, room, count);
}

enum error catalogue_segments(const struct catalogue *catalogue, int64_t slot, uint64_t id, uint64_t seq, struct segment *segments, unsigned room,
                              unsigned *count)
{
	return copy_list(catalogue, slot, id, LIST_SEGMENTS, seq, segments, room, count);
}

enum error catalogue_loss(const struct catalogue *catalogue, int64_t slot, uint64_t id, uint64_t seq, struct loss *loss)
{
	unsigned count = 0;
	enum error error = copy_list(catalogue, slot, id, LIST_LOSSES, seq, loss, 1, &count);

	if (error == ERR_AGAIN)
		return ERR_BUSY;
	return error == ERR_OK && count == 0 ? ERR_AGAIN : error;
}

/* ---- files ---- */

enum error catalogue_file(const struct catalogue *catalogue, uint32_t file, struct catalogue_file *out)
{
	const struct file_slot *slot;

	if (file >= CATALOGUE_FILES)
		return ERR_RANGE;
	slot = &catalogue->map->files[file];
	for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
		/* Pair with the writer's release store and fence, as in a section. */
		uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_acquire);
		out->id = catalogue_get(&slot->id);
		out->number = catalogue_get(&slot->number);
		out->first_lsn = catalogue_get(&slot->first_lsn);
		out->kind = atomic_load_explicit(&slot->kind, memory_order_relaxed);
		out->generation = generation;
		atomic_thread_fence(memory_order_acquire);
		if (generation % 2 == 0 && atomic_load_explicit(&slot->generation, memory_order_relaxed) == generation)
			return out->id == 0 ? ERR_NOT_FOUND : ERR_OK;
		pause_briefly();
	}
	return ERR_AGAIN;
}

/* ---- listing ---- */

/* A place in the order of names: an entry of `order` and one in its block. What is loaded while the order changes may be anything, so every index is bounded. */
struct order_place { uint64_t block; uint32_t in; };

static const struct order_block *order_block(const struct catalogue_map *map, uint64_t i)
{
	uint32_t number = atomic_load_explicit(&map->order[i], memory_order_relaxed);

	return &map->blocks[number < ORDER_BLOCKS ? number : 0];
}

static uint32_t order_count(const struct order_block *block)
{
	uint32_t count = atomic_load_explicit(&block->count, memory_order_relaxed);

	return count <= ORDER_BLOCK ? count : 0;
}

/* Whether the slot's name stands before what is wanted: < `from`, or <= `from`. */
static bool order_before(const struct catalogue_map *map, const _Atomic uint32_t *slots, uint32_t i, const char *from, size_t from_length, bool after)
{
	uint32_t slot = atomic_load_explicit(&slots[i], memory_order_relaxed);
	char name[TOPIC_NAME_MAX + 1];
	size_t length = slot < CATALOGUE_TOPICS ? load_name(&map->topics[slot], name) : 0;
	int order = catalogue_compare(name, length, from, from_length);

	return order < 0 || (after && order == 0);
}

/* The first name that is wanted; block == `blocks`: there is none. */
static struct order_place search_order(const struct catalogue_map *map, uint64_t blocks, const char *from, size_t from_length, bool after)
{
	uint64_t low = 0, high = blocks;
	struct order_place place;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		const struct order_block *block = order_block(map, middle);
		uint32_t count = order_count(block);
		if (count > 0 && order_before(map, block->slots, count - 1, from, from_length, after))
			low = middle + 1;
		else
			high = middle;
	}
	place = (struct order_place){ .block = low };
	if (low == blocks)
		return place;
	const struct order_block *block = order_block(map, low);
	for (uint32_t end = order_count(block); place.in < end;) {
		uint32_t middle = place.in + (end - place.in) / 2;
		if (order_before(map, block->slots, middle, from, from_length, after))
			place.in = middle + 1;
		else
			end = middle;
	}
	return place;
}

enum error catalogue_list(const struct catalogue *catalogue, const char *from, size_t from_length, bool after, uint32_t *slots,
                          unsigned room, unsigned *count)
{
	const struct catalogue_map *map = catalogue->map;
	struct attempt attempt = { 0 };

	do {
		if (!attempt_begin(&attempt, &map->head.order_sequence))
			return ERR_AGAIN;
		uint64_t blocks = catalogue_get(&map->head.order_blocks);
		blocks = blocks < ORDER_BLOCKS ? blocks : ORDER_BLOCKS;
		struct order_place at = search_order(map, blocks, from, from_length, after);
		*count = 0;
		for (; at.block < blocks && *count < room; at = (struct order_place){ .block = at.block + 1 }) {
			const struct order_block *block = order_block(map, at.block);
			for (uint32_t end = order_count(block); at.in < end && *count < room; at.in++) {
				uint32_t slot = atomic_load_explicit(&block->slots[at.in], memory_order_relaxed);
				if (slot < CATALOGUE_TOPICS && catalogue_get(&map->topics[slot].id) != 0) /* one that is not shown yet has its place already */
					slots[(*count)++] = slot;
			}
		}
	} while (attempt_failed(&attempt, &map->head.order_sequence));
	return ERR_OK;
}
