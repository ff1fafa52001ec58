/*
 * Exchanges that wait for something of the worker as a whole: the next catalogue, a section of this one, a log file's descriptor, a reader thread, or just their next turn. Each for a
 * bounded time. What they wait for puts them in line; waiting_run calls their handlers in that order, about a millisecond a round, so that many that are woken at once hold nobody else up.
 *
 *   waiting_for_* -> WAITING --came--> READY --waiting_run--> the handler is called again
 *                       \--too long (waiting_sweep)--> refused
 */
#ifndef TOPICS_WAITING_H
#define TOPICS_WAITING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/exchange.h"

struct event_base;
struct waiting;

enum error waiting_create(struct waiting **waiting, struct event_base *base);
void waiting_destroy(struct waiting **waiting);

/* Parks; `handler` is called again when the next catalogue is there. */
void waiting_for_catalogue(struct waiting *waiting, struct exchange *exchange, void (*handler)(struct exchange *exchange));

/*
 * Parks an exchange that met the catalogue in the middle of a section, whose writer stands still or is dead: `handler` is called again when the section is whole, or when a new catalogue is
 * there. Nobody says when a section ends, so every few milliseconds one of those that wait looks, and if it gets on they all do. It has the time of one wait for all its looks.
 */
void waiting_for_section(struct waiting *waiting, struct exchange *exchange, void (*handler)(struct exchange *exchange));

/* Parks; `handler` is called again when this file has come, or cannot come. */
void waiting_for_file(struct waiting *waiting, struct exchange *exchange, uint64_t file_id, void (*handler)(struct exchange *exchange));

/* Parks until waiting_disk_came for this exchange. */
void waiting_for_disk(struct waiting *waiting, struct exchange *exchange, void (*handler)(struct exchange *exchange));

/* Parks until its next turn: it has worked long enough at a time, or what it waited for has come. */
void waiting_for_turn(struct waiting *waiting, struct exchange *exchange, void (*handler)(struct exchange *exchange));

void waiting_catalogue_came(struct waiting *waiting);
void waiting_file_came(struct waiting *waiting, uint64_t file_id);
void waiting_disk_came(struct exchange *exchange);

/* Once a round. waiting_pending: some are left over. */
void waiting_run(struct waiting *waiting);
bool waiting_pending(const struct waiting *waiting);

/* Refuses those that have waited longer than `deadline_us`. */
void waiting_sweep(struct waiting *waiting, uint64_t now_us, uint64_t deadline_us);

#endif
