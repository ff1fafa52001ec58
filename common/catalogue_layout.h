/*
 * Where everything lies in the catalogue's object, for its reader (catalogue.c) and its writer (catalogue_writer*.c) alone. Every word that
 * a reader may look at while it changes is atomic; which counter guards it is said here. docs/shared-memory.md has the same as a table.
 */
#ifndef TOPICS_CATALOGUE_LAYOUT_H
#define TOPICS_CATALOGUE_LAYOUT_H

#include <string.h>

#include "common/catalogue.h"

#define CATALOGUE_MAGIC 0x47544143504f54ull /* "TOPCATG" */

enum { CATALOGUE_PAGE = 4096, NAME_WORDS = 32, CONFIG_WORDS = TOPIC_CONFIG_MAX / 8, LOSS_WORDS = 3, EXTENT_WORDS = 5, SEGMENT_WORDS = 6 };
_Static_assert(sizeof(struct extent) == EXTENT_WORDS * 8 && sizeof(struct segment) == SEGMENT_WORDS * 8 && sizeof(struct loss) == LOSS_WORDS * 8,
               "list elements are whole words");
_Static_assert(TOPIC_CONFIG_MAX % 8 == 0 && NAME_WORDS * 8 > TOPIC_NAME_MAX, "names and configurations are whole words");

typedef _Atomic uint64_t catalogue_word;

struct catalogue_head {
	/* Written once, before the object is given to anybody. */
	uint64_t magic;
	uint32_t version;
	uint32_t reserved0;
	uint64_t number;
	uint8_t hash_key[16];
	uint8_t reserved1[64 - 40];
	catalogue_word topic_count;
	/* Odd while names move within their hash: who did not find a name looks whether it changed. */
	catalogue_word names_sequence;
	/* Guards order_blocks, the order and its blocks, and the names of the slots in them. */
	catalogue_word order_sequence;
	catalogue_word order_blocks; /* entries of `order` */
	catalogue_word partial; /* 1: it shows only what is proven; by itself */
};

/*
 * The slots in byte order of their names: `order` names blocks, a block names slots. A name costs a shift within its block and, when a block splits or goes, one of the
 * blocks behind it. No block is empty, and two that follow each other hold more than half a block together, so that many are enough for all topics.
 */
enum { ORDER_BLOCK = 512, ORDER_BLOCKS = 2 * (CATALOGUE_TOPICS / (ORDER_BLOCK / 2)) + 2 };
struct order_block {
	_Atomic uint32_t count;
	uint32_t reserved;
	_Atomic uint32_t slots[ORDER_BLOCK];
};

/* Sequence counter `generation`: odd while the rest changes. */
struct file_slot {
	catalogue_word id, number, first_lsn;
	_Atomic uint32_t kind, generation;
};

enum list_kind { LIST_EXTENTS, LIST_SEGMENTS, LIST_LOSSES, LIST_KINDS };

/* Where a list lies: `first` elements into its block stand `count` that readers see. */
struct list_place {
	catalogue_word block, first, count;
};

static inline size_t list_words(enum list_kind kind)
{
	static const uint8_t words[LIST_KINDS] = { [LIST_EXTENTS] = EXTENT_WORDS, [LIST_SEGMENTS] = SEGMENT_WORDS, [LIST_LOSSES] = LOSS_WORDS };
	return words[kind];
}

/*
 * All of it is guarded by `sequence`. The elements of the lists are not: they lie in the heap, are written before the section that makes
 * them visible, and stay as they are until list_version has risen.
 */
struct topic_slot {
	catalogue_word sequence, id, head, durable, earliest, floor, count, bytes;
	catalogue_word last_write_ts, floor_reason, list_version;
	struct list_place lists[LIST_KINDS];
	catalogue_word hash;
	catalogue_word lengths; /* of the name, and << 32 of the configuration */
	catalogue_word name[NAME_WORDS];
	catalogue_word config[CONFIG_WORDS];
	uint64_t reserved[96 - 22 - NAME_WORDS - CONFIG_WORDS];
};
_Static_assert(sizeof(struct topic_slot) == 768, "twelve cache lines");

struct catalogue_map {
	struct catalogue_head head;
	uint8_t reserved[CATALOGUE_PAGE - sizeof(struct catalogue_head)];
	struct file_slot files[CATALOGUE_FILES];
	_Atomic uint32_t buckets[CATALOGUE_BUCKETS];
	_Atomic uint32_t order[ORDER_BLOCKS];
	struct order_block blocks[ORDER_BLOCKS];
	struct topic_slot topics[CATALOGUE_TOPICS];
	catalogue_word heap[]; /* blocks are named by their offset in words; 0 is no block */
};
#define CATALOGUE_HEAP_WORDS ((CATALOGUE_SIZE - sizeof(struct catalogue_map)) / 8)

/* The hash of a name in this catalogue: keyed, so that nobody can choose names that collide. */
uint64_t catalogue_hash(const struct catalogue_head *head, const char *name, size_t length);

/* memcmp order, a name before the longer ones that begin with it. */
int catalogue_compare(const char *a, size_t a_length, const char *b, size_t b_length);

static inline void catalogue_load(void *out, const catalogue_word *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = atomic_load_explicit(&words[i], memory_order_relaxed);
		memcpy((uint8_t *)out + i * sizeof value, &value, sizeof value);
	}
}

static inline void catalogue_store(catalogue_word *words, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value;
		memcpy(&value, (const uint8_t *)from + i * sizeof value, sizeof value);
		atomic_store_explicit(&words[i], value, memory_order_relaxed);
	}
}

static inline uint64_t catalogue_get(const catalogue_word *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void catalogue_set(catalogue_word *word, uint64_t value)
{
	atomic_store_explicit(word, value, memory_order_relaxed);
}

/* The writer's half of a sequence counter (H.-J. Boehm, "Can seqlocks get along with programming language memory models?", 2012): a reader
 * that sees a word of the section sees after its acquire fence that the counter has moved. */
static inline void catalogue_section_begin(catalogue_word *sequence)
{
	catalogue_set(sequence, catalogue_get(sequence) + 1);
	atomic_thread_fence(memory_order_release);
}

static inline void catalogue_section_end(catalogue_word *sequence)
{
	atomic_store_explicit(sequence, catalogue_get(sequence) + 1, memory_order_release);
}

#endif
