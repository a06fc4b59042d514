/*
 * A segment's files:
 *
 *   <base>.log        batches one after another (wire/batch.h)
 *   <base>.index, <base>.timeindex   sparse_index.c
 *   <base>.txnindex   txn_index.c
 *
 * Index entries are made as LogSegment.append does: before a batch is added and when more than
 * index.interval.bytes went by since the last entry, (the batch's last offset, its position) goes to the
 * offset index and (the largest timestamp so far, its offset) to the time index when that moved. A
 * segment that closes gets a last time entry whatever the interval.
 *
 * Checked ranges. Bytes that this process appended, or whose CRCs it has seen, are "verified": reads
 * of them send the file as it is. Other batches are checked when they are first passed. A range begins
 * and ends between batches.
 *
 * Holes. Where a check fails, the next good batch is looked for, and what lies between is a hole: kept
 * on disk, answered with an error, stepped over by whoever walks the segment.
 */
#include "storage/segment.h"

#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"

enum {
    LOOKUP_BUFFER_BYTES = 8192,
    WALK_BUFFER_BYTES = 65536,
};

struct segment *segment_new(int64_t base_offset, int64_t now_ms)
{
    struct segment *sg = mem_zalloc(sizeof(*sg));
    sg->base_offset = base_offset;
    sg->end_offset = base_offset;
    sg->max_timestamp = -1;
    sg->max_timestamp_offset = base_offset;
    sg->last_time_entry = -1;
    sg->first_timestamp = SEGMENT_TIME_UNKNOWN;
    sg->created_ms = now_ms;
    sparse_index_init(&sg->offsets, OFFSET_ENTRY_BYTES);
    sparse_index_init(&sg->times, TIME_ENTRY_BYTES);
    return sg;
}

struct segment *segment_free(struct segment *sg, struct fd_cache *fds)
{
    if (sg == NULL) {
        return NULL;
    }
    fd_cache_drop(fds, &sg->slot);
    sparse_index_release(&sg->offsets);
    sparse_index_release(&sg->times);
    mem_free(sg->verified);
    mem_free(sg->holes);
    mem_free(sg);
    return NULL;
}

static int open_file(struct segment *sg, const struct segment_io *io, bool create, struct fs_file **ret)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, LOG_SUFFIX);
    int err = fd_cache_get(
        io->fds, &sg->slot, path.text, create ? FS_WRITE | FS_CREATE : FS_WRITE, ret);
    if (err >= 0) {
        sg->has_file = true;
    }
    return err;
}

int segment_file(struct segment *sg, const struct segment_io *io, bool create, struct fs_file **ret)
{
    *ret = fd_cache_try(io->fds, &sg->slot); /* without the making of a path */
    return *ret != NULL ? 0 : open_file(sg, io, create, ret);
}

/* --- checked ranges and holes ------------------------------------------------------------------ */

/* The range that holds `position`, or NULL. */
static const struct byte_range *range_of(const struct segment *sg, int64_t position)
{
    for (uint16_t i = sg->verified_count; i > 0; i--) {
        const struct byte_range *r = &sg->verified[i - 1];
        if (r->from <= position) {
            return position < r->to ? r : NULL;
        }
    }
    return NULL;
}

bool segment_is_verified(const struct segment *sg, int64_t from, int64_t to)
{
    const struct byte_range *r = range_of(sg, from);
    return from >= to || (r != NULL && to <= r->to);
}

static void remove_range(struct segment *sg, uint16_t i)
{
    sg->verified_count--;
    memmove(&sg->verified[i], &sg->verified[i + 1], (size_t)(sg->verified_count - i) * sizeof(sg->verified[0]));
}

static void insert_range(struct segment *sg, uint16_t at, int64_t from, int64_t to)
{
    if (sg->verified_count == SEGMENT_RANGES_MAX) {
        /* Forgetting one only means to check it again: take the shortest. */
        uint16_t shortest = 0;
        for (uint16_t i = 1; i < sg->verified_count; i++) {
            if (sg->verified[i].to - sg->verified[i].from <
                sg->verified[shortest].to - sg->verified[shortest].from) {
                shortest = i;
            }
        }
        remove_range(sg, shortest);
        at = (uint16_t)(at > shortest ? at - 1 : at);
    }
    if (sg->verified_count == sg->verified_cap) {
        sg->verified_cap = (uint16_t)(sg->verified_cap == 0 ? 1 : sg->verified_cap * 2);
        sg->verified = mem_realloc(sg->verified, sg->verified_cap * sizeof(sg->verified[0]));
    }
    memmove(&sg->verified[at + 1],
            &sg->verified[at],
            (size_t)(sg->verified_count - at) * sizeof(sg->verified[0]));
    sg->verified[at] = (struct byte_range){.from = from, .to = to};
    sg->verified_count++;
}

