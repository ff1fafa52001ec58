/*
 * The log: files, frames, group commit, roll, failed writes and syncs, and the walk of recovery (docs/format.md). It knows entries only as
 * bytes that frames hold; what they mean is the engine's. One `struct log` is the disk log, another one (kind 'e') the ephemeral log. Owns
 * no thread, lock or sleep.
 *
 * Life of a frame:  log_reserve -> (caller writes entries and records) -> log_append -> log_write -> [log_sync_start .. log_sync_done]
 * Positions are LSNs that say where something ends: appended >= written >= synced (= the frontier).
 */
#ifndef TOPICS_LOG_H
#define TOPICS_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/footer.h"
#include "common/frame.h"
#include "common/ops.h"

enum { LOG_GROUP_BYTES = 1 << 20 };

struct log_options {
	uint8_t kind;              /* 'w' or 'e' */
	uint64_t file_bytes;       /* TOPICS_SEGMENT_MAX_BYTES; a larger frame gets a file to itself */
	uint64_t unsynced_max;     /* 256 MiB: past it log_reserve says ERR_THROTTLED */
	unsigned unsealed_max;     /* 'w': so many files may be unsealed, the current one included, when one is begun; 0: any number */
	uint64_t checkpoint_bytes; /* 'w': a checkpoint is due after so much log; 0: never */
	uint64_t total_max;        /* 'e' only: past it the oldest files go (log_events.evicted); 0: none goes before there are EPHEMERAL_FILES_MAX */
};

/* Where a frame lies. */
struct log_place {
	uint64_t file_id;
	uint64_t offset;
	uint64_t lsn;
	uint32_t length;
};

/* What the log tells its owner; `context` is the owner's. */
struct log_events {
	void *context;
	/* A file is begun (before its first frame can be read; at recovery for each file of the log, before its frames are visited) or will
	 * not be read again (before it is unlinked; also files that recovery found to hold nothing and never told of). */
	void (*born)(void *context, uint64_t file_id, uint64_t number, uint64_t first_lsn);
	void (*retired)(void *context, uint64_t file_id);
	/* After a failed sync: this frame (whole, checked) now lies at `place`; called for each that moved, before anything is acked on
	 * it. */
	void (*moved)(void *context, const uint8_t *frame, const struct log_place *place);
	/* 'e': every frame of this file is gone, oldest first; called per frame, before `retired`, from within log_reserve. */
	void (*evicted)(void *context, const uint8_t *frame);
};

enum log_state {
	LOG_OPEN,          /* appends work */
	LOG_LEAVING,       /* a write or sync failed: unsynced frames are being made whole in a new file; appends wait (ERR_AGAIN) */
	/* No space (or no descriptor, no memory) for the next file: ERR_STORAGE_FULL for what is not a control frame, and for all while a file is left or recovered into;
	 * log_tick tries again. */
	LOG_FULL,
	LOG_READ_ONLY,     /* leaving failed too: ERR_READ_ONLY for good */
};

struct log;

enum error log_create(struct log **log, const struct log_options *options, const struct ops *ops, const struct log_events *events);
/* Closes files; writes nothing. */
void log_destroy(struct log **log);

/* ---- recovery ---- */

struct log_frame {
	const uint8_t *bytes;      /* the frame; valid during the call */
	const struct frame_head *head;
	struct log_place place;    /* where readers will find it (the new file for what lies behind the frontier) */
	bool checkpoint;           /* a frame of the checkpoint; head->request_id is its LSN */
	/* older than the checkpoint's LSN: only what the checkpoint does not hold (extents, keys) is to be taken from it */
	bool before_checkpoint;
	bool proven;               /* ends at or before the last recorded frontier */
	bool whole;                /* false only below the frontier: some record of it is bad */
};

enum damage { DAMAGE_CORRUPT = 1, DAMAGE_TORN = 2 };

/* A place without a valid frame: [from, to). Called in LSN order between the frames around it; `to` = 0 when nothing valid follows. One
 * that is `proven` is found, and told, again at every start, with the same `from`; the others become void frames or fall away. DAMAGE_TORN:
 * nobody was promised anything (same boot), or a power cut took it. `entries` is valid during the call and has to be decoded with care. */
