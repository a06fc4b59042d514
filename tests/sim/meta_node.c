/* See meta_node.h. This file is the node's life; meta_decide.c and meta_check.c are the rest. */
#include "meta_node.h"

#include "base/base.h"
#include "base/err.h"
#include "meta/bootstrap.h"
#include "meta/image.h"
#include "meta_node_impl.h"
#include "raft/format.h"
#include "raft/raft_node.h"
#include "sim_disk.h"
#include "storage/fd_cache.h"

enum {
    RESTART_MEAN_US = 30000,
    STEPS_OF_A_START = 80,
    DESCRIPTORS_MAX = 4,
};

static void
before_step(void *ctx, struct simfs *disk, uint64_t step, enum simfs_op op, const char *path)
{
    const struct meta_node *n = ctx;
    (void)disk;
    if (n->s->is_verbose) {
        printf("#     disk %" PRIu64 ": %s %s\n", step, simfs_op_name(op), path);
    }
}

/* --- jobs ----------------------------------------------------------------------------------------
 */

static void send_answer(struct meta_node *n, struct meta_job *mj)
{
    if (mj->type == META_JOB_REQUEST && !simfs_is_off(n->disk)) {
        sim_note(n->s, "answer %d to %" PRIu64, mj->answer.error, mj->request.id);
        simnet_send(n->net, n->endpoint, mj->client, &mj->answer, sizeof(mj->answer));
    }
}

static void drop_job(struct meta_job *mj)
{
    list_remove(&mj->node);
    mem_free(mj);
}

static void drop_all_jobs(struct list *jobs)
{
    list_foreach_safe (node, next, jobs) {
        drop_job(list_entry(node, struct meta_job, node));
    }
}

static struct meta_job *add_job(struct meta_node *n, enum meta_job_type type)
{
    struct meta_job *mj = mem_zalloc(sizeof(*mj));
    mj->type = type;
    list_push_back(&n->jobs, &mj->node);
    if (!sim_is_armed(&n->turn)) {
        sim_arm(n->s, &n->turn, n->rules.turn_us);
    }
    return mj;
}

static void deliver(void *ctx, int from, const void *bytes, size_t len)
{
    struct meta_node *n = ctx;
    struct meta_request rq;
    check(n->is_up && len == sizeof(rq));
    memcpy(&rq, bytes, sizeof(rq));
    if (rq.operation == META_DESCRIBE) {
        struct meta_answer an = {.id = rq.id, .count = rq.count};
        meta_describe(n->published, &rq, &an);
        simnet_send(n->net, n->endpoint, from, &an, sizeof(an));
        return;
    }
    struct meta_job *mj = add_job(n, META_JOB_REQUEST);
    mj->client = from;
    mj->request = rq;
}

void meta_node_change_broker(struct meta_node *n)
{
    if (!n->is_up) {
        return;
    }
    int32_t id = (int32_t)sim_rng_between(&n->rng, META_NODE_ID + 1, META_BROKERS);
    if (sim_rng_chance(&n->rng, 500)) {
        add_job(n, META_JOB_REGISTER)->broker = id;
        add_job(n, META_JOB_SERVE)->broker = id;
    } else {
        add_job(n, META_JOB_RETIRE)->broker = id;
    }
}

/* --- a turn: the broker's metadata thread --------------------------------------------------------
 */

static int
replay(struct meta_node *n, const struct view *records, size_t count, int64_t base_offset)
{
    if (count == 0) {
        return 0;
    }
    struct image_delta *d = image_delta_new(n->newest);
    for (size_t i = 0; i < count; i++) {
        int err = image_delta_replay(d, records[i]);
        if (!sim_expect(n->s, err >= 0, "a decided record cannot be replayed: %s", err_text(err))) {
            image_delta_free(d);
            return err;
        }
    }
    struct image *next =
        image_delta_finish(d, base_offset + to_i64(count) - 1, raft_node_epoch(n->rn));
    image_unref(n->newest);
    n->newest = next;
    return 0;
}

