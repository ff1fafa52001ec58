/* A start: the walk over both logs, what is missing and why, the frames that say so, the catalogue made current (docs/format.md §10; I-5, I-6). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "logd/engine_internal.h"

enum { LOSSES_PER_FRAME = 64, LIST_PAGE = 512 };

/* ---- what is missing ---- */

/* Adds to the topic's losses what of [from, to] is neither below the floor nor in a loss that is known. */
static enum error lose(struct recovery *r, struct topic *topic, uint64_t from, uint64_t to, enum reason reason, uint32_t flags)
{
	uint32_t known = topic->loss_count;
	struct loss *before = NULL;
	if (from <= topic->numbers.floor)
		from = topic->numbers.floor + 1;
	if (from > to)
		return ERR_OK;
	if (known > 0) {
		before = malloc(known * sizeof *before);
		if (before == NULL)
			return ERR_NOMEM;
		memcpy(before, topic->losses, known * sizeof *before);
	}
	enum error error = ERR_OK;
	for (uint32_t i = 0; i <= known && from <= to && error == ERR_OK; i++) {
		uint64_t end = i < known && before[i].from <= to ? before[i].from - 1 : to;
		if (end >= from && end != UINT64_MAX) {
			const struct loss loss = { from, end, reason, flags | LOSS_FRESH };
			error = topic_add_loss(topic, &loss);
			r->losses++;
		}
		if (i < known && before[i].to >= from)
			from = before[i].to + 1;
	}
	free(before);
	if (topic->head < to)
		topic->head = to;
	return error;
}

static enum error resolve_gaps(struct recovery *r)
{
	for (size_t i = 0; i < r->gap_count; i++) {
		const struct gap *gap = &r->gaps[i];
		bool unproven = !gap->proven && !r->disk.same_boot;
		bool possible = unproven && gap->topic->config.durability == DURABILITY_FSYNC;
		enum reason reason = unproven && gap->reason == REASON_CORRUPT ? REASON_CRASH : gap->reason;
		enum error error = gap->topic->was_ephemeral ? ERR_OK : lose(r, gap->topic, gap->from, gap->to, reason, possible ? ENTRY_POSSIBLE : 0);
		if (error != ERR_OK)
			return error;
	}
	return ERR_OK;
}

static int by_topic_and_seq(const void *a, const void *b)
{
	const struct found_extent *x = a, *y = b;
	if (x->topic != y->topic)
		return x->topic < y->topic ? -1 : 1;
	return x->extent.first_seq < y->extent.first_seq ? -1 : x->extent.first_seq > y->extent.first_seq;
}

/* Topics that were ephemeral at some time: what lies in two logs is put in order here. At the daemon's start the ephemeral log is gone. */
static enum error merge_found(struct recovery *r)
{
	struct engine *engine = r->engine;
	bool restart = engine->options.daemon_start;
	if (r->found_count > 0)
		qsort(r->found, r->found_count, sizeof *r->found, by_topic_and_seq);
	for (size_t i = 0; i < r->found_count; i++) {
		const struct extent *extent = &r->found[i].extent;
		struct topic *topic = topic_table_by_id(engine->topics, r->found[i].topic);
		uint64_t count = r->found[i].count, last = extent->first_seq + count - 1;
		/* What was acked at another class before the topic became ephemeral stays; what was ephemeral goes, also from the disk log. */
		if (topic == NULL || extent->first_seq <= topic->seen || (restart && r->found[i].ephemeral))
			continue;
		if (topic_seq_lost(topic, extent->first_seq)) {
			topic->seen = last;
			continue;
		}
		enum error error = ERR_OK;
		if (extent->first_seq > topic->seen + 1)
			error = lose(r, topic, topic->seen + 1, extent->first_seq - 1, restart ? REASON_RESTART : REASON_IO_ERROR, 0);
		topic->seen = last;
		if (error == ERR_OK && last > topic->numbers.floor) {
			count_records(topic, extent->first_seq, count, extent->payload, r->found[i].proven);
			if (r->found[i].ephemeral && r->found[i].on_disk) {
				if (!topic_provide_strays(topic, 1))
					return ERR_NOMEM;
				topic_add_stray(topic, &(struct stray){ extent->first_seq, last, extent->payload });
			}
			if (!r->found[i].sealed)
				error = catalogue_extent_add(engine->options.catalogue, topic->slot, extent);
		}
		if (error != ERR_OK)
			return error;
	}
	return ERR_OK;
}

