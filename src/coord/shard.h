/*
 * One coordinator partition (P): the groups and the committed offsets that live in one partition of
 * __consumer_offsets. No I/O, clock, lock or log: time, topics and configs come in with each event,
 * records and completed calls go out.
 *
 * Two doors. A function that handles a request decides from the state and emits records;
 * `shard_emit` encodes a record and replays it at once, so that the next step sees what it has
 * changed. A restart feeds the same records through shard_replay and arrives at the same state.
 * Everything that can be refused is refused before the first record is emitted. What is not in
 * records (sessions, parked joins, half-joined members) is soft: it begins anew after a restart.
 *
 * An event, always in this order, by the owner:
 *
 *   begin      shard_begin(sh, time, topics)
 *   one of     a handler (group_requests.h, consumer.h, offsets.h, group_admin.h),
 *              shard_run_timers, shard_topic_changed, shard_loaded, shard_abandon
 *   records    shard_take_records: what must be appended, in one or more batches
 *   answers    shard_take_completed: calls that are answered when all records emitted until now are
 *              committed (at once when there are none)
 *   deadline   shard_next_deadline: when shard_run_timers wants to be called
 *
 * When an append fails the owner drops the shard (shard_abandon completes what is parked) and loads
 * a new one from the log: there is no way back inside.
 *
 * Kafka: GroupCoordinatorShard, CoordinatorRuntime, GroupMetadataManager, OffsetMetadataManager.
 * Thread: the coordinator's; a shard has one owner.
 */
#ifndef COORD_SHARD_H
#define COORD_SHARD_H

#include "base/base.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "base/timers.h"
#include "base/uuid.h"
#include "wire/codec.h"
#include "wire/gen/errors.h"
#include "wire/gen/messages.h"

struct shard;

/* A topic as the coordinator sees it; its strings live as long as the event. */
struct shard_topic {
    struct str name;
    struct uuid id;
    int32_t partitions_count;
    const void *handle; /* the owner's, for racks() */
};

/* The topics of the cluster at the moment of an event. Any function may be called any number of
 * times during the event. */
struct shard_topics {
    bool (*by_name)(void *ctx, struct str name, struct shard_topic *ret);
    bool (*by_id)(void *ctx, const struct uuid *id, struct shard_topic *ret);
    /* All of them, by name; stops when visit returns false. */
    void (*each)(void *ctx,
                 bool (*visit)(void *visit_ctx, const struct shard_topic *t),
                 void *visit_ctx);
    /* Racks of a partition's replicas into ret[0..max), null ones left out; returns how many. */
    size_t (*racks)(void *ctx,
                    const struct shard_topic *t,
                    int32_t partition,
                    struct str *ret,
                    size_t max);
    void *ctx;
    int64_t version; /* metadata offset: the same number, the same topics */
};

enum shard_topic_change {
    TOPIC_CREATED,
    TOPIC_CHANGED, /* partitions, or racks of their replicas */
    TOPIC_DELETED,
};

/* Configs of one group by GROUP resource over the broker's, already within their bounds. */
struct group_settings {
    int32_t session_timeout_ms;     /* consumer.session.timeout.ms */
    int32_t heartbeat_interval_ms;  /* consumer.heartbeat.interval.ms */
    int32_t assignment_interval_ms; /* consumer.assignment.interval.ms */
};

enum migration_policy { /* group.consumer.migration.policy */
    MIGRATION_DISABLED = 0,
    MIGRATION_UPGRADE = 1,
    MIGRATION_DOWNGRADE = 2,
    MIGRATION_BIDIRECTIONAL = 3, /* both bits */
};

#define SHARD_ASSIGNORS_MAX 8

