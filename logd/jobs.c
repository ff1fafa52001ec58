#include "logd/jobs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/busy_poll.h"
#include "common/wake.h"
#include "logd/checkpoint_finish.h"
#include "logd/footer_notes.h"
#include "logd/key_lookup.h"
#include "logd/seal.h"

enum { FILL_BYTES = 1 << 20, JOB_NAME_ROOM = 48 };

/*
 *            jobs_sync, _prepare, ...          thread                 jobs_finished
 *   IDLE ------------------------> WAITING ------------> DONE ------------------------> IDLE
 *
 * The loop has the lane while it is IDLE or DONE, the thread while it is WAITING; whoever changes the state hands everything else over with it. There is no lock:
 * a thread that is woken while its waker holds one goes back to sleep for it, and each sleep of a client's sync costs that client.
 */
enum job_state { JOB_IDLE, JOB_WAITING, JOB_DONE };

struct lane {
	struct jobs *jobs;
	enum job_kind kind;
	_Atomic enum job_state state;
	pthread_t thread;
	sem_t given;                 /* one for each job, and one for the end */
	bool started;
	_Atomic uint64_t window_us;  /* of polling, as it is wanted now */
	struct busy_poll polling;    /* the thread's */
	/* the job */
	struct sync_job sync;
	int data_dir;
	char name[JOB_NAME_ROOM];
	uint64_t id;
	uint64_t size;
	int error;
	const struct ops *ops;
	struct seal_job seal;
	struct finish_job finish;
	struct lookup_job lookup;
};

struct jobs {
	struct lane lanes[JOB_KINDS];
	int event_fd;
	_Atomic bool ending;
	_Atomic unsigned done; /* lanes whose result has not been taken */
	_Atomic bool syncing;  /* the disk is not idle */
};

static uint64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* A failed sync is final (I-4): nothing here tries again, not even after EINTR, which fdatasync does not promise to be harmless. */
static void run_sync(struct lane *lane)
{
	struct sync_job *job = &lane->sync;
	uint64_t began = now_us();
	atomic_store(&lane->jobs->syncing, true);
	job->error = 0;
	for (unsigned i = 0; i < job->count && job->error == 0; i++)
		if (fdatasync(job->files[i]) != 0)
			job->error = errno;
	atomic_store(&lane->jobs->syncing, false);
	job->took_us = now_us() - began;
}

/* A sync of overwritten bytes is a third faster than one of allocated ones, so the file is filled with zeros, but only while nobody waits for the disk. */
static int fill_while_idle(struct lane *lane, int fd)
{
	uint8_t *zeros = calloc(1, FILL_BYTES);
	int error = 0;
	if (zeros == NULL)
		return 0;
	for (uint64_t at = 0; at < lane->size && error == 0 && !atomic_load(&lane->jobs->syncing); at += FILL_BYTES) {
		size_t length = lane->size - at < FILL_BYTES ? (size_t)(lane->size - at) : FILL_BYTES;
		ssize_t n = pwrite(fd, zeros, length, (off_t)at);
		if (n < 0)
			error = errno;
		else if (fdatasync(fd) != 0)
			error = errno;
	}
	free(zeros);
	return error;
}

/* The file with its space and its name on the platter, all zero: from now on it may become the log's newest with one write. */
static int make_file(struct lane *lane)
{
	int fd = openat(lane->data_dir, lane->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd < 0)
		return errno;
	int error;
	do {
		error = posix_fallocate(fd, 0, (off_t)lane->size);
	} while (error == EINTR);
	if (error == 0)
		error = fill_while_idle(lane, fd);
	if (error == 0 && fsync(fd) != 0)
		error = errno;
	if (close(fd) != 0 && error == 0 && errno != EINTR)
		error = errno;
	if (error == 0 && fsync(lane->data_dir) != 0)
		error = errno;
	if (error != 0)
		unlinkat(lane->data_dir, lane->name, 0);
	return error;
}

static void run(struct lane *lane)
{
	switch (lane->kind) {
	case JOB_SYNC:
		run_sync(lane);
		break;
	case JOB_PREPARE:
		lane->error = make_file(lane);
		break;
	case JOB_SEAL:
		seal_file(lane->ops, &lane->seal);
		break;
	case JOB_LOOKUP:
		key_lookup(lane->ops, &lane->lookup);
		break;
	default:
		checkpoint_finish(lane->ops, &lane->finish);
	}
}

/* One job follows the other closely while a client waits for each sync: then sleeping costs more than looking. */
static void wait_for_job(struct lane *lane)
{
	uint64_t began = now_us();
	lane->polling.window_us = atomic_load_explicit(&lane->window_us, memory_order_relaxed);
	while (sem_trywait(&lane->given) != 0) {
		if (busy_poll_again(&lane->polling, now_us()))
			continue;
		while (sem_wait(&lane->given) != 0)
			continue;
		busy_poll_slept(&lane->polling, began, now_us());
		return;
	}
	busy_poll_worked(&lane->polling);
}

static void *lane_main(void *argument)
{
	struct lane *lane = argument;
	struct jobs *jobs = lane->jobs;
	for (;;) {
		wait_for_job(lane);
		if (atomic_load(&lane->state) != JOB_WAITING) {
			if (atomic_load(&jobs->ending))
				return NULL;
			continue;
		}
		run(lane);
		atomic_store(&lane->state, JOB_DONE);
		atomic_fetch_add(&jobs->done, 1);
		wake_write(jobs->event_fd);
	}
}

