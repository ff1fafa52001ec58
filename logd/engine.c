/* The engine's life: rings, rounds, what is due by the clock. */
#include "logd/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "logd/engine_internal.h"

enum { RINGS = sizeof((struct engine){ 0 }.rings) / sizeof(struct ring), SWEEP_BUCKETS = 512, KEYS_SWEEP_US = 100000, CLOSE_AT_MOST = 256, FEW = 4 };

/* Of log between two checkpoints: four files of the usual size, less where files are small. */
static uint64_t checkpoint_bytes(const struct engine *engine)
{
	uint64_t files = CHECKPOINT_FILES * engine->settings->segment_max_bytes;
	if (engine->options.checkpoint_bytes != 0)
		return engine->options.checkpoint_bytes;
	return files < CHECKPOINT_BYTES ? files : CHECKPOINT_BYTES;
}

static enum error create_logs(struct engine *engine)
{
	const struct log_events disk_events = file_events(engine, false), ephemeral_events = file_events(engine, true);
	const struct log_options disk = { .kind = 'w', .file_bytes = engine->settings->segment_max_bytes, .unsynced_max = UNSYNCED_MAX,
	                                  .unsealed_max = UNSEALED_MAX,
	                                  .checkpoint_bytes = checkpoint_bytes(engine) };
	const struct log_options ephemeral = { .kind = 'e', .file_bytes = engine->settings->segment_max_bytes,
	                                       .total_max = engine->settings->ephemeral_max_bytes };
	enum error error = log_create(&engine->disk, &disk, engine->ops, &disk_events);
	return error != ERR_OK ? error : log_create(&engine->ephemeral, &ephemeral, engine->ops, &ephemeral_events);
}

enum error engine_create(struct engine **out, const struct engine_options *options)
{
	struct engine *engine = calloc(1, sizeof *engine);
	if (engine == NULL)
		return ERR_NOMEM;
	engine->options = *options;
	engine->ops = options->ops;
	engine->settings = options->settings;
	engine->unpublished_end = &engine->unpublished_first;
	engine->lookups_end = &engine->lookups_first;
	engine->unsynced_end = &engine->unsynced_first;
	engine->group = 1;
	engine->one_by_one = options->fault_death;
	engine->small = malloc(SMALL_PARTS_MAX);
	uint8_t key[16];
	engine->ops->random(engine->ops->world, key, sizeof key);
	enum error error = engine->small == NULL ? ERR_NOMEM : topic_table_create(&engine->topics, key);
	if (error == ERR_OK)
		error = keys_create(&engine->keys);
	if (error == ERR_OK)
		error = key_filter_create(&engine->key_filter);
	if (error == ERR_OK)
		error = create_logs(engine);
	if (error != ERR_OK) {
		engine_destroy(&engine);
		return error;
	}
	*out = engine;
	return ERR_OK;
}

static void free_list(struct pending *pending)
{
	for (struct pending *next; pending != NULL; pending = next) {
		next = pending->next;
		free(pending->config);
		free(pending);
	}
}

static void ring_close(struct ring *ring)
{
	free(ring->held);
	ring_consumer_destroy(&ring->consumer);
	completion_writer_destroy(&ring->completions);
	free(ring->settled);
	*ring = (struct ring){ 0 };
}

void engine_destroy(struct engine **out)
{
	struct engine *engine = *out;
	if (engine == NULL)
		return;
	/* What is both published and unsynced is in one list only; what waits may be in two: free each once. */
	for (struct pending *pending = engine->unsynced_first, *next; pending != NULL; pending = next) {
		next = pending->next_unsynced;
		if (pending->published) {
			free(pending->config);
			free(pending);
		}
	}
	free_list(engine->unpublished_first);
	free_list(engine->failed_first);
	free_list(engine->free_pending);
	undo_forget(engine);
	lookups_drop(engine, NULL);
	for (struct undo *undo = engine->free_undo, *next; undo != NULL; undo = next) {
		next = undo->next;
		free(undo);
	}
	for (unsigned i = 0; i < ENGINE_CONFIGS; i++)
		free(engine->configs[i]);
	for (unsigned i = 0; i < engine->ring_end; i++)
		if (engine->rings[i].incarnation != 0)
			ring_close(&engine->rings[i]);
	log_destroy(&engine->disk);
	log_destroy(&engine->ephemeral);
	topic_table_destroy(&engine->topics);
	keys_destroy(&engine->keys);
	key_filter_destroy(&engine->key_filter);
	free(engine->files);
	free(engine->settled);
	free(engine->switching.topics);
	free(engine->switching.keys);
	free(engine->slice);
	free(engine->small);
	free(engine->scratch);
	free(engine);
	*out = NULL;
}

