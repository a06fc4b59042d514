/*
 * The hash map's buckets, and the hash: 64 x 64 -> 128 bit multiplications whose halves are xored
 * (the idea of wyhash). Both multiplicands of a step are masked with values derived from the seed:
 * with public masks a peer could send the bytes that make a factor zero and forget the seed.
 *
 * A map doubles when it holds more nodes than buckets and never shrinks. A large one moves to its
 * new buckets little by little, with each insertion, so that none of them takes long: a node is in
 * the old buckets as long as its old bucket has not been moved.
 */
#include "base/hmap.h"

#include "base/base.h"
#include "base/mem.h"

enum {
    HMAP_BUCKETS_MIN = 8,
    HMAP_MOVE_AT_ONCE = 1024, /* buckets */
    HMAP_MOVE_STEP = 4,       /* buckets an insertion: done long before the next doubling */
};

static inline uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load_64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t load_32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Odd constants with half of their bits set, without structure. */
static const uint64_t mask_a = 0x9ae16a3b2f90404fULL;
static const uint64_t mask_b = 0xc949c7defebf41c5ULL;
static const uint64_t mask_c = 0x8bb84b93962eacc9ULL;

uint64_t hash_bytes(const void *bytes, size_t len, uint64_t seed)
{
    const uint8_t *p = bytes;
    uint64_t k1 = fold(seed ^ mask_a, mask_b);
    uint64_t state = fold(k1 ^ mask_c, seed ^ mask_b);
    uint64_t a;
    uint64_t b;
    if (len > 16) {
        size_t left = len;
        do {
            state = fold(load_64(p) ^ k1, load_64(p + 8) ^ state);
            p += 16;
            left -= 16;
        } while (left > 16);
        a = load_64(p + left - 16);
        b = load_64(p + left - 8);
    } else if (len >= 8) {
        a = load_64(p);
        b = load_64(p + len - 8);
    } else if (len >= 4) {
        a = load_32(p);
        b = load_32(p + len - 4);
    } else if (len > 0) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[len / 2] << 8 | p[len - 1];
        b = 0;
    } else {
        a = 0;
        b = 0;
    }
    return fold(fold(a ^ k1, b ^ state) ^ mask_c, (uint64_t)len ^ k1 ^ mask_a);
}

uint64_t hash_u64(uint64_t value, uint64_t seed)
{
    uint64_t k1 = fold(seed ^ mask_a, mask_b);
    return fold(fold(value ^ k1, seed ^ mask_c) ^ mask_b, k1 ^ mask_a);
}

void hmap_init(struct hmap *m, uint64_t seed)
{
    *m = (struct hmap){.seed = seed};
}

void hmap_release(struct hmap *m)
{
    mem_free(m->buckets);
    mem_free(m->old);
    *m = (struct hmap){.seed = m->seed};
}

static bool is_in_old(const struct hmap *m, uint64_t hash)
{
    return m->old != NULL && (hash & m->mask >> 1) >= m->moved;
}

static struct hmap_node **bucket_of(const struct hmap *m, uint64_t hash)
{
    return is_in_old(m, hash) ? &m->old[hash & m->mask >> 1] : &m->buckets[hash & m->mask];
}

static void move_some(struct hmap *m, size_t count)
{
    size_t old_count = m->mask / 2 + 1;
    for (; m->moved < old_count && count > 0; count--) {
        struct hmap_node *node = m->old[m->moved++];
        while (node != NULL) {
            struct hmap_node *next = node->next;
            struct hmap_node **at = &m->buckets[node->hash & m->mask];
            node->next = *at;
            *at = node;
            node = next;
        }
    }
    if (m->moved == old_count) {
        m->old = mem_free(m->old);
    }
}

static void grow(struct hmap *m)
{
    check(m->old == NULL);
    size_t to = m->buckets == NULL ? HMAP_BUCKETS_MIN : (m->mask + 1) * 2;
    m->old = m->buckets;
    m->moved = 0;
    m->buckets = mem_array(to, sizeof(struct hmap_node *));
    m->mask = to - 1;
    if (m->old != NULL && to <= HMAP_MOVE_AT_ONCE) {
        move_some(m, to);
    }
}

void hmap_insert(struct hmap *m, struct hmap_node *node, uint64_t hash)
{
    if (m->old != NULL) {
        move_some(m, HMAP_MOVE_STEP);
    }
    if (m->buckets == NULL || (m->count > m->mask && m->old == NULL)) {
        grow(m);
    }
    struct hmap_node **at = bucket_of(m, hash);
    node->hash = hash;
    node->next = *at;
    *at = node;
    m->count++;
}

void hmap_remove(struct hmap *m, struct hmap_node *node)
{
    check(m->buckets != NULL);
    struct hmap_node **at = bucket_of(m, node->hash);
    while (*at != node) {
        check(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    node->next = NULL;
    m->count--;
}

struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash)
{
    if (m->buckets == NULL) {
        return NULL;
    }
    struct hmap_node *node = *bucket_of(m, hash);
    while (node != NULL && node->hash != hash) {
        node = node->next;
    }
    return node;
}

struct hmap_node *hmap_next(const struct hmap_node *node)
{
    struct hmap_node *next = node->next;
    while (next != NULL && next->hash != node->hash) {
        next = next->next;
    }
    return next;
}

static struct hmap_node *first_from(const struct hmap *m, size_t i)
{
    for (; i <= m->mask; i++) {
        if (m->buckets[i] != NULL) {
            return m->buckets[i];
        }
    }
    return NULL;
}

/* The old buckets come first. */
static struct hmap_node *first_from_old(const struct hmap *m, size_t i)
{
    for (; m->old != NULL && i <= m->mask >> 1; i++) {
        if (m->old[i] != NULL) {
            return m->old[i];
        }
    }
    return first_from(m, 0);
}

struct hmap_node *hmap_any(const struct hmap *m)
{
    return m->buckets == NULL ? NULL : first_from_old(m, m->moved);
}

struct hmap_node *hmap_after(const struct hmap *m, const struct hmap_node *node)
{
    if (node->next != NULL) {
        return node->next;
    }
    return is_in_old(m, node->hash) ? first_from_old(m, (node->hash & m->mask >> 1) + 1)
                                    : first_from(m, (node->hash & m->mask) + 1);
}
