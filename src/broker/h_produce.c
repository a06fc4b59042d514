/*
 * Produce 3-13 (Kafka: KafkaApis.handleProduceRequest, ReplicaManager.appendRecords).
 *
 * Each partition of the request is looked up, its batch checked and staged; the answer leaves when
 * every staged batch is acknowledged: written at the end of this turn, and in the durable mode
 * flushed by a round that covers it. acks=1 and acks=-1 are the same with one replica; acks=0 is
 * never answered, and an error closes its connection, the only way to tell such a client; it waits
 * like the others, so that the next request of its connection sees what it wrote.
 *
 * Of a partition that is named twice only the last batch that can be one is written, and one answer
 * given: that of the last batch that could not be one, where there is such a batch (observed of
 * 4.4).
 *
 * A request may name tens of thousands of partitions, and a batch may be long to check: the work is
 * done in pieces of a turn of the loop (request_go_on), long batches are checked by a worker. The
 * connection starts nothing else meanwhile (request_hold), so that the order within a partition
 * stays.
 */
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/lookup.h"
#include "broker/partition.h"
#include "broker/request.h"
#include "broker/topic_groups.h"
#include "meta/controller.h"

#define PIECE            16     /* partitions between two looks at the clock */
#define HEAVY_NS         200000 /* a batch that is longer to check goes to a worker: */
#define CRC_BYTES_A_NS   8
#define RECORD_NS        12
#define RECORD_BYTES_MIN 7
#define LENGTH_AT        8
#define LENGTH_MIN       14 /* of a message of any format, behind its length */
#define ATTRIBUTES_AT    21
#define TIMEOUT_LEAST_MS \
    1000 /* our acks wait for a disk: a client's timeout below this would only be noise */

/* One partition of the request. */
struct entry {
    struct waiter waiter;
    struct produce_response_partition_produce_response *out;
    const struct produce_request_partition_produce_data *in;
    struct str topic;
    struct uuid topic_id;
    struct partition *p; /* a reference; NULL when refused before */
    struct plog_append append;
    struct validate_result validated;
    bool is_heavy;   /* to be validated by a worker */
    bool must_frame; /* so is its header */
    bool is_superseded;
};

struct state {
    struct request *rq;
    struct entry *entries;
    int32_t count;
    int32_t next; /* of the piece at hand */
    bool is_held; /* request_hold */
    bool any_heavy;
    bool is_transactional;
    int32_t pending; /* entries whose acknowledgement is awaited */
    bool staging;    /* h_produce is still at work: nobody finishes the request */
    bool has_error;
    bool fails_request; /* one bad batch fails all partitions, with: */
    enum kafka_error request_error;
    const char *request_message;
};

static void refuse(struct entry *e, enum kafka_error error, const char *message)
{
    e->out->error_code = (int16_t)error;
    e->out->base_offset = -1;
    e->out->error_message = str_from(message);
}

static void release(struct state *st)
{
    for (int32_t i = 0; i < st->count; i++) {
        st->entries[i].p = partition_unref(st->entries[i].p);
        st->entries[i].validated.rebuilt = blob_unref(st->entries[i].validated.rebuilt);
    }
}

static enum request_verdict verdict_of(struct state *st)
{
    const struct produce_request *body = st->rq->body;
    release(st);
    if (body->acks != 0) {
        return REQUEST_DONE;
    }
    return st->has_error ? REQUEST_CLOSE : REQUEST_SILENT;
}

static void finish(struct state *st)
{
    request_end(st->rq, verdict_of(st));
}

/* The batch is acknowledged, or its write or flush failed. */
static void on_acknowledged(struct waiter *w)
{
    struct entry *e = container_of(w, struct entry, waiter);
    struct state *st = w->rq->state;
    if (w->error != KAFKA_ERROR_NONE) {
        refuse(e, w->error,
               w->error == KAFKA_ERROR_KAFKA_STORAGE_ERROR
                   ? "The records could not be stored: the disk is full or failed."
                   : NULL);
    }
    if (--st->pending == 0 && !st->staging) {
        finish(st);
    }
}

static void on_timeout(struct timer *t, void *ctx)
{
    (void)t;
    struct request *rq = ctx;
    struct state *st = rq->state;
    for (int32_t i = 0; i < st->count; i++) {
        struct entry *e = &st->entries[i];
        if (e->p != NULL &&
            (list_is_linked(&e->waiter.link) || list_is_linked(&e->waiter.ready_link))) {
            waiter_cancel(&e->waiter);
            refuse(e, KAFKA_ERROR_REQUEST_TIMED_OUT,
                   "The records were not on stable storage in time; they may be later.");
        }
    }
    st->pending = 0;
    finish(st);
}

