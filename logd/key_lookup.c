#include "logd/key_lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/footer.h"
#include "logd/log_internal.h"

enum { WINDOW_LOOKUP = 4096, WINDOW_WHOLE = FOOTER_PIECE };

/* A sealed file whose footer is open. */
struct opened {
	const struct ops *ops;
	int handle;
	uint8_t *window;
	size_t room, ahead;        /* of `window`; how much is read at once at least */
	uint64_t offset, length;   /* what of the file stands in it */
	struct footer_source source;
	struct footer footer;
};

static enum error bytes_at(void *context, uint64_t offset, uint32_t length, const uint8_t **bytes)
{
	struct opened *o = context;
	size_t wanted = length < o->ahead ? o->ahead : length;

	if (offset < o->offset || offset + length > o->offset + o->length) {
		size_t got = 0;

		if (o->room < wanted) {
			free(o->window);
			o->window = malloc(wanted);
			o->room = o->window ? wanted : 0;
		}
		o->length = 0;
		if (!o->window)
			return ERR_NOMEM;
		enum error error = log_file_read(o->ops, o->handle, o->window, wanted, offset, &got);
		if (error)
			return error;
		o->offset = offset;
		o->length = got;
		if (got < length)
			return ERR_CORRUPT;
	}
	*bytes = o->window + (offset - o->offset);
	return ERR_OK;
}

static enum error open_footer(struct opened *o, const struct ops *ops, const struct key_file *file, size_t ahead)
{
	const struct file_name name = {.kind = 'w', .id = file->id};
	uint64_t size = 0;
	int failed;

	*o = (struct opened){.ops = ops, .ahead = ahead, .source = {bytes_at, o}};
	failed = ops->open(ops->world, &name, &o->handle);
	if (failed) {
		o->handle = NO_FILE;
		return log_error_of(failed);
	}
	failed = ops->size(ops->world, o->handle, &size);
	return failed ? log_error_of(failed) : footer_open(&o->footer, &o->source, file->id, file->first_lsn, size);
}

static void close_footer(struct opened *o)
{
	if (o->handle != NO_FILE)
		o->ops->close(o->ops->world, o->handle);
	free(o->window);
}

/* Looks at every entry of the hash: they stand in the order of the log, so of those that are the topic's the last is the youngest. */
static enum error search(struct opened *o, struct lookup_job *job)
{
	uint64_t index, count = footer_count(&o->footer, FOOTER_KEYS);
	struct footer_key key;
	enum error error = footer_find_key(&o->footer, &o->source, job->hash, &index), found = ERR_NOT_FOUND;

	for (; error == ERR_OK && index < count; index++) {
		error = footer_key_at(&o->footer, &o->source, index, &key);
		if (error || memcmp(key.hash, job->hash, sizeof key.hash) != 0)
			break;
		if (key.topic != job->topic)
			continue;
		job->first_seq = key.first_seq;
		job->count = key.count;
		job->ts = key.ts;
		job->lsn = key.lsn;
		found = ERR_OK;
	}
	return error == ERR_OK || error == ERR_NOT_FOUND ? found : error;
}

void key_lookup(const struct ops *ops, struct lookup_job *job)
{
	job->result = ERR_NOT_FOUND;
	job->cause = 0;
	/* Newest first, and what is older than what was found does not matter. */
	for (size_t i = 0; i < job->file_count && job->result == ERR_NOT_FOUND; i++) {
		struct opened o;

		job->result = open_footer(&o, ops, &job->files[i], WINDOW_LOOKUP);
		if (job->result == ERR_OK)
			job->result = search(&o, job);
		if (job->result == ERR_IO)
			job->cause = errno;
		close_footer(&o);
	}
	free(job->files);
	job->files = NULL;
}

enum error key_each(const struct ops *ops, const struct key_file *file, void (*each)(void *context, const uint8_t hash[KEY_FILTER_HASH]), void *context)
{
	struct opened o;
	enum error error = open_footer(&o, ops, file, WINDOW_WHOLE);
	uint64_t count = error ? 0 : footer_count(&o.footer, FOOTER_KEYS);

	for (uint64_t i = 0; i < count && !error; i++) {
		struct footer_key key;

		error = footer_key_at(&o.footer, &o.source, i, &key);
		if (!error)
			each(context, key.hash);
	}
	close_footer(&o);
	return error;
}
