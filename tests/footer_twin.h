/* What the footer of a sealed file must be, made from its frames alone. */
#ifndef TOPICS_TESTS_FOOTER_TWIN_H
#define TOPICS_TESTS_FOOTER_TWIN_H

#include <stdbool.h>

#include "common/footer.h"

/* The footer of the file in `bytes` (sealed, its frames whole) is that one, byte for byte. */
bool footer_is_what_frames_say(const uint8_t *bytes, uint64_t size, const struct footer *footer);

#endif
