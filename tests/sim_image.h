/* A simulated disk as a real directory, with what recovery serves from it beside: for the independent reader of the format (tests/check_images.py). */
#ifndef TOPICS_TESTS_SIM_IMAGE_H
#define TOPICS_TESTS_SIM_IMAGE_H

#include <stdint.h>

#include "tests/memory_world.h"

/* Writes the files as the processes see them and `expected` (the canonical listing) into <folder>/<number>. Ends the program when it cannot. */
void sim_image_write(const char *folder, uint64_t number, const struct memory_world *files, const char *listing);

#endif
