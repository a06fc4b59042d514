/*
 * One shard driven by hand, for groups of both protocols: what clients of either send, and what
 * must hold after each event. The machines are validated, and a second shard is fed the log so far:
 * it must hold the same groups, with the same members, epochs and partitions.
 */
#ifndef TESTS_MIGRATE_RIG_H
#define TESTS_MIGRATE_RIG_H

#include "base/base.h"

#include "base/mem.h"
#include "coord/classic.h"
#include "coord/consumer.h"
#include "coord/group_admin.h"
#include "coord/group_requests.h"
#include "coord/migrate.h"
#include "coord/offsets.h"
#include "coord/subscription.h"
#include "same_groups.h"
#include "shard_fixture.h"
#include "wire/codec.h"

enum {
    LOG_MAX = 4000,
    TOPICS = 2,
    PARTITIONS = 4,
    SESSION_MS = 30000,
    REBALANCE_MS = 60000,
    API_HEARTBEAT = 12,
    API_JOIN = 11,
    API_LEAVE = 13,
    API_SYNC = 14,
    API_CONSUMER_HEARTBEAT = 68,
};

struct rig {
    struct shard *sh;
    struct shard_config config;
    struct mem_budget memory;
    struct shard_topics topics;
    struct arena arena; /* of the whole test */
    int64_t now_ms;
    uint64_t seed;
    struct rig_record *records;
    size_t records_count;
    size_t completed; /* calls of the last event */
};

/* ---- the world ---- */

static unused_ok struct shard_topic topic_at(int t)
{
    static const char *const names[TOPICS] = {"t1", "t2"};
    return (struct shard_topic){
        .name = str_from(names[t]),
        .id = {.bytes = {(uint8_t)(t + 1)}},
        .partitions_count = PARTITIONS,
    };
}

static unused_ok bool by_name(void *ctx, struct str name, struct shard_topic *ret)
{
    (void)ctx;
    for (int t = 0; t < TOPICS; t++) {
        if (str_equal(topic_at(t).name, name)) {
            *ret = topic_at(t);
            return true;
        }
    }
    return false;
}

static unused_ok bool by_id(void *ctx, const struct uuid *id, struct shard_topic *ret)
{
    (void)ctx;
    for (int t = 0; t < TOPICS; t++) {
        struct shard_topic topic = topic_at(t);
        if (uuid_equal(&topic.id, id)) {
            *ret = topic;
            return true;
        }
    }
    return false;
}

static unused_ok void
each(void *ctx, bool (*visit)(void *visit_ctx, const struct shard_topic *t), void *visit_ctx)
{
    (void)ctx;
    for (int t = 0; t < TOPICS; t++) {
        struct shard_topic topic = topic_at(t);
        if (!visit(visit_ctx, &topic)) {
            return;
        }
    }
}

static unused_ok void begin(struct rig *r)
{
    shard_begin(r->sh, r->now_ms, r->now_ms + 1000000, &r->topics);
}

static unused_ok struct shard *load(struct rig *r)
{
    struct shard *sh = shard_new(&shard_machines, &r->config, 0, ++r->seed);
    shard_begin(sh, r->now_ms, r->now_ms + 1000000, &r->topics);
    fixture_replay(sh, r->records, r->records_count);
    return sh;
}

static unused_ok void validate(const struct shard *sh)
{
    hmap_foreach (node, &sh->groups) {
        const struct group *g = container_of(node, struct group, node);
        if (g->kind == GROUP_CLASSIC) {
            classic_validate(g->classic);
        } else {
            consumer_validate(g->consumer);
        }
    }
}

static unused_ok void check_reload(struct rig *r)
{
    int64_t used = r->memory.used;
    struct shard *again = load(r);
    validate(again);
    hmap_foreach (node, &r->sh->groups) {
        const struct group *live = container_of(node, struct group, node);
        const struct group *loaded = group_find(again, live->id);
        assert_non_null(loaded);
        assert_int_equal(live->kind, loaded->kind);
        if (live->kind == GROUP_CONSUMER) {
            same_consumer(live->consumer, loaded->consumer);
        } else if (classic_is_as_recorded(live->classic)) {
            same_classic(live->classic, loaded->classic);
        }
    }
    shard_free(again);
    assert_int_equal(r->memory.used, used);
}

static unused_ok void take(void *ctx, struct view key, struct view value)
{
    struct rig *r = ctx;
    assert_true(r->records_count < LOG_MAX);
    r->records[r->records_count++] =
        (struct rig_record){fixture_keep(&r->arena, key), fixture_keep(&r->arena, value)};
}

