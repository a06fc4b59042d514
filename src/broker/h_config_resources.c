/*
 * ListConfigResources: what DescribeConfigs can be asked about. Kafka: KafkaApis
 * .handleListConfigResources, KIP-1142.
 *
 * Topics and brokers are there by themselves; groups and subscriptions to client metrics are only
 * listed while they have configs of their own. Version 0 asks for client metrics alone. No types:
 * all; one that is unknown refuses the whole request (UNSUPPORTED_VERSION).
 *
 * A worker collects them, as there may be many topics.
 */
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/request.h"
#include "meta/image.h"
#include "wire/gen/errors.h"

typedef struct list_config_resources_response_config_resource listed_resource;

static const enum config_resource_type listed_types[] = {
    CONFIG_RESOURCE_TOPIC,          CONFIG_RESOURCE_BROKER, CONFIG_RESOURCE_BROKER_LOGGER,
    CONFIG_RESOURCE_CLIENT_METRICS, CONFIG_RESOURCE_GROUP,
};

struct listing {
    struct request *rq;
    listed_resource *items; /* in the request's arena */
    size_t count;
    size_t room;
};

static void add(struct listing *li, enum config_resource_type type, struct str name)
{
    if (li->count == li->room) {
        size_t room = max_size(li->room * 2, 16);
        listed_resource *items = arena_alloc(&li->rq->arena, room * sizeof(*items));
        if (li->count > 0) {
            memcpy(items, li->items, li->count * sizeof(*items));
        }
        li->items = items;
        li->room = room;
    }
    listed_resource *to = &li->items[li->count++];
    *to = list_config_resources_response_config_resource_default;
    to->resource_type = (int8_t)type;
    to->resource_name = name;
}

static void add_type(struct listing *li, enum config_resource_type type)
{
    const struct image *im = li->rq->image;
    struct arena *arena = &li->rq->arena;
    size_t count = 0;
    if (type == CONFIG_RESOURCE_TOPIC) {
        const struct image_topic **topics;
        image_topics_sorted(im, arena, &topics, &count);
        for (size_t i = 0; i < count; i++) {
            add(li, type, topics[i]->name);
        }
    } else if (type == CONFIG_RESOURCE_BROKER || type == CONFIG_RESOURCE_BROKER_LOGGER) {
        const struct image_broker *const *brokers;
        image_brokers(im, &brokers, &count);
        for (size_t i = 0; i < count; i++) {
            if (!brokers[i]->is_fenced) {
                add(li, type, arena_printf(arena, "%" PRId32, brokers[i]->id));
            }
        }
    } else {
        struct str *names;
        image_config_resources(im, type, arena, &names, &count);
        for (size_t i = 0; i < count; i++) {
            add(li, type, names[i]);
        }
    }
}

static bool is_asked(const struct list_config_resources_request *body,
                     int16_t version,
                     enum config_resource_type type)
{
    if (version == 0) {
        return type == CONFIG_RESOURCE_CLIENT_METRICS;
    }
    for (int32_t i = 0; i < body->resource_types.count; i++) {
        if (body->resource_types.items[i] == (int8_t)type) {
            return true;
        }
    }
    return body->resource_types.count <= 0;
}

static bool is_known(int8_t type)
{
    for (size_t i = 0; i < ARRAY_LEN(listed_types); i++) {
        if ((int8_t)listed_types[i] == type) {
            return true;
        }
    }
    return false;
}

static void list_all(struct request *rq)
{
    struct list_config_resources_response *response = rq->response;
    struct listing li = {.rq = rq};
    for (size_t i = 0; i < ARRAY_LEN(listed_types); i++) {
        if (is_asked(rq->body, rq->version, listed_types[i])) {
            add_type(&li, listed_types[i]);
        }
    }
    response->config_resources.items = li.items;
    response->config_resources.count = to_i32(to_i64(li.count));
}

static void list_done(struct request *rq)
{
    request_finish(rq);
}

enum request_verdict h_list_config_resources(struct request *rq)
{
    const struct list_config_resources_request *body = rq->body;
    struct list_config_resources_response *response = rq->response;
    if (!authorize(rq, ACL_DESCRIBE_CONFIGS, RESOURCE_CLUSTER, CLUSTER_NAME)) {
        response->error_code = KAFKA_ERROR_CLUSTER_AUTHORIZATION_FAILED;
        return REQUEST_DONE;
    }
    for (int32_t i = 0; i < body->resource_types.count; i++) {
        if (!is_known(body->resource_types.items[i])) {
            response->error_code = KAFKA_ERROR_UNSUPPORTED_VERSION;
            return REQUEST_DONE;
        }
    }
    if (rq->image == NULL) {
        rq->image = image_ref(request_image(rq)); /* beyond this turn: the answer points into it */
    }
    request_offload(rq, list_all, list_done);
    return REQUEST_PARKED;
}
