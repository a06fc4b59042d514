/*
 * The classic machine: its states.
 *
 * States, and what an event does in each of them ("27": answered with that error; rec: a record is
 * appended; E P C S D: the state that follows, none: it stays). Errors that come before (unknown
 * group or member 25, fenced 82, other generation 22, other protocol 23, full 81) are left out.
 *
 *                       | Empty         | Preparing       | Completing      | Stable
 *                       |               | (members are    | (the leader's   |
 *                       |               |  awaited)       |  sync is)       |
 *     ------------------+---------------+-----------------+-----------------+-----------------
 *     join, no id, v4+  | 79, pending   | 79, pending     | 79, pending     | 79, pending
 *     join, no id, v0-3 | parked, P     | parked          | parked, P       | parked, P
 *     join, pending id  | parked, P     | parked          | parked, P       | parked, P
 *     join, member      | 25            | parked          | same protocols: | follower with
 *                       |               |                 | answered; else  | same protocols:
 *                       |               |                 | parked, P       | answered; else
 *                       |               |                 |                 | parked, P
 *     join, instance    | parked, P     | old id fenced,  | old id fenced,  | old id fenced;
 *     that is known     | (as new)      | parked          | parked, P       | same election:
 *                       |               |                 |                 | answered, rec;
 *                       |               |                 |                 | else parked, P
 *     sync, follower    | 25            | 27              | parked          | its assignment
 *     sync, leader      | 25            | 27              | rec, all syncs  | its assignment
 *                       |               |                 | answered, S     |
 *     heartbeat         | 25            | 27, session     | 0, session      | 0, session
 *     leave, expiry     | pending ones  | maybe complete  | P               | P
 *     join timer        | -             | complete        | -               | -
 *     sync timer        | -             | -               | who did not     | who did not
 *                       |               |                 | sync goes, P    | sync goes, P
 *     abandoned         | D             | joins end, D    | syncs end, D    | D
 *
 * "Complete" is told in classic_rebalance.c.
 *
 * Records are appended (shard_append), not emitted: what a record says is less than the live
 * state, and a reload begins with Stable or Empty.
 *
 * This file is the ground of the machine: the moves of the table, who is in the group, when it must
 * be heard of. It calls no other of its files.
 *
 * Kafka: ClassicGroup, ClassicGroupState.
 */
#include "coord/classic_private.h"

#include "base/base.h"

void classic_move(struct classic *cl, enum classic_state to)
{
    switch (to) {
    case CLASSIC_EMPTY:
        check(cl->state == CLASSIC_PREPARING_REBALANCE);
        break;
    case CLASSIC_PREPARING_REBALANCE:
        check(cl->state == CLASSIC_STABLE || cl->state == CLASSIC_COMPLETING_REBALANCE ||
              cl->state == CLASSIC_EMPTY);
        break;
    case CLASSIC_COMPLETING_REBALANCE:
        check(cl->state == CLASSIC_PREPARING_REBALANCE);
        break;
    case CLASSIC_STABLE:
        check(cl->state == CLASSIC_COMPLETING_REBALANCE);
        break;
    case CLASSIC_DEAD:
        break;
    }
    cl->rebalance->previous_state = cl->state;
    cl->state = to;
    cl->state_wall_ms = cl->sh->wall_ms;
}

/* ---- look-ups ---- */

static struct classic_member *member_of(struct hmap_node *node)
{
    return container_of(node, struct classic_member, node);
}

struct classic_member *classic_member_find(const struct classic *cl, struct str id)
{
    struct hmap_node *node = hmap_first(&cl->members, hash_str(id, cl->members.seed));
    while (node != NULL && !str_equal(member_of(node)->id, id)) {
        node = hmap_next(node);
    }
    return node == NULL ? NULL : member_of(node);
}

struct classic_member *classic_member_find_instance(const struct classic *cl, struct str instance)
{
    const struct hmap *map = &cl->rebalance->instances;
    struct hmap_node *node = hmap_first(map, hash_str(instance, map->seed));
    while (node != NULL) {
        struct classic_member *m = container_of(node, struct classic_member, instance_node);
        if (str_equal(m->instance_id, instance)) {
            return m;
        }
        node = hmap_next(node);
    }
    return NULL;
}

struct classic_pending *classic_pending_find(const struct classic *cl, struct str id)
{
    const struct hmap *map = &cl->rebalance->pending;
    struct hmap_node *node = hmap_first(map, hash_str(id, map->seed));
    while (node != NULL) {
        struct classic_pending *pe = container_of(node, struct classic_pending, node);
        if (str_equal(pe->id, id)) {
            return pe;
        }
        node = hmap_next(node);
    }
    return NULL;
}

