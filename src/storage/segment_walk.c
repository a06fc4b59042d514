/*
 * Walking a segment from batch to batch: from an offset to a position, to a limit, to a time. A
 * walk checks what has not been checked before, and remembers it; where a check fails it looks for
 * the next good batch, remembers the hole between, and goes on behind it.
 */
#include "storage/segment.h"

#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"

enum {
    LOOKUP_BUFFER_BYTES = 8192,
    WALK_BUFFER_BYTES = 65536,
};

struct walk {
    struct segment *sg;
    const struct segment_io *io;
    struct fs_file *file; /* a reference */
    struct scanner sc;
};

static int walk_init(struct walk *w,
                     struct segment *sg,
                     const struct segment_io *io,
                     int64_t position,
                     int64_t offset,
                     void *buffer,
                     size_t buffer_cap)
{
    *w = (struct walk){.sg = sg, .io = io};
    int err = segment_file(sg, io, false, &w->file);
    if (err < 0) {
        return err;
    }
    scanner_init(&w->sc, w->file, sg->base_offset, position, sg->size, buffer, buffer_cap);
    w->sc.next_offset = offset;
    w->sc.offset_limit = sg->end_offset;
    w->sc.no_wait = io->no_wait;
    w->sc.cached_from = max_i64(sg->appended_from, sg->size - SEGMENT_RECENT_BYTES);
    return 0;
}

static void walk_release(struct walk *w)
{
    w->file = fs_file_unref(w->file);
}

/* A batch failed its check at the scanner's position: from here to the next good one is a hole. */
static int make_hole(struct walk *w)
{
    struct segment *sg = w->sg;
    if (w->io->no_wait) {
        return -EAGAIN; /* may read the whole segment */
    }
    struct hole h = {.from = w->sc.position, .offset_from = w->sc.next_offset};
    w->sc.checks_crc = true;
    int r = scanner_resync(&w->sc);
    if (r < 0) {
        return r;
    }
    h.to = sg->size;
    h.offset_to = max_i64(sg->end_offset, h.offset_from);
    if (r == 1) {
        h.to = w->sc.position;
        struct batch b;
        r = scanner_peek(w->file, h.to, &b);
        if (r < 0) {
            return r; /* it was good a moment ago */
        }
        h.offset_to = b.base_offset;
    }
    w->sc.position = h.from;
    segment_add_hole(sg, &h);
    return 0;
}

/* Steps over a known hole at the present position. */
static const struct hole *skip_hole(struct walk *w)
{
    const struct hole *h = segment_hole_from(w->sg, w->sc.position);
    if (h == NULL || h->from != w->sc.position || h->to == h->from) {
        return NULL;
    }
    w->sc.position = h->to;
    w->sc.next_offset = max_i64(w->sc.next_offset, h->offset_to);
    return h;
}

/* The next good batch, holes stepped over, checked if it has not been before. */
static int walk_next(struct walk *w, struct batch *ret, int64_t *ret_position)
{
    for (;;) {
        while (skip_hole(w) != NULL) {
        }
        w->sc.checks_crc = !segment_is_verified(w->sg, w->sc.position, w->sc.position + 1);
        int r = scanner_next(&w->sc, ret, ret_position);
        if (r == 1 && w->sc.checks_crc) {
            segment_add_verified(w->sg, *ret_position, w->sc.position);
        }
        if (r != ERR_CORRUPT) {
            return r;
        }
        r = make_hole(w);
        if (r < 0) {
            return r;
        }
    }
}

int segment_peek(struct segment *sg,
                 const struct segment_io *io,
                 int64_t position,
                 struct batch *ret)
{
    struct fs_file *file;
    int err = segment_file(sg, io, false, &file);
    if (err >= 0) {
        err = scanner_peek(file, position, ret);
        fs_file_unref(file);
    }
    return err;
}

