/*
 * FindCoordinator 0-6. Groups and transactions have no coordinator on this broker yet: every
 * well-formed key is answered COORDINATOR_NOT_AVAILABLE, which clients take as "ask again".
 *
 * Answers to KafkaApis.handleFindCoordinatorRequest; KIP-699 (lists of keys in version 4), KIP-932
 * (share keys `group:topicId:partition` in version 6).
 */
#include "base/err.h"
#include "broker/handlers.h"
#include "broker/request.h"
#include "wire/gen/errors.h"

#define KEYS_MIN_VERSION  4 /* from here on a list of keys */
#define SHARE_MIN_VERSION 6

enum coordinator_type {
    COORDINATOR_GROUP = 0,
    COORDINATOR_TRANSACTION = 1,
    COORDINATOR_SHARE = 2,
};

/* Topic ids and numbers behind the last two colons; what is before is the group. */
static bool is_share_key(struct str key)
{
    size_t last = key.len;
    while (last > 0 && key.ptr[last - 1] != ':') {
        last--;
    }
    if (last == 0) {
        return false;
    }
    size_t middle = last - 1;
    while (middle > 0 && key.ptr[middle - 1] != ':') {
        middle--;
    }
    if (middle <= 1) {
        return false; /* no second colon, or no group before it */
    }
    struct uuid id;
    int32_t partition;
    return uuid_parse(str_of(key.ptr + middle, last - 1 - middle), &id) >= 0 &&
           str_to_i32(str_of(key.ptr + last, key.len - last), &partition) >= 0;
}

static enum kafka_error check_key(struct request *rq, int8_t type, struct str key)
{
    switch (type) {
    case COORDINATOR_GROUP:
        if (!authorize(rq, ACL_DESCRIBE, RESOURCE_GROUP, key)) {
            return KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED;
        }
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    case COORDINATOR_TRANSACTION:
        if (!authorize(rq, ACL_DESCRIBE, RESOURCE_TRANSACTIONAL_ID, key)) {
            return KAFKA_ERROR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
        }
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    case COORDINATOR_SHARE:
        if (rq->version < SHARE_MIN_VERSION || !is_share_key(key)) {
            return KAFKA_ERROR_INVALID_REQUEST;
        }
        if (!authorize(rq, ACL_CLUSTER_ACTION, RESOURCE_CLUSTER, CLUSTER_NAME)) {
            return KAFKA_ERROR_CLUSTER_AUTHORIZATION_FAILED;
        }
        return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
    default:
        return KAFKA_ERROR_INVALID_REQUEST;
    }
}

/* In the words of version 3 and older; a list of keys has empty messages, but where its type is
 * unknown. */
static struct str message_of(enum kafka_error error)
{
    switch ((int)error) {
    case KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE:
        return STR("There is no coordinator for this key yet.");
    case KAFKA_ERROR_INVALID_REQUEST:
        return STR("The key or its type is none that a coordinator can be found for.");
    default:
        return STR("Not allowed to see this coordinator.");
    }
}

enum request_verdict h_find_coordinator(struct request *rq)
{
    const struct find_coordinator_request *body = rq->body;
    struct find_coordinator_response *out = rq->response;
    if (rq->version < KEYS_MIN_VERSION) {
        enum kafka_error error = check_key(rq, body->key_type, body->key);
        out->error_code = (int16_t)error;
        out->error_message = message_of(error);
        out->node_id = -1;
        out->host = STR("");
        out->port = -1;
        return REQUEST_DONE;
    }
    size_t count = body->coordinator_keys.count > 0 ? to_size(body->coordinator_keys.count) : 0;
    out->coordinators.items = codec_array(&rq->arena, find_coordinator_response_coordinator, count);
    out->coordinators.count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        struct find_coordinator_response_coordinator *fc = &out->coordinators.items[i];
        enum kafka_error error = check_key(rq, body->key_type, body->coordinator_keys.items[i]);
        fc->key = body->coordinator_keys.items[i];
        fc->error_code = (int16_t)error;
        bool is_known_type =
            body->key_type >= COORDINATOR_GROUP && body->key_type <= COORDINATOR_SHARE;
        fc->error_message = is_known_type ? STR("") : message_of(error);
        fc->node_id = -1;
        fc->host = STR("");
        fc->port = -1;
    }
    return REQUEST_DONE;
}
