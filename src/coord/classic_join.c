/*
 * JoinGroup 0-9.
 *
 * The order of checks is Kafka's: group id, session timeout, (the group is made when the member has
 * no id yet), room in the group, dead, protocols, then by member: unknown, half-joined, known.
 * A group that has just been made is written as an empty one, also when the join was refused.
 *
 * Differences, all where Kafka leaves a client without an answer or its state in ruins: a join that
 * is parked when the same member joins again is answered REBALANCE_IN_PROGRESS; a member id that
 * would be longer than the log can carry is UNKNOWN_SERVER_ERROR before anything is done; a
 * protocol that a member names twice counts once (Kafka counts it twice and may elect none).
 *
 * Kafka: GroupMetadataManager.classicGroupJoin and what it calls; KIP-62, 345, 394, 559, 800, 814.
 */
#include "coord/classic_private.h"

#include "base/base.h"

enum {
    MEMBER_ID_REQUIRED_SINCE = 4,
};

/* ---- new members ---- */

static void
add_member(struct classic *cl, const struct classic_member *like, struct shard_call *call)
{
    const struct join_group_request *rq = call->body;
    struct shard *sh = cl->sh;
    int64_t cost = classic_member_cost(like);
    if (!shard_charge(sh, cost)) {
        classic_answer_join_error(sh, call, STR(""), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
        return;
    }
    struct classic_rebalance *rb = cl->rebalance;
    if (cl->state == CLASSIC_PREPARING_REBALANCE && rb->previous_state == CLASSIC_EMPTY) {
        rb->has_new_member = true;
    }
    struct classic_member *m = classic_member_new(cl, like, cost);
    m->is_new = true;
    classic_member_link(cl, m);
    classic_park_join(m, call);
    /* It cannot send heartbeats yet. Should it have gone, its join must not stay for ever. */
    classic_session_touch(m, sh->config->new_member_join_timeout_ms);
    struct classic_cause cause = {
        .kind = STORY_NEW_MEMBER,
        .member = m->id,
        .detail = rq->reason,
    };
    story_event(sh, cl->group, STORY_JOINED, m->id, rq->reason);
    classic_rebalance_or_complete(cl, &cause);
}

static struct str new_member_id(struct shard *sh, struct shard_call *call, struct str prefix)
{
    char uuid[SHARD_JAVA_UUID_SIZE];
    shard_java_uuid(sh, uuid);
    size_t len = prefix.len + 1 + sizeof(uuid) - 1;
    char *text = arena_alloc(call->arena, len);
    if (prefix.len > 0) {
        memcpy(text, prefix.ptr, prefix.len);
    }
    text[prefix.len] = '-';
    memcpy(text + prefix.len + 1, uuid, sizeof(uuid) - 1);
    return str_of(text, len);
}

static void join_new(struct classic *cl, struct shard_call *call)
{
    const struct join_group_request *rq = call->body;
    struct shard *sh = cl->sh;
    if (cl->state == CLASSIC_DEAD) {
        classic_answer_join_error(sh, call, STR(""), KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    if (!classic_supports(cl, rq->protocol_type, rq)) {
        classic_answer_join_error(sh, call, STR(""), KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
        return;
    }
    bool is_static = !str_is_null(rq->group_instance_id);
    struct str id = new_member_id(sh, call, is_static ? rq->group_instance_id : call->client_id);
    if (id.len > CLASSIC_TEXT_MAX) {
        classic_answer_join_error(sh, call, STR(""), KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
        return;
    }
    struct classic_member *old =
        is_static ? classic_member_find_instance(cl, rq->group_instance_id) : NULL;
    if (old != NULL) {
        classic_join_static(cl, old, call, id);
        return;
    }
    if (!is_static && call->version >= MEMBER_ID_REQUIRED_SINCE) {
        if (classic_pending_add(cl, id, rq->session_timeout_ms)) {
            classic_answer_join_error(sh, call, id, KAFKA_ERROR_MEMBER_ID_REQUIRED);
        } else {
            classic_answer_join_error(sh, call, STR(""), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
        }
        return;
    }
    struct classic_member like;
    classic_member_of_request(call, id, &like);
    add_member(cl, &like, call);
}

/* ---- members that have an id ---- */

static void rejoin(struct classic_member *m, struct shard_call *call)
{
    const struct join_group_request *rq = call->body;
    struct classic *cl = m->classic;
    struct classic_member like;
    classic_member_of_request(call, m->id, &like);
    int64_t cost = classic_member_cost(&like) + to_i64(m->assignment.len);
    int64_t more = cost - m->charged;
    if (more > 0 && !shard_charge(cl->sh, more)) {
        classic_answer_join_error(cl->sh, call, m->id, KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
        return;
    }
    if (more < 0) {
        shard_give(cl->sh, -more);
    }
    m->charged = cost;
    classic_member_update(m, &like);
    classic_park_join(m, call);
    struct classic_cause cause = {
        .kind = STORY_MEMBER_REJOINED,
        .member = m->id,
        .detail = rq->reason,
    };
    story_event(cl->sh, cl->group, STORY_REJOINED, m->id, rq->reason);
    classic_rebalance_or_complete(cl, &cause);
}

static void join_pending(struct classic *cl, struct classic_pending *pe, struct shard_call *call)
{
    const struct join_group_request *rq = call->body;
    if (!str_is_null(rq->group_instance_id)) {
        /* No static member is ever half-joined: Kafka trips over it. */
        classic_answer_join_error(cl->sh, call, STR(""), KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
        return;
    }
    struct classic_member like;
    classic_member_of_request(call, rq->member_id, &like);
    classic_pending_remove(pe);
    add_member(cl, &like, call);
}

static void join_known(struct classic *cl, struct shard_call *call)
{
    const struct join_group_request *rq = call->body;
    struct shard *sh = cl->sh;
    if (cl->state == CLASSIC_DEAD) {
        classic_answer_join_error(sh, call, rq->member_id, KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    if (!classic_supports(cl, rq->protocol_type, rq)) {
        classic_answer_join_error(sh, call, rq->member_id, KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
        return;
    }
    struct classic_pending *pe = classic_pending_find(cl, rq->member_id);
    if (pe != NULL) {
        join_pending(cl, pe, call);
        return;
    }
    enum kafka_error error = classic_check_member(cl, rq->member_id, rq->group_instance_id);
    if (error != KAFKA_ERROR_NONE) {
        classic_answer_join_error(sh, call, rq->member_id, error);
        return;
    }
    struct classic_member *m = classic_member_find(cl, rq->member_id);
    bool is_settled = cl->state == CLASSIC_COMPLETING_REBALANCE ||
                      (cl->state == CLASSIC_STABLE && !classic_is_leader(cl, m));
    if (is_settled && classic_member_matches(m, rq)) {
        /* It has missed the answer of this generation. */
        classic_answer_join(cl, m, call);
        return;
    }
    rejoin(m, call);
}

/* ---- the door ---- */

/* May one more be parked? Who is parked already may; members above the limit (it was lowered, or
 * somebody was faster) are turned away, which is how a group shrinks. */
static bool has_room(const struct classic *cl, const struct classic_member *m)
{
    size_t max = (size_t)max_i64(cl->sh->config->max_size, 0);
    switch (cl->state) {
    case CLASSIC_EMPTY:
    case CLASSIC_DEAD:
        return true;
    case CLASSIC_PREPARING_REBALANCE:
        return (m != NULL && m->join != NULL) || cl->rebalance->awaiting_join < max;
    case CLASSIC_COMPLETING_REBALANCE:
    case CLASSIC_STABLE:
        return m != NULL || cl->members.count < max;
    }
    check(false);
    return false;
}

static void turn_away(struct classic *cl, struct classic_member *m, struct shard_call *call)
{
    const struct join_group_request *rq = call->body;
    struct classic_pending *pe = classic_pending_find(cl, rq->member_id);
    if (m != NULL) {
        classic_member_remove(m);
    }
    if (pe != NULL) {
        classic_pending_remove(pe);
    }
    classic_answer_join_error(cl->sh, call, STR(""), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
}

/* An empty consumer group becomes a classic one. */
static struct group *make_classic(struct shard *sh, struct group *g, struct str id)
{
    if (g != NULL) {
        group_emit_tombstones(sh, g);
        g = group_find(sh, id);
    }
    if (g == NULL) {
        return group_add_classic(sh, id);
    }
    if (g->kind == GROUP_CONSUMER) {
        group_become_classic(sh, g);
    }
    return g;
}

void classic_join(struct shard *sh, struct group *g, struct shard_call *call)
{
    const struct join_group_request *rq = call->body;
    bool is_unknown = rq->member_id.len == 0;
    bool is_new_group = g == NULL || g->kind == GROUP_CONSUMER;
    if (is_new_group && !is_unknown) {
        classic_answer_join_error(sh, call, rq->member_id, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
        return;
    }
    if (is_new_group) {
        if (!group_has_room(sh, rq->group_id)) {
            classic_answer_join_error(sh, call, STR(""), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
            return;
        }
        g = make_classic(sh, g, rq->group_id);
        classic_append_record(sh, g);
    }
    struct classic *cl = g->classic;
    struct classic_member *m = is_unknown ? NULL : classic_member_find(cl, rq->member_id);
    if (!has_room(cl, m)) {
        turn_away(cl, m, call);
    } else if (is_unknown) {
        join_new(cl, call);
    } else {
        join_known(cl, call);
    }
}
