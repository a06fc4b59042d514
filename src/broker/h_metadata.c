/*
 * Metadata 0-13 and DescribeTopicPartitions 0: what topics there are and who leads their
 * partitions, from the image of the turn.
 *
 * Metadata makes topics that are asked for by name and do not exist (auto.create.topics.enable and
 * the request allowing): the answer is UNKNOWN_TOPIC_OR_PARTITION, the topic is made behind it, and
 * the client asks again. Ids are looked at before names: when any is given, names without an id are
 * not answered.
 *
 * Answers to KafkaApis.handleTopicMetadataRequest, DescribeTopicPartitionsRequestHandler,
 * KRaftMetadataCache.
 */
#include "broker/broker.h"
#include "broker/h_cluster.h"
#include "broker/h_topics.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/partition_table.h"
#include "broker/request.h"
#include "config/config.h"
#include "meta/controller.h"
#include "wire/gen/errors.h"

#define METADATA_IDS_MIN        12 /* before it ids are refused and names must be given */
#define METADATA_LISTENER_ERROR 6  /* from here on LISTENER_NOT_FOUND is known */

/* What a partition says in both answers. */
struct partition_view {
    enum kafka_error error; /* of Metadata; DescribeTopicPartitions has none, as Kafka */
    int32_t leader;
    int32_t *replicas;
    int32_t replicas_count;
    int32_t *isr;
    int32_t isr_count;
    int32_t *offline;
    int32_t offline_count;
    int32_t *elr; /* eligible leader replicas */
    int32_t elr_count;
};

/* The image's own array for an answer that is encoded within this turn and only read. */
static int32_t *borrow(const int32_t *items)
{
    union {
        const int32_t *read_only;
        int32_t *plain;
    } u = {.read_only = items};
    return u.plain;
}

static bool has_endpoint(const struct request *rq, const struct image_broker *b)
{
    struct str host;
    int32_t port;
    return b != NULL && cluster_endpoint(rq, b, &host, &port);
}

/* Gone, fenced, without the listener, or in a directory that is not online. */
static bool is_offline(const struct request *rq,
                       const struct image *im,
                       const struct image_partition *ip,
                       int32_t slot)
{
    const struct image_broker *b = image_broker(im, ip->replicas[slot]);
    if (b == NULL || b->is_fenced || !has_endpoint(rq, b)) {
        return true;
    }
    if (ip->directories == NULL || b->log_dirs_count == 0) {
        return false;
    }
    const struct uuid *directory = &ip->directories[slot];
    int reserved = image_directory_reserved(directory);
    if (reserved >= 0) {
        return reserved == IMAGE_DIRECTORY_LOST;
    }
    for (int32_t i = 0; i < b->log_dirs_count; i++) {
        if (uuid_equal(&b->log_dirs[i], directory)) {
            return false;
        }
    }
    return true;
}

/* Version 0 leaves out replicas that cannot be reached, and says so with an error. */
static void keep_reachable(const struct request *rq,
                           const struct image *im,
                           struct arena *arena,
                           const int32_t *items,
                           int32_t count,
                           int32_t **ret,
                           int32_t *ret_count)
{
    int32_t *kept = arena_alloc(arena, (to_size(count) + 1) * sizeof(int32_t));
    int32_t kept_count = 0;
    for (int32_t i = 0; i < count; i++) {
        const struct image_broker *b = image_broker(im, items[i]);
        if (b != NULL && !b->is_fenced && has_endpoint(rq, b)) {
            kept[kept_count++] = items[i];
        }
    }
    *ret = kept;
    *ret_count = kept_count;
}

/* This broker's replica: its files cannot be used, whatever the image says. */
static bool is_dead_here(const struct request *rq, const struct image_topic *t, int32_t number)
{
    const struct broker *br = rq->br;
    const struct image_partition *ip = &t->partitions[number];
    return partition_table_has_offline(br->partitions) &&
           image_slot(ip->replicas, ip->replicas_count, br->node_id) >= 0 &&
           partition_is_offline(br->partitions, &t->id, number);
}

