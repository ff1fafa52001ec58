#include "tests/scan_compare.h"

#include <stdlib.h>
#include <string.h>

#include "worker/scan_index.h"
#include "worker/scan_walk.h"

enum { FORMS = SCAN_AVX2 + 1 };

struct scan_compare {
	struct scanner *scanners[FORMS]; /* NULL: not on this processor */
	char *node;                      /* for the walk by itself */
	uint64_t positions[SCAN_POSITIONS];
	uint32_t tokens[FORMS][SCAN_TOKENS_MAX];
};

/* What a form made of a body. */
struct result {
	enum error error;
	struct json_error problem;
	struct scanned scanned;
	uint8_t *out;
};

struct scan_compare *scan_compare_create(void)
{
	struct scan_compare *compare = calloc(1, sizeof *compare);
	if (compare == NULL || (compare->node = malloc(SCAN_NODE_ROOM)) == NULL) {
		free(compare);
		return NULL;
	}
	scan_index_positions(compare->positions);
	for (int form = SCAN_ONE_PASS; form < FORMS; form++) {
		if (scanner_create(&compare->scanners[form]) != ERR_OK) {
			scan_compare_destroy(&compare);
			return NULL;
		}
		if (!scanner_use(compare->scanners[form], (enum scan_form)form))
			scanner_destroy(&compare->scanners[form]);
	}
	return compare;
}

void scan_compare_destroy(struct scan_compare **compare)
{
	if (*compare == NULL)
		return;
	for (int form = SCAN_ONE_PASS; form < FORMS; form++)
		scanner_destroy(&(*compare)->scanners[form]);
	free((*compare)->node);
	free(*compare);
	*compare = NULL;
}

static bool same_text(const char *a, size_t a_length, const char *b, size_t b_length)
{
	return a_length == b_length && memcmp(a, b, a_length) == 0;
}

static const char *differ(const struct result *a, const struct result *b)
{
	const struct scanned *x = &a->scanned, *y = &b->scanned;
	if (a->error != b->error)
		return "codes";
	if (a->error != ERR_OK)
		return a->problem.offset != b->problem.offset ? "offsets" : strcmp(a->problem.message, b->problem.message) != 0 ? "words" : NULL;
	if (x->count != y->count || x->payload != y->payload || x->records_length != y->records_length)
		return "sizes";
	if (memcmp(a->out, b->out, x->records_length) != 0)
		return "records";
	if (x->has_node != y->has_node || (x->has_node && !same_text(x->node, x->node_length, y->node, y->node_length)))
		return "node";
	if (x->has_key != y->has_key || (x->has_key && !same_text(x->key, x->key_length, y->key, y->key_length)))
		return "key";
	if (x->has_expect_epoch != y->has_expect_epoch || (x->has_expect_epoch && !same_text(x->epoch, x->epoch_length, y->epoch, y->epoch_length)))
		return "epoch";
	if (x->has_create != y->has_create || x->create != y->create || x->wait != y->wait)
		return "switches";
	if (x->has_expect_head != y->has_expect_head || x->expect_head != y->expect_head)
		return "expected head";
	if (x->has_config != y->has_config || x->config_offset != y->config_offset || x->config_length != y->config_length)
		return "configuration";
	return NULL;
}

static void scan(struct scan_compare *compare, int form, const uint8_t *copy, size_t length, const struct settings *settings, struct result *result)
{
	result->error = scan_append(compare->scanners[form], copy, length, settings, result->out, &result->scanned, &result->problem);
}

/* The two stages without the one pass behind them; what they refuse is told apart only by that. */
static void scan_stages(struct scan_compare *compare, int form, const uint8_t *copy, size_t length, const struct settings *settings, struct result *result)
{
	const struct scan_index index = { .positions = compare->positions, .text = copy, .length = length };
	const struct scan scan = { .settings = settings, .scanned = &result->scanned, .out = result->out };
	uint32_t *tokens = malloc(SCAN_TOKENS_MAX * sizeof *tokens);
	result->scanned = (struct scanned){ .node = compare->node };
	result->error = scan_two_stage(&scan, &index, (enum scan_form)form, tokens) ? ERR_OK : ERR_INVALID_REQUEST;
	free(tokens);
}

/* Names with escapes are what the two stages may leave to the one pass although it accepts them. */
static bool may_be_left(const uint8_t *body, size_t length)
{
	return memchr(body, '\\', length) != NULL && memmem(body, length, "\"records\"", 9) == NULL;
}

const char *scan_compare(struct scan_compare *compare, const uint8_t *body, size_t length, const struct settings *settings, bool *accepted)
{
	size_t room = scan_room(length, settings);
	uint8_t *copy = malloc(length + (length == 0));
	struct result reference = { .out = malloc(room + (room == 0)) }, other = { .out = malloc(room + (room == 0)) };
	const char *difference = NULL;
	if (copy == NULL || reference.out == NULL || other.out == NULL)
		abort();
	memcpy(copy, body, length);
	scan(compare, SCAN_ONE_PASS, copy, length, settings, &reference);
	*accepted = reference.error == ERR_OK;
	for (int form = SCAN_PORTABLE; form < FORMS && difference == NULL; form++) {
		if (compare->scanners[form] == NULL)
			continue;
		scan(compare, form, copy, length, settings, &other);
		if ((difference = differ(&reference, &other)) != NULL)
			break;
		scan_stages(compare, form, copy, length, settings, &other);
		if (*accepted && !(other.error != ERR_OK && may_be_left(copy, length)))
			difference = differ(&reference, &other);
		else if (!*accepted && other.error == ERR_OK)
			difference = "two stages accept what one pass refuses";
	}
	free(copy);
	free(reference.out);
	free(other.out);
	return difference;
}

const char *scan_compare_tokens(struct scan_compare *compare, const uint8_t *bytes, size_t length)
{
	struct scan_index index[FORMS];
	const char *difference = NULL;
	uint8_t *copy = malloc(length + 1);
	if (copy == NULL)
		abort();
	memcpy(copy, bytes, length);
	copy[length] = '}'; /* a character that is cut off by the end is stage 2's to refuse */
	for (int form = SCAN_PORTABLE; form < FORMS; form++)
		index[form] = (struct scan_index){ .positions = compare->positions, .text = copy, .length = length + 1 };
	while (index[SCAN_PORTABLE].done <= length && difference == NULL) {
		size_t count = scan_index_window(&index[SCAN_PORTABLE], SCAN_PORTABLE, compare->tokens[SCAN_PORTABLE]);
		for (int form = SCAN_SSE; form < FORMS; form++) {
			if (compare->scanners[form] == NULL)
				continue;
			size_t found = scan_index_window(&index[form], (enum scan_form)form, compare->tokens[form]);
			if ((index[form].bad | index[SCAN_PORTABLE].bad) == 0 &&
			    (found != count || memcmp(compare->tokens[form], compare->tokens[SCAN_PORTABLE], count * sizeof(uint32_t)) != 0))
				difference = "tokens";
		}
	}
	for (int form = SCAN_SSE; form < FORMS && difference == NULL; form++)
		if (compare->scanners[form] != NULL && (index[form].bad != 0) != (index[SCAN_PORTABLE].bad != 0))
			difference = "what is bad";
	free(copy);
	return difference;
}
