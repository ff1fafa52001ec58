/*
 * CRC32C (Castagnoli), as the log format wants it (docs/format.md): hardware instruction in three lanes where the
 * processor has SSE4.2, slicing tables elsewhere, chosen once at run time.
 */
#ifndef TOPICS_CRC32C_H
#define TOPICS_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Goes on from `crc`, the result of an earlier call, or 0 at the beginning: crc32c(0, "123456789", 9) = 0xe3069283. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t length);

/* The same by tables alone; the twin that tests hold the fast form against. */
uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t length);

#endif
