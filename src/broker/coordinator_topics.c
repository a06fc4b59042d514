/*
 * What a shard asks its owner: topics and racks of the image, configs of the broker and of groups.
 *
 * A group's own configs (its GROUP resource) lie over the broker's, and the bounds that the broker
 * sets lie over both (Kafka: GroupConfigManager, GroupConfig.fromProps, GroupConfig.evaluate).
 */
#include "base/base.h"
#include "broker/broker.h"
#include "broker/coordinator_impl.h"
#include "config/config.h"

#define MS_PER_MINUTE   60000
#define STATE_BYTES_MAX (INT64_C(512) << 20) /* members and offsets of all groups */
#define GZIP_LEVEL      (-1)
#define LZ4_LEVEL       9
#define ZSTD_LEVEL      3

int32_t coordinator_partition(const struct image *im, struct str group_id)
{
    const struct image_topic *t = image_topic_by_name(im, OFFSETS_TOPIC);
    if (t == NULL || t->partitions_count <= 0) {
        return -1;
    }
    /* Utils.abs: the smallest number has no opposite and counts as 0. */
    int32_t hash = str_java_hash(group_id);
    int32_t place = hash == INT32_MIN ? 0 : hash < 0 ? -hash : hash;
    return place % t->partitions_count;
}

/* ---- topics ---- */

static void topic_of(const struct image_topic *t, struct shard_topic *ret)
{
    *ret = (struct shard_topic){
        .name = t->name, .id = t->id, .partitions_count = t->partitions_count, .handle = t};
}

static bool fill(const struct image_topic *t, struct shard_topic *ret)
{
    if (t != NULL) {
        topic_of(t, ret);
    }
    return t != NULL;
}

static bool by_name(void *ctx, struct str name, struct shard_topic *ret)
{
    struct coordinator *co = ctx;
    return fill(image_topic_by_name(co->image, name), ret);
}

static bool by_id(void *ctx, const struct uuid *id, struct shard_topic *ret)
{
    struct coordinator *co = ctx;
    return fill(image_topic_by_id(co->image, id), ret);
}

static void
each(void *ctx, bool (*visit)(void *visit_ctx, const struct shard_topic *t), void *visit_ctx)
{
    struct coordinator *co = ctx;
    if (co->topics_sorted == NULL) {
        image_topics_sorted(co->image, &co->topics_arena, &co->topics_sorted,
                            &co->topics_sorted_count);
    }
    for (size_t i = 0; i < co->topics_sorted_count; i++) {
        struct shard_topic st;
        topic_of(co->topics_sorted[i], &st);
        if (!visit(visit_ctx, &st)) {
            break;
        }
    }
}

static size_t
racks(void *ctx, const struct shard_topic *st, int32_t partition, struct str *ret, size_t max)
{
    struct coordinator *co = ctx;
    const struct image_topic *t = st->handle;
    if (partition < 0 || partition >= t->partitions_count) {
        return 0;
    }
    const struct image_partition *ip = &t->partitions[partition];
    size_t count = 0;
    for (int32_t i = 0; i < ip->replicas_count && count < max; i++) {
        const struct image_broker *b = image_broker(co->image, ip->replicas[i]);
        if (b != NULL && !str_is_null(b->rack)) {
            ret[count++] = b->rack;
        }
    }
    return count;
}

void coordinator_topics_init(struct coordinator *co)
{
    co->topics = (struct shard_topics){
        .by_name = by_name,
        .by_id = by_id,
        .each = each,
        .racks = racks,
        .ctx = co,
        .version = -1,
    };
}

void coordinator_topics_reset(struct coordinator *co)
{
    co->topics.version = image_offset(co->image);
    co->topics_sorted = NULL;
    co->topics_sorted_count = 0;
    arena_reset(&co->topics_arena);
}

struct comparison {
    void (*each)(void *ctx, enum shard_topic_change change, const struct shard_topic *t);
    void *ctx;
};

static void
tell(const struct comparison *c, enum shard_topic_change change, const struct image_topic *t)
{
    struct shard_topic st;
    topic_of(t, &st);
    c->each(c->ctx, change, &st);
}

static void on_created(void *ctx, const struct image_topic *t)
{
    tell(ctx, TOPIC_CREATED, t);
}

static void on_deleted(void *ctx, const struct image_topic *t)
{
    tell(ctx, TOPIC_DELETED, t);
}

static void on_changed(void *ctx, const struct image_topic *before, const struct image_topic *after)
{
    (void)before;
    tell(ctx, TOPIC_CHANGED, after);
}

void coordinator_topics_compare(const struct image *before,
                                const struct image *after,
                                void (*each_change)(void *ctx,
                                                    enum shard_topic_change change,
                                                    const struct shard_topic *t),
                                void *ctx)
{
    struct comparison c = {.each = each_change, .ctx = ctx};
    const struct image_change change = {
        .topic_created = on_created,
        .topic_deleted = on_deleted,
        .topic_changed = on_changed,
    };
    image_compare(before, after, &change, &c);
}

/* ---- configs ---- */

static int32_t get_i32(struct coordinator *co, const char *key)
{
    return to_i32(config_get_int(co->br->config, key));
}

/* One setting of a group, within what the broker allows. */
static int32_t setting_of(struct coordinator *co,
                          struct str group,
                          const char *key,
                          int32_t of_broker,
                          const char *min_key,
                          const char *max_key)
{
    int32_t value = of_broker;
    struct str text = image_config_value(co->image, CONFIG_RESOURCE_GROUP, group, str_from(key));
    if (!str_is_null(text) && str_to_i32(text, &value) < 0) {
        value = of_broker;
    }
    int64_t min = config_effective_int(co->br->config, co->image, min_key);
    int64_t max = config_effective_int(co->br->config, co->image, max_key);
    return to_i32(max_i64(min, min_i64(value, max)));
}