static unused_ok void end(struct rig *r)
{
    shard_take_records(r->sh, take, r);
    r->completed = fixture_drop_completed(r->sh);
    validate(r->sh);
    check_reload(r);
}

static unused_ok int setup(void **state)
{
    struct rig *r = mem_zalloc(sizeof(*r));
    r->config = fixture_config();
    r->config.memory = &r->memory;
    r->topics = (struct shard_topics){by_name, by_id, each, fixture_no_racks, NULL, 1};
    r->now_ms = 5000;
    r->records = arena_alloc(&r->arena, sizeof(*r->records) * LOG_MAX);
    r->sh = load(r);
    begin(r);
    shard_loaded(r->sh);
    end(r);
    *state = r;
    return 0;
}

static unused_ok int teardown(void **state)
{
    struct rig *r = *state;
    begin(r);
    shard_abandon(r->sh, KAFKA_ERROR_NOT_COORDINATOR);
    fixture_drop_completed(r->sh);
    shard_free(r->sh);
    assert_int_equal(r->memory.used, 0); /* what was taken was given back */
    arena_release(&r->arena);
    mem_free(r);
    return 0;
}

static unused_ok void advance(struct rig *r, int64_t ms)
{
    int64_t until = r->now_ms + ms;
    while (shard_next_deadline(r->sh) <= until) {
        r->now_ms = max_i64(r->now_ms, shard_next_deadline(r->sh));
        begin(r);
        shard_run_timers(r->sh);
        end(r);
    }
    r->now_ms = until;
}

static unused_ok void restart(struct rig *r)
{
    begin(r);
    shard_abandon(r->sh, KAFKA_ERROR_NOT_COORDINATOR);
    fixture_drop_completed(r->sh);
    shard_free(r->sh);
    r->sh = load(r);
    begin(r);
    shard_loaded(r->sh);
    end(r);
}

/* ---- what clients send ---- */

static unused_ok struct shard_call *
new_call(struct rig *r, int16_t key, int16_t version, void *body, void *rs)
{
    struct shard_call *call = arena_alloc(&r->arena, sizeof(*call));
    *call = (struct shard_call){
        .api_key = key,
        .version = version,
        .client_id = STR("app"),
        .client_host = STR("/127.0.0.1"),
        .body = body,
        .response = rs,
        .arena = &r->arena,
    };
    list_init(&call->link);
    return call;
}

/* Subscription version 1 to t1 with these partitions owned (ends with -1). */
static unused_ok struct view subscription(struct rig *r, const int32_t *owned)
{
    struct consumer_protocol_subscription s = consumer_protocol_subscription_default;
    struct consumer_protocol_subscription_topic_partition tp =
        consumer_protocol_subscription_topic_partition_default;
    struct str topic = STR("t1");
    s.topics.items = &topic;
    s.topics.count = 1;
    tp.topic = topic;
    tp.partitions.items = (int32_t *)(uintptr_t)owned;
    while (owned != NULL && owned[tp.partitions.count] >= 0) {
        tp.partitions.count++;
    }
    s.owned_partitions.items = &tp;
    s.owned_partitions.count = tp.partitions.count > 0 ? 1 : 0;
    return subscription_encode(&consumer_protocol_subscription_msg, 1, &s, &r->arena);
}

struct joins {
    const char *member; /* NULL: "" */
    const char *instance;
    const char *protocol; /* NULL: "range" */
    const char *type;     /* NULL: "consumer" */
    const int32_t *owned; /* ends with -1; NULL: none */
    const char *bytes;    /* instead of a subscription */
    int16_t version;      /* 0: 9 */
};

static unused_ok struct join_group_response *join(struct rig *r, struct joins j)
{
    struct join_group_request *rq = arena_alloc(&r->arena, sizeof(*rq));
    struct join_group_response *rs = arena_alloc(&r->arena, sizeof(*rs));
    *rq = join_group_request_default;
    *rs = join_group_response_default;
    rs->error_code = 999; /* not answered */
    rq->group_id = STR("g");
    rq->session_timeout_ms = SESSION_MS;
    rq->rebalance_timeout_ms = REBALANCE_MS;
    rq->member_id = str_from(j.member == NULL ? "" : j.member);
    rq->group_instance_id = str_from(j.instance);
    rq->protocol_type = str_from(j.type == NULL ? "consumer" : j.type);
    rq->protocols.items = codec_array(&r->arena, join_group_request_join_group_request_protocol, 1);
    rq->protocols.count = 1;
    rq->protocols.items[0].name = str_from(j.protocol == NULL ? "range" : j.protocol);
    rq->protocols.items[0].metadata =
        j.bytes == NULL ? subscription(r, j.owned)
                        : (struct view){(const uint8_t *)j.bytes, strlen(j.bytes)};
    begin(r);
    struct shard_call *call = new_call(r, API_JOIN, j.version == 0 ? 9 : j.version, rq, rs);
    rs->error_code = 0;
    group_join(r->sh, call);
    end(r);
    return rs;
}

