/*
 * The metadata thread on a simulated disk: one broker without sockets, whose loop the test turns
 * itself. Jobs are handed in before the thread runs, so that it finds them all at once; the disk
 * counts syncs, fails them, and loses its power. What was answered must be there afterwards; what a
 * failed log holds must not be seen. A disk that is full: test_full_disk.c.
 */
#include "metadata_world.h"

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
    trash_free(w->env.trash);
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

struct deletion {
    struct topic_job tj;
    struct delete_topics_request_delete_topic_state topic;
    struct delete_topics_request req;
    struct delete_topics_response out;
    bool has_name;
};

static void
decide_deletion(struct metadata_job *mj, const struct image *im, struct meta_records *records)
{
    struct deletion *dn = container_of(mj, struct deletion, tj.mj);
    struct controller ct = {.node_id = 1, .ctx = dn->tj.w, .random = next_bytes};
    controller_delete_topics(&ct, im, &dn->req, NULL, NULL, &dn->tj.arena, records, &dn->out);
}

static void done_deletion(struct metadata_job *mj, int err)
{
    struct deletion *dn = container_of(mj, struct deletion, tj.mj);
    assert_false(has_topic(dn->tj.w, "gone"));
    struct str name = dn->out.responses.items[0].name;
    dn->has_name = name.len == 4;
    for (size_t i = 0; i < name.len && dn->has_name; i++) {
        dn->has_name = name.ptr[i] == "gone"[i]; /* each byte: a sanitizer sees whose it is */
    }
    done_topic(mj, err);
}

/* The name is the image's in which the topic was, and another one is published by then. */
static void an_answer_may_name_what_was_deleted(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    create(w, "gone");
    struct deletion dn = {.tj = {.w = w}};
    struct image *im = metadata_image(w->md);
    dn.topic = delete_topics_request_delete_topic_state_default;
    dn.topic.name = (struct str){.ptr = NULL};
    dn.topic.topic_id = image_topic_by_name(im, STR("gone"))->id;
    image_unref(im);
    dn.req = delete_topics_request_default;
    dn.req.timeout_ms = 1000;
    dn.req.topics.items = &dn.topic;
    dn.req.topics.count = 1;
    dn.out = delete_topics_response_default;
    dn.tj.mj =
        (struct metadata_job){.loop = w->lp, .decide = decide_deletion, .done = done_deletion};
    metadata_submit(w->md, &dn.tj.mj);
    wait_for(w, &dn.tj);
    assert_int_equal(dn.tj.err, 0);
    assert_int_equal(dn.out.responses.items[0].error_code, 0);
    assert_true(dn.has_name);
    arena_release(&dn.tj.arena);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_directory_becomes_a_cluster_of_one),
        TEST(a_cluster_that_was_begun_half_is_begun_again),
        TEST(jobs_that_wait_together_share_one_sync),
        TEST(a_job_sees_what_was_decided_before_it),
        TEST(an_answer_may_name_what_was_deleted),
        TEST(what_was_answered_survives_a_power_cut),
        TEST(a_clean_stop_and_start_moves_the_leader_epoch_twice),
        TEST(a_log_that_cannot_be_synced_is_told_once_and_shows_nothing),
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
