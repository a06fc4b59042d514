/*
 * OffsetCommit: decides, and puts the answer together. The order of checks stands in offsets.c.
 *
 * The answer has the order that Kafka gives it: topics that have something refused come first, with
 * what is refused of them first, and a topic that is named again joins its namesake; the rest
 * follows as the request has it, without topics that name no partition
 * (OffsetCommitResponse.Builder).
 *
 * A record is of version 4, with the topic's id; of version 1 when the request says how long the
 * offset is to be kept (OffsetCommit 2-4), which has neither the id nor the leader's epoch.
 */
#include "base/base.h"
#include "base/mem.h"
#include "coord/offsets.h"
#include "coord/offsets_private.h"

#define VALUE_VERSION              4
#define VALUE_VERSION_EXPIRES      1 /* with expireTimestamp */
#define TOPIC_IDS_VERSION          10
#define GROUP_ID_NOT_FOUND_VERSION 9
#define NO_RETENTION               (-1)
#define GROUP_ID_BYTES_MAX         INT16_MAX /* what the record of an offset can hold */
#define BATCH_BYTES                61
#define RECORD_BYTES               66 /* about: what a record has beside its texts */

typedef struct offset_commit_request_offset_commit_request_topic request_topic;
typedef struct offset_commit_request_offset_commit_request_partition request_partition;
typedef struct offset_commit_response_offset_commit_response_topic response_topic;
typedef struct offset_commit_response_offset_commit_response_partition response_partition;

/* A partition that is not refused by the handler. */
struct item {
    const request_partition *in;
    response_partition *out;
    size_t topic;
};

struct items {
    struct item *all;
    size_t count;
};

static enum kafka_error
refusal_of(const struct offset_commit_check *checked, size_t topic, int32_t partition)
{
    if (checked == NULL || checked->refused_count == 0) {
        return KAFKA_ERROR_NONE;
    }
    const struct offset_commit_topic *ct = &checked->topics[topic];
    if (ct->error != KAFKA_ERROR_NONE || ct->partition_errors == NULL) {
        return ct->error;
    }
    return ct->partition_errors[partition];
}

static void name_topic(response_topic *out, const request_topic *in, int16_t version)
{
    *out = offset_commit_response_offset_commit_response_topic_default;
    if (version >= TOPIC_IDS_VERSION) {
        out->topic_id = in->topic_id;
    } else {
        out->name = in->name;
    }
}

static response_partition *add_partition(response_topic *out, int32_t number)
{
    response_partition *rp = &out->partitions.items[out->partitions.count++];
    *rp = offset_commit_response_offset_commit_response_partition_default;
    rp->partition_index = number;
    return rp;
}

/* Answers what is not refused, with no error yet. */
static struct items answer_accepted(const struct offset_commit_request *body,
                                    int16_t version,
                                    const struct offset_commit_check *checked,
                                    struct arena *arena,
                                    struct offset_commit_response *ret)
{
    size_t total = 0;
    for (int32_t i = 0; i < body->topics.count; i++) {
        total += to_size(body->topics.items[i].partitions.count);
    }
    struct items items = {.all = arena_alloc(arena, (total + 1) * sizeof(*items.all))};
    response_partition *next = arena_alloc(arena, (total + 1) * sizeof(*next));
    ret->topics.items =
        arena_alloc(arena, to_size(body->topics.count + 1) * sizeof(*ret->topics.items));
    ret->topics.count = 0;
    for (int32_t i = 0; i < body->topics.count; i++) {
        const request_topic *rt = &body->topics.items[i];
        response_topic *out = &ret->topics.items[ret->topics.count];
        name_topic(out, rt, version);
        out->partitions.items = next;
        for (int32_t j = 0; j < rt->partitions.count; j++) {
            if (refusal_of(checked, (size_t)i, j) == KAFKA_ERROR_NONE) {
                items.all[items.count++] = (struct item){
                    .in = &rt->partitions.items[j],
                    .out = add_partition(out, rt->partitions.items[j].partition_index),
                    .topic = (size_t)i,
                };
            }
        }
        next += out->partitions.count;
        if (out->partitions.count > 0 || checked == NULL) {
            ret->topics.count++;
        }
    }
    return items;
}

