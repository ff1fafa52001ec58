/*
 * A start that finds no space for what lies behind the last recorded frontier (docs/format.md §10.7): what is proven is served, nothing is written, and each second it is tried again.
 *
 *                 finish (recover.c): no space                full_start_tick: the log is open
 *   RECOVERING -------------------------------------> HELD -------------------------------> SERVING
 *                                                       | it fails for another reason (engine_start_failed): the next logd starts anew
 *
 * Readers keep the catalogue that they have, since what it shows met its contract before. Where there is none, at the daemon's start, they get the new one before its time, up to what is
 * proven (I-1). A request whose frame stands in the tail is neither answered nor refused: it waits (I-8). What stands in no frame is refused, as the log says: no space.
 */
#include "logd/engine_internal.h"

enum { TRY_AGAIN_US = 1000000 };

/* The topic as the frames before the frontier leave it; what stands in the catalogue behind the head (extents, losses) readers do not see. One that the tail deletes is gone already. */
static enum error show_proven(void *context, struct topic *topic)
{
	struct engine *engine = context;
	struct topic_numbers shown = topic->numbers;
	enum error error = topic->loss_count == 0 ? ERR_OK : catalogue_losses_set(engine->options.catalogue, topic->slot, topic->losses, topic->loss_count);
	if (error != ERR_OK)
		return error;
	shown.head = topic->proven;
	shown.durable = topic->config.durability == DURABILITY_EPHEMERAL ? 0 : shown.head;
	shown.floor = shown.floor < shown.head ? shown.floor : shown.head;
	shown.count -= topic->unproven_count;
	shown.bytes -= topic->unproven_bytes;
	shown.earliest = shown.count > 0 ? topic_first_live(topic) : shown.head + 1;
	if (topic->unproven)
		shown.id = 0; /* nobody finds it */
	catalogue_topic_numbers(engine->options.catalogue, topic->slot, &shown);
	return ERR_OK;
}

enum error full_start_begin(struct engine *engine)
{
	engine->full_start = true;
	if (engine->options.old_catalogue != NULL) {
		atomic_store_explicit(&engine->options.status->progress, 1000000, memory_order_relaxed); /* all is read */
		atomic_store_explicit(&engine->options.status->state, LOGD_FULL, memory_order_relaxed);
		return ERR_OK;
	}
	enum error error = topic_table_each(engine->topics, show_proven, engine);
	if (error != ERR_OK)
		return error;
	catalogue_set_partial(engine->options.catalogue, true);
	make_current(engine, false);
	return ERR_OK;
}

/* The log refuses each request that is taken. Once it is open nothing is taken before all is shown. */
bool full_start_round(struct engine *engine)
{
	bool more = log_state(engine->disk) != LOG_OPEN && take_from_rings(engine);
	wake_rings(engine);
	return more;
}

uint64_t full_start_tick(struct engine *engine)
{
	if (engine->now_us - engine->tick_us >= TRY_AGAIN_US && provide_files(engine)) {
		engine->tick_us = engine->now_us;
		log_tick(engine->disk);
	}
	if (log_state(engine->disk) == LOG_OPEN && recover_serve(engine) == ERR_OK)
		engine->full_start = false;
	return engine->blocked ? 1000 : TRY_AGAIN_US; /* a worker that reads its answers late does not wake us */
}
