/*
 * What a worker says about itself: written by the worker of that slot alone, read by everyone, handed to the slot's next worker so that
 * counts and read clocks outlive a process.
 */
#ifndef TOPICS_COUNTERS_H
#define TOPICS_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { COUNTERS_READ_CLOCKS = 1 << 20 };

struct read_clock {
	_Atomic uint64_t topic;   /* 0: free */
	_Atomic int64_t ts;       /* last read, ms since the epoch */
};

struct counters {
	uint64_t unused0;
	_Atomic uint32_t sleeping;         /* common/wake.h */
	_Atomic uint32_t ready;            /* this process accepts connections */
	_Atomic uint64_t connections;      /* open now */
	_Atomic uint64_t connections_total;
	_Atomic uint64_t requests_total;
	_Atomic uint64_t responses_4xx;
	_Atomic uint64_t responses_5xx;
	_Atomic uint64_t appends_total;
	_Atomic uint64_t records_in_total;
	_Atomic uint64_t reads_total;
	_Atomic uint64_t records_out_total;
	_Atomic uint64_t bytes_in_total;
	_Atomic uint64_t bytes_out_total;
	_Atomic uint64_t accept_pauses;
	_Atomic uint64_t ring_full_total;
	_Atomic uint32_t watching;         /* somebody waits for the feed: common/watch.h */
	uint32_t unused1;
	_Atomic uint64_t long_polls;       /* that wait now */
	_Atomic uint64_t cold_reads_total; /* reads of a log file that a reader thread did */
	_Atomic uint64_t read_errors_total;/* of them and others, that the disk failed */
	_Atomic uint64_t index_failures_total; /* look-ups that a damaged footer did not answer, so that frames were walked */
	uint8_t reserved[4096 - 20 * 8];
	struct read_clock clocks[COUNTERS_READ_CLOCKS]; /* open addressing by topic id, 8 probes; a full neighbourhood overwrites the oldest */
};

/* Adds to a counter of one's own. Its process is its only writer, so this needs no locked instruction. */
static inline void counters_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* Moves the read clock of `topic` to `ts` in the worker's own counters. */
void counters_touch(struct counters *own, uint64_t topic, int64_t ts);

/* The newest read of `topic` over `n` workers' counters; 0 if never. */
int64_t counters_last_read(const struct counters *const *all, unsigned n, uint64_t topic);

#endif
