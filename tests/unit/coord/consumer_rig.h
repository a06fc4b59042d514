/*
 * One shard driven by hand, with topics that can be made, grown and deleted: what the tests of
 * consumer groups share.
 *
 * Every event goes through rig_end, which does what the coordinator's owner does (takes the records
 * into a log, the completed calls away) and looks at everything that must always hold:
 * consumer_validate for every group, answers that can be encoded, and a second shard that is fed
 * the log is the same as the live one, member by member, epoch by epoch, owner by owner.
 */
#ifndef TESTS_CONSUMER_RIG_H
#define TESTS_CONSUMER_RIG_H

#include "base/base.h"

#include "base/mem.h"
#include "coord/consumer.h"
#include "coord/consumer_private.h"
#include "coord/group.h"
#include "coord/offsets.h"
#include "same_groups.h"
#include "shard_fixture.h"
#include "wire/codec.h"

enum {
    RIG_LOG_MAX = 200000,
    RIG_TOPICS_MAX = 64,
    RIG_NAMES_MAX = 8,
    RIG_OWNED_MAX = 64,
};

struct rig_topic {
    char name[64];
    struct uuid id;
    int32_t partitions;
    const char *rack; /* of all replicas; NULL: none */
    bool is_there;
};

struct rig {
    struct shard *sh;
    struct shard_config config;
    struct mem_budget memory;
    struct shard_topics topics;
    struct rig_topic topic[RIG_TOPICS_MAX];
    size_t topics_count;
    struct group_settings settings;
    char settings_group[64]; /* of which group; "": of all */
    int64_t now_ms;
    int64_t wall_ms;
    uint64_t seed;
    struct arena log; /* bytes of the records */
    struct rig_record *records;
    size_t records_count;
    size_t records_new;     /* of the last event */
    struct arena arena;     /* of the last answers */
    bool is_reload_skipped; /* for tests of many events */
    bool is_check_skipped;
};

/* ---- topics ---- */

static unused_ok void rig_give_topic(const struct rig_topic *rt, struct shard_topic *ret)
{
    *ret = (struct shard_topic){
        .name = str_from(rt->name),
        .id = rt->id,
        .partitions_count = rt->partitions,
        .handle = rt,
    };
}

static unused_ok bool rig_by_name(void *ctx, struct str name, struct shard_topic *ret)
{
    const struct rig *r = ctx;
    for (size_t i = 0; i < r->topics_count; i++) {
        if (r->topic[i].is_there && str_is(name, r->topic[i].name)) {
            rig_give_topic(&r->topic[i], ret);
            return true;
        }
    }
    return false;
}

static unused_ok bool rig_by_id(void *ctx, const struct uuid *id, struct shard_topic *ret)
{
    const struct rig *r = ctx;
    for (size_t i = 0; i < r->topics_count; i++) {
        if (r->topic[i].is_there && uuid_equal(id, &r->topic[i].id)) {
            rig_give_topic(&r->topic[i], ret);
            return true;
        }
    }
    return false;
}

static unused_ok void
rig_each(void *ctx, bool (*visit)(void *visit_ctx, const struct shard_topic *t), void *visit_ctx)
{
    const struct rig *r = ctx;
    for (size_t i = 0; i < r->topics_count; i++) {
        struct shard_topic t;
        rig_give_topic(&r->topic[i], &t);
        if (r->topic[i].is_there && !visit(visit_ctx, &t)) {
            return;
        }
    }
}

static unused_ok size_t
rig_racks(void *ctx, const struct shard_topic *t, int32_t partition, struct str *ret, size_t max)
{
    (void)ctx;
    (void)partition;
    const struct rig_topic *rt = t->handle;
    if (rt->rack == NULL || max == 0) {
        return 0;
    }
    ret[0] = str_from(rt->rack);
    return 1;
}

