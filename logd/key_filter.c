#include "logd/key_filter.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"

enum { SLICE_KEYS_LEAST = 1 << 17, BITS_PER_KEY = 10, BLOCK_WORDS = 8, BLOCK_BITS = 64 * BLOCK_WORDS, PROBES = 6, PROBE_BITS = 9 };

/* Files that follow each other, and one filter over all their keys. A key sets its bits within one block: one cache line a question. */
struct slice {
	struct slice *older;
	struct key_file *files;   /* oldest first */
	size_t file_count, file_room;
	uint64_t keys, capacity;
	uint64_t block_count;
	uint64_t blocks[];
};

struct key_filter {
	struct slice *newest;
	struct slice *filling;    /* of the last file; NULL: that has gone again */
	size_t files;
	uint64_t capacity;        /* of all slices */
};

enum error key_filter_create(struct key_filter **filter)
{
	*filter = calloc(1, sizeof **filter);
	return *filter == NULL ? ERR_NOMEM : ERR_OK;
}

static void slice_free(struct slice *slice)
{
	free(slice->files);
	free(slice);
}

void key_filter_destroy(struct key_filter **out)
{
	if (*out == NULL)
		return;
	for (struct slice *slice = (*out)->newest, *older; slice != NULL; slice = older) {
		older = slice->older;
		slice_free(slice);
	}
	free(*out);
	*out = NULL;
}

/* ---- bits ---- */

static uint64_t *block_of(const struct slice *slice, const uint8_t hash[KEY_FILTER_HASH])
{
	/* The high word of the product: the hash scaled to the number of blocks. */
	uint64_t block = (uint64_t)((unsigned __int128)get_u64(hash) * slice->block_count >> 64);
	return (uint64_t *)(uintptr_t)&slice->blocks[block * BLOCK_WORDS];
}

static unsigned probe(const uint8_t hash[KEY_FILTER_HASH], unsigned i)
{
	return (unsigned)(get_u64(hash + 8) >> (i * PROBE_BITS)) & (BLOCK_BITS - 1);
}

void key_filter_add(struct key_filter *filter, const uint8_t hash[KEY_FILTER_HASH])
{
	if (filter->filling == NULL)
		return; /* the file was given up while its keys were still coming: nobody asks for them any more */
	uint64_t *block = block_of(filter->filling, hash);
	for (unsigned i = 0; i < PROBES; i++) {
		unsigned bit = probe(hash, i);
		block[bit / 64] |= (uint64_t)1 << bit % 64;
	}
}

void key_filter_fill(struct key_filter *filter)
{
	struct slice *slice = filter->filling;
	if (slice == NULL)
		return;
	memset(slice->blocks, 0xff, slice->block_count * BLOCK_WORDS * sizeof(uint64_t));
}

static bool slice_may_hold(const struct slice *slice, const uint8_t hash[KEY_FILTER_HASH])
{
	const uint64_t *block = block_of(slice, hash);
	for (unsigned i = 0; i < PROBES; i++) {
		unsigned bit = probe(hash, i);
		if (!(block[bit / 64] >> bit % 64 & 1))
			return false;
	}
	return true;
}

/* ---- slices ---- */

/* Each is as large as all before it, so that few are asked, whatever the number of keys. */
static struct slice *slice_make(const struct key_filter *filter, uint64_t keys)
{
	uint64_t capacity = filter->capacity > SLICE_KEYS_LEAST ? filter->capacity : SLICE_KEYS_LEAST;
	if (capacity < keys)
		capacity = keys;
	uint64_t blocks = (capacity * BITS_PER_KEY + BLOCK_BITS - 1) / BLOCK_BITS;
	struct slice *slice = calloc(1, sizeof *slice + blocks * BLOCK_WORDS * sizeof(uint64_t));
	if (slice == NULL)
		return NULL;
	slice->capacity = capacity;
	slice->block_count = blocks;
	return slice;
}

static bool file_room(struct slice *slice)
{
	if (slice->file_count < slice->file_room)
		return true;
	size_t room = slice->file_room == 0 ? 8 : 2 * slice->file_room;
	struct key_file *files = realloc(slice->files, room * sizeof *files);
	if (files == NULL)
		return false;
	slice->files = files;
	slice->file_room = room;
	return true;
}

enum error key_filter_file(struct key_filter *filter, const struct key_file *file)
{
	struct slice *slice = filter->newest;
	if (slice == NULL || slice->keys + file->keys > slice->capacity) {
		slice = slice_make(filter, file->keys);
		if (slice == NULL)
			return ERR_NOMEM;
	}
	if (!file_room(slice)) {
		if (slice != filter->newest)
			slice_free(slice);
		return ERR_NOMEM;
	}
	if (slice != filter->newest) {
		slice->older = filter->newest;
		filter->newest = slice;
		filter->capacity += slice->capacity;
	}
	filter->filling = slice;
	slice->files[slice->file_count++] = *file;
	slice->keys += file->keys;
	filter->files++;
	return ERR_OK;
}

size_t key_filter_find(const struct key_filter *filter, const uint8_t hash[KEY_FILTER_HASH], int64_t not_before, struct key_file *files, size_t room)
{
	size_t found = 0;
	for (const struct slice *slice = filter->newest; slice != NULL; slice = slice->older) {
		if (!slice_may_hold(slice, hash))
			continue;
		for (size_t i = slice->file_count; i-- > 0;) {
			if (slice->files[i].newest_ts < not_before)
				continue;
			if (found < room)
				files[found] = slice->files[i];
			found++;
		}
	}
	return found;
}

/* ---- what is over ---- */

/* Drops the files that `gone` names, and slices without any. */
static void drop(struct key_filter *filter, bool (*gone)(const struct key_file *file, const void *context), const void *context)
{
	struct slice **at = &filter->newest;
	while (*at != NULL) {
		struct slice *slice = *at;
		size_t kept = 0;
		for (size_t i = 0; i < slice->file_count; i++)
			if (!gone(&slice->files[i], context))
				slice->files[kept++] = slice->files[i];
		filter->files -= slice->file_count - kept;
		slice->file_count = kept;
		if (kept > 0) {
			at = &slice->older;
			continue;
		}
		filter->capacity -= slice->capacity;
		if (filter->filling == slice)
			filter->filling = NULL;
		*at = slice->older;
		slice_free(slice);
	}
}

static bool has_id(const struct key_file *file, const void *context)
{
	return file->id == *(const uint64_t *)context;
}

void key_filter_forget(struct key_filter *filter, uint64_t id)
{
	drop(filter, has_id, &id);
}

static bool is_older(const struct key_file *file, const void *context)
{
	return file->newest_ts < *(const int64_t *)context;
}

void key_filter_expire(struct key_filter *filter, int64_t not_before)
{
	drop(filter, is_older, &not_before);
}

size_t key_filter_files(const struct key_filter *filter)
{
	return filter->files;
}

size_t key_filter_bytes(const struct key_filter *filter)
{
	size_t bytes = sizeof *filter;
	for (const struct slice *slice = filter->newest; slice != NULL; slice = slice->older)
		bytes += sizeof *slice + slice->block_count * BLOCK_WORDS * sizeof(uint64_t) + slice->file_room * sizeof(struct key_file);
	return bytes;
}
