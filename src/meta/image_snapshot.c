/*
 * The records that make an image from nothing, in the order of Kafka's MetadataImage.write:
 * features (metadata.version first), brokers, controllers, topics with their partitions, configs,
 * quotas, producer ids, ACLs, SCRAM, delegation tokens; each at the version that metadata.version
 * allows.
 */
#include "base/err.h"
#include "base/mem.h"
#include "meta/features.h"
#include "meta/image_impl.h"
#include "meta/records.h"
#include "wire/gen/messages.h"

struct output {
    const struct image *im;
    struct arena *arena;
    int (*each)(void *ctx, struct view value);
    void *ctx;
    int16_t metadata_version;
};

static int emit(struct output *out, const struct msg *m, int16_t version, void *object)
{
    struct view value;
    int r = meta_record_encode(out->arena, m, version, object, &value);
    if (r >= 0) {
        r = out->each(out->ctx, value);
    }
    arena_reset(out->arena);
    return r < 0 ? r : 0;
}

static int write_features(struct output *out)
{
    const struct image_feature *features;
    size_t count;
    image_features(out->im, &features, &count);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < count; i++) {
            bool is_first = str_is(features[i].name, METADATA_VERSION);
            if (is_first != (pass == 0)) {
                continue;
            }
            struct feature_level_record rec = feature_level_record_default;
            rec.name = features[i].name;
            rec.feature_level = features[i].level;
            int r = emit(out, &feature_level_record_msg, 0, &rec);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

/* The codec takes arrays as writable; it does not write. */
static int32_t *writable_list(const int32_t *list)
{
    return (int32_t *)(uintptr_t)list;
}

static struct uuid *writable_uuids(const struct uuid *list)
{
    return (struct uuid *)(uintptr_t)list;
}

static int write_broker(struct output *out, const struct image_broker *b)
{
    int16_t version = features_register_broker_record(out->metadata_version);
    struct register_broker_record rec = register_broker_record_default;
    rec.broker_id = b->id;
    rec.incarnation_id = b->incarnation_id;
    rec.broker_epoch = b->epoch;
    rec.rack = b->rack;
    rec.fenced = b->is_fenced;
    rec.in_controlled_shutdown = b->is_in_controlled_shutdown;
    if (version >= 3) {
        rec.log_dirs.items = writable_uuids(b->log_dirs);
        rec.log_dirs.count = b->log_dirs_count;
    }
    if (version >= 4) {
        rec.cordoned_log_dirs.items = writable_uuids(b->cordoned_log_dirs);
        rec.cordoned_log_dirs.count = b->cordoned_log_dirs_count;
    }
    rec.end_points.count = b->endpoints_count;
    rec.end_points.items =
        arena_alloc(out->arena, (size_t)b->endpoints_count * sizeof(rec.end_points.items[0]) + 1);
    for (int32_t i = 0; i < b->endpoints_count; i++) {
        struct register_broker_record_broker_endpoint *ep = &rec.end_points.items[i];
        *ep = register_broker_record_broker_endpoint_default;
        ep->name = b->endpoints[i].name;
        ep->host = b->endpoints[i].host;
        ep->port = b->endpoints[i].port;
        ep->security_protocol = b->endpoints[i].security_protocol;
    }
    rec.features.count = b->features_count;
    rec.features.items =
        arena_alloc(out->arena, (size_t)b->features_count * sizeof(rec.features.items[0]) + 1);
    for (int32_t i = 0; i < b->features_count; i++) {
        struct register_broker_record_broker_feature *fr = &rec.features.items[i];
        *fr = register_broker_record_broker_feature_default;
        fr->name = b->features[i].name;
        fr->min_supported_version = b->features[i].min;
        fr->max_supported_version = b->features[i].max;
    }
    return emit(out, &register_broker_record_msg, version, &rec);
}

static int write_brokers(struct output *out)
{
    const struct image_broker *const *brokers;
    size_t count;
    image_brokers(out->im, &brokers, &count);
    for (size_t i = 0; i < count; i++) {
        int r = write_broker(out, brokers[i]);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int write_partition(struct output *out,
                           const struct image_topic *t,
                           int32_t id,
                           const struct image_partition *p)
{
    int16_t version = features_partition_record(out->metadata_version);
    struct partition_record rec = partition_record_default;
    rec.partition_id = id;
    rec.topic_id = t->id;
    rec.replicas.items = writable_list(p->replicas);
    rec.replicas.count = p->replicas_count;
    rec.isr.items = writable_list(p->isr);
    rec.isr.count = p->isr_count;
    rec.removing_replicas.items = writable_list(p->removing);
    rec.removing_replicas.count = p->removing_count;
    rec.adding_replicas.items = writable_list(p->adding);
    rec.adding_replicas.count = p->adding_count;
    rec.leader = p->leader;
    rec.leader_recovery_state = p->leader_recovery_state;
    rec.leader_epoch = p->leader_epoch;
    rec.partition_epoch = p->partition_epoch;
    if (version >= 1) {
        rec.directories.count = p->replicas_count;
        rec.directories.items = writable_uuids(p->directories);
        if (p->directories == NULL) {
            /* Zeros: DirectoryId.MIGRATING. */
            rec.directories.items = arena_alloc(
                out->arena, (size_t)p->replicas_count * sizeof(rec.directories.items[0]) + 1);
        }
    }
    if (version >= 2 && p->elr_count > 0) {
        rec.eligible_leader_replicas.items = writable_list(p->elr);
        rec.eligible_leader_replicas.count = p->elr_count;
    }
    if (version >= 2 && p->last_known_elr_count > 0) {
        rec.last_known_elr.items = writable_list(p->last_known_elr);
        rec.last_known_elr.count = p->last_known_elr_count;
    }
    return emit(out, &partition_record_msg, version, &rec);
}

static int write_topics(struct output *out)
{
    struct image_cursor c = image_map_first(&out->im->topics);
    for (const struct image_slot *s; (s = image_cursor_at(&c)) != NULL; image_cursor_next(&c)) {
        const struct image_topic *t = &((const struct image_topic_item *)s->item)->topic;
        struct topic_record rec = topic_record_default;
        rec.name = t->name;
        rec.topic_id = t->id;
        int r = emit(out, &topic_record_msg, 0, &rec);
        for (int32_t i = 0; r >= 0 && i < t->partitions_count; i++) {
            r = write_partition(out, t, i, &t->partitions[i]);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int write_configs(struct output *out)
{
    struct image_cursor c = image_map_first(&out->im->configs);
    for (const struct image_slot *s; (s = image_cursor_at(&c)) != NULL; image_cursor_next(&c)) {
        const struct image_config_item *ci = (const struct image_config_item *)s->item;
        for (size_t i = 0; i < ci->count; i++) {
            struct config_record rec = config_record_default;
            rec.resource_type = (int8_t)ci->type;
            rec.resource_name = ci->name;
            rec.name = ci->configs[i].name;
            rec.value = ci->configs[i].value;
            int r = emit(out, &config_record_msg, 0, &rec);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

static int write_producer_ids(struct output *out)
{
    if (out->im->next_producer_id < 0) {
        return 0;
    }
    struct producer_ids_record rec = producer_ids_record_default;
    rec.broker_id = -1;
    rec.broker_epoch = -1;
    rec.next_producer_id = out->im->next_producer_id;
    return emit(out, &producer_ids_record_msg, 0, &rec);
}

static int each_kept(const struct image *im,
                     enum image_kept_rank rank,
                     int (*each)(void *ctx, struct view value),
                     void *ctx)
{
    struct image_cursor c = image_map_first(&im->kept);
    for (const struct image_slot *s; (s = image_cursor_at(&c)) != NULL; image_cursor_next(&c)) {
        const struct image_kept_item *ki = (const struct image_kept_item *)s->item;
        if (ki->rank == rank) {
            int r = each(ctx, ki->value);
            if (r < 0) {
                return r;
            }
        }
    }
    return 0;
}

int image_kept_each(const struct image *im,
                    int16_t api_key,
                    int (*each)(void *ctx, struct view value),
                    void *ctx)
{
    switch (api_key) {
    case 10:
        return each_kept(im, IMAGE_KEPT_TOKEN, each, ctx);
    case 11:
        return each_kept(im, IMAGE_KEPT_SCRAM, each, ctx);
    case 14:
        return each_kept(im, IMAGE_KEPT_QUOTA, each, ctx);
    case 18:
        return each_kept(im, IMAGE_KEPT_ACL, each, ctx);
    case 27:
        return each_kept(im, IMAGE_KEPT_CONTROLLER, each, ctx);
    default:
        return ERR_BAD_ARGUMENT;
    }
}

static int write_kept(struct output *out, enum image_kept_rank rank)
{
    return each_kept(out->im, rank, out->each, out->ctx);
}

int image_write_snapshot(const struct image *im,
                         int (*each)(void *ctx, struct view value),
                         void *ctx)
{
    if (im->is_in_transaction) {
        return ERR_BAD_ARGUMENT;
    }
    struct arena arena;
    arena_init(&arena, 0);
    int16_t metadata_version = image_feature_level(im, STR(METADATA_VERSION));
    if (metadata_version < METADATA_VERSION_MIN) {
        metadata_version = METADATA_VERSION_MIN;
    }
    struct output out = {
        .im = im,
        .arena = &arena,
        .each = each,
        .ctx = ctx,
        .metadata_version = metadata_version,
    };
    int r = write_features(&out);
    r = r < 0 ? r : write_brokers(&out);
    r = r < 0 ? r : write_kept(&out, IMAGE_KEPT_CONTROLLER);
    r = r < 0 ? r : write_topics(&out);
    r = r < 0 ? r : write_configs(&out);
    r = r < 0 ? r : write_kept(&out, IMAGE_KEPT_QUOTA);
    r = r < 0 ? r : write_producer_ids(&out);
    r = r < 0 ? r : write_kept(&out, IMAGE_KEPT_ACL);
    r = r < 0 ? r : write_kept(&out, IMAGE_KEPT_SCRAM);
    r = r < 0 ? r : write_kept(&out, IMAGE_KEPT_TOKEN);
    arena_release(&arena);
    return r;
}
