/*
 * Requests; see request.h: their life between dispatch, which starts them and calls the handlers,
 * and the answer; and what every handler asks of its request. Kafka: RequestChannel.Request,
 * RequestContext, RequestUtils.
 *
 * An answer that has grown beyond LIGHT_ANSWER_BYTES is encoded by a worker.
 */
#include "broker/request.h"

#include "base/err.h"
#include "broker/broker.h"

#define LIGHT_ANSWER_BYTES ((size_t)128 << 10) /* of its arena */
#define OFFLOAD_CHARGE     (INT64_C(1) << 20)
#define FREE_REQUESTS_MAX  256
#define ERROR_LOG_MS       1000

/* ---- begin and end ---- */

void request_conn_release(struct request_conn *rc)
{
    if (rc->is_closed && rc->slots == 0) {
        mem_free(rc);
    }
}

static void count_started(struct request *rq, int delta)
{
    struct request_conn *rc = rq->conn;
    rc->started += (uint32_t)delta;
    rc->kind = delta > 0 ? rq->api->key : rc->kind;
    if (!rq->api->concurrent) {
        rc->exclusive += (uint32_t)delta;
    }
}

void request_hold(struct request *rq)
{
    rq->conn->exclusive++;
}

void request_release_hold(struct request *rq)
{
    check(rq->conn->exclusive > 0);
    rq->conn->exclusive--;
}

static void free_request(struct io_step *step)
{
    struct request *rq = container_of(step, struct request, step);
    arena_release(&rq->arena);
    mem_free(rq);
}

static struct request *take(struct io_thread *io)
{
    struct list *node = list_pop_front(&io->free_requests);
    if (node != NULL) {
        io->free_count--;
        return list_entry(node, struct request, step.link);
    }
    return mem_zalloc(sizeof(struct request));
}

static void give(struct io_thread *io, struct request *rq)
{
    if (io->free_count >= FREE_REQUESTS_MAX) {
        free_request(&rq->step);
        return;
    }
    arena_reset(&rq->arena);
    struct arena arena = rq->arena;
    memset(rq, 0, sizeof(*rq));
    rq->arena = arena;
    rq->step.run = free_request;
    list_push_front(&io->free_requests, &rq->step.link);
    io->free_count++;
}

struct request *request_start(struct io_thread *io, struct conn *cn, const struct api_info *api)
{
    struct request *rq = take(io);
    rq->io = io;
    rq->br = io->br;
    rq->api = api;
    rq->conn = conn_data(cn);
    rq->received_ns = loop_mono_ns(io->loop);
    rq->received_ms = loop_now_ms(io->loop);
    rq->response = arena_alloc(&rq->arena, msg_size(api->response));
    msg_init(api->response, rq->response);
    conn_start(cn, &rq->slot);
    rq->conn->slots++;
    count_started(rq, 1);
    return rq;
}

void request_release(struct request *rq)
{
    struct request_conn *rc = rq->conn;
    rc->slots--;
    blob_unref(rq->blob);
    image_unref(rq->image);
    if (rq->charge > 0) {
        background_give(rq->br->background, rq->charge);
    }
    give(rq->io, rq);
    request_conn_release(rc);
}

/* Everything that a request holds but its memory, which request_release gives back when the answer
 * has left. */
static void settle(struct request *rq)
{
    timers_disarm(loop_timers(rq->io->loop), &rq->timer);
    count_started(rq, -1);
    if (rq->is_alone) {
        request_release_hold(rq);
    }
    rq->on_abandon = NULL;
    rq->is_settled = true;
}

/* ---- the answer ---- */

