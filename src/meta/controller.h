/*
 * The controller's decisions (P): from an image and a request to records and an answer. Nothing
 * here changes an image: the records do, when they are replayed; so a restart and a live run take
 * the same road. Time, entropy and configuration come in through `struct controller`.
 *
 * All functions run on the thread that owns the metadata log. Answers and what they point at live
 * in the `arena` that is passed (that of the request); records in the arena of `records`.
 *
 * Kafka: ControllerApis (what is refused before the controller: duplicates, forbidden names),
 * ReplicationControlManager, ClusterControlManager, ProducerIdControlManager.
 */
#ifndef META_CONTROLLER_H
#define META_CONTROLLER_H

#include "base/base.h"
#include "base/hmap.h"
#include "base/mem.h"
#include "meta/image.h"
#include "meta/records.h"
#include "wire/gen/errors.h"
#include "wire/gen/messages.h"

/* Records that one request may make; Kafka's MAX_RECORDS_PER_USER_OP and its limit of new
 * partitions. */
#define CONTROLLER_RECORDS_MAX    10000
#define CONTROLLER_PARTITIONS_MAX 10000

#define CONTROLLER_PRODUCER_ID_BLOCK 1000

/* The topic that is not a topic. */
#define CONTROLLER_METADATA_TOPIC STR("__cluster_metadata")

struct controller {
    int32_t node_id;
    int32_t default_partitions;         /* num.partitions */
    int16_t default_replication_factor; /* default.replication.factor */
    void *ctx;
    void (*random)(void *ctx, void *ret_bytes, size_t len);
    /* A topic's own configs, each key once, no null values. Refusals: INVALID_CONFIG with a
     * message. */
    enum kafka_error (*check_configs)(void *ctx,
                                      const struct image *im,
                                      const struct image_config *configs,
                                      size_t count,
                                      struct arena *arena,
                                      struct str *ret_message);
    /* All effective configs of such a topic, sorted by name. NULL: answers have none. */
    void (*list_configs)(void *ctx,
                         const struct image *im,
                         const struct image_config *configs,
                         size_t count,
                         struct arena *arena,
                         struct create_topics_response_creatable_topic_configs **ret,
                         int32_t *ret_count);
};

/* What the client may do, asked before the decision; one entry for each topic of the request. */
enum controller_grant {
    CONTROLLER_MAY = 1,          /* create, delete or alter this topic */
    CONTROLLER_MAY_DESCRIBE = 2, /* know that it exists */
    CONTROLLER_MAY_SEE_CONFIGS = 4,
};

typedef uint8_t (*controller_grant_fn)(void *ctx, struct str topic);

/* Null when the name is good, else a sentence that says why not. */
struct str controller_topic_name_problem(struct str name);
/* One of the three topics that only coordinators write. */
bool controller_topic_is_internal(struct str name);
/* True: the request's time was up before it began (Kafka then answers 7 and does nothing). */
static inline bool controller_is_timed_out(int32_t timeout_ms)
{
    return timeout_ms <= 0;
}

/*
 * The three below fill *ret whole, also with refusals, and add no record when nothing is to be done
 * (validateOnly, everything refused, too much at once). `grants` may be NULL: everything is
 * allowed.
 */
void controller_create_topics(const struct controller *ct,
                              const struct image *im,
                              const struct create_topics_request *req,
                              controller_grant_fn grants,
                              void *grants_ctx,
                              struct arena *arena,
                              struct meta_records *records,
                              struct create_topics_response *ret);
void controller_delete_topics(const struct controller *ct,
                              const struct image *im,
                              const struct delete_topics_request *req,
                              controller_grant_fn grants,
                              void *grants_ctx,
                              struct arena *arena,
                              struct meta_records *records,
                              struct delete_topics_response *ret);
void controller_create_partitions(const struct controller *ct,
                                  const struct image *im,
                                  const struct create_partitions_request *req,
                                  controller_grant_fn grants,
                                  void *grants_ctx,
                                  struct arena *arena,
                                  struct meta_records *records,
                                  struct create_partitions_response *ret);

