/*
 * OffsetCommit 2-10, OffsetFetch 1-10, OffsetDelete 0: what can be said without the group is said
 * here, on the request's loop: may the group and its topics be touched, are there such topics. The
 * rest is the coordinator's.
 *
 * Kafka: KafkaApis.handleOffsetCommitRequest, handleOffsetFetchRequest, handleOffsetDeleteRequest;
 * KIP-709 (several groups in OffsetFetch 8), 848 (members fetch, topic ids in version 10).
 */
#include "broker/broker.h"
#include "broker/coordinator.h"
#include "broker/handlers.h"
#include "broker/request.h"
#include "coord/offsets.h"
#include "meta/image.h"
#include "wire/gen/errors.h"

#define TOPIC_IDS_VERSION       10 /* of commit and fetch */
#define FETCH_GROUPS_VERSION    8  /* a list of groups */
#define FETCH_TOP_ERROR_VERSION 2  /* an error of the group has a place of its own */
#define NO_OFFSET               (-1)

typedef struct offset_fetch_request_offset_fetch_request_group fetch_group;
typedef struct offset_fetch_request_offset_fetch_request_topics fetch_topic;
typedef struct offset_fetch_response_offset_fetch_response_group fetched_group;
typedef struct offset_fetch_response_offset_fetch_response_topics fetched_topic;
typedef struct offset_fetch_response_offset_fetch_response_partitions fetched_partition;
typedef struct offset_delete_request_offset_delete_request_topic delete_topic;
typedef struct offset_delete_response_offset_delete_response_topic deleted_topic;

static bool has_partition(const struct image_topic *t, int32_t number)
{
    return number >= 0 && number < t->partitions_count;
}

/* ---- OffsetCommit ---- */

typedef struct offset_commit_request_offset_commit_request_topic commit_topic;

/* What is wrong with some partitions of a topic; NULL when nothing is. */
static const enum kafka_error *check_partitions(struct request *rq,
                                                const struct image_topic *t,
                                                const commit_topic *in,
                                                size_t *ret_refused)
{
    enum kafka_error *errors = NULL;
    for (int32_t i = 0; i < in->partitions.count; i++) {
        if (has_partition(t, in->partitions.items[i].partition_index)) {
            continue;
        }
        if (errors == NULL) {
            errors = arena_alloc(&rq->arena, (size_t)in->partitions.count * sizeof(*errors));
        }
        errors[i] = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
        (*ret_refused)++;
    }
    return errors;
}

