/*
 * Topic configs in force.
 *
 * Durability: Kafka's default of flush.messages is "never"; here, unset means that every ack waits
 * for stable storage, and the key has Kafka's meaning only where somebody sets it (for the topic,
 * for the broker dynamically, or in server.properties). DescribeConfigs shows Kafka's default
 * either way.
 */
#include "config/config_topic.h"

#include "wire/compress.h"

struct config_value config_topic_inherited(const struct config_view *view,
                                           const struct config_row *row,
                                           struct arena *arena)
{
    const struct config_synonym_rule *rule = config_table_synonym_rule(str_from(row->name));
    const struct config_row *broker_row;
    for (size_t i = 0; rule != NULL && (broker_row = config_synonym_row(view->c, rule, i)) != NULL;
         i++) {
        enum config_source source;
        struct str text = config_view_text(view, broker_row, &source);
        struct config_value value;
        struct str message;
        if (!config_value_parse(broker_row, text, arena, &value, &message) || value.is_null) {
            continue;
        }
        if (__builtin_mul_overflow(value.number, rule->factors[i], &value.number)) {
            value.number = INT64_MAX;
        }
        if (strcmp(row->name, "retention.ms") == 0 && value.number < 0) {
            value.number = -1;
        }
        return value;
    }
    return config_value_default(row, arena);
}

/* Keys that are one number in one place. */
static const struct {
    const char *key;
    size_t offset;
} number_fields[] = {
    {"delete.retention.ms", offsetof(struct topic_effective, delete_retention_ms)},
    {"file.delete.delay.ms", offsetof(struct topic_effective, plog.file_delete_delay_ms)},
    {"flush.messages", offsetof(struct topic_effective, flush_messages)},
    {"flush.ms", offsetof(struct topic_effective, flush_ms)},
    {"index.interval.bytes", offsetof(struct topic_effective, plog.index_interval_bytes)},
    {"max.compaction.lag.ms", offsetof(struct topic_effective, max_compaction_lag_ms)},
    {"max.decompressed.message.bytes",
     offsetof(struct topic_effective, plog.rules.max_decompressed_bytes)},
    {"max.message.bytes", offsetof(struct topic_effective, plog.rules.max_message_bytes)},
    {"message.timestamp.after.max.ms",
     offsetof(struct topic_effective, plog.rules.timestamp_after_max_ms)},
    {"message.timestamp.before.max.ms",
     offsetof(struct topic_effective, plog.rules.timestamp_before_max_ms)},
    {"min.compaction.lag.ms", offsetof(struct topic_effective, min_compaction_lag_ms)},
    {"min.insync.replicas", offsetof(struct topic_effective, min_insync_replicas)},
    {"retention.bytes", offsetof(struct topic_effective, plog.retention_bytes)},
    {"retention.ms", offsetof(struct topic_effective, plog.retention_ms)},
    {"segment.bytes", offsetof(struct topic_effective, plog.segment_bytes)},
    {"segment.index.bytes", offsetof(struct topic_effective, plog.segment_index_bytes)},
    {"segment.jitter.ms", offsetof(struct topic_effective, plog.segment_jitter_ms)},
    {"segment.ms", offsetof(struct topic_effective, plog.segment_ms)},
    {"internal.segment.bytes", offsetof(struct topic_effective, plog.segment_bytes)},
    {"compression.gzip.level", offsetof(struct topic_effective, levels[0])},
    {"compression.lz4.level", offsetof(struct topic_effective, levels[1])},
    {"compression.zstd.level", offsetof(struct topic_effective, levels[2])},
};

static bool set_number(struct topic_effective *t, struct str key, int64_t number)
{
    for (size_t i = 0; i < ARRAY_LEN(number_fields); i++) {
        if (str_is(key, number_fields[i].key)) {
            memcpy((char *)t + number_fields[i].offset, &number, sizeof(number));
            return true;
        }
    }
    return false;
}

static bool holds(const struct config_value *list, const char *item)
{
    for (size_t i = 0; i < list->items_count; i++) {
        if (str_is(list->items[i], item)) {
            return true;
        }
    }
    return false;
}

static void set_codec(struct topic_effective *t, struct str name)
{
    static const struct {
        const char *name;
        enum codec_type codec;
    } codecs[] = {
        {"gzip", CODEC_GZIP},     {"lz4", CODEC_LZ4},           {"producer", CODEC_NONE},
        {"snappy", CODEC_SNAPPY}, {"uncompressed", CODEC_NONE}, {"zstd", CODEC_ZSTD},
    };
    for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
        if (str_is(name, codecs[i].name)) {
            t->plog.rules.codec = codecs[i].codec;
            t->plog.rules.keeps_codec = str_is(name, "producer");
        }
    }
}

static void set_value(struct topic_effective *t, struct str key, const struct config_value *value)
{
    if (value->is_null || set_number(t, key, value->number)) {
        return;
    }
    if (str_is(key, "cleanup.policy")) {
        t->plog.is_delete_policy = holds(value, "delete");
        t->is_compact_policy = holds(value, "compact");
        t->plog.rules.is_compacted = t->is_compact_policy;
    } else if (str_is(key, "compression.type")) {
        set_codec(t, value->text);
    } else if (str_is(key, "message.timestamp.type")) {
        t->plog.rules.is_log_append_time = str_is(value->text, "LogAppendTime");
    } else if (str_is(key, "min.cleanable.dirty.ratio")) {
        t->min_cleanable_dirty_ratio = value->real;
    } else if (str_is(key, "preallocate")) {
        t->plog.preallocate = value->number == 1;
    } else if (str_is(key, "unclean.leader.election.enable")) {
        t->unclean_leader_election = value->number == 1;
    }
}

