/* The footer of a sealed file (docs/format.md §8): building, checking, searching, against plain arrays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/crc32c.h"
#include "common/footer.h"

enum { TOPICS = 7, EXTENTS = 300, TAG_KINDS = 9, CONTROLS = 40, KEYS = 60 };

static const struct footer_file file = { .id = 0x0123456789abcdefu, .first_lsn = 4096, .end_lsn = 4096 + (uint64_t)(EXTENTS + CONTROLS) * 128, .frontier = 1 << 20 };

/* What was put in, in the order of the log. */
struct tagged {
	uint64_t topic, seq;
	uint32_t bytes;
	const char *tag;
};

struct model {
	struct footer_extent extents[EXTENTS];
	struct footer_key keys[KEYS];
	struct tagged tagged[EXTENTS * 3];
	unsigned tagged_count;
	uint8_t controls[CONTROLS][64];
	uint64_t control_lsn[CONTROLS];
};

static const char *const tag_kinds[TAG_KINDS] = { "", "a", "ab", "abc", "abd", "b", "b\xff", "b\xff\xff", "zzz" };

static uint64_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static void make_extents(struct model *m, struct footer_builder *builder, uint64_t *random)
{
	uint64_t seqs[TOPICS + 1] = { 0 };
	for (unsigned i = 0; i < EXTENTS; i++) {
		uint64_t topic = 1 + next(random) % TOPICS;
		uint32_t count = 1 + (uint32_t)next(random) % 5, gap = (uint32_t)(next(random) % 4 == 0);
		struct footer_extent *e = &m->extents[i];
		*e = (struct footer_extent){ .topic = topic * 1000003, .first_seq = seqs[topic] + 1 + gap, .lsn = file.first_lsn + (uint64_t)i * 128, .ts = 1000 + i,
		                             .payload = count * 10u, .count = count, .live = count, .length = 128, .entry = FRAME_HEAD, .durability = 2 };
		if (i % 5 == 0) {
			e->flags = ENTRY_BITMAP;
			e->live = count - 1;
		}
		seqs[topic] = e->first_seq + count - 1;
		assert_int_equal(footer_add_extent(builder, e), ERR_OK);
		for (uint32_t n = 0; n < count && n < 3; n++) {
			struct tagged *t = &m->tagged[m->tagged_count];
			if (next(random) % 3 == 0)
				continue;
			*t = (struct tagged){ e->topic, e->first_seq + n, 5 + n, tag_kinds[next(random) % TAG_KINDS] };
			m->tagged_count++;
			assert_int_equal(footer_add_tag(builder, t->topic, t->seq, t->bytes, t->tag, (uint32_t)strlen(t->tag)), ERR_OK);
		}
	}
}

static void make_rest(struct model *m, struct footer_builder *builder, uint64_t *random)
{
	for (unsigned i = 0; i < KEYS; i++) {
		struct footer_key *k = &m->keys[i];
		*k = (struct footer_key){ .topic = 1 + next(random) % TOPICS, .lsn = file.first_lsn + i * 128, .first_seq = i + 1, .ts = i, .count = 2 };
		k->hash[0] = (uint8_t)(next(random) % 8); /* so that some are alike */
		k->hash[15] = (uint8_t)(next(random) % 3);
		assert_int_equal(footer_add_key(builder, k), ERR_OK);
	}
	for (unsigned i = 0; i < CONTROLS; i++) {
		struct entry entry = { .type = ENTRY_CEILING, .topic = i + 1, .ceiling = { .ceiling = 4096 } };
		uint32_t length = entry_encode(&entry, m->controls[i]);
		m->control_lsn[i] = file.first_lsn + (uint64_t)(EXTENTS + i) * 128;
		assert_int_equal(footer_add_control(builder, m->control_lsn[i], 7, FRAME_HEAD, m->controls[i], length), ERR_OK);
	}
}

static struct model model;

