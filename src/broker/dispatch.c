/*
 * Dispatch: see dispatch.h. Kafka: RequestContext.parseRequest, SocketServer, KafkaApis.handle.
 *
 * What ends a connection without an answer: a header that cannot be read, an API that is not served
 * here, a version out of range (but for ApiVersions, which answers in version 0 what it knows), a
 * body that cannot be read. Extra bytes after a body are ignored.
 */
#include "broker/dispatch.h"

#include "base/err.h"
#include "broker/broker.h"
#include "broker/config.h"
#include "broker/fetch_session.h"
#include "broker/handlers.h"
#include "broker/io_thread.h"

#define ARENA_FACTOR      16 /* memory of a decoded body: at most so many times its bytes */
#define ARENA_BASE        ((size_t)1 << 20) /* and this; handlers that answer much lift the limit */
#define BAD_FRAME_LOG_MS  1000
#define SMALL_FRAME_BYTES ((size_t)4096)
#define CLIENT_ID_AT      10 /* in a frame: key, version, correlation id, length */

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
    for (uint32_t i = 0; i < count && !c->failed; i++) {
        (void)cursor_uvarint(c);
        uint32_t size = cursor_uvarint(c);
        if (cursor_take(c, size) == NULL && size > 0) {
            return false;
        }
    }
    return !c->failed;
}

static enum conn_verdict
refuse_frame(struct io_thread *io, struct conn *cn, const char *why, const struct header *h)
{
    uint32_t suppressed = 0;
    if (log_limit_pass(&io->frame_limit, io->br->clock, BAD_FRAME_LOG_MS, &suppressed)) {
        char peer[CONN_PEER_TEXT_SIZE];
        LOG_WARN(
            io->br->logger, FAC_NET,
            "connection from %s is closed: %s (api key %d version %d; %u lines like this left out)",
            conn_peer_text(conn_peer(cn), peer), why, h->key, h->version, suppressed);
    }
    metric_add(io->br->bad_frames, 1);
    return CONN_CLOSE;
}

static void release_conn(struct dispatch_conn *dc)
{
    if (dc->is_closed && dc->slots == 0) {
        mem_free(dc);
    }
}

static void count_started(struct request *rq, int delta)
{
    struct dispatch_conn *dc = rq->conn;
    dc->started += (uint32_t)delta;
    if (!rq->api->concurrent) {
        dc->exclusive += (uint32_t)delta;
    }
}

void dispatch_hold(struct request *rq)
{
    rq->conn->exclusive++;
}

void dispatch_release_hold(struct request *rq)
{
    check(rq->conn->exclusive > 0);
    rq->conn->exclusive--;
}

static struct request *
start(struct io_thread *io, struct conn *cn, const struct header *h, const struct api_info *api)
{
    struct request *rq = io_thread_take_request(io);
    rq->io = io;
    rq->br = io->br;
    rq->api = api;
    rq->version = h->version;
    rq->correlation_id = h->correlation_id;
    rq->client_id = h->client_id;
    rq->conn = conn_data(cn);
    rq->received_ns = loop_mono_ns(io->loop);
    rq->response = arena_alloc(&rq->arena, msg_size(api->response));
    msg_init(api->response, rq->response);
    conn_start(cn, &rq->slot);
    rq->conn->slots++;
    count_started(rq, 1);
    return rq;
}

/* Everything that a request holds but its memory, which conn gives back when the answer has left
 * (on_release). */
static void settle(struct request *rq)
{
    timers_disarm(loop_timers(rq->io->loop), &rq->timer);
    count_started(rq, -1);
    rq->on_abandon = NULL;
    rq->is_settled = true;
}

static void on_release(void *ctx, struct conn_slot *slot)
{
    struct request *rq = container_of(slot, struct request, slot);
    (void)ctx;
    struct dispatch_conn *dc = rq->conn;
    dc->slots--;
    blob_unref(rq->blob);
    io_thread_give_request(rq->io, rq);
    release_conn(dc);
}

