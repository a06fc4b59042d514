/*
 * Dispatch: see dispatch.h. Kafka: RequestContext.parseRequest, SocketServer, KafkaApis.handle.
 *
 * What ends a connection without an answer: a header that cannot be read, an API that is not served
 * here, a version out of range (but for ApiVersions, which answers in version 0 what it knows), a
 * body that cannot be read. Extra bytes after a body are ignored.
 *
 * What is too long for a turn goes to a worker. Long is, before it is looked at, a frame above
 * LIGHT_FRAME_BYTES (Produce and Fetch: a body that takes more than LIGHT_DECODE_BYTES), and a
 * question whose answer is about more than LIGHT_PARTITIONS; and in the end, as request.c sees it,
 * an answer that has grown long:
 *
 *   loop     header, order, image; then a heavy task
 *   worker   decode; handle; encode; the memory is released here too (Produce, Fetch: only decode)
 *   loop     the answer (Produce, Fetch: handle, in pieces)
 */
#include "broker/dispatch.h"

#include "base/err.h"
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"
#include "broker/request.h"
#include "config/config.h"

#define ARENA_FACTOR       16 /* memory of a decoded body: at most so many times its bytes */
#define ARENA_BASE         ((size_t)1 << 20)  /* and this; a handler may lift it */
#define DECODE_BYTES_MAX   ((size_t)24 << 20) /* this at most, however long the frame */
#define HEADER_TAGS_MAX    10000              /* they are skipped on the loop */
#define BAD_FRAME_LOG_MS   1000
#define LIGHT_FRAME_BYTES  ((size_t)4096)
#define LIGHT_DECODE_BYTES ((size_t)64 << 10)
#define LIGHT_PARTITIONS   200
#define CHARGE_FACTOR      8    /* bytes that a worker will need for a byte of a frame, about */
#define CHARGE_PARTITION   250  /* and for a partition that is described */
#define CHARGE_RESOURCE    8192 /* and for all configs of one */
#define CHARGE_LEAST       (INT64_C(64) << 10)
#define SMALL_FRAME_BYTES  ((size_t)4096)
#define CLIENT_ID_AT       10 /* in a frame: key, version, correlation id, length */

typedef enum request_verdict handler_fn(struct request *rq);

struct api_row {
    handler_fn *handler;
};

/* One row an API, from proto-specs/served.json. */
static const struct api_row api_table[API_KEY_MAX + 1] = {
#define ROW(key, function) [key] = {.handler = (function)},
    API_HANDLERS(ROW)
#undef ROW
};

struct header {
    int16_t key;
    int16_t version;
    int32_t correlation_id;
    struct str client_id;
};

/* The part that all header versions share. */
static bool read_header(struct cursor *c, struct header *ret)
{
    ret->key = cursor_i16(c);
    ret->version = cursor_i16(c);
    ret->correlation_id = cursor_i32(c);
    int16_t len = cursor_i16(c);
    ret->client_id = (struct str){0};
    if (len >= 0) {
        const uint8_t *p = cursor_take(c, (size_t)len);
        ret->client_id = str_of((const char *)p, (size_t)len);
    }
    return !c->failed;
}

/* Tagged fields of a header: there is none that we know. */
static bool skip_tags(struct cursor *c)
{
    uint32_t count = cursor_uvarint(c);
    if (count > HEADER_TAGS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < count && !c->failed; i++) {
        (void)cursor_uvarint(c);
        uint32_t size = cursor_uvarint(c);
        if (cursor_take(c, size) == NULL && size > 0) {
            return false;
        }
    }
    return !c->failed;
}

static void
report_frame(struct io_thread *io, struct conn *cn, const char *why, const struct header *h)
{
    struct log_left_out left_out;
    if (log_limit_pass(&io->frame_limit, io->br->clock, BAD_FRAME_LOG_MS, &left_out)) {
        char peer[CONN_PEER_TEXT_SIZE];
        LOG_WARN(io->br->logger, FAC_NET,
                 "connection from %s is closed: %s (api key %d version %d)%s",
                 conn_peer_text(conn_peer(cn), peer), why, h->key, h->version, left_out.text);
    }
    metric_add(io->br->bad_frames, 1);
}

