/*
 * Request memory of a broker: two budgets that are taken together, and the sets that wait.
 *
 * Whoever waits announces it (has_waiters) before the last try; whoever gives looks after it has
 * given. Both orders are sequentially consistent, so that one of them sees the other and no wake-up
 * is lost.
 */
#include "net/conn_memory.h"

#include "base/base.h"

struct conn_memory {
    struct mem_budget *memory; /* borrowed, may be NULL */
    struct mem_budget *queued; /* borrowed, may be NULL */
    atomic_bool has_waiters;
    struct lock lock;
    struct list waiters;
};

struct conn_memory *conn_memory_new(struct mem_budget *memory, struct mem_budget *queued)
{
    struct conn_memory *cm = mem_zalloc(sizeof(*cm));
    cm->memory = memory;
    cm->queued = queued;
    lock_init(&cm->lock, LOCK_NET);
    list_init(&cm->waiters);
    return cm;
}

struct conn_memory *conn_memory_free(struct conn_memory *cm)
{
    if (cm != NULL) {
        check(list_is_empty(&cm->waiters));
        lock_release(&cm->lock);
        mem_free(cm);
    }
    return NULL;
}

static bool take_one(struct mem_budget *b, int64_t bytes, enum conn_memory_use use)
{
    if (b == NULL) {
        return true;
    }
    if (use == CONN_MEMORY_FORCED) {
        atomic_fetch_add_explicit(&b->used, bytes, memory_order_relaxed);
        return true;
    }
    if (!mem_budget_take(b, bytes)) {
        return false;
    }
    if (use == CONN_MEMORY_LARGE && b->max > 0 &&
        atomic_load_explicit(&b->used, memory_order_relaxed) > b->max - b->max / 4) {
        mem_budget_give(b, bytes);
        return false;
    }
    return true;
}

bool conn_memory_take(struct conn_memory *cm, size_t bytes, enum conn_memory_use use)
{
    if (cm == NULL) {
        return true;
    }
    if (!take_one(cm->memory, to_i64(bytes), use)) {
        return false;
    }
    if (!take_one(cm->queued, to_i64(bytes), use)) {
        if (cm->memory != NULL) {
            mem_budget_give(cm->memory, to_i64(bytes));
        }
        return false;
    }
    return true;
}

void conn_memory_give(struct conn_memory *cm, size_t bytes)
{
    if (cm == NULL || bytes == 0) {
        return;
    }
    if (cm->memory != NULL) {
        mem_budget_give(cm->memory, to_i64(bytes));
    }
    if (cm->queued != NULL) {
        mem_budget_give(cm->queued, to_i64(bytes));
    }
    atomic_thread_fence(memory_order_seq_cst);
    if (likely(!atomic_load_explicit(&cm->has_waiters, memory_order_relaxed))) {
        return;
    }
    lock_take(&cm->lock);
    atomic_store(&cm->has_waiters, false);
    loop_waiter_wake_locked(&cm->waiters);
    lock_give(&cm->lock);
}

void conn_memory_waiter_init(struct loop_waiter *w,
                             struct conn_memory *cm,
                             struct loop *loop,
                             void (*resume)(void *ctx),
                             void *ctx)
{
    loop_waiter_init(w, cm == NULL ? NULL : &cm->lock, loop, resume, ctx);
}

void conn_memory_wait(struct conn_memory *cm, struct loop_waiter *w)
{
    lock_take(&cm->lock);
    loop_waiter_add_locked(w, &cm->waiters);
    atomic_store(&cm->has_waiters, true);
    lock_give(&cm->lock);
    atomic_thread_fence(memory_order_seq_cst);
}
