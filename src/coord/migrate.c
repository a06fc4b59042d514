/*
 * A group changes its protocol with its members in it.
 *
 *                    ConsumerGroupHeartbeat joins; policy: upgrade
 *         classic  ------------------------------------------------>  consumer
 *                  <------------------------------------------------
 *                    the last one that speaks the consumer protocol
 *                    goes, or gives its place to a classic static
 *                    member; policy: downgrade
 *
 * Upgrade. Every member becomes a classic member of the consumer group: stable at the generation,
 * which is the group's epoch and the target's; what it was assigned is what it holds and its
 * target. Whoever waits for a join or a sync is told that another rebalance has begun, and comes
 * back. The one whose heartbeat came joins then, which bumps the epoch.
 *
 * Downgrade. Every classic member becomes a member of a classic group, stable at the group's epoch;
 * its target is its assignment, in bytes of the version that it uses itself. Unless somebody has
 * just come who fits without one, a rebalance follows.
 *
 * Records: tombstones of all that was, then all that is. The group object stays the same one in an
 * upgrade; in a downgrade it may be a new one, with the old story.
 *
 * Kafka: GroupMetadataManager.validateOnlineUpgrade, convertToConsumerGroup,
 * validateOnlineDowngradeWithFencedMembers, convertToClassicGroup; ConsumerGroup.fromClassicGroup,
 * ClassicGroup.fromConsumerGroup. There a group whose first rebalance still runs, so that it has no
 * protocol yet, cannot be upgraded (UNKNOWN_SERVER_ERROR); here what its members say for their
 * first protocol counts.
 */
#include "coord/migrate.h"

#include "base/base.h"
#include "base/mem.h"
#include "coord/migrate_private.h"
#include "coord/story.h"
#include "coord/subscription.h"
#include "wire/gen/messages.h"

/* ---- small things ---- */

int16_t migrate_version_of(struct view metadata)
{
    struct cursor in = cursor_of(metadata.ptr, metadata.ptr == NULL ? 0 : metadata.len);
    int16_t version = cursor_i16(&in);
    return version < 0 ? 0 : version;
}

/* Bytes that stay when the group's memory goes. */
static struct view copy_view(struct arena *arena, struct view bytes)
{
    struct str copy = arena_strdup(arena, str_of((const char *)bytes.ptr, bytes.len));
    return (struct view){.ptr = (const uint8_t *)copy.ptr, .len = copy.len};
}

static struct classic_protocol *
copy_protocols(struct arena *arena, const struct classic_protocol *protocols, size_t count)
{
    struct classic_protocol *copy = arena_alloc(arena, sizeof(*copy) * count);
    for (size_t i = 0; i < count; i++) {
        copy[i].name = arena_strdup(arena, protocols[i].name);
        copy[i].metadata = copy_view(arena, protocols[i].metadata);
    }
    return copy;
}

/* ---- upgrade ---- */

/* A member as it stands after the upgrade, in an arena. */
struct upgraded {
    struct consumer_member like;
    struct consumer_classic classic;
    struct assignment assigned;
};

static void read_assigned(const struct shard *sh,
                          const struct consumer_protocol_assignment *from,
                          struct arena *arena,
                          struct assignment *ret)
{
    struct assignment_builder ab;
    assignment_builder_init(&ab, arena);
    for (int32_t i = 0; i < from->assigned_partitions.count; i++) {
        const struct consumer_protocol_assignment_topic_partition *tp =
            &from->assigned_partitions.items[i];
        struct shard_topic t;
        if (!sh->topics->by_name(sh->topics->ctx, tp->topic, &t)) {
            continue;
        }
        for (int32_t p = 0; p < tp->partitions.count; p++) {
            int32_t partition = tp->partitions.items[p];
            if (partition >= 0 && partition < t.partitions_count) {
                assignment_builder_add(&ab, &t.id, partition);
            }
        }
    }
    assignment_builder_finish(&ab, ret);
}

static struct view metadata_of(const struct classic *cl, const struct classic_member *m)
{
    if (str_is_null(cl->protocol_name)) {
        return m->protocols_count > 0 ? m->protocols[0].metadata : (struct view){0};
    }
    return classic_member_metadata(m, cl->protocol_name);
}

