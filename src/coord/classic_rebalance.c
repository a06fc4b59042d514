/*
 * How a classic group comes from one generation to the next; the table at the top of classic.c has
 * the whole of it.
 *
 * "Complete" there: dynamic members that did not come back go; nobody is left: E, rec, generation +
 * 1; nobody has come but static ones are there: wait as long again; else generation + 1, a protocol
 * is elected, all joins are answered (the leader's with everybody's metadata), C, and the sync
 * timer runs. P completes as soon as all members are parked and nobody is half-joined, or after the
 * longest rebalance timeout. The first rebalance of an empty group is different: it waits for the
 * initial delay, as often again as new members have come in the meantime, up to the rebalance
 * timeout.
 *
 * Kafka: GroupMetadataManager.prepareRebalance, completeClassicGroupJoin, expirePendingSync,
 * tryCompleteInitialRebalanceElseSchedule, onLoaded.
 */
#include "coord/classic_private.h"

#include "base/base.h"

enum {
    /* Only static members that stay away: a rebalance timeout of 0 must not become a busy loop. */
    RETRY_MS_MIN = 100,
};

static void arm(struct classic *cl, struct timer *t, int64_t delay_ms)
{
    timers_arm(&cl->sh->timers, t, cl->sh->now_ms + max_i64(delay_ms, 0));
}

/* ---- a rebalance begins ---- */

void classic_reset_assignments(struct classic *cl, enum kafka_error error)
{
    list_foreach (node, &cl->order) {
        struct classic_member *m = list_entry(node, struct classic_member, link);
        classic_member_set_assignment(m, (struct view){0});
        if (m->sync != NULL) {
            classic_complete_sync_error(m, error);
            classic_session_touch(m, m->session_timeout_ms);
        }
    }
}

/* Nobody's sync is awaited any more. */
static void end_sync(struct classic *cl)
{
    if (cl->rebalance->pending_sync > 0) {
        list_foreach (node, &cl->order) {
            list_entry(node, struct classic_member, link)->has_synced = true;
        }
        cl->rebalance->pending_sync = 0;
    }
    timers_disarm(&cl->sh->timers, &cl->rebalance->sync);
}

void classic_rebalance_begin(struct classic *cl, const struct classic_cause *cause)
{
    struct classic_rebalance *rb = cl->rebalance;
    if (cl->state == CLASSIC_COMPLETING_REBALANCE) {
        classic_reset_assignments(cl, KAFKA_ERROR_REBALANCE_IN_PROGRESS);
    }
    end_sync(cl);
    bool is_initial = cl->state == CLASSIC_EMPTY;
    if (is_initial) {
        int32_t delay_ms = cl->sh->config->initial_rebalance_delay_ms;
        int64_t remaining_ms = (int64_t)classic_rebalance_timeout_ms(cl) - delay_ms;
        rb->delay_ms = delay_ms;
        rb->remaining_ms = to_i32(max_i64(remaining_ms, 0));
        rb->is_initial_delay = true;
        arm(cl, &rb->join, delay_ms);
    }
    classic_move(cl, CLASSIC_PREPARING_REBALANCE);
    story_begin(cl->sh, cl->group, cause->kind, cause->member, cause->detail);
    story_step(cl->sh, cl->group, STORY_STEP_JOINING, cl->generation);
    if (is_initial) {
        return;
    }
    if (classic_have_all_joined(cl)) {
        classic_complete_join(cl);
    } else {
        arm(cl, &rb->join, classic_rebalance_timeout_ms(cl));
    }
}

void classic_maybe_complete_join(struct classic *cl)
{
    if (cl->state == CLASSIC_PREPARING_REBALANCE &&
        cl->rebalance->previous_state != CLASSIC_EMPTY && classic_have_all_joined(cl)) {
        classic_complete_join(cl);
    }
}

