#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "logd/checkpoint_finish.h"
#include "logd/key_lookup.h"
#include "logd/footer_notes.h"
#include "logd/seal.h"
#include "tests/memory_world_internal.h"

struct memory_world *memory_world_create(uint64_t seed)
{
	struct memory_world *w = calloc(1, sizeof *w);

	assert(w);
	w->ops = memory_ops;
	w->ops.world = w;
	w->random = w->draws = seed;
	w->wall_ms = 1700000000000;
	w->monotonic_us = 1000000;
	w->boot = 1;
	return w;
}

void memory_world_destroy(struct memory_world **world)
{
	struct memory_world *w = *world;

	if (!w)
		return;
	if (w->lookup_pending)
		free(w->lookup.files);
	if (w->seal_pending)
		footer_notes_destroy(&w->seal.notes);
	for (size_t i = 0; i < w->count; i++)
		mem_free(w->files[i]);
	free(w->files);
	free(w);
	*world = NULL;
}

struct memory_world *memory_world_clone(const struct memory_world *world)
{
	struct memory_world *w = memory_world_create(0);

	w->random = world->random;
	w->draws = world->draws;
	w->space = world->space;
	w->wall_ms = world->wall_ms;
	w->monotonic_us = world->monotonic_us;
	w->boot = world->boot;
	for (size_t i = 0; i < world->count; i++) {
		const struct mem_file *from = world->files[i];
		struct mem_file *to;

		if (!from->linked && !from->durable)
			continue;
		to = mem_add(w, &from->name);
		to->linked = from->linked;
		to->durable = from->durable;
		to->size = from->size;
		to->platter_size = from->platter_size;
		mem_ensure(to, from->room);
		if (from->room) {
			memcpy(to->cache, from->cache, from->room);
			memcpy(to->platter, from->platter, from->room);
			memcpy(to->dirty, from->dirty, from->room / SECTOR);
		}
	}
	return w;
}

const struct ops *memory_world_ops(const struct memory_world *world)
{
	return &world->ops;
}

void memory_world_die(struct memory_world *w)
{
	for (int i = 0; i < HANDLES; i++)
		if (w->handles[i]) {
			w->handles[i]->opened = 0;
			w->handles[i] = NULL;
		}
	if (w->lookup_pending)
		free(w->lookup.files);
	if (w->seal_pending)
		footer_notes_destroy(&w->seal.notes);
	w->sync_pending = w->prepare_pending = w->seal_pending = w->finish_pending = w->lookup_pending = w->dead = w->killing = false;
	mem_sweep(w);
}

void memory_world_daemon_end(struct memory_world *w)
{
	memory_world_die(w);
	for (size_t i = 0; i < w->count; i++)
		if (w->files[i]->name.kind == 'e')
			w->files[i]->linked = w->files[i]->durable = false;
	mem_sweep(w);
}

void memory_world_power_cut(struct memory_world *w, uint64_t seed)
{
	memory_world_power_cut_some(w, seed, 8);
}

void memory_world_power_cut_some(struct memory_world *w, uint64_t seed, unsigned keep)
{
	uint64_t state = seed;

	memory_world_daemon_end(w);
	for (size_t i = 0; i < w->count; i++) {
		struct mem_file *file = w->files[i];

		if (file->linked != file->durable)
			file->linked = mem_draw(&state) % 16 < keep ? file->linked : file->durable;
		file->durable = file->linked;
		for (uint64_t sector = 0; sector < file->room / SECTOR; sector++)
			if (file->dirty[sector] && mem_draw(&state) % 16 < keep)
				memcpy(file->platter + sector * SECTOR, file->cache + sector * SECTOR, SECTOR);
		if (file->size != file->platter_size && mem_draw(&state) % 16 < keep)
			file->platter_size = file->size;
		file->size = file->platter_size;
		if (file->room) {
			memset(file->platter + file->size, 0, file->room - file->size);
			memcpy(file->cache, file->platter, file->room);
			memset(file->dirty, 0, file->room / SECTOR);
		}
	}
	mem_sweep(w);
	w->boot++;
}

uint64_t memory_world_calls(const struct memory_world *w)
{
	return w->calls;
}

void memory_world_kill_at(struct memory_world *w, uint64_t nth)
{
	w->killing = true;
	w->kill_at = w->calls + nth;
}

bool memory_world_dead(const struct memory_world *w)
{
	return w->dead;
}

void memory_world_fail(struct memory_world *w, enum memory_op op, uint64_t nth, int error, bool sticky)
{
	w->fault = (struct fault){op, nth, error, sticky, true};
}

void memory_world_no_faults(struct memory_world *w)
{
	w->fault.armed = w->killing = w->dead = false;
}

void memory_world_short_writes(struct memory_world *w, unsigned one_in)
{
	w->short_writes = one_in;
}

