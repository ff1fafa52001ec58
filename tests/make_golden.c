#include "tests/make_golden.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/record.h"
#include "common/topic_config.h"
#include "logd/log.h"

enum { FILE_BYTES = 4096, ORDERS = 0x0101, AUDIT = 0x0202 };

struct maker {
	struct memory_world *world;
	struct log *log;
	uint64_t request;
};

static enum error ignore_frame(void *context, const struct log_frame *frame)
{
	(void)context;
	(void)frame;
	return ERR_OK;
}

static void jobs(struct maker *m)
{
	while (memory_world_prepare_pending(m->world) || memory_world_sync_pending(m->world)) {
		struct sync_job job;
		uint64_t id;
		int error;

		if (memory_world_prepare_pending(m->world)) {
			memory_world_prepare_finish(m->world, &id, &error);
			log_prepared(m->log, id, error);
		}
		if (memory_world_sync_pending(m->world)) {
			memory_world_sync_finish(m->world, &job);
			log_sync_done(m->log, &job);
		}
	}
}

static void start(struct maker *m)
{
	const struct log_options options = {.kind = 'w', .file_bytes = FILE_BYTES, .unsynced_max = 65536};
	const struct log_events events = {0};
	const struct log_visitor visitor = {.frame = ignore_frame};
	struct log_recovered recovered;
	enum error error = log_create(&m->log, &options, memory_world_ops(m->world), &events);

	assert(!error);
	error = log_recover(m->log, &visitor, &recovered);
	assert(!error);
	error = log_recover_finish(m->log);
	assert(!error);
	log_settled(m->log);
	jobs(m);
}

static void stop(struct maker *m)
{
	log_destroy(&m->log);
	memory_world_die(m->world);
}

/* One frame of these entries, then its records; `batch` gets its offset when the length of the table is known. */
static void frame(struct maker *m, struct entry *entries, unsigned count, const uint8_t *records, uint32_t records_length, uint32_t flags)
{
	struct frame_head head = {.flags = flags, .incarnation = 0x77, .request_id = ++m->request, .ts = 1700000000000 + (int64_t)m->request,
	                          .entry_count = count, .records_length = records_length};
	struct log_place place;
	uint64_t topic = 0, last_seq = 0;
	uint32_t offset;
	uint8_t *at;
	enum error error;

	for (unsigned i = 0; i < count; i++)
		head.entries_length += entry_size(&entries[i]);
	offset = FRAME_HEAD + head.entries_length;
	while ((error = log_reserve(m->log, frame_size(head.entries_length, records_length, flags), false, &at))) {
		assert(error == ERR_AGAIN);
		log_write(m->log);
		jobs(m);
	}
	if (records_length > 0)
		memcpy(at + offset, records, records_length);
	for (unsigned i = 0, used = FRAME_HEAD; i < count; i++) {
		if (entries[i].type == ENTRY_BATCH) {
			entries[i].batch.records_offset = offset;
			offset += entries[i].batch.records_length + entries[i].batch.table_length;
			topic = entries[i].topic;
			last_seq = entries[i].batch.first_seq + entries[i].batch.count - 1;
		}
		used += entry_encode(&entries[i], at + used);
	}
	error = log_append(m->log, &head, topic, last_seq, &place);
	assert(!error);
}

static uint32_t record(uint8_t *out, const char *data, const char *meta, const char *tag, uint32_t flags)
{
	uint32_t length = (uint32_t)record_size(strlen(data), strlen(meta), strlen(tag), 0, 0);

	memset(out, 0, length);
	put_u32(out, length);
	put_u32(out + 8, (uint32_t)strlen(data));
	put_u32(out + 12, (uint32_t)strlen(meta));
	put_u32(out + 16, (uint32_t)strlen(tag));
	put_u32(out + 28, flags);
	memcpy(out + RECORD_HEAD, data, strlen(data));
	memcpy(out + RECORD_HEAD + strlen(data), meta, strlen(meta));
	memcpy(out + RECORD_HEAD + strlen(data) + strlen(meta), tag, strlen(tag));
	put_u32(out + 4, record_crc(out, length));
	return length;
}

static struct entry batch_of(uint64_t topic, uint64_t first_seq, uint32_t count, uint32_t length)
{
	struct entry entry = {.type = ENTRY_BATCH, .topic = topic};

