/*
 * A group by its name (P), of either protocol. The first that writes a name decides its kind; a
 * group that has committed offsets and no members is an empty classic one without a protocol type
 * ("simple").
 *
 * Owner: the shard; a group lives from the first record, soft member or commit until its tombstone.
 */
#ifndef COORD_GROUP_H
#define COORD_GROUP_H

#include "base/base.h"
#include "base/hmap.h"
#include "base/str.h"
#include "coord/shard.h"

struct classic;         /* classic.h */
struct consumer;        /* consumer.h */
struct consumer_member; /* consumer.h */
struct story;           /* story.h */
struct group_offsets;   /* offsets.h */

enum group_kind {
    GROUP_CLASSIC,
    GROUP_CONSUMER,
};

struct group {
    struct hmap_node node; /* in sh->groups */
    struct str id;         /* owned text */
    enum group_kind kind;
    const struct group_ops *ops;   /* of the kind */
    struct classic *classic;       /* owned; of GROUP_CLASSIC, else NULL */
    struct consumer *consumer;     /* owned; of GROUP_CONSUMER, else NULL */
    struct group_offsets *offsets; /* owned by offsets.c; NULL: it has none */
    struct story *story;           /* owned; NULL: nothing has been told */
    int64_t charged;               /* bytes of the group itself */
    uint64_t seen_from;            /* records_count from which readers see it (group_is_seen) */
};

/* What a kind does for its groups: classic_ops.c and consumer_ops.c. The answers are described at
 * the functions below, by the same names. */
struct group_ops {
    size_t machine_bytes; /* of a machine without members */
    void (*init)(struct shard *sh, struct group *g);
    void (*release)(struct group *g);
    struct str (*state_name)(const struct group *g);
    struct str (*protocol_type)(const struct group *g);
    bool (*is_empty)(const struct group *g);
    bool (*is_dead)(const struct group *g);
    enum kafka_error (*check_commit)(struct shard *sh,
                                     struct group *g,
                                     struct str member_id,
                                     struct str instance_id,
                                     int32_t generation_or_epoch,
                                     bool is_transactional,
                                     int16_t version);
    bool (*is_commit_late)(const struct group *g, struct str member_id, int32_t epoch);
    enum kafka_error (*check_commit_partition)(const struct group *g,
                                               struct str member_id,
                                               int32_t epoch,
                                               const struct uuid *topic_id,
                                               int32_t partition);
    enum kafka_error (*check_offset_fetch)(const struct group *g,
                                           struct str member_id,
                                           int32_t epoch);
    bool (*is_subscribed)(const struct group *g, struct str topic);
    bool (*offset_expiry_base)(const struct group *g,
                               struct str topic,
                               int64_t commit_timestamp,
                               int64_t *ret_base_ms);
    void (*emit_tombstones)(struct shard *sh, struct group *g);
};

/* Whom groups call above themselves; in sh->machines. */
struct group_machines {
    const struct group_ops *classic;
    const struct group_ops *consumer;
    void (*added)(struct shard *sh);                   /* there is one group more */
    void (*forget)(struct shard *sh, struct group *g); /* it goes: its offsets and its story too */
    /* From one kind to the other while members are live: migrate.h. */
    enum kafka_error (*check_upgrade)(const struct shard *sh,
                                      const struct group *g,
                                      struct str *ret_message);
    void (*upgrade)(struct shard *sh, struct group *g);
    bool (*wants_downgrade)(const struct shard *sh,
                            const struct group *g,
                            const struct consumer_member *leaving);
    void (*downgrade)(struct shard *sh, struct group *g, struct consumer_member *leaving);
};

struct group *group_find(const struct shard *sh, struct str id); /* NULL: none */
/* Does the shard's memory have room for one more group of this name? Requests that would make a
 * group ask before they do; making one never fails. */
must_check bool group_has_room(struct shard *sh, struct str id);
/* A new classic group, Empty, without a protocol type; the name must be free. */
struct group *group_add_classic(struct shard *sh, struct str id);
struct group *group_add_consumer(struct shard *sh, struct str id);
/* A classic group that a commit has made without writing anything, since all its metadata was
 * refused. Requests that may write find it at once; those that only read (list, describe) see what
 * the log's last record has made permanent: from the next record of the shard on. */
void group_add_unwritten(struct shard *sh, struct str id);
bool group_is_seen(const struct shard *sh, const struct group *g);
/* Takes it out of the shard and frees it (nobody may be parked; timers are disarmed). Its offsets
 * must be gone, or go with it (offsets_forget). */
void group_remove(struct shard *sh, struct group *g);
/* Exchanges the kind in place: the old machine is freed, offsets and story stay. */
void group_become_consumer(struct shard *sh, struct group *g);
void group_become_classic(struct shard *sh, struct group *g);
/* The same kind anew, as if it had just been added. */
void group_reset(struct shard *sh, struct group *g);

/* Both kinds, by Kafka's names: "Empty", "PreparingRebalance", "CompletingRebalance", "Stable",
 * "Dead" | "Empty", "Assigning", "Reconciling", "Stable", "Dead". */
struct str group_state_name(const struct group *g);
struct str group_kind_name(const struct group *g);     /* "classic", "consumer": Group.GroupType */
struct str group_protocol_type(const struct group *g); /* "" for a simple group */
bool group_is_empty(const struct group *g);            /* no members */
bool group_is_dead(const struct group *g);

/* What committed offsets ask their group (Kafka's Group interface). */

/* May this member commit? version: of OffsetCommit (or TxnOffsetCommit when is_transactional).
 * Resets the session of a classic member. */
enum kafka_error group_check_commit(struct shard *sh,
                                    struct group *g,
                                    struct str member_id,
                                    struct str instance_id, /* null: none */
                                    int32_t generation_or_epoch,
                                    bool is_transactional,
                                    int16_t version);
/* group_check_commit has let it pass: is its epoch below the member's? Then each partition has to
 * be asked for: the member may commit what it has held since an epoch that is not later. */
bool group_is_commit_late(const struct group *g, struct str member_id, int32_t epoch);
enum kafka_error group_check_commit_partition(const struct group *g,
                                              struct str member_id,
                                              int32_t epoch,
                                              const struct uuid *topic_id,
                                              int32_t partition);
/* member_id null and epoch -1: an admin, always allowed. */
enum kafka_error
group_check_offset_fetch(const struct group *g, struct str member_id, int32_t epoch);
bool group_is_subscribed(const struct group *g, struct str topic); /* OffsetDelete, expiry */
/* Kafka's offsetExpirationCondition: base timestamp of expiry, or false when offsets cannot expire
 * (members are there and the topic is subscribed). */
bool group_offset_expiry_base(const struct group *g,
                              struct str topic,
                              int64_t commit_timestamp,
                              int64_t *ret_base_ms);
/* May DeleteGroups take it? NONE, NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND (Dead). Then the tombstones
 * of everything it has written (but offsets); with the last of them the group is gone when it has
 * no offsets: g must not be used afterwards. */
enum kafka_error group_check_delete(const struct group *g);
void group_emit_tombstones(struct shard *sh, struct group *g);

#endif
