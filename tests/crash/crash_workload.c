/*
 * The workload; see crash_workload.h.
 *
 *   log 0  idempotent producers, small segments: rolls all the time
 *   log 1  transactional producers with markers
 *   log 2  large batches over several pages, retention and DeleteRecords
 *   log 3  plain batches, truncated now and then, as a follower's log is
 *   victim  its whole directory is deleted, and another log takes its name
 *
 * The model hears of an append when the log has taken it, of an ack when the flusher (or a
 * checkpoint) says so, of a cut before and after it happens.
 */
#include "crash_workload.h"

#include "base/base.h"
#include "base/err.h"
#include "storage/fd_cache.h"
#include "storage/flusher.h"
#include "storage/side_file.h"
#include "storage/trash.h"

enum {
    AHEAD_BYTES = 700, /* more than that is written in pieces */
    FD_MAX = 3,        /* fewer than there are files: the cache works */
    PRODUCERS_MAX = 8,
};

struct run {
    struct workload *w;
    struct plog_env env;
    struct log_dir *ld;
    struct flusher *fl;
    struct plog *logs[MODEL_LOGS];
    struct plog *victim; /* NULL: there is none */
    int32_t leader_epoch;
    uint64_t random;
    bool is_over;         /* something failed that a broker does not survive */
    bool has_failed_sync; /* maybe: a process that starts again would read pages that are not on the
                             disk */
};

#define RULES                                       \
    .rules = {.max_message_bytes = 1 << 20,         \
              .max_decompressed_bytes = 1 << 24,    \
              .timestamp_before_max_ms = INT64_MAX, \
              .timestamp_after_max_ms = INT64_MAX,  \
              .keeps_codec = true}

static const struct plog_config configs[MODEL_LOGS] = {
    {RULES, .segment_bytes = 900, .segment_ms = 1000000000, .segment_index_bytes = 1 << 20,
     .index_interval_bytes = 200, .retention_ms = -1, .retention_bytes = -1,
     .producer_id_expiration_ms = 86400000, .file_delete_delay_ms = 3000},
    {RULES, .segment_bytes = 1200, .segment_ms = 1000000000, .segment_index_bytes = 1 << 20,
     .index_interval_bytes = 200, .retention_ms = -1, .retention_bytes = -1,
     .producer_id_expiration_ms = 86400000, .file_delete_delay_ms = 5000},
    {RULES, .segment_bytes = 24000, .segment_ms = 1000000000, .segment_index_bytes = 1 << 20,
     .index_interval_bytes = 4096, .retention_ms = -1, .retention_bytes = 60000,
     .is_delete_policy = true, .producer_id_expiration_ms = 86400000, .file_delete_delay_ms = 2000},
    {RULES, .segment_bytes = 1500, .segment_ms = 1000000000, .segment_index_bytes = 1 << 20,
     .index_interval_bytes = 300, .retention_ms = -1, .retention_bytes = -1,
     .producer_id_expiration_ms = 86400000, .file_delete_delay_ms = 0},
};

const struct plog_config *workload_config(int log)
{
    return &configs[log];
}

struct str workload_topic(int log)
{
    static const char *const names[MODEL_LOGS] = {"idem", "txn", "big", "cut"};
    return str_from(names[log]);
}

struct uuid workload_topic_id(int log)
{
    struct uuid id = {{7, 7, 7, (uint8_t)(log + 1)}};
    return id;
}

struct uuid workload_victim_id(int32_t life)
{
    struct uuid id = {{8, 8, 8, (uint8_t)(life >> 8), (uint8_t)life}};
    return id;
}

struct removal {
    struct fs *fs;
    int err;
};

static void remove_deleted(void *ctx, const char *name)
{
    struct removal *rm = ctx;
    struct str s = str_from(name);
    struct log_path path;
    if (rm->err >= 0 && s.len > 7 && str_is(str_of(s.ptr + s.len - 7, 7), "-delete")) {
        log_path_join(&path, WORKLOAD_DIR, name);
        rm->err = fs_remove_tree(rm->fs, path.text);
    }
}

