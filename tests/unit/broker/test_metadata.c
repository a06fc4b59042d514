/*
 * The metadata thread on a simulated disk: one broker without sockets, whose loop the test turns
 * itself. Jobs are handed in before the thread runs, so that it finds them all at once; the disk
 * counts syncs, fails them, is full at each of its writes in turn, and loses its power. What was
 * answered must be there afterwards; what a failed log holds, or was refused, must not be seen.
 */
#include "unit.h"

#include "base/err.h"
#include "broker/background.h"
#include "broker/broker.h"
#include "broker/config.h"
#include "broker/group_commit.h"
#include "broker/log_dirs.h"
#include "broker/metadata.h"
#include "broker/partition.h"
#include "broker/partition_table.h"
#include "meta/bootstrap.h"
#include "meta/controller.h"
#include "meta/features.h"
#include "net/loop.h"
#include "raft/raft_node.h"
#include "simclock.h"
#include "simfs.h"
#include "storage/fd_cache.h"
#include "wire/gen/messages.h"

struct world {
    struct simclock sc;
    struct simfs *disk;
    struct plog_env env;
    struct broker br;
    struct broker_listener listener;
    struct loop *lp;
    struct metadata *md;
    char error[1024];
    bool is_thread_started;
    int fatals;
    int log_syncs; /* of the metadata log */
};

struct topic_job {
    struct metadata_job mj;
    struct world *w;
    struct arena arena;
    struct create_topics_request_creatable_topic topic;
    struct create_topics_request req;
    struct create_topics_response out;
    int64_t producer_id;
    int err;
    bool is_done;
};

static void next_bytes(void *ctx, void *ret_bytes, size_t len)
{
    struct world *w = ctx;
    clock_random(&w->sc.clock, ret_bytes, len);
}

static void count_sync(void *ctx,
                       struct simfs *s unused_ok,
                       uint64_t step unused_ok,
                       enum simfs_op op,
                       const char *path)
{
    struct world *w = ctx;
    if ((op & SIMFS_SYNCS) != 0 && strstr(path, "__cluster_metadata-0") != NULL) {
        w->log_syncs++;
    }
}

static void on_fatal(void *ctx, int err)
{
    struct world *w = ctx;
    assert_true(err < 0);
    w->fatals++;
}

/* ---- a broker's life ---- */

static void make_config(struct world *w)
{
    w->br.config = config_new();
    config_set(w->br.config, STR("log.dirs"), STR("/data"), CONFIG_ORIGIN_FILE);
    config_set(w->br.config, STR("node.id"), STR("1"), CONFIG_ORIGIN_FILE);
    config_sort(w->br.config);
}

static void set_config(struct world *w, const char *name, const char *value)
{
    config_set(w->br.config, str_from(name), str_from(value), CONFIG_ORIGIN_COMMAND_LINE);
    config_sort(w->br.config);
}

static void prepare(struct world *w)
{
    w->env = (struct plog_env){
        .fs = simfs_fs(w->disk), .clock = &w->sc.clock, .metrics = &w->br.metrics};
    w->env.fds = fd_cache_new(w->env.fs, 100);
    w->br.clock = &w->sc.clock;
    w->br.fs = w->env.fs;
    w->br.env = &w->env;
    w->br.fds = w->env.fds;
    w->br.node_id = config_node_id(w->br.config);
    w->br.listeners = &w->listener;
    w->br.listeners_count = 1;
    clock_random_uuid(&w->sc.clock, &w->br.incarnation_id);
    const struct loop_options options = {.clock = &w->sc.clock};
    assert_int_equal(loop_new(&options, &w->lp), 0);
}

static void on_flushed(void *ctx, struct plog *pl, int64_t flushed, int err)
{
    (void)ctx;
    partition_flushed(plog_owner(pl), flushed, err);
}

static void on_image(struct broker *br, const struct image *before, struct image *after)
{
    partition_apply_image(br->partitions, before, after);
}

