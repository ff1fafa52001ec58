#include "worker/read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/frame.h"
#include "worker/files.h"
#include "worker/render.h"
#include "worker/worker.h"

enum { EXTENTS = 128, WINDOW = 1 << 20, NEAR = 4096, TRIES = 3 };

/* What was read of a file last; thrown away between requests, since behind what was published bytes may still change. */
struct window {
	uint64_t file;
	uint64_t start, length;
	uint8_t *bytes;
	size_t room;
};

struct reader {
	struct worker *worker;
	struct window window;
	struct extent extents[EXTENTS];
	/* The frame larger than a window that was checked last: pages that follow each other check it once. */
	struct { uint64_t file, offset; uint32_t sum; } checked;
	uint8_t node[65536 + 8];      /* the batch's, of a frame that does not lie in the window as a whole */
};

/* One page in the making. */
struct paging {
	struct reader *reader;
	const struct read_request *request;
	struct read_page *page;
	struct buffer *out;
	struct render render;
	uint64_t end;                 /* last seq that this page may reach: the head, or what stands before the next gap */
	uint64_t bytes;
	bool full;
	unsigned looked_again;
	int fd;
	uint64_t ahead;               /* end of what is worth reading at once */
};

const char *reason_name(uint32_t reason)
{
	static const char *const names[] = { "", "cap", "ttl", "mixed", "source_trim", "recreated", "restart", "crash", "corrupt", "io_error" };
	return reason < REASON_END ? names[reason] : "corrupt";
}

enum error reader_create(struct reader **out, struct worker *worker)
{
	struct reader *reader = calloc(1, sizeof *reader);
	if (reader == NULL)
		return ERR_NOMEM;
	reader->worker = worker;
	reader->window.room = WINDOW;
	reader->window.bytes = malloc(WINDOW);
	*out = reader;
	if (reader->window.bytes == NULL) {
		reader_destroy(out);
		return ERR_NOMEM;
	}
	return ERR_OK;
}

void reader_destroy(struct reader **reader)
{
	if (*reader != NULL)
		free((*reader)->window.bytes);
	free(*reader);
	*reader = NULL;
}

/* ---- bytes of a file ---- */

