/*
 * A classic group as group.h sees it: the table of its kind.
 *
 * Kafka: ClassicGroup's part of the interface Group.
 */
#include "coord/classic_private.h"

#include "base/base.h"

static const struct classic_timers timers = {
    .session = classic_session_fire,
    .pending = classic_pending_fire,
    .join = classic_join_fire,
    .sync = classic_sync_fire,
};

static void init(struct shard *sh, struct group *g)
{
    g->classic = classic_new(sh, g, &timers);
}

static void release(struct group *g)
{
    g->classic = classic_free(g->classic);
}

static struct str state_name(const struct group *g)
{
    switch (g->classic->state) {
    case CLASSIC_EMPTY:
        return STR("Empty");
    case CLASSIC_PREPARING_REBALANCE:
        return STR("PreparingRebalance");
    case CLASSIC_COMPLETING_REBALANCE:
        return STR("CompletingRebalance");
    case CLASSIC_STABLE:
        return STR("Stable");
    case CLASSIC_DEAD:
        return STR("Dead");
    }
    check(false);
    return STR("");
}

static struct str protocol_type(const struct group *g)
{
    return str_is_null(g->classic->protocol_type) ? STR("") : g->classic->protocol_type;
}

static bool is_empty(const struct group *g)
{
    return g->classic->state == CLASSIC_EMPTY;
}

static bool is_dead(const struct group *g)
{
    return g->classic->state == CLASSIC_DEAD;
}

static enum kafka_error check_commit(struct shard *sh unused_ok,
                                     struct group *g,
                                     struct str member_id,
                                     struct str instance_id,
                                     int32_t generation,
                                     bool is_transactional,
                                     int16_t version unused_ok)
{
    return classic_check_commit(g, member_id, instance_id, generation, is_transactional);
}

/* A commit of another generation has been refused. */
static bool is_commit_late(const struct group *g unused_ok,
                           struct str member_id unused_ok,
                           int32_t generation unused_ok)
{
    return false;
}

static enum kafka_error check_commit_partition(const struct group *g unused_ok,
                                               struct str member_id unused_ok,
                                               int32_t generation unused_ok,
                                               const struct uuid *topic_id unused_ok,
                                               int32_t partition unused_ok)
{
    return KAFKA_ERROR_NONE;
}

static enum kafka_error
check_offset_fetch(const struct group *g, struct str member_id unused_ok, int32_t epoch unused_ok)
{
    return is_dead(g) ? KAFKA_ERROR_GROUP_ID_NOT_FOUND : KAFKA_ERROR_NONE;
}

static void emit_tombstones(struct shard *sh, struct group *g)
{
    struct group_metadata_key key = group_metadata_key_default;
    key.group = g->id;
    shard_emit(sh, &group_metadata_key_msg, &key, &group_metadata_value_msg, 3, NULL);
}

const struct group_ops classic_ops = {
    .machine_bytes = sizeof(struct classic),
    .init = init,
    .release = release,
    .state_name = state_name,
    .protocol_type = protocol_type,
    .is_empty = is_empty,
    .is_dead = is_dead,
    .check_commit = check_commit,
    .is_commit_late = is_commit_late,
    .check_commit_partition = check_commit_partition,
    .check_offset_fetch = check_offset_fetch,
    .is_subscribed = classic_is_subscribed,
    .offset_expiry_base = classic_offset_expiry_base,
    .emit_tombstones = emit_tombstones,
};
