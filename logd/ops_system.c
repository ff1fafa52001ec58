#include "logd/ops_system.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "common/failpoint.h"
#include "common/settings.h"
#include "logd/jobs.h"

enum { NAME_ROOM = 48, EPHEMERAL_OBJECTS = 2 * EPHEMERAL_FILES_MAX };

struct ephemeral_object {
	uint64_t id;   /* 0: a reserve */
	uint64_t size;
	int fd;
};

struct ops_system {
	struct ops table;
	struct ops_system_events events;
	struct jobs *jobs;
	int data_dir;
	unsigned ephemeral_count;
	struct ephemeral_object ephemeral[EPHEMERAL_OBJECTS]; /* in the order in which they came */
};

/* `w0123456789abcdef`, and for a quarantine file `-<offset>` behind it (docs/format.md §1). */
static void name_write(char out[NAME_ROOM], const struct file_name *name)
{
	int n = snprintf(out, NAME_ROOM, "%c%016" PRIx64, name->kind, name->id);
	if (name->kind == 'q')
		snprintf(out + n, NAME_ROOM - (size_t)n, "-%" PRIu64, name->offset);
}

static bool name_read(const char *text, struct file_name *name)
{
	if (strchr("wcdq", text[0]) == NULL || text[0] == '\0' || strspn(text + 1, "0123456789abcdef") != 16)
		return false;
	*name = (struct file_name){ .kind = (uint8_t)text[0], .id = strtoull(text + 1, NULL, 16) };
	const char *rest = text + 17;
	if (name->kind != 'q')
		return *rest == '\0';
	char *end;
	if (*rest != '-' || rest[1] < '0' || rest[1] > '9')
		return false;
	name->offset = strtoull(rest + 1, &end, 10);
	return *end == '\0';
}

static int system_list(void *world, int (*each)(void *context, const struct file_name *name, uint64_t size), void *context)
{
	struct ops_system *system = world;
	int fd = openat(system->data_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL) {
		int saved = errno;
		if (fd >= 0)
			close(fd);
		return saved;
	}
	int result = 0;
	struct dirent *entry;
	while (result == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
		struct file_name name;
		struct stat facts;
		if (!name_read(entry->d_name, &name))
			continue;
		if (fstatat(system->data_dir, entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) != 0) {
			result = errno;
		} else if (S_ISREG(facts.st_mode)) {
			result = each(context, &name, (uint64_t)facts.st_size);
		}
	}
	if (result == 0 && entry == NULL)
		result = errno;
	closedir(dir);
	return result;
}

static int open_with(struct ops_system *system, const struct file_name *name, int flags, int *file)
{
	char text[NAME_ROOM];
	name_write(text, name);
	*file = openat(system->data_dir, text, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0640);
	return *file < 0 ? errno : 0;
}

/*
 * Read-ahead would fill the page cache behind what was asked for, with zeros where a file only has space, and system_data would take these for data: a start would
 * read every file to its end.
 */
static int system_open(void *world, const struct file_name *name, int *file)
{
	int error = open_with(world, name, 0, file);

	if (error == 0)
		(void)posix_fadvise(*file, 0, 0, POSIX_FADV_RANDOM);
	return error;
}

static int system_create(void *world, const struct file_name *name, int *file)
{
	return open_with(world, name, O_CREAT | O_EXCL, file);
}

static int system_close(void *world, int file)
{
	(void)world;
	return close(file) != 0 && errno != EINTR ? errno : 0;
}

static int system_size(void *world, int file, uint64_t *size)
{
	(void)world;
	struct stat facts;
	if (fstat(file, &facts) != 0)
		return errno;
	*size = (uint64_t)facts.st_size;
	return 0;
}

static int system_data(void *world, int file, uint64_t offset, uint64_t *at)
{
	off_t found = lseek(file, (off_t)offset, SEEK_DATA);
	if (found >= 0) {
		*at = (uint64_t)found;
		return 0;
	}
	*at = offset;
	return errno == ENXIO ? system_size(world, file, at) : errno == EINVAL ? 0 : errno;
}

static int system_allocate(void *world, int file, uint64_t size)
{
	(void)world;
	int error;
	do {
		error = posix_fallocate(file, 0, (off_t)size);
	} while (error == EINTR);
	return error;
}

