/* What all forms of stage 1 do with a block of 64 bytes once its characters are classed: bits against bits, bit n for byte n. Only for scan_index*.c. */
#ifndef TOPICS_SCAN_BLOCK_H
#define TOPICS_SCAN_BLOCK_H

#include <string.h>

#include "worker/scan_index.h"

/* A block where it lies, or a copy of it: the last block is copied to have 64 bytes, the first to have bytes before it. */
struct scan_piece {
	const uint8_t *at;
	size_t offset;       /* in the text */
};

enum { SCAN_BEFORE = 3 /* bytes before a block that the check of its UTF-8 looks at */ };

/* The bytes that stand behind a backslash that counts; checks the escapes. Backslashes outside of strings are taken for such too: stage 2 refuses them. */
uint64_t scan_escapes(struct scan_index *index, uint64_t backslash, size_t offset);

/* A control character belongs nowhere but, being white space, outside of strings. */
__attribute__((always_inline)) static inline uint64_t scan_bad_control(uint64_t control, uint64_t space, uint64_t in_string)
{
	return control & (in_string | ~space);
}

/*
 * The tokens of a block: `quote` without those behind a backslash, `space` and `punctuation` in strings too, `in_string` from each opening quote up to the
 * byte before its closing quote.
 */
__attribute__((always_inline)) static inline uint64_t scan_tokens(struct scan_carry *carry, uint64_t quote, uint64_t space, uint64_t punctuation, uint64_t in_string)
{
	uint64_t scalar = ~(punctuation | space);
	uint64_t plain = scalar & ~quote;
	uint64_t starts = scalar & ~(plain << 1 | carry->in_scalar);
	carry->in_scalar = plain >> 63;
	carry->in_string = (uint64_t)((int64_t)in_string >> 63);
	/* Without the quotes that close and what is between quotes. */
	return (punctuation | starts) & ~(in_string ^ quote);
}

#endif
