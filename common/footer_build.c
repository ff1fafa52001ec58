/* Building a footer: what the frames hold comes in the order of the log, is sorted here, and becomes one piece of bytes. */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/footer.h"

static const char trailer_magic[8] = "TOPICSFT";

/* Tagged records name their tag by its number; each tag stands once. */
struct tagged {
	uint64_t topic;
	uint64_t seq;
	uint32_t tag;
	uint32_t bytes;
};

struct tag {
	uint32_t offset; /* in the arena; after sorting in the section's bytes too */
	uint32_t length;
};

/* A growing array; `used` elements of `size` bytes. */
struct array {
	uint8_t *at; /* owned */
	size_t used, room, size;
};

struct footer_builder {
	struct array extents;  /* struct footer_extent */
	struct array keys;     /* struct footer_key */
	struct array tagged;   /* struct tagged */
	struct array tags;     /* struct tag, without repetition */
	struct array arena;    /* their bytes */
	struct array controls; /* the section's bytes, but for the CRCs */
	struct array topics;   /* struct footer_topic, made when building */
	struct array directory;/* struct footer_tag_topic */
	uint32_t *buckets;     /* owned; hash of tags: number + 1, linear probing */
	size_t bucket_count;   /* a power of two, or 0 */
	uint8_t hash_key[crypto_shorthash_KEYBYTES];
};

struct footer_tag_topic {
	uint64_t topic;
	uint32_t first, count;
};

static enum error array_reserve(struct array *array, size_t more)
{
	size_t room = array->room == 0 ? 64 : array->room;
	uint8_t *bigger;

	if (more <= array->room - array->used)
		return ERR_OK;
	if (array->used + more > UINT32_MAX)
		return ERR_LIMIT;
	while (room < array->used + more)
		room *= 2;
	bigger = realloc(array->at, room * array->size);
	if (bigger == NULL)
		return ERR_NOMEM;
	array->at = bigger;
	array->room = room;
	return ERR_OK;
}

static enum error array_add(struct array *array, const void *element)
{
	enum error error = array_reserve(array, 1);

	if (error == ERR_OK)
		memcpy(array->at + array->used++ * array->size, element, array->size);
	return error;
}

enum error footer_builder_create(struct footer_builder **builder)
{
	struct footer_builder *made = calloc(1, sizeof *made);

	if (made == NULL)
		return ERR_NOMEM;
	made->extents.size = sizeof(struct footer_extent);
	made->keys.size = sizeof(struct footer_key);
	made->tagged.size = sizeof(struct tagged);
	made->tags.size = sizeof(struct tag);
	made->topics.size = sizeof(struct footer_topic);
	made->directory.size = sizeof(struct footer_tag_topic);
	made->arena.size = made->controls.size = 1;
	randombytes_buf(made->hash_key, sizeof made->hash_key);
	*builder = made;
	return ERR_OK;
}

void footer_builder_destroy(struct footer_builder **builder)
{
	struct footer_builder *b = *builder;

	if (b != NULL) {
		struct array *const arrays[] = { &b->extents, &b->keys, &b->tagged, &b->tags, &b->arena, &b->controls, &b->topics, &b->directory };
		for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
			free(arrays[i]->at);
		free(b->buckets);
	}
	free(b);
	*builder = NULL;
}

/* ---- what the frames hold ---- */

enum error footer_add_extent(struct footer_builder *builder, const struct footer_extent *extent)
{
	return array_add(&builder->extents, extent);
}

enum error footer_add_key(struct footer_builder *builder, const struct footer_key *key)
{
	return array_add(&builder->keys, key);
}

enum error footer_add_control(struct footer_builder *builder, uint64_t lsn, int64_t ts, uint32_t offset, const uint8_t *entry, uint32_t length)
{
	struct array *controls = &builder->controls;
	enum error error = length > FOOTER_CONTROL_MAX ? ERR_LIMIT : array_reserve(controls, FOOTER_CONTROL_HEAD + (size_t)length);
	uint8_t *at;

	assert(length >= ENTRY_HEAD && get_u32(entry + 4) == length);
	if (error != ERR_OK)
		return error;
	at = controls->at + controls->used;
	put_u64(at, lsn);
	put_i64(at + 8, ts);
	put_u32(at + 16, offset);
	put_u32(at + 20, 0);
	memcpy(at + FOOTER_CONTROL_HEAD, entry, length);
	controls->used += FOOTER_CONTROL_HEAD + (size_t)length;
	return ERR_OK;
}

