/*
 * Accepting: one listening socket, shared by all workers. It stands in an epoll set of its own with EPOLLEXCLUSIVE, so that one connection wakes one worker; libevent watches that
 * set. Pauses when descriptors or memory run out, and goes on by itself.
 */
#ifndef TOPICS_ACCEPT_H
#define TOPICS_ACCEPT_H

#include "common/error.h"

struct worker;
struct accepting;

enum error accepting_create(struct accepting **accepting, struct worker *worker);
void accepting_destroy(struct accepting **accepting);

/* No further connection is taken. */
void accepting_stop(struct accepting *accepting);

/* Once a second: goes on after a pause. */
void accepting_tick(struct accepting *accepting);

#endif