struct log_damage {
	uint64_t from;
	uint64_t to;
	enum damage kind;
	bool proven;               /* it began below the frontier */
	bool io_error;             /* some of it could not be read: it is never a tear */
	const uint8_t *entries;    /* entry table of the broken frame when a copy of it checks, else NULL */
	uint32_t entries_length;
	uint64_t next_prev_topic;  /* what the frame after it says of the last batch before it; 0 if nothing follows */
	uint64_t next_prev_last_seq;
};

/* A sealed file, which is not read frame by frame: all of it is proven, and nothing of it is damaged. */
struct log_sealed_file {
	uint64_t file_id;
	uint64_t first_lsn;
	uint64_t end_lsn;
	uint64_t checkpoint_lsn;   /* what lies before it is in the checkpoint; 0: there is none */
	const struct footer *footer;
	const struct footer_source *source;
};

struct log_visitor {
	void *context;
	enum error (*frame)(void *context, const struct log_frame *frame);
	enum error (*damage)(void *context, const struct log_damage *damage);
	/* In its place between frames. ERR_CORRUPT, without an effect: its footer does not check, so its frames are visited instead. NULL: they always are. */
	enum error (*sealed)(void *context, const struct log_sealed_file *file);
	void (*progress)(void *context, uint64_t done, uint64_t total); /* bytes */
};

struct log_recovered {
	bool empty;                /* no log was there: a new directory */
	bool same_boot;            /* every unsynced byte of the last run would still be there */
	bool clean;                /* the last frame is a sync mark of a clean stop and nothing lies behind the frontier */
	uint64_t frontier;         /* the last recorded one, before this start */
	uint64_t files;
	uint64_t sealed;           /* of them: taken by their footers */
	uint64_t quarantined;      /* bytes set aside */
};

/* Steps 1 to 5 of docs/format.md §10: finds files, checkpoint, order, frontier; calls the visitor: the checkpoint's frames, then the whole
 * log in LSN order. It only reads. ERR_NEWER, ERR_IO, ERR_NOMEM, or what the visitor returned. 'e': the files are those that
 * ops->ephemeral_list names. */
enum error log_recover(struct log *log, const struct log_visitor *visitor, struct log_recovered *recovered);

/* Steps 6 and 7: after log_recover the caller may append frames (losses, ceilings, floors) with log_reserve and log_append; this writes and
 * syncs all that must stand in the new file, then its header, and opens the log for appending. Synchronous. Files without an LSN left are
 * retired. Until then log_synced says up to where the log is proven. ERR_STORAGE_FULL: no room for the new file; the log is LOG_FULL,
 * log_tick tries again, and log_synced moves when it has worked. Any other failure is final. 'e': nothing is written; the log is open. */
enum error log_recover_finish(struct log *log);

/*
 * The owner has done with what the frames behind the last recorded frontier ask of it (their answers stand, their marks are set). Until it
 * says so, frames and headers go on recording that frontier, so that a recovery after a death in between gives it the same frames as
 * unproven again (I-8).
 */
void log_settled(struct log *log);

/* 'e': every frame that ends at or before `lsn` has been published and its answer posted. That is the frontier which frames and headers record there (ARCHITECTURE §4): written is not
 * enough, since logd may die between the write and the answer (I-8). An LSN that is
 * not past the last one changes nothing. */
void log_answered(struct log *log, uint64_t lsn);

/* ---- appending ---- */

/*
 * Room for a frame of `size` bytes (frame_size) in the current group, 8-aligned; the caller writes the entry table at +96 and the records
 * behind it. Stays until log_append or the next log_reserve. `control`: a frame that may use the reserve of a full disk. ERR_AGAIN: write
 * the group first (or LEAVING: later). ERR_THROTTLED: too much is unsynced. ERR_STORAGE_FULL, ERR_READ_ONLY.
 */
enum error log_reserve(struct log *log, uint64_t size, bool control, uint8_t **frame);

/* Seals the reserved frame, which now is `size` bytes or less: head's flags, entries_length, records_length, incarnation, request_id, ts,
 * entry_count are given, the rest is set here. last_topic and last_seq: of its last batch; 0 if it has none. */
enum error log_append(struct log *log, struct frame_head *head, uint64_t last_topic, uint64_t last_seq, struct log_place *place);

