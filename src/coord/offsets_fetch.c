/*
 * OffsetFetch and OffsetDelete of one group (Kafka: OffsetMetadataManager.fetchOffsets,
 * fetchAllOffsets, deleteOffsets).
 *
 * A group that does not exist has no offsets: every partition that is asked for is answered with
 * -1. A wrong member or epoch is an error of the group, without topics.
 */
#include "base/base.h"
#include "base/mem.h"
#include "coord/offsets.h"
#include "coord/offsets_private.h"

#define NO_OFFSET (-1)

typedef struct offset_fetch_response_offset_fetch_response_group response_group;
typedef struct offset_fetch_response_offset_fetch_response_topics response_topic;
typedef struct offset_fetch_response_offset_fetch_response_partitions response_partition;
typedef struct offset_fetch_request_offset_fetch_request_topics request_topic;
typedef struct offset_delete_request_offset_delete_request_topic delete_topic;
typedef struct offset_delete_response_offset_delete_response_topic deleted_topic;

static void no_offset(response_partition *out, int32_t number, enum kafka_error error)
{
    *out = offset_fetch_response_offset_fetch_response_partitions_default;
    out->partition_index = number;
    out->committed_offset = NO_OFFSET;
    out->metadata = STR("");
    out->error_code = (int16_t)error;
}

static void answer_entry(response_partition *out,
                         const struct offset_entry *oe,
                         bool require_stable,
                         struct arena *arena)
{
    if (require_stable && oe->pending != NULL) {
        no_offset(out, oe->partition, KAFKA_ERROR_UNSTABLE_OFFSET_COMMIT);
        return;
    }
    no_offset(out, oe->partition, KAFKA_ERROR_NONE);
    if (oe->is_committed) {
        out->committed_offset = oe->at.offset;
        out->committed_leader_epoch = oe->at.leader_epoch;
        out->metadata = oe->at.metadata.len == 0 ? STR("") : arena_strdup(arena, oe->at.metadata);
    }
}

static bool is_of_other_topic(const struct offset_entry *oe, const struct uuid *asked)
{
    return oe->is_committed && !uuid_is_zero(asked) && !uuid_is_zero(&oe->at.topic_id) &&
           !uuid_equal(asked, &oe->at.topic_id);
}

static void fetch_topic(const struct shard *sh,
                        const struct group *g,
                        const request_topic *in,
                        bool require_stable,
                        struct arena *arena,
                        response_topic *out)
{
    *out = offset_fetch_response_offset_fetch_response_topics_default;
    out->name = in->name;
    out->topic_id = in->topic_id;
    size_t count = to_size(in->partition_indexes.count);
    out->partitions.items = arena_alloc(arena, (count + 1) * sizeof(*out->partitions.items));
    out->partitions.count = in->partition_indexes.count;
    const struct offset_topic *ot = g == NULL ? NULL : offsets_topic_find(sh->offsets, in->name);
    for (size_t i = 0; i < count; i++) {
        int32_t number = in->partition_indexes.items[i];
        const struct offset_entry *oe =
            ot == NULL ? NULL : offsets_entry_find(g->offsets, ot, number);
        if (oe == NULL) {
            no_offset(&out->partitions.items[i], number, KAFKA_ERROR_NONE);
        } else if (is_of_other_topic(oe, &in->topic_id) &&
                   !(require_stable && oe->pending != NULL)) {
            no_offset(&out->partitions.items[i], number, KAFKA_ERROR_NONE);
        } else {
            answer_entry(&out->partitions.items[i], oe, require_stable, arena);
        }
    }
}

static int by_topic_and_partition(const void *a, const void *b)
{
    const struct offset_entry *x = *(const struct offset_entry *const *)a;
    const struct offset_entry *y = *(const struct offset_entry *const *)b;
    int order = x->topic == y->topic ? 0 : str_compare(x->topic->name, y->topic->name);
    return order != 0 ? order : (x->partition > y->partition) - (x->partition < y->partition);
}

/* Committed entries by topic and partition. */
static const struct offset_entry **
sorted_entries(const struct group_offsets *go, struct arena *arena, size_t *ret_count)
{
    const struct offset_entry **all = arena_alloc(arena, (go->entries.count + 1) * sizeof(*all));
    size_t count = 0;
    hmap_foreach (node, &go->entries) {
        const struct offset_entry *oe = container_of(node, struct offset_entry, node);
        if (oe->is_committed) {
            all[count++] = oe;
        }
    }
    qsort(all, count, sizeof(*all), by_topic_and_partition);
    *ret_count = count;
    return all;
}

