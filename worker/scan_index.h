/*
 * Stage 1 of the record scanner: finds the tokens of JSON text, 64 bytes at a time, and checks what can be checked without knowing the grammar: escapes,
 * control characters, UTF-8. Stage 2 (scan_walk.c) checks the grammar, token by token.
 *
 * A token is one of  { } [ ] : ,  outside of strings, or the first byte of a string (its quote), of a number or of a word. Nothing is said about where
 * strings and numbers end: a string ends at the last byte before the next token that is not white space, and a number or word must be checked up to there.
 * What follows a closing quote without a gap is a token of its own; what follows a number or word without a gap is part of it.
 *
 * The text is indexed in windows, so that the index of a body of any length has a bounded size. Nothing behind the text's end is read.
 */
#ifndef TOPICS_SCAN_INDEX_H
#define TOPICS_SCAN_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/scan.h"

enum {
	SCAN_BLOCK = 64,
	SCAN_WINDOW = 4096,                              /* bytes that are indexed at once, whole blocks */
	SCAN_TOKENS_MAX = SCAN_WINDOW + SCAN_BLOCK + 8,  /* a token a byte, a last block that is not whole, and room to write tokens by eights */
	SCAN_POSITIONS = 256,
};

/* What one block hands to the next; zero before the first. */
struct scan_carry {
	uint64_t in_string;    /* all ones: the last byte is in a string */
	uint64_t in_scalar;    /* 1: the last byte is of a number or word */
};

/* Where stage 1 stands in its text. */
struct scan_index {
	const uint64_t *positions; /* of scan_index_positions */
	const uint8_t *text;
	size_t length;
	size_t done;           /* bytes that have been indexed; whole blocks until the end */
	struct scan_carry carry;
	uint64_t escaped;      /* 1: the next byte stands behind a backslash that counts */
	uint64_t wide;         /* not zero: the last block has bytes from 0x80 on */
	uint64_t bad;          /* not zero: the text is not JSON */
	size_t utf8_done;      /* the portable form's: UTF-8 is checked up to here */
};

/* Fills a table of SCAN_POSITIONS entries: for each byte the positions of its bits, lowest first, a byte each. */
void scan_index_positions(uint64_t *positions);

/* True if this processor can run the form. */
bool scan_index_supported(enum scan_form form);

/*
 * Indexes the next window and writes its tokens, offsets from the text's start, to `tokens`, which has SCAN_TOKENS_MAX places. Returns their number, which
 * may be 0. Where index->bad is not zero afterwards the text is no JSON, and the tokens mean nothing. `length` is less than 4 GiB; `form` is one that is
 * supported, but not SCAN_ONE_PASS.
 */
size_t scan_index_window(struct scan_index *index, enum scan_form form, uint32_t *tokens);

#endif
