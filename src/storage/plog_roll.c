/*
 * Segments come and go: rolling, cutting the end off, dropping the front. LocalLog and UnifiedLog.
 *
 * Order on the disk. A new segment's name and the bytes of the one before are part of the next
 * flush. Segments that leave at the end go newest first and the directory is synced before the log
 * takes anything new at those offsets: otherwise a power cut could bring an old segment back behind
 * new batches. Segments that leave at the front go oldest first; one that comes back after a power
 * cut lies below the log start, or is deleted again.
 */
#include "storage/plog.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog_impl.h"

void plog_insert_segment(struct plog *pl, struct segment *sg)
{
    pl->segments =
        mem_grow(pl->segments, &pl->segments_cap, pl->segments_count + 1, sizeof(struct segment *));
    pl->segments[pl->segments_count++] = sg;
}

/* A jitter of this log's own, the same after each restart. */
static int64_t jitter_ms(const struct plog *pl)
{
    if (pl->config.segment_jitter_ms <= 0) {
        return 0;
    }
    uint64_t h = hash_str(pl->topic, (uint64_t)pl->partition);
    return (int64_t)(h % (uint64_t)min_i64(pl->config.segment_jitter_ms, pl->config.segment_ms));
}

static bool
is_old_enough(struct plog *pl, struct segment *sg, const struct batch *b, int64_t now_ms)
{
    struct segment_io io = plog_io(pl, false);
    if (segment_load_first_timestamp(sg, &io) < 0) {
        return false;
    }
    int64_t first = sg->first_timestamp;
    if (sg->size == 0 && pl->staged_count > 0) {
        first = pl->staged[0].max_timestamp;
    }
    int64_t waited = first >= 0 ? b->max_timestamp - first : now_ms - sg->created_ms;
    return waited > pl->config.segment_ms - jitter_ms(pl);
}

/* LogSegment.shouldRoll. */
bool plog_should_roll(struct plog *pl, const struct batch *b, int64_t now_ms)
{
    struct segment *sg = plog_active(pl);
    int64_t size = sg->size + pl->staged_bytes;
    if (size == 0) {
        return false;
    }
    if (size > pl->config.segment_bytes - to_i64(b->size) ||
        batch_last_offset(b) - sg->base_offset > INT32_MAX || size > INT32_MAX - to_i64(b->size)) {
        return true;
    }
    int64_t index_bytes = pl->config.segment_index_bytes;
    if (sparse_index_count(&sg->offsets) >= index_bytes / OFFSET_ENTRY_BYTES ||
        sparse_index_count(&sg->times) >= index_bytes / TIME_ENTRY_BYTES - 1) {
        return true;
    }
    return is_old_enough(pl, sg, b, now_ms);
}

bool plog_would_roll(struct plog *pl, const struct batch *b, int64_t now_ms)
{
    lock_take(&pl->lock);
    bool rolls = plog_should_roll(pl, b, now_ms);
    lock_give(&pl->lock);
    return rolls;
}

/* Takes preallocated space back. */
static int trim_file(struct plog *pl, struct segment *sg)
{
    struct segment_io io = plog_io(pl, false);
    struct fs_file *file;
    if (!sg->is_preallocated) {
        return 0;
    }
    int err = segment_file(sg, &io, false, &file);
    if (err >= 0) {
        err = fs_truncate(file, sg->size);
        fs_file_unref(file);
    }
    if (err >= 0) {
        sg->is_preallocated = false;
    }
    return err;
}

int plog_close_segment(struct plog *pl, struct segment *sg)
{
    struct segment_io io = plog_io(pl, false);
    int err = trim_file(pl, sg);
    if (err >= 0 && sg->has_file) {
        err = segment_load_times(sg, &io);
    }
    return err < 0 || !sg->has_file ? err : segment_close_indexes(sg, &io);
}

int plog_roll_locked(struct plog *pl)
{
    struct segment *old = plog_active(pl);
    check(pl->staged_count == 0);
    if (old->size == 0 && old->base_offset == pl->log_end) {
        return 0;
    }
    int err = plog_close_segment(pl, old);
    if (err < 0) {
        return err;
    }
    struct segment *sg = segment_new(pl->log_end, clock_now_ms(pl->env->clock));
    struct segment_io io = plog_io(pl, false);
    struct fs_file *file;
    err = segment_file(sg, &io, true, &file);
    if (err < 0) {
        segment_free(sg, pl->env->fds);
        return err;
    }
    pl->names_made++;
    if (pl->config.preallocate && fs_allocate(file, pl->config.segment_bytes) >= 0) {
        sg->is_preallocated = true;
    }
    fs_file_unref(file);
    sg->is_time_known = true;
    plog_insert_segment(pl, sg);
    pl->is_changed = true;
    /* A snapshot spares a replay; a failure to write it costs nothing else. One that a checkpoint
     * has made stable must not be replaced by one that is not, nor stand in for one after the log
     * was cut. */
    if (!plog_has_snapshot(pl, pl->log_end) && pl->log_end > pl->told_point) {
        IGNORE(plog_save_snapshot(pl, pl->log_end, false));
    }
    return 0;
}