/* As Kafka's controller has it when a broker's log directory has failed: the broker leads no more,
 * is in sync no more, and may lead again. */
static void
show_dead(struct request *rq, const struct image_partition *ip, struct partition_view *pv)
{
    int32_t id = rq->br->node_id;
    int32_t *isr = arena_alloc(&rq->arena, (to_size(ip->isr_count) + 1) * sizeof(int32_t));
    int32_t *elr = arena_alloc(&rq->arena, (to_size(ip->elr_count) + 1) * sizeof(int32_t));
    int32_t isr_count = 0;
    int32_t elr_count = 0;
    for (int32_t i = 0; i < pv->isr_count; i++) {
        if (pv->isr[i] != id) {
            isr[isr_count++] = pv->isr[i];
        }
    }
    for (int32_t i = 0; i < ip->elr_count; i++) {
        if (ip->elr[i] != id) {
            elr[elr_count++] = ip->elr[i];
        }
    }
    elr[elr_count++] = id;
    pv->isr = isr;
    pv->isr_count = isr_count;
    pv->elr = elr;
    pv->elr_count = elr_count;
    if (ip->leader == id) {
        pv->leader = IMAGE_NO_LEADER;
        pv->error = KAFKA_ERROR_LEADER_NOT_AVAILABLE;
    }
}

static struct partition_view view_partition(struct request *rq,
                                            const struct image *im,
                                            const struct image_topic *t,
                                            int32_t number,
                                            bool is_version_0)
{
    const struct image_partition *ip = &t->partitions[number];
    bool is_dead = is_dead_here(rq, t, number);
    struct partition_view pv = {
        .leader = ip->leader,
        .replicas = borrow(ip->replicas),
        .replicas_count = ip->replicas_count,
        .isr = borrow(ip->isr),
        .isr_count = ip->isr_count,
        .elr = borrow(ip->elr),
        .elr_count = ip->elr_count,
    };
    if (is_version_0) {
        keep_reachable(rq, im, &rq->arena, ip->replicas, ip->replicas_count, &pv.replicas,
                       &pv.replicas_count);
        keep_reachable(rq, im, &rq->arena, ip->isr, ip->isr_count, &pv.isr, &pv.isr_count);
    }
    for (int32_t i = 0; i < ip->replicas_count; i++) {
        if (!is_offline(rq, im, ip, i) && (!is_dead || ip->replicas[i] != rq->br->node_id)) {
            continue;
        }
        if (pv.offline == NULL) {
            pv.offline = arena_alloc(&rq->arena, to_size(ip->replicas_count) * sizeof(int32_t));
        }
        pv.offline[pv.offline_count++] = ip->replicas[i];
    }
    const struct image_broker *leader = ip->leader < 0 ? NULL : image_broker(im, ip->leader);
    if (!has_endpoint(rq, leader)) {
        pv.leader = IMAGE_NO_LEADER;
        pv.error = KAFKA_ERROR_LEADER_NOT_AVAILABLE;
        if (leader != NULL && rq->version >= METADATA_LISTENER_ERROR) {
            pv.error = KAFKA_ERROR_LISTENER_NOT_FOUND;
        }
    } else if (pv.replicas_count < ip->replicas_count || pv.isr_count < ip->isr_count) {
        pv.error = KAFKA_ERROR_REPLICA_NOT_AVAILABLE;
    }
    if (is_dead) {
        show_dead(rq, ip, &pv);
    }
    return pv;
}

/* ---- Metadata ---- */