/* Any thread that has the request. */
static int encode(struct request *rq, struct writer *w, struct rope *ret)
{
    if (rq->before_encoding != NULL) {
        rq->before_encoding(rq);
    }
    uint8_t *size_at = writer_room(w, 4);
    writer_i32(w, rq->correlation_id);
    if (api_response_header_version(rq->api->key, rq->version) >= 1) {
        writer_uvarint(w, 0);
    }
    int r = codec_encode(rq->api->response, rq->version, rq->response, w);
    size_t size = writer_size(w) - 4;
    writer_finish(w, ret);
    if (rq->after_encoding != NULL) {
        rq->after_encoding(rq);
    }
    if (r < 0 || size > INT32_MAX) {
        rope_release(ret);
        return r < 0 ? r : ERR_TOO_LARGE;
    }
    store_be32(size_at, (uint32_t)size);
    return 0;
}

static void answer(struct request *rq, int result, struct rope *rope)
{
    if (result < 0) {
        LOG_ERROR(rq->br->logger, FAC_BROKER,
                  "answer to %s version %d cannot be encoded: %s; its connection is closed",
                  rq->api->name, rq->version, err_text(result));
        request_fail(rq);
        return;
    }
    settle(rq);
    conn_answer(&rq->slot, rope);
}

void request_answer_encoded(struct request *rq)
{
    answer(rq, rq->encode_result, &rq->encoded);
}

static void answer_encoded(struct job *j)
{
    request_answer_encoded(container_of(j, struct request, heavy.job));
}

void request_encode(struct request *rq)
{
    struct writer w;
    writer_init(&w);
    rq->encode_result = encode(rq, &w, &rq->encoded);
    writer_release(&w);
    arena_release(&rq->arena);
    rq->blob = blob_unref(rq->blob);
}

static void run_encode(struct job *j)
{
    struct request *rq = container_of(j, struct request, heavy.job);
    request_encode(rq);
    j->run = answer_encoded;
    check(loop_post(rq->io->loop, j)); /* loops outlive the workers */
}

void request_finish(struct request *rq)
{
    struct rope rope;
    if (rq->is_abandoned && rq->after_encoding == NULL) {
        rope_init(&rope);
        answer(rq, 0, &rope);
        return;
    }
    if (rq->arena.used <= LIGHT_ANSWER_BYTES) {
        int r = encode(rq, &rq->io->writer, &rope);
        answer(rq, r, &rope);
        return;
    }
    if (rq->image == NULL) {
        rq->image = image_ref(io_thread_image(rq->io));
    }
    rq->heavy = (struct heavy_task){.job.run = run_encode};
    background_post_heavy(rq->br->background, &rq->heavy);
}

void request_fail(struct request *rq)
{
    settle(rq);
    conn_fail(&rq->slot);
}

void request_finish_silent(struct request *rq)
{
    settle(rq);
    conn_answer(&rq->slot, NULL);
}

void request_end(struct request *rq, enum request_verdict verdict)
{
    switch (verdict) {
    case REQUEST_DONE:
        request_finish(rq);
        break;
    case REQUEST_PARKED:
        break;
    case REQUEST_CLOSE:
        request_fail(rq);
        break;
    case REQUEST_SILENT:
        request_finish_silent(rq);
        break;
    }
}

void request_drop(struct request *rq)
{
    request_finish_silent(rq);
}

/* ---- what handlers ask ---- */

static void go_on_step(struct io_step *step)
{
    struct request *rq = container_of(step, struct request, step);
    rq->go_on(rq);
}

void request_go_on(struct request *rq, void (*go_on)(struct request *rq))
{
    rq->go_on = go_on;
    rq->step.run = go_on_step;
    io_thread_go_on(rq->io, &rq->step);
}

struct offload {
    struct heavy_task task;
    struct request *rq;
    void (*work)(struct request *rq);
    void (*done)(struct request *rq);
};

static void offload_done(struct job *j)
{
    struct offload *ol = container_of(j, struct offload, task.job);
    ol->done(ol->rq);
}

static void offload_work(struct job *j)
{
    struct offload *ol = container_of(j, struct offload, task.job);
    ol->work(ol->rq);
    j->run = offload_done;
    check(loop_post(ol->rq->io->loop, j)); /* loops outlive the workers */
}

