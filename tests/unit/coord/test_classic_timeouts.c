/* Time in classic groups: the initial delay, rebalance timeouts, sessions, syncs that do not come;
 * and what bounds a group: its size, the memory of the state, the size of its record. The method is
 * that of test_classic.c; the clock moves from deadline to deadline. */
#include "classic_rig.h"

#include "simclock.h"

enum {
    SEEDS = 60,
    STEPS = 250,
    CLIENTS = 7,
    ID_MAX = 64,
    CROWD = 3000,
};

/* ---- the initial delay ---- */

static void the_first_rebalance_waits_for_the_initial_delay(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .version = 3});
    rig_advance(r, 2999);
    assert_false(a->is_done);
    rig_advance(r, 1);
    assert_int_equal(join_error(a), 0);
    assert_int_equal(a->rs.join.generation_id, 1);
}

static void the_delay_is_extended_while_members_come_up_to_the_rebalance_timeout(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .version = 3, .rebalance_ms = 8000});
    int64_t began_ms = r->now_ms;
    while (!a->is_done) {
        rig_advance(r, 500);
        if (!a->is_done) {
            rig_join(r, (struct joins){.group = "g", .version = 3, .rebalance_ms = 8000});
        }
        assert_true(r->now_ms - began_ms <= 9000);
    }
    /* 3 s, then 3 s of the 5 that are left, then the last 2. */
    assert_int_equal(r->now_ms - began_ms, 8000);
    assert_int_equal(join_error(a), 0);
}

static void the_delay_is_extended_only_when_somebody_came(void **state)
{
    struct rig *r = *state;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .version = 3});
    rig_advance(r, 1000);
    rig_join(r, (struct joins){.group = "g", .version = 3});
    rig_advance(r, 4999);
    assert_false(a->is_done);
    rig_advance(r, 1); /* 3 s + 3 s */
    assert_int_equal(join_error(a), 0);
}

static void without_a_delay_the_first_rebalance_is_over_at_the_next_timers(void **state)
{
    struct rig *r = *state;
    r->config.initial_rebalance_delay_ms = 0;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .version = 3});
    assert_false(a->is_done);
    assert_true(shard_next_deadline(r->sh) <= r->now_ms);
    rig_advance(r, 0);
    assert_int_equal(join_error(a), 0);
    const char *id = id_of(a);
    rig_sync(r, "g", id, 1, id, "x");
    assert_int_equal(rig_state(r, "g"), CLASSIC_STABLE);
}

/* ---- rebalances ---- */

