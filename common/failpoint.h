/*
 * Named failpoints: places in the real processes at which a test lets them die. Compiled in with --enable-failpoints only; otherwise the calls are empty.
 *
 * The spec is a comma list of "name:action[:count]"; the action (kill, abort, exit) is done when the place is passed for the count-th time (default 1).
 */
#ifndef TOPICS_FAILPOINT_H
#define TOPICS_FAILPOINT_H

#ifdef ENABLE_FAILPOINTS
/* Takes the spec from the inheritance; keeps a copy. */
void failpoint_setup(const char *spec);
void failpoint_hit(const char *name);
#else
static inline void failpoint_setup(const char *spec) { (void)spec; }
static inline void failpoint_hit(const char *name) { (void)name; }
#endif

#endif
