/* Clients of both protocols in one group, by chance: they join, rejoin, sync, beat, leave, fall
 * silent, take over static members of the other kind, while the policy and the topics' clock go on
 * and the coordinator restarts. The rig validates the state after every event and compares it with
 * what a reload makes of the log. In the end one classic client alone must get everything. */
#include "base/base.h"

#include "migrate_rig.h"
#include "simclock.h"
#include "unit.h"

enum {
    CLIENTS = 6,
    STEPS = 200,
    SEEDS = 60,
};

struct client {
    bool is_classic;
    const char *instance; /* NULL: dynamic */
    const char *id;       /* "": none yet */
    int32_t epoch;
    int32_t owned[PARTITIONS + 1]; /* ends with -1 */
    struct join_group_response *joining;
    int names; /* that it has had */
};

static void forget(struct client *c)
{
    c->id = "";
    c->epoch = 0;
    c->owned[0] = -1;
    c->joining = NULL;
}

static void read_owned(struct rig *r, struct client *c, struct view assignment)
{
    struct consumer_protocol_assignment a;
    int16_t version;
    int count = 0;
    if (assignment.len > 0) {
        assert_int_equal(subscription_parse_assignment(assignment, &r->arena, &a, &version), 0);
        for (int32_t i = 0; i < a.assigned_partitions.count; i++) {
            for (int32_t p = 0; p < a.assigned_partitions.items[i].partitions.count; p++) {
                c->owned[count++] = a.assigned_partitions.items[i].partitions.items[p];
            }
        }
    }
    c->owned[count] = -1;
}

/* The answer of a join that was parked, if it is there. */
static void look_at_join(struct rig *r, struct client *c)
{
    struct join_group_response *rs = c->joining;
    if (rs == NULL || (rs->error_code == 0 && rs->member_id.len == 0)) {
        return;
    }
    c->joining = NULL;
    if (rs->error_code == KAFKA_ERROR_UNKNOWN_MEMBER_ID ||
        rs->error_code == KAFKA_ERROR_FENCED_INSTANCE_ID) {
        forget(c);
    } else if (rs->error_code == 0) {
        c->id = text(r, rs->member_id);
        c->epoch = rs->generation_id;
    } else if (rs->member_id.len > 0) {
        c->id = text(r, rs->member_id);
    }
}

static void classic_sync_step(struct rig *r, struct client *c)
{
    struct group *g = the_group(r);
    bool is_leader = g != NULL && g->kind == GROUP_CLASSIC && c->id[0] != '\0' &&
                     str_equal(g->classic->leader, str_from(c->id)) &&
                     g->classic->generation == c->epoch &&
                     g->classic->state == CLASSIC_COMPLETING_REBALANCE;
    if (!is_leader) {
        struct sync_group_response *rs = sync_as(r, c->id, c->epoch, c->instance);
        if (rs->error_code == 0) {
            read_owned(r, c, rs->assignment);
        }
        return;
    }
    const char *ids[CLIENTS];
    size_t count = 0;
    list_foreach (node, &g->classic->order) {
        const struct classic_member *m = list_entry(node, struct classic_member, link);
        if (count < CLIENTS) {
            ids[count++] = text(r, m->id);
        }
    }
    sync_leader(r, c->id, c->epoch, ids, count);
}

static void classic_step(struct rig *r, struct client *c, uint64_t chance)
{
    look_at_join(r, c);
    if (c->joining != NULL) {
        return;
    }
    if (c->id[0] == '\0' || chance % 4 == 0) {
        struct joins j = {
            .member = c->id,
            .instance = c->instance,
            .owned = c->owned,
            .version = c->instance == NULL && chance % 3 == 0 ? 3 : 9,
        };
        c->joining = join(r, j);
        look_at_join(r, c);
    } else if (chance % 4 == 1) {
        classic_sync_step(r, c);
    } else if (chance % 8 == 2) {
        IGNORE(leave(r, c->id, c->instance)); /* it may be unknown by now */
        forget(c);
    } else {
        int16_t error = heartbeat_as(r, c->id, c->epoch, c->instance);
        if (error == KAFKA_ERROR_UNKNOWN_MEMBER_ID || error == KAFKA_ERROR_FENCED_INSTANCE_ID) {
            forget(c);
        }
    }
}

