#include "worker/scan_index_x86.h"

#include <assert.h>

#include "worker/json_walk.h"
#include "worker/scan_block.h"

/* ---- the portable form ---- */

enum class { QUOTE = 1, BACKSLASH = 2, PUNCTUATION = 4, SPACE = 8, CONTROL = 16, WIDE = 32 };

/* Which bytes of a block are of which class, whether in a string or not. */
struct block {
	uint64_t quote, backslash, punctuation, space, control, wide;
};

static void class_block(struct block *block, const uint8_t *at)
{
	static const uint8_t classes[256] = {
		[0 ... 8] = CONTROL, ['\t'] = CONTROL | SPACE, ['\n'] = CONTROL | SPACE, [11 ... 12] = CONTROL, ['\r'] = CONTROL | SPACE, [14 ... 0x1f] = CONTROL,
		[' '] = SPACE, ['"'] = QUOTE, ['\\'] = BACKSLASH,
		['{'] = PUNCTUATION, ['}'] = PUNCTUATION, ['['] = PUNCTUATION, [']'] = PUNCTUATION, [':'] = PUNCTUATION, [','] = PUNCTUATION, [0x80 ... 0xff] = WIDE,
	};
	*block = (struct block){ 0 };
	for (unsigned i = 0; i < SCAN_BLOCK; i++) {
		uint64_t class = classes[at[i]];
		block->quote |= (class / QUOTE & 1) << i;
		block->backslash |= (class / BACKSLASH & 1) << i;
		block->punctuation |= (class / PUNCTUATION & 1) << i;
		block->space |= (class / SPACE & 1) << i;
		block->control |= (class / CONTROL & 1) << i;
		block->wide |= (class / WIDE & 1) << i;
	}
}

/* Bit n: exclusive or of the bits up to n. */
static uint64_t prefix_xor(uint64_t bits)
{
	for (unsigned shift = 1; shift < 64; shift *= 2)
		bits ^= bits << shift;
	return bits;
}

/* Checks the characters that begin in the block; a character goes over its end where it wants. */
static void check_utf8(struct scan_index *index, size_t offset)
{
	size_t at = index->utf8_done > offset ? index->utf8_done : offset;
	while (at < offset + SCAN_BLOCK && at < index->length) {
		size_t n = index->text[at] < 0x80 ? 1 : json_walk_utf8(index->text + at, index->length - at);
		index->bad |= n == 0;
		at += n > 0 ? n : 1;
	}
	index->utf8_done = at;
}

static size_t index_portable(struct scan_index *index, const struct scan_piece *piece, size_t blocks, uint32_t *tokens)
{
	size_t count = 0;
	for (size_t i = 0; i < blocks; i++) {
		struct block block;
		size_t offset = piece->offset + i * SCAN_BLOCK;
		class_block(&block, piece->at + i * SCAN_BLOCK);
		uint64_t quote = block.quote & ~scan_escapes(index, block.backslash, offset);
		uint64_t in_string = prefix_xor(quote) ^ index->carry.in_string;
		uint64_t bits = scan_tokens(&index->carry, quote, block.space, block.punctuation, in_string);
		index->bad |= scan_bad_control(block.control, block.space, in_string);
		if (block.wide != 0)
			check_utf8(index, offset);
		for (; bits != 0; bits &= bits - 1)
			tokens[count++] = (uint32_t)(offset + (unsigned)__builtin_ctzll(bits));
	}
	return count;
}

/* ---- escapes ---- */

/* Checks the escape whose backslash stands at `offset`. */
static bool escape_valid(const struct scan_index *index, size_t offset)
{
	static const bool letter[256] = { ['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true, ['f'] = true, ['n'] = true, ['r'] = true, ['t'] = true };
	const uint8_t *at = index->text + offset + 1;
	size_t left = index->length - offset - 1;
	if (left > 0 && letter[*at])
		return true;
	if (left < 5 || *at != 'u')
		return false;
	for (int i = 1; i <= 4; i++)
		if (!((at[i] >= '0' && at[i] <= '9') || ((at[i] | 0x20) >= 'a' && (at[i] | 0x20) <= 'f')))
			return false;
	return true;
}

uint64_t scan_escapes(struct scan_index *index, uint64_t backslash, size_t offset)
{
	uint64_t escaped = index->escaped;
	backslash &= ~escaped;
	index->escaped = 0;
	while (backslash != 0) {
		unsigned n = (unsigned)__builtin_ctzll(backslash);
		uint64_t behind = (uint64_t)2 << n;
		index->bad |= !escape_valid(index, offset + n);
		index->escaped = n == 63;
		escaped |= behind;
		backslash &= (backslash - 1) & ~behind;
	}
	return escaped;
}

/* ---- windows ---- */

void scan_index_positions(uint64_t *positions)
{
	for (unsigned n = 0; n < SCAN_POSITIONS; n++) {
		positions[n] = 0;
		for (unsigned bit = 8; bit-- > 0;)
			if (n >> bit & 1)
				positions[n] = positions[n] << 8 | bit;
	}
}

bool scan_index_supported(enum scan_form form)
{
	return form == SCAN_ONE_PASS || form == SCAN_PORTABLE || scan_index_x86_supported(form);
}

static size_t index_blocks(struct scan_index *index, enum scan_form form, const struct scan_piece *piece, size_t blocks, uint32_t *tokens)
{
	if (form == SCAN_PORTABLE)
		return index_portable(index, piece, blocks, tokens);
	return scan_index_x86(index, form, piece, blocks, tokens);
}

/* A block of less than 64 bytes, or the first: a copy with spaces behind it and with what is before it, zeroes where there is nothing. */
static size_t index_copy(struct scan_index *index, enum scan_form form, size_t size, uint32_t *tokens)
{
	uint8_t copy[SCAN_BLOCK + SCAN_BLOCK] = { 0 };
	const struct scan_piece piece = { copy + SCAN_BLOCK, index->done };
	memset(copy + SCAN_BLOCK, ' ', SCAN_BLOCK);
	memcpy(copy + SCAN_BLOCK, index->text + index->done, size);
	if (index->done >= SCAN_BEFORE)
		memcpy(copy + SCAN_BLOCK - SCAN_BEFORE, index->text + index->done - SCAN_BEFORE, SCAN_BEFORE);
	size_t count = index_blocks(index, form, &piece, 1, tokens);
	index->done += size;
	return count;
}

size_t scan_index_window(struct scan_index *index, enum scan_form form, uint32_t *tokens)
{
	size_t left = index->length - index->done, count = 0;
	assert(index->length <= UINT32_MAX && form != SCAN_ONE_PASS);
	if (index->done == 0 && left > 0) {
		size_t size = left < SCAN_BLOCK ? left : SCAN_BLOCK;
		count = index_copy(index, form, size, tokens);
		left -= size;
	}
	size_t whole = (left < SCAN_WINDOW - SCAN_BLOCK ? left : SCAN_WINDOW - SCAN_BLOCK) / SCAN_BLOCK;
	if (whole > 0) {
		const struct scan_piece piece = { index->text + index->done, index->done };
		count += index_blocks(index, form, &piece, whole, tokens + count);
		index->done += whole * SCAN_BLOCK;
		left -= whole * SCAN_BLOCK;
	}
	if (left > 0 && left < SCAN_BLOCK)
		count += index_copy(index, form, left, tokens + count);
	return count;
}
