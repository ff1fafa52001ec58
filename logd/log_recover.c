/*
 * The walk of recovery (docs/format.md §10, steps 1 to 5): every frame of the log in order, and every place where one is missing. It reads
 * only; what it finds to be done is done by log_recover_finish. What lies behind the last recorded frontier is copied to memory on the way
 * and seals itself into the new file, so the place that the visitor is told is the one that readers will use.
 */
#include <errno.h>
#include <stdlib.h>

#include "logd/log_internal.h"

enum {
	VOID_PIECE = 1 << 24,
	PROGRESS_EVERY = 4096,
};

struct walk {
	struct log *log;
	const struct log_visitor *visitor;
	struct log_recovered *recovered;
	uint64_t frontier;
	uint64_t checkpoint_lsn;
	struct footer_file_source source;
	struct log_scan scan;
	size_t scanned;            /* index of the file in `scan`, SIZE_MAX if none */
	struct log_point at;       /* behind the last frame that counted */
	uint64_t done, total;      /* bytes */
	/* The tail: */
	bool copying;
	bool only_marks;           /* no frame of the tail is anything but a sync mark */
	bool last_clean;           /* the last frame is the sync mark of a clean stop */
	/* A hole whose end is not known yet: */
	bool hole;
	uint64_t hole_from;
	bool torn;                 /* looks like a write that a kill cut off */
	bool io_error;             /* some of it could not be read */
	uint8_t *entries;          /* the broken frame's, a copy of ours */
	uint32_t entries_length;
};

static struct log_file *file_of(struct walk *walk, size_t index)
{
	return walk->log->files[index];
}

static enum error scan(struct walk *walk, size_t index)
{
	enum error error;

	if (walk->scanned == index)
		return ERR_OK;
	error = log_scan_file(walk->log, &walk->scan, file_of(walk, index));
	walk->scanned = error ? SIZE_MAX : index;
	return error;
}

/* The frontier only rises from frame to frame, so the youngest file that has a frame knows the last one; headers may know a later one
 * still. */
static enum error find_frontier(struct walk *walk)
{
	walk->frontier = walk->log->recovery.frontier;
	for (size_t i = walk->log->file_count; i-- > 0;) {
		enum error error;

		if (file_of(walk, i)->seal == SEAL_DONE)
			break; /* its footer was asked */
		error = scan(walk, i);
		if (error)
			return error;
		if (walk->scan.max_frontier > walk->frontier)
			walk->frontier = walk->scan.max_frontier;
		if (walk->scan.frames > 0)
			break;
	}
	return ERR_OK;
}

/* Topic and last seq of the frame's last batch or forward, for the next frame's prev_topic. */
static void note_last_batch(struct log_point *point, const uint8_t *frame, const struct frame_head *head)
{
	const uint8_t *entries = frame + FRAME_HEAD;

	if (head->prev_topic) {
		point->topic = head->prev_topic;
		point->last_seq = head->prev_last_seq;
	}
	for (uint32_t at = 0; at < head->entries_length; at += get_u32(entries + at + 4)) {
		const uint8_t *body = entries + at + ENTRY_HEAD;

		if (get_u16(entries + at) == ENTRY_BATCH) {
			point->topic = get_u64(body);
			point->last_seq = get_u64(body + 8) + get_u32(body + 16) - 1;
		} else if (get_u16(entries + at) == ENTRY_FORWARD) {
			point->topic = get_u64(body + 8);
			point->last_seq = get_u64(body + 24) + get_u32(body + 48) - 1;
		}
	}
}

/* ---- the copy of the tail ---- */

static void begin_copying(struct walk *walk, uint64_t lsn)
{
	struct log *log = walk->log;

	log->appended = walk->at;
	log->appended.lsn = lsn;
	log->written = log->syncing = log->synced = log->fresh_from = log->appended;
	log_file_follow(log, log->fresh, &log->fresh_from);
	walk->copying = walk->only_marks = true;
}