/* Returns how many partitions of the topic are good. */
static size_t check_commit_topic(struct request *rq,
                                 const commit_topic *in,
                                 struct offset_commit_check *check,
                                 struct offset_commit_topic *ret)
{
    bool has_ids = rq->version >= TOPIC_IDS_VERSION;
    const struct image *im = request_image(rq);
    const struct image_topic *t =
        has_ids ? image_topic_by_id(im, &in->topic_id) : image_topic_by_name(im, in->name);
    /* The image may go before the answer does. */
    ret->name = !has_ids ? in->name : t == NULL ? STR("") : arena_strdup(&rq->arena, t->name);
    if (has_ids && t == NULL) {
        ret->error = KAFKA_ERROR_UNKNOWN_TOPIC_ID;
    } else if (!authorize(rq, ACL_READ, RESOURCE_TOPIC, ret->name)) {
        ret->error = KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
    } else if (t == NULL) {
        ret->error = KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    if (ret->error != KAFKA_ERROR_NONE) {
        check->refused_count++;
        return 0;
    }
    ret->id = t->id;
    size_t refused = 0;
    ret->partition_errors = check_partitions(rq, t, in, &refused);
    check->refused_count += refused;
    return (size_t)in->partitions.count - refused;
}

static void run_commit(struct shard *sh, struct shard_call *call)
{
    offsets_commit(sh, call, coordinator_request(call)->state);
}

static void refuse_commit(struct request *rq, enum kafka_error error)
{
    offsets_commit_answer(rq->body, rq->version, rq->state, error, &rq->arena, rq->response);
}

enum request_verdict h_offset_commit(struct request *rq)
{
    const struct offset_commit_request *body = rq->body;
    if (!authorize(rq, ACL_READ, RESOURCE_GROUP, body->group_id)) {
        refuse_commit(rq, KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED); /* every topic as it is */
        return REQUEST_DONE;
    }
    struct offset_commit_check *check = arena_alloc(&rq->arena, sizeof(*check));
    struct offset_commit_topic *topics =
        arena_alloc(&rq->arena, ((size_t)body->topics.count + 1) * sizeof(*topics));
    check->topics = topics;
    size_t good = 0;
    for (int32_t i = 0; i < body->topics.count; i++) {
        good += check_commit_topic(rq, &body->topics.items[i], check, &topics[i]);
    }
    rq->state = check;
    if (good == 0) { /* the group is not asked at all */
        refuse_commit(rq, KAFKA_ERROR_NONE);
        return REQUEST_DONE;
    }
    return coordinator_call(rq, body->group_id, run_commit, refuse_commit);
}

/* ---- OffsetFetch ---- */

/* One group of the request. */
struct fetch_part {
    fetch_group asked;     /* topics that may be asked for */
    fetched_topic *errors; /* topics that are refused here, to stand behind the others */
    int32_t errors_count;
    fetched_group *answer;
};

struct fetch_state {
    fetched_group *answers;   /* by group of the request */
    struct fetch_part *parts; /* groups that the coordinator is asked for */
    size_t parts_count;
};

static void refuse_fetch_topic(struct request *rq,
                               const fetch_topic *in,
                               enum kafka_error error,
                               fetched_topic *ret)
{
    *ret = offset_fetch_response_offset_fetch_response_topics_default;
    ret->name = in->name;
    ret->topic_id = in->topic_id;
    ret->partitions.count = in->partition_indexes.count;
    ret->partitions.items = arena_alloc(&rq->arena, ((size_t)in->partition_indexes.count + 1) *
                                                        sizeof(*ret->partitions.items));
    for (int32_t i = 0; i < in->partition_indexes.count; i++) {
        fetched_partition *fp = &ret->partitions.items[i];
        *fp = offset_fetch_response_offset_fetch_response_partitions_default;
        fp->partition_index = in->partition_indexes.items[i];
        fp->committed_offset = NO_OFFSET;
        fp->metadata = STR("");
        fp->error_code = (int16_t)error;
    }
}

/* The group as a whole has an error. The oldest version has no place for it but the partitions. */
static void
fail_group(struct request *rq, const fetch_group *asked, enum kafka_error error, fetched_group *ret)
{
    *ret = offset_fetch_response_offset_fetch_response_group_default;
    ret->group_id = asked->group_id;
    if (rq->version >= FETCH_TOP_ERROR_VERSION) {
        ret->error_code = (int16_t)error;
        return;
    }
    int32_t count = asked->topics.count < 0 ? 0 : asked->topics.count;
    ret->topics.count = count;
    ret->topics.items = arena_alloc(&rq->arena, ((size_t)count + 1) * sizeof(*ret->topics.items));
    for (int32_t i = 0; i < count; i++) {
        refuse_fetch_topic(rq, &asked->topics.items[i], error, &ret->topics.items[i]);
    }
}

/* Sorts the topics of a group into those that the coordinator is asked for and the others. */
static void sort_topics(struct request *rq, const fetch_group *in, struct fetch_part *fp)
{
    fp->asked = *in;
    if (in->topics.count < 0) {
        return;
    }
    size_t room = (size_t)in->topics.count + 1;
    fp->asked.topics.items = arena_alloc(&rq->arena, room * sizeof(*fp->asked.topics.items));
    fp->asked.topics.count = 0;
    fp->errors = NULL;
    for (int32_t i = 0; i < in->topics.count; i++) {
        fetch_topic topic = in->topics.items[i];
        enum kafka_error error = KAFKA_ERROR_NONE;
        if (rq->version >= TOPIC_IDS_VERSION) {
            const struct image_topic *t = image_topic_by_id(request_image(rq), &topic.topic_id);
            topic.name = t == NULL ? STR("") : arena_strdup(&rq->arena, t->name);
            error = t == NULL ? KAFKA_ERROR_UNKNOWN_TOPIC_ID : KAFKA_ERROR_NONE;
        }
        if (error == KAFKA_ERROR_NONE && !authorize(rq, ACL_DESCRIBE, RESOURCE_TOPIC, topic.name)) {
            error = KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
        }
        if (error == KAFKA_ERROR_NONE) {
            fp->asked.topics.items[fp->asked.topics.count++] = topic;
            continue;
        }
        if (fp->errors == NULL) {
            fp->errors = arena_alloc(&rq->arena, room * sizeof(*fp->errors));
        }
        refuse_fetch_topic(rq, &topic, error, &fp->errors[fp->errors_count++]);
    }
}

static struct str group_of_part(struct request *rq, size_t i)
{
    struct fetch_state *st = rq->state;
    return st->parts[i].asked.group_id;
}

/* All topics: those that may not be seen, or have no id where one is due, are left out. */
static void filter_all(struct request *rq, fetched_group *group)
{
    int32_t count = 0;
    for (int32_t i = 0; i < group->topics.count; i++) {
        fetched_topic *ft = &group->topics.items[i];
        if (!authorize(rq, ACL_DESCRIBE, RESOURCE_TOPIC, ft->name)) {
            continue;
        }
        if (rq->version >= TOPIC_IDS_VERSION) {
            const struct image_topic *t = image_topic_by_name(request_image(rq), ft->name);
            if (t == NULL) {
                continue;
            }
            ft->topic_id = t->id;
        }
        group->topics.items[count++] = *ft;
    }
    group->topics.count = count;
}

static void add_errors(struct request *rq, const struct fetch_part *fp, fetched_group *group)
{
    if (fp->errors_count == 0) {
        return;
    }
    size_t total = (size_t)group->topics.count + (size_t)fp->errors_count;
    fetched_topic *all = arena_alloc(&rq->arena, total * sizeof(*all));
    if (group->topics.count > 0) {
        memcpy(all, group->topics.items, (size_t)group->topics.count * sizeof(*all));
    }
    memcpy(all + group->topics.count, fp->errors, (size_t)fp->errors_count * sizeof(*all));
    group->topics.items = all;
    group->topics.count = (int32_t)total;
}

static void refuse_part(struct request *rq, size_t i, enum kafka_error error)
{
    struct fetch_state *st = rq->state;
    struct fetch_part *fp = &st->parts[i];
    fail_group(rq, &fp->asked, error, fp->answer);
    if (fp->answer->error_code == KAFKA_ERROR_NONE) {
        add_errors(rq, fp, fp->answer);
    }
}

static void fetch_part(struct shard *sh, struct request *rq, size_t i)
{
    struct fetch_state *st = rq->state;
    struct fetch_part *fp = &st->parts[i];
    const struct offset_fetch_request *body = rq->body;
    offsets_fetch(sh, &fp->asked, body->require_stable, &rq->arena, fp->answer);
    enum kafka_error error = (enum kafka_error)fp->answer->error_code;
    if (error != KAFKA_ERROR_NONE) {
        fail_group(rq, &fp->asked, error, fp->answer);
    }
    if (fp->answer->error_code == KAFKA_ERROR_NONE) {
        add_errors(rq, fp, fp->answer);
    }
}

/* Before version 8 there is one group, and its answer has no place of its own. */
static void unwrap_group(struct request *rq, const fetched_group *group)
{
    struct offset_fetch_response *out = rq->response;
    out->error_code = group->error_code;
    out->topics.count = group->topics.count;
    out->topics.items =
        arena_alloc(&rq->arena, ((size_t)group->topics.count + 1) * sizeof(*out->topics.items));
    for (int32_t i = 0; i < group->topics.count; i++) {
        const fetched_topic *ft = &group->topics.items[i];
        struct offset_fetch_response_offset_fetch_response_topic *to = &out->topics.items[i];
        *to = offset_fetch_response_offset_fetch_response_topic_default;
        to->name = ft->name;
        to->partitions.count = ft->partitions.count;
        to->partitions.items = arena_alloc(&rq->arena, ((size_t)ft->partitions.count + 1) *
                                                           sizeof(*to->partitions.items));
        for (int32_t j = 0; j < ft->partitions.count; j++) {
            const fetched_partition *fp = &ft->partitions.items[j];
            struct offset_fetch_response_offset_fetch_response_partition *po =
                &to->partitions.items[j];
            *po = offset_fetch_response_offset_fetch_response_partition_default;
            po->partition_index = fp->partition_index;
            po->committed_offset = fp->committed_offset;
            po->committed_leader_epoch = fp->committed_leader_epoch;
            po->metadata = fp->metadata;
            po->error_code = fp->error_code;
        }
    }
}

static void compose_fetch(struct request *rq)
{
    const struct fetch_state *st = rq->state;
    struct offset_fetch_response *out = rq->response;
    for (size_t i = 0; i < st->parts_count; i++) {
        if (st->parts[i].asked.topics.count < 0) {
            filter_all(rq, st->parts[i].answer);
        }
    }
    if (rq->version < FETCH_GROUPS_VERSION) {
        unwrap_group(rq, &st->answers[0]);
        return;
    }
    const struct offset_fetch_request *body = rq->body;
    out->groups.items = st->answers;
    out->groups.count = body->groups.count;
}

/* The request of the older versions as a group of the newer ones. */
static fetch_group wrap_group(struct request *rq, const struct offset_fetch_request *body)
{
    fetch_group group = offset_fetch_request_offset_fetch_request_group_default;
    group.group_id = body->group_id;
    group.topics.count = body->topics.count;
    if (body->topics.count < 0) {
        return group;
    }
    group.topics.items =
        arena_alloc(&rq->arena, ((size_t)body->topics.count + 1) * sizeof(*group.topics.items));
    for (int32_t i = 0; i < body->topics.count; i++) {
        const struct offset_fetch_request_offset_fetch_request_topic *in = &body->topics.items[i];
        fetch_topic *ft = &group.topics.items[i];
        *ft = offset_fetch_request_offset_fetch_request_topics_default;
        ft->name = in->name;
        ft->partition_indexes.items = in->partition_indexes.items;
        ft->partition_indexes.count = in->partition_indexes.count;
    }
    return group;
}

enum request_verdict h_offset_fetch(struct request *rq)
{
    const struct offset_fetch_request *body = rq->body;
    bool is_list = rq->version >= FETCH_GROUPS_VERSION;
    size_t count = is_list ? (size_t)body->groups.count : 1;
    struct fetch_state *st = arena_alloc(&rq->arena, sizeof(*st));
    st->answers = arena_alloc(&rq->arena, (count + 1) * sizeof(*st->answers));
    st->parts = arena_alloc(&rq->arena, (count + 1) * sizeof(*st->parts));
    for (size_t i = 0; i < count; i++) {
        fetch_group group = is_list ? body->groups.items[i] : wrap_group(rq, body);
        if (!authorize(rq, ACL_DESCRIBE, RESOURCE_GROUP, group.group_id)) {
            fail_group(rq, &group, KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED, &st->answers[i]);
            continue;
        }
        struct fetch_part *fp = &st->parts[st->parts_count++];
        fp->answer = &st->answers[i];
        sort_topics(rq, &group, fp);
    }
    rq->state = st;
    rq->before_encoding = compose_fetch;
    if (st->parts_count == 0) {
        return REQUEST_DONE;
    }
    return coordinator_parts(rq, st->parts_count, group_of_part, fetch_part, refuse_part);
}

/* ---- OffsetDelete ---- */

struct delete_state {
    struct offset_delete_request asked; /* what the cluster has */
    deleted_topic *refused;             /* the rest; room for all topics of the request */
    int32_t refused_count;
    struct offset_delete_response answer;
};

/* A topic of the answer, by its name. */
struct named_topic {
    struct hmap_node node;
    deleted_topic topic;
};

struct topic_names {
    struct hmap by_name;
    struct named_topic *all;
    size_t count;
};

static deleted_topic *names_topic(struct topic_names *tn, struct str name)
{
    uint64_t hash = hash_str(name, tn->by_name.seed);
    for (struct hmap_node *n = hmap_first(&tn->by_name, hash); n != NULL; n = hmap_next(n)) {
        struct named_topic *nt = container_of(n, struct named_topic, node);
        if (str_equal(nt->topic.name, name)) {
            return &nt->topic;
        }
    }
    struct named_topic *nt = &tn->all[tn->count++];
    nt->topic = offset_delete_response_offset_delete_response_topic_default;
    nt->topic.name = name;
    hmap_insert(&tn->by_name, &nt->node, hash);
    return &nt->topic;
}

static void add_deleted(deleted_topic *topic, int32_t number, enum kafka_error error)
{
    struct offset_delete_response_offset_delete_response_partition *po =
        &topic->partitions.items[topic->partitions.count++];
    *po = offset_delete_response_offset_delete_response_partition_default;
    po->partition_index = number;
    po->error_code = (int16_t)error;
}

/* Splits a topic of the request into what is refused, and what the group is asked for. */
static void sort_deletion(struct request *rq, struct delete_state *st, const delete_topic *in)
{
    const struct image_topic *t = image_topic_by_name(request_image(rq), in->name);
    enum kafka_error error = !authorize(rq, ACL_READ, RESOURCE_TOPIC, in->name)
                                 ? KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED
                             : t == NULL ? KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION
                                         : KAFKA_ERROR_NONE;
    deleted_topic *refused = &st->refused[st->refused_count];
    delete_topic *asked = &st->asked.topics.items[st->asked.topics.count];
    size_t room = (size_t)in->partitions.count + 1;
    *refused = offset_delete_response_offset_delete_response_topic_default;
    refused->name = in->name;
    refused->partitions.items = arena_alloc(&rq->arena, room * sizeof(*refused->partitions.items));
    *asked = offset_delete_request_offset_delete_request_topic_default;
    asked->name = in->name;
    asked->partitions.items = arena_alloc(&rq->arena, room * sizeof(*asked->partitions.items));
    for (int32_t i = 0; i < in->partitions.count; i++) {
        int32_t number = in->partitions.items[i].partition_index;
        if (error != KAFKA_ERROR_NONE) {
            add_deleted(refused, number, error);
        } else if (!has_partition(t, number)) {
            add_deleted(refused, number, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
        } else {
            asked->partitions.items[asked->partitions.count++] = in->partitions.items[i];
        }
    }
    st->refused_count += error != KAFKA_ERROR_NONE || refused->partitions.count > 0 ? 1 : 0;
    st->asked.topics.count += asked->partitions.count > 0 ? 1 : 0;
}

/* Each partition goes to the topic of its name: counted first, put there then. */
static void join_topics(struct topic_names *tn,
                        const deleted_topic *from,
                        int32_t count,
                        void (*join)(deleted_topic *to, const deleted_topic *from))
{
    for (int32_t i = 0; i < count; i++) {
        join(names_topic(tn, from[i].name), &from[i]);
    }
}

static void join_count(deleted_topic *to, const deleted_topic *from)
{
    to->partitions.count += from->partitions.count;
}

static void join_put(deleted_topic *to, const deleted_topic *from)
{
    for (int32_t i = 0; i < from->partitions.count; i++) {
        add_deleted(to, from->partitions.items[i].partition_index,
                    (enum kafka_error)from->partitions.items[i].error_code);
    }
}

/* What is refused comes first; topics are named once. Nothing refused: the group's answer as it
 * is, and so is an answer with an error of the group. */
static void compose_deletion(struct request *rq)
{
    struct delete_state *st = rq->state;
    struct offset_delete_response *out = rq->response;
    if (st->answer.error_code != KAFKA_ERROR_NONE || st->refused_count == 0) {
        *out = st->answer;
        return;
    }
    size_t room = (size_t)st->refused_count + (size_t)st->answer.topics.count + 1;
    struct topic_names tn = {.all = arena_alloc(&rq->arena, room * sizeof(*tn.all))};
    uint64_t seed = 0;
    clock_random(rq->br->clock, &seed, sizeof(seed));
    hmap_init(&tn.by_name, seed);
    join_topics(&tn, st->refused, st->refused_count, join_count);
    join_topics(&tn, st->answer.topics.items, st->answer.topics.count, join_count);
    for (size_t i = 0; i < tn.count; i++) {
        deleted_topic *topic = &tn.all[i].topic;
        topic->partitions.items = arena_alloc(&rq->arena, ((size_t)topic->partitions.count + 1) *
                                                              sizeof(*topic->partitions.items));
        topic->partitions.count = 0;
    }
    join_topics(&tn, st->refused, st->refused_count, join_put);
    join_topics(&tn, st->answer.topics.items, st->answer.topics.count, join_put);
    hmap_release(&tn.by_name);
    out->topics.items = arena_alloc(&rq->arena, room * sizeof(*out->topics.items));
    out->topics.count = (int32_t)tn.count;
    for (size_t i = 0; i < tn.count; i++) {
        out->topics.items[i] = tn.all[i].topic;
    }
}

static void run_delete(struct shard *sh, struct shard_call *call)
{
    struct delete_state *st = coordinator_request(call)->state;
    offsets_delete(sh, &st->asked, call->arena, &st->answer);
    shard_complete(sh, call);
}

static void refuse_delete(struct request *rq, enum kafka_error error)
{
    struct delete_state *st = rq->state;
    st->answer = offset_delete_response_default;
    st->answer.error_code = (int16_t)error;
}

enum request_verdict h_offset_delete(struct request *rq)
{
    const struct offset_delete_request *body = rq->body;
    struct delete_state *st = arena_alloc(&rq->arena, sizeof(*st));
    st->answer = offset_delete_response_default;
    rq->state = st;
    rq->before_encoding = compose_deletion;
    if (!authorize(rq, ACL_DELETE, RESOURCE_GROUP, body->group_id)) {
        refuse_delete(rq, KAFKA_ERROR_GROUP_AUTHORIZATION_FAILED);
        return REQUEST_DONE;
    }
    size_t room = (size_t)body->topics.count + 1;
    st->asked.group_id = body->group_id;
    st->asked.topics.items = arena_alloc(&rq->arena, room * sizeof(*st->asked.topics.items));
    st->refused = arena_alloc(&rq->arena, room * sizeof(*st->refused));
    for (int32_t i = 0; i < body->topics.count; i++) {
        sort_deletion(rq, st, &body->topics.items[i]);
    }
    if (body->group_id.len == 0) {
        refuse_delete(rq, KAFKA_ERROR_INVALID_GROUP_ID);
        return REQUEST_DONE;
    }
    return coordinator_call(rq, body->group_id, run_delete, refuse_delete);
}
