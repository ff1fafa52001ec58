/* Exchanges that wait for something of the worker as a whole: the next catalogue, or a log file's descriptor. In the order in which they came, each for a bounded time. */
#ifndef TOPICS_WAITING_H
#define TOPICS_WAITING_H

#include <stdint.h>

#include "common/error.h"
#include "worker/exchange.h"

struct waiting;

enum error waiting_create(struct waiting **waiting);
void waiting_destroy(struct waiting **waiting);

/* Parks; `handler` is called again when the next catalogue is there. */
void waiting_for_catalogue(struct waiting *waiting, struct exchange *exchange, void (*handler)(struct exchange *exchange));

/* Parks; `handler` is called again when this file has come, or cannot come. */
void waiting_for_file(struct waiting *waiting, struct exchange *exchange, uint64_t file_id, void (*handler)(struct exchange *exchange));

void waiting_catalogue_came(struct waiting *waiting);
void waiting_file_came(struct waiting *waiting, uint64_t file_id);

/* Refuses those that have waited longer than `deadline_us`. */
void waiting_sweep(struct waiting *waiting, uint64_t now_us, uint64_t deadline_us);

#endif