/* Everything up to the first image; the thread does not run yet. */
static int open_broker(struct world *w)
{
    prepare(w);
    int r = metadata_format(&w->br, w->error, sizeof(w->error));
    r = r < 0 ? r : log_dirs_open(&w->br, &w->br.log_dirs, w->error, sizeof(w->error));
    if (r < 0) {
        return r;
    }
    w->br.partitions = partition_table_new(&w->br);
    w->br.group_commit = group_commit_new(&w->env, on_flushed, NULL);
    assert_int_equal(group_commit_start(w->br.group_commit), 0);
    const struct background_options threads = {.clock = w->br.clock, .answers = &w->br.answers};
    w->br.background = background_new(&threads);
    assert_int_equal(background_start(w->br.background), 0);
    struct log_dir_entry *dirs;
    size_t count;
    log_dirs_entries(w->br.log_dirs, &dirs, &count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(log_dir_begin(dirs[i].ld), 0);
    }
    r = metadata_open(&w->br, on_image, &w->md, w->error, sizeof(w->error));
    if (r >= 0) {
        w->br.metadata = w->md;
        metadata_set_fatal(w->md, on_fatal, w);
        simfs_on_step(w->disk, count_sync, w);
    }
    return r;
}

static void start_thread(struct world *w)
{
    assert_int_equal(metadata_start(w->md), 0);
    w->is_thread_started = true;
}

static void close_broker(struct world *w, bool is_clean)
{
    if (w->md != NULL) {
        metadata_stop(w->md, is_clean);
    }
    if (w->br.background != NULL) {
        background_stop(w->br.background);
        group_commit_stop(w->br.group_commit);
    }
    loop_turn(w->lp, false);
    if (w->br.partitions != NULL) {
        partition_table_close(w->br.partitions, is_clean);
    }
    w->md = metadata_free(w->md);
    w->br.metadata = NULL;
    w->br.log_dirs = log_dirs_close(w->br.log_dirs, is_clean);
    w->br.partitions = partition_table_free(w->br.partitions);
    w->br.background = background_free(w->br.background);
    w->br.group_commit = group_commit_free(w->br.group_commit);
    w->lp = loop_free(w->lp);
    fd_cache_free(w->env.fds);
    w->is_thread_started = false;
}

static void open_again(struct world *w)
{
    w->br.cluster_id[0] = '\0';
    assert_int_equal(open_broker(w), 0);
}

