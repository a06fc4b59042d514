/*
 * Who may come: the part of listener.h's conn_limits that is private to net. Any thread.
 */
#ifndef NET_CONN_LIMITS_H
#define NET_CONN_LIMITS_H

#include "base/base.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/loop_waiter.h"

enum admission {
    ADMIT,
    ADMIT_NOT_THIS_ONE, /* too many of its address: close it */
};

/* May one more be accepted now? *ret_wait_ms: 0: no (the waiter is told when one has ended); more:
 * not before so many milliseconds have passed. */
must_check bool
conn_limits_may_accept(struct conn_share *sh, struct loop_waiter *w, int64_t *ret_wait_ms);
/* Counts against the rates; ADMIT counts the peer until conn_limits_leave. *ret_sets_max: it goes
 * to one of the first so many conn_sets; written always. */
enum admission
conn_limits_enter(struct conn_share *sh, const struct conn_peer *peer, size_t *ret_sets_max);
/* on_end of conn_open, the share as its context. */
void conn_limits_leave(void *ctx, const struct conn_peer *peer);

/* The share of a listener that is being made; NULL: there are no limits. */
struct conn_share *conn_limits_share(struct conn_limits *cl);

/* One for each listener: where it is told that there is room again; loop_waiter_release ends it. */
void conn_limits_waiter_init(struct loop_waiter *w,
                             struct conn_limits *cl,
                             struct loop *loop,
                             void (*resume)(void *ctx),
                             void *ctx);

#endif
