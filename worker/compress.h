/*
 * Answers that leave as gzip. A small one is compressed at once; large ones queue, and are compressed slice by slice, one after the other, so that no round of the loop is held up. The
 * memory for it is the worker's: two states of zlib and one buffer, made with the first answer that asks for them.
 */
#ifndef TOPICS_COMPRESS_H
#define TOPICS_COMPRESS_H

#include <stdbool.h>

#include "worker/exchange.h"

enum { COMPRESS_MIN = 1024 }; /* a body has to be larger than this */

struct compressing;

enum error compressing_create(struct compressing **compressing);
void compressing_destroy(struct compressing **compressing);

/*
 * Compresses exchange->answer, at once (true: it is done), or later (false: the exchange is parked; when it is done `finished` is called). When memory is out the answer stays as it
 * is. exchange->gzipped says what became of it.
 */
bool compressing_take(struct compressing *compressing, struct exchange *exchange, void (*finished)(struct exchange *exchange));

/* Compresses one slice; false when nothing is left to do. */
bool compressing_step(struct compressing *compressing);

bool compressing_pending(const struct compressing *compressing);

#endif