uint64_t topic_new_id(struct engine *engine)
{
	uint64_t id;
	do {
		engine->ops->random(engine->ops->world, &id, sizeof id);
	} while (id == 0 || topic_table_by_id(engine->topics, id) != NULL);
	return id;
}

/* The time of a frame: the wall clock, but never below the newest in the log. */
int64_t stamp(struct engine *engine)
{
	int64_t now = engine->ops->wall_ms(engine->ops->world);
	if (now > engine->ts)
		engine->ts = now;
	return engine->ts;
}

/* ---- rings ---- */

struct ring *ring_by_incarnation(struct engine *engine, uint64_t incarnation)
{
	for (unsigned i = 0; i < engine->ring_end; i++)
		if (engine->rings[i].incarnation == incarnation)
			return &engine->rings[i];
	return NULL;
}

static struct ring *free_ring(struct engine *engine)
{
	struct ring *ring = ring_by_incarnation(engine, 0);
	return ring != NULL || engine->ring_end == RINGS ? ring : &engine->rings[engine->ring_end++];
}

enum error engine_ring_add(struct engine *engine, uint32_t slot, uint64_t incarnation, const void *request, size_t large_bytes, void *completion,
                           const struct counters *counters)
{
	struct ring *ring = incarnation == 0 ? NULL : free_ring(engine);
	if (ring == NULL)
		return ERR_LIMIT;
	enum error error = ring_consumer_create(&ring->consumer, request, large_bytes, completion);
	if (error == ERR_OK)
		error = completion_writer_create(&ring->completions, completion, &((const struct ring_shared *)request)->completions_read);
	if (error != ERR_OK) {
		ring_close(ring);
		return error;
	}
	ring->incarnation = incarnation;
	ring->slot = slot;
	ring->counters = counters;
	if (engine->options.fault_death && !engine->recovered)
		ring_note_death(ring->consumer);
	if (!engine->recovered) {
		ring->start_end = ring_published(ring->consumer);
		ring->settling = true; /* what has to be looked for is known with the recovery */
	}
	return ERR_OK;
}

/* A dead worker's ring goes when nothing that was taken from it waits for an answer any more. */
static void drop_finished_rings(struct engine *engine)
{
	for (unsigned i = 0; i < engine->ring_end; i++) {
		struct ring *ring = &engine->rings[i];
		if (ring->incarnation == 0 || !ring->gone || ring->owed > 0)
			continue;
		uint64_t incarnation = ring->incarnation;
		uint32_t slot = ring->slot;
		ring_close(ring);
		engine->options.host.ring_dropped(engine->options.host.context, slot, incarnation);
	}
}

void engine_ring_gone(struct engine *engine, uint32_t slot, uint64_t incarnation)
{
	struct ring *ring = incarnation == 0 ? NULL : ring_by_incarnation(engine, incarnation);
	if (ring == NULL || ring->slot != slot)
		return;
	ring->gone = true;
	if (ring->held != NULL) {
		/* It stands in no frame: it was never accepted. */
		free(ring->held);
		ring->held = NULL;
		ring->owed--;
	}
	lookups_drop(engine, ring);
	drop_finished_rings(engine);
}

/* ---- a round ---- */

static void fail_point(struct engine *engine, const char *name)
{
	engine->ops->failpoint(engine->ops->world, name);
}

