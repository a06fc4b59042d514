/*
 * What a machine does besides a measurement: figures taken while others had the processors say
 * nothing about the broker.
 */
#ifndef BENCHMARK_QUIET_H
#define BENCHMARK_QUIET_H

#include "base/base.h"

#include <sys/types.h>

enum {
    QUIET_PIDS_MAX = 64,
};

struct quiet {
    pid_t pids[QUIET_PIDS_MAX]; /* of the measurement, besides the caller itself */
    size_t count;
    int64_t busy_ns; /* of all processors when it began */
    int64_t ours_ns; /* of them: the measurement's */
    int64_t began_ns;
};

void quiet_begin(struct quiet *q, const pid_t *pids, size_t count);
/* How much of one processor others had since then: 1 is one whole. The pids must still be there. */
double quiet_others(const struct quiet *q);
/* Waits until others have less than `share` of a processor during a second. False: for too long
 * they had not. */
must_check bool quiet_wait(double share, double seconds_max);

#endif
