/* Frames and file headers as they come from a damaged disk: what passes the checks must be safe to walk. */
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/frame.h"
#include "common/record.h"
#include "tests/fuzz/fuzz.h"

static const uint64_t file_id = 0x1122334455667788u;

/* The walk that a reader makes over what passed. */
static uint64_t walk(const uint8_t *frame, const struct frame_head *head)
{
	uint64_t sum = 0;
	uint32_t at = FRAME_HEAD;
	for (uint32_t i = 0; i < head->entry_count; i++) {
		struct entry entry;
		if (entry_decode(&entry, frame + at, FRAME_HEAD + head->entries_length - at) != ERR_OK)
			abort();
		if (entry.type == ENTRY_BATCH) {
			uint32_t offset = entry.batch.records_offset, end = offset + entry.batch.records_length;
			struct record record;
			while (offset < end && record_parse(&record, frame + offset, end - offset) == ERR_OK) {
				for (uint32_t n = 0; n < record.data_length; n++)
					sum += record.data[n];
				offset += record.length;
			}
		}
		at += entry.length;
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
	struct frame_head head;
	struct file_header header;
	struct entry entry;
	uint8_t bytes[FILE_HEADER_SIZE] = { 0 };
	volatile uint64_t sink = 0;

	memcpy(bytes, input, length < sizeof bytes ? length : sizeof bytes);
	(void)file_header_decode(&header, bytes);
	(void)entry_decode(&entry, input, length);
	if (frame_check(input, length, file_id, FILE_HEADER_SIZE, LSN_FIRST, &head) == ERR_OK) {
		sink += frame_whole(input, &head);
		sink += walk(input, &head);
	}
	return 0;
}

/* A sealed frame with one batch of `index` records and, for odd ones, a ceiling beside it. */
size_t fuzz_seed(unsigned index, uint8_t *out, size_t room)
{
	struct frame_head head = { .incarnation = 7, .request_id = index, .ts = 1, .entry_count = 1 + index % 2 };
	struct entry batch = { .type = ENTRY_BATCH, .topic = 5 };
	uint32_t count = index + 1, record = (uint32_t)record_size(3, 2, 1, 0, 0);

	memset(out, 0, room);
	batch.batch.first_seq = 1;
	batch.batch.count = batch.batch.live = count;
	batch.batch.payload = count * 5;
	batch.batch.records_length = count * record;
	uint32_t ceiling_size = head.entry_count == 2 ? ENTRY_HEAD + 16 : 0;
	head.entries_length = entry_size(&batch) + ceiling_size;
	batch.batch.records_offset = FRAME_HEAD + head.entries_length;
	uint32_t at = FRAME_HEAD + entry_encode(&batch, out + FRAME_HEAD);
	if (ceiling_size != 0) {
		struct entry ceiling = { .type = ENTRY_CEILING, .topic = 5, .ceiling = { .ceiling = 4096 } };
		at += entry_encode(&ceiling, out + at);
	}
	for (uint32_t i = 0; i < count; i++, at += record) {
		put_u32(out + at, record);
		put_u32(out + at + 8, 3);
		put_u32(out + at + 12, 2);
		put_u32(out + at + 16, 1);
		put_u32(out + at + 28, RECORD_HAS_TAG);
		memcpy(out + at + RECORD_HEAD, "123{}t", 6);
		put_u32(out + at + 4, record_crc(out + at, record));
	}
	head.records_length = count * record;
	head.length = (uint32_t)frame_size(head.entries_length, head.records_length, 0);
	head.lsn = LSN_FIRST;
	frame_seal(out, &head, file_id, FILE_HEADER_SIZE);
	return head.length;
}
