/*
 * A worker that serves like any other until it is told to turn on the rest: started by the real supervisor in the place of topics-worker, not confined, with a second thread
 * that reads the file `attack` beside the program. "PID KIND" there makes the process PID do what the table below says, once; what it found goes into `attack.PID`.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/control.h"
#include "common/counters.h"
#include "common/inherit.h"
#include "common/ring.h"
#include "common/wake.h"
#include "tests/make_request.h"
#include "worker/run.h"

enum { LOOK_NS = 5000000 };

struct attacker {
	struct inherit_worker inherit;
	uint8_t *request;              /* the whole request object */
	struct ring_shared *shared;
	uint64_t random;
	char folder[400];
	FILE *report;
	pthread_t serving;             /* the thread that is the worker */
};

static uint64_t draw(struct attacker *a)
{
	a->random ^= a->random << 13;
	a->random ^= a->random >> 7;
	a->random ^= a->random << 17;
	return a->random;
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
}

static void wake(const struct attacker *a)
{
	wake_write(a->inherit.logd_wake_fd);
}

/* Stops the serving thread wherever it is, so that it does not mend what the attack breaks. */
static void on_freeze(int signal_number)
{
	(void)signal_number;
	for (;;)
		pause();
}

static void freeze(const struct attacker *a)
{
	pthread_kill(a->serving, SIGUSR1);
	nap();
}

/* A request at the ring's tail, published as it stands; whatever its head says about itself, the ring says that it is `length` long. */
static void publish(struct attacker *a, const void *entry, size_t size, uint64_t length)
{
	uint64_t tail = atomic_load(&a->shared->tail), offset = tail % RING_BYTES;
	if (offset + size > RING_BYTES)
		offset = 0; /* it is broken anyway */
	memcpy(a->request + RING_DATA_OFFSET + offset, entry, size);
	atomic_fetch_add(&a->shared->published, 1);
	atomic_store(&a->shared->tail, tail + length);
	wake(a);
}

/* An append to `topic` that is right in every way. */
static size_t good(uint8_t *entry, uint64_t id, const char *topic)
{
	uint8_t record[256];
	struct request head = { .type = REQUEST_APPEND, .id = id, .name_length = (uint32_t)strlen(topic), .count = 1, .payload = 4 };
	head.body_length = make_record(record, "true", 4);
	make_request(entry, &head, topic, NULL, NULL, NULL, record);
	return head.length;
}

static void noise(struct attacker *a)
{
	freeze(a);
	for (size_t at = 0; at < RING_LARGE_OFFSET; at += 8) {
		uint64_t value = draw(a);
		memcpy(a->request + at, &value, sizeof value);
	}
	wake(a);
}

/* A head with one field that does not fit: `field` is its offset, `value` what stands there. */
static void bad_field(struct attacker *a, size_t field, uint32_t value)
{
	uint8_t entry[1024];
	size_t size = good(entry, 1 << 20, "hostile");
	memcpy(entry + field, &value, sizeof value);
	freeze(a);
	publish(a, entry, size, size);
}

static void bad_length(struct attacker *a) { bad_field(a, offsetof(struct request, length), UINT32_MAX - 7); }
static void short_length(struct attacker *a) { bad_field(a, offsetof(struct request, length), 8); }
static void bad_body(struct attacker *a) { bad_field(a, offsetof(struct request, body_length), UINT32_MAX - 7); }
static void bad_count(struct attacker *a) { bad_field(a, offsetof(struct request, count), UINT32_MAX); }
static void bad_name(struct attacker *a) { bad_field(a, offsetof(struct request, name_length), 4096); }

/* What a worker has refused already, and logd therefore takes from no worker: more than a limit that is a setting, a name that is none. */
static void past_limit(struct attacker *a)
{
	uint8_t record[256], entry[1024];
	char node[512];
	struct request head = { .type = REQUEST_APPEND, .flags = REQUEST_HAS_NODE, .id = 1 << 20, .name_length = 7, .count = 1, .payload = 4 };
	memset(node, 'n', sizeof node);
	head.node_length = (uint32_t)a->inherit.common.settings.max_node_bytes + 1;
	head.body_length = make_record(record, "true", 4);
	make_request(entry, &head, "hostile", NULL, NULL, node, record);
	freeze(a);
	publish(a, entry, head.length, head.length);
}

