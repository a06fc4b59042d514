/*
 * InitProducerId 0-5, for idempotent producers: the next id of this broker's block, epoch 0. When
 * the block is used up the request waits for the next one (a metadata record). A transactional id
 * has no coordinator here yet: NOT_COORDINATOR.
 *
 * Answers to KafkaApis.handleInitProducerIdRequest, TransactionCoordinator.handleInitProducerId,
 * RPCProducerIdManager; KIP-98, KIP-360.
 */
#include "base/err.h"
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/metadata.h"
#include "broker/request.h"
#include "config/config.h"
#include "wire/gen/errors.h"

#define NO_PRODUCER_ID    (-1)
#define NO_PRODUCER_EPOCH (-1)

struct producer_id_job {
    struct metadata_job mj;
    struct request *rq;
    int64_t producer_id;
    int err; /* of the decision */
};

static void refuse(struct request *rq, enum kafka_error error)
{
    struct init_producer_id_response *out = rq->response;
    out->error_code = (int16_t)error;
    out->producer_id = NO_PRODUCER_ID;
    out->producer_epoch = NO_PRODUCER_EPOCH;
}

static void grant_id(struct request *rq, int64_t producer_id)
{
    struct init_producer_id_response *out = rq->response;
    out->producer_id = producer_id;
    out->producer_epoch = 0;
}

static void decide(struct metadata_job *mj, const struct image *im, struct meta_records *records)
{
    struct producer_id_job *pj = container_of(mj, struct producer_id_job, mj);
    pj->err = metadata_decide_producer_id(pj->rq->br->metadata, im, records, &pj->producer_id);
}

static void done(struct metadata_job *mj, int err)
{
    struct producer_id_job *pj = container_of(mj, struct producer_id_job, mj);
    struct request *rq = pj->rq;
    if (err == 0) {
        err = pj->err;
    }
    if (err < 0) {
        refuse(rq, kafka_error_from(rq, err));
    } else {
        grant_id(rq, pj->producer_id);
    }
    request_finish(rq);
}

/* An idempotent producer needs a right of its own, or that to write to any topic. */
static bool may_produce(struct request *rq)
{
    return authorize(rq, ACL_IDEMPOTENT_WRITE, RESOURCE_CLUSTER, CLUSTER_NAME) ||
           authorize(rq, ACL_WRITE, RESOURCE_TOPIC, (struct str){.ptr = NULL});
}

static enum kafka_error check_request(struct request *rq,
                                      const struct init_producer_id_request *body)
{
    bool is_transactional = !str_is_null(body->transactional_id);
    if (is_transactional &&
        !authorize(rq, ACL_WRITE, RESOURCE_TRANSACTIONAL_ID, body->transactional_id)) {
        return KAFKA_ERROR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    }
    if (!is_transactional && !may_produce(rq)) {
        return KAFKA_ERROR_CLUSTER_AUTHORIZATION_FAILED;
    }
    if ((body->producer_id == NO_PRODUCER_ID) != (body->producer_epoch == NO_PRODUCER_EPOCH)) {
        return KAFKA_ERROR_INVALID_REQUEST;
    }
    if (!is_transactional) {
        return KAFKA_ERROR_NONE;
    }
    if (body->transactional_id.len == 0) {
        return KAFKA_ERROR_INVALID_REQUEST;
    }
    int64_t timeout_max_ms = config_get_int(rq->br->config, "transaction.max.timeout.ms");
    if (body->transaction_timeout_ms <= 0 || body->transaction_timeout_ms > timeout_max_ms) {
        return KAFKA_ERROR_INVALID_TRANSACTION_TIMEOUT;
    }
    return KAFKA_ERROR_NOT_COORDINATOR;
}

enum request_verdict h_init_producer_id(struct request *rq)
{
    enum kafka_error error = check_request(rq, rq->body);
    if (error != KAFKA_ERROR_NONE) {
        refuse(rq, error);
        return REQUEST_DONE;
    }
    int64_t producer_id;
    if (metadata_take_producer_id(rq->br->metadata, &producer_id)) {
        grant_id(rq, producer_id);
        return REQUEST_DONE;
    }
    struct producer_id_job *pj = arena_alloc(&rq->arena, sizeof(*pj));
    pj->rq = rq;
    pj->mj.loop = rq->io->loop;
    pj->mj.decide = decide;
    pj->mj.done = done;
    metadata_submit(rq->br->metadata, &pj->mj);
    return REQUEST_PARKED;
}
