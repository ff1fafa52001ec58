#include "worker/compress.h"

#include <stdlib.h>
#include <string.h>

#include "worker/gzip.h"

enum {
	SLICE = 32 * 1024,         /* of an answer, in one go: about 0.4 ms */
	KEEP = 1 << 20,            /* a larger buffer is given back when the queue is empty */
};

struct compressing {
	struct deflater *small;       /* for what is compressed at once, also while a large answer is half done */
	struct deflater *large;
	struct exchange *first, *last;
	void (*finished)(struct exchange *exchange);
	struct buffer out;            /* what `first` has become so far */
	size_t taken;                 /* bytes of `first` dealt with */
	uint8_t room[SLICE + SLICE / 8 + 64];
};

enum error compressing_create(struct compressing **out)
{
	*out = calloc(1, sizeof **out);
	return *out != NULL ? ERR_OK : ERR_NOMEM;
}

void compressing_destroy(struct compressing **out)
{
	struct compressing *compressing = *out;
	*out = NULL;
	if (compressing == NULL)
		return;
	deflater_destroy(&compressing->small);
	deflater_destroy(&compressing->large);
	buffer_free(&compressing->out);
	free(compressing);
}

static bool ready(struct deflater **deflater)
{
	return *deflater != NULL || deflater_create(deflater) == ERR_OK;
}

static void take_small(struct compressing *compressing, struct exchange *exchange)
{
	struct buffer *answer = &exchange->answer;
	size_t used = 0, made = 0;
	bool ended = false;
	if (!ready(&compressing->small))
		return;
	deflater_reset(compressing->small);
	deflater_run(compressing->small, answer->bytes, answer->length, &used, compressing->room, sizeof compressing->room, &made, true, &ended);
	if (!ended || buffer_reserve(answer, made > answer->length ? made - answer->length : 0) != ERR_OK)
		return;
	memcpy(answer->bytes, compressing->room, made);
	answer->length = made;
	exchange->gzipped = true;
}

static void unlink_exchange(struct compressing *compressing, const struct exchange *exchange)
{
	struct exchange *before = NULL, *at = compressing->first;
	while (at != exchange) {
		before = at;
		at = at->next_compressed;
	}
	*(before != NULL ? &before->next_compressed : &compressing->first) = at->next_compressed;
	if (compressing->last == at)
		compressing->last = before;
}

/* The first of the queue has changed: begins with it. */
static void begin(struct compressing *compressing)
{
	compressing->taken = 0;
	compressing->out.length = 0;
	if (compressing->first != NULL)
		deflater_reset(compressing->large);
	else if (compressing->out.room > KEEP)
		buffer_free(&compressing->out);
}

static void cancel(struct exchange *exchange)
{
	struct compressing *compressing = exchange->parked;
	bool was_first = compressing->first == exchange;
	unlink_exchange(compressing, exchange);
	if (was_first)
		begin(compressing);
}

bool compressing_take(struct compressing *compressing, struct exchange *exchange, void (*finished)(struct exchange *exchange))
{
	if (exchange->answer.length <= SLICE) {
		take_small(compressing, exchange);
		return true;
	}
	if (!ready(&compressing->large))
		return true;
	compressing->finished = finished;
	exchange->next_compressed = NULL;
	*(compressing->last != NULL ? &compressing->last->next_compressed : &compressing->first) = exchange;
	compressing->last = exchange;
	exchange_park(exchange, compressing, cancel);
	if (compressing->first == exchange)
		begin(compressing);
	return false;
}

/* The first of the queue is done, or stays as it is. */
static void end(struct compressing *compressing, bool gzipped)
{
	struct exchange *exchange = compressing->first;
	if (gzipped) {
		/* Their memory changes places: nothing is copied, and the next one finds a buffer that has proved large enough. */
		struct buffer answer = exchange->answer;
		exchange->answer = compressing->out;
		compressing->out = answer;
		exchange->gzipped = true;
	}
	exchange_park(exchange, NULL, NULL);
	unlink_exchange(compressing, exchange);
	begin(compressing);
	compressing->finished(exchange);
}

bool compressing_step(struct compressing *compressing)
{
	struct exchange *exchange = compressing->first;
	if (exchange == NULL)
		return false;
	struct buffer *out = &compressing->out;
	size_t left = exchange->answer.length - compressing->taken, slice = left < SLICE ? left : SLICE, used = 0, made = 0;
	bool ended = false;
	if (buffer_reserve(out, SLICE) != ERR_OK) {
		end(compressing, false);
		return compressing->first != NULL;
	}
	deflater_run(compressing->large, exchange->answer.bytes + compressing->taken, slice, &used, out->bytes + out->length, out->room - out->length, &made,
	             slice == left, &ended);
	compressing->taken += used;
	out->length += made;
	if (ended)
		end(compressing, true);
	return compressing->first != NULL;
}

bool compressing_pending(const struct compressing *compressing)
{
	return compressing->first != NULL;
}