/* An entry is released when its frame is written, whatever its answer waits for (ARCHITECTURE §5). */
static void release_group(struct engine *engine, uint64_t written_us)
{
	uint64_t frames = 0, batches = 0;
	for (struct pending *pending = engine->group_first; pending != NULL; pending = pending->next) {
		pending->written_us = written_us;
		frames++;
		batches += pending->kind == ENTRY_BATCH;
		if (pending->ring != NULL)
			ring_release(pending->ring->consumer, pending->entry);
	}
	engine->group_first = NULL;
	struct status *status = engine->options.status;
	atomic_fetch_add_explicit(&status->frames_total, frames, memory_order_relaxed);
	atomic_fetch_add_explicit(&status->batches_total, batches, memory_order_relaxed);
	atomic_store_explicit(&status->written, log_written(engine->disk), memory_order_relaxed);
}

bool gathers(const struct log *log)
{
	return log_appended(log) > log_written(log);
}

bool other_gathers(const struct engine *engine, const struct log *log)
{
	return gathers(log == engine->disk ? engine->ephemeral : engine->disk);
}

void write_group(struct engine *engine)
{
	bool ephemeral = gathers(engine->ephemeral);
	struct log *log = ephemeral ? engine->ephemeral : engine->disk;
	assert(!ephemeral || !gathers(engine->disk));
	if (!gathers(log)) {
		engine->group_first = NULL;
		undo_forget(engine);
		return;
	}
	fail_point(engine, "before-write");
	uint64_t before = engine->ops->monotonic_us(engine->ops->world), bytes = ephemeral ? 0 : log_appended(log) - log_written(log);
	enum error error = log_write(log);
	if (ephemeral)
		engine->ephemeral_unclean = error != ERR_OK; /* what is written there next leaves the file that failed */
	if (error != ERR_OK) {
		undo_group(engine, error == ERR_STORAGE_FULL ? ERR_STORAGE_FULL : ERR_STORAGE_FAILED);
		return;
	}
	fail_point(engine, "after-write");
	uint64_t after = engine->ops->monotonic_us(engine->ops->world);
	for (struct pending *pending = engine->group_first; pending != NULL; pending = pending->next)
		pending->completion.write_us = (uint32_t)(after - before);
	atomic_fetch_add_explicit(&engine->options.status->bytes_written_total, bytes, memory_order_relaxed);
	release_group(engine, after);
	fail_point(engine, "after-release");
	undo_forget(engine);
}

static void start_sync(struct engine *engine)
{
	uint64_t interval_us = engine->settings->sync_interval_ms * 1000;
	bool waiting = engine->sync_wanted || log_seal_wanted(engine->disk);
	if (log_syncing(engine->disk) || log_written(engine->disk) == log_synced(engine->disk))
		return;
	for (struct pending *pending = engine->unpublished_first; pending != NULL && !waiting; pending = pending->next)
		waiting = pending->need > log_synced(engine->disk);
	if (engine->disk_dirty_us != 0 && engine->now_us - engine->disk_dirty_us >= interval_us)
		waiting = true;
	if (!waiting && log_unsynced_bytes(engine->disk) < UNSYNCED_START)
		return;
	fail_point(engine, "before-sync");
	if (log_sync_start(engine->disk)) {
		engine->sync_wanted = false;
		engine->disk_dirty_us = 0;
	}
}

static void show_state(struct engine *engine)
{
	static const uint32_t states[] = { [LOG_OPEN] = LOGD_READY, [LOG_LEAVING] = LOGD_READY, [LOG_FULL] = LOGD_FULL, [LOG_READ_ONLY] = LOGD_READ_ONLY };
	atomic_store_explicit(&engine->options.status->state, states[log_state(engine->disk)], memory_order_relaxed);
}

/* What waits for a sync that will never come. */
static void fail_waiting(struct engine *engine)
{
	for (struct pending *pending = engine->unpublished_first; pending != NULL; pending = pending->next) {
		if (pending->ring == NULL)
			continue;
		struct completion unknown = { .request_id = pending->completion.request_id, .type = pending->completion.type, .status = ERR_COMMIT_UNKNOWN };
		pending->ring->owed--;
		post_answer(engine, pending->ring, &unknown, NULL);
		pending->ring = NULL;
	}
	wake_rings(engine);
}

