#include "logd/loop.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/busy_poll.h"
#include "common/catalogue.h"
#include "common/completion.h"
#include "common/control.h"
#include "common/counters.h"
#include "common/feed.h"
#include "common/logging.h"
#include "common/ring.h"
#include "common/shm.h"
#include "common/status.h"
#include "common/wake.h"
#include "logd/engine.h"
#include "logd/ops_system.h"
#include "logd/outbox.h"

/* A sync takes longer than a request to come, and a client waits for it as well: its end is looked for during so many windows of the settings. */
enum { BATCH_OF_ROUNDS = 16, LISTEN_US = 2000, SYNC_WINDOWS = 3 };

/* The objects of one worker process; mapped until the engine holds nothing of it any more. */
struct attached {
	uint64_t incarnation; /* 0: free */
	uint32_t slot;
	bool gone;            /* its process is dead */
	void *request;
	size_t request_size;
	void *completion;
	void *counters;
	int wake_fd;          /* wakes it */
	int woken_fd;         /* by which it wakes us */
};

/* A dead worker's ring may be finished while its successor's is there already. */
enum { ATTACHED_MAX = 4 * WORKERS_MAX };

struct logd {
	const struct inherit_logd *inherit;
	struct logging logging;
	struct status *status;
	struct feed_shared *feed;
	struct ops_system *world;
	struct catalogue_writer *catalogue;
	struct catalogue *old_catalogue;
	struct engine *engine;
	struct outbox *outbox;
	struct attached attached[ATTACHED_MAX];
	unsigned attached_end; /* every one in use is before it */
	bool started;
	bool stopping;
	int exit_status;
	uint32_t state;
	struct busy_poll polling;      /* for requests */
	struct busy_poll sync_polling; /* for the end of a sync, and for requests meanwhile */
};

/* A socket that takes nothing more ends this process: without it nobody is told of files, rings or a catalogue. */
static void note_sent(struct logd *logd, enum error error)
{
	if (error == ERR_OK)
		return;
	logd->stopping = true;
	if (error == ERR_EOF)
		return;
	log_line(&logd->logging, LOG_LEVEL_ERROR, "the supervisor cannot be told anything: %s", strerror(errno));
	logd->exit_status = 1;
}

static void tell(struct logd *logd, struct control message)
{
	message.version = CONTROL_VERSION;
	enum error error = outbox_send(logd->outbox, &message);
	if (error == ERR_LIMIT)
		log_line(&logd->logging, LOG_LEVEL_ERROR, "the supervisor does not read what it is told; waiting for it");
	while (error == ERR_LIMIT) {
		error = outbox_wait(logd->outbox);
		if (error == ERR_OK)
			error = outbox_send(logd->outbox, &message);
	}
	note_sent(logd, error);
}

/* ---- what the engine asks for ---- */

static void host_wake_worker(void *context, uint32_t slot)
{
	struct logd *logd = context;
	for (unsigned i = 0; i < ATTACHED_MAX; i++) {
		const struct attached *a = &logd->attached[i];
		if (a->incarnation == 0 || a->slot != slot || a->gone)
			continue;
		const struct counters *counters = a->counters;
		if (wake_needed(&counters->sleeping))
			wake_write(a->wake_fd);
	}
}

static void host_ring_broken(void *context, uint32_t slot, uint64_t incarnation)
{
	struct logd *logd = context;
	log_line(&logd->logging, LOG_LEVEL_WARNING, "security: worker %u broke the layout of its ring, or asked for what ended the log process twice; it is to be replaced", slot);
	tell(logd, (struct control){ .type = CTL_RING_BROKEN, .slot = slot, .incarnation = incarnation });
}

static void detach(struct attached *a)
{
	shm_unmap(&a->request, a->request_size);
	shm_unmap(&a->completion, completion_object_size());
	shm_unmap(&a->counters, sizeof(struct counters));
	if (a->wake_fd >= 0)
		close(a->wake_fd);
	if (a->woken_fd >= 0)
		close(a->woken_fd);
	*a = (struct attached){ .wake_fd = -1, .woken_fd = -1 };
}

static void host_ring_dropped(void *context, uint32_t slot, uint64_t incarnation)
{
	struct logd *logd = context;
	for (unsigned i = 0; i < ATTACHED_MAX; i++)
		if (logd->attached[i].incarnation == incarnation)
			detach(&logd->attached[i]);
	tell(logd, (struct control){ .type = CTL_RING_DROPPED, .slot = slot, .incarnation = incarnation });
}

