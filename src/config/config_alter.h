/*
 * AlterConfigs and IncrementalAlterConfigs: from requests to ConfigRecords and answers. Pure but
 * for config, image and arena; runs on the metadata thread with the newest image. Kafka's
 * ConfigAdminManager (what the broker refuses by itself) and ConfigurationControlManager (the
 * controller).
 */
#ifndef CONFIG_CONFIG_ALTER_H
#define CONFIG_CONFIG_ALTER_H

#include "base/base.h"
#include "config/config.h"
#include "meta/image.h"
#include "meta/records.h"
#include "wire/gen/errors.h"

enum config_operation { /* AlterConfigOp.OpType */
    CONFIG_SET = 0,
    CONFIG_DELETE = 1,
    CONFIG_APPEND = 2,
    CONFIG_SUBTRACT = 3,
};

struct config_change {
    struct str name;
    struct str value;
    int8_t operation; /* as it came; AlterConfigs: CONFIG_SET */
};

/* One resource of a request with its part of the answer. */
struct config_alteration {
    int8_t type; /* enum config_resource_type, as it came */
    struct str name;
    struct config_change *changes; /* sorted by the call */
    size_t changes_count;
    bool is_settled; /* error and message stand: nothing more is done about it */
    enum kafka_error error;
    struct str message; /* null: none */
};

enum config_alter_mode {
    CONFIG_ALTER_INCREMENTAL,
    CONFIG_ALTER_REPLACE, /* what is not named is deleted */
};

struct config_alter {
    const struct config *c;
    enum config_alter_mode mode;
    bool is_validate_only;
    struct config_alteration *items;
    size_t count;
    struct arena *arena; /* of the answer */
    /* Of the broker's loggers; NULL: they are not altered. Level names as Kafka's. */
    void (*set_log_level)(void *ctx, struct str level);
    void *ctx;
};

/* Decides about every resource that is not settled and adds records for those that are good.
 * Negative: our failure. */
must_check int config_alter_decide(const struct config_alter *ca,
                                   const struct image *im,
                                   struct meta_records *records);

#endif
