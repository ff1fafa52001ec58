/* Records as JSON: what was stored is copied, `$seq` is counted up in ASCII, nothing is parsed (ARCHITECTURE §6). */
#ifndef TOPICS_RENDER_H
#define TOPICS_RENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/record.h"
#include "worker/exchange.h"

/* What is the same for the records of a batch, and the number that goes up. */
struct render {
	bool include_tags, include_meta;
	char seq[24];          /* ASCII digits of the next seq, right-aligned at the end */
	unsigned seq_digits;
	uint64_t seq_value;
	char ts[40];           /* ,"$ts":123 */
	unsigned ts_length;
	const uint8_t *node;   /* the batch's */
	uint32_t node_length;
};

void render_batch(struct render *render, int64_t ts, const uint8_t *node, uint32_t node_length);

/* Appends the record as a JSON object. ERR_NOMEM. */
enum error render_record(struct render *render, struct buffer *out, uint64_t seq, const struct record *record);

#endif
