#include "tests/sealed_file.h"

#include <stdlib.h>
#include <string.h>

#include "common/record.h"

enum { PAYLOAD = 3, META = 2, TAG_MAX = 3 };

static uint64_t next(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static void must(int what)
{
	if (!what)
		abort();
}

static uint8_t *room_for(struct sealed_file *sealed, size_t more)
{
	while (sealed->length + more > sealed->room) {
		sealed->room = sealed->room == 0 ? 65536 : sealed->room * 2;
		must((sealed->bytes = realloc(sealed->bytes, sealed->room)) != NULL);
	}
	memset(sealed->bytes + sealed->length, 0, more);
	return sealed->bytes + sealed->length;
}

static uint32_t put_record(uint8_t *at, uint64_t seq, struct footer_builder *builder, uint64_t topic)
{
	static const char *const tags[] = { "a", "ab", "abc", "" };
	const char *tag = tags[seq % 4];
	uint32_t tag_length = (uint32_t)strlen(tag), length = (uint32_t)record_size(PAYLOAD, META, tag_length, 0, 0);

	put_u32(at, length);
	put_u32(at + 8, PAYLOAD);
	put_u32(at + 12, META);
	put_u32(at + 16, tag_length);
	put_u32(at + 28, seq % 5 == 0 ? 0 : RECORD_HAS_TAG);
	if (seq % 5 == 0) {
		put_u32(at + 16, 0);
		length = (uint32_t)record_size(PAYLOAD, META, 0, 0, 0);
		put_u32(at, length);
	} else {
		must(footer_add_tag(builder, topic, seq, PAYLOAD + META, tag, tag_length) == ERR_OK);
		memcpy(at + RECORD_HEAD + PAYLOAD + META, tag, tag_length);
	}
	memcpy(at + RECORD_HEAD, "123{}", PAYLOAD + META);
	put_u32(at + 4, record_crc(at, length));
	return length;
}

static void note(struct sealed_file *sealed, struct footer_builder *builder, const struct entry *batch, const struct frame_head *head)
{
	struct footer_extent e = { .topic = batch->topic, .first_seq = batch->batch.first_seq, .lsn = head->lsn, .ts = head->ts, .payload = batch->batch.payload,
	                           .count = batch->batch.count, .live = batch->batch.live, .length = head->length, .entry = FRAME_HEAD,
	                           .durability = batch->batch.durability };
	struct footer_key key = { .topic = e.topic, .lsn = e.lsn, .first_seq = e.first_seq, .ts = e.ts, .count = e.count };

	sealed->extents[sealed->extent_count++] = e;
	must(footer_add_extent(builder, &e) == ERR_OK);
	put_u64(key.hash, e.first_seq * 0x9e3779b97f4a7c15u);
	must(footer_add_key(builder, &key) == ERR_OK);
}

/* One frame: a batch, and at times a ceiling beside it. */
static void put_frame(struct sealed_file *sealed, struct footer_builder *builder, uint64_t *random, uint64_t frontier)
{
	uint64_t topic = 1 + next(random) % SEALED_TOPICS;
	uint32_t count = 1 + (uint32_t)next(random) % 4, offset = (uint32_t)sealed->length;
	struct entry batch = { .type = ENTRY_BATCH, .topic = topic }, ceiling = { .type = ENTRY_CEILING, .topic = topic, .ceiling = { .ceiling = 4096 } };
	struct frame_head head = { .lsn = sealed->file.first_lsn + offset - FILE_HEADER_SIZE, .frontier = frontier, .ts = 1000 + offset, .entry_count = 1 + count % 2 };
	uint8_t *frame = room_for(sealed, 4096);
	uint32_t at;

	batch.batch.first_seq = sealed->heads[topic] + 1;
	batch.batch.count = batch.batch.live = count;
	batch.batch.payload = (uint64_t)count * (PAYLOAD + META);
	batch.batch.durability = 2;
	head.entries_length = entry_size(&batch) + (head.entry_count == 2 ? entry_size(&ceiling) : 0);
	batch.batch.records_offset = at = FRAME_HEAD + head.entries_length;
	for (uint32_t i = 0; i < count; i++)
		at += put_record(frame + at, batch.batch.first_seq + i, builder, topic);
	batch.batch.records_length = head.records_length = at - batch.batch.records_offset;
	at = FRAME_HEAD + entry_encode(&batch, frame + FRAME_HEAD);
	if (head.entry_count == 2) {
		uint32_t length = entry_encode(&ceiling, frame + at);
		must(footer_add_control(builder, head.lsn, head.ts, at, frame + at, length) == ERR_OK);
	}
	head.length = (uint32_t)frame_size(head.entries_length, head.records_length, 0);
	frame_seal(frame, &head, sealed->file.id, offset);
	sealed->heads[topic] += count;
	sealed->length += head.length;
	note(sealed, builder, &batch, &head);
}

void sealed_file_make(struct sealed_file *sealed, uint64_t seed, unsigned frames)
{
	struct footer_builder *builder = NULL;
	struct file_header header = { .id = 0x1122334455667788u, .kind = 'w', .number = 1, .first_lsn = 4096 };
	uint8_t *footer = NULL;
	size_t length;
	uint32_t crc;

	*sealed = (struct sealed_file){ .file = { .id = header.id, .first_lsn = header.first_lsn } };
	must((sealed->extents = calloc(frames + 1, sizeof *sealed->extents)) != NULL);
	must(footer_builder_create(&builder) == ERR_OK);
	file_header_encode(&header, room_for(sealed, FILE_HEADER_SIZE));
	sealed->length = FILE_HEADER_SIZE;
	for (unsigned i = 0; i < frames; i++)
		put_frame(sealed, builder, &seed, header.first_lsn);
	sealed->file.end_lsn = sealed->file.frontier = sealed->file.first_lsn + (sealed->length - FILE_HEADER_SIZE);
	must(footer_build(builder, &sealed->file, &footer, &length, &crc) == ERR_OK);
	memcpy(room_for(sealed, length), footer, length);
	sealed->length += length;
	free(footer);
	footer_builder_destroy(&builder);
}

void sealed_file_free(struct sealed_file *sealed)
{
	free(sealed->bytes);
	free(sealed->extents);
	*sealed = (struct sealed_file){ 0 };
}
