/*
 * A static member comes back without its id (its process was restarted): it takes the place of the
 * old id, whose parked calls are fenced. In a stable group that would elect the same protocol again
 * nothing else happens: the exchanged id is written, and the member goes on with the old
 * assignment. While the leader's assignment is awaited it was made for the old id, so the group
 * must begin anew.
 *
 * From version 9 on a leader that comes back learns all members and is told not to assign
 * (skipAssignment); older ones are told that the old id leads, so that they act as followers.
 *
 * Kafka: GroupMetadataManager.updateStaticMemberThenRebalanceOrCompleteJoin,
 * ClassicGroup.replaceStaticMember; KIP-345, 814.
 */
#include "coord/classic_private.h"

#include "base/base.h"

enum {
    SKIP_ASSIGNMENT_SINCE = 9,
};

/* What it was before, should the record be too large. */
struct before {
    struct str id;
    struct str leader;
    struct classic_protocol *protocols; /* owned */
    size_t protocols_count;
    int32_t rebalance_timeout_ms;
    int32_t session_timeout_ms;
};

static void refuse_record(struct classic_member *m, struct before *b, struct shard_call *call)
{
    struct classic *cl = m->classic;
    struct join_group_response *rs = call->response;
    m->rebalance_timeout_ms = b->rebalance_timeout_ms;
    m->session_timeout_ms = b->session_timeout_ms;
    classic_member_set_protocols(m, b->protocols, b->protocols_count);
    b->protocols = NULL;
    m = classic_member_rename(m, b->id);
    classic_session_touch(m, m->session_timeout_ms);
    rs->generation_id = cl->generation;
    rs->protocol_type = arena_strdup(call->arena, cl->protocol_type);
    rs->protocol_name = arena_strdup(call->arena, cl->protocol_name);
    rs->leader = b->leader;
    classic_answer_join_error(cl->sh, call, STR(""), KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
}

static void go_on(struct classic_member *m, struct before *b, struct shard_call *call)
{
    struct classic *cl = m->classic;
    if (!classic_record_fits(cl)) {
        refuse_record(m, b, call);
        return;
    }
    classic_append_record(cl->sh, cl->group);
    struct join_group_response *rs = call->response;
    if (call->version >= SKIP_ASSIGNMENT_SINCE) {
        rs->skip_assignment = classic_is_leader(cl, m);
        classic_answer_join(cl, m, call);
        return;
    }
    rs->generation_id = cl->generation;
    rs->protocol_type = arena_strdup(call->arena, cl->protocol_type);
    rs->protocol_name = arena_strdup(call->arena, cl->protocol_name);
    rs->leader = b->leader;
    rs->member_id = arena_strdup(call->arena, m->id);
    shard_complete(cl->sh, call);
}

static void replace(struct classic_member *m, struct before *b, struct shard_call *call)
{
    const struct join_group_request *rq = call->body;
    struct classic *cl = m->classic;
    struct classic_cause cause = {
        .kind = STORY_STATIC_REPLACED,
        .member = m->id,
        .detail = rq->reason,
    };
    switch (cl->state) {
    case CLASSIC_STABLE:
        if (str_equal(cl->protocol_name, classic_elect_protocol(cl))) {
            go_on(m, b, call);
            return;
        }
        break;
    case CLASSIC_COMPLETING_REBALANCE:
    case CLASSIC_PREPARING_REBALANCE:
        break;
    case CLASSIC_EMPTY:
    case CLASSIC_DEAD:
        check(false); /* no members */
        break;
    }
    classic_park_join(m, call);
    classic_rebalance_or_complete(cl, &cause);
}

void classic_join_static(struct classic *cl,
                         struct classic_member *old,
                         struct shard_call *call,
                         struct str new_id)
{
    struct shard *sh = cl->sh;
    struct classic_member like;
    classic_member_of_request(call, new_id, &like);
    /* Host and client stay those of the old one, as in Kafka. */
    like.client_id = old->client_id;
    like.client_host = old->client_host;
    int64_t cost = classic_member_cost(&like) + to_i64(old->assignment.len);
    int64_t more = cost - old->charged;
    if (more > 0 && !shard_charge(sh, more)) {
        classic_answer_join_error(sh, call, STR(""), KAFKA_ERROR_GROUP_MAX_SIZE_REACHED);
        return;
    }
    if (more < 0) {
        shard_give(sh, -more);
    }
    old->charged = cost;
    struct before b = {
        .id = arena_strdup(call->arena, old->id),
        .leader = arena_strdup(call->arena, cl->leader),
        .protocols = classic_protocols_copy(old->protocols, old->protocols_count),
        .protocols_count = old->protocols_count,
        .rebalance_timeout_ms = old->rebalance_timeout_ms,
        .session_timeout_ms = old->session_timeout_ms,
    };
    story_event(sh, cl->group, STORY_FENCED, old->id, STR("its instance came back as another"));
    classic_complete_join_error(old, old->id, KAFKA_ERROR_FENCED_INSTANCE_ID);
    classic_complete_sync_error(old, KAFKA_ERROR_FENCED_INSTANCE_ID);
    struct classic_member *m = classic_member_rename(old, new_id);
    classic_session_touch(m, m->session_timeout_ms);
    classic_member_update(m, &like);
    story_event(sh, cl->group, STORY_JOINED, m->id, m->instance_id);
    replace(m, &b, call);
    mem_free(b.protocols);
}