static void host_file_born(void *context, uint64_t file_id, uint32_t kind)
{
	if (kind != 'e') /* the supervisor has the ephemeral log's objects already */
		tell(context, (struct control){ .type = CTL_FILE_BORN, .a = file_id, .kind = kind });
}

static void host_file_retired(void *context, uint64_t file_id, uint32_t kind)
{
	if (kind != 'e') /* world_ephemeral_retired says it when the object is let go */
		tell(context, (struct control){ .type = CTL_FILE_RETIRED, .a = file_id, .kind = kind });
}

static void host_catalogue_current(void *context, uint64_t number, bool whole)
{
	struct logd *logd = context;
	tell(logd, (struct control){ .type = CTL_READY, .a = number, .b = !whole });
	for (unsigned i = 0; i < ATTACHED_MAX; i++)
		if (logd->attached[i].incarnation != 0)
			host_wake_worker(logd, logd->attached[i].slot);
}

static void world_ephemeral_used(void *context, uint64_t id)
{
	tell(context, (struct control){ .type = CTL_EPHEMERAL_USED, .a = id, .kind = 'e' });
}

static void world_ephemeral_retired(void *context, uint64_t id)
{
	tell(context, (struct control){ .type = CTL_FILE_RETIRED, .a = id, .kind = 'e' });
}

/* ---- what the supervisor says ---- */

static enum error attach(struct logd *logd, const struct control *message, const int *fds)
{
	struct attached *a = NULL;
	for (unsigned i = 0; i < ATTACHED_MAX && a == NULL; i++)
		if (logd->attached[i].incarnation == 0)
			a = &logd->attached[i];
	if (a == NULL)
		return ERR_LIMIT;
	if (logd->attached_end <= (unsigned)(a - logd->attached))
		logd->attached_end = (unsigned)(a - logd->attached) + 1;
	*a = (struct attached){ .slot = message->slot, .wake_fd = fds[3], .woken_fd = fds[4], .request_size = RING_LARGE_OFFSET + message->a };
	enum error error = shm_map(&a->request, fds[0], a->request_size, false);
	if (error == ERR_OK)
		error = shm_map(&a->completion, fds[1], completion_object_size(), true);
	if (error == ERR_OK)
		error = shm_map(&a->counters, fds[2], sizeof(struct counters), false);
	if (error == ERR_OK) {
		a->incarnation = message->incarnation;
		error = engine_ring_add(logd->engine, message->slot, message->incarnation, a->request, message->a, a->completion, a->counters);
	}
	if (error != ERR_OK)
		detach(a);
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
	return error;
}

static void worker_gone(struct logd *logd, const struct control *message)
{
	for (unsigned i = 0; i < ATTACHED_MAX; i++)
		if (logd->attached[i].incarnation == message->incarnation)
			logd->attached[i].gone = true;
	engine_ring_gone(logd->engine, message->slot, message->incarnation);
}

/* Recovery. While it runs the rings fill and workers answer what needs no log. */
static void start(struct logd *logd)
{
	char text[512] = "";
	enum error error = engine_recover(logd->engine, text, sizeof text);
	if (error == ERR_OK) {
		logd->started = true;
		if (text[0] != '\0')
			log_line(&logd->logging, LOG_LEVEL_INFO, "%s", text);
		return;
	}
	log_line(&logd->logging, LOG_LEVEL_ERROR, "the data directory cannot be used: %s%s%s", text[0] ? text : error_text(error),
	         error == ERR_IO ? ": " : "", error == ERR_IO ? strerror(errno) : "");
	logd->exit_status = error == ERR_NEWER || error == ERR_CORRUPT ? LOGD_EXIT_REFUSED : 1;
	logd->stopping = true;
}

static enum error handle(struct logd *logd, const struct control *message, const int *fds)
{
	switch (message->type) {
	case CTL_RING_NEW:
		return attach(logd, message, fds);
	case CTL_RING_GONE:
		worker_gone(logd, message);
		return ERR_OK;
	case CTL_EPHEMERAL:
		return ops_system_ephemeral(logd->world, message->a, message->b, fds[0]);
	case CTL_EPHEMERAL_RESERVE:
		return ops_system_ephemeral(logd->world, 0, message->a, fds[0]);
	case CTL_START:
		start(logd);
		return ERR_OK;
	case CTL_STOP:
		logd->stopping = true;
		return ERR_OK;
	default:
		return ERR_PROTOCOL;
	}
}

