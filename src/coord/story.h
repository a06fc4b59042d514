/*
 * What a group remembers of its last rebalances, for `jackdaw explain group` (P). A ring of bounded
 * size, made when there is something to tell; the machines tell it as they go, and it costs nothing
 * on a heartbeat that changes nothing. story_print.h reads it.
 */
#ifndef COORD_STORY_H
#define COORD_STORY_H

#include "base/base.h"
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

#endif
