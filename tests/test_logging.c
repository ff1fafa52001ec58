#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <regex.h>
#include <string.h>
#include <sys/socket.h>

#include "common/logging.h"
#include "tests/child.h"

enum { LINE_MOST = 1023 };

struct said { enum log_level most, level; const char *text; int to; };

static int say(void *context)
{
	const struct said *said = context;
	const struct logging logging = { .program = "topics-test", .level = said->most };

	CHILD_NEEDS(dup2(said->to, STDERR_FILENO) == STDERR_FILENO);
	log_line(&logging, said->level, "%s", said->text);
	return 0;
}

/* What one call writes; packets, so that two writes would be seen as two. Empty: nothing. */
static void what_is_said(char *line, size_t room, enum log_level most, enum log_level level, const char *text)
{
	int pair[2];
	ssize_t n;
	char more;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	struct said said = { most, level, text, pair[1] };
	assert_int_equal(child_ran(say, &said), 0);
	close(pair[1]);
	n = recv(pair[0], line, room - 1, 0);
	assert_true(n >= 0);
	line[n] = '\0';
	assert_int_equal(recv(pair[0], &more, 1, 0), 0);
	close(pair[0]);
}

static void line_says_time_program_process_and_level_in_one_write(void **state)
{
	static const char *const levels[] = { "error", "warning", "info", "debug" };
	char line[2048], pattern[256];
	regex_t wanted;

	(void)state;
	for (enum log_level level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
		snprintf(pattern, sizeof pattern, "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z topics-test\\[[0-9]+\\] %s: 100%% sure\n$", levels[level]);
		assert_int_equal(regcomp(&wanted, pattern, REG_EXTENDED | REG_NOSUB), 0);
		what_is_said(line, sizeof line, LOG_LEVEL_DEBUG, level, "100% sure");
		assert_int_equal(regexec(&wanted, line, 0, NULL, 0), 0);
		regfree(&wanted);
	}
}

static void what_is_below_the_level_is_not_said(void **state)
{
	char line[2048];

	(void)state;
	for (enum log_level most = LOG_LEVEL_ERROR; most <= LOG_LEVEL_DEBUG; most++)
		for (enum log_level level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
			what_is_said(line, sizeof line, most, level, "x");
			assert_int_equal(line[0] != '\0', level <= most);
		}
}

static void text_that_is_too_long_is_cut_and_still_ends_its_line(void **state)
{
	static char text[5000];
	char line[8192];

	(void)state;
	for (size_t length = 900; length < sizeof text; length += length < 1100 ? 1 : 1000) {
		memset(text, 'x', length);
		text[length] = '\0';
		what_is_said(line, sizeof line, LOG_LEVEL_INFO, LOG_LEVEL_INFO, text);
		assert_true(strlen(line) <= LINE_MOST);
		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
		assert_int_equal(line[strlen(line) - 2], 'x');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(line_says_time_program_process_and_level_in_one_write),
		cmocka_unit_test(what_is_below_the_level_is_not_said),
		cmocka_unit_test(text_that_is_too_long_is_cut_and_still_ends_its_line),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
