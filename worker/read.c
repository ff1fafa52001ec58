#include "worker/read.h"

#include <stdlib.h>
#include <string.h>

#include "worker/read_internal.h"

enum {
	TRIES = 3,
	POOL_MAX = 64,
	NODE_MAX = 65536,
	SLICE_US = 500,          /* how long one call may work: looked at after every READ_SLICE_WORK bytes or so */
	RECORD_WORK = 64,        /* what a record costs beside its bytes, in bytes */
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
	*out = reader;
	enum error error = windows_create(&reader->windows, worker);
	if (error == ERR_OK)
		error = segment_hints_create(&reader->hints);
	if (error != ERR_OK)
		reader_destroy(out);
	return error;
}

static void free_reading(struct reading *reading)
{
	free(reading->run.extents);
	free(reading->node);
	free(reading);
}

void reader_destroy(struct reader **out)
{
	struct reader *reader = *out;
	if (reader == NULL)
		return;
	while (reader->pool != NULL) {
		struct reading *reading = reader->pool;
		reader->pool = reading->next;
		free_reading(reading);
	}
	windows_destroy(&reader->windows);
	segment_hints_destroy(&reader->hints);
	free(reader);
	*out = NULL;
}

enum error reading_begin(struct reader *reader, void (*wake)(void *context), void *context, struct reading **out)
{
	struct reading *reading = reader->pool, kept = { 0 };
	if (reading != NULL) {
		reader->pool = reading->next;
		reader->pooled--;
		kept = *reading;
	} else if ((reading = malloc(sizeof *reading)) == NULL) {
		return ERR_NOMEM;
	}
	*reading = (struct reading){ .reader = reader, .node = kept.node, .node_room = kept.node_room, .run = { .extents = kept.run.extents },
	                             .window = { .windows = reader->windows, .wake = wake, .context = context } };
	*out = reading;
	return ERR_OK;
}

const struct read_page *reading_page(const struct reading *reading)
{
	return &reading->page;
}

void reading_end(struct reading **out)
{
	struct reading *reading = *out;
	*out = NULL;
	if (reading == NULL)
		return;
	struct reader *reader = reading->reader;
	window_close(&reading->window);
	if (reader->pooled == POOL_MAX) {
		free_reading(reading);
		return;
	}
	reading->next = reader->pool;
	reader->pool = reading;
	reader->pooled++;
}

/* ---- bytes of a file ---- */

enum error reading_use_file(struct reading *p, uint32_t index)
{
	struct catalogue_file place;
	struct log_file *file = NULL;
	enum error error = catalogue_file(p->request->catalogue, index, &place);
	if (error == ERR_AGAIN)
		return reading_section(p, error);
	if (error != ERR_OK) {
		/* Retired since the extent was copied: it is looked up again. In a catalogue whose writer has died it may stand there for good. */
		p->look_again = true;
		return p->lost_files++ < TRIES ? ERR_OK : ERR_BUSY;
	}
	if (p->window.file != NULL && p->window.file->id == place.id)
		return ERR_OK;
	error = files_get(p->reader->worker->files, place.kind, place.id, &file);
	p->page.missing_file = place.id;
	p->page.waits = READING_WAITS_FOR_FILE;
	/* A new logd removes files that its recovery has copied before its catalogue is there: then the next catalogue says where the bytes lie now. */
	if (error == ERR_IO)
		return ERR_BUSY;
	if (error == ERR_OK) {
		window_open(&p->window, file);
		p->check.begun = false;
	}
	return error;
}

/* ---- one record, one batch ---- */

static bool filtered(const struct reading *p, const struct record *record)
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

static enum error deliver(struct reading *p, const struct record *record, uint64_t seq)
{
	uint64_t size = (uint64_t)record->data_length + record->meta_length;
	if (p->page.records > 0 && p->bytes + size > p->request->max_bytes) {
		p->full = true;
		return ERR_OK;
	}
	if (p->page.records > 0) {
		if (p->out->length == p->out->room && buffer_reserve(p->out, 1) != ERR_OK)
			return ERR_NOMEM;
		p->out->bytes[p->out->length++] = ',';
	}
	enum error error = render_record(&p->render, p->out, seq, record);
	p->bytes += size;
	p->page.records++;
	return error;
}

/* A record that does not check or cannot be read. What the page holds so far ends before it; a page that would begin with it says what is gone. */
static void announce(struct reading *p, uint64_t to, uint32_t reason)
{
	p->full = true;
	if (p->page.records > 0 || p->page.has_tombstone)
		return;
	if (to > p->end)
		to = p->end;
	p->page.has_tombstone = true;
	p->page.tombstone = (struct tombstone){ .from = p->page.next + 1, .to = to, .reason = reason };
	p->page.next = to;
}

