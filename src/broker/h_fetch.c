/*
 * Fetch 4-18 for consumers (Kafka: KafkaApis.handleFetchRequest, ReplicaManager.fetchMessages,
 * DelayedFetch).
 *
 * Every evaluation reads all partitions of the request (or of its session) into ropes of file runs.
 * When that is enough (fetch.min.bytes, an error of a log, a diverging epoch, or nothing to wait
 * for) it is the answer; otherwise the ropes are dropped, the request waits for any of its high
 * watermarks to move or for fetch.max.wait.ms, and is evaluated again.
 *
 *   state       event                                next
 *   evaluating  enough bytes, error, no wait         answered
 *   evaluating  pages not in memory                  warming (a worker reads them), then evaluating
 *   evaluating  too few bytes                        waiting
 *   waiting     a high watermark moved               evaluating
 *   waiting     the timer                            evaluating, for the last time
 *   any         the connection went                  dropped
 *
 * A request may name tens of thousands of partitions, so all this is done in pieces of a turn of
 * the loop (request_go_on), and what moved while it waits is looked at alone. The answer is put
 * together (fetch_answer.c) where it is encoded: by a worker when it is long. Memory of fetches
 * that wait is bounded (broker.parked): who finds no room is answered at once.
 */
#include "broker/background.h"
#include "broker/broker.h"
#include "broker/fetch_session.h"
#include "broker/fetch_state.h"
#include "broker/h_cluster.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/lookup.h"
#include "broker/partition.h"
#include "broker/request.h"

#define PIECE           16   /* partitions between two looks at the clock */
#define FEW_TARGETS     8    /* so many are simply looked at again when one has moved */
#define SMALL_BYTES     8192 /* a fetch that holds no more may wait: the connections bound those */
#define READS_BYTES_MAX ((size_t)256 << 10)
#define WARM_TRIES_MAX \
    3 /* then the pages are read on the loop: they are evicted faster than they come */

static void refuse(struct fetch_part *t, enum kafka_error error)
{
    t->data.error_code = (int16_t)error;
    t->data.high_watermark = -1;
    t->data.last_stable_offset = -1;
    t->data.log_start_offset = -1;
}

/* KIP-951: who leads, when the client asked somebody else or knows an older epoch. */
static void tell_leader(const struct fetch *st, struct fetch_part *t)
{
    if (st->rq->version >= 16) {
        t->data.current_leader.leader_id = st->rq->br->node_id;
        t->data.current_leader.leader_epoch =
            atomic_load_explicit(&t->p->leader_epoch, memory_order_relaxed);
    }
}

static void clear_target(struct fetch_part *t, const struct fetch_target *ft)
{
    rope_release(&t->rope);
    t->data = fetch_response_partition_data_default;
    t->data.partition_index = ft->partition;
    t->data.aborted_transactions.count = -1;
    t->data.records.ptr = (const uint8_t *)"";
}

static void go(struct fetch *st);

/* On the thread that has encoded the answer, or on the loop when there is none. */
static void release(struct request *rq)
{
    struct fetch *st = rq->state;
    for (size_t i = 0; i < st->context.count; i++) {
        rope_release(&st->targets[i].rope);
    }
    arena_release(&st->reads);
}

static void on_abandon(struct request *rq)
{
    struct fetch *st = rq->state;
    timers_disarm(loop_timers(rq->io->loop), &rq->timer);
    bool is_warming = st->phase == FETCH_WARM;
    st->phase = FETCH_LEAVE;
    st->next = 0;
    if (is_warming) {
        st->warmed_gone = true; /* on_warmed goes on */
    } else if (!st->is_going_on) {
        go(st);
    }
}

