/* The classic protocol, event by event: each test is a row of the table of states (the first
 * comment of coord/classic.c) or an order of checks. A shard is driven by hand (classic_rig.h),
 * which looks at the machine's invariants, the encoding of every answer and the equality with a
 * reloaded shard after each event. */
#include "classic_rig.h"

enum {
    MAX_ROUNDS = 5,
};

/* ---- JoinGroup ---- */

static void a_dynamic_member_gets_its_id_first_from_version_4_on(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .version = 4});
    assert_int_equal(join_error(a), KAFKA_ERROR_MEMBER_ID_REQUIRED);
    struct str id = a->rs.join.member_id;
    assert_int_equal(id.len, strlen("app-") + 36);
    assert_true(str_starts_with(id, STR("app-")));
    assert_int_equal(a->rs.join.generation_id, -1);
    assert_str(a->rs.join.leader, "");
    assert_str(a->rs.join.protocol_name, "");
    assert_str(a->rs.join.protocol_type, NULL);
    assert_int_equal(rig_state(r, "g"), CLASSIC_EMPTY);
    assert_int_equal(r->records_count, 1); /* the empty group */

    struct ask *b = rig_join(r, (struct joins){.group = "g", .member = id_of(a)});
    assert_false(b->is_done);
    assert_int_equal(rig_state(r, "g"), CLASSIC_PREPARING_REBALANCE);
    assert_int_equal(r->records_count, 1);
}

static void old_versions_and_static_members_get_in_at_once(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .version = 3});
    struct ask *b = rig_join(r, (struct joins){.group = "g", .version = 5, .instance = "i1"});
    assert_false(a->is_done);
    assert_false(b->is_done);
    rig_advance(r, 6000);
    assert_int_equal(join_error(a), 0);
    assert_int_equal(join_error(b), 0);
    assert_true(str_starts_with(b->rs.join.member_id, STR("i1-")));
    assert_true(str_equal(b->rs.join.leader, a->rs.join.member_id));
    assert_int_equal(a->rs.join.members.count, 2);
    assert_int_equal(b->rs.join.members.count, 0);
    assert_str(a->rs.join.members.items[1].group_instance_id, "i1");
    assert_str(a->rs.join.protocol_name, "range");
    assert_int_equal(rig_state(r, "g"), CLASSIC_COMPLETING_REBALANCE);
}

static void version_0_has_its_session_timeout_as_rebalance_timeout(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_ask(r, API_JOIN, 1);
    a->call.version = 0;
    a->rq.join = join_group_request_default;
    a->rq.join.group_id = STR("g");
    a->rq.join.member_id = STR("");
    a->rq.join.protocol_type = STR("consumer");
    a->rq.join.session_timeout_ms = 7000;
    put_protocols(a, "range");
    rig_begin(r);
    group_join(r->sh, &a->call);
    rig_event_end(r);
    const struct classic *cl = rig_group(r, "g");
    const struct classic_member *m = list_entry(cl->order.next, struct classic_member, link);
    assert_int_equal(m->rebalance_timeout_ms, 7000);
}