static enum error fill(struct paging *p, uint64_t offset, uint64_t length)
{
	struct window *w = &p->reader->window;
	uint64_t want = p->ahead > offset + length ? p->ahead - offset : length, got = 0;
	if (want > WINDOW && want > length)
		want = length > WINDOW ? length : WINDOW;
	if (want > w->room) {
		uint8_t *bigger = realloc(w->bytes, want);
		if (bigger == NULL)
			return ERR_NOMEM;
		w->bytes = bigger;
		w->room = want;
	}
	w->length = 0;
	while (got < want) {
		ssize_t n = pread(p->fd, w->bytes + got, want - got, (off_t)(offset + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_STORAGE_FAILED;
		if (n == 0)
			break;
		got += (uint64_t)n;
	}
	w->start = offset;
	w->length = got;
	return got >= length ? ERR_OK : ERR_CORRUPT;
}

/* `length` bytes of the file at `offset`; they stay until the next call that has to read. */
static inline enum error bytes_at(struct paging *p, uint64_t offset, uint64_t length, const uint8_t **bytes)
{
	struct window *w = &p->reader->window;
	if (offset < w->start || offset + length > w->start + w->length) {
		enum error error = fill(p, offset, length);
		if (error != ERR_OK)
			return error;
	}
	*bytes = w->bytes + (offset - w->start);
	return ERR_OK;
}

static enum error use_file(struct paging *p, uint32_t index)
{
	struct catalogue_file file;
	enum error error = catalogue_file(p->request->catalogue, index, &file);
	if (error != ERR_OK)
		return ERR_CORRUPT; /* retired since the extent was copied: it is looked up again */
	if (p->reader->window.file == file.id && p->fd >= 0)
		return ERR_OK;
	error = files_get(p->reader->worker->files, file.kind, file.id, &p->fd);
	p->page->missing_file = file.id;
	/* A new logd removes files that its recovery has copied before its catalogue is there: then the next catalogue says where the bytes lie now. */
	if (error == ERR_IO)
		return ERR_BUSY;
	if (error == ERR_OK) {
		p->reader->window.file = file.id;
		p->reader->window.length = 0;
	}
	return error;
}

/* How far one read should go: over the frames that follow closely, as many as the page can still take. */
static void plan_ahead(struct paging *p, unsigned from, unsigned count)
{
	const struct extent *e = p->reader->extents;
	uint64_t records = 0, left = p->request->limit - p->page->records, end = e[from].offset;
	for (unsigned i = from; i < count && records < left && e[i].file == e[from].file && e[i].offset >= end && e[i].offset - end <= NEAR; i++) {
		uint64_t skipped = p->page->next >= e[i].first_seq ? p->page->next - e[i].first_seq + 1 : 0;
		end = e[i].offset + e[i].length;
		records += e[i].count - (skipped < e[i].count ? skipped : e[i].count);
		if (end - e[from].offset >= WINDOW)
			break;
	}
	p->ahead = end;
}

/* ---- one record, one batch ---- */

static bool filtered(const struct paging *p, const struct record *record)
{
	const struct read_request *r = p->request;
	const uint8_t *node = record->flags & RECORD_HAS_NODE ? record->node : p->render.node;
	size_t length = record->flags & RECORD_HAS_NODE ? record->node_length : p->render.node_length;
	if (r->node_count == 0 || !(record->flags & (RECORD_HAS_NODE | RECORD_BATCH_NODE)))
		return false;
	for (unsigned i = 0; i < r->node_count; i++)
		if (r->nodes[i].length == length && memcmp(r->nodes[i].at, node, length) == 0)
			return true;
	return false;
}

static enum error deliver(struct paging *p, const struct record *record, uint64_t seq)
{
	uint64_t size = (uint64_t)record->data_length + record->meta_length;
	if (p->page->records > 0 && p->bytes + size > p->request->max_bytes) {
		p->full = true;
		return ERR_OK;
	}
	if (p->page->records > 0) {
		if (buffer_reserve(p->out, 1) != ERR_OK)
			return ERR_NOMEM;
		p->out->bytes[p->out->length++] = ',';
	}
	enum error error = render_record(&p->render, p->out, seq, record);
	p->bytes += size;
	p->page->records++;
	return error;
}

/* A record that does not check. What the page holds so far ends before it; a page that would begin with it says what is gone. */
static void announce(struct paging *p, uint64_t from, uint64_t to)
{
	p->full = true;
	if (p->page->records > 0 || p->page->has_tombstone)
		return;
	p->page->has_tombstone = true;
	p->page->tombstone = (struct tombstone){ .from = from, .to = to, .reason = REASON_CORRUPT };
	p->page->next = to;
}

/* Finds where record `index` of the batch begins. */
static enum error seek(struct paging *p, uint64_t records, const struct entry *batch, uint32_t index, uint64_t *offset)
{
	const uint8_t *bytes;
	uint32_t at = 0, stride = index / RECORD_TABLE_STRIDE;
	enum error error = ERR_OK;
	if (stride > 0 && batch->batch.table_length > 0) {
		error = bytes_at(p, records + batch->batch.records_length + (uint64_t)(stride - 1) * 4, 4, &bytes);
		if (error != ERR_OK)
			return error;
		at = get_u32(bytes);
		index %= RECORD_TABLE_STRIDE;
	}
	for (; index > 0; index--) {
		if (at > batch->batch.records_length - RECORD_HEAD)
			return ERR_CORRUPT;
		error = bytes_at(p, records + at, RECORD_HEAD, &bytes);
		if (error != ERR_OK)
			return error;
		at += get_u32(bytes);
	}
	*offset = at;
	return at % 8 == 0 && at < batch->batch.records_length ? ERR_OK : ERR_CORRUPT;
}

static enum error one_record(struct paging *p, uint64_t file_offset, uint64_t left, uint64_t seq, uint32_t *length)
{
	const uint8_t *bytes;
	struct record record;
	if (left < RECORD_HEAD)
		return ERR_CORRUPT;
	enum error error = bytes_at(p, file_offset, RECORD_HEAD, &bytes);
	if (error != ERR_OK)
		return error;
	*length = get_u32(bytes);
	if (*length > left || *length < RECORD_HEAD)
		return ERR_CORRUPT;
	error = bytes_at(p, file_offset, *length, &bytes);
	if (error != ERR_OK)
		return error;
	if (record_parse(&record, bytes, *length) != ERR_OK || !record_crc_valid(bytes, *length))
		return ERR_CORRUPT;
	p->page->examined++;
	error = filtered(p, &record) ? ERR_OK : deliver(p, &record, seq);
	if (!p->full && error == ERR_OK)
		p->page->next = seq;
	return error;
}

static bool page_full(const struct paging *p)
{
	return p->full || p->page->records >= p->request->limit || p->page->examined >= READ_EXAMINED_MAX;
}

static enum error batch_records(struct paging *p, const struct extent *extent, const struct entry *batch)
{
	uint64_t records = extent->offset + batch->batch.records_offset, offset = 0, seq = p->page->next + 1;
	uint64_t last = extent->first_seq + extent->count - 1;
	enum error error = seek(p, records, batch, (uint32_t)(seq - extent->first_seq), &offset);
	if (last > p->end)
		last = p->end;
	for (; error == ERR_OK && seq <= last && !page_full(p); seq++) {
		uint32_t length = 0;
		error = one_record(p, records + offset, batch->batch.records_length - offset, seq, &length);
		offset += length;
	}
	return error;
}

/* ---- the frame's own CRC: nothing else says that head, node and time are right, and that each record stands in its place ---- */

static enum error sum_area(struct paging *p, uint64_t frame, const struct frame_area *area, struct frame_sum *sum)
{
	uint64_t at = frame + area->offset, end = at + area->records;
	const uint8_t *bytes;
	enum error error;
	while (at < end) {
		if (end - at < RECORD_HEAD)
			return ERR_CORRUPT;
		if ((error = bytes_at(p, at, RECORD_HEAD, &bytes)) != ERR_OK)
			return error;
		uint32_t length = get_u32(bytes);
		if (length < RECORD_HEAD || length % 8 != 0 || length > end - at)
			return ERR_CORRUPT;
		frame_sum_record(sum, bytes);
		at += length;
	}
	error = bytes_at(p, end, area->table, &bytes);
	if (error == ERR_OK)
		frame_sum_bytes(sum, bytes, area->table);
	return error;
}

static enum error sum_areas(struct paging *p, uint64_t frame, const struct frame_head *head, struct frame_sum *sum)
{
	uint64_t next = (uint64_t)FRAME_HEAD + head->entries_length, end = next + head->records_length;
	for (uint32_t at = 0; at < head->entries_length;) {
		const uint8_t *bytes;
		struct entry entry;
		struct frame_area area;
		enum error error = bytes_at(p, frame + FRAME_HEAD + at, head->entries_length - at, &bytes);
		if (error == ERR_OK)
			error = entry_decode(&entry, bytes, head->entries_length - at);
		if (error != ERR_OK)
			return error == ERR_NEWER ? ERR_CORRUPT : error;
		at += entry.length;
		if (!frame_area(bytes, &area) || area.offset != next)
			continue;
		next += (uint64_t)area.records + area.table;
		if (next > end)
			return ERR_CORRUPT;
		error = sum_area(p, frame, &area, sum);
		if (error != ERR_OK)
			return error;
	}
	return ERR_OK;
}

static enum error check_frame(struct paging *p, const struct extent *extent, const struct frame_head *head)
{
	struct reader *reader = p->reader;
	struct frame_sum sum;
	const uint8_t *bytes;
	enum error error = bytes_at(p, extent->offset, FRAME_HEAD + head->entries_length, &bytes);
	if (error != ERR_OK)
		return error;
	frame_sum_begin(&sum, bytes, head->entries_length, reader->window.file, extent->offset);
	uint32_t begun = sum.crc ^ head->crc; /* stands for head and entries as they are */
	if (extent->length > WINDOW && reader->checked.file == reader->window.file && reader->checked.offset == extent->offset && reader->checked.sum == begun)
		return ERR_OK;
	error = sum_areas(p, extent->offset, head, &sum);
	if (error == ERR_OK)
		error = bytes_at(p, extent->offset + extent->length - FRAME_TAIL, FRAME_TAIL, &bytes);
	if (error != ERR_OK)
		return error;
	frame_sum_bytes(&sum, bytes, FRAME_TAIL);
	if (sum.crc != head->crc)
		return ERR_CORRUPT;
	if (extent->length > WINDOW) {
		reader->checked.file = reader->window.file;
		reader->checked.offset = extent->offset;
		reader->checked.sum = begun;
	}
	return ERR_OK;
}

/* Head and entries of the frame, checked, and held against what the extent says. */
static enum error open_batch(struct paging *p, const struct extent *extent, struct entry *batch)
{
	const uint8_t *bytes;
	struct frame_head head;
	uint64_t first = extent->length < 512 ? extent->length : 512;
	enum error error = bytes_at(p, extent->offset, first, &bytes);
	if (error != ERR_OK)
		return error;
	if (frame_head_decode(&head, bytes, extent->length) != ERR_OK || head.length != extent->length || extent->entry < FRAME_HEAD ||
	    extent->entry >= FRAME_HEAD + head.entries_length)
		return ERR_CORRUPT;
	error = check_frame(p, extent, &head);
	if (error == ERR_OK)
		error = bytes_at(p, extent->offset, FRAME_HEAD + head.entries_length, &bytes);
	if (error != ERR_OK)
		return error;
	if (entry_decode(batch, bytes + extent->entry, FRAME_HEAD + head.entries_length - extent->entry) != ERR_OK || batch->type != ENTRY_BATCH ||
	    batch->topic != p->request->topic || batch->batch.first_seq != extent->first_seq || batch->batch.count != extent->count)
		return ERR_CORRUPT;
	if (batch->batch.node_length > sizeof p->reader->node)
		return ERR_CORRUPT;
	if (batch->batch.node_length > 0)
		memcpy(p->reader->node, batch->batch.node, batch->batch.node_length);
	render_batch(&p->render, head.ts, p->reader->node, batch->batch.node_length);
	return ERR_OK;
}

static enum error one_extent(struct paging *p, unsigned index, unsigned count)
{
	const struct extent *extent = &p->reader->extents[index];
	struct entry batch;
	enum error error = use_file(p, extent->file);
	if (error != ERR_OK)
		return error;
	if (extent->offset >= p->ahead || index == 0)
		plan_ahead(p, index, count);
	error = open_batch(p, extent, &batch);
	bool opened = error == ERR_OK;
	if (opened)
		error = batch_records(p, extent, &batch);
	if (error != ERR_CORRUPT)
		return error;
	/* The frame may have moved to another file after a failed sync: the extent is looked up once more before this is called damage (I-4). */
	if (p->looked_again++ == 0)
		return ERR_CORRUPT;
	announce(p, p->page->next + 1, opened ? p->page->next + 1 : extent->first_seq + extent->count - 1);
	return ERR_OK;
}

/* ---- the page ---- */

static enum error walk(struct paging *p)
{
	const struct read_request *r = p->request;
	while (p->page->next < p->end && !page_full(p)) {
		unsigned count = 0;
		enum error error = catalogue_extents(r->catalogue, r->slot, r->topic, p->page->next + 1, p->reader->extents, EXTENTS, &count);
		if (error != ERR_OK)
			return error == ERR_AGAIN ? ERR_BUSY : error;
		if (count == 0)
			return ERR_CORRUPT;
		for (unsigned i = 0; i < count && p->page->next < p->end && !page_full(p); i++) {
			if (p->reader->extents[i].first_seq > p->page->next + 1)
				return ERR_CORRUPT; /* the floor moved over what we wanted: the numbers are read again */
			error = one_extent(p, i, count);
			if (error == ERR_CORRUPT)
				break; /* look it up again */
			if (error != ERR_OK)
				return error;
		}
	}
	return ERR_OK;
}

static void bury(struct read_page *page, uint64_t from, uint64_t to, uint32_t reason, bool possible)
{
	page->has_tombstone = true;
	page->tombstone = (struct tombstone){ from, to, reason, possible };
}

/* Where the page begins and may end, and what it has to announce first. */
static enum error frame_page(struct paging *p)
{
	const struct read_request *r = p->request;
	struct read_page *page = p->page;
	const struct topic_numbers *n = &page->numbers;
	struct loss loss;
	page->next = r->from_seq;
	p->end = n->head;
	if (r->recreated || r->from_seq > n->head) {
		bury(page, 1, n->head, REASON_RECREATED, false);
		page->next = n->earliest - 1;
	} else if (r->from_seq < n->floor) {
		bury(page, r->from_seq + 1, n->floor, n->floor_reason, false);
		page->next = n->floor;
	}
	enum error error = catalogue_loss(r->catalogue, r->slot, r->topic, page->next + 1, &loss);
	if (error == ERR_OK && loss.from <= page->next + 1 && !page->has_tombstone && loss.from <= n->head) {
		uint64_t to = loss.to < n->head ? loss.to : n->head;
		bury(page, page->next + 1, to, loss.reason, (loss.flags & ENTRY_POSSIBLE) != 0);
		page->next = to;
		error = catalogue_loss(r->catalogue, r->slot, r->topic, page->next + 1, &loss);
	}
	if (error == ERR_OK && loss.from <= p->end)
		p->end = loss.from > page->next + 1 ? loss.from - 1 : page->next;
	return error == ERR_OK || error == ERR_AGAIN ? ERR_OK : error;
}

static enum error try_page(struct paging *p, size_t start)
{
	p->out->length = start;
	p->bytes = 0;
	p->full = false;
	p->fd = -1;
	p->ahead = 0;
	p->reader->window.file = 0;
	p->reader->window.length = 0;
	*p->page = (struct read_page){ 0 };
	enum error error = catalogue_numbers(p->request->catalogue, p->request->slot, &p->page->numbers);
	if (error != ERR_OK)
		return error == ERR_AGAIN ? ERR_BUSY : error;
	if (p->page->numbers.id != p->request->topic)
		return ERR_TOPIC_NOT_FOUND;
	error = frame_page(p);
	return error != ERR_OK ? error : walk(p);
}

enum error read_page(struct reader *reader, const struct read_request *request, struct buffer *out, struct read_page *page)
{
	struct paging p = { .reader = reader, .request = request, .page = page, .out = out };
	size_t start = out->length;
	enum error error = ERR_CORRUPT;
	p.render.include_tags = request->include_tags;
	p.render.include_meta = request->include_meta;
	for (unsigned i = 0; i < TRIES && error == ERR_CORRUPT; i++)
		error = try_page(&p, start);
	if (error == ERR_CORRUPT) {
		/* No extent holds what the numbers promise, also after a second look. */
		announce(&p, page->next + 1, page->next + 1);
		error = ERR_OK;
	}
	return error;
}
