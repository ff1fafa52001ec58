/*
 * The bytes of a log file as a reader of it sees them: a window that moves forward. What the machine has in memory is read at once, into a buffer that all windows of a worker share;
 * what it has not is read by a reader thread (cold.h), whose bytes then are the window: so a reader gets on with every read, whatever happens to the page cache meanwhile.
 */
#ifndef TOPICS_WINDOW_H
#define TOPICS_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "worker/cold.h"
#include "worker/files.h"

enum { WINDOW_BYTES = 1 << 20 };

struct worker;
struct windows; /* what the windows of a worker share: the buffer, and the places that the disk does not deliver */

enum error windows_create(struct windows **windows, struct worker *worker);
void windows_destroy(struct windows **windows);

struct window {
	struct windows *windows;
	struct log_file *file;      /* held; NULL: none */
	uint64_t ahead;             /* end of what is worth reading at once; set by the reader */
	uint64_t start, length;
	const uint8_t *bytes;
	struct cold_job *job;       /* owned */
	void (*wake)(void *context);/* a reader thread has what was asked for: ask again */
	void *context;
};

/* Looks at another file; its reference goes over to the window. */
void window_open(struct window *window, struct log_file *file);
void window_close(struct window *window);

/* The window's owner goes on after others have run: what it had in the shared buffer may be gone. */
void window_resume(struct window *window);

/* The slow half of window_bytes. */
enum error window_fill(struct window *window, uint64_t offset, uint64_t length);

/*
 * `length` bytes at `offset`; they stay until the next call. ERR_AGAIN: a reader thread is on it, `wake` will be called. ERR_CORRUPT: the file ends before. ERR_STORAGE_FAILED: the
 * disk could not read them now; ERR_IO: nor does it ever (it failed several times over some seconds). ERR_NOMEM.
 */
static inline enum error window_bytes(struct window *window, uint64_t offset, uint64_t length, const uint8_t **bytes)
{
	if (offset < window->start || offset + length > window->start + window->length) {
		enum error error = window_fill(window, offset, length);
		if (error != ERR_OK)
			return error;
	}
	*bytes = window->bytes + (offset - window->start);
	return ERR_OK;
}

#endif
