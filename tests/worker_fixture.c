#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "common/shm.h"
#include "tests/worker_fixture.h"
#include "worker/api.h"
#include "worker/connection.h"
#include "worker/cold.h"
#include "worker/files.h"
#include "worker/longpoll.h"
#include "worker/read.h"
#include "worker/scan.h"
#include "worker/submit.h"
#include "worker/waiting.h"

enum { OBJECT_STATUS, OBJECT_COUNTERS, OBJECT_REQUEST, OBJECT_COMPLETION, OBJECT_CATALOGUE };

/* ---- the worker ---- */

void __wrap_api_health(struct exchange *exchange);
void __real_api_health(struct exchange *exchange);

void __wrap_api_health(struct exchange *exchange)
{
	struct worker_fixture *f = fixture_of(exchange);
	if (f->handler != NULL)
		f->handler(exchange);
	else
		__real_api_health(exchange);
}

struct worker_fixture *fixture_of(const struct exchange *exchange)
{
	return (struct worker_fixture *)exchange->worker;
}

static void *object(struct worker_fixture *f, unsigned which, size_t size)
{
	void *mapped = NULL;
	assert_int_equal(shm_create(&f->objects[which], "test", size), ERR_OK);
	assert_int_equal(shm_map(&mapped, f->objects[which], size, true), ERR_OK);
	return mapped;
}

static void make_settings(struct settings *s)
{
	*s = (struct settings){ .max_body_bytes = 1 << 20, .max_batch_records = 1000, .max_record_bytes = 1 << 20, .max_meta_bytes = 16384, .max_tag_bytes = 256,
	                        .max_node_bytes = 128, .max_limit = 1000, .max_topics = 100, .commit_deadline_ms = 5000, .idle_timeout_ms = 30000,
	                        .worker_budget_bytes = 256 << 20, .drain_ms = 5000, .workers = 1 };
}

static void make_logd(struct worker_fixture *f)
{
	struct worker *w = &f->worker;
	f->status = object(f, OBJECT_STATUS, sizeof(struct status));
	w->counters = object(f, OBJECT_COUNTERS, sizeof(struct counters));
	f->request_object = object(f, OBJECT_REQUEST, RING_LARGE_OFFSET + FIXTURE_LARGE_BYTES);
	f->completion_object = object(f, OBJECT_COMPLETION, completion_object_size());
	w->status = f->status;
	w->all_counters[0] = w->counters;
	assert_int_equal(ring_producer_create(&w->ring, f->request_object, FIXTURE_LARGE_BYTES, f->completion_object), ERR_OK);
	assert_int_equal(completion_reader_create(&w->completions, f->completion_object, &((struct ring_shared *)f->request_object)->completions_read), ERR_OK);
	assert_int_equal(ring_consumer_create(&f->requests, f->request_object, FIXTURE_LARGE_BYTES, f->completion_object), ERR_OK);
	assert_int_equal(completion_writer_create(&f->answers, f->completion_object, &((struct ring_shared *)f->request_object)->completions_read), ERR_OK);
	assert_int_equal(shm_create(&f->objects[OBJECT_CATALOGUE], "test", CATALOGUE_SIZE), ERR_OK);
	assert_int_equal(catalogue_writer_create(&f->catalogue, f->objects[OBJECT_CATALOGUE], FIXTURE_CATALOGUE), ERR_OK);
	assert_int_equal(catalogue_open(&f->reader, f->objects[OBJECT_CATALOGUE]), ERR_OK);
	f->status->state = LOGD_READY;
	f->status->heartbeat_ms = worker_now_us() / 1000;
	fixture_catalogue_came(f);
}

