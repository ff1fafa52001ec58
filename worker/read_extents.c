/* Where the next records of a page lie: in a file that is not sealed, by the catalogue; in a sealed one, by its footer. */
#include <stdlib.h>

#include "worker/read_internal.h"

enum {
	NEAR = 4096,             /* frames that lie closer are read in one go */
	EXTENT_WORK = 1024,      /* what an extent costs beside its records, in bytes */
};

/* How far one read should go: over the frames that follow closely, as many as the page can still take. */
static void plan_ahead(struct reading *p, const struct extent *e, unsigned from, unsigned count)
{
	uint64_t records = 0, left = p->request->limit - p->page.records, end = e[from].offset;
	for (unsigned i = from; i < count && records < left && e[i].file == e[from].file && e[i].offset >= end && e[i].offset - end <= NEAR; i++) {
		uint64_t skipped = p->page.next >= e[i].first_seq ? p->page.next - e[i].first_seq + 1 : 0;
		end = e[i].offset + e[i].length;
		records += e[i].count - (skipped < e[i].count ? skipped : e[i].count);
		if (end - e[from].offset >= WINDOW_BYTES)
			break;
	}
	p->window.ahead = end;
}

static enum error one_extent(struct reading *p, const struct extent *extents, unsigned index, unsigned count, bool plan)
{
	const struct extent *extent = &extents[index];
	enum error error = reading_use_file(p, extent->file);
	if (error != ERR_OK || p->look_again)
		return error;
	if (plan || extent->offset >= p->window.ahead)
		plan_ahead(p, extents, index, count);
	p->work += EXTENT_WORK;
	return reading_extent(p, extent);
}

/* Goes through the extents from `*at` on, the first of which holds the next record, as far as they follow one another. */
static enum error some_extents(struct reading *p, const struct extent *extents, unsigned *at, unsigned count)
{
	enum error error = ERR_OK;
	unsigned first = *at;
	p->look_again = false;
	for (; *at < count && error == ERR_OK && !p->look_again && !reading_done(p); *at += p->page.next >= extents[*at].first_seq + extents[*at].count - 1) {
		if (extents[*at].first_seq > p->page.next + 1)
			break; /* what comes before it lies elsewhere */
		error = reading_slice_over(p) ? ERR_AGAIN : one_extent(p, extents, *at, count, *at == first);
	}
	return error;
}

static bool holds(const struct extent *extent, uint64_t seq)
{
	return extent->first_seq <= seq && seq - extent->first_seq < extent->count;
}

static enum error index_bytes(void *context, uint64_t offset, uint64_t length, uint64_t ahead, const uint8_t **bytes)
{
	struct reading *p = context;
	p->window.ahead = offset + length + ahead;
	return reading_bytes(p, offset, length, bytes);
}

/* Asks the index of a sealed file for the extents from the next record on. */
static enum error look_up(struct reading *p, const struct segment *segment)
{
	const struct segment_bytes source = { .bytes = index_bytes, .context = p };
	struct catalogue_file file;
	const struct segment_wanted wanted = { .segment = segment, .file = &file, .topic = p->topic, .seq = p->page.next + 1 };
	struct run *run = &p->run;
	enum error error = reading_use_file(p, segment->file);
	if (error != ERR_OK || p->look_again)
		return error;
	if (run->extents == NULL && (run->extents = malloc(READ_EXTENTS * sizeof *run->extents)) == NULL)
		return ERR_NOMEM;
	if ((error = catalogue_file(p->request->catalogue, segment->file, &file)) != ERR_OK)
		return error == ERR_AGAIN ? reading_section(p, error) : ERR_BUSY;
	for (run->at = run->count = 0; error == ERR_OK && run->count == 0;) {
		p->work += EXTENT_WORK;
		error = reading_slice_over(p) ? ERR_AGAIN : segment_index_find(&run->search, p->reader->hints, &wanted, &source, run->extents, READ_EXTENTS, &run->count);
	}
	if (run->count > 0 && segment_index_failed(&run->search))
		counters_add(&p->reader->worker->counters->index_failures_total, 1);
	if (error == ERR_OK && run->extents[0].first_seq > wanted.seq)
		error = ERR_NOT_FOUND;
	if (error != ERR_OK)
		run->count = 0;
	return error == ERR_NOT_FOUND ? ERR_CORRUPT : error;
}

static enum error go_through_run(struct reading *p)
{
	struct run *run = &p->run;
	enum error error = some_extents(p, run->extents, &run->at, run->count);
	segment_index_remember(p->reader->hints, &run->search, run->extents, run->at < run->count ? run->at : run->count - 1, p->page.next + 1);
	if (p->look_again)
		run->count = 0;
	return error;
}

/* The next record lies in a run that is here, in a file that is not sealed, or in one that is. Asked in this order: sealing moves extents into a segment, never back. */
enum error reading_next_extents(struct reading *p)
{
	const struct read_request *r = p->request;
	uint64_t seq = p->page.next + 1;
	struct segment segment;
	unsigned count = 0, at = 0;
	while (p->run.at < p->run.count && p->run.extents[p->run.at].first_seq + p->run.extents[p->run.at].count <= seq)
		p->run.at++;
	if (p->run.at < p->run.count && holds(&p->run.extents[p->run.at], seq))
		return go_through_run(p);
	enum error error = catalogue_extents(r->catalogue, r->slot, r->topic, seq, p->reader->extents, READ_EXTENTS, &count);
	if (error == ERR_OK && count > 0 && holds(&p->reader->extents[0], seq))
		return some_extents(p, p->reader->extents, &at, count);
	if (error == ERR_OK)
		error = catalogue_segments(r->catalogue, r->slot, r->topic, seq, &segment, 1, &count);
	if (error != ERR_OK)
		return reading_section(p, error);
	if (count == 0 || segment.first_seq > seq)
		return ERR_CORRUPT; /* the floor moved over what we wanted: the numbers are read again */
	p->look_again = false;
	error = look_up(p, &segment);
	if (error == ERR_OK && !p->look_again)
		return go_through_run(p);
	return error == ERR_IO || error == ERR_STORAGE_FAILED ? reading_damaged(p, error, seq) : error;
}
