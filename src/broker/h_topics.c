/*
 * CreateTopics 2-7, DeleteTopics 1-6, CreatePartitions 0-3, and topics made because somebody asked
 * for them. The decision is the controller's, on the metadata thread; the answer leaves when its
 * records are on stable storage and the partitions are there.
 *
 * While a request is parked here nobody but its job touches it, so the decision writes the answer
 * into the request's arena.
 *
 * Answers to ControllerApis, DefaultAutoTopicCreationManager.
 */
#include "broker/h_topics.h"

#include "base/err.h"
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/metadata.h"
#include "broker/request.h"
#include "config/config.h"
#include "config/config_describe.h"
#include "config/config_topic.h"
#include "meta/controller.h"
#include "wire/gen/errors.h"

#define DELETION_DISABLED_MIN 3    /* before it clients do not know TOPIC_DELETION_DISABLED */
#define CONFIGS_MIN           5    /* from here on CreateTopics answers with configs */
#define AUTO_CREATE_MAX       1000 /* topics of one wish */

static void random_bytes(void *ctx, void *ret_bytes, size_t len)
{
    struct broker *br = ctx;
    clock_random(br->clock, ret_bytes, len);
}

static enum kafka_error check_configs(void *ctx,
                                      const struct image *im,
                                      const struct image_config *configs,
                                      size_t count,
                                      struct arena *arena,
                                      struct str *ret_message)
{
    struct broker *br = ctx;
    return config_topic_check(br->config, im, configs, count, arena, ret_message);
}

static void list_configs(void *ctx,
                         const struct image *im,
                         const struct image_config *configs,
                         size_t count,
                         struct arena *arena,
                         struct create_topics_response_creatable_topic_configs **ret,
                         int32_t *ret_count)
{
    struct broker *br = ctx;
    config_describe_created(br->config, im, configs, count, arena, ret, ret_count);
}

static struct controller controller_of(struct broker *br)
{
    return (struct controller){
        .node_id = br->node_id,
        .default_partitions = (int32_t)config_get_int(br->config, "num.partitions"),
        .default_replication_factor =
            (int16_t)config_get_int(br->config, "default.replication.factor"),
        .ctx = br,
        .random = random_bytes,
        .check_configs = check_configs,
    };
}

/* ---- requests ---- */

struct topics_job {
    struct metadata_job mj;
    struct request *rq;
    struct controller ct;
};

static uint8_t grant_create(void *ctx, struct str topic)
{
    struct request *rq = ctx;
    unsigned grant = 0;
    if (authorize(rq, ACL_CREATE, RESOURCE_CLUSTER, CLUSTER_NAME) ||
        authorize(rq, ACL_CREATE, RESOURCE_TOPIC, topic)) {
        grant |= CONTROLLER_MAY;
    }
    if (authorize(rq, ACL_DESCRIBE_CONFIGS, RESOURCE_TOPIC, topic)) {
        grant |= CONTROLLER_MAY_SEE_CONFIGS;
    }
    return (uint8_t)grant;
}

static uint8_t grant_delete(void *ctx, struct str topic)
{
    struct request *rq = ctx;
    unsigned grant = 0;
    if (authorize(rq, ACL_DELETE, RESOURCE_TOPIC, topic)) {
        grant |= CONTROLLER_MAY;
    }
    if (authorize(rq, ACL_DESCRIBE, RESOURCE_TOPIC, topic)) {
        grant |= CONTROLLER_MAY_DESCRIBE;
    }
    return (uint8_t)grant;
}

static uint8_t grant_alter(void *ctx, struct str topic)
{
    struct request *rq = ctx;
    return authorize(rq, ACL_ALTER, RESOURCE_TOPIC, topic) ? CONTROLLER_MAY : 0;
}

static enum request_verdict
submit(struct request *rq,
       void (*decide)(struct metadata_job *, const struct image *, struct meta_records *),
       void (*done)(struct metadata_job *, int))
{
    struct topics_job *tj = arena_alloc(&rq->arena, sizeof(*tj));
    tj->mj.loop = rq->io->loop;
    tj->mj.decide = decide;
    tj->mj.done = done;
    tj->rq = rq;
    tj->ct = controller_of(rq->br);
    if (rq->version >= CONFIGS_MIN) {
        tj->ct.list_configs = list_configs;
    }
    metadata_submit(rq->br->metadata, &tj->mj);
    return REQUEST_PARKED;
}