int workload_remove_deleted(struct fs *fs)
{
    struct removal rm = {.fs = fs};
    int err = fs_list(fs, WORKLOAD_DIR, remove_deleted, &rm);
    return err < 0 ? err : rm.err;
}

static uint64_t draw(struct run *r, uint64_t n)
{
    return sim_random(&r->random) % n;
}

static int index_of(const struct run *r, const struct plog *pl)
{
    for (int i = 0; i < MODEL_LOGS; i++) {
        if (r->logs[i] == pl) {
            return i;
        }
    }
    check(false);
    return -1;
}

static void note_acked(struct run *r, int log, int64_t offset)
{
    struct model_promise *mp = &r->w->model->logs[log].promise;
    mp->acked = max_i64(mp->acked, offset);
    r->w->model->now++;
}

/* After a failed sync nobody knows which pages are lost: the whole directory goes. */
static void go_offline(struct run *r)
{
    for (int i = 0; i < MODEL_LOGS; i++) {
        if (r->logs[i] != NULL) {
            plog_set_offline(r->logs[i]);
        }
    }
}

static bool failed(struct run *r, int err);

static void on_flushed(void *ctx, struct plog *pl, int64_t flushed, int err)
{
    struct run *r = ctx;
    if (err < 0) {
        IGNORE(failed(r, err));
        go_offline(r);
    } else {
        note_acked(r, index_of(r, pl), flushed);
        plog_advance_high_watermark(pl, flushed);
    }
}

/* A failed call: fine when faults are injected, a defect otherwise. */
static bool failed(struct run *r, int err)
{
    if (err < 0) {
        check(r->w->tolerates_errors);
        r->has_failed_sync = r->has_failed_sync || err == -EIO;
    }
    return err < 0;
}

/* --- batches -----------------------------------------------------------------------------------
 */

struct shape {
    int64_t producer_id;
    int16_t epoch;
    int32_t sequence;
    int records;
    size_t value_bytes;
    bool is_transactional;
};

static struct blob *make_batch(struct run *r, const struct shape *s, struct batch *ret)
{
    uint8_t value[6000];
    struct batch_builder bb;
    struct blob *blob;
    size_t size;
    batch_builder_init(&bb, CODEC_NONE, 0);
    bb.producer_id = s->producer_id;
    bb.producer_epoch = s->epoch;
    bb.base_sequence = s->sequence;
    bb.leader_epoch = -1;
    bb.attributes = s->is_transactional ? BATCH_TRANSACTIONAL : 0;
    check(s->value_bytes <= sizeof(value));
    for (int i = 0; i < s->records; i++) {
        for (size_t k = 0; k < s->value_bytes; k++) {
            value[k] = (uint8_t)draw(r, 256);
        }
        batch_builder_add(&bb, clock_now_ms(&r->w->clock->clock), (struct view){0},
                          (struct view){value, s->value_bytes});
    }
    check(batch_builder_finish(&bb, &blob, &size) >= 0);
    batch_builder_release(&bb);
    check(batch_peek(blob->data, size, ret) >= 0);
    return blob;
}

static struct blob *
make_marker(struct run *r, int64_t producer_id, int16_t epoch, bool is_commit, struct batch *ret)
{
    uint8_t key[4];
    uint8_t value[6];
    struct batch_builder bb;
    struct blob *blob;
    size_t size;
    store_be16(key, 0);
    store_be16(key + 2, is_commit ? CONTROL_COMMIT : CONTROL_ABORT);
    store_be16(value, 0);
    store_be32(value + 2, 1);
    batch_builder_init(&bb, CODEC_NONE, 0);
    bb.producer_id = producer_id;
    bb.producer_epoch = epoch;
    bb.base_sequence = -1;
    bb.leader_epoch = -1;
    bb.attributes = BATCH_TRANSACTIONAL | BATCH_CONTROL;
    batch_builder_add(&bb, clock_now_ms(&r->w->clock->clock), (struct view){key, sizeof(key)},
                      (struct view){value, sizeof(value)});
    check(batch_builder_finish(&bb, &blob, &size) >= 0);
    batch_builder_release(&bb);
    check(batch_peek(blob->data, size, ret) >= 0);
    return blob;
}

