#include "worker/render.h"

#include <string.h>

#include "worker/json.h"
#include "worker/text.h"

void render_batch(struct render *render, int64_t ts, const uint8_t *node, uint32_t node_length)
{
	render->ts = ts;
	render->node = node;
	render->node_length = node_length;
	render->head_length = 0;
}

static void write_head(struct render *render, uint64_t seq)
{
	uint8_t *at = text_u64(text_word(render->head, "{\"$seq\":"), seq);
	render->tens = seq / 10;
	render->digit = (unsigned)(at - render->head) - 1;
	at = text_word(at, ",\"$ts\":");
	if (render->ts < 0)
		*at++ = '-';
	at = text_u64(at, render->ts < 0 ? 0 - (uint64_t)render->ts : (uint64_t)render->ts);
	render->head_length = (unsigned)(at - render->head);
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
	if (render->head_length == 0 || seq / 10 != render->tens)
		write_head(render, seq);
	uint8_t *at = out->bytes + out->length;
	memcpy(at, render->head, RENDER_HEAD); /* all of it: a copy of a constant length is no call */
	at[render->digit] = (uint8_t)('0' + seq % 10);
	at += render->head_length;
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
