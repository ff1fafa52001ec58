#include "worker/files.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/control.h"
#include "worker/waiting.h"
#include "worker/worker.h"

enum { RETRY_US = 1000000, BUCKETS = 1024 };

struct files {
	struct worker *worker;
	struct log_file *buckets[BUCKETS];   /* by id, which is random */
	struct log_file *newest, *oldest;
	unsigned count;
	bool unasked;   /* there may be files with `asked_us` 0 */
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

void files_hold(struct log_file *file)
{
	file->holders++;
}

void files_release(struct log_file **out)
{
	struct log_file *file = *out;
	*out = NULL;
	if (file == NULL || --file->holders > 0)
		return;
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

/* ---- the table ---- */

static struct log_file **bucket_of(struct files *files, uint64_t id)
{
	return &files->buckets[id % BUCKETS];
}

static struct log_file *find(struct files *files, uint64_t id)
{
	struct log_file *file = *bucket_of(files, id);
	while (file != NULL && file->id != id)
		file = file->next;
	return file;
}

static void out_of_order(struct files *files, struct log_file *file)
{
	*(file->newer != NULL ? &file->newer->older : &files->newest) = file->older;
	*(file->older != NULL ? &file->older->newer : &files->oldest) = file->newer;
}

static void used_last(struct files *files, struct log_file *file)
{
	file->newer = NULL;
	file->older = files->newest;
	*(files->newest != NULL ? &files->newest->newer : &files->oldest) = file;
	files->newest = file;
}

static bool is_unasked(const struct log_file *file)
{
	return file->fd < 0 && file->asked_us == 0;
}

static void drop(struct files *files, struct log_file *file)
{
	struct log_file **at = bucket_of(files, file->id);
	while (*at != file)
		at = &(*at)->next;
	*at = file->next;
	out_of_order(files, file);
	files->count--;
	files_release(&file);
}

/* The one used longest ago. One whose question has not gone out stays: it has no descriptor, and would be forgotten for those who wait for it. */
static bool make_room(struct files *files)
{
	struct log_file *file = files->oldest;
	while (file != NULL && is_unasked(file))
		file = file->newer;
	if (file != NULL)
		drop(files, file);
	return file != NULL;
}

static struct log_file *add(struct files *files, uint32_t kind, uint64_t id)
{
	struct log_file *file = calloc(1, sizeof *file), **bucket = bucket_of(files, id);
	if (file == NULL)
		return NULL;
	while (files->count >= FILES_MAX && make_room(files))
		;
	*file = (struct log_file){ .id = id, .fd = -1, .holders = 1, .kind = kind, .next = *bucket, .reads = kind == 'e' ? FILE_READS_MEMORY : FILE_READS_NOWAIT };
	*bucket = file;
	used_last(files, file);
	files->count++;
	return file;
}

void files_destroy(struct files **out)
{
	if (*out == NULL)
		return;
	while ((*out)->oldest != NULL)
		drop(*out, (*out)->oldest);
	free(*out);
	*out = NULL;
}

/* ---- asking, and being given ---- */

static bool ask(struct files *files, struct log_file *file)
{
	const struct control message = { .version = CONTROL_VERSION, .type = CTL_GIVE_FILE, .slot = files->worker->inherit.slot, .kind = file->kind, .a = file->id };
	file->asked_us = worker_now_us();
	file->error = 0;
	if (control_send(files->worker->inherit.common.control_fd, &message, NULL, 0) == ERR_OK)
		return true;
	/* The socket is full: files_tick tries again, for nobody else would who waits for the file already. */
	file->asked_us = 0;
	files->unasked = true;
	return false;
}

void files_tick(struct files *files)
{
	if (!files->unasked)
		return;
	for (struct log_file *file = files->oldest; file != NULL; file = file->newer)
		if (is_unasked(file) && !ask(files, file))
			return;
	files->unasked = false;
}

enum error files_get(struct files *files, uint32_t kind, uint64_t id, struct log_file **out)
{
	struct log_file *file = find(files, id);
	if (file == NULL && (file = add(files, kind, id)) == NULL)
		return ERR_NOMEM;
	if (file != files->newest) {
		out_of_order(files, file);
		used_last(files, file);
	}
	if (file->fd >= 0) {
		files_hold(file);
		*out = file;
		return ERR_OK;
	}
	bool again = worker_now_us() - file->asked_us > RETRY_US;
	if (file->error != 0 && !again)
		return ERR_IO;
	if (again)
		ask(files, file);
	return ERR_AGAIN;
}

void files_given(struct files *files, uint32_t kind, uint64_t id, int fd, int error)
{
	struct log_file *file = find(files, id);
	if (file == NULL && fd >= 0) /* handed out before anybody asked: the newest file of the log */
		file = add(files, kind, id);
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
	struct log_file *file = find(files, id);
	if (file != NULL)
		drop(files, file);
}
