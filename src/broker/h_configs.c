/*
 * DescribeConfigs, AlterConfigs, IncrementalAlterConfigs. Kafka's ConfigHelper, ConfigAdminManager.
 *
 * Describing runs on a worker with the image of the request's turn: a broker has hundreds of keys,
 * and a client may ask for thousands of topics. Altering is a job of the metadata thread.
 */
#include "base/err.h"
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/metadata.h"
#include "broker/request.h"
#include "config/config.h"
#include "config/config_alter.h"
#include "config/config_describe.h"
#include "meta/controller.h"

/* Keys in one answer: 10,000 topics whole. Bounds what a small request can make the broker hold. */
#define DESCRIBED_MAX       400000
#define DESCRIBED_BYTES_MAX ((size_t)72 << 20) /* of the arena */

typedef struct describe_configs_request_describe_configs_resource request_resource;
typedef struct describe_configs_response_describe_configs_result response_resource;
typedef struct describe_configs_response_describe_configs_resource_result response_entry;
typedef struct describe_configs_response_describe_configs_synonym response_synonym;

struct describing {
    const struct image *im; /* of the request */
    size_t described;
};

/* ---- who may ---- */

static bool may_touch(struct request *rq, int8_t operation, int8_t type, struct str name)
{
    switch (type) {
    case CONFIG_RESOURCE_TOPIC:
        return authorize(rq, operation, RESOURCE_TOPIC, name);
    case CONFIG_RESOURCE_GROUP:
        return authorize(rq, operation, RESOURCE_GROUP, name);
    default:
        return authorize(rq, operation, RESOURCE_CLUSTER, CLUSTER_NAME);
    }
}

static enum kafka_error denial(int8_t type)
{
    switch (type) {
    case CONFIG_RESOURCE_TOPIC:
        return KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
    case CONFIG_RESOURCE_GROUP:
        return KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED;
    default:
        return KAFKA_ERROR_CLUSTER_AUTHORIZATION_FAILED;
    }
}

/* ---- describing ---- */

static bool is_described_type(int8_t type)
{
    return type == CONFIG_RESOURCE_TOPIC || type == CONFIG_RESOURCE_BROKER ||
           type == CONFIG_RESOURCE_BROKER_LOGGER || type == CONFIG_RESOURCE_CLIENT_METRICS ||
           type == CONFIG_RESOURCE_GROUP;
}

static void refuse(response_resource *ret, enum kafka_error error, struct str message)
{
    ret->error_code = (int16_t)error;
    ret->error_message = message;
}

static void fill_entry(struct request *rq, const struct config_description *cd, response_entry *ret)
{
    const struct describe_configs_request *body = rq->body;
    *ret = describe_configs_response_describe_configs_resource_result_default;
    ret->name = cd->name;
    ret->value = cd->value;
    ret->read_only = cd->is_read_only;
    ret->config_source = (int8_t)cd->source;
    ret->is_sensitive = cd->is_sensitive;
    ret->config_type = (int8_t)cd->type;
    ret->documentation = body->include_documentation ? str_from(cd->doc) : (struct str){0};
    if (!body->include_synonyms) {
        return;
    }
    ret->synonyms.items =
        arena_alloc(&rq->arena, cd->synonyms_count * sizeof(*ret->synonyms.items) + 1);
    ret->synonyms.count = (int32_t)cd->synonyms_count;
    for (size_t i = 0; i < cd->synonyms_count; i++) {
        response_synonym *synonym = &ret->synonyms.items[i];
        *synonym = describe_configs_response_describe_configs_synonym_default;
        synonym->name = cd->synonyms[i].name;
        synonym->value = cd->synonyms[i].value;
        synonym->source = (int8_t)cd->synonyms[i].source;
    }
}

static void fill(struct request *rq, const struct config_descriptions *all, response_resource *ret)
{
    ret->configs.items = arena_alloc(&rq->arena, all->count * sizeof(*ret->configs.items) + 1);
    ret->configs.count = (int32_t)all->count;
    for (size_t i = 0; i < all->count; i++) {
        fill_entry(rq, &all->items[i], &ret->configs.items[i]);
    }
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_DEBUG:
        return "DEBUG";
    case LOG_LEVEL_INFO:
        return "INFO";
    case LOG_LEVEL_WARN:
        return "WARN";
    case LOG_LEVEL_ERROR:
        return "ERROR";
    }
    return "INFO";
}

