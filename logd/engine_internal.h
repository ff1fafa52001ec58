/*
 * What the engine's sources share. engine.c: life, round, tick, stop; take.c: from the rings to a checked request; append.c, topic_requests.c: what requests do;
 * background.c: sealed files and checkpoints, a slice at a time; the clean stop; provide.c: memory before it is needed; publish.c: pending frames, answers; undo.c: a group that could not be written; replay.c, replay_footer.c, recover.c: what the log says at a start; full_start.c: one without space.
 */
#ifndef TOPICS_ENGINE_INTERNAL_H
#define TOPICS_ENGINE_INTERNAL_H

#include "common/counters.h"
#include "common/request.h"
#include "logd/engine.h"
#include "logd/idempotency.h"
#include "logd/key_filter.h"
#include "logd/key_lookup.h"
#include "logd/log.h"
#include "logd/topic_table.h"

enum {
	CEILING_FIRST = 4096,
	CEILING_RESERVATION_MAX = 1 << 20,
	CLOSE_AFTER_US = 60 * 1000 * 1000,
	UNSYNCED_START = 16 << 20,         /* a sync starts at so many bytes, whatever their class */
	UNSYNCED_MAX = 256 << 20,
	UNSEALED_MAX = 4,
	CHECKPOINT_BYTES = 256 << 20,
	CHECKPOINT_FILES = 4,
	ENGINE_CONFIGS = 2,                /* the most that one request keeps: to be published, and to be put back */
	POISON_GRACE_US = 100000,          /* for the worker of a poisoned entry to pass its answer on, before it is replaced */
	TAKE_ENTRIES = 64,                 /* quantum of one ring in one round */
	TAKE_BYTES = 512 << 10,
	KEY_LENGTH_MAX = 256,
	SMALL_PARTS_MAX = 256 + TOPIC_CONFIG_MAX + KEY_LENGTH_MAX + 65536 + 32,
};

/* An answer that a recovered frame stands for, until its ring has room for it. */
struct settled {
	uint64_t incarnation;
	struct completion completion;
	uint32_t body_length;
	uint8_t body[TOPIC_CONFIG_MAX];
};

/* A request in hand: its view's small parts lie in engine->small, its body where it was copied to. */
struct taken {
	struct ring *ring;
	uint64_t number;
	struct request_view view;
	struct topic_config config;    /* decoded, when it has one */
	bool has_config;
};

/* An append that was taken and finds no room in its log now. It goes first when its ring's turn comes. */
struct held {
	struct taken taken;            /* its parts lie in `bytes` */
	uint8_t bytes[];
};

/* What is asked of sealed files about an append. */
struct key_question {
	uint64_t topic;
	uint8_t hash[KEY_HASH];
	int64_t not_before;            /* older keys are out of the topic's window */
	uint64_t moves;                /* engine->key_moves when it was asked */
};

/* An append that waits for the answer, or behind such a one (lookups.c). */
struct lookup {
	struct lookup *next;
	enum { LOOKUP_ASKED, LOOKUP_RUNNING, LOOKUP_KNOWN, LOOKUP_BEHIND } state;
	struct key_question question;
	enum error result;             /* of the job */
	struct key_entry found;
	struct held *held;             /* owned */
};

/* The ring of one worker process, alive or dead with something left. */
struct ring {
	uint64_t incarnation;          /* 0: this place is free */
	uint32_t slot;
	bool gone;                     /* its worker is dead: nothing new is taken */
	bool broken;                   /* it broke the layout: nothing is taken or answered any more */
	uint64_t replace_us;           /* when its worker is to be replaced for an entry that was dropped as poisoned, 0: not */
	bool wake;                     /* in this pass it was answered, or the feed moved and it watches */
	bool blocked;                  /* in this round: no place for its answers, or its log takes nothing now */
	bool ephemeral_guess;          /* which log its last append went to: where the next is copied first */
	uint32_t owed;                 /* taken, not answered */
	uint32_t lookups;              /* of these, in engine->lookups_first */
	struct held *held;             /* owned */
	struct ring_consumer *consumer;
	struct completion_writer *completions;
	const struct counters *counters;
	/* settling after a start: indices into engine->settled, sorted by request id */
	uint32_t *settled;
	uint32_t settled_count;
	uint32_t settled_next;         /* the first that has not been answered again */
	bool settling;                 /* entries published before the start may have been done by the logd before */
	uint64_t start_end;            /* number behind the last of them; what comes from there on no logd before has seen */
};

