#include "tests/sim_footers.h"

#include "common/footer.h"
#include "tests/footer_twin.h"

enum { NAMES = 512 };

static bool open_one(const struct memory_world *files, uint64_t id, struct footer_memory *memory, struct footer *footer)
{
	const struct file_name name = { .kind = 'w', .id = id };
	const struct footer_source source = footer_memory_source(memory);
	struct file_header header;
	uint64_t size;
	const uint8_t *bytes = memory_world_file(files, &name, &size);

	*memory = (struct footer_memory){ bytes, 0, size };
	return bytes != NULL && size >= FILE_HEADER_SIZE && file_header_decode(&header, bytes) == ERR_OK &&
	       footer_open(footer, &source, id, header.first_lsn, size) == ERR_OK;
}

static void judge_entry(struct sim_oracle *oracle, const struct memory_world *files, const struct entry *entry)
{
	const struct file_name name = { .kind = 'w', .id = entry->file.id };
	struct footer_memory memory;
	struct footer footer;
	uint64_t size;

	if (memory_world_file(files, &name, &size) == NULL)
		return; /* retired since */
	if (!open_one(files, entry->file.id, &memory, &footer))
		sim_wrong(oracle, FIGURE_OTHER, "an entry says that file %llx is sealed, and it is not", (unsigned long long)entry->file.id);
	else if (footer.crc != entry->file.footer_crc || footer.offset != entry->file.footer_offset || footer.length != entry->file.footer_length ||
	         footer.file.end_lsn != entry->file.end_lsn)
		sim_wrong(oracle, FIGURE_OTHER, "the footer of file %llx is not the one that its entry names", (unsigned long long)entry->file.id);
}

/* Frames that check, wherever they stand: also one that another file has taken over told the truth. */
static void judge_frames(struct sim_oracle *oracle, const struct memory_world *files, uint64_t id)
{
	const struct file_name name = { .kind = 'w', .id = id };
	struct file_header header;
	struct frame_head head;
	uint64_t size, at = FILE_HEADER_SIZE;
	const uint8_t *bytes = memory_world_file(files, &name, &size);

	if (size < FILE_HEADER_SIZE || file_header_decode(&header, bytes) != ERR_OK)
		return;
	for (; at < size && frame_check(bytes + at, size - at, id, at, header.first_lsn + at - FILE_HEADER_SIZE, &head) == ERR_OK; at += head.length) {
		struct entry entry;
		if (entry_decode(&entry, bytes + at + FRAME_HEAD, head.entries_length) == ERR_OK && entry.type == ENTRY_FILE_SEALED)
			judge_entry(oracle, files, &entry);
	}
}

void sim_footers_judge(struct sim_oracle *oracle, const struct memory_world *files)
{
	struct file_name names[NAMES];
	unsigned count = memory_world_names(files, names, NAMES);

	for (unsigned i = 0; i < count; i++) {
		struct footer_memory memory;
		struct footer_source source = footer_memory_source(&memory);
		struct footer footer;
		if (names[i].kind != 'w')
			continue;
		judge_frames(oracle, files, names[i].id);
		if (!open_one(files, names[i].id, &memory, &footer))
			continue;
		if (footer_check(&footer, &source) != ERR_OK)
			sim_wrong(oracle, FIGURE_OTHER, "the footer of file %llx does not check", (unsigned long long)names[i].id);
		else if (!footer_is_what_frames_say(memory.bytes, memory.length, &footer))
			sim_wrong(oracle, FIGURE_OTHER, "the footer of file %llx is not what its frames say", (unsigned long long)names[i].id);
	}
}

unsigned sim_footers_break(struct memory_world *files)
{
	struct file_name names[NAMES];
	unsigned count = memory_world_names(files, names, NAMES), broken = 0;

	for (unsigned i = 0; i < count; i++) {
		struct footer_memory memory;
		struct footer footer;
		if (names[i].kind != 'w' || !open_one(files, names[i].id, &memory, &footer))
			continue;
		memory_world_damage(files, &names[i], footer.offset + footer.length - 1, "\xff", 1);
		memory_world_damage(files, &names[i], footer.offset + footer.length - 2, "\xff", 1);
		broken++;
	}
	return broken;
}
