#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/shm.h"
#include "tests/child.h"

enum { SIZE = 10000, LASTING = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

static size_t whole(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	return (size + page - 1) / page * page;
}

static int object(void)
{
	int fd = -1;

	assert_int_equal(shm_create(&fd, "topics-test", SIZE), ERR_OK);
	return fd;
}

static int readonly_of(int fd)
{
	int readonly = -1;

	assert_int_equal(shm_reopen_readonly(&readonly, fd), ERR_OK);
	return readonly;
}

static void new_object_is_zero_of_whole_pages_and_closed_on_exec(void **state)
{
	int fd = object();
	struct stat facts;
	void *map = NULL;

	(void)state;
	assert_int_equal(fstat(fd, &facts), 0);
	assert_int_equal(facts.st_size, whole(SIZE));
	assert_int_equal(facts.st_blocks, 0); /* sparse: nothing is used before it is touched */
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(shm_map(&map, fd, SIZE, true), ERR_OK);
	for (size_t i = 0; i < whole(SIZE); i++)
		assert_int_equal(((uint8_t *)map)[i], 0);
	shm_unmap(&map, SIZE);
	assert_null(map);
	shm_unmap(&map, SIZE);
	close(fd);
}

static void shrinking_growing_and_unsealing_are_refused_to_every_holder(void **state)
{
	int fd = object(), readonly = readonly_of(fd);

	(void)state;
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, (off_t)whole(SIZE) * 2), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fallocate(fd, 0, (off_t)whole(SIZE), 4096), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(pwrite(fd, "x", 1, (off_t)whole(SIZE)), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(readonly, 0), -1);
	assert_int_equal(fcntl(readonly, F_GET_SEALS) & LASTING, LASTING);
	close(readonly);
	close(fd);
}

static void readonly_descriptor_cannot_be_written_or_mapped_for_writing(void **state)
{
	int fd = object(), readonly = readonly_of(fd);
	void *map = NULL;

	(void)state;
	assert_int_equal(fcntl(readonly, F_GETFD), FD_CLOEXEC);
	assert_ptr_equal(mmap(NULL, whole(SIZE), PROT_READ | PROT_WRITE, MAP_SHARED, readonly, 0), MAP_FAILED);
	assert_int_equal(errno, EACCES);
	assert_int_equal(shm_map(&map, readonly, SIZE, true), ERR_IO);
	assert_null(map);
	assert_int_equal(pwrite(readonly, "x", 1, 0), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(shm_map(&map, readonly, SIZE, false), ERR_OK);
	assert_int_equal(mprotect(map, whole(SIZE), PROT_READ | PROT_WRITE), -1);
	assert_int_equal(errno, EACCES);
	shm_unmap(&map, SIZE);
	close(readonly);
	close(fd);
}

static int store_seven(void *context)
{
	void *map = NULL;

	CHILD_NEEDS(shm_map(&map, *(int *)context, SIZE, true) == ERR_OK);
	((uint8_t *)map)[SIZE - 1] = 7;
	return 0;
}

static void store_of_one_process_is_seen_through_the_readonly_map_of_another(void **state)
{
	int fd = object(), readonly = readonly_of(fd);
	void *map = NULL;

	(void)state;
	assert_int_equal(shm_map(&map, readonly, SIZE, false), ERR_OK);
	assert_int_equal(child_ran(store_seven, &fd), 0);
	assert_int_equal(((const uint8_t *)map)[SIZE - 1], 7);
	shm_unmap(&map, SIZE);
	close(readonly);
	close(fd);
}

static void map_of_another_size_or_of_an_unsealed_object_is_a_protocol_violation(void **state)
{
	int fd = object(), unsealed = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING), half = memfd_create("half", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *map = NULL;

	(void)state;
	assert_int_equal(shm_map(&map, fd, whole(SIZE) + 1, true), ERR_PROTOCOL);
	assert_int_equal(shm_map(&map, fd, whole(SIZE) - 4096, true), ERR_PROTOCOL);
	assert_int_equal(ftruncate(unsealed, (off_t)whole(SIZE)), 0);
	assert_int_equal(shm_map(&map, unsealed, SIZE, true), ERR_PROTOCOL);
	assert_int_equal(ftruncate(half, (off_t)whole(SIZE)), 0);
	assert_int_equal(fcntl(half, F_ADD_SEALS, F_SEAL_GROW), 0);
	assert_int_equal(shm_map(&map, half, SIZE, true), ERR_PROTOCOL);
	assert_int_equal(shm_map(&map, -1, SIZE, true), ERR_IO);
	assert_null(map);
	close(half);
	close(unsealed);
	close(fd);
}

static void what_is_no_memory_object_is_refused(void **state)
{
	int pair[2];
	void *map = NULL;

	(void)state;
	assert_int_equal(pipe(pair), 0);
	assert_int_equal(shm_map(&map, pair[0], 0, false), ERR_PROTOCOL);
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(shm_reopen_readonly(&pair[0], -1), ERR_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_object_is_zero_of_whole_pages_and_closed_on_exec),
		cmocka_unit_test(shrinking_growing_and_unsealing_are_refused_to_every_holder),
		cmocka_unit_test(readonly_descriptor_cannot_be_written_or_mapped_for_writing),
		cmocka_unit_test(store_of_one_process_is_seen_through_the_readonly_map_of_another),
		cmocka_unit_test(map_of_another_size_or_of_an_unsealed_object_is_a_protocol_violation),
		cmocka_unit_test(what_is_no_memory_object_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
