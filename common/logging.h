/*
 * One line to standard error per event, by a process's top level alone: "<time> <program>[pid] <level>: text". Library code does not log.
 */
#ifndef TOPICS_LOGGING_H
#define TOPICS_LOGGING_H

enum log_level { LOG_LEVEL_ERROR = 0, LOG_LEVEL_WARNING = 1, LOG_LEVEL_INFO = 2, LOG_LEVEL_DEBUG = 3 };

struct logging {
	const char *program;
	enum log_level level;
};

void log_line(const struct logging *logging, enum log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
