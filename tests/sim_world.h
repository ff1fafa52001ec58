/*
 * What lies between the engine and the simulated world in the crash-state enumerator: every call is counted, may be told to fail, and first
 * gives the enumerator the chance to look at what would be found if everything stopped right here. Clocks, randomness and the boot token
 * are the run's own; syncs and preparations of files end when the schedule says so.
 */
#ifndef TOPICS_TESTS_SIM_WORLD_H
#define TOPICS_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ops.h"
#include "tests/memory_world.h"

/* A write of a sector at most is whole or not there (docs/format.md §2 relies on it for file headers). */
enum { SIM_WHOLE_WRITE = 512 };

enum sim_op {
	SIM_BETWEEN,      /* no call: between two steps of the schedule */
	SIM_OPEN,
	SIM_CREATE,
	SIM_ALLOCATE,
	SIM_PWRITE,
	SIM_TRUNCATE,
	SIM_UNLINK,
	SIM_SYNC_DIR,
	SIM_SYNC,
	SIM_EPHEMERAL_CREATE,
	SIM_EPHEMERAL_RETIRE,
	SIM_FAILPOINT,
	SIM_PREAD,        /* may fail, but nothing is looked at before it: a read leaves the world as it was */
	SIM_OPS
};
extern const char *const sim_op_names[SIM_OPS];

struct sim_call {
	enum sim_op op;
	uint64_t number;         /* of this call since the run began */
	int file;                /* pwrite, ephemeral or not */
	const void *bytes;
	size_t length;
	uint64_t offset;
};

/* One failure: the `nth` call of `op` (from 0) gives `error`; sticky: and all after it. A pwrite writes `part` bytes first. */
struct sim_failure {
	enum sim_op op;          /* SIM_BETWEEN: none */
	uint64_t nth;
	int error;
	size_t part;
	bool sticky;
};

struct sim_world {
	struct memory_world *files; /* not owned */
	const struct ops *base;  /* its table */
	struct ops ops;          /* what the engine gets */
	uint64_t random;
	uint64_t calls;
	uint64_t seen[SIM_OPS];
	struct sim_failure failure;
	bool failed;             /* the failure has happened */
	void (*hook)(void *context, const struct sim_call *call);
	void *hook_context;
	uint64_t monotonic_us;
	int64_t wall_ms;
	uint64_t boot;
	bool sync_pending, prepare_pending, seal_pending, finish_pending, lookup_pending;
	struct sync_job sync;
	struct seal_job seal;
	struct lookup_job lookup;
	struct finish_job finish;
	uint64_t prepare_id, prepare_size;
};

void sim_world_init(struct sim_world *world, struct memory_world *files, uint64_t seed);

/* A call of the schedule itself. */
void sim_world_between(struct sim_world *world);

/* Does the pending sync or preparation; then its end may be told to the engine. */
void sim_world_do_sync(struct sim_world *world);
int sim_world_do_prepare(struct sim_world *world);
/* In the same way, job by job; world->seal and world->finish have the outcome. */
void sim_world_do_seal(struct sim_world *world);
void sim_world_do_lookup(struct sim_world *world);
void sim_world_do_finish(struct sim_world *world);

/* logd is gone: its descriptors are closed, its jobs forgotten. */
void sim_world_logd_died(struct sim_world *world);

uint64_t sim_random(uint64_t *state);
/* 0 .. below - 1 */
uint64_t sim_draw(uint64_t *state, uint64_t below);

#endif
