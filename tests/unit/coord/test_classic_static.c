/* Static members: an instance id names the member, the member id is what changes. Replacement in
 * every state, fencing of the old id everywhere, removal by an administrator. The method is that
 * of test_classic.c. */
#include "classic_rig.h"

/* One static member "i1" in generation 1, Stable, assignment "mine"; copies its id. */
static const char *stable_static(struct rig *r)
{
    struct ask *a = rig_join(r, (struct joins){.group = "g", .instance = "i1"});
    rig_advance(r, 3000);
    assert_int_equal(join_error(a), 0);
    const char *id = id_of(a);
    struct ask *s = rig_sync(r, "g", id, 1, id, "mine");
    assert_int_equal(sync_error(s), 0);
    return id;
}

static void a_static_leader_comes_back_without_a_rebalance(void **state)
{
    struct rig *r = *state;
    const char *old = stable_static(r);
    size_t before = r->records_count;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .instance = "i1"});
    assert_int_equal(join_error(a), 0);
    const char *id = id_of(a);
    assert_true(strcmp(id, old) != 0);
    assert_int_equal(a->rs.join.generation_id, 1);
    assert_true(a->rs.join.skip_assignment);
    assert_str(a->rs.join.leader, id);
    assert_int_equal(a->rs.join.members.count, 1);
    assert_str(a->rs.join.members.items[0].member_id, id);
    assert_int_equal(rig_state(r, "g"), CLASSIC_STABLE);
    assert_int_equal(r->records_count, before + 1);
    struct ask *s = rig_sync_as(r, "g", id, "i1", 1, NULL, 0);
    same_view(s->rs.sync.assignment, bytes_of("mine"));

    assert_int_equal(rig_heartbeat_as(r, "g", old, "i1", 1), KAFKA_ERROR_FENCED_INSTANCE_ID);
    assert_int_equal(rig_heartbeat_as(r, "g", old, NULL, 1), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(rig_heartbeat_as(r, "g", id, "i1", 1), 0);
    assert_int_equal(rig_heartbeat_as(r, "g", id, "i9", 1), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    s = rig_sync_as(r, "g", old, "i1", 1, NULL, 0);
    assert_int_equal(sync_error(s), KAFKA_ERROR_FENCED_INSTANCE_ID);
    a = rig_join(r, (struct joins){.group = "g", .instance = "i1", .member = old});
    assert_int_equal(join_error(a), KAFKA_ERROR_FENCED_INSTANCE_ID);
    assert_str(a->rs.join.protocol_name, NULL);
    a = rig_leave(r, 5, "g", old, "i1");
    assert_int_equal(a->rs.leave.members.items[0].error_code, KAFKA_ERROR_FENCED_INSTANCE_ID);
    struct group *g = group_find(r->sh, STR("g"));
    assert_int_equal(group_check_commit(r->sh, g, str_from(old), STR("i1"), 1, false, 9),
                     KAFKA_ERROR_FENCED_INSTANCE_ID);
}

static void before_version_9_a_leader_that_comes_back_follows(void **state)
{
    struct rig *r = *state;
    const char *old = stable_static(r);
    struct ask *a = rig_join(r, (struct joins){.group = "g", .instance = "i1", .version = 8});
    assert_int_equal(join_error(a), 0);
    assert_str(a->rs.join.leader, old); /* so that it does not assign */
    assert_int_equal(a->rs.join.members.count, 0);
    assert_false(a->rs.join.skip_assignment);
    assert_str(a->rs.join.protocol_type, "consumer");
    assert_str(rig_group(r, "g")->leader, id_of(a));
}

static void a_static_follower_comes_back_and_learns_the_leader(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .instance = "i1"});
    struct ask *b = rig_join(r, (struct joins){.group = "g", .instance = "i2"});
    rig_advance(r, 6000);
    const char *ia = id_of(a);
    const char *ib = id_of(b);
    rig_sync(r, "g", ia, 1, ia, "one", ib, "two");
    b = rig_join(r, (struct joins){.group = "g", .instance = "i2"});
    assert_int_equal(join_error(b), 0);
    assert_str(b->rs.join.leader, ia);
    assert_false(b->rs.join.skip_assignment);
    assert_int_equal(b->rs.join.members.count, 0);
    struct ask *s = rig_sync_as(r, "g", id_of(b), "i2", 1, NULL, 0);
    same_view(s->rs.sync.assignment, bytes_of("two"));
}

