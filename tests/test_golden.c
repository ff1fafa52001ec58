/*
 * The golden images are what the program writes today, byte for byte, and it reads them. With a directory as argument it writes them there
 * instead: the way to add an image, never to make a failing test pass (docs/format.md would have to change first, and its version).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/make_golden.h"

enum { NAMES = 64 };

static void path_of(char *out, size_t size, const char *root, const char *image, const char *file)
{
	int length = snprintf(out, size, "%s/%s/%s", root, image, file);

	assert_true(length > 0 && (size_t)length < size);
}

static unsigned files_in(const char *root, const char *image)
{
	char path[512];
	DIR *directory;
	unsigned count = 0;

	path_of(path, sizeof path, root, image, "");
	directory = opendir(path);
	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

static void compare(const char *root, const struct golden *golden)
{
	struct memory_world *world = golden->make();
	struct file_name names[NAMES];
	unsigned count = memory_world_names(world, names, NAMES);

	assert_int_equal(files_in(root, golden->name), count);
	for (unsigned i = 0; i < count; i++) {
		static uint8_t stored[1 << 20];
		char file[48], path[512];
		uint64_t size;
		const uint8_t *bytes = memory_world_file(world, &names[i], &size);
		FILE *in;

		golden_file_name(&names[i], file);
		path_of(path, sizeof path, root, golden->name, file);
		in = fopen(path, "rb");
		if (!in)
			fail_msg("%s is missing", path);
		assert_int_equal(fread(stored, 1, sizeof stored, in), size);
		fclose(in);
		for (uint64_t at = 0; at < size; at++)
			if (stored[at] != bytes[at])
				fail_msg("%s differs from byte %llu on", path, (unsigned long long)at);
	}
	memory_world_destroy(&world);
}

static void images_are_what_is_written_today(void **state)
{
	const char *source = getenv("TOPICS_SRCDIR");
	char root[400];

	(void)state;
	snprintf(root, sizeof root, "%s/tests/golden", source ? source : ".");
	for (unsigned i = 0; i < golden_count; i++)
		compare(root, &golden_images[i]);
}

static int write_images(const char *root)
{
	for (unsigned i = 0; i < golden_count; i++) {
		struct memory_world *world = golden_images[i].make();
		struct file_name names[NAMES];
		unsigned count = memory_world_names(world, names, NAMES);
		char path[512], file[48];

		snprintf(path, sizeof path, "%s/%s", root, golden_images[i].name);
		mkdir(path, 0777);
		for (unsigned k = 0; k < count; k++) {
			uint64_t size;
			const uint8_t *bytes = memory_world_file(world, &names[k], &size);
			FILE *out;

			golden_file_name(&names[k], file);
			snprintf(path, sizeof path, "%s/%s/%s", root, golden_images[i].name, file);
			out = fopen(path, "wb");
			if (!out || fwrite(bytes, 1, size, out) != size || fclose(out))
				return 1;
		}
		memory_world_destroy(&world);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(images_are_what_is_written_today),
	};

	return argc > 1 ? write_images(argv[1]) : cmocka_run_group_tests(tests, NULL, NULL);
}