static int setup(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    simclock_init(&w->sc, 3);
    w->disk = simfs_new(&w->sc.clock);
    w->listener = (struct broker_listener){.name = STR("PLAINTEXT"),
                                           .advertised_host = STR("here"),
                                           .port = 9092,
                                           .advertised_port = 9092};
    metrics_init(&w->br.metrics);
    make_config(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    simfs_free(w->disk);
    config_free(w->br.config);
    metrics_release(&w->br.metrics);
    mem_free(w);
    return 0;
}

/* ---- jobs ---- */

static void
decide_topic(struct metadata_job *mj, const struct image *im, struct meta_records *records)
{
    struct topic_job *tj = container_of(mj, struct topic_job, mj);
    struct controller ct = {.node_id = 1,
                            .default_partitions = 1,
                            .default_replication_factor = 1,
                            .ctx = tj->w,
                            .random = next_bytes};
    controller_create_topics(&ct, im, &tj->req, NULL, NULL, &tj->arena, records, &tj->out);
}

static void done_topic(struct metadata_job *mj, int err)
{
    struct topic_job *tj = container_of(mj, struct topic_job, mj);
    tj->err = err;
    tj->is_done = true;
}

static void submit_topic(struct world *w, struct topic_job *tj, const char *name)
{
    *tj = (struct topic_job){.w = w,
                             .mj = {.loop = w->lp, .decide = decide_topic, .done = done_topic}};
    tj->topic = create_topics_request_creatable_topic_default;
    tj->topic.name = str_from(name);
    tj->topic.num_partitions = 1;
    tj->topic.replication_factor = 1;
    tj->req = create_topics_request_default;
    tj->req.topics.items = &tj->topic;
    tj->req.topics.count = 1;
    tj->out = create_topics_response_default;
    metadata_submit(w->md, &tj->mj);
}

static void wait_for(struct world *w, struct topic_job *tj)
{
    while (!tj->is_done) {
        loop_turn(w->lp, true);
    }
}

static void create(struct world *w, const char *name)
{
    struct topic_job tj;
    submit_topic(w, &tj, name);
    if (!w->is_thread_started) {
        start_thread(w);
    }
    wait_for(w, &tj);
    assert_int_equal(tj.err, 0);
    assert_int_equal(tj.out.topics.items[0].error_code, 0);
    arena_release(&tj.arena);
}

static bool has_topic(struct world *w, const char *name)
{
    struct image *im = metadata_image(w->md);
    const struct image_topic *t = image_topic_by_name(im, str_from(name));
    bool has = t != NULL;
    if (has) {
        struct partition *p = partition_find(w->br.partitions, &t->id, 0);
        assert_non_null(p); /* what the image shows is usable */
        partition_unref(p);
    }
    image_unref(im);
    return has;
}

static int32_t leader_epoch(struct world *w, const char *name)
{
    struct image *im = metadata_image(w->md);
    const struct image_partition *ip = &image_topic_by_name(im, str_from(name))->partitions[0];
    assert_int_equal(ip->leader, 1);
    int32_t epoch = ip->leader_epoch;
    image_unref(im);
    return epoch;
}

/* ---- tests ---- */

static void an_empty_directory_becomes_a_cluster_of_one(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    assert_int_equal(strlen(w->br.cluster_id), 22);
    assert_false(uuid_is_zero(&w->br.directory_id));
    assert_int_equal(metadata_kraft_version(w->md), 1);
    struct image *im = metadata_image(w->md);
    assert_int_equal(image_feature_level(im, STR(METADATA_VERSION)), METADATA_VERSION_LATEST);
    assert_false(image_is_in_transaction(im));
    const struct image_broker *b = image_broker(im, 1);
    assert_non_null(b);
    assert_false(b->is_fenced);
    assert_int_equal(b->epoch, w->br.broker_epoch);
    assert_int_equal(b->endpoints_count, 1);
    assert_true(str_is(b->endpoints[0].host, "here"));
    assert_int_equal(b->log_dirs_count, 1);
    assert_true(uuid_equal(&b->log_dirs[0], &w->br.directory_id));
    assert_true(uuid_equal(&b->incarnation_id, &w->br.incarnation_id));
    image_unref(im);
    close_broker(w, true);
}

static int note_nothing(void *ctx unused_ok,
                        struct view value unused_ok,
                        int64_t offset unused_ok,
                        int32_t epoch unused_ok)
{
    return 0;
}

/* The directory is formatted, and a leader has written the begin of the first transaction. */
static void begin_half(struct world *w)
{
    prepare(w);
    assert_int_equal(metadata_format(&w->br, w->error, sizeof(w->error)), 0);
    const struct raft_node_options options = {
        .env = &w->env,
        .dir = "/data",
        .node_id = 1,
        .directory_id = w->br.directory_id,
        .segment_bytes = 1 << 20,
        .segment_ms = INT64_MAX,
        .snapshot_bytes = 1 << 20,
        .retention_bytes = -1,
        .retention_ms = -1,
        .is_first_start = true,
        .on_record = note_nothing,
    };
    char error[RAFT_NODE_ERROR_BYTES];
    struct raft_node *rn;
    assert_int_equal(raft_node_open(&options, error, &rn), 0);
    assert_int_equal(raft_node_lead(rn), 0);
    struct arena arena = {0};
    struct meta_records records;
    meta_records_init(&records, &arena);
    const struct view *features;
    size_t count;
    raft_node_bootstrap(rn, &features, &count);
    assert_int_equal(bootstrap_cluster(&records, features, count, STR("1")), 0);
    int64_t offset;
    assert_int_equal(raft_node_append(rn, records.items, 3, &offset), 0);
    assert_int_equal(raft_node_flush(rn, &offset), 0);
    assert_int_equal(raft_node_close(rn, false), 0);
    arena_release(&arena);
    w->lp = loop_free(w->lp);
    fd_cache_free(w->env.fds);
}

static void a_cluster_that_was_begun_half_is_begun_again(void **state)
{
    struct world *w = *state;
    begin_half(w);
    for (int life = 0; life < 2; life++) {
        open_again(w);
        struct image *im = metadata_image(w->md);
        assert_false(image_is_in_transaction(im));
        assert_int_equal(image_feature_level(im, STR(METADATA_VERSION)), METADATA_VERSION_LATEST);
        assert_int_equal(image_feature_level(im, STR("transaction.version")), 2);
        assert_true(str_is(
            image_config_value(im, CONFIG_RESOURCE_BROKER, STR(""), STR("min.insync.replicas")),
            "1"));
        /* The leader's batch of three and the half of the transaction, then at the second start
         * the leader's record, the abort, nine records, and the controller's registration. */
        assert_true(life > 0 || w->br.broker_epoch == 6 + 1 + 1 + 9 + 1);
        image_unref(im);
        close_broker(w, false);
    }
}

static void jobs_that_wait_together_share_one_sync(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    struct topic_job jobs[20];
    char names[20][8];
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        snprintf(names[i], sizeof(names[i]), "t%zu", i);
        submit_topic(w, &jobs[i], names[i]);
    }
    start_thread(w);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        wait_for(w, &jobs[i]);
        assert_int_equal(jobs[i].err, 0);
        assert_true(has_topic(w, names[i]));
        arena_release(&jobs[i].arena);
    }
    assert_int_equal(w->log_syncs, 1);
    close_broker(w, true);
}

