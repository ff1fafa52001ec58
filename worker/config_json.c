#include "worker/config_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const type_names[] = { "log", "queue" };
static const char *const durability_names[] = { "ephemeral", "memory", "disk", "fsync" };
static const char *const discard_names[] = { "old", "reject" };

enum field {
	TYPE, DURABILITY, DURABLE, TTL_MS, CAP_RECORDS, CAP_BYTES, DISCARD, PRIORITY, AUTO_PRIORITY, AUTO_CREATE, IDEMPOTENCY_WINDOW_MS, DEDUPE_NODE,
	LEASE_MS, CLAIM_JITTER_MS, MAX_DELIVERIES, DEAD_LETTER, LEASES_DURABLE, FIELDS
};

static enum error refuse(struct json_error *error, const struct json_field *field, const uint8_t *body, size_t base, const char *what)
{
	error->offset = base + (size_t)(field->raw - body);
	snprintf(error->message, sizeof error->message, "field '%s' %s", field->name, what);
	return ERR_INVALID_REQUEST;
}

/* The index of a word among `names`; -1 if it is none of them. */
static int word(const struct json_field *field, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (strlen(names[i]) == field->text_length && memcmp(names[i], field->text, field->text_length) == 0)
			return i;
	return -1;
}

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
	return value < least ? least : value > most ? most : value;
}

/* Fields of words and names, each with a rule of its own. */
static enum error take_words(struct topic_config *config, struct json_field *f, const uint8_t *body, size_t base, const char *name, size_t name_length,
                             struct json_error *error)
{
	int value;
	if (f[TYPE].is_set) {
		if ((value = word(&f[TYPE], type_names, 2)) < 0)
			return refuse(error, &f[TYPE], body, base, "must be \"log\" or \"queue\"");
		config->type = (enum topic_type)value;
	}
	if (f[DURABILITY].is_set) {
		if ((value = word(&f[DURABILITY], durability_names, 4)) < 0)
			return refuse(error, &f[DURABILITY], body, base, "must be \"ephemeral\", \"memory\", \"disk\" or \"fsync\"");
		config->durability = (enum durability)value;
	} else if (f[DURABLE].is_set) {
		config->durability = f[DURABLE].boolean ? DURABILITY_FSYNC : DURABILITY_DISK;
	}
	if (f[DISCARD].is_set) {
		if ((value = word(&f[DISCARD], discard_names, 2)) < 0)
			return refuse(error, &f[DISCARD], body, base, "must be \"old\" or \"reject\"");
		config->discard = (enum discard)value;
	}
	if (f[PRIORITY].is_set) {
		if (!f[PRIORITY].is_null && (f[PRIORITY].i64 < INT32_MIN || f[PRIORITY].i64 > INT32_MAX))
			return refuse(error, &f[PRIORITY], body, base, "must be a 32-bit integer or null");
		config->has_priority = !f[PRIORITY].is_null;
		config->priority = f[PRIORITY].is_null ? 0 : (int32_t)f[PRIORITY].i64;
	}
	if (f[DEAD_LETTER].is_set) {
		const struct json_field *dead = &f[DEAD_LETTER];
		if (!dead->is_null && !topic_name_valid(dead->text, dead->text_length))
			return refuse(error, dead, body, base, "must be a valid topic name or null");
		if (!dead->is_null && dead->text_length == name_length && memcmp(dead->text, name, name_length) == 0)
			return refuse(error, dead, body, base, "may not name the topic itself");
		config->dead_letter_length = dead->is_null ? 0 : (uint32_t)dead->text_length;
		memset(config->dead_letter, 0, sizeof config->dead_letter);
		if (!dead->is_null)
			memcpy(config->dead_letter, dead->text, dead->text_length);
	}
	return ERR_OK;
}

