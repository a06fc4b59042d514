/*
 * What DescribeConfigs and CreateTopics tell about configs: values, sources and synonyms, from the
 * config and an image. Pure but for these; any thread. Results live in the arena, or are borrowed
 * from config, image and tables. Kafka's ConfigHelper.
 */
#ifndef CONFIG_CONFIG_DESCRIBE_H
#define CONFIG_CONFIG_DESCRIBE_H

#include "base/base.h"
#include "config/config.h"
#include "meta/image.h"
#include "wire/gen/messages.h"

struct config_synonym {
    struct str name;
    struct str value; /* null when sensitive */
    enum config_source source;
};

struct config_description {
    struct str name;
    struct str value; /* null: not set, or sensitive */
    enum config_source source;
    enum config_type type;
    bool is_read_only;
    bool is_sensitive;
    struct config_synonym *synonyms; /* the one in force first */
    size_t synonyms_count;
    const char *doc; /* NULL: none */
};

struct config_descriptions {
    struct config_description *items;
    size_t count;
    size_t cap;
};

/* Which keys: `keys` NULL means all. A key that is named twice is described once. */
struct config_selection {
    const struct str *keys; /* sorted (str_compare) */
    size_t count;
};

/* `own`: the configs of the topic, group or subscription itself. */
void config_describe_topic(const struct config *c,
                           const struct image *im,
                           const struct image_config *own,
                           size_t own_count,
                           const struct config_selection *select,
                           struct arena *arena,
                           struct config_descriptions *ret);
void config_describe_broker(const struct config *c,
                            const struct image *im,
                            const struct config_selection *select,
                            struct arena *arena,
                            struct config_descriptions *ret);
/* The dynamic defaults of all brokers. */
void config_describe_cluster(const struct config *c,
                             const struct image *im,
                             const struct config_selection *select,
                             struct arena *arena,
                             struct config_descriptions *ret);
void config_describe_group(const struct config *c,
                           const struct image *im,
                           const struct image_config *own,
                           size_t own_count,
                           const struct config_selection *select,
                           struct arena *arena,
                           struct config_descriptions *ret);
void config_describe_client_metrics(const struct image_config *own,
                                    size_t own_count,
                                    const struct config_selection *select,
                                    struct arena *arena,
                                    struct config_descriptions *ret);

/* For the answer about a topic that is being created: values as they were given. `ctx` is the
 * struct config. Fits controller.list_configs. */
void config_describe_created(void *ctx,
                             const struct image *im,
                             const struct image_config *configs,
                             size_t count,
                             struct arena *arena,
                             struct create_topics_response_creatable_topic_configs **ret,
                             int32_t *ret_count);

#endif
