/* A topic of the worker's fixture with three log files, and what was read of it. */
#ifndef TOPICS_TESTS_READ_WORLD_H
#define TOPICS_TESTS_READ_WORLD_H

#include "tests/worker_fixture.h"
#include "worker/read.h"

/* A topic of the fixture, and what was read of it last. */
struct read_world {
	struct worker_fixture *f;
	uint32_t slot;
	struct fixture_file file[3];
	struct read_request request;
	struct buffer out;
	struct read_page page;
	bool woken;          /* a reader thread is done */
	unsigned turns;      /* that readings have waited for */
};

int read_world_set_up(void **state);
int read_world_tear_down(void **state);

/* A page into w->page and w->out. */
/* A page from the request as it is, behind what `out` holds. */
enum error read_on(struct read_world *w);
enum error read_from(struct read_world *w, uint64_t from_seq);
/* Asserts that what was read is the records `from`..`to`, each with its own data (none: to < from), but those below 64 whose bit stands in `without`. */
void records_are(struct read_world *w, uint64_t from, uint64_t to, uint64_t without);
/* Reads, and asserts that the page is `first`..`last` (none: last < first) without a tombstone. */
void page_is(struct read_world *w, uint64_t from_seq, uint64_t first, uint64_t last);
void tombstone_is(const struct read_world *w, uint64_t from, uint64_t to, uint32_t reason);
/* Writes a batch into this file and publishes it. */
struct extent put_batch(struct read_world *w, unsigned file, uint64_t first, uint32_t count);

#endif
