/*
 * Request memory of a broker, as the connections see it; the part of conn.h's conn_memory that is
 * private to net. Any thread.
 */
#ifndef NET_CONN_MEMORY_H
#define NET_CONN_MEMORY_H

#include "base/base.h"
#include "net/conn.h"
#include "net/loop_waiter.h"

#include <stdatomic.h>

enum conn_memory_use {
    CONN_MEMORY_SMALL,  /* what large frames leave, a quarter at least */
    CONN_MEMORY_BEYOND, /* up to a quarter and 256 KiB beyond the limit */
    CONN_MEMORY_FORCED, /* granted even beyond the limit */
};

enum {
    CONN_MEMORY_LARGE_BYTES = 64 << 10, /* pieces and frames above it are large */
};

/* All take a NULL conn_memory: no bound. A blob is taken and given back with its size. */
must_check bool conn_memory_take(struct conn_memory *cm, size_t bytes, enum conn_memory_use use);
void conn_memory_give(struct conn_memory *cm, size_t bytes);
/* More than half is used or promised: large frames should not be begun. A glance. */
bool conn_memory_is_short(struct conn_memory *cm);

/* One for each set: where it is told that memory was given back, or that a pass of it was granted;
 * loop_waiter_release ends it. */
void conn_memory_waiter_init(struct loop_waiter *w,
                             struct conn_memory *cm,
                             struct loop *loop,
                             void (*resume)(void *ctx),
                             void *ctx);
/* resume() will be called after the next give. Ask again for the memory after this call: it may
 * have come between. */
void conn_memory_wait(struct conn_memory *cm, struct loop_waiter *w);

/* The right of one large frame to go on until it is whole. Its pieces are taken FORCED: they count
 * as promised before, and set_pass says what is left of the promise. Zeroed: none. */
struct conn_pass {
    struct list node; /* in the queue; with the lock, as is the rest until it is granted */
    struct loop_waiter *waiter;
    bool is_late; /* queued among those that have nothing to go on with */
    size_t bytes; /* asked for; when granted: promised and not yet taken */
    atomic_bool is_granted;
};

/* True: granted, now or before. False: nobody may, or others wait; nothing has changed. */
must_check bool conn_memory_try_pass(struct conn_memory *cm, struct conn_pass *pass, size_t bytes);
/* The same, but false puts it into the queue: w is told when it is granted. Ask again then. The
 * order is that of coming, but who has nothing to go on with (has_bytes) comes after all others:
 * ask again when it has. */
must_check bool conn_memory_ask_pass(struct conn_memory *cm,
                                     struct conn_pass *pass,
                                     size_t bytes,
                                     bool has_bytes,
                                     struct loop_waiter *w);
/* So many bytes of what was promised have not been taken yet. */
void conn_memory_set_pass(struct conn_memory *cm, struct conn_pass *pass, size_t bytes);
/* The frame is whole, or its connection has ended; also out of the queue, also without one. */
void conn_memory_end_pass(struct conn_memory *cm, struct conn_pass *pass);
bool conn_pass_is_granted(const struct conn_pass *pass); /* any thread */
bool conn_memory_is_wanted(struct conn_memory *cm);      /* somebody waits; a glance */

#endif
