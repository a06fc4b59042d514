/*
 * The inside of an image: for the image*.c files alone.
 *
 *   map            key                                      compared by
 *   topic_names    hash of the name with '.' read as '_'    name
 *   topic_ids      first 8 bytes of the id                  id
 *   topics         first 8 bytes of the name                name
 *   configs        type, first 7 bytes of the name          type, name
 *   kept           rank, first 7 bytes of the key           rank, key
 *   pending        number in the open transaction           (unique)
 */
#ifndef META_IMAGE_IMPL_H
#define META_IMAGE_IMPL_H

#include "base/base.h"
#include "meta/image.h"
#include "meta/image_map.h"

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

struct image {
    _Atomic uint32_t refs;
    int32_t epoch;
    int64_t offset;
    struct image_map topic_names;
    struct image_map topic_ids;
    struct image_map topics;
    struct image_map configs;
    struct image_map kept;
    struct image_map pending;            /* image_kept_item: records of the open transaction */
    struct image_broker_list *brokers;   /* a reference, NULL: none */
    struct image_feature_list *features; /* a reference, NULL: none */
    size_t partitions_count;
    int64_t next_producer_id; /* -1: none yet */
    bool is_in_transaction;
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

/* One flat allocation that is filled from the front: the item and everything it points at. */
struct image_flat {
    uint8_t *bytes;
    size_t used;
    size_t size;
};
/* All sizes are rounded up to 8; the builder adds them up first, with image_flat_need. */
static inline size_t image_flat_need(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}
void *image_flat_take(struct image_flat *f, size_t bytes);
struct str image_flat_str(struct image_flat *f, struct str s);
const void *
image_flat_copy(struct image_flat *f, const void *bytes, size_t len); /* NULL for len 0 */

/* Flat copies for image_delta. */
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
