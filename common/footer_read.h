/* What the sources that read footers share. */
#ifndef TOPICS_FOOTER_READ_H
#define TOPICS_FOOTER_READ_H

#include "common/footer.h"

/* The element of `length` bytes at `offset` of the file, if its CRC (its last four bytes) holds: else ERR_CORRUPT. */
enum error footer_element(const struct footer_source *source, uint64_t file_id, uint64_t offset, uint32_t length, const uint8_t **bytes);

/* Conditions 12 and 13: order and bounds within the tags. */
enum error footer_check_tags(const struct footer *footer, const struct footer_source *source);

#endif
