/*
 * logd's topics: by name and by id. A topic's life:
 *
 *      create                    its frame is published              delete                 its frame is published
 *   ---------> ASSIGNED (name taken) -------------> PUBLISHED ------------------> DELETING (name free) ------------> freed
 *                 | the group fails: undone (undo.c)                 | the group fails: the name is its again
 */
#ifndef TOPICS_TOPIC_TABLE_H
#define TOPICS_TOPIC_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/catalogue.h"
#include "common/error.h"
#include "common/topic_config.h"

struct pending;

enum topic_state { TOPIC_ASSIGNED, TOPIC_PUBLISHED, TOPIC_DELETING };

/*
 * Records of an ephemeral topic that lie in the disk log, because their frame also says what outlives the daemon or follows one that does (ARCHITECTURE §4): a run of seqs. What is
 * ephemeral goes past the bound of the ephemeral log in the order of seqs, wherever it lies.
 */
struct stray {
	uint64_t first, last;
	uint64_t payload;
};

struct topic {
	uint64_t id;
	enum topic_state state;
	uint32_t name_length;
	char name[TOPIC_NAME_MAX + 1];
	struct topic_config config;      /* as assigned; the catalogue has the published one */
	uint32_t slot;                   /* in the catalogue, once published */
	unsigned references;             /* pending frames and unsynced ones that name it */

	/* as assigned: what the frames appended so far say */
	uint64_t head;
	uint64_t count;
	uint64_t bytes;
	uint64_t ceiling;                /* the last one in the log */
	uint64_t ceiling_end;            /* LSN at which the frame that holds it ends */
	uint64_t ceiling_safe;           /* the last one known synced: seqs up to it may be seen by clients (I-6) */
	uint64_t reservation;            /* how much the next ceiling reserves */
	uint64_t touched_group;          /* number of the group in which it was saved for undo */

	/* as published */
	struct topic_numbers numbers;
	unsigned unpublished;            /* frames of it that wait */
	unsigned unpublished_disk;       /* those of them in the disk log */
	uint64_t blocked_pass;           /* publish pass in which one of its frames was found waiting */
	struct topic *next_dirty;        /* numbers changed in this pass */
	bool dirty;
	bool shown;                      /* it stands in the catalogue */

	/* records that go with a file of the ephemeral log, gathered over the file */
	struct loss evicted;             /* to is 0: none; what stays does not lie within */
	uint64_t evicted_count, evicted_bytes;
	struct topic *next_evicted;

	/* open topics (not closed by a ceiling at their head), the one idle for longest first */
	struct topic *open_previous, *open_next;
	uint64_t active_us;
	bool open;

	/* recovery */
	uint64_t seen;                   /* last seq accounted for: in a frame, or in a gap that was noted */
	uint64_t damage;                 /* damages that had been met when something of it was met last */
	bool was_ephemeral;              /* its class is, or was at some time (kept up to date afterwards too) */
	uint64_t proven;                 /* last seq that a frame below the recorded frontier, or the checkpoint, holds */
	bool unproven;                   /* no such frame has created it */
	bool unproven_config;            /* ... or says its configuration */
	uint64_t unproven_count, unproven_bytes; /* of `numbers`: what stands behind that frontier */
	bool tail_ephemeral;             /* seqs past the last batch that the disk log holds may have been given to ephemeral records */
	bool tail_unsynced;              /* ... to records that were seen before a sync: it was not an fsync topic all the time since the last proven frame */
	bool closed;                     /* its last ceiling closed it */
	uint64_t state_lsn;              /* what the disk log holds before it is in the topic's slice of the checkpoint; 0: it has none */
	uint64_t ceiling_lsn;            /* where the disk log says its ceiling */
	uint64_t ephemeral_lsn;          /* where it was last made ephemeral */

	struct loss *losses;             /* owned; as in the catalogue, rising */
	uint32_t loss_count;
	struct stray *strays;            /* owned; of what is published, rising */
	uint32_t stray_count, stray_room;

	struct topic *next_by_name, *next_by_id;
	struct topic *all_previous, *all_next; /* in the order in which they were linked by id */
};

struct topic_table;

/* `key`: 16 random bytes, so that nobody can choose names that meet in one chain. */
enum error topic_table_create(struct topic_table **table, const uint8_t key[16]);
/* Frees the topics too. */
void topic_table_destroy(struct topic_table **table);

/* A new topic with this name, not linked yet; id not 0. NULL when memory is out. */
struct topic *topic_make(uint64_t id, const char *name, size_t length, const struct topic_config *config);
void topic_free(struct topic **topic);

/* Notes a loss, in order of its seqs. */
enum error topic_add_loss(struct topic *topic, const struct loss *loss);
/* The seq was given up: what the log says of it has no effect any more, though its frame may stand there. */
bool topic_seq_lost(const struct topic *topic, uint64_t seq);
/* The first seq from `seq` on that is in no loss. */
uint64_t topic_skip_losses(const struct topic *topic, uint64_t seq);

/* Seqs of [from, to] that are in a loss. */
uint64_t topic_lost_count(const struct topic *topic, uint64_t from, uint64_t to);

/* Memory for `more` strays: false when it is out. */
bool topic_provide_strays(struct topic *topic, uint32_t more);
/* Notes a stray behind all others; its memory has been provided. */
void topic_add_stray(struct topic *topic, const struct stray *stray);
/* Records of the strays that lie within [from, to]. */
uint64_t topic_stray_count(const struct topic *topic, uint64_t from, uint64_t to);
/* Where the stray begins that ends right before `seq`; `seq` if there is none. */
uint64_t topic_stray_before(const struct topic *topic, uint64_t seq);
/* Takes out the strays that lie within [from, to]: their payload, and how many records they were. */
uint64_t topic_drop_strays(struct topic *topic, uint64_t from, uint64_t to, uint64_t *count);

/* Links it by id and name, by id alone, or takes it out. ERR_NOMEM only from the first. */
enum error topic_table_add(struct topic_table *table, struct topic *topic);
void topic_table_drop_name(struct topic_table *table, struct topic *topic);
void topic_table_take_name(struct topic_table *table, struct topic *topic);
void topic_table_remove(struct topic_table *table, struct topic *topic);

struct topic *topic_table_by_name(const struct topic_table *table, const char *name, size_t length);
struct topic *topic_table_by_id(const struct topic_table *table, uint64_t id);
uint64_t topic_table_count(const struct topic_table *table);
/* All that are linked by id: those whose deletion is not done yet too. */
uint64_t topic_table_linked(const struct topic_table *table);

/*
 * A walk that may be interrupted: begin, then the topics one by one, NULL at the end. It goes on whatever is added and removed between two calls: who was there at its
 * beginning and still is, is met. One at a time.
 */
void topic_table_walk_begin(struct topic_table *table);
struct topic *topic_table_walk_next(struct topic_table *table);

/* Calls `each` for every topic linked by id; it may not add or remove. Stops at an error and returns it. */
/* The longest idempotency window of any topic, in ms; looks at all of them. */
uint64_t topic_table_longest_window(const struct topic_table *table);

enum error topic_table_each(const struct topic_table *table, enum error (*each)(void *context, struct topic *topic), void *context);

#endif