/* Broker configs, ms and bytes; constant while a shard lives, but for what settings() says. */
struct shard_config {
    int32_t min_session_timeout_ms; /* group.min.session.timeout.ms 6000 */
    int32_t max_session_timeout_ms; /* group.max.session.timeout.ms 1800000 */
    int32_t max_size;               /* group.max.size */
    int32_t initial_rebalance_delay_ms;
    int32_t new_member_join_timeout_ms;        /* 300000 */
    int32_t consumer_max_size;                 /* group.consumer.max.size */
    struct str assignors[SHARD_ASSIGNORS_MAX]; /* group.consumer.assignors: "uniform", "range" */
    size_t assignors_count;
    enum migration_policy migration_policy;
    int32_t regex_refresh_interval_ms; /* group.consumer.regex.refresh.interval.ms 600000 */
    int32_t offset_metadata_max_bytes; /* offset.metadata.max.bytes 4096 */
    /* max.message.bytes of __consumer_offsets: what is above could not be appended, and is refused
     * before; 0: no bound. */
    int32_t record_bytes_max;
    int64_t offsets_retention_ms;
    int64_t offsets_retention_check_interval_ms;
    void (*settings)(void *ctx, struct str group, struct group_settings *ret);
    void *settings_ctx;
    /* Bytes of members and offsets of all shards of a broker; borrowed; NULL: no bound. A request
     * that would go beyond is refused, loading never is. */
    struct mem_budget *memory;
};

/* A request in the coordinator's hands. The owner keeps it until it is completed. `body` stays
 * readable until then; nothing of it may be kept in the state (copy). The answer's memory is the
 * arena's. */
struct shard_call {
    struct list link; /* of whoever parks it, then of sh->completed */
    int16_t api_key;
    int16_t version;
    struct str client_id;   /* "" when the client sent none */
    struct str client_host; /* "/127.0.0.1" as Java prints an address */
    const void *body;       /* generated request */
    void *response;         /* generated response at its defaults */
    struct arena *arena;
};

/* What a record is of: the number in its key. shard_replay.c has their table. */
enum record_kind {
    KIND_LEGACY_OFFSET = 0,
    KIND_OFFSET = 1,
    KIND_CLASSIC = 2,
    KIND_CONSUMER_METADATA = 3,
    KIND_CONSUMER_PARTITION_METADATA = 4,
    KIND_CONSUMER_MEMBER = 5,
    KIND_CONSUMER_TARGET_METADATA = 6,
    KIND_CONSUMER_TARGET_MEMBER = 7,
    KIND_CONSUMER_CURRENT = 8,
    KIND_CONSUMER_REGEX = 16,
};

/* What lives in a shard, as the shard calls it: events come up through here, and so the shard knows
 * no machine. The table that knows all of them is in shard_machines.h. */
struct shard_machines {
    void (*init)(struct shard *sh);    /* the end of shard_new */
    void (*release)(struct shard *sh); /* the begin of shard_free: groups and offsets go */
    /* A decoded record: of the log, or emitted; value NULL: a tombstone. */
    void (*replay)(struct shard *sh,
                   int64_t producer_id,
                   enum record_kind kind,
                   const void *key,
                   const void *value);
    void (*replay_end_txn)(struct shard *sh, int64_t producer_id, bool is_commit);
    void (*loaded)(struct shard *sh);
    void (*abandon)(struct shard *sh, enum kafka_error error);
    void (*topic_changed)(struct shard *sh,
                          enum shard_topic_change change,
                          const struct shard_topic *t);
    const struct group_machines *groups; /* the same for a group: group.h */
};

struct shard {
    const struct shard_machines *machines; /* borrowed */
    const struct shard_config *config;     /* borrowed */
    const struct shard_topics *topics;     /* borrowed; of the event; NULL outside of one */
    int64_t now_ms;                        /* of the event: for deadlines; never jumps */
    int64_t wall_ms;                       /* of the event: for timestamps in records */
    struct timers timers;                  /* on now_ms; ctx of every timer in it is the shard */
    struct rng rng;
    struct hmap groups;      /* struct group by id */
    struct list completed;   /* struct shard_call by link */
    struct shard_out *out;   /* owned: encoded records of the event */
    struct offsets *offsets; /* owned: offsets.h */
    uint64_t records_count;  /* appended until now; soft */
    int32_t partition;       /* of __consumer_offsets */
    bool is_loading;         /* records come from the log: no timers, nothing is emitted */
    int64_t charged;         /* bytes taken from config->memory */
};

