/*
 * ListOffsets 1-11, OffsetForLeaderEpoch 2-4, DeleteRecords 0-2 (Kafka: KafkaApis,
 * ReplicaManager.fetchOffset, lastOffsetForLeaderEpoch, deleteRecords). Look-ups by time may
 * inflate a batch and deletions touch the disk: they run on a worker, and the whole answer with
 * them.
 */
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/lookup.h"
#include "broker/partition.h"
#include "broker/request.h"
#include "broker/topic_groups.h"
#include "broker/upkeep.h"
#include "meta/controller.h"

#define LATEST_TIMESTAMP           (-1)
#define EARLIEST_TIMESTAMP         (-2)
#define MAX_TIMESTAMP              (-3)
#define EARLIEST_LOCAL_TIMESTAMP   (-4)
#define LATEST_TIERED_TIMESTAMP    (-5)
#define EARLIEST_PENDING_TIMESTAMP (-6)

#define LEADER_EPOCH_VERSION 4

/* A partition whose answer needs a worker. */
struct slow {
    struct partition *p; /* a reference */
    int64_t asked;       /* timestamp, or the offset to delete up to */
    void *out;
};

struct state {
    struct slow *items;
    size_t count;
};

/* The least version that knows a special timestamp; INT16_MAX for none. */
static int16_t special_since(int64_t timestamp)
{
    switch (timestamp) {
    case LATEST_TIMESTAMP:
    case EARLIEST_TIMESTAMP:
        return 1;
    case MAX_TIMESTAMP:
        return 7;
    case EARLIEST_LOCAL_TIMESTAMP:
        return 8;
    case LATEST_TIERED_TIMESTAMP:
        return 9;
    case EARLIEST_PENDING_TIMESTAMP:
        return 11;
    default:
        return timestamp >= 0 ? 1 : INT16_MAX;
    }
}

static void answer_offset(const struct request *rq,
                          struct list_offsets_response_list_offsets_partition_response *out,
                          int64_t offset,
                          int64_t timestamp,
                          int32_t epoch)
{
    out->offset = offset;
    out->timestamp = timestamp;
    out->leader_epoch = rq->version >= LEADER_EPOCH_VERSION ? epoch : -1;
}

/* Answers what offsets alone can answer; false: a worker must look into the log. */
static bool list_quickly(struct request *rq,
                         struct partition *p,
                         int64_t timestamp,
                         struct list_offsets_response_list_offsets_partition_response *out)
{
    const struct list_offsets_request *body = rq->body;
    struct plog_offsets offsets;
    plog_offsets(p->pl, &offsets);
    switch (timestamp) {
    case LATEST_TIMESTAMP:
        answer_offset(rq, out,
                      body->isolation_level == 1 ? offsets.last_stable : offsets.high_watermark, -1,
                      atomic_load(&p->leader_epoch));
        return true;
    case EARLIEST_TIMESTAMP:
    case EARLIEST_LOCAL_TIMESTAMP: {
        int32_t epoch = plog_epoch_of(p->pl, offsets.log_start);
        answer_offset(rq, out, offsets.log_start, -1, epoch);
        return true;
    }
    case LATEST_TIERED_TIMESTAMP:
    case EARLIEST_PENDING_TIMESTAMP:
        answer_offset(rq, out, -1, -1, -1); /* no tiered storage */
        return true;
    default:
        return false;
    }
}

static void list_slowly(struct request *rq)
{
    const struct list_offsets_request *body = rq->body;
    struct state *st = rq->state;
    for (size_t i = 0; i < st->count; i++) {
        struct slow *s = &st->items[i];
        struct list_offsets_response_list_offsets_partition_response *out = s->out;
        struct plog_position found = {.offset = -1, .timestamp = -1, .leader_epoch = -1};
        int r = s->asked == MAX_TIMESTAMP ? plog_find_max_timestamp(s->p->pl, &found)
                                          : plog_find_by_time(s->p->pl, s->asked, &found);
        struct plog_offsets offsets;
        plog_offsets(s->p->pl, &offsets);
        int64_t end = body->isolation_level == 1 ? offsets.last_stable : offsets.high_watermark;
        if (r < 0) {
            out->error_code = (int16_t)lookup_read_failure(rq, s->p, r);
        } else if (found.offset >= 0 && found.offset < end) {
            answer_offset(rq, out, found.offset, found.timestamp, found.leader_epoch);
        }
        s->p = partition_unref(s->p);
    }
}

static void finish(struct request *rq)
{
    request_finish(rq);
}