void segment_add_verified(struct segment *sg, int64_t from, int64_t to)
{
    uint16_t n = sg->verified_count;
    if (n > 0 && sg->verified[n - 1].to == from) { /* the road of every append */
        sg->verified[n - 1].to = to;
        return;
    }
    uint16_t at = 0;
    while (at < sg->verified_count && sg->verified[at].to < from) {
        at++;
    }
    /* Joins every range that it touches. */
    while (at < sg->verified_count && sg->verified[at].from <= to) {
        from = min_i64(from, sg->verified[at].from);
        to = max_i64(to, sg->verified[at].to);
        remove_range(sg, at);
    }
    insert_range(sg, at, from, to);
}

void segment_add_hole(struct segment *sg, const struct hole *h)
{
    uint16_t at = 0;
    while (at < sg->holes_count && sg->holes[at].from < h->from) {
        at++;
    }
    if (at < sg->holes_count && sg->holes[at].from == h->from) {
        sg->holes[at] = *h;
        return;
    }
    check(sg->holes_count < UINT16_MAX);
    sg->holes = mem_realloc(sg->holes, (size_t)(sg->holes_count + 1) * sizeof(sg->holes[0]));
    memmove(&sg->holes[at + 1], &sg->holes[at], (size_t)(sg->holes_count - at) * sizeof(sg->holes[0]));
    sg->holes[at] = *h;
    sg->holes_count++;
}

const struct hole *segment_hole_from(const struct segment *sg, int64_t position)
{
    for (uint16_t i = 0; i < sg->holes_count; i++) {
        if (sg->holes[i].from >= position) {
            return &sg->holes[i];
        }
    }
    return NULL;
}

const struct hole *segment_hole_of(const struct segment *sg, int64_t offset)
{
    for (uint16_t i = 0; i < sg->holes_count; i++) {
        if (offset >= sg->holes[i].offset_from && offset < sg->holes[i].offset_to) {
            return &sg->holes[i];
        }
    }
    return NULL;
}

/* --- indexes ----------------------------------------------------------------------------------- */

static int flush_index(struct segment *sg, const struct segment_io *io, struct sparse_index *ix, const char *suffix)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, suffix);
    return sparse_index_flush(ix, io->fs, path.text);
}

/* Room for one more entry. An index that cannot be written now only gets sparser. */
static bool has_room(struct segment *sg, const struct segment_io *io, struct sparse_index *ix, const char *suffix)
{
    return ix->tail_count < INDEX_TAIL_ENTRIES || flush_index(sg, io, ix, suffix) >= 0;
}

static void add_time_entry(struct segment *sg, const struct segment_io *io)
{
    if (sg->max_timestamp <= sg->last_time_entry ||
        !has_room(sg, io, &sg->times, TIME_INDEX_SUFFIX)) {
        return;
    }
    struct time_entry entry = {
        .timestamp = sg->max_timestamp,
        .relative_offset = to_i32(sg->max_timestamp_offset - sg->base_offset),
    };
    IGNORE(sparse_index_add_time(&sg->times, entry)); /* flushed when the next one needs room */
    sg->last_time_entry = sg->max_timestamp;
}

static void index_batch(struct segment *sg,
                        const struct segment_io *io,
                        int64_t position,
                        int64_t size,
                        int64_t last_offset,
                        int64_t max_timestamp)
{
    if (max_timestamp > sg->max_timestamp) {
        sg->max_timestamp = max_timestamp;
        sg->max_timestamp_offset = last_offset;
    }
    if (sg->bytes_since_index > io->index_interval && last_offset >= sg->index_from) {
        if (has_room(sg, io, &sg->offsets, INDEX_SUFFIX)) {
            struct offset_entry entry = {
                .relative_offset = to_i32(last_offset - sg->base_offset),
                .position = to_i32(position),
            };
            IGNORE(sparse_index_add_offset(&sg->offsets, entry));
        }
        add_time_entry(sg, io);
        sg->bytes_since_index = 0;
    }
    sg->bytes_since_index += size;
}

