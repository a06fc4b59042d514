/* From a job of the scenario to a request of the controller, and from its response to an answer. */
#include "meta_node.h"

#include "base/base.h"
#include "base/err.h"
#include "meta/bootstrap.h"
#include "meta/features.h"
#include "meta_node_impl.h"
#include "wire/gen/messages.h"

#define CONFIG_NAME "retention.ms"

enum {
    TIMEOUT_MS = 60000,
};

static struct str name_at(const struct meta_request *rq, int32_t i)
{
    return str_from(rq->names[i]);
}

static struct str print_value(struct arena *arena, int32_t value)
{
    return arena_printf(arena, "%d", value);
}

static void create(struct meta_node *n,
                   struct meta_job *mj,
                   const struct image *im,
                   struct meta_records *records)
{
    const struct meta_request *rq = &mj->request;
    struct arena *arena = records->arena;
    struct create_topics_request req = create_topics_request_default;
    req.timeout_ms = TIMEOUT_MS;
    struct create_topics_response rsp;
    req.topics.items = codec_array(arena, create_topics_request_creatable_topic, (size_t)rq->count);
    req.topics.count = rq->count;
    for (int32_t i = 0; i < rq->count; i++) {
        struct create_topics_request_creatable_topic *t = &req.topics.items[i];
        t->name = name_at(rq, i);
        t->num_partitions = rq->partitions;
        t->replication_factor = 1;
        if (rq->value > 0) {
            t->configs.items = codec_array(arena, create_topics_request_creatable_topic_config, 1);
            t->configs.count = 1;
            t->configs.items[0].name = STR(CONFIG_NAME);
            t->configs.items[0].value = print_value(arena, rq->value);
        }
    }
    controller_create_topics(&n->ct, im, &req, NULL, NULL, arena, records, &rsp);
    check(rsp.topics.count == rq->count);
    for (int32_t i = 0; i < rq->count; i++) {
        for (int32_t k = 0; k < rq->count; k++) {
            if (str_equal(rsp.topics.items[k].name, name_at(rq, i))) {
                mj->answer.topics[i].error = (enum kafka_error)rsp.topics.items[k].error_code;
                mj->answer.topics[i].id = rsp.topics.items[k].topic_id;
            }
        }
    }
}

static void delete (struct meta_node *n,
                    struct meta_job *mj,
                    const struct image *im,
                    struct meta_records *records)
{
    const struct meta_request *rq = &mj->request;
    struct delete_topics_request req = delete_topics_request_default;
    req.timeout_ms = TIMEOUT_MS;
    struct delete_topics_response rsp;
    req.topics.items =
        codec_array(records->arena, delete_topics_request_delete_topic_state, (size_t)rq->count);
    req.topics.count = rq->count;
    for (int32_t i = 0; i < rq->count; i++) {
        req.topics.items[i].name = name_at(rq, i);
    }
    controller_delete_topics(&n->ct, im, &req, NULL, NULL, records->arena, records, &rsp);
    for (int32_t i = 0; i < rq->count; i++) {
        for (int32_t k = 0; k < rsp.responses.count; k++) {
            if (str_equal(rsp.responses.items[k].name, name_at(rq, i))) {
                mj->answer.topics[i].error = (enum kafka_error)rsp.responses.items[k].error_code;
            }
        }
    }
}

static void widen(struct meta_node *n,
                  struct meta_job *mj,
                  const struct image *im,
                  struct meta_records *records)
{
    const struct meta_request *rq = &mj->request;
    struct create_partitions_request req = create_partitions_request_default;
    req.timeout_ms = TIMEOUT_MS;
    struct create_partitions_response rsp;
    req.topics.items = codec_array(
        records->arena, create_partitions_request_create_partitions_topic, (size_t)rq->count);
    req.topics.count = rq->count;
    for (int32_t i = 0; i < rq->count; i++) {
        req.topics.items[i].name = name_at(rq, i);
        req.topics.items[i].count = rq->partitions;
        req.topics.items[i].assignments.count = -1; /* null: by placement */
    }
    controller_create_partitions(&n->ct, im, &req, NULL, NULL, records->arena, records, &rsp);
    for (int32_t i = 0; i < rq->count; i++) {
        for (int32_t k = 0; k < rsp.results.count; k++) {
            if (str_equal(rsp.results.items[k].name, name_at(rq, i))) {
                mj->answer.topics[i].error = (enum kafka_error)rsp.results.items[k].error_code;
            }
        }
    }
}

