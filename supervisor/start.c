#include "supervisor/start.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_WAIT_MS = 2000, LOCK_STEP_MS = 20, BACKLOG = 4096 };

/* mkdir -p */
static int make_directory(const char *path)
{
	char copy[4096];
	snprintf(copy, sizeof copy, "%s", path);
	for (char *at = copy + 1; *at != '\0'; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		if (mkdir(copy, 0755) != 0 && errno != EEXIST)
			return errno;
		*at = '/';
	}
	return mkdir(copy, 0750) != 0 && errno != EEXIST ? errno : 0;
}

static enum error find_user(struct ground *ground, const struct options *options, char *message, size_t room)
{
	const char *name = options->user[0] != '\0' ? options->user : "topics";
	ground->uid = getuid();
	ground->gid = getgid();
	ground->drop = geteuid() == 0;
	if (!ground->drop)
		return ERR_OK;
	const struct passwd *user = getpwnam(name);
	if (user == NULL && options->user[0] == '\0')
		user = getpwnam(name = "nobody");
	if (user == NULL) {
		snprintf(message, room, "there is no user '%s' to change to; make it, or name another one with --user", name);
		return ERR_INVALID_REQUEST;
	}
	ground->uid = user->pw_uid;
	ground->gid = user->pw_gid;
	return ERR_OK;
}

/* logd, as its own user, owns the directory and what is in it. */
static int give_away(const struct ground *ground)
{
	if (!ground->drop)
		return 0;
	int fd = openat(ground->data_dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int error = fchown(ground->data_dir_fd, ground->uid, ground->gid) != 0 ? errno : 0;
	struct dirent *entry;
	if (dir == NULL)
		return errno;
	while (error == 0 && (entry = readdir(dir)) != NULL) {
		struct stat facts;
		if (fstatat(ground->data_dir_fd, entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(facts.st_mode) && facts.st_uid != ground->uid &&
		    fchownat(ground->data_dir_fd, entry->d_name, ground->uid, ground->gid, AT_SYMLINK_NOFOLLOW) != 0)
			error = errno;
	}
	closedir(dir);
	return error;
}

static void pause_ms(long ms)
{
	const struct timespec step = { .tv_nsec = ms * 1000000 };
	nanosleep(&step, NULL);
}

static uint64_t monotonic_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* One writer to a directory (I-7). A holder that is leaving is waited for. */
static enum error take_lock(struct ground *ground, const char *path, char *message, size_t room)
{
	char holder[32] = "";
	ground->lock_fd = openat(ground->data_dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (ground->lock_fd < 0) {
		snprintf(message, room, "%s/lock cannot be opened: %s", path, strerror(errno));
		return ERR_IO;
	}
	uint64_t until = monotonic_ms() + LOCK_WAIT_MS - LOCK_STEP_MS;
	int held = flock(ground->lock_fd, LOCK_EX | LOCK_NB);
	while (held != 0 && errno == EWOULDBLOCK && monotonic_ms() < until) {
		pause_ms(LOCK_STEP_MS);
		held = flock(ground->lock_fd, LOCK_EX | LOCK_NB);
	}
	if (held != 0) {
		ssize_t n = pread(ground->lock_fd, holder, sizeof holder - 1, 0);
		holder[n > 0 ? strcspn(holder, "\n") : 0] = '\0';
		snprintf(message, room, "another server (process %s) holds the data directory %s; stop it, or use another directory", holder[0] ? holder : "?", path);
		return ERR_BUSY;
	}
	int n = snprintf(holder, sizeof holder, "%d\n", (int)getpid());
	if (ftruncate(ground->lock_fd, 0) != 0 || pwrite(ground->lock_fd, holder, (size_t)n, 0) != n) {
		snprintf(message, room, "%s/lock cannot be written: %s", path, strerror(errno));
		return ERR_IO;
	}
	return ERR_OK;
}

static enum error take_directory(struct ground *ground, const struct options *options, char *message, size_t room)
{
	const char *path = options->data_dir;
	int error = make_directory(path);
	if (error == 0) {
		ground->data_dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		error = ground->data_dir_fd < 0 ? errno : 0;
	}
	if (error == 0 && faccessat(ground->data_dir_fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0)
		error = errno;
	if (error != 0) {
		snprintf(message, room, "the data directory %s cannot be used: %s. Name another one with --data-dir, or mend its rights", path, strerror(error));
		return ERR_IO;
	}
	enum error result = take_lock(ground, path, message, room);
	if (result == ERR_OK && (error = give_away(ground)) != 0) {
		snprintf(message, room, "what is in %s cannot be given to the children's user: %s", path, strerror(error));
		result = ERR_IO;
	}
	return result;
}

static void name_bound(struct ground *ground)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof address;
	char host[128] = "?", port[16] = "?";
	if (getsockname(ground->listen_fd, (struct sockaddr *)&address, &length) == 0)
		getnameinfo((struct sockaddr *)&address, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(ground->bound, sizeof ground->bound, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

static enum error listen_on(struct ground *ground, const struct options *options, char *message, size_t room)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	char port[8];
	int one = 1;
	snprintf(port, sizeof port, "%" PRIu64, options->port);
	int failed = getaddrinfo(options->host, port, &hints, &found);
	if (failed != 0) {
		snprintf(message, room, "the address '%s' is not known: %s", options->host, gai_strerror(failed));
		return ERR_INVALID_REQUEST;
	}
	ground->listen_fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (ground->listen_fd < 0 || setsockopt(ground->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
	    bind(ground->listen_fd, found->ai_addr, found->ai_addrlen) != 0 || listen(ground->listen_fd, BACKLOG) != 0) {
		snprintf(message, room, "cannot listen on %s:%s: %s. Is another server there? --port names another port", options->host, port, strerror(errno));
		freeaddrinfo(found);
		return ERR_IO;
	}
	freeaddrinfo(found);
	name_bound(ground);
	return ERR_OK;
}

enum error start_ground(struct ground *ground, const struct options *options, char *message, size_t room)
{
	*ground = (struct ground){ .data_dir_fd = -1, .lock_fd = -1, .listen_fd = -1 };
	enum error error = find_user(ground, options, message, room);
	if (error == ERR_OK)
		error = take_directory(ground, options, message, room);
	if (error == ERR_OK)
		error = listen_on(ground, options, message, room);
	if (error == ERR_OK)
		return ERR_OK;
	const int fds[] = { ground->listen_fd, ground->lock_fd, ground->data_dir_fd };
	for (unsigned i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return error;
}

enum error start_port_file(const char *path, const char *bound)
{
	char temporary[4200];
	snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid());
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return ERR_IO;
	size_t length = strlen(bound);
	bool written = write(fd, bound, length) == (ssize_t)length && write(fd, "\n", 1) == 1;
	if (close(fd) != 0 || !written || rename(temporary, path) != 0) {
		unlink(temporary);
		return ERR_IO;
	}
	return ERR_OK;
}
