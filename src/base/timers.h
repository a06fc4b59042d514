/*
 * Deadlines (P): a heap of timers in the caller's structs. The owner asks for the next deadline,
 * sleeps as it likes, and calls timers_run. One thread.
 */
#ifndef BASE_TIMERS_H
#define BASE_TIMERS_H

#include "base/base.h"

struct timer {
    int64_t deadline_ms;
    size_t slot;                              /* place in the heap + 1; 0: not armed */
    void (*fire)(struct timer *t, void *ctx); /* already disarmed when called; may arm again */
    void *ctx;
};

struct timers {
    struct timer **heap; /* owned array of borrowed timers */
    size_t count;
    size_t cap;
};

void timers_init(struct timers *ts);
void timers_release(struct timers *ts);
void timer_init(struct timer *t, void (*fire)(struct timer *t, void *ctx), void *ctx);
void timers_arm(struct timers *ts, struct timer *t, int64_t deadline_ms); /* moves an armed one */
void timers_disarm(struct timers *ts, struct timer *t);                   /* takes a disarmed one */
static inline bool timer_is_armed(const struct timer *t)
{
    return t->slot != 0;
}
int64_t timers_next(const struct timers *ts);             /* INT64_MAX: none */
size_t timers_run(struct timers *ts, int64_t now_ms);     /* fires what is due; returns how many */
bool timers_run_first(struct timers *ts, int64_t now_ms); /* fires one; false: none is due */

#endif
