#include "worker/render.h"

#include <string.h>

#include "worker/json.h"
#include "worker/text.h"

void render_batch(struct render *render, int64_t ts, const uint8_t *node, uint32_t node_length)
{
	uint8_t *at = text_word((uint8_t *)render->ts, ",\"$ts\":");
	if (ts < 0)
		*at++ = '-';
	at = text_u64(at, ts < 0 ? 0 - (uint64_t)ts : (uint64_t)ts);
	render->ts_length = (unsigned)(at - (uint8_t *)render->ts);
	render->node = node;
	render->node_length = node_length;
}

static void set_seq(struct render *render, uint64_t seq)
{
	uint8_t text[TEXT_U64_MAX];
	unsigned n = (unsigned)(text_u64(text, seq) - text);
	memcpy(render->seq + sizeof render->seq - n, text, n);
	render->seq_digits = n;
	render->seq_value = seq;
}

static void count_up(struct render *render)
{
	char *at = render->seq + sizeof render->seq - 1, *first = render->seq + sizeof render->seq - render->seq_digits;
	while (at >= first && *at == '9')
		*at-- = '0';
	if (at < first) {
		*at = '1';
		render->seq_digits++;
	} else {
		++*at;
	}
	render->seq_value++;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t length)
{
	memcpy(at, bytes, length);
	return at + length;
}

enum error render_record(struct render *render, struct buffer *out, uint64_t seq, const struct record *record)
{
	size_t most = 160 + (size_t)record->data_length + record->meta_length + 6 * ((size_t)record->tag_length + record->node_length + render->node_length);
	if (out->room - out->length < most && buffer_reserve(out, most) != ERR_OK)
		return ERR_NOMEM;
	if (render->seq_digits != 0 && seq == render->seq_value + 1)
		count_up(render);
	else
		set_seq(render, seq);
	uint8_t *at = put(out->bytes + out->length, "{\"$seq\":", 8);
	at = put(at, render->seq + sizeof render->seq - render->seq_digits, render->seq_digits);
	at = put(at, render->ts, render->ts_length);
	if (render->include_tags && (record->flags & RECORD_HAS_TAG)) {
		at = put(at, ",\"$tag\":", 8);
		at += json_quote(at, (const char *)record->tag, record->tag_length);
	}
	if (record->flags & (RECORD_HAS_NODE | RECORD_BATCH_NODE)) {
		bool own = (record->flags & RECORD_HAS_NODE) != 0;
		at = put(at, ",\"$node\":", 9);
		at += json_quote(at, (const char *)(own ? record->node : render->node), own ? record->node_length : render->node_length);
	}
	at = put(at, ",\"data\":", 8);
	at = put(at, record->data, record->data_length);
	if (render->include_meta && record->meta_length > 0) {
		at = put(at, ",\"meta\":", 8);
		at = put(at, record->meta, record->meta_length);
	}
	*at++ = '}';
	out->length = (size_t)(at - out->bytes);
	return ERR_OK;
}
