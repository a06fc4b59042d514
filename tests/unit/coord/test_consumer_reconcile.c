/*
 * Reconciliation under any schedule: seeds choose members that join, answer late or never, lose
 * answers and ask again, leave, come back as static members, subscribe to other topics; topics
 * appear, grow and go; the shard restarts. After each event the rig checks the invariants (one
 * owner for each partition, ordered epochs, the log gives the same state). Each seed ends in peace:
 * with everybody heartbeating honestly the group becomes stable, every partition of a subscribed
 * topic has one owner, and members of one subscription differ by one partition at most.
 *
 * A member of the schedule behaves as a client does: it gives back what it is told to give back
 * when it gets round to it, and says so in a later heartbeat.
 */
#include "consumer_rig.h"

#include "base/rng.h"

enum {
    MEMBERS_MAX = 12,
    STEPS = 250,
    SEEDS = 8,
    TOPICS = 4
};

struct client {
    char id[32];
    char instance[16]; /* "": dynamic */
    bool is_in;
    bool is_slow; /* says what it owns only now and then */
    int32_t epoch;
    int subscription; /* bits: topics */
    bool has_regex;
    struct assignment owned; /* heap; what it holds as it believes */
    bool has_news;           /* owned is to be sent */
};

struct world {
    struct rig r;
    struct rng rng;
    struct client clients[MEMBERS_MAX];
    int generation; /* of names */
    bool is_calm;   /* the end of a seed */
};

static uint64_t draw(struct world *w, uint64_t below)
{
    return rng_next(&w->rng) % below;
}

static const char *const topic_names[TOPICS] = {"t1", "t2", "t3", "rx"};

static void forget(struct client *c)
{
    assignment_release(&c->owned);
    c->is_in = false;
    c->epoch = 0;
    c->has_news = false;
}

static void
put_names(const struct client *c, struct consumer_group_heartbeat_request *rq, struct arena *arena)
{
    rq->subscribed_topic_names.items = arena_alloc(arena, TOPICS * sizeof(struct str));
    rq->subscribed_topic_names.count = 0;
    for (int i = 0; i < TOPICS; i++) {
        if (c->subscription >> i & 1) {
            rq->subscribed_topic_names.items[rq->subscribed_topic_names.count++] =
                str_from(topic_names[i]);
        }
    }
    rq->subscribed_topic_regex = str_from(c->has_regex ? "r.*" : "");
}

static void put_assignment(const struct assignment *a,
                           struct consumer_group_heartbeat_request *rq,
                           struct arena *arena)
{
    rq->topic_partitions.items = codec_array(
        arena, consumer_group_heartbeat_request_topic_partitions, to_size(a->count) + 1);
    rq->topic_partitions.count = a->count;
    for (int32_t i = 0; i < a->count; i++) {
        rq->topic_partitions.items[i].topic_id = a->topics[i].id;
        rq->topic_partitions.items[i].partitions.items = a->topics[i].partitions;
        rq->topic_partitions.items[i].partitions.count = a->topics[i].count;
    }
}

static void
take_answer(struct world *w, struct client *c, const struct consumer_group_heartbeat_response *rs)
{
    if (rs->error_code != 0) {
        bool is_known = rs->error_code == KAFKA_ERROR_UNKNOWN_MEMBER_ID ||
                        rs->error_code == KAFKA_ERROR_FENCED_MEMBER_EPOCH ||
                        rs->error_code == KAFKA_ERROR_FENCED_INSTANCE_ID ||
                        rs->error_code == KAFKA_ERROR_UNRELEASED_INSTANCE_ID ||
                        rs->error_code == KAFKA_ERROR_GROUP_ID_NOT_FOUND;
        assert_true(is_known);
        forget(c);
        return;
    }
    c->is_in = true;
    c->epoch = rs->member_epoch;
    if (rs->assignment != NULL) {
        struct arena arena = {0};
        struct assignment_builder ab;
        assignment_builder_init(&ab, &arena);
        for (int32_t i = 0; i < rs->assignment->topic_partitions.count; i++) {
            for (int32_t j = 0; j < rs->assignment->topic_partitions.items[i].partitions.count;
                 j++) {
                assignment_builder_add(
                    &ab, &rs->assignment->topic_partitions.items[i].topic_id,
                    rs->assignment->topic_partitions.items[i].partitions.items[j]);
            }
        }
        struct assignment a;
        assignment_builder_finish(&ab, &a);
        assignment_release(&c->owned);
        assignment_copy(&a, &c->owned);
        c->has_news = true;
        arena_release(&arena);
    }
    (void)w;
}