static void a_job_sees_what_was_decided_before_it(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    struct topic_job jobs[3];
    submit_topic(w, &jobs[0], "twice");
    submit_topic(w, &jobs[1], "twice");
    submit_topic(w, &jobs[2], "bad/name");
    start_thread(w);
    static const int16_t errors[] = {0, KAFKA_ERROR_TOPIC_ALREADY_EXISTS,
                                     KAFKA_ERROR_INVALID_TOPIC_EXCEPTION};
    for (size_t i = 0; i < 3; i++) {
        wait_for(w, &jobs[i]);
        assert_int_equal(jobs[i].err, 0);
        assert_int_equal(jobs[i].out.topics.items[0].error_code, errors[i]);
        arena_release(&jobs[i].arena);
    }
    close_broker(w, true);
}

static void what_was_answered_survives_a_power_cut(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    create(w, "kept");
    simfs_power_off(w->disk);
    close_broker(w, false);
    simfs_power_on(w->disk, 1, SIMFS_LOSE);
    open_again(w);
    assert_true(has_topic(w, "kept"));
    assert_int_equal(leader_epoch(w, "kept"), 1); /* who was away leads in a new epoch */
    close_broker(w, true);
}

static void a_clean_stop_and_start_moves_the_leader_epoch_twice(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    create(w, "kept");
    char cluster_id[64];
    memcpy(cluster_id, w->br.cluster_id, sizeof(cluster_id));
    close_broker(w, true);
    open_again(w);
    assert_string_equal(w->br.cluster_id, cluster_id);
    assert_int_equal(leader_epoch(w, "kept"),
                     2); /* none in between, as after Kafka's controlled shutdown */
    struct image *im = metadata_image(w->md);
    assert_int_equal(image_topic_by_name(im, STR("kept"))->partitions[0].leader_recovery_state, 0);
    image_unref(im);
    close_broker(w, true);
}

static void a_log_that_cannot_be_synced_is_told_once_and_shows_nothing(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    create(w, "before");
    simfs_fail(w->disk, SIMFS_OP_DATASYNC | SIMFS_OP_FSYNC, 1, 0, -EIO);
    struct topic_job jobs[2];
    submit_topic(w, &jobs[0], "lost");
    wait_for(w, &jobs[0]);
    assert_int_equal(jobs[0].err, -EIO);
    assert_false(has_topic(w, "lost"));
    assert_true(has_topic(w, "before"));
    simfs_fail(w->disk, 0, 0, 0, 0);
    submit_topic(w, &jobs[1], "after");
    wait_for(w, &jobs[1]);
    assert_int_equal(jobs[1].err, -EIO);
    assert_int_equal(w->fatals, 1);
    arena_release(&jobs[0].arena);
    arena_release(&jobs[1].arena);
    close_broker(w, true);
}

static void decide_id(struct metadata_job *mj, const struct image *im, struct meta_records *records)
{
    struct topic_job *tj = container_of(mj, struct topic_job, mj);
    assert_int_equal(metadata_decide_producer_id(tj->w->md, im, records, &tj->producer_id), 0);
}

