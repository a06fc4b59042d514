/*
 * The answer of a fetch: which partitions it names, in what order, and what the session remembers
 * of them. See fetch_state.h.
 */
#include "broker/broker.h"
#include "broker/fetch_state.h"
#include "broker/h_cluster.h"
#include "broker/request.h"

#define DIVERGING_MIN 12 /* version: from here on an answer has a diverging epoch */

static void remember_outcome(struct fetch_part *t)
{
    t->outcome.name = t->name;
    t->outcome.high_watermark = t->data.high_watermark;
    t->outcome.log_start_offset = t->data.log_start_offset;
    t->outcome.has_error = t->data.error_code != 0;
    t->outcome.must_send = t->data.diverging_epoch.epoch >= 0;
}

/* Groups neighbours of one topic; a topic may appear again further on, as in Kafka. */
static void lay_out(struct fetch *st, const bool *sent)
{
    struct request *rq = st->rq;
    struct fetch_response *out = rq->response;
    size_t count = st->context.count;
    out->responses.items = arena_alloc(&rq->arena, (count + 1) * sizeof(*out->responses.items));
    struct fetch_response_partition_data *all = arena_alloc(&rq->arena, (count + 1) * sizeof(*all));
    struct fetch_response_fetchable_topic_response *tr = NULL;
    for (size_t k = 0; k < FETCH_ORDERS_COUNT * count; k++) {
        size_t i = k % count;
        const struct fetch_target *ft = &st->context.targets[i];
        if (!sent[i] || st->targets[i].order != k / count) {
            continue;
        }
        if (tr == NULL || !uuid_equal(&tr->topic_id, &ft->topic_id) ||
            !str_equal(tr->topic, ft->topic)) {
            tr = &out->responses.items[out->responses.count++];
            *tr = fetch_response_fetchable_topic_response_default;
            tr->topic = ft->topic;
            tr->topic_id = ft->topic_id;
            tr->partitions.items = all;
        }
        *all++ = st->targets[i].data;
        tr->partitions.count++;
    }
}

static void tell_endpoint(struct request *rq)
{
    struct fetch_response *out = rq->response;
    const struct image_broker *b = image_broker(request_image(rq), rq->br->node_id);
    struct str host;
    int32_t port;
    if (rq->version < 16 || b == NULL || !cluster_endpoint(rq, b, &host, &port)) {
        return;
    }
    out->node_endpoints.items = arena_alloc(&rq->arena, sizeof(*out->node_endpoints.items));
    out->node_endpoints.count = 1;
    out->node_endpoints.items[0] = fetch_response_node_endpoint_default;
    out->node_endpoints.items[0].node_id = b->id;
    out->node_endpoints.items[0].host = host;
    out->node_endpoints.items[0].port = port;
    out->node_endpoints.items[0].rack = b->rack;
}

/* The request as a whole: before version 13 every partition of it says so, too. */
static void compose_refusal(struct request *rq, enum kafka_error error)
{
    const struct fetch_request *body = rq->body;
    struct fetch_response *out = rq->response;
    out->error_code = (int16_t)error;
    out->session_id = body->session_id;
    if (rq->version < 13) {
        out->responses.items = arena_alloc(&rq->arena, ((size_t)body->topics.count + 1) *
                                                           sizeof(*out->responses.items));
        out->responses.count = body->topics.count;
    }
    for (int32_t i = 0; i < out->responses.count; i++) {
        const struct fetch_request_fetch_topic *topic = &body->topics.items[i];
        struct fetch_response_fetchable_topic_response *tr = &out->responses.items[i];
        *tr = fetch_response_fetchable_topic_response_default;
        tr->topic = topic->topic;
        tr->partitions.count = topic->partitions.count;
        tr->partitions.items = arena_alloc(&rq->arena, ((size_t)topic->partitions.count + 1) *
                                                           sizeof(*tr->partitions.items));
        for (int32_t j = 0; j < topic->partitions.count; j++) {
            struct fetch_response_partition_data *pd = &tr->partitions.items[j];
            *pd = fetch_response_partition_data_default;
            pd->partition_index = topic->partitions.items[j].partition;
            pd->error_code = (int16_t)error;
            pd->high_watermark = -1;
            pd->records.ptr = (const uint8_t *)"";
        }
    }
}

/* The sessions of all consumers are in shards by id; a lock around each use. */
struct fetch_shard *fetch_shard_lock(struct broker *br, int32_t session_id)
{
    struct fetch_shard *shard = &br->fetch_shards[(uint32_t)session_id % br->fetch_shards_count];
    lock_take(&shard->lock);
    return shard;
}

void fetch_shard_unlock(struct fetch_shard *shard)
{
    lock_give(&shard->lock);
}

/* A session that was begun with a newer version may find what this one has no field for: that the
 * client's history parts from ours. */
static bool is_beyond_version(const struct fetch *st, const bool *sent)
{
    if (st->rq->version >= DIVERGING_MIN) {
        return false;
    }
    for (size_t i = 0; i < st->context.count; i++) {
        if (sent[i] && st->targets[i].data.diverging_epoch.epoch >= 0) {
            return true;
        }
    }
    return false;
}

void fetch_compose(struct request *rq)
{
    struct fetch *st = rq->state;
    struct fetch_response *out = rq->response;
    size_t count = st->context.count;
    if (st->refuses_isolation) {
        compose_refusal(rq, KAFKA_ERROR_UNKNOWN_SERVER_ERROR);
        return;
    }
    struct fetch_outcome *outcomes = arena_alloc(&rq->arena, (count + 1) * sizeof(*outcomes));
    bool *sent = arena_alloc(&rq->arena, count + 1);
    for (size_t i = 0; i < count; i++) {
        remember_outcome(&st->targets[i]);
        outcomes[i] = st->targets[i].outcome;
        sent[i] = true;
    }
    if (st->context.kind != FETCH_SESSIONLESS) {
        uint32_t random = 0;
        clock_random(rq->br->clock, &random, sizeof(random));
        int32_t id = st->context.session_id;
        struct fetch_shard *shard =
            fetch_shard_lock(rq->br, id == 0 ? (int32_t)(random & INT32_MAX) : id);
        out->session_id =
            fetch_session_end(shard->sessions, &st->context, outcomes, st->now_ms, random, sent);
        fetch_shard_unlock(shard);
    }
    if (is_beyond_version(st, sent)) {
        compose_refusal(rq, KAFKA_ERROR_UNSUPPORTED_VERSION);
        return;
    }
    lay_out(st, sent);
    if (st->tells_endpoint) {
        tell_endpoint(rq);
    }
}