void segment_appended(struct segment *sg,
                      const struct segment_io *io,
                      int64_t position,
                      size_t size,
                      int64_t last_offset,
                      int64_t max_timestamp)
{
    if (position == 0) {
        sg->first_timestamp = max_timestamp;
    }
    index_batch(sg, io, position, to_i64(size), last_offset, max_timestamp);
    segment_add_verified(sg, position, position + to_i64(size));
    sg->is_open_ended = true;
}

int segment_trim_indexes(struct segment *sg, const struct segment_io *io)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, INDEX_SUFFIX);
    int err = sparse_index_trim(&sg->offsets, io->fs, path.text);
    if (err >= 0) {
        log_path_of(&path, io->dir, sg->base_offset, TIME_INDEX_SUFFIX);
        err = sparse_index_trim(&sg->times, io->fs, path.text);
    }
    return err;
}

int segment_close_indexes(struct segment *sg, const struct segment_io *io)
{
    if (!sg->is_open_ended) {
        return 0;
    }
    add_time_entry(sg, io);
    int err = flush_index(sg, io, &sg->offsets, INDEX_SUFFIX);
    if (err >= 0) {
        err = flush_index(sg, io, &sg->times, TIME_INDEX_SUFFIX);
    }
    if (err >= 0) {
        err = segment_trim_indexes(sg, io);
    }
    if (err >= 0) {
        sg->is_open_ended = false;
        /* The tails are in the files: give their memory back. */
        sparse_index_release(&sg->offsets);
        sparse_index_release(&sg->times);
    }
    return err;
}

/* Marked as synced when the reference is taken: if the sync fails the log goes no further. */
static int take_unsynced(struct segment *sg,
                         const struct segment_io *io,
                         bool *is_unsynced,
                         const char *suffix,
                         struct fs_file **files,
                         size_t *count)
{
    struct log_path path;
    if (!*is_unsynced) {
        return 0;
    }
    log_path_of(&path, io->dir, sg->base_offset, suffix);
    int err = fs_open(io->fs, path.text, FS_WRITE, &files[*count]);
    if (err >= 0) {
        ++*count;
        *is_unsynced = false;
    }
    return err;
}

int segment_flush_indexes(struct segment *sg,
                          const struct segment_io *io,
                          struct fs_file **files,
                          size_t *count)
{
    int err = flush_index(sg, io, &sg->offsets, INDEX_SUFFIX);
    if (err >= 0) {
        err = flush_index(sg, io, &sg->times, TIME_INDEX_SUFFIX);
    }
    if (err >= 0 && (sg->offsets.is_longer || sg->times.is_longer)) {
        err = segment_trim_indexes(sg, io);
    }
    if (err >= 0) {
        err = take_unsynced(sg, io, &sg->offsets.is_unsynced, INDEX_SUFFIX, files, count);
    }
    if (err >= 0) {
        err = take_unsynced(sg, io, &sg->times.is_unsynced, TIME_INDEX_SUFFIX, files, count);
    }
    if (err >= 0) {
        err = take_unsynced(sg, io, &sg->txns.is_unsynced, TXN_INDEX_SUFFIX, files, count);
    }
    return err;
}