static int64_t next_id(struct world *w)
{
    int64_t id;
    if (metadata_take_producer_id(w->md, &id)) {
        return id;
    }
    struct topic_job tj = {.w = w, .mj = {.loop = w->lp, .decide = decide_id, .done = done_topic}};
    metadata_submit(w->md, &tj.mj);
    wait_for(w, &tj);
    assert_int_equal(tj.err, 0);
    return tj.producer_id;
}

#define WRITES (SIMFS_OP_PWRITEV | SIMFS_OP_CREATE | SIMFS_OP_ALLOCATE)

static int try_topic(struct world *w, const char *name)
{
    struct topic_job tj;
    submit_topic(w, &tj, name);
    wait_for(w, &tj);
    arena_release(&tj.arena);
    assert_int_equal(w->fatals, 0);
    assert_int_equal(has_topic(w, name), tj.err == 0);
    return tj.err;
}

/* The disk is full for one call, or for all from one on; true when the job met that. */
static bool is_refused_at(struct world *w, uint64_t nth, uint64_t count, int err)
{
    char name[32];
    snprintf(name, sizeof(name), "t%" PRIu64 "-%" PRIu64 ".%d", nth, count, -err);
    simfs_fail(w->disk, SIMFS_OP_PWRITEV, nth, count, err);
    int r = try_topic(w, name);
    simfs_fail(w->disk, 0, 0, 0, 0);
    if (r < 0) {
        assert_int_equal(r, err);
        create(w, name);
    }
    return r < 0;
}

static void what_a_full_disk_refuses_has_not_happened_and_works_when_there_is_room(void **state)
{
    struct world *w = *state;
    static const int errors[] = {-ENOSPC, -EDQUOT, -EFBIG, -EMFILE};
    assert_int_equal(open_broker(w), 0);
    create(w, "before");
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        assert_true(is_refused_at(w, 1, 1, errors[i]));
        assert_true(is_refused_at(w, 1, 0, errors[i]));
        assert_false(is_refused_at(w, 2, 1, errors[i])); /* that is a write of the partition's */
    }
    struct simfs *now = w->disk;
    for (int mode = 0; mode < SIMFS_MODES; mode++) {
        simfs_fail(w->disk, SIMFS_OP_PWRITEV, 1, 1, -ENOSPC);
        assert_int_equal(try_topic(w, "refused"), -ENOSPC);
        struct simfs *copy = simfs_clone(now);
        close_broker(w, false);
        simfs_power_on(copy, 1, (enum simfs_mode)mode);
        simfs_free(now);
        w->disk = now = copy;
        open_again(w);
        assert_true(has_topic(w, "before"));
        assert_true(has_topic(w, "t1-0.28"));
        assert_false(has_topic(w, "refused"));
        start_thread(w);
    }
    close_broker(w, true);
}

static void jobs_that_saw_what_was_refused_are_refused_with_it(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    struct topic_job jobs[4];
    submit_topic(w, &jobs[0], "bad/name"); /* has seen nothing of the others */
    submit_topic(w, &jobs[1], "twice");
    submit_topic(w, &jobs[2], "twice");
    jobs[3] =
        (struct topic_job){.w = w, .mj = {.loop = w->lp, .decide = decide_id, .done = done_topic}};
    metadata_submit(w->md, &jobs[3].mj);
    simfs_fail(w->disk, SIMFS_OP_PWRITEV, 1, 1, -ENOSPC);
    start_thread(w);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        wait_for(w, &jobs[i]);
        assert_int_equal(jobs[i].err, i == 0 ? 0 : -ENOSPC);
    }
    assert_int_equal(jobs[0].out.topics.items[0].error_code, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        arena_release(&jobs[i].arena);
    }
    assert_false(has_topic(w, "twice"));
    int64_t id;
    assert_false(metadata_take_producer_id(w->md, &id));
    assert_int_equal(next_id(w), 0);
    assert_int_equal(w->fatals, 0);
    close_broker(w, true);
}

static void assert_registered(struct world *w)
{
    struct image *im = metadata_image(w->md);
    const struct image_broker *b = image_broker(im, 1);
    assert_int_equal(b->epoch, w->br.broker_epoch);
    assert_true(uuid_equal(&b->incarnation_id, &w->br.incarnation_id));
    assert_false(b->is_fenced);
    image_unref(im);
}

