#include "common/logging.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void log_line(const struct logging *logging, enum log_level level, const char *format, ...)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	char line[1024];
	struct timespec now;
	struct tm utc;
	va_list arguments;

	if (level > logging->level)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	size_t n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
	n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s[%d] %s: ", now.tv_nsec / 1000000, logging->program, (int)getpid(), names[level]);
	va_start(arguments, format);
	int text = vsnprintf(line + n, sizeof line - n - 1, format, arguments);
	va_end(arguments);
	n += text < 0 ? 0 : (size_t)text;
	if (n > sizeof line - 2)
		n = sizeof line - 2;
	line[n++] = '\n';
	/* One write, so that lines of several processes do not mix. */
	ssize_t ignored = write(STDERR_FILENO, line, n);
	(void)ignored;
}