static enum error copy_frame(struct walk *walk, const uint8_t *frame, const struct frame_head *head, struct log_place *place)
{
	struct log *log = walk->log;
	struct log_chunk *chunk = log_chunk_for(log, head->length, false);
	struct frame_head copy = *head;

	if (!chunk)
		return ERR_NOMEM;
	memcpy(chunk->bytes + chunk->used, frame, head->length);
	if (chunk == log->spare)
		log->spare = NULL;
	log_chunk_append(log, chunk, log->fresh, &copy, place);
	return ERR_OK;
}

/* Frames that say nothing, for [appended, to): the LSNs behind a hole stay what they are. */
static enum error copy_void(struct walk *walk, uint64_t to)
{
	struct log *log = walk->log;

	while (log->appended.lsn < to) {
		uint64_t left = to - log->appended.lsn, size = left >= 2 * VOID_PIECE ? VOID_PIECE : left;
		struct log_chunk *chunk = log_chunk_for(log, size, false);
		struct frame_head head = {.length = (uint32_t)size, .entries_length = ENTRY_HEAD, .entry_count = 1};
		struct entry entry = {.type = ENTRY_VOID};
		struct log_place place;
		uint8_t *frame;

		if (!chunk)
			return ERR_NOMEM;
		frame = chunk->bytes + chunk->used;
		head.records_length = head.length - FRAME_MIN;
		head.ts = log->ops->wall_ms(log->ops->world);
		memset(frame, 0, size);
		entry_encode(&entry, frame + FRAME_HEAD);
		if (chunk == log->spare)
			log->spare = NULL;
		log_chunk_append(log, chunk, log->fresh, &head, &place);
	}
	walk->only_marks = false;
	return ERR_OK;
}

/* ---- holes ---- */

/* Bytes to keep aside: what the files hold of [from, to), but for zeros at the end, which recovery's last step leaves out. */
static enum error set_aside(struct walk *walk, uint64_t from, uint64_t to)
{
	struct log_recovery *recovery = &walk->log->recovery;

	for (size_t i = 0; i < walk->log->file_count; i++) {
		const struct log_file *file = file_of(walk, i);
		uint64_t begin = from > file->header.first_lsn ? from : file->header.first_lsn;
		uint64_t end = to && to < file->end ? to : file->end, offset = log_file_offset(file, begin), length;

		if (begin >= end || offset >= file->size)
			continue;
		length = end == UINT64_MAX || log_file_offset(file, end) > file->size ? file->size - offset : end - begin;
		if (recovery->quarantine_count == recovery->quarantine_room) {
			size_t room = recovery->quarantine_room ? recovery->quarantine_room * 2 : 8;
			struct log_range *grown = realloc(recovery->quarantine, room * sizeof *grown);

			if (!grown)
				return ERR_NOMEM;
			recovery->quarantine = grown;
			recovery->quarantine_room = room;
		}
		recovery->quarantine[recovery->quarantine_count++] = (struct log_range){file->header.id, offset, length};
		walk->recovered->quarantined += length;
	}
	return ERR_OK;
}

/*
 * Is what stands at `offset`, with nothing valid behind it, what a killed process leaves of a write? That is a prefix of a frame and then
 * nothing but zeros. A frame's last byte is never 0, so one that reaches its end was written whole, and is damaged.
 */
static bool looks_torn(const struct walk *walk, const struct log_file *file, uint64_t offset)
{
	const uint8_t *frame = walk->scan.bytes + offset;
	uint64_t prefix = walk->scan.length - offset;
	struct frame_head head;

	while (prefix > 0 && frame[prefix - 1] == 0)
		prefix--;
	if (prefix >= 4 && get_u32(frame) != FRAME_MAGIC)
		return false;
	if (prefix >= 24 && get_u64(frame + 16) != file->header.first_lsn + offset - FILE_HEADER_SIZE)
		return false;
	if (prefix < FRAME_HEAD) /* the head itself is cut off */
		return prefix < 12 || prefix < get_u32(frame + 8);
	return frame_head_decode(&head, frame, FRAME_LENGTH_MAX) == ERR_OK && prefix < head.length;
}

