/*
 * What the machine does to a loop that only computes. Its turns are 0.5 ms of work in a buffer that
 * lies in the cache: no system call, no page that is new, no wait. Where such a turn has taken more
 * than 2 ms of the thread's processor time, the kernel handled interrupts meanwhile, or the host
 * took the processor away, and both charge the thread. An event loop's turns cannot do better.
 */
#ifndef BENCHMARK_BARE_H
#define BENCHMARK_BARE_H

#include "base/base.h"

struct bare {
    int64_t turns;
    int64_t long_count; /* above 2 ms of processor time */
    int64_t max_us;
    double cpu_s;
};

/* Turns for so many seconds of processor time of the calling thread, added to `b`. */
void bare_run(struct bare *b, double cpu_s);

/* How many long turns the machine makes in so many seconds of processor time, by what was seen. */
double bare_expected(const struct bare *b, double cpu_s);

#endif