/* OffsetsForLeaderEpoch within a fetch: does the client's history part from ours? (KIP-595) */
static bool
diverges(struct fetch_part *t, const struct fetch_target *ft, const struct plog_offsets *offsets)
{
    if (ft->last_fetched_epoch < 0) {
        return false;
    }
    int32_t epoch = -1;
    int64_t end = -1;
    plog_end_of_epoch(t->p->pl, ft->last_fetched_epoch, &epoch, &end);
    if (epoch < 0 || end < 0) {
        refuse(t, KAFKA_ERROR_OFFSET_OUT_OF_RANGE);
        return true;
    }
    if (epoch < ft->last_fetched_epoch || end < ft->fetch_offset) {
        t->data.diverging_epoch.epoch = epoch;
        t->data.diverging_epoch.end_offset = end;
        t->data.high_watermark = offsets->high_watermark;
        t->data.last_stable_offset = offsets->last_stable;
        t->data.log_start_offset = offsets->log_start;
        return true;
    }
    return false;
}

static void
take_aborted(struct fetch *st, struct fetch_part *t, const struct plog_read_result *result)
{
    if (st->bound != PLOG_TO_LAST_STABLE) {
        return;
    }
    t->data.aborted_transactions.count = result->aborted_count;
    t->data.aborted_transactions.items =
        arena_alloc(&st->reads, (size_t)(result->aborted_count + 1) *
                                    sizeof(*t->data.aborted_transactions.items));
    for (int32_t k = 0; k < result->aborted_count; k++) {
        t->data.aborted_transactions.items[k] = fetch_response_aborted_transaction_default;
        t->data.aborted_transactions.items[k].producer_id = result->aborted[k].producer_id;
        t->data.aborted_transactions.items[k].first_offset = result->aborted[k].first_offset;
    }
}

enum read_outcome {
    READ_DONE,
    READ_ERROR, /* answered at once */
    READ_NOT_CACHED,
};

/* Reads one partition. *left: bytes that the whole answer may still take. */
static enum read_outcome
read_target(struct fetch *st, size_t index, int64_t *left, bool *is_first, int64_t *bytes)
{
    struct fetch_part *t = &st->targets[index];
    const struct fetch_target *ft = &st->context.targets[index];
    int64_t limit = min_i64(ft->max_bytes, *left);
    *left = max_i64(*left, 0); /* a negative limit of the request is the first partition's alone */
    clear_target(t, ft);
    enum kafka_error error =
        lookup_check_epoch(t->p, ft->current_leader_epoch < 0 ? -1 : ft->current_leader_epoch);
    if (error != KAFKA_ERROR_NONE) {
        refuse(t, error);
        if (error == KAFKA_ERROR_FENCED_LEADER_EPOCH) {
            tell_leader(st, t);
            st->tells_endpoint = true;
        }
        return READ_ERROR;
    }
    if (atomic_load_explicit(&t->p->is_deleted, memory_order_acquire)) {
        refuse(t, KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION);
        return READ_ERROR;
    }
    struct plog_offsets offsets;
    plog_offsets(t->p->pl, &offsets);
    if (ft->last_fetched_epoch >= 0 && diverges(t, ft, &offsets)) {
        return READ_ERROR;
    }
    int64_t end = st->bound == PLOG_TO_LAST_STABLE ? offsets.last_stable : offsets.high_watermark;
    if (limit < 0 && ft->fetch_offset >= offsets.log_start && ft->fetch_offset < end) {
        refuse(t,
               KAFKA_ERROR_UNKNOWN_SERVER_ERROR); /* as Kafka, where there is something to read */
        return READ_ERROR;
    }
    struct plog_read how = {
        .offset = ft->fetch_offset,
        .max_bytes = max_i64(limit, 0),
        .bound = st->bound,
        .at_least_one = *is_first,
        .no_wait = st->warm_tries < WARM_TRIES_MAX,
        .arena = &st->reads,
    };
    struct plog_read_result result = {0};
    int r = plog_read(t->p->pl, &how, &t->rope, &result, &error);
    if (r == -EAGAIN) {
        return READ_NOT_CACHED;
    }
    if (r < 0) {
        error = lookup_read_failure(st->rq, t->p, r);
    }
    if (error != KAFKA_ERROR_NONE) {
        rope_release(&t->rope);
        refuse(t, error);
        return READ_ERROR;
    }
    t->seen_high_watermark = result.offsets.high_watermark;
    t->data.high_watermark = result.offsets.high_watermark;
    t->data.last_stable_offset = result.offsets.last_stable;
    t->data.log_start_offset = result.offsets.log_start;
    if (result.bytes > 0 || limit <= 0 || ft->fetch_offset >= end) {
        take_aborted(st, t, &result);
    } /* else a batch did not fit: Kafka then tells of no transactions, either (null) */
    if (result.bytes > 0) {
        t->data.records.rope = &t->rope;
        t->outcome.has_records = true;
        *is_first = false;
        *left = max_i64(*left - (int64_t)result.bytes, 0);
        /* A waiting fetch counts no more of a partition than it asked for (DelayedFetch); the first
         * look does. */
        *bytes +=
            st->has_waited ? min_i64((int64_t)result.bytes, ft->max_bytes) : (int64_t)result.bytes;
    }
    return READ_DONE;
}

