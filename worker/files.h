/*
 * Descriptors of log files, read-only, as the supervisor hands them out (a worker opens no path). At most FILES_MAX are kept; the one used longest ago makes room.
 */
#ifndef TOPICS_WORKER_FILES_H
#define TOPICS_WORKER_FILES_H

#include <stdint.h>

#include "common/error.h"

struct worker;
struct files;

enum { FILES_MAX = 256 };

enum error files_create(struct files **files, struct worker *worker);
void files_destroy(struct files **files);

/* The descriptor of a file: ERR_OK; ERR_AGAIN: it has been asked for, wait for it (waiting.h); ERR_IO: it cannot be opened now. */
enum error files_get(struct files *files, uint32_t kind, uint64_t id, int *fd);

/* What the supervisor says: here it is (`fd` becomes ours), or errno says why not; and: it is retired. */
void files_given(struct files *files, uint32_t kind, uint64_t id, int fd, int error);
void files_close(struct files *files, uint64_t id);

#endif
