/* What the sources of the log share (logd/README.md tells the story). Nobody but logd/log*.c, logd/checkpoint_f*.c and logd/seal.c includes this. */
#ifndef TOPICS_LOG_INTERNAL_H
#define TOPICS_LOG_INTERNAL_H

#include "logd/footer_notes.h"
#include "logd/log.h"

enum {
	PREPARED_MAX = 8,
	NO_FILE = -1,
};

/* A place between two frames and what the next frame has to repeat of the one before. */
struct log_point {
	uint64_t lsn;
	uint32_t crc;
	uint64_t topic;
	uint64_t last_seq;
};

enum seal_state { SEAL_NONE, SEAL_RUNNING, SEAL_DONE, SEAL_REFUSED };

/* Where a sealed file's footer stands, and the CRC of its trailer. */
struct log_footer {
	uint64_t offset;
	uint32_t length;
	uint32_t crc;
};

/*
 * A file that has (or, begun in memory, will have) a header.
 *
 *   begun ──log_write writes the header──▶ current ──the next one begins──▶ left ──a sync covers its end──▶ closed ──▶ sealing ──▶ sealed
 *
 * What leads from closed on is drawn in log_seal.c. `handle` is open from begun on and until it is closed; log_read opens a closed one for one read.
 */
struct log_file {
	struct file_header header;
	int handle;
	uint64_t size;             /* allocated */
	uint64_t end;              /* LSN where its part of the log ends; grows while it is the newest */
	bool header_written;
	bool announced;            /* the owner knows of it: before the first place in it is told */
	bool dirty;                /* holds bytes that no finished sync covers */
	struct footer_notes *notes;/* owned; of its frames up to here, NULL: they will be read when it is sealed */
	enum seal_state seal;
	unsigned seal_failures;    /* in a row, of the kind that is tried again, but for space */
	bool unnoted;              /* sealed, and no entry says so yet */
	struct log_footer footer;  /* SEAL_DONE */
	bool salvaged;             /* its header is broken: first LSN and place in the order are inferred, its chain is not known */
	uint64_t rank;             /* order of birth while the order is found */
};

/* A file without a header that waits for its turn. */
struct prepared_file {
	uint64_t id;
	uint64_t size;
	int handle;
};

/*
 * A piece of the memory in which frames are built and stay until a sync covers them (I-4). The frames in it follow each other without a gap
 * and lie in one file: where byte i will stand follows from `lsn` + i.
 */
struct log_chunk {
	struct log_chunk *next;
	struct log_file *file;
	uint64_t lsn;              /* of byte 0 */
	size_t used;
	size_t capacity;
	uint8_t bytes[];
};

enum leave_step {
	LEAVE_NONE,
	LEAVE_SYNC_RUNNING,        /* a sync of the old files is under way: its outcome says what has to be copied */
	LEAVE_FILE,                /* waits for a file that is large enough */
	LEAVE_COPIES,              /* the copies are being synced */
	LEAVE_HEADER,              /* the header is being synced */
};

struct log_range {
	uint64_t file_id;
	uint64_t offset;
	uint64_t length;
};

/* Offsets [from, to) of a file, in which `bytes` could not be read; empty when `to` is 0. */
struct log_span {
	uint64_t from, to;
	uint64_t bytes;
};

/* A name that holds nothing of the log. What has no header goes before the new file is made (a crash loop grows nothing), the rest when the
 * new file stands. */
struct log_doomed {
	struct file_name name;
	bool headerless;
};

/* A file without a header that is not all zero: an unfinished copy, or a file that lost its header. */
struct log_stale {
	uint64_t id;
	uint64_t first_lsn;        /* 0: no frame in it */
};

/* What recovery leaves for log_recover_finish. */
struct log_recovery {
	struct log_range *quarantine;
	size_t quarantine_count, quarantine_room;
	struct log_doomed *doomed;
	size_t doomed_count, doomed_room;
	struct log_stale *stale;
	size_t stale_count, stale_room;
	uint64_t frontier;         /* the last recorded one that a header knows */
	bool unexplained;          /* there is a file that we cannot explain; it stays as it is */
	bool unread;               /* a header could not be read: there may be greater numbers than those that are known */
};

