/*
 * Sealing: a file that is left, synced and published gets its footer (docs/format.md §8) behind its last frame and ends there. Nothing of its log is changed or
 * copied, so a death anywhere leaves the file either sealed or as good as it was.
 *
 *   what its frames say, noted or read ─▶ footer written behind the last one ─▶ cut there ─▶ synced
 */
#ifndef TOPICS_SEAL_H
#define TOPICS_SEAL_H

#include "common/ops.h"

/* Does the job, sets its outcome and frees job->notes. Runs beside the engine and touches nothing of it: file calls of the table, and memory of its own. */
void seal_file(const struct ops *ops, struct seal_job *job);

#endif