/* The batch, up to `to`, does not give what the catalogue says. */
enum error reading_damaged(struct reading *p, enum error error, uint64_t to)
{
	if (error != ERR_CORRUPT && error != ERR_IO && error != ERR_STORAGE_FAILED)
		return error;
	p->place.inside = p->check.begun = false;
	/* The frame may have moved to another file after a failed sync: the extent is looked up once more before this is called damage (I-4). */
	if (!p->looked_again && error != ERR_STORAGE_FAILED) {
		p->looked_again = p->look_again = true;
		return ERR_OK;
	}
	if (error != ERR_STORAGE_FAILED)
		announce(p, to, error == ERR_IO ? REASON_IO_ERROR : REASON_CORRUPT);
	else if (p->page.records > 0 || p->page.has_tombstone)
		p->full = true;
	else
		return error;
	return ERR_OK;
}

/* Finds where the next record begins: by the table of offsets, then from record to record. */
static enum error seek(struct reading *p)
{
	struct place *at = &p->place;
	const uint8_t *bytes;
	if (at->table != 0) {
		enum error error = reading_bytes(p, at->table, 4, &bytes);
		if (error != ERR_OK)
			return error;
		at->offset = get_u32(bytes);
		at->table = 0;
	}
	for (; at->to_skip > 0; at->to_skip--) {
		if (at->offset + RECORD_HEAD > at->length)
			return ERR_CORRUPT;
		enum error error = reading_bytes(p, at->records + at->offset, RECORD_HEAD, &bytes);
		if (error != ERR_OK)
			return error;
		at->offset += get_u32(bytes);
	}
	return at->offset % 8 == 0 && at->offset < at->length ? ERR_OK : ERR_CORRUPT;
}

static enum error one_record(struct reading *p)
{
	struct place *at = &p->place;
	const uint8_t *bytes;
	struct record record;
	uint64_t left = at->length - at->offset, seq = p->page.next + 1;
	if (at->offset > at->length || left < RECORD_HEAD)
		return ERR_CORRUPT;
	enum error error = reading_bytes(p, at->records + at->offset, RECORD_HEAD, &bytes);
	if (error != ERR_OK)
		return error;
	uint32_t length = get_u32(bytes);
	if (length > left || length < RECORD_HEAD)
		return ERR_CORRUPT;
	error = reading_bytes(p, at->records + at->offset, length, &bytes);
	if (error != ERR_OK)
		return error;
	if (record_parse(&record, bytes, length) != ERR_OK || !record_crc_valid(bytes, length))
		return ERR_CORRUPT;
	p->page.examined++;
	p->work += length + RECORD_WORK;
	error = filtered(p, &record) ? ERR_OK : deliver(p, &record, seq);
	if (!p->full && error == ERR_OK) {
		p->page.next = seq;
		at->offset += length;
	}
	return error;
}

bool reading_slice_ends(struct reading *p)
{
	p->work = 0;
	p->page.waits = READING_WAITS_FOR_TURN;
	return worker_now_us() >= p->until_us;
}

static enum error batch_records(struct reading *p)
{
	uint64_t last = p->place.last_seq < p->end ? p->place.last_seq : p->end;
	enum error error = seek(p);
	while (error == ERR_OK && p->page.next < last && !reading_done(p))
		error = reading_slice_over(p) ? ERR_AGAIN : one_record(p);
	if (error == ERR_OK)
		p->place.inside = false;
	return reading_damaged(p, error, p->page.next + 1);
}

static enum error keep_node(struct reading *p, const struct entry *batch)
{
	uint32_t length = batch->batch.node_length;
	if (length > NODE_MAX)
		return ERR_CORRUPT;
	if (length > p->node_room) {
		uint8_t *bigger = realloc(p->node, length);
		if (bigger == NULL)
			return ERR_NOMEM;
		p->node = bigger;
		p->node_room = length;
	}
	if (length > 0)
		memcpy(p->node, batch->batch.node, length);
	return ERR_OK;
}

/* Condition 7 of docs/format.md, in slices. */
static enum error check_frame(struct reading *p)
{
	enum error error;
	while ((error = frame_check_go_on(&p->check, &p->window, &p->reader->checked)) == ERR_BUSY) {
		p->work += READ_SLICE_WORK;
		if (reading_slice_over(p))
			return ERR_AGAIN;
	}
	if (error == ERR_AGAIN)
		p->page.waits = READING_WAITS_FOR_DISK;
	return error;
}

/* The frame's head. A check that is under way has it and does not need it in the window again: two places that take turns there would never both be read. */
static enum error open_head(struct reading *p, const struct extent *extent)
{
	const uint8_t *bytes;
	struct frame_head head;
	/* A frame that fits the window lies in it as a whole; of a larger one it moves over the parts. */
	uint64_t first = extent->length <= WINDOW_BYTES ? extent->length : 512;
	enum error error = reading_bytes(p, extent->offset, first, &bytes);
	if (error != ERR_OK)
		return error;
	if (frame_head_decode(&head, bytes, extent->length) != ERR_OK)
		return ERR_CORRUPT;
	error = reading_bytes(p, extent->offset, FRAME_HEAD + head.entries_length, &bytes);
	if (error == ERR_OK)
		frame_check_begin(&p->check, bytes, &head, p->window.file->id, extent->offset);
	return error;
}

