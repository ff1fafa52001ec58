/*
 * Descriptors of log files, read-only, as the supervisor hands them out (a worker opens no path). At most FILES_MAX are kept; the one used longest ago makes room, but none that
 * is still to be asked for, so there may be more while the control socket is full. A file is counted: who reads from it holds it, so that one that is retired or makes room
 * meanwhile is closed only when the last of them is done.
 */
#ifndef TOPICS_WORKER_FILES_H
#define TOPICS_WORKER_FILES_H

#include <stdint.h>

#include "common/error.h"

struct worker;
struct files;

enum { FILES_MAX = 256 };

/* How its bytes are read without waiting for a device: see docs/decisions.md, "Reads off the loop". */
enum file_reads {
	FILE_READS_NOWAIT,  /* preadv2(RWF_NOWAIT); what it refuses goes to a reader thread */
	FILE_READS_MEMORY,  /* the file lies in memory: pread */
	FILE_READS_THREAD,  /* the file system cannot say what it holds in memory: everything goes to a reader thread */
};

struct log_file {
	uint64_t id;
	int fd;                           /* -1: asked for, or could not be opened */
	enum file_reads reads;
	/* files.c alone */
	unsigned holders;                 /* with the table as one */
	int error;                        /* errno of the last try */
	uint32_t kind;
	uint64_t asked_us;                /* 0: the question has not gone out */
	struct log_file *next;            /* in its bucket */
	struct log_file *newer, *older;   /* in the order of use */
};

enum error files_create(struct files **files, struct worker *worker);
void files_destroy(struct files **files);

/* The file, held for the caller until files_release: ERR_OK; ERR_AGAIN: it has been asked for, wait for it (waiting.h); ERR_IO: it cannot be opened now; ERR_NOMEM. */
enum error files_get(struct files *files, uint32_t kind, uint64_t id, struct log_file **file);
void files_hold(struct log_file *file);
void files_release(struct log_file **file);

/* Puts the questions again that the control socket had no room for: once a tick. Those who wait for a file ask only once. */
void files_tick(struct files *files);

/* What the supervisor says: here it is (`fd` becomes ours), or errno says why not; and: it is retired. */
void files_given(struct files *files, uint32_t kind, uint64_t id, int fd, int error);
void files_close(struct files *files, uint64_t id);

#endif