static void
decide_create(struct metadata_job *mj, const struct image *im, struct meta_records *records)
{
    struct topics_job *tj = container_of(mj, struct topics_job, mj);
    controller_create_topics(&tj->ct, im, tj->rq->body, grant_create, tj->rq, &tj->rq->arena,
                             records, tj->rq->response);
}

static void done_create(struct metadata_job *mj, int err)
{
    struct topics_job *tj = container_of(mj, struct topics_job, mj);
    struct request *rq = tj->rq;
    if (err < 0) {
        controller_create_topics_fail(rq->body, kafka_error_from(rq, err),
                                      STR("The metadata log cannot be written."), &rq->arena,
                                      rq->response);
    }
    request_hold_image(rq, mj->image);
    request_finish(rq);
}

enum request_verdict h_create_topics(struct request *rq)
{
    return submit(rq, decide_create, done_create);
}

static void
decide_delete(struct metadata_job *mj, const struct image *im, struct meta_records *records)
{
    struct topics_job *tj = container_of(mj, struct topics_job, mj);
    controller_delete_topics(&tj->ct, im, tj->rq->body, grant_delete, tj->rq, &tj->rq->arena,
                             records, tj->rq->response);
}

static void done_delete(struct metadata_job *mj, int err)
{
    struct topics_job *tj = container_of(mj, struct topics_job, mj);
    struct request *rq = tj->rq;
    if (err < 0) {
        controller_delete_topics_fail(rq->body, kafka_error_from(rq, err),
                                      STR("The metadata log cannot be written."), &rq->arena,
                                      rq->response);
    }
    request_hold_image(rq, mj->image);
    request_finish(rq);
}

enum request_verdict h_delete_topics(struct request *rq)
{
    if (!config_get_bool(rq->br->config, "delete.topic.enable")) {
        enum kafka_error error = rq->version < DELETION_DISABLED_MIN
                                     ? KAFKA_ERROR_INVALID_REQUEST
                                     : KAFKA_ERROR_TOPIC_DELETION_DISABLED;
        controller_delete_topics_fail(rq->body, error, (struct str){.ptr = NULL}, &rq->arena,
                                      rq->response);
        return REQUEST_DONE;
    }
    return submit(rq, decide_delete, done_delete);
}

static void
decide_grow(struct metadata_job *mj, const struct image *im, struct meta_records *records)
{
    struct topics_job *tj = container_of(mj, struct topics_job, mj);
    controller_create_partitions(&tj->ct, im, tj->rq->body, grant_alter, tj->rq, &tj->rq->arena,
                                 records, tj->rq->response);
}

static void done_grow(struct metadata_job *mj, int err)
{
    struct topics_job *tj = container_of(mj, struct topics_job, mj);
    struct request *rq = tj->rq;
    if (err < 0) {
        controller_create_partitions_fail(rq->body, kafka_error_from(rq, err),
                                          STR("The metadata log cannot be written."), &rq->arena,
                                          rq->response);
    }
    request_hold_image(rq, mj->image);
    request_finish(rq);
}

enum request_verdict h_create_partitions(struct request *rq)
{
    return submit(rq, decide_grow, done_grow);
}

/* ---- topics that somebody asked for ---- */

/* Lives by itself: the request that began it is answered at once. */
struct wish {
    struct metadata_job mj;
    struct broker *br;
    struct arena arena;
    struct controller ct;
    struct create_topics_request req;
};

/* One setting that an internal topic has from the broker's. */
struct internal_setting {
    const char *topic_key;
    const char *broker_key; /* NULL: value */
    const char *value;
};

struct internal_topic {
    const char *name;
    const char *partitions_key;
    const char *replicas_key;
    const char *codec_key; /* NULL: uncompressed */
    struct internal_setting settings[5];
};

