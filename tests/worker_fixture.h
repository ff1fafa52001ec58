/*
 * A worker's parts as they are, without its process: real memory objects, rings, catalogue, log files and connections over socketpairs, and in the test's hand the other ends
 * that logd and the supervisor hold. Programs that use it link with $(worker_fixture_ldflags): GET /healthz goes to the test's own handler where it has set one, so that a test
 * gets a real exchange of a real connection.
 */
#ifndef TOPICS_TESTS_WORKER_FIXTURE_H
#define TOPICS_TESTS_WORKER_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/catalogue.h"
#include "common/frame.h"
#include "worker/exchange.h"
#include "worker/worker.h"

enum { FIXTURE_LARGE_BYTES = 4 << 20, FIXTURE_CATALOGUE = 42, FIXTURE_CAUGHT = 16, FIXTURE_TS = 1700000000 };

struct worker_fixture {
	struct worker worker;              /* first: a handler gets from its exchange to the fixture */
	struct status *status;
	struct ring_consumer *requests;    /* logd's */
	struct completion_writer *answers; /* logd's */
	struct catalogue_writer *catalogue;/* logd's */
	struct catalogue *reader;          /* what the worker has unless a test takes it away */
	int supervisor;                    /* the other end of the control socket */
	void *request_object, *completion_object;
	int objects[5];
	char directory[64];                /* of log files */
	uint64_t files;

	void (*handler)(struct exchange *exchange); /* GET /healthz; NULL: the worker's own */
	void *context;                     /* the test's own */
	struct exchange *caught[FIXTURE_CAUGHT];    /* by fixture_catch, in order */
	unsigned caught_count;
	uint8_t parts[FIXTURE_LARGE_BYTES];         /* of the request that fixture_take took last */
	uint64_t taken;                             /* its number in the ring */
};

struct worker_fixture *worker_fixture_create(void);
void worker_fixture_destroy(struct worker_fixture **fixture);
struct worker_fixture *fixture_of(const struct exchange *exchange);
/* For cmocka_unit_test_setup_teardown. */
int worker_fixture_set_up(void **state);
int worker_fixture_tear_down(void **state);

/* The worker has no catalogue and none is current, as at the daemon's start; and: the one with this number is current, but the worker's has not come. */
void fixture_no_catalogue(struct worker_fixture *fixture);
void fixture_catalogue_current(struct worker_fixture *fixture, uint64_t number);
/* The current one is the worker's (again). */
void fixture_catalogue_came(struct worker_fixture *fixture);

/* ---- connections ---- */

/* The client's end of a new connection. */
int fixture_connect(struct worker_fixture *fixture);
/* Rounds of the worker's loop until nothing moves. */
void fixture_rounds(struct worker_fixture *fixture);
void fixture_send(struct worker_fixture *fixture, int client, const char *text);
/* A complete request on a connection of its own; returns the client's end. `body` NULL: none. */
int fixture_request(struct worker_fixture *fixture, const char *method, const char *target, const char *headers, const char *body);

struct http_answer { int status; char bytes[1 << 20]; size_t length; const char *body; };
/* Next answer on the connection (of a HEAD: head only); false: nothing has come. */
bool fixture_answered(struct worker_fixture *fixture, int client, bool head_only, struct http_answer *answer);
/* Asserts that it has come with this status and holds this text; closes the connection. */
void fixture_expect(struct worker_fixture *fixture, int client, int status, const char *text);
/* Asserts that the answer has this header line. */
bool answer_has(const struct http_answer *answer, const char *line);

/* A handler that only keeps the exchange in `caught`. */
void fixture_catch(struct exchange *exchange);
/* An exchange of a new connection, caught by it, whose request has this target's query ("a=b", may be "") and body (NULL: none). *client may be NULL. */
struct exchange *fixture_exchange(struct worker_fixture *fixture, const char *query, const char *body, int *client);
/* Answers 200 without a body. */
void fixture_end(struct exchange *exchange);
/* What a connection does with a parked exchange when it breaks. */
void fixture_gone(struct exchange *exchange);

/* ---- logd ---- */

/* Takes the next request: its head; the parts are in fixture->parts. False: none there. It is not released. */
bool fixture_take(struct worker_fixture *fixture, struct request *head);
void fixture_release(struct worker_fixture *fixture, uint64_t number);
/* Puts and publishes one answer. */
void fixture_answer(struct worker_fixture *fixture, const struct completion *completion, const void *body);

/* ---- topics and files ---- */

struct fixture_file { uint64_t id; uint32_t kind, index; char path[128]; int fd; uint64_t end; };
uint32_t fixture_topic(struct worker_fixture *fixture, const char *name);
/* Head becomes the highest seq that has been published. */
void fixture_publish(struct worker_fixture *fixture, uint32_t slot, uint64_t head);
uint64_t fixture_id(struct worker_fixture *fixture, uint32_t slot);
/* A new log file, known to the catalogue. `given`: its descriptor has come to the worker. */
void fixture_file(struct worker_fixture *fixture, bool given, struct fixture_file *file);
void fixture_give(struct worker_fixture *fixture, const struct fixture_file *file);

struct fixture_batch {
	uint32_t count;
	uint32_t data_length;        /* 0: 16; data is {"n":SEQ} and spaces */
	const char *node;            /* the batch's */
	const char *const *nodes;    /* per record, NULL elements: the batch's; elements "" : an empty one */
	const char *tag, *meta;
};
/* Writes a frame with one batch and adds its extent, which fixture_publish shows. Returns the extent. */
struct extent fixture_batch(struct worker_fixture *fixture, struct fixture_file *file, uint32_t slot, uint64_t first, const struct fixture_batch *batch);
/* Flips a bit of the file. */
void fixture_damage(const struct fixture_file *file, uint64_t offset, uint8_t bits);
/* Where record `index` of the extent begins in the file. */
uint64_t fixture_record_offset(const struct fixture_file *file, const struct extent *extent, uint32_t index);

#endif