/* ---- the phases ---- */

static void enter(struct fetch *st, enum fetch_phase phase)
{
    st->phase = phase;
    st->next = 0;
}

static void on_warmed(struct job *j)
{
    struct fetch *st = container_of(j, struct fetch, warm_job);
    enter(st, st->warmed_gone ? FETCH_LEAVE : FETCH_READ);
    go(st);
}

static void run_warm(struct job *j)
{
    struct fetch *st = container_of(j, struct fetch, warm_job);
    struct fetch_part *t = &st->targets[st->warm_index];
    const struct fetch_target *ft = &st->context.targets[st->warm_index];
    plog_warm(t->p->pl, ft->fetch_offset, max_i64(min_i64(ft->max_bytes, st->max_bytes), 1));
    j->run = on_warmed;
    check(loop_post(st->rq->io->loop, j)); /* loops outlive the workers */
}

static void warm(struct fetch *st, size_t index)
{
    st->warm_index = index;
    st->warm_tries++;
    st->phase = FETCH_WARM;
    st->warm_job.run = run_warm;
    background_post(st->rq->br->background, &st->warm_job);
}

static void on_moved(struct waiter *w)
{
    struct fetch *st = w->rq->state;
    struct fetch_part *t = container_of(w, struct fetch_part, waiter);
    if (!list_is_linked(&t->moved)) {
        list_push_back(&st->moved, &t->moved);
    }
    if (st->phase == FETCH_WAIT) {
        enter(st, st->context.count <= FEW_TARGETS ? FETCH_READ : FETCH_MOVED);
        go(st);
    }
}

static void on_timeout(struct timer *t, void *ctx)
{
    (void)t;
    struct request *rq = ctx;
    struct fetch *st = rq->state;
    st->is_last = true;
    if (st->phase == FETCH_WAIT) {
        enter(st, FETCH_READ);
        go(st);
    }
}

/* True: a piece is done, and there is no time for another. */
static bool is_late(struct fetch *st)
{
    return st->next % PIECE == 0 && loop_slice_is_over(st->rq->io->loop);
}

static void begin_reading(struct fetch *st)
{
    while (list_pop_front(&st->moved) != NULL) {
        /* All are looked at now. */
    }
    arena_reset(&st->reads);
    st->left = st->max_bytes;
    st->bytes = 0;
    st->is_first = true;
    st->has_error = false;
}

/* Reads all partitions. */
static bool read_some(struct fetch *st)
{
    if (st->next == 0) {
        begin_reading(st);
    }
    while (st->next < st->context.count) {
        size_t index = st->next++;
        struct fetch_part *t = &st->targets[index];
        t->outcome = (struct fetch_outcome){0};
        if (t->is_refused) {
            st->has_error = st->has_error || t->fails_at_once;
            continue;
        }
        int64_t before = st->bytes;
        enum read_outcome ro = read_target(st, index, &st->left, &st->is_first, &st->bytes);
        t->bytes = st->bytes - before;
        if (ro == READ_NOT_CACHED) {
            warm(st, index);
            return true;
        }
        st->has_error = st->has_error || ro == READ_ERROR;
        if (is_late(st)) {
            return false;
        }
    }
    bool enough = st->has_error || st->bytes >= st->min_bytes || st->is_last;
    enter(st, enough ? FETCH_LEAVE : FETCH_ENROLL);
    st->has_waited = st->has_waited || !enough;
    return true;
}

