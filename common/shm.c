#include "common/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL /* glibc 2.36 does not know it yet */
#define MFD_NOEXEC_SEAL 0x0008U
#endif

static size_t whole_pages(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	return (size + page - 1) / page * page;
}

enum error shm_create(int *fd, const char *name, size_t size)
{
	int made = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (made < 0 && errno == EINVAL) /* a kernel before 6.3 does not know MFD_NOEXEC_SEAL */
		made = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (made < 0)
		return ERR_IO;
	/* Who has a read-only descriptor may open /proc/self/fd/N anew, and then the object's mode alone decides. */
	if (ftruncate(made, (off_t)whole_pages(size)) != 0 || fchmod(made, 0400) != 0 || fcntl(made, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		int saved = errno;
		close(made);
		errno = saved;
		return ERR_IO;
	}
	*fd = made;
	return ERR_OK;
}

enum error shm_reopen_readonly(int *readonly_fd, int fd)
{
	char path[48];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	*readonly_fd = open(path, O_RDONLY | O_CLOEXEC);
	return *readonly_fd < 0 ? ERR_IO : ERR_OK;
}

enum error shm_map(void **address, int fd, size_t size, bool writable)
{
	struct stat facts;
	int seals = fcntl(fd, F_GET_SEALS);
	if (fstat(fd, &facts) != 0)
		return ERR_IO;
	if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW) || (size_t)facts.st_size != whole_pages(size))
		return ERR_PROTOCOL;
	void *mapped = mmap(NULL, whole_pages(size), writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (mapped == MAP_FAILED)
		return ERR_IO;
	*address = mapped;
	return ERR_OK;
}

void shm_unmap(void **address, size_t size)
{
	if (*address != NULL)
		munmap(*address, whole_pages(size));
	*address = NULL;
}
