/* From a head to its route, and from a complete request to its handler: the order of checks of API.md §1. */
#ifndef TOPICS_DISPATCH_H
#define TOPICS_DISPATCH_H

#include "worker/http.h"

/* Routes the exchange and refuses what its head alone shows to be wrong (then it is done). */
void dispatch_head(struct exchange *exchange, const struct http_head *head, struct slice target);

/* 413: the body, as it is or inflated, is larger than the limit. */
void dispatch_too_large(struct exchange *exchange);

/* The body is there (exchange->body): calls the handler. */
void dispatch_body(struct exchange *exchange);

/* It goes through the ring to logd, which keeps the order of such requests. */
bool dispatch_is_write(const struct exchange *exchange);

#endif
