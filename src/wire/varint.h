/*
 * Variable-length integers in contiguous memory, inlined (P): what the record loops of wire/batch
 * and storage/validate are made of. The cursor's own calls are for everything that is not a loop.
 *
 * Each function reads at p, never at or beyond end, and returns the byte behind the number, or NULL
 * when the bytes end or the number is too long. As in Kafka's ByteUtils a number may be padded to
 * its longest form (5 or 10 bytes), and bits that do not fit into the last byte are dropped.
 */
#ifndef WIRE_VARINT_H
#define WIRE_VARINT_H

#include "base/base.h"

#define VARINT_BYTES_MAX  5
#define VARLONG_BYTES_MAX 10

static inline const uint8_t *varint_read_slow(const uint8_t *p, const uint8_t *end, int32_t *ret)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 7 * VARINT_BYTES_MAX; shift += 7) {
        if (unlikely(p == end)) {
            return NULL;
        }
        uint8_t byte = *p++;
        value |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = (int32_t)(value >> 1) ^ -(int32_t)(value & 1);
            return p;
        }
    }
    return NULL;
}

static inline const uint8_t *varlong_read_slow(const uint8_t *p, const uint8_t *end, int64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 7 * VARLONG_BYTES_MAX; shift += 7) {
        if (unlikely(p == end)) {
            return NULL;
        }
        uint8_t byte = *p++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
            return p;
        }
    }
    return NULL;
}

/* A signed (zig-zag) 32-bit number; one or two bytes are the common case. */
static inline const uint8_t *varint_read(const uint8_t *p, const uint8_t *end, int32_t *ret)
{
    if (likely(end - p >= 2)) {
        uint32_t low = p[0];
        if (likely(low < 0x80)) {
            *ret = (int32_t)(low >> 1) ^ -(int32_t)(low & 1);
            return p + 1;
        }
        uint32_t high = p[1];
        if (likely(high < 0x80)) {
            uint32_t value = (low & 0x7f) | high << 7;
            *ret = (int32_t)(value >> 1) ^ -(int32_t)(value & 1);
            return p + 2;
        }
    }
    return varint_read_slow(p, end, ret);
}

/* A signed (zig-zag) 64-bit number. */
static inline const uint8_t *varlong_read(const uint8_t *p, const uint8_t *end, int64_t *ret)
{
    if (likely(p != end && *p < 0x80)) {
        uint64_t value = *p;
        *ret = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
        return p + 1;
    }
    return varlong_read_slow(p, end, ret);
}

/* Writes the shortest form at p, which has room for VARLONG_BYTES_MAX, and returns the byte behind
 * it. */
static inline uint8_t *varlong_put(uint8_t *p, int64_t value)
{
    uint64_t bits = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    while (bits >= 0x80) {
        *p++ = (uint8_t)(bits | 0x80);
        bits >>= 7;
    }
    *p++ = (uint8_t)bits;
    return p;
}

#endif
