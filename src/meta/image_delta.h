/*
 * The inside of an image delta: for image_delta.c and image_replay_*.c alone.
 *
 * A delta holds the next image in the making. Topics and config resources that records change are
 * drafts, mutable, until delta_settle makes items of them: so a topic of many partitions is built
 * once, not once a record.
 */
#ifndef META_IMAGE_DELTA_H
#define META_IMAGE_DELTA_H

#include "base/base.h"
#include "base/hmap.h"
#include "meta/image_impl.h"
#include "wire/gen/messages.h"

#define DELTA_DRAFTS_MAX 512 /* then they are settled: bounds the memory of a long replay */

struct topic_draft {
    struct hmap_node node;              /* in delta.topics, by id */
    struct image_topic_item *base;      /* a reference: what the maps hold now */
    struct image_partition *partitions; /* owned; lists point into base or the delta's arena */
    size_t count;
    size_t cap;
};

struct config_draft {
    struct hmap_node node;          /* in delta.configs */
    struct image_config_key key;    /* in the delta's arena */
    struct image_config_item *base; /* a reference, or NULL */
    struct image_config *entries;   /* owned, by name; text in base or the delta's arena */
    size_t count;
    size_t cap;
};

struct image_delta {
    struct image *next;   /* owned */
    struct arena scratch; /* of one record */
    struct arena arena;   /* of the drafts */
    struct hmap topics;
    struct hmap configs;
};

void delta_settle_topics(struct image_delta *d);
void delta_settle_configs(struct image_delta *d);
/* Frees drafts that were not settled. */
void delta_drop_topics(struct image_delta *d);
void delta_drop_configs(struct image_delta *d);

/* Each replays one decoded record. */
int replay_topic(struct image_delta *d, const struct topic_record *rec);
int replay_remove_topic(struct image_delta *d, const struct remove_topic_record *rec);
int replay_partition(struct image_delta *d, const struct partition_record *rec);
int replay_partition_change(struct image_delta *d, const struct partition_change_record *rec);
int replay_clear_elr(struct image_delta *d, const struct clear_elr_record *rec);

int replay_config(struct image_delta *d, const struct config_record *rec);
/* All configs of the resource go. */
void delta_clear_configs(struct image_delta *d, enum config_resource_type type, struct str name);

int replay_feature_level(struct image_delta *d, const struct feature_level_record *rec);
int replay_register_broker(struct image_delta *d, const struct register_broker_record *rec);
int replay_unregister_broker(struct image_delta *d, const struct unregister_broker_record *rec);
int replay_broker_fencing(struct image_delta *d, int32_t id, int64_t epoch, bool is_fenced);
int replay_broker_change(struct image_delta *d,
                         const struct broker_registration_change_record *rec);

int replay_kept(struct image_delta *d,
                enum image_kept_rank rank,
                struct view key,
                struct view value);
int replay_kept_removal(struct image_delta *d, enum image_kept_rank rank, struct view key);
int replay_quota(struct image_delta *d, const struct client_quota_record *rec, struct view value);
int replay_scram(struct image_delta *d, struct str name, int8_t mechanism, struct view value);

#endif
