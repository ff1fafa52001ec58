/*
 * Appends that wait for what sealed files say of their idempotency key (ARCHITECTURE §7), and those of the same ring and topic behind them. The ring goes on meanwhile.
 *
 *   take_append ─▶ ASKED ──the lane is free──▶ RUNNING ──engine_looked_up──▶ KNOWN ─┐
 *        │           ▲                                                              ├──its turn, append_request──▶ gone
 *        └─▶ BEHIND ─┼──────────────────────────────────────────────────────────────┘
 *                    └── the answer is not about the topic's incarnation, or keys have gone to further files meanwhile: asked again
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "logd/engine_internal.h"

enum { LOOKUPS_MAX = 256, LOOKUP_BYTES_MAX = 16 << 20 };

bool lookups_full(const struct engine *engine)
{
	return engine->lookup_count >= LOOKUPS_MAX || engine->lookup_bytes >= LOOKUP_BYTES_MAX;
}

static bool same_topic(const struct taken *a, const struct taken *b)
{
	return a->ring == b->ring && a->view.head.name_length == b->view.head.name_length &&
	       memcmp(a->view.name, b->view.name, a->view.head.name_length) == 0;
}

bool lookups_hold_back(const struct engine *engine, const struct taken *taken)
{
	for (const struct lookup *lookup = engine->lookups_first; lookup != NULL && taken->ring->lookups > 0; lookup = lookup->next)
		if (same_topic(&lookup->held->taken, taken))
			return true;
	return false;
}

bool lookups_add(struct engine *engine, const struct taken *taken, const uint8_t *body, const struct key_question *question)
{
	struct lookup *lookup = calloc(1, sizeof *lookup);
	if (lookup == NULL || (lookup->held = held_make(taken, body)) == NULL) {
		free(lookup);
		return false;
	}
	lookup->state = question != NULL ? LOOKUP_ASKED : LOOKUP_BEHIND;
	if (question != NULL)
		lookup->question = *question;
	*engine->lookups_end = lookup;
	engine->lookups_end = &lookup->next;
	engine->lookup_count++;
	engine->lookup_bytes += request_size(&taken->view.head);
	taken->ring->lookups++;
	taken->ring->owed++;
	return true;
}

/* Its place among the answers is free again, or its answer has taken it. */
static void take_out(struct engine *engine, struct lookup **at)
{
	struct lookup *lookup = *at;
	*at = lookup->next;
	if (engine->lookups_end == &lookup->next)
		engine->lookups_end = at;
	engine->lookup_count--;
	engine->lookup_bytes -= request_size(&lookup->held->taken.view.head);
	if (engine->looking == lookup) {
		engine->looking = NULL;
		engine->looking_for_nobody = true;
	}
	free(lookup->held);
	free(lookup);
}

void lookups_drop(struct engine *engine, const struct ring *ring)
{
	struct lookup **at = &engine->lookups_first;
	while (*at != NULL) {
		struct ring *own = (*at)->held->taken.ring;
		if (ring != NULL && own != ring) {
			at = &(*at)->next;
			continue;
		}
		/* It stands in no frame: it was never accepted. */
		own->owed--;
		own->lookups--;
		take_out(engine, at);
	}
}

/* Whether an earlier append of the same ring and topic still waits. */
static bool overtakes(const struct engine *engine, const struct lookup *lookup)
{
	for (const struct lookup *before = engine->lookups_first; before != lookup; before = before->next)
		if (same_topic(&before->held->taken, &lookup->held->taken))
			return true;
	return false;
}

/* False: it waits on. */
static bool try_again(struct engine *engine, struct lookup *lookup)
{
	struct taken *taken = &lookup->held->taken;
	const struct records records = { .bytes = lookup->held->bytes };
	struct key_question question;
	if (!provide_for_request(engine))
		return false;
	taken->ring->owed--; /* its place is its own again */
	ring_note_taking(taken->ring->consumer, taken->number + 1);
	enum appended appended = append_request(engine, taken, &records, lookup, &question);
	ring_note_taking(taken->ring->consumer, 0);
	if (appended == APPEND_DONE) {
		taken->ring->lookups--;
		return true;
	}
	taken->ring->owed++;
	if (appended == APPEND_ASKS) {
		lookup->state = LOOKUP_ASKED;
		lookup->question = question;
	}
	return false;
}

