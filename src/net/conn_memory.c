/*
 * Request memory of a broker: two budgets that are taken together, and who waits for them.
 *
 * Small requests take what they need. A large frame needs a pass: the size of the whole frame is
 * promised to it before it may go on, and the promises and what is in use fill three quarters of a
 * budget at most; where no large frame is under way one passes whatever its size (as Kafka's
 * SimpleMemoryPool lets one pass while anything is left). So whoever has a pass needs nobody else
 * to become whole, and memory is bounded by the budget, or by one request and a quarter of the
 * budget.
 *
 * Passes are granted in the order of coming, by whoever gives back, on any thread. But huge frames
 * have a queue of their own, with a turn after HUGE_TURN others, so that many that are promised and
 * do not come hold up others for one at a time only; and those whose bytes are not there have their
 * turn when nobody else waits, for they would hold a promise for nothing.
 *
 * Whoever waits announces it (has_waiters) before the last try; whoever gives looks after it has
 * given. Both orders are sequentially consistent, so that one of them sees the other and no wake-up
 * is lost. The sums are read one by one: two threads that take small pieces at once may exceed a
 * budget by one of them.
 */
#include "net/conn_memory.h"

#include "base/base.h"

enum {
    BEYOND_BYTES = 256 << 10,
    HUGE_BYTES = 4 << 20,
    HUGE_TURN = 16,
};

struct conn_memory {
    struct mem_budget *memory; /* borrowed, may be NULL */
    struct mem_budget *queued; /* borrowed, may be NULL */
    _Atomic int64_t large;     /* bytes in use by large pieces; the budgets count them too */
    _Atomic int64_t promised;  /* bytes that passes may still take */
    atomic_bool has_waiters;
    struct lock lock;
    struct list waiters;
    struct list queue; /* struct conn_pass */
    struct list huge; /* the same, above HUGE_BYTES; each is granted after HUGE_TURN of the queue */
    struct list late; /* the same: their turn comes when the others are empty */
    size_t passed;    /* granted from the queue since one of huge was */
};

struct conn_memory *conn_memory_new(struct mem_budget *memory, struct mem_budget *queued)
{
    struct conn_memory *cm = mem_zalloc(sizeof(*cm));
    cm->memory = memory;
    cm->queued = queued;
    lock_init(&cm->lock, LOCK_NET);
    list_init(&cm->waiters);
    list_init(&cm->queue);
    list_init(&cm->huge);
    list_init(&cm->late);
    return cm;
}

/* Whose turn it is; NULL: nobody waits. */
static struct conn_pass *first_locked(const struct conn_memory *cm)
{
    bool is_turn = list_is_empty(&cm->queue) || cm->passed >= HUGE_TURN;
    const struct list *from = is_turn && !list_is_empty(&cm->huge) ? &cm->huge
                              : !list_is_empty(&cm->queue)         ? &cm->queue
                                                                   : &cm->late;
    return list_is_empty(from) ? NULL : list_entry(from->next, struct conn_pass, node);
}

struct conn_memory *conn_memory_free(struct conn_memory *cm)
{
    if (cm != NULL) {
        check(list_is_empty(&cm->waiters) && first_locked(cm) == NULL);
        check(atomic_load(&cm->promised) == 0);
        lock_release(&cm->lock);
        mem_free(cm);
    }
    return NULL;
}

static int64_t load(const _Atomic int64_t *sum)
{
    /* Relaxed: the sums guard no other memory. */
    return atomic_load_explicit(sum, memory_order_relaxed);
}

static bool is_bounded(const struct conn_memory *cm)
{
    return cm != NULL && ((cm->memory != NULL && cm->memory->max > 0) ||
                          (cm->queued != NULL && cm->queued->max > 0));
}

/* With so many bytes more, does it hold no more than `most` of its four quarters? */
static bool is_below(struct conn_memory *cm, struct mem_budget *b, int64_t bytes, int64_t most)
{
    return b == NULL || b->max <= 0 ||
           bytes <=
               b->max / 4 * most + b->max % 4 * most / 4 - load(&b->used) - load(&cm->promised);
}

static bool
take_one(struct conn_memory *cm, struct mem_budget *b, int64_t bytes, enum conn_memory_use use)
{
    if (b == NULL) {
        return true;
    }
    bool is_in_reserve = load(&b->used) - load(&cm->large) + bytes <= b->max / 4;
    if (use == CONN_MEMORY_SMALL && !is_in_reserve) {
        return is_below(cm, b, bytes, 4) && mem_budget_take(b, bytes);
    }
    if (use == CONN_MEMORY_BEYOND && !is_below(cm, b, bytes - BEYOND_BYTES, 5)) {
        return false;
    }
    atomic_fetch_add_explicit(&b->used, bytes, memory_order_relaxed);
    return true;
}

bool conn_memory_take(struct conn_memory *cm, size_t bytes, enum conn_memory_use use)
{
    if (cm == NULL) {
        return true;
    }
    if (!take_one(cm, cm->memory, to_i64(bytes), use)) {
        return false;
    }
    if (!take_one(cm, cm->queued, to_i64(bytes), use)) {
        if (cm->memory != NULL) {
            mem_budget_give(cm->memory, to_i64(bytes));
        }
        return false;
    }
    if (bytes > CONN_MEMORY_LARGE_BYTES) {
        atomic_fetch_add_explicit(&cm->large, to_i64(bytes), memory_order_relaxed);
    }
    return true;
}

bool conn_memory_is_short(struct conn_memory *cm)
{
    return is_bounded(cm) && !(is_below(cm, cm->memory, 0, 2) && is_below(cm, cm->queued, 0, 2));
}