static void fill_brokers(struct request *rq, const struct image *im)
{
    struct metadata_response *out = rq->response;
    const struct image_broker *const *brokers;
    size_t count;
    image_brokers(im, &brokers, &count);
    out->brokers.items = codec_array(&rq->arena, metadata_response_metadata_response_broker, count);
    out->brokers.count = 0;
    for (size_t i = 0; i < count; i++) {
        struct metadata_response_metadata_response_broker mb =
            metadata_response_metadata_response_broker_default;
        if (brokers[i]->is_fenced || !cluster_endpoint(rq, brokers[i], &mb.host, &mb.port)) {
            continue;
        }
        mb.node_id = brokers[i]->id;
        mb.rack = brokers[i]->rack;
        out->brokers.items[out->brokers.count++] = mb;
    }
}

static struct metadata_response_metadata_response_topic *add_topic(struct metadata_response *out,
                                                                   struct str name)
{
    struct metadata_response_metadata_response_topic *mt = &out->topics.items[out->topics.count++];
    mt->name = name;
    mt->is_internal = controller_topic_is_internal(name);
    return mt;
}

static void fill_topic(struct request *rq,
                       const struct image *im,
                       const struct image_topic *t,
                       struct metadata_response_metadata_response_topic *ret)
{
    ret->topic_id = t->id;
    ret->partitions.items = codec_array(&rq->arena, metadata_response_metadata_response_partition,
                                        to_size(t->partitions_count));
    ret->partitions.count = t->partitions_count;
    for (int32_t i = 0; i < t->partitions_count; i++) {
        struct partition_view pv = view_partition(rq, im, t, i, rq->version == 0);
        struct metadata_response_metadata_response_partition *mp = &ret->partitions.items[i];
        mp->error_code = (int16_t)pv.error;
        mp->partition_index = i;
        mp->leader_id = pv.leader;
        mp->leader_epoch = t->partitions[i].leader_epoch;
        mp->replica_nodes.items = pv.replicas;
        mp->replica_nodes.count = pv.replicas_count;
        mp->isr_nodes.items = pv.isr;
        mp->isr_nodes.count = pv.isr_count;
        mp->offline_replicas.items = pv.offline;
        mp->offline_replicas.count = pv.offline_count;
    }
}

/* Every topic of the request gets the same error; nothing else is said. */
static enum request_verdict fail_whole(struct request *rq, enum kafka_error error)
{
    const struct metadata_request *body = rq->body;
    struct metadata_response *out = rq->response;
    out->error_code = (int16_t)error;
    out->topics.items = codec_array(&rq->arena, metadata_response_metadata_response_topic,
                                    to_size(body->topics.count));
    out->topics.count = body->topics.count;
    for (int32_t i = 0; i < body->topics.count; i++) {
        struct str name = body->topics.items[i].name;
        out->topics.items[i].error_code = (int16_t)error;
        out->topics.items[i].name = str_is_null(name) ? STR("") : name;
        out->topics.items[i].topic_id = body->topics.items[i].topic_id;
    }
    return REQUEST_DONE;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct uuid));
}

static int compare_names(const void *a, const void *b)
{
    const struct str *sa = a;
    const struct str *sb = b;
    return str_compare(*sa, *sb);
}

static void answer_ids(struct request *rq, const struct image *im, struct uuid *ids, size_t count)
{
    struct metadata_response *out = rq->response;
    qsort(ids, count, sizeof(ids[0]), compare_ids);
    out->topics.items = codec_array(&rq->arena, metadata_response_metadata_response_topic, count);
    out->topics.count = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && uuid_equal(&ids[i], &ids[i - 1])) {
            continue;
        }
        const struct image_topic *t = image_topic_by_id(im, &ids[i]);
        bool is_visible = t == NULL || authorize(rq, ACL_DESCRIBE, RESOURCE_TOPIC, t->name);
        struct str name = t != NULL && is_visible ? t->name : (struct str){.ptr = NULL};
        struct metadata_response_metadata_response_topic *mt = add_topic(out, name);
        mt->topic_id = ids[i];
        if (t == NULL) {
            mt->error_code = KAFKA_ERROR_UNKNOWN_TOPIC_ID;
        } else if (!is_visible) {
            mt->error_code = KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
        } else {
            fill_topic(rq, im, t, mt);
        }
    }
}