static void
describe_loggers(struct request *rq, const struct config_selection *select, response_resource *ret)
{
    bool is_asked = select->keys == NULL;
    for (size_t i = 0; i < select->count; i++) {
        is_asked |= str_is(select->keys[i], "root");
    }
    if (!is_asked) {
        return;
    }
    enum log_level level = __atomic_load_n(&rq->br->logger->level, __ATOMIC_RELAXED);
    ret->configs.items = arena_alloc(&rq->arena, sizeof(*ret->configs.items));
    ret->configs.count = 1;
    ret->configs.items[0] = describe_configs_response_describe_configs_resource_result_default;
    ret->configs.items[0].name = STR("root");
    ret->configs.items[0].value = str_from(level_name(level));
    ret->configs.items[0].config_source = CONFIG_SOURCE_LOGGER;
}

/* A node id that is ours; otherwise *ret has the refusal. */
static bool is_this_node(struct request *rq, struct str name, response_resource *ret)
{
    int32_t id;
    char memory[1100];
    struct strbuf sb;
    strbuf_init(&sb, memory, sizeof(memory));
    if (str_to_i32(name, &id) < 0) {
        refuse(ret, KAFKA_ERROR_INVALID_REQUEST,
               arena_printf(&rq->arena, "A broker id must be a number, not '%s'.",
                            str_escape(&sb, name)));
        return false;
    }
    if (id != config_node_id(rq->br->config)) {
        refuse(ret, KAFKA_ERROR_INVALID_REQUEST,
               arena_printf(&rq->arena, "This is broker %d, not %d: ask that one.",
                            (int)config_node_id(rq->br->config), (int)id));
        return false;
    }
    return true;
}

static void describe_topic(struct request *rq,
                           const struct image *im,
                           struct str topic,
                           const struct config_selection *select,
                           struct config_descriptions *all,
                           response_resource *ret)
{
    struct str problem = controller_topic_name_problem(topic);
    if (!str_is_null(problem)) {
        refuse(ret, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION, problem);
        return;
    }
    if (image_topic_by_name(im, topic) == NULL) {
        refuse(ret, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION, STR(""));
        return;
    }
    const struct image_config *own;
    size_t count;
    image_configs(im, CONFIG_RESOURCE_TOPIC, topic, &own, &count);
    config_describe_topic(rq->br->config, im, own, count, select, &rq->arena, all);
}

static void describe_broker(struct request *rq,
                            const struct image *im,
                            struct str name,
                            const struct config_selection *select,
                            struct config_descriptions *all,
                            response_resource *ret)
{
    if (name.len == 0) {
        config_describe_cluster(rq->br->config, im, select, &rq->arena, all);
    } else if (is_this_node(rq, name, ret)) {
        config_describe_broker(rq->br->config, im, select, &rq->arena, all);
    }
}

static void describe_named(struct request *rq,
                           const struct image *im,
                           int8_t type,
                           struct str name,
                           const struct config_selection *select,
                           struct config_descriptions *all,
                           response_resource *ret)
{
    if (name.len == 0) {
        refuse(ret, KAFKA_ERROR_INVALID_REQUEST,
               type == CONFIG_RESOURCE_GROUP ? STR("A group must be named.")
               : type == CONFIG_RESOURCE_CLIENT_METRICS
                   ? STR("A client metrics subscription must be named.")
                   : STR("A broker id must be given."));
        return;
    }
    if (type == CONFIG_RESOURCE_BROKER_LOGGER) {
        if (is_this_node(rq, name, ret)) {
            describe_loggers(rq, select, ret);
        }
        return;
    }
    const struct image_config *own;
    size_t count;
    image_configs(im, (enum config_resource_type)type, name, &own, &count);
    if (type == CONFIG_RESOURCE_GROUP) {
        config_describe_group(rq->br->config, im, own, count, select, &rq->arena, all);
    } else {
        config_describe_client_metrics(own, count, select, &rq->arena, all);
    }
}

static int compare_keys(const void *a, const void *b)
{
    const struct str *left = a;
    const struct str *right = b;
    return str_compare(*left, *right);
}

