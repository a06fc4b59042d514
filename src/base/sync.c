/*
 * Threads, ranked locks, mailboxes; see sync.h.
 *
 * Which locks a thread holds is known only in builds with debug_checks, in a small array of the
 * thread: the one place where thread-local state is worth its price, since it is the thread that is
 * being checked.
 */
#include "base/sync.h"

#include "base/base.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef JACKDAW_DCHECK

enum {
    HELD_MAX = 16,
};

static __thread const struct lock *held[HELD_MAX];
static __thread size_t held_count;

static void note_take(const struct lock *l)
{
    check(held_count < HELD_MAX);
    /* Ascending ranks: two threads can never wait for each other in a circle. */
    check(held_count == 0 || held[held_count - 1]->rank < l->rank);
    held[held_count++] = l;
}

static void note_give(const struct lock *l)
{
    size_t i = held_count;
    while (i > 0 && held[i - 1] != l) {
        i--;
    }
    check(i > 0); /* given by the thread that took it */
    for (; i < held_count; i++) {
        held[i - 1] = held[i];
    }
    held_count--;
}

static void note_wait(const struct lock *l)
{
    /* Whoever waits holds nothing else, or others wait for him without knowing. */
    check(held_count == 1 && held[0] == l);
}

#else

static void note_take(const struct lock *l)
{
    (void)l;
}

static void note_give(const struct lock *l)
{
    (void)l;
}

static void note_wait(const struct lock *l)
{
    (void)l;
}

#endif

void lock_init(struct lock *l, enum lock_rank rank)
{
    l->rank = rank;
    check(pthread_mutex_init(&l->mutex, NULL) == 0);
}

void lock_release(struct lock *l)
{
    check(pthread_mutex_destroy(&l->mutex) == 0);
}

void lock_take(struct lock *l)
{
    note_take(l);
    check(pthread_mutex_lock(&l->mutex) == 0);
}

void lock_give(struct lock *l)
{
    note_give(l);
    check(pthread_mutex_unlock(&l->mutex) == 0);
}

void cond_init(struct cond *c)
{
    pthread_condattr_t attr;
    check(pthread_condattr_init(&attr) == 0);
    check(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    check(pthread_cond_init(&c->cond, &attr) == 0);
    check(pthread_condattr_destroy(&attr) == 0);
}

void cond_release(struct cond *c)
{
    check(pthread_cond_destroy(&c->cond) == 0);
}

void cond_wait(struct cond *c, struct lock *l)
{
    note_wait(l);
    check(pthread_cond_wait(&c->cond, &l->mutex) == 0);
}

bool cond_wait_ms(struct cond *c, struct lock *l, int64_t timeout_ms)
{
    note_wait(l);
    struct timespec ts;
    check(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    timeout_ms = max_i64(0, min_i64(timeout_ms, INT64_C(1000) * 3600 * 24 * 365));
    ts.tv_sec += timeout_ms / 1000;
    ts.tv_nsec += (timeout_ms % 1000) * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_nsec -= 1000000000;
        ts.tv_sec++;
    }
    int r = pthread_cond_timedwait(&c->cond, &l->mutex, &ts);
    check(r == 0 || r == ETIMEDOUT);
    return r == 0;
}

void cond_signal(struct cond *c)
{
    check(pthread_cond_signal(&c->cond) == 0);
}

void cond_broadcast(struct cond *c)
{
    check(pthread_cond_broadcast(&c->cond) == 0);
}

static void *thread_main(void *ptr)
{
    struct thread *t = ptr;
    t->run(t->ctx);
    return NULL;
}

int thread_start(struct thread *t, const char *name, void (*run)(void *ctx), void *ctx)
{
    *t = (struct thread){.run = run, .ctx = ctx};
    snprintf(t->name, sizeof(t->name), "%s", name);
    /* Signals are the main thread's: a new thread inherits a mask that blocks them all. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    check(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int r = pthread_create(&t->id, NULL, thread_main, t);
    check(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (r != 0) {
        return -r;
    }
    t->is_started = true;
    IGNORE(pthread_setname_np(t->id, t->name)); /* only a help for whoever looks on */
    return 0;
}

#define NICE_MOST 19

/* struct sched_attr of the kernel, as it was at first; the C library has none. */
struct slice_wish {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};

void thread_set_slice(int64_t slice_ns, int nice_steps)
{
    struct slice_wish wish = {
        .size = sizeof(wish),
        .policy = SCHED_OTHER,
        .nice = (int32_t)min_i64(getpriority(PRIO_PROCESS, 0) + nice_steps, NICE_MOST),
        .runtime = (uint64_t)slice_ns,
    };
    /* Somebody may have chosen another policy for all threads, a sandbox may refuse the call: then
     * it is the priority alone, which is of this thread on Linux. It is a wish in any case. */
    if (sched_getscheduler(0) != SCHED_OTHER || syscall(SYS_sched_setattr, 0, &wish, 0) != 0) {
        IGNORE(setpriority(PRIO_PROCESS, (id_t)gettid(), wish.nice) != 0);
    }
}

void thread_join(struct thread *t)
{
    if (t->is_started) {
        check(pthread_join(t->id, NULL) == 0);
        t->is_started = false;
    }
}

void mailbox_init(struct mailbox *m, size_t max, void (*wake)(void *ctx), void *ctx)
{
    *m = (struct mailbox){.max = max, .wake = wake, .ctx = ctx};
    lock_init(&m->lock, LOCK_MAILBOX);
    list_init(&m->jobs);
}

void mailbox_release(struct mailbox *m)
{
    check(list_is_empty(&m->jobs));
    lock_release(&m->lock);
}

bool mailbox_post(struct mailbox *m, struct job *j)
{
    lock_take(&m->lock);
    bool is_refused = m->is_closed || (m->max != 0 && m->count >= m->max);
    bool was_empty = list_is_empty(&m->jobs);
    if (!is_refused) {
        list_push_back(&m->jobs, &j->node);
        m->count++;
    }
    lock_give(&m->lock);
    if (is_refused) {
        return false;
    }
    if (was_empty && m->wake != NULL) {
        m->wake(m->ctx);
    }
    return true;
}

void mailbox_take(struct mailbox *m, struct list *to)
{
    lock_take(&m->lock);
    list_splice_back(to, &m->jobs);
    m->count = 0;
    lock_give(&m->lock);
}

void mailbox_close(struct mailbox *m)
{
    lock_take(&m->lock);
    m->is_closed = true;
    lock_give(&m->lock);
}
