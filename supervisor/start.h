/* What is done once, before any child runs: the data directory and its lock (I-7), the listening socket, the user to change to. */
#ifndef TOPICS_START_H
#define TOPICS_START_H

#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"
#include "supervisor/options.h"

struct ground {
	int data_dir_fd;
	int lock_fd;      /* held as long as this descriptor or its copy in logd is open */
	int listen_fd;
	char bound[300];  /* host:port */
	uid_t uid;        /* of the children */
	gid_t gid;
	int drop;         /* started as root */
};

/* Takes all of it; on failure *message says what is wrong and what to do, and nothing is left open. ERR_BUSY: another server holds the directory. */
enum error start_ground(struct ground *ground, const struct options *options, char *message, size_t room);

/* Writes host:port to the file in one step (TOPICS_PORT_FILE). */
enum error start_port_file(const char *path, const char *bound);

#endif
