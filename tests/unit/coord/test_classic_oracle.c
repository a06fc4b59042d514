/* What a real broker (4.4.0) answered, step by step, copied from its transcripts: the same requests
 * in the same order must get the same answers. Its initial rebalance delay was 0 in the first
 * transcript and 300 ms in the second, whose group.max.size was 3 and smallest session timeout
 * 1 s. The method is that of test_classic.c. */
#include "classic_rig.h"

static void two_members_come_and_go(void **state)
{
    struct rig *r = *state;
    r->config.initial_rebalance_delay_ms = 0;
    struct joins j = {.group = "g1", .version = 5, .rebalance_ms = 30000};
    struct ask *a = rig_join(r, j);
    assert_int_equal(join_error(a), 79);
    assert_int_equal(a->rs.join.generation_id, -1);
    assert_str(a->rs.join.protocol_name, "");
    assert_str(a->rs.join.leader, "");
    const char *ma = id_of(a);
    struct joins ja = j;
    ja.member = ma;
    a = rig_join(r, ja);
    rig_advance(r, 0);
    assert_int_equal(join_error(a), 0);
    assert_int_equal(a->rs.join.generation_id, 1);
    assert_str(a->rs.join.protocol_name, "range");
    assert_str(a->rs.join.leader, ma);
    assert_str(a->rs.join.member_id, ma);
    assert_int_equal(a->rs.join.members.count, 1);
    struct ask *s = rig_sync(r, "g1", ma, 1, ma, "all");
    same_view(s->rs.sync.assignment, bytes_of("all"));
    assert_int_equal(rig_heartbeat(r, "g1", ma, 1), 0);

    const char *mb;
    struct ask *b = rig_join_twice(r, j, &mb);
    assert_false(b->is_done);
    assert_int_equal(rig_heartbeat(r, "g1", ma, 1), 27);
    s = rig_sync_as(r, "g1", ma, NULL, 1, NULL, 0);
    assert_int_equal(sync_error(s), 27); /* of the old generation, and not 22 */
    assert_str(s->rs.sync.protocol_type, NULL);
    a = rig_join(r, ja);
    assert_int_equal(join_error(a), 0);
    assert_int_equal(a->rs.join.generation_id, 2);
    assert_str(a->rs.join.leader, ma);
    assert_int_equal(a->rs.join.members.count, 2);
    assert_int_equal(join_error(b), 0);
    assert_str(b->rs.join.member_id, mb);
    assert_str(b->rs.join.leader, ma);
    assert_int_equal(b->rs.join.members.count, 0);
    struct ask *sb = rig_sync_as(r, "g1", mb, NULL, 2, NULL, 0);
    assert_false(sb->is_done);
    assert_int_equal(rig_heartbeat(r, "g1", ma, 2), 0);
    s = rig_sync(r, "g1", ma, 2, ma, "first", mb, "second");
    same_view(s->rs.sync.assignment, bytes_of("first"));
    same_view(sb->rs.sync.assignment, bytes_of("second"));

    a = rig_join(r, ja);
    assert_false(a->is_done);
    assert_int_equal(rig_heartbeat(r, "g1", mb, 2), 27);
    struct joins jb = j;
    jb.member = mb;
    jb.version = 9;
    b = rig_join(r, jb);
    assert_int_equal(join_error(b), 0);
    assert_int_equal(b->rs.join.generation_id, 3);
    assert_str(b->rs.join.protocol_type, "consumer");
    assert_false(b->rs.join.skip_assignment);
    assert_int_equal(join_error(a), 0);
    assert_int_equal(a->rs.join.members.count, 2);
    s = rig_sync_as(r, "g1", ma, NULL, 3, NULL, 0);
    assert_int_equal(sync_error(s), 0);
    assert_int_equal(s->rs.sync.assignment.len, 0);
    s = rig_sync_as(r, "g1", mb, NULL, 3, NULL, 0);
    assert_int_equal(sync_error(s), 0);
    assert_str(s->rs.sync.protocol_name, "range");
    jb.version = 5;
    b = rig_join(r, jb);
    assert_int_equal(join_error(b), 0);
    assert_int_equal(b->rs.join.generation_id, 3);
    assert_int_equal(rig_heartbeat(r, "g1", ma, 3), 0);

    assert_int_equal(rig_heartbeat(r, "g1", ma, 2), 22);
    assert_int_equal(rig_heartbeat(r, "g1", "nobody", 3), 25);
    assert_int_equal(rig_heartbeat(r, "g-none", "nobody", 1), 25);
    assert_int_equal(sync_error(rig_sync_as(r, "g1", "nobody", NULL, 99, NULL, 0)), 25);
    struct joins bad = j;
    bad.member = "nobody";
    assert_int_equal(join_error(rig_join(r, bad)), 25);
    bad.member = NULL;
    bad.session_ms = 5999;
    assert_int_equal(join_error(rig_join(r, bad)), 26);
    bad = jb;
    bad.type = "other";
    assert_int_equal(join_error(rig_join(r, bad)), 23);
    bad = jb;
    bad.protocols = "other=x";
    assert_int_equal(join_error(rig_join(r, bad)), 23);
    struct ask *l = rig_leave(r, 5, "g1", mb, NULL, "nobody", NULL);
    assert_int_equal(l->rs.leave.error_code, 0);
    assert_int_equal(l->rs.leave.members.items[0].error_code, 0);
    assert_int_equal(l->rs.leave.members.items[1].error_code, 25);
    assert_int_equal(rig_heartbeat(r, "g1", ma, 3), 27);
    l = rig_leave(r, 5, "g1", ma, NULL);
    assert_int_equal(l->rs.leave.members.items[0].error_code, 0);
}

