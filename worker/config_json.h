/* A topic's configuration as JSON: API.md §2. */
#ifndef TOPICS_CONFIG_JSON_H
#define TOPICS_CONFIG_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/topic_config.h"
#include "worker/json.h"

enum { CONFIG_JSON_MAX = 2048 };

/*
 * Reads a configuration object. `config` holds the values that omitted fields keep; *mask gets a bit for each field that was given. `name`: the topic's own name, which may not be
 * its dead letter. `base`, `depth`: as for json_object. ERR_INVALID_REQUEST with *error filled.
 */
enum error config_json_parse(struct topic_config *config, uint32_t *mask, const uint8_t *body, size_t length, size_t base, unsigned depth,
                             const char *name, size_t name_length, struct json_error *error);

/* Writes the object with all 17 fields (at most CONFIG_JSON_MAX bytes); returns its length. */
size_t config_json_render(uint8_t *out, const struct topic_config *config);

#endif
