/*
 * The page that all processes share and logd alone writes: which catalogue is current, whether logd sleeps, how it is.
 */
#ifndef TOPICS_STATUS_H
#define TOPICS_STATUS_H

#include <stdatomic.h>
#include <stdint.h>

enum logd_state {
	LOGD_STARTING = 0,   /* also: recovering; `progress` says how far */
	LOGD_READY = 1,
	LOGD_READ_ONLY = 2,  /* a write or sync failed for good: reads go on, writes are 503 read_only */
	LOGD_FULL = 3,       /* no space: writes are 507 */
	LOGD_STOPPING = 4,
};

enum { HEARTBEAT_STALE_MS = 3000 }; /* without a heartbeat for so long logd stands still, or there is none */

struct status {
	_Atomic uint64_t catalogue;      /* number of the current catalogue, 0 before the first; compared first by every request (§6) */
	_Atomic uint32_t logd_sleeping;  /* common/wake.h */
	_Atomic uint32_t state;          /* enum logd_state */
	_Atomic uint32_t progress;       /* of recovery, 0..1000000 */
	_Atomic uint32_t deaths;         /* of logd since the daemon began (written by the next logd from its inheritance) */
	_Atomic uint64_t heartbeat_ms;   /* CLOCK_MONOTONIC ms, moved at least each second */
	_Atomic uint64_t frames_total;
	_Atomic uint64_t batches_total;
	_Atomic uint64_t bytes_written_total;
	_Atomic uint64_t syncs_total;
	_Atomic uint64_t sync_us_total;
	_Atomic uint64_t rotations_total;
	_Atomic uint64_t sync_histogram[32]; /* by power of two of microseconds */
	_Atomic uint64_t frontier;
	_Atomic uint64_t written;
	uint8_t reserved[4096 - 24 - 4 - 4 - 7 * 8 - 32 * 8 - 2 * 8];
};

#endif