static void take_messages(struct logd *logd)
{
	struct control message;
	int fds[CONTROL_FDS];
	unsigned count;
	while (!logd->stopping) {
		enum error error = control_receive(logd->inherit->common.control_fd, PARTY_SUPERVISOR, PARTY_LOGD, &message, fds, &count);
		if (error == ERR_AGAIN)
			return;
		if (error == ERR_EOF) { /* the supervisor died: finish what was accepted, and leave */
			logd->stopping = true;
			return;
		}
		if (error == ERR_OK)
			error = handle(logd, &message, fds);
		if (error != ERR_OK) {
			log_line(&logd->logging, LOG_LEVEL_ERROR, "control message %s: %s", control_name(message.type), error_text(error));
			logd->exit_status = 1;
			logd->stopping = true;
		}
	}
}

/* ---- the loop ---- */

/* What is only tried again is told by the state of the log, if it comes to that. */
static void report_seal(struct logd *logd, const struct seal_job *job)
{
	if (job->result == ERR_CORRUPT)
		log_line(&logd->logging, LOG_LEVEL_ERROR, "file w%016" PRIx64 " of the log is damaged: it is not sealed, and read as a whole at every start", job->id);
	else if (job->result == ERR_IO || job->result == ERR_LIMIT)
		log_line(&logd->logging, LOG_LEVEL_ERROR, "file w%016" PRIx64 " of the log could not be sealed: %s", job->id,
		         job->result == ERR_IO ? strerror(job->cause) : error_text(job->result));
}

static void take_jobs(struct logd *logd)
{
	struct job_result result;
	while (ops_system_finished(logd->world, &result)) {
		switch (result.kind) {
		case JOB_SYNC:
			engine_sync_done(logd->engine, &result.sync);
			break;
		case JOB_PREPARE:
			engine_prepared(logd->engine, result.id, result.error);
			break;
		case JOB_SEAL:
			report_seal(logd, &result.seal);
			engine_sealed(logd->engine, &result.seal);
			break;
		case JOB_LOOKUP:
			if (result.lookup.result != ERR_OK && result.lookup.result != ERR_NOT_FOUND)
				log_line(&logd->logging, LOG_LEVEL_ERROR, "an idempotency key could not be looked up in a sealed file: %s", error_text(result.lookup.result));
			engine_looked_up(logd->engine, &result.lookup);
			break;
		default:
			if (result.finish.result != ERR_OK)
				log_line(&logd->logging, LOG_LEVEL_WARNING, "a checkpoint could not be finished: %s", strerror(result.finish.cause));
			engine_checkpoint_finished(logd->engine, &result.finish);
		}
	}
}

static void report_state(struct logd *logd)
{
	static const char *const words[] = { "starting", "ready", "read-only: writing to the disk failed for good", "full: no space on the disk", "stopping" };
	uint32_t state = atomic_load_explicit(&logd->status->state, memory_order_relaxed);
	if (state == logd->state || !logd->started)
		return;
	logd->state = state;
	log_line(&logd->logging, state == LOGD_READY ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "the log is %s", state <= LOGD_STOPPING ? words[state] : "?");
	tell(logd, (struct control){ .type = CTL_STATE, .a = state });
}

static uint64_t now_us(const struct logd *logd)
{
	const struct ops *ops = ops_system_table(logd->world);
	return ops->monotonic_us(ops->world);
}

enum { FINISHED_JOBS, SUPERVISOR, WORKERS };

/* One that a worker has is of that worker alone, so who takes what others have not written delays nobody else. Whether a read waits is a flag that both of us can change: this one never
 * does. */
static void take_wake(int fd)
{
	uint64_t count;
	const struct iovec into = { &count, sizeof count };
	ssize_t n = preadv2(fd, &into, 1, -1, RWF_NOWAIT);
	if (n < 0 && errno == EOPNOTSUPP) /* an old kernel */
		n = read(fd, &count, sizeof count);
	(void)n;
}

/* What to wait for; returns how many. */
static nfds_t wishes(const struct logd *logd, struct pollfd fds[WORKERS + ATTACHED_MAX])
{
	nfds_t count = WORKERS;
	fds[FINISHED_JOBS] = (struct pollfd){ .fd = ops_system_event_fd(logd->world), .events = POLLIN };
	fds[SUPERVISOR] = (struct pollfd){ .fd = logd->inherit->common.control_fd, .events = (short)(POLLIN | (outbox_waits(logd->outbox) ? POLLOUT : 0)) };
	for (unsigned i = 0; i < logd->attached_end; i++)
		if (logd->attached[i].incarnation != 0 && !logd->attached[i].gone)
			fds[count++] = (struct pollfd){ .fd = logd->attached[i].woken_fd, .events = POLLIN };
	return count;
}