/* The batch that begins where the index says so. False: none does. */
static bool look_at_entry(struct segment *sg,
                          const struct segment_io *io,
                          const struct offset_entry *entry,
                          struct batch *ret)
{
    if (entry->position < 0 || entry->position >= sg->size || entry->relative_offset < 0) {
        return false;
    }
    return segment_peek(sg, io, entry->position, ret) >= 0 && ret->base_offset >= sg->base_offset &&
           ret->base_offset <= sg->base_offset + entry->relative_offset &&
           to_i64(ret->size) <= sg->size - entry->position;
}

bool segment_is_entry_good(struct segment *sg,
                           const struct segment_io *io,
                           const struct offset_entry *entry)
{
    struct batch b;
    return look_at_entry(sg, io, entry, &b);
}

/* Where to begin looking for the offset. */
int segment_index_position(struct segment *sg,
                           const struct segment_io *io,
                           int64_t offset,
                           int64_t *ret)
{
    struct log_path path;
    struct offset_entry entry;
    *ret = 0;
    if (sg->is_index_bad) {
        return io->no_wait ? -EAGAIN : 0;
    }
    log_path_of(&path, io->dir, sg->base_offset, INDEX_SUFFIX);
    int n =
        sparse_index_find_offset(&sg->offsets, io->fs, path.text, offset - sg->base_offset, &entry);
    if (n < 0) {
        return n;
    }
    if (n > 0) {
        if (segment_is_entry_good(sg, io, &entry)) {
            *ret = entry.position;
        } else if (segment_hole_of(sg, sg->base_offset + entry.relative_offset) == NULL) {
            sg->is_index_bad = true;
            return io->no_wait ? -EAGAIN : 0;
        }
    }
    return 0;
}

int segment_locate(struct segment *sg,
                   const struct segment_io *io,
                   int64_t offset,
                   int64_t hint_position,
                   struct batch *ret,
                   int64_t *ret_position)
{
    uint8_t buffer[LOOKUP_BUFFER_BYTES];
    if (!sg->has_file || sg->size == 0) {
        return segment_hole_of(sg, offset) != NULL ? ERR_CORRUPT : 0;
    }
    int64_t position = hint_position;
    if (position == 0) {
        int err = segment_index_position(sg, io, offset, &position);
        if (err < 0) {
            return err;
        }
    }
    struct walk w;
    int r = walk_init(&w, sg, io, position, sg->base_offset, buffer, sizeof(buffer));
    if (r < 0) {
        return r;
    }
    do {
        r = walk_next(&w, ret, ret_position);
    } while (r == 1 && batch_last_offset(ret) < offset);
    walk_release(&w);
    if (segment_hole_of(sg, offset) != NULL && (r == 0 || (r == 1 && ret->base_offset > offset))) {
        return ERR_CORRUPT;
    }
    return r;
}

int segment_verify(struct segment *sg,
                   const struct segment_io *io,
                   int64_t from,
                   int64_t from_offset,
                   int64_t to,
                   int64_t *ret_end,
                   int64_t *ret_next)
{
    *ret_end = from;
    *ret_next = -1;
    if (segment_is_verified(sg, from, to)) {
        *ret_end = to;
        return 0;
    }
    uint8_t *buffer = mem_alloc(WALK_BUFFER_BYTES);
    struct walk w;
    int r = walk_init(&w, sg, io, from, from_offset, buffer, WALK_BUFFER_BYTES);
    while (r >= 0 && *ret_end < to) {
        const struct hole *h = segment_hole_from(sg, *ret_end);
        if (h != NULL && h->from == *ret_end) {
            break;
        }
        struct batch b;
        int64_t position;
        r = walk_next(&w, &b, &position);
        if (r != 1 || position != *ret_end || w.sc.position > to) {
            break; /* the end, a hole found on the way, or too far */
        }
        *ret_end = w.sc.position;
        *ret_next = w.sc.next_offset;
    }
    walk_release(&w);
    mem_free(buffer);
    return r < 0 ? r : 0;
}

