#include "common/record.h"

#include "common/crc32c.h"

bool record_attributes_well_formed(const uint8_t *attributes, uint32_t length)
{
	while (length > 0) {
		uint32_t one;

		if (length < 4)
			return false;
		one = 4u + get_u16(attributes + 2);
		if (one > length)
			return false;
		attributes += one;
		length -= one;
	}
	return true;
}

uint32_t record_crc(const uint8_t *bytes, uint32_t length)
{
	return crc32c(0, bytes + 8, length - 8);
}

bool record_crc_valid(const uint8_t *bytes, uint32_t length)
{
	return get_u32(bytes + 4) == record_crc(bytes, length);
}
