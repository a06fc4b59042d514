/*
 * The metadata log and the making of partitions without room or descriptors: each write of a start
 * and of a change fails in turn, room comes back, the power goes. What was refused must not be seen
 * and nothing that was answered may be lost; what is offline is so until there is room, and no
 * longer.
 */
#include "metadata_world.h"

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

/* Whether the files of the topic's partition are in use; told by the table, too. */
static bool is_online(struct world *w, const char *name)
{
    struct image *im = metadata_image(w->md);
    const struct image_topic *t = image_topic_by_name(im, str_from(name));
    struct partition *p = partition_find(w->br.partitions, &t->id, 0);
    bool is = p->pl != NULL;
    assert_int_equal(partition_is_offline(w->br.partitions, &t->id, 0), !is);
    assert_true(is || partition_table_has_offline(w->br.partitions));
    partition_unref(p);
    image_unref(im);
    return is;
}

static bool retry(struct world *w)
{
    struct image *im = metadata_image(w->md);
    bool has_more = partition_table_retry(w->br.partitions, im);
    image_unref(im);
    return has_more;
}

/* One record of the partition, on stable storage. */
static void append_durably(struct world *w, const char *name)
{
    struct image *im = metadata_image(w->md);
    struct partition *p =
        partition_find(w->br.partitions, &image_topic_by_name(im, str_from(name))->id, 0);
    struct batch_builder bb = {.producer_id = -1, .producer_epoch = -1, .base_sequence = -1};
    struct arena arena = {0};
    struct plog_append_result result;
    struct plog_append in = {.origin = PLOG_COORDINATOR, .arena = &arena};
    struct plog_flush f;
    int64_t offset;
    batch_builder_init(&bb, CODEC_NONE, 0);
    batch_builder_add(&bb, 0, (struct view){0}, (struct view){(const uint8_t *)"v", 1});
    assert_int_equal(batch_builder_finish(&bb, &in.blob, &in.size), 0);
    in.bytes = in.blob->data;
    assert_int_equal(batch_peek(in.bytes, in.size, &in.batch), 0);
    assert_int_equal(plog_append_as_leader(p->pl, &in, &result), 0);
    assert_int_equal(result.error, KAFKA_ERROR_NONE);
    assert_int_equal(plog_write(p->pl, &offset), 0);
    assert_true(plog_flush_begin(p->pl, &f));
    int r = plog_flush_run(&f);
    plog_flush_end(&f, r, &offset);
    assert_int_equal(offset, 1);
    blob_unref(in.blob);
    batch_builder_release(&bb);
    arena_release(&arena);
    partition_unref(p);
    image_unref(im);
}

static int64_t end_of(struct world *w, const char *name)
{
    struct image *im = metadata_image(w->md);
    struct partition *p =
        partition_find(w->br.partitions, &image_topic_by_name(im, str_from(name))->id, 0);
    struct plog_offsets offsets;
    plog_offsets(p->pl, &offsets);
    partition_unref(p);
    image_unref(im);
    return offsets.log_end;
}

/* The files cannot be made at the nth call of these, nor at what is tried after it. */
static void come_back(struct world *w, unsigned ops, int err)
{
    static const char *const names[] = {"a", "b"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        simfs_fail(w->disk, ops, 1, 0, err);
        create(w, names[i]);
        assert_false(is_online(w, names[i]));
    }
    assert_true(retry(w));
    assert_false(is_online(w, "a") || is_online(w, "b"));
    simfs_fail(w->disk, ops, 2, 0, err);
    assert_true(retry(w));
    simfs_fail(w->disk, 0, 0, 0, 0);
    assert_true(is_online(w, "a") != is_online(w, "b"));
    assert_false(retry(w));
    assert_false(partition_table_has_offline(w->br.partitions));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_true(is_online(w, names[i]));
        append_durably(w, names[i]);
    }
    simfs_power_off(w->disk);
    close_broker(w, false);
    simfs_power_on(w->disk, 1, SIMFS_LOSE);
    open_again(w);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_true(is_online(w, names[i]));
        assert_int_equal(end_of(w, names[i]), 1);
    }
    close_broker(w, true);
}

static void partitions_without_room_are_offline_until_there_is_some(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    come_back(w, SIMFS_OP_MKDIR, -ENOSPC);
}

static void partitions_made_halfway_lose_nothing_when_they_are_back(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    come_back(w, SIMFS_OP_CREATE, -EMFILE);
}

static void a_partition_that_is_damaged_is_not_tried_again(void **state)
{
    struct world *w = *state;
    assert_int_equal(open_broker(w), 0);
    simfs_fail(w->disk, SIMFS_OP_MKDIR, 1, 1, -EACCES);
    create(w, "a");
    assert_false(retry(w));
    assert_false(is_online(w, "a"));
    close_broker(w, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_a_full_disk_refuses_has_not_happened_and_works_when_there_is_room),
        TEST(jobs_that_saw_what_was_refused_are_refused_with_it),
        TEST(a_start_without_room_serves_and_writes_its_records_when_there_is_some),
        TEST(what_a_start_owes_is_written_without_anybody_asking),
        TEST(partitions_without_room_are_offline_until_there_is_some),
        TEST(partitions_made_halfway_lose_nothing_when_they_are_back),
        TEST(a_partition_that_is_damaged_is_not_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
