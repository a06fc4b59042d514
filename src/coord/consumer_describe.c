/*
 * ConsumerGroupDescribe: a group as it is. What a member still has to give back counts as its own;
 * topics that are gone are left out. Kafka: ConsumerGroup.asDescribedGroup.
 */
#include "coord/consumer_private.h"

#include "base/base.h"

static void describe_partitions(const struct shard *sh,
                                const struct assignment *a,
                                struct arena *arena,
                                struct consumer_group_describe_response_assignment *ret)
{
    struct consumer_group_describe_response_topic_partitions *items =
        arena_alloc(arena, (to_size(a->count) + 1) * sizeof(*items));
    int32_t count = 0;
    for (int32_t i = 0; i < a->count; i++) {
        const struct topic_partitions *tp = &a->topics[i];
        struct shard_topic t;
        if (!sh->topics->by_id(sh->topics->ctx, &tp->id, &t)) {
            continue;
        }
        int32_t *partitions = arena_alloc(arena, to_size(tp->count) * sizeof(*partitions));
        memcpy(partitions, tp->partitions, to_size(tp->count) * sizeof(*partitions));
        items[count] = consumer_group_describe_response_topic_partitions_default;
        items[count].topic_id = tp->id;
        items[count].topic_name = arena_strdup(arena, t.name);
        items[count].partitions.items = partitions;
        items[count].partitions.count = tp->count;
        count++;
    }
    ret->topic_partitions.items = items;
    ret->topic_partitions.count = count;
}

static void describe_member(const struct shard *sh,
                            const struct consumer_member *m,
                            struct arena *arena,
                            struct consumer_group_describe_response_member *ret)
{
    *ret = consumer_group_describe_response_member_default;
    ret->member_id = arena_strdup(arena, m->id);
    ret->instance_id = arena_strdup(arena, m->instance_id);
    ret->rack_id = arena_strdup(arena, m->rack_id);
    ret->member_epoch = m->epoch;
    ret->client_id = arena_strdup(arena, m->client_id);
    ret->client_host = arena_strdup(arena, m->client_host);
    ret->subscribed_topic_names.items =
        arena_alloc(arena, (m->topics_count + 1) * sizeof(struct str));
    ret->subscribed_topic_names.count = to_i32(to_i64(m->topics_count));
    for (size_t i = 0; i < m->topics_count; i++) {
        ret->subscribed_topic_names.items[i] = arena_strdup(arena, m->topics[i]);
    }
    ret->subscribed_topic_regex = arena_strdup(arena, m->regex);
    struct assignment held;
    assignment_union(&m->assigned, &m->pending_revocation, arena, &held);
    describe_partitions(sh, &held, arena, &ret->assignment);
    describe_partitions(sh, &m->target, arena, &ret->target_assignment);
    ret->member_type = m->classic != NULL ? 0 : 1;
}

void consumer_describe(struct shard *sh,
                       struct str group_id,
                       struct arena *arena,
                       struct consumer_group_describe_response_described_group *ret)
{
    *ret = consumer_group_describe_response_described_group_default;
    ret->group_id = group_id;
    const struct group *g = group_find(sh, group_id);
    if (g == NULL || g->kind != GROUP_CONSUMER) {
        ret->error_code = KAFKA_ERROR_GROUP_ID_NOT_FOUND;
        ret->error_message = arena_printf(arena, "There is no %sgroup \"" STR_FMT "\".",
                                          g == NULL ? "" : "consumer ", STR_ARG(group_id));
        return;
    }
    const struct consumer *cg = g->consumer;
    ret->group_state = group_state_name(g);
    ret->group_epoch = cg->epoch;
    ret->assignment_epoch = cg->target_epoch;
    ret->assignor_name = arena_strdup(arena, consumer_preferred_assignor(cg));
    struct consumer_member **all = consumer_members_sorted(cg, arena);
    ret->members.items = arena_alloc(arena, (cg->members_count + 1) * sizeof(*ret->members.items));
    ret->members.count = to_i32(to_i64(cg->members_count));
    for (size_t i = 0; i < cg->members_count; i++) {
        describe_member(sh, all[i], arena, &ret->members.items[i]);
    }
}
