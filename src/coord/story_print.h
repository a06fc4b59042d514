/*
 * The story of a group and its members as they are now, told to a person or a tool (P): what
 * `jackdaw explain group` prints.
 */
#ifndef COORD_STORY_PRINT_H
#define COORD_STORY_PRINT_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "coord/shard.h"

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
