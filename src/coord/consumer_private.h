/*
 * What the files of a consumer group share (P). Nobody but consumer*.c includes this.
 *
 * The floors, the ground first; each calls those above it in this list alone:
 *
 *     consumer.c                    the group's state, look-ups
 *     consumer_subscription.c       who is subscribed to what (consumer_hash.c)
 *     consumer_member.c             members, what they hold; the group's memory
 *     consumer_record.c             records, written and replayed
 *     consumer_target.c, consumer_reconcile.c, consumer_regex.c, consumer_leave.c    the steps
 *     consumer_heartbeat.c          the request, which takes the steps
 *     consumer_check.c, consumer_describe.c    questions
 *     consumer_ops.c                the kind, as group.h calls it; the timers
 *
 * Everything here follows from records, replayed live or from the log, but for the refresh deadline
 * and the cached hash.
 */
#ifndef COORD_CONSUMER_PRIVATE_H
#define COORD_CONSUMER_PRIVATE_H

#include "base/base.h"
#include "base/hmap.h"
#include "base/mem.h"
#include "coord/assignor.h"
#include "coord/consumer.h"
#include "coord/group.h"
#include "coord/shard.h"

/* A topic that somebody is subscribed to, by name or through a resolved pattern. */
struct subscribed_topic {
    struct hmap_node node; /* by name */
    struct str name;       /* behind the struct */
    int32_t by_name;       /* members */
    int32_t by_regex;      /* patterns */
};

struct subscribed_regex {
    struct hmap_node node; /* by text */
    struct str text;       /* behind the struct */
    int32_t members;
    bool is_resolved;
    int64_t version;    /* of the topics that it was matched against */
    int64_t timestamp;  /* wall */
    struct str *topics; /* owned, with its texts in one block: sorted, each once */
    size_t topics_count;
    int64_t charged;
};

/* A partition that a member holds or must give back, at the epoch of that member. */
struct owned_partition {
    struct hmap_node node;
    struct uuid topic_id;
    int32_t partition;
    int32_t epoch;
};

/* The target of a member that has no other record (yet): in a compacted log it may come first. */
struct orphan_target {
    struct hmap_node node;
    struct str member_id; /* behind the struct */
    struct assignment target;
};

struct assignor_count {
    struct str name; /* owned */
    int32_t members;
};

/* What the timers of members do: consumer_ops.c. */
struct consumer_timers {
    void (*session)(struct timer *t, void *ctx);
    void (*rebalance)(struct timer *t, void *ctx);
};

struct consumer_details {
    const struct consumer_timers *timers;
    struct hmap instances; /* struct consumer_member by instance id */
    struct hmap topics;
    struct hmap regexes;
    struct hmap owners;
    struct hmap orphans;
    struct assignor_count *assignors; /* owned; only those that members name */
    size_t assignors_count;
    size_t assignors_cap;
    size_t resolved_count;       /* regexes with topics */
    size_t subscribed_count;     /* regexes with members */
    size_t reconciled_count;     /* members that have arrived at the target */
    int64_t target_timestamp;    /* wall; 0: the next target is computed at once */
    int64_t refresh_deadline_ms; /* when the topics are looked at again without a reason */
    int64_t new_topics_version;  /* of the topics when one of them was new */
    int64_t hash;                /* cached */
    int64_t hash_version;        /* of the topics that it was computed from */
    bool hash_is_known;          /* since the subscriptions have changed */
    bool has_partition_metadata; /* a record of an older Kafka, to be removed */
    int64_t charged;
};

/* ---- consumer_member.c ---- */

struct consumer_member *consumer_member_new(struct consumer *cg, struct str id);
void consumer_member_free(struct consumer_member *m); /* takes it out of everything */
void consumer_member_set_metadata(struct consumer_member *m, const struct consumer_member *like);
/* Copies; takes over the owners of its partitions. */
void consumer_member_set_position(struct consumer_member *m, const struct consumer_position *at);
void consumer_member_set_target(struct consumer_member *m,
                                const struct assignment *target); /* NULL: none */
/* Bytes that a member of these texts takes, its partitions aside. */
int64_t consumer_member_cost(const struct consumer_member *like);
bool consumer_member_is_reconciled(const struct consumer_member *m, int32_t target_epoch);
void consumer_count_reconciled(struct consumer *cg); /* after a new target epoch */
bool consumer_metadata_equal(const struct consumer_member *a, const struct consumer_member *b);
/* All of them by id, in the arena. */
struct consumer_member **consumer_members_sorted(const struct consumer *cg, struct arena *arena);

/* ---- consumer_subscription.c ---- */

void consumer_subscribe(struct consumer *cg, const struct consumer_member *m);
void consumer_unsubscribe(struct consumer *cg, const struct consumer_member *m);
struct subscribed_regex *consumer_regex_find(const struct consumer *cg, struct str text);
void consumer_regex_resolve(struct consumer *cg,
                            struct str text,
                            const struct consumer_group_regular_expression_value *value);
void consumer_regex_forget(struct consumer *cg, struct str text); /* its topics */
void consumer_subscriptions_release(struct consumer *cg);
/* The assignor that most members want; the first of the config when nobody wants one. */
struct str consumer_preferred_assignor(const struct consumer *cg);
bool consumer_is_homogeneous(const struct consumer *cg);
bool consumer_member_is_subscribed(const struct consumer_member *m, struct str topic);

/* ---- consumer_target.c ---- */

/* Computes it when the group's epoch is ahead and its interval has passed. */
void consumer_update_target(struct shard *sh, struct group *g);

/* ---- consumer_reconcile.c ---- */

/* One step of the member towards its target. True: what it holds has changed. */
bool consumer_reconcile(struct shard *sh,
                        struct group *g,
                        struct consumer_member *m,
                        const struct assignment *owned, /* NULL: it does not say */
                        bool has_subscription_changed);

/* ---- consumer_regex.c ---- */

/* What was resolved before the member changed, for the decision whether to do it again. */
struct regex_before {
    size_t resolved_count;
    int64_t version;
    int64_t timestamp;
};
void consumer_regex_before(const struct consumer *cg, struct regex_before *ret);
/* Resolves all patterns of the group anew when there is a reason, which may bump the epoch. */
void consumer_refresh_regexes(struct shard *sh,
                              struct group *g,
                              const struct regex_before *before,
                              bool is_new);

/* ---- consumer_heartbeat.c ---- */

struct update_outcome {
    struct consumer_member *member;
    bool has_assignment_changed;
    bool is_regex_new; /* nobody had its pattern before */
};
void consumer_apply(struct shard *sh,
                    struct group *g,
                    const struct consumer_member *updated,
                    const struct assignment *owned,
                    struct update_outcome *ret);

/* ---- consumer_leave.c ---- */

void consumer_session_fire(struct timer *t, void *ctx);
void consumer_rebalance_fire(struct timer *t, void *ctx);

/* ---- consumer_record.c ---- */

void consumer_emit_regex_tombstone(struct shard *sh, struct group *g, struct str text);
void consumer_emit_regex(struct shard *sh,
                         struct group *g,
                         struct str text,
                         struct str *topics,
                         size_t topics_count);
void consumer_emit_partition_metadata_tombstone(struct shard *sh, struct group *g);
void consumer_emit_member_tombstones(struct shard *sh, struct group *g, struct str member_id);

static inline bool regex_is_set(struct str regex)
{
    return regex.len > 0;
}

#endif
