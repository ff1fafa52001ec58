#include "worker/cold.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/wake.h"

/* Two threads: a device that hangs takes one for each read that it holds, and reads of it come in pairs at worst before the deadline of their requests. HANDED_MAX bounds the memory
 * of buffers; jobs beyond wait without one. */
enum { THREADS = 2, HANDED_MAX = 8 };

struct cold_job {
	struct cold_job *previous, *next;
	struct cold *cold;
	struct cold_place place;
	void (*done)(void *context);   /* NULL: nobody wants it any more */
	void *context;
	uint8_t *bytes;                /* owned; NULL while queued */
	uint64_t length;
	int error;
	bool is_done;
};

struct list { struct cold_job *first, *last; };

struct cold {
	struct event *event;
	int finished_fd;               /* eventfd */
	struct list queued;            /* the loop's: jobs without a buffer */
	unsigned handed;               /* jobs that have one */
	pthread_t threads[THREADS];
	unsigned started;
	/* between loop and threads */
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct list todo, finished;
	unsigned reading;              /* threads in the kernel */
	bool stop;
};

static void append(struct list *list, struct cold_job *job)
{
	job->previous = list->last;
	job->next = NULL;
	*(list->last != NULL ? &list->last->next : &list->first) = job;
	list->last = job;
}

static void take_out(struct list *list, struct cold_job *job)
{
	*(job->previous != NULL ? &job->previous->next : &list->first) = job->next;
	*(job->next != NULL ? &job->next->previous : &list->last) = job->previous;
}

/* ---- a thread ---- */

static int read_fully(struct cold_job *job, uint64_t length)
{
	job->length = 0;
	while (job->length < length) {
		ssize_t n = pread(job->place.file->fd, job->bytes + job->length, length - job->length, (off_t)(job->place.offset + job->length));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			break;
		job->length += (uint64_t)n;
	}
	return 0;
}

static void read_job(struct cold_job *job)
{
	job->error = read_fully(job, job->place.most);
	/* What failed may lie beyond what is needed. */
	if (job->error != 0 && job->length >= job->place.least)
		job->error = 0;
	if (job->error != 0)
		job->error = read_fully(job, job->place.least);
}

static void *run(void *context)
{
	struct cold *cold = context;
	pthread_mutex_lock(&cold->lock);
	while (!cold->stop) {
		struct cold_job *job = cold->todo.first;
		if (job == NULL) {
			pthread_cond_wait(&cold->work, &cold->lock);
			continue;
		}
		take_out(&cold->todo, job);
		cold->reading++;
		pthread_mutex_unlock(&cold->lock);
		read_job(job);
		pthread_mutex_lock(&cold->lock);
		cold->reading--;
		append(&cold->finished, job);
		wake_write(cold->finished_fd);
	}
	pthread_mutex_unlock(&cold->lock);
	return NULL;
}

/* ---- the loop ---- */

static void free_job(struct cold_job *job)
{
	files_release(&job->place.file);
	free(job->bytes);
	free(job);
}

/* Jobs get their buffers in their order, as places come free. One for which there is no memory is done with ENOMEM. */
static void hand_over(struct cold *cold)
{
	struct cold_job *job;
	while ((job = cold->queued.first) != NULL && cold->handed < HANDED_MAX) {
		take_out(&cold->queued, job);
		cold->handed++;
		job->bytes = malloc(job->place.most);
		job->error = job->bytes == NULL ? ENOMEM : 0;
		pthread_mutex_lock(&cold->lock);
		append(job->bytes != NULL ? &cold->todo : &cold->finished, job);
		pthread_cond_signal(&cold->work);
		pthread_mutex_unlock(&cold->lock);
		if (job->bytes == NULL)
			wake_write(cold->finished_fd);
	}
}

static void drop_handed(struct cold_job *job)
{
	struct cold *cold = job->cold;
	cold->handed--;
	free_job(job);
	hand_over(cold);
}

static void on_finished(evutil_socket_t fd, short what, void *context)
{
	struct cold *cold = context;
	uint64_t count;
	ssize_t ignored = read((int)fd, &count, sizeof count);
	(void)ignored;
	(void)what;
	for (;;) {
		pthread_mutex_lock(&cold->lock);
		struct cold_job *job = cold->finished.first;
		if (job != NULL)
			take_out(&cold->finished, job);
		pthread_mutex_unlock(&cold->lock);
		if (job == NULL)
			return;
		job->is_done = true;
		if (job->done == NULL)
			drop_handed(job);
		else
			job->done(job->context);
	}
}

enum error cold_read(struct cold *cold, const struct cold_place *place, void (*done)(void *context), void *context, struct cold_job **out)
{
	struct cold_job *job = calloc(1, sizeof *job);
	if (job == NULL)
		return ERR_NOMEM;
	*job = (struct cold_job){ .cold = cold, .place = *place, .done = done, .context = context };
	files_hold(place->file);
	append(&cold->queued, job);
	hand_over(cold);
	*out = job;
	return ERR_OK;
}

bool cold_is_done(const struct cold_job *job)
{
	return job->is_done;
}

void cold_result(const struct cold_job *job, struct cold_result *result)
{
	*result = (struct cold_result){ .file = job->place.file->id, .offset = job->place.offset, .bytes = job->bytes, .length = job->length, .error = job->error };
}

void cold_end(struct cold_job **out)
{
	struct cold_job *job = *out;
	*out = NULL;
	if (job == NULL)
		return;
	if (job->is_done) {
		drop_handed(job);
	} else if (job->bytes == NULL && job->error == 0) {
		take_out(&job->cold->queued, job);
		free_job(job);
	} else {
		job->done = NULL;
	}
}

/* ---- set-up ---- */

enum error cold_create(struct cold **out, struct event_base *base)
{
	sigset_t all, before;
	struct cold *cold = calloc(1, sizeof *cold);
	if (cold == NULL)
		return ERR_NOMEM;
	*out = cold;
	pthread_mutex_init(&cold->lock, NULL);
	pthread_cond_init(&cold->work, NULL);
	cold->finished_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	cold->event = cold->finished_fd < 0 ? NULL : event_new(base, cold->finished_fd, EV_READ | EV_PERSIST, on_finished, cold);
	if (cold->event == NULL || event_add(cold->event, NULL) != 0) {
		cold_destroy(out);
		return ERR_NOMEM;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (cold->started < THREADS && pthread_create(&cold->threads[cold->started], NULL, run, cold) == 0)
		cold->started++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (cold->started == THREADS)
		return ERR_OK;
	cold_destroy(out);
	return ERR_NOMEM;
}

static void free_list(struct list *list)
{
	while (list->first != NULL) {
		struct cold_job *job = list->first;
		take_out(list, job);
		free_job(job);
	}
}

void cold_destroy(struct cold **out)
{
	struct cold *cold = *out;
	*out = NULL;
	if (cold == NULL)
		return;
	pthread_mutex_lock(&cold->lock);
	cold->stop = true;
	bool hangs = cold->reading > 0;
	pthread_cond_broadcast(&cold->work);
	pthread_mutex_unlock(&cold->lock);
	if (cold->event != NULL)
		event_free(cold->event);
	if (hangs)
		return; /* the process ends with it */
	for (unsigned i = 0; i < cold->started; i++)
		pthread_join(cold->threads[i], NULL);
	free_list(&cold->queued);
	free_list(&cold->todo);
	free_list(&cold->finished);
	if (cold->finished_fd >= 0)
		close(cold->finished_fd);
	pthread_mutex_destroy(&cold->lock);
	pthread_cond_destroy(&cold->work);
	free(cold);
}
