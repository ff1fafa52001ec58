#include "worker/scan_index_x86.h"

#if defined(__x86_64__)

#include <assert.h>
#include <immintrin.h>

#include "worker/scan_block.h"

#define TARGET_AVX2 __attribute__((target("avx2,pclmul,popcnt")))
#define TARGET_SSE __attribute__((target("sse4.2,pclmul,popcnt")))

/*
 * Classes by table look-up. A white space character stands in its table under its low four bits, so a byte is one if the look-up gives itself; the shuffle
 * gives 0 for bytes from 0x80 on. The same for punctuation, in which [ ] become { } by their bit 5; the control characters which that bit makes into
 * punctuation are refused as such.
 */
static const uint8_t space_table[16] = { ' ', 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, '\t', '\n', 0x80, 0x80, '\r', 0x80, 0x80 };
static const uint8_t punctuation_table[16] = { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, ':', '{', ',', '}', 0x80, 0x80 };

/*
 * UTF-8 by three look-ups (J. Keiser, D. Lemire: Validating UTF-8 In Less Than One Instruction Per Byte, 2020): each bit is a fault that two bytes make
 * together. The high and low half of the first byte and the high half of the second each say which faults they allow; a fault that all three allow is
 * there. CONTINUED is none by itself: two bytes from 0x80 to 0xbf must be the third or fourth byte of a character, and are at fault if they are not.
 */
enum {
	SHORT = 1,       /* a first byte without its second */
	LONG = 2,        /* a continuation behind ASCII */
	OVERLONG_3 = 4,  /* e0 80..9f */
	LARGE = 8,       /* f4 90.., f5.. */
	SURROGATE = 16,  /* ed a0..bf */
	OVERLONG_2 = 32, /* c0, c1 */
	OVERLONG_4 = 64, /* f0 80..8f; and f5.. 80..8f, which is too large */
	CONTINUED = 128,
	ANY_LOW = SHORT | LONG | CONTINUED,
	LARGE_LOW = ANY_LOW | LARGE | OVERLONG_4,
};
static const uint8_t first_high[16] = {
	LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, CONTINUED, CONTINUED, CONTINUED, CONTINUED,
	SHORT | OVERLONG_2, SHORT, SHORT | OVERLONG_3 | SURROGATE, SHORT | LARGE | OVERLONG_4,
};
static const uint8_t first_low[16] = {
	ANY_LOW | OVERLONG_3 | OVERLONG_2 | OVERLONG_4, ANY_LOW | OVERLONG_2, ANY_LOW, ANY_LOW, ANY_LOW | LARGE, LARGE_LOW, LARGE_LOW, LARGE_LOW, LARGE_LOW, LARGE_LOW,
	LARGE_LOW, LARGE_LOW, LARGE_LOW, LARGE_LOW | SURROGATE, LARGE_LOW, LARGE_LOW,
};
static const uint8_t second_high[16] = {
	SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT,
	LONG | CONTINUED | OVERLONG_2 | OVERLONG_3 | OVERLONG_4, LONG | CONTINUED | OVERLONG_2 | OVERLONG_3 | LARGE,
	LONG | CONTINUED | OVERLONG_2 | SURROGATE | LARGE, LONG | CONTINUED | OVERLONG_2 | SURROGATE | LARGE, SHORT, SHORT, SHORT, SHORT,
};

/* ---- AVX2: two vectors a block ---- */

TARGET_AVX2 static inline __m256i load_32(const uint8_t *at)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

TARGET_AVX2 static inline __m256i table_32(const uint8_t *table)
{
	return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
}

TARGET_AVX2 static inline uint64_t mask_64(__m256i low, __m256i high)
{
	return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

/* Not zero if there may be a backslash, a control character or a byte from 0x80 on. */
TARGET_AVX2 static inline uint64_t special_avx2(__m256i a, __m256i b)
{
	const __m256i backslash = _mm256_set1_epi8('\\'), space = _mm256_set1_epi8(' ');
	__m256i backslashes = _mm256_or_si256(_mm256_cmpeq_epi8(a, backslash), _mm256_cmpeq_epi8(b, backslash));
	/* Signed: bytes from 0x80 on are below a space as control characters are. */
	return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(backslashes, _mm256_cmpgt_epi8(space, _mm256_min_epi8(a, b))));
}

