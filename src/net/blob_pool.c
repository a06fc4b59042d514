/*
 * Receive memory of one loop; see blob_pool.h.
 *
 * Free blobs of a class form a stack through their own data: the one that came back last, still in
 * the processor's cache, is lent first. `least` is the smallest depth of the stack since the last
 * trim: so many were never needed, and the trim frees them. The trim's timer is armed only while
 * something is kept.
 */
#include "net/blob_pool.h"

#include "base/base.h"
#include "base/mem.h"

#include <pthread.h>

enum {
    CLASSES = 13, /* 512 bytes .. 2 MiB */
    EXACT_STEP = 64 << 10,
    REAPED_BYTES = 1 << 20,
    MAPPED_BYTES = 256 << 10, /* pieces of memory that are mapped by themselves */
};

static_assert(BLOB_POOL_CLASS_MIN << (CLASSES - 1) == BLOB_POOL_CLASS_MAX, "one class a power");

struct stack {
    struct blob *top;
    size_t count;
    size_t least;
};

struct blob_pool {
    struct loop *loop;       /* borrowed; used by the owner only */
    struct conn_memory *cm;  /* borrowed, may be NULL */
    _Atomic size_t refs;     /* blobs that are lent, and the owner */
    _Atomic size_t lent;     /* bytes */
    _Atomic pthread_t owner; /* the loop's thread, when it last took a blob; 0: let go */
    size_t kept;             /* bytes */
    struct stack stacks[CLASSES];
    struct timer trim;
    void (*reap)(void *ctx, struct job *j); /* the owner's; NULL: nobody else frees */
    void *reap_ctx;
};

static void on_trim(struct timer *t, void *ctx);

struct blob_pool *blob_pool_new(struct loop *lp, struct conn_memory *cm)
{
    struct blob_pool *bp = mem_zalloc(sizeof(*bp));
    bp->loop = lp;
    bp->cm = cm;
    atomic_init(&bp->refs, 1);
    timer_init(&bp->trim, on_trim, bp);
    return bp;
}

