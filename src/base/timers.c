/* Deadlines in a binary heap of pointers; each timer knows its place, so that moving or disarming
 * one is a sift from there. Timers of one deadline fire in no promised order. */
#include "base/timers.h"

#include "base/base.h"
#include "base/mem.h"

void timers_init(struct timers *ts)
{
    *ts = (struct timers){0};
}

void timers_release(struct timers *ts)
{
    for (size_t i = 0; i < ts->count; i++) {
        ts->heap[i]->slot = 0;
    }
    mem_free(ts->heap);
    *ts = (struct timers){0};
}

void timer_init(struct timer *t, void (*fire)(struct timer *t, void *ctx), void *ctx)
{
    *t = (struct timer){.fire = fire, .ctx = ctx};
}

static void put(struct timers *ts, size_t i, struct timer *t)
{
    ts->heap[i] = t;
    t->slot = i + 1;
}

static void sift_up(struct timers *ts, size_t i)
{
    struct timer *t = ts->heap[i];
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (ts->heap[parent]->deadline_ms <= t->deadline_ms) {
            break;
        }
        put(ts, i, ts->heap[parent]);
        i = parent;
    }
    put(ts, i, t);
}

static void sift_down(struct timers *ts, size_t i)
{
    struct timer *t = ts->heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= ts->count) {
            break;
        }
        if (child + 1 < ts->count &&
            ts->heap[child + 1]->deadline_ms < ts->heap[child]->deadline_ms) {
            child++;
        }
        if (t->deadline_ms <= ts->heap[child]->deadline_ms) {
            break;
        }
        put(ts, i, ts->heap[child]);
        i = child;
    }
    put(ts, i, t);
}

void timers_arm(struct timers *ts, struct timer *t, int64_t deadline_ms)
{
    if (t->slot == 0) {
        ts->heap = mem_grow(ts->heap, &ts->cap, ts->count + 1, sizeof(ts->heap[0]));
        t->deadline_ms = deadline_ms;
        put(ts, ts->count++, t);
        sift_up(ts, t->slot - 1);
        return;
    }
    check(ts->heap[t->slot - 1] == t);
    bool is_earlier = deadline_ms < t->deadline_ms;
    t->deadline_ms = deadline_ms;
    if (is_earlier) {
        sift_up(ts, t->slot - 1);
    } else {
        sift_down(ts, t->slot - 1);
    }
}

void timers_disarm(struct timers *ts, struct timer *t)
{
    if (t->slot == 0) {
        return;
    }
    size_t i = t->slot - 1;
    check(ts->heap[i] == t);
    t->slot = 0;
    struct timer *last = ts->heap[--ts->count];
    if (last == t) {
        return;
    }
    put(ts, i, last);
    sift_up(ts, i);
    sift_down(ts, last->slot - 1);
}

int64_t timers_next(const struct timers *ts)
{
    return ts->count == 0 ? INT64_MAX : ts->heap[0]->deadline_ms;
}

bool timers_run_first(struct timers *ts, int64_t now_ms)
{
    if (ts->count == 0 || ts->heap[0]->deadline_ms > now_ms) {
        return false;
    }
    struct timer *t = ts->heap[0];
    timers_disarm(ts, t);
    t->fire(t, t->ctx);
    return true;
}

size_t timers_run(struct timers *ts, int64_t now_ms)
{
    /* A timer that arms itself again for a deadline already past must not hold the loop: at most as
     * many fire as were armed at the start. */
    size_t max = ts->count;
    size_t fired = 0;
    while (fired < max && timers_run_first(ts, now_ms)) {
        fired++;
    }
    return fired;
}