static unused_ok void rig_settings(void *ctx, struct str group, struct group_settings *ret)
{
    const struct rig *r = ctx;
    *ret = (struct group_settings){
        .session_timeout_ms = 45000,
        .heartbeat_interval_ms = 5000,
        .assignment_interval_ms = 1000,
    };
    if (r->settings_group[0] == '\0' || str_is(group, r->settings_group)) {
        *ret = r->settings;
    }
}

/* ---- events ---- */

static unused_ok void rig_begin(struct rig *r)
{
    arena_reset(&r->arena);
    shard_begin(r->sh, r->now_ms, r->wall_ms + r->now_ms, &r->topics);
}

static unused_ok struct shard *rig_load(struct rig *r, const struct shard_config *config)
{
    struct shard *sh = shard_new(&shard_machines, config, 0, ++r->seed);
    shard_begin(sh, r->now_ms, r->wall_ms + r->now_ms, &r->topics);
    fixture_replay(sh, r->records, r->records_count);
    return sh;
}

static unused_ok void rig_take(void *ctx, struct view key, struct view value)
{
    struct rig *r = ctx;
    assert_true(r->records_count < RIG_LOG_MAX);
    r->records[r->records_count].key = fixture_keep(&r->log, key);
    r->records[r->records_count].value = fixture_keep(&r->log, value);
    r->records_count++;
    r->records_new++;
}

static unused_ok void rig_check(struct rig *r)
{
    if (r->is_check_skipped) {
        return;
    }
    hmap_foreach (node, &r->sh->groups) {
        struct group *g = container_of(node, struct group, node);
        if (g->kind == GROUP_CONSUMER) {
            consumer_validate(g->consumer);
        }
    }
    if (r->is_reload_skipped) {
        return;
    }
    struct shard_config config = r->config;
    config.memory = NULL;
    struct shard *loaded = rig_load(r, &config);
    assert_int_equal(loaded->groups.count, r->sh->groups.count);
    hmap_foreach (node, &r->sh->groups) {
        struct group *g = container_of(node, struct group, node);
        const struct group *other = group_find(loaded, g->id);
        assert_non_null(other);
        assert_int_equal(g->kind, other->kind);
        if (g->kind == GROUP_CONSUMER) {
            consumer_validate(other->consumer);
            same_consumer(g->consumer, other->consumer);
        }
    }
    shard_free(loaded);
}

static unused_ok void rig_end(struct rig *r)
{
    r->records_new = 0;
    shard_take_records(r->sh, rig_take, r);
    fixture_drop_completed(r->sh);
    rig_check(r);
}

static unused_ok void rig_init(struct rig *r)
{
    *r = (struct rig){
        .config = fixture_config(),
        .settings =
            {
                .session_timeout_ms = 45000,
                .heartbeat_interval_ms = 5000,
                .assignment_interval_ms = 1000,
            },
        .now_ms = 5000,
        .wall_ms = INT64_C(1700000000000),
        .seed = 7,
    };
    r->config.settings = rig_settings;
    r->config.settings_ctx = r;
    r->topics = (struct shard_topics){rig_by_name, rig_by_id, rig_each, rig_racks, r, 10};
    r->records = mem_array(RIG_LOG_MAX, sizeof(r->records[0]));
    r->sh = rig_load(r, &r->config);
    shard_loaded(r->sh);
}

static unused_ok void rig_release(struct rig *r)
{
    shard_free(r->sh);
    assert_int_equal(r->memory.used, 0);
    mem_free(r->records);
    arena_release(&r->log);
    arena_release(&r->arena);
}

/* The shard is loaded anew from its log. */
static unused_ok void rig_restart(struct rig *r)
{
    shard_free(r->sh);
    r->sh = rig_load(r, &r->config);
    rig_begin(r);
    shard_loaded(r->sh);
    rig_end(r);
}