/* ---- what is refused joins the answer ---- */

struct merged_topic {
    struct hmap_node node;
    response_topic topic;
};

struct merge {
    struct hmap by_name; /* or id */
    struct merged_topic *topics;
    size_t count;
    struct arena *arena;
    int16_t version;
};

static uint64_t merge_hash(const struct merge *mg, const response_topic *rt)
{
    return mg->version >= TOPIC_IDS_VERSION
               ? hash_bytes(rt->topic_id.bytes, sizeof(rt->topic_id.bytes), mg->by_name.seed)
               : hash_str(rt->name, mg->by_name.seed);
}

static struct merged_topic *merge_topic(struct merge *mg, const response_topic *like)
{
    uint64_t hash = merge_hash(mg, like);
    for (struct hmap_node *n = hmap_first(&mg->by_name, hash); n != NULL; n = hmap_next(n)) {
        struct merged_topic *mt = container_of(n, struct merged_topic, node);
        if (str_equal(mt->topic.name, like->name) &&
            uuid_equal(&mt->topic.topic_id, &like->topic_id)) {
            return mt;
        }
    }
    struct merged_topic *mt = &mg->topics[mg->count++];
    mt->topic = *like;
    mt->topic.partitions.items = NULL;
    mt->topic.partitions.count = 0;
    hmap_insert(&mg->by_name, &mt->node, hash);
    return mt;
}

/* Calls each for what is refused, topic by topic, then for what is not. */
static void merge_all(struct merge *mg,
                      const struct offset_commit_request *body,
                      const struct offset_commit_check *checked,
                      const struct offset_commit_response *accepted,
                      void (*each)(struct merged_topic *mt, int32_t partition, int16_t error))
{
    for (int32_t i = 0; i < body->topics.count; i++) {
        const request_topic *rt = &body->topics.items[i];
        response_topic name;
        name_topic(&name, rt, mg->version);
        struct merged_topic *mt =
            checked->topics[i].error == KAFKA_ERROR_NONE ? NULL : merge_topic(mg, &name);
        for (int32_t j = 0; j < rt->partitions.count; j++) {
            enum kafka_error error = refusal_of(checked, (size_t)i, j);
            if (error != KAFKA_ERROR_NONE) {
                mt = mt == NULL ? merge_topic(mg, &name) : mt;
                each(mt, rt->partitions.items[j].partition_index, (int16_t)error);
            }
        }
    }
    for (int32_t i = 0; i < accepted->topics.count; i++) {
        const response_topic *rt = &accepted->topics.items[i];
        struct merged_topic *mt = merge_topic(mg, rt);
        for (int32_t j = 0; j < rt->partitions.count; j++) {
            each(mt, rt->partitions.items[j].partition_index, rt->partitions.items[j].error_code);
        }
    }
}

static void merge_count(struct merged_topic *mt, int32_t partition, int16_t error)
{
    (void)partition;
    (void)error;
    mt->topic.partitions.count++;
}

static void merge_fill(struct merged_topic *mt, int32_t partition, int16_t error)
{
    add_partition(&mt->topic, partition)->error_code = error;
}

static void merge_refused(const struct offset_commit_request *body,
                          int16_t version,
                          const struct offset_commit_check *checked,
                          struct arena *arena,
                          struct offset_commit_response *ret)
{
    if (checked == NULL || checked->refused_count == 0) {
        return;
    }
    struct merge mg = {.arena = arena, .version = version};
    hmap_init(&mg.by_name, (uint64_t)(uintptr_t)arena);
    mg.topics = arena_alloc(arena, to_size(body->topics.count + 1) * sizeof(*mg.topics));
    merge_all(&mg, body, checked, ret, merge_count);
    for (size_t i = 0; i < mg.count; i++) {
        response_topic *rt = &mg.topics[i].topic;
        rt->partitions.items =
            arena_alloc(arena, to_size(rt->partitions.count + 1) * sizeof(*rt->partitions.items));
        rt->partitions.count = 0;
    }
    merge_all(&mg, body, checked, ret, merge_fill);
    hmap_release(&mg.by_name);
    ret->topics.items = arena_alloc(arena, (mg.count + 1) * sizeof(*ret->topics.items));
    ret->topics.count = (int32_t)mg.count;
    for (size_t i = 0; i < mg.count; i++) {
        ret->topics.items[i] = mg.topics[i].topic;
    }
}

