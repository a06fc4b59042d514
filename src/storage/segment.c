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

void segment_index_batch(struct segment *sg,
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
    segment_index_batch(sg, io, position, to_i64(size), last_offset, max_timestamp);
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

bool segment_has_loose_indexes(const struct segment *sg)
{
    return sg->offsets.is_longer || sg->offsets.is_unsynced || sg->times.is_longer ||
           sg->times.is_unsynced || sg->txns.is_unsynced;
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

/* --- removal --------------------------------------------------------------------------------- */

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
