/* Reads everything back as a worker does: catalogue, extents, files, records. */
#include <stdlib.h>
#include <string.h>

#include "common/frame.h"
#include "common/record.h"
#include "tests/find_extent.h"
#include "tests/sim_oracle.h"

struct search { uint64_t id; int file; };

static int match_ephemeral(void *context, uint64_t id, uint64_t size, int file)
{
	struct search *search = context;

	(void)size;
	if (id == search->id)
		search->file = file;
	return 0;
}

static bool read_bytes(const struct ops *files, const struct catalogue_file *file, uint64_t offset, uint8_t *bytes, size_t length)
{
	struct search search = { .id = file->id, .file = -1 };
	struct file_name name = { .kind = 'w', .id = file->id };
	size_t done = 0;
	int error;

	if (file->kind == 'e')
		files->ephemeral_list(files->world, match_ephemeral, &search);
	else if (files->open(files->world, &name, &search.file) != 0)
		return false;
	if (search.file < 0)
		return false;
	error = files->pread(files->world, search.file, bytes, length, offset, &done);
	if (file->kind != 'e') /* an object's handle is the table's */
		files->close(files->world, search.file);
	return error == 0 && done == length;
}

/* The request whose batch this is: every record must be the one that was sent, byte for byte but for the CRC that logd fills in. */
static int identify(struct sim_oracle *oracle, const struct sim_found *found, const uint8_t *records, const struct entry *batch)
{
	const uint8_t *at = records;
	uint32_t left = batch->batch.records_length;
	unsigned request = SIM_REQUESTS, index;
	const uint8_t *sent = NULL;

	for (uint32_t i = 0; i < batch->batch.count; i++) {
		struct record record;
		char head[64];
		if (record_parse(&record, at, left) != ERR_OK || !record_crc_valid(at, record.length)) {
			sim_wrong(oracle, FIGURE_OTHER, "record %u of seq %llu is damaged", i, (unsigned long long)batch->batch.first_seq);
			return SIM_NO_REQUEST;
		}
		if (i == 0) {
			memcpy(head, record.data, record.data_length < 63 ? record.data_length : 63);
			head[record.data_length < 63 ? record.data_length : 63] = '\0';
			if (sscanf(head, "{\"request\":%u,\"record\":%u,", &request, &index) != 2 || request >= oracle->count ||
			    index != 0 ||
			    oracle->requests[request].name != found->name || oracle->requests[request].head.count != batch->batch.count) {
				sim_wrong(oracle, FIGURE_OTHER, "nobody wrote the batch at seq %llu: %s",
				          (unsigned long long)batch->batch.first_seq, head);
				return SIM_NO_REQUEST;
			}
			sent = oracle->requests[request].bytes + oracle->requests[request].body_at;
		}
		if (memcmp(sent, at, 4) != 0 || memcmp(sent + 8, at + 8, record.length - 8) != 0) {
			sim_wrong(oracle, FIGURE_ACKED_LOSS, "record %u of request %u has other bytes than were sent", i, request);
			return SIM_NO_REQUEST;
		}
		sent += record.length;
		at += record.length;
		left -= record.length;
	}
	if (left != 0 || batch->batch.node_length != oracle->requests[request].head.node_length ||
	    batch->batch.key_length != oracle->requests[request].head.key_length) {
		sim_wrong(oracle, FIGURE_OTHER, "the batch of request %u has more or another key or node than was sent", request);
		return SIM_NO_REQUEST;
	}
	return (int)request;
}

static int read_extent(struct sim_oracle *oracle, const struct catalogue *now, const struct ops *files, const struct sim_found *found,
                       const struct extent *extent, uint64_t *payload)
{
	uint8_t *frame = malloc(extent->length);
	struct catalogue_file file;
	struct frame_head head;
	struct entry batch;
	int request = SIM_NO_REQUEST;

	if (catalogue_file(now, extent->file, &file) != ERR_OK)
		sim_wrong(oracle, FIGURE_OTHER, "extent of seq %llu names no file", (unsigned long long)extent->first_seq);
	else if (!read_bytes(files, &file, extent->offset, frame, extent->length))
		sim_wrong(oracle, FIGURE_ACKED_LOSS, "the frame of seq %llu cannot be read", (unsigned long long)extent->first_seq);
	else if (frame_check(frame, extent->length, file.id, extent->offset, file.first_lsn + extent->offset - FILE_HEADER_SIZE,
	                     &head) != ERR_OK ||
	         head.length != extent->length || extent->entry >= extent->length ||
	         entry_decode(&batch, frame + extent->entry, extent->length - extent->entry) != ERR_OK)
		sim_wrong(oracle, FIGURE_ACKED_LOSS, "the frame of seq %llu is not valid", (unsigned long long)extent->first_seq);
	else if (batch.type != ENTRY_BATCH || batch.topic != found->id || batch.batch.first_seq != extent->first_seq ||
	         batch.batch.count != extent->count)
		sim_wrong(oracle, FIGURE_OTHER, "the extent of seq %llu leads to another batch", (unsigned long long)extent->first_seq);
	else
		request = identify(oracle, found, frame + batch.batch.records_offset, &batch);
	*payload = extent->payload;
	free(frame);
	return request;
}

