/*
 * One shard driven by hand: what the tests of classic groups share.
 *
 * Every event goes through rig_event_end, which does what the coordinator's owner does (takes the
 * records into a log, the completed calls into their askers) and looks at everything that must
 * always hold: classic_validate for every group, each answer can be encoded in the version that was
 * asked, and a second shard that is fed the log is the same as the live one wherever a group is
 * Stable or Empty.
 */
#ifndef TESTS_CLASSIC_RIG_H
#define TESTS_CLASSIC_RIG_H

#include "base/base.h"

#include "base/mem.h"
#include "coord/classic.h"
#include "coord/group_requests.h"
#include "coord/offsets.h"
#include "same_groups.h"
#include "shard_fixture.h"
#include "wire/codec.h"

enum {
    RIG_LOG_MAX = 20000,
    RIG_WALL_MS = 1000000, /* wall_ms - now_ms */
    API_JOIN = 11,
    API_HEARTBEAT = 12,
    API_LEAVE = 13,
    API_SYNC = 14,
};

struct rig {
    struct shard *sh;
    struct shard_config config;
    struct mem_budget memory;
    struct shard_topics topics;
    int64_t now_ms;
    uint64_t seed;
    struct arena log;           /* bytes of the records */
    struct rig_record *records; /* everything that was ever appended */
    size_t records_count;
    size_t records_new; /* of the last event */
    struct list asks;
    bool is_reload_skipped; /* for tests of many events */
    bool is_sync_old;       /* syncs in version 4, which does not name the protocol */
};

/* A request and its answer. */
struct ask {
    struct list link; /* rig.asks */
    struct shard_call call;
    struct arena arena;
    bool is_done;
    union {
        struct join_group_request join;
        struct sync_group_request sync;
        struct heartbeat_request heartbeat;
        struct leave_group_request leave;
    } rq;
    union {
        struct join_group_response join;
        struct sync_group_response sync;
        struct heartbeat_response heartbeat;
        struct leave_group_response leave;
    } rs;
};

static unused_ok void rig_begin(struct rig *r)
{
    shard_begin(r->sh, r->now_ms, r->now_ms + RIG_WALL_MS, &r->topics);
}

static unused_ok void rig_start(struct rig *r)
{
    r->sh = shard_new(&shard_machines, &r->config, 0, ++r->seed);
    rig_begin(r);
    fixture_replay(r->sh, r->records, r->records_count);
}

static unused_ok void rig_init(struct rig *r)
{
    *r = (struct rig){
        .config = fixture_config(),
        .topics = fixture_no_topics,
        .now_ms = 5000,
        .seed = 7,
    };
    r->config.initial_rebalance_delay_ms = 3000;
    list_init(&r->asks);
    r->records = mem_array(RIG_LOG_MAX, sizeof(r->records[0]));
    rig_start(r);
    shard_loaded(r->sh);
}

static unused_ok void rig_bound_memory(struct rig *r, int64_t max)
{
    r->memory.max = max;
    r->config.memory = &r->memory;
}

/* ---- what must hold after each event ---- */

static unused_ok void rig_take(void *ctx, struct view key, struct view value)
{
    struct rig *r = ctx;
    assert_true(r->records_count < RIG_LOG_MAX);
    r->records[r->records_count].key = fixture_keep(&r->log, key);
    r->records[r->records_count].value = fixture_keep(&r->log, value);
    r->records_count++;
    r->records_new++;
}

static unused_ok void rig_check_reload(struct rig *r)
{
    struct rig second = *r;
    second.config.memory = NULL;
    rig_start(&second);
    hmap_foreach (node, &r->sh->groups) {
        struct group *g = container_of(node, struct group, node);
        if (g->kind == GROUP_CLASSIC && classic_is_as_recorded(g->classic)) {
            const struct group *loaded = group_find(second.sh, g->id);
            assert_non_null(loaded);
            same_classic(g->classic, loaded->classic);
        }
    }
    hmap_foreach (node, &second.sh->groups) {
        classic_validate(container_of(node, struct group, node)->classic);
    }
    shard_free(second.sh);
}

static unused_ok const struct msg *rig_response_msg(int16_t api_key)
{
    switch (api_key) {
    case API_JOIN:
        return &join_group_response_msg;
    case API_SYNC:
        return &sync_group_response_msg;
    case API_HEARTBEAT:
        return &heartbeat_response_msg;
    default:
        return &leave_group_response_msg;
    }
}

