/* Stage 1 with the vector instructions of x86-64. Only for scan_index.c. */
#ifndef TOPICS_SCAN_INDEX_X86_H
#define TOPICS_SCAN_INDEX_X86_H

#include "worker/scan_index.h"

struct scan_piece;

/* True if this processor can run the form; false for forms that are not of this file. */
bool scan_index_x86_supported(enum scan_form form);

/* Indexes `blocks` blocks; SCAN_BEFORE bytes may be read before the first of them. Returns the number of tokens. */
size_t scan_index_x86(struct scan_index *index, enum scan_form form, const struct scan_piece *piece, size_t blocks, uint32_t *tokens);

#endif
