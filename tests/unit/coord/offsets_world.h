/*
 * A world for tests of committed offsets and of group administration: one shard, a few topics, a
 * clock, and the log: every record that an event emits is kept, so that another shard can be made
 * from it at any time. One test at a time; a world is the cmocka state.
 */
#ifndef TESTS_OFFSETS_WORLD_H
#define TESTS_OFFSETS_WORLD_H

#include "shard_fixture.h"

#include "base/mem.h"
#include "coord/classic.h"
#include "coord/group.h"
#include "coord/group_admin.h"
#include "coord/group_requests.h"
#include "coord/offsets.h"
#include "wire/gen/errors.h"
#include "wire/gen/messages.h"

#define WORLD_TOPICS_MAX  8
#define WORLD_WALL_MS     INT64_C(1700000000000)
#define WORLD_RETENTION   INT64_C(604800000)
#define WORLD_CHECK_MS    INT64_C(600000)
#define WORLD_MEMBER_MS   60000
#define WORLD_STATE_BYTES ((size_t)1 << 20)

struct world_record {
    struct view key;
    struct view value;
    int64_t producer_id;
    int marker; /* 1: commit, -1: abort; then key and value are nothing */
};

struct world {
    struct arena arena; /* of requests and answers, and of the log: freed with the world */
    struct shard *sh;
    struct shard_config config;
    struct mem_budget memory;
    struct shard_topics topics;
    struct shard_topic all[WORLD_TOPICS_MAX];
    size_t topics_count;
    int64_t now_ms;
    struct world_record *records; /* owned */
    size_t records_count;
    size_t records_cap;
    size_t emitted; /* records of the last event */
};

/* ---- topics ---- */

static inline bool world_by_name(void *ctx, struct str name, struct shard_topic *ret)
{
    struct world *w = ctx;
    for (size_t i = 0; i < w->topics_count; i++) {
        if (str_equal(w->all[i].name, name)) {
            *ret = w->all[i];
            return true;
        }
    }
    return false;
}

static inline bool world_by_id(void *ctx, const struct uuid *id, struct shard_topic *ret)
{
    struct world *w = ctx;
    for (size_t i = 0; i < w->topics_count; i++) {
        if (uuid_equal(&w->all[i].id, id)) {
            *ret = w->all[i];
            return true;
        }
    }
    return false;
}

static inline void
world_each(void *ctx, bool (*visit)(void *, const struct shard_topic *), void *visit_ctx)
{
    struct world *w = ctx;
    for (size_t i = 0; i < w->topics_count && visit(visit_ctx, &w->all[i]); i++) {
    }
}

static inline struct uuid world_id(uint8_t number)
{
    return (struct uuid){.bytes = {number, 7, number}};
}

static inline void
world_settings(void *ctx unused_ok, struct str group unused_ok, struct group_settings *ret)
{
    *ret = (struct group_settings){45000, 5000, 1000};
}

/* ---- events ---- */

static inline void world_add_record(struct world *w, struct world_record record)
{
    if (w->records_count == w->records_cap) {
        w->records =
            mem_grow(w->records, &w->records_cap, w->records_count + 1, sizeof(*w->records));
    }
    w->records[w->records_count++] = record;
}

static inline void world_take_record(void *ctx, struct view key, struct view value)
{
    struct world *w = ctx;
    world_add_record(w, (struct world_record){.key = fixture_keep(&w->arena, key),
                                              .value = fixture_keep(&w->arena, value),
                                              .producer_id = -1});
    w->emitted++;
}

static inline void world_begin(struct world *w)
{
    shard_begin(w->sh, w->now_ms, WORLD_WALL_MS + w->now_ms, &w->topics);
    w->emitted = 0;
}

/* The end of an event: its records go to the log, its calls are forgotten. */
static inline void world_end(struct world *w)
{
    (void)shard_take_records(w->sh, world_take_record, w);
    fixture_drop_completed(w->sh);
    offsets_validate(w->sh);
}

static inline void world_run(struct world *w, int64_t ms)
{
    w->now_ms += ms;
    world_begin(w);
    shard_run_timers(w->sh);
    world_end(w);
}

static inline struct shard *world_new_shard(struct world *w)
{
    struct shard *sh = shard_new(&shard_machines, &w->config, 0, 42);
    return sh;
}

