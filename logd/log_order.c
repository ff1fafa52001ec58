/* Which file holds what (docs/format.md §2, §3): every header is read before anything else is done. */
#include <errno.h>
#include <stdlib.h>

#include "logd/log_internal.h"

/* A name in the directory, or a memory object. */
struct seen {
	uint8_t kind;
	uint64_t id;
	uint64_t size;
	int handle;
};

struct listing {
	struct seen *seen;
	size_t count, room;
};

enum { ZERO_PIECE = 1 << 20, UNREAD_NUMBERS = 1 << 20 };

static int add_seen(struct listing *listing, struct seen seen)
{
	if (listing->count == listing->room) {
		size_t room = listing->room ? listing->room * 2 : 64;
		struct seen *grown = realloc(listing->seen, room * sizeof *grown);

		if (!grown)
			return ENOMEM;
		listing->seen = grown;
		listing->room = room;
	}
	listing->seen[listing->count++] = seen;
	return 0;
}

static int each_name(void *context, const struct file_name *name, uint64_t size)
{
	if (name->kind != 'w' && name->kind != 'c')
		return 0;
	return add_seen(context, (struct seen){name->kind, name->id, size, NO_FILE});
}

static int each_object(void *context, uint64_t id, uint64_t size, int file)
{
	return add_seen(context, (struct seen){'e', id, size, file});
}