static void fetch_all(const struct group_offsets *go,
                      bool require_stable,
                      struct arena *arena,
                      response_group *ret)
{
    size_t count;
    const struct offset_entry **all = sorted_entries(go, arena, &count);
    size_t topics = 0;
    for (size_t i = 0; i < count; i++) {
        topics += i == 0 || all[i]->topic != all[i - 1]->topic ? 1 : 0;
    }
    response_partition *next = arena_alloc(arena, (count + 1) * sizeof(*next));
    ret->topics.items = arena_alloc(arena, (topics + 1) * sizeof(*ret->topics.items));
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || all[i]->topic != all[i - 1]->topic) {
            response_topic *out = &ret->topics.items[ret->topics.count++];
            *out = offset_fetch_response_offset_fetch_response_topics_default;
            out->name = arena_strdup(arena, all[i]->topic->name);
            out->partitions.items = next;
        }
        answer_entry(next++, all[i], require_stable, arena);
        ret->topics.items[ret->topics.count - 1].partitions.count++;
    }
}

/* May this member read? Kafka looks for a member without a name, and stumbles. */
static enum kafka_error
check_fetch(const struct group *g,
            const struct offset_fetch_request_offset_fetch_request_group *asked)
{
    if (g == NULL) {
        return KAFKA_ERROR_GROUP_ID_NOT_FOUND;
    }
    if (g->kind == GROUP_CONSUMER && str_is_null(asked->member_id) && asked->member_epoch >= 0) {
        return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
    }
    return group_check_offset_fetch(g, asked->member_id, asked->member_epoch);
}

void offsets_fetch(struct shard *sh,
                   const struct offset_fetch_request_offset_fetch_request_group *group,
                   bool require_stable,
                   struct arena *arena,
                   struct offset_fetch_response_offset_fetch_response_group *ret)
{
    *ret = offset_fetch_response_offset_fetch_response_group_default;
    ret->group_id = group->group_id;
    const struct group *g = group_find(sh, group->group_id);
    enum kafka_error error = check_fetch(g, group);
    if (error == KAFKA_ERROR_GROUP_ID_NOT_FOUND) {
        g = NULL;
    } else if (error != KAFKA_ERROR_NONE) {
        ret->error_code = (int16_t)error;
        return;
    }
    if (group->topics.count < 0) {
        if (g != NULL && g->offsets != NULL) {
            fetch_all(g->offsets, require_stable, arena, ret);
        }
        return;
    }
    ret->topics.count = group->topics.count;
    ret->topics.items =
        arena_alloc(arena, to_size(group->topics.count + 1) * sizeof(*ret->topics.items));
    for (int32_t i = 0; i < group->topics.count; i++) {
        fetch_topic(sh, g, &group->topics.items[i], require_stable, arena, &ret->topics.items[i]);
    }
}

/* ---- OffsetDelete ---- */

/* A group of another protocol type tells nobody what it reads: it must be empty. */
static enum kafka_error check_delete(const struct group *g)
{
    if (g == NULL || group_is_dead(g)) {
        return KAFKA_ERROR_GROUP_ID_NOT_FOUND;
    }
    if (!group_is_empty(g) && !str_is(group_protocol_type(g), "consumer")) {
        return KAFKA_ERROR_NON_EMPTY_GROUP;
    }
    return KAFKA_ERROR_NONE;
}

static void
delete_of_topic(struct shard *sh, struct group *g, const delete_topic *in, deleted_topic *out)
{
    bool is_subscribed = group_is_subscribed(g, in->name);
    for (int32_t i = 0; i < in->partitions.count; i++) {
        struct offset_delete_response_offset_delete_response_partition *po =
            &out->partitions.items[i];
        *po = offset_delete_response_offset_delete_response_partition_default;
        po->partition_index = in->partitions.items[i].partition_index;
        if (is_subscribed) {
            po->error_code = KAFKA_ERROR_GROUP_SUBSCRIBED_TO_TOPIC;
            continue;
        }
        struct offset_entry *oe = offsets_entry_find(
            g->offsets, offsets_topic_find(sh->offsets, in->name), po->partition_index);
        if (oe != NULL) {
            offsets_emit_tombstone(sh, g, oe);
        }
    }
}

void offsets_delete(struct shard *sh,
                    const struct offset_delete_request *body,
                    struct arena *arena,
                    struct offset_delete_response *ret)
{
    struct group *g = group_find(sh, body->group_id);
    enum kafka_error error = check_delete(g);
    if (error != KAFKA_ERROR_NONE) {
        ret->error_code = (int16_t)error;
        return;
    }
    ret->topics.count = body->topics.count;
    ret->topics.items =
        arena_alloc(arena, to_size(body->topics.count + 1) * sizeof(*ret->topics.items));
    for (int32_t i = 0; i < body->topics.count; i++) {
        const delete_topic *in = &body->topics.items[i];
        deleted_topic *out = &ret->topics.items[i];
        *out = offset_delete_response_offset_delete_response_topic_default;
        out->name = in->name;
        out->partitions.count = in->partitions.count;
        out->partitions.items =
            arena_alloc(arena, to_size(in->partitions.count + 1) * sizeof(*out->partitions.items));
        delete_of_topic(sh, g, in, out);
    }
}
