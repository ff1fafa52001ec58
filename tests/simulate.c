/*
 * The crash-state enumerator (FAULTS.md §3). A run is a workload of its seed on a simulated machine. At every call that the engine makes to
 * the outside world the run forks: the child is the machine as it would be found if everything stopped right there, in one of several ways;
 * it recovers, reads everything back, goes on, and is judged by an oracle that knows every ack and every byte. Other runs have one of their
 * calls fail.
 *
 *     simulate [--states N] [--seed S] [--every K] [--failures N] [--case SEED:CALL:VARIANT | --case SEED:OP:NTH:STICKY[:CALL:VARIANT]] [--images FOLDER] [--verbose]
 *
 * Stops after N states (recoveries that were judged), or with the run in which so many had failed. --every: each call of a run fails in turn, once and for good, and of the crash points of these
 * runs one in K is looked at. Closes with the four figures of FAULTS.md; exits 1 unless all is well. Each failure
 * prints its case.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim_footers.h"
#include "tests/sim_image.h"
#include "tests/sim_machine.h"

enum { IMAGE_ONE_IN = 100, VARIANTS = 9, FAILURES_EACH = 4, FAILURES_SHOWN = 20, CHILD_SECONDS = 20 };

/* Shared by all forks. */
struct tally {
	uint64_t states, crash_points, runs;
	uint64_t seals, checkpoints;   /* of the runs themselves */
	uint64_t full_starts;          /* that found no space for the tail */
	uint64_t broken;               /* footers that a start had to do without */
	uint64_t figures[SIM_FIGURES];
	uint64_t failures;
};

struct simulation {
	struct tally *tally;
	uint64_t states_wanted;
	const char *images;            /* folder for one state in IMAGE_ONE_IN, NULL: none */
	bool verbose;
	uint64_t failures_wanted;
	unsigned every;                /* not 0: every call of each run fails, and one crash point in so many is looked at */
	/* the run in hand */
	uint64_t seed;
	struct sim_machine *machine;
	unsigned explore_one_in;       /* crash points that are looked at: all, or one in so many */
	bool has_case;
	uint64_t case_call;
	enum sim_crash worst;          /* the gravest end since everything was judged last */
	enum sim_crash gravest;        /* of the run */
	unsigned case_variant;
	char label[96];
	/* the second crash of a child */
	bool fault;
	bool second_armed;
	uint64_t second_at;
	jmp_buf second;
};

static void report(struct simulation *sim, const struct sim_oracle *oracle)
{
	if (sim_oracle_content(oracle))
		return;
	for (int i = 0; i < SIM_FIGURES; i++)
		sim->tally->figures[i] += oracle->found[i];
	if (sim->tally->failures++ < FAILURES_SHOWN || sim->verbose)
		fprintf(stderr, "failed: --case %s: %s\n", sim->label, oracle->first);
	if (sim->verbose)
		sim_oracle_print(oracle, stderr);
}

static bool enough(const struct simulation *sim)
{
	return sim->tally->states >= sim->states_wanted || sim->tally->failures >= sim->failures_wanted;
}

static void explore(void *context, const struct sim_call *call);

static void judged(struct simulation *sim, char **text)
{
	enum sim_crash crash = sim->worst;
	char *listing = NULL;

	sim->worst = CRASH_NONE;
	sim_machine_judge(sim->machine, crash, &listing);
	/* Only while nothing waits and writing works: what is written and not published, or written by a call that failed, is on the disk and in no catalogue. */
	if (sim->tally->states++ % IMAGE_ONE_IN == 0 && sim->images != NULL && engine_idle(sim->machine->engine) &&
	    atomic_load(&sim->machine->status->state) == LOGD_READY)
		sim_image_write(sim->images, sim->tally->states, sim->machine->files, listing);
	if (sim->verbose && (sim->machine->world.hook != explore || !sim_oracle_content(&sim->machine->oracle)))
		fprintf(stderr, "--- after %s\n%s", sim_crash_names[crash], listing);
	if (text != NULL)
		*text = listing;
	else
		free(listing);
}

/* ---- what happens after a crash ---- */

static enum sim_crash graver(enum sim_crash a, enum sim_crash b)
{
	return a > b ? a : b;
}

