/* One body through every form of the scanner, stage by stage: for test_scan_forms.c and fuzz/fuzz_scan.c. */
#ifndef TESTS_SCAN_COMPARE_H
#define TESTS_SCAN_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/scan.h"

struct scan_compare;

/* NULL when there is no memory. */
struct scan_compare *scan_compare_create(void);
void scan_compare_destroy(struct scan_compare **compare);

/*
 * NULL if all forms that this processor can run agree on the body: acceptance, records, fields, and code, offset and words of a refusal. Otherwise what
 * differs. *accepted: what the one-pass form says. Every copy of the body and every output is exactly as long as it may be, so that a sanitizer sees what
 * goes beyond.
 */
const char *scan_compare(struct scan_compare *compare, const uint8_t *body, size_t length, const struct settings *settings, bool *accepted);

/* NULL if all forms of stage 1 find the same tokens in these bytes, which may be anything, up to the first window that is bad, and agree on whether there is one. */
const char *scan_compare_tokens(struct scan_compare *compare, const uint8_t *bytes, size_t length);

#endif
