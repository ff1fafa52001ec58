#include "worker/gzip.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

enum {
	WINDOW_GZIP = 15 + 16, /* zlib's way to say: 32 KiB, and gzip's head and tail, nothing else */
	MEMORY_LEVEL = 8,
	LEVEL = Z_BEST_SPEED,  /* events are so alike that the fastest level takes most of what there is to take */
};

struct inflater {
	z_stream stream;
	bool between;              /* before the first byte of a member */
	bool any;                  /* at least one member has been whole */
	struct inflater *next;
};

struct deflater {
	z_stream stream;
};

static uInt at_most(size_t length)
{
	return length > UINT_MAX ? UINT_MAX : (uInt)length;
}

enum error inflater_create(struct inflater **out)
{
	struct inflater *inflater = calloc(1, sizeof *inflater);
	if (inflater == NULL)
		return ERR_NOMEM;
	if (inflateInit2(&inflater->stream, WINDOW_GZIP) != Z_OK) {
		free(inflater);
		return ERR_NOMEM;
	}
	inflater->between = true;
	*out = inflater;
	return ERR_OK;
}

void inflater_destroy(struct inflater **out)
{
	struct inflater *inflater = *out;
	*out = NULL;
	if (inflater == NULL)
		return;
	inflateEnd(&inflater->stream);
	free(inflater);
}

void inflater_reset(struct inflater *inflater)
{
	inflateReset(&inflater->stream);
	inflater->between = true;
	inflater->any = false;
}

enum error inflater_run(struct inflater *inflater, const uint8_t *in, size_t length, size_t *used, uint8_t *out, size_t room, size_t *made)
{
	z_stream *stream = &inflater->stream;
	uInt in_all = at_most(length), out_all = at_most(room);
	stream->next_in = (Bytef *)(uintptr_t)in;
	stream->avail_in = in_all;
	stream->next_out = out;
	stream->avail_out = out_all;
	enum error error = ERR_OK;
	while (error == ERR_OK && stream->avail_in > 0 && stream->avail_out > 0) {
		inflater->between = false;
		int result = inflate(stream, Z_NO_FLUSH);
		if (result == Z_STREAM_END) {
			inflateReset(stream); /* another member may follow */
			inflater->between = inflater->any = true;
		} else if (result != Z_OK) {
			error = result == Z_MEM_ERROR ? ERR_NOMEM : ERR_INVALID_REQUEST;
		}
	}
	*used = in_all - stream->avail_in;
	*made = out_all - stream->avail_out;
	return error;
}

bool inflater_at_end(const struct inflater *inflater)
{
	return inflater->between && inflater->any;
}

struct inflater *inflater_next(const struct inflater *inflater)
{
	return inflater->next;
}

void inflater_set_next(struct inflater *inflater, struct inflater *next)
{
	inflater->next = next;
}

enum error deflater_create(struct deflater **out)
{
	struct deflater *deflater = calloc(1, sizeof *deflater);
	if (deflater == NULL)
		return ERR_NOMEM;
	if (deflateInit2(&deflater->stream, LEVEL, Z_DEFLATED, WINDOW_GZIP, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(deflater);
		return ERR_NOMEM;
	}
	*out = deflater;
	return ERR_OK;
}

void deflater_destroy(struct deflater **out)
{
	struct deflater *deflater = *out;
	*out = NULL;
	if (deflater == NULL)
		return;
	deflateEnd(&deflater->stream);
	free(deflater);
}

void deflater_reset(struct deflater *deflater)
{
	deflateReset(&deflater->stream);
}

void deflater_run(struct deflater *deflater, const uint8_t *in, size_t length, size_t *used, uint8_t *out, size_t room, size_t *made, bool last, bool *ended)
{
	z_stream *stream = &deflater->stream;
	uInt in_all = at_most(length), out_all = at_most(room);
	stream->next_in = (Bytef *)(uintptr_t)in;
	stream->avail_in = in_all;
	stream->next_out = out;
	stream->avail_out = out_all;
	int result = deflate(stream, last && in_all == length ? Z_FINISH : Z_NO_FLUSH);
	assert(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR);
	*used = in_all - stream->avail_in;
	*made = out_all - stream->avail_out;
	*ended = result == Z_STREAM_END;
}

size_t deflater_bound(struct deflater *deflater, size_t length)
{
	return deflateBound(&deflater->stream, length);
}