TARGET_AVX2 __attribute__((noinline)) static uint64_t escapes_avx2(struct scan_index *index, const uint8_t *at, size_t offset)
{
	const __m256i backslash = _mm256_set1_epi8('\\');
	return scan_escapes(index, mask_64(_mm256_cmpeq_epi8(load_32(at), backslash), _mm256_cmpeq_epi8(load_32(at + 32), backslash)), offset);
}

TARGET_AVX2 static inline __m256i utf8_faults_avx2(const uint8_t *at)
{
	const __m256i low4 = _mm256_set1_epi8(0x0f), bit7 = _mm256_set1_epi8((char)0x80);
	__m256i byte = load_32(at), first = load_32(at - 1);
	__m256i faults = _mm256_shuffle_epi8(table_32(first_high), _mm256_and_si256(_mm256_srli_epi16(first, 4), low4));
	faults = _mm256_and_si256(faults, _mm256_shuffle_epi8(table_32(first_low), _mm256_and_si256(first, low4)));
	faults = _mm256_and_si256(faults, _mm256_shuffle_epi8(table_32(second_high), _mm256_and_si256(_mm256_srli_epi16(byte, 4), low4)));
	/* From 0xe0 on two bytes before, or from 0xf0 on three before: this one is a third or fourth byte. Bit 7 is left where that is so. */
	__m256i third = _mm256_subs_epu8(load_32(at - 2), _mm256_set1_epi8(0xe0 - 0x80)), fourth = _mm256_subs_epu8(load_32(at - 3), _mm256_set1_epi8(0xf0 - 0x80));
	return _mm256_xor_si256(faults, _mm256_and_si256(_mm256_or_si256(third, fourth), bit7));
}

/* Checks a block that has special bytes, or stands behind one that had. */
TARGET_AVX2 __attribute__((noinline)) static void check_avx2(struct scan_index *index, const uint8_t *at, uint64_t space, uint64_t in_string)
{
	const __m256i a = load_32(at), b = load_32(at + 32), top = _mm256_set1_epi8(0x1f);
	uint64_t control = mask_64(_mm256_cmpeq_epi8(_mm256_max_epu8(a, top), top), _mm256_cmpeq_epi8(_mm256_max_epu8(b, top), top));
	uint64_t wide = (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(a, b));
	index->bad |= scan_bad_control(control, space, in_string);
	if ((wide | index->wide) != 0) {
		__m256i faults = _mm256_or_si256(utf8_faults_avx2(at), utf8_faults_avx2(at + 32));
		index->bad |= !_mm256_testz_si256(faults, faults);
	}
	index->wide = wide;
}

/* Eight bits at a time, by table, and eight tokens written whether there are so many or not: that is no branch, and which blocks have many tokens cannot be foreseen. */
TARGET_AVX2 static inline uint32_t *put_tokens_avx2(const uint64_t *positions, uint32_t *tokens, size_t offset, uint64_t bits)
{
	const __m256i eight = _mm256_set1_epi32(8);
	__m256i base = _mm256_set1_epi32((int)offset);
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++, bits >>= 8) {
		__m256i found = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)&positions[bits & 0xff]));
		_mm256_storeu_si256((__m256i *)(void *)tokens, _mm256_add_epi32(base, found));
		tokens += _mm_popcnt_u32(bits & 0xff);
		base = _mm256_add_epi32(base, eight);
	}
	return tokens;
}

TARGET_AVX2 static size_t index_avx2(struct scan_index *index, const struct scan_piece *piece, size_t blocks, uint32_t *tokens)
{
	const __m256i quotes = _mm256_set1_epi8('"'), bit5 = _mm256_set1_epi8(0x20), spaces = table_32(space_table), punctuations = table_32(punctuation_table);
	struct scan_carry carry = index->carry;
	const uint8_t *at = piece->at, *end = at + blocks * SCAN_BLOCK;
	const uint32_t *from = tokens;
	uint64_t pending = index->escaped | index->wide;
	for (size_t offset = piece->offset; at != end; at += SCAN_BLOCK, offset += SCAN_BLOCK) {
		const __m256i a = load_32(at), b = load_32(at + 32);
		uint64_t special = special_avx2(a, b) | pending;
		uint64_t quote = mask_64(_mm256_cmpeq_epi8(a, quotes), _mm256_cmpeq_epi8(b, quotes));
		if ((quote | special | ~carry.in_string) == 0)
			continue; /* within a long string */
		if (__builtin_expect(special != 0, 0))
			quote &= ~escapes_avx2(index, at, offset);
		__m128i string = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)quote), _mm_set1_epi8(-1), 0);
		uint64_t in_string = (uint64_t)_mm_cvtsi128_si64(string) ^ carry.in_string;
		uint64_t space = mask_64(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(spaces, a), a), _mm256_cmpeq_epi8(_mm256_shuffle_epi8(spaces, b), b));
		uint64_t punctuation = mask_64(_mm256_cmpeq_epi8(_mm256_shuffle_epi8(punctuations, a), _mm256_or_si256(a, bit5)),
		                               _mm256_cmpeq_epi8(_mm256_shuffle_epi8(punctuations, b), _mm256_or_si256(b, bit5)));
		uint64_t bits = scan_tokens(&carry, quote, space, punctuation, in_string);
		if (__builtin_expect(special != 0, 0)) {
			check_avx2(index, at, space, in_string);
			pending = index->escaped | index->wide;
		}
		tokens = put_tokens_avx2(index->positions, tokens, offset, bits);
	}
	index->carry = carry;
	return (size_t)(tokens - from);
}