static int system_pwrite(void *world, int file, const void *bytes, size_t length, uint64_t offset, size_t *done)
{
	(void)world;
	ssize_t n = pwrite(file, bytes, length, (off_t)offset);
	*done = n < 0 ? 0 : (size_t)n;
	return n < 0 ? errno : 0;
}

static int system_pread(void *world, int file, void *bytes, size_t length, uint64_t offset, size_t *done)
{
	(void)world;
	ssize_t n = pread(file, bytes, length, (off_t)offset);
	*done = n < 0 ? 0 : (size_t)n;
	return n < 0 ? errno : 0;
}

static int system_truncate(void *world, int file, uint64_t size)
{
	(void)world;
	return ftruncate(file, (off_t)size) != 0 ? errno : 0;
}

static int system_unlink(void *world, const struct file_name *name)
{
	struct ops_system *system = world;
	char text[NAME_ROOM];
	name_write(text, name);
	return unlinkat(system->data_dir, text, 0) != 0 ? errno : 0;
}

static int system_sync_dir(void *world)
{
	struct ops_system *system = world;
	return fsync(system->data_dir) != 0 ? errno : 0;
}

static int system_sync(void *world, int file)
{
	(void)world;
	return fdatasync(file) != 0 ? errno : 0;
}

static int system_sync_start(void *world, const struct sync_job *job)
{
	struct ops_system *system = world;
	return jobs_sync(system->jobs, job);
}

static int system_prepare_start(void *world, uint64_t id, uint64_t size)
{
	struct ops_system *system = world;
	const struct file_name name = { .kind = 'w', .id = id };
	char text[NAME_ROOM];
	name_write(text, &name);
	return jobs_prepare(system->jobs, system->data_dir, text, id, size);
}

static int system_seal_start(void *world, const struct seal_job *job)
{
	struct ops_system *system = world;
	return jobs_seal(system->jobs, &system->table, job);
}

static int system_lookup_start(void *world, const struct lookup_job *job)
{
	struct ops_system *system = world;
	return jobs_lookup(system->jobs, &system->table, job);
}

static int system_finish_start(void *world, const struct finish_job *job)
{
	struct ops_system *system = world;
	return jobs_finish(system->jobs, &system->table, job);
}

static int system_ephemeral_create(void *world, uint64_t id, uint64_t size, int *file)
{
	struct ops_system *system = world;
	for (unsigned i = 0; i < system->ephemeral_count; i++) {
		struct ephemeral_object *object = &system->ephemeral[i];
		if (object->id != 0)
			continue;
		/* Reserves come in the order in which the supervisor keeps them, and it binds the id to its oldest: never skip one. */
		if (object->size < size)
			return EFBIG;
		object->id = id;
		*file = object->fd;
		system->events.ephemeral_used(system->events.context, id);
		return 0;
	}
	return EAGAIN;
}

static int system_ephemeral_list(void *world, int (*each)(void *context, uint64_t id, uint64_t size, int file), void *context)
{
	struct ops_system *system = world;
	for (unsigned i = 0; i < system->ephemeral_count; i++) {
		const struct ephemeral_object *object = &system->ephemeral[i];
		int result = object->id == 0 ? 0 : each(context, object->id, object->size, object->fd);
		if (result != 0)
			return result;
	}
	return 0;
}

static int system_ephemeral_retire(void *world, uint64_t id)
{
	struct ops_system *system = world;
	for (unsigned i = 0; i < system->ephemeral_count; i++) {
		if (system->ephemeral[i].id != id)
			continue;
		/* Create and list have given it out as the file's handle. The object's memory is free when the supervisor and all workers have closed theirs too. */
		close(system->ephemeral[i].fd);
		system->ephemeral_count--;
		memmove(&system->ephemeral[i], &system->ephemeral[i + 1], (system->ephemeral_count - i) * sizeof system->ephemeral[0]);
		system->events.ephemeral_retired(system->events.context, id);
		return 0;
	}
	return ENOENT;
}

