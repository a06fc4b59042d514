/*
 * Counters, gauges and histograms of one broker, by name; read as text by whoever shows them.
 * Updating is an atomic add on a pointer that the caller keeps: cheap enough for the hot path.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "base/base.h"

#include <stdatomic.h>

struct metric {
    _Atomic int64_t value;
    const char *name; /* static */
    const char *help; /* static */
    bool is_gauge;
    struct metric *next;
};

struct metrics {
    struct metric *first; /* owned */
    struct metric *last;
};

void metrics_init(struct metrics *ms);
void metrics_release(struct metrics *ms);
/* Registered at start-up, before other threads run. The pointer lives as long as ms. */
struct metric *metrics_counter(struct metrics *ms, const char *name, const char *help);
struct metric *metrics_gauge(struct metrics *ms, const char *name, const char *help);
const struct metric *metrics_find(const struct metrics *ms, const char *name);

static inline void metric_add(struct metric *m, int64_t delta)
{
    if (m != NULL) {
        atomic_fetch_add_explicit(&m->value, delta, memory_order_relaxed);
    }
}

static inline void metric_set(struct metric *m, int64_t value)
{
    if (m != NULL) {
        atomic_store_explicit(&m->value, value, memory_order_relaxed);
    }
}

void metric_set_max(struct metric *m, int64_t value); /* keeps the larger one */

static inline int64_t metric_get(const struct metric *m)
{
    return m == NULL ? 0 : atomic_load_explicit(&m->value, memory_order_relaxed);
}

#endif