/* ---- SSE4.2: four vectors a block ---- */

TARGET_SSE static inline __m128i load_16(const uint8_t *at)
{
	return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* The masks of the four vectors of a block, as one. */
TARGET_SSE static inline uint64_t mask_16(__m128i a, __m128i b, __m128i c, __m128i d)
{
	uint64_t low = (unsigned)_mm_movemask_epi8(a) | (uint64_t)(unsigned)_mm_movemask_epi8(b) << 16;
	return low | (uint64_t)(unsigned)_mm_movemask_epi8(c) << 32 | (uint64_t)(unsigned)_mm_movemask_epi8(d) << 48;
}

TARGET_SSE static inline uint64_t equal_sse(const __m128i *v, char c)
{
	const __m128i want = _mm_set1_epi8(c);
	return mask_16(_mm_cmpeq_epi8(v[0], want), _mm_cmpeq_epi8(v[1], want), _mm_cmpeq_epi8(v[2], want), _mm_cmpeq_epi8(v[3], want));
}

/* The bytes that a table gives back for themselves, once `bits` are set in them. */
TARGET_SSE static inline uint64_t listed_sse(const __m128i *v, const uint8_t *table, char bits)
{
	const __m128i list = load_16(table), set = _mm_set1_epi8(bits);
	return mask_16(_mm_cmpeq_epi8(_mm_shuffle_epi8(list, v[0]), _mm_or_si128(v[0], set)), _mm_cmpeq_epi8(_mm_shuffle_epi8(list, v[1]), _mm_or_si128(v[1], set)),
	               _mm_cmpeq_epi8(_mm_shuffle_epi8(list, v[2]), _mm_or_si128(v[2], set)), _mm_cmpeq_epi8(_mm_shuffle_epi8(list, v[3]), _mm_or_si128(v[3], set)));
}

TARGET_SSE static inline uint64_t special_sse(const __m128i *v)
{
	const __m128i backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
	__m128i low = _mm_min_epi8(_mm_min_epi8(v[0], v[1]), _mm_min_epi8(v[2], v[3]));
	__m128i first = _mm_or_si128(_mm_cmpeq_epi8(v[0], backslash), _mm_cmpeq_epi8(v[1], backslash));
	__m128i second = _mm_or_si128(_mm_cmpeq_epi8(v[2], backslash), _mm_cmpeq_epi8(v[3], backslash));
	return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(first, second), _mm_cmpgt_epi8(space, low)));
}

TARGET_SSE static inline __m128i utf8_faults_sse(const uint8_t *at)
{
	const __m128i low4 = _mm_set1_epi8(0x0f), bit7 = _mm_set1_epi8((char)0x80);
	__m128i byte = load_16(at), first = load_16(at - 1);
	__m128i faults = _mm_shuffle_epi8(load_16(first_high), _mm_and_si128(_mm_srli_epi16(first, 4), low4));
	faults = _mm_and_si128(faults, _mm_shuffle_epi8(load_16(first_low), _mm_and_si128(first, low4)));
	faults = _mm_and_si128(faults, _mm_shuffle_epi8(load_16(second_high), _mm_and_si128(_mm_srli_epi16(byte, 4), low4)));
	__m128i third = _mm_subs_epu8(load_16(at - 2), _mm_set1_epi8(0xe0 - 0x80)), fourth = _mm_subs_epu8(load_16(at - 3), _mm_set1_epi8(0xf0 - 0x80));
	return _mm_xor_si128(faults, _mm_and_si128(_mm_or_si128(third, fourth), bit7));
}