/* Time goes by; every timer fires at its own time. */
static unused_ok void rig_advance(struct rig *r, int64_t ms)
{
    int64_t until = r->now_ms + ms;
    int rounds = 0;
    while (shard_next_deadline(r->sh) <= until) {
        assert_true(++rounds < 100000); /* no busy loop */
        r->now_ms = max_i64(r->now_ms, shard_next_deadline(r->sh));
        rig_begin(r);
        shard_run_timers(r->sh);
        rig_end(r);
    }
    r->now_ms = until;
}

static unused_ok struct rig_topic *rig_topic(struct rig *r, const char *name)
{
    for (size_t i = 0; i < r->topics_count; i++) {
        if (r->topic[i].is_there && strcmp(r->topic[i].name, name) == 0) {
            return &r->topic[i];
        }
    }
    fail_msg("no topic %s", name);
    return NULL;
}

static unused_ok void
rig_tell(struct rig *r, enum shard_topic_change change, const struct rig_topic *rt)
{
    struct shard_topic t;
    rig_give_topic(rt, &t);
    r->topics.version++;
    rig_begin(r);
    shard_topic_changed(r->sh, change, &t);
    rig_end(r);
}

/* id NULL: one of its own. */
static unused_ok struct rig_topic *
rig_create(struct rig *r, const char *name, int32_t partitions, const struct uuid *id)
{
    assert_true(r->topics_count < RIG_TOPICS_MAX);
    struct rig_topic *rt = &r->topic[r->topics_count++];
    assert_true(strlen(name) < sizeof(rt->name));
    memcpy(rt->name, name, strlen(name) + 1);
    rt->partitions = partitions;
    rt->is_there = true;
    if (id != NULL) {
        rt->id = *id;
    } else {
        rt->id.bytes[0] = (uint8_t)(0x10 + r->topics_count);
        rt->id.bytes[15] = 1;
    }
    rig_tell(r, TOPIC_CREATED, rt);
    return rt;
}

static unused_ok void rig_grow(struct rig *r, const char *name, int32_t partitions)
{
    struct rig_topic *rt = rig_topic(r, name);
    rt->partitions = partitions;
    rig_tell(r, TOPIC_CHANGED, rt);
}

static unused_ok void rig_delete(struct rig *r, const char *name)
{
    struct rig_topic *rt = rig_topic(r, name);
    rt->is_there = false;
    rig_tell(r, TOPIC_DELETED, rt);
}

/* ---- requests ---- */

/* Any heartbeat; the answer lives until the next event. */
static unused_ok const struct consumer_group_heartbeat_response *
rig_send(struct rig *r, const struct consumer_group_heartbeat_request *body, int16_t version)
{
    rig_begin(r);
    struct consumer_group_heartbeat_response *answer = arena_alloc(&r->arena, sizeof(*answer));
    *answer = consumer_group_heartbeat_response_default;
    struct shard_call call = {
        .api_key = 68,
        .version = version,
        .client_id = STR("ask"),
        .client_host = STR("/127.0.0.1"),
        .body = body,
        .response = answer,
        .arena = &r->arena,
    };
    list_init(&call.link);
    consumer_heartbeat(r->sh, &call);
    assert_true(list_is_linked(&call.link)); /* answered at once */
    struct writer w;
    writer_init(&w);
    assert_int_equal(codec_encode(&consumer_group_heartbeat_response_msg, version, answer, &w), 0);
    writer_release(&w);
    rig_end(r);
    return answer;
}

/* What a heartbeat says; names and partitions as text: "t1,t2", "t1:0,1;t2:5". */
struct beats {
    const char *group;
    const char *member;
    int32_t epoch;
    const char *names;    /* NULL: null */
    const char *regex;    /* NULL: null */
    const char *owned;    /* NULL: null */
    const char *instance; /* NULL: null */
    const char *rack;
    const char *assignor;
    int32_t rebalance_ms; /* 0: -1 */
};

