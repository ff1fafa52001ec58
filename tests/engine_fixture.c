#include "tests/engine_fixture.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/counters.h"
#include "common/record.h"
#include "tests/find_extent.h"
#include "tests/make_request.h"
#include "tests/shared_object.h"

enum { BODY_ROOM = 8 << 20, SETTLE_STEPS = 2000 };

/* ---- what the engine says ---- */

static void on_wake(void *context, uint32_t slot)
{
	((struct engine_fixture *)context)->workers[slot].woken++;
}

static void on_broken(void *context, uint32_t slot, uint64_t incarnation)
{
	struct engine_worker *worker = &((struct engine_fixture *)context)->workers[slot];
	assert(worker->incarnation == incarnation);
	worker->broken++;
}

static void on_dropped(void *context, uint32_t slot, uint64_t incarnation)
{
	(void)incarnation;
	((struct engine_fixture *)context)->workers[slot].dropped++;
}

static void on_born(void *context, uint64_t file_id, uint32_t kind)
{
	(void)file_id, (void)kind;
	((struct engine_fixture *)context)->born++;
}

static void on_retired(void *context, uint64_t file_id, uint32_t kind)
{
	(void)file_id, (void)kind;
	((struct engine_fixture *)context)->retired++;
}

static void on_catalogue(void *context, uint64_t number, bool whole)
{
	struct engine_fixture *f = context;
	f->whole = whole;
	catalogue_close(&f->now);
	assert(catalogue_open(&f->now, f->catalogue_fd) == ERR_OK && catalogue_number(f->now) == number);
}

/* ---- lives ---- */

static void worker_ends(struct engine_worker *worker)
{
	if (worker->request == NULL)
		return;
	ring_producer_destroy(&worker->producer);
	completion_reader_destroy(&worker->reader);
	munmap(worker->request, RING_LARGE_OFFSET + ENGINE_LARGE);
	munmap(worker->completion, completion_object_size());
	worker->request = worker->completion = NULL;
}

void engine_fixture_worker_starts(struct engine_fixture *f, unsigned index)
{
	struct engine_worker *worker = &f->workers[index];
	worker_ends(worker);
	if (worker->counters == NULL)
		worker->counters = shared_object(sizeof *worker->counters);
	worker->incarnation = 1000 * ++f->workers_used + index;
	worker->request = shared_object(RING_LARGE_OFFSET + ENGINE_LARGE);
	worker->completion = shared_object(completion_object_size());
	worker->broken = worker->dropped = 0;
	worker->asleep = false;
	assert(ring_producer_create(&worker->producer, worker->request, ENGINE_LARGE, worker->completion) == ERR_OK);
	assert(completion_reader_create(&worker->reader, worker->completion, &((struct ring_shared *)worker->request)->completions_read) == ERR_OK);
	if (f->engine != NULL)
		assert(engine_ring_add(f->engine, index, worker->incarnation, worker->request, ENGINE_LARGE, worker->completion, worker->counters) == ERR_OK);
}

void engine_fixture_worker_dies(struct engine_fixture *f, unsigned index)
{
	engine_ring_gone(f->engine, index, f->workers[index].incarnation);
}

struct engine_fixture *engine_fixture_create(unsigned workers)
{
	struct engine_fixture *f = calloc(1, sizeof *f);
	assert(f != NULL && workers <= ENGINE_WORKERS);
	f->world = memory_world_create(7);
	memory_world_move_clocks(f->world, 1000, 1000000);
	f->status = shared_object(sizeof *f->status);
	f->feed = shared_object(sizeof *f->feed);
	f->catalogue_fd = -1;
	f->settings = (struct settings){ .max_body_bytes = BODY_ROOM, .max_batch_records = 10000, .max_record_bytes = 1 << 20, .max_meta_bytes = 16384,
		.max_tag_bytes = 256, .max_node_bytes = 128, .sync_interval_ms = 100, .ephemeral_max_bytes = 1 << 24, .segment_max_bytes = 4 << 20,
		.workers = workers, .max_topics = 1000 };
	for (unsigned i = 0; i < workers; i++)
		engine_fixture_worker_starts(f, i);
	return f;
}

