#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "common/inherit.h"
#include "tests/child.h"

enum { LASTING = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

static struct inherit_worker something(void)
{
	struct inherit_worker inherit = { .common = { .version = INHERIT_VERSION, .size = sizeof inherit, .control_fd = 4, .uid = 1000 }, .slot = 2,
		.incarnation = 0xfedcba9876543210, .large_bytes = 4096, .all_counters_fd = { [WORKERS_MAX - 1] = 77 }, .started_ms = 42 };

	inherit.common.settings.max_body_bytes = 12345;
	strcpy(inherit.common.failpoint, "after-write:kill:3");
	return inherit;
}

/* What the supervisor put at the number, and what a child of it reads there. */
struct handed { int fd; uint32_t size; enum error expected; const struct inherit_worker *same; };

static int read_there(void *context)
{
	const struct handed *handed = context;
	struct inherit_worker got;

	memset(&got, 0x55, sizeof got);
	CHILD_NEEDS(handed->fd < 0 ? close(INHERIT_FD) == 0 || errno == EBADF : dup2(handed->fd, INHERIT_FD) == INHERIT_FD);
	CHILD_NEEDS(inherit_read(&got, handed->size) == handed->expected);
	if (handed->expected != ERR_OK)
		return 0;
	CHILD_NEEDS(fcntl(INHERIT_FD, F_GETFD) == -1 && errno == EBADF);
	CHILD_NEEDS(memcmp(&got, handed->same, handed->size) == 0);
	return 0;
}

static void reads(int fd, uint32_t size, enum error expected, const struct inherit_worker *same)
{
	struct handed handed = { fd, size, expected, same };

	assert_int_equal(child_ran(read_there, &handed), 0);
	if (fd >= 0)
		close(fd);
}

static int written(const void *bytes, uint32_t size)
{
	int fd = -1;

	assert_int_equal(inherit_write(&fd, bytes, size), ERR_OK);
	return fd;
}

static void child_reads_what_the_supervisor_wrote_and_closes_the_descriptor(void **state)
{
	struct inherit_worker inherit = something();

	(void)state;
	reads(written(&inherit, sizeof inherit), sizeof inherit, ERR_OK, &inherit);
}

static void object_is_sealed_and_closed_on_exec(void **state)
{
	struct inherit_worker inherit = something();
	int fd = written(&inherit, sizeof inherit);

	(void)state;
	assert_int_equal(fcntl(fd, F_GET_SEALS) & LASTING, LASTING);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
}

static void another_version_or_size_is_refused(void **state)
{
	struct inherit_worker inherit = something();

	(void)state;
	inherit.common.version++;
	reads(written(&inherit, sizeof inherit), sizeof inherit, ERR_PROTOCOL, NULL);
	inherit = something();
	inherit.common.size = sizeof(struct inherit_logd);
	reads(written(&inherit, sizeof inherit), sizeof inherit, ERR_PROTOCOL, NULL);
	inherit = something();
	reads(written(&inherit, sizeof inherit), sizeof(struct inherit_logd), ERR_PROTOCOL, NULL);
}

static void program_that_was_started_by_hand_finds_nothing_and_says_so(void **state)
{
	int pair[2];

	(void)state;
	reads(-1, sizeof(struct inherit_worker), ERR_PROTOCOL, NULL);
	assert_int_equal(pipe(pair), 0);
	reads(pair[0], sizeof(struct inherit_worker), ERR_PROTOCOL, NULL);
	close(pair[1]);
	reads(open("/dev/null", O_RDONLY), sizeof(struct inherit_worker), ERR_PROTOCOL, NULL);
	reads(memfd_create("short", 0), sizeof(struct inherit_worker), ERR_PROTOCOL, NULL);
}

static void failpoint_without_an_end_gets_one(void **state)
{
	struct inherit_worker inherit = something(), ended;

	(void)state;
	memset(inherit.common.failpoint, 'x', sizeof inherit.common.failpoint);
	ended = inherit;
	ended.common.failpoint[sizeof ended.common.failpoint - 1] = '\0';
	reads(written(&inherit, sizeof inherit), sizeof inherit, ERR_OK, &ended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(child_reads_what_the_supervisor_wrote_and_closes_the_descriptor),
		cmocka_unit_test(object_is_sealed_and_closed_on_exec),
		cmocka_unit_test(another_version_or_size_is_refused),
		cmocka_unit_test(program_that_was_started_by_hand_finds_nothing_and_says_so),
		cmocka_unit_test(failpoint_without_an_end_gets_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
