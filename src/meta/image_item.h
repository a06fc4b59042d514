/*
 * The items of an image's maps, and how each is found: for the image*.c files alone.
 *
 *   map            key                                      compared by
 *   topic_names    hash of the name with '.' read as '_'    name
 *   topic_ids      first 8 bytes of the id                  id
 *   topics         first 8 bytes of the name                name
 *   configs        type, first 7 bytes of the name          type, name
 *   kept           rank, first 7 bytes of the key           rank, key
 *   pending        number in the open transaction           (unique)
 */
#ifndef META_IMAGE_ITEM_H
#define META_IMAGE_ITEM_H

#include "base/base.h"
#include "meta/image_map.h"
#include "meta/image_parts.h"
#include "wire/cursor.h"

struct image_topic_item {
    struct image_item item;
    struct image_topic topic; /* points into the same allocation */
};

struct image_broker_item {
    struct image_item item;
    struct image_broker broker;
};

/* The configs of one resource, by name. */
struct image_config_item {
    struct image_item item;
    enum config_resource_type type;
    struct str name;
    const struct image_config *configs;
    size_t count;
};

/* A record that is only kept: its identity and its bytes. The rank is the place in a snapshot. */
enum image_kept_rank {
    IMAGE_KEPT_CONTROLLER = 1,
    IMAGE_KEPT_QUOTA,
    IMAGE_KEPT_ACL,
    IMAGE_KEPT_SCRAM,
    IMAGE_KEPT_TOKEN,
};

struct image_kept_item {
    struct image_item item;
    enum image_kept_rank rank;
    struct view key;
    struct view value;
};

/* By id. */
struct image_broker_list {
    _Atomic uint32_t refs;
    size_t count;
    const struct image_broker *items[]; /* each a reference to its item */
};

/* By name. */
struct image_feature_list {
    struct image_item item;
    size_t count;
    const struct image_feature *features;
};

struct image_probe image_probe_name(const struct str *name);
struct image_probe image_probe_id(const struct uuid *id);
struct image_probe image_probe_sorted(const struct str *name);

struct image_config_key {
    enum config_resource_type type;
    struct str name;
};
struct image_probe image_probe_config(const struct image_config_key *key);

struct image_kept_key {
    enum image_kept_rank rank;
    struct view key;
};
struct image_probe image_probe_kept(const struct image_kept_key *key);

struct image_broker_list *image_broker_list_ref(struct image_broker_list *bl); /* takes NULL */
void image_broker_list_unref(struct image_broker_list *bl);                    /* takes NULL */
struct image_broker_item *image_broker_item_of(const struct image_broker *b);

/* Each one flat allocation: the item and everything it points at. */
struct image_topic_item *image_topic_item_new(struct str name,
                                              const struct uuid *id,
                                              const struct image_partition *partitions,
                                              int32_t count);
struct image_broker_item *image_broker_item_new(const struct image_broker *b);
struct image_config_item *image_config_item_new(const struct image_config_key *key,
                                                const struct image_config *configs,
                                                size_t count);
struct image_kept_item *image_kept_item_new(const struct image_kept_key *key, struct view value);
struct image_feature_list *image_feature_list_new(const struct image_feature *features,
                                                  size_t count);

#endif
