/*
 * Frames, file headers and entries: docs/format.md §2-§5, §7. Encoding and decoding are pairs of functions here; logd
 * builds and checks frames, workers look into those that an extent names.
 */
#ifndef TOPICS_FRAME_H
#define TOPICS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/error.h"

enum {
	FILE_HEADER_SIZE = 512,
	FORMAT_VERSION = 1,
	LSN_FIRST = 512,
	FRAME_HEAD = 96,
	FRAME_TAIL = 8,
	FRAME_MIN = 112,
	ENTRY_HEAD = 8,
	FILE_REPLACES_MAX = 32,
};

#define FRAME_MAGIC 0x46504f54u
#define FRAME_END_MARK 0x21444e45u
#define FRAME_LENGTH_MAX (1u << 30)

enum frame_flags { FRAME_TABLE_TWICE = 1 };

/* What must be the same for two starts to have shared one page cache. */
struct boot_token {
	uint8_t boot_id[16];
	uint64_t device;
	uint64_t inode;
	uint64_t superblock;
};

struct file_header {
	uint32_t features;
	uint64_t id;
	uint8_t kind; /* 'w', 'e', 'c', 'd' */
	uint64_t number;
	uint64_t first_lsn;
	uint64_t predecessor;
	uint64_t predecessor_end;
	uint64_t frontier;
	int64_t ts;
	struct boot_token boot;
	uint64_t size;
	uint32_t chain;       /* CRC field of the predecessor's last frame */
	uint32_t flags;       /* bit 0: FILE_MADE_WHOLE */
	uint64_t checkpoint_lsn;
	uint64_t deletes_lsn;
	uint32_t replaces_count;
	uint64_t replaces[FILE_REPLACES_MAX];
	uint64_t prev_topic;
	uint64_t prev_last_seq;
};

enum { FILE_MADE_WHOLE = 1 };

void file_header_encode(const struct file_header *header, uint8_t out[FILE_HEADER_SIZE]);

/* ERR_OK; ERR_AGAIN when all bytes are zero (prepared, holds nothing); ERR_NEWER; ERR_CORRUPT. */
enum error file_header_decode(struct file_header *header, const uint8_t bytes[FILE_HEADER_SIZE]);

struct frame_head {
	uint32_t flags;
	uint32_t length;
	uint32_t crc;
	uint64_t lsn;
	uint64_t frontier;
	uint32_t prev_crc;
	uint32_t entries_length;
	uint64_t prev_topic;
	uint64_t prev_last_seq;
	uint64_t incarnation;
	uint64_t request_id;
	int64_t ts;
	uint32_t entry_count;
	uint32_t records_length;
};

/* Writes the 96 bytes of the head as they are, crc included. */
void frame_head_encode(const struct frame_head *head, uint8_t *out);

/* Reads the head and checks conditions 1 (magic), 2 against `available`, and 5 (areas in order): ERR_CORRUPT if not. */
enum error frame_head_decode(struct frame_head *head, const uint8_t *bytes, uint64_t available);

/* Completes a frame whose entry table and record area stand in `frame` (head->length bytes in all): writes the second table if
 * flag 0 is set, the head and the end, computes the CRC for its place, and sets head->crc. Records must have their CRCs. */
void frame_seal(uint8_t *frame, struct frame_head *head, uint64_t file_id, uint64_t offset);

/* Bytes of a frame with such areas. */
uint64_t frame_size(uint32_t entries_length, uint32_t records_length, uint32_t flags);

/*
 * Conditions 1 to 7 of docs/format.md §4 for the frame at `offset` of the file (`expected_lsn` = its first LSN + offset
 * - 512). `available`: readable bytes from `frame` on. ERR_CORRUPT or ERR_NEWER (all else holds, an entry type is unknown).
 */
enum error frame_check(const uint8_t *frame, uint64_t available, uint64_t file_id, uint64_t offset, uint64_t expected_lsn,
                       struct frame_head *head);

/* Condition 9: every record of every batch checks. To be called after frame_check. */
bool frame_whole(const uint8_t *frame, const struct frame_head *head);

/*
 * Condition 7 for who has not the whole frame in memory: the CRC from its pieces, in this order. First the head and the entry table (FRAME_HEAD + entries_length bytes); then of
 * each area (frame_area, those that begin where the one before ended) the records, by their first 8 bytes, and the table of offsets; then the last FRAME_TAIL bytes.
 */
struct frame_sum {
	uint32_t crc;
	unsigned used;       /* the records' CRC fields are gathered: the CRC of many small pieces costs several times that of one */
	uint8_t fields[512];
};
struct frame_area { uint32_t offset, records, table; }; /* from the frame's start; bytes; bytes */

void frame_sum_begin(struct frame_sum *sum, const uint8_t *head, uint32_t entries_length, uint64_t file_id, uint64_t offset);
void frame_sum_record(struct frame_sum *sum, const uint8_t *record);
void frame_sum_bytes(struct frame_sum *sum, const uint8_t *bytes, uint32_t length);

/* Where the records of this (well-formed) entry lie. False: it has none. Several forwards may name one area: it stands, and counts, once. */
bool frame_area(const uint8_t *entry, struct frame_area *area);

/*
 * The second copy of the entry table of the broken frame that began at `bytes` (offset `offset` of the file), if it stands within `length`
 * bytes and its own CRC holds. True: *entries leads into `bytes`; the entries themselves have still to be decoded.
 */
