/*
 * Producer state from a snapshot and the log behind it: ProducerStateManager.loadFromSnapshot,
 * UnifiedLog.rebuildProducerState. Batches of the log are in it whatever the rules say of them:
 * they were judged when they were appended.
 */
#include "storage/plog.h"

#include "base/base.h"
#include "storage/plog_impl.h"

enum {
    SNAPSHOT_FILE_MAX = 1 << 30,
};

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

/* The newest good snapshot at or below `limit`: its offset; -1: none, and no producers. */
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
