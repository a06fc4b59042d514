/*
 * The members of a group and what they own. A consumer group knows it; of a classic group the
 * leader's bytes tell, which are read when the protocol type is that of consumers and they are of
 * reasonable size: they come from a client, and any bytes are legal.
 */
#include "coord/story_members.h"

#include "base/base.h"

#include "base/uuid.h"
#include "coord/assignor.h"
#include "coord/classic.h"
#include "coord/consumer.h"
#include "coord/subscription.h"

#define READ_BYTES_MAX (1 << 20) /* of what a client has put into a group */

static int compare_partitions(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a;
    int32_t y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* ---- classic ---- */

static void show_classic_assignment(struct view bytes, struct arena *arena, struct shown_member *m)
{
    struct consumer_protocol_assignment parsed = consumer_protocol_assignment_default;
    int16_t version;
    if (bytes.len == 0) {
        return;
    }
    if (bytes.len > READ_BYTES_MAX ||
        subscription_parse_assignment(bytes, arena, &parsed, &version) < 0) {
        m->unread_bytes = to_i64(bytes.len);
        return;
    }
    int32_t count = parsed.assigned_partitions.count;
    m->owns.items = arena_alloc(arena, to_size(count) * sizeof(*m->owns.items));
    m->owns.count = count;
    for (int32_t i = 0; i < count; i++) {
        const struct consumer_protocol_assignment_topic_partition *tp =
            &parsed.assigned_partitions.items[i];
        if (tp->partitions.count > 1) {
            qsort(tp->partitions.items, to_size(tp->partitions.count),
                  sizeof(*tp->partitions.items), compare_partitions);
        }
        m->owns.items[i] = (struct shown_topic){
            .name = tp->topic,
            .partitions = tp->partitions.items,
            .count = tp->partitions.count,
        };
    }
}

/* The names that a classic consumer is subscribed to by one of its protocols' bytes. */
static void show_subscription(const struct classic_protocol *protocols,
                              size_t count,
                              struct str name, /* null: the first */
                              struct arena *arena,
                              struct shown_member *m)
{
    for (size_t i = 0; i < count; i++) {
        struct consumer_protocol_subscription parsed = consumer_protocol_subscription_default;
        int16_t version;
        if (!str_is_null(name) && !str_equal(protocols[i].name, name)) {
            continue;
        }
        if (protocols[i].metadata.len <= READ_BYTES_MAX &&
            subscription_parse(protocols[i].metadata, arena, &parsed, &version) >= 0) {
            m->topics = parsed.topics.items;
            m->topics_count = to_size(parsed.topics.count);
        }
        return;
    }
}

static void classic_state_text(const struct classic *cl,
                               const struct classic_member *member,
                               struct shown_member *m)
{
    switch (cl->state) {
    case CLASSIC_PREPARING_REBALANCE:
        m->is_awaited = member->join == NULL;
        m->state = m->is_awaited ? "must-rejoin" : "joined";
        return;
    case CLASSIC_COMPLETING_REBALANCE:
        m->is_awaited = m->is_leader || (member->sync == NULL && !member->has_synced);
        m->state = m->is_awaited ? "must-sync" : "synced";
        return;
    case CLASSIC_EMPTY:
    case CLASSIC_STABLE:
    case CLASSIC_DEAD:
        m->state = "stable";
        return;
    }
}

static int compare_classic(const void *a, const void *b)
{
    const struct classic_member *const *x = a;
    const struct classic_member *const *y = b;
    return str_compare((*x)->id, (*y)->id);
}

static void
show_classic(const struct group *g, struct arena *arena, struct shown_members *ret, size_t max)
{
    const struct classic *cl = g->classic;
    bool is_consumers = str_is(cl->protocol_type, "consumer");
    size_t total = cl->members.count;
    const struct classic_member **members = arena_alloc(arena, total * sizeof(*members));
    size_t count = 0;
    hmap_foreach (node, &cl->members) {
        members[count++] = container_of(node, struct classic_member, node);
    }
    if (count > 1) {
        qsort(members, count, sizeof(*members), compare_classic);
    }
    for (size_t i = 0; i < count && ret->count < max; i++) {
        const struct classic_member *member = members[i];
        struct shown_member *m = &ret->items[ret->count++];
        *m = (struct shown_member){
            .id = member->id,
            .instance_id = member->instance_id,
            .client_id = member->client_id,
            .client_host = member->client_host,
            .protocol = "classic",
            .epoch = -1,
            .is_leader = str_equal(cl->leader, member->id),
            .unread_bytes = -1,
        };
        classic_state_text(cl, member, m);
        if (is_consumers) {
            show_subscription(member->protocols, member->protocols_count, cl->protocol_name, arena,
                              m);
            show_classic_assignment(member->assignment, arena, m);
        } else if (member->assignment.len > 0) {
            m->unread_bytes = to_i64(member->assignment.len);
        }
    }
}

/* ---- consumer ---- */

static void show_assignment(const struct shard *sh,
                            const struct assignment *a,
                            struct arena *arena,
                            struct shown_topics *ret)
{
    ret->items = arena_alloc(arena, to_size(a->count) * sizeof(*ret->items));
    ret->count = a->count;
    for (int32_t i = 0; i < a->count; i++) {
        const struct topic_partitions *tp = &a->topics[i];
        struct shard_topic topic;
        struct shown_topic *shown = &ret->items[i];
        *shown = (struct shown_topic){.partitions = tp->partitions, .count = tp->count};
        if (sh->topics != NULL && sh->topics->by_id(sh->topics->ctx, &tp->id, &topic)) {
            shown->name = arena_strdup(arena, topic.name);
        } else {
            char text[UUID_TEXT_SIZE];
            uuid_print(&tp->id, text);
            shown->name = arena_strdup(arena, str_from(text));
        }
    }
}

static const char *member_state_text(const struct consumer_member *member, int32_t target_epoch)
{
    switch (member->state) {
    case MEMBER_STABLE:
        return member->epoch == target_epoch ? "stable" : "must-heartbeat";
    case MEMBER_UNREVOKED_PARTITIONS:
        return "must-revoke";
    case MEMBER_UNRELEASED_PARTITIONS:
        return "waits-for-partitions";
    case MEMBER_UNKNOWN:
        return "unknown";
    }
    return "unknown";
}

static int compare_consumer(const void *a, const void *b)
{
    const struct consumer_member *const *x = a;
    const struct consumer_member *const *y = b;
    return str_compare((*x)->id, (*y)->id);
}

static void show_consumer(const struct shard *sh,
                          const struct group *g,
                          struct arena *arena,
                          struct shown_members *ret,
                          size_t max)
{
    const struct consumer *cg = g->consumer;
    size_t total = cg->members.count;
    const struct consumer_member **members = arena_alloc(arena, total * sizeof(*members));
    size_t count = 0;
    hmap_foreach (node, &cg->members) {
        members[count++] = container_of(node, struct consumer_member, node);
    }
    if (count > 1) {
        qsort(members, count, sizeof(*members), compare_consumer);
    }
    for (size_t i = 0; i < count && ret->count < max; i++) {
        const struct consumer_member *member = members[i];
        struct shown_member *m = &ret->items[ret->count++];
        *m = (struct shown_member){
            .id = member->id,
            .instance_id = member->instance_id,
            .client_id = member->client_id,
            .client_host = member->client_host,
            .protocol = member->classic == NULL ? "consumer" : "classic",
            .state = member_state_text(member, cg->target_epoch),
            .epoch = member->epoch,
            .is_awaited = member->state == MEMBER_UNREVOKED_PARTITIONS ||
                          (member->state == MEMBER_STABLE && member->epoch != cg->target_epoch),
            .topics = member->topics,
            .topics_count = member->topics_count,
            .regex = member->regex,
            .unread_bytes = -1,
        };
        show_assignment(sh, &member->assigned, arena, &m->owns);
        show_assignment(sh, &member->pending_revocation, arena, &m->must_revoke);
    }
}

void story_members(const struct shard *sh,
                   const struct group *g,
                   struct arena *arena,
                   struct shown_members *ret)
{
    size_t total =
        g->kind == GROUP_CLASSIC ? g->classic->members.count : g->consumer->members.count;
    size_t max = min_size(total, STORY_MEMBERS_MAX);
    *ret = (struct shown_members){
        .items = arena_alloc(arena, max * sizeof(*ret->items)),
        .omitted = total - max,
    };
    switch (g->kind) {
    case GROUP_CLASSIC:
        show_classic(g, arena, ret, max);
        break;
    case GROUP_CONSUMER:
        show_consumer(sh, g, arena, ret, max);
        break;
    }
}
