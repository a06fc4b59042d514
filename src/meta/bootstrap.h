/*
 * The records that a cluster begins with and that a node registers with (P): what a first start and
 * a restart of Kafka 4.4.0 write into the metadata log, in this order:
 *
 *   1  control batch of the quorum: LeaderChange; at the first start of dynamic voters also
 *      KRaftVersion and Voters (raft/ writes these)
 *   2  first start only, one batch: BeginTransaction "Bootstrap records", the FeatureLevelRecords
 * of the bootstrap snapshot, ConfigRecord min.insync.replicas of the cluster (when eligible leader
 *      replicas are on), EndTransaction
 *   3  RegisterController
 *   4  RegisterBroker, fenced; its epoch is the base offset of its batch
 *   5  BrokerRegistrationChange fenced -1, the partitions that get their leader back, then
 *      BrokerRegistrationChange with no cordoned directories
 *   stop: BrokerRegistrationChange inControlledShutdown 1, the partitions that lose their leader,
 * then BrokerRegistrationChange fenced 1
 *
 * All functions append to the list; errors are those of the codec.
 */
#ifndef META_BOOTSTRAP_H
#define META_BOOTSTRAP_H

#include "base/base.h"
#include "meta/features.h"
#include "meta/image.h"
#include "meta/records.h"

/* Levels of all features by place in features_table. */
struct bootstrap_levels {
    int16_t level[FEATURES_COUNT];
};

/* What `format` gives a cluster of this metadata.version. */
void bootstrap_levels_at(int16_t metadata_version, struct bootstrap_levels *ret);

/* metadata.version first, then by name; levels of 0 and kraft.version have no record. */
must_check int bootstrap_features(struct meta_records *mr, const struct bootstrap_levels *levels);

/* Step 2. features: the records of the bootstrap snapshot as they are. min_insync_replicas: the
 * broker's own setting, as text; written when eligible.leader.replicas.version is on in them. */
must_check int bootstrap_cluster(struct meta_records *mr,
                                 const struct view *features,
                                 size_t count,
                                 struct str min_insync_replicas);

/* A new leader ends the transaction that its predecessor left open (image_is_in_transaction). */
must_check int bootstrap_abort_transaction(struct meta_records *mr);

struct bootstrap_node {
    int32_t id;
    struct uuid incarnation_id;
    const struct image_endpoint *endpoints; /* of the role: broker or controller listeners */
    int32_t endpoints_count;
    struct str rack; /* null: none */
    const struct uuid *log_dirs;
    int32_t log_dirs_count;
};

must_check int bootstrap_register_controller(struct meta_records *mr,
                                             const struct bootstrap_node *node,
                                             int16_t metadata_version);
must_check int bootstrap_register_broker(struct meta_records *mr,
                                         const struct bootstrap_node *node,
                                         int64_t broker_epoch,
                                         int16_t metadata_version);

enum bootstrap_change {
    BOOTSTRAP_UNFENCE,
    BOOTSTRAP_FENCE,
    BOOTSTRAP_CONTROLLED_SHUTDOWN,
};
must_check int bootstrap_change_broker(struct meta_records *mr,
                                       int32_t id,
                                       int64_t broker_epoch,
                                       enum bootstrap_change change);
/* Its directories that take no new partitions; nothing below metadata.version 4.3-IV0. */
must_check int bootstrap_cordon(struct meta_records *mr,
                                int32_t id,
                                int64_t broker_epoch,
                                const struct uuid *directories,
                                int32_t count,
                                int16_t metadata_version);

#endif
