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
/* Of one that was admitted; takes NULL. */
void conn_limits_leave(struct conn_share *sh, const struct conn_peer *peer);

/* Are there more connections than allowed in all, since the limit was lowered or since an exempt
 * listener took one more? The waiter is told when there are again. */
must_check bool conn_limits_are_exceeded(struct conn_limits *cl, struct loop_waiter *w);
void conn_limits_await_excess(struct conn_limits *cl, struct loop_waiter *w); /* tell it, only */
bool conn_share_is_exempt(struct conn_share *sh); /* takes NULL: it is not */

/* The share of a listener that is being made; NULL: there are no limits. */
struct conn_share *conn_limits_share(struct conn_limits *cl);

/* One for each listener, where it is told that there is room again, and one for each conn_set,
 * where it is told that there are too many; loop_waiter_release ends it. */
void conn_limits_waiter_init(struct loop_waiter *w,
                             struct conn_limits *cl,
                             struct loop *loop,
                             void (*resume)(void *ctx),
                             void *ctx);

#endif