bool frame_table_copy(const uint8_t *bytes, uint64_t length, uint64_t file_id, uint64_t offset, const uint8_t **entries,
                      uint32_t *entries_length);

enum entry_type {
	ENTRY_BATCH = 1,
	ENTRY_TOPIC_CREATE = 2,
	ENTRY_TOPIC_CONFIGURE = 3,
	ENTRY_TOPIC_DELETE = 4,
	ENTRY_RECORD_DELETE = 5,
	ENTRY_ROUTER_PUT = 6,
	ENTRY_ROUTER_DELETE = 7,
	ENTRY_FORWARD = 8,
	ENTRY_LEASE = 9,
	ENTRY_SESSION = 10,
	ENTRY_CEILING = 11,
	ENTRY_FLOOR = 12,
	ENTRY_LOSS = 13,
	ENTRY_VOID = 14,
	ENTRY_ANSWER = 15,
	ENTRY_SYNC_MARK = 16,
	ENTRY_FILE_BORN = 17,
	ENTRY_FILE_SEALED = 18,
	ENTRY_FILE_RETIRED = 19,
	ENTRY_TOPIC_STATE = 20,
	ENTRY_KEY = 21,
	ENTRY_FILE_STATE = 22,
	ENTRY_DELETE_SET = 23,
	ENTRY_CHECKPOINT_END = 24,
	ENTRY_TYPE_END
};

enum reason {
	REASON_NONE = 0,
	REASON_CAP = 1,
	REASON_TTL = 2,
	REASON_MIXED = 3,
	REASON_SOURCE_TRIM = 4,
	REASON_RECREATED = 5,
	REASON_RESTART = 6,
	REASON_CRASH = 7,
	REASON_CORRUPT = 8,
	REASON_IO_ERROR = 9,
	REASON_END
};

enum entry_flags {
	ENTRY_CREATED = 1,   /* batch, router put: the answer says created */
	ENTRY_BITMAP = 2,    /* batch: a bitmap says which records are left */
	ENTRY_CLOSED = 1,    /* ceiling, topic state (in its flags field): closed */
	ENTRY_WAS_EPHEMERAL = 2, /* topic state, in its flags field: its class is or was ephemeral */
	ENTRY_DEDUPED = 1,   /* answer, in its flags field */
	ENTRY_ANSWER_CREATED = 2,
	ENTRY_POSSIBLE = 1,  /* loss, in its flags field */
	ENTRY_CLEAN_STOP = 1, /* sync mark: the last frame of a clean stop */
};

/*
 * One entry, decoded. Only the members that the type has are set; pointers lead into the entry. Entries whose types belong to later
 * parts of the product (5-10, 23) are checked for their shape and otherwise carried as `body`.
 */
struct entry {
	enum entry_type type;
	uint16_t flags;
	uint32_t length;
	const uint8_t *body; /* after the 8 bytes of the entry's head; length - 8 bytes */
	uint64_t topic;
	union {
		struct {
			uint64_t first_seq;
			uint32_t count;
			uint32_t records_offset; /* from the frame's start */
			uint32_t records_length;
			uint32_t table_length;
			uint32_t key_length;
			uint32_t node_length;
			uint32_t live;
			uint8_t durability;
			uint64_t payload;
			const uint8_t *key;
			const uint8_t *node;
			const uint8_t *bitmap; /* NULL without ENTRY_BITMAP */
		} batch;
		struct {
			uint64_t ceiling;
			uint32_t name_length;
			uint32_t config_length;
			const uint8_t *config;
			const uint8_t *name;
		} create; /* and configure (no ceiling, no name), delete (name only, routers in ceiling) */
		struct { uint64_t ceiling; } ceiling;
		struct { uint64_t floor; uint32_t reason; uint64_t live; uint64_t live_bytes; } floor;
		struct { uint64_t from; uint64_t to; uint32_t reason; uint32_t flags; } loss;
		struct { uint32_t status; uint32_t flags; uint64_t first_seq; uint64_t head; uint32_t count; } answer;
		struct { uint64_t lsn; } sync_mark;
		struct {
			uint64_t id;
			uint64_t number;
			uint64_t first_lsn;
			uint64_t end_lsn;
			uint64_t footer_offset;
			uint32_t footer_length;
			uint32_t footer_crc;
			uint32_t kind;
		} file; /* born, sealed, retired, file state */
		struct {
			uint64_t head;
			uint64_t ceiling;
			uint64_t floor;
			uint64_t live;
			uint64_t live_bytes;
			int64_t last_write_ts;
			uint32_t name_length;
			uint32_t config_length;
			uint32_t floor_reason;
			uint32_t flags;
			const uint8_t *config;
			const uint8_t *name;
		} state;
		struct { const uint8_t *hash; uint64_t first_seq; uint64_t lsn; int64_t ts; uint32_t count; } key;
		struct { uint64_t lsn; uint64_t frames; } checkpoint_end;
	};
};

/* Decodes the entry at `bytes`: ERR_CORRUPT if it does not fit into `available` or is not well-formed (configurations and names are
 * checked too), ERR_NEWER for an unknown type. Offsets of records are checked by frame_check. */
enum error entry_decode(struct entry *entry, const uint8_t *bytes, uint64_t available);

/* Bytes that entry_encode will write. */
uint32_t entry_size(const struct entry *entry);

/* Writes the entry (types 1-4, 11-22, 24; for the others `body` and `length` as they are) and returns its bytes. */
uint32_t entry_encode(const struct entry *entry, uint8_t *out);

#endif
