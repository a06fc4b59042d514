/*
 * Receive memory of one loop: blobs in sizes of powers of two, kept when they come back, so that a
 * request of 1 MiB does not pay for fresh pages each time. What is kept is bounded, and given back
 * to the system when it has not been needed for a while. Larger sizes are made and freed exactly.
 *
 * Blobs may be freed on any thread, also after the pool's owner has let it go; taking is for the
 * loop's thread. What is lent counts in conn_memory; what is kept does not.
 */
#ifndef NET_BLOB_POOL_H
#define NET_BLOB_POOL_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/sync.h"
#include "net/conn_memory.h"
#include "net/loop.h"

struct blob_pool;

enum {
    BLOB_POOL_CLASS_MIN = 512,
    BLOB_POOL_CLASS_MAX = 2 << 20,
    BLOB_POOL_KEPT_MAX = 16 << 20, /* bytes kept */
    BLOB_POOL_TRIM_MS = 1000,
};

struct blob_pool *blob_pool_new(struct loop *lp, struct conn_memory *cm);
/* Large blobs that come back on the loop's thread are freed by a job that is given to `reap`:
 * giving their pages back to the system takes longer than a loop has time. To be said before the
 * first blob is taken; ends with blob_pool_let_go. */
void blob_pool_set_reaper(struct blob_pool *bp, void (*reap)(void *ctx, struct job *j), void *ctx);
void blob_pool_let_go(struct blob_pool *bp); /* ends when its last blob has come back */

size_t blob_pool_size_of(size_t size); /* what a blob of at least `size` bytes holds */
/* A blob of at least `size` bytes, or NULL: the budget or the system has none. */
must_check struct blob *blob_pool_take(struct blob_pool *bp, size_t size, enum conn_memory_use use);
/* Makes room in a blob that nobody else holds, keeping its first `used` bytes; NULL: there is none,
 * and the blob is as it was. */
must_check struct blob *blob_pool_grow(struct blob_pool *bp,
                                       struct blob *b,
                                       size_t used,
                                       size_t size,
                                       enum conn_memory_use use);
size_t
blob_pool_lent(const struct blob_pool *bp); /* bytes; a glance, other threads give back meanwhile */
size_t blob_pool_kept(const struct blob_pool *bp);

#endif
