/*
 * Who may come: the part of listener.h's conn_limits that is private to net. Any thread.
 */
#ifndef NET_CONN_LIMITS_H
#define NET_CONN_LIMITS_H

#include "base/base.h"
#include "net/conn.h"
#include "net/listener.h"

enum admission {
    ADMIT,
    ADMIT_NOT_THIS_ONE, /* too many of its address: close it */
};

/* One for each listener: where it is told that there is room again. */
struct conn_limits_waiter {
    struct list node; /* in conn_limits.waiters while it waits */
    struct job job;
    bool is_posted; /* guarded by the lock of conn_limits */
    struct conn_limits *cl;
    struct loop *loop;
    void (*resume)(void *ctx); /* on the loop's thread */
    void *ctx;
};

/* May one more be accepted now? *ret_wait_ms: 0: no (the waiter is told when one has ended); more:
 * not before so many milliseconds have passed. */
must_check bool
conn_limits_may_accept(struct conn_limits *cl, struct conn_limits_waiter *w, int64_t *ret_wait_ms);
/* Counts against the rate; ADMIT counts the peer until conn_limits_leave. */
enum admission conn_limits_enter(struct conn_limits *cl, const struct conn_peer *peer);
void conn_limits_leave(void *ctx, const struct conn_peer *peer); /* on_end of conn_open */

void conn_limits_waiter_init(struct conn_limits_waiter *w,
                             struct conn_limits *cl,
                             struct loop *loop,
                             void (*resume)(void *ctx),
                             void *ctx);
void conn_limits_waiter_release(struct conn_limits_waiter *w);

#endif
