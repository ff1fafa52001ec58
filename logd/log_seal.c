/*
 * Which files are sealed, and when (logd/seal.c does it, beside the engine).
 *
 *   closed ──log_seal_start──▶ SEALING ──log_sealed──▶ SEALED ──*file sealed* entry appended──▶ (noted)
 *      ▲                          │ no space, no memory, not to be opened: later again
 *      └──────────────────────────┤
 *                                 └ a frame does not check, or reading, writing or syncing failed: REFUSED. It is read whole at every start, as any unsealed file
 *
 * At most options.unsealed_max files are not sealed, so that a start has at most these to read: the roll that would make one more waits.
 */
#include "logd/log_internal.h"

/* Of one file. Files of small frames have more to note than it saves to read them again, and the notes of options.unsealed_max files and the current one are memory. */
enum { NOTES_BYTES_MAX = 4 << 20 };

void log_seal_note(struct log_file *file, const uint8_t *frame, const struct frame_head *head)
{
	if (!file->notes)
		return;
	/* A frame in the place of one that was taken back would be noted twice. */
	if (head->lsn != file->notes->end || file->notes->bytes > NOTES_BYTES_MAX || footer_notes_add(file->notes, frame, head) != ERR_OK)
		footer_notes_destroy(&file->notes);
}

/* After so many failures of a kind that may pass (no descriptor, no memory) nobody waits for the file any more; it is still tried again. */
enum { SEAL_FAILURES_MAX = 3 };

/*
 * Frames that the last start has not answered yet must be found by the next one as frames: such files are not sealed, however long their workers take, and nobody
 * waits for that.
 */
static bool held_by_settling(const struct log *log, const struct log_file *file)
{
	return log->settling && file->end > log->settling_frontier && file->end <= log->synced.lsn;
}

unsigned log_unsealed(const struct log *log)
{
	unsigned count = 0;

	for (size_t i = 0; i < log->file_count; i++) {
		const struct log_file *file = log->files[i];

		count += file->seal != SEAL_DONE && file->seal != SEAL_REFUSED && file->seal_failures < SEAL_FAILURES_MAX && !held_by_settling(log, file);
	}
	return count;
}

enum error log_seal_room(struct log *log)
{
	log->seal_wanted = log->options.unsealed_max && log_unsealed(log) >= log->options.unsealed_max;
	if (!log->seal_wanted)
		return ERR_OK;
	if (!log->seal_full)
		return ERR_AGAIN;
	log->state = LOG_FULL;
	return ERR_STORAGE_FULL;
}

bool log_seal_wanted(const struct log *log)
{
	return log->seal_wanted;
}

/*
 * Its end is certain: the header of the file that takes over there is on the disk, by a sync past it or because it was made whole. And all that lies in it has been
 * recorded as synced, so nobody will ask for its frames as unproven ones.
 */
static bool sealable(const struct log *log, size_t index, uint64_t published)
{
	const struct log_file *file = log->files[index], *next = log->files[index + 1];

	if (file->seal != SEAL_NONE || file->salvaged || next->salvaged || file->dirty || !next->header_written)
		return false;
	if (file->end > published || file->end > log_recorded_frontier(log))
		return false;
	return log->synced.lsn > file->end || next->header.flags & FILE_MADE_WHOLE;
}

/* The oldest first, but after all others those with which it does not work. */
static struct log_file *choose(const struct log *log, uint64_t published)
{
	struct log_file *last = NULL;

	for (size_t i = 0; i + 1 < log->file_count; i++) {
		if (!sealable(log, i, published))
			continue;
		if (log->files[i]->seal_failures < SEAL_FAILURES_MAX)
			return log->files[i];
		last = last ? last : log->files[i];
	}
	return last;
}

bool log_seal_start(struct log *log, uint64_t published)
{
	struct seal_job job = {.frontier = log_recorded_frontier(log)};
	struct log_file *file;

	if (log->options.kind != 'w' || log->sealing || log->seal_waits || log->recovering || log->state == LOG_READ_ONLY)
		return false;
	file = choose(log, published);
	if (!file)
		return false;
	job.id = file->header.id;
	job.first_lsn = file->header.first_lsn;
	job.end_lsn = file->end;
	job.chain = file->header.chain;
	if (file->notes && file->notes->end != file->end)
		footer_notes_destroy(&file->notes);
	job.notes = file->notes;
	if (log->ops->seal_start(log->ops->world, &job)) {
		file->seal_failures++;
		log->seal_waits = true;
		return false;
	}
	file->notes = NULL;
	file->seal = SEAL_RUNNING;
	log->sealing = true;
	return true;
}

bool log_sealing(const struct log *log)
{
	return log->sealing;
}

void log_sealed(struct log *log, const struct seal_job *job)
{
	struct log_file *file = log_file_find(log, job->id);

	log->sealing = false;
	log->seal_full = job->result == ERR_STORAGE_FULL;
	if (!file)
		return;
	switch (job->result) {
	case ERR_OK:
		file->seal = SEAL_DONE;
		file->size = job->footer_offset + job->footer_length;
		file->footer = (struct log_footer){job->footer_offset, job->footer_length, job->footer_crc};
		file->unnoted = true;
		if (log->state == LOG_FULL && log->leave == LEAVE_NONE)
			log->state = LOG_OPEN; /* if something else is missing, the next frame finds that */
		break;
	case ERR_NOMEM:
	case ERR_AGAIN:
		file->seal_failures++;
		/* fall through */
	case ERR_STORAGE_FULL:
		file->seal = SEAL_NONE;
		log->seal_waits = true;
		break;
	default:
		/* Its frames were synced before, and nobody touches them (I-4). */
		file->seal = SEAL_REFUSED;
		break;
	}
}

bool log_sealed_entry(const struct log *log, struct entry *entry)
{
	for (size_t i = 0; i < log->file_count; i++) {
		const struct log_file *file = log->files[i];

		if (!file->unnoted)
			continue;
		*entry = (struct entry){.type = ENTRY_FILE_SEALED};
		entry->file.id = file->header.id;
		entry->file.end_lsn = file->end;
		entry->file.footer_offset = file->footer.offset;
		entry->file.footer_length = file->footer.length;
		entry->file.footer_crc = file->footer.crc;
		return true;
	}
	return false;
}

void log_sealed_noted(struct log *log, uint64_t file_id)
{
	struct log_file *file = log_file_find(log, file_id);

	if (file)
		file->unnoted = false;
}
