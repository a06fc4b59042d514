/*
 * Committed offsets (P): commit, fetch, delete, expiry; offsets of transactions that have not ended
 * are held apart.
 *
 * Kafka: OffsetMetadataManager, OffsetAndMetadata, OffsetExpirationConditionImpl; KIP-98, 211
 * (retention), 447 (stable offsets), 709 (several groups). Checks stand in Kafka's order at the top
 * of offsets.c.
 */
#ifndef COORD_OFFSETS_H
#define COORD_OFFSETS_H

#include "coord/group.h"
#include "coord/shard.h"

struct offsets;       /* of a shard: open transactions, the expiry timer */
struct group_offsets; /* of a group: by topic and partition */

struct committed_offset {
    int64_t offset;
    int64_t commit_timestamp;
    int64_t expire_timestamp; /* -1: by retention (only old records say one) */
    struct str metadata;      /* never null */
    struct uuid topic_id;     /* zero: unknown */
    int32_t leader_epoch;     /* -1: unknown */
};

struct offsets *offsets_new(struct shard *sh);
struct offsets *offsets_free(struct offsets *os);
void offsets_loaded(struct shard *sh); /* the expiry timer starts */

/* A group has come into the shard: the expiry timer runs while there is one. */
void offsets_group_added(struct shard *sh);

/* OffsetCommit 2-10. The handler has checked topics against the cluster, in the order of the
 * request: a topic is refused as a whole, or some of its partitions are. */
struct offset_commit_topic {
    struct str name;        /* resolved from its id in version 10; "" when that is unknown */
    struct uuid id;         /* zero: unknown */
    enum kafka_error error; /* of the whole topic */
    const enum kafka_error *partition_errors; /* NULL: all are good */
};
struct offset_commit_check {
    const struct offset_commit_topic *topics;
    size_t refused_count; /* topics and partitions with an error */
};
void offsets_commit(struct shard *sh,
                    struct shard_call *call,
                    const struct offset_commit_check *checked);
/* The answer when no shard was asked: what is refused has its own error, all others this one.
 * checked NULL: every topic of the request as it is. */
void offsets_commit_answer(const struct offset_commit_request *body,
                           int16_t version,
                           const struct offset_commit_check *checked,
                           enum kafka_error error,
                           struct arena *arena,
                           struct offset_commit_response *ret);

/* One group of OffsetFetch 1-10, whose answer is of version 8+ in form; topics NULL count -1: all.
 * In version 10 the handler has resolved names from ids; an offset that was committed for another
 * topic of the same name is none. A group error has no topics. */
void offsets_fetch(struct shard *sh,
                   const struct offset_fetch_request_offset_fetch_request_group *group,
                   bool require_stable,
                   struct arena *arena,
                   struct offset_fetch_response_offset_fetch_response_group *ret);

/* OffsetDelete 0, of topics that the cluster has; completes nothing. ret: at its default. */
void offsets_delete(struct shard *sh,
                    const struct offset_delete_request *body,
                    struct arena *arena,
                    struct offset_delete_response *ret);

/* Tombstones for all offsets of a group (DeleteGroups). */
void offsets_emit_group_tombstones(struct shard *sh, struct group *g);
/* A topic is gone: tombstones for its offsets in every group. */
void offsets_topic_deleted(struct shard *sh, const struct shard_topic *t);
/* Drops what a group has without records (the group is freed). */
void offsets_forget(struct shard *sh, struct group *g);
bool offsets_are_empty(const struct group *g);    /* nothing is committed, nothing is pending */
bool offsets_have_pending(const struct group *g); /* of open transactions */
/* NULL: nothing is committed. */
const struct committed_offset *
offsets_find(const struct shard *sh, const struct group *g, struct str topic, int32_t partition);

void offsets_replay(struct shard *sh,
                    int64_t producer_id, /* -1: none */
                    const struct offset_commit_key *key,
                    const struct offset_commit_value *value);
void offsets_replay_end_txn(struct shard *sh, int64_t producer_id, bool is_commit);

/* Every committed offset, in no order. For comparisons and for people. */
void offsets_each(const struct group *g,
                  void (*visit)(void *ctx,
                                struct str topic,
                                int32_t partition,
                                const struct committed_offset *at),
                  void *ctx);

void offsets_validate(const struct shard *sh);

#endif