static void beat(struct world *w, struct client *c)
{
    struct arena arena = {0};
    struct consumer_group_heartbeat_request rq = consumer_group_heartbeat_request_default;
    rq.group_id = STR("g");
    rq.member_id = str_from(c->id);
    rq.member_epoch = c->is_in ? c->epoch : 0;
    rq.instance_id = c->instance[0] == '\0' ? (struct str){0} : str_from(c->instance);
    rq.subscribed_topic_names.count = -1;
    rq.topic_partitions.count = -1;
    if (!c->is_in) {
        put_names(c, &rq, &arena);
        rq.rebalance_timeout_ms = 5000;
        rq.topic_partitions.count = 0;
    } else if (w->is_calm || (c->has_news && (!c->is_slow || draw(w, 4) == 0))) {
        put_assignment(&c->owned, &rq, &arena);
        c->has_news = false;
        if (draw(w, 8) == 0) {
            put_names(c, &rq, &arena); /* a full one */
            rq.rebalance_timeout_ms = 5000;
        }
    }
    const struct consumer_group_heartbeat_response *rs = rig_send(&w->r, &rq, 1);
    if (w->is_calm || draw(w, 10) != 0) { /* or the answer is lost */
        take_answer(w, c, rs);
    }
    arena_release(&arena);
}

static void leave(struct world *w, struct client *c, int32_t epoch)
{
    struct consumer_group_heartbeat_request rq = consumer_group_heartbeat_request_default;
    rq.group_id = STR("g");
    rq.member_id = str_from(c->id);
    rq.member_epoch = epoch;
    rq.instance_id = c->instance[0] == '\0' ? (struct str){0} : str_from(c->instance);
    rq.subscribed_topic_names.count = -1;
    rq.topic_partitions.count = -1;
    (void)rig_send(&w->r, &rq, 1);
    forget(c);
    snprintf(c->id, sizeof(c->id), "member-%05d", ++w->generation);
}

static void change_topics(struct world *w)
{
    const char *name = topic_names[draw(w, TOPICS)];
    struct shard_topic t;
    if (!rig_by_name(&w->r, str_from(name), &t)) {
        if (w->r.topics_count < RIG_TOPICS_MAX - TOPICS) {
            rig_create(&w->r, name, 1 + (int32_t)draw(w, 6), NULL);
        }
    } else if (draw(w, 2) == 0) {
        rig_grow(&w->r, name, t.partitions_count + 1);
    } else if (w->r.topics_count < RIG_TOPICS_MAX - TOPICS) {
        rig_delete(&w->r, name);
    }
}

static void step(struct world *w)
{
    struct client *c = &w->clients[draw(w, MEMBERS_MAX)];
    uint64_t what = draw(w, 100);
    if (what < 70) {
        beat(w, c);
    } else if (what < 74) {
        leave(w, c, -1);
    } else if (what < 78 && c->instance[0] != '\0') {
        leave(w, c, -2);
    } else if (what < 82) {
        c->subscription = (int)draw(w, 8);
        c->has_regex = draw(w, 4) == 0;
        if (c->is_in) {
            struct arena arena = {0};
            struct consumer_group_heartbeat_request rq = consumer_group_heartbeat_request_default;
            rq.group_id = STR("g");
            rq.member_id = str_from(c->id);
            rq.member_epoch = c->epoch;
            rq.instance_id = c->instance[0] == '\0' ? (struct str){0} : str_from(c->instance);
            rq.topic_partitions.count = -1;
            put_names(c, &rq, &arena);
            take_answer(w, c, rig_send(&w->r, &rq, 1));
            arena_release(&arena);
        }
    } else if (what < 85) {
        change_topics(w);
    } else if (what < 97) {
        rig_advance(&w->r, (int64_t)draw(w, 800));
    } else if (what < 99) {
        rig_advance(&w->r, (int64_t)draw(w, 60000));
    } else {
        rig_restart(&w->r);
    }
}