/* From the boundary *ret on. */
static int walk_to_floor(struct segment *sg,
                         const struct segment_io *io,
                         int64_t limit,
                         int64_t *ret,
                         int64_t *ret_next)
{
    uint8_t buffer[LOOKUP_BUFFER_BYTES];
    struct walk w;
    int r = walk_init(&w, sg, io, *ret, sg->base_offset, buffer, sizeof(buffer));
    while (r >= 0) {
        struct batch b;
        int64_t at;
        r = walk_next(&w, &b, &at);
        if (r == 1 && at == *ret) {
            *ret_next = b.base_offset;
        }
        if (r != 1 || at != *ret || w.sc.position > limit) {
            break;
        }
        *ret = w.sc.position;
        *ret_next = w.sc.next_offset;
    }
    walk_release(&w);
    return r < 0 ? r : 0;
}

int segment_floor(struct segment *sg,
                  const struct segment_io *io,
                  int64_t from,
                  int64_t limit,
                  int64_t *ret,
                  int64_t *ret_next)
{
    struct log_path path;
    struct offset_entry entry;
    struct batch b;
    int64_t position = from;
    if (!sg->is_index_bad) {
        log_path_of(&path, io->dir, sg->base_offset, INDEX_SUFFIX);
        int n = sparse_index_find_position(&sg->offsets, io->fs, path.text, limit, &entry);
        if (n < 0) {
            return n;
        }
        if (n > 0 && entry.position > from && look_at_entry(sg, io, &entry, &b)) {
            position = entry.position;
            if (position + to_i64(b.size) > limit) {
                *ret = position;
                *ret_next = b.base_offset;
                return 0;
            }
        }
    }
    *ret = position;
    *ret_next = -1;
    return walk_to_floor(sg, io, limit, ret, ret_next);
}

int segment_find_time(struct segment *sg,
                      const struct segment_io *io,
                      int64_t position,
                      int64_t timestamp,
                      int64_t offset,
                      struct batch *ret,
                      int64_t *ret_position)
{
    uint8_t buffer[LOOKUP_BUFFER_BYTES];
    struct walk w;
    int r = walk_init(&w, sg, io, position, sg->base_offset, buffer, sizeof(buffer));
    if (r >= 0) {
        do {
            r = walk_next(&w, ret, ret_position);
        } while (r == 1 && (ret->max_timestamp < timestamp || batch_last_offset(ret) < offset));
    }
    walk_release(&w);
    return r;
}

int segment_load_first_timestamp(struct segment *sg, const struct segment_io *io)
{
    struct batch b;
    int64_t position;
    if (sg->first_timestamp != SEGMENT_TIME_UNKNOWN || sg->size == 0) {
        return 0;
    }
    uint8_t buffer[SCANNER_BUFFER_MIN];
    struct walk w;
    int r = walk_init(&w, sg, io, 0, sg->base_offset, buffer, sizeof(buffer));
    if (r >= 0) {
        r = walk_next(&w, &b, &position);
    }
    walk_release(&w);
    if (r >= 0) {
        sg->first_timestamp = r == 1 ? b.max_timestamp : -1;
    }
    return r < 0 ? r : 0;
}

int segment_each(struct segment *sg,
                 const struct segment_io *io,
                 int64_t position,
                 int (*each)(void *ctx, const struct batch *b, int64_t position),
                 void *ctx)
{
    if (!sg->has_file || sg->size == 0) {
        return 0;
    }
    uint8_t *buffer = mem_alloc(WALK_BUFFER_BYTES);
    struct walk w;
    int r = walk_init(&w, sg, io, position, sg->base_offset, buffer, WALK_BUFFER_BYTES);
    while (r >= 0) {
        struct batch b;
        int64_t at;
        r = walk_next(&w, &b, &at);
        if (r != 1) {
            break;
        }
        r = each(ctx, &b, at);
        if (r != 0) {
            break;
        }
    }
    walk_release(&w);
    mem_free(buffer);
    return r;
}