static void a_replacement_that_changes_the_election_begins_a_rebalance(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_join(
        r, (struct joins){.group = "g", .instance = "i1", .protocols = "range=1,sticky=2"});
    rig_advance(r, 3000);
    const char *id = id_of(a);
    rig_sync(r, "g", id, 1, id, "x");
    struct ask *b = rig_join(
        r, (struct joins){.group = "g", .instance = "i1", .protocols = "sticky=2,range=1"});
    assert_int_equal(join_error(b), 0); /* alone: it completes at once */
    assert_int_equal(b->rs.join.generation_id, 2);
    assert_str(b->rs.join.protocol_name, "sticky");
    assert_int_equal(rig_state(r, "g"), CLASSIC_COMPLETING_REBALANCE);
}

static void a_replacement_while_the_leader_is_awaited_begins_anew(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .instance = "i1"});
    struct ask *b = rig_join(r, (struct joins){.group = "g", .instance = "i2"});
    struct ask *c = rig_join(r, (struct joins){.group = "g", .version = 3});
    rig_advance(r, 9000);
    assert_int_equal(join_error(a), 0);
    struct ask *sb = rig_sync_as(r, "g", id_of(b), "i2", 1, NULL, 0);
    struct ask *sc = rig_sync_as(r, "g", id_of(c), NULL, 1, NULL, 0);
    b = rig_join(r, (struct joins){.group = "g", .instance = "i2"});
    assert_false(b->is_done);
    assert_int_equal(sync_error(sb), KAFKA_ERROR_FENCED_INSTANCE_ID);
    assert_int_equal(sync_error(sc), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    assert_int_equal(rig_state(r, "g"), CLASSIC_PREPARING_REBALANCE);
}

static void a_replacement_while_members_are_awaited_fences_the_parked_join(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .instance = "i1"});
    struct ask *b = rig_join(r, (struct joins){.group = "g", .instance = "i1"});
    assert_int_equal(join_error(a), KAFKA_ERROR_FENCED_INSTANCE_ID);
    assert_str(a->rs.join.protocol_name, NULL);
    assert_str(a->rs.join.leader, "");
    assert_true(a->rs.join.member_id.len > 0);
    assert_false(b->is_done);
    rig_advance(r, 3000);
    assert_int_equal(join_error(b), 0);
    assert_int_equal(rig_group(r, "g")->members.count, 1);
}

