/*
 * Expiry. A shard that has groups looks at all of them each offsets.retention.check.interval.ms:
 *
 *     an offset expires     when nothing of a transaction is pending there, the group lets it
 *                           (group_offset_expiry_base: nobody is subscribed to its topic), and
 *                             its own time of expiry has come, where the client has given one, or
 *                             offsets.retention has passed since the base: the commit, or for a
 *                             group of members the moment when it became empty
 *     a group is deleted    when it has no members, no offsets, and no transaction is open there
 *
 * A shard without groups has no timer.
 *
 * Kafka: GroupCoordinatorShard.cleanupGroupMetadata, OffsetMetadataManager.cleanupExpiredOffsets,
 * OffsetExpirationConditionImpl, GroupMetadataManager.maybeDeleteGroup; KIP-211.
 */
#include "coord/offsets.h"

#include "base/base.h"
#include "base/mem.h"
#include "coord/offsets_private.h"

static bool is_expired(const struct shard *sh, const struct group *g, const struct offset_entry *oe)
{
    int64_t base = 0;
    int64_t age = 0;
    if (!oe->is_committed || oe->pending != NULL ||
        !group_offset_expiry_base(g, oe->topic->name, oe->at.commit_timestamp, &base)) {
        return false;
    }
    if (oe->at.expire_timestamp != -1) {
        return sh->wall_ms >= oe->at.expire_timestamp;
    }
    /* Timestamps come from a log that anybody may have written. */
    if (__builtin_sub_overflow(sh->wall_ms, base, &age)) {
        return base < 0;
    }
    return age >= sh->config->offsets_retention_ms;
}

static void expire_group(struct shard *sh, struct group *g)
{
    bool is_all = true; /* what is pending does not expire */
    if (g->offsets != NULL) {
        hmap_foreach (node, &g->offsets->entries) {
            struct offset_entry *oe = container_of(node, struct offset_entry, node);
            if (is_expired(sh, g, oe)) {
                offsets_emit_tombstone(sh, g, oe);
            } else {
                is_all = false;
            }
        }
    }
    if (is_all && group_is_empty(g)) {
        group_emit_tombstones(sh, g);
    }
}

static void arm(struct shard *sh)
{
    int64_t at;
    if (__builtin_add_overflow(sh->now_ms, sh->config->offsets_retention_check_interval_ms, &at)) {
        at = INT64_MAX;
    }
    timers_arm(&sh->timers, &sh->offsets->expiry, at);
}

static void on_expiry(struct timer *t, void *ctx)
{
    (void)t;
    struct shard *sh = ctx;
    hmap_foreach (node, &sh->groups) {
        expire_group(sh, container_of(node, struct group, node));
    }
    if (sh->groups.count > 0) {
        arm(sh);
    }
}

void offsets_group_added(struct shard *sh)
{
    if (!sh->is_loading && !timer_is_armed(&sh->offsets->expiry)) {
        arm(sh);
    }
}

void offsets_loaded(struct shard *sh)
{
    if (sh->groups.count > 0) {
        offsets_group_added(sh);
    }
}

struct offsets *offsets_new(struct shard *sh)
{
    struct offsets *os = mem_zalloc(sizeof(*os));
    os->sh = sh;
    hmap_init(&os->topics, rng_next(&sh->rng));
    hmap_init(&os->txns, rng_next(&sh->rng));
    timer_init(&os->expiry, on_expiry, sh);
    return os;
}
