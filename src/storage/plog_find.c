/*
 * Finding by time and by epoch: ListOffsets and OffsetForLeaderEpoch.
 * UnifiedLog.fetchOffsetByTimestamp, LogSegment.findOffsetByTimestamp.
 *
 * The segment, and in it the batch, are found under the lock by indexes and headers; the batch's
 * records are then read and inflated outside of it, from the file by reference.
 */
#include "storage/plog.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog_impl.h"

/* A batch found under the lock. */
struct found {
    struct fs_file *file; /* a reference; NULL: none */
    struct batch b;
    int64_t position;
    int64_t log_start;
    int64_t inflated_max;
};

static int
take_found(struct plog *pl, struct segment *sg, const struct segment_io *io, struct found *f)
{
    f->log_start = pl->log_start;
    f->inflated_max = pl->config.rules.max_decompressed_bytes > 0
                          ? pl->config.rules.max_decompressed_bytes
                          : INT32_MAX;
    return segment_file(sg, io, false, &f->file);
}

/* 1: the record is the one. */
typedef bool (*record_test)(const struct found *f,
                            int64_t timestamp,
                            int64_t offset,
                            int64_t wanted);

static int
search_records(struct found *f, int64_t wanted, record_test test, struct plog_position *ret)
{
    struct batch b;
    uint8_t *bytes = mem_try_alloc(f->b.size);
    if (bytes == NULL) {
        return ERR_NO_MEMORY;
    }
    struct record_iter it;
    ssize_t got = fs_pread(f->file, bytes, f->b.size, f->position);
    int r = got < 0 ? (int)got : batch_peek(bytes, (size_t)got, &b);
    if (r >= 0) {
        r = record_iter_init(&it, &b, f->inflated_max);
    }
    if (r >= 0) {
        struct record rec;
        while ((r = record_iter_next(&it, &rec)) == 1) {
            int64_t timestamp =
                (b.attributes & BATCH_LOG_APPEND_TIME) != 0 ? b.max_timestamp : rec.timestamp;
            if (test(f, timestamp, rec.offset, wanted)) {
                *ret = (struct plog_position){
                    .offset = rec.offset,
                    .timestamp = timestamp,
                    .leader_epoch = b.leader_epoch >= 0 ? b.leader_epoch : -1,
                };
                break;
            }
        }
        record_iter_release(&it);
    }
    mem_free(bytes);
    return r;
}

static bool is_at_or_after(const struct found *f, int64_t timestamp, int64_t offset, int64_t wanted)
{
    return timestamp >= wanted && offset >= f->log_start;
}

static bool is_exactly(const struct found *f, int64_t timestamp, int64_t offset, int64_t wanted)
{
    (void)f;
    (void)offset;
    return timestamp == wanted;
}

/* Where to begin in the first segment that reaches the time. */
static int first_position(struct segment *sg,
                          const struct segment_io *io,
                          int64_t timestamp,
                          int64_t log_start,
                          int64_t *ret)
{
    struct log_path path;
    struct time_entry entry;
    struct batch b;
    *ret = 0;
    log_path_of(&path, io->dir, sg->base_offset, TIME_INDEX_SUFFIX);
    int n = sparse_index_find_time(&sg->times, io->fs, path.text, timestamp, &entry);
    if (n < 0) {
        return n;
    }
    int64_t offset =
        max_i64(n > 0 ? sg->base_offset + entry.relative_offset : sg->base_offset, log_start);
    if (offset <= sg->base_offset) {
        return 0;
    }
    int r = segment_locate(sg, io, offset, 0, &b, ret);
    if (r != 1) {
        *ret = 0; /* an entry that names nothing: the whole segment is looked through */
    }
    return r == ERR_CORRUPT ? 0 : r < 0 ? r : 0;
}

/* The next batch that may hold the time, from `*position` of the segment `*base` on; -1: from the
 * start. */