static void describe_one(struct request *rq,
                         struct describing *ds,
                         const request_resource *asked,
                         response_resource *ret)
{
    if (!may_touch(rq, ACL_DESCRIBE_CONFIGS, asked->resource_type, asked->resource_name)) {
        refuse(ret, denial(asked->resource_type), (struct str){0});
        return;
    }
    if (ds->described >= DESCRIBED_MAX || rq->arena.used > DESCRIBED_BYTES_MAX) {
        refuse(ret, KAFKA_ERROR_INVALID_REQUEST,
               STR("The request asks for too many configs at once; name fewer resources."));
        return;
    }
    /* No keys mean all, whether the list is null or empty. */
    struct config_selection select = {0};
    if (asked->configuration_keys.count > 0) {
        select.count = (size_t)asked->configuration_keys.count;
        select.keys = asked->configuration_keys.items;
        qsort(asked->configuration_keys.items, select.count, sizeof(struct str), compare_keys);
    }
    struct config_descriptions all = {0};
    switch (asked->resource_type) {
    case CONFIG_RESOURCE_TOPIC:
        describe_topic(rq, ds->im, asked->resource_name, &select, &all, ret);
        break;
    case CONFIG_RESOURCE_BROKER:
        describe_broker(rq, ds->im, asked->resource_name, &select, &all, ret);
        break;
    default:
        describe_named(rq, ds->im, asked->resource_type, asked->resource_name, &select, &all, ret);
        break;
    }
    if (all.count > 0) {
        fill(rq, &all, ret);
    }
    ds->described += all.count;
}

static void describe_all(struct request *rq)
{
    const struct describe_configs_request *body = rq->body;
    struct describe_configs_response *response = rq->response;
    struct describing *ds = rq->state;
    for (int32_t i = 0; i < body->resources.count; i++) {
        describe_one(rq, ds, &body->resources.items[i], &response->results.items[i]);
    }
}

static void describe_done(struct request *rq)
{
    request_finish(rq);
}

enum request_verdict h_describe_configs(struct request *rq)
{
    const struct describe_configs_request *body = rq->body;
    struct describe_configs_response *response = rq->response;
    int32_t count = body->resources.count < 0 ? 0 : body->resources.count;
    response->results.items =
        arena_alloc(&rq->arena, (size_t)count * sizeof(*response->results.items) + 1);
    response->results.count = count;
    bool has_unknown_type = false;
    for (int32_t i = 0; i < count; i++) {
        const request_resource *asked = &body->resources.items[i];
        response_resource *result = &response->results.items[i];
        *result = describe_configs_response_describe_configs_result_default;
        result->resource_type = asked->resource_type;
        result->resource_name = asked->resource_name;
        result->error_message = STR("");
        has_unknown_type |= !is_described_type(asked->resource_type);
    }
    if (has_unknown_type || count == 0) {
        for (int32_t i = 0; i < count; i++) {
            refuse(&response->results.items[i], KAFKA_ERROR_INVALID_REQUEST,
                   STR("A resource of the request is of a type that has no configs."));
        }
        return REQUEST_DONE;
    }
    struct describing *ds = arena_alloc(&rq->arena, sizeof(*ds));
    if (rq->image == NULL) {
        rq->image = image_ref(request_image(rq)); /* beyond this turn: the answer points into it */
    }
    ds->im = rq->image;
    rq->state = ds;
    request_offload(rq, describe_all, describe_done);
    return REQUEST_PARKED;
}

/* ---- altering ---- */

struct altering {
    struct metadata_job mj;
    struct request *rq;
    struct config_alter ca;
    int err; /* of the decision */
    void (*answer)(struct request *rq, const struct config_alter *ca);
};

static void set_log_level(void *ctx, struct str level)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {
        {"TRACE", LOG_LEVEL_DEBUG}, {"DEBUG", LOG_LEVEL_DEBUG}, {"INFO", LOG_LEVEL_INFO},
        {"WARN", LOG_LEVEL_WARN},   {"ERROR", LOG_LEVEL_ERROR}, {"FATAL", LOG_LEVEL_ERROR},
    };
    struct logger *logger = ctx;
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (str_is(level, levels[i].name)) {
            __atomic_store_n(&logger->level, levels[i].level, __ATOMIC_RELAXED);
        }
    }
}

static void decide(struct metadata_job *mj, const struct image *im, struct meta_records *records)
{
    struct altering *at = container_of(mj, struct altering, mj);
    at->err = config_alter_decide(&at->ca, im, records);
}

static void done(struct metadata_job *mj, int err)
{
    struct altering *at = container_of(mj, struct altering, mj);
    err = err < 0 ? err : at->err;
    for (size_t i = 0; err < 0 && i < at->ca.count; i++) {
        struct config_alteration *al = &at->ca.items[i];
        if (al->error == KAFKA_ERROR_NONE) {
            al->error = kafka_error_from(at->rq, err);
            al->message = STR("The metadata log cannot be written.");
        }
    }
    at->answer(at->rq, &at->ca);
    request_hold_image(at->rq, mj->image);
    request_finish(at->rq);
}

