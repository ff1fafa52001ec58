/*
 * answer: baselines E and P of docs/bench.md. The worker's own connections, framing and sending, in two processes as the server has, but every request is answered with the same bytes: no
 * scanner, no rings, no logd, no log.
 *
 *     answer FILE PORT_FILE     FILE holds the body to answer with
 */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "worker/accept.h"
#include "worker/connection.h"
#include "worker/dispatch.h"
#include "worker/waiting.h"
#include "worker/worker.h"

enum { PROCESSES = 2, BODY_MAX = 16 << 20 };

static uint8_t *body;
static size_t body_length;

/* ---- what connection.c and exchange.c ask of the rest of a worker ---- */

void dispatch_head(struct exchange *exchange, const struct http_head *head, struct slice target)
{
	(void)exchange;
	(void)head;
	(void)target;
}

void dispatch_too_large(struct exchange *exchange)
{
	exchange_error(exchange, ERR_PAYLOAD_TOO_LARGE, NULL, "too large");
}

void dispatch_body(struct exchange *exchange)
{
	answer_bytes(exchange, body, body_length);
	exchange_plain(exchange, 200, "application/json");
}

bool dispatch_is_write(const struct exchange *exchange)
{
	(void)exchange;
	return true;
}

uint64_t worker_now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

enum error worker_catalogue(struct worker *worker, const struct catalogue **catalogue)
{
	(void)worker;
	(void)catalogue;
	return ERR_NOT_READY;
}

void waiting_for_catalogue(struct waiting *waiting, struct exchange *exchange, void (*handler)(struct exchange *exchange))
{
	(void)waiting;
	(void)exchange;
	(void)handler;
}

/* ---- the program ---- */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int listen_anywhere(const char *port_file)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof address;
	char temporary[4096];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, 1024) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &length) != 0)
		die("answer: listen");
	snprintf(temporary, sizeof temporary, "%s.new", port_file);
	FILE *file = fopen(temporary, "w");
	if (file == NULL || fprintf(file, "127.0.0.1:%d\n", ntohs(address.sin_port)) < 0 || fclose(file) != 0 || rename(temporary, port_file) != 0)
		die(port_file);
	return fd;
}

static void serve(int listen_fd)
{
	struct worker *worker = calloc(1, sizeof *worker);
	struct counters *counters = calloc(1, sizeof *counters);
	if (worker == NULL || counters == NULL)
		die("answer: memory");
	worker->counters = counters;
	worker->all_counters[0] = counters;
	worker->inherit.workers = 1;
	worker->inherit.listen_fd = listen_fd;
	worker->inherit.common.settings.max_body_bytes = 64 << 20;
	worker->inherit.common.settings.worker_budget_bytes = 256 << 20;
	worker->inherit.common.settings.idle_timeout_ms = 30000;
	worker->base = event_base_new();
	if (connections_create(&worker->connections, worker) != ERR_OK || accepting_create(&worker->accepting, worker) != ERR_OK)
		die("answer: set-up");
	for (;;) {
		connections_flush(worker->connections);
		event_base_loop(worker->base, EVLOOP_ONCE);
	}
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: answer FILE PORT_FILE\n");
		return 2;
	}
	FILE *file = fopen(argv[1], "rb");
	body = malloc(BODY_MAX);
	if (file == NULL || body == NULL)
		die(argv[1]);
	body_length = fread(body, 1, BODY_MAX, file);
	fclose(file);
	int fd = listen_anywhere(argv[2]);
	pid_t children[PROCESSES];
	for (int i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (children[i] == 0)
			serve(fd);
	}
	sigset_t stop;
	int signal_number;
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	sigwait(&stop, &signal_number);
	for (int i = 0; i < PROCESSES; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	return 0;
}
