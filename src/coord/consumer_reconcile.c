/*
 * Reconciliation: one step of a member towards its target, taken by its heartbeats.
 *
 *     state        the member's epoch is   it leaves the state when
 *     STABLE       the target's            the target has another epoch
 *     UNREVOKED    below the target's      it no longer says that it holds what it must give back,
 *                                          or its time to revoke is over (it is fenced then)
 *     UNRELEASED   the target's            the partitions that it waits for are free
 *
 *     step, when the state allows one      then
 *     something must be given back         UNREVOKED at its old epoch, until the member says so
 *     else: what is free is taken          the target's epoch; UNRELEASED when something of the
 *                                          target is still held by others, else STABLE
 *
 * Invariant: a partition is held by one member, or none, at any time. It comes from the owners:
 * what another member holds or still has to give back is not free. What the member itself was to
 * give back and now shall have again is.
 *
 * A subscription that has changed takes effect before there is a target for it: topics to which the
 * member is no longer subscribed, or which are gone, are not its own any more.
 *
 * Kafka: CurrentAssignmentBuilder; KIP-848, KIP-1251 (epochs of each partition).
 */
#include "coord/consumer_private.h"

#include "base/base.h"

struct reconcile_job {
    struct shard *sh;
    const struct consumer_member *m;
    const struct assignment *owned;
    struct arena *arena;
};

/* Does the member hold any of these, as far as it has said? */
static bool holds_any(const struct reconcile_job *rj, const struct assignment *a)
{
    if (rj->owned == NULL) {
        return true;
    }
    struct assignment both;
    assignment_intersect(rj->owned, a, rj->arena, &both);
    return both.count > 0;
}

static bool is_subscribed_id(const struct reconcile_job *rj, const struct uuid *id)
{
    struct shard_topic t;
    const struct shard_topics *topics = rj->sh->topics;
    return topics->by_id(topics->ctx, id, &t) && consumer_member_is_subscribed(rj->m, t.name);
}

/* Those topics of an assignment that the member is (or is not) subscribed to; no copies. */
static void filter(const struct reconcile_job *rj,
                   const struct assignment *a,
                   bool is_subscribed,
                   struct assignment *ret)
{
    struct topic_partitions *topics =
        arena_alloc(rj->arena, (to_size(a->count) + 1) * sizeof(*topics));
    int32_t count = 0;
    for (int32_t i = 0; i < a->count; i++) {
        if (is_subscribed_id(rj, &a->topics[i].id) == is_subscribed) {
            topics[count++] = a->topics[i];
        }
    }
    *ret = (struct assignment){.topics = topics, .count = count};
}

/* Walks one of the member's sets beside another that is sorted alike. */
struct epoch_walk {
    const struct assignment *a;
    const int32_t *epochs;
    int32_t topic;
    int32_t index;
    size_t passed; /* partitions of the topics before */
};

/* The epoch of a partition; -1: it is not there. Partitions are asked for in ascending order. */
static int32_t walk_to(struct epoch_walk *ew, const struct uuid *id, int32_t partition)
{
    while (ew->topic < ew->a->count) {
        const struct topic_partitions *tp = &ew->a->topics[ew->topic];
        int order = memcmp(tp->id.bytes, id->bytes, sizeof(id->bytes));
        if (order > 0) {
            return -1;
        }
        if (order == 0) {
            while (ew->index < tp->count && tp->partitions[ew->index] < partition) {
                ew->index++;
            }
            bool is_there = ew->index < tp->count && tp->partitions[ew->index] == partition;
            return is_there ? ew->epochs[ew->passed + to_size(ew->index)] : -1;
        }
        ew->passed += to_size(tp->count);
        ew->topic++;
        ew->index = 0;
    }
    return -1;
}

/* Epochs of a set: those that the member has, `otherwise` for what it did not hold. */
static const int32_t *
epochs_of(const struct reconcile_job *rj, const struct assignment *a, int32_t otherwise)
{
    const struct consumer_member *m = rj->m;
    struct epoch_walk held = {.a = &m->assigned, .epochs = m->assigned_epochs};
    int32_t *epochs = arena_alloc(rj->arena, (to_size(assignment_size(a)) + 1) * sizeof(*epochs));
    size_t n = 0;
    for (int32_t i = 0; i < a->count; i++) {
        const struct topic_partitions *tp = &a->topics[i];
        for (int32_t j = 0; j < tp->count; j++) {
            int32_t epoch = walk_to(&held, &tp->id, tp->partitions[j]);
            epochs[n++] = epoch < 0 ? otherwise : epoch;
        }
    }
    return epochs;
}

