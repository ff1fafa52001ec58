#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* With real workers. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/completion.h"
#include "common/ring.h"
#include "common/shm.h"
#include "tests/child.h"
#include "tests/supervisor_fixture.h"

static void until_it_runs(struct supervisor_fixture *f, unsigned slot)
{
	struct child *child = &f->s.workers[slot].child;

	while (child->state != CHILD_RUNNING) {
		assert_true(child->control >= 0 && gets_readable(child->control));
		take_worker_messages(&f->s, &f->s.workers[slot]);
	}
}

static void end_it(struct supervisor_fixture *f, unsigned slot)
{
	kill(f->s.workers[slot].child.pid, SIGKILL);
	worker_died(&f->s, &f->s.workers[slot], supervisor_ended(f->s.workers[slot].child.pid));
}

/* The inode of the ring that logd is told of. */
static ino_t ring_told(struct supervisor_fixture *f, unsigned slot, uint64_t incarnation)
{
	int fds[CONTROL_FDS];
	struct stat facts;
	const struct control told = supervisor_told(f->logd, PARTY_LOGD, fds, 5);

	assert_int_equal(told.type, CTL_RING_NEW);
	assert_int_equal(told.slot, slot);
	assert_int_equal(told.incarnation, incarnation);
	assert_int_equal(fstat(fds[0], &facts), 0);
	for (unsigned i = 0; i < 5; i++)
		close(fds[i]);
	return facts.st_ino;
}

static void started_worker_says_ready_and_logd_has_its_ring(void **state)
{
	struct supervisor_fixture *f = *state;

	supervisor_play_logd(f);
	worker_start(&f->s, 0);
	assert_int_equal(f->s.workers[0].child.state, CHILD_STARTING);
	assert_int_not_equal(f->s.workers[0].incarnation, 0);
	ring_told(f, 0, f->s.workers[0].incarnation);
	until_it_runs(f, 0);
	assert_int_equal(f->s.workers[1].child.state, CHILD_ABSENT);
}

static void next_worker_of_a_slot_has_its_counters_and_rings_of_its_own(void **state)
{
	struct supervisor_fixture *f = *state;
	struct worker_child *worker = &f->s.workers[1];
	uint64_t first;
	ino_t ring;

	supervisor_play_logd(f);
	worker_start(&f->s, 1);
	first = worker->incarnation;
	ring = ring_told(f, 1, first);
	until_it_runs(f, 1);
	assert_int_equal(atomic_load(&worker->counters_map->ready), 1);
	atomic_store(&worker->counters_map->requests_total, 4711);
	atomic_store(&worker->counters_map->connections, 3);
	counters_touch(worker->counters_map, 5, 1234);
	end_it(f, 1);
	const struct control gone = supervisor_told(f->logd, PARTY_LOGD, NULL, 0);
	assert_int_equal(gone.type, CTL_RING_GONE);
	assert_int_equal(gone.slot, 1);
	assert_int_equal(gone.incarnation, first);
	assert_int_equal(worker->child.state, CHILD_ABSENT);
	assert_int_equal(worker->request & worker->request_readonly & worker->completion & worker->wake & worker->woken & worker->logd_wake & worker->child.control, -1);
	assert_int_equal(open_descriptors(), f->open + 2); /* the socket to logd is left */
	worker_start(&f->s, 1);
	assert_int_not_equal(worker->incarnation, first);
	assert_int_not_equal(ring_told(f, 1, worker->incarnation), ring);
	assert_int_equal(atomic_load(&worker->counters_map->connections), 0);
	assert_int_equal(atomic_load(&worker->counters_map->requests_total), 4711);
	assert_int_equal(counters_last_read((const struct counters *const[]){ worker->counters_map }, 1, 5), 1234);
	until_it_runs(f, 1);
}

/* logd may look at the ring of a dead worker until it has read that it is gone; a number in it that went back would be the worker's offence. */
static void ring_of_a_dead_worker_stands_still_when_the_next_one_of_its_slot_starts(void **state)
{
	struct supervisor_fixture *f = *state;
	struct worker_child *worker = &f->s.workers[1];
	int fds[CONTROL_FDS];
	void *request = NULL, *next = NULL;
	const size_t size = RING_LARGE_OFFSET + f->s.large_bytes;

	supervisor_play_logd(f);
	worker_start(&f->s, 1);
	supervisor_told(f->logd, PARTY_LOGD, fds, 5);
	until_it_runs(f, 1);
	assert_int_equal(shm_map(&request, worker->request, size, true), ERR_OK);
	struct ring_shared *shared = request, *fresh;
	atomic_store(&shared->completions_read, 99);
	end_it(f, 1);
	assert_int_equal(supervisor_told(f->logd, PARTY_LOGD, NULL, 0).type, CTL_RING_GONE);
	worker_start(&f->s, 1);
	ring_told(f, 1, worker->incarnation);
	until_it_runs(f, 1);
	assert_int_equal(atomic_load(&shared->completions_read), 99);
	assert_int_equal(shm_map(&next, worker->request, size, false), ERR_OK);
	fresh = next;
	assert_int_equal(atomic_load(&fresh->completions_read), 0);
	shm_unmap(&request, size);
	shm_unmap(&next, size);
	for (unsigned i = 0; i < 5; i++)
		close(fds[i]);
}

static void worker_without_a_logd_runs_and_its_ring_waits(void **state)
{
	struct supervisor_fixture *f = *state;

	worker_start(&f->s, 0);
	until_it_runs(f, 0);
	assert_true(f->s.workers[0].request >= 0);
	supervisor_play_logd(f);
	give_ring(&f->s, 0);
	ring_told(f, 0, f->s.workers[0].incarnation);
}

static void drained_worker_leaves_by_itself_with_status_0(void **state)
{
	struct supervisor_fixture *f = *state;
	struct child *child = &f->s.workers[0].child;

	worker_start(&f->s, 0);
	until_it_runs(f, 0);
	tell(&f->s, child, &(struct control){ .type = CTL_DRAIN, .a = 1000 }, NULL, 0);
	assert_int_equal(supervisor_ended(child->pid), 0);
	child->pid = 0;
}

static void worker_whose_supervisor_is_gone_leaves(void **state)
{
	struct supervisor_fixture *f = *state;
	struct child *child = &f->s.workers[0].child;
	int status;

	worker_start(&f->s, 0);
	until_it_runs(f, 0);
	close(child->control);
	child->control = -1;
	status = supervisor_ended(child->pid);
	assert_true(WIFEXITED(status));
	child->pid = 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, supervisor_setup, supervisor_teardown)
	const struct CMUnitTest tests[] = {
		TEST(started_worker_says_ready_and_logd_has_its_ring),
		TEST(next_worker_of_a_slot_has_its_counters_and_rings_of_its_own),
		TEST(ring_of_a_dead_worker_stands_still_when_the_next_one_of_its_slot_starts),
		TEST(worker_without_a_logd_runs_and_its_ring_waits),
		TEST(drained_worker_leaves_by_itself_with_status_0),
		TEST(worker_whose_supervisor_is_gone_leaves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