static void forged_name(struct attacker *a)
{
	uint8_t entry[1024];
	size_t size = good(entry, 1 << 20, "../hostile");
	freeze(a);
	publish(a, entry, size, size);
}

static void tail_back(struct attacker *a)
{
	freeze(a);
	atomic_fetch_sub(&a->shared->tail, 4096);
	wake(a);
}

static void tail_ahead(struct attacker *a)
{
	freeze(a);
	atomic_fetch_add(&a->shared->tail, (uint64_t)1 << 40);
	wake(a);
}

static void published_ahead(struct attacker *a)
{
	freeze(a);
	atomic_fetch_add(&a->shared->published, 1000000);
	atomic_fetch_add(&a->shared->tail, 128);
	wake(a);
}

/* Says that it has read answers which were never written. */
static void answers_ahead(struct attacker *a)
{
	uint8_t entry[1024];
	size_t size = good(entry, 1 << 20, "hostile");
	freeze(a);
	atomic_fetch_add(&a->shared->completions_read, 1000000);
	publish(a, entry, size, size);
}

/* Fills the ring with good requests and never reads an answer, until it is ended. */
static void flood(struct attacker *a)
{
	const uint8_t *completion = mmap(NULL, 1 << 16, PROT_READ, MAP_SHARED, a->inherit.completion_fd, 0);
	struct ring_producer *producer = NULL;
	freeze(a);
	if (ring_producer_create(&producer, a->request, 0, (const struct ring_release *)completion) != ERR_OK)
		return;
	fprintf(a->report, "flooding\n");
	fflush(a->report);
	for (uint64_t id = 1 << 20;; id++) {
		uint8_t entry[1024];
		size_t size = good(entry, id, "flood");
		void *place;
		while ((place = ring_reserve(producer, size)) == NULL)
			wake(a);
		memcpy(place, entry, size);
		ring_publish(producer, size, false);
		wake(a);
	}
}

static void try_size(struct attacker *a, const char *what, int fd)
{
	for (int grow = 0; grow < 2; grow++)
		fprintf(a->report, "%s %s: %s\n", grow ? "grow" : "shrink", what, ftruncate(fd, grow ? (off_t)1 << 40 : 0) == 0 ? "done" : strerrorname_np(errno));
}

static void try_write(struct attacker *a, const char *what, int fd)
{
	void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fprintf(a->report, "write %s: %s\n", what, map != MAP_FAILED ? "done" : strerrorname_np(errno));
}

/* What the descriptors that it has would let it do. */
static void resize(struct attacker *a)
{
	const struct inherit_worker *i = &a->inherit;
	try_size(a, "request", i->request_fd);
	try_size(a, "completion", i->completion_fd);
	try_size(a, "counters", i->counters_fd);
	try_size(a, "status", i->common.status_fd);
	try_size(a, "feed", i->common.feed_fd);
	try_write(a, "completion", i->completion_fd);
	try_write(a, "status", i->common.status_fd);
	try_write(a, "feed", i->common.feed_fd);
	for (unsigned slot = 0; slot < i->workers; slot++)
		try_write(a, "others", i->all_counters_fd[slot]);
}

/* Speaks to the supervisor as if it were logd: "replace that other worker". */
static void forged_message(struct attacker *a)
{
	const struct control message = { .version = CONTROL_VERSION, .type = CTL_RING_BROKEN, .slot = 1 - a->inherit.slot, .incarnation = a->inherit.incarnation };
	control_send(a->inherit.common.control_fd, &message, NULL, 0);
}

/* Takes the wake-ups of the log process that are within its reach, so that the log process finds none where it was told of one. */
static void take_wakes(struct attacker *a)
{
	int fd = a->inherit.logd_wake_fd;
	uint64_t count;
	fcntl(fd, F_SETFL, 0); /* whoever reads too late waits */
	fprintf(a->report, "taking\n");
	fflush(a->report);
	while (read(fd, &count, sizeof count) > 0)
		;
}