/* --- passes --- */

static bool fits(struct conn_memory *cm, size_t bytes)
{
    return load(&cm->large) + load(&cm->promised) == 0 ||
           (is_below(cm, cm->memory, to_i64(bytes), 3) &&
            is_below(cm, cm->queued, to_i64(bytes), 3));
}

static void grant_locked(struct conn_memory *cm, struct conn_pass *pass)
{
    atomic_fetch_add_explicit(&cm->promised, to_i64(pass->bytes), memory_order_relaxed);
    /* Release: the loop that sees it goes on with what was written before. */
    atomic_store_explicit(&pass->is_granted, true, memory_order_release);
}

/* Those whose turn it is. */
static void grant_queue_locked(struct conn_memory *cm)
{
    struct list told;
    list_init(&told);
    struct conn_pass *pass;
    while ((pass = first_locked(cm)) != NULL && fits(cm, pass->bytes)) {
        cm->passed = pass->bytes > HUGE_BYTES ? 0 : cm->passed + 1;
        list_remove(&pass->node);
        struct loop_waiter *w = pass->waiter; /* the pass is its loop's once it is granted */
        grant_locked(cm, pass);
        list_remove(&w->node);
        loop_waiter_add_locked(w, &told);
    }
    loop_waiter_wake_locked(&told);
}

/* Memory or a promise was given back. */
static void look_for_waiters(struct conn_memory *cm)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (likely(!atomic_load_explicit(&cm->has_waiters, memory_order_relaxed))) {
        return;
    }
    lock_take(&cm->lock);
    grant_queue_locked(cm);
    loop_waiter_wake_locked(&cm->waiters);
    atomic_store(&cm->has_waiters, first_locked(cm) != NULL);
    lock_give(&cm->lock);
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
    if (bytes > CONN_MEMORY_LARGE_BYTES) {
        atomic_fetch_sub_explicit(&cm->large, to_i64(bytes), memory_order_relaxed);
    }
    look_for_waiters(cm);
}

bool conn_pass_is_granted(const struct conn_pass *pass)
{
    /* Acquire: with the release in grant_locked. */
    return atomic_load_explicit(&pass->is_granted, memory_order_acquire);
}

static bool pass_or_queue(struct conn_memory *cm,
                          struct conn_pass *pass,
                          size_t bytes,
                          bool has_bytes,
                          struct loop_waiter *w)
{
    if (conn_pass_is_granted(pass)) {
        return true;
    }
    if (!is_bounded(cm)) {
        pass->bytes = 0;
        atomic_store_explicit(&pass->is_granted, true, memory_order_relaxed); /* its own thread */
        return true;
    }
    lock_take(&cm->lock);
    bool is_queued = list_is_linked(&pass->node);
    if (!conn_pass_is_granted(pass) && (!is_queued || (has_bytes && pass->is_late))) {
        list_remove(&pass->node);
        pass->bytes = bytes;
        pass->waiter = w;
        pass->is_late = !has_bytes;
        if (first_locked(cm) == NULL && fits(cm, bytes)) {
            grant_locked(cm, pass);
        } else if (w != NULL) {
            atomic_store(&cm->has_waiters, true);
            atomic_thread_fence(memory_order_seq_cst);
            list_push_back(!has_bytes            ? &cm->late
                           : bytes <= HUGE_BYTES ? &cm->queue
                                                 : &cm->huge,
                           &pass->node);
            grant_queue_locked(cm);
        }
    }
    bool is_granted = conn_pass_is_granted(pass);
    lock_give(&cm->lock);
    return is_granted;
}

bool conn_memory_try_pass(struct conn_memory *cm, struct conn_pass *pass, size_t bytes)
{
    return pass_or_queue(cm, pass, bytes, false, NULL);
}

bool conn_memory_ask_pass(struct conn_memory *cm,
                          struct conn_pass *pass,
                          size_t bytes,
                          bool has_bytes,
                          struct loop_waiter *w)
{
    return pass_or_queue(cm, pass, bytes, has_bytes, w);
}

void conn_memory_set_pass(struct conn_memory *cm, struct conn_pass *pass, size_t bytes)
{
    if (!is_bounded(cm) || pass->bytes == bytes) {
        return;
    }
    int64_t more = to_i64(bytes) - to_i64(pass->bytes);
    pass->bytes = bytes;
    atomic_fetch_add_explicit(&cm->promised, more, memory_order_relaxed);
    if (more < 0) {
        look_for_waiters(cm);
    }
}

void conn_memory_end_pass(struct conn_memory *cm, struct conn_pass *pass)
{
    bool is_granted = conn_pass_is_granted(pass);
    if (!is_granted && pass->waiter == NULL) {
        return; /* never asked */
    }
    if (!is_granted) {
        lock_take(&cm->lock);
        list_remove(&pass->node);
        is_granted = conn_pass_is_granted(pass); /* meanwhile */
        lock_give(&cm->lock);
    }
    if (is_granted) {
        conn_memory_set_pass(cm, pass, 0);
    } else {
        look_for_waiters(cm); /* who came behind it may be smaller */
    }
    pass->waiter = NULL;
    atomic_store_explicit(&pass->is_granted, false, memory_order_relaxed); /* its own thread */
}

bool conn_memory_is_wanted(struct conn_memory *cm)
{
    /* Relaxed: who looks, looks again soon. */
    return cm != NULL && atomic_load_explicit(&cm->has_waiters, memory_order_relaxed);
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
