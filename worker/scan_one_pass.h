/*
 * The scanner in one pass over the bytes, on the primitives of json_walk.h. It says what is wrong with a body and where; scan_walk.c only says that
 * something is. It needs no instructions that a machine may lack, and it is what the two-stage form is tested against.
 */
#ifndef TOPICS_SCAN_ONE_PASS_H
#define TOPICS_SCAN_ONE_PASS_H

#include "worker/scan_parts.h"

/* As scan_append. */
enum error scan_one_pass(struct scan *scan, const uint8_t *body, size_t length, struct json_error *error);

#endif