/* Writes all that was appended, full writes only; rolls where a file is full. On failure (ERR_IO with errno, ERR_STORAGE_FULL) what was
 * appended since the last successful write is gone from the log, which is LEAVING: refusals of those requests may be sent when it is OPEN
 * again, commit_unknown if it gets READ_ONLY. ERR_AGAIN: the log is LEAVING for an earlier failure; what was appended is not gone, it moves
 * to the new file with the rest. 'e': after a failure the log stays open and goes on in a new file. */
enum error log_write(struct log *log);

uint64_t log_appended(const struct log *log);
uint64_t log_written(const struct log *log);
uint64_t log_synced(const struct log *log);
enum log_state log_state(const struct log *log);
/* Why a start that waited for space has become LOG_READ_ONLY: an errno. */
int log_finish_cause(const struct log *log);
/* A sync is running (or the log is leaving). */
bool log_syncing(const struct log *log);
/* A write or sync failed and no other file has taken over yet, be the state LOG_LEAVING or LOG_FULL: a start now would find what stands in
 * the old one. */
bool log_leaving(const struct log *log);
uint64_t log_unsynced_bytes(const struct log *log);

/* Starts a sync of all that is written, if there is something and none runs: true if one was started. */
bool log_sync_start(struct log *log);

/* The table's answer to sync_start. After it the caller looks at log_synced and log_state: a failure makes the log LEAVING (it goes on
 * through further syncs) and at last OPEN or READ_ONLY. */
void log_sync_done(struct log *log, const struct sync_job *job);

/* The table's answer to prepare_start: the next file is there, or errno says why not (tried again by log_tick). */
void log_prepared(struct log *log, uint64_t id, int error);

/* ---- sealing ---- */

/*
 * Starts to seal the oldest file that may be: true if one was started. `published`: every frame that ends at or before it has been published and answered. Not while
 * the last one's answer is missing.
 */
bool log_seal_start(struct log *log, uint64_t published);
/* A job runs. */
bool log_sealing(const struct log *log);
/* A frame waits for a roll, and the roll for a file to be sealed: what is left and not synced should be. */
bool log_seal_wanted(const struct log *log);
/* The table's answer to seal_start. ERR_CORRUPT, ERR_IO, ERR_LIMIT: the file stays unsealed for good; other failures: log_tick lets it be tried again. */
void log_sealed(struct log *log, const struct seal_job *job);
/* The entry that says of a file that it is sealed, if one is due; it stays due until log_sealed_noted. */
bool log_sealed_entry(const struct log *log, struct entry *entry);
void log_sealed_noted(struct log *log, uint64_t file_id);

/* Once a second and when waiting: tries again what failed for lack of space. */
void log_tick(struct log *log);

/* ---- checkpoints ---- */

/*
 * In the background, in slices: start, then frames of entries that say what is so at the end of what is appended at that moment (nothing may gather that is not part
 * of it), then close. When log_checkpoint_covered, finish starts a job, whose answer log_checkpoint_finished takes. Whatever fails, and a log that leaves its file,
 * calls for log_checkpoint_abandon, which the log does by itself when it leaves its file (frame and close say ERR_AGAIN then); it is due again after a log_tick. One
 * whose job runs is not given up.
 */
bool log_checkpoint_due(const struct log *log);
enum error log_checkpoint_start(struct log *log);
enum error log_checkpoint_frame(struct log *log, const uint8_t *entries, uint32_t entries_length, uint32_t entry_count);
enum error log_checkpoint_close(struct log *log);
bool log_checkpoint_covered(const struct log *log);
enum error log_checkpoint_finish(struct log *log);
bool log_checkpoint_finishing(const struct log *log);
void log_checkpoint_finished(struct log *log, const struct finish_job *job);
void log_checkpoint_abandon(struct log *log);

/* ---- clean stop ---- */

/* A checkpoint of now, synchronously: begin syncs all, then frames as above, then end. */
enum error log_checkpoint_begin(struct log *log);
enum error log_checkpoint_end(struct log *log);

/* Syncs everything and writes and syncs a last sync mark, synchronously; after the checkpoint. Like log_checkpoint_begin ERR_BUSY while
 * log_syncing. */
enum error log_close_clean(struct log *log);

/* ---- reading back (idempotency look-ups, checks) ---- */
/* The frame at `place`, place->length bytes, from memory or its file, checked for conditions 1 to 7. ERR_CORRUPT, ERR_IO. */
enum error log_read(struct log *log, const struct log_place *place, uint8_t *bytes);

#endif
