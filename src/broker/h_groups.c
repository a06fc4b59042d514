/*
 * What members of groups ask: JoinGroup 0-9, SyncGroup 0-5, Heartbeat 0-4, LeaveGroup 0-5,
 * ConsumerGroupHeartbeat 0-1. What can be said without the group is said here, on the request's
 * loop; the rest is the coordinator's (coord/group_requests.h, coord/consumer.h).
 *
 * In order:
 *   JoinGroup      may it read the group 30; empty group id 24; session timeout out of bounds 26
 *   SyncGroup      from version 5 on without protocol type or name 23; 30; 24
 *   Heartbeat      30; 24. While the group is loaded: 0, as if it were there
 *   LeaveGroup     30; 24
 *   ConsumerGroupHeartbeat   the protocol is switched off 35; 30; topics that it may not see 29
 *
 * Kafka: KafkaApis.handleJoinGroupRequest and kin, GroupCoordinatorService.joinGroup and kin.
 */
#include "broker/broker.h"
#include "broker/coordinator.h"
#include "broker/handlers.h"
#include "broker/request.h"
#include "coord/consumer.h"
#include "coord/group_requests.h"
#include "meta/image.h"
#include "wire/gen/errors.h"

#define JOIN_NULL_NAME_VERSION 7 /* from here on the protocol's name may be null */
#define SYNC_PROTOCOL_VERSION  5 /* from here on it says protocol type and name */

/* The answer as if nothing had been filled in yet. */
static void begin_anew(struct request *rq)
{
    msg_init(rq->api->response, rq->response);
}

/* ---- JoinGroup ---- */

static struct str no_protocol(const struct request *rq)
{
    return rq->version >= JOIN_NULL_NAME_VERSION ? (struct str){.ptr = NULL} : STR("");
}

/* As the request itself answers an exception. */
static void refuse_join_request(struct request *rq, enum kafka_error error)
{
    struct join_group_response *out = rq->response;
    out->error_code = (int16_t)error;
    out->generation_id = -1;
    out->protocol_name = no_protocol(rq);
}

/* As the coordinator does. */
static void refuse_join(struct request *rq, enum kafka_error error)
{
    begin_anew(rq);
    struct join_group_response *out = rq->response;
    out->error_code = (int16_t)error;
    out->protocol_name = no_protocol(rq);
}

static enum request_verdict answer_join(struct request *rq, enum kafka_error error)
{
    const struct join_group_request *body = rq->body;
    struct join_group_response *out = rq->response;
    out->member_id = body->member_id;
    out->error_code = (int16_t)error;
    out->protocol_name = no_protocol(rq);
    return REQUEST_DONE;
}

enum request_verdict h_join_group(struct request *rq)
{
    const struct join_group_request *body = rq->body;
    const struct shard_config *config = coordinator_config(rq->br->coordinator);
    if (!authorize(rq, ACL_READ, RESOURCE_GROUP, body->group_id)) {
        refuse_join_request(rq, KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED);
        return REQUEST_DONE;
    }
    if (body->group_id.len == 0) {
        return answer_join(rq, KAFKA_ERROR_INVALID_GROUP_ID);
    }
    if (body->session_timeout_ms < config->min_session_timeout_ms ||
        body->session_timeout_ms > config->max_session_timeout_ms) {
        return answer_join(rq, KAFKA_ERROR_INVALID_SESSION_TIMEOUT);
    }
    return coordinator_call(rq, body->group_id, group_join, refuse_join);
}

/* ---- SyncGroup ---- */

static void refuse_sync(struct request *rq, enum kafka_error error)
{
    begin_anew(rq);
    struct sync_group_response *out = rq->response;
    out->error_code = (int16_t)error;
}

