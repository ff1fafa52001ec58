/*
 * One list of results for all library code. A function returns 0 or one of these; it prints nothing. Those from
 * ERR_INVALID_REQUEST to ERR_NOT_FOUND_END are also the answers of the HTTP contract (API.md, "Error codes"): the
 * numbers travel in completions and in `answer` entries of the log, so they never change.
 */
#ifndef TOPICS_ERROR_H
#define TOPICS_ERROR_H

enum error {
	ERR_OK = 0,

	/* The contract's codes. */
	ERR_INVALID_REQUEST = 1,
	ERR_BATCH_TOO_LARGE = 2,
	ERR_RECORD_TOO_LARGE = 3,
	ERR_UNAUTHORIZED = 4,
	ERR_FORBIDDEN = 5,
	ERR_TOPIC_NOT_FOUND = 6,
	ERR_ROUTER_NOT_FOUND = 7,
	ERR_NOT_FOUND = 8,
	ERR_RECORD_GONE = 9,
	ERR_METHOD_NOT_ALLOWED = 10,
	ERR_NOT_ACCEPTABLE = 11,
	ERR_PAYLOAD_TOO_LARGE = 12,
	ERR_URI_TOO_LONG = 13,
	ERR_UNSUPPORTED_MEDIA_TYPE = 14,
	ERR_EXPECTATION_FAILED = 15,
	ERR_HEADERS_TOO_LARGE = 16,
	ERR_REQUEST_TIMEOUT = 17,
	ERR_ROUTER_CYCLE = 18,
	ERR_TOPIC_EXISTS_INCOMPATIBLE = 19,
	ERR_TOPIC_NOT_EMPTY = 20,
	ERR_NOT_A_QUEUE = 21,
	ERR_HEAD_MISMATCH = 22,
	ERR_TOPIC_FULL = 23,
	ERR_THROTTLED = 24,
	ERR_INTERNAL = 25,
	ERR_NOT_IMPLEMENTED = 26,
	ERR_NOT_READY = 27,
	ERR_SHUTTING_DOWN = 28,
	ERR_STORAGE_FAILED = 29,
	ERR_READ_ONLY = 30,
	ERR_STORAGE_STALLED = 31,
	ERR_COMMIT_UNKNOWN = 32,
	ERR_STORAGE_FULL = 33,
	ERR_HTTP_VERSION = 34, /* 505, code invalid_request */
	ERR_CONTRACT_END,

	/* Results inside the program. */
	ERR_AGAIN = 100,     /* not now: no room, not cached, nothing there */
	ERR_NOMEM = 101,
	ERR_IO = 102,        /* a system call failed; errno says which way */
	ERR_CORRUPT = 103,   /* bytes that fail a check of the format */
	ERR_NEWER = 104,     /* written by a newer version of the format */
	ERR_PROTOCOL = 105,  /* the process at the other end broke a layout or a message */
	ERR_EOF = 106,       /* the other end is gone */
	ERR_EXISTS = 107,
	ERR_LIMIT = 108,     /* a fixed bound is reached */
	ERR_RANGE = 109,     /* a value is outside what its field can hold */
	ERR_BUSY = 110,      /* somebody else holds it */
};

/* Stable snake_case code of the contract ("topic_not_found"), "internal" for anything else. */
const char *error_code(enum error error);

/* HTTP status of the contract (404, ...), 500 for anything else. */
int error_status(enum error error);

/* A short text for logs ("input/output error"). */
const char *error_text(enum error error);

#endif
