/*
 * The persistent ordered map behind metadata images: two levels, a list of chunks and chunks of
 * slots.
 *
 * Invariants: no chunk is empty; slots ascend by (key, comparison); root->chunks[i].key is the key
 * of the chunk's first slot; root->items is the sum of the counts. A root or chunk whose counter is
 * 1 is held by the map in hand alone and is edited in place; any other is copied first.
 *
 * Why not a tree: a list of 16 bytes for each 32 to 64 items is copied in microseconds for the
 * hundred thousands of topics that a cluster may have, and a search is two binary searches over
 * contiguous keys.
 */
#include "meta/image_map.h"

#include "base/mem.h"

struct image_item *image_item_ref(struct image_item *it)
{
    atomic_fetch_add_explicit(&it->refs, 1, memory_order_relaxed);
    return it;
}

void image_item_unref(struct image_item *it)
{
    /* Release: our reads happened before the free; acquire: the last one sees all of them. */
    if (it != NULL && atomic_fetch_sub_explicit(&it->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(it);
    }
}

static struct image_chunk *chunk_ref(struct image_chunk *ch)
{
    atomic_fetch_add_explicit(&ch->refs, 1, memory_order_relaxed);
    return ch;
}

static void chunk_unref(struct image_chunk *ch)
{
    if (atomic_fetch_sub_explicit(&ch->refs, 1, memory_order_acq_rel) == 1) {
        for (uint32_t i = 0; i < ch->count; i++) {
            image_item_unref(ch->slots[i].item);
        }
        mem_free(ch);
    }
}

static struct image_chunk *chunk_new(void)
{
    struct image_chunk *ch = mem_alloc(sizeof(*ch));
    atomic_init(&ch->refs, 1);
    ch->count = 0;
    return ch;
}

static void root_unref(struct image_root *r)
{
    if (r != NULL && atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1) {
        for (uint32_t i = 0; i < r->count; i++) {
            chunk_unref(r->chunks[i].chunk);
        }
        mem_free(r->chunks);
        mem_free(r);
    }
}

struct image_map image_map_ref(const struct image_map *m)
{
    if (m->root != NULL) {
        atomic_fetch_add_explicit(&m->root->refs, 1, memory_order_relaxed);
    }
    return *m;
}

void image_map_release(struct image_map *m)
{
    root_unref(m->root);
    m->root = NULL;
}

size_t image_map_count(const struct image_map *m)
{
    return m->root == NULL ? 0 : m->root->items;
}

/* Makes the root ours alone, with room for one more chunk. */
static struct image_root *root_edit(struct image_map *m)
{
    struct image_root *old = m->root;
    if (old != NULL && atomic_load_explicit(&old->refs, memory_order_acquire) == 1) {
        if (old->count == old->cap) {
            old->cap = old->cap * 2;
            old->chunks = mem_realloc(old->chunks, old->cap * sizeof(old->chunks[0]));
        }
        return old;
    }
    struct image_root *r = mem_zalloc(sizeof(*r));
    atomic_init(&r->refs, 1);
    r->cap = old == NULL ? 4 : old->count + 4;
    r->chunks = mem_array(r->cap, sizeof(r->chunks[0]));
    if (old != NULL) {
        r->count = old->count;
        r->items = old->items;
        memcpy(r->chunks, old->chunks, old->count * sizeof(r->chunks[0]));
        for (uint32_t i = 0; i < r->count; i++) {
            chunk_ref(r->chunks[i].chunk);
        }
        root_unref(old);
    }
    m->root = r;
    return r;
}

/* Makes chunk `at` of a root that is ours alone ours alone too. */
static struct image_chunk *chunk_edit(struct image_root *r, uint32_t at)
{
    struct image_chunk *old = r->chunks[at].chunk;
    if (atomic_load_explicit(&old->refs, memory_order_acquire) == 1) {
        return old;
    }
    struct image_chunk *ch = chunk_new();
    ch->count = old->count;
    memcpy(ch->slots, old->slots, old->count * sizeof(old->slots[0]));
    for (uint32_t i = 0; i < ch->count; i++) {
        image_item_ref(ch->slots[i].item);
    }
    chunk_unref(old);
    r->chunks[at].chunk = ch;
    return ch;
}

static int probe_compare(const struct image_probe *p, const struct image_slot *slot)
{
    if (p->key != slot->key) {
        return p->key < slot->key ? -1 : 1;
    }
    return p->compare(p->probe, slot->item);
}

/* The last chunk whose first slot is not behind the probe; 0 when there is none. */
static uint32_t find_chunk(const struct image_root *r, const struct image_probe *p)
{
    uint32_t low = 0;
    uint32_t high = r->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        const struct image_root_slot *rs = &r->chunks[middle];
        bool is_behind =
            rs->key != p->key ? rs->key > p->key : probe_compare(p, &rs->chunk->slots[0]) < 0;
        if (is_behind) {
            high = middle;
        } else {
            low = middle;
        }
    }
    return low;
}

