/*
 * SASL on a listener that has none, and ACLs where no authorizer is configured: the only kinds
 * there are so far (config_listeners and config_check refuse the others at the start). Kafka:
 * KafkaApis.handleSaslHandshakeRequest, handleSaslAuthenticateRequest, AclApis.
 *
 * Clients ask for these whatever the broker is. One that is set up for SASL tells its user at once
 * of ILLEGAL_SASL_STATE, and without it tries until its timeout; MirrorMaker copies ACLs by default
 * and takes SECURITY_DISABLED for "none"; libraries guess a broker's release from its APIs.
 *
 * An ACL or a filter with an element of the code 0 (unknown) ends the connection, other codes that
 * nobody knows do not; then the authorizer is looked for.
 */
#include "broker/handlers.h"
#include "broker/request.h"
#include "wire/gen/errors.h"

#define NO_AUTHORIZER STR("No authorizer is configured: this broker keeps no ACLs.")

/* 0 is "unknown" in each of the four enumerations. */
static bool
has_unknown(int8_t resource_type, int8_t pattern_type, int8_t operation, int8_t permission)
{
    return resource_type == 0 || pattern_type == 0 || operation == 0 || permission == 0;
}

enum request_verdict h_sasl_handshake(struct request *rq)
{
    struct sasl_handshake_response *out = rq->response;
    out->error_code = KAFKA_ERROR_ILLEGAL_SASL_STATE;
    return REQUEST_DONE;
}

enum request_verdict h_sasl_authenticate(struct request *rq)
{
    struct sasl_authenticate_response *out = rq->response;
    out->error_code = KAFKA_ERROR_ILLEGAL_SASL_STATE;
    out->error_message =
        STR("This listener does not use SASL: nobody is to be authenticated here.");
    return REQUEST_DONE;
}

enum request_verdict h_describe_acls(struct request *rq)
{
    const struct describe_acls_request *body = rq->body;
    struct describe_acls_response *out = rq->response;
    if (has_unknown(body->resource_type_filter, body->pattern_type_filter, body->operation,
                    body->permission_type)) {
        return REQUEST_CLOSE;
    }
    out->error_code = KAFKA_ERROR_SECURITY_DISABLED;
    out->error_message = NO_AUTHORIZER;
    return REQUEST_DONE;
}

enum request_verdict h_create_acls(struct request *rq)
{
    const struct create_acls_request *body = rq->body;
    struct create_acls_response *out = rq->response;
    size_t count = to_size(body->creations.count);
    out->results.items = codec_array(&rq->arena, create_acls_response_acl_creation_result, count);
    for (int32_t i = 0; i < body->creations.count; i++) {
        const struct create_acls_request_acl_creation *acl = &body->creations.items[i];
        if (has_unknown(acl->resource_type, acl->resource_pattern_type, acl->operation,
                        acl->permission_type)) {
            return REQUEST_CLOSE;
        }
        struct create_acls_response_acl_creation_result *result = &out->results.items[i];
        result->error_code = KAFKA_ERROR_SECURITY_DISABLED;
        result->error_message = NO_AUTHORIZER;
    }
    out->results.count = body->creations.count;
    return REQUEST_DONE;
}

enum request_verdict h_delete_acls(struct request *rq)
{
    const struct delete_acls_request *body = rq->body;
    struct delete_acls_response *out = rq->response;
    size_t count = to_size(body->filters.count);
    out->filter_results.items =
        codec_array(&rq->arena, delete_acls_response_delete_acls_filter_result, count);
    for (int32_t i = 0; i < body->filters.count; i++) {
        const struct delete_acls_request_delete_acls_filter *filter = &body->filters.items[i];
        if (has_unknown(filter->resource_type_filter, filter->pattern_type_filter,
                        filter->operation, filter->permission_type)) {
            return REQUEST_CLOSE;
        }
        struct delete_acls_response_delete_acls_filter_result *result =
            &out->filter_results.items[i];
        result->error_code = KAFKA_ERROR_SECURITY_DISABLED;
        result->error_message = NO_AUTHORIZER;
    }
    out->filter_results.count = body->filters.count;
    return REQUEST_DONE;
}