static void settings(void *ctx, struct str group, struct group_settings *ret)
{
    struct coordinator *co = ctx;
    const struct group_settings *of_broker = &co->settings_default;
    const struct image_config *own;
    size_t count = 0;
    *ret = *of_broker;
    image_configs(co->image, CONFIG_RESOURCE_GROUP, group, &own, &count);
    if (count == 0) {
        return;
    }
    ret->session_timeout_ms = setting_of(
        co, group, "consumer.session.timeout.ms", of_broker->session_timeout_ms,
        "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms");
    ret->heartbeat_interval_ms = setting_of(
        co, group, "consumer.heartbeat.interval.ms", of_broker->heartbeat_interval_ms,
        "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms");
    ret->assignment_interval_ms = setting_of(
        co, group, "consumer.assignment.interval.ms", of_broker->assignment_interval_ms,
        "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms");
}

static enum migration_policy policy_of(struct str text)
{
    if (str_equal_ignore_case(text, STR("disabled"))) {
        return MIGRATION_DISABLED;
    }
    if (str_equal_ignore_case(text, STR("upgrade"))) {
        return MIGRATION_UPGRADE;
    }
    if (str_equal_ignore_case(text, STR("downgrade"))) {
        return MIGRATION_DOWNGRADE;
    }
    return MIGRATION_BIDIRECTIONAL;
}

static void take_assignors(struct coordinator *co)
{
    struct str *names = NULL;
    size_t count = 0;
    config_get_list(co->br->config, "group.consumer.assignors", &co->config_arena, &names, &count);
    struct shard_config *config = &co->config;
    for (size_t i = 0; i < count && config->assignors_count < SHARD_ASSIGNORS_MAX; i++) {
        config->assignors[config->assignors_count++] = names[i];
    }
}

static bool has_protocol(struct coordinator *co, const char *name)
{
    struct str *names = NULL;
    size_t count = 0;
    bool is_found = false;
    config_get_list(co->br->config, "group.coordinator.rebalance.protocols", &co->config_arena,
                    &names, &count);
    for (size_t i = 0; i < count; i++) {
        is_found = is_found || str_is(names[i], name);
    }
    return is_found;
}

const struct shard_config *coordinator_config(const struct coordinator *co)
{
    return &co->config;
}

bool coordinator_serves_consumer_groups(struct request *rq)
{
    return rq->br->coordinator->has_consumer_protocol &&
           image_feature_level(request_image(rq), STR("group.version")) >= 1;
}

static void take_codec(struct coordinator *co)
{
    int64_t codec = config_get_int(co->br->config, "offsets.topic.compression.codec");
    switch (codec) {
    case CODEC_GZIP:
        co->codec = CODEC_GZIP;
        co->codec_level = GZIP_LEVEL;
        break;
    case CODEC_SNAPPY:
        co->codec = CODEC_SNAPPY;
        break;
    case CODEC_LZ4:
        co->codec = CODEC_LZ4;
        co->codec_level = LZ4_LEVEL;
        break;
    case CODEC_ZSTD:
        co->codec = CODEC_ZSTD;
        co->codec_level = ZSTD_LEVEL;
        break;
    default:
        co->codec = CODEC_NONE;
        break;
    }
}

void coordinator_config_init(struct coordinator *co)
{
    const struct config *c = co->br->config;
    co->memory.max = STATE_BYTES_MAX;
    co->config = (struct shard_config){
        .min_session_timeout_ms = get_i32(co, "group.min.session.timeout.ms"),
        .max_session_timeout_ms = get_i32(co, "group.max.session.timeout.ms"),
        .max_size = get_i32(co, "group.max.size"),
        .initial_rebalance_delay_ms = get_i32(co, "group.initial.rebalance.delay.ms"),
        .new_member_join_timeout_ms = 300000,
        .consumer_max_size = get_i32(co, "group.consumer.max.size"),
        .migration_policy = policy_of(config_get_str(c, "group.consumer.migration.policy")),
        .regex_refresh_interval_ms = get_i32(co, "group.consumer.regex.refresh.interval.ms"),
        .offset_metadata_max_bytes = get_i32(co, "offset.metadata.max.bytes"),
        .record_bytes_max = get_i32(co, "message.max.bytes"),
        .offsets_retention_ms = config_get_int(c, "offsets.retention.minutes") * MS_PER_MINUTE,
        .offsets_retention_check_interval_ms =
            config_get_int(c, "offsets.retention.check.interval.ms"),
        .settings = settings,
        .settings_ctx = co,
        .memory = &co->memory,
    };
    co->has_consumer_protocol = has_protocol(co, "consumer");
    take_assignors(co);
    take_codec(co);
}

void coordinator_config_follow(struct coordinator *co)
{
    const struct config *c = co->br->config;
    co->settings_default = (struct group_settings){
        .session_timeout_ms =
            to_i32(config_effective_int(c, co->image, "group.consumer.session.timeout.ms")),
        .heartbeat_interval_ms =
            to_i32(config_effective_int(c, co->image, "group.consumer.heartbeat.interval.ms")),
        .assignment_interval_ms =
            to_i32(config_effective_int(c, co->image, "group.consumer.assignment.interval.ms")),
    };
}
