#include "worker/scan.h"

#include <stdlib.h>

#include "worker/scan_index.h"
#include "worker/scan_one_pass.h"
#include "worker/scan_walk.h"

enum {
	/* Of {"data":0}, the shortest record with its comma, all bytes but the value are not written. (The last has no comma, but the body is more than its records.) */
	RECORD_TEXT_MIN = 11,
	RECORD_TEXT_DROPPED = 10,
	RECORD_OVERHEAD = RECORD_HEAD + 8, /* padding, or what scan_put_record writes too far */
};

struct scanner {
	enum scan_form form;
	uint64_t positions[SCAN_POSITIONS];
	uint32_t tokens[SCAN_TOKENS_MAX];
	char node[SCAN_NODE_ROOM];
};

enum error scanner_create(struct scanner **out)
{
	struct scanner *scanner = calloc(1, sizeof *scanner);
	if (scanner == NULL)
		return ERR_NOMEM;
	scan_index_positions(scanner->positions);
	/* Without vector instructions one pass is faster than two stages. */
	if (!scanner_use(scanner, SCAN_AVX2) && !scanner_use(scanner, SCAN_SSE))
		scanner_use(scanner, SCAN_ONE_PASS);
	*out = scanner;
	return ERR_OK;
}

void scanner_destroy(struct scanner **scanner)
{
	free(*scanner);
	*scanner = NULL;
}

bool scanner_use(struct scanner *scanner, enum scan_form form)
{
	if (!scan_index_supported(form))
		return false;
	scanner->form = form;
	return true;
}

size_t scan_room(size_t body_length, const struct settings *settings)
{
	uint64_t records = body_length / RECORD_TEXT_MIN;
	if (records > settings->max_batch_records)
		records = settings->max_batch_records;
	return (size_t)align8(body_length + records * (RECORD_OVERHEAD - RECORD_TEXT_DROPPED));
}

enum error scan_append(struct scanner *scanner, const uint8_t *body, size_t length, const struct settings *settings, uint8_t *out, struct scanned *scanned,
                       struct json_error *error)
{
	struct scan scan = { .settings = settings, .scanned = scanned, .out = out };
	*scanned = (struct scanned){ .node = scanner->node };
	const struct scan_index index = { .positions = scanner->positions, .text = body, .length = length };
	if (scanner->form != SCAN_ONE_PASS && length <= UINT32_MAX) {
		if (scan_two_stage(&scan, &index, scanner->form, scanner->tokens))
			return ERR_OK;
		*scanned = (struct scanned){ .node = scanner->node };
	}
	return scan_one_pass(&scan, body, length, error);
}
