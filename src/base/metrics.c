/* Metrics: a list, searched only at start-up and by whoever prints it. A name that is registered
 * again gives the same metric, so that several loops of one broker share it. */
#include "base/metrics.h"

#include "base/base.h"
#include "base/mem.h"

void metrics_init(struct metrics *ms)
{
    *ms = (struct metrics){0};
}

void metrics_release(struct metrics *ms)
{
    struct metric *m = ms->first;
    while (m != NULL) {
        struct metric *next = m->next;
        mem_free(m);
        m = next;
    }
    *ms = (struct metrics){0};
}

static struct metric *find(const struct metrics *ms, const char *name)
{
    for (struct metric *m = ms->first; m != NULL; m = m->next) {
        if (strcmp(m->name, name) == 0) {
            return m;
        }
    }
    return NULL;
}

static struct metric *add(struct metrics *ms, const char *name, const char *help, bool is_gauge)
{
    struct metric *m = find(ms, name);
    if (m != NULL) {
        check(m->is_gauge == is_gauge);
        return m;
    }
    m = mem_zalloc(sizeof(*m));
    m->name = name;
    m->help = help;
    m->is_gauge = is_gauge;
    if (ms->last == NULL) {
        ms->first = m;
    } else {
        ms->last->next = m;
    }
    ms->last = m;
    return m;
}

struct metric *metrics_counter(struct metrics *ms, const char *name, const char *help)
{
    return add(ms, name, help, false);
}

struct metric *metrics_gauge(struct metrics *ms, const char *name, const char *help)
{
    return add(ms, name, help, true);
}

const struct metric *metrics_find(const struct metrics *ms, const char *name)
{
    return find(ms, name);
}

void metric_set_max(struct metric *m, int64_t value)
{
    if (m == NULL) {
        return;
    }
    int64_t seen = atomic_load_explicit(&m->value, memory_order_relaxed);
    while (value > seen &&
           !atomic_compare_exchange_weak_explicit(&m->value, &seen, value, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}
