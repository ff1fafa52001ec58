/* The request ring as a hostile worker leaves it: the first 16 bytes of the input are the indices, the rest stands at the ring's start. What the consumer takes must be safe to walk. */
#include <stdlib.h>
#include <string.h>

#include "common/record.h"
#include "common/ring.h"
#include "tests/fuzz/fuzz.h"
#include "tests/make_request.h"
#include "tests/shared_object.h"

enum { LARGE_BYTES = 1 << 16, INDICES = 16, ENTRIES_MAX = 256 };

static void must(int what)
{
	if (!what)
		abort();
}

/* What logd does with a request that checks. */
static void walk(const struct request_view *view)
{
	const uint8_t *at = view->body;
	uint64_t left = view->head.body_length, payload = 0;

	must(topic_name_valid((const char *)view->name, view->head.name_length));
	for (uint32_t i = 0; view->head.type == REQUEST_APPEND && i < view->head.count; i++) {
		struct record record;
		must(record_parse(&record, at, left) == ERR_OK);
		payload += (uint64_t)record.data_length + record.meta_length;
		at += record.length;
		left -= record.length;
	}
	must(left == 0 && payload == view->head.payload);
}

static void consume(struct ring_consumer *consumer)
{
	for (unsigned i = 0; i < ENTRIES_MAX; i++) {
		struct request_view view;
		struct request head;
		uint64_t number, size;
		uint8_t *parts;
		enum error error = ring_peek(consumer, &head, &number);
		must(error == ERR_OK || error == ERR_AGAIN || error == ERR_PROTOCOL);
		if (error != ERR_OK)
			return;
		size = request_size(&head) - sizeof head;
		parts = malloc(size + (size == 0)); /* exactly as large as it says */
		must(parts != NULL && ring_take(consumer, &head, parts) == ERR_OK);
		if (request_check(&view, &head, parts, size) == ERR_OK)
			walk(&view);
		free(parts);
		ring_release(consumer, number);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
	/* Made once: what an input wrote is taken back by it. */
	static uint8_t *request;
	static struct ring_release *release;
	struct ring_consumer *consumer = NULL;

	if (length < INDICES || length - INDICES > RING_BYTES)
		return 0;
	if (request == NULL) {
		request = shared_object(RING_LARGE_OFFSET + LARGE_BYTES);
		release = shared_object(sizeof *release);
	}
	memset(release, 0, sizeof *release);
	memcpy(request, input, INDICES);
	memcpy(request + RING_DATA_OFFSET, input + INDICES, length - INDICES);
	memcpy(request + RING_LARGE_OFFSET, input, length < LARGE_BYTES ? length : LARGE_BYTES);
	must(ring_consumer_create(&consumer, request, LARGE_BYTES, release) == ERR_OK);
	consume(consumer);
	ring_consumer_destroy(&consumer);
	memset(request + RING_DATA_OFFSET, 0, length - INDICES);
	return 0;
}

/* A few requests of every type, the last of them in the large area for one seed in four. */
size_t fuzz_seed(unsigned index, uint8_t *out, size_t room)
{
	uint8_t body[256], config[TOPIC_CONFIG_MAX];
	struct topic_config plain;
	size_t at = INDICES;
	uint64_t entries = 1 + index % 7;

	memset(out, 0, room < 65536 ? room : 65536);
	topic_config_default(&plain);
	for (uint64_t i = 0; i < entries; i++) {
		struct request head = { .type = (uint16_t)(1 + (index + i) % 4), .id = i + 1, .name_length = 6 };
		if (head.type == REQUEST_APPEND) {
			head.body_length = make_record(body, "{\"x\":[1,2,3]}", 13);
			head.count = 1;
			head.payload = 13;
		} else if (head.type != REQUEST_TOPIC_DELETE) {
			head.config_length = (uint32_t)topic_config_encode(&plain, config);
			head.flags = REQUEST_HAS_CONFIG;
			head.mask = head.type == REQUEST_TOPIC_PATCH ? 1 : 0;
		}
		make_request(out + at, &head, "orders", config, NULL, NULL, body);
		at += head.length;
	}
	if (index % 4 == 3) {
		struct request head = { .length = sizeof head, .type = REQUEST_APPEND, .flags = REQUEST_LARGE, .id = 99, .name_length = 6, .body_length = 48, .count = 1 };
		memcpy(out + at, &head, sizeof head);
		at += sizeof head;
		entries++;
	}
	put_u64(out, at - INDICES);
	put_u64(out + 8, entries);
	return at;
}
