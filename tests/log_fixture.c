#include "tests/log_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/record.h"

static void on_born(void *context, uint64_t id, uint64_t number, uint64_t first_lsn)
{
	(void)id;
	(void)number;
	(void)first_lsn;
	((struct fixture *)context)->born++;
}

static void on_retired(void *context, uint64_t id)
{
	(void)id;
	((struct fixture *)context)->retired++;
}

static void on_moved(void *context, const uint8_t *frame, const struct log_place *place)
{
	struct fixture *f = context;
	uint64_t number = get_u64(frame + 64);

	f->moved++;
	assert_true(fixture_frame_right(frame, place->length));
	if (number < FIXTURE_SEEN)
		f->places[number] = *place;
}

static void on_evicted(void *context, const uint8_t *frame)
{
	struct fixture *f = context;

	f->evicted++;
	assert_true(get_u64(frame + 64) == f->last_evicted + 1);
	f->last_evicted++;
}

static enum error on_frame(void *context, const struct log_frame *frame)
{
	struct fixture *f = context;
	struct seen_frame *seen = &f->seen[f->seen_count++];
	uint16_t type = get_u16(frame->bytes + FRAME_HEAD);

	assert_true(f->seen_count < FIXTURE_SEEN);
	*seen = (struct seen_frame){
		.number = type == ENTRY_BATCH ? frame->head->request_id : 0,
		.place = frame->place,
		.proven = frame->proven,
		.whole = frame->whole,
		.checkpoint = frame->checkpoint,
		.before_checkpoint = frame->before_checkpoint,
		.is_void = type == ENTRY_VOID,
		.is_mark = type == ENTRY_SYNC_MARK,
	};
	if (seen->number && frame->whole)
		assert_true(fixture_frame_right(frame->bytes, frame->place.length));
	return ERR_OK;
}

static enum error on_damage(void *context, const struct log_damage *damage)
{
	struct fixture *f = context;

	assert_true(f->damage_count < 64);
	f->damage[f->damage_count++] = *damage;
	return ERR_OK;
}

void fixture_init(struct fixture *f, uint64_t seed, uint8_t kind, uint64_t file_bytes)
{
	memset(f, 0, sizeof *f);
	f->world = memory_world_create(seed);
	f->options = (struct log_options){.kind = kind, .file_bytes = file_bytes, .unsynced_max = 1 << 20};
	f->next = 1;
}

void fixture_free(struct fixture *f)
{
	log_destroy(&f->log);
	memory_world_destroy(&f->world);
}

enum error fixture_recover(struct fixture *f)
{
	const struct log_events events = {.context = f, .born = on_born, .retired = on_retired, .moved = on_moved, .evicted = on_evicted};
	const struct log_visitor visitor = {.context = f, .frame = on_frame, .damage = on_damage};
	enum error error = log_create(&f->log, &f->options, memory_world_ops(f->world), &events);

	f->seen_count = f->damage_count = 0;
	return error ? error : log_recover(f->log, &visitor, &f->recovered);
}

enum error fixture_start(struct fixture *f)
{
	enum error error = fixture_recover(f);

	if (!error)
		error = log_recover_finish(f->log);
	while (!error && fixture_jobs(f))
		;
	if (!error && !f->unsettled)
		log_settled(f->log);
	return error;
}

void fixture_die(struct fixture *f)
{
	log_destroy(&f->log);
	memory_world_die(f->world);
}

/* Three records; their bytes follow from the number. */
static uint32_t put_records(uint8_t *out, uint64_t number, uint32_t bytes)
{
	uint8_t *at = out;

	for (uint32_t i = 0; i < 3; i++) {
		uint32_t data = 1 + bytes / 3 + (uint32_t)((number + i) % 5);
		uint32_t length = (uint32_t)record_size(data, 0, 0, 0, 0);

		memset(at, 0, length);
		put_u32(at, length);
		put_u32(at + 8, data);
		for (uint32_t k = 0; k < data; k++)
			at[RECORD_HEAD + k] = (uint8_t)((number * 31 + i * 7 + k * k) % 251);
		put_u32(at + 4, record_crc(at, length));
		at += length;
	}
	return (uint32_t)(at - out);
}

static uint32_t records_bytes(uint64_t number, uint32_t bytes)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < 3; i++)
		sum += (uint32_t)record_size(1 + bytes / 3 + (uint32_t)((number + i) % 5), 0, 0, 0, 0);
	return sum;
}

bool fixture_frame_right(const uint8_t *frame, uint64_t length)
{
	struct frame_head head;
	struct entry entry;
	static uint8_t expected[1 << 21];
	uint32_t data, bytes;

	if (frame_head_decode(&head, frame, length) != ERR_OK || entry_decode(&entry, frame + FRAME_HEAD, head.entries_length) != ERR_OK)
		return false;
	if (entry.type != ENTRY_BATCH)
		return true;
	data = get_u32(frame + entry.batch.records_offset + 8);
	bytes = (data - 1 - (uint32_t)(head.request_id % 5)) * 3;
	return entry.batch.first_seq == 3 * head.request_id && put_records(expected, head.request_id, bytes) == entry.batch.records_length &&
	       memcmp(expected, frame + entry.batch.records_offset, entry.batch.records_length) == 0;
}

