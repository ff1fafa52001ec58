/*
 * Numbers and words into text, for answers: each call writes at `at` and returns where it ended. The caller has made room; nothing is terminated. (printf
 * would cost an append more than all else that a worker does to answer it.)
 */
#ifndef TOPICS_TEXT_H
#define TOPICS_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TEXT_U64_MAX = 20, TEXT_HEX_LENGTH = 16, TEXT_MS_MAX = 24 };

static inline uint8_t *text_bytes(uint8_t *at, const void *bytes, size_t length)
{
	memcpy(at, bytes, length);
	return at + length;
}

static inline uint8_t *text_word(uint8_t *at, const char *word)
{
	return text_bytes(at, word, strlen(word));
}

/* Decimal; at most TEXT_U64_MAX bytes. */
static inline uint8_t *text_u64(uint8_t *at, uint64_t value)
{
	uint8_t digits[TEXT_U64_MAX], *from = digits + sizeof digits;
	do {
		*--from = (uint8_t)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	return text_bytes(at, from, (size_t)(digits + sizeof digits - from));
}

/* Adds one to the number of `length` digits, whose room is TEXT_U64_MAX; returns its new length. */
static inline size_t text_count_up(uint8_t *digits, size_t length)
{
	size_t i = length;
	while (i > 0 && digits[i - 1] == '9')
		digits[--i] = '0';
	if (i > 0) {
		digits[i - 1]++;
		return length;
	}
	digits[0] = '1';
	digits[length] = '0';
	return length + 1;
}

/* An id as text (an epoch): TEXT_HEX_LENGTH lower-case digits. */
static inline uint8_t *text_hex(uint8_t *at, uint64_t value)
{
	for (unsigned i = 0; i < TEXT_HEX_LENGTH; i++)
		at[i] = (uint8_t)"0123456789abcdef"[value >> (60 - 4 * i) & 15];
	return at + TEXT_HEX_LENGTH;
}

/* Microseconds as milliseconds with three decimals; at most TEXT_MS_MAX bytes. */
static inline uint8_t *text_ms(uint8_t *at, uint64_t us)
{
	at = text_u64(at, us / 1000);
	*at++ = '.';
	*at++ = (uint8_t)('0' + us / 100 % 10);
	*at++ = (uint8_t)('0' + us / 10 % 10);
	*at++ = (uint8_t)('0' + us % 10);
	return at;
}

#endif
