#include "common/crc32c.h"

#include <stdbool.h>

#include "common/bytes.h"

/*
 * A CRC is linear: what a byte does to it is the exclusive or of what its bits do. So a table of 256 values is spelled by the eight values
 * of the single bits, and the compiler makes it; nothing is built at run time.
 */
#define OF_BITS(n, a, b, c, d, e, f, g, h)                                                                                                 \
	(((n)&1 ? a : 0) ^ ((n)&2 ? b : 0) ^ ((n)&4 ? c : 0) ^ ((n)&8 ? d : 0) ^ ((n)&16 ? e : 0) ^ ((n)&32 ? f : 0) ^ ((n)&64 ? g : 0) ^  \
	 ((n)&128 ? h : 0))
#define TIMES4(n, ...) OF_BITS(n, __VA_ARGS__), OF_BITS((n) + 1, __VA_ARGS__), OF_BITS((n) + 2, __VA_ARGS__), OF_BITS((n) + 3, __VA_ARGS__)
#define TIMES16(n, ...) TIMES4(n, __VA_ARGS__), TIMES4((n) + 4, __VA_ARGS__), TIMES4((n) + 8, __VA_ARGS__), TIMES4((n) + 12, __VA_ARGS__)
#define TIMES64(n, ...)                                                                                                                    \
	TIMES16(n, __VA_ARGS__), TIMES16((n) + 16, __VA_ARGS__), TIMES16((n) + 32, __VA_ARGS__), TIMES16((n) + 48, __VA_ARGS__)
#define TABLE(...) {TIMES64(0, __VA_ARGS__), TIMES64(64, __VA_ARGS__), TIMES64(128, __VA_ARGS__), TIMES64(192, __VA_ARGS__)}

/* slice[k][n]: what byte n does, k bytes later. */
static const uint32_t slice[8][256] = {
	TABLE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78),
	TABLE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
	TABLE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
	TABLE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
	TABLE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
	TABLE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
	TABLE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
	TABLE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
};

static uint32_t portable(uint32_t crc, const uint8_t *p, size_t length)
{
	for (; length >= 8; p += 8, length -= 8) {
		uint64_t v = get_u64(p) ^ crc;

		crc = slice[7][v & 255] ^ slice[6][v >> 8 & 255] ^ slice[5][v >> 16 & 255] ^ slice[4][v >> 24 & 255] ^
		      slice[3][v >> 32 & 255] ^ slice[2][v >> 40 & 255] ^ slice[1][v >> 48 & 255] ^ slice[0][v >> 56];
	}
	for (; length > 0; p++, length--)
		crc = crc >> 8 ^ slice[0][(crc ^ *p) & 255];
	return crc;
}

uint32_t crc32c_portable(uint32_t crc, const void *bytes, size_t length)
{
	return ~portable(~crc, bytes, length);
}

#if defined(__x86_64__)

/*
 * The instruction takes three cycles to answer but a new one begins each cycle, so three lanes run side by side and are joined by moving
 * the first lane's value past the bytes of the next: after_1024 and after_128 say what each byte of a CRC has become after so many zero
 * bytes.
 */
enum { LONG_LANE = 1024, SHORT_LANE = 128 };

static const uint32_t after_1024[4][256] = {
	TABLE(0xfe314258, 0xf98ef241, 0xf6f19273, 0xe80f5217, 0xd5f2d2df, 0xae09d34f, 0x59ffd06f, 0xb3ffa0de),
	TABLE(0x6213374d, 0xc4266e9a, 0x8da0abc5, 0x1ead217b, 0x3d5a42f6, 0x7ab485ec, 0xf5690bd8, 0xef3e6141),
	TABLE(0xdb90b473, 0xb2cd1e17, 0x60764adf, 0xc0ec95be, 0x84355d8d, 0x0d86cdeb, 0x1b0d9bd6, 0x361b37ac),
	TABLE(0x6c366f58, 0xd86cdeb0, 0xb535cb91, 0x6f87e1d3, 0xdf0fc3a6, 0xbbf3f1bd, 0x720b958b, 0xe4172b16),
};
static const uint32_t after_128[4][256] = {
	TABLE(0x6992cea2, 0xd3259d44, 0xa3a74c79, 0x42a2ee03, 0x8545dc06, 0x0f67cefd, 0x1ecf9dfa, 0x3d9f3bf4),
	TABLE(0x7b3e77e8, 0xf67cefd0, 0xe915a951, 0xd7c72453, 0xaa623e57, 0x51280a5f, 0xa25014be, 0x414c5f8d),
	TABLE(0x8298bf1a, 0x00dd08c5, 0x01ba118a, 0x03742314, 0x06e84628, 0x0dd08c50, 0x1ba118a0, 0x37423140),
	TABLE(0x6e846280, 0xdd08c500, 0xbffdfcf1, 0x7a178f13, 0xf42f1e26, 0xedb24abd, 0xde88e38b, 0xb8fdb1e7),
};

static inline uint32_t moved(const uint32_t table[4][256], uint32_t crc)
{
	return table[0][crc & 255] ^ table[1][crc >> 8 & 255] ^ table[2][crc >> 16 & 255] ^ table[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static inline uint32_t three_lanes(uint32_t crc, const uint8_t *p, size_t lane,
                                                                     const uint32_t table[4][256])
{
	uint64_t a = crc, b = 0, c = 0;

	for (size_t i = 0; i < lane; i += 8) {
		a = __builtin_ia32_crc32di(a, get_u64(p + i));
		b = __builtin_ia32_crc32di(b, get_u64(p + lane + i));
		c = __builtin_ia32_crc32di(c, get_u64(p + 2 * lane + i));
	}
	return moved(table, moved(table, (uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t fast(uint32_t crc, const uint8_t *p, size_t length)
{
	uint64_t wide;

	for (; length >= 3 * LONG_LANE; p += 3 * LONG_LANE, length -= 3 * LONG_LANE)
		crc = three_lanes(crc, p, LONG_LANE, after_1024);
	for (; length >= 3 * SHORT_LANE; p += 3 * SHORT_LANE, length -= 3 * SHORT_LANE)
		crc = three_lanes(crc, p, SHORT_LANE, after_128);
	wide = crc;
	for (; length >= 8; p += 8, length -= 8)
		wide = __builtin_ia32_crc32di(wide, get_u64(p));
	crc = (uint32_t)wide;
	if (length & 4) {
		crc = __builtin_ia32_crc32si(crc, get_u32(p));
		p += 4;
	}
	if (length & 2) {
		crc = __builtin_ia32_crc32hi(crc, get_u16(p));
		p += 2;
	}
	return length & 1 ? __builtin_ia32_crc32qi(crc, *p) : crc;
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t length)
{
	if (__builtin_cpu_supports("sse4.2"))
		return ~fast(~crc, bytes, length);
	return ~portable(~crc, bytes, length);
}

#else

uint32_t crc32c(uint32_t crc, const void *bytes, size_t length)
{
	return ~portable(~crc, bytes, length);
}

#endif