static inline int world_setup(void **state)
{
    struct world *w = mem_zalloc(sizeof(*w));
    w->config = fixture_config();
    w->config.offsets_retention_ms = WORLD_RETENTION;
    w->config.offsets_retention_check_interval_ms = WORLD_CHECK_MS;
    w->config.settings = world_settings;
    w->config.memory = &w->memory;
    w->topics = (struct shard_topics){.by_name = world_by_name,
                                      .by_id = world_by_id,
                                      .each = world_each,
                                      .racks = fixture_no_racks,
                                      .ctx = w,
                                      .version = 1};
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        w->all[w->topics_count++] = (struct shard_topic){
            .name = str_from(names[i]), .id = world_id((uint8_t)(i + 1)), .partitions_count = 4};
    }
    w->sh = world_new_shard(w);
    world_begin(w);
    shard_loaded(w->sh);
    world_end(w);
    *state = w;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *w = *state;
    world_begin(w);
    shard_abandon(w->sh, KAFKA_ERROR_NOT_COORDINATOR);
    world_end(w);
    w->sh = shard_free(w->sh);
    assert_int_equal(atomic_load(&w->memory.used), 0); /* what was charged was given back */
    mem_free(w->records);
    arena_release(&w->arena);
    mem_free(w);
    return 0;
}

/* ---- a reload ---- */

static inline struct shard *world_reload(struct world *w)
{
    struct shard *sh = world_new_shard(w);
    shard_begin(sh, w->now_ms, WORLD_WALL_MS + w->now_ms, &w->topics);
    for (size_t i = 0; i < w->records_count; i++) {
        const struct world_record *r = &w->records[i];
        if (r->marker != 0) {
            shard_replay_end_txn(sh, r->producer_id, r->marker > 0);
        } else {
            assert_int_equal(shard_replay(sh, r->producer_id, r->key, r->value), 0);
        }
        offsets_validate(sh);
    }
    return sh;
}

/* The present shard is dropped and made anew from the log. */
static inline void world_restart(struct world *w)
{
    struct shard *sh = world_reload(w);
    world_begin(w);
    shard_abandon(w->sh, KAFKA_ERROR_NOT_COORDINATOR);
    world_end(w);
    shard_free(w->sh);
    w->sh = sh;
    world_begin(w);
    shard_loaded(w->sh);
    world_end(w);
}

/* Committed offsets as text, sorted. */
struct world_lines {
    struct arena *arena;
    struct str *lines;
    size_t count;
    size_t cap;
    struct str group;
};

static inline void
world_add_line(void *ctx, struct str topic, int32_t partition, const struct committed_offset *at)
{
    struct world_lines *wl = ctx;
    if (wl->count == wl->cap) {
        wl->lines = mem_grow(wl->lines, &wl->cap, wl->count + 1, sizeof(*wl->lines));
    }
    char id[UUID_TEXT_SIZE];
    uuid_print(&at->topic_id, id);
    wl->lines[wl->count++] =
        arena_printf(wl->arena,
                     STR_FMT "/" STR_FMT "/%d = %" PRId64 " epoch %d at %" PRId64 " until %" PRId64
                             " of %s [" STR_FMT "]",
                     STR_ARG(wl->group), STR_ARG(topic), partition, at->offset, at->leader_epoch,
                     at->commit_timestamp, at->expire_timestamp, id, STR_ARG(at->metadata));
}

static inline int world_compare_lines(const void *a, const void *b)
{
    return str_compare(*(const struct str *)a, *(const struct str *)b);
}

static inline struct world_lines world_lines_of(struct world *w, const struct shard *sh)
{
    struct world_lines wl = {.arena = &w->arena};
    hmap_foreach (node, &sh->groups) {
        const struct group *g = container_of(node, struct group, node);
        wl.group = g->id;
        offsets_each(g, world_add_line, &wl);
    }
    if (wl.count > 0) {
        qsort(wl.lines, wl.count, sizeof(*wl.lines), world_compare_lines);
    }
    return wl;
}

/* What the log says is what the shard has. */
static inline void world_check_reload(struct world *w)
{
    struct shard *again = world_reload(w);
    struct world_lines live = world_lines_of(w, w->sh);
    struct world_lines loaded = world_lines_of(w, again);
    assert_int_equal(live.count, loaded.count);
    for (size_t i = 0; i < live.count; i++) {
        assert_string_equal(live.lines[i].ptr, loaded.lines[i].ptr);
    }
    mem_free(live.lines);
    mem_free(loaded.lines);
    shard_free(again);
}