static void refuse_all(struct state *st, enum kafka_error error, const char *message)
{
    for (int32_t i = 0; i < st->count; i++) {
        refuse(&st->entries[i], error, message);
    }
    st->has_error = st->count > 0;
}

/* As far as Kafka looks: a size and a magic that are possible, and as many bytes. */
static bool is_transactional_batch(const struct records *records)
{
    const uint8_t *p = records->ptr;
    if (records->len < ATTRIBUTES_AT + 2 || p[BATCH_MAGIC_AT] != 2) {
        return false;
    }
    int32_t length = (int32_t)load_be32(p + LENGTH_AT);
    return length >= LENGTH_MIN && (size_t)length <= records->len - BATCH_OVERHEAD &&
           (load_be16(p + ATTRIBUTES_AT) & BATCH_TRANSACTIONAL) != 0;
}

/* A transactional batch without a producer id is in no transaction: Kafka writes it as it is. */
static bool is_in_transaction(const struct records *records)
{
    struct batch b;
    return is_transactional_batch(records) &&
           batch_peek_header(records->ptr, records->len, &b) >= 0 && b.producer_id >= 0;
}

/* Kafka looks through the first batches for a transactional one before it does anything else; one
 * without a size or magic that it knows ends that, and fails the request. */
static void look_through(struct state *st, const struct produce_request *body)
{
    for (int32_t i = 0; i < body->topic_data.count; i++) {
        const struct produce_request_topic_produce_data *td = &body->topic_data.items[i];
        for (int32_t j = 0; j < td->partition_data.count; j++) {
            const struct records *records = &td->partition_data.items[j].records;
            bool fails_request = false;
            const char *message = NULL;
            enum kafka_error error = validate_request(records->ptr, records->len, st->rq->version,
                                                      &fails_request, &message);
            if (fails_request && error == KAFKA_ERROR_CORRUPT_MESSAGE) {
                st->fails_request = true;
                st->request_error = error;
                st->request_message = message;
                return;
            }
            if (is_transactional_batch(records)) {
                st->is_transactional = true;
                return;
            }
        }
    }
}

/* What the log says becomes the partition's answer. */
static void
take_result(struct state *st, struct entry *e, int r, const struct plog_append_result *result)
{
    struct arena *arena = &st->rq->arena;
    if (r < 0) {
        refuse(e, lookup_failure(st->rq, e->p, r), NULL);
        st->has_error = true;
        return;
    }
    e->out->log_start_offset = result->log_start;
    if (result->error != KAFKA_ERROR_NONE) {
        refuse(e, result->error, result->message);
        st->has_error = true;
        e->out->record_errors.count = result->record_errors_count;
        e->out->record_errors.items = arena_alloc(arena, (size_t)result->record_errors_count *
                                                             sizeof(*e->out->record_errors.items));
        for (int32_t i = 0; i < result->record_errors_count; i++) {
            e->out->record_errors.items[i] = produce_response_batch_index_and_error_message_default;
            e->out->record_errors.items[i].batch_index = result->record_errors[i].batch_index;
            e->out->record_errors.items[i].batch_index_error_message =
                str_from(result->record_errors[i].message);
        }
        return;
    }
    e->out->base_offset = result->base_offset;
    e->out->log_append_time_ms = result->append_time_ms;
}

static void stage(struct state *st, struct entry *e)
{
    struct request *rq = st->rq;
    struct plog_append_result result;
    struct waiter *w = &e->waiter;
    *w = (struct waiter){
        .p = e->p, .io = rq->io, .rq = rq, .slot = &rq->slot, .wake = on_acknowledged};
    size_t dirty = rq->io->dirty_count;
    int r = partition_append_validated(e->p, rq->io, &e->append, &e->validated, &result, w);
    loop_owe(rq->io->loop, io_thread_write_ns(rq->io, rq->io->dirty_count - dirty, e->append.size));
    if (r >= 0 && result.error == KAFKA_ERROR_NONE) {
        st->pending++;
    }
    take_result(st, e, r, &result);
}

