/*
 * What an image is made of (P): topics with their partitions, brokers, configs, features. All of it
 * is borrowed from the image and never changes. Constant data, any thread.
 */
#ifndef META_IMAGE_PARTS_H
#define META_IMAGE_PARTS_H

#include "base/base.h"
#include "base/str.h"
#include "base/uuid.h"

enum config_resource_type { /* ConfigResource.Type */
    CONFIG_RESOURCE_UNKNOWN = 0,
    CONFIG_RESOURCE_TOPIC = 2,
    CONFIG_RESOURCE_BROKER = 4,
    CONFIG_RESOURCE_BROKER_LOGGER = 8,
    CONFIG_RESOURCE_CLIENT_METRICS = 16,
    CONFIG_RESOURCE_GROUP = 32,
};

#define IMAGE_NO_LEADER      (-1)
#define IMAGE_PARTITIONS_MAX 1000000 /* of one topic; more is refused before memory is taken */

/* Ids below a hundred are no directory's; a partition has one of these until its broker has told.
 */
enum image_directory { /* DirectoryId */
    IMAGE_DIRECTORY_MIGRATING = 0,
    IMAGE_DIRECTORY_UNASSIGNED = 1,
    IMAGE_DIRECTORY_LOST = 2,
    IMAGE_DIRECTORY_RESERVED_MAX = 99,
};
extern const struct uuid image_directory_unassigned;
/* Which one it is of those that are no directory's; -1: it is a directory's. */
int image_directory_reserved(const struct uuid *id);

struct image_partition {
    int32_t leader; /* -1: none */
    int32_t leader_epoch;
    int32_t partition_epoch;
    int32_t replicas_count;
    int32_t isr_count;
    int32_t adding_count;
    int32_t removing_count;
    int32_t elr_count;
    int32_t last_known_elr_count;
    int8_t leader_recovery_state;
    const int32_t *replicas; /* preferred leader first */
    const int32_t *isr;
    const int32_t *adding;
    const int32_t *removing;
    const int32_t *elr;
    const int32_t *last_known_elr;
    const struct uuid *directories; /* replicas_count of them, or NULL */
};

/* The place of a broker among replicas, or those in sync; -1: it is not there. */
int32_t image_slot(const int32_t *ids, int32_t count, int32_t broker_id);

/* A topic never changes; a change makes another one. Borrowed from the image. */
struct image_topic {
    struct str name;
    struct uuid id;
    int32_t partitions_count;
    const struct image_partition *partitions; /* index = partition id; ids are 0..n-1 */
};

struct image_endpoint {
    struct str name; /* of the listener */
    struct str host;
    uint16_t port;
    int16_t security_protocol;
};

struct image_feature_range {
    struct str name;
    int16_t min;
    int16_t max;
};

struct image_broker {
    int32_t id;
    int64_t epoch;
    struct uuid incarnation_id;
    const struct image_endpoint *endpoints;
    int32_t endpoints_count;
    struct str rack; /* null: none */
    bool is_fenced;
    bool is_in_controlled_shutdown;
    const struct uuid *log_dirs;
    int32_t log_dirs_count;
    const struct uuid *cordoned_log_dirs;
    int32_t cordoned_log_dirs_count;            /* -1: never said (null) */
    const struct image_feature_range *features; /* that it supports, in the order of its record */
    int32_t features_count;
};

struct image_config {
    struct str name;
    struct str value;
};

struct image_feature {
    struct str name;
    int16_t level;
};

#endif