static int append(struct meta_node *n, struct meta_records *records)
{
    int64_t base_offset;
    if (records->count == 0) {
        return 0;
    }
    int err = raft_node_append(n->rn, records->items, records->count, &base_offset);
    meta_records_init(records, records->arena);
    return err;
}

/* The mistake of the two batches: a sync between them, as a full batch would have it. */
static int split(struct meta_node *n, struct meta_records *pending)
{
    int64_t base_offset;
    int64_t committed;
    if (n->rules.mistake != META_NODE_SPLITS_REQUESTS || pending->count < 2) {
        return 0;
    }
    size_t half = pending->count / 2;
    int err = raft_node_append(n->rn, pending->items, half, &base_offset);
    if (err >= 0) {
        err = raft_node_flush(n->rn, &committed);
    }
    pending->items += half;
    pending->count -= half;
    return err;
}

/* Decides one job; its records wait among the pending ones. */
static int decide(struct meta_node *n, struct meta_job *mj, struct meta_records *pending)
{
    struct meta_records own;
    int64_t base_offset = raft_node_next_offset(n->rn) + to_i64(pending->count);
    meta_records_init(&own, pending->arena);
    mj->answer = (struct meta_answer){
        .id = mj->request.id,
        .count = mj->request.count,
        .first_producer_id = -1,
    };
    bool is_old = n->rules.mistake == META_NODE_OLD_IMAGE;
    meta_decide(n, mj, is_old ? n->published : n->newest, base_offset, &own);
    meta_history_add(&n->history, base_offset, raft_node_epoch(n->rn), own.items, own.count);
    int err = replay(n, own.items, own.count, base_offset);
    if (err >= 0) {
        meta_records_add_all(pending, &own);
    }
    meta_note_makers(n, mj);
    return err;
}

static void publish(struct meta_node *n)
{
    image_unref(n->published);
    n->published = image_ref(n->newest);
    meta_check_published(n);
}

static int write_image(void *ctx, int (*each)(void *each_ctx, struct view value), void *each_ctx)
{
    return image_write_snapshot(ctx, each, each_ctx);
}

static void take_snapshot(struct meta_node *n)
{
    if (!raft_node_snapshot_is_due(n->rn)) {
        return;
    }
    sim_note(n->s, "snapshot at %" PRId64, image_offset(n->newest));
    int err = raft_node_snapshot(n->rn, image_offset(n->newest), image_epoch(n->newest),
                                 write_image, n->newest);
    if (err < 0) {
        sim_note(n->s, "no snapshot: %s", err_text(err));
    } else {
        sim_happened(n->s, "snapshot");
    }
}

static int commit(struct meta_node *n)
{
    int64_t committed;
    int err = raft_node_flush(n->rn, &committed);
    if (err < 0 || simfs_is_off(n->disk)) {
        return err < 0 ? err : -EIO;
    }
    sim_expect(n->s, committed == meta_history_end(&n->history),
               "committed to %" PRId64 " of %" PRId64, committed, meta_history_end(&n->history));
    n->history.committed = committed;
    return 0;
}

static void answer_all(struct meta_node *n, struct list *jobs, enum kafka_error error)
{
    list_foreach (node, jobs) {
        struct meta_job *mj = list_entry(node, struct meta_job, node);
        if (error != KAFKA_ERROR_NONE) {
            mj->answer = (struct meta_answer){.id = mj->request.id, .error = error};
        } else if (mj->type == META_JOB_REQUEST && mj->request.operation == META_IDS) {
            meta_check_block(n, mj->answer.first_producer_id);
        }
        send_answer(n, mj);
    }
}

