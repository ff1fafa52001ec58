#include "common/failpoint.h"

#ifdef ENABLE_FAILPOINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAILPOINTS_MAX = 16 };

/* The one mutable global of the program, and only of test builds: a failpoint must be reachable from everywhere. */
static struct {
	char name[48];
	char action[16];
	_Atomic int left;
} failpoints[FAILPOINTS_MAX];

void failpoint_setup(const char *spec)
{
	char copy[256];
	char *save = NULL;
	unsigned n = 0;

	snprintf(copy, sizeof copy, "%s", spec);
	for (char *one = strtok_r(copy, ",", &save); one != NULL && n < FAILPOINTS_MAX; one = strtok_r(NULL, ",", &save)) {
		int count = 1;
		if (sscanf(one, "%47[^:]:%15[^:]:%d", failpoints[n].name, failpoints[n].action, &count) >= 2)
			atomic_store(&failpoints[n++].left, count);
	}
}

void failpoint_hit(const char *name)
{
	for (unsigned i = 0; i < FAILPOINTS_MAX && failpoints[i].name[0] != '\0'; i++) {
		if (strcmp(failpoints[i].name, name) != 0 || atomic_fetch_sub(&failpoints[i].left, 1) != 1)
			continue;
		if (strcmp(failpoints[i].action, "abort") == 0)
			abort();
		if (strcmp(failpoints[i].action, "exit") == 0)
			_exit(99);
		raise(SIGKILL);
	}
}

#endif
