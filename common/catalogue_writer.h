/*
 * What the writer's sources share (catalogue_writer.c: topics, numbers, files; _names.c: hash of names; _order.c: their order; _lists.c: heap and
 * lists). The writer's own knowledge is in private memory: a new logd builds a new catalogue, so nothing of it has to outlive the process.
 */
#ifndef TOPICS_CATALOGUE_WRITER_H
#define TOPICS_CATALOGUE_WRITER_H

#include "common/catalogue_layout.h"

enum {
	HEAP_CLASSES = 40,
	HEAP_CLASS_MIN = 4, /* 16 words */
	SLOTS_REST = 1024,  /* freed slots that are not used again yet */
};

/* A list's elements are [first, end) of its block; of them readers see those before `visible`. */
struct list {
	uint64_t block;      /* offset in words, 0: none */
	uint64_t first;
	uint64_t end;
	uint64_t visible;
	uint32_t block_class; /* log2 of the block's words */
};

struct topic_lists {
	struct list list[LIST_KINDS];
	uint32_t next_free;  /* slot + 1: queue of freed slots */
};

struct catalogue_writer {
	struct catalogue_map *map;       /* owned */
	struct topic_lists *lists;       /* owned; of the slots below `slots_room` */
	uint32_t slots_room;
	uint32_t slots_used;             /* every slot below has held a topic */
	uint32_t free_first, free_last;  /* slot + 1, 0: none; oldest first */
	uint32_t free_count;
	uint32_t file_next;              /* where the search for a free file begins */
	uint32_t order_free;             /* block + 1 of the order: freed ones, each names the next in its first place; 0: none */
	uint32_t order_used;             /* every block below has been used */
	uint64_t heap_end;               /* words given out so far */
	uint64_t heap_free[HEAP_CLASSES];/* first free block of each class, its first word the next one's offset */
};

/* _names.c. The slot's name and hash stand in it. */
int64_t catalogue_writer_find(const struct catalogue_writer *writer, uint64_t hash, const char *name, size_t length);
void catalogue_writer_link_name(struct catalogue_writer *writer, uint32_t slot);
void catalogue_writer_unlink_name(struct catalogue_writer *writer, uint32_t slot);

/* `name` has room for TOPIC_NAME_MAX + 1 bytes; returns the length. */
size_t catalogue_writer_name(const struct catalogue_writer *writer, uint32_t slot, char *name);

/* _order.c. */
void catalogue_writer_order_add(struct catalogue_writer *writer, uint32_t slot);
void catalogue_writer_order_remove(struct catalogue_writer *writer, uint32_t slot);

/* _lists.c. */
void catalogue_writer_heap_init(struct catalogue_writer *writer);
/* Inside a section of the topic: shows readers what was added. */
void catalogue_writer_show_lists(struct catalogue_writer *writer, uint32_t slot);
/* Inside a section of the topic: it has no lists any more. Returns what to free after the section. */
struct topic_lists catalogue_writer_take_lists(struct catalogue_writer *writer, uint32_t slot);
void catalogue_writer_free_lists(struct catalogue_writer *writer, const struct topic_lists *lists);

#endif
