#include "tests/sim_machine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/counters.h"
#include "tests/sim_footers.h"

enum { FULL_ONE_IN = 8 }; /* starts that find no space for what they have to write */

/* Private, so that a fork has its own. */
static void *fresh_object(size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert(map != MAP_FAILED);
	return map;
}

/* ---- what the engine says ---- */

static void on_wake(void *context, uint32_t slot)
{
	(void)context;
	(void)slot;
}

static void on_ring_broken(void *context, uint32_t slot, uint64_t incarnation)
{
	struct sim_machine *machine = context;

	(void)incarnation;
	sim_wrong(&machine->oracle, FIGURE_OTHER, "logd says that ring %u breaks the layout", slot);
}

static void on_ring_dropped(void *context, uint32_t slot, uint64_t incarnation)
{
	struct sim_machine *machine = context;

	(void)incarnation;
	machine->dropped[slot] = true;
}

static void on_file(void *context, uint64_t file_id, uint32_t kind)
{
	(void)context;
	(void)file_id;
	(void)kind;
}

/* From here on readers see the new catalogue. */
static void on_catalogue(void *context, uint64_t number, bool whole)
{
	struct sim_machine *machine = context;

	machine->whole = machine->whole || whole;
	catalogue_close(&machine->now);
	if (catalogue_open(&machine->now, machine->catalogue_fd) != ERR_OK || catalogue_number(machine->now) != number)
		sim_wrong(&machine->oracle, FIGURE_OTHER, "the current catalogue is not the one that was made");
	atomic_store(&machine->status->catalogue, number);
}

/* ---- life ---- */

void sim_machine_init(struct sim_machine *machine, uint64_t seed)
{
	uint64_t random = seed;

	memset(machine, 0, sizeof *machine);
	machine->files = memory_world_create(seed);
	sim_world_init(&machine->world, machine->files, sim_random(&random));
	sim_oracle_init(&machine->oracle, sim_random(&random));
	machine->status = fresh_object(sizeof *machine->status);
	machine->feed = fresh_object(sizeof *machine->feed);
	machine->catalogue_fd = -1;
	machine->random = sim_random(&random);
	machine->ring_count = 1 + (unsigned)sim_draw(&machine->random, SIM_RINGS);
	machine->settings = (struct settings){ .max_body_bytes = 1 << 20, .max_batch_records = 10000, .max_record_bytes = 1 << 20,
		.max_meta_bytes = 16384,
		.max_tag_bytes = 256, .max_node_bytes = 128, .sync_interval_ms = 200, .ephemeral_max_bytes = 1 << 24,
		.segment_max_bytes = (uint64_t)4096 << sim_draw(&machine->random, sim_is_long(seed) ? 2 : 5), .workers = SIM_RINGS };
	machine->checkpoint_bytes = (uint64_t)2048 << sim_draw(&machine->random, 5);
	for (unsigned i = 0; i < machine->ring_count; i++)
		sim_machine_worker(machine, i);
}

void sim_machine_worker(struct sim_machine *machine, unsigned ring)
{
	struct sim_ring *r = &machine->rings[ring];

	if (r->request != NULL) {
		munmap(r->request, RING_LARGE_OFFSET + SIM_LARGE_BYTES);
		munmap(r->completion, completion_object_size());
		ring_producer_destroy(&r->producer);
		completion_reader_destroy(&r->reader);
	} else {
		r->counters = fresh_object(sizeof *r->counters);
	}
	r->request = fresh_object(RING_LARGE_OFFSET + SIM_LARGE_BYTES);
	r->completion = fresh_object(completion_object_size());
	r->incarnation = sim_random(&machine->random) | 1;
	assert(ring_producer_create(&r->producer, r->request, SIM_LARGE_BYTES, (struct ring_release *)r->completion) == ERR_OK);
	assert(completion_reader_create(&r->reader, r->completion, &((struct ring_shared *)r->request)->completions_read) == ERR_OK);
}

static enum error add_rings(struct sim_machine *machine, unsigned gone)
{
	enum error error = ERR_OK;

	for (unsigned i = 0; i < machine->ring_count && error == ERR_OK; i++) {
		struct sim_ring *ring = &machine->rings[i];
		error = engine_ring_add(machine->engine, i, ring->incarnation, ring->request, SIM_LARGE_BYTES, ring->completion,
		                        ring->counters);
		if (error == ERR_OK && (gone & 1u << i))
			engine_ring_gone(machine->engine, i, ring->incarnation);
	}
	return error;
}