/* --- walking ----------------------------------------------------------------------------------- */

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
        uint8_t header[BATCH_HEADER_BYTES];
        struct batch b;
        ssize_t got = fs_pread(w->file, header, sizeof(header), h.to);
        if (got < 0) {
            return (int)got;
        }
        if (batch_peek_header(header, (size_t)got, &b) < 0) {
            return ERR_CORRUPT; /* it was good a moment ago */
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
    if (h == NULL || h->from != w->sc.position) {
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
        w->sc.checks_crc = range_of(w->sg, w->sc.position) == NULL;
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

/* Does a batch begin where the index says so? */
static bool is_entry_good(struct segment *sg, const struct segment_io *io, const struct offset_entry *entry)
{
    uint8_t header[BATCH_HEADER_BYTES];
    struct batch b;
    struct fs_file *file;
    if (entry->position < 0 || entry->position >= sg->size || entry->relative_offset < 0 ||
        segment_file(sg, io, false, &file) < 0) {
        return false;
    }
    ssize_t got = fs_pread(file, header, sizeof(header), entry->position);
    fs_file_unref(file);
    return got == BATCH_HEADER_BYTES && batch_peek_header(header, sizeof(header), &b) >= 0 &&
           b.base_offset >= sg->base_offset &&
           b.base_offset <= sg->base_offset + entry->relative_offset &&
           to_i64(b.size) <= sg->size - entry->position;
}

/* Where to begin looking for the offset. */
int segment_index_position(struct segment *sg, const struct segment_io *io, int64_t offset, int64_t *ret)
{
    struct log_path path;
    struct offset_entry entry;
    *ret = 0;
    if (sg->is_index_bad) {
        return io->no_wait ? -EAGAIN : 0;
    }
    log_path_of(&path, io->dir, sg->base_offset, INDEX_SUFFIX);
    int n = sparse_index_find_offset(&sg->offsets, io->fs, path.text, offset - sg->base_offset, &entry);
    if (n < 0) {
        return n;
    }
    if (n > 0) {
        if (is_entry_good(sg, io, &entry)) {
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
        return 0;
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

int segment_floor(struct segment *sg, const struct segment_io *io, int64_t from, int64_t limit, int64_t *ret, int64_t *ret_next)
{
    uint8_t buffer[LOOKUP_BUFFER_BYTES];
    struct log_path path;
    struct offset_entry entry;
    int64_t position = from;
    if (!sg->is_index_bad) {
        log_path_of(&path, io->dir, sg->base_offset, INDEX_SUFFIX);
        int n = sparse_index_find_position(&sg->offsets, io->fs, path.text, limit, &entry);
        if (n < 0) {
            return n;
        }
        if (n > 0 && entry.position > from && is_entry_good(sg, io, &entry)) {
            position = entry.position;
        }
    }
    struct walk w;
    int r = walk_init(&w, sg, io, position, sg->base_offset, buffer, sizeof(buffer));
    *ret = position;
    *ret_next = -1;
    while (r >= 0) {
        struct batch b;
        int64_t at;
        r = walk_next(&w, &b, &at);
        if (r != 1 || at != *ret || w.sc.position > limit) {
            break;
        }
        *ret = w.sc.position;
        *ret_next = w.sc.next_offset;
    }
    walk_release(&w);
    return r < 0 ? r : 0;
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

struct rebuild {
    struct segment *sg;
    const struct segment_io *io;
};

static int rebuild_one(void *ctx, const struct batch *b, int64_t position)
{
    struct rebuild *rb = ctx;
    index_batch(
        rb->sg, rb->io, position, to_i64(b->size), batch_last_offset(b), b->max_timestamp);
    return 0;
}

int segment_rebuild_indexes(struct segment *sg, const struct segment_io *io)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, INDEX_SUFFIX);
    int err = sparse_index_truncate(&sg->offsets, io->fs, path.text, 0);
    if (err >= 0) {
        log_path_of(&path, io->dir, sg->base_offset, TIME_INDEX_SUFFIX);
        err = sparse_index_truncate(&sg->times, io->fs, path.text, 0);
    }
    if (err < 0) {
        return err;
    }
    sg->max_timestamp = -1;
    sg->max_timestamp_offset = sg->base_offset;
    sg->last_time_entry = -1;
    sg->bytes_since_index = 0;
    sg->is_time_known = true;
    sg->is_index_bad = false;
    sg->is_open_ended = true;
    sg->index_from = sg->base_offset;
    struct rebuild rb = {.sg = sg, .io = io};
    return segment_each(sg, io, 0, rebuild_one, &rb);
}

/* Does a batch with this largest timestamp hold this offset? Garbage in a time index would otherwise keep
 * a segment for ever, or hide records from a search. */
static bool is_time_entry_good(struct segment *sg, const struct segment_io *io, const struct time_entry *entry)
{
    struct batch b;
    int64_t position;
    if (entry->relative_offset < 0) {
        return false;
    }
    int r = segment_locate(sg, io, sg->base_offset + entry->relative_offset, 0, &b, &position);
    return r == ERR_CORRUPT || (r == 1 && b.max_timestamp == entry->timestamp);
}

static int load_times(struct segment *sg, const struct segment_io *io)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, TIME_INDEX_SUFFIX);
    int err = sparse_index_load(&sg->times, io->fs, path.text);
    if (err < 0 && err != -ENOENT) {
        return err;
    }
    uint32_t count = sparse_index_count(&sg->times);
    struct time_entry last = {.timestamp = -1};
    if (count > 0) {
        err = sparse_index_time_at(&sg->times, io->fs, path.text, count - 1, &last);
        if (err < 0) {
            return err;
        }
        if (!is_time_entry_good(sg, io, &last)) {
            return io->no_wait ? -EAGAIN : segment_rebuild_indexes(sg, io);
        }
    }
    if (last.timestamp > sg->max_timestamp) {
        sg->max_timestamp = last.timestamp;
        sg->max_timestamp_offset = sg->base_offset + last.relative_offset;
    }
    sg->last_time_entry = max_i64(sg->last_time_entry, last.timestamp);
    sg->is_time_known = true;
    return 0;
}

int segment_load_times(struct segment *sg, const struct segment_io *io)
{
    return sg->is_time_known ? 0 : load_times(sg, io);
}

/* --- cutting ----------------------------------------------------------------------------------- */

static int truncate_offsets(struct segment *sg, const struct segment_io *io, int64_t position)
{
    struct log_path path;
    struct offset_entry entry = {0};
    log_path_of(&path, io->dir, sg->base_offset, INDEX_SUFFIX);
    int n = sparse_index_find_position(&sg->offsets, io->fs, path.text, position - 1, &entry);
    if (n < 0) {
        return n;
    }
    sg->bytes_since_index = position - (n > 0 ? entry.position : 0);
    return sparse_index_truncate(&sg->offsets, io->fs, path.text, (uint32_t)n);
}

/* Time entries of offsets below this one: how many, and the last of them. */
static int times_below(struct segment *sg,
                       const struct segment_io *io,
                       int64_t offset,
                       uint32_t *ret_count,
                       struct time_entry *ret_last)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, TIME_INDEX_SUFFIX);
    int err = sparse_index_load(&sg->times, io->fs, path.text);
    if (err < 0 && err != -ENOENT) {
        return err;
    }
    uint32_t low = 0;
    uint32_t high = sparse_index_count(&sg->times);
    *ret_last = (struct time_entry){.timestamp = -1};
    while (low < high) {
        struct time_entry entry = {0};
        uint32_t mid = low + (high - low) / 2;
        err = sparse_index_time_at(&sg->times, io->fs, path.text, mid, &entry);
        if (err < 0) {
            return err;
        }
        if (sg->base_offset + entry.relative_offset < offset) {
            *ret_last = entry;
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    *ret_count = low;
    return 0;
}

/* Keeps so many time entries, of which this is the last. */
static int truncate_times(struct segment *sg,
                          const struct segment_io *io,
                          uint32_t count,
                          const struct time_entry *last)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, TIME_INDEX_SUFFIX);
    int err = sparse_index_truncate(&sg->times, io->fs, path.text, count);
    sg->max_timestamp = count > 0 ? last->timestamp : -1;
    sg->max_timestamp_offset = sg->base_offset + (count > 0 ? last->relative_offset : 0);
    sg->last_time_entry = sg->max_timestamp;
    sg->is_time_known = true;
    return err;
}

