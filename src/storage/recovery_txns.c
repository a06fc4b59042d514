/*
 * Aborted transactions after a kill. Entries of .txnindex below the recovery point are stable;
 * behind it a power cut may have torn the file. The two are told apart by the log: when each abort
 * marker below the recovery point has its entry in the good front of the file, only the rest is
 * torn, and recovery makes that anew from the recovery point on. Otherwise the file is damaged and
 * made anew from the segment's base.
 */
#include "storage/plog.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/plog_impl.h"

struct marker_check {
    int64_t *markers; /* owned: offsets of the abort markers that have an entry, ascending */
    size_t count;
    size_t next;
    int64_t until;
    bool is_missing;
};

static bool collect_marker(void *ctx, const struct txn_entry *entry)
{
    struct marker_check *mc = ctx;
    mc->markers[mc->count++] = entry->last_offset;
    return true;
}

static int check_marker(void *ctx, const struct batch *b, int64_t position)
{
    struct marker_check *mc = ctx;
    struct txn_marker marker;
    (void)position;
    if (b->base_offset >= mc->until) {
        return 1;
    }
    if (!batch_is_control(b)) {
        return 0;
    }
    if (b->bytes == NULL || txn_marker_read(b, &marker) < 0 || marker.is_commit) {
        return 0;
    }
    while (mc->next < mc->count && mc->markers[mc->next] < b->base_offset) {
        mc->next++;
    }
    mc->is_missing = mc->next == mc->count || mc->markers[mc->next] != b->base_offset;
    return mc->is_missing ? 1 : 0;
}

int plog_keep_good_txns(struct plog *pl, struct segment *sg, int64_t until, bool *ret_kept)
{
    struct segment_io io = plog_io(pl, false);
    struct marker_check mc = {.until = until};
    struct txn_index front = {.count = sg->txns.good_count};
    struct log_path path;
    log_path_of(&path, pl->path, sg->base_offset, TXN_INDEX_SUFFIX);
    mc.markers = mem_array((size_t)front.count + 1, sizeof(*mc.markers));
    int r = txn_index_each(&front, pl->env->fs, path.text, collect_marker, &mc);
    if (r >= 0) {
        r = segment_each(sg, &io, 0, check_marker, &mc);
    }
    mem_free(mc.markers);
    *ret_kept = r >= 0 && !mc.is_missing;
    if (!*ret_kept) {
        return r == ERR_CORRUPT || r > 0 ? 0 : r;
    }
    return txn_index_truncate(&sg->txns, pl->env->fs, path.text, sg->txns.good_count);
}
