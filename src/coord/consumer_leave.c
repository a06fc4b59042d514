/*
 * Members of a consumer group go: they leave, are removed, or are not heard of in time. Those that
 * go together raise the group's epoch once. When classic members alone would stay, and the policy
 * is so, the group goes back to the classic protocol instead (group_machines.downgrade).
 *
 * Kafka: GroupMetadataManager.consumerGroupFenceMembers, removeMember,
 * scheduleConsumerGroupSessionTimeout, scheduleConsumerGroupRebalanceTimeout.
 */
#include "coord/consumer_private.h"

#include "base/base.h"

static void remove_all(struct shard *sh,
                       struct group *g,
                       struct consumer_member *const *members,
                       size_t count,
                       enum story_cause cause,
                       struct str reason)
{
    struct consumer *cg = g->consumer;
    struct arena arena = {0};
    bool is_last = cg->members_count == count;
    size_t regexes_count = 0;
    struct str *regexes = arena_alloc(&arena, (count + 1) * sizeof(*regexes));
    struct str first = arena_strdup(&arena, members[0]->id);
    for (size_t i = 0; i < count; i++) {
        if (regex_is_set(members[i]->regex)) {
            regexes[regexes_count++] = arena_strdup(&arena, members[i]->regex);
        }
        consumer_emit_member_tombstones(sh, g, members[i]->id);
    }
    consumer_sort_names(regexes, &regexes_count);
    for (size_t i = 0; i < regexes_count; i++) {
        const struct subscribed_regex *sr = consumer_regex_find(cg, regexes[i]);
        if (sr == NULL || sr->members == 0) {
            consumer_emit_regex_tombstone(sh, g, regexes[i]);
        }
    }
    if (!is_last) { /* nobody is there whom a rebalance could concern */
        story_begin(sh, g, cause, first, reason);
    }
    consumer_emit_epoch(sh, g, cg->epoch + 1, consumer_compute_hash(sh, cg));
    if (is_last) {
        consumer_emit_target_metadata(sh, g, cg->epoch, 0);
        story_step(sh, g, STORY_STEP_STABLE, cg->epoch); /* nobody is left to wait for */
    }
    arena_release(&arena);
}

/* Are those that stay all classic ones, when these are gone? */
static bool
leaves_classic(const struct consumer *cg, struct consumer_member *const *members, size_t count)
{
    size_t classic = cg->classic_members_count;
    for (size_t i = 0; i < count; i++) {
        classic -= members[i]->classic != NULL;
    }
    return classic > 0 && classic == cg->members_count - count;
}

void consumer_remove_members(struct shard *sh,
                             struct group *g,
                             struct consumer_member *const *members,
                             size_t count,
                             enum story_cause cause,
                             struct str reason)
{
    if (count == 0) {
        return;
    }
    if (count > 1 && leaves_classic(g->consumer, members, count)) {
        /* The downgrade takes one leaving member with it: the last that speaks the new protocol. */
        size_t last = 0;
        for (size_t i = 0; i < count; i++) {
            last = members[i]->classic == NULL ? i : last;
        }
        for (size_t i = 0; i < count; i++) {
            if (i != last) {
                remove_all(sh, g, &members[i], 1, cause, reason);
            }
        }
        members += last;
        count = 1;
    }
    if (count == 1 && sh->machines->groups->wants_downgrade(sh, g, members[0])) {
        sh->machines->groups->downgrade(sh, g, members[0]);
        return;
    }
    remove_all(sh, g, members, count, cause, reason);
}

/* ---- timers ---- */

void consumer_session_fire(struct timer *t, void *ctx)
{
    struct shard *sh = ctx;
    struct consumer_member *m = container_of(t, struct consumer_member, session);
    if (sh->now_ms < m->session_deadline_ms) {
        timers_arm(&sh->timers, t, m->session_deadline_ms);
        return;
    }
    struct group *g = m->consumer->group;
    story_event(sh, g, STORY_EXPIRED, m->id, STR("no heartbeat within the session timeout"));
    consumer_remove_members(sh, g, &m, 1, STORY_SESSION_TIMEOUT, (struct str){0});
}

void consumer_rebalance_fire(struct timer *t, void *ctx)
{
    struct shard *sh = ctx;
    struct consumer_member *m = container_of(t, struct consumer_member, rebalance);
    if (m->classic == NULL && (m->state != MEMBER_UNREVOKED_PARTITIONS || m->epoch < 0)) {
        return;
    }
    struct group *g = m->consumer->group;
    story_event(sh, g, STORY_EXPIRED, m->id,
                m->classic == NULL ? STR("partitions not given back within the rebalance timeout")
                                   : STR("no join or sync within the rebalance timeout"));
    consumer_remove_members(sh, g, &m, 1, STORY_REBALANCE_TIMEOUT, (struct str){0});
}