enum error engine_fixture_start(struct engine_fixture *f, bool daemon_start, bool fault_death)
{
	struct engine_options options = { .settings = &f->settings, .ops = memory_world_ops(f->world), .feed = f->feed, .status = f->status,
		.checkpoint_bytes = f->checkpoint_bytes, .daemon_start = daemon_start, .fault_death = fault_death, .old_catalogue = daemon_start && f->whole ? NULL : f->now,
		.host = { f, on_wake, on_broken, on_dropped, on_born, on_retired, on_catalogue } };
	catalogue_writer_destroy(&f->writer);
	if (f->catalogue_fd >= 0)
		close(f->catalogue_fd);
	f->catalogue_fd = shared_object_fd(CATALOGUE_SIZE);
	assert(catalogue_writer_create(&f->writer, f->catalogue_fd, ++f->catalogue_number) == ERR_OK);
	options.catalogue = f->writer;
	assert(engine_create(&f->engine, &options) == ERR_OK);
	for (unsigned i = 0; i < ENGINE_WORKERS; i++) {
		struct engine_worker *worker = &f->workers[i];
		if (worker->request != NULL)
			assert(engine_ring_add(f->engine, i, worker->incarnation, worker->request, ENGINE_LARGE, worker->completion, worker->counters) == ERR_OK);
	}
	return engine_recover(f->engine, f->message, sizeof f->message);
}

void engine_fixture_logd_dies(struct engine_fixture *f)
{
	engine_destroy(&f->engine);
	memory_world_die(f->world);
}

void engine_fixture_daemon_dies(struct engine_fixture *f, bool cut)
{
	engine_fixture_logd_dies(f);
	memory_world_daemon_end(f->world);
	if (cut)
		memory_world_power_cut_some(f->world, 11, 0);
	catalogue_close(&f->now);
	f->whole = false;
	memset(f->status, 0, sizeof *f->status);
	for (unsigned i = 0; i < ENGINE_WORKERS; i++) {
		if (f->workers[i].request == NULL)
			continue;
		engine_fixture_worker_starts(f, i);
	}
}

enum error engine_fixture_stop(struct engine_fixture *f)
{
	enum error error;
	for (unsigned i = 0; !engine_idle(f->engine); i++) {
		assert(i < SETTLE_STEPS);
		engine_one_round(f);
		engine_end_sync(f);
		engine_end_prepare(f);
		engine_end_seal(f);
		engine_end_finish(f);
		engine_end_lookup(f);
	}
	error = engine_stop(f->engine);
	if (error == ERR_OK)
		engine_fixture_daemon_dies(f, false);
	return error;
}

void engine_fixture_destroy(struct engine_fixture *f)
{
	engine_destroy(&f->engine);
	for (unsigned i = 0; i < ENGINE_WORKERS; i++) {
		worker_ends(&f->workers[i]);
		if (f->workers[i].counters != NULL)
			munmap(f->workers[i].counters, sizeof *f->workers[i].counters);
	}
	catalogue_close(&f->now);
	catalogue_writer_destroy(&f->writer);
	if (f->catalogue_fd >= 0)
		close(f->catalogue_fd);
	munmap(f->status, sizeof *f->status);
	munmap(f->feed, sizeof *f->feed);
	memory_world_destroy(&f->world);
	free(f);
}

/* ---- asking ---- */

/* Data of the record `index` of request `id`, `bytes` long. */
static void make_data(char *out, uint64_t id, uint32_t index, uint32_t bytes)
{
	int length = snprintf(out, 64, "[%llu,%u]", (unsigned long long)id, index);
	if (bytes > (uint32_t)length)
		memset(out + length, ' ', bytes - (uint32_t)length);
}

static uint32_t data_length(uint64_t id, uint32_t index, uint32_t bytes)
{
	char text[64];
	int length = snprintf(text, sizeof text, "[%llu,%u]", (unsigned long long)id, index);
	return bytes > (uint32_t)length ? bytes : (uint32_t)length;
}

struct parts { const void *name, *config, *key, *body; };

