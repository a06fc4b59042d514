/*
 * The classic group protocol (P): a member leads and assigns, the coordinator counts heads.
 *
 * Kafka: ClassicGroup, GroupMetadataManager.classicGroupJoin and its kin; KIP-62, 134 (initial
 * delay), 345 (static members), 394 (member id first), 559 (protocol in answers), 800 (reasons),
 * 814 (skip assignment). The table of states stands at the top of classic.c.
 */
#ifndef COORD_CLASSIC_H
#define COORD_CLASSIC_H

#include "coord/group.h"
#include "coord/shard.h"

enum classic_state {
    CLASSIC_EMPTY,
    CLASSIC_PREPARING_REBALANCE,
    CLASSIC_COMPLETING_REBALANCE,
    CLASSIC_STABLE,
    CLASSIC_DEAD,
};

/* One of the protocols that a member supports, in its order of preference. */
struct classic_protocol {
    struct str name;
    struct view metadata;
};

struct classic_timers; /* classic_private.h */

struct classic_member {
    struct hmap_node node;          /* in classic.members, by id */
    struct hmap_node instance_node; /* of a static one: by instance id */
    struct list link;               /* in classic.order */
    struct classic *classic;        /* borrowed */
    struct str id;                  /* owned, with one memory for all five texts */
    struct str instance_id;         /* null: dynamic */
    struct str client_id;
    struct str client_host;
    struct str protocol_type;
    int32_t rebalance_timeout_ms;
    int32_t session_timeout_ms;
    struct classic_protocol *protocols; /* owned, one memory with its texts (mem_free) */
    size_t protocols_count;
    struct view assignment;  /* owned; never null */
    struct shard_call *join; /* parked; NULL: none */
    struct shard_call *sync;
    bool is_new;
    bool has_synced; /* in this generation, or nobody waits for it */
    struct timer session;
    int64_t session_deadline_ms; /* the timer is armed lazily: it looks here when it fires */
    int64_t charged;
};

struct classic {
    struct group *group;      /* borrowed */
    struct shard *sh;         /* borrowed */
    enum classic_state state; /* changed by classic_move alone */
    int64_t state_wall_ms;    /* since when: currentStateTimestamp of its record */
    int32_t generation;
    struct str protocol_type; /* null: none yet */
    struct str protocol_name; /* null: none */
    struct str leader;        /* member id; null: none */
    struct hmap members;
    struct list order; /* members in the order in which they came (the leader is the first) */
    /* and what classic*.c needs: static members, pending members, votes, timers */
    struct classic_rebalance *rebalance;
};

struct classic *classic_new(struct shard *sh, struct group *g, const struct classic_timers *timers);
struct classic *classic_free(struct classic *cl); /* disarms its timers; nobody is parked */

/* The requests to a classic group, behind group_requests.h; each completes the call now or parks it
 * (Join, Sync). */
/* g NULL: there is none, it is made. An empty consumer group makes room for a classic one. */
void classic_join(struct shard *sh, struct group *g, struct shard_call *call);
void classic_sync(struct shard *sh, struct group *g, struct shard_call *call); /* not empty */
void classic_heartbeat(struct shard *sh, struct group *g, struct shard_call *call);
void classic_leave(struct shard *sh, struct group *g, struct shard_call *call); /* takes NULL */
/* A join that is refused, as its version says it. */
void classic_answer_join_error(struct shard *sh,
                               struct shard_call *call,
                               struct str member_id,
                               enum kafka_error error);

/* Doors of replay. value NULL: a tombstone. */
void classic_replay(struct shard *sh,
                    const struct group_metadata_key *key,
                    const struct group_metadata_value *value);
void classic_loaded(struct shard *sh, struct group *g); /* once the log is read */
void classic_abandon(struct shard *sh, struct group *g, enum kafka_error error);

/* What group.h asks (classic_ops.c). */
extern const struct group_ops classic_ops;
enum kafka_error classic_check_commit(struct group *g,
                                      struct str member_id,
                                      struct str instance_id,
                                      int32_t generation,
                                      bool is_transactional);
bool classic_is_subscribed(const struct group *g, struct str topic);
bool classic_offset_expiry_base(const struct group *g,
                                struct str topic,
                                int64_t commit_timestamp,
                                int64_t *ret_base_ms);

/* Appends the group's record as it is now (GroupMetadataValue version 3 as Kafka 4.4 writes it). */
void classic_append_record(struct shard *sh, struct group *g);
/* For migrations: begins a rebalance of a group that has just become classic, and for the tests. */
void classic_prepare_rebalance(struct shard *sh, struct group *g, struct str reason);
struct classic_member *classic_member_find(const struct classic *cl, struct str id);
struct classic_member *classic_member_find_instance(const struct classic *cl, struct str instance);
/* What the member said for a protocol; empty when it does not have it. */
struct view classic_member_metadata(const struct classic_member *m, struct str protocol);
/* Puts a member as it stands into a group (a downgrade): texts, timeouts, protocols and assignment
 * are copied from `like`; its session starts. NULL: its id or its instance is there already. */
struct classic_member *classic_member_add(struct classic *cl, const struct classic_member *like);
void classic_member_set_assignment(struct classic_member *m, struct view assignment);
/* A group that has just been filled with classic_member_add becomes Stable in this generation: its
 * protocol is elected, its topics are known. Then assignments may be set (they are written for the
 * protocol), classic_append_record and classic_prepare_rebalance follow. */
void classic_settle(struct classic *cl, int32_t generation);
/* Every parked join and sync is completed with this error (an upgrade). */
void classic_complete_parked(struct classic *cl, enum kafka_error error);

/* One memory (mem_free) for the array and its texts; NULL when count is 0. */
struct classic_protocol *classic_protocols_copy(const struct classic_protocol *protocols,
                                                size_t count);
int64_t classic_protocols_bytes(const struct classic_protocol *protocols, size_t count);

/* Checks what must always hold; ends the process when it does not. Tests call it between steps. */
void classic_validate(const struct classic *cl);

#endif