static enum conn_verdict
refuse_frame(struct io_thread *io, struct conn *cn, const char *why, const struct header *h)
{
    report_frame(io, cn, why, h);
    return CONN_CLOSE;
}

static struct request *
start(struct io_thread *io, struct conn *cn, const struct header *h, const struct api_info *api)
{
    struct request *rq = request_start(io, cn, api);
    rq->version = h->version;
    rq->correlation_id = h->correlation_id;
    rq->client_id = h->client_id;
    return rq;
}

/* In pieces: they have timers, waiters and an order to keep. */
static bool runs_on_loop(const struct api_info *api)
{
    return api->key == API_KEY_PRODUCE || api->key == API_KEY_FETCH;
}

static size_t decode_bytes_max(size_t frame_bytes)
{
    return min_size(frame_bytes * ARENA_FACTOR + ARENA_BASE, DECODE_BYTES_MAX);
}

/* Any thread that has the request. `max`: bytes of the arena. */
static int decode(struct request *rq, struct cursor *c, size_t max)
{
    rq->arena.limit = rq->arena.used + max;
    rq->body = arena_try_alloc(&rq->arena, msg_size(rq->api->request));
    int r = rq->body == NULL ? ERR_NO_MEMORY
                             : codec_decode(rq->api->request, rq->version, c, &rq->arena, rq->body);
    rq->arena.limit = 0;
    return r;
}

static void run(struct request *rq)
{
    request_end(rq, api_table[rq->api->key].handler(rq));
}

/* A worker has decoded it, and, unless it is Produce or Fetch, handled it too. */
static void run_handled(struct job *j)
{
    struct request *rq = container_of(j, struct request, heavy.job);
    if (runs_on_loop(rq->api)) {
        request_release_hold(rq);
    }
    if (!rq->is_decoded) {
        struct header h = {.key = rq->api->key, .version = rq->version};
        report_frame(rq->io, rq->slot.cn, err_text(rq->encode_result), &h);
        request_fail(rq);
        return;
    }
    if (runs_on_loop(rq->api)) {
        background_give(rq->br->background, rq->charge);
        rq->charge = 0;
        run(rq);
        return;
    }
    switch (rq->verdict) {
    case REQUEST_DONE:
        request_answer_encoded(rq);
        break;
    case REQUEST_CLOSE:
        request_fail(rq);
        break;
    case REQUEST_SILENT:
    case REQUEST_PARKED:
        request_finish_silent(rq);
        break;
    }
}

static void run_heavy(struct job *j)
{
    struct request *rq = container_of(j, struct request, heavy.job);
    if (!rq->is_decoded) {
        rq->encode_result = decode(rq, &rq->input, decode_bytes_max(cursor_left(&rq->input)));
        rq->is_decoded = rq->encode_result >= 0;
    }
    if (!rq->is_decoded) {
        arena_release(&rq->arena);
    }
    if (rq->is_decoded && rq->api->key == API_KEY_PRODUCE) {
        produce_prepare(rq);
    }
    if (rq->is_decoded && rq->api->key == API_KEY_FETCH) {
        fetch_prepare(rq, rq->received_ms);
    }
    if (rq->is_decoded && !runs_on_loop(rq->api)) {
        enum request_verdict verdict = api_table[rq->api->key].handler(rq);
        if (verdict == REQUEST_PARKED) {
            return; /* it belongs to others now, and may have ended already */
        }
        rq->verdict = verdict;
        if (verdict == REQUEST_DONE) {
            request_encode(rq);
        }
    }
    j->run = run_handled;
    check(loop_post(rq->io->loop, j)); /* loops outlive the workers */
}

