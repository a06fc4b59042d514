/*
 * See log_node.h. This file is the node's life and its appends; log_reader.c compares what is read.
 *
 * What is promised of a log, in offsets:
 *   durable mode     all that was answered and all that a reader saw, whatever happens
 *   page-cache mode  what a flush round reported, when the power goes; all that was answered, when
 * the process dies
 */
#include "log_node.h"

#include "base/base.h"
#include "base/err.h"
#include "log_node_impl.h"
#include "sim_disk.h"
#include "storage/fd_cache.h"
#include "storage/flusher.h"
#include "storage/trash.h"

#define DATA_DIR "data"

enum {
    BROKER_EPOCH = 1,
    RESTART_MEAN_US = 30000,
    STEPS_OF_A_START = 60,
    AHEAD_BYTES = 900, /* more than that is written in pieces */
};

/* --- the network ---------------------------------------------------------------------------------
 */

static void answer(struct log_node *n,
                   int client,
                   int32_t number,
                   uint64_t id,
                   enum kafka_error error,
                   int64_t base_offset)
{
    struct log_answer an = {.id = id, .log = number, .error = error, .base_offset = base_offset};
    if (!simfs_is_off(n->disk)) {
        sim_note(n->s, "log %d answers %d to %" PRIu64 ", offset %" PRId64, number, error, id,
                 base_offset);
        simnet_send(n->net, n->endpoint, client, &an, sizeof(an));
    }
}

static void deliver(void *ctx, int from, const void *bytes, size_t len)
{
    struct log_node *n = ctx;
    check(n->is_up && len > sizeof(struct log_request));
    struct waiting *w = mem_zalloc(sizeof(*w));
    memcpy(&w->request, bytes, sizeof(w->request));
    w->client = from;
    w->size = len - sizeof(w->request);
    w->blob = blob_new(w->size);
    memcpy(w->blob->data, (const uint8_t *)bytes + sizeof(w->request), w->size);
    list_push_back(&n->inbox, &w->node);
    if (!sim_is_armed(&n->turn)) {
        sim_arm(n->s, &n->turn, n->rules.turn_us);
    }
}

static void drop_waiting(struct waiting *w)
{
    list_remove(&w->node);
    blob_unref(w->blob);
    mem_free(w);
}

static void drop_all_waiting(struct list *all)
{
    list_foreach_safe (node, next, all) {
        drop_waiting(list_entry(node, struct waiting, node));
    }
}

/* --- watermarks ----------------------------------------------------------------------------------
 */

static void answer_waiters(struct log_node *n, struct node_log *nl, int64_t until)
{
    list_foreach_safe (node, next, &nl->waiters) {
        struct waiting *w = list_entry(node, struct waiting, node);
        if (w->until <= until) {
            /* An answer that was not sent promises nothing. */
            if (!simfs_is_off(n->disk)) {
                nl->acked = max_i64(nl->acked, w->until);
                sim_happened(n->s, "append acknowledged");
            }
            answer(n, w->client, nl->number, w->request.id, KAFKA_ERROR_NONE, w->base_offset);
            drop_waiting(w);
        }
    }
}

static void refuse_waiters(struct log_node *n, struct node_log *nl, int64_t from)
{
    list_foreach_safe (node, next, &nl->waiters) {
        struct waiting *w = list_entry(node, struct waiting, node);
        if (w->until > from) {
            answer(n, w->client, nl->number, w->request.id, KAFKA_ERROR_KAFKA_STORAGE_ERROR, -1);
            drop_waiting(w);
        }
    }
}

static void raise_high_watermark(struct log_node *n, struct node_log *nl, int64_t offset)
{
    IGNORE(plog_advance_high_watermark(nl->pl, offset)); /* whether it moved is nobody's affair */
    answer_waiters(n, nl, offset);
}