static unused_ok void rig_check_encodes(struct ask *a)
{
    struct writer w;
    writer_init(&w);
    assert_int_equal(
        codec_encode(rig_response_msg(a->call.api_key), a->call.version, a->call.response, &w), 0);
    writer_release(&w);
}

static unused_ok void rig_event_end(struct rig *r)
{
    struct list done;
    list_init(&done);
    r->records_new = 0;
    shard_take_records(r->sh, rig_take, r);
    shard_take_completed(r->sh, &done);
    for (struct list *node; (node = list_pop_front(&done)) != NULL;) {
        struct ask *a = container_of(node, struct ask, call.link);
        assert_false(a->is_done); /* once */
        a->is_done = true;
        rig_check_encodes(a);
    }
    hmap_foreach (node, &r->sh->groups) {
        struct group *g = container_of(node, struct group, node);
        if (g->kind == GROUP_CLASSIC) {
            classic_validate(g->classic);
        }
    }
    if (!r->is_reload_skipped) {
        rig_check_reload(r);
    }
}

/* Runs every timer up to `ms` from now, each at its own time. */
static unused_ok void rig_advance(struct rig *r, int64_t ms)
{
    int64_t until = r->now_ms + ms;
    int rounds = 0;
    while (shard_next_deadline(r->sh) <= until) {
        assert_true(++rounds < 100000); /* no busy loop */
        r->now_ms = max_i64(r->now_ms, shard_next_deadline(r->sh));
        rig_begin(r);
        shard_run_timers(r->sh);
        rig_event_end(r);
    }
    r->now_ms = until;
}

/* The owner lets go of the shard and loads it again: parked calls end with this error. */
static unused_ok void rig_restart(struct rig *r, enum kafka_error error)
{
    rig_begin(r);
    shard_abandon(r->sh, error);
    bool is_skipped = r->is_reload_skipped;
    r->is_reload_skipped = true; /* the old one is dead by now */
    rig_event_end(r);
    r->is_reload_skipped = is_skipped;
    shard_free(r->sh);
    rig_start(r);
    shard_loaded(r->sh);
    rig_event_end(r);
}

static unused_ok void rig_free_ask(struct ask *a)
{
    arena_release(&a->arena);
    mem_free(a);
}

static unused_ok void rig_release(struct rig *r)
{
    rig_begin(r);
    shard_abandon(r->sh, KAFKA_ERROR_NOT_COORDINATOR);
    r->is_reload_skipped = true;
    rig_event_end(r);
    for (struct list *node; (node = list_pop_front(&r->asks)) != NULL;) {
        struct ask *a = list_entry(node, struct ask, link);
        assert_true(a->is_done); /* nobody waits for ever */
        rig_free_ask(a);
    }
    shard_free(r->sh);
    assert_int_equal(r->memory.used, 0);
    mem_free(r->records);
    arena_release(&r->log);
}

/* ---- requests ---- */

static unused_ok struct ask *rig_ask(struct rig *r, int16_t api_key, int16_t version)
{
    struct ask *a = mem_zalloc(sizeof(*a));
    a->call = (struct shard_call){
        .api_key = api_key,
        .version = version,
        .client_id = STR("app"),
        .client_host = STR("/127.0.0.1"),
        .body = &a->rq,
        .response = &a->rs,
        .arena = &a->arena,
    };
    list_init(&a->call.link);
    msg_init(rig_response_msg(api_key), &a->rs);
    list_push_back(&r->asks, &a->link);
    return a;
}

static unused_ok struct view bytes_of(const char *text)
{
    return (struct view){.ptr = (const uint8_t *)text, .len = strlen(text)};
}

/* ConsumerProtocolSubscription 0 of one topic. */
#define SUBSCRIBED_T1 "\0\0\0\0\0\1\0\2t1\xff\xff\xff\xff"

/* "range=x,roundrobin=y": names and metadata; "range" alone: a subscription to t1. */
static unused_ok void put_protocols(struct ask *a, const char *list)
{
    struct join_group_request *rq = &a->rq.join;
    struct str rest = arena_strdup(&a->arena, str_from(list));
    struct str part;
    rq->protocols.items = codec_array(&a->arena, join_group_request_join_group_request_protocol, 8);
    rq->protocols.count = 0;
    while (rest.len > 0 && str_split(&rest, ',', &part)) {
        struct join_group_request_join_group_request_protocol *pr =
            &rq->protocols.items[rq->protocols.count++];
        struct str left = part;
        assert_true(str_split(&left, '=', &pr->name));
        pr->metadata = (struct view){.ptr = (const uint8_t *)left.ptr, .len = left.len};
        if (left.len == 0) {
            pr->metadata = (struct view){
                .ptr = (const uint8_t *)SUBSCRIBED_T1,
                .len = sizeof(SUBSCRIBED_T1) - 1,
            };
        }
    }
}

