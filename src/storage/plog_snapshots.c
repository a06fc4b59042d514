/*
 * The files of a log's producer state, `<offset>.snapshot`: which there are, which are needed, a
 * new one, and the state back from one with the batches behind it. ProducerStateManager
 * (loadFromSnapshot, takeSnapshot), UnifiedLog.rebuildProducerState. In a replay batches of the log
 * count whatever the rules say of them: they were judged when they were appended.
 */
#include "storage/plog_snapshots.h"

#include "base/base.h"
#include "storage/plog.h"
#include "storage/plog_impl.h"

enum {
    SNAPSHOTS_KEEP = 2, /* the newest ones, whatever they are good for */
    SNAPSHOT_FILE_MAX = 1 << 30,
};

/* --- which there are
 * -------------------------------------------------------------------------------- */

/* How many are not beyond this offset; a search from the newest, where it is wanted. */
static size_t count_until(const struct plog *pl, int64_t offset)
{
    size_t at = pl->snapshots_count;
    while (at > 0 && pl->snapshots[at - 1] > offset) {
        at--;
    }
    return at;
}

bool plog_has_snapshot(const struct plog *pl, int64_t offset)
{
    size_t at = count_until(pl, offset);
    return at > 0 && pl->snapshots[at - 1] == offset;
}

void plog_note_snapshot(struct plog *pl, int64_t offset)
{
    if (plog_has_snapshot(pl, offset)) {
        return;
    }
    size_t at = count_until(pl, offset);
    if (pl->snapshots_count == pl->snapshots_cap) {
        /* An idle log has one or two of them: grow tightly. */
        pl->snapshots_cap = pl->snapshots_cap == 0 ? 1 : pl->snapshots_cap * 2;
        pl->snapshots = mem_realloc(pl->snapshots, pl->snapshots_cap * sizeof(pl->snapshots[0]));
    }
    memmove(pl->snapshots + at + 1, pl->snapshots + at,
            (pl->snapshots_count - at) * sizeof(pl->snapshots[0]));
    pl->snapshots[at] = offset;
    pl->snapshots_count++;
}

static int unlink_snapshot(struct plog *pl, size_t i)
{
    struct log_path path;
    log_path_of(&path, plog_path(pl), pl->snapshots[i], SNAPSHOT_SUFFIX);
    int err = fs_unlink(pl->env->fs, path.text);
    if (err < 0 && err != -ENOENT) {
        return err;
    }
    pl->snapshots_count--;
    memmove(pl->snapshots + i, pl->snapshots + i + 1,
            (pl->snapshots_count - i) * sizeof(pl->snapshots[0]));
    return 0;
}