static uint64_t send_request(struct engine_fixture *f, unsigned index, struct request *head, const struct parts *parts)
{
	struct ring_producer *producer = f->workers[index].producer;
	static uint8_t bytes[BODY_ROOM + 4096];
	head->id = ++f->next_id;
	assert(head->id < ENGINE_ANSWERS);
	make_request(bytes, head, parts->name, parts->config, parts->key, NULL, parts->body);
	uint32_t length = head->length, part_bytes = length - (uint32_t)sizeof *head;
	bool large = length > RING_ENTRY_MAX;
	if (large) {
		size_t size;
		uint8_t *area = ring_reserve_large(producer, &size);
		assert(area != NULL && part_bytes <= size);
		memcpy(area, bytes + sizeof *head, part_bytes);
		head->flags |= REQUEST_LARGE;
		head->length = length = (uint32_t)sizeof *head;
	}
	uint8_t *entry = ring_reserve(producer, length);
	assert(entry != NULL);
	memcpy(entry, bytes, length);
	memcpy(entry, head, sizeof *head);
	ring_publish(producer, length, large);
	return head->id;
}

uint64_t engine_append(struct engine_fixture *f, const char *topic, uint32_t count, const struct append_options *given)
{
	static const struct append_options nothing;
	const struct append_options *options = given != NULL ? given : &nothing;
	static uint8_t body[BODY_ROOM];
	static char data[BODY_ROOM];
	uint8_t config[TOPIC_CONFIG_MAX];
	struct request head = { .type = REQUEST_APPEND, .count = count, .name_length = (uint32_t)strlen(topic), .expect_head = options->head,
		.expect_epoch = options->epoch };
	uint64_t id = f->next_id + 1;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t length = data_length(id, i, options->bytes);
		assert(head.body_length + length + 64 < BODY_ROOM);
		make_data(data, id, i, options->bytes);
		head.body_length += options->tag != NULL ? make_tagged_record(body + head.body_length, data, length, options->tag)
		                                         : make_record(body + head.body_length, data, length);
		head.payload += length;
	}
	head.flags = (uint16_t)((options->create ? REQUEST_CREATE_TRUE : 0) | (options->no_create ? REQUEST_CREATE_FALSE : 0) |
		(options->wait ? REQUEST_WAIT : 0) | (options->expect_head ? REQUEST_EXPECT_HEAD : 0) | (options->expect_epoch ? REQUEST_EXPECT_EPOCH : 0));
	if (options->key != NULL) {
		head.flags |= REQUEST_HAS_KEY;
		head.key_length = (uint32_t)strlen(options->key);
	}
	if (options->config != NULL) {
		head.flags |= REQUEST_HAS_CONFIG;
		head.config_length = (uint32_t)topic_config_encode(options->config, config);
	}
	return send_request(f, options->worker, &head, &(struct parts){ topic, options->config ? config : NULL, options->key, body });
}

static uint64_t send_config(struct engine_fixture *f, enum request_type type, const char *topic, const struct topic_config *config, uint32_t mask)
{
	uint8_t bytes[TOPIC_CONFIG_MAX];
	struct request head = { .type = (uint16_t)type, .flags = REQUEST_HAS_CONFIG, .mask = mask, .name_length = (uint32_t)strlen(topic) };
	head.config_length = (uint32_t)topic_config_encode(config, bytes);
	if (type == REQUEST_TOPIC_PUT)
		head.flags |= REQUEST_TYPE_GIVEN;
	return send_request(f, 0, &head, &(struct parts){ .name = topic, .config = bytes });
}

uint64_t engine_put(struct engine_fixture *f, const char *topic, const struct topic_config *config)
{
	return send_config(f, REQUEST_TOPIC_PUT, topic, config, 0);
}

uint64_t engine_patch(struct engine_fixture *f, const char *topic, const struct topic_config *config, uint32_t mask)
{
	return send_config(f, REQUEST_TOPIC_PATCH, topic, config, mask);
}

uint64_t engine_delete(struct engine_fixture *f, const char *topic, bool if_empty)
{
	struct request head = { .type = REQUEST_TOPIC_DELETE, .flags = if_empty ? REQUEST_IF_EMPTY : 0, .name_length = (uint32_t)strlen(topic) };
	return send_request(f, 0, &head, &(struct parts){ .name = topic });
}

/* ---- time passes ---- */