/* No frame at `offset` of the scanned file, where one should be; `next`: where the next one is, or the end of the file's part. */
static enum error hole_begins(struct walk *walk, const struct log_file *file, uint64_t offset, uint64_t next)
{
	const uint8_t *bytes = walk->scan.bytes + offset, *table;

	walk->io_error = walk->io_error || (walk->scan.bad.from < next && walk->scan.bad.to > offset);
	if (walk->hole)
		return ERR_OK;
	walk->hole = true;
	walk->hole_from = walk->at.lsn;
	walk->torn = file == log_current(walk->log) && offset < walk->scan.length && looks_torn(walk, file, offset);
	walk->entries_length = 0;
	if (next > offset && frame_table_copy(bytes, next - offset, file->header.id, offset, &table, &walk->entries_length)) {
		walk->entries = malloc(walk->entries_length);
		if (!walk->entries)
			return ERR_NOMEM;
		memcpy(walk->entries, table, walk->entries_length);
	}
	return ERR_OK;
}

/* The hole ends before the frame with this head, or (NULL) nothing follows it. */
static enum error hole_ends(struct walk *walk, const struct frame_head *next)
{
	struct log_damage damage = {
		.from = walk->hole_from,
		.to = next ? next->lsn : 0,
		.proven = walk->hole_from < walk->frontier,
		.io_error = walk->io_error,
		.entries = walk->entries,
		.entries_length = walk->entries ? walk->entries_length : 0,
		.next_prev_topic = next ? next->prev_topic : 0,
		.next_prev_last_seq = next ? next->prev_last_seq : 0,
	};
	enum error error = ERR_OK;

	if (damage.proven && damage.next_prev_topic) { /* the log goes on behind it, else where it begins */
		walk->at.topic = damage.next_prev_topic;
		walk->at.last_seq = damage.next_prev_last_seq;
	}
	damage.kind = DAMAGE_TORN;
	if (damage.proven || damage.io_error || (walk->recovered->same_boot && (next || !walk->torn)))
		damage.kind = DAMAGE_CORRUPT;
	if (damage.kind == DAMAGE_CORRUPT)
		error = set_aside(walk, damage.from, damage.to);
	if (!error && walk->visitor->damage)
		error = walk->visitor->damage(walk->visitor->context, &damage);
	free(walk->entries);
	walk->entries = NULL;
	walk->hole = walk->io_error = false;
	return error;
}

/* ---- frames ---- */

static bool is_mark(const uint8_t *frame, const struct frame_head *head, bool *clean)
{
	if (head->entry_count != 1 || get_u16(frame + FRAME_HEAD) != ENTRY_SYNC_MARK)
		return false;
	*clean = get_u16(frame + FRAME_HEAD + 2) & ENTRY_CLEAN_STOP;
	return true;
}

static enum error tail_frame(struct walk *walk, const uint8_t *frame, struct log_frame *visited, uint64_t hole_from)
{
	const struct frame_head *head = visited->head;
	enum error error = ERR_OK;

	if (!walk->copying)
		begin_copying(walk, hole_from >= walk->frontier ? hole_from : head->lsn);
	if (walk->log->appended.lsn < head->lsn)
		error = copy_void(walk, head->lsn);
	/* The frame is told to lie there already. */
	log_file_born(walk->log, walk->log->fresh);
	if (!error)
		error = copy_frame(walk, frame, head, &visited->place);
	return error;
}

static enum error take_frame(struct walk *walk, const struct log_file *file, const struct scan_item *item)
{
	const uint8_t *frame = walk->scan.bytes + item->offset;
	uint64_t hole_from = UINT64_MAX;
	struct frame_head head;
	struct log_frame visited = {.bytes = frame, .head = &head, .whole = item->whole};
	bool mark, clean = false;
	enum error error = ERR_OK;

