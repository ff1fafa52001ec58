#include "worker/window.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "worker/worker.h"

/* When a read that fails is a read that fails for good, and the regions that are remembered for that. */
enum { FAILING_MAX = 32, STICKY_TRIES = 3, STICKY_US = 3000000, FORGOTTEN_US = 60000000, REGION_SHIFT = 16 };

struct failing {
	uint64_t file, region;
	uint64_t first_us, last_us;
	unsigned tries;             /* 0: free */
};

struct windows {
	struct worker *worker;
	struct window *user;        /* whose bytes the buffer holds */
	uint8_t *buffer;
	size_t room;
	struct failing failing[FAILING_MAX];
	unsigned failing_count, failing_next;
};

enum error windows_create(struct windows **out, struct worker *worker)
{
	struct windows *windows = calloc(1, sizeof *windows);
	if (windows == NULL)
		return ERR_NOMEM;
	windows->worker = worker;
	windows->room = WINDOW_BYTES;
	windows->buffer = malloc(WINDOW_BYTES);
	*out = windows;
	if (windows->buffer != NULL)
		return ERR_OK;
	windows_destroy(out);
	return ERR_NOMEM;
}

void windows_destroy(struct windows **windows)
{
	if (*windows != NULL)
		free((*windows)->buffer);
	free(*windows);
	*windows = NULL;
}

void window_open(struct window *window, struct log_file *file)
{
	window_close(window);
	window->file = file;
}

void window_close(struct window *window)
{
	cold_end(&window->job);
	files_release(&window->file);
	window->length = 0;
	window->ahead = 0;
	if (window->windows->user == window)
		window->windows->user = NULL;
}

void window_resume(struct window *window)
{
	if (window->job == NULL && window->windows->user != window)
		window->length = 0;
}

/* ---- what the disk does not deliver ---- */

static struct failing *find_failing(struct windows *windows, uint64_t file, uint64_t region)
{
	for (unsigned i = 0; i < FAILING_MAX; i++)
		if (windows->failing[i].tries > 0 && windows->failing[i].file == file && windows->failing[i].region == region)
			return &windows->failing[i];
	return NULL;
}

static enum error failed(struct window *window, uint64_t offset)
{
	struct windows *windows = window->windows;
	uint64_t now_us = worker_now_us();
	struct failing *failing = find_failing(windows, window->file->id, offset >> REGION_SHIFT);
	atomic_fetch_add_explicit(&windows->worker->counters->read_errors_total, 1, memory_order_relaxed);
	if (failing == NULL) {
		failing = &windows->failing[windows->failing_next++ % FAILING_MAX];
		windows->failing_count += failing->tries == 0;
		*failing = (struct failing){ .file = window->file->id, .region = offset >> REGION_SHIFT, .first_us = now_us };
		log_line(&windows->worker->logging, LOG_LEVEL_ERROR, "the disk does not deliver file %016llx at %llu", (unsigned long long)window->file->id,
		         (unsigned long long)offset);
	} else if (now_us - failing->last_us > FORGOTTEN_US) {
		failing->tries = 0;
		failing->first_us = now_us;
	}
	failing->tries++;
	failing->last_us = now_us;
	return failing->tries >= STICKY_TRIES && now_us - failing->first_us >= STICKY_US ? ERR_IO : ERR_STORAGE_FAILED;
}

static void delivered(struct windows *windows, uint64_t file, uint64_t offset)
{
	struct failing *failing = windows->failing_count > 0 ? find_failing(windows, file, offset >> REGION_SHIFT) : NULL;
	if (failing == NULL)
		return;
	failing->tries = 0;
	windows->failing_count--;
}

/* ---- reading ---- */

static enum error make_room(struct windows *windows, uint64_t size)
{
	if (size <= windows->room)
		return ERR_OK;
	uint8_t *bigger = realloc(windows->buffer, size);
	if (bigger == NULL)
		return ERR_NOMEM;
	windows->buffer = bigger;
	windows->room = size;
	return ERR_OK;
}

