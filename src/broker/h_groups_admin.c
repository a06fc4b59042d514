/*
 * Groups as administrators see them: ListGroups 0-5, DescribeGroups 0-6, ConsumerGroupDescribe 0-1,
 * DeleteGroups 0-3. A request names many groups, which may live in many shards.
 *
 * Kafka: KafkaApis.handleListGroupsRequest and kin, GroupCoordinatorService.listGroups and kin.
 */
#include "broker/broker.h"
#include "broker/coordinator.h"
#include "broker/handlers.h"
#include "broker/request.h"
#include "coord/consumer.h"
#include "coord/group_admin.h"
#include "wire/gen/errors.h"

/* Groups of a request that the coordinator is asked for; the others are answered already. */
struct asked {
    struct str *ids;
    size_t *places; /* in the answer */
    size_t count;
};

static struct asked *asked_new(struct request *rq, size_t max)
{
    struct asked *asked = arena_alloc(&rq->arena, sizeof(*asked));
    asked->ids = arena_alloc(&rq->arena, (max + 1) * sizeof(*asked->ids));
    asked->places = arena_alloc(&rq->arena, (max + 1) * sizeof(*asked->places));
    rq->state = asked;
    return asked;
}

static void asked_add(struct asked *asked, struct str id, size_t place)
{
    asked->ids[asked->count] = id;
    asked->places[asked->count] = place;
    asked->count++;
}

static struct str asked_group(struct request *rq, size_t i)
{
    const struct asked *asked = rq->state;
    return asked->ids[i];
}

static enum request_verdict
ask(struct request *rq,
    void (*part)(struct shard *sh, struct request *rq, size_t i),
    void (*refuse)(struct request *rq, size_t i, enum kafka_error error))
{
    const struct asked *asked = rq->state;
    if (asked->count == 0) {
        return REQUEST_DONE;
    }
    return coordinator_parts(rq, asked->count, asked_group, part, refuse);
}

static size_t count_of(int32_t count)
{
    return count > 0 ? (size_t)count : 0;
}

/* ---- ListGroups ---- */

static void list_part(struct shard *sh, struct request *rq)
{
    struct group_list *found = rq->state;
    group_list_add(sh, rq->body, &rq->arena, found);
}

static void refuse_list(struct request *rq, enum kafka_error error)
{
    struct list_groups_response *out = rq->response;
    out->error_code = (int16_t)error;
}

/* Who may not see the cluster sees the groups that he may see. */
static void finish_list(struct request *rq)
{
    const struct group_list *found = rq->state;
    struct list_groups_response *out = rq->response;
    if (out->error_code != 0) {
        return;
    }
    bool sees_all = authorize(rq, ACL_DESCRIBE, RESOURCE_CLUSTER, CLUSTER_NAME);
    size_t kept = 0;
    for (size_t i = 0; i < found->count; i++) {
        if (sees_all || authorize(rq, ACL_DESCRIBE, RESOURCE_GROUP, found->items[i].group_id)) {
            found->items[kept++] = found->items[i];
        }
    }
    out->groups.items = found->items;
    out->groups.count = (int32_t)kept;
}

enum request_verdict h_list_groups(struct request *rq)
{
    rq->state = arena_alloc(&rq->arena, sizeof(struct group_list));
    rq->before_encoding = finish_list;
    return coordinator_all(rq, list_part, refuse_list);
}

/* ---- DescribeGroups ---- */

static struct describe_groups_response_described_group *described(struct request *rq, size_t i)
{
    const struct asked *asked = rq->state;
    struct describe_groups_response *out = rq->response;
    return &out->groups.items[asked->places[i]];
}

static void describe_part(struct shard *sh, struct request *rq, size_t i)
{
    group_describe(sh, asked_group(rq, i), rq->version, &rq->arena, described(rq, i));
}

static void refuse_described(struct describe_groups_response_described_group *dg,
                             struct str group_id,
                             enum kafka_error error)
{
    *dg = describe_groups_response_described_group_default;
    dg->group_id = group_id;
    dg->error_code = (int16_t)error;
}

static void refuse_describe(struct request *rq, size_t i, enum kafka_error error)
{
    refuse_described(described(rq, i), asked_group(rq, i), error);
}

static void finish_describe(struct request *rq)
{
    const struct describe_groups_request *body = rq->body;
    struct describe_groups_response *out = rq->response;
    for (int32_t i = 0; body->include_authorized_operations && i < out->groups.count; i++) {
        struct describe_groups_response_described_group *dg = &out->groups.items[i];
        if (dg->error_code == 0) {
            dg->authorized_operations = authorized_operations(rq, RESOURCE_GROUP, dg->group_id);
        }
    }
}

enum request_verdict h_describe_groups(struct request *rq)
{
    const struct describe_groups_request *body = rq->body;
    struct describe_groups_response *out = rq->response;
    size_t count = count_of(body->groups.count);
    struct asked *asked = asked_new(rq, count);
    out->groups.items = codec_array(&rq->arena, describe_groups_response_described_group, count);
    out->groups.count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        struct str id = body->groups.items[i];
        if (authorize(rq, ACL_DESCRIBE, RESOURCE_GROUP, id)) {
            asked_add(asked, id, i);
        } else {
            refuse_described(&out->groups.items[i], id, KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED);
        }
    }
    rq->before_encoding = finish_describe;
    return ask(rq, describe_part, refuse_describe);
}

