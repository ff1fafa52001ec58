/* Little-endian loads and stores at any alignment, and the rounding that the formats use. */
#ifndef TOPICS_BYTES_H
#define TOPICS_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t get_u16(const void *p) { uint16_t v; memcpy(&v, p, sizeof v); return le16toh(v); }
static inline uint32_t get_u32(const void *p) { uint32_t v; memcpy(&v, p, sizeof v); return le32toh(v); }
static inline uint64_t get_u64(const void *p) { uint64_t v; memcpy(&v, p, sizeof v); return le64toh(v); }
static inline int64_t get_i64(const void *p) { return (int64_t)get_u64(p); }
static inline void put_u16(void *p, uint16_t v) { v = htole16(v); memcpy(p, &v, sizeof v); }
static inline void put_u32(void *p, uint32_t v) { v = htole32(v); memcpy(p, &v, sizeof v); }
static inline void put_u64(void *p, uint64_t v) { v = htole64(v); memcpy(p, &v, sizeof v); }
static inline void put_i64(void *p, int64_t v) { put_u64(p, (uint64_t)v); }

/* Rounds up to a multiple of 8. The caller knows that n is far below the type's end. */
static inline uint64_t align8(uint64_t n) { return (n + 7) & ~(uint64_t)7; }

#endif
