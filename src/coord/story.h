/*
 * What a group remembers of its last rebalances, for `jackdaw explain group` (P). A ring of bounded
 * size, made when there is something to tell; the machines tell it as they go, and it costs nothing
 * on a heartbeat that changes nothing.
 */
#ifndef COORD_STORY_H
#define COORD_STORY_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "coord/group.h"

#define STORY_REBALANCES_MAX 8  /* remembered of a group */
#define STORY_EVENTS_MAX     64 /* of one rebalance; then they are counted only */

enum story_cause {
    STORY_NEW_MEMBER,
    STORY_MEMBER_REJOINED, /* its metadata changed, or the leader came back */
    STORY_MEMBER_LEFT,
    STORY_MEMBER_REMOVED, /* by an admin */
    STORY_SESSION_TIMEOUT,
    STORY_REBALANCE_TIMEOUT,
    STORY_STATIC_REPLACED,
    STORY_SUBSCRIPTION_CHANGED,
    STORY_TOPICS_CHANGED,
    STORY_ASSIGNOR_CHANGED,
    STORY_PROTOCOL_CHANGED, /* a migration */
    STORY_LOADED,           /* the coordinator began anew */
};

enum story_event_kind {
    STORY_JOINED,
    STORY_REJOINED,
    STORY_LEFT,
    STORY_EXPIRED, /* its session, or its time to join, sync or revoke */
    STORY_FENCED,
    STORY_SYNCED,
    STORY_MUST_REVOKE,
    STORY_REVOKED,
    STORY_GOT, /* partitions */
    STORY_NOTE,
};

enum story_step {
    STORY_STEP_JOINING,  /* classic: members are awaited */
    STORY_STEP_SYNCING,  /* classic: the leader's assignment is awaited */
    STORY_STEP_ASSIGNED, /* consumer: the target is computed */
    STORY_STEP_STABLE,   /* the rebalance is over */
};

/* A rebalance begins; while one runs its cause is added to it. What has been told in the same
 * millisecond behind the end of the one before belongs to it, so an event may be told first.
 * member: null when nobody is the cause; detail: what a client gave as reason, a topic, ...; null:
 * none. All texts are copied, at most 128 bytes of each. */
void story_begin(struct shard *sh,
                 struct group *g,
                 enum story_cause cause,
                 struct str member,
                 struct str detail);
void story_event(struct shard *sh,
                 struct group *g,
                 enum story_event_kind kind,
                 struct str member,
                 struct str detail);
/* The step that begins now. epoch: generation, or the group's epoch. Nothing when no rebalance
 * runs. */
void story_step(struct shard *sh, struct group *g, enum story_step step, int32_t epoch);
struct story *story_free(struct shard *sh, struct story *st);

/* The timeline and the members with what they own, as text for a person or as one JSON object; in
 * the arena. false: there is no such group. Between events (sh->topics NULL) topics of consumer
 * groups are shown by their ids. Fields of the JSON, whose names stay as they are:
 *
 *   group, kind ("classic", "consumer"), state (Kafka's name), protocol_type, protocol (classic;
 *   else null), leader (a member id; else null), epoch (generation of a classic group),
 *   assignment_epoch, rebalances_total (since this coordinator has begun), is_incomplete (memory
 *   was short), members_omitted (beyond 10,000, or 64 MiB of text)
 *   rebalances[], the oldest first:
 *     number (from 1; 0: events before the first one), began_at (ISO 8601, UTC), began_at_ms,
 *     duration_ms (null: it has not ended), is_running, running_ms, causes_forgotten,
 *     events_forgotten
 *     causes[]: cause, after_ms (since the begin), member_id (or null), detail (or null)
 *     steps[]: step, after_ms, epoch, duration_ms (null: it runs, or is the last one),
 *       waited_for[]: member_id, waited_ms (since the step began), in_vain (it expired); the one
 *       that came last is the first
 *     events[]: event, after_ms, member_id (or null), detail (or null)
 *   members[], by id:
 *     member_id, instance_id (or null), client_id, client_host, protocol ("classic", "consumer"),
 *     state ("stable"; classic: "must-rejoin", "joined", "must-sync", "synced"; consumer:
 *     "must-heartbeat", "must-revoke", "waits-for-partitions", "unknown"), epoch (-1: classic),
 *     is_leader, is_awaited (the rebalance that runs waits for it), subscribed_topics[],
 *     subscribed_regex (or null), owns[] and must_revoke[]: topic, partitions[];
 *     unread_assignment_bytes (not 0: of an assignment that is not in the consumers' format)
 *
 * Causes: new-member, member-rejoined, member-left, member-removed, session-timeout,
 * rebalance-timeout, static-member-replaced, subscription-changed, topics-changed,
 * assignor-changed, protocol-changed, coordinator-loaded. Steps: joining, syncing, assigned,
 * stable. Events: joined, rejoined, left, expired, fenced, synced, must-revoke, revoked, got, note.
 */
bool story_explain(const struct shard *sh,
                   struct str group_id,
                   bool as_json,
                   struct arena *arena,
                   struct str *ret);

#endif