/* The bucket of this tag, or the free one where it belongs. Tags are chosen by clients, so the hash has a key. */
static uint32_t *find_bucket(const struct footer_builder *builder, const void *tag, uint32_t length)
{
	uint64_t hash;

	crypto_shorthash((unsigned char *)&hash, tag, length, builder->hash_key);
	for (size_t i = hash & (builder->bucket_count - 1);; i = (i + 1) & (builder->bucket_count - 1)) {
		const struct tag *there;
		if (builder->buckets[i] == 0)
			return &builder->buckets[i];
		there = (const struct tag *)(const void *)builder->tags.at + (builder->buckets[i] - 1);
		if (there->length == length && memcmp(builder->arena.at + there->offset, tag, length) == 0)
			return &builder->buckets[i];
	}
}

static enum error grow_buckets(struct footer_builder *builder)
{
	size_t count = builder->bucket_count == 0 ? 256 : builder->bucket_count * 2;
	uint32_t *old = builder->buckets, *buckets;
	const struct tag *tags = (const void *)builder->tags.at;

	if (builder->tags.used * 2 < builder->bucket_count)
		return ERR_OK;
	buckets = calloc(count, sizeof *buckets);
	if (buckets == NULL)
		return ERR_NOMEM;
	builder->buckets = buckets;
	builder->bucket_count = count;
	for (size_t i = 0; i < builder->tags.used; i++)
		*find_bucket(builder, builder->arena.at + tags[i].offset, tags[i].length) = (uint32_t)i + 1;
	free(old);
	return ERR_OK;
}

static enum error intern(struct footer_builder *builder, const void *tag, uint32_t length, uint32_t *number)
{
	const struct tag made = { (uint32_t)builder->arena.used, length };
	enum error error = grow_buckets(builder);
	uint32_t *bucket;

	if (error == ERR_OK)
		error = array_reserve(&builder->arena, (size_t)length + 1); /* so that an empty tag has an address too */
	if (error != ERR_OK)
		return error;
	bucket = find_bucket(builder, tag, length);
	if (*bucket == 0) {
		if ((error = array_add(&builder->tags, &made)) != ERR_OK)
			return error;
		memcpy(builder->arena.at + made.offset, tag, length);
		builder->arena.used += length;
		*bucket = (uint32_t)builder->tags.used;
	}
	*number = *bucket - 1;
	return ERR_OK;
}

enum error footer_add_tag(struct footer_builder *builder, uint64_t topic, uint64_t seq, uint32_t bytes, const void *tag, uint32_t tag_length)
{
	struct tagged tagged = { .topic = topic, .seq = seq, .bytes = bytes };
	enum error error = tag_length > FOOTER_TAG_MAX ? ERR_LIMIT : intern(builder, tag_length > 0 ? tag : "", tag_length, &tagged.tag);

	return error == ERR_OK ? array_add(&builder->tagged, &tagged) : error;
}

/* ---- order ---- */

static int order_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int order_extents(const void *a, const void *b)
{
	const struct footer_extent *x = a, *y = b;
	int order = order_u64(x->topic, y->topic);

	return order != 0 ? order : order_u64(x->first_seq, y->first_seq);
}

static int order_keys(const void *a, const void *b)
{
	const struct footer_key *x = a, *y = b;
	int order = memcmp(x->hash, y->hash, FOOTER_HASH);

	if (order == 0)
		order = order_u64(x->topic, y->topic);
	return order != 0 ? order : order_u64(x->lsn, y->lsn);
}

static int order_tagged(const void *a, const void *b)
{
	const struct tagged *x = a, *y = b;
	int order = order_u64(x->topic, y->topic);

	if (order == 0)
		order = order_u64(x->tag, y->tag);
	return order != 0 ? order : order_u64(x->seq, y->seq);
}

/* For sorting tags: where the bytes are stands in each element, since qsort takes no context. */
struct sortable_tag {
	const uint8_t *bytes;
	uint32_t length;
	uint32_t number;
};

