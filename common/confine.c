#include "common/confine.h"

#include <errno.h>
#include <grp.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Calls that both programs make: memory, clocks, waiting, reading and writing what is open, threads of the C library, leaving. */
static const char *const calls_of_both[] = {
	"brk",         "clock_gettime", "clock_nanosleep", "clone",        "clone3",       "close",      "epoll_create1", "epoll_ctl",
	"epoll_pwait", "epoll_pwait2",  "epoll_wait",      "eventfd2",     "exit",         "exit_group", "fcntl",         "fstat",
	"futex",       "getpid",        "getrandom",       "gettid",       "gettimeofday", "madvise",    "mmap",          "mprotect",
	"mremap",      "munmap",        "newfstatat",      "poll",         "ppoll",        "pread64",    "preadv2",       "prlimit64",
	"read",        "recvmsg",       "restart_syscall", "rseq",         "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_getaffinity",
	"sched_yield", "sendmsg",       "set_robust_list", "sigaltstack",  "tgkill",       "timerfd_create", "timerfd_settime", "write",
	"writev",      "getdents64",
};

/* logd also makes, writes, syncs and removes files below the one directory whose descriptor it has. */
static const char *const calls_of_logd[] = { "fallocate", "fdatasync", "fstatfs", "fsync", "ftruncate", "lseek", "openat", "pwrite64", "readlink", "statx", "unlinkat" };

/* A worker also serves connections; it opens no path. */
static const char *const calls_of_worker[] = { "accept4", "getpeername", "getsockname", "getsockopt", "recvfrom", "sendto", "setsockopt", "shutdown", "lseek",
	"fstatfs", "getuid", "geteuid", "getgid", "getegid" };

static int allow(scmp_filter_ctx filter, const char *const *calls, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int number = seccomp_syscall_resolve_name(calls[i]);
		if (number == __NR_SCMP_ERROR) /* not on this architecture, or newer than the library */
			continue;
		int result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
		if (result != 0)
			return result;
	}
	return 0;
}

static enum error load_filter(const char *const *calls, size_t count)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_LOG);
	if (filter == NULL)
		return ERR_NOMEM;
	int result = allow(filter, calls_of_both, sizeof calls_of_both / sizeof calls_of_both[0]);
	if (result == 0)
		result = allow(filter, calls, count);
	if (result == 0)
		result = seccomp_load(filter);
	seccomp_release(filter);
	/* A kernel without seccomp filters: log mode protects nothing, so its absence does not stop the program. */
	if (result == -EINVAL || result == -ENOSYS || result == -EACCES)
		return ERR_OK;
	errno = -result;
	return result == 0 ? ERR_OK : ERR_IO;
}

static enum error give_up_rights(const struct inherit_common *inherit)
{
	const struct rlimit none = { 0, 0 };
	if (inherit->drop) {
		if (setgroups(0, NULL) != 0 || setresgid(inherit->gid, inherit->gid, inherit->gid) != 0 ||
		    setresuid(inherit->uid, inherit->uid, inherit->uid) != 0)
			return ERR_IO;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
		return ERR_IO;
	return ERR_OK;
}

enum error confine_logd(const struct inherit_common *inherit)
{
	enum error error = give_up_rights(inherit);
	return error != ERR_OK ? error : load_filter(calls_of_logd, sizeof calls_of_logd / sizeof calls_of_logd[0]);
}

enum error confine_worker(const struct inherit_common *inherit)
{
	enum error error = give_up_rights(inherit);
	return error != ERR_OK ? error : load_filter(calls_of_worker, sizeof calls_of_worker / sizeof calls_of_worker[0]);
}
