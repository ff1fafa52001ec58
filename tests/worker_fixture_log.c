/* The fixture's topics, log files and batches, written with the real codec. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/record.h"
#include "tests/worker_fixture.h"
#include "worker/files.h"

uint32_t fixture_topic(struct worker_fixture *f, const char *name)
{
	struct topic_config config;
	struct topic_numbers numbers = { .id = 0xabcdef0000000000u + catalogue_topic_count(f->reader) + 1, .earliest = 1 };
	uint32_t slot = 0;
	topic_config_default(&config);
	assert_int_equal(catalogue_topic_add(f->catalogue, name, strlen(name), &config, &numbers, &slot), ERR_OK);
	return slot;
}

uint64_t fixture_id(struct worker_fixture *f, uint32_t slot)
{
	struct topic_numbers numbers;
	assert_int_equal(catalogue_numbers(f->reader, slot, &numbers), ERR_OK);
	return numbers.id;
}

void fixture_publish(struct worker_fixture *f, uint32_t slot, uint64_t head)
{
	struct topic_numbers numbers;
	assert_int_equal(catalogue_numbers(f->reader, slot, &numbers), ERR_OK);
	numbers.head = numbers.durable = head;
	numbers.count = head + 1 - numbers.earliest;
	catalogue_topic_numbers(f->catalogue, slot, &numbers);
}

void fixture_file(struct worker_fixture *f, bool given, struct fixture_file *file)
{
	uint8_t bytes[FILE_HEADER_SIZE];
	struct file_header header = { .id = 1000 + ++f->files, .kind = 'w', .number = f->files, .first_lsn = LSN_FIRST, .size = 1 << 20, .flags = FILE_MADE_WHOLE };
	*file = (struct fixture_file){ .id = header.id, .kind = 'w', .end = FILE_HEADER_SIZE };
	snprintf(file->path, sizeof file->path, "%s/w%016llx", f->directory, (unsigned long long)file->id);
	file->fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(file->fd >= 0);
	file_header_encode(&header, bytes);
	assert_int_equal(pwrite(file->fd, bytes, sizeof bytes, 0), sizeof bytes);
	assert_int_equal(catalogue_file_add(f->catalogue, file->id, header.number, header.first_lsn, file->kind, &file->index), ERR_OK);
	if (given)
		fixture_give(f, file);
}

void fixture_give(struct worker_fixture *f, const struct fixture_file *file)
{
	int fd = open(file->path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	files_given(f->worker.files, file->kind, file->id, fd, 0);
}

static uint32_t put_record(uint8_t *out, const struct fixture_batch *b, uint32_t index, uint64_t seq)
{
	const char *node = b->nodes != NULL ? b->nodes[index] : NULL, *tag = b->tag, *meta = b->meta;
	uint32_t data = b->data_length == 0 ? 16 : b->data_length, meta_length = meta != NULL ? (uint32_t)strlen(meta) : 0;
	uint32_t tag_length = tag != NULL ? (uint32_t)strlen(tag) : 0, node_length = node != NULL ? (uint32_t)strlen(node) : 0;
	uint32_t length = (uint32_t)record_size(data, meta_length, tag_length, node_length, 0);
	uint8_t *at = out + RECORD_HEAD;
	memset(out, 0, length);
	put_u32(out, length);
	put_u32(out + 8, data);
	put_u32(out + 12, meta_length);
	put_u32(out + 16, tag_length);
	put_u32(out + 20, node_length);
	put_u32(out + 28, (tag != NULL ? RECORD_HAS_TAG : 0u) | (node != NULL ? RECORD_HAS_NODE : b->node != NULL ? RECORD_BATCH_NODE : 0u));
	memset(at, ' ', data);
	at[snprintf((char *)at, data, "{\"n\":%llu}", (unsigned long long)seq)] = ' ';
	at += data;
	memcpy(at, meta != NULL ? meta : "", meta_length);
	memcpy(at + meta_length, tag != NULL ? tag : "", tag_length);
	memcpy(at + meta_length + tag_length, node != NULL ? node : "", node_length);
	put_u32(out + 4, record_crc(out, length));
	return length;
}

/* The record area: records, then their table of offsets. Returns the records' bytes. */
static uint32_t put_records(uint8_t *area, const struct fixture_batch *b, uint64_t first)
{
	uint32_t length = 0, *offsets = calloc(b->count / RECORD_TABLE_STRIDE + 1, sizeof *offsets);
	for (uint32_t i = 0; i < b->count; i++) {
		if (i > 0 && i % RECORD_TABLE_STRIDE == 0)
			offsets[i / RECORD_TABLE_STRIDE - 1] = length;
		length += put_record(area + length, b, i, first + i);
	}
	for (uint32_t i = 0; b->count > RECORD_TABLE_STRIDE && i < (b->count - 1) / RECORD_TABLE_STRIDE; i++)
		put_u32(area + length + 4 * (size_t)i, offsets[i]);
	free(offsets);
	return length;
}