/* Where a topic goes on, and what that takes from readers. */
static enum error conclude(void *context, struct topic *topic)
{
	struct recovery *r = context;
	bool possible_end = !topic->closed && topic->ceiling > topic->head;
	if (topic->tail_ephemeral && r->engine->options.daemon_start) {
		uint64_t on = r->disk.clean || topic->ceiling < topic->head || topic->closed ? topic->head : topic->ceiling;
		uint64_t from = topic->seen + 1;
		topic->seen = on;
		return lose(r, topic, from, on, REASON_RESTART, 0);
	}
	if (topic->seen < topic->head && !topic->was_ephemeral) {
		/* The checkpoint knows of seqs that no frame holds. */
		enum error error = lose(r, topic, topic->seen + 1, topic->head, damage_reason(r, topic), 0);
		if (error != ERR_OK)
			return error;
	} else if (topic->seen < topic->head) {
		enum error error = lose(r, topic, topic->seen + 1, topic->head, r->engine->options.daemon_start ? REASON_RESTART : REASON_IO_ERROR, 0);
		if (error != ERR_OK)
			return error;
	}
	if (possible_end && r->damages > topic->damage)
		return lose(r, topic, topic->head + 1, topic->ceiling, damage_reason(r, topic), ENTRY_POSSIBLE);
	if (possible_end && !r->disk.same_boot && !r->disk.clean && topic->tail_unsynced)
		return lose(r, topic, topic->head + 1, topic->ceiling, REASON_CRASH, ENTRY_POSSIBLE);
	return ERR_OK;
}

/* What readers have seen in the catalogue of the logd before may not fall behind (ARCHITECTURE §6). */
struct seen {
	const struct catalogue *old;
	int64_t slot;
	struct topic_numbers numbers;
};

static enum error each_seen(struct recovery *r, enum error (*each)(struct recovery *r, struct topic *topic, const struct seen *seen))
{
	struct seen seen = { .old = r->engine->options.old_catalogue };
	uint32_t slots[LIST_PAGE];
	unsigned count = seen.old == NULL ? 0 : LIST_PAGE;
	char name[TOPIC_NAME_MAX + 1] = "";
	size_t length = 0;
	for (bool further = true; count == LIST_PAGE && further;) {
		enum error error = catalogue_list(seen.old, name, length, length > 0, slots, LIST_PAGE, &count);
		further = false; /* a page without a name that holds leads nowhere */
		if (error != ERR_OK)
			return ERR_OK; /* a list that a death left half changed: the log is what counts */
		for (unsigned i = 0; i < count; i++) {
			seen.slot = slots[i];
			if (catalogue_numbers(seen.old, slots[i], &seen.numbers) != ERR_OK)
				continue;
			if (catalogue_name(seen.old, slots[i], seen.numbers.id, name, &length) != ERR_OK)
				continue;
			further = true;
			struct topic *topic = topic_table_by_id(r->engine->topics, seen.numbers.id);
			if (topic != NULL && (error = each(r, topic, &seen)) != ERR_OK)
				return error;
		}
	}
	return ERR_OK;
}

/* What went past the bound of the ephemeral log stands in no frame: the catalogue alone says that it was there, and why it is gone. */
static enum error hold_floor(struct recovery *r, struct topic *topic, const struct seen *seen)
{
	struct loss loss = { 0 };
	(void)r;
	if (topic->numbers.floor < seen->numbers.floor) {
		topic->numbers.floor = seen->numbers.floor;
		topic->numbers.floor_reason = seen->numbers.floor_reason;
	}
	while (catalogue_loss(seen->old, seen->slot, topic->id, loss.to + 1, &loss) == ERR_OK) {
		enum error error = ERR_OK;
		if (loss.reason == REASON_CAP && !topic_seq_lost(topic, loss.from))
			error = topic_add_loss(topic, &loss);
		if (error != ERR_OK)
			return error;
	}
	return ERR_OK;
}