static unused_ok struct sync_group_response *
sync_as(struct rig *r, const char *member, int32_t generation, const char *instance)
{
    struct sync_group_request *rq = arena_alloc(&r->arena, sizeof(*rq));
    struct sync_group_response *rs = arena_alloc(&r->arena, sizeof(*rs));
    *rq = sync_group_request_default;
    *rs = sync_group_response_default;
    rq->group_id = STR("g");
    rq->member_id = str_from(member);
    rq->generation_id = generation;
    rq->group_instance_id = str_from(instance);
    rq->protocol_type = STR("consumer");
    rq->protocol_name = STR("range");
    begin(r);
    group_sync(r->sh, new_call(r, API_SYNC, 5, rq, rs));
    end(r);
    return rs;
}

/* The leader's sync: the member gets these partitions of t1. */
static unused_ok void sync_leader(struct rig *r,
                                  const char *leader,
                                  int32_t generation,
                                  const char *const *members,
                                  size_t count)
{
    struct sync_group_request *rq = arena_alloc(&r->arena, sizeof(*rq));
    struct sync_group_response *rs = arena_alloc(&r->arena, sizeof(*rs));
    *rq = sync_group_request_default;
    *rs = sync_group_response_default;
    rq->group_id = STR("g");
    rq->member_id = str_from(leader);
    rq->generation_id = generation;
    rq->protocol_type = STR("consumer");
    rq->protocol_name = STR("range");
    rq->assignments.items =
        codec_array(&r->arena, sync_group_request_sync_group_request_assignment, count);
    rq->assignments.count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        struct assignment_builder ab;
        struct assignment a;
        struct shard_topic t = topic_at(0);
        assignment_builder_init(&ab, &r->arena);
        for (size_t p = i; p < PARTITIONS; p += count) {
            assignment_builder_add(&ab, &t.id, (int32_t)p);
        }
        assignment_builder_finish(&ab, &a);
        rq->assignments.items[i].member_id = str_from(members[i]);
        rq->assignments.items[i].assignment =
            subscription_build_assignment(&a, &r->topics, 1, &r->arena);
    }
    begin(r);
    group_sync(r->sh, new_call(r, API_SYNC, 5, rq, rs));
    end(r);
    assert_int_equal(rs->error_code, 0);
}

static unused_ok int16_t heartbeat_as(struct rig *r,
                                      const char *member,
                                      int32_t generation,
                                      const char *instance)
{
    struct heartbeat_request *rq = arena_alloc(&r->arena, sizeof(*rq));
    struct heartbeat_response *rs = arena_alloc(&r->arena, sizeof(*rs));
    *rq = heartbeat_request_default;
    *rs = heartbeat_response_default;
    rq->group_id = STR("g");
    rq->member_id = str_from(member);
    rq->generation_id = generation;
    rq->group_instance_id = str_from(instance);
    begin(r);
    group_heartbeat(r->sh, new_call(r, API_HEARTBEAT, 4, rq, rs));
    end(r);
    return rs->error_code;
}

static unused_ok int16_t heartbeat(struct rig *r, const char *member, int32_t generation)
{
    return heartbeat_as(r, member, generation, NULL);
}

static unused_ok int16_t leave(struct rig *r, const char *member, const char *instance)
{
    struct leave_group_request *rq = arena_alloc(&r->arena, sizeof(*rq));
    struct leave_group_response *rs = arena_alloc(&r->arena, sizeof(*rs));
    *rq = leave_group_request_default;
    *rs = leave_group_response_default;
    rq->group_id = STR("g");
    rq->members.items = codec_array(&r->arena, leave_group_request_member_identity, 1);
    rq->members.count = 1;
    rq->members.items[0].member_id = str_from(member);
    rq->members.items[0].group_instance_id = str_from(instance);
    begin(r);
    group_leave(r->sh, new_call(r, API_LEAVE, 5, rq, rs));
    end(r);
    assert_int_equal(rs->error_code, 0);
    assert_int_equal(rs->members.count, 1);
    return rs->members.items[0].error_code;
}

