/*
 * What a client says about forms of an answer: Accept and Accept-Encoding with their weights (RFC 9110 12.4.2, 12.5.1, 12.5.3), Content-Encoding (8.4), lists of entity tags (13.1.2).
 * Pure functions over the field's value; at NULL: the field is absent.
 */
#ifndef TOPICS_NEGOTIATE_H
#define TOPICS_NEGOTIATE_H

#include <stdbool.h>

#include "worker/exchange.h"

/*
 * How much `accept` wants a media type ("application/json"), 0 to 1000, by its most specific range; without the field everything is 1000. A range whose weight cannot be read counts
 * for nothing. *named (may be NULL): the type itself stands in the field, not only a range that covers it.
 */
unsigned negotiate_media(struct slice accept, const char *type, bool *named);

/* Errors as application/problem+json: only for who names it, and wants it no less than application/json. */
bool negotiate_problem(struct slice accept);

/* The answer may leave as gzip: asked for by name or by a star, and wanted no less than identity. *must (may be NULL): identity is forbidden. */
bool negotiate_gzip(struct slice accept_encoding, bool *must);

enum coding { CODING_IDENTITY, CODING_GZIP, CODING_OTHER };

/* Of a request's body; several codings are CODING_OTHER. */
enum coding negotiate_coding(struct slice content_encoding);

/* `tag` (with its quotes, strong) stands in the list, by the weak comparison; a lone star stands for every tag. */
bool negotiate_tag(struct slice list, const char *tag);

#endif
