/*
 * What leaves a log at its end: truncation, and the reset that empties it. UnifiedLog.truncateTo,
 * truncateFullyAndStartAt.
 *
 * Order on the disk: segments go newest first and the directory is synced before the log takes
 * anything new at those offsets: otherwise a power cut could bring an old segment back behind new
 * batches.
 */
#include "storage/plog.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog_impl.h"
#include "storage/plog_roll.h"
#include "storage/plog_snapshots.h"

/* Removes the segments from index `from` on, newest first. */
static int remove_end(struct plog *pl, size_t from)
{
    struct segment_io io = plog_io(pl, false);
    int first = 0;
    while (pl->segments_count > from) {
        struct segment *sg = pl->segments[--pl->segments_count];
        int err = segment_remove(sg, &io);
        first = first < 0 ? first : err;
        segment_free(sg, pl->env->fds);
    }
    return first;
}

/* Where the log really ends when it shall end at `offset`: between two batches. */
static int find_cut(struct plog *pl, struct segment *sg, int64_t *offset, int64_t *ret_position)
{
    struct segment_io io = plog_io(pl, false);
    struct batch b;
    if (*offset <= sg->base_offset) {
        *ret_position = 0;
        return 0;
    }
    int r = segment_locate(sg, &io, *offset, 0, &b, ret_position);
    if (r == ERR_CORRUPT) {
        const struct hole *h = segment_hole_of(sg, *offset);
        check(h != NULL);
        *ret_position = h->from;
        *offset = h->offset_from;
        return 0;
    }
    if (r == 0) {
        *ret_position = sg->size;
    } else if (r == 1) {
        *offset = min_i64(*offset, b.base_offset);
    }
    return r < 0 ? r : 0;
}

static int cut_segment(struct plog *pl, struct segment *sg, int64_t position, int64_t offset)
{
    struct segment_io io = plog_io(pl, false);
    struct fs_file *file;
    if (!sg->has_file) {
        return 0;
    }
    int err = segment_file(sg, &io, false, &file);
    if (err < 0) {
        return err;
    }
    err = fs_truncate(file, position);
    sg->is_preallocated = false;
    if (err >= 0) {
        err = fs_datasync(file);
    }
    fs_file_unref(file);
    if (err >= 0) {
        err = segment_truncate_known(sg, &io, position, offset);
    }
    return err < 0 ? err : segment_trim_indexes(sg, &io);
}

static void set_end(struct plog *pl, int64_t offset)
{
    pl->log_end = offset;
    pl->written = offset;
    pl->flushed = min_i64(pl->flushed, offset);
    pl->high_watermark = min_i64(pl->high_watermark, offset);
    pl->recovery_point = min_i64(pl->recovery_point, offset);
    pl->kept_point = min_i64(pl->kept_point, offset);
    pl->incarnation++;
    memset(pl->marks, 0, sizeof(pl->marks));
    pl->is_changed = true;
}

static int truncate_locked(struct plog *pl, int64_t offset)
{
    size_t keep = to_size(max_i64(plog_segment_index(pl, offset), 0)) + 1;
    int64_t position;
    int err = find_cut(pl, pl->segments[keep - 1], &offset, &position);
    if (err >= 0) {
        err = plog_drop_snapshots_from(pl, offset);
    }
    if (err >= 0) {
        /* Without them a recovery in between scans what is about to change, whatever its recovery
         * point. */
        err = fs_sync_dir(pl->env->fs, plog_path(pl));
    }
    if (err >= 0) {
        err = remove_end(pl, keep);
    }
    if (err >= 0) {
        err = fs_sync_dir(pl->env->fs, plog_path(pl));
    }
    if (err >= 0) {
        err = cut_segment(pl, plog_active(pl), position, offset);
    }
    if (err >= 0) {
        set_end(pl, offset);
        epoch_cache_truncate_end(&pl->epochs, offset);
        err = plog_rebuild_producers(pl);
    }
    return err;
}

int plog_truncate_to(struct plog *pl, int64_t offset)
{
    lock_take(&pl->lock);
    plog_settle_locked(pl);
    int err = pl->is_offline ? ERR_OFFLINE : plog_write_locked(pl);
    if (err >= 0 && offset < pl->log_start) {
        err = ERR_BAD_ARGUMENT;
    }
    if (err >= 0 && offset < pl->log_end) {
        err = truncate_locked(pl, offset);
        if (err < 0) {
            /* Half cut: nothing of it is to be believed before a recovery. */
            plog_go_offline_locked(pl, err);
        }
    }
    lock_give(&pl->lock);
    trash_tell(pl->env->trash);
    return err;
}

int plog_reset_to(struct plog *pl, int64_t offset)
{
    lock_take(&pl->lock);
    plog_settle_locked(pl);
    int err = pl->is_offline ? ERR_OFFLINE : plog_write_locked(pl);
    if (err >= 0) {
        err = plog_drop_snapshots_from(pl, -1);
        if (err >= 0) {
            err = fs_sync_dir(pl->env->fs, plog_path(pl));
        }
        if (err >= 0) {
            err = remove_end(pl, 0);
        }
        if (err >= 0) {
            err = fs_sync_dir(pl->env->fs, plog_path(pl));
        }
        plog_insert_segment(pl, segment_new(offset, clock_now_ms(pl->env->clock)));
        plog_active(pl)->is_time_known = true;
        set_end(pl, offset);
        pl->log_start = offset;
        pl->flushed = offset;
        pl->high_watermark = offset;
        pl->unflushed_bytes = 0;
        epoch_cache_truncate_end(&pl->epochs, 0);
        producer_state_clear(&pl->producers);
        if (err < 0) {
            plog_go_offline_locked(pl, err);
        }
    }
    lock_give(&pl->lock);
    trash_tell(pl->env->trash);
    return err;
}
