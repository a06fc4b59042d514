/*
 * CreateTopics: which topics are made, with which configs and replicas, and why others are not.
 *
 * Order of the checks, as Kafka has it:
 *   a name twice in the request (refused once, the others go on) > a forbidden name > no permission
 * > time is up (everything fails) > too many partitions in all (everything fails) > exists > name,
 * or a name that collides with one that exists > a config without a value > configs > manual
 * assignment or replication factor and number of partitions > replicas cannot be placed > too many
 * records in all (everything fails)
 *
 * Answers to ControllerApis.createTopics and ReplicationControlManager.createTopics.
 */
#include "meta/controller.h"

#include "base/err.h"
#include "meta/placement.h"

typedef struct create_topics_request_creatable_topic request_topic;
typedef struct create_topics_response_creatable_topic_result response_topic;

/* One request at work. */
struct creation {
    const struct controller *ct;
    const struct image *im;
    struct arena *arena;
    struct meta_records *records;
    struct placement placement;
    bool has_placement;
    controller_grant_fn grants;
    void *grants_ctx;
    struct image_config *configs; /* of the topic at hand: each key once */
    size_t configs_count;
    struct str message; /* why it is refused */
};

static enum kafka_error refuse(struct creation *cr, enum kafka_error error, struct str message)
{
    cr->message = message;
    return error;
}

static uint8_t grant_of(controller_grant_fn grants, void *ctx, struct str topic)
{
    return grants == NULL ? UINT8_MAX : grants(ctx, topic);
}

/* The configs of a topic with each key once, the last value standing. */
static enum kafka_error collect_configs(struct creation *cr, const request_topic *rt)
{
    cr->configs_count = 0;
    for (int32_t i = 0; i < rt->configs.count; i++) {
        if (str_is_null(rt->configs.items[i].value)) {
            return refuse(cr, KAFKA_ERROR_INVALID_CONFIG,
                          STR("A topic config has no value (null)."));
        }
    }
    if (rt->configs.count <= 0) {
        return KAFKA_ERROR_NONE;
    }
    cr->configs = arena_alloc(cr->arena, to_size(rt->configs.count) * sizeof(cr->configs[0]));
    struct controller_names names;
    controller_names_init(&names, cr->ct, cr->arena);
    for (int32_t i = 0; i < rt->configs.count; i++) {
        struct controller_name *entry =
            controller_names_add(&names, rt->configs.items[i].name, (int32_t)cr->configs_count);
        if (entry->times == 1) {
            cr->configs[cr->configs_count++].name = entry->name;
        }
        cr->configs[entry->index].value = rt->configs.items[i].value;
    }
    controller_names_release(&names);
    return KAFKA_ERROR_NONE;
}

static enum kafka_error check_configs(struct creation *cr)
{
    if (cr->configs_count == 0 || cr->ct->check_configs == NULL) {
        return KAFKA_ERROR_NONE;
    }
    return cr->ct->check_configs(cr->ct->ctx, cr->im, cr->configs, cr->configs_count, cr->arena,
                                 &cr->message);
}

static void add_topic_record(struct creation *cr, const request_topic *rt, const struct uuid *id)
{
    struct topic_record tr = topic_record_default;
    tr.name = rt->name;
    tr.topic_id = *id;
    int r = meta_records_add(cr->records, &topic_record_msg, 0, &tr);
    check(r == 0); /* the name was checked */
}

/* False: a value is too long for a record. */
static bool add_config_records(struct creation *cr, const request_topic *rt)
{
    struct meta_records after;
    meta_records_init(&after, cr->records->arena);
    for (size_t i = 0; i < cr->configs_count; i++) {
        if (controller_add_config(cr->im, CONFIG_RESOURCE_TOPIC, rt->name, &cr->configs[i],
                                  cr->records, &after) < 0) {
            return false;
        }
    }
    meta_records_add_all(cr->records, &after);
    return true;
}