static const struct internal_topic internal_topics[] = {
    {
        .name = "__consumer_offsets",
        .partitions_key = "offsets.topic.num.partitions",
        .replicas_key = "offsets.topic.replication.factor",
        .settings =
            {
                {"compression.type", NULL, "producer"},
                {"cleanup.policy", NULL, "compact"},
                {"segment.bytes", "offsets.topic.segment.bytes", NULL},
            },
    },
    {
        .name = "__transaction_state",
        .partitions_key = "transaction.state.log.num.partitions",
        .replicas_key = "transaction.state.log.replication.factor",
        .settings =
            {
                {"compression.type", NULL, "uncompressed"},
                {"cleanup.policy", NULL, "compact"},
                {"min.insync.replicas", "transaction.state.log.min.isr", NULL},
                {"segment.bytes", "transaction.state.log.segment.bytes", NULL},
                {"unclean.leader.election.enable", NULL, "false"},
            },
    },
    {
        .name = "__share_group_state",
        .partitions_key = "share.coordinator.state.topic.num.partitions",
        .replicas_key = "share.coordinator.state.topic.replication.factor",
        .settings =
            {
                {"compression.type", NULL, "producer"},
                {"cleanup.policy", NULL, "delete"},
                {"min.insync.replicas", "share.coordinator.state.topic.min.isr", NULL},
                {"segment.bytes", "share.coordinator.state.topic.segment.bytes", NULL},
                {"retention.ms", NULL, "-1"},
            },
    },
};

static void
fill_wanted(struct wish *ws, struct str name, struct create_topics_request_creatable_topic *ret)
{
    ret->name = arena_strdup(&ws->arena, name);
    ret->num_partitions = -1;
    ret->replication_factor = -1;
    const struct internal_topic *it = NULL;
    for (size_t i = 0; i < ARRAY_LEN(internal_topics); i++) {
        if (str_is(name, internal_topics[i].name)) {
            it = &internal_topics[i];
        }
    }
    if (it == NULL) {
        return;
    }
    const struct config *cf = ws->br->config;
    ret->num_partitions = (int32_t)config_get_int(cf, it->partitions_key);
    ret->replication_factor = (int16_t)config_get_int(cf, it->replicas_key);
    ret->configs.items = codec_array(&ws->arena, create_topics_request_creatable_topic_config,
                                     ARRAY_LEN(it->settings));
    ret->configs.count = 0;
    for (size_t i = 0; i < ARRAY_LEN(it->settings) && it->settings[i].topic_key != NULL; i++) {
        struct create_topics_request_creatable_topic_config *tc =
            &ret->configs.items[ret->configs.count++];
        tc->name = str_from(it->settings[i].topic_key);
        tc->value = it->settings[i].broker_key == NULL
                        ? str_from(it->settings[i].value)
                        : arena_printf(&ws->arena, "%" PRId64,
                                       config_get_int(cf, it->settings[i].broker_key));
    }
}

static void
decide_wish(struct metadata_job *mj, const struct image *im, struct meta_records *records)
{
    struct wish *ws = container_of(mj, struct wish, mj);
    struct create_topics_response ignored = create_topics_response_default;
    controller_create_topics(&ws->ct, im, &ws->req, NULL, NULL, &ws->arena, records, &ignored);
}

static void done_wish(struct metadata_job *mj, int err)
{
    struct wish *ws = container_of(mj, struct wish, mj);
    (void)err; /* nobody waits; whoever asked asks again */
    metadata_end_wish(ws->br->metadata);
    arena_release(&ws->arena);
    mem_free(ws);
}

void topics_auto_create(struct request *rq, const struct str *names, size_t count)
{
    if (!metadata_begin_wish(rq->br->metadata)) {
        return;
    }
    struct wish *ws = mem_zalloc(sizeof(*ws));
    ws->br = rq->br;
    ws->ct = controller_of(rq->br);
    ws->mj.loop = rq->io->loop;
    ws->mj.decide = decide_wish;
    ws->mj.done = done_wish;
    ws->req = create_topics_request_default;
    size_t taken = min_size(count, AUTO_CREATE_MAX);
    ws->req.topics.items = codec_array(&ws->arena, create_topics_request_creatable_topic, taken);
    ws->req.topics.count = (int32_t)taken;
    for (size_t i = 0; i < taken; i++) {
        fill_wanted(ws, names[i], &ws->req.topics.items[i]);
    }
    metadata_submit(rq->br->metadata, &ws->mj);
}
