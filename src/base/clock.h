/*
 * The only reader of clocks and entropy. A clock is passed, never global; tests pass their own.
 *  now_ms   protocol clock: milliseconds since 1970, for timestamps, retention, sessions
 *  mono_ns  machine clock: monotonic nanoseconds, for latency and idle connections
 *  random   fills bytes with entropy (seeded in tests)
 *  thread_cpu_ns  processor time of the calling thread; a system call. NULL: mono_ns stands in
 * Any thread.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/base.h"
#include "base/uuid.h"

struct clock {
    int64_t (*now_ms)(struct clock *c);
    int64_t (*mono_ns)(struct clock *c);
    void (*random)(struct clock *c, void *ret_bytes, size_t len);
    int64_t (*thread_cpu_ns)(struct clock *c);
};

static inline int64_t clock_now_ms(struct clock *c)
{
    return c->now_ms(c);
}

static inline int64_t clock_mono_ns(struct clock *c)
{
    return c->mono_ns(c);
}

static inline int64_t clock_mono_ms(struct clock *c)
{
    return c->mono_ns(c) / 1000000;
}

static inline int64_t clock_thread_cpu_ns(struct clock *c)
{
    return c->thread_cpu_ns == NULL ? c->mono_ns(c) : c->thread_cpu_ns(c);
}

static inline void clock_random(struct clock *c, void *ret_bytes, size_t len)
{
    c->random(c, ret_bytes, len);
}

/* The machine's own clock and entropy. */
void clock_init_system(struct clock *c);

/* A random version-4 Uuid whose text does not begin with '-' (as Kafka's Uuid.randomUuid). */
void clock_random_uuid(struct clock *c, struct uuid *ret);

#endif
