/*
 * Finding out what of a log is there, and what of it is good. LogLoader and LogSegment.recover.
 *
 * After a clean stop nothing is scanned: the last few batches (behind the last index entry) give
 * the log end, and a snapshot at that offset gives the producers. Anything that does not fit leads
 * to the long way.
 *
 * The long way begins at X, the newest producer snapshot at or below the recovery point; all below
 * is known to be on stable storage, with its index entries, aborted transactions and epochs. From X
 * on each batch has its CRC checked, and indexes, epochs, producers and aborted transactions are
 * made anew.
 *
 * Where a check fails recovery_damage.c decides: a hole, or a torn tail. Of segments that are not
 * scanned the last entries of the index are held against the file's size: what is gone from the end
 * of one is a hole without bytes.
 *
 * Everything that recovery removes (a tail, segments, snapshots beyond the end) is gone for good
 * before the log takes an append: bytes or snapshots that came back after the next power cut would
 * be believed.
 */
#include "storage/recovery.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/leftovers.h"
#include "storage/plog.h"
#include "storage/plog_impl.h"
#include "storage/plog_roll.h"
#include "storage/plog_snapshots.h"
#include "storage/recovery_impl.h"

enum {
    SCAN_BUFFER_MAX = 1 << 18, /* less for a small log: there may be thousands of them */
    SCAN_BUFFER_MIN = 1 << 13,
    TAIL_BUFFER_BYTES = 8192,
};

/* --- segments --------------------------------------------------------------------------------- */

static int add_segments(struct recovery *rc, const struct log_listing *ll)
{
    struct plog *pl = rc->pl;
    int64_t now_ms = clock_now_ms(pl->env->clock);
    for (size_t i = 0; i < ll->segments_count; i++) {
        const struct segment_files *files = &ll->segments[i];
        struct segment *sg = segment_new(files->base_offset, now_ms);
        struct segment_io io = plog_io(pl, false);
        struct log_path path;
        struct fs_stat st;
        if ((files->files & SIDE_LOG) == 0) {
            /* Index files of a segment that is gone: Kafka does not keep them either. */
            io.trash = NULL;
            int err = segment_remove(sg, &io);
            segment_free(sg, pl->env->fds);
            rc->has_changed_names = true;
            if (err < 0) {
                return err;
            }
            continue;
        }
        plog_insert_segment(pl, sg);
        log_path_of(&path, pl->path, sg->base_offset, LOG_SUFFIX);
        int err = fs_stat(pl->env->fs, path.text, &st);
        if (err < 0) {
            return err;
        }
        sg->has_file = true;
        sg->size = st.size;
        sg->appended_from = st.size;
        sg->end_offset = INT64_MAX;
        if (pl->segments_count > 1) {
            pl->segments[pl->segments_count - 2]->end_offset = sg->base_offset;
        }
    }
    return 0;
}

/* Aborted transactions of all segments. *ret_bad: base of the first one whose file cannot be right.
 */