struct worker_fixture *worker_fixture_create(void)
{
	struct worker_fixture *f = calloc(1, sizeof *f);
	struct worker *w = &f->worker;
	int control[2];
	assert_non_null(f);
	snprintf(f->directory, sizeof f->directory, "%s", "/tmp/topics-worker-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
	make_settings(&w->inherit.common.settings);
	w->inherit.common.control_fd = control[0];
	f->supervisor = control[1];
	w->inherit.logd_wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	w->inherit.listen_fd = -1;
	w->inherit.workers = 1;
	w->inherit.slot = 3;
	w->inherit.incarnation = 7;
	w->inherit.started_ms = worker_now_us() / 1000;
	w->logging = (struct logging){ .program = "test", .level = LOG_LEVEL_ERROR };
	make_logd(f);
	w->base = event_base_new();
	assert_non_null(w->base);
	assert_int_equal(connections_create(&w->connections, w), ERR_OK);
	assert_int_equal(submissions_create(&w->submissions, w), ERR_OK);
	assert_int_equal(files_create(&w->files, w), ERR_OK);
	assert_int_equal(waiting_create(&w->waiting, w->base), ERR_OK);
	assert_int_equal(longpoll_create(&w->longpoll, w), ERR_OK);
	assert_int_equal(cold_create(&w->cold, w->base), ERR_OK);
	assert_int_equal(reader_create(&w->reader, w), ERR_OK);
	assert_int_equal(scanner_create(&w->scanner), ERR_OK);
	return f;
}

void worker_fixture_destroy(struct worker_fixture **out)
{
	struct worker_fixture *f = *out;
	struct worker *w = &f->worker;
	char path[128];
	connections_destroy(&w->connections);
	submissions_destroy(&w->submissions);
	longpoll_destroy(&w->longpoll);
	cold_destroy(&w->cold);
	files_destroy(&w->files);
	waiting_destroy(&w->waiting);
	scanner_destroy(&w->scanner);
	reader_destroy(&w->reader);
	ring_producer_destroy(&w->ring);
	completion_reader_destroy(&w->completions);
	event_base_free(w->base);
	ring_consumer_destroy(&f->requests);
	completion_writer_destroy(&f->answers);
	catalogue_writer_destroy(&f->catalogue);
	catalogue_close(&f->reader);
	munmap(f->status, sizeof(struct status));
	munmap(w->counters, sizeof(struct counters));
	munmap(f->request_object, RING_LARGE_OFFSET + FIXTURE_LARGE_BYTES);
	munmap(f->completion_object, completion_object_size());
	for (unsigned i = 0; i < 5; i++)
		close(f->objects[i]);
	close(w->inherit.common.control_fd);
	close(w->inherit.logd_wake_fd);
	close(f->supervisor);
	for (uint64_t i = 1; i <= f->files; i++) {
		snprintf(path, sizeof path, "%s/w%016llx", f->directory, (unsigned long long)(1000 + i));
		unlink(path);
	}
	assert_int_equal(rmdir(f->directory), 0);
	free(f);
	*out = NULL;
}

int worker_fixture_set_up(void **state)
{
	*state = worker_fixture_create();
	return 0;
}

int worker_fixture_tear_down(void **state)
{
	struct worker_fixture *f = *state;
	worker_fixture_destroy(&f);
	return 0;
}

void fixture_no_catalogue(struct worker_fixture *f)
{
	f->worker.catalogue = NULL;
	f->status->catalogue = 0;
}

void fixture_catalogue_current(struct worker_fixture *f, uint64_t number)
{
	f->status->catalogue = number;
}

void fixture_catalogue_came(struct worker_fixture *f)
{
	f->worker.catalogue = f->reader;
	f->status->catalogue = FIXTURE_CATALOGUE;
}

/* ---- connections ---- */

int fixture_connect(struct worker_fixture *f)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(connection_open(f->worker.connections, pair[0]), ERR_OK);
	return pair[1];
}