static void start_heavy(struct request *rq, int64_t charge)
{
    rq->image = image_ref(io_thread_image(rq->io));
    rq->charge = max_i64(charge, CHARGE_LEAST);
    rq->heavy = (struct heavy_task){.job.run = run_heavy, .charge = rq->charge};
    rq->is_alone = rq->api->concurrent && !runs_on_loop(rq->api);
    if (rq->is_alone || runs_on_loop(rq->api)) {
        request_hold(rq); /* the next one must not overtake it */
    }
    background_post_heavy(rq->br->background, &rq->heavy);
}

/* What the partitions of the answer to a small Metadata request cost; 0: it is light. */
static int64_t charge_metadata(struct request *rq)
{
    const struct metadata_request *body = rq->body;
    const struct image *im = request_image(rq);
    size_t count = image_partitions_count(im);
    if (count <= LIGHT_PARTITIONS) {
        return 0;
    }
    if (body->topics.count > 0) {
        count = 0;
        for (int32_t i = 0; i < body->topics.count && i < LIGHT_PARTITIONS; i++) {
            const struct metadata_request_metadata_request_topic *mt = &body->topics.items[i];
            const struct image_topic *t = str_is_null(mt->name)
                                              ? image_topic_by_id(im, &mt->topic_id)
                                              : image_topic_by_name(im, mt->name);
            count += t == NULL ? 1 : (size_t)t->partitions_count;
        }
        count = body->topics.count > LIGHT_PARTITIONS ? image_partitions_count(im) : count;
    }
    return count <= LIGHT_PARTITIONS ? 0 : to_i64(count) * CHARGE_PARTITION;
}

/* What a decoded request will hold, about; 0: it is light. */
static int64_t charge_of(struct request *rq)
{
    size_t partitions = 0;
    switch (rq->api->key) {
    case API_KEY_METADATA:
        return charge_metadata(rq);
    case API_KEY_DESCRIBE_TOPIC_PARTITIONS:
        partitions = image_partitions_count(request_image(rq));
        return partitions <= LIGHT_PARTITIONS ? 0 : to_i64(partitions) * CHARGE_PARTITION;
    case API_KEY_FETCH:
        partitions = fetch_size(rq);
        return partitions <= LIGHT_PARTITIONS ? 0 : to_i64(partitions) * CHARGE_PARTITION;
    case API_KEY_DESCRIBE_PRODUCERS: /* of which nobody knows how many there are */
        return CHARGE_LEAST;
    default:
        return 0;
    }
}

/* ApiVersions of a version that we do not have: version 0's layout, error 35, and the range of
 * ApiVersions itself; the body is not looked at. */
static enum conn_verdict answer_unknown_api_versions(struct io_thread *io,
                                                     struct conn *cn,
                                                     const struct header *h,
                                                     const struct api_info *api)
{
    struct request *rq = start(io, cn, h, api);
    rq->version = 0;
    struct api_versions_response *out = rq->response;
    out->error_code = KAFKA_ERROR_UNSUPPORTED_VERSION;
    out->api_keys.items = arena_alloc(&rq->arena, sizeof(*out->api_keys.items));
    out->api_keys.count = 1;
    out->api_keys.items[0] = api_versions_response_api_version_default;
    out->api_keys.items[0].api_key = api->key;
    out->api_keys.items[0].min_version = api->min_version;
    out->api_keys.items[0].max_version = api->max_version;
    request_finish(rq);
    return CONN_TAKEN;
}

/* The frame in the arena, and the cursor over the copy. */
static uint8_t *arena_copy(struct arena *a, const uint8_t *frame, size_t len, struct cursor *c)
{
    size_t at = len - cursor_left(c);
    uint8_t *copy = arena_alloc(a, len);
    memcpy(copy, frame, len);
    *c = cursor_of(copy + at, len - at);
    return copy;
}