/* A footer with everything in it; free(bytes). */
static uint8_t *make(size_t *length, uint32_t *crc)
{
	struct footer_builder *builder = NULL;
	uint8_t *bytes = NULL;
	uint64_t random = 42;
	memset(&model, 0, sizeof model);
	assert_int_equal(footer_builder_create(&builder), ERR_OK);
	make_extents(&model, builder, &random);
	make_rest(&model, builder, &random);
	assert_int_equal(footer_build(builder, &file, &bytes, length, crc), ERR_OK);
	footer_builder_destroy(&builder);
	assert_null(builder);
	return bytes;
}

static enum error open_bytes(struct footer *footer, struct footer_memory *memory, struct footer_source *source, const uint8_t *bytes, size_t length)
{
	*memory = (struct footer_memory){ .bytes = bytes, .offset = footer_offset(&file), .length = length };
	*source = footer_memory_source(memory);
	return footer_open(footer, source, file.id, file.first_lsn, footer_offset(&file) + length);
}

struct opened {
	uint8_t *bytes;
	size_t length;
	uint32_t crc;
	struct footer_memory memory;
	struct footer_source source;
	struct footer footer;
};

static int open_made(void **state)
{
	static struct opened o;
	o.bytes = make(&o.length, &o.crc);
	assert_int_equal(open_bytes(&o.footer, &o.memory, &o.source, o.bytes, o.length), ERR_OK);
	*state = &o;
	return 0;
}

static int close_made(void **state)
{
	struct opened *o = *state;
	free(o->bytes);
	return 0;
}

static void footer_says_what_was_sealed(void **state)
{
	const struct opened *o = *state;
	assert_int_equal(o->footer.file.end_lsn, file.end_lsn);
	assert_int_equal(o->footer.file.frontier, file.frontier);
	assert_int_equal(o->footer.crc, o->crc);
	assert_int_equal(o->footer.length, o->length);
	assert_int_equal(o->footer.offset % 8, 0);
	assert_int_equal(footer_check(&o->footer, &o->source), ERR_OK);
}

/* All fields; not what the compiler puts behind them. */
static void assert_same(const struct footer_extent *a, const struct footer_extent *b)
{
	assert_memory_equal(a, b, offsetof(struct footer_extent, flags) + 1);
}

static void every_extent_comes_back_sorted_by_topic_and_seq(void **state)
{
	const struct opened *o = *state;
	struct footer_extent before = { 0 }, e;
	assert_int_equal(footer_count(&o->footer, FOOTER_EXTENTS), EXTENTS);
	for (unsigned i = 0; i < EXTENTS; i++, before = e) {
		unsigned at;
		assert_int_equal(footer_extent_at(&o->footer, &o->source, i, &e), ERR_OK);
		assert_true(e.topic > before.topic || (e.topic == before.topic && e.first_seq > before.first_seq));
		at = (unsigned)((e.lsn - file.first_lsn) / 128);
		assert_same(&e, &model.extents[at]);
	}
}

static void topics_sum_up_their_extents(void **state)
{
	const struct opened *o = *state;
	assert_int_equal(footer_count(&o->footer, FOOTER_TOPICS), TOPICS);
	for (unsigned i = 0; i < TOPICS; i++) {
		struct footer_topic t, found;
		uint64_t live = 0, payload = 0, first = UINT64_MAX, last = 0, lsn = 0, extents = 0;
		assert_int_equal(footer_topic_at(&o->footer, &o->source, i, &t), ERR_OK);
		for (unsigned n = 0; n < EXTENTS; n++) {
			const struct footer_extent *e = &model.extents[n];
			if (e->topic != t.topic)
				continue;
			extents++;
			live += e->live;
			payload += e->payload;
			first = e->first_seq < first ? e->first_seq : first;
			last = e->first_seq + e->count - 1;
			lsn = e->lsn;
		}
		assert_true(t.live == live && t.payload == payload && t.first_seq == first && t.last_seq == last && t.last_lsn == lsn && t.extents == extents);
		assert_int_equal(footer_find_topic(&o->footer, &o->source, t.topic, &found), ERR_OK);
		assert_memory_equal(&found, &t, sizeof t);
		assert_int_equal(footer_find_topic(&o->footer, &o->source, t.topic + 1, &found), ERR_NOT_FOUND);
	}
}

