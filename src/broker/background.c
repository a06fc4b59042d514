/*
 * Background threads; see background.h. One flusher thread (a round syncs everything that is
 * queued), and workers that share a queue of jobs and look after retention between them.
 */
#include "broker/background.h"

#include "base/err.h"
#include "broker/broker.h"
#include "broker/config.h"
#include "broker/io_thread.h"
#include "broker/log_dirs.h"
#include "broker/partition.h"
#include "broker/request.h"
#include "storage/flusher.h"

#define WORKERS            3
#define WORKERS_NICE       5      /* loops first */
#define WORKERS_SLICE_NS   200000 /* of the processor */
#define FLUSHER_SLICE_NS   100000
#define OFFLOAD_CHARGE     (INT64_C(1) << 20)
#define RETENTION_FIRST_MS 30000 /* as Kafka's log.initial.task.delay.ms */

struct background {
    struct broker *br;
    struct flusher *flusher;
    struct thread flush_thread;
    struct thread workers[WORKERS];
    struct lock flush_lock; /* LOCK_LEAF: the three below */
    struct cond flush_cond;
    bool flush_wanted;
    bool flush_stops;
    struct lock lock; /* LOCK_MAILBOX: what follows */
    struct cond cond;
    struct list jobs;
    struct list heavy; /* struct heavy_task by job.node */
    int heavy_running;
    int64_t heavy_charged; /* bytes that those that were begun hold */
    bool stops;
    int64_t retention_interval_ms; /* constant */
    int64_t retention_at_ms;       /* machine clock; INT64_MAX: no pass is due */
    bool retention_runs;
    _Atomic int64_t unscanned_bytes; /* flushed since the last checkpoint */
    _Atomic bool checkpoint_queued;
    struct job checkpoint_job;
};

static void run_checkpoint(struct job *j)
{
    struct background *bg = container_of(j, struct background, checkpoint_job);
    atomic_store(&bg->unscanned_bytes, 0);
    atomic_store(&bg->checkpoint_queued, false);
    log_dirs_checkpoint(bg->br->log_dirs);
}

/* The flusher thread, after a log's bytes are on stable storage. */
static void on_flushed(void *ctx, struct plog *pl, int64_t flushed, int err)
{
    struct background *bg = ctx;
    struct partition *p = plog_owner(pl);
    partition_flushed(p, flushed, err);
    if (err < 0) {
        /* A log that is being deleted is offline, under another name: no news of the disk. */
        if (!atomic_load(&p->is_deleted)) {
            log_dirs_fail(bg->br->log_dirs, p->ld, err);
        }
        return;
    }
    int64_t bytes = plog_uncheckpointed_bytes(pl);
    int64_t before = atomic_exchange_explicit(&p->uncheckpointed, bytes, memory_order_relaxed);
    int64_t grown = bytes > before ? bytes - before : 0;
    if (atomic_fetch_add(&bg->unscanned_bytes, grown) + grown >= BACKGROUND_CHECKPOINT_BYTES &&
        !atomic_exchange(&bg->checkpoint_queued, true)) {
        background_post(bg, &bg->checkpoint_job);
    }
}

static void flush_main(void *ctx)
{
    struct background *bg = ctx;
    thread_set_slice(FLUSHER_SLICE_NS, 0);
    for (;;) {
        lock_take(&bg->flush_lock);
        while (!bg->flush_wanted && !bg->flush_stops) {
            cond_wait(&bg->flush_cond, &bg->flush_lock);
        }
        bool stops = bg->flush_stops && !bg->flush_wanted;
        bg->flush_wanted = false;
        lock_give(&bg->flush_lock);
        if (stops) {
            return;
        }
        while (flusher_round(bg->flusher) > 0) {
        }
    }
}

int64_t background_retention_wait(int64_t now_ms, int64_t interval_ms, int64_t earliest_ms)
{
    return earliest_ms == INT64_MAX ? INT64_MAX : max_i64(interval_ms, earliest_ms - now_ms);
}

/* Returns how long to wait for the next pass. */
static int64_t apply_retention(struct background *bg)
{
    int64_t earliest_ms = INT64_MAX;
    struct partition **all = NULL;
    size_t count = 0;
    partition_all(bg->br->partitions, &all, &count);
    int64_t now_ms = clock_now_ms(bg->br->clock);
    for (size_t i = 0; i < count; i++) {
        struct partition *p = all[i];
        if (p->pl != NULL && !atomic_load(&p->is_deleted) && !plog_is_offline(p->pl)) {
            int r = plog_apply_retention(p->pl, now_ms);
            if (r < 0) {
                LOG_WARN(bg->br->logger, FAC_STORAGE,
                         "retention of " STR_FMT "-%d failed: %s; tried again at the next pass",
                         STR_ARG(p->topic), p->number, err_text(r));
            } else if (r > 0) {
                LOG_INFO(bg->br->logger, FAC_STORAGE,
                         "retention of " STR_FMT "-%d removed %d segments", STR_ARG(p->topic),
                         p->number, r);
            }
            earliest_ms = min_i64(earliest_ms, plog_next_expiry(p->pl));
        }
        partition_unref(p);
    }
    mem_free(all);
    return background_retention_wait(now_ms, bg->retention_interval_ms, earliest_ms);
}

