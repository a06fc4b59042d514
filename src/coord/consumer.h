/*
 * The consumer group protocol, KIP-848 (P): the coordinator assigns, members reconcile at their own
 * pace by heartbeats.
 *
 * Kafka: ConsumerGroup, ConsumerGroupMember, CurrentAssignmentBuilder, TargetAssignmentBuilder,
 * GroupMetadataManager.consumerGroupHeartbeat. Epochs: the group's (what members asked for), the
 * target's (what was computed), the member's (where it has arrived). The table of member states
 * stands at the top of consumer.c.
 */
#ifndef COORD_CONSUMER_H
#define COORD_CONSUMER_H

#include "coord/assignor.h"
#include "coord/group.h"
#include "coord/shard.h"
#include "coord/story.h"

enum consumer_state {
    CONSUMER_EMPTY,
    CONSUMER_ASSIGNING,
    CONSUMER_RECONCILING,
    CONSUMER_STABLE,
    CONSUMER_DEAD,
};

enum consumer_member_state { /* Kafka's MemberState: the number in records */
    MEMBER_STABLE = 0,
    MEMBER_UNREVOKED_PARTITIONS = 1,
    MEMBER_UNRELEASED_PARTITIONS = 2,
    MEMBER_UNKNOWN = 127,
};

/* A member that speaks the classic protocol inside a consumer group (ClassicMemberMetadata). */
struct consumer_classic {
    int32_t session_timeout_ms;
    struct classic_protocol *protocols; /* in the member's texts: classic.h */
    size_t protocols_count;
};

struct consumer_timers; /* consumer_private.h */

struct consumer_member {
    struct hmap_node node;        /* in consumer.members, by id */
    struct hmap_node by_instance; /* when static */
    struct consumer *consumer;    /* borrowed */
    void *texts;                  /* owned: all that its metadata points to, but the id */
    struct str id;
    struct str instance_id; /* null: dynamic */
    struct str rack_id;     /* null: none */
    struct str client_id;
    struct str client_host;
    struct str *topics; /* subscribed names, sorted, each once */
    size_t topics_count;
    struct str regex;           /* null or "": none */
    struct str server_assignor; /* null: none */
    int32_t rebalance_timeout_ms;
    int32_t epoch;
    int32_t previous_epoch;
    enum consumer_member_state state;
    struct assignment assigned;           /* owned: what it holds */
    struct assignment pending_revocation; /* owned: what it must give back */
    /* Owned: the epochs at which it got each of these partitions, in their order. */
    int32_t *assigned_epochs;
    int32_t *pending_revocation_epochs;
    struct assignment target;         /* owned: what the assignor gave it */
    bool has_target;                  /* there is a record of it, be it empty */
    struct consumer_classic *classic; /* in texts; NULL: it speaks the consumer protocol */
    struct timer session;
    int64_t session_deadline_ms; /* armed lazily */
    struct timer rebalance;      /* revocation; or join and sync of a classic member */
    int64_t charged;
};

struct consumer {
    struct group *group; /* borrowed */
    struct shard *sh;    /* borrowed */
    int32_t epoch;
    int32_t target_epoch;
    int64_t metadata_hash;
    struct hmap members;
    size_t members_count;
    size_t classic_members_count;
    /* and what consumer*.c needs: static members, current owners of partitions, subscriptions,
     * regular expressions, refresh deadline */
    struct consumer_details *details;
};

struct consumer *
consumer_new(struct shard *sh, struct group *g, const struct consumer_timers *timers);
struct consumer *consumer_free(struct consumer *cg);

void consumer_heartbeat(struct shard *sh, struct shard_call *call); /* ConsumerGroupHeartbeat 0-1 */
/* One group of ConsumerGroupDescribe, as it is now (the caller waits until that is committed). */
void consumer_describe(struct shard *sh,
                       struct str group_id,
                       struct arena *arena,
                       struct consumer_group_describe_response_described_group *ret);

enum consumer_state consumer_state_of(const struct consumer *cg);
struct consumer_member *consumer_member_find(const struct consumer *cg, struct str id);

/* Doors of replay, one a record kind; value NULL: a tombstone. */
void consumer_replay_metadata(struct shard *sh,
                              const struct consumer_group_metadata_key *key,
                              const struct consumer_group_metadata_value *value);
void consumer_replay_partition_metadata(
    struct shard *sh,
    const struct consumer_group_partition_metadata_key *key,
    const struct consumer_group_partition_metadata_value *value);
void consumer_replay_member(struct shard *sh,
                            const struct consumer_group_member_metadata_key *key,
                            const struct consumer_group_member_metadata_value *value);
void consumer_replay_target_metadata(
    struct shard *sh,
    const struct consumer_group_target_assignment_metadata_key *key,
    const struct consumer_group_target_assignment_metadata_value *value);