static int truncate_txns(struct segment *sg, const struct segment_io *io, int64_t offset)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, TXN_INDEX_SUFFIX);
    return txn_index_truncate_to(&sg->txns, io->fs, path.text, offset);
}

static void forget_bytes(struct segment *sg, int64_t position)
{
    while (sg->verified_count > 0) {
        struct byte_range *last = &sg->verified[sg->verified_count - 1];
        if (last->from < position) {
            last->to = min_i64(last->to, position);
            break;
        }
        sg->verified_count--;
    }
    while (sg->holes_count > 0 && sg->holes[sg->holes_count - 1].from >= position) {
        sg->holes_count--;
    }
    if (position == 0) {
        sg->first_timestamp = SEGMENT_TIME_UNKNOWN;
    }
    sg->size = position;
    sg->appended_from = min_i64(sg->appended_from, position);
    sg->is_open_ended = true;
}

int segment_truncate_known(struct segment *sg, const struct segment_io *io, int64_t position, int64_t offset)
{
    struct time_entry last_time;
    uint32_t times;
    int err = truncate_offsets(sg, io, position);
    if (err >= 0) {
        err = truncate_txns(sg, io, offset);
    }
    forget_bytes(sg, position);
    sg->end_offset = offset;
    if (err >= 0) {
        err = times_below(sg, io, offset, &times, &last_time);
    }
    return err < 0 ? err : truncate_times(sg, io, times, &last_time);
}