/* ---- requests ---- */

struct world_commit {
    const char *group;
    int32_t generation; /* -1: none */
    const char *member; /* NULL: "" */
    const char *instance;
    const char *topic; /* NULL: "a" */
    int32_t partition;
    int64_t offset;
    int32_t leader_epoch;
    const char *metadata;
    int64_t retention_ms; /* 0: as the broker has it */
    int16_t version;      /* 0: 9 */
};

/* Returns the error of its one partition. */
static inline int16_t world_commit_one(struct world *w, struct world_commit c)
{
    struct offset_commit_request_offset_commit_request_partition p =
        offset_commit_request_offset_commit_request_partition_default;
    p.partition_index = c.partition;
    p.committed_offset = c.offset;
    p.committed_leader_epoch = c.leader_epoch;
    p.committed_metadata = str_from(c.metadata);
    struct offset_commit_request_offset_commit_request_topic t =
        offset_commit_request_offset_commit_request_topic_default;
    t.name = str_from(c.topic == NULL ? "a" : c.topic);
    t.partitions.items = &p;
    t.partitions.count = 1;
    struct offset_commit_request body = offset_commit_request_default;
    body.group_id = str_from(c.group);
    body.generation_id_or_member_epoch = c.generation;
    body.member_id = str_from(c.member == NULL ? "" : c.member);
    body.group_instance_id = str_from(c.instance);
    body.retention_time_ms = c.retention_ms == 0 ? -1 : c.retention_ms;
    body.topics.items = &t;
    body.topics.count = 1;
    struct shard_topic known = {.name = t.name};
    (void)world_by_name(w, t.name, &known);
    struct offset_commit_topic checked_topic = {.name = known.name, .id = known.id};
    struct offset_commit_check checked = {.topics = &checked_topic};
    struct offset_commit_response response = offset_commit_response_default;
    struct shard_call call = {
        .api_key = 8,
        .version = c.version == 0 ? 9 : c.version,
        .client_id = STR("test"),
        .client_host = STR("/127.0.0.1"),
        .body = &body,
        .response = &response,
        .arena = &w->arena,
    };
    world_begin(w);
    offsets_commit(w->sh, &call, &checked);
    world_end(w);
    assert_int_equal(response.topics.count, 1);
    assert_int_equal(response.topics.items[0].partitions.count, 1);
    assert_int_equal(response.topics.items[0].partitions.items[0].partition_index, c.partition);
    return response.topics.items[0].partitions.items[0].error_code;
}

/* A simple group commits. */
static inline void
world_commit_simple(struct world *w, const char *group, const char *topic, int32_t p, int64_t o)
{
    struct world_commit c = {
        .group = group, .generation = -1, .topic = topic, .partition = p, .offset = o};
    assert_int_equal(world_commit_one(w, c), 0);
}

struct world_fetched {
    int16_t error; /* of the partition, or of the group */
    int64_t offset;
    int32_t leader_epoch;
    struct str metadata;
};

static inline struct world_fetched world_fetch_as(struct world *w,
                                                  const char *group,
                                                  const char *topic,
                                                  int32_t partition,
                                                  bool require_stable,
                                                  const struct uuid *id)
{
    struct offset_fetch_request_offset_fetch_request_topics t =
        offset_fetch_request_offset_fetch_request_topics_default;
    t.name = str_from(topic);
    if (id != NULL) {
        t.topic_id = *id;
    }
    t.partition_indexes.items = &partition;
    t.partition_indexes.count = 1;
    struct offset_fetch_request_offset_fetch_request_group g =
        offset_fetch_request_offset_fetch_request_group_default;
    g.group_id = str_from(group);
    g.topics.items = &t;
    g.topics.count = 1;
    struct offset_fetch_response_offset_fetch_response_group ret;
    world_begin(w);
    offsets_fetch(w->sh, &g, require_stable, &w->arena, &ret);
    world_end(w);
    assert_int_equal(w->emitted, 0);
    if (ret.error_code != 0) {
        return (struct world_fetched){.error = ret.error_code, .offset = -1};
    }
    assert_int_equal(ret.topics.count, 1);
    assert_int_equal(ret.topics.items[0].partitions.count, 1);
    const struct offset_fetch_response_offset_fetch_response_partitions *p =
        &ret.topics.items[0].partitions.items[0];
    return (struct world_fetched){.error = p->error_code,
                                  .offset = p->committed_offset,
                                  .leader_epoch = p->committed_leader_epoch,
                                  .metadata = p->metadata};
}