/* What a join says; the rest has the usual values. */
struct joins {
    const char *group;
    const char *member;    /* NULL: "" */
    const char *instance;  /* NULL: none */
    const char *protocols; /* NULL: "range" */
    const char *type;      /* NULL: "consumer" */
    int16_t version;       /* 0: 9 */
    int32_t session_ms;    /* 0: 30000 */
    int32_t rebalance_ms;  /* 0: 60000 */
};

static unused_ok struct ask *rig_join(struct rig *r, struct joins j)
{
    int16_t version = j.version == 0 ? 9 : j.version;
    struct ask *a = rig_ask(r, API_JOIN, version);
    a->rq.join = join_group_request_default;
    a->rq.join.group_id = str_from(j.group);
    a->rq.join.member_id = arena_strdup(&a->arena, str_from(j.member == NULL ? "" : j.member));
    a->rq.join.group_instance_id = str_from(j.instance);
    a->rq.join.protocol_type = str_from(j.type == NULL ? "consumer" : j.type);
    a->rq.join.session_timeout_ms = j.session_ms == 0 ? 30000 : j.session_ms;
    a->rq.join.rebalance_timeout_ms = j.rebalance_ms == 0 ? 60000 : j.rebalance_ms;
    put_protocols(a, j.protocols == NULL ? "range" : j.protocols);
    rig_begin(r);
    group_join(r->sh, &a->call);
    rig_event_end(r);
    return a;
}

/* "m1=bytes" pairs at even and odd places; count of both. */
static unused_ok struct ask *rig_sync_as(struct rig *r,
                                         const char *group,
                                         const char *member,
                                         const char *instance,
                                         int32_t generation,
                                         const char *const *assignments,
                                         int32_t count)
{
    struct ask *a = rig_ask(r, API_SYNC, r->is_sync_old ? 4 : 5);
    struct sync_group_request *rq = &a->rq.sync;
    *rq = sync_group_request_default;
    rq->group_id = str_from(group);
    rq->member_id = str_from(member);
    rq->group_instance_id = str_from(instance);
    rq->generation_id = generation;
    if (!r->is_sync_old) {
        rq->protocol_type = STR("consumer");
        rq->protocol_name = STR("range");
    }
    rq->assignments.items =
        codec_array(&a->arena, sync_group_request_sync_group_request_assignment, (size_t)count / 2);
    rq->assignments.count = count / 2;
    for (int32_t i = 0; i < count / 2; i++) {
        rq->assignments.items[i].member_id = str_from(assignments[(size_t)i * 2]);
        rq->assignments.items[i].assignment = bytes_of(assignments[(size_t)i * 2 + 1]);
    }
    rig_begin(r);
    group_sync(r->sh, &a->call);
    rig_event_end(r);
    return a;
}

