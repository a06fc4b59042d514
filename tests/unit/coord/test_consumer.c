/*
 * The life of a consumer group: sessions and time limits, size and memory limits, what a restart
 * keeps and what it begins anew, logs that an older Kafka or a compaction has left, members of the
 * classic protocol in questions about commits, and what a large group costs. What Kafka itself
 * answers is in test_consumer_oracle.c, schedules are in test_consumer_reconcile.c.
 */
#include "consumer_rig.h"

#include "coord/consumer_hash.h"

#include <time.h>

#define assert_refused(rs, error) assert_int_equal((rs)->error_code, (error))

static void test_hash_is_xxh3(void **state)
{
    (void)state;
    /* Length, and what hash4j gives for the bytes i * 131 + 7. */
    static const struct {
        size_t len;
        uint64_t hash;
    } known[] = {
        {0, UINT64_C(0x2d06800538d394c2)},    {1, UINT64_C(0x4c5cca45d0f4811f)},
        {3, UINT64_C(0x6e3e2670e61106ac)},    {4, UINT64_C(0x5c4c63133443d03f)},
        {8, UINT64_C(0xf9fd4dd0b04d78f5)},    {9, UINT64_C(0x7c20df9712c26edf)},
        {16, UINT64_C(0x86abf6baccea0858)},   {17, UINT64_C(0xb58bf5dc5022d071)},
        {31, UINT64_C(0x48442fcd5518b086)},   {64, UINT64_C(0x1291d2d4042330dd)},
        {128, UINT64_C(0x10d17f72c0ccba41)},  {129, UINT64_C(0x1648bdc3db49d1a2)},
        {200, UINT64_C(0xc0fbc0f4e181c826)},  {240, UINT64_C(0xb6cfaf343fab81e6)},
        {241, UINT64_C(0x956cae592c67279e)},  {255, UINT64_C(0x64a6073025eb7929)},
        {256, UINT64_C(0xb15e550733c5dfac)},  {257, UINT64_C(0x87b3bf2d941cf085)},
        {511, UINT64_C(0x5a17da924907228a)},  {512, UINT64_C(0xa0e9790eb93990d7)},
        {513, UINT64_C(0x984828b9efd042cb)},  {1023, UINT64_C(0xa94ffcd2254368e4)},
        {1024, UINT64_C(0x70bd377d9574f4bb)}, {1025, UINT64_C(0x66c4487c41e127a7)},
        {2047, UINT64_C(0xded1f434a1510c6a)}, {2048, UINT64_C(0x8b46caa67dab3a30)},
        {4096, UINT64_C(0x9ddd66c14af0daff)}, {10000, UINT64_C(0x9e5d23d943285455)},
    };
    uint8_t *bytes = mem_alloc(10000);
    for (size_t i = 0; i < 10000; i++) {
        bytes[i] = (uint8_t)(i * 131 + 7);
    }
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        assert_int_equal(consumer_hash_bytes(bytes, known[i].len), known[i].hash);
    }
    mem_free(bytes);
    struct hash_input in = {0};
    hash_input_put_text(&in, STR("h\xc3\xa9\xf0\x9f\x98\x80")); /* two bytes, and a pair */
    assert_int_equal((int64_t)consumer_hash_bytes(in.bytes, in.len), INT64_C(-7161854097370941710));
    assert_int_equal(consumer_hash_utf16_length(STR("h\xc3\xa9\xf0\x9f\x98\x80")), 4);
    assert_int_equal(consumer_hash_utf16_length(STR("\xff\xc3")), 2); /* no UTF-8 */
    hash_input_release(&in);
}

static void test_racks_are_part_of_the_hash(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_create(&r, "t1", 2, NULL);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    int64_t before = rig_group(&r, "g")->metadata_hash;
    rig_topic(&r, "t1")->rack = "rack1";
    rig_tell(&r, TOPIC_CHANGED, rig_topic(&r, "t1"));
    (void)rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = 2});
    assert_int_equal(rig_group(&r, "g")->epoch, 3);
    assert_int_not_equal(rig_group(&r, "g")->metadata_hash, before);
    rig_release(&r);
}