/* The plain search: the extent of the topic that ends at or after seq and begins first. */
static const struct footer_extent *model_extent(uint64_t topic, uint64_t seq)
{
	for (unsigned n = 0; n < EXTENTS; n++)
		if (model.extents[n].topic == topic && model.extents[n].first_seq + model.extents[n].count - 1 >= seq)
			return &model.extents[n];
	return NULL;
}

static void every_seq_is_found_where_a_plain_search_finds_it(void **state)
{
	const struct opened *o = *state;
	for (uint64_t topic = 1; topic <= TOPICS + 1; topic++)
		for (uint64_t seq = 1; seq < 400; seq++) {
			const struct footer_extent *wanted = model_extent(topic * 1000003, seq);
			struct footer_extent e;
			uint64_t index;
			enum error error = footer_find_extent(&o->footer, &o->source, topic * 1000003, seq, &index);
			assert_int_equal(error, wanted == NULL ? ERR_NOT_FOUND : ERR_OK);
			if (wanted == NULL)
				continue;
			assert_int_equal(footer_extent_at(&o->footer, &o->source, index, &e), ERR_OK);
			assert_same(&e, wanted);
		}
}

static void every_key_is_found_and_its_likes_follow(void **state)
{
	const struct opened *o = *state;
	uint8_t absent[FOOTER_HASH] = { 0, 1 };
	uint64_t index;
	for (unsigned i = 0; i < KEYS; i++) {
		bool there = false;
		struct footer_key k;
		assert_int_equal(footer_find_key(&o->footer, &o->source, model.keys[i].hash, &index), ERR_OK);
		if (index > 0) {
			assert_int_equal(footer_key_at(&o->footer, &o->source, index - 1, &k), ERR_OK);
			assert_true(memcmp(k.hash, model.keys[i].hash, FOOTER_HASH) < 0);
		}
		for (; index < footer_count(&o->footer, FOOTER_KEYS); index++) {
			assert_int_equal(footer_key_at(&o->footer, &o->source, index, &k), ERR_OK);
			if (memcmp(k.hash, model.keys[i].hash, FOOTER_HASH) != 0)
				break;
			there = there || memcmp(&k, &model.keys[i], sizeof k) == 0;
		}
		assert_true(there);
	}
	assert_int_equal(footer_find_key(&o->footer, &o->source, absent, &index), ERR_NOT_FOUND);
}

static void control_entries_come_back_in_order(void **state)
{
	const struct opened *o = *state;
	struct footer_control c;
	uint64_t at = 0;
	for (unsigned i = 0; i < CONTROLS; i++) {
		assert_int_equal(footer_control_next(&o->footer, &o->source, &at, &c), ERR_OK);
		assert_int_equal(c.lsn, model.control_lsn[i]);
		assert_int_equal(c.ts, 7);
		assert_int_equal(c.entry.type, ENTRY_CEILING);
		assert_memory_equal(c.bytes, model.controls[i], c.entry.length);
	}
	assert_int_equal(footer_control_next(&o->footer, &o->source, &at, &c), ERR_EOF);
}

/* Everything that a search finds is what a plain search finds: the numbers of both, and each element fits. */
static void compare_tags(const struct opened *o, const struct footer_tags *tags, uint64_t topic, const char *wanted, uint32_t length, bool prefix)
{
	struct footer_tag_range range;
	uint64_t plain = 0, bytes = 0, found = 0;
	for (unsigned i = 0; i < model.tagged_count; i++) {
		const struct tagged *t = &model.tagged[i];
		size_t has = strlen(t->tag);
		if (t->topic == topic && (prefix ? has >= length : has == length) && memcmp(t->tag, wanted, length) == 0) {
			plain++;
			bytes += t->bytes;
		}
	}
	assert_int_equal(footer_tags_topic(&o->footer, tags, &o->source, topic, &range), ERR_OK);
	assert_int_equal(footer_tags_find(&o->footer, tags, &o->source, wanted, length, prefix, &range), ERR_OK);
	for (uint32_t i = 0; i < range.count; i++) {
		struct footer_tag tag;
		assert_int_equal(footer_tag_at(&o->footer, tags, &o->source, range.first + i, &tag), ERR_OK);
		found += tag.bytes;
	}
	assert_int_equal(range.count, plain);
	assert_int_equal(found, bytes);
}