void memory_world_space(struct memory_world *w, uint64_t bytes)
{
	w->space = bytes;
}

bool memory_world_sync_pending(const struct memory_world *w)
{
	return w->sync_pending;
}

void memory_world_sync_finish(struct memory_world *w, struct sync_job *job)
{
	assert(w->sync_pending);
	w->sync_pending = false;
	*job = w->sync;
	job->error = 0;
	for (unsigned i = 0; i < job->count && !job->error; i++)
		job->error = w->ops.sync(w, job->files[i]);
}

bool memory_world_prepare_pending(const struct memory_world *w)
{
	return w->prepare_pending;
}

void memory_world_prepare_finish(struct memory_world *w, uint64_t *id, int *error)
{
	struct file_name name = {.kind = 'w', .id = w->prepare_id};
	struct mem_file *file;

	assert(w->prepare_pending);
	w->prepare_pending = false;
	*id = w->prepare_id;
	*error = mem_enter(w, MEMORY_PREPARE);
	if (*error)
		return;
	file = mem_add(w, &name);
	if (!mem_fits(w, file, w->prepare_size)) {
		file->linked = false;
		mem_sweep(w);
		*error = ENOSPC;
		return;
	}
	mem_ensure(file, w->prepare_size);
	file->size = w->prepare_size;
	mem_sync(file, false);
	mem_directory_durable(w);
}

bool memory_world_seal_pending(const struct memory_world *w)
{
	return w->seal_pending;
}

void memory_world_seal_finish(struct memory_world *w, struct seal_job *job)
{
	assert(w->seal_pending);
	w->seal_pending = false;
	*job = w->seal;
	seal_file(&w->ops, job);
}

bool memory_world_lookup_pending(const struct memory_world *w)
{
	return w->lookup_pending;
}

void memory_world_lookup_finish(struct memory_world *w, struct lookup_job *job)
{
	assert(w->lookup_pending);
	w->lookup_pending = false;
	*job = w->lookup;
	key_lookup(&w->ops, job);
}

bool memory_world_finish_pending(const struct memory_world *w)
{
	return w->finish_pending;
}

void memory_world_finish_finish(struct memory_world *w, struct finish_job *job)
{
	assert(w->finish_pending);
	w->finish_pending = false;
	*job = w->finish;
	checkpoint_finish(&w->ops, job);
}

void memory_world_move_clocks(struct memory_world *w, int64_t wall_ms, uint64_t monotonic_us)
{
	w->wall_ms += wall_ms;
	w->monotonic_us += monotonic_us;
}

void memory_world_boot(struct memory_world *w, const struct boot_token *token)
{
	w->boot_given = true;
	w->boot_token = *token;
}

void memory_world_reboot(struct memory_world *w)
{
	w->boot++;
}

const uint8_t *memory_world_file(const struct memory_world *w, const struct file_name *name, uint64_t *size)
{
	static const uint8_t nothing;
	const struct mem_file *file = mem_find(w, name);

	if (!file)
		return NULL;
	*size = file->size;
	return file->cache ? file->cache : &nothing;
}

void memory_world_damage(struct memory_world *w, const struct file_name *name, uint64_t offset, const void *bytes, uint64_t length)
{
	struct mem_file *file = mem_find(w, name);

	assert(file && offset + length <= file->room);
	memcpy(file->cache + offset, bytes, length);
	memcpy(file->platter + offset, bytes, length);
}

void memory_world_unreadable(struct memory_world *w, const struct file_name *name, uint64_t offset, uint64_t length)
{
	struct mem_file *file = mem_find(w, name);

	assert(file);
	file->bad = offset;
	file->bad_length = length;
}

void memory_world_put(struct memory_world *w, const struct file_name *name, const void *bytes, uint64_t size)
{
	struct mem_file *file = mem_find(w, name);

	if (!file)
		file = mem_add(w, name);
	file->durable = true;
	mem_write_cache(file, bytes, size, 0);
	mem_sync(file, false);
}

void memory_world_remove(struct memory_world *w, const struct file_name *name)
{
	struct mem_file *file = mem_find(w, name);

	assert(file);
	file->linked = file->durable = false;
	mem_sweep(w);
}

unsigned memory_world_objects(const struct memory_world *w)
{
	unsigned count = 0;

	for (size_t i = 0; i < w->count; i++)
		count += w->files[i]->name.kind == 'e' && w->files[i]->linked;
	return count;
}

unsigned memory_world_names(const struct memory_world *w, struct file_name *names, unsigned room)
{
	unsigned count = 0;

	for (size_t i = 0; i < w->count; i++)
		if (w->files[i]->linked && w->files[i]->name.kind != 'e' && count < room)
			names[count++] = w->files[i]->name;
	return count;
}
