/*
 * An engine in a memory world with real rings, completions, catalogue and feed, and workers that ask and listen. Jobs end when the test says
 * so. Data follow from the number of the request, so that whatever a reader finds can be judged.
 */
#ifndef TOPICS_TESTS_ENGINE_FIXTURE_H
#define TOPICS_TESTS_ENGINE_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "logd/engine.h"
#include "tests/memory_world.h"

enum { ENGINE_WORKERS = 3, ENGINE_ANSWERS = 8192, ENGINE_LARGE = 4 << 20 };

struct engine_worker {
	uint64_t incarnation;
	void *request, *completion;
	struct counters *counters;
	struct ring_producer *producer;
	struct completion_reader *reader;
	bool asleep;             /* it does not read its answers */
	unsigned woken, broken, dropped;
};

struct engine_answer {
	unsigned times;          /* answers that came; 0: none yet */
	struct completion completion;
	uint8_t body[512];
};

struct engine_fixture {
	struct memory_world *world;
	struct settings settings;
	uint64_t checkpoint_bytes; /* 0: as in production */
	bool holds_seals;        /* engine_settle seals nothing and finishes no checkpoint */
	bool holds_lookups;      /* engine_settle answers no question about keys */
	unsigned lookups;        /* answered */
	unsigned sealed, checkpoints; /* that went well */
	struct engine *engine;
	struct status *status;
	struct feed_shared *feed;
	struct catalogue_writer *writer;
	struct catalogue *now;   /* what readers see */
	int catalogue_fd;
	uint64_t catalogue_number;
	bool whole;              /* it was shown whole, by this logd or one before */
	struct engine_worker workers[ENGINE_WORKERS];
	unsigned workers_used;
	uint64_t next_id;
	struct engine_answer answers[ENGINE_ANSWERS]; /* by request id */
	unsigned born, retired;
	char message[512];
};

/* What an append asks besides its topic and its number of records; zeros ask for nothing. */
struct append_options {
	unsigned worker;
	uint32_t bytes;          /* of each record's data; 0: a few */
	const char *key;
	const char *tag;         /* of every record */
	const struct topic_config *config;
	bool create, no_create, wait;
	bool expect_head, expect_epoch;
	uint64_t head, epoch;
};

/* A fixture with an empty world, started as a daemon with `workers` workers. */
struct engine_fixture *engine_fixture_create(unsigned workers);
/* Its settings may be changed before this. */
enum error engine_fixture_start(struct engine_fixture *f, bool daemon_start, bool fault_death);
void engine_fixture_destroy(struct engine_fixture *f);

/* For cmocka: a fixture of two workers that has started, as *state; and its end. */
int engine_setup(void **state);
int engine_teardown(void **state);

/* logd dies, nothing else does; engine_fixture_start(f, false, …) comes next. */
void engine_fixture_logd_dies(struct engine_fixture *f);
/* All processes die: rings, counters, status and the old catalogue are gone, and with `cut` what was not synced. */
void engine_fixture_daemon_dies(struct engine_fixture *f, bool cut);
/* engine_idle, engine_stop; then as daemon_dies. */
enum error engine_fixture_stop(struct engine_fixture *f);
/* The same, and the next start, which must go well. */
void engine_logd_starts(struct engine_fixture *f);
void engine_daemon_starts(struct engine_fixture *f, bool cut);
/* A new process in the worker's place; the old one's ring is gone. */
void engine_fixture_worker_dies(struct engine_fixture *f, unsigned worker);
void engine_fixture_worker_starts(struct engine_fixture *f, unsigned worker);

/* Requests: their ids, which are the indices into answers. */
uint64_t engine_append(struct engine_fixture *f, const char *topic, uint32_t count, const struct append_options *options);
uint64_t engine_put(struct engine_fixture *f, const char *topic, const struct topic_config *config);
uint64_t engine_patch(struct engine_fixture *f, const char *topic, const struct topic_config *config, uint32_t mask);
uint64_t engine_delete(struct engine_fixture *f, const char *topic, bool if_empty);

/* One round; answers are read. */
void engine_one_round(struct engine_fixture *f);
/* Ends what sync or preparation is pending: true if there was one. */
bool engine_end_sync(struct engine_fixture *f);
bool engine_end_prepare(struct engine_fixture *f);
/* Seals the file or finishes the checkpoint that is pending. */
bool engine_end_seal(struct engine_fixture *f);
bool engine_end_lookup(struct engine_fixture *f);
bool engine_end_finish(struct engine_fixture *f);
/* Rounds, jobs, and ticks that let `us` pass, until nothing moves any more. */
void engine_settle(struct engine_fixture *f);
void engine_pass(struct engine_fixture *f, uint64_t us);
/* Does it to the end and gives the answer, which must have come exactly once. */
const struct completion *engine_answered(struct engine_fixture *f, uint64_t id);
bool engine_has_answer(const struct engine_fixture *f, uint64_t id);

struct topic_config engine_config(enum durability durability);
/* A topic that exists, with nothing waiting. */
void engine_make_topic(struct engine_fixture *f, const char *topic, enum durability durability);

/* What readers find. Slot -1: there is no such topic. */
struct topic_numbers engine_numbers(struct engine_fixture *f, const char *topic);
/* The records [first, first + count) are those of request `id`, byte for byte, by the way that a reader goes. */
bool engine_reads(struct engine_fixture *f, const char *topic, uint64_t first, uint32_t count, uint64_t id);
/* The number of losses, and the `index`th. */
unsigned engine_losses(struct engine_fixture *f, const char *topic, struct loss *losses, unsigned room);
void engine_assert_no_losses(struct engine_fixture *f, const char *topic);

#endif