struct beats {
    const char *member;
    const char *instance;
    int32_t epoch;
    bool has_owned;
    const int32_t *owned; /* of t1, ends with -1 */
};

static unused_ok struct consumer_group_heartbeat_response *beat(struct rig *r, struct beats b)
{
    struct consumer_group_heartbeat_request *rq = arena_alloc(&r->arena, sizeof(*rq));
    struct consumer_group_heartbeat_response *rs = arena_alloc(&r->arena, sizeof(*rs));
    *rq = consumer_group_heartbeat_request_default;
    *rs = consumer_group_heartbeat_response_default;
    rq->group_id = STR("g");
    rq->member_id = str_from(b.member);
    rq->instance_id = str_from(b.instance);
    rq->member_epoch = b.epoch;
    rq->rebalance_timeout_ms = b.epoch == 0 ? REBALANCE_MS : -1;
    if (b.epoch == 0) {
        static struct str topic;
        topic = STR("t1");
        rq->subscribed_topic_names.items = &topic;
        rq->subscribed_topic_names.count = 1;
        rq->topic_partitions.count = 0;
    } else {
        rq->subscribed_topic_names.count = -1;
        rq->topic_partitions.count = -1;
    }
    if (b.has_owned) {
        struct consumer_group_heartbeat_request_topic_partitions *tp =
            codec_array(&r->arena, consumer_group_heartbeat_request_topic_partitions, 1);
        tp->topic_id = topic_at(0).id;
        tp->partitions.items = (int32_t *)(uintptr_t)b.owned;
        tp->partitions.count = 0;
        while (b.owned != NULL && b.owned[tp->partitions.count] >= 0) {
            tp->partitions.count++;
        }
        rq->topic_partitions.items = tp;
        rq->topic_partitions.count = tp->partitions.count > 0 ? 1 : 0;
    }
    begin(r);
    consumer_heartbeat(r->sh, new_call(r, API_CONSUMER_HEARTBEAT, 1, rq, rs));
    end(r);
    return rs;
}

static unused_ok struct group *the_group(struct rig *r)
{
    return group_find(r->sh, STR("g"));
}

static unused_ok struct consumer_member *member(struct rig *r, const char *id)
{
    struct group *g = the_group(r);
    assert_non_null(g);
    assert_int_equal(g->kind, GROUP_CONSUMER);
    return consumer_member_find(g->consumer, str_from(id));
}

static unused_ok const char *text(struct rig *r, struct str s)
{
    return arena_strdup(&r->arena, s).ptr;
}

/* Partitions of t1 in the bytes of an assignment, as "0,2". */
static unused_ok const char *partitions_of(struct rig *r, struct view assignment)
{
    struct consumer_protocol_assignment a;
    int16_t version;
    if (assignment.len == 0) {
        return "nothing";
    }
    assert_int_equal(subscription_parse_assignment(assignment, &r->arena, &a, &version), 0);
    assert_int_equal(version, 1); /* the member's own */
    char *to = arena_alloc(&r->arena, 64);
    struct strbuf sb;
    strbuf_init(&sb, to, 64);
    for (int32_t i = 0; i < a.assigned_partitions.count; i++) {
        assert_true(str_is(a.assigned_partitions.items[i].topic, "t1"));
        for (int32_t p = 0; p < a.assigned_partitions.items[i].partitions.count; p++) {
            strbuf_addf(&sb, "%s%d", p > 0 ? "," : "",
                        a.assigned_partitions.items[i].partitions.items[p]);
        }
    }
    return to;
}

/* A stable classic group of one member (by its instance, or dynamic), generation 1. */
static unused_ok const char *make_classic(struct rig *r, const char *instance)
{
    const char *id = "";
    if (instance == NULL) {
        struct join_group_response *first = join(r, (struct joins){0});
        assert_int_equal(first->error_code, KAFKA_ERROR_MEMBER_ID_REQUIRED);
        id = text(r, first->member_id);
    }
    struct join_group_response *rs = join(r, (struct joins){.member = id, .instance = instance});
    advance(r, 0);
    assert_int_equal(rs->error_code, 0);
    id = text(r, rs->member_id);
    sync_leader(r, id, rs->generation_id, &id, 1);
    assert_true(str_is(group_state_name(the_group(r)), "Stable"));
    return id;
}

#endif