/* Checks that need no log; true when the batch may be staged. */
static bool check_entry(struct state *st, struct entry *e, bool id_known)
{
    struct request *rq = st->rq;
    const struct produce_request *body = rq->body;
    enum kafka_error error = KAFKA_ERROR_NONE;
    if (rq->version >= 13) {
        const struct image_topic *t = image_topic_by_id(request_image(rq), &e->topic_id);
        error =
            t == NULL ? KAFKA_ERROR_UNKNOWN_TOPIC_ID : lookup_partition(rq, t, e->in->index, &e->p);
        e->topic = t == NULL ? (struct str){0} : t->name;
    } else {
        error = lookup_by_name(rq, e->topic, e->in->index, &e->p);
    }
    if (error != KAFKA_ERROR_NONE) {
        refuse(e, error, NULL);
        return false;
    }
    if (!authorize(rq, ACL_WRITE, RESOURCE_TOPIC, e->topic)) {
        refuse(e, KAFKA_ERROR_TOPIC_AUTHORIZATION_FAILED, NULL);
        return false;
    }
    const char *message = NULL;
    bool fails_request = false;
    error = validate_request(e->in->records.ptr, e->in->records.len, rq->version, &fails_request,
                             &message);
    if (fails_request && error != KAFKA_ERROR_CORRUPT_MESSAGE) {
        st->fails_request = true;
        st->request_error = error;
        st->request_message = message;
    }
    if (error == KAFKA_ERROR_NONE && (body->acks < -1 || body->acks > 1)) {
        error = KAFKA_ERROR_INVALID_REQUIRED_ACKS;
    }
    if (error == KAFKA_ERROR_NONE && !id_known) {
        error = KAFKA_ERROR_INVALID_PRODUCER_ID_MAPPING; /* no transaction has begun: none can */
    }
    if (error == KAFKA_ERROR_NONE && controller_topic_is_internal(e->topic) &&
        !str_is(rq->client_id, "__admin_client")) {
        error = KAFKA_ERROR_INVALID_TOPIC_EXCEPTION;
    }
    if (error != KAFKA_ERROR_NONE) {
        refuse(e, error, message);
        return false;
    }
    e->append.blob = rq->blob;
    e->append.bytes = (uint8_t *)(uintptr_t)e->in->records.ptr; /* ours alone: stamped in place */
    e->append.origin = PLOG_CLIENT;
    e->append.leader_epoch = atomic_load_explicit(&e->p->leader_epoch, memory_order_relaxed);
    e->append.now_ms = loop_wall_ms(rq->io->loop);
    e->append.arena = &rq->arena;
    return true;
}

/* What the log asks of the header, and the CRC. Loop, or a worker; true when the batch is good so
 * far. */
static bool check_frame(struct state *st, struct entry *e)
{
    struct validate_rules rules;
    const char *message = NULL;
    plog_rules(e->p->pl, &rules);
    enum kafka_error error = validate_frame(e->in->records.ptr, e->in->records.len, &rules,
                                            st->rq->version, &e->append.batch, &message);
    if (error == KAFKA_ERROR_NONE) {
        e->append.size = e->append.batch.size;
        return true;
    }
    if (error == KAFKA_ERROR_INVALID_RECORD || error == KAFKA_ERROR_UNKNOWN_SERVER_ERROR) {
        /* A refusal of the log, not of the request: Kafka then tells where the log starts. */
        struct plog_offsets offsets;
        plog_offsets(e->p->pl, &offsets);
        e->out->log_start_offset = offsets.log_start;
    }
    refuse(e, error, message);
    return false;
}

static void drop(struct state *st, struct entry *e)
{
    st->has_error = true;
    e->append.blob = NULL; /* not to be staged */
    e->p = partition_unref(e->p);
}

static bool is_long_to_check(const struct records *records)
{
    struct batch b;
    if (records->ptr == NULL || batch_peek_header(records->ptr, records->len, &b) < 0) {
        return false;
    }
    int64_t count = min_i64(max_i64(b.records_count, 0), to_i64(records->len / RECORD_BYTES_MIN));
    return to_i64(records->len / CRC_BYTES_A_NS) + count * RECORD_NS > HEAVY_NS;
}

static void check_one(struct state *st, struct entry *e)
{
    if (!check_entry(st, e, !is_in_transaction(&e->in->records))) {
        drop(st, e);
        return;
    }
    e->must_frame = is_long_to_check(&e->in->records);
    e->is_heavy = e->must_frame;
    if (!e->is_heavy) {
        if (!check_frame(st, e)) {
            drop(st, e);
            return;
        }
        e->is_heavy = validate_is_heavy(&e->append.batch);
    }
    if (!e->is_heavy) {
        e->append.may_defer = true;
        plog_validate(e->p->pl, &e->append, &e->validated);
        e->is_heavy = e->validated.is_unfinished;
    }
    st->any_heavy = st->any_heavy || e->is_heavy;
}

