/*
 * Idempotency keys in sealed files, by their footers: one key, or all keys of a file. Runs beside the engine (a job) or at a start; touches nothing of the engine.
 */
#ifndef TOPICS_KEY_LOOKUP_H
#define TOPICS_KEY_LOOKUP_H

#include "common/ops.h"
#include "logd/key_filter.h"

/* Does the job, sets its outcome and frees job->files. Of several entries of the key the youngest counts. */
void key_lookup(const struct ops *ops, struct lookup_job *job);

/* Calls `each` for every key of the file. ERR_CORRUPT, ERR_IO, ERR_NOMEM. */
enum error key_each(const struct ops *ops, const struct key_file *file, void (*each)(void *context, const uint8_t hash[KEY_FILTER_HASH]), void *context);

#endif