/* What waits holds memory: there is a bound. */
static bool may_wait(struct fetch *st)
{
    struct mem_budget *parked = &st->rq->br->parked;
    if (st->rq->arena.used + st->reads.used <= SMALL_BYTES) {
        return true;
    }
    int64_t need = to_i64(st->rq->arena.used + st->reads.used) - st->parked;
    if (need > 0 && mem_budget_take(parked, need)) {
        st->parked += need;
        need = 0;
    }
    return need <= 0;
}

/* Waits for one more partition; false: it has moved already. */
static bool enroll(struct fetch_part *t)
{
    if (t->p == NULL || list_is_linked(&t->waiter.link) || list_is_linked(&t->waiter.ready_link)) {
        return true;
    }
    t->waiter.offset = t->seen_high_watermark;
    return partition_wait(t->p, &t->waiter);
}

static bool enroll_some(struct fetch *st)
{
    if (st->next == 0 && !may_wait(st)) {
        st->is_last = true;
    }
    st->has_enrolled = true;
    while (!st->is_last && st->next < st->context.count) {
        struct fetch_part *t = &st->targets[st->next++];
        if (!list_is_linked(&t->moved) && !enroll(t)) {
            list_push_back(&st->moved, &t->moved);
        }
        if (is_late(st)) {
            return false;
        }
    }
    if (st->is_last) {
        enter(st, FETCH_READ);
    } else if (!list_is_empty(&st->moved)) {
        enter(st, st->context.count <= FEW_TARGETS ? FETCH_READ : FETCH_MOVED);
    } else {
        enter(st, FETCH_WAIT);
    }
    return true;
}

/* Reads those that have moved, and waits for them again when all together is not enough yet. */
static bool read_moved(struct fetch *st)
{
    while (!list_is_empty(&st->moved) && !st->is_last) {
        struct fetch_part *t = list_entry(list_pop_front(&st->moved), struct fetch_part, moved);
        size_t index = (size_t)(t - st->targets);
        bool is_first = true;
        int64_t left = st->max_bytes;
        st->bytes -= t->bytes;
        int64_t before = st->bytes;
        enum read_outcome ro = read_target(st, index, &left, &is_first, &st->bytes);
        t->bytes = st->bytes - before;
        if (ro != READ_DONE || st->bytes >= st->min_bytes || st->reads.used > READS_BYTES_MAX) {
            enter(st, FETCH_READ);
            return true;
        }
        if (!enroll(t)) {
            list_push_back(&st->moved, &t->moved);
        }
        if (loop_slice_is_over(st->rq->io->loop)) {
            return false;
        }
    }
    enter(st, st->is_last ? FETCH_READ : FETCH_WAIT);
    return true;
}

static bool leave_some(struct fetch *st)
{
    while (st->next < st->context.count) {
        struct fetch_part *t = &st->targets[st->next++];
        if (t->p != NULL) {
            if (st->has_enrolled) {
                waiter_cancel(&t->waiter);
            }
            t->p = partition_unref(t->p);
        }
        if (is_late(st)) {
            return false;
        }
    }
    st->phase = FETCH_ANSWER;
    return true;
}

static void answer(struct fetch *st)
{
    struct request *rq = st->rq;
    if (st->parked > 0) {
        mem_budget_give(&rq->br->parked, st->parked);
    }
    st->now_ms = loop_now_ms(rq->io->loop);
    timers_disarm(loop_timers(rq->io->loop), &rq->timer);
    rq->on_abandon = NULL;
    if (rq->is_abandoned) {
        release(rq);
        request_drop(rq);
        return;
    }
    rq->before_encoding = fetch_compose;
    rq->after_encoding = release;
    request_finish(rq);
}

static void resume(struct request *rq)
{
    struct fetch *st = rq->state;
    st->is_going_on = false;
    go(st);
}

