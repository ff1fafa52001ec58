#include "supervisor/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/inherit.h"

enum kind { NUMBER, NUMBER_OR_NONE /* 0, also below `least`: no limit */, NUMBER32, SWITCH, SWITCH32, TEXT };

struct setting {
	const char *name;     /* of the option; the variable is TOPICS_ and the same in capitals */
	enum kind kind;
	size_t offset;        /* in struct options */
	size_t room;          /* TEXT */
	uint64_t least, most;
	uint64_t standard;
	const char *help;
};

#define IN(member) offsetof(struct options, member)
#define SET(member) offsetof(struct options, settings.member)
#define SIZE_MOST ((uint64_t)1 << 40)

static const struct setting table[] = {
	{ "host", TEXT, IN(host), sizeof((struct options *)0)->host, 0, 0, 0, "address to listen on (127.0.0.1)" },
	{ "port", NUMBER, IN(port), 0, 0, 65535, 4000, "port to listen on; 0 takes a free one" },
	{ "port-file", TEXT, IN(port_file), sizeof((struct options *)0)->port_file, 0, 0, 0, "file that receives the bound host:port" },
	{ "data-dir", TEXT, IN(data_dir), sizeof((struct options *)0)->data_dir, 0, 0, 0, "directory of the data (./topics-data); made if it is missing" },
	{ "workers", NUMBER32, SET(workers), 0, 1, WORKERS_MAX, 0, "worker processes (one per core, at least two)" },
	{ "user", TEXT, IN(user), sizeof((struct options *)0)->user, 0, 0, 0, "user of the children when started as root (topics, else nobody)" },
	{ "api-keys", TEXT, IN(api_keys), sizeof((struct options *)0)->api_keys, 0, 0, 0, NULL },
	{ "probe-auth", SWITCH32, SET(probe_auth), 0, 0, 1, 0, "whether health and ready want a key" },
	{ "allow-insecure-no-auth", SWITCH, IN(allow_insecure_no_auth), 0, 0, 1, 0, "listen beyond this machine although there are no keys" },
	{ "max-body-bytes", NUMBER, SET(max_body_bytes), 0, 1, (uint64_t)256 << 20, (uint64_t)64 << 20, "largest request body" },
	{ "max-batch-records", NUMBER, SET(max_batch_records), 0, 1, 1000000, 10000, "records of one write" },
	{ "max-record-bytes", NUMBER, SET(max_record_bytes), 0, 1, (uint64_t)256 << 20, 1 << 20, "data + meta of one record" },
	{ "max-meta-bytes", NUMBER, SET(max_meta_bytes), 0, 2, 16 << 20, 16 << 10, "meta of one record" },
	{ "max-tag-bytes", NUMBER, SET(max_tag_bytes), 0, 1, 65535, 256, "a tag" },
	{ "max-node-bytes", NUMBER, SET(max_node_bytes), 0, 1, 65535, 128, "a node" },
	{ "max-limit", NUMBER, SET(max_limit), 0, 1, 100000, 1000, "records of one read" },
	{ "max-claim", NUMBER, SET(max_claim), 0, 1, 100000, 1000, "jobs of one claim" },
	{ "max-watch-topics", NUMBER, SET(max_watch_topics), 0, 1, 65536, 256, "topics of one watch" },
	{ "max-topics", NUMBER, SET(max_topics), 0, 0, UINT64_MAX, 100000, "topics; 0: no limit" },
	{ "max-routers", NUMBER, SET(max_routers), 0, 0, UINT64_MAX, 10000, "routers; 0: no limit" },
	{ "max-watch-sessions", NUMBER, SET(max_watch_sessions), 0, 0, UINT64_MAX, 10000, "watch sessions; 0: no limit" },
	{ "max-sse-connections", NUMBER, SET(max_sse_connections), 0, 0, UINT64_MAX, 10000, "open streams; 0: no limit" },
	{ "max-sse-connections-per-key", NUMBER, SET(max_sse_connections_per_key), 0, 0, UINT64_MAX, 1000, "open streams of a key; 0: no limit" },
	{ "max-inflight-per-key", NUMBER, SET(max_inflight_per_key), 0, 0, UINT64_MAX, 1000, "requests of a key being answered; 0: no limit" },
	{ "max-total-bytes", NUMBER, SET(max_total_bytes), 0, 0, UINT64_MAX, 0, "live payload of all topics; 0: no limit" },
	{ "sync-interval-ms", NUMBER, SET(sync_interval_ms), 0, 1, 3600000, 100, "bound on the unsynced tail of `disk` topics" },
	{ "ephemeral-max-bytes", NUMBER_OR_NONE, SET(ephemeral_max_bytes), 0, 1 << 20, SIZE_MOST, 0, "all `ephemeral` records (a quarter of memory); 0: no limit" },
	{ "busy-poll-us", NUMBER, SET(busy_poll_us), 0, 0, 10000, 100, "how long a busy process looks for work before it sleeps; 0: never" },
	{ "drain-ms", NUMBER, SET(drain_ms), 0, 100, 3600000, 5000, "how long a stop may take" },
	{ "idle-timeout-ms", NUMBER32, SET(idle_timeout_ms), 0, 100, 3600000, 30000, "a client that keeps us waiting for a request, or does not read its answer" },
	{ "worker-budget-bytes", NUMBER, SET(worker_budget_bytes), 0, 64 << 10, SIZE_MOST, (uint64_t)256 << 20, "unfinished bodies and unsent answers of one worker" },
	{ "segment-max-bytes", NUMBER, SET(segment_max_bytes), 0, 4096, (uint64_t)16 << 30, 64 << 20, "size of a file of the log" },
};
enum { SETTINGS = sizeof table / sizeof table[0] };

