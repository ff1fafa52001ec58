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

struct reader; /* buffers, one per worker */

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

struct read_page {
	struct topic_numbers numbers; /* the one moment that the page shows */
	uint64_t next;                /* last seq examined */
	uint64_t records;
	uint64_t examined;
	bool has_tombstone;
	struct tombstone tombstone;
	uint64_t missing_file;        /* with ERR_AGAIN: wait for this one */
};

/*
 * Appends the page's records to `out`, separated by commas. ERR_OK; ERR_AGAIN: a file's descriptor is missing (call again from the start when it has come); ERR_TOPIC_NOT_FOUND: it
 * was deleted meanwhile; ERR_BUSY: wait for the next catalogue; ERR_STORAGE_FAILED: the disk could not be read; ERR_NOMEM.
 */
enum error read_page(struct reader *reader, const struct read_request *request, struct buffer *out, struct read_page *page);

const char *reason_name(uint32_t reason);

#endif