/* NULL: good; else why its bytes cannot be taken over. Texts are copied to the arena. */
static const char *upgrade_member(const struct shard *sh,
                                  const struct classic *cl,
                                  const struct classic_member *m,
                                  struct arena *arena,
                                  struct upgraded *ret)
{
    static const char MALFORMED[] = "the embedded consumer protocol is malformed";
    struct upgraded up = {0};
    int16_t version;
    if (m->assignment.len > 0) {
        struct consumer_protocol_assignment assignment;
        if (subscription_parse_assignment(m->assignment, arena, &assignment, &version) < 0) {
            return MALFORMED;
        }
        if (assignment.user_data.ptr != NULL && assignment.user_data.len > 0) {
            return "an unsupported custom assignor is in use";
        }
        read_assigned(sh, &assignment, arena, &up.assigned);
    }
    struct consumer_protocol_subscription subscription;
    if (subscription_parse(copy_view(arena, metadata_of(cl, m)), arena, &subscription, &version) <
        0) {
        return MALFORMED;
    }
    size_t topics_count = to_size(subscription.topics.count);
    consumer_sort_names(subscription.topics.items, &topics_count);
    up.classic = (struct consumer_classic){
        .session_timeout_ms = m->session_timeout_ms,
        .protocols = copy_protocols(arena, m->protocols, m->protocols_count),
        .protocols_count = m->protocols_count,
    };
    up.like = (struct consumer_member){
        .id = arena_strdup(arena, m->id),
        .instance_id = arena_strdup(arena, m->instance_id),
        .rack_id = subscription.rack_id.len == 0 ? (struct str){0} : subscription.rack_id,
        .client_id = arena_strdup(arena, m->client_id),
        .client_host = arena_strdup(arena, m->client_host),
        .topics = subscription.topics.items,
        .topics_count = topics_count,
        .regex = STR(""),
        .rebalance_timeout_ms = m->rebalance_timeout_ms,
    };
    *ret = up;
    return NULL;
}

enum kafka_error
migrate_check_upgrade(const struct shard *sh, const struct group *g, struct str *ret_message)
{
    const struct classic *cl = g->classic;
    if ((sh->config->migration_policy & MIGRATION_UPGRADE) == 0) {
        *ret_message = STR("Cannot upgrade the classic group to a consumer group because "
                           "online upgrade is disabled.");
        return KAFKA_ERROR_GROUP_ID_NOT_FOUND;
    }
    if (!str_is(cl->protocol_type, "consumer")) {
        *ret_message = STR("Cannot upgrade the classic group to a consumer group because "
                           "the group does not use the consumer embedded protocol.");
        return KAFKA_ERROR_GROUP_ID_NOT_FOUND;
    }
    if (to_i64(cl->members.count) > sh->config->consumer_max_size) {
        *ret_message = STR("Cannot upgrade the classic group to a consumer group because "
                           "the group size exceeds the consumer group maximum size.");
        return KAFKA_ERROR_GROUP_ID_NOT_FOUND;
    }
    const char *why = NULL;
    struct arena arena = {0};
    list_foreach (node, &cl->order) {
        struct upgraded up;
        arena_reset(&arena);
        why = upgrade_member(sh, cl, list_entry(node, struct classic_member, link), &arena, &up);
        if (why != NULL) {
            break;
        }
    }
    arena_release(&arena);
    if (why != NULL) {
        *ret_message = str_from(why);
        return KAFKA_ERROR_GROUP_ID_NOT_FOUND;
    }
    return KAFKA_ERROR_NONE;
}

static void emit_upgraded(struct shard *sh,
                          struct group *g,
                          const struct upgraded *all,
                          size_t count,
                          int32_t epoch)
{
    for (size_t i = 0; i < count; i++) {
        consumer_emit_member(sh, g, &all[i].like);
    }
    consumer_emit_epoch(sh, g, epoch, consumer_compute_hash(sh, g->consumer));
    for (size_t i = 0; i < count; i++) {
        consumer_emit_target(sh, g, all[i].like.id, &all[i].assigned);
    }
    consumer_emit_target_metadata(sh, g, epoch, 0);
    for (size_t i = 0; i < count; i++) {
        const struct consumer_position at = {
            .epoch = epoch,
            .previous_epoch = epoch,
            .state = MEMBER_STABLE,
            .assigned = all[i].assigned,
        };
        consumer_emit_position(sh, g, all[i].like.id, &at);
        consumer_touch_member(sh, consumer_member_find(g->consumer, all[i].like.id));
    }
}

