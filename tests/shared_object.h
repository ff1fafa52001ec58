/* Memory objects for tests: sparse, zeroed, shared; a failure to get one ends the test. */
#ifndef TOPICS_TESTS_SHARED_OBJECT_H
#define TOPICS_TESTS_SHARED_OBJECT_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static inline int shared_object_fd(size_t size)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size) != 0) {
		perror("memfd");
		abort();
	}
	return fd;
}

static inline void *shared_object(size_t size)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (map == MAP_FAILED) {
		perror("mmap");
		abort();
	}
	return map;
}

#endif