static bool
append(struct run *r, int log, struct blob *blob, struct batch *b, enum plog_origin origin)
{
    struct arena arena = {0};
    struct plog_append_result result;
    struct plog_append in = {
        .blob = blob,
        .bytes = blob->data,
        .size = b->size,
        .batch = *b,
        .origin = origin,
        .leader_epoch = r->leader_epoch,
        .now_ms = clock_now_ms(&r->w->clock->clock),
        .arena = &arena,
    };
    int err = plog_append_as_leader(r->logs[log], &in, &result);
    bool is_taken = !failed(r, err);
    if (is_taken) {
        if (result.error != KAFKA_ERROR_NONE || result.is_duplicate) {
            printf("log %d: error %d duplicate %d for producer %" PRId64 " epoch %d sequence %d\n",
                   log, (int)result.error, result.is_duplicate, b->producer_id, b->producer_epoch,
                   b->base_sequence);
            check(false);
        }
        check(batch_peek(blob->data, b->size, b) >= 0);
        check(b->base_offset == result.base_offset);
        model_append(r->w->model, log, b);
    }
    blob_unref(blob);
    arena_release(&arena);
    return is_taken;
}

static struct model_producer producer_now(struct run *r, int log, int64_t producer_id)
{
    struct model_producer all[PRODUCERS_MAX];
    size_t n = model_producers(r->w->model, log, r->w->model->now, INT64_MAX, all, PRODUCERS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (all[i].producer_id == producer_id) {
            return all[i];
        }
    }
    return (struct model_producer){
        .producer_id = producer_id, .last_sequence = -1, .txn_first = -1, .last_base = -1};
}

static void append_something(struct run *r, int log)
{
    struct batch b;
    struct shape s = {.producer_id = -1, .epoch = -1, .sequence = -1};
    s.records = 1 + (int)draw(r, 3);
    s.value_bytes = log == 2 ? 500 + (size_t)draw(r, 2500) : 10 + (size_t)draw(r, 60);
    if (log == 0 || log == 1) {
        s.producer_id = log * 100 + (int64_t)draw(r, 3);
        struct model_producer mp = producer_now(r, log, s.producer_id);
        s.epoch = (int16_t)max_i64(mp.epoch, 0);
        s.sequence = mp.last_sequence < 0 ? 0 : mp.last_sequence + 1;
        s.is_transactional = log == 1;
        if (log == 0 && mp.last_sequence >= 0 && draw(r, 12) == 0) {
            s.epoch++;
            s.sequence = 0;
        }
        if (log == 1 && mp.txn_first >= 0 && draw(r, 2) == 0) {
            struct blob *marker = make_marker(r, s.producer_id, s.epoch, draw(r, 2) == 0, &b);
            IGNORE(append(r, log, marker, &b, PLOG_COORDINATOR));
            return;
        }
    }
    struct blob *blob = make_batch(r, &s, &b);
    IGNORE(append(r, log, blob, &b, PLOG_CLIENT));
}

/* --- what a broker does ------------------------------------------------------------------------
 */

static void write_log(struct run *r, int log)
{
    int64_t written;
    struct plog *pl = r->logs[log];
    while (plog_write_ahead(pl, AHEAD_BYTES)) {
        /* As what is long is written: in pieces, before it counts. */
    }
    if (failed(r, plog_write(pl, &written))) {
        struct plog_offsets offsets;
        plog_offsets(pl, &offsets);
        model_cut(r->w->model, log, offsets.log_end);
        return;
    }
    if (r->w->mistake == MISTAKE_EARLY_ACK) {
        note_acked(r, log, written);
    }
}