void classic_rebalance_or_complete(struct classic *cl, const struct classic_cause *cause)
{
    switch (cl->state) {
    case CLASSIC_EMPTY:
    case CLASSIC_COMPLETING_REBALANCE:
    case CLASSIC_STABLE:
        classic_rebalance_begin(cl, cause);
        break;
    case CLASSIC_PREPARING_REBALANCE:
        if (cause->kind != STORY_MEMBER_REJOINED) {
            story_begin(cl->sh, cl->group, cause->kind, cause->member, cause->detail);
        }
        classic_maybe_complete_join(cl);
        break;
    case CLASSIC_DEAD:
        break;
    }
}

void classic_prepare_rebalance(struct shard *sh unused_ok, struct group *g, struct str reason)
{
    struct classic_cause cause = {.kind = STORY_PROTOCOL_CHANGED, .detail = reason};
    classic_rebalance_or_complete(g->classic, &cause);
}

/* ---- the members have joined ---- */

/* The leader has come back, or somebody else who has leads. False: nobody has. */
static bool elect_leader(struct classic *cl)
{
    if (str_is_null(cl->leader)) {
        return false;
    }
    const struct classic_member *leader = classic_member_find(cl, cl->leader);
    if (leader != NULL && leader->join != NULL) {
        return true;
    }
    list_foreach (node, &cl->order) {
        const struct classic_member *m = list_entry(node, struct classic_member, link);
        if (m->join != NULL) {
            classic_set_leader(cl, m->id);
            return true;
        }
    }
    return false;
}

static void remove_late_members(struct classic *cl)
{
    list_foreach_safe (node, tmp, &cl->order) {
        struct classic_member *m = list_entry(node, struct classic_member, link);
        if (m->join == NULL && str_is_null(m->instance_id)) {
            story_event(cl->sh, cl->group, STORY_EXPIRED, m->id, STR("did not join in time"));
            classic_member_remove(m);
        }
    }
}

static void begin_generation(struct classic *cl)
{
    struct classic_rebalance *rb = cl->rebalance;
    classic_move(cl, CLASSIC_COMPLETING_REBALANCE);
    story_step(cl->sh, cl->group, STORY_STEP_SYNCING, cl->generation);
    list_foreach (node, &cl->order) {
        struct classic_member *m = list_entry(node, struct classic_member, link);
        if (m->join != NULL) {
            classic_answer_join(cl, m, classic_unpark_join(m));
        }
        classic_session_touch(m, m->session_timeout_ms);
        m->is_new = false;
        m->has_synced = false;
    }
    rb->pending_sync = cl->members.count;
    arm(cl, &rb->sync, classic_rebalance_timeout_ms(cl));
}

void classic_complete_join(struct classic *cl)
{
    check(cl->state == CLASSIC_PREPARING_REBALANCE);
    timers_disarm(&cl->sh->timers, &cl->rebalance->join);
    cl->rebalance->is_initial_delay = false;
    remove_late_members(cl);
    if (!elect_leader(cl) && cl->members.count > 0) {
        arm(cl, &cl->rebalance->join, max_i64(classic_rebalance_timeout_ms(cl), RETRY_MS_MIN));
        return;
    }
    cl->generation = cl->generation == INT32_MAX ? 1 : cl->generation + 1;
    classic_set_protocol_name(cl, classic_elect_protocol(cl));
    classic_compute_topics(cl);
    cl->rebalance->pending_sync = 0;
    if (cl->members.count > 0) {
        begin_generation(cl);
        return;
    }
    classic_move(cl, CLASSIC_EMPTY);
    classic_append_record(cl->sh, cl->group);
    story_step(cl->sh, cl->group, STORY_STEP_STABLE, cl->generation);
}

/* ---- somebody is lost ---- */

void classic_member_lost(struct classic *cl, const struct classic_cause *cause)
{
    switch (cl->state) {
    case CLASSIC_STABLE:
    case CLASSIC_COMPLETING_REBALANCE:
        classic_rebalance_begin(cl, cause);
        break;
    case CLASSIC_PREPARING_REBALANCE:
        story_begin(cl->sh, cl->group, cause->kind, cause->member, cause->detail);
        if (classic_have_all_joined(cl)) {
            classic_complete_join(cl); /* the initial one too, as in Kafka */
        }
        break;
    case CLASSIC_EMPTY:
    case CLASSIC_DEAD:
        break;
    }
}

