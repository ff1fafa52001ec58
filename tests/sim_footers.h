/* What the footers of a simulated directory have to do with its frames. */
#ifndef TOPICS_TESTS_SIM_FOOTERS_H
#define TOPICS_TESTS_SIM_FOOTERS_H

#include "tests/memory_world.h"
#include "tests/sim_oracle.h"

/* Every file that a *file sealed* entry names has the footer that it says, and every footer checks as a whole. */
void sim_footers_judge(struct sim_oracle *oracle, const struct memory_world *files);

/* Breaks every footer: what a start finds without them has to be the same. Returns how many there were. */
unsigned sim_footers_break(struct memory_world *files);

#endif
