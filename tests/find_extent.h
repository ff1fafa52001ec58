/* Where a topic's next records lie, by the way that a reader goes: extents in the catalogue, and segments with theirs in a footer. */
#ifndef TOPICS_TESTS_FIND_EXTENT_H
#define TOPICS_TESTS_FIND_EXTENT_H

#include <stdbool.h>

#include "common/catalogue.h"
#include "common/ops.h"

/* The extent with the lowest seqs that ends at or after `seq`; false: there is none, or a footer does not check. `files`: where the log's files are. */
bool find_extent(const struct catalogue *catalogue, const struct ops *files, int64_t slot, uint64_t topic, uint64_t seq, struct extent *found);

#endif