static void open_log(struct run *r, int log)
{
    struct plog_recovery recovery;
    struct plog_offsets offsets;
    struct plog_open how = {
        .dir = WORKLOAD_DIR,
        .topic = workload_topic(log),
        .topic_id = workload_topic_id(log),
        .config = workload_config(log),
        .flags = PLOG_CREATE | (log_dir_was_clean(r->ld) ? PLOG_CLEAN : 0),
    };
    log_dir_lookup(r->ld, how.topic, 0, &how);
    if (failed(r, plog_open(&r->env, &how, &recovery, &r->logs[log]))) {
        r->is_over = true;
        return;
    }
    plog_offsets(r->logs[log], &offsets);
    model_cut(r->w->model, log, offsets.log_end);
    if (failed(r, plog_become_leader(r->logs[log], r->leader_epoch))) {
        r->is_over = true;
    }
}

static void not_removed(void *ctx, const char *path, int err)
{
    (void)path;
    IGNORE(failed(ctx, err)); /* the next start tries again */
}

/* --- the victim --------------------------------------------------------------------------------
 */

static void open_victim(struct run *r)
{
    struct plog_recovery recovery;
    struct plog_open how = {
        .dir = WORKLOAD_DIR,
        .topic = STR(VICTIM_TOPIC),
        .topic_id = workload_victim_id(r->w->model->victim.life),
        .config = workload_config(0),
        .flags = PLOG_CREATE,
    };
    if (failed(r, plog_open(&r->env, &how, &recovery, &r->victim))) {
        r->victim = NULL;
    }
}

static void fill_victim(struct run *r)
{
    struct arena arena = {0};
    struct plog_flush f;
    int64_t end;
    bool is_good = true;
    for (int i = 0; i < 8 && is_good; i++) {
        struct batch b;
        struct shape s = {
            .producer_id = -1, .epoch = -1, .sequence = -1, .records = 2, .value_bytes = 200};
        struct blob *blob = make_batch(r, &s, &b);
        struct plog_append_result result;
        struct plog_append in = {.blob = blob,
                                 .bytes = blob->data,
                                 .size = b.size,
                                 .batch = b,
                                 .origin = PLOG_CLIENT,
                                 .now_ms = clock_now_ms(&r->w->clock->clock),
                                 .arena = &arena};
        is_good = !failed(r, plog_append_as_leader(r->victim, &in, &result)) &&
                  !failed(r, plog_write(r->victim, &end));
        blob_unref(blob);
    }
    if (is_good && plog_flush_begin(r->victim, &f)) {
        int err = plog_flush_run(&f);
        plog_flush_end(&f, err, &end);
        if (!failed(r, err)) {
            r->w->model->victim.acked = end;
            r->w->model->now++;
        } else {
            go_offline(r);
        }
    }
    arena_release(&arena);
}

static void delete_victim(struct run *r)
{
    char path[LOG_PATH_MAX];
    struct model_victim *mv = &r->w->model->victim;
    int64_t acked = mv->acked;
    *mv = (struct model_victim){.life = mv->life};
    r->w->model->now++;
    /* Some of its segments wait when it is deleted as a whole. */
    plog_advance_high_watermark(r->victim, acked);
    IGNORE(failed(r, plog_advance_log_start(r->victim, acked / 2)));
    bool is_marked = !failed(r, plog_mark_deleted(r->victim, path, sizeof(path)));
    IGNORE(plog_close(r->victim, false)); /* nothing is promised */
    r->victim = NULL;
    if (is_marked) {
        bool is_wrong = r->w->mistake == MISTAKE_OLD_NAME;
        trash_put_tree(r->env.trash, is_wrong ? WORKLOAD_DIR "/" VICTIM_TOPIC "-0" : path, 3000);
        trash_tell(r->env.trash);
    } else {
        r->is_over = true; /* its name is not free */
    }
}