static void listen(struct engine_fixture *f)
{
	for (unsigned i = 0; i < ENGINE_WORKERS; i++) {
		struct engine_worker *worker = &f->workers[i];
		struct completion completion;
		const uint8_t *body;
		if (worker->request == NULL || worker->asleep)
			continue;
		while (completion_next(worker->reader, &completion, &body) == ERR_OK) {
			struct engine_answer *answer = &f->answers[completion.request_id];
			answer->times++;
			answer->completion = completion;
			if (completion.body_length > 0)
				memcpy(answer->body, body, completion.body_length < sizeof answer->body ? completion.body_length : sizeof answer->body);
		}
		completion_done(worker->reader);
	}
}

void engine_one_round(struct engine_fixture *f)
{
	for (int i = 0; i < 1000 && engine_round(f->engine); i++)
		continue;
	listen(f);
}

bool engine_end_sync(struct engine_fixture *f)
{
	struct sync_job job;
	if (!memory_world_sync_pending(f->world))
		return false;
	memory_world_sync_finish(f->world, &job);
	engine_sync_done(f->engine, &job);
	listen(f);
	return true;
}

bool engine_end_prepare(struct engine_fixture *f)
{
	uint64_t id;
	int error;
	if (!memory_world_prepare_pending(f->world))
		return false;
	memory_world_prepare_finish(f->world, &id, &error);
	engine_prepared(f->engine, id, error);
	return true;
}

bool engine_end_seal(struct engine_fixture *f)
{
	struct seal_job job;
	if (!memory_world_seal_pending(f->world))
		return false;
	memory_world_seal_finish(f->world, &job);
	f->sealed += job.result == ERR_OK;
	engine_sealed(f->engine, &job);
	return true;
}

bool engine_end_lookup(struct engine_fixture *f)
{
	struct lookup_job job;
	if (!memory_world_lookup_pending(f->world))
		return false;
	memory_world_lookup_finish(f->world, &job);
	f->lookups++;
	engine_looked_up(f->engine, &job);
	return true;
}

bool engine_end_finish(struct engine_fixture *f)
{
	struct finish_job job;
	if (!memory_world_finish_pending(f->world))
		return false;
	memory_world_finish_finish(f->world, &job);
	f->checkpoints += job.result == ERR_OK;
	engine_checkpoint_finished(f->engine, &job);
	return true;
}

static bool end_background(struct engine_fixture *f)
{
	return (!f->holds_lookups && engine_end_lookup(f)) || (!f->holds_seals && (engine_end_seal(f) || engine_end_finish(f)));
}

void engine_pass(struct engine_fixture *f, uint64_t us)
{
	memory_world_move_clocks(f->world, (int64_t)(us / 1000), us);
	for (unsigned i = 0; engine_tick(f->engine) == 0; i++)
		assert(i < SETTLE_STEPS);
	engine_one_round(f);
}

void engine_settle(struct engine_fixture *f)
{
	for (int i = 0, quiet = 0; quiet < 3; i++) {
		assert(i < SETTLE_STEPS);
		engine_one_round(f);
		if (engine_end_sync(f) || engine_end_prepare(f) || end_background(f))
			quiet = 0;
		else
			quiet++;
		engine_pass(f, 1000);
	}
}

bool engine_has_answer(const struct engine_fixture *f, uint64_t id)
{
	return f->answers[id].times > 0;
}

const struct completion *engine_answered(struct engine_fixture *f, uint64_t id)
{
	engine_settle(f);
	if (f->answers[id].times != 1) {
		fprintf(stderr, "request %llu was answered %u times\n", (unsigned long long)id, f->answers[id].times);
		abort();
	}
	return &f->answers[id].completion;
}

struct topic_config engine_config(enum durability durability)
{
	struct topic_config config;
	topic_config_default(&config);
	config.durability = durability;
	return config;
}

/* ---- what readers find ---- */

struct topic_numbers engine_numbers(struct engine_fixture *f, const char *topic)
{
	struct topic_numbers numbers = { 0 };
	int64_t slot = catalogue_find(f->now, topic, strlen(topic));
	if (slot >= 0)
		assert(catalogue_numbers(f->now, slot, &numbers) == ERR_OK);
	return numbers;
}

struct search { uint64_t id; int file; };

static int found_object(void *context, uint64_t id, uint64_t size, int handle)
{
	struct search *search = context;
	(void)size;
	if (id == search->id)
		search->file = handle;
	return 0;
}