/* A frame that was appended: kept until it is published and, in the disk log, synced. */
struct pending {
	struct pending *next;          /* in engine->unpublished */
	struct pending *next_unsynced; /* in engine->unsynced */
	struct topic *topic;           /* NULL: about no topic */
	struct ring *ring;             /* who waits for the answer, NULL: nobody */
	uint64_t entry;                /* number in the ring */
	uint64_t end;                  /* LSN at which the frame ends, in its log */
	uint64_t need;                 /* disk LSN that must be synced before it may be published, 0: none */
	uint64_t written_us;
	uint64_t file_id;
	struct extent extent;          /* count 0: no batch */
	uint64_t last_seq;
	int64_t ts;
	struct topic_config *config;   /* create, configure: what to publish; owned */
	uint8_t kind;                  /* enum entry_type that says what publishing it means: create, configure, delete, batch, answer, 0 */
	bool ephemeral;                /* it lies in the ephemeral log */
	bool stray;                    /* batch of the ephemeral class that does not */
	bool created;                  /* batch that also created its topic */
	bool published, synced;
	struct completion completion;
};

/* One thing that a group changed, to be put back if its write fails (I-4). */
enum undo_kind { UNDO_TOPIC, UNDO_CREATED, UNDO_DELETED, UNDO_CONFIG, UNDO_KEY };
struct undo {
	struct undo *next;
	enum undo_kind kind;
	struct topic *topic;
	uint64_t head, count, bytes, ceiling, ceiling_end, reservation;
	bool open;
	struct topic_config *config;   /* owned */
	struct key_entry key;          /* what stood there; topic 0: nothing */
	uint64_t key_topic;
	uint8_t key_hash[KEY_HASH];
};

struct engine {
	struct engine_options options;
	const struct ops *ops;
	const struct settings *settings;
	struct log *disk;
	struct log *ephemeral;
	struct topic_table *topics;
	struct keys *keys;             /* of files that are not sealed */
	struct key_filter *key_filter; /* of sealed ones */
	uint64_t key_moves;            /* files whose keys went from the one to the other */
	struct lookup *lookups_first, **lookups_end;
	struct lookup *looking;        /* whose job runs */
	bool looking_for_nobody;       /* a job runs whose append was dropped */
	unsigned lookup_count;
	uint64_t lookup_bytes;
	struct ring rings[4 * 64];
	unsigned ring_end;             /* every place in use is before it */
	unsigned ring_first;           /* where the next round begins */

	struct pending *unpublished_first, **unpublished_end;
	struct pending *unsynced_first, **unsynced_end;
	struct pending *group_first;   /* appended since the last write; linked in unpublished, from here on */
	struct pending *failed_first;  /* refused with their status, but that waits until their log has left its file */
	struct pending *free_pending;
	bool ephemeral_unclean;        /* a write to the ephemeral log failed: its file may still hold frames of that group */
	struct undo *undo;
	struct undo *free_undo;        /* as the next two: there before they are needed (provide.c) */
	unsigned free_undos;
	struct topic_config *configs[ENGINE_CONFIGS];
	uint64_t group;                /* number of the group that gathers */
	uint64_t pass;                 /* of publishing */
	uint64_t synced_seen;          /* log_synced at the last pass */
	struct topic *dirty;
	struct topic *open_first, *open_last;
	struct topic *evicted;         /* topics with records in the file of the ephemeral log that is going */

	int64_t ts;                    /* newest ts in the log */
	uint64_t now_us;               /* monotonic, of this round */
	uint64_t disk_dirty_us;        /* since when `disk` data is unsynced, 0: none is */
	uint64_t batch_us;             /* of the last batch */
	uint64_t tick_us, sweep_us;
	bool mark_due;                 /* batches since the last sync mark */
	bool sync_wanted;
	bool blocked;                  /* a ring is */
	bool one_by_one;               /* after a death by a fault, while what was published at it is not released: one entry a group */
	bool recovered;
	bool full_start;               /* recovered, and there is no space for the tail yet (full_start.c) */
	bool files_untold;             /* memory was out when the log told of a file: this start ends */
	uint8_t *small;                /* name, configuration, key, node of the request in hand */
	uint8_t *scratch;              /* a whole request that is only refused or small */
	size_t scratch_size;

	struct known_file *files;      /* sorted by nothing: few, and the newest is asked for most */
	uint32_t file_count, file_room;

	uint32_t keys_switched;
	struct seal_job switching;     /* a sealed file whose topics get segments for extents, slice by slice; topics NULL: none */
	uint32_t switched;             /* of its topics */
	bool slicing;                  /* a checkpoint is being written */
	uint8_t *slice;                /* entries of its next frame */
	size_t slice_room;

