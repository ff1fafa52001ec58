/*
 * What a sealed file says at a start, taken from its footer: it comes to the same as its frames would, without reading one of them. Control entries first, in the
 * order of the log, then what the file holds topic by topic; whether a batch came after a control entry of its topic, their LSNs tell.
 */
#include <stdlib.h>
#include <string.h>

#include "logd/engine_internal.h"

struct replay {
	struct recovery *r;
	const struct log_sealed_file *file;
	uint64_t *deleted;             /* topics whose end stands in this file; sorted */
	size_t deleted_count, deleted_room;
	enum reason reason;            /* of what is missing before what stands here of the topic in hand */
};

static int by_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static enum error note_deleted(struct replay *p, uint64_t topic)
{
	if (p->deleted_count == p->deleted_room) {
		size_t room = p->deleted_room ? p->deleted_room * 2 : 64;
		uint64_t *more = realloc(p->deleted, room * sizeof *more);
		if (more == NULL)
			return ERR_NOMEM;
		p->deleted = more;
		p->deleted_room = room;
	}
	p->deleted[p->deleted_count++] = topic;
	return ERR_OK;
}

static enum error replay_controls(struct replay *p)
{
	struct footer_control control;
	uint64_t at = 0;
	enum error error;
	while ((error = footer_control_next(p->file->footer, p->file->source, &at, &control)) == ERR_OK) {
		const struct frame_head head = { .lsn = control.lsn, .ts = control.ts };
		const struct log_frame frame = { .head = &head, .before_checkpoint = control.lsn < p->file->checkpoint_lsn, .proven = true, .whole = true };
		if (control.entry.type == ENTRY_TOPIC_DELETE)
			error = note_deleted(p, control.entry.topic);
		if (error == ERR_OK)
			error = replay_entry(p->r, &frame, &control.entry, control.offset);
		if (error != ERR_OK)
			return error;
		if (p->r->engine->ts < control.ts)
			p->r->engine->ts = control.ts;
	}
	if (p->deleted_count > 0)
		qsort(p->deleted, p->deleted_count, sizeof *p->deleted, by_id);
	return error == ERR_EOF ? ERR_OK : error;
}

/* ---- extents, where the sums do not say enough ---- */

static enum error found_sealed(struct replay *p, const struct topic *topic, const struct footer_extent *e)
{
	const struct found_extent found = {
		.topic = topic->id,
		.extent = { .first_seq = e->first_seq, .offset = FILE_HEADER_SIZE + e->lsn - p->file->first_lsn, .payload = e->payload, .count = e->count,
		            .length = e->length, .file = file_index(p->r->engine, p->file->file_id), .entry = e->entry },
		.count = e->count,
		.ephemeral = e->durability == DURABILITY_EPHEMERAL,
		.on_disk = true,
		.sealed = true,
		.proven = true,
	};
	return note_found(p->r, &found);
}

/* As replay_batch does. */
static enum error one_extent(struct replay *p, struct topic *topic, const struct footer_extent *e)
{
	uint64_t last = e->first_seq + e->count - 1;
	if (topic->was_ephemeral)
		return found_sealed(p, topic, e);
	if (e->first_seq <= topic->seen)
		return ERR_OK;
	enum error error = e->first_seq > 1 ? note_gap(p->r, topic, e->first_seq - 1, true, p->reason) : ERR_OK;
	topic->seen = last;
	if (last > topic->numbers.floor)
		count_records(topic, e->first_seq, e->live, e->payload, true);
	return error;
}

static enum error each_extent(struct replay *p, struct topic *topic, const struct footer_topic *row, bool before)
{
	for (uint32_t i = 0; i < row->extents; i++) {
		struct footer_extent extent;
		enum error error = footer_extent_at(p->file->footer, p->file->source, (uint64_t)row->extent + i, &extent);
		if (error == ERR_OK)
			error = one_extent(p, topic, &extent);
		if (error != ERR_OK)
			return error;
		/* The last one is the youngest. */
		if (i + 1 == row->extents && !before && row->last_lsn >= topic->ephemeral_lsn)
			topic->tail_ephemeral = extent.durability == DURABILITY_EPHEMERAL;
	}
	return ERR_OK;
}

/* ---- topics ---- */

static enum error add_segment(struct replay *p, const struct topic *topic, const struct footer_topic *row)
{
	const struct segment segment = {
		.first_seq = row->first_seq,
		.last_seq = row->last_seq,
		.extents_offset = p->file->footer->sections[FOOTER_EXTENTS].offset + (uint64_t)row->extent * FOOTER_EXTENT,
		.live = row->live,
		.payload = row->payload,
		.extents = row->extents,
		.file = file_index(p->r->engine, p->file->file_id),
	};
	if (row->last_seq <= topic->numbers.floor)
		return ERR_OK;
	enum error error = catalogue_segment_add(p->r->engine->options.catalogue, topic->slot, &segment);
	return error == ERR_RANGE ? ERR_OK : error; /* a younger file holds these seqs too, and stands */
}

