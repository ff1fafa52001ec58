#include "common/topic_config.h"

#include <string.h>

#include "common/bytes.h"

enum { CONFIG_BYTES_VERSION = 1 };

enum config_bytes_flags {
	FLAG_PRIORITY = 1,
	FLAG_AUTO_PRIORITY = 2,
	FLAG_AUTO_CREATE = 4,
	FLAG_DEDUPE_NODE = 8,
	FLAG_LEASES_DURABLE = 16,
	FLAG_DEAD_LETTER = 32,
	FLAG_ALL = 63,
};

void topic_config_default(struct topic_config *config)
{
	*config = (struct topic_config){
		.type = TOPIC_LOG,
		.durability = DURABILITY_DISK,
		.discard = DISCARD_OLD,
		.auto_priority = true,
		.auto_create = true,
		.dedupe_node = true,
		.idempotency_window_ms = 120000,
		.lease_ms = 30000,
	};
}

static void copy_dead_letter(struct topic_config *config, const struct topic_config *from)
{
	config->dead_letter_length = from->dead_letter_length;
	memcpy(config->dead_letter, from->dead_letter, sizeof config->dead_letter);
}

void topic_config_merge(struct topic_config *config, const struct topic_config *change, uint32_t mask)
{
#define MERGE(bit, field) ((mask & (bit)) ? (void)(config->field = change->field) : (void)0)
	MERGE(CONFIG_TYPE, type);
	MERGE(CONFIG_DURABILITY, durability);
	MERGE(CONFIG_TTL_MS, ttl_ms);
	MERGE(CONFIG_CAP_RECORDS, cap_records);
	MERGE(CONFIG_CAP_BYTES, cap_bytes);
	MERGE(CONFIG_DISCARD, discard);
	MERGE(CONFIG_PRIORITY, has_priority);
	MERGE(CONFIG_PRIORITY, priority);
	MERGE(CONFIG_AUTO_PRIORITY, auto_priority);
	MERGE(CONFIG_AUTO_CREATE, auto_create);
	MERGE(CONFIG_IDEMPOTENCY_WINDOW_MS, idempotency_window_ms);
	MERGE(CONFIG_DEDUPE_NODE, dedupe_node);
	MERGE(CONFIG_LEASE_MS, lease_ms);
	MERGE(CONFIG_CLAIM_JITTER_MS, claim_jitter_ms);
	MERGE(CONFIG_MAX_DELIVERIES, max_deliveries);
	MERGE(CONFIG_LEASES_DURABLE, leases_durable);
#undef MERGE
	if (mask & CONFIG_DEAD_LETTER)
		copy_dead_letter(config, change);
}

static uint32_t config_flags(const struct topic_config *config)
{
	return (config->has_priority ? FLAG_PRIORITY : 0u) | (config->auto_priority ? FLAG_AUTO_PRIORITY : 0u) |
	       (config->auto_create ? FLAG_AUTO_CREATE : 0u) | (config->dedupe_node ? FLAG_DEDUPE_NODE : 0u) |
	       (config->leases_durable ? FLAG_LEASES_DURABLE : 0u) | (config->dead_letter_length > 0 ? FLAG_DEAD_LETTER : 0u);
}

size_t topic_config_encode(const struct topic_config *config, uint8_t *out)
{
	size_t size = TOPIC_CONFIG_FIXED + (size_t)align8(config->dead_letter_length);

	memset(out, 0, size);
	out[0] = CONFIG_BYTES_VERSION;
	out[1] = (uint8_t)config->type;
	out[2] = (uint8_t)config->durability;
	out[3] = (uint8_t)config->discard;
	put_u32(out + 4, config_flags(config));
	put_u32(out + 8, config->has_priority ? (uint32_t)config->priority : 0);
	put_u32(out + 12, config->dead_letter_length);
	put_u64(out + 16, config->ttl_ms);
	put_u64(out + 24, config->cap_records);
	put_u64(out + 32, config->cap_bytes);
	put_u64(out + 40, config->idempotency_window_ms);
	put_u64(out + 48, config->lease_ms);
	put_u64(out + 56, config->claim_jitter_ms);
	put_u64(out + 64, config->max_deliveries);
	memcpy(out + TOPIC_CONFIG_FIXED, config->dead_letter, config->dead_letter_length);
	return size;
}

