/*
 * The feature table; see features.h.
 */
#include "meta/features.h"

/* A step of a feature: this level is what a fresh cluster gets from this metadata.version on. */
struct feature_step {
    uint8_t feature; /* index in features_table */
    uint8_t level;
    uint8_t metadata_version;
};

enum feature_index {
    FEATURE_GROUP,
    FEATURE_KRAFT,
    FEATURE_METADATA,
    FEATURE_SHARE,
    FEATURE_STREAMS,
    FEATURE_TRANSACTION,
    FEATURE_ELR,
};

const struct feature features_table[FEATURES_COUNT] = {
    [FEATURE_GROUP] = {"group.version", 0, 1, 1},
    [FEATURE_KRAFT] = {"kraft.version", 0, 1, 1},
    [FEATURE_METADATA] = {METADATA_VERSION, METADATA_VERSION_MIN, METADATA_VERSION_LATEST,
                          METADATA_VERSION_LATEST},
    [FEATURE_SHARE] = {"share.version", 0, 2, 2},
    [FEATURE_STREAMS] = {"streams.version", 0, 1, 1},
    [FEATURE_TRANSACTION] = {"transaction.version", 0, 2, 2},
    [FEATURE_ELR] = {"eligible.leader.replicas.version", 0, 1, 1},
};

static const struct feature_step steps[] = {
    {FEATURE_KRAFT, 1, 21}, {FEATURE_GROUP, 1, 22}, {FEATURE_TRANSACTION, 2, 24},
    {FEATURE_ELR, 1, 26},   {FEATURE_SHARE, 1, 28}, {FEATURE_STREAMS, 1, 29},
    {FEATURE_SHARE, 2, 31},
};

static const char *const version_names[] = {
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1",
    "3.6-IV2", "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0",
    "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1",
    "4.2-IV0", "4.2-IV1", "4.3-IV0", "4.4-IV0", "4.4-IV1", "4.4-IV2",
};
_Static_assert(ARRAY_LEN(version_names) == METADATA_VERSION_LATEST - METADATA_VERSION_MIN + 1,
               "one name for each level");

const struct feature *features_find(struct str name)
{
    for (size_t i = 0; i < FEATURES_COUNT; i++) {
        if (str_is(name, features_table[i].name)) {
            return &features_table[i];
        }
    }
    return NULL;
}

int16_t features_level_at(const struct feature *f, int16_t metadata_version)
{
    size_t index = (size_t)(f - features_table);
    if (index == FEATURE_METADATA) {
        return metadata_version;
    }
    int16_t level = 0;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        if (steps[i].feature == index && steps[i].metadata_version <= metadata_version) {
            level = steps[i].level;
        }
    }
    return level;
}

int16_t features_metadata_version_for(const struct feature *f, int16_t level)
{
    /* The only dependency that Kafka declares: its records need a place for these replicas. */
    if (f == &features_table[FEATURE_ELR] && level > 0) {
        return METADATA_VERSION_4_0_IV1;
    }
    return METADATA_VERSION_MIN;
}

const char *features_metadata_version_name(int16_t level)
{
    if (level < METADATA_VERSION_MIN || level > METADATA_VERSION_LATEST) {
        return NULL;
    }
    return version_names[level - METADATA_VERSION_MIN];
}

int16_t features_metadata_version_parse(struct str text)
{
    for (int16_t level = METADATA_VERSION_LATEST; level >= METADATA_VERSION_MIN; level--) {
        struct str name = str_from(version_names[level - METADATA_VERSION_MIN]);
        struct str release = str_of(name.ptr, 3); /* "4.4" */
        if (str_equal(text, name) || str_equal(text, release)) {
            return level;
        }
    }
    return -1;
}

int16_t features_register_broker_record(int16_t metadata_version)
{
    if (metadata_version >= METADATA_VERSION_4_3_IV0) {
        return 4;
    }
    if (metadata_version >= METADATA_VERSION_3_7_IV2) {
        return 3;
    }
    return metadata_version >= METADATA_VERSION_3_4_IV0 ? 2 : 1;
}

int16_t features_partition_record(int16_t metadata_version)
{
    if (metadata_version >= METADATA_VERSION_4_0_IV1) {
        return 2;
    }
    return metadata_version >= METADATA_VERSION_3_7_IV2 ? 1 : 0;
}
