/*
 * The outside world, as logd's engine and log see it: files, clocks, randomness, background work. Production fills the table from
 * logd/ops_system.c; tests fill it from a simulated world that drops, reorders and tears unsynced writes, fails the n-th call and kills at any
 * (ARCHITECTURE §8). The engine owns no thread, lock or sleep: a sync is two calls, start and done.
 *
 * Files are named by kind and id, never by path: (dir 'd'ata, kind 'w', id) is the file `w<16 hex digits>` of the data directory. Handles are small
 * non-negative ints that the table gives out (in production: descriptors). Calls return 0 or a positive errno.
 */
#ifndef TOPICS_OPS_H
#define TOPICS_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/frame.h"

struct file_name {
	uint8_t kind;        /* 'w', 'c', 'd', 'q' */
	uint64_t id;
	uint64_t offset;     /* 'q' only */
};

/* One sync job: the files to sync, in order, oldest first. */
enum { SYNC_FILES_MAX = 16 };
struct sync_job {
	int files[SYNC_FILES_MAX];
	unsigned count;
	uint64_t lsn;        /* the caller's: what is synced when it is done */
	int error;           /* set by the table: errno of the first failure, 0 */
	uint64_t took_us;    /* set by the table */
};

/* A file of the log to seal (logd/seal.h says how): the table copies the job and gives it back with its outcome. */
struct footer_topic;
struct footer_notes;
struct seal_job {
	uint64_t id;
	uint64_t first_lsn;
	uint64_t end_lsn;        /* of its part of the log: all of it is synced and published */
	uint64_t frontier;
	uint32_t chain;          /* what its first frame names as the CRC of the frame before */
	struct footer_notes *notes;  /* of all its frames, or NULL: they are read. The job's own from the start of it on */
	/* set when it is done: */
	enum error result;       /* ERR_OK, ERR_CORRUPT (a frame does not check), ERR_STORAGE_FULL, ERR_IO, ERR_NOMEM, ERR_LIMIT */
	int cause;               /* errno of the last two but one, 0 */
	uint64_t footer_offset;
	uint32_t footer_length;
	uint32_t footer_crc;
	uint64_t extents_offset; /* in the file, of the first element of the footer's section 1 */
	struct footer_topic *topics; /* section 5, rising by topic; the taker's to free */
	uint32_t topic_count;
	struct sealed_key *keys;     /* section 3; the taker's to free */
	uint32_t key_count;
	int64_t newest_ts;           /* of its frames */
};

struct sealed_key {
	uint64_t topic;
	uint8_t hash[16];
};

/* An idempotency key to look for in sealed files (logd/key_lookup.h): the table copies the job and gives it back with its outcome. */
struct key_file;
struct lookup_job {
	uint64_t topic;
	uint8_t hash[16];
	struct key_file *files;  /* newest first; the job's own, freed when it is done */
	size_t file_count;
	/* set when it is done: */
	enum error result;       /* ERR_OK: found; ERR_NOT_FOUND; ERR_CORRUPT, ERR_IO, ERR_STORAGE_FULL, ERR_NOMEM: nobody knows */
	int cause;               /* errno of ERR_IO */
	uint64_t first_seq;
	uint64_t lsn;
	int64_t ts;
	uint32_t count;
};

/* A checkpoint whose frames are written: what is left is what waits for the disk (logd/checkpoint_file.c). */
struct finish_job {
	uint64_t id;
	uint8_t header[FILE_HEADER_SIZE];
	/* set when it is done: */
	enum error result;
	int cause;
};

struct ops {
	void *world;

	/* Names in the data directory, each once; ends with a callback result != 0. */
	int (*list)(void *world, int (*each)(void *context, const struct file_name *name, uint64_t size), void *context);

	/* Opens an existing file for reading and writing. */
	int (*open)(void *world, const struct file_name *name, int *file);
	/* Makes a file (EEXIST if it is there) and opens it. */
	int (*create)(void *world, const struct file_name *name, int *file);
	int (*close)(void *world, int file);
	int (*size)(void *world, int file, uint64_t *size);
	/* The first offset from `offset` on that may hold something other than zeros; the file's size if none does. A file system that does not know says `offset`. */
	int (*data)(void *world, int file, uint64_t offset, uint64_t *at);
	/* Space for [0, size), zero where nothing was written; extends the file. */
	int (*allocate)(void *world, int file, uint64_t size);
	/* As the system call: may be short. *done is set also on errors. */
	int (*pwrite)(void *world, int file, const void *bytes, size_t length, uint64_t offset, size_t *done);
	int (*pread)(void *world, int file, void *bytes, size_t length, uint64_t offset, size_t *done);
	/* Cuts the file to `size` bytes, or extends it with zeros. */
	int (*truncate)(void *world, int file, uint64_t size);
	int (*unlink)(void *world, const struct file_name *name);
	int (*sync_dir)(void *world);

	/* Synchronous sync; only for start-up, checkpoints at a clean stop, recovery, and within jobs. */
	int (*sync)(void *world, int file);
	/* Begins a sync beside the engine; at most one at a time. Its end is told by the caller of the engine (engine_sync_done). */
	int (*sync_start)(void *world, const struct sync_job *job);
	/* Begins to make and allocate the next file of `size` bytes, header zero, directory synced. At most one at a time. Its end: engine_prepared. */
	int (*prepare_start)(void *world, uint64_t id, uint64_t size);
	/* Begins to seal a file. At most one at a time. Its end: engine_sealed. The job itself makes calls of this table from list to sync, and failpoint, beside the
	 * engine. */
	int (*seal_start)(void *world, const struct seal_job *job);
	/* Begins the end of a checkpoint, in the same way. Its end: engine_checkpoint_finished. */
	int (*finish_start)(void *world, const struct finish_job *job);
	/* Begins to look for a key, in the same way. Its end: engine_looked_up. EBUSY, and the job is still the caller's, while one runs. */
	int (*lookup_start)(void *world, const struct lookup_job *job);

	/* The ephemeral log's files: memory objects that the supervisor keeps. `create` asks for a new one (answers at once in tests; in production the
	 * supervisor has sent reserve objects ahead: EAGAIN when none has come yet). An object has one handle, the same from `create` and `list`, and it is the table's: nobody but
	 * `retire` closes it, after which the object is gone from here. */
	int (*ephemeral_create)(void *world, uint64_t id, uint64_t size, int *file);
	int (*ephemeral_list)(void *world, int (*each)(void *context, uint64_t id, uint64_t size, int file), void *context);
	int (*ephemeral_retire)(void *world, uint64_t id);

	int64_t (*wall_ms)(void *world);
	uint64_t (*monotonic_us)(void *world);
	int (*boot_token)(void *world, struct boot_token *token);
	void (*random)(void *world, void *bytes, size_t length);

	/* Named failpoints; does nothing without --enable-failpoints. */
	void (*failpoint)(void *world, const char *name);
};

#endif
