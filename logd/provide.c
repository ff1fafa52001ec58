/*
 * What a request needs of memory once its frame is appended. It is there before the request is taken, so that no allocation that fails can come between a frame and its effect,
 * and the process never has to end for want of a few hundred bytes (FAULTS D8).
 */
#include <stdlib.h>

#include "logd/engine_internal.h"

enum { REQUEST_UNDOS = 4, FILES_AHEAD = 16 /* more than one group, or a file that is left, can begin */ };

static bool provide_pending(struct engine *engine)
{
	if (engine->free_pending == NULL)
		engine->free_pending = calloc(1, sizeof *engine->free_pending);
	return engine->free_pending != NULL;
}

bool provide_undos(struct engine *engine, unsigned count)
{
	while (engine->free_undos < count) {
		struct undo *undo = calloc(1, sizeof *undo);
		if (undo == NULL)
			return false;
		undo->next = engine->free_undo;
		engine->free_undo = undo;
		engine->free_undos++;
	}
	return true;
}

static bool provide_configs(struct engine *engine)
{
	for (unsigned i = 0; i < ENGINE_CONFIGS; i++)
		if (engine->configs[i] == NULL && (engine->configs[i] = malloc(sizeof *engine->configs[i])) == NULL)
			return false;
	return true;
}

struct topic_config *provided_config(struct engine *engine, const struct topic_config *config)
{
	unsigned i = engine->configs[0] != NULL ? 0 : 1;
	struct topic_config *taken = engine->configs[i];
	engine->configs[i] = NULL;
	*taken = *config;
	return taken;
}

bool provide_files(struct engine *engine)
{
	if (engine->file_room - engine->file_count >= FILES_AHEAD)
		return true;
	uint32_t room = engine->file_room ? engine->file_room * 2 : 64;
	struct known_file *more = realloc(engine->files, room * sizeof *more);
	if (more == NULL)
		return false;
	engine->files = more;
	engine->file_room = room;
	return true;
}

bool provide_for_request(struct engine *engine)
{
	return provide_pending(engine) && provide_undos(engine, REQUEST_UNDOS) && provide_configs(engine) && provide_files(engine) &&
	       keys_provide(engine->keys) && catalogue_topics_provide(engine->options.catalogue, topic_table_linked(engine->topics) + 1);
}