static void answer_all(struct request *rq, const struct image *im)
{
    struct metadata_response *out = rq->response;
    const struct image_topic **topics;
    size_t count;
    image_topics_sorted(im, &rq->arena, &topics, &count);
    out->topics.items = codec_array(&rq->arena, metadata_response_metadata_response_topic, count);
    out->topics.count = 0;
    for (size_t i = 0; i < count; i++) {
        if (authorize(rq, ACL_DESCRIBE, RESOURCE_TOPIC, topics[i]->name)) {
            fill_topic(rq, im, topics[i], add_topic(out, topics[i]->name));
        }
    }
}

static bool may_create(struct request *rq, struct str name)
{
    return authorize(rq, ACL_CREATE, RESOURCE_CLUSTER, CLUSTER_NAME) ||
           authorize(rq, ACL_CREATE, RESOURCE_TOPIC, name);
}

/* names are sorted; those that do not exist are made when `creates`. */
static void answer_names(struct request *rq,
                         const struct image *im,
                         struct str *names,
                         size_t count,
                         bool creates)
{
    struct metadata_response *out = rq->response;
    out->topics.items = codec_array(&rq->arena, metadata_response_metadata_response_topic, count);
    out->topics.count = 0;
    struct str *missing = arena_alloc(&rq->arena, (count + 1) * sizeof(missing[0]));
    size_t missing_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && str_equal(names[i], names[i - 1])) {
            continue;
        }
        struct metadata_response_metadata_response_topic *mt = add_topic(out, names[i]);
        if (!authorize(rq, ACL_DESCRIBE, RESOURCE_TOPIC, names[i])) {
            mt->error_code = KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
            continue;
        }
        const struct image_topic *t = image_topic_by_name(im, names[i]);
        if (t != NULL) {
            fill_topic(rq, im, t, mt);
        } else if (creates && !may_create(rq, names[i])) {
            mt->error_code = KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
        } else if (!str_is_null(controller_topic_name_problem(names[i]))) {
            mt->error_code = KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
        } else {
            mt->error_code = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
            missing[missing_count++] = names[i];
        }
    }
    if (creates && missing_count > 0) {
        topics_auto_create(rq, missing, missing_count);
    }
}

static void fill_operations(struct request *rq)
{
    const struct metadata_request *body = rq->body;
    struct metadata_response *out = rq->response;
    if (rq->version >= 8 && rq->version <= 10 && body->include_cluster_authorized_operations) {
        out->cluster_authorized_operations =
            authorize(rq, ACL_DESCRIBE, RESOURCE_CLUSTER, CLUSTER_NAME)
                ? authorized_operations(rq, RESOURCE_CLUSTER, CLUSTER_NAME)
                : 0;
    }
    for (int32_t i = 0;
         rq->version >= 8 && body->include_topic_authorized_operations && i < out->topics.count;
         i++) {
        struct metadata_response_metadata_response_topic *mt = &out->topics.items[i];
        if (!str_is_null(mt->name)) {
            mt->topic_authorized_operations = authorized_operations(rq, RESOURCE_TOPIC, mt->name);
        }
    }
}

