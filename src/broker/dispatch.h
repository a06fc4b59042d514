/*
 * From a frame to a handler and back: header, version, decoding, the order rules of a connection,
 * encoding. The one place where every request passes: before and after the handler is where faults,
 * traces and quotas belong.
 *
 * Order (Kafka mutes a connection while it works on a request): a Produce may start while earlier
 * Produces of its connection wait for the disk, an OffsetCommit while earlier OffsetCommits do; any
 * other request starts when all earlier ones are answered.
 */
#ifndef BROKER_DISPATCH_H
#define BROKER_DISPATCH_H

#include "base/base.h"
#include "broker/request.h"
#include "net/conn.h"

struct broker;
struct fetch_shard;

/* What dispatch knows of a connection; its user pointer. */
struct dispatch_conn {
    struct io_thread *io;
    const struct broker_listener *listener;
    uint32_t started;   /* requests that are not answered yet */
    uint32_t exclusive; /* those among them that nothing may overtake */
    int16_t kind;       /* API of those that were started last */
    uint32_t slots;     /* requests that net still knows */
    bool is_closed;
};

/* Callbacks for net's connections; set ctx to the io_thread. A connection's tag is its
 * broker_listener. */
extern const struct conn_handler dispatch_conn_handler;

/* While held, the request's connection starts nothing else. */
void dispatch_hold(struct request *rq);
void dispatch_release_hold(struct request *rq);

/* The sessions of all consumers, in shards by id; a lock around each use. */
struct fetch_shard *fetch_shard_lock(struct broker *br, int32_t session_id);
void fetch_shard_unlock(struct fetch_shard *shard);

#endif