static void end(struct simulation *sim, enum sim_crash crash)
{
	/* What readers could see after the end before this one is judged before it goes. */
	if (sim->worst != CRASH_NONE && sim->machine->ready)
		judged(sim, NULL);
	sim->worst = graver(sim->worst, crash);
	sim->gravest = graver(sim->gravest, crash);
	if (sim->verbose)
		fprintf(stderr, "ends: %s\n", sim_crash_names[crash]);
	sim_machine_crash(sim->machine, crash, sim_random(&sim->machine->random));
}

/* Starts what died. A start that an injected failure ends is tried again without it. */
static bool restart(struct simulation *sim, enum sim_crash *crash)
{
	struct sim_machine *machine = sim->machine;
	unsigned gone = *crash == CRASH_LOGD_AND_WORKER ? (1u << machine->ring_count) - 1 : 0;
	/* One death by a fault at most: two of the same entry would rightly cost its worker the ring. */
	bool fault = *crash < CRASH_ALL && !sim->fault && sim_draw(&machine->random, 2) == 0;

	enum error error;

	sim->fault = sim->fault || fault;
	error = sim_machine_start(machine, *crash >= CRASH_ALL, fault, gone);
	sim->tally->full_starts += machine->full_starts;
	machine->full_starts = 0;
	if (error == ERR_OK)
		return true;
	if (!machine->world.failed)
		return false;
	machine->world.failure.op = SIM_BETWEEN;
	end(sim, CRASH_ALL);
	*crash = graver(*crash, CRASH_ALL);
	return sim_machine_start(machine, true, false, 0) == ERR_OK;
}

/* New writes and repeats of old ones: numbers go on, keys are known as long as their records are. */
static void write_more(struct simulation *sim, enum sim_crash crash)
{
	struct sim_machine *machine = sim->machine;
	struct sim_oracle *oracle = &machine->oracle;
	unsigned before = oracle->count;

	for (unsigned name = 0; name < SIM_NAMES; name++) {
		const struct sim_request *last = NULL;
		for (unsigned i = 0; i < before; i++)
			if (oracle->requests[i].name == name && oracle->requests[i].head.type == REQUEST_APPEND &&
			    oracle->requests[i].state == SIM_ANSWERED)
				last = &oracle->requests[i];
		if (last != NULL)
			sim_plan_append(oracle, name, last->ring, 1 + (uint32_t)sim_draw(&machine->random, 3), last->durability,
			                &machine->random);
		/* After a death of processes alone a repeat of what was acked is never done again. */
		if (last != NULL && (last->head.flags & REQUEST_HAS_KEY) && last->answer.status == ERR_OK && crash < CRASH_ALL)
			sim_plan_repeat(oracle, (unsigned)(last - oracle->requests));
	}
	for (int next; (next = sim_machine_next(machine)) != SIM_NO_REQUEST;) {
		if (!sim_machine_send(machine, (unsigned)next))
			break;
		sim_machine_settle(machine);
		if (!sim_oracle_content(oracle))
			return;
	}
}

/* The same state again, whoever starts on it. */
static void recover_again(struct simulation *sim, const char *before)
{
	struct sim_machine *machine = sim->machine;
	enum sim_crash crash = CRASH_LOGD;
	char *after = NULL;

	end(sim, crash);
	/* What footers say is what their frames say. */
	machine->footers_broken = sim_draw(&machine->random, 2) == 0;
	if (machine->footers_broken)
		sim->tally->broken += sim_footers_break(machine->files);
	if (!restart(sim, &crash))
		return;
	judged(sim, &after);
	if (crash == CRASH_LOGD && strcmp(before, after) != 0) {
		sim_wrong(&machine->oracle, FIGURE_OTHER, "recovery run again gives something else");
		if (sim->verbose)
			fprintf(stderr, "--- before\n%s--- after\n%s", before, after);
	}
	free(after);
}

static void second_hook(void *context, const struct sim_call *call)
{
	struct simulation *sim = context;

	(void)call;
	if (sim->second_armed && sim->second_at-- == 0) {
		sim->second_armed = false;
		longjmp(sim->second, 1);
	}
}

struct variant { enum sim_crash crash; bool torn, twice, again; };

static const struct variant variants[VARIANTS] = {
	{ CRASH_LOGD, false, false, true },
	{ CRASH_LOGD, true, true, false },
	{ CRASH_LOGD_AND_WORKER, true, false, false },
	{ CRASH_ALL, true, false, true },
	{ CRASH_ALL, false, true, false },
	{ CRASH_POWER, false, false, true },
	{ CRASH_POWER, true, false, false },
	{ CRASH_POWER, false, false, false },
	{ CRASH_POWER, true, true, false },
};

