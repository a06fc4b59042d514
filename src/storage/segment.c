/*
 * A segment's files:
 *
 *   <base>.log        batches one after another (wire/batch.h)
 *   <base>.index, <base>.timeindex   sparse_index.c
 *   <base>.txnindex   txn_index.c
 *
 * Index entries are made as LogSegment.append does: before a batch is added and when more than
 * index.interval.bytes went by since the last entry, (the batch's last offset, its position) goes
 * to the offset index and (the largest timestamp so far, its offset) to the time index when that
 * moved. A segment that closes gets a last time entry whatever the interval.
 *
 * Checked ranges. Bytes that this process appended, or whose CRCs it has seen, are "verified":
 * reads of them send the file as it is. Other batches are checked when they are first passed. A
 * range begins and ends between batches.
 *
 * Holes. Where a check fails, the next good batch is looked for, and what lies between is a hole:
 * kept on disk, answered with an error, stepped over by whoever walks the segment.
 */
#include "storage/segment.h"

#include "base/base.h"
#include "base/err.h"
#include "base/mem.h"

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

static int
open_file(struct segment *sg, const struct segment_io *io, bool create, struct fs_file **ret)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, LOG_SUFFIX);
    int err =
        fd_cache_get(io->fds, &sg->slot, path.text, create ? FS_WRITE | FS_CREATE : FS_WRITE, ret);
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

/* --- indexes ---------------------------------------------------------------------------------- */

static int flush_index(struct segment *sg,
                       const struct segment_io *io,
                       struct sparse_index *ix,
                       const char *suffix)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, suffix);
    return sparse_index_flush(ix, io->fs, path.text);
}

/* Room for one more entry. An index that cannot be written now only gets sparser. */
static bool has_room(struct segment *sg,
                     const struct segment_io *io,
                     struct sparse_index *ix,
                     const char *suffix)
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

/* --- rebuilding
 * ------------------------------------------------------------------------------------- */

struct rebuild {
    struct segment *sg;
    const struct segment_io *io;
};

static int rebuild_one(void *ctx, const struct batch *b, int64_t position)
{
    struct rebuild *rb = ctx;
    index_batch(rb->sg, rb->io, position, to_i64(b->size), batch_last_offset(b), b->max_timestamp);
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

/* Does a batch with this largest timestamp hold this offset? Garbage in a time index would
 * otherwise keep a segment for ever, or hide records from a search. */
__attribute__((noinline)) static bool
is_time_entry_good(struct segment *sg, const struct segment_io *io, const struct time_entry *entry)
{
    struct batch b;
    int64_t position;
    if (entry->relative_offset < 0) {
        return false;
    }
    int r = segment_locate(sg, io, sg->base_offset + entry->relative_offset, 0, &b, &position);
    return r == ERR_CORRUPT || (r == 1 && b.max_timestamp == entry->timestamp);
}

static int note_timestamp(void *ctx, const struct batch *b, int64_t position)
{
    struct segment *sg = ctx;
    (void)position;
    if (b->max_timestamp > sg->max_timestamp) {
        sg->max_timestamp = b->max_timestamp;
        sg->max_timestamp_offset = batch_last_offset(b);
    }
    return 0;
}

/* The entry that closes a segment may be lost while its batches are not: those behind the last
 * entry of the offset index (about an interval of bytes) are looked at. */
__attribute__((noinline)) static int look_behind_index(struct segment *sg,
                                                       const struct segment_io *io)
{
    int64_t position;
    if (!sg->has_file || sg->size == 0) {
        return 0;
    }
    int err = segment_index_position(sg, io, INT64_MAX, &position);
    return err < 0 ? err : segment_each(sg, io, position, note_timestamp, sg);
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
    err = look_behind_index(sg, io);
    sg->is_time_known = err >= 0;
    return err;
}

int segment_load_times(struct segment *sg, const struct segment_io *io)
{
    return sg->is_time_known ? 0 : load_times(sg, io);
}

/* --- cutting ---------------------------------------------------------------------------------- */

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
__attribute__((noinline)) static int times_below(struct segment *sg,
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
__attribute__((noinline)) static int truncate_times(struct segment *sg,
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

__attribute__((noinline)) static int
truncate_txns(struct segment *sg, const struct segment_io *io, int64_t offset)
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

int segment_truncate_known(struct segment *sg,
                           const struct segment_io *io,
                           int64_t position,
                           int64_t offset)
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

/* The last index entry below the offset and how many there are up to it. One that leads nowhere
 * makes the index a bad one. */
__attribute__((noinline)) static int entries_below(struct segment *sg,
                                                   const struct segment_io *io,
                                                   int64_t offset,
                                                   struct offset_entry *ret)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, INDEX_SUFFIX);
    int n = sparse_index_find_offset(&sg->offsets, io->fs, path.text, offset - 1 - sg->base_offset,
                                     ret);
    if (n > 0 && !segment_is_entry_good(sg, io, ret)) {
        sg->is_index_bad = true;
        return 0;
    }
    return n;
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
        struct batch b;
        err = segment_peek(sg, io, last.position, &b);
        *ret_offset = err >= 0 ? b.base_offset : *ret_offset;
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

static int remove_file(struct segment *sg, const struct segment_io *io, const char *suffix)
{
    struct log_path path;
    log_path_of(&path, io->dir, sg->base_offset, suffix);
    return trash_put(io->trash, io->fs, path.text, io->delete_delay_ms);
}

int segment_remove_log(struct segment *sg, const struct segment_io *io)
{
    fd_cache_drop(io->fds, &sg->slot);
    return remove_file(sg, io, LOG_SUFFIX);
}

int segment_remove_indexes(struct segment *sg, const struct segment_io *io)
{
    static const char *const suffixes[] = {INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX};
    int first = 0;
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        int err = remove_file(sg, io, suffixes[i]);
        first = first < 0 ? first : err;
    }
    return first;
}

int segment_remove(struct segment *sg, const struct segment_io *io)
{
    int first = segment_remove_log(sg, io);
    int err = segment_remove_indexes(sg, io);
    return first < 0 ? first : err;
}
