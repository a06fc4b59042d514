/*
 * A clock that the test moves: both clocks stand still until simclock_advance, and entropy comes
 * from a seed. Any thread.
 */
#ifndef TESTS_LIB_SIMCLOCK_H
#define TESTS_LIB_SIMCLOCK_H

#include "base/clock.h"

#include <stdatomic.h>

struct simclock {
    struct clock clock; /* first: what the tested code gets */
    _Atomic int64_t now_ms;
    _Atomic int64_t mono_ns;
    _Atomic uint64_t random;
};

/* Begins at 2026-01-01 00:00:00 UTC and at one second of the machine clock. */
void simclock_init(struct simclock *sc, uint64_t seed);
void simclock_advance(struct simclock *sc, int64_t ms);     /* both clocks */
void simclock_set_now(struct simclock *sc, int64_t now_ms); /* the protocol clock alone may jump */

/* The seeded generator that the helpers of the tests share: one step of splitmix64. */
uint64_t sim_random(uint64_t *state);

#endif
