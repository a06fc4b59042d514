/*
 * New segments: when the active one is full or old (LogSegment.shouldRoll), how it closes, and the
 * next one. LocalLog.roll. On the disk the new name and the bytes of the segment before are part of
 * the next flush.
 */
#include "storage/plog_roll.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog.h"
#include "storage/plog_impl.h"
#include "storage/plog_snapshots.h"

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
     * was cut; and two at once would take each other's temporary file. */
    if (!plog_has_snapshot(pl, pl->log_end) && pl->log_end > pl->told_point &&
        pl->log_end != pl->placing_snapshot) {
        IGNORE(plog_save_snapshot(pl, pl->log_end, false));
    }
    return 0;
}
