#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "logd/ops_system.h"

struct fixture {
	char path[64];
	int dir;
	struct ops_system *system;
	const struct ops *ops;
	uint64_t used, retired;
};

static void on_used(void *context, uint64_t id)
{
	((struct fixture *)context)->used = id;
}

static void on_retired(void *context, uint64_t id)
{
	((struct fixture *)context)->retired = id;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	const struct ops_system_events events = { .context = f, .ephemeral_used = on_used, .ephemeral_retired = on_retired };

	strcpy(f->path, "/tmp/test_ops_system.XXXXXX");
	if (mkdtemp(f->path) == NULL)
		return 1;
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = f;
	if (f->dir < 0 || ops_system_create(&f->system, f->dir, &events) != ERR_OK)
		return 1;
	f->ops = ops_system_table(f->system);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	DIR *dir = fdopendir(f->dir);
	struct dirent *entry;

	ops_system_destroy(&f->system);
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(f->path);
	free(f);
	return 0;
}

static void put_file(struct fixture *f, const char *name, size_t size)
{
	int fd = openat(f->dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

struct listing {
	struct file_name names[16];
	uint64_t sizes[16];
	unsigned count, stop_at;
};

static int note_name(void *context, const struct file_name *name, uint64_t size)
{
	struct listing *listing = context;

	listing->names[listing->count] = *name;
	listing->sizes[listing->count] = size;
	return ++listing->count == listing->stop_at ? 77 : 0;
}

static bool lists(const struct listing *listing, uint8_t kind, uint64_t id, uint64_t offset, uint64_t size)
{
	for (unsigned i = 0; i < listing->count; i++) {
		const struct file_name *name = &listing->names[i];
		if (name->kind == kind && name->id == id && name->offset == offset && listing->sizes[i] == size)
			return true;
	}
	return false;
}

/* The one job that runs, when it is done. */
static struct job_result finished(struct fixture *f)
{
	struct pollfd event = { .fd = ops_system_event_fd(f->system), .events = POLLIN };
	struct job_result result;

	while (!ops_system_finished(f->system, &result))
		assert_int_equal(poll(&event, 1, 10000), 1);
	return result;
}

static void list_gives_names_of_the_format_and_leaves_others_alone(void **state)
{
	struct fixture *f = *state;
	static const char *const others[] = { "lock", "w0123456789abcde", "w0123456789ABCDEF", "w0123456789abcdef0", "x0123456789abcdef", "q0123456789abcdef",
		"q0123456789abcdef-", "q0123456789abcdef-12x", "q0123456789abcdef--1", "e0123456789abcdef" };
	struct listing listing = { 0 };

	put_file(f, "w0123456789abcdef", 100);
	put_file(f, "cffffffffffffffff", 0);
	put_file(f, "d0000000000000001", 8);
	put_file(f, "q0123456789abcdef-4096", 3);
	for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
		put_file(f, others[i], 1);
	assert_int_equal(mkdirat(f->dir, "w00000000000000aa", 0700), 0);
	assert_int_equal(symlinkat("lock", f->dir, "w00000000000000bb"), 0);
	assert_int_equal(f->ops->list(f->ops->world, note_name, &listing), 0);
	assert_int_equal(listing.count, 4);
	assert_true(lists(&listing, 'w', 0x0123456789abcdef, 0, 100));
	assert_true(lists(&listing, 'c', UINT64_MAX, 0, 0));
	assert_true(lists(&listing, 'd', 1, 0, 8));
	assert_true(lists(&listing, 'q', 0x0123456789abcdef, 4096, 3));
	listing = (struct listing){ .stop_at = 2 };
	assert_int_equal(f->ops->list(f->ops->world, note_name, &listing), 77);
	assert_int_equal(listing.count, 2);
	assert_int_equal(unlinkat(f->dir, "w00000000000000aa", AT_REMOVEDIR), 0);
}

static void file_is_made_once_written_read_and_removed(void **state)
{
	struct fixture *f = *state;
	void *world = f->ops->world;
	const struct file_name name = { .kind = 'w', .id = 0xabc };
	struct stat facts;
	char bytes[16] = "";
	uint64_t size;
	size_t done;
	int file, again;

	assert_int_equal(f->ops->open(world, &name, &file), ENOENT);
	assert_int_equal(f->ops->create(world, &name, &file), 0);
	assert_int_equal(f->ops->create(world, &name, &again), EEXIST);
	assert_int_equal(fstatat(f->dir, "w0000000000000abc", &facts, 0), 0);
	assert_int_equal(facts.st_mode & 0007, 0);
	assert_int_equal(f->ops->allocate(world, file, 10000), 0);
	assert_int_equal(f->ops->size(world, file, &size), 0);
	assert_int_equal(size, 10000);
	assert_int_equal(f->ops->pwrite(world, file, "hello", 5, 9000, &done), 0);
	assert_int_equal(done, 5);
	assert_int_equal(f->ops->sync(world, file), 0);
	assert_int_equal(f->ops->close(world, file), 0);
	assert_int_equal(f->ops->open(world, &name, &file), 0);
	assert_int_equal(f->ops->pread(world, file, bytes, 16, 8999, &done), 0);
	assert_int_equal(done, 16);
	assert_memory_equal(bytes, "\0hello\0", 7);
	assert_int_equal(f->ops->pread(world, file, bytes, 16, 9995, &done), 0);
	assert_int_equal(done, 5);
	assert_int_equal(f->ops->close(world, file), 0);
	assert_int_equal(f->ops->unlink(world, &name), 0);
	assert_int_equal(f->ops->unlink(world, &name), ENOENT);
	assert_int_equal(f->ops->sync_dir(world), 0);
}

static void link_in_the_place_of_a_file_is_not_followed(void **state)
{
	struct fixture *f = *state;
	int file;

	put_file(f, "elsewhere", 10);
	assert_int_equal(symlinkat("elsewhere", f->dir, "w00000000000000cc"), 0);
	assert_int_equal(f->ops->open(f->ops->world, &(struct file_name){ .kind = 'w', .id = 0xcc }, &file), ELOOP);
	assert_int_equal(f->ops->create(f->ops->world, &(struct file_name){ .kind = 'w', .id = 0xcc }, &file), EEXIST);
}

static void call_that_fails_gives_its_errno_and_nothing_done(void **state)
{
	struct fixture *f = *state;
	size_t done = 99;

	assert_int_equal(f->ops->pwrite(f->ops->world, -1, "x", 1, 0, &done), EBADF);
	assert_int_equal(done, 0);
	done = 99;
	assert_int_equal(f->ops->pread(f->ops->world, -1, &done, 1, 0, &done), EBADF);
	assert_int_equal(done, 0);
	assert_int_equal(f->ops->sync(f->ops->world, -1), EBADF);
}

static void sync_job_ends_with_the_first_failure_and_only_one_runs(void **state)
{
	struct fixture *f = *state;
	struct sync_job job = { .count = 2, .lsn = 4711 };
	struct job_result result;

	put_file(f, "w0000000000000001", 4096);
	assert_int_equal(f->ops->open(f->ops->world, &(struct file_name){ .kind = 'w', .id = 1 }, &job.files[0]), 0);
	job.files[1] = job.files[0];
	assert_int_equal(f->ops->sync_start(f->ops->world, &job), 0);
	/* Until its result has been taken no other one is. */
	assert_int_equal(f->ops->sync_start(f->ops->world, &job), EBUSY);
	result = finished(f);
	assert_int_equal(result.kind, JOB_SYNC);
	assert_int_equal(result.sync.error, 0);
	assert_int_equal(result.sync.lsn, 4711);
	job.files[1] = -1;
	assert_int_equal(f->ops->sync_start(f->ops->world, &job), 0);
	assert_int_equal(finished(f).sync.error, EBADF);
	f->ops->close(f->ops->world, job.files[0]);
}

static void prepared_file_has_its_size_and_is_zero(void **state)
{
	struct fixture *f = *state;
	const struct file_name name = { .kind = 'w', .id = 0x55 };
	static uint8_t bytes[1 << 16], zeros[1 << 16];
	struct job_result result;
	struct stat facts;
	size_t done;
	int file;

	assert_int_equal(f->ops->prepare_start(f->ops->world, 0x55, 1 << 20), 0);
	result = finished(f);
	assert_int_equal(result.kind, JOB_PREPARE);
	assert_int_equal(result.id, 0x55);
	assert_int_equal(result.error, 0);
	assert_int_equal(f->ops->open(f->ops->world, &name, &file), 0);
	assert_int_equal(fstat(file, &facts), 0);
	assert_int_equal(facts.st_size, 1 << 20);
	assert_true(facts.st_blocks * 512 >= 1 << 20);
	for (uint64_t at = 0; at < 1 << 20; at += sizeof bytes) {
		assert_int_equal(f->ops->pread(f->ops->world, file, bytes, sizeof bytes, at, &done), 0);
		assert_int_equal(done, sizeof bytes);
		assert_memory_equal(bytes, zeros, sizeof bytes);
	}
	f->ops->close(f->ops->world, file);
}

static void preparation_that_fails_says_why_and_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct stat facts;

	put_file(f, "w0000000000000066", 3);
	assert_int_equal(f->ops->prepare_start(f->ops->world, 0x66, 4096), 0);
	assert_int_equal(finished(f).error, EEXIST);
	assert_int_equal(fstatat(f->dir, "w0000000000000066", &facts, 0), 0);
	assert_int_equal(facts.st_size, 3); /* not ours to remove */
	assert_int_equal(f->ops->prepare_start(f->ops->world, 0x67, (uint64_t)1 << 62), 0);
	assert_int_not_equal(finished(f).error, 0);
	assert_int_equal(fstatat(f->dir, "w0000000000000067", &facts, 0), -1);
}

static void sealing_and_the_end_of_a_checkpoint_have_a_thread_each_and_one_job(void **state)
{
	struct fixture *f = *state;
	const struct seal_job seal = { .id = 0x77, .first_lsn = 512, .end_lsn = 1024 };
	const struct finish_job finish = { .id = 0x78 };
	struct job_result results[2];
	unsigned seals = 0;

	assert_int_equal(f->ops->seal_start(f->ops->world, &seal), 0);
	assert_int_equal(f->ops->finish_start(f->ops->world, &finish), 0);
	/* Until its result has been taken no other one is. */
	assert_int_equal(f->ops->seal_start(f->ops->world, &seal), EBUSY);
	assert_int_equal(f->ops->finish_start(f->ops->world, &finish), EBUSY);
	for (unsigned i = 0; i < 2; i++) {
		results[i] = finished(f);
		if (results[i].kind == JOB_SEAL) {
			assert_int_equal(results[i].seal.id, 0x77);
			assert_int_equal(results[i].seal.result, ERR_AGAIN); /* there is no such file */
			seals++;
		} else {
			assert_int_equal(results[i].kind, JOB_FINISH);
			assert_int_equal(results[i].finish.result, ERR_IO);
			assert_int_equal(results[i].finish.cause, ENOENT);
		}
	}
	assert_int_equal(seals, 1);
	assert_int_equal(f->ops->seal_start(f->ops->world, &seal), 0);
	assert_int_equal(finished(f).kind, JOB_SEAL);
}

static void file_is_cut_and_tells_where_its_data_begin(void **state)
{
	struct fixture *f = *state;
	const struct file_name name = { .kind = 'w', .id = 0x79 };
	uint64_t size, at;
	size_t done;
	int file;

	assert_int_equal(f->ops->create(f->ops->world, &name, &file), 0);
	assert_int_equal(f->ops->allocate(f->ops->world, file, 1 << 20), 0);
	assert_int_equal(f->ops->pwrite(f->ops->world, file, "x", 1, 600000, &done), 0);
	assert_int_equal(f->ops->data(f->ops->world, file, 0, &at), 0);
	assert_in_range(at, 0, 600000); /* a file system may not know better */
	assert_int_equal(f->ops->data(f->ops->world, file, 600000, &at), 0);
	assert_int_equal(at, 600000);
	assert_int_equal(f->ops->truncate(f->ops->world, file, 600001), 0);
	assert_int_equal(f->ops->size(f->ops->world, file, &size), 0);
	assert_int_equal(size, 600001);
	assert_int_equal(f->ops->data(f->ops->world, file, 700000, &at), 0);
	assert_int_equal(at, 600001);
	f->ops->close(f->ops->world, file);
}

/* What is read of a file stays in memory, with zeros where it only has space: if more came than was asked for, a start would take that for data and read on to the end. */
static void reading_space_makes_no_data_of_what_lies_behind(void **state)
{
	enum { PIECE = 1 << 20, SPACE = 32 << 20 };
	struct fixture *f = *state;
	const struct file_name name = { .kind = 'w', .id = 0x7a };
	uint8_t *bytes = malloc(PIECE);
	uint64_t behind, at = 0;
	size_t done, pieces = 0;
	int file;

	assert_int_equal(f->ops->create(f->ops->world, &name, &file), 0);
	assert_int_equal(f->ops->allocate(f->ops->world, file, SPACE), 0);
	assert_int_equal(f->ops->sync(f->ops->world, file), 0);
	assert_int_equal(f->ops->data(f->ops->world, file, PIECE, &behind), 0); /* a file system that does not know gives the offset back */
	f->ops->close(f->ops->world, file);

	assert_int_equal(f->ops->open(f->ops->world, &name, &file), 0);
	for (; at < SPACE; pieces++) {
		assert_int_equal(f->ops->pread(f->ops->world, file, bytes, PIECE, at, &done), 0);
		assert_int_equal(f->ops->data(f->ops->world, file, at + done, &at), 0);
	}
	assert_int_equal(pieces, behind == SPACE ? 1 : SPACE / PIECE);
	f->ops->close(f->ops->world, file);
	free(bytes);
}

static int memory_object(size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int note_object(void *context, uint64_t id, uint64_t size, int file)
{
	uint64_t *ids = context;

	(void)size;
	(void)file;
	ids[++ids[0]] = id;
	return 0;
}

static void ephemeral_objects_are_used_in_the_order_in_which_they_came_and_told_of(void **state)
{
	struct fixture *f = *state;
	void *world = f->ops->world;
	int first = memory_object(4096), second = memory_object(8192), file;
	uint64_t ids[8] = { 0 };

	assert_int_equal(f->ops->ephemeral_create(world, 11, 4096, &file), EAGAIN);
	assert_int_equal(ops_system_ephemeral(f->system, 5, 4096, memory_object(4096)), ERR_OK);
	assert_int_equal(f->ops->ephemeral_create(world, 11, 4096, &file), EAGAIN); /* that one exists: it is no reserve */
	assert_int_equal(ops_system_ephemeral(f->system, 0, 4096, first), ERR_OK);
	assert_int_equal(ops_system_ephemeral(f->system, 0, 8192, second), ERR_OK);
	assert_int_equal(f->ops->ephemeral_create(world, 11, 8192, &file), EFBIG);
	assert_int_equal(f->used, 0);
	assert_int_equal(f->ops->ephemeral_create(world, 11, 4096, &file), 0);
	assert_int_equal(file, first);
	assert_int_equal(f->used, 11);
	assert_int_equal(f->ops->ephemeral_list(world, note_object, ids), 0);
	assert_int_equal(ids[0], 2);
	assert_int_equal(ids[1], 5);
	assert_int_equal(ids[2], 11);
	assert_int_equal(f->ops->ephemeral_retire(world, 5), 0);
	assert_int_equal(f->retired, 5);
	assert_int_equal(f->ops->ephemeral_retire(world, 5), ENOENT);
}

/* An object's memory is free when nobody holds a descriptor of it any more. */
static void ephemeral_object_is_closed_when_it_is_retired_and_not_before(void **state)
{
	struct fixture *f = *state;
	void *world = f->ops->world;
	int known = memory_object(4096), reserve = memory_object(4096), file;
	uint64_t ids[8] = { 0 };

	assert_int_equal(ops_system_ephemeral(f->system, 5, 4096, known), ERR_OK);
	assert_int_equal(ops_system_ephemeral(f->system, 0, 4096, reserve), ERR_OK);
	assert_int_equal(f->ops->ephemeral_create(world, 11, 4096, &file), 0);
	assert_int_equal(f->ops->ephemeral_list(world, note_object, ids), 0);
	assert_true(is_open(known) && is_open(reserve));
	assert_int_equal(f->ops->ephemeral_retire(world, 5), 0);
	assert_false(is_open(known));
	assert_true(is_open(reserve));
	assert_int_equal(f->ops->ephemeral_retire(world, 11), 0);
	assert_false(is_open(reserve));
}

static void boot_token_is_the_same_twice_and_names_the_directory(void **state)
{
	struct fixture *f = *state;
	struct boot_token one, two;
	struct stat facts;
	static const uint8_t none[16];

	assert_int_equal(f->ops->boot_token(f->ops->world, &one), 0);
	assert_int_equal(f->ops->boot_token(f->ops->world, &two), 0);
	assert_memory_equal(&one, &two, sizeof one);
	assert_memory_not_equal(one.boot_id, none, sizeof none);
	assert_int_equal(fstat(f->dir, &facts), 0);
	assert_int_equal(one.device, facts.st_dev);
	assert_int_equal(one.inode, facts.st_ino);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(list_gives_names_of_the_format_and_leaves_others_alone),
		TEST(file_is_made_once_written_read_and_removed),
		TEST(link_in_the_place_of_a_file_is_not_followed),
		TEST(call_that_fails_gives_its_errno_and_nothing_done),
		TEST(sync_job_ends_with_the_first_failure_and_only_one_runs),
		TEST(prepared_file_has_its_size_and_is_zero),
		TEST(preparation_that_fails_says_why_and_leaves_nothing),
		TEST(sealing_and_the_end_of_a_checkpoint_have_a_thread_each_and_one_job),
		TEST(file_is_cut_and_tells_where_its_data_begin),
		TEST(reading_space_makes_no_data_of_what_lies_behind),
		TEST(ephemeral_objects_are_used_in_the_order_in_which_they_came_and_told_of),
		TEST(ephemeral_object_is_closed_when_it_is_retired_and_not_before),
		TEST(boot_token_is_the_same_twice_and_names_the_directory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