	entry.batch.first_seq = first_seq;
	entry.batch.count = entry.batch.live = count;
	entry.batch.records_length = length;
	entry.batch.table_length = record_table_size(count);
	entry.batch.durability = DURABILITY_DISK;
	return entry;
}

/* Three records: with data alone, with meta and tag, with the batch's node. */
static void small_batch(struct maker *m, uint64_t topic, uint64_t first_seq)
{
	uint8_t records[512];
	uint32_t length = record(records, "1", "", "", 0);
	struct entry batch;

	length += record(records + length, "{\"sku\":\"AEROPRESS-GO\"}", "{\"by\":7}", "paid", RECORD_HAS_TAG);
	length += record(records + length, "\"\\u00e9\"", "", "", RECORD_BATCH_NODE);
	batch = batch_of(topic, first_seq, 3, length);
	batch.batch.key = (const uint8_t *)"key-1";
	batch.batch.key_length = 5;
	batch.batch.node = (const uint8_t *)"till";
	batch.batch.node_length = 4;
	batch.batch.payload = 1 + 22 + 8 + 8;
	frame(m, &batch, 1, records, length, 0);
}

/* 70 records, so that there is a table of offsets. */
static void large_batch(struct maker *m, uint64_t topic, uint64_t first_seq)
{
	uint8_t records[70 * 40 + 8] = {0};
	uint32_t length = 0, sixty_fifth = 0;
	struct entry batch;

	for (unsigned i = 0; i < 70; i++) {
		char data[8];

		if (i == RECORD_TABLE_STRIDE)
			sixty_fifth = length;
		snprintf(data, sizeof data, "%u", i);
		length += record(records + length, data, "", "", 0);
	}
	put_u32(records + length, sixty_fifth);
	batch = batch_of(topic, first_seq, 70, length);
	batch.batch.payload = 10 + 60 * 2;
	frame(m, &batch, 1, records, length + batch.batch.table_length, 0);
}

static struct entry create(uint64_t topic, const char *name, uint8_t config[TOPIC_CONFIG_MAX])
{
	struct entry entry = {.type = ENTRY_TOPIC_CREATE, .topic = topic};
	struct topic_config defaults;

	topic_config_default(&defaults);
	entry.create.config = config;
	entry.create.config_length = (uint32_t)topic_config_encode(&defaults, config);
	entry.create.name = (const uint8_t *)name;
	entry.create.name_length = (uint32_t)strlen(name);
	entry.create.ceiling = 4096;
	return entry;
}

/* Entries of all types that this version writes, over two files. */
static void fill(struct maker *m)
{
	uint8_t config[TOPIC_CONFIG_MAX], records[512];
	struct entry both[2], one;
	uint32_t length;

	m->world = memory_world_create(4711);
	start(m);
	one = create(ORDERS, "orders", config);
	frame(m, &one, 1, NULL, 0, 0);
	one = create(AUDIT, "audit", config);
	frame(m, &one, 1, NULL, 0, 0);
	small_batch(m, ORDERS, 1);
	large_batch(m, AUDIT, 1);
	/* One frame for two topics: its table stands twice. */
	length = record(records, "true", "", "", 0);
	both[0] = batch_of(ORDERS, 4, 1, length);
	both[1] = batch_of(AUDIT, 71, 1, record(records + length, "false", "", "", 0));
	both[0].batch.payload = 4;
	both[1].batch.payload = 5;
	frame(m, both, 2, records, length + both[1].batch.records_length, FRAME_TABLE_TWICE);
	one.type = ENTRY_TOPIC_CONFIGURE;
	frame(m, &one, 1, NULL, 0, 0);
	one = (struct entry){.type = ENTRY_CEILING, .topic = ORDERS, .ceiling = {8192}};
	frame(m, &one, 1, NULL, 0, 0);
	one = (struct entry){.type = ENTRY_FLOOR, .topic = ORDERS, .floor = {.floor = 1, .reason = REASON_CAP, .live = 3, .live_bytes = 38}};
	frame(m, &one, 1, NULL, 0, 0);
	one = (struct entry){.type = ENTRY_LOSS, .topic = AUDIT, .loss = {72, 80, REASON_CRASH, ENTRY_POSSIBLE}};
	frame(m, &one, 1, NULL, 0, 0);
	one = (struct entry){.type = ENTRY_ANSWER, .topic = ORDERS, .answer = {.status = ERR_HEAD_MISMATCH, .head = 4}};
	frame(m, &one, 1, NULL, 0, 0);
	log_write(m->log);
	log_sync_start(m->log);
	jobs(m);
	one = (struct entry){.type = ENTRY_SYNC_MARK, .sync_mark = {log_synced(m->log)}};
	frame(m, &one, 1, NULL, 0, 0);
	log_write(m->log);
	log_sync_start(m->log);
	jobs(m);
}