enum request_verdict h_sync_group(struct request *rq)
{
    const struct sync_group_request *body = rq->body;
    enum kafka_error error = KAFKA_ERROR_NONE;
    if (rq->version >= SYNC_PROTOCOL_VERSION &&
        (str_is_null(body->protocol_type) || str_is_null(body->protocol_name))) {
        error = KAFKA_ERROR_INCONSISTENT_GROUP_PROTOCOL;
    } else if (!authorize(rq, ACL_READ, RESOURCE_GROUP, body->group_id)) {
        error = KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED;
    } else if (body->group_id.len == 0) {
        error = KAFKA_ERROR_INVALID_GROUP_ID;
    }
    if (error != KAFKA_ERROR_NONE) {
        refuse_sync(rq, error);
        return REQUEST_DONE;
    }
    return coordinator_call(rq, body->group_id, group_sync, refuse_sync);
}

/* ---- Heartbeat ---- */

static void answer_heartbeat(struct request *rq, enum kafka_error error)
{
    struct heartbeat_response *out = rq->response;
    out->error_code = (int16_t)error;
}

static void refuse_heartbeat(struct request *rq, enum kafka_error error)
{
    bool is_loading = error == KAFKA_ERROR_COORDINATOR_LOAD_IN_PROGRESS;
    answer_heartbeat(rq, is_loading ? KAFKA_ERROR_NONE : error);
}

enum request_verdict h_heartbeat(struct request *rq)
{
    const struct heartbeat_request *body = rq->body;
    if (!authorize(rq, ACL_READ, RESOURCE_GROUP, body->group_id)) {
        answer_heartbeat(rq, KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED);
        return REQUEST_DONE;
    }
    if (body->group_id.len == 0) {
        answer_heartbeat(rq, KAFKA_ERROR_INVALID_GROUP_ID);
        return REQUEST_DONE;
    }
    return coordinator_call_late(rq, body->group_id, group_heartbeat, refuse_heartbeat);
}

/* ---- LeaveGroup ---- */

static void refuse_leave(struct request *rq, enum kafka_error error)
{
    begin_anew(rq);
    struct leave_group_response *out = rq->response;
    out->error_code = (int16_t)error;
}

enum request_verdict h_leave_group(struct request *rq)
{
    const struct leave_group_request *body = rq->body;
    if (!authorize(rq, ACL_READ, RESOURCE_GROUP, body->group_id)) {
        refuse_leave(rq, KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED);
        return REQUEST_DONE;
    }
    if (body->group_id.len == 0) {
        refuse_leave(rq, KAFKA_ERROR_INVALID_GROUP_ID);
        return REQUEST_DONE;
    }
    return coordinator_call(rq, body->group_id, group_leave, refuse_leave);
}

/* ---- ConsumerGroupHeartbeat ---- */

static void refuse_consumer_heartbeat(struct request *rq, enum kafka_error error)
{
    begin_anew(rq);
    struct consumer_group_heartbeat_response *out = rq->response;
    out->error_code = (int16_t)error;
}

static bool may_see_topics(struct request *rq, const struct consumer_group_heartbeat_request *body)
{
    for (int32_t i = 0; i < body->subscribed_topic_names.count; i++) {
        if (!authorize(rq, ACL_DESCRIBE, RESOURCE_TOPIC, body->subscribed_topic_names.items[i])) {
            return false;
        }
    }
    return true;
}

enum request_verdict h_consumer_group_heartbeat(struct request *rq)
{
    const struct consumer_group_heartbeat_request *body = rq->body;
    enum kafka_error error = KAFKA_ERROR_NONE;
    if (!coordinator_serves_consumer_groups(rq)) {
        error = KAFKA_ERROR_UNSUPPORTED_VERSION;
    } else if (!authorize(rq, ACL_READ, RESOURCE_GROUP, body->group_id)) {
        error = KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED;
    } else if (!may_see_topics(rq, body)) {
        error = KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
    }
    if (error != KAFKA_ERROR_NONE) {
        refuse_consumer_heartbeat(rq, error);
        return REQUEST_DONE;
    }
    bool says_something = body->member_epoch <= 0 || body->topic_partitions.count >= 0;
    return says_something
               ? coordinator_call(rq, body->group_id, consumer_heartbeat, refuse_consumer_heartbeat)
               : coordinator_call_late(rq, body->group_id, consumer_heartbeat,
                                       refuse_consumer_heartbeat);
}
