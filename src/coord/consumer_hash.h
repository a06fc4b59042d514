/*
 * XXH3, 64 bits, seed 0 (P): Kafka keeps a hash of the topics that a group is subscribed to, and a
 * group that moves between Kafka and us must find the number that it would compute itself.
 */
#ifndef COORD_CONSUMER_HASH_H
#define COORD_CONSUMER_HASH_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"

uint64_t consumer_hash_bytes(const void *bytes, size_t len);

/* What is hashed, put together piece by piece: integers little-endian. A zeroed struct is empty. */
struct hash_input {
    uint8_t *bytes; /* owned: hash_input_release */
    size_t len;
    size_t cap;
};

void hash_input_put_byte(struct hash_input *in, uint8_t value);
void hash_input_put_i32(struct hash_input *in, int32_t value);
void hash_input_put_i64(struct hash_input *in, int64_t value);
/* UTF-16 code units, then their number, as hash4j does; bytes that are no UTF-8 count as U+FFFD.
 * ret_units: the number. */
void hash_input_put_text(struct hash_input *in, struct str text);
int32_t consumer_hash_utf16_length(struct str text);
void hash_input_release(struct hash_input *in);

#endif
