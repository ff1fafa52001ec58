/* sd_notify(3) without its library: one datagram to the socket that NOTIFY_SOCKET names; nothing where there is none. */
#ifndef TOPICS_NOTIFY_H
#define TOPICS_NOTIFY_H

void notify_send(const char *state);

#endif