static void a_static_member_comes_back(void **state)
{
    struct rig *r = *state;
    r->config.initial_rebalance_delay_ms = 0;
    struct ask *a = rig_join(r, (struct joins){.group = "gs", .version = 5, .instance = "s1"});
    rig_advance(r, 0);
    assert_int_equal(join_error(a), 0);
    assert_true(str_starts_with(a->rs.join.member_id, STR("s1-")));
    assert_str(a->rs.join.members.items[0].group_instance_id, "s1");
    const char *s1 = id_of(a);
    struct ask *s = rig_sync(r, "gs", s1, 1, s1, "static");
    same_view(s->rs.sync.assignment, bytes_of("static"));
    a = rig_join(r, (struct joins){.group = "gs", .version = 9, .instance = "s1"});
    assert_int_equal(join_error(a), 0);
    assert_int_equal(a->rs.join.generation_id, 1);
    assert_true(a->rs.join.skip_assignment);
    assert_int_equal(a->rs.join.members.count, 1);
    const char *s2 = id_of(a);
    assert_str(a->rs.join.leader, s2);
    assert_int_equal(rig_heartbeat_as(r, "gs", s1, "s1", 1), 82);
    assert_int_equal(rig_heartbeat_as(r, "gs", s2, "s1", 1), 0);
    assert_int_equal(rig_heartbeat_as(r, "gs", s2, "s9", 1), 25);
}

static void refusals_carry_what_the_version_can_say(void **state)
{
    struct rig *r = *state;
    rig_half_join(r, (struct joins){.group = "w"});
    static const struct {
        struct joins j;
        int error;
        const char *member_id;
    } cases[] = {
        {{.group = "none", .member = "m"}, 25, "m"}, {{.group = "w", .member = "m"}, 25, "m"},
        {{.group = "", .member = "m"}, 24, "m"},     {{.group = "w", .session_ms = 999}, 26, ""},
        {{.group = "w", .protocols = ""}, 23, ""},
    };
    static const int16_t versions[] = {2, 4, 6, 7, 9};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t k = 0; k < ARRAY_LEN(versions); k++) {
            struct joins j = cases[i].j;
            j.version = versions[k];
            struct ask *a = rig_join(r, j);
            assert_int_equal(join_error(a), cases[i].error);
            assert_str(a->rs.join.member_id, cases[i].member_id);
            assert_str(a->rs.join.protocol_name, versions[k] >= 7 ? NULL : "");
            assert_str(a->rs.join.protocol_type, NULL);
            assert_str(a->rs.join.leader, "");
            assert_int_equal(a->rs.join.generation_id, -1);
            assert_int_equal(a->rs.join.members.count, 0);
        }
    }
    for (int16_t v = 0; v <= 5; v++) {
        struct ask *l = rig_leave(r, v, "", "m", NULL);
        assert_int_equal(l->rs.leave.error_code, 24);
        assert_int_equal(l->rs.leave.members.count, 0);
    }
    struct ask *l = rig_leave_as(r, 5, "none", NULL, 0);
    assert_int_equal(l->rs.leave.error_code, 0);
}

