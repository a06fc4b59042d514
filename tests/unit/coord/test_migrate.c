/* Groups that change their protocol with their members in them, on one shard driven by hand:
 * classic and consumer members send what their clients send, and the answers are Kafka's. The rig
 * looks at the state, and at what a reload makes of the log, after every event. */
#include "base/base.h"

#include "coord/story_print.h"
#include "migrate_rig.h"
#include "unit.h"

/* ---- upgrade ---- */

static void a_live_classic_group_is_upgraded_and_back(void **state)
{
    struct rig *r = *state;
    const char *old = make_classic(r, NULL);

    struct consumer_group_heartbeat_response *hb = beat(r, (struct beats){.member = "new"});
    assert_int_equal(hb->error_code, 0);
    assert_true(str_is(group_kind_name(the_group(r)), "consumer"));
    assert_int_equal(the_group(r)->consumer->epoch, 2);
    assert_int_equal(member(r, old)->epoch, 1);
    assert_int_equal(assignment_size(&member(r, old)->assigned), 4);
    assert_int_equal(assignment_size(&member(r, old)->target), 2);
    assert_int_equal(hb->member_epoch, 2);
    assert_non_null(hb->assignment);
    assert_int_equal(hb->assignment->topic_partitions.count, 0);

    /* The classic one must rejoin, gives two back, rejoins. */
    assert_int_equal(heartbeat(r, old, 1), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    static const int32_t all[] = {0, 1, 2, 3, -1};
    struct join_group_response *rs = join(r, (struct joins){.member = old, .owned = all});
    assert_int_equal(rs->error_code, 0);
    assert_int_equal(rs->generation_id, 1);
    assert_true(str_is(rs->protocol_type, "consumer"));
    assert_true(str_is(rs->protocol_name, "range"));
    assert_true(str_is(rs->member_id, old));
    assert_int_equal(rs->leader.len, 0);
    assert_int_equal(member(r, old)->state, MEMBER_UNREVOKED_PARTITIONS);
    struct sync_group_response *synced = sync_as(r, old, 1, NULL);
    assert_int_equal(synced->error_code, 0);
    assert_string_equal(partitions_of(r, synced->assignment), "0,1");
    assert_true(str_is(synced->protocol_type, "consumer"));
    assert_true(str_is(synced->protocol_name, "range"));
    assert_int_equal(heartbeat(r, old, 1), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    static const int32_t two[] = {0, 1, -1};
    rs = join(r, (struct joins){.member = old, .owned = two});
    assert_int_equal(rs->generation_id, 2);
    synced = sync_as(r, old, 2, NULL);
    assert_string_equal(partitions_of(r, synced->assignment), "0,1");
    assert_int_equal(heartbeat(r, old, 2), 0);

    /* What was given back is the new one's. */
    hb = beat(r, (struct beats){.member = "new", .epoch = 2});
    assert_int_equal(hb->error_code, 0);
    assert_non_null(hb->assignment);
    assert_int_equal(hb->assignment->topic_partitions.items[0].partitions.count, 2);
    assert_true(str_is(group_state_name(the_group(r)), "Stable"));

    /* The new one goes: a classic group again, which rebalances. */
    hb = beat(r, (struct beats){.member = "new", .epoch = -1});
    assert_int_equal(hb->error_code, 0);
    assert_true(str_is(group_kind_name(the_group(r)), "classic"));
    assert_true(str_is(group_state_name(the_group(r)), "PreparingRebalance"));
    assert_int_equal(the_group(r)->classic->generation, 2);
    assert_int_equal(heartbeat(r, old, 2), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    rs = join(r, (struct joins){.member = old, .owned = two});
    assert_int_equal(rs->error_code, 0);
    assert_int_equal(rs->generation_id, 3);
    assert_true(str_is(rs->leader, old));
    sync_leader(r, old, 3, &old, 1);
    assert_true(str_is(group_state_name(the_group(r)), "Stable"));
}

static void a_group_that_rebalances_is_upgraded_too(void **state)
{
    struct rig *r = *state;
    const char *old = make_classic(r, NULL);
    struct join_group_response *second = join(r, (struct joins){0});
    const char *other = text(r, second->member_id);
    struct join_group_response *parked = join(r, (struct joins){.member = other});
    assert_int_equal(r->completed, 0);
    struct consumer_group_heartbeat_response *hb = beat(r, (struct beats){.member = "new"});
    assert_int_equal(r->completed, 2);
    assert_int_equal(hb->error_code, 0);
    assert_int_equal(parked->error_code, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    assert_int_equal(the_group(r)->consumer->members_count, 3);
    assert_int_equal(assignment_size(&member(r, old)->assigned), 4);
    assert_int_equal(assignment_size(&member(r, other)->assigned), 0);
}

static void the_first_rebalance_does_not_stop_an_upgrade(void **state)
{
    struct rig *r = *state;
    r->config.initial_rebalance_delay_ms = 3000;
    struct join_group_response *parked = join(r, (struct joins){.version = 3});
    assert_int_equal(r->completed, 0);
    struct consumer_group_heartbeat_response *hb = beat(r, (struct beats){.member = "new"});
    assert_int_equal(hb->error_code, 0);
    assert_int_equal(parked->error_code, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    assert_int_equal(the_group(r)->consumer->members_count, 2);
}

static int16_t refused_upgrade(struct rig *r)
{
    size_t records = r->records_count;
    struct consumer_group_heartbeat_response *hb = beat(r, (struct beats){.member = "new"});
    assert_int_equal(r->records_count, records);
    assert_int_equal(the_group(r)->kind, GROUP_CLASSIC);
    assert_true(hb->error_message.len > 0);
    return hb->error_code;
}

static void an_upgrade_is_refused_by_policy(void **state)
{
    struct rig *r = *state;
    make_classic(r, NULL);
    r->config.migration_policy = MIGRATION_DOWNGRADE;
    assert_int_equal(refused_upgrade(r), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    r->config.migration_policy = MIGRATION_DISABLED;
    assert_int_equal(refused_upgrade(r), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
    r->config.migration_policy = MIGRATION_UPGRADE;
    r->config.consumer_max_size = 0;
    assert_int_equal(refused_upgrade(r), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
}

static void a_group_of_another_protocol_is_not_upgraded(void **state)
{
    struct rig *r = *state;
    struct join_group_response *rs =
        join(r, (struct joins){.type = "connect", .bytes = "x", .version = 3});
    advance(r, 0);
    assert_int_equal(rs->error_code, 0);
    assert_int_equal(refused_upgrade(r), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
}

static void bytes_that_cannot_be_read_are_not_upgraded(void **state)
{
    struct rig *r = *state;
    struct join_group_response *rs = join(r, (struct joins){.bytes = "xx", .version = 3});
    advance(r, 0);
    assert_int_equal(rs->error_code, 0);
    assert_int_equal(refused_upgrade(r), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
}

static void what_a_custom_assignor_has_written_is_not_lost(void **state)
{
    struct rig *r = *state;
    struct join_group_response *rs = join(r, (struct joins){.version = 3});
    advance(r, 0);
    struct sync_group_request_sync_group_request_assignment mine =
        sync_group_request_sync_group_request_assignment_default;
    mine.member_id = rs->member_id;
    mine.assignment = (struct view){(const uint8_t *)"\0\1\0\0\0\0\0\0\0\1x", 11};
    struct sync_group_request rq = sync_group_request_default;
    struct sync_group_response synced = sync_group_response_default;
    rq.group_id = STR("g");
    rq.member_id = rs->member_id;
    rq.generation_id = 1;
    rq.assignments.items = &mine;
    rq.assignments.count = 1;
    begin(r);
    group_sync(r->sh, new_call(r, API_SYNC, 3, &rq, &synced));
    end(r);
    assert_int_equal(synced.error_code, 0);
    assert_int_equal(refused_upgrade(r), KAFKA_ERROR_GROUP_ID_NOT_FOUND);
}

static void sessions_go_on_after_an_upgrade(void **state)
{
    struct rig *r = *state;
    const char *old = make_classic(r, NULL);
    advance(r, 20000);
    assert_int_equal(beat(r, (struct beats){.member = "new"})->error_code, 0);
    advance(r, SESSION_MS - 1);
    assert_non_null(member(r, old));
    advance(r, 1);
    assert_null(member(r, old));
}

static void empty_groups_are_replaced_whatever_the_policy(void **state)
{
    struct rig *r = *state;
    r->config.migration_policy = MIGRATION_DISABLED;
    const char *old = make_classic(r, NULL);
    assert_int_equal(leave(r, old, NULL), 0);
    assert_true(group_is_empty(the_group(r)));
    struct consumer_group_heartbeat_response *hb = beat(r, (struct beats){.member = "new"});
    assert_int_equal(hb->error_code, 0);
    assert_true(str_is(group_kind_name(the_group(r)), "consumer"));
    assert_int_equal(beat(r, (struct beats){.member = "new", .epoch = -1})->error_code, 0);
    assert_true(group_is_empty(the_group(r)));
    make_classic(r, NULL);
    assert_true(str_is(group_kind_name(the_group(r)), "classic"));
}

/* ---- classic members of a consumer group ---- */

static void a_classic_member_joins_a_consumer_group(void **state)
{
    struct rig *r = *state;
    static const int32_t none[] = {-1};
    assert_int_equal(beat(r, (struct beats){.member = "new"})->error_code, 0);
    struct join_group_response *first = join(r, (struct joins){0});
    assert_int_equal(first->error_code, KAFKA_ERROR_MEMBER_ID_REQUIRED);
    assert_int_equal(first->member_id.len, 22);
    assert_int_equal(the_group(r)->consumer->members_count, 1);
    const char *id = text(r, first->member_id);
    struct join_group_response *rs = join(r, (struct joins){.member = id, .owned = none});
    assert_int_equal(rs->error_code, 0);
    assert_int_equal(rs->generation_id, 3);
    assert_int_equal(member(r, id)->state, MEMBER_UNRELEASED_PARTITIONS);
    struct sync_group_response *synced = sync_as(r, id, 3, NULL);
    assert_int_equal(synced->error_code, 0);
    assert_string_equal(partitions_of(r, synced->assignment), "");
    assert_int_equal(heartbeat(r, id, 3), 0); /* what it waits for is not free */

    static const int32_t two[] = {0, 1, -1};
    struct beats b = {.member = "new", .epoch = 2};
    struct consumer_group_heartbeat_response *hb = beat(r, b); /* is told to give two back */
    assert_int_equal(hb->error_code, 0);
    assert_int_equal(hb->assignment->topic_partitions.items[0].partitions.count, 2);
    assert_int_equal(hb->assignment->topic_partitions.items[0].partitions.items[0], 0);
    assert_int_equal(heartbeat(r, id, 3), 0);
    b.has_owned = true;
    b.owned = two;
    hb = beat(r, b);
    assert_int_equal(hb->member_epoch, 3);
    assert_int_equal(heartbeat(r, id, 3), KAFKA_ERROR_REBALANCE_IN_PROGRESS); /* now it is */
    rs = join(r, (struct joins){.member = id, .owned = none});
    assert_int_equal(rs->generation_id, 3);
    assert_string_equal(partitions_of(r, sync_as(r, id, 3, NULL)->assignment), "2,3");
    assert_int_equal(heartbeat(r, id, 3), 0);
    assert_true(str_is(group_state_name(the_group(r)), "Stable"));

    restart(r);
    assert_int_equal(heartbeat(r, id, 3), 0);
    assert_string_equal(partitions_of(r, sync_as(r, id, 3, NULL)->assignment), "2,3");
    assert_int_equal(leave(r, id, NULL), 0);
    assert_null(member(r, id));
    assert_int_equal(the_group(r)->consumer->epoch, 4);
}

static void classic_calls_are_refused_in_kafkas_order(void **state)
{
    struct rig *r = *state;
    assert_int_equal(beat(r, (struct beats){.member = "new"})->error_code, 0);
    struct join_group_response *rs = join(r, (struct joins){.version = 3});
    assert_int_equal(rs->error_code, 0);
    const char *id = text(r, rs->member_id);
    const int32_t epoch = rs->generation_id;
    size_t records = r->records_count;

    assert_int_equal(heartbeat(r, "nobody", epoch), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(heartbeat(r, "new", 2), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(heartbeat(r, id, epoch + 1), KAFKA_ERROR_ILLEGAL_GENERATION);
    assert_int_equal(heartbeat_as(r, id, epoch, "i"), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(sync_as(r, "nobody", epoch, NULL)->error_code, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(sync_as(r, "new", 2, NULL)->error_code, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(sync_as(r, id, 77, NULL)->error_code, KAFKA_ERROR_ILLEGAL_GENERATION);
    assert_int_equal(leave(r, "nobody", NULL), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(leave(r, "", "nobody"), KAFKA_ERROR_UNKNOWN_MEMBER_ID);

    /* Protocols that the others do not have, another type, bytes that are none. */
    struct joins other = {.protocol = "mine"};
    assert_int_equal(join(r, other)->error_code, KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
    struct joins type = {.type = "connect"};
    assert_int_equal(join(r, type)->error_code, KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
    struct joins bytes = {.bytes = "?"};
    assert_int_equal(join(r, bytes)->error_code, KAFKA_ERROR_MEMBER_ID_REQUIRED);
    bytes.version = 3;
    assert_int_equal(join(r, bytes)->error_code, KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
    r->config.consumer_max_size = 2;
    assert_int_equal(join(r, (struct joins){0})->error_code, KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    r->config.migration_policy = MIGRATION_DISABLED;
    assert_int_equal(join(r, (struct joins){.member = id})->error_code,
                     KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(r->records_count, records); /* nothing has been written */
}

static void a_classic_member_that_does_not_come_back_is_fenced(void **state)
{
    struct rig *r = *state;
    const char *old = make_classic(r, NULL);
    assert_int_equal(beat(r, (struct beats){.member = "new"})->error_code, 0);
    for (int32_t passed = 0; passed < REBALANCE_MS; passed += 10000) {
        assert_int_equal(heartbeat(r, old, 1), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
        assert_int_equal(beat(r, (struct beats){.member = "new", .epoch = 2})->error_code, 0);
        advance(r, 10000);
    }
    assert_null(member(r, old));
    assert_int_equal(heartbeat(r, old, 1), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

static void a_classic_member_that_does_not_sync_is_fenced(void **state)
{
    struct rig *r = *state;
    assert_int_equal(beat(r, (struct beats){.member = "new"})->error_code, 0);
    struct join_group_response *rs = join(r, (struct joins){.version = 3});
    const char *id = text(r, rs->member_id);
    for (int32_t passed = 0; passed < REBALANCE_MS; passed += 10000) {
        assert_int_equal(heartbeat(r, id, 3), 0);
        assert_int_equal(beat(r, (struct beats){.member = "new", .epoch = 2})->error_code, 0);
        advance(r, 10000);
    }
    assert_null(member(r, id));
}

static void a_classic_member_that_is_silent_expires(void **state)
{
    struct rig *r = *state;
    assert_int_equal(beat(r, (struct beats){.member = "new"})->error_code, 0);
    struct join_group_response *rs = join(r, (struct joins){.version = 3});
    const char *id = text(r, rs->member_id);
    assert_int_equal(sync_as(r, id, 3, NULL)->error_code, 0);
    advance(r, SESSION_MS - 1);
    assert_non_null(member(r, id));
    advance(r, 1);
    assert_null(member(r, id));
}

/* ---- static members, downgrade ---- */

static void a_static_member_changes_its_protocol_and_back(void **state)
{
    struct rig *r = *state;
    const char *old = make_classic(r, "i1");
    const char *other = text(r, join(r, (struct joins){.version = 3})->member_id);
    (void)other;
    struct consumer_group_heartbeat_response *hb =
        beat(r, (struct beats){.member = "new", .instance = "i1"});
    assert_int_equal(hb->error_code, 0);
    assert_null(member(r, old));
    assert_non_null(member(r, "new"));
    assert_null(member(r, "new")->classic);
    assert_true(str_is(member(r, "new")->instance_id, "i1"));
    assert_int_equal(heartbeat_as(r, old, 1, "i1"), KAFKA_ERROR_FENCED_INSTANCE_ID);
    assert_int_equal(the_group(r)->consumer->classic_members_count, 1);

    /* The only one of the new protocol is replaced by a classic one: back. */
    struct join_group_response *rs = join(r, (struct joins){.instance = "i1"});
    assert_int_equal(rs->error_code, 0);
    assert_int_equal(the_group(r)->kind, GROUP_CLASSIC);
    assert_int_equal(the_group(r)->classic->members.count, 2);
    const struct classic_member *m = classic_member_find_instance(the_group(r)->classic, STR("i1"));
    assert_non_null(m);
    assert_true(str_equal(m->id, rs->member_id));
}

static void a_static_classic_member_takes_over_without_a_rebalance(void **state)
{
    struct rig *r = *state;
    assert_int_equal(beat(r, (struct beats){.member = "new", .instance = "i1"})->error_code, 0);
    struct join_group_response *rs = join(r, (struct joins){.instance = "i1"});
    assert_int_equal(rs->error_code, 0);
    assert_int_equal(rs->generation_id, 2);
    assert_true(str_is(group_kind_name(the_group(r)), "classic"));
    assert_true(str_is(group_state_name(the_group(r)), "Stable"));
    const char *id = text(r, rs->member_id);
    struct sync_group_response *synced = sync_as(r, id, 2, "i1");
    assert_int_equal(synced->error_code, 0);
    assert_string_equal(partitions_of(r, synced->assignment), "0,1,2,3");
    restart(r);
    assert_int_equal(heartbeat_as(r, id, 2, "i1"), 0);
}

static void static_joins_are_fenced(void **state)
{
    struct rig *r = *state;
    assert_int_equal(beat(r, (struct beats){.member = "a", .instance = "i1"})->error_code, 0);
    assert_int_equal(beat(r, (struct beats){.member = "b"})->error_code, 0);
    struct joins j = {.member = "x", .instance = "i1"};
    assert_int_equal(join(r, j)->error_code, KAFKA_ERROR_FENCED_INSTANCE_ID);
    j.instance = "i2";
    assert_int_equal(join(r, j)->error_code, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    j.member = NULL;
    j.instance = "i1";
    struct join_group_response *rs = join(r, j);
    assert_int_equal(rs->error_code, 0);
    assert_null(member(r, "a"));
    assert_non_null(member(r, text(r, rs->member_id))->classic);
    assert_int_equal(leave(r, "x", "i1"), KAFKA_ERROR_FENCED_INSTANCE_ID);
    assert_int_equal(leave(r, "", "i1"), 0);
    assert_int_equal(the_group(r)->consumer->members_count, 1);
}

static void a_downgrade_needs_its_policy_and_room(void **state)
{
    struct rig *r = *state;
    make_classic(r, NULL);
    r->config.migration_policy = MIGRATION_UPGRADE;
    assert_int_equal(beat(r, (struct beats){.member = "new"})->error_code, 0);
    assert_int_equal(beat(r, (struct beats){.member = "new", .epoch = -1})->error_code, 0);
    assert_int_equal(the_group(r)->kind, GROUP_CONSUMER);
    assert_int_equal(the_group(r)->consumer->classic_members_count, 1);
    r->config.migration_policy = MIGRATION_BIDIRECTIONAL;
    r->config.max_size = 0;
    assert_int_equal(beat(r, (struct beats){.member = "new"})->error_code, 0);
    assert_int_equal(beat(r, (struct beats){.member = "new", .epoch = -1})->error_code, 0);
    assert_int_equal(the_group(r)->kind, GROUP_CONSUMER);
}

static void an_expired_member_downgrades_too(void **state)
{
    struct rig *r = *state;
    const char *old = make_classic(r, NULL);
    assert_int_equal(beat(r, (struct beats){.member = "new"})->error_code, 0);
    static const int32_t all[] = {0, 1, 2, 3, -1};
    static const int32_t two[] = {0, 1, -1};
    join(r, (struct joins){.member = old, .owned = all});
    sync_as(r, old, 1, NULL);
    join(r, (struct joins){.member = old, .owned = two});
    sync_as(r, old, 2, NULL);
    for (int i = 0; i < 5; i++) {
        (void)heartbeat(r, old, 2);
        advance(r, 10000);
    }
    assert_int_equal(the_group(r)->kind, GROUP_CLASSIC);
    assert_int_equal(the_group(r)->classic->members.count, 1);
}

static void offsets_stay_through_both_ways(void **state)
{
    struct rig *r = *state;
    const char *old = make_classic(r, NULL);
    struct offset_commit_key key = offset_commit_key_default;
    struct offset_commit_value value = offset_commit_value_default;
    key.group = STR("g");
    key.topic = STR("t1");
    value.offset = 42;
    begin(r);
    shard_emit(r->sh, &offset_commit_key_msg, &key, &offset_commit_value_msg, 4, &value);
    end(r);
    assert_int_equal(beat(r, (struct beats){.member = "new"})->error_code, 0);
    assert_int_equal(offsets_find(r->sh, the_group(r), STR("t1"), 0)->offset, 42);
    assert_int_equal(beat(r, (struct beats){.member = "new", .epoch = -1})->error_code, 0);
    assert_int_equal(the_group(r)->kind, GROUP_CLASSIC);
    assert_int_equal(offsets_find(r->sh, the_group(r), STR("t1"), 0)->offset, 42);
    assert_non_null(classic_member_find(the_group(r)->classic, str_from(old)));
    struct str story; /* the one from before the group was made anew */
    static const char was[] = "from classic to consumer";
    assert_true(story_explain(r->sh, STR("g"), true, &r->arena, &story));
    assert_non_null(memmem(story.ptr, story.len, was, sizeof(was) - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_live_classic_group_is_upgraded_and_back),
        TEST(a_group_that_rebalances_is_upgraded_too),
        TEST(the_first_rebalance_does_not_stop_an_upgrade),
        TEST(an_upgrade_is_refused_by_policy),
        TEST(a_group_of_another_protocol_is_not_upgraded),
        TEST(bytes_that_cannot_be_read_are_not_upgraded),
        TEST(what_a_custom_assignor_has_written_is_not_lost),
        TEST(sessions_go_on_after_an_upgrade),
        TEST(empty_groups_are_replaced_whatever_the_policy),
        TEST(a_classic_member_joins_a_consumer_group),
        TEST(classic_calls_are_refused_in_kafkas_order),
        TEST(a_classic_member_that_does_not_come_back_is_fenced),
        TEST(a_classic_member_that_does_not_sync_is_fenced),
        TEST(a_classic_member_that_is_silent_expires),
        TEST(a_static_member_changes_its_protocol_and_back),
        TEST(a_static_classic_member_takes_over_without_a_rebalance),
        TEST(static_joins_are_fenced),
        TEST(a_downgrade_needs_its_policy_and_room),
        TEST(an_expired_member_downgrades_too),
        TEST(offsets_stay_through_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