static void variable_name(const struct setting *setting, char *out, size_t room)
{
	size_t n = (size_t)snprintf(out, room, "TOPICS_");
	for (const char *at = setting->name; *at != '\0' && n + 1 < room; at++)
		out[n++] = *at == '-' ? '_' : *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
	out[n] = '\0';
}

static bool number(const char *text, uint64_t *value)
{
	uint64_t n = 0;
	for (const char *at = text; *at != '\0'; at++)
		if (*at < '0' || *at > '9' || __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(*at - '0'), &n))
			return false;
	*value = n;
	return *text != '\0';
}

static bool truth(const char *text, uint64_t *value)
{
	*value = strcmp(text, "1") == 0 || strcmp(text, "true") == 0;
	return *value || strcmp(text, "0") == 0 || strcmp(text, "false") == 0;
}

static enum error take(struct options *options, const struct setting *s, const char *from, const char *text, char *message, size_t room)
{
	void *place = (char *)options + s->offset;
	uint64_t value = 0;
	if (s->kind == TEXT) {
		if (strlen(text) >= s->room && s->help != NULL) {
			snprintf(message, room, "%s is too long", from);
			return ERR_INVALID_REQUEST;
		}
		snprintf(place, s->room, "%s", text);
		return ERR_OK;
	}
	bool is_switch = s->kind == SWITCH || s->kind == SWITCH32;
	if (is_switch && !truth(text, &value)) {
		snprintf(message, room, "%s must be 1, true, 0 or false, not '%s'", from, text);
		return ERR_INVALID_REQUEST;
	}
	bool may_be_none = s->kind == NUMBER_OR_NONE;
	if (!is_switch && (!number(text, &value) || (value < s->least && !(may_be_none && value == 0)) || value > s->most)) {
		snprintf(message, room, "%s must be %sa plain number between %" PRIu64 " and %" PRIu64 ", not '%s'", from, may_be_none ? "0 (no limit) or " : "", s->least, s->most, text);
		return ERR_INVALID_REQUEST;
	}
	if (s->kind == NUMBER32 || s->kind == SWITCH32)
		*(uint32_t *)place = (uint32_t)value;
	else
		*(uint64_t *)place = value;
	return ERR_OK;
}

static void defaults(struct options *o)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN), pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	*o = (struct options){ 0 };
	for (unsigned i = 0; i < SETTINGS; i++) {
		void *place = (char *)o + table[i].offset;
		if (table[i].kind == NUMBER || table[i].kind == NUMBER_OR_NONE || table[i].kind == SWITCH)
			*(uint64_t *)place = table[i].standard;
		else if (table[i].kind != TEXT)
			*(uint32_t *)place = (uint32_t)table[i].standard;
	}
	snprintf(o->host, sizeof o->host, "127.0.0.1");
	snprintf(o->data_dir, sizeof o->data_dir, "./topics-data");
	o->settings.workers = cores < 2 ? 2 : cores > WORKERS_MAX ? WORKERS_MAX : (uint32_t)cores;
	o->settings.ephemeral_max_bytes = pages > 0 ? (uint64_t)pages * (uint64_t)page / 4 : (uint64_t)1 << 30;
	if (cores < 2)
		o->settings.busy_poll_us = 0; /* whoever is waited for needs the one core */
	o->settings.commit_deadline_ms = 5000;
}

