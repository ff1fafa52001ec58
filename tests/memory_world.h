/*
 * A simulated world behind common/ops.h, for tests of the log and of the engine: files in memory, each with what the processes see (the
 * page cache) and what a power cut leaves (the platter), a directory whose changes need a sync of their own, clocks that stand until moved,
 * and faults at chosen calls. Deterministic: all that is random comes from the seed. No system call but malloc, so a run of small files
 * takes microseconds.
 *
 * The rules, as Linux on ext4 shows them:
 *  - pwrite changes the cache, in sectors of 512 bytes that are dirty until a sync of the file moves them to the platter.
 *  - A sync that fails leaves the platter as it was and calls the sectors clean: the next sync says yes and moves nothing.
 *  - truncate changes the length; what it cuts off and the length come to the platter with a sync of the file.
 *  - create and unlink change the directory in the cache; sync_dir moves that to the platter. A file's length is moved by a sync of the file.
 *  - memory_world_die: the process is gone. The cache stays, handles and jobs go, memory objects stay.
 *  - memory_world_power_cut: of every dirty sector, every changed length and every changed name either the old or the new survives, as the seed draws; then the cache is
 *    the platter, memory objects are gone and the boot token is another.
 *  - A call that is to be the last (memory_world_kill_at) is not done, but a pwrite may have reached a page's end; it and all later ones give EIO until
 *    memory_world_die.
 */
#ifndef TOPICS_TESTS_MEMORY_WORLD_H
#define TOPICS_TESTS_MEMORY_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ops.h"

enum memory_op {
	MEMORY_LIST,
	MEMORY_OPEN,
	MEMORY_CREATE,
	MEMORY_ALLOCATE,
	MEMORY_PWRITE,
	MEMORY_PREAD,
	MEMORY_TRUNCATE,
	MEMORY_UNLINK,
	MEMORY_SYNC_DIR,
	MEMORY_SYNC,             /* synchronous, or one file of a job */
	MEMORY_SYNC_START,
	MEMORY_PREPARE,          /* a job that makes a file */
	MEMORY_SEAL_START,
	MEMORY_FINISH_START,
	MEMORY_LOOKUP_START,
	MEMORY_EPHEMERAL_CREATE,
	MEMORY_OPS,
	MEMORY_ANY = MEMORY_OPS, /* for memory_world_fail: whichever call comes */
};

struct memory_world;

struct memory_world *memory_world_create(uint64_t seed);
void memory_world_destroy(struct memory_world **world);
/* A world in the same state, with no handle open and no job pending: what a new process would find. */
struct memory_world *memory_world_clone(const struct memory_world *world);
const struct ops *memory_world_ops(const struct memory_world *world);

/* ---- ends ---- */
void memory_world_die(struct memory_world *world);
void memory_world_power_cut(struct memory_world *world, uint64_t seed);
/* The same; on the average `keep` of 16 changes survive: 0 none, 16 all. */
void memory_world_power_cut_some(struct memory_world *world, uint64_t seed, unsigned keep);
/* All processes are gone, and the memory objects with them; the cache stays. */
void memory_world_daemon_end(struct memory_world *world);

/* ---- faults ---- */
/* The calls so far; kill_at and fail count from here on: 0 is the next call. */
uint64_t memory_world_calls(const struct memory_world *world);
void memory_world_kill_at(struct memory_world *world, uint64_t nth);
bool memory_world_dead(const struct memory_world *world);
/* The nth call of `op` from now on gives `error`; sticky: and every later one of that op. */
void memory_world_fail(struct memory_world *world, enum memory_op op, uint64_t nth, int error, bool sticky);
void memory_world_no_faults(struct memory_world *world);
/* One pwrite in `one_in` is short (0: none), one in as many gives EINTR. */
void memory_world_short_writes(struct memory_world *world, unsigned one_in);
/* Reads of these bytes of the file give EIO; length 0: all can be read again. */
void memory_world_unreadable(struct memory_world *world, const struct file_name *name, uint64_t offset, uint64_t length);
/* Bytes of all files of the directory at most; 0: no bound. */
void memory_world_space(struct memory_world *world, uint64_t bytes);

/* ---- jobs: started by the ops, done when the test says so ---- */
bool memory_world_sync_pending(const struct memory_world *world);
/* Does the pending sync and describes its outcome in *job, for log_sync_done or engine_sync_done. */
void memory_world_sync_finish(struct memory_world *world, struct sync_job *job);
bool memory_world_prepare_pending(const struct memory_world *world);
/* Makes the file (synced, its name too) and says which and how it went, for log_prepared or engine_prepared. */
void memory_world_prepare_finish(struct memory_world *world, uint64_t *id, int *error);

/* Seals the file, by the calls that logd/seal.c makes of this world, each of which counts; for log_sealed or engine_sealed, who owns job->topics then. */
bool memory_world_seal_pending(const struct memory_world *world);
void memory_world_seal_finish(struct memory_world *world, struct seal_job *job);
/* The end of a checkpoint, in the same way. */
/* Looks in the files, in the same way; for engine_looked_up. */
bool memory_world_lookup_pending(const struct memory_world *world);
void memory_world_lookup_finish(struct memory_world *world, struct lookup_job *job);
bool memory_world_finish_pending(const struct memory_world *world);
void memory_world_finish_finish(struct memory_world *world, struct finish_job *job);

/* ---- clocks, boot ---- */
void memory_world_move_clocks(struct memory_world *world, int64_t wall_ms, uint64_t monotonic_us);
/* Another boot token without a cut. */
void memory_world_reboot(struct memory_world *world);
/* This boot token from now on. */
void memory_world_boot(struct memory_world *world, const struct boot_token *token);

/* ---- looking and breaking ---- */
/* The bytes of a file as a new process would read them; NULL if there is none. Changing them changes cache and platter alike only through
 * memory_world_damage. */
const uint8_t *memory_world_file(const struct memory_world *world, const struct file_name *name, uint64_t *size);
/* Overwrites bytes of a file behind everybody's back, in cache and platter. */
void memory_world_damage(struct memory_world *world, const struct file_name *name, uint64_t offset, const void *bytes, uint64_t length);
/* Makes a file as if it had always been there. */
void memory_world_put(struct memory_world *world, const struct file_name *name, const void *bytes, uint64_t size);
void memory_world_remove(struct memory_world *world, const struct file_name *name);
/* Names in the directory, as ops->list gives them but outside all counting. */
unsigned memory_world_objects(const struct memory_world *world); /* memory objects of the ephemeral log */
unsigned memory_world_names(const struct memory_world *world, struct file_name *names, unsigned room);

#endif
