/*
 * What a checkpoint (docs/format.md §9) needs of the disk once its frames are written, and what a later reader needs of it. Beside the engine: file calls of the
 * table alone.
 */
#ifndef TOPICS_CHECKPOINT_FINISH_H
#define TOPICS_CHECKPOINT_FINISH_H

#include "common/ops.h"

/*
 * Syncs the frames and the name, writes the header, which makes it a checkpoint, and syncs that; then the readable ones but the two newest go. Sets the job's
 * outcome; a checkpoint that could not be finished is unlinked.
 */
void checkpoint_finish(const struct ops *ops, struct finish_job *job);

#endif
