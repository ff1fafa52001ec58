/* The handlers of the routes: one file for each kind, worker/api_*.c. Each ends its exchange or parks it. */
#ifndef TOPICS_API_H
#define TOPICS_API_H

#include "worker/exchange.h"

/* api_append.c */
void api_topic_append(struct exchange *exchange);
/* api_topic_write.c */
void api_topic_put(struct exchange *exchange);
void api_topic_patch(struct exchange *exchange);
void api_topic_delete(struct exchange *exchange);
/* api_topic_read.c */
void api_topic_get(struct exchange *exchange);
void api_topic_list(struct exchange *exchange);
/* api_read.c */
void api_topic_diff(struct exchange *exchange);
void api_topic_records(struct exchange *exchange);
void api_topic_record(struct exchange *exchange);
/* api_probe.c */
void api_health(struct exchange *exchange);
void api_ready(struct exchange *exchange);
/* api_later.c: endpoints of the contract that are not built */
void api_not_implemented(struct exchange *exchange);

#endif