static void want_flush(struct log_node *n, struct node_log *nl)
{
    IGNORE(flusher_add(n->fl, nl->pl)); /* one thread: nobody is to be woken */
    if (!sim_is_armed(&n->flush)) {
        sim_arm(n->s, &n->flush, n->rules.flush_us);
    }
}

static void want_operator(struct log_node *n)
{
    n->must_lose_power = true; /* the kernel may hold bytes that no sync will ever write */
    if (!sim_is_armed(&n->crash)) {
        sim_arm(n->s, &n->crash, sim_rng_exponential(&n->rng, RESTART_MEAN_US));
    }
}

/* A sync that failed says nothing about whose bytes were lost: the whole directory is offline. */
void log_node_take_offline(struct log_node *n)
{
    for (int i = 0; i < n->rules.logs; i++) {
        plog_set_offline(n->logs[i].pl);
        refuse_waiters(n, &n->logs[i], -1);
    }
    want_operator(n);
}

static void on_flushed(void *ctx, struct plog *pl, int64_t flushed, int err)
{
    struct log_node *n = ctx;
    struct node_log *nl = plog_owner(pl);
    if (simfs_is_off(n->disk)) {
        return;
    }
    if (err < 0) {
        sim_happened(n->s, "flush that failed");
        sim_expect(n->s, plog_is_offline(pl), "log %d serves after a failed flush", nl->number);
        log_node_take_offline(n);
        return;
    }
    struct plog_offsets offsets;
    plog_offsets(pl, &offsets);
    sim_expect(n->s, flushed >= nl->flushed && flushed <= offsets.written,
               "log %d: flushed %" PRId64 " after %" PRId64 ", written %" PRId64, nl->number,
               flushed, nl->flushed, offsets.written);
    nl->flushed = flushed;
    nl->stable = max_i64(nl->stable, flushed);
    if (n->rules.is_durable) {
        raise_high_watermark(n, nl, flushed);
    }
}

/* --- a turn --------------------------------------------------------------------------------------
 */

static bool is_answer_expected(struct log_node *n,
                               struct node_log *nl,
                               const struct model_answer *want,
                               const struct plog_append_result *got)
{
    bool is_same = got->error == want->error && got->is_duplicate == want->is_duplicate &&
                   (!want->is_duplicate || (got->base_offset == want->base_offset &&
                                            got->last_offset == want->last_offset));
    if (!is_same && want->may_be_forgotten) {
        sim_happened(n->s, "batch that the log had forgotten");
        is_same = !got->is_duplicate && (got->error == KAFKA_ERROR_NONE ||
                                         got->error == KAFKA_ERROR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    }
    is_same = is_same || want->may_be_anything;
    if (want->is_duplicate && got->is_duplicate) {
        sim_happened(n->s, "duplicate recognised");
    }
    return sim_expect(
        n->s, is_same,
        "log %d answers error %d%s offset %" PRId64 ", the model error %d%s offset %" PRId64,
        nl->number, got->error, got->is_duplicate ? " duplicate" : "", got->base_offset,
        want->error, want->is_duplicate ? " duplicate" : "", want->base_offset);
}

static void
take_batch(struct log_node *n, struct node_log *nl, struct waiting *w, const struct batch *b)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct plog_append in = {
        .blob = w->blob,
        .bytes = w->blob->data,
        .size = w->size,
        .batch = *b,
        .origin = w->request.is_marker ? PLOG_COORDINATOR : PLOG_CLIENT,
        .leader_epoch = nl->leader_epoch,
        .now_ms = clock_now_ms(&n->s->clock.clock),
        .arena = &arena,
    };
    struct model_answer want;
    struct plog_append_result got;
    int64_t end = log_model_end(&nl->model);
    log_model_expect(&nl->model, b, w->request.is_marker, &want);
    int err = plog_append_as_leader(nl->pl, &in, &got);
    if (err < 0) {
        answer(n, w->client, nl->number, w->request.id, KAFKA_ERROR_KAFKA_STORAGE_ERROR, -1);
        drop_waiting(w);
    } else if (!is_answer_expected(n, nl, &want, &got) || got.error != KAFKA_ERROR_NONE) {
        answer(n, w->client, nl->number, w->request.id, got.error, -1);
        drop_waiting(w);
    } else {
        struct batch stored;
        check(batch_peek(w->blob->data, w->size, &stored) >= 0);
        if (!got.is_duplicate &&
            sim_expect(n->s, got.base_offset == end && stored.base_offset == end,
                       "log %d gave offset %" PRId64 " at its end %" PRId64, nl->number,
                       got.base_offset, end)) {
            log_model_add(&nl->model, &stored);
        }
        w->base_offset = got.base_offset;
        w->until = got.last_offset + 1;
        list_remove(&w->node);
        list_push_back(&nl->waiters, &w->node);
        if (got.is_duplicate && n->rules.mistake == LOG_NODE_DUPLICATE_NOT_FLUSHED) {
            answer_waiters(n, nl, w->until);
        }
    }
    arena_release(&arena);
}

