/*
 * The footer of a sealed file: docs/format.md §8. logd builds it when it seals a file and reads it at a start; workers find records by it. Everything that is read is checked before
 * it is used: lengths, order, bounds, and the CRC of each element, so that a search by single reads of the file (pread) is as safe as one in bytes that have been checked as a whole.
 */
#ifndef TOPICS_FOOTER_H
#define TOPICS_FOOTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/frame.h"

enum {
	FOOTER_TRAILER = 64,
	FOOTER_SECTION_HEAD = 16,
	FOOTER_SECTIONS_MAX = 64,
	FOOTER_EXTENT = 64,       /* bytes of one element, so for the next ones */
	FOOTER_KEY = 56,
	FOOTER_TOPIC = 72,
	FOOTER_TAG = 24,
	FOOTER_TAGS_HEAD = 24,
	FOOTER_TAGS_TOPIC = 24,
	FOOTER_CONTROL_HEAD = 24, /* before each entry */
	FOOTER_TAG_MAX = 65535,   /* bytes of a tag */
	FOOTER_HASH = 16,
	FOOTER_PIECE = 1 << 20,   /* the most bytes that a reader asks a source for at once */
};
#define FOOTER_LENGTH_MAX 0xfffffff8u
#define FOOTER_CONTROL_MAX (FOOTER_PIECE - FOOTER_CONTROL_HEAD)

enum footer_section_type { FOOTER_EXTENTS = 1, FOOTER_TAGS = 2, FOOTER_KEYS = 3, FOOTER_CONTROLS = 4, FOOTER_TOPICS = 5, FOOTER_TYPE_END };

/* The sealed file: what its header and the log say about it. */
struct footer_file {
	uint64_t id;
	uint64_t first_lsn;
	uint64_t end_lsn;  /* the LSN after its last frame */
	uint64_t frontier; /* at the moment of sealing, >= end_lsn. Not used by checks */
};

/* One batch entry of one frame. */
struct footer_extent {
	uint64_t topic;
	uint64_t first_seq;
	uint64_t lsn;        /* of the frame; its place in the file = 512 + lsn - first LSN */
	int64_t ts;
	uint64_t payload;    /* data + meta bytes of the live records */
	uint32_t count;
	uint32_t live;
	uint32_t length;     /* of the frame */
	uint32_t entry;      /* offset of the batch entry from the frame's start */
	uint8_t durability;
	uint8_t flags;       /* ENTRY_CREATED, ENTRY_BITMAP */
};

struct footer_key {
	uint8_t hash[FOOTER_HASH];
	uint64_t topic;
	uint64_t lsn;
	uint64_t first_seq;
	int64_t ts;
	uint32_t count;
};

/* What the file holds of one topic. */
struct footer_topic {
	uint64_t topic;
	uint64_t first_seq;
	uint64_t last_seq;
	uint64_t live;
	uint64_t payload;
	uint64_t last_lsn;   /* of its last frame */
	int64_t last_ts;
	uint32_t extent;     /* index of its first extent */
	uint32_t extents;
};

struct footer_tag {
	uint64_t seq;
	uint32_t bytes;      /* data + meta of the record */
	uint32_t tag_length;
	uint64_t tag_offset; /* in the file */
};

/* A control entry as it stood in its frame. */
struct footer_control {
	uint64_t lsn;
	int64_t ts;
	uint32_t offset;      /* of the entry from the frame's start: between the batch entries of its frame */
	const uint8_t *bytes; /* the entry, head included; entry.length of them. Valid as long as the source's bytes are */
	struct entry entry;   /* decoded */
};

/* ---- building (common/footer_build.c) ---- */

struct footer_builder;

enum error footer_builder_create(struct footer_builder **builder);
void footer_builder_destroy(struct footer_builder **builder);

/* What the frames of the file hold, in the order of their LSNs. ERR_NOMEM; ERR_LIMIT when there are more than a footer can hold (2^32 - 1 of a kind, or 4 GiB of bytes). */
enum error footer_add_extent(struct footer_builder *builder, const struct footer_extent *extent);
enum error footer_add_key(struct footer_builder *builder, const struct footer_key *key);
/* Records without a tag are left out. The tag's bytes are copied; an empty tag is one. */
enum error footer_add_tag(struct footer_builder *builder, uint64_t topic, uint64_t seq, uint32_t bytes, const void *tag, uint32_t tag_length);
/* `entry`: the entry's bytes, a whole one of `length` bytes (copied), at most FOOTER_CONTROL_MAX: else ERR_LIMIT. Not of the types batch, answer, sync mark, which the caller leaves out. */
enum error footer_add_control(struct footer_builder *builder, uint64_t lsn, int64_t ts, uint32_t offset, const uint8_t *entry, uint32_t length);

/*
 * The footer's bytes, to be written at footer_offset(file); they belong to the caller (free). *crc: the trailer's, for the *file sealed* entry. May be called once.
 * ERR_NOMEM; ERR_LIMIT (over 4 GiB); ERR_CORRUPT when the extents of a topic overlap or anything else does not fit the format: such a file cannot be sealed.
 */
enum error footer_build(struct footer_builder *builder, const struct footer_file *file, uint8_t **bytes, size_t *length, uint32_t *crc);

/* ---- reading ---- */

static inline uint64_t footer_offset(const struct footer_file *file)
{
	return FILE_HEADER_SIZE + (file->end_lsn - file->first_lsn);
}

