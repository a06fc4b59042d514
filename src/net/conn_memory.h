/*
 * Request memory of a broker, as the connections see it; the part of conn.h's conn_memory that is
 * private to net. Any thread.
 */
#ifndef NET_CONN_MEMORY_H
#define NET_CONN_MEMORY_H

#include "base/base.h"
#include "net/conn.h"
#include "net/loop_waiter.h"

enum conn_memory_use {
    CONN_MEMORY_SMALL,  /* up to all there is */
    CONN_MEMORY_LARGE,  /* a quarter stays free for small ones */
    CONN_MEMORY_FORCED, /* granted even beyond the limit */
};

/* All take a NULL conn_memory: no bound. */
must_check bool conn_memory_take(struct conn_memory *cm, size_t bytes, enum conn_memory_use use);
void conn_memory_give(struct conn_memory *cm, size_t bytes);

/* One for each set: where it is told that memory was given back; loop_waiter_release ends it. */
void conn_memory_waiter_init(struct loop_waiter *w,
                             struct conn_memory *cm,
                             struct loop *loop,
                             void (*resume)(void *ctx),
                             void *ctx);
/* resume() will be called after the next give. Ask again for the memory after this call: it may
 * have come between. */
void conn_memory_wait(struct conn_memory *cm, struct loop_waiter *w);

#endif