/* The same for a set of what it holds and what it had to give back before. */
static const int32_t *epochs_of_revoked(const struct reconcile_job *rj, const struct assignment *a)
{
    const struct consumer_member *m = rj->m;
    struct epoch_walk held = {.a = &m->assigned, .epochs = m->assigned_epochs};
    struct epoch_walk pending = {.a = &m->pending_revocation,
                                 .epochs = m->pending_revocation_epochs};
    int32_t *epochs = arena_alloc(rj->arena, (to_size(assignment_size(a)) + 1) * sizeof(*epochs));
    size_t n = 0;
    for (int32_t i = 0; i < a->count; i++) {
        const struct topic_partitions *tp = &a->topics[i];
        for (int32_t j = 0; j < tp->count; j++) {
            int32_t epoch = walk_to(&held, &tp->id, tp->partitions[j]);
            epochs[n++] = epoch < 0 ? walk_to(&pending, &tp->id, tp->partitions[j]) : epoch;
        }
    }
    return epochs;
}

/* What of these nobody holds but the member itself; ret_is_less: it is not all. */
static void take_free(const struct reconcile_job *rj,
                      const struct assignment *wanted,
                      struct assignment *ret,
                      bool *ret_is_less)
{
    struct assignment_builder ab;
    assignment_builder_init(&ab, rj->arena);
    bool is_less = false;
    for (int32_t i = 0; i < wanted->count; i++) {
        const struct topic_partitions *tp = &wanted->topics[i];
        for (int32_t j = 0; j < tp->count; j++) {
            int32_t p = tp->partitions[j];
            if (consumer_partition_epoch(rj->m->consumer, &tp->id, p) == -1 ||
                assignment_has(&rj->m->pending_revocation, &tp->id, p)) {
                assignment_builder_add(&ab, &tp->id, p);
            } else {
                is_less = true;
            }
        }
    }
    assignment_builder_finish(&ab, ret);
    *ret_is_less = is_less;
}

/* As the member stands, with this as what it holds. */
static void position(const struct reconcile_job *rj, int32_t epoch, struct consumer_position *ret)
{
    const struct consumer_member *m = rj->m;
    *ret = (struct consumer_position){
        .epoch = epoch,
        .previous_epoch = m->epoch,
        .state = m->state,
        .assigned = m->assigned,
        .assigned_epochs = m->assigned_epochs,
        .pending_revocation = m->pending_revocation,
        .pending_revocation_epochs = m->pending_revocation_epochs,
    };
}

/* The full step. */
static void next_step(const struct reconcile_job *rj, int32_t epoch, struct consumer_position *ret)
{
    const struct consumer_member *m = rj->m;
    int32_t target_epoch = m->consumer->target_epoch;
    struct assignment target;
    struct assignment kept;
    struct assignment revoked;
    struct assignment wanted;
    filter(rj, &m->target, true, &target);
    assignment_intersect(&m->assigned, &target, rj->arena, &kept);
    assignment_minus(&m->assigned, &kept, rj->arena, &revoked);
    position(rj, epoch, ret);
    if (revoked.count > 0 && holds_any(rj, &revoked)) {
        ret->state = MEMBER_UNREVOKED_PARTITIONS;
        ret->assigned = kept;
        ret->assigned_epochs = epochs_of(rj, &kept, 0);
        ret->pending_revocation = revoked;
        ret->pending_revocation_epochs = epochs_of(rj, &revoked, 0);
        return;
    }
    assignment_minus(&target, &kept, rj->arena, &wanted);
    struct assignment taken;
    bool is_less;
    take_free(rj, &wanted, &taken, &is_less);
    ret->epoch = target_epoch;
    ret->state = is_less ? MEMBER_UNRELEASED_PARTITIONS : MEMBER_STABLE;
    assignment_union(&kept, &taken, rj->arena, &ret->assigned);
    ret->assigned_epochs = epochs_of(rj, &ret->assigned, target_epoch);
    ret->pending_revocation = (struct assignment){0};
}

/* The step that only drops what the member is no longer subscribed to. False: nothing. */
static bool drop_unsubscribed(const struct reconcile_job *rj, struct consumer_position *ret)
{
    const struct consumer_member *m = rj->m;
    struct assignment dropped;
    filter(rj, &m->assigned, false, &dropped);
    const struct subscribed_regex *sr =
        regex_is_set(m->regex) ? consumer_regex_find(m->consumer, m->regex) : NULL;
    bool wants_nothing = m->topics_count == 0 && (sr == NULL || sr->topics_count == 0);
    if (dropped.count == 0 && (!wants_nothing || m->pending_revocation.count > 0)) {
        return false;
    }
    struct assignment pending;
    position(rj, m->epoch, ret);
    filter(rj, &m->assigned, true, &ret->assigned);
    ret->assigned_epochs = epochs_of(rj, &ret->assigned, 0);
    assignment_union(&m->pending_revocation, &dropped, rj->arena, &pending);
    if (pending.count > 0 && holds_any(rj, &pending)) {
        ret->state = MEMBER_UNREVOKED_PARTITIONS;
        ret->pending_revocation = pending;
        ret->pending_revocation_epochs = epochs_of_revoked(rj, &pending);
    }
    return true;
}

