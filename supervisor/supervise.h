/* The supervisor's life: starts the children, keeps them, hands things out, stops them in order. */
#ifndef TOPICS_SUPERVISE_H
#define TOPICS_SUPERVISE_H

#include "supervisor/options.h"
#include "supervisor/start.h"

/* Runs until it is told to stop; returns the exit status. */
int supervise(const struct options *options, const struct ground *ground);

#endif
