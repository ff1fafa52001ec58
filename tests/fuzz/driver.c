/*
 * A main() for the fuzz targets where the compiler brings none: mutates seeds with a seeded generator for a bounded number of runs. Each target is one function,
 * LLVMFuzzerTestOneInput, so that libFuzzer or AFL++ can drive the same objects.
 *
 *     fuzz_<target> [--runs N] [--seed S] [FILE...]     files: run each once, as they are
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 64 * 1024 };

static uint64_t next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* One small change: a flipped bit, a byte, an extreme number, a piece moved, cut off or doubled. */
static size_t mutate(uint8_t *input, size_t length, uint64_t *state)
{
	static const uint64_t extremes[] = { 0, 1, 7, 8, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0x80000000u, 0xffffffffu, UINT64_MAX, UINT64_MAX - 7 };
	if (length == 0)
		return 0;
	size_t at = next(state) % length, size = 1 + next(state) % 8;
	switch (next(state) % 6) {
	case 0:
		input[at] ^= (uint8_t)(1u << (next(state) % 8));
		return length;
	case 1:
		input[at] = (uint8_t)next(state);
		return length;
	case 2: {
		uint64_t value = extremes[next(state) % (sizeof extremes / sizeof extremes[0])];
		memcpy(input + at, &value, size < length - at ? size : length - at);
		return length;
	}
	case 3:
		memmove(input + next(state) % length / 2, input + at, (length - at) / 2);
		return length;
	case 4:
		return at;
	default:
		if (length * 2 > INPUT_MAX)
			return length;
		memmove(input + at + (length - at), input + at, length - at);
		return length + (length - at);
	}
}

static int run_file(const char *path)
{
	static uint8_t input[INPUT_MAX];
	FILE *file = fopen(path, "rb");
	if (file == NULL) {
		perror(path);
		return 1;
	}
	size_t length = fread(input, 1, sizeof input, file);
	fclose(file);
	LLVMFuzzerTestOneInput(input, length);
	return 0;
}

int main(int argc, char **argv)
{
	static uint8_t seed[INPUT_MAX], input[INPUT_MAX];
	uint64_t runs = 20000, state = 1, files = 0;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc)
			runs = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
			state = strtoull(argv[++i], NULL, 10);
		else if (run_file(argv[i]) != 0)
			return 1;
		else
			files++;
	}
	for (uint64_t run = 0; files == 0 && run < runs; run++) {
		size_t length = fuzz_seed((unsigned)(next(&state) % 16), seed, sizeof seed);
		memcpy(input, seed, length);
		for (uint64_t n = 1 + next(&state) % 6; n > 0; n--)
			length = mutate(input, length, &state);
		/* An exact copy on the heap, so that a read past the end is seen. */
		uint8_t *exact = malloc(length + (length == 0));
		if (exact == NULL)
			return 1;
		memcpy(exact, input, length);
		LLVMFuzzerTestOneInput(exact, length);
		free(exact);
	}
	printf("%llu runs, no fault\n", (unsigned long long)(files ? files : runs));
	return 0;
}
