/*
 * The cluster's metadata at one offset of __cluster_metadata (P): immutable and refcounted, so that
 * a loop turn uses one image throughout without a lock. A new image is made from an old one by
 * replaying committed records (image_delta); unchanged parts are shared, so that a small change on
 * a large image is cheap (bucketed copy on write: a change copies one bucket, never the whole
 * table).
 *
 * Kafka: MetadataImage, MetadataDelta; the records are in proto-specs/metadata.
 * Thread: an image may be read from any thread that holds a reference; a delta has one owner.
 */
#ifndef META_IMAGE_H
#define META_IMAGE_H

#include "base/base.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/uuid.h"
#include "meta/image_parts.h"
#include "wire/cursor.h"

struct image;

struct image *image_new_empty(void);
struct image *image_ref(struct image *im);
struct image *image_unref(struct image *im); /* takes NULL, returns NULL; any thread */

int64_t image_offset(const struct image *im); /* of the last record it holds; -1: none */
int32_t image_epoch(const struct image *im);

const struct image_topic *image_topic_by_name(const struct image *im,
                                              struct str name); /* NULL: none */
const struct image_topic *image_topic_by_id(const struct image *im, const struct uuid *id);
size_t image_topics_count(const struct image *im);
size_t image_partitions_count(const struct image *im);
/* All topics sorted by name into an array in the arena. */
void image_topics_sorted(const struct image *im,
                         struct arena *arena,
                         const struct image_topic ***ret,
                         size_t *ret_count);
/* NULL, or another topic whose name collides ('.' and '_' are the same to metrics). */
const struct image_topic *image_topic_colliding(const struct image *im, struct str name);

const struct image_broker *image_broker(const struct image *im, int32_t id);
void image_brokers(const struct image *im,
                   const struct image_broker *const **ret,
                   size_t *ret_count); /* by id */

/* Dynamic configs of a resource (name "" is the cluster default of brokers). */
void image_configs(const struct image *im,
                   enum config_resource_type type,
                   struct str name,
                   const struct image_config **ret,
                   size_t *ret_count);
struct str image_config_value(const struct image *im,
                              enum config_resource_type type,
                              struct str name,
                              struct str key); /* null: not set */
/* Names of resources of a type that have configs, sorted. */
void image_config_resources(const struct image *im,
                            enum config_resource_type type,
                            struct arena *arena,
                            struct str **ret,
                            size_t *ret_count);

void image_features(const struct image *im,
                    const struct image_feature **ret,
                    size_t *ret_count);                               /* by name */
int16_t image_feature_level(const struct image *im, struct str name); /* 0: not finalized */
int64_t image_next_producer_id(const struct image *im);               /* 0 before the first block */
/* A metadata transaction has begun and not ended at this offset: a new leader aborts it; no
 * snapshot is made here. */
bool image_is_in_transaction(const struct image *im);
/* Records of one kind that are kept as they are (api key 10 tokens, 11 SCRAM, 14 quotas, 18 ACLs,
 * 27 controllers), each as the value bytes of its record. Stops at the first negative result and
 * returns it. */
must_check int image_kept_each(const struct image *im,
                               int16_t api_key,
                               int (*each)(void *ctx, struct view value),
                               void *ctx);

/* Builds the next image. Records of kinds that nothing reads yet (quotas, SCRAM, ACLs, tokens,
 * controllers) are kept as they are and written into snapshots again. */
struct image_delta;
struct image_delta *image_delta_new(struct image *base);
struct image_delta *image_delta_free(struct image_delta *d);
/* One record value: frame version, apiKey, version, message. ERR_MALFORMED/ERR_UNSUPPORTED: unknown
 * record or version. Metadata transactions are honoured: records between BeginTransaction and
 * EndTransaction take effect at the end. */
must_check int image_delta_replay(struct image_delta *d, struct view value);
struct image *image_delta_finish(struct image_delta *d,
                                 int64_t offset,
                                 int32_t epoch); /* frees d; a new reference */

/* What changed between two images, for who must act on it. Cheap: what the images share is skipped.
 * Order: topics by name (one that was deleted and made again: deleted, then created), then configs
 * by type and name, then features. The configs of a deleted topic are reported as changed too. Any
 * function may be NULL. */
struct image_change {
    void (*topic_created)(void *ctx, const struct image_topic *t);
    void (*topic_deleted)(void *ctx, const struct image_topic *t);
    void (*topic_changed)(void *ctx,
                          const struct image_topic *before,
                          const struct image_topic *after);
    void (*config_changed)(void *ctx, enum config_resource_type type, struct str name);
    void (*features_changed)(void *ctx);
};
void image_compare(const struct image *before,
                   const struct image *after,
                   const struct image_change *change,
                   void *ctx);

/* The records that make this image from nothing, in Kafka's snapshot order, for a snapshot. The
 * view is valid during the call; the first negative result ends it. ERR_BAD_ARGUMENT: inside a
 * metadata transaction. */
must_check int
image_write_snapshot(const struct image *im, int (*each)(void *ctx, struct view value), void *ctx);

#endif
