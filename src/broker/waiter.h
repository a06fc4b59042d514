/*
 * A request's interest in a partition: an append that waits to be acknowledged, a fetch that waits
 * for records. It lies in the partition's list until it is handed to the io thread of its request,
 * which wakes it (io_thread_push_ready).
 */
#ifndef BROKER_WAITER_H
#define BROKER_WAITER_H

#include "base/base.h"
#include "base/list.h"
#include "wire/gen/errors.h"

struct conn_slot;
struct io_thread;
struct partition;
struct request;

/* Lives in the request's arena. */
struct waiter {
    struct list link;               /* in the partition's list; under its lock */
    struct list ready_link;         /* in the io thread's list of ready ones; under its lock */
    struct partition *p;            /* a reference */
    struct io_thread *io;           /* where the request lives */
    struct request *rq;             /* NULL: nobody's, but the coordinator's */
    const struct conn_slot *slot;   /* the request's; NULL: as rq */
    int64_t offset;                 /* appends: wakes when high_watermark >= offset */
    enum kafka_error error;         /* set before wake when the append failed */
    void (*wake)(struct waiter *w); /* on the io thread */
};

#endif