/* What is staged goes to the disk; what does not fit is taken back. Duplicates may find that their
 * originals are stable already, so the watermark is looked at in any case. */
static void write_log(struct log_node *n, struct node_log *nl)
{
    int64_t written;
    while (nl->number % 2 == 0 && plog_write_ahead(nl->pl, AHEAD_BYTES)) {
        /* As what is long is written: in pieces, before it counts. */
    }
    int err = plog_write(nl->pl, &written);
    struct plog_offsets offsets;
    plog_offsets(nl->pl, &offsets);
    if (simfs_is_off(n->disk)) {
        /* Anything may have come to the disk: the models keep what was asked for. */
        return;
    }
    if (err < 0) {
        sim_note(n->s, "log %d cannot be written: %s", nl->number, err_text(err));
        sim_happened(n->s, err == -ENOSPC ? "append refused by a full disk" : "write that failed");
        sim_expect(n->s,
                   offsets.log_end == offsets.written &&
                       offsets.log_end <= log_model_end(&nl->model),
                   "log %d ends at %" PRId64 " after a failed write, written %" PRId64, nl->number,
                   offsets.log_end, offsets.written);
        log_model_cut(&nl->model, offsets.log_end);
        refuse_waiters(n, nl, offsets.log_end);
        if (plog_is_offline(nl->pl)) {
            want_operator(n);
        }
    }
    nl->written = offsets.written;
    nl->stable = max_i64(nl->stable, offsets.flushed);
    if (offsets.written > offsets.flushed) {
        want_flush(n, nl);
    }
    bool is_soon = !n->rules.is_durable || n->rules.mistake == LOG_NODE_SHOWS_BEFORE_FLUSH;
    if (n->rules.mistake == LOG_NODE_ACKS_BEFORE_FLUSH) {
        answer_waiters(n, nl, offsets.written);
    }
    raise_high_watermark(n, nl, is_soon ? offsets.written : offsets.flushed);
}

static void take_turn(struct log_node *n)
{
    while (!list_is_empty(&n->inbox) && !n->s->has_failed) {
        struct waiting *w = list_entry(n->inbox.next, struct waiting, node);
        struct node_log *nl = &n->logs[w->request.log];
        struct batch b;
        check(batch_peek(w->blob->data, w->size, &b) >= 0);
        sim_note(n->s,
                 "log %d takes %" PRIu64 ": producer %" PRId64 " epoch %d sequence %d records %d%s",
                 nl->number, w->request.id, b.producer_id, b.producer_epoch, b.base_sequence,
                 b.records_count, w->request.is_marker ? " marker" : "");
        take_batch(n, nl, w, &b);
    }
    for (int i = 0; i < n->rules.logs && !n->s->has_failed; i++) {
        write_log(n, &n->logs[i]);
        log_node_check_offsets(n, &n->logs[i]);
    }
}