/* Ids order the listing, so that what follows does not depend on the order in which a directory is read. */
static int by_id(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int by_rank_falling(const void *a, const void *b)
{
	const struct log_file *x = *(struct log_file *const *)a, *y = *(struct log_file *const *)b;

	return x->rank > y->rank ? -1 : x->rank < y->rank;
}

static int by_lsn(const void *a, const void *b)
{
	const struct log_file *x = *(struct log_file *const *)a, *y = *(struct log_file *const *)b;

	return x->header.first_lsn < y->header.first_lsn ? -1 : x->header.first_lsn > y->header.first_lsn;
}

/* Room for one more of `size` bytes each. */
static enum error grow(void **array, size_t count, size_t *room, size_t size)
{
	size_t wanted = *room ? *room * 2 : 16;
	void *grown;

	if (count < *room)
		return ERR_OK;
	grown = realloc(*array, wanted * size);
	if (!grown)
		return ERR_NOMEM;
	*array = grown;
	*room = wanted;
	return ERR_OK;
}

enum error log_doom(struct log *log, uint8_t kind, uint64_t id, bool headerless)
{
	struct log_recovery *recovery = &log->recovery;
	void *array = recovery->doomed;
	enum error error = grow(&array, recovery->doomed_count, &recovery->doomed_room, sizeof *recovery->doomed);

	recovery->doomed = array;
	if (!error)
		recovery->doomed[recovery->doomed_count++] = (struct log_doomed){{.kind = kind, .id = id}, headerless};
	return error;
}

static enum error add_stale(struct log *log, uint64_t id, uint64_t first_lsn)
{
	struct log_recovery *recovery = &log->recovery;
	void *array = recovery->stale;
	enum error error = grow(&array, recovery->stale_count, &recovery->stale_room, sizeof *recovery->stale);

	recovery->stale = array;
	if (!error)
		recovery->stale[recovery->stale_count++] = (struct log_stale){id, first_lsn};
	return error;
}

static enum error read_header(struct log *log, const struct seen *seen, struct file_header *header)
{
	struct file_name name = {.kind = seen->kind, .id = seen->id};
	uint8_t bytes[FILE_HEADER_SIZE] = {0};
	struct log_span bad = {0};
	enum error error;
	size_t got = 0;
	int file = seen->handle, failed;

	if (file == NO_FILE && (failed = log->ops->open(log->ops->world, &name, &file)))
		return log_error_of(failed);
	error = log_file_read_damaged(log->ops, file, bytes, sizeof bytes, 0, &got, &bad);
	if (seen->handle == NO_FILE)
		log->ops->close(log->ops->world, file);
	if (error)
		return error;
	if (bad.to > 0) {
		log->recovery.unread = true;
		return ERR_CORRUPT;
	}
	error = file_header_decode(header, bytes);
	/* Condition 4: it is the file that its name says. */
	if (error == ERR_OK && (header->id != seen->id || header->kind != seen->kind))
		return ERR_CORRUPT;
	return error;
}

/* The first LSN of a file whose header does not say it, by what its frames say; 0 if it has none. Without a frame, and with bytes that cannot be
 * read, nobody knows what it is: the log may not go on without it. */
static enum error infer_first_lsn(struct log *log, const struct seen *seen, uint64_t *first_lsn)
{
	struct log_scan scan = {0};
	enum error error = log_scan_read(log->ops, &scan, seen->kind, seen->id, seen->handle, seen->size);
	uint64_t at, lsn;

	*first_lsn = 0;
	if (!error && (at = log_scan_next(&scan, seen->id, 0, FILE_HEADER_SIZE, scan.length))) {
		lsn = get_u64(scan.bytes + at + 16);
		if (lsn >= LSN_FIRST + (at - FILE_HEADER_SIZE))
			*first_lsn = lsn - (at - FILE_HEADER_SIZE);
	}
	if (!error && *first_lsn == 0 && scan.bad.to > 0)
		error = log_error_of(EIO);
	log_scan_free(&scan);
	return error;
}

/*
 * A file whose header is broken and not zero: its frames say where it begins. It counts as just younger than every file that begins before
 * it, so it supersedes none that begins where it begins or later.
 */
static void rank_salvaged(struct log *log, struct log_file *file)
{
	uint64_t rank = 0;

	for (size_t i = 0; i < log->file_count; i++) {
		const struct log_file *other = log->files[i];

		if (!other->salvaged && other->header.first_lsn < file->header.first_lsn && other->rank > rank)
			rank = other->rank;
	}
	/* Right behind the youngest that begins before it; but a file that names it as predecessor is younger. */
	for (size_t i = 0; i < log->file_count; i++)
		if (log->files[i]->header.predecessor == file->header.id && log->files[i]->rank <= rank)
			rank = log->files[i]->rank - 2;
	file->rank = rank + 1;
}

static enum error all_zero(struct log *log, const struct seen *seen, bool *zero)
{
	struct file_name name = {.kind = seen->kind, .id = seen->id};
	uint8_t *bytes = malloc(ZERO_PIECE);
	enum error error = ERR_OK;
	size_t got = 1;
	int file, failed;

	*zero = true;
	if (!bytes)
		return ERR_NOMEM;
	failed = log->ops->open(log->ops->world, &name, &file);
	if (failed) {
		free(bytes);
		return log_error_of(failed);
	}
	for (uint64_t at = 0; !error && *zero && got > 0; at += got) {
		at = log_next_data(log->ops, file, at);
		error = log_file_read(log->ops, file, bytes, ZERO_PIECE, at, &got);
		*zero = error || log_all_zero(bytes, got);
	}
	log->ops->close(log->ops->world, file);
	free(bytes);
	return error;
}

/* A header of zeros: a file that waits for its turn, or one in which nobody finished something. */
static enum error add_headerless(struct log *log, const struct seen *seen)
{
	uint64_t first_lsn;
	enum error error;
	bool zero;

	if (seen->kind != 'w') /* a checkpoint gets its header last: without one it was never finished */
		return log_doom(log, seen->kind, seen->id, true);
	error = all_zero(log, seen, &zero);
	if (error == ERR_IO && errno == EIO) {
		/* Neither to be used nor to be removed. */
		log->recovery.unexplained = true;
		return ERR_OK;
	}
	if (error)
		return error;
	if (!zero) {
		error = infer_first_lsn(log, seen, &first_lsn);
		return error ? error : add_stale(log, seen->id, first_lsn);
	}
	if (log->prepared_count == PREPARED_MAX || seen->size < log->options.file_bytes)
		return log_doom(log, seen->kind, seen->id, true);
	log->prepared[log->prepared_count++] = (struct prepared_file){.id = seen->id, .size = seen->size, .handle = NO_FILE};
	return ERR_OK;
}

static enum error add_checkpoint(struct log_order *order, uint64_t id)
{
	void *array = order->checkpoints;
	enum error error = grow(&array, order->checkpoint_count, &order->checkpoint_room, sizeof *order->checkpoints);

	order->checkpoints = array;
	if (!error)
		order->checkpoints[order->checkpoint_count++] = id;
	return error;
}

static void note_header(struct log *log, const struct file_header *header)
{
	if (header->number >= log->next_number)
		log->next_number = header->number + 1;
	if (header->frontier > log->recovery.frontier)
		log->recovery.frontier = header->frontier;
}

static enum error add_log_file(struct log *log, const struct seen *seen, const struct file_header *header)
{
	struct log_file *file = log_file_new(log, seen->id, seen->handle, seen->size);
	enum error error = ERR_OK;
	bool keep = true;

	if (!file)
		return ERR_NOMEM;
	file->header_written = true;
	if (header) {
		file->header = *header;
		file->rank = 2 * header->number;
		/* A memory object is larger than the file that it was taken for, which is what counts towards the bound. */
		if (log->options.kind == 'e' && header->size < file->size)
			file->size = header->size;
	} else {
		error = infer_first_lsn(log, seen, &file->header.first_lsn);
		file->salvaged = keep = file->header.first_lsn != 0;
		if (!keep)
			log->recovery.unexplained = true;
	}
	if (!error && keep)
		error = log_files_push(log, file);
	if (error || !keep)
		log_file_free(log, &file);
	return error;
}

struct numbered {
	uint64_t number;
	uint64_t id;
};

static int by_number_falling(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;

	return x->number > y->number ? -1 : x->number < y->number;
}

static enum error examine(struct log *log, struct log_order *order, const struct listing *listing)
{
	struct numbered *checkpoints = calloc(listing->count + 1, sizeof *checkpoints);
	size_t count = 0;
	enum error error = checkpoints ? ERR_OK : ERR_NOMEM;

	for (size_t i = 0; i < listing->count && !error; i++) {
		const struct seen *seen = &listing->seen[i];
		struct file_header header;
		enum error decoded = read_header(log, seen, &header);

		if (decoded == ERR_OK) {
			note_header(log, &header);
			if (seen->kind == 'c')
				checkpoints[count++] = (struct numbered){header.number, header.id};
			else
				error = add_log_file(log, seen, &header);
		} else if (decoded == ERR_AGAIN) {
			error = add_headerless(log, seen);
		} else if (decoded == ERR_CORRUPT) {
			if (seen->kind != 'c')
				error = add_log_file(log, seen, NULL);
		} else {
			error = decoded;
		}
	}
	if (log->recovery.unread)
		log->next_number += UNREAD_NUMBERS;
	if (!error)
		qsort(checkpoints, count, sizeof *checkpoints, by_number_falling);
	for (size_t i = 0; i < count && !error; i++)
		error = add_checkpoint(order, checkpoints[i].id);
	free(checkpoints);
	return error;
}

/*
 * A younger file takes the log over from its first LSN on, whatever older ones hold there. So, from the youngest to the oldest, each keeps
 * what lies before the least beginning so far; one that keeps nothing holds no LSN any more.
 */
static enum error cut(struct log *log, struct log_order *order)
{
	uint64_t bound = UINT64_MAX;
	size_t kept = 0;
	enum error error = ERR_OK;

	for (size_t i = 0; i < log->file_count; i++)
		if (log->files[i]->salvaged)
			rank_salvaged(log, log->files[i]);
	if (log->file_count == 0)
		return ERR_OK;
	qsort(log->files, log->file_count, sizeof *log->files, by_rank_falling);
	for (size_t i = 0; i < log->file_count; i++) {
		struct log_file *file = log->files[i];

		if (i == 0) {
			order->newest = file->header;
			if (file->salvaged)
				order->newest.boot = (struct boot_token){0}; /* not known, so not ours */
		}
		file->end = bound;
		if (file->header.first_lsn < bound) {
			bound = file->header.first_lsn;
			log->files[kept++] = file;
			continue;
		}
		if (!file->salvaged)
			error = log_doom(log, log->options.kind, file->header.id, false);
		log_file_free(log, &file);
		if (error) {
			memmove(&log->files[kept], &log->files[i + 1], (log->file_count - i - 1) * sizeof *log->files);
			log->file_count -= i + 1 - kept;
			return error;
		}
	}
	log->file_count = kept;
	qsort(log->files, log->file_count, sizeof *log->files, by_lsn);
	return ERR_OK;
}

enum error log_order(struct log *log, struct log_order *order)
{
	struct listing listing = {0};
	enum error error;
	int failed;

	*order = (struct log_order){0};
	failed = log->options.kind == 'e' ? log->ops->ephemeral_list(log->ops->world, each_object, &listing)
	                                  : log->ops->list(log->ops->world, each_name, &listing);
	error = failed ? log_error_of(failed) : ERR_OK;
	if (!error && listing.count > 0)
		qsort(listing.seen, listing.count, sizeof *listing.seen, by_id);
	if (!error)
		error = examine(log, order, &listing);
	if (!error)
		error = cut(log, order);
	if (!error)
		error = log_footers_find(log);
	free(listing.seen);
	return error;
}
