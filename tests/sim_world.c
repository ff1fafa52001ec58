#include "tests/sim_world.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "logd/checkpoint_finish.h"
#include "logd/key_lookup.h"
#include "logd/seal.h"

const char *const sim_op_names[SIM_OPS] = { "between", "open", "create", "allocate", "pwrite", "truncate", "unlink", "sync_dir", "sync",
	"ephemeral_create",
	"ephemeral_retire", "failpoint", "pread" };

uint64_t sim_random(uint64_t *state)
{
	/* splitmix64: any seed is as good as another. */
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t sim_draw(uint64_t *state, uint64_t below)
{
	return sim_random(state) % below;
}

static bool fails(struct sim_world *world, enum sim_op op, uint64_t nth)
{
	const struct sim_failure *failure = &world->failure;
	bool now = op != SIM_BETWEEN && failure->op == op && (nth == failure->nth || (failure->sticky && nth > failure->nth));

	world->failed = world->failed || now;
	return now;
}

/* Counts the call, lets the enumerator look, and says whether it has to fail. */
static int enter(struct sim_world *world, enum sim_op op, const struct sim_call *more)
{
	struct sim_call call = { .op = op, .file = -1 };
	uint64_t nth = world->seen[op]++;

	if (more != NULL)
		call = *more;
	call.op = op;
	call.number = world->calls++;
	if (world->hook != NULL)
		world->hook(world->hook_context, &call);
	return fails(world, op, nth) ? world->failure.error : 0;
}

void sim_world_between(struct sim_world *world)
{
	enter(world, SIM_BETWEEN, NULL);
}

static int world_list(void *context, int (*each)(void *, const struct file_name *, uint64_t), void *each_context)
{
	struct sim_world *world = context;

	return world->base->list(world->base->world, each, each_context);
}

static int world_open(void *context, const struct file_name *name, int *file)
{
	struct sim_world *world = context;
	int error = enter(world, SIM_OPEN, NULL);

	return error != 0 ? error : world->base->open(world->base->world, name, file);
}

static int world_create(void *context, const struct file_name *name, int *file)
{
	struct sim_world *world = context;
	int error = enter(world, SIM_CREATE, NULL);

	return error != 0 ? error : world->base->create(world->base->world, name, file);
}

static int world_close(void *context, int file)
{
	struct sim_world *world = context;

	return world->base->close(world->base->world, file);
}

static int world_size(void *context, int file, uint64_t *size)
{
	struct sim_world *world = context;

	return world->base->size(world->base->world, file, size);
}

static int world_data(void *context, int file, uint64_t offset, uint64_t *at)
{
	struct sim_world *world = context;

	return world->base->data(world->base->world, file, offset, at);
}

static int world_allocate(void *context, int file, uint64_t size)
{
	struct sim_world *world = context;
	int error = enter(world, SIM_ALLOCATE, &(struct sim_call){ .file = file, .length = size });

	return error != 0 ? error : world->base->allocate(world->base->world, file, size);
}

static int world_pwrite(void *context, int file, const void *bytes, size_t length, uint64_t offset, size_t *done)
{
	struct sim_world *world = context;
	int error = enter(world, SIM_PWRITE, &(struct sim_call){ .file = file, .bytes = bytes, .length = length, .offset = offset });

	if (error != 0) {
		size_t part = world->failure.part < length ? world->failure.part : length / 2;
		if (length > SIM_WHOLE_WRITE && part > 0)
			(void)world->base->pwrite(world->base->world, file, bytes, part, offset, done);
		*done = 0;
		return error;
	}
	/* Short writes are no failure, and the caller has to go on. */
	if (length > SIM_WHOLE_WRITE && sim_draw(&world->random, 16) == 0)
		length = 1 + sim_draw(&world->random, length - 1);
	return world->base->pwrite(world->base->world, file, bytes, length, offset, done);
}

static int world_pread(void *context, int file, void *bytes, size_t length, uint64_t offset, size_t *done)
{
	struct sim_world *world = context;
	uint64_t nth = world->seen[SIM_PREAD]++;

	*done = 0;
	if (fails(world, SIM_PREAD, nth))
		return world->failure.error;
	return world->base->pread(world->base->world, file, bytes, length, offset, done);
}

static int world_truncate(void *context, int file, uint64_t size)
{
	struct sim_world *world = context;
	int error = enter(world, SIM_TRUNCATE, &(struct sim_call){ .file = file, .length = size });

	return error != 0 ? error : world->base->truncate(world->base->world, file, size);
}

static int world_unlink(void *context, const struct file_name *name)
{
	struct sim_world *world = context;
	int error = enter(world, SIM_UNLINK, NULL);

	return error != 0 ? error : world->base->unlink(world->base->world, name);
}

static int world_sync_dir(void *context)
{
	struct sim_world *world = context;
	int error = enter(world, SIM_SYNC_DIR, NULL);

	return error != 0 ? error : world->base->sync_dir(world->base->world);
}

static int world_sync(void *context, int file)
{
	struct sim_world *world = context;
	int error = enter(world, SIM_SYNC, &(struct sim_call){ .file = file });

	/* The world must know of the failure: its sectors count as clean afterwards and are not. */
	if (error != 0)
		memory_world_fail(world->files, MEMORY_SYNC, 0, error, false);
	return world->base->sync(world->base->world, file);
}

static int world_sync_start(void *context, const struct sync_job *job)
{
	struct sim_world *world = context;

	assert(!world->sync_pending);
	world->sync = *job;
	world->sync_pending = true;
	return 0;
}

void sim_world_do_sync(struct sim_world *world)
{
	world->sync.error = 0;
	world->sync.took_us = 100 + sim_draw(&world->random, 1000);
	for (unsigned i = 0; i < world->sync.count && world->sync.error == 0; i++)
		world->sync.error = world_sync(world, world->sync.files[i]);
	world->sync_pending = false;
}

static int world_prepare_start(void *context, uint64_t id, uint64_t size)
{
	struct sim_world *world = context;

	assert(!world->prepare_pending);
	world->prepare_pending = true;
	world->prepare_id = id;
	world->prepare_size = size;
	return 0;
}

int sim_world_do_prepare(struct sim_world *world)
{
	struct file_name name = { .kind = 'w', .id = world->prepare_id };
	int file, error;

	world->prepare_pending = false;
	if ((error = world_create(world, &name, &file)) != 0)
		return error;
	error = world_allocate(world, file, world->prepare_size);
	if (error == 0)
		error = world_sync(world, file);
	world_close(world, file);
	if (error == 0)
		error = world_sync_dir(world);
	if (error != 0)
		(void)world_unlink(world, &name);
	return error;
}

static int world_seal_start(void *context, const struct seal_job *job)
{
	struct sim_world *world = context;

	assert(!world->seal_pending);
	world->seal = *job;
	world->seal_pending = true;
	return 0;
}

void sim_world_do_seal(struct sim_world *world)
{
	world->seal_pending = false;
	seal_file(&world->ops, &world->seal);
}

static int world_lookup_start(void *context, const struct lookup_job *job)
{
	struct sim_world *world = context;

	if (world->lookup_pending)
		return EBUSY;
	world->lookup = *job;
	world->lookup_pending = true;
	return 0;
}

void sim_world_do_lookup(struct sim_world *world)
{
	struct lookup_job job = world->lookup;

	world->lookup_pending = false;
	world->lookup.files = NULL;
	key_lookup(&world->ops, &job);
	world->lookup = job;
}

static int world_finish_start(void *context, const struct finish_job *job)
{
	struct sim_world *world = context;

	assert(!world->finish_pending);
	world->finish = *job;
	world->finish_pending = true;
	return 0;
}

void sim_world_do_finish(struct sim_world *world)
{
	world->finish_pending = false;
	checkpoint_finish(&world->ops, &world->finish);
}

static int world_ephemeral_create(void *context, uint64_t id, uint64_t size, int *file)
{
	struct sim_world *world = context;
	int error = enter(world, SIM_EPHEMERAL_CREATE, NULL);

	return error != 0 ? error : world->base->ephemeral_create(world->base->world, id, size, file);
}

static int world_ephemeral_list(void *context, int (*each)(void *, uint64_t, uint64_t, int), void *each_context)
{
	struct sim_world *world = context;

	return world->base->ephemeral_list(world->base->world, each, each_context);
}

static int world_ephemeral_retire(void *context, uint64_t id)
{
	struct sim_world *world = context;
	int error = enter(world, SIM_EPHEMERAL_RETIRE, NULL);

	return error != 0 ? error : world->base->ephemeral_retire(world->base->world, id);
}

static int64_t world_wall_ms(void *context)
{
	return ((struct sim_world *)context)->wall_ms;
}

static uint64_t world_monotonic_us(void *context)
{
	struct sim_world *world = context;

	return world->monotonic_us += 1 + sim_draw(&world->random, 5);
}

static int world_boot_token(void *context, struct boot_token *token)
{
	const struct sim_world *world = context;

	memset(token, 0, sizeof *token);
	memcpy(token->boot_id, &world->boot, sizeof world->boot);
	token->device = 1;
	token->inode = 2;
	token->superblock = 3;
	return 0;
}

static void world_random(void *context, void *bytes, size_t length)
{
	struct sim_world *world = context;

	for (size_t i = 0; i < length; i++)
		((uint8_t *)bytes)[i] = (uint8_t)sim_random(&world->random);
}

static void world_failpoint(void *context, const char *name)
{
	(void)name;
	enter(context, SIM_FAILPOINT, NULL);
}

void sim_world_init(struct sim_world *world, struct memory_world *files, uint64_t seed)
{
	memset(world, 0, sizeof *world);
	world->files = files;
	world->base = memory_world_ops(files);
	world->random = seed;
	world->monotonic_us = 1000000;
	world->wall_ms = 1700000000000;
	world->boot = 1;
	world->ops = (struct ops){ .world = world, .list = world_list, .open = world_open, .create = world_create, .close = world_close,
		.size = world_size, .data = world_data,
		.allocate = world_allocate, .pwrite = world_pwrite, .pread = world_pread, .truncate = world_truncate, .unlink = world_unlink,
		    .sync_dir = world_sync_dir, .sync = world_sync,
		.sync_start = world_sync_start, .prepare_start = world_prepare_start, .seal_start = world_seal_start, .lookup_start = world_lookup_start,
		.finish_start = world_finish_start, .ephemeral_create = world_ephemeral_create,
		.ephemeral_list = world_ephemeral_list, .ephemeral_retire = world_ephemeral_retire, .wall_ms = world_wall_ms,
		.monotonic_us = world_monotonic_us, .boot_token = world_boot_token, .random = world_random, .failpoint = world_failpoint };
}

void sim_world_logd_died(struct sim_world *world)
{
	world->sync_pending = false;
	world->prepare_pending = false;
	world->seal_pending = false;
	world->finish_pending = false;
	if (world->lookup_pending)
		free(world->lookup.files);
	world->lookup_pending = false;
	memory_world_die(world->files);
}
