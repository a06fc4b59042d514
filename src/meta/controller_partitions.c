/*
 * CreatePartitions: topics grow.
 *
 * Order of the checks, as Kafka has it: a topic twice in the request (refused once, the others go
 * on) > no permission > time is up (everything fails) > too many new partitions in all (everything
 * fails) > unknown topic > no increase > a manual assignment of another length > its replicas, or
 * placement.
 *
 * Answers to ControllerApis.createPartitions and ReplicationControlManager.createPartitions.
 */
#include "meta/controller.h"

#include "base/err.h"
#include "meta/placement.h"

typedef struct create_partitions_request_create_partitions_topic request_topic;
typedef struct create_partitions_response_create_partitions_topic_result response_topic;

struct growth {
    const struct controller *ct;
    const struct image *im;
    struct arena *arena;
    struct meta_records *records;
    struct placement placement;
    bool has_placement;
    struct str message;
};

static enum kafka_error refuse(struct growth *gr, enum kafka_error error, struct str message)
{
    gr->message = message;
    return error;
}

/* New partitions have as many replicas as the first one. */
static int32_t replicas_of(const struct growth *gr, const struct image_topic *t)
{
    return t->partitions_count > 0 ? t->partitions[0].replicas_count
                                   : gr->ct->default_replication_factor;
}

static enum kafka_error
grow_by_hand(struct growth *gr, const struct image_topic *t, const request_topic *rt)
{
    int32_t replicas = replicas_of(gr, t);
    for (int32_t i = 0; i < rt->assignments.count; i++) {
        struct controller_assignment as = {
            .replicas = rt->assignments.items[i].broker_ids.items,
            .count = rt->assignments.items[i].broker_ids.count,
        };
        enum kafka_error error =
            controller_check_assignment(gr->im, &as, replicas, gr->arena, &gr->message);
        if (error != KAFKA_ERROR_NONE) {
            return error;
        }
        if (!controller_add_partition(gr->im, &t->id, t->partitions_count + i, &as, gr->records)) {
            return refuse(gr, KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT,
                          STR("All brokers of a partition are fenced or shutting down."));
        }
    }
    return KAFKA_ERROR_NONE;
}

static enum kafka_error
grow_by_placement(struct growth *gr, const struct image_topic *t, int32_t count)
{
    if (!gr->has_placement) {
        placement_init(&gr->placement, gr->im, gr->arena, controller_seed(gr->ct));
        gr->has_placement = true;
    }
    int32_t replicas = replicas_of(gr, t);
    int32_t *ids = arena_alloc(gr->arena, to_size(replicas) * sizeof(ids[0]));
    struct controller_assignment as = {.replicas = ids, .count = replicas};
    for (int32_t number = t->partitions_count; number < count; number++) {
        if (placement_next(&gr->placement, replicas, ids) != PLACEMENT_OK) {
            return refuse(gr, KAFKA_ERROR_INVALID_REPLICATION_FACTOR,
                          STR("Too few brokers serve to give the new partitions as many replicas "
                              "as the old have."));
        }
        bool is_added = controller_add_partition(gr->im, &t->id, number, &as, gr->records);
        check(is_added); /* placement gave a leader that serves */
    }
    return KAFKA_ERROR_NONE;
}

static enum kafka_error grow_one(struct growth *gr, const request_topic *rt)
{
    const struct image_topic *t = image_topic_by_name(gr->im, rt->name);
    if (t == NULL) {
        return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION; /* Kafka sends no message here */
    }
    if (rt->count <= t->partitions_count) {
        gr->message = arena_printf(gr->arena,
                                   "The topic '" STR_FMT "' has %" PRId32
                                   " partition(s) already; %" PRId32 " would not be more.",
                                   STR_ARG(rt->name), t->partitions_count, rt->count);
        return KAFKA_ERROR_INVALID_PARTITIONS;
    }
    int32_t added = rt->count - t->partitions_count;
    if (rt->assignments.count >= 0 && rt->assignments.count != added) {
        gr->message = arena_printf(gr->arena,
                                   "%" PRId32 " partitions are to be added, and %" PRId32
                                   " are assigned by hand.",
                                   added, rt->assignments.count);
        return KAFKA_ERROR_INVALID_REPLICA_ASSIGNMENT;
    }
    size_t start = gr->records->count;
    enum kafka_error error =
        rt->assignments.count > 0 ? grow_by_hand(gr, t, rt) : grow_by_placement(gr, t, rt->count);
    if (error != KAFKA_ERROR_NONE) {
        gr->records->count = start;
    }
    return error;
}

