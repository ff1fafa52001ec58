/*
 * Shared memory: memfds of fixed size, sealed against growing and shrinking, so that no peer can turn a load into
 * SIGBUS (FAULTS E5). Who may only read gets a descriptor that was reopened read-only.
 */
#ifndef TOPICS_SHM_H
#define TOPICS_SHM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/error.h"

/* Makes a sparse, zeroed, sealed object of `size` bytes (rounded up to pages); the descriptor is close-on-exec and the
 * caller's. `name` shows in /proc. */
enum error shm_create(int *fd, const char *name, size_t size);

/* A second descriptor of the same object that can only be mapped for reading. */
enum error shm_reopen_readonly(int *readonly_fd, int fd);

/* Maps the whole object, whose size must be `size` (rounded up) and whose seals must hold: ERR_PROTOCOL if not. */
enum error shm_map(void **address, int fd, size_t size, bool writable);

/* Unmaps and sets *address to NULL. */
void shm_unmap(void **address, size_t size);

#endif