static void unref(struct blob_pool *bp)
{
    /* Acquire and release: the last one sees what the others did with the pool. */
    if (atomic_fetch_sub_explicit(&bp->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(bp);
    }
}

static struct blob *pop(struct blob_pool *bp, size_t class)
{
    struct stack *st = &bp->stacks[class];
    struct blob *b = st->top;
    memcpy(&st->top, b->data, sizeof(st->top));
    st->count--;
    st->least = min_size(st->least, st->count);
    bp->kept -= b->cap;
    return b;
}

static void push(struct blob_pool *bp, size_t class, struct blob *b)
{
    struct stack *st = &bp->stacks[class];
    memcpy(b->data, &st->top, sizeof(st->top));
    st->top = b;
    st->count++;
    bp->kept += b->cap;
    if (!timer_is_armed(&bp->trim)) {
        timers_arm(loop_timers(bp->loop), &bp->trim, loop_now_ms(bp->loop) + BLOB_POOL_TRIM_MS);
    }
}

static void free_kept(struct blob_pool *bp, size_t class, size_t count)
{
    for (; count > 0; count--) {
        mem_free(pop(bp, class));
    }
}

static void on_trim(struct timer *t, void *ctx)
{
    struct blob_pool *bp = ctx;
    for (size_t i = 0; i < CLASSES; i++) {
        free_kept(bp, i, bp->stacks[i].least);
        bp->stacks[i].least = bp->stacks[i].count;
    }
    if (bp->kept > 0) {
        timers_arm(loop_timers(bp->loop), t, loop_now_ms(bp->loop) + BLOB_POOL_TRIM_MS);
    }
}

void blob_pool_let_go(struct blob_pool *bp)
{
    timers_disarm(loop_timers(bp->loop), &bp->trim);
    for (size_t i = 0; i < CLASSES; i++) {
        free_kept(bp, i, bp->stacks[i].count);
    }
    atomic_store_explicit(&bp->owner, 0, memory_order_relaxed); /* so reap is not called either */
    unref(bp);
}

static size_t class_of(size_t size)
{
    size_t class = 0;
    while ((size_t)BLOB_POOL_CLASS_MIN << class < size) {
        class ++;
    }
    return class;
}

size_t blob_pool_size_of(size_t size)
{
    if (size <= BLOB_POOL_CLASS_MAX) {
        return (size_t)BLOB_POOL_CLASS_MIN << class_of(size);
    }
    return (size + EXACT_STEP - 1) / EXACT_STEP * EXACT_STEP;
}

static void give_back(struct blob_pool *bp, size_t cap)
{
    atomic_fetch_sub_explicit(&bp->lent, cap, memory_order_relaxed);
    conn_memory_give(bp->cm, cap);
    unref(bp);
}

/* A large blob on its way to be freed elsewhere: lies in the blob's own data. It counts as lent
 * until then. */
struct reaped {
    struct job job;
    struct blob_pool *bp; /* a reference, which was the blob's */
};

static_assert(sizeof(struct reaped) <= REAPED_BYTES, "lies in the data of a reaped blob");

static void run_reap(struct job *j)
{
    struct blob_pool *bp = container_of(j, struct reaped, job)->bp;
    struct blob *b = (void *)((char *)j - offsetof(struct blob, data));
    size_t cap = b->cap;
    mem_free(b);
    give_back(bp, cap);
}

static void reap_blob(struct blob_pool *bp, struct blob *b)
{
    struct reaped *rd = (void *)b->data;
    *rd = (struct reaped){.job.run = run_reap, .bp = bp};
    bp->reap(bp->reap_ctx, &rd->job);
}

void blob_pool_set_reaper(struct blob_pool *bp, void (*reap)(void *ctx, struct job *j), void *ctx)
{
    bp->reap = reap;
    bp->reap_ctx = ctx;
}

static void on_free(struct blob *b, void *ctx)
{
    struct blob_pool *bp = ctx;
    size_t cap = b->cap;
    /* Relaxed: whoever reads its own id there has written it. The loop itself may be gone. */
    bool is_owner = atomic_load_explicit(&bp->owner, memory_order_relaxed) == pthread_self();
    if (cap <= BLOB_POOL_CLASS_MAX && is_owner && bp->kept + cap <= BLOB_POOL_KEPT_MAX) {
        push(bp, class_of(cap), b);
    } else if (cap >= REAPED_BYTES && is_owner && bp->reap != NULL) {
        reap_blob(bp, b);
        return;
    } else {
        mem_free(b);
    }
    give_back(bp, cap);
}

static void lend(struct blob_pool *bp, struct blob *b)
{
    atomic_store_explicit(&b->refs, 1, memory_order_relaxed);
    b->on_free = on_free;
    b->ctx = bp;
    atomic_fetch_add_explicit(&bp->refs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&bp->lent, b->cap, memory_order_relaxed);
}

struct blob *blob_pool_take(struct blob_pool *bp, size_t size, enum conn_memory_use use)
{
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    size_t cap = blob_pool_size_of(size);
    atomic_store_explicit(&bp->owner, pthread_self(), memory_order_relaxed);
    if (!conn_memory_take(bp->cm, cap, use)) {
        return NULL;
    }
    struct blob *b;
    if (cap <= BLOB_POOL_CLASS_MAX && bp->stacks[class_of(cap)].count > 0) {
        b = pop(bp, class_of(cap));
    } else {
        b = blob_try_new(cap);
        if (b == NULL) {
            conn_memory_give(bp->cm, cap);
            return NULL;
        }
    }
    lend(bp, b);
    return b;
}

struct blob *blob_pool_grow(struct blob_pool *bp,
                            struct blob *b,
                            size_t used,
                            size_t size,
                            enum conn_memory_use use)
{
    check(!blob_is_shared(b) && used <= b->cap);
    if (size <= b->cap) {
        return b;
    }
    if (b->cap < MAPPED_BYTES || size > SIZE_MAX / 2) {
        struct blob *to = blob_pool_take(bp, size, use);
        if (to != NULL) {
            memcpy(to->data, b->data, used);
            blob_unref(b);
        }
        return to;
    }
    /* The system moves pages, nothing is copied. */
    size_t had = b->cap;
    size_t cap = blob_pool_size_of(size);
    if (!conn_memory_take(bp->cm, cap, use)) {
        return NULL;
    }
    struct blob *to = mem_try_realloc(b, sizeof(*b) + cap);
    if (to == NULL) {
        conn_memory_give(bp->cm, cap);
        return NULL;
    }
    to->cap = cap;
    atomic_fetch_add_explicit(&bp->lent, cap - had, memory_order_relaxed);
    conn_memory_give(bp->cm, had);
    return to;
}

size_t blob_pool_lent(const struct blob_pool *bp)
{
    return atomic_load_explicit(&bp->lent, memory_order_relaxed);
}

size_t blob_pool_kept(const struct blob_pool *bp)
{
    return bp->kept;
}