static enum conn_verdict
on_frame(void *ctx, struct conn *cn, struct blob *blob, uint8_t *frame, size_t len)
{
    struct io_thread *io = ctx;
    struct request_conn *rc = conn_data(cn);
    struct cursor c = cursor_of(frame, len);
    struct header h;
    if (!read_header(&c, &h)) {
        return refuse_frame(io, cn, "the request header cannot be read", &h);
    }
    const struct api_info *api = api_info_find(h.key);
    if (api == NULL || (api->listeners & API_LISTENER_BROKER) == 0) {
        return refuse_frame(io, cn, "this API is not served here", &h);
    }
    bool is_heavy = len > LIGHT_FRAME_BYTES && !runs_on_loop(api);
    /* What a worker has must not overtake what the loop has begun. */
    bool may_join = api->concurrent && !is_heavy && rc->kind == api->key;
    if (rc->exclusive > 0 || (rc->started > 0 && !may_join)) {
        return CONN_HOLD;
    }
    bool is_known = h.version >= api->handle_min && h.version <= api->max_version;
    if (!is_known && h.key != API_KEY_API_VERSIONS) {
        return refuse_frame(io, cn, "this version of the API is not supported", &h);
    }
    if (api_request_header_version(h.key, h.version) >= 2 && !skip_tags(&c)) {
        return refuse_frame(io, cn, "the tagged fields of the request header cannot be read", &h);
    }
    if (!is_known) {
        return answer_unknown_api_versions(io, cn, &h, api);
    }
    struct request *rq = start(io, cn, &h, api);
    if (h.key != API_KEY_PRODUCE && len <= SMALL_FRAME_BYTES) {
        /* A request that may wait long shall not hold a whole receive buffer. */
        frame = arena_copy(&rq->arena, frame, len, &c);
        rq->client_id.ptr = str_is_null(h.client_id) ? NULL : (const char *)frame + CLIENT_ID_AT;
    } else {
        rq->blob = blob_ref(blob);
    }
    rq->input = c;
    if (is_heavy) {
        int64_t factor = h.key == API_KEY_DESCRIBE_CONFIGS ? CHARGE_RESOURCE / 16 : CHARGE_FACTOR;
        start_heavy(rq, to_i64(len) * factor);
        return CONN_TAKEN;
    }
    size_t max = decode_bytes_max(len);
    int r = decode(rq, &c, min_size(max, LIGHT_DECODE_BYTES));
    if (r == ERR_NO_MEMORY && max > LIGHT_DECODE_BYTES) {
        start_heavy(rq, to_i64(len) * CHARGE_FACTOR);
        return CONN_TAKEN;
    }
    if (r < 0) {
        IGNORE(refuse_frame(io, cn, err_text(r),
                            &h)); /* closes when its turn comes, after earlier answers */
        request_fail(rq);
        return CONN_TAKEN;
    }
    rq->is_decoded = true;
    int64_t charge = charge_of(rq);
    if (charge > 0) {
        start_heavy(rq, charge);
    } else {
        run(rq);
    }
    return CONN_TAKEN;
}

static void on_open(void *ctx, struct conn *cn)
{
    struct io_thread *io = ctx;
    struct request_conn *rc = mem_zalloc(sizeof(*rc));
    rc->io = io;
    rc->listener = conn_tag(cn);
    conn_set_data(cn, rc);
}

/* Requests of this connection may still be at work: the last of them frees what dispatch knows. */
static void on_close(void *ctx, struct conn *cn, enum conn_end reason)
{
    (void)ctx;
    (void)reason;
    struct request_conn *rc = conn_data(cn);
    rc->is_closed = true;
    request_conn_release(rc);
}

static void on_release(void *ctx, struct conn_slot *slot)
{
    (void)ctx;
    request_release(container_of(slot, struct request, slot));
}

/* The connection went while this request was at work. */
static void on_abandon(void *ctx, struct conn_slot *slot)
{
    (void)ctx;
    struct request *rq = container_of(slot, struct request, slot);
    rq->is_abandoned = true;
    if (rq->on_abandon != NULL) {
        rq->on_abandon(rq);
    }
}

const struct conn_handler dispatch_conn_handler = {
    .on_open = on_open,
    .on_frame = on_frame,
    .on_abandon = on_abandon,
    .on_release = on_release,
    .on_close = on_close,
};
