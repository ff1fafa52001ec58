/* Workloads: what requests there are, and every byte of them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/record.h"
#include "tests/make_request.h"
#include "tests/sim_oracle.h"
#include "tests/sim_world.h"

const char *const sim_names[SIM_NAMES] = { "orders", "t", "a.longer:name_of-a-topic", "Zz" };

static struct sim_request *new_request(struct sim_oracle *oracle, unsigned name, unsigned ring, enum request_type type)
{
	struct sim_request *request = &oracle->requests[oracle->count];

	assert(oracle->count < SIM_REQUESTS);
	memset(request, 0, sizeof *request);
	request->head.id = ++oracle->count;
	request->head.type = (uint16_t)type;
	request->head.name_length = (uint32_t)strlen(sim_names[name]);
	request->name = name;
	request->ring = ring;
	request->repeat_of = SIM_NO_REQUEST;
	return request;
}

/* Takes the finished entry over: head and parts. */
static void finish(struct sim_request *request, const void *config, const void *key, const void *node, const void *body)
{
	uint64_t size = request_size(&request->head);
	uint8_t *entry = malloc(size);

	make_request(entry, &request->head, sim_names[request->name], config, key, node, body);
	request->body_at = request_layout(&request->head).body - sizeof request->head;
	request->bytes = malloc(size - sizeof request->head);
	memcpy(request->bytes, entry + sizeof request->head, size - sizeof request->head);
	free(entry);
}

/* A record's data says which request and record it is; the rest is filler of any length. */
static uint32_t make_sim_record(uint8_t *out, unsigned request, uint32_t index, uint32_t filler, uint64_t *random)
{
	static const char *const tags[] = { "", "red", "blue/1", "blue/2" };
	char data[8192];
	int length = snprintf(data, sizeof data, "{\"request\":%u,\"record\":%u,\"filler\":\"", request, index);

	for (uint32_t i = 0; i < filler; i++)
		data[length++] = (char)('a' + sim_draw(random, 26));
	data[length++] = '"';
	data[length++] = '}';
	if (request % 4 == 1 && index % 3 == 0)
		return make_tagged_record(out, data, (uint32_t)length, tags[(request / 4 + index) % 4]);
	return make_record(out, data, (uint32_t)length);
}

static uint32_t filler_length(uint64_t *random)
{
	uint64_t kind = sim_draw(random, 20);

	return (uint32_t)(kind == 0 ? sim_draw(random, 6000) : kind < 4 ? sim_draw(random, 900) : sim_draw(random, 90));
}

unsigned sim_plan_append(struct sim_oracle *oracle, unsigned name, unsigned ring, uint32_t records, enum durability durability,
                         uint64_t *random)
{
	struct sim_request *request = new_request(oracle, name, ring, REQUEST_APPEND);
	unsigned index = oracle->count - 1;
	uint8_t config[TOPIC_CONFIG_MAX], *body = malloc((size_t)records * 8300);
	char key[32] = "";
	uint32_t length = 0;

	topic_config_default(&request->config);
	request->config.durability = request->durability = durability;
	for (uint32_t i = 0; i < records; i++) {
		uint32_t size = make_sim_record(body + length, index, i,
		                                records > 20 ? (uint32_t)sim_draw(random, 20) : filler_length(random), random);
		request->head.payload += get_u32(body + length + 8);
		length += size;
	}
	request->head.count = records;
	request->head.body_length = length;
	request->head.flags = REQUEST_HAS_CONFIG;
	request->head.config_length = (uint32_t)topic_config_encode(&request->config, config);
	if (sim_draw(random, 3) == 0) {
		request->head.flags |= REQUEST_HAS_KEY;
		request->head.key_length = (uint32_t)snprintf(key, sizeof key, "key %u", index);
	}
	if (sim_draw(random, 4) == 0) {
		request->head.flags |= REQUEST_HAS_NODE;
		request->head.node_length = (uint32_t)sim_draw(random, 5);
	}
	finish(request, config, key, "node", body);
	free(body);
	return index;
}

