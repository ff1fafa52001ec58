/*
 * Recovers images that come on standard input and lists what is there afterwards; tests/check_damage.py holds the independent reader against it.
 * An image is a line `image TOKEN FILES TIMES` (the boot token of now: 40 bytes as hex digits) and for each file a line `NAME SIZE` and its bytes.
 * The answer is `ok` or `refused ERROR`, then per topic
 *
 *     topic NAME ID HEAD CONFIG          (id and configuration as hex digits)
 *     record SEQ LENGTH CRC              (of its data; records that cannot be read are left out)
 *     lost FROM TO REASON FLAGS
 *
 * and `end`. It is recovered so many times: a line `again` says that a later one gave something else (I-5).
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/record.h"
#include "logd/engine.h"
#include "tests/memory_world.h"
#include "worker/segment_index.h"

enum { EXTENTS = 64, SLOTS = 512, FILE_MOST = 1 << 26, FILES_MOST = 256 };

struct machine {
	struct memory_world *files;
	struct status status;
	struct feed_shared *feed;
	struct settings settings;
	struct catalogue *now;
	int catalogue_fd;
};

static void on_ring(void *context, uint32_t slot, uint64_t incarnation)
{
	(void)context;
	(void)slot;
	(void)incarnation;
}

static void on_wake(void *context, uint32_t slot)
{
	on_ring(context, slot, 0);
}

static void on_file(void *context, uint64_t file_id, uint32_t kind)
{
	on_ring(context, kind, file_id);
}

static void on_catalogue(void *context, uint64_t number, bool whole)
{
	struct machine *machine = context;

	(void)number, (void)whole;
	catalogue_close(&machine->now);
	if (catalogue_open(&machine->now, machine->catalogue_fd) != ERR_OK)
		abort();
}

/* ---- what a worker would read ---- */

static void list_batch(FILE *out, const uint8_t *records, const struct entry *batch)
{
	const uint8_t *at = records;
	uint32_t left = batch->batch.records_length;

	for (uint32_t i = 0; i < batch->batch.count && left >= RECORD_HEAD; i++) {
		struct record record;
		uint32_t length = get_u32(at);
		if (record_parse(&record, at, left) == ERR_OK && record_crc_valid(at, record.length))
			fprintf(out, "record %" PRIu64 " %u %08x\n", batch->batch.first_seq + i, record.data_length,
			        crc32c(0, record.data, record.data_length));
		if (length < RECORD_HEAD || length > left)
			return;
		at += length;
		left -= length;
	}
}

static void list_extent(FILE *out, const struct machine *machine, const struct extent *extent, bool sealed)
{
	const struct ops *ops = memory_world_ops(machine->files);
	struct file_name name = { .kind = 'w' };
	uint8_t *frame = malloc(extent->length);
	struct catalogue_file file;
	struct frame_head head;
	struct entry batch;
	size_t done = 0;
	int handle;

	assert(frame != NULL && catalogue_file(machine->now, extent->file, &file) == ERR_OK);
	name.id = file.id;
	if (ops->open(ops->world, &name, &handle) == 0) {
		(void)ops->pread(ops->world, handle, frame, extent->length, extent->offset, &done);
		ops->close(ops->world, handle);
	}
	if (done == extent->length &&
	    frame_check(frame, extent->length, file.id, extent->offset, file.first_lsn + extent->offset - FILE_HEADER_SIZE, &head) == ERR_OK &&
	    entry_decode(&batch, frame + extent->entry, extent->length - extent->entry) == ERR_OK && batch.type == ENTRY_BATCH &&
	    batch.batch.first_seq == extent->first_seq)
		list_batch(out, frame + batch.batch.records_offset, &batch);
	else if (sealed) /* its frames are not read at a start; a reader announces what it meets */
		fprintf(out, "lost %" PRIu64 " %" PRIu64 " %u %u\n", extent->first_seq, extent->first_seq + extent->count - 1, REASON_CORRUPT, 0U);
	else
		fprintf(out, "wrong extent of seq %" PRIu64 "\n", extent->first_seq);
	free(frame);
}