/* Nobody made this topic, as far as the log says: deleted since, or its beginning was lost. */
static enum error unknown_topic(struct replay *p, const struct footer_topic *row)
{
	bool gone = p->deleted_count > 0 && bsearch(&row->topic, p->deleted, p->deleted_count, sizeof *p->deleted, by_id) != NULL;
	return gone || row->last_lsn < p->file->checkpoint_lsn || p->r->holes ? ERR_OK : note_orphan(p->r, row->topic);
}

static enum error replay_topic(struct replay *p, const struct footer_topic *row)
{
	struct topic *topic = topic_table_by_id(p->r->engine->topics, row->topic);
	if (topic == NULL)
		return unknown_topic(p, row);
	bool before = before_state(p->r, row->last_lsn, row->last_lsn < p->file->checkpoint_lsn, topic);
	bool dense = row->live == row->last_seq - row->first_seq + 1 && row->first_seq > topic->seen && row->first_seq > topic->numbers.floor;
	p->reason = damage_reason(p->r, topic);
	topic->damage = p->r->damages;
	if (!before && row->last_lsn >= topic->ceiling_lsn)
		topic->closed = false;
	if (topic->proven < row->last_seq)
		topic->proven = row->last_seq;
	if (topic->head < row->last_seq)
		topic->head = row->last_seq;
	if (topic->numbers.last_write_ts < row->last_ts)
		topic->numbers.last_write_ts = row->last_ts;
	if (p->r->engine->ts < row->last_ts)
		p->r->engine->ts = row->last_ts;
	enum error error = ERR_OK;
	if (topic->was_ephemeral || !dense) {
		error = each_extent(p, topic, row, before);
	} else {
		error = row->first_seq > 1 ? note_gap(p->r, topic, row->first_seq - 1, true, p->reason) : ERR_OK;
		topic->seen = row->last_seq;
		count_records(topic, row->first_seq, row->live, row->payload, true);
	}
	/* Only the extents of a file that lies before the checkpoint were not checked as a whole; what is broken there its readers will find. */
	if (error == ERR_CORRUPT) {
		topic->seen = row->last_seq;
		error = ERR_OK;
	}
	return error != ERR_OK ? error : add_segment(p, topic, row);
}

/* Whose windows they are in is known when all topics are: the filter is filled then. */
static enum error note_keys(struct replay *p, int64_t newest_ts)
{
	struct recovery *r = p->r;
	const struct key_file file = { .id = p->file->file_id, .first_lsn = p->file->first_lsn, .keys = footer_count(p->file->footer, FOOTER_KEYS),
	                               .newest_ts = newest_ts };
	if (file.keys == 0)
		return ERR_OK;
	if (r->key_file_count == r->key_file_room) {
		size_t room = r->key_file_room ? r->key_file_room * 2 : 64;
		struct key_file *more = realloc(r->key_files, room * sizeof *more);
		if (more == NULL)
			return ERR_NOMEM;
		r->key_files = more;
		r->key_file_room = room;
	}
	r->key_files[r->key_file_count++] = file;
	return ERR_OK;
}

static enum error replay_topics(struct replay *p)
{
	uint64_t count = footer_count(p->file->footer, FOOTER_TOPICS);
	int64_t newest_ts = INT64_MIN;
	for (uint64_t i = 0; i < count; i++) {
		struct footer_topic row;
		enum error error = footer_topic_at(p->file->footer, p->file->source, i, &row);
		if (error == ERR_OK)
			error = replay_topic(p, &row);
		if (error != ERR_OK)
			return error;
		if (row.last_ts > newest_ts)
			newest_ts = row.last_ts;
	}
	return note_keys(p, newest_ts);
}

/* Sections are checked before anything is taken from them, so that a footer that does not check has had no effect. */
static enum error check(const struct log_sealed_file *file)
{
	static const enum footer_section_type used[] = { FOOTER_TOPICS, FOOTER_KEYS, FOOTER_CONTROLS, FOOTER_EXTENTS };
	bool before = file->end_lsn <= file->checkpoint_lsn;
	enum error error = ERR_OK;
	for (size_t i = 0; i < (before ? 2 : sizeof used / sizeof *used) && error == ERR_OK; i++)
		error = footer_check_section(file->footer, file->source, used[i]);
	return error;
}

enum error replay_sealed(void *context, const struct log_sealed_file *file)
{
	struct replay p = { .r = context, .file = file };
	enum error error = p.r->engine->files_untold ? ERR_NOMEM : check(file);
	if (error != ERR_OK)
		return error;
	if (file->end_lsn > file->checkpoint_lsn)
		error = replay_controls(&p);
	if (error == ERR_OK)
		error = replay_topics(&p);
	free(p.deleted);
	return error == ERR_CORRUPT ? ERR_IO : error; /* it was another footer a moment ago */
}