/*
 * Where a reader gets the file's bytes: `length` of them (at most FOOTER_PIECE) from `offset` of the file on. They have to stay until the next call alone. Any error but ERR_OK is
 * handed through (ERR_AGAIN: not in memory, ...); bytes that the file does not have are ERR_CORRUPT.
 */
struct footer_source {
	enum error (*bytes)(void *context, uint64_t offset, uint32_t length, const uint8_t **bytes);
	void *context;
};

/* A source over `length` bytes in memory that stand at `offset` of the file. */
struct footer_memory {
	const uint8_t *bytes;
	uint64_t offset;
	uint64_t length;
};
struct footer_source footer_memory_source(struct footer_memory *memory);

struct footer_section {
	uint64_t offset; /* in the file, of its bytes */
	uint64_t length; /* without padding */
	uint32_t crc;
};

struct footer {
	struct footer_file file;
	struct footer_section sections[FOOTER_TYPE_END]; /* by type */
	uint64_t offset, length;                         /* of the footer, trailer included */
	uint32_t crc;                                    /* the trailer's */
};

/*
 * Reads trailer and section heads of the file `id` with this first LSN and size, and checks conditions 1 to 6 of docs/format.md §8: ERR_CORRUPT. Whoever knows where the log goes on
 * after the file compares file.end_lsn with that: a footer whose end is another one does not count.
 */
enum error footer_open(struct footer *footer, const struct footer_source *source, uint64_t id, uint64_t first_lsn, uint64_t file_size);

/* Condition 7 for one section: its CRC and padding. Reads all of it. */
enum error footer_check_section(const struct footer *footer, const struct footer_source *source, enum footer_section_type type);
/* Conditions 7 to 13 for everything. */
enum error footer_check(const struct footer *footer, const struct footer_source *source);

/* Number of elements (not of FOOTER_CONTROLS; of FOOTER_TAGS see footer_tags_open). */
uint64_t footer_count(const struct footer *footer, enum footer_section_type type);

/* One element, checked by itself (CRC, bounds). `index` < footer_count. */
enum error footer_extent_at(const struct footer *footer, const struct footer_source *source, uint64_t index, struct footer_extent *extent);
enum error footer_key_at(const struct footer *footer, const struct footer_source *source, uint64_t index, struct footer_key *key);
enum error footer_topic_at(const struct footer *footer, const struct footer_source *source, uint64_t index, struct footer_topic *topic);

/* Control entries in the order of the log: *at begins with 0. ERR_EOF after the last one. */
enum error footer_control_next(const struct footer *footer, const struct footer_source *source, uint64_t *at, struct footer_control *control);

/* Index of the first element of this topic: its number of extents comes with it. ERR_NOT_FOUND. */
enum error footer_find_topic(const struct footer *footer, const struct footer_source *source, uint64_t topic, struct footer_topic *found);
/* Index of the first extent of the topic that ends at or after `seq`. ERR_NOT_FOUND when there is none. */
enum error footer_find_extent(const struct footer *footer, const struct footer_source *source, uint64_t topic, uint64_t seq, uint64_t *index);
/* Index of the first key with this hash; others of the same hash follow it. ERR_NOT_FOUND. */
enum error footer_find_key(const struct footer *footer, const struct footer_source *source, const uint8_t hash[FOOTER_HASH], uint64_t *index);

/*
 * Of the `count` extents of `topic` that stand one behind the other at `offset` of the file: index of the first that ends at or after `seq` (count: none), by reading O(log count) of
 * them. For a reader that knows nothing else of the footer; file->end_lsn may be any bound that the frames keep within. ERR_CORRUPT as soon as an element does not check.
 */
enum error footer_search_extents(const struct footer_file *file, const struct footer_source *source, uint64_t offset, uint32_t count, uint64_t topic, uint64_t seq,
                                 uint32_t *index);
/* One of them. */
enum error footer_extent_decode(const struct footer_file *file, const uint8_t bytes[FOOTER_EXTENT], struct footer_extent *extent);

/* ---- tags ---- */

struct footer_tags {
	uint64_t topics;    /* offset in the file and number of the directory's elements */
	uint32_t topic_count;
	uint64_t elements;
	uint32_t count;
	uint64_t bytes;
	uint32_t bytes_length;
};

/* The tagged records of one topic: elements [first, first + count) of the section. */
struct footer_tag_range {
	uint32_t first;
	uint32_t count;
};

enum error footer_tags_open(const struct footer *footer, const struct footer_source *source, struct footer_tags *tags);
/* The records of `topic`; a range of none when there are none. */
enum error footer_tags_topic(const struct footer *footer, const struct footer_tags *tags, const struct footer_source *source, uint64_t topic,
                             struct footer_tag_range *range);
/* Narrows the range of a topic to the records whose tag is `tag`, or (`prefix`) begins with it. */
enum error footer_tags_find(const struct footer *footer, const struct footer_tags *tags, const struct footer_source *source, const void *tag, uint32_t tag_length,
                            bool prefix, struct footer_tag_range *range);
/* One element; its tag's bytes are at tag_offset. */
enum error footer_tag_at(const struct footer *footer, const struct footer_tags *tags, const struct footer_source *source, uint32_t index, struct footer_tag *tag);

/* CRC field of an element: over the file's id and the element without the field. For this codec's two halves. */
uint32_t footer_element_crc(uint64_t file_id, const uint8_t *bytes, uint32_t length);

#endif