/* Before each change of the disk: other threads get their turn while a sync runs. */
static void
before_step(void *ctx, struct simfs *disk, uint64_t step, enum simfs_op op, const char *path)
{
    struct log_node *n = ctx;
    (void)disk;
    if (n->s->is_verbose) {
        printf("#     disk %" PRIu64 ": %s %s\n", step, simfs_op_name(op), path);
    }
    if (!n->is_in_background || ((unsigned)op & SIMFS_SYNCS) == 0 || list_is_empty(&n->inbox) ||
        !sim_rng_chance(&n->rng, n->rules.turns_within_syncs)) {
        return;
    }
    n->is_in_background = false;
    sim_happened(n->s, "turn in the middle of a flush");
    sim_disarm(n->s, &n->turn);
    take_turn(n);
    n->is_in_background = true;
}

/* --- life ----------------------------------------------------------------------------------------
 */

static void close_all(struct log_node *n)
{
    n->is_up = false;
    simnet_set_up(n->net, n->endpoint, false);
    sim_disarm(n->s, &n->turn);
    sim_disarm(n->s, &n->flush);
    sim_disarm(n->s, &n->crash);
    drop_all_waiting(&n->inbox);
    for (int i = 0; i < n->rules.logs; i++) {
        struct node_log *nl = &n->logs[i];
        drop_all_waiting(&nl->waiters);
        if (nl->pl != NULL) {
            flusher_remove(n->fl, nl->pl);
            IGNORE(plog_close(nl->pl, false)); /* it has nothing to write: the process is dead */
            nl->pl = NULL;
        }
    }
    n->fl = flusher_free(n->fl);
    IGNORE(log_dir_close(n->ld, false, -1)); /* the same */
    n->ld = NULL;
    n->env.fds = fd_cache_free(n->env.fds);
    n->env.trash = trash_free(n->env.trash); /* what waits is found by the next start */
}

static void die(struct log_node *n)
{
    sim_note(n->s, "the node is dead");
    close_all(n);
    sim_arm(n->s, &n->restart, sim_rng_exponential(&n->rng, RESTART_MEAN_US));
}

/* After everything that may have changed the disk. */
void log_node_end_of_event(struct log_node *n)
{
    if (n->is_up && simfs_is_off(n->disk)) {
        die(n);
    }
}

static void on_turn(struct sim_event *ev, void *ctx)
{
    (void)ev;
    take_turn(ctx);
    log_node_end_of_event(ctx);
}

static void on_flush(struct sim_event *ev, void *ctx)
{
    struct log_node *n = ctx;
    (void)ev;
    sim_note(n->s, "flush");
    n->is_in_background = true;
    flusher_round(n->fl);
    n->is_in_background = false;
    log_node_end_of_event(n);
}

static void on_crash(struct sim_event *ev, void *ctx)
{
    struct log_node *n = ctx;
    (void)ev;
    simfs_power_off(n->disk);
    log_node_end_of_event(n);
}

void log_node_crash(struct log_node *n, uint64_t step, bool is_kill)
{
    n->wants_kill = is_kill;
    sim_disk_crash(n->s, n->disk, step, is_kill);
    log_node_end_of_event(n);
}

static void on_restart(struct sim_event *ev, void *ctx)
{
    struct log_node *n = ctx;
    (void)ev;
    if (simfs_is_off(n->disk)) {
        bool is_kill = n->wants_kill && !n->must_lose_power;
        n->has_lost_power = n->has_lost_power || !is_kill;
        sim_disk_power_on(n->s, &n->rng, n->disk, is_kill);
    }
    n->must_lose_power = false;
    n->wants_kill = sim_rng_chance(&n->rng, 500);
    simfs_set_capacity(n->disk, 0);
    simfs_fail(n->disk, 0, 0, 0, 0);
    if (!n->is_calm && sim_rng_chance(&n->rng, 200)) {
        simfs_crash_at(n->disk, 1 + sim_rng_below(&n->rng, STEPS_OF_A_START));
    }
    log_node_start(n);
    log_node_end_of_event(n);
}

