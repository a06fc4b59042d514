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
#include "net/conn.h"

/* Callbacks for net's connections; set ctx to the io_thread. A connection's tag is its
 * broker_listener. */
extern const struct conn_handler dispatch_conn_handler;

#endif