/* Under the lock. */
static void retention_within_locked(struct background *bg, int64_t wait_ms)
{
    int64_t now_ms = clock_mono_ms(bg->br->clock);
    int64_t at_ms = wait_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + wait_ms;
    if (at_ms < bg->retention_at_ms) {
        bg->retention_at_ms = at_ms;
        cond_signal(&bg->cond);
    }
}

/* Any thread, often: rolls of busy logs come here and find a pass already due within the interval.
 */
static void on_grown(void *ctx)
{
    struct background *bg = ctx;
    lock_take(&bg->lock);
    retention_within_locked(bg, bg->retention_interval_ms);
    lock_give(&bg->lock);
}

struct background *background_new(struct broker *br)
{
    struct background *bg = mem_zalloc(sizeof(*bg));
    bg->br = br;
    bg->flusher = flusher_new(br->env, on_flushed, bg);
    lock_init(&bg->flush_lock, LOCK_LEAF);
    cond_init(&bg->flush_cond);
    lock_init(&bg->lock, LOCK_MAILBOX);
    cond_init(&bg->cond);
    list_init(&bg->jobs);
    list_init(&bg->heavy);
    bg->retention_interval_ms = config_get_int(br->config, "log.retention.check.interval.ms");
    bg->retention_at_ms = INT64_MAX;
    br->env->on_grown = on_grown;
    br->env->on_grown_ctx = bg;
    bg->checkpoint_job.run = run_checkpoint;
    return bg;
}

/* Under the lock. True: this thread takes the pass that is due. */
static bool take_retention_locked(struct background *bg)
{
    if (bg->retention_runs || clock_mono_ms(bg->br->clock) < bg->retention_at_ms) {
        return false;
    }
    bg->retention_runs = true;
    bg->retention_at_ms = INT64_MAX;
    return true;
}

static bool has_room_locked(const struct background *bg, const struct heavy_task *ht)
{
    if (ht->charge == 0 || bg->stops) {
        return true;
    }
    const struct mem_budget *answers = &bg->br->answers;
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
        if (take_retention_locked(bg)) {
            lock_give(&bg->lock);
            int64_t wait_ms = apply_retention(bg);
            lock_take(&bg->lock);
            bg->retention_runs = false;
            retention_within_locked(bg, wait_ms);
            continue;
        }
        if (bg->retention_at_ms == INT64_MAX || bg->retention_runs) {
            cond_wait(&bg->cond, &bg->lock);
        } else {
            int64_t wait_ms = bg->retention_at_ms - clock_mono_ms(bg->br->clock);
            IGNORE(cond_wait_ms(&bg->cond, &bg->lock,
                                max_i64(wait_ms, 1))); /* either way we look again */
        }
    }
    lock_give(&bg->lock);
}

int background_start(struct background *bg)
{
    int r = thread_start(&bg->flush_thread, "bg-flush", flush_main, bg);
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
    lock_take(&bg->flush_lock);
    bg->flush_stops = true;
    cond_signal(&bg->flush_cond);
    lock_give(&bg->flush_lock);
    thread_join(&bg->flush_thread);
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
    bg->br->env->on_grown = NULL;
    flusher_free(bg->flusher);
    cond_release(&bg->cond);
    lock_release(&bg->lock);
    cond_release(&bg->flush_cond);
    lock_release(&bg->flush_lock);
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

void background_flush(struct background *bg, struct partition *p)
{
    if (flusher_add(bg->flusher, p->pl)) {
        lock_take(&bg->flush_lock);
        bg->flush_wanted = true;
        lock_give(&bg->flush_lock);
        cond_signal(&bg->flush_cond);
    }
}

void background_forget(struct background *bg, struct plog *pl)
{
    flusher_remove(bg->flusher, pl);
}

void background_retention_soon(struct background *bg)
{
    lock_take(&bg->lock);
    retention_within_locked(bg, RETENTION_FIRST_MS);
    lock_give(&bg->lock);
}

struct offload {
    struct heavy_task task;
    struct request *rq;
    void (*work)(struct request *rq);
    void (*done)(struct request *rq);
};

static void run_done(struct job *j)
{
    struct offload *ol = container_of(j, struct offload, task.job);
    ol->done(ol->rq);
}

static void run_work(struct job *j)
{
    struct offload *ol = container_of(j, struct offload, task.job);
    ol->work(ol->rq);
    j->run = run_done;
    check(loop_post(ol->rq->io->loop, j)); /* loops outlive the workers */
}

void background_offload(struct request *rq,
                        void (*work)(struct request *rq),
                        void (*done)(struct request *rq))
{
    struct offload *ol = arena_alloc(&rq->arena, sizeof(*ol));
    ol->task.job.run = run_work;
    ol->rq = rq;
    ol->work = work;
    ol->done = done;
    if (rq->charge == 0) {
        rq->charge = OFFLOAD_CHARGE;
        ol->task.charge = OFFLOAD_CHARGE;
    }
    background_post_heavy(rq->br->background, &ol->task);
}