struct extent fixture_batch(struct worker_fixture *f, struct fixture_file *file, uint32_t slot, uint64_t first, const struct fixture_batch *b)
{
	uint32_t data = b->data_length == 0 ? 16 : b->data_length;
	uint8_t *frame = calloc(1, 4096 + (size_t)b->count * (data + 512));
	struct entry entry = { .type = ENTRY_BATCH, .topic = fixture_id(f, slot) };
	struct frame_head head = { .lsn = file->end, .ts = FIXTURE_TS + (int64_t)first, .entry_count = 1, .incarnation = 7, .request_id = first };
	entry.batch.first_seq = first;
	entry.batch.count = entry.batch.live = b->count;
	entry.batch.node = (const uint8_t *)b->node;
	entry.batch.node_length = b->node != NULL ? (uint32_t)strlen(b->node) : 0;
	entry.batch.payload = (uint64_t)b->count * data;
	entry.batch.table_length = record_table_size(b->count);
	head.entries_length = entry_size(&entry);
	entry.batch.records_offset = FRAME_HEAD + head.entries_length;
	entry.batch.records_length = put_records(frame + entry.batch.records_offset, b, first);
	entry_encode(&entry, frame + FRAME_HEAD);
	head.records_length = entry.batch.records_length + entry.batch.table_length;
	head.length = (uint32_t)frame_size(head.entries_length, head.records_length, 0);
	frame_seal(frame, &head, file->id, file->end);
	assert_int_equal(frame_check(frame, head.length, file->id, file->end, head.lsn, &head), ERR_OK);
	assert_true(frame_whole(frame, &head));
	assert_int_equal(pwrite(file->fd, frame, head.length, (off_t)file->end), head.length);
	struct extent extent = { .first_seq = first, .offset = file->end, .payload = entry.batch.payload, .count = b->count, .length = head.length,
	                         .file = file->index, .entry = FRAME_HEAD };
	assert_int_equal(catalogue_extent_add(f->catalogue, slot, &extent), ERR_OK);
	file->end += head.length;
	free(frame);
	return extent;
}

static uint32_t u32_at(const struct fixture_file *file, uint64_t offset)
{
	uint8_t bytes[4];
	assert_int_equal(pread(file->fd, bytes, 4, (off_t)offset), 4);
	return get_u32(bytes);
}

void fixture_damage(const struct fixture_file *file, uint64_t offset, uint8_t bits)
{
	uint8_t byte;
	assert_int_equal(pread(file->fd, &byte, 1, (off_t)offset), 1);
	byte = (uint8_t)(byte ^ bits);
	assert_int_equal(pwrite(file->fd, &byte, 1, (off_t)offset), 1);
}

uint64_t fixture_record_offset(const struct fixture_file *file, const struct extent *extent, uint32_t index)
{
	uint64_t at = extent->offset + FRAME_HEAD + u32_at(file, extent->offset + 36);
	while (index-- > 0)
		at += u32_at(file, at);
	return at;
}