void request_finish(struct request *rq)
{
    struct writer *w = &rq->io->writer;
    uint8_t *size_at = writer_room(w, 4);
    writer_i32(w, rq->correlation_id);
    if (api_response_header_version(rq->api->key, rq->version) >= 1) {
        writer_uvarint(w, 0);
    }
    int r = codec_encode(rq->api->response, rq->version, rq->response, w);
    size_t size = writer_size(w) - 4;
    struct rope rope;
    rope_init(&rope);
    writer_finish(w, &rope);
    if (r < 0 || size > INT32_MAX) {
        LOG_ERROR(rq->br->logger, FAC_BROKER,
                  "answer to %s version %d cannot be encoded: %s; its connection is closed",
                  rq->api->name, rq->version, err_text(r));
        rope_release(&rope);
        request_fail(rq);
        return;
    }
    store_be32(size_at, (uint32_t)size);
    settle(rq);
    conn_answer(&rq->slot, &rope);
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

void request_drop(struct request *rq)
{
    request_finish_silent(rq);
}

static void run(struct request *rq)
{
    switch (api_table[rq->api->key].handler(rq)) {
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
    struct dispatch_conn *dc = conn_data(cn);
    struct cursor c = cursor_of(frame, len);
    struct header h;
    if (!read_header(&c, &h)) {
        return refuse_frame(io, cn, "the request header cannot be read", &h);
    }
    const struct api_info *api = api_info_find(h.key);
    if (api == NULL || (api->listeners & API_LISTENER_BROKER) == 0) {
        return refuse_frame(io, cn, "this API is not served here", &h);
    }
    if (dc->exclusive > 0 || (dc->started > 0 && !api->concurrent)) {
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
    rq->arena.limit = len * ARENA_FACTOR + ARENA_BASE;
    rq->body = arena_try_alloc(&rq->arena, msg_size(api->request));
    int r = rq->body == NULL ? ERR_NO_MEMORY
                             : codec_decode(api->request, h.version, &c, &rq->arena, rq->body);
    rq->arena.limit = 0;
    if (r < 0) {
        IGNORE(refuse_frame(io, cn, err_text(r),
                            &h)); /* closes when its turn comes, after earlier answers */
        request_fail(rq);
        return CONN_TAKEN;
    }
    run(rq);
    return CONN_TAKEN;
}

static void on_open(void *ctx, struct conn *cn)
{
    struct io_thread *io = ctx;
    struct dispatch_conn *dc = mem_zalloc(sizeof(*dc));
    dc->io = io;
    dc->listener = conn_tag(cn);
    conn_set_data(cn, dc);
}

/* Requests of this connection may still be at work: the last of them frees what dispatch knows. */
static void on_close(void *ctx, struct conn *cn, enum conn_end reason)
{
    (void)ctx;
    (void)reason;
    struct dispatch_conn *dc = conn_data(cn);
    dc->is_closed = true;
    release_conn(dc);
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
    switch (err) {
    case -ENOSPC:
    case -EDQUOT:
    case -EIO:
    case -EROFS:
    case -EMFILE:
    case -ENFILE:
    case ERR_OFFLINE:
        return KAFKA_ERROR_KAFKA_STORAGE_ERROR;
    case ERR_CORRUPT:
        return KAFKA_ERROR_CORRUPT_MESSAGE;
    case ERR_CLOSED:
        return KAFKA_ERROR_BROKER_NOT_AVAILABLE;
    default:
        break;
    }
    uint32_t suppressed = 0;
    if (log_limit_pass(&rq->io->error_limit, rq->br->clock, BAD_FRAME_LOG_MS, &suppressed)) {
        LOG_ERROR(rq->br->logger, FAC_BROKER, "%s failed in a way that has no Kafka error: %s",
                  rq->api->name, err_text(err));
    }
    return KAFKA_ERROR_UNKNOWN_SERVER_ERROR;
}

const struct broker_listener *request_listener(const struct request *rq)
{
    return rq->conn->listener;
}

struct fetch_sessions *fetch_sessions_lock(struct broker *br)
{
    lock_take(&br->fetch_lock);
    return br->fetch_sessions;
}

void fetch_sessions_unlock(struct broker *br)
{
    lock_give(&br->fetch_lock);
}
