#include "tests/sim_image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAMES = 512 };

static void put(const char *path, const void *bytes, size_t length)
{
	FILE *file = fopen(path, "wb");
	if (file == NULL || fwrite(bytes, 1, length, file) != length || fclose(file) != 0) {
		perror(path);
		exit(2);
	}
}

void sim_image_write(const char *folder, uint64_t number, const struct memory_world *files, const char *listing)
{
	struct file_name names[NAMES];
	unsigned count = memory_world_names(files, names, NAMES);
	char directory[512], path[600];

	snprintf(directory, sizeof directory, "%s/%" PRIu64, folder, number);
	if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
		perror(directory);
		exit(2);
	}
	for (unsigned i = 0; i < count && i < NAMES; i++) {
		uint64_t size = 0;
		const uint8_t *bytes = memory_world_file(files, &names[i], &size);
		if (bytes == NULL || names[i].kind == 'q')
			continue;
		snprintf(path, sizeof path, "%s/%c%016" PRIx64, directory, names[i].kind, names[i].id);
		put(path, bytes, (size_t)size);
	}
	snprintf(path, sizeof path, "%s/expected", directory);
	put(path, listing, strlen(listing));
}