static void pending_lost(struct classic *cl)
{
    if (cl->state == CLASSIC_PREPARING_REBALANCE && classic_have_all_joined(cl)) {
        classic_complete_join(cl);
    }
}

/* ---- timers ---- */

void classic_pending_fire(struct timer *t, void *ctx unused_ok)
{
    struct classic_pending *pe = container_of(t, struct classic_pending, session);
    struct classic *cl = pe->classic;
    classic_pending_remove(pe);
    pending_lost(cl);
}

void classic_join_fire(struct timer *t, void *ctx unused_ok)
{
    struct classic_rebalance *rb = container_of(t, struct classic_rebalance, join);
    struct classic *cl = rb->classic;
    if (cl->state != CLASSIC_PREPARING_REBALANCE) {
        return;
    }
    if (rb->is_initial_delay && rb->has_new_member && rb->remaining_ms != 0) {
        int32_t passed_ms = rb->delay_ms;
        int32_t initial_ms = cl->sh->config->initial_rebalance_delay_ms;
        rb->has_new_member = false;
        rb->delay_ms = to_i32(min_i64(initial_ms, rb->remaining_ms));
        rb->remaining_ms = to_i32(max_i64((int64_t)rb->remaining_ms - passed_ms, 0));
        arm(cl, t, rb->delay_ms);
        return;
    }
    classic_complete_join(cl);
}

void classic_sync_fire(struct timer *t, void *ctx unused_ok)
{
    struct classic *cl = container_of(t, struct classic_rebalance, sync)->classic;
    bool is_waiting = cl->state == CLASSIC_COMPLETING_REBALANCE || cl->state == CLASSIC_STABLE;
    if (!is_waiting || cl->rebalance->pending_sync == 0) {
        return;
    }
    struct classic_cause cause = {
        .kind = STORY_REBALANCE_TIMEOUT,
        .detail = STR("did not sync in time"),
    };
    list_foreach_safe (node, tmp, &cl->order) {
        struct classic_member *m = list_entry(node, struct classic_member, link);
        if (!m->has_synced) {
            story_event(cl->sh, cl->group, STORY_EXPIRED, m->id, cause.detail);
            classic_member_remove(m);
        }
    }
    classic_rebalance_begin(cl, &cause);
}

/* ---- a group that comes from elsewhere, or ends ---- */

void classic_settle(struct classic *cl, int32_t generation)
{
    check(cl->state == CLASSIC_EMPTY && cl->members.count > 0);
    cl->generation = generation;
    classic_set_protocol_name(cl, classic_elect_protocol(cl));
    classic_compute_topics(cl);
    cl->rebalance->previous_state = CLASSIC_COMPLETING_REBALANCE;
    cl->state = CLASSIC_STABLE;
    cl->state_wall_ms = cl->sh->wall_ms;
}

void classic_complete_parked(struct classic *cl, enum kafka_error error)
{
    list_foreach (node, &cl->order) {
        struct classic_member *m = list_entry(node, struct classic_member, link);
        classic_complete_join_error(m, m->id, error);
        classic_complete_sync_error(m, error);
    }
}

void classic_abandon(struct shard *sh unused_ok, struct group *g, enum kafka_error error)
{
    struct classic *cl = g->classic;
    classic_complete_parked(cl, error);
    timers_disarm(&cl->sh->timers, &cl->rebalance->join);
    timers_disarm(&cl->sh->timers, &cl->rebalance->sync);
    classic_move(cl, CLASSIC_DEAD);
}

void classic_loaded(struct shard *sh, struct group *g)
{
    struct classic *cl = g->classic;
    list_foreach (node, &cl->order) {
        struct classic_member *m = list_entry(node, struct classic_member, link);
        classic_session_touch(m, m->session_timeout_ms);
    }
    if (to_i64(cl->members.count) > sh->config->max_size) {
        struct classic_cause cause = {
            .kind = STORY_LOADED,
            .detail = STR("the group is above group.max.size"),
        };
        classic_rebalance_begin(cl, &cause);
    }
}