static void tags_are_found_exactly_and_by_prefix(void **state)
{
	const struct opened *o = *state;
	static const char *const others[] = { "aa", "abcd", "c", "zzzz", "b\xfe" };
	struct footer_tags tags;
	assert_int_equal(footer_tags_open(&o->footer, &o->source, &tags), ERR_OK);
	assert_int_equal(tags.count, model.tagged_count);
	for (uint64_t topic = 1; topic <= TOPICS + 1; topic++)
		for (unsigned prefix = 0; prefix < 2; prefix++) {
			for (unsigned i = 0; i < TAG_KINDS; i++)
				compare_tags(o, &tags, topic * 1000003, tag_kinds[i], (uint32_t)strlen(tag_kinds[i]), prefix == 1);
			for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
				compare_tags(o, &tags, topic * 1000003, others[i], (uint32_t)strlen(others[i]), prefix == 1);
		}
}

static void footer_of_a_file_without_records_is_one(void **state)
{
	struct footer_builder *builder = NULL;
	uint8_t *bytes = NULL;
	size_t length;
	uint32_t crc;
	struct footer footer;
	struct footer_memory memory;
	struct footer_source source;
	struct footer_tag_range range = { 1, 1 };
	struct footer_tags tags;
	uint64_t at = 0;
	struct footer_control control;
	(void)state;
	assert_int_equal(footer_builder_create(&builder), ERR_OK);
	assert_int_equal(footer_build(builder, &file, &bytes, &length, &crc), ERR_OK);
	assert_int_equal(open_bytes(&footer, &memory, &source, bytes, length), ERR_OK);
	assert_int_equal(footer_check(&footer, &source), ERR_OK);
	assert_int_equal(footer_find_extent(&footer, &source, 1, 1, &at), ERR_NOT_FOUND);
	assert_int_equal(footer_control_next(&footer, &source, &at, &control), ERR_EOF);
	assert_int_equal(footer_tags_open(&footer, &source, &tags), ERR_OK);
	assert_int_equal(footer_tags_topic(&footer, &tags, &source, 5, &range), ERR_OK);
	assert_int_equal(range.count, 0);
	free(bytes);
	footer_builder_destroy(&builder);
}

static void a_flipped_bit_anywhere_is_found(void **state)
{
	struct opened *o = *state;
	for (size_t i = 0; i < o->length; i++) {
		/* Trailer, and heads of sections, bit by bit; the rest one bit a byte. */
		bool trailer = i >= o->length - FOOTER_TRAILER, head = false;
		for (unsigned type = FOOTER_EXTENTS; type < FOOTER_TYPE_END; type++) {
			uint64_t at = o->footer.sections[type].offset - o->footer.offset;
			head = head || (i < at && i >= at - FOOTER_SECTION_HEAD);
		}
		if (!trailer && !head && i % 7 != 0)
			continue;
		for (unsigned bit = trailer || head ? 0 : i % 8; bit < 8; bit = trailer || head ? bit + 1 : 8) {
			struct footer footer;
			enum error error;
			o->bytes[i] ^= (uint8_t)(1u << bit);
			error = footer_open(&footer, &o->source, file.id, file.first_lsn, footer_offset(&file) + o->length);
			if (trailer || head)
				assert_int_equal(error, ERR_CORRUPT);
			if (error == ERR_OK)
				error = footer_check(&footer, &o->source);
			assert_int_equal(error, ERR_CORRUPT);
			o->bytes[i] ^= (uint8_t)(1u << bit);
		}
	}
}

