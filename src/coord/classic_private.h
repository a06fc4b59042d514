/*
 * What the files of the classic machine share (P); nobody else includes this.
 *
 * The floors, the ground first; each calls those above it in this list alone:
 *
 *     classic.c            the states, look-ups, when a member must be heard of
 *     classic_answer.c     answers of JoinGroup and SyncGroup, parked calls
 *     classic_member.c     members, their protocols and votes, static and half-joined members
 *     classic_record.c     to the log and from there
 *     classic_rebalance.c  a rebalance begins, members are awaited, a generation begins
 *     classic_heartbeat.c  Heartbeat, sessions that end, commits
 *     classic_static.c     a static member comes back
 *     classic_join.c, classic_sync.c, classic_leave.c     JoinGroup, SyncGroup, LeaveGroup
 *     classic_ops.c        the kind, as group.h calls it; the timers
 */
#ifndef COORD_CLASSIC_PRIVATE_H
#define COORD_CLASSIC_PRIVATE_H

#include "base/mem.h"
#include "coord/classic.h"
#include "coord/story.h"

/* The longest text that the log and old versions of answers can carry. */
#define CLASSIC_TEXT_MAX INT16_MAX

/* A dynamic member that has got its id (JoinGroup 4+) and has not come back with it. */
struct classic_pending {
    struct hmap_node node;   /* in rebalance.pending, by id */
    struct classic *classic; /* borrowed */
    struct str id;           /* owned */
    struct timer session;
    int64_t charged;
};

/* A protocol name that at least one member supports. */
struct classic_vote {
    struct hmap_node node; /* in rebalance.votes, by name */
    struct str name;       /* owned, one memory with the struct */
    size_t supporters;     /* members */
    size_t votes;          /* of the election `pass` */
    size_t seat;           /* when it got its first vote */
    uint64_t pass;
};

struct classic_topic {
    struct hmap_node node; /* in rebalance.topics, by name */
    struct str name;       /* one memory with the struct */
};

/* What its timers do: classic_ops.c. */
struct classic_timers {
    void (*session)(struct timer *t, void *ctx);
    void (*pending)(struct timer *t, void *ctx);
    void (*join)(struct timer *t, void *ctx);
    void (*sync)(struct timer *t, void *ctx);
};

struct classic_rebalance {
    struct classic *classic; /* borrowed: whose this is */
    const struct classic_timers *timers;
    enum classic_state previous_state;
    struct hmap instances; /* static members by instance id */
    struct hmap pending;
    struct hmap votes;
    struct hmap topics; /* what this generation's members are subscribed to */
    bool are_topics_known;
    bool is_initial_delay; /* the join timer waits for more first members */
    bool has_new_member;   /* since the initial delay was armed */
    size_t awaiting_join;  /* members with a parked join */
    size_t pending_sync;   /* members whose sync is awaited, and those that were replaced by now */
    uint64_t pass;
    int32_t delay_ms; /* of the initial rebalance: the present piece, and what is left */
    int32_t remaining_ms;
    struct timer join;
    struct timer sync;
};

/* Why a rebalance begins. */
struct classic_cause {
    enum story_cause kind;
    struct str member; /* null: nobody */
    struct str detail; /* null: none */
};

/* ---- classic.c ---- */

void classic_move(struct classic *cl, enum classic_state to);
struct classic_pending *classic_pending_find(const struct classic *cl, struct str id);
bool classic_is_leader(const struct classic *cl, const struct classic_member *m);
int32_t classic_rebalance_timeout_ms(const struct classic *cl);
/* Instance known and the member's own? member known? NONE, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID */
enum kafka_error
classic_check_member(const struct classic *cl, struct str member_id, struct str instance_id);
bool classic_have_all_joined(const struct classic *cl);
/* Its session begins, or begins anew. */
void classic_session_touch(struct classic_member *m, int32_t timeout_ms);

/* ---- classic_answer.c ---- */

