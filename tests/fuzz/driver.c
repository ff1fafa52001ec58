/*
 * A main() for the fuzz targets where the compiler brings none: mutates seeds with a seeded generator for a bounded number of runs. Each target is one function,
 * LLVMFuzzerTestOneInput, so that libFuzzer or AFL++ can drive the same objects.
 *
 *     fuzz_<target> [--runs N | --seconds N] [--seed S] [FILE...]     files: run each once, as they are
 *
 * What dies says which run it was: `--seed S --only RUN` makes that one alone.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

enum { INPUT_MAX = 64 * 1024, SEEDS = 16 };

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

/* For the signal handler alone. */
static uint64_t dying_seed, dying_run;

static void say_which(int signal_number)
{
	char text[128];
	int length = snprintf(text, sizeof text, "died in: --seed %llu --only %llu\n", (unsigned long long)dying_seed, (unsigned long long)dying_run);
	if (write(STDERR_FILENO, text, (size_t)length) < 0)
		_exit(1);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* AddressSanitizer ends with abort, so that the handler sees its findings too. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "abort_on_error=1:handle_abort=0";
}
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
	return "abort_on_error=1:print_stacktrace=1";
}

struct seed_input {
	uint8_t bytes[INPUT_MAX];
	size_t length;
};
static struct seed_input seeds[SEEDS];

/* A run is a function of seed and number. */
static void one_run(uint64_t seed, uint64_t run)
{
	static uint8_t made[INPUT_MAX];
	uint64_t state = seed * 0x9e3779b97f4a7c15u + run * 0xd1342543de82ef95u;
	const struct seed_input *from = &seeds[next(&state) % SEEDS];
	size_t length = from->length;
	memcpy(made, from->bytes, length);
	dying_run = run;
	for (uint64_t n = next(&state) % 7; n > 0; n--)
		length = mutate(made, length, &state);
	/* An exact copy on the heap, so that a read past the end is seen. */
	uint8_t *exact = malloc(length + (length == 0));
	if (exact == NULL)
		abort();
	memcpy(exact, made, length);
	LLVMFuzzerTestOneInput(exact, length);
	free(exact);
}

struct options {
	uint64_t runs, seed, seconds, only, files;
	bool just_one;
};

static int parse(struct options *o, int argc, char **argv)
{
	static const char *const names[] = { "--runs", "--seed", "--seconds", "--only" };
	uint64_t *const values[] = { &o->runs, &o->seed, &o->seconds, &o->only };
	for (int i = 1; i < argc; i++) {
		unsigned n = 0;
		while (n < 4 && strcmp(argv[i], names[n]) != 0)
			n++;
		if (n < 4 && i + 1 < argc) {
			*values[n] = strtoull(argv[++i], NULL, 10);
			o->just_one = o->just_one || n == 3;
		} else if (run_file(argv[i]) != 0) {
			return 1;
		} else {
			o->files++;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { .runs = 20000, .seed = 1 };
	signal(SIGABRT, say_which);
	if (parse(&o, argc, argv) != 0)
		return 1;
	time_t end = time(NULL) + (time_t)o.seconds;
	uint64_t run = o.just_one ? o.only : 0;
	dying_seed = o.seed;
	for (unsigned i = 0; i < SEEDS; i++)
		seeds[i].length = fuzz_seed(i, seeds[i].bytes, sizeof seeds[i].bytes);
	for (; o.files == 0 && (o.just_one ? run == o.only : o.seconds > 0 ? run % 64 != 0 || time(NULL) < end : run < o.runs); run++)
		one_run(o.seed, run);
	printf("%llu runs, no fault\n", (unsigned long long)(o.files ? o.files : o.just_one ? 1 : run));
	return 0;
}
