/*
 * Stage 2 of the record scanner: walks the tokens of stage 1 (scan_index.h), checks the grammar and the limits, and writes the records.
 */
#ifndef TOPICS_SCAN_WALK_H
#define TOPICS_SCAN_WALK_H

#include "worker/scan_index.h"
#include "worker/scan_parts.h"

/*
 * As scan_append, with *scan prepared; the body is the text of *index, of which nothing has been indexed yet; `tokens` has SCAN_TOKENS_MAX places. False:
 * the body is to be refused, or has something so rare that only the one-pass form takes it; then *scanned and what was written mean nothing, and
 * scan_one_pass says which.
 */
bool scan_two_stage(const struct scan *scan, const struct scan_index *index, enum scan_form form, uint32_t *tokens);

#endif
