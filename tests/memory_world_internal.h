/* What the parts of the memory world share: its files (memory_files.c), the calls of logd (memory_ops.c) and what tests do to it (memory_world.c). */
#ifndef TOPICS_MEMORY_WORLD_INTERNAL_H
#define TOPICS_MEMORY_WORLD_INTERNAL_H

#include "tests/memory_world.h"

enum { SECTOR = 512, PAGE = 4096, HANDLES = 512 };

struct mem_file {
	struct file_name name;   /* kind 'e': a memory object */
	uint8_t *cache, *platter;
	uint8_t *dirty;          /* one byte a sector */
	uint64_t size, platter_size, room;
	uint64_t bad, bad_length; /* bytes that cannot be read */
	bool linked, durable;    /* is the name in the directory: seen, and after a cut */
	unsigned opened;
};

struct fault {
	enum memory_op op;
	uint64_t nth;
	int error;
	bool sticky, armed;
};

struct memory_world {
	struct ops ops;
	struct mem_file **files;
	size_t count, room;
	struct mem_file *handles[HANDLES];
	uint64_t random, draws;  /* for ids; for everything that faults draw */
	uint64_t calls, kill_at;
	bool killing, dead;
	struct fault fault;
	unsigned short_writes;
	uint64_t space;
	bool sync_pending, prepare_pending, seal_pending, finish_pending, lookup_pending;
	struct sync_job sync;
	struct seal_job seal;
	struct lookup_job lookup;
	struct finish_job finish;
	uint64_t prepare_id, prepare_size;
	int64_t wall_ms;
	uint64_t monotonic_us;
	uint64_t boot;
	bool boot_given;
	struct boot_token boot_token;
};

/* The next of a row of pseudo-random numbers. */
uint64_t mem_draw(uint64_t *state);
/* Counts a call; what it has to give instead of being done, or 0. */
int mem_enter(struct memory_world *w, enum memory_op op);
/* NULL: no such name. */
struct mem_file *mem_find(const struct memory_world *w, const struct file_name *name);
struct mem_file *mem_add(struct memory_world *w, const struct file_name *name);
void mem_free(struct mem_file *file);
/* Frees the files that nobody can reach any more. */
void mem_sweep(struct memory_world *w);
/* Room for so many bytes. */
void mem_ensure(struct mem_file *file, uint64_t size);
void mem_write_cache(struct mem_file *file, const void *bytes, uint64_t length, uint64_t offset);
/* The cache reaches the platter, or with `failed` is only thought to. */
void mem_sync(struct mem_file *file, bool failed);
/* Whether the space allows the file this size. */
bool mem_fits(const struct memory_world *w, const struct mem_file *file, uint64_t size);
/* 0 or EMFILE. */
int mem_open_handle(struct memory_world *w, struct mem_file *file, int *handle);
struct mem_file *mem_of_handle(const struct memory_world *w, int handle);
void mem_directory_durable(struct memory_world *w);

extern const struct ops memory_ops;

#endif
