/*
 * Stable storage. A flush covers what is written when it begins: the bytes of every segment that
 * has unflushed ones (a roll leaves two or more), and the names that were made since the last
 * flush: of segment files in the log's directory, and of a new log's directory and
 * partition.metadata. The names are counted, so that of two flushes at once neither relies on a
 * sync that the other has only begun.
 *
 * A new log is one syncfs instead of a sync each of file, metadata file, directory and parent.
 *
 * A recovery point is worth what lies below it: index entries, aborted transactions and epochs are
 * synced, then a snapshot of the producers is put in place, before the point is told.
 */
#include "storage/plog.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog_impl.h"
#include "storage/plog_roll.h"
#include "storage/plog_snapshots.h"

/* --- flushing --------------------------------------------------------------------------------- */

static int add_file(struct plog *pl, struct plog_flush *f, struct segment *sg)
{
    struct segment_io io = plog_io(pl, false);
    if (f->files_count == (int)ARRAY_LEN(f->files)) {
        f->needs_whole_fs = true;
        return 0;
    }
    int err = segment_file(sg, &io, false, &f->files[f->files_count]);
    if (err >= 0) {
        f->files_count++;
    }
    return err;
}

static bool begin_locked(struct plog *pl, struct plog_flush *f)
{
    *f = (struct plog_flush){.pl = pl, .until = pl->written};
    if (pl->is_offline || pl->written == pl->flushed) {
        return false;
    }
    f->names_made = pl->names_made;
    f->bytes = pl->unflushed_bytes;
    f->incarnation = pl->incarnation;
    f->sync_dir = pl->names_made != pl->names_synced;
    f->sync_parent = pl->is_new;
    f->needs_whole_fs = pl->is_new;
    for (size_t i = pl->segments_count; i > 0 && !f->needs_whole_fs; i--) {
        struct segment *sg = pl->segments[i - 1];
        if (sg->end_offset <= pl->flushed) {
            break;
        }
        if (sg->size > 0 && add_file(pl, f, sg) < 0) {
            f->needs_whole_fs = true; /* no descriptor: the whole file system does not need one */
        }
    }
    return true;
}

bool plog_flush_begin(struct plog *pl, struct plog_flush *ret)
{
    lock_take(&pl->lock);
    bool has_work = begin_locked(pl, ret);
    lock_give(&pl->lock);
    return has_work;
}

static void let_go(struct plog_flush *f)
{
    for (int i = 0; i < f->files_count; i++) {
        f->files[i] = fs_file_unref(f->files[i]);
    }
    f->files_count = 0;
}

void plog_flush_as_whole(struct plog_flush *f)
{
    f->needs_whole_fs = true;
    let_go(f);
}

static int sync_apart(struct plog_flush *f)
{
    struct plog *pl = f->pl;
    int err = 0;
    for (int i = 0; i < f->files_count && err >= 0; i++) {
        err = fs_datasync(f->files[i]);
    }
    return err >= 0 && f->sync_dir ? fs_sync_dir(pl->env->fs, plog_path(pl)) : err;
}

int plog_flush_run(struct plog_flush *f)
{
    if (!f->needs_whole_fs) {
        int err = sync_apart(f);
        if (err != -EMFILE && err != -ENFILE) {
            return err;
        }
        /* The directory could not be opened: nothing has failed, and the whole needs no descriptor.
         */
    }
    return fs_sync_all(f->pl->env->fs, plog_path(f->pl));
}

static void end_locked(struct plog *pl, struct plog_flush *f, int err)
{
    if (err < 0) {
        plog_go_offline_locked(pl, err);
        return;
    }
    if (pl->is_offline) {
        return; /* another sync failed meanwhile: this one may have been told less than the truth */
    }
    if (f->incarnation == pl->incarnation) {
        pl->flushed = max_i64(pl->flushed, f->until);
    }
    pl->names_synced = f->names_made > pl->names_synced ? f->names_made : pl->names_synced;
    if (f->sync_parent) {
        pl->is_new = false;
    }
    pl->unflushed_bytes = max_i64(pl->unflushed_bytes - f->bytes, 0);
    pl->uncheckpointed_bytes += f->bytes;
}

void plog_flush_end(struct plog_flush *f, int err, int64_t *ret_flushed)
{
    struct plog *pl = f->pl;
    let_go(f);
    lock_take(&pl->lock);
    end_locked(pl, f, err);
    *ret_flushed = pl->flushed;
    lock_give(&pl->lock);
}