/* A life that begins with the disk failing so; true: it has refused a topic. */
static bool live_without_room(struct world *w, uint64_t nth, uint64_t count, bool is_room_later)
{
    simfs_fail(w->disk, WRITES, nth, count, -ENOSPC);
    open_again(w);
    assert_true(has_topic(w, "kept"));
    int32_t epoch = leader_epoch(w, "kept");
    assert_registered(w);
    start_thread(w);
    bool is_refused = try_topic(w, "more") < 0;
    if (is_room_later) {
        simfs_fail(w->disk, 0, 0, 0, 0);
        if (is_refused) {
            create(w, "more");
        }
        assert_int_equal(leader_epoch(w, "kept"), epoch);
        assert_registered(w);
    }
    return is_refused;
}

static void a_start_without_room_serves_and_writes_its_records_when_there_is_some(void **state)
{
    struct world *w = *state;
    int refused = 0;
    assert_int_equal(open_broker(w), 0);
    create(w, "kept");
    close_broker(w, true);
    for (int i = 0; i < 40; i++) {
        struct simfs *now = w->disk;
        bool is_room_later = i % 4 < 2;
        w->disk = simfs_clone(now);
        refused += live_without_room(w, (uint64_t)(1 + i / 4), i % 2 == 0 ? 0 : 1, is_room_later);
        struct simfs *copy = simfs_clone(w->disk);
        simfs_fail(w->disk, 0, 0, 0, 0);
        close_broker(w, i % 8 < 4);
        simfs_free(w->disk);
        simfs_power_on(copy, 1, SIMFS_LOSE);
        w->disk = copy;
        open_again(w);
        assert_true(has_topic(w, "kept"));
        assert_true(!is_room_later || has_topic(w, "more"));
        assert_registered(w);
        close_broker(w, true);
        simfs_free(w->disk);
        w->disk = now;
    }
    assert_in_range(refused, 5, 39);
}

static void what_a_start_owes_is_written_without_anybody_asking(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    create(w, "kept");
    close_broker(w, true);
    simfs_fail(w->disk, WRITES, 1, 0, -ENOSPC);
    open_again(w);
    simfs_fail(w->disk, 0, 0, 0, 0);
    int syncs = w->log_syncs;
    start_thread(w);
    metadata_stop(w->md, false); /* it looks once more before it ends */
    assert_true(w->log_syncs > syncs);
    w->md = metadata_free(w->md);
    close_broker(w, false);
    open_again(w);
    assert_int_equal(leader_epoch(w, "kept"), 3); /* two lives without an end */
    close_broker(w, true);
}

static void jobs_after_the_stop_are_answered(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    start_thread(w);
    metadata_stop(w->md, true);
    struct topic_job tj;
    submit_topic(w, &tj, "late");
    wait_for(w, &tj);
    assert_int_equal(tj.err, ERR_CLOSED);
    w->md = metadata_free(w->md);
    close_broker(w, false);
}

static void producer_ids_come_in_blocks_and_never_twice(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    start_thread(w);
    for (int64_t i = 0; i < 2100; i++) {
        assert_int_equal(next_id(w), i);
    }
    assert_int_equal(w->log_syncs, 3);
    simfs_power_off(w->disk);
    close_broker(w, false);
    simfs_power_on(w->disk, 1, SIMFS_LOSE);
    open_again(w);
    start_thread(w);
    assert_int_equal(next_id(w), 3000);
    close_broker(w, true);
}

static void jobs_for_ids_that_wait_together_share_a_block(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    struct topic_job jobs[10];
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        jobs[i] = (struct topic_job){
            .w = w, .mj = {.loop = w->lp, .decide = decide_id, .done = done_topic}};
        metadata_submit(w->md, &jobs[i].mj);
    }
    start_thread(w);
    for (size_t i = 0; i < ARRAY_LEN(jobs); i++) {
        wait_for(w, &jobs[i]);
        assert_int_equal(jobs[i].producer_id, (int64_t)i);
    }
    int64_t id;
    assert_true(metadata_take_producer_id(w->md, &id));
    assert_int_equal(id, 10);
    struct image *im = metadata_image(w->md);
    assert_int_equal(image_next_producer_id(im), 1000);
    image_unref(im);
    close_broker(w, true);
}