/* Replicas as the client wants them. */
static enum kafka_error assign_by_hand(struct creation *cr,
                                       const request_topic *rt,
                                       struct controller_assignment **ret,
                                       int32_t *ret_count)
{
    if (rt->replication_factor != -1) {
        return refuse(cr, KAFKA_ERROR_INVALID_REQUEST,
                      STR("With a manual assignment the replication factor must be -1: the "
                          "assignment gives it."));
    }
    if (rt->num_partitions != -1) {
        return refuse(cr, KAFKA_ERROR_INVALID_REQUEST,
                      STR("With a manual assignment the number of partitions must be -1: the "
                          "assignment gives it."));
    }
    int32_t count = rt->assignments.count;
    struct controller_assignment *as = arena_alloc(cr->arena, to_size(count) * sizeof(as[0]));
    int32_t replicas = -1;
    bool has_gap = false;
    for (int32_t i = 0; i < count; i++) {
        int32_t number = rt->assignments.items[i].partition_index;
        struct controller_assignment one = {
            .replicas = rt->assignments.items[i].broker_ids.items,
            .count = rt->assignments.items[i].broker_ids.count,
        };
        bool fits = number >= 0 && number < count;
        if (fits && as[number].count != 0) {
            return refuse(cr, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT,
                          STR("The manual assignment names a partition twice."));
        }
        enum kafka_error error =
            controller_check_assignment(cr->im, &one, replicas, cr->arena, &cr->message);
        if (error != KAFKA_ERROR_NONE) {
            return error;
        }
        replicas = one.count;
        has_gap = has_gap || !fits;
        if (fits) {
            as[number] = one;
        }
    }
    if (has_gap) {
        return refuse(
            cr, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT,
            STR("The partitions of a manual assignment must be numbered from 0 without a gap."));
    }
    *ret = as;
    *ret_count = count;
    return KAFKA_ERROR_NONE;
}

static enum kafka_error assign_by_placement(struct creation *cr,
                                            const request_topic *rt,
                                            struct controller_assignment **ret,
                                            int32_t *ret_count)
{
    if (rt->replication_factor < -1 || rt->replication_factor == 0) {
        return refuse(
            cr, KAFKA_ERROR_INVALID_REPLICATION_FACTOR,
            STR("The replication factor must be above 0, or -1 for the broker's default."));
    }
    if (rt->num_partitions < -1 || rt->num_partitions == 0) {
        return refuse(
            cr, KAFKA_ERROR_INVALID_PARTITIONS,
            STR("The number of partitions must be above 0, or -1 for the broker's default."));
    }
    int32_t count = rt->num_partitions == -1 ? cr->ct->default_partitions : rt->num_partitions;
    int32_t replicas =
        rt->replication_factor == -1 ? cr->ct->default_replication_factor : rt->replication_factor;
    check(count > 0 && count <= CONTROLLER_PARTITIONS_MAX && replicas > 0);
    if (!cr->has_placement) {
        placement_init(&cr->placement, cr->im, cr->arena, controller_seed(cr->ct));
        cr->has_placement = true;
    }
    struct controller_assignment *as = arena_alloc(cr->arena, to_size(count) * sizeof(as[0]));
    for (int32_t i = 0; i < count; i++) {
        int32_t *ids = NULL;
        if ((size_t)replicas <= cr->placement.brokers_count) {
            ids = arena_alloc(cr->arena, to_size(replicas) * sizeof(ids[0]));
        }
        switch (placement_next(&cr->placement, replicas, ids)) {
        case PLACEMENT_OK:
            break;
        case PLACEMENT_TOO_FEW_BROKERS:
            cr->message = arena_printf(
                cr->arena,
                "%" PRId32 " replicas of a partition need as many brokers; %zu registered.",
                replicas, cr->placement.brokers_count);
            return KAFKA_ERROR_INVALID_REPLICATION_FACTOR;
        case PLACEMENT_NONE_ACTIVE:
            return refuse(
                cr, KAFKA_ERROR_INVALID_REPLICATION_FACTOR,
                STR("No replica can be placed: all brokers are fenced or shutting down."));
        }
        as[i] = (struct controller_assignment){.replicas = ids, .count = replicas};
    }
    *ret = as;
    *ret_count = count;
    return KAFKA_ERROR_NONE;
}

