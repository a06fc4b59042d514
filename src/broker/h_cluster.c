/*
 * ApiVersions 0-5 and DescribeCluster 0-2.
 *
 * ApiVersions is answered from the same rows that dispatch uses. Clients before version 4 cannot
 * bear a supported feature whose least level is 0: such features are left out for them.
 *
 * Answers to KafkaApis.handleApiVersionsRequest, ApiVersionsResponse,
 * KafkaApis.handleDescribeCluster; KIP-35, KIP-584, KIP-1242 (cluster id and node id in version 5).
 */
#include "broker/h_cluster.h"

#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/metadata.h"
#include "broker/request.h"
#include "meta/features.h"
#include "wire/gen/errors.h"

#define KRAFT_VERSION "kraft.version"

#define API_VERSIONS_ALL_FEATURES 4 /* from here on features from level 0 are told */

enum endpoint_type {
    ENDPOINT_BROKERS = 1,
    ENDPOINT_CONTROLLERS = 2,
};

static void fill_keys(struct api_versions_response *ret, struct arena *arena)
{
    size_t count = 0;
    while (api_info_at(count) != NULL) {
        count++;
    }
    ret->api_keys.items = codec_array(arena, api_versions_response_api_version, count);
    ret->api_keys.count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct api_info *info = api_info_at(i);
        if ((info->listeners & API_LISTENER_BROKER) == 0) {
            continue;
        }
        struct api_versions_response_api_version *out = &ret->api_keys.items[ret->api_keys.count++];
        out->api_key = info->key;
        out->min_version = info->min_version;
        out->max_version = info->max_version;
    }
}

static void fill_supported(int16_t version, struct api_versions_response *ret, struct arena *arena)
{
    ret->supported_features.items =
        codec_array(arena, api_versions_response_supported_feature_key, FEATURES_COUNT);
    ret->supported_features.count = 0;
    for (size_t i = 0; i < FEATURES_COUNT; i++) {
        const struct feature *f = &features_table[i];
        if (version < API_VERSIONS_ALL_FEATURES && f->min == 0) {
            continue;
        }
        struct api_versions_response_supported_feature_key *out =
            &ret->supported_features.items[ret->supported_features.count++];
        out->name = str_from(f->name);
        out->min_version = f->min;
        out->max_version = f->max;
    }
}

static void add_finalized(struct api_versions_response *ret, struct str name, int16_t level)
{
    struct api_versions_response_finalized_feature_key *out =
        &ret->finalized_features.items[ret->finalized_features.count++];
    out->name = name;
    out->max_version_level = level;
    out->min_version_level = level;
}

static void
fill_finalized(struct broker *br, struct api_versions_response *ret, struct arena *arena)
{
    struct image *im = metadata_image(br->metadata);
    const struct image_feature *features;
    size_t count;
    image_features(im, &features, &count);
    ret->finalized_features_epoch = image_offset(im);
    ret->finalized_features.items =
        codec_array(arena, api_versions_response_finalized_feature_key, count + 1);
    ret->finalized_features.count = 0;
    for (size_t i = 0; i < count; i++) {
        add_finalized(ret, arena_strdup(arena, features[i].name), features[i].level);
    }
    int16_t kraft_version = metadata_kraft_version(br->metadata);
    if (kraft_version > 0) {
        add_finalized(ret, STR(KRAFT_VERSION), kraft_version);
    }
    image_unref(im);
}

void api_versions_fill(struct broker *br,
                       int16_t version,
                       struct api_versions_response *ret,
                       struct arena *arena)
{
    fill_keys(ret, arena);
    fill_supported(version, ret, arena);
    fill_finalized(br, ret, arena);
}

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* A letter or digit at both ends; '-' and '.' may stand between. */
static bool is_software_name(struct str s)
{
    if (s.len == 0 || !is_letter_or_digit(s.ptr[0]) || !is_letter_or_digit(s.ptr[s.len - 1])) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (!is_letter_or_digit(s.ptr[i]) && s.ptr[i] != '-' && s.ptr[i] != '.') {
            return false;
        }
    }
    return true;
}

static enum kafka_error check_api_versions(const struct request *rq,
                                           const struct api_versions_request *body)
{
    if (rq->version >= 3 && (!is_software_name(body->client_software_name) ||
                             !is_software_name(body->client_software_version))) {
        return KAFKA_ERROR_INVALID_REQUEST;
    }
    if (rq->version < 5 || (str_is_null(body->cluster_id) && body->node_id == -1)) {
        return KAFKA_ERROR_NONE;
    }
    if (str_is_null(body->cluster_id) || body->node_id == -1) {
        return KAFKA_ERROR_INVALID_REQUEST; /* both or none */
    }
    if (!str_is(body->cluster_id, rq->br->cluster_id) || body->node_id != rq->br->node_id) {
        return KAFKA_ERROR_REBOOTSTRAP_REQUIRED;
    }
    return KAFKA_ERROR_NONE;
}

