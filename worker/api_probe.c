/* GET /v0/health, /healthz, /v0/ready, /readyz */
#include <inttypes.h>
#include <stdio.h>

#include "worker/api.h"
#include "worker/worker.h"

void api_health(struct exchange *exchange)
{
	uint64_t uptime = worker_now_us() / 1000 - exchange->worker->inherit.started_ms;
	answer_text(exchange, "{\"status\":\"ok\",\"version\":\"%s\",\"uptime_ms\":%" PRIu64 "}", PACKAGE_VERSION, uptime);
	exchange_plain(exchange, 200, "application/json");
}

void api_ready(struct exchange *exchange)
{
	const struct worker *worker = exchange->worker;
	const struct catalogue *catalogue = NULL;
	uint32_t state = atomic_load_explicit(&worker->status->state, memory_order_relaxed);
	bool write = false;
	if (exchange_query_bool(exchange, "write", &write) != ERR_OK)
		return;
	if (worker->draining || state == LOGD_STOPPING)
		exchange_error(exchange, ERR_SHUTTING_DOWN, NULL, "the server is stopping");
	else if (worker_catalogue(exchange->worker, &catalogue) != ERR_OK)
		exchange_not_ready(exchange);
	else if (write && state == LOGD_READ_ONLY)
		exchange_error(exchange, ERR_READ_ONLY, NULL, "the disk failed for good; reads go on, writes do not");
	else if (write && state == LOGD_FULL)
		exchange_error(exchange, ERR_STORAGE_FULL, NULL, "the disk is full; reads go on, writes do not");
	else if (write && atomic_load_explicit(&worker->status->heartbeat_ms, memory_order_relaxed) + HEARTBEAT_STALE_MS < worker_now_us() / 1000)
		exchange_error(exchange, ERR_STORAGE_STALLED, NULL, "the log process does not answer or ends at each start; reads go on, writes do not. Look into the server's log");
	else {
		answer_text(exchange, "{\"status\":\"ready\",\"wal_replay_complete\":%s,\"topics\":%" PRIu64 "}", catalogue_partial(catalogue) ? "false" : "true",
		            catalogue_topic_count(catalogue));
		exchange_plain(exchange, 200, "application/json");
	}
}