static void who_does_not_come_back_within_the_longest_rebalance_timeout_is_out(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    struct ask *c = rig_join(r, (struct joins){.group = "g", .version = 3, .rebalance_ms = 90000});
    /* The first does not come, but says that it lives. */
    struct ask *b = rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    for (int i = 0; i < 4; i++) {
        rig_advance(r, 20000);
        assert_int_equal(rig_heartbeat(r, "g", ids[0], 2), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    }
    assert_false(b->is_done);
    rig_advance(r, 10000);
    assert_int_equal(join_error(b), 0);
    assert_int_equal(join_error(c), 0);
    assert_str(b->rs.join.leader, ids[1]);
    assert_int_equal(b->rs.join.members.count, 2);
    assert_int_equal(rig_heartbeat(r, "g", ids[0], 3), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

static void a_rebalance_to_which_nobody_comes_ends_in_an_empty_group(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    struct ask *c = rig_join(r, (struct joins){.group = "g", .version = 3});
    const struct classic *cl = rig_group(r, "g");
    const struct classic_member *m = list_entry(cl->order.prev, struct classic_member, link);
    struct str id = arena_strdup(&c->arena, m->id);
    rig_leave(r, 5, "g", id.ptr, NULL);
    assert_int_equal(join_error(c), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    rig_advance(r, 60000);
    assert_int_equal(rig_state(r, "g"), CLASSIC_EMPTY);
    assert_int_equal(cl->generation, 3);
}

static void who_does_not_sync_in_time_is_out_and_a_rebalance_begins(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    struct ask *s = rig_sync_as(r, "g", ids[1], NULL, 3, NULL, 0);
    for (int i = 0; i < 3; i++) { /* the leader says that it lives, and does not assign */
        rig_advance(r, 20000);
        int error = rig_heartbeat(r, "g", ids[0], 3);
        assert_int_equal(error, i < 2 ? 0 : KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    }
    assert_int_equal(sync_error(s), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    struct ask *b = rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    assert_int_equal(join_error(b), 0);
    assert_str(b->rs.join.leader, ids[1]);
}

static void a_follower_that_does_not_fetch_its_assignment_is_out_of_a_stable_group(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    rig_sync(r, "g", ids[0], 3, ids[0], "x");
    assert_int_equal(rig_state(r, "g"), CLASSIC_STABLE);
    for (int i = 0; i < 3; i++) {
        rig_advance(r, 20000);
        rig_heartbeat(r, "g", ids[0], 3);
        rig_heartbeat(r, "g", ids[1], 3);
    }
    assert_int_equal(rig_state(r, "g"), CLASSIC_PREPARING_REBALANCE);
    assert_int_equal(rig_heartbeat(r, "g", ids[1], 3), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

/* ---- sessions ---- */

static void a_session_ends_when_no_heartbeat_comes_within_it(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    rig_advance(r, 29999);
    assert_int_equal(rig_heartbeat(r, "g", ids[0], 2), 0);
    assert_int_equal(rig_state(r, "g"), CLASSIC_STABLE);
    rig_advance(r, 1);
    assert_int_equal(rig_heartbeat(r, "g", ids[0], 2), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    assert_int_equal(rig_heartbeat(r, "g", ids[1], 2), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

static void a_heartbeat_moves_no_timer(void **state)
{
    struct rig *r = *state;
    const char *id = rig_stable_one(r, "g");
    int64_t deadline_ms = shard_next_deadline(r->sh);
    rig_advance(r, 5000);
    assert_int_equal(rig_heartbeat(r, "g", id, 1), 0);
    assert_int_equal(shard_next_deadline(r->sh), deadline_ms);
}

static void who_is_parked_needs_no_heartbeat(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    struct ask *a = rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    for (int i = 0; i < 2; i++) {
        rig_advance(r, 25000);
        rig_heartbeat(r, "g", ids[1], 2);
    }
    assert_false(a->is_done);
    struct ask *b = rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    assert_int_equal(join_error(a), 0);
    assert_int_equal(join_error(b), 0);
    /* The session begins with the answer. */
    rig_advance(r, 29999);
    assert_int_equal(rig_heartbeat(r, "g", ids[0], 3), 0);
}

static void a_new_member_is_parked_five_minutes_at_most(void **state)
{
    struct rig *r = *state;
    struct ask *a =
        rig_join(r, (struct joins){.group = "g", .instance = "i1", .session_ms = 1800000});
    rig_advance(r, 3000);
    const char *ia = id_of(a);
    rig_sync(r, "g", ia, 1, ia, "x");
    struct ask *c = rig_join(r, (struct joins){.group = "g", .version = 3, .rebalance_ms = 600000});
    rig_advance(r, 299999);
    assert_false(c->is_done);
    rig_advance(r, 1);
    assert_int_equal(join_error(c), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_str(c->rs.join.member_id, "");
}

static void the_last_expiry_of_a_first_rebalance_empties_the_group(void **state)
{
    struct rig *r = *state;
    r->config.new_member_join_timeout_ms = 2000;
    struct ask *a = rig_join(r, (struct joins){.group = "g", .version = 3});
    rig_advance(r, 2000);
    assert_int_equal(join_error(a), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    assert_int_equal(rig_state(r, "g"), CLASSIC_EMPTY);
    assert_int_equal(rig_group(r, "g")->generation, 1);
}

static void a_half_joined_member_is_forgotten_after_its_session_timeout(void **state)
{
    struct rig *r = *state;
    const char *id = rig_half_join(r, (struct joins){.group = "g", .session_ms = 7000});
    rig_advance(r, 7000);
    struct ask *a = rig_join(r, (struct joins){.group = "g", .member = id});
    assert_int_equal(join_error(a), KAFKA_ERROR_UNKNOWN_MEMBER_ID);
}

/* ---- bounds ---- */

static void a_full_group_turns_new_members_away(void **state)
{
    struct rig *r = *state;
    r->config.max_size = 2;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    struct ask *a = rig_join(r, (struct joins){.group = "g"});
    assert_int_equal(join_error(a), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    assert_str(a->rs.join.member_id, "");
    a = rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    assert_false(a->is_done); /* who is in may come back */
    rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    assert_int_equal(join_error(a), 0);
}

static void half_joined_members_do_not_count_and_the_last_to_come_back_is_turned_away(void **state)
{
    struct rig *r = *state;
    r->config.max_size = 2;
    const char *ids[4];
    struct ask *asks[4];
    for (int i = 0; i < 4; i++) {
        ids[i] = rig_half_join(r, (struct joins){.group = "g"});
    }
    for (int i = 0; i < 4; i++) {
        asks[i] = rig_join(r, (struct joins){.group = "g", .member = ids[i]});
    }
    assert_int_equal(join_error(asks[2]), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    assert_int_equal(join_error(asks[3]), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    rig_advance(r, 9000);
    assert_int_equal(join_error(asks[0]), 0);
    assert_int_equal(asks[0]->rs.join.members.count, 2);
    struct ask *a = rig_join(r, (struct joins){.group = "g", .member = ids[3]});
    assert_int_equal(join_error(a), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
}

static void a_group_above_its_size_rebalances_when_it_is_loaded(void **state)
{
    struct rig *r = *state;
    const char *ids[2];
    rig_stable_two(r, "g", ids);
    r->config.max_size = 1;
    rig_restart(r, KAFKA_ERROR_NOT_COORDINATOR);
    assert_int_equal(rig_state(r, "g"), CLASSIC_PREPARING_REBALANCE);
    assert_int_equal(rig_heartbeat(r, "g", ids[0], 2), KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    struct ask *a = rig_join(r, (struct joins){.group = "g", .member = ids[1]});
    struct ask *b = rig_join(r, (struct joins){.group = "g", .member = ids[0]});
    assert_int_equal(join_error(b), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    rig_advance(r, 60000);
    assert_int_equal(join_error(a), 0);
    assert_int_equal(a->rs.join.members.count, 1);
}

static void thousands_of_half_joined_members_are_bounded_by_memory(void **state)
{
    struct rig *r = *state;
    r->is_reload_skipped = true;
    rig_bound_memory(r, 200000);
    int in = 0;
    int refused = 0;
    for (int i = 0; i < CROWD; i++) {
        struct ask *a = rig_join(r, (struct joins){.group = "g"});
        if (join_error(a) == KAFKA_ERROR_MEMBER_ID_REQUIRED) {
            in++;
        } else {
            assert_int_equal(join_error(a), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
            refused++;
        }
        list_remove(&a->link);
        rig_free_ask(a);
    }
    assert_true(in > 500 && refused > 500);
    assert_true(r->memory.used <= r->memory.max);
    struct ask *a = rig_join(r, (struct joins){.group = "h", .version = 3});
    assert_int_equal(join_error(a), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    assert_null(group_find(r->sh, STR("h")));
    rig_advance(r, 30000); /* they expire */
    a = rig_join(r, (struct joins){.group = "h", .version = 3});
    assert_false(a->is_done);
}

static void metadata_and_assignments_that_are_too_large_are_refused(void **state)
{
    struct rig *r = *state;
    rig_bound_memory(r, 20000);
    const char *id = rig_stable_one(r, "g");
    char *big = mem_zalloc(30001);
    memset(big, 'x', 30000);
    memcpy(big, "range=", 6);
    struct ask *a = rig_join(r, (struct joins){.group = "g", .member = id, .protocols = big});
    assert_int_equal(join_error(a), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    assert_int_equal(rig_state(r, "g"), CLASSIC_STABLE);
    a = rig_join(r, (struct joins){.group = "g", .instance = "i1", .protocols = big});
    assert_int_equal(join_error(a), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    a = rig_join(r, (struct joins){.group = "g", .member = id});
    assert_int_equal(join_error(a), 0);
    struct ask *s = rig_sync(r, "g", id, 2, id, big);
    assert_int_equal(sync_error(s), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
    s = rig_sync(r, "g", id, 2, id, "small");
    assert_int_equal(sync_error(s), 0);
    /* Memory there is, but the log would not take the record. */
    r->memory.max = 1000000;
    r->config.record_bytes_max = 10000;
    rig_join(r, (struct joins){.group = "g", .member = id});
    size_t before = r->records_count;
    s = rig_sync(r, "g", id, 3, id, big);
    assert_int_equal(sync_error(s), KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
    assert_int_equal(rig_state(r, "g"), CLASSIC_PREPARING_REBALANCE);
    assert_int_equal(r->records_count, before);
    mem_free(big);
}

static void ids_that_the_log_cannot_carry_are_refused(void **state)
{
    struct rig *r = *state;
    char *longest = mem_zalloc(32768);
    memset(longest, 'i', 32767);
    struct ask *a = rig_join(r, (struct joins){.group = "g", .instance = longest});
    assert_int_equal(join_error(a), KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
    longest[32767 - 37] = '\0';
    a = rig_join(r, (struct joins){.group = "g", .instance = longest, .version = 5});
    rig_advance(r, 3000);
    assert_int_equal(join_error(a), 0);
    const char *id = id_of(a);
    struct ask *s = rig_sync(r, "g", id, 1, id, "x");
    assert_int_equal(sync_error(s), 0);
    mem_free(longest);
}

/* ---- seeded disorder ---- */

struct client {
    char id[ID_MAX];
    bool is_static;
    int32_t generation;
    bool has_synced;
    struct ask *parked;
};

struct world {
    struct rig *r;
    uint64_t random;
    struct client clients[CLIENTS];
};

static uint64_t pick(struct world *w, uint64_t below)
{
    return sim_random(&w->random) % below;
}

static void read_answer(struct client *cl)
{
    struct ask *a = cl->parked;
    if (a == NULL || !a->is_done) {
        return;
    }
    cl->parked = NULL;
    if (a->call.api_key != API_JOIN) {
        cl->has_synced = a->rs.sync.error_code == 0;
        cl->generation = cl->has_synced ? cl->generation : 0;
        return;
    }
    struct str id = a->rs.join.member_id;
    assert_true(id.len < ID_MAX);
    memset(cl->id, 0, sizeof(cl->id));
    if (id.len > 0 && a->rs.join.error_code != KAFKA_ERROR_UNKNOWN_MEMBER_ID &&
        a->rs.join.error_code != KAFKA_ERROR_FENCED_INSTANCE_ID) {
        memcpy(cl->id, id.ptr, id.len);
    }
    cl->generation = a->rs.join.generation_id;
}

static void join(struct world *w, struct client *cl, const char *instance)
{
    static const char *const lists[] = {"range,sticky=a", "sticky=b,range", "range"};
    struct joins j = {
        .group = "g",
        .member = cl->id,
        .instance = instance,
        .protocols = lists[pick(w, 3)],
        .version = (int16_t)(pick(w, 4) == 0 ? 3 : 9),
        .session_ms = (int32_t)(6000 + pick(w, 3) * 20000),
        .rebalance_ms = (int32_t)(pick(w, 3) * 15000 + 1),
    };
    j.version = instance != NULL && j.version < 5 ? 5 : j.version;
    cl->has_synced = false;
    cl->parked = rig_join(w->r, j);
}

static void sync(struct world *w, struct client *cl, const char *instance)
{
    const char *all[CLIENTS * 2];
    for (size_t k = 0; k < CLIENTS; k++) {
        all[k * 2] = w->clients[k].id;
        all[k * 2 + 1] = w->clients[k].id + 1;
    }
    cl->parked = rig_sync_as(w->r, "g", cl->id, instance, cl->generation, all,
                             pick(w, 3) == 0 ? 0 : CLIENTS * 2);
}

/* Mostly what a client would do next, now and then anything. */
static void act(struct world *w, size_t i)
{
    static const char *const instances[CLIENTS] = {"i0", "i1", "i2", "i3", "i4", "i5", "i6"};
    struct client *cl = &w->clients[i];
    const char *instance = cl->is_static ? instances[i] : NULL;
    bool is_joined = cl->id[0] != 0 && cl->generation > 0;
    switch (pick(w, 24)) {
    case 0:
        memset(cl->id, 0, sizeof(cl->id)); /* its process begins anew */
        break;
    case 1:
        join(w, cl, instance);
        break;
    case 2:
        sync(w, cl, instance);
        break;
    case 3:
        rig_leave_as(w->r, 5, "g", (const char *const[]){cl->id, instance}, 2);
        break;
    default:
        if (cl->parked != NULL) {
            break;
        }
        if (!is_joined) {
            join(w, cl, instance);
        } else if (!cl->has_synced) {
            sync(w, cl, instance);
        } else if (rig_heartbeat_as(w->r, "g", cl->id, instance, cl->generation) != 0) {
            cl->generation = 0; /* it must join again */
        }
        break;
    }
}

static void seeded_members_in_disorder_keep_every_invariant(void **state)
{
    (void)state;
    int stable = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rig r;
        rig_init(&r);
        struct world w = {.r = &r, .random = seed * 7919};
        r.config.max_size = seed % 3 == 0 ? 3 : 100;
        r.config.initial_rebalance_delay_ms = seed % 2 == 0 ? 0 : 3000;
        r.config.new_member_join_timeout_ms = 20000;
        r.is_sync_old = true;
        rig_bound_memory(&r, 0); /* counts only */
        rig_restart(&r, KAFKA_ERROR_NONE);
        for (size_t i = 0; i < CLIENTS; i++) {
            w.clients[i].is_static = i % 2 == 0;
        }
        for (int step = 0; step < STEPS; step++) {
            act(&w, pick(&w, CLIENTS));
            for (size_t i = 0; i < CLIENTS; i++) {
                read_answer(&w.clients[i]);
            }
            if (pick(&w, 3) == 0) {
                rig_advance(&r, (int64_t)pick(&w, 6000));
            }
            if (pick(&w, 60) == 0) {
                rig_restart(&r, KAFKA_ERROR_NOT_COORDINATOR);
            }
            const struct group *g = group_find(r.sh, STR("g"));
            stable += g != NULL && g->classic->state == CLASSIC_STABLE;
        }
        /* Everybody falls silent: the group empties, and nothing of it is left to wait for. */
        rig_advance(&r, 300000);
        const struct group *g = group_find(r.sh, STR("g"));
        if (g != NULL) { /* else it was without offsets when these expire, and has gone */
            assert_int_equal(g->classic->state, CLASSIC_EMPTY);
            assert_int_equal(g->classic->members.count, 0);
        }
        rig_release(&r);
    }
    assert_true(stable > SEEDS * 5); /* the schedule does come somewhere */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_first_rebalance_waits_for_the_initial_delay),
        TEST(the_delay_is_extended_while_members_come_up_to_the_rebalance_timeout),
        TEST(the_delay_is_extended_only_when_somebody_came),
        TEST(without_a_delay_the_first_rebalance_is_over_at_the_next_timers),
        TEST(who_does_not_come_back_within_the_longest_rebalance_timeout_is_out),
        TEST(a_rebalance_to_which_nobody_comes_ends_in_an_empty_group),
        TEST(who_does_not_sync_in_time_is_out_and_a_rebalance_begins),
        TEST(a_follower_that_does_not_fetch_its_assignment_is_out_of_a_stable_group),
        TEST(a_session_ends_when_no_heartbeat_comes_within_it),
        TEST(a_heartbeat_moves_no_timer),
        TEST(who_is_parked_needs_no_heartbeat),
        TEST(a_new_member_is_parked_five_minutes_at_most),
        TEST(the_last_expiry_of_a_first_rebalance_empties_the_group),
        TEST(a_half_joined_member_is_forgotten_after_its_session_timeout),
        TEST(a_full_group_turns_new_members_away),
        TEST(half_joined_members_do_not_count_and_the_last_to_come_back_is_turned_away),
        TEST(a_group_above_its_size_rebalances_when_it_is_loaded),
        TEST(thousands_of_half_joined_members_are_bounded_by_memory),
        TEST(metadata_and_assignments_that_are_too_large_are_refused),
        TEST(ids_that_the_log_cannot_carry_are_refused),
        cmocka_unit_test(seeded_members_in_disorder_keep_every_invariant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