static int load_txns(struct recovery *rc, const struct log_listing *ll, int64_t *ret_bad)
{
    struct plog *pl = rc->pl;
    *ret_bad = INT64_MAX;
    for (size_t i = 0, k = 0; i < pl->segments_count; i++) {
        struct segment *sg = pl->segments[i];
        struct log_path path;
        while (k < ll->segments_count && ll->segments[k].base_offset < sg->base_offset) {
            k++;
        }
        if (k == ll->segments_count || (ll->segments[k].files & SIDE_TXN_INDEX) == 0) {
            continue;
        }
        log_path_of(&path, pl->path, sg->base_offset, TXN_INDEX_SUFFIX);
        int err = txn_index_load(&sg->txns, pl->env->fs, path.text, sg->base_offset);
        if (err == ERR_MALFORMED) {
            *ret_bad = min_i64(*ret_bad, sg->base_offset);
            rc->report->rebuilt_index = true;
            err =
                0; /* it goes when the segment is scanned, not before it is sure that it will be */
        }
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

/* After a kill: a file that is torn behind the recovery point sends nobody back below it. */
static int keep_good_txns(struct recovery *rc, int64_t *bad)
{
    struct plog *pl = rc->pl;
    int64_t point = rc->how->recovery_point;
    *bad = INT64_MAX;
    for (size_t i = 0; i < pl->segments_count; i++) {
        struct segment *sg = pl->segments[i];
        bool is_kept = !sg->txns.is_bad || sg->base_offset >= point;
        if (!is_kept) {
            int err = plog_keep_good_txns(pl, sg, point, &is_kept);
            if (err < 0) {
                return err;
            }
        }
        if (!is_kept) {
            *bad = min_i64(*bad, sg->base_offset);
        }
    }
    return 0;
}

static bool has_both_indexes(const struct log_listing *ll, int64_t base_offset)
{
    unsigned both = SIDE_INDEX | SIDE_TIME_INDEX;
    for (size_t i = ll->segments_count; i > 0; i--) {
        if (ll->segments[i - 1].base_offset == base_offset) {
            return (ll->segments[i - 1].files & both) == both;
        }
    }
    return false;
}

/* What is below the recovery point is not looked at again: it must be stable. */
static int sync_indexes(struct segment *sg, const struct segment_io *io)
{
    struct fs_file *files[SEGMENT_INDEXES];
    size_t count = 0;
    int err = segment_flush_indexes(sg, io, files, &count);
    for (size_t i = 0; i < count; i++) {
        if (err >= 0) {
            err = fs_datasync(files[i]);
        }
        fs_file_unref(files[i]);
    }
    return err < 0 ? err : fs_sync_dir(io->fs, io->dir);
}

/* Segments that lost an index file which they must have had. */
static int rebuild_missing_indexes(struct recovery *rc, const struct log_listing *ll, int64_t below)
{
    struct plog *pl = rc->pl;
    struct segment_io io = plog_io(pl, false);
    for (size_t i = 0; i < pl->segments_count; i++) {
        struct segment *sg = pl->segments[i];
        if (sg->base_offset >= below || sg->size == 0 || has_both_indexes(ll, sg->base_offset)) {
            continue;
        }
        rc->report->rebuilt_index = true;
        pl->is_changed = true;
        int err = segment_rebuild_indexes(sg, &io);
        if (err >= 0 && sg != plog_active(pl)) {
            err = segment_close_indexes(sg, &io);
        }
        if (err >= 0) {
            err = sync_indexes(sg, &io);
        }
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

/* Of the segments below this one, which no scan looks at. */
static int find_losses(struct recovery *rc, size_t below)
{
    struct plog *pl = rc->pl;
    struct segment_io io = plog_io(pl, false);
    int holes = 0;
    for (size_t i = 0; i < below && i + 1 < pl->segments_count && holes >= 0; i++) {
        holes = segment_find_loss(pl->segments[i], &io);
        rc->report->holes += max_i64(holes, 0);
    }
    return holes < 0 ? holes : 0;
}

/* --- the long way ----------------------------------------------------------------------------- */

static int
note_batch(struct recovery *rc, struct segment *sg, const struct batch *b, int64_t position)
{
    struct plog *pl = rc->pl;
    struct segment_io io = plog_io(pl, false);
    struct txn_marker marker;
    struct completed_txn completed = {0};
    bool is_marker = batch_is_control(b);
    segment_appended(sg, &io, position, b->size, batch_last_offset(b), b->max_timestamp);
    sg->size = position + to_i64(b->size);
    rc->next_offset = batch_last_offset(b) + 1;
    rc->report->scanned_bytes += to_i64(b->size);
    if (b->leader_epoch > epoch_cache_latest(&pl->epochs)) {
        IGNORE(epoch_cache_assign(&pl->epochs, b->leader_epoch, b->base_offset));
    }
    if (b->base_offset < rc->state_offset || b->producer_id < 0 ||
        (is_marker && (b->bytes == NULL || txn_marker_read(b, &marker) < 0))) {
        return 0;
    }
    producer_state_apply(&pl->producers, b, is_marker ? &marker : NULL, NULL, &completed);
    if (!completed.is_set || !completed.is_aborted) {
        return 0;
    }
    struct log_path path;
    struct txn_entry entry = {
        .producer_id = completed.producer_id,
        .first_offset = completed.first_offset,
        .last_offset = completed.last_offset,
        .last_stable_offset = completed.last_stable_offset,
    };
    log_path_of(&path, pl->path, sg->base_offset, TXN_INDEX_SUFFIX);
    return txn_index_append(&sg->txns, pl->env->fs, path.text, &entry);
}

/* Scans segment i from the batch that holds `from` on. */
static int
recover_segment(struct recovery *rc, const struct log_listing *ll, size_t i, int64_t from)
{
    struct plog *pl = rc->pl;
    struct segment *sg = pl->segments[i];
    struct segment_io io = plog_io(pl, false);
    struct fs_file *file;
    struct batch b;
    int64_t position;
    int64_t offset;
    int64_t file_size = sg->size;
    bool is_rebuilt;
    uint32_t txns = sg->txns.count;
    int err = segment_file(sg, &io, false, &file);
    if (err < 0) {
        return err;
    }
    err = segment_prepare_scan(sg, &io, from, has_both_indexes(ll, sg->base_offset), &position,
                               &offset, &is_rebuilt);
    struct scanner sc;
    scanner_init(&sc, file, sg->base_offset, position, file_size, rc->buffer, rc->buffer_bytes);
    sc.next_offset = offset;
    sc.offset_limit = sg->end_offset;
    sc.checks_crc = true;
    if (position > 0) {
        rc->next_offset =
            max_i64(rc->next_offset, offset); /* a base alone says nothing of where the log ends */
    }
    while (err >= 0) {
        int r = scanner_next(&sc, &b, &position);
        if (r == 1) {
            err = note_batch(rc, sg, &b, position);
        } else if (r == ERR_CORRUPT) {
            err = recovery_handle_damage(rc, i, &sc, file_size);
            if (err == 0) {
                break;
            }
        } else {
            err = r;
            break;
        }
    }
    if (err >= 0 && sg != plog_active(pl)) {
        err = segment_close_indexes(sg, &io);
    }
    /* Index files are made with their first entry: a small log never had any. */
    is_rebuilt =
        is_rebuilt && (sparse_index_count(&sg->offsets) > 0 || sparse_index_count(&sg->times) > 0);
    /* All of it lies below the recovery point: no later recovery reads this segment again, and the
     * next one may begin here. Entries of what is lost go for good, others are there for good. */
    bool is_passed = rc->next_offset <= max_i64(from, rc->how->recovery_point) &&
                     (segment_has_loose_indexes(sg) || sg->txns.count < txns);
    if (err >= 0 && (is_rebuilt || is_passed)) {
        rc->report->rebuilt_index |= is_rebuilt;
        err = sync_indexes(sg, &io);
    }
    sg->appended_from = sg->size;
    fs_file_unref(file);
    return err;
}

static int epoch_of_batch(void *ctx, const struct batch *b, int64_t position)
{
    struct epoch_cache *ec = ctx;
    (void)position;
    if (b->leader_epoch > epoch_cache_latest(ec)) {
        IGNORE(epoch_cache_assign(ec, b->leader_epoch, b->base_offset));
    }
    return 0;
}

/* Epochs of what is not scanned anyway. */
static int rebuild_epochs_below(struct recovery *rc, int64_t offset)
{
    struct plog *pl = rc->pl;
    struct segment_io io = plog_io(pl, false);
    int r = 0;
    for (size_t i = 0; i < pl->segments_count && r >= 0 && pl->segments[i]->base_offset < offset;
         i++) {
        r = segment_each(pl->segments[i], &io, 0, epoch_of_batch, &pl->epochs);
    }
    return r;
}

/* Empty segments at the end that do not continue the log: what came before them is lost. */
static int drop_empty_segments(struct recovery *rc)
{
    struct plog *pl = rc->pl;
    size_t keep = pl->segments_count;
    while (keep > 1 && pl->segments[keep - 1]->size == 0 &&
           pl->segments[keep - 1]->base_offset > max_i64(rc->next_offset, rc->safe_end)) {
        keep--;
    }
    return recovery_remove_segments(rc, keep);
}

/* The log ends below its recovery point (somebody cut its files): the snapshot tells of what is not
 * there. */
static int forget_lost_state(struct recovery *rc)
{
    struct plog *pl = rc->pl;
    struct segment *sg = plog_active(pl);
    struct log_path path;
    log_path_of(&path, pl->path, sg->base_offset, TXN_INDEX_SUFFIX);
    int err = txn_index_truncate_to(&sg->txns, pl->env->fs, path.text, pl->log_end);
    if (err >= 0) {
        rc->has_changed_names = true;
        err = plog_drop_snapshots_from(pl, pl->log_end);
    }
    return err < 0 ? err : plog_rebuild_producers(pl);
}

static void make_buffer(struct recovery *rc)
{
    int64_t bytes = SCAN_BUFFER_MIN;
    for (size_t i = 0; i < rc->pl->segments_count; i++) {
        bytes = max_i64(bytes, rc->pl->segments[i]->size);
    }
    rc->buffer_bytes = to_size(min_i64(bytes, SCAN_BUFFER_MAX));
    rc->buffer = mem_alloc(rc->buffer_bytes);
}

/* The newest snapshot at or below this offset; -1: none. One that is damaged is passed over. */
static int64_t load_snapshot(struct recovery *rc, int64_t limit)
{
    struct plog *pl = rc->pl;
    int64_t loaded = plog_load_snapshot(pl, limit);
    int64_t base = pl->segments[0]->base_offset;
    for (size_t i = 0; i < pl->snapshots_count; i++) {
        int64_t offset = pl->snapshots[i];
        rc->report->rebuilt_producer_state |= offset > loaded && offset >= base && offset <= limit;
    }
    return loaded;
}

static int
recover_from(struct recovery *rc, const struct log_listing *ll, int64_t from, bool has_epochs)
{
    struct plog *pl = rc->pl;
    int64_t wanted = max_i64(rc->how->recovery_point, from);
    int64_t snapshot = load_snapshot(rc, from);
    rc->state_offset = max_i64(snapshot, pl->segments[0]->base_offset);
    from = min_i64(from, rc->state_offset);
    rc->was_scanned = true;
    if (from < wanted || (rc->how->flags & PLOG_CLEAN) != 0) {
        /* Side files below the recovery point will be made anew. Were the power cut meanwhile, the
         * next recovery must begin here too: it does when it finds no newer snapshot. */
        int err = plog_drop_snapshots_from(pl, from);
        if (err >= 0) {
            err = fs_sync_dir(pl->env->fs, pl->path);
        }
        if (err < 0) {
            return err;
        }
    }
    make_buffer(rc);
    rc->next_offset = pl->segments[0]->base_offset;
    epoch_cache_truncate_end(&pl->epochs, INT64_MAX);
    size_t first = to_size(max_i64(plog_segment_index(pl, from), 0));
    int err = rebuild_missing_indexes(rc, ll, pl->segments[first]->base_offset);
    if (err >= 0) {
        err = find_losses(rc, first);
    }
    if (err >= 0 && !has_epochs) {
        err = rebuild_epochs_below(rc, from);
        rc->report->rebuilt_epochs = ll->has_epochs; /* a log that was never closed has none yet */
    }
    rc->next_offset = pl->segments[first]->base_offset;
    for (size_t i = first; i < pl->segments_count && err >= 0; i++) {
        bool is_behind_gap = pl->segments[i]->base_offset > rc->next_offset;
        err = is_behind_gap ? recovery_is_unflushed(rc, i, 0, rc->next_offset) : 0;
        if (err == 1) {
            err = recovery_cut_segments(rc, i);
            break;
        }
        if (err == 0) {
            err = recover_segment(rc, ll, i, i == first ? from : pl->segments[i]->base_offset);
        }
    }
    if (err >= 0) {
        err = drop_empty_segments(rc);
    }
    pl->log_end = max_i64(rc->next_offset, plog_active(pl)->base_offset);
    pl->is_changed = true;
    if (err >= 0 && rc->state_offset > pl->log_end) {
        err = forget_lost_state(rc);
    }
    epoch_cache_truncate_end(&pl->epochs, pl->log_end + 1);
    return err;
}

/* --- the short way ---------------------------------------------------------------------------- */

/* The log end of a cleanly closed log; 0: found; 1: something does not fit. */
static int find_clean_end(struct recovery *rc)
{
    struct plog *pl = rc->pl;
    struct segment *sg = plog_active(pl);
    struct segment_io io = plog_io(pl, false);
    uint8_t buffer[TAIL_BUFFER_BYTES];
    struct scanner sc;
    struct batch b;
    struct fs_file *file;
    int64_t position = 0;
    if (sg->size == 0) {
        pl->log_end = sg->base_offset;
        return 0;
    }
    int r = segment_index_position(sg, &io, INT64_MAX, &position);
    if (r >= 0 && sg->is_index_bad) {
        return 1;
    }
    if (r >= 0) {
        r = segment_file(sg, &io, false, &file);
    }
    if (r < 0) {
        return r;
    }
    scanner_init(&sc, file, sg->base_offset, position, sg->size, buffer, sizeof(buffer));
    sc.checks_crc = true;
    while ((r = scanner_next(&sc, &b, &position)) == 1) {
        segment_add_verified(sg, position, sc.position);
    }
    fs_file_unref(file);
    pl->log_end = sc.next_offset;
    return r == ERR_CORRUPT ? 1 : r;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int load_epochs(struct recovery *rc, const struct log_listing *ll, bool *ret_good)
{
    struct log_path path;
    *ret_good = false;
    if (!ll->has_epochs) {
        return 0;
    }
    log_path_join(&path, rc->pl->path, EPOCH_FILE);
    int err = epoch_cache_load(&rc->pl->epochs, rc->pl->env->fs, path.text);
    *ret_good = err >= 0;
    return err == ERR_MALFORMED || err == -ENOENT ? 0 : err;
}

/* Snapshots of a log that is not there must not be believed by the next recovery. */
static int drop_stale_snapshots(struct recovery *rc)
{
    struct plog *pl = rc->pl;
    if (pl->snapshots_count == 0 || pl->snapshots[pl->snapshots_count - 1] <= pl->log_end) {
        return 0;
    }
    rc->has_changed_names = true;
    return plog_drop_snapshots_from(pl, pl->log_end);
}

static int recover_log(struct recovery *rc, const struct log_listing *ll)
{
    struct plog *pl = rc->pl;
    const struct plog_open *how = rc->how;
    bool is_clean = (how->flags & PLOG_CLEAN) != 0;
    bool has_epochs;
    int64_t bad_txns;
    int err = load_txns(rc, ll, &bad_txns);
    if (err >= 0) {
        err = load_epochs(rc, ll, &has_epochs);
    }
    if (err < 0) {
        return err;
    }
    int64_t base = pl->segments[0]->base_offset;
    int64_t from = is_clean ? INT64_MAX : max_i64(how->recovery_point, base);
    rc->known_end = -1;
    rc->safe_end = how->recovery_point;
    if (is_clean) {
        rc->known_end =
            max_i64(how->recovery_point,
                    pl->snapshots_count > 0 ? pl->snapshots[pl->snapshots_count - 1] : -1);
        err = find_clean_end(rc);
        if (err < 0) {
            return err;
        }
        if (err == 0 && bad_txns == INT64_MAX && (has_epochs || pl->log_end == base)) {
            err = rebuild_missing_indexes(rc, ll, INT64_MAX);
            if (err >= 0) {
                err = find_losses(rc, pl->segments_count);
            }
            if (err < 0 || load_snapshot(rc, pl->log_end) == pl->log_end || pl->log_end == base) {
                return err;
            }
        }
        from = err == 0 && bad_txns == INT64_MAX ? pl->log_end : plog_active(pl)->base_offset;
    }
    if (!is_clean) {
        err = keep_good_txns(rc, &bad_txns);
        if (err < 0) {
            return err;
        }
    }
    from = min_i64(from, bad_txns);
    for (size_t i = 0; i < pl->segments_count; i++) {
        pl->segments[i]->verified_count = 0;
    }
    return recover_from(rc, ll, from, has_epochs);
}

static void add_first_segment(struct plog *pl, int64_t base_offset)
{
    struct segment *sg = segment_new(base_offset, clock_now_ms(pl->env->clock));
    sg->is_time_known = true;
    plog_insert_segment(pl, sg);
    pl->log_end = base_offset;
}

static void set_offsets(struct recovery *rc, bool is_clean)
{
    struct plog *pl = rc->pl;
    const struct plog_open *how = rc->how;
    plog_active(pl)->end_offset = pl->log_end;
    pl->log_start = max_i64(how->log_start, pl->segments[0]->base_offset);
    pl->written = pl->log_end;
    pl->flushed =
        is_clean ? pl->log_end : max_i64(min_i64(how->recovery_point, pl->log_end), pl->log_start);
    /* Side files were made anew from state_offset on: the next checkpoint must sync them from
     * there. */
    pl->recovery_point = rc->was_scanned ? min_i64(pl->flushed, rc->state_offset) : pl->flushed;
    pl->kept_point = how->recovery_point;
    pl->told_point = max_i64(how->recovery_point, pl->recovery_point);
    pl->high_watermark = max_i64(min_i64(how->high_watermark, pl->log_end), pl->log_start);
    pl->unflushed_bytes = pl->flushed < pl->written ? rc->report->scanned_bytes : 0;
    epoch_cache_truncate_start(&pl->epochs, pl->log_start);
    producer_state_replicated(&pl->producers, pl->high_watermark);
}

static int load_log(struct recovery *rc, struct log_listing *ll)
{
    struct plog *pl = rc->pl;
    bool is_clean = (rc->how->flags & PLOG_CLEAN) != 0;
    int err = add_segments(rc, ll);
    if (err < 0) {
        return err;
    }
    for (size_t i = 0; i < ll->snapshots_count; i++) {
        plog_note_snapshot(pl, ll->snapshots[i]);
    }
    if (pl->segments_count > 0) {
        err = recover_log(rc, ll);
        if (err >= 0 && pl->log_end < rc->how->log_start) {
            /* All that is left lies below the start: the log begins there anew. */
            for (size_t i = 0; i < pl->segments_count; i++) {
                rc->report->below_start_bytes += pl->segments[i]->size;
            }
            err = recovery_remove_segments(rc, 0);
            producer_state_clear(&pl->producers);
        }
    }
    if (err >= 0 && pl->segments_count == 0) {
        add_first_segment(pl, max_i64(rc->how->log_start, 0));
        epoch_cache_truncate_end(&pl->epochs, pl->log_end + 1);
    }
    if (err >= 0) {
        err = drop_stale_snapshots(rc);
    }
    if (err >= 0 && rc->has_changed_names) {
        err = fs_sync_dir(pl->env->fs, pl->path);
    }
    if (err >= 0) {
        set_offsets(rc, is_clean);
    }
    return err;
}

int recovery_run(struct plog *pl,
                 const struct plog_open *how,
                 struct log_listing *ll,
                 struct plog_recovery *report)
{
    struct recovery rc = {.pl = pl, .how = how, .report = report};
    int err = load_log(&rc, ll);
    mem_free(rc.buffer);
    return err;
}