static void count_checkpoint(void *ctx, const char *name)
{
    int *count = ctx;
    *count += strstr(name, ".checkpoint") != NULL;
}

static void a_snapshot_is_taken_when_it_is_due_and_loads(void **state)
{
    struct world *w = *state;
    set_config(w, "metadata.log.max.record.bytes.between.snapshots", "2000");
    assert_int_equal(open_broker(w), 0);
    char name[16];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "t%d", i);
        create(w, name);
    }
    close_broker(w, true);
    int count = 0;
    assert_int_equal(
        fs_list(simfs_fs(w->disk), "/data/__cluster_metadata-0", count_checkpoint, &count), 0);
    assert_in_range(count, 2, 40); /* that of format, and at least one of ours */
    open_again(w);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "t%d", i);
        assert_true(has_topic(w, name));
    }
    close_broker(w, true);
}

static void wishes_are_bounded(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    int taken = 0;
    while (taken < 1000 && metadata_begin_wish(w->md)) {
        taken++;
    }
    assert_in_range(taken, 1, 999);
    metadata_end_wish(w->md);
    assert_true(metadata_begin_wish(w->md));
    assert_false(metadata_begin_wish(w->md));
    start_thread(w);
    close_broker(w, true);
}

static void write_file(struct world *w, const char *path, const char *text)
{
    assert_int_equal(fs_replace_file(simfs_fs(w->disk), path, text, strlen(text)), 0);
}

static void directories_that_are_not_ours_are_refused(void **state)
{
    struct world *w = *state;
    struct fs *fs = simfs_fs(w->disk);
    assert_int_equal(fs_mkdir(fs, "/data"), 0);
    write_file(w, "/data/letter", "to somebody");
    assert_int_equal(open_broker(w), ERR_NOT_FORMATTED);
    assert_non_null(strstr(w->error, "/data"));
    close_broker(w, false);
    assert_int_equal(fs_unlink(fs, "/data/letter"), 0);
    open_again(w);
    close_broker(w, true);
    set_config(w, "node.id", "2");
    assert_int_equal(open_broker(w), ERR_MISMATCH);
    assert_non_null(strstr(w->error, "node 1"));
    close_broker(w, false);
}

static void an_empty_directory_beside_formatted_ones_is_refused(void **state)
{
    struct world *w = *state;
    set_config(w, "log.dirs", "/data,/more");
    assert_int_equal(open_broker(w), 0);
    struct image *im = metadata_image(w->md);
    assert_int_equal(image_broker(im, 1)->log_dirs_count, 2);
    image_unref(im);
    close_broker(w, true);
    set_config(w, "log.dirs", "/data,/more,/mount");
    assert_int_equal(open_broker(w), ERR_NOT_FORMATTED);
    assert_non_null(strstr(w->error, "/mount"));
    close_broker(w, false);
    set_config(w, "log.dirs", "/new,/more");
    w->br.cluster_id[0] = '\0';
    assert_int_equal(open_broker(w), ERR_NOT_FORMATTED);
    assert_non_null(strstr(w->error, "/new"));
    close_broker(w, false);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_directory_becomes_a_cluster_of_one),
        TEST(a_cluster_that_was_begun_half_is_begun_again),
        TEST(jobs_that_wait_together_share_one_sync),
        TEST(a_job_sees_what_was_decided_before_it),
        TEST(what_was_answered_survives_a_power_cut),
        TEST(a_clean_stop_and_start_moves_the_leader_epoch_twice),
        TEST(a_log_that_cannot_be_synced_is_told_once_and_shows_nothing),
        TEST(what_a_full_disk_refuses_has_not_happened_and_works_when_there_is_room),
        TEST(jobs_that_saw_what_was_refused_are_refused_with_it),
        TEST(a_start_without_room_serves_and_writes_its_records_when_there_is_some),
        TEST(what_a_start_owes_is_written_without_anybody_asking),
        TEST(jobs_after_the_stop_are_answered),
        TEST(producer_ids_come_in_blocks_and_never_twice),
        TEST(jobs_for_ids_that_wait_together_share_a_block),
        TEST(a_snapshot_is_taken_when_it_is_due_and_loads),
        TEST(wishes_are_bounded),
        TEST(directories_that_are_not_ours_are_refused),
        TEST(an_empty_directory_beside_formatted_ones_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