	frame_head_decode(&head, frame, item->length);
	visited.place = (struct log_place){file->header.id, item->offset, head.lsn, head.length};
	visited.proven = head.lsn + head.length <= walk->frontier;
	visited.before_checkpoint = head.lsn < walk->checkpoint_lsn;
	if (walk->hole) {
		hole_from = walk->hole_from;
		error = hole_ends(walk, &head);
	}
	if (!error && !visited.proven && walk->log->options.kind == 'w')
		error = tail_frame(walk, frame, &visited, hole_from == UINT64_MAX ? head.lsn : hole_from);
	if (error)
		return error;
	mark = is_mark(frame, &head, &clean);
	walk->only_marks = walk->only_marks && mark;
	walk->last_clean = clean;
	note_last_batch(&walk->at, frame, &head);
	walk->at.lsn = head.lsn + head.length;
	walk->at.crc = head.crc;
	return walk->visitor->frame(walk->visitor->context, &visited);
}

/* The file's header says what stood before it, as its first frame would. */
static enum error hole_ends_at_header(struct walk *walk, const struct file_header *header)
{
	const struct frame_head first = {.lsn = header->first_lsn, .prev_topic = header->prev_topic, .prev_last_seq = header->prev_last_seq};
	enum error error = hole_ends(walk, &first);

	walk->at = (struct log_point){header->first_lsn, header->chain, header->prev_topic, header->prev_last_seq};
	return error;
}

/* A sealed file is taken as its footer says. ERR_CORRUPT: it has to be read frame by frame after all. */
static enum error walk_sealed(struct walk *walk, size_t index)
{
	struct log_file *file = file_of(walk, index);
	const struct file_header *header = &file->header, *next = &file_of(walk, index + 1)->header;
	struct log_sealed_file sealed = {header->id, header->first_lsn, file->end, walk->checkpoint_lsn, NULL, &walk->source.source};
	struct footer footer;
	enum error error = log_footer_open(walk->log, file, &walk->source, &footer);

	if (!error && walk->hole)
		error = hole_ends_at_header(walk, header);
	sealed.footer = &footer;
	if (!error)
		error = walk->visitor->sealed(walk->visitor->context, &sealed);
	log_footer_close(&walk->source);
	if (error)
		return error;
	walk->at = (struct log_point){file->end, next->chain, next->prev_topic, next->prev_last_seq};
	walk->last_clean = false;
	walk->recovered->sealed++;
	walk->done += file->size;
	if (walk->visitor->progress)
		walk->visitor->progress(walk->visitor->context, walk->done, walk->total);
	return ERR_OK;
}

static enum error walk_frames(struct walk *walk, size_t index)
{
	struct log_file *file = file_of(walk, index);
	enum error error = scan(walk, index);

	/* The frontier is past its beginning, so it was begun behind what is missing. It may hold no frame yet: then nothing else would say this. */
	if (!error && walk->hole && !file->salvaged && walk->hole_from < file->header.first_lsn && file->header.first_lsn <= walk->frontier)
		error = hole_ends_at_header(walk, &file->header);
	for (size_t i = 0; i < walk->scan.count && !error; i++) {
		const struct scan_item *item = &walk->scan.items[i];
		uint64_t end = item->offset + item->length, lsn = file->header.first_lsn + item->offset - FILE_HEADER_SIZE;
		uint64_t next = i + 1 < walk->scan.count ? walk->scan.items[i + 1].offset : walk->scan.length;

		/* Behind the frontier a frame counts only when it is whole. */
		if (item->length == 0 || (!item->whole && lsn + item->length > walk->frontier))
			error = hole_begins(walk, file, item->offset, next);
		else
			error = take_frame(walk, file, item);
		if (walk->visitor->progress && i % PROGRESS_EVERY == 0)
			walk->visitor->progress(walk->visitor->context, walk->done + end, walk->total);
	}
	walk->done += file->size;
	return error;
}

static enum error walk_file(struct walk *walk, size_t index)
{
	struct log_file *file = file_of(walk, index);