void offsets_commit_answer(const struct offset_commit_request *body,
                           int16_t version,
                           const struct offset_commit_check *checked,
                           enum kafka_error error,
                           struct arena *arena,
                           struct offset_commit_response *ret)
{
    struct items items = answer_accepted(body, version, checked, arena, ret);
    for (size_t i = 0; i < items.count; i++) {
        items.all[i].out->error_code = (int16_t)error;
    }
    merge_refused(body, version, checked, arena, ret);
}

/* ---- the decision ---- */

/* Java counts letters in UTF-16. */
static bool is_longer_than(struct str text, int32_t max)
{
    if (text.len <= to_size(max)) {
        return false;
    }
    size_t units = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = (uint8_t)text.ptr[i];
        units += (byte & 0xc0) == 0x80 ? 0 : byte >= 0xf0 ? 2 : 1;
    }
    return units > to_size(max);
}

/* A member of a consumer group whose epoch is behind may still commit what has been its own since
 * then; anything else refuses the whole request. */
static bool is_behind(const struct group *g, const struct offset_commit_request *body)
{
    return g != NULL &&
           group_is_commit_late(g, body->member_id, body->generation_id_or_member_epoch);
}

/* The records of a commit are written together or not at all, so they must fit one batch. */
static bool fits_one_batch(const struct shard *sh,
                           const struct offset_commit_request *body,
                           const struct offset_commit_check *checked,
                           const struct items *items)
{
    size_t bytes = BATCH_BYTES;
    for (size_t i = 0; i < items->count; i++) {
        const struct item *it = &items->all[i];
        if (it->out->error_code == KAFKA_ERROR_NONE) {
            bytes += RECORD_BYTES + body->group_id.len + checked->topics[it->topic].name.len +
                     it->in->committed_metadata.len;
        }
    }
    return sh->config->record_bytes_max <= 0 || bytes <= (size_t)sh->config->record_bytes_max;
}

/* Finds what is there already, refuses metadata that is too long, and makes sure that there is
 * memory for the rest. */
static enum kafka_error prepare(struct shard *sh,
                                const struct offset_commit_request *body,
                                const struct offset_commit_check *checked,
                                const struct group *g,
                                struct items *items)
{
    const struct offset_topic *ot = NULL;
    size_t topic = SIZE_MAX;
    int64_t need = g == NULL || g->offsets == NULL ? offsets_group_cost() : 0;
    bool is_late = is_behind(g, body);
    for (size_t i = 0; i < items->count; i++) {
        struct item *it = &items->all[i];
        if (is_longer_than(it->in->committed_metadata, sh->config->offset_metadata_max_bytes)) {
            it->out->error_code = KAFKA_ERROR_OFFSET_METADATA_TOO_LARGE;
            continue;
        }
        if (it->topic != topic) {
            topic = it->topic;
            ot = offsets_topic_find(sh->offsets, checked->topics[topic].name);
            need += ot == NULL ? offsets_topic_cost(checked->topics[topic].name) : 0;
        }
        enum kafka_error error = is_late
                                     ? group_check_commit_partition(
                                           g, body->member_id, body->generation_id_or_member_epoch,
                                           &checked->topics[topic].id, it->in->partition_index)
                                     : KAFKA_ERROR_NONE;
        if (error != KAFKA_ERROR_NONE) {
            return error;
        }
        const struct offset_entry *oe =
            offsets_entry_find(g == NULL ? NULL : g->offsets, ot, it->in->partition_index);
        int64_t cost = offsets_entry_cost(it->in->committed_metadata);
        need += oe == NULL ? cost : max_i64(cost - oe->charged, 0);
    }
    if (need > 0) {
        if (!shard_charge(sh, need)) {
            return KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
        }
        shard_give(sh, need);
    }
    return fits_one_batch(sh, body, checked, items) ? KAFKA_ERROR_NONE
                                                    : KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
}