static bool resolve_some(struct fetch *st);

/* From phase to phase, until it waits, is answered, or the slice is over. */
static void go(struct fetch *st)
{
    for (;;) {
        bool has_time = true;
        switch (st->phase) {
        case FETCH_RESOLVE:
            has_time = resolve_some(st);
            break;
        case FETCH_READ:
            has_time = read_some(st);
            break;
        case FETCH_ENROLL:
            has_time = enroll_some(st);
            break;
        case FETCH_MOVED:
            has_time = read_moved(st);
            break;
        case FETCH_LEAVE:
            has_time = leave_some(st);
            break;
        case FETCH_ANSWER:
            answer(st);
            return;
        case FETCH_WAIT:
        case FETCH_WARM:
            return;
        }
        if (!has_time) {
            st->is_going_on = true;
            request_go_on(st->rq, resume);
            return;
        }
    }
}

/* ---- the beginning ---- */

/* An id that no topic has, of a topic that the session knew by name: that name is what counts now.
 */
static enum kafka_error
refuse_lost_id(struct fetch *st, struct fetch_part *t, const struct fetch_target *ft)
{
    const struct image_topic *namesake = image_topic_by_name(request_image(st->rq), ft->name);
    if (namesake == NULL || ft->partition < 0 || ft->partition >= namesake->partitions_count) {
        t->order = FETCH_ORDER_REFUSED;
        return KAFKA_ERROR_UNKNOWN_TOPIC_OR_PARTITION;
    }
    t->fails_at_once = true;
    t->order = FETCH_ORDER_LOG;
    return KAFKA_ERROR_INCONSISTENT_TOPIC_ID;
}

static enum kafka_error
look_up(struct fetch *st, struct fetch_part *t, const struct fetch_target *ft)
{
    struct request *rq = st->rq;
    t->order = FETCH_ORDER_REFUSED;
    if (!st->context.uses_ids) {
        return lookup_by_name(rq, ft->topic, ft->partition, &t->p);
    }
    const struct image_topic *topic = NULL;
    enum kafka_error error = lookup_by_id(rq, &ft->topic_id, ft->partition, &t->p, &topic);
    if (topic == NULL && !str_is_null(ft->name)) {
        return refuse_lost_id(st, t, ft);
    }
    if (topic == NULL) {
        t->order = FETCH_ORDER_UNKNOWN_ID;
    } else if (st->context.kind != FETCH_SESSIONLESS && str_is_null(ft->name)) {
        t->name = arena_strdup(&rq->arena, topic->name);
    }
    return error;
}

static void resolve(struct fetch *st, size_t index)
{
    struct request *rq = st->rq;
    struct fetch_part *t = &st->targets[index];
    const struct fetch_target *ft = &st->context.targets[index];
    rope_init(&t->rope);
    clear_target(t, ft);
    enum kafka_error error = look_up(st, t, ft);
    if (error == KAFKA_ERROR_NONE && !authorize(rq, ACL_READ, RESOURCE_TOPIC, t->p->topic)) {
        t->p = partition_unref(t->p);
        error = KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED;
    }
    if (error != KAFKA_ERROR_NONE) {
        t->is_refused = true;
        refuse(t, error);
        /* Kafka: null where the log was asked, empty where it was not */
        t->data.aborted_transactions.count = t->order == FETCH_ORDER_LOG ? -1 : 0;
        return;
    }
    t->order = FETCH_ORDER_LOG;
    t->waiter =
        (struct waiter){.p = t->p, .io = rq->io, .rq = rq, .slot = &rq->slot, .wake = on_moved};
}

/* A client that says it is a broker: there is none but us, which does not follow itself. One that
 * names the right epoch seems to know of replicas that we do not know of yet. */
static enum kafka_error follower_error(const struct fetch_part *t, int32_t current_leader_epoch)
{
    if (current_leader_epoch < 0) {
        return KAFKA_ERROR_NOT_LEADER_OR_FOLLOWER;
    }
    enum kafka_error error = lookup_check_epoch(t->p, current_leader_epoch);
    return error == KAFKA_ERROR_NONE ? KAFKA_ERROR_UNKNOWN_LEADER_EPOCH : error;
}