static void park(struct state *st)
{
    const struct produce_request *body = st->rq->body;
    int64_t timeout_ms = max_i64(body->timeout_ms, TIMEOUT_LEAST_MS);
    timer_init(&st->rq->timer, on_timeout, st->rq);
    timers_arm(loop_timers(st->rq->io->loop), &st->rq->timer,
               loop_now_ms(st->rq->io->loop) + timeout_ms);
}

static void validate_heavy(struct request *rq)
{
    struct state *st = rq->state;
    for (int32_t i = 0; i < st->count; i++) {
        struct entry *e = &st->entries[i];
        if (e->p != NULL && e->is_heavy) {
            if (e->must_frame && !check_frame(st, e)) {
                drop(st, e);
                continue;
            }
            e->append.may_defer = false;
            plog_validate(e->p->pl, &e->append, &e->validated);
        }
    }
}

static void hold(struct state *st)
{
    if (!st->is_held) {
        st->is_held = true;
        request_hold(st->rq);
    }
}

static void let_go(struct state *st)
{
    if (st->is_held) {
        st->is_held = false;
        request_release_hold(st->rq);
    }
}

/* True: a piece is done, and there is no time for another. */
static bool is_late(const struct state *st)
{
    return st->next % PIECE == 0 && st->next < st->count && loop_slice_is_over(st->rq->io->loop);
}

static void stage_some(struct request *rq);

static void on_room(struct waiter *w)
{
    stage_some(w->rq);
}

/* Stages batches; false: there are more, in the next turn. */
static bool stage_piece(struct state *st)
{
    struct loop *loop = st->rq->io->loop;
    st->staging = true;
    for (bool is_first = true; st->next < st->count; st->next++) {
        struct entry *e = &st->entries[st->next];
        if (e->is_superseded || e->p == NULL || e->append.blob == NULL) {
            continue;
        }
        if (!loop_may_owe(loop, io_thread_write_ns(st->rq->io, 1, e->append.size)) ||
            (!is_first && loop_slice_is_over(loop))) {
            hold(st);
            request_go_on(st->rq, stage_some);
            return false;
        }
        e->waiter = (struct waiter){
            .p = e->p, .io = st->rq->io, .rq = st->rq, .slot = &st->rq->slot, .wake = on_room};
        if (partition_wait_for_room(e->p, st->rq->io, &e->waiter)) {
            hold(st);
            return false;
        }
        is_first = false;
        stage(st, e);
    }
    st->staging = false;
    let_go(st);
    return true;
}

static void stage_some(struct request *rq)
{
    struct state *st = rq->state;
    if (!stage_piece(st)) {
        return;
    }
    if (st->pending == 0) {
        finish(st);
    } else {
        park(st);
    }
}

static void on_validated(struct request *rq)
{
    struct state *st = rq->state;
    st->next = 0;
    stage_some(rq);
}

static enum request_verdict check_piece(struct state *st);

static void check_some(struct request *rq)
{
    request_end(rq, check_piece(rq->state));
}

/* Checks the partitions, and goes on to staging them. */
static enum request_verdict check_piece(struct state *st)
{
    while (st->next < st->count) {
        struct entry *e = &st->entries[st->next++];
        if (!e->is_superseded) {
            check_one(st, e);
        }
        if (is_late(st)) {
            hold(st);
            request_go_on(st->rq, check_some);
            return REQUEST_PARKED;
        }
    }
    if (st->fails_request) {
        refuse_all(st, st->request_error, st->request_message);
        let_go(st);
        return verdict_of(st);
    }
    if (st->any_heavy) {
        hold(st);
        request_offload(st->rq, validate_heavy, on_validated);
        return REQUEST_PARKED;
    }
    st->next = 0;
    if (!stage_piece(st)) {
        return REQUEST_PARKED;
    }
    if (st->pending == 0) {
        return verdict_of(st);
    }
    park(st);
    return REQUEST_PARKED;
}

/* A partition that is named more than once. */
struct twins {
    struct entry *written; /* the last batch that can be one */
    struct entry *refused; /* the last that cannot, or one that fails the request: the answer */
    bool fails_request;
    struct produce_response_partition_produce_response *out;
};

/* What is written beside an error is told to nobody. */
static void answer_nobody(struct state *st, struct entry *e)
{
    e->out = arena_alloc(&st->rq->arena, sizeof(*e->out));
    *e->out = produce_response_partition_produce_response_default;
}

