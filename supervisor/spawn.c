#include "supervisor/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_FD = INHERIT_FD + 1, ASIDE = 512 };

int32_t spawn_fd(struct spawn *spawn, int fd)
{
	if (fd < 0 || spawn->count == SPAWN_FDS)
		return -1;
	spawn->sources[spawn->count] = fd;
	return FIRST_FD + spawn->count++;
}

/* Beside this program, in its neighbour folder of a build tree, or where it was installed. */
static enum error find_program(const char *program, char *path, size_t room)
{
	char own[4096];
	ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
	own[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(own, '/');
	if (slash != NULL)
		*slash = '\0';
	const char *folder = strcmp(program, "topics-logd") == 0 ? "logd" : "worker";
	snprintf(path, room, "%s/%s", own, program);
	if (access(path, X_OK) == 0)
		return ERR_OK;
	snprintf(path, room, "%s/../%s/%s", own, folder, program);
	if (access(path, X_OK) == 0)
		return ERR_OK;
	snprintf(path, room, "%s/%s", LIBEXECDIR, program);
	return access(path, X_OK) == 0 ? ERR_OK : ERR_NOT_FOUND;
}

/* In the child: moves everything out of the way first, since sources and targets overlap. Only async-signal-safe calls. */
static void become(const struct spawn *spawn, const char *path, int inherit_fd)
{
	int aside[SPAWN_FDS + 1];
	sigset_t none;
	aside[0] = fcntl(inherit_fd, F_DUPFD_CLOEXEC, ASIDE);
	for (int i = 0; i < spawn->count; i++)
		aside[i + 1] = fcntl(spawn->sources[i], F_DUPFD_CLOEXEC, ASIDE);
	for (int i = 0; i <= spawn->count; i++)
		if (aside[i] < 0 || dup2(aside[i], INHERIT_FD + i) < 0)
			_exit(127);
	/* Ours are closed on exec anyway; what somebody left open when topicsd was started is not. */
	close_range((unsigned)(FIRST_FD + spawn->count), ~0U, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	char *const arguments[] = { (char *)(uintptr_t)path, NULL };
	char *const environment[] = { NULL };
	execve(path, arguments, environment);
	_exit(127);
}

enum error spawn_run(const struct spawn *spawn, const char *program, const void *inherit, uint32_t size, pid_t *pid)
{
	char path[8300];
	int inherit_fd = -1;
	enum error error = find_program(program, path, sizeof path);
	if (error == ERR_OK)
		error = inherit_write(&inherit_fd, inherit, size);
	if (error != ERR_OK)
		return error;
	*pid = fork();
	if (*pid == 0)
		become(spawn, path, inherit_fd);
	int saved = errno;
	close(inherit_fd);
	errno = saved;
	return *pid < 0 ? ERR_IO : ERR_OK;
}