/* Of the present generation. The leader gets the members. */
void classic_answer_join(struct classic *cl, struct classic_member *m, struct shard_call *call);
void classic_answer_sync(struct classic_member *m, struct shard_call *call);
void classic_answer_sync_error(struct shard *sh, struct shard_call *call, enum kafka_error error);
/* The parked call is taken off the member and completed; nothing when there is none. */
void classic_complete_join_error(struct classic_member *m,
                                 struct str member_id,
                                 enum kafka_error error);
void classic_complete_sync_error(struct classic_member *m, enum kafka_error error);
void classic_park_join(struct classic_member *m, struct shard_call *call);
struct shard_call *classic_unpark_join(struct classic_member *m);
struct shard_call *classic_unpark_sync(struct classic_member *m);

/* ---- classic_member.c ---- */

/* The member as a request describes it; strings are the request's. protocols: the arena's. */
void classic_member_of_request(const struct shard_call *call,
                               struct str member_id,
                               struct classic_member *ret);
int64_t classic_member_cost(const struct classic_member *like); /* memory of such a member */
/* A copy, in no group. charged: bytes that have been taken for it. */
struct classic_member *
classic_member_new(struct classic *cl, const struct classic_member *like, int64_t charged);
struct classic_member *classic_member_free(struct classic_member *m);
void classic_member_link(struct classic *cl, struct classic_member *m);
/* Out of the group; what it has parked is completed with UNKNOWN_MEMBER_ID. Frees it. */
void classic_member_remove(struct classic_member *m);
/* Takes over `protocols` (its own memory) and lets the old ones go. */
void classic_member_set_protocols(struct classic_member *m,
                                  struct classic_protocol *protocols,
                                  size_t count);
/* Takes timeouts and protocols of the request, whose memory must have been charged. */
void classic_member_update(struct classic_member *m, const struct classic_member *like);
bool classic_member_matches(const struct classic_member *m, const struct join_group_request *rq);
/* Exchanges the id of a static member: the same place, the same everything else. */
struct classic_member *classic_member_rename(struct classic_member *m, struct str id);
bool classic_supports(const struct classic *cl,
                      struct str protocol_type,
                      const struct join_group_request *rq);
struct str classic_elect_protocol(struct classic *cl); /* borrowed from a member; null: none */
void classic_set_protocol_name(struct classic *cl, struct str name);
void classic_set_leader(struct classic *cl, struct str member_id);
void classic_compute_topics(struct classic *cl);
/* False: no memory. */
must_check bool classic_pending_add(struct classic *cl, struct str id, int32_t session_timeout_ms);
void classic_pending_remove(struct classic_pending *pe);

/* ---- classic_record.c ---- */

/* Could the group's record be appended as it is now? */
bool classic_record_fits(struct classic *cl);

/* ---- classic_rebalance.c ---- */

/* A rebalance begins, or when one runs it may be complete now. */
void classic_rebalance_or_complete(struct classic *cl, const struct classic_cause *cause);
void classic_rebalance_begin(struct classic *cl, const struct classic_cause *cause);
/* Completes a rebalance that all have joined, unless it is the initial one. */
void classic_maybe_complete_join(struct classic *cl);
void classic_complete_join(struct classic *cl);
/* What a lost member entails. */
void classic_member_lost(struct classic *cl, const struct classic_cause *cause);
/* Everybody's assignment is dropped, parked syncs get the error. */
void classic_reset_assignments(struct classic *cl, enum kafka_error error);
void classic_pending_fire(struct timer *t, void *ctx);
void classic_join_fire(struct timer *t, void *ctx);
void classic_sync_fire(struct timer *t, void *ctx);

/* ---- classic_heartbeat.c ---- */

void classic_session_fire(struct timer *t, void *ctx);

/* ---- classic_static.c ---- */

void classic_join_static(struct classic *cl,
                         struct classic_member *old,
                         struct shard_call *call,
                         struct str new_id);

#endif
