/*
 * Answers to JoinGroup and SyncGroup, at once or to a call that a member has parked.
 *
 * Kafka: the parts of GroupMetadataManager that complete awaitingJoinFuture and awaitingSyncFuture.
 */
#include "coord/classic_private.h"

#include "base/base.h"

enum {
    NULL_PROTOCOL_SINCE = 7,
};

/* ---- JoinGroup ---- */

void classic_answer_join_error(struct shard *sh,
                               struct shard_call *call,
                               struct str member_id,
                               enum kafka_error error)
{
    struct join_group_response *rs = call->response;
    if (call->version >= NULL_PROTOCOL_SINCE && rs->protocol_name.len == 0) {
        rs->protocol_name = (struct str){0};
    }
    rs->error_code = (int16_t)error;
    rs->member_id = arena_strdup(call->arena, member_id);
    shard_complete(sh, call);
}

static void put_members(struct classic *cl, struct arena *arena, struct join_group_response *rs)
{
    rs->members.items =
        codec_array(arena, join_group_response_join_group_response_member, cl->members.count);
    rs->members.count = to_i32(to_i64(cl->members.count));
    struct join_group_response_join_group_response_member *at = rs->members.items;
    list_foreach (node, &cl->order) {
        const struct classic_member *m = list_entry(node, struct classic_member, link);
        struct view metadata = classic_member_metadata(m, cl->protocol_name);
        struct str copy = arena_strdup(arena, str_of((const char *)metadata.ptr, metadata.len));
        at->member_id = arena_strdup(arena, m->id);
        at->group_instance_id = arena_strdup(arena, m->instance_id);
        at->metadata = (struct view){.ptr = (const uint8_t *)copy.ptr, .len = copy.len};
        at++;
    }
}

void classic_answer_join(struct classic *cl, struct classic_member *m, struct shard_call *call)
{
    struct join_group_response *rs = call->response;
    rs->generation_id = cl->generation;
    rs->protocol_type = arena_strdup(call->arena, cl->protocol_type);
    rs->protocol_name = arena_strdup(call->arena, cl->protocol_name);
    rs->leader = arena_strdup(call->arena, cl->leader);
    rs->member_id = arena_strdup(call->arena, m->id);
    if (classic_is_leader(cl, m)) {
        put_members(cl, call->arena, rs);
    }
    shard_complete(cl->sh, call);
}

struct shard_call *classic_unpark_join(struct classic_member *m)
{
    struct shard_call *call = m->join;
    check(call != NULL);
    m->join = NULL;
    m->classic->rebalance->awaiting_join--;
    return call;
}

void classic_complete_join_error(struct classic_member *m,
                                 struct str member_id,
                                 enum kafka_error error)
{
    if (m->join == NULL) {
        return;
    }
    classic_answer_join_error(m->classic->sh, classic_unpark_join(m), member_id, error);
}

void classic_park_join(struct classic_member *m, struct shard_call *call)
{
    classic_complete_join_error(m, m->id, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    m->join = call;
    m->classic->rebalance->awaiting_join++;
}

/* ---- SyncGroup ---- */

void classic_answer_sync_error(struct shard *sh, struct shard_call *call, enum kafka_error error)
{
    struct sync_group_response *rs = call->response;
    rs->error_code = (int16_t)error;
    shard_complete(sh, call);
}

void classic_answer_sync(struct classic_member *m, struct shard_call *call)
{
    struct classic *cl = m->classic;
    struct sync_group_response *rs = call->response;
    struct str bytes =
        arena_strdup(call->arena, str_of((const char *)m->assignment.ptr, m->assignment.len));
    rs->protocol_type = arena_strdup(call->arena, cl->protocol_type);
    rs->protocol_name = arena_strdup(call->arena, cl->protocol_name);
    rs->assignment = (struct view){.ptr = (const uint8_t *)bytes.ptr, .len = bytes.len};
    shard_complete(cl->sh, call);
}

struct shard_call *classic_unpark_sync(struct classic_member *m)
{
    struct shard_call *call = m->sync;
    m->sync = NULL;
    return call;
}

void classic_complete_sync_error(struct classic_member *m, enum kafka_error error)
{
    if (m->sync != NULL) {
        classic_answer_sync_error(m->classic->sh, classic_unpark_sync(m), error);
    }
}