static void half_joined_members_come_and_go(void **state)
{
    struct rig *r = *state;
    r->config.min_session_timeout_ms = 1000;
    const char *p = rig_half_join(r, (struct joins){.group = "p"});
    struct ask *a = rig_join(r, (struct joins){.group = "p", .member = p, .instance = "i1"});
    assert_int_equal(join_error(a), -1);
    assert_str(a->rs.join.member_id, "");
    a = rig_join(r, (struct joins){.group = "p", .member = p, .type = ""});
    assert_int_equal(join_error(a), 23);
    assert_str(a->rs.join.member_id, p);
    struct ask *l = rig_leave(r, 5, "p", p, NULL, p, NULL);
    assert_int_equal(l->rs.leave.members.items[0].error_code, 0);
    assert_int_equal(l->rs.leave.members.items[1].error_code, 25);
    a = rig_join(r, (struct joins){.group = "p", .member = p});
    assert_int_equal(join_error(a), 25);
}

static void a_full_group_says_so_first(void **state)
{
    struct rig *r = *state;
    r->config.max_size = 3;
    r->config.initial_rebalance_delay_ms = 300;
    const char *ids[4];
    struct ask *asks[4];
    for (int i = 0; i < 4; i++) {
        ids[i] = rig_half_join(r, (struct joins){.group = "z"});
    }
    for (int i = 0; i < 4; i++) {
        asks[i] = rig_join(r, (struct joins){.group = "z", .member = ids[i]});
    }
    assert_int_equal(join_error(asks[3]), 81);
    assert_str(asks[3]->rs.join.member_id, "");
    rig_advance(r, 1000);
    assert_int_equal(join_error(asks[0]), 0);
    static const struct joins more[] = {
        {.group = "z"},
        {.group = "z", .version = 3},
        {.group = "z", .instance = "i1"},
        {.group = "z", .member = "xx"},
        {.group = "z", .protocols = ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        struct ask *a = rig_join(r, more[i]);
        assert_int_equal(join_error(a), 81);
        assert_str(a->rs.join.member_id, "");
    }
}

static void version_0_from_end_to_end(void **state)
{
    struct rig *r = *state;
    r->is_sync_old = true;
    struct ask *a = rig_join(r, (struct joins){.group = "v", .version = 1});
    rig_advance(r, 3000);
    const char *id = id_of(a);
    assert_int_equal(sync_error(rig_sync(r, "v", id, 1, id, "x")), 0);
    assert_int_equal(sync_error(rig_sync_as(r, "v", id, NULL, 3, NULL, 0)), 22);
    assert_int_equal(rig_leave(r, 0, "v", id, NULL)->rs.leave.error_code, 0);
    assert_int_equal(sync_error(rig_sync_as(r, "v", id, NULL, 1, NULL, 0)), 25);
    assert_int_equal(rig_heartbeat(r, "v", id, 2), 25);
    a = rig_join(r, (struct joins){.group = "v", .version = 1, .member = id});
    assert_int_equal(join_error(a), 25);
    assert_str(a->rs.join.member_id, id);
    assert_str(group_protocol_type(group_find(r->sh, STR("v"))), "consumer");
    assert_str(group_state_name(group_find(r->sh, STR("v"))), "Empty");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(two_members_come_and_go),
        TEST(a_static_member_comes_back),
        TEST(refusals_carry_what_the_version_can_say),
        TEST(half_joined_members_come_and_go),
        TEST(a_full_group_says_so_first),
        TEST(version_0_from_end_to_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
