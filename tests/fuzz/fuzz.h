/* A fuzz target: one function that must survive any input, and seeds that get it past its first checks. */
#ifndef TOPICS_FUZZ_H
#define TOPICS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length);

/* Writes the seed with this index (any number; a target has as many as it likes) into `out`; returns its length. */
size_t fuzz_seed(unsigned index, uint8_t *out, size_t room);

#endif