static enum error hold_head(struct recovery *r, struct topic *topic, const struct seen *seen)
{
	return topic->head < seen->numbers.head ? lose(r, topic, topic->head + 1, seen->numbers.head, REASON_IO_ERROR, 0) : ERR_OK;
}

/* ---- saying so ---- */

struct saying {
	struct recovery *r;
	struct entry entries[LOSSES_PER_FRAME];
	unsigned count;
};

static enum error say(struct saying *saying)
{
	struct log_place place;
	struct engine *engine = saying->r->engine;
	enum error error = saying->count == 0 ? ERR_OK : append_entries(engine, engine->disk, true, saying->entries, saying->count, 0, 0, &place);
	saying->count = 0;
	return error;
}

static enum error say_losses(void *context, struct topic *topic)
{
	struct saying *saying = context;
	for (uint32_t i = 0; i < topic->loss_count; i++) {
		struct loss *loss = &topic->losses[i];
		if (!(loss->flags & LOSS_FRESH))
			continue;
		loss->flags &= ~LOSS_FRESH;
		struct entry *entry = &saying->entries[saying->count++];
		*entry = (struct entry){ .type = ENTRY_LOSS, .topic = topic->id };
		entry->loss.from = loss->from;
		entry->loss.to = loss->to;
		entry->loss.reason = loss->reason;
		entry->loss.flags = loss->flags;
		enum error error = saying->count == LOSSES_PER_FRAME ? say(saying) : ERR_OK;
		if (error != ERR_OK)
			return error;
	}
	return ERR_OK;
}

/* ---- the catalogue ---- */

uint64_t topic_first_live(const struct topic *topic)
{
	return topic_skip_losses(topic, topic->numbers.earliest > topic->numbers.floor ? topic->numbers.earliest : topic->numbers.floor + 1);
}

static enum error show(void *context, struct topic *topic)
{
	struct engine *engine = context;
	enum error error = topic->loss_count == 0 ? ERR_OK : catalogue_losses_set(engine->options.catalogue, topic->slot, topic->losses, topic->loss_count);
	if (error != ERR_OK)
		return error;
	if (topic->unproven_config)
		catalogue_topic_config(engine->options.catalogue, topic->slot, &topic->config);
	topic->numbers.head = topic->head;
	topic->numbers.earliest = topic->numbers.count > 0 ? topic_first_live(topic) : topic->head + 1;
	topic->numbers.durable = topic->config.durability == DURABILITY_EPHEMERAL ? 0 : topic->head; /* recovery has synced it */
	topic->count = topic->numbers.count;
	topic->bytes = topic->numbers.bytes;
	topic->ceiling_safe = topic->ceiling;
	topic->reservation = CEILING_FIRST;
	catalogue_topic_numbers(engine->options.catalogue, topic->slot, &topic->numbers);
	if (topic->numbers.count == 0)
		catalogue_extents_drop(engine->options.catalogue, topic->slot, topic->head);
	if (!topic->closed && topic->ceiling != topic->head)
		topic_opened(engine, topic);
	return ERR_OK;
}

static void progress(void *context, uint64_t done, uint64_t total)
{
	struct recovery *r = context;
	uint64_t parts = total == 0 ? 1000000 : done / (total / 1000000 + 1);
	atomic_store_explicit(&r->engine->options.status->progress, (uint32_t)(parts < 1000000 ? parts : 1000000), memory_order_relaxed);
}

void make_current(struct engine *engine, bool whole)
{
	struct status *status = engine->options.status;
	uint64_t number = catalogue_writer_number(engine->options.catalogue);
	atomic_store_explicit(&status->progress, 1000000, memory_order_relaxed);
	atomic_store_explicit(&status->state, whole ? LOGD_READY : LOGD_FULL, memory_order_relaxed);
	/* One store, in the page that all share: from here on no request is served from the old catalogue. Before anybody is answered. */
	atomic_store_explicit(&status->catalogue, number, memory_order_release);
	feed_overrun_all(engine->options.feed);
	engine->options.host.catalogue_current(engine->options.host.context, number, whole);
}