/* ---- ConsumerGroupDescribe ---- */

static struct consumer_group_describe_response_described_group *
described_consumer(struct request *rq, size_t i)
{
    const struct asked *asked = rq->state;
    struct consumer_group_describe_response *out = rq->response;
    return &out->groups.items[asked->places[i]];
}

static void consumer_part(struct shard *sh, struct request *rq, size_t i)
{
    consumer_describe(sh, asked_group(rq, i), &rq->arena, described_consumer(rq, i));
}

static void refuse_consumer_group(struct consumer_group_describe_response_described_group *dg,
                                  struct str group_id,
                                  enum kafka_error error)
{
    *dg = consumer_group_describe_response_described_group_default;
    dg->group_id = group_id;
    dg->error_code = (int16_t)error;
}

static void refuse_consumer(struct request *rq, size_t i, enum kafka_error error)
{
    refuse_consumer_group(described_consumer(rq, i), asked_group(rq, i), error);
}

static void finish_consumer_describe(struct request *rq)
{
    const struct consumer_group_describe_request *body = rq->body;
    struct consumer_group_describe_response *out = rq->response;
    for (int32_t i = 0; body->include_authorized_operations && i < out->groups.count; i++) {
        struct consumer_group_describe_response_described_group *dg = &out->groups.items[i];
        if (dg->error_code == 0) {
            dg->authorized_operations = authorized_operations(rq, RESOURCE_GROUP, dg->group_id);
        }
    }
}

/* NONE: the coordinator is asked. */
static enum kafka_error check_consumer_group(struct request *rq, struct str id)
{
    if (!coordinator_serves_consumer_groups(rq)) {
        return KAFKA_ERROR_UNSUPPORTED_VERSION;
    }
    if (!authorize(rq, ACL_DESCRIBE, RESOURCE_GROUP, id)) {
        return KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED;
    }
    return id.len == 0 ? KAFKA_ERROR_INVALID_GROUP_ID : KAFKA_ERROR_NONE;
}

enum request_verdict h_consumer_group_describe(struct request *rq)
{
    const struct consumer_group_describe_request *body = rq->body;
    struct consumer_group_describe_response *out = rq->response;
    size_t count = count_of(body->group_ids.count);
    struct asked *asked = asked_new(rq, count);
    out->groups.items =
        codec_array(&rq->arena, consumer_group_describe_response_described_group, count);
    out->groups.count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        struct str id = body->group_ids.items[i];
        enum kafka_error error = check_consumer_group(rq, id);
        if (error == KAFKA_ERROR_NONE) {
            asked_add(asked, id, i);
        } else {
            refuse_consumer_group(&out->groups.items[i], id, error);
        }
    }
    rq->before_encoding = finish_consumer_describe;
    return ask(rq, consumer_part, refuse_consumer);
}

/* ---- DeleteGroups ---- */

static struct delete_groups_response_deletable_group_result *deleted(struct request *rq, size_t i)
{
    const struct asked *asked = rq->state;
    struct delete_groups_response *out = rq->response;
    return &out->results.items[asked->places[i]];
}

static void delete_part(struct shard *sh, struct request *rq, size_t i)
{
    deleted(rq, i)->error_code = (int16_t)group_delete(sh, asked_group(rq, i));
}

static void refuse_delete(struct request *rq, size_t i, enum kafka_error error)
{
    deleted(rq, i)->error_code = (int16_t)error;
}

/* Names that have been seen, by hash. */
struct seen_name {
    struct hmap_node node;
    struct str name;
};

/* True the first time. */
static bool is_new_name(struct hmap *seen, struct arena *arena, struct str name)
{
    uint64_t hash = hash_str(name, seen->seed);
    for (struct hmap_node *n = hmap_first(seen, hash); n != NULL; n = hmap_next(n)) {
        if (str_equal(container_of(n, struct seen_name, node)->name, name)) {
            return false;
        }
    }
    struct seen_name *sn = arena_alloc(arena, sizeof(*sn));
    sn->name = name;
    hmap_insert(seen, &sn->node, hash);
    return true;
}

enum request_verdict h_delete_groups(struct request *rq)
{
    const struct delete_groups_request *body = rq->body;
    struct delete_groups_response *out = rq->response;
    size_t count = count_of(body->groups_names.count);
    struct asked *asked = asked_new(rq, count);
    out->results.items =
        codec_array(&rq->arena, delete_groups_response_deletable_group_result, count);
    out->results.count = 0;
    struct hmap seen;
    uint64_t seed = 0;
    clock_random(rq->br->clock, &seed, sizeof(seed));
    hmap_init(&seen, seed);
    for (size_t i = 0; i < count; i++) {
        struct str id = body->groups_names.items[i];
        if (!is_new_name(&seen, &rq->arena, id)) {
            continue; /* one that is named twice is answered once */
        }
        size_t place = (size_t)out->results.count++;
        out->results.items[place].group_id = id;
        if (authorize(rq, ACL_DELETE, RESOURCE_GROUP, id)) {
            asked_add(asked, id, place);
        } else {
            out->results.items[place].error_code = KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED;
        }
    }
    hmap_release(&seen);
    return ask(rq, delete_part, refuse_delete);
}