static void test_silent_member_is_fenced_and_others_get_its_partitions(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_create(&r, "t1", 4, NULL);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    rig_advance(&r, 30000);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "b"});
    rig_advance(&r, 14000);
    assert_non_null(rig_member(&r, "g", "a"));
    rig_advance(&r, 1000); /* 45 s since a was heard */
    assert_null(rig_member(&r, "g", "a"));
    assert_int_equal(rig_group(&r, "g")->epoch, 4);
    const struct consumer_group_heartbeat_response *rs =
        rig_beat(&r, (struct beats){.group = "g", .member = "b", .epoch = 3});
    assert_int_equal(rs->member_epoch, 4);
    assert_int_equal(assignment_size(&rig_member(&r, "g", "b")->assigned), 4);
    rs = rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = 2});
    assert_refused(rs, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    rig_release(&r);
}

static void test_heartbeats_keep_a_session_without_touching_its_timer(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_create(&r, "t1", 1, NULL);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    int64_t deadline = rig_member(&r, "g", "a")->session.deadline_ms;
    for (int i = 0; i < 8; i++) {
        rig_advance(&r, 5000);
        (void)rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = 2});
        assert_int_equal(r.records_new, 0);
        assert_int_equal(rig_member(&r, "g", "a")->session.deadline_ms, deadline);
    }
    rig_advance(&r, 44999);
    assert_non_null(rig_member(&r, "g", "a"));
    rig_advance(&r, 1);
    assert_null(rig_member(&r, "g", "a"));
    rig_release(&r);
}

static void test_shorter_session_by_settings_takes_effect(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_create(&r, "t1", 1, NULL);
    r.settings.session_timeout_ms = 60000;
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    r.settings.session_timeout_ms = 45000;
    rig_advance(&r, 1000);
    (void)rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = 2});
    rig_advance(&r, 45000);
    assert_null(rig_member(&r, "g", "a"));
    rig_release(&r);
}

/* a holds four partitions and must give back two of them to b. */
static void make_revocation(struct rig *r)
{
    r->settings.assignment_interval_ms = 0;
    rig_create(r, "t1", 4, NULL);
    (void)rig_join(r, (struct beats){.group = "g", .member = "a", .rebalance_ms = 7000});
    (void)rig_join(r, (struct beats){.group = "g", .member = "b"});
    (void)rig_beat(r, (struct beats){.group = "g", .member = "a", .epoch = 2});
    assert_int_equal(rig_member(r, "g", "a")->state, MEMBER_UNREVOKED_PARTITIONS);
    assert_int_equal(rig_member(r, "g", "b")->state, MEMBER_UNRELEASED_PARTITIONS);
}

static void test_who_does_not_revoke_in_time_is_fenced(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    make_revocation(&r);
    rig_advance(&r, 6999);
    (void)rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = 2});
    assert_non_null(rig_member(&r, "g", "a"));
    rig_advance(&r, 1);
    assert_null(rig_member(&r, "g", "a"));
    const struct consumer_group_heartbeat_response *rs =
        rig_beat(&r, (struct beats){.group = "g", .member = "b", .epoch = 3});
    assert_int_equal(rs->member_epoch, 4);
    assert_int_equal(assignment_size(&rig_member(&r, "g", "b")->assigned), 4);
    rig_release(&r);
}

static void test_who_revokes_in_time_stays(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    make_revocation(&r);
    rig_advance(&r, 6999);
    (void)rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = 2, .owned = "t1:0,1"});
    assert_int_equal(rig_member(&r, "g", "a")->state, MEMBER_STABLE);
    rig_advance(&r, 1000);
    assert_non_null(rig_member(&r, "g", "a"));
    rig_release(&r);
}

static void test_restart_begins_sessions_and_revocations_anew(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    make_revocation(&r);
    rig_advance(&r, 6000);
    rig_restart(&r);
    assert_int_equal(r.records_new, 0);
    rig_advance(&r, 6999); /* the time to revoke counts from the restart */
    assert_non_null(rig_member(&r, "g", "a"));
    rig_advance(&r, 1);
    assert_null(rig_member(&r, "g", "a"));
    rig_advance(&r, 38000); /* and so does b's session */
    assert_null(rig_member(&r, "g", "b"));
    assert_int_equal(consumer_state_of(rig_group(&r, "g")), CONSUMER_EMPTY);
    rig_release(&r);
}

static void test_first_heartbeat_after_a_restart_changes_nothing(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_create(&r, "t1", 2, NULL);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    rig_restart(&r);
    const struct consumer_group_heartbeat_response *rs =
        rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = 2});
    assert_int_equal(rs->error_code, 0);
    assert_null(rs->assignment);
    assert_int_equal(r.records_new, 0);
    rig_release(&r);
}

