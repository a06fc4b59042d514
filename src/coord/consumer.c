/*
 * A consumer group (KIP-848): its life, its state, its events that come from outside of requests.
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
#include "coord/migrate.h"

struct consumer *consumer_new(struct shard *sh, struct group *g)
{
    struct consumer *cg = mem_zalloc(sizeof(*cg));
    struct consumer_details *cd = mem_zalloc(sizeof(*cd));
    uint64_t seed = sh->groups.seed;
    cg->group = g;
    cg->sh = sh;
    cg->epoch = 1;
    cg->target_epoch = 1;
    cg->details = cd;
    hmap_init(&cg->members, seed);
    hmap_init(&cd->instances, seed);
    hmap_init(&cd->topics, seed);
    hmap_init(&cd->regexes, seed);
    hmap_init(&cd->owners, seed);
    hmap_init(&cd->orphans, seed);
    cd->refresh_deadline_ms = INT64_MIN;
    int64_t bytes = (int64_t)(sizeof(*cg) + sizeof(*cd));
    cd->charged = shard_charge(sh, bytes) ? bytes : 0;
    return cg;
}

struct consumer *consumer_free(struct consumer *cg)
{
    if (cg == NULL) {
        return NULL;
    }
    struct consumer_details *cd = cg->details;
    hmap_foreach (node, &cg->members) {
        consumer_member_free(container_of(node, struct consumer_member, node));
    }
    hmap_release(&cg->members);
    hmap_release(&cd->instances);
    consumer_subscriptions_release(cg);
    hmap_foreach (node, &cd->owners) { /* epochs of a strange log */
        hmap_remove(&cd->owners, node);
        mem_free(container_of(node, struct owned_partition, node));
    }
    hmap_release(&cd->owners);
    hmap_foreach (node, &cd->orphans) {
        struct orphan_target *ot = container_of(node, struct orphan_target, node);
        hmap_remove(&cd->orphans, node);
        assignment_release(&ot->target);
        mem_free(ot);
    }
    hmap_release(&cd->orphans);
    shard_give(cg->sh, cd->charged);
    mem_free(cd);
    mem_free(cg);
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

void consumer_loaded(struct shard *sh, struct group *g)
{
    struct consumer *cg = g->consumer;
    struct group_settings settings;
    sh->config->settings(sh->config->settings_ctx, g->id, &settings);
    cg->details->new_topics_version = sh->topics->version;
    hmap_foreach (node, &cg->members) {
        struct consumer_member *m = container_of(node, struct consumer_member, node);
        m->session_deadline_ms = sh->now_ms + settings.session_timeout_ms;
        timers_arm(&sh->timers, &m->session, m->session_deadline_ms);
        if (m->state == MEMBER_UNREVOKED_PARTITIONS) {
            timers_arm(&sh->timers, &m->rebalance, sh->now_ms + m->rebalance_timeout_ms);
        }
    }
}

void consumer_topic_changed(struct shard *sh,
                            struct group *g,
                            enum shard_topic_change change,
                            const struct shard_topic *t)
{
    struct consumer_details *cd = g->consumer->details;
    if (change == TOPIC_CREATED) {
        cd->new_topics_version = sh->topics->version;
    }
    if (consumer_is_subscribed(g, t->name)) {
        cd->hash_is_known = false;
        cd->refresh_deadline_ms = INT64_MIN; /* the next heartbeat looks */
    }
}

/* ---- members go ---- */

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
    if (count == 1 && migrate_wants_downgrade(sh, g, members[0])) {
        migrate_downgrade(sh, g, members[0]);
        return;
    }
    remove_all(sh, g, members, count, cause, reason);
}

void consumer_remove_member(struct shard *sh,
                            struct group *g,
                            struct consumer_member *m,
                            struct str reason)
{
    consumer_remove_members(sh, g, &m, 1, STORY_MEMBER_LEFT, reason);
}
