/* Bodies of appends from a seed: valid ones of every shape, and changes that mostly make them invalid. */
#ifndef TESTS_SCAN_DOCUMENTS_H
#define TESTS_SCAN_DOCUMENTS_H

#include <stddef.h>
#include <stdint.h>

enum { DOCUMENT_ROOM = 1 << 17 };

struct document {
	uint64_t state;    /* of the generator: the seed */
	size_t length;
	uint8_t bytes[DOCUMENT_ROOM];
};

/* A pseudo-random number (splitmix64); the state goes on. */
uint64_t document_random(uint64_t *state);

/* A valid body of up to `records` records, none of which is refused for a limit of 64 keys, 4096 bytes of meta, 64 of tag and node. */
void document_make(struct document *document, unsigned records);

/* One change: a flipped bit, a byte changed, put in or taken out, a piece doubled, or an end cut off. */
void document_change(struct document *document);

#endif