static void test_topics_that_grew_while_nobody_looked_are_found_after_a_restart(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_create(&r, "t1", 2, NULL);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    rig_topic(&r, "t1")->partitions = 3;
    r.topics.version++;
    rig_restart(&r);
    rig_advance(&r, 2000);
    const struct consumer_group_heartbeat_response *rs =
        rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = 2});
    assert_int_equal(rs->member_epoch, 3);
    assert_int_equal(assignment_size(&rig_member(&r, "g", "a")->assigned), 3);
    rig_release(&r);
}

static void test_full_group_refuses_new_members_only(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.config.consumer_max_size = 2;
    rig_create(&r, "t1", 2, NULL);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a", .instance = "i"});
    (void)rig_join(&r, (struct beats){.group = "g", .member = "b"});
    size_t records = r.records_count;
    assert_refused(rig_join(&r, (struct beats){.group = "g", .member = "c"}),
                   KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    /* It wins over an unknown member, as in Kafka. */
    assert_refused(rig_beat(&r, (struct beats){.group = "g", .member = "c", .epoch = 5}),
                   KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    assert_int_equal(r.records_count, records);
    assert_refused(rig_join(&r, (struct beats){.group = "g", .member = "b"}), 0);
    (void)rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = -2, .instance = "i"});
    assert_refused(rig_join(&r, (struct beats){.group = "g", .member = "d", .instance = "i"}), 0);
    rig_release(&r);
}

static void test_memory_bound_refuses_and_leaves_no_trace(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    r.memory.max = 60000;
    r.config.memory = &r.memory;
    rig_create(&r, "t1", 2, NULL);
    int joined = 0;
    int16_t error = 0;
    while (error == 0) {
        char id[32];
        snprintf(id, sizeof(id), "member-%d", joined);
        error = rig_join(&r, (struct beats){.group = "g", .member = id})->error_code;
        joined += error == 0;
        assert_true(joined < 1000);
    }
    assert_int_equal(error, KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    assert_int_equal(r.records_new, 0);
    assert_true(joined > 10);
    size_t records = r.records_count;
    assert_refused(rig_join(&r, (struct beats){.group = "other", .member = "x"}),
                   KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    assert_null(group_find(r.sh, STR("other")));
    assert_int_equal(r.records_count, records);
    rig_advance(&r, 46000); /* all leave: the memory comes back */
    assert_refused(rig_join(&r, (struct beats){.group = "g", .member = "y"}), 0);
    rig_release(&r);
}

static void test_empty_group_forgets_the_assignment_interval(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_create(&r, "t1", 2, NULL);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    (void)rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = -1});
    const struct consumer_group_heartbeat_response *rs =
        rig_join(&r, (struct beats){.group = "g", .member = "b"});
    assert_int_equal(rs->member_epoch, 4);
    assert_int_equal(rs->assignment->topic_partitions.count, 1);
    rig_release(&r);
}

static void test_clock_that_is_set_back_does_not_stop_assignments(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_create(&r, "t1", 2, NULL);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    r.wall_ms -= 3600000;
    rig_advance(&r, 1500);
    const struct consumer_group_heartbeat_response *rs =
        rig_join(&r, (struct beats){.group = "g", .member = "b"});
    assert_int_equal(rs->member_epoch, 3);
    rig_release(&r);
}

/* ---- logs of others ---- */

static void append(struct rig *r,
                   const struct msg *key_msg,
                   void *key,
                   const struct msg *value_msg,
                   void *value)
{
    rig_begin(r);
    shard_emit(r->sh, key_msg, key, value_msg, 0, value);
}

static void test_partition_metadata_of_an_older_kafka_is_removed(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_create(&r, "t1", 1, NULL);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    struct consumer_group_partition_metadata_key key = {.group_id = STR("g")};
    struct consumer_group_partition_metadata_value value =
        consumer_group_partition_metadata_value_default;
    append(&r, &consumer_group_partition_metadata_key_msg, &key,
           &consumer_group_partition_metadata_value_msg, &value);
    rig_end(&r);
    rig_restart(&r);
    (void)rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = 2});
    assert_int_equal(r.records_new, 1);
    const struct rig_record *last = &r.records[r.records_count - 1];
    assert_int_equal(load_be16(last->key.ptr), 4);
    assert_null(last->value.ptr);
    (void)rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = 2});
    assert_int_equal(r.records_new, 0);
    rig_release(&r);
}