	bool settling;                 /* since recovery: not everything that it found has been answered and released */
	struct settled *settled;       /* by recovery */
	uint32_t settled_count, settled_room;
	struct recovery *recovery;     /* while recovering */
};

/* take.c */
bool take_from_rings(struct engine *engine);
void answer_now(struct engine *engine, const struct taken *taken, const struct completion *completion, const void *body);
/* The frame of a request that has no batch: reserves, encodes, appends. ERR_AGAIN: nothing was done, the log takes nothing now. */
enum error append_entries(struct engine *engine, struct log *log, bool control, const struct entry *entries, unsigned count, uint64_t incarnation,
                          uint64_t request_id, struct log_place *place);

/* A copy of what was taken, the one that has been checked; NULL: no memory. The caller frees it. */
struct held *held_make(const struct taken *taken, const uint8_t *body);

/* lookups.c */
bool lookups_full(const struct engine *engine);
/* An earlier append of the same ring and topic waits: this one has to wait behind it. */
bool lookups_hold_back(const struct engine *engine, const struct taken *taken);
/* `question` NULL: it waits behind others. False: no memory, nothing was done. */
bool lookups_add(struct engine *engine, const struct taken *taken, const uint8_t *body, const struct key_question *question);
/* Forgets those of a ring whose worker is dead; of all rings: NULL. */
void lookups_drop(struct engine *engine, const struct ring *ring);
/* Appends what has its answer, and asks the next question. True: something waits for a log that takes nothing now. */
bool lookups_serve(struct engine *engine);
void lookups_expire(struct engine *engine);
enum error lookups_load(struct engine *engine, const struct key_file *files, size_t count);

/* append.c */
/* Where an append's records were copied to: FRAME_HEAD + `ahead` bytes into room that is reserved in `log`; or log is NULL and `ahead` too, then elsewhere. */
struct records {
	uint8_t *bytes;
	struct log *log;
	uint32_t ahead;
};
/* WAITS: nothing was done, its log takes nothing now. ASKS: nothing was done; *question has to be answered first. `lookup`: where it has waited, or NULL. */
enum appended { APPEND_DONE, APPEND_WAITS, APPEND_ASKS };
enum appended append_request(struct engine *engine, struct taken *taken, const struct records *records, const struct lookup *lookup,
                             struct key_question *question);
/* An answer that rests on what is not published yet: a frame of its own (docs/format.md, entry 15), in the log where that lies. False as above. */
bool answer_later(struct engine *engine, const struct taken *taken, struct topic *topic, const struct completion *completion, struct log *log);

/* provide.c: memory, before it is needed. False: there is none, and nothing is to be begun. */
bool provide_for_request(struct engine *engine);
bool provide_undos(struct engine *engine, unsigned count);
bool provide_files(struct engine *engine);
/* A copy of `config` in memory that was provided; the caller's to free. At most ENGINE_CONFIGS a request. */
struct topic_config *provided_config(struct engine *engine, const struct topic_config *config);

/* topic_requests.c */
void topic_put_request(struct engine *engine, struct taken *taken);
void topic_patch_request(struct engine *engine, struct taken *taken);
void topic_delete_request(struct engine *engine, struct taken *taken);
bool config_refuses(const struct topic_config *config, uint32_t count, uint64_t payload);
struct topic *find_deleting(const struct engine *engine, const char *name, size_t length);

/* publish.c */
struct pending *pending_new(struct engine *engine);
void pending_queue(struct engine *engine, struct pending *pending);
void pending_free(struct engine *engine, struct pending *pending);
void publish_pass(struct engine *engine);
void publish_synced(struct engine *engine);
void post_answer(struct engine *engine, struct ring *ring, const struct completion *completion, const void *body);
void publish_numbers(struct engine *engine);
void wake_rings(struct engine *engine);
void topic_dirty(struct engine *engine, struct topic *topic);
void topic_unreference(struct engine *engine, struct topic *topic);
void topic_opened(struct engine *engine, struct topic *topic);
void topic_closed(struct engine *engine, struct topic *topic);

/* background.c */
/* A slice of what is under way: true if there is more of it to do now. */
bool background(struct engine *engine);
/* Takes job->topics over. */
void background_sealed(struct engine *engine, struct seal_job *job);

