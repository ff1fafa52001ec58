/* Footers at a start: which files are sealed, and the bytes of a footer by pieces. */
#include <errno.h>
#include <stdlib.h>

#include "logd/log_internal.h"

enum { FOOTER_WINDOW = 1 << 18 };

static enum error source_bytes(void *context, uint64_t offset, uint32_t length, const uint8_t **bytes)
{
	struct footer_file_source *source = context;
	uint64_t wanted = length < FOOTER_WINDOW ? FOOTER_WINDOW : length;
	size_t got;
	enum error error;

	if (offset < source->offset || offset + length > source->offset + source->length) {
		if (source->room < wanted) {
			free(source->window);
			source->window = malloc(wanted);
			source->room = source->window ? wanted : 0;
			source->length = 0;
		}
		if (!source->window)
			return ERR_NOMEM;
		source->length = 0;
		error = log_file_read(source->ops, source->handle, source->window, wanted, offset, &got);
		if (error == ERR_IO)
			error = log_file_read(source->ops, source->handle, source->window, wanted, offset, &got);
		/* What the disk does not give twice is no footer: the file's frames are read instead, and tell what of them is there. */
		if (error)
			return error == ERR_IO ? ERR_CORRUPT : error;
		source->offset = offset;
		source->length = got;
		if (got < length)
			return ERR_CORRUPT;
	}
	*bytes = source->window + (offset - source->offset);
	return ERR_OK;
}

enum error log_footer_open(struct log *log, const struct log_file *file, struct footer_file_source *source, struct footer *footer)
{
	struct file_name name = {.kind = 'w', .id = file->header.id};
	int failed = log->ops->open(log->ops->world, &name, &source->handle);
	enum error error;

	source->ops = log->ops;
	source->length = 0;
	source->source = (struct footer_source){source_bytes, source};
	if (failed) {
		source->handle = NO_FILE;
		return log_error_of(failed);
	}
	error = footer_open(footer, &source->source, file->header.id, file->header.first_lsn, file->size);
	/* What lies in a sealed file was recorded as synced before it was sealed. */
	if (!error && footer->file.frontier < footer->file.end_lsn)
		error = ERR_CORRUPT;
	if (error)
		log_footer_close(source);
	return error;
}

void log_footer_close(struct footer_file_source *source)
{
	if (source->handle != NO_FILE)
		source->ops->close(source->ops->world, source->handle);
	source->handle = NO_FILE;
	source->length = 0;
}

/*
 * A footer counts when its end is where the log goes on in the next file. In the newest file, whose successor is gone, it says at least where the frames end: they are
 * read one by one then, because nobody else knows the CRC that the chain goes on with.
 */
static void take_footer(struct log *log, size_t index, const struct footer *footer)
{
	struct log_file *file = log->files[index], *next = index + 1 < log->file_count ? log->files[index + 1] : NULL;

	if (next ? footer->file.end_lsn != file->end : file->end != UINT64_MAX)
		return;
	if (footer->file.frontier > log->recovery.frontier)
		log->recovery.frontier = footer->file.frontier;
	if (!next) {
		file->end = footer->file.end_lsn;
	} else if (!next->salvaged) {
		file->seal = SEAL_DONE;
		file->footer = (struct log_footer){footer->offset, (uint32_t)footer->length, footer->crc};
	}
}

enum error log_footers_find(struct log *log)
{
	struct footer_file_source source = {.handle = NO_FILE};
	enum error error = ERR_OK;

	for (size_t i = 0; i < log->file_count && !error && log->options.kind == 'w'; i++) {
		struct footer footer;

		if (log->files[i]->salvaged)
			continue;
		error = log_footer_open(log, log->files[i], &source, &footer);
		if (!error)
			take_footer(log, i, &footer);
		else if (error == ERR_CORRUPT || error == ERR_NEWER)
			error = ERR_OK;
		log_footer_close(&source);
	}
	free(source.window);
	return error;
}