static int work_off(struct meta_node *n, struct list *jobs, struct arena *arena)
{
    struct meta_records pending;
    int err = 0;
    meta_records_init(&pending, arena);
    list_foreach (node, jobs) {
        err = decide(n, list_entry(node, struct meta_job, node), &pending);
        if (err < 0 || n->s->has_failed) {
            return err;
        }
    }
    if (n->rules.mistake == META_NODE_ANSWERS_BEFORE_FLUSH) {
        n->history.committed = meta_history_end(&n->history);
    }
    err = split(n, &pending);
    if (err >= 0) {
        err = append(n, &pending);
    }
    if (err >= 0 && n->newest != n->published) {
        err = commit(n);
    }
    if (err >= 0) {
        publish(n);
    }
    return err;
}

/* There was no room: the log and the images are what they were, and the node goes on. */
static void refuse_turn(struct meta_node *n, struct list *jobs, int err)
{
    sim_note(n->s, "the turn is refused: %s", err_text(err));
    sim_happened(n->s, "turn refused by a full disk");
    image_unref(n->newest);
    n->newest = image_ref(n->published);
    sim_expect(n->s, raft_node_next_offset(n->rn) == n->history.committed,
               "a refused append leaves the log at %" PRId64 ", committed to %" PRId64,
               raft_node_next_offset(n->rn), n->history.committed);
    meta_history_cut(&n->history, n->history.committed);
    answer_all(n, jobs, KAFKA_ERROR_KAFKA_STORAGE_ERROR);
}