static int next_candidate(struct plog *pl,
                          int64_t timestamp,
                          int64_t *base,
                          int64_t *position,
                          struct found *f)
{
    int r = 0;
    lock_take(&pl->lock);
    struct segment_io io = plog_io(pl, false);
    if (pl->is_offline) {
        r = ERR_OFFLINE;
    }
    for (size_t i = 0; i < pl->segments_count && r == 0; i++) {
        struct segment *sg = pl->segments[i];
        int64_t largest = timestamp;
        if (*base < 0) {
            r = segment_largest_timestamp(sg, &io, &largest);
            if (r < 0) {
                break;
            }
        }
        if (*base >= 0 ? sg->base_offset != *base : largest < timestamp) {
            continue;
        }
        if (sg->size == 0) {
            break;
        }
        if (*base < 0) {
            *base = sg->base_offset;
            r = first_position(sg, &io, timestamp, pl->log_start, position);
        }
        if (r >= 0) {
            r = segment_find_time(sg, &io, *position, timestamp, pl->log_start, &f->b,
                                  &f->position);
        }
        if (r == 1) {
            *position = f->position + to_i64(f->b.size);
            int err = take_found(pl, sg, &io, f);
            r = err < 0 ? err : 1;
        }
        break; /* Kafka looks into one segment only */
    }
    lock_give(&pl->lock);
    return r;
}

static const struct plog_position nowhere = {.offset = -1, .timestamp = -1, .leader_epoch = -1};

int plog_find_by_time(struct plog *pl, int64_t timestamp, struct plog_position *ret)
{
    int64_t base = -1;
    int64_t position = 0;
    for (;;) {
        struct found f = {0};
        *ret = nowhere;
        int r = next_candidate(pl, timestamp, &base, &position, &f);
        if (r != 1) {
            return r;
        }
        r = search_records(&f, timestamp, is_at_or_after, ret);
        fs_file_unref(f.file);
        if (r != 0) {
            return r < 0 ? r : 0;
        }
    }
}

static int find_max_batch(struct plog *pl, struct found *f)
{
    struct segment *best = NULL;
    struct segment_io io = plog_io(pl, false);
    if (pl->is_offline) {
        return ERR_OFFLINE;
    }
    for (size_t i = 0; i < pl->segments_count; i++) {
        struct segment *sg = pl->segments[i];
        int err = segment_load_times(sg, &io);
        if (err < 0) {
            return err;
        }
        if (sg->size > 0 && (best == NULL || sg->max_timestamp > best->max_timestamp)) {
            best = sg;
        }
    }
    if (best == NULL || best->max_timestamp < 0) {
        return 0;
    }
    int64_t position;
    int r = segment_locate(best, &io, best->max_timestamp_offset, 0, &f->b, &position);
    if (r == 1) {
        r = segment_find_time(best, &io, position, best->max_timestamp, 0, &f->b, &f->position);
    }
    if (r == 1) {
        int err = take_found(pl, best, &io, f);
        return err < 0 ? err : 1;
    }
    return r;
}

int plog_find_max_timestamp(struct plog *pl, struct plog_position *ret)
{
    struct found f = {0};
    *ret = nowhere;
    lock_take(&pl->lock);
    int r = find_max_batch(pl, &f);
    lock_give(&pl->lock);
    if (r != 1) {
        return r;
    }
    r = search_records(&f, f.b.max_timestamp, is_exactly, ret);
    fs_file_unref(f.file);
    return r < 0 ? r : 0;
}

int32_t plog_epoch_of(struct plog *pl, int64_t offset)
{
    lock_take(&pl->lock);
    int32_t epoch = epoch_cache_of(&pl->epochs, offset);
    lock_give(&pl->lock);
    return epoch;
}

int32_t plog_latest_epoch(struct plog *pl)
{
    lock_take(&pl->lock);
    int32_t epoch = epoch_cache_latest(&pl->epochs);
    lock_give(&pl->lock);
    return epoch;
}

void plog_end_of_epoch(struct plog *pl, int32_t epoch, int32_t *ret_epoch, int64_t *ret_end_offset)
{
    lock_take(&pl->lock);
    epoch_cache_end_of(&pl->epochs, epoch, pl->log_end, ret_epoch, ret_end_offset);
    lock_give(&pl->lock);
}
