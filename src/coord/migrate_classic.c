/*
 * Classic members inside a consumer group: JoinGroup, SyncGroup, Heartbeat and LeaveGroup.
 *
 * The generation of such a member is its member epoch; a join is what a heartbeat with a
 * subscription is for the others: it takes one step of the reconciliation, and its owned partitions
 * are those of the subscription's bytes. A sync fetches what the member holds then. No call is ever
 * parked here.
 *
 *     the member                                     heartbeat   sync
 *     is below the target's epoch                    27          27, unless it must revoke
 *     must revoke (has joined, gives back, joins)    27          what it holds
 *     waits for partitions that are free now         27          what it holds
 *     else                                           0           what it holds
 *
 * One timer (`rebalance`) stands for Kafka's two: a heartbeat or a sync that says 27 starts it, a
 * member that does not join in time is fenced; a join starts it anew, a member that does not sync
 * in time is fenced.
 *
 * Checks of a join, in Kafka's order: policy 23, full 81, protocols 23, id required 79, instance
 * 25 and 82, bytes of the subscription 23, (ours) memory 81.
 *
 * Kafka: GroupMetadataManager.classicGroupJoinToConsumerGroup, classicGroupSyncToConsumerGroup,
 * classicGroupHeartbeatToConsumerGroup, classicGroupLeaveToConsumerGroup.
 */
#include "coord/migrate.h"

#include "base/base.h"
#include "base/mem.h"
#include "coord/migrate_private.h"
#include "coord/story.h"
#include "coord/subscription.h"
#include "wire/gen/messages.h"

enum {
    MEMBER_ID_REQUIRED_SINCE = 4,
    NULL_PROTOCOL_SINCE = 7,
    SEVERAL_MEMBERS_SINCE = 3,
};

/* ---- timers ---- */

static void arm_join_timeout(struct shard *sh, struct consumer_member *m)
{
    if (!timer_is_armed(&m->rebalance)) {
        timers_arm(&sh->timers, &m->rebalance, sh->now_ms + max_i64(m->rebalance_timeout_ms, 0));
    }
}

static void arm_sync_timeout(struct shard *sh, struct consumer_member *m, int32_t timeout_ms)
{
    timers_arm(&sh->timers, &m->rebalance, sh->now_ms + max_i64(timeout_ms, 0));
}

/* ---- the member of a request ---- */

/* NONE, UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID. */
static enum kafka_error find_member(const struct consumer *cg,
                                    struct str member_id,
                                    struct str instance_id,
                                    struct consumer_member **ret)
{
    struct consumer_member *m = str_is_null(instance_id)
                                    ? consumer_member_find(cg, member_id)
                                    : consumer_member_of_instance(cg, instance_id);
    if (m == NULL) {
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    }
    if (!str_equal(m->id, member_id)) {
        return KAFKA_ERROR_FENCED_INSTANCE_ID;
    }
    *ret = m;
    return KAFKA_ERROR_NONE;
}

static enum kafka_error find_classic_member(const struct consumer *cg,
                                            struct str member_id,
                                            struct str instance_id,
                                            int32_t generation,
                                            struct consumer_member **ret)
{
    struct consumer_member *m = NULL;
    enum kafka_error error = find_member(cg, member_id, instance_id, &m);
    if (error != KAFKA_ERROR_NONE) {
        return error;
    }
    if (m->classic == NULL) {
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    }
    if (m->epoch != generation) {
        return KAFKA_ERROR_ILLEGAL_GENERATION;
    }
    *ret = m;
    return KAFKA_ERROR_NONE;
}

/* ---- JoinGroup ---- */

struct migrate_join {
    struct shard *sh;
    struct group *g;
    struct shard_call *call;
    const struct join_group_request *rq;
    struct str member_id;         /* the request's, or a new one */
    struct consumer_member *base; /* who it is, or whom it replaces; NULL: new */
    bool is_replacement;
    bool is_downgrade;
    struct consumer_protocol_subscription subscription;
    struct consumer_classic classic;
};

static void refuse_join(const struct migrate_join *mj, enum kafka_error error)
{
    struct join_group_response *rs = mj->call->response;
    rs->error_code = (int16_t)error;
    if (mj->call->version >= NULL_PROTOCOL_SINCE) {
        rs->protocol_name = (struct str){0};
    }
    rs->member_id = error == KAFKA_ERROR_MEMBER_ID_REQUIRED ? mj->member_id : STR("");
    shard_complete(mj->sh, mj->call);
}