static int order_tags(const void *a, const void *b)
{
	const struct sortable_tag *x = a, *y = b;
	int order = memcmp(x->bytes, y->bytes, x->length < y->length ? x->length : y->length);

	return order != 0 ? order : order_u64(x->length, y->length);
}

static void sort(struct array *array, int (*order)(const void *, const void *))
{
	if (array->used > 0)
		qsort(array->at, array->used, array->size, order);
}

/* From here on tag numbers are in the order of the tags' bytes, and arena and tags too. */
static enum error sort_tags(struct footer_builder *builder)
{
	size_t count = builder->tags.used;
	struct tag *tags = (void *)builder->tags.at;
	struct tagged *tagged = (void *)builder->tagged.at;
	struct sortable_tag *sorted = count > 0 ? malloc(count * sizeof *sorted) : NULL;
	uint32_t *numbers = count > 0 ? malloc(count * sizeof *numbers) : NULL;
	uint8_t *bytes = malloc(builder->arena.used + 1);
	uint32_t used = 0;
	enum error error = bytes == NULL || (count > 0 && (sorted == NULL || numbers == NULL)) ? ERR_NOMEM : ERR_OK;

	if (error == ERR_OK && count > 0) {
		for (size_t i = 0; i < count; i++)
			sorted[i] = (struct sortable_tag){ builder->arena.at + tags[i].offset, tags[i].length, (uint32_t)i };
		qsort(sorted, count, sizeof *sorted, order_tags);
		for (size_t i = 0; i < count; i++) {
			memcpy(bytes + used, sorted[i].bytes, sorted[i].length);
			tags[i] = (struct tag){ used, sorted[i].length };
			used += sorted[i].length;
			numbers[sorted[i].number] = (uint32_t)i;
		}
		for (size_t i = 0; i < builder->tagged.used; i++)
			tagged[i].tag = numbers[tagged[i].tag];
		sort(&builder->tagged, order_tagged);
	}
	if (error == ERR_OK) {
		uint8_t *old = builder->arena.at;
		builder->arena.at = bytes;
		bytes = old;
	}
	free(bytes);
	free(sorted);
	free(numbers);
	return error;
}

static bool extent_fits(const struct footer_extent *e, const struct footer_file *file)
{
	return e->topic != 0 && e->first_seq >= 1 && e->count >= 1 && e->first_seq <= UINT64_MAX - e->count && e->lsn >= file->first_lsn &&
	       e->lsn < file->end_lsn && e->length <= file->end_lsn - e->lsn;
}

/* What of each topic lies in the file; the extents are sorted. */
static enum error make_topics(struct footer_builder *builder, const struct footer_file *file)
{
	const struct footer_extent *extents = (const void *)builder->extents.at;
	struct footer_topic *topic = NULL;

	for (size_t i = 0; i < builder->extents.used; i++) {
		const struct footer_extent *e = &extents[i];
		if (!extent_fits(e, file))
			return ERR_CORRUPT;
		if (topic == NULL || topic->topic != e->topic) {
			const struct footer_topic made = { .topic = e->topic, .first_seq = e->first_seq, .last_ts = e->ts, .extent = (uint32_t)i };
			enum error error = array_add(&builder->topics, &made);
			if (error != ERR_OK)
				return error;
			topic = (struct footer_topic *)(void *)builder->topics.at + (builder->topics.used - 1);
		} else if (e->first_seq <= topic->last_seq) {
			return ERR_CORRUPT;
		}
		topic->last_seq = e->first_seq + e->count - 1;
		topic->live += e->live;
		topic->payload += e->payload;
		topic->extents++;
		if (topic->last_lsn < e->lsn)
			topic->last_lsn = e->lsn;
		if (topic->last_ts < e->ts)
			topic->last_ts = e->ts;
	}
	return ERR_OK;
}

static enum error make_directory(struct footer_builder *builder)
{
	const struct tagged *tagged = (const void *)builder->tagged.at;

	for (size_t i = 0; i < builder->tagged.used; i++) {
		struct footer_tag_topic made = { .topic = tagged[i].topic, .first = (uint32_t)i, .count = 1 };
		struct footer_tag_topic *last = (struct footer_tag_topic *)(void *)builder->directory.at;
		enum error error = ERR_OK;
		if (builder->directory.used > 0 && last[builder->directory.used - 1].topic == made.topic)
			last[builder->directory.used - 1].count++;
		else
			error = array_add(&builder->directory, &made);
		if (error != ERR_OK)
			return error;
	}
	return ERR_OK;
}

