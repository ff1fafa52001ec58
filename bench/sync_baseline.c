/*
 * sync_baseline: F of docs/bench.md, the price of the disk alone. Overwrites a zero-filled file with `bytes` bytes at a time, each followed by fdatasync, for `seconds`
 * seconds, and prints one line of JSON. With --no-sync only the write (what a `disk` ack rests on); with a rate so many times a second, for what only has to be
 * there beside something else.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 1 << 20, FILE_BYTES = 64 << 20 };

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static void die(const char *what)
{
	fprintf(stderr, "sync_baseline: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int zero_filled(const char *path)
{
	static char zeros[1 << 20];
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		die(path);
	for (int i = 0; i < FILE_BYTES / (int)sizeof zeros; i++)
		if (write(fd, zeros, sizeof zeros) != (ssize_t)sizeof zeros)
			die("write");
	if (fsync(fd) != 0)
		die("fsync");
	return fd;
}

static void sleep_until(uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) };
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		continue;
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: sync_baseline FILE BYTES SECONDS [--no-sync | RATE]\n");
		return 2;
	}
	size_t bytes = (size_t)atol(argv[2]);
	double rate = argc > 4 ? atof(argv[4]) : 0;
	int sync = argc < 5 || rate > 0, fd = zero_filled(argv[1]);
	char *block = malloc(bytes);
	uint64_t *samples = malloc(SAMPLES * sizeof *samples), count = 0;
	if (block == NULL || samples == NULL)
		die("memory");
	memset(block, 'x', bytes);
	uint64_t began = now_ns(), end = began + (uint64_t)(atof(argv[3]) * 1e9), at = 0;
	while (now_ns() < end && count < SAMPLES) {
		uint64_t start = now_ns();
		if (pwrite(fd, block, bytes, (off_t)at) != (ssize_t)bytes || (sync && fdatasync(fd) != 0))
			die("write");
		samples[count++] = now_ns() - start;
		at = at + 2 * bytes > FILE_BYTES ? 0 : at + bytes;
		if (rate > 0)
			sleep_until(began + (uint64_t)((double)count * 1e9 / rate));
	}
	double seconds = (double)(now_ns() - began) / 1e9;
	qsort(samples, count, sizeof *samples, compare);
	printf("{\"count\":%llu,\"per_s\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n", (unsigned long long)count, (double)count / seconds,
	       (double)samples[count / 2] / 1e3, (double)samples[count * 99 / 100] / 1e3);
	unlink(argv[1]);
	return 0;
}