void request_offload(struct request *rq,
                     void (*work)(struct request *rq),
                     void (*done)(struct request *rq))
{
    struct offload *ol = arena_alloc(&rq->arena, sizeof(*ol));
    ol->task.job.run = offload_work;
    ol->rq = rq;
    ol->work = work;
    ol->done = done;
    if (rq->charge == 0) {
        rq->charge = OFFLOAD_CHARGE;
        ol->task.charge = OFFLOAD_CHARGE;
    }
    background_post_heavy(rq->br->background, &ol->task);
}

struct image *request_image(struct request *rq)
{
    return rq->image != NULL ? rq->image : io_thread_image(rq->io);
}

void request_hold_image(struct request *rq, struct image *im)
{
    if (im != NULL) {
        image_unref(rq->image);
        rq->image = image_ref(im);
    }
}

bool authorize(struct request *rq, int8_t operation, int8_t resource_type, struct str resource_name)
{
    (void)rq;
    (void)operation;
    (void)resource_type;
    (void)resource_name;
    return true; /* no authorizer is configured: everybody may do everything, as in Kafka */
}

int32_t authorized_operations(struct request *rq, int8_t resource_type, struct str resource_name)
{
    static const uint8_t of_topic[] = {
        ACL_READ,  ACL_WRITE,    ACL_CREATE,           ACL_DELETE,
        ACL_ALTER, ACL_DESCRIBE, ACL_DESCRIBE_CONFIGS, ACL_ALTER_CONFIGS};
    static const uint8_t of_group[] = {ACL_READ, ACL_DELETE, ACL_DESCRIBE, ACL_DESCRIBE_CONFIGS,
                                       ACL_ALTER_CONFIGS};
    static const uint8_t of_cluster[] = {
        ACL_CREATE,           ACL_ALTER,         ACL_DESCRIBE,        ACL_CLUSTER_ACTION,
        ACL_DESCRIBE_CONFIGS, ACL_ALTER_CONFIGS, ACL_IDEMPOTENT_WRITE};
    const uint8_t *operations = resource_type == RESOURCE_TOPIC   ? of_topic
                                : resource_type == RESOURCE_GROUP ? of_group
                                                                  : of_cluster;
    size_t count = resource_type == RESOURCE_TOPIC   ? sizeof(of_topic)
                   : resource_type == RESOURCE_GROUP ? sizeof(of_group)
                                                     : sizeof(of_cluster);
    uint32_t mask = 0;
    for (size_t i = 0; i < count; i++) {
        if (authorize(rq, (int8_t)operations[i], resource_type, resource_name)) {
            mask |= UINT32_C(1) << operations[i];
        }
    }
    return (int32_t)mask;
}

enum kafka_error kafka_error_from(struct request *rq, int err)
{
    if (err_is_passing(err)) {
        return KAFKA_ERROR_KAFKA_STORAGE_ERROR;
    }
    switch (err) {
    case -EIO:
    case -EROFS:
    case -EACCES: /* Kafka: any IOException */
    case -EPERM:
    case -ENOENT:
    case -ENOTDIR:
    case -EISDIR:
    case -ELOOP:
    case -ENXIO:
    case -ENODEV:
    case -ESTALE:
    case -EUCLEAN:
    case -EBADMSG:
    case ERR_OFFLINE:
        return KAFKA_ERROR_KAFKA_STORAGE_ERROR;
    case ERR_CORRUPT:
        return KAFKA_ERROR_CORRUPT_MESSAGE;
    case ERR_CLOSED:
        return KAFKA_ERROR_BROKER_NOT_AVAILABLE;
    default:
        break;
    }
    struct log_left_out left_out;
    if (log_limit_pass(&rq->io->error_limit, rq->br->clock, ERROR_LOG_MS, &left_out)) {
        LOG_ERROR(rq->br->logger, FAC_BROKER, "%s failed in a way that has no Kafka error: %s%s",
                  rq->api->name, err_text(err), left_out.text);
    }
    return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
}

const struct broker_listener *request_listener(const struct request *rq)
{
    return rq->conn->listener;
}