/* is_loading. machines: &shard_machines. */
struct shard *shard_new(const struct shard_machines *machines,
                        const struct shard_config *config,
                        int32_t partition,
                        uint64_t seed);
struct shard *shard_free(struct shard *sh); /* nothing may be parked; takes NULL, returns NULL */

void shard_begin(struct shard *sh,
                 int64_t now_ms,
                 int64_t wall_ms,
                 const struct shard_topics *topics);

/* One record of the log, in order, while it is loading. producer_id -1: of no transaction; others
 * are held back until shard_replay_end_txn. Unknown kinds are skipped; ERR_*: bytes that are no
 * record (skipped by the caller, which counts them). */
must_check int shard_replay(struct shard *sh,
                            int64_t producer_id,
                            struct view key,
                            struct view value); /* ptr NULL: a tombstone */
void shard_replay_end_txn(struct shard *sh, int64_t producer_id, bool is_commit);
/* The log has been read to its end: groups that have members start their timers, classic groups
 * that are above their size or in no state that can be begun anew are put right (may emit). An
 * event. */
void shard_loaded(struct shard *sh);
/* Everything that is parked is completed with this error (NOT_COORDINATOR, ...). An event; the
 * shard is freed afterwards. */
void shard_abandon(struct shard *sh, enum kafka_error error);

void shard_run_timers(struct shard *sh);
int64_t shard_next_deadline(const struct shard *sh); /* on now_ms; INT64_MAX: none */

/* The event's topics have this change against those before. Once for each. */
void shard_topic_changed(struct shard *sh,
                         enum shard_topic_change change,
                         const struct shard_topic *t); /* as it is now; deleted: as it was */

/* ---- for the machines ---- */

/* Appends a record. key is of key_msg (its number is msg_api_key), value NULL: a tombstone.
 * _emit replays it at once; _append does not (classic groups, whose live state is richer than their
 * records, as in Kafka). */
void shard_emit(struct shard *sh,
                const struct msg *key_msg,
                void *key,
                const struct msg *value_msg,
                int16_t value_version,
                void *value);
void shard_append(struct shard *sh,
                  const struct msg *key_msg,
                  void *key,
                  const struct msg *value_msg,
                  int16_t value_version,
                  void *value);
/* The call's answer is ready. It must be in no list. */
void shard_complete(struct shard *sh, struct shard_call *call);
/* Memory of the state. False: refuse (never while loading). */
must_check bool shard_charge(struct shard *sh, int64_t bytes);
void shard_give(struct shard *sh, int64_t bytes);
/* A random uuid (version 4) of the shard's own generator, as Java prints java.util.UUID: 36
 * letters. */
#define SHARD_JAVA_UUID_SIZE 37
void shard_java_uuid(struct shard *sh, char ret_text[static SHARD_JAVA_UUID_SIZE]);
/* The same as Kafka's Uuid.randomUuid prints it: never with a leading dash. */
void shard_kafka_uuid(struct shard *sh, char ret_text[static UUID_TEXT_SIZE]);

/* ---- for the owner ---- */

/* Calls each for every record of the event, in order, and forgets them; returns how many. Views are
 * valid during the call. value.ptr NULL: a tombstone. */
size_t shard_take_records(struct shard *sh,
                          void (*each)(void *ctx, struct view key, struct view value),
                          void *ctx);
/* Moves the completed calls behind those in `to`. */
void shard_take_completed(struct shard *sh, struct list *to);

#endif