/* Answers that give every topic of a request the same error, as when the whole operation failed. */
void controller_create_topics_fail(const struct create_topics_request *req,
                                   enum kafka_error error,
                                   struct str message,
                                   struct arena *arena,
                                   struct create_topics_response *ret);
void controller_delete_topics_fail(const struct delete_topics_request *req,
                                   enum kafka_error error,
                                   struct str message,
                                   struct arena *arena,
                                   struct delete_topics_response *ret);
void controller_create_partitions_fail(const struct create_partitions_request *req,
                                       enum kafka_error error,
                                       struct str message,
                                       struct arena *arena,
                                       struct create_partitions_response *ret);

/* The next block of producer ids: [*ret_first, *ret_first + CONTROLLER_PRODUCER_ID_BLOCK). */
must_check int controller_allocate_producer_ids(const struct controller *ct,
                                                const struct image *im,
                                                struct meta_records *records,
                                                int64_t *ret_first);

/*
 * A broker comes and goes. Serving: after its registration record it is unfenced, and partitions
 * that have no leader, or whose leader it was in its last life, get it (with a new leader epoch).
 * `was_clean`: its last life ended as it should, so that its place in the eligible leader replicas
 * still stands. Stopping: it leaves leaderships and in-sync sets and is fenced, as Kafka leaves a
 * clean stop.
 */
void controller_broker_serves(const struct image *im,
                              int32_t broker_id,
                              bool was_clean,
                              struct meta_records *records);
void controller_broker_stops(const struct image *im,
                             int32_t broker_id,
                             struct meta_records *records);

/* A broker's log of this partition lies in this directory: a record, where that is news. */
void controller_assign_directory(const struct image *im,
                                 int32_t broker_id,
                                 const struct uuid *topic_id,
                                 int32_t number,
                                 const struct uuid *directory,
                                 struct meta_records *records);

/* The directories of a broker that take no new partitions: a record, where that is news. */
void controller_cordon(const struct image *im,
                       int32_t broker_id,
                       const struct uuid *directories,
                       int32_t count,
                       struct meta_records *records);

/* Shared by the files of the controller. */

/* A set of names of one request, so that long lists of them cost no more than their length. */
struct controller_name {
    struct hmap_node node;
    struct str name;
    int32_t index; /* of its first place */
    int32_t times;
};

struct controller_names {
    struct hmap map;
    struct arena *arena; /* borrowed: holds the entries */
};

void controller_names_init(struct controller_names *cn,
                           const struct controller *ct,
                           struct arena *arena);
void controller_names_release(struct controller_names *cn);
/* Counts the name once more; `index` is kept from the first time. */
struct controller_name *
controller_names_add(struct controller_names *cn, struct str name, int32_t index);

struct controller_assignment {
    const int32_t *replicas;
    int32_t count;
};

/* A manual assignment. count_wanted: replicas that each partition must have; -1: any. */
enum kafka_error controller_check_assignment(const struct image *im,
                                             const struct controller_assignment *as,
                                             int32_t count_wanted,
                                             struct arena *arena,
                                             struct str *ret_message);
/* A new partition. Its first replica that serves leads; all that serve are in sync. False: none
 * serves. */
must_check bool controller_add_partition(const struct image *im,
                                         const struct uuid *topic_id,
                                         int32_t number,
                                         const struct controller_assignment *as,
                                         struct meta_records *records);
/* Eligible leader replicas are in use (KIP-966). */
bool controller_has_elr(const struct image *im);
/* A ConfigRecord; a null value deletes. What must follow all configs of its request (each change of
 * min.insync.replicas clears eligible leader replicas) goes to `after`. ERR_TOO_LARGE: a text is
 * longer than a record can hold. */
must_check int controller_add_config(const struct image *im,
                                     enum config_resource_type type,
                                     struct str resource,
                                     const struct image_config *config,
                                     struct meta_records *records,
                                     struct meta_records *after);
/* The version of PartitionRecord and PartitionChangeRecord. */
int16_t controller_partition_version(const struct image *im);
uint64_t controller_seed(const struct controller *ct);
void controller_random_uuid(const struct controller *ct, struct uuid *ret);

#endif