/* Fills what it is woken by, so that who wakes it waits. */
static void full_wake(struct attacker *a)
{
	struct counters *counters = mmap(NULL, sizeof *counters, PROT_READ | PROT_WRITE, MAP_SHARED, a->inherit.counters_fd, 0);
	const uint64_t full = UINT64_MAX - 1;
	uint64_t taken;
	uint8_t entry[1024];
	size_t size = good(entry, 1 << 20, "hostile");
	freeze(a);
	while (write(a->inherit.wake_fd, &full, sizeof full) < 0 && errno == EAGAIN && read(a->inherit.wake_fd, &taken, sizeof taken) > 0)
		;
	fcntl(a->inherit.wake_fd, F_SETFL, 0);
	atomic_store(&counters->sleeping, 1);
	publish(a, entry, size, size);
	fprintf(a->report, "full\n");
	fflush(a->report);
}

/* A process that has the ring's mapping lives on when the worker is gone, and goes on publishing. */
static void late_writes(struct attacker *a)
{
	if (fork() != 0) {
		kill(getpid(), SIGKILL);
		return;
	}
	for (long fd = 3; fd < 1024; fd++)
		if (fd != a->inherit.logd_wake_fd && fd != fileno(a->report))
			close((int)fd);
	for (unsigned i = 0; i < 200; i++) {
		uint8_t entry[1024];
		size_t size = good(entry, (1 << 20) + i, "late");
		publish(a, entry, size, size);
		nap();
	}
	fprintf(a->report, "late writes done\n");
	fflush(a->report);
	_exit(0);
}

static const struct { const char *kind; void (*attack)(struct attacker *a); } attacks[] = {
	{ "noise", noise },
	{ "bad-length", bad_length },
	{ "short-length", short_length },
	{ "bad-body", bad_body },
	{ "bad-count", bad_count },
	{ "bad-name", bad_name },
	{ "past-limit", past_limit },
	{ "forged-name", forged_name },
	{ "tail-back", tail_back },
	{ "tail-ahead", tail_ahead },
	{ "published-ahead", published_ahead },
	{ "answers-ahead", answers_ahead },
	{ "flood", flood },
	{ "resize", resize },
	{ "forged-message", forged_message },
	{ "late-writes", late_writes },
	{ "take-wakes", take_wakes },
	{ "full-wake", full_wake },
};

static void begin(struct attacker *a, const char *kind)
{
	char path[500];
	snprintf(path, sizeof path, "%s/attack.%d", a->folder, (int)getpid());
	a->report = fopen(path, "w");
	for (size_t i = 0; a->report != NULL && i < sizeof attacks / sizeof attacks[0]; i++)
		if (strcmp(attacks[i].kind, kind) == 0)
			attacks[i].attack(a);
	if (a->report != NULL) {
		fprintf(a->report, "end\n");
		fclose(a->report);
	}
}

static void *attack_main(void *argument)
{
	struct attacker *a = argument;
	char path[500], kind[32];
	snprintf(path, sizeof path, "%s/attack", a->folder);
	for (;; nap()) {
		int pid = 0;
		FILE *file = fopen(path, "r");
		int fields = file != NULL ? fscanf(file, "%d %31s", &pid, kind) : 0;
		if (file != NULL)
			fclose(file);
		if (fields != 2 || pid != (int)getpid())
			continue;
		begin(a, kind);
		return NULL;
	}
}

int main(void)
{
	struct attacker *a = calloc(1, sizeof *a);
	pthread_t thread;
	if (a == NULL || inherit_read(&a->inherit, sizeof a->inherit) != ERR_OK)
		return 1;
	ssize_t n = readlink("/proc/self/exe", a->folder, sizeof a->folder - 1);
	char *slash = n > 0 ? strrchr(a->folder, '/') : NULL;
	a->request = mmap(NULL, RING_LARGE_OFFSET, PROT_READ | PROT_WRITE, MAP_SHARED, a->inherit.request_fd, 0);
	if (slash == NULL || a->request == MAP_FAILED)
		return 1;
	*slash = '\0';
	a->shared = (struct ring_shared *)a->request;
	a->random = a->inherit.incarnation | 1;
	a->serving = pthread_self();
	signal(SIGUSR1, on_freeze);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	if (pthread_create(&thread, NULL, attack_main, a) != 0)
		return 1;
	return worker_run(&a->inherit);
}