static void a_static_member_that_stays_away_keeps_its_place_until_its_session_ends(void **state)
{
    struct rig *r = *state;
    struct ask *a =
        rig_join(r, (struct joins){.group = "g", .instance = "i1", .session_ms = 90000});
    struct ask *b =
        rig_join(r, (struct joins){.group = "g", .instance = "i2", .session_ms = 90000});
    rig_advance(r, 6000);
    const char *ia = id_of(a);
    rig_sync(r, "g", ia, 1, ia, "one");
    rig_sync_as(r, "g", id_of(b), "i2", 1, NULL, 0);
    /* i1 leads and joins again; i2 is away: after the rebalance timeout it is still a member. */
    a = rig_join(r,
                 (struct joins){.group = "g", .instance = "i1", .member = ia, .session_ms = 90000});
    rig_advance(r, 59999);
    assert_false(a->is_done);
    rig_advance(r, 1);
    assert_int_equal(join_error(a), 0);
    assert_int_equal(a->rs.join.members.count, 2);
    rig_sync(r, "g", ia, 2, ia, "all");
    assert_int_equal(rig_heartbeat_as(r, "g", ia, "i1", 2), 0);
    /* It does not sync either: then it goes, and a rebalance begins. */
    rig_advance(r, 60000);
    assert_int_equal(rig_group(r, "g")->members.count, 1);
    assert_int_equal(rig_heartbeat_as(r, "g", ia, "i1", 2), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
}

static void when_only_static_members_are_left_and_away_the_rebalance_waits_again(void **state)
{
    struct rig *r = *state;
    struct ask *a =
        rig_join(r, (struct joins){.group = "g", .instance = "i1", .session_ms = 100000});
    const char *dynamic;
    rig_join_twice(r, (struct joins){.group = "g"}, &dynamic);
    rig_advance(r, 6000);
    const char *ia = id_of(a);
    rig_sync(r, "g", ia, 1, ia, "one");
    rig_sync_as(r, "g", dynamic, NULL, 1, NULL, 0);
    rig_leave(r, 5, "g", dynamic, NULL);
    rig_advance(r, 60000);
    assert_int_equal(rig_state(r, "g"), CLASSIC_PREPARING_REBALANCE);
    a = rig_join(r, (struct joins){.group = "g", .instance = "i1", .member = ia});
    assert_int_equal(join_error(a), 0);
    assert_int_equal(a->rs.join.generation_id, 2);
}

static void a_rebalance_timeout_of_nothing_is_no_busy_loop(void **state)
{
    struct rig *r = *state;
    r->is_reload_skipped = true;
    struct ask *a = rig_ask(r, API_JOIN, 9);
    a->rq.join = join_group_request_default;
    a->rq.join.group_id = STR("g");
    a->rq.join.member_id = STR("");
    a->rq.join.group_instance_id = STR("i1");
    a->rq.join.protocol_type = STR("consumer");
    a->rq.join.session_timeout_ms = 600000;
    a->rq.join.rebalance_timeout_ms = -5;
    put_protocols(a, "range");
    rig_begin(r);
    group_join(r->sh, &a->call);
    rig_event_end(r);
    const char *dynamic;
    rig_join_twice(r, (struct joins){.group = "g"}, &dynamic);
    rig_advance(r, 6000);
    const char *ia = id_of(a);
    rig_sync(r, "g", ia, 1, ia, "one");
    rig_sync_as(r, "g", dynamic, NULL, 1, NULL, 0);
    rig_leave(r, 5, "g", dynamic, NULL);
    rig_advance(r, 500000); /* looks at the number of rounds */
    assert_int_equal(rig_state(r, "g"), CLASSIC_PREPARING_REBALANCE);
}

static void an_administrator_removes_static_members_by_instance(void **state)
{
    struct rig *r = *state;
    const char *old = stable_static(r);
    struct ask *a = rig_leave(r, 5, "g", "", "i9", "", "i1", "", "i1");
    assert_int_equal(a->rs.leave.members.items[0].error_code, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(a->rs.leave.members.items[1].error_code, 0);
    assert_str(a->rs.leave.members.items[1].member_id, "");
    assert_str(a->rs.leave.members.items[1].group_instance_id, "i1");
    assert_int_equal(a->rs.leave.members.items[2].error_code, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(rig_state(r, "g"), CLASSIC_EMPTY);
    assert_int_equal(rig_heartbeat_as(r, "g", old, "i1", 1), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

static void a_member_that_waits_for_its_assignment_and_is_removed_is_told(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .instance = "i1"});
    struct ask *b = rig_join(r, (struct joins){.group = "g", .instance = "i2"});
    rig_advance(r, 6000);
    struct ask *s = rig_sync_as(r, "g", id_of(b), "i2", 1, NULL, 0);
    rig_leave(r, 5, "g", "", "i2");
    assert_int_equal(sync_error(s), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(join_error(a), 0);
}

/* Kafka goes on waiting for the sync of an id that was replaced in a stable group. */
static void the_sync_of_a_replaced_id_is_awaited_and_then_a_rebalance_begins(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .instance = "i1"});
    struct ask *b =
        rig_join(r, (struct joins){.group = "g", .instance = "i2", .session_ms = 90000});
    rig_advance(r, 6000);
    const char *ia = id_of(a);
    rig_sync(r, "g", ia, 1, ia, "one", id_of(b), "two");
    b = rig_join(r, (struct joins){.group = "g", .instance = "i2", .session_ms = 90000});
    assert_int_equal(join_error(b), 0);
    struct ask *s = rig_sync_as(r, "g", id_of(b), "i2", 1, NULL, 0);
    same_view(s->rs.sync.assignment, bytes_of("two"));
    for (int i = 0; i < 3; i++) {
        rig_advance(r, 20000);
        int error = rig_heartbeat_as(r, "g", ia, "i1", 1);
        assert_int_equal(error, i < 2 ? 0 : KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    }
    assert_int_equal(rig_group(r, "g")->members.count, 2);
}

static void an_instance_survives_a_restart_of_the_coordinator(void **state)
{
    struct rig *r = *state;
    const char *old = stable_static(r);
    rig_restart(r, KAFKA_ERROR_NOT_COORDINATOR);
    assert_int_equal(rig_heartbeat_as(r, "g", old, "i1", 1), 0);
    struct ask *a = rig_join(r, (struct joins){.group = "g", .instance = "i1"});
    assert_int_equal(join_error(a), 0);
    assert_int_equal(a->rs.join.generation_id, 1);
    rig_restart(r, KAFKA_ERROR_NOT_COORDINATOR);
    assert_int_equal(rig_heartbeat_as(r, "g", old, "i1", 1), KAFKA_ERROR_FENCED_INSTANCE_ID);
    assert_int_equal(rig_heartbeat_as(r, "g", id_of(a), "i1", 1), 0);
}

static void a_replacement_whose_record_is_too_large_leaves_the_old_member(void **state)
{
    struct rig *r = *state;
    const char *old = stable_static(r);
    r->config.record_bytes_max = 400;
    char big[600];
    memset(big, 'x', sizeof(big) - 1);
    memcpy(big, "range=", 6);
    big[sizeof(big) - 1] = '\0';
    struct ask *a = rig_join(r, (struct joins){.group = "g", .instance = "i1", .protocols = big});
    assert_int_equal(join_error(a), KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(a->rs.join.generation_id, 1);
    assert_str(a->rs.join.leader, old);
    assert_int_equal(rig_heartbeat_as(r, "g", old, "i1", 1), 0);
    assert_int_equal(rig_state(r, "g"), CLASSIC_STABLE);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_static_leader_comes_back_without_a_rebalance),
        TEST(before_version_9_a_leader_that_comes_back_follows),
        TEST(a_static_follower_comes_back_and_learns_the_leader),
        TEST(a_replacement_that_changes_the_election_begins_a_rebalance),
        TEST(a_replacement_while_the_leader_is_awaited_begins_anew),
        TEST(a_replacement_while_members_are_awaited_fences_the_parked_join),
        TEST(a_static_member_that_stays_away_keeps_its_place_until_its_session_ends),
        TEST(when_only_static_members_are_left_and_away_the_rebalance_waits_again),
        TEST(a_rebalance_timeout_of_nothing_is_no_busy_loop),
        TEST(an_administrator_removes_static_members_by_instance),
        TEST(a_member_that_waits_for_its_assignment_and_is_removed_is_told),
        TEST(the_sync_of_a_replaced_id_is_awaited_and_then_a_rebalance_begins),
        TEST(an_instance_survives_a_restart_of_the_coordinator),
        TEST(a_replacement_whose_record_is_too_large_leaves_the_old_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
