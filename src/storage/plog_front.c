/*
 * What leaves a log at its front: DeleteRecords, retention by time and size, producers that
 * expired. UnifiedLog.maybeIncrementLogStartOffset, deleteOldSegments.
 *
 * Order on the disk: segments go oldest first; one that comes back after a power cut lies below the
 * log start, or is deleted again.
 */
#include "storage/plog.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog_impl.h"
#include "storage/plog_roll.h"
#include "storage/plog_snapshots.h"

/* Takes the first `count` segments out of the log; the caller unlinks and frees them outside the
 * lock. */
static struct segment **detach_front(struct plog *pl, size_t count)
{
    check(count < pl->segments_count);
    if (count == 0) {
        return NULL;
    }
    struct segment **gone = mem_array(count, sizeof(struct segment *));
    memcpy(gone, pl->segments, count * sizeof(struct segment *));
    pl->segments_count -= count;
    memmove(pl->segments, pl->segments + count, pl->segments_count * sizeof(struct segment *));
    int64_t base = pl->segments[0]->base_offset;
    pl->log_start = max_i64(pl->log_start, base);
    pl->high_watermark = max_i64(pl->high_watermark, pl->log_start);
    pl->flushed = max_i64(pl->flushed, pl->log_start);
    epoch_cache_truncate_start(&pl->epochs, pl->log_start);
    producer_state_replicated(&pl->producers, pl->log_start);
    pl->is_changed = true;
    return gone;
}

/* Under the log's lock, so that the directory has the name that it is looked for under: after it
 * was renamed another log may have the old one. */
static int remove_one(struct plog *pl,
                      struct segment *sg,
                      int (*remove)(struct segment *sg, const struct segment_io *io))
{
    lock_take(&pl->lock);
    struct segment_io io = plog_io(pl, false);
    int err = remove(sg, &io);
    lock_give(&pl->lock);
    return err;
}

static int remove_front(struct plog *pl, struct segment **gone, size_t count, int64_t base)
{
    bool has_txns = false;
    int first = 0;
    int64_t stale_base = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        int err = remove_one(pl, gone[i], segment_remove_log);
        stale_base = err < 0 ? min_i64(stale_base, gone[i]->base_offset) : stale_base;
        first = first < 0 ? first : err;
        has_txns = has_txns || gone[i]->txns.count > 0;
    }
    if (has_txns && first >= 0) {
        /* Batches that come back after a power cut must not come back without their aborted
         * transactions. */
        first = fs_sync_dir(pl->env->fs, plog_path(pl));
    }
    for (size_t i = 0; i < count; i++) {
        first = first < 0 ? first : remove_one(pl, gone[i], segment_remove_indexes);
        segment_free(gone[i], pl->env->fds);
    }
    mem_free(gone);
    if (count > 0) {
        lock_take(&pl->lock);
        plog_drop_snapshots_below(pl, base);
        pl->names_made++; /* the next checkpoint makes their absence stable */
        pl->stale_base = min_i64(pl->stale_base, stale_base);
        lock_give(&pl->lock);
    }
    trash_tell(pl->env->trash);
    return first;
}

/* A recovery begins at the first segment when the persisted point lies below it: then what is known
 * of producers and open transactions that began before must be in a stable snapshot at its base.
 * Without the lock: the first sync here is of a file that a roll has written and not synced. */
static int make_front_stable(struct plog *pl, int64_t base)
{
    struct log_path path;
    struct fs_file *file;
    log_path_of(&path, plog_path(pl), base, SNAPSHOT_SUFFIX);
    int err = fs_open(pl->env->fs, path.text, FS_WRITE, &file);
    if (err < 0) {
        return err;
    }
    err = fs_datasync(file);
    fs_file_unref(file);
    if (err >= 0) {
        err = fs_sync_dir(pl->env->fs, plog_path(pl));
    }
    if (err < 0) {
        plog_set_offline(pl); /* the next sync may be told less than the truth */
    }
    return err;
}

static bool wants_snapshot(const struct plog *pl, int64_t base)
{
    return pl->producers.map.count > 0 && pl->kept_point < base;
}

/* The last segment up to this one that the log may begin with. A roll on a full disk leaves no
 * snapshot: what lies before can go nevertheless, and the rest after the next checkpoint. */
static int64_t possible_base(const struct plog *pl, int64_t base)
{
    int64_t i = plog_segment_index(pl, base);
    while (i > 0 && wants_snapshot(pl, base) && !plog_has_snapshot(pl, base)) {
        base = pl->segments[--i]->base_offset;
    }
    return base;
}

/* Removes all segments below the one that begins at `base`, or as many of them as may go now.
 * Returns how many. */
static int drop_front(struct plog *pl, int64_t base)
{
    struct segment **gone = NULL;
    size_t count = 0;
    lock_take(&pl->lock);
    base = possible_base(pl, base);
    bool is_first = base <= pl->segments[0]->base_offset;
    bool must_be_stable = wants_snapshot(pl, base);
    lock_give(&pl->lock);
    if (is_first) {
        return 0;
    }
    int err = must_be_stable ? make_front_stable(pl, base) : 0;
    if (err < 0) {
        return err;
    }
    lock_take(&pl->lock);
    int64_t i = plog_segment_index(pl, base);
    if (i > 0 && pl->segments[i]->base_offset == base && !pl->is_offline) {
        count = to_size(i);
        gone = detach_front(pl, count);
    }
    lock_give(&pl->lock);
    int removed = remove_front(pl, gone, count, base);
    return removed < 0 ? removed : to_i32(to_i64(count));
}