/* For `count` resources, which the caller fills in. */
static struct altering *begin(struct request *rq,
                              int32_t count,
                              enum config_alter_mode mode,
                              bool is_validate_only,
                              void (*answer)(struct request *, const struct config_alter *))
{
    struct altering *at = arena_alloc(&rq->arena, sizeof(*at));
    at->mj.loop = rq->io->loop;
    at->mj.decide = decide;
    at->mj.done = done;
    at->rq = rq;
    at->answer = answer;
    at->ca = (struct config_alter){
        .c = rq->br->config,
        .mode = mode,
        .is_validate_only = is_validate_only,
        .count = count < 0 ? 0 : (size_t)count,
        .arena = &rq->arena,
        .set_log_level = set_log_level,
        .ctx = rq->br->logger,
    };
    at->ca.items = arena_alloc(&rq->arena, at->ca.count * sizeof(*at->ca.items) + 1);
    return at;
}

static void begin_resource(struct altering *at,
                           size_t index,
                           int8_t type,
                           struct str name,
                           int32_t changes_count)
{
    struct config_alteration *al = &at->ca.items[index];
    al->type = type;
    al->name = name;
    al->changes_count = changes_count < 0 ? 0 : (size_t)changes_count;
    al->changes = arena_alloc(&at->rq->arena, al->changes_count * sizeof(*al->changes) + 1);
    if (!may_touch(at->rq, ACL_ALTER_CONFIGS, type, name)) {
        al->is_settled = true;
        al->error = denial(type);
    }
}

static enum request_verdict submit(struct altering *at)
{
    if (at->ca.count == 0) {
        at->answer(at->rq, &at->ca);
        return REQUEST_DONE;
    }
    metadata_submit(at->rq->br->metadata, &at->mj);
    return REQUEST_PARKED;
}

static void answer_incremental(struct request *rq, const struct config_alter *ca)
{
    struct incremental_alter_configs_response *response = rq->response;
    response->responses.items =
        arena_alloc(&rq->arena, ca->count * sizeof(*response->responses.items) + 1);
    response->responses.count = (int32_t)ca->count;
    for (size_t i = 0; i < ca->count; i++) {
        struct incremental_alter_configs_response_alter_configs_resource_response *r =
            &response->responses.items[i];
        *r = incremental_alter_configs_response_alter_configs_resource_response_default;
        r->error_code = (int16_t)ca->items[i].error;
        r->error_message = ca->items[i].message;
        r->resource_type = ca->items[i].type;
        r->resource_name = ca->items[i].name;
    }
}

enum request_verdict h_incremental_alter_configs(struct request *rq)
{
    const struct incremental_alter_configs_request *body = rq->body;
    struct altering *at = begin(rq, body->resources.count, CONFIG_ALTER_INCREMENTAL,
                                body->validate_only, answer_incremental);
    for (size_t i = 0; i < at->ca.count; i++) {
        const struct incremental_alter_configs_request_alter_configs_resource *asked =
            &body->resources.items[i];
        begin_resource(at, i, asked->resource_type, asked->resource_name, asked->configs.count);
        for (size_t j = 0; j < at->ca.items[i].changes_count; j++) {
            at->ca.items[i].changes[j] = (struct config_change){
                .name = asked->configs.items[j].name,
                .value = asked->configs.items[j].value,
                .operation = asked->configs.items[j].config_operation,
            };
        }
    }
    return submit(at);
}

static void answer_replace(struct request *rq, const struct config_alter *ca)
{
    struct alter_configs_response *response = rq->response;
    response->responses.items =
        arena_alloc(&rq->arena, ca->count * sizeof(*response->responses.items) + 1);
    response->responses.count = (int32_t)ca->count;
    for (size_t i = 0; i < ca->count; i++) {
        struct alter_configs_response_alter_configs_resource_response *r =
            &response->responses.items[i];
        *r = alter_configs_response_alter_configs_resource_response_default;
        r->error_code = (int16_t)ca->items[i].error;
        r->error_message = ca->items[i].message;
        r->resource_type = ca->items[i].type;
        r->resource_name = ca->items[i].name;
    }
}

enum request_verdict h_alter_configs(struct request *rq)
{
    const struct alter_configs_request *body = rq->body;
    struct altering *at =
        begin(rq, body->resources.count, CONFIG_ALTER_REPLACE, body->validate_only, answer_replace);
    for (size_t i = 0; i < at->ca.count; i++) {
        const struct alter_configs_request_alter_configs_resource *asked =
            &body->resources.items[i];
        begin_resource(at, i, asked->resource_type, asked->resource_name, asked->configs.count);
        for (size_t j = 0; j < at->ca.items[i].changes_count; j++) {
            at->ca.items[i].changes[j] = (struct config_change){
                .name = asked->configs.items[j].name,
                .value = asked->configs.items[j].value,
                .operation = CONFIG_SET,
            };
        }
    }
    return submit(at);
}
