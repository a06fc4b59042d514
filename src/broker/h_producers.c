/* DescribeProducers 0 (Kafka: ReplicaManager.activeProducerState): who writes to a partition, and
 * since when a transaction is open. */
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/lookup.h"
#include "broker/partition.h"
#include "broker/request.h"
#include "meta/controller.h"

static void describe_one(struct request *rq,
                         struct str topic,
                         struct describe_producers_response_partition_response *out)
{
    struct partition *p = NULL;
    enum kafka_error error = authorize(rq, ACL_READ, RESOURCE_TOPIC, topic)
                                 ? lookup_by_name(rq, topic, out->partition_index, &p)
                                 : KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
    if (error == KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION &&
        image_topic_by_name(request_image(rq), topic) == NULL) {
        struct str problem = controller_topic_name_problem(topic);
        error = str_is_null(problem) ? error : KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
        out->error_message = str_is_null(problem) ? str_from(kafka_error_message(error)) : problem;
    }
    if (error != KAFKA_ERROR_NONE) {
        out->error_code = (int16_t)error;
        return;
    }
    struct plog_producer *all = NULL;
    int32_t count = 0;
    plog_producers(p->pl, &rq->arena, &all, &count);
    out->active_producers.items =
        arena_alloc(&rq->arena, (size_t)(count + 1) * sizeof(*out->active_producers.items));
    out->active_producers.count = count;
    for (int32_t i = 0; i < count; i++) {
        struct describe_producers_response_producer_state *ps = &out->active_producers.items[i];
        *ps = describe_producers_response_producer_state_default;
        ps->producer_id = all[i].producer_id;
        ps->producer_epoch = all[i].producer_epoch;
        ps->last_sequence = all[i].last_sequence;
        ps->last_timestamp = all[i].last_timestamp;
        ps->coordinator_epoch = all[i].coordinator_epoch;
        ps->current_txn_start_offset = all[i].current_txn_start;
    }
    partition_unref(p);
}

enum request_verdict h_describe_producers(struct request *rq)
{
    const struct describe_producers_request *body = rq->body;
    struct describe_producers_response *out = rq->response;
    out->topics.items =
        arena_alloc(&rq->arena, (size_t)(body->topics.count + 1) * sizeof(*out->topics.items));
    out->topics.count = body->topics.count;
    for (int32_t i = 0; i < body->topics.count; i++) {
        const struct describe_producers_request_topic_request *dt = &body->topics.items[i];
        struct describe_producers_response_topic_response *tr = &out->topics.items[i];
        *tr = describe_producers_response_topic_response_default;
        tr->name = dt->name;
        tr->partitions.count = dt->partition_indexes.count;
        tr->partitions.items = arena_alloc(&rq->arena, (size_t)(tr->partitions.count + 1) *
                                                           sizeof(*tr->partitions.items));
        for (int32_t j = 0; j < tr->partitions.count; j++) {
            tr->partitions.items[j] = describe_producers_response_partition_response_default;
            tr->partitions.items[j].partition_index = dt->partition_indexes.items[j];
            describe_one(rq, dt->name, &tr->partitions.items[j]);
        }
    }
    return REQUEST_DONE;
}