enum error recover_serve(struct engine *engine)
{
	enum error error = log_recover_finish(engine->ephemeral);
	if (error == ERR_OK)
		error = topic_table_each(engine->topics, show, engine);
	if (error != ERR_OK)
		return error;
	engine->synced_seen = log_synced(engine->disk);
	catalogue_set_partial(engine->options.catalogue, false);
	make_current(engine, true);
	return ERR_OK;
}

static enum error walk(struct recovery *r)
{
	struct engine *engine = r->engine;
	const struct log_visitor visitor = { .context = r, .frame = replay_frame, .damage = replay_damage, .sealed = replay_sealed, .progress = progress };
	struct log_recovered ephemeral;
	enum error error = log_recover(engine->disk, &visitor, &r->disk);
	if (error != ERR_OK)
		return error;
	r->ephemeral = true;
	error = log_recover(engine->ephemeral, &visitor, &ephemeral);
	r->ephemeral = false;
	return error;
}

static enum error find_losses(struct recovery *r)
{
	enum error error = each_seen(r, hold_floor);
	if (error == ERR_OK)
		error = resolve_gaps(r);
	if (error == ERR_OK)
		error = merge_found(r);
	if (error == ERR_OK)
		error = topic_table_each(r->engine->topics, conclude, r);
	return error == ERR_OK ? each_seen(r, hold_head) : error;
}

static enum error finish(struct recovery *r)
{
	struct engine *engine = r->engine;
	struct saying saying = { .r = r };
	enum error error = topic_table_each(engine->topics, say_losses, &saying);
	if (error == ERR_OK)
		error = say(&saying);
	if (error == ERR_OK)
		error = settle_prepare(engine);
	if (error == ERR_OK)
		error = log_recover_finish(engine->disk);
	if (error == ERR_STORAGE_FULL)
		return full_start_begin(engine);
	return error != ERR_OK ? error : recover_serve(engine);
}

static void describe(const struct recovery *r, enum error error, char *message, size_t size)
{
	if (error == ERR_NEWER)
		snprintf(message, size, "it was written by a newer version of topics; nothing was touched. Start that version, or another data directory");
	else if (r->orphan_count > 0)
		snprintf(message, size, "records of %zu topics are there whose names nothing can prove; nothing was touched. Restore the directory from a backup, or "
		         "start with another one", r->orphan_count);
	else if (error == ERR_OK && r->engine->full_start)
		snprintf(message, size, "there is no space for %" PRIu64 " bytes that the last run left unproven: what is proven of %" PRIu64 " topics is served, and nothing "
		         "is written until there is", log_unsynced_bytes(r->engine->disk), topic_table_count(r->engine->topics));
	else if (error == ERR_OK)
		snprintf(message, size, "recovered %" PRIu64 " topics from %" PRIu64 " files (%" PRIu64 " sealed) after %s; %" PRIu64 " losses announced, %" PRIu64 " bytes set aside; it took %" PRIu64 " ms",
		         topic_table_count(r->engine->topics), r->disk.files, r->disk.sealed, r->disk.empty ? "nothing" : r->disk.clean ? "a clean stop" :
		         r->disk.same_boot ? "a death of processes" : "an end of the machine", r->losses, r->disk.quarantined,
		         (r->engine->ops->monotonic_us(r->engine->ops->world) - r->engine->now_us) / 1000);
}

enum error engine_recover(struct engine *engine, char *message, size_t message_size)
{
	struct recovery r = { .engine = engine };
	engine->now_us = engine->ops->monotonic_us(engine->ops->world);
	enum error error = walk(&r);
	if (error == ERR_OK && r.orphan_count > 0)
		error = ERR_CORRUPT;
	if (error == ERR_OK)
		error = find_losses(&r);
	if (error == ERR_OK)
		error = lookups_load(engine, r.key_files, r.key_file_count);
	if (error == ERR_OK)
		error = finish(&r);
	describe(&r, error, message, message_size);
	free(r.gaps);
	free(r.found);
	free(r.key_files);
	free(r.orphans);
	engine->recovered = engine->settling = error == ERR_OK;
	return error;
}
