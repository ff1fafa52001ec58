#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/frame.h"
#include "logd/topic_table.h"

static int setup(void **state)
{
	struct topic_table *table;

	if (topic_table_create(&table, (const uint8_t *)"0123456789abcdef") != ERR_OK)
		return 1;
	*state = table;
	return 0;
}

static int teardown(void **state)
{
	struct topic_table *table = *state;

	topic_table_destroy(&table);
	return table != NULL;
}

static struct topic *made(uint64_t id, const char *name)
{
	struct topic_config config;
	struct topic *topic;

	topic_config_default(&config);
	topic = topic_make(id, name, strlen(name), &config);
	assert_non_null(topic);
	return topic;
}

static void new_topic_is_empty_and_has_its_name_and_configuration(void **state)
{
	struct topic *topic = made(7, "orders");

	(void)state;
	assert_int_equal(topic->id, 7);
	assert_string_equal(topic->name, "orders");
	assert_int_equal(topic->name_length, 6);
	assert_int_equal(topic->head, 0);
	assert_int_equal(topic->numbers.id, 7);
	assert_int_equal(topic->numbers.earliest, 1);
	assert_int_equal(topic->config.durability, DURABILITY_DISK);
	topic_free(&topic);
	assert_null(topic);
}

static void topics_are_found_by_name_and_by_id_while_the_table_grows(void **state)
{
	enum { MANY = 5000 };
	struct topic_table *table = *state;
	char name[32];

	for (uint64_t i = 1; i <= MANY; i++) {
		snprintf(name, sizeof name, "topic-%llu", (unsigned long long)i);
		assert_int_equal(topic_table_add(table, made(i << 40 | i, name)), ERR_OK);
	}
	assert_int_equal(topic_table_count(table), MANY);
	for (uint64_t i = 1; i <= MANY; i++) {
		struct topic *topic = topic_table_by_id(table, i << 40 | i);
		snprintf(name, sizeof name, "topic-%llu", (unsigned long long)i);
		assert_non_null(topic);
		assert_ptr_equal(topic_table_by_name(table, name, strlen(name)), topic);
		assert_string_equal(topic->name, name);
	}
	assert_null(topic_table_by_name(table, "topic-", 6));
	assert_null(topic_table_by_name(table, "topic-12", 7 + 2));
	assert_null(topic_table_by_id(table, 12));
}

static void name_of_a_topic_being_deleted_is_free_and_can_be_taken_back(void **state)
{
	struct topic_table *table = *state;
	struct topic *old = made(1, "t"), *young = made(2, "t");

	topic_table_add(table, old);
	topic_table_drop_name(table, old);
	assert_null(topic_table_by_name(table, "t", 1));
	assert_ptr_equal(topic_table_by_id(table, 1), old);
	assert_int_equal(topic_table_count(table), 0);
	topic_table_add(table, young);
	assert_ptr_equal(topic_table_by_name(table, "t", 1), young);
	topic_table_remove(table, young);
	topic_free(&young);
	topic_table_take_name(table, old);
	assert_ptr_equal(topic_table_by_name(table, "t", 1), old);
	assert_int_equal(topic_table_count(table), 1);
	topic_table_remove(table, old);
	topic_table_remove(table, old); /* what is not there */
	assert_null(topic_table_by_id(table, 1));
	assert_int_equal(topic_table_count(table), 0);
	topic_free(&old);
}

static enum error count_topics(void *context, struct topic *topic)
{
	unsigned *left = context;

	(void)topic;
	return --*left == 0 ? ERR_IO : ERR_OK;
}

static void walk_visits_every_topic_that_is_linked_by_id_and_stops_at_an_error(void **state)
{
	struct topic_table *table = *state;
	unsigned left = 100;

	for (uint64_t i = 1; i <= 10; i++) {
		char name[2] = { (char)('a' + (int)i), 0 };
		topic_table_add(table, made(i, name));
	}
	topic_table_drop_name(table, topic_table_by_id(table, 3));
	assert_int_equal(topic_table_each(table, count_topics, &left), ERR_OK);
	assert_int_equal(left, 90);
	left = 4;
	assert_int_equal(topic_table_each(table, count_topics, &left), ERR_IO);
}

static void losses_stand_in_order_and_say_which_seqs_they_took(void **state)
{
	static const struct loss given[] = { { 20, 29, REASON_CRASH, 0 }, { 1, 4, REASON_RESTART, 0 }, { 10, 19, REASON_CORRUPT, 0 } };
	struct topic *topic = made(1, "t");

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(topic_add_loss(topic, &given[i]), ERR_OK);
	assert_int_equal(topic->loss_count, 3);
	for (unsigned i = 1; i < 3; i++)
		assert_true(topic->losses[i - 1].to < topic->losses[i].from);
	for (uint64_t seq = 1; seq <= 40; seq++)
		assert_int_equal(topic_seq_lost(topic, seq), seq <= 4 || (seq >= 10 && seq <= 29));
	assert_int_equal(topic_skip_losses(topic, 1), 5);
	assert_int_equal(topic_skip_losses(topic, 7), 7);
	assert_int_equal(topic_skip_losses(topic, 12), 30); /* through two that follow each other */
	topic_free(&topic);
}

static void strays_are_runs_that_are_counted_and_dropped_whole(void **state)
{
	struct topic *topic = made(1, "t");
	uint64_t count;

	(void)state;
	assert_true(topic_provide_strays(topic, 4));
	topic_add_stray(topic, &(struct stray){ 1, 3, 30 });
	topic_add_stray(topic, &(struct stray){ 4, 5, 20 }); /* the same run */
	topic_add_stray(topic, &(struct stray){ 10, 10, 7 });
	topic_add_stray(topic, &(struct stray){ 20, 29, 1 });
	assert_int_equal(topic->stray_count, 3);
	assert_int_equal(topic_stray_count(topic, 1, 19), 6);
	assert_int_equal(topic_stray_count(topic, 2, 19), 1);
	assert_int_equal(topic_stray_count(topic, 1, 28), 6);
	assert_int_equal(topic_stray_before(topic, 6), 1);
	assert_int_equal(topic_stray_before(topic, 5), 5);
	assert_int_equal(topic_drop_strays(topic, 6, 25, &count), 7);
	assert_int_equal(count, 1);
	assert_int_equal(topic_drop_strays(topic, 1, 40, &count), 51);
	assert_int_equal(count, 15);
	assert_int_equal(topic->stray_count, 0);
	topic_free(&topic);
}

static void seqs_in_losses_are_counted(void **state)
{
	struct topic *topic = made(1, "t");

	(void)state;
	assert_int_equal(topic_add_loss(topic, &(struct loss){ .from = 20, .to = 29 }), ERR_OK);
	assert_int_equal(topic_add_loss(topic, &(struct loss){ .from = 5, .to = 6 }), ERR_OK);
	assert_int_equal(topic_lost_count(topic, 1, 100), 12);
	assert_int_equal(topic_lost_count(topic, 6, 20), 2);
	assert_int_equal(topic_lost_count(topic, 7, 19), 0);
	topic_free(&topic);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(new_topic_is_empty_and_has_its_name_and_configuration),
		TEST(topics_are_found_by_name_and_by_id_while_the_table_grows),
		TEST(name_of_a_topic_being_deleted_is_free_and_can_be_taken_back),
		TEST(walk_visits_every_topic_that_is_linked_by_id_and_stops_at_an_error),
		TEST(losses_stand_in_order_and_say_which_seqs_they_took),
		TEST(seqs_in_losses_are_counted),
		TEST(strays_are_runs_that_are_counted_and_dropped_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