/* ---- bytes ---- */

struct writing {
	const struct footer_file *file;
	uint8_t *at;
};

/* An element's last four bytes. */
static void close_element(struct writing *w, uint32_t length)
{
	put_u32(w->at + length - 4, footer_element_crc(w->file->id, w->at, length - 4));
	w->at += length;
}

static void write_extents(struct writing *w, const struct footer_builder *builder)
{
	const struct footer_extent *e = (const void *)builder->extents.at;

	for (size_t i = 0; i < builder->extents.used; i++, e++) {
		put_u64(w->at, e->topic);
		put_u64(w->at + 8, e->first_seq);
		put_u64(w->at + 16, e->lsn);
		put_i64(w->at + 24, e->ts);
		put_u64(w->at + 32, e->payload);
		put_u32(w->at + 40, e->count);
		put_u32(w->at + 44, e->live);
		put_u32(w->at + 48, e->length);
		put_u32(w->at + 52, e->entry);
		w->at[56] = e->durability;
		w->at[57] = e->flags;
		put_u16(w->at + 58, 0);
		close_element(w, FOOTER_EXTENT);
	}
}

static void write_tags(struct writing *w, const struct footer_builder *builder)
{
	const struct footer_tag_topic *topic = (const void *)builder->directory.at;
	const struct tagged *tagged = (const void *)builder->tagged.at;
	const struct tag *tags = (const void *)builder->tags.at;

	put_u32(w->at, (uint32_t)builder->directory.used);
	put_u32(w->at + 4, (uint32_t)builder->tagged.used);
	put_u32(w->at + 8, (uint32_t)builder->arena.used);
	memset(w->at + 12, 0, 8);
	close_element(w, FOOTER_TAGS_HEAD);
	for (size_t i = 0; i < builder->directory.used; i++, topic++) {
		put_u64(w->at, topic->topic);
		put_u32(w->at + 8, topic->first);
		put_u32(w->at + 12, topic->count);
		put_u32(w->at + 16, 0);
		close_element(w, FOOTER_TAGS_TOPIC);
	}
	for (size_t i = 0; i < builder->tagged.used; i++, tagged++) {
		put_u64(w->at, tagged->seq);
		put_u32(w->at + 8, tagged->bytes);
		put_u32(w->at + 12, tags[tagged->tag].length);
		put_u32(w->at + 16, tags[tagged->tag].offset);
		close_element(w, FOOTER_TAG);
	}
	memcpy(w->at, builder->arena.at, builder->arena.used);
	w->at += builder->arena.used;
}

static void write_keys(struct writing *w, const struct footer_builder *builder)
{
	const struct footer_key *key = (const void *)builder->keys.at;

	for (size_t i = 0; i < builder->keys.used; i++, key++) {
		memcpy(w->at, key->hash, FOOTER_HASH);
		put_u64(w->at + 16, key->topic);
		put_u64(w->at + 24, key->lsn);
		put_u64(w->at + 32, key->first_seq);
		put_i64(w->at + 40, key->ts);
		put_u32(w->at + 48, key->count);
		close_element(w, FOOTER_KEY);
	}
}

static void write_controls(struct writing *w, const struct footer_builder *builder)
{
	const uint8_t *from = builder->controls.at, *end = from + builder->controls.used;

	while (from < end) {
		uint32_t length = FOOTER_CONTROL_HEAD + get_u32(from + FOOTER_CONTROL_HEAD + 4);
		memcpy(w->at, from, length);
		put_u32(w->at + 20, crc32c(footer_element_crc(w->file->id, w->at, 20), w->at + FOOTER_CONTROL_HEAD, length - FOOTER_CONTROL_HEAD));
		w->at += length;
		from += length;
	}
}

static void write_topics(struct writing *w, const struct footer_builder *builder)
{
	const struct footer_topic *topic = (const void *)builder->topics.at;

	for (size_t i = 0; i < builder->topics.used; i++, topic++) {
		put_u64(w->at, topic->topic);
		put_u64(w->at + 8, topic->first_seq);
		put_u64(w->at + 16, topic->last_seq);
		put_u64(w->at + 24, topic->live);
		put_u64(w->at + 32, topic->payload);
		put_u64(w->at + 40, topic->last_lsn);
		put_i64(w->at + 48, topic->last_ts);
		put_u32(w->at + 56, topic->extent);
		put_u32(w->at + 60, topic->extents);
		put_u32(w->at + 64, 0);
		close_element(w, FOOTER_TOPIC);
	}
}

