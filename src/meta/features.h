/*
 * Cluster features (P): which this program knows, between which levels, and what a freshly
 * formatted cluster has; and what metadata.version means for the versions of records. ApiVersions,
 * format, UpdateFeatures and registration all read this table.
 *
 * Kafka: Feature, MetadataVersion, KRaftVersion of 4.4.0.
 */
#ifndef META_FEATURES_H
#define META_FEATURES_H

#include "base/base.h"
#include "base/str.h"

#define METADATA_VERSION        "metadata.version"
#define METADATA_VERSION_MIN    7  /* 3.3-IV3 */
#define METADATA_VERSION_LATEST 33 /* 4.4-IV2 */

/* Levels of metadata.version at which something begins. */
enum metadata_version_step {
    METADATA_VERSION_3_4_IV0 = 8,  /* RegisterBrokerRecord 2 */
    METADATA_VERSION_3_6_IV1 = 13, /* metadata transactions */
    METADATA_VERSION_3_7_IV0 = 15, /* controllers register */
    METADATA_VERSION_3_7_IV2 = 17, /* directories of replicas */
    METADATA_VERSION_4_0_IV1 = 23, /* eligible leader replicas in records */
    METADATA_VERSION_4_3_IV0 = 30, /* cordoned log directories */
};

struct feature {
    const char *name;
    int16_t min; /* supported levels */
    int16_t max;
    int16_t level; /* of a fresh cluster */
};

/* In the order in which ApiVersions and RegisterControllerRecord list them. kraft.version is the
 * quorum's: it has no FeatureLevelRecord. */
#define FEATURES_COUNT 7
extern const struct feature features_table[FEATURES_COUNT];

const struct feature *features_find(struct str name); /* NULL: unknown */
/* What a fresh cluster of this metadata.version has. */
int16_t features_level_at(const struct feature *f, int16_t metadata_version);
/* The least metadata.version that this level needs. */
int16_t features_metadata_version_for(const struct feature *f, int16_t level);

/* "4.4-IV2"; NULL outside of the supported levels. */
const char *features_metadata_version_name(int16_t level);
/* "4.4-IV2", or a release, "4.4": its last level. -1: unknown. */
int16_t features_metadata_version_parse(struct str text);

/* Versions of records at a metadata.version. */
int16_t features_register_broker_record(int16_t metadata_version);
int16_t features_partition_record(int16_t metadata_version); /* PartitionChangeRecord too */

#endif
