/*
 * The engine: topics, seq assignment, group commit, publication, answers. It takes requests from the rings, builds frames in the logs, and keeps the
 * catalogue; ARCHITECTURE §3-§5 and the invariants I-1 to I-8 are enforced here. Owns no thread, lock or sleep: its owner (logd/loop.c, or a test's world)
 * calls it when something has happened.
 */
#ifndef TOPICS_ENGINE_H
#define TOPICS_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/catalogue.h"
#include "common/completion.h"
#include "common/error.h"
#include "common/feed.h"
#include "common/ops.h"
#include "common/ring.h"
#include "common/settings.h"
#include "common/status.h"

struct counters;
struct engine;

/* What the engine asks of its owner. */
struct engine_host {
	void *context;
	void (*wake_worker)(void *context, uint32_t slot);                       /* its completions or the feed moved and it may sleep */
	void (*ring_broken)(void *context, uint32_t slot, uint64_t incarnation); /* cut off and replace that worker */
	void (*ring_dropped)(void *context, uint32_t slot, uint64_t incarnation);/* nothing of it is held any more */
	void (*file_born)(void *context, uint64_t file_id, uint32_t kind);
	void (*file_retired)(void *context, uint64_t file_id, uint32_t kind);
	/* Before anybody is answered. Not `whole`: it shows only what is proven, nothing can be written, and the call comes again when it is whole. */
	void (*catalogue_current)(void *context, uint64_t number, bool whole);
};

struct engine_options {
	const struct settings *settings;
	const struct ops *ops;
	struct engine_host host;
	struct catalogue_writer *catalogue;      /* new and empty; the owner's */
	const struct catalogue *old_catalogue;   /* what readers see now; NULL at the daemon's start */
	struct feed_shared *feed;
	struct status *status;
	uint64_t checkpoint_bytes;               /* of log between two checkpoints; 0: 256 MiB, or four files */
	bool daemon_start;                       /* false: an earlier logd had recovered the log whole, and died; the ephemeral log is there */
	bool fault_death;                        /* it died by a fault: commit one entry at a time at first */
};

enum error engine_create(struct engine **engine, const struct engine_options *options);
void engine_destroy(struct engine **engine);

/* The ring of a live worker. The objects stay mapped by the owner until host.ring_dropped. May come before recovery. */
enum error engine_ring_add(struct engine *engine, uint32_t slot, uint64_t incarnation, const void *request, size_t large_bytes, void *completion,
                           const struct counters *counters);
void engine_ring_gone(struct engine *engine, uint32_t slot, uint64_t incarnation);

/* Recovery: reads the log, builds the catalogue, writes what step 7 asks, makes the catalogue current, settles the rings (I-8). Progress goes to the status
 * page. ERR_NEWER, ERR_CORRUPT (topic identity cannot be proven), ERR_IO: *message says what a person should know. No space for what step 7 asks is no error: what is
 * proven is served, everything that writes is refused with ERR_STORAGE_FULL, and engine_tick tries again each second. */
enum error engine_recover(struct engine *engine, char *message, size_t message_size);

/* Takes what is in the rings (a quantum each), writes one group, publishes, posts completions, starts a sync where one is due. True: call again at once. */
bool engine_round(struct engine *engine);

/* A sync runs beside it: the next thing to do may be far away, and the kernel wants the cores meanwhile. */
bool engine_syncing(const struct engine *engine);
/* More than a few frames wait to be published. */
bool engine_many_wait(const struct engine *engine);

/* Something to take, without taking it (for the sleep protocol). */
bool engine_pending(const struct engine *engine);

void engine_sync_done(struct engine *engine, const struct sync_job *job);
void engine_prepared(struct engine *engine, uint64_t file_id, int error);
/* Takes job->topics and job->keys over. */
void engine_sealed(struct engine *engine, struct seal_job *job);
void engine_looked_up(struct engine *engine, const struct lookup_job *job);
void engine_checkpoint_finished(struct engine *engine, const struct finish_job *job);

/* What is due by the clock: background syncs, sync marks, closing of idle topics, retries. Returns microseconds until it wants to be called again. */
uint64_t engine_tick(struct engine *engine);

/* A start that waits for space has failed for another reason: nothing was changed, and the owner ends this process as if engine_recover had failed. */
bool engine_start_failed(const struct engine *engine);
/* ... and the errno of that. */
int engine_start_cause(const struct engine *engine);

/* Clean stop: call engine_round until engine_idle, then this: checkpoint, sync mark. */
bool engine_idle(const struct engine *engine);
enum error engine_stop(struct engine *engine);

#endif