static void joins_are_checked_in_kafkas_order(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_join(r, (struct joins){.group = "", .session_ms = 1, .member = "m"});
    assert_int_equal(join_error(a), KAFKA_ERROR_INVALID_GROUP_ID);
    assert_str(a->rs.join.member_id, "m");
    a = rig_join(r, (struct joins){.group = "g", .session_ms = 5999, .member = "m"});
    assert_int_equal(join_error(a), KAFKA_ERROR_INVALID_SESSION_TIMEOUT);
    a = rig_join(r, (struct joins){.group = "g", .session_ms = 1800001});
    assert_int_equal(join_error(a), KAFKA_ERROR_INVALID_SESSION_TIMEOUT);
    a = rig_join(r, (struct joins){.group = "g", .member = "nobody", .protocols = ""});
    assert_int_equal(join_error(a), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_str(a->rs.join.member_id, "nobody");
    assert_str(a->rs.join.protocol_name, NULL);
    assert_null(group_find(r->sh, STR("g")));
    assert_int_equal(r->records_count, 0);

    a = rig_join(r, (struct joins){.group = "g", .protocols = ""});
    assert_int_equal(join_error(a), KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
    assert_int_equal(rig_state(r, "g"), CLASSIC_EMPTY); /* it stays behind */
    assert_int_equal(r->records_count, 1);
    a = rig_join(r, (struct joins){.group = "g", .type = ""});
    assert_int_equal(join_error(a), KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
    a = rig_join(r, (struct joins){.group = "g", .member = "nobody"});
    assert_int_equal(join_error(a), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_str(a->rs.join.protocol_name, NULL);
    a = rig_join(r, (struct joins){.group = "g", .member = "nobody", .version = 6});
    assert_str(a->rs.join.protocol_name, "");
}

static void a_member_must_fit_the_groups_protocols(void **state)
{
    struct rig *r = *state;
    const char *id = rig_stable_one(r, "g");
    struct ask *a = rig_join(r, (struct joins){.group = "g", .type = "connect"});
    assert_int_equal(join_error(a), KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
    assert_str(a->rs.join.member_id, "");
    a = rig_join(r, (struct joins){.group = "g", .protocols = "other=x"});
    assert_int_equal(join_error(a), KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
    a = rig_join(r, (struct joins){.group = "g", .member = id, .protocols = "other=x"});
    assert_int_equal(join_error(a), KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
    assert_str(a->rs.join.member_id, id);
    assert_int_equal(rig_state(r, "g"), CLASSIC_STABLE);
}

static void a_half_joined_member_that_says_an_instance_is_a_server_error(void **state)
{
    struct rig *r = *state;
    const char *id = rig_half_join(r, (struct joins){.group = "g"});
    struct ask *a = rig_join(r, (struct joins){.group = "g", .member = id, .instance = "i"});
    assert_int_equal(join_error(a), KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
    assert_str(a->rs.join.member_id, "");
}

static void half_joined_members_hold_up_a_rebalance_until_they_expire(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    rig_half_join(r, (struct joins){.group = "g", .session_ms = 10000});
    struct ask *a = rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    struct ask *b = rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    rig_advance(r, 9999);
    assert_false(a->is_done || b->is_done);
    rig_advance(r, 1);
    assert_int_equal(join_error(a), 0);
    assert_int_equal(join_error(b), 0);
    assert_int_equal(a->rs.join.generation_id, 3);
}

static void a_new_member_begins_a_rebalance_in_every_state(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    struct ask *c = rig_join(r, (struct joins){.group = "g", .version = 3});
    assert_false(c->is_done);
    assert_int_equal(rig_state(r, "g"), CLASSIC_PREPARING_REBALANCE);
    rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    assert_int_equal(join_error(c), 0);
    assert_int_equal(rig_state(r, "g"), CLASSIC_COMPLETING_REBALANCE);
    /* While the leader's assignment is awaited: who waits for it is told. */
    struct ask *s = rig_sync_as(r, "g", ids[1], NULL, 3, NULL, 0);
    assert_false(s->is_done);
    rig_join(r, (struct joins){.group = "g", .version = 3});
    assert_int_equal(sync_error(s), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    assert_int_equal(rig_state(r, "g"), CLASSIC_PREPARING_REBALANCE);
}

static void a_rejoin_in_completing_with_the_same_protocols_is_answered(void **state)
{
    struct rig *r = *state;
    const char *id;
    struct ask *a = rig_join_twice(r, (struct joins){.group = "g"}, &id);
    rig_advance(r, 3000);
    assert_int_equal(join_error(a), 0);
    struct ask *b = rig_join(r, (struct joins){.group = "g", .member = id});
    assert_int_equal(join_error(b), 0);
    assert_int_equal(b->rs.join.generation_id, 1);
    assert_int_equal(b->rs.join.members.count, 1); /* it leads */
    assert_int_equal(rig_state(r, "g"), CLASSIC_COMPLETING_REBALANCE);
    struct ask *c =
        rig_join(r, (struct joins){.group = "g", .member = id, .protocols = "range=changed"});
    assert_int_equal(join_error(c), 0);
    assert_int_equal(c->rs.join.generation_id, 2);
}

static void in_a_stable_group_the_leader_begins_a_rebalance_and_a_follower_does_not(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    struct ask *b = rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    assert_int_equal(join_error(b), 0);
    assert_int_equal(b->rs.join.generation_id, 2);
    assert_int_equal(b->rs.join.members.count, 0);
    assert_str(b->rs.join.leader, ids[0]);
    assert_str(b->rs.join.protocol_type, "consumer");
    assert_int_equal(rig_state(r, "g"), CLASSIC_STABLE);
    b = rig_join(r, (struct joins){.group = "g", .member = ids[1], .protocols = "range=changed"});
    assert_false(b->is_done);
    assert_int_equal(rig_state(r, "g"), CLASSIC_PREPARING_REBALANCE);
    struct ask *a = rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    assert_int_equal(join_error(a), 0);
    assert_int_equal(a->rs.join.generation_id, 3);
    assert_int_equal(join_error(b), 0);
    rig_sync(r, "g", ids[0], 3, ids[0], "x");
    a = rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    assert_false(a->is_done);
    assert_int_equal(rig_state(r, "g"), CLASSIC_PREPARING_REBALANCE);
}

static void a_join_that_is_parked_ends_when_the_member_joins_again(void **state)
{
    struct rig *r = *state;
    const char *id;
    struct ask *a = rig_join_twice(r, (struct joins){.group = "g"}, &id);
    struct ask *b = rig_join(r, (struct joins){.group = "g", .member = id});
    assert_int_equal(join_error(a), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    rig_advance(r, 3000);
    assert_int_equal(join_error(b), 0);
}

static void the_protocol_with_most_votes_among_those_of_all_is_elected(void **state)
{
    struct rig *r = *state;
    const char *lists[] = {"b=1,a=2,c=3", "c=4,a=5,b=6", "a=7,b=8", "a=9,b=10"};
    struct ask *asks[4];
    for (int i = 0; i < 4; i++) {
        asks[i] = rig_join(r, (struct joins){.group = "g", .version = 3, .protocols = lists[i]});
    }
    rig_advance(r, 6000);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(join_error(asks[i]), 0);
        assert_str(asks[i]->rs.join.protocol_name, "a"); /* 3 of 4; c is not everybody's */
    }
    assert_int_equal(asks[0]->rs.join.members.count, 4);
    same_view(asks[0]->rs.join.members.items[1].metadata, bytes_of("5"));
}

/* As a real broker elected. */
static void votes_that_are_equal_go_by_javas_hash_order(void **state)
{
    struct rig *r = *state;
    rig_join(r, (struct joins){.group = "g", .version = 3, .protocols = "roundrobin=1,sticky=2"});
    struct ask *a = rig_join(
        r, (struct joins){.group = "g", .version = 3, .protocols = "sticky=1,roundrobin=2"});
    rig_join(
        r, (struct joins){.group = "h", .version = 3, .protocols = "cooperative-sticky=1,range=2"});
    struct ask *b = rig_join(
        r, (struct joins){.group = "h", .version = 3, .protocols = "range=1,cooperative-sticky=2"});
    rig_advance(r, 6000);
    assert_str(a->rs.join.protocol_name, "sticky");
    assert_str(b->rs.join.protocol_name, "range");
}

static void a_protocol_that_is_said_twice_counts_once(void **state)
{
    struct rig *r = *state;
    struct ask *a =
        rig_join(r, (struct joins){.group = "g", .version = 3, .protocols = "x=1,x=2,y=3"});
    rig_advance(r, 3000);
    assert_int_equal(join_error(a), 0);
    assert_str(a->rs.join.protocol_name, "x");
}

/* ---- SyncGroup ---- */

static void the_leaders_sync_makes_the_group_stable_and_is_written(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    size_t before = r->records_count;
    /* Once more, with an assignment for nobody, one twice and one member left out. */
    rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    assert_int_equal(r->records_count, before);
    struct ask *a = rig_sync(r, "g", ids[0], 3, "nobody", "lost", ids[0], "early", ids[0], "late");
    assert_int_equal(sync_error(a), 0);
    same_view(a->rs.sync.assignment, bytes_of("late"));
    assert_str(a->rs.sync.protocol_type, "consumer");
    assert_str(a->rs.sync.protocol_name, "range");
    assert_int_equal(r->records_count, before + 1);
    struct ask *b = rig_sync_as(r, "g", ids[1], NULL, 3, NULL, 0);
    assert_int_equal(sync_error(b), 0);
    assert_int_equal(b->rs.sync.assignment.len, 0);
    /* Again: the stored one. */
    a = rig_sync(r, "g", ids[0], 3, ids[0], "other");
    same_view(a->rs.sync.assignment, bytes_of("late"));
    assert_int_equal(r->records_count, before + 1);
}

static void syncs_are_checked_in_kafkas_order(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_sync_as(r, "none", "m", NULL, 1, NULL, 0);
    assert_int_equal(sync_error(a), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    a = rig_sync_as(r, "", "m", NULL, 1, NULL, 0);
    assert_int_equal(sync_error(a), KAFKA_ERROR_INVALID_GROUP_ID);
    const char *id = rig_stable_one(r, "g");
    a = rig_sync_as(r, "g", "nobody", NULL, 9, NULL, 0);
    assert_int_equal(sync_error(a), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_str(a->rs.sync.protocol_type, NULL);
    assert_int_equal(a->rs.sync.assignment.len, 0);
    a = rig_sync_as(r, "g", id, "i", 9, NULL, 0);
    assert_int_equal(sync_error(a), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    a = rig_sync_as(r, "g", id, NULL, 2, NULL, 0);
    assert_int_equal(sync_error(a), KAFKA_ERROR_ILLEGAL_GENERATION);
    rig_half_join(r, (struct joins){.group = "e"});
    a = rig_sync_as(r, "e", "m", NULL, 0, NULL, 0);
    assert_int_equal(sync_error(a), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

/* A sync whose protocol type and name are as given. */
static int
sync_with(struct rig *r, int16_t version, const char *id, const char *type, const char *name)
{
    struct ask *a = rig_ask(r, API_SYNC, version);
    a->rq.sync = sync_group_request_default;
    a->rq.sync.group_id = STR("g");
    a->rq.sync.member_id = str_from(id);
    a->rq.sync.generation_id = 1;
    a->rq.sync.protocol_type = str_from(type);
    a->rq.sync.protocol_name = str_from(name);
    rig_begin(r);
    group_sync(r->sh, &a->call);
    rig_event_end(r);
    return sync_error(a);
}

static void version_5_must_name_the_protocol(void **state)
{
    struct rig *r = *state;
    const char *id = rig_stable_one(r, "g");
    assert_int_equal(sync_with(r, 5, id, "consumer", "range"), 0);
    assert_int_equal(sync_with(r, 5, id, NULL, "range"), 23);
    assert_int_equal(sync_with(r, 5, id, "consumer", NULL), 23);
    assert_int_equal(sync_with(r, 5, "nobody", NULL, NULL), 23);
    assert_int_equal(sync_with(r, 5, id, "connect", "range"), 23);
    assert_int_equal(sync_with(r, 5, id, "consumer", "other"), 23);
    assert_int_equal(sync_with(r, 4, id, NULL, NULL), 0);
    assert_int_equal(sync_with(r, 0, id, NULL, NULL), 0);
}

static void a_sync_that_is_parked_ends_when_the_member_syncs_again(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    struct ask *a = rig_sync_as(r, "g", ids[1], NULL, 3, NULL, 0);
    struct ask *b = rig_sync_as(r, "g", ids[1], NULL, 3, NULL, 0);
    assert_int_equal(sync_error(a), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    rig_sync(r, "g", ids[0], 3, ids[1], "x");
    same_view(b->rs.sync.assignment, bytes_of("x"));
}

/* ---- Heartbeat ---- */

static void heartbeats_in_every_state(void **state)
{
    struct rig *r = *state;
    assert_int_equal(rig_heartbeat(r, "", "m", 1), KAFKA_ERROR_INVALID_GROUP_ID);
    assert_int_equal(rig_heartbeat(r, "g", "m", 1), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    const char *id = rig_half_join(r, (struct joins){.group = "g"});
    assert_int_equal(rig_heartbeat(r, "g", id, 0), KAFKA_ERROR_UNKNOWN_MEMBER_ID); /* Empty */
    rig_join(r, (struct joins){.group = "g", .member = id});
    assert_int_equal(rig_heartbeat(r, "g", id, 0), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    assert_int_equal(rig_heartbeat(r, "g", id, 1), KAFKA_ERROR_ILLEGAL_GENERATION);
    rig_advance(r, 3000);
    assert_int_equal(rig_heartbeat(r, "g", id, 1), 0); /* Completing */
    rig_sync(r, "g", id, 1, id, "x");
    assert_int_equal(rig_heartbeat(r, "g", id, 1), 0);
    assert_int_equal(rig_heartbeat(r, "g", id, 0), KAFKA_ERROR_ILLEGAL_GENERATION);
    assert_int_equal(rig_heartbeat(r, "g", "nobody", 0), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(rig_heartbeat_as(r, "g", id, "i", 1), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

/* ---- LeaveGroup ---- */

static void members_leave_one_by_one_with_their_own_errors(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    struct ask *a = rig_leave(r, 5, "g", ids[1], NULL, "nobody", NULL, ids[1], NULL, "", NULL);
    assert_int_equal(a->rs.leave.error_code, 0);
    assert_int_equal(a->rs.leave.members.count, 4);
    assert_int_equal(a->rs.leave.members.items[0].error_code, 0);
    assert_str(a->rs.leave.members.items[0].member_id, ids[1]);
    for (int i = 1; i < 4; i++) {
        assert_int_equal(a->rs.leave.members.items[i].error_code, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    }
    assert_int_equal(rig_heartbeat(r, "g", ids[0], 2), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    size_t before = r->records_count;
    a = rig_leave(r, 5, "g", ids[0], NULL);
    assert_int_equal(a->rs.leave.members.items[0].error_code, 0);
    assert_int_equal(rig_state(r, "g"), CLASSIC_EMPTY);
    assert_int_equal(rig_group(r, "g")->generation, 3);
    assert_int_equal(r->records_count, before + 1);
    assert_str(rig_group(r, "g")->protocol_type, "consumer");
    assert_int_equal(shard_next_deadline(r->sh) > r->now_ms + 60000, true);
}

static void before_version_3_the_answer_has_the_members_error(void **state)
{
    struct rig *r = *state;
    const char *id = rig_stable_one(r, "g");
    for (int16_t v = 0; v < 3; v++) {
        struct ask *a = rig_leave(r, v, "g", "nobody", NULL);
        assert_int_equal(a->rs.leave.error_code, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
        a = rig_leave(r, v, "none", "nobody", NULL);
        assert_int_equal(a->rs.leave.error_code, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    }
    struct ask *a = rig_leave(r, 2, "g", id, NULL);
    assert_int_equal(a->rs.leave.error_code, 0);
    a = rig_leave(r, 3, "none", "nobody", "i");
    assert_int_equal(a->rs.leave.error_code, 0);
    assert_int_equal(a->rs.leave.members.items[0].error_code, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_str(a->rs.leave.members.items[0].group_instance_id, "i");
    a = rig_leave_as(r, 4, "", NULL, 0);
    assert_int_equal(a->rs.leave.error_code, KAFKA_ERROR_INVALID_GROUP_ID);
}

static void a_member_with_a_parked_join_may_be_taken_out(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    struct ask *a = rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    assert_false(a->is_done);
    rig_leave(r, 5, "g", ids[0], NULL);
    assert_int_equal(join_error(a), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_str(a->rs.join.member_id, "");
    /* The other one leads from now on. */
    struct ask *b = rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    assert_int_equal(join_error(b), 0);
    assert_str(b->rs.join.leader, ids[1]);
}

static void a_half_joined_member_may_leave(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    const char *half = rig_half_join(r, (struct joins){.group = "g"});
    struct ask *a = rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    struct ask *b = rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    assert_false(a->is_done || b->is_done);
    rig_leave(r, 5, "g", half, NULL);
    assert_int_equal(join_error(a), 0);
    assert_int_equal(join_error(b), 0);
    struct ask *c = rig_join(r, (struct joins){.group = "g", .member = half});
    assert_int_equal(join_error(c), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

static void leaving_the_first_rebalance_does_not_complete_it(void **state)
{
    struct rig *r = *state;
    const char *a;
    const char *b;
    rig_join_twice(r, (struct joins){.group = "g"}, &a);
    struct ask *ask = rig_join_twice(r, (struct joins){.group = "g"}, &b);
    rig_leave(r, 5, "g", a, NULL);
    assert_false(ask->is_done);
    rig_advance(r, 6000);
    assert_int_equal(join_error(ask), 0);
    assert_str(ask->rs.join.leader, b);
}

/* ---- commits ---- */

static int commit(struct rig *r, const char *member, const char *instance, int32_t generation)
{
    struct group *g = group_find(r->sh, STR("g"));
    rig_begin(r);
    int error =
        group_check_commit(r->sh, g, str_from(member), str_from(instance), generation, false, 9);
    rig_event_end(r);
    return error;
}

static void commits_are_checked_by_state_and_keep_the_session(void **state)
{
    struct rig *r = *state;
    const char *id = rig_half_join(r, (struct joins){.group = "g"});
    assert_int_equal(commit(r, "", NULL, -1), 0); /* simple, into an empty group */
    assert_int_equal(commit(r, "x", NULL, -1), 0);
    assert_int_equal(commit(r, "x", NULL, 0), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    rig_join(r, (struct joins){.group = "g", .member = id});
    assert_int_equal(commit(r, id, NULL, 0), 0); /* the old generation, while members come */
    assert_int_equal(commit(r, "", NULL, -1), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    rig_advance(r, 3000);
    assert_int_equal(commit(r, id, NULL, 1), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    assert_int_equal(commit(r, id, NULL, 0), KAFKA_ERROR_ILLEGAL_GENERATION);
    rig_sync(r, "g", id, 1, id, "x");
    assert_int_equal(commit(r, id, NULL, 1), 0);
    assert_int_equal(commit(r, id, "i", 1), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(commit(r, "nobody", NULL, 7), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    for (int i = 0; i < MAX_ROUNDS; i++) {
        rig_advance(r, 29000);
        assert_int_equal(commit(r, id, NULL, 1), 0);
    }
    rig_advance(r, 30000);
    assert_int_equal(rig_state(r, "g"), CLASSIC_EMPTY);
    struct group *g = group_find(r->sh, STR("g"));
    assert_int_equal(group_check_commit(r->sh, g, STR(""), (struct str){0}, -1, true, 3), 0);
}

static void offsets_of_subscribed_topics_do_not_expire(void **state)
{
    struct rig *r = *state;
    const char *id = rig_stable_one(r, "g");
    struct group *g = group_find(r->sh, STR("g"));
    int64_t base = 0;
    assert_true(group_is_subscribed(g, STR("t1")));
    assert_false(group_offset_expiry_base(g, STR("t1"), 5, &base));
    assert_false(group_is_subscribed(g, STR("t2")));
    assert_true(group_offset_expiry_base(g, STR("t2"), 5, &base));
    assert_int_equal(base, 5);
    rig_join(r, (struct joins){.group = "g", .member = id, .protocols = "range=unreadable"});
    rig_sync(r, "g", id, 2, id, "x");
    assert_true(group_is_subscribed(g, STR("t2"))); /* nobody knows */
    assert_false(group_offset_expiry_base(g, STR("t2"), 5, &base));
    rig_leave(r, 5, "g", id, NULL);
    assert_false(group_is_subscribed(g, STR("t1")));
    assert_true(group_offset_expiry_base(g, STR("t1"), 5, &base));
    assert_int_equal(base, r->now_ms + RIG_WALL_MS); /* since it is empty */
}

/* ---- the record ---- */

static void a_tombstone_takes_the_group_away(void **state)
{
    struct rig *r = *state;
    const char *id = rig_stable_one(r, "g");
    struct group *g = group_find(r->sh, STR("g"));
    assert_int_equal(group_check_delete(g), KAFKA_ERROR_NON_EMPTY_GROUP);
    rig_leave(r, 5, "g", id, NULL);
    assert_int_equal(group_check_delete(g), 0);
    rig_half_join(r, (struct joins){.group = "g"});
    rig_begin(r);
    group_emit_tombstones(r->sh, g);
    rig_event_end(r);
    assert_null(group_find(r->sh, STR("g")));
    assert_null(r->records[r->records_count - 1].value.ptr);
}

static void an_empty_consumer_group_becomes_a_classic_one(void **state)
{
    struct rig *r = *state;
    struct consumer_group_metadata_key key = consumer_group_metadata_key_default;
    struct consumer_group_metadata_value value = consumer_group_metadata_value_default;
    key.group_id = STR("g");
    value.epoch = 3;
    rig_begin(r);
    shard_emit(r->sh, &consumer_group_metadata_key_msg, &key, &consumer_group_metadata_value_msg, 0,
               &value);
    r->is_reload_skipped = true; /* for classic groups only */
    rig_event_end(r);
    r->is_reload_skipped = false;
    struct group *g = group_find(r->sh, STR("g"));
    assert_int_equal(g->kind, GROUP_CONSUMER);
    struct ask *a = rig_ask(r, API_JOIN, 9);
    a->rq.join = join_group_request_default;
    a->rq.join.group_id = STR("g");
    a->rq.join.member_id = STR("m"); /* an id, but no such member: nothing is done */
    a->rq.join.session_timeout_ms = 30000;
    rig_begin(r);
    group_join(r->sh, &a->call);
    r->is_reload_skipped = true;
    rig_event_end(r);
    r->is_reload_skipped = false;
    assert_int_equal(join_error(a), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(group_find(r->sh, STR("g"))->kind, GROUP_CONSUMER);

    a = rig_join(r, (struct joins){.group = "g", .version = 3});
    assert_false(a->is_done);
    assert_int_equal(rig_state(r, "g"), CLASSIC_PREPARING_REBALANCE);
    assert_int_equal(r->records[r->records_count - 1].key.ptr[1], 2); /* the empty classic one */
    assert_non_null(r->records[r->records_count - 1].value.ptr);
    rig_advance(r, 3000);
    assert_int_equal(join_error(a), 0);
    assert_int_equal(a->rs.join.generation_id, 1);
}

static void the_record_has_kafkas_fields(void **state)
{
    struct rig *r = *state;
    const char *id = rig_stable_one(r, "g");
    struct rig_record last = r->records[r->records_count - 1];
    struct cursor in = cursor_of(last.key.ptr, last.key.len);
    assert_int_equal(cursor_i16(&in), 2);
    in = cursor_of(last.value.ptr, last.value.len);
    assert_int_equal(cursor_i16(&in), 3);
    struct arena arena = {0};
    struct group_metadata_value v;
    assert_int_equal(codec_decode(&group_metadata_value_msg, 3, &in, &arena, &v), 0);
    assert_int_equal(cursor_left(&in), 0);
    assert_str(v.protocol_type, "consumer");
    assert_str(v.protocol, "range");
    assert_str(v.leader, id);
    assert_int_equal(v.generation, 1);
    assert_int_equal(v.current_state_timestamp, r->now_ms + RIG_WALL_MS);
    assert_int_equal(v.members.count, 1);
    assert_str(v.members.items[0].member_id, id);
    assert_str(v.members.items[0].group_instance_id, NULL);
    assert_str(v.members.items[0].client_id, "app");
    assert_str(v.members.items[0].client_host, "/127.0.0.1");
    assert_int_equal(v.members.items[0].rebalance_timeout, 60000);
    assert_int_equal(v.members.items[0].session_timeout, 30000);
    same_view(v.members.items[0].assignment, bytes_of("all"));
    assert_int_equal(v.members.items[0].subscription.len, sizeof(SUBSCRIBED_T1) - 1);
    arena_release(&arena);

    /* The first one, of the empty group. */
    in = cursor_of(r->records[0].value.ptr, r->records[0].value.len);
    cursor_i16(&in);
    assert_int_equal(codec_decode(&group_metadata_value_msg, 3, &in, &arena, &v), 0);
    assert_str(v.protocol_type, "");
    assert_str(v.protocol, NULL);
    assert_str(v.leader, NULL);
    assert_int_equal(v.generation, 0);
    arena_release(&arena);
}

static void a_restart_keeps_the_members_and_their_sessions_begin_anew(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    rig_advance(r, 29000);
    rig_restart(r, KAFKA_ERROR_NOT_COORDINATOR);
    rig_advance(r, 29000);
    assert_int_equal(rig_heartbeat(r, "g", ids[0], 2), 0);
    assert_int_equal(rig_heartbeat(r, "g", ids[1], 2), 0);
    struct ask *s = rig_sync_as(r, "g", ids[1], NULL, 2, NULL, 0);
    same_view(s->rs.sync.assignment, bytes_of("second"));
    rig_advance(r, 30000);
    assert_int_equal(rig_state(r, "g"), CLASSIC_EMPTY);
}

static void what_is_parked_ends_when_the_coordinator_goes(void **state)
{
    struct rig *r = *state;
    const char *id;
    const char *ids[2];
    rig_stable_two(r, "h", ids);
    struct ask *a = rig_join_twice(r, (struct joins){.group = "g"}, &id);
    rig_join(r, (struct joins){.group = "h", .member = ids[0]});
    rig_join(r, (struct joins){.group = "h", .member = ids[1]});
    struct ask *s = rig_sync_as(r, "h", ids[1], NULL, 3, NULL, 0);
    assert_false(s->is_done);
    rig_restart(r, KAFKA_ERROR_NOT_COORDINATOR);
    assert_int_equal(join_error(a), KAFKA_ERROR_NOT_COORDINATOR);
    assert_str(a->rs.join.member_id, id);
    assert_int_equal(sync_error(s), KAFKA_ERROR_NOT_COORDINATOR);
    assert_int_equal(rig_group(r, "h")->generation, 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_dynamic_member_gets_its_id_first_from_version_4_on),
        TEST(old_versions_and_static_members_get_in_at_once),
        TEST(version_0_has_its_session_timeout_as_rebalance_timeout),
        TEST(joins_are_checked_in_kafkas_order),
        TEST(a_member_must_fit_the_groups_protocols),
        TEST(a_half_joined_member_that_says_an_instance_is_a_server_error),
        TEST(half_joined_members_hold_up_a_rebalance_until_they_expire),
        TEST(a_new_member_begins_a_rebalance_in_every_state),
        TEST(a_rejoin_in_completing_with_the_same_protocols_is_answered),
        TEST(in_a_stable_group_the_leader_begins_a_rebalance_and_a_follower_does_not),
        TEST(a_join_that_is_parked_ends_when_the_member_joins_again),
        TEST(the_protocol_with_most_votes_among_those_of_all_is_elected),
        TEST(votes_that_are_equal_go_by_javas_hash_order),
        TEST(a_protocol_that_is_said_twice_counts_once),
        TEST(the_leaders_sync_makes_the_group_stable_and_is_written),
        TEST(syncs_are_checked_in_kafkas_order),
        TEST(version_5_must_name_the_protocol),
        TEST(a_sync_that_is_parked_ends_when_the_member_syncs_again),
        TEST(heartbeats_in_every_state),
        TEST(members_leave_one_by_one_with_their_own_errors),
        TEST(before_version_3_the_answer_has_the_members_error),
        TEST(a_member_with_a_parked_join_may_be_taken_out),
        TEST(a_half_joined_member_may_leave),
        TEST(leaving_the_first_rebalance_does_not_complete_it),
        TEST(commits_are_checked_by_state_and_keep_the_session),
        TEST(offsets_of_subscribed_topics_do_not_expire),
        TEST(a_tombstone_takes_the_group_away),
        TEST(an_empty_consumer_group_becomes_a_classic_one),
        TEST(the_record_has_kafkas_fields),
        TEST(a_restart_keeps_the_members_and_their_sessions_begin_anew),
        TEST(what_is_parked_ends_when_the_coordinator_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