static void list_one(struct request *rq,
                     struct str topic,
                     const struct list_offsets_request_list_offsets_partition *in,
                     struct list_offsets_response_list_offsets_partition_response *out)
{
    struct state *st = rq->state;
    if (special_since(in->timestamp) > rq->version) {
        out->error_code = KAFKA_ERROR_UNSUPPORTED_VERSION;
        return;
    }
    struct partition *p = NULL;
    enum kafka_error error = authorize(rq, ACL_DESCRIBE, RESOURCE_TOPIC, topic)
                                 ? lookup_by_name(rq, topic, in->partition_index, &p)
                                 : KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
    if (error == KAFKA_ERROR_NONE) {
        error = lookup_check_epoch(p, in->current_leader_epoch);
    }
    if (error != KAFKA_ERROR_NONE) {
        out->error_code = (int16_t)error;
        partition_unref(p);
        return;
    }
    if (list_quickly(rq, p, in->timestamp, out)) {
        partition_unref(p);
    } else {
        st->items[st->count++] = (struct slow){.p = p, .asked = in->timestamp, .out = out};
    }
}

/* Counts how often each partition is named. */
static void count_named(struct topic_groups *tg, const struct list_offsets_request *body)
{
    for (int32_t i = 0; i < body->topics.count; i++) {
        const struct list_offsets_request_list_offsets_topic *lt = &body->topics.items[i];
        for (int32_t j = 0; j < lt->partitions.count; j++) {
            topic_groups_partition(tg, tg->of[i], lt->partitions.items[j].partition_index)->times++;
        }
    }
}

static void list_topic(struct request *rq,
                       struct topic_groups *tg,
                       size_t group,
                       const struct list_offsets_request_list_offsets_topic *lt)
{
    struct list_offsets_response *out = rq->response;
    struct list_offsets_response_list_offsets_topic_response *tr = &out->topics.items[group];
    for (int32_t j = 0; j < lt->partitions.count; j++) {
        struct named_partition *np =
            topic_groups_partition(tg, group, lt->partitions.items[j].partition_index);
        if (np->times == 0) {
            continue; /* answered already */
        }
        struct list_offsets_response_list_offsets_partition_response *po =
            &tr->partitions.items[tr->partitions.count++];
        *po = list_offsets_response_list_offsets_partition_response_default;
        po->partition_index = np->number;
        if (np->times > 1) {
            po->error_code = KAFKA_ERROR_INVALID_REQUEST;
        } else {
            list_one(rq, lt->name, &lt->partitions.items[j], po);
        }
        np->times = 0;
    }
}

/* No such isolation level: every partition says so, whatever it is, in the shape of the request. */
static enum request_verdict refuse_isolation(struct request *rq)
{
    const struct list_offsets_request *body = rq->body;
    struct list_offsets_response *out = rq->response;
    out->topics.count = body->topics.count;
    out->topics.items =
        arena_alloc(&rq->arena, ((size_t)body->topics.count + 1) * sizeof(*out->topics.items));
    for (int32_t i = 0; i < body->topics.count; i++) {
        const struct list_offsets_request_list_offsets_topic *lt = &body->topics.items[i];
        struct list_offsets_response_list_offsets_topic_response *tr = &out->topics.items[i];
        *tr = list_offsets_response_list_offsets_topic_response_default;
        tr->name = lt->name;
        tr->partitions.count = lt->partitions.count;
        tr->partitions.items = arena_alloc(&rq->arena, ((size_t)lt->partitions.count + 1) *
                                                           sizeof(*tr->partitions.items));
        for (int32_t j = 0; j < lt->partitions.count; j++) {
            tr->partitions.items[j] = list_offsets_response_list_offsets_partition_response_default;
            tr->partitions.items[j].partition_index = lt->partitions.items[j].partition_index;
            tr->partitions.items[j].error_code = KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
        }
    }
    return REQUEST_DONE;
}

