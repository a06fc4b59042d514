/*
 * A fetch while it is worked on: what h_fetch.c, which drives it, and fetch_answer.c, which puts
 * its answer together, know of it. Theirs alone.
 */
#ifndef BROKER_FETCH_STATE_H
#define BROKER_FETCH_STATE_H

#include "base/bytes.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/sync.h"
#include "broker/fetch_session.h"
#include "broker/waiter.h"
#include "storage/plog.h"
#include "wire/gen/messages.h"

struct request;

/* Kafka answers the partitions whose logs it asked before those that it refused without asking. */
enum fetch_order {
    FETCH_ORDER_LOG,
    FETCH_ORDER_UNKNOWN_ID,
    FETCH_ORDER_REFUSED,
    FETCH_ORDERS_COUNT,
};

struct fetch_part {
    struct waiter waiter;
    struct list moved;   /* in fetch.moved: its high watermark has moved while the request waited */
    int64_t bytes;       /* of it in fetch.bytes */
    struct partition *p; /* a reference; NULL: refused */
    struct str name;     /* in the arena: of the topic of an id, for the session */
    struct fetch_response_partition_data data;
    struct rope rope;
    struct fetch_outcome outcome;
    int64_t seen_high_watermark; /* at the last evaluation: what the wait is for */
    bool is_refused;             /* an error that was known before the log was asked */
    bool fails_at_once;          /* refused, and nothing to wait for then */
    enum fetch_order order;
};

enum fetch_phase {
    FETCH_RESOLVE,
    FETCH_READ,
    FETCH_ENROLL,
    FETCH_WAIT,
    FETCH_MOVED,
    FETCH_WARM,
    FETCH_LEAVE, /* the waiters and references go, then comes the answer */
    FETCH_ANSWER,
};

struct fetch {
    struct request *rq;
    enum fetch_phase phase;
    size_t next; /* target of the phase */
    size_t good;
    struct list moved;  /* struct fetch_part */
    struct arena reads; /* what reading the logs needs; reset when all are read again */
    int64_t left;       /* bytes that the answer may still take */
    int64_t bytes;      /* that it has */
    int64_t parked;     /* bytes taken of broker.parked */
    int64_t now_ms;
    bool is_first;
    bool has_error;
    bool has_enrolled;
    bool is_going_on; /* request_go_on was called */
    bool refuses_isolation;
    bool warmed_gone; /* the connection went while a worker was at it */
    struct fetch_context context;
    struct fetch_part *targets; /* context.count of them */
    struct job warm_job;
    size_t warm_index;
    int64_t max_bytes;
    int32_t min_bytes;
    int32_t warm_tries;
    enum plog_bound bound;
    bool is_last; /* answer whatever there is */
    bool has_waited;
    bool tells_endpoint; /* the answer names the leader's address, ours */
};

/* The session a fetch belongs to, in its shard; a lock around each use. */
struct fetch_shard *fetch_shard_lock(struct broker *br, int32_t session_id);
void fetch_shard_unlock(struct fetch_shard *shard);

/* Puts the answer together, on the thread that will encode it. */
void fetch_compose(struct request *rq);

#endif
