/*
 * Reading: whole batches as runs of the segment's file. LogSegment.read, UnifiedLog.read.
 *
 * A read needs two places: where the batch with the asked offset begins, and the last batch
 * boundary within the limit and the bound. A reader that follows the log finds both among the marks
 * (where writes and reads ended lately); others go through the index and a few headers.
 *
 * What this process has not appended is checked before it is sent, once, READ_CHECK_BYTES at a
 * time, so that one read of a cold log does not hold a loop. With no_wait nothing that may wait for
 * a disk is done: the caller gets -EAGAIN and asks plog_warm elsewhere.
 */
#include "storage/plog.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog_impl.h"

enum {
    READ_CHECK_BYTES = 1 << 20,
    WARM_PIECE_BYTES = 65536,
};

static bool find_mark(const struct plog *pl, int64_t offset, int64_t segment_base, int64_t *ret)
{
    for (size_t i = 0; i < PLOG_MARKS; i++) {
        const struct plog_mark *m = &pl->marks[i];
        if (m->offset == offset && m->segment_base == segment_base) {
            *ret = m->position;
            return true;
        }
    }
    return false;
}

/* The nearest mark below the offset: a place to begin at that needs no index. */
static int64_t hint_for(const struct plog *pl, const struct segment *sg, int64_t offset)
{
    int64_t position = 0;
    for (size_t i = 0; i < PLOG_MARKS; i++) {
        const struct plog_mark *m = &pl->marks[i];
        if (m->segment_base == sg->base_offset && m->offset <= offset && m->position > position) {
            position = m->position;
        }
    }
    /* A far one is no help: the index leads closer. */
    return sg->size - position <= SEGMENT_RECENT_BYTES ? position : 0;
}

static int64_t bound_offset(const struct plog *pl, enum plog_bound bound)
{
    switch (bound) {
    case PLOG_TO_LOG_END:
        return pl->written;
    case PLOG_TO_HIGH_WATERMARK:
        return min_i64(pl->high_watermark, pl->written);
    case PLOG_TO_LAST_STABLE:
        return min_i64(plog_last_stable_locked(pl), pl->written);
    }
    return pl->log_start;
}

/* Bytes of this segment whose offsets are below `offset`: a position between two batches. */
static int end_position(struct plog *pl,
                        struct segment *sg,
                        const struct segment_io *io,
                        int64_t offset,
                        int64_t *ret)
{
    struct batch b;
    if (offset >= sg->end_offset) {
        *ret = sg->size;
        return 0;
    }
    if (find_mark(pl, offset, sg->base_offset, ret)) {
        return 0;
    }
    int r = segment_locate(sg, io, offset, hint_for(pl, sg, offset), &b, ret);
    if (r == ERR_CORRUPT) {
        *ret = segment_hole_of(sg, offset)->from;
        return 0;
    }
    if (r == 0) {
        *ret = sg->size;
    }
    if (r == 1 && b.base_offset == offset) {
        plog_add_read_mark(pl, offset, sg->base_offset, *ret);
    }
    return r < 0 ? r : 0;
}

/* The first batch to send. 1; 0: this segment has none (a gap at its end); errors of
 * segment_locate. */
static int find_start(struct plog *pl,
                      struct segment *sg,
                      const struct segment_io *io,
                      int64_t offset,
                      int64_t *ret_position,
                      int64_t *ret_offset)
{
    struct batch b;
    /* Only where the batch is known to be good: what is wrong with another one, the way there
     * tells. */
    if (find_mark(pl, offset, sg->base_offset, ret_position) &&
        segment_is_verified(sg, *ret_position, *ret_position + 1)) {
        *ret_offset = offset;
        return 1;
    }
    int r = segment_locate(sg, io, offset, hint_for(pl, sg, offset), &b, ret_position);
    if (r == 1) {
        *ret_offset = b.base_offset;
    }
    return r;
}

struct extent {
    int64_t from;
    int64_t to;
    int64_t next_offset; /* of the batch that begins at `to`; -1: not known */
    bool is_cut_short;
};

/* How far the answer goes: `limit` bytes from ex->from, at most to ex->to, whole checked batches.
 */
static int find_extent(struct segment *sg,
                       const struct segment_io *io,
                       const struct plog_read *how,
                       int64_t from_offset,
                       struct extent *ex)
{
    const struct hole *h = segment_hole_from(sg, ex->from);
    if (h != NULL && h->from < ex->to) {
        ex->to = h->from;
        ex->is_cut_short = true;
    }
    int64_t limit = max_i64(how->max_bytes, 0);
    bool is_checked = segment_is_verified(sg, ex->from, ex->to);
    if (is_checked && ex->to - ex->from <= limit) {
        return 0;
    }
    int64_t bound = ex->to;
    int64_t want = ex->from + min_i64(limit, ex->to - ex->from);
    if (!is_checked) {
        want = min_i64(want, ex->from + READ_CHECK_BYTES);
    }
    int err = 0;
    if (segment_is_verified(sg, ex->from, want)) {
        err = want == bound ? 0 : segment_floor(sg, io, ex->from, want, &want, &ex->next_offset);
        ex->to = want;
    } else {
        err = segment_verify(sg, io, ex->from, from_offset, want, &ex->to, &ex->next_offset);
    }
    if (err >= 0 && ex->to == ex->from && how->at_least_one && bound > ex->from) {
        struct batch first;
        err = segment_peek(sg, io, ex->from, &first);
        if (err >= 0) {
            int64_t end = min_i64(ex->from + to_i64(first.size), bound);
            err = segment_verify(sg, io, ex->from, from_offset, end, &ex->to, &ex->next_offset);
        }
    }
    ex->is_cut_short = ex->is_cut_short || ex->to < bound;
    return err;
}

