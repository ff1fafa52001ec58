#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/make_request.h"

struct fixture {
	uint8_t entry[4096];
	struct request head;
};

static enum error check(const struct fixture *f, struct request_view *view)
{
	return request_check(view, &f->head, f->entry + sizeof f->head, request_size(&f->head) - sizeof f->head);
}

static void append_request(struct fixture *f)
{
	uint8_t body[512], config[TOPIC_CONFIG_MAX];
	struct topic_config defaults;
	uint32_t length = make_record(body, "{\"a\":1}", 7);

	length += make_record(body + length, "22", 2);
	topic_config_default(&defaults);
	f->head = (struct request){
		.type = REQUEST_APPEND, .flags = REQUEST_HAS_CONFIG | REQUEST_HAS_KEY | REQUEST_HAS_NODE, .id = 5, .name_length = 6,
		.config_length = (uint32_t)topic_config_encode(&defaults, config), .key_length = 3, .node_length = 1, .body_length = length,
		.count = 2, .payload = 9,
	};
	make_request(f->entry, &f->head, "orders", config, "key", "n", body);
}

static void whole_append_is_split_into_its_parts(void **state)
{
	struct fixture f;
	struct request_view view;

	(void)state;
	append_request(&f);
	assert_int_equal(check(&f, &view), ERR_OK);
	assert_memory_equal(view.name, "orders", 6);
	assert_memory_equal(view.key, "key", 3);
	assert_memory_equal(view.node, "n", 1);
	assert_int_equal(view.config[0], 1);
	assert_int_equal(get_u32(view.body), 40);
	assert_ptr_equal(view.body, f.entry + request_layout(&f.head).body);
}

static void topic_requests_pass_with_what_they_need_alone(void **state)
{
	uint8_t config[TOPIC_CONFIG_MAX];
	struct topic_config defaults;
	struct request_view view;
	struct fixture f;

	(void)state;
	topic_config_default(&defaults);
	f.head = (struct request){ .type = REQUEST_TOPIC_PUT, .flags = REQUEST_HAS_CONFIG, .name_length = 1 };
	f.head.config_length = (uint32_t)topic_config_encode(&defaults, config);
	make_request(f.entry, &f.head, "t", config, NULL, NULL, NULL);
	assert_int_equal(check(&f, &view), ERR_OK);
	f.head.type = REQUEST_TOPIC_PATCH;
	f.head.mask = CONFIG_TTL_MS;
	assert_int_equal(check(&f, &view), ERR_OK);
	f.head.type = REQUEST_TOPIC_DELETE;
	f.head.mask = 0;
	assert_int_equal(check(&f, &view), ERR_PROTOCOL);
	f.head = (struct request){ .type = REQUEST_TOPIC_DELETE, .flags = REQUEST_IF_EMPTY, .name_length = 1 };
	make_request(f.entry, &f.head, "t", NULL, NULL, NULL, NULL);
	assert_int_equal(check(&f, &view), ERR_OK);
	f.head.type = REQUEST_TOPIC_PUT;
	f.head.flags = 0;
	assert_int_equal(check(&f, &view), ERR_PROTOCOL);
}

static void large_request_counts_its_head_alone_as_its_entry(void **state)
{
	struct request_view view;
	struct fixture f;

	(void)state;
	append_request(&f);
	f.head.flags |= REQUEST_LARGE;
	assert_int_equal(check(&f, &view), ERR_PROTOCOL);
	f.head.length = sizeof f.head;
	assert_int_equal(check(&f, &view), ERR_OK);
	assert_int_equal(request_layout(&f.head).body, 0);
	assert_int_equal(request_layout(&f.head).end, request_size(&f.head) - sizeof f.head);
}