/* Rings of dead workers are replaced once logd has let them go. */
static enum error replace_gone(struct sim_machine *machine, unsigned gone)
{
	enum error error = ERR_OK;

	for (unsigned i = 0; i < machine->ring_count && error == ERR_OK; i++) {
		struct sim_ring *ring = &machine->rings[i];
		if (!(gone & 1u << i))
			continue;
		if (!machine->dropped[i])
			sim_wrong(&machine->oracle, FIGURE_OTHER, "the ring of a dead worker is not let go");
		sim_machine_worker(machine, i);
		error = engine_ring_add(machine->engine, i, ring->incarnation, ring->request, SIM_LARGE_BYTES, ring->completion,
		                        ring->counters);
	}
	return error;
}

/* The start found no space. What is shown must be on the platter already; what asks meanwhile is refused or waits; then there is space. */
static enum error wait_for_space(struct sim_machine *machine, unsigned gone)
{
	machine->full_starts++;
	if (catalogue_partial(machine->now)) {
		struct memory_world *cut = memory_world_clone(machine->files);
		memory_world_power_cut_some(cut, 1, 0);
		sim_oracle_judge_partial(&machine->oracle, machine->now, machine->world.base, memory_world_ops(cut));
		memory_world_destroy(&cut);
	}
	for (unsigned i = 0, space_at = 1 + (unsigned)sim_draw(&machine->random, 6); atomic_load(&machine->status->state) == LOGD_FULL; i++) {
		if (i == space_at) {
			memory_world_no_faults(machine->files);
			if (machine->world.failure.error == ENOSPC)
				machine->world.failure.op = SIM_BETWEEN;
		}
		if (i == 100) {
			sim_wrong(&machine->oracle, FIGURE_OTHER, "there is space, and the start does not go on");
			break;
		}
		engine_round(machine->engine);
		if (gone == 0)
			sim_machine_receive(machine); /* the dead read nothing */
		machine->world.monotonic_us += 500000;
		engine_tick(machine->engine);
		sim_world_between(&machine->world);
	}
	return engine_start_failed(machine->engine) ? ERR_IO : ERR_OK;
}

enum error sim_machine_start(struct sim_machine *machine, bool daemon_start, bool fault_death, unsigned gone)
{
	struct engine_options options = { .settings = &machine->settings, .ops = &machine->world.ops, .feed = machine->feed,
		.status = machine->status,
		.checkpoint_bytes = machine->checkpoint_bytes, .daemon_start = daemon_start || !machine->whole, .fault_death = fault_death, .old_catalogue = machine->now,
		.host = { machine, on_wake, on_ring_broken, on_ring_dropped, on_file, on_file, on_catalogue } };
	struct catalogue_writer *writer;
	char message[256] = "";
	enum error error;

	machine->ready = false;
	memory_world_no_faults(machine->files);
	if (sim_draw(&machine->random, FULL_ONE_IN) == 0)
		memory_world_fail(machine->files, MEMORY_PWRITE, sim_draw(&machine->random, 3), ENOSPC, true);
	memset(machine->dropped, 0, sizeof machine->dropped);
	if (machine->catalogue_fd >= 0)
		close(machine->catalogue_fd);
	machine->catalogue_fd = memfd_create("catalogue", MFD_CLOEXEC);
	assert(machine->catalogue_fd >= 0 && ftruncate(machine->catalogue_fd, (off_t)CATALOGUE_SIZE) == 0);
	assert(catalogue_writer_create(&writer, machine->catalogue_fd, ++machine->catalogue_number) == ERR_OK);
	options.catalogue = writer;
	assert(engine_create(&machine->engine, &options) == ERR_OK);
	error = add_rings(machine, gone);
	if (error == ERR_OK)
		error = engine_recover(machine->engine, message, sizeof message);
	if (error != ERR_OK) {
		if (!machine->world.failed)
			sim_wrong(&machine->oracle, FIGURE_OTHER, "recovery says %s: %s", error_text(error), message);
		return error;
	}
	if (atomic_load(&machine->status->state) == LOGD_FULL && (error = wait_for_space(machine, gone)) != ERR_OK)
		return error;
	memory_world_no_faults(machine->files);
	if (atomic_load(&machine->status->catalogue) != machine->catalogue_number)
		sim_wrong(&machine->oracle, FIGURE_OTHER, "recovered, and no catalogue is current");
	machine->ready = true;
	/* A death right here: everything is recovered and nobody has been answered. */
	sim_world_between(&machine->world);
	if (gone != 0) {
		for (int i = 0; i < 10; i++)
			engine_round(machine->engine);
		error = replace_gone(machine, gone);
	}
	return error;
}