/* --- aborted transactions --------------------------------------------------------------------- */

struct collect {
    struct arena *arena;
    struct plog_aborted *items;
    size_t count;
    size_t cap;
    int64_t from;  /* the asked offset */
    int64_t upper; /* the first offset beyond what is read */
    bool is_complete;
};

static bool collect_one(void *ctx, const struct txn_entry *entry)
{
    struct collect *c = ctx;
    if (entry->last_offset >= c->from && entry->first_offset < c->upper) {
        if (c->count == c->cap) {
            size_t cap = max_size(8, c->cap * 2);
            struct plog_aborted *items = arena_alloc(c->arena, cap * sizeof(*items));
            if (c->count > 0) {
                memcpy(items, c->items, c->count * sizeof(*items));
            }
            c->items = items;
            c->cap = cap;
        }
        c->items[c->count++] = (struct plog_aborted){
            .producer_id = entry->producer_id,
            .first_offset = entry->first_offset,
        };
    }
    c->is_complete = entry->last_stable_offset >= c->upper;
    return !c->is_complete;
}

static int compare_aborted(const void *a, const void *b)
{
    const struct plog_aborted *x = a;
    const struct plog_aborted *y = b;
    return x->first_offset < y->first_offset ? -1 : x->first_offset > y->first_offset;
}

/* Kafka's upper bound: the index entry behind what is read, else the end of the segment. */
static int upper_bound(struct plog *pl,
                       struct segment *sg,
                       const struct segment_io *io,
                       int64_t position,
                       int64_t *ret)
{
    struct log_path path;
    struct offset_entry entry;
    *ret = sg == plog_active(pl) ? pl->log_end : sg->end_offset;
    log_path_of(&path, io->dir, sg->base_offset, INDEX_SUFFIX);
    int n = sparse_index_find_position(&sg->offsets, io->fs, path.text, position - 1, &entry);
    if (n >= 0) {
        n = sparse_index_offset_at(&sg->offsets, io->fs, path.text, (uint32_t)n, &entry);
    }
    if (n == 1) {
        *ret = sg->base_offset + entry.relative_offset;
    }
    return n < 0 ? n : 0;
}

static int collect_aborted(struct plog *pl,
                           size_t first_segment,
                           const struct segment_io *io,
                           const struct plog_read *how,
                           int64_t end,
                           struct plog_read_result *ret)
{
    struct collect c = {.arena = how->arena, .from = how->offset};
    int err = upper_bound(pl, pl->segments[first_segment], io, end, &c.upper);
    for (size_t i = first_segment; i < pl->segments_count && !c.is_complete && err >= 0; i++) {
        struct log_path path;
        struct segment *sg = pl->segments[i];
        log_path_of(&path, io->dir, sg->base_offset, TXN_INDEX_SUFFIX);
        err = txn_index_each(&sg->txns, io->fs, path.text, collect_one, &c);
    }
    if (c.count > 1) {
        qsort(c.items, c.count, sizeof(*c.items), compare_aborted);
    }
    ret->aborted = c.items;
    ret->aborted_count = to_i32(to_i64(c.count));
    return err;
}

/* --- reads ------------------------------------------------------------------------------------ */

static int send_extent(struct segment *sg,
                       const struct segment_io *io,
                       const struct extent *ex,
                       struct rope *rope)
{
    struct fs_file *file;
    int err = segment_file(sg, io, false, &file);
    if (err < 0) {
        return err;
    }
    int64_t recent = max_i64(sg->appended_from, sg->size - SEGMENT_RECENT_BYTES);
    if (io->no_wait && ex->from < recent &&
        !fs_is_cached(file, ex->from, to_size(ex->to - ex->from))) {
        err = -EAGAIN;
    } else {
        rope_add_file(rope, file, ex->from, to_size(ex->to - ex->from));
    }
    fs_file_unref(file);
    return err;
}

/* A rebuilt index is better than a scan for each read. */
static int repair_index(struct segment *sg, const struct segment_io *io)
{
    if (!sg->is_index_bad) {
        return 0;
    }
    return io->no_wait ? -EAGAIN : segment_rebuild_indexes(sg, io);
}

