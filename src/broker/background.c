/*
 * Background threads; see background.h. Workers that share a queue of jobs, and take the pass that
 * is due between them.
 */
#include "broker/background.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"

#define WORKERS          3
#define WORKERS_NICE     5      /* loops first */
#define WORKERS_SLICE_NS 200000 /* of the processor */

struct background {
    struct background_options options; /* constant */
    struct thread workers[WORKERS];
    struct lock lock; /* LOCK_MAILBOX: what follows */
    struct cond cond;
    struct list jobs;
    struct list heavy; /* struct heavy_task by job.node */
    int heavy_running;
    int64_t heavy_charged; /* bytes that those that were begun hold */
    bool stops;
    int64_t pass_at_ms; /* machine clock; INT64_MAX: no pass is due */
    bool pass_runs;
};

/* Under the lock. */
static void pass_within_locked(struct background *bg, int64_t wait_ms)
{
    int64_t now_ms = clock_mono_ms(bg->options.clock);
    int64_t at_ms = wait_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + wait_ms;
    if (at_ms < bg->pass_at_ms) {
        bg->pass_at_ms = at_ms;
        cond_signal(&bg->cond);
    }
}

struct background *background_new(const struct background_options *options)
{
    struct background *bg = mem_zalloc(sizeof(*bg));
    bg->options = *options;
    lock_init(&bg->lock, LOCK_MAILBOX);
    cond_init(&bg->cond);
    list_init(&bg->jobs);
    list_init(&bg->heavy);
    bg->pass_at_ms = INT64_MAX;
    return bg;
}

/* Under the lock. True: this thread takes the pass that is due. */
static bool take_pass_locked(struct background *bg)
{
    if (bg->pass_runs || clock_mono_ms(bg->options.clock) < bg->pass_at_ms) {
        return false;
    }
    bg->pass_runs = true;
    bg->pass_at_ms = INT64_MAX;
    return true;
}

static bool has_room_locked(const struct background *bg, const struct heavy_task *ht)
{
    if (ht->charge == 0 || bg->stops) {
        return true;
    }
    const struct mem_budget *answers = bg->options.answers;
    int64_t waiting = atomic_load_explicit(&answers->used, memory_order_relaxed);
    if (waiting > answers->max) {
        return false; /* until they leave, or their connections end */
    }
    return bg->heavy_charged == 0 ||
           bg->heavy_charged + waiting + ht->charge <= BACKGROUND_HEAVY_BYTES;
}

/* True: it ran one. */
static bool run_heavy_locked(struct background *bg)
{
    if (list_is_empty(&bg->heavy) || (bg->heavy_running >= WORKERS - 1 && !bg->stops)) {
        return false;
    }
    struct heavy_task *ht = list_entry(bg->heavy.next, struct heavy_task, job.node);
    if (!has_room_locked(bg, ht)) {
        return false;
    }
    list_remove(&ht->job.node);
    bg->heavy_running++;
    bg->heavy_charged += ht->charge;
    lock_give(&bg->lock);
    ht->job.run(&ht->job);
    lock_take(&bg->lock);
    bg->heavy_running--;
    return true;
}

static void worker_main(void *ctx)
{
    struct background *bg = ctx;
    thread_set_slice(WORKERS_SLICE_NS, WORKERS_NICE);
    lock_take(&bg->lock);
    for (;;) {
        struct list *node = list_pop_front(&bg->jobs);
        if (node != NULL) {
            struct job *j = list_entry(node, struct job, node);
            lock_give(&bg->lock);
            j->run(j);
            lock_take(&bg->lock);
            continue;
        }
        if (run_heavy_locked(bg)) {
            continue;
        }
        if (bg->stops) {
            break;
        }
        if (take_pass_locked(bg)) {
            lock_give(&bg->lock);
            int64_t wait_ms = bg->options.pass(bg->options.ctx);
            lock_take(&bg->lock);
            bg->pass_runs = false;
            pass_within_locked(bg, wait_ms);
            continue;
        }
        if (bg->pass_at_ms == INT64_MAX || bg->pass_runs) {
            cond_wait(&bg->cond, &bg->lock);
        } else {
            int64_t wait_ms = bg->pass_at_ms - clock_mono_ms(bg->options.clock);
            IGNORE(cond_wait_ms(&bg->cond, &bg->lock,
                                max_i64(wait_ms, 1))); /* either way we look again */
        }
    }
    lock_give(&bg->lock);
}

int background_start(struct background *bg)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < WORKERS; i++) {
        r = thread_start(&bg->workers[i], "bg-work", worker_main, bg);
    }
    return r;
}

void background_stop(struct background *bg)
{
    if (bg == NULL) {
        return;
    }
    lock_take(&bg->lock);
    bg->stops = true;
    cond_broadcast(&bg->cond);
    lock_give(&bg->lock);
    for (size_t i = 0; i < WORKERS; i++) {
        thread_join(&bg->workers[i]);
    }
}

struct background *background_free(struct background *bg)
{
    if (bg == NULL) {
        return NULL;
    }
    /* Jobs that came after the workers ended run here: nobody else is left. */
    for (struct list *node; (node = list_pop_front(&bg->jobs)) != NULL;) {
        struct job *j = list_entry(node, struct job, node);
        j->run(j);
    }
    for (struct list *node; (node = list_pop_front(&bg->heavy)) != NULL;) {
        struct heavy_task *ht = list_entry(node, struct heavy_task, job.node);
        ht->job.run(&ht->job);
    }
    cond_release(&bg->cond);
    lock_release(&bg->lock);
    mem_free(bg);
    return NULL;
}

void background_post(struct background *bg, struct job *j)
{
    lock_take(&bg->lock);
    list_push_back(&bg->jobs, &j->node);
    lock_give(&bg->lock);
    cond_signal(&bg->cond); /* not before: who wakes needs the lock */
}

void background_post_heavy(struct background *bg, struct heavy_task *ht)
{
    lock_take(&bg->lock);
    if (ht->charge == 0) {
        list_push_front(&bg->heavy, &ht->job.node);
    } else {
        list_push_back(&bg->heavy, &ht->job.node);
    }
    lock_give(&bg->lock);
    cond_signal(&bg->cond);
}

bool background_take(struct background *bg, int64_t charge)
{
    lock_take(&bg->lock);
    bool has_room = bg->heavy_charged + charge <= 2 * BACKGROUND_HEAVY_BYTES;
    bg->heavy_charged += has_room ? charge : 0;
    lock_give(&bg->lock);
    return has_room;
}

void background_give(struct background *bg, int64_t charge)
{
    lock_take(&bg->lock);
    bg->heavy_charged -= charge;
    bool waits = !list_is_empty(&bg->heavy);
    if (waits) {
        cond_broadcast(&bg->cond);
    }
    lock_give(&bg->lock);
}

void background_look(struct background *bg)
{
    background_give(bg, 0);
}

void background_pass_within(struct background *bg, int64_t wait_ms)
{
    lock_take(&bg->lock);
    pass_within_locked(bg, wait_ms);
    lock_give(&bg->lock);
}