struct log {
	struct log_options options;
	const struct ops *ops;
	struct log_events events;
	enum log_state state;
	struct boot_token boot;
	size_t chunk_bytes;

	struct log_file **files;   /* in the order of their LSNs; the last is where frames go */
	size_t file_count, file_room;
	uint64_t next_number;

	struct log_point appended, written, syncing, synced;

	struct log_chunk *first, *last; /* frames from `synced` (or a little before) to `appended` */
	struct log_chunk *spare;        /* taken for a reservation, not yet in the list */
	struct log_chunk *pool;
	unsigned pooled, pool_max;
	uint8_t *reserved;
	uint64_t reserved_size;
	bool reserved_rolls;

	struct prepared_file prepared[PREPARED_MAX]; /* [0] is next */
	unsigned prepared_count;
	uint64_t preparing;        /* id of the file being prepared, 0 */
	uint64_t preparing_size;
	uint64_t large_wanted;     /* bytes of the file that a frame larger than a file waits for, 0 */
	bool roll_wanted;          /* a frame waits for the next file */
	int prepare_error;         /* of the last attempt */
	unsigned prepare_failures; /* in a row, other than no space */

	bool sync_running;
	enum leave_step leave;
	uint64_t leave_bytes;      /* size of the file that leaving waits for */
	struct log_file *fresh;    /* the file being made whole */
	struct log_point fresh_from; /* what stands before its first frame */
	bool recovering;           /* between log_recover and the end of log_recover_finish: frames go to memory only */
	bool e_left;               /* 'e': a write failed, the next frame begins a new file */
	uint64_t e_answered;       /* 'e': LSN up to which every frame has been answered */
	struct log_recovery recovery;
	int finish_cause;          /* errno of the step 7 that failed for good */
	bool settling;             /* from log_recover to log_settled: `settling_frontier` is what is recorded */
	uint64_t settling_frontier;

	bool sealing;              /* a job runs */
	bool seal_waits;           /* one failed for now: not again before log_tick */
	bool seal_full;            /* ... for lack of space */
	bool seal_wanted;          /* a roll waits for it */

	struct checkpoint_writer *checkpoint;
	uint64_t checkpoint_lsn;   /* of the newest one that counts */
	bool checkpoint_waits;     /* one failed: not again before log_tick */
};

/* ---- log_file.c: every call that makes something durable, and what its failure means ---- */

/* Full transfers or an error: loops over short ones and EINTR. ERR_STORAGE_FULL for ENOSPC and EDQUOT, ERR_IO for the rest, errno set. */
enum error log_file_write(const struct ops *ops, int handle, const void *bytes, size_t length, uint64_t offset);
/* *got < length at the end of the file. */
enum error log_file_read(const struct ops *ops, int handle, void *bytes, size_t length, uint64_t offset, size_t *got);
/* Recovery's way to read: what the disk does not give (EIO) at a second try either is zeros, and *bad grows to span it. */
enum error log_file_read_damaged(const struct ops *ops, int handle, void *bytes, size_t length, uint64_t offset, size_t *got, struct log_span *bad);
enum error log_file_sync(const struct ops *ops, int handle);
/* Makes w<id> (or c<id>) with `size` bytes of space; its name is durable when it returns. */
enum error log_file_create(const struct ops *ops, uint8_t kind, uint64_t id, uint64_t size, int *handle);
enum error log_file_write_header(struct log *log, struct log_file *file);
enum error log_error_of(int error);
bool log_no_space(int error);
/* No file could be made now: space, or a descriptor or memory for it, may come back, so it is never final. */
bool log_may_pass(int error);
uint64_t log_random_id(const struct ops *ops);