struct view classic_member_metadata(const struct classic_member *m, struct str protocol)
{
    for (size_t i = 0; i < m->protocols_count; i++) {
        if (str_equal(m->protocols[i].name, protocol)) {
            return m->protocols[i].metadata;
        }
    }
    return (struct view){.ptr = (const uint8_t *)""};
}

bool classic_is_leader(const struct classic *cl, const struct classic_member *m)
{
    return !str_is_null(cl->leader) && str_equal(cl->leader, m->id);
}

int32_t classic_rebalance_timeout_ms(const struct classic *cl)
{
    int32_t longest = 0;
    list_foreach (node, &cl->order) {
        const struct classic_member *m = list_entry(node, struct classic_member, link);
        longest = m->rebalance_timeout_ms > longest ? m->rebalance_timeout_ms : longest;
    }
    return longest;
}

enum kafka_error
classic_check_member(const struct classic *cl, struct str member_id, struct str instance_id)
{
    if (!str_is_null(instance_id)) {
        const struct classic_member *m = classic_member_find_instance(cl, instance_id);
        if (m == NULL) {
            return KAFKA_ERROR_UNKNOWN_MEMBER_ID;
        }
        if (!str_equal(m->id, member_id)) {
            return KAFKA_ERROR_FENCED_INSTANCE_ID;
        }
    }
    return classic_member_find(cl, member_id) == NULL ? KAFKA_ERROR_UNKNOWN_MEMBER_ID
                                                      : KAFKA_ERROR_NONE;
}

bool classic_have_all_joined(const struct classic *cl)
{
    return cl->members.count == cl->rebalance->awaiting_join && cl->rebalance->pending.count == 0;
}

/* ---- sessions ---- */

void classic_session_touch(struct classic_member *m, int32_t timeout_ms)
{
    struct shard *sh = m->classic->sh;
    m->session_deadline_ms = sh->now_ms + timeout_ms;
    if (sh->is_loading) {
        return; /* classic_loaded starts it */
    }
    if (!timer_is_armed(&m->session) || m->session.deadline_ms > m->session_deadline_ms) {
        timers_arm(&sh->timers, &m->session, m->session_deadline_ms);
    }
}

/* ---- what must always hold ---- */

static void validate_member(const struct classic *cl, const struct classic_member *m)
{
    check(m->classic == cl);
    check(classic_member_find(cl, m->id) == m);
    check(str_is_null(m->instance_id) || classic_member_find_instance(cl, m->instance_id) == m);
    check(m->assignment.ptr != NULL);
    check(classic_pending_find(cl, m->id) == NULL);
    check(m->join == NULL || cl->state == CLASSIC_PREPARING_REBALANCE);
    check(m->sync == NULL || cl->state == CLASSIC_COMPLETING_REBALANCE);
    check(m->join == NULL || m->sync == NULL);
    check(m->has_synced || cl->state == CLASSIC_COMPLETING_REBALANCE ||
          cl->state == CLASSIC_STABLE || cl->state == CLASSIC_DEAD);
    /* Whoever is not parked must be heard of. */
    check(cl->sh->is_loading || cl->state == CLASSIC_DEAD || m->join != NULL || m->sync != NULL ||
          timer_is_armed(&m->session));
    check(!timer_is_armed(&m->session) || m->session.deadline_ms <= m->session_deadline_ms);
}

void classic_validate(const struct classic *cl)
{
    const struct classic_rebalance *rb = cl->rebalance;
    size_t members = 0;
    size_t instances = 0;
    size_t awaiting = 0;
    size_t unsynced = 0;
    list_foreach (node, &cl->order) {
        const struct classic_member *m = list_entry(node, struct classic_member, link);
        validate_member(cl, m);
        members++;
        instances += str_is_null(m->instance_id) ? 0 : 1;
        awaiting += m->join != NULL ? 1 : 0;
        unsynced += m->has_synced ? 0 : 1;
    }
    check(members == cl->members.count);
    check(instances == rb->instances.count);
    check(awaiting == rb->awaiting_join);
    check(unsynced <= rb->pending_sync);
    check(members == 0 || !str_is_null(cl->leader));
    check(members == 0 || !str_is_null(cl->protocol_type));
    check(members > 0 || str_is_null(cl->leader));
    check(timer_is_armed(&rb->join) == (cl->state == CLASSIC_PREPARING_REBALANCE));
    switch (cl->state) {
    case CLASSIC_EMPTY:
        check(members == 0);
        break;
    case CLASSIC_COMPLETING_REBALANCE:
        check(members > 0 && timer_is_armed(&rb->sync));
        check(!str_is_null(cl->protocol_name));
        break;
    case CLASSIC_STABLE:
        check(!str_is_null(cl->protocol_name));
        break;
    case CLASSIC_PREPARING_REBALANCE:
        check(rb->pending_sync == 0 && !timer_is_armed(&rb->sync));
        break;
    case CLASSIC_DEAD:
        break;
    }
}
