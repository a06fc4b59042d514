/*
 * A consumer group (KIP-848): its state and its look-ups, the ground of the machine.
 *
 * Epochs. The group's is raised by whatever asks for a new target: a member that joins, leaves or
 * wants other topics, topics that change. The target's says for which of them the target was
 * computed. A member's says which target it has reached; 0 it joins, -1 it is leaving, -2 it is
 * static and away. A new group is at 1, so is its (empty) target: there is no record of either.
 *
 *     state of the group   when
 *     Empty                it has no members
 *     Assigning            the target is behind the group's epoch
 *     Reconciling          some member has not reached the target
 *     Stable               all have
 *
 *     state of a member    see consumer_reconcile.c
 *
 * A heartbeat goes one way, each step seeing what those before it have changed (records are
 * replayed as they are emitted):
 *
 *     refuse (nothing is written) > member > patterns > hash and group epoch > target > reconcile
 *     > answer > resolve patterns
 *
 * Kafka: ConsumerGroup, ModernGroup, GroupMetadataManager.consumerGroupHeartbeat.
 */
#include "coord/consumer.h"

#include "base/base.h"
#include "coord/consumer_private.h"

struct consumer_member *consumer_member_find(const struct consumer *cg, struct str id)
{
    struct hmap_node *node = hmap_first(&cg->members, hash_str(id, cg->members.seed));
    for (; node != NULL; node = hmap_next(node)) {
        struct consumer_member *m = container_of(node, struct consumer_member, node);
        if (str_equal(m->id, id)) {
            return m;
        }
    }
    return NULL;
}

struct consumer_member *consumer_member_of_instance(const struct consumer *cg,
                                                    struct str instance_id)
{
    if (str_is_null(instance_id)) {
        return NULL;
    }
    const struct hmap *map = &cg->details->instances;
    struct hmap_node *node = hmap_first(map, hash_str(instance_id, map->seed));
    for (; node != NULL; node = hmap_next(node)) {
        struct consumer_member *m = container_of(node, struct consumer_member, by_instance);
        if (str_equal(m->instance_id, instance_id)) {
            return m;
        }
    }
    return NULL;
}

enum consumer_state consumer_state_of(const struct consumer *cg)
{
    if (cg->members_count == 0) {
        return CONSUMER_EMPTY;
    }
    if (cg->epoch > cg->target_epoch) {
        return CONSUMER_ASSIGNING;
    }
    return cg->details->reconciled_count == cg->members_count ? CONSUMER_STABLE
                                                              : CONSUMER_RECONCILING;
}