static void emit_all(struct shard *sh,
                     const struct offset_commit_request *body,
                     const struct offset_commit_check *checked,
                     const struct items *items)
{
    bool expires = body->retention_time_ms != NO_RETENTION;
    struct offset_commit_key key = {.group = body->group_id};
    struct offset_commit_value value = offset_commit_value_default;
    value.commit_timestamp = sh->wall_ms;
    if (expires) { /* wraps as Java does */
        value.expire_timestamp =
            (int64_t)((uint64_t)sh->wall_ms + (uint64_t)body->retention_time_ms);
    }
    for (size_t i = 0; i < items->count; i++) {
        const struct item *it = &items->all[i];
        if (it->out->error_code != KAFKA_ERROR_NONE) {
            continue;
        }
        const struct offset_commit_topic *ct = &checked->topics[it->topic];
        key.topic = ct->name;
        key.partition = it->in->partition_index;
        value.offset = it->in->committed_offset;
        value.metadata =
            str_is_null(it->in->committed_metadata) ? STR("") : it->in->committed_metadata;
        if (!expires) {
            value.leader_epoch = it->in->committed_leader_epoch;
            value.topic_id = ct->id;
        }
        shard_emit(sh, &offset_commit_key_msg, &key, &offset_commit_value_msg,
                   expires ? VALUE_VERSION_EXPIRES : VALUE_VERSION, &value);
    }
}

/* The group, and whether it lets this member commit. *ret NULL with NONE: a simple group that its
 * first record makes, or the commit itself when nothing of it is stored. */
static enum kafka_error find_group(struct shard *sh,
                                   const struct offset_commit_request *body,
                                   int16_t version,
                                   struct group **ret)
{
    *ret = group_find(sh, body->group_id);
    if (*ret != NULL) {
        return group_check_commit(sh, *ret, body->member_id, body->group_instance_id,
                                  body->generation_id_or_member_epoch, false, version);
    }
    if (body->generation_id_or_member_epoch >= 0) {
        return version >= GROUP_ID_NOT_FOUND_VERSION ? KAFKA_ERROR_GROUP_ID_NOT_FOUND
                                                     : KAFKA_ERROR_ILLEGAL_GENERATION;
    }
    if (body->group_id.len > GROUP_ID_BYTES_MAX) {
        return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    }
    return group_has_room(sh, body->group_id) ? KAFKA_ERROR_NONE
                                              : KAFKA_ERROR_COORDINATOR_NOT_AVAILABLE;
}

void offsets_commit(struct shard *sh,
                    struct shard_call *call,
                    const struct offset_commit_check *checked)
{
    const struct offset_commit_request *body = call->body;
    struct offset_commit_response *ret = call->response;
    struct items items = answer_accepted(body, call->version, checked, call->arena, ret);
    struct group *g = NULL;
    enum kafka_error error = find_group(sh, body, call->version, &g);
    if (error == KAFKA_ERROR_NONE) {
        error = prepare(sh, body, checked, g, &items);
    }
    if (error == KAFKA_ERROR_NONE) {
        emit_all(sh, body, checked, &items);
        if (g == NULL && group_find(sh, body->group_id) == NULL) {
            group_add_unwritten(sh, body->group_id);
        }
    } else {
        for (size_t i = 0; i < items.count; i++) {
            items.all[i].out->error_code = (int16_t)error;
        }
    }
    merge_refused(body, call->version, checked, call->arena, ret);
    shard_complete(sh, call);
}