void migrate_upgrade(struct shard *sh, struct group *g)
{
    struct arena arena = {0};
    struct classic *cl = g->classic;
    int32_t epoch = cl->generation;
    size_t count = 0;
    struct upgraded *all = arena_alloc(&arena, sizeof(*all) * cl->members.count);
    list_foreach (node, &cl->order) {
        const struct classic_member *m = list_entry(node, struct classic_member, link);
        struct upgraded *up = &all[count++];
        check(upgrade_member(sh, cl, m, &arena, up) == NULL);
        up->like.classic = &up->classic;
    }
    classic_complete_parked(cl, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    struct group_metadata_key key = group_metadata_key_default;
    key.group = g->id;
    shard_append(sh, &group_metadata_key_msg, &key, &group_metadata_value_msg, 3, NULL);
    group_become_consumer(sh, g);
    emit_upgraded(sh, g, all, count, epoch);
    story_begin(sh, g, STORY_PROTOCOL_CHANGED, (struct str){0}, STR("from classic to consumer"));
    arena_release(&arena);
}

/* ---- downgrade ---- */

bool migrate_wants_downgrade(const struct shard *sh,
                             const struct group *g,
                             const struct consumer_member *leaving)
{
    const struct consumer *cg = g->consumer;
    size_t gone = leaving == NULL ? 0 : 1;
    size_t gone_classic = leaving != NULL && leaving->classic != NULL ? 1 : 0;
    size_t left = cg->members_count - gone;
    return left > 0 && cg->classic_members_count - gone_classic == left &&
           (sh->config->migration_policy & MIGRATION_DOWNGRADE) != 0 &&
           to_i64(left) <= sh->config->max_size;
}

/* A member as it stands after the downgrade, in an arena. */
struct downgraded {
    struct classic_member like;
    struct assignment target;
};

static void downgrade_member(const struct consumer_member *m,
                             const struct assignment *target,
                             struct arena *arena,
                             struct downgraded *ret)
{
    *ret = (struct downgraded){
        .like =
            {
                .id = arena_strdup(arena, m->id),
                .instance_id = arena_strdup(arena, m->instance_id),
                .client_id = arena_strdup(arena, m->client_id),
                .client_host = arena_strdup(arena, m->client_host),
                .protocol_type = STR("consumer"),
                .rebalance_timeout_ms = m->rebalance_timeout_ms,
                .session_timeout_ms = m->classic->session_timeout_ms,
                .protocols =
                    copy_protocols(arena, m->classic->protocols, m->classic->protocols_count),
                .protocols_count = m->classic->protocols_count,
            },
    };
    assignment_union(target, &(struct assignment){0}, arena, &ret->target); /* a copy */
}

static int compare_downgraded(const void *a, const void *b)
{
    const struct downgraded *x = a;
    const struct downgraded *y = b;
    return str_compare(x->like.id, y->like.id);
}

/* The same name as a classic group without members. The tombstones may have taken the group away;
 * its story is handed on. */
static struct group *make_classic(struct shard *sh, struct group *g, struct arena *arena)
{
    struct str id = arena_strdup(arena, g->id);
    struct story *st = g->story;
    g->story = NULL;
    consumer_emit_tombstones(sh, g);
    g = group_find(sh, id);
    if (g == NULL) {
        g = group_add_classic(sh, id);
    } else if (g->kind == GROUP_CONSUMER) {
        group_become_classic(sh, g);
    }
    check(g->story == NULL);
    g->story = st;
    return g;
}

static void become_classic(struct shard *sh,
                           struct group *g,
                           struct downgraded *all,
                           size_t count,
                           int32_t generation,
                           struct arena *arena)
{
    qsort(all, count, sizeof(*all), compare_downgraded);
    struct classic *cl = g->classic;
    for (size_t i = 0; i < count; i++) {
        check(classic_member_add(cl, &all[i].like) != NULL);
    }
    classic_settle(cl, generation);
    for (size_t i = 0; i < count; i++) {
        struct classic_member *m = classic_member_find(cl, all[i].like.id);
        int16_t version = migrate_version_of(classic_member_metadata(m, cl->protocol_name));
        classic_member_set_assignment(
            m, subscription_build_assignment(&all[i].target, sh->topics, version, arena));
    }
    classic_append_record(sh, g);
    story_begin(sh, g, STORY_PROTOCOL_CHANGED, (struct str){0}, STR("from consumer to classic"));
}

/* replaced: not taken over, its target goes to `joining`; either may be NULL. */
static void downgrade(struct shard *sh,
                      struct group *g,
                      const struct consumer_member *replaced,
                      const struct consumer_member *joining,
                      int32_t generation,
                      bool must_rebalance)
{
    struct arena arena = {0};
    size_t count = 0;
    struct downgraded *all = arena_alloc(&arena, sizeof(*all) * (g->consumer->members_count + 1));
    hmap_foreach (node, &g->consumer->members) {
        const struct consumer_member *m = container_of(node, struct consumer_member, node);
        if (m != replaced) {
            downgrade_member(m, &m->target, &arena, &all[count++]);
        }
    }
    if (joining != NULL) {
        downgrade_member(joining, &replaced->target, &arena, &all[count++]);
    }
    g = make_classic(sh, g, &arena);
    become_classic(sh, g, all, count, generation, &arena);
    if (must_rebalance) {
        classic_prepare_rebalance(sh, g, STR("from consumer to classic"));
    } else {
        story_step(sh, g, STORY_STEP_STABLE, generation);
    }
    arena_release(&arena);
}

void migrate_downgrade(struct shard *sh, struct group *g, struct consumer_member *leaving)
{
    downgrade(sh, g, leaving, NULL, g->consumer->epoch, true);
}

void migrate_downgrade_replaced(struct shard *sh,
                                struct group *g,
                                const struct consumer_member *replaced,
                                const struct consumer_member *joining,
                                int32_t generation,
                                bool must_rebalance)
{
    downgrade(sh, g, replaced, joining, generation, must_rebalance);
}
