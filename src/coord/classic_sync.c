/*
 * SyncGroup 0-5: the leader brings the assignments, everybody gets his.
 *
 * Assignments are opaque bytes. One for somebody who is no member is ignored, a member without one
 * gets an empty one, of two for the same member the last counts. The record is appended in the
 * state before Stable and the answers wait until it is committed (the owner holds completed calls
 * back), so nobody works with an assignment that a new coordinator would not know.
 *
 * A second sync of a member that is parked already ends the first with REBALANCE_IN_PROGRESS:
 * Kafka would never answer it.
 *
 * Kafka: GroupMetadataManager.classicGroupSync, validateSyncGroup, propagateAssignment; KIP-559.
 */
#include "coord/classic_private.h"

#include "base/base.h"

static void has_synced(struct classic_member *m)
{
    struct classic_rebalance *rb = m->classic->rebalance;
    if (!m->has_synced) {
        m->has_synced = true;
        rb->pending_sync--;
        story_event(m->classic->sh, m->classic->group, STORY_SYNCED, m->id, (struct str){0});
    }
    if (rb->pending_sync == 0) {
        timers_disarm(&m->classic->sh->timers, &rb->sync);
    }
}

/* ---- the leader's ---- */

/* Memory for all of them at once: a refusal must come before anything is changed. */
static bool charge_assignments(struct classic *cl, const struct sync_group_request *rq)
{
    int64_t bytes = 0;
    for (int32_t i = 0; i < rq->assignments.count; i++) {
        if (classic_member_find(cl, rq->assignments.items[i].member_id) != NULL) {
            bytes += to_i64(rq->assignments.items[i].assignment.len);
        }
    }
    if (!shard_charge(cl->sh, bytes)) {
        return false;
    }
    shard_give(cl->sh, bytes); /* each member takes its part now */
    return true;
}

static void set_assignments(struct classic *cl, const struct sync_group_request *rq)
{
    list_foreach (node, &cl->order) {
        classic_member_set_assignment(list_entry(node, struct classic_member, link),
                                      (struct view){0});
    }
    for (int32_t i = 0; i < rq->assignments.count; i++) {
        struct classic_member *m = classic_member_find(cl, rq->assignments.items[i].member_id);
        if (m != NULL) {
            classic_member_set_assignment(m, rq->assignments.items[i].assignment);
        }
    }
}

static void sync_leader(struct classic *cl, const struct sync_group_request *rq)
{
    set_assignments(cl, rq);
    if (!classic_record_fits(cl)) {
        struct classic_cause cause = {
            .kind = STORY_MEMBER_REJOINED,
            .detail = STR("the assignment is too large to be stored"),
        };
        classic_reset_assignments(cl, KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
        classic_rebalance_begin(cl, &cause);
        return;
    }
    classic_append_record(cl->sh, cl->group);
    list_foreach (node, &cl->order) {
        struct classic_member *m = list_entry(node, struct classic_member, link);
        if (m->sync != NULL) {
            classic_answer_sync(m, classic_unpark_sync(m));
            classic_session_touch(m, m->session_timeout_ms);
        }
    }
    classic_move(cl, CLASSIC_STABLE);
    story_step(cl->sh, cl->group, STORY_STEP_STABLE, cl->generation);
}

static void sync_completing(struct classic_member *m, struct shard_call *call)
{
    const struct sync_group_request *rq = call->body;
    struct classic *cl = m->classic;
    bool is_leader = classic_is_leader(cl, m);
    if (is_leader && !charge_assignments(cl, rq)) {
        classic_answer_sync_error(cl->sh, call, KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
        return;
    }
    classic_complete_sync_error(m, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    m->sync = call;
    has_synced(m);
    if (is_leader) {
        sync_leader(cl, rq);
    }
}

/* ---- the door ---- */

static bool differs(struct str theirs, struct str ours)
{
    return !str_is_null(theirs) && !str_is_null(ours) && !str_equal(theirs, ours);
}

static enum kafka_error check_sync(const struct classic *cl, const struct sync_group_request *rq)
{
    if (cl->state == CLASSIC_DEAD) {
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    }
    enum kafka_error error = classic_check_member(cl, rq->member_id, rq->group_instance_id);
    if (error != KAFKA_ERROR_NONE) {
        return error;
    }
    if (rq->generation_id != cl->generation) {
        return KAFKA_ERROR_ILLEGAL_GENERATION;
    }
    if (differs(rq->protocol_type, cl->protocol_type) ||
        differs(rq->protocol_name, cl->protocol_name)) {
        return KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL;
    }
    return KAFKA_ERROR_NONE;
}

void classic_sync(struct shard *sh, struct group *g, struct shard_call *call)
{
    const struct sync_group_request *rq = call->body;
    struct classic *cl = g->classic;
    enum kafka_error error = check_sync(cl, rq);
    if (error != KAFKA_ERROR_NONE) {
        classic_answer_sync_error(sh, call, error);
        return;
    }
    struct classic_member *m = classic_member_find(cl, rq->member_id);
    switch (cl->state) {
    case CLASSIC_PREPARING_REBALANCE:
        classic_answer_sync_error(sh, call, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
        break;
    case CLASSIC_COMPLETING_REBALANCE:
        sync_completing(m, call);
        break;
    case CLASSIC_STABLE:
        has_synced(m);
        classic_answer_sync(m, call);
        break;
    case CLASSIC_EMPTY:
    case CLASSIC_DEAD:
        check(false); /* refused above */
        break;
    }
}
