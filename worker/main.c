/* topics-worker: serves HTTP. Started by topicsd alone; see docs/architecture.md. */
#include <signal.h>
#include <stdio.h>

#include "common/confine.h"
#include "common/failpoint.h"
#include "common/inherit.h"
#include "worker/run.h"

int main(void)
{
	struct inherit_worker inherit;

	if (inherit_read(&inherit, sizeof inherit) != ERR_OK) {
		fprintf(stderr, "topics-worker: this program is started by topicsd, not by hand\n");
		return 1;
	}
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	failpoint_setup(inherit.common.failpoint);
	if (confine_worker(&inherit.common) != ERR_OK) {
		perror("topics-worker: cannot lock itself down");
		return 1;
	}
	return worker_run(&inherit);
}