int plog_advance_log_start(struct plog *pl, int64_t offset)
{
    int64_t base = -1;
    lock_take(&pl->lock);
    int err = pl->is_offline ? ERR_OFFLINE : offset > pl->high_watermark ? ERR_BAD_ARGUMENT : 0;
    if (err >= 0 && offset > pl->log_start) {
        pl->log_start = offset;
        pl->flushed = max_i64(pl->flushed, offset);
        epoch_cache_truncate_start(&pl->epochs, pl->log_start);
        base = pl->segments[to_size(max_i64(plog_segment_index(pl, offset), 0))]->base_offset;
        pl->is_changed = true;
    }
    lock_give(&pl->lock);
    if (err < 0 || base < 0) {
        return err;
    }
    err = drop_front(pl, base);
    return err < 0 ? err : 0;
}

/* 1, 0, or why that cannot be said: then the segment stays. */
static int is_expired(struct plog *pl, struct segment *sg, int64_t now_ms, int64_t *excess)
{
    if (sg->end_offset <= pl->log_start && sg != plog_active(pl)) {
        return 1;
    }
    if (!pl->config.is_delete_policy || sg->end_offset > pl->high_watermark) {
        return 0;
    }
    if (pl->config.retention_ms >= 0) {
        int64_t largest;
        struct segment_io io = plog_io(pl, false);
        int err = segment_largest_timestamp(sg, &io, &largest);
        if (err < 0) {
            return err;
        }
        if (now_ms - largest > pl->config.retention_ms) {
            *excess -= sg->size;
            return 1;
        }
    }
    if (pl->config.retention_bytes >= 0 && *excess - sg->size >= 0) {
        *excess -= sg->size;
        return 1;
    }
    return 0;
}

/* How many segments at the front have expired. When it is all of them an empty one is made behind.
 */
static int count_expired(struct plog *pl, int64_t now_ms, size_t *ret)
{
    int64_t excess = -max_i64(pl->config.retention_bytes, 0);
    *ret = 0;
    for (size_t i = 0; i < pl->segments_count; i++) {
        excess += pl->segments[i]->size;
    }
    while (*ret < pl->segments_count) {
        struct segment *sg = pl->segments[*ret];
        int r = is_expired(pl, sg, now_ms, &excess);
        if (r <= 0) {
            return r;
        }
        if (sg == plog_active(pl)) {
            if (sg->size == 0 || pl->staged_count > 0 || pl->write_error < 0) {
                return 0;
            }
            r = plog_roll_locked(pl);
            if (r < 0) {
                return r;
            }
            ++*ret;
            return 0;
        }
        ++*ret;
    }
    return 0;
}

/* At looks of their own, not whenever retention is applied: a producer whose records are older than
 * the expiration (somebody copies history) is still known when it repeats a batch a moment later.
 */
static void expire_producers(struct plog *pl, int64_t now_ms)
{
    int64_t mono_ms = clock_mono_ms(pl->env->clock);
    if (mono_ms < pl->producers_look_ms || pl->staged_count > 0) {
        return;
    }
    int64_t late_ms = mono_ms - pl->producers_look_ms;
    int64_t check_ms = max_i64(pl->config.producer_id_check_ms, 1);
    pl->producers_look_ms = mono_ms + check_ms - late_ms % check_ms;
    if (pl->config.producer_id_expiration_ms > 0) {
        IGNORE(producer_state_expire(&pl->producers, now_ms, pl->config.producer_id_expiration_ms));
    }
}

int plog_apply_retention(struct plog *pl, int64_t now_ms)
{
    size_t count = 0;
    int64_t base = -1;
    lock_take(&pl->lock);
    int err = pl->is_offline ? ERR_OFFLINE : 0;
    if (err >= 0) {
        expire_producers(pl, now_ms);
        err = count_expired(pl, now_ms, &count);
    }
    if (count > 0) {
        base = pl->segments[count]->base_offset;
    }
    lock_give(&pl->lock);
    int removed = base < 0 ? 0 : drop_front(pl, base);
    return err < 0 ? err : removed;
}

static int64_t add_or_never(int64_t at_ms, int64_t wait_ms)
{
    return wait_ms > INT64_MAX - 1 - max_i64(at_ms, 0) ? INT64_MAX : at_ms + wait_ms + 1;
}

/* Of the oldest segment: the others are not younger in effect, since segments go from the front. */
static int64_t first_segment_expiry(struct plog *pl)
{
    struct segment *sg = pl->segments[0];
    int64_t largest;
    int64_t excess = -max_i64(pl->config.retention_bytes, 0);
    if (!pl->config.is_delete_policy || sg->size == 0) {
        return INT64_MAX;
    }
    for (size_t i = 0; i < pl->segments_count; i++) {
        excess += pl->segments[i]->size;
    }
    if (pl->config.retention_bytes >= 0 && excess >= sg->size) {
        return 0;
    }
    if (pl->config.retention_ms < 0) {
        return INT64_MAX;
    }
    struct segment_io io = plog_io(pl, false);
    return segment_largest_timestamp(sg, &io, &largest) < 0
               ? 0
               : add_or_never(largest, pl->config.retention_ms);
}

int64_t plog_next_expiry(struct plog *pl)
{
    int64_t at_ms = INT64_MAX;
    lock_take(&pl->lock);
    if (!pl->is_offline) {
        at_ms = first_segment_expiry(pl);
        int64_t oldest = producer_state_oldest(&pl->producers);
        if (oldest != INT64_MAX && pl->config.producer_id_expiration_ms > 0) {
            struct clock *clock = pl->env->clock;
            int64_t look_ms = clock_now_ms(clock) + pl->producers_look_ms - clock_mono_ms(clock);
            int64_t expiry_ms = add_or_never(oldest, pl->config.producer_id_expiration_ms);
            at_ms = min_i64(at_ms, max_i64(expiry_ms, look_ms));
        }
    }
    lock_give(&pl->lock);
    return at_ms;
}