static int flush_now(struct plog *pl)
{
    struct plog_flush f;
    int64_t flushed;
    if (!plog_flush_begin(pl, &f)) {
        return plog_is_offline(pl) ? ERR_OFFLINE : 0;
    }
    int err = plog_flush_run(&f);
    plog_flush_end(&f, err, &flushed);
    return err;
}

/* --- recovery points -------------------------------------------------------------------------- */

/* What a checkpoint writes, gathered under the lock and written outside of it. */
struct checkpoint {
    int64_t offset;
    uint8_t *snapshot; /* owned */
    size_t snapshot_len;
    struct epoch_cache epochs; /* a copy, when they changed */
    uint32_t incarnation;
    uint64_t names_made;
};

/* The index files of all segments that reach beyond the present recovery point. */
static int sync_indexes(struct plog *pl)
{
    struct fs_file **files = NULL;
    size_t count = 0;
    size_t cap = 0;
    int err = 0;
    lock_take(&pl->lock);
    struct segment_io io = plog_io(pl, false);
    for (size_t i = pl->segments_count; i > 0 && err >= 0; i--) {
        struct segment *sg = pl->segments[i - 1];
        files = mem_grow(files, &cap, count + SEGMENT_INDEXES, sizeof(struct fs_file *));
        err = segment_flush_indexes(sg, &io, files, &count);
        if (sg->base_offset < pl->recovery_point) {
            break;
        }
    }
    lock_give(&pl->lock);
    for (size_t i = 0; i < count; i++) {
        if (err >= 0) {
            err = fs_datasync(files[i]);
        }
        fs_file_unref(files[i]);
    }
    mem_free(files);
    return err;
}

static int gather(struct plog *pl, struct checkpoint *cp)
{
    lock_take(&pl->lock);
    plog_settle_locked(pl);
    int err = pl->is_offline ? ERR_OFFLINE : pl->write_error;
    if (err >= 0) {
        err = plog_write_locked(pl);
        if (err < 0) {
            pl->write_error = err;
        }
    }
    if (err >= 0) {
        cp->offset = pl->written;
        pl->placing_snapshot = cp->offset;
        cp->incarnation = pl->incarnation;
        cp->names_made = pl->names_made;
        producer_state_encode(&pl->producers, &cp->snapshot, &cp->snapshot_len);
        if (epoch_cache_wants_save(&pl->epochs, pl->log_end)) {
            for (size_t i = 0; i < pl->epochs.count; i++) {
                const struct epoch_entry *entry = &pl->epochs.entries[i];
                IGNORE(epoch_cache_assign(&cp->epochs, entry->epoch, entry->start_offset));
            }
            cp->epochs.is_dirty = true;
            pl->epochs.is_dirty = false;
            pl->epochs.is_rewritten = false;
            pl->epochs.saved_count = pl->epochs.count;
        }
    }
    lock_give(&pl->lock);
    return err;
}

static int put_in_place(struct plog *pl, struct checkpoint *cp)
{
    struct log_path path;
    lock_take(&pl->lock);
    int err = pl->moved_path != NULL ? ERR_CLOSED : 0;
    pl->is_placing = err >= 0; /* until plog_checkpoint ends: the directory keeps its name */
    lock_give(&pl->lock);
    if (err >= 0 && cp->epochs.is_dirty) {
        log_path_join(&path, plog_path(pl), EPOCH_FILE);
        err = epoch_cache_save(&cp->epochs, pl->env->fs, path.text, true);
    }
    if (err >= 0) {
        /* Its directory sync covers the names of indexes made meanwhile. */
        log_path_of(&path, plog_path(pl), cp->offset, SNAPSHOT_SUFFIX);
        err = fs_replace_file(pl->env->fs, path.text, cp->snapshot, cp->snapshot_len);
    }
    return err;
}

/* Two at once would take each other's temporary files. False: there is nothing to do. */
static bool begin_checkpoint(struct plog *pl, int64_t *ret_recovery_point)
{
    lock_take(&pl->lock);
    while (pl->is_checkpointing) {
        cond_wait(&pl->settled, &pl->lock);
    }
    bool is_needed = pl->recovery_point != pl->log_end ||
                     epoch_cache_wants_save(&pl->epochs, pl->log_end) ||
                     pl->names_made != pl->names_synced;
    *ret_recovery_point = pl->recovery_point;
    pl->is_checkpointing = is_needed;
    lock_give(&pl->lock);
    return is_needed;
}

