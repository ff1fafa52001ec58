#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/read_world.h"

static void on_wake(void *context)
{
	((struct read_world *)context)->woken = true;
}

int read_world_set_up(void **state)
{
	struct read_world *w = calloc(1, sizeof *w);
	w->f = worker_fixture_create();
	w->slot = fixture_topic(w->f, "orders");
	for (unsigned i = 0; i < 3; i++)
		fixture_file(w->f, true, &w->file[i]);
	w->request = (struct read_request){ .catalogue = w->f->reader, .slot = w->slot, .topic = fixture_id(w->f, w->slot), .limit = 1000, .max_bytes = READ_BYTES_DEFAULT,
	                                    .include_meta = true };
	*state = w;
	return 0;
}

int read_world_tear_down(void **state)
{
	struct read_world *w = *state;
	for (unsigned i = 0; i < 3; i++)
		close(w->file[i].fd);
	buffer_free(&w->out);
	worker_fixture_destroy(&w->f);
	free(w);
	return 0;
}

/* Turns and reader threads are waited for; a file that has not come is not. */
enum error read_on(struct read_world *w)
{
	struct reading *reading = NULL;
	enum error error = reading_begin(w->f->worker.reader, on_wake, w, &reading);
	assert_int_equal(error, ERR_OK);
	while ((error = reading_go_on(reading, &w->request, &w->out)) == ERR_AGAIN && reading_page(reading)->waits != READING_WAITS_FOR_FILE) {
		bool disk = reading_page(reading)->waits == READING_WAITS_FOR_DISK;
		while (disk && !w->woken)
			event_base_loop(w->f->worker.base, EVLOOP_ONCE);
		w->woken = false;
		w->turns++;
	}
	w->page = *reading_page(reading);
	reading_end(&reading);
	return error;
}

enum error read_from(struct read_world *w, uint64_t from_seq)
{
	w->request.from_seq = from_seq;
	w->out.length = 0;
	return read_on(w);
}

void records_are(struct read_world *w, uint64_t from, uint64_t to, uint64_t without)
{
	const char *at, *end;
	uint64_t seq = from, count = 0;
	assert_int_equal(buffer_reserve(&w->out, 1), ERR_OK);
	w->out.bytes[w->out.length] = '\0';
	at = (const char *)w->out.bytes;
	end = at + w->out.length;
	for (; seq <= to; seq++) {
		unsigned long long number = 0, data = 0;
		long long ts = 0;
		if (seq < 64 && (without >> seq & 1))
			continue;
		at += count++ > 0 && *at == ',';
		if (sscanf(at, "{\"$seq\":%llu,\"$ts\":%lld,", &number, &ts) != 2 || number != seq)
			fail_msg("wanted %llu, there is %.60s", (unsigned long long)seq, at);
		const char *text = memmem(at, (size_t)(end - at), "\"data\":", 7);
		if (text == NULL || sscanf(text, "\"data\":{\"n\":%llu}", &data) != 1 || data != seq)
			fail_msg("record %llu has data %.60s", (unsigned long long)seq, text);
		text = memmem(at + 1, (size_t)(end - at - 1), "{\"$seq\"", 7);
		at = text != NULL ? text - 1 : end;
	}
	if (at != end)
		fail_msg("beyond %llu there is %.60s", (unsigned long long)to, at);
	assert_int_equal(w->page.records, count);
}

void page_is(struct read_world *w, uint64_t from_seq, uint64_t first, uint64_t last)
{
	assert_int_equal(read_from(w, from_seq), ERR_OK);
	assert_false(w->page.has_tombstone);
	records_are(w, first, last, 0);
	assert_int_equal(w->page.next, last >= first ? last : from_seq);
}

void tombstone_is(const struct read_world *w, uint64_t from, uint64_t to, uint32_t reason)
{
	assert_true(w->page.has_tombstone);
	assert_int_equal(w->page.tombstone.from, from);
	assert_int_equal(w->page.tombstone.to, to);
	assert_int_equal(w->page.tombstone.reason, reason);
}

struct extent put_batch(struct read_world *w, unsigned file, uint64_t first, uint32_t count)
{
	struct extent extent = fixture_batch(w->f, &w->file[file], w->slot, first, &(struct fixture_batch){ .count = count });
	fixture_publish(w->f, w->slot, first + count - 1);
	return extent;
}