/* A start and what follows, up to some call. False when the start failed. */
static bool until_second_crash(struct simulation *sim, enum sim_crash crash)
{
	sim->second_at = sim_draw(&sim->machine->random, 24);
	sim->second_armed = true;
	if (setjmp(sim->second) == 0) {
		if (!restart(sim, &crash))
			return false;
		judged(sim, NULL);
		sim_machine_settle(sim->machine);
	}
	sim->second_armed = false;
	return true;
}

/* From the crash on. Runs in a child, which ends with it. */
static void aftermath(struct simulation *sim, const struct variant *variant, const struct sim_call *call)
{
	struct sim_machine *machine = sim->machine;
	/* A daemon whose logd was never ready has only begun to start. */
	enum sim_crash crash = machine->now == NULL ? graver(variant->crash, CRASH_ALL) : variant->crash;
	char *text = NULL;
	size_t done;

	machine->world.hook = second_hook;
	machine->world.hook_context = sim;
	if (call->op == SIM_PWRITE && variant->torn && call->length > SIM_WHOLE_WRITE)
		machine->world.base->pwrite(machine->world.base->world, call->file, call->bytes,
		                            1 + sim_draw(&machine->random, call->length), call->offset, &done);
	end(sim, crash);
	if (variant->twice) {
		if (!until_second_crash(sim, crash))
			return;
		crash = sim_draw(&machine->random, 2) == 0 ? CRASH_LOGD : variant->crash;
		if (machine->now == NULL)
			crash = graver(crash, CRASH_ALL);
		end(sim, crash);
	}
	if (!restart(sim, &crash))
		return;
	judged(sim, NULL);
	sim_machine_settle(machine);
	judged(sim, NULL);
	if (!sim_oracle_content(&machine->oracle))
		return;
	write_more(sim, sim->gravest);
	judged(sim, &text);
	if (variant->again && sim_oracle_content(&machine->oracle))
		recover_again(sim, text);
	free(text);
}

static void wait_for(struct simulation *sim, pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	sim->tally->figures[FIGURE_OTHER]++;
	if (sim->tally->failures++ < FAILURES_SHOWN)
		fprintf(stderr, "failed: --case %s: the engine died by signal %d%s\n", sim->label,
		        WIFSIGNALED(status) ? WTERMSIG(status) : 0,
		        WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? " (it does not come to an end)" : "");
}

static void explore(void *context, const struct sim_call *call)
{
	struct simulation *sim = context;
	uint64_t choice = sim->seed * 1000003 + call->number;

	if (sim->has_case ? call->number != sim->case_call : sim_random(&choice) % sim->explore_one_in != 0 || enough(sim))
		return;
	sim->tally->crash_points++;
	for (unsigned i = 0; i < VARIANTS; i++) {
		char label[sizeof sim->label];
		pid_t child;
		if (sim->has_case && i != sim->case_variant)
			continue;
		memcpy(label, sim->label, sizeof label);
		snprintf(sim->label + strlen(sim->label), sizeof sim->label - strlen(sim->label), ":%llu:%u",
		         (unsigned long long)call->number, i);
		fflush(NULL);
		child = fork();
		if (child == 0) {
			alarm(CHILD_SECONDS);
			sim->machine->random ^= 0x9e3779b97f4a7c15u * (call->number * VARIANTS + i + 1);
			if (sim->verbose)
				fprintf(stderr, "case %s: before %s, crash %s\n", sim->label, sim_op_names[call->op],
				        sim_crash_names[variants[i].crash]);
			aftermath(sim, &variants[i], call);
			report(sim, &sim->machine->oracle);
			_exit(0);
		}
		wait_for(sim, child);
		memcpy(sim->label, label, sizeof label);
	}
}

/* ---- a run ---- */

