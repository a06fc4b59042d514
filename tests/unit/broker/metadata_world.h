/*
 * A broker without sockets on a simulated disk: the metadata log, partitions, and one loop that the
 * test turns itself. Jobs are handed in before the thread runs, so that it finds them all at once.
 * A world is the cmocka state.
 */
#ifndef TESTS_METADATA_WORLD_H
#define TESTS_METADATA_WORLD_H

#include "unit.h"

#include "base/err.h"
#include "broker/background.h"
#include "broker/broker.h"
#include "broker/group_commit.h"
#include "broker/log_dirs.h"
#include "broker/metadata.h"
#include "broker/partition.h"
#include "broker/partition_table.h"
#include "config/config.h"
#include "meta/bootstrap.h"
#include "meta/controller.h"
#include "meta/features.h"
#include "net/loop.h"
#include "raft/raft_node.h"
#include "simclock.h"
#include "simfs.h"
#include "storage/fd_cache.h"
#include "storage/trash.h"
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

static inline void next_bytes(void *ctx, void *ret_bytes, size_t len)
{
    struct world *w = ctx;
    clock_random(&w->sc.clock, ret_bytes, len);
}

static inline void count_sync(void *ctx,
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

static inline void on_fatal(void *ctx, int err)
{
    struct world *w = ctx;
    assert_true(err < 0);
    w->fatals++;
}

/* ---- a broker's life ---- */

static inline void make_config(struct world *w)
{
    w->br.config = config_new();
    config_set(w->br.config, STR("log.dirs"), STR("/data"), CONFIG_ORIGIN_FILE);
    config_set(w->br.config, STR("node.id"), STR("1"), CONFIG_ORIGIN_FILE);
    config_sort(w->br.config);
}

static inline void set_config(struct world *w, const char *name, const char *value)
{
    config_set(w->br.config, str_from(name), str_from(value), CONFIG_ORIGIN_COMMAND_LINE);
    config_sort(w->br.config);
}

static inline void prepare(struct world *w)
{
    w->env = (struct plog_env){
        .fs = simfs_fs(w->disk), .clock = &w->sc.clock, .metrics = &w->br.metrics};
    w->env.fds = fd_cache_new(w->env.fs, 100);
    w->env.trash = trash_new(w->env.fs, &w->sc.clock);
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

static inline void on_flushed(void *ctx, struct plog *pl, int64_t flushed, int err)
{
    (void)ctx;
    partition_flushed(plog_owner(pl), flushed, err);
}

static inline void on_image(struct broker *br, const struct image *before, struct image *after)
{
    partition_apply_image(br->partitions, before, after);
}

/* Everything up to the first image; the thread does not run yet. */
static inline int open_broker(struct world *w)
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

static inline void start_thread(struct world *w)
{
    assert_int_equal(metadata_start(w->md), 0);
    w->is_thread_started = true;
}

static inline void close_broker(struct world *w, bool is_clean)
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
    trash_free(w->env.trash);
    w->is_thread_started = false;
}

static inline void open_again(struct world *w)
{
    w->br.cluster_id[0] = '\0';
    assert_int_equal(open_broker(w), 0);
}

static inline int setup(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    simclock_init(&w->sc, 3);
    w->disk = simfs_new(&w->sc.clock);
    w->listener = (struct broker_listener){.name = STR("PLAINTEXT"),
                                           .is_advertised = true,
                                           .advertised_host = STR("here"),
                                           .port = 9092,
                                           .advertised_port = 9092};
    metrics_init(&w->br.metrics);
    make_config(w);
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    simfs_free(w->disk);
    config_free(w->br.config);
    metrics_release(&w->br.metrics);
    mem_free(w);
    return 0;
}

/* ---- jobs ---- */

static inline void
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

static inline void done_topic(struct metadata_job *mj, int err)
{
    struct topic_job *tj = container_of(mj, struct topic_job, mj);
    tj->err = err;
    tj->is_done = true;
}

static inline void submit_topic(struct world *w, struct topic_job *tj, const char *name)
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

static inline void wait_for(struct world *w, struct topic_job *tj)
{
    while (!tj->is_done) {
        loop_turn(w->lp, true);
    }
}

static inline void create(struct world *w, const char *name)
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

static inline bool has_topic(struct world *w, const char *name)
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

static inline int32_t leader_epoch(struct world *w, const char *name)
{
    struct image *im = metadata_image(w->md);
    const struct image_partition *ip = &image_topic_by_name(im, str_from(name))->partitions[0];
    assert_int_equal(ip->leader, 1);
    int32_t epoch = ip->leader_epoch;
    image_unref(im);
    return epoch;
}

static inline void
decide_id(struct metadata_job *mj, const struct image *im, struct meta_records *records)
{
    struct topic_job *tj = container_of(mj, struct topic_job, mj);
    assert_int_equal(metadata_decide_producer_id(tj->w->md, im, records, &tj->producer_id), 0);
}

static inline int64_t next_id(struct world *w)
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