static unused_ok void put_owned(struct rig *r,
                                const char *text,
                                struct consumer_group_heartbeat_request *rq,
                                struct arena *arena)
{
    struct str rest = arena_strdup(arena, str_from(text));
    struct str part;
    rq->topic_partitions.items =
        codec_array(arena, consumer_group_heartbeat_request_topic_partitions, RIG_NAMES_MAX);
    rq->topic_partitions.count = 0;
    while (rest.len > 0 && str_split(&rest, ';', &part)) {
        struct str name;
        struct str number;
        assert_true(rq->topic_partitions.count < RIG_NAMES_MAX);
        struct consumer_group_heartbeat_request_topic_partitions *tp =
            &rq->topic_partitions.items[rq->topic_partitions.count++];
        assert_true(str_split(&part, ':', &name));
        char copy[64] = {0};
        memcpy(copy, name.ptr, min_size(name.len, sizeof(copy) - 1));
        tp->topic_id = rig_topic(r, copy)->id;
        tp->partitions.items = arena_alloc(arena, RIG_OWNED_MAX * sizeof(int32_t));
        while (part.len > 0 && str_split(&part, ',', &number)) {
            assert_true(tp->partitions.count < RIG_OWNED_MAX);
            assert_int_equal(str_to_i32(number, &tp->partitions.items[tp->partitions.count++]), 0);
        }
    }
}

static unused_ok const struct consumer_group_heartbeat_response *rig_beat(struct rig *r,
                                                                          struct beats b)
{
    struct arena arena = {0};
    struct consumer_group_heartbeat_request rq = consumer_group_heartbeat_request_default;
    rq.group_id = str_from(b.group);
    rq.member_id = str_from(b.member);
    rq.member_epoch = b.epoch;
    rq.instance_id = str_from(b.instance);
    rq.rack_id = str_from(b.rack);
    rq.rebalance_timeout_ms = b.rebalance_ms == 0 ? -1 : b.rebalance_ms;
    rq.subscribed_topic_regex = str_from(b.regex);
    rq.server_assignor = str_from(b.assignor);
    rq.subscribed_topic_names.items = NULL;
    rq.subscribed_topic_names.count = -1;
    rq.topic_partitions.count = -1;
    if (b.names != NULL) {
        struct str rest = arena_strdup(&arena, str_from(b.names));
        struct str part;
        rq.subscribed_topic_names.items = arena_alloc(&arena, RIG_NAMES_MAX * sizeof(struct str));
        rq.subscribed_topic_names.count = 0;
        while (rest.len > 0 && str_split(&rest, ',', &part)) {
            assert_true(rq.subscribed_topic_names.count < RIG_NAMES_MAX);
            rq.subscribed_topic_names.items[rq.subscribed_topic_names.count++] = part;
        }
    }
    if (b.owned != NULL) {
        put_owned(r, b.owned, &rq, &arena);
    }
    const struct consumer_group_heartbeat_response *answer = rig_send(r, &rq, 1);
    arena_release(&arena);
    return answer;
}

/* The same with the members of a join filled in. */
static unused_ok const struct consumer_group_heartbeat_response *rig_join(struct rig *r,
                                                                          struct beats b)
{
    b.epoch = 0;
    b.owned = "";
    b.rebalance_ms = b.rebalance_ms == 0 ? 60000 : b.rebalance_ms;
    if (b.names == NULL && b.regex == NULL) {
        b.names = "t1";
    }
    return rig_beat(r, b);
}

static unused_ok const struct consumer_member *
rig_member(const struct rig *r, const char *group, const char *member)
{
    const struct group *g = group_find(r->sh, str_from(group));
    assert_non_null(g);
    assert_int_equal(g->kind, GROUP_CONSUMER);
    return consumer_member_find(g->consumer, str_from(member));
}

static unused_ok const struct consumer *rig_group(const struct rig *r, const char *group)
{
    const struct group *g = group_find(r->sh, str_from(group));
    assert_non_null(g);
    assert_int_equal(g->kind, GROUP_CONSUMER);
    return g->consumer;
}

#endif