static int64_t system_wall_ms(void *world)
{
	(void)world;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t system_monotonic_us(void *world)
{
	(void)world;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The kernel's boot id: 36 characters of hexadecimal digits and dashes. */
static int read_boot_id(uint8_t out[16])
{
	char text[64] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	size_t length = 0;
	if (n <= 0 || sodium_hex2bin(out, 16, text, (size_t)n, "-\n", &length, NULL) != 0 || length != 16)
		return EIO;
	return 0;
}

/* The inode of the superblock's directory in /sys/fs/<type>/ is another one after each mount; 0 where the file system has none. */
static uint64_t superblock_life(int data_dir, dev_t device)
{
	struct statfs facts;
	if (fstatfs(data_dir, &facts) != 0)
		return 0;
	const char *type = facts.f_type == 0xEF53 ? "ext4" : facts.f_type == 0x58465342 ? "xfs" : NULL;
	if (type == NULL)
		return 0;
	char link[64], target[256], path[320];
	snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(device), minor(device));
	ssize_t n = readlink(link, target, sizeof target - 1);
	if (n <= 0)
		return 0;
	target[n] = '\0';
	const char *base = strrchr(target, '/');
	snprintf(path, sizeof path, "/sys/fs/%s/%s", type, base != NULL ? base + 1 : target);
	struct stat life;
	return stat(path, &life) == 0 ? life.st_ino : 0;
}

static int system_boot_token(void *world, struct boot_token *token)
{
	struct ops_system *system = world;
	struct stat facts;
	*token = (struct boot_token){ 0 };
	if (fstat(system->data_dir, &facts) != 0)
		return errno;
	token->device = facts.st_dev;
	token->inode = facts.st_ino;
	token->superblock = superblock_life(system->data_dir, facts.st_dev);
	return read_boot_id(token->boot_id);
}

static void system_random(void *world, void *bytes, size_t length)
{
	(void)world;
	randombytes_buf(bytes, length);
}

static void system_failpoint(void *world, const char *name)
{
	(void)world;
	failpoint_hit(name);
}

enum error ops_system_create(struct ops_system **out, int data_dir, const struct ops_system_events *events)
{
	struct ops_system *system = calloc(1, sizeof *system);
	if (system == NULL)
		return ERR_NOMEM;
	system->events = *events;
	system->data_dir = data_dir;
	system->table = (struct ops){
		.world = system,
		.list = system_list,
		.open = system_open,
		.create = system_create,
		.close = system_close,
		.size = system_size,
		.data = system_data,
		.allocate = system_allocate,
		.pwrite = system_pwrite,
		.pread = system_pread,
		.truncate = system_truncate,
		.unlink = system_unlink,
		.sync_dir = system_sync_dir,
		.sync = system_sync,
		.sync_start = system_sync_start,
		.prepare_start = system_prepare_start,
		.seal_start = system_seal_start,
		.finish_start = system_finish_start,
		.lookup_start = system_lookup_start,
		.ephemeral_create = system_ephemeral_create,
		.ephemeral_list = system_ephemeral_list,
		.ephemeral_retire = system_ephemeral_retire,
		.wall_ms = system_wall_ms,
		.monotonic_us = system_monotonic_us,
		.boot_token = system_boot_token,
		.random = system_random,
		.failpoint = system_failpoint,
	};
	enum error error = sodium_init() < 0 ? ERR_IO : jobs_create(&system->jobs);
	if (error != ERR_OK) {
		free(system);
		return error;
	}
	*out = system;
	return ERR_OK;
}

void ops_system_destroy(struct ops_system **out)
{
	struct ops_system *system = *out;
	if (system == NULL)
		return;
	jobs_destroy(&system->jobs);
	for (unsigned i = 0; i < system->ephemeral_count; i++)
		close(system->ephemeral[i].fd);
	free(system);
	*out = NULL;
}

void ops_system_busy_poll(struct ops_system *system, uint64_t us)
{
	jobs_busy_poll(system->jobs, us);
}

const struct ops *ops_system_table(struct ops_system *system)
{
	return &system->table;
}

int ops_system_event_fd(const struct ops_system *system)
{
	return jobs_event_fd(system->jobs);
}

bool ops_system_done(const struct ops_system *system)
{
	return jobs_done(system->jobs);
}

bool ops_system_finished(struct ops_system *system, struct job_result *result)
{
	return jobs_finished(system->jobs, result);
}

enum error ops_system_ephemeral(struct ops_system *system, uint64_t id, uint64_t size, int fd)
{
	if (system->ephemeral_count == EPHEMERAL_OBJECTS)
		return ERR_LIMIT;
	system->ephemeral[system->ephemeral_count++] = (struct ephemeral_object){ .id = id, .size = size, .fd = fd };
	return ERR_OK;
}
