/*
 * An intrusive hash map: nodes live in the caller's structs, the map owns only its buckets. Keys
 * are compared by the caller: hmap_first/hmap_next walk the nodes of one hash value. Hashes of
 * client-chosen keys are made with hash_bytes and the seed of the map, so that nobody can aim at
 * one bucket. No lock; removal while iterating is allowed for the current node only.
 */
#ifndef BASE_HMAP_H
#define BASE_HMAP_H

#include "base/base.h"
#include "base/str.h"

struct hmap_node {
    struct hmap_node *next; /* in the bucket */
    uint64_t hash;
};

struct hmap {
    struct hmap_node **buckets; /* owned */
    size_t mask;                /* buckets - 1; 0 when there are none */
    size_t count;
    uint64_t seed;
    struct hmap_node **old; /* owned: half as many, from `moved` on still in use; NULL: none */
    size_t moved;
};

void hmap_init(struct hmap *m, uint64_t seed);
void hmap_release(struct hmap *m); /* frees the buckets; nodes are the caller's */

void hmap_insert(struct hmap *m, struct hmap_node *node, uint64_t hash);
void hmap_remove(struct hmap *m, struct hmap_node *node);

struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash);
struct hmap_node *hmap_next(const struct hmap_node *node); /* the next one of the same hash */

/* All nodes in no order. */
struct hmap_node *hmap_any(const struct hmap *m);
struct hmap_node *hmap_after(const struct hmap *m, const struct hmap_node *node);
#define hmap_foreach(node, map)                                       \
    for (struct hmap_node *node = hmap_any(map), *node##_next = NULL; \
         node != NULL && (node##_next = hmap_after((map), node), true); node = node##_next)

uint64_t hash_bytes(const void *bytes, size_t len, uint64_t seed);
uint64_t hash_u64(uint64_t value, uint64_t seed);

static inline uint64_t hash_str(struct str s, uint64_t seed)
{
    return hash_bytes(s.ptr, s.len, seed);
}

#endif
