/* A loop that waits for what others give back; see loop_waiter.h. */
#include "net/loop_waiter.h"

static void run_resume(struct job *j)
{
    struct loop_waiter *w = container_of(j, struct loop_waiter, job);
    lock_take(w->lock);
    w->is_posted = false;
    lock_give(w->lock);
    w->resume(w->ctx);
}

void loop_waiter_init(struct loop_waiter *w,
                      struct lock *lock,
                      struct loop *loop,
                      void (*resume)(void *ctx),
                      void *ctx)
{
    *w = (struct loop_waiter){
        .job = {.run = run_resume},
        .lock = lock,
        .loop = loop,
        .resume = resume,
        .ctx = ctx,
    };
    list_init(&w->node);
}

void loop_waiter_add_locked(struct loop_waiter *w, struct list *waiters)
{
    if (!list_is_linked(&w->node)) {
        list_push_back(waiters, &w->node);
    }
}

void loop_waiter_wake_locked(struct list *waiters)
{
    for (struct list *node; (node = list_pop_front(waiters)) != NULL;) {
        struct loop_waiter *w = list_entry(node, struct loop_waiter, node);
        if (!w->is_posted) {
            /* Refused only when the loop takes no more jobs: then nobody waits there any more. */
            w->is_posted = loop_post(w->loop, &w->job);
        }
    }
}

void loop_waiter_release(struct loop_waiter *w)
{
    if (w->lock == NULL) {
        return;
    }
    for (;;) {
        lock_take(w->lock);
        list_remove(&w->node);
        bool is_posted = w->is_posted;
        lock_give(w->lock);
        if (!is_posted) {
            return;
        }
        loop_turn(w->loop, false); /* the job is in the mailbox */
    }
}