static void fill_success(struct creation *cr,
                         const request_topic *rt,
                         const struct uuid *id,
                         int32_t partitions,
                         int32_t replicas,
                         response_topic *ret)
{
    ret->topic_id = *id;
    if ((grant_of(cr->grants, cr->grants_ctx, rt->name) & CONTROLLER_MAY_SEE_CONFIGS) == 0) {
        ret->topic_config_error_code = KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
        return;
    }
    ret->num_partitions = partitions;
    ret->replication_factor =
        (int16_t)replicas; /* each replica is a registered broker, or came as int16 */
    if (cr->ct->list_configs != NULL) {
        cr->ct->list_configs(cr->ct->ctx, cr->im, cr->configs, cr->configs_count, cr->arena,
                             &ret->configs.items, &ret->configs.count);
    }
}

/* Decides one topic; on a refusal no record of it stays. */
static enum kafka_error
create_one(struct creation *cr, const request_topic *rt, response_topic *ret)
{
    if (image_topic_by_name(cr->im, rt->name) != NULL) {
        cr->message =
            arena_printf(cr->arena, "The topic '" STR_FMT "' already exists.", STR_ARG(rt->name));
        return KAFKA_ERROR_TOPIC_ALREADY_EXISTS;
    }
    struct str problem = controller_topic_name_problem(rt->name);
    if (!str_is_null(problem)) {
        return refuse(cr, KAFKA_ERROR_INVALID_TOPIC_EXCEPTION, problem);
    }
    const struct image_topic *other = image_topic_colliding(cr->im, rt->name);
    if (other != NULL) {
        cr->message =
            arena_printf(cr->arena,
                         "The name differs from the existing topic '" STR_FMT
                         "' only in '.' and '_', which names of metrics cannot tell apart.",
                         STR_ARG(other->name));
        return KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
    }
    enum kafka_error error = collect_configs(cr, rt);
    if (error == KAFKA_ERROR_NONE) {
        error = check_configs(cr);
    }
    if (error != KAFKA_ERROR_NONE) {
        return error;
    }
    struct controller_assignment *as = NULL;
    int32_t count = 0;
    error = rt->assignments.count > 0 ? assign_by_hand(cr, rt, &as, &count)
                                      : assign_by_placement(cr, rt, &as, &count);
    if (error != KAFKA_ERROR_NONE) {
        return error;
    }
    size_t start = cr->records->count;
    struct uuid id;
    controller_random_uuid(cr->ct, &id);
    add_topic_record(cr, rt, &id);
    if (!add_config_records(cr, rt)) {
        cr->records->count = start;
        return refuse(cr, KAFKA_ERROR_INVALID_CONFIG,
                      STR("A topic config is too long to be stored."));
    }
    for (int32_t i = 0; i < count; i++) {
        if (!controller_add_partition(cr->im, &id, i, &as[i], cr->records)) {
            cr->records->count = start;
            return refuse(cr, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT,
                          STR("All brokers of a partition are fenced or shutting down."));
        }
    }
    fill_success(cr, rt, &id, count, as[0].count, ret);
    return KAFKA_ERROR_NONE;
}

void controller_create_topics_fail(const struct create_topics_request *req,
                                   enum kafka_error error,
                                   struct str message,
                                   struct arena *arena,
                                   struct create_topics_response *ret)
{
    int32_t count = req->topics.count < 0 ? 0 : req->topics.count;
    ret->topics.items =
        codec_array(arena, create_topics_response_creatable_topic_result, to_size(count));
    ret->topics.count = count;
    for (int32_t i = 0; i < count; i++) {
        ret->topics.items[i].name = req->topics.items[i].name;
        ret->topics.items[i].error_code = (int16_t)error;
        ret->topics.items[i].error_message = message;
    }
}

/* Partitions that the topics of this request would have, as far as it says so. */
static int64_t partitions_wanted(const struct controller *ct, const request_topic *rt)
{
    if (rt->assignments.count > 0) {
        return rt->assignments.count;
    }
    if (rt->num_partitions == -1) {
        return ct->default_partitions;
    }
    return rt->num_partitions > 0 ? rt->num_partitions : 0;
}