static bool in_loss(const struct sim_found *found, uint64_t seq)
{
	for (unsigned i = 0; i < found->loss_count; i++)
		if (found->losses[i].from <= seq && seq <= found->losses[i].to)
			return true;
	return false;
}

static void read_records(struct sim_oracle *oracle, const struct catalogue *now, const struct ops *files, const struct ops *frames, struct sim_found *found)
{
	uint64_t next = 1;

	for (;;) {
		struct sim_run *run = &found->runs[found->run_count];
		struct extent extent;
		if (!find_extent(now, files, found->slot, found->id, next, &extent) || extent.first_seq > found->numbers.head)
			return;
		if (extent.first_seq < next || found->run_count == SIM_REQUESTS) {
			sim_wrong(oracle, FIGURE_OTHER, "extents of %s are not in order", sim_names[found->name]);
			return;
		}
		next = extent.first_seq + extent.count;
		if (in_loss(found, extent.first_seq))
			continue; /* given up: its frame stands there, and nobody is shown it */
		*run = (struct sim_run){ .first = extent.first_seq, .count = extent.count };
		run->request = read_extent(oracle, now, frames, found, &extent, &run->payload);
		found->run_count++;
	}
}

static void read_losses(const struct catalogue *now, struct sim_found *found)
{
	uint64_t seq = 0;

	while (found->loss_count < SIM_LOSSES &&
	       catalogue_loss(now, found->slot, found->id, seq, &found->losses[found->loss_count]) == ERR_OK &&
	       found->losses[found->loss_count].from <= found->numbers.head) {
		struct loss *loss = &found->losses[found->loss_count++];
		seq = loss->to + 1;
		if (loss->to > found->numbers.head)
			loss->to = found->numbers.head; /* readers are shown no more of it */
	}
}

static bool name_index(const char *name, unsigned *index)
{
	for (*index = 0; *index < SIM_NAMES; ++*index)
		if (strcmp(sim_names[*index], name) == 0)
			return true;
	return false;
}

void sim_read(struct sim_oracle *oracle, const struct catalogue *now, const struct ops *files, const struct ops *frames, struct sim_view *view)
{
	uint32_t slots[SIM_NAMES + 4];
	unsigned count;

	view->count = 0;
	if (catalogue_list(now, "", 0, false, slots, SIM_NAMES + 4, &count) != ERR_OK || (!catalogue_partial(now) && count != catalogue_topic_count(now))) {
		sim_wrong(oracle, FIGURE_OTHER, "the catalogue cannot be listed");
		return;
	}
	for (unsigned i = 0; i < count; i++) {
		struct sim_found *found = &view->topics[view->count];
		char name[TOPIC_NAME_MAX + 1];
		size_t length;
		memset(found, 0, sizeof *found);
		found->slot = slots[i];
		if (catalogue_numbers(now, slots[i], &found->numbers) != ERR_OK ||
		    catalogue_name(now, slots[i], found->numbers.id, name, &length) != ERR_OK ||
		    catalogue_config(now, slots[i], found->numbers.id, &found->config) != ERR_OK || !name_index(name, &found->name) ||
		    catalogue_find(now, name, length) != (int64_t)slots[i]) {
			sim_wrong(oracle, FIGURE_OTHER, "slot %u of the catalogue is not a topic that anybody made", slots[i]);
			continue;
		}
		found->id = found->numbers.id;
		read_losses(now, found);
		if (files != NULL)
			read_records(oracle, now, files, frames, found);
		view->count++;
	}
}