#define REFUSED(change) \
	do { \
		append_request(&f); \
		change; \
		if (check(&f, &view) != ERR_PROTOCOL) \
			fail_msg("taken: %s", #change); \
	} while (0)

static void every_wrong_field_is_refused(void **state)
{
	struct request_view view;
	struct fixture f;

	(void)state;
	REFUSED(f.head.type = REQUEST_PAD);
	REFUSED(f.head.type = REQUEST_TYPE_END);
	REFUSED(f.head.type = 0xffff);
	REFUSED(f.head.flags |= 2048);
	REFUSED(f.head.flags |= REQUEST_IF_EMPTY);
	REFUSED(f.head.flags |= REQUEST_CREATE_TRUE | REQUEST_CREATE_FALSE);
	REFUSED(f.head.flags &= (uint16_t)~REQUEST_HAS_KEY);
	REFUSED(f.head.flags &= (uint16_t)~REQUEST_HAS_NODE);
	REFUSED(f.head.flags &= (uint16_t)~REQUEST_HAS_CONFIG);
	REFUSED(f.head.length += 8);
	REFUSED(f.head.length -= 8);
	REFUSED(f.head.name_length = 0);
	REFUSED(f.head.config_length = 71);
	REFUSED(f.head.count = 0);
	REFUSED(f.head.count = 1);
	REFUSED(f.head.count = 3);
	REFUSED(f.head.count = UINT32_MAX);
	REFUSED(f.head.payload = 10);
	REFUSED(f.head.mask = 1);
	REFUSED(f.head.reserved0 = 1);
	REFUSED(f.entry[request_layout(&f.head).name] = '.');
	REFUSED(f.entry[request_layout(&f.head).name + 6] = 1);               /* padding */
	REFUSED(f.entry[request_layout(&f.head).config] = 9);                 /* its version */
	REFUSED(put_u32(f.entry + request_layout(&f.head).body, 48));         /* the first record longer than it is */
	REFUSED(put_u32(f.entry + request_layout(&f.head).body, 0));
	REFUSED(put_u32(f.entry + request_layout(&f.head).body + 8, 0));      /* no data */
	REFUSED(put_u32(f.entry + request_layout(&f.head).body + 8, UINT32_MAX));
	REFUSED(put_u32(f.entry + request_layout(&f.head).body + 28, 1 << 3)); /* an undefined flag */
}

static void record_that_takes_the_node_of_a_batch_without_one_is_refused(void **state)
{
	struct request_view view;
	uint8_t body[64];
	struct fixture f;

	(void)state;
	f.head = (struct request){ .type = REQUEST_APPEND, .name_length = 1, .count = 1, .payload = 1 };
	f.head.body_length = make_record(body, "1", 1);
	make_request(f.entry, &f.head, "t", NULL, NULL, NULL, body);
	assert_int_equal(check(&f, &view), ERR_OK);
	put_u32(f.entry + request_layout(&f.head).body + 28, RECORD_BATCH_NODE);
	assert_int_equal(check(&f, &view), ERR_PROTOCOL);
	f.head.flags |= REQUEST_HAS_NODE;
	assert_int_equal(check(&f, &view), ERR_OK);
}

static void every_shorter_or_longer_copy_is_refused(void **state)
{
	struct request_view view;
	struct fixture f;
	uint64_t right;

	(void)state;
	append_request(&f);
	right = request_size(&f.head) - sizeof f.head;
	for (uint64_t n = 0; n < right + 16; n++)
		assert_int_equal(request_check(&view, &f.head, f.entry + sizeof f.head, n), n == right ? ERR_OK : ERR_PROTOCOL);
}

static void every_changed_bit_of_the_head_is_refused_or_harmless(void **state)
{
	struct request_view view;
	struct fixture f;

	(void)state;
	append_request(&f);
	for (unsigned bit = 0; bit < sizeof f.head * 8; bit++) {
		struct request good = f.head;
		uint8_t *head = (uint8_t *)&f.head;
		head[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		if (check(&f, &view) == ERR_OK)
			assert_true(f.head.name_length == good.name_length && f.head.body_length == good.body_length && f.head.count == 2);
		f.head = good;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_append_is_split_into_its_parts),
		cmocka_unit_test(topic_requests_pass_with_what_they_need_alone),
		cmocka_unit_test(large_request_counts_its_head_alone_as_its_entry),
		cmocka_unit_test(every_wrong_field_is_refused),
		cmocka_unit_test(record_that_takes_the_node_of_a_batch_without_one_is_refused),
		cmocka_unit_test(every_shorter_or_longer_copy_is_refused),
		cmocka_unit_test(every_changed_bit_of_the_head_is_refused_or_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