enum request_verdict h_list_offsets(struct request *rq)
{
    const struct list_offsets_request *body = rq->body;
    struct list_offsets_response *out = rq->response;
    if (body->isolation_level != 0 && body->isolation_level != 1) {
        return refuse_isolation(rq);
    }
    struct state *st = arena_alloc(&rq->arena, sizeof(*st));
    rq->state = st;
    const struct topic_source source = TOPIC_SOURCE(
        body->topics, struct list_offsets_request_list_offsets_topic, name, partitions, false);
    struct topic_groups tg;
    topic_groups_init(&tg, &source, &rq->arena, (uint64_t)rq->received_ns);
    count_named(&tg, body);
    st->items = arena_alloc(&rq->arena, (tg.total + 1) * sizeof(*st->items));
    out->topics.items = arena_alloc(&rq->arena, (tg.count + 1) * sizeof(*out->topics.items));
    out->topics.count = (int32_t)tg.count;
    for (size_t i = 0; i < tg.count; i++) {
        struct list_offsets_response_list_offsets_topic_response *tr = &out->topics.items[i];
        *tr = list_offsets_response_list_offsets_topic_response_default;
        tr->name = body->topics.items[tg.first[i]].name;
        tr->partitions.items =
            arena_alloc(&rq->arena, tg.partitions[i] * sizeof(*tr->partitions.items));
    }
    for (size_t i = 0; i < source.count; i++) {
        list_topic(rq, &tg, tg.of[i], &body->topics.items[i]);
    }
    topic_groups_release(&tg);
    if (st->count == 0) {
        return REQUEST_DONE;
    }
    request_offload(rq, list_slowly, finish);
    return REQUEST_PARKED;
}

static void epoch_one(struct request *rq,
                      struct str topic,
                      const struct offset_for_leader_epoch_request_offset_for_leader_partition *in,
                      struct offset_for_leader_epoch_response_epoch_end_offset *out)
{
    struct partition *p = NULL;
    enum kafka_error error = authorize(rq, ACL_DESCRIBE, RESOURCE_TOPIC, topic)
                                 ? lookup_by_name(rq, topic, in->partition, &p)
                                 : KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
    if (error == KAFKA_ERROR_NONE) {
        error = lookup_check_epoch(p, in->current_leader_epoch);
    }
    if (error != KAFKA_ERROR_NONE) {
        out->error_code = (int16_t)error;
    } else {
        int32_t epoch = -1;
        int64_t end = -1;
        plog_end_of_epoch(p->pl, in->leader_epoch, &epoch, &end);
        out->leader_epoch = epoch;
        out->end_offset = end;
    }
    partition_unref(p);
}

enum request_verdict h_offset_for_leader_epoch(struct request *rq)
{
    const struct offset_for_leader_epoch_request *body = rq->body;
    struct offset_for_leader_epoch_response *out = rq->response;
    out->topics.items =
        arena_alloc(&rq->arena, (size_t)(body->topics.count + 1) * sizeof(*out->topics.items));
    out->topics.count = body->topics.count;
    for (int32_t i = 0; i < body->topics.count; i++) {
        const struct offset_for_leader_epoch_request_offset_for_leader_topic *ot =
            &body->topics.items[i];
        struct offset_for_leader_epoch_response_offset_for_leader_topic_result *tr =
            &out->topics.items[i];
        *tr = offset_for_leader_epoch_response_offset_for_leader_topic_result_default;
        tr->topic = ot->topic;
        tr->partitions.count = ot->partitions.count;
        tr->partitions.items = arena_alloc(&rq->arena, (size_t)(ot->partitions.count + 1) *
                                                           sizeof(*tr->partitions.items));
        for (int32_t j = 0; j < ot->partitions.count; j++) {
            tr->partitions.items[j] = offset_for_leader_epoch_response_epoch_end_offset_default;
            tr->partitions.items[j].partition = ot->partitions.items[j].partition;
            epoch_one(rq, ot->topic, &ot->partitions.items[j], &tr->partitions.items[j]);
        }
    }
    return REQUEST_DONE;
}

/* Where the log shall begin; -1: it stays as it is, and the answer is there. */
static int64_t plan_deletion(const struct slow *s)
{
    struct delete_records_response_delete_records_partition_result *out = s->out;
    struct plog_offsets offsets;
    plog_offsets(s->p->pl, &offsets);
    int64_t until = s->asked == -1 ? offsets.high_watermark : s->asked;
    if (atomic_load_explicit(&s->p->is_compacted_only, memory_order_relaxed)) {
        out->error_code = KAFKA_ERROR_POLICY_VIOLATION;
        return -1;
    }
    if (until < 0 || until > offsets.high_watermark) {
        out->error_code = KAFKA_ERROR_OFFSET_OUT_OF_RANGE;
        return -1;
    }
    if (until <= offsets.log_start) {
        out->low_watermark = offsets.log_start;
        return -1;
    }
    return until;
}

