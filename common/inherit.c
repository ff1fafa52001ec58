#include "common/inherit.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/shm.h"

enum error inherit_read(void *inherit, uint32_t size)
{
	struct inherit_common *common = inherit;
	struct stat facts;

	if (fstat(INHERIT_FD, &facts) != 0)
		return ERR_PROTOCOL;
	if (facts.st_size < (off_t)size || pread(INHERIT_FD, inherit, size, 0) != (ssize_t)size)
		return ERR_PROTOCOL;
	if (common->version != INHERIT_VERSION || common->size != size)
		return ERR_PROTOCOL;
	common->failpoint[sizeof common->failpoint - 1] = '\0';
	close(INHERIT_FD);
	return ERR_OK;
}

enum error inherit_write(int *fd, const void *inherit, uint32_t size)
{
	enum error error = shm_create(fd, "topics-inherit", size);
	if (error != ERR_OK)
		return error;
	if (pwrite(*fd, inherit, size, 0) != (ssize_t)size) {
		close(*fd);
		*fd = -1;
		return ERR_IO;
	}
	return ERR_OK;
}