static void a_footer_that_is_cut_off_or_grown_is_none(void **state)
{
	const struct opened *o = *state;
	struct footer footer;
	for (uint64_t size = 0; size < footer_offset(&file) + o->length; size += size % 24 == 0 ? 8 : 1)
		assert_int_equal(footer_open(&footer, &o->source, file.id, file.first_lsn, size), ERR_CORRUPT);
	struct footer_memory memory;
	struct footer_source source;
	uint8_t *more = calloc(1, o->length + 64);
	assert_non_null(more);
	memcpy(more, o->bytes, o->length);
	assert_int_equal(open_bytes(&footer, &memory, &source, more, o->length + 64), ERR_CORRUPT);
	memcpy(more + o->length, o->bytes + o->length - 64, 64);
	assert_int_equal(open_bytes(&footer, &memory, &source, more, o->length + 64), ERR_CORRUPT);
	free(more);
}

static void a_footer_of_another_file_or_place_is_none(void **state)
{
	const struct opened *o = *state;
	struct footer footer;
	uint64_t size = footer_offset(&file) + o->length;
	assert_int_equal(footer_open(&footer, &o->source, file.id + 1, file.first_lsn, size), ERR_CORRUPT);
	assert_int_equal(footer_open(&footer, &o->source, file.id, file.first_lsn + 8, size), ERR_CORRUPT);
	assert_int_equal(footer_open(&footer, &o->source, file.id, file.first_lsn - 8, size), ERR_CORRUPT);
}

/* Makes section CRC, heads' CRC and trailer right again, so that what is wrong is what the elements say. */
static void forge(struct opened *o)
{
	uint32_t heads = 0;
	uint8_t *trailer = o->bytes + o->length - FOOTER_TRAILER;
	for (unsigned type = FOOTER_EXTENTS; type < FOOTER_TYPE_END; type++) {
		uint8_t *head = o->bytes + (o->footer.sections[type].offset - o->footer.offset) - FOOTER_SECTION_HEAD;
		put_u32(head + 4, crc32c(0, head + FOOTER_SECTION_HEAD, get_u64(head + 8)));
		heads = crc32c(heads, head, FOOTER_SECTION_HEAD);
	}
	put_u32(trailer + 48, heads);
	put_u32(trailer + 60, crc32c(0, trailer, 60));
}

static uint8_t *element(struct opened *o, enum footer_section_type type, uint32_t size, uint32_t index)
{
	return o->bytes + (o->footer.sections[type].offset - o->footer.offset) + (size_t)size * index;
}

static void reseal(uint8_t *at, uint32_t size)
{
	put_u32(at + size - 4, footer_element_crc(file.id, at, size - 4));
}

static enum error verdict(struct opened *o)
{
	struct footer footer;
	enum error error;
	forge(o);
	error = footer_open(&footer, &o->source, file.id, file.first_lsn, footer_offset(&file) + o->length);
	return error == ERR_OK ? footer_check(&footer, &o->source) : error;
}

static void elements_in_a_wrong_order_do_not_pass_with_right_checksums(void **state)
{
	struct opened *o = *state;
	static const struct { enum footer_section_type type; uint32_t size; } kinds[] = {
		{ FOOTER_EXTENTS, FOOTER_EXTENT }, { FOOTER_KEYS, FOOTER_KEY }, { FOOTER_TOPICS, FOOTER_TOPIC } };
	for (unsigned k = 0; k < 3; k++) {
		uint8_t kept[FOOTER_TOPIC], *a = element(o, kinds[k].type, kinds[k].size, 1), *b = element(o, kinds[k].type, kinds[k].size, 2);
		memcpy(kept, a, kinds[k].size);
		memcpy(a, b, kinds[k].size);
		memcpy(b, kept, kinds[k].size);
		assert_int_equal(verdict(o), ERR_CORRUPT);
		memcpy(b, a, kinds[k].size);
		memcpy(a, kept, kinds[k].size);
	}
	/* Two tagged records of one tag. */
	struct footer_tags tags;
	assert_int_equal(footer_tags_open(&o->footer, &o->source, &tags), ERR_OK);
	uint8_t kept[FOOTER_TAG], *a = o->bytes + (tags.elements - o->footer.offset), *b = a + FOOTER_TAG;
	memcpy(kept, a, FOOTER_TAG);
	memcpy(a, b, FOOTER_TAG);
	memcpy(b, kept, FOOTER_TAG);
	assert_int_equal(verdict(o), ERR_CORRUPT);
	memcpy(b, a, FOOTER_TAG);
	memcpy(a, kept, FOOTER_TAG);
	assert_int_equal(verdict(o), ERR_OK);
}