static void turn_victim(struct run *r)
{
    struct model_victim *mv = &r->w->model->victim;
    if (r->victim != NULL) {
        delete_victim(r);
        return;
    }
    if (mv->is_alive) {
        return; /* it could not be opened */
    }
    *mv = (struct model_victim){.life = mv->life + 1, .is_alive = true};
    open_victim(r);
    if (r->victim != NULL) {
        fill_victim(r);
    }
}

/* What a broker does at its start; unflushed bytes of a killed process are flushed first of all. */
static void start(struct run *r)
{
    r->leader_epoch++;
    r->env.trash = trash_new(r->w->fs, &r->w->clock->clock);
    if (failed(r, log_dir_open(&r->env, WORKLOAD_DIR, &r->ld))) {
        r->is_over = true;
        return;
    }
    if (failed(r, log_dir_begin(r->ld))) {
        r->is_over = true;
    }
    for (int i = 0; i < MODEL_LOGS && !r->is_over; i++) {
        open_log(r, i);
        if (!r->is_over) {
            IGNORE(flusher_add(r->fl, r->logs[i]));
        }
    }
    flusher_round(r->fl);
    IGNORE(failed(r, workload_remove_deleted(r->w->fs)));
    if (!r->is_over && r->w->model->victim.is_alive) {
        open_victim(r);
    }
}

static void stop(struct run *r, bool is_clean)
{
    IGNORE(plog_close(r->victim, false)); /* what was flushed stays */
    r->victim = NULL;
    for (int i = 0; i < MODEL_LOGS; i++) {
        struct plog *pl = r->logs[i];
        if (pl == NULL) {
            continue;
        }
        if (is_clean) {
            write_log(r, i);
        }
        flusher_remove(r->fl, pl);
        r->logs[i] = NULL;
        if (r->ld == NULL) {
            IGNORE(plog_close(pl, false)); /* nothing is promised */
        } else {
            struct plog_offsets offsets;
            plog_offsets(pl, &offsets);
            if (!failed(r, log_dir_close_plog(r->ld, pl, is_clean)) && is_clean) {
                note_acked(r, i, offsets.log_end);
            }
        }
    }
    if (r->ld != NULL && failed(r, log_dir_close(r->ld, is_clean, 5))) {
        r->is_over = true;
    }
    r->ld = NULL;
    r->env.trash = trash_free(r->env.trash); /* what waits is found by the next start */
}

static void checkpoint(struct run *r)
{
    struct plog_offsets before[MODEL_LOGS];
    for (int i = 0; i < MODEL_LOGS; i++) {
        write_log(r, i);
        plog_offsets(r->logs[i], &before[i]);
    }
    bool has_failed = failed(r, log_dir_checkpoint(r->ld, r->logs, MODEL_LOGS));
    for (int i = 0; i < MODEL_LOGS; i++) {
        if (plog_is_offline(r->logs[i])) {
            go_offline(r);
        }
    }
    if (has_failed) {
        go_offline(r);
        return;
    }
    for (int i = 0; i < MODEL_LOGS; i++) {
        struct plog_offsets offsets;
        plog_offsets(r->logs[i], &offsets);
        if (!plog_is_offline(r->logs[i])) {
            note_acked(r, i, offsets.flushed);
            r->w->model->logs[i].promise.start_durable = before[i].log_start;
        }
    }
}

static void delete_records(struct run *r, int log)
{
    struct plog_offsets offsets;
    struct model_promise *mp = &r->w->model->logs[log].promise;
    plog_offsets(r->logs[log], &offsets);
    if (offsets.high_watermark <= offsets.log_start) {
        return;
    }
    int64_t to = offsets.log_start +
                 (int64_t)draw(r, (uint64_t)(offsets.high_watermark - offsets.log_start) + 1);
    mp->start_max = max_i64(mp->start_max, to);
    r->w->model->now++;
    IGNORE(failed(r, plog_advance_log_start(r->logs[log], to)));
}

