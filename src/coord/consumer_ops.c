/*
 * A consumer group as group.h sees it: the table of its kind.
 *
 * Kafka: ConsumerGroup's part of the interface Group.
 */
#include "coord/consumer_private.h"

#include "base/base.h"

static const struct consumer_timers timers = {
    .session = consumer_session_fire,
    .rebalance = consumer_rebalance_fire,
};

static void init(struct shard *sh, struct group *g)
{
    g->consumer = consumer_new(sh, g, &timers);
}

static void release(struct group *g)
{
    g->consumer = consumer_free(g->consumer);
}

static struct str state_name(const struct group *g)
{
    switch (consumer_state_of(g->consumer)) {
    case CONSUMER_EMPTY:
        return STR("Empty");
    case CONSUMER_ASSIGNING:
        return STR("Assigning");
    case CONSUMER_RECONCILING:
        return STR("Reconciling");
    case CONSUMER_STABLE:
        return STR("Stable");
    case CONSUMER_DEAD:
        return STR("Dead");
    }
    check(false);
    return STR("");
}

static struct str protocol_type(const struct group *g unused_ok)
{
    return STR("consumer");
}

static bool is_empty(const struct group *g)
{
    return consumer_state_of(g->consumer) == CONSUMER_EMPTY;
}

/* Its last tombstone takes it away at once. */
static bool is_dead(const struct group *g unused_ok)
{
    return false;
}

static bool offset_expiry_base(const struct group *g,
                               struct str topic,
                               int64_t commit_timestamp,
                               int64_t *ret_base_ms)
{
    if (consumer_is_subscribed(g, topic)) {
        return false;
    }
    *ret_base_ms = commit_timestamp;
    return true;
}

const struct group_ops consumer_ops = {
    .machine_bytes = sizeof(struct consumer),
    .init = init,
    .release = release,
    .state_name = state_name,
    .protocol_type = protocol_type,
    .is_empty = is_empty,
    .is_dead = is_dead,
    .check_commit = consumer_check_commit,
    .is_commit_late = consumer_is_commit_late,
    .check_commit_partition = consumer_check_commit_partition,
    .check_offset_fetch = consumer_check_offset_fetch,
    .is_subscribed = consumer_is_subscribed,
    .offset_expiry_base = offset_expiry_base,
    .emit_tombstones = consumer_emit_tombstones,
};