/* --- start and stop ------------------------------------------------------------------------------
 */

static int open_log(struct log_node *n, struct node_log *nl, bool is_clean)
{
    char topic[16];
    int len = snprintf(topic, sizeof(topic), "topic%d", nl->number);
    struct plog_open how = {
        .dir = DATA_DIR,
        .topic = str_of(topic, (size_t)len),
        .partition = nl->number,
        .topic_id = {.bytes = {1, 2, 3, [15] = (uint8_t)(nl->number + 1)}},
        .config = &n->rules.config,
        .flags = PLOG_CREATE | (is_clean ? PLOG_CLEAN : 0),
    };
    struct plog_recovery recovery;
    log_dir_lookup(n->ld, how.topic, how.partition, &how);
    int err = plog_open(&n->env, &how, &recovery, &nl->pl);
    if (err < 0) {
        nl->pl = NULL;
        return err;
    }
    sim_note(n->s, "log %d: scanned %" PRId64 " cut %" PRId64 " holes %" PRId64, nl->number,
             recovery.scanned_bytes, recovery.cut_bytes, recovery.holes);
    if (recovery.cut_bytes > 0) {
        sim_happened(n->s, "torn tail cut");
    }
    plog_set_owner(nl->pl, nl);
    return 0;
}

static int64_t promised_end(const struct log_node *n, const struct node_log *nl)
{
    int64_t promised = nl->stable;
    if (n->rules.is_durable || !n->has_lost_power) {
        promised = max_i64(promised, max_i64(nl->acked, nl->seen));
    }
    return n->has_lost_power ? promised : max_i64(promised, nl->written);
}

