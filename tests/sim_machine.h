/* One machine in one process: files, shared memory, logd's engine, and workers that the oracle plays. */
#ifndef TOPICS_TESTS_SIM_MACHINE_H
#define TOPICS_TESTS_SIM_MACHINE_H

#include "common/feed.h"
#include "common/status.h"
#include "logd/engine.h"
#include "tests/memory_world.h"
#include "tests/sim_oracle.h"
#include "tests/sim_world.h"

enum { SIM_RINGS = 2, SIM_LARGE_BYTES = 1 << 20 };

struct sim_ring {
	void *request;
	uint8_t *completion;
	struct counters *counters;
	uint64_t incarnation;
	struct ring_producer *producer;
	struct completion_reader *reader;
};

struct sim_machine {
	struct memory_world *files;
	struct sim_world world;
	struct sim_oracle oracle;
	struct settings settings;
	struct status *status;
	struct feed_shared *feed;
	struct sim_ring rings[SIM_RINGS];
	unsigned ring_count;
	struct engine *engine;
	struct catalogue *now;       /* what readers see */
	int catalogue_fd;            /* of the engine's */
	uint64_t catalogue_number;
	bool ready;                  /* recovered */
	bool whole;                  /* a logd of this daemon has recovered the log whole */
	unsigned full_starts;        /* that found no space for the tail */
	bool dropped[SIM_RINGS];
	uint64_t checkpoint_bytes;   /* of log between two checkpoints */
	bool footers_broken;         /* by the enumerator: what entries say of them is no longer so */
	unsigned seals, checkpoints; /* that went well */
	unsigned lookups;            /* repeats found in sealed files */
	uint64_t random;
};

void sim_machine_init(struct sim_machine *machine, uint64_t seed);

/* Starts logd: engine, recovery. `gone`: bits of rings whose workers died with the logd before: the new one hears of them only to drop
 * them. */
enum error sim_machine_start(struct sim_machine *machine, bool daemon_start, bool fault_death, unsigned gone);

/* Everything of this kind stops right now; what the oracle has to know of it, it learns. The engine's memory is forgotten, not freed. */
void sim_machine_crash(struct sim_machine *machine, enum sim_crash crash, uint64_t seed);

/* A worker's new life in this ring. */
void sim_machine_worker(struct sim_machine *machine, unsigned ring);

bool sim_machine_send(struct sim_machine *machine, unsigned request);
void sim_machine_receive(struct sim_machine *machine);

/* One step of the schedule, as chance has it: a request, a round, the end of a job, time. */
void sim_machine_step(struct sim_machine *machine);
/* The next request that may be sent, or SIM_NO_REQUEST. */
int sim_machine_next(const struct sim_machine *machine);
bool sim_machine_waiting(const struct sim_machine *machine);
/* Goes on until everything that was sent is answered and no job is under way. */
void sim_machine_settle(struct sim_machine *machine);
/* An orderly end of the daemon. */
enum error sim_machine_stop(struct sim_machine *machine);

void sim_machine_judge(struct sim_machine *machine, enum sim_crash crash, char **text);

#endif
