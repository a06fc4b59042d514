/*
 * First records of a cluster and of a node; see bootstrap.h. Kafka: ActivationRecordsGenerator,
 * ClusterControlManager, ReplicationControlManager.
 */
#include "meta/bootstrap.h"

#include "base/err.h"
#include "wire/gen/messages.h"

void bootstrap_levels_at(int16_t metadata_version, struct bootstrap_levels *ret)
{
    for (size_t i = 0; i < FEATURES_COUNT; i++) {
        ret->level[i] = features_level_at(&features_table[i], metadata_version);
    }
}

static int add_level(struct meta_records *mr, const char *name, int16_t level)
{
    struct feature_level_record rec = feature_level_record_default;
    rec.name = str_from(name);
    rec.feature_level = level;
    return meta_records_add(mr, &feature_level_record_msg, 0, &rec);
}

int bootstrap_features(struct meta_records *mr, const struct bootstrap_levels *levels)
{
    const char *previous = "";
    int r = 0;
    for (size_t i = 0; i < FEATURES_COUNT && r >= 0; i++) {
        if (strcmp(features_table[i].name, METADATA_VERSION) == 0) {
            r = add_level(mr, METADATA_VERSION, levels->level[i]);
        }
    }
    for (size_t n = 0; n < FEATURES_COUNT && r >= 0; n++) {
        size_t next = FEATURES_COUNT;
        for (size_t i = 0; i < FEATURES_COUNT; i++) {
            const char *name = features_table[i].name;
            if (strcmp(name, previous) > 0 &&
                (next == FEATURES_COUNT || strcmp(name, features_table[next].name) < 0)) {
                next = i;
            }
        }
        check(next < FEATURES_COUNT);
        previous = features_table[next].name;
        bool has_record = strcmp(previous, METADATA_VERSION) != 0 &&
                          strcmp(previous, "kraft.version") != 0 && levels->level[next] != 0;
        if (has_record) {
            r = add_level(mr, previous, levels->level[next]);
        }
    }
    return r;
}

/* What these records say of the two features that matter here. */
static int read_levels(const struct view *features,
                       size_t count,
                       int16_t *ret_metadata_version,
                       int16_t *ret_elr)
{
    *ret_metadata_version = METADATA_VERSION_MIN;
    *ret_elr = 0;
    struct arena arena;
    arena_init(&arena, 0);
    int r = 0;
    for (size_t i = 0; i < count && r >= 0; i++) {
        struct cursor c = cursor_of(features[i].ptr, features[i].len);
        int16_t api_key;
        int16_t version;
        struct feature_level_record rec;
        r = meta_record_frame(&c, &api_key, &version);
        if (r < 0 || meta_record_msg(api_key) != &feature_level_record_msg) {
            continue; /* SCRAM credentials and configs may stand here too */
        }
        r = codec_decode(&feature_level_record_msg, version, &c, &arena, &rec);
        if (r >= 0 && str_is(rec.name, METADATA_VERSION)) {
            *ret_metadata_version = rec.feature_level;
        }
        if (r >= 0 && str_is(rec.name, "eligible.leader.replicas.version")) {
            *ret_elr = rec.feature_level;
        }
    }
    arena_release(&arena);
    return r;
}

static void add_bytes(struct meta_records *mr, struct view value)
{
    uint8_t *copy = arena_alloc(mr->arena, value.len);
    memcpy(copy, value.ptr, value.len);
    meta_records_add_encoded(mr, (struct view){.ptr = copy, .len = value.len});
}

int bootstrap_cluster(struct meta_records *mr,
                      const struct view *features,
                      size_t count,
                      struct str min_insync_replicas)
{
    int16_t metadata_version;
    int16_t elr;
    int r = read_levels(features, count, &metadata_version, &elr);
    bool is_transaction = metadata_version >= METADATA_VERSION_3_6_IV1;
    if (r >= 0 && is_transaction) {
        struct begin_transaction_record begin = begin_transaction_record_default;
        begin.name = STR("Bootstrap records");
        r = meta_records_add(mr, &begin_transaction_record_msg, 0, &begin);
    }
    for (size_t i = 0; i < count && r >= 0; i++) {
        add_bytes(mr, features[i]);
    }
    if (r >= 0 && elr > 0) {
        struct config_record config = config_record_default;
        config.resource_type = CONFIG_RESOURCE_BROKER;
        config.resource_name = STR("");
        config.name = STR("min.insync.replicas");
        config.value = min_insync_replicas;
        r = meta_records_add(mr, &config_record_msg, 0, &config);
    }
    if (r >= 0 && is_transaction) {
        struct end_transaction_record end = end_transaction_record_default;
        r = meta_records_add(mr, &end_transaction_record_msg, 0, &end);
    }
    return r;
}

int bootstrap_abort_transaction(struct meta_records *mr)
{
    struct abort_transaction_record rec = abort_transaction_record_default;
    rec.reason = STR("Controller failover");
    return meta_records_add(mr, &abort_transaction_record_msg, 0, &rec);
}

