/*
 * Requests on their way to logd and back: the request ring's producer, the completion ring's reader, and the exchanges that wait in between under their request ids. An answer
 * that nobody waits for is dropped (I-8).
 *
 *   submit_begin -> (caller fills the room) -> submit_publish -> ... completion: `finish` is called
 *                                                            \-> deadline: 503 commit_unknown, the late answer is dropped
 *   no room: the exchange waits its turn (first come, first served), then the handler is called again; too long: 429
 */
#ifndef TOPICS_SUBMIT_H
#define TOPICS_SUBMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/completion.h"
#include "common/error.h"
#include "common/request.h"
#include "worker/exchange.h"

struct submissions;

enum error submissions_create(struct submissions **submissions, struct worker *worker);
void submissions_destroy(struct submissions **submissions);

/* Room for one request. */
struct submit_room {
	uint8_t *entry;   /* the ring entry: struct request first */
	uint8_t *parts;   /* where body, name, configuration, key and node go: behind the head, or the large area */
	size_t room;      /* bytes from `parts` on */
	bool large;
};

/* Asked once of a request that finds no room: true when it would rather wait up to the deadline than be refused with 429. */
typedef bool submit_wait(const struct exchange *exchange);

/*
 * Room for a request whose parts take up to `size` bytes. False: the exchange has been parked until there is room (then `handler` is called again), or refused. `wait` NULL: it
 * would rather be refused.
 */
bool submit_begin(struct exchange *exchange, size_t size, submit_wait *wait, void (*handler)(struct exchange *exchange), struct submit_room *room);

typedef void submit_finish(struct exchange *exchange, const struct completion *completion, const uint8_t *body);

/*
 * Publishes the request: `head` with type, flags, lengths and conditions; the body stands at the start of room->parts, the other parts are copied here. The exchange is parked until
 * `finish` is called with a success or refusal of logd.
 */
void submit_publish(struct exchange *exchange, const struct submit_room *room, struct request *head, const void *name, const void *config, const void *key,
                    const void *node, submit_finish *finish);

/* The common refusals of logd, with their words; `topic` for details. */
void submit_refused(struct exchange *exchange, const struct completion *completion, const uint8_t *body);

/* Takes all completions that are there: true if there was one. */
bool submissions_poll(struct submissions *submissions);
bool submissions_pending(const struct submissions *submissions);

/* Wakes logd if something was published since the last call and it sleeps: once per round. */
void submissions_flush(struct submissions *submissions);

/* Deadlines. */
void submissions_sweep(struct submissions *submissions, uint64_t now_us);

/* Requests that wait for an answer or for room. */
uint64_t submissions_waiting(const struct submissions *submissions);

#endif
