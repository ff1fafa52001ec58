/* The golden images: directories of a log, made from fixed inputs, so that a change of any byte of the format is seen (tests/golden/README.md). */
#ifndef TOPICS_TESTS_MAKE_GOLDEN_H
#define TOPICS_TESTS_MAKE_GOLDEN_H

#include "tests/memory_world.h"

struct golden {
	const char *name;
	struct memory_world *(*make)(void);
};

extern const struct golden golden_images[];
extern const unsigned golden_count;

/* "w0123456789abcdef": the name of a file as docs/format.md §1 gives it. */
void golden_file_name(const struct file_name *name, char out[48]);

#endif
