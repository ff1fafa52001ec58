#include "tests/memory_world.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "logd/checkpoint_finish.h"
#include "logd/key_lookup.h"
#include "logd/seal.h"

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

static uint64_t draw(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Counts a call; what it has to give instead of being done, or 0. */
static int enter(struct memory_world *w, enum memory_op op)
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

/* ---- files ---- */

static bool same_name(const struct file_name *a, const struct file_name *b)
{
	return a->kind == b->kind && a->id == b->id && (a->kind != 'q' || a->offset == b->offset);
}

static struct mem_file *find(const struct memory_world *w, const struct file_name *name)
{
	for (size_t i = 0; i < w->count; i++)
		if (w->files[i]->linked && same_name(&w->files[i]->name, name))
			return w->files[i];
	return NULL;
}

static struct mem_file *add_file(struct memory_world *w, const struct file_name *name)
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

static void free_file(struct mem_file *file)
{
	free(file->cache);
	free(file->platter);
	free(file->dirty);
	free(file);
}

/* Files that nobody can reach any more. */
static void sweep(struct memory_world *w)
{
	size_t kept = 0;

	for (size_t i = 0; i < w->count; i++) {
		struct mem_file *file = w->files[i];

		if (file->linked || file->durable || file->opened)
			w->files[kept++] = file;
		else
			free_file(file);
	}
	w->count = kept;
}

static void ensure(struct mem_file *file, uint64_t size)
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

static void write_cache(struct mem_file *file, const void *bytes, uint64_t length, uint64_t offset)
{
	if (length == 0)
		return;
	ensure(file, offset + length);
	memcpy(file->cache + offset, bytes, length);
	memset(file->dirty + offset / SECTOR, 1, (offset + length - 1) / SECTOR - offset / SECTOR + 1);
	if (offset + length > file->size)
		file->size = offset + length;
}

static void sync_file(struct mem_file *file, bool failed)
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

static bool fits(const struct memory_world *w, const struct mem_file *file, uint64_t size)
{
	return w->space == 0 || size <= file->size || used_space(w) + size - file->size <= w->space;
}

static int open_handle(struct memory_world *w, struct mem_file *file, int *handle)
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

static struct mem_file *of_handle(const struct memory_world *w, int handle)
{
	assert(handle >= 0 && handle < HANDLES && w->handles[handle]);
	return w->handles[handle];
}

/* ---- the table ---- */

static int op_list(void *world, int (*each)(void *, const struct file_name *, uint64_t), void *context)
{
	struct memory_world *w = world;
	int error = enter(w, MEMORY_LIST);

	for (size_t i = 0; i < w->count && !error; i++)
		if (w->files[i]->linked && w->files[i]->name.kind != 'e')
			error = each(context, &w->files[i]->name, w->files[i]->size);
	return error;
}

static int op_open(void *world, const struct file_name *name, int *handle)
{
	struct memory_world *w = world;
	struct mem_file *file = find(w, name);
	int error = enter(w, MEMORY_OPEN);

	return error ? error : file ? open_handle(w, file, handle) : ENOENT;
}

static int op_create(void *world, const struct file_name *name, int *handle)
{
	struct memory_world *w = world;
	int error = enter(w, MEMORY_CREATE);

	if (error)
		return error;
	return find(w, name) ? EEXIST : open_handle(w, add_file(w, name), handle);
}

static int op_close(void *world, int handle)
{
	struct memory_world *w = world;
	struct mem_file *file = of_handle(w, handle);

	w->handles[handle] = NULL;
	if (--file->opened == 0 && !file->linked && !file->durable)
		sweep(w);
	return 0;
}

static int op_size(void *world, int handle, uint64_t *size)
{
	*size = of_handle(world, handle)->size;
	return 0;
}

static int op_data(void *world, int handle, uint64_t offset, uint64_t *at)
{
	const struct mem_file *file = of_handle(world, handle);

	for (*at = offset; *at < file->size && file->cache[*at] == 0;)
		++*at;
	/* By pages, as file systems know it. */
	*at = *at >= file->size ? file->size : *at / PAGE * PAGE > offset ? *at / PAGE * PAGE : offset;
	return 0;
}

static int op_allocate(void *world, int handle, uint64_t size)
{
	struct memory_world *w = world;
	struct mem_file *file = of_handle(w, handle);
	int error = enter(w, MEMORY_ALLOCATE);

	if (error)
		return error;
	if (!fits(w, file, size))
		return ENOSPC;
	ensure(file, size);
	if (size > file->size)
		file->size = size;
	return 0;
}

static int op_pwrite(void *world, int handle, const void *bytes, size_t length, uint64_t offset, size_t *done)
{
	struct memory_world *w = world;
	struct mem_file *file = of_handle(w, handle);
	bool alive = !w->dead;
	int error = enter(w, MEMORY_PWRITE);

	*done = 0;
	if (error) {
		/* A kill, or an error, in the middle of it: the pages before are in the cache. */
		uint64_t pages = (offset % PAGE + length) / PAGE, kept = pages && alive ? draw(&w->draws) % (pages + 1) * PAGE : 0;

		if (kept > offset % PAGE)
			write_cache(file, bytes, kept - offset % PAGE, offset);
		return error;
	}
	if (!fits(w, file, offset + length))
		return ENOSPC;
	if (w->short_writes && draw(&w->draws) % w->short_writes == 0) {
		if (draw(&w->draws) % 2)
			return EINTR;
		length = 1 + draw(&w->draws) % length;
	}
	write_cache(file, bytes, length, offset);
	*done = length;
	return 0;
}

static int op_pread(void *world, int handle, void *bytes, size_t length, uint64_t offset, size_t *done)
{
	struct memory_world *w = world;
	const struct mem_file *file = of_handle(w, handle);
	int error = enter(w, MEMORY_PREAD);

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
	struct mem_file *file = of_handle(w, handle);
	int error = enter(w, MEMORY_TRUNCATE);

	if (error)
		return error;
	if (!fits(w, file, size))
		return ENOSPC;
	ensure(file, size);
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
	int error = enter(w, MEMORY_UNLINK);

	if (error)
		return error;
	file = find(w, name);
	if (!file)
		return ENOENT;
	file->linked = false;
	sweep(w);
	return 0;
}

static void directory_durable(struct memory_world *w)
{
	for (size_t i = 0; i < w->count; i++)
		w->files[i]->durable = w->files[i]->linked && w->files[i]->name.kind != 'e';
	sweep(w);
}

static int op_sync_dir(void *world)
{
	int error = enter(world, MEMORY_SYNC_DIR);

	if (!error)
		directory_durable(world);
	return error;
}

static int op_sync(void *world, int handle)
{
	struct memory_world *w = world;
	bool alive = !w->dead;
	int error = enter(w, MEMORY_SYNC);

	if (!error)
		sync_file(of_handle(w, handle), false);
	else if (alive && !w->dead)
		sync_file(of_handle(w, handle), true);
	return error;
}

static int op_sync_start(void *world, const struct sync_job *job)
{
	struct memory_world *w = world;
	int error = enter(w, MEMORY_SYNC_START);

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
	int error = enter(w, MEMORY_SEAL_START);

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
	int error = enter(w, MEMORY_LOOKUP_START);

	if (error || w->lookup_pending)
		return error ? error : EBUSY;
	w->lookup = *job;
	w->lookup_pending = true;
	return 0;
}

static int op_finish_start(void *world, const struct finish_job *job)
{
	struct memory_world *w = world;
	int error = enter(w, MEMORY_FINISH_START);

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
	int error = enter(w, MEMORY_EPHEMERAL_CREATE);

	if (error)
		return error;
	file = add_file(w, &name);
	ensure(file, size);
	file->size = size;
	return open_handle(w, file, handle);
}

static int op_ephemeral_list(void *world, int (*each)(void *, uint64_t, uint64_t, int), void *context)
{
	struct memory_world *w = world;
	int error = enter(w, MEMORY_LIST), handle;

	for (size_t i = 0; i < w->count && !error; i++) {
		struct mem_file *file = w->files[i];

		if (file->name.kind != 'e' || !file->linked)
			continue;
		error = open_handle(w, file, &handle);
		if (!error)
			error = each(context, file->name.id, file->size, handle);
	}
	return error;
}

static int op_ephemeral_retire(void *world, uint64_t id)
{
	struct memory_world *w = world;
	struct file_name name = {.kind = 'e', .id = id};
	struct mem_file *file = w->dead ? NULL : find(w, &name);

	if (!file)
		return ENOENT;
	for (int i = 0; i < HANDLES; i++)
		if (w->handles[i] == file) {
			w->handles[i] = NULL;
			file->opened--;
		}
	file->linked = false;
	sweep(w);
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
		uint64_t value = draw(&w->random);
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

static const struct ops table = {
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

/* ---- the world itself ---- */

struct memory_world *memory_world_create(uint64_t seed)
{
	struct memory_world *w = calloc(1, sizeof *w);

	assert(w);
	w->ops = table;
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
	for (size_t i = 0; i < w->count; i++)
		free_file(w->files[i]);
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
		to = add_file(w, &from->name);
		to->linked = from->linked;
		to->durable = from->durable;
		to->size = from->size;
		to->platter_size = from->platter_size;
		ensure(to, from->room);
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
	w->sync_pending = w->prepare_pending = w->seal_pending = w->finish_pending = w->lookup_pending = w->dead = w->killing = false;
	sweep(w);
}

void memory_world_daemon_end(struct memory_world *w)
{
	memory_world_die(w);
	for (size_t i = 0; i < w->count; i++)
		if (w->files[i]->name.kind == 'e')
			w->files[i]->linked = w->files[i]->durable = false;
	sweep(w);
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
			file->linked = draw(&state) % 16 < keep ? file->linked : file->durable;
		file->durable = file->linked;
		for (uint64_t sector = 0; sector < file->room / SECTOR; sector++)
			if (file->dirty[sector] && draw(&state) % 16 < keep)
				memcpy(file->platter + sector * SECTOR, file->cache + sector * SECTOR, SECTOR);
		if (file->size != file->platter_size && draw(&state) % 16 < keep)
			file->platter_size = file->size;
		file->size = file->platter_size;
		if (file->room) {
			memset(file->platter + file->size, 0, file->room - file->size);
			memcpy(file->cache, file->platter, file->room);
			memset(file->dirty, 0, file->room / SECTOR);
		}
	}
	sweep(w);
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
		job->error = op_sync(w, job->files[i]);
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
	*error = enter(w, MEMORY_PREPARE);
	if (*error)
		return;
	file = add_file(w, &name);
	if (!fits(w, file, w->prepare_size)) {
		file->linked = false;
		sweep(w);
		*error = ENOSPC;
		return;
	}
	ensure(file, w->prepare_size);
	file->size = w->prepare_size;
	sync_file(file, false);
	directory_durable(w);
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
	const struct mem_file *file = find(w, name);

	if (!file)
		return NULL;
	*size = file->size;
	return file->cache ? file->cache : &nothing;
}

void memory_world_damage(struct memory_world *w, const struct file_name *name, uint64_t offset, const void *bytes, uint64_t length)
{
	struct mem_file *file = find(w, name);

	assert(file && offset + length <= file->room);
	memcpy(file->cache + offset, bytes, length);
	memcpy(file->platter + offset, bytes, length);
}

void memory_world_unreadable(struct memory_world *w, const struct file_name *name, uint64_t offset, uint64_t length)
{
	struct mem_file *file = find(w, name);

	assert(file);
	file->bad = offset;
	file->bad_length = length;
}

void memory_world_put(struct memory_world *w, const struct file_name *name, const void *bytes, uint64_t size)
{
	struct mem_file *file = find(w, name);

	if (!file)
		file = add_file(w, name);
	file->durable = true;
	write_cache(file, bytes, size, 0);
	sync_file(file, false);
}

void memory_world_remove(struct memory_world *w, const struct file_name *name)
{
	struct mem_file *file = find(w, name);

	assert(file);
	file->linked = file->durable = false;
	sweep(w);
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
