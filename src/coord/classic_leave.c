/*
 * LeaveGroup 0-5: members leave, or an administrator removes static ones by their instance (with an
 * empty member id). Each member of the request has its own answer; before version 3 there is one
 * member, and its error is the answer's. After the last of them the group begins one rebalance.
 *
 * Kafka: GroupMetadataManager.classicGroupLeave; KIP-345 (several members), 800 (reasons).
 */
#include "coord/classic_private.h"

#include "base/base.h"

enum {
    SEVERAL_MEMBERS_SINCE = 3,
};

static void
remove_member(struct classic_member *m, struct str reason, struct classic_cause *ret_cause)
{
    struct classic *cl = m->classic;
    story_event(cl->sh, cl->group, STORY_LEFT, m->id, reason);
    ret_cause->detail = reason;
    classic_member_remove(m);
}

static enum kafka_error leave_one(struct classic *cl,
                                  const struct leave_group_request_member_identity *mi,
                                  struct classic_cause *ret_cause)
{
    if (mi->member_id.len == 0) {
        struct classic_member *m = str_is_null(mi->group_instance_id)
                                       ? NULL
                                       : classic_member_find_instance(cl, mi->group_instance_id);
        if (m == NULL) {
            return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
        }
        remove_member(m, mi->reason, ret_cause);
        ret_cause->kind = STORY_MEMBER_REMOVED;
        ret_cause->member = mi->group_instance_id;
        return KAFKA_ERROR_NONE;
    }
    struct classic_pending *pe = classic_pending_find(cl, mi->member_id);
    if (pe != NULL) {
        classic_pending_remove(pe);
        ret_cause->member = mi->member_id;
        return KAFKA_ERROR_NONE;
    }
    enum kafka_error error = classic_check_member(cl, mi->member_id, mi->group_instance_id);
    if (error == KAFKA_ERROR_NONE) {
        remove_member(classic_member_find(cl, mi->member_id), mi->reason, ret_cause);
        ret_cause->member = mi->member_id;
    }
    return error;
}

/* What follows when some have left. */
static void go_on(struct classic *cl, const struct classic_cause *cause)
{
    switch (cl->state) {
    case CLASSIC_STABLE:
    case CLASSIC_COMPLETING_REBALANCE:
        classic_rebalance_begin(cl, cause);
        break;
    case CLASSIC_PREPARING_REBALANCE:
        story_begin(cl->sh, cl->group, cause->kind, cause->member, cause->detail);
        classic_maybe_complete_join(cl);
        break;
    case CLASSIC_EMPTY:
    case CLASSIC_DEAD:
        break;
    }
}

/* The members of the request, in one form for all versions. */
struct leavers {
    const struct leave_group_request_member_identity *items;
    int32_t count;
    struct leave_group_request_member_identity single;
};

static void read_leavers(const struct shard_call *call, struct leavers *ret)
{
    const struct leave_group_request *rq = call->body;
    if (call->version >= SEVERAL_MEMBERS_SINCE) {
        ret->items = rq->members.items;
        ret->count = rq->members.count < 0 ? 0 : rq->members.count;
        return;
    }
    ret->single = leave_group_request_member_identity_default;
    ret->single.member_id = rq->member_id;
    ret->items = &ret->single;
    ret->count = 1;
}

void classic_leave(struct shard *sh, struct group *g, struct shard_call *call)
{
    struct classic *cl = g == NULL ? NULL : g->classic;
    struct leave_group_response *rs = call->response;
    if (cl != NULL && cl->state == CLASSIC_DEAD) {
        rs->error_code = KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        shard_complete(sh, call);
        return;
    }
    struct leavers le;
    read_leavers(call, &le);
    bool has_left = false;
    struct classic_cause cause = {.kind = STORY_MEMBER_LEFT};
    bool is_list = call->version >= SEVERAL_MEMBERS_SINCE;
    if (is_list) {
        rs->members.items =
            codec_array(call->arena, leave_group_response_member_response, (size_t)le.count);
        rs->members.count = le.count;
    }
    for (int32_t i = 0; i < le.count; i++) {
        enum kafka_error error =
            cl == NULL ? KAFKA_ERROR_UNKNOWN_MEMBER_ID : leave_one(cl, &le.items[i], &cause);
        has_left = has_left || error == KAFKA_ERROR_NONE;
        if (is_list) {
            rs->members.items[i].member_id = le.items[i].member_id;
            rs->members.items[i].group_instance_id = le.items[i].group_instance_id;
            rs->members.items[i].error_code = (int16_t)error;
        } else {
            rs->error_code = (int16_t)error;
        }
    }
    if (has_left) {
        go_on(cl, &cause);
    }
    shard_complete(sh, call);
}
