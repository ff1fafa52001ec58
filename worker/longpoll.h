/*
 * Long polls: exchanges that wait until there is something to say about their topic. The commit feed is a hint, the catalogue the truth (ARCHITECTURE §6, common/watch.h): an entry of
 * the feed, an overrun or a new catalogue make the heads of what is watched be compared, and whose head is not what its waiters saw has them called again.
 *
 *   longpoll_wait -> WAITING --head moved, topic gone, deadline, client half-closed, drain--> in line for its turn (waiting.h): its handler is called again
 *                       \--connection closed--> forgotten
 */
#ifndef TOPICS_LONGPOLL_H
#define TOPICS_LONGPOLL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/exchange.h"

struct worker;
struct longpoll;

enum error longpoll_create(struct longpoll **longpoll, struct worker *worker);
void longpoll_destroy(struct longpoll **longpoll);

/* What a waiter saw, in the catalogue that is current. */
struct longpoll_view { uint64_t topic, head; int64_t slot; };

/* Parks until that is no longer so, `until_us` (CLOCK_MONOTONIC) is past, or waiting is over (longpoll_over); then `handler` is called again. */
void longpoll_wait(struct longpoll *longpoll, struct exchange *exchange, const struct longpoll_view *view, uint64_t until_us, void (*handler)(struct exchange *exchange));

/* Once a round: what the feed says, and whose deadline is past. longpoll_pending: there is more, do not sleep (after wake_prepare_sleep). */
void longpoll_run(struct longpoll *longpoll);
bool longpoll_pending(const struct longpoll *longpoll);

void longpoll_catalogue_came(struct longpoll *longpoll);

/* The worker drains: all that wait are called. */
void longpoll_cut(struct longpoll *longpoll);

#endif