/* Each line makes one field wrong. */
static void fields_out_of_bounds_do_not_pass_with_right_checksums(void **state)
{
	static const struct { enum footer_section_type type; uint32_t size, at, width; uint64_t value; } wrong[] = {
		{ FOOTER_EXTENTS, FOOTER_EXTENT, 0, 8, 0 },             { FOOTER_EXTENTS, FOOTER_EXTENT, 8, 8, 0 },
		{ FOOTER_EXTENTS, FOOTER_EXTENT, 8, 8, UINT64_MAX },    { FOOTER_EXTENTS, FOOTER_EXTENT, 16, 8, 4096 - 8 },
		{ FOOTER_EXTENTS, FOOTER_EXTENT, 16, 8, 4096 + 4 },     { FOOTER_EXTENTS, FOOTER_EXTENT, 16, 8, UINT64_MAX - 7 },
		{ FOOTER_EXTENTS, FOOTER_EXTENT, 40, 4, 0 },            { FOOTER_EXTENTS, FOOTER_EXTENT, 44, 4, 100 },
		{ FOOTER_EXTENTS, FOOTER_EXTENT, 48, 4, 104 },          { FOOTER_EXTENTS, FOOTER_EXTENT, 48, 4, 1u << 30 },
		{ FOOTER_EXTENTS, FOOTER_EXTENT, 52, 4, 88 },           { FOOTER_EXTENTS, FOOTER_EXTENT, 52, 4, 128 },
		{ FOOTER_EXTENTS, FOOTER_EXTENT, 56, 1, 4 },            { FOOTER_EXTENTS, FOOTER_EXTENT, 57, 1, 4 },
		{ FOOTER_KEYS, FOOTER_KEY, 16, 8, 0 },                  { FOOTER_KEYS, FOOTER_KEY, 24, 8, 0 },
		{ FOOTER_KEYS, FOOTER_KEY, 32, 8, UINT64_MAX },         { FOOTER_KEYS, FOOTER_KEY, 48, 4, 0 },
		{ FOOTER_TOPICS, FOOTER_TOPIC, 16, 8, 0 },              { FOOTER_TOPICS, FOOTER_TOPIC, 24, 8, UINT64_MAX },
		{ FOOTER_TOPICS, FOOTER_TOPIC, 56, 4, UINT32_MAX },     { FOOTER_TOPICS, FOOTER_TOPIC, 60, 4, UINT32_MAX },
		{ FOOTER_TOPICS, FOOTER_TOPIC, 60, 4, 0 },              { FOOTER_TOPICS, FOOTER_TOPIC, 40, 8, UINT64_MAX - 7 },
		{ FOOTER_TOPICS, FOOTER_TOPIC, 32, 8, 1 },              { FOOTER_TOPICS, FOOTER_TOPIC, 48, 8, 1 },
		{ FOOTER_TAGS, FOOTER_TAGS_HEAD, 0, 4, UINT32_MAX },    { FOOTER_TAGS, FOOTER_TAGS_HEAD, 4, 4, UINT32_MAX },
		{ FOOTER_TAGS, FOOTER_TAGS_HEAD, 8, 4, UINT32_MAX },    { FOOTER_CONTROLS, FOOTER_CONTROL_HEAD, 0, 8, 0 },
	};
	struct opened *o = *state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		uint8_t *at = element(o, wrong[i].type, wrong[i].size, 0), kept[FOOTER_TOPIC];
		memcpy(kept, at, wrong[i].size);
		memcpy(at + wrong[i].at, &wrong[i].value, wrong[i].width);
		reseal(at, wrong[i].size);
		assert_int_equal(verdict(o), ERR_CORRUPT);
		memcpy(at, kept, wrong[i].size);
	}
	assert_int_equal(verdict(o), ERR_OK);
}