static int open_logs(struct log_node *n, bool is_clean)
{
    for (int i = 0; i < n->rules.logs; i++) {
        struct node_log *nl = &n->logs[i];
        nl->model.life++;
        int err = open_log(n, nl, is_clean);
        if (err >= 0) {
            err = log_node_recover_model(n, nl, promised_end(n, nl));
        }
        if (err >= 0) {
            err = plog_become_leader(nl->pl, ++nl->leader_epoch);
        }
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

static int begin_directory(struct log_node *n)
{
    struct fs *fs = simfs_fs(n->disk);
    int err = fs_mkdir(fs, DATA_DIR);
    if (err < 0 && err != -EEXIST) {
        return err;
    }
    err = fs_sync_dir(fs, "/");
    return err < 0 ? err : log_dir_open(&n->env, DATA_DIR, &n->ld);
}

void log_node_start(struct log_node *n)
{
    n->env.fds = fd_cache_new(n->env.fs, n->rules.descriptors_max);
    n->env.trash = trash_new(n->env.fs, n->env.clock);
    n->fl = flusher_new(&n->env, on_flushed, n);
    n->is_up = true;
    int err = begin_directory(n);
    bool is_clean = err >= 0 && log_dir_was_clean(n->ld);
    sim_note(n->s, "start%s", is_clean ? ", clean" : "");
    if (err >= 0) {
        err = open_logs(n, is_clean);
    }
    if (err >= 0) {
        err = log_dir_begin(n->ld);
    }
    if (err >= 0 && is_clean) {
        sim_happened(n->s, "clean start");
    }
    if (simfs_is_off(n->disk)) {
        sim_happened(n->s, "crash during recovery");
        return; /* the caller lets it die */
    }
    if (!sim_expect(n->s, err >= 0, "the logs cannot be opened: %s", err_text(err))) {
        return;
    }
    n->has_lost_power = false;
    simnet_set_up(n->net, n->endpoint, true);
    for (int i = 0; i < n->rules.logs; i++) {
        if (n->logs[i].flushed < n->logs[i].written) {
            want_flush(n, &n->logs[i]);
        }
        raise_high_watermark(n, &n->logs[i],
                             n->rules.is_durable ? n->logs[i].flushed : n->logs[i].written);
        log_node_check_offsets(n, &n->logs[i]);
    }
}

/* After a checkpoint, which flushes. */
static void look_at_flushed(struct log_node *n, struct node_log *nl)
{
    struct plog_offsets offsets;
    if (plog_is_offline(nl->pl)) {
        log_node_take_offline(n);
        return;
    }
    plog_offsets(nl->pl, &offsets);
    nl->flushed = offsets.flushed;
    nl->stable = max_i64(nl->stable, nl->flushed);
    raise_high_watermark(n, nl, n->rules.is_durable ? offsets.flushed : offsets.written);
}

void log_node_checkpoint(struct log_node *n)
{
    struct plog *logs[LOG_NODE_LOGS_MAX];
    if (!n->is_up) {
        return;
    }
    for (int i = 0; i < n->rules.logs; i++) {
        logs[i] = n->logs[i].pl;
    }
    sim_note(n->s, "checkpoint");
    n->is_in_background = true;
    int err = log_dir_checkpoint(n->ld, logs, (size_t)n->rules.logs);
    n->is_in_background = false;
    if (err < 0) {
        sim_note(n->s, "the checkpoint fails: %s", err_text(err));
    }
    for (int i = 0; i < n->rules.logs && !simfs_is_off(n->disk); i++) {
        look_at_flushed(n, &n->logs[i]);
    }
    log_node_end_of_event(n);
}

static void on_not_removed(void *ctx, const char *path, int err)
{
    struct log_node *n = ctx;
    sim_note(n->s, "%s is not removed: %s", path, err_text(err)); /* a call that was made to fail */
}

void log_node_empty_trash(struct log_node *n)
{
    if (!n->is_up || trash_wait_ms(n->env.trash) > 0) {
        return;
    }
    sim_happened(n->s, "deleted files removed");
    trash_empty(n->env.trash, on_not_removed, n);
    log_node_end_of_event(n);
}

void log_node_stop(struct log_node *n)
{
    if (!n->is_up) {
        return;
    }
    sim_note(n->s, "stop");
    int err = 0;
    for (int i = 0; i < n->rules.logs; i++) {
        struct node_log *nl = &n->logs[i];
        drop_all_waiting(&nl->waiters);
        flusher_remove(n->fl, nl->pl);
        int closed = log_dir_close_plog(n->ld, nl->pl, true);
        nl->pl = NULL;
        err = err < 0 ? err : closed;
    }
    int closed = log_dir_close(n->ld, true, BROKER_EPOCH);
    n->ld = NULL;
    err = err < 0 ? err : closed;
    if (err < 0) {
        sim_note(n->s, "the stop is not clean: %s", err_text(err));
        n->must_lose_power = true;
    } else {
        sim_happened(n->s, "clean stop");
        for (int i = 0; i < n->rules.logs; i++) {
            n->logs[i].stable = n->logs[i].written;
        }
    }
    if (err < 0 || sim_rng_chance(&n->rng, 300)) {
        simfs_power_off(n->disk);
    }
    die(n);
}

/* --- faults --------------------------------------------------------------------------------------
 */

void log_node_fail_some_call(struct log_node *n)
{
    sim_disk_fail_some_call(n->s, &n->rng, n->disk, true);
}

void log_node_limit_disk(struct log_node *n, int64_t bytes)
{
    sim_disk_limit(n->s, n->disk, bytes);
}

void log_node_calm(struct log_node *n)
{
    n->is_calm = true;
    sim_disk_calm(n->disk);
}

static void draw_config(struct sim_rng *rng, struct plog_config *ret)
{
    *ret = (struct plog_config){
        .rules =
            {
                .max_message_bytes = 1 << 20,
                .max_decompressed_bytes = 1 << 20,
                .timestamp_before_max_ms = INT64_MAX,
                .timestamp_after_max_ms = INT64_MAX,
                .keeps_codec = true,
            },
        .segment_bytes = sim_rng_between(rng, 6000, sim_rng_chance(rng, 300) ? 1 << 20 : 40000),
        .segment_ms = INT64_C(604800000),
        .segment_index_bytes = sim_rng_between(rng, 120, 10000),
        .index_interval_bytes = sim_rng_between(rng, 1, sim_rng_chance(rng, 300) ? 100000 : 4096),
        .retention_ms = -1,
        .retention_bytes = -1,
        .producer_id_expiration_ms = INT64_C(86400000),
        .file_delete_delay_ms = sim_rng_between(rng, 0, 200),
        .is_delete_policy = true,
        .preallocate = sim_rng_chance(rng, 150),
    };
}

void log_node_rules_draw(struct sim_rng *rng, struct log_node_rules *ret)
{
    *ret = (struct log_node_rules){
        .logs = sim_rng_chance(rng, 100) ? LOG_NODE_LOGS_MAX : 1 + (int)sim_rng_below(rng, 4),
        .is_durable = sim_rng_chance(rng, 800),
        .descriptors_max = 1 + sim_rng_below(rng, 8),
        .turns_within_syncs = sim_rng_chance(rng, 700) ? sim_rng_below(rng, 1000) : 0,
        .turn_us = sim_rng_between(rng, 0, 3000),
        .flush_us = sim_rng_between(rng, 0, sim_rng_chance(rng, 300) ? 30000 : 5000),
    };
    draw_config(rng, &ret->config);
}

/* --- birth and death -----------------------------------------------------------------------------
 */

static unsigned lies_of(enum log_node_mistake mistake)
{
    return mistake == LOG_NODE_NO_DIRECTORY_SYNC ? SIM_DISK_SYNC_DIR
           : mistake == LOG_NODE_NO_DATA_SYNC    ? SIM_DISK_DATASYNC
                                                 : 0;
}

struct log_node *log_node_new(struct sim *s, struct simnet *net, const struct log_node_rules *rules)
{
    struct log_node *n = mem_zalloc(sizeof(*n));
    check(rules->logs > 0 && rules->logs <= LOG_NODE_LOGS_MAX);
    n->s = s;
    n->net = net;
    n->rules = *rules;
    sim_rng_init(&n->rng, s->seed, "node");
    struct simnet_endpoint ep = {.deliver = deliver, .ctx = n};
    n->endpoint = simnet_add(net, &ep);
    n->disk = simfs_new(&s->clock.clock);
    simfs_on_step(n->disk, before_step, n);
    simfs_set_fsyncgate(n->disk, true);
    sim_disk_plant(n->disk, lies_of(rules->mistake), &n->lying);
    n->env = (struct plog_env){.fs = simfs_fs(n->disk), .clock = &s->clock.clock};
    list_init(&n->inbox);
    sim_event_init(&n->turn, on_turn, n);
    sim_event_init(&n->flush, on_flush, n);
    sim_event_init(&n->crash, on_crash, n);
    sim_event_init(&n->restart, on_restart, n);
    for (int i = 0; i < rules->logs; i++) {
        n->logs[i].number = i;
        list_init(&n->logs[i].waiters);
    }
    return n;
}

struct log_node *log_node_free(struct log_node *n)
{
    if (n->is_up) {
        close_all(n);
    }
    sim_disarm(n->s, &n->restart);
    for (int i = 0; i < n->rules.logs; i++) {
        log_model_release(&n->logs[i].model);
    }
    simfs_free(n->disk);
    return mem_free(n);
}

int log_node_endpoint(const struct log_node *n)
{
    return n->endpoint;
}

bool log_node_is_up(const struct log_node *n)
{
    return n->is_up;
}
