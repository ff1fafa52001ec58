#include "logd/outbox.h"

#include <poll.h>
#include <stdlib.h>

struct outbox {
	int socket; /* not owned */
	unsigned first, count;
	struct control kept[OUTBOX_MAX]; /* a ring; pages of it that are never needed are never touched */
};

enum error outbox_create(struct outbox **outbox, int socket)
{
	struct outbox *made = calloc(1, sizeof *made);
	if (made == NULL)
		return ERR_NOMEM;
	made->socket = socket;
	*outbox = made;
	return ERR_OK;
}

void outbox_destroy(struct outbox **outbox)
{
	free(*outbox);
	*outbox = NULL;
}

bool outbox_waits(const struct outbox *outbox)
{
	return outbox->count > 0;
}

enum error outbox_flush(struct outbox *outbox)
{
	while (outbox->count > 0) {
		enum error error = control_send(outbox->socket, &outbox->kept[outbox->first], NULL, 0);
		if (error == ERR_AGAIN)
			return ERR_OK;
		outbox->first = (outbox->first + 1) % OUTBOX_MAX;
		outbox->count = error == ERR_OK ? outbox->count - 1 : 0;
		if (error != ERR_OK)
			return error;
	}
	return ERR_OK;
}

enum error outbox_send(struct outbox *outbox, const struct control *message)
{
	enum error error = outbox_flush(outbox);
	if (error == ERR_OK)
		error = outbox->count > 0 ? ERR_AGAIN : control_send(outbox->socket, message, NULL, 0);
	if (error != ERR_AGAIN)
		return error;
	if (outbox->count == OUTBOX_MAX)
		return ERR_LIMIT;
	outbox->kept[(outbox->first + outbox->count++) % OUTBOX_MAX] = *message;
	return ERR_OK;
}

enum error outbox_wait(struct outbox *outbox)
{
	struct pollfd room = { .fd = outbox->socket, .events = POLLOUT };
	(void)poll(&room, 1, -1);
	return outbox_flush(outbox);
}