/* The workload from an empty directory to an orderly end and a new start. */
static void run(struct simulation *sim)
{
	struct sim_machine *machine = sim->machine;
	struct sim_oracle *oracle = &machine->oracle;
	enum sim_crash crash = CRASH_ALL;
	bool stopped;

	sim->worst = crash;
	if (!restart(sim, &crash))
		return;
	sim->worst = sim->gravest = CRASH_NONE;
	for (int i = 0; i < 6000 && (sim_machine_next(machine) != SIM_NO_REQUEST || sim_machine_waiting(machine)); i++)
		sim_machine_step(machine);
	sim_machine_settle(machine);
	judged(sim, NULL);
	if (!sim_oracle_content(oracle))
		return;
	stopped = !machine->world.failed && sim_machine_stop(machine) == ERR_OK;
	if (!stopped && !machine->world.failed)
		sim_wrong(oracle, FIGURE_OTHER, "the clean stop failed");
	/* The disk is well again, the processes are not asked. */
	machine->world.failure.op = SIM_BETWEEN;
	crash = !stopped && sim_draw(&machine->random, 2) == 0 ? CRASH_POWER : CRASH_ALL;
	end(sim, crash);
	if (stopped && sim_draw(&machine->random, 2) == 0) {
		/* After an orderly stop a power cut takes nothing more than the daemon's end does. */
		memory_world_power_cut_some(machine->files, sim_random(&machine->random), 0);
		machine->world.boot++;
	}
	if (restart(sim, &crash))
		judged(sim, NULL);
}

static void run_forked(struct simulation *sim, const struct sim_failure *failure, unsigned explore_one_in, uint64_t *seen)
{
	pid_t child;
	uint64_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	sim->tally->runs++;
	fflush(NULL);
	child = fork();
	if (child == 0) {
		struct sim_machine *machine = calloc(1, sizeof *machine);
		sim_machine_init(machine, sim->seed);
		sim_plan(&machine->oracle, sim->seed, machine->ring_count);
		sim->machine = machine;
		sim->explore_one_in = explore_one_in;
		if (failure != NULL) {
			machine->world.failure = *failure;
			machine->oracle.faults = true;
		}
		machine->world.hook = explore;
		machine->world.hook_context = sim;
		run(sim);
		report(sim, &machine->oracle);
		sim->tally->seals += machine->seals;
		sim->tally->checkpoints += machine->checkpoints;
		memcpy(shared, machine->world.seen, sizeof machine->world.seen);
		_exit(0);
	}
	wait_for(sim, child);
	if (seen != NULL)
		memcpy(seen, shared, SIM_OPS * sizeof *seen);
	munmap(shared, 4096);
}

static void label_failure(struct simulation *sim, const struct sim_failure *failure)
{
	snprintf(sim->label, sizeof sim->label, "%llu:%s:%llu:%d", (unsigned long long)sim->seed, sim_op_names[failure->op],
	         (unsigned long long)failure->nth,
	         failure->sticky);
}

/* All of it follows from what the label says. */
static struct sim_failure make_failure(uint64_t seed, enum sim_op op, uint64_t nth, bool sticky)
{
	uint64_t random = seed * 7919 + nth * 31 + (uint64_t)op;
	struct sim_failure failure = { .op = op, .nth = nth, .sticky = sticky };

	failure.error = sim_draw(&random, 3) == 0 && op != SIM_SYNC && op != SIM_OPEN && op != SIM_PREAD ? ENOSPC : EIO;
	failure.part = (size_t)sim_draw(&random, 2000);
	return failure;
}

/* The n-th call of each kind fails, once or from then on: some of them, or with --every all. */
static void run_failures(struct simulation *sim, const uint64_t *seen)
{
	static const enum sim_op ops[] = { SIM_PWRITE, SIM_SYNC, SIM_ALLOCATE, SIM_CREATE, SIM_OPEN, SIM_SYNC_DIR, SIM_UNLINK, SIM_PREAD, SIM_TRUNCATE };
	uint64_t random = sim->seed * 31 + 7;

	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
		uint64_t count = sim->every > 0 ? 2 * seen[ops[i]] : FAILURES_EACH;
		for (uint64_t k = 0; k < count && seen[ops[i]] > 0 && !enough(sim); k++) {
			uint64_t nth = sim->every > 0 ? k / 2 : sim_draw(&random, seen[ops[i]]);
			struct sim_failure failure = make_failure(sim->seed, ops[i], nth, k % 2 != 0);
			label_failure(sim, &failure);
			run_forked(sim, &failure, sim->every > 0 ? sim->every : sim_is_long(sim->seed) ? 60 : 12, NULL);
		}
	}
}