unsigned sim_plan_repeat(struct sim_oracle *oracle, unsigned of)
{
	const struct sim_request *first = &oracle->requests[of];
	struct sim_request *request = new_request(oracle, first->name, first->ring, REQUEST_APPEND);
	uint64_t size = request_size(&first->head) - sizeof first->head, id = request->head.id;

	request->head = first->head;
	request->head.id = id;
	request->repeat_of = first->repeat_of == SIM_NO_REQUEST ? (int)of : first->repeat_of;
	request->durability = first->durability;
	request->config = first->config;
	request->body_at = first->body_at;
	request->bytes = malloc(size);
	memcpy(request->bytes, first->bytes, size);
	return oracle->count - 1;
}

unsigned sim_plan_topic(struct sim_oracle *oracle, unsigned name, unsigned ring, enum request_type type, const struct topic_config *config,
                        uint32_t mask)
{
	struct sim_request *request = new_request(oracle, name, ring, type);
	uint8_t bytes[TOPIC_CONFIG_MAX];

	request->head.mask = mask;
	request->barrier = true;
	if (config != NULL) {
		request->config = *config;
		request->head.flags = REQUEST_HAS_CONFIG;
		request->head.config_length = (uint32_t)topic_config_encode(config, bytes);
	}
	finish(request, bytes, NULL, NULL, NULL);
	return oracle->count - 1;
}

/* What the plan believes of a name while it is made; refusals can prove it wrong, which harms nothing. */
struct planned_name { bool there; enum durability durability; unsigned ring; };

static void plan_control(struct sim_oracle *oracle, unsigned name, struct planned_name *planned, uint64_t *random)
{
	struct topic_config config;
	unsigned index;

	topic_config_default(&config);
	config.has_priority = true;
	config.priority = (int32_t)sim_draw(random, 2000) - 1000;
	config.lease_ms = 100 + sim_draw(random, 100000);
	config.durability = (enum durability)sim_draw(random, 4);
	if (planned->there && sim_draw(random, 3) == 0) {
		config.durability = planned->durability;
		sim_plan_topic(oracle, name, planned->ring, REQUEST_TOPIC_PATCH, &config, CONFIG_PRIORITY | CONFIG_LEASE_MS);
	} else if (planned->there && sim_draw(random, 2) == 0) {
		index = sim_plan_topic(oracle, name, planned->ring, REQUEST_TOPIC_DELETE, NULL, 0);
		planned->there = false;
		/* Sometimes the next life of the name begins before this one's end is answered. */
		if (sim_draw(random, 2) == 0)
			oracle->requests[index].barrier = false;
		else
			planned->durability = (enum durability)sim_draw(random, 4);
	} else {
		sim_plan_topic(oracle, name, planned->ring, REQUEST_TOPIC_PUT, &config, 0);
		planned->there = true;
		planned->durability = config.durability;
	}
}

bool sim_is_long(uint64_t seed)
{
	return seed % 4 == 2;
}

void sim_plan(struct sim_oracle *oracle, uint64_t seed, unsigned rings)
{
	uint64_t random = seed * 0x2545f4914f6cdd1du + 99;
	unsigned names = 1 + (unsigned)sim_draw(&random, SIM_NAMES), wanted = 3 + (unsigned)sim_draw(&random, 10);
	struct planned_name planned[SIM_NAMES];
	int keyed = SIM_NO_REQUEST;

	if (sim_is_long(seed))
		wanted += 20 + (unsigned)sim_draw(&random, 50);
	for (unsigned i = 0; i < SIM_NAMES; i++)
		planned[i] = (struct planned_name){ .durability = (enum durability)sim_draw(&random, 4), .ring = i % rings };
	while (oracle->count < wanted) {
		unsigned name = (unsigned)sim_draw(&random, names);
		uint64_t kind = sim_draw(&random, 20);
		uint32_t records = 1 + (uint32_t)sim_draw(&random, sim_draw(&random, 8) == 0 ? 100 : 5);
		if (kind < 5) {
			plan_control(oracle, name, &planned[name], &random);
		} else if (kind < 7 && keyed != SIM_NO_REQUEST) {
			sim_plan_repeat(oracle, (unsigned)keyed);
		} else {
			unsigned index = sim_plan_append(oracle, name, planned[name].ring, records, planned[name].durability, &random);
			planned[name].there = true;
			if (oracle->requests[index].head.flags & REQUEST_HAS_KEY)
				keyed = (int)index;
		}
	}
}