int plog_drop_snapshots_from(struct plog *pl, int64_t offset)
{
    while (pl->snapshots_count > 0 && pl->snapshots[pl->snapshots_count - 1] > offset) {
        int err = unlink_snapshot(pl, pl->snapshots_count - 1);
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

static bool is_segment_base(const struct plog *pl, int64_t offset)
{
    int64_t i = plog_segment_index(pl, offset);
    return i >= 0 && pl->segments[i]->base_offset == offset;
}

static bool is_newest_at(const struct plog *pl, size_t i, int64_t point)
{
    return pl->snapshots[i] <= point &&
           (i + 1 == pl->snapshots_count || pl->snapshots[i + 1] > point);
}

static bool is_needed(const struct plog *pl, size_t i)
{
    return is_newest_at(pl, i, pl->recovery_point) || is_newest_at(pl, i, pl->kept_point);
}

void plog_drop_snapshots_below(struct plog *pl, int64_t offset)
{
    size_t count = 0;
    while (count + SNAPSHOTS_KEEP < pl->snapshots_count && pl->snapshots[count] < offset &&
           !is_needed(pl, count)) {
        struct log_path path;
        log_path_of(&path, plog_path(pl), pl->snapshots[count++], SNAPSHOT_SUFFIX);
        /* A stale one is ignored when the log is opened. */
        IGNORE(trash_put(pl->env->trash, pl->env->fs, path.text, pl->config.file_delete_delay_ms));
    }
    pl->snapshots_count -= count;
    if (count > 0) {
        memmove(pl->snapshots, pl->snapshots + count,
                pl->snapshots_count * sizeof(pl->snapshots[0]));
    }
}

void plog_thin_snapshots(struct plog *pl)
{
    for (size_t i = 0; i + SNAPSHOTS_KEEP < pl->snapshots_count;) {
        if (is_segment_base(pl, pl->snapshots[i]) || is_needed(pl, i) ||
            unlink_snapshot(pl, i) < 0) {
            i++;
        }
    }
}

int plog_save_snapshot(struct plog *pl, int64_t offset, bool is_durable)
{
    struct log_path path;
    uint8_t *bytes;
    size_t len;
    producer_state_encode(&pl->producers, &bytes, &len);
    log_path_of(&path, plog_path(pl), offset, SNAPSHOT_SUFFIX);
    int err = is_durable ? fs_replace_file(pl->env->fs, path.text, bytes, len)
                         : side_file_replace(pl->env->fs, path.text, bytes, len);
    mem_free(bytes);
    if (err >= 0) {
        plog_note_snapshot(pl, offset);
        plog_thin_snapshots(pl);
    }
    return err;
}

/* --- back from them --------------------------------------------------------------------------- */

static int read_snapshot(struct plog *pl, int64_t offset)
{
    struct log_path path;
    cleanup(mem_free_charp) char *bytes = NULL;
    size_t len;
    log_path_of(&path, plog_path(pl), offset, SNAPSHOT_SUFFIX);
    int err = fs_read_file(pl->env->fs, path.text, SNAPSHOT_FILE_MAX, &bytes, &len);
    if (err < 0) {
        return err;
    }
    return producer_state_decode(&pl->producers, bytes, len, clock_now_ms(pl->env->clock),
                                 pl->config.producer_id_expiration_ms > 0
                                     ? pl->config.producer_id_expiration_ms
                                     : INT64_MAX);
}

int64_t plog_load_snapshot(struct plog *pl, int64_t limit)
{
    for (size_t i = pl->snapshots_count; i > 0; i--) {
        int64_t offset = pl->snapshots[i - 1];
        if (offset <= limit && offset >= pl->segments[0]->base_offset &&
            read_snapshot(pl, offset) >= 0) {
            return offset;
        }
    }
    producer_state_clear(&pl->producers);
    return -1;
}

struct replay {
    struct plog *pl;
    int64_t from;
    int64_t to;
};

static int replay_one(void *ctx, const struct batch *b, int64_t position)
{
    struct replay *rp = ctx;
    struct txn_marker marker;
    struct completed_txn completed;
    bool is_marker = batch_is_control(b);
    (void)position;
    if (b->base_offset >= rp->to) {
        return 1;
    }
    if (b->base_offset < rp->from || b->producer_id < 0 ||
        (is_marker && (b->bytes == NULL || txn_marker_read(b, &marker) < 0))) {
        return 0;
    }
    producer_state_apply(&rp->pl->producers, b, is_marker ? &marker : NULL, NULL, &completed);
    return 0;
}

int plog_rebuild_producers(struct plog *pl)
{
    struct segment_io io = plog_io(pl, false);
    struct replay rp = {.pl = pl, .to = pl->log_end};
    int64_t from = plog_load_snapshot(pl, pl->log_end);
    rp.from = max_i64(from, pl->segments[0]->base_offset);
    int r = 0;
    size_t first = to_size(max_i64(plog_segment_index(pl, rp.from), 0));
    for (size_t i = first; i < pl->segments_count && r == 0 && rp.from < rp.to; i++) {
        int64_t position = 0;
        if (i == first) {
            r = segment_index_position(pl->segments[i], &io, rp.from, &position);
        }
        if (r == 0) {
            r = segment_each(pl->segments[i], &io, position, replay_one, &rp);
        }
    }
    producer_state_replicated(&pl->producers, pl->high_watermark);
    return r < 0 ? r : 0;
}