static void
take_place_of_twins(struct state *st, struct topic_groups *tg, size_t group, struct entry *e)
{
    struct named_partition *np = topic_groups_partition(tg, group, e->in->index);
    struct twins *twins = np->user;
    if (twins == NULL) {
        twins = arena_alloc(&st->rq->arena, sizeof(*twins));
        *twins = (struct twins){.out = e->out};
        np->user = twins;
    }
    e->out = twins->out;
    bool had_failed = twins->fails_request;
    bool fails_request = false;
    const char *message = NULL;
    bool is_good = validate_request(e->in->records.ptr, e->in->records.len, st->rq->version,
                                    &fails_request, &message) == KAFKA_ERROR_NONE;
    twins->fails_request = had_failed || fails_request;
    if (!is_good && had_failed) {
        e->is_superseded = true;
        return;
    }
    struct entry **place = is_good ? &twins->written : &twins->refused;
    if (*place != NULL) {
        (*place)->is_superseded = true;
    }
    *place = e;
    if (twins->refused != NULL && twins->written != NULL) {
        answer_nobody(st, twins->written);
    }
}

/* Where the entry's answer stands: a partition that was named before has its place already. */
static void take_place(struct state *st,
                       struct topic_groups *tg,
                       size_t group,
                       struct produce_response_topic_produce_response *tr,
                       struct entry *e)
{
    int32_t count = tr->partition_responses.count;
    e->out = &tr->partition_responses.items[count];
    if (tg->partitions[group] > 1) {
        take_place_of_twins(st, tg, group, e);
    }
    if (e->out == &tr->partition_responses.items[count]) {
        tr->partition_responses.count++;
        *e->out = produce_response_partition_produce_response_default;
        e->out->index = e->in->index;
    }
}

/* Lays out the answer: a topic for each one that names partitions (once), a partition for each one
 * named (once). */
static void
lay_out(struct state *st, const struct produce_request *body, struct produce_response *out)
{
    struct request *rq = st->rq;
    struct arena *arena = &rq->arena;
    const struct topic_source source =
        rq->version >= 13
            ? TOPIC_SOURCE(body->topic_data, struct produce_request_topic_produce_data, topic_id,
                           partition_data, true)
            : TOPIC_SOURCE(body->topic_data, struct produce_request_topic_produce_data, name,
                           partition_data, false);
    struct topic_groups tg;
    topic_groups_init(&tg, &source, arena, (uint64_t)rq->received_ns);
    st->entries = arena_alloc(arena, (tg.total + 1) * sizeof(*st->entries));
    out->responses.items = arena_alloc(arena, (tg.count + 1) * sizeof(*out->responses.items));
    out->responses.count = (int32_t)tg.count;
    for (size_t i = 0; i < tg.count; i++) {
        struct produce_response_topic_produce_response *tr = &out->responses.items[i];
        *tr = produce_response_topic_produce_response_default;
        tr->name = body->topic_data.items[tg.first[i]].name;
        tr->topic_id = body->topic_data.items[tg.first[i]].topic_id;
        tr->partition_responses.items =
            arena_alloc(arena, tg.partitions[i] * sizeof(*tr->partition_responses.items));
    }
    for (size_t i = 0; i < source.count; i++) {
        const struct produce_request_topic_produce_data *td = &body->topic_data.items[i];
        for (int32_t j = 0; j < td->partition_data.count; j++) {
            struct entry *e = &st->entries[st->count++];
            e->in = &td->partition_data.items[j];
            e->topic = td->name;
            e->topic_id = td->topic_id;
            take_place(st, &tg, tg.of[i], &out->responses.items[tg.of[i]], e);
        }
    }
    topic_groups_release(&tg);
}

void produce_prepare(struct request *rq)
{
    struct state *st = arena_alloc(&rq->arena, sizeof(*st));
    st->rq = rq;
    rq->state = st;
    lay_out(st, rq->body, rq->response);
    look_through(st, rq->body);
}

enum request_verdict h_produce(struct request *rq)
{
    const struct produce_request *body = rq->body;
    if (rq->state == NULL) {
        produce_prepare(rq);
    }
    struct state *st = rq->state;
    if (st->fails_request) {
        refuse_all(st, st->request_error, st->request_message);
        return verdict_of(st);
    }
    if (st->is_transactional &&
        (str_is_null(body->transactional_id) ||
         !authorize(rq, ACL_WRITE, RESOURCE_TRANSACTIONAL_ID, body->transactional_id))) {
        refuse_all(st, KAFKA_ERROR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, NULL);
        return verdict_of(st);
    }
    return check_piece(st);
}