/* The last index entry below the offset and how many there are up to it. One that leads nowhere makes the
 * index a bad one. */
static int entries_below(struct segment *sg, const struct segment_io *io, int64_t offset, struct offset_entry *ret)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, INDEX_SUFFIX);
    int n = sparse_index_find_offset(&sg->offsets, io->fs, path.text, offset - 1 - sg->base_offset, ret);
    if (n > 0 && !is_entry_good(sg, io, ret)) {
        sg->is_index_bad = true;
        return 0;
    }
    return n;
}

static int offset_at(struct segment *sg, const struct segment_io *io, int64_t position, int64_t *ret)
{
    uint8_t header[BATCH_HEADER_BYTES];
    struct batch b;
    struct fs_file *file;
    int err = segment_file(sg, io, false, &file);
    if (err < 0) {
        return err;
    }
    ssize_t got = fs_pread(file, header, sizeof(header), position);
    fs_file_unref(file);
    err = got < 0 ? (int)got : batch_peek_header(header, (size_t)got, &b);
    if (err >= 0) {
        *ret = b.base_offset;
    }
    return err;
}

int segment_prepare_scan(struct segment *sg,
                         const struct segment_io *io,
                         int64_t from,
                         bool has_indexes,
                         int64_t *ret_position,
                         int64_t *ret_offset,
                         bool *ret_rebuilt)
{
    struct log_path path;
    struct offset_entry last = {0};
    struct time_entry last_time = {.timestamp = -1};
    uint32_t times = 0;
    int n = 0;
    int err = 0;
    bool is_inside = from > sg->base_offset;
    *ret_rebuilt = is_inside && !has_indexes;
    if (is_inside && has_indexes) {
        n = entries_below(sg, io, from, &last);
        err = n < 0 ? n : times_below(sg, io, from, &times, &last_time);
        if (err < 0) {
            return err;
        }
        if (sg->is_index_bad || (times > 0 && !is_time_entry_good(sg, io, &last_time))) {
            *ret_rebuilt = true;
            n = 0;
            times = 0;
        }
    }
    *ret_position = n > 0 ? last.position : 0;
    *ret_offset = sg->base_offset;
    if (n > 0) {
        err = offset_at(sg, io, last.position, ret_offset);
    }
    if (err >= 0) {
        log_path_of(&path, io->dir, sg->base_offset, INDEX_SUFFIX);
        err = sparse_index_truncate(&sg->offsets, io->fs, path.text, (uint32_t)n);
    }
    if (err >= 0) {
        err = truncate_times(sg, io, times, &last_time);
    }
    if (err >= 0) {
        err = truncate_txns(sg, io, from);
    }
    forget_bytes(sg, *ret_position);
    sg->bytes_since_index = 0;
    sg->index_from = *ret_rebuilt ? sg->base_offset : from;
    sg->is_index_bad = false;
    return err;
}

static int unlink_file(struct segment *sg, const struct segment_io *io, const char *suffix)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, suffix);
    int err = fs_unlink(io->fs, path.text);
    return err == -ENOENT ? 0 : err;
}

int segment_unlink_log(struct segment *sg, const struct segment_io *io)
{
    fd_cache_drop(io->fds, &sg->slot);
    return unlink_file(sg, io, LOG_SUFFIX);
}

int segment_unlink(struct segment *sg, const struct segment_io *io)
{
    static const char *const suffixes[] = {INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX};
    int first = segment_unlink_log(sg, io);
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        int err = unlink_file(sg, io, suffixes[i]);
        first = first < 0 ? first : err;
    }
    return first;
}
