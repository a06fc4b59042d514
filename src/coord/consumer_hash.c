/*
 * XXH3 with 64 bits, seed 0 and the default secret, over bytes in memory.
 *
 *     bytes       method
 *     0..16       a few multiplications, one per size class
 *     17..128     pairs of 16 bytes from both ends towards the middle
 *     129..240    16 bytes after another, the last 16 at the end
 *     above       stripes of 64 bytes into eight accumulators, which are scrambled after each
 *                 block of 16 stripes; then merged
 *
 * The format of the algorithm is public and fixed; what Kafka feeds into it is in
 * consumer_subscription.c. Kafka: Utils.computeTopicHash, computeGroupHash (hash4j's xxh3_64).
 */
#include "coord/consumer_hash.h"

#include "base/base.h"

#define PRIME32_1 UINT64_C(0x9E3779B1)
#define PRIME32_2 UINT64_C(0x85EBCA77)
#define PRIME32_3 UINT64_C(0xC2B2AE3D)
#define PRIME64_1 UINT64_C(0x9E3779B185EBCA87)
#define PRIME64_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define PRIME64_3 UINT64_C(0x165667B19E3779F9)
#define PRIME64_4 UINT64_C(0x85EBCA77C2B2AE63)
#define PRIME64_5 UINT64_C(0x27D4EB2F165667C5)
#define PRIME_MX1 UINT64_C(0x165667919E3779F9)
#define PRIME_MX2 UINT64_C(0x9FB21C651E98DF25)

enum {
    SECRET_SIZE = 192,
    STRIPE = 64,
    SECRET_STEP = 8,
    STRIPES_PER_BLOCK = (SECRET_SIZE - STRIPE) / SECRET_STEP,
    BLOCK = STRIPE * STRIPES_PER_BLOCK,
    ACCUMULATORS = 8,
    MIDSIZE_MAX = 240,
};

static const uint8_t secret[SECRET_SIZE] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