TARGET_SSE __attribute__((noinline)) static void check_sse(struct scan_index *index, const uint8_t *at, uint64_t space, uint64_t in_string)
{
	const __m128i top = _mm_set1_epi8(0x1f);
	uint64_t control = 0, wide = 0;
	__m128i faults = _mm_setzero_si128();
	for (unsigned i = 0; i < SCAN_BLOCK; i += 16) {
		control |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(load_16(at + i), top), top)) << i;
		wide |= (unsigned)_mm_movemask_epi8(load_16(at + i));
	}
	index->bad |= scan_bad_control(control, space, in_string);
	if ((wide | index->wide) != 0) {
		for (unsigned i = 0; i < SCAN_BLOCK; i += 16)
			faults = _mm_or_si128(faults, utf8_faults_sse(at + i));
		index->bad |= !_mm_testz_si128(faults, faults);
	}
	index->wide = wide;
}

TARGET_SSE static inline uint32_t *put_tokens_sse(const uint64_t *positions, uint32_t *tokens, size_t offset, uint64_t bits)
{
	const __m128i eight = _mm_set1_epi32(8);
	__m128i base = _mm_set1_epi32((int)offset);
#pragma GCC unroll 8
	for (int i = 0; i < 8; i++, bits >>= 8) {
		__m128i found = _mm_loadl_epi64((const __m128i *)(const void *)&positions[bits & 0xff]);
		_mm_storeu_si128((__m128i *)(void *)tokens, _mm_add_epi32(base, _mm_cvtepu8_epi32(found)));
		_mm_storeu_si128((__m128i *)(void *)(tokens + 4), _mm_add_epi32(base, _mm_cvtepu8_epi32(_mm_srli_si128(found, 4))));
		tokens += _mm_popcnt_u32(bits & 0xff);
		base = _mm_add_epi32(base, eight);
	}
	return tokens;
}

TARGET_SSE static size_t index_sse(struct scan_index *index, const struct scan_piece *piece, size_t blocks, uint32_t *tokens)
{
	struct scan_carry carry = index->carry;
	const uint8_t *at = piece->at, *end = at + blocks * SCAN_BLOCK;
	const uint32_t *from = tokens;
	uint64_t pending = index->escaped | index->wide;
	for (size_t offset = piece->offset; at != end; at += SCAN_BLOCK, offset += SCAN_BLOCK) {
		const __m128i v[4] = { load_16(at), load_16(at + 16), load_16(at + 32), load_16(at + 48) };
		uint64_t special = special_sse(v) | pending, quote = equal_sse(v, '"');
		if ((quote | special | ~carry.in_string) == 0)
			continue;
		if (__builtin_expect(special != 0, 0))
			quote &= ~scan_escapes(index, equal_sse(v, '\\'), offset);
		__m128i string = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)quote), _mm_set1_epi8(-1), 0);
		uint64_t in_string = (uint64_t)_mm_cvtsi128_si64(string) ^ carry.in_string;
		uint64_t space = listed_sse(v, space_table, 0);
		uint64_t bits = scan_tokens(&carry, quote, space, listed_sse(v, punctuation_table, 0x20), in_string);
		if (__builtin_expect(special != 0, 0)) {
			check_sse(index, at, space, in_string);
			pending = index->escaped | index->wide;
		}
		tokens = put_tokens_sse(index->positions, tokens, offset, bits);
	}
	index->carry = carry;
	return (size_t)(tokens - from);
}

/* ---- which ---- */

bool scan_index_x86_supported(enum scan_form form)
{
	bool both = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("popcnt");
	switch (form) {
	case SCAN_SSE:
		return both && __builtin_cpu_supports("sse4.2");
	case SCAN_AVX2:
		return both && __builtin_cpu_supports("avx2");
	default:
		return false;
	}
}

size_t scan_index_x86(struct scan_index *index, enum scan_form form, const struct scan_piece *piece, size_t blocks, uint32_t *tokens)
{
	return form == SCAN_AVX2 ? index_avx2(index, piece, blocks, tokens) : index_sse(index, piece, blocks, tokens);
}

#else

bool scan_index_x86_supported(enum scan_form form)
{
	(void)form;
	return false;
}

size_t scan_index_x86(struct scan_index *index, enum scan_form form, const struct scan_piece *piece, size_t blocks, uint32_t *tokens)
{
	(void)index; (void)form; (void)piece; (void)blocks; (void)tokens;
	return 0;
}

#endif
