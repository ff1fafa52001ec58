/* A checkpoint as it comes from a damaged disk, as it is and with its checksums made right: it counts or it does not; what it shows can be walked. */
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "common/frame.h"
#include "common/topic_config.h"
#include "logd/log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/memory_world.h"

static const uint64_t file_id = 0x1122334455667788u;

static void must(int what)
{
	if (!what)
		abort();
}

static void born(void *context, uint64_t id, uint64_t number, uint64_t first_lsn)
{
	(void)context, (void)id, (void)number, (void)first_lsn;
}

static void retired(void *context, uint64_t id)
{
	(void)context, (void)id;
}

static enum error visit(void *context, const struct log_frame *frame)
{
	uint32_t at = FRAME_HEAD, end = FRAME_HEAD + frame->head->entries_length;

	while (at < end) {
		struct topic_config config;
		struct entry entry;
		must(entry_decode(&entry, frame->bytes + at, end - at) == ERR_OK);
		if (entry.type == ENTRY_TOPIC_STATE)
			must(topic_config_decode(&config, entry.state.config, entry.state.config_length) == ERR_OK);
		++*(uint64_t *)context;
		at += entry.length;
	}
	return ERR_OK;
}

static enum error damage(void *context, const struct log_damage *what)
{
	(void)context, (void)what;
	return ERR_OK;
}

static void recover(const uint8_t *bytes, size_t length)
{
	const struct file_name name = { .kind = 'c', .id = file_id };
	const struct log_options options = { .kind = 'w', .file_bytes = 65536, .unsynced_max = 1 << 20 };
	uint64_t entries = 0;
	const struct log_events events = { .context = &entries, .born = born, .retired = retired };
	const struct log_visitor visitor = { .context = &entries, .frame = visit, .damage = damage };
	struct memory_world *world = memory_world_create(1);
	struct log_recovered recovered;
	struct log *log = NULL;

	memory_world_put(world, &name, bytes, length);
	must(log_create(&log, &options, memory_world_ops(world), &events) == ERR_OK);
	(void)log_recover(log, &visitor, &recovered);
	log_destroy(&log);
	memory_world_destroy(&world);
}

/* True when frame_seal may be called: the entries can be walked and name no records. */
static int can_seal(const uint8_t *frame, const struct frame_head *head)
{
	uint32_t at = FRAME_HEAD, end = FRAME_HEAD + head->entries_length;

	while (at < end) {
		struct entry entry;
		if (entry_decode(&entry, frame + at, end - at) != ERR_OK || entry.type == ENTRY_BATCH || entry.type == ENTRY_FORWARD)
			return 0;
		at += entry.length;
	}
	return 1;
}

static void forge(uint8_t *bytes, size_t length)
{
	uint64_t frames = 0;
	uint32_t chain = 0;

	for (size_t at = FILE_HEADER_SIZE; at + FRAME_MIN <= length; frames++) {
		struct frame_head head;
		if (frame_head_decode(&head, bytes + at, length - at) != ERR_OK || !can_seal(bytes + at, &head))
			break;
		head.lsn = at;
		head.prev_crc = chain;
		if (get_u16(bytes + at + FRAME_HEAD) == ENTRY_CHECKPOINT_END) {
			put_u64(bytes + at + FRAME_HEAD + ENTRY_HEAD + 8, frames);
			put_u64(bytes + 136, get_u64(bytes + at + FRAME_HEAD + ENTRY_HEAD));
		}
		frame_seal(bytes + at, &head, file_id, at);
		chain = head.crc;
		at += head.length;
	}
	put_u32(bytes + 508, crc32c(0, bytes, 508));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
	uint8_t *forged;

	recover(input, length);
	if (length < FILE_HEADER_SIZE || (forged = malloc(length)) == NULL)
		return 0;
	memcpy(forged, input, length);
	forge(forged, length);
	recover(forged, length);
	free(forged);
	return 0;
}

static size_t put_frame(uint8_t *bytes, size_t at, const struct entry *entries, unsigned count, uint32_t *chain)
{
	struct frame_head head = { .lsn = at, .frontier = at, .prev_crc = *chain, .request_id = 4096, .entry_count = count };

	for (unsigned i = 0; i < count; i++)
		head.entries_length += entry_encode(&entries[i], bytes + at + FRAME_HEAD + head.entries_length);
	head.length = (uint32_t)frame_size(head.entries_length, 0, 0);
	frame_seal(bytes + at, &head, file_id, at);
	*chain = head.crc;
	return at + head.length;
}

/* Files, topics with their losses, the end. */
size_t fuzz_seed(unsigned index, uint8_t *out, size_t room)
{
	struct file_header header = { .id = file_id, .kind = 'c', .number = 1, .first_lsn = LSN_FIRST, .checkpoint_lsn = 4096 };
	struct topic_config plain;
	uint8_t config[TOPIC_CONFIG_MAX];
	uint32_t chain = 0;
	size_t at = FILE_HEADER_SIZE;

	memset(out, 0, room < 65536 ? room : 65536);
	topic_config_default(&plain);
	for (unsigned i = 0; i < index % 9; i++) {
		struct entry entries[3] = { { .type = ENTRY_TOPIC_STATE, .topic = i + 1 }, { .type = ENTRY_LOSS, .topic = i + 1 }, { .type = ENTRY_FILE_STATE } };
		entries[0].state.head = 10;
		entries[0].state.ceiling = 20;
		entries[0].state.name = (const uint8_t *)"orders";
		entries[0].state.name_length = 6;
		entries[0].state.config = config;
		entries[0].state.config_length = (uint32_t)topic_config_encode(&plain, config);
		entries[1].loss.from = 2;
		entries[1].loss.to = 3;
		entries[1].loss.reason = REASON_CRASH;
		entries[2].file.id = 5;
		entries[2].file.kind = 'w';
		at = put_frame(out, at, entries, 1 + i % 3, &chain);
	}
	const struct entry end = { .type = ENTRY_CHECKPOINT_END, .checkpoint_end = { .lsn = 4096, .frames = index % 9 } };
	at = put_frame(out, at, &end, 1, &chain);
	header.size = at;
	file_header_encode(&header, out);
	return at;
}