int plog_checkpoint(struct plog *pl, int64_t *ret_recovery_point)
{
    struct checkpoint cp = {0};
    if (!begin_checkpoint(pl, ret_recovery_point)) {
        return 0;
    }
    int err = gather(pl, &cp);
    if (err >= 0) {
        err = flush_now(pl);
    }
    if (err >= 0) {
        err = sync_indexes(pl);
    }
    if (err >= 0) {
        err = put_in_place(pl, &cp);
    }
    lock_take(&pl->lock);
    pl->placing_snapshot = -1;
    if (err < 0 && err != -ENOSPC && err != -EDQUOT && err != -EMFILE && err != -ENFILE) {
        /* It may have been a sync, and then names are lost without a trace. */
        plog_go_offline_locked(pl, err);
    }
    if (err >= 0 && cp.incarnation != pl->incarnation) {
        /* The log was cut meanwhile: what was put in place speaks of another one. */
        plog_note_snapshot(pl, cp.offset);
        err = plog_drop_snapshots_from(pl, pl->log_end);
        pl->epochs.is_dirty = true;
        pl->epochs.is_rewritten = true;
    } else if (err >= 0) {
        plog_note_snapshot(pl, cp.offset);
        plog_thin_snapshots(pl);
        pl->recovery_point = max_i64(pl->recovery_point, cp.offset);
        pl->told_point = max_i64(pl->told_point, pl->recovery_point);
        pl->uncheckpointed_bytes = 0;
        if (!pl->is_new && cp.names_made > pl->names_synced) {
            pl->names_synced = cp.names_made; /* by the directory sync of the snapshot */
        }
        *ret_recovery_point = pl->recovery_point;
    } else if (cp.epochs.is_dirty) {
        pl->epochs.is_dirty = true;
        pl->epochs.is_rewritten = true;
    }
    pl->is_placing = false;
    pl->is_checkpointing = false;
    cond_broadcast(&pl->settled);
    lock_give(&pl->lock);
    epoch_cache_release(&cp.epochs);
    mem_free(cp.snapshot);
    return err;
}

void plog_checkpointed(struct plog *pl, int64_t recovery_point)
{
    lock_take(&pl->lock);
    pl->kept_point = recovery_point;
    plog_thin_snapshots(pl);
    lock_give(&pl->lock);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Side files as Kafka leaves them at a clean stop. Not synced one by one: whoever declares the
 * directory clean syncs it as a whole before (log_dir_close). */
static int finish_files(struct plog *pl)
{
    struct log_path path;
    int err = 0;
    for (size_t i = 0; i < pl->segments_count && err >= 0; i++) {
        err = plog_close_segment(pl, pl->segments[i]);
    }
    if (err >= 0 && epoch_cache_wants_save(&pl->epochs, pl->log_end)) {
        log_path_join(&path, plog_path(pl), EPOCH_FILE);
        err = epoch_cache_save(&pl->epochs, pl->env->fs, path.text, false);
    }
    bool has_state = pl->log_end > pl->segments[0]->base_offset || pl->producers.map.count > 0;
    if (err >= 0 && has_state && !plog_has_snapshot(pl, pl->log_end)) {
        err = plog_save_snapshot(pl, pl->log_end, false);
    }
    return err;
}

int plog_close(struct plog *pl, bool is_clean)
{
    int err = 0;
    if (pl == NULL) {
        return 0;
    }
    if (is_clean && pl->is_changed) {
        lock_take(&pl->lock);
        plog_settle_locked(pl);
        err = pl->is_offline ? ERR_OFFLINE : plog_write_locked(pl);
        lock_give(&pl->lock);
        if (err >= 0) {
            err = flush_now(pl);
        }
        if (err >= 0 && pl->told_point >= pl->log_end && pl->recovery_point < pl->log_end) {
            int64_t point;
            err = plog_checkpoint(pl, &point);
        }
        if (err >= 0) {
            lock_take(&pl->lock);
            err = finish_files(pl);
            lock_give(&pl->lock);
        }
    }
    for (size_t i = 0; i < pl->staged_count; i++) {
        blob_unref(pl->staged[i].blob);
    }
    pl->staged_count = 0;
    plog_release(pl);
    return err;
}