/* --- the front -------------------------------------------------------------------------------- */

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

/* Snapshots below the first segment tell nothing any more, but for the newest ones. */
static size_t detach_snapshots(struct plog *pl, int64_t below, int64_t **ret)
{
    size_t count = 0;
    while (count + PLOG_SNAPSHOTS_KEEP < pl->snapshots_count && pl->snapshots[count] < below &&
           !plog_is_snapshot_needed(pl, count)) {
        count++;
    }
    *ret = NULL;
    if (count > 0) {
        *ret = mem_array(count, sizeof(int64_t));
        memcpy(*ret, pl->snapshots, count * sizeof(int64_t));
        pl->snapshots_count -= count;
        memmove(pl->snapshots, pl->snapshots + count, pl->snapshots_count * sizeof(int64_t));
    }
    return count;
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

static void remove_snapshot(struct plog *pl, int64_t offset)
{
    struct log_path path;
    lock_take(&pl->lock);
    log_path_of(&path, plog_path(pl), offset, SNAPSHOT_SUFFIX);
    /* A stale one is ignored when the log is opened. */
    IGNORE(trash_put(pl->env->trash, pl->env->fs, path.text, pl->config.file_delete_delay_ms));
    lock_give(&pl->lock);
}

static int remove_front(struct plog *pl,
                        struct segment **gone,
                        size_t count,
                        int64_t *snapshots,
                        size_t snapshots_count)
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
    for (size_t i = 0; i < snapshots_count; i++) {
        remove_snapshot(pl, snapshots[i]);
    }
    mem_free(gone);
    mem_free(snapshots);
    if (count > 0) {
        lock_take(&pl->lock);
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

/* Removes all segments below the one that begins at `base`. Returns how many. */
static int drop_front(struct plog *pl, int64_t base)
{
    int64_t *snapshots = NULL;
    size_t snapshots_count = 0;
    struct segment **gone = NULL;
    size_t count = 0;
    lock_take(&pl->lock);
    bool wants_snapshot = pl->producers.map.count > 0 && pl->kept_point < base;
    lock_give(&pl->lock);
    int err = wants_snapshot ? make_front_stable(pl, base) : 0;
    if (err < 0) {
        return err;
    }
    lock_take(&pl->lock);
    int64_t i = plog_segment_index(pl, base);
    if (i > 0 && pl->segments[i]->base_offset == base && !pl->is_offline) {
        count = to_size(i);
        gone = detach_front(pl, count);
        snapshots_count = detach_snapshots(pl, base, &snapshots);
    }
    lock_give(&pl->lock);
    int removed = remove_front(pl, gone, count, snapshots, snapshots_count);
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

int plog_largest_timestamp(struct plog *pl, struct segment *sg, int64_t *ret)
{
    struct segment_io io = plog_io(pl, false);
    struct log_path path;
    struct fs_stat st;
    int err = sg->has_file ? segment_load_times(sg, &io) : 0;
    if (err < 0) {
        return err;
    }
    *ret = sg->max_timestamp;
    if (sg->max_timestamp < 0) {
        log_path_of(&path, io.dir, sg->base_offset, LOG_SUFFIX);
        err = fs_stat(io.fs, path.text, &st);
        *ret = err >= 0 ? st.mtime_ms : sg->created_ms;
    }
    return err == -ENOENT ? 0 : err;
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
        int err = plog_largest_timestamp(pl, sg, &largest);
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

int plog_apply_retention(struct plog *pl, int64_t now_ms)
{
    size_t count = 0;
    int64_t base = -1;
    lock_take(&pl->lock);
    int err = pl->is_offline ? ERR_OFFLINE : 0;
    if (err >= 0 && pl->staged_count == 0 && pl->config.producer_id_expiration_ms > 0) {
        IGNORE(producer_state_expire(&pl->producers, now_ms, pl->config.producer_id_expiration_ms));
    }
    if (err >= 0) {
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
    return plog_largest_timestamp(pl, sg, &largest) < 0
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
            at_ms = min_i64(at_ms, add_or_never(oldest, pl->config.producer_id_expiration_ms));
        }
    }
    lock_give(&pl->lock);
    return at_ms;
}

/* --- the end ---------------------------------------------------------------------------------- */

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
    int err = pl->is_offline ? ERR_OFFLINE : plog_write_locked(pl);
    if (err >= 0 && offset < pl->log_start) {
        err = ERR_BAD_ARGUMENT;
    }
    if (err >= 0 && offset < pl->log_end) {
        err = truncate_locked(pl, offset);
        if (err < 0) {
            pl->is_offline = true; /* half cut: nothing of it is to be believed before a recovery */
        }
    }
    lock_give(&pl->lock);
    trash_tell(pl->env->trash);
    return err;
}

int plog_reset_to(struct plog *pl, int64_t offset)
{
    lock_take(&pl->lock);
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
            pl->is_offline = true;
        }
    }
    lock_give(&pl->lock);
    trash_tell(pl->env->trash);
    return err;
}
