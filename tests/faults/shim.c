/*
 * A library that is loaded before the C library's into one of the server's processes and lets chosen calls really fail, stop short, hang, or end the process. Built and used by tests
 * alone. What shall fail stands in a file that the test maps too, so it can be changed while the process runs (tests/harness/faults.py writes it):
 *
 *     rules of 64 bytes: call, error, times left to fail (0: the rule is idle), calls to let pass first, calls that came, calls that failed
 *
 * The supervisor gives its children an empty environment. Loaded into it this library therefore wraps execve and gives the plan on to the program that the test named.
 * A rule whose calls all pass counts them: `system` are the calls of the append and read paths that move bytes or change memory; it never fails.
 * Writes and syncs of the thread that prepares the next file count as `fill`. Only files of the log count (names of a `w` and 16 digits): the memory objects of the ephemeral log are written by the same calls.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum call { CALL_PWRITE = 1, CALL_FDATASYNC, CALL_FSYNC, CALL_OPENAT, CALL_FALLOCATE, CALL_MALLOC, CALL_FILL, CALL_KEY, CALL_SYSTEM };
enum { ERROR_SHORT = 1000, ERROR_HANG = 1001, ERROR_ABORT = 1002, RULES = 16, FDS = 4096 };

struct rule {
	_Atomic uint64_t call, error, times, pass, seen, failed;
	uint64_t reserved[2];
};

static struct {
	struct rule *rules;       /* NULL: this process is not the victim */
	char preload[512], plan[512], victim[64];
	_Atomic bool of_log[FDS]; /* the descriptor is a file of the log */
} shim;

static void copy(char *out, size_t room, const char *variable)
{
	const char *value = getenv(variable);
	snprintf(out, room, "%s", value != NULL ? value : "");
}

__attribute__((constructor)) static void load(void)
{
	copy(shim.preload, sizeof shim.preload, "LD_PRELOAD");
	copy(shim.plan, sizeof shim.plan, "FAULTS_PLAN");
	copy(shim.victim, sizeof shim.victim, "FAULTS_VICTIM");
	if (strcmp(program_invocation_short_name, shim.victim) != 0)
		return;
	int fd = open(shim.plan, O_RDWR | O_CLOEXEC);
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, RULES * sizeof(struct rule), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		abort();
	close(fd);
	shim.rules = map;
}

static _Thread_local bool prepares; /* this thread has made a file of the log, and is not the main one */

/* The error of this call: 0: it is to be done. */
static int fault(enum call call)
{
	for (unsigned i = 0; shim.rules != NULL && i < RULES; i++) {
		struct rule *rule = &shim.rules[i];
		if (atomic_load(&rule->call) != call || atomic_load(&rule->times) == 0 || atomic_fetch_add(&rule->seen, 1) < atomic_load(&rule->pass))
			continue;
		atomic_fetch_add(&rule->failed, 1);
		int error = (int)atomic_load(&rule->error);
		while (error == ERROR_HANG && atomic_load(&rule->times) != 0)
			nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
		if (error == ERROR_HANG)
			return 0;
		if (error == ERROR_ABORT)
			abort();
		if (atomic_load(&rule->times) != UINT64_MAX)
			atomic_fetch_sub(&rule->times, 1);
		return error;
	}
	return 0;
}

static bool of_log(int fd)
{
	return fd >= 0 && fd < FDS && atomic_load(&shim.of_log[fd]);
}

