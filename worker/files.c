#include "worker/files.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/control.h"
#include "worker/waiting.h"
#include "worker/worker.h"

enum { RETRY_US = 1000000 };

struct open_file {
	uint64_t id;        /* 0: free */
	int fd;             /* -1: asked for, or could not be opened */
	int error;          /* errno of the last try */
	uint64_t used;
	uint64_t asked_us;
};

struct files {
	struct worker *worker;
	uint64_t clock;
	struct open_file open[FILES_MAX];
};

enum error files_create(struct files **out, struct worker *worker)
{
	struct files *files = calloc(1, sizeof *files);
	if (files == NULL)
		return ERR_NOMEM;
	files->worker = worker;
	*out = files;
	return ERR_OK;
}

static void drop(struct open_file *file)
{
	if (file->id != 0 && file->fd >= 0)
		close(file->fd);
	*file = (struct open_file){ .fd = -1 };
}

void files_destroy(struct files **out)
{
	if (*out == NULL)
		return;
	for (unsigned i = 0; i < FILES_MAX; i++)
		drop(&(*out)->open[i]);
	free(*out);
	*out = NULL;
}

static struct open_file *find(struct files *files, uint64_t id)
{
	for (unsigned i = 0; i < FILES_MAX; i++)
		if (files->open[i].id == id)
			return &files->open[i];
	return NULL;
}

/* A free place, or that of the file used longest ago. */
static struct open_file *place(struct files *files)
{
	struct open_file *oldest = &files->open[0];
	for (unsigned i = 0; i < FILES_MAX; i++) {
		if (files->open[i].id == 0)
			return &files->open[i];
		if (files->open[i].used < oldest->used)
			oldest = &files->open[i];
	}
	drop(oldest);
	return oldest;
}

static void ask(struct files *files, uint32_t kind, struct open_file *file)
{
	const struct control message = { .version = CONTROL_VERSION, .type = CTL_GIVE_FILE, .slot = files->worker->inherit.slot, .kind = kind, .a = file->id };
	file->asked_us = worker_now_us();
	file->error = 0;
	/* A full socket is tried again when the reader is: it stays in line until then. */
	if (control_send(files->worker->inherit.common.control_fd, &message, NULL, 0) != ERR_OK)
		file->asked_us = 0;
}

enum error files_get(struct files *files, uint32_t kind, uint64_t id, int *fd)
{
	struct open_file *file = find(files, id);
	if (file == NULL) {
		file = place(files);
		*file = (struct open_file){ .id = id, .fd = -1 };
	}
	file->used = ++files->clock;
	if (file->fd >= 0) {
		*fd = file->fd;
		return ERR_OK;
	}
	bool again = worker_now_us() - file->asked_us > RETRY_US;
	if (file->error != 0 && !again)
		return ERR_IO;
	if (again)
		ask(files, kind, file);
	return ERR_AGAIN;
}

void files_given(struct files *files, uint32_t kind, uint64_t id, int fd, int error)
{
	struct open_file *file = find(files, id);
	(void)kind;
	if (file == NULL && fd >= 0) { /* handed out before anybody asked: the newest file of the log */
		file = place(files);
		*file = (struct open_file){ .id = id, .fd = -1, .used = ++files->clock };
	}
	if (file == NULL || file->fd >= 0) {
		if (fd >= 0)
			close(fd);
	} else {
		file->fd = fd;
		file->error = error;
	}
	waiting_file_came(files->worker->waiting, id);
}

void files_close(struct files *files, uint64_t id)
{
	struct open_file *file = find(files, id);
	if (file != NULL)
		drop(file);
}