static void alter(struct meta_job *mj, const struct image *im, struct meta_records *records)
{
    const struct meta_request *rq = &mj->request;
    for (int32_t i = 0; i < rq->count; i++) {
        if (image_topic_by_name(im, name_at(rq, i)) == NULL) {
            mj->answer.topics[i].error = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
            continue;
        }
        struct config_record rec = config_record_default;
        rec.resource_type = CONFIG_RESOURCE_TOPIC;
        rec.resource_name = name_at(rq, i);
        rec.name = STR(CONFIG_NAME);
        rec.value = rq->value > 0 ? print_value(records->arena, rq->value) : (struct str){0};
        check(meta_records_add(records, &config_record_msg, 0, &rec) >= 0);
    }
}

static void take_ids(struct meta_node *n,
                     struct meta_job *mj,
                     const struct image *im,
                     struct meta_records *records)
{
    int err = controller_allocate_producer_ids(&n->ct, im, records, &mj->answer.first_producer_id);
    sim_expect(n->s, err >= 0, "no producer ids: %s", err_text(err));
}

static void decide_request(struct meta_node *n,
                           struct meta_job *mj,
                           const struct image *im,
                           struct meta_records *records)
{
    switch (mj->request.operation) {
    case META_CREATE:
        create(n, mj, im, records);
        break;
    case META_DELETE:
        delete (n, mj, im, records);
        break;
    case META_WIDEN:
        widen(n, mj, im, records);
        break;
    case META_CONFIG:
        alter(mj, im, records);
        break;
    case META_IDS:
        take_ids(n, mj, im, records);
        break;
    case META_DESCRIBE:
    case META_OPERATIONS:
        sim_fail(n->s, "operation %d is no job", (int)mj->request.operation);
        break;
    }
}

static void decide_register(struct meta_job *mj, int64_t base_offset, struct meta_records *records)
{
    struct image_endpoint ep = {.name = STR("PLAINTEXT"), .host = STR("localhost"), .port = 9092};
    struct uuid directory = {.bytes = {(uint8_t)mj->broker, [15] = 9}};
    struct bootstrap_node node = {
        .id = mj->broker,
        .incarnation_id = {.bytes = {(uint8_t)mj->broker, (uint8_t)base_offset}},
        .endpoints = &ep,
        .endpoints_count = 1,
        .log_dirs = &directory,
        .log_dirs_count = 1,
    };
    check(bootstrap_register_broker(records, &node, base_offset, METADATA_VERSION_LATEST) >= 0);
}

void meta_decide(struct meta_node *n,
                 struct meta_job *mj,
                 const struct image *im,
                 int64_t base_offset,
                 struct meta_records *records)
{
    const struct image_broker *b = image_broker(im, mj->broker);
    switch (mj->type) {
    case META_JOB_REQUEST:
        decide_request(n, mj, im, records);
        break;
    case META_JOB_REGISTER:
        decide_register(mj, base_offset, records);
        break;
    case META_JOB_SERVE:
        if (b != NULL) {
            controller_broker_serves(im, mj->broker, sim_rng_chance(&n->rng, 500), records);
        }
        break;
    case META_JOB_RETIRE:
        controller_broker_stops(im, mj->broker, records);
        break;
    }
}

void meta_describe(const struct image *im, const struct meta_request *rq, struct meta_answer *ret)
{
    for (int32_t i = 0; i < rq->count; i++) {
        struct meta_topic_answer *ta = &ret->topics[i];
        const struct image_topic *t = image_topic_by_name(im, name_at(rq, i));
        ta->exists = t != NULL;
        if (t == NULL) {
            continue;
        }
        struct str value =
            image_config_value(im, CONFIG_RESOURCE_TOPIC, name_at(rq, i), STR(CONFIG_NAME));
        ta->id = t->id;
        ta->partitions = t->partitions_count;
        if (!str_is_null(value) && str_to_i32(value, &ta->value) < 0) {
            ta->value = -1;
        }
    }
}
