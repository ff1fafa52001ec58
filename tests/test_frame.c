#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/frame.h"
#include "common/record.h"
#include "common/topic_config.h"

enum { FILE_ID = 0x1122334455667788, OFFSET = 4096, LSN = 70000, COUNT = 3 };

static uint32_t put_record(uint8_t *out, const char *data)
{
	uint32_t length = (uint32_t)record_size(strlen(data), 0, 0, 0, 0);

	memset(out, 0, length);
	put_u32(out, length);
	put_u32(out + 8, (uint32_t)strlen(data));
	memcpy(out + RECORD_HEAD, data, strlen(data));
	put_u32(out + 4, record_crc(out, length));
	return length;
}

/* A frame of two entries, a batch of three records and a ceiling; returns its length. */
static uint32_t build(uint8_t *frame, struct frame_head *head, uint32_t flags)
{
	struct entry batch = {.type = ENTRY_BATCH, .topic = 5};
	struct entry ceiling = {.type = ENTRY_CEILING, .topic = 5, .ceiling = {4096}};
	uint8_t records[256];
	uint32_t length = 0;

	length += put_record(records, "1");
	length += put_record(records + length, "{\"a\":2}");
	length += put_record(records + length, "\"a longer third\"");
	batch.batch.first_seq = 10;
	batch.batch.count = batch.batch.live = COUNT;
	batch.batch.durability = 2;
	batch.batch.key = (const uint8_t *)"key";
	batch.batch.key_length = 3;
	batch.batch.node = (const uint8_t *)"node";
	batch.batch.node_length = 4;
	batch.batch.records_length = length;
	*head = (struct frame_head){.flags = flags, .lsn = LSN, .frontier = 600, .prev_crc = 77, .incarnation = 1, .request_id = 2, .entry_count = 2};
	head->entries_length = entry_size(&batch) + entry_size(&ceiling);
	head->records_length = length;
	head->length = (uint32_t)frame_size(head->entries_length, length, flags);
	batch.batch.records_offset = FRAME_HEAD + head->entries_length;
	memset(frame, 0, head->length);
	entry_encode(&ceiling, frame + FRAME_HEAD + entry_encode(&batch, frame + FRAME_HEAD));
	memcpy(frame + batch.batch.records_offset, records, length);
	frame_seal(frame, head, FILE_ID, OFFSET);
	return head->length;
}

static enum error check(const uint8_t *frame, uint64_t available)
{
	struct frame_head head;

	return frame_check(frame, available, FILE_ID, OFFSET, LSN, &head);
}

static void sealed_frame_is_valid_and_whole_and_decodes_to_what_went_in(void **state)
{
	uint8_t frame[1024], again[FRAME_HEAD];
	struct frame_head head, decoded;
	struct entry entry;
	uint32_t length = build(frame, &head, 0);

	(void)state;
	assert_int_equal(frame_check(frame, length, FILE_ID, OFFSET, LSN, &decoded), ERR_OK);
	frame_head_encode(&decoded, again);
	assert_memory_equal(again, frame, sizeof again);
	assert_int_equal(decoded.crc, head.crc);
	assert_int_equal(decoded.request_id, 2);
	assert_true(frame_whole(frame, &decoded));
	assert_int_equal(frame[length - 1], 0x21); /* never 0 */
	assert_int_equal(entry_decode(&entry, frame + FRAME_HEAD, head.entries_length), ERR_OK);
	assert_int_equal(entry.type, ENTRY_BATCH);
	assert_int_equal(entry.batch.first_seq, 10);
	assert_memory_equal(entry.batch.key, "key", 3);
	assert_memory_equal(entry.batch.node, "node", 4);
	assert_int_equal(entry_decode(&entry, frame + FRAME_HEAD + entry.length, head.entries_length - entry.length), ERR_OK);
	assert_int_equal(entry.ceiling.ceiling, 4096);
}

static void frame_of_another_file_place_or_lsn_is_refused(void **state)
{
	uint8_t frame[1024];
	struct frame_head head;
	uint32_t length = build(frame, &head, 0);

	(void)state;
	assert_int_equal(frame_check(frame, length, FILE_ID + 1, OFFSET, LSN, &head), ERR_CORRUPT);
	assert_int_equal(frame_check(frame, length, FILE_ID, OFFSET + 8, LSN, &head), ERR_CORRUPT);
	assert_int_equal(frame_check(frame, length, FILE_ID, OFFSET, LSN + 8, &head), ERR_CORRUPT);
}

