/* The inside of an image: for the image*.c files alone. */
#ifndef META_IMAGE_IMPL_H
#define META_IMAGE_IMPL_H

#include "base/base.h"
#include "meta/image.h"
#include "meta/image_item.h"
#include "meta/image_map.h"

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

#endif
