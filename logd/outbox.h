/*
 * What logd tells the supervisor, in order, whatever its socket has room for: the supervisor keeps the books by these messages (which object an ephemeral file is, which catalogue
 * is current), so none may be missing while both live. What finds no room is kept here, in memory that was taken beforehand.
 */
#ifndef TOPICS_OUTBOX_H
#define TOPICS_OUTBOX_H

#include <stdbool.h>

#include "common/control.h"

enum { OUTBOX_MAX = 8192 };

struct outbox;

/* `socket` stays the caller's. ERR_NOMEM. */
enum error outbox_create(struct outbox **outbox, int socket);
void outbox_destroy(struct outbox **outbox);

/*
 * Sends the message behind those that are kept, or keeps it. ERR_LIMIT: as many are kept as can be, and this one was not: outbox_wait comes first.
 * ERR_EOF: the supervisor is gone; ERR_IO: the socket is of no use, errno says why. After these two nothing is kept any more.
 */
enum error outbox_send(struct outbox *outbox, const struct control *message);

/* Sends what is kept, as far as there is room. ERR_EOF, ERR_IO as above. */
enum error outbox_flush(struct outbox *outbox);

/* Something is kept: the socket is to be watched for POLLOUT. */
bool outbox_waits(const struct outbox *outbox);

/* Sleeps until there is room, then as outbox_flush. The supervisor never waits for logd to read, so this ends when it goes on, or is gone. */
enum error outbox_wait(struct outbox *outbox);

#endif
