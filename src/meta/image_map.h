/*
 * A persistent ordered map (P): what an image is made of. Items are refcounted, immutable and
 * shared between maps; so are the chunks that hold them. An edit copies the list of chunks (once a
 * delta) and the one chunk that it touches, never the items.
 *
 *   root   list of chunks, in order, each with the key of its first slot
 *   chunk  up to IMAGE_CHUNK_SLOTS slots: key, item
 *
 * Order: by a 64-bit key first (a prefix or a hash of the real key, so that a search seldom leaves
 * the chunk), then by the caller's comparison. Which maps there are: image_impl.h.
 *
 * Thread: as the image. Counters are atomic, so that any thread may drop the last reference.
 */
#ifndef META_IMAGE_MAP_H
#define META_IMAGE_MAP_H

#include "base/base.h"

#include <stdatomic.h>

#define IMAGE_CHUNK_SLOTS 64

/* The head of every item: one flat allocation, freed by mem_free with its last reference. Aligned
 * for what comes after it. */
struct image_item {
    _Atomic uint32_t refs;
} __attribute__((aligned(8)));

struct image_item *image_item_ref(struct image_item *it);
void image_item_unref(struct image_item *it); /* takes NULL */

struct image_slot {
    uint64_t key;
    struct image_item *item; /* a reference */
};

struct image_chunk {
    _Atomic uint32_t refs;
    uint32_t count;
    struct image_slot slots[IMAGE_CHUNK_SLOTS];
};

struct image_root_slot {
    uint64_t key;              /* of the chunk's first slot */
    struct image_chunk *chunk; /* a reference */
};

struct image_root {
    _Atomic uint32_t refs;
    uint32_t count;
    uint32_t cap;
    size_t items;
    struct image_root_slot *chunks; /* owned */
};

/* Zeroed is empty. */
struct image_map {
    struct image_root *root; /* a reference; NULL: empty */
};

/* What is searched: its key, and how it compares with an item of the same key. */
struct image_probe {
    uint64_t key;
    int (*compare)(const void *probe, const struct image_item *it);
    const void *probe;
};

struct image_map image_map_ref(const struct image_map *m);
void image_map_release(struct image_map *m);
size_t image_map_count(const struct image_map *m);

struct image_item *image_map_find(const struct image_map *m,
                                  const struct image_probe *p); /* borrowed; NULL */
/* Takes a reference of its own to `it`; replaces the equal item. */
void image_map_put(struct image_map *m, const struct image_probe *p, struct image_item *it);
bool image_map_remove(struct image_map *m, const struct image_probe *p); /* false: was not there */

/* A place between items. */
struct image_cursor {
    const struct image_root *root;
    uint32_t chunk;
    uint32_t slot;
};

struct image_cursor image_map_first(const struct image_map *m);
/* The first item that is not before the probe. */
struct image_cursor image_map_seek(const struct image_map *m, const struct image_probe *p);
const struct image_slot *image_cursor_at(const struct image_cursor *c); /* NULL at the end */
void image_cursor_next(struct image_cursor *c);
/* When both stand at the start of the same chunk: skips the longest run of chunks that they share.
 */
bool image_cursor_skip_shared(struct image_cursor *a, struct image_cursor *b);

void image_map_validate(const struct image_map *m); /* order of keys, counts; for tests */

#endif