/* The first slot that is not before the probe; *ret_equal when it is the one. */
static uint32_t
find_slot(const struct image_chunk *ch, const struct image_probe *p, bool *ret_equal)
{
    uint32_t low = 0;
    uint32_t high = ch->count;
    *ret_equal = false;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = probe_compare(p, &ch->slots[middle]);
        if (order == 0) {
            *ret_equal = true;
            return middle;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

struct image_item *image_map_find(const struct image_map *m, const struct image_probe *p)
{
    if (m->root == NULL || m->root->count == 0) {
        return NULL;
    }
    const struct image_chunk *ch = m->root->chunks[find_chunk(m->root, p)].chunk;
    bool is_equal;
    uint32_t slot = find_slot(ch, p, &is_equal);
    return is_equal ? ch->slots[slot].item : NULL;
}

/* Splits the full chunk `at`; a chunk that only ever grows at its end is left full. */
static void split_chunk(struct image_root *r, uint32_t at, uint32_t slot)
{
    struct image_chunk *left = r->chunks[at].chunk;
    bool at_end = at + 1 == r->count && slot == left->count;
    uint32_t keep = at_end ? left->count - 1 : left->count / 2;
    struct image_chunk *right = chunk_new();
    right->count = left->count - keep;
    memcpy(right->slots, &left->slots[keep], right->count * sizeof(right->slots[0]));
    left->count = keep;
    memmove(&r->chunks[at + 2], &r->chunks[at + 1], (r->count - at - 1) * sizeof(r->chunks[0]));
    r->chunks[at + 1] = (struct image_root_slot){.key = right->slots[0].key, .chunk = right};
    r->count++;
}

void image_map_put(struct image_map *m, const struct image_probe *p, struct image_item *it)
{
    struct image_root *r = root_edit(m);
    if (r->count == 0) {
        r->chunks[0] = (struct image_root_slot){.key = p->key, .chunk = chunk_new()};
        r->count = 1;
    }
    uint32_t at = find_chunk(r, p);
    struct image_chunk *ch = chunk_edit(r, at);
    bool is_equal;
    uint32_t slot = find_slot(ch, p, &is_equal);
    image_item_ref(it);
    if (is_equal) {
        image_item_unref(ch->slots[slot].item);
        ch->slots[slot].item = it;
        return;
    }
    if (ch->count == IMAGE_CHUNK_SLOTS) {
        split_chunk(r, at, slot);
        if (slot > ch->count) {
            slot -= ch->count;
            at++;
            ch = r->chunks[at].chunk;
        }
    }
    memmove(&ch->slots[slot + 1], &ch->slots[slot], (ch->count - slot) * sizeof(ch->slots[0]));
    ch->slots[slot] = (struct image_slot){.key = p->key, .item = it};
    ch->count++;
    r->chunks[at].key = ch->slots[0].key;
    r->items++;
}

bool image_map_remove(struct image_map *m, const struct image_probe *p)
{
    if (image_map_find(m, p) == NULL) {
        return false;
    }
    struct image_root *r = root_edit(m);
    uint32_t at = find_chunk(r, p);
    struct image_chunk *ch = chunk_edit(r, at);
    bool is_equal;
    uint32_t slot = find_slot(ch, p, &is_equal);
    check(is_equal);
    image_item_unref(ch->slots[slot].item);
    ch->count--;
    memmove(&ch->slots[slot], &ch->slots[slot + 1], (ch->count - slot) * sizeof(ch->slots[0]));
    r->items--;
    if (ch->count == 0) {
        chunk_unref(ch);
        r->count--;
        memmove(&r->chunks[at], &r->chunks[at + 1], (r->count - at) * sizeof(r->chunks[0]));
    } else {
        r->chunks[at].key = ch->slots[0].key;
    }
    return true;
}

struct image_cursor image_map_first(const struct image_map *m)
{
    return (struct image_cursor){.root = m->root};
}

struct image_cursor image_map_seek(const struct image_map *m, const struct image_probe *p)
{
    struct image_cursor c = {.root = m->root};
    if (m->root == NULL || m->root->count == 0) {
        return c;
    }
    c.chunk = find_chunk(m->root, p);
    bool is_equal;
    c.slot = find_slot(m->root->chunks[c.chunk].chunk, p, &is_equal);
    if (c.slot == m->root->chunks[c.chunk].chunk->count) {
        c.chunk++;
        c.slot = 0;
    }
    return c;
}

const struct image_slot *image_cursor_at(const struct image_cursor *c)
{
    if (c->root == NULL || c->chunk >= c->root->count) {
        return NULL;
    }
    return &c->root->chunks[c->chunk].chunk->slots[c->slot];
}

void image_cursor_next(struct image_cursor *c)
{
    check(c->root != NULL && c->chunk < c->root->count);
    c->slot++;
    if (c->slot == c->root->chunks[c->chunk].chunk->count) {
        c->chunk++;
        c->slot = 0;
    }
}

bool image_cursor_skip_shared(struct image_cursor *a, struct image_cursor *b)
{
    bool has_skipped = false;
    if (a->root == NULL || b->root == NULL) {
        return false;
    }
    while (a->slot == 0 && b->slot == 0 && a->chunk < a->root->count && b->chunk < b->root->count &&
           a->root->chunks[a->chunk].chunk == b->root->chunks[b->chunk].chunk) {
        a->chunk++;
        b->chunk++;
        has_skipped = true;
    }
    return has_skipped;
}

void image_map_validate(const struct image_map *m)
{
    size_t items = 0;
    const struct image_slot *previous = NULL;
    for (uint32_t i = 0; m->root != NULL && i < m->root->count; i++) {
        const struct image_chunk *ch = m->root->chunks[i].chunk;
        check(ch->count > 0 && ch->count <= IMAGE_CHUNK_SLOTS);
        check(m->root->chunks[i].key == ch->slots[0].key);
        for (uint32_t j = 0; j < ch->count; j++) {
            check(previous == NULL || previous->key <= ch->slots[j].key);
            check(atomic_load(&ch->slots[j].item->refs) > 0);
            previous = &ch->slots[j];
            items++;
        }
    }
    check(items == image_map_count(m));
}
