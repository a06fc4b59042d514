/*
 * FindCoordinator 0-6. The coordinator of a group is the leader of its partition of
 * __consumer_offsets, which is made when it is asked for and not there: COORDINATOR_NOT_AVAILABLE
 * meanwhile. Transactions and share groups have no coordinator on this broker yet: every
 * well-formed key of theirs is answered COORDINATOR_NOT_AVAILABLE, which clients take as "ask
 * again".
 *
 * Answers to KafkaApis.handleFindCoordinatorRequest; KIP-699 (lists of keys in version 4), KIP-932
 * (share keys `group:topicId:partition` in version 6).
 */
#include "base/err.h"
#include "broker/broker.h"
#include "broker/coordinator.h"
#include "broker/h_topics.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/request.h"
#include "wire/gen/errors.h"

#define KEYS_MIN_VERSION  4 /* from here on a list of keys */
#define SHARE_MIN_VERSION 6

#define TRANSACTION_LOG_MS 60000

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

static enum kafka_error find_group(struct request *rq, struct str group_id)
{
    if (!authorize(rq, ACL_DESCRIBE, RESOURCE_GROUP, group_id)) {
        return KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED;
    }
    const struct image *im = request_image(rq);
    const struct image_topic *t = image_topic_by_name(im, OFFSETS_TOPIC);
    int32_t number = coordinator_partition(im, group_id);
    /* Every leader is this broker; without an address for this listener it cannot be told. */
    return t != NULL && number >= 0 && t->partitions[number].leader == rq->br->node_id &&
                   request_listener(rq)->is_advertised
               ? KAFKA_ERROR_NONE
               : KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
}

/* Has the topic of the groups made, once a request, when it is not there. */
static void make_topic(struct request *rq, int8_t type)
{
    struct str name = OFFSETS_TOPIC;
    if (type == COORDINATOR_GROUP && image_topic_by_name(request_image(rq), name) == NULL) {
        topics_auto_create(rq, &name, 1);
    }
}

/* Clients try until their timeout and name no cause then: the log does. */
static void tell_of_transactions(struct request *rq)
{
    struct io_thread *io = rq->io;
    struct log_left_out left_out;
    char text[128];
    struct strbuf sb;
    strbuf_init(&sb, text, sizeof(text));
    if (loop_is_current(io->loop) && /* the limit is the loop's */
        log_limit_pass(&io->transaction_limit, rq->br->clock, TRANSACTION_LOG_MS, &left_out)) {
        LOG_WARN(rq->br->logger, FAC_BROKER,
                 "a client asks for the coordinator of transactions, which are not supported yet; "
                 "it will ask again until it gives up: client.id=%s%s",
                 str_escape(&sb, rq->client_id), left_out.text);
    }
}

static enum kafka_error check_key(struct request *rq, int8_t type, struct str key)
{
    switch (type) {
    case COORDINATOR_GROUP:
        return find_group(rq, key);
    case COORDINATOR_TRANSACTION:
        if (!authorize(rq, ACL_DESCRIBE, RESOURCE_TRANSACTIONAL_ID, key)) {
            return KAFKA_ERROR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
        }
        tell_of_transactions(rq);
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
    case KAFKA_ERROR_NONE:
        return STR("NONE");
    case KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE:
        return STR("There is no coordinator for this key yet.");
    case KAFKA_ERROR_INVALID_REQUEST:
        return STR("The key or its type is none that a coordinator can be found for.");
    default:
        return STR("Not allowed to see this coordinator.");
    }
}

/* Where the coordinator is: here, or nowhere. */
static void fill_node(struct request *rq,
                      enum kafka_error error,
                      int32_t *ret_id,
                      struct str *ret_host,
                      int32_t *ret_port)
{
    const struct broker_listener *bl = request_listener(rq);
    bool is_here = error == KAFKA_ERROR_NONE;
    *ret_id = is_here ? rq->br->node_id : -1;
    *ret_host = is_here ? bl->advertised_host : STR("");
    *ret_port = is_here ? bl->advertised_port : -1;
}

enum request_verdict h_find_coordinator(struct request *rq)
{
    const struct find_coordinator_request *body = rq->body;
    struct find_coordinator_response *out = rq->response;
    if (rq->version < KEYS_MIN_VERSION || body->coordinator_keys.count > 0) {
        make_topic(rq, body->key_type);
    }
    if (rq->version < KEYS_MIN_VERSION) {
        enum kafka_error error = check_key(rq, body->key_type, body->key);
        out->error_code = (int16_t)error;
        out->error_message = message_of(error);
        fill_node(rq, error, &out->node_id, &out->host, &out->port);
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
        fill_node(rq, error, &fc->node_id, &fc->host, &fc->port);
    }
    return REQUEST_DONE;
}
