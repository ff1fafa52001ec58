/*
 * gzip (RFC 1952) in slices, over zlib. The one place that knows zlib. Its states are made once and used again: one for each body that is being inflated at the same time, one for each kind
 * of answer, none for a connection that is not in the middle of such a body.
 */
#ifndef TOPICS_GZIP_H
#define TOPICS_GZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { INFLATER_BYTES = 44 * 1024 }; /* what one takes, window included; for the budget */

struct inflater;

/* ERR_NOMEM. */
enum error inflater_create(struct inflater **inflater);
void inflater_destroy(struct inflater **inflater);

/* For the next body. */
void inflater_reset(struct inflater *inflater);

/*
 * Takes *used of `length` bytes and writes *made of at most `room`: ends when either is used up. Members may follow each other (RFC 1952 2.2). ERR_OK; ERR_INVALID_REQUEST: damaged, or
 * something that is no gzip stands behind a member; ERR_NOMEM.
 */
enum error inflater_run(struct inflater *inflater, const uint8_t *in, size_t length, size_t *used, uint8_t *out, size_t room, size_t *made);

/* Nothing of a member is missing: the body may end here. */
bool inflater_at_end(const struct inflater *inflater);

struct inflater *inflater_next(const struct inflater *inflater); /* in a pool */
void inflater_set_next(struct inflater *inflater, struct inflater *next);

struct deflater;

enum error deflater_create(struct deflater **deflater);
void deflater_destroy(struct deflater **deflater);

/* For the next answer. */
void deflater_reset(struct deflater *deflater);

/* As inflater_run; `last`: the answer ends with these bytes. *ended: all of it has been written. */
void deflater_run(struct deflater *deflater, const uint8_t *in, size_t length, size_t *used, uint8_t *out, size_t room, size_t *made, bool last, bool *ended);

/* The most that `length` bytes can become. */
size_t deflater_bound(struct deflater *deflater, size_t length);

#endif
