/* Kafka's Uuid: 16 bytes, printed as 22 characters of URL-safe base64 without padding. */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include "base/base.h"
#include "base/str.h"

struct uuid {
    uint8_t bytes[16];
};

#define UUID_TEXT_SIZE 23 /* with the NUL */

static inline bool uuid_is_zero(const struct uuid *u)
{
    static const struct uuid zero;
    return memcmp(u, &zero, sizeof(zero)) == 0;
}

static inline bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

void uuid_print(const struct uuid *u, char ret_text[static UUID_TEXT_SIZE]);
must_check int uuid_parse(struct str text, struct uuid *ret);

#endif
