/*
 * One request from frame to answer. Lives on the loop that owns its connection; a handler may hand
 * it to another thread only inside a job that comes back to this loop.
 *
 * A handler returns
 *   REQUEST_DONE    rq->response is filled: dispatch encodes and answers it now
 *   REQUEST_PARKED  somebody will call request_finish (or request_fail) later, on this loop
 *   REQUEST_CLOSE   no answer: the connection ends when its turn comes (acks=0, what Kafka closes)
 *   REQUEST_SILENT  no answer, the connection goes on (acks=0)
 *
 * A request that is too long for a turn of the loop is decoded, handled and encoded by a worker:
 * then request_image is its own, and what belongs to the loop (timers) must be left alone. Produce
 * and Fetch always run on the loop, in pieces (request_go_on).
 *
 * All memory of a request is in rq->arena (reset after the answer); strings and records of the
 * decoded body point into rq->blob.
 */
#ifndef BROKER_REQUEST_H
#define BROKER_REQUEST_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/timers.h"
#include "broker/background.h"
#include "broker/io_thread.h"
#include "meta/image.h"
#include "net/conn.h"
#include "wire/cursor.h"
#include "wire/gen/api.h"
#include "wire/gen/errors.h"
#include "wire/gen/messages.h"

struct broker;
struct broker_listener;

enum request_verdict {
    REQUEST_DONE,
    REQUEST_PARKED,
    REQUEST_CLOSE,
    REQUEST_SILENT,
};

/* What is known of a connection; net's user pointer. */
struct request_conn {
    struct io_thread *io;
    const struct broker_listener *listener;
    uint32_t started;   /* requests that are not answered yet */
    uint32_t exclusive; /* those among them that nothing may overtake */
    int16_t kind;       /* API of those that were started last */
    uint32_t slots;     /* requests that net still knows */
    bool is_closed;
};

struct request {
    struct conn_slot slot;     /* order of answers */
    struct request_conn *conn; /* borrowed */
    struct io_thread *io;      /* loop-local state: loop, image of the turn, free requests */
    struct broker *br;         /* borrowed */
    struct blob *blob;         /* a reference: holds the frame */
    const struct api_info *api;
    int16_t version; /* of the body */
    int32_t correlation_id;
    struct str client_id; /* null: none */
    void *body;           /* decoded request, generated struct */
    void *response;       /* generated struct, msg_init'ed before the handler runs */
    struct arena arena;
    int64_t received_ns;                    /* machine clock */
    int64_t received_ms;                    /* time of its loop */
    struct timer timer;                     /* for whoever parks it; disarmed by request_finish */
    void *state;                            /* of the handler, in the arena */
    void (*on_abandon)(struct request *rq); /* the connection died while parked: unhook and call
                                               request_drop. May be NULL: then the work goes on and
                                               request_finish drops the answer */
    bool is_abandoned;
    bool is_settled; /* answered, or never to be */
    struct image
        *image; /* a reference, of one that a worker has or had; NULL: the image of the turn */
    struct heavy_task heavy;      /* of dispatch, while a worker has it */
    struct cursor input;          /* what the worker decodes */
    struct rope encoded;          /* the answer, where a worker has encoded it; */
    int encode_result;            /* negative: it could not */
    enum request_verdict verdict; /* of the handler, where a worker ran it */
    bool is_decoded;
    bool is_alone;       /* of dispatch: its connection starts nothing until it is answered */
    int64_t charge;      /* to background_give at its end */
    struct io_step step; /* of request_go_on */
    void (*go_on)(struct request *rq);
    /* Each once, on the thread that encodes the answer, a worker where it is long; may be NULL. The
     * first puts it together, the second lets go of what it borrowed (also when it could not be
     * encoded). */
    void (*before_encoding)(struct request *rq);
    void (*after_encoding)(struct request *rq);
};

/* A request that begins on this connection. */
struct request *request_start(struct io_thread *io, struct conn *cn, const struct api_info *api);
/* Its answer has left: the memory goes back. */
void request_release(struct request *rq);
/* The last of a connection that is closed frees what is known of it. */
void request_conn_release(struct request_conn *rc);

/* While held, the request's connection starts nothing else. */
void request_hold(struct request *rq);
void request_release_hold(struct request *rq);

/* A worker: encodes rq->response; nothing but the answer is needed any more. */
void request_encode(struct request *rq);
/* What request_encode has made is answered; on the loop. */
void request_answer_encoded(struct request *rq);

/* Encodes rq->response and answers; the request is recycled at the end of the turn. */
void request_finish(struct request *rq);
/* Calls go_on(rq) in the next turn, in a slice that it shares with others like it: it does a piece
 * of its work, and looks at loop_slice_is_over. The connection may go meanwhile (on_abandon). */
void request_go_on(struct request *rq, void (*go_on)(struct request *rq));
/* work() runs on a worker as a heavy task, which has the request and its arena to itself; then
 * done() on the request's loop. The connection may have gone in between: request_finish drops the
 * answer. */
void request_offload(struct request *rq,
                     void (*work)(struct request *rq),
                     void (*done)(struct request *rq));
/* The image that the request uses throughout. */
struct image *request_image(struct request *rq);
/* The answer points into this image (NULL: into none), which may be an older one: the request's own
 * from now on, also where a worker encodes it. */
void request_hold_image(struct request *rq, struct image *im);
/* Closes the connection when this request's turn comes. */
void request_fail(struct request *rq);
/* No answer; the connection goes on. */
void request_finish_silent(struct request *rq);

/* What a handler has returned comes about, now or later; on the loop. */
void request_end(struct request *rq, enum request_verdict verdict);

/* After on_abandon: the owner has let go of it. */
void request_drop(struct request *rq);

/* The listener that the request came in on: whose advertised address its answers name. */
const struct broker_listener *request_listener(const struct request *rq);

/* May this operation be done? The one place where ACLs will be asked; every handler asks from the
 * first day. Without an authorizer everything is allowed. operation and type: AclOperation,
 * ResourceType codes. */
bool authorize(struct request *rq,
               int8_t operation,
               int8_t resource_type,
               struct str resource_name);
#define ACL_READ                  3
#define ACL_WRITE                 4
#define ACL_CREATE                5
#define ACL_DELETE                6
#define ACL_ALTER                 7
#define ACL_DESCRIBE              8
#define ACL_CLUSTER_ACTION        9
#define ACL_DESCRIBE_CONFIGS      10
#define ACL_ALTER_CONFIGS         11
#define ACL_IDEMPOTENT_WRITE      12
#define RESOURCE_TOPIC            2
#define RESOURCE_GROUP            3
#define RESOURCE_CLUSTER          4
#define RESOURCE_TRANSACTIONAL_ID 5
#define CLUSTER_NAME              STR("kafka-cluster")

/* Bits for authorizedOperations answers (no authorizer: topic 3576, cluster 8096, group 3400). */
int32_t authorized_operations(struct request *rq, int8_t resource_type, struct str resource_name);

/* The one crossing from failures to refusals; unknown ones are UNKNOWN_SERVER_ERROR, logged once a
 * while. */
enum kafka_error kafka_error_from(struct request *rq, int err);

#endif