struct sealed_bytes {
	const uint8_t *bytes;
	uint64_t size;
};

static enum error sealed_bytes(void *context, uint64_t offset, uint64_t length, uint64_t ahead, const uint8_t **bytes)
{
	const struct sealed_bytes *file = context;

	(void)ahead;
	if (offset > file->size || length > file->size - offset)
		return ERR_CORRUPT;
	*bytes = file->bytes + offset;
	return ERR_OK;
}

/* As a worker does: by the footer, or by the frames where the footer does not check. */
static void list_segment(FILE *out, const struct machine *machine, const struct segment *segment, uint64_t id)
{
	struct segment_search search = { 0 };
	struct segment_hints *hints;
	struct extent extents[EXTENTS];
	struct catalogue_file file;
	struct sealed_bytes sealed;
	const struct segment_bytes source = { sealed_bytes, &sealed };
	unsigned count;

	assert(segment_hints_create(&hints) == ERR_OK && catalogue_file(machine->now, segment->file, &file) == ERR_OK);
	sealed.bytes = memory_world_file(machine->files, &(struct file_name){ .kind = 'w', .id = file.id }, &sealed.size);
	for (uint64_t seq = segment->first_seq; sealed.bytes != NULL && seq <= segment->last_seq;) {
		const struct segment_wanted wanted = { segment, &file, id, seq };
		if (segment_index_find(&search, hints, &wanted, &source, extents, EXTENTS, &count) != ERR_OK)
			break;
		for (unsigned i = 0; i < count; i++) {
			list_extent(out, machine, &extents[i], true);
			seq = extents[i].first_seq + extents[i].count;
		}
	}
	segment_hints_destroy(&hints);
}

static void list_records(FILE *out, const struct machine *machine, uint32_t slot, uint64_t id)
{
	struct extent extents[EXTENTS];
	struct segment segments[EXTENTS];
	uint64_t next = 1;
	unsigned count;

	while (catalogue_extents(machine->now, slot, id, next, extents, EXTENTS, &count) == ERR_OK && count > 0) {
		for (unsigned i = 0; i < count; i++)
			list_extent(out, machine, &extents[i], false);
		next = extents[count - 1].first_seq + extents[count - 1].count;
	}
	next = 1;
	while (catalogue_segments(machine->now, slot, id, next, segments, EXTENTS, &count) == ERR_OK && count > 0) {
		for (unsigned i = 0; i < count; i++)
			list_segment(out, machine, &segments[i], id);
		next = segments[count - 1].last_seq + 1;
	}
}

static void list_topic(FILE *out, const struct machine *machine, uint32_t slot)
{
	struct topic_numbers numbers;
	struct topic_config config;
	char name[TOPIC_NAME_MAX + 1] = "";
	uint8_t bytes[TOPIC_CONFIG_MAX];
	struct loss loss = { 0 };
	size_t length, size;

	assert(catalogue_numbers(machine->now, slot, &numbers) == ERR_OK);
	assert(catalogue_name(machine->now, slot, numbers.id, name, &length) == ERR_OK);
	assert(catalogue_config(machine->now, slot, numbers.id, &config) == ERR_OK);
	size = topic_config_encode(&config, bytes);
	fprintf(out, "topic %s %016" PRIx64 " %" PRIu64 " ", name, numbers.id, numbers.head);
	for (size_t i = 0; i < size; i++)
		fprintf(out, "%02x", bytes[i]);
	fprintf(out, "\n");
	list_records(out, machine, slot, numbers.id);
	while (catalogue_loss(machine->now, slot, numbers.id, loss.to + 1, &loss) == ERR_OK)
		fprintf(out, "lost %" PRIu64 " %" PRIu64 " %u %u\n", loss.from, loss.to, loss.reason, loss.flags);
}

/* ---- recovery ---- */