/* A topic that is still to be decided, and the place of its answer. */
struct open_topic {
    const request_topic *rt;
    response_topic *out;
};

/* Refuses what never gets as far as the controller; returns how many topics are left for it. */
static size_t sift(struct creation *cr,
                   const struct create_topics_request *req,
                   struct create_topics_response *ret,
                   struct open_topic *ret_open)
{
    struct controller_names names;
    controller_names_init(&names, cr->ct, cr->arena);
    struct controller_name **entries =
        arena_alloc(cr->arena, to_size(req->topics.count) * sizeof(struct controller_name *));
    for (int32_t i = 0; i < req->topics.count; i++) {
        entries[i] = controller_names_add(&names, req->topics.items[i].name, i);
    }
    controller_names_release(&names);
    size_t open = 0;
    for (int32_t i = 0; i < req->topics.count; i++) {
        if (entries[i]->index != i) {
            continue;
        }
        response_topic *out = &ret->topics.items[ret->topics.count++];
        out->name = req->topics.items[i].name;
        if (entries[i]->times > 1) {
            out->error_code = KAFKA_ERROR_INVALID_REQUEST;
            out->error_message = STR("The request names this topic more than once.");
        } else if (str_equal(out->name, CONTROLLER_METADATA_TOPIC)) {
            out->error_code = KAFKA_ERROR_INVALID_REQUEST;
            out->error_message =
                STR("This name belongs to the metadata log and cannot be a topic.");
        } else if ((grant_of(cr->grants, cr->grants_ctx, out->name) & CONTROLLER_MAY) == 0) {
            out->error_code = KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
            out->error_message = STR("Not allowed to create this topic.");
        } else {
            ret_open[open++] = (struct open_topic){.rt = &req->topics.items[i], .out = out};
        }
    }
    return open;
}

void controller_create_topics(const struct controller *ct,
                              const struct image *im,
                              const struct create_topics_request *req,
                              controller_grant_fn grants,
                              void *grants_ctx,
                              struct arena *arena,
                              struct meta_records *records,
                              struct create_topics_response *ret)
{
    if (req->topics.count <= 0) {
        return;
    }
    struct creation cr = {
        .ct = ct,
        .im = im,
        .arena = arena,
        .records = records,
        .grants = grants,
        .grants_ctx = grants_ctx,
    };
    ret->topics.items = codec_array(arena, create_topics_response_creatable_topic_result,
                                    to_size(req->topics.count));
    ret->topics.count = 0;
    struct open_topic *open = arena_alloc(arena, to_size(req->topics.count) * sizeof(open[0]));
    size_t open_count = sift(&cr, req, ret, open);
    if (open_count > 0 && controller_is_timed_out(req->timeout_ms)) {
        controller_create_topics_fail(req, KAFKA_ERROR_REQUEST_TIMED_OUT, (struct str){.ptr = NULL},
                                      arena, ret);
        return;
    }
    int64_t partitions = 0;
    for (size_t i = 0; i < open_count; i++) {
        partitions += partitions_wanted(ct, open[i].rt);
    }
    if (partitions > CONTROLLER_PARTITIONS_MAX) {
        controller_create_topics_fail(req, KAFKA_ERROR_POLICY_VIOLATION,
                                      STR("One request may not create more than 10000 partitions."),
                                      arena, ret);
        return;
    }
    size_t start = records->count;
    for (size_t i = 0; i < open_count; i++) {
        cr.message = (struct str){.ptr = NULL};
        open[i].out->error_code = (int16_t)create_one(&cr, open[i].rt, open[i].out);
        open[i].out->error_message = cr.message;
        if (records->count - start > CONTROLLER_RECORDS_MAX) {
            records->count = start;
            controller_create_topics_fail(
                req, KAFKA_ERROR_POLICY_VIOLATION,
                STR("One request may not make more than 10000 metadata records."), arena, ret);
            return;
        }
    }
    if (req->validate_only) {
        records->count = start;
    }
}