enum request_verdict h_api_versions(struct request *rq)
{
    struct api_versions_response *out = rq->response;
    enum kafka_error error = check_api_versions(rq, rq->body);
    if (error != KAFKA_ERROR_NONE) {
        out->error_code = (int16_t)error;
        return REQUEST_DONE;
    }
    api_versions_fill(rq->br, rq->version, out, &rq->arena);
    return REQUEST_DONE;
}

bool cluster_endpoint(const struct request *rq,
                      const struct image_broker *b,
                      struct str *ret_host,
                      int32_t *ret_port)
{
    const struct broker_listener *listener = request_listener(rq);
    if (b->id == rq->br->node_id) {
        if (!listener->is_advertised) {
            return false;
        }
        *ret_host = listener->advertised_host;
        *ret_port = listener->advertised_port;
        return true;
    }
    for (int32_t i = 0; i < b->endpoints_count; i++) {
        if (str_equal(b->endpoints[i].name, listener->name)) {
            *ret_host = b->endpoints[i].host;
            *ret_port = b->endpoints[i].port;
            return true;
        }
    }
    return false;
}

int32_t cluster_controller_id(const struct request *rq, const struct image *im)
{
    const struct image_broker *const *brokers;
    size_t count;
    image_brokers(im, &brokers, &count);
    size_t active = 0;
    for (size_t i = 0; i < count; i++) {
        active += brokers[i]->is_fenced ? 0 : 1;
    }
    if (active == 0) {
        return -1;
    }
    /* Any will do, as every broker takes control requests; not always the same one. */
    size_t wanted = (uint32_t)rq->correlation_id % active;
    for (size_t i = 0; i < count; i++) {
        if (brokers[i]->is_fenced) {
            continue;
        }
        if (wanted == 0) {
            return brokers[i]->id;
        }
        wanted--;
    }
    return -1;
}

static void fill_brokers(struct request *rq, const struct image *im, bool has_fenced)
{
    struct describe_cluster_response *out = rq->response;
    const struct image_broker *const *brokers;
    size_t count;
    image_brokers(im, &brokers, &count);
    out->brokers.items =
        codec_array(&rq->arena, describe_cluster_response_describe_cluster_broker, count);
    out->brokers.count = 0;
    for (size_t i = 0; i < count; i++) {
        struct describe_cluster_response_describe_cluster_broker db =
            describe_cluster_response_describe_cluster_broker_default;
        if ((brokers[i]->is_fenced && !has_fenced) ||
            !cluster_endpoint(rq, brokers[i], &db.host, &db.port)) {
            continue;
        }
        db.broker_id = brokers[i]->id;
        db.rack = brokers[i]->rack;
        db.is_fenced = brokers[i]->is_fenced;
        out->brokers.items[out->brokers.count++] = db;
    }
}

/* A controller that the answer does not list is not named either (Metadata names it). */
static int32_t listed_controller_id(const struct request *rq, const struct image *im)
{
    const struct describe_cluster_response *out = rq->response;
    int32_t id = cluster_controller_id(rq, im);
    for (int32_t i = 0; i < out->brokers.count; i++) {
        if (out->brokers.items[i].broker_id == id) {
            return id;
        }
    }
    return -1;
}

enum request_verdict h_describe_cluster(struct request *rq)
{
    const struct describe_cluster_request *body = rq->body;
    struct describe_cluster_response *out = rq->response;
    if (body->endpoint_type == ENDPOINT_CONTROLLERS) {
        out->error_code = KAFKA_ERROR_MISMATCHED_ENDPOINT_TYPE;
        out->error_message = STR("This endpoint is a broker's; controllers were asked for.");
        return REQUEST_DONE;
    }
    if (body->endpoint_type != ENDPOINT_BROKERS) {
        out->error_code = KAFKA_ERROR_UNSUPPORTED_ENDPOINT_TYPE;
        out->error_message = STR("An endpoint type is 1 (brokers) or 2 (controllers).");
        return REQUEST_DONE;
    }
    if (body->include_cluster_authorized_operations) {
        out->cluster_authorized_operations =
            authorize(rq, ACL_DESCRIBE, RESOURCE_CLUSTER, CLUSTER_NAME)
                ? authorized_operations(rq, RESOURCE_CLUSTER, CLUSTER_NAME)
                : 0;
    }
    const struct image *im = request_image(rq);
    out->cluster_id = str_from(rq->br->cluster_id);
    fill_brokers(rq, im, body->include_fenced_brokers);
    out->controller_id = listed_controller_id(rq, im);
    return REQUEST_DONE;
}