static void take_turn(struct meta_node *n)
{
    struct arena arena;
    struct list jobs;
    arena_init(&arena, 0);
    list_init(&jobs);
    list_splice_back(&jobs, &n->jobs);
    sim_note(n->s, "turn at %" PRId64, raft_node_next_offset(n->rn));
    int err = work_off(n, &jobs, &arena);
    if (err >= 0 && !n->s->has_failed) {
        answer_all(n, &jobs, KAFKA_ERROR_NONE);
        take_snapshot(n);
    } else if (err_is_passing(err) && raft_node_is_usable(n->rn) && !n->s->has_failed) {
        refuse_turn(n, &jobs, err);
    } else if (!simfs_is_off(n->disk)) {
        /* The process ends: nobody knows what the log holds. */
        sim_note(n->s, "the log fails: %s", err_text(err));
        sim_happened(n->s, "metadata log that failed");
        answer_all(n, &jobs, KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
        drop_all_jobs(&jobs);
        simfs_power_off(n->disk); /* by the operator: the kernel's pages are not to be trusted */
        n->wants_kill = false;
    }
    drop_all_jobs(&jobs);
    arena_release(&arena);
}

/* --- life ----------------------------------------------------------------------------------------
 */

static void close_all(struct meta_node *n)
{
    n->is_up = false;
    simnet_set_up(n->net, n->endpoint, false);
    sim_disarm(n->s, &n->turn);
    drop_all_jobs(&n->jobs);
    IGNORE(raft_node_close(n->rn, false)); /* it has nothing to write: the process is dead */
    n->rn = NULL;
    IGNORE(log_dir_close(n->ld, false, -1)); /* the same */
    n->ld = NULL;
    n->newest = image_unref(n->newest);
    n->published = image_unref(n->published);
    n->env.fds = fd_cache_free(n->env.fds);
}

static void die(struct meta_node *n)
{
    sim_note(n->s, "the node is dead");
    close_all(n);
    sim_arm(n->s, &n->restart, sim_rng_exponential(&n->rng, RESTART_MEAN_US));
}

void meta_node_end_of_event(struct meta_node *n)
{
    if (n->is_up && simfs_is_off(n->disk)) {
        die(n);
    }
}

static void on_turn(struct sim_event *ev, void *ctx)
{
    (void)ev;
    take_turn(ctx);
    meta_node_end_of_event(ctx);
}

void meta_node_crash(struct meta_node *n, uint64_t step, bool is_kill)
{
    n->wants_kill = is_kill;
    sim_disk_crash(n->s, n->disk, step, is_kill);
    meta_node_end_of_event(n);
}

void meta_node_crash_first_start(struct meta_node *n)
{
    n->wants_kill = sim_rng_chance(&n->rng, 300);
    simfs_crash_at(n->disk, 1 + sim_rng_below(&n->rng, STEPS_OF_A_START));
}

static void on_restart(struct sim_event *ev, void *ctx)
{
    struct meta_node *n = ctx;
    (void)ev;
    if (simfs_is_off(n->disk)) {
        sim_disk_power_on(n->s, &n->rng, n->disk, n->wants_kill);
    }
    n->wants_kill = sim_rng_chance(&n->rng, 500);
    simfs_set_capacity(n->disk, 0);
    simfs_fail(n->disk, 0, 0, 0, 0);
    if (!n->is_calm && sim_rng_chance(&n->rng, 250)) {
        simfs_crash_at(n->disk, 1 + sim_rng_below(&n->rng, STEPS_OF_A_START));
    }
    meta_node_start(n);
    meta_node_end_of_event(n);
}

/* --- start ---------------------------------------------------------------------------------------
 */

static int format(struct meta_node *n)
{
    static const char *const dirs[] = {META_DIR};
    struct arena arena;
    struct bootstrap_levels levels;
    struct meta_records records;
    arena_init(&arena, 0);
    meta_records_init(&records, &arena);
    bootstrap_levels_at(METADATA_VERSION_LATEST, &levels);
    check(bootstrap_features(&records, &levels) >= 0);
    struct format_options options = {
        .dirs = dirs,
        .dirs_count = 1,
        .metadata_dir = META_DIR,
        .cluster_id = STR("AAAAAAAAAAAAAAAAAAAAAA"),
        .node_id = META_NODE_ID,
        .is_dynamic = true,
        .endpoint = {.listener = STR("CONTROLLER"), .host = STR("localhost"), .port = 9093},
        .records = records.items,
        .records_count = records.count,
    };
    struct format_result result;
    int err = format_directories(n->env.fs, n->env.clock, &options, &result);
    arena_release(&arena);
    return err;
}

static int begin_directory(struct meta_node *n, struct meta_properties *ret)
{
    enum format_state state;
    int err = format_inspect(n->env.fs, META_DIR, &state);
    if (err < 0) {
        return err;
    }
    if (state != FORMAT_FORMATTED) {
        sim_expect(n->s, !n->has_identity && state != FORMAT_FOREIGN,
                   "the formatted directory is gone (%d)", (int)state);
        err = format(n);
        if (err < 0) {
            return err;
        }
    }
    err = meta_properties_read(n->env.fs, META_DIR, ret);
    if (err >= 0) {
        err = log_dir_open(&n->env, META_DIR, &n->ld);
    }
    return err;
}

static int write_records(struct meta_node *n, struct meta_records *records)
{
    int64_t base_offset = raft_node_next_offset(n->rn);
    meta_history_add(&n->history, base_offset, raft_node_epoch(n->rn), records->items,
                     records->count);
    int err = replay(n, records->items, records->count, base_offset);
    return err < 0 ? err : append(n, records);
}

static int lead(struct meta_node *n)
{
    int64_t before = raft_node_next_offset(n->rn);
    int err = raft_node_lead(n->rn);
    if (err < 0) {
        return err;
    }
    int64_t count = raft_node_next_offset(n->rn) - before;
    meta_history_add(&n->history, before, raft_node_epoch(n->rn), NULL, to_size(count));
    sim_expect(n->s, raft_node_epoch(n->rn) > n->epoch_ever, "leads in epoch %d after %d",
               raft_node_epoch(n->rn), n->epoch_ever);
    return 0;
}

static int begin_cluster(struct meta_node *n, struct meta_records *records)
{
    const struct view *first;
    size_t count;
    sim_expect(n->s, !image_is_in_transaction(n->newest), "a transaction of records was left open");
    if (image_offset(n->newest) >= 0) {
        return 0;
    }
    raft_node_bootstrap(n->rn, &first, &count);
    sim_expect(n->s, count > 0, "the records that begin the cluster are gone");
    int err = bootstrap_cluster(records, first, count, STR("1"));
    return err < 0 ? err : write_records(n, records);
}

static int register_node(struct meta_node *n, struct meta_records *records)
{
    struct image_endpoint ep = {.name = STR("PLAINTEXT"), .host = STR("localhost"), .port = 9092};
    const struct image_broker *b = image_broker(n->newest, META_NODE_ID);
    bool was_clean = b != NULL && log_dir_previous_broker_epoch(n->ld) == b->epoch;
    struct bootstrap_node node = {
        .id = META_NODE_ID,
        .endpoints = &ep,
        .endpoints_count = 1,
        .log_dirs = &n->identity.directory_id,
        .log_dirs_count = 1,
    };
    clock_random_uuid(n->env.clock, &node.incarnation_id);
    n->broker_epoch = raft_node_next_offset(n->rn);
    int err = bootstrap_register_broker(records, &node, n->broker_epoch, METADATA_VERSION_LATEST);
    if (err >= 0) {
        err = write_records(n, records);
    }
    if (err < 0) {
        return err;
    }
    controller_broker_serves(n->newest, META_NODE_ID, was_clean, records);
    return write_records(n, records);
}

/* What was loaded is what was promised; from here on the history goes on. */
static int adopt(struct meta_node *n, struct meta_loaded *ml)
{
    n->rn = ml->rn;
    n->newest = ml->image;
    n->published = image_ref(n->newest);
    sim_note(n->s, "loaded to %" PRId64 ", committed %" PRId64 " of %" PRId64, ml->end,
             n->history.committed, meta_history_end(&n->history));
    if (ml->end < meta_history_end(&n->history)) {
        sim_happened(n->s, "unanswered change lost");
    }
    bool is_good = meta_history_check(&n->history, n->s, "a start", ml->end, n->newest);
    meta_history_cut(&n->history, ml->end);
    return is_good ? 0 : ERR_CORRUPT;
}

static int begin(struct meta_node *n)
{
    struct arena arena;
    struct meta_records records;
    arena_init(&arena, 0);
    meta_records_init(&records, &arena);
    int err = log_dir_begin(n->ld);
    err = err < 0 ? err : lead(n);
    err = err < 0 ? err : begin_cluster(n, &records);
    err = err < 0 ? err : register_node(n, &records);
    err = err < 0 ? err : commit(n);
    arena_release(&arena);
    return err;
}

static int start(struct meta_node *n)
{
    struct meta_properties mp;
    struct meta_loaded ml;
    int err = begin_directory(n, &mp);
    if (err < 0) {
        return err;
    }
    sim_expect(n->s, !n->has_identity || uuid_equal(&mp.directory_id, &n->identity.directory_id),
               "the directory has another identity");
    n->identity = mp;
    err = meta_load(n, &n->env, &mp.directory_id, &ml);
    if (err < 0) {
        return err;
    }
    err = adopt(n, &ml);
    return err < 0 ? err : begin(n);
}

void meta_node_start(struct meta_node *n)
{
    n->env.fds = fd_cache_new(n->env.fs, DESCRIPTORS_MAX);
    n->is_up = true;
    sim_note(n->s, "start");
    int err = start(n);
    if (simfs_is_off(n->disk)) {
        sim_happened(n->s, "crash during a start");
        return; /* the caller lets it die */
    }
    if (!sim_expect(n->s, err >= 0, "the node cannot start: %s", err_text(err))) {
        return;
    }
    n->has_identity = true;
    n->epoch_ever = raft_node_epoch(n->rn);
    publish(n);
    take_snapshot(n);
    simnet_set_up(n->net, n->endpoint, true);
}

static int retire(struct meta_node *n)
{
    struct arena arena;
    struct meta_records records;
    arena_init(&arena, 0);
    meta_records_init(&records, &arena);
    controller_broker_stops(n->newest, META_NODE_ID, &records);
    int err = write_records(n, &records);
    err = err < 0 ? err : commit(n);
    arena_release(&arena);
    return err;
}

void meta_node_stop(struct meta_node *n)
{
    if (!n->is_up) {
        return;
    }
    sim_note(n->s, "stop");
    int err = retire(n);
    int closed = raft_node_close(n->rn, err >= 0);
    n->rn = NULL;
    err = err < 0 ? err : closed;
    closed = log_dir_close(n->ld, err >= 0, n->broker_epoch);
    n->ld = NULL;
    err = err < 0 ? err : closed;
    if (err >= 0) {
        sim_happened(n->s, "clean stop");
    }
    if (err < 0 || sim_rng_chance(&n->rng, 300)) {
        simfs_power_off(n->disk);
        n->wants_kill = false;
    }
    die(n);
}

/* --- faults --------------------------------------------------------------------------------------
 */

void meta_node_fail_some_call(struct meta_node *n)
{
    sim_disk_fail_some_call(n->s, &n->rng, n->disk, false);
}

void meta_node_limit_disk(struct meta_node *n, int64_t bytes)
{
    sim_disk_limit(n->s, n->disk, bytes);
}

void meta_node_calm(struct meta_node *n)
{
    n->is_calm = true;
    sim_disk_calm(n->disk);
}

/* --- birth and death -----------------------------------------------------------------------------
 */

void meta_node_rules_draw(struct sim_rng *rng, struct meta_node_rules *ret)
{
    *ret = (struct meta_node_rules){
        .segment_bytes = sim_rng_between(rng, 2000, sim_rng_chance(rng, 500) ? 1 << 20 : 20000),
        .snapshot_bytes = sim_rng_between(rng, 300, sim_rng_chance(rng, 300) ? 1 << 20 : 20000),
        .retention_bytes = sim_rng_chance(rng, 600) ? sim_rng_between(rng, 100, 50000) : -1,
        .turn_us = sim_rng_between(rng, 0, 4000),
    };
}

static void random_bytes(void *ctx, void *ret_bytes, size_t len)
{
    struct meta_node *n = ctx;
    clock_random(&n->s->clock.clock, ret_bytes, len);
}

static enum kafka_error check_configs(void *ctx,
                                      const struct image *im,
                                      const struct image_config *configs,
                                      size_t count,
                                      struct arena *arena,
                                      struct str *ret_message)
{
    (void)ctx;
    (void)im;
    (void)configs;
    (void)count;
    (void)arena;
    (void)ret_message;
    return KAFKA_ERROR_NONE;
}

static unsigned lies_of(enum meta_node_mistake mistake)
{
    return mistake == META_NODE_NO_DIRECTORY_SYNC ? SIM_DISK_SYNC_DIR
           : mistake == META_NODE_NO_FILE_SYNC    ? SIM_DISK_DATASYNC | SIM_DISK_FSYNC
                                                  : 0;
}

struct meta_node *
meta_node_new(struct sim *s, struct simnet *net, const struct meta_node_rules *rules)
{
    struct meta_node *n = mem_zalloc(sizeof(*n));
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
    n->ct = (struct controller){
        .node_id = META_NODE_ID,
        .default_partitions = 1,
        .default_replication_factor = 1,
        .ctx = n,
        .random = random_bytes,
        .check_configs = check_configs,
    };
    list_init(&n->jobs);
    sim_event_init(&n->turn, on_turn, n);
    sim_event_init(&n->restart, on_restart, n);
    return n;
}

struct meta_node *meta_node_free(struct meta_node *n)
{
    if (n->is_up) {
        close_all(n);
    }
    sim_disarm(n->s, &n->restart);
    meta_history_release(&n->history);
    meta_check_release(n);
    simfs_free(n->disk);
    return mem_free(n);
}

int meta_node_endpoint(const struct meta_node *n)
{
    return n->endpoint;
}

bool meta_node_is_up(const struct meta_node *n)
{
    return n->is_up;
}