/* Head and entries of the frame, checked, and held against what the extent says. Then the reading stands inside the batch. */
static enum error open_batch(struct reading *p, const struct extent *extent)
{
	const uint8_t *bytes;
	const struct frame_head *head = &p->check.head;
	struct entry batch;
	enum error error = frame_check_stands_at(&p->check, extent) ? ERR_OK : open_head(p, extent);
	if (error != ERR_OK)
		return error;
	if (head->length != extent->length || extent->entry < FRAME_HEAD || extent->entry >= FRAME_HEAD + head->entries_length)
		return ERR_CORRUPT;
	error = check_frame(p);
	if (error == ERR_OK)
		error = reading_bytes(p, extent->offset, FRAME_HEAD + head->entries_length, &bytes);
	if (error != ERR_OK)
		return error;
	if (entry_decode(&batch, bytes + extent->entry, FRAME_HEAD + head->entries_length - extent->entry) != ERR_OK || batch.type != ENTRY_BATCH ||
	    batch.topic != p->request->topic || batch.batch.first_seq != extent->first_seq || batch.batch.count != extent->count)
		return ERR_CORRUPT;
	if ((error = keep_node(p, &batch)) != ERR_OK)
		return error;
	render_batch(&p->render, head->ts, p->node, batch.batch.node_length);
	uint64_t index = p->page.next + 1 - extent->first_seq, stride = index / RECORD_TABLE_STRIDE, records = extent->offset + batch.batch.records_offset;
	bool table = stride > 0 && batch.batch.table_length > 0;
	p->place = (struct place){
		.inside = true, .last_seq = extent->first_seq + extent->count - 1, .records = records, .length = batch.batch.records_length,
		.table = table ? records + batch.batch.records_length + (stride - 1) * 4 : 0, .to_skip = (uint32_t)(table ? index % RECORD_TABLE_STRIDE : index),
	};
	return ERR_OK;
}

enum error reading_extent(struct reading *p, const struct extent *extent)
{
	enum error error = open_batch(p, extent);
	return error == ERR_OK ? batch_records(p) : reading_damaged(p, error, extent->first_seq + extent->count - 1);
}

/* ---- the page ---- */

static enum error walk(struct reading *p)
{
	enum error error = p->place.inside ? batch_records(p) : ERR_OK;
	while (error == ERR_OK && !reading_done(p))
		error = reading_next_extents(p);
	return error;
}

static void bury(struct read_page *page, uint64_t from, uint64_t to, uint32_t reason, bool possible)
{
	page->has_tombstone = true;
	page->tombstone = (struct tombstone){ from, to, reason, possible };
}

/* Where the page begins and may end, and what it has to announce first. */
static enum error frame_page(struct reading *p)
{
	const struct read_request *r = p->request;
	struct read_page *page = &p->page;
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
	return error == ERR_AGAIN ? ERR_OK : reading_section(p, error); /* ERR_AGAIN: there is none */
}

static enum error begin_page(struct reading *p)
{
	p->out->length = p->start;
	p->bytes = 0;
	p->full = p->looked_again = false;
	p->place.inside = p->check.begun = false;
	p->run.count = p->run.at = 0;
	p->page = (struct read_page){ 0 };
	window_close(&p->window);
	p->catalogue = catalogue_number(p->request->catalogue);
	enum error error = catalogue_numbers(p->request->catalogue, p->request->slot, &p->page.numbers);
	if (error != ERR_OK)
		return reading_section(p, error);
	if (p->page.numbers.id != p->request->topic)
		return ERR_TOPIC_NOT_FOUND;
	error = frame_page(p);
	p->first = p->page.next;
	return error;
}

/* No extent holds what the numbers promise. What the page has already is a page; else the floor has moved, or a second look says that nothing is there. */
static enum error missing(struct reading *p)
{
	uint64_t floor = p->page.numbers.floor;
	if (p->page.has_tombstone || p->page.next > p->first) {
		p->full = true;
		return ERR_OK;
	}
	enum error error = begin_page(p);
	if (error == ERR_OK && p->page.numbers.floor == floor && !p->page.has_tombstone && ++p->tries >= TRIES)
		announce(p, p->page.next + 1, REASON_CORRUPT);
	return error;
}

enum error reading_go_on(struct reading *p, const struct read_request *request, struct buffer *out)
{
	enum error error = ERR_OK;
	p->request = request;
	p->out = out;
	p->render.include_tags = request->include_tags;
	p->render.include_meta = request->include_meta;
	p->until_us = worker_now_us() + SLICE_US;
	if (p->catalogue == 0) {
		p->start = out->length;
		p->topic = request->topic;
	}
	if (p->topic != request->topic)
		return ERR_TOPIC_NOT_FOUND;
	if (p->catalogue != catalogue_number(request->catalogue))
		error = begin_page(p);
	else
		window_resume(&p->window);
	while (error == ERR_OK && !reading_done(p)) {
		error = walk(p);
		if (error == ERR_CORRUPT)
			error = missing(p);
	}
	return error;
}
