/*
 * A loop that waits for something that any thread may give back: room, memory. Who waits stands in
 * a list under the giver's lock; a wake posts one job to each waiter's loop.
 */
#ifndef NET_LOOP_WAITER_H
#define NET_LOOP_WAITER_H

#include "base/base.h"
#include "base/sync.h"
#include "net/loop.h"

struct loop_waiter {
    struct list node; /* in the giver's list while it waits */
    struct job job;
    bool is_posted;    /* guarded by the lock */
    struct lock *lock; /* the giver's, borrowed; NULL: never waits */
    struct loop *loop;
    void (*resume)(void *ctx); /* on the loop's thread */
    void *ctx;
};

void loop_waiter_init(struct loop_waiter *w,
                      struct lock *lock,
                      struct loop *loop,
                      void (*resume)(void *ctx),
                      void *ctx);
/* With the lock: resume() will be called after the next wake. */
void loop_waiter_add_locked(struct loop_waiter *w, struct list *waiters);
/* With the lock: tells all who wait to try again; the list is empty then. */
void loop_waiter_wake_locked(struct list *waiters);
/* The loop does not run any more, or this is its thread. */
void loop_waiter_release(struct loop_waiter *w);

#endif