static bool all_zero(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* The dead letter's name stands behind the fixed part; a name that is given is never empty, so length and flag say the same. */
static enum error decode_dead_letter(struct topic_config *config, uint32_t flags, const uint8_t *bytes, size_t length)
{
	uint32_t name_length = get_u32(bytes + 12);
	const uint8_t *name = bytes + TOPIC_CONFIG_FIXED;

	if ((name_length > 0) != ((flags & FLAG_DEAD_LETTER) != 0) || name_length > TOPIC_NAME_MAX)
		return ERR_CORRUPT;
	if (length != TOPIC_CONFIG_FIXED + align8(name_length))
		return ERR_CORRUPT;
	if (name_length > 0 && !topic_name_valid((const char *)name, name_length))
		return ERR_CORRUPT;
	if (!all_zero(name + name_length, (size_t)align8(name_length) - name_length))
		return ERR_CORRUPT;
	memset(config->dead_letter, 0, sizeof config->dead_letter);
	memcpy(config->dead_letter, name, name_length);
	config->dead_letter_length = name_length;
	return ERR_OK;
}

enum error topic_config_decode(struct topic_config *config, const uint8_t *bytes, size_t length)
{
	uint32_t flags;

	if (length < TOPIC_CONFIG_FIXED || bytes[0] != CONFIG_BYTES_VERSION)
		return ERR_CORRUPT;
	if (bytes[1] > TOPIC_QUEUE || bytes[2] > DURABILITY_FSYNC || bytes[3] > DISCARD_REJECT)
		return ERR_CORRUPT;
	flags = get_u32(bytes + 4);
	if ((flags & ~(uint32_t)FLAG_ALL) != 0)
		return ERR_CORRUPT;
	/* One configuration has one spelling: what is null has no value. */
	if (!(flags & FLAG_PRIORITY) && get_u32(bytes + 8) != 0)
		return ERR_CORRUPT;
	config->type = (enum topic_type)bytes[1];
	config->durability = (enum durability)bytes[2];
	config->discard = (enum discard)bytes[3];
	config->has_priority = (flags & FLAG_PRIORITY) != 0;
	config->auto_priority = (flags & FLAG_AUTO_PRIORITY) != 0;
	config->auto_create = (flags & FLAG_AUTO_CREATE) != 0;
	config->dedupe_node = (flags & FLAG_DEDUPE_NODE) != 0;
	config->leases_durable = (flags & FLAG_LEASES_DURABLE) != 0;
	config->priority = (int32_t)get_u32(bytes + 8);
	config->ttl_ms = get_u64(bytes + 16);
	config->cap_records = get_u64(bytes + 24);
	config->cap_bytes = get_u64(bytes + 32);
	config->idempotency_window_ms = get_u64(bytes + 40);
	config->lease_ms = get_u64(bytes + 48);
	config->claim_jitter_ms = get_u64(bytes + 56);
	config->max_deliveries = get_u64(bytes + 64);
	return decode_dead_letter(config, flags, bytes, length);
}

bool topic_config_equal(const struct topic_config *a, const struct topic_config *b)
{
	return a->type == b->type && a->durability == b->durability && a->discard == b->discard && a->has_priority == b->has_priority &&
	       a->auto_priority == b->auto_priority && a->auto_create == b->auto_create && a->dedupe_node == b->dedupe_node &&
	       a->leases_durable == b->leases_durable && (!a->has_priority || a->priority == b->priority) && a->ttl_ms == b->ttl_ms &&
	       a->cap_records == b->cap_records && a->cap_bytes == b->cap_bytes && a->idempotency_window_ms == b->idempotency_window_ms &&
	       a->lease_ms == b->lease_ms && a->claim_jitter_ms == b->claim_jitter_ms && a->max_deliveries == b->max_deliveries &&
	       a->dead_letter_length == b->dead_letter_length && memcmp(a->dead_letter, b->dead_letter, a->dead_letter_length) == 0;
}

static bool is_alphanumeric(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* `also`: one more character that is allowed after the first. */
static bool name_valid(const char *name, size_t length, char also)
{
	if (length < 1 || length > TOPIC_NAME_MAX || !is_alphanumeric(name[0]))
		return false;
	for (size_t i = 1; i < length; i++) {
		char c = name[i];
		if (!is_alphanumeric(c) && c != '.' && c != '_' && c != ':' && c != '-' && c != also)
			return false;
	}
	return true;
}

bool topic_name_valid(const char *name, size_t length)
{
	return name_valid(name, length, '-');
}

bool router_name_valid(const char *name, size_t length)
{
	return name_valid(name, length, '>');
}