static void retain(struct run *r, int log)
{
    struct plog_offsets offsets;
    struct model_promise *mp = &r->w->model->logs[log].promise;
    plog_offsets(r->logs[log], &offsets);
    mp->start_max = max_i64(mp->start_max, offsets.high_watermark);
    r->w->model->now++;
    IGNORE(failed(r, plog_apply_retention(r->logs[log], clock_now_ms(&r->w->clock->clock))));
    plog_offsets(r->logs[log], &offsets);
    mp->start_max = offsets.log_start;
}

static void truncate(struct run *r, int log)
{
    struct plog_offsets offsets;
    struct model_promise *mp = &r->w->model->logs[log].promise;
    write_log(r, log);
    plog_offsets(r->logs[log], &offsets);
    int64_t back = (int64_t)draw(r, 12);
    int64_t to = max_i64(offsets.log_end - back, offsets.log_start);
    if (plog_is_offline(r->logs[log])) {
        return;
    }
    /* From now on it may be gone. A batch that holds the offset goes with it. */
    mp->acked = min_i64(mp->acked, max_i64(to - 3, 0));
    r->w->model->now++;
    if (failed(r, plog_truncate_to(r->logs[log], to))) {
        return;
    }
    plog_offsets(r->logs[log], &offsets);
    model_cut(r->w->model, log, offsets.log_end);
    mp->acked = min_i64(mp->acked, offsets.log_end);
    if (offsets.flushed == offsets.log_end) {
        note_acked(r, log, offsets.log_end);
    }
}

static void operate(struct run *r)
{
    int log = (int)draw(r, MODEL_LOGS);
    uint64_t what = draw(r, 100);
    simclock_advance(r->w->clock, 1000);
    if (what < 62) {
        int n = 1 + (int)draw(r, 3);
        for (int i = 0; i < n; i++) {
            append_something(r, log);
        }
        if (draw(r, 4) != 0) {
            write_log(r, log);
        }
    } else if (what < 86) {
        for (int i = 0; i < MODEL_LOGS; i++) {
            if (r->w->is_wide || draw(r, 2) == 0) {
                write_log(r, i);
                IGNORE(flusher_add(r->fl, r->logs[i]));
            }
        }
        flusher_round(r->fl);
    } else if (what < 90) {
        checkpoint(r);
    } else if (what < 92) {
        delete_records(r, log);
    } else if (what < 94) {
        retain(r, 2);
    } else if (what < 96) {
        truncate(r, 3);
    } else if (!r->has_failed_sync) {
        stop(r, what < 98);
        if (!r->is_over && !r->has_failed_sync) {
            start(r);
        }
    }
    if (r->ld != NULL && !r->is_over && !r->has_failed_sync && draw(r, 12) == 0) {
        turn_victim(r);
    }
    if (r->env.trash != NULL) {
        trash_empty(r->env.trash, not_removed, r);
    }
}

void workload_run(struct workload *w)
{
    struct run r = {.w = w, .random = w->seed};
    struct meta_properties mp = {.cluster_id = "crash", .node_id = 1, .directory_id = {{9}}};
    r.env = (struct plog_env){
        .fs = w->fs,
        .clock = &w->clock->clock,
        .fds = fd_cache_new(w->fs, FD_MAX),
    };
    r.fl = flusher_new(&r.env, on_flushed, &r);
    if (failed(&r, fs_mkdir(w->fs, WORKLOAD_DIR)) || failed(&r, fs_sync_dir(w->fs, "/"))) {
        r.is_over = true;
    }
    if (!r.is_over && !failed(&r, meta_properties_write(w->fs, WORKLOAD_DIR, &mp, 0))) {
        w->model->has_meta = true;
        start(&r);
    }
    for (int i = 0; i < w->operations && !r.is_over && r.ld != NULL; i++) {
        operate(&r);
    }
    stop(&r, false);
    flusher_free(r.fl);
    fd_cache_free(r.env.fds);
}
