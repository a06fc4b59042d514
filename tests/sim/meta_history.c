/* See meta_history.h. */
#include "meta_history.h"

#include "base/base.h"
#include "base/err.h"
#include "base/hmap.h"

void meta_history_release(struct meta_history *h)
{
    arena_release(&h->arena);
    mem_free(h->entries);
    *h = (struct meta_history){0};
}

int64_t meta_history_end(const struct meta_history *h)
{
    return h->count == 0 ? 0
                         : h->entries[h->count - 1].base_offset + h->entries[h->count - 1].count;
}

void meta_history_add(struct meta_history *h,
                      int64_t base_offset,
                      int32_t epoch,
                      const struct view *records,
                      size_t count)
{
    check(base_offset == meta_history_end(h));
    if (count == 0) {
        return;
    }
    struct history_entry he = {
        .base_offset = base_offset,
        .count = to_i32(to_i64(count)),
        .epoch = epoch,
    };
    if (records != NULL) {
        he.records = arena_alloc(&h->arena, count * sizeof(he.records[0]));
        for (size_t i = 0; i < count; i++) {
            uint8_t *copy = arena_alloc(&h->arena, max_size(records[i].len, 1));
            memcpy(copy, records[i].ptr, records[i].len);
            he.records[i] = (struct view){copy, records[i].len};
        }
    }
    h->entries = mem_grow(h->entries, &h->cap, h->count + 1, sizeof(h->entries[0]));
    h->entries[h->count++] = he;
}

static int hash_record(void *ctx, struct view value)
{
    uint64_t *hash = ctx;
    *hash = hash_bytes(value.ptr, value.len, *hash * 31 + value.len);
    return 0;
}

uint64_t meta_history_digest(const struct image *im)
{
    uint64_t hash = 0;
    int err = image_write_snapshot(im, hash_record, &hash);
    return err < 0 ? (uint64_t)err : hash;
}

/* The image of the entries below `end`; NULL: a record is refused. */
static struct image *replay(const struct meta_history *h, int64_t end)
{
    struct image *empty = image_new_empty();
    struct image_delta *d = image_delta_new(empty);
    int64_t offset = -1;
    int32_t epoch = -1;
    image_unref(empty);
    for (size_t i = 0; i < h->count && h->entries[i].base_offset < end; i++) {
        const struct history_entry *he = &h->entries[i];
        for (int32_t k = 0; he->records != NULL && k < he->count; k++) {
            if (image_delta_replay(d, he->records[k]) < 0) {
                image_delta_free(d);
                return NULL;
            }
            offset = he->base_offset + k;
            epoch = he->epoch;
        }
    }
    return image_delta_finish(d, offset, epoch);
}

static bool is_boundary(const struct meta_history *h, int64_t end)
{
    if (end == 0) {
        return true;
    }
    for (size_t i = h->count; i > 0; i--) {
        if (h->entries[i - 1].base_offset + h->entries[i - 1].count == end) {
            return true;
        }
    }
    return false;
}

bool meta_history_check(const struct meta_history *h,
                        struct sim *s,
                        const char *who,
                        int64_t end,
                        const struct image *im)
{
    bool is_good =
        sim_expect(s, end >= h->committed, "%s: the log ends at %" PRId64 ", committed to %" PRId64,
                   who, end, h->committed) &&
        sim_expect(s, end <= meta_history_end(h) && is_boundary(h, end),
                   "%s: the log ends at %" PRId64 ", inside a request (all ends at %" PRId64 ")",
                   who, end, meta_history_end(h));
    if (!is_good) {
        return false;
    }
    struct image *want = replay(h, end);
    if (!sim_expect(s, want != NULL, "%s: the history cannot be replayed", who)) {
        return false;
    }
    is_good = sim_expect(s, meta_history_digest(want) == meta_history_digest(im),
                         "%s: the image at %" PRId64
                         " is not the replay of the log from nothing (%zu topics, %zu)",
                         who, end, image_topics_count(im), image_topics_count(want)) &&
              sim_expect(
                  s, image_offset(want) == image_offset(im) && image_epoch(want) == image_epoch(im),
                  "%s: the image is at %" PRId64 " epoch %d, the replay at %" PRId64 " epoch %d",
                  who, image_offset(im), image_epoch(im), image_offset(want), image_epoch(want));
    image_unref(want);
    return is_good;
}

void meta_history_cut(struct meta_history *h, int64_t end)
{
    while (h->count > 0 && h->entries[h->count - 1].base_offset >= end) {
        h->count--;
    }
}
