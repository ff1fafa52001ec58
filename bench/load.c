/*
 * load: drives a server over loopback with many keep-alive connections, one request in flight on each, and prints one line of JSON with what it saw. One
 * thread, epoll, no library: it must cost as little as it can, since it shares the machine with what it measures.
 *
 * A connection sends its next request when it has its answer; with --rate a request is due each 1/rate s whatever the server does, goes to a connection that
 * is free, and its time counts from when it was due, so that a server that stands still is charged for all that it kept waiting.
 *
 * Bodies are made before the clock starts and are all different (a body that repeats flatters a scanner); a run cycles through them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { KEY_DIGITS = 16, VARIANTS = 256, ANSWER_ROOM = 16 << 20, BUCKETS = 64 * 64 };

struct options {
	int port;
	unsigned connections;
	unsigned topics;
	unsigned batch;      /* append: records a request */
	unsigned bytes;      /* of data in one record */
	unsigned limit;      /* diff: records a request */
	uint64_t head;       /* diff: cursors go round below it; 0: the cursor stands at `from` */
	uint64_t from;
	uint64_t requests;   /* end after so many; 0: by time */
	double seconds;
	double rate;         /* requests a second; 0: as fast as they are answered */
	const char *mode;    /* append or diff */
	const char *prefix;  /* of topic names */
	bool return_seqs;
	bool keys;           /* append: every request has an idempotency key of its own */
};

struct request {
	char *bytes;
	size_t length;
	char *key;           /* KEY_DIGITS of it are written anew for each use; NULL: none */
};

struct client {
	int fd;
	const struct request *request;
	size_t sent;
	uint64_t began_ns;
	size_t got;          /* bytes of the answer so far */
	size_t head_length;  /* 0: not complete yet */
	size_t body_length;
	char partial[1024];  /* what came of a head that is not complete */
	struct client *next; /* of those that are free */
};

