/*
 * What holds for the partitions of a topic: the topic's own configs over the broker's dynamic and
 * static ones over the defaults, as plain numbers for storage and the produce path.
 *
 * Pure but for the config it reads; any thread. Kafka's LogConfig and ServerTopicConfigSynonyms.
 */
#ifndef CONFIG_CONFIG_TOPIC_H
#define CONFIG_CONFIG_TOPIC_H

#include "base/base.h"
#include "config/config.h"
#include "meta/image.h"
#include "storage/plog.h"
#include "wire/gen/errors.h"

struct topic_effective {
    struct plog_config plog;
    int64_t min_insync_replicas;
    int64_t flush_messages; /* INT64_MAX: the page cache decides */
    int64_t flush_ms;       /* INT64_MAX: none */
    /* flush.messages is set nowhere: every ack waits for stable storage, whatever flush_messages
     * says. */
    bool is_durable;
    bool is_compact_policy; /* cleanup.policy holds "compact" */
    bool unclean_leader_election;
    int64_t delete_retention_ms;
    int64_t min_compaction_lag_ms;
    int64_t max_compaction_lag_ms;
    double min_cleanable_dirty_ratio;
    int64_t levels[3]; /* gzip, lz4, zstd; plog.rules.level is that of the codec in force */
};

/* For a topic without configs of its own. Computed once for many topics of one image. */
void config_topic_defaults(const struct config *c,
                           const struct image *im,
                           struct topic_effective *ret);
/* Lays a topic's own configs over `ret`; values that cannot be parsed are passed over. */
void config_topic_override(const struct image_config *own,
                           size_t count,
                           struct topic_effective *ret);
/* Both, for a topic of the image (or one that has no configs). */
void config_topic_effective(const struct config *c,
                            const struct image *im,
                            struct str topic,
                            struct topic_effective *ret);

/* The value in force of a topic key without the topic's own one. */
struct config_value config_topic_inherited(const struct config_view *view,
                                           const struct config_row *row,
                                           struct arena *arena);

/* A topic's own configs, each key once, no null values: INVALID_CONFIG with a message, or NONE.
 * `ctx` is the struct config. Fits controller.check_configs. */
enum kafka_error config_topic_check(void *ctx,
                                    const struct image *im,
                                    const struct image_config *configs,
                                    size_t count,
                                    struct arena *arena,
                                    struct str *ret_message);

#endif