static int read_locked(struct plog *pl,
                       const struct plog_read *how,
                       struct rope *rope,
                       struct plog_read_result *ret,
                       enum kafka_error *ret_error)
{
    struct segment_io io = plog_io(pl, how->no_wait);
    int64_t bound = bound_offset(pl, how->bound);
    if (pl->is_offline) {
        *ret_error = KAFKA_ERROR_KAFKA_STORAGE_ERROR;
        return 0;
    }
    if (how->offset < pl->log_start || how->offset > pl->log_end) {
        *ret_error = KAFKA_ERROR_OFFSET_OUT_OF_RANGE;
        return 0;
    }
    if (how->offset >= bound) {
        return 0;
    }
    size_t i = to_size(max_i64(plog_segment_index(pl, how->offset), 0));
    struct extent ex = {.next_offset = -1};
    int64_t from_offset = 0;
    int r = 0;
    for (; i < pl->segments_count && r == 0; i++) {
        r = find_start(pl, pl->segments[i], &io, how->offset, &ex.from, &from_offset);
        if (pl->segments[i]->is_index_bad) {
            int err = repair_index(pl->segments[i], &io);
            r = err < 0 ? err : r;
        }
    }
    if (r != 1) {
        if (r == ERR_CORRUPT) {
            *ret_error = KAFKA_ERROR_CORRUPT_MESSAGE;
            return 0;
        }
        return r;
    }
    i--;
    struct segment *sg = pl->segments[i];
    if (from_offset >= bound) {
        return 0;
    }
    int err = end_position(pl, sg, &io, bound, &ex.to);
    if (err >= 0 && ex.to > ex.from) {
        err = find_extent(sg, &io, how, from_offset, &ex);
    }
    if (err == ERR_CORRUPT) {
        *ret_error = KAFKA_ERROR_CORRUPT_MESSAGE;
        return 0;
    }
    if (err >= 0 && ex.to > ex.from) {
        if (how->bound == PLOG_TO_LAST_STABLE) {
            err = collect_aborted(pl, i, &io, how, ex.to, ret);
        }
        if (err >= 0) {
            err = send_extent(sg, &io, &ex, rope);
        }
        if (err >= 0) {
            ret->bytes = to_size(ex.to - ex.from);
            if (ex.next_offset >= 0) {
                plog_add_read_mark(pl, ex.next_offset, sg->base_offset, ex.to);
            }
        }
    }
    ret->is_cut_short = ex.is_cut_short;
    return err;
}

int plog_read(struct plog *pl,
              const struct plog_read *how,
              struct rope *ret_rope,
              struct plog_read_result *ret,
              enum kafka_error *ret_error)
{
    *ret = (struct plog_read_result){0};
    *ret_error = KAFKA_ERROR_NONE;
    lock_take(&pl->lock);
    int err = read_locked(pl, how, ret_rope, ret, ret_error);
    plog_offsets_locked(pl, &ret->offsets);
    lock_give(&pl->lock);
    return err;
}

/* --- warming ---------------------------------------------------------------------------------- */

void plog_warm(struct plog *pl, int64_t offset, int64_t max_bytes)
{
    struct fs_file *file = NULL;
    struct extent ex = {0};
    struct batch b;
    lock_take(&pl->lock);
    struct segment_io io = plog_io(pl, false);
    int64_t i = plog_segment_index(pl, offset);
    if (i >= 0 && !pl->is_offline) {
        struct segment *sg = pl->segments[i];
        int r = segment_locate(sg, &io, offset, 0, &b, &ex.from);
        if (sg->is_index_bad && repair_index(sg, &io) < 0) {
            r = -EIO;
        }
        if (r == 1 && segment_file(sg, &io, false, &file) >= 0) {
            ex.to = min_i64(sg->size, ex.from + max_i64(max_bytes, to_i64(b.size)));
        }
    }
    lock_give(&pl->lock);
    if (file == NULL) {
        return;
    }
    /* The waiting is done here, outside the lock; the check itself then reads memory. */
    uint8_t *piece = mem_alloc(WARM_PIECE_BYTES);
    for (int64_t at = ex.from; at < ex.to; at += WARM_PIECE_BYTES) {
        size_t n = to_size(min_i64(ex.to - at, WARM_PIECE_BYTES));
        if (fs_pread(file, piece, n, at) < to_i64(n)) {
            break;
        }
    }
    mem_free(piece);
    fs_file_unref(file);
    lock_take(&pl->lock);
    i = plog_segment_index(pl, offset);
    if (i >= 0 && !pl->is_offline) {
        int64_t end;
        int64_t next;
        struct segment *sg = pl->segments[i];
        if (segment_locate(sg, &io, offset, 0, &b, &ex.from) == 1) {
            ex.to = min_i64(sg->size, ex.from + max_i64(max_bytes, to_i64(b.size)));
            IGNORE(segment_verify(sg, &io, ex.from, b.base_offset, ex.to, &end,
                                  &next)); /* the read will tell */
        }
    }
    lock_give(&pl->lock);
}