struct run {
	struct options options;
	struct request *requests;
	size_t request_count;
	struct client *clients;
	uint64_t next;
	struct client *free; /* with a rate: clients without a request */
	uint64_t due_ns;     /* with a rate: of the next request */
	uint64_t answered;
	uint64_t refused;    /* answers that are not 2xx */
	uint64_t bytes_in;
	uint64_t histogram[BUCKETS];
	char *scratch;
	char first_refusal[512];
	bool stopping;
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Log-linear: 64 buckets to each power of two, so that a quantile is within 2 %. */
static unsigned bucket_of(uint64_t ns)
{
	if (ns < 64)
		return (unsigned)ns;
	unsigned power = 63 - (unsigned)__builtin_clzll(ns);
	unsigned index = (power - 5) * 64 + (unsigned)((ns >> (power - 6)) & 63);
	return index < BUCKETS ? index : BUCKETS - 1;
}

static double bucket_us(unsigned index)
{
	if (index < 64)
		return index / 1000.0;
	unsigned power = index / 64 + 5;
	return (double)((64 + (uint64_t)(index % 64)) << (power - 6)) / 1000.0;
}

static double quantile(const struct run *run, double q)
{
	uint64_t want = (uint64_t)((double)run->answered * q), seen = 0;
	for (unsigned i = 0; i < BUCKETS; i++) {
		seen += run->histogram[i];
		if (seen > want)
			return bucket_us(i);
	}
	return 0;
}

static uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* An order as people record them, padded to exactly `bytes` bytes of JSON. */
static size_t make_data(char *out, unsigned bytes, uint64_t *state)
{
	char text[128];
	int fixed = snprintf(text, sizeof text, "{\"sku\":\"%08" PRIX64 "\",\"qty\":%" PRIu64 ",\"total\":%" PRIu64 ",\"note\":\"",
	                     random_next(state) & 0xffffffffu, random_next(state) % 9 + 1, 1000 + random_next(state) % 9000);
	size_t length = (size_t)fixed;
	memcpy(out, text, length);
	while (length + 2 < bytes)
		out[length++] = "abcdefghijklmnopqrstuvwxyz 0123456789"[random_next(state) % 37];
	memcpy(out + length, "\"}", 2);
	return length + 2;
}

static void finish_request(struct request *request, const char *target, const char *body, size_t body_length, bool key)
{
	request->bytes = malloc(body_length + 512);
	if (request->bytes == NULL)
		die("memory");
	int head = snprintf(request->bytes, 512,
	                    "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n", target, body_length,
	                    key ? "Idempotency-Key: 0000000000000000\r\n" : "");
	if (key)
		request->key = strstr(request->bytes, "Idempotency-Key: ") + strlen("Idempotency-Key: ");
	memcpy(request->bytes + head, body, body_length);
	request->length = (size_t)head + body_length;
}

static void make_append(struct run *run)
{
	const struct options *o = &run->options;
	char *body = malloc((size_t)o->batch * (o->bytes + 160) + 64);
	uint64_t state = 42;
	run->request_count = VARIANTS > o->topics ? VARIANTS : o->topics;
	run->requests = calloc(run->request_count, sizeof *run->requests);
	if (body == NULL || run->requests == NULL)
		die("memory");
	for (size_t v = 0; v < run->request_count; v++) {
		size_t n = (size_t)sprintf(body, "{\"records\":[");
		for (unsigned i = 0; i < o->batch; i++) {
			n += (size_t)sprintf(body + n, "%s{\"data\":", i ? "," : "");
			n += make_data(body + n, o->bytes, &state);
			body[n++] = '}';
		}
		n += (size_t)sprintf(body + n, "]}");
		char target[300];
		snprintf(target, sizeof target, "/v0/topics/%s%zu%s", o->prefix, v % o->topics, o->return_seqs ? "" : "?return_seqs=false");
		finish_request(&run->requests[v], target, body, n, o->keys);
	}
	free(body);
}

static void make_diff(struct run *run)
{
	const struct options *o = &run->options;
	uint64_t state = 43;
	run->request_count = VARIANTS;
	run->requests = calloc(run->request_count, sizeof *run->requests);
	if (run->requests == NULL)
		die("memory");
	for (size_t v = 0; v < run->request_count; v++) {
		uint64_t from = o->from;
		if (o->head > o->limit)
			from = random_next(&state) % (o->head - o->limit);
		char body[128], target[300];
		int n = snprintf(body, sizeof body, "{\"from_seq\":%" PRIu64 ",\"limit\":%u}", from, o->limit);
		snprintf(target, sizeof target, "/v0/topics/%s%zu/diff", o->prefix, v % o->topics);
		finish_request(&run->requests[v], target, body, (size_t)n, false);
	}
}

static void push(struct run *run, struct client *client)
{
	while (client->sent < client->request->length) {
		ssize_t n = send(client->fd, client->request->bytes + client->sent, client->request->length - client->sent, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0)
			die("send");
		client->sent += (size_t)n;
	}
	(void)run;
}

static void begin(struct run *run, struct client *client, uint64_t now)
{
	/* Each connection walks the bodies at its own offset, so that topics and bodies mix. */
	client->request = &run->requests[run->next % run->request_count];
	/* A body is used again when 255 others have been: it has long left. */
	for (uint64_t i = KEY_DIGITS, n = run->next; client->request->key != NULL && i > 0; i--, n /= 10)
		client->request->key[i - 1] = (char)('0' + n % 10);
	run->next++;
	client->sent = 0;
	client->got = client->head_length = 0;
	client->began_ns = now;
	push(run, client);
}

/* The client has no request; with a rate it waits until one is due. */
static void release(struct run *run, struct client *client)
{
	if (run->options.rate == 0) {
		begin(run, client, now_ns());
		return;
	}
	client->next = run->free;
	run->free = client;
}

/* Begins what is due, as far as clients are free. Returns the nanoseconds until something is, 1 s at most. */
static uint64_t begin_due(struct run *run)
{
	uint64_t now = now_ns();
	while (run->free != NULL && run->due_ns <= now) {
		struct client *client = run->free;
		run->free = client->next;
		begin(run, client, run->due_ns);
		run->due_ns += (uint64_t)(1e9 / run->options.rate);
	}
	return run->free != NULL && run->due_ns - now < 1000000000u ? run->due_ns - now : 1000000000u;
}

/* Looks for the end of the head and the length in what has come of the answer. */
static bool parse_head(struct client *client, const char *bytes, size_t length)
{
	const char *end = memmem(bytes, length, "\r\n\r\n", 4);
	if (end == NULL)
		return false;
	const char *field = memmem(bytes, (size_t)(end - bytes), "Content-Length: ", 16);
	if (field == NULL) {
		fprintf(stderr, "load: an answer without Content-Length: %.*s\n", (int)(end - bytes), bytes);
		exit(1);
	}
	client->head_length = (size_t)(end - bytes) + 4;
	client->body_length = strtoul(field + 16, NULL, 10);
	return true;
}

static void answered(struct run *run, struct client *client, const char *bytes, size_t have)
{
	uint64_t took = now_ns() - client->began_ns;
	run->histogram[bucket_of(took)]++;
	run->answered++;
	if (have > 12 && bytes[9] != '2') {
		if (run->refused++ == 0)
			snprintf(run->first_refusal, sizeof run->first_refusal, "%.*s", (int)(have < 500 ? have : 500), bytes);
	}
	if (!run->stopping)
		release(run, client);
}

static void readable(struct run *run, struct client *client)
{
	if (client->head_length == 0 && client->got <= sizeof client->partial)
		memcpy(run->scratch, client->partial, client->got);
	for (;;) {
		/* What an answer holds is not looked at beyond its head, so every read may land in one shared place once the head is known. */
		size_t at = client->head_length ? 0 : client->got;
		ssize_t n = recv(client->fd, run->scratch + at, ANSWER_ROOM - at, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			if (client->head_length == 0 && client->got <= sizeof client->partial)
				memcpy(client->partial, run->scratch, client->got);
			return;
		}
		if (n <= 0)
			die("recv");
		client->got += (size_t)n;
		run->bytes_in += (uint64_t)n;
		if (client->head_length == 0 && !parse_head(client, run->scratch, client->got))
			continue;
		if (client->got < client->head_length + client->body_length)
			continue;
		answered(run, client, run->scratch, at == 0 && client->got == (size_t)n ? client->got : 0);
		return;
	}
}

static void connect_all(struct run *run, int epoll)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)run->options.port) };
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (unsigned i = 0; i < run->options.connections; i++) {
		struct client *client = &run->clients[i];
		int one = 1;
		client->fd = socket(AF_INET, SOCK_STREAM, 0);
		if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&address, sizeof address) != 0)
			die("connect");
		setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event) != 0)
			die("epoll_ctl");
	}
}

