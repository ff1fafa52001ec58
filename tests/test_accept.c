/* worker/accept.c: taking connections from the socket that all workers share. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "tests/worker_fixture.h"
#include "worker/accept.h"

struct ground {
	struct worker_fixture *f;
	struct counters *other;      /* a second worker's */
	struct sockaddr_in address;
	int clients[64];
	unsigned count;
};

static int set_up(void **state)
{
	struct ground *g = calloc(1, sizeof *g);
	socklen_t length = sizeof g->address;
	g->f = worker_fixture_create();
	g->other = calloc(1, sizeof *g->other);
	g->address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&g->address, length), 0);
	assert_int_equal(listen(fd, 128), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&g->address, &length), 0);
	g->f->worker.inherit.listen_fd = fd;
	g->f->worker.inherit.workers = 2;
	g->f->worker.all_counters[1] = g->other;
	assert_int_equal(accepting_create(&g->f->worker.accepting, &g->f->worker), ERR_OK);
	*state = g;
	return 0;
}

static int tear_down(void **state)
{
	struct ground *g = *state;
	while (g->count > 0)
		close(g->clients[--g->count]);
	accepting_destroy(&g->f->worker.accepting);
	assert_null(g->f->worker.accepting);
	accepting_destroy(&g->f->worker.accepting);
	close(g->f->worker.inherit.listen_fd);
	g->f->worker.inherit.workers = 1;
	worker_fixture_destroy(&g->f);
	free(g->other);
	free(g);
	return 0;
}

/* Clients that stand in the backlog when this returns. */
static void call(struct ground *g, unsigned n)
{
	while (n-- > 0) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&g->address, sizeof g->address), 0);
		g->clients[g->count++] = fd;
	}
}

static uint64_t open_now(const struct ground *g)
{
	return g->f->worker.counters->connections;
}

static uint64_t taken_in_one_round(struct ground *g)
{
	uint64_t before = open_now(g);
	event_base_loop(g->f->worker.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	return open_now(g) - before;
}

static void client_that_calls_is_taken_and_answered(void **state)
{
	struct ground *g = *state;
	struct http_answer *answer = malloc(sizeof *answer);
	call(g, 1);
	assert_int_equal(taken_in_one_round(g), 1);
	assert_int_equal(taken_in_one_round(g), 0);
	assert_int_equal(send(g->clients[0], "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n", 34, 0), 34);
	assert_true(fixture_answered(g->f, g->clients[0], false, answer));
	assert_int_equal(answer->status, 200);
	free(answer);
}

static void all_of_a_crowd_are_taken(void **state)
{
	struct ground *g = *state;
	g->other->connections = 100;
	call(g, 30);
	for (unsigned i = 0; i < 30; i++)
		taken_in_one_round(g);
	assert_int_equal(open_now(g), 30);
	assert_int_equal(g->f->worker.counters->connections_total, 30);
}

static void worker_above_its_share_looks_away_first_and_takes_what_still_waits_then(void **state)
{
	struct ground *g = *state;
	g->other->connections = 100;
	call(g, 12);
	for (unsigned i = 0; i < 12; i++)
		taken_in_one_round(g);
	assert_int_equal(open_now(g), 12);
	g->other->connections = 0;
	call(g, 2);
	assert_int_equal(taken_in_one_round(g), 0);
	for (unsigned i = 0; i < 10 && open_now(g) < 14; i++) /* nobody else takes them */
		event_base_loop(g->f->worker.base, EVLOOP_ONCE);
	assert_int_equal(open_now(g), 14);
	call(g, 2);
	g->other->connections = 100; /* as many as are its share now */
	assert_int_equal(taken_in_one_round(g), 2);
}

static void worker_that_looks_away_when_it_stops_takes_nobody_afterwards(void **state)
{
	struct ground *g = *state;
	g->other->connections = 100;
	call(g, 12);
	for (unsigned i = 0; i < 12; i++)
		taken_in_one_round(g);
	g->other->connections = 0;
	call(g, 1);
	assert_int_equal(taken_in_one_round(g), 0);
	accepting_stop(g->f->worker.accepting);
	event_base_loop(g->f->worker.base, EVLOOP_ONCE); /* the time away ends */
	assert_int_equal(taken_in_one_round(g), 0);
	assert_int_equal(open_now(g), 12);
}

/* Takes every descriptor that the process may still have. */
static unsigned exhaust(int *taken, unsigned room, struct rlimit *limit)
{
	unsigned n = 0;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, limit), 0);
	struct rlimit low = { .rlim_cur = 96, .rlim_max = limit->rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (n < room && (taken[n] = dup(0)) >= 0)
		n++;
	assert_int_equal(errno, EMFILE);
	return n;
}

static void without_descriptors_accepting_pauses_and_goes_on_with_the_tick(void **state)
{
	struct ground *g = *state;
	struct rlimit limit;
	int taken[128];
	call(g, 2);
	unsigned n = exhaust(taken, 128, &limit);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(taken_in_one_round(g), 0);
	assert_int_equal(g->f->worker.counters->accept_pauses, 1); /* it does not spin */
	accepting_tick(g->f->worker.accepting);
	assert_int_equal(taken_in_one_round(g), 0);
	assert_int_equal(g->f->worker.counters->accept_pauses, 2);
	while (n > 0)
		close(taken[--n]);
	assert_int_equal(taken_in_one_round(g), 0);
	accepting_tick(g->f->worker.accepting);
	taken_in_one_round(g);
	taken_in_one_round(g);
	assert_int_equal(open_now(g), 2);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void after_the_stop_nobody_is_taken_and_no_tick_changes_that(void **state)
{
	struct ground *g = *state;
	call(g, 1);
	taken_in_one_round(g);
	accepting_stop(g->f->worker.accepting);
	call(g, 2);
	accepting_tick(g->f->worker.accepting);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(taken_in_one_round(g), 0);
	assert_int_equal(open_now(g), 1);
	/* They are another worker's. */
	int fd = accept(g->f->worker.inherit.listen_fd, NULL, NULL);
	assert_true(fd >= 0);
	close(fd);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(client_that_calls_is_taken_and_answered),
		CASE(all_of_a_crowd_are_taken),
		CASE(worker_above_its_share_looks_away_first_and_takes_what_still_waits_then),
		CASE(worker_that_looks_away_when_it_stops_takes_nobody_afterwards),
		CASE(without_descriptors_accepting_pauses_and_goes_on_with_the_tick),
		CASE(after_the_stop_nobody_is_taken_and_no_tick_changes_that),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