void sim_machine_crash(struct sim_machine *machine, enum sim_crash crash, uint64_t seed)
{
	if (machine->now != NULL)
		sim_oracle_look(&machine->oracle, machine->now);
	sim_world_logd_died(&machine->world);
	machine->engine = NULL;
	if (crash >= CRASH_LOGD_AND_WORKER)
		for (unsigned i = 0; i < machine->ring_count; i++)
			sim_oracle_orphan(&machine->oracle, i);
	if (crash < CRASH_ALL)
		return;
	for (unsigned i = 0; i < machine->ring_count; i++)
		sim_machine_worker(machine, i);
	/* The daemon's end takes its memory objects along. */
	memory_world_daemon_end(machine->files);
	catalogue_close(&machine->now);
	machine->whole = false;
	memset(machine->status, 0, sizeof *machine->status);
	memset(machine->feed, 0, sizeof *machine->feed);
	if (crash == CRASH_POWER) {
		/* Some cuts spare next to all, some next to nothing. */
		static const unsigned keep[] = { 0, 1, 4, 8, 8, 12, 15, 16 };
		memory_world_power_cut_some(machine->files, seed, keep[seed % 8]);
		machine->world.boot++;
		machine->world.monotonic_us = 1000;
	}
}

/* ---- the workers ---- */

bool sim_machine_send(struct sim_machine *machine, unsigned index)
{
	struct sim_request *request = &machine->oracle.requests[index];
	struct sim_ring *ring = &machine->rings[request->ring];
	uint64_t parts = request_size(&request->head) - sizeof request->head;
	bool large = parts > 8000;
	struct request head = request->head;
	uint8_t *area = NULL, *entry;
	size_t size;

	if (large) {
		if ((area = ring_reserve_large(ring->producer, &size)) == NULL)
			return false;
		head.flags |= REQUEST_LARGE;
	}
	head.length = (uint32_t)(sizeof head + (large ? 0 : parts));
	entry = ring_reserve(ring->producer, head.length);
	if (entry == NULL)
		return false;
	memcpy(entry, &head, sizeof head);
	memcpy(large ? area : entry + sizeof head, request->bytes, parts);
	ring_publish(ring->producer, head.length, large);
	request->state = SIM_SENT;
	return true;
}

void sim_machine_receive(struct sim_machine *machine)
{
	for (unsigned i = 0; i < machine->ring_count; i++) {
		struct completion_reader *reader = machine->rings[i].reader;
		struct completion completion;
		const uint8_t *body;
		while (completion_next(reader, &completion, &body) == ERR_OK)
			if (!(completion.flags & COMPLETION_MORE))
				sim_oracle_answer(&machine->oracle, i, &completion, machine->now);
		completion_done(reader);
	}
}

bool sim_machine_waiting(const struct sim_machine *machine)
{
	for (unsigned i = 0; i < machine->oracle.count; i++)
		if (machine->oracle.requests[i].state == SIM_SENT)
			return true;
	return false;
}

int sim_machine_next(const struct sim_machine *machine)
{
	unsigned held = 0;

	for (unsigned i = 0; i < machine->oracle.count; i++) {
		const struct sim_request *request = &machine->oracle.requests[i];
		unsigned bit = 1u << request->name;
		bool waits = request->state == SIM_SENT;
		/* In order within a name, and nothing overtakes a change of its topic. */
		if (request->state == SIM_PLANNED) {
			bool behind = false;
			for (unsigned k = 0; request->barrier && k < i; k++)
				behind = behind ||
				    (machine->oracle.requests[k].name == request->name && machine->oracle.requests[k].state == SIM_SENT);
			if (!(held & bit) && !behind)
				return (int)i;
			held |= bit;
		} else if (waits && request->barrier) {
			held |= bit;
		}
	}
	return SIM_NO_REQUEST;
}

/* ---- the schedule ---- */

static void end_sync(struct sim_machine *machine)
{
	sim_world_do_sync(&machine->world);
	engine_sync_done(machine->engine, &machine->world.sync);
}

static void end_prepare(struct sim_machine *machine)
{
	uint64_t id = machine->world.prepare_id;
	int error = sim_world_do_prepare(&machine->world);

	engine_prepared(machine->engine, id, error);
}

static void end_seal(struct sim_machine *machine)
{
	sim_world_do_seal(&machine->world);
	machine->seals += machine->world.seal.result == ERR_OK;
	engine_sealed(machine->engine, &machine->world.seal);
}

static void end_lookup(struct sim_machine *machine)
{
	sim_world_do_lookup(&machine->world);
	machine->lookups += machine->world.lookup.result == ERR_OK;
	engine_looked_up(machine->engine, &machine->world.lookup);
}