void controller_create_partitions_fail(const struct create_partitions_request *req,
                                       enum kafka_error error,
                                       struct str message,
                                       struct arena *arena,
                                       struct create_partitions_response *ret)
{
    int32_t count = req->topics.count < 0 ? 0 : req->topics.count;
    ret->results.items = codec_array(
        arena, create_partitions_response_create_partitions_topic_result, to_size(count));
    ret->results.count = count;
    for (int32_t i = 0; i < count; i++) {
        ret->results.items[i].name = req->topics.items[i].name;
        ret->results.items[i].error_code = (int16_t)error;
        ret->results.items[i].error_message = message;
    }
}

/* A topic that is still to be decided, and the place of its answer. */
struct open_topic {
    const request_topic *rt;
    response_topic *out;
};

static size_t sift(const struct controller *ct,
                   const struct create_partitions_request *req,
                   controller_grant_fn grants,
                   void *grants_ctx,
                   struct arena *arena,
                   struct create_partitions_response *ret,
                   struct open_topic *ret_open)
{
    struct controller_names names;
    controller_names_init(&names, ct, arena);
    struct controller_name **entries =
        arena_alloc(arena, to_size(req->topics.count) * sizeof(entries[0]));
    for (int32_t i = 0; i < req->topics.count; i++) {
        entries[i] = controller_names_add(&names, req->topics.items[i].name, i);
    }
    controller_names_release(&names);
    size_t open = 0;
    for (int32_t i = 0; i < req->topics.count; i++) {
        if (entries[i]->index != i) {
            continue;
        }
        response_topic *out = &ret->results.items[ret->results.count++];
        out->name = req->topics.items[i].name;
        if (entries[i]->times > 1) {
            out->error_code = KAFKA_ERROR_INVALID_REQUEST;
            out->error_message = STR("The request names this topic more than once.");
        } else if (grants != NULL && (grants(grants_ctx, out->name) & CONTROLLER_MAY) == 0) {
            out->error_code = KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
        } else {
            ret_open[open++] = (struct open_topic){.rt = &req->topics.items[i], .out = out};
        }
    }
    return open;
}

void controller_create_partitions(const struct controller *ct,
                                  const struct image *im,
                                  const struct create_partitions_request *req,
                                  controller_grant_fn grants,
                                  void *grants_ctx,
                                  struct arena *arena,
                                  struct meta_records *records,
                                  struct create_partitions_response *ret)
{
    if (req->topics.count <= 0) {
        return;
    }
    ret->results.items =
        codec_array(arena, create_partitions_response_create_partitions_topic_result,
                    to_size(req->topics.count));
    ret->results.count = 0;
    struct open_topic *open = arena_alloc(arena, to_size(req->topics.count) * sizeof(open[0]));
    size_t open_count = sift(ct, req, grants, grants_ctx, arena, ret, open);
    if (open_count > 0 && controller_is_timed_out(req->timeout_ms)) {
        controller_create_partitions_fail(req, KAFKA_ERROR_REQUEST_TIMED_OUT,
                                          (struct str){.ptr = NULL}, arena, ret);
        return;
    }
    int64_t added = 0;
    for (size_t i = 0; i < open_count; i++) {
        const struct image_topic *t = image_topic_by_name(im, open[i].rt->name);
        added += t == NULL ? 0 : max_i64(0, (int64_t)open[i].rt->count - t->partitions_count);
    }
    if (added > CONTROLLER_PARTITIONS_MAX) {
        controller_create_partitions_fail(
            req, KAFKA_ERROR_POLICY_VIOLATION,
            STR("One request may not add more than 10000 partitions."), arena, ret);
        return;
    }
    size_t start = records->count;
    struct growth gr = {.ct = ct, .im = im, .arena = arena, .records = records};
    for (size_t i = 0; i < open_count; i++) {
        gr.message = (struct str){.ptr = NULL};
        open[i].out->error_code = (int16_t)grow_one(&gr, open[i].rt);
        open[i].out->error_message = gr.message;
    }
    if (req->validate_only) {
        records->count = start;
    }
}
