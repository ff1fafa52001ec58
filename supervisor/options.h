/* Settings from the environment and the command line: API.md §12. An option wins over its variable, a variable over the default. */
#ifndef TOPICS_OPTIONS_H
#define TOPICS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/settings.h"

struct options {
	struct settings settings;
	char host[256];
	uint64_t port;
	char data_dir[4096];
	char port_file[4096];  /* empty: none */
	char user[64];         /* to change to when started as root; empty: `topics`, else `nobody` */
	char api_keys[64];     /* only whether there are any; never more of them than its first bytes, which are not used */
	uint64_t allow_insecure_no_auth;
	bool check_only;       /* -t */
	bool help, version;
	char failpoint[256];
};

/*
 * Fills *options. ERR_INVALID_REQUEST: *message says what is wrong and what to do. `warn` is called for each unknown TOPICS_* variable.
 */
enum error options_read(struct options *options, int argc, char **argv, char **environment, void (*warn)(const char *variable), char *message, size_t room);

/* The text of --help. */
void options_help(void);

#endif
