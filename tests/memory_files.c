/* Files with a page cache and a platter, sector by sector. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/memory_world_internal.h"

uint64_t mem_draw(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

int mem_enter(struct memory_world *w, enum memory_op op)
{
	struct fault *fault = &w->fault;

	if (w->dead)
		return EIO;
	if (w->killing && w->calls >= w->kill_at) {
		w->dead = true;
		return EIO;
	}
	w->calls++;
	if (!fault->armed || (fault->op != MEMORY_ANY && fault->op != op))
		return 0;
	if (fault->nth > 0) {
		fault->nth--;
		return 0;
	}
	fault->armed = fault->sticky;
	return fault->error;
}

static bool same_name(const struct file_name *a, const struct file_name *b)
{
	return a->kind == b->kind && a->id == b->id && (a->kind != 'q' || a->offset == b->offset);
}

struct mem_file *mem_find(const struct memory_world *w, const struct file_name *name)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->files[i]->linked && same_name(&w->files[i]->name, name))
			return w->files[i];
	return NULL;
}

struct mem_file *mem_add(struct memory_world *w, const struct file_name *name)
{
	struct mem_file *file = calloc(1, sizeof *file);

	if (w->count == w->room) {
		w->room = w->room ? w->room * 2 : 16;
		w->files = realloc(w->files, w->room * sizeof *w->files);
	}
	assert(file && w->files);
	file->name = *name;
	file->linked = true;
	w->files[w->count++] = file;
	return file;
}

void mem_free(struct mem_file *file)
{
	free(file->cache);
	free(file->platter);
	free(file->dirty);
	free(file);
}

void mem_sweep(struct memory_world *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->count; i++) {
		struct mem_file *file = w->files[i];

		if (file->linked || file->durable || file->opened)
			w->files[kept++] = file;
		else
			mem_free(file);
	}
	w->count = kept;
}

void mem_ensure(struct mem_file *file, uint64_t size)
{
	uint64_t room = (size + PAGE - 1) / PAGE * PAGE;

	if (room <= file->room)
		return;
	file->cache = realloc(file->cache, room);
	file->platter = realloc(file->platter, room);
	file->dirty = realloc(file->dirty, room / SECTOR);
	assert(file->cache && file->platter && file->dirty);
	memset(file->cache + file->room, 0, room - file->room);
	memset(file->platter + file->room, 0, room - file->room);
	memset(file->dirty + file->room / SECTOR, 0, (room - file->room) / SECTOR);
	file->room = room;
}

void mem_write_cache(struct mem_file *file, const void *bytes, uint64_t length, uint64_t offset)
{
	if (length == 0)
		return;
	mem_ensure(file, offset + length);
	memcpy(file->cache + offset, bytes, length);
	memset(file->dirty + offset / SECTOR, 1, (offset + length - 1) / SECTOR - offset / SECTOR + 1);
	if (offset + length > file->size)
		file->size = offset + length;
}

void mem_sync(struct mem_file *file, bool failed)
{
	for (uint64_t sector = 0; sector < file->room / SECTOR; sector++) {
		if (file->dirty[sector] && !failed)
			memcpy(file->platter + sector * SECTOR, file->cache + sector * SECTOR, SECTOR);
		file->dirty[sector] = 0;
	}
	if (!failed)
		file->platter_size = file->size;
}

static uint64_t used_space(const struct memory_world *w)
{
	uint64_t used = 0;

	for (size_t i = 0; i < w->count; i++)
		if (w->files[i]->name.kind != 'e' && (w->files[i]->linked || w->files[i]->opened))
			used += w->files[i]->size;
	return used;
}

bool mem_fits(const struct memory_world *w, const struct mem_file *file, uint64_t size)
{
	return w->space == 0 || size <= file->size || used_space(w) + size - file->size <= w->space;
}

int mem_open_handle(struct memory_world *w, struct mem_file *file, int *handle)
{
	for (int i = 0; i < HANDLES; i++)
		if (!w->handles[i]) {
			w->handles[i] = file;
			file->opened++;
			*handle = i;
			return 0;
		}
	return EMFILE;
}

struct mem_file *mem_of_handle(const struct memory_world *w, int handle)
{
	assert(handle >= 0 && handle < HANDLES && w->handles[handle]);
	return w->handles[handle];
}

void mem_directory_durable(struct memory_world *w)
{
	for (size_t i = 0; i < w->count; i++)
		w->files[i]->durable = w->files[i]->linked && w->files[i]->name.kind != 'e';
	mem_sweep(w);
}