static bool read_bytes(struct engine_fixture *f, const struct catalogue_file *file, uint64_t offset, uint8_t *out, uint32_t length)
{
	const struct ops *ops = memory_world_ops(f->world);
	struct file_name name = { .kind = 'w', .id = file->id };
	uint64_t size;
	if (file->kind == 'w') {
		const uint8_t *bytes = memory_world_file(f->world, &name, &size);
		if (bytes == NULL || offset + length > size)
			return false;
		memcpy(out, bytes + offset, length);
		return true;
	}
	struct search search = { file->id, -1 };
	ops->ephemeral_list(ops->world, found_object, &search);
	size_t done = 0;
	return search.file >= 0 && ops->pread(ops->world, search.file, out, length, offset, &done) == 0 && done == length;
}

static bool record_right(const uint8_t *bytes, uint64_t available, uint64_t id, uint32_t index)
{
	static char expected[BODY_ROOM];
	struct record record;
	if (record_parse(&record, bytes, available) != ERR_OK || !record_crc_valid(bytes, record.length))
		return false;
	make_data(expected, id, index, record.data_length);
	return record.data_length >= data_length(id, index, 0) && memcmp(record.data, expected, record.data_length) == 0;
}

bool engine_reads(struct engine_fixture *f, const char *topic, uint64_t first, uint32_t count, uint64_t id)
{
	static uint8_t frame[BODY_ROOM];
	int64_t slot = catalogue_find(f->now, topic, strlen(topic));
	struct topic_numbers numbers = engine_numbers(f, topic);
	struct extent extent;
	struct catalogue_file file;
	struct entry entry;
	if (slot < 0 || numbers.head < first + count - 1 || numbers.floor >= first)
		return false;
	if (!find_extent(f->now, memory_world_ops(f->world), slot, numbers.id, first, &extent))
		return false;
	if (extent.first_seq != first || extent.count != count || extent.length > sizeof frame)
		return false;
	if (catalogue_file(f->now, extent.file, &file) != ERR_OK || !read_bytes(f, &file, extent.offset, frame, extent.length))
		return false;
	if (entry_decode(&entry, frame + extent.entry, extent.length - extent.entry) != ERR_OK || entry.type != ENTRY_BATCH)
		return false;
	if (entry.batch.count != count)
		return false;
	uint32_t at = entry.batch.records_offset;
	for (uint32_t i = 0; i < count; i++) {
		if (!record_right(frame + at, extent.length - at, id, i))
			return false;
		at += get_u32(frame + at);
	}
	return true;
}

unsigned engine_losses(struct engine_fixture *f, const char *topic, struct loss *losses, unsigned room)
{
	int64_t slot = catalogue_find(f->now, topic, strlen(topic));
	uint64_t id = engine_numbers(f, topic).id, from = 0;
	unsigned count = 0;
	struct loss loss;
	while (slot >= 0 && catalogue_loss(f->now, slot, id, from, &loss) == ERR_OK) {
		if (count < room)
			losses[count] = loss;
		count++;
		from = loss.to + 1;
	}
	return count;
}

/* ---- for cmocka ---- */

int engine_setup(void **state)
{
	struct engine_fixture *f = engine_fixture_create(2);

	*state = f;
	return engine_fixture_start(f, true, false) != ERR_OK;
}

int engine_teardown(void **state)
{
	engine_fixture_destroy(*state);
	return 0;
}

void engine_make_topic(struct engine_fixture *f, const char *topic, enum durability durability)
{
	struct topic_config config = engine_config(durability);

	assert(engine_answered(f, engine_put(f, topic, &config))->status == ERR_OK);
}

void engine_logd_starts(struct engine_fixture *f)
{
	engine_fixture_logd_dies(f);
	assert(engine_fixture_start(f, false, false) == ERR_OK);
}

void engine_daemon_starts(struct engine_fixture *f, bool cut)
{
	engine_fixture_daemon_dies(f, cut);
	assert(engine_fixture_start(f, true, false) == ERR_OK);
}

void engine_assert_no_losses(struct engine_fixture *f, const char *topic)
{
	struct loss loss;

	assert(engine_losses(f, topic, &loss, 1) == 0);
}