static uint64_t load_32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static uint64_t load_64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static uint64_t fold_product(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t avalanche(uint64_t h)
{
    h ^= h >> 37;
    h *= PRIME_MX1;
    return h ^ (h >> 32);
}

static uint64_t avalanche_64(uint64_t h) /* of XXH64 */
{
    h ^= h >> 33;
    h *= PRIME64_2;
    h ^= h >> 29;
    h *= PRIME64_3;
    return h ^ (h >> 32);
}

static uint64_t rotate_left(uint64_t v, unsigned bits)
{
    return (v << bits) | (v >> (64 - bits));
}

static uint64_t hash_up_to_16(const uint8_t *p, size_t len)
{
    if (len > 8) {
        uint64_t low = load_64(p) ^ load_64(secret + 24) ^ load_64(secret + 32);
        uint64_t high = load_64(p + len - 8) ^ load_64(secret + 40) ^ load_64(secret + 48);
        return avalanche(len + __builtin_bswap64(low) + high + fold_product(low, high));
    }
    if (len >= 4) {
        uint64_t both = load_32(p + len - 4) + (load_32(p) << 32);
        uint64_t h = both ^ load_64(secret + 8) ^ load_64(secret + 16);
        h ^= rotate_left(h, 49) ^ rotate_left(h, 24);
        h *= PRIME_MX2;
        h ^= (h >> 35) + len;
        h *= PRIME_MX2;
        return h ^ (h >> 28);
    }
    if (len > 0) {
        uint64_t both = (uint64_t)p[0] << 16 | (uint64_t)p[len >> 1] << 24 | (uint64_t)p[len - 1] |
                        (uint64_t)len << 8;
        return avalanche_64(both ^ load_32(secret) ^ load_32(secret + 4));
    }
    return avalanche_64(load_64(secret + 56) ^ load_64(secret + 64));
}

static uint64_t mix_16(const uint8_t *p, const uint8_t *key)
{
    return fold_product(load_64(p) ^ load_64(key), load_64(p + 8) ^ load_64(key + 8));
}

static uint64_t hash_up_to_128(const uint8_t *p, size_t len)
{
    uint64_t acc = len * PRIME64_1;
    for (size_t i = (len - 1) / 32 + 1; i-- > 0;) {
        acc += mix_16(p + 16 * i, secret + 32 * i);
        acc += mix_16(p + len - 16 * (i + 1), secret + 32 * i + 16);
    }
    return avalanche(acc);
}

static uint64_t hash_up_to_240(const uint8_t *p, size_t len)
{
    uint64_t acc = len * PRIME64_1;
    for (size_t i = 0; i < 8; i++) {
        acc += mix_16(p + 16 * i, secret + 16 * i);
    }
    acc = avalanche(acc);
    for (size_t i = 8; i < len / 16; i++) {
        acc += mix_16(p + 16 * i, secret + 16 * (i - 8) + 3);
    }
    acc += mix_16(p + len - 16, secret + 136 - 17);
    return avalanche(acc);
}

static void add_stripe(uint64_t *acc, const uint8_t *p, const uint8_t *key)
{
    for (size_t i = 0; i < ACCUMULATORS; i++) {
        uint64_t value = load_64(p + 8 * i);
        uint64_t mixed = value ^ load_64(key + 8 * i);
        acc[i ^ 1] += value;
        acc[i] += (mixed & UINT32_MAX) * (mixed >> 32);
    }
}

static void scramble(uint64_t *acc)
{
    for (size_t i = 0; i < ACCUMULATORS; i++) {
        acc[i] ^= acc[i] >> 47;
        acc[i] ^= load_64(secret + SECRET_SIZE - STRIPE + 8 * i);
        acc[i] *= PRIME32_1;
    }
}

static uint64_t hash_long(const uint8_t *p, size_t len)
{
    uint64_t acc[ACCUMULATORS] = {PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3,
                                  PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1};
    size_t stripes = (len - 1) / STRIPE;
    for (size_t i = 0; i < stripes; i++) {
        size_t in_block = i % STRIPES_PER_BLOCK;
        if (i > 0 && in_block == 0) {
            scramble(acc);
        }
        add_stripe(acc, p + STRIPE * i, secret + SECRET_STEP * in_block);
    }
    if (stripes > 0 && stripes % STRIPES_PER_BLOCK == 0) {
        scramble(acc);
    }
    add_stripe(acc, p + len - STRIPE, secret + SECRET_SIZE - STRIPE - 7);
    uint64_t result = len * PRIME64_1;
    for (size_t i = 0; i < ACCUMULATORS / 2; i++) {
        const uint8_t *key = secret + 11 + 16 * i;
        result += fold_product(acc[2 * i] ^ load_64(key), acc[2 * i + 1] ^ load_64(key + 8));
    }
    return avalanche(result);
}

uint64_t consumer_hash_bytes(const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    if (len <= 16) {
        return hash_up_to_16(p, len);
    }
    if (len <= 128) {
        return hash_up_to_128(p, len);
    }
    return len <= MIDSIZE_MAX ? hash_up_to_240(p, len) : hash_long(p, len);
}

static void put(struct hash_input *in, const void *bytes, size_t len)
{
    in->bytes = mem_grow(in->bytes, &in->cap, in->len + len, 1);
    memcpy(in->bytes + in->len, bytes, len);
    in->len += len;
}

void hash_input_put_byte(struct hash_input *in, uint8_t value)
{
    put(in, &value, 1);
}

void hash_input_put_i32(struct hash_input *in, int32_t value)
{
    put(in, &value, sizeof(value)); /* the machine is little-endian, as base.h assumes */
}

void hash_input_put_i64(struct hash_input *in, int64_t value)
{
    put(in, &value, sizeof(value));
}

/* The next code point of UTF-8, U+FFFD for a byte that begins none. */
static uint32_t next_code_point(struct str *rest)
{
    const uint8_t *p = (const uint8_t *)rest->ptr;
    size_t need = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    uint32_t code = need == 1 ? p[0] : need == 4 ? p[0] & 7U : need == 3 ? p[0] & 15U : p[0] & 31U;
    bool is_good = p[0] < 0x80 || (p[0] >= 0xc2 && p[0] < 0xf5 && need <= rest->len);
    for (size_t i = 1; is_good && i < need; i++) {
        is_good = (p[i] & 0xc0) == 0x80;
        code = code << 6 | (p[i] & 0x3fU);
    }
    if (!is_good) {
        need = 1;
        code = 0xfffd;
    }
    *rest = str_of(rest->ptr + need, rest->len - need);
    return code;
}

int32_t consumer_hash_utf16_length(struct str text)
{
    int32_t units = 0;
    while (text.len > 0) {
        units += next_code_point(&text) >= 0x10000 ? 2 : 1;
    }
    return units;
}

static void put_unit(struct hash_input *in, uint32_t unit)
{
    uint8_t bytes[2] = {(uint8_t)unit, (uint8_t)(unit >> 8)};
    put(in, bytes, sizeof(bytes));
}

void hash_input_put_text(struct hash_input *in, struct str text)
{
    int32_t units = 0;
    while (text.len > 0) {
        uint32_t code = next_code_point(&text);
        if (code >= 0x10000) {
            put_unit(in, 0xd800 + ((code - 0x10000) >> 10));
            put_unit(in, 0xdc00 + ((code - 0x10000) & 0x3ff));
            units += 2;
        } else {
            put_unit(in, code);
            units++;
        }
    }
    hash_input_put_i32(in, units);
}

void hash_input_release(struct hash_input *in)
{
    in->bytes = mem_free(in->bytes);
    *in = (struct hash_input){0};
}
