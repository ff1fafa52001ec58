/*
 * Looking again for a moment before sleeping. Waking an idle core costs the waker several microseconds and the hop some twenty (docs/decisions.md), more than the
 * work that a single append asks of a process. So a process that expects its next work within the window goes on looking for it, giving its core away
 * (sched_yield) to whoever wants it between two looks, and sleeps as always when nothing has come.
 *
 * It polls only while polling pays: work that comes within the window, polled or slept for, earns credit; a window without any costs one. An idle server
 * sleeps, and so does one whose work always takes longer than the window.
 *
 *     round with work:     busy_poll_worked
 *     round without work:  busy_poll_again(now) ? look again : sleep, then busy_poll_slept(from, to)
 */
#ifndef TOPICS_BUSY_POLL_H
#define TOPICS_BUSY_POLL_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

enum { BUSY_POLL_CREDIT = 4 };

struct busy_poll {
	uint64_t window_us;  /* 0: never polls */
	uint64_t since_us;   /* when polling for the next work began, 0: it has not */
	unsigned credit;     /* windows that may yet pass in vain */
};

static inline void busy_poll_worked(struct busy_poll *poll)
{
	if (poll->since_us != 0)
		poll->credit = BUSY_POLL_CREDIT;
	poll->since_us = 0;
}

/* True: look again; the core has been offered to others. */
static inline bool busy_poll_again(struct busy_poll *poll, uint64_t now_us)
{
	if (poll->window_us == 0 || poll->credit == 0)
		return false;
	if (poll->since_us == 0)
		poll->since_us = now_us;
	if (now_us - poll->since_us < poll->window_us) {
		sched_yield();
		return true;
	}
	poll->credit--;
	return false;
}

/* It has slept: was the wait short enough to have been polled for, what it had polled before included? */
static inline void busy_poll_slept(struct busy_poll *poll, uint64_t from_us, uint64_t to_us)
{
	if (to_us - (poll->since_us != 0 ? poll->since_us : from_us) < poll->window_us)
		poll->credit = BUSY_POLL_CREDIT;
	poll->since_us = 0;
}

#endif
