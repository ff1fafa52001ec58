/* A sync of all that is written, beside the log's work. */
#include "logd/log_internal.h"

/* Closes what is left and synced: log_read opens it again for the rare look-up. */
static void close_synced(struct log *log)
{
	for (size_t i = 0; i + 1 < log->file_count; i++) {
		struct log_file *file = log->files[i];

		if (file->dirty && file->end <= log->synced.lsn) {
			file->dirty = false;
			log_file_close(log, file);
		}
	}
}

/* The files that hold [synced, written), oldest first; *covered: up to where, should there be more than a job can name. */
static void job_files(const struct log *log, struct sync_job *job, uint64_t *covered)
{
	*covered = log->written.lsn;
	for (size_t i = 0; i < log->file_count; i++) {
		const struct log_file *file = log->files[i];

		if (!file->dirty || !file->header_written || file->header.first_lsn >= log->written.lsn)
			continue;
		if (job->count == SYNC_FILES_MAX) {
			*covered = file->header.first_lsn;
			return;
		}
		job->files[job->count++] = file->handle;
	}
}

/* `point` of a file's first LSN: its header says what stands before it. */
static struct log_point point_before(const struct log *log, uint64_t lsn)
{
	for (size_t i = 0; i < log->file_count; i++) {
		const struct file_header *header = &log->files[i]->header;

		if (header->first_lsn == lsn)
			return (struct log_point){lsn, header->chain, header->prev_topic, header->prev_last_seq};
	}
	return log->written;
}

bool log_sync_written(struct log *log)
{
	struct sync_job job = {0};
	uint64_t covered;

	job_files(log, &job, &covered);
	log->syncing = covered == log->written.lsn ? log->written : point_before(log, covered);
	job.lsn = log->syncing.lsn;
	log->sync_running = log->ops->sync_start(log->ops->world, &job) == 0;
	return log->sync_running;
}

bool log_sync_start(struct log *log)
{
	if (log->options.kind != 'w' || log->sync_running || log->recovering || log->leave != LEAVE_NONE || log->state == LOG_READ_ONLY ||
	    log->written.lsn == log->synced.lsn)
		return false;
	if (log_sync_written(log))
		return true;
	log_leave_begin(log, true);
	return log_syncing(log);
}

void log_sync_covered(struct log *log, const struct sync_job *job)
{
	if (job->error)
		return;
	log->synced = log->syncing;
	log->reserved = NULL; /* the memory under a reservation may go */
	log_chunks_release(log, log->synced.lsn);
	close_synced(log);
}

void log_sync_done(struct log *log, const struct sync_job *job)
{
	if (!log->sync_running)
		return;
	log->sync_running = false;
	if (log->leave != LEAVE_NONE && log->leave != LEAVE_SYNC_RUNNING) {
		log_leave_synced(log, job->error);
		return;
	}
	log_sync_covered(log, job);
	if (job->error || log->leave == LEAVE_SYNC_RUNNING)
		log_leave_begin(log, job->error != 0);
}

/* ---- the clean stop: synchronous ---- */

enum error log_sync_all(struct log *log)
{
	if (log_syncing(log) || log->recovering)
		return ERR_BUSY; /* its failure would be told to one of two callers only */
	if (log->state == LOG_READ_ONLY)
		return ERR_READ_ONLY;
	if (log->appended.lsn != log->written.lsn) {
		enum error error = log_write(log);

		if (error)
			return error;
	}
	for (size_t i = 0; i < log->file_count && log->options.kind == 'w'; i++) {
		struct log_file *file = log->files[i];
		enum error error = file->dirty && file->header_written ? log_file_sync(log->ops, file->handle) : ERR_OK;

		if (error) {
			log->state = LOG_READ_ONLY; /* the next start leaves this file */
			return error;
		}
	}
	log->synced = log->syncing = log->written;
	log->reserved = NULL;
	log_chunks_release(log, log->synced.lsn);
	close_synced(log);
	return ERR_OK;
}

enum error log_close_clean(struct log *log)
{
	struct entry mark = {.type = ENTRY_SYNC_MARK, .flags = ENTRY_CLEAN_STOP};
	struct frame_head head = {.entries_length = entry_size(&mark), .entry_count = 1};
	struct log_place place;
	uint8_t *frame;
	enum error error = log_sync_all(log);

	if (error || log->options.kind == 'e')
		return error;
	error = log_reserve(log, frame_size(head.entries_length, 0, 0), true, &frame);
	if (error)
		return error;
	head.ts = log->ops->wall_ms(log->ops->world);
	mark.sync_mark.lsn = log->synced.lsn;
	entry_encode(&mark, frame + FRAME_HEAD);
	error = log_append(log, &head, 0, 0, &place);
	return error ? error : log_sync_all(log);
}