#define rig_sync(r, group, member, generation, ...)                                             \
    rig_sync_as((r), (group), (member), NULL, (generation), (const char *const[]){__VA_ARGS__}, \
                (int32_t)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static unused_ok int rig_heartbeat_as(struct rig *r,
                                      const char *group,
                                      const char *member,
                                      const char *instance,
                                      int32_t generation)
{
    struct ask *a = rig_ask(r, API_HEARTBEAT, 4);
    a->rq.heartbeat = heartbeat_request_default;
    a->rq.heartbeat.group_id = str_from(group);
    a->rq.heartbeat.member_id = str_from(member);
    a->rq.heartbeat.group_instance_id = str_from(instance);
    a->rq.heartbeat.generation_id = generation;
    rig_begin(r);
    group_heartbeat(r->sh, &a->call);
    rig_event_end(r);
    assert_true(a->is_done);
    return a->rs.heartbeat.error_code;
}

static unused_ok int
rig_heartbeat(struct rig *r, const char *group, const char *member, int32_t generation)
{
    return rig_heartbeat_as(r, group, member, NULL, generation);
}

/* Members and their instances (NULL: none), in turns. */
static unused_ok struct ask *rig_leave_as(struct rig *r,
                                          int16_t version,
                                          const char *group,
                                          const char *const *members,
                                          int32_t count)
{
    struct ask *a = rig_ask(r, API_LEAVE, version);
    struct leave_group_request *rq = &a->rq.leave;
    *rq = leave_group_request_default;
    rq->group_id = str_from(group);
    rq->members.items =
        codec_array(&a->arena, leave_group_request_member_identity, (size_t)count / 2);
    rq->members.count = count / 2;
    rq->member_id = count == 0 ? STR("") : str_from(members[0]);
    for (int32_t i = 0; i < count / 2; i++) {
        rq->members.items[i].member_id = str_from(members[(size_t)i * 2]);
        rq->members.items[i].group_instance_id = str_from(members[(size_t)i * 2 + 1]);
    }
    rig_begin(r);
    group_leave(r->sh, &a->call);
    rig_event_end(r);
    assert_true(a->is_done);
    return a;
}

#define rig_leave(r, version, group, ...)                                     \
    rig_leave_as((r), (version), (group), (const char *const[]){__VA_ARGS__}, \
                 (int32_t)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

/* ---- short ways ---- */

static unused_ok struct classic *rig_group(struct rig *r, const char *group)
{
    struct group *g = group_find(r->sh, str_from(group));
    assert_non_null(g);
    assert_non_null(g->classic);
    return g->classic;
}

static unused_ok enum classic_state rig_state(struct rig *r, const char *group)
{
    return rig_group(r, group)->state;
}

static unused_ok int join_error(const struct ask *a)
{
    assert_true(a->is_done);
    return a->rs.join.error_code;
}

static unused_ok int sync_error(const struct ask *a)
{
    assert_true(a->is_done);
    return a->rs.sync.error_code;
}

/* The member id of an answer as a C string of the arena. */
static unused_ok const char *id_of(struct ask *a)
{
    return arena_strdup(&a->arena, a->rs.join.member_id).ptr;
}

static unused_ok void assert_str(struct str s, const char *text)
{
    if (text == NULL) {
        assert_true(str_is_null(s));
        return;
    }
    if (!str_is(s, text)) {
        print_error("\"" STR_FMT "\" instead of \"%s\"\n", STR_ARG(s), text);
    }
    assert_true(str_is(s, text));
}

/* A half-joined member's id: the first join of version 4 and above. */
static unused_ok const char *rig_half_join(struct rig *r, struct joins j)
{
    struct ask *a = rig_join(r, j);
    assert_int_equal(join_error(a), KAFKA_ERROR_MEMBER_ID_REQUIRED);
    return id_of(a);
}

/* A dynamic member whose second join is sent; the ask is parked. */
static unused_ok struct ask *rig_join_twice(struct rig *r, struct joins j, const char **ret_id)
{
    *ret_id = rig_half_join(r, j);
    j.member = *ret_id;
    return rig_join(r, j);
}

/* A group of one dynamic member in generation 1, Stable, with assignment "all". */
static unused_ok const char *rig_stable_one(struct rig *r, const char *group)
{
    const char *id;
    struct ask *a = rig_join_twice(r, (struct joins){.group = group}, &id);
    rig_advance(r, r->config.initial_rebalance_delay_ms);
    assert_int_equal(join_error(a), 0);
    struct ask *s = rig_sync(r, group, id, 1, id, "all");
    assert_int_equal(sync_error(s), 0);
    assert_int_equal(rig_state(r, group), CLASSIC_STABLE);
    return id;
}

/* Two members in generation 2, Stable; the first leads. */
static unused_ok void rig_stable_two(struct rig *r, const char *group, const char *ret_ids[2])
{
    ret_ids[0] = rig_stable_one(r, group);
    struct ask *b = rig_join_twice(r, (struct joins){.group = group}, &ret_ids[1]);
    assert_false(b->is_done);
    struct ask *a = rig_join(r, (struct joins){.group = group, .member = ret_ids[0]});
    assert_int_equal(join_error(a), 0);
    assert_int_equal(join_error(b), 0);
    struct ask *sb = rig_sync_as(r, group, ret_ids[1], NULL, 2, NULL, 0);
    assert_false(sb->is_done);
    struct ask *sa = rig_sync(r, group, ret_ids[0], 2, ret_ids[0], "first", ret_ids[1], "second");
    assert_int_equal(sync_error(sa), 0);
    assert_int_equal(sync_error(sb), 0);
    assert_int_equal(rig_state(r, group), CLASSIC_STABLE);
}

static unused_ok int rig_setup(void **state)
{
    struct rig *r = mem_zalloc(sizeof(*r));
    rig_init(r);
    *state = r;
    return 0;
}

static unused_ok int rig_teardown(void **state)
{
    struct rig *r = *state;
    rig_release(r);
    mem_free(r);
    return 0;
}

#endif