static bool supports_protocol(const struct consumer_member *m, struct str name)
{
    for (size_t i = 0; i < m->classic->protocols_count; i++) {
        if (str_equal(m->classic->protocols[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* Do all classic members support it? */
static bool all_support(const struct consumer *cg, struct str name)
{
    if (cg->classic_members_count == 0) {
        return true;
    }
    hmap_foreach (node, &cg->members) {
        const struct consumer_member *m = container_of(node, struct consumer_member, node);
        if (m->classic != NULL && !supports_protocol(m, name)) {
            return false;
        }
    }
    return true;
}

static bool are_protocols_supported(const struct migrate_join *mj)
{
    if (!str_is(mj->rq->protocol_type, "consumer")) {
        return false;
    }
    for (int32_t i = 0; i < mj->rq->protocols.count; i++) {
        if (all_support(mj->g->consumer, mj->rq->protocols.items[i].name)) {
            return true;
        }
    }
    return false;
}

static enum kafka_error check_group(const struct migrate_join *mj)
{
    const struct consumer *cg = mj->g->consumer;
    const struct shard_config *config = mj->sh->config;
    if (config->migration_policy == MIGRATION_DISABLED) {
        return KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL;
    }
    bool is_in = consumer_member_of_instance(cg, mj->rq->group_instance_id) != NULL ||
                 consumer_member_find(cg, mj->member_id) != NULL;
    if (!is_in && to_i64(cg->members_count) >= config->consumer_max_size) {
        return KAFKA_ERROR_GROUP_MAX_SIZE_REACHED;
    }
    return are_protocols_supported(mj) ? KAFKA_ERROR_NONE : KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL;
}

/* Sets base, is_replacement and is_downgrade. */
static enum kafka_error check_member(struct migrate_join *mj)
{
    const struct consumer *cg = mj->g->consumer;
    struct str instance = mj->rq->group_instance_id;
    if (str_is_null(instance)) {
        mj->base = consumer_member_find(cg, mj->member_id);
        return KAFKA_ERROR_NONE;
    }
    struct consumer_member *owner = consumer_member_of_instance(cg, instance);
    if (mj->rq->member_id.len > 0) {
        mj->base = owner;
        return find_member(cg, mj->rq->member_id, instance, &owner);
    }
    if (owner == NULL) {
        mj->base = consumer_member_find(cg, mj->member_id);
        return KAFKA_ERROR_NONE;
    }
    mj->base = owner;
    mj->is_replacement = true;
    size_t others = cg->members_count - 1;
    mj->is_downgrade = owner->classic == NULL && cg->classic_members_count == others &&
                       (mj->sh->config->migration_policy & MIGRATION_DOWNGRADE) != 0 &&
                       to_i64(cg->members_count) <= mj->sh->config->max_size;
    return KAFKA_ERROR_NONE;
}

static enum kafka_error read_subscription(struct migrate_join *mj)
{
    int16_t version;
    int r = subscription_parse(mj->rq->protocols.items[0].metadata, mj->call->arena,
                               &mj->subscription, &version);
    return r < 0 ? KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL : KAFKA_ERROR_NONE;
}

static int32_t rebalance_timeout_ms(const struct migrate_join *mj)
{
    return mj->call->version == 0 ? mj->rq->session_timeout_ms : mj->rq->rebalance_timeout_ms;
}

/* The member as it shall stand; texts are the request's and those of base. */
static void describe(struct migrate_join *mj, struct consumer_member *ret)
{
    struct arena *arena = mj->call->arena;
    const struct consumer_member *base = mj->base;
    size_t count = to_size(mj->rq->protocols.count);
    mj->classic = (struct consumer_classic){
        .session_timeout_ms = mj->rq->session_timeout_ms,
        .protocols = arena_alloc(arena, sizeof(*mj->classic.protocols) * count),
        .protocols_count = count,
    };
    for (size_t i = 0; i < count; i++) {
        mj->classic.protocols[i].name = mj->rq->protocols.items[i].name;
        mj->classic.protocols[i].metadata = mj->rq->protocols.items[i].metadata;
    }
    size_t topics_count = to_size(mj->subscription.topics.count);
    consumer_sort_names(mj->subscription.topics.items, &topics_count);
    struct consumer_member updated = {
        .id = mj->member_id,
        .regex = STR(""),
        .rebalance_timeout_ms = -1,
        .client_id = str_is_null(mj->call->client_id) ? STR("") : mj->call->client_id,
        .client_host = mj->call->client_host,
        .topics = mj->subscription.topics.items,
        .topics_count = topics_count,
        .classic = &mj->classic,
    };
    if (base != NULL) {
        updated.instance_id = base->instance_id;
        updated.rack_id = base->rack_id;
        updated.server_assignor = base->server_assignor;
        updated.rebalance_timeout_ms = base->rebalance_timeout_ms;
    }
    if (!str_is_null(mj->rq->group_instance_id)) {
        updated.instance_id = mj->rq->group_instance_id;
    }
    if (mj->subscription.rack_id.len > 0) {
        updated.rack_id = mj->subscription.rack_id;
    }
    if (rebalance_timeout_ms(mj) != -1) {
        updated.rebalance_timeout_ms = rebalance_timeout_ms(mj);
    }
    *ret = updated;
}

static bool has_room(struct shard *sh, const struct consumer_member *m)
{
    size_t bytes = sizeof(*m) + m->id.len + m->instance_id.len + m->rack_id.len + m->client_id.len +
                   m->client_host.len + sizeof(*m->classic);
    for (size_t i = 0; i < m->topics_count; i++) {
        bytes += sizeof(m->topics[i]) + m->topics[i].len;
    }
    bytes += to_size(classic_protocols_bytes(m->classic->protocols, m->classic->protocols_count));
    if (!shard_charge(sh, to_i64(bytes))) {
        return false;
    }
    shard_give(sh, to_i64(bytes));
    return true;
}

static void read_owned(const struct migrate_join *mj, struct assignment *ret)
{
    const struct shard_topics *topics = mj->sh->topics;
    struct assignment_builder ab;
    assignment_builder_init(&ab, mj->call->arena);
    for (int32_t i = 0; i < mj->subscription.owned_partitions.count; i++) {
        const struct consumer_protocol_subscription_topic_partition *tp =
            &mj->subscription.owned_partitions.items[i];
        struct shard_topic t;
        if (!topics->by_name(topics->ctx, tp->topic, &t)) {
            continue;
        }
        for (int32_t p = 0; p < tp->partitions.count; p++) {
            assignment_builder_add(&ab, &t.id, tp->partitions.items[p]);
        }
    }
    assignment_builder_finish(&ab, ret);
}

static void answer_join(const struct migrate_join *mj, int32_t generation)
{
    struct join_group_response *rs = mj->call->response;
    rs->member_id = mj->member_id;
    rs->generation_id = generation;
    rs->protocol_type = STR("consumer");
    rs->protocol_name = mj->rq->protocols.items[0].name;
    shard_complete(mj->sh, mj->call);
}

/* The last one that spoke the consumer protocol comes back as a classic member. When the target is
 * of the present epoch it takes the assignment of the one before it; else all must rejoin. */
static void join_downgrade(struct migrate_join *mj, const struct consumer_member *updated)
{
    const struct consumer *cg = mj->g->consumer;
    bool is_changed = !consumer_same_topics(mj->base, updated) || mj->base->regex.len > 0;
    int32_t epoch = cg->epoch + (is_changed ? 1 : 0);
    bool is_stale = cg->target_epoch < epoch;
    story_event(mj->sh, mj->g, STORY_JOINED, mj->member_id,
                STR("takes the place of its instance's member, by the classic protocol"));
    migrate_downgrade_replaced(mj->sh, mj->g, mj->base, updated, epoch, is_stale);
    answer_join(mj, is_stale ? 0 : epoch);
}

void migrate_join(struct shard *sh, struct group *g, struct shard_call *call)
{
    struct migrate_join mj = {
        .sh = sh,
        .g = g,
        .call = call,
        .rq = call->body,
    };
    bool is_unknown = mj.rq->member_id.len == 0;
    mj.member_id = mj.rq->member_id;
    if (is_unknown) {
        char *text = arena_alloc(call->arena, UUID_TEXT_SIZE);
        shard_kafka_uuid(sh, text);
        mj.member_id = str_from(text);
    }
    enum kafka_error error = check_group(&mj);
    if (error == KAFKA_ERROR_NONE && is_unknown && call->version >= MEMBER_ID_REQUIRED_SINCE &&
        str_is_null(mj.rq->group_instance_id)) {
        error = KAFKA_ERROR_MEMBER_ID_REQUIRED;
    }
    if (error == KAFKA_ERROR_NONE) {
        error = check_member(&mj);
    }
    if (error == KAFKA_ERROR_NONE) {
        error = read_subscription(&mj);
    }
    if (error != KAFKA_ERROR_NONE) {
        refuse_join(&mj, error);
        return;
    }
    struct consumer_member updated;
    describe(&mj, &updated);
    if (!has_room(sh, &updated)) {
        refuse_join(&mj, KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
        return;
    }
    if (mj.is_downgrade) {
        join_downgrade(&mj, &updated);
        return;
    }
    if (mj.is_replacement) {
        mj.base = consumer_replace_member(sh, g, mj.base, mj.member_id);
        describe(&mj, &updated); /* its texts have moved */
    }
    struct assignment owned;
    struct consumer_member *m;
    read_owned(&mj, &owned);
    consumer_update_member(sh, g, &updated, &owned, &m);
    consumer_touch_member(sh, m);
    arm_sync_timeout(sh, m, rebalance_timeout_ms(&mj));
    answer_join(&mj, m->epoch);
}

/* ---- SyncGroup ---- */

static enum kafka_error check_sync(struct shard *sh,
                                   const struct consumer *cg,
                                   const struct sync_group_request *rq,
                                   struct consumer_member **ret)
{
    enum kafka_error error =
        find_classic_member(cg, rq->member_id, rq->group_instance_id, rq->generation_id, ret);
    if (error != KAFKA_ERROR_NONE) {
        return error;
    }
    struct consumer_member *m = *ret;
    if (!str_is_null(rq->protocol_type) && !str_is(rq->protocol_type, "consumer")) {
        return KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL;
    }
    if (!str_is_null(rq->protocol_name) &&
        (m->classic->protocols_count == 0 ||
         !str_equal(rq->protocol_name, m->classic->protocols[0].name))) {
        return KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL;
    }
    /* One that must revoke has joined already; the next join is for later. */
    if (cg->target_epoch > m->epoch && m->state != MEMBER_UNREVOKED_PARTITIONS) {
        arm_join_timeout(sh, m);
        return KAFKA_ERROR_REBALANCE_IN_PROGRESS;
    }
    return KAFKA_ERROR_NONE;
}

void migrate_sync(struct shard *sh, struct group *g, struct shard_call *call)
{
    const struct sync_group_request *rq = call->body;
    struct sync_group_response *rs = call->response;
    struct consumer_member *m = NULL;
    enum kafka_error error = check_sync(sh, g->consumer, rq, &m);
    if (error != KAFKA_ERROR_NONE) {
        rs->error_code = (int16_t)error;
        shard_complete(sh, call);
        return;
    }
    timers_disarm(&sh->timers, &m->rebalance);
    consumer_touch_member(sh, m);
    struct view metadata =
        m->classic->protocols_count == 0 ? (struct view){0} : m->classic->protocols[0].metadata;
    rs->protocol_type = rq->protocol_type;
    rs->protocol_name = rq->protocol_name;
    rs->assignment = subscription_build_assignment(&m->assigned, sh->topics,
                                                   migrate_version_of(metadata), call->arena);
    story_event(sh, g, STORY_SYNCED, m->id, (struct str){0});
    shard_complete(sh, call);
}

/* ---- Heartbeat ---- */

/* Is something of its target still held by another? */
static bool is_waiting(const struct consumer *cg, const struct consumer_member *m)
{
    for (int32_t i = 0; i < m->target.count; i++) {
        const struct topic_partitions *tp = &m->target.topics[i];
        for (int32_t p = 0; p < tp->count; p++) {
            if (!assignment_has(&m->assigned, &tp->id, tp->partitions[p]) &&
                consumer_partition_epoch(cg, &tp->id, tp->partitions[p]) != -1) {
                return true;
            }
        }
    }
    return false;
}

static bool must_rejoin(const struct consumer *cg, const struct consumer_member *m)
{
    return m->epoch < cg->target_epoch || m->state == MEMBER_UNREVOKED_PARTITIONS ||
           (m->state == MEMBER_UNRELEASED_PARTITIONS && !is_waiting(cg, m));
}

void migrate_heartbeat(struct shard *sh, struct group *g, struct shard_call *call)
{
    const struct heartbeat_request *rq = call->body;
    struct heartbeat_response *rs = call->response;
    struct consumer_member *m = NULL;
    enum kafka_error error = find_classic_member(g->consumer, rq->member_id, rq->group_instance_id,
                                                 rq->generation_id, &m);
    if (error == KAFKA_ERROR_NONE) {
        consumer_touch_member(sh, m);
        if (must_rejoin(g->consumer, m)) {
            arm_join_timeout(sh, m);
            error = KAFKA_ERROR_REBALANCE_IN_PROGRESS;
        }
    }
    rs->error_code = (int16_t)error;
    shard_complete(sh, call);
}

/* ---- LeaveGroup ---- */

static enum kafka_error find_leaver(const struct consumer *cg,
                                    const struct leave_group_request_member_identity *mi,
                                    struct consumer_member **ret)
{
    if (!str_is_null(mi->group_instance_id) && mi->member_id.len == 0) {
        *ret = consumer_member_of_instance(cg, mi->group_instance_id); /* by an administrator */
        return *ret == NULL ? KAFKA_ERROR_UNKNOWN_MEMBER_ID : KAFKA_ERROR_NONE;
    }
    return find_member(cg, mi->member_id, mi->group_instance_id, ret);
}

static int compare_pointers(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (struct consumer_member *const *)a;
    uintptr_t y = (uintptr_t) * (struct consumer_member *const *)b;
    return (x > y) - (x < y);
}

/* One that is named twice leaves once; the order of the request stays. */
static size_t drop_repeated(struct consumer_member **members, size_t count, struct arena *arena)
{
    struct consumer_member **sorted = arena_alloc(arena, sizeof(*sorted) * count);
    memcpy(sorted, members, sizeof(*sorted) * count);
    qsort(sorted, count, sizeof(*sorted), compare_pointers);
    size_t different = 1;
    for (size_t i = 1; i < count; i++) {
        if (sorted[i] != sorted[i - 1]) {
            sorted[different++] = sorted[i];
        }
    }
    if (different < count) {
        memcpy(members, sorted, sizeof(*sorted) * different);
    }
    return different;
}

void migrate_leave(struct shard *sh, struct group *g, struct shard_call *call)
{
    const struct leave_group_request *rq = call->body;
    struct leave_group_response *rs = call->response;
    bool is_list = call->version >= SEVERAL_MEMBERS_SINCE;
    struct leave_group_request_member_identity single = leave_group_request_member_identity_default;
    single.member_id = rq->member_id;
    const struct leave_group_request_member_identity *items = is_list ? rq->members.items : &single;
    int32_t count = is_list ? (rq->members.count < 0 ? 0 : rq->members.count) : 1;
    struct consumer_member **leavers =
        arena_alloc(call->arena, sizeof(struct consumer_member *) * (to_size(count) + 1));
    size_t leavers_count = 0;
    struct str reason = {0};
    if (is_list) {
        rs->members.items =
            codec_array(call->arena, leave_group_response_member_response, to_size(count));
        rs->members.count = count;
    }
    for (int32_t i = 0; i < count; i++) {
        struct consumer_member *m = NULL;
        enum kafka_error error = find_leaver(g->consumer, &items[i], &m);
        if (error == KAFKA_ERROR_NONE) {
            leavers[leavers_count++] = m;
            reason = items[i].reason;
            story_event(sh, g, STORY_LEFT, m->id, items[i].reason);
        }
        if (is_list) {
            rs->members.items[i].member_id = items[i].member_id;
            rs->members.items[i].group_instance_id = items[i].group_instance_id;
            rs->members.items[i].error_code = (int16_t)error;
        } else {
            rs->error_code = (int16_t)error;
        }
    }
    if (leavers_count > 0) {
        leavers_count = drop_repeated(leavers, leavers_count, call->arena);
        consumer_remove_members(sh, g, leavers, leavers_count, STORY_MEMBER_LEFT, reason);
    }
    shard_complete(sh, call);
}