static void publish_all(struct engine *engine)
{
	publish_synced(engine);
	if (engine->unpublished_first != NULL || engine->dirty != NULL)
		publish_pass(engine);
	if (log_state(engine->disk) == LOG_READ_ONLY)
		fail_waiting(engine);
	flush_failed(engine);
	drop_finished_rings(engine);
}

bool engine_round(struct engine *engine)
{
	engine->now_us = engine->ops->monotonic_us(engine->ops->world);
	if (engine->full_start)
		return full_start_round(engine);
	if (engine->settling)
		settle_answers(engine);
	bool more = take_from_rings(engine);
	write_group(engine);
	publish_all(engine);
	wake_rings(engine);
	start_sync(engine);
	show_state(engine);
	return more;
}

bool engine_syncing(const struct engine *engine)
{
	return log_syncing(engine->disk);
}

bool engine_many_wait(const struct engine *engine)
{
	const struct pending *pending = engine->unpublished_first;

	for (unsigned i = 0; i < FEW && pending != NULL; i++)
		pending = pending->next;
	return pending != NULL;
}

bool engine_pending(const struct engine *engine)
{
	for (unsigned i = 0; i < engine->ring_end; i++) {
		const struct ring *ring = &engine->rings[i];
		if (ring->incarnation != 0 && !ring->gone && !ring->broken && !ring->blocked && ring_pending(ring->consumer))
			return true;
	}
	return false;
}

static void count_sync(struct engine *engine, const struct sync_job *job)
{
	struct status *status = engine->options.status;
	unsigned power = job->took_us == 0 ? 0 : 64 - (unsigned)__builtin_clzll(job->took_us);
	atomic_fetch_add_explicit(&status->syncs_total, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&status->sync_us_total, job->took_us, memory_order_relaxed);
	atomic_fetch_add_explicit(&status->sync_histogram[power < 32 ? power : 31], 1, memory_order_relaxed);
}

void engine_sync_done(struct engine *engine, const struct sync_job *job)
{
	engine->now_us = engine->ops->monotonic_us(engine->ops->world);
	count_sync(engine, job);
	log_sync_done(engine->disk, job);
	fail_point(engine, "after-sync");
	atomic_store_explicit(&engine->options.status->frontier, log_synced(engine->disk), memory_order_relaxed);
	publish_all(engine);
	start_sync(engine);
	show_state(engine);
}

void engine_sealed(struct engine *engine, struct seal_job *job)
{
	engine->now_us = engine->ops->monotonic_us(engine->ops->world);
	background_sealed(engine, job);
	show_state(engine);
}

void engine_checkpoint_finished(struct engine *engine, const struct finish_job *job)
{
	log_checkpoint_finished(engine->disk, job);
}

void engine_prepared(struct engine *engine, uint64_t file_id, int error)
{
	log_prepared(engine->disk, file_id, error);
	show_state(engine);
}

/* ---- what is due ---- */

static int key_expired(void *context, const struct key_entry *entry)
{
	struct engine *engine = context;
	const struct topic *topic = topic_table_by_id(engine->topics, entry->topic);
	return topic == NULL || (uint64_t)(engine->ts - entry->ts) > topic->config.idempotency_window_ms;
}

/* Topics that were idle for a minute and are synced are closed by a ceiling at their head: a power cut then announces nothing for them (I-6). */
static void close_idle(struct engine *engine)
{
	struct entry entries[CLOSE_AT_MOST];
	struct topic *topics[CLOSE_AT_MOST];
	unsigned count = 0;
	struct log_place place;
	for (struct topic *topic = engine->open_first; topic != NULL && count < CLOSE_AT_MOST; topic = topic->open_next) {
		if (engine->now_us - topic->active_us < CLOSE_AFTER_US || topic->unpublished > 0)
			break;
		entries[count] = (struct entry){ .type = ENTRY_CEILING, .topic = topic->id, .flags = ENTRY_CLOSED };
		entries[count].ceiling.ceiling = topic->head;
		topics[count++] = topic;
	}
	if (count == 0 || log_synced(engine->disk) < log_written(engine->disk) || !provide_undos(engine, count))
		return;
	if (append_entries(engine, engine->disk, true, entries, count, 0, 0, &place) != ERR_OK)
		return;
	for (unsigned i = 0; i < count; i++) {
		undo_touch(engine, topics[i]);
		topics[i]->ceiling = topics[i]->ceiling_safe = topics[i]->head;
		topics[i]->ceiling_end = place.lsn + place.length;
		topic_closed(engine, topics[i]);
	}
	engine->sync_wanted = true;
	write_group(engine);
}

