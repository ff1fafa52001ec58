/* Bodies of appends as anyone may send them: every form of the scanner must say the same, and read and write nothing but what is there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/scan_compare.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
	static const struct settings settings = { .max_batch_records = 6, .max_record_bytes = 600, .max_meta_bytes = 300, .max_tag_bytes = 12, .max_node_bytes = 12 };
	static struct scan_compare *compare; /* made once: it is larger than most inputs */
	bool accepted;
	if (compare == NULL && (compare = scan_compare_create()) == NULL)
		abort();
	const char *difference = scan_compare(compare, input, length, &settings, &accepted);
	if (difference == NULL)
		difference = scan_compare_tokens(compare, input, length);
	if (difference != NULL) {
		fprintf(stderr, "the forms differ: %s\n", difference);
		abort();
	}
	return 0;
}

static const char *const seeds[] = {
	"{\"records\":[{\"data\":{\"id\":123,\"name\":\"someone\",\"ok\":true,\"ratio\":-0.5e-3}}]}",
	"{\"records\":[{\"data\":1},{\"data\":\"text\",\"tag\":\"t\",\"node\":\"n\",\"meta\":{\"a\":1,\"b\":[]}},{\"data\":null,\"meta\":null,\"tag\":null}],\"node\":\"sender\"}",
	"{\n  \"records\" : [\n    { \"data\" : [ 1, 2, { \"x\" : [ ] , \"y\" : { } } ] }\n  ],\n  \"create\" : false,\n  \"expect_head_seq\" : 18446744073709551615\n}\n",
	"{\"records\":[{\"data\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude42\",\"t\\u0061g\":\"\\u0041\"}],\"expect_epoch\":\"0123456789abcdef\"}",
	"{\"records\":[{\"data\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82\xed\x9f\xbf\xef\xbf\xbf\xf4\x8f\xbf\xbf caf\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e\"}]}",
	"{\"idempotency_key\":\"k\",\"disable_backpressure\":true,\"config\":{\"retention\":{\"x\":[0,1]}},\"unknown\":{\"records\":[]},\"records\":[{\"data\":[[[[[[]]]]]]}]}",
	"{\"records\":[{\"data\":[0,-0,10,1.5,1e5,1E+5,1e-5,123456789012345678901234567890,true,false,null]},{\"other\":\"\",\"data\":\"\"},{\"data\":{\"\":\"\"}}]}",
	"{\"records\":[{\"data\":\"a string that is longer than a block of the first stage, so that some block has nothing but letters in it, and then some more of them\"}]}",
};

size_t fuzz_seed(unsigned index, uint8_t *out, size_t room)
{
	const char *seed = seeds[index % (sizeof seeds / sizeof seeds[0])];
	size_t length = strlen(seed);
	if (length > room)
		return 0;
	memcpy(out, seed, length);
	return length;
}