void consumer_replay_target_member(
    struct shard *sh,
    const struct consumer_group_target_assignment_member_key *key,
    const struct consumer_group_target_assignment_member_value *value);
void consumer_replay_current(struct shard *sh,
                             const struct consumer_group_current_member_assignment_key *key,
                             const struct consumer_group_current_member_assignment_value *value);
void consumer_replay_regex(struct shard *sh,
                           const struct consumer_group_regular_expression_key *key,
                           const struct consumer_group_regular_expression_value *value);

void consumer_loaded(struct shard *sh, struct group *g);
void consumer_topic_changed(struct shard *sh,
                            struct group *g,
                            enum shard_topic_change change,
                            const struct shard_topic *t);

/* What group.h asks (consumer_ops.c). */
extern const struct group_ops consumer_ops;
enum kafka_error consumer_check_commit(struct shard *sh,
                                       struct group *g,
                                       struct str member_id,
                                       struct str instance_id,
                                       int32_t epoch,
                                       bool is_transactional,
                                       int16_t version);
bool consumer_is_commit_late(const struct group *g, struct str member_id, int32_t epoch);
/* A late commit is good for a partition that has been the member's since an epoch not later. */
enum kafka_error consumer_check_commit_partition(const struct group *g,
                                                 struct str member_id,
                                                 int32_t epoch,
                                                 const struct uuid *topic_id,
                                                 int32_t partition);
enum kafka_error
consumer_check_offset_fetch(const struct group *g, struct str member_id, int32_t epoch);
bool consumer_is_subscribed(const struct group *g, struct str topic);
void consumer_emit_tombstones(struct shard *sh, struct group *g);

/* For migrate.h. */

/* What a heartbeat does once the member stands as `updated` says: only id and metadata of it are
 * looked at (instance, rack, client, topics, regex, assignor, rebalance timeout, classic). Records
 * of the member, the group's epoch, the target (when its interval has passed), the reconciliation;
 * arms session and revocation timers. owned: what the member says it holds (NULL: it does not
 * say). The group must be a consumer group. */
void consumer_update_member(struct shard *sh,
                            struct group *g,
                            const struct consumer_member *updated,
                            const struct assignment *owned,
                            struct consumer_member **ret);
/* A static member comes back as another: the old one's records become the new one's, with its
 * target and what it holds, at epoch 0. The old one is freed. */
struct consumer_member *consumer_replace_member(struct shard *sh,
                                                struct group *g,
                                                struct consumer_member *old,
                                                struct str new_id);
void consumer_sort_names(struct str *names, size_t *count); /* in place, each once */
/* The names that it subscribes to; patterns aside. */
bool consumer_same_topics(const struct consumer_member *a, const struct consumer_member *b);
/* The session begins anew: by the group's timeout, or by its own for a classic member. */
void consumer_touch_member(struct shard *sh, struct consumer_member *m);
/* Takes members out with their records and bumps the epoch once; may end in a downgrade
 * (migrate.h). The group may be another object afterwards, or gone: find it again. */
void consumer_remove_members(struct shard *sh,
                             struct group *g,
                             struct consumer_member *const *members,
                             size_t count,
                             enum story_cause cause,
                             struct str reason); /* null: none */
/* NULL: nobody has this instance id. */
struct consumer_member *consumer_member_of_instance(const struct consumer *cg,
                                                    struct str instance_id);
/* Epoch of the member that holds a partition or still has to give it back; -1: it is free. */
int32_t
consumer_partition_epoch(const struct consumer *cg, const struct uuid *topic_id, int32_t partition);
/* Kafka's hash of the topics that the group is subscribed to now. */
int64_t consumer_compute_hash(struct shard *sh, struct consumer *cg);

/* Records, for conversions: emitted and replayed at once. */
void consumer_emit_member(struct shard *sh, struct group *g, const struct consumer_member *m);
void consumer_emit_epoch(struct shard *sh, struct group *g, int32_t epoch, int64_t hash);
void consumer_emit_target(struct shard *sh,
                          struct group *g,
                          struct str member_id,
                          const struct assignment *target);
void consumer_emit_target_metadata(struct shard *sh,
                                   struct group *g,
                                   int32_t epoch,
                                   int64_t timestamp);
/* Where a member has arrived. */
struct consumer_position {
    int32_t epoch;
    int32_t previous_epoch;
    enum consumer_member_state state;
    struct assignment assigned;
    const int32_t *assigned_epochs; /* NULL: all at `epoch` */
    struct assignment pending_revocation;
    const int32_t *pending_revocation_epochs; /* NULL: all at `epoch` */
};
void consumer_emit_position(struct shard *sh,
                            struct group *g,
                            struct str member_id,
                            const struct consumer_position *at);

void consumer_validate(const struct consumer *cg);

#endif