	if (file->seal == SEAL_DONE && walk->visitor->sealed) {
		enum error error = walk_sealed(walk, index);

		if (error != ERR_CORRUPT)
			return error;
		file->seal = SEAL_NONE;
	}
	return walk_frames(walk, index);
}

static enum error walk_files(struct walk *walk)
{
	struct log *log = walk->log;
	enum error error = ERR_OK;

	walk->at.lsn = LSN_FIRST;
	for (size_t i = 0; i < log->file_count; i++)
		walk->total += file_of(walk, i)->size;
	if (log->file_count > 0) {
		const struct file_header *first = &file_of(walk, 0)->header;

		/* What stood before the oldest file is missing. */
		walk->hole = first->first_lsn > LSN_FIRST && log->options.kind == 'w';
		walk->hole_from = LSN_FIRST;
		if (log->options.kind == 'e')
			walk->at = (struct log_point){first->first_lsn, first->chain, first->prev_topic, first->prev_last_seq};
	}
	for (size_t i = 0; i < log->file_count && !error; i++) {
		log_file_born(log, file_of(walk, i));
		error = walk_file(walk, i);
	}
	return error;
}

/* The log ends here; what is recorded as synced and cannot be found is a hole, whose LSNs are not given again. */
static enum error end_of_log(struct walk *walk)
{
	struct log *log = walk->log;
	enum error error = ERR_OK;

	if (walk->at.lsn < walk->frontier && !walk->hole) {
		walk->hole = true;
		walk->hole_from = walk->at.lsn;
	}
	if (walk->hole) {
		walk->last_clean = false;
		error = hole_ends(walk, NULL);
	}
	if (walk->at.lsn < walk->frontier)
		walk->at.lsn = walk->frontier;
	if (walk->copying && walk->only_marks) {
		/* A mark says that nothing was written since: there is nothing to prove, and nothing to copy. */
		log_chunks_cut(log, log->fresh_from.lsn);
		walk->at = log->fresh_from;
		walk->copying = false;
	}
	if (!walk->copying) {
		log->appended = log->written = log->syncing = log->synced = log->fresh_from = walk->at;
		if (log->fresh)
			log_file_follow(log, log->fresh, &log->fresh_from);
	} else {
		log->appended.topic = walk->at.topic;
		log->appended.last_seq = walk->at.last_seq;
		walk->last_clean = false;
	}
	if (log->file_count > 0)
		log_current(log)->end = walk->at.lsn;
	return error;
}

enum error log_recover(struct log *log, const struct log_visitor *visitor, struct log_recovered *recovered)
{
	struct walk walk = {.log = log, .visitor = visitor, .recovered = recovered, .scanned = SIZE_MAX, .source.handle = NO_FILE};
	struct log_order order;
	enum error error;

	*recovered = (struct log_recovered){0};
	log->recovering = true;
	error = log_order(log, &order);
	if (!error) {
		recovered->files = log->file_count;
		recovered->empty = log->file_count == 0 && order.checkpoint_count == 0 && !log->recovery.unexplained;
		recovered->same_boot = log->options.kind == 'e' || memcmp(&order.newest.boot, &log->boot, sizeof log->boot) == 0;
		error = find_frontier(&walk);
		log->settling = true;
		log->settling_frontier = walk.frontier;
	}
	if (!error && log->options.kind == 'w')
		error = log_finish_choose(log, walk.frontier);
	if (!error)
		error = checkpoint_load(log, visitor, &order, &walk.checkpoint_lsn);
	log->checkpoint_lsn = walk.checkpoint_lsn;
	if (!error)
		error = walk_files(&walk);
	if (!error)
		error = end_of_log(&walk);
	recovered->frontier = walk.frontier;
	recovered->clean = !error && walk.last_clean;
	log->e_answered = log->written.lsn; /* once it is settled; until then settling_frontier stands before it */
	free(walk.entries);
	free(order.checkpoints);
	log_scan_free(&walk.scan);
	free(walk.source.window);
	return error;
}