enum request_verdict h_metadata(struct request *rq)
{
    const struct metadata_request *body = rq->body;
    struct metadata_response *out = rq->response;
    const struct image *im = request_image(rq);
    bool is_all = rq->version == 0 ? body->topics.count == 0 : body->topics.count < 0;
    size_t asked = body->topics.count > 0 ? to_size(body->topics.count) : 0;
    struct uuid *ids = arena_alloc(&rq->arena, (asked + 1) * sizeof(ids[0]));
    struct str *names = arena_alloc(&rq->arena, (asked + 1) * sizeof(names[0]));
    size_t ids_count = 0;
    bool has_null = false;
    for (size_t i = 0; i < asked; i++) {
        const struct metadata_request_metadata_request_topic *mt = &body->topics.items[i];
        names[i] = mt->name;
        has_null = has_null || str_is_null(mt->name);
        if (!uuid_is_zero(&mt->topic_id)) {
            ids[ids_count++] = mt->topic_id;
        }
    }
    if (rq->version < METADATA_IDS_MIN && (ids_count > 0 || has_null)) {
        return fail_whole(rq, KAFKA_ERROR_INVALID_REQUEST);
    }
    if (ids_count == 0 && has_null) {
        return fail_whole(
            rq, KAFKA_ERROR_UNKNOWN_SERVER_ERROR); /* neither a name nor an id: as Kafka */
    }
    if (is_all) {
        answer_all(rq, im);
    } else if (ids_count > 0) {
        answer_ids(rq, im, ids, ids_count);
    } else {
        qsort(names, asked, sizeof(names[0]), compare_names);
        bool creates = body->allow_auto_topic_creation &&
                       config_get_bool(rq->br->config, "auto.create.topics.enable");
        answer_names(rq, im, names, asked, creates);
    }
    fill_brokers(rq, im);
    out->cluster_id = str_from(rq->br->cluster_id);
    out->controller_id = cluster_controller_id(rq, im);
    fill_operations(rq);
    return REQUEST_DONE;
}

/* ---- DescribeTopicPartitions ---- */

typedef struct describe_topic_partitions_response_describe_topic_partitions_response_topic
    described_topic;

static enum request_verdict refuse_description(struct request *rq)
{
    const struct describe_topic_partitions_request *body = rq->body;
    struct describe_topic_partitions_response *out = rq->response;
    size_t count = body->topics.count > 0 ? to_size(body->topics.count) : 0;
    out->topics.items = codec_array(
        &rq->arena, describe_topic_partitions_response_describe_topic_partitions_response_topic,
        count);
    out->topics.count = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        out->topics.items[i].name = body->topics.items[i].name;
        out->topics.items[i].error_code = KAFKA_ERROR_INVALID_REQUEST;
    }
    return REQUEST_DONE;
}

static void describe_partition(
    struct request *rq,
    const struct image *im,
    const struct image_topic *t,
    int32_t number,
    struct describe_topic_partitions_response_describe_topic_partitions_response_partition *ret)
{
    const struct image_partition *ip = &t->partitions[number];
    struct partition_view pv = view_partition(rq, im, t, number, false);
    ret->partition_index = number;
    ret->leader_id = pv.leader;
    ret->leader_epoch = ip->leader_epoch;
    ret->replica_nodes.items = pv.replicas;
    ret->replica_nodes.count = pv.replicas_count;
    ret->isr_nodes.items = pv.isr;
    ret->isr_nodes.count = pv.isr_count;
    ret->offline_replicas.items = pv.offline;
    ret->offline_replicas.count = pv.offline_count;
    ret->eligible_leader_replicas.items = pv.elr;
    ret->eligible_leader_replicas.count = pv.elr_count;
    ret->last_known_elr.items = borrow(ip->last_known_elr);
    ret->last_known_elr.count = ip->last_known_elr_count;
}

/* Partitions [first, ...) of a topic, at most `left` of them; returns how many. */
static int32_t describe_topic(struct request *rq,
                              const struct image *im,
                              const struct image_topic *t,
                              int32_t first,
                              int32_t left)
{
    struct describe_topic_partitions_response *out = rq->response;
    described_topic *dt = &out->topics.items[out->topics.count++];
    dt->name = t->name;
    dt->topic_id = t->id;
    dt->is_internal = controller_topic_is_internal(t->name);
    int32_t count = first >= t->partitions_count ? 0 : t->partitions_count - first;
    count = count > left ? left : count;
    dt->partitions.items = codec_array(
        &rq->arena, describe_topic_partitions_response_describe_topic_partitions_response_partition,
        to_size(count));
    dt->partitions.count = count;
    for (int32_t i = 0; i < count; i++) {
        describe_partition(rq, im, t, first + i, &dt->partitions.items[i]);
    }
    return count;
}