/* The next question goes to the files. */
static void ask(struct engine *engine)
{
	struct lookup *lookup = engine->lookups_first;
	while (lookup != NULL && lookup->state != LOOKUP_ASKED)
		lookup = lookup->next;
	if (lookup == NULL || engine->looking != NULL || engine->looking_for_nobody)
		return;
	struct key_question *q = &lookup->question;
	struct lookup_job job = { .topic = q->topic };
	memcpy(job.hash, q->hash, sizeof job.hash);
	q->moves = engine->key_moves;
	job.file_count = key_filter_find(engine->key_filter, q->hash, q->not_before, NULL, 0);
	job.files = malloc((job.file_count ? job.file_count : 1) * sizeof *job.files);
	if (job.files == NULL)
		return; /* the next round tries again */
	key_filter_find(engine->key_filter, q->hash, q->not_before, job.files, job.file_count);
	if (engine->ops->lookup_start(engine->ops->world, &job) != 0) {
		free(job.files);
		return;
	}
	lookup->state = LOOKUP_RUNNING;
	engine->looking = lookup;
}

bool lookups_serve(struct engine *engine)
{
	struct lookup **at = &engine->lookups_first;
	bool waits = false;
	while (*at != NULL) {
		struct lookup *lookup = *at;
		bool ready = (lookup->state == LOOKUP_KNOWN || lookup->state == LOOKUP_BEHIND) && !overtakes(engine, lookup);
		if (ready && try_again(engine, lookup)) {
			take_out(engine, at);
			continue;
		}
		waits = waits || (ready && lookup->state != LOOKUP_ASKED);
		at = &lookup->next;
	}
	ask(engine);
	return waits;
}

void engine_looked_up(struct engine *engine, const struct lookup_job *job)
{
	struct lookup *lookup = engine->looking;
	engine->looking = NULL;
	engine->looking_for_nobody = false;
	if (lookup == NULL)
		return;
	lookup->state = LOOKUP_KNOWN;
	lookup->result = job->result;
	lookup->found = (struct key_entry){ .topic = job->topic, .first_seq = job->first_seq, .count = job->count, .ts = job->ts, .lsn = job->lsn };
}

/* ---- the filter ---- */

/* The oldest `ts` of a key that some topic still wants to know of. */
static int64_t oldest_wanted(const struct engine *engine)
{
	uint64_t window = topic_table_longest_window(engine->topics);
	return window > (uint64_t)INT64_MAX || engine->ts < INT64_MIN + (int64_t)window ? INT64_MIN : engine->ts - (int64_t)window;
}

void lookups_expire(struct engine *engine)
{
	if (key_filter_files(engine->key_filter) > 0)
		key_filter_expire(engine->key_filter, oldest_wanted(engine));
}

static void add_hash(void *context, const uint8_t hash[KEY_FILTER_HASH])
{
	key_filter_add(context, hash);
}

/* Fills the filter at a start. A file that cannot be read may hold any key: whoever asks is told that nobody knows. */
enum error lookups_load(struct engine *engine, const struct key_file *files, size_t count)
{
	int64_t oldest = oldest_wanted(engine);
	for (size_t i = 0; i < count; i++) {
		if (files[i].newest_ts < oldest)
			continue;
		enum error error = key_filter_file(engine->key_filter, &files[i]);
		if (error == ERR_OK)
			error = key_each(engine->ops, &files[i], add_hash, engine->key_filter);
		if (error == ERR_IO || error == ERR_CORRUPT) {
			key_filter_fill(engine->key_filter);
			error = ERR_OK;
		}
		if (error != ERR_OK)
			return error;
	}
	return ERR_OK;
}