/* The level of the codec in force. */
static void settle_level(struct topic_effective *t)
{
    switch (t->plog.rules.codec) {
    case CODEC_GZIP:
        t->plog.rules.level = (int)t->levels[0];
        break;
    case CODEC_LZ4:
        t->plog.rules.level = (int)t->levels[1];
        break;
    case CODEC_ZSTD:
        t->plog.rules.level = (int)t->levels[2];
        break;
    case CODEC_NONE:
    case CODEC_SNAPPY:
        t->plog.rules.level = 0;
        break;
    }
}

void config_topic_defaults(const struct config *c,
                           const struct image *im,
                           struct topic_effective *ret)
{
    struct arena arena;
    arena_init(&arena, 0);
    *ret = (struct topic_effective){0};
    struct config_view view = config_view_of(c, im);
    for (size_t i = 0; i < config_table_topic.count; i++) {
        const struct config_row *row = &config_table_topic.rows[i];
        struct config_value value = config_topic_inherited(&view, row, &arena);
        set_value(ret, str_from(row->name), &value);
    }
    arena_release(&arena);
    ret->plog.producer_id_check_ms = config_get_int(c, "producer.id.expiration.check.interval.ms");
    ret->plog.producer_id_expiration_ms = config_effective_int(c, im, "producer.id.expiration.ms");
    enum config_source source;
    struct str flush = config_view_text(
        &view, config_table_find_broker(STR("log.flush.interval.messages")), &source);
    ret->is_durable = str_is_null(flush) || source == CONFIG_SOURCE_DEFAULT;
    settle_level(ret);
}

void config_topic_override(const struct image_config *own,
                           size_t count,
                           struct topic_effective *ret)
{
    if (count == 0) {
        return;
    }
    struct arena arena;
    arena_init(&arena, 0);
    bool has_internal_size = false;
    for (size_t i = 0; i < count; i++) {
        const struct config_row *row = config_table_find(&config_table_topic, own[i].name);
        struct config_value value;
        struct str message;
        if (row == NULL || !config_value_parse(row, own[i].value, &arena, &value, &message) ||
            value.is_null) {
            continue;
        }
        /* The secret segment size wins over the public one, in whatever order they come. */
        if (str_is(own[i].name, "segment.bytes") && has_internal_size) {
            continue;
        }
        has_internal_size |= str_is(own[i].name, "internal.segment.bytes");
        set_value(ret, own[i].name, &value);
        if (str_is(own[i].name, "flush.messages")) {
            ret->is_durable = false;
        }
    }
    arena_release(&arena);
    settle_level(ret);
}

void config_topic_effective(const struct config *c,
                            const struct image *im,
                            struct str topic,
                            struct topic_effective *ret)
{
    config_topic_defaults(c, im, ret);
    if (im != NULL) {
        const struct image_config *own;
        size_t count;
        image_configs(im, CONFIG_RESOURCE_TOPIC, topic, &own, &count);
        config_topic_override(own, count, ret);
    }
}

enum kafka_error config_topic_check(void *ctx,
                                    const struct image *im,
                                    const struct image_config *configs,
                                    size_t count,
                                    struct arena *arena,
                                    struct str *ret_message)
{
    const struct config *c = ctx;
    for (size_t i = 0; i < count; i++) {
        if (config_table_find(&config_table_topic, configs[i].name) == NULL) {
            char memory[1100];
            struct strbuf sb;
            strbuf_init(&sb, memory, sizeof(memory));
            *ret_message = arena_printf(arena, "Unknown topic config name: %s",
                                        str_escape(&sb, configs[i].name));
            return KAFKA_ERROR_INVALID_CONFIG;
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct config_row *row = config_table_find(&config_table_topic, configs[i].name);
        struct config_value value;
        if (!config_value_parse(row, configs[i].value, arena, &value, ret_message)) {
            return KAFKA_ERROR_INVALID_CONFIG;
        }
        if (str_is(configs[i].name, "remote.storage.enable") && value.number == 1) {
            *ret_message = STR("remote.storage.enable: tiered storage is switched off here "
                               "(remote.log.storage.system.enable), so no topic can use it.");
            return KAFKA_ERROR_INVALID_CONFIG;
        }
    }
    struct topic_effective t;
    config_topic_defaults(c, im, &t);
    config_topic_override(configs, count, &t);
    if (t.min_compaction_lag_ms > t.max_compaction_lag_ms) {
        *ret_message = arena_printf(arena,
                                    "min.compaction.lag.ms (%" PRId64 ") must be at most "
                                    "max.compaction.lag.ms (%" PRId64 ").",
                                    t.min_compaction_lag_ms, t.max_compaction_lag_ms);
        return KAFKA_ERROR_INVALID_CONFIG;
    }
    return KAFKA_ERROR_NONE;
}