/* As the daemon's start after the death of all processes. The listing is the caller's to free. */
static char *recover(struct machine *machine)
{
	struct engine_options options = { .settings = &machine->settings, .ops = memory_world_ops(machine->files), .feed = machine->feed,
		.status = &machine->status, .daemon_start = true,
		.host = { machine, on_wake, on_ring, on_ring, on_file, on_file, on_catalogue } };
	struct engine *engine = NULL;
	char message[512], *text = NULL;
	uint32_t slots[SLOTS];
	unsigned count = 0;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	machine->catalogue_fd = memfd_create("catalogue", MFD_CLOEXEC);
	assert(out != NULL && machine->catalogue_fd >= 0 && ftruncate(machine->catalogue_fd, (off_t)CATALOGUE_SIZE) == 0);
	assert(catalogue_writer_create(&options.catalogue, machine->catalogue_fd, 1) == ERR_OK);
	assert(engine_create(&engine, &options) == ERR_OK);
	enum error error = engine_recover(engine, message, sizeof message);
	if (error == ERR_OK) {
		fprintf(out, "ok\n");
		assert(catalogue_list(machine->now, "", 0, false, slots, SLOTS, &count) == ERR_OK && count < SLOTS);
		for (unsigned i = 0; i < count; i++)
			list_topic(out, machine, slots[i]);
	} else {
		fprintf(out, "refused %s\n", error_text(error));
	}
	engine_destroy(&engine);
	memory_world_die(machine->files);
	memory_world_daemon_end(machine->files);
	catalogue_close(&machine->now);
	catalogue_writer_destroy(&options.catalogue);
	close(machine->catalogue_fd);
	fclose(out);
	return text;
}

/* ---- images ---- */

static void bad_input(const char *what)
{
	fprintf(stderr, "recover_images: %s\n", what);
	exit(2);
}

static struct boot_token parse_token(const char *hex)
{
	uint8_t bytes[40];
	struct boot_token token;

	for (size_t i = 0; i < sizeof bytes; i++)
		if (sscanf(hex + 2 * i, "%2hhx", &bytes[i]) != 1)
			bad_input("a boot token is not one");
	memcpy(token.boot_id, bytes, 16);
	token.device = get_u64(bytes + 16);
	token.inode = get_u64(bytes + 24);
	token.superblock = get_u64(bytes + 32);
	return token;
}

static void read_file(struct memory_world *world)
{
	struct file_name name = { .offset = 0 };
	uint64_t size;
	char kind;
	uint8_t *bytes;

	if (scanf(" %c%16" SCNx64 " %" SCNu64, &kind, &name.id, &size) != 3 || getchar() != '\n' || size > FILE_MOST)
		bad_input("a file has no name and size");
	name.kind = (uint8_t)kind;
	bytes = malloc(size + 1);
	if (bytes == NULL || fread(bytes, 1, size, stdin) != size)
		bad_input("a file is cut off");
	memory_world_put(world, &name, bytes, size);
	free(bytes);
}

int main(void)
{
	struct machine machine = { .settings = { .max_body_bytes = 1 << 20, .max_batch_records = 10000, .max_record_bytes = 1 << 20, .max_meta_bytes = 16384,
		.max_tag_bytes = 256, .max_node_bytes = 128, .sync_interval_ms = 100, .ephemeral_max_bytes = 1 << 20, .segment_max_bytes = 4096,
		.workers = 1, .max_topics = 1000 } };
	char token[81];
	unsigned count, times;

	machine.feed = mmap(NULL, sizeof *machine.feed, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert(machine.feed != MAP_FAILED);
	while (scanf(" image %80s %u %u", token, &count, &times) == 3 && count <= FILES_MOST) {
		struct boot_token boot = parse_token(token);
		machine.files = memory_world_create(1);
		memory_world_boot(machine.files, &boot);
		for (unsigned i = 0; i < count; i++)
			read_file(machine.files);
		char *first = recover(&machine);
		fputs(first, stdout);
		for (unsigned i = 1; i < times; i++) {
			char *again = recover(&machine);
			if (strcmp(first, again) != 0)
				printf("again\n%s", again);
			free(again);
		}
		printf("end\n");
		fflush(stdout);
		free(first);
		memory_world_destroy(&machine.files);
	}
	return 0;
}