/* undo.c */
void undo_touch(struct engine *engine, struct topic *topic);
void undo_note(struct engine *engine, enum undo_kind kind, struct topic *topic);
void undo_key(struct engine *engine, const struct key_entry *entry, const struct key_entry *replaced);
void undo_forget(struct engine *engine);
/* Drops what was noted about a topic that goes away by itself. */
void undo_forget_topic(struct engine *engine, const struct topic *topic);
/* The group could not be written to its log: everything it changed goes back; its requests will be refused with `error`. */
void undo_group(struct engine *engine, enum error error);
void flush_failed(struct engine *engine);

/* recover.c, replay.c */
/* In a loss's flags while recovery runs: it is not in the log yet. */
#define LOSS_FRESH (1u << 31)
struct gap { struct topic *topic; uint64_t from, to; bool proven; enum reason reason; };
struct found_extent {
	uint64_t topic;
	struct extent extent;
	uint64_t count;                /* of records: those of the extent, or of the run */
	bool ephemeral;                /* the class of the batch, not of its topic now */
	bool on_disk;                  /* it lies in the disk log */
	bool proven;                   /* its frame stands below the recorded frontier */
	bool sealed;                   /* a run of extents of a sealed file, of which `extent` is the first but for the payload: the segment is in the catalogue */
};
struct recovery {
	struct engine *engine;
	bool ephemeral;                /* the ephemeral log is being walked */
	bool holes;                    /* frames behind a frontier were lost in a power cut, now or at an earlier start */
	uint64_t damages;              /* met so far that are no tears */
	uint64_t unread;               /* number of the last of them that could not be read */
	struct gap *gaps;
	size_t gap_count, gap_room;
	struct found_extent *found;    /* of topics that were ephemeral at some time: two logs hold theirs */
	size_t found_count, found_room;
	uint64_t *orphans;             /* batches of topics that nothing has created */
	size_t orphan_count, orphan_room;
	struct log_recovered disk;
	struct key_file *key_files;    /* sealed files with keys, in the order of the log */
	size_t key_file_count, key_file_room;
	uint64_t losses;               /* announced by this start */
};
enum error replay_frame(void *context, const struct log_frame *frame);
/* Why what is missing of the topic behind its last trace is missing. */
enum reason damage_reason(const struct recovery *r, const struct topic *topic);
enum error replay_damage(void *context, const struct log_damage *damage);
enum error replay_sealed(void *context, const struct log_sealed_file *file);
enum error replay_entry(struct recovery *r, const struct log_frame *frame, const struct entry *entry, uint32_t offset);
bool before_state(const struct recovery *r, uint64_t lsn, bool before_checkpoint, const struct topic *topic);
enum error note_gap(struct recovery *r, struct topic *topic, uint64_t to, bool proven, enum reason reason);
enum error note_found(struct recovery *r, const struct found_extent *found);
enum error note_orphan(struct recovery *r, uint64_t topic);
/* Records that the log holds of the topic, the first ones first. */
void count_records(struct topic *topic, uint64_t first, uint64_t count, uint64_t payload, bool proven);
bool settle_entry(struct engine *engine, struct ring *ring, const struct request *head, uint64_t number);
void settle_answers(struct engine *engine);
uint64_t topic_first_live(const struct topic *topic);
/* Everything that recovery found is synced: readers see it, and requests are taken. ERR_NOMEM: may be called again. */
enum error recover_serve(struct engine *engine);
/* The catalogue is what readers see from now on. `whole`: false when it shows only what is proven. */
void make_current(struct engine *engine, bool whole);

/* full_start.c */
enum error full_start_begin(struct engine *engine);
bool full_start_round(struct engine *engine);
/* As engine_tick. */
uint64_t full_start_tick(struct engine *engine);
enum error settle_prepare(struct engine *engine);
enum error settled_add(struct engine *engine, const struct settled *settled);

/* files.c: which index of the catalogue's table of files a file of the log has, and what the logs tell about files. */
struct known_file { uint64_t id; uint32_t index; };
uint32_t file_index(const struct engine *engine, uint64_t file_id);
bool file_known(const struct engine *engine, uint64_t file_id);
/* Published records [from, to] went past the bound of the ephemeral log; they count no more already. */
void records_evicted(struct engine *engine, struct topic *topic, uint64_t from, uint64_t to);
struct log_events file_events(struct engine *engine, bool ephemeral);

/* engine.c */
/* Frames were appended and not written. */
bool gathers(const struct log *log);
/* A group lies in one log, so that it stands or goes back as a whole: while the other one gathers, nothing may be appended to this one. */
bool other_gathers(const struct engine *engine, const struct log *log);
void write_group(struct engine *engine);
uint64_t topic_new_id(struct engine *engine);
int64_t stamp(struct engine *engine);
struct ring *ring_by_incarnation(struct engine *engine, uint64_t incarnation);

#endif