static void end_finish(struct sim_machine *machine)
{
	sim_world_do_finish(&machine->world);
	machine->checkpoints += machine->world.finish.result == ERR_OK;
	engine_checkpoint_finished(machine->engine, &machine->world.finish);
}

static bool jobs_pending(const struct sim_machine *machine)
{
	const struct sim_world *world = &machine->world;

	return world->sync_pending || world->prepare_pending || world->seal_pending || world->finish_pending || world->lookup_pending;
}

/* One of those that are under way, if any is. */
static void finish_job(struct sim_machine *machine)
{
	struct sim_world *world = &machine->world;
	void (*ends[5])(struct sim_machine *);
	unsigned count = 0;

	if (world->sync_pending)
		ends[count++] = end_sync;
	if (world->prepare_pending)
		ends[count++] = end_prepare;
	if (world->seal_pending)
		ends[count++] = end_seal;
	if (world->finish_pending)
		ends[count++] = end_finish;
	if (world->lookup_pending)
		ends[count++] = end_lookup;
	if (count > 0)
		ends[sim_draw(&machine->random, count)](machine);
}

static void pass_time(struct sim_machine *machine, uint64_t most_us)
{
	uint64_t wanted = engine_tick(machine->engine);
	uint64_t us = wanted < most_us ? wanted : sim_draw(&machine->random, most_us);

	machine->world.monotonic_us += us;
	machine->world.wall_ms += (int64_t)(us / 1000);
	if (sim_draw(&machine->random, 30) == 0)
		machine->world.wall_ms -= 5000;
}

void sim_machine_step(struct sim_machine *machine)
{
	int next;

	switch (sim_draw(&machine->random, 10)) {
	case 0:
	case 1:
	case 2:
		next = sim_machine_next(machine);
		if (next != SIM_NO_REQUEST)
			(void)sim_machine_send(machine, (unsigned)next);
		break;
	case 3:
	case 4:
		finish_job(machine);
		break;
	case 5:
		/* What a loop does after its rounds; what is done in slices goes on at once. */
		pass_time(machine, 300000);
		break;
	case 6:
		sim_machine_receive(machine);
		break;
	default:
		engine_round(machine->engine);
	}
	sim_world_between(&machine->world);
}

static void run_rounds(struct sim_machine *machine)
{
	for (int i = 0; i < 100 && engine_round(machine->engine); i++)
		continue;
	sim_machine_receive(machine);
}

static void tell_stuck(struct sim_machine *machine)
{
	char text[300] = "";

	for (unsigned i = 0; i < machine->oracle.count && strlen(text) < 200; i++) {
		const struct sim_request *request = &machine->oracle.requests[i];
		if (request->state == SIM_SENT)
			snprintf(text + strlen(text), 80, " %u (type %u, %s, class %d)", i + 1, request->head.type,
			         sim_names[request->name], request->durability);
	}
	sim_wrong(&machine->oracle, FIGURE_OTHER, "nothing moves; unanswered:%s; sync %s, preparation %s, sealing %s, checkpoint %s", text,
	          machine->world.sync_pending ? "pending" : "none", machine->world.prepare_pending ? "pending" : "none",
	          machine->world.seal_pending ? "pending" : "none", machine->world.finish_pending ? "pending" : "none");
}

void sim_machine_settle(struct sim_machine *machine)
{
	for (unsigned i = 0, quiet = 0; quiet < 3; i++) {
		if (i == 2000) {
			tell_stuck(machine);
			return;
		}
		run_rounds(machine);
		finish_job(machine);
		run_rounds(machine);
		pass_time(machine, 100000);
		if (sim_machine_waiting(machine) || jobs_pending(machine))
			quiet = 0;
		else
			quiet++;
	}
}

enum error sim_machine_stop(struct sim_machine *machine)
{
	enum error error;

	for (int i = 0; i < 1000 && !engine_idle(machine->engine); i++) {
		engine_round(machine->engine);
		finish_job(machine);
	}
	sim_machine_receive(machine);
	/* Jobs in flight end before the process does. */
	while (jobs_pending(machine))
		finish_job(machine);
	error = engine_stop(machine->engine);
	sim_machine_receive(machine);
	return error;
}

void sim_machine_judge(struct sim_machine *machine, enum sim_crash crash, char **text)
{
	sim_oracle_judge(&machine->oracle, machine->now, machine->world.base, crash, text);
	if (!machine->footers_broken)
		sim_footers_judge(&machine->oracle, machine->files);
}
