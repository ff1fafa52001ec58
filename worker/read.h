/*
 * Reading: from a topic and a cursor to a page of records, without asking logd (ARCHITECTURE §6; API.md §4). Independent of HTTP: diff, single records and streams stand on it.
 */
#ifndef TOPICS_READ_H
#define TOPICS_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "common/catalogue.h"
#include "worker/exchange.h"

enum { READ_EXAMINED_MAX = 100000, READ_BYTES_DEFAULT = 1 << 20, READ_BYTES_MAX = 8 << 20, READ_LIMIT_DEFAULT = 256 };

struct reader;  /* what the readings of a worker share */
struct reading; /* a page in the making */

enum error reader_create(struct reader **reader, struct worker *worker);
void reader_destroy(struct reader **reader);

struct read_request {
	const struct catalogue *catalogue;
	int64_t slot;
	uint64_t topic;             /* its id */
	uint64_t from_seq;          /* exclusive */
	bool recreated;             /* the cursor is of another epoch */
	uint64_t limit;
	uint64_t max_bytes;
	bool include_tags, include_meta;
	const struct slice *nodes;  /* records of these are left out */
	unsigned node_count;
};

struct tombstone { uint64_t from, to; uint32_t reason; bool possible; };

/* Why a page is not whole yet: a descriptor is missing; a reader thread is at work; it has held the loop long enough and should let others have their turn; the catalogue is in the
 * middle of a section. */
enum reading_waits { READING_WAITS_FOR_FILE, READING_WAITS_FOR_DISK, READING_WAITS_FOR_TURN, READING_WAITS_FOR_SECTION };

struct read_page {
	struct topic_numbers numbers; /* the one moment that the page shows */
	uint64_t next;                /* last seq examined */
	uint64_t records;
	uint64_t examined;
	bool has_tombstone;
	struct tombstone tombstone;
	enum reading_waits waits;     /* with ERR_AGAIN: for what; with ERR_BUSY: FOR_SECTION, or it is the next catalogue */
	uint64_t missing_file;        /* READING_WAITS_FOR_FILE */
};

/* A page. ERR_NOMEM. `wake(context)` is called when what READING_WAITS_FOR_DISK waited for is there. */
enum error reading_begin(struct reader *reader, void (*wake)(void *context), void *context, struct reading **reading);

/*
 * Goes on with it: appends records to `out`, separated by commas. The request and the buffer are the same at every call (the catalogue is the current one; behind a new one the page
 * begins anew; if the name is another topic by now, that is ERR_TOPIC_NOT_FOUND). ERR_OK: the page is whole. ERR_AGAIN: call again when what it waits for has come; it gets on with every call. ERR_TOPIC_NOT_FOUND: the topic was deleted meanwhile;
 * ERR_BUSY: end this one and begin anew when the section is whole (page->waits), else with the next catalogue; ERR_STORAGE_FAILED: the disk could not be read; ERR_NOMEM.
 */
enum error reading_go_on(struct reading *reading, const struct read_request *request, struct buffer *out);
const struct read_page *reading_page(const struct reading *reading);

/* At any time; also while a reader thread works for it. */
void reading_end(struct reading **reading);

const char *reason_name(uint32_t reason);

#endif
