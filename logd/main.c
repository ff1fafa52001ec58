/* topics-logd: the one process that owns the log. Started by topicsd alone; see docs/architecture.md. */
#include <signal.h>
#include <stdio.h>

#include "common/confine.h"
#include "common/failpoint.h"
#include "common/inherit.h"
#include "logd/loop.h"

int main(void)
{
	struct inherit_logd inherit;

	if (inherit_read(&inherit, sizeof inherit) != ERR_OK) {
		fprintf(stderr, "topics-logd: this program is started by topicsd, not by hand\n");
		return 1;
	}
	/* A terminal's Ctrl-C and a service manager's SIGTERM go to the whole group; the supervisor alone decides when the log is closed. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	failpoint_setup(inherit.common.failpoint);
	if (confine_logd(&inherit.common) != ERR_OK) {
		perror("topics-logd: cannot lock itself down");
		return 1;
	}
	return logd_run(&inherit);
}
