/*
 * A worker process: one libevent loop that owns the connections, and read-only views of what logd publishes. Everything a file of worker/ needs of the others hangs
 * off this struct, which the loop owns and passes down.
 */
#ifndef TOPICS_WORKER_H
#define TOPICS_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/catalogue.h"
#include "common/completion.h"
#include "common/counters.h"
#include "common/feed.h"
#include "common/inherit.h"
#include "common/logging.h"
#include "common/ring.h"
#include "common/status.h"

struct accepting;
struct cold;
struct longpoll;
struct reader;
struct event_base;
struct event;
struct connections;  /* connection.h: all connections, budget, accepting */
struct submissions;  /* submit.h: requests that wait for logd */
struct files;        /* files.h: descriptors of log files */
struct scanner;      /* scan.h */
struct waiting;      /* waiting.h: what is parked until the next catalogue or until a file comes */

struct worker {
	struct inherit_worker inherit;
	struct logging logging;
	struct event_base *base;

	const struct status *status;            /* mapped read-only */
	const struct feed_shared *feed;         /* mapped read-only */
	struct counters *counters;              /* own */
	const struct counters *all_counters[WORKERS_MAX];
	struct catalogue *catalogue;            /* NULL until the first has come */
	struct ring_producer *ring;
	struct completion_reader *completions;

	struct connections *connections;
	struct submissions *submissions;
	struct files *files;
	struct reader *reader;                  /* read.h */
	struct scanner *scanner;
	struct waiting *waiting;
	struct longpoll *longpoll;              /* longpoll.h */
	struct cold *cold;                      /* cold.h: reader threads */
	struct accepting *accepting;            /* accept.h */

	struct event *control_event, *wake_event, *tick_event;
	uint64_t swept_us;
	bool draining;
	uint64_t drain_until_us;
	bool leaving;
	int exit_status;
};

/* The catalogue to serve a request from: ERR_AGAIN while the current one has not come (park until worker_on_catalogue), ERR_NOT_READY before the first. */
enum error worker_catalogue(struct worker *worker, const struct catalogue **catalogue);

uint64_t worker_now_us(void);   /* CLOCK_MONOTONIC */
int64_t worker_wall_ms(void);

#endif