static bool refuse_followers(struct fetch *st, int32_t replica_id)
{
    if (replica_id < 0) {
        return false;
    }
    for (size_t i = 0; i < st->context.count; i++) {
        struct fetch_part *t = &st->targets[i];
        if (!t->is_refused) {
            enum kafka_error error = follower_error(t, st->context.targets[i].current_leader_epoch);
            refuse(t, error);
            if (error != KAFKA_ERROR_UNKNOWN_LEADER_EPOCH) {
                tell_leader(st, t);
            }
            t->p = partition_unref(t->p);
            t->is_refused = true;
        }
    }
    return true;
}

static bool resolve_some(struct fetch *st)
{
    struct request *rq = st->rq;
    const struct fetch_request *body = rq->body;
    while (st->next < st->context.count) {
        size_t index = st->next++;
        resolve(st, index);
        st->good += st->targets[index].order == FETCH_ORDER_LOG;
        if (is_late(st)) {
            return false;
        }
    }
    enter(st, FETCH_READ);
    if (st->good > 0 && body->isolation_level != 0 && body->isolation_level != 1) {
        st->refuses_isolation = true;
        enter(st, FETCH_LEAVE);
        return true;
    }
    int32_t replica_id = rq->version >= 15 ? body->replica_state.replica_id : body->replica_id;
    bool is_follower = refuse_followers(st, replica_id);
    st->is_last = body->max_wait_ms <= 0 || st->good == 0 || is_follower;
    if (!st->is_last) {
        timers_arm(loop_timers(rq->io->loop), &rq->timer,
                   loop_now_ms(rq->io->loop) + body->max_wait_ms);
    }
    return true;
}

void fetch_prepare(struct request *rq, int64_t now_ms)
{
    const struct fetch_request *body = rq->body;
    struct fetch *st = arena_alloc(&rq->arena, sizeof(*st));
    rq->state = st;
    st->rq = rq;
    list_init(&st->moved);
    if (body->session_id == 0) { /* nobody's: there is nothing to look up */
        fetch_session_begin(rq->br->fetch_shards[0].sessions, body, rq->version, now_ms, &rq->arena,
                            &st->context);
    } else {
        struct fetch_shard *shard = fetch_shard_lock(rq->br, body->session_id);
        fetch_session_begin(shard->sessions, body, rq->version, now_ms, &rq->arena, &st->context);
        fetch_shard_unlock(shard);
    }
    st->targets = arena_alloc(&rq->arena, (st->context.count + 1) * sizeof(*st->targets));
}

size_t fetch_size(struct request *rq)
{
    const struct fetch_request *body = rq->body;
    if (body->session_id == 0) {
        return 0;
    }
    struct fetch_shard *shard = fetch_shard_lock(rq->br, body->session_id);
    size_t size = fetch_session_size(shard->sessions, body->session_id);
    fetch_shard_unlock(shard);
    return size;
}

enum request_verdict h_fetch(struct request *rq)
{
    const struct fetch_request *body = rq->body;
    struct fetch_response *out = rq->response;
    if (rq->state == NULL) {
        fetch_prepare(rq, loop_now_ms(rq->io->loop));
    }
    struct fetch *st = rq->state;
    if (st->context.error != KAFKA_ERROR_NONE) {
        out->error_code = (int16_t)st->context.error;
        return REQUEST_DONE;
    }
    st->bound = body->isolation_level == 1 ? PLOG_TO_LAST_STABLE : PLOG_TO_HIGH_WATERMARK;
    st->max_bytes = min_i64(body->max_bytes, rq->br->fetch_max_bytes);
    st->min_bytes = body->min_bytes;
    rq->on_abandon = on_abandon;
    timer_init(&rq->timer, on_timeout, rq);
    enter(st, FETCH_RESOLVE);
    go(st);
    return REQUEST_PARKED;
}
