/*
 * The thread that syncs logs; see group_commit.h. It sleeps until a log comes to an empty queue,
 * and then makes rounds until there is nothing left: a round is as long as the disk needs, and what
 * comes meanwhile is the next one.
 */
#include "broker/group_commit.h"

#include "base/mem.h"
#include "base/sync.h"
#include "storage/flusher.h"

#define SLICE_NS 100000 /* of the processor */

struct group_commit {
    struct flusher *flusher;
    struct thread thread;
    struct lock lock; /* LOCK_LEAF: what follows */
    struct cond cond;
    bool is_wanted;
    bool stops;
    bool has_ended; /* the thread: who asks for a flush makes it */
};

struct group_commit *
group_commit_new(struct plog_env *env,
                 void (*on_flushed)(void *ctx, struct plog *pl, int64_t flushed, int err),
                 void *ctx)
{
    struct group_commit *gc = mem_zalloc(sizeof(*gc));
    gc->flusher = flusher_new(env, on_flushed, ctx);
    lock_init(&gc->lock, LOCK_LEAF);
    cond_init(&gc->cond);
    return gc;
}

static void flush_main(void *ctx)
{
    struct group_commit *gc = ctx;
    thread_set_slice(SLICE_NS, 0);
    for (;;) {
        lock_take(&gc->lock);
        while (!gc->is_wanted && !gc->stops) {
            cond_wait(&gc->cond, &gc->lock);
        }
        bool stops = gc->stops && !gc->is_wanted;
        gc->is_wanted = false;
        lock_give(&gc->lock);
        if (stops) {
            return;
        }
        while (flusher_round(gc->flusher) > 0) {
        }
    }
}

int group_commit_start(struct group_commit *gc)
{
    return thread_start(&gc->thread, "bg-flush", flush_main, gc);
}

void group_commit_stop(struct group_commit *gc)
{
    if (gc == NULL) {
        return;
    }
    lock_take(&gc->lock);
    gc->stops = true;
    cond_signal(&gc->cond);
    lock_give(&gc->lock);
    thread_join(&gc->thread);
    lock_take(&gc->lock);
    gc->has_ended = true;
    lock_give(&gc->lock);
}

struct group_commit *group_commit_free(struct group_commit *gc)
{
    if (gc == NULL) {
        return NULL;
    }
    flusher_free(gc->flusher);
    cond_release(&gc->cond);
    lock_release(&gc->lock);
    mem_free(gc);
    return NULL;
}

void group_commit_flush(struct group_commit *gc, struct plog *pl)
{
    if (flusher_add(gc->flusher, pl)) {
        lock_take(&gc->lock);
        gc->is_wanted = true;
        bool has_ended = gc->has_ended;
        lock_give(&gc->lock);
        cond_signal(&gc->cond);
        while (has_ended && flusher_round(gc->flusher) > 0) {
        }
    }
}

void group_commit_forget(struct group_commit *gc, struct plog *pl)
{
    flusher_remove(gc->flusher, pl);
}