/* Every partition of a topic that somebody wants has one owner, as the clients see it. */
static void check_owned_once(const struct world *w)
{
    for (int t = 0; t < TOPICS; t++) {
        struct shard_topic at;
        if (!rig_by_name((void *)(uintptr_t)&w->r, str_from(topic_names[t]), &at)) {
            continue;
        }
        bool is_wanted = false;
        for (int i = 0; i < MEMBERS_MAX; i++) {
            is_wanted |= (w->clients[i].subscription >> t & 1) != 0 ||
                         (w->clients[i].has_regex && topic_names[t][0] == 'r');
        }
        for (int32_t p = 0; p < at.partitions_count; p++) {
            int owners = 0;
            for (int i = 0; i < MEMBERS_MAX; i++) {
                owners += assignment_has(&w->clients[i].owned, &at.id, p);
            }
            assert_int_equal(owners, is_wanted ? 1 : 0);
        }
    }
}

static void check_balance(const struct world *w)
{
    int64_t least = INT64_MAX;
    int64_t most = 0;
    for (int i = 0; i < MEMBERS_MAX; i++) {
        if (w->clients[i].subscription != w->clients[0].subscription ||
            w->clients[i].has_regex != w->clients[0].has_regex) {
            return; /* not the same for all */
        }
        int64_t size = assignment_size(&w->clients[i].owned);
        least = min_i64(least, size);
        most = max_i64(most, size);
    }
    assert_true(most - least <= 1);
}

static void make_peace(struct world *w)
{
    w->is_calm = true;
    bool is_same = draw(w, 2) == 0;
    rig_advance(&w->r, 61000); /* who has been silent is fenced */
    for (int i = 0; i < MEMBERS_MAX; i++) {
        struct client *c = &w->clients[i];
        forget(c);
        snprintf(c->id, sizeof(c->id), "member-%05d", ++w->generation);
        if (is_same) {
            c->subscription = 3;
            c->has_regex = false;
        }
    }
    for (int round = 0; round < 60; round++) {
        rig_advance(&w->r, 400);
        for (int i = 0; i < MEMBERS_MAX; i++) {
            beat(w, &w->clients[i]);
        }
    }
    const struct consumer *cg = rig_group(&w->r, "g");
    assert_int_equal(cg->members_count, MEMBERS_MAX);
    assert_int_equal(consumer_state_of(cg), CONSUMER_STABLE);
    check_owned_once(w);
    check_balance(w);
}

static void run_seed(uint64_t seed)
{
    struct world w = {0};
    rig_init(&w.r);
    rng_init(&w.rng, seed);
    w.r.seed = seed;
    w.r.settings.assignment_interval_ms = seed % 3 == 0 ? 0 : 1000;
    rig_create(&w.r, "t1", 5, NULL);
    rig_create(&w.r, "t2", 3, NULL);
    for (int i = 0; i < MEMBERS_MAX; i++) {
        struct client *c = &w.clients[i];
        snprintf(c->id, sizeof(c->id), "member-%05d", ++w.generation);
        if (i < 4) {
            snprintf(c->instance, sizeof(c->instance), "instance-%d", i);
        }
        c->is_slow = draw(&w, 3) == 0;
        c->subscription = 1 + (int)draw(&w, 7);
    }
    for (int i = 0; i < STEPS; i++) {
        step(&w);
    }
    make_peace(&w);
    for (int i = 0; i < MEMBERS_MAX; i++) {
        forget(&w.clients[i]);
    }
    rig_release(&w.r);
}

static void test_any_schedule_ends_in_a_stable_group(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(seed);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3) { /* one seed, to look at it */
        run_seed(strtoull(argv[2], NULL, 10));
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_schedule_ends_in_a_stable_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