static void write_trailer(uint8_t *at, const struct footer_file *file, uint64_t length, uint32_t heads_crc)
{
	memcpy(at, trailer_magic, sizeof trailer_magic);
	put_u64(at + 8, footer_offset(file));
	put_u64(at + 16, length);
	put_u64(at + 24, file->id);
	put_u64(at + 32, file->frontier);
	put_u64(at + 40, file->end_lsn);
	put_u32(at + 48, heads_crc);
	put_u32(at + 52, FOOTER_TYPE_END - 1);
	put_u32(at + 56, 0);
	put_u32(at + 60, crc32c(0, at, 60));
}

static void write_sections(const struct footer_builder *builder, const struct footer_file *file, const uint64_t *lengths, uint64_t total, uint8_t *out)
{
	static void (*const writers[FOOTER_TYPE_END])(struct writing *, const struct footer_builder *) = {
		[FOOTER_EXTENTS] = write_extents, [FOOTER_TAGS] = write_tags, [FOOTER_KEYS] = write_keys,
		[FOOTER_CONTROLS] = write_controls, [FOOTER_TOPICS] = write_topics,
	};
	struct writing w = { .file = file, .at = out };
	uint32_t heads_crc = 0;

	for (unsigned type = FOOTER_EXTENTS; type < FOOTER_TYPE_END; type++) {
		uint8_t *head = w.at;
		w.at += FOOTER_SECTION_HEAD;
		writers[type](&w, builder);
		assert((uint64_t)(w.at - head) == FOOTER_SECTION_HEAD + lengths[type]);
		put_u32(head, type);
		put_u32(head + 4, crc32c(0, head + FOOTER_SECTION_HEAD, lengths[type]));
		put_u64(head + 8, lengths[type]);
		heads_crc = crc32c(heads_crc, head, FOOTER_SECTION_HEAD);
		memset(w.at, 0, align8(lengths[type]) - lengths[type]);
		w.at = head + FOOTER_SECTION_HEAD + align8(lengths[type]);
	}
	write_trailer(w.at, file, total, heads_crc);
}

static enum error put_in_order(struct footer_builder *builder, const struct footer_file *file)
{
	enum error error;

	sort(&builder->extents, order_extents);
	sort(&builder->keys, order_keys);
	error = sort_tags(builder);
	if (error == ERR_OK)
		error = make_topics(builder, file);
	return error == ERR_OK ? make_directory(builder) : error;
}

enum error footer_build(struct footer_builder *builder, const struct footer_file *file, uint8_t **bytes, size_t *length, uint32_t *crc)
{
	enum error error = put_in_order(builder, file);
	uint64_t lengths[FOOTER_TYPE_END] = {
		[FOOTER_EXTENTS] = (uint64_t)builder->extents.used * FOOTER_EXTENT,
		[FOOTER_TAGS] = FOOTER_TAGS_HEAD + (uint64_t)builder->directory.used * FOOTER_TAGS_TOPIC + (uint64_t)builder->tagged.used * FOOTER_TAG +
		                builder->arena.used,
		[FOOTER_KEYS] = (uint64_t)builder->keys.used * FOOTER_KEY,
		[FOOTER_CONTROLS] = builder->controls.used,
		[FOOTER_TOPICS] = (uint64_t)builder->topics.used * FOOTER_TOPIC,
	};
	uint64_t total = FOOTER_TRAILER;

	if (error != ERR_OK)
		return error;
	for (unsigned type = FOOTER_EXTENTS; type < FOOTER_TYPE_END; type++)
		total += FOOTER_SECTION_HEAD + align8(lengths[type]);
	if (total > FOOTER_LENGTH_MAX)
		return ERR_LIMIT;
	*bytes = malloc(total);
	if (*bytes == NULL)
		return ERR_NOMEM;
	write_sections(builder, file, lengths, total, *bytes);
	*length = total;
	*crc = get_u32(*bytes + total - 4);
	return ERR_OK;
}