static void delete_one(struct request *rq, const struct slow *s, const struct upkeep_start *us)
{
    struct delete_records_response_delete_records_partition_result *out = s->out;
    int r = us->err < 0 ? us->err : plog_advance_log_start(s->p->pl, us->start);
    if (r < 0) {
        out->error_code = (int16_t)lookup_failure(rq, s->p, r);
        return;
    }
    struct plog_offsets offsets;
    plog_offsets(s->p->pl, &offsets);
    out->low_watermark = offsets.log_start;
}

/* What was deleted stays deleted: the new log starts are stable before a log moves to one. */
static void delete_all(struct request *rq)
{
    struct state *st = rq->state;
    struct upkeep_start *starts = arena_alloc(&rq->arena, (st->count + 1) * sizeof(*starts));
    struct slow **moved = arena_alloc(&rq->arena, (st->count + 1) * sizeof(*moved));
    size_t count = 0;
    for (size_t i = 0; i < st->count; i++) {
        int64_t until = plan_deletion(&st->items[i]);
        if (until >= 0) {
            moved[count] = &st->items[i];
            starts[count++] = (struct upkeep_start){.p = st->items[i].p, .start = until};
        }
    }
    upkeep_note_starts(rq->br, starts, count);
    for (size_t i = 0; i < count; i++) {
        delete_one(rq, moved[i], &starts[i]);
    }
    for (size_t i = 0; i < st->count; i++) {
        partition_unref(st->items[i].p);
    }
}

/* What one partition is asked; a partition that is named again is answered for its last offset. */
static void take_deletion(struct request *rq,
                          struct topic_groups *tg,
                          size_t group,
                          const struct delete_records_request_delete_records_topic *dt)
{
    struct delete_records_response *out = rq->response;
    struct delete_records_response_delete_records_topic_result *tr = &out->topics.items[group];
    struct state *st = rq->state;
    for (int32_t j = 0; j < dt->partitions.count; j++) {
        const struct delete_records_request_delete_records_partition *dp = &dt->partitions.items[j];
        struct named_partition *np = topic_groups_partition(tg, group, dp->partition_index);
        if (np->times++ > 0) {
            struct slow *asked = np->user;
            if (asked != NULL) {
                asked->asked = dp->offset;
            }
            continue;
        }
        struct delete_records_response_delete_records_partition_result *po =
            &tr->partitions.items[tr->partitions.count++];
        *po = delete_records_response_delete_records_partition_result_default;
        po->partition_index = dp->partition_index;
        po->low_watermark = -1;
        struct partition *p = NULL;
        enum kafka_error error = authorize(rq, ACL_DELETE, RESOURCE_TOPIC, dt->name)
                                     ? lookup_by_name(rq, dt->name, po->partition_index, &p)
                                     : KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
        if (error == KAFKA_ERROR_NONE && controller_topic_is_internal(dt->name)) {
            error = KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
            p = partition_unref(p);
        }
        if (error != KAFKA_ERROR_NONE) {
            po->error_code = (int16_t)error;
            continue;
        }
        np->user = &st->items[st->count];
        st->items[st->count++] = (struct slow){.p = p, .asked = dp->offset, .out = po};
    }
}

enum request_verdict h_delete_records(struct request *rq)
{
    const struct delete_records_request *body = rq->body;
    struct delete_records_response *out = rq->response;
    struct state *st = arena_alloc(&rq->arena, sizeof(*st));
    rq->state = st;
    const struct topic_source source = TOPIC_SOURCE(
        body->topics, struct delete_records_request_delete_records_topic, name, partitions, false);
    struct topic_groups tg;
    topic_groups_init(&tg, &source, &rq->arena, (uint64_t)rq->received_ns);
    st->items = arena_alloc(&rq->arena, (tg.total + 1) * sizeof(*st->items));
    out->topics.items = arena_alloc(&rq->arena, (tg.count + 1) * sizeof(*out->topics.items));
    out->topics.count = (int32_t)tg.count;
    for (size_t i = 0; i < tg.count; i++) {
        struct delete_records_response_delete_records_topic_result *tr = &out->topics.items[i];
        *tr = delete_records_response_delete_records_topic_result_default;
        tr->name = body->topics.items[tg.first[i]].name;
        tr->partitions.items =
            arena_alloc(&rq->arena, tg.partitions[i] * sizeof(*tr->partitions.items));
    }
    for (size_t i = 0; i < source.count; i++) {
        take_deletion(rq, &tg, tg.of[i], &body->topics.items[i]);
    }
    topic_groups_release(&tg);
    if (st->count == 0) {
        return REQUEST_DONE;
    }
    request_offload(rq, delete_all, finish);
    return REQUEST_PARKED;
}