static enum error from_environment(struct options *o, char **environment, void (*warn)(const char *), char *message, size_t room)
{
	for (char **at = environment; *at != NULL; at++) {
		char name[64];
		const char *equals = strchr(*at, '=');
		if (strncmp(*at, "TOPICS_", 7) != 0 || equals == NULL)
			continue;
		bool known = false;
		for (unsigned i = 0; i < SETTINGS && !known; i++) {
			variable_name(&table[i], name, sizeof name);
			if (strlen(name) != (size_t)(equals - *at) || memcmp(name, *at, strlen(name)) != 0)
				continue;
			known = true;
			enum error error = take(o, &table[i], name, equals + 1, message, room);
			if (error != ERR_OK)
				return error;
		}
#ifdef ENABLE_FAILPOINTS
		if (strncmp(*at, "TOPICS_FAILPOINT=", 17) == 0) {
			snprintf(o->failpoint, sizeof o->failpoint, "%s", equals + 1);
			known = true;
		}
#endif
		snprintf(name, sizeof name, "%.*s", (int)(equals - *at), *at);
		if (!known)
			warn(name);
	}
	return ERR_OK;
}

static enum error from_argument(struct options *o, char **argv, int argc, int *at, char *message, size_t room)
{
	const char *argument = argv[*at];
	if (strcmp(argument, "-t") == 0)
		o->check_only = true;
	else if (strcmp(argument, "-h") == 0 || strcmp(argument, "--help") == 0)
		o->help = true;
	else if (strcmp(argument, "-V") == 0 || strcmp(argument, "--version") == 0)
		o->version = true;
	else {
		const char *name = strncmp(argument, "--", 2) == 0 ? argument + 2 : "", *equals = strchr(name, '=');
		size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
		for (unsigned i = 0; i < SETTINGS; i++) {
			if (strlen(table[i].name) != length || length == 0 || memcmp(table[i].name, name, length) != 0)
				continue;
			if (equals == NULL && *at + 1 == argc) {
				snprintf(message, room, "option --%s wants a value", table[i].name);
				return ERR_INVALID_REQUEST;
			}
			char from[64];
			snprintf(from, sizeof from, "option --%s", table[i].name);
			return take(o, &table[i], from, equals != NULL ? equals + 1 : argv[++*at], message, room);
		}
		snprintf(message, room, "there is no option '%s'; topicsd --help lists them", argument);
		return ERR_INVALID_REQUEST;
	}
	return ERR_OK;
}

static bool is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;
	if (strcmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static enum error check(const struct options *o, char *message, size_t room)
{
	if (o->api_keys[0] != '\0') {
		snprintf(message, room, "TOPICS_API_KEYS is set, but keys are not part of this version: it would serve everybody. Unset it, or use a version with keys");
		return ERR_INVALID_REQUEST;
	}
	if (!is_loopback(o->host) && !o->allow_insecure_no_auth) {
		snprintf(message, room, "listening on '%s' without keys would open the data to everybody who reaches it. Bind to 127.0.0.1, or set "
		         "TOPICS_ALLOW_INSECURE_NO_AUTH=1 if that is meant", o->host);
		return ERR_INVALID_REQUEST;
	}
	if (o->data_dir[0] == '\0') {
		snprintf(message, room, "the data directory's name is empty; set TOPICS_DATA_DIR or --data-dir");
		return ERR_INVALID_REQUEST;
	}
	return ERR_OK;
}

enum error options_read(struct options *options, int argc, char **argv, char **environment, void (*warn)(const char *variable), char *message, size_t room)
{
	defaults(options);
	enum error error = from_environment(options, environment, warn, message, room);
	for (int at = 1; at < argc && error == ERR_OK; at++)
		error = from_argument(options, argv, argc, &at, message, room);
	if (error == ERR_OK && !options->help && !options->version)
		error = check(options, message, room);
	return error;
}

void options_help(void)
{
	char name[64];
	printf("usage: topicsd [options]\n\n"
	       "A persistent event log over HTTP. Stays in the foreground; SIGTERM or Ctrl-C stops it in order.\n\n"
	       "  -t                  check the settings and leave\n"
	       "  -h, --help          this text\n"
	       "  -V, --version       the version\n\n"
	       "Every setting is an option or an environment variable; the option wins.\n\n");
	for (unsigned i = 0; i < SETTINGS; i++) {
		if (table[i].help == NULL)
			continue;
		variable_name(&table[i], name, sizeof name);
		printf("  --%s=%s\n      %s\n      %s", table[i].name, table[i].kind == TEXT ? "TEXT" : "N", name, table[i].help);
		if (table[i].kind != TEXT && table[i].standard != 0)
			printf(" (%" PRIu64 ")", table[i].standard);
		printf("\n");
	}
	printf("\nExit status: 0 after an orderly stop; 1 when it could not start or had to give up; 2 for a setting that cannot be accepted.\n");
}
