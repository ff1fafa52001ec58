/*
 * The oracle of the crash-state enumerator: it makes the requests, so it knows every byte; it gets the answers, so it knows every ack; and
 * it reads everything back as a worker does, through the catalogue and the files, and says what is wrong.
 */
#ifndef TOPICS_TESTS_SIM_ORACLE_H
#define TOPICS_TESTS_SIM_ORACLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/catalogue.h"
#include "common/completion.h"
#include "common/ops.h"
#include "common/request.h"

enum { SIM_REQUESTS = 160, SIM_NAMES = 4, SIM_TOPICS = 96, SIM_LOSSES = 64, SIM_NO_REQUEST = -1 };

/* What is counted; the first four are FAULTS.md's figures. */
enum sim_figure { FIGURE_ACKED_LOSS, FIGURE_SILENT_GAP, FIGURE_REUSED_SEQ, FIGURE_FALSE_TOMBSTONE, FIGURE_OTHER, SIM_FIGURES };

enum sim_state { SIM_PLANNED, SIM_SENT, SIM_ANSWERED, SIM_ORPHANED /* its worker died: nobody will hear the answer */ };

struct sim_request {
	struct request head;         /* id = index + 1 */
	enum sim_state state;
	unsigned name;
	unsigned ring;
	int repeat_of;               /* index of the first request with this key, or SIM_NO_REQUEST */
	bool barrier;                /* nothing else is sent for this name until it is answered */
	bool retry;                  /* made after a crash: not part of the plan */
	enum durability durability;  /* append: the class that its topic has when it is processed */
	struct topic_config config;
	uint8_t *bytes;              /* owned: the parts behind the head, as sent */
	uint64_t body_at;            /* where in them the records begin */
	struct completion answer;
	bool lost;                   /* acked, and rightly gone since: its class allowed it */
};

/* An incarnation of a topic that an answer or the catalogue has shown. */
struct sim_topic {
	uint64_t id;
	unsigned name;
	uint64_t seen_head;          /* highest head that a reader could see */
	uint64_t seen_durable;
	struct loss losses[SIM_LOSSES];
	unsigned losses_count;       /* announced so far */
	unsigned classes;            /* bits of enum durability that it has had */
};

/* What has stopped since the catalogue was looked at last. */
enum sim_crash { CRASH_NONE, CRASH_LOGD, CRASH_LOGD_AND_WORKER, CRASH_ALL, CRASH_POWER, SIM_CRASHES };
extern const char *const sim_crash_names[SIM_CRASHES];

struct sim_oracle {
	struct sim_request requests[SIM_REQUESTS];
	unsigned count;
	struct sim_topic topics[SIM_TOPICS];
	unsigned topic_count;
	uint64_t random;
	bool faults;                 /* calls were made to fail: io_error losses may be */
	uint32_t found[SIM_FIGURES]; /* violations */
	char first[512];             /* the first of them */
};

void sim_oracle_init(struct sim_oracle *oracle, uint64_t seed);
void sim_oracle_free(struct sim_oracle *oracle);
void sim_wrong(struct sim_oracle *oracle, enum sim_figure figure, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Requests and answers, one a line. */
void sim_oracle_print(const struct sim_oracle *oracle, FILE *out);
bool sim_oracle_content(const struct sim_oracle *oracle);

extern const char *const sim_names[SIM_NAMES];

/* An answer has come through the ring's completions; `now` is the catalogue that is current. */
void sim_oracle_answer(struct sim_oracle *oracle, unsigned ring, const struct completion *completion, const struct catalogue *now);

/* What readers can see at this moment becomes known. */
void sim_oracle_look(struct sim_oracle *oracle, const struct catalogue *now);

/* The worker of the ring is dead: what it waits for will never be heard. */
void sim_oracle_orphan(struct sim_oracle *oracle, unsigned ring);

/* Reads everything and judges it, after `crash` (the gravest since the oracle looked last). `text`: a canonical listing of topics, records
 * and losses, to be freed by the caller; may be NULL. Known losses are brought up to date. */
void sim_oracle_judge(struct sim_oracle *oracle, const struct catalogue *now, const struct ops *files, enum sim_crash crash, char **text);

/* A catalogue that shows only what is proven: all of it is there, and `platter`, the files as a power cut would leave them, has every record. */
void sim_oracle_judge_partial(struct sim_oracle *oracle, const struct catalogue *now, const struct ops *files, const struct ops *platter);

/* sim_plan.c: makes a request ready to be sent. Each returns its index. */
unsigned sim_plan_append(struct sim_oracle *oracle, unsigned name, unsigned ring, uint32_t records, enum durability durability,
                         uint64_t *random);
unsigned sim_plan_repeat(struct sim_oracle *oracle, unsigned of);
unsigned sim_plan_topic(struct sim_oracle *oracle, unsigned name, unsigned ring, enum request_type type, const struct topic_config *config,
                        uint32_t mask);
/* A small workload for the seed; of some seeds one that is long enough to fill many files. */
bool sim_is_long(uint64_t seed);
void sim_plan(struct sim_oracle *oracle, uint64_t seed, unsigned rings);

/* sim_read.c: what a worker finds. */
struct sim_run { int request; uint64_t first; uint32_t count; uint64_t payload; };
struct sim_found {
	uint64_t id;
	unsigned name;
	uint32_t slot;
	struct topic_numbers numbers;
	struct topic_config config;
	struct sim_run runs[SIM_REQUESTS];
	unsigned run_count;
	struct loss losses[SIM_LOSSES];
	unsigned loss_count;
};
struct sim_view {
	struct sim_found topics[SIM_NAMES + 4];
	unsigned count;
};
/* `files`: where footers are read, NULL: no records are; `frames`: where records are. */
void sim_read(struct sim_oracle *oracle, const struct catalogue *now, const struct ops *files, const struct ops *frames, struct sim_view *view);

#endif