static void consumer_step(struct rig *r, struct client *c, uint64_t chance)
{
    struct beats b = {.instance = c->instance};
    if (c->id[0] == '\0') {
        char *id = arena_alloc(&r->arena, 16);
        snprintf(id, 16, "%p-%d", (void *)c, c->names++);
        c->id = id;
        c->epoch = 0;
        c->owned[0] = -1;
    } else if (chance % 8 == 2) {
        b.epoch = c->instance != NULL && chance % 16 == 2 ? -2 : -1;
    } else {
        b.epoch = c->epoch;
        b.has_owned = c->epoch > 0 && chance % 2 == 0;
        b.owned = c->owned;
    }
    b.member = c->id;
    struct consumer_group_heartbeat_response *rs = beat(r, b);
    if (rs->error_code != 0 || b.epoch < 0) {
        if (rs->error_code != KAFKA_ERROR_UNRELEASED_INSTANCE_ID) {
            forget(c);
        }
        return;
    }
    c->epoch = rs->member_epoch;
    if (rs->assignment != NULL) {
        int count = 0;
        for (int32_t i = 0; i < rs->assignment->topic_partitions.count; i++) {
            const struct consumer_group_heartbeat_response_topic_partitions *tp =
                &rs->assignment->topic_partitions.items[i];
            for (int32_t p = 0; p < tp->partitions.count; p++) {
                c->owned[count++] = tp->partitions.items[p];
            }
        }
        c->owned[count] = -1;
    }
}

static void step(struct rig *r, struct client *clients, uint64_t *random)
{
    static const enum migration_policy policies[] = {
        MIGRATION_BIDIRECTIONAL, MIGRATION_BIDIRECTIONAL, MIGRATION_UPGRADE, MIGRATION_DOWNGRADE};
    struct client *c = &clients[sim_random(random) % CLIENTS];
    uint64_t chance = sim_random(random);
    switch (sim_random(random) % 40) {
    case 0:
        restart(r);
        for (int i = 0; i < CLIENTS; i++) {
            clients[i].joining = NULL; /* not answered any more */
        }
        break;
    case 1: /* the same client with the other library */
        c->is_classic = !c->is_classic;
        forget(c);
        break;
    case 2:
        r->config.migration_policy = policies[chance % ARRAY_LEN(policies)];
        break;
    case 3:
    case 4:
        advance(r, (int64_t)(chance % 40000));
        break;
    default:
        if (c->is_classic) {
            classic_step(r, c, chance);
        } else {
            consumer_step(r, c, chance);
        }
        break;
    }
}

/* All are gone but a new classic one. */
static void settle(struct rig *r)
{
    r->config.migration_policy = MIGRATION_BIDIRECTIONAL;
    for (int i = 0; i < 60; i++) {
        advance(r, 10000);
    }
    const char *id = make_classic(r, NULL);
    struct sync_group_response *rs = sync_as(r, id, the_group(r)->classic->generation, NULL);
    assert_int_equal(rs->error_code, 0);
    assert_string_equal(partitions_of(r, rs->assignment), "0,1,2,3");
}

static void both_protocols_live_together(void **state)
{
    (void)state;
    size_t upgraded = 0;
    size_t downgraded = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        void *rig = NULL;
        setup(&rig);
        struct rig *r = rig;
        struct client clients[CLIENTS] = {{0}};
        uint64_t random = seed;
        enum group_kind was = GROUP_CLASSIC;
        for (int i = 0; i < CLIENTS; i++) {
            clients[i].is_classic = sim_random(&random) % 3 != 0;
            clients[i].instance = i == 0 ? "i0" : i == 1 ? "i1" : NULL;
            forget(&clients[i]);
        }
        for (int i = 0; i < STEPS; i++) {
            step(r, clients, &random);
            const struct group *g = the_group(r);
            if (g != NULL && g->kind != was) {
                upgraded += g->kind == GROUP_CONSUMER;
                downgraded += g->kind == GROUP_CLASSIC;
                was = g->kind;
            }
        }
        settle(r);
        teardown(&rig);
    }
    printf("%zu upgrades, %zu downgrades\n", upgraded, downgraded);
    assert_true(upgraded > SEEDS / 4);
    assert_true(downgraded > SEEDS / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_protocols_live_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