void fixture_rounds(struct worker_fixture *f)
{
	for (unsigned i = 0; i < 4; i++) {
		submissions_poll(f->worker.submissions);
		longpoll_run(f->worker.longpoll);
		waiting_run(f->worker.waiting);
		connections_flush(f->worker.connections);
		submissions_flush(f->worker.submissions);
		event_base_loop(f->worker.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	}
	connections_flush(f->worker.connections);
}

void fixture_send(struct worker_fixture *f, int client, const char *text)
{
	size_t length = strlen(text), sent = 0;
	while (sent < length) {
		ssize_t n = send(client, text + sent, length - sent, MSG_NOSIGNAL);
		if (n > 0)
			sent += (size_t)n;
		fixture_rounds(f);
	}
}

int fixture_request(struct worker_fixture *f, const char *method, const char *target, const char *headers, const char *body)
{
	int client = fixture_connect(f);
	char *text = NULL;
	if (body != NULL)
		assert_true(asprintf(&text, "%s %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s", method, target, headers, strlen(body), body) > 0);
	else
		assert_true(asprintf(&text, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, target, headers) > 0);
	fixture_send(f, client, text);
	free(text);
	return client;
}

/* Length of the answer that stands complete at the start of `bytes`, 0 if there is none. */
static size_t whole_answer(const char *bytes, size_t length, bool head_only, size_t *head)
{
	const char *end = memmem(bytes, length, "\r\n\r\n", 4), *field;
	size_t body = 0;
	if (end == NULL)
		return 0;
	*head = (size_t)(end + 4 - bytes);
	field = memmem(bytes, *head, "Content-Length: ", 16);
	if (field != NULL && !head_only)
		body = strtoul(field + 16, NULL, 10);
	return *head + body <= length ? *head + body : 0;
}

bool fixture_answered(struct worker_fixture *f, int client, bool head_only, struct http_answer *answer)
{
	for (unsigned i = 0; i < 64; i++) {
		size_t head = 0;
		fixture_rounds(f);
		ssize_t n = recv(client, answer->bytes, sizeof answer->bytes - 1, MSG_PEEK);
		size_t whole = n > 0 ? whole_answer(answer->bytes, (size_t)n, head_only, &head) : 0;
		if (whole == 0)
			continue;
		assert_int_equal(recv(client, answer->bytes, whole, 0), whole);
		answer->bytes[whole] = '\0';
		answer->length = whole;
		answer->body = answer->bytes + head;
		assert_int_equal(sscanf(answer->bytes, "HTTP/1.1 %d ", &answer->status), 1);
		return true;
	}
	return false;
}

void fixture_expect(struct worker_fixture *f, int client, int status, const char *text)
{
	struct http_answer *answer = malloc(sizeof *answer);
	assert_true(fixture_answered(f, client, false, answer));
	if (answer->status != status || strstr(answer->bytes, text) == NULL)
		fail_msg("wanted %d with %s, got %s", status, text, answer->bytes);
	free(answer);
	close(client);
	fixture_rounds(f);
}

bool answer_has(const struct http_answer *answer, const char *line)
{
	const char *at = strstr(answer->bytes, line);
	size_t length = strlen(line);
	return at != NULL && at < answer->body && at[-1] == '\n' && at[length] == '\r';
}

void fixture_catch(struct exchange *exchange)
{
	struct worker_fixture *f = fixture_of(exchange);
	assert_true(f->caught_count < FIXTURE_CAUGHT);
	f->caught[f->caught_count++] = exchange;
}

struct exchange *fixture_exchange(struct worker_fixture *f, const char *query, const char *body, int *client)
{
	char target[2048];
	void (*handler)(struct exchange *) = f->handler;
	unsigned before = f->caught_count;
	snprintf(target, sizeof target, "/healthz?%s", query);
	f->handler = fixture_catch;
	int fd = fixture_request(f, "GET", target, "", body);
	f->handler = handler;
	assert_int_equal(f->caught_count, before + 1);
	if (client != NULL)
		*client = fd;
	return f->caught[f->caught_count - 1];
}

void fixture_end(struct exchange *exchange)
{
	exchange_plain(exchange, 200, "text/plain");
}

void fixture_gone(struct exchange *exchange)
{
	exchange->cancel(exchange);
	exchange->parked = NULL;
	exchange->cancel = NULL;
}

/* ---- logd ---- */

bool fixture_take(struct worker_fixture *f, struct request *head)
{
	enum error error = ring_peek(f->requests, head, &f->taken);
	if (error == ERR_AGAIN)
		return false;
	assert_int_equal(error, ERR_OK);
	assert_true(request_size(head) - sizeof *head <= sizeof f->parts);
	assert_int_equal(ring_take(f->requests, head, f->parts), ERR_OK);
	return true;
}

void fixture_release(struct worker_fixture *f, uint64_t number)
{
	ring_release(f->requests, number);
}

void fixture_answer(struct worker_fixture *f, const struct completion *completion, const void *body)
{
	enum error error;
	assert_true(completion_room(f->answers, &error) > 0);
	assert_int_equal(error, ERR_OK);
	completion_put(f->answers, completion, body);
	completion_publish(f->answers);
}