int bootstrap_register_controller(struct meta_records *mr,
                                  const struct bootstrap_node *node,
                                  int16_t metadata_version)
{
    if (metadata_version < METADATA_VERSION_3_7_IV0) {
        return 0;
    }
    struct register_controller_record rec = register_controller_record_default;
    rec.controller_id = node->id;
    rec.incarnation_id = node->incarnation_id;
    rec.end_points.count = node->endpoints_count;
    rec.end_points.items =
        arena_alloc(mr->arena, (size_t)node->endpoints_count * sizeof(rec.end_points.items[0]));
    for (int32_t i = 0; i < node->endpoints_count; i++) {
        struct register_controller_record_controller_endpoint *ep = &rec.end_points.items[i];
        *ep = register_controller_record_controller_endpoint_default;
        ep->name = node->endpoints[i].name;
        ep->host = node->endpoints[i].host;
        ep->port = node->endpoints[i].port;
        ep->security_protocol = node->endpoints[i].security_protocol;
    }
    struct register_controller_record_controller_feature features[FEATURES_COUNT];
    for (size_t i = 0; i < FEATURES_COUNT; i++) {
        features[i] = register_controller_record_controller_feature_default;
        features[i].name = str_from(features_table[i].name);
        features[i].min_supported_version = features_table[i].min;
        features[i].max_supported_version = features_table[i].max;
    }
    rec.features.items = features;
    rec.features.count = FEATURES_COUNT;
    return meta_records_add(mr, &register_controller_record_msg, 0, &rec);
}

int bootstrap_register_broker(struct meta_records *mr,
                              const struct bootstrap_node *node,
                              int64_t broker_epoch,
                              int16_t metadata_version)
{
    struct register_broker_record rec = register_broker_record_default;
    int16_t version = features_register_broker_record(metadata_version);
    rec.broker_id = node->id;
    rec.incarnation_id = node->incarnation_id;
    rec.broker_epoch = broker_epoch;
    rec.rack = node->rack;
    rec.fenced = true;
    rec.end_points.count = node->endpoints_count;
    rec.end_points.items =
        arena_alloc(mr->arena, (size_t)node->endpoints_count * sizeof(rec.end_points.items[0]));
    for (int32_t i = 0; i < node->endpoints_count; i++) {
        struct register_broker_record_broker_endpoint *ep = &rec.end_points.items[i];
        *ep = register_broker_record_broker_endpoint_default;
        ep->name = node->endpoints[i].name;
        ep->host = node->endpoints[i].host;
        ep->port = node->endpoints[i].port;
        ep->security_protocol = node->endpoints[i].security_protocol;
    }
    struct register_broker_record_broker_feature features[FEATURES_COUNT];
    for (size_t i = 0; i < FEATURES_COUNT; i++) {
        features[i] = register_broker_record_broker_feature_default;
        features[i].name = str_from(features_table[i].name);
        features[i].min_supported_version = features_table[i].min;
        features[i].max_supported_version = features_table[i].max;
    }
    rec.features.items = features;
    rec.features.count = FEATURES_COUNT;
    if (version >= 3) {
        size_t bytes = (size_t)node->log_dirs_count * sizeof(node->log_dirs[0]);
        rec.log_dirs.items = arena_alloc(mr->arena, bytes);
        if (bytes > 0) {
            memcpy(rec.log_dirs.items, node->log_dirs, bytes);
        }
        rec.log_dirs.count = node->log_dirs_count;
    }
    return meta_records_add(mr, &register_broker_record_msg, version, &rec);
}

int bootstrap_change_broker(struct meta_records *mr,
                            int32_t id,
                            int64_t broker_epoch,
                            enum bootstrap_change change)
{
    struct broker_registration_change_record rec = broker_registration_change_record_default;
    rec.broker_id = id;
    rec.broker_epoch = broker_epoch;
    int16_t version = 0;
    switch (change) {
    case BOOTSTRAP_UNFENCE:
        rec.fenced = -1;
        break;
    case BOOTSTRAP_FENCE:
        rec.fenced = 1;
        break;
    case BOOTSTRAP_CONTROLLED_SHUTDOWN:
        rec.in_controlled_shutdown = 1;
        version = 1;
        break;
    }
    return meta_records_add(mr, &broker_registration_change_record_msg, version, &rec);
}

int bootstrap_cordon(struct meta_records *mr,
                     int32_t id,
                     int64_t broker_epoch,
                     const struct uuid *directories,
                     int32_t count,
                     int16_t metadata_version)
{
    if (metadata_version < METADATA_VERSION_4_3_IV0) {
        return 0;
    }
    struct broker_registration_change_record rec = broker_registration_change_record_default;
    size_t bytes = to_size(count) * sizeof(directories[0]);
    rec.broker_id = id;
    rec.broker_epoch = broker_epoch;
    rec.cordoned_log_dirs.count = count; /* empty is not null */
    rec.cordoned_log_dirs.items = arena_alloc(mr->arena, bytes + 1);
    if (bytes > 0) {
        memcpy(rec.cordoned_log_dirs.items, directories, bytes);
    }
    return meta_records_add(mr, &broker_registration_change_record_msg, 3, &rec);
}
