/* logd's table of calls on the memory world. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/memory_world_internal.h"

enum { OBJECT_MORE = 1 << 16 };

static int op_list(void *world, int (*each)(void *, const struct file_name *, uint64_t), void *context)
{
	struct memory_world *w = world;
	int error = mem_enter(w, MEMORY_LIST);

	for (size_t i = 0; i < w->count && !error; i++)
		if (w->files[i]->linked && w->files[i]->name.kind != 'e')
			error = each(context, &w->files[i]->name, w->files[i]->size);
	return error;
}

static int op_open(void *world, const struct file_name *name, int *handle)
{
	struct memory_world *w = world;
	struct mem_file *file = mem_find(w, name);
	int error = mem_enter(w, MEMORY_OPEN);

	return error ? error : file ? mem_open_handle(w, file, handle) : ENOENT;
}

static int op_create(void *world, const struct file_name *name, int *handle)
{
	struct memory_world *w = world;
	int error = mem_enter(w, MEMORY_CREATE);

	if (error)
		return error;
	return mem_find(w, name) ? EEXIST : mem_open_handle(w, mem_add(w, name), handle);
}

static int op_close(void *world, int handle)
{
	struct memory_world *w = world;
	struct mem_file *file = mem_of_handle(w, handle);

	assert(file->name.kind != 'e'); /* those are the table's, and retire closes them */
	w->handles[handle] = NULL;
	if (--file->opened == 0 && !file->linked && !file->durable)
		mem_sweep(w);
	return 0;
}

static int op_size(void *world, int handle, uint64_t *size)
{
	*size = mem_of_handle(world, handle)->size;
	return 0;
}

static int op_data(void *world, int handle, uint64_t offset, uint64_t *at)
{
	const struct mem_file *file = mem_of_handle(world, handle);

	for (*at = offset; *at < file->size && file->cache[*at] == 0;)
		++*at;
	/* By pages, as file systems know it. */
	*at = *at >= file->size ? file->size : *at / PAGE * PAGE > offset ? *at / PAGE * PAGE : offset;
	return 0;
}

static int op_allocate(void *world, int handle, uint64_t size)
{
	struct memory_world *w = world;
	struct mem_file *file = mem_of_handle(w, handle);
	int error = mem_enter(w, MEMORY_ALLOCATE);

	if (error)
		return error;
	if (!mem_fits(w, file, size))
		return ENOSPC;
	mem_ensure(file, size);
	if (size > file->size)
		file->size = size;
	return 0;
}

static int op_pwrite(void *world, int handle, const void *bytes, size_t length, uint64_t offset, size_t *done)
{
	struct memory_world *w = world;
	struct mem_file *file = mem_of_handle(w, handle);
	bool alive = !w->dead;
	int error = mem_enter(w, MEMORY_PWRITE);

	*done = 0;
	if (error) {
		/* A kill, or an error, in the middle of it: the pages before are in the cache. */
		uint64_t pages = (offset % PAGE + length) / PAGE, kept = pages && alive ? mem_draw(&w->draws) % (pages + 1) * PAGE : 0;

		if (kept > offset % PAGE)
			mem_write_cache(file, bytes, kept - offset % PAGE, offset);
		return error;
	}
	if (!mem_fits(w, file, offset + length))
		return ENOSPC;
	if (w->short_writes && mem_draw(&w->draws) % w->short_writes == 0) {
		if (mem_draw(&w->draws) % 2)
			return EINTR;
		length = 1 + mem_draw(&w->draws) % length;
	}
	mem_write_cache(file, bytes, length, offset);
	*done = length;
	return 0;
}

static int op_pread(void *world, int handle, void *bytes, size_t length, uint64_t offset, size_t *done)
{
	struct memory_world *w = world;
	const struct mem_file *file = mem_of_handle(w, handle);
	int error = mem_enter(w, MEMORY_PREAD);

	*done = 0;
	if (error)
		return error;
	if (offset < file->size) {
		*done = length < file->size - offset ? length : (size_t)(file->size - offset);
		/* Up to the bad place a read is short. */
		if (file->bad_length > 0 && offset < file->bad + file->bad_length && offset + *done > file->bad)
			*done = offset < file->bad ? (size_t)(file->bad - offset) : 0;
		memcpy(bytes, file->cache + offset, *done);
		if (*done == 0 && length > 0)
			return EIO;
	}
	return 0;
}

static int op_truncate(void *world, int handle, uint64_t size)
{
	struct memory_world *w = world;
	struct mem_file *file = mem_of_handle(w, handle);
	int error = mem_enter(w, MEMORY_TRUNCATE);

	if (error)
		return error;
	if (!mem_fits(w, file, size))
		return ENOSPC;
	mem_ensure(file, size);
	if (size < file->size) {
		memset(file->cache + size, 0, file->size - size);
		memset(file->dirty + size / SECTOR, 1, (file->size - 1) / SECTOR - size / SECTOR + 1);
	}
	file->size = size;
	return 0;
}

static int op_unlink(void *world, const struct file_name *name)
{
	struct memory_world *w = world;
	struct mem_file *file;
	int error = mem_enter(w, MEMORY_UNLINK);

	if (error)
		return error;
	file = mem_find(w, name);
	if (!file)
		return ENOENT;
	file->linked = false;
	mem_sweep(w);
	return 0;
}

static int op_sync_dir(void *world)
{
	int error = mem_enter(world, MEMORY_SYNC_DIR);

	if (!error)
		mem_directory_durable(world);
	return error;
}

static int op_sync(void *world, int handle)
{
	struct memory_world *w = world;
	bool alive = !w->dead;
	int error = mem_enter(w, MEMORY_SYNC);

	if (!error)
		mem_sync(mem_of_handle(w, handle), false);
	else if (alive && !w->dead)
		mem_sync(mem_of_handle(w, handle), true);
	return error;
}