static void every_flipped_bit_makes_the_frame_invalid_or_not_whole(void **state)
{
	uint8_t frame[1024];
	struct frame_head head;

	(void)state;
	for (uint32_t flags = 0; flags <= FRAME_TABLE_TWICE; flags++) {
		uint32_t length = build(frame, &head, flags), copy = FRAME_HEAD + head.entries_length + head.records_length;

		for (uint32_t bit = 0; bit < length * 8; bit++) {
			if (bit / 8 >= copy && bit / 8 < length - FRAME_TAIL)
				continue; /* the copy has its own CRC */
			frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (frame_check(frame, length, FILE_ID, OFFSET, LSN, &head) == ERR_OK && frame_whole(frame, &head))
				fail_msg("bit %u of byte %u of %u", bit % 8, bit / 8, length);
			frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

static void data_byte_that_changed_leaves_the_frame_valid_but_not_whole(void **state)
{
	uint8_t frame[1024];
	struct frame_head head;
	uint32_t length = build(frame, &head, 0);

	(void)state;
	frame[FRAME_HEAD + head.entries_length + RECORD_HEAD] ^= 1;
	assert_int_equal(check(frame, length), ERR_OK);
	assert_false(frame_whole(frame, &head));
}

static void frame_cut_anywhere_is_refused_without_reading_past_the_cut(void **state)
{
	uint8_t frame[1024];
	struct frame_head head;
	uint32_t length = build(frame, &head, FRAME_TABLE_TWICE);

	(void)state;
	for (uint32_t available = 0; available < length; available += 4) {
		uint8_t *exact = malloc(available ? available : 1); /* so that a sanitizer sees a byte too many */

		memcpy(exact, frame, available);
		assert_int_equal(check(exact, available), ERR_CORRUPT);
		free(exact);
	}
}

static void second_table_is_found_when_head_or_first_table_is_broken(void **state)
{
	uint8_t frame[1024];
	struct frame_head head;
	const uint8_t *entries;
	uint32_t entries_length;
	uint32_t length = build(frame, &head, FRAME_TABLE_TWICE);

	(void)state;
	for (uint32_t broken = 0; broken < FRAME_HEAD + head.entries_length; broken += 3) {
		frame[broken] ^= 0x55;
		assert_true(frame_table_copy(frame, length, FILE_ID, OFFSET, &entries, &entries_length));
		assert_int_equal(entries_length, head.entries_length);
		assert_int_equal(get_u16(entries), ENTRY_BATCH);
		frame[broken] ^= 0x55;
	}
	frame[length - FRAME_TAIL - 12] ^= 1;
	assert_false(frame_table_copy(frame, length, FILE_ID, OFFSET, &entries, &entries_length));
	length = build(frame, &head, 0);
	assert_false(frame_table_copy(frame, length, FILE_ID, OFFSET, &entries, &entries_length));
}

static void crc_is_the_one_that_the_format_text_describes(void **state)
{
	uint8_t frame[1024], stream[2048];
	struct frame_head head;
	size_t used = 0;
	uint32_t length = build(frame, &head, 0), at = FRAME_HEAD + head.entries_length;

	(void)state;
	put_u64(stream, FILE_ID);
	put_u64(stream + 8, OFFSET);
	memcpy(stream + 16, frame, 12);
	memcpy(stream + 28, frame + 16, FRAME_HEAD + head.entries_length - 16);
	used = 28 + FRAME_HEAD + head.entries_length - 16;
	for (int i = 0; i < COUNT; i++) {
		memcpy(stream + used, frame + at + 4, 4);
		used += 4;
		at += get_u32(frame + at);
	}
	memcpy(stream + used, frame + length - 8, 8);
	assert_int_equal(head.crc, crc32c_portable(0, stream, used + 8));
	assert_int_equal(get_u32(frame + 12), head.crc);
}

static void forged_frames_with_a_right_crc_are_refused_for_their_meaning(void **state)
{
	/* Offsets in the entry table of a batch: what they hold, and what they may not. */
	static const struct { uint32_t at; uint32_t value; } forged[] = {
		{8, 0},          /* topic 0 (its high half is 0 too) */
		{16, 0},         /* first seq 0 */
		{24, 0},         /* no record */
		{24, 4},         /* more than are live, without a bitmap */
		{28, 8},         /* records before the record area */
		{32, 40},        /* fewer bytes of records than the area has */
		{36, 8},         /* a table where none belongs */
		{40, 5},         /* a key that eats the padding and more */
		{48, 2},         /* live is not count */
		{52, 7},         /* no such class */
	};
	uint8_t frame[1024];
	struct frame_head head;

	(void)state;
	for (unsigned i = 0; i < sizeof forged / sizeof *forged; i++) {
		uint32_t length = build(frame, &head, 0);

		put_u32(frame + FRAME_HEAD + forged[i].at, forged[i].value);
		frame_seal(frame, &head, FILE_ID, OFFSET);
		if (check(frame, length) != ERR_CORRUPT)
			fail_msg("forgery %u", i);
	}
}

static void unknown_entry_in_a_frame_that_else_holds_is_newer(void **state)
{
	uint8_t frame[1024];
	struct frame_head head;
	uint32_t length = build(frame, &head, 0);

	(void)state;
	put_u16(frame + FRAME_HEAD + head.entries_length - 24, ENTRY_TYPE_END);
	frame_seal(frame, &head, FILE_ID, OFFSET);
	assert_int_equal(check(frame, length), ERR_NEWER);
	frame[FRAME_HEAD + head.entries_length - 4] ^= 1;
	assert_int_equal(check(frame, length), ERR_CORRUPT);
}

static void void_frame_counts_whatever_its_bytes_are(void **state)
{
	static uint8_t frame[5000];
	struct frame_head head = {.lsn = LSN, .entries_length = ENTRY_HEAD, .entry_count = 1, .length = 5000 - 8};
	struct entry entry = {.type = ENTRY_VOID};

	(void)state;
	head.records_length = head.length - FRAME_MIN;
	entry_encode(&entry, frame + FRAME_HEAD);
	memset(frame + FRAME_HEAD + ENTRY_HEAD, 0xa5, head.records_length);
	frame_seal(frame, &head, FILE_ID, OFFSET);
	assert_int_equal(check(frame, sizeof frame), ERR_OK);
	assert_true(frame_whole(frame, &head));
	frame[2000] ^= 1;
	assert_int_equal(check(frame, sizeof frame), ERR_OK);
}

/* ---- entries ---- */

static void round_trip(const struct entry *entry)
{
	uint8_t bytes[1024], again[1024];
	struct entry decoded;
	uint32_t length = entry_encode(entry, bytes);

	assert_int_equal(length, entry_size(entry));
	assert_int_equal(length % 8, 0);
	assert_int_equal(entry_decode(&decoded, bytes, length), ERR_OK);
	assert_int_equal(decoded.type, entry->type);
	assert_int_equal(decoded.length, length);
	memset(again, 0xee, sizeof again);
	assert_int_equal(entry_encode(&decoded, again), length);
	assert_memory_equal(again, bytes, length);
	for (uint32_t available = 0; available < length; available++)
		assert_int_equal(entry_decode(&decoded, bytes, available), ERR_CORRUPT);
}

static void every_entry_that_we_write_comes_back_as_it_was(void **state)
{
	struct topic_config config;
	uint8_t bytes[TOPIC_CONFIG_MAX], bitmap[8] = {0x15};
	uint32_t config_length;

	(void)state;
	topic_config_default(&config);
	config_length = (uint32_t)topic_config_encode(&config, bytes);
	round_trip(&(struct entry){.type = ENTRY_BATCH, .flags = ENTRY_CREATED, .topic = 1,
	                           .batch = {.first_seq = 1, .count = 70, .records_length = 80, .table_length = 8, .live = 70, .durability = 3}});
	round_trip(&(struct entry){.type = ENTRY_BATCH, .flags = ENTRY_BITMAP, .topic = 1,
	                           .batch = {.first_seq = 1, .count = 5, .live = 3, .key_length = 5, .key = (const uint8_t *)"a key",
	                                     .bitmap = bitmap}});
	round_trip(&(struct entry){.type = ENTRY_TOPIC_CREATE, .topic = 3,
	                           .create = {.ceiling = 9, .name_length = 6, .name = (const uint8_t *)"orders", .config = bytes,
	                                      .config_length = config_length}});
	round_trip(&(struct entry){.type = ENTRY_TOPIC_CONFIGURE, .topic = 3, .create = {.config = bytes, .config_length = config_length}});
	round_trip(&(struct entry){.type = ENTRY_TOPIC_DELETE, .topic = 3,
	                           .create = {.ceiling = 2, .name_length = 6, .name = (const uint8_t *)"orders"}});
	round_trip(&(struct entry){.type = ENTRY_CEILING, .flags = ENTRY_CLOSED, .topic = 3, .ceiling = {12}});
	round_trip(&(struct entry){.type = ENTRY_FLOOR, .topic = 3, .floor = {.floor = 1, .reason = REASON_TTL, .live = 2, .live_bytes = 3}});
	round_trip(&(struct entry){.type = ENTRY_LOSS, .topic = 3, .loss = {1, 9, REASON_CRASH, ENTRY_POSSIBLE}});
	round_trip(&(struct entry){.type = ENTRY_VOID});
	round_trip(&(struct entry){.type = ENTRY_ANSWER, .topic = 3, .answer = {ERR_HEAD_MISMATCH, 1, 2, 3, 4}});
	round_trip(&(struct entry){.type = ENTRY_SYNC_MARK, .flags = ENTRY_CLEAN_STOP, .sync_mark = {512}});
	round_trip(&(struct entry){.type = ENTRY_FILE_BORN, .file = {.id = 1, .number = 2, .first_lsn = 3, .kind = 'w'}});
	round_trip(&(struct entry){.type = ENTRY_FILE_RETIRED, .file = {.id = 1}});
	round_trip(&(struct entry){.type = ENTRY_TOPIC_STATE, .topic = 3,
	                           .state = {.head = 5, .ceiling = 6, .floor = 1, .live = 4, .live_bytes = 40, .last_write_ts = -1,
	                                     .name_length = 6, .name = (const uint8_t *)"orders", .config = bytes,
	                                     .config_length = config_length, .flags = 1}});
	round_trip(&(struct entry){.type = ENTRY_KEY, .topic = 3,
	                           .key = {.hash = (const uint8_t *)"0123456789abcdef", .first_seq = 1, .lsn = 512, .ts = 9, .count = 2}});
	round_trip(&(struct entry){.type = ENTRY_FILE_STATE, .file = {.id = 1, .number = 2, .first_lsn = 3, .end_lsn = 4, .kind = 'w'}});
	round_trip(&(struct entry){.type = ENTRY_CHECKPOINT_END, .checkpoint_end = {512, 3}});
}

static void entries_of_later_parts_are_checked_for_their_shape_and_carried(void **state)
{
	/* A router put: fixed 40 bytes, then four strings of 1, 2, 3 and 2 bytes: 8 + 48 = 56. */
	uint8_t bytes[64] = {0}, again[64];
	struct entry entry;

	(void)state;
	put_u16(bytes, ENTRY_ROUTER_PUT);
	put_u32(bytes + 4, 56);
	put_u64(bytes + 8, 11);
	put_u32(bytes + 28, 1);
	put_u32(bytes + 32, 2);
	put_u32(bytes + 36, 3);
	put_u32(bytes + 40, 2);
	memcpy(bytes + 48, "abbcccdd", 8);
	assert_int_equal(entry_decode(&entry, bytes, 56), ERR_OK);
	assert_int_equal(entry_encode(&entry, again), 56);
	assert_memory_equal(again, bytes, 56);
	put_u32(bytes + 40, 3);
	assert_int_equal(entry_decode(&entry, bytes, 56), ERR_CORRUPT);
	put_u32(bytes + 40, 0xffffffff);
	assert_int_equal(entry_decode(&entry, bytes, 56), ERR_CORRUPT);
}

/* ---- file headers ---- */

static void header(struct file_header *h, uint8_t bytes[FILE_HEADER_SIZE])
{
	*h = (struct file_header){.id = 9, .kind = 'w', .number = 4, .first_lsn = 1024, .predecessor = 8, .predecessor_end = 1024, .frontier = 800,
	                          .ts = 5, .size = 65536, .chain = 3, .flags = FILE_MADE_WHOLE, .prev_topic = 2, .prev_last_seq = 1};
	memcpy(h->boot.boot_id, "0123456789abcdef", 16);
	h->boot.superblock = 6;
	file_header_encode(h, bytes);
}

static void file_header_comes_back_as_it_was_and_no_bit_may_change(void **state)
{
	uint8_t bytes[FILE_HEADER_SIZE], again[FILE_HEADER_SIZE];
	struct file_header h, decoded;

	(void)state;
	header(&h, bytes);
	assert_int_equal(file_header_decode(&decoded, bytes), ERR_OK);
	file_header_encode(&decoded, again);
	assert_memory_equal(again, bytes, sizeof bytes);
	assert_int_equal(decoded.predecessor_end, 1024);
	assert_int_equal(decoded.boot.superblock, 6);
	for (unsigned bit = 0; bit < FILE_HEADER_SIZE * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(file_header_decode(&decoded, bytes), ERR_CORRUPT);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void header_of_zeros_holds_nothing(void **state)
{
	uint8_t bytes[FILE_HEADER_SIZE] = {0};
	struct file_header decoded;

	(void)state;
	assert_int_equal(file_header_decode(&decoded, bytes), ERR_AGAIN);
}

static void newer_version_or_unknown_feature_with_a_good_crc_is_newer(void **state)
{
	uint8_t bytes[FILE_HEADER_SIZE];
	struct file_header h, decoded;

	(void)state;
	header(&h, bytes);
	h.features = 2;
	file_header_encode(&h, bytes);
	assert_int_equal(file_header_decode(&decoded, bytes), ERR_NEWER);
	header(&h, bytes);
	put_u32(bytes + 8, 2);
	assert_int_equal(file_header_decode(&decoded, bytes), ERR_CORRUPT);
	put_u32(bytes + 508, crc32c(0, bytes, 508));
	assert_int_equal(file_header_decode(&decoded, bytes), ERR_NEWER);
}

static void header_that_does_not_begin_where_its_predecessor_ends_is_refused(void **state)
{
	uint8_t bytes[FILE_HEADER_SIZE];
	struct file_header h, decoded;

	(void)state;
	header(&h, bytes);
	h.predecessor_end = 1032;
	file_header_encode(&h, bytes);
	assert_int_equal(file_header_decode(&decoded, bytes), ERR_CORRUPT);
	h.predecessor = 0;
	file_header_encode(&h, bytes);
	assert_int_equal(file_header_decode(&decoded, bytes), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sealed_frame_is_valid_and_whole_and_decodes_to_what_went_in),
		cmocka_unit_test(frame_of_another_file_place_or_lsn_is_refused),
		cmocka_unit_test(every_flipped_bit_makes_the_frame_invalid_or_not_whole),
		cmocka_unit_test(data_byte_that_changed_leaves_the_frame_valid_but_not_whole),
		cmocka_unit_test(frame_cut_anywhere_is_refused_without_reading_past_the_cut),
		cmocka_unit_test(second_table_is_found_when_head_or_first_table_is_broken),
		cmocka_unit_test(crc_is_the_one_that_the_format_text_describes),
		cmocka_unit_test(forged_frames_with_a_right_crc_are_refused_for_their_meaning),
		cmocka_unit_test(unknown_entry_in_a_frame_that_else_holds_is_newer),
		cmocka_unit_test(void_frame_counts_whatever_its_bytes_are),
		cmocka_unit_test(every_entry_that_we_write_comes_back_as_it_was),
		cmocka_unit_test(entries_of_later_parts_are_checked_for_their_shape_and_carried),
		cmocka_unit_test(file_header_comes_back_as_it_was_and_no_bit_may_change),
		cmocka_unit_test(header_of_zeros_holds_nothing),
		cmocka_unit_test(newer_version_or_unknown_feature_with_a_good_crc_is_newer),
		cmocka_unit_test(header_that_does_not_begin_where_its_predecessor_ends_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