static void drive(struct run *run)
{
	int epoll = epoll_create1(0);
	struct epoll_event events[256];
	connect_all(run, epoll);
	uint64_t began = now_ns(), end = began + (uint64_t)(run->options.seconds * 1e9);
	run->due_ns = began;
	for (unsigned i = 0; i < run->options.connections; i++)
		release(run, &run->clients[i]);
	while (!run->stopping) {
		struct timespec wait = { .tv_nsec = (long)begin_due(run) };
		if (wait.tv_nsec == 1000000000)
			wait = (struct timespec){ .tv_sec = 1 };
		int n = epoll_pwait2(epoll, events, 256, &wait, NULL);
		for (int i = 0; i < n; i++) {
			struct client *client = events[i].data.ptr;
			if (client->sent < client->request->length)
				push(run, client);
			readable(run, client);
		}
		run->stopping = now_ns() >= end || (run->options.requests && run->answered >= run->options.requests);
	}
	double seconds = (double)(now_ns() - began) / 1e9;
	uint64_t each = strcmp(run->options.mode, "append") == 0 ? run->options.batch : run->options.limit;
	printf("{\"seconds\":%.3f,\"requests\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"requests_per_s\":%.1f,\"records_per_s\":%.1f,"
	       "\"bytes_in\":%" PRIu64 ",\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f}\n",
	       seconds, run->answered, run->refused, (double)run->answered / seconds, (double)(run->answered * each) / seconds, run->bytes_in,
	       quantile(run, 0.5), quantile(run, 0.99), quantile(run, 0.999));
	if (run->refused)
		fprintf(stderr, "load: %" PRIu64 " answers were refusals, the first: %s\n", run->refused, run->first_refusal);
	close(epoll);
}

static void usage(void)
{
	fprintf(stderr, "usage: load --port N --mode append|diff [--connections N] [--topics N] [--batch N] [--bytes N] [--limit N] [--head N]\n"
	                "            [--from SEQ] [--seconds S] [--rate R] [--requests N] [--prefix NAME] [--no-seqs] [--keys]\n");
	exit(2);
}

static void parse(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {
		{ "port", 1, NULL, 'p' },     { "mode", 1, NULL, 'm' },  { "connections", 1, NULL, 'c' }, { "topics", 1, NULL, 't' },
		{ "batch", 1, NULL, 'b' },    { "bytes", 1, NULL, 'y' }, { "limit", 1, NULL, 'l' },       { "head", 1, NULL, 'h' },
		{ "from", 1, NULL, 'f' },     { "seconds", 1, NULL, 's' }, { "requests", 1, NULL, 'n' },  { "prefix", 1, NULL, 'x' },
		{ "rate", 1, NULL, 'r' },     { "no-seqs", 0, NULL, 'q' },  { "keys", 0, NULL, 'k' },  { NULL, 0, NULL, 0 },
	};
	int c;
	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'p': o->port = atoi(optarg); break;
		case 'm': o->mode = optarg; break;
		case 'c': o->connections = (unsigned)atoi(optarg); break;
		case 't': o->topics = (unsigned)atoi(optarg); break;
		case 'b': o->batch = (unsigned)atoi(optarg); break;
		case 'y': o->bytes = (unsigned)atoi(optarg); break;
		case 'l': o->limit = (unsigned)atoi(optarg); break;
		case 'h': o->head = strtoull(optarg, NULL, 10); break;
		case 'f': o->from = strtoull(optarg, NULL, 10); break;
		case 's': o->seconds = atof(optarg); break;
		case 'r': o->rate = atof(optarg); break;
		case 'n': o->requests = strtoull(optarg, NULL, 10); break;
		case 'x': o->prefix = optarg; break;
		case 'q': o->return_seqs = false; break;
		case 'k': o->keys = true; break;
		default: usage();
		}
	}
	if (o->port == 0 || o->mode == NULL || o->connections == 0 || o->topics == 0 || o->bytes < 70)
		usage();
}

int main(int argc, char **argv)
{
	struct run run = { .options = { .connections = 1, .topics = 1, .batch = 1, .bytes = 100, .limit = 1000, .seconds = 2, .prefix = "bench-",
	                                .return_seqs = true } };
	parse(&run.options, argc, argv);
	run.clients = calloc(run.options.connections, sizeof *run.clients);
	run.scratch = malloc(ANSWER_ROOM);
	if (run.clients == NULL || run.scratch == NULL)
		die("memory");
	if (strcmp(run.options.mode, "append") == 0)
		make_append(&run);
	else
		make_diff(&run);
	drive(&run);
	return run.refused != 0;
}