static bool step_of(const struct reconcile_job *rj,
                    bool has_subscription_changed,
                    struct consumer_position *ret)
{
    const struct consumer_member *m = rj->m;
    switch (m->state) {
    case MEMBER_STABLE:
        if (m->epoch == m->consumer->target_epoch) {
            return has_subscription_changed && drop_unsubscribed(rj, ret);
        }
        next_step(rj, m->epoch, ret);
        return true;
    case MEMBER_UNREVOKED_PARTITIONS:
        if (holds_any(rj, &m->pending_revocation)) {
            return has_subscription_changed && drop_unsubscribed(rj, ret);
        }
        next_step(rj, m->epoch, ret);
        return true;
    case MEMBER_UNRELEASED_PARTITIONS:
        next_step(rj, m->epoch, ret);
        return true;
    case MEMBER_UNKNOWN: /* the heartbeat has seen to it that the member holds nothing */
        next_step(rj, m->consumer->target_epoch, ret);
        return true;
    }
    check(false);
    return false;
}

static bool
same_set(const struct assignment *a, const int32_t *x, const struct assignment *b, const int32_t *y)
{
    size_t bytes = to_size(assignment_size(a)) * sizeof(*x);
    return assignment_equal(a, b) && (bytes == 0 || memcmp(x, y, bytes) == 0);
}

static void tell(struct shard *sh, struct group *g, const struct consumer_member *m, int64_t before)
{
    char text[96];
    struct strbuf sb;
    strbuf_init(&sb, text, sizeof(text));
    int64_t held = assignment_size(&m->assigned);
    if (m->state == MEMBER_UNREVOKED_PARTITIONS) {
        strbuf_addf(&sb, "%" PRId64 " partitions", assignment_size(&m->pending_revocation));
        story_event(sh, g, STORY_MUST_REVOKE, m->id, strbuf_str(&sb));
    } else if (held > before) {
        strbuf_addf(&sb, "%" PRId64 " partitions%s", held - before,
                    m->state == MEMBER_UNRELEASED_PARTITIONS ? ", waits for more" : "");
        story_event(sh, g, STORY_GOT, m->id, strbuf_str(&sb));
    }
    if (consumer_state_of(g->consumer) == CONSUMER_STABLE) {
        story_step(sh, g, STORY_STEP_STABLE, g->consumer->epoch);
    }
}

bool consumer_reconcile(struct shard *sh,
                        struct group *g,
                        struct consumer_member *m,
                        const struct assignment *owned,
                        bool has_subscription_changed)
{
    if (!has_subscription_changed && consumer_member_is_reconciled(m, g->consumer->target_epoch)) {
        return false;
    }
    struct arena arena = {0};
    struct reconcile_job rj = {.sh = sh, .m = m, .owned = owned, .arena = &arena};
    struct consumer_position at;
    bool has_changed = false;
    bool was_revoking = m->state == MEMBER_UNREVOKED_PARTITIONS;
    int64_t before = assignment_size(&m->assigned);
    if (step_of(&rj, has_subscription_changed, &at)) {
        bool is_same_held =
            same_set(&at.assigned, at.assigned_epochs, &m->assigned, m->assigned_epochs);
        bool is_same = is_same_held && at.epoch == m->epoch &&
                       at.previous_epoch == m->previous_epoch && at.state == m->state &&
                       same_set(&at.pending_revocation, at.pending_revocation_epochs,
                                &m->pending_revocation, m->pending_revocation_epochs);
        if (!is_same) {
            has_changed = !is_same_held;
            consumer_emit_position(sh, g, m->id, &at);
            if (m->classic == NULL && m->state == MEMBER_UNREVOKED_PARTITIONS) {
                timers_arm(&sh->timers, &m->rebalance, sh->now_ms + m->rebalance_timeout_ms);
            } else if (m->classic == NULL) {
                timers_disarm(&sh->timers, &m->rebalance);
            }
            if (was_revoking && m->state != MEMBER_UNREVOKED_PARTITIONS) {
                story_event(sh, g, STORY_REVOKED, m->id, (struct str){0});
            }
            tell(sh, g, m, before);
        }
    }
    arena_release(&arena);
    return has_changed;
}
