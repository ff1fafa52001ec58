/* Records as JSON: what was stored is copied, the last digit of `$seq` is counted up in ASCII, nothing is parsed (ARCHITECTURE §6). */
#ifndef TOPICS_RENDER_H
#define TOPICS_RENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/record.h"
#include "worker/exchange.h"

enum { RENDER_HEAD = 64 };

/* What is the same for the records of a batch, and the head that ten of them have in common. */
struct render {
	bool include_tags, include_meta;
	uint8_t head[RENDER_HEAD]; /* {"$seq":120,"$ts":123 */
	unsigned head_length;      /* 0: it is to be written */
	unsigned digit;            /* where the last digit of `$seq` stands in it */
	uint64_t tens;             /* of the seqs that it is for: 12 */
	int64_t ts;
	const uint8_t *node;   /* the batch's */
	uint32_t node_length;
};

void render_batch(struct render *render, int64_t ts, const uint8_t *node, uint32_t node_length);

/* Appends the record as a JSON object. ERR_NOMEM. */
enum error render_record(struct render *render, struct buffer *out, uint64_t seq, const struct record *record);

#endif