enum error config_json_parse(struct topic_config *config, uint32_t *mask, const uint8_t *body, size_t length, size_t base, unsigned depth,
                             const char *name, size_t name_length, struct json_error *error)
{
	char type[16], durability[16], discard[16], dead_letter[TOPIC_NAME_MAX + 1];
	struct json_field f[FIELDS] = {
		[TYPE] = { .name = "type", .want = JSON_STRING, .text = type, .text_room = sizeof type },
		[DURABILITY] = { .name = "durability", .want = JSON_STRING, .text = durability, .text_room = sizeof durability },
		[DURABLE] = { .name = "durable", .want = JSON_BOOL },
		[TTL_MS] = { .name = "ttl_ms", .want = JSON_U64 },
		[CAP_RECORDS] = { .name = "cap_records", .want = JSON_U64 },
		[CAP_BYTES] = { .name = "cap_bytes", .want = JSON_U64 },
		[DISCARD] = { .name = "discard", .want = JSON_STRING, .text = discard, .text_room = sizeof discard },
		[PRIORITY] = { .name = "priority", .want = JSON_I64_OR_NULL },
		[AUTO_PRIORITY] = { .name = "auto_priority", .want = JSON_BOOL },
		[AUTO_CREATE] = { .name = "auto_create", .want = JSON_BOOL },
		[IDEMPOTENCY_WINDOW_MS] = { .name = "idempotency_window_ms", .want = JSON_U64 },
		[DEDUPE_NODE] = { .name = "dedupe_node", .want = JSON_BOOL },
		[LEASE_MS] = { .name = "lease_ms", .want = JSON_U64 },
		[CLAIM_JITTER_MS] = { .name = "claim_jitter_ms", .want = JSON_U64 },
		[MAX_DELIVERIES] = { .name = "max_deliveries", .want = JSON_U64 },
		[DEAD_LETTER] = { .name = "dead_letter", .want = JSON_STRING_OR_NULL, .text = dead_letter, .text_room = TOPIC_NAME_MAX },
		[LEASES_DURABLE] = { .name = "leases_durable", .want = JSON_BOOL },
	};
	static const uint32_t bits[FIELDS] = { CONFIG_TYPE, CONFIG_DURABILITY, CONFIG_DURABILITY, CONFIG_TTL_MS, CONFIG_CAP_RECORDS, CONFIG_CAP_BYTES,
	                                       CONFIG_DISCARD, CONFIG_PRIORITY, CONFIG_AUTO_PRIORITY, CONFIG_AUTO_CREATE, CONFIG_IDEMPOTENCY_WINDOW_MS,
	                                       CONFIG_DEDUPE_NODE, CONFIG_LEASE_MS, CONFIG_CLAIM_JITTER_MS, CONFIG_MAX_DELIVERIES, CONFIG_DEAD_LETTER,
	                                       CONFIG_LEASES_DURABLE };
	const struct { enum field field; uint64_t *value; } numbers[] = {
		{ TTL_MS, &config->ttl_ms }, { CAP_RECORDS, &config->cap_records }, { CAP_BYTES, &config->cap_bytes },
		{ IDEMPOTENCY_WINDOW_MS, &config->idempotency_window_ms }, { LEASE_MS, &config->lease_ms },
		{ CLAIM_JITTER_MS, &config->claim_jitter_ms }, { MAX_DELIVERIES, &config->max_deliveries },
	};
	const struct { enum field field; bool *value; } bools[] = {
		{ AUTO_PRIORITY, &config->auto_priority }, { AUTO_CREATE, &config->auto_create }, { DEDUPE_NODE, &config->dedupe_node },
		{ LEASES_DURABLE, &config->leases_durable },
	};
	enum error result = json_object(body, length, base, depth, f, FIELDS, error);
	if (result == ERR_OK)
		result = take_words(config, f, body, base, name, name_length, error);
	if (result != ERR_OK)
		return result;
	*mask = 0;
	for (unsigned i = 0; i < FIELDS; i++)
		*mask |= f[i].is_set ? bits[i] : 0;
	for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		if (f[numbers[i].field].is_set)
			*numbers[i].value = f[numbers[i].field].u64;
	for (unsigned i = 0; i < sizeof bools / sizeof bools[0]; i++)
		if (f[bools[i].field].is_set)
			*bools[i].value = f[bools[i].field].boolean;
	config->lease_ms = clamp(config->lease_ms, 100, 86400000);
	config->claim_jitter_ms = clamp(config->claim_jitter_ms, 0, 5000);
	return ERR_OK;
}

size_t config_json_render(uint8_t *out, const struct topic_config *c)
{
	static const char *const yes[] = { "false", "true" };
	char priority[16] = "null";
	char *text = (char *)out;
	if (c->has_priority)
		snprintf(priority, sizeof priority, "%" PRId32, c->priority);
	size_t n = (size_t)sprintf(text,
	    "{\"type\":\"%s\",\"durability\":\"%s\",\"durable\":%s,\"ttl_ms\":%" PRIu64 ",\"cap_records\":%" PRIu64 ",\"cap_bytes\":%" PRIu64
	    ",\"discard\":\"%s\",\"priority\":%s,\"auto_priority\":%s,\"auto_create\":%s,\"idempotency_window_ms\":%" PRIu64 ",\"dedupe_node\":%s"
	    ",\"lease_ms\":%" PRIu64 ",\"claim_jitter_ms\":%" PRIu64 ",\"max_deliveries\":%" PRIu64 ",\"dead_letter\":",
	    type_names[c->type], durability_names[c->durability], yes[c->durability == DURABILITY_FSYNC], c->ttl_ms, c->cap_records, c->cap_bytes,
	    discard_names[c->discard], priority, yes[c->auto_priority], yes[c->auto_create], c->idempotency_window_ms, yes[c->dedupe_node], c->lease_ms,
	    c->claim_jitter_ms, c->max_deliveries);
	if (c->dead_letter_length > 0)
		n += json_quote(out + n, c->dead_letter, c->dead_letter_length);
	else
		n += (size_t)sprintf(text + n, "null");
	return n + (size_t)sprintf(text + n, ",\"leases_durable\":%s}", yes[c->leases_durable]);
}