/* After one sync interval without a batch a mark says that all before it is synced, so that damage there is not taken for a tear. */
static void mark_synced(struct engine *engine)
{
	struct entry entry = { .type = ENTRY_SYNC_MARK };
	struct log_place place;
	if (!engine->mark_due || engine->now_us - engine->batch_us < engine->settings->sync_interval_ms * 1000)
		return;
	if (log_synced(engine->disk) < log_written(engine->disk)) {
		engine->sync_wanted = true;
		return;
	}
	entry.sync_mark.lsn = log_synced(engine->disk);
	if (append_entries(engine, engine->disk, true, &entry, 1, 0, 0, &place) != ERR_OK)
		return;
	engine->mark_due = false;
	engine->sync_wanted = true;
	write_group(engine);
}

static void replace_poisoned(struct engine *engine)
{
	for (unsigned i = 0; i < engine->ring_end; i++) {
		struct ring *ring = &engine->rings[i];
		if (ring->replace_us == 0 || engine->now_us < ring->replace_us || ring->gone)
			continue;
		ring->replace_us = 0;
		engine->options.host.ring_broken(engine->options.host.context, ring->slot, ring->incarnation);
	}
}

uint64_t engine_tick(struct engine *engine)
{
	uint64_t interval_us = engine->settings->sync_interval_ms * 1000;
	engine->now_us = engine->ops->monotonic_us(engine->ops->world);
	atomic_store_explicit(&engine->options.status->heartbeat_ms, engine->now_us / 1000, memory_order_relaxed);
	if (engine->full_start) {
		uint64_t us = full_start_tick(engine);
		replace_poisoned(engine);
		show_state(engine);
		return us;
	}
	if (log_state(engine->disk) == LOG_OPEN && log_appended(engine->disk) == log_written(engine->disk)) {
		mark_synced(engine);
		close_idle(engine);
	}
	replace_poisoned(engine);
	start_sync(engine);
	if (engine->now_us - engine->sweep_us >= KEYS_SWEEP_US) {
		engine->sweep_us = engine->now_us;
		stamp(engine);
		keys_sweep(engine->keys, SWEEP_BUCKETS, key_expired, engine);
		lookups_expire(engine);
	}
	if (engine->now_us - engine->tick_us >= 1000000 || engine->blocked) {
		engine->tick_us = engine->now_us;
		log_tick(engine->disk);
	}
	if (background(engine))
		return 0;
	/* A worker that reads its answers late does not wake us, and a log that leaves its file is done soon. */
	if (engine->blocked || engine->failed_first != NULL)
		return 1000;
	return engine->mark_due || engine->disk_dirty_us != 0 ? (interval_us < 1000 ? 1000 : interval_us / 2) : 1000000;
}

/* ---- the end ---- */

bool engine_start_failed(const struct engine *engine)
{
	return engine->full_start && log_state(engine->disk) == LOG_READ_ONLY;
}

int engine_start_cause(const struct engine *engine)
{
	return log_finish_cause(engine->disk);
}

bool engine_idle(const struct engine *engine)
{
	if (log_state(engine->disk) == LOG_READ_ONLY)
		return true;
	for (unsigned i = 0; i < engine->ring_end; i++) {
		const struct ring *ring = &engine->rings[i];
		if (ring->incarnation != 0 && !ring->gone && !ring->broken && (ring->owed > 0 || ring_pending(ring->consumer)))
			return false;
	}
	return engine->unpublished_first == NULL && engine->failed_first == NULL && !log_syncing(engine->disk) && !log_sealing(engine->disk) &&
	       !log_checkpoint_finishing(engine->disk);
}