static int op_sync_start(void *world, const struct sync_job *job)
{
	struct memory_world *w = world;
	int error = mem_enter(w, MEMORY_SYNC_START);

	assert(!w->sync_pending);
	if (error)
		return error;
	w->sync = *job;
	w->sync_pending = true;
	return 0;
}

static int op_prepare_start(void *world, uint64_t id, uint64_t size)
{
	struct memory_world *w = world;

	assert(!w->prepare_pending);
	if (w->dead)
		return EIO;
	w->prepare_id = id;
	w->prepare_size = size;
	w->prepare_pending = true;
	return 0;
}

static int op_seal_start(void *world, const struct seal_job *job)
{
	struct memory_world *w = world;
	int error = mem_enter(w, MEMORY_SEAL_START);

	assert(!w->seal_pending);
	if (error)
		return error;
	w->seal = *job;
	w->seal_pending = true;
	return 0;
}

static int op_lookup_start(void *world, const struct lookup_job *job)
{
	struct memory_world *w = world;
	int error = mem_enter(w, MEMORY_LOOKUP_START);

	if (error || w->lookup_pending)
		return error ? error : EBUSY;
	w->lookup = *job;
	w->lookup_pending = true;
	return 0;
}

static int op_finish_start(void *world, const struct finish_job *job)
{
	struct memory_world *w = world;
	int error = mem_enter(w, MEMORY_FINISH_START);

	assert(!w->finish_pending);
	if (error)
		return error;
	w->finish = *job;
	w->finish_pending = true;
	return 0;
}

static int op_ephemeral_create(void *world, uint64_t id, uint64_t size, int *handle)
{
	struct memory_world *w = world;
	struct file_name name = {.kind = 'e', .id = id};
	struct mem_file *file;
	int error = mem_enter(w, MEMORY_EPHEMERAL_CREATE);

	if (error)
		return error;
	file = mem_add(w, &name);
	/* As the supervisor's objects, which are made before anybody knows what for, it is larger than what is asked for. */
	mem_ensure(file, size + OBJECT_MORE);
	file->size = size + OBJECT_MORE;
	return mem_open_handle(w, file, handle);
}

/* The one that create or an earlier list has given out: an object has one handle in a process. */
static int object_handle(struct memory_world *w, struct mem_file *file, int *handle)
{
	for (*handle = 0; *handle < HANDLES; ++*handle)
		if (w->handles[*handle] == file)
			return 0;
	return mem_open_handle(w, file, handle);
}

static int op_ephemeral_list(void *world, int (*each)(void *, uint64_t, uint64_t, int), void *context)
{
	struct memory_world *w = world;
	int error = mem_enter(w, MEMORY_LIST), handle;

	for (size_t i = 0; i < w->count && !error; i++) {
		struct mem_file *file = w->files[i];

		if (file->name.kind != 'e' || !file->linked)
			continue;
		error = object_handle(w, file, &handle);
		if (!error)
			error = each(context, file->name.id, file->size, handle);
	}
	return error;
}

static int op_ephemeral_retire(void *world, uint64_t id)
{
	struct memory_world *w = world;
	struct file_name name = {.kind = 'e', .id = id};
	struct mem_file *file = w->dead ? NULL : mem_find(w, &name);
	int handle;

	if (!file)
		return ENOENT;
	for (handle = 0; handle < HANDLES && w->handles[handle] != file; handle++)
		;
	if (handle < HANDLES) {
		w->handles[handle] = NULL;
		file->opened--;
	}
	assert(file->opened == 0);
	file->linked = false;
	mem_sweep(w);
	return 0;
}

static int64_t op_wall_ms(void *world)
{
	return ((struct memory_world *)world)->wall_ms;
}

static uint64_t op_monotonic_us(void *world)
{
	return ((struct memory_world *)world)->monotonic_us;
}

static int op_boot_token(void *world, struct boot_token *token)
{
	const struct memory_world *w = world;

	if (w->boot_given) {
		*token = w->boot_token;
		return 0;
	}
	*token = (struct boot_token){.device = 1, .inode = 2, .superblock = ((struct memory_world *)world)->boot};
	memcpy(token->boot_id, &((struct memory_world *)world)->boot, 8);
	return 0;
}

static void op_random(void *world, void *bytes, size_t length)
{
	struct memory_world *w = world;
	uint8_t *out = bytes;

	while (length > 0) {
		uint64_t value = mem_draw(&w->random);
		size_t piece = length < sizeof value ? length : sizeof value;

		memcpy(out, &value, piece);
		out += piece;
		length -= piece;
	}
}

static void op_failpoint(void *world, const char *name)
{
	(void)world;
	(void)name;
}

const struct ops memory_ops = {
	.list = op_list,
	.open = op_open,
	.create = op_create,
	.close = op_close,
	.size = op_size,
	.data = op_data,
	.allocate = op_allocate,
	.pwrite = op_pwrite,
	.pread = op_pread,
	.truncate = op_truncate,
	.unlink = op_unlink,
	.sync_dir = op_sync_dir,
	.sync = op_sync,
	.sync_start = op_sync_start,
	.prepare_start = op_prepare_start,
	.seal_start = op_seal_start,
	.lookup_start = op_lookup_start,
	.finish_start = op_finish_start,
	.ephemeral_create = op_ephemeral_create,
	.ephemeral_list = op_ephemeral_list,
	.ephemeral_retire = op_ephemeral_retire,
	.wall_ms = op_wall_ms,
	.monotonic_us = op_monotonic_us,
	.boot_token = op_boot_token,
	.random = op_random,
	.failpoint = op_failpoint,
};
