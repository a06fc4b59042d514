/*
 * What is known of a segment beside its bytes, made anew from them, or cut with them: index
 * entries, timestamps, aborted transactions. What a file says is believed after a look at the batch
 * that it names; where it leads astray both indexes are made anew.
 */
#include "storage/segment.h"

#include "base/base.h"
#include "base/err.h"

/* --- indexes ---------------------------------------------------------------------------------- */

struct rebuild {
    struct segment *sg;
    const struct segment_io *io;
};

static int rebuild_one(void *ctx, const struct batch *b, int64_t position)
{
    struct rebuild *rb = ctx;
    segment_index_batch(rb->sg, rb->io, position, to_i64(b->size), batch_last_offset(b),
                        b->max_timestamp);
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

int segment_largest_timestamp(struct segment *sg, const struct segment_io *io, int64_t *ret)
{
    struct log_path path;
    struct fs_stat st;
    int err = sg->has_file ? segment_load_times(sg, io) : 0;
    if (err < 0) {
        return err;
    }
    *ret = sg->max_timestamp;
    if (sg->max_timestamp < 0) {
        log_path_of(&path, io->dir, sg->base_offset, LOG_SUFFIX);
        err = fs_stat(io->fs, path.text, &st);
        *ret = err >= 0 ? st.mtime_ms : sg->created_ms;
    }
    return err == -ENOENT ? 0 : err;
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
