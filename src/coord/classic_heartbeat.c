/*
 * Heartbeat 0-4, sessions, and what a commit asks.
 *
 * A session is a deadline in the member; the timer in the heap is left where it is and looks at the
 * deadline when it fires, so that a heartbeat costs no heap operation. Only a deadline that comes
 * nearer moves the timer.
 *
 * Kafka: GroupMetadataManager.classicGroupHeartbeat, expireClassicGroupMemberHeartbeat,
 * ClassicGroupMember.hasSatisfiedHeartbeat, ClassicGroup.validateOffsetCommit.
 */
#include "coord/classic_private.h"

#include "base/base.h"

/* ---- sessions ---- */

/* Who is parked needs no heartbeat, but a new member's join must not be parked for ever. */
static bool is_excused(const struct classic_member *m)
{
    return !m->is_new && (m->join != NULL || m->sync != NULL);
}

void classic_session_fire(struct timer *t, void *ctx unused_ok)
{
    struct classic_member *m = container_of(t, struct classic_member, session);
    struct classic *cl = m->classic;
    struct shard *sh = cl->sh;
    if (sh->now_ms < m->session_deadline_ms) {
        timers_arm(&sh->timers, t, m->session_deadline_ms);
        return;
    }
    if (cl->state == CLASSIC_DEAD || is_excused(m)) {
        return; /* parked: it begins anew with the answer */
    }
    struct str id = str_of(mem_strndup(m->id.ptr, m->id.len), m->id.len);
    struct classic_cause cause = {.kind = STORY_SESSION_TIMEOUT, .member = id};
    story_event(sh, cl->group, STORY_EXPIRED, id, STR("no heartbeat within its session timeout"));
    classic_member_remove(m);
    classic_member_lost(cl, &cause);
    mem_free((void *)(uintptr_t)id.ptr);
}

/* ---- Heartbeat ---- */

static enum kafka_error beat(struct classic *cl, const struct heartbeat_request *rq)
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
    struct classic_member *m = classic_member_find(cl, rq->member_id);
    classic_session_touch(m, m->session_timeout_ms);
    return cl->state == CLASSIC_PREPARING_REBALANCE ? KAFKA_ERROR_REBALANCE_IN_PROGRESS
                                                    : KAFKA_ERROR_NONE;
}

void classic_heartbeat(struct shard *sh, struct group *g, struct shard_call *call)
{
    struct heartbeat_response *rs = call->response;
    rs->error_code = (int16_t)beat(g->classic, call->body);
    shard_complete(sh, call);
}

/* ---- commits ---- */

static enum kafka_error check_commit(const struct classic *cl,
                                     struct str member_id,
                                     struct str instance_id,
                                     int32_t generation,
                                     bool is_transactional)
{
    if (cl->state == CLASSIC_DEAD) {
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    }
    if (generation < 0 && cl->state == CLASSIC_EMPTY) {
        return KAFKA_ERROR_NONE; /* an admin, or a consumer outside of group management */
    }
    if (generation >= 0 || member_id.len > 0 || !str_is_null(instance_id)) {
        enum kafka_error error = classic_check_member(cl, member_id, instance_id);
        if (error != KAFKA_ERROR_NONE) {
            return error;
        }
        if (generation != cl->generation) {
            return KAFKA_ERROR_ILLEGAL_GENERATION;
        }
    } else if (!is_transactional && cl->state != CLASSIC_EMPTY) {
        return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
    }
    if (!is_transactional && cl->state == CLASSIC_COMPLETING_REBALANCE) {
        return KAFKA_ERROR_REBALANCE_IN_PROGRESS;
    }
    return KAFKA_ERROR_NONE;
}

enum kafka_error classic_check_commit(struct group *g,
                                      struct str member_id,
                                      struct str instance_id,
                                      int32_t generation,
                                      bool is_transactional)
{
    struct classic *cl = g->classic;
    enum kafka_error error = check_commit(cl, member_id, instance_id, generation, is_transactional);
    bool keeps_session = cl->state == CLASSIC_STABLE || cl->state == CLASSIC_PREPARING_REBALANCE;
    if (error == KAFKA_ERROR_NONE && !is_transactional && keeps_session) {
        struct classic_member *m = classic_member_find(cl, member_id);
        classic_session_touch(m, m->session_timeout_ms);
    }
    return error;
}

bool classic_offset_expiry_base(const struct group *g,
                                struct str topic,
                                int64_t commit_timestamp,
                                int64_t *ret_base_ms)
{
    const struct classic *cl = g->classic;
    if (classic_is_subscribed(g, topic)) {
        return false;
    }
    bool has_protocol = !str_is_null(cl->protocol_type);
    if (has_protocol && cl->state == CLASSIC_EMPTY) {
        *ret_base_ms = cl->state_wall_ms >= 0 ? cl->state_wall_ms : commit_timestamp;
        return true;
    }
    bool is_aware = str_is(cl->protocol_type, "consumer") && cl->rebalance->are_topics_known &&
                    cl->state == CLASSIC_STABLE;
    if (has_protocol && !is_aware) {
        return false;
    }
    *ret_base_ms = commit_timestamp;
    return true;
}