static void test_positions_without_epochs_count_from_the_member_epoch(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    struct uuid id = rig_create(&r, "t1", 2, NULL)->id;
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    struct consumer_group_current_member_assignment_key key = {.group_id = STR("g"),
                                                               .member_id = STR("a")};
    struct consumer_group_current_member_assignment_value value =
        consumer_group_current_member_assignment_value_default;
    struct consumer_group_current_member_assignment_value_topic_partitions tp =
        consumer_group_current_member_assignment_value_topic_partitions_default;
    int32_t partitions[] = {1, 0};
    tp.topic_id = id;
    tp.partitions.items = partitions;
    tp.partitions.count = 2;
    value.member_epoch = 2;
    value.previous_member_epoch = 1;
    value.assigned_partitions.items = &tp;
    value.assigned_partitions.count = 1;
    append(&r, &consumer_group_current_member_assignment_key_msg, &key,
           &consumer_group_current_member_assignment_value_msg, &value);
    rig_end(&r);
    const struct group *g = group_find(r.sh, STR("g"));
    assert_int_equal(rig_member(&r, "g", "a")->assigned_epochs[1], 2);
    assert_int_equal(consumer_check_commit_partition(g, STR("a"), 1, &id, 0),
                     KAFKA_ERROR_STALE_MEMBER_EPOCH);
    rig_release(&r);
}

static void test_unknown_state_of_a_member_makes_it_join_again(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_create(&r, "t1", 2, NULL);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    struct consumer_group_current_member_assignment_key key = {.group_id = STR("g"),
                                                               .member_id = STR("a")};
    struct consumer_group_current_member_assignment_value value =
        consumer_group_current_member_assignment_value_default;
    value.member_epoch = 2;
    value.state = 9;
    append(&r, &consumer_group_current_member_assignment_key_msg, &key,
           &consumer_group_current_member_assignment_value_msg, &value);
    rig_end(&r);
    rig_restart(&r);
    assert_refused(rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = 2}),
                   KAFKA_ERROR_FENCED_MEMBER_EPOCH);
    assert_refused(rig_join(&r, (struct beats){.group = "g", .member = "a"}), 0);
    assert_int_equal(rig_member(&r, "g", "a")->state, MEMBER_STABLE);
    assert_int_equal(assignment_size(&rig_member(&r, "g", "a")->assigned), 2);
    rig_release(&r);
}

static void swap_records(struct rig *r, size_t a, size_t b)
{
    struct rig_record kept = r->records[a];
    r->records[a] = r->records[b];
    r->records[b] = kept;
}

/* Compaction may leave a target and a position before the metadata of their member. */
static void test_targets_may_come_before_their_members(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_create(&r, "t1", 2, NULL);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    assert_int_equal(r.records_count, 5);
    assert_int_equal(load_be16(r.records[0].key.ptr), 5);
    assert_int_equal(load_be16(r.records[2].key.ptr), 7);
    swap_records(&r, 0, 2);
    rig_restart(&r); /* and compares with what was live */
    assert_int_equal(assignment_size(&rig_member(&r, "g", "a")->target), 2);
    swap_records(&r, 0, 4); /* the position first, too */
    rig_restart(&r);
    assert_int_equal(assignment_size(&rig_member(&r, "g", "a")->assigned), 2);
    assert_int_equal(rig_member(&r, "g", "a")->rebalance_timeout_ms, 60000);
    rig_release(&r);
}

static void test_tombstones_of_what_is_not_there_are_ignored(void **state)
{
    (void)state;
    struct rig r;
    rig_init(&r);
    rig_create(&r, "t1", 2, NULL);
    (void)rig_join(&r, (struct beats){.group = "g", .member = "a"});
    (void)rig_beat(&r, (struct beats){.group = "g", .member = "a", .epoch = -1});
    rig_begin(&r);
    group_emit_tombstones(r.sh, group_find(r.sh, STR("g")));
    rig_end(&r);
    assert_null(group_find(r.sh, STR("g")));
    size_t kept = 0; /* only tombstones are left */
    for (size_t i = 0; i < r.records_count; i++) {
        if (r.records[i].value.ptr == NULL) {
            swap_records(&r, kept++, i);
        }
    }
    size_t all = r.records_count;
    r.records_count = kept;
    rig_restart(&r);
    assert_int_equal(r.sh->groups.count, 0);
    r.records_count = all;
    rig_release(&r);
}

/* ---- what it costs ---- */