static enum error start_lane(struct jobs *jobs, enum job_kind kind)
{
	struct lane *lane = &jobs->lanes[kind];
	sigset_t all, before;
	lane->jobs = jobs;
	lane->kind = kind;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	sem_init(&lane->given, 0, 0);
	int error = pthread_create(&lane->thread, NULL, lane_main, lane);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	lane->started = error == 0;
	return error == 0 ? ERR_OK : ERR_NOMEM;
}

enum error jobs_create(struct jobs **out)
{
	struct jobs *jobs = calloc(1, sizeof *jobs);
	if (jobs == NULL)
		return ERR_NOMEM;
	jobs->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	enum error error = jobs->event_fd < 0 ? ERR_IO : ERR_OK;
	for (unsigned kind = 0; error == ERR_OK && kind < JOB_KINDS; kind++)
		error = start_lane(jobs, (enum job_kind)kind);
	if (error != ERR_OK) {
		jobs_destroy(&jobs);
		return error;
	}
	*out = jobs;
	return ERR_OK;
}

void jobs_destroy(struct jobs **out)
{
	struct jobs *jobs = *out;
	if (jobs == NULL)
		return;
	atomic_store(&jobs->ending, true);
	for (unsigned i = 0; i < JOB_KINDS; i++)
		if (jobs->lanes[i].started)
			sem_post(&jobs->lanes[i].given);
	for (unsigned i = 0; i < JOB_KINDS; i++) {
		if (!jobs->lanes[i].started)
			continue;
		pthread_join(jobs->lanes[i].thread, NULL);
		sem_destroy(&jobs->lanes[i].given);
	}
	footer_notes_destroy(&jobs->lanes[JOB_SEAL].seal.notes); /* of a job that nobody began, */
	free(jobs->lanes[JOB_SEAL].seal.topics);                 /* of a result that nobody took */
	free(jobs->lanes[JOB_SEAL].seal.keys);
	if (jobs->event_fd >= 0)
		close(jobs->event_fd);
	free(jobs);
	*out = NULL;
}

/* The lane, to be given its job and to hand_over; NULL while it has one. */
static struct lane *idle_lane(struct jobs *jobs, enum job_kind kind)
{
	struct lane *lane = &jobs->lanes[kind];
	return atomic_load(&lane->state) == JOB_IDLE ? lane : NULL;
}

static int hand_over(struct lane *lane)
{
	atomic_store(&lane->state, JOB_WAITING);
	sem_post(&lane->given);
	return 0;
}

void jobs_busy_poll(struct jobs *jobs, uint64_t us)
{
	atomic_store_explicit(&jobs->lanes[JOB_SYNC].window_us, us, memory_order_relaxed);
}

int jobs_sync(struct jobs *jobs, const struct sync_job *job)
{
	struct lane *lane = idle_lane(jobs, JOB_SYNC);
	if (lane == NULL)
		return EBUSY;
	lane->sync = *job;
	return hand_over(lane);
}

int jobs_prepare(struct jobs *jobs, int data_dir, const char *name, uint64_t id, uint64_t size)
{
	struct lane *lane = idle_lane(jobs, JOB_PREPARE);
	if (lane == NULL)
		return EBUSY;
	lane->data_dir = data_dir;
	strncpy(lane->name, name, sizeof lane->name - 1);
	lane->id = id;
	lane->size = size;
	return hand_over(lane);
}

int jobs_seal(struct jobs *jobs, const struct ops *ops, const struct seal_job *job)
{
	struct lane *lane = idle_lane(jobs, JOB_SEAL);
	if (lane == NULL)
		return EBUSY;
	lane->ops = ops;
	lane->seal = *job;
	return hand_over(lane);
}

int jobs_finish(struct jobs *jobs, const struct ops *ops, const struct finish_job *job)
{
	struct lane *lane = idle_lane(jobs, JOB_FINISH);
	if (lane == NULL)
		return EBUSY;
	lane->ops = ops;
	lane->finish = *job;
	return hand_over(lane);
}

int jobs_lookup(struct jobs *jobs, const struct ops *ops, const struct lookup_job *job)
{
	struct lane *lane = idle_lane(jobs, JOB_LOOKUP);
	if (lane == NULL)
		return EBUSY;
	lane->ops = ops;
	lane->lookup = *job;
	return hand_over(lane);
}

int jobs_event_fd(const struct jobs *jobs)
{
	return jobs->event_fd;
}

bool jobs_done(const struct jobs *jobs)
{
	return atomic_load(&jobs->done) > 0;
}

bool jobs_finished(struct jobs *jobs, struct job_result *result)
{
	uint64_t count;
	if (!jobs_done(jobs)) {
		ssize_t ignored = read(jobs->event_fd, &count, sizeof count);
		(void)ignored;
	}
	if (!jobs_done(jobs)) /* what is done from here on writes the event again */
		return false;
	struct lane *lane = jobs->lanes;
	while (atomic_load(&lane->state) != JOB_DONE)
		lane++;
	*result = (struct job_result){ .kind = lane->kind, .sync = lane->sync, .id = lane->id, .error = lane->error,
	                               .seal = lane->seal, .finish = lane->finish, .lookup = lane->lookup };
	lane->seal.topics = NULL;
	lane->seal.keys = NULL;
	atomic_store(&lane->state, JOB_IDLE);
	atomic_fetch_sub(&jobs->done, 1);
	return true;
}
