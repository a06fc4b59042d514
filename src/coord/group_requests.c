/*
 * What the classic requests check before they look at a group, and the choice by its kind:
 *
 *                  none                an empty consumer group    one with members    classic
 *     Join         made by the classic machine                    migrate             classic
 *     Sync         UNKNOWN_MEMBER_ID                              migrate             classic
 *     Heartbeat    UNKNOWN_MEMBER_ID   migrate                    migrate             classic
 *     Leave        classic             migrate                    migrate             classic
 *
 * (A sync of an empty classic group is UNKNOWN_MEMBER_ID too.)
 */
#include "coord/group_requests.h"

#include "base/base.h"
#include "coord/classic.h"
#include "coord/migrate.h"

enum {
    PROTOCOL_REQUIRED_SINCE = 5, /* SyncGroup */
};

void group_join(struct shard *sh, struct shard_call *call)
{
    const struct join_group_request *rq = call->body;
    if (rq->group_id.len == 0) {
        classic_answer_join_error(sh, call, rq->member_id, KAFKA_ERROR_INVALID_GROUP_ID);
        return;
    }
    if (rq->session_timeout_ms < sh->config->min_session_timeout_ms ||
        rq->session_timeout_ms > sh->config->max_session_timeout_ms) {
        classic_answer_join_error(sh, call, rq->member_id, KAFKA_ERROR_INVALID_SESSION_TIMEOUT);
        return;
    }
    struct group *g = group_find(sh, rq->group_id);
    if (g != NULL && g->kind == GROUP_CONSUMER && !group_is_empty(g)) {
        migrate_join(sh, g, call);
    } else {
        classic_join(sh, g, call);
    }
}

static void refuse_sync(struct shard *sh, struct shard_call *call, enum kafka_error error)
{
    struct sync_group_response *rs = call->response;
    rs->error_code = (int16_t)error;
    shard_complete(sh, call);
}

void group_sync(struct shard *sh, struct shard_call *call)
{
    const struct sync_group_request *rq = call->body;
    if (call->version >= PROTOCOL_REQUIRED_SINCE &&
        (str_is_null(rq->protocol_type) || str_is_null(rq->protocol_name))) {
        refuse_sync(sh, call, KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL);
        return;
    }
    if (rq->group_id.len == 0) {
        refuse_sync(sh, call, KAFKA_ERROR_INVALID_GROUP_ID);
        return;
    }
    struct group *g = group_find(sh, rq->group_id);
    if (g == NULL || group_is_empty(g)) {
        refuse_sync(sh, call, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    } else if (g->kind == GROUP_CONSUMER) {
        migrate_sync(sh, g, call);
    } else {
        classic_sync(sh, g, call);
    }
}

static void refuse_heartbeat(struct shard *sh, struct shard_call *call, enum kafka_error error)
{
    struct heartbeat_response *rs = call->response;
    rs->error_code = (int16_t)error;
    shard_complete(sh, call);
}

void group_heartbeat(struct shard *sh, struct shard_call *call)
{
    const struct heartbeat_request *rq = call->body;
    if (rq->group_id.len == 0) {
        refuse_heartbeat(sh, call, KAFKA_ERROR_INVALID_GROUP_ID);
        return;
    }
    struct group *g = group_find(sh, rq->group_id);
    if (g == NULL) {
        refuse_heartbeat(sh, call, KAFKA_ERROR_UNKNOWN_MEMBER_ID);
    } else if (g->kind == GROUP_CONSUMER) {
        migrate_heartbeat(sh, g, call);
    } else {
        classic_heartbeat(sh, g, call);
    }
}

void group_leave(struct shard *sh, struct shard_call *call)
{
    const struct leave_group_request *rq = call->body;
    if (rq->group_id.len == 0) {
        struct leave_group_response *rs = call->response;
        rs->error_code = KAFKA_ERROR_INVALID_GROUP_ID;
        shard_complete(sh, call);
        return;
    }
    struct group *g = group_find(sh, rq->group_id);
    if (g != NULL && g->kind == GROUP_CONSUMER) {
        migrate_leave(sh, g, call);
    } else {
        classic_leave(sh, g, call);
    }
}