/* Without RWF_NOWAIT the file system says nothing about what it holds; one that lies in memory holds everything. */
static enum file_reads reads_without_nowait(int fd)
{
	struct statfs where;
	return fstatfs(fd, &where) == 0 && (where.f_type == TMPFS_MAGIC || where.f_type == RAMFS_MAGIC) ? FILE_READS_MEMORY : FILE_READS_THREAD;
}

/* Reads what needs no waiting. ERR_OK: *got says how much, *ends that the file does; ERR_IO with errno. */
static enum error read_now(struct log_file *file, uint8_t *to, uint64_t offset, uint64_t want, uint64_t *got, bool *ends)
{
	*got = 0;
	*ends = false;
	while (*got < want && file->reads != FILE_READS_THREAD) {
		struct iovec part = { to + *got, want - *got };
		ssize_t n = preadv2(file->fd, &part, 1, (off_t)(offset + *got), file->reads == FILE_READS_NOWAIT ? RWF_NOWAIT : 0);
		if (n > 0) {
			*got += (uint64_t)n;
		} else if (n == 0) {
			*ends = true;
			return ERR_OK;
		} else if (errno == EAGAIN) {
			return ERR_OK;
		} else if (errno == EOPNOTSUPP && file->reads == FILE_READS_NOWAIT) {
			file->reads = reads_without_nowait(file->fd);
		} else if (errno != EINTR) {
			return ERR_IO;
		}
	}
	return ERR_OK;
}

static enum error ask_thread(struct window *window, uint64_t offset, uint64_t least, uint64_t most)
{
	struct worker *worker = window->windows->worker;
	const struct cold_place place = { .file = window->file, .offset = offset, .least = least, .most = most };
	atomic_fetch_add_explicit(&worker->counters->cold_reads_total, 1, memory_order_relaxed);
	enum error error = cold_read(worker->cold, &place, window->wake, window->context, &window->job);
	return error == ERR_OK ? ERR_AGAIN : error;
}

/* What the reader thread brought. ERR_BUSY: it is not what is asked for now. */
static enum error take_job(struct window *window, uint64_t offset, uint64_t length)
{
	struct cold_result result;
	if (!cold_is_done(window->job))
		return ERR_AGAIN;
	cold_result(window->job, &result);
	if (result.offset != offset || (result.error == 0 && window->length > 0)) {
		cold_end(&window->job);
		return ERR_BUSY;
	}
	if (result.error != 0) {
		cold_end(&window->job);
		return result.error == ENOMEM ? ERR_NOMEM : failed(window, offset);
	}
	window->bytes = result.bytes;
	window->start = offset;
	window->length = result.length;
	delivered(window->windows, result.file, offset);
	return result.length >= length ? ERR_OK : ERR_CORRUPT;
}

enum error window_fill(struct window *window, uint64_t offset, uint64_t length)
{
	struct windows *windows = window->windows;
	uint64_t want = window->ahead > offset + length ? window->ahead - offset : length, got;
	bool ends;
	enum error error = window->job != NULL ? take_job(window, offset, length) : ERR_BUSY;
	if (error != ERR_BUSY)
		return error;
	window->length = 0;
	if (want > WINDOW_BYTES)
		want = length > WINDOW_BYTES ? length : WINDOW_BYTES;
	if (make_room(windows, want) != ERR_OK)
		return ERR_NOMEM;
	windows->user = window;
	error = read_now(window->file, windows->buffer, offset, want, &got, &ends);
	if (error != ERR_OK)
		return failed(window, offset);
	if (got < length)
		return ends ? ERR_CORRUPT : ask_thread(window, offset, length, want);
	window->bytes = windows->buffer;
	window->start = offset;
	window->length = got;
	delivered(windows, window->file->id, offset);
	return ERR_OK;
}