/* Synced up to the mark; then two frames that no sync has covered, and death. */
static struct memory_world *make_killed(void)
{
	struct maker m = {0};

	fill(&m);
	small_batch(&m, ORDERS, 5);
	small_batch(&m, ORDERS, 8);
	log_write(m.log);
	stop(&m);
	return m.world;
}

static struct memory_world *make_recovered(void)
{
	struct maker m = {.world = make_killed(), .request = 100};

	start(&m);
	small_batch(&m, ORDERS, 11);
	log_write(m.log);
	stop(&m);
	return m.world;
}

/* As killed, but the frame before the last is broken: with the same boot a hole, then a void. */
static struct memory_world *make_void(void)
{
	struct maker m = {.world = make_killed(), .request = 200};
	struct file_name names[32];
	unsigned count = memory_world_names(m.world, names, 32);

	for (unsigned i = 0; i < count; i++) {
		uint64_t size;
		const uint8_t *bytes = memory_world_file(m.world, &names[i], &size);

		for (uint64_t at = FILE_HEADER_SIZE; at + FRAME_MIN <= size; at += 8) {
			if (get_u32(bytes + at) == FRAME_MAGIC && get_u16(bytes + at + FRAME_HEAD) == ENTRY_BATCH &&
			    get_u64(bytes + at + FRAME_HEAD + 16) == 5)
				memory_world_damage(m.world, &names[i], at + 16, "\xff", 1);
		}
	}
	start(&m);
	stop(&m);
	return m.world;
}

static struct memory_world *make_clean(void)
{
	struct maker m = {0};
	uint8_t config[TOPIC_CONFIG_MAX], bytes[1024];
	struct entry state = create(ORDERS, "orders", config), topic = {.type = ENTRY_TOPIC_STATE, .topic = ORDERS};
	struct entry key = {.type = ENTRY_KEY, .topic = ORDERS,
	                    .key = {.hash = (const uint8_t *)"0123456789abcdef", .first_seq = 1, .lsn = 512, .ts = 1700000000001, .count = 3}};
	enum error error;

	fill(&m);
	topic.state.head = topic.state.live = 4;
	topic.state.ceiling = 8192;
	topic.state.name = state.create.name;
	topic.state.name_length = state.create.name_length;
	topic.state.config = config;
	topic.state.config_length = state.create.config_length;
	error = log_checkpoint_begin(m.log);
	assert(!error);
	log_checkpoint_frame(m.log, bytes, entry_encode(&topic, bytes), 1);
	log_checkpoint_frame(m.log, bytes, entry_encode(&key, bytes), 1);
	error = log_checkpoint_end(m.log);
	assert(!error);
	error = log_close_clean(m.log);
	assert(!error);
	stop(&m);
	return m.world;
}

/* As killed before its last two frames; the files that were left have footers, and the log says so. */
static struct memory_world *make_sealed(void)
{
	struct maker m = {0};

	fill(&m);
	while (log_seal_start(m.log, UINT64_MAX)) {
		struct seal_job job;
		struct entry said;

		memory_world_seal_finish(m.world, &job);
		assert(job.result == ERR_OK);
		log_sealed(m.log, &job);
		free(job.topics);
		free(job.keys);
		if (log_sealed_entry(m.log, &said)) {
			frame(&m, &said, 1, NULL, 0, 0);
			log_sealed_noted(m.log, said.file.id);
		}
	}
	log_write(m.log);
	log_sync_start(m.log);
	jobs(&m);
	stop(&m);
	return m.world;
}

const struct golden golden_images[] = {
	{"killed", make_killed},
	{"recovered", make_recovered},
	{"void", make_void},
	{"clean", make_clean},
	{"sealed", make_sealed},
};
const unsigned golden_count = sizeof golden_images / sizeof *golden_images;

void golden_file_name(const struct file_name *name, char out[48])
{
	if (name->kind == 'q')
		snprintf(out, 48, "q%016llx-%llu", (unsigned long long)name->id, (unsigned long long)name->offset);
	else
		snprintf(out, 48, "%c%016llx", name->kind, (unsigned long long)name->id);
}