static bool log_name(const char *name)
{
	return name[0] == 'w' && strlen(name) == 17 && strspn(name + 1, "0123456789abcdef") == 16;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int execve(const char *path, char *const arguments[], char *const environment[])
{
	char preload[600], plan[600], victim[100];
	const char *base = strrchr(path, '/');
	char *const with[] = { preload, plan, victim, NULL };
	snprintf(preload, sizeof preload, "LD_PRELOAD=%s", shim.preload);
	snprintf(plan, sizeof plan, "FAULTS_PLAN=%s", shim.plan);
	snprintf(victim, sizeof victim, "FAULTS_VICTIM=%s", shim.victim);
	return REAL(execve)(path, arguments, base != NULL && strcmp(base + 1, shim.victim) == 0 ? with : environment);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
	(void)fault(CALL_SYSTEM);
	int error = of_log(fd) ? fault(prepares ? CALL_FILL : CALL_PWRITE) : 0;
	if (error == ERROR_SHORT)
		length = length > 1 ? length / 2 : length;
	else if (error != 0)
		return errno = error, -1;
	return REAL(pwrite)(fd, bytes, length, offset);
}

int fdatasync(int fd)
{
	int error = of_log(fd) ? fault(prepares ? CALL_FILL : CALL_FDATASYNC) : 0;
	return error != 0 ? errno = error, -1 : REAL(fdatasync)(fd);
}

int fsync(int fd)
{
	int error = of_log(fd) ? fault(CALL_FSYNC) : 0;
	return error != 0 ? errno = error, -1 : REAL(fsync)(fd);
}

int openat(int directory, const char *name, int flags, ...)
{
	mode_t mode = 0;
	if (flags & O_CREAT) {
		va_list list;
		va_start(list, flags);
		mode = va_arg(list, mode_t);
		va_end(list);
	}
	bool is_log = log_name(name);
	prepares = prepares || (is_log && (flags & O_EXCL) && gettid() != getpid());
	int error = is_log ? fault(CALL_OPENAT) : 0;
	if (error != 0)
		return errno = error, -1;
	int fd = REAL(openat)(directory, name, flags, mode);
	if (fd >= 0 && fd < FDS)
		atomic_store(&shim.of_log[fd], is_log);
	return fd;
}

int close(int fd)
{
	if (fd >= 0 && fd < FDS)
		atomic_store(&shim.of_log[fd], false);
	return REAL(close)(fd);
}

int posix_fallocate(int fd, off_t offset, off_t length)
{
	int error = of_log(fd) ? fault(CALL_FALLOCATE) : 0;
	return error != 0 ? error : REAL(posix_fallocate)(fd, offset, length);
}

/* A call that is only counted. */
#define COUNTED(type, name, parameters, arguments) \
	type name parameters                           \
	{                                              \
		(void)fault(CALL_SYSTEM);                  \
		return REAL(name) arguments;               \
	}

COUNTED(ssize_t, read, (int fd, void *bytes, size_t length), (fd, bytes, length))
COUNTED(ssize_t, write, (int fd, const void *bytes, size_t length), (fd, bytes, length))
COUNTED(ssize_t, pread, (int fd, void *bytes, size_t length, off_t offset), (fd, bytes, length, offset))
COUNTED(ssize_t, preadv2, (int fd, const struct iovec *parts, int count, off_t offset, int flags), (fd, parts, count, offset, flags))
COUNTED(ssize_t, recv, (int fd, void *bytes, size_t length, int flags), (fd, bytes, length, flags))
COUNTED(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
COUNTED(void *, mmap, (void *at, size_t length, int protection, int flags, int fd, off_t offset), (at, length, protection, flags, fd, offset))
COUNTED(int, munmap, (void *at, size_t length), (at, length))

/* libsodium's, by which logd hashes idempotency keys: those that begin with `poison` count. */
int crypto_generichash(unsigned char *out, size_t room, const unsigned char *in, unsigned long long length, const unsigned char *key, size_t key_length);
int crypto_generichash(unsigned char *out, size_t room, const unsigned char *in, unsigned long long length, const unsigned char *key, size_t key_length)
{
	if (length >= 6 && memcmp(in, "poison", 6) == 0)
		(void)fault(CALL_KEY);
	return REAL(crypto_generichash)(out, room, in, length, key, key_length);
}

/* Found by name and not with dlsym, which allocates. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);

void *malloc(size_t size)
{
	return fault(CALL_MALLOC) != 0 ? errno = ENOMEM, NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fault(CALL_MALLOC) != 0 ? errno = ENOMEM, NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return fault(CALL_MALLOC) != 0 ? errno = ENOMEM, NULL : __libc_realloc(old, size);
}