static void extents_that_overlap_cannot_be_sealed(void **state)
{
	struct footer_builder *builder = NULL;
	struct footer_extent e = { .topic = 1, .first_seq = 5, .lsn = file.first_lsn, .count = 3, .live = 3, .length = 128, .entry = FRAME_HEAD };
	uint8_t *bytes = NULL;
	size_t length;
	uint32_t crc;
	(void)state;
	assert_int_equal(footer_builder_create(&builder), ERR_OK);
	assert_int_equal(footer_add_extent(builder, &e), ERR_OK);
	e.first_seq = 7;
	assert_int_equal(footer_add_extent(builder, &e), ERR_OK);
	assert_int_equal(footer_build(builder, &file, &bytes, &length, &crc), ERR_CORRUPT);
	assert_null(bytes);
	footer_builder_destroy(&builder);
}

/* A source that fails the n-th call, as a file whose pages are not in memory does. */
struct failing {
	struct footer_source inner;
	unsigned calls, at;
};

static enum error failing_bytes(void *context, uint64_t offset, uint32_t length, const uint8_t **bytes)
{
	struct failing *f = context;
	return f->calls++ == f->at ? ERR_AGAIN : f->inner.bytes(f->inner.context, offset, length, bytes);
}

static void a_read_that_has_to_wait_is_handed_through_wherever_it_happens(void **state)
{
	struct opened *o = *state;
	unsigned total = UINT32_MAX;
	for (unsigned at = 0; at < total; at++) {
		struct failing failing = { .inner = o->source, .at = at };
		struct footer_source source = { failing_bytes, &failing };
		struct footer footer;
		uint64_t index;
		enum error error = footer_open(&footer, &source, file.id, file.first_lsn, footer_offset(&file) + o->length);
		if (error == ERR_OK)
			error = footer_find_extent(&footer, &source, model.extents[100].topic, model.extents[100].first_seq, &index);
		if (error == ERR_OK)
			total = failing.calls;
		else
			assert_int_equal(error, ERR_AGAIN);
	}
	assert_true(total > 8 && total < 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(footer_says_what_was_sealed, open_made, close_made),
		cmocka_unit_test_setup_teardown(every_extent_comes_back_sorted_by_topic_and_seq, open_made, close_made),
		cmocka_unit_test_setup_teardown(topics_sum_up_their_extents, open_made, close_made),
		cmocka_unit_test_setup_teardown(every_seq_is_found_where_a_plain_search_finds_it, open_made, close_made),
		cmocka_unit_test_setup_teardown(every_key_is_found_and_its_likes_follow, open_made, close_made),
		cmocka_unit_test_setup_teardown(control_entries_come_back_in_order, open_made, close_made),
		cmocka_unit_test_setup_teardown(tags_are_found_exactly_and_by_prefix, open_made, close_made),
		cmocka_unit_test(footer_of_a_file_without_records_is_one),
		cmocka_unit_test_setup_teardown(a_flipped_bit_anywhere_is_found, open_made, close_made),
		cmocka_unit_test_setup_teardown(a_footer_that_is_cut_off_or_grown_is_none, open_made, close_made),
		cmocka_unit_test_setup_teardown(a_footer_of_another_file_or_place_is_none, open_made, close_made),
		cmocka_unit_test_setup_teardown(elements_in_a_wrong_order_do_not_pass_with_right_checksums, open_made, close_made),
		cmocka_unit_test_setup_teardown(fields_out_of_bounds_do_not_pass_with_right_checksums, open_made, close_made),
		cmocka_unit_test(extents_that_overlap_cannot_be_sealed),
		cmocka_unit_test_setup_teardown(a_read_that_has_to_wait_is_handed_through_wherever_it_happens, open_made, close_made),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