static void set_cursor(struct request *rq, struct str topic, int32_t partition)
{
    struct describe_topic_partitions_response *out = rq->response;
    out->next_cursor = codec_array(&rq->arena, describe_topic_partitions_response_cursor, 1);
    out->next_cursor->topic_name = topic;
    out->next_cursor->partition_index = partition;
}

/* The names to describe, sorted, each once, from the cursor on. False: the cursor is not among
 * them. */
static bool collect_names(struct request *rq,
                          const struct image *im,
                          bool is_all,
                          struct str **ret,
                          size_t *ret_count)
{
    const struct describe_topic_partitions_request *body = rq->body;
    struct str from = body->cursor == NULL ? STR("") : body->cursor->topic_name;
    const struct image_topic **topics = NULL;
    size_t asked = is_all ? 0 : to_size(body->topics.count);
    if (is_all) {
        image_topics_sorted(im, &rq->arena, &topics, &asked);
    }
    struct str *names = arena_alloc(&rq->arena, (asked + 1) * sizeof(names[0]));
    size_t count = 0;
    for (size_t i = 0; i < asked; i++) {
        struct str name = is_all ? topics[i]->name : body->topics.items[i].name;
        if (str_compare(name, from) >= 0) {
            names[count++] = name;
        }
    }
    qsort(names, count, sizeof(names[0]), compare_names);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !str_equal(names[i], names[kept - 1])) {
            names[kept++] = names[i];
        }
    }
    *ret = names;
    *ret_count = kept;
    return is_all || body->cursor == NULL || (kept > 0 && str_equal(names[0], from));
}

enum request_verdict h_describe_topic_partitions(struct request *rq)
{
    const struct describe_topic_partitions_request *body = rq->body;
    struct describe_topic_partitions_response *out = rq->response;
    const struct image *im = request_image(rq);
    bool is_all = body->topics.count <= 0;
    struct str *names;
    size_t count;
    bool has_cursor = collect_names(rq, im, is_all, &names, &count);
    if (!has_cursor || (body->cursor != NULL && body->cursor->partition_index < 0)) {
        return refuse_description(rq);
    }
    int64_t limit = min_i64(config_get_int(rq->br->config, "max.request.partition.size.limit"),
                            body->response_partition_limit);
    int32_t left = (int32_t)max_i64(limit, 1);
    out->topics.items = codec_array(
        &rq->arena, describe_topic_partitions_response_describe_topic_partitions_response_topic,
        count);
    out->topics.count = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_visible = authorize(rq, ACL_DESCRIBE, RESOURCE_TOPIC, names[i]);
        const struct image_topic *t = image_topic_by_name(im, names[i]);
        if (is_visible && left == 0) {
            set_cursor(rq, names[i], 0);
            break;
        }
        if (is_visible && t != NULL) {
            bool is_at_cursor =
                body->cursor != NULL && str_equal(names[i], body->cursor->topic_name);
            int32_t first = is_at_cursor ? body->cursor->partition_index : 0;
            int32_t described = describe_topic(rq, im, t, first, left);
            left -= described;
            if (described > 0 && first + described < t->partitions_count) {
                set_cursor(rq, names[i], first + described);
                break;
            }
        } else if (!is_all) {
            described_topic *dt = &out->topics.items[out->topics.count++];
            dt->name = names[i];
            dt->is_internal = is_visible && controller_topic_is_internal(names[i]);
            dt->error_code = KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
            if (is_visible) {
                dt->error_code = str_is_null(controller_topic_name_problem(names[i]))
                                     ? KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION
                                     : KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
            }
        }
    }
    for (int32_t i = 0; i < out->topics.count; i++) {
        out->topics.items[i].topic_authorized_operations =
            authorized_operations(rq, RESOURCE_TOPIC, out->topics.items[i].name);
    }
    return REQUEST_DONE;
}