static uint64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void run_seed(struct simulation *sim, uint64_t seed)
{
	uint64_t seen[SIM_OPS];

	sim->seed = seed;
	snprintf(sim->label, sizeof sim->label, "%llu", (unsigned long long)seed);
	/* Every crash point of one seed in four, and a few of each of many. */
	run_forked(sim, NULL, sim_is_long(seed) ? 24 : seed % 4 == 1 ? 1 : 8, seen);
	run_failures(sim, seen);
}

/* SEED:CALL:VARIANT or SEED:OP:NTH:STICKY[:CALL:VARIANT]. */
static bool run_case(struct simulation *sim, const char *text)
{
	unsigned long long seed, call = 0, nth;
	char op[32];
	int sticky, fields;

	sim->verbose = sim->has_case = true;
	sim->case_call = UINT64_MAX;
	if (sscanf(text, "%llu:%llu:%u", &seed, &call, &sim->case_variant) == 3) {
		sim->seed = seed;
		sim->case_call = call;
		snprintf(sim->label, sizeof sim->label, "%llu", seed);
		run_forked(sim, NULL, 1, NULL);
		return true;
	}
	fields = sscanf(text, "%llu:%31[a-z_]:%llu:%d:%llu:%u", &seed, op, &nth, &sticky, &call, &sim->case_variant);
	if (fields == 1) {
		sim->seed = seed;
		snprintf(sim->label, sizeof sim->label, "%llu", seed);
		run_forked(sim, NULL, 1, NULL);
		return true;
	}
	if (fields != 4 && fields != 6)
		return false;
	sim->seed = seed;
	for (unsigned i = 0; i < SIM_OPS; i++) {
		if (strcmp(op, sim_op_names[i]) != 0)
			continue;
		struct sim_failure failure = make_failure(seed, (enum sim_op)i, nth, sticky != 0);
		if (fields == 6)
			sim->case_call = call;
		label_failure(sim, &failure);
		run_forked(sim, &failure, 1, NULL);
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct simulation sim = { .states_wanted = 60000, .failures_wanted = 1000 };
	uint64_t seed = 1, began = milliseconds();
	const char *only = NULL;
	const uint64_t *figures;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--states") == 0 && i + 1 < argc)
			sim.states_wanted = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--images") == 0 && i + 1 < argc)
			sim.images = argv[++i];
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--case") == 0 && i + 1 < argc)
			only = argv[++i];
		else if (strcmp(argv[i], "--failures") == 0 && i + 1 < argc)
			sim.failures_wanted = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--every") == 0 && i + 1 < argc)
			sim.every = (unsigned)strtoul(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--verbose") == 0)
			sim.verbose = true;
		else {
			fprintf(stderr, "usage: simulate [--states N] [--seed S] [--every K] [--failures N] [--case CASE] [--images FOLDER] [--verbose]\n");
			return 2;
		}
	}
	sim.tally = mmap(NULL, sizeof *sim.tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (only != NULL && !run_case(&sim, only)) {
		fprintf(stderr, "simulate: no case is called %s\n", only);
		return 2;
	}
	for (; only == NULL && !enough(&sim); seed++)
		run_seed(&sim, seed);
	figures = sim.tally->figures;
	printf("%llu crash states at %llu crash points of %llu runs in %.1f s\n", (unsigned long long)sim.tally->states,
	       (unsigned long long)sim.tally->crash_points, (unsigned long long)sim.tally->runs, (double)(milliseconds() - began) / 1000);
	printf("in the runs %llu files were sealed and %llu checkpoints finished beside the requests; %llu footers were broken; %llu starts found no space\n",
	       (unsigned long long)sim.tally->seals, (unsigned long long)sim.tally->checkpoints, (unsigned long long)sim.tally->broken,
	       (unsigned long long)sim.tally->full_starts);
	printf("figures: acked losses %llu, silent gaps %llu, reused seqs %llu, false tombstones %llu "
	       "(crash states: %llu, other failures: %llu)\n",
	       (unsigned long long)figures[FIGURE_ACKED_LOSS], (unsigned long long)figures[FIGURE_SILENT_GAP],
	    (unsigned long long)figures[FIGURE_REUSED_SEQ],
	       (unsigned long long)figures[FIGURE_FALSE_TOMBSTONE], (unsigned long long)sim.tally->states,
	    (unsigned long long)figures[FIGURE_OTHER]);
	return sim.tally->failures == 0 ? 0 : 1;
}