struct log_file *log_file_new(struct log *log, uint64_t id, int handle, uint64_t size);
/* Closes and frees; NULL is fine. */
void log_file_free(struct log *log, struct log_file **file);
enum error log_files_push(struct log *log, struct log_file *file);
/* Tells the owner, closes, removes the name. The file holds no LSN any more. */
void log_file_retire(struct log *log, size_t index);
/* What frames and headers may say is synced ('e': answered). */
uint64_t log_recorded_frontier(const struct log *log);
/* Tells the owner of it, once. */
void log_file_born(struct log *log, struct log_file *file);
void log_file_close(struct log *log, struct log_file *file);
struct log_file *log_current(const struct log *log);
struct log_file *log_file_find(const struct log *log, uint64_t id);
static inline uint64_t log_file_offset(const struct log_file *file, uint64_t lsn)
{
	return FILE_HEADER_SIZE + lsn - file->header.first_lsn;
}
/* Header fields that say how `file` goes on from `point`. */
void log_file_follow(struct log *log, struct log_file *file, const struct log_point *point);

/* ---- log_chunk.c ---- */
struct log_chunk *log_chunk_take(struct log *log, uint64_t size);
void log_chunk_give(struct log *log, struct log_chunk *chunk);
/* Gives back chunks that end at or before `lsn`, but not the last. */
void log_chunks_release(struct log *log, uint64_t lsn);
/* Forgets everything at and after `lsn`. */
void log_chunks_cut(struct log *log, uint64_t lsn);
void log_chunks_free(struct log *log);
/* Writes [from, appended) of the chunks into the files that they name. */
enum error log_chunks_write(struct log *log, uint64_t from);
/* The chunk in which a frame of `size` bytes is built: the last one if it goes on where that ends, else a spare one. NULL: no memory. */
struct log_chunk *log_chunk_for(struct log *log, uint64_t size, bool fresh_file);
/* Seals the frame that stands at the end of `chunk`, at its place in `file`, and moves `appended` behind it. Given in *head: all but what
 * depends on the place. */
void log_chunk_append(struct log *log, struct log_chunk *chunk, struct log_file *file, struct frame_head *head, struct log_place *place);

/* ---- log_roll.c ---- */
/* Can a frame of `size` bytes go into the current file, or into the next one (*rolls)? ERR_AGAIN, ERR_STORAGE_FULL, ERR_READ_ONLY. */
enum error log_room(struct log *log, uint64_t size, bool control, bool *rolls);
/* Begins the next file in memory; log_room has said that there is one. */
enum error log_roll(struct log *log, uint64_t size);
/* Starts preparing the next file if one is wanted and none is under way. */
void log_prepare_next(struct log *log);
/* Takes a prepared file of at least `size` bytes out of the row. */
bool log_take_prepared(struct log *log, uint64_t size, struct prepared_file *prepared);

/* ---- log_seal.c ---- */
/* Notes the frame that was appended to the file, as long as all before it have been. */
void log_seal_note(struct log_file *file, const uint8_t *frame, const struct frame_head *head);
unsigned log_unsealed(const struct log *log);
/* May there be one more unsealed file? ERR_AGAIN, ERR_STORAGE_FULL. */
enum error log_seal_room(struct log *log);

/* ---- log_footer.c ---- */
struct footer_file_source {
	struct footer_source source;
	const struct ops *ops;
	int handle;
	uint8_t *window;           /* kept from file to file: the owner's to free */
	size_t room;
	uint64_t offset, length;
};
/* Marks the files whose footer counts (log->files are in order, their ends known). ERR_IO, ERR_NOMEM. */
enum error log_footers_find(struct log *log);
/* Opens the file and reads trailer and section heads; *source is zero, or used again from file to file. ERR_CORRUPT: it has no footer. */
enum error log_footer_open(struct log *log, const struct log_file *file, struct footer_file_source *source, struct footer *footer);
void log_footer_close(struct footer_file_source *source);