static double cpu_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static const struct consumer_group_heartbeat_response *
beat_quickly(struct rig *r, int i, int32_t epoch, const struct assignment *owned)
{
    char id[32];
    snprintf(id, sizeof(id), "member-%05d", i);
    struct consumer_group_heartbeat_request rq = consumer_group_heartbeat_request_default;
    struct str name = STR("t1");
    struct consumer_group_heartbeat_request_topic_partitions tp =
        consumer_group_heartbeat_request_topic_partitions_default;
    rq.group_id = STR("g");
    rq.member_id = str_from(id);
    rq.member_epoch = epoch;
    rq.subscribed_topic_names.count = -1;
    rq.topic_partitions.count = -1;
    if (epoch == 0) {
        rq.rebalance_timeout_ms = 60000;
        rq.subscribed_topic_names.items = &name;
        rq.subscribed_topic_names.count = 1;
        rq.topic_partitions.count = 0;
    } else if (owned != NULL) {
        rq.topic_partitions.items = &tp;
        rq.topic_partitions.count = owned->count;
        if (owned->count > 0) {
            tp.topic_id = owned->topics[0].id;
            tp.partitions.items = owned->topics[0].partitions;
            tp.partitions.count = owned->topics[0].count;
        }
    }
    return rig_send(r, &rq, 1);
}

/* Members join within a second, then all of them heartbeat until the group is stable. */
static double rebalance(int members, int32_t partitions)
{
    struct rig r;
    rig_init(&r);
    r.is_reload_skipped = true;
    r.is_check_skipped = true;
    rig_create(&r, "t1", partitions, NULL);
    double begin = cpu_seconds();
    int32_t *epochs = mem_array(to_size(members), sizeof(*epochs));
    for (int i = 0; i < members; i++) {
        epochs[i] = beat_quickly(&r, i, 0, NULL)->member_epoch;
    }
    int rounds = 0;
    while (consumer_state_of(rig_group(&r, "g")) != CONSUMER_STABLE) {
        assert_true(++rounds < 20);
        rig_advance(&r, 5000);
        for (int i = 0; i < members; i++) {
            char id[32];
            snprintf(id, sizeof(id), "member-%05d", i);
            struct assignment owned;
            assignment_copy(&rig_member(&r, "g", id)->assigned, &owned);
            const struct consumer_group_heartbeat_response *rs =
                beat_quickly(&r, i, epochs[i], &owned);
            assert_int_equal(rs->error_code, 0);
            epochs[i] = rs->member_epoch;
            assignment_release(&owned);
        }
    }
    double cost = cpu_seconds() - begin;
    consumer_validate(rig_group(&r, "g"));
    hmap_foreach (node, &rig_group(&r, "g")->members) {
        const struct consumer_member *m = container_of(node, struct consumer_member, node);
        assert_int_equal(assignment_size(&m->assigned), partitions / members);
    }
    mem_free(epochs);
    rig_release(&r);
    return cost;
}

static void test_large_rebalance_is_cheap(void **state)
{
    (void)state;
    double cost = rebalance(1000, 10000);
    print_message("1000 members, 10000 partitions: %.3f s of CPU\n", cost);
    /* The bound is 1 s in a release build; a sanitizer may make it ten times that. */
    assert_true(cost < 12.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_is_xxh3),
        cmocka_unit_test(test_racks_are_part_of_the_hash),
        cmocka_unit_test(test_silent_member_is_fenced_and_others_get_its_partitions),
        cmocka_unit_test(test_heartbeats_keep_a_session_without_touching_its_timer),
        cmocka_unit_test(test_shorter_session_by_settings_takes_effect),
        cmocka_unit_test(test_who_does_not_revoke_in_time_is_fenced),
        cmocka_unit_test(test_who_revokes_in_time_stays),
        cmocka_unit_test(test_restart_begins_sessions_and_revocations_anew),
        cmocka_unit_test(test_first_heartbeat_after_a_restart_changes_nothing),
        cmocka_unit_test(test_topics_that_grew_while_nobody_looked_are_found_after_a_restart),
        cmocka_unit_test(test_full_group_refuses_new_members_only),
        cmocka_unit_test(test_memory_bound_refuses_and_leaves_no_trace),
        cmocka_unit_test(test_empty_group_forgets_the_assignment_interval),
        cmocka_unit_test(test_clock_that_is_set_back_does_not_stop_assignments),
        cmocka_unit_test(test_partition_metadata_of_an_older_kafka_is_removed),
        cmocka_unit_test(test_positions_without_epochs_count_from_the_member_epoch),
        cmocka_unit_test(test_unknown_state_of_a_member_makes_it_join_again),
        cmocka_unit_test(test_targets_may_come_before_their_members),
        cmocka_unit_test(test_tombstones_of_what_is_not_there_are_ignored),
        cmocka_unit_test(test_large_rebalance_is_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