/* True if a worker has woken us. */
static bool take_wakes(const struct pollfd *fds, nfds_t count)
{
	bool woken = false;
	for (nfds_t i = WORKERS; i < count; i++) {
		if (fds[i].revents == 0)
			continue;
		take_wake(fds[i].fd);
		woken = true;
	}
	return woken;
}

/* Waits for something to do, at most `us`. Before sleeping it says so and looks once more (common/wake.h). */
static void wait_for_work(struct logd *logd, struct busy_poll *polling, uint64_t us)
{
	struct pollfd fds[WORKERS + ATTACHED_MAX];
	nfds_t count = wishes(logd, fds);
	bool busy = us == 0;
	uint64_t began = now_us(logd);
	wake_prepare_sleep(&logd->status->logd_sleeping);
	if (logd->started && engine_pending(logd->engine))
		busy = true;
	int ready = poll(fds, count, busy ? 0 : us > 1000000 ? 1000 : (int)((us + 999) / 1000));
	wake_end_sleep(&logd->status->logd_sleeping);
	bool woken = ready > 0 && take_wakes(fds, count);
	if (!busy && (ready == 0 || woken || fds[FINISHED_JOBS].revents != 0))
		busy_poll_slept(polling, began, now_us(logd));
	if (ready > 0 && fds[FINISHED_JOBS].revents != 0)
		take_jobs(logd);
	if (ready > 0 && (fds[SUPERVISOR].revents & POLLOUT) != 0)
		note_sent(logd, outbox_flush(logd->outbox));
	if (ready > 0 && (fds[SUPERVISOR].revents & ~POLLOUT) != 0)
		take_messages(logd);
}

/* Rounds until there is nothing more to take, a bounded number; *us: when the engine wants to be called again. */
static bool rounds(struct logd *logd, uint64_t *us)
{
	bool more = true;
	if (ops_system_done(logd->world) || engine_pending(logd->engine)) {
		busy_poll_worked(&logd->polling);
		busy_poll_worked(&logd->sync_polling);
	}
	if (ops_system_done(logd->world))
		take_jobs(logd);
	for (unsigned i = 0; i < BATCH_OF_ROUNDS && more; i++)
		more = engine_round(logd->engine);
	*us = engine_tick(logd->engine);
	report_state(logd);
	if (engine_start_failed(logd->engine) && !logd->stopping) {
		log_line(&logd->logging, LOG_LEVEL_ERROR, "what the last run left unproven could not be copied: %s; the next start begins anew", strerror(engine_start_cause(logd->engine)));
		logd->stopping = true;
		logd->exit_status = 1;
	}
	return more;
}

static void work(struct logd *logd)
{
	uint64_t heard_us = 0; /* when the supervisor was last listened to */
	while (!logd->stopping) {
		uint64_t us = 1000000, now = now_us(logd);
		bool more = logd->started && rounds(logd, &us);
		bool syncing = logd->started && engine_syncing(logd->engine);
		struct busy_poll *polling = syncing ? &logd->sync_polling : &logd->polling;
		/* Who shares a sync with many waits for the disk, not for us, and a process that yields is woken later than one that sleeps. */
		bool pays = logd->started && !(syncing && engine_many_wait(logd->engine));
		bool again = !more && pays && busy_poll_again(polling, now);
		if (again && now - heard_us < LISTEN_US)
			continue;
		heard_us = now;
		wait_for_work(logd, polling, more || again ? 0 : us);
	}
}

/* Everything that was accepted is finished, then the log is closed so that the next start finds nothing to do. */
static void close_log(struct logd *logd)
{
	if (!logd->started)
		return;
	struct pollfd done = { .fd = ops_system_event_fd(logd->world), .events = POLLIN };
	const struct ops *ops = ops_system_table(logd->world);
	uint64_t until = ops->monotonic_us(ops->world) + logd->inherit->common.settings.drain_ms * 1000;
	/* A log that waits for space to come back may wait for ever; then the next start goes on where this one ends. */
	while (!engine_idle(logd->engine) && ops->monotonic_us(ops->world) < until) {
		if (!engine_round(logd->engine) && poll(&done, 1, 10) > 0)
			take_jobs(logd);
		engine_tick(logd->engine);
		atomic_store_explicit(&logd->status->state, LOGD_STOPPING, memory_order_relaxed);
	}
	enum error error = engine_idle(logd->engine) ? engine_stop(logd->engine) : ERR_BUSY;
	if (error != ERR_OK) {
		log_line(&logd->logging, LOG_LEVEL_ERROR, "the log could not be closed: %s; the next start recovers it", error_text(error));
		logd->exit_status = 1;
	}
}