/* ---- log_leave.c ---- */
/* After a failed write or sync: makes a new file whole, one step at a time. Again when a sync of the old files has ended meanwhile. */
void log_leave_begin(struct log *log, bool sync_failed);
/* A file may be there now, or (error) none could be made. */
void log_leave_prepared(struct log *log, int error);
void log_leave_synced(struct log *log, int error);
/* log->fresh holds the log from log->fresh_from on, synced and with its header: it becomes the current file, and what has no LSN left
 * goes. */
enum error log_adopt_fresh(struct log *log);
/* Gives up log->fresh, name and all. */
void log_drop_fresh(struct log *log);
/* The outcome of the sync that was running when leaving began. */
void log_sync_covered(struct log *log, const struct sync_job *job);

/* ---- log_finish.c ---- */
/* Names the file that will take the log over (log->fresh); makes nothing yet. */
enum error log_finish_choose(struct log *log, uint64_t frontier);
void log_finish_retry(struct log *log);

/* ---- log_sync.c ---- */
/* Starts a sync of what is written. False: nothing was synced, and whether a later one would say the truth nobody knows. */
bool log_sync_written(struct log *log);
/* Writes and syncs all, synchronously. ERR_BUSY while a sync runs. */
enum error log_sync_all(struct log *log);

/* ---- log_ephemeral.c ---- */
enum error log_ephemeral_begin(struct log *log, uint64_t size);

/* ---- log_order.c ---- */
/*
 * Reads all headers and touches nothing. Fills log->files (those that hold a part of the log, in LSN order, `end` set: UINT64_MAX for the
 * newest), log->prepared (handles closed), log->recovery (doomed, frontier) and log->next_number. *checkpoints: ids, newest first, the
 * caller's to free. *newest: the header of the youngest file of the log; its id is 0 if there is none.
 */
struct log_order {
	uint64_t *checkpoints;
	size_t checkpoint_count, checkpoint_room;
	struct file_header newest;
};
enum error log_order(struct log *log, struct log_order *order);
enum error log_doom(struct log *log, uint8_t kind, uint64_t id, bool headerless);

/* ---- log_scan.c ---- */
struct scan_item {
	uint64_t offset;
	uint32_t length;           /* 0: no valid frame from here to the next item, or to the end */
	bool whole;
};
struct log_scan {
	uint8_t *bytes;            /* the file, as far as it can hold frames */
	uint64_t length, room;
	struct scan_item *items;
	size_t count, items_room;
	uint64_t max_frontier;
	uint64_t frames;
	struct log_span bad;       /* spans what could not be read; zeros stand for it in `bytes` */
};
/* Finds every frame of the file's part of the log; *scan is used again from file to file. ERR_NEWER, ERR_IO, ERR_NOMEM. */
enum error log_scan_file(struct log *log, struct log_scan *scan, struct log_file *file);
/* Reads the whole file into *scan: bytes, and length without zeros at the end, more or less. */
enum error log_scan_read(const struct ops *ops, struct log_scan *scan, uint8_t kind, uint64_t id, int handle, uint64_t length);
/* The next offset after `from` with a frame that is valid but for its chain, 0 if there is none. first_lsn 0: the frame says its LSN
 * itself. */
uint64_t log_scan_next(const struct log_scan *scan, uint64_t id, uint64_t first_lsn, uint64_t from, uint64_t limit);
void log_scan_free(struct log_scan *scan);
bool log_all_zero(const uint8_t *bytes, uint64_t length);
/* What lies between `at` and this offset is zeros. */
uint64_t log_next_data(const struct ops *ops, int file, uint64_t at);

/* ---- checkpoint_finish.c ---- */
/* Reads the checkpoint `id` into *scan: ERR_OK if it counts; *end: where its end entry's frame ends. ERR_CORRUPT if not. */
enum error checkpoint_read(const struct ops *ops, struct log_scan *scan, uint64_t id, struct file_header *header, uint64_t *end);

/* ---- checkpoint_file.c ---- */
/* Visits the newest checkpoint that counts; *lsn = 0 if none does. */
enum error checkpoint_load(struct log *log, const struct log_visitor *visitor, const struct log_order *order, uint64_t *lsn);
void checkpoint_writer_free(struct log *log);

#endif