static inline int64_t
world_fetch(struct world *w, const char *group, const char *topic, int32_t partition)
{
    return world_fetch_as(w, group, topic, partition, false, NULL).offset;
}

static inline enum kafka_error world_delete_group(struct world *w, const char *group)
{
    world_begin(w);
    enum kafka_error error = group_delete(w->sh, str_from(group));
    world_end(w);
    return error;
}

/* ConsumerProtocolSubscription version 0 of one topic. */
static inline struct view world_subscription(struct world *w, const char *topic)
{
    size_t n = strlen(topic);
    uint8_t *to = arena_alloc(&w->arena, n + 12);
    to[5] = 1;
    to[7] = (uint8_t)n;
    memcpy(to + 8, topic, n);
    memset(to + 8 + n, 0xff, 4);
    return (struct view){.ptr = to, .len = n + 12};
}

/* One member joins (JoinGroup 3) and syncs; the group is stable then. Returns its id. */
static inline const char *
world_join(struct world *w, const char *group, const char *protocol_type, const char *topic)
{
    struct join_group_request_join_group_request_protocol protocol =
        join_group_request_join_group_request_protocol_default;
    protocol.name = STR("range");
    protocol.metadata = world_subscription(w, topic);
    struct join_group_request join = join_group_request_default;
    join.group_id = str_from(group);
    join.session_timeout_ms = WORLD_MEMBER_MS;
    join.rebalance_timeout_ms = WORLD_MEMBER_MS;
    join.member_id = STR("");
    join.protocol_type = str_from(protocol_type);
    join.protocols.items = &protocol;
    join.protocols.count = 1;
    struct join_group_response joined = join_group_response_default;
    struct shard_call call = {.api_key = 11,
                              .version = 3,
                              .client_id = STR("test"),
                              .client_host = STR("/127.0.0.1"),
                              .body = &join,
                              .response = &joined,
                              .arena = &w->arena};
    world_begin(w);
    group_join(w->sh, &call);
    world_end(w);
    world_run(w, 0);
    assert_int_equal(joined.error_code, 0);
    const char *member = arena_strdup(&w->arena, joined.member_id).ptr;
    struct sync_group_request_sync_group_request_assignment assignment =
        sync_group_request_sync_group_request_assignment_default;
    assignment.member_id = str_from(member);
    assignment.assignment = (struct view){.ptr = (const uint8_t *)"mine", .len = 4};
    struct sync_group_request sync = sync_group_request_default;
    sync.group_id = str_from(group);
    sync.generation_id = joined.generation_id;
    sync.member_id = str_from(member);
    sync.assignments.items = &assignment;
    sync.assignments.count = 1;
    struct sync_group_response synced = sync_group_response_default;
    struct shard_call sync_call = {.api_key = 14,
                                   .version = 3,
                                   .client_id = STR("test"),
                                   .client_host = STR("/127.0.0.1"),
                                   .body = &sync,
                                   .response = &synced,
                                   .arena = &w->arena};
    world_begin(w);
    group_sync(w->sh, &sync_call);
    world_end(w);
    assert_int_equal(synced.error_code, 0);
    return member;
}

static inline void world_leave(struct world *w, const char *group, const char *member)
{
    struct leave_group_request_member_identity identity =
        leave_group_request_member_identity_default;
    identity.member_id = str_from(member);
    struct leave_group_request leave = leave_group_request_default;
    leave.group_id = str_from(group);
    leave.members.items = &identity;
    leave.members.count = 1;
    struct leave_group_response left = leave_group_response_default;
    struct shard_call call = {.api_key = 13,
                              .version = 4,
                              .client_id = STR("test"),
                              .client_host = STR("/127.0.0.1"),
                              .body = &leave,
                              .response = &left,
                              .arena = &w->arena};
    world_begin(w);
    group_leave(w->sh, &call);
    world_end(w);
    assert_int_equal(left.error_code, 0);
}

#endif
