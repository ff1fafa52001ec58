/* A log in a memory world, and frames whose bytes follow from a number, so that whatever comes back can be judged. */
#ifndef TOPICS_TESTS_LOG_FIXTURE_H
#define TOPICS_TESTS_LOG_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "logd/log.h"
#include "tests/memory_world.h"

enum { FIXTURE_SEEN = 4096, FIXTURE_TOPIC = 7, FIXTURE_NAMES = 256 };

/* A frame that recovery showed. */
struct seen_frame {
	uint64_t number;         /* request id; 0: not one of ours */
	struct log_place place;
	bool proven, whole, checkpoint, before_checkpoint, is_void, is_mark;
};

struct fixture {
	struct memory_world *world;
	struct log *log;
	struct log_options options;
	uint64_t next;           /* number of the next frame; its seqs are 3 * number .. + 2 */
	uint64_t highest;        /* number that was ever appended, also to a group that failed */
	bool holds_seals;        /* fixture_jobs and fixture_write seal nothing */
	bool unsettled;          /* fixture_start does not say log_settled, as an owner that dies before it has answered */
	struct log_recovered recovered;
	struct seen_frame seen[FIXTURE_SEEN];
	unsigned seen_count;
	struct log_damage damage[64];
	unsigned damage_count;
	struct log_place places[FIXTURE_SEEN]; /* by number: where the frame lies, moved ones too */
	unsigned moved, born, retired, evicted, sealed;
	uint64_t last_evicted;
};

void fixture_init(struct fixture *fixture, uint64_t seed, uint8_t kind, uint64_t file_bytes);
void fixture_free(struct fixture *fixture);
/* log_create and log_recover; finish apart, so that tests can append losses or fail. */
enum error fixture_recover(struct fixture *fixture);
enum error fixture_start(struct fixture *fixture);
/* The process dies; the next start is the test's. */
void fixture_die(struct fixture *fixture);
/* The machine does. */
void fixture_cut(struct fixture *fixture, uint64_t seed);
/* How many files of a kind there are. */
unsigned fixture_names(const struct fixture *fixture, uint8_t kind);
/* A frame of three records and about `bytes` of data; ERR_OK and its number is fixture->next - 1. */
enum error fixture_append(struct fixture *fixture, uint32_t bytes, bool control);
/* Appends and writes, doing jobs that it waits for. Asserts. */
void fixture_write(struct fixture *fixture, uint32_t bytes);
/* Seals a file if one may be sealed: true if it was. *job (may be NULL): how that went; its topics are gone. */
bool fixture_seal(struct fixture *fixture, struct seal_job *job);
/* Ends what is pending: preparation, sync, and seals what may be. True if there was anything. */
bool fixture_jobs(struct fixture *fixture);
/* Syncs all that is written. Asserts that it is then synced. */
void fixture_sync(struct fixture *fixture);
/* The bytes of a frame are those of its number. */
bool fixture_frame_right(const uint8_t *frame, uint64_t length);
/* Numbers of ours that were seen, in order, are exactly from..to (none: to < from). */
void fixture_saw(const struct fixture *fixture, uint64_t from, uint64_t to);

/* Frame `number` reads back from its place, byte for byte. */
void fixture_assert_readable(struct fixture *f, uint64_t number);

#endif