/* The supervisor reads all that was said before it takes note of the end; what the next logd is given follows from it. */
static void tell_the_rest(struct logd *logd)
{
	enum error error = ERR_OK;
	while (error == ERR_OK && outbox_waits(logd->outbox))
		error = outbox_wait(logd->outbox);
	note_sent(logd, error);
}

static enum error set_up(struct logd *logd)
{
	const struct inherit_logd *inherit = logd->inherit;
	void *status = NULL, *feed = NULL;
	enum error error = outbox_create(&logd->outbox, inherit->common.control_fd);
	if (error == ERR_OK)
		error = shm_map(&status, inherit->common.status_fd, sizeof(struct status), true);
	if (error == ERR_OK)
		error = shm_map(&feed, inherit->common.feed_fd, sizeof(struct feed_shared), true);
	if (error == ERR_OK) {
		const struct ops_system_events events = { .context = logd, .ephemeral_used = world_ephemeral_used,
		                                          .ephemeral_retired = world_ephemeral_retired };
		error = ops_system_create(&logd->world, inherit->data_dir_fd, &events);
		if (error == ERR_OK)
			ops_system_busy_poll(logd->world, inherit->common.settings.busy_poll_us);
	}
	if (error == ERR_OK)
		error = catalogue_writer_create(&logd->catalogue, inherit->catalogue_fd, inherit->catalogue_number);
	if (error == ERR_OK && inherit->old_catalogue_fd >= 0)
		error = catalogue_open(&logd->old_catalogue, inherit->old_catalogue_fd);
	if (error != ERR_OK)
		return error;
	logd->status = status;
	logd->feed = feed;
	atomic_store_explicit(&logd->status->deaths, inherit->deaths, memory_order_relaxed);
	atomic_store_explicit(&logd->status->progress, 0, memory_order_relaxed); /* of the recovery before */
	const struct engine_options options = {
		.settings = &inherit->common.settings,
		.ops = ops_system_table(logd->world),
		.host = { .context = logd, .wake_worker = host_wake_worker, .ring_broken = host_ring_broken, .ring_dropped = host_ring_dropped,
		          .file_born = host_file_born, .file_retired = host_file_retired, .catalogue_current = host_catalogue_current },
		.catalogue = logd->catalogue,
		.old_catalogue = logd->old_catalogue,
		.feed = logd->feed,
		.status = logd->status,
		.daemon_start = inherit->first_start != 0,
		.fault_death = inherit->fault_death != 0,
	};
	return engine_create(&logd->engine, &options);
}

int logd_run(const struct inherit_logd *inherit)
{
	struct logd *logd = calloc(1, sizeof *logd);
	if (logd == NULL)
		return 1;
	logd->inherit = inherit;
	logd->polling.window_us = inherit->common.settings.busy_poll_us;
	logd->sync_polling.window_us = SYNC_WINDOWS * inherit->common.settings.busy_poll_us;
	logd->logging = (struct logging){ .program = "topics-logd", .level = LOG_LEVEL_INFO };
	for (unsigned i = 0; i < ATTACHED_MAX; i++)
		logd->attached[i].wake_fd = logd->attached[i].woken_fd = -1;
	enum error error = set_up(logd);
	if (error == ERR_OK) {
		work(logd);
		close_log(logd);
		tell_the_rest(logd);
	} else {
		log_line(&logd->logging, LOG_LEVEL_ERROR, "cannot set up: %s (%s)", error_text(error), strerror(errno));
		logd->exit_status = 1;
	}
	/* The kernel takes back the mappings; what must be on disk is there. */
	int exit_status = logd->exit_status;
	engine_destroy(&logd->engine);
	outbox_destroy(&logd->outbox);
	ops_system_destroy(&logd->world);
	catalogue_writer_destroy(&logd->catalogue);
	catalogue_close(&logd->old_catalogue);
	free(logd);
	return exit_status;
}