enum error fixture_append(struct fixture *f, uint32_t bytes, bool control)
{
	struct entry entry = {.type = ENTRY_BATCH, .topic = FIXTURE_TOPIC};
	struct frame_head head = {.request_id = f->next, .incarnation = 1, .entry_count = 1, .ts = (int64_t)f->next};
	struct log_place place;
	uint8_t *frame;
	enum error error;

	entry.batch.first_seq = 3 * f->next;
	entry.batch.count = entry.batch.live = 3;
	entry.batch.durability = 3;
	entry.batch.records_length = records_bytes(f->next, bytes);
	head.entries_length = entry_size(&entry);
	head.records_length = entry.batch.records_length;
	entry.batch.records_offset = FRAME_HEAD + head.entries_length;
	error = log_reserve(f->log, frame_size(head.entries_length, head.records_length, 0), control, &frame);
	if (error)
		return error;
	entry_encode(&entry, frame + FRAME_HEAD);
	put_records(frame + entry.batch.records_offset, f->next, bytes);
	error = log_append(f->log, &head, FIXTURE_TOPIC, 3 * f->next + 2, &place);
	if (error)
		return error;
	if (f->next > f->highest)
		f->highest = f->next;
	f->places[f->next++] = place;
	return ERR_OK;
}

bool fixture_seal(struct fixture *f, struct seal_job *out)
{
	struct seal_job job;

	if (!memory_world_seal_pending(f->world) && !log_seal_start(f->log, UINT64_MAX))
		return false;
	memory_world_seal_finish(f->world, &job);
	f->sealed += job.result == ERR_OK;
	log_sealed(f->log, &job);
	free(job.topics);
	free(job.keys);
	job.topics = NULL;
	job.keys = NULL;
	if (out)
		*out = job;
	return true;
}

bool fixture_jobs(struct fixture *f)
{
	bool any = !f->holds_seals && fixture_seal(f, NULL);
	struct sync_job job;
	uint64_t id;
	int error;

	if (memory_world_prepare_pending(f->world)) {
		memory_world_prepare_finish(f->world, &id, &error);
		log_prepared(f->log, id, error);
		any = true;
	}
	if (memory_world_sync_pending(f->world)) {
		memory_world_sync_finish(f->world, &job);
		log_sync_done(f->log, &job);
		any = true;
	}
	return any;
}

void fixture_write(struct fixture *f, uint32_t bytes)
{
	enum error error;

	for (unsigned i = 0; (error = fixture_append(f, bytes, false)) == ERR_AGAIN; i++) {
		assert_in_range(i, 0, 10000);
		assert_int_equal(log_write(f->log), ERR_OK);
		if (log_seal_wanted(f->log))
			log_sync_start(f->log);
		fixture_jobs(f);
	}
	assert_int_equal(error, ERR_OK);
	assert_int_equal(log_write(f->log), ERR_OK);
	if (memory_world_prepare_pending(f->world)) {
		uint64_t id;
		int failed;

		memory_world_prepare_finish(f->world, &id, &failed);
		log_prepared(f->log, id, failed);
	}
}

void fixture_sync(struct fixture *f)
{
	while (log_synced(f->log) < log_written(f->log) || log_syncing(f->log)) {
		if (!log_syncing(f->log))
			assert_true(log_sync_start(f->log));
		assert_true(fixture_jobs(f));
	}
	assert_int_equal(log_state(f->log), LOG_OPEN);
}

void fixture_saw(const struct fixture *f, uint64_t from, uint64_t to)
{
	uint64_t expected = from;

	for (unsigned i = 0; i < f->seen_count; i++)
		if (f->seen[i].number)
			assert_int_equal(f->seen[i].number, expected++);
	assert_int_equal(expected, to + 1 > from ? to + 1 : from);
}

void fixture_cut(struct fixture *f, uint64_t seed)
{
	log_destroy(&f->log);
	memory_world_power_cut(f->world, seed);
}

unsigned fixture_names(const struct fixture *f, uint8_t kind)
{
	struct file_name all[FIXTURE_NAMES];
	unsigned count = memory_world_names(f->world, all, FIXTURE_NAMES), of_kind = 0;

	for (unsigned i = 0; i < count; i++)
		of_kind += all[i].kind == kind;
	return of_kind;
}

void fixture_assert_readable(struct fixture *f, uint64_t number)
{
	static uint8_t bytes[1 << 20];

	assert_int_equal(log_read(f->log, &f->places[number], bytes), ERR_OK);
	assert_int_equal(get_u64(bytes + 64), number);
	assert_true(fixture_frame_right(bytes, f->places[number].length));
}
